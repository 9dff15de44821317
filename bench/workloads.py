"""What ./dev bench measures: rows of the table, and how to bring about what each is measured on.

A Group is a chain of steps on one column: one makes what the next ones use. A step that nobody asked for is left out
unless a later one needs what it makes. All rows are rates, so that more is better and ratios mean the same everywhere.

Cold: the client is remounted and the machine's caches are dropped right before, so that servers read their disks.
Warm: the servers have read the file once, the client is remounted. Else: straight after what came before.
"""

import dataclasses
import json
import os
import shutil
import subprocess

import cost
import systems

COLD, WARM, AS_IS = "cold", "warm", "as it is"
SMALL = cost.SMALL
ENTRY_BYTES = 16


@dataclasses.dataclass(frozen=True)
class Scale:
    """How much: a full run, a quick one, one that only shows that everything works."""
    name: str
    repetitions: int
    file_mib: int
    seconds: float
    files: int
    hard: int
    entries: int
    recycle_mib: int
    idle_s: float


SCALES = {scale.name: scale for scale in (
    Scale("full", 5, 1024, 3.0, 2000, 1600, 10000, 3072, 10),
    Scale("quick", 3, 256, 1.0, 600, 400, 2000, 1024, 2),
    Scale("tiny", 1, 16, 0.1, 40, 40, 100, 16, 0.2),
)}


class Sample:
    """One measurement: operations, seconds, CPU seconds of all daemons (and of the driver where it is the client)."""

    def __init__(self, ops, size, seconds, cpu):
        self.ops = ops
        self.bytes = size
        self.seconds = seconds
        self.cpu = cpu


class Worker:
    """Runs steps on one column."""

    def __init__(self, column, scale, driver, tree):
        self.column = column
        self.scale = scale
        self.driver = driver
        self.tree = tree  # what is unpacked and compiled
        self.kept = set()

    def path(self, *parts):
        return os.path.join(self.column.path, *parts)

    def drive(self, workload, jobs=1, count=None, size=0, shared=False):
        """The C driver on this column; a Sample."""
        words = [self.driver, workload, self.column.path, "--jobs", jobs, "--count", count or self.scale.files,
                 "--bytes", self.scale.file_mib << 20, "--seconds", self.scale.seconds, "--size", size]
        words += ["--shared"] if shared else []
        if self.column.native:
            words += ["--source", self.column.native[0], "--key", self.column.native[1]]
        before = self.cpu()
        facts = json.loads(run(words))
        cpu = self.cpu() - before + (facts["cpu_seconds"] if self.column.native else 0)
        return Sample(facts["ops"], facts["bytes"], facts["seconds"], cpu)

    def program(self, ops, words, **options):
        """Another program's run on the mount; its output and a Sample of so many operations."""
        before, begin = self.cpu(), systems.time.monotonic()
        text = run(words, **options)
        took = systems.time.monotonic() - begin
        return text, Sample(ops, 0, took, self.cpu() - before)

    def cpu(self):
        return sum(map(systems.cpu_seconds, self.column.pids()))

    def state(self, wanted):
        if wanted == WARM:
            self.drive("seqread")
        if wanted != AS_IS:
            self.column.remount()
        if wanted == COLD:
            systems.caches_drop()

    def recycle(self):
        run([self.driver, "recycle", "/", "--bytes", self.scale.recycle_mib << 20])

    def remove(self, *parts):
        """Takes a file or a tree away, through the library where there is no mount."""
        if self.column.native:
            point = self.column.maker.dir
            path = os.path.join(point, self.column.path.lstrip("/"), *parts)
        else:
            path = self.path(*parts)
        if os.path.isdir(path):
            shutil.rmtree(path, ignore_errors=True)
        elif os.path.lexists(path):
            os.unlink(path)


def run(words, limit=300, **options):
    done = subprocess.run(list(map(str, words)), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=limit, check=False, encoding="utf-8", errors="replace", **options)
    if done.returncode != 0:
        raise cost.Failure("%s: %s" % (" ".join(map(str, words[:3])), done.stderr.strip()[-300:]))
    return done.stdout


@dataclasses.dataclass(frozen=True)
class Row:
    name: str
    unit: str
    text: str
    do: object  # called with a Worker; gives a Sample
    state: str = AS_IS
    makes: bool = False  # later rows of the group need it
    recycle: bool = False


@dataclasses.dataclass(frozen=True)
class Group:
    name: str
    rows: tuple
    leaves: tuple = ()  # taken away afterwards
    mount_only: bool = False

    def chosen(self, names):
        """The rows to run for these names: themselves and what makes something for one of them."""
        last = max((i for i, row in enumerate(self.rows) if row.name in names), default=-1)
        return [row for i, row in enumerate(self.rows) if row.name in names or (row.makes and i < last)]


def driven(workload, **options):
    return lambda worker: worker.drive(workload, **options)


def big_group():
    rows = [Row("seqwrite", "MB/s", "1 MiB writes of a new file, fsync at the end", driven("seqwrite"), makes=True,
                recycle=True),
            Row("seqread", "MB/s", "1 MiB reads, cold", driven("seqread"), COLD)]
    for jobs in (1, 4):
        rows.append(Row("randread-%d" % jobs, "ops/s", "4 KiB random reads, cold, jobs: %d" % jobs,
                        driven("randread", jobs=jobs), COLD))
    for jobs in (1, 4):
        rows.append(Row("randread-warm-%d" % jobs, "ops/s", "the same, the servers' caches warm, jobs: %d" % jobs,
                        driven("randread", jobs=jobs), WARM))
    for jobs in (1, 4):
        rows.append(Row("randwrite-%d" % jobs, "ops/s", "4 KiB random writes, jobs: %d" % jobs,
                        driven("randwrite", jobs=jobs)))
    return Group("big", tuple(rows), ("big",))


def hard_group():
    def drive(workload):
        return lambda worker: worker.drive(workload, jobs=4, count=worker.scale.hard)

    return Group("hard", (
        Row("hardwrite", "MB/s", "47,008-byte writes in turns to one file, 4 jobs, fsync", drive("hardwrite"), makes=True,
            recycle=True),
        Row("hardread", "MB/s", "the same read by the neighbour, cold", drive("hardread"), COLD)), ("hard",))


def small_group(size, jobs, shared):
    kind = "small" if size else "empty"
    tail = "-%s-%d%s" % (kind, jobs, "s" if shared else "")
    where = "1 process" if jobs == 1 else "%d processes, %s" % (jobs, "one directory" if shared else "a directory each")
    what = "%d-byte files" % size if size else "empty files"

    def row(name, text, state=AS_IS, makes=False):
        return Row(name + tail, "ops/s", "%s %s, %s" % (text, what, where),
                   driven(name, jobs=jobs, size=size, shared=shared), state, makes)

    return Group("files" + tail, (row("create", "create", makes=True), row("stat", "stat, cold,", COLD),
                                  row("read", "open, read, close, cold,", COLD), row("unlink", "unlink")),
                 tuple("own%d" % number for number in range(jobs)) + ("shared",))


def entries_make(worker):
    """Once for each column: the directory stays for the next repetition."""
    if "entries" in worker.kept:
        return None
    worker.drive("create", jobs=1, count=worker.scale.entries, size=ENTRY_BYTES)
    os.rename(worker.path("own0"), worker.path("entries"))
    worker.kept.add("entries")
    return None


def scan_find(worker):
    text, sample = worker.program(worker.scale.entries, ["find", worker.path("entries"), "-type", "f", "-size", "+0"])
    if len(text.split("\n")) - 1 != worker.scale.entries:
        raise cost.Failure("find saw %d files" % (len(text.split("\n")) - 1))
    return sample


def scan_ls(worker):
    text, sample = worker.program(worker.scale.entries, ["ls", "-l", worker.path("entries")])
    if len(text.split("\n")) - 2 != worker.scale.entries:
        raise cost.Failure("ls saw %d files" % (len(text.split("\n")) - 2))
    return sample


def scan_group():
    return Group("scan", (Row("entries", "", "", entries_make, makes=True),
                          Row("find", "entries/s", "find -size +0 over a directory of files, cold", scan_find, COLD),
                          Row("ls", "entries/s", "ls -l of it, cold", scan_ls, COLD)), mount_only=True)


def untar(worker):
    os.makedirs(worker.path("tree"))
    return worker.program(worker.tree.files, ["tar", "-xf", worker.tree.archive, "-C", worker.path("tree")])[1]


def compile_tree(worker):
    top = worker.path("tree")
    sources = worker.tree.sources if worker.scale.name != "tiny" else worker.tree.sources[:2]
    script = 'for f in "$@"; do gcc -std=gnu17 -D_GNU_SOURCE -O0 -Isrc -c "$f" -o "${f%.c}.o" || exit 1; done'
    return worker.program(len(sources), ["sh", "-c", script, "sh", *sources], cwd=top)[1]


def tree_group():
    return Group("tree", (Row("untar", "files/s", "tar -x of this repository's sources", untar, makes=True, recycle=True),
                          Row("compile", "files/s", "gcc -c of files of it, cold", compile_tree, COLD)),
                 ("tree",), mount_only=True)


class Tree:
    """The sources of this repository as an archive: something real to unpack and to compile."""

    def __init__(self, scratch):
        self.archive = os.path.join(scratch, "tree.tar")
        run(["tar", "-cf", self.archive, "-C", cost.ROOT, "src", "include", "docs", "proto", "tests/unit"])
        self.files = len([name for name in run(["tar", "-tf", self.archive]).split("\n") if name and name[-1] != "/"])
        folder = os.path.join(cost.ROOT, "src", "base")
        self.sources = ["src/base/" + name for name in sorted(os.listdir(folder)) if name.endswith(".c")]


def groups():
    found = [big_group(), Group("append", (Row("append", "ops/s", "append 4 KiB and fsync", driven("append")),), ("log",)),
             hard_group()]
    for size in (0, SMALL):
        found += [small_group(size, 1, False), small_group(size, 4, False), small_group(size, 4, True)]
    return found + [scan_group(), tree_group()]


def row_names():
    return [row.name for group in groups() for row in group.rows if row.unit]
