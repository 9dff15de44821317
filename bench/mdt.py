#!/usr/bin/python3
"""The MDT alone: load from many sessions without FUSE, the log on the disk.

    ./dev bench mdt [--sessions N] [--depth N] [--seconds S] [--perf FILE] [--one-cpu] [--json FILE]

Makes a file system of one MDT and one OST, puts the MDT's nacred on the first CPU and the driver (bench/mdt_load.c) on
the others, and prints operations per second and per CPU second of nacred, helper threads and polling included. The latter does
not depend on what else runs. --perf records a profile of nacred for each phase.
"""

import argparse
import json
import os
import re
import shutil
import signal
import subprocess
import sys

import cost

# Operations per second of one core of the MDT that are aimed at.
AIMS = {"create": 100000, "stat": 300000}


class Mdt(cost.System):
    """The same file system without a mount."""

    def up(self, osts):
        facts = json.loads(cost.command(self.program("nacre"), "up", self.dir, "--osts", osts, "--no-mount", "--json"))
        self.fsname = facts["fsname"]
        for daemon in facts["daemons"]:
            self.pids[daemon["name"]] = daemon["pid"]

    def address(self):
        """The Unix socket the MDT listens on."""
        with open(os.path.join(self.dir, "etc", "mds.yaml"), encoding="utf-8") as file:
            found = re.search(r"unix:[^\"',\]\s]+", file.read())
        if not found:
            raise cost.Failure("the MDT listens on no Unix socket")
        return found.group(0)


def place(system, args):
    """The MDT on one CPU, what loads it on the others."""
    cpus = sorted(os.sched_getaffinity(0))
    server, driver = {cpus[0]}, set(cpus[1:]) or {cpus[0]}
    if args.one_cpu:
        driver = server
    for tid in os.listdir("/proc/%d/task" % system.pids["mds"]):
        os.sched_setaffinity(int(tid), server)
    os.sched_setaffinity(0, driver)


def load(system, args):
    words = [args.driver, "--addr", system.address(), "--key", os.path.join(system.dir, "keys", "client.key"), "--fsname",
             system.fsname, "--pid", system.pids["mds"], "--sessions", args.sessions, "--depth", args.depth, "--seconds",
             args.seconds]
    rows = []
    with subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, text=True) as process:
        perf = profile_start(system, args, "1")
        for line in process.stdout:
            profile_stop(perf)
            rows.append(json.loads(line))
            perf = profile_start(system, args, str(len(rows) + 1))
        profile_stop(perf)
    if process.returncode != 0:
        raise cost.Failure("the driver failed")
    return rows


def profile_start(system, args, name):
    """One profile for each phase: 1 create, 2 stat, 3 read, 4 unlink."""
    if not args.perf:
        return None
    return subprocess.Popen(["perf", "record", "-q", "-g", "-F", "2999", "-p", str(system.pids["mds"]), "-o",
                             "%s.%s" % (args.perf, name)], stderr=subprocess.DEVNULL)


def profile_stop(perf):
    if perf:
        perf.send_signal(signal.SIGINT)
        perf.wait()


def report(rows):
    print("%-8s %10s %16s %12s %14s %10s" % ("", "per second", "per MDT CPU s", "us MDT CPU", "us driver CPU", "aim/core"))
    for row in rows:
        per_core = row["ops"] / row["mdt_cpu_s"]
        print("%-8s %10.0f %16.0f %12.2f %14.2f %10s" % (
            row["phase"], row["ops"] / row["seconds"], per_core, row["mdt_cpu_s"] * 1e6 / row["ops"],
            row["driver_cpu_s"] * 1e6 / row["ops"], AIMS.get(row["phase"], "-")))


def parse_args():
    parser = argparse.ArgumentParser(prog="./dev bench mdt", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default=os.path.join(cost.ROOT, "build", "bin"))
    parser.add_argument("--driver", default=os.path.join(cost.ROOT, "build", "rel", "bench", "mdt_load"))
    parser.add_argument("--scratch", default=os.path.join(cost.ROOT, "build", "bench-mdt-%d" % os.getpid()))
    parser.add_argument("--sessions", type=int, default=16)
    parser.add_argument("--depth", type=int, default=8, help="requests in flight of each session")
    parser.add_argument("--seconds", type=float, default=3, help="of each phase")
    parser.add_argument("--perf", help="record profiles of the MDT's nacred: FILE.1 (create) .. FILE.4")
    parser.add_argument("--one-cpu", action="store_true", help="the driver on the MDT's CPU too")
    parser.add_argument("--nice", type=int, default=0, help="priority of all, for a machine that others use")
    parser.add_argument("--json")
    return parser.parse_args()


def main():
    args = parse_args()
    system = None
    try:
        os.nice(args.nice)
        os.makedirs(args.scratch)
        system = Mdt(os.path.abspath(args.bin), os.path.join(os.path.abspath(args.scratch), "fs"), osts=1)
        place(system, args)
        rows = load(system, args)
        report(rows)
        if args.json:
            with open(args.json, "w", encoding="utf-8") as file:
                json.dump(rows, file, indent=1)
        return 0
    except (cost.Failure, OSError, subprocess.TimeoutExpired) as error:
        print("mdt: %s" % error, file=sys.stderr)
        return 1
    finally:
        if system is not None:
            cost.command(system.program("nacre"), "down", system.dir, "--force", check=False)
        shutil.rmtree(args.scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
