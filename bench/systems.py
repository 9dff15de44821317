"""The file systems ./dev bench compares: how each is started, mounted, remounted, described and asked for its CPU time.

A Server is what runs daemons; a Column is one way to use it: a mount with its options, or the library without one. Columns
of one Server share its daemons and have a directory each.

Invariants: everything runs in the bench's own mount, pid and network namespaces, as a child of them: what does not end by
itself ends with them. Daemons are stopped by their pids. Peers keep their distribution's defaults but for what their
`describe` prints.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import cost

sys.path.insert(0, os.path.join(cost.ROOT, "tests", "integration"))
import lib  # noqa: E402  (the harness of the mount tests: namespaces and mounts)

SWITCH = "/sys/module/fuse/parameters/enable_uring"
# Peers refuse or mistrust 127.0.0.1: the bench's network namespace has this address besides.
ADDRESS = "10.77.0.1"
DATA_SERVERS = 4
START_LIMIT_S = 60


class Missing(Exception):
    """A peer that is not installed: one line for people."""


def cpu_seconds(pid):
    """CPU time of a process and all its threads, ended ones too: the kernel's clock of that process, in nanoseconds."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def listening(port):
    """Whether somebody in this network namespace listens on this TCP port."""
    pattern = re.compile(r"^\s*\d+: \S+:%04X \S+ 0A " % port, re.M)
    for name in ("tcp", "tcp6"):
        with open("/proc/net/" + name, encoding="ascii") as file:
            if pattern.search(file.read()):
                return True
    return False


def processes_of(name, word=""):
    """Pids in our namespace whose program has this name and whose command line has the word."""
    return sorted(pid for pid, line in lib.processes().items()
                  if os.path.basename(line.split(" ")[0]) == name and word in line)


def package_version(name):
    done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", name], capture_output=True, text=True, check=False)
    return done.stdout.strip()


def end(pids, limit_s=10):
    """Asks processes to end, then ends them."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
        pids = [pid for pid in pids if not lib.pid_wait(pid, limit_s)]


class Daemons:
    """Programs started in the foreground, with a log each."""

    def __init__(self, directory):
        self.dir = directory
        self.running = []

    def start(self, name, *words):
        with open(os.path.join(self.dir, name + ".log"), "ab") as log:
            self.running.append(subprocess.Popen(list(map(str, words)), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                 cwd=self.dir))
        return self.running[-1].pid

    def stop(self):
        for process in self.running:
            process.terminate()
        for process in self.running:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.running = []


class Column:
    """One column of the table. `path` is where its workloads run; columns may share a file system, but never this."""

    native = None  # (source, key) of a column without a mount

    def __init__(self, name, server, directory):
        self.name = name
        self.server = server
        self.dir = directory
        self.client = []
        self.remounts = False

    @property
    def path(self):
        return os.path.join(self.dir, "work-" + self.name)

    def begin(self):
        os.makedirs(self.path, exist_ok=True)

    def remount(self):
        """Whatever the client kept is gone."""

    def umount(self):
        """The column's own processes end."""

    def pids(self):
        return self.server.pids() + self.client

    def describe(self):
        return []


class MountColumn(Column):
    """A mount that is made by a command and served by a process."""

    def __init__(self, name, server, directory, options):
        super().__init__(name, server, directory)
        self.options = options
        self.remounts = True

    def mount(self):
        raise NotImplementedError

    def remount(self):
        self.umount()
        os.makedirs(self.dir, exist_ok=True)
        self.client = self.mount()
        if not os.path.ismount(self.dir):
            raise cost.Failure("%s: %s is not mounted" % (self.name, self.dir))

    def begin(self):
        self.remount()
        super().begin()

    def umount(self):
        if not self.client:
            return
        done = subprocess.run(["umount", self.dir], capture_output=True, text=True, check=False, timeout=60)
        if done.returncode != 0:
            lib.umount(self.dir)
        end_limit = time.monotonic() + 10
        while time.monotonic() < end_limit and any(not lib.pid_wait(pid, 0) for pid in self.client):
            time.sleep(0.01)
        end([pid for pid in self.client if not lib.pid_wait(pid, 0)])
        self.client = []

    def served_by(self, program):
        """The process that serves this mount point."""
        def found():
            return [pid for pid, line in lib.processes().items()
                    if os.path.basename(line.split(" ")[0]) == program and self.dir in re.split(r"[ ()]+", line)]

        return lib.wait_for(found, 20, "%s of %s" % (program, self.dir))


# ---- local ----


class Local:
    """No daemons: the disk's file system, and tmpfs."""

    def __init__(self, scratch):
        self.scratch = scratch

    def start(self):
        os.makedirs(os.path.join(self.scratch, "disk"))
        os.makedirs(os.path.join(self.scratch, "tmpfs"))
        lib.mount("tmpfs", os.path.join(self.scratch, "tmpfs"), "tmpfs")

    def stop(self):
        lib.umount(os.path.join(self.scratch, "tmpfs"))

    def pids(self):
        return []

    def describe(self):
        kind = cost.command("findmnt", "-n", "-o", "FSTYPE", "-T", self.scratch)
        return ["disk: a directory on the machine's %s; caches dropped, not remounted" % kind.strip(),
                "tmpfs: defaults; never cold"]

    def columns(self):
        return [Column("disk", self, os.path.join(self.scratch, "disk")),
                Column("tmpfs", self, os.path.join(self.scratch, "tmpfs"))]


# ---- ours ----


class NacreColumn(MountColumn):
    def __init__(self, name, server, directory, uring):
        super().__init__(name, server, directory, "" if uring else ",no_uring")
        self.uring = uring

    def mount(self):
        words = [self.server.program("mount.nacre"), self.server.source, self.dir, "-o",
                 "key=%s,log=%s.log%s" % (self.server.key, self.dir, self.options)]
        if self.uring:
            with Switch():
                cost.command(*words)
        else:
            cost.command(*words)
        return self.served_by("nacre-fuse")

    def begin(self):
        super().begin()
        # As a user would have it for big files: over all data servers. Small files do not reach them.
        cost.command(self.server.program("lfs"), "setstripe", "-c", "-1", "-S", "1M", self.path)


class NativeColumn(Column):
    """libnacre in the driver itself; its directory is made through another column's mount."""

    def __init__(self, name, server, maker):
        super().__init__(name, server, "")
        self.maker = maker
        self.native = (server.source, server.key)

    @property
    def path(self):
        return "/" + self.name

    def begin(self):
        if not self.maker.client:
            self.maker.begin()
        path = os.path.join(self.maker.dir, self.name)
        os.makedirs(path, exist_ok=True)
        cost.command(self.server.program("lfs"), "setstripe", "-c", "-1", "-S", "1M", path)


class Switch:
    """FUSE over io_uring is offered to mounts that begin while this is open; then the machine's setting is as it was."""

    def __enter__(self):
        self.was = switch_read()
        switch_write("Y")

    def __exit__(self, *_):
        switch_write(self.was)


def switch_read():
    try:
        with open(SWITCH, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


def switch_write(value):
    if value is not None:
        with open(SWITCH, "w", encoding="ascii") as file:
            file.write(value)


class Nacre:
    def __init__(self, scratch, binaries):
        self.scratch = scratch
        self.binaries = binaries
        self.dir = os.path.join(scratch, "nacre")
        self.source = ""
        self.key = ""
        self.daemons = []

    def program(self, name):
        return os.path.join(self.binaries, name)

    def start(self):
        facts = json.loads(cost.command(self.program("nacre"), "up", self.dir, "--osts", DATA_SERVERS, "--no-mount",
                                        "--json"))
        self.source = facts["source"]
        self.key = os.path.join(self.dir, "keys", "client.key")
        self.daemons = [daemon["pid"] for daemon in facts["daemons"]]

    def stop(self):
        cost.command(self.program("nacre"), "down", self.dir, "--force", check=False)

    def pids(self):
        return self.daemons

    def describe(self):
        lines = ["1 MDT, %d OSTs, log and objects on the disk; files striped over all OSTs by 1 MiB" % DATA_SERVERS,
                 "nacre: /dev/fuse (no_uring); nacre-lib: libnacre in the driver, no mount; CPU with the driver's own"]
        if switch_read() is not None:
            lines.append("nacre-uring: FUSE over io_uring (switch of the module on while the mount begins)")
        return lines

    def columns(self):
        first = NacreColumn("nacre", self, os.path.join(self.scratch, "mnt-nacre"), False)
        found = [first]
        if switch_read() is not None:
            found.append(NacreColumn("nacre-uring", self, os.path.join(self.scratch, "mnt-nacre-uring"), True))
        return found + [NativeColumn("nacre-lib", self, first)]


# ---- MooseFS ----


MOOSE_OFF = ("mfscachemode=DIRECT,mfsattrcacheto=0,mfsxattrcacheto=0,mfsentrycacheto=0,mfsdirentrycacheto=0,"
             "mfsnegentrycacheto=0,mfssymlinkcacheto=0")


class MooseColumn(MountColumn):
    def mount(self):
        words = ["mfsmount", self.dir, "-H", ADDRESS, "-o", "mfsallowoomkiller" + self.options]
        cost.command(*words)
        return self.served_by("mfsmount")

    def begin(self):
        self.remount()
        # Chunk servers tell their space some seconds after they have started.
        lib.wait_for(lambda: os.statvfs(self.dir).f_blocks, START_LIMIT_S, "space of MooseFS")
        cost.command("mfssetgoal", "1", self.dir)
        os.makedirs(self.path)


class Moose:
    PACKAGES = ("moosefs-master", "moosefs-chunkserver", "moosefs-client")

    def __init__(self, scratch):
        self.scratch = scratch
        self.dir = os.path.join(scratch, "moosefs")
        self.daemons = Daemons(self.dir)

    def config(self, name, **values):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="utf-8") as file:
            for key, value in values.items():
                file.write("%s = %s\n" % (key, value))
        return path

    def start(self):
        for program, package in zip(("mfsmaster", "mfschunkserver", "mfsmount"), self.PACKAGES):
            if not shutil.which(program):
                raise Missing("moosefs: %s is not installed (./dev deps peers)" % package)
        master = os.path.join(self.dir, "master")
        os.makedirs(master)
        with open(os.path.join(master, "metadata.mfs"), "wb") as file:
            file.write(b"MFSM NEW")
        with open(os.path.join(self.dir, "exports"), "w", encoding="utf-8") as file:
            file.write("%s / rw,alldirs,admin,maproot=0:0\n%s . rw\n" % (ADDRESS, ADDRESS))
        path = self.config("master.cfg", WORKING_USER="root", WORKING_GROUP="root", DATA_PATH=master,
                           EXPORTS_FILENAME=os.path.join(self.dir, "exports"), DISABLE_OOM_KILLER=0,
                           MATOML_LISTEN_HOST=ADDRESS, MATOCS_LISTEN_HOST=ADDRESS, MATOCL_LISTEN_HOST=ADDRESS)
        self.daemons.start("master", "mfsmaster", "-f", "-c", path, "start")
        lib.wait_for(lambda: listening(9421), START_LIMIT_S, "mfsmaster")
        for number in range(DATA_SERVERS):
            self.chunkserver_start(number)
        for number in range(DATA_SERVERS):
            lib.wait_for(lambda port=9431 + number: listening(port), START_LIMIT_S, "mfschunkserver")

    def chunkserver_start(self, number):
        name = "chunk%d" % number
        for part in ("data", "state"):
            os.makedirs(os.path.join(self.dir, name, part))
        with open(os.path.join(self.dir, name + ".hdd"), "w", encoding="utf-8") as file:
            file.write(os.path.join(self.dir, name, "data") + "\n")
        path = self.config(name + ".cfg", WORKING_USER="root", WORKING_GROUP="root",
                           DATA_PATH=os.path.join(self.dir, name, "state"), DISABLE_OOM_KILLER=0,
                           HDD_CONF_FILENAME=os.path.join(self.dir, name + ".hdd"), BIND_HOST=ADDRESS,
                           MASTER_HOST=ADDRESS, CSSERV_LISTEN_HOST=ADDRESS, CSSERV_LISTEN_PORT=9431 + number)
        self.daemons.start(name, "mfschunkserver", "-f", "-c", path, "start")

    def stop(self):
        self.daemons.stop()

    def pids(self):
        return processes_of("mfsmaster") + processes_of("mfschunkserver")

    def describe(self):
        return ["MooseFS %s: 1 master, %d chunk servers, data on the disk; goal 1 (the default is 2)"
                % (package_version("moosefs-master"), DATA_SERVERS),
                "set: addresses, paths, WORKING_USER=root, DISABLE_OOM_KILLER=0; all else as packaged, nice -19 too",
                "moosefs: mfsmount -o mfsallowoomkiller", "moosefs-nocache: and -o " + MOOSE_OFF]

    def columns(self):
        return [MooseColumn("moosefs", self, os.path.join(self.scratch, "mnt-moosefs"), ""),
                MooseColumn("moosefs-nocache", self, os.path.join(self.scratch, "mnt-moosefs-nocache"), "," + MOOSE_OFF)]


# ---- GlusterFS ----


GLUSTER_OFF = ["--attribute-timeout=0", "--entry-timeout=0", "--direct-io-mode=enable"]
GLUSTER_VOLUME_OFF = {"performance." + name: "off" for name in
                      ("quick-read", "io-cache", "read-ahead", "stat-prefetch", "readdir-ahead", "open-behind",
                       "write-behind")}
GLUSTER_DIRECTORIES = ("/var/lib/glusterd", "/var/log/glusterfs", "/run/gluster")


class GlusterColumn(MountColumn):
    def __init__(self, name, server, directory, volume, options):
        super().__init__(name, server, directory, options)
        self.volume = volume

    def mount(self):
        cost.command("glusterfs", "--volfile-server=" + ADDRESS, "--volfile-id=/" + self.volume, "--process-name", "fuse",
                     *self.options, self.dir)
        lib.wait_for(lambda: os.path.ismount(self.dir), START_LIMIT_S, "the mount of %s" % self.volume)
        return self.served_by("glusterfs")

    def pids(self):
        return self.server.pids(self.volume) + self.client


class Gluster:
    PACKAGES = ("glusterfs-server", "glusterfs-client")

    def __init__(self, scratch):
        self.scratch = scratch
        self.dir = os.path.join(scratch, "glusterfs")
        self.daemons = Daemons(self.dir)

    def start(self):
        for program, package in zip(("glusterd", "glusterfs"), self.PACKAGES):
            if not shutil.which(program):
                raise Missing("glusterfs: %s is not installed (./dev deps peers)" % package)
        os.makedirs(self.dir)
        for path in GLUSTER_DIRECTORIES:
            os.makedirs(path, exist_ok=True)
            lib.mount("tmpfs", path, "tmpfs")
        self.daemons.start("glusterd", "glusterd", "-N")
        lib.wait_for(lambda: listening(24007), START_LIMIT_S, "glusterd")
        self.volume("plain", {})
        self.volume("nocache", GLUSTER_VOLUME_OFF)

    def volume(self, name, options):
        bricks = []
        for number in range(DATA_SERVERS):
            bricks.append(os.path.join(self.dir, name, "brick%d" % number))
            os.makedirs(bricks[-1])
        self.gluster("volume", "create", name, *[ADDRESS + ":" + brick for brick in bricks], "force")
        for key, value in options.items():
            self.gluster("volume", "set", name, key, value)
        self.gluster("volume", "start", name)
        lib.wait_for(lambda: len(self.bricks(name)) == DATA_SERVERS, START_LIMIT_S, "the bricks of " + name)

    def gluster(self, *words):
        """The command line sends a request again when glusterd, just started, breaks the first connection: done is done."""
        try:
            cost.command("gluster", "--mode=script", *words, limit=120)
        except cost.Failure as failure:
            if "already" not in str(failure):
                raise

    def bricks(self, volume):
        return processes_of("glusterfsd", os.path.join(self.dir, volume) + "/")

    def stop(self):
        end(processes_of("glusterfsd"))
        self.daemons.stop()
        for path in GLUSTER_DIRECTORIES:
            if os.path.ismount(path):
                lib.umount(path)

    def pids(self, volume="plain"):
        return [process.pid for process in self.daemons.running] + self.bricks(volume)

    def describe(self):
        return ["GlusterFS %s: distribute over %d bricks on the disk, volume options as packaged"
                % (package_version("glusterfs-server"), DATA_SERVERS),
                "glusterfs: default mount", "glusterfs-nocache: a volume of its own with %s; mounted with %s"
                % (" ".join("%s=off" % key for key in GLUSTER_VOLUME_OFF), " ".join(GLUSTER_OFF))]

    def columns(self):
        return [GlusterColumn("glusterfs", self, os.path.join(self.scratch, "mnt-glusterfs"), "plain", []),
                GlusterColumn("glusterfs-nocache", self, os.path.join(self.scratch, "mnt-glusterfs-nocache"), "nocache",
                              GLUSTER_OFF)]


PEERS = {"local": Local, "moosefs": Moose, "glusterfs": Gluster}


# ---- the world they run in ----


def network_enter():
    """A network namespace of our own, with loopback and the peers' address."""
    lib.libc_check(lib.LIBC.unshare(0x40000000), "unshare")
    cost.command("ip", "link", "set", "lo", "up")
    cost.command("ip", "addr", "add", ADDRESS + "/32", "dev", "lo")


def priority_set(pids, nice):
    """The same priority for all of them. Where the kernel schedules sessions as groups, a daemon's nice counts only inside its
    own session: there the group gets the value too."""
    for pid in pids:
        try:
            for thread in os.listdir("/proc/%d/task" % pid):
                os.setpriority(os.PRIO_PROCESS, int(thread), nice)
            with open("/proc/%d/autogroup" % pid, "w", encoding="ascii") as file:
                file.write(str(nice))
        except OSError:
            continue  # it has ended, or the kernel has no such groups


def caches_drop():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w", encoding="ascii") as file:
        file.write("3")

