"""Compares the printed lines of a script that ran on a local file system and on a mount."""

import difflib

import lib


def context_of(lines, number):
    """The section a line belongs to, for people."""
    for line in reversed(lines[:number]):
        if line.startswith("== "):
            return line[3:]
    return "?"


def compare(t, local, mounted):
    if local == mounted:
        t.check(len(local) > 10, "the script printed only %d lines", len(local))
        return
    wrong = []
    for tag, at, end, low, high in difflib.SequenceMatcher(None, local, mounted, False).get_opcodes():
        if tag != "equal":
            wrong.append("%s: local %s, mount %s" % (context_of(local, at), local[at:end], mounted[low:high]))
    for line in wrong[:60]:
        t.say("%s", lib.short(line))
    raise lib.Failure("%d differences; the first: %s" % (len(wrong), lib.short(wrong[0])))
