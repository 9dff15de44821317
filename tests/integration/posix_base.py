"""What posix_cases.py and posix_lists.py share: users to act as, files of every type, calls whose outcome is printed.

A line is "LABEL -> RESULT"; with `watch`, also mode, links, owner, size of the watched files and which of their times moved.
"""

import ctypes
import errno
import os
import shutil
import socket
import stat
import sys
import time
import zlib

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD, AT_SYMLINK_NOFOLLOW, AT_REMOVEDIR, AT_SYMLINK_FOLLOW, AT_EMPTY_PATH, AT_EACCESS = -100, 0x100, 0x200, 0x400, 0x1000, 0x200
CLOCK_REALTIME_COARSE = 5
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
ROOT, OWNER, MEMBER, STRANGER = (0, 0, ()), (1001, 1001, (3001,)), (1002, 1002, (3001,)), (1003, 1003, ())
WHO = {"root": ROOT, "owner": OWNER, "member": MEMBER, "stranger": STRANGER}
TYPES = ("reg", "dir", "fifo", "blk", "chr", "sock", "link")
SECTIONS = {}
FAILED = "failed"


def section(function):
    SECTIONS[function.__name__] = function
    return function


class As:
    """Within it, the process acts as this user; capabilities go with uid 0."""

    def __init__(self, who):
        self.who = who

    def __enter__(self):
        uid, gid, groups = self.who
        os.setgroups(list(groups))
        os.setegid(gid)
        os.seteuid(uid)

    def __exit__(self, *_):
        os.seteuid(0)
        os.setegid(0)
        os.setgroups([])


def libc(name, *args):
    result = getattr(LIBC, name)(*args)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def sx(path):
    """What is compared of a file, and its times."""
    try:
        st = os.lstat(path)
    except OSError as error:
        return errno.errorcode[error.errno], None
    kind = stat.S_IFMT(st.st_mode)
    size = st.st_size if kind in (stat.S_IFREG, stat.S_IFLNK) else "-"
    return ("%o n%d u%d g%d s%s r%x" % (st.st_mode, st.st_nlink, st.st_uid, st.st_gid, size, st.st_rdev),
            (st.st_atime_ns, st.st_mtime_ns, st.st_ctime_ns))


def moved(before, after):
    if before is None or after is None:
        return "" if before is after else "*"
    return "".join(c if a != b else "-" for c, a, b in zip("amc", before, after))


def tick():
    """Waits until the clock that local file systems stamp with has moved on."""
    now = time.clock_gettime_ns(CLOCK_REALTIME_COARSE)
    while time.clock_gettime_ns(CLOCK_REALTIME_COARSE) == now:
        pass


def show(label, function, *args, who=None, watch=(), **options):
    """Calls, prints; returns the result, None after an error."""
    before = [sx(path) for path in watch]
    if len(watch) > 1:
        tick()
    value, text = None, "ok"
    try:
        if who is None:
            value = function(*args, **options)
        else:
            with As(who):
                value = function(*args, **options)
        if isinstance(value, (str, int, bytes, bool, list, tuple)) and label[:1] != "!":
            text = repr(value)
    except OSError as error:
        text = errno.errorcode.get(error.errno, str(error.errno))
    except ValueError as error:
        text = str(error)
    seen = []
    for path, (_, times) in zip(watch, before):
        now, times_now = sx(path)
        seen.append("%s[%s %s]" % (path[-24:], now, moved(times, times_now)))
    print("%s -> %s%s" % (label, text, " " + " ".join(seen) if seen else ""))
    return value


def put(path, data=b"", mode=0o644):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        if data:
            os.write(fd, data)
    finally:
        os.close(fd)


def tried(call, path):
    """A call whose failure is a value."""
    try:
        return call(path)
    except OSError as error:
        print(errno.errorcode.get(error.errno, error.errno), end=" ")
        return FAILED


def opened(path, flags, mode=0o644, **options):
    """Opens and closes; the descriptor's number is nobody's business."""
    os.close(os.open(path, flags | os.O_NONBLOCK, mode, **options))


def make(kind, path, mode=0o644, uid=0, gid=0):
    if kind == "reg":
        put(path)
    elif kind == "dir":
        os.mkdir(path)
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "blk":
        os.mknod(path, 0o600 | stat.S_IFBLK, os.makedev(259, 70000))
    elif kind == "chr":
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    elif kind == "sock":
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(path)
    elif kind == "link":
        os.symlink("nowhere", path)
    os.lchown(path, uid, gid)
    if kind != "link":
        os.chmod(path, mode)
    # Times of its own, so that a coarse clock hides no difference between two files.
    old = 10 ** 18 + zlib.crc32(path.encode())
    os.utime(path, ns=(old, old + 1), follow_symlinks=False)


def clear(path="."):
    for name in os.listdir(os.fsencode(path)):
        full = os.path.join(os.fsencode(path), name)
        if os.path.isdir(full) and not os.path.islink(full):
            shutil.rmtree(full)
        else:
            os.unlink(full)


def tree(path="."):
    found = []
    for top, folders, files in os.walk(path):
        folders.sort()
        found += [os.path.join(top, n)[-40:] for n in folders + sorted(files)]
    return found


def rename2(src, dst, flags):
    return libc("renameat2", AT_FDCWD, os.fsencode(src), AT_FDCWD, os.fsencode(dst), flags)


def utimens(path, atime, mtime, follow=True, dirfd=AT_FDCWD):
    """Times are (seconds, nanoseconds) or None for a NULL pointer."""
    times = None
    if atime is not None:
        times = (ctypes.c_long * 4)(*atime, *mtime)
    return libc("utimensat", dirfd, None if path is None else os.fsencode(path), times, 0 if follow else AT_SYMLINK_NOFOLLOW)


def link(src, dst, flags=0):
    return libc("linkat", AT_FDCWD, os.fsencode(src), AT_FDCWD, os.fsencode(dst), flags)


def bound(path):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)


def wr(path, data, flags=0):
    fd = os.open(path, os.O_WRONLY | flags)
    try:
        return os.write(fd, data)
    finally:
        os.close(fd)


def ftrunc(path, size):
    fd = os.open(path, os.O_RDWR)
    try:
        os.ftruncate(fd, size)
    finally:
        os.close(fd)


def facts(st):
    kind = stat.S_IFMT(st.st_mode)
    return "%o n%d u%d g%d s%s" % (st.st_mode, st.st_nlink, st.st_uid, st.st_gid, st.st_size if kind in (stat.S_IFREG, stat.S_IFLNK) else "-")


def main():
    os.chdir(sys.argv[1])
    os.umask(0o022)
    for name in sys.argv[2:]:
        print("== " + name)
        os.mkdir(name)
        os.chdir(name)
        SECTIONS[name]()
        os.chdir("..")
        sys.stdout.flush()
