"""The whole round in less than a minute: up, mount, write, compare, kill -9 of everything, up, compare, down."""

import json
import os
import re

import cluster
import lib
import load

ALL = ("quick", "full", "long")


@lib.test(limit_s=40, suites=ALL)
def round_trip(t):
    """nacre up mounts; a tree and striped data survive kill -9 of every process; nacre down, nacre up: still there."""
    one = cluster.Cluster(t)
    facts = json.loads(one.up(mount=True).stdout)
    point = facts["mount_point"]
    t.equal(point, one.file("mnt"), "the mount point")
    tree = load.Tree(os.path.join(point, "tree"), t.seed)
    for _ in range(300):
        tree.step()
    striped = os.path.join(point, "striped")
    t.run("lfs", "setstripe", "-c", "-1", "-S", "64k", striped)
    data = t.rng.randbytes(3 << 20)
    with open(striped, "r+b") as file:
        file.write(data)
    t.equal(os.stat(striped).st_size, len(data), "size of the striped file")
    tree.verify()
    for pid, line in lib.processes().items():
        if "nacre" in os.path.basename(line.split()[0]):
            os.kill(pid, 9)
            lib.pid_wait(pid, 10)
    t.fails(107, os.stat, point)
    for again in ("after kill -9", "after down"):
        one.up(mount=True)
        tree.verify()
        with open(striped, "rb") as file:
            t.check(file.read() == data, "%s: the striped file is wrong", again)
        one.down()
        t.check(not lib.mount_points(t.dir), "still mounted after nacre down")
        t.check(not [l for l in lib.processes().values() if "nacre" in l], "processes are left after nacre down")
        one.stopped = True


@lib.test(limit_s=20, suites=ALL)
def up_says_how_to_mount(t):
    """Exactly one line begins `mount -t nacre`; the line with the helper's path works as it stands."""
    one = cluster.Cluster(t, osts=2)
    one.up()
    text = t.out("nacre", "up", one.dir, "--no-mount")
    lines = [l for l in text.split("\n") if l.startswith("mount -t nacre")]
    t.equal(len(lines), 1, "lines that begin mount -t nacre")
    match = re.fullmatch(r"mount -t nacre -o key=(/\S+) (127\.0\.0\.1:\d+:/nacre) (/\S+)", lines[0])
    t.check(match, "not of the promised form: %s", lines[0])
    helper = re.search(r"/\S+/mount\.nacre .*[^)\n]", text)
    if helper:
        os.makedirs(match.group(3), exist_ok=True)
        t.run("sh", "-c", helper.group(0))
        with open(os.path.join(match.group(3), "f"), "w", encoding="utf-8") as file:
            file.write("mounted by what was printed\n")


@lib.test(limit_s=30, suites=ALL)
def two_mounts_agree(t):
    """What one mount does the other sees at once."""
    _, a, b = cluster.started(t, osts=2, mounts=2)
    tree = load.Tree(a / "tree", t.seed, 200000)
    for _ in range(10):
        for _ in range(15):
            tree.step()
        tree.verify(b / "tree")


lib.main(__doc__)
