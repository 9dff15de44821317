"""System calls on files' data, scripted as posix_ops.py is (data_ops.py DIR SECTION...), for the same comparison.

Sizes and places are multiples of 64 KiB where a file system's granularity shows (holes), so that outputs do not depend on it.
"""

import ctypes
import ctypes.util
import errno
import fcntl
import mmap
import os
import resource
import signal
import struct
import subprocess
import sys
import time

import posix_ops
from posix_ops import LIBC, data_of, facts, get, put, show

SECTIONS = {}
KEEP, PUNCH, COLLAPSE, ZERO, INSERT = 1, 2, 8, 16, 32
RWF_HIPRI, RWF_DSYNC, RWF_SYNC, RWF_NOWAIT, RWF_APPEND = 1, 2, 4, 8, 16
F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW = 36, 37, 38
K64 = 65536
USER = 1234


def section(function):
    SECTIONS[function.__name__] = function
    return function


def fallocate(fd, mode, off, length):
    if LIBC.fallocate(fd, mode, ctypes.c_long(off), ctypes.c_long(length)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def create(name, data=b""):
    fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view):]
    return fd


def content(fd):
    return os.pread(fd, os.fstat(fd).st_size + 1, 0)


def as_user(function, *args):
    """The result of a function in a child that is an ordinary user: a text, by exit status and pipe."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setresgid(USER, USER, USER)
            os.setresuid(USER, USER, USER)
            try:
                text = repr(function(*args))
            except OSError as error:
                text = errno.errorcode[error.errno]
            os.write(write, text.encode())
            status = 0
        finally:
            os._exit(status)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        text = pipe.read().decode()
    os.waitpid(child, 0)
    return text


def ended_by(function, *args):
    """How a child that calls the function ends: its exit status, or minus a signal."""
    child = os.fork()
    if child == 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        try:
            function(*args)
            os._exit(0)
        except OSError as error:
            os._exit(error.errno)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@section
def ranges():
    """fallocate on small files and on large ones."""
    for size in (0, 10, 3000, 4000, 5000, 3 * K64, 1 << 20):
        for mode in (0, KEEP, PUNCH | KEEP, ZERO, ZERO | KEEP):
            for off, length in ((0, 1), (0, 100), (5, 3990), (100, 10000), (2999, 4), (K64, K64), (K64 - 7, 14),
                                (2 * K64 + 5, 200000), (5 << 20, 1 << 20)):
                name = "f%d-%d-%d-%d" % (size, mode, off, length)
                fd = create(name, data_of(size, size))
                show(name, fallocate, fd, mode, off, length)
                show("size", lambda fd=fd: os.fstat(fd).st_size)
                show("content", content, fd)
                os.close(fd)
                os.unlink(name)
    fd = create("space")
    fallocate(fd, 0, 0, 8 << 20)
    show("space is taken", lambda: os.fstat(fd).st_blocks >= 16384)
    fallocate(fd, PUNCH | KEEP, 1 << 20, 6 << 20)
    show("and given back", lambda: os.fstat(fd).st_blocks < 6000)
    fallocate(fd, KEEP, 8 << 20, 4 << 20)
    show("beyond the end", lambda: (os.fstat(fd).st_size, os.fstat(fd).st_blocks >= 12000))
    os.pwrite(fd, b"x" * K64, 9 << 20)
    show("written there", lambda: (os.fstat(fd).st_size, os.pread(fd, 5, (9 << 20) - 2)))
    os.ftruncate(fd, 0)
    show("nothing is left", lambda: os.fstat(fd).st_blocks < 64)
    os.close(fd)


@section
def range_errors():
    fd = create("f", b"0123456789")
    top = (1 << 63) - 1
    for mode in (0, KEEP, PUNCH | KEEP, ZERO):
        for off, length in ((0, 0), (-1, 5), (5, -1), (top, 1), (top - 5, 10), (0, -top - 1)):
            show("%d at %d +%d" % (mode, off, length), fallocate, fd, mode, off, length)
    for mode in (PUNCH, PUNCH | ZERO | KEEP, 4, 1 << 20, COLLAPSE | KEEP, INSERT | KEEP):
        show("mode %d" % mode, fallocate, fd, mode, 0, 4096)
    show("posix_fallocate", os.posix_fallocate, fd, 5, 20)
    show("posix_fallocate 0", os.posix_fallocate, fd, 0, 0)
    show("content", content, fd)
    os.close(fd)
    show("closed", fallocate, fd, 0, 0, 1)
    fd = os.open("f", os.O_RDONLY)
    show("read-only", fallocate, fd, 0, 0, 1)
    show("posix read-only", os.posix_fallocate, fd, 0, 1)
    os.close(fd)
    fd = os.open("f", os.O_PATH)
    show("O_PATH", fallocate, fd, 0, 0, 1)
    os.close(fd)
    fd = os.open(".", os.O_RDONLY)
    show("directory", fallocate, fd, 0, 0, 1)
    os.close(fd)
    os.mkfifo("pipe")
    fd = os.open("pipe", os.O_RDWR)
    show("fifo", fallocate, fd, 0, 0, 1)
    show("posix fifo", os.posix_fallocate, fd, 0, 1)
    os.close(fd)
    fd = os.open("f", os.O_WRONLY | os.O_APPEND)
    show("append", fallocate, fd, 0, 30, 10)
    show("append punches", fallocate, fd, PUNCH | KEEP, 0, 3)
    os.close(fd)
    show("content", get, "f")


@section
def holes():
    def look(name, size):
        fd = os.open(name, os.O_RDONLY)
        for off in sorted({0, 1, K64 - 1, K64, 2 * K64 - 1, 2 * K64, 3 * K64, 20 * K64 + 5, 40 * K64, size - 1, size,
                           size + 1, 1 << 40, (1 << 63) - 1}):
            if off >= 0:
                show("%s data %d" % (name, off), os.lseek, fd, off, os.SEEK_DATA)
                show("%s hole %d" % (name, off), os.lseek, fd, off, os.SEEK_HOLE)
        show("position", os.lseek, fd, 0, os.SEEK_CUR)
        show("negative", os.lseek, fd, -5, os.SEEK_DATA)
        show("whence", os.lseek, fd, 0, 9)
        os.close(fd)

    os.close(create("empty"))
    look("empty", 0)
    os.close(create("small", b"x" * 1000))
    look("small", 1000)
    os.close(create("full", data_of(3, 5 * K64)))
    look("full", 5 * K64)
    fd = create("sparse")
    os.ftruncate(fd, 50 * K64)
    look("sparse", 50 * K64)
    os.pwrite(fd, data_of(1, K64), 2 * K64)
    os.pwrite(fd, data_of(1, 3 * K64), 21 * K64)
    os.pwrite(fd, data_of(1, K64), 41 * K64)
    os.fsync(fd)
    look("sparse", 50 * K64)
    os.pwrite(fd, data_of(1, 10 * K64), 50 * K64)
    fallocate(fd, PUNCH | KEEP, 22 * K64, K64)
    fallocate(fd, PUNCH | KEEP, 55 * K64, 20 * K64)
    look("sparse", 60 * K64)
    os.ftruncate(fd, 20 * K64)
    look("sparse", 20 * K64)
    os.close(fd)
    fd = os.open(".", os.O_RDONLY)
    os.close(fd)
    # cp looks for holes.
    subprocess.run(["cp", "--sparse=auto", "sparse", "copied"], check=True)
    show("cp", lambda: get("copied") == get("sparse"))


@section
def copies():
    data = data_of(4, 40 * K64 + 77)
    os.close(create("from", data))
    os.close(create("tiny", b"tiny file"))

    def copy(source, target, length, off_in=None, off_out=None):
        a, b = os.open(source, os.O_RDONLY), os.open(target, os.O_RDWR | os.O_CREAT)
        try:
            done = 0
            while done < length:
                n = os.copy_file_range(a, b, length - done, None if off_in is None else off_in + done,
                                       None if off_out is None else off_out + done)
                if n == 0:
                    break
                done += n
            return done, os.lseek(a, 0, os.SEEK_CUR), os.lseek(b, 0, os.SEEK_CUR)
        finally:
            os.close(a)
            os.close(b)

    for source, target, length, off_in, off_out in (
            ("from", "a", 1 << 30, None, None), ("from", "b", 100, 5, 10), ("from", "b", 3 * K64, K64 - 3, 2 * K64 + 1),
            ("tiny", "c", 100, None, None), ("tiny", "c", 4, 3, 3990), ("tiny", "c", 9, 0, 3999), ("from", "c", 2000, 40 * K64, 0),
            ("tiny", "d", 10, 9, 0), ("tiny", "d", 10, 100, 50), ("from", "d", 0, 0, 100), ("from", "from", K64, 0, 20 * K64 + 1),
            ("tiny", "tiny", 3, 0, 5)):
        show("copy %s %s %d %s %s" % (source, target, length, off_in, off_out), copy, source, target, length, off_in,
             off_out)
        show("target", get, target)
    show("overlap", copy, "from", "from", 2 * K64, 0, K64)
    show("overlap of one", copy, "tiny", "tiny", 4, 0, 3)
    reader, writer = os.open("from", os.O_RDONLY), os.open("e", os.O_WRONLY | os.O_CREAT)
    show("from a write-only", lambda: os.copy_file_range(writer, writer, 10, 0, 100))
    show("to a read-only", lambda: os.copy_file_range(reader, reader, 10, 0, 100))
    appender = os.open("e", os.O_WRONLY | os.O_APPEND)
    show("to an appender", lambda: os.copy_file_range(reader, appender, 10))
    folder = os.open(".", os.O_RDONLY)
    show("from a directory", lambda: os.copy_file_range(folder, writer, 10))
    show("to a directory", lambda: os.copy_file_range(reader, folder, 10))
    os.mkfifo("pipe")
    pipe = os.open("pipe", os.O_RDWR)
    show("to a fifo", lambda: os.copy_file_range(reader, pipe, 10))
    show("flags", lambda: posix_ops.libc("copy_file_range", reader, None, writer, None, 10, 1))
    FICLONE = 0x40049409
    show("FICLONE", fcntl.ioctl, writer, FICLONE, reader)
    for fd in (reader, writer, appender, folder, pipe):
        os.close(fd)
    # To another file system there is no server's copy; the kernel's word is its own.
    fd = os.open("tiny", os.O_RDWR)
    size = os.fstat(fd).st_size
    show("splice", lambda: os.sendfile(fd, os.open("from", os.O_RDONLY), 0, 100))
    show("size", lambda: os.fstat(fd).st_size >= size)
    os.close(fd)


@section
def flags():
    """preadv2 and pwritev2."""
    fd = create("f", b"0123456789")
    for flag in (0, RWF_DSYNC, RWF_SYNC, RWF_DSYNC | RWF_SYNC, RWF_HIPRI):
        show("pwritev2 %d" % flag, os.pwritev, fd, [b"ab", b"cd"], 2, flag)
    show("append", os.pwritev, fd, [b"end"], 0, RWF_APPEND)
    show("content", content, fd)
    show("append far", os.pwritev, fd, [b"END"], 4 << 20, RWF_APPEND | RWF_DSYNC)
    show("content", content, fd)
    os.pwrite(fd, data_of(8, 5 * K64), 0)
    show("append striped", os.pwritev, fd, [b"more" * 1000], 0, RWF_APPEND)
    show("size", lambda: os.fstat(fd).st_size)
    show("content", content, fd)
    show("unknown flag", os.pwritev, fd, [b"x"], 0, 1 << 20)
    show("unknown read flag", os.preadv, fd, [bytearray(1)], 0, 1 << 20)
    many = [b"%d," % number for number in range(1000)]
    show("a thousand pieces", os.pwritev, fd, many, 70000)
    show("read back", os.pread, fd, 3890, 70000)
    show("too many pieces", os.pwritev, fd, [b"x"] * 1025, 0)
    show("nothing", os.write, fd, b"")
    show("nothing at an offset", os.pwrite, fd, b"", 9 << 20)
    show("size", lambda: os.fstat(fd).st_size)
    show("sync_file_range", lambda: posix_ops.libc("sync_file_range", fd, ctypes.c_long(0), ctypes.c_long(4096), 7))
    show("fadvise", os.posix_fadvise, fd, 0, 100000, os.POSIX_FADV_DONTNEED)
    show("readahead", lambda: posix_ops.libc("readahead", fd, ctypes.c_long(0), 65536))
    os.close(fd)
    fd = os.open("f", os.O_WRONLY | os.O_APPEND | os.O_DSYNC)
    show("O_APPEND O_DSYNC", os.write, fd, b"tail")
    os.close(fd)
    fd = os.open("f", os.O_RDWR | os.O_APPEND)
    show("position", os.lseek, fd, 5, os.SEEK_SET)
    show("append", os.write, fd, b"x")
    show("position", lambda: os.lseek(fd, 0, os.SEEK_CUR) == os.fstat(fd).st_size)
    os.close(fd)


def set_id(name, mode, data, owner=USER):
    put(name, data)
    os.chown(name, owner, owner)
    os.chmod(name, mode)


CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0)


@section
def privileges():
    """Who writes takes away set-id bits and capabilities."""
    os.chmod(".", 0o777)

    def write(name, off=0):
        fd = os.open(name, os.O_WRONLY)
        os.pwrite(fd, b"new", off)
        os.close(fd)

    def allocate(name, mode, off=0):
        fd = os.open(name, os.O_WRONLY)
        fallocate(fd, mode, off, 5)
        os.close(fd)

    def copy(name):
        a, b = os.open("source", os.O_RDONLY), os.open(name, os.O_WRONLY)
        os.copy_file_range(a, b, 10)
        os.close(a)
        os.close(b)

    def mapped(name):
        fd = os.open(name, os.O_RDWR)
        with mmap.mmap(fd, 0) as memory:
            memory[0] = 1
            memory.flush()
        os.close(fd)

    put("source", b"s" * 100)
    os.chmod("source", 0o644)
    actions = (("write", write), ("write far", lambda name: write(name, 1 << 20)), ("truncate", lambda name: os.truncate(name, 5)),
               ("truncate same", lambda name: os.truncate(name, os.stat(name).st_size)),
               ("grow", lambda name: os.truncate(name, 1 << 20)),
               ("O_TRUNC", lambda name: os.close(os.open(name, os.O_WRONLY | os.O_TRUNC))),
               ("allocate", lambda name: allocate(name, 0)), ("allocate far", lambda name: allocate(name, 0, 1 << 20)),
               ("punch", lambda name: allocate(name, PUNCH | KEEP)), ("zero", lambda name: allocate(name, ZERO)),
               ("copy", copy), ("open only", lambda name: os.close(os.open(name, os.O_WRONLY))),
               ("empty write", lambda name: os.close(os.open(name, os.O_WRONLY))))
    for size in (100, 2 * K64):
        for mode in (0o6777, 0o4777, 0o2777, 0o2767, 0o6766):
            for label, action in actions:
                set_id("f", mode, b"x" * size)
                text = as_user(action, "f")
                show("%s of %o, %d bytes: %s" % (label, mode, size, text), facts, "f")
        for label, action in actions:
            set_id("f", 0o6777, b"x" * size)
            action("f")
            show("root's %s" % label, facts, "f")
        for who in ("user", "root"):
            for label, action in actions:
                set_id("f", 0o777, b"x" * size)
                os.setxattr("f", "security.capability", CAPABILITY)
                text = as_user(action, "f") if who == "user" else action("f")
                show("capability after %s's %s of %d: %s" % (who, label, size, text),
                     lambda: len(os.getxattr("f", "security.capability")))


@section
def capabilities():
    """Who sets and removes security.capability; what a chmod of an open file means for its writer."""
    os.chmod(".", 0o777)
    set_id("f", 0o700, b"x", owner=0)
    os.setxattr("f", "security.capability", CAPABILITY)
    show("removed by a user", as_user, os.removexattr, "f", "security.capability")
    show("set by a user", as_user, os.setxattr, "f", "security.capability", CAPABILITY)
    os.chown("f", USER, USER)
    os.setxattr("f", "security.capability", CAPABILITY)
    show("removed by the owner", as_user, os.removexattr, "f", "security.capability")
    set_id("f", 0o777, b"x")
    os.setxattr("f", "security.capability", CAPABILITY)
    os.chown("f", 5, 5)
    show("capability after chown", lambda: len(os.getxattr("f", "security.capability")))
    set_id("f", 0o6777, b"x" * 5000)
    fd = os.open("f", os.O_RDWR)
    os.chmod("f", 0o6755)
    show("set while open", as_user, os.pwrite, fd, b"y", 0)
    show("facts", facts, "f")
    os.close(fd)


@section
def limits():
    """RLIMIT_FSIZE, the largest sizes, bad memory."""

    def limited(handler, function):
        resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))
        signal.signal(signal.SIGXFSZ, handler)
        function()

    def write(off, length):
        fd = os.open("f", os.O_WRONLY | os.O_CREAT)
        n = os.pwrite(fd, b"x" * length, off)
        os._exit(100 if n == length else 101)

    for off, length in ((0, 99999), (0, 100000), (99990, 100), (100000, 1), (100001, 1), (5000000, 10)):
        for handler in (signal.SIG_DFL, signal.SIG_IGN):
            show("write %d +%d" % (off, length), ended_by, limited, handler, lambda off=off, length=length: write(off, length))
            show("size", lambda: os.stat("f").st_size)
            os.unlink("f")
    put("g", b"x" * 10)
    for size in (100000, 100001):
        show("truncate %d" % size, ended_by, limited, signal.SIG_IGN, lambda size=size: os.truncate("g", size))
        show("truncate %d" % size, ended_by, limited, signal.SIG_DFL, lambda size=size: os.truncate("g", size))
    for mode in (0, KEEP):
        show("fallocate %d" % mode, ended_by, limited, signal.SIG_IGN,
             lambda mode=mode: fallocate(os.open("g", os.O_RDWR), mode, 99000, 2000))
    show("append", ended_by, limited, signal.SIG_IGN,
         lambda: os.write(os.open("g", os.O_WRONLY | os.O_APPEND), b"y" * 200))
    show("size", lambda: os.stat("g").st_size)
    fd = create("bad", b"0123456789" * 1000)
    nowhere = mmap.mmap(-1, 8192)
    base = ctypes.addressof(ctypes.c_char.from_buffer(nowhere))
    LIBC.mprotect(ctypes.c_void_p(base), 8192, 0)
    for label, call in (("write", LIBC.pwrite), ("read", LIBC.pread)):
        show("%s of bad memory" % label,
             lambda call=call: posix_ops_check(call(fd, ctypes.c_void_p(base), ctypes.c_size_t(100), ctypes.c_long(0))))
        show("%s of null" % label,
             lambda call=call: posix_ops_check(call(fd, None, ctypes.c_size_t(100), ctypes.c_long(0))))
    show("content", content, fd)
    show("huge", lambda: posix_ops_check(LIBC.pread(fd, ctypes.c_void_p(base), ctypes.c_size_t((1 << 64) - 1), ctypes.c_long(0))))
    os.close(fd)


def posix_ops_check(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


@section
def moved():
    """Which of mtime and ctime each change moves, on small and on striped files."""

    def stamps(name, action):
        fd = os.open(name, os.O_RDWR)
        os.utime(name, ns=(10 ** 18, 10 ** 18))
        before = os.stat(name)
        time.sleep(0.02)
        action(fd)
        after = os.fstat(fd)
        os.close(fd)
        closed = os.stat(name)
        text = ""
        for now in (after, closed):
            text += "m" if now.st_mtime_ns != before.st_mtime_ns else "-"
            text += "c" if now.st_ctime_ns != before.st_ctime_ns else "-"
            text += "=" if now.st_mtime_ns == now.st_ctime_ns else " "
        return text + ("now" if abs(closed.st_mtime - time.time()) < 5 else "then")

    for size in (100, 4 * K64):
        for label, action in (
                ("write", lambda fd: os.pwrite(fd, b"x", 0)), ("write nothing", lambda fd: os.pwrite(fd, b"", 0)),
                ("read", lambda fd: os.pread(fd, 10, 0)), ("truncate less", lambda fd: os.ftruncate(fd, 50)),
                ("truncate same", lambda fd: os.ftruncate(fd, size)), ("truncate more", lambda fd: os.ftruncate(fd, size + 10)),
                ("fsync", os.fsync), ("allocate inside", lambda fd: fallocate(fd, 0, 0, 10)),
                ("allocate more", lambda fd: fallocate(fd, 0, size, 10)), ("keep", lambda fd: fallocate(fd, KEEP, size, 10)),
                ("punch", lambda fd: fallocate(fd, PUNCH | KEEP, 0, 10)), ("zero", lambda fd: fallocate(fd, ZERO, 0, 10)),
                ("seek", lambda fd: os.lseek(fd, 0, os.SEEK_HOLE))):
            os.close(create("f", data_of(size, size)))
            show("%s of %d" % (label, size), stamps, "f", action)


@section
def memory():
    """Mappings: shared and private, with reads, writes and truncates on the same mount."""
    page = 4096

    def touch(name, at, write):
        fd = os.open(name, os.O_RDWR)
        with mmap.mmap(fd, 4 * page) as m:
            os.ftruncate(fd, page + 10)
            if write:
                m[at] = 7
            else:
                m[at]  # pylint: disable=pointless-statement

    for at in (5, page + 5, page + 20, 2 * page, 3 * page + 1):
        for write in (False, True):
            put("f", data_of(1, 4 * page))
            show("touch %d %s" % (at, write), ended_by, touch, "f", at, write)
            show("size", lambda: os.stat("f").st_size)
            show("content", get, "f")
    fd = create("g", data_of(2, 40 * page))
    with mmap.mmap(fd, 40 * page) as m:
        for at in range(0, 40 * page, 3 * page):
            m[at:at + 5] = b"dirty"
            show("read sees it", os.pread, fd, 7, at)
            os.pwrite(fd, b"WRITE", at + 2)
            show("mapping sees it", lambda at=at: m[at:at + 8])
        os.ftruncate(fd, 10 * page)
        os.ftruncate(fd, 40 * page)
        show("cut away", lambda: m[11 * page:11 * page + 8])
        m[20 * page:20 * page + 3] = b"new"
        fallocate(fd, PUNCH | KEEP, 0, 4 * page)
        show("punched", lambda: m[0:8])
        os.copy_file_range(fd, fd, page, 20 * page, 0)
        show("copied", lambda: m[0:4])
        m.flush()
    show("content", content, fd)
    with mmap.mmap(fd, 40 * page, flags=mmap.MAP_PRIVATE) as m:
        m[0:7] = b"private"
        show("private", lambda: m[0:7])
    show("file", os.pread, fd, 8, 0)
    os.close(fd)
    show("map of a write-only", lambda: mmap.mmap(os.open("g", os.O_WRONLY), page))
    show("shared map of a read-only", lambda: mmap.mmap(os.open("g", os.O_RDONLY), page, prot=mmap.PROT_WRITE | mmap.PROT_READ))
    fd = os.open("g", os.O_RDWR)
    m = mmap.mmap(fd, page)
    os.close(fd)
    m[0:5] = b"after"
    m.flush()
    m.close()
    show("after close", lambda: get("g")[:6])
    fd = os.open("g", os.O_RDWR)
    m = mmap.mmap(fd, page)
    os.close(fd)
    os.unlink("g")
    m[0:8] = b"unlinked"
    m.flush()
    show("unlinked", lambda: m[0:8])
    m.close()


@section
def libraries():
    """Programs and shared libraries run from here."""
    put("lib.c", b"int seven(void) { return 7; }\n")
    put("main.c", b"int seven(void); int main(void) { return seven(); }\n")
    show("cc", lambda: subprocess.run(["cc", "-shared", "-fPIC", "-o", "libseven.so", "lib.c"], check=False).returncode)
    show("cc", lambda: subprocess.run(["cc", "-o", "prog", "main.c", "-L.", "-lseven", "-Wl,-rpath,$ORIGIN"], check=False).returncode)
    show("run", lambda: subprocess.run(["./prog"], check=False).returncode)
    library = ctypes.CDLL("./libseven.so")
    show("dlopen", library.seven)
    os.chmod("prog", 0o000)
    show("no x", lambda: subprocess.run(["./prog"], check=False))
    os.chmod("prog", 0o755)
    fd = os.open("prog", os.O_RDWR)
    show("exec of what is open for writing", lambda: subprocess.run(["./prog"], check=False))
    os.close(fd)
    show("run", lambda: subprocess.run(["./prog"], check=False).returncode)
    os.rename("prog", "prog2")
    show("run", lambda: subprocess.run(["./prog2"], check=False).returncode)


def lock(kind, start, length, whence=0):
    return struct.pack("hhqqi4x", kind, whence, start, length, 0)


def lock_show(answer):
    kind, whence, start, length, _ = struct.unpack("hhqqi4x", answer)
    return kind, whence, start, length


@section
def range_locks():
    put("f", b"x" * 1000)
    one, two = os.open("f", os.O_RDWR), os.open("f", os.O_RDWR)
    show("ofd write", lambda: lock_show(fcntl.fcntl(one, F_OFD_SETLK, lock(fcntl.F_WRLCK, 0, 100))))
    show("ofd other", lambda: lock_show(fcntl.fcntl(two, F_OFD_SETLK, lock(fcntl.F_WRLCK, 50, 100))))
    show("ofd get", lambda: lock_show(fcntl.fcntl(two, F_OFD_GETLK, lock(fcntl.F_WRLCK, 50, 100))))
    show("ofd read beside", lambda: lock_show(fcntl.fcntl(two, F_OFD_SETLK, lock(fcntl.F_RDLCK, 100, 0))))
    show("posix against ofd", lambda: lock_show(fcntl.fcntl(one, fcntl.F_GETLK, lock(fcntl.F_WRLCK, 0, 0))))
    show("split", lambda: lock_show(fcntl.fcntl(one, F_OFD_SETLK, lock(fcntl.F_UNLCK, 10, 10))))
    show("in the gap", lambda: lock_show(fcntl.fcntl(two, F_OFD_SETLK, lock(fcntl.F_WRLCK, 10, 10))))
    show("beside the gap", lambda: lock_show(fcntl.fcntl(two, F_OFD_SETLK, lock(fcntl.F_WRLCK, 10, 11))))
    os.close(two)
    show("closed lets go", lambda: lock_show(fcntl.fcntl(one, F_OFD_SETLK, lock(fcntl.F_WRLCK, 0, 0))))
    show("bad range", lambda: lock_show(fcntl.fcntl(one, F_OFD_SETLK, lock(fcntl.F_WRLCK, -5, 2))))
    reader = os.open("f", os.O_RDONLY)
    show("write lock of a reader", lambda: lock_show(fcntl.fcntl(reader, F_OFD_SETLK, lock(fcntl.F_WRLCK, 0, 1))))
    os.close(one)
    os.close(reader)

    # Two processes that wait for each other: one of them is told.
    fd = os.open("f", os.O_RDWR)
    ready, go = os.pipe(), os.pipe()
    fcntl.lockf(fd, fcntl.LOCK_EX, 1, 0)
    child = os.fork()
    if child == 0:
        mine = os.open("f", os.O_RDWR)
        fcntl.lockf(mine, fcntl.LOCK_EX, 1, 1)
        os.write(ready[1], b"r")
        try:
            fcntl.lockf(mine, fcntl.LOCK_EX, 1, 0)
            os._exit(0)
        except OSError as error:
            os._exit(error.errno)
    os.read(ready[0], 1)
    while "FLOCK" not in waiting(child):
        time.sleep(0.01)
    show("deadlock", fcntl.lockf, fd, fcntl.LOCK_EX, 1, 1)
    fcntl.lockf(fd, fcntl.LOCK_UN, 1, 0)
    show("the other", lambda: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    # A lock is waited for, and a signal ends the waiting.
    fcntl.lockf(fd, fcntl.LOCK_EX)
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, lambda *_: os._exit(4))
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        fcntl.lockf(os.open("f", os.O_RDWR), fcntl.LOCK_EX)
        os._exit(0)
    show("interrupted", lambda: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    for end in go:
        os.close(end)
    # Closing any descriptor of the file lets a process's POSIX locks go.
    os.close(os.open("f", os.O_RDONLY))
    show("gone with a close", lambda: ended_by(lambda: fcntl.lockf(os.open("f", os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)))
    fcntl.flock(fd, fcntl.LOCK_SH)
    show("flock shared", lambda: ended_by(lambda: fcntl.flock(os.open("f", os.O_RDWR), fcntl.LOCK_SH | fcntl.LOCK_NB)))
    show("flock exclusive", lambda: ended_by(lambda: fcntl.flock(os.open("f", os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)))
    show("flock is inherited", lambda: ended_by(lambda: fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)))
    os.close(fd)


def waiting(pid):
    """The locks a process waits for, as /proc/locks tells."""
    with open("/proc/locks", encoding="ascii") as file:
        for line in file:
            words = line.split()
            if words[1] == "->" and words[5] == str(pid):
                return "FLOCK"
    return ""


@section
def unaligned():
    """O_DIRECT with any alignment of memory, offset and length; local file systems do the same without the flag."""
    direct = 0 if "BUFFERED" in os.environ else os.O_DIRECT
    block = mmap.mmap(-1, 1 << 20)
    fd = os.open("f", os.O_RDWR | os.O_CREAT | direct)
    view = memoryview(block)
    for number, (off, at, length) in enumerate(((0, 0, 4096), (1, 3, 5), (4095, 1, 2), (K64 - 1, 7, 3), (100000, 513, 70001),
                                                (3 << 20, 4096, 4096), (12345, 0, 512))):
        view[at:at + length] = data_of(number, length)
        show("write %d" % number, os.pwritev, fd, [view[at:at + length]], off)
    back = mmap.mmap(-1, 1 << 20)
    again = memoryview(back)
    for off, at, length in ((0, 1, 10), (4090, 5, 20), (99990, 33, 70100), ((3 << 20) + 4000, 0, 4096), (9 << 20, 0, 512)):
        n = show("read %d" % off, os.preadv, fd, [again[at:at + length]], off)
        show("bytes", lambda at=at, n=n: bytes(again[at:at + n]))
    os.close(fd)
    fd = os.open("f", os.O_WRONLY | os.O_APPEND | direct)
    show("append", os.writev, fd, [view[1:101]])
    show("append", os.writev, fd, [view[3:5003]])
    os.close(fd)
    show("size", lambda: os.stat("f").st_size)
    show("content", get, "f")
    view.release()
    again.release()


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


if __name__ == "__main__":
    main()
