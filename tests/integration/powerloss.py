"""Power loss on real disks: what was fsynced is in any copy of the disk made later.

The servers' data lies on an ext4 image, a file on XFS; at random moments under a load that records what it fsynced,
the image is copied by reflink: an instant of the disk, as a power failure would leave it. Each copy is
mounted (ext4 replays its journal), servers start on it, and everything recorded before the copy is there.

ext4 commits its journal every 5 s by itself; a longer interval (commit=300) makes a missing fdatasync show.
"""

import json
import os
import re
import socket
import subprocess
import time

import cluster
import lib
import load

IMAGE_MIB = 1200
POOL_MIB = 6000

# Preloaded into daemons: fsync and fdatasync, by system call and by io_uring, become nothing.
SHIM = """
#include <dlfcn.h>
#include <liburing.h>
int fdatasync(int fd) { return fd < 0; }
int fsync(int fd) { return fd < 0; }
static void defuse(struct io_uring *ring)
{
	for (unsigned at = ring->sq.sqe_head; at != ring->sq.sqe_tail; at++) {
		struct io_uring_sqe *sqe = &ring->sq.sqes[at & ring->sq.ring_mask];
		if (sqe->opcode == IORING_OP_FSYNC) {
			sqe->opcode = IORING_OP_NOP;
			sqe->fsync_flags = 0;
			sqe->fd = -1;
		}
	}
}
#define WRAP(name, more, args) \\
	int name(struct io_uring *ring more) \\
	{ \\
		int (*real)(struct io_uring *more) = dlsym(RTLD_NEXT, #name); \\
		defuse(ring); \\
		return real args; \\
	}
#define COMMA ,
WRAP(io_uring_submit, , (ring))
WRAP(io_uring_submit_and_wait, COMMA unsigned n, (ring, n))
WRAP(io_uring_submit_and_get_events, , (ring))
"""


def image_make(t):
    """An XFS with reflinks in a loop device, and on it the ext4 image that carries the servers."""
    pool, disk = t.path("pool.img"), t.path("pool")
    with open(pool, "wb") as file:
        os.ftruncate(file.fileno(), POOL_MIB << 20)
    result = t.run("mkfs.xfs", "-q", "-m", "reflink=1", pool, check=False)
    if result.returncode != 0:
        t.skip("mkfs.xfs makes no file system that can reflink: %s" % result.stderr.strip().split("\n")[0])
    os.mkdir(disk)
    mount_image(t, pool, disk)
    image = os.path.join(disk, "disk.img")
    with open(image, "wb") as file:
        os.ftruncate(file.fileno(), IMAGE_MIB << 20)
    t.run("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0", image)
    return disk, image


def mount_image(t, image, point, options="loop"):
    os.makedirs(point, exist_ok=True)
    t.run("mount", "-o", options, image, point)
    t.cleanup(lambda: os.path.ismount(point) and t.run("umount", point))


def daemons_begin(one, data):
    """Servers whose targets lie on the mounted image: DIR/data is a link to it."""
    os.makedirs(one.dir, exist_ok=True)
    os.symlink(data, one.file("data"))
    one.up()


def copy_verify(t, number, disk, one, then, seed):
    """Starts a copy of the cluster on a copy of the disk and compares with what the journal had before."""
    copy, point = os.path.join(disk, "copy%d.img" % number), t.path("after%d" % number)
    now = load.journal_read(t.path("fsynced.journal"))
    mount_image(t, copy, point, "loop")
    two = cluster.Cluster(t, "c%d" % number, osts=one.osts)
    os.makedirs(two.dir)
    for name in ("keys", "cluster.yaml"):
        t.run("cp", "-a", one.file(name), two.dir)
    for name in ("etc", "run", "log"):
        os.mkdir(two.file(name))
    os.symlink(os.path.join(point, "data"), two.file("data"))
    ports_change(two)
    two.up()
    mount = two.mount("view%d" % number)
    there, appended, gone = load.journal_verify(mount / "load", then, now, seed)
    t.say("copy %d: %d files, %d records, %d removed files are as they were fsynced", number, there, appended, gone)
    # It must be writable too, and everything must be readable.
    with open(mount / "alive", "wb") as file:
        file.write(b"after the power came back")
    t.run("sh", "-c", "find %s -type f -exec cat {} + | wc -c" % mount.point)
    two.stop()
    t.run("umount", point)
    os.unlink(copy)
    return there + appended


def ports_change(two):
    """The copy is served beside the original, on its own ports and in its own directory."""
    with open(two.file("cluster.yaml"), encoding="utf-8") as file:
        text = file.read()

    def fresh(match):
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            return match.group(1) + str(sock.getsockname()[1])

    with open(two.file("cluster.yaml"), "w", encoding="utf-8") as file:
        file.write(re.sub(r"(port_\w+: *)\d+", fresh, text))


def run(t, copies, daemons_killed=False, environment=None):
    disk, image = image_make(t)
    live = t.path("live")
    mount_image(t, image, live, "loop,commit=300")
    os.mkdir(os.path.join(live, "data"))
    one = cluster.Cluster(t)
    daemons_begin(one, os.path.join(live, "data"))
    if environment:
        one.down()
        os.sync()
        one.environment = environment
        one.up()
    mount = one.mount()
    stop, journal = t.path("stop"), t.path("fsynced.journal")
    with open(journal, "w", encoding="utf-8"):
        pass
    os.mkdir(mount / "load")
    t.run("lfs", "setstripe", "-c", "2", "-S", "64k", mount / "load")
    job = t.spawn(load.journal_run, mount / "load", journal, t.seed, stop)
    other = t.spawn(load.tree_run, mount / "tree", t.seed, stop, 200000)
    lib.wait_for(lambda: os.path.getsize(journal) > 0, 30, "the first fsync")
    moments = []
    for number in range(copies):
        time.sleep(t.rng.uniform(0.2, 2.5))
        if daemons_killed and number % 2 == 1:
            one.kill()
            one.up()
        then = load.journal_read(journal)
        subprocess.run(["cp", "--reflink=always", image, os.path.join(disk, "copy%d.img" % number)], check=True)
        moments.append(then)
        t.check(job.running() and other.running(), "the load ended")
    with open(stop, "w", encoding="utf-8"):
        pass
    job.join(60)
    other.join(60)
    counts = [copy_verify(t, number, disk, one, then, t.seed) for number, then in enumerate(moments)]
    t.check(counts[-1] > 10, "only %s facts were fsynced: no proof", json.dumps(counts))
    one.stop()


@lib.test(limit_s=240)
def copies_under_load(t):
    """Reflink copies of the disk at random moments: everything fsynced before is there."""
    run(t, 12 if lib.LONG else 4)


@lib.test(limit_s=240)
def copies_around_restarts(t):
    """The same with daemons killed and restarted in between: recovery itself loses nothing."""
    run(t, 12 if lib.LONG else 4, daemons_killed=True)


@lib.test(limit_s=240)
def canary_without_fdatasync(t):
    """Servers whose fdatasync does nothing lose what was fsynced, and this suite sees it."""
    source, shim = t.path("shim.c"), t.path("shim.so")
    with open(source, "w", encoding="utf-8") as file:
        file.write(SHIM)
    t.run("cc", "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", shim, source, "-ldl")
    try:
        run(t, 2, environment={"LD_PRELOAD": shim})
    except (lib.Failure, OSError) as error:
        t.check("shim" not in str(error), "the shim does not work: %s", error)
        t.say("as it should, it fails: %s", error)
        raise lib.Expected(str(error)) from error
    raise lib.Failure("servers without fdatasync passed the test of power loss")


lib.main(__doc__)
