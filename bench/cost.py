#!/usr/bin/python3
"""What one operation costs, hop by hop, counted from outside.

Makes a file system of one MDT and four OSTs in a scratch directory, mounts it, and runs each operation many times: once
undisturbed (time, CPU and context switches, from /proc), once with a few repetitions under observation (system calls from
tracefs, or strace where there is none; FUSE requests and RPCs by kind from what strace sees on /dev/fuse and on the
sockets). The same operations run on a local directory and on tmpfs in the same run, so that figures can be compared.

    bench/cost.py [--bin DIR] [--scratch DIR] [--ops a,b] [--count N] [--one-cpu] [--json FILE] [--check]

--check   few repetitions, no timing: fails unless our own counters (nacre-fuse's, the client's, the servers') agree
          with what was counted from outside. Needs strace only.
--one-cpu daemons and the program that measures share one CPU, which spares the wake-ups between CPUs.
"""

import argparse
import collections
import glob
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TRACEFS = "/sys/kernel/tracing"
MIB = 1 << 20
SMALL = 3901
FILE_MIB = 64
DIR_ENTRIES = 1000
FUSE_OPS = {1: "LOOKUP", 2: "FORGET", 3: "GETATTR", 4: "SETATTR", 9: "MKDIR", 10: "UNLINK", 11: "RMDIR", 12: "RENAME",
            14: "OPEN", 15: "READ", 16: "WRITE", 17: "STATFS", 18: "RELEASE", 20: "FSYNC", 22: "GETXATTR", 25: "FLUSH",
            26: "INIT", 27: "OPENDIR", 28: "READDIR", 29: "RELEASEDIR", 34: "ACCESS", 35: "CREATE", 36: "INTERRUPT",
            42: "BATCH_FORGET", 44: "READDIRPLUS", 45: "RENAME2", 52: "STATX"}
FUSE_UNCOUNTED = {"FORGET", "BATCH_FORGET", "INTERRUPT", "INIT"}


class Failure(Exception):
    """One line for people."""


def command(*words, limit=60, check=True):
    done = subprocess.run(list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=limit,
                          check=False, encoding="utf-8", errors="replace")
    if check and done.returncode != 0:
        raise Failure("%s: %s" % (" ".join(map(str, words)), done.stdout.strip()[-500:]))
    return done.stdout


def wire_ops():
    """Operation numbers to names, from the schema."""
    names = {}
    with open(os.path.join(ROOT, "proto", "wire.schema"), encoding="utf-8") as file:
        for match in re.finditer(r"^(?:message|push) (\w+) op (0x[0-9a-f]+)", file.read(), re.M):
            names[int(match.group(2), 16)] = match.group(1)
    if not names:
        raise Failure("no operations found in proto/wire.schema")
    return names


def syscall_names():
    names = {}
    for path in glob.glob("/usr/include/*/asm/unistd_64.h") + glob.glob("/usr/include/asm-generic/unistd.h"):
        with open(path, encoding="utf-8") as file:
            for match in re.finditer(r"#define __NR(?:3264)?_(\w+)\s+(\d+)$", file.read(), re.M):
                names.setdefault(int(match.group(2)), match.group(1))
        if names:
            break
    return names


# ---- the file system ----


class System:
    """nacre up in a directory, a mount with a log file, and the processes by name: client, mds, ost0000..."""

    def __init__(self, binaries, directory, osts=4):
        self.binaries = binaries
        self.dir = directory
        self.mnt = os.path.join(directory, "mnt")
        self.log = os.path.join(directory, "fuse.log")
        self.pids = {}
        self.up(osts)

    def program(self, name):
        return os.path.join(self.binaries, name)

    def up(self, osts):
        facts = json.loads(command(self.program("nacre"), "up", self.dir, "--osts", osts, "--no-mount", "--json"))
        for daemon in facts["daemons"]:
            self.pids[daemon["name"]] = daemon["pid"]
        os.makedirs(self.mnt, exist_ok=True)
        command(self.program("mount.nacre"), facts["source"], self.mnt, "-o",
                "key=%s/keys/client.key,log=%s" % (self.dir, self.log))
        clients = self.clients()
        if clients:
            self.pids = {"client": clients[0], **self.pids}
        if "client" not in self.pids:
            raise Failure("no nacre-fuse serves %s" % self.mnt)

    def clients(self):
        """Processes that serve our mount point."""
        found = []
        for path in glob.glob("/proc/[0-9]*/cmdline"):
            try:
                with open(path, "rb") as file:
                    words = file.read().split(b"\0")
            except OSError:
                continue
            if os.path.basename(words[0]) == b"nacre-fuse" and self.mnt.encode() in words:
                found.append(int(path.split("/")[2]))
        return found

    def down(self):
        """Everything ends, nacre-fuse too, so that the next system does not find the last one's."""
        command("umount", "-l", self.mnt, check=False)
        command(self.program("nacre"), "down", self.dir, "--force", check=False)
        for _ in range(200):
            if not self.clients():
                break
            time.sleep(0.1)

    def fuse_requests(self):
        """nacre-fuse's own count, which it writes to its log at SIGUSR1."""
        pattern = re.compile(r"requests=(\d+)")
        with open(self.log, encoding="utf-8") as file:
            before = len(pattern.findall(file.read()))
        os.kill(self.pids["client"], signal.SIGUSR1)
        for _ in range(500):
            with open(self.log, encoding="utf-8") as file:
                found = pattern.findall(file.read())
            if len(found) > before:
                return int(found[-1])
            time.sleep(0.01)
        raise Failure("nacre-fuse did not write its counters")

    def client_rpcs(self):
        return json.loads(os.getxattr(self.mnt, "nacre.client"))["rpcs"]

    def server_ops(self):
        """What the servers counted: by operation for the MDT, as reads, writes and commits for the OSTs."""
        counts = collections.Counter()
        for target in json.loads(command(self.program("nacre"), "status", "--json", self.dir))["targets"]:
            for name, value in target["counters"].items():
                if name.startswith("mds_"):
                    counts[name] += value
                elif target["name"].startswith("OST") and name in ("reads", "writes", "commits"):
                    counts["ost_" + name[:-1]] += value
        return counts

    def pin(self, cpus):
        for pid in self.pids.values():
            for tid in os.listdir("/proc/%d/task" % pid):
                try:
                    os.sched_setaffinity(int(tid), cpus)
                except ProcessLookupError:
                    continue  # a helper thread that ended
        os.sched_setaffinity(0, cpus)


# ---- counting ----


def usage(pid):
    """{thread: (CPU ns, voluntary context switches)}."""
    threads = {}
    for path in glob.glob("/proc/%d/task/*" % pid):
        try:
            with open(path + "/schedstat", encoding="ascii") as file:
                cpu = int(file.read().split()[0])
            with open(path + "/status", encoding="ascii") as file:
                switches = int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", file.read(), re.M).group(1))
        except OSError:
            continue  # the kernel's workers come and go
        threads[path] = (cpu, switches)
    return threads


def used(before, after):
    """(CPU ns, voluntary context switches) between two answers of usage."""
    pairs = [(now, before.get(thread, (0, 0))) for thread, now in after.items()]
    return sum(now[0] - was[0] for now, was in pairs), sum(now[1] - was[1] for now, was in pairs)


class SyscallTrace:
    """System calls by process, from an instance of tracefs of our own: disturbs little."""

    def __init__(self, pids):
        self.pids = pids
        self.path = os.path.join(TRACEFS, "instances", "nacre-cost-%d" % os.getpid())

    @staticmethod
    def possible():
        return os.path.isdir(os.path.join(TRACEFS, "events", "raw_syscalls"))

    def put(self, name, text):
        with open(os.path.join(self.path, name), "w", encoding="ascii") as file:
            file.write(text)

    def __enter__(self):
        os.mkdir(self.path)
        self.threads = {}
        for name, pid in self.pids.items():
            for tid in os.listdir("/proc/%d/task" % pid):
                self.threads[int(tid)] = name
        self.put("buffer_size_kb", "16384")
        self.put("set_event_pid", " ".join(map(str, self.threads)))
        self.put("events/raw_syscalls/sys_enter/enable", "1")
        return self

    def counts(self):
        """{process: {system call: count}} since the beginning or the last call."""
        self.put("tracing_on", "0")
        names = syscall_names()
        result = collections.defaultdict(collections.Counter)
        with open(os.path.join(self.path, "trace"), encoding="utf-8", errors="replace") as file:
            for line in file:
                match = re.match(r".*-(\d+)\s+\[.*sys_enter: NR (\d+)", line)
                if match and int(match.group(1)) in self.threads:
                    number = int(match.group(2))
                    result[self.threads[int(match.group(1))]][names.get(number, str(number))] += 1
        self.put("trace", "")
        self.put("tracing_on", "1")
        return result

    def __exit__(self, *_):
        self.put("tracing_on", "0")
        self.put("events/enable", "0")
        os.rmdir(self.path)


class Strace:
    """What a process does, as strace tells: its system calls, FUSE requests it read, messages it sent."""

    def __init__(self, pid, path):
        self.path = path
        self.process = subprocess.Popen(["strace", "-f", "-xx", "-s", "16", "-o", path, "-p", str(pid)],
                                        stderr=subprocess.PIPE, encoding="utf-8")
        for line in self.process.stderr:
            if "attached" in line:
                return
        raise Failure("strace could not attach")

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.process.wait()
        self.process.stderr.close()
        with open(self.path, encoding="utf-8") as file:
            return file.read()


def parse_strace(text, wire):
    """(system calls, FUSE requests, messages) of a trace, as counters by name."""
    calls, fuse, messages = collections.Counter(), collections.Counter(), collections.Counter()
    for line in text.split("\n"):
        match = re.match(r"\d+\s+(\w+)\(", line)
        if not match:
            continue
        calls[match.group(1)] += 1
        if match.group(1) == "readv":
            data = re.search(r'iov_base="((?:\\x..)+)".*= (\d+)', line)
            if data and int(data.group(2)) >= 40:
                raw = bytes.fromhex(data.group(1).replace("\\x", ""))
                number = int.from_bytes(raw[4:8], "little")
                fuse[FUSE_OPS.get(number, "op%d" % number)] += 1
        elif match.group(1) == "sendmsg":
            for header in re.findall(r'iov_base="((?:\\x..)+)"(?:\.\.\.)?, iov_len=128', line):
                raw = bytes.fromhex(header.replace("\\x", ""))
                if raw[:4] == b"NACR" and not raw[8] & 1:
                    number = int.from_bytes(raw[6:8], "little")
                    messages[wire.get(number, "op%x" % number)] += 1
    return calls, fuse, messages


# ---- operations ----


class Place:
    """A directory to work in, with the files the operations need."""

    def __init__(self, root, lfs=None):
        self.root = root
        self.rng = random.Random(1)
        self.serial = 0
        self.striped = os.path.join(root, "striped")
        self.listing = os.path.join(root, "listing")
        self.block = memoryview(bytearray(self.rng.randbytes(4096)) * 256)
        self.aligned = aligned_buffer(MIB)
        os.makedirs(self.listing)
        for i in range(DIR_ENTRIES):
            os.close(os.open(os.path.join(self.listing, "entry%d" % i), os.O_CREAT | os.O_WRONLY, 0o644))
        if lfs is not None:
            command(lfs, "setstripe", "-c", "-1", "-S", "1M", self.striped)
        self.fd = os.open(self.striped, os.O_CREAT | os.O_RDWR, 0o644)
        for i in range(FILE_MIB):
            os.pwrite(self.fd, self.aligned, i * MIB)
        os.fsync(self.fd)
        self.log = os.open(os.path.join(root, "log"), os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)

    def name(self, kind):
        self.serial += 1
        return os.path.join(self.root, "%s%d" % (kind, self.serial))

    def made(self, kind, count, data=b""):
        paths = []
        for _ in range(count):
            paths.append(self.name(kind))
            with open(paths[-1], "wb", buffering=0) as file:
                if data:
                    file.write(data)
        return paths

    def close(self):
        os.close(self.fd)
        os.close(self.log)
        shutil.rmtree(self.root, ignore_errors=True)


def aligned_buffer(size):
    """Page-aligned, as a program that reads and writes much has it."""
    import mmap
    area = mmap.mmap(-1, size)
    area.write(random.Random(2).randbytes(size))
    return area


def op_mkdir(place, count):
    paths = [place.name("d") for _ in range(count)]
    return lambda i: os.mkdir(paths[i])


def op_create(place, count):
    paths = [place.name("c") for _ in range(count)]
    return lambda i: os.close(os.open(paths[i], os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644))


def op_stat(place, count):
    paths = place.made("s", count)
    return lambda i: os.stat(paths[i])


def op_unlink(place, count):
    paths = place.made("u", count)
    return lambda i: os.unlink(paths[i])


def op_rename(place, count):
    paths = place.made("r", count)
    return lambda i: os.rename(paths[i], paths[i] + "x")


def op_small_write(place, count):
    paths = [place.name("w") for _ in range(count)]
    data = bytes(SMALL)

    def run(i):
        fd = os.open(paths[i], os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        os.write(fd, data)
        os.close(fd)
    return run


def op_small_read(place, count):
    paths = place.made("q", count, bytes(SMALL))

    def run(i):
        fd = os.open(paths[i], os.O_RDONLY)
        if len(os.read(fd, 4096)) != SMALL:
            raise Failure("a small file is not as long as it was")
        os.close(fd)
    return run


def op_read_4k(place, count):
    offsets = [place.rng.randrange(FILE_MIB * 256) * 4096 for _ in range(count)]
    view = memoryview(place.aligned)[:4096]
    return lambda i: os.preadv(place.fd, [view], offsets[i])


def op_write_4k(place, count):
    offsets = [place.rng.randrange(FILE_MIB * 256) * 4096 for _ in range(count)]
    view = memoryview(place.aligned)[:4096]
    return lambda i: os.pwritev(place.fd, [view], offsets[i])


def op_read_1m(place, count):
    return lambda i: os.preadv(place.fd, [place.aligned], i % FILE_MIB * MIB)


def op_write_1m(place, count):
    return lambda i: os.pwritev(place.fd, [place.aligned], i % FILE_MIB * MIB)


def op_append_fsync(place, count):
    view = memoryview(place.aligned)[:4096]

    def run(i):
        os.write(place.log, view)
        os.fsync(place.log)
    return run


def op_readdir(place, count):
    def run(i):
        if len(os.listdir(place.listing)) != DIR_ENTRIES:
            raise Failure("the directory does not have the entries it was given")
    return run


# Name, what it does, repetitions of a full run, repetitions under observation.
OPS = [
    ("mkdir", op_mkdir, 2000, 100),
    ("create", op_create, 2000, 100),
    ("stat", op_stat, 2000, 100),
    ("unlink", op_unlink, 2000, 100),
    ("rename", op_rename, 2000, 100),
    ("small-write", op_small_write, 1000, 100),
    ("small-read", op_small_read, 1000, 100),
    ("read-4k", op_read_4k, 4000, 100),
    ("write-4k", op_write_4k, 4000, 100),
    ("read-1m", op_read_1m, 512, 32),
    ("write-1m", op_write_1m, 512, 32),
    ("append-fsync", op_append_fsync, 300, 30),
    ("readdir-1000", op_readdir, 50, 10),
]


# ---- measuring ----


def timed(run, count):
    """Microseconds: the tenth percentile (hardly disturbed by others), median, mean."""
    took = []
    clock = time.perf_counter_ns
    for i in range(count):
        begin = clock()
        run(i)
        took.append(clock() - begin)
    low = sorted(took)[len(took) // 10]
    return [round(ns / 1000, 2) for ns in (low, statistics.median(took), statistics.fmean(took))]


def measure(system, place, make, count):
    run = make(place, count)
    before = {name: usage(pid) for name, pid in system.pids.items()}
    low, median, mean = timed(run, count)
    after = {name: usage(pid) for name, pid in system.pids.items()}
    row = {"us_low": low, "us_median": median, "us_mean": mean, "cpu_us": {}, "sleeps": {}}
    for name in before:
        cpu, switches = used(before[name], after[name])
        row["cpu_us"][name] = round(cpu / count / 1000, 2)
        row["sleeps"][name] = round(switches / count, 2)
    return row


def observe_syscalls(system, place, make, count):
    run = make(place, count)
    with SyscallTrace(system.pids) as trace:
        trace.counts()
        for i in range(count):
            run(i)
        counts = trace.counts()
    return {name: {call: round(n / count, 2) for call, n in calls.most_common() if n / count >= 0.05}
            for name, calls in counts.items()}


def observe_messages(system, place, make, count, wire):
    """FUSE requests and RPCs per operation, and what our own counters said about the same time."""
    run = make(place, count)
    # Asking the servers looks at the mount as well: what one such question costs is known and taken off.
    before = system.server_ops()
    server0 = system.server_ops()
    rpcs0, fuse0 = system.client_rpcs(), system.fuse_requests()
    strace = Strace(system.pids["client"], os.path.join(system.dir, "strace.client"))
    try:
        for i in range(count):
            run(i)
        time.sleep(0.05)  # RELEASE is sent behind close(2)
    finally:
        text = strace.stop()
    fuse1, rpcs1, server1 = system.fuse_requests(), system.client_rpcs(), system.server_ops()
    calls, fuse, messages = parse_strace(text, wire)
    return {"calls": calls, "fuse": fuse, "messages": messages,
            "own": {"fuse": fuse1 - fuse0, "rpcs": rpcs1 - rpcs0,
                    "servers": server1 - server0 - (server0 - before)}}


def idle(system, seconds):
    """Wake-ups per second and CPU share of each process while nobody asks for anything."""
    time.sleep(1)
    before = {name: usage(pid) for name, pid in system.pids.items()}
    time.sleep(seconds)
    after = {name: usage(pid) for name, pid in system.pids.items()}
    result = {}
    for name in before:
        cpu, switches = used(before[name], after[name])
        result[name] = {"wakeups_per_s": round(switches / seconds, 2), "cpu_percent": round(cpu / seconds / 1e7, 4)}
    return result


# ---- agreement ----


def disagreements(name, seen):
    """Where our own counters differ from what was counted from outside."""
    wrong = []
    own = seen["own"]
    outside = sum(n for op, n in seen["fuse"].items() if op not in FUSE_UNCOUNTED)
    if own["fuse"] != outside:
        wrong.append("%s: nacre-fuse counted %d requests, strace saw %d %s" % (name, own["fuse"], outside,
                                                                              dict(seen["fuse"])))
    sent = {op: n for op, n in seen["messages"].items() if op.startswith(("mds_", "ost_"))}
    if own["rpcs"] != sum(sent.values()):
        wrong.append("%s: the client counted %d RPCs, strace saw %d %s" % (name, own["rpcs"], sum(sent.values()), sent))
    for op, count in sent.items():
        if own["servers"][op] != count and (op.startswith("mds_") or op in ("ost_read", "ost_write", "ost_commit")):
            wrong.append("%s: the servers counted %d %s, strace saw %d" % (name, own["servers"][op], op, count))
    return wrong


def check(args, system, place, chosen, wire):
    wrong, figures, few = [], {}, 10
    for name, make, _, _ in chosen:
        seen = observe_messages(system, place, make, few, wire)
        figures[name] = {"fuse": sum(n for op, n in seen["fuse"].items() if op not in FUSE_UNCOUNTED) / few,
                         "rpc": sum(n for op, n in seen["messages"].items() if op.startswith(("mds_", "ost_"))) / few}
        if not figures[name]["fuse"] or not figures[name]["rpc"]:
            wrong.append("%s: strace saw no requests: nothing was checked" % name)
        wrong += disagreements(name, seen)
        print("%-14s fuse %s rpc %s" % (name, dict(seen["fuse"]), dict(seen["messages"])), flush=True)
    for line in wrong:
        print("DISAGREES " + line)
    print("%d operations, %d disagreements" % (len(chosen), len(wrong)))
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(figures, file, indent=1)
    return 1 if wrong else 0


# ---- the report ----


def per_op(counter, count, skip=()):
    return " ".join("%s:%g" % (name, round(n / count, 2)) for name, n in counter.most_common()
                    if n / count >= 0.05 and name not in skip)


def sum_osts(by_process):
    return round(sum(value for name, value in by_process.items() if name.startswith("ost")), 2)


def print_row(name, row):
    cpu, sleeps = row["cpu_us"], row["sleeps"]
    local = " ".join("%s %.4g" % (fs, us) for fs, us in row.get("local_us", {}).items())
    print("%-13s %8.1f us (low %.1f, mean %.1f; local: %s)" % (name, row["us_median"], row["us_low"], row["us_mean"], local))
    print("              cpu us   client %.1f mds %.1f osts %.1f" % (cpu["client"], cpu["mds"], sum_osts(cpu)))
    print("              sleeps   client %.2f mds %.2f osts %.2f" % (sleeps["client"], sleeps["mds"], sum_osts(sleeps)))
    print("              fuse     %s" % row["fuse"])
    print("              rpc      %s" % row["rpc"])
    for process, calls in row.get("syscalls", {}).items():
        if sum(calls.values()) >= 0.5:
            print("              %-8s %.1f system calls: %s" % (process, sum(calls.values()),
                  " ".join("%s:%g" % pair for pair in calls.items())))
    sys.stdout.flush()


def locals_measure(locals_, make, count):
    result = {}
    for name, place in locals_.items():
        result[name] = timed(make(place, count), count)[1]
    return result


def report(system, place, locals_, args, chosen, wire):
    rows = {}
    for name, make, count, few in chosen:
        count = max(10, min(count, args.count or count))
        row = measure(system, place, make, count)
        row["local_us"] = locals_measure(locals_, make, count)
        seen = observe_messages(system, place, make, few, wire)
        row["fuse"] = per_op(seen["fuse"], few)
        row["rpc"] = per_op(seen["messages"], few, skip=("ping",))
        if SyscallTrace.possible():
            row["syscalls"] = observe_syscalls(system, place, make, few)
        if name.endswith("1m"):
            row["cpu_s_per_gib"] = {process: round(us * 1024 / 1e6, 3) for process, us in row["cpu_us"].items()}
        rows[name] = row
        print_row(name, row)
        for line in disagreements(name, seen):
            print("              DISAGREES %s" % line)
    return rows


def parse_args():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=os.path.join(ROOT, "build", "bin"), help="where nacre and nacred are")
    parser.add_argument("--scratch", default=os.path.join(ROOT, "build", "bench-cost"), help="removed afterwards")
    parser.add_argument("--ops", help="only these, separated by commas: " + " ".join(op[0] for op in OPS))
    parser.add_argument("--count", type=int, help="repetitions at most")
    parser.add_argument("--idle", type=int, default=10, help="seconds to watch the idle system (0: not)")
    parser.add_argument("--one-cpu", action="store_true")
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--check", action="store_true")
    return parser.parse_args()


def choose(text):
    if not text:
        return OPS
    names = text.split(",")
    unknown = set(names) - {op[0] for op in OPS}
    if unknown:
        raise Failure("no such operation: " + " ".join(sorted(unknown)))
    return [op for op in OPS if op[0] in names]


def run(args, system):
    wire = wire_ops()
    chosen = choose(args.ops)
    if args.one_cpu:
        system.pin({min(os.sched_getaffinity(0))})
    place = Place(os.path.join(system.mnt, "work"), system.program("lfs"))
    try:
        return (check if args.check else run_all)(args, system, place, chosen, wire)
    finally:
        place.close()


def run_all(args, system, place, chosen, wire):
    locals_ = {"disk": Place(os.path.join(args.scratch, "local")),
               "tmpfs": Place("/dev/shm/nacre-cost-%d" % os.getpid())}
    result = {"one_cpu": args.one_cpu, "load": os.getloadavg()[0]}
    try:
        if args.idle:
            result["idle"] = idle(system, args.idle)
            for name, row in result["idle"].items():
                print("idle %-8s %5.2f wake-ups/s %.4f %% CPU" % (name, row["wakeups_per_s"], row["cpu_percent"]))
        result["ops"] = report(system, place, locals_, args, chosen, wire)
    finally:
        for local in locals_.values():
            local.close()
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)
    return 0


def main():
    args = parse_args()
    args.bin, args.scratch = os.path.abspath(args.bin), os.path.abspath(args.scratch)
    if os.path.exists(args.scratch):
        print("cost: %s exists: remove it or name another --scratch" % args.scratch, file=sys.stderr)
        return 2
    system = None
    try:
        choose(args.ops)
        os.makedirs(args.scratch)
        system = System(args.bin, os.path.join(args.scratch, "fs"))
        return run(args, system)
    except (Failure, OSError, subprocess.TimeoutExpired) as error:
        print("cost: %s" % error, file=sys.stderr)
        return 1
    finally:
        if system is not None:
            system.down()
        shutil.rmtree(args.scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
