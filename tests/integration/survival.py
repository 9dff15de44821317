"""It survives: daemons are killed at random moments under a load that checks every answer; clients wait and go on."""

import errno
import os
import signal
import subprocess
import time

import cluster
import lib
import load


def tree_start(t, mount, number, size_max=300000):
    stop = t.path("stop")
    return t.spawn(load.tree_run, mount / ("tree%d" % number), t.seed + number, stop, size_max)


def tree_end(t, jobs, limit_s=90):
    with open(t.path("stop"), "w", encoding="utf-8"):
        pass
    for job in jobs:
        job.join(limit_s)


def rounds(full):
    return full * 4 if lib.LONG else full


@lib.test(limit_s=120)
def each_daemon_killed(t):
    """kill -9 of each daemon in turn and `nacre up` at random moments: the load sees no error and no loss."""
    one, mount = cluster.started(t)
    jobs = [tree_start(t, mount, n) for n in range(2)]
    for _ in range(rounds(2)):
        for name in sorted(one.pids()):
            time.sleep(t.rng.uniform(0.05, 0.6))
            one.kill(name)
            time.sleep(t.rng.uniform(0, 0.4))
            one.up()
            for job in jobs:
                t.check(job.running(), "the load ended after %s was killed", name)
    tree_end(t, jobs)


@lib.test(limit_s=120)
def all_killed_at_once(t):
    """kill -9 of all daemons at once, again and again under load; the mount goes on each time."""
    one, mount = cluster.started(t)
    jobs = [tree_start(t, mount, n) for n in range(2)]
    for _ in range(rounds(6)):
        time.sleep(t.rng.uniform(0.05, 1.0))
        one.kill()
        time.sleep(t.rng.uniform(0, 0.3))
        one.up()
        t.check(all(j.running() for j in jobs), "the load ended")
    tree_end(t, jobs)


@lib.test(limit_s=120)
def everything_killed(t):
    """Servers and clients killed together: what was acknowledged is there, what was not is whole or absent."""
    one, mount = cluster.started(t)
    for number in range(rounds(4)):
        top = mount / ("round%d" % number)
        journal = t.path("ack%d.journal" % number)
        job = t.spawn(acknowledged, top, journal, t.seed + number)
        time.sleep(t.rng.uniform(0.3, 1.5))
        one.kill()
        mount.kill()
        job.join(30)
        one.up()
        mount = mount.remount()
        acknowledged_verify(t, mount / ("round%d" % number), journal, t.seed + number)


def acknowledged(top, journal, seed):
    """Writes without fsync until the mount dies; records what was acknowledged."""
    number = 0
    try:
        os.mkdir(top)
        with open(journal, "a", encoding="utf-8", buffering=1) as out:
            while True:
                size = load.SIZES[number % len(load.SIZES)]
                path = os.path.join(top, "f%d" % number)
                fd = os.open(path + ".new", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
                data = load.content(seed, number, size)
                at = 0
                while at < size:
                    at += os.write(fd, data[at:])
                os.close(fd)
                os.rename(path + ".new", path)
                out.write("%d\n" % number)
                number += 1
                if number % 3 == 0:
                    os.unlink(os.path.join(top, "f%d" % (number // 3 - 1)))
                    out.write("gone %d\n" % (number // 3 - 1))
    except OSError as error:
        if error.errno not in (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.ENOENT, errno.ESTALE, errno.EINTR):
            raise
    if number < 3:
        raise lib.Failure("only %d files before the end" % number)


def acknowledged_verify(t, top, journal, seed):
    with open(journal, encoding="utf-8") as file:
        lines = file.read().split("\n")[:-1]
    made = [int(l) for l in lines if not l.startswith("gone")]
    gone = {int(l.split()[1]) for l in lines if l.startswith("gone")}
    # One unlink may have been done and not recorded.
    doubtful = len(gone)
    for number in made:
        path = os.path.join(top, "f%d" % number)
        if number in gone:
            t.check(not os.path.exists(path), "file %d came back", number)
        elif number != doubtful or os.path.exists(path):
            with open(path, "rb") as file:
                t.check(file.read() == load.content(seed, number, load.SIZES[number % len(load.SIZES)]),
                        "acknowledged file %d is wrong", number)
    t.say("%d files acknowledged, %d removed", len(made), len(gone))


@lib.test(limit_s=60)
def up_is_idempotent(t):
    """`nacre up` again changes nothing that runs; it starts what is dead and detaches a dead mount; ports stay."""
    one = cluster.Cluster(t)
    one.up(mount=True)
    point, first = one.facts["mount_point"], one.pids()
    ports = [d["address"] for d in one.facts["daemons"]]
    with open(os.path.join(point, "f"), "w", encoding="utf-8") as file:
        file.write("here")
    one.up(mount=True)
    t.equal(one.pids(), first, "processes after a second up")
    one.kill("ost0001", "mds")
    one.up(mount=True)
    t.equal({n: p for n, p in one.pids().items() if n not in ("ost0001", "mds")},
            {n: p for n, p in first.items() if n not in ("ost0001", "mds")}, "processes that were not killed")
    for pid, line in lib.processes().items():
        if line.split()[0].endswith("nacre-fuse"):
            os.kill(pid, signal.SIGKILL)
            lib.pid_wait(pid, 10)
    t.fails(errno.ENOTCONN, os.stat, point)
    one.up(mount=True)
    with open(os.path.join(point, "f"), encoding="utf-8") as file:
        t.equal(file.read(), "here", "the file after the mount died")
    t.equal([d["address"] for d in one.facts["daemons"]], ports, "addresses")


@lib.test(limit_s=60)
def down_refuses_a_busy_mount(t):
    """`nacre down` of a mount in use changes nothing; --force takes it away."""
    one = cluster.Cluster(t, osts=2)
    one.up(mount=True)
    point = one.facts["mount_point"]
    with open(os.path.join(point, "f"), "w", encoding="utf-8") as file:
        t.refused("nacre", "down", one.dir, holds="busy")
        t.equal(len(one.pids()), 3, "daemons after a refused down")
        file.write("still works")
        file.flush()
        served_by = next(p for p, l in lib.processes().items() if "nacre-fuse" in l)
        one.down("--force")
    t.check(lib.pid_wait(served_by, 30), "nacre-fuse runs on after down --force and the last close")
    t.check(not one.pids(), "daemons run after down --force")
    t.check(point not in lib.mount_points(t.dir), "mounted after down --force")
    one.stopped = True


@lib.test(limit_s=60)
def umount_waits(t):
    """`nacre umount` returns when all is durable and nacre-fuse has ended; of a mount in use it says who to ask."""
    one, mount = cluster.started(t, osts=2)
    for _ in range(3):
        with open(mount / "f", "wb") as file:
            file.write(os.urandom(20 << 20))
            t.refused("nacre", "umount", mount.point, holds="busy")
        with open(mount / "gone", "wb") as file:
            file.write(bytes(300000))
        os.unlink(mount / "gone")
        pid = mount.pid
        t.run("nacre", "umount", mount.point)
        t.check(lib.pid_wait(pid, 0), "nacre-fuse runs after nacre umount")
        mount.mounted = False
        with open(mount.log, encoding="utf-8") as file:
            t.check("unsynced" not in file.read(), "the log speaks of unsynced writes")
        t.refused("nacre", "umount", mount.point, holds="no Nacre mount")
        mount = one.mount()
        t.equal(os.stat(mount / "f").st_size, 20 << 20, "size after the next mount")


@lib.test(limit_s=60)
def interrupt_works(t):
    """A process that waits for dead servers ends within a second after SIGINT; others wait and go on."""
    one, mount = cluster.started(t, osts=2)
    t.run("lfs", "setstripe", "-c", "2", mount / "striped")
    with open(mount / "striped", "wb") as file:
        file.write(os.urandom(9 << 20))
    commands = (("cat", mount / "striped"), ("ls", "-l", mount.point), ("touch", mount / "new"),
                ("dd", "if=/dev/zero", "of=" + (mount / "striped"), "bs=1M", "count=8", "conv=notrunc,fsync"))
    for dead in (["ost0000", "ost0001"], ["mds"]):
        one.kill(*dead)
        chosen = [c for c in commands if dead == ["mds"] or c[0] in ("cat", "dd")]
        for command in chosen:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(0.7)
            t.check(process.poll() is None, "%s did not wait for dead servers", command[0])
            process.send_signal(signal.SIGINT)
            start = time.monotonic()
            t.check(lib.pid_wait(process.pid, 10), "%s does not end after SIGINT (%s dead)", command[0], dead)
            t.check(time.monotonic() - start < 1.0, "%s took %.1f s to end after SIGINT", command[0],
                    time.monotonic() - start)
            process.wait()
        waiting = subprocess.Popen(("md5sum", mount / "striped"), stdout=subprocess.PIPE)
        time.sleep(0.2)
        one.up()
        t.check(lib.pid_wait(waiting.pid, 20), "a waiting reader does not go on after nacre up")
        waiting.communicate()
        t.equal(waiting.returncode, 0, "status of the reader that waited")


@lib.test(limit_s=60)
def patience_ends(t):
    """With patience=2 a call on dead servers fails after about two seconds with an error."""
    one, _ = cluster.started(t, osts=2)
    mount = one.mount("patient", options=["patience=2"])
    with open(mount / "f", "wb") as file:
        file.write(bytes(100000))
    one.kill()
    start = time.monotonic()
    for call in (lambda: os.stat(mount / "f"), lambda: os.mkdir(mount / "d")):
        try:
            call()
            raise lib.Failure("a call on dead servers succeeded")
        except OSError as error:
            t.say("%s", error)
    took = time.monotonic() - start
    t.check(3 < took < 8, "two calls with patience=2 took %.1f s", took)
    one.up()
    t.equal(os.stat(mount / "f").st_size, 100000, "size after the servers are back")


@lib.test(limit_s=60)
def unmounts_with_dead_servers(t):
    """umount -f and umount -l of a mount whose servers are dead return at once; waiting programs get errors."""
    one, first, second = cluster.started(t, osts=1, mounts=2)
    one.kill()
    for mount, option in ((first, "-f"), (second, "-l")):
        waiting = subprocess.Popen(("stat", mount / "x"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(0.3)
        pid = mount.pid
        start = time.monotonic()
        result = t.run("umount", option, mount.point, check=False, limit_s=20)
        if option == "-f" and result.returncode != 0:
            # -f aborts what waits; the mount point itself goes with the next try.
            t.check(lib.pid_wait(waiting.pid, 5), "umount -f did not end the waiting program")
            t.run("umount", "-f", mount.point, limit_s=20)
        took = time.monotonic() - start
        t.check(took < 5, "umount %s took %.1f s", option, took)
        if option == "-l":
            waiting.kill()
        t.check(lib.pid_wait(waiting.pid, 10), "a program still waits after umount %s", option)
        waiting.wait()
        t.check(lib.pid_wait(pid, 30), "nacre-fuse did not end after umount %s with dead servers", option)
        mount.mounted = False
    one.up()


@lib.test(limit_s=90)
def stopped_daemon(t):
    """SIGSTOP for seconds looks like a slow server, nothing more."""
    one, mount = cluster.started(t, osts=2)
    jobs = [tree_start(t, mount, 0)]
    for name in ("ost0000", "mds", "ost0001"):
        time.sleep(0.3)
        one.kill(name, number=signal.SIGSTOP)
        time.sleep(2)
        one.kill(name, number=signal.SIGCONT)
        t.check(jobs[0].running(), "the load ended while %s was stopped", name)
    tree_end(t, jobs)


@lib.test(limit_s=60)
def open_files_survive(t):
    """Open files - with names, unlinked, appended to - go on over a restart of everything behind them."""
    one, mount = cluster.started(t)
    named = os.open(mount / "named", os.O_RDWR | os.O_CREAT)
    gone = os.open(mount / "gone", os.O_RDWR | os.O_CREAT)
    record = os.open(mount / "record", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    other = os.open(mount / "record", os.O_WRONLY | os.O_APPEND)
    data = t.rng.randbytes(9 << 20)
    os.pwrite(named, data, 0)
    os.pwrite(gone, data, 0)
    os.unlink(mount / "gone")
    expected = b""
    for number in range(3):
        one.kill()
        one.up()
        t.check(os.pread(named, len(data), 0) == data, "the named file differs after restart %d", number)
        t.check(os.pread(gone, len(data), 0) == data, "the unlinked file differs after restart %d", number)
        t.equal(os.fstat(gone).st_nlink, 0, "links of the unlinked file")
        os.pwrite(gone, b"more", 100 * number)
        data = data[:100 * number] + b"more" + data[100 * number + 4:]
        os.pwrite(named, b"more", 100 * number)
        for fd in (record, other):
            line = b"line %d of %d\n" % (number, fd)
            os.write(fd, line)
            expected += line
        os.fsync(named)
    with open(mount / "record", "rb") as file:
        t.equal(file.read(), expected, "what was appended over restarts")
    for fd in (named, gone, record, other):
        os.close(fd)
    t.check(sorted(os.listdir(mount.point)) == ["named", "record"], "names left: %s", os.listdir(mount.point))


@lib.test(limit_s=60)
def orphans_are_destroyed(t):
    """Space of unlinked open files comes back when their client is killed and the servers restarted."""
    one, mount = cluster.started(t, osts=1, options=["--ost-capacity", "200M"])
    job = t.spawn(orphan_hold, mount / "big", t.path("held"))
    lib.wait_for(lambda: os.path.exists(t.path("held")), 30, "the orphan")
    job.signal(signal.SIGKILL)
    lib.pid_wait(job.pid, 10)
    os.waitpid(job.pid, 0)
    full = mount / "full"
    lib.wait_for(lambda: fits(full, 150 << 20), 40, "the space of a closed orphan")
    os.unlink(full)


def orphan_hold(path, mark):
    fd = os.open(path, os.O_RDWR | os.O_CREAT)
    os.unlink(path)
    for _ in range(120):
        os.write(fd, bytes(1 << 20))
    os.fsync(fd)
    with open(mark, "w", encoding="utf-8"):
        pass
    time.sleep(1000)


def fits(path, size):
    try:
        with open(path, "wb") as file:
            for _ in range(size >> 20):
                file.write(bytes(1 << 20))
            file.flush()
            os.fsync(file.fileno())
        return True
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        os.unlink(path)
        return False


lib.main(__doc__)
