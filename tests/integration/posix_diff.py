"""Corner cases of names, modes, owners, times, ACLs and flags: the same script on ext4 and on a mount gives the same lines."""

import os

import cluster
import lib

HERE = os.path.dirname(os.path.abspath(__file__))
LISTS = ("nameless", "acls", "acls_inherited", "flags")
IMAGE_BYTES = 256 << 20


def ext4(t):
    """A fresh ext4 of our own, so that it does not matter what the machine's disk is."""
    image, point = t.path("ext4.img"), t.path("local")
    with open(image, "wb") as file:
        file.truncate(IMAGE_BYTES)
    t.run("mkfs.ext4", "-q", "-F", "-b", "4096", "-O", "^has_journal", image)
    os.mkdir(point)
    t.run("mount", "-o", "loop,acl,user_xattr", image, point)
    t.cleanup(lambda: t.run("umount", point))
    os.chmod(point, 0o755)
    return point


def cases(t, folder, section, label):
    script = os.path.join(HERE, "posix_lists.py" if section in LISTS else "posix_cases.py")
    result = t.run("/usr/bin/python3", "-B", script, folder, section, check=False, limit_s=400)
    with open(t.path("%s.%s.txt" % (section, label)), "w", encoding="utf-8") as file:
        file.write(result.stdout)
    t.check(result.returncode == 0, "%s on %s: %s", section, label, lib.short(result.stderr))
    return result.stdout.split("\n")


def compare(t, section, local, mounted):
    """Line by line: the same calls were made in the same order."""
    wrong = ["ext4 %s | mount %s" % pair for pair in zip(local, mounted) if pair[0] != pair[1]]
    for line in wrong[:40]:
        t.say("%s", lib.short(line))
    t.check(not wrong, "%s: %d of %d lines differ; the first: %s", section, len(wrong), len(local), lib.short(wrong[0] if wrong else ""))
    t.equal(len(mounted), len(local), "lines of " + section)
    t.check(len(local) > 10, "%s printed only %d lines", section, len(local))


def differential(t, *sections):
    _, mount = cluster.started(t, osts=2)
    os.chmod(t.dir, 0o755)
    local = ext4(t)
    for section in sections:
        compare(t, section, cases(t, local, section, "ext4"), cases(t, mount.point, section, "mount"))


@lib.test(limit_s=420)
def paths(t):
    """Every call on every kind of path: slashes, dots, links, loops, long names."""
    differential(t, "paths")


@lib.test(limit_s=420)
def permissions(t):
    """Every call by everybody: modes, owners, sticky and set-gid directories, access(2)."""
    differential(t, "search", "chmods", "chowns", "sticky", "accesses")


@lib.test(limit_s=420)
def making(t):
    """Owner, group and mode of what is made; opening with every flag; set-id bits; files without a name."""
    differential(t, "creations", "opens", "set_ids", "nameless")


@lib.test(limit_s=420)
def names_and_times(t):
    """Renames of every type onto every type, links, what was removed, all time stamps."""
    differential(t, "renames", "links", "removed", "counts", "times", "utimes")


@lib.test(limit_s=240)
def lists_and_flags(t):
    """POSIX ACLs, their inheritance, chattr's flags."""
    differential(t, "acls", "acls_inherited", "flags")


lib.main(__doc__)
