"""What a test may leave behind on the machine: mounts, network namespaces, loop devices, daemons.

A State is a set of descriptions of each kind; the check compares two of them and names what is new.
Everything is read from /proc and /sys, so it needs no rights and no tools. What cannot be read (a process of another
user) is left out on both sides.
"""

import glob
import os
import time

DAEMONS = ("nacred", "nacre-fuse")


def mounts():
    found = set()
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            left, _, right = line.partition(" - ")
            fields, fs = left.split(), right.split()
            found.add("mount %s of %s (%s, id %s)" % (fields[4], fs[1], fs[0], fields[0]))
    return found


def net_namespaces():
    found = {"network namespace name %s" % os.path.basename(p) for p in glob.glob("/run/netns/*")}
    for path in glob.glob("/proc/[0-9]*/ns/net"):
        try:
            found.add("network namespace %s" % os.readlink(path))
        except OSError:
            continue
    return found


def loop_devices():
    found = set()
    for path in glob.glob("/sys/block/loop*/loop/backing_file"):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                found.add("loop device /dev/%s of %s" % (path.split("/")[3], file.read().strip()))
        except OSError:
            continue
    return found


def command_line(pid):
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            return file.read().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def stat_fields(pid):
    """Name, state and parent of a process; None when it is gone."""
    try:
        with open("/proc/%d/stat" % pid, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return None
    name = text[text.index("(") + 1 : text.rindex(")")]
    rest = text[text.rindex(")") + 2 :].split()
    return name, rest[0], int(rest[1])


def processes():
    """pid -> (name, parent) of everything alive; zombies are not."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = stat_fields(int(entry))
            if fields and fields[1] not in "ZX":
                found[int(entry)] = (fields[0], fields[2])
    return found


def daemons():
    return {
        "process %d %s" % (pid, command_line(pid) or name)
        for pid, (name, _) in processes().items()
        if name in DAEMONS
    }


def descendants(root):
    """The pids below `root`, which must be a subreaper for orphans to be found."""
    parents = {pid: parent for pid, (_, parent) in processes().items()}
    found = []
    for pid in parents:
        above = parents.get(pid)
        while above and above != root:
            above = parents.get(above)
        if above == root:
            found.append(pid)
    return found


def snapshot():
    return mounts() | net_namespaces() | loop_devices() | daemons()


def leftovers(before, patience_s):
    """What exists now and did not before. Things that are about to go get `patience_s` to do so."""
    end = time.monotonic() + patience_s
    while True:
        new = snapshot() - before
        if not new or time.monotonic() >= end:
            return sorted(new)
        time.sleep(0.05)
