#!/usr/bin/python3
"""
Runs targets of fuzz programs (libFuzzer or the stand-in driver) and says what each run amounted to.

  run_fuzz.py PROGRAM... [--runs N | --seconds N] [--floor N] [--jobs N] [--seed N] [--targets PART] [--corpus DIR]
  run_fuzz.py PROGRAM --canary [--runs N]
  run_fuzz.py PROGRAM --seeds-check | --seeds-write

Seeds are the golden bytes (proto/golden/TARGET.hex) and the committed inputs (tests/fuzz/corpus/TARGET/): those a
program writes itself (--seeds-write; --seeds-check compares) and inputs that once failed.

--runs executes each target so often, but slow targets (the table SLOW says why) as often as the table says;
--seconds runs each that long. A target that stays below its floor (--floor, default: --runs) has failed, and so has a
run over no targets. --jobs runs so many targets at a time (default: one per CPU). --canary: the one target is `canary`,
and the run passes only if its planted bug is found. --corpus keeps what libFuzzer finds in DIR/TARGET. The last line
is "N passed, N failed, 0 skipped".
"""

import argparse
import concurrent.futures
import filecmp
import os
import re
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(os.path.dirname(os.path.dirname(HERE)), "proto", "golden")
CORPUS = os.path.join(HERE, "corpus")

# Targets that cannot reach the floor within the check's budget: divisor of --runs, and why.
SLOW = {
    "recover": (100, "it recovers a whole store twice, 30 a second"),
    "wal": (20, "it opens a log twice, 200 a second"),
    "rpc_insider": (10, "it runs the services of a node, 500 a second"),
    "rpc_stranger": (4, "two connections to a node, 1,000 a second"),
}


def golden_seed(target, folder):
    """Puts the golden bytes of a target into a folder."""
    path = os.path.join(GOLDEN, f"{target}.hex")
    if os.path.exists(path):
        with open(path, encoding="ascii") as f:
            data = bytes.fromhex(f.read())
        with open(os.path.join(folder, "golden"), "wb") as f:
            f.write(data)


def keep_input(target, scratch):
    """The input that failed, out of the scratch folder; None when there is none."""
    for name in os.listdir(scratch):
        if name.startswith(("crash", "leak", "timeout", "oom")):
            kept = os.path.join(tempfile.gettempdir(), f"nacre-fuzz-{target}")
            os.replace(os.path.join(scratch, name), kept)
            return kept
    return None


class Outcome:
    """What a run of one target amounted to."""

    def __init__(self, target, floor):
        self.target, self.floor = target, floor
        self.code, self.text, self.count, self.edges, self.seconds, self.kept = 1, "", 0, None, 0.0, None

    def ok(self):
        return self.code == 0 and self.count >= self.floor

    def line(self):
        text = f"{self.target}: {self.count} executions"
        if self.edges is not None:
            text += f", {self.edges} edges"
        if self.target in SLOW and self.floor:
            text += f" (floor {self.floor}: {SLOW[self.target][1]})"
        return text + f", {self.seconds:.1f} s"


def environment():
    env = dict(os.environ)
    env.setdefault("ASAN_OPTIONS", "detect_stack_use_after_return=0")
    env.setdefault("UBSAN_OPTIONS", "print_stacktrace=1")
    return env


def run(args, program, target):
    divisor = SLOW[target][0] if target in SLOW else 1
    runs = max(1, args.runs // divisor)
    outcome = Outcome(target, min(args.floor // divisor, runs))
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        corpus = os.path.join(args.corpus, target) if args.corpus else os.path.join(scratch, "corpus")
        os.makedirs(corpus, exist_ok=True)
        golden_seed(target, corpus)
        limit = f"-max_total_time={args.seconds}" if args.seconds else f"-runs={runs}"
        command = [os.path.abspath(program), f"--target={target}", limit, f"-seed={args.seed}", "-timeout=60",
                   "-rss_limit_mb=4096", "-error_exitcode=1", "-close_fd_mask=0", os.path.abspath(corpus)]
        committed = os.path.join(CORPUS, target)
        if os.path.isdir(committed):
            command.append(committed)
        done = subprocess.run(command, cwd=scratch, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              env=environment(), check=False)
        outcome.code = done.returncode
        outcome.text = done.stdout.decode(errors="replace")
        if outcome.code:
            outcome.kept = keep_input(target, scratch)
    outcome.seconds = time.monotonic() - start
    outcome.count = max([int(n) for n in re.findall(r"^#(\d+)", outcome.text, re.M)] or [0])
    edges = re.findall(r"cov: (\d+)", outcome.text)
    outcome.edges = int(edges[-1]) if edges else None
    return outcome


def run_all(args, targets):
    """Runs them, the slow ones first so that they do not stand alone at the end."""
    ordered = sorted(targets, key=lambda pair: pair[1] not in SLOW)
    total, failed = 0, 0
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        futures = [pool.submit(run, args, program, target) for program, target in ordered]
        for future in concurrent.futures.as_completed(futures):
            outcome = future.result()
            total += outcome.count
            print(outcome.line(), flush=True)
            if not outcome.ok():
                failed += 1
                print(outcome.text[-8000:])
                print(f"FAIL {outcome.target}: " + (f"the input is {outcome.kept}" if outcome.kept else "no input"))
    print(f"{len(targets)} targets, {total} executions, {failed} failed")
    print(f"{len(targets) - failed} passed, {failed} failed, 0 skipped")
    return 1 if failed or not targets else 0


def canary(args):
    outcome = run(args, args.program[0], "canary")
    found = outcome.code != 0 and "ASSERT" in outcome.text.upper()
    print(f"canary: found within {args.runs} executions, seed {args.seed}" if found else outcome.text)
    return 0 if found else 1


def seeds_write(program, folder):
    subprocess.run([program, f"--seeds={folder}"], env=environment(), check=True)


def seeds_check(program):
    """The committed seeds are what the program writes."""
    wrong, count = [], 0
    with tempfile.TemporaryDirectory() as folder:
        seeds_write(program, folder)
        for target in sorted(os.listdir(folder)):
            for name in sorted(os.listdir(os.path.join(folder, target))):
                committed = os.path.join(CORPUS, target, name)
                count += 1
                if not os.path.exists(committed) or not filecmp.cmp(
                        committed, os.path.join(folder, target, name), shallow=False):
                    wrong.append(f"{target}/{name}")
    if wrong:
        print("stale in tests/fuzz/corpus (run_fuzz.py PROGRAM --seeds-write): " + " ".join(wrong))
    print(f"{count} seeds, {len(wrong)} stale")
    return 1 if wrong or not count else 0


def listed(program, part):
    text = subprocess.run([program, "--list"], stdout=subprocess.PIPE, check=True).stdout.decode()
    return [(program, target) for target in text.split() if part in target]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("program", nargs="+")
    parser.add_argument("--runs", type=int, default=100000)
    parser.add_argument("--seconds", type=int, default=0)
    parser.add_argument("--floor", type=int)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--targets", default="")
    parser.add_argument("--corpus")
    parser.add_argument("--canary", action="store_true")
    parser.add_argument("--seeds-check", action="store_true")
    parser.add_argument("--seeds-write", action="store_true")
    args = parser.parse_args()
    if args.floor is None:
        args.floor = 1 if args.seconds else args.runs
    return args


def main():
    args = arguments()
    if args.canary:
        return canary(args)
    if args.seeds_write:
        seeds_write(args.program[0], CORPUS)
        return 0
    if args.seeds_check:
        return seeds_check(args.program[0])
    return run_all(args, [pair for program in args.program for pair in listed(program, args.targets)])


if __name__ == "__main__":
    sys.exit(main())
