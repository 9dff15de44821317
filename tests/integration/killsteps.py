"""kill -9 at every step: the K-th system call of a daemon, at its entry or its exit, counted from the start of one operation.

For each daemon and each operation `killstep` (killstep.c says what a step is) kills the daemon at step 1, 2, 3... until the
operation ends unharmed. Then, for a server: it is started again, the client goes on without an error, and everything the
operation did is there. For nacre-fuse, or a server and nacre-fuse together: a new mount shows the operation wholly done
or not at all; what was acknowledged is there. At the end nothing is left of removed files on any OST.

The landing gate takes steps spread over each operation, other ones with each seed; NACRE_SUITE=long takes them all.
"""

import errno
import os
import select
import shutil
import signal
import subprocess
import time

import cluster
import lib

KILLSTEP = os.path.join(lib.ROOT, "build", "rel", "tests", "integration", "killstep")
# Steps of one operation that the landing gate takes.
GATE_STEPS = 14
STEPS_MAX = 3000
OPERATION_S = 30
STRIPE = 64 << 10
# Where lov_user_md has its number of stripes.
LOV_COUNT_AT = 28
# What a system call on a mount says whose nacre-fuse has died under it.
MOUNT_DEAD = (errno.ENOTCONN, errno.ECONNABORTED)


def content(name, size):
    return lib.random.Random(name).randbytes(size)


# ---- operations: prepare, run with acknowledgements, verify what is there given what was acknowledged ----


class Operation:
    def __init__(self, t, place):
        self.t = t
        self.place = place
        self.settled = lambda: True

    def __truediv__(self, name):
        return os.path.join(self.place, name)

    def prepare(self):
        pass

    def put(self, name, data):
        with open(self / name, "wb") as file:
            file.write(data)

    def get(self, name):
        """The content, or None; names and listing must agree, size and content too."""
        listed = name in os.listdir(self.place)
        try:
            with open(self / name, "rb") as file:
                data = file.read()
                size = os.fstat(file.fileno()).st_size
        except FileNotFoundError:
            self.t.check(not listed, "%s is listed and cannot be opened", name)
            return None
        self.t.check(listed, "%s can be opened and is not listed", name)
        self.t.equal(size, len(data), "size of %s and what can be read" % name)
        return data


class Mkdir(Operation):
    def run(self, ack):
        os.mkdir(self / "new", 0o750)
        ack("mkdir")

    def verify(self, acked):
        there = "new" in os.listdir(self.place)
        self.t.check(there or "mkdir" not in acked, "an acknowledged directory is not there")
        self.t.equal(os.path.isdir(self / "new"), there, "the directory by its name, as it is listed")
        self.t.equal(os.stat(self.place).st_nlink, 3 if there else 2, "links of the parent")
        if there:
            self.t.equal(os.stat(self / "new").st_mode, 0o040750, "mode of the new directory")
            self.t.equal(os.listdir(self / "new"), [], "what is in the new directory")
            os.mkdir(self / "new/inner")


class Create(Operation):
    """A small file: its data lives in the MDT."""
    data = content("small", 3000)

    def run(self, ack):
        fd = os.open(self / "f", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
        ack("open")
        self.t.equal(os.write(fd, self.data), len(self.data), "what write took")
        ack("write")
        os.close(fd)
        ack("close")

    def verify(self, acked):
        data = self.get("f")
        self.t.check(data is not None or "open" not in acked, "an acknowledged file is not there")
        self.t.check(data in (None, b"", self.data), "a file half-written: %s bytes", data and len(data))
        self.t.check(data == self.data or "write" not in acked, "an acknowledged write is not there")


class Striped(Operation):
    """Two pieces over two OSTs, and fsync."""
    piece = 4 * STRIPE
    data = content("striped", 2 * piece)

    def run(self, ack):
        fd = os.open(self / "f", os.O_WRONLY | os.O_CREAT, 0o644)
        ack("open")
        for number in range(2):
            at = number * self.piece
            self.t.equal(os.pwrite(fd, self.data[at:at + self.piece], at), self.piece, "what write took")
            ack("write%d" % number)
        os.fsync(fd)
        ack("fsync")
        os.close(fd)
        ack("close")

    def verify(self, acked):
        data = self.get("f")
        self.t.check(data is not None or "open" not in acked, "an acknowledged file is not there")
        for number in range(2 if data is not None else 0):
            at = number * self.piece
            want, have = self.data[at:at + self.piece], data[at:at + self.piece]
            if "write%d" % number in acked:
                self.t.check(have == want, "an acknowledged write is not there")
            self.t.check(all(h in (w, 0) for h, w in zip(have, want)), "piece %d holds what was never written", number)


class Rename(Operation):
    """Over an existing name, whose file has objects."""
    old, new = content("old", 3 * STRIPE), content("new", 2000)

    def prepare(self):
        self.put("a", self.new)
        self.put("b", self.old)

    def run(self, ack):
        os.rename(self / "a", self / "b")
        ack("rename")
        # The objects of what is gone are destroyed afterwards: steps too.
        lib.wait_for(self.settled, OPERATION_S / 2, "the end of the old file's objects")

    def verify(self, acked):
        a, b = self.get("a"), self.get("b")
        done = a is None and b == self.new
        self.t.check(done or (a == self.new and b == self.old), "a rename half-done: a %s, b %s", a is not None, b is not None)
        self.t.check(done or "rename" not in acked, "an acknowledged rename is not there")


class Unlink(Operation):
    """Of an open file, which stays usable until its last close."""
    data = content("unlinked", 3 * STRIPE)

    def prepare(self):
        self.put("f", self.data)

    def run(self, ack):
        fd = os.open(self / "f", os.O_RDWR)
        os.unlink(self / "f")
        ack("unlink")
        self.t.check(os.pread(fd, len(self.data), 0) == self.data, "an unlinked open file reads wrong")
        os.pwrite(fd, b"more", 1000)
        self.t.check(os.pread(fd, 6, 999) == self.data[999:1000] + b"more" + self.data[1004:1005], "it wrote wrong")
        os.close(fd)
        ack("close")
        lib.wait_for(self.settled, OPERATION_S / 2, "the end of the file's objects")

    def verify(self, acked):
        data = self.get("f")
        self.t.check(data is None or "unlink" not in acked, "an acknowledged unlink is undone")
        self.t.check(data in (None, self.data), "a file half-removed: %s bytes", data and len(data))


class Truncate(Operation):
    """A striped file becomes shorter on both OSTs; what was cut off does not come back when it grows.

    A truncate that nobody waits for any more is finished by the MDT when the OST is back: until then the size is the new one and
    bytes behind it can still be read.
    """
    size = 3 * STRIPE + 17
    data = content("truncated", 7 * STRIPE + 5)

    def prepare(self):
        self.put("f", self.data)

    def run(self, ack):
        os.truncate(self / "f", self.size)
        ack("truncate")

    def whole(self):
        with open(self / "f", "rb") as file:
            data = file.read()
            return len(data) == os.fstat(file.fileno()).st_size

    def verify(self, acked):
        if "truncate" not in acked:
            lib.wait_for(self.whole, 10, "the end of the truncate")
        data = self.get("f")
        self.t.check(data in (self.data, self.data[:self.size]), "a truncate half-done: %s bytes", data and len(data))
        if "truncate" in acked:
            self.t.equal(len(data), self.size, "size after an acknowledged truncate")
        os.truncate(self / "f", len(self.data))
        self.t.check(self.get("f") == data + bytes(len(self.data) - len(data)), "what was cut off came back")


OPERATIONS = (Mkdir, Create, Striped, Rename, Unlink, Truncate)


# ---- one case ----


class Killer:
    """killstep at work on one process."""

    def __init__(self, pid, step):
        self.process = subprocess.Popen([KILLSTEP, str(pid), str(step)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, bufsize=1)
        self.expect("ready")

    def expect(self, word):
        line = self.process.stdout.readline().strip()
        if line != word:
            raise lib.Failure("killstep: '%s', not '%s'" % (line, word))

    def go(self):
        self.process.stdin.write("go\n")
        self.expect("counting")

    def verdict(self):
        """Waits for the end: (word, count, place); an operation that is over lets the process go."""
        line = self.process.stdout.readline().split()
        self.process.stdin.close()
        self.process.wait()
        return line

    def let_go(self):
        self.process.stdin.close()


class Actor:
    """The process that runs the operation; its acknowledgements come through a pipe, as they are given."""

    def __init__(self, t, operation):
        self.acks, out = os.pipe()
        start, self.start = os.pipe()
        self.text = b""
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                os.close(self.start)
                os.read(start, 1)
                operation.run(lambda word: os.write(out, word.encode() + b"\n"))
                os.write(out, b"end\n")
                status = 0
            except OSError as error:
                os.write(out, b"errno %d\n" % error.errno)
            except lib.Failure as error:
                os.write(out, b"failure %s\n" % str(error).encode())
            finally:
                os._exit(status)
        os.close(out)
        os.close(start)
        self.t = t

    def go(self):
        os.close(self.start)

    def take(self):
        """Reads what there is; False at the end."""
        data = os.read(self.acks, 4096)
        self.text += data
        return bool(data)

    def finish(self, limit_s):
        """Acknowledgements, and how it ended: "end", "errno N", "failure WHY"."""
        end = time.monotonic() + limit_s
        while select.select([self.acks], [], [], max(0, end - time.monotonic()))[0]:
            if not self.take():
                break
        else:
            os.kill(self.pid, signal.SIGKILL)
            raise lib.Failure("the operation still waits after %d s; it had: %s" % (limit_s, self.text.decode().split()))
        os.waitpid(self.pid, 0)
        os.close(self.acks)
        lines = self.text.decode().strip().split("\n")
        return lines[:-1], lines[-1]


class Scene:
    """A cluster of two OSTs whose daemons are killed one by one."""

    def __init__(self, t, victim, client_too=False):
        self.t = t
        self.victim = victim
        self.client_too = client_too
        self.number = 0
        self.kills = {}
        self.cluster, self.mount = cluster.started(t, osts=2)
        os.mkdir(self.mount / "top")
        t.run("lfs", "setstripe", "-c", "2", "-S", str(STRIPE), "-i", "0", self.mount / "top")

    @property
    def client_dies(self):
        return self.client_too or self.victim == "client"

    def pid(self):
        return self.mount.pid if self.victim == "client" else self.cluster.pids()[self.victim]

    def revive(self):
        if self.client_dies:
            self.mount.kill() if self.client_too else self.mount.detach()
        if self.victim != "client":
            self.cluster.up()
        if self.client_dies:
            self.mount = self.mount.remount()

    def ready(self):
        """New files have objects on both OSTs again: an OST that was away is not chosen until the MDT has seen it back."""
        with open(self.mount / "top/probe", "wb") as file:
            file.write(bytes(STRIPE + 1))
            lov = os.getxattr(file.fileno(), "lustre.lov")
        os.unlink(self.mount / "top/probe")
        return int.from_bytes(lov[LOV_COUNT_AT:LOV_COUNT_AT + 2], "little") == 2

    def clean(self):
        """Of removed files nothing is left - but orphans of a client that died, which wait for its session to end."""
        return self.client_dies or not self.objects()

    def case(self, kind, step):
        """Runs one operation and kills at one step; returns whether it did, and how many steps there were."""
        self.number += 1
        lib.wait_for(self.ready, 20, "both OSTs in new files")
        lib.wait_for(self.clean, 20, "the end of the objects of what was removed")
        place = self.mount / ("top/case%d" % self.number)
        os.mkdir(place)
        operation = kind(self.t, place)
        operation.settled = self.clean
        operation.prepare()
        actor = Actor(self.t, operation)
        killer = Killer(self.pid(), step)
        killer.go()
        actor.go()
        killed = self.race(actor, killer)
        verdict = killer.verdict()
        killed = killed or verdict[0] != "unharmed"
        name = "%s of %s at step %d (%s)" % (kind.__name__, self.victim, step, " ".join(verdict))
        self.t.check(not killed or verdict[0] == "killed", "%s: the daemon ended by itself", name)
        try:
            self.judge(actor, operation, killed)
        except (lib.Failure, OSError) as error:
            raise lib.Failure("%s: %s" % (name, error)) from error
        shutil.rmtree(place)
        if killed:
            self.kills[kind] = self.kills.get(kind, 0) + 1
        return killed, int(verdict[1])

    def race(self, actor, killer):
        """Until the operation has ended (then the daemon is let go) or the daemon has been killed (true)."""
        poll = select.poll()
        poll.register(actor.acks, select.POLLIN | select.POLLHUP)
        poll.register(killer.process.stdout, select.POLLIN | select.POLLHUP)
        while True:
            for fd, _ in poll.poll(OPERATION_S * 1000) or [(None, 0)]:
                if fd is None:
                    raise lib.Failure("neither ended nor killed after %d s" % OPERATION_S)
                if fd != actor.acks:
                    return True
                if not actor.take():
                    killer.let_go()
                    return False

    def judge(self, actor, operation, killed):
        if killed:
            if self.victim == "client":
                # The last request of the old connection may still be told that it was aborted.
                lib.wait_for(lambda: self.dead_mount_says() == "ENOTCONN", 10, "ENOTCONN from the dead mount")
            self.revive()
        acked, how = actor.finish(OPERATION_S)
        if not killed or not self.client_dies:
            self.t.equal(how, "end", "the operation, of which was acknowledged: %s" % acked)
        elif how.startswith("errno "):
            self.t.check(int(how[6:]) in MOUNT_DEAD, "the dead mount gave %s", os.strerror(int(how[6:])))
        else:
            self.t.equal(how, "end", "the operation")
        operation.verify(acked)

    def dead_mount_says(self):
        try:
            os.stat(self.mount.point)
        except OSError as error:
            return errno.errorcode[error.errno]
        return "nothing"

    def steps(self, count):
        """Which steps of `count` are taken; None: all, until it ends unharmed."""
        if lib.LONG:
            return None
        width = max(1.0, count / GATE_STEPS)
        chosen = {int(number * width + self.t.rng.uniform(0, width)) + 1 for number in range(GATE_STEPS)}
        return sorted(step for step in chosen if step <= count)

    def sweep(self, kind):
        killed, count = self.case(kind, 0)
        self.t.check(not killed, "%s was killed while it was counted", self.victim)
        chosen = self.steps(count)
        start = time.monotonic()
        if chosen is None:
            step = 1
            while self.case(kind, step)[0]:
                step += 1
                self.t.check(step < STEPS_MAX, "%s does not end", kind.__name__)
        else:
            for step in chosen:
                self.case(kind, step)
        self.t.say("%s: %d steps of %s, killed at %d of them, %.1f s", kind.__name__, count, self.victim,
                   self.kills.get(kind, 0), time.monotonic() - start)
        return count

    def run(self, kinds=OPERATIONS):
        for kind in kinds:
            if self.sweep(kind) > 0:
                self.t.check(self.kills.get(kind, 0) > 0, "%s: %s was never killed", kind.__name__, self.victim)
        if not self.client_dies:
            lib.wait_for(self.clean, 20, "the end of the objects of what was removed")
        self.t.say("%d kills of %s", sum(self.kills.values()), self.victim)

    def objects(self):
        found = []
        for number in range(2):
            for here, _, files in os.walk(self.cluster.file("data", "ost%04x" % number, "objects")):
                found += [os.path.join(here, name) for name in files]
        return found


LIMIT_S = 3000 if lib.LONG else 150


@lib.test(limit_s=LIMIT_S)
def mdt_dies(t):
    """The MDT's nacred is killed at each step; the client waits for it and goes on, everything is there."""
    Scene(t, "mds").run()


@lib.test(limit_s=LIMIT_S)
def ost_dies(t):
    """The first OST's nacred is killed at each step."""
    Scene(t, "ost0000").run()


@lib.test(limit_s=LIMIT_S)
def client_dies(t):
    """nacre-fuse is killed at each step: the mount says ENOTCONN, a new one shows all or nothing."""
    Scene(t, "client").run()


@lib.test(limit_s=LIMIT_S)
def mdt_and_client_die(t):
    """The MDT's nacred at each step, and nacre-fuse before it is back: nobody repeats the request; all or nothing."""
    Scene(t, "mds", client_too=True).run()


@lib.test(limit_s=LIMIT_S)
def ost_and_client_die(t):
    """The first OST's nacred at each step, and nacre-fuse before it is back."""
    Scene(t, "ost0000", client_too=True).run((Striped, Unlink, Truncate))


lib.main(__doc__)
