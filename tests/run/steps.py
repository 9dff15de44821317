"""The steps of ./dev check, in the order they run: one table, read by check.py.

A step is a command with a time limit. Its suites say when it runs; `needs` names steps whose success it
depends on. It may end its output with "N passed, N failed, N skipped"; otherwise it counts as one case.
To add a step, add a row; to add a test program, add it to Meson: the unit steps run whatever Meson knows.

Meson tests in Meson's suite `slow` run in rel only, and not in --quick; all others run in every variant.
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
    unit("rel", 600, suites=ALWAYS),
    build("asan", 600, ALWAYS),
    unit("asan", 600, suites=ALWAYS),
    build("clang", 600),
    unit("clang", 300),
    build("tsan", 600),
    unit("tsan", 600),
    build("fuzz", 600),
)
