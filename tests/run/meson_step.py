"""Runs the Meson tests of one build directory and counts their cases: tests/run/meson_step.py BUILD [meson options].

Which tests a variant runs:
  rel    all; in --quick not those of Meson's suite `slow`
  asan   all but `slow`
  clang  the unit tests: it is there for its warnings, and memory is asan's matter
  tsan   what has threads (THREADED): elsewhere there is one thread, and nothing to be found

A test program prints "ok NAME" for each case (tests/unit/test.h); one that prints none counts as one case. A
program that fails counts as one failure besides the cases that passed before it. The last line is the count.
"""

import json
import os
import re
import subprocess
import sys

# Meson's names. A name that Meson does not know fails the step.
THREADED = ("base_log", "base_alloc", "base_bufpool", "env reactor", "env net", "env file", "env spin", "env echo_posix",
            "rpc_posix", "store_kv", "store_state", "client libnacre")
PASSED = ("OK", "EXPECTEDFAIL")
SKIPPED = ("SKIP",)
SANITIZERS = {
    "ASAN_OPTIONS": "halt_on_error=1:abort_on_error=1:detect_leaks=1:detect_stack_use_after_return=0",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
}


def run_meson(build, options, log):
    """Returns Meson's exit status. Old results are removed first: they must not be read as ours."""
    if os.path.exists(log):
        os.unlink(log)
    command = ["/usr/bin/python3", "/usr/bin/meson", "test", "-C", build, "--no-rebuild",
               "--print-errorlogs"] + options
    if os.path.basename(build) in ("asan", "tsan"):
        command += ["--timeout-multiplier", "5"]
    if os.path.basename(build) == "tsan" and subprocess.call(["setarch", "-R", "true"]) == 0:
        # clang 14's ThreadSanitizer cannot place its shadow where newer kernels randomise more bits.
        command = ["setarch", "-R"] + command
    env = dict(os.environ)
    if env.get("NACRE_SUITE") == "long":
        env["NACRE_CRASH_LONG"] = "1"
    for name, value in SANITIZERS.items():
        env.setdefault(name, value)
    return subprocess.run(command, env=env, stdin=subprocess.DEVNULL, check=False).returncode


def selection(variant):
    """Meson's options for the tests of a variant."""
    if variant == "tsan":
        return list(THREADED)
    left_out = ["slow"] if variant != "rel" or os.environ.get("NACRE_SUITE") == "quick" else []
    if variant == "clang":
        left_out += ["crash", "fault", "fuzz"]
    return [word for suite in left_out for word in ("--no-suite", suite)]


def count(test):
    """(passed, failed, skipped) of one entry of testlog.json, and its SKIP lines."""
    out = test.get("stdout") or ""
    cases = len(re.findall(r"^ok \S", out, re.MULTILINE))
    skips = re.findall(r"^SKIP \S+: .+$", out, re.MULTILINE)
    if test["result"] in PASSED:
        return (cases or 1, 0, len(skips)), skips
    if test["result"] in SKIPPED:
        if not skips:
            skips = ["SKIP %s: the program said so without a reason" % test["name"].split()[-1]]
        return (cases, 0, len(skips)), skips
    return (cases, 1, len(skips)), skips


def main():
    if len(sys.argv) < 2:
        sys.exit("usage: meson_step.py BUILD [meson test options]")
    build, options = sys.argv[1], sys.argv[2:]
    options = selection(os.path.basename(build)) + options
    log = os.path.join(build, "meson-logs", "testlog.json")
    status = run_meson(build, options, log)
    tests = []
    if os.path.exists(log):
        with open(log, encoding="utf-8", errors="replace") as lines:
            tests = [json.loads(line) for line in lines if line.strip()]
    total = [0, 0, 0]
    for test in tests:
        numbers, skips = count(test)
        total = [a + b for a, b in zip(total, numbers)]
        for line in skips:
            print(line)
        if numbers[1]:
            print("FAIL %s: %s" % (test["name"], test["result"]))
    print("%d test programs in %s" % (len(tests), build))
    if status != 0 and total[1] == 0:
        print("meson test ended with status %d although no test failed" % status)
        total[1] = 1
    print("%d passed, %d failed, %d skipped" % tuple(total))
    return 1 if total[1] or not tests else 0


if __name__ == "__main__":
    sys.exit(main())
