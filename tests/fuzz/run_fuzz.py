#!/usr/bin/python3
"""
Runs targets of a fuzz program (libFuzzer or the stand-in driver) and says what each run amounted to.

  run_fuzz.py PROGRAM [--runs N] [--seed N] [--targets PART] [--corpus DIR] [--canary]

Seeds are the golden bytes (proto/golden/TARGET.hex) and the committed inputs (tests/fuzz/corpus/TARGET/).
With --canary the one target is `canary`, and the run passes only if its planted bug is found.
--corpus keeps what libFuzzer finds in DIR/TARGET. A run over no targets has failed.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(os.path.dirname(os.path.dirname(HERE)), "proto", "golden")


def seeds(target, folder):
    """Puts the seed files of a target into a folder."""
    path = os.path.join(GOLDEN, f"{target}.hex")
    if os.path.exists(path):
        with open(path, encoding="ascii") as f:
            data = bytes.fromhex(f.read())
        with open(os.path.join(folder, "golden"), "wb") as f:
            f.write(data)


def run(args, target, runs):
    with tempfile.TemporaryDirectory() as scratch:
        corpus = os.path.join(args.corpus, target) if args.corpus else os.path.join(scratch, "corpus")
        os.makedirs(corpus, exist_ok=True)
        seeds(target, corpus)
        command = [os.path.abspath(args.program), f"--target={target}", f"-runs={runs}", f"-seed={args.seed}",
                   "-error_exitcode=1", "-close_fd_mask=0", os.path.abspath(corpus)]
        committed = os.path.join(HERE, "corpus", target)
        if os.path.isdir(committed):
            command.append(committed)
        done = subprocess.run(command, cwd=scratch, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              check=False)
        text = done.stdout.decode(errors="replace")
        if done.returncode and not args.canary:
            keep = os.path.join(tempfile.gettempdir(), f"nacre-fuzz-{target}")
            for name in os.listdir(scratch):
                if name.startswith("crash"):
                    os.replace(os.path.join(scratch, name), keep)
                    print(f"{target}: the input is in {keep}")
    count = max([int(n) for n in re.findall(r"^#(\d+)", text, re.M)] or [0])
    edges = re.findall(r"cov: (\d+)", text)
    return done.returncode, text, count, int(edges[-1]) if edges else None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("--runs", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--targets", default="")
    parser.add_argument("--corpus")
    parser.add_argument("--canary", action="store_true")
    args = parser.parse_args()
    if args.canary:
        code, text, _, _ = run(args, "canary", args.runs)
        found = code != 0 and "ASSERT" in text.upper()
        print(text if not found else f"canary: found within {args.runs} executions, seed {args.seed}")
        return 0 if found else 1
    listed = subprocess.run([args.program, "--list"], stdout=subprocess.PIPE, check=True).stdout.decode()
    targets = [t for t in listed.split() if args.targets in t]
    failed, total = 0, 0
    for target in targets:
        code, text, count, edges = run(args, target, args.runs)
        total += count
        print(f"{target}: {count} executions" + (f", {edges} edges" if edges is not None else ""), flush=True)
        if code != 0 or count < args.runs:
            print(text)
            failed += 1
    print(f"{len(targets)} targets, {total} executions, {failed} failed")
    return 1 if failed or not targets else 0


if __name__ == "__main__":
    sys.exit(main())
