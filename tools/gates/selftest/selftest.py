"""Shows that every gate can fail: violating samples must be refused with the right words, clean ones accepted, and a
tree without files refused. Each sample is a small tree in a temporary directory; the gates run as in the check.
"""

import json
import os
import subprocess
import sys
import tempfile

import samples

HERE = os.path.dirname(os.path.abspath(__file__))
GATES = os.path.dirname(HERE)
PYTHON = ["/usr/bin/python3", "-B"]


def tree_write(root, files):
    for name, text in files.items():
        path = os.path.join(root, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        if text.startswith("#!"):
            os.chmod(path, 0o755)


def git(root, *args):
    subprocess.run(["git", "-C", root, "-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
                   + list(args), check=True, capture_output=True)


def objects_build(root, files):
    """Compiles the .c files into build/rel with a compile_commands.json, as Meson would."""
    build = os.path.join(root, "build", "rel")
    os.makedirs(build)
    entries = []
    for number, name in enumerate(n for n in sorted(files) if n.endswith(".c")):
        output = "%d.o" % number
        subprocess.run(["gcc", "-c", "-I", os.path.join(root, "src"), os.path.join(root, name), "-o", output],
                       cwd=build, check=True)
        entries.append({"directory": build, "file": os.path.join("../..", name), "output": output, "command": ""})
    with open(os.path.join(build, "compile_commands.json"), "w", encoding="utf-8") as file:
        json.dump(entries, file)


def gate_run(sample):
    """(exit status, output) of the sample's gate on its tree."""
    with tempfile.TemporaryDirectory() as root:
        if sample.committed is not None:
            tree_write(root, sample.committed)
            git(root, "init", "-q")
            git(root, "add", ".")
            git(root, "commit", "-q", "-m", "first")
        tree_write(root, sample.files)
        if sample.gate == "syscalls":
            objects_build(root, sample.files)
        command = PYTHON + [os.path.join(GATES, sample.gate + ".py"), "--root", root] + list(sample.args)
        run = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
        return run.returncode, run.stdout + run.stderr


def verdict(sample):
    """None, or what is wrong with the gate."""
    status, output = gate_run(sample)
    if sample.expect is None:
        return None if status == 0 else "refused a clean sample:\n" + output
    if status == 0:
        return "accepted a violating sample:\n" + output
    if sample.expect not in output:
        return "failed for another reason than '%s':\n%s" % (sample.expect, output)
    return None


# Commands of a document, and what the runner must say: the second block needs the first, a failure stops the rest.
RUNS = (
    ("cd .; word=one", 'test "$word" = one', "2 passed, 0 failed, 0 skipped"),
    ("false | true", "true", "0 passed, 2 failed, 0 skipped"),
    ("true", "cat; exit 3", "1 passed, 1 failed, 0 skipped"),
)


def runs():
    """What is wrong with `doc_commands.py --run`."""
    problems = []
    for first, second, expect in RUNS:
        with tempfile.TemporaryDirectory() as root:
            name = os.path.join(root, "a.md")
            tree_write(root, {"a.md": samples.document(first, second)})
            command = PYTHON + [os.path.join(GATES, "doc_commands.py"), "--run", root, name]
            run = subprocess.run(command, capture_output=True, text=True, check=False)
            right = run.stdout.splitlines()[-1:] == [expect] and (run.returncode == 0) == (" 0 failed" in expect)
            if not right:
                problems.append("doc_commands --run: expected '%s':\n%s" % (expect, run.stdout + run.stderr))
    return problems


def coverage():
    """Every gate needs a sample it accepts, one it refuses, and an empty tree."""
    gates = {n[:-3] for n in os.listdir(GATES) if n.endswith(".py") and n != "gatelib.py"}
    missing = []
    for gate in sorted(gates):
        kinds = {(s.expect is None, "looked at no" in (s.expect or "")) for s in samples.SAMPLES if s.gate == gate}
        for kind, text in (((True, False), "clean"), ((False, False), "violating"), ((False, True), "empty")):
            if kind not in kinds:
                missing.append("gate %s has no %s sample" % (gate, text))
    return missing


def main():
    problems = coverage() + runs()
    passed = len(RUNS) if not problems else 0
    for sample in samples.SAMPLES:
        problem = verdict(sample)
        if problem is None:
            passed += 1
        else:
            problems.append("gate %s, sample '%s': %s" % (sample.gate, sample.name, problem))
    for problem in problems:
        print("FAIL " + problem)
    print("%d passed, %d failed, 0 skipped" % (passed, len(problems)))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
