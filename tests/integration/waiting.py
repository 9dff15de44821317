"""Programs that wait for an OST that is dead or stopped: the name space goes on, ^C ends them, the rest completes, once."""

import os
import signal
import time

import cluster
import lib
import load

MOUNTS = 7
EACH = 70  # programs per mount; in all more than an MDT has handlers, on each more than a session has slots
BIG = 100000
SMALL = 3000
RECORD = 100


def original(number, length):
    return load.content(number, 0, length)


class Program:
    """One that truncates, appends or lets an inline file grow, and then writes what shows that it has come so far."""

    KINDS = ("truncate", "open", "grow", "append", "grow", "open", "truncate")

    def __init__(self, t, mounts, number):
        self.number = number
        self.mount = mounts[number % MOUNTS]
        self.kind = self.KINDS[number // MOUNTS % len(self.KINDS)]
        # Those who append share a file with one program of each other mount.
        self.name = "d/%s-%d" % (self.kind, number // MOUNTS if self.kind == "append" else number)
        self.job = None
        self.t = t

    def record(self):
        return (b"record %d " % self.number).ljust(RECORD, b".")

    def prepare(self):
        if self.kind == "append" and self.number % MOUNTS != 0:
            return
        with open(self.mount / self.name, "r+b") as file:
            file.write(original(self.number, SMALL if self.kind == "grow" else BIG))

    def start(self, ready, go):
        self.job = self.t.spawn(self.work, ready, go)

    def work(self, ready, go):
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        path = self.mount / self.name
        if self.kind == "open":
            os.open(path, os.O_RDONLY)  # so that it keeps its objects
            os.write(ready, b"x")
            os.read(go, 1)
            fd = os.open(path, os.O_WRONLY | os.O_TRUNC)
            os.pwrite(fd, self.record(), 5000)
        else:
            fd = os.open(path, os.O_RDWR | (os.O_APPEND if self.kind == "append" else 0))
            os.write(ready, b"x")
            os.read(go, 1)
            if self.kind == "truncate":
                os.ftruncate(fd, 5000)
                os.pwrite(fd, self.record(), 5000)
            elif self.kind == "append":
                os.write(fd, self.record())
            else:
                os.pwrite(fd, self.record() * 20, SMALL)
        os.close(fd)

    def check(self, done):
        """Content of a file when its program has come to its end, or was interrupted somewhere."""
        with open(self.mount / self.name, "rb") as file:
            got = file.read()
        if self.kind == "grow":
            want = [original(self.number, SMALL) + self.record() * 20]
            want += [] if done else [original(self.number, SMALL)]
        elif self.kind == "truncate":
            want = [original(self.number, BIG)[:5000] + self.record()]
            want += [] if done else [original(self.number, BIG), original(self.number, BIG)[:5000]]
        else:
            want = [bytes(5000) + self.record()]
            want += [] if done else [original(self.number, BIG), b""]
        self.t.check(got in want, "%s of program %d holds %d bytes that it should not", self.name, self.number, len(got))


def appended_check(t, programs, done):
    """Each record of a program that came to its end is there once, of an interrupted one at most once, none is torn."""
    by_name = {}
    for program in programs:
        by_name.setdefault(program.name, []).append(program)
    for name, writers in by_name.items():
        with open(writers[0].mount / name, "rb") as file:
            got = file.read()
        first = min(writer.number for writer in writers)
        t.check(got[:BIG] == original(first, BIG), "%s lost what it held", name)
        records = [got[at:at + RECORD] for at in range(BIG, len(got), RECORD)]
        known = {writer.record(): writer for writer in writers}
        for writer in writers:
            count = records.count(writer.record())
            t.check(count == 1 if writer in done else count <= 1, "record %d is %d times in %s", writer.number, count, name)
        for record in records:
            t.check(record in known or record == bytes(RECORD), "%s holds a torn record", name)


def names(mount, tag, count):
    """Ordinary work on names; the slowest call and all of it, in seconds."""
    slowest, began = 0.0, time.monotonic()

    def timed(function, *args):
        nonlocal slowest
        start = time.monotonic()
        result = function(*args)
        slowest = max(slowest, time.monotonic() - start)
        return result

    for number in range(count):
        folder = mount / ("%s-%d" % (tag, number))
        timed(os.mkdir, folder)
        fd = timed(os.open, folder + "/file", os.O_CREAT | os.O_WRONLY)
        timed(os.write, fd, b"inline")
        timed(os.close, fd)
        timed(os.stat, folder + "/file")
        timed(os.rename, folder + "/file", folder + "/other")
        timed(os.unlink, folder + "/other")
        timed(os.rmdir, folder)
    return slowest, time.monotonic() - began


def names_go_on(t, mounts, tag, before):
    """On mounts whose programs wait, and from their first moment on."""
    for mount in mounts:
        job = t.spawn(lambda mount=mount: report(t, mount, tag, before))
        job.join(limit_s=60)


def report(t, mount, tag, before):
    slowest, took = names(mount, tag, 40)
    t.say("%s %s: slowest call %.3f s, all %.2f s (%.2f s before)", mount.name, tag, slowest, took, before)
    t.check(slowest < 2, "a call took %.1f s while others wait for an OST", slowest)
    t.check(took < 4 * before + 2, "%.1f s for what took %.1f s before", took, before)


def prepared(t, mounts, programs):
    os.mkdir(mounts[0] / "d")
    os.chdir(mounts[0] / "d")
    names_all = sorted({os.path.basename(program.name) for program in programs})
    for at in range(0, len(names_all), 50):
        t.run("lfs", "setstripe", "-o", "0", *names_all[at:at + 50])
    os.chdir("/")
    for program in programs:
        program.prepare()


def dead_ost(t, kill, revive):
    one, *mounts = cluster.started(t, osts=2, mounts=MOUNTS)
    programs = [Program(t, mounts, number) for number in range(MOUNTS * EACH)]
    prepared(t, mounts, programs)
    _, before = names(mounts[0], "before", 40)
    ready, tell_ready = os.pipe()
    go, tell_go = os.pipe()
    for program in programs:
        program.start(tell_ready, go)
    for _ in programs:
        os.read(ready, 1)
    kill(one)
    os.write(tell_go, bytes(len(programs)))
    names_go_on(t, mounts[:2], "during", before)
    time_of_wait = time.monotonic()
    waiting = [program for program in programs if program.job.running()]
    t.say("%d of %d programs wait", len(waiting), len(programs))
    t.check(len(waiting) == len(programs), "only %d programs wait for the OST", len(waiting))
    leave = programs[::2]
    for program in leave:
        program.job.signal(signal.SIGINT)
    for program in leave:
        t.check(lib.pid_wait(program.job.pid, 20), "program %d (%s) does not end with ^C", program.number, program.kind)
        os.waitpid(program.job.pid, 0)
    t.say("half of them ended with ^C %.1f s after it", time.monotonic() - time_of_wait)
    names_go_on(t, mounts[:2], "after ^C", before)
    revive(one)
    stay = [program for program in programs if program not in leave]
    began = time.monotonic()
    for program in stay:
        program.job.join(limit_s=60)
    t.say("the others completed %.1f s after the OST was back", time.monotonic() - began)
    for program in programs:
        if program.kind != "append":
            program.check(program in stay)
    appended_check(t, [program for program in programs if program.kind == "append"], stay)


@lib.test(limit_s=240)
def stopped_ost(t):
    """SIGSTOP of an OST under 490 programs that truncate, append, open with O_TRUNC and outgrow the MDT."""
    dead_ost(t, lambda one: one.kill("ost0000", number=signal.SIGSTOP),
             lambda one: one.kill("ost0000", number=signal.SIGCONT))


@lib.test(limit_s=240)
def killed_ost(t):
    """The same with an OST that was killed and starts again."""
    dead_ost(t, lambda one: one.kill("ost0000"), lambda one: one.up())


lib.main(__doc__)
