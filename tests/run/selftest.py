"""Shows that the driver of ./dev check cannot be fooled: it is run with tables of steps that fail in every way.

The driver's files are copied into a temporary tree with a table of their own; each case gives steps, and what the
driver must answer. Mount tests happen in a private mount namespace.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import state

HERE = os.path.dirname(os.path.abspath(__file__))
TABLE = """
import dataclasses
QUICK, FULL, LONG = "quick", "full", "long"
SUITES = (QUICK, FULL, LONG)
@dataclasses.dataclass(frozen=True)
class Step:
    name: str
    command: tuple
    limit_s: int = 20
    suites: frozenset = frozenset(SUITES)
    needs: tuple = ()
STEPS = (%s,)
"""


def sh(name, script, more=""):
    return "Step(%r, ('bash', '-c', %r)%s)" % (name, script, more)


OK = sh("good", "echo fine")

# name, steps, options, environment, exit status, last line, what the output holds.
CASES = (
    ("one case each", [OK, sh("two", "true")], "", {}, 0, "3 passed, 0 failed, 0 skipped", "ok    good"),
    ("stated counts", [sh("many", "echo 5 passed, 0 failed, 0 skipped")], "", {}, 0,
     "6 passed, 0 failed, 0 skipped", "5 passed"),
    ("failure", [OK, sh("bad", "echo the reason; exit 3")], "", {}, 1, "2 passed, 1 failed, 0 skipped",
     "| the reason"),
    ("how to repeat it", [sh("bad", "false")], "", {"NACRE_SEED": "77"}, 1, "1 passed, 1 failed, 0 skipped",
     "again: NACRE_SEED=77 ./dev check --only bad"),
    ("nothing executed", [sh("empty", "echo 0 passed, 0 failed, 0 skipped")], "", {}, 1,
     "1 passed, 1 failed, 0 skipped", "it executed nothing"),
    ("status without a counted failure", [sh("liar", "echo 4 passed, 0 failed, 0 skipped; exit 1")], "", {}, 1,
     "5 passed, 1 failed, 0 skipped", "although it counted no failure"),
    ("counted failure without a status", [sh("liar", "echo 4 passed, 2 failed, 0 skipped")], "", {}, 1,
     "5 passed, 2 failed, 0 skipped", "although its exit status was 0"),
    ("time limit", [sh("slow", "echo 3 passed, 0 failed, 0 skipped; sleep 60", ", limit_s=1")], "", {}, 1,
     "4 passed, 1 failed, 0 skipped", "ran into its limit of 1 s"),
    ("detached process", [sh("leaky", "setsid sleep 61 >/dev/null & disown")], "", {}, 1,
     "2 passed, 1 failed, 0 skipped", "leaky: left behind: process"),
    ("daemon", [sh("leaky", "cp /bin/sleep nacred; setsid ./nacred 62 & disown")], "", {}, 1,
     "2 passed, 1 failed, 0 skipped", "./nacred 62"),
    ("mount", [sh("leaky", "mkdir m && mount -t tmpfs nacre-selftest m")], "", {}, 1,
     "2 passed, 1 failed, 0 skipped", "(tmpfs, id"),
    ("cannot be started", ["Step('gone', ('./no-such-program',))"], "", {}, 1, "1 passed, 1 failed, 0 skipped",
     "cannot be started"),
    ("needs", [sh("first", "false"), sh("second", "true", ", needs=('first',)")], "", {}, 1,
     "1 passed, 2 failed, 0 skipped", "it needs first, which failed"),
    ("only brings what it needs", [OK, sh("first", "true"), sh("second", "true", ", needs=('first',)")],
     "--only sec", {}, 0, "3 passed, 0 failed, 0 skipped", "only sec, 2 steps"),
    ("only of nothing", [OK], "--only other", {}, 1, None, "no step matches other"),
    ("suites", [OK, sh("big", "true", ", suites=frozenset((LONG,))")], "--quick", {}, 0,
     "2 passed, 0 failed, 0 skipped", "quick, 1 steps"),
    ("skips are free outside CI", [sh("some", "echo SKIP a.b: no disk; echo 1 passed, 0 failed, 1 skipped")], "", {}, 0,
     "2 passed, 0 failed, 1 skipped", "SKIP a.b: no disk"),
    ("skips in CI", [sh("some", "echo SKIP a.b: no disk; echo 1 passed, 0 failed, 1 skipped")], "", {"CI": "true"}, 1,
     "2 passed, 1 failed, 1 skipped", "not in tests/skips.txt: SKIP a.b: no disk"),
    ("listed skips in CI", [sh("some", "echo SKIP listed: yes; echo 1 passed, 0 failed, 1 skipped")], "",
     {"CI": "true", "SKIPS": "SKIP listed: yes\n"}, 0, "3 passed, 0 failed, 1 skipped", "ok    skips"),
    ("listed but not skipped in CI", [OK], "", {"CI": "true", "SKIPS": "SKIP listed: yes\n"}, 1,
     "2 passed, 1 failed, 0 skipped", "but not skipped: SKIP listed: yes"),
    ("silent skips in CI", [sh("some", "echo 1 passed, 0 failed, 1 skipped")], "", {"CI": "true"}, 1,
     "2 passed, 1 failed, 1 skipped", "1 skips without a line"),
    ("seed reaches the steps", [sh("seed", "test $NACRE_SEED = 255 -a $NACRE_SUITE = long")], "--long",
     {"NACRE_SEED": "0xff"}, 0, "2 passed, 0 failed, 0 skipped", "seed 255"),
    ("no standard input", [sh("input", "! read -r line")], "", {}, 0, "2 passed, 0 failed, 0 skipped", "ok    input"),
)


def tree_make(root, steps, skips):
    folder = os.path.join(root, "tests", "run")
    os.makedirs(folder)
    for name in ("check.py", "runner.py", "state.py"):
        shutil.copy(os.path.join(HERE, name), folder)
    with open(os.path.join(folder, "steps.py"), "w", encoding="utf-8") as file:
        file.write(TABLE % ", ".join(steps))
    with open(os.path.join(root, "tests", "skips.txt"), "w", encoding="utf-8") as file:
        file.write(skips)
    command = ["/usr/bin/python3", "-B", os.path.join(folder, "check.py")]
    return ["unshare", "--mount"] + ([] if os.getuid() == 0 else ["--map-root-user"]) + command


def environment(more):
    env = {k: v for k, v in os.environ.items() if k not in ("CI", "NACRE_SEED", "NACRE_SUITE")}
    env.update(more)
    return env


def case_run(case):
    """None, or what the driver did wrong."""
    _, steps, options, env, status, last, holds = case
    with tempfile.TemporaryDirectory() as root:
        command = tree_make(root, steps, env.get("SKIPS", ""))
        run = subprocess.run(command + options.split(), capture_output=True, text=True, env=environment(env),
                             cwd=root, check=False)
    output = run.stdout + run.stderr
    if run.returncode != status:
        return "exit status %d, not %d:\n%s" % (run.returncode, status, output)
    if last is not None and run.stdout.splitlines()[-1:] != [last]:
        return "last line is not '%s':\n%s" % (last, output)
    if holds not in output:
        return "does not say '%s':\n%s" % (holds, output)
    return None


def json_case():
    with tempfile.TemporaryDirectory() as root:
        command = tree_make(root, [OK, sh("bad", "false")], "")
        run = subprocess.run(command + ["--json"], capture_output=True, text=True, env=environment({}), check=False)
    facts = json.loads(run.stdout)
    right = (run.returncode, facts["passed"], facts["failed"]) == (1, 2, 1) and facts["steps"][1]["name"] == "bad"
    return None if right else "wrong report:\n" + run.stdout


def interrupt_case():
    """SIGINT ends the driver and the step that runs."""
    with tempfile.TemporaryDirectory() as root:
        mark = os.path.join(root, "started")
        command = tree_make(root, [sh("long", "echo $$ >%s; mv %s %s.pid; sleep 63" % (mark, mark, mark))], "")
        process = subprocess.Popen(command, env=environment({}), stdout=subprocess.PIPE, text=True)
        while not os.path.exists(mark + ".pid") and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=30)
        with open(mark + ".pid", encoding="utf-8") as file:
            pid = int(file.read())
    if process.returncode != 130:
        return "exit status %d after SIGINT:\n%s" % (process.returncode, output)
    return "the step still runs" if os.path.exists("/proc/%d" % pid) else None


def namespace_case():
    """A new network namespace is seen as long as a process holds it."""
    before = state.net_namespaces()
    option = [] if os.getuid() == 0 else ["--map-root-user"]
    process = subprocess.Popen(["unshare", "--net"] + option + ["sh", "-c", "echo there; exec sleep 64"],
                               stdout=subprocess.PIPE)
    process.stdout.readline()
    new = state.net_namespaces() - before
    process.kill()
    process.communicate()
    return None if new else "a network namespace was not seen"


def main():
    results = [(case[0], case_run(case)) for case in CASES]
    results += [(f.__name__, f()) for f in (json_case, interrupt_case, namespace_case)]
    problems = [(name, text) for name, text in results if text is not None]
    for name, text in problems:
        print("FAIL %s: %s" % (name, text))
    print("%d passed, %d failed, 0 skipped" % (len(results) - len(problems), len(problems)))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
