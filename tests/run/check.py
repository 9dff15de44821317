"""The driver of ./dev check: picks steps, runs them in order, shows progress, sums up.

Invariants: the last line on stdout is "N passed, N failed, N skipped" (with --json: one JSON object); the exit
status is 0 only if nothing failed and something ran; two checks of one tree never run at once; no
step reads the terminal. Options and the meaning of the suites: tools/dev/check.sh. Steps: steps.py.
"""

import argparse
import dataclasses
import fcntl
import fnmatch
import json
import os
import random
import signal
import sys
import time

import runner
import state
import steps as table

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
LOGS = os.path.join(ROOT, "build", "check")
TAIL_LINES = 30


class Screen:
    """Progress: on a terminal one live line for the running step; in a log one line per finished step."""

    def __init__(self, stream):
        self.stream = stream
        self.live = stream.isatty()

    def line(self, text):
        self.stream.write(("\r\x1b[K" if self.live else "") + text + "\n")
        self.stream.flush()

    def started(self, step):
        if self.live:
            self.stream.write("\r\x1b[K  ...   %s (limit %d s)" % (step.name, step.limit_s))
            self.stream.flush()

    def heartbeat(self, step, seconds):
        self.line("  ...   %-22s %7.0f s, going on" % (step.name, seconds))
        self.started(step)

    def finished(self, result):
        verdict = "ok" if result.ok() else "FAIL"
        counts = "%d passed" % result.passed
        if result.failed:
            counts += ", %d failed" % result.failed
        if result.skipped:
            counts += ", %d skipped" % result.skipped
        self.line("  %-5s %-22s %7.1f s  %s" % (verdict, result.name, result.seconds, counts))

    def failure(self, result, seed):
        for problem in result.problems:
            self.line("        %s: %s" % (result.name, problem))
        for text in tail(result.log):
            self.line("        | " + text)
        if result.log:
            self.line("        log: %s" % os.path.relpath(result.log, ROOT))
            self.line("        again: NACRE_SEED=%d ./dev check --only %s" % (seed, result.name))


def tail(path):
    if not path or not os.path.exists(path):
        return []
    with open(path, encoding="utf-8", errors="replace") as file:
        return [line.rstrip() for line in file.readlines()[-TAIL_LINES:]]


def arguments():
    parser = argparse.ArgumentParser(prog="./dev check", description=__doc__.splitlines()[0])
    suite = parser.add_mutually_exclusive_group()
    suite.add_argument("--quick", action="store_const", const=table.QUICK, dest="suite")
    suite.add_argument("--long", action="store_const", const=table.LONG, dest="suite")
    parser.add_argument("--only", action="append", default=[], metavar="PATTERN")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--json", action="store_true")
    parser.set_defaults(suite=table.FULL)
    return parser.parse_args()


def matches(name, pattern):
    return name == pattern or fnmatch.fnmatchcase(name, pattern)


def select(suite, patterns):
    """The steps of a suite; with patterns those that match, of any suite, and what they need."""
    if not patterns:
        return [s for s in table.STEPS if suite in s.suites]
    chosen = set()
    for pattern in patterns:
        hits = [s.name for s in table.STEPS if matches(s.name, pattern)]
        # A whole name or a shell pattern first; a part of a name only if that finds nothing.
        chosen.update(hits or [s.name for s in table.STEPS if pattern in s.name])
    by_name = {s.name: s for s in table.STEPS}
    queue = list(chosen)
    while queue:
        for need in by_name[queue.pop()].needs:
            if need not in chosen:
                chosen.add(need)
                queue.append(need)
    return [s for s in table.STEPS if s.name in chosen]


def seed_choose():
    text = os.environ.get("NACRE_SEED", "")
    if not text:
        return random.SystemRandom().randrange(1 << 48)
    try:
        return int(text, 0)
    except ValueError:
        sys.exit("check: NACRE_SEED is not a number: " + text)


def environment(suite, seed):
    env = dict(os.environ)
    env.update(LC_ALL="C.UTF-8", NACRE_SEED=str(seed), NACRE_SUITE=suite, PYTHONDONTWRITEBYTECODE="1")
    return env


def step_run(step, failed, env, screen):
    """Runs a step, or says why it cannot run."""
    broken = [need for need in step.needs if need in failed]
    if broken:
        result = runner.Result(step.name, failed=1)
        result.problem("not run: it needs %s, which failed" % ", ".join(broken))
        return result
    screen.started(step)
    log = os.path.join(LOGS, step.name + ".log")
    return runner.run(step, log, env, ROOT, lambda seconds: screen.heartbeat(step, seconds))


def skips_check(results, whole):
    """In CI the skips are exactly those of tests/skips.txt; None where that is not asked."""
    if os.environ.get("CI") != "true":
        return None
    found = {line for r in results for line in r.skips}
    with open(os.path.join(ROOT, "tests", "skips.txt"), encoding="utf-8") as file:
        wanted = {line.rstrip("\n") for line in file if line.strip()}
    result = runner.Result("skips")
    for line in sorted(found - wanted):
        result.problem("skipped, but not in tests/skips.txt: " + line)
    if whole:
        for line in sorted(wanted - found):
            result.problem("in tests/skips.txt, but not skipped: " + line)
    silent = sum(r.skipped for r in results) - sum(len(r.skips) for r in results)
    if silent > 0:
        result.problem("%d skips without a line `SKIP name: reason`" % silent)
    result.failed = len(result.problems)
    result.passed = 0 if result.failed else 1
    return result


def state_check(before, results):
    """The machine after everything is as it was before; what a step was already blamed for is not said twice."""
    said = {p for r in results for p in r.problems}
    result = runner.Result("machine-state")
    for text in state.leftovers(before, runner.PATIENCE_S):
        if "left behind: " + text not in said:
            result.problem("left behind: " + text)
    result.failed = len(result.problems)
    result.passed = 0 if result.failed else 1
    return result


def steps_run(chosen, env, seed, screen):
    results, failed = [], set()
    for step in chosen:
        result = step_run(step, failed, env, screen)
        screen.finished(result)
        if not result.ok():
            failed.add(step.name)
            screen.failure(result, seed)
        results.append(result)
    return results


def lock_take():
    os.makedirs(LOGS, exist_ok=True)
    lock = open(os.path.join(LOGS, ".lock"), "w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("check: another ./dev check of this tree is running")
    return lock


def report(results, args, seed, seconds, screen):
    total = tuple(sum(getattr(r, k) for r in results) for k in ("passed", "failed", "skipped"))
    facts = {"suite": args.suite, "only": args.only, "seed": seed, "seconds": round(seconds, 1),
             "passed": total[0], "failed": total[1], "skipped": total[2],
             "steps": [dataclasses.asdict(r) for r in results]}
    with open(os.path.join(LOGS, "report.json"), "w", encoding="utf-8") as file:
        json.dump(facts, file, indent=1)
    for line in sorted({line for r in results for line in r.skips}):
        screen.line("  " + line)
    bad = [r.name for r in results if not r.ok()]
    if bad:
        screen.line("failed: " + " ".join(bad))
    screen.line("seed %d, %.0f s" % (seed, seconds))
    if args.json:
        print(json.dumps(facts, indent=1))
    else:
        print("%d passed, %d failed, %d skipped" % total, flush=True)
    return 1 if total[1] or total[0] == 0 else 0


def check(args, chosen, screen):
    seed = seed_choose()
    lock = lock_take()
    runner.become_subreaper()
    start = time.monotonic()
    before = state.snapshot()
    screen.line("check: %s, %d steps, seed %d" % (
        "only " + " ".join(args.only) if args.only else args.suite, len(chosen), seed))
    results = steps_run(chosen, environment(args.suite, seed), seed, screen)
    for result in (skips_check(results, not args.only), state_check(before, results)):
        if result is not None:
            results.append(result)
            screen.finished(result)
            if not result.ok():
                screen.failure(result, seed)
    lock.close()
    return report(results, args, seed, time.monotonic() - start, screen)


def main():
    args = arguments()
    chosen = select(args.suite, args.only)
    if args.list:
        for step in chosen:
            print("%-22s %5d s  %s" % (step.name, step.limit_s, ",".join(
                s for s in table.SUITES if s in step.suites)))
        return 0
    if not chosen:
        names = " ".join(s.name for s in table.STEPS)
        sys.exit("check: no step matches %s; there are: %s" % (" ".join(args.only), names))
    screen = Screen(sys.stderr if args.json else sys.stdout)
    # A job in the background of a shell is born with SIGINT ignored: both mean "stop" here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return check(args, chosen, screen)
    except KeyboardInterrupt:
        screen.line("check: interrupted")
        return 130


if __name__ == "__main__":
    sys.exit(main())
