"""shellcheck has nothing to say about any shell script."""

import subprocess
import sys

import gatelib


def main():
    gate = gatelib.Gate("shell")
    files = gatelib.script_files(gate.root, (".sh", ".bash"), r"^#!.*\b(ba|da)?sh\b")
    gate.looked = len(files)
    if files:
        try:
            run = subprocess.run(["shellcheck", "-x", "-f", "gcc"] + files, cwd=gate.root, capture_output=True,
                                 text=True, check=False)
        except FileNotFoundError:
            sys.exit("shell: shellcheck is missing: ./dev deps check")
        if run.returncode > 1:
            sys.exit("shell: shellcheck failed: " + run.stderr)
        for line in run.stdout.splitlines():
            where, _, text = line.partition(": ")
            gate.violation(where, text)
    gate.finish()


main()
