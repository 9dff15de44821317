"""Everyday system calls: the same script (posix_ops.py) runs on a local file system and on a mount; outputs are equal."""

import os

import cluster
import lib
from compare import compare

OPS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "posix_ops.py")
EVERY = ("opens", "data", "offsets", "sparse", "direct", "times", "modes", "names", "links", "renames", "unlinked",
         "special", "xattrs", "directories", "mappings", "programs", "locks", "syncs")
USER, GROUPS = 1234, (5678,)


def ops(t, folder, sections, label, uid=0):
    extra = {"preexec_fn": lib.drop_to(uid, groups=GROUPS)} if uid else {}
    result = t.run("/usr/bin/python3", "-B", OPS, folder, *sections, check=False, limit_s=200, **extra)
    text = result.stdout + ("exit status %d\n%s" % (result.returncode, result.stderr) if result.returncode else "")
    with open(t.path(label + ".txt"), "w", encoding="utf-8") as file:
        file.write(text)
    return text.split("\n")


def differential(t, sections, local, uid=0, **options):
    _, mount = cluster.started(t, **options)
    folder = mount / "ops"
    os.mkdir(folder)
    if uid:
        os.chown(folder, uid, uid)
        os.chown(local, uid, uid)
        # The user must be able to reach it.
        os.chmod(t.dir, 0o755)
    want = ops(t, local, sections, "local", uid)
    compare(t, want, ops(t, folder, sections, "mount", uid))


def local_dir(t):
    os.mkdir(t.path("local"))
    return t.path("local")


@lib.test(limit_s=120)
def as_root(t):
    """Every section as root gives what the local disk gives."""
    differential(t, EVERY, local_dir(t))


@lib.test(limit_s=120)
def as_user(t):
    """Every section as an ordinary user gives what the local disk gives."""
    differential(t, EVERY, local_dir(t), uid=USER)


@lib.test(limit_s=120)
def striped(t):
    """Data sections in a directory striped over all OSTs by 64 KiB."""
    _, mount = cluster.started(t)
    folder = mount / "ops"
    os.mkdir(folder)
    t.run("lfs", "setstripe", "-c", "-1", "-S", "64k", folder)
    sections = ("data", "offsets", "sparse", "direct", "unlinked", "mappings", "programs")
    want = ops(t, local_dir(t), sections, "local")
    compare(t, want, ops(t, folder, sections, "mount"))


@lib.test(limit_s=60)
def sizes_to_the_limit(t):
    """Sizes and offsets up to 2^63-1, as tmpfs has them."""
    local = local_dir(t)
    lib.mount("tmpfs", local, "tmpfs")
    t.cleanup(lambda: lib.umount(local))
    differential(t, ("big",), local)


@lib.test(limit_s=60)
def no_uring_too(t):
    """The same through /dev/fuse alone, without FUSE over io_uring."""
    running = cluster.Cluster(t)
    running.up()
    mount = running.mount(options=["no_uring"])
    sections = ("opens", "data", "renames", "unlinked", "directories")
    os.mkdir(mount / "ops")
    want = ops(t, local_dir(t), sections, "local")
    compare(t, want, ops(t, mount / "ops", sections, "mount"))


@lib.test(limit_s=60)
def permissions_of_files(t):
    """What an ordinary user with a supplementary group may do with files of several owners and modes."""
    _, mount = cluster.started(t)
    os.chmod(t.dir, 0o755)
    outputs = []
    for folder, label in ((local_dir(t), "local"), (mount.point, "mount")):
        ops(t, folder, ("access-prepare",), label + "-prepare")
        outputs.append(ops(t, folder, ("access",), label, USER))
    compare(t, *outputs)


lib.main(__doc__)
