#!/usr/bin/python3
"""Where the microseconds of one mkdir go: every hop between the program and the log, and back, from kernel tracepoints.

The steps of one FUSE MKDIR (the last of the requests a mkdir(2) makes) are cut at the system calls of nacre-fuse and of the
MDT's nacred; each step's middle over many repetitions is printed. Tracing itself costs about 0.2 us for each event, two
for each system call: the sum is larger than the untraced time printed at the end.

    bench/hops.py [--bin DIR] [--scratch DIR] [--count N] [--one-cpu] [--json FILE]
"""

import argparse
import json
import os
import re
import shutil
import statistics
import sys

import cost

STEPS = [
    ("app -> nacre-fuse reads the request", "send", "fuse_read"),
    ("parse, new fiber, encode", "fuse_read", "rpc_send"),
    ("sendmsg", "rpc_send", "rpc_sent"),
    ("socket -> nacred has received", "rpc_sent", "mds_recv"),
    ("decode, execute, log record", "mds_recv", "log_write"),
    ("pwritev of the log", "log_write", "log_written"),
    ("encode the reply", "log_written", "mds_send"),
    ("sendmsg of the reply", "mds_send", "mds_sent"),
    ("socket -> nacre-fuse has received", "mds_sent", "rpc_recv"),
    ("decode, answer", "rpc_recv", "fuse_write"),
    ("writev to /dev/fuse, up to the end of the request", "fuse_write", "end"),
]
LINE = re.compile(r".*-(\d+)\s+\[\d+\]\s+\S+\s+(\d+\.\d+): (\w+): (.*)")
MARKS = {("client", "exit", "readv"): "fuse_read", ("client", "enter", "sendmsg"): "rpc_send",
         ("client", "exit", "sendmsg"): "rpc_sent", ("mds", "exit", "recvfrom"): "mds_recv",
         ("mds", "enter", "pwritev"): "log_write", ("mds", "exit", "pwritev"): "log_written",
         ("mds", "enter", "sendmsg"): "mds_send", ("mds", "exit", "sendmsg"): "mds_sent",
         ("client", "exit", "recvfrom"): "rpc_recv", ("client", "enter", "writev"): "fuse_write"}


class HopTrace(cost.SyscallTrace):
    """FUSE requests and both ends of system calls, with times."""

    def __enter__(self):
        super().__enter__()
        self.put("trace_clock", "mono")
        self.put("set_event_pid", " ".join(map(str, list(self.threads) + [os.getpid()])))
        self.put("events/raw_syscalls/sys_exit/enable", "1")
        self.put("events/fuse/enable", "1")
        return self

    def events(self):
        self.put("tracing_on", "0")
        names = cost.syscall_names()
        with open(os.path.join(self.path, "trace"), encoding="utf-8", errors="replace") as file:
            for line in file:
                match = LINE.match(line)
                if not match:
                    continue
                process, when = self.threads.get(int(match.group(1)), "app"), float(match.group(2)) * 1e6
                kind, rest = match.group(3), match.group(4)
                if kind in ("sys_enter", "sys_exit"):
                    number = re.match(r"NR (\d+)(?: = (-?\d+))?", rest)
                    if number and not (number.group(2) or "0").startswith("-"):
                        yield process, kind[4:], names.get(int(number.group(1))), when
                elif kind.startswith("fuse_request"):
                    yield process, kind[13:], rest, when


def cut(events):
    """One dictionary of times for each MKDIR that shows all its marks."""
    found, marks = [], None
    for process, kind, what, when in events:
        if kind == "send":
            marks = {"send": when} if "FUSE_MKDIR" in what else None
        elif marks is None:
            continue
        elif kind == "end":
            marks["end"] = when
            if len(marks) == len(STEPS) + 1:
                found.append(marks)
            marks = None
        else:
            mark = MARKS.get((process, kind, what))
            if mark:
                marks.setdefault(mark, when)
    return found


def middle_mean(values):
    """The mean of the middle half: tracefs tells whole microseconds, and the ends belong to other programs."""
    ordered = sorted(values)
    return statistics.fmean(ordered[len(ordered) // 4:len(ordered) * 3 // 4 + 1])


def report(found, untraced):
    rows = []
    for name, begin, end in STEPS:
        took = [marks[end] - marks[begin] for marks in found]
        rows.append({"step": name, "us": round(middle_mean(took), 1)})
        print("%6.1f us  %s" % (rows[-1]["us"], name))
    total = middle_mean([marks["end"] - marks["send"] for marks in found])
    print("%6.1f us  the request, traced (mean of the middle half of %d)" % (total, len(found)))
    print("%6.1f us  mkdir(2) with its look-ups, untraced (median; tenth percentile %.1f)" % (untraced[1], untraced[0]))
    return {"steps": rows, "request_us": round(total, 1), "mkdir_us": untraced[1], "mkdir_us_low": untraced[0]}


def run(args, system):
    if args.one_cpu:
        system.pin({min(os.sched_getaffinity(0))})
    place = cost.Place(os.path.join(system.mnt, "work"), system.program("lfs"))
    try:
        untraced = cost.timed(cost.op_mkdir(place, args.count), args.count)
        make = cost.op_mkdir(place, args.count)
        with HopTrace(system.pids) as trace:
            for i in range(args.count):
                make(i)
            found = cut(trace.events())
    finally:
        place.close()
    if len(found) < args.count // 4:
        raise cost.Failure("only %d of %d requests could be followed" % (len(found), args.count))
    result = report(found, untraced)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(result, file, indent=1)
    return 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=os.path.join(cost.ROOT, "build", "bin"))
    parser.add_argument("--scratch", default=os.path.join(cost.ROOT, "build", "bench-hops"))
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--one-cpu", action="store_true")
    parser.add_argument("--json")
    args = parser.parse_args()
    args.bin, args.scratch = os.path.abspath(args.bin), os.path.abspath(args.scratch)
    if os.path.exists(args.scratch):
        print("hops: %s exists: remove it or name another --scratch" % args.scratch, file=sys.stderr)
        return 2
    if not cost.SyscallTrace.possible():
        print("hops: tracefs is needed: mount -t tracefs tracefs %s" % cost.TRACEFS, file=sys.stderr)
        return 77
    system = None
    try:
        os.makedirs(args.scratch)
        system = cost.System(args.bin, os.path.join(args.scratch, "fs"))
        return run(args, system)
    except (cost.Failure, OSError) as error:
        print("hops: %s" % error, file=sys.stderr)
        return 1
    finally:
        if system is not None:
            system.down()
        shutil.rmtree(args.scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
