"""Each header compiles alone, and twice in one file: it includes what it uses and has a guard.

Include paths and generated headers come from build/rel when it exists.
"""

import concurrent.futures
import json
import os
import shlex
import subprocess

import gatelib

FLAGS = ["-std=gnu17", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Wstrict-prototypes", "-Werror",
         "-Wno-unused-function", "-fsyntax-only", "-x", "c", "-"]


def include_paths(gate, build):
    """-I options of the build, absolute; at least src and include."""
    paths = [gate.path("src"), gate.path("include")]
    database = os.path.join(build, "compile_commands.json")
    if os.path.exists(database):
        with open(database, encoding="utf-8") as file:
            for entry in json.load(file):
                for word in shlex.split(entry["command"]):
                    if word.startswith("-I"):
                        path = os.path.normpath(os.path.join(entry["directory"], word[2:]))
                        # Private object folders of targets hold nothing; they would only make the line long.
                        if path not in paths and not path.endswith(".p"):
                            paths.append(path)
    return paths


def headers(gate, build):
    found = [gate.path(n) for n in gatelib.c_files(gate.root) if n.endswith(".h")]
    for folder, _, names in os.walk(build):
        if "meson-" not in folder:
            found += [os.path.join(folder, n) for n in names if n.endswith(".h")]
    return found


def compile_header(gate, options, header):
    """None, or what the compiler says."""
    program = '#include "%s"\n#include "%s"\n' % (header, header)
    command = ["gcc"] + options + FLAGS
    run = subprocess.run(command, input=program, capture_output=True, text=True, check=False, cwd=gate.root)
    return None if run.returncode == 0 else run.stderr.strip()


def main():
    gate = gatelib.Gate("headers-alone", lambda p: p.add_argument("--build", default="build/rel"))
    gate.what = "headers"
    build = gate.path(gate.args.build)
    options = ["-I" + path for path in include_paths(gate, build)]
    names = headers(gate, build)
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, errors in zip(names, pool.map(lambda n: compile_header(gate, options, n), names)):
            gate.looked += 1
            if errors is not None:
                gate.violation(os.path.relpath(name, gate.root), "does not compile alone:\n" + errors)
    gate.finish()


main()
