#!/usr/bin/python3
"""What each operation may cost: counted from outside, beside the budget of the design, and held by ceilings that only fall.

    ./dev bench --budget [--ops a,b] [--json FILE] [--gate | --lower]

Each operation is looked at three times on a file system of one MDT and four OSTs with a mount over /dev/fuse:

- under strace of all processes: FUSE requests, RPCs, system calls, bytes that went through system calls. Calls that found
  nothing (EAGAIN) and those that only wait or poll are left out: how many there are is the scheduler's doing;
- asleep: with a pause before each, so that every process has gone to sleep, its wake-ups (voluntary context switches); the
  median, as polling spares some of them some and the log's sync falls into others;
- copies in user space, by a library that is loaded into our processes and counts memcpy and memmove of 256 bytes and more.

Noise only adds: what exceeds its ceiling is looked at again, up to five times, and the least of each counts. --gate fails
if that is above bench/budget.json. --lower looks five times and writes lower counts there (of wake-ups the most that was seen,
since polling hides some); nothing raises one. A ceiling that rises against
git's HEAD or its parent fails the gate as well.
"""

import argparse
import collections
import json
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
import time

import cost

CEILINGS = os.path.join(cost.ROOT, "bench", "budget.json")
COPIES = os.path.join(cost.ROOT, "build", "rel", "bench", "libbench_copies.so")
KINDS = ("fuse", "rpc", "wakes_median", "syscalls", "syscall_bytes", "copied_bytes")
TRIES = 5
# What a ceiling leaves for the log's sync every 5 ms, which falls into some operations.
SLACK = {"syscalls": 1.05, "syscall_bytes": 1.02, "copied_bytes": 1.02}
PAUSE_S = 0.004
WAITING = {"epoll_wait", "epoll_pwait", "epoll_pwait2", "sched_yield", "restart_syscall", "clock_nanosleep", "futex"}
MOVING = {"read", "readv", "pread64", "preadv", "preadv2", "recvfrom", "recvmsg", "write", "writev", "pwrite64", "pwritev",
          "pwritev2", "sendto", "sendmsg"}
# Operation -> what DESIGN 14 allows once leases exist: RPC round trips, FUSE round trips, bytes copied by us.
DESIGN = {
    "restat": ("0", "0", "0"), "reread-4k": ("0", "0", "0"), "reopen-read": ("0", "2", "0"), "create": ("1", "2", "-"),
    "mkdir": ("1", "2", "-"), "unlink": ("1", "2", "-"), "rename": ("1", "2", "-"), "small-read": ("1", "3", "once"),
    "small-write": ("1", "FLUSH + RELEASE", "once"), "read-1m": ("1-4 MiB each", "1 MiB or more each", "one in the client"),
    "write-1m": ("1-4 MiB each", "1 MiB or more each", "one in the client"),
    "find-1000": ("N/1000", "READDIRPLUS pages", "-"),
}


def op_restat(place, count):
    path = place.made("e", 1)[0]
    os.stat(path)
    return lambda i: os.stat(path)


def op_reread(place, count):
    view = memoryview(place.aligned)[:4096]
    os.preadv(place.fd, [view], 0)
    return lambda i: os.preadv(place.fd, [view], 0)


def op_reopen(place, count):
    path = place.made("r", 1, bytes(cost.SMALL))[0]

    def run(i):
        fd = os.open(path, os.O_RDONLY)
        os.read(fd, 4096)
        os.close(fd)
    run(0)
    return run


def op_find(place, count):
    def run(i):
        with os.scandir(place.listing) as entries:
            if len([entry for entry in entries if entry.stat(follow_symlinks=False)]) != cost.DIR_ENTRIES:
                raise cost.Failure("the directory does not have the entries it was given")
    return run


# Name, what it does, repetitions.
OPS = [(name, make, min(few, 20)) for name, make, _, few in cost.OPS] + [
    ("restat", op_restat, 20), ("reread-4k", op_reread, 20), ("reopen-read", op_reopen, 20), ("find-1000", op_find, 1)]


# ---- counting ----


def calls_parse(text):
    """(system calls that did something, bytes they moved) of a trace."""
    calls, moved = collections.Counter(), 0
    for line in text.split("\n"):
        match = re.match(r"\d+\s+(?:<\.\.\. )?(\w+)(?:\(| resumed)", line)
        if not match or "<unfinished" in line or " EAGAIN " in line or match.group(1) in WAITING:
            continue
        calls[match.group(1)] += 1
        result = re.search(r"= (\d+)$", line.rstrip())
        if result and match.group(1) in MOVING:
            moved += int(result.group(1))
    return calls, moved


def traced(system, run, count, wire):
    """FUSE requests, RPCs, system calls and their bytes per operation."""
    traces = {name: cost.Strace(pid, os.path.join(system.dir, "strace." + name)) for name, pid in system.pids.items()}
    try:
        for i in range(count):
            run(i)
        time.sleep(0.05)  # RELEASE is sent behind close(2)
    finally:
        texts = {name: trace.stop() for name, trace in traces.items()}
    _, fuse, messages = cost.parse_strace(texts["client"], wire)
    found = {"fuse": sum(n for op, n in fuse.items() if op not in cost.FUSE_UNCOUNTED),
             "rpc": sum(n for op, n in messages.items() if op.startswith(("mds_", "ost_"))), "syscalls": 0,
             "syscall_bytes": 0}
    detail = {}
    for name, text in texts.items():
        calls, moved = calls_parse(text)
        found["syscalls"] += sum(calls.values())
        found["syscall_bytes"] += moved
        detail[name] = cost.per_op(calls, count)
    return {kind: value / count for kind, value in found.items()}, detail


def copied(directory):
    """Bytes copied so far, of all our processes."""
    total = 0
    for name in os.listdir(directory):
        with open(os.path.join(directory, name), "rb") as file:
            total += int.from_bytes(file.read(8), "little")
    return total


def asleep(system, run, count, copies):
    """Wake-ups and bytes copied per operation; each begins when everybody sleeps."""
    sleeps = []
    before_bytes = copied(copies)
    for i in range(count):
        time.sleep(PAUSE_S)
        before = {name: cost.usage(pid) for name, pid in system.pids.items()}
        run(i)
        sleeps.append(sum(cost.used(before[name], cost.usage(pid))[1] for name, pid in system.pids.items()))
    return {"wakes_median": statistics.median(sleeps), "copied_bytes": (copied(copies) - before_bytes) / count}


def look(system, place, op, wire, copies):
    _, make, count = op
    found, detail = traced(system, make(place, count), count, wire)
    found.update(asleep(system, make(place, count), count, copies))
    return found, detail


def rounded(found):
    """As they are kept: requests to a tenth, bytes to a hundred, always up."""
    return {kind: int(math.ceil(round(value / 100, 3)) * 100) if kind.endswith("bytes") else
            math.ceil(round(value * 10, 3)) / 10
            for kind, value in found.items()}


def above(found, ceilings):
    """Wake-ups follow from who else wants a CPU: a third more is noise; all else is counted exactly."""
    slack = {"wakes_median": 4 / 3}
    return [kind for kind in KINDS if kind not in ceilings or found[kind] > ceilings[kind] * slack.get(kind, 1)]


def measure(system, place, op, wire, copies, ceilings):
    """The least of several looks (the first is enough when it is below all ceilings), and the most wake-ups."""
    least, most, detail = None, 0, None
    for _ in range(TRIES):
        found, seen = look(system, place, op, wire, copies)
        detail = detail or seen
        found = rounded(found)
        most = max(most, found["wakes_median"])
        least = found if least is None else {kind: min(least[kind], found[kind]) for kind in KINDS}
        if not above(least, ceilings):
            break
    return least, {"system_calls": detail, "wakes_most": most}


# ---- ceilings ----


def ceilings_read():
    if not os.path.exists(CEILINGS):
        return {}
    with open(CEILINGS, encoding="utf-8") as file:
        return json.load(file)


def ceilings_at(commit):
    """The ceilings of a commit; None where there are none."""
    done = subprocess.run(["git", "-c", "safe.directory=*", "-C", cost.ROOT, "show", commit + ":bench/budget.json"],
                          capture_output=True, text=True, check=False)
    return json.loads(done.stdout) if done.returncode == 0 else None


def risen(now, then):
    """What is higher, or gone, in `now`; a kind of count that is no longer taken is not missed."""
    wrong = []
    for name, row in (then or {}).items():
        for kind, value in ((kind, row[kind]) for kind in KINDS if kind in row):
            got = now.get(name, {}).get(kind)
            if got is None or got > value:
                wrong.append("%s %s: the ceiling was %s and is %s; it may only fall" % (name, kind, value, got))
    return wrong


def ceilings_write(ceilings):
    lines = ['"%s": %s' % (name, json.dumps({kind: row[kind] for kind in KINDS})) for name, row in ceilings.items()]
    with open(CEILINGS, "w", encoding="utf-8") as file:
        file.write("{\n" + ",\n".join(lines) + "\n}\n")


def lower(results, ceilings):
    for name, found in results.items():
        row = ceilings.setdefault(name, {})
        wanted = rounded({kind: value * SLACK.get(kind, 1) for kind, value in found.items()})
        for kind in KINDS:
            row[kind] = min(row.get(kind, wanted[kind]), wanted[kind])
    ceilings_write(ceilings)


# ---- the report ----


def print_row(name, found, ceilings):
    parts = []
    for kind in KINDS:
        ceiling = ceilings.get(kind)
        mark = "" if ceiling is None or found[kind] <= ceiling else "!"
        parts.append(("%s%s (%s)" % (found[kind], mark, ceiling)) if ceiling is not None else str(found[kind]))
    rpc, fuse, copies = DESIGN.get(name, ("", "", ""))
    design = "RPC %s; FUSE %s; copied %s" % (rpc, fuse, copies) if rpc else ""
    print("%-13s %s  %s" % (name, " ".join(part.rjust(15) for part in parts), design), flush=True)


def run(args, system, copies):
    wire = cost.wire_ops()
    ceilings = ceilings_read()
    chosen = [op for op in OPS if not args.ops or op[0] in args.ops.split(",")]
    results, details = {}, {}
    print("%-13s %s  %s" % ("per operation", " ".join(kind.rjust(15) for kind in KINDS), "DESIGN 14, with leases"))
    place = cost.Place(os.path.join(system.mnt, "work"), system.program("lfs"))
    try:
        for op in chosen:
            known = {} if args.lower else ceilings.get(op[0], {})
            results[op[0]], details[op[0]] = measure(system, place, op, wire, copies, known)
            print_row(op[0], results[op[0]], ceilings.get(op[0], {}))
    finally:
        place.close()
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump({"counts": results, "ceilings": ceilings, "details": details}, file, indent=1)
    if args.lower:
        lower({name: dict(found, wakes_median=details[name]["wakes_most"]) for name, found in results.items()}, ceilings)
        return 0
    return verdict(results, ceilings) if args.gate else 0


def verdict(results, ceilings):
    wrong = ["%s %s: %s, the ceiling is %s" % (name, kind, found[kind], ceilings.get(name, {}).get(kind))
             for name, found in results.items() for kind in above(found, ceilings.get(name, {}))]
    head, parent = ceilings_at("HEAD"), ceilings_at("HEAD^")
    wrong += risen(ceilings, head)
    if head is not None:
        wrong += risen(head, parent)
    for line in wrong:
        print("TOO MUCH " + line)
    print("%d operations, %d counts above their ceilings" % (len(results), len(wrong)))
    return 1 if wrong or not results else 0


def parse_args():
    parser = argparse.ArgumentParser(prog="./dev bench --budget", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=os.path.join(cost.ROOT, "build", "bin"))
    parser.add_argument("--copies", default=COPIES, help="the library that counts copies")
    parser.add_argument("--scratch", default=os.path.join(cost.ROOT, "build", "bench-budget-%d" % os.getpid()))
    parser.add_argument("--ops", help="only these: " + " ".join(op[0] for op in OPS))
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument("--gate", action="store_true", help="fail if a count is above its ceiling")
    parser.add_argument("--lower", action="store_true", help="lower the ceilings to what was counted")
    return parser.parse_args()


def main():
    args = parse_args()
    args.scratch = os.path.abspath(args.scratch)
    copies = os.path.join(args.scratch, "copies")
    system = None
    try:
        os.makedirs(copies)
        os.environ["NACRE_BENCH_COPIES"] = copies
        os.environ["LD_PRELOAD"] = args.copies
        try:
            system = cost.System(os.path.abspath(args.bin), os.path.join(args.scratch, "fs"))
        finally:
            del os.environ["LD_PRELOAD"]
        return run(args, system, copies)
    except (cost.Failure, OSError, subprocess.TimeoutExpired) as error:
        print("budget: %s" % error, file=sys.stderr)
        return 1
    finally:
        if system is not None:
            system.down()
        shutil.rmtree(args.scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
