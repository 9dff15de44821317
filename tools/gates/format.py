"""Every C file is as clang-format 14 writes it. With --fix it is written so."""

import os
import subprocess
import sys

import gatelib

TOOL = "clang-format-14"
BATCH = 40


def extra(parser):
    parser.add_argument("--fix", action="store_true", help="format the files in place")


def batch_run(gate, files):
    mode = ["-i"] if gate.args.fix else ["--dry-run", "--Werror"]
    style = "--style=file:" + os.path.join(gatelib.ROOT, ".clang-format")
    command = [TOOL, style] + mode + files
    return subprocess.Popen(command, cwd=gate.root, stderr=subprocess.PIPE, text=True)


def main():
    gate = gatelib.Gate("format", extra)
    files = gatelib.c_files(gate.root)
    gate.looked = len(files)
    try:
        running = [batch_run(gate, files[i : i + BATCH]) for i in range(0, len(files), BATCH)]
    except FileNotFoundError:
        sys.exit("format: %s is missing: ./dev deps check" % TOOL)
    bad = set()
    for process in running:
        _, errors = process.communicate()
        for line in errors.splitlines():
            if "error:" in line or "[-Wclang-format-violations]" in line:
                bad.add(":".join(line.split(":")[:1]))
        if process.returncode != 0 and not bad:
            sys.exit("format: %s failed: %s" % (TOOL, errors))
    for name in sorted(bad):
        gate.violation(name, "not formatted: ./dev format")
    gate.finish()


main()
