"""Two mounts always agree: what one does, the other sees with its next call."""

import os
import stat

import cluster
import lib
import load


@lib.test(limit_s=120)
def interleaved(t):
    """Random operations alternate between two mounts; each sees all of the other's at once."""
    _, a, b = cluster.started(t, mounts=2)
    os.mkdir(a / "t")
    t.run("lfs", "setstripe", "-c", "2", "-S", "64k", a / "t")
    tree = load.Tree(a / "t", t.seed, 400000)
    for number in range(40 if not lib.LONG else 400):
        tree.top = (a, b)[number % 2] / "t"
        for _ in range(10):
            tree.step()
        if number % 5 == 4:
            tree.verify((b, a)[number % 2] / "t")


@lib.test(limit_s=60)
def attributes_at_once(t):
    """Size, times, mode, owner, links, names and xattrs changed through one mount are the other's next answer."""
    _, a, b = cluster.started(t, mounts=2)
    fd = os.open(a / "f", os.O_RDWR | os.O_CREAT)
    other = os.open(b / "f", os.O_RDWR)
    size = 0
    for number in range(60):
        size += t.rng.choice((1, 4000, 65536, 300000))
        os.ftruncate(fd, size) if number % 3 == 0 else os.pwrite(fd, b"x", size - 1)
        t.equal(os.stat(b / "f").st_size, size, "size seen by path")
        t.equal(os.fstat(other).st_size, size, "size seen by descriptor")
        t.equal(os.pread(other, 10, size - 1), b"\0" if number % 3 == 0 else b"x", "the last byte")
        before = os.stat(b / "f").st_mtime_ns
        os.pwrite(other, b"y", 0)
        t.equal(os.pread(fd, 1, 0), b"y", "the first byte")
        os.pwrite(other, b"z", 0)
        t.check(os.stat(a / "f").st_mtime_ns >= before, "mtime went back")
    os.chmod(a / "f", 0o601)
    t.equal(stat.S_IMODE(os.stat(b / "f").st_mode), 0o601, "mode")
    os.chown(b / "f", 5, 6)
    t.equal((os.fstat(fd).st_uid, os.fstat(fd).st_gid), (5, 6), "owner")
    os.utime(a / "f", ns=(10 ** 18, 10 ** 18))
    t.equal(os.fstat(other).st_mtime_ns, 10 ** 18, "mtime set explicitly")
    os.setxattr(b / "f", "user.x", b"1")
    t.equal(os.getxattr(a / "f", "user.x"), b"1", "xattr")
    os.link(a / "f", a / "g")
    t.equal(os.stat(b / "g").st_nlink, 2, "links")
    os.rename(b / "f", b / "h")
    t.fails(2, os.stat, a / "f")
    os.unlink(a / "g")
    os.unlink(a / "h")
    t.equal(os.listdir(b.point), [], "names")
    t.equal(os.pread(other, 1, 0), b"z", "the unlinked file through the other mount")
    os.close(fd)
    os.close(other)
    os.mkdir(a / "d")
    t.fails(17, os.mkdir, b / "d")
    os.rmdir(b / "d")
    t.fails(2, os.listdir, a / "d")
    for number in range(100):
        path = "x%d" % number
        os.close(os.open((a, b)[number % 2] / path, os.O_CREAT | os.O_EXCL | os.O_RDWR))
        t.fails(17, os.open, (b, a)[number % 2] / path, os.O_CREAT | os.O_EXCL)
        t.equal(len(os.listdir((b, a)[number % 2].point)), number + 1, "entries")


def append_records(path, tag, count):
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for number in range(count):
        line = b"%s %06d %s\n" % (tag, number, tag * (number * 37 % 3000))
        if os.write(fd, line) != len(line):
            raise lib.Failure("a short append")
    os.close(fd)


@lib.test(limit_s=90)
def appends_stay_whole(t):
    """Two processes on each of two mounts append to one striped file: no record is lost, torn or doubled."""
    _, a, b = cluster.started(t, mounts=2)
    t.run("lfs", "setstripe", "-c", "-1", "-S", "64k", a / "log")
    count = 150
    jobs = [t.spawn(append_records, mount / "log", tag, count)
            for mount, tag in ((a, b"A"), (a, b"B"), (b, b"C"), (b, b"D"))]
    for job in jobs:
        job.join()
    with open(a / "log", "rb") as file:
        text = file.read()
    with open(b / "log", "rb") as file:
        t.check(file.read() == text, "the two mounts read different logs")
    nexts = {b"A": 0, b"B": 0, b"C": 0, b"D": 0}
    for line in text.split(b"\n")[:-1]:
        tag, number = line.split(b" ")[:2]
        t.equal(int(number), nexts[tag], "the next record of %s" % tag)
        t.equal(line, b"%s %06d %s" % (tag, nexts[tag], tag * (nexts[tag] * 37 % 3000)), "a record")
        nexts[tag] += 1
    t.equal(set(nexts.values()), {count}, "records of each writer")


def write_share(path, share, shares, block, total):
    fd = os.open(path, os.O_WRONLY)
    for number in range(share, total // block, shares):
        os.pwrite(fd, load.content(7, number, block), number * block)
    os.fsync(fd)
    os.close(fd)


@lib.test(limit_s=90)
def three_writers(t):
    """Three mounts write interleaved blocks, not aligned to stripes, of one striped file; a fourth reads all of it."""
    _, a, b, c, d = cluster.started(t, mounts=4)
    t.run("lfs", "setstripe", "-c", "-1", "-S", "64k", a / "shared")
    block, total = 47008, 47008 * 240
    jobs = [t.spawn(write_share, mount / "shared", share, 3, block, total) for share, mount in enumerate((a, b, c))]
    for job in jobs:
        job.join()
    t.equal(os.stat(d / "shared").st_size, total, "size")
    with open(d / "shared", "rb") as file:
        for number in range(total // block):
            t.check(file.read(block) == load.content(7, number, block), "block %d is wrong", number)


@lib.test(limit_s=60)
def inline_files_from_both(t):
    """A small file grows out of the metadata through one mount while the other has it open."""
    _, a, b = cluster.started(t, mounts=2)
    for first, second in ((100, 5000), (3999, 4001), (0, 4000), (4000, 200000), (10, 4000)):
        fd = os.open(a / "f", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        other = os.open(b / "f", os.O_RDWR)
        os.pwrite(fd, b"a" * first, 0)
        t.equal(os.pread(other, 1 << 20, 0), b"a" * first, "small through the other mount")
        os.pwrite(other, b"b" * (second - first // 2), first // 2)
        want = b"a" * (first // 2) + b"b" * (second - first // 2)
        t.check(os.pread(fd, 1 << 20, 0) == want, "grown from %d to %d through the other mount", first, second)
        os.ftruncate(fd, 50)
        t.check(os.pread(other, 1 << 20, 0) == want[:50], "cut through the first mount")
        os.close(fd)
        os.close(other)


@lib.test(limit_s=60)
def agree_over_restarts(t):
    """Two mounts still agree after each daemon was restarted in turn."""
    one, a, b = cluster.started(t, mounts=2)
    tree = load.Tree(a / "t", t.seed, 200000)
    for name in sorted(one.pids()):
        for _ in range(20):
            tree.top = t.rng.choice((a, b)) / "t"
            tree.step()
        one.kill(name)
        one.up()
        tree.verify(a / "t")
        tree.verify(b / "t")


lib.main(__doc__)
