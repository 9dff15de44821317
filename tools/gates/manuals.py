"""The manual pages: each program and command has one, groff renders it without a warning, and every option stands in both the
page and --help; every long option that the source of a verb of nacre takes stands in its --help (lfs also takes the words of
Lustre's tool for what it refuses).
"""

import os
import re
import subprocess
import sys
import tempfile

import gatelib

sys.path.insert(0, os.path.join(gatelib.ROOT, "tools", "man"))
import manpages  # noqa: E402  pylint: disable=wrong-import-position

LONG = re.compile(r'\{"([a-z][\w-]*)", (?:no|required|optional)_argument,')
# The other way to say what stands first anyway: nacre VERB DIR.
ALIASES = ("dir", "help")
RENDER = ["groff", "-man", "-Tascii", "-P-c", "-ww", "-rLL=200n"]


def rendered(gate, path):
    run = subprocess.run(RENDER + [path], capture_output=True, text=True, check=False)
    for line in (run.stderr or "").splitlines():
        gate.violation(os.path.basename(path), "groff: " + line)
    if run.returncode != 0 or not run.stdout.strip():
        gate.violation(os.path.basename(path), "is not rendered")
    return re.sub(r"\x1b\[[0-9;]*m|.\x08", "", run.stdout)


def options_compare(gate, page, text):
    said, shown = set(manpages.options_of(page.help)), set(manpages.options_of(text))
    for option in sorted(said - shown):
        gate.violation(page.file, "%s of --help is missing" % option)
    for option in sorted(shown - said):
        gate.violation(page.file, "%s is not in --help" % option)


def sources_compare(gate, pages):
    """Long options in the sources' tables."""
    helps = {page.name: page.help for page in pages}
    folder = gate.path("src/cli")
    for name in sorted(os.listdir(folder)):
        match = re.fullmatch(r"nacre_(\w+)\.c", name)
        text = helps.get("nacre-" + match.group(1).replace("_", "-")) if match else None
        if text is None:
            continue
        for option in LONG.findall(gate.read("src/cli/" + name)):
            if option not in ALIASES and "--" + option not in text:
                gate.violation("src/cli/" + name, "--%s is in no --help" % option)


def main():
    gate = gatelib.Gate("manuals", lambda p: p.add_argument("--bin", default="build/bin"))
    gate.what = "pages"
    if not os.path.isdir(gate.path(gate.args.bin)):
        gate.finish()
    pages = manpages.pages(gate.path(gate.args.bin))
    with tempfile.TemporaryDirectory() as folder:
        for page in pages:
            gate.looked += 1
            path = os.path.join(folder, os.path.basename(page.file))
            with open(path, "w", encoding="utf-8") as file:
                file.write(manpages.page_text(page))
            options_compare(gate, page, rendered(gate, path))
        path = os.path.join(folder, "nacred.yaml.5")
        with open(path, "w", encoding="utf-8") as file:
            file.write(manpages.yaml_text())
        text = " ".join(rendered(gate, path).split())
        for key in re.findall(r"^\| `([\w.\[\]]+)` \|", gate.read("docs/configuration.md"), re.M):
            if key + " (" not in text:
                gate.violation("nacred.yaml.5", "key %s is missing" % key)
    sources_compare(gate, pages)
    gate.finish()


main()
