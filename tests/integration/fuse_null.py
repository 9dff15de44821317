"""src/fuse alone: nacre-fuse with an in-memory client (tests/unit/fuse/null_client.c), mounted for real."""

import errno
import fcntl
import mmap
import os
import shutil
import signal
import stat
import subprocess
import time

import lib

BUILD = os.environ.get("NACRE_BUILD") or os.path.join(lib.ROOT, "build", "rel")
SWITCH = "/sys/module/fuse/parameters/enable_uring"
USER, GROUP = 1234, 5678
NOBODY = 65534  # fusermount3 wants a user with a name
# INIT features, as src/fuse/fuse_abi.h numbers them.
MAX_PAGES, INIT_EXT, ALLOW_MMAP = 1 << 22, 1 << 30, 1 << 36
KILLPRIV, READDIRPLUS, ASYNC_DIO = 1 << 28, 1 << 13, 1 << 15
ALL = (1 << 64) - 1


def programs(t):
    folder = t.path("bin")
    if not os.path.isdir(folder):
        os.mkdir(folder)
        shutil.copy(os.path.join(BUILD, "src/fuse/mount.nacre"), folder)
        shutil.copy(os.path.join(BUILD, "tests/unit/fuse/nacre-fuse-null"), os.path.join(folder, "nacre-fuse"))
        with open(t.path("key"), "w", encoding="ascii") as file:
            file.write("none\n")
        os.chmod(t.dir, 0o755)
    return folder


def words(t, name="mnt", options=(), source="null:/null"):
    point = t.path(name)
    listed = ",".join(("key=" + t.path("key"), "log=" + t.path(name + ".log"), "log_level=debug") + tuple(options))
    return [os.path.join(programs(t), "mount.nacre"), source, point, "-o", listed], point


class Mounted:
    def __init__(self, t, name="mnt", options=("no_uring",), uid=0, uring=False):
        command, self.point = words(t, name, options)
        self.t = t
        os.makedirs(self.point, exist_ok=True)
        extra = {}
        if uid:
            os.chown(self.point, uid, uid)
            os.chown(t.dir, uid, uid)
            extra["preexec_fn"] = lib.drop_to(uid)
        if uring:
            switch_on(t, lambda: t.run(*command, limit_s=30, **extra))
        else:
            t.run(*command, limit_s=30, **extra)

    def __truediv__(self, path):
        return os.path.join(self.point, path)

    def pid(self):
        found = [pid for pid, line in lib.processes().items() if "nacre-fuse" in line and self.point in line]
        self.t.equal(len(found), 1, "daemons of " + self.point)
        return found[0]

    def umount(self):
        pid = self.pid()
        self.t.run("umount", self.point, limit_s=20)
        self.t.check(lib.pid_wait(pid, 10), "the daemon did not end after umount")

    def log(self):
        with open(self.point + ".log", encoding="utf-8") as file:
            return file.read()


def switch_on(t, function):
    """The kernel asks for the switch when a mount begins: it is on only so long."""
    try:
        with open(SWITCH, encoding="ascii") as file:
            was = file.read().strip()
        with open(SWITCH, "w", encoding="ascii") as file:
            file.write("Y")
    except OSError as error:
        t.skip("no FUSE over io_uring: %s" % error)
    try:
        function()
    finally:
        with open(SWITCH, "w", encoding="ascii") as file:
            file.write(was)


def write(path, data, mode="wb"):
    with open(path, mode) as file:
        file.write(data)


def read(path):
    with open(path, "rb") as file:
        return file.read()


def round_of_everything(t, m):
    data = os.urandom(5 * (1 << 20) + 12345)
    os.mkdir(m / "d")
    write(m / "d/a", data)
    t.check(read(m / "d/a") == data, "5 MiB come back")
    os.rename(m / "d/a", m / "b")
    os.link(m / "b", m / "c")
    t.equal(os.stat(m / "c").st_nlink, 2, "links")
    os.symlink("d/../b", m / "s")
    t.equal(os.readlink(m / "s"), "d/../b", "target")
    t.check(read(m / "s") == data, "through a symbolic link")
    os.truncate(m / "b", 1000)
    t.check(read(m / "c") == data[:1000], "truncated")
    os.setxattr(m / "b", "user.k", b"v" * 3000)
    t.equal(os.getxattr(m / "b", "user.k"), b"v" * 3000, "attribute")
    t.equal(os.listxattr(m / "b"), ["user.k"], "attributes")
    t.fails(errno.ENODATA, os.getxattr, m / "b", "user.none")
    t.fails(errno.ENOENT, os.stat, m / "none")
    t.fails(errno.ENAMETOOLONG, os.stat, m / ("n" * 256))
    t.fails(errno.ENOTEMPTY if os.listdir(m / "d") else errno.ENOENT, os.rmdir, m / "d/none")
    t.equal(sorted(os.listdir(m.point)), ["b", "c", "d", "s"], "entries")
    os.utime(m / "b", ns=(-1, 1500000000))
    t.equal((os.stat(m / "b").st_atime_ns, os.stat(m / "b").st_mtime_ns), (-1, 1500000000), "times")
    shutil.copy("/bin/true", m / "true")
    t.run(m / "true")
    fd = os.open(m / "open", os.O_RDWR | os.O_CREAT)
    os.unlink(m / "open")
    os.write(fd, b"still here")
    t.equal(os.pread(fd, 100, 6), b"here", "an unlinked file")
    os.fsync(fd)
    os.close(fd)


@lib.test(limit_s=60, suites=("quick", "full", "long"))
def round_dev(t):
    """Ordinary calls over /dev/fuse."""
    m = Mounted(t)
    round_of_everything(t, m)
    m.umount()
    t.check("over io_uring" not in m.log(), "io_uring was not wanted")


@lib.test(limit_s=60)
def round_uring(t):
    """Ordinary calls over io_uring."""
    m = Mounted(t, options=(), uring=True)
    round_of_everything(t, m)
    m.umount()
    t.check("over io_uring" in m.log(), "io_uring was not used: %s", m.log())
    t.check("uring=0 " not in m.log(), "no request came over io_uring: %s", m.log())


@lib.test(limit_s=120)
def features_missing(t):
    """A mount works on kernels that lack a feature; what is lost is what the table says."""
    for number, missing in enumerate((MAX_PAGES, INIT_EXT, ALLOW_MMAP, KILLPRIV, READDIRPLUS, ASYNC_DIO)):
        m = Mounted(t, "m%d" % number, ("no_uring", "fuse_features=%x" % (ALL & ~missing)))
        round_of_everything(t, m)
        fd = os.open(m / "b", os.O_RDWR)
        if missing in (ALLOW_MMAP, INIT_EXT):
            t.fails(errno.ENODEV, mmap.mmap, fd, 1000)
        else:
            mmap.mmap(fd, 1000).close()
        mmap.mmap(fd, 1000, mmap.MAP_PRIVATE, mmap.PROT_READ).close()
        os.close(fd)
        m.umount()


@lib.test(limit_s=60)
def directories_seek(t):
    """Cookies: every entry once, whatever is added meanwhile; seekdir, rewinddir; '.' and '..'."""
    m = Mounted(t)
    os.mkdir(m / "d")
    names = {"file%05d" % i for i in range(3000)}
    for name in names:
        write(m / ("d/" + name), b"")
    libc = lib.LIBC
    import ctypes  # pylint: disable=import-outside-toplevel

    class Dirent(ctypes.Structure):
        _fields_ = [("ino", ctypes.c_uint64), ("off", ctypes.c_int64), ("len", ctypes.c_uint16),
                    ("type", ctypes.c_uint8), ("name", ctypes.c_char * 256)]

    libc.opendir.restype = ctypes.c_void_p
    libc.readdir64.restype = ctypes.POINTER(Dirent)
    libc.telldir.restype = ctypes.c_long
    libc.readdir64.argtypes = libc.telldir.argtypes = libc.closedir.argtypes = [ctypes.c_void_p]
    libc.rewinddir.argtypes, libc.rewinddir.restype = [ctypes.c_void_p], None
    libc.seekdir.argtypes, libc.seekdir.restype = [ctypes.c_void_p, ctypes.c_long], None
    handle = libc.opendir((m / "d").encode())
    seen, places = [], {}
    while True:
        place = libc.telldir(handle)
        entry = libc.readdir64(handle)
        if not entry:
            break
        name = entry.contents.name.decode()
        places[name] = place
        seen.append(name)
        if len(seen) == 100:
            os.unlink(m / "d/file00007")
            write(m / "d/new", b"")
    t.equal(seen[:2], [".", ".."], "the first entries")
    t.equal(len(seen), len(set(seen)), "entries that came once")
    t.check(names - {"file00007"} <= set(seen), "all that stood there were seen")
    for name in t.rng.sample([n for n in seen if n != "file00007"], 50):
        libc.seekdir(handle, places[name])
        t.equal(libc.readdir64(handle).contents.name.decode(), name, "the entry at its place")
    libc.rewinddir(handle)
    t.equal(libc.readdir64(handle).contents.name, b".", "after rewinddir")
    libc.closedir(handle)
    m.umount()


@lib.test(limit_s=60)
def appends(t):
    """O_APPEND at open, set later, and together with a mapping."""
    m = Mounted(t)
    fd = os.open(m / "a", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    other = os.open(m / "a", os.O_RDWR)
    os.write(fd, b"one")
    os.pwrite(other, b"two", 3)
    os.write(fd, b"three")
    t.equal(read(m / "a"), b"onetwothree", "O_APPEND")
    fcntl.fcntl(other, fcntl.F_SETFL, os.O_APPEND)
    os.lseek(other, 0, os.SEEK_SET)
    os.write(other, b"four")
    t.equal(read(m / "a"), b"onetwothreefour", "O_APPEND set by fcntl")
    fcntl.fcntl(fd, fcntl.F_SETFL, 0)
    os.pwrite(fd, b"ONE", 0)
    t.equal(read(m / "a"), b"ONEtwothreefour", "O_APPEND cleared")
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_APPEND)
    area = mmap.mmap(fd, 15)
    area[3:6] = b"TWO"
    area.flush()
    t.equal(read(m / "a"), b"ONETWOthreefour", "a mapped page goes to its place")
    area.close()
    os.close(fd)
    os.close(other)
    m.umount()


@lib.test(limit_s=60)
def mappings(t):
    """Shared and private mappings agree with read and write on one mount."""
    m = Mounted(t)
    write(m / "f", bytes(3 << 20))
    fd = os.open(m / "f", os.O_RDWR)
    shared = mmap.mmap(fd, 3 << 20)
    private = mmap.mmap(fd, 3 << 20, mmap.MAP_PRIVATE)
    shared[2000000:2000005] = b"hello"
    shared.flush()
    t.equal(os.pread(fd, 5, 2000000), b"hello", "read after a mapped write")
    os.pwrite(fd, b"HE", 2000000)
    t.equal(shared[2000000:2000005], b"HEllo", "a mapping after write")
    private[0:3] = b"own"
    t.equal(os.pread(fd, 3, 0), bytes(3), "a private page stays private")
    shared.close()
    private.close()
    os.close(fd)
    m.umount()


def hang(path):
    os.read(os.open(path, os.O_RDONLY), 10)


def interrupts_on(t, m):
    write(m / "hang1", b"x")
    for number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
        child = subprocess.Popen(["cat", m / "hang1"])
        time.sleep(0.1)
        t.check(child.poll() is None, "a read of a file that hangs must hang")
        begin = time.monotonic()
        child.send_signal(number)
        t.equal(child.wait(10), -number, "how it ended")
        t.check(time.monotonic() - begin < 1, "it took %.1f s", time.monotonic() - begin)
    child = subprocess.Popen(["stat", m / "hanging"])
    time.sleep(0.1)
    child.terminate()
    t.equal(child.wait(10), -signal.SIGTERM, "a lookup")


@lib.test(limit_s=60)
def interrupts(t):
    """A killed process never waits for servers, over /dev/fuse."""
    m = Mounted(t)
    interrupts_on(t, m)
    m.umount()


@lib.test(limit_s=60)
def interrupts_uring(t):
    """A killed process never waits for servers, over io_uring."""
    m = Mounted(t, options=(), uring=True)
    interrupts_on(t, m)
    m.umount()


@lib.test(limit_s=120)
def interrupts_at_once(t):
    """A process killed while its request is being handed over is not forgotten: the kernel's rings lose such signals."""
    for options, uring in ((("no_uring",), False), ((), True)):
        m = Mounted(t, "m%d" % uring, options, uring=uring)
        for number in range(200):
            pid = os.fork()
            if pid == 0:
                try:
                    os.stat(m / ("hanging%d" % number))
                finally:
                    os._exit(0)
            time.sleep(number % 20 * 0.0001)
            os.kill(pid, signal.SIGKILL)
            t.check(lib.pid_wait(pid, 5), "a killed process still waits")
            os.waitpid(pid, 0)
        m.umount()


@lib.test(limit_s=60)
def interrupts_that_inform(t):
    """Timers and children that end do not interrupt files; a handled SIGINT does, after a moment."""
    m = Mounted(t)
    write(m / "hang1", b"x")
    script = """
import os, signal, time
signal.signal(signal.SIGALRM, lambda *a: None)
def stop(*a): raise KeyboardInterrupt
signal.signal(signal.SIGINT, stop)
signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
fd = os.open(%r, os.O_RDONLY)
print("reading", flush=True)
begin = time.monotonic()
try:
    os.read(fd, 1)
except KeyboardInterrupt:
    print("%%.2f" %% (time.monotonic() - begin), flush=True)
""" % (m / "hang1")
    child = subprocess.Popen(["/usr/bin/python3", "-c", script], stdout=subprocess.PIPE, text=True)
    t.equal(child.stdout.readline(), "reading\n", "its first line")
    time.sleep(0.7)
    t.check(child.poll() is None and "interrupted=0" not in m.log(), "a timer ended a read")
    child.send_signal(signal.SIGINT)
    t.check(0.6 < float(child.communicate(timeout=10)[0]) < 2, "when SIGINT ended it")
    m.umount()
    t.check("interrupted=1 " in m.log(), "one request was interrupted, by SIGINT: %s", m.log())


@lib.test(limit_s=120)
def crowd(t):
    """More requests hang than there are fibers; all can be killed, and then the mount works."""
    m = Mounted(t)
    write(m / "hang1", b"x")
    script = """
import os, threading
fd = os.open(%r, os.O_RDONLY)
for i in range(900):
    threading.Thread(target=os.pread, args=(fd, 10, 0)).start()
print("started", flush=True)
""" % (m / "hang1")
    child = subprocess.Popen(["/usr/bin/python3", "-c", script], stdout=subprocess.PIPE, text=True)
    t.equal(child.stdout.readline(), "started\n", "its first line")
    time.sleep(0.5)
    begin = time.monotonic()
    child.kill()
    child.wait(30)
    t.check(time.monotonic() - begin < 10, "900 requests ended after %.1f s", time.monotonic() - begin)
    t.equal(os.listdir(m.point), ["hang1"], "the mount afterwards")
    m.umount()
    t.check("queued=0 " not in m.log() and "refused=0" in m.log(), "requests waited and none was refused: %s", m.log())


@lib.test(limit_s=60)
def daemon_dies(t):
    """A killed daemon leaves a dead mount that says so and that umount cleans."""
    m = Mounted(t)
    pid = m.pid()
    os.kill(pid, signal.SIGKILL)
    lib.pid_wait(pid, 10)
    t.fails(errno.ENOTCONN, os.stat, m.point)
    t.refused(*words(t)[0], holds="umount")
    t.run("umount", m.point)
    m = Mounted(t)
    write(m / "x", b"x")
    m.umount()


@lib.test(limit_s=60)
def daemon_is_asked_to_end(t):
    """SIGTERM detaches; with open files the daemon ends when they are closed, or at a second signal."""
    m = Mounted(t)
    pid = m.pid()
    os.kill(pid, signal.SIGTERM)
    t.check(lib.pid_wait(pid, 5), "an idle daemon ends at once")
    t.equal(lib.mount_points(t.dir), [], "mounts")
    m = Mounted(t)
    pid = m.pid()
    fd = os.open(m / "f", os.O_RDWR | os.O_CREAT)
    os.kill(pid, signal.SIGTERM)
    lib.wait_for(lambda: not lib.mount_points(t.dir), 5, "detached")
    os.write(fd, b"still works")
    t.check(not lib.pid_wait(pid, 0.5), "it serves who still has files open")
    os.close(fd)
    t.check(lib.pid_wait(pid, 5), "it ends with the last file")
    m = Mounted(t)
    pid = m.pid()
    fd = os.open(m / "f", os.O_RDWR | os.O_CREAT)
    os.kill(pid, signal.SIGTERM)
    lib.wait_for(lambda: not lib.mount_points(t.dir), 5, "detached")
    os.kill(pid, signal.SIGINT)
    t.check(lib.pid_wait(pid, 5), "it ends at the second signal")
    t.fails(errno.ENOTCONN, os.write, fd, b"x")
    try:
        os.close(fd)
    except OSError:
        pass


def refuse(t, status, holds, command):
    result = t.run(*command, check=False)
    t.equal(result.returncode, status, "exit status of " + " ".join(command[1:]))
    t.equal(result.stderr.count("\n"), 1, "lines")
    t.check(holds in result.stderr, "'%s' is not in: %s", holds, result.stderr)


def umount_wait(t, point):
    daemons = [pid for pid, line in lib.processes().items() if point in line]
    t.run("umount", point)
    t.check(daemons and all(lib.pid_wait(pid, 10) for pid in daemons), "the daemon did not end")


@lib.test(limit_s=60, suites=("quick", "full", "long"))
def refusals(t):
    """A mount that cannot work says why in one line: 1 for wrong usage, 32 for the rest."""
    command, point = words(t, options=("no_uring",))
    mount = command[0]
    refuse(t, 32, "No such file or directory", command)
    write(point, b"")
    refuse(t, 32, "not a directory", command)
    os.unlink(point)
    os.mkdir(point)
    refuse(t, 32, "no file system 'wrong'", words(t, source="null:/wrong")[0])
    refuse(t, 1, "frobnicate", words(t, options=("frobnicate",))[0])
    refuse(t, 1, "HOST", words(t, source="nonsense")[0])
    refuse(t, 1, "key=PATH", [mount, "null:/null", point])
    refuse(t, 32, "the key file", [mount, "null:/null", point, "-o", "key=/nowhere/key"])
    refuse(t, 32, "log file", words(t, options=("log=/nowhere/log",))[0])
    t.run(*command)
    refuse(t, 32, "mounted there already", command)
    umount_wait(t, point)
    for word, holds in (("--help", "key=PATH"), ("--version", "mount.nacre ")):
        t.check(holds in t.out(mount, word), "%s is not in %s", holds, word)
    t.run(*command, "-f")
    t.equal(lib.mount_points(t.dir), [], "mounts after -f")
    t.run(*words(t, options=("frobnicate",))[0], "-s", "-n", "-v")
    umount_wait(t, point)


@lib.test(limit_s=60)
def no_device(t):
    """Without /dev/fuse the line says so."""
    command, point = words(t)
    os.mkdir(point)
    os.mkdir(t.path("dev"))
    lib.LIBC.unshare(lib.CLONE_NEWNS)
    lib.mount("tmpfs", "/dev", "tmpfs")
    os.mknod("/dev/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    refuse(t, 32, "FUSE is missing", command)
    lib.umount("/dev")


@lib.test(limit_s=60)
def ordinary_user(t):
    """Somebody other than root mounts by fusermount3: nosuid, nodev, nobody else's."""
    if shutil.which("fusermount3") is None:
        t.skip("no fusermount3")
    m = Mounted(t, uid=NOBODY)
    with open("/proc/self/mountinfo", encoding="utf-8") as file:
        line = [one for one in file if " %s " % m.point in one][0]
    t.check("nosuid" in line and "nodev" in line and "fuse.nacre null:/null" in line, "%s", line)
    t.run("sh", "-c", "echo hello >%s/f && cat %s/f" % (m.point, m.point), preexec_fn=lib.drop_to(NOBODY))
    t.fails(errno.EACCES, os.stat, m / "f")
    pid = m.pid()
    t.run("fusermount3", "-u", m.point, preexec_fn=lib.drop_to(NOBODY))
    t.check(lib.pid_wait(pid, 10), "the daemon did not end")


@lib.test(limit_s=60)
def permissions(t):
    """Groups are read from /proc when needed; programs that may only be executed; set-id bits fall with a write."""
    m = Mounted(t)
    write(m / "secret", b"for the group")
    os.chown(m / "secret", 0, GROUP)
    os.chmod(m / "secret", 0o640)
    t.run("cat", m / "secret", preexec_fn=lib.drop_to(USER, groups=(GROUP,)))
    t.refused("cat", m / "secret", holds="Permission denied", preexec_fn=lib.drop_to(USER))
    shutil.copy("/bin/true", m / "true")
    os.chmod(m / "true", 0o711)
    t.run(m / "true", preexec_fn=lib.drop_to(USER))
    t.refused("cat", m / "true", holds="Permission denied", preexec_fn=lib.drop_to(USER))
    write(m / "suid", b"x")
    os.chmod(m / "suid", 0o4777)
    with open(m / "suid", "ab") as file:
        file.write(b"by root")
    t.equal(os.stat(m / "suid").st_mode & 0o7777, 0o4777, "root keeps the bits")
    t.run("sh", "-c", "echo x >>%s" % (m / "suid"), preexec_fn=lib.drop_to(USER))
    t.equal(os.stat(m / "suid").st_mode & 0o7777, 0o777, "a stranger's write clears them")
    m.umount()


@lib.test(limit_s=60)
def readahead(t):
    """As root the mount raises the readahead of mapped files."""
    m = Mounted(t)
    number = os.stat(m.point).st_dev
    with open("/sys/class/bdi/%d:%d/read_ahead_kb" % (os.major(number), os.minor(number)), encoding="ascii") as file:
        t.equal(file.read().strip(), "1024", "read_ahead_kb")
    m.umount()


if __name__ == "__main__":
    lib.main(__doc__)
