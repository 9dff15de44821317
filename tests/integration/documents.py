"""The documentation is true: its command blocks run as they stand, and ./dev quickstart does what the README promises.

Everything happens in the tree itself, in this program's own mount and pid namespaces.
"""

import glob
import os
import re
import shutil

import lib

RUNNER = os.path.join(lib.ROOT, "tools", "gates", "doc_commands.py")


def documents():
    names = ["README.md", "CONTRIBUTING.md"] + [os.path.relpath(p, lib.ROOT) for p in
                                               glob.glob(os.path.join(lib.ROOT, "docs", "*.md"))]
    for name in sorted(names):
        with open(os.path.join(lib.ROOT, name), encoding="utf-8") as file:
            text = file.read()
        if re.search(r"^\s*```sh\s*$", text, re.M):
            yield name, text


@lib.test(limit_s=400)
def command_blocks(t):
    """Every ```sh block of README, CONTRIBUTING and docs/ runs in the tree and leaves no process and no mount."""
    found = list(documents())
    t.check(len(found) >= 3, "only %d documents have command blocks", len(found))
    for name, text in found:
        for place in set(re.findall(r"build/\w*demo\w*", text)):
            shutil.rmtree(os.path.join(lib.ROOT, place), ignore_errors=True)
        t.run("/usr/bin/python3", "-B", RUNNER, "--run", lib.ROOT, os.path.join(lib.ROOT, name), limit_s=390, cwd=lib.ROOT)
        t.equal(lib.mount_points(os.path.join(lib.ROOT, "build")),
                [p for p in lib.mount_points(os.path.join(lib.ROOT, "build")) if p.startswith(lib.SCRATCH)],
                "mounts after the commands of " + name)
        t.check(not [l for l in lib.processes().values() if "nacre" in l.split(" ")[0]], "daemons after the commands of %s", name)


@lib.test(limit_s=400)
def quickstart(t):
    """./dev quickstart, twice: each step speaks, the tree is equal, the way to stop it works."""
    place = t.path("quickstart")
    for number in range(2):
        text = t.out(os.path.join(lib.ROOT, "dev"), "quickstart", place, limit_s=390, cwd=lib.ROOT)
        for words in (r"\[6/6\]", "all equal", r"written with fsync at \d+ MiB/s", "nacre down", r"OST0003", "^mount -t nacre"):
            t.check(re.search(words, text, re.M), "run %d does not say %s", number + 1, words)
        t.check(os.path.ismount(os.path.join(place, "mnt")), "it is not mounted")
    command = re.search(r"^  (build/bin/nacre down .*)$", text, re.M).group(1)
    t.run("sh", "-c", command, cwd=lib.ROOT)
    t.check(not os.path.ismount(os.path.join(place, "mnt")), "it is mounted after the command that stops it")


lib.main(__doc__)
