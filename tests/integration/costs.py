"""What operations and idleness cost on a mount, and that our own counters say the same as the kernel."""

import json
import os
import sys
import time

import cluster
import lib

sys.path.insert(0, os.path.join(lib.ROOT, "bench"))
import budget  # noqa: E402  (the bench: its functions are what is tested with here)
import cost  # noqa: E402

IDLE_S = 10
WAKEUPS_MAX = 2.0
CPU_PERCENT_MAX = 0.1


@lib.test(limit_s=120)
def counters_agree(t):
    """FUSE requests, RPCs and the servers' operations: strace and our own counters agree."""
    report = t.path("cost.json")
    t.run("/usr/bin/python3", "-B", os.path.join(lib.ROOT, "bench", "cost.py"), "--check", "--bin", lib.BIN,
          "--scratch", t.path("cost"), "--json", report)
    with open(report, encoding="utf-8") as file:
        seen = json.load(file)
    t.equal(set(seen), {op[0] for op in cost.OPS}, "the operations that were looked at")
    t.check(all(row["fuse"] > 0 and row["rpc"] > 0 for row in seen.values()), "an operation made no request: %s", seen)


@lib.test(limit_s=400)
def budget_holds(t):
    """FUSE requests, RPCs, wake-ups, system calls and copies of each operation are at most what bench/budget.json says."""
    report = t.path("budget.json")
    t.run("/usr/bin/python3", "-B", os.path.join(lib.ROOT, "bench", "budget.py"), "--gate", "--bin", lib.BIN,
          "--scratch", t.path("budget"), "--json", report, limit_s=390)
    with open(report, encoding="utf-8") as file:
        seen = json.load(file)["counts"]
    t.equal(set(seen), {op[0] for op in budget.OPS}, "the operations that were looked at")
    t.check(all(row["fuse"] > 0 and row["syscalls"] > 0 and row["wakes_median"] > 0 for row in seen.values()),
            "an operation cost nothing: %s", seen)
    t.check(seen["small-write"]["copied_bytes"] > cost.SMALL, "copies were not counted: %s", seen["small-write"])
    t.check(seen["write-1m"]["syscall_bytes"] > cost.MIB, "bytes were not counted: %s", seen["write-1m"])


@lib.test(limit_s=30)
def ceilings_only_fall(t):
    """A ceiling that rises or goes is told, one that falls is not; lowering never raises."""
    then = {"mkdir": {"fuse": 3, "rpc": 3}, "stat": {"fuse": 3}}
    t.equal(budget.risen({"mkdir": {"fuse": 2, "rpc": 3}, "stat": {"fuse": 3}, "new": {"fuse": 9}}, then), [], "fallen")
    t.equal(len(budget.risen({"mkdir": {"fuse": 4, "rpc": 3}, "stat": {"fuse": 3}}, then)), 1, "one risen")
    t.equal(len(budget.risen({"mkdir": {"fuse": 3, "rpc": 3}}, then)), 1, "one gone")
    few, many = {kind: 1 for kind in budget.KINDS}, {kind: 10000 for kind in budget.KINDS}
    t.equal(budget.above(many, few), list(budget.KINDS), "above")
    t.equal(budget.above(few, many), [], "below")
    t.equal(budget.above(few, {}), list(budget.KINDS), "without ceilings")


@lib.test(limit_s=60)
def idle_costs_nothing(t):
    """Daemons and nacre-fuse after some work: at most 2 wake-ups a second and 0.1 % of a CPU each."""
    running, mount = cluster.started(t)
    for i in range(100):
        os.mkdir(mount / ("d%d" % i))
    pids = dict({daemon["name"]: daemon["pid"] for daemon in running.facts["daemons"]}, client=mount.pid)
    t.check(len(pids) >= 3, "only %s processes to look at", len(pids))
    # Logs are synced and connections settle within this time: it is not what is measured.
    time.sleep(2)
    before = {name: cost.usage(pid) for name, pid in pids.items()}
    time.sleep(IDLE_S)
    for name, pid in pids.items():
        cpu, switches = cost.used(before[name], cost.usage(pid))
        t.check(cpu >= 0 and switches <= WAKEUPS_MAX * IDLE_S, "%s woke up %s times in %s s", name, switches, IDLE_S)
        t.check(cpu / 1e7 / IDLE_S <= CPU_PERCENT_MAX, "%s used %.3f %% of a CPU", name, cpu / 1e7 / IDLE_S)


lib.main(__doc__)
