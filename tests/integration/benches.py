"""The benches measure what they say, notice wrong data, and leave nothing behind."""

import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree

import lib

sys.path.insert(0, os.path.join(lib.ROOT, "bench"))
import report  # noqa: E402  (the bench: its functions are what is tested with here)
import systems  # noqa: E402
import workloads  # noqa: E402

PYTHON = ["/usr/bin/python3", "-B"]
COMPARE = PYTHON + [os.path.join(lib.ROOT, "bench", "compare.py"), "--bin", lib.BIN, "--scale", "tiny", "--peers", "local"]
DRIVER = os.path.join(lib.ROOT, "build", "rel", "bench", "bench_workload")
ROWS = {"seqread", "randread-4", "hardread", "append", "read-small-4s", "find"}
NATIVE_ROWS = ROWS - {"find"}


@lib.test(limit_s=150)
def comparison_runs(t):
    """A tiny run: every column has its rows, daemons cost CPU, JSON, table and plot are there, nothing stays behind."""
    out, scratch, switch = t.path("out"), t.path("scratch"), systems.switch_read()
    columns = ["disk", "nacre", "nacre-lib"] + (["nacre-uring"] if switch is not None else [])
    text = t.out(*COMPARE, "--json", "--repetitions", 1, "--only", ",".join(sorted(ROWS)), "--columns", ",".join(columns),
                 "--out", out, "--scratch", scratch, limit_s=140)
    seen = json.loads(text)
    t.equal(set(seen["rows"]), ROWS, "the rows that were measured")
    for name, row in seen["rows"].items():
        expected = {column for column in columns if column != "nacre-lib" or name in NATIVE_ROWS}
        t.equal(set(row["cells"]), expected, "the columns of " + name)
        for column, cell in row["cells"].items():
            t.check(cell["median"] > 0, "%s on %s has no rate", name, column)
            t.check((cell["cpu_us_per_op"] > 0) == (column != "disk"), "%s on %s: CPU %s", name, column, cell)
    t.equal(seen["errors"], [], "errors")
    with open(os.path.join(out, "bench.txt"), encoding="utf-8") as file:
        table = file.read()
    t.check(all(name in table for name in ROWS | set(columns)), "the table lacks something: %s", table)
    dots = xml.etree.ElementTree.parse(os.path.join(out, "bench.svg")).findall("{*}circle/{*}title")
    t.equal(len(dots), sum(len(row["cells"]) for row in seen["rows"].values()), "dots in the plot")
    t.check(not os.path.exists(scratch), "the scratch directory is still there")
    t.equal(systems.switch_read(), switch, "the module's switch")


@lib.test(limit_s=60)
def interrupted_run_leaves_nothing(t):
    """A run that gets SIGTERM ends with one line; no process, mount or file of it stays."""
    scratch, switch = t.path("scratch"), systems.switch_read()
    before = set(lib.processes())
    words = COMPARE + ["--only", "seqread,find", "--repetitions", "100", "--out", t.path("out"), "--scratch", scratch]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as bench:
        for line in bench.stderr:
            if "repetition 2" in line:
                break
        t.check(set(lib.processes()) > before, "nothing ran")
        bench.send_signal(signal.SIGTERM)
        rest = bench.stderr.read()
    t.check(bench.returncode == 1 and "interrupted" in rest, "it ended with %s: %s", bench.returncode, rest)
    t.equal(set(lib.processes()), before, "processes")
    t.check(not os.path.exists(scratch), "the scratch directory is still there")
    t.equal(systems.switch_read(), switch, "the module's switch")


@lib.test(limit_s=30)
def driver_notices_wrong_bytes(t):
    """Reads are compared: one changed byte of a big or a small file, or a size, fails the workload."""
    place, path = t.path("w"), t.path("w", "big")
    os.mkdir(place)
    facts = json.loads(t.out(DRIVER, "seqwrite", place, "--bytes", 4 << 20))
    t.equal((facts["ops"], facts["bytes"], os.path.getsize(path)), (4, 4 << 20, 4 << 20), "what was written")
    t.run(DRIVER, "seqread", place, "--bytes", 4 << 20)
    with open(path, "r+b") as file:
        file.seek(3 * 4096 + 1)
        byte = file.read(1)[0]
        file.seek(3 * 4096 + 1)
        file.write(bytes([byte ^ 1]))
    t.refused(DRIVER, "seqread", place, "--bytes", 4 << 20, holds="wrong data")
    t.run(DRIVER, "create", place, "--count", 4, "--jobs", 2, "--size", 100)
    t.run(DRIVER, "read", place, "--count", 4, "--jobs", 2, "--size", 100)
    with open(t.path("w", "own1", "f1.1"), "ab") as file:
        file.write(b"x")
    t.refused(DRIVER, "stat", place, "--count", 4, "--jobs", 2, "--size", 100, holds="wrong data or size")


@lib.test(limit_s=60)
def mdt_load_counts(t):
    """The MDT under load from sessions without a mount: four phases, each with operations and CPU time of both sides."""
    path = t.path("mdt.json")
    t.run(*PYTHON, os.path.join(lib.ROOT, "bench", "mdt.py"), "--bin", lib.BIN, "--scratch", t.path("mdt"), "--seconds", "0.2",
          "--sessions", 3, "--depth", 4, "--json", path)
    with open(path, encoding="utf-8") as file:
        rows = json.load(file)
    t.equal([row["phase"] for row in rows], ["create", "stat", "read", "unlink"], "phases")
    for row in rows:
        t.check(row["ops"] > 100 and row["mdt_cpu_s"] > 0 and row["driver_cpu_s"] > 0, "%s", row)


@lib.test(limit_s=30)
def peers_and_floors(t):
    """A peer that is not installed is one line that says what to do; ratios, floors and spread are what they should be."""
    which, systems.shutil.which = systems.shutil.which, lambda name: None
    try:
        for peer, hint in ((systems.Moose, "moosefs-master"), (systems.Gluster, "glusterfs-server")):
            try:
                peer(t.dir).start()
                raise lib.Failure("%s started without its programs" % peer.__name__)
            except systems.Missing as missing:
                t.check(hint in str(missing) and "./dev deps peers" in str(missing), "says: %s", missing)
    finally:
        systems.shutil.which = which

    def cell(rates, cpu):
        return report.cell([workloads.Sample(rate * 2, 0, 2.0, cpu * rate * 2 / 1e6) for rate in rates], "ops/s")

    cells = {"nacre": cell([200, 300, 310], 10), "nacre-uring": cell([100], 10), "moosefs": cell([100], 30),
             "glusterfs": cell([150], 40)}
    t.equal((cells["nacre"]["median"], cells["nacre"]["spread"], cells["nacre"]["cpu_us_per_op"]), (300, 0.367, 10), "a cell")
    rows = {"create-small-1": {"cells": cells, "ratios": report.ratios(cells)}}
    t.equal(rows["create-small-1"]["ratios"]["nacre/peers"], 2.0, "over the better peer")
    t.equal([(one["what"], one["got"], one["met"]) for one in report.floors(rows)],
            [("rate", 2.0, True), ("cpu", 0.333, True)], "floors")
    cells["glusterfs"] = cell([151], 19)
    rows["create-small-1"]["ratios"] = report.ratios(cells)
    t.equal([one["met"] for one in report.floors(rows)], [False, False], "floors that are missed")


lib.main(__doc__)
