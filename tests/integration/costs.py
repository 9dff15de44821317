"""What operations and idleness cost on a mount, and that our own counters say the same as the kernel."""

import json
import os
import sys
import time

import cluster
import lib

sys.path.insert(0, os.path.join(lib.ROOT, "bench"))
import cost  # noqa: E402  (the bench: its functions are what is tested with here)

IDLE_S = 10
WAKEUPS_MAX = 2.0
CPU_PERCENT_MAX = 0.1
# FUSE requests and RPCs of one operation on a path of depth one below the mount, no leases: these may only fall.
FUSE_MAX = {"mkdir": 3, "create": 4, "stat": 3, "unlink": 3, "small-write": 5, "small-read": 5, "read-4k": 1,
            "write-4k": 1, "read-1m": 1, "write-1m": 1, "append-fsync": 2}
RPC_MAX = {"mkdir": 3, "create": 4, "stat": 3, "unlink": 3, "small-write": 5, "small-read": 5, "read-4k": 1,
           "write-4k": 1, "read-1m": 1, "write-1m": 1, "append-fsync": 6}


@lib.test(limit_s=120)
def counters_agree(t):
    """FUSE requests, RPCs and the servers' operations: as counted by strace, by us, and as they may be at most."""
    report = t.path("cost.json")
    t.run("/usr/bin/python3", "-B", os.path.join(lib.ROOT, "bench", "cost.py"), "--check", "--bin", lib.BIN,
          "--scratch", t.path("cost"), "--json", report)
    with open(report, encoding="utf-8") as file:
        seen = json.load(file)
    t.equal(set(seen), {op[0] for op in cost.OPS}, "the operations that were looked at")
    for name, most in FUSE_MAX.items():
        t.check(0 < seen[name]["fuse"] <= most, "%s made %s FUSE requests, not %s", name, seen[name]["fuse"], most)
        t.check(0 < seen[name]["rpc"] <= RPC_MAX[name] + 0.2, "%s made %s RPCs, not %s", name, seen[name]["rpc"],
                RPC_MAX[name])


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
