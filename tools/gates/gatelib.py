"""What the gates share: which files belong to the tree, how C looks without comments, and how a gate ends.

A gate is a script `tools/gates/NAME.py [--root DIR]`. It prints each violation as "FILE:LINE: what", then one line
with the number of files it looked at. No files, or one violation, is exit status 1.
"""

import argparse
import os
import re
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))

# Files of a pure module that are the real machine's side of a narrow interface whose other side is a model for the
# simulator; the gates `layering` and `syscalls` let them use the system. The simulator never calls them.
SYSTEM_SIDE = {
    "src/store/kv_lmdb.c": "the store on LMDB, which makes system calls itself",
    "src/store/kv_guard.c": "SIGBUS from LMDB's map fails one target, not the process",
    "src/client/lib/lib_call.c": "libnacre enters the reactor from the program's threads",
    "src/client/lib/lib_file.c": "libnacre speaks the C library's types",
    "src/client/lib/lib_int.h": "libnacre's background thread",
    "src/client/lib/lib_mount.c": "libnacre reads the key file and starts its thread",
    "src/client/lib/lib_name.c": "libnacre speaks the C library's types",
}


class Gate:
    def __init__(self, name, extra=None):
        parser = argparse.ArgumentParser(prog="tools/gates/%s.py" % name.replace("-", "_"))
        parser.add_argument("--root", default=ROOT, help="the tree to look at")
        if extra:
            extra(parser)
        self.name = name
        self.args = parser.parse_args()
        self.root = os.path.abspath(self.args.root)
        self.looked = 0
        self.what = "files"
        self.violations = 0

    def path(self, relative):
        return os.path.join(self.root, relative)

    def read(self, relative):
        with open(self.path(relative), encoding="utf-8", errors="replace") as file:
            return file.read()

    def violation(self, where, text):
        print("%s: %s" % (where, text))
        self.violations += 1

    def finish(self):
        """Prints the result and ends the program."""
        if self.looked == 0:
            print("%s: looked at no %s, which is a failure" % (self.name, self.what))
            sys.exit(1)
        print("%s: %d %s looked at, %d violations" % (self.name, self.looked, self.what, self.violations))
        sys.exit(1 if self.violations else 0)


def git_files(root):
    """Files git knows or would add, so that neither build products nor editor files count; None without git."""
    if not os.path.exists(os.path.join(root, ".git")):
        return None
    command = ["git", "-c", "safe.directory=*", "-C", root, "ls-files", "-z", "-co", "--exclude-standard"]
    try:
        out = subprocess.run(command, check=True, capture_output=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return [name.decode() for name in out.split(b"\0") if name]


def walk_files(root):
    found = []
    for folder, dirs, names in os.walk(root):
        dirs[:] = [d for d in dirs if d not in ("build", ".git", "__pycache__")]
        found += [os.path.relpath(os.path.join(folder, name), root) for name in names]
    return found


def tree_files(root):
    names = git_files(root)
    if names is None:
        names = walk_files(root)
    return sorted(n for n in names if os.path.isfile(os.path.join(root, n)))


def c_files(root, folders=("src", "include", "tests", "bench", "tools", "examples")):
    return [n for n in tree_files(root) if n.endswith((".c", ".h")) and n.split("/")[0] in folders]


def shebang(path):
    with open(path, "rb") as file:
        line = file.readline(200)
    return line.decode(errors="replace").strip() if line.startswith(b"#!") else ""


def script_files(root, suffix, pattern):
    """Files with a suffix or a first line that names the interpreter."""
    found = []
    for name in tree_files(root):
        if name.endswith(suffix) or re.search(pattern, shebang(os.path.join(root, name))):
            found.append(name)
    return found


def line_of(text, offset):
    return text.count("\n", 0, offset) + 1


TOKEN = re.compile(
    r"""//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'""", re.DOTALL)


def blank(text):
    """Spaces in place of everything but line ends, so that offsets stay what they were."""
    return re.sub(r"[^\n]", " ", text)


def c_comments(text):
    """(offset, comment) of each comment."""
    return [(m.start(), m.group()) for m in TOKEN.finditer(text) if m.group().startswith(("//", "/*"))]


def c_without_comments(text):
    """Comments and the contents of strings and characters blanked; same length, same lines."""

    def replace(match):
        token = match.group()
        if token.startswith(("//", "/*")):
            return blank(token)
        return token[0] + blank(token[1:-1]) + token[-1]

    return TOKEN.sub(replace, text)


def c_code(text):
    """The same without preprocessor directives."""
    directive = re.compile(r"^[ \t]*#(?:[^\n\\]|\\.|\\\n)*", re.MULTILINE)
    return directive.sub(lambda m: blank(m.group()), c_without_comments(text))
