"""POSIX ACLs, chattr's flags and files without a name, printed: posix_lists.py DIR SECTION... See posix_cases.py."""

import errno
import fcntl
import os
import stat
import struct

from posix_base import (As, AT_EACCESS, AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_FOLLOW, bound, clear, facts, libc, link, main,
                        make, MEMBER, opened, OWNER, put, rename2, RENAME_EXCHANGE, section, show, STRANGER, TYPES,
                        UTIME_NOW, UTIME_OMIT, utimens, WHO, wr)


# ---- files without a name ----


@section
def nameless():
    """O_TMPFILE and linkat."""
    os.chmod(".", 0o777)
    for name, who in WHO.items():
        for flags in (os.O_RDWR, os.O_WRONLY, os.O_RDWR | os.O_EXCL, os.O_RDONLY, os.O_RDWR | os.O_TRUNC, os.O_RDWR | os.O_APPEND):
            clear()
            fd = show("!%s %o" % (name, flags), os.open, ".", os.O_TMPFILE | flags, 0o6751, who=who, watch=(".",))
            if fd is None:
                continue
            show("facts", lambda: facts(os.fstat(fd)))
            show("list", os.listdir, ".")
            show("write", os.write, fd, b"nameless" * 1000)
            show("link by /proc", link, "/proc/self/fd/%d" % fd, "x", AT_SYMLINK_FOLLOW, who=who, watch=("x", "."))
            show("link empty", lambda: libc("linkat", fd, b"", AT_FDCWD, b"y", AT_EMPTY_PATH), watch=("y",))
            show("facts", lambda: facts(os.fstat(fd)))
            for made in os.listdir("."):
                os.unlink(made)
            show("link again", link, "/proc/self/fd/%d" % fd, "z", AT_SYMLINK_FOLLOW)
            show("facts", lambda: facts(os.fstat(fd)))
            os.close(fd)
    clear()
    put("f")
    os.mkdir("ro", 0o555)
    os.mkdir("sg")
    os.chown("sg", 0, 3001)
    os.chmod("sg", 0o2777)
    for path in ("f", "missing", "ro", "f/x", "", "/proc"):
        show("in %s" % path, opened, path, os.O_TMPFILE | os.O_RDWR, 0o600, who=OWNER)
    for who in (OWNER, STRANGER):
        fd = None
        with As(who):
            fd = os.open("sg", os.O_TMPFILE | os.O_RDWR, 0o2770)
        show("in a set-gid directory", lambda: facts(os.fstat(fd)))
        os.close(fd)
    show("creat", opened, ".", os.O_TMPFILE | os.O_CREAT | os.O_RDWR)
    fds = [os.open(".", os.O_TMPFILE | os.O_RDWR) for _ in range(50)]
    for number, fd in enumerate(fds):
        os.write(fd, b"%d" % number)
        link("/proc/self/fd/%d" % fd, "n%d" % number, AT_SYMLINK_FOLLOW)
        os.close(fd)
    show("fifty", lambda: [open("n%d" % n, "rb").read() for n in range(50)] == [b"%d" % n for n in range(50)])
    clear()


# ---- access control lists ----

A_USER_OBJ, A_USER, A_GROUP_OBJ, A_GROUP, A_MASK, A_OTHER = 1, 2, 4, 8, 16, 32
ACCESS, DEFAULT = "system.posix_acl_access", "system.posix_acl_default"


def acl(*entries):
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", e[0], e[1], e[2] if len(e) > 2 else 0xffffffff) for e in entries)


def plain(u, g, o, *more, mask=None):
    """Owner, group, others; named entries (tag, permission, id)."""
    entries = [(A_USER_OBJ, u), (A_GROUP_OBJ, g), (A_OTHER, o)] + list(more)
    if mask is not None:
        entries.append((A_MASK, mask))
    return acl(*sorted(entries, key=lambda e: e[0]))


def acl_text(path, name=ACCESS):
    try:
        value = os.getxattr(path, name)
    except OSError as error:
        return errno.errorcode[error.errno]
    names = {1: "u::", 2: "u:", 4: "g::", 8: "g:", 16: "m::", 32: "o::"}
    return " ".join("%s%s%o" % (names[t], "%d:" % i if t in (2, 8) else "", p)
                    for t, p, i in struct.iter_unpack("<HHI", value[4:]))


SETS = {"named user": plain(6, 4, 0, (A_USER, 6, 1003), mask=6), "masked user": plain(6, 4, 0, (A_USER, 7, 1003), mask=4),
        "user denied": plain(6, 6, 6, (A_USER, 0, 1003), mask=7), "named group": plain(6, 0, 0, (A_GROUP, 6, 3001), mask=6),
        "two groups": plain(7, 0, 4, (A_GROUP, 2, 3001), (A_GROUP, 4, 1002), mask=7), "group obj denied": plain(7, 0, 7, (A_GROUP, 7, 9), mask=7),
        "only mask": plain(6, 6, 4, mask=2), "plain": plain(7, 5, 1), "empty mask": plain(7, 7, 7, (A_USER, 7, 1003), (A_GROUP, 7, 3001), mask=0),
        "owner denied": plain(0, 7, 7, (A_USER, 7, 1001), mask=7)}
BAD = {"no other": acl((A_USER_OBJ, 6), (A_GROUP_OBJ, 4)), "no mask": plain(6, 4, 0, (A_USER, 6, 1003)), "twice": acl((A_USER_OBJ, 6), (A_USER_OBJ, 6), (A_GROUP_OBJ, 4), (A_OTHER, 0)),
       "order": acl((A_GROUP_OBJ, 4), (A_USER_OBJ, 6), (A_OTHER, 0)), "permission": plain(9, 4, 0), "tag": acl((A_USER_OBJ, 6), (A_GROUP_OBJ, 4), (3, 1), (A_OTHER, 0)),
       "version": struct.pack("<I", 3) + plain(6, 4, 0)[4:], "cut": plain(6, 4, 0)[:-1], "short": b"\x02\0", "empty": b"", "head only": struct.pack("<I", 2)}


@section
def acls():
    """Who an ACL lets in; how it goes with chmod, chown and stat."""
    os.chmod(".", 0o777)
    for label, value in SETS.items():
        for kind in ("reg", "dir", "fifo"):
            clear()
            make(kind, "x", 0o640, 1001, 1002)
            show("%s on %s" % (label, kind), os.setxattr, "x", ACCESS, value, who=OWNER, watch=("x",))
            show("acl", acl_text, "x")
            show("listed", lambda: sorted(os.listxattr("x")))
            if kind == "fifo":
                continue
            for name, who in WHO.items():
                if kind == "reg":
                    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR):
                        show("%s opens %d" % (name, flags), opened, "x", flags, who=who)
                    show(name + " truncates", os.truncate, "x", 0, who=who)
                    show(name + " touches", os.utime, "x", who=who)
                else:
                    show(name + " lists", os.listdir, "x", who=who)
                    show(name + " makes", os.mkdir, "x/d", who=who)
                    show(name + " looks", lambda: os.stat("x/d").st_nlink, who=who)
                    show(name + " removes", os.rmdir, "x/d", who=who)
                    clear("x")
                for bits in (4, 2, 1):
                    show("%s access %d" % (name, bits), lambda bits=bits: libc("syscall", 439, AT_FDCWD, b"x", bits, AT_EACCESS), who=who)
            for mode in (0o600, 0o4777, 0o070, 0o755):
                show("chmod %o" % mode, os.chmod, "x", mode, watch=("x",))
                show("acl", acl_text, "x")
            show("chown", os.chown, "x", 1003, 3001, watch=("x",))
            show("acl", acl_text, "x")
            show("removed", os.removexattr, "x", ACCESS, watch=("x",))
            show("acl", acl_text, "x")
            show("removed again", os.removexattr, "x", ACCESS)
    for kind in TYPES:
        for name, who in WHO.items():
            clear()
            make(kind, "x", 0o666, 1001, 1001)
            show("%s sets on %s" % (name, kind), os.setxattr, "x", ACCESS, SETS["named user"], 0, follow_symlinks=False, who=who, watch=("x",))
            show("%s sets default on %s" % (name, kind), os.setxattr, "x", DEFAULT, SETS["named user"], 0, follow_symlinks=False, who=who, watch=("x",))
            show("gets", os.getxattr, "x", ACCESS, follow_symlinks=False, who=who)
            show("removes", os.removexattr, "x", ACCESS, follow_symlinks=False, who=who)
            show("removes default", os.removexattr, "x", DEFAULT, follow_symlinks=False, who=who)
    for label, value in BAD.items():
        for name in (ACCESS, DEFAULT):
            clear()
            os.mkdir("x")
            os.setxattr("x", name, SETS["named group"])
            show("bad: %s %s" % (label, name[-7:]), os.setxattr, "x", name, value, watch=("x",))
            show("left", acl_text, "x", name)
    clear()
    put("x")
    many = plain(7, 7, 7, *[(A_USER, 5, 2000 + n) for n in range(150)], (A_USER, 0, 1003), mask=7)
    show("many", os.setxattr, "x", ACCESS, acl(*sorted(struct.iter_unpack("<HHI", many[4:]), key=lambda e: (e[0], e[2]))), watch=("x",))
    show("acl", acl_text, "x")
    show("denied", opened, "x", os.O_RDONLY, who=STRANGER)
    os.chmod("x", 0o2777)
    show("set-gid goes", os.setxattr, "x", ACCESS, plain(7, 7, 7), who=OWNER, watch=("x",))
    os.chown("x", 1001, 9)
    os.chmod("x", 0o2777)
    show("set-gid goes", os.setxattr, "x", ACCESS, plain(7, 7, 7, (A_USER, 7, 5), mask=7), who=OWNER, watch=("x",))
    clear()


@section
def acls_inherited():
    """Default ACLs: what new files, directories, links, fifos and nameless files get."""
    os.chmod(".", 0o777)
    for label, value in SETS.items():
        for umask in (0o022, 0o077):
            clear()
            os.mkdir("p")
            os.chmod("p", 0o777)
            show("default %s" % label, os.setxattr, "p", DEFAULT, value, watch=("p",))
            show("acls", lambda: (acl_text("p"), acl_text("p", DEFAULT)))
            os.umask(umask)
            for name, act in (("reg", lambda: opened("p/reg", os.O_CREAT | os.O_RDWR, 0o666)), ("exe", lambda: opened("p/exe", os.O_CREAT | os.O_RDWR, 0o4751)),
                              ("dir", lambda: os.mkdir("p/dir", 0o777)), ("dir2", lambda: os.mkdir("p/dir2", 0o1700)), ("fifo", lambda: os.mkfifo("p/fifo", 0o666)),
                              ("sock", lambda: bound("p/sock")), ("link", lambda: os.symlink("a", "p/link")), ("node", lambda: os.mknod("p/node", 0o640 | stat.S_IFREG))):
                show(name, act, who=MEMBER, watch=("p/" + name,))
                show("acls", lambda name=name: "-" if name == "link" else (acl_text("p/" + name), acl_text("p/" + name, DEFAULT)))
            fd = os.open("p", os.O_TMPFILE | os.O_RDWR, 0o666)
            show("nameless", lambda: (facts(os.fstat(fd)), acl_text(fd)))
            os.close(fd)
            if os.path.isdir("p/dir"):
                os.chmod("p/dir", 0o777)
                show("below", opened, "p/dir/x", os.O_CREAT | os.O_RDWR, 0o777, watch=("p/dir/x",))
                show("acls", lambda: acl_text("p/dir/x"))
            os.rename("p/reg", "moved")
            show("moved out", acl_text, "moved")
            os.umask(0o022)
            show("default gone", os.removexattr, "p", DEFAULT, watch=("p",))
            show("plain again", opened, "p/after", os.O_CREAT | os.O_RDWR, 0o666, watch=("p/after",))
    clear()


# ---- chattr ----

GETFLAGS, SETFLAGS, FSGETXATTR, FSSETXATTR = 0x80086601, 0x40086602, 0x801c581f, 0x401c5820
FLAGS = {"i": 0x10, "a": 0x20, "d": 0x40}


def flags_get(path):
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        value = struct.unpack("I", fcntl.ioctl(fd, GETFLAGS, bytes(4)))[0]
        return "".join(c for c, bit in FLAGS.items() if value & bit)
    finally:
        os.close(fd)


def flags_set(path, letters):
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        value = struct.unpack("I", fcntl.ioctl(fd, GETFLAGS, bytes(4)))[0] & ~0x70
        fcntl.ioctl(fd, SETFLAGS, struct.pack("I", value | sum(FLAGS[c] for c in letters)))
    finally:
        os.close(fd)


def fsx_get(path):
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        return struct.unpack("IIIII8x", fcntl.ioctl(fd, FSGETXATTR, bytes(28)))[0] & 0x98
    finally:
        os.close(fd)


@section
def flags():
    """Immutable, append-only, nodump: who may set them, what they forbid to whom."""
    os.chmod(".", 0o777)
    for letters in ("i", "a", "d", "id", ""):
        for name, who in WHO.items():
            for kind in ("reg", "dir"):
                clear()
                make(kind, "x", 0o777, 1001, 1001)
                show("%s sets '%s' on %s" % (name, letters, kind), flags_set, "x", letters, who=who, watch=("x",))
                show("flags", lambda: (flags_get("x"), fsx_get("x")))
                show("clears", flags_set, "x", "", who=who, watch=("x",))
                flags_set("x", "")
    for letters in ("i", "a"):
        for name in ("root", "owner"):
            clear()
            make("reg", "f", 0o666, 1001, 1001)
            wr("f", b"abc")
            make("dir", "d", 0o777, 1001, 1001)
            make("reg", "d/x", 0o666, 1001, 1001)
            make("dir", "d/e", 0o777, 1001, 1001)
            os.setxattr("f", "user.a", b"1")
            make("reg", "o", 0o666, 1001, 1001)
            before = os.open("f", os.O_RDWR)
            flags_set("f", letters)
            flags_set("d", letters)
            for label, act in (("read", lambda: opened("f", os.O_RDONLY)), ("write", lambda: wr("f", b"x")), ("append", lambda: wr("f", b"y", os.O_APPEND)),
                               ("append trunc", lambda: opened("f", os.O_WRONLY | os.O_APPEND | os.O_TRUNC)), ("truncate", lambda: os.truncate("f", 1)),
                               ("chmod", lambda: os.chmod("f", 0o600)), ("chown", lambda: os.chown("f", 1001, 1001)), ("utime", lambda: os.utime("f", ns=(1, 1))),
                               ("utime now", lambda: os.utime("f")), ("utime atime now", lambda: utimens("f", (0, UTIME_NOW), (0, UTIME_OMIT))), ("setxattr", lambda: os.setxattr("f", "user.b", b"1")), ("removexattr", lambda: os.removexattr("f", "user.a")),
                               ("setfacl", lambda: os.setxattr("f", ACCESS, SETS["named user"])), ("link", lambda: link("f", "l")), ("rename", lambda: os.rename("f", "g")),
                               ("unlink", lambda: os.unlink("f")), ("replace", lambda: os.rename("o", "f")), ("exchange", lambda: rename2("o", "f", RENAME_EXCHANGE)),
                               ("access", lambda: libc("access", b"f", 2)), ("ftruncate", lambda: os.ftruncate(before, 1)), ("fchmod", lambda: os.fchmod(before, 0o640)),
                               ("make in", lambda: put("d/new")), ("mkdir in", lambda: os.mkdir("d/n2")), ("unlink in", lambda: os.unlink("d/x")),
                               ("rmdir in", lambda: os.rmdir("d/e")), ("rename in", lambda: os.rename("d/x", "d/y")), ("rename out", lambda: os.rename("d/x", "x")),
                               ("rename into", lambda: os.rename("o", "d/o")), ("link in", lambda: link("o", "d/l")), ("write in", lambda: wr("d/x", b"1")),
                               ("chmod in", lambda: os.chmod("d/x", 0o644)), ("chmod dir", lambda: os.chmod("d", 0o755)), ("rmdir", lambda: os.rmdir("d")),
                               ("rename dir", lambda: os.rename("d", "d9")), ("nameless in", lambda: opened("d", os.O_TMPFILE | os.O_RDWR)),
                               ("setxattr dir", lambda: os.setxattr("d", "user.d", b"1"))):
                show("%s %s %s" % (letters, name, label), act, who=WHO[name], watch=("f", "d"))
            os.close(before)
            for path in ("f", "d", "g", "d9"):
                if os.path.lexists(path):
                    flags_set(path, "")
    clear()


if __name__ == "__main__":
    main()
