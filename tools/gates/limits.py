"""Sizes: files at most 1,000 lines, functions at most 70, at most 6 parameters, blocks nested at most 4 deep.

Depth 4 is printed as a warning; 5 is an error. Python functions have the same length limit. What exceeds a limit
today must be listed in tools/gates/exceptions.txt as "KIND PLACE"; that list may only shrink: a line that git's HEAD does not
have, and a line that nothing needs any more, are errors.
"""

import ast
import re
import subprocess

import gatelib

FILE_LINES, FUNCTION_LINES, PARAMETERS, DEPTH = 1000, 70, 6, 4
EXCEPTIONS = "tools/gates/exceptions.txt"
# Functions whose parameters a library dictates.
DICTATED = {
    "src/monitor/http.c:request_take": "MHD_AccessHandlerCallback of libmicrohttpd",
}
WORD_BEFORE = re.compile(r"([A-Za-z_]\w*)\s*$")
ATTRIBUTES = re.compile(r"(?:\s|__attribute__\s*\(\(.*?\)\)|_\w+_)*$", re.DOTALL)


def matching_open(code, close):
    """Offset of the parenthesis that the one at `close` closes; -1 if there is none."""
    depth = 0
    for i in range(close, -1, -1):
        if code[i] == ")":
            depth += 1
        elif code[i] == "(":
            depth -= 1
            if depth == 0:
                return i
    return -1


def parameter_count(text):
    """Commas outside of brackets, plus one; nothing and void are none."""
    if text.strip() in ("", "void"):
        return 0
    depth, count = 0, 1
    for char in text:
        if char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == "," and depth == 0:
            count += 1
    return count


def function_head(code, start, brace):
    """(name, offset of the name, parameters) if the brace opens a function's body, else None."""
    head = code[start:brace]
    head = head[: ATTRIBUTES.search(head).start()] if ATTRIBUTES.search(head) else head
    close = len(head.rstrip()) - 1
    if close < 0 or head[close] != ")":
        return None
    opening = matching_open(head, close)
    word = WORD_BEFORE.search(head[:opening]) if opening > 0 else None
    if word is None:
        return None
    name = word.group(1)
    if name == "TEST" or name.isupper():
        name = "%s(%s)" % (name, head[opening + 1 : close].strip())
        return name, start + word.start(1), 0
    return name, start + word.start(1), parameter_count(head[opening + 1 : close])


def opens_block(code, brace):
    """Whether a brace inside a function opens a block, not an initialiser."""
    before = code[:brace].rstrip()
    if not before or before[-1] in ";{}:":
        return True
    if before[-1] == ")":
        opening = matching_open(before, len(before) - 1)
        if opening < 0:
            return False
        if before[:opening].rstrip().endswith("("):
            # A statement expression or a compound literal in parentheses.
            return False
        word = WORD_BEFORE.search(before[:opening])
        return word is not None and word.group(1) not in ("return", "sizeof")
    word = WORD_BEFORE.search(before)
    return word is not None and word.group(1) in ("else", "do")


def body_scan(code, brace):
    """(offset of the closing brace, deepest nesting of blocks) of a function's body."""
    kinds, deepest = [], 0
    for i in range(brace, len(code)):
        if code[i] == "{":
            kinds.append(i == brace or opens_block(code, i))
            deepest = max(deepest, sum(kinds) - 1)
        elif code[i] == "}":
            kinds.pop()
            if not kinds:
                return i, deepest
    return len(code) - 1, deepest


def c_functions(text):
    """(name, line, lines, parameters, depth) of every function defined in a C text."""
    code = gatelib.c_code(text)
    found, start, i = [], 0, 0
    while i < len(code):
        if code[i] in ";}":
            start = i + 1
        elif code[i] == "{":
            head = function_head(code, start, i)
            end, depth = body_scan(code, i)
            if head is not None:
                first = gatelib.line_of(code, head[1])
                found.append((head[0], first, gatelib.line_of(code, end) - first + 1, head[2], depth))
            i = end
            start = end + 1
        i += 1
    return found


def python_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node.name, node.lineno, node.end_lineno - node.lineno + 1, 0, 0


def findings(name, text):
    """("KIND PLACE", line, what) of each limit that is exceeded, and of warnings with a kind of None."""
    lines = text.count("\n")
    if lines > FILE_LINES:
        yield "file-lines " + name, 1, "%d lines; the limit is %d" % (lines, FILE_LINES)
    if name.endswith((".c", ".h")):
        functions = c_functions(text)
    elif name.endswith(".py"):
        functions = python_functions(text)
    else:
        return
    for function, line, length, parameters, depth in functions:
        place = "%s:%s" % (name, function)
        if length > FUNCTION_LINES:
            yield "function-lines " + place, line, "%s has %d lines; the limit is %d" % (
                function, length, FUNCTION_LINES)
        if parameters > PARAMETERS and place not in DICTATED:
            yield "parameters " + place, line, "%s has %d parameters; the limit is %d: use an options struct" % (
                function, parameters, PARAMETERS)
        if depth > DEPTH:
            yield "depth " + place, line, "%s nests blocks %d deep; the limit is %d" % (function, depth, DEPTH)
        elif depth == DEPTH:
            yield None, line, "%s nests blocks %d deep" % (function, depth)


def exceptions_parse(text):
    return {line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")}


def exceptions_at(gate, commit):
    """The exceptions of a commit; None if there is no such commit."""
    git = ["git", "-c", "safe.directory=*", "-C", gate.root]
    if subprocess.run(git + ["rev-parse", "-q", "--verify", commit + "^{commit}"],
                      capture_output=True, check=False).returncode != 0:
        return None
    run = subprocess.run(git + ["show", "%s:%s" % (commit, EXCEPTIONS)], capture_output=True, text=True, check=False)
    return exceptions_parse(run.stdout) if run.returncode == 0 else set()


def exceptions_only_shrink(gate, listed):
    """Against HEAD for what is not committed yet, and HEAD against its parent for what was just committed."""
    head, parent = exceptions_at(gate, "HEAD"), exceptions_at(gate, "HEAD^")
    for entry in sorted(listed - (head if head is not None else set())):
        gate.violation(EXCEPTIONS, "the list may only shrink; new: " + entry)
    if head is not None and parent is not None:
        for entry in sorted((head & listed) - parent):
            gate.violation(EXCEPTIONS, "the list may only shrink; new in the last commit: " + entry)


def main():
    gate = gatelib.Gate("limits")
    try:
        listed = exceptions_parse(gate.read(EXCEPTIONS))
    except FileNotFoundError:
        listed = set()
    needed = set()
    for name in gatelib.tree_files(gate.root):
        if not name.endswith((".c", ".h", ".py", ".sh", ".def")):
            continue
        gate.looked += 1
        for entry, line, what in findings(name, gate.read(name)):
            if entry is None:
                print("warning: %s:%d: %s" % (name, line, what))
            elif entry in listed:
                needed.add(entry)
            else:
                gate.violation("%s:%d" % (name, line), what)
    for entry in sorted(listed - needed):
        gate.violation(EXCEPTIONS, "nothing needs this line any more: " + entry)
    exceptions_only_shrink(gate, listed)
    gate.finish()


main()
