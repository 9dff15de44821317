"""Files' data, to the letter: data_ops.py on a local file system and on a mount; fsx; space that was promised; engines."""

import ctypes
import errno
import fcntl
import os
import shutil
import sqlite3
import subprocess
import time

import cluster
import data_ops
import lib
from compare import compare

OPS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "data_ops.py")
SECTIONS = ("ranges", "range_errors", "holes", "copies", "flags", "privileges", "capabilities", "limits", "moved", "memory", "libraries",
            "range_locks")
LAYOUTS = (("one", ()), ("four", ("-c", "4", "-S", "64k")), ("many", ("-C", "9", "-S", "64k")))
KIB, MIB = 1 << 10, 1 << 20


def fsx_path(t):
    """The program is copied: a build that goes on does not pull it away."""
    built = os.path.join(os.path.dirname(lib.BIN), "rel", "tests", "stress", "fsx")
    path = t.path("fsx")
    if not os.path.exists(built):
        raise lib.Failure("%s is not built" % built)
    shutil.copy(built, path)
    return path


def ops(t, folder, sections, label, **environment):
    result = t.run("/usr/bin/python3", "-B", OPS, folder, *sections, check=False, limit_s=150,
                   env=dict(os.environ, **environment))
    text = result.stdout + ("exit status %d\n%s" % (result.returncode, result.stderr) if result.returncode else "")
    with open(t.path(label + ".txt"), "w", encoding="utf-8") as file:
        file.write(text)
    return text.split("\n")


@lib.test(limit_s=200)
def as_a_local_file_system(t):
    """fallocate, holes, copies, flags, privileges, limits, stamps, mappings, programs, locks: as on a local file system."""
    _, mount = cluster.started(t)
    os.chmod(t.dir, 0o755)
    os.mkdir(t.path("local"))
    want = ops(t, t.path("local"), SECTIONS, "local")
    for name, layout in LAYOUTS[:2]:
        os.mkdir(mount / name)
        if layout:
            t.run("lfs", "setstripe", *layout, mount / name)
        compare(t, want, ops(t, mount / name, SECTIONS, name))


@lib.test(limit_s=60)
def direct_of_any_alignment(t):
    """O_DIRECT transfers of any alignment give what buffered ones give on a local file system."""
    _, mount = cluster.started(t)
    os.mkdir(t.path("local"))
    want = ops(t, t.path("local"), ("unaligned",), "local", BUFFERED="1")
    for name, layout in LAYOUTS:
        os.mkdir(mount / name)
        if layout:
            t.run("lfs", "setstripe", *layout, mount / name)
        compare(t, want, ops(t, mount / name, ("unaligned",), name))


def fsx_run(t, program, seconds, paths, *options):
    words = [program, "-s", str(t.rng.randrange(1 << 30)), "-t", str(seconds)] + list(options) + list(paths)
    t.run(*words, limit_s=seconds + 60)


@lib.test(limit_s=1200 if lib.LONG else 90)
def fsx(t):
    """Random operations on one file agree with a buffer: one stripe, several, more than OSTs; small files; two mounts."""
    _, one, two = cluster.started(t, mounts=2)
    program = fsx_path(t)
    seconds = 120 if lib.LONG else 3
    for name, layout in LAYOUTS:
        os.mkdir(one / name)
        if layout:
            t.run("lfs", "setstripe", *layout, one / name)
        fsx_run(t, program, seconds, [one / (name + "/f")])
        fsx_run(t, program, seconds, [one / (name + "/two"), two / (name + "/two")])
    fsx_run(t, program, seconds, [one / "small"], "-m", "8192")


@lib.test(limit_s=60)
def fsx_finds_differences(t):
    """fsx fails when the file is not what it wrote: a canary for the test above."""
    program = fsx_path(t)
    path = t.path("file")
    process = subprocess.Popen([program, "-t", "20", path], stdout=subprocess.PIPE, text=True)
    # Somebody else writes into its file until it complains.
    while process.poll() is None:
        try:
            fd = os.open(path, os.O_WRONLY)
            os.pwrite(fd, b"\xfe" * 100000, 1000)
            os.close(fd)
        except FileNotFoundError:
            pass
        time.sleep(0.01)
    text = process.stdout.read()
    t.equal(process.returncode, 1, "status of fsx: " + text[-300:])
    t.check("differ" in text or "operation" in text, "fsx says: %s", text)


@lib.test(limit_s=90)
def survives_kills(t):
    """What fallocate promised, punched and zeroed is so after fsync and kill -9 of every server; fsx goes on over restarts."""
    one, mount = cluster.started(t)
    os.mkdir(mount / "d")
    t.run("lfs", "setstripe", "-c", "4", "-S", "64k", mount / "d")
    want = bytearray(t.rng.randbytes(3 * MIB))
    fd = os.open(mount / "d/f", os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, want, 0)
    data_ops.fallocate(fd, data_ops.PUNCH | data_ops.KEEP, 100000, MIB)
    want[100000:100000 + MIB] = bytes(MIB)
    data_ops.fallocate(fd, data_ops.ZERO, 2 * MIB + 7, 300000)
    want[2 * MIB + 7:2 * MIB + 300007] = bytes(300000)
    data_ops.fallocate(fd, 0, 3 * MIB, 2 * MIB + 5)
    want.extend(bytes(2 * MIB + 5))
    os.fsync(fd)
    blocks = os.fstat(fd).st_blocks
    program = fsx_path(t)
    job = t.spawn(fsx_run, t, program, 6, [mount / "d/fsx"])
    for name in ("ost0001", "ost0003"):
        one.kill(name)
        one.up()
    job.join(60)
    one.kill()
    one.up()
    t.equal(os.fstat(fd).st_size, len(want), "size")
    t.check(os.pread(fd, len(want) + 1, 0) == bytes(want), "contents differ")
    # Give or take what the local file systems need for themselves.
    t.check(abs(os.fstat(fd).st_blocks - blocks) < 256, "blocks: %d, not %d", os.fstat(fd).st_blocks, blocks)
    os.close(fd)


@lib.test(limit_s=90)
def promised_space(t):
    """fallocate says ENOSPC, leaves the size, and what it gave is there for writes when everything else is full."""
    _, mount = cluster.started(t, osts=2, options=["--ost-capacity", "24M"])
    for name, layout in (("one", ("-c", "1", "-i", "0")), ("two", ("-c", "2", "-S", "64k"))):
        path = mount / name
        t.run("lfs", "setstripe", *layout, path)
        fd = os.open(path, os.O_RDWR)
        t.fails(errno.ENOSPC, data_ops.fallocate, fd, 0, 0, 100 * MIB)
        t.fails(errno.ENOSPC, data_ops.fallocate, fd, 0, 0, 1 << 50)
        t.equal(os.fstat(fd).st_size, 0, "size after a refused fallocate")
        data_ops.fallocate(fd, data_ops.KEEP, MIB, 6 * MIB)
        fill = os.open(mount / ("fill-" + name), os.O_WRONLY | os.O_CREAT)
        t.fails(errno.ENOSPC, fill_up, fill)
        size = os.fstat(fill).st_size
        t.check(size > MIB, "only %d bytes fit", size)
        for at in range(0, 6 * MIB, 128 * KIB):
            os.pwrite(fd, b"p" * (128 * KIB), MIB + at)
        os.fsync(fd)
        data_ops.fallocate(fd, data_ops.PUNCH | data_ops.KEEP, MIB, 6 * MIB)
        os.close(fd)
        os.close(fill)
        os.unlink(mount / ("fill-" + name))
        os.unlink(path)
        lib.wait_for(lambda: os.statvfs(mount.point).f_bfree * os.statvfs(mount.point).f_frsize > 40 * MIB, 20,
                     "space comes back")


def fill_up(fd):
    """Ends with ENOSPC; a short write comes first, and its bytes count."""
    block, at = b"f" * (1 << 20), 0
    while at < 1 << 30:
        at += os.pwrite(fd, block, at)


@lib.test(limit_s=60)
def terabytes_of_holes(t):
    """Files of terabytes with little in them: sizes, holes found, copies, punches take no time."""
    _, mount = cluster.started(t)
    os.mkdir(mount / "d")
    t.run("lfs", "setstripe", "-c", "4", "-S", "64k", mount / "d")
    begin = time.monotonic()
    fd = os.open(mount / "d/f", os.O_RDWR | os.O_CREAT)
    places = (0, 5 << 30, (3 << 40) + 65536, (60 << 40) + 12345)
    for at in places:
        os.pwrite(fd, b"here", at)
    os.ftruncate(fd, 1 << 47)
    found, at = [], 0
    while True:
        try:
            data = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            t.equal(error.errno, errno.ENXIO, "the end")
            break
        found.append(data)
        at = os.lseek(fd, data, os.SEEK_HOLE)
        t.check(at > data, "a hole at %d behind data at %d", at, data)
    t.equal(found, [at // 4096 * 4096 for at in places], "data")
    data_ops.fallocate(fd, data_ops.PUNCH | data_ops.KEEP, 4096, (1 << 47) - 4096)
    t.fails(errno.ENXIO, os.lseek, fd, 4096, os.SEEK_DATA)
    t.equal(os.pread(fd, 6, 0), b"here\0\0", "the first bytes")
    t.equal(os.fstat(fd).st_size, 1 << 47, "size")
    os.close(fd)
    t.check(time.monotonic() - begin < 15, "this took %.1f s", time.monotonic() - begin)


@lib.test(limit_s=60)
def refused_modes(t):
    """COLLAPSE_RANGE, INSERT_RANGE, UNSHARE_RANGE and clones say EOPNOTSUPP; a copy to another mount works or says EXDEV."""
    _, one, two = cluster.started(t, mounts=2)
    fd = os.open(one / "f", os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, b"x" * 1000000, 0)
    for mode in (data_ops.COLLAPSE, data_ops.INSERT, 64, 64 | data_ops.KEEP):
        t.fails(errno.EOPNOTSUPP, data_ops.fallocate, fd, mode, 0, 65536)
    other = os.open(one / "g", os.O_RDWR | os.O_CREAT)
    t.fails(errno.EOPNOTSUPP, fcntl.ioctl, other, 0x40049409, fd)
    t.equal(os.copy_file_range(fd, other, 1 << 20, 0, 0), 1000000, "copied")
    far = os.open(two / "h", os.O_RDWR | os.O_CREAT)
    try:
        os.copy_file_range(fd, far, 1000, 0, 0)
    except OSError as error:
        t.equal(error.errno, errno.EXDEV, "to another mount")
    for number in (fd, other, far):
        os.close(number)


@lib.test(limit_s=120)
def fio_engines(t):
    """fio verifies what psync, pvsync2, libaio, io_uring, mmap wrote: buffered and O_DIRECT, one stripe and four."""
    if not shutil.which("fio"):
        raise lib.Failure("fio is not installed")
    _, mount = cluster.started(t)
    for name, layout in LAYOUTS[:2]:
        os.mkdir(mount / name)
        if layout:
            t.run("lfs", "setstripe", *layout, mount / name)
        for engine, direct, size in (("psync", 0, "3k"), ("psync", 1, "64k"), ("pvsync2", 1, "7k"), ("libaio", 1, "512"),
                                     ("libaio", 1, "16k"), ("io_uring", 1, "4k"), ("io_uring", 0, "5000"), ("mmap", 0, "4k")):
            t.run("fio", "--name=v", "--directory=%s" % (mount / name), "--filename=f-%s%s" % (engine, size),
                  "--ioengine=%s" % engine, "--direct=%d" % direct, "--rw=randrw", "--bs=%s" % size, "--size=1m", "--iodepth=8",
                  "--verify=crc32c", "--verify_fatal=1", "--do_verify=1", "--randseed=%d" % t.rng.randrange(1 << 20),
                  "--output-format=terse", "--aux-path=%s" % t.dir, limit_s=60)


def sqlite_writer(path, mode, worker):
    db = sqlite3.connect(path, timeout=60, isolation_level=None)
    db.execute("PRAGMA journal_mode=%s" % mode)
    for number in range(25):
        db.execute("BEGIN IMMEDIATE")
        n = db.execute("SELECT max(total) FROM t").fetchone()[0] or 0
        db.execute("INSERT INTO t VALUES (?, ?, ?)", (worker, number, n + 1))
        db.execute("COMMIT")
    db.close()


@lib.test(limit_s=120)
def sqlite_with_several_writers(t):
    """Four processes count in one SQLite database on one mount, with a rollback journal and with WAL: no count is lost."""
    _, mount = cluster.started(t)
    for mode in ("DELETE", "TRUNCATE", "WAL"):
        path = mount / ("db-" + mode)
        db = sqlite3.connect(path, timeout=60)
        t.equal(db.execute("PRAGMA journal_mode=%s" % mode).fetchone()[0], mode.lower(), "journal mode")
        db.execute("CREATE TABLE t (worker, number, total)")
        db.commit()
        db.close()
        jobs = [t.spawn(sqlite_writer, path, mode, worker) for worker in range(4)]
        for job in jobs:
            job.join(60)
        db = sqlite3.connect(path)
        t.equal(db.execute("SELECT count(*), max(total), count(DISTINCT total) FROM t").fetchone(), (100, 100, 100), mode)
        t.equal(db.execute("PRAGMA integrity_check").fetchone()[0], "ok", "integrity")
        db.close()


if __name__ == "__main__":
    assert ctypes.sizeof(ctypes.c_long) == 8
    lib.main(__doc__)
