"""Striping: layouts set and read by lfs and as xattrs, inherited, placed, pooled; bytes around every border."""

import errno
import os
import re
import struct

import cluster
import lib
import load

LOV_V1, LOV_V3 = 0x0BD10BD0, 0x0BD30BD0
KIB, MIB = 1 << 10, 1 << 20


def lov(path):
    """lustre.lov decoded as Lustre's lov_user_md: a dictionary."""
    raw = os.getxattr(path, "lustre.lov")
    magic, pattern, oid, seq, size, count, gen = struct.unpack_from("<IIQQIHH", raw)
    if magic not in (LOV_V1, LOV_V3):
        raise lib.Failure("magic %x" % magic)
    at, pool = 32, ""
    if magic == LOV_V3:
        pool = raw[32:48].split(b"\0")[0].decode()
        at = 48
    osts = []
    objects = (len(raw) - at) // 24
    for number in range(objects):
        objid, group, ost_gen, ost = struct.unpack_from("<QQII", raw, at + 24 * number)
        osts.append(ost)
        if ost_gen != 0 or (objid == 0 and group == 0):
            raise lib.Failure("object %d: %s" % (number, (objid, group, ost_gen, ost)))
    return {"magic": magic, "pattern": pattern, "size": size, "count": count, "gen": gen, "pool": pool, "osts": osts}


def lov_make(size=0, count=0, first=0xFFFF, pool=None, pattern=1):
    raw = struct.pack("<IIQQIHH", LOV_V1 if pool is None else LOV_V3, pattern, 0, 0, size, count, first)
    return raw if pool is None else raw + pool.encode().ljust(16, b"\0")


def value(t, option, path):
    return t.out("lfs", "getstripe", option, path).strip()


@lib.test(limit_s=60)
def setstripe_and_getstripe(t):
    """What lfs setstripe sets is what lfs getstripe, lustre.lov and the objects of a written file show."""
    _, mount = cluster.started(t)
    for number, (options, count, size, first) in enumerate((
            (("-c", "2"), 2, 4 * MIB, None), (("-c", "-1", "-S", "64k"), 4, 64 * KIB, None),
            (("-c", "3", "-S", "1M", "-i", "2"), 3, MIB, 2), (("-S", "128k"), 1, 128 * KIB, None),
            (("-c", "1", "-i", "3"), 1, 4 * MIB, 3), (("-o", "3,1"), 2, 4 * MIB, 3), (("-C", "9", "-S", "64k"), 9, 64 * KIB, None),
            (("-S", "4194240k", "-c", "2"), 2, 4194240 * KIB, None), ((), 1, 4 * MIB, None))):
        path = mount / ("f%d" % number)
        t.run("lfs", "setstripe", *options, path)
        data = load.content(2, number, 3 * MIB + 12345)
        with open(path, "r+b") as file:
            file.write(data)
        with open(path, "rb") as file:
            t.check(file.read() == data, "data of %s", options)
        t.equal(int(value(t, "-c", path)), count, "count with %s" % (options,))
        t.equal(int(value(t, "-S", path)), size, "size with %s" % (options,))
        facts = lov(path)
        t.equal((facts["count"], facts["size"], len(facts["osts"])), (count, size, count), "lustre.lov")
        t.equal(int(value(t, "-i", path)), facts["osts"][0], "first OST")
        if first is not None:
            t.equal(facts["osts"][0], first, "first OST asked for")
        if count <= 4:
            t.equal(len(set(facts["osts"])), count, "different OSTs")
        text = t.out("lfs", "getstripe", path)
        for ost in facts["osts"]:
            t.check(re.search(r"^\s+%d\s+\d+\s+0x[0-9a-f]+\s" % ost, text, re.M), "OST %d is not in: %s", ost, text)
        t.run("lfs", "getstripe", "-y", path)
    for options in (("-S", "100k"), ("-S", "4G"), ("-i", "7"), ("-o", "1,9"), ("-p", "nopool"), ("-c", "3000")):
        result = t.run("lfs", "setstripe", *options, mount / "bad", check=False)
        t.check(result.returncode != 0 and result.stderr.strip(), "lfs setstripe %s is accepted", options)
        t.check(not os.path.exists(mount / "bad"), "a refused setstripe leaves a file")
    t.check(t.run("lfs", "setstripe", "-c", "2", mount / "f0", check=False).returncode != 0, "setstripe of a file with data")


@lib.test(limit_s=60)
def inheritance(t):
    """New files and directories take their directory's default; -d removes it; the root's serves all."""
    _, mount = cluster.started(t)
    os.mkdir(mount / "d")
    t.fails(errno.ENODATA, os.getxattr, mount / "d", "lustre.lov")
    t.run("lfs", "setstripe", "-c", "3", "-S", "256k", mount / "d")
    os.mkdir(mount / "d/e")
    for path in ("d/f", "d/e/f"):
        with open(mount / path, "wb") as file:
            file.write(bytes(MIB))
        facts = lov(mount / path)
        t.equal((facts["count"], facts["size"]), (3, 256 * KIB), "layout of %s" % path)
    t.run("lfs", "setstripe", "-d", mount / "d")
    with open(mount / "d/g", "wb") as file:
        file.write(bytes(MIB))
    t.equal((lov(mount / "d/g")["count"], lov(mount / "d/g")["size"]), (1, 4 * MIB), "after the default was removed")
    t.run("lfs", "setstripe", "-c", "2", mount.point)
    os.mkdir(mount / "new")
    with open(mount / "new/f", "wb") as file:
        file.write(bytes(MIB))
    t.equal(lov(mount / "new/f")["count"], 2, "count from the root's default")
    os.rename(mount / "d/f", mount / "moved")
    t.equal(lov(mount / "moved")["count"], 3, "count of a file that was moved")


@lib.test(limit_s=60)
def lov_xattr(t):
    """lustre.lov written as a struct makes layouts on files and directories; wrong ones are refused."""
    _, mount = cluster.started(t)
    for number, (size, count, first) in enumerate(((MIB, 2, 0xFFFF), (0, 4, 1), (65536, 0xFFFF, 0xFFFF))):
        path = mount / ("f%d" % number)
        os.mknod(path, 0o600)
        os.setxattr(path, "lustre.lov", lov_make(size, count, first))
        facts = lov(path)
        t.equal((facts["size"], facts["count"]), (size or 4 * MIB, min(count, 4)), "layout %d" % number)
        if first != 0xFFFF:
            t.equal(facts["osts"][0], first, "first OST")
        with open(path, "r+b") as file:
            file.write(bytes(MIB))
        t.fails(errno.EEXIST, os.setxattr, path, "lustre.lov", lov_make(MIB, 1))
    os.mkdir(mount / "d")
    os.setxattr(mount / "d", "lustre.lov", lov_make(MIB, 3))
    t.equal(lov(mount / "d")["count"], 3, "default of a directory")
    os.removexattr(mount / "d", "lustre.lov")
    t.fails(errno.ENODATA, os.getxattr, mount / "d", "lustre.lov")
    os.mknod(mount / "bad", 0o600)
    for raw in (b"", b"x", lov_make()[:20], lov_make(1000), lov_make(pattern=0x100 << 20), b"\0" * 32, os.urandom(300)):
        try:
            os.setxattr(mount / "bad", "lustre.lov", raw)
            raise lib.Failure("a wrong lov_user_md is accepted: %r" % raw)
        except OSError as error:
            t.check(error.errno in (errno.EINVAL, errno.EOPNOTSUPP, errno.ERANGE, errno.EPROTO), "%s for %r", error, raw)
    names = os.listxattr(mount / "f0")
    t.check(not [n for n in names if n.startswith("nacre.")], "nacre.* is listed: %s", names)
    t.equal(os.getxattr(mount / "f0", "trusted.lov"), os.getxattr(mount / "f0", "lustre.lov"), "trusted.lov")


@lib.test(limit_s=60)
def pools(t):
    """Pools by nacre pool, used by files, directories and lov_user_md_v3, listed by lfs."""
    one, mount = cluster.started(t)
    t.run("nacre", "pool", "new", "--dir", one.dir, "fast", "0-1")
    t.run("nacre", "pool", "new", "--dir", one.dir, "slow", "OST0002")
    t.run("nacre", "pool", "add", "--dir", one.dir, "slow", "3")

    def members(pool):
        return re.findall(r"OST000\d", t.out("lfs", "pool_list", "nacre." + pool))

    t.equal(members("fast"), ["OST0000", "OST0001"], "members of fast")
    lib.wait_for(lambda: members("slow") == ["OST0002", "OST0003"], 10, "members of slow")
    t.check("nacre.fast" in t.out("lfs", "pool_list", "nacre"), "pool_list of the file system")
    os.mkdir(mount / "d")
    t.run("lfs", "setstripe", "-c", "-1", "-p", "fast", mount / "d")
    for number in range(4):
        with open(mount / ("d/f%d" % number), "wb") as file:
            file.write(bytes(MIB))
        facts = lov(mount / ("d/f%d" % number))
        t.equal((facts["pool"], sorted(facts["osts"])), ("fast", [0, 1]), "layout in a pool")
        t.equal(value(t, "-p", mount / ("d/f%d" % number)), "fast", "pool by getstripe")
    os.mknod(mount / "v3", 0o600)
    os.setxattr(mount / "v3", "lustre.lov", lov_make(MIB, 1, 0xFFFF, "slow"))
    t.check(lov(mount / "v3")["osts"][0] in (2, 3), "OST of a file in slow")
    t.run("nacre", "pool", "remove", "--dir", one.dir, "slow", "OST0003")
    lib.wait_for(lambda: members("slow") == ["OST0002"], 10, "members after remove")
    t.check("slow" in t.out("nacre", "pool", "list", "--dir", one.dir), "nacre pool list")
    one.kill()
    one.up()
    t.equal(members("fast"), ["OST0000", "OST0001"], "members of fast after a restart")
    found = t.out("lfs", "find", mount.point, "-type", "f", "-pool", "fast").split()
    t.equal(len(found), 4, "files of the pool by lfs find")


@lib.test(limit_s=90)
def placement_balances(t):
    """Many files of one stripe spread evenly over OSTs that are alike."""
    _, mount = cluster.started(t)
    counts = [0] * 4
    for number in range(200):
        path = mount / ("f%03d" % number)
        with open(path, "wb") as file:
            file.write(bytes(5000))
        counts[lov(path)["osts"][0]] += 1
    t.say("files per OST: %s", counts)
    t.check(min(counts) >= 30, "files per OST: %s", counts)


@lib.test(limit_s=90)
def borders(t):
    """Every size around 4,000 bytes and around stripe borders; reads and writes across them, cut and grown."""
    _, mount = cluster.started(t)
    os.mkdir(mount / "d")
    t.run("lfs", "setstripe", "-c", "3", "-S", "64k", mount / "d")
    sizes = list(range(3980, 4020)) + list(range(4090, 4100)) + [
        n * 65536 + d for n in (1, 2, 3, 4, 6) for d in (-2, -1, 0, 1, 2)]
    for size in sizes:
        path = mount / ("d/%d" % size)
        data = load.content(4, size, size)
        with open(path, "wb") as file:
            file.write(data)
    for size in sizes:
        path = mount / ("d/%d" % size)
        want = bytearray(load.content(4, size, size))
        with open(path, "r+b", buffering=0) as file:
            t.check(file.read() == want, "file of %d bytes", size)
            for _ in range(4):
                border = t.rng.choice((4000, 65536, 131072, 196608))
                at, data = max(0, border - t.rng.randrange(9)), t.rng.randbytes(t.rng.choice((1, 10, 70000)))
                file.seek(at)
                file.write(data)
                want.extend(bytes(max(0, at - len(want))))
                want[at:at + len(data)] = data
                cut = max(0, border + t.rng.randrange(-3, 4))
                file.truncate(cut)
                del want[cut:]
                want.extend(bytes(cut - len(want)))
                file.seek(0)
                t.check(file.read() == want, "file of %d bytes after writing at %d and cutting to %d", size, at, cut)
        t.equal(os.stat(path).st_size, len(want), "size")


@lib.test(limit_s=60)
def tools(t):
    """lfs df, osts, mdts, path2fid, fid2path, find, getname, mkdir, check speak about the real mount."""
    _, mount = cluster.started(t)
    os.makedirs(mount / "a/b")
    for number in range(6):
        with open(mount / ("a/b/f%d" % number), "wb") as file:
            file.write(bytes(number * 300000))
    text = t.out("lfs", "df", mount.point)
    t.equal(len(re.findall(r"^nacre-(?:MDT0000|OST000[0-3])_UUID\s+\d+\s+\d+\s+\d+\s+\d+% ", text, re.M)), 5, "targets in lfs df")
    t.check("filesystem_summary:" in text, "no summary in lfs df")
    for options in (("-h",), ("-i",), ("-ih",)):
        t.run("lfs", "df", *options, mount.point)
    t.equal(len(re.findall(r"OST000[0-3]_UUID ACTIVE", t.out("lfs", "osts", mount.point))), 4, "lfs osts")
    t.check("MDT0000_UUID ACTIVE" in t.out("lfs", "mdts", mount.point), "lfs mdts")
    fid = t.out("lfs", "path2fid", mount / "a/b/f3").strip()
    t.check(re.fullmatch(r"\[0x[0-9a-f]+:0x[0-9a-f]+:0x0\]", fid), "fid %s", fid)
    t.equal(t.out("lfs", "fid2path", mount.point, fid).strip().split("/")[-3:], ["a", "b", "f3"], "fid2path")
    os.link(mount / "a/b/f3", mount / "second")
    t.equal(len(t.out("lfs", "fid2path", mount.point, fid).split()), 2, "paths of a file with two names")
    os.rename(mount / "a", mount / "z")
    t.check("z/b/f3" in t.out("lfs", "fid2path", mount.point, fid), "fid2path after a rename above")
    found = sorted(os.path.basename(p) for p in t.out("lfs", "find", mount.point, "-type", "f", "-size", "+1M").split())
    t.equal(found, ["f4", "f5"], "lfs find -size +1M")
    t.equal(len(t.out("lfs", "find", mount / "z", "-name", "f[0-2]").split()), 3, "lfs find -name")
    t.check(mount.point in t.out("lfs", "getname", mount.point), "lfs getname")
    t.run("lfs", "mkdir", "-i", "0", mount / "made")
    t.check(os.path.isdir(mount / "made"), "lfs mkdir")
    t.check(len(re.findall("active", t.out("lfs", "check", "osts", mount.point))) == 4, "lfs check osts")
    inode = os.stat(mount / "second").st_ino
    t.equal(len(t.out("lfs", "find", mount.point, "-inum", str(inode)).split()), 2, "lfs find -inum")


@lib.test(limit_s=120)
def grows(t):
    """nacre up --osts with more adds OSTs to a running file system; new files use them; fewer are refused."""
    one, mount = cluster.started(t, osts=2)
    with open(mount / "before", "wb") as file:
        file.write(bytes(MIB))
    one.osts = 4
    one.up()
    lib.wait_for(lambda: len(re.findall("ACTIVE", t.out("lfs", "osts", mount.point))) == 4, 20, "four OSTs")
    t.run("lfs", "setstripe", "-c", "-1", mount / "wide")

    def four():
        if os.path.exists(mount / "wide"):
            os.unlink(mount / "wide")
        t.run("lfs", "setstripe", "-c", "-1", "-S", "64k", mount / "wide")
        with open(mount / "wide", "r+b") as file:
            file.write(load.content(5, 5, MIB))
        return lov(mount / "wide")["count"] == 4

    lib.wait_for(four, 20, "a file over four OSTs")
    with open(mount / "wide", "rb") as file:
        t.check(file.read() == load.content(5, 5, MIB), "data over new OSTs")
    t.refused("nacre", "up", one.dir, "--osts", "3", "--no-mount", holds="OST")


lib.main(__doc__)
