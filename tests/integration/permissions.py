"""Who may do what: users and groups, kinds of keys, read-only and subdirectory mounts, mounts by ordinary users, forged ids."""

import ctypes
import errno
import os
import pwd
import socket
import stat
import subprocess

import cluster
import lib

NOBODY = 65534
# Ordinary users that every Debian has (fusermount3 wants a name): games and man.
USER, OTHER, GROUP = 5, 6, 5678


def as_user(t, uid, function, *args, groups=(), gid=None):
    """Runs a function as a user in a child; returns 0 or its errno."""
    child = os.fork()
    if child == 0:
        status = 0
        try:
            lib.drop_to(uid, gid, groups)()
            function(*args)
        except OSError as error:
            status = error.errno
        except BaseException as error:  # pylint: disable=broad-except
            print("%s: %s" % (type(error).__name__, error), flush=True)
            status = 255
        os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def touch(path):
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o644))


@lib.test(limit_s=60)
def supplementary_groups(t):
    """Membership in a second, a twentieth and a two-hundredth group counts; leaving it counts at once."""
    _, mount = cluster.started(t, osts=1)
    os.mkdir(mount / "d")
    os.chown(mount / "d", 0, GROUP)
    os.chmod(mount / "d", 0o770)
    t.equal(as_user(t, USER, touch, mount / "d/no"), errno.EACCES, "a stranger")
    for number, groups in enumerate(([GROUP], list(range(100, 119)) + [GROUP], list(range(10000, 10200)) + [GROUP])):
        t.equal(as_user(t, USER, touch, mount / ("d/f%d" % number), groups=groups), 0, "%d groups" % len(groups))
    t.equal(as_user(t, USER, touch, mount / "d/no", groups=list(range(100, 150))), errno.EACCES, "other groups")
    os.chmod(mount / "d", 0o2770)
    t.equal(as_user(t, USER, touch, mount / "d/setgid", groups=[GROUP]), 0, "in a setgid directory")
    t.equal(os.stat(mount / "d/setgid").st_gid, GROUP, "group of a file in a setgid directory")
    t.equal(as_user(t, USER, os.chown, mount / "d/setgid", -1, 77, groups=[GROUP]), errno.EPERM, "chgrp to a foreign group")
    t.equal(as_user(t, USER, os.chown, mount / "d/setgid", -1, 77, groups=[GROUP, 77]), 0, "chgrp to an own group")


@lib.test(limit_s=60)
def opens_of_members_survive(t):
    """What a group's member has open stays usable over a restart of the MDT, though the process that opened it has ended."""
    one, mount = cluster.started(t, osts=1)
    content = os.urandom(100000)
    with open(mount / "f", "wb") as file:
        file.write(content)
    os.chown(mount / "f", 0, GROUP)
    os.chmod(mount / "f", 0o640)
    ours, theirs = socket.socketpair()

    def give(path):
        socket.send_fds(theirs, [b"x"], [os.open(path, os.O_RDONLY)])

    t.equal(as_user(t, USER, give, mount / "f", groups=[GROUP]), 0, "a member opens")
    file = socket.recv_fds(ours, 1, 1)[1][0]
    one.kill("mds")
    one.up()
    os.rename(mount / "f", mount / "g")
    t.equal(os.fstat(file).st_size, len(content), "size after the restart")
    t.check(os.pread(file, 1 << 20, 0) == content, "content after the restart differs")
    os.close(file)


@lib.test(limit_s=60)
def root_squash_key(t):
    """With a root-squash key root is nobody."""
    one, plain = cluster.started(t, osts=1)
    os.chmod(plain.point, 0o755)
    touch(plain / "roots")
    os.mkdir(plain / "open")
    os.chmod(plain / "open", 0o1777)
    squashed = one.mount("squashed", key=one.key_new("squash.key", "--role", "host", "--root-squash"))
    t.fails(errno.EACCES, os.mkdir, squashed / "d")
    t.fails(errno.EPERM, os.chown, squashed / "roots", 1, 1)
    t.fails(errno.EPERM, os.chmod, squashed / "roots", 0o777)
    touch(squashed / "open/f")
    t.equal(os.stat(plain / "open/f").st_uid, NOBODY, "owner of what squashed root made")
    t.fails(errno.EPERM, os.setxattr, squashed / "open/f", "trusted.x", b"1")
    t.equal(as_user(t, USER, touch, squashed / "open/users"), 0, "an ordinary user under a root-squash key")
    t.equal(os.stat(plain / "open/users").st_uid, USER, "owner")


def changes(mount, t, number):
    """Every kind of change must fail with this errno."""
    for function, *args in ((os.mkdir, mount / "n"), (touch, mount / "n"), (os.unlink, mount / "f"), (os.rmdir, mount / "d"),
                            (os.rename, mount / "f", mount / "g"), (os.chmod, mount / "f", 0o600),
                            (os.chown, mount / "f", 1, 1), (os.truncate, mount / "f", 1), (os.utime, mount / "f"),
                            (os.setxattr, mount / "f", "user.x", b"1"), (os.symlink, "x", mount / "s"),
                            (os.link, mount / "f", mount / "l"), (os.open, mount / "f", os.O_WRONLY)):
        t.fails(number, function, *args)


@lib.test(limit_s=60)
def read_only(t):
    """A read-only key and `-o ro` refuse every change and serve every read."""
    one, plain = cluster.started(t, osts=1)
    with open(plain / "f", "wb") as file:
        file.write(b"content" * 10000)
    os.mkdir(plain / "d")
    by_option = one.mount("by_option", options=["ro"])
    by_key = one.mount("by_key", key=one.key_new("ro.key", "--read-only"))
    for mount in (by_option, by_key):
        changes(mount, t, errno.EROFS)
        with open(mount / "f", "rb") as file:
            t.equal(file.read(), b"content" * 10000, "content through a read-only mount")
        t.equal(sorted(os.listdir(mount.point)), ["d", "f"], "names")
    t.equal(sorted(os.listdir(plain.point)), ["d", "f"], "names after refused changes")


@lib.test(limit_s=60)
def subdirectories(t):
    """A mount of a subdirectory, by source, by option and by a key bound to it, shows nothing else."""
    one, plain = cluster.started(t, osts=1)
    os.makedirs(plain / "a/b/c")
    touch(plain / "a/b/c/f")
    touch(plain / "outside")
    bound = one.key_new("sub.key", "--subdir", "/a/b")
    for number, mount in enumerate((one.mount("by_source", subdir="/a/b"), one.mount("by_option", options=["subdir=/a/b"]),
                                    one.mount("by_key", key=bound))):
        t.equal(sorted(os.listdir(mount.point)), ["c"] + ["made%d" % n for n in range(number)], "names")
        t.check(os.path.exists(mount / "c/f"), "c/f is not there")
        t.check(not os.path.exists(mount / "../outside"), "outside is seen")
        touch(mount / ("made%d" % number))
        t.check(os.path.exists(plain / ("a/b/made%d" % number)), "made%d is not there", number)
        names = t.out("lfs", "fid2path", mount.point, t.out("lfs", "path2fid", mount / "c/f").strip()).strip()
        t.check(names.endswith("c/f") and "a/b" not in names.replace(mount.point, ""), "fid2path says %s", names)
    fid = t.out("lfs", "path2fid", plain / "outside").strip()
    result = t.run("lfs", "fid2path", t.path("by_key"), fid, check=False)
    t.check("outside" not in result.stdout, "fid2path of a bound mount shows a foreign path")


@lib.test(limit_s=60)
def user_mount(t):
    """An ordinary user mounts with the host's key copied to him: his own files work, suid and devices do not."""
    one, plain = cluster.started(t, osts=2)
    os.chmod(plain.point, 0o777)
    key = t.path("users.key")
    with open(key, "wb") as file, open(one.key_new("user.key", "--role", "user", "--uid", str(USER), "--gid", str(USER)), "rb") as made:
        file.write(made.read())
    os.chown(key, USER, USER)
    os.chmod(key, 0o600)
    mine = one.mount("mine", key=key, uid=USER)
    line = next(l for l in open("/proc/self/mountinfo", encoding="utf-8") if l.split()[4] == mine.point)
    t.check("nosuid" in line and "nodev" in line, "flags of a user's mount: %s", line)
    t.fails(errno.EACCES, os.stat, mine.point)

    def work():
        os.mkdir(mine / "d")
        with open(mine / "d/f", "wb") as file:
            file.write(os.urandom(3000000))
        os.chmod(mine / "d/f", 0o600)
        if os.stat(mine / "d/f").st_uid != USER:
            raise OSError(errno.ENOTUNIQ, "owner")
        os.rename(mine / "d/f", mine / "d/g")

    t.equal(as_user(t, USER, work), 0, "work on a user's mount")
    t.equal(as_user(t, OTHER, os.stat, mine.point), errno.EACCES, "another user on a user's mount")
    t.equal(os.stat(plain / "d/g").st_uid, USER, "owner seen by root")
    t.equal(stat.S_IMODE(os.stat(plain / "d/g").st_mode), 0o600, "mode seen by root")
    touch(plain / "roots")
    t.equal(as_user(t, USER, os.unlink, mine / "roots"), 0, "removal in a directory everybody may write")
    os.mkdir(plain / "locked", 0o700)
    t.equal(as_user(t, USER, os.listdir, mine / "locked"), errno.EACCES, "root's directory through a user's mount")
    t.equal(as_user(t, USER, os.chown, mine / "d/g", OTHER, -1), errno.EPERM, "giving a file away")


@lib.test(limit_s=60)
def whole_cluster_by_a_user(t):
    """nacre up by an ordinary user: daemons, mount and files are his; nacre down ends it."""
    os.chmod(t.dir, 0o777)
    one = cluster.Cluster(t, "users", osts=2, uid=USER)
    one.up(mount=True)
    for pid in one.pids().values():
        t.equal(os.stat("/proc/%d" % pid).st_uid, USER, "owner of a daemon")
    point = one.facts["mount_point"]

    def work():
        with open(os.path.join(point, "f"), "wb") as file:
            file.write(bytes(1000000))
        os.symlink("f", os.path.join(point, "l"))
        subprocess.run(["lfs", "getstripe", os.path.join(point, "f")], check=True, stdout=subprocess.DEVNULL)

    t.equal(as_user(t, USER, work), 0, "work on an own cluster")
    for name in ("server.key", "client.key", "admin.key"):
        t.equal(stat.S_IMODE(os.stat(one.file("keys", name)).st_mode), 0o600, "mode of " + name)
    one.kill()
    one.up(mount=True)
    t.equal(as_user(t, USER, os.stat, os.path.join(point, "f")), 0, "a file after kill -9 of all")


@lib.test(limit_s=60)
def groups_of_a_user_mount(t):
    """A user's mount has the groups of the server's database, by a user's key and over the Unix socket; the process' own count not."""
    with open("/etc/group", encoding="utf-8") as file:
        others = file.read()

    def members(text):
        with open(t.path("group"), "w", encoding="utf-8") as file:
            file.write(others + "nacremine:x:%d:%s\nnacrehis:x:%d:\n" % (GROUP, text, GROUP + 1))

    name = pwd.getpwuid(USER).pw_name
    members(name)
    lib.mount(t.path("group"), "/etc/group", "", lib.MS_BIND)
    t.cleanup(lambda: lib.umount("/etc/group"))
    one, plain = cluster.started(t, osts=1)
    os.chmod(one.file("run"), 0o755)
    for entry in os.listdir(one.file("run")):
        if entry.endswith(".sock"):
            os.chmod(one.file("run", entry), 0o777)
    for gid in (GROUP, GROUP + 1):
        path = plain / ("f%d" % gid)
        touch(path)
        os.chown(path, 0, gid)
        os.chmod(path, 0o660)
    os.chmod(plain.point, 0o755)
    for kind, key in (("user", one.key_new("user.key", "--role", "user", "--uid", str(USER), "--gid", str(USER))), ("host", one.key())):
        copy = t.path(kind + ".copy")
        with open(copy, "wb") as file, open(key, "rb") as made:
            file.write(made.read())
        os.chown(copy, USER, USER)
        os.chmod(copy, 0o600)
        members(name)
        mine = one.mount("mine_" + kind, key=copy, uid=USER)
        t.equal(as_user(t, USER, touch, mine / ("f%d" % GROUP)), 0, "a file of a group of the user, " + kind)
        t.equal(as_user(t, USER, touch, mine / ("f%d" % (GROUP + 1)), groups=[GROUP + 1]), errno.EACCES, "of another, " + kind)
        mine.umount()
        members("")
        mine = one.mount("mine_" + kind, key=copy, uid=USER)
        t.equal(as_user(t, USER, touch, mine / ("f%d" % GROUP), groups=[GROUP]), errno.EACCES, "after he left the group, " + kind)
        mine.umount()


class Options(ctypes.Structure):
    """struct nacre_options of include/nacre/nacre.h."""

    _fields_ = [("size", ctypes.c_size_t), ("mgs", ctypes.c_char_p), ("fsname", ctypes.c_char_p),
                ("subdir", ctypes.c_char_p), ("key_path", ctypes.c_char_p), ("patience_s", ctypes.c_uint),
                ("flags", ctypes.c_uint), ("uid", ctypes.c_uint32), ("gid", ctypes.c_uint32), ("groups", ctypes.c_void_p),
                ("groups_count", ctypes.c_size_t)]


def forge(source, key, uid, gid):
    """In a child: acts through libnacre as this uid, which the key does not permit."""
    library = ctypes.CDLL(os.path.join(os.path.dirname(lib.BIN), "lib", "libnacre.so.0"))
    mgs, name = source.split(":/")
    options = Options(size=ctypes.sizeof(Options), mgs=mgs.encode(), fsname=name.encode(), key_path=key.encode(),
                      patience_s=10, flags=2, uid=uid, gid=gid)
    fs, file = ctypes.c_void_p(), ctypes.c_void_p()
    why = ctypes.create_string_buffer(500)

    def want(what, got, number):
        if got != -number:
            raise lib.Failure("%s as uid %d: %d, not %d (%s)" % (what, uid, got, -number, why.value.decode()))

    want("mount", library.nacre_mount(ctypes.byref(options), why, len(why), ctypes.byref(fs)), 0)
    want("opening root's secret", library.nacre_open(fs, b"secret", os.O_RDONLY, 0, ctypes.byref(file)), errno.EACCES)
    want("mkdir in root's directory", library.nacre_mkdir(fs, b"locked/d", 0o755), errno.EACCES)
    want("chown", library.nacre_chown(fs, b"secret", uid, gid), errno.EPERM)
    want("chmod", library.nacre_chmod(fs, b"secret", 0o777), errno.EPERM)
    want("setting trusted.x", library.nacre_setxattr(fs, b"/", b"trusted.x", b"1", 1, 0), errno.EPERM)
    want("a new file", library.nacre_open(fs, b"made", os.O_CREAT | os.O_RDWR, 0o644, ctypes.byref(file)), 0)
    want("close", library.nacre_close(file), 0)
    want("umount", library.nacre_umount(fs), 0)


@lib.test(limit_s=60)
def forged_ids(t):
    """libnacre with a user's key that says it is root or somebody else is that user and nobody else."""
    one, plain = cluster.started(t, osts=1)
    os.mkdir(plain / "locked", 0o700)
    with open(plain / "secret", "wb") as file:
        file.write(b"secret")
    os.chmod(plain / "secret", 0o600)
    os.chmod(plain.point, 0o1777)
    key = one.key_new("user.key", "--role", "user", "--uid", str(USER), "--gid", str(USER))
    for uid, gid in ((0, 0), (OTHER, OTHER), (USER, 0)):
        job = t.spawn(forge, one.source, key, uid, gid)
        job.join(30)
        t.equal(os.stat(plain / "made").st_uid, USER, "owner of a file made with forged uid %d" % uid)
        os.unlink(plain / "made")
    t.fails(errno.ENOENT, os.stat, plain / "locked/d")


lib.main(__doc__)
