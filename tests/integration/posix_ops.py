"""A scripted sequence of system calls that prints what each gives: posix_ops.py DIR SECTION...

Run on a local file system and on a mount, the outputs must be equal (basics.py). So nothing is printed that may differ
between file systems: inode numbers, block counts, sizes of directories, order of entries, absolute times. A line is
"LABEL -> RESULT", the result a value or the name of an errno.
"""

import ctypes
import errno
import fcntl
import hashlib
import mmap
import os
import random
import shutil
import socket
import stat
import subprocess
import sys
import time

LIBC = ctypes.CDLL(None, use_errno=True)
AT_FDCWD = -100
RENAME_NOREPLACE, RENAME_EXCHANGE = 1, 2
SECTIONS = {}


def section(function):
    SECTIONS[function.__name__] = function
    return function


def show(label, function, *args, **options):
    """Calls, prints, returns the result (None after an error)."""
    try:
        value = function(*args, **options)
    except OSError as error:
        print("%s -> %s" % (label, errno.errorcode.get(error.errno, error.errno)))
        return None
    text = value if isinstance(value, (str, int, bytes, type(None), bool, list, tuple)) else "ok"
    if isinstance(text, bytes) and len(text) > 64:
        text = "%d bytes %s" % (len(text), hashlib.sha256(text).hexdigest()[:16])
    print("%s -> %r" % (label, text))
    return value


def libc(name, *args):
    if getattr(LIBC, name)(*args) < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return 0


def facts(path, follow=False):
    st = os.stat(path) if follow else os.lstat(path)
    kind = stat.S_IFMT(st.st_mode)
    size = st.st_size if kind in (stat.S_IFREG, stat.S_IFLNK) else "-"
    return "%o %s links %s uid %d gid %d rdev %x" % (st.st_mode, size, st.st_nlink, st.st_uid, st.st_gid, st.st_rdev)


def data_of(seed, size):
    return random.Random(seed).randbytes(size)


def put(path, data=b"", mode=0o644, flags=0):
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | flags, mode)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view):]
    finally:
        os.close(fd)


def get(path):
    with open(path, "rb") as file:
        return file.read()


@section
def opens():
    for label, flags in (("missing", os.O_RDONLY), ("creat", os.O_CREAT | os.O_RDWR),
                         ("excl again", os.O_CREAT | os.O_EXCL | os.O_RDWR), ("read", os.O_RDONLY),
                         ("directory", os.O_DIRECTORY), ("path", os.O_PATH), ("trunc", os.O_RDWR | os.O_TRUNC)):
        show("open " + label, lambda flags=flags: os.close(os.open("f", flags, 0o640)))
    show("facts", facts, "f")
    show("open dir for writing", os.open, ".", os.O_WRONLY)
    show("creat on dir", os.open, ".", os.O_CREAT | os.O_RDWR)
    show("open through file", os.open, "f/x", os.O_RDONLY)
    show("creat through missing", os.open, "no/x", os.O_CREAT | os.O_RDWR)
    os.symlink("f", "l")
    os.symlink("dangling", "dl")
    os.symlink("loop2", "loop1")
    os.symlink("loop1", "loop2")
    show("nofollow", os.open, "l", os.O_RDONLY | os.O_NOFOLLOW)
    show("excl on link", os.open, "dl", os.O_CREAT | os.O_EXCL | os.O_RDWR)
    show("creat through dangling", lambda: os.close(os.open("dl", os.O_CREAT | os.O_RDWR, 0o600)))
    show("facts of target", facts, "dangling")
    show("loop", os.open, "loop1", os.O_RDONLY)
    show("long name", os.open, "n" * 255, os.O_CREAT | os.O_RDWR)
    show("too long name", os.open, "n" * 256, os.O_CREAT | os.O_RDWR)
    show("trailing slash", os.open, "f/", os.O_RDONLY)
    show("creat trailing slash", os.open, "new/", os.O_CREAT | os.O_RDWR)
    show("mkdir trailing slash", os.mkdir, "dir/")
    show("empty path", os.open, "", os.O_RDONLY)
    fd = os.open("f", os.O_RDONLY)
    show("write on read-only", os.write, fd, b"x")
    show("ftruncate on read-only", os.ftruncate, fd, 1)
    os.close(fd)
    fd = os.open("f", os.O_WRONLY)
    show("read on write-only", os.read, fd, 1)
    os.close(fd)
    for mask in (0, 0o22, 0o77, 0o777):
        old = os.umask(mask)
        put("u%o" % mask, mode=0o6777)
        os.mkdir("ud%o" % mask, 0o1777)
        os.umask(old)
        show("umask %o" % mask, lambda mask=mask: (facts("u%o" % mask), facts("ud%o" % mask)))


@section
def data():
    rng = random.Random(11)
    model = bytearray()
    fd = os.open("f", os.O_RDWR | os.O_CREAT, 0o644)
    for step in range(120):
        what = rng.randrange(6)
        at = rng.choice([rng.randrange(9000), rng.randrange(300000), rng.randrange(5 << 20)])
        length = rng.choice([1, 7, 4000, 4001, 4096, 65536, rng.randrange(1, 200000)])
        if what <= 2:
            chunk = rng.randbytes(length)
            os.pwrite(fd, chunk, at)
            if at > len(model):
                model.extend(bytes(at - len(model)))
            model[at:at + length] = chunk
        elif what == 3:
            os.ftruncate(fd, at)
            if at < len(model):
                del model[at:]
            else:
                model.extend(bytes(at - len(model)))
        elif what == 4:
            got = os.pread(fd, length, at)
            if got != bytes(model[at:at + length]):
                print("step %d: read %d at %d is wrong" % (step, length, at))
        else:
            size = os.fstat(fd).st_size
            if size != len(model):
                print("step %d: size %d, not %d" % (step, size, len(model)))
    os.close(fd)
    show("all of it", lambda: get("f") == bytes(model))
    show("size", lambda: os.stat("f").st_size)
    for size in (0, 1, 3999, 4000, 4001, 4095, 4096, 4097, 65535, 65536, 65537, 1 << 20, (4 << 20) - 1, 4 << 20,
                 (4 << 20) + 1):
        put("s%d" % size, data_of(size, size))
        show("size %d" % size, lambda size=size: (os.stat("s%d" % size).st_size, get("s%d" % size) == data_of(size, size)))
        os.truncate("s%d" % size, size // 2)
        os.truncate("s%d" % size, size)
        want = data_of(size, size)[:size // 2] + bytes(size - size // 2)
        show("cut and grown %d" % size, lambda size=size, want=want: get("s%d" % size) == want)


@section
def offsets():
    fd = os.open("f", os.O_RDWR | os.O_CREAT)
    show("write", os.write, fd, b"0123456789")
    show("lseek back", os.lseek, fd, -3, os.SEEK_CUR)
    show("read", os.read, fd, 10)
    show("read at end", os.read, fd, 10)
    show("lseek end", os.lseek, fd, 5, os.SEEK_END)
    show("write after hole", os.write, fd, b"x")
    show("content", get, "f")
    show("lseek negative", os.lseek, fd, -1, os.SEEK_SET)
    show("pread beyond", os.pread, fd, 5, 100)
    show("pwrite negative", os.pwrite, fd, b"x", -1)
    show("readv", os.preadv, fd, [bytearray(3), bytearray(4)], 1)
    show("writev", os.pwritev, fd, [b"AB", b"", b"CD"], 2)
    show("content", get, "f")
    show("ftruncate negative", os.ftruncate, fd, -1)
    os.close(fd)
    first = os.open("app", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    second = os.open("app", os.O_WRONLY | os.O_APPEND)
    for number in range(20):
        os.write((first, second)[number % 2], b"record %02d\n" % number)
    os.pwrite(first, b"pwrite appends\n", 0)
    show("position after append", os.lseek, first, 0, os.SEEK_CUR)
    fcntl.fcntl(second, fcntl.F_SETFL, 0)
    os.lseek(second, 0, os.SEEK_SET)
    show("O_APPEND cleared", os.write, second, b"RECORD")
    os.close(first)
    os.close(second)
    show("appended", get, "app")
    fd = os.open("dup", os.O_RDWR | os.O_CREAT)
    other = os.dup(fd)
    os.write(fd, b"one")
    os.write(other, b"two")
    os.close(fd)
    os.close(other)
    show("dup shares its offset", get, "dup")


@section
def sparse():
    fd = os.open("f", os.O_RDWR | os.O_CREAT)
    os.pwrite(fd, b"begin", 0)
    os.pwrite(fd, b"end", 50 << 20)
    show("size", lambda: os.fstat(fd).st_size)
    show("few blocks", lambda: os.fstat(fd).st_blocks < 2000)
    show("hole reads zero", lambda: os.pread(fd, 65536, 20 << 20) == bytes(65536))
    show("before the end", os.pread, fd, 8, (50 << 20) - 5)
    os.ftruncate(fd, 100)
    show("cut", lambda: (os.fstat(fd).st_size, get("f") == b"begin" + bytes(95)))
    os.ftruncate(fd, 10 << 20)
    show("old data stays away", lambda: get("f") == b"begin" + bytes((10 << 20) - 5))
    os.close(fd)


@section
def direct():
    page = mmap.mmap(-1, 1 << 20)
    page[:] = data_of(5, 1 << 20)
    fd = os.open("f", os.O_RDWR | os.O_CREAT | os.O_DIRECT)
    show("write", os.pwritev, fd, [page], 0)
    show("write further", os.pwritev, fd, [page], 7 << 20)
    back = mmap.mmap(-1, 1 << 20)
    show("read", os.preadv, fd, [back], 7 << 20)
    show("equal", lambda: back[:] == page[:])
    show("read over the end", lambda: os.preadv(fd, [back], (8 << 20) - 4096))
    show("size", lambda: os.fstat(fd).st_size)
    os.close(fd)
    show("buffered read agrees", lambda: get("f")[7 << 20:] == page[:])
    with open("f", "r+b") as file:
        file.seek(100)
        file.write(b"buffered")
    fd = os.open("f", os.O_RDONLY | os.O_DIRECT)
    os.preadv(fd, [back], 0)
    show("direct sees buffered", lambda: back[100:108])
    os.close(fd)


@section
def times():
    put("f", b"x")
    show("utime", os.utime, "f", ns=(1_000_000_000_123_456_789, 2_000_000_000_987_654_321))
    st = os.stat("f")
    show("ns", lambda: (st.st_atime_ns, st.st_mtime_ns))
    show("negative", os.utime, "f", ns=(-5_000_000_001, -1))
    st = os.stat("f")
    show("ns", lambda: (st.st_atime_ns, st.st_mtime_ns))
    os.symlink("nowhere", "l")
    show("of a link", os.utime, "l", ns=(7, 8), follow_symlinks=False)
    show("ns of a link", lambda: os.lstat("l").st_mtime_ns)
    show("of a missing", os.utime, "missing")

    def moved(action, path="f"):
        """Which of mtime and ctime an action moves."""
        os.utime("f", ns=(10 ** 18, 10 ** 18))
        before = os.stat(path)
        time.sleep(0.02)
        action()
        after = os.stat(path)
        return ("m" if after.st_mtime_ns != before.st_mtime_ns else "-") + \
            ("c" if after.st_ctime_ns != before.st_ctime_ns else "-")

    os.mkdir("d")
    for label, action, path in (
            ("chmod", lambda: os.chmod("f", 0o600), "f"), ("write", lambda: put("f", b"yy"), "f"),
            ("link", lambda: os.link("f", "f2"), "f"), ("unlink", lambda: os.unlink("f2"), "f"),
            ("rename", lambda: os.rename("f", "f"), "f"), ("truncate", lambda: os.truncate("f", 1), "f"),
            ("truncate same", lambda: os.truncate("f", 1), "f"), ("read", lambda: get("f"), "f"),
            ("xattr", lambda: os.setxattr("f", "user.t", b"1"), "f"), ("create in", lambda: put("d/x"), "d"),
            ("write in", lambda: put("d/x", b"1"), "d"), ("rename in", lambda: os.rename("d/x", "d/y"), "d"),
            ("unlink in", lambda: os.unlink("d/y"), "d"), ("mkdir in", lambda: os.mkdir("d/d"), "d"),
            ("rmdir in", lambda: os.rmdir("d/d"), "d"), ("chmod dir", lambda: os.chmod("d", 0o711), "d")):
        show("moved by " + label, moved, action, path)
    now = time.time()
    put("new", b"x")
    show("stamps are now", lambda: abs(os.stat("new").st_mtime - now) < 5)
    show("utime omit", lambda: os.utime("f", ns=(3, 4)))
    show("utimensat now", os.utime, "f")
    show("is now", lambda: abs(os.stat("f").st_mtime - time.time()) < 5)


@section
def modes():
    put("f")
    for mode in (0, 0o400, 0o777, 0o4755, 0o2755, 0o1644, 0o7777):
        show("chmod %o" % mode, os.chmod, "f", mode)
        show("facts", facts, "f")
    os.chmod("f", 0o644)
    show("chmod missing", os.chmod, "missing", 0)
    if os.geteuid() == 0:
        os.chmod("f", 0o6755)
        show("chown drops suid", os.chown, "f", 12, 34)
        show("facts", facts, "f")
        show("chown -1", os.chown, "f", -1, 5)
        show("facts", facts, "f")
        os.symlink("f", "l")
        show("lchown", os.lchown, "l", 77, 78)
        show("facts", lambda: (facts("l"), facts("f")))
        os.chmod("f", 0o2745)
        show("chown keeps mandatory-lock bit", os.chown, "f", 1, 1)
        show("facts", facts, "f")
    os.mkdir("sg")
    if os.geteuid() == 0:
        os.chown("sg", 0, 4321)
    os.chmod("sg", 0o2775)
    put("sg/f")
    os.mkdir("sg/d")
    show("in a setgid directory", lambda: (facts("sg/f"), facts("sg/d")))


@section
def names():
    os.mkdir("all")
    bad = []
    for code in range(1, 256):
        name = b"all/x" + bytes([code]) + b"y"
        if code == ord("/"):
            continue
        try:
            put(name, bytes([code]))
            if get(name) != bytes([code]):
                bad.append(code)
        except OSError as error:
            bad.append((code, error.errno))
    show("each byte", lambda: bad)
    show("listed", lambda: sorted(os.listdir(b"all")) == sorted(b"x" + bytes([c]) + b"y" for c in range(1, 256) if c != 47))
    for name in ("ünïcödé", "日本語" * 20, " ", "-rf", "a\nb", ".hidden", "...", "x" * 255):
        show("name %r" % name[:10], put, name)
        show("gone", os.unlink, name)
    path = "deep"
    os.mkdir(path)
    here = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    for number in range(200):
        os.mkdir("level-%03d-%s" % (number, "p" * 20), dir_fd=here)
        below = os.open("level-%03d-%s" % (number, "p" * 20), os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = below
    fd = os.open("bottom", os.O_CREAT | os.O_RDWR, dir_fd=here)
    os.write(fd, b"deep down")
    os.close(fd)
    for _ in range(200):
        above = os.open("..", os.O_RDONLY | os.O_DIRECTORY, dir_fd=here)
        os.close(here)
        here = above
    show("back on top", lambda: os.listdir(here)[0][:9])
    os.close(here)
    show("path too long", os.stat, "a/" * 2050)
    show("removed", shutil.rmtree, "deep")


@section
def links():
    put("f", b"linked")
    show("link", os.link, "f", "g")
    show("same", lambda: os.stat("f").st_ino == os.stat("g").st_ino)
    show("facts", facts, "f")
    show("link again", os.link, "f", "g")
    show("link of dir", os.link, ".", "h")
    show("link of missing", os.link, "missing", "h")
    show("unlink one", os.unlink, "f")
    show("other stays", lambda: (facts("g"), get("g")))
    os.symlink("g", "s")
    show("link of symlink", os.link, "s", "s2", follow_symlinks=False)
    show("facts", facts, "s2")
    for target in ("x", "a/b/c", "/absolute", "t" * 4095, "ünï", "a\nb"):
        show("symlink", os.symlink, target, "sl")
        show("readlink", lambda target=target: os.readlink("sl") == target)
        show("facts", facts, "sl")
        os.unlink("sl")
    show("symlink too long", os.symlink, "t" * 4096, "sl")
    show("symlink empty", os.symlink, "", "sl")
    show("symlink exists", os.symlink, "x", "g")
    show("readlink of file", os.readlink, "g")
    show("unlink dir", os.unlink, ".")
    os.mkdir("d")
    show("unlink dir", os.unlink, "d")
    show("rmdir file", os.rmdir, "g")
    show("mkdir exists", os.mkdir, "d")
    show("mkdir on file", os.mkdir, "g")
    show("mkdir below file", os.mkdir, "g/d")
    put("d/x")
    show("rmdir full", os.rmdir, "d")
    os.unlink("d/x")
    show("rmdir .", os.rmdir, "d/.")
    show("rmdir ..", os.rmdir, "d/..")
    os.mkdir("d/e")
    show("links of dir", lambda: os.stat("d").st_nlink)
    os.rmdir("d/e")
    show("links of dir", lambda: os.stat("d").st_nlink)
    show("rmdir", os.rmdir, "d")
    show("rmdir gone", os.rmdir, "d")
    many = 300
    for number in range(many):
        os.link("g", "many%d" % number)
    show("many links", lambda: os.stat("g").st_nlink)
    for number in range(many):
        os.unlink("many%d" % number)
    show("few again", lambda: os.stat("g").st_nlink)


def rename2(src, dst, flags):
    return libc("renameat2", AT_FDCWD, os.fsencode(src), AT_FDCWD, os.fsencode(dst), flags)


@section
def renames():
    def fresh():
        for name in os.listdir("."):
            shutil.rmtree(name) if os.path.isdir(name) and not os.path.islink(name) else os.unlink(name)
        put("f", b"f")
        put("g", b"g")
        os.mkdir("d")
        os.mkdir("e")
        os.mkdir("full")
        put("full/x", b"x")
        os.symlink("f", "s")
        os.link("f", "f2")

    def tree():
        found = []
        for top, folders, files in os.walk("."):
            folders.sort()
            found += [os.path.join(top, n) for n in folders + sorted(files)]
        return found

    pairs = (("f", "new"), ("f", "g"), ("f", "f"), ("f", "f2"), ("f", "d"), ("d", "f"), ("d", "e"), ("d", "full"),
             ("full", "d"), ("d", "d/below"), ("full", "full/x/y"), ("missing", "f"), ("f", "missing/x"), ("s", "g"), ("f", "s"),
             ("f", "full/y"), ("full/x", "x"), ("d", "full/d"), (".", "x"), ("d", ".."), ("f", "g/"), ("d", "new/"),
             ("f", "new/"), ("full/x", "full"), ("f", "n" * 256))
    for src, dst in pairs:
        fresh()
        show("rename %s %s" % (src, dst[:9]), os.rename, src, dst)
        show("tree", tree)
        show("links", lambda: [facts(n) for n in sorted(os.listdir(".")) if n != "n" * 256])
    for flags in (RENAME_NOREPLACE, RENAME_EXCHANGE, 3, 64):
        for src, dst in (("f", "new"), ("f", "g"), ("f", "d"), ("d", "f"), ("full", "d"), ("f", "f2"), ("full", "full/x"),
                         ("full/x", "d"), ("missing", "f"), ("s", "full")):
            fresh()
            show("renameat2 %s %s %d" % (src, dst, flags), rename2, src, dst, flags)
            show("tree", tree)
    fresh()
    os.mkdir("full/sub")
    show("links before", lambda: (os.stat("full").st_nlink, os.stat("d").st_nlink))
    os.rename("full/sub", "d/sub")
    show("links after", lambda: (os.stat("full").st_nlink, os.stat("d").st_nlink))
    show("..", lambda: os.stat("d/sub/..").st_ino == os.stat("d").st_ino)
    fd = os.open("f", os.O_RDWR)
    os.rename("g", "f")
    show("open replaced file", os.pread, fd, 10, 0)
    show("its links", lambda: os.fstat(fd).st_nlink)
    os.close(fd)


@section
def unlinked():
    fd = os.open("f", os.O_RDWR | os.O_CREAT)
    os.write(fd, data_of(1, 100000))
    os.unlink("f")
    show("gone", os.stat, "f")
    show("links", lambda: os.fstat(fd).st_nlink)
    show("read", lambda: os.pread(fd, 100000, 0) == data_of(1, 100000))
    show("write", os.pwrite, fd, b"more", 200000)
    show("size", lambda: os.fstat(fd).st_size)
    show("truncate", os.ftruncate, fd, 50)
    show("chmod", os.fchmod, fd, 0o600)
    show("fsync", os.fsync, fd)
    put("f", b"another")
    show("another of the name", get, "f")
    show("old one", lambda: os.pread(fd, 4, 0) == data_of(1, 4))
    show("link of unlinked", os.link, "/proc/self/fd/%d" % fd, "back", follow_symlinks=True)
    os.close(fd)
    os.mkdir("d")
    dirfd = os.open("d", os.O_RDONLY)
    os.rmdir("d")
    show("create in removed", lambda: os.open("x", os.O_CREAT | os.O_RDWR, dir_fd=dirfd))
    os.close(dirfd)
    os.mkdir("d")
    with os.scandir("d") as entries:
        os.rmdir("d")
        show("list of removed", lambda: [e.name for e in entries])
    fds = []
    for number in range(50):
        fds.append(os.open("m%d" % number, os.O_RDWR | os.O_CREAT))
        os.write(fds[-1], b"%d" % number)
        os.unlink("m%d" % number)
    show("many", lambda: [os.pread(fd, 9, 0) for fd in fds] == [b"%d" % n for n in range(50)])
    for fd in fds:
        os.close(fd)


@section
def special():
    show("mkfifo", os.mkfifo, "fifo", 0o640)
    show("facts", facts, "fifo")
    child = os.fork()
    if child == 0:
        with open("fifo", "wb") as file:
            file.write(b"through the fifo")
        os._exit(0)
    show("fifo", get, "fifo")
    os.waitpid(child, 0)
    server = socket.socket(socket.AF_UNIX)
    show("bind", server.bind, "sock")
    server.listen(1)
    show("facts", facts, "sock")
    client = socket.socket(socket.AF_UNIX)
    show("connect", client.connect, "sock")
    show("open socket", os.open, "sock", os.O_RDONLY)
    client.close()
    server.close()
    show("mknod regular", os.mknod, "reg", 0o600 | stat.S_IFREG)
    show("facts", facts, "reg")
    if os.geteuid() == 0:
        for kind, name in ((stat.S_IFCHR, "null"), (stat.S_IFBLK, "blk")):
            show("mknod", os.mknod, name, 0o666 | kind, os.makedev(1, 3) if name == "null" else os.makedev(259, 70000))
            show("facts", facts, name)
        show("device", put, "null", b"gone")
    else:
        show("mknod", os.mknod, "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))


@section
def xattrs():
    put("f")
    os.mkdir("d")
    os.symlink("f", "l")
    for path in ("f", "d"):
        show("list", os.listxattr, path)
        show("set", os.setxattr, path, "user.a", b"1")
        show("set empty", os.setxattr, path, "user.empty", b"")
        show("set binary", os.setxattr, path, "user.bin", bytes(range(256)))
        show("create exists", os.setxattr, path, "user.a", b"2", os.XATTR_CREATE)
        show("replace missing", os.setxattr, path, "user.none", b"2", os.XATTR_REPLACE)
        show("replace", os.setxattr, path, "user.a", b"two", os.XATTR_REPLACE)
        show("list", lambda path=path: sorted(os.listxattr(path)))
        for name in ("user.a", "user.empty", "user.bin", "user.none"):
            show("get " + name, os.getxattr, path, name)
        show("get short", libc, "getxattr", path.encode(), b"user.bin", ctypes.create_string_buffer(3), 3)
        show("list short", libc, "listxattr", path.encode(), ctypes.create_string_buffer(3), 3)
        show("remove", os.removexattr, path, "user.a")
        show("remove again", os.removexattr, path, "user.a")
        show("list", lambda path=path: sorted(os.listxattr(path)))
        show("long name", os.setxattr, path, "user." + "n" * 250, b"x")
        show("too long name", os.setxattr, path, "user." + "n" * 251, b"x")
        show("no space", os.setxattr, path, "nospace.x", b"x")
        show("too big", os.setxattr, path, "user.big", bytes(65537))
    show("user on symlink", os.setxattr, "l", "user.a", b"x", 0, follow_symlinks=False)
    if os.geteuid() == 0:
        show("trusted", os.setxattr, "f", "trusted.t", b"x")
        show("trusted get", os.getxattr, "f", "trusted.t")
        show("trusted on symlink", os.setxattr, "l", "trusted.t", b"y", 0, follow_symlinks=False)
        show("trusted get", os.getxattr, "l", "trusted.t", follow_symlinks=False)
    else:
        show("trusted", os.setxattr, "f", "trusted.t", b"x")
    fd = os.open("f", os.O_RDWR)
    show("fset", os.setxattr, fd, "user.fd", b"by fd")
    show("fget", os.getxattr, fd, "user.fd")
    os.close(fd)
    os.rename("f", "g")
    show("after rename", os.getxattr, "g", "user.fd")


class Dirent(ctypes.Structure):
    _fields_ = [("ino", ctypes.c_uint64), ("off", ctypes.c_int64), ("reclen", ctypes.c_uint16),
                ("type", ctypes.c_uint8), ("name", ctypes.c_char * 256)]


@section
def directories():
    os.mkdir("d")
    for number in range(3000):
        os.close(os.open("d/%04d-%s" % (number, "x" * (number % 50)), os.O_CREAT | os.O_RDWR))
    names = os.listdir("d")
    show("listed", lambda: (len(names), len(set(names)), hashlib.sha256("".join(sorted(names)).encode()).hexdigest()))
    with os.scandir("d") as entries:
        show("types", lambda: all(e.is_file(follow_symlinks=False) for e in entries))
    LIBC.opendir.restype = LIBC.readdir.restype = ctypes.c_void_p
    LIBC.telldir.restype = ctypes.c_long
    handle = ctypes.c_void_p(LIBC.opendir(b"d"))

    def entry():
        pointer = LIBC.readdir(handle)
        return Dirent.from_address(pointer).name if pointer else None

    order, places = [], []
    while True:
        places.append(LIBC.telldir(handle))
        name = entry()
        if name is None:
            break
        order.append(name)
    show("dots", lambda: sorted(order)[:2])
    show("telldir differs", lambda: len(set(places)) == len(places))
    wrong = 0
    for place in random.Random(3).sample(range(len(order)), 200):
        LIBC.seekdir(handle, ctypes.c_long(places[place]))
        wrong += entry() != order[place]
    show("seekdir", lambda: wrong)
    LIBC.rewinddir(handle)
    seen = set()
    number = 0
    while True:
        name = entry()
        if name is None:
            break
        if name in seen:
            print("twice: %r" % name)
        seen.add(name)
        if name in (b".", b"..") or name.startswith(b"new"):
            continue
        number += 1
        if number % 10 == 0:
            os.unlink(b"d/" + name)
        if number % 100 == 0:
            put("d/new%d" % number)
    show("all seen while changing", lambda: set(order) <= seen)
    LIBC.closedir(handle)
    show("left", lambda: len(os.listdir("d")) - len([n for n in os.listdir("d") if n.startswith("new")]))
    show("removed", shutil.rmtree, "d")
    put("f")
    show("list of file", os.listdir, "f")
    show("list of missing", os.listdir, "missing")


@section
def mappings():
    put("f", data_of(9, 3 * 4096 + 100))
    with open("f", "r+b") as file:
        with mmap.mmap(file.fileno(), 0) as memory:
            show("read", lambda: memory[:] == data_of(9, 3 * 4096 + 100))
            memory[5000:5005] = b"dirty"
            memory.flush()
        show("written", lambda: get("f")[5000:5005])
        file.seek(9000)
        file.write(b"by write")
        file.flush()
        with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as memory:
            show("sees writes", lambda: memory[9000:9008])
        with mmap.mmap(file.fileno(), 0, flags=mmap.MAP_PRIVATE) as memory:
            memory[0:4] = b"mine"
            show("private", lambda: memory[0:4])
    show("not written", lambda: get("f")[:4] == data_of(9, 4))
    put("sparse")
    os.truncate("sparse", 1 << 20)
    with open("sparse", "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        for at in range(0, 1 << 20, 1 << 16):
            memory[at:at + 4] = b"page"
    show("sparse", lambda: hashlib.sha256(get("sparse")).hexdigest())
    put("shared", bytes(4096))
    child = os.fork()
    with open("shared", "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        if child == 0:
            memory[0] = 77
            os._exit(0)
        os.waitpid(child, 0)
        show("shared with a child", lambda: memory[0])


@section
def programs():
    shutil.copy("/bin/cat", "prog")
    os.chmod("prog", 0o755)
    show("exec", lambda: subprocess.run(["./prog"], input=b"hi", stdout=subprocess.PIPE, check=True).stdout)
    put("script", b"#!/bin/sh\necho script $1\n", 0o755)
    os.chmod("script", 0o755)
    show("script", lambda: subprocess.run(["./script", "x"], stdout=subprocess.PIPE, check=True).stdout)
    os.chmod("script", 0o644)
    show("not executable", lambda: subprocess.run(["./script"], check=True))
    show("busy text", lambda: busy())
    show("chdir and getcwd", lambda: os.path.basename(os.getcwd()) != "")


def busy():
    process = subprocess.Popen(["./prog"], stdin=subprocess.PIPE)
    try:
        os.close(os.open("prog", os.O_WRONLY))
        return "opened"
    finally:
        process.stdin.close()
        process.wait()


@section
def locks():
    put("f", b"x" * 100)
    fd = os.open("f", os.O_RDWR)
    show("flock", fcntl.flock, fd, fcntl.LOCK_EX)
    other = os.open("f", os.O_RDWR)
    show("flock again", fcntl.flock, other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    show("unlock", fcntl.flock, fd, fcntl.LOCK_UN)
    show("flock free", fcntl.flock, other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    show("lockf", fcntl.lockf, fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 0)
    child = os.fork()
    if child == 0:
        try:
            fcntl.lockf(os.open("f", os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 5)
            os._exit(0)
        except OSError:
            os._exit(1)
    show("lockf of another", lambda: os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    os.close(fd)
    os.close(other)


@section
def syncs():
    fd = os.open("f", os.O_RDWR | os.O_CREAT | os.O_SYNC)
    show("write O_SYNC", os.write, fd, data_of(2, 100000))
    show("fsync", os.fsync, fd)
    show("fdatasync", os.fdatasync, fd)
    os.close(fd)
    fd = os.open(".", os.O_RDONLY)
    show("fsync of dir", os.fsync, fd)
    show("syncfs", libc, "syncfs", fd)
    os.close(fd)
    show("fallocate", os.posix_fallocate, os.open("f2", os.O_RDWR | os.O_CREAT), 0, 100000)
    show("size", lambda: os.stat("f2").st_size)
    show("statvfs names", lambda: os.statvfs(".").f_namemax)
    show("pathconf", os.pathconf, ".", "PC_NAME_MAX")
    show("copy_file_range", lambda: os.copy_file_range(os.open("f", os.O_RDONLY),
                                                       os.open("copy", os.O_WRONLY | os.O_CREAT), 100000))
    show("copy is equal", lambda: get("copy") == get("f"))
    show("sendfile", lambda: os.sendfile(os.open("s2", os.O_WRONLY | os.O_CREAT), os.open("f", os.O_RDONLY), 0, 5000))
    show("sent", lambda: get("s2") == get("f")[:5000])


@section
def big():
    fd = os.open("f", os.O_RDWR | os.O_CREAT)
    top = (1 << 63) - 1
    for size in ((1 << 31) - 1, 1 << 32, 1 << 44, 1 << 52, 1 << 62, top - 4096, top):
        show("truncate %d" % size, os.ftruncate, fd, size)
        show("size", lambda: os.fstat(fd).st_size)
        show("read at its end", os.pread, fd, 10, size - 5)
    for at in ((1 << 32) - 3, 1 << 40, (1 << 62) + 1, top - 8):
        show("write at %d" % at, os.pwrite, fd, b"12345678", at)
        show("read", os.pread, fd, 20, at)
    show("write over the end", os.pwrite, fd, b"123456789", top - 4)
    show("write at the end", os.pwrite, fd, b"1", top)
    show("seek to the end", os.lseek, fd, 0, os.SEEK_END)
    os.ftruncate(fd, 3)
    show("cut", lambda: (os.fstat(fd).st_size, get("f")))
    os.close(fd)


@section
def access():
    """As an ordinary user in a directory prepared by root: what root's files allow."""
    for name in sorted(os.listdir(".")):
        show("facts " + name, facts, name)
        for bits in (os.R_OK, os.W_OK, os.X_OK):
            show("access %d" % bits, os.access, name, bits)
        if stat.S_ISDIR(os.lstat(name).st_mode):
            show("list " + name, lambda name=name: sorted(os.listdir(name)))
            show("create in " + name, put, name + "/made")
            show("remove in " + name, os.unlink, name + "/theirs")
            show("rename in " + name, os.rename, name + "/theirs2", name + "/x")
            show("look in " + name, lambda name=name: facts(name + "/theirs"))
        else:
            show("read " + name, get, name)
            show("write " + name, put, name, b"w")
            show("truncate " + name, os.truncate, name, 1)
            show("chmod " + name, os.chmod, name, 0o777)
            show("chown " + name, os.chown, name, os.geteuid(), os.getegid())
            show("chgrp " + name, os.chown, name, -1, os.getegid())
            show("utime now " + name, os.utime, name)
            show("utime " + name, os.utime, name, ns=(1, 2))
            show("xattr " + name, os.setxattr, name, "user.x", b"1")
            # Whether files that one may not write can be linked is the host's setting, not the file system's.
            if os.access(name, os.R_OK | os.W_OK):
                show("link " + name, os.link, name, "sticky/linked-" + name)
        show("facts " + name, facts, name)


def access_prepare():
    """By root: files and directories of several owners and modes for the section `access`."""
    for uid, gid, tag in ((0, 0, "root"), (1234, 1234, "own"), (0, 1234, "group"), (0, 5678, "supp"), (4321, 4321, "other")):
        for mode in (0o600, 0o640, 0o604, 0o660, 0o666, 0o755, 0o4755, 0o2775, 0o060, 0o006):
            name = "f-%s-%o" % (tag, mode)
            put(name, b"content")
            os.chown(name, uid, gid)
            os.chmod(name, mode)
        for mode in (0o700, 0o750, 0o705, 0o770, 0o777, 0o1777, 0o711, 0o2775):
            name = "d-%s-%o" % (tag, mode)
            os.mkdir(name)
            for inner in ("theirs", "theirs2"):
                put(name + "/" + inner)
            os.chown(name, uid, gid)
            os.chmod(name, mode)
    os.mkdir("sticky")
    os.chmod("sticky", 0o1777)


def main():
    os.chdir(sys.argv[1])
    os.umask(0o022)
    for name in sys.argv[2:]:
        if name == "access-prepare":
            os.mkdir("access")
            os.chdir("access")
            access_prepare()
            os.chdir("..")
            continue
        print("== " + name)
        if name != "access":
            os.mkdir(name)
        os.chdir(name)
        SECTIONS[name]()
        os.chdir("..")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
