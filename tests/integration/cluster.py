"""Clusters and mounts of the integration tests: what `nacre up` makes, started, killed and mounted for a test.

A Cluster lives in its own directory below the test's; its mounts are made by mount.nacre with a log file each. Both
undo themselves at the end of a test that passed, strictly: an unmount or a `nacre down` that fails fails the test.
"""

import json
import os
import re
import signal
import subprocess

import lib


def as_user(uid):
    """Options of Test.run(): as this user, unless the test itself is one."""
    return {"preexec_fn": lib.drop_to(uid)} if uid and os.getuid() == 0 else {}


class Mount:
    def __init__(self, cluster, name, point, log, uid):
        self.cluster = cluster
        self.name = name
        self.point = point
        self.log = log
        self.uid = uid
        self.mounted = True

    def __truediv__(self, path):
        return os.path.join(self.point, path)

    @property
    def pid(self):
        """Of the nacre-fuse that serves it."""
        for pid, line in lib.processes().items():
            words = line.split()
            if words and os.path.basename(words[0]) == "nacre-fuse" and self.point in words:
                return pid
        raise lib.Failure("no nacre-fuse serves %s" % self.point)

    def umount(self, *options):
        pid = self.pid
        if self.uid or os.getuid() != 0:
            self.cluster.t.run("fusermount3", "-u", *options, self.point, **as_user(self.uid))
        else:
            self.cluster.t.run("umount", *options, self.point)
        self.mounted = False
        if not lib.pid_wait(pid, 20):
            raise lib.Failure("nacre-fuse of %s did not end after the unmount" % self.point)

    def kill(self, number=signal.SIGKILL):
        """Kills nacre-fuse and detaches what is left of the mount."""
        pid = self.pid
        os.kill(pid, number)
        if not lib.pid_wait(pid, 20):
            raise lib.Failure("nacre-fuse %d did not end" % pid)
        self.detach()

    def detach(self):
        """Takes away what a dead nacre-fuse has left."""
        if self.point in lib.mount_points(os.path.dirname(self.point)):
            if os.getuid() == 0:
                lib.umount(self.point)
            else:
                self.cluster.t.run("fusermount3", "-u", "-z", self.point)
        self.mounted = False

    def remount(self):
        return self.cluster.mount(self.name)


class Cluster:
    def __init__(self, t, name="c", osts=4, uid=0, options=()):
        self.t = t
        self.dir = t.path(name)
        self.osts = osts
        self.uid = uid
        self.options = list(options)
        self.mounts = {}
        self.facts = {}
        self.stopped = False
        self.environment = {}
        t.cleanup(self.stop)

    def as_user(self):
        extra = {"env": dict(os.environ, **self.environment)}
        if self.uid:
            extra["preexec_fn"] = lib.drop_to(self.uid)
            extra["env"]["HOME"] = self.t.dir
        return extra

    def up(self, *more, mount=False, check=True):
        """nacre up; without its own mount unless asked for."""
        words = ["nacre", "up", self.dir, "--osts", self.osts, "--json"] + self.options + list(more)
        if not mount:
            words.append("--no-mount")
        result = self.t.run(*words, check=check, **self.as_user())
        if result.returncode == 0:
            self.facts = json.loads(result.stdout)
            self.stopped = False
        return result

    def down(self, *more, **options):
        return self.t.run("nacre", "down", self.dir, *more, **self.as_user(), **options)

    def stop(self):
        for mount in self.mounts.values():
            if mount.mounted:
                mount.umount()
        if self.facts and not self.stopped:
            self.down()
            self.stopped = True

    def pids(self):
        """name -> pid of the daemons that run, by their pid files."""
        found = {}
        for daemon in self.facts["daemons"]:
            try:
                with open(os.path.join(self.dir, "run", daemon["name"] + ".pid"), encoding="utf-8") as file:
                    pid = int(file.read())
            except (OSError, ValueError):
                continue
            if "nacred" in lib.processes().get(pid, ""):
                found[daemon["name"]] = pid
        return found

    def kill(self, *names, number=signal.SIGKILL):
        """Kills these daemons, or all of them, and waits until they are gone."""
        pids = self.pids()
        chosen = [pids[name] for name in names] if names else list(pids.values())
        for pid in chosen:
            os.kill(pid, number)
        for pid in chosen:
            if number not in (signal.SIGSTOP, signal.SIGCONT) and not lib.pid_wait(pid, 20):
                raise lib.Failure("nacred %d did not end after signal %d" % (pid, number))

    def file(self, *parts):
        return os.path.join(self.dir, *parts)

    def key(self, name="client.key"):
        return self.file("keys", name)

    @property
    def source(self):
        return self.facts["source"]

    def mount_words(self, name, options=(), key=None, subdir="", source=None):
        point, log = self.t.path(name), self.t.path(name + ".log")
        words = ",".join(["key=%s" % (key or self.key()), "log=%s" % log] + list(options))
        return ["mount.nacre", (source or self.source) + subdir, point, "-o", words]

    def mount(self, name="m0", options=(), key=None, subdir="", uid=0):
        point, log = self.t.path(name), self.t.path(name + ".log")
        if not os.path.isdir(point):
            os.mkdir(point)
        extra = {}
        if uid:
            os.chown(point, uid, uid)
            with open(log, "a", encoding="utf-8"):
                os.chown(log, uid, uid)
            extra["preexec_fn"] = lib.drop_to(uid)
        self.t.run(*self.mount_words(name, options, key, subdir), **extra)
        self.mounts[name] = Mount(self, name, point, log, uid)
        return self.mounts[name]

    def mount_refused(self, holds="", options=(), key=None, subdir="", source=None, uid=0):
        """A mount that cannot work says why in one line and leaves nothing."""
        point = self.t.path("refused")
        os.makedirs(point, exist_ok=True)
        extra = {"preexec_fn": lib.drop_to(uid)} if uid else {}
        words = self.mount_words("refused", options, key, subdir, source)
        line = self.t.refused(*words, holds=holds, **extra)
        self.t.check(point not in lib.mount_points(self.t.dir), "a refused mount is mounted")
        return line

    def key_new(self, name, *options):
        """Makes a client key; its path."""
        path = self.key(name)
        with open(self.file("cluster.yaml"), encoding="utf-8") as file:
            uuid = re.search(r"uuid: *\"?([0-9a-f-]+)", file.read()).group(1)
        if os.path.exists(path):
            os.unlink(path)
        self.t.run("nacre", "key", "new", "--server-key", self.key("server.key"), "--cluster", uuid,
                   "--fsname", self.facts["fsname"], "--out", path, *options)
        return path

    def status(self):
        result = subprocess.run(["nacre", "status", self.dir, "--json"], capture_output=True, text=True, check=False,
                                timeout=60)
        return result.returncode, json.loads(result.stdout) if result.stdout.strip() else None

    def log_text(self, name):
        with open(self.file("log", name + ".log"), encoding="utf-8", errors="replace") as file:
            return file.read()


def started(t, osts=4, mounts=1, **options):
    """A cluster that runs, with mounts m0, m1...; returns (cluster, mount, ...)."""
    cluster = Cluster(t, osts=osts, **options)
    cluster.up()
    return (cluster,) + tuple(cluster.mount("m%d" % number) for number in range(mounts))
