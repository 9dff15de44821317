"""Corner cases of names, modes, owners and times, printed: posix_cases.py DIR SECTION...

The sections walk the ground conformance suites walk: every call on every type of file, as root, as the owner, as a member of
the group and as a stranger; every kind of path; what each call does to every time stamp. Run on a local file system and on a
mount, the outputs must be equal (posix_diff.py), so nothing is printed that may differ between file systems.
"""

import ctypes
import errno
import itertools
import os
import shutil
import stat
import struct
import sys

from posix_base import (FAILED, AT_EACCESS, AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_FOLLOW, AT_SYMLINK_NOFOLLOW, bound, clear, facts,
                        ftrunc, libc, link, main, make, opened, OWNER, put, rename2, RENAME_EXCHANGE,
                        RENAME_NOREPLACE, section, show, STRANGER, tree, tried, TYPES, UTIME_NOW, UTIME_OMIT, utimens, WHO,
                        wr)


# ---- every call on every kind of path ----

CALLS = {
    "open": lambda p: opened(p, os.O_RDONLY),
    "open_w": lambda p: opened(p, os.O_WRONLY),
    "open_dir": lambda p: opened(p, os.O_RDONLY | os.O_DIRECTORY),
    "open_path": lambda p: opened(p, os.O_PATH),
    "open_nofollow": lambda p: opened(p, os.O_RDONLY | os.O_NOFOLLOW),
    "creat": lambda p: opened(p, os.O_WRONLY | os.O_CREAT),
    "creat_excl": lambda p: opened(p, os.O_WRONLY | os.O_CREAT | os.O_EXCL),
    "creat_trunc": lambda p: opened(p, os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
    "creat_dir": lambda p: opened(p, os.O_RDONLY | os.O_CREAT | os.O_DIRECTORY),
    "mkdir": lambda p: os.mkdir(p, 0o755),
    "mkfifo": lambda p: os.mkfifo(p, 0o644),
    "mknod": lambda p: os.mknod(p, 0o600 | stat.S_IFCHR, os.makedev(1, 3)),
    "mknod_reg": lambda p: os.mknod(p, 0o600 | stat.S_IFREG),
    "unlink": os.unlink,
    "rmdir": os.rmdir,
    "link_from": lambda p: link(p, "/new/".strip("/") + "1"),
    "link_follow": lambda p: link(p, "new1", AT_SYMLINK_FOLLOW),
    "link_to": lambda p: link("f", p),
    "symlink_to": lambda p: os.symlink("x", p),
    "rename_from": lambda p: os.rename(p, "new2"),
    "rename_to": lambda p: os.rename("f", p),
    "rename_dir_to": lambda p: os.rename("d", p),
    "exchange": lambda p: rename2("f", p, RENAME_EXCHANGE),
    "noreplace": lambda p: rename2("f", p, RENAME_NOREPLACE),
    "chmod": lambda p: os.chmod(p, 0o700),
    "chown": lambda p: os.chown(p, 0, 0),
    "lchown": lambda p: os.lchown(p, 0, 0),
    "truncate": lambda p: os.truncate(p, 10),
    "utimens": lambda p: utimens(p, (1, 2), (3, 4)),
    "utimens_l": lambda p: utimens(p, (1, 2), (3, 4), follow=False),
    "stat": lambda p: os.stat(p) and 0,
    "lstat": lambda p: os.lstat(p) and 0,
    "readlink": os.readlink,
    "access": lambda p: libc("access", os.fsencode(p), 0),
    "access_x": lambda p: libc("access", os.fsencode(p), 1),
    "statvfs": lambda p: os.statvfs(p).f_namemax,
    "setxattr": lambda p: os.setxattr(p, "user.x", b"1"),
    "getxattr": lambda p: os.getxattr(p, "user.y"),
    "listxattr": lambda p: os.listxattr(p) and 0,
    "removexattr": lambda p: os.removexattr(p, "user.y"),
    "listdir": lambda p: sorted(os.listdir(p)) and 0,
    "chdir": lambda p: (os.chdir(p), os.fchdir(HOME))[1],
}
HOME = -1


def home_set():
    global HOME
    HOME = os.open(".", os.O_RDONLY | os.O_DIRECTORY)


def scene():
    """A small tree with something of everything."""
    clear()
    os.umask(0o022)
    put("f", b"content")
    os.mkdir("d")
    os.mkdir("full")
    put("full/x")
    os.symlink("f", "lf")
    os.symlink("d", "ld")
    os.symlink("full", "lfull")
    os.symlink("gone", "lgone")
    os.symlink("loop2", "loop1")
    os.symlink("loop1", "loop2")
    os.mkfifo("fifo")


LOOKS = frozenset(("open", "open_w", "open_dir", "open_path", "open_nofollow", "stat", "lstat", "readlink", "access", "access_x", "statvfs", "getxattr",
                   "listxattr", "listdir", "chdir"))
LONG = "n" * 255
PATHS = ("f", "d", "full", "missing", "lf", "ld", "lgone", "loop1", "fifo", "", ".", "..", "f/", "d/", "missing/", "lf/", "ld/",
         "lgone/", "loop1/", "fifo/", "d/.", "d/..", "full/.", "full/..", "f/.", "f/..", "f/x", "missing/x", "lf/x", "lgone/x", "ld/x",
         "ld/.", "loop1/x", "full/x/", "full/x/y", "d//", "./f", "././d/", "lfull/x", LONG, LONG + "n", "d/" + LONG, "d/" + LONG + "n",
         "./" * 2047 + "f", "./" * 2048 + "f", "d/../" * 818 + "f", "/")


@section
def paths():
    home_set()
    stale = True
    for name, call in CALLS.items():
        for path in PATHS:
            if path == "/" and name not in ("mkdir", "rmdir", "creat_excl", "symlink_to", "link_to"):
                continue
            if path.startswith("d/../d") and name not in ("stat", "creat", "rename_from"):
                continue  # 818 questions each
            if stale:
                scene()
            os.fchdir(HOME)
            # A call that failed has changed nothing, and the next lines would show if it had.
            stale = show("%s %s" % (name, path if len(path) < 30 else "%s..%d" % (path[:6], len(path))), tried, call, path) is not FAILED
            if stale and name not in LOOKS:
                print("   tree", [n[-20:] for n in tree()])
            stale = stale and name not in LOOKS
    clear()




# ---- who may ----

@section
def search():
    """Every call through a directory that may not be searched, read or written."""
    home_set()
    for dirmode in (0o755, 0o777, 0o711, 0o744, 0o1777):
        for name, call in CALLS.items():
            if name in ("rename_dir_to", "chdir"):
                continue
            for target in ("p/f", "p/new", "p/d"):
                # Two reasons to refuse: FUSE's VFS finds the second before the file system is asked for the first.
                if (name, target) in (("mknod", "p/new"), ("unlink", "p/d"), ("rmdir", "p/f"), ("rename_to", "p/d")):
                    continue
                clear()
                os.chmod(".", 0o777)
                os.mkdir("p")
                put("p/f")
                os.mkdir("p/d")
                put("f")
                os.chown("f", 1001, 1001)
                os.chmod("p", dirmode)
                show("%o %s %s" % (dirmode, name, target), call, target, who=OWNER)
    clear()


@section
def chmods():
    """Who may change modes of what; set-id bits of strangers to the group; ctime."""
    for kind in TYPES:
        for name, who in WHO.items():
            for uid, gid in ((1001, 1001), (1001, 3001), (1001, 9), (0, 0)):
                for mode in (0o111, 0o7777, 0o2755, 0o4644):
                    clear()
                    make(kind, "x", 0o644, uid, gid)
                    show("%s %s of %d:%d %o" % (name, kind, uid, gid, mode), os.chmod, "x", mode, who=who, watch=("x",))
    clear()
    for kind in ("reg", "dir"):
        clear()
        make(kind, "x", 0o644, 1001, 1001)
        os.symlink("x", "l")
        show("through link %s" % kind, os.chmod, "l", 0o600, who=OWNER, watch=("x", "l"))
        show("fchmodat2 nofollow", lambda: libc("syscall", 452, AT_FDCWD, b"l", 0o600, AT_SYMLINK_NOFOLLOW), watch=("l",))
        fd = os.open("x", os.O_RDONLY)
        show("fchmod", os.fchmod, fd, 0o640, who=OWNER, watch=("x",))
        show("fchmod of a stranger", os.fchmod, fd, 0o644, who=STRANGER, watch=("x",))
        os.close(fd)
    clear()


@section
def chowns():
    """Who may give what to whom; which bits go with it."""
    targets = ((1001, -1), (1002, -1), (-1, 1001), (-1, 3001), (-1, 9), (1001, 3001), (1002, 3001), (-1, -1), (0, 0))
    for kind in TYPES:
        for name, who in WHO.items():
            for to in targets:
                clear()
                make(kind, "x", 0o644, 1001, 1001)
                show("%s %s to %s" % (name, kind, to), os.lchown, "x", *to, who=who, watch=("x",))
    for kind in ("reg", "dir"):
        for name, who in WHO.items():
            for mode in (0o6755, 0o2745, 0o6644, 0o4711, 0o2771):
                for to in ((1001, -1), (-1, 3001), (-1, -1), (1002, 1002)):
                    clear()
                    make(kind, "x", mode, 1001, 1001)
                    show("%s %s %o to %s" % (name, kind, mode, to), os.chown, "x", *to, who=who, watch=("x",))
    clear()
    put("x")
    os.chmod("x", 0o6755)
    fd = os.open("x", os.O_RDONLY)
    show("fchown", os.fchown, fd, 5, 6, watch=("x",))
    os.close(fd)
    os.symlink("x", "l")
    show("through a link", os.chown, "l", 7, 8, watch=("x", "l"))
    show("of the link", os.lchown, "l", 9, 10, watch=("x", "l"))
    show("empty path", lambda: libc("fchownat", os.open("x", os.O_PATH), b"", 1, 2, AT_EMPTY_PATH), watch=("x",))
    clear()


@section
def set_ids():
    """Writes and truncates take set-id bits away, unless root's."""
    for name, who in WHO.items():
        for mode in (0o6777, 0o2767, 0o4766, 0o6755, 0o2666):
            for label, act in (("write", lambda: wr("x", b"y")), ("write none", lambda: wr("x", b"")), ("truncate", lambda: os.truncate("x", 2)),
                               ("truncate same", lambda: os.truncate("x", 4)), ("ftruncate", lambda: ftrunc("x", 3)),
                               ("O_TRUNC", lambda: opened("x", os.O_WRONLY | os.O_TRUNC)), ("open", lambda: opened("x", os.O_RDWR)),
                               ("append", lambda: wr("x", b"y", os.O_APPEND)), ("grow", lambda: os.truncate("x", 9000))):
                clear()
                make("reg", "x", 0o666, 1001, 1001)
                wr("x", b"abcd")
                os.chmod("x", mode)
                show("%s %o %s" % (name, mode, label), act, who=who, watch=("x",))
    clear()
    make("reg", "x", 0o777, 1001, 1001)
    os.setxattr("x", "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0))
    show("capability", os.getxattr, "x", "security.capability")
    show("chmod keeps it", os.chmod, "x", 0o755)
    show("capability", os.getxattr, "x", "security.capability")
    for name, act in (("write", lambda: wr("x", b"z")), ("chown", lambda: os.chown("x", 1001, 1001)), ("truncate", lambda: os.truncate("x", 1)),
                      ("O_TRUNC", lambda: opened("x", os.O_RDWR | os.O_TRUNC))):
        os.setxattr("x", "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0))
        show(name, act)
        show("capability after " + name, os.getxattr, "x", "security.capability")
    os.setxattr("x", "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0))
    os.chmod("x", 0o777)
    show("stranger writes", wr, "x", b"q", who=STRANGER)
    show("capability after", os.getxattr, "x", "security.capability")
    show("set by a user", os.setxattr, "x", "security.capability", struct.pack("<IIIII", 0x02000001, 1, 0, 0, 0), who=OWNER)
    clear()


@section
def creations():
    """Owner, group and mode of what is made, in plain, set-gid and sticky directories, with several umasks."""
    for dirmode in (0o777, 0o2777, 0o1777, 0o3777):
        for dirgid in (1001, 3001, 9):
            for name, who in WHO.items():
                for umask in (0o022, 0o000, 0o777):
                    for kind in ("reg", "mknod", "dir", "fifo", "sock", "link"):
                        for mode in (0o777, 0o2777, 0o6755, 0o2666):
                            if (umask != 0o022 and mode != 0o2777) or (mode in (0o777, 0o2666) and dirmode != 0o2777):
                                continue
                            clear()
                            os.mkdir("p")
                            os.chown("p", 0, dirgid)
                            os.chmod("p", dirmode)
                            os.umask(umask)
                            act = {"reg": lambda: opened("p/x", os.O_CREAT | os.O_WRONLY, mode), "dir": lambda: os.mkdir("p/x", mode),
                                   "mknod": lambda: os.mknod("p/x", mode | stat.S_IFREG), "fifo": lambda: os.mkfifo("p/x", mode),
                                   "sock": lambda: bound("p/x"), "link": lambda: os.symlink("a", "p/x")}[kind]
                            show("%o g%d %s um%o %s %o" % (dirmode, dirgid, name, umask, kind, mode), act, who=who, watch=("p/x", "p"))
                            os.umask(0o022)
    for name, who in WHO.items():
        os.chmod(".", 0o777)
        clear()
        show("mknod chr " + name, os.mknod, "c", 0o600 | stat.S_IFCHR, os.makedev(1, 3), who=who, watch=("c",))
        show("mknod blk " + name, os.mknod, "b", 0o600 | stat.S_IFBLK, os.makedev(4095, 0xfffff), who=who, watch=("b",))
        show("mknod sock " + name, os.mknod, "s", 0o600 | stat.S_IFSOCK, who=who, watch=("s",))
        show("mknod dir " + name, os.mknod, "d", 0o600 | stat.S_IFDIR, who=who)
        show("mknod lnk " + name, os.mknod, "l", 0o600 | stat.S_IFLNK, who=who)
        show("mknod nothing " + name, os.mknod, "n", 0o600, who=who, watch=("n",))
    clear()


@section
def sticky():
    """Removing, renaming and replacing in sticky directories, by everybody, of everything."""
    for dirmode, diruid in ((0o1777, 0), (0o1777, 1001), (0o1777, 1002), (0o777, 0)):
        for kind in ("reg", "dir", "fifo", "link"):
            for fileuid in (0, 1001, 1002):
                for label in ("remove", "rename", "out", "replace", "exchange"):
                    clear()
                    os.mkdir("p")
                    os.mkdir("q")
                    os.chmod("q", 0o777)
                    make(kind, "p/x", 0o777, fileuid, 1)
                    make(kind, "q/mine", 0o777, 1001, 1)
                    make(kind, "p/y", 0o777, 1001, 1)
                    os.chown("p", diruid, 1)
                    os.chmod("p", dirmode)
                    act = {"remove": lambda: os.rmdir("p/x") if kind == "dir" else os.unlink("p/x"),
                           "rename": lambda: os.rename("p/x", "p/z"), "out": lambda: os.rename("p/x", "q/z"),
                           "replace": lambda: os.rename("q/mine", "p/x"), "exchange": lambda: rename2("p/y", "p/x", RENAME_EXCHANGE)}[label]
                    show("%o u%d %s u%d %s" % (dirmode, diruid, kind, fileuid, label), act, who=OWNER, watch=("p", "q", "p/x", "q/z"))
    clear()


@section
def opens():
    """Opening with every access mode by everybody; O_TRUNC, O_CREAT, O_EXCL on every type."""
    for name, who in WHO.items():
        for mode, fmode in itertools.product((os.O_RDONLY, os.O_WRONLY, os.O_RDWR, 3), (0o777, 0o700, 0o070, 0o007, 0o466, 0o246, 0o600, 0o000)):
            clear()
            make("reg", "x", fmode, 1001, 3001)
            show("%s %o acc %d" % (name, fmode, mode), opened, "x", mode, who=who, watch=("x",))
    flagsets = {"trunc": os.O_TRUNC | os.O_WRONLY, "rdtrunc": os.O_TRUNC | os.O_RDONLY, "excl": os.O_CREAT | os.O_EXCL, "creat": os.O_CREAT | os.O_RDWR,
                "dir": os.O_DIRECTORY, "nofollow": os.O_NOFOLLOW, "path": os.O_PATH, "path_nofollow": os.O_PATH | os.O_NOFOLLOW,
                "path_dir": os.O_PATH | os.O_DIRECTORY, "noatime": os.O_NOATIME, "wr": os.O_WRONLY, "append": os.O_APPEND | os.O_WRONLY,
                "dirwr": os.O_DIRECTORY | os.O_RDWR, "dircreat": os.O_DIRECTORY | os.O_CREAT, "direct": os.O_DIRECT, "sync": os.O_SYNC | os.O_RDWR,
                "creatnofollow": os.O_CREAT | os.O_NOFOLLOW | os.O_WRONLY}
    for kind in TYPES:
        for label, flags in flagsets.items():
            for name in ("root", "owner", "stranger"):
                # The kernel opens these itself and asks a FUSE file system nothing: docs/mount.md.
                if kind in ("fifo", "chr", "sock") and name == "stranger" and "path" not in label:
                    continue
                clear()
                os.chmod(".", 0o777)
                make(kind, "x", 0o644, 1001, 1001)
                if kind == "blk" and label not in ("path", "path_nofollow", "dir", "excl", "dircreat", "path_dir"):
                    continue  # what a device answers is the device's
                show("%s %s %s" % (kind, label, name), opened, "x", flags, who=WHO[name], watch=("x",))
    clear()
    put("x", b"abc")
    fd = os.open("x", os.O_RDWR)
    os.chmod("x", 0)
    show("mode of an open file", os.read, fd, 3)
    show("reopened by /proc", lambda: opened("/proc/self/fd/%d" % fd, os.O_RDWR), who=OWNER)
    os.close(fd)
    fd = os.open("x", os.O_PATH)
    for label, act in (("read", lambda: os.read(fd, 1)), ("write", lambda: os.write(fd, b"")), ("fchmod", lambda: os.fchmod(fd, 0o600)),
                       ("fstat", lambda: os.fstat(fd).st_size), ("fchown", lambda: os.fchown(fd, 1, 1)), ("fsync", lambda: os.fsync(fd)),
                       ("fxattr", lambda: os.listxattr(fd)), ("ftruncate", lambda: os.ftruncate(fd, 0)), ("statvfs", lambda: os.fstatvfs(fd).f_namemax)):
        show("O_PATH " + label, act)
    os.close(fd)
    fd = os.open("new", os.O_CREAT | os.O_RDWR, 0o000)
    show("made with no mode, written", os.write, fd, b"x", watch=("new",))
    os.close(fd)
    show("made read-only by a user", lambda: created_and_written("ro"), who=OWNER, watch=("ro",))
    clear()


def created_and_written(path):
    fd = os.open(path, os.O_CREAT | os.O_RDWR | os.O_EXCL, 0o400)
    try:
        return os.write(fd, b"written")
    finally:
        os.close(fd)


@section
def times():
    """What each call does to the times of each file it touches."""
    for kind in TYPES:
        follow = kind != "link"
        steps = [("chmod", lambda: os.chmod("p/x", 0o600)), ("chmod same", lambda: os.chmod("p/x", 0o600)),
                 ("chown", lambda: os.lchown("p/x", 5, 5)), ("chown none", lambda: os.lchown("p/x", -1, -1)), ("link", lambda: link("p/x", "q/l")),
                 ("unlink one", lambda: os.unlink("q/l")), ("rename", lambda: os.rename("p/x", "p/y")), ("back", lambda: os.rename("p/y", "p/x")),
                 ("rename same", lambda: os.rename("p/x", "p/x")), ("move", lambda: os.rename("p/x", "q/x")), ("move back", lambda: os.rename("q/x", "p/x")),
                 ("replace", lambda: (make(kind, "q/r"), os.rename("p/x", "q/r"), os.rename("q/r", "p/x"))[0]),
                 ("exchange", lambda: rename2("p/x", "p/other", RENAME_EXCHANGE)), ("exchange back", lambda: rename2("p/x", "p/other", RENAME_EXCHANGE)),
                 ("xattr", lambda: os.setxattr("p/x", "trusted.t", b"1", follow_symlinks=False)),
                 ("getxattr", lambda: os.getxattr("p/x", "trusted.t", follow_symlinks=False)),
                 ("removexattr", lambda: os.removexattr("p/x", "trusted.t", follow_symlinks=False)),
                 ("utimens", lambda: utimens("p/x", (1000, 1), (2000, 2), follow)), ("utimens same", lambda: utimens("p/x", (1000, 1), (2000, 2), follow)),
                 ("utimens omit", lambda: utimens("p/x", (0, UTIME_OMIT), (0, UTIME_OMIT), follow)),
                 ("utimens atime", lambda: utimens("p/x", (5, 5), (0, UTIME_OMIT), follow)), ("utimens mtime", lambda: utimens("p/x", (0, UTIME_OMIT), (6, 6), follow)),
                 ("utimens now", lambda: utimens("p/x", (0, UTIME_NOW), (0, UTIME_NOW), follow)),
                 ("utimens null", lambda: utimens("p/x", None, None, follow)), ("stat", lambda: os.lstat("p/x") and 0), ("access", lambda: os.access("p/x", os.R_OK) and 0)]
        if kind == "reg":
            steps += [("write", lambda: wr("p/x", b"data")), ("write none", lambda: wr("p/x", b"")), ("truncate same", lambda: os.truncate("p/x", 4)),
                      ("ftruncate same", lambda: ftrunc("p/x", 4)), ("truncate", lambda: os.truncate("p/x", 2)), ("grow", lambda: os.truncate("p/x", 20)),
                      ("grow big", lambda: os.truncate("p/x", 200000)), ("shrink", lambda: os.truncate("p/x", 100000)), ("same", lambda: os.truncate("p/x", 100000)),
                      ("O_TRUNC", lambda: opened("p/x", os.O_WRONLY | os.O_TRUNC)), ("O_TRUNC empty", lambda: opened("p/x", os.O_WRONLY | os.O_TRUNC)),
                      ("open", lambda: opened("p/x", os.O_RDWR)), ("creat existing", lambda: opened("p/x", os.O_RDWR | os.O_CREAT)),
                      ("fsync", lambda: fsynced("p/x"))]
        if kind == "dir":
            steps += [("make in", lambda: put("p/x/a")), ("rename in", lambda: os.rename("p/x/a", "p/x/b")), ("link in", lambda: link("p/x/b", "p/x/c")),
                      ("unlink in", lambda: os.unlink("p/x/b")), ("mkdir in", lambda: os.mkdir("p/x/d")), ("rmdir in", lambda: os.rmdir("p/x/d")),
                      ("symlink in", lambda: os.symlink("x", "p/x/s")), ("write in", lambda: wr("p/x/c", b"1")), ("failed rmdir", lambda: os.rmdir("p/x")),
                      ("failed mkdir", lambda: os.mkdir("p/x"))]
        if kind == "link":
            steps += [("readlink twice", lambda: (os.readlink("p/x"), os.readlink("p/x"))[0])]
        steps += [("remove", lambda: shutil.rmtree("p/x") if kind == "dir" else os.unlink("p/x"))]
        clear()
        os.mkdir("p")
        os.mkdir("q")
        make(kind, "p/x")
        make("dir" if kind != "dir" else "reg", "p/other")
        for label, act in steps:
            show("%s %s" % (kind, label), act, watch=("p/x", "p", "q", "p/other"))
    clear()


def fsynced(path):
    fd = os.open(path, os.O_RDWR)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


@section
def utimes():
    """Who may set which times to what."""
    values = {"both": ((10, 11), (12, 13)), "now": ((0, UTIME_NOW), (0, UTIME_NOW)), "null": (None, None), "omit": ((0, UTIME_OMIT), (0, UTIME_OMIT)),
              "now+omit": ((0, UTIME_NOW), (0, UTIME_OMIT)), "omit+now": ((0, UTIME_OMIT), (0, UTIME_NOW)), "set+now": ((5, 6), (0, UTIME_NOW)),
              "negative": ((-5, 999999999), (-1, 0)), "in 1901": ((-2 ** 31 + 1, 1), (-2 ** 31 + 1, 0)), "after 2038": ((2 ** 31, 1), (2 ** 33, 7)), "bad ns": ((1, 10 ** 9), (1, 0)),
              "bad negative ns": ((1, 0), (1, -5))}
    for kind in TYPES:
        for name, who in WHO.items():
            for label, (atime, mtime) in values.items():
                for mode in (0o644, 0o666, 0o444):
                    if kind != "reg" and (mode != 0o666 or "20" in label):
                        continue
                    clear()
                    make(kind, "x", mode, 1001, 3001)
                    show("%s %s %o %s" % (kind, name, mode, label), utimens, "x", atime, mtime, kind != "link", who=who, watch=("x",))
                    if atime and atime[1] < 10 ** 9 and mtime[1] >= 0 and "now" not in label and "omit" not in label:
                        st = os.lstat("x")
                        print("   ", st.st_atime_ns if st.st_atime_ns < 10 ** 14 else "later", st.st_mtime_ns if st.st_mtime_ns < 10 ** 14 or st.st_mtime > 4e9 else "later")
    clear()
    put("x")
    fd = os.open("x", os.O_RDONLY)
    show("futimens", utimens, None, (7, 8), (9, 10), True, fd, watch=("x",))
    os.close(fd)
    clear()


# ---- names ----

@section
def renames():
    """Every type onto every type, with every flag; watched."""
    for flags in (0, RENAME_NOREPLACE, RENAME_EXCHANGE, 3, 4, 5, 6, 8):
        for src, dst in itertools.product(TYPES + ("fulldir", "missing"), TYPES + ("fulldir", "missing", "hardlink")):
            if flags > 3 and (src, dst) not in (("reg", "reg"), ("reg", "missing"), ("dir", "dir")):
                continue
            clear()
            os.mkdir("p")
            os.mkdir("q")
            for name, kind in (("p/a", src), ("q/b", dst)):
                if kind == "fulldir":
                    make("dir", name, 0o755)
                    os.mkdir(name + "/in")
                    os.utime(name, ns=(10 ** 18, 10 ** 18 + len(name) + ord(name[-1])))
                elif kind == "hardlink":
                    if src in ("missing", "dir", "fulldir"):
                        continue
                    link("p/a", name)
                elif kind != "missing":
                    make(kind, name)
            if flags & 4:
                continue  # whiteouts are the local file systems' own
            show("%d %s %s" % (flags, src, dst), rename2, "p/a", "q/b", flags, watch=("p/a", "q/b", "p", "q"))
    clear()
    for src, dst in (("a", "a/b"), ("a", "a/b/c"), ("a/b", "a"), ("a/b/c", "a"), ("a/b", "a/b"), ("a/b", "a/b/"), ("a", "a/."), ("a/.", "z"), ("a/..", "z"),
                     ("a", "a/.."), ("a", "z/"), ("f", "z/"), ("f/", "z"), ("a/b/c", "a/b"), ("a/b/c", "f"), ("f", "a"), ("a/b/../b", "a/z"), ("f", "f"), ("f", "h")):
        for flags in (0, RENAME_NOREPLACE, RENAME_EXCHANGE):
            clear()
            os.makedirs("a/b/c")
            put("f")
            link("f", "h")
            for number, name in enumerate(("a/b/c", "a/b", "a", "f")):
                os.utime(name, ns=(10 ** 18 + number, 10 ** 18 + 7 * number))
            show("%s to %s %d" % (src, dst, flags), rename2, src, dst, flags, watch=("a", "a/b", "f", "h"))
            print("   ", tree())
    # a directory that is moved has its ".." written
    for mode, uid in ((0o755, 0), (0o755, 1001), (0o555, 1001), (0o777, 0)):
        clear()
        os.mkdir("p", 0o777)
        os.mkdir("q", 0o777)
        os.chmod("p", 0o777)
        os.chmod("q", 0o777)
        make("dir", "p/d", mode, uid, 1)
        show("move %o u%d" % (mode, uid), os.rename, "p/d", "q/d", who=OWNER, watch=("p", "q"))
        clear()
        os.mkdir("p", 0o777)
        os.chmod("p", 0o777)
        make("dir", "p/d", mode, uid, 1)
        show("rename %o u%d" % (mode, uid), os.rename, "p/d", "p/e", who=OWNER, watch=("p",))
    clear()


@section
def links():
    """Hard links of every type by everybody; protected_hardlinks."""
    os.chmod(".", 0o777)
    for kind in TYPES:
        for name, who in WHO.items():
            for mode in (0o644, 0o666, 0o600, 0o4666, 0o2676, 0o060):
                if kind not in ("reg", "dir") and mode != 0o666:
                    continue
                clear()
                make(kind, "x", mode, 1001, 3001)
                show("%s %s %o" % (kind, name, mode), link, "x", "y", who=who, watch=("x", "y", "."))
    clear()
    put("x")
    os.symlink("x", "l")
    show("follow", link, "l", "y", AT_SYMLINK_FOLLOW, watch=("x",))
    show("no follow", link, "l", "z", watch=("l",))
    show("exists", link, "x", "l")
    show("bad flags", link, "x", "w", 1)
    fd = os.open("x", os.O_RDWR)
    show("by /proc", link, "/proc/self/fd/%d" % fd, "w", AT_SYMLINK_FOLLOW, watch=("x",))
    show("empty path", lambda: libc("linkat", fd, b"", AT_FDCWD, b"v", AT_EMPTY_PATH), watch=("x",))
    for name in ("x", "y", "w", "v"):
        os.unlink(name)
    show("of nothing", link, "/proc/self/fd/%d" % fd, "back", AT_SYMLINK_FOLLOW)
    show("fstat", lambda: os.fstat(fd).st_nlink)
    os.close(fd)
    for size in (0, 1, 1023, 1024, 1025, 1800, 3600, 4094, 4095, 4096):
        show("symlink of %d" % size, os.symlink, "t" * size, "s%d" % size, watch=("s%d" % size,))
        show("!readlink", lambda size=size: os.readlink("s%d" % size) == "t" * size)
    clear()
    depth = 45
    os.mkdir("end")
    os.symlink("end", "l0")
    for number in range(1, depth):
        os.symlink("l%d" % (number - 1), "l%d" % number)
    for number in (30, 38, 39, 40, 41):
        show("chain of %d" % number, lambda number=number: os.stat("l%d" % number) and 0)
    clear()


@section
def removed():
    """What was removed while it is open, is a working directory, or held by O_PATH."""
    for kind in TYPES:
        for flags in (os.O_PATH | os.O_NOFOLLOW, os.O_RDONLY | os.O_NOFOLLOW):
            clear()
            make(kind, "x", 0o644)
            if kind in ("blk", "sock", "link") and flags & os.O_PATH == 0:
                continue
            fd = os.open("x", flags | os.O_NONBLOCK)
            os.rmdir("x") if kind == "dir" else os.unlink("x")
            label = "%s %s " % (kind, "path" if flags & os.O_PATH else "open")
            show(label + "fstat", lambda: facts(os.fstat(fd)))
            show(label + "stat by /proc", lambda: facts(os.stat("/proc/self/fd/%d" % fd)))
            if kind not in ("reg", "dir"):
                os.close(fd)  # the kernel opens these itself: nobody keeps the inode, only what it was
                continue
            show(label + "fchmod", os.fchmod, fd, 0o600)
            show(label + "fchown", os.fchown, fd, 3, 4)
            show(label + "futimens", utimens, None, (1, 1), (1, 1), True, fd)
            show(label + "fsetxattr", os.setxattr, fd, "trusted.a", b"1")
            show(label + "fgetxattr", os.getxattr, fd, "trusted.a")
            show(label + "fstat", lambda: facts(os.fstat(fd)))
            if kind == "dir":
                for name, act in (("list", lambda: os.listdir(fd)), ("create in", lambda: opened("y", os.O_CREAT | os.O_RDWR, dir_fd=fd)),
                                  ("mkdir in", lambda: os.mkdir("y", dir_fd=fd)), ("stat in", lambda: os.stat("y", dir_fd=fd)),
                                  ("link in", lambda: (put("z"), os.link("z", "y", dst_dir_fd=fd))[1]), ("rename in", lambda: os.rename("z", "y", dst_dir_fd=fd)),
                                  ("symlink in", lambda: os.symlink("a", "y", dir_fd=fd)), (".", lambda: facts(os.stat(".", dir_fd=fd))),
                                  ("..", lambda: os.stat("..", dir_fd=fd).st_ino == os.stat(".").st_ino), ("fsync", lambda: os.fsync(fd)),
                                  ("statvfs", lambda: os.fstatvfs(fd).f_namemax)):
                    show(label + name, act)
            os.close(fd)
    clear()
    os.mkdir("w")
    os.chdir("w")
    os.rmdir("../w")
    show("getcwd", os.getcwd)
    show("stat .", lambda: facts(os.stat(".")))
    show("create", opened, "x", os.O_CREAT | os.O_RDWR)
    show("stat ..", lambda: os.stat("..").st_nlink > 0)
    os.chdir("..")
    put("r", b"0123456789" * 1000)
    fd = os.open("r", os.O_RDWR)
    put("s")
    os.rename("s", "r")
    show("replaced", lambda: (facts(os.fstat(fd)), os.pread(fd, 3, 9)))
    os.close(fd)
    os.mkdir("rd")
    os.mkdir("rd2")
    fd = os.open("rd", os.O_RDONLY)
    os.rename("rd2", "rd")
    show("replaced directory", lambda: facts(os.fstat(fd)))
    show("list of it", os.listdir, fd)
    os.close(fd)
    clear()


@section
def counts():
    """Link counts of directories, st_blocks, birth times, types in listings."""
    os.mkdir("d")
    for step in range(3):
        show("mkdir", os.mkdir, "d/s%d" % step, watch=("d",))
    show("move out", os.rename, "d/s0", "s0", watch=("d", "s0", "."))
    show("replace", os.rename, "s0", "d/s1", watch=("d", "d/s1", "."))
    put("f", b"x" * 4096)
    fsynced("f")
    show("blocks of 4096", lambda: os.stat("f").st_blocks)
    os.symlink("x", "l")
    show("blocks of links and fifos", lambda: (os.mkfifo("ff"), os.lstat("l").st_blocks, os.lstat("ff").st_blocks)[1:])
    put("e")
    show("blocks of nothing", lambda: os.stat("e").st_blocks)
    for kind in TYPES:
        make(kind, "t-" + kind)
    with os.scandir(".") as entries:
        show("types", lambda: sorted((e.name, e.is_dir(follow_symlinks=False), e.is_file(follow_symlinks=False), e.is_symlink()) for e in entries))
    born = [statx("f")]
    os.utime("f", ns=(5, 5))
    os.rename("f", "g")
    wr("g", b"more")
    born.append(statx("g"))
    show("born once", lambda: born[0] == born[1] and born[0][0] > 10 ** 9)
    clear()


def statx(path):
    buf = ctypes.create_string_buffer(256)
    libc("statx", AT_FDCWD, os.fsencode(path), AT_SYMLINK_NOFOLLOW, 0xfff, buf)
    if struct.unpack_from("<I", buf, 0)[0] & 0x800 == 0:
        return None
    return struct.unpack_from("<qI", buf, 0x50)


@section
def accesses():
    """access(2) and faccessat2 with AT_EACCESS, by real and effective ids."""
    def asks(uid, gid, groups):
        os.setgroups(list(groups))
        os.setresgid(gid, gid, 0)
        os.setresuid(uid, uid, 0)

    for name, (uid, gid, groups) in WHO.items():
        clear()
        os.chmod(".", 0o777)
        for kind in ("reg", "dir"):
            for mode in (0o700, 0o070, 0o007, 0o456, 0o000, 0o644, 0o111):
                make(kind, "%s-%o" % (kind, mode), mode, 1001, 3001)
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            asks(uid, gid, groups)
            for path in sorted(os.listdir(".")):
                print(name, path, [probe("access", os.fsencode(path), bits) for bits in range(8)])
            os.setresuid(uid, 0, 0)
            for path in sorted(os.listdir(".")):
                print(name, path, "real", [probe("access", os.fsencode(path), bits) for bits in range(8)])
                print(name, path, "effective", [probe("syscall", 439, AT_FDCWD, os.fsencode(path), bits, AT_EACCESS) for bits in range(8)])
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(child, 0)
    show("bad mode", lambda: libc("access", b".", 8))
    clear()


def probe(name, *args):
    try:
        libc(name, *args)
        return 0
    except OSError as error:
        return errno.errorcode[error.errno]


if __name__ == "__main__":
    main()
