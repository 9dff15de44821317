"""Words that stand for unfinished or foreign things: marks without an owner, commented-out code, words.txt.

A mark (see MARKS) is allowed only as MARK(owner) with the owner named in docs/roadmap.md. Commented-out code is a
comment most of whose lines have the shape of statements.
"""

import os
import re

import gatelib

WORDS = "tools/gates/words.txt"
NOT_SEARCHED = (WORDS, "tools/gates/selftest/", "LICENSE")
# Written in pieces, so that this file passes its own gate.
MARKS = re.compile(r"\b(TO" r"DO|FIX" r"ME|X" r"XX|HA" r"CK)\b(\((\w+)\))?")
BINARY = (".png", ".jpg", ".svg", ".gz", ".xz", ".bin", ".img")

C_STATEMENT = re.compile(
    r"""^(?:(?:return|goto)\b[^.]*;
       |(?:break|continue);
       |(?:if|for|while|switch)\s*\(.*\)\s*(?:\{|[^.]*;)$
       |(?:(?:struct|unsigned|const|static|u?int\d*_t|char|void|size_t|bool|int)\s[\w\s*]+(?:=.*|\[.*\])?;)$
       |[\w.\->\[\]]+\s*(?:[-+|&]?=)\s*[^=].*;$
       |[\w.\->]+\(.*\);$
       |\#\s*(?:include|define|ifdef|endif)\b
       |\}\s*(?:else\b.*)?\{?$)""", re.VERBOSE)
SCRIPT_STATEMENT = re.compile(
    r"""^(?:(?:import\s\w+|from\s\w+\simport\s.*|def\s\w+\(.*\):|return\s\w+\(.*\)|(?:if|for|while)\s[^.]*:)$
       |\w+\s=\s\w+\(.*\)$
       |(?:if|while)\s.*;\s(?:then|do)$
       |(?:fi|done|esac)$)""", re.VERBOSE)


def words_load(gate):
    path = os.path.join(gatelib.ROOT, WORDS)
    found = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            if line.strip() and not line.startswith("#"):
                expression, reason = line.rstrip("\n").split("\t")
                found.append((re.compile(expression), reason))
    if not found:
        gate.violation(WORDS, "lists nothing")
    return found


def c_comment_blocks(text):
    """Lists of (line number, text): one for each block comment, one for each run of one-line comments."""
    last_end, run = -1, []
    for offset, comment in gatelib.c_comments(text):
        first = gatelib.line_of(text, offset)
        body = re.sub(r"^/[*/]+|\*/$", "", comment)
        lines = [(first + i, line.strip().lstrip("*").strip()) for i, line in enumerate(body.split("\n"))]
        if first != last_end + 1 and run:
            yield run
            run = []
        run += lines
        last_end = lines[-1][0]
    if run:
        yield run


def script_comment_blocks(text):
    run = []
    for number, line in enumerate(text.split("\n") + [""], 1):
        if line.lstrip().startswith("#") and not line.startswith("#!"):
            run.append((number, line.strip().lstrip("#").strip()))
        elif run:
            yield run
            run = []


def check_commented_code(gate, name, text):
    """A comment that is code more than prose was code once; an example inside an explanation is welcome."""
    c_like = name.endswith((".c", ".h", ".def"))
    statement = C_STATEMENT if c_like else SCRIPT_STATEMENT
    for lines in c_comment_blocks(text) if c_like else script_comment_blocks(text):
        words = [(number, line) for number, line in lines if line]
        code = [(number, line) for number, line in words if statement.match(line)]
        if 2 * len(code) > len(words):
            gate.violation("%s:%d" % (name, code[0][0]), "commented-out code: " + code[0][1])
    if c_like:
        for match in re.finditer(r"^[ \t]*#[ \t]*if[ \t]+0\b", text, re.MULTILINE):
            gate.violation("%s:%d" % (name, gatelib.line_of(text, match.start())), "code that is switched off by #if 0")


def check_words(gate, name, text, words, owners):
    for number, line in enumerate(text.split("\n"), 1):
        for match in MARKS.finditer(line):
            if match.group(3) is None or match.group(3) not in owners:
                gate.violation("%s:%d" % (name, number), "%s without an owner of docs/roadmap.md" % match.group(1))
        for expression, reason in words:
            match = expression.search(line)
            if match:
                gate.violation("%s:%d" % (name, number), "'%s': %s" % (match.group(), reason))


def main():
    gate = gatelib.Gate("words")
    words = words_load(gate)
    roadmap = gate.path("docs/roadmap.md")
    owners = set(re.findall(r"\w+", gate.read("docs/roadmap.md"))) if os.path.exists(roadmap) else set()
    code = set(gatelib.script_files(gate.root, (".py", ".sh"), r"python|sh\b")) | set(gatelib.c_files(gate.root))
    for name in gatelib.tree_files(gate.root):
        if name.startswith(NOT_SEARCHED) or name.endswith(BINARY):
            continue
        text = gate.read(name)
        if "\0" in text:
            continue
        gate.looked += 1
        check_words(gate, name, text, words, owners)
        if name in code:
            check_commented_code(gate, name, text)
    gate.finish()


main()
