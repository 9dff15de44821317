"""The steps of ./dev check, in the order they run: one table, read by check.py.

A step is a command with a time limit. Its suites say when it runs; `needs` names steps whose success it
depends on. It may end its output with "N passed, N failed, N skipped"; otherwise it counts as one case.
To add a step, add a row; to add a test program, add it to Meson: the unit steps run whatever Meson knows.

Which Meson tests a variant runs: meson_step.py. Fault sweeps and crash tests are Meson tests of the suites `fault` and
`crash`; NACRE_SUITE=long makes them take every step.
"""

import dataclasses

QUICK, FULL, LONG = "quick", "full", "long"
SUITES = (QUICK, FULL, LONG)
ALWAYS = frozenset(SUITES)
LANDING = frozenset((FULL, LONG))

PYTHON = "/usr/bin/python3"


@dataclasses.dataclass(frozen=True)
class Step:
    name: str
    command: tuple
    limit_s: int
    suites: frozenset = ALWAYS
    needs: tuple = ()


def gate(name, *args, needs=()):
    command = (PYTHON, "-B", "tools/gates/" + name.replace("-", "_") + ".py") + args
    return Step("gate-" + name, command, 60, needs=needs)


def build(variant, limit_s, suites=LANDING):
    return Step("build-" + variant, ("bash", "tools/dev/build.sh", variant), limit_s, suites)


def unit(variant, limit_s, suites=LANDING):
    command = (PYTHON, "-B", "tests/run/meson_step.py", "build/" + variant)
    return Step("unit-" + variant, command, limit_s, suites, ("build-" + variant,))


def mounts(name, limit_s, suites=LANDING, folder="tests/integration"):
    """A program of tests on real daemons and real mounts; each prints its seed and its count."""
    return Step("mounts-" + name, (PYTHON, "-B", "%s/%s.py" % (folder, name)), limit_s, suites, ("build-rel",))


FUZZ = ("disk", "rpc", "parse", "lfs", "wire")


def fuzz(name, limit_s, suites, *args, programs=FUZZ):
    command = (PYTHON, "-B", "tests/fuzz/run_fuzz.py") + tuple("build/fuzz/tests/fuzz/fuzz_" + p for p in programs)
    return Step(name, command + args, limit_s, suites, ("build-fuzz",))


STEPS = (
    Step("gate-selftest", (PYTHON, "-B", "tools/gates/selftest/selftest.py"), 120),
    Step("driver-selftest", (PYTHON, "-B", "tests/run/selftest.py"), 120),
    gate("format"),
    gate("layering"),
    gate("limits"),
    gate("words"),
    gate("readme"),
    gate("shell"),
    gate("python"),
    gate("doc-commands", "--syntax"),
    build("rel", 600, ALWAYS),
    gate("headers-alone", needs=("build-rel",)),
    gate("syscalls", needs=("build-rel",)),
    gate("manuals", needs=("build-rel",)),
    unit("rel", 600, suites=ALWAYS),
    mounts("smoke", 90, ALWAYS),
    mounts("basics", 300),
    mounts("data", 600),
    mounts("permissions", 180),
    mounts("posix_diff", 420),
    mounts("coherence", 300),
    mounts("striping", 240),
    mounts("survival", 420),
    mounts("costs", 600),
    mounts("benches", 300),
    mounts("metrics", 180, ALWAYS),
    mounts("faults", 420),
    mounts("waiting", 400),
    mounts("powerloss", 420),
    mounts("killsteps", 420, frozenset((FULL,))),
    Step("mounts-killsteps-long", (PYTHON, "-B", "tests/integration/killsteps.py"), 3600, frozenset((LONG,)), ("build-rel",)),
    mounts("mistakes", 180),
    mounts("unprivileged", 300),
    mounts("documents", 600),
    mounts("apps", 720, folder="tests/apps"),
    mounts("databases", 420, folder="tests/apps"),
    mounts("workloads", 420, folder="tests/apps"),
    Step("sim", ("bash", "tools/dev/sim.sh", "--seeds", "1500", "--stats"), 400, frozenset((FULL,)), ("build-rel",)),
    Step("sim-long", ("bash", "tools/dev/sim.sh", "--seeds", "20000", "--stats"), 3600, frozenset((LONG,)), ("build-rel",)),
    build("asan", 600, ALWAYS),
    unit("asan", 600, suites=ALWAYS),
    build("clang", 600),
    unit("clang", 300),
    build("tsan", 600),
    unit("tsan", 600),
    build("fuzz", 600),
    fuzz("fuzz-canary", 120, LANDING, "--canary", "--runs", "200000", programs=("wire",)),
    fuzz("fuzz", 600, frozenset((FULL,)), "--runs", "100000"),
    fuzz("fuzz-long", 7200, frozenset((LONG,)), "--runs", "1000000"),
)
