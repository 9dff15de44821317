"""The command blocks of the documentation are true: ```sh blocks are executed, ```text and others are not.

As a gate (--syntax) it reads every Markdown file's ```sh blocks with bash -n. As a program,

    doc_commands.py --run DIR [--env NAME=VALUE]... FILE.md...

runs the blocks of each file, in order and in one shell per file, in DIR, and ends with "N passed, N failed, N skipped",
one case per block. As a library: blocks(), run_file().

A shell stops at the first command that fails; blocks after it count as failed. Standard input is empty.
"""

import argparse
import dataclasses
import os
import re
import subprocess
import sys
import tempfile

import gatelib

FENCE = re.compile(r"^([ \t]*)```sh[ \t]*\n(.*?)^\1```[ \t]*$", re.MULTILINE | re.DOTALL)
LIMIT_S = 600


@dataclasses.dataclass(frozen=True)
class Block:
    file: str
    line: int
    text: str

    def where(self):
        return "%s:%d" % (self.file, self.line)


def blocks(name, text):
    """The ```sh blocks of a Markdown text; line is that of the block's first command."""
    found = []
    for match in FENCE.finditer(text):
        indent = len(match.group(1))
        lines = [line[indent:] if line[:indent].isspace() else line for line in match.group(2).split("\n")]
        found.append(Block(name, gatelib.line_of(text, match.start(2)), "\n".join(lines)))
    return found


def script(found, progress):
    """One bash program of all blocks, which writes the number of each finished block to `progress`."""
    parts = ["set -euo pipefail"]
    for number, block in enumerate(found):
        parts.append("echo '@@ %s'" % block.where())
        parts.append(block.text)
        parts.append("echo %d >'%s'" % (number + 1, progress))
    return "\n".join(parts) + "\n"


def run_file(name, text, cwd, env, limit_s=LIMIT_S):
    """Runs a file's blocks; returns (blocks, number that passed)."""
    found = blocks(name, text)
    if not found:
        return found, 0
    with tempfile.TemporaryDirectory() as folder:
        progress = os.path.join(folder, "progress")
        with open(os.path.join(folder, "blocks.sh"), "w", encoding="utf-8") as file:
            file.write(script(found, progress))
        try:
            subprocess.run(["bash", file.name], cwd=cwd, env=env, stdin=subprocess.DEVNULL,
                           stderr=subprocess.STDOUT, timeout=limit_s, check=False)
        except subprocess.TimeoutExpired:
            print("%s: its commands did not end within %d s" % (name, limit_s))
        if not os.path.exists(progress):
            return found, 0
        with open(progress, encoding="utf-8") as file:
            return found, int(file.read())


def syntax_gate():
    gate = gatelib.Gate("doc-commands", lambda p: p.add_argument("--syntax", action="store_true"))
    gate.what = "command blocks"
    for name in gatelib.tree_files(gate.root):
        if not name.endswith(".md"):
            continue
        for block in blocks(name, gate.read(name)):
            gate.looked += 1
            run = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True, check=False)
            if run.returncode != 0:
                gate.violation(block.where(), run.stderr.strip())
    gate.finish()


def main():
    if "--run" not in sys.argv:
        syntax_gate()
    parser = argparse.ArgumentParser(prog="tools/gates/doc_commands.py")
    parser.add_argument("--run", metavar="DIR", required=True)
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("files", nargs="+")
    args = parser.parse_args()
    env = dict(os.environ)
    env.update(pair.split("=", 1) for pair in args.env)
    passed = failed = 0
    for name in args.files:
        with open(name, encoding="utf-8") as file:
            found, good = run_file(name, file.read(), args.run, env)
        passed += good
        failed += len(found) - good
        if good < len(found):
            print("FAIL %s" % found[good].where())
    print("%d passed, %d failed, 0 skipped" % (passed, failed))
    sys.exit(1 if failed or not passed else 0)


if __name__ == "__main__":
    main()
