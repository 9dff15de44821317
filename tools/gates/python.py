"""Every Python file compiles without a warning under Debian's Python, pyflakes finds nothing, and it begins with a
sentence that says what it is."""

import ast
import subprocess
import sys
import warnings

import gatelib


def check_compile(gate, name):
    text = gate.read(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            compile(text, name, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, Warning) as error:
            gate.violation("%s:%s" % (name, getattr(error, "lineno", 0)), str(error))
            return
    if text.strip() and ast.get_docstring(ast.parse(text)) is None:
        gate.violation(name + ":1", "does not say what it is: a file opens with a docstring")


def check_flakes(gate, files):
    run = subprocess.run(["/usr/bin/python3", "-m", "pyflakes"] + files, cwd=gate.root, capture_output=True,
                         text=True, check=False)
    if "No module named pyflakes" in run.stderr:
        sys.exit("python: pyflakes is missing: ./dev deps check")
    for line in run.stdout.splitlines():
        where, _, text = line.partition(": ")
        gate.violation(where, text)


def main():
    gate = gatelib.Gate("python")
    files = gatelib.script_files(gate.root, ".py", r"^#!.*\bpython3?\b")
    gate.looked = len(files)
    for name in files:
        check_compile(gate, name)
    if files:
        check_flakes(gate, files)
    gate.finish()


main()
