"""What goes wrong from outside: full disks, wrong keys and names, foreign and damaged targets, malformed bytes, idleness."""

import errno
import os
import re
import shutil
import socket
import struct
import time

import cluster
import lib
import load

MIB = 1 << 20


def fill(path, limit):
    """Writes until ENOSPC; the number of bytes that were acknowledged and fsynced or refused."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    done = 0
    try:
        while done < limit:
            done += os.write(fd, load.content(3, done // MIB, MIB))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    finally:
        os.close(fd)
    if done >= limit:
        raise lib.Failure("%d bytes fit where %d are allowed" % (done, limit))
    return done


@lib.test(limit_s=120)
def full_osts(t):
    """OSTs of 64 MiB: ENOSPC comes, data written before reads back, other files go on, deletes give the space back."""
    _, mount = cluster.started(t, osts=2, options=["--ost-capacity", "64M"])
    with open(mount / "small", "wb") as file:
        file.write(b"inline")
    for number in range(2):
        t.run("lfs", "setstripe", "-c", "2", "-S", "1M", mount / "big")
        done = fill(mount / "big", 140 * MIB)
        t.check(done > 60 * MIB, "only %d bytes fitted into 128 MiB (time %d)", done, number)
        with open(mount / "big", "rb") as file:
            for at in range(0, done - MIB, MIB):
                t.check(file.read(MIB) == load.content(3, at // MIB, MIB), "data before ENOSPC is wrong at %d", at)
        with open(mount / "small", "rb") as file:
            t.equal(file.read(), b"inline", "a small file while the OSTs are full")
        os.mkdir(mount / ("d%d" % number))
        os.rename(mount / ("d%d" % number), mount / ("e%d" % number))
        statvfs = os.statvfs(mount.point)
        t.check(statvfs.f_bavail * statvfs.f_frsize < 40 * MIB, "df shows %d MiB free",
                statvfs.f_bavail * statvfs.f_frsize / MIB)
        os.unlink(mount / "big")
        lib.wait_for(lambda: os.statvfs(mount.point).f_bavail * os.statvfs(mount.point).f_frsize > 100 * MIB, 30,
                     "the space of a removed file")
    with open(mount / "after", "wb") as file:
        file.write(bytes(20 * MIB))


@lib.test(limit_s=60)
def one_full_ost(t):
    """A single full OST gives ENOSPC to files that need it and takes no new ones; the others go on."""
    _, mount = cluster.started(t, osts=3, options=["--ost-capacity", "64M"])
    t.run("lfs", "setstripe", "-c", "1", "-i", "0", mount / "big")
    done = fill(mount / "big", 70 * MIB)
    t.check(done > 30 * MIB, "only %d bytes fitted", done)

    def others_take_it():
        """The MDT hears of the full OST with its next look."""
        try:
            for number in range(12):
                with open(mount / ("n%d" % number), "wb") as file:
                    file.write(load.content(1, number, MIB))
            return True
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            for number in range(12):
                if os.path.exists(mount / ("n%d" % number)):
                    os.unlink(mount / ("n%d" % number))
            return False

    lib.wait_for(others_take_it, 10, "new files beside a full OST")
    used = {t.out("lfs", "getstripe", "-i", mount / ("n%d" % number)).strip() for number in range(12)}
    t.check(used <= {"1", "2"} and len(used) == 2, "new files went to OSTs %s", sorted(used))


@lib.test(limit_s=120)
def full_mdt(t):
    """An MDT of limited space: ENOSPC for new files; reads and deletes go on, then creating works again."""
    one, mount = cluster.started(t, osts=1, options=["--mdt-capacity", "96M"])
    with open(mount / "before", "wb") as file:
        file.write(bytes(100000))
    number, refusals = 0, 0
    while refusals < 20 and number < 60000:
        try:
            with open(mount / ("f%d" % number), "wb") as file:
                file.write(bytes(4000))
            number += 1
        except OSError as error:
            t.equal(error.errno, errno.ENOSPC, "errno of a full MDT")
            refusals += 1
            if os.path.exists(mount / ("f%d" % number)):
                os.unlink(mount / ("f%d" % number))
    t.check(refusals >= 20, "%d inline files of 4,000 bytes fitted into 96 MiB", number)
    t.say("%d files fitted", number)
    for count in range(60):
        with open(mount / ("f%d" % t.rng.randrange(number)), "rb") as file:
            t.equal(len(file.read()), 4000, "bytes of a small file read while the MDT is full")
        with open(mount / "before", "r+b") as file:
            t.equal(len(file.read()), 100000, "bytes read while the MDT is full")
            file.seek(0)
            file.write(b"%06d" % count)
    t.equal(len(os.listdir(mount.point)), number + 1, "entries listed while the MDT is full")
    one.kill("mds")
    one.up()
    t.equal(os.stat(mount / "before").st_size, 100000, "size after a restart of the full MDT")
    for n in range(number):
        os.unlink(mount / ("f%d" % n))

    def creates():
        try:
            os.close(os.open(mount / "again", os.O_CREAT | os.O_RDWR))
            return True
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return False

    lib.wait_for(creates, 60, "a new file after everything was removed")


@lib.test(limit_s=60)
def mounts_that_cannot_work(t):
    """Wrong key, name, address, version of options, directory: each is one line that says what."""
    one, _ = cluster.started(t, osts=1)
    other = cluster.Cluster(t, "other", osts=1, options=["--fsname", "other"])
    other.up()
    address = one.source.split("/")[0]
    before = time.monotonic()
    lines = [
        one.mount_refused("key", key=other.key()),
        one.mount_refused("wrong", source=address + "/wrong"),
        one.mount_refused("unknown option", options=["nonsense"]),
        one.mount_refused("key", key=t.path("missing.key")),
        one.mount_refused("source", source="nowhere"),
        one.mount_refused("not/there", subdir="/not/there"),
        one.mount_refused("", source="127.0.0.1:1:/nacre", options=["mount_patience=2"]),
        one.mount_refused("", source="no-such-host.invalid:/nacre", options=["mount_patience=2"]),
    ]
    for line in lines:
        t.check(line.startswith("mount.nacre: "), "the line does not begin with the program: %s", line)
    t.check(time.monotonic() - before < 30, "the refusals took %.0f s", time.monotonic() - before)
    with open(t.path("junk.key"), "wb") as file:
        file.write(os.urandom(500))
    os.chmod(t.path("junk.key"), 0o600)
    one.mount_refused("key", key=t.path("junk.key"))
    shutil.copy(one.key(), t.path("open.key"))
    os.chmod(t.path("open.key"), 0o644)
    one.mount_refused("", key=t.path("unreadable.key"))
    words = one.mount_words("absent")
    t.refused(*words, holds="absent")
    one.stop()
    one.mount_refused("", options=["mount_patience=2"])


@lib.test(limit_s=40)
def wrong_key_is_logged_once(t):
    """A client with a wrong key is refused at HELLO and logged in one line by the server, however often it tries."""
    one, _ = cluster.started(t, osts=1)
    other = cluster.Cluster(t, "other", osts=1)
    other.up()
    before = len(one.log_text("mds").splitlines())
    one.mount_refused("key", key=other.key(), options=["mount_patience=3"])
    said = [l for l in one.log_text("mds").splitlines()[before:] if re.search("key|auth|cluster|refus", l, re.I)]
    t.equal(len(said), 1, "lines about the wrong key: %s" % said)


def tree_bytes(folder):
    found = {}
    for top, _, files in os.walk(folder):
        for name in files:
            path = os.path.join(top, name)
            with open(path, "rb") as file:
                found[path] = (hash(file.read()), os.stat(path).st_mtime_ns)
    return found


@lib.test(limit_s=60)
def refused_targets(t):
    """Foreign, swapped, damaged and newer targets are refused with one clear line and never written to."""
    one = cluster.Cluster(t, osts=2)
    one.up()
    one.down()
    one.stopped = True
    other = cluster.Cluster(t, "other", osts=2)
    other.up()
    other.down()
    other.stopped = True
    good = t.path("good")
    shutil.copytree(one.file("data"), good)
    ost = one.file("data", "ost0001")
    super_file = os.path.join(ost, "target.nacre")

    def damage_byte(at, change):
        def damage():
            with open(super_file, "r+b") as file:
                file.seek(at)
                value = file.read(1)[0]
                file.seek(at)
                file.write(bytes([value ^ change]))
        return damage

    def swapped():
        shutil.rmtree(ost)
        shutil.copytree(one.file("data", "ost0000"), ost)

    def foreign():
        shutil.rmtree(ost)
        shutil.copytree(other.file("data", "ost0001"), ost)

    def truncated():
        os.truncate(super_file, os.stat(super_file).st_size // 2)

    def emptied():
        os.unlink(super_file)

    size = os.stat(super_file).st_size
    cases = [swapped, foreign, truncated, emptied] + [damage_byte(at, 0x40) for at in range(0, min(size, 200), 9)]
    for case in cases:
        shutil.rmtree(one.file("data"))
        shutil.copytree(good, one.file("data"))
        case()
        before = tree_bytes(ost)
        result = one.up(check=False)
        t.check(result.returncode != 0, "nacre up accepts a target after %s", case.__name__)
        lines = result.stderr.strip().split("\n")
        t.equal(len(lines), 1, "lines after %s" % case.__name__)
        t.check("ost0001" in lines[0] or "OST0001" in lines[0], "the line does not name the target: %s", lines[0])
        t.equal(tree_bytes(ost), before, "the refused target after %s" % case.__name__)
        t.check("ost0001" not in one.pids(), "a daemon serves a refused target")
        one.down()
    shutil.rmtree(one.file("data"))
    shutil.copytree(good, one.file("data"))
    one.up()
    one.stopped = False


def addresses(one):
    """Every address the daemons listen on, from their configurations."""
    found = []
    for name in sorted(os.listdir(one.file("etc"))):
        with open(one.file("etc", name), encoding="utf-8") as file:
            listen = next(l for l in file if l.startswith("listen:"))
        found += re.findall(r'"(unix|tcp):([^"]+)"', listen)
    return found


def connect(kind, where):
    if kind == "unix":
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(5)
        sock.connect(where)
        return sock
    host, port = where.rsplit(":", 1)
    return socket.create_connection((host.strip("[]"), int(port)), 5)


def header(rng, **changes):
    """128 bytes as CONVENTIONS lays them out: magic, version, class, op, flags, crc, session..., body length."""
    raw = bytearray(b"NACR\1\1" + struct.pack("<H", rng.randrange(1, 60)) + rng.randbytes(120))
    for at in range(16, 112):
        if rng.random() < 0.8:
            raw[at] = 0
    for name, value in changes.items():
        struct.pack_into("<I", raw, {"body": 96, "bulk": 100}[name], value)
    return bytes(raw)


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 & -(crc & 1))
    return crc ^ 0xFFFFFFFF


def with_crc(raw):
    """The header's own CRC made right, so that what is behind it is reached: over the 128 bytes with the field zero."""
    raw = bytearray(raw)
    raw[12:16] = bytes(4)
    raw[12:16] = struct.pack("<I", crc32c(raw))
    return bytes(raw)


@lib.test(limit_s=120)
def malformed_bytes(t):
    """Random, truncated, oversized and half messages at every listening socket cost their connection only."""
    one, mount = cluster.started(t, osts=2)
    pids = one.pids()
    stop = t.path("stop")
    job = t.spawn(load.tree_run, mount / "tree", t.seed, stop, 100000)
    lingering = []
    for kind, where in addresses(one):
        for number in range(60 if not lib.LONG else 1000):
            rng = t.rng
            what = number % 6
            data = (rng.randbytes(rng.choice((1, 127, 128, 129, 5000))),
                    header(rng), with_crc(header(rng)), with_crc(header(rng, body=0xFFFFFFFF)),
                    with_crc(header(rng, body=64, bulk=0x7FFFFFFF)) + bytes(64), b"NACR" * 10000)[what]
            sock = connect(kind, where)
            try:
                sock.sendall(data)
                if number % 7 == 0:
                    lingering.append(sock)
                    continue
                if number % 3 == 0:
                    sock.shutdown(socket.SHUT_WR)
                    sock.settimeout(0.2)
                    while sock.recv(65536):
                        pass
            except OSError:
                pass
            sock.close()
    t.equal(one.pids(), pids, "daemons after malformed messages")
    with open(stop, "w", encoding="utf-8"):
        pass
    job.join(60)
    for sock in lingering:
        sock.close()
    for name in pids:
        text = one.log_text(name)
        t.check(len(text) < 300000, "%s logged %d bytes about malformed messages", name, len(text))


@lib.test(limit_s=60)
def many_connections(t):
    """A thousand silent connections to each address do not keep a client out."""
    one, mount = cluster.started(t, osts=1)
    silent = []
    for kind, where in addresses(one):
        for _ in range(200):
            try:
                silent.append(connect(kind, where))
            except OSError:
                break
    second = one.mount("m1")
    with open(second / "f", "wb") as file:
        file.write(bytes(100000))
    t.equal(os.stat(mount / "f").st_size, 100000, "size")
    for sock in silent:
        sock.close()


def cpu_and_wakeups(pid):
    cpu = wakes = 0
    for thread in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/schedstat" % (pid, thread), encoding="utf-8") as file:
            cpu += int(file.read().split()[0])
        with open("/proc/%d/task/%s/status" % (pid, thread), encoding="utf-8") as file:
            wakes += int(re.search(r"^voluntary_ctxt_switches:\s*(\d+)", file.read(), re.M).group(1))
    return cpu, wakes


def rss_kib(pid):
    with open("/proc/%d/status" % pid, encoding="utf-8") as file:
        return int(re.search(r"VmRSS:\s*(\d+)", file.read()).group(1))


@lib.test(limit_s=120)
def start_and_idle(t):
    """1 MDT + 4 OSTs start in under a second, idle under 100 MiB, 0.1 % CPU and 2 wake-ups a second per daemon."""
    one = cluster.Cluster(t)
    one.up()
    one.down()
    start = time.monotonic()
    one.up()
    took = time.monotonic() - start
    mount = one.mount()
    for number in range(200):
        with open(mount / ("f%d" % number), "wb") as file:
            file.write(bytes(10000))
    # Reports and checkpoints of the work just done are not idleness.
    time.sleep(6)
    pids = dict(one.pids(), fuse=mount.pid)
    seconds = 15
    before = {name: cpu_and_wakeups(pid) for name, pid in pids.items()}
    time.sleep(seconds)
    lines = []
    for name, pid in pids.items():
        cpu, wakes = cpu_and_wakeups(pid)
        lines.append((name, (cpu - before[name][0]) / 1e9 / seconds * 100, (wakes - before[name][1]) / seconds,
                      rss_kib(pid)))
        t.say("%s: %.3f %% CPU, %.2f wake-ups/s, %d KiB", *lines[-1])
    rss = sum(l[3] for l in lines if l[0] != "fuse")
    t.say("started in %.3f s, %.1f MiB in all", took, rss / 1024)
    t.check(took < 1.0, "the second nacre up took %.2f s", took)
    t.check(rss < 100 * 1024, "the daemons use %.1f MiB", rss / 1024)
    for name, cpu, wakes, _ in lines:
        t.check(cpu < 0.1, "%s uses %.3f %% CPU when idle", name, cpu)
        t.check(wakes <= 2.0, "%s wakes %.2f times a second when idle", name, wakes)


@lib.test(limit_s=60)
def tools_report_dead_targets(t):
    """nacre status and lfs check name a dead target and fail; nothing hangs."""
    one, mount = cluster.started(t, osts=2)
    t.run("nacre", "status", one.dir)
    t.run("lfs", "check", "all", mount.point)
    one.kill("ost0001")
    result = t.run("nacre", "status", one.dir, check=False, limit_s=20)
    t.equal(result.returncode, 1, "exit status of nacre status")
    t.check("OST0001" in result.stdout + result.stderr, "the dead target is not named")
    result = t.run("lfs", "check", "osts", mount.point, check=False, limit_s=20)
    t.check(re.search("error.*OST0001", result.stderr), "lfs check says nothing of OST0001")
    t.run("lfs", "df", mount.point, check=False, limit_s=20)
    os.statvfs(mount.point)
    one.up()
    t.run("nacre", "status", one.dir)
    t.run("nacre", "inspect", one.file("data", "mdt0000"))
    t.run("nacre", "inspect", one.file("data", "mdt0000"), "--log")
    t.run("nacre", "inspect", one.file("data", "mdt0000"), "--checkpoint")


lib.main(__doc__)
