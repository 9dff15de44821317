"""Every module of src/ has a README.md, and every relative link of every Markdown file leads somewhere.

A link's #anchor must be a heading of the file it points to. A module is a folder of src/ that holds code.
"""

import os
import re

import gatelib

LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
REFERENCE = re.compile(r"^\[[^\]]+\]:\s*(\S+)", re.MULTILINE)
README_LINES = 120


def prose(text):
    """Markdown without code blocks and code spans: what looks like a link there is none."""
    text = re.sub(r"^(```|~~~).*?^\1[^\n]*$", lambda m: gatelib.blank(m.group()), text,
                  flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"`[^`\n]*`", lambda m: gatelib.blank(m.group()), text)


def anchors(text):
    """The anchors of a file's headings, as forges make them."""
    found = set()
    for heading in re.findall(r"^#{1,6}\s+(.*)$", text, re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", heading.replace("`", "").strip().lower())
        found.add(plain.replace(" ", "-"))
    return found


def check_link(gate, name, line, link):
    if re.match(r"^[a-z][a-z0-9+.-]*:", link):
        return
    path, _, anchor = link.partition("#")
    target = os.path.normpath(os.path.join(os.path.dirname(name), path)) if path else name
    where = "%s:%d" % (name, line)
    if target.startswith("..") or not os.path.exists(gate.path(target)):
        gate.violation(where, "link to %s, which does not exist" % link)
    elif anchor and target.endswith(".md") and anchor not in anchors(gate.read(target)):
        gate.violation(where, "link to %s: no such heading" % link)


def check_modules(gate, files):
    modules = {n.split("/")[1] for n in files if n.startswith("src/") and n.endswith((".c", ".h"))
               and n.count("/") > 1}
    for module in sorted(modules):
        name = "src/%s/README.md" % module
        if name not in files:
            gate.violation("src/" + module, "has no README.md")
        elif gate.read(name).count("\n") > README_LINES:
            gate.violation(name, "is longer than one screen (%d lines)" % README_LINES)


def main():
    gate = gatelib.Gate("readme")
    gate.what = "Markdown files"
    files = gatelib.tree_files(gate.root)
    check_modules(gate, files)
    for name in files:
        if not name.endswith(".md"):
            continue
        gate.looked += 1
        text = prose(gate.read(name))
        for pattern in (LINK, REFERENCE):
            for match in pattern.finditer(text):
                check_link(gate, name, gatelib.line_of(text, match.start()), match.group(1))
    gate.finish()


main()
