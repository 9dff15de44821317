#!/usr/bin/python3
"""Nacre beside local file systems and its peers, measured in one run on one machine.

    ./dev bench [--quick] [--peers local,moosefs,glusterfs] [--only ROW,...] [--repetitions N] [--json]

Each row is measured on all columns in turn, so often as there are repetitions, beginning with another column each time;
medians, spread, ratios and the CPU time of all daemons per operation are reported. The rows: --list. Everything runs in
namespaces of its own and as a child of this process; when it ends, however it ends, they end, the scratch directory is
removed and the machine's switch for FUSE over io_uring is as it was.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import cost
import report
import systems
import workloads


def arguments():
    parser = argparse.ArgumentParser(prog="./dev bench", description=__doc__.split("\n\n", 1)[0],
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="smaller and three repetitions: some minutes")
    parser.add_argument("--scale", choices=sorted(workloads.SCALES), help="full (default), quick, or tiny: does it work?")
    parser.add_argument("--peers", default="local,moosefs,glusterfs", help="beside ours: local, moosefs, glusterfs, none")
    parser.add_argument("--columns", help="only these columns (see the table's head)")
    parser.add_argument("--only", help="only these rows or groups (see --list)")
    parser.add_argument("--repetitions", type=int)
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--out", default=os.path.join(cost.ROOT, "build", "bench"), help="for bench.{json,txt,svg}")
    parser.add_argument("--bin", default=os.path.join(cost.ROOT, "build", "bin"))
    parser.add_argument("--driver", default=os.path.join(cost.ROOT, "build", "rel", "bench", "bench_workload"))
    parser.add_argument("--scratch", help="on the disk that is measured; removed afterwards (build/bench-scratch-PID)")
    parser.add_argument("--nice", type=int, default=0, help="priority of everything in the run (-19 .. 19), not "
                        "0: on a machine that others use, -19 is what MooseFS gives itself")
    parser.add_argument("--floors", action="store_true", help="fail if a floor against the peers is missed")
    parser.add_argument("--list", action="store_true", help="names of groups and rows")
    args = parser.parse_args()
    scale = workloads.SCALES[args.scale or ("quick" if args.quick else "full")]
    args.scale = scale
    args.repetitions = args.repetitions or scale.repetitions
    args.peers = [name for name in args.peers.split(",") if name and name != "none"]
    args.scratch = os.path.abspath(args.scratch or os.path.join(cost.ROOT, "build", "bench-scratch-%d" % os.getpid()))
    unknown = set(args.peers) - set(systems.PEERS)
    if unknown:
        parser.error("no such peer: %s (there are %s)" % (" ".join(sorted(unknown)), " ".join(systems.PEERS)))
    args.rows = rows_chosen(parser, args.only)
    return args


def rows_chosen(parser, text):
    by_group = {group.name: [row.name for row in group.rows] for group in workloads.groups()}
    names = set(workloads.row_names())
    if not text:
        return names
    chosen = set()
    for word in text.split(","):
        if word not in by_group and word not in names:
            parser.error("no such row: %s (--list tells them)" % word)
        chosen.update(by_group.get(word, [word]))
    return chosen & names


def rows_print():
    for group in workloads.groups():
        print("%s:" % group.name)
        for row in group.rows:
            if row.unit:
                print("  %-22s %-9s %s" % (row.name, row.unit, row.text))


def say(text):
    print("%s %s" % (time.strftime("%H:%M:%S"), text), file=sys.stderr, flush=True)


# ---- inside ----


class Bench:
    def __init__(self, args):
        self.args = args
        self.servers = []
        self.workers = []
        self.told = {}
        self.samples = {}  # row -> column -> [Sample]
        self.errors = []
        self.idle = {}

    def start(self):
        args = self.args
        wanted = args.columns.split(",") if args.columns else None
        tree = workloads.Tree(args.scratch)
        peers = [name for name in systems.PEERS if name in args.peers and name != "local"]
        for name in ["local"] * ("local" in args.peers) + ["nacre"] + peers:
            server = systems.Nacre(args.scratch, args.bin) if name == "nacre" else systems.PEERS[name](args.scratch)
            try:
                server.start()
            except systems.Missing as missing:
                say("left out: %s" % missing)
                self.told[name] = ["left out: %s" % missing]
                continue
            self.servers.append(server)
            self.told[name] = server.describe()
            for column in server.columns():
                if wanted is None or column.name in wanted:
                    column.begin()
                    self.workers.append(workloads.Worker(column, args.scale, args.driver, tree))
        if not self.workers:
            raise cost.Failure("no column is left to measure")

    def stop(self):
        for worker in self.workers:
            worker.column.umount()
        for server in reversed(self.servers):
            server.stop()

    def measure_idle(self):
        seconds = self.args.scale.idle_s
        before = {worker.column.name: worker.cpu() for worker in self.workers}
        time.sleep(seconds)
        for worker in self.workers:
            if worker.column.pids():
                used = worker.cpu() - before[worker.column.name]
                self.idle[worker.column.name] = round(used / seconds * 100, 4)

    def measure(self, save):
        self.measure_idle()
        for repetition in range(self.args.repetitions):
            for group in workloads.groups():
                rows = group.chosen(self.args.rows)
                if rows:
                    say("repetition %d of %d: %s" % (repetition + 1, self.args.repetitions, group.name))
                    self.group_measure(group, rows, repetition)
                    save()

    def group_measure(self, group, rows, repetition):
        workers = [w for w in self.workers if not (group.mount_only and w.column.native)]
        turn = repetition % len(workers) if workers else 0
        for worker in workers[turn:] + workers[:turn]:
            try:
                for row in rows:
                    self.row_measure(worker, row)
            except (cost.Failure, OSError, subprocess.TimeoutExpired) as error:
                self.errors.append("%s on %s: %s" % (row.name, worker.column.name, error))
                say("FAILED " + self.errors[-1])
            for name in group.leaves:
                worker.remove(name)

    def row_measure(self, worker, row):
        worker.state(row.state)
        if self.args.nice:
            systems.priority_set([os.getpid()] + worker.column.pids(), self.args.nice)
        if row.recycle:
            worker.recycle()
        sample = row.do(worker)
        if row.name in self.args.rows and sample is not None:
            self.samples.setdefault(row.name, {}).setdefault(worker.column.name, []).append(sample)


def machine():
    with open("/proc/meminfo", encoding="ascii") as file:
        memory = int(file.readline().split()[1]) >> 20
    return {"kernel": os.uname().release, "cpus": os.cpu_count(), "memory_gib": memory,
            "load_at_start": os.getloadavg()[0]}


def inside(args):
    """All that is measured; runs in the namespaces."""
    os.setsid()
    systems.network_enter()
    bench = Bench(args)
    facts = {"scale": args.scale.name, "repetitions": args.repetitions, "nice": args.nice, "machine": machine()}
    bench.start()
    facts["configuration"] = bench.told
    facts["columns"] = [worker.column.name for worker in bench.workers]
    try:
        bench.measure(lambda: save(args, facts, bench))
    finally:
        bench.stop()
    result = save(args, facts, bench)
    if bench.errors:
        logs_keep(args)
    sys.stdout.write(json.dumps(result) + "\n" if args.json else report.text(result))
    sys.stdout.flush()
    missed = [floor for floor in result["floors"] if not floor["met"]]
    return 1 if bench.errors or (args.floors and missed) else 0


def logs_keep(args):
    """What clients and daemons had to say about a failure outlives the scratch directory."""
    for folder, _, names in os.walk(args.scratch):
        for name in names:
            if name.endswith(".log"):
                path = os.path.join(folder, name)
                kept = os.path.relpath(path, args.scratch).replace("/", "-")
                shutil.copy(path, os.path.join(args.out, kept))


def save(args, facts, bench):
    """Writes what is known so far: whoever waits for one row need not wait for all."""
    result = report.result(dict(facts, idle_cpu_percent=bench.idle, errors=bench.errors), bench.samples)
    os.makedirs(args.out, exist_ok=True)
    for name, content in (("bench.json", json.dumps(result, indent=1) + "\n"), ("bench.txt", report.text(result)),
                          ("bench.svg", report.svg(result))):
        with open(os.path.join(args.out, name), "w", encoding="utf-8") as file:
            file.write(content)
    return result


# ---- outside ----


def child(args):
    systems.lib.LIBC.prctl(1, signal.SIGKILL, 0, 0, 0)
    systems.lib.namespaces_enter()
    try:
        status = inside(args)
    except (cost.Failure, systems.lib.Failure, OSError, subprocess.TimeoutExpired) as error:
        print("bench: %s" % error, file=sys.stderr)
        status = 1
    sys.stderr.flush()
    os._exit(status)


def switch_settled():
    """The module's switch as the machine has it: somebody's mount may hold it open for a moment."""
    for _ in range(20):
        if systems.switch_read() != "Y":
            break
        time.sleep(0.1)
    return systems.switch_read()


def outside(args):
    """Starts the run in a process of its own and clears up after it, whatever became of it."""
    was = switch_settled()
    os.makedirs(args.scratch)
    status = 1
    pid = os.fork()
    if pid == 0:
        child(args)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: os.kill(pid, signal.SIGTERM))
    try:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        if systems.switch_read() != was:
            systems.switch_write(was)
        shutil.rmtree(args.scratch, ignore_errors=True)
    if status < 0 or status > 1:
        print("bench: interrupted; nothing is left running", file=sys.stderr)
    return 1 if status else 0


def main():
    args = arguments()
    if args.list:
        rows_print()
        return 0
    if os.getuid() != 0:
        print("bench: mounts, namespaces and dropped caches need root", file=sys.stderr)
        return 77
    for path in (os.path.join(args.bin, "nacre"), args.driver):
        if not os.path.exists(path):
            print("bench: there is no %s: ./dev build" % path, file=sys.stderr)
            return 1
    if os.path.exists(args.scratch):
        print("bench: %s exists: remove it or name another --scratch" % args.scratch, file=sys.stderr)
        return 2
    return outside(args)


if __name__ == "__main__":
    sys.exit(main())
