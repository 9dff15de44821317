"""Loads whose every byte is known, for the tests that kill, cut and compare.

Tree: random operations on names, data and attributes with a model in memory; any answer that differs from the model's is a
Failure at once, and verify() compares everything. Journal: files written and fsynced, each recorded in a
journal outside the file system after it was; what the journal had recorded at some moment must be in any copy made later.
"""

import os
import random
import stat

import lib

SIZES = (0, 1, 10, 3999, 4000, 4001, 65535, 65536, 65537, 300000, 1 << 20)


class Tree:
    """Operations below a directory that nobody else changes."""

    def __init__(self, top, seed, size_max=1 << 20):
        self.top = top
        self.rng = random.Random(seed)
        self.size_max = size_max
        self.files = {}  # path -> File; several paths may share one
        self.dirs = {"": 0o755}
        self.links = {}
        self.number = 0
        self.steps = 0
        os.makedirs(top, exist_ok=True)

    class File:
        def __init__(self):
            self.data = bytearray()
            self.mode = 0o644
            self.xattrs = {}

    def path(self, name):
        return os.path.join(self.top, name)

    def fresh(self):
        self.number += 1
        return os.path.join(self.rng.choice(sorted(self.dirs)), "%s%d" % (self.rng.choice("abcdef") * 3, self.number))

    def some_file(self):
        return self.rng.choice(sorted(self.files)) if self.files else self.create()

    def step(self):
        """One operation; acknowledged means it is in the model."""
        self.steps += 1
        kinds = [self.create] * 4 + [self.write] * 6 + [self.append] * 3 + [self.truncate] * 2 + [self.rename] * 2 + [
            self.unlink, self.unlink, self.link, self.symlink, self.mkdir, self.rmdir, self.chmod, self.xattr,
            self.sync, self.check_one, self.check_one]
        if len(self.files) > 120:
            kinds += [self.unlink] * 20
        self.rng.choice(kinds)()

    def create(self):
        name = self.fresh()
        fd = os.open(self.path(name), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
        file = self.files[name] = self.File()
        try:
            self.put(fd, file, 0, self.rng.randbytes(min(self.size_max, self.rng.choice(SIZES))))
        finally:
            os.close(fd)
        return name

    @staticmethod
    def put(fd, file, at, data):
        if at > len(file.data) and data:
            file.data.extend(bytes(at - len(file.data)))
        done = 0
        while done < len(data):
            n = os.pwrite(fd, data[done:], at + done)
            file.data[at + done:at + done + n] = data[done:done + n]
            done += n

    def write(self):
        name = self.some_file()
        file = self.files[name]
        fd = os.open(self.path(name), os.O_WRONLY)
        try:
            for _ in range(self.rng.randrange(1, 4)):
                at = self.rng.randrange(self.size_max)
                self.put(fd, file, at, self.rng.randbytes(self.rng.choice((1, 100, 4096, 70000))))
            if self.rng.random() < 0.2:
                os.fsync(fd)
        finally:
            os.close(fd)

    def append(self):
        name = self.some_file()
        fd = os.open(self.path(name), os.O_WRONLY | os.O_APPEND)
        try:
            data = self.rng.randbytes(self.rng.choice((1, 500, 5000)))
            n = os.write(fd, data)
            self.files[name].data.extend(data[:n])
        finally:
            os.close(fd)

    def truncate(self):
        name = self.some_file()
        file = self.files[name]
        size = self.rng.randrange(self.size_max)
        os.truncate(self.path(name), size)
        if size < len(file.data):
            del file.data[size:]
        else:
            file.data.extend(bytes(size - len(file.data)))

    def rename(self):
        old, new = self.some_file(), self.rng.choice((self.fresh(), self.some_file()))
        same = self.files.get(new) is self.files[old]
        os.rename(self.path(old), self.path(new))
        if not same:
            self.files[new] = self.files.pop(old)

    def unlink(self):
        name = self.some_file()
        os.unlink(self.path(name))
        del self.files[name]

    def link(self):
        old, new = self.some_file(), self.fresh()
        os.link(self.path(old), self.path(new))
        self.files[new] = self.files[old]

    def symlink(self):
        name = self.fresh()
        os.symlink("to " + name, self.path(name))
        self.links[name] = "to " + name

    def mkdir(self):
        if len(self.dirs) < 12:
            name = self.fresh()
            os.mkdir(self.path(name))
            self.dirs[name] = 0o755

    def rmdir(self):
        used = {os.path.dirname(n) for n in list(self.files) + list(self.links) + list(self.dirs)}
        empty = sorted(d for d in self.dirs if d and d not in used)
        if empty:
            name = self.rng.choice(empty)
            os.rmdir(self.path(name))
            del self.dirs[name]

    def chmod(self):
        name = self.some_file()
        mode = self.rng.choice((0o600, 0o644, 0o640, 0o755))
        os.chmod(self.path(name), mode)
        self.files[name].mode = mode

    def xattr(self):
        name = self.some_file()
        value = self.rng.randbytes(self.rng.choice((0, 10, 1000)))
        os.setxattr(self.path(name), "user.load", value)
        self.files[name].xattrs["user.load"] = value

    def sync(self):
        fd = os.open(self.path(self.rng.choice(sorted(self.dirs))), os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def check_one(self):
        name = self.some_file()
        self.file_verify(name, self.top)

    def file_verify(self, name, top):
        file = self.files[name]
        path = os.path.join(top, name)
        st = os.lstat(path)
        with open(path, "rb") as handle:
            data = handle.read()
        if data != file.data:
            at = next((i for i, (a, b) in enumerate(zip(data, file.data)) if a != b), min(len(data), len(file.data)))
            raise lib.Failure("%s: %d bytes, not %d; they differ from %d on" % (path, len(data), len(file.data), at))
        if st.st_size != len(data) or stat.S_IMODE(st.st_mode) != file.mode:
            raise lib.Failure("%s: size %d mode %o, not %d %o" % (path, st.st_size, st.st_mode, len(data), file.mode))
        for key, value in file.xattrs.items():
            if os.getxattr(path, key) != value:
                raise lib.Failure("%s: %s is wrong" % (path, key))

    def verify(self, top=None):
        """Everything, through this path or another mount's."""
        top = top or self.top
        found_files, found_dirs, found_links = set(), {""}, {}
        for here, folders, files in os.walk(top):
            inner = os.path.relpath(here, top)
            inner = "" if inner == "." else inner
            found_dirs |= {os.path.join(inner, f) for f in folders}
            for name in files:
                path = os.path.join(here, name)
                if os.path.islink(path):
                    found_links[os.path.join(inner, name)] = os.readlink(path)
                else:
                    found_files.add(os.path.join(inner, name))
        for what, found, wanted in (("files", found_files, set(self.files)), ("directories", found_dirs, set(self.dirs)),
                                    ("links", set(found_links.items()), set(self.links.items()))):
            if found != wanted:
                raise lib.Failure("%s: lost %s, too many %s" % (what, lib.short(sorted(wanted - found)),
                                                               lib.short(sorted(found - wanted))))
        for name in sorted(self.files):
            self.file_verify(name, top)


def tree_run(top, seed, stop, size_max=1 << 20):
    """Steps until the file `stop` exists; then everything is compared. For Test.spawn()."""
    tree = Tree(top, seed, size_max)
    while not os.path.exists(stop):
        tree.step()
    tree.verify()
    print("%s: %d operations, %d files" % (top, tree.steps, len(tree.files)))
    if tree.steps < 20:
        raise lib.Failure("the load did only %d operations" % tree.steps)


# ---- the journal ----


def content(seed, number, size):
    return random.Random(seed * 1000003 + number).randbytes(size)


def journal_run(top, journal, seed, stop):
    """Writes, fsyncs, then records, until the file `stop` exists.

    Records: "file N SIZE", "append COUNT", "gone N". A new file gets its name by rename and an fsync of its directory.
    """
    rng = random.Random(seed)
    os.makedirs(top, exist_ok=True)
    directory = os.open(top, os.O_RDONLY)
    log = os.open(os.path.join(top, "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    # The parents' entries too: a file is only as safe as its path.
    for path in (directory, os.path.dirname(top)):
        fd = path if isinstance(path, int) else os.open(path, os.O_RDONLY)
        os.fsync(fd)
    alive, number, appended = [], 0, 0
    with open(journal, "a", encoding="utf-8", buffering=1) as out:
        while not os.path.exists(stop):
            what = rng.random()
            if what < 0.55 or not alive:
                size = rng.choice(SIZES)
                fd = os.open(os.path.join(top, "new"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                data = content(seed, number, size)
                at = 0
                while at < size:
                    at += os.write(fd, data[at:at + rng.randrange(1, 400000)])
                os.fsync(fd)
                os.close(fd)
                os.rename(os.path.join(top, "new"), os.path.join(top, "f%d" % number))
                os.fsync(directory)
                out.write("file %d %d\n" % (number, size))
                alive.append(number)
                number += 1
            elif what < 0.85:
                os.write(log, b"%08d\n" % appended)
                appended += 1
                os.fdatasync(log)
                out.write("append %d\n" % appended)
            else:
                victim = alive.pop(rng.randrange(len(alive)))
                # From here on it may be gone or not, until the fsync.
                out.write("doubt %d\n" % victim)
                os.unlink(os.path.join(top, "f%d" % victim))
                os.fsync(directory)
                out.write("gone %d\n" % victim)


def journal_read(journal):
    """(files that must be there, files in doubt, records appended, files that must be gone)."""
    there, doubt, gone, appended = {}, set(), set(), 0
    with open(journal, encoding="utf-8") as lines:
        for line in lines:
            if not line.endswith("\n"):
                break
            words = line.split()
            if words[0] == "file":
                there[int(words[1])] = int(words[2])
            elif words[0] == "append":
                appended = int(words[1])
            elif words[0] == "doubt":
                there.pop(int(words[1]))
                doubt.add(int(words[1]))
            else:
                doubt.discard(int(words[1]))
                gone.add(int(words[1]))
    return there, doubt, appended, gone


def journal_verify(top, then, now, seed):
    """`then` and `now`: journal_read() before and after the copy was made. What was safe before is there, unless removed since."""
    there, _, appended, gone = then
    later_gone = now[1] | now[3]
    for number, size in sorted(there.items()):
        path = os.path.join(top, "f%d" % number)
        if number in later_gone and not os.path.exists(path):
            continue
        try:
            with open(path, "rb") as file:
                data = file.read()
        except OSError as error:
            raise lib.Failure("fsynced file %d (%d bytes) is lost: %s" % (number, size, error)) from error
        if data != content(seed, number, size):
            raise lib.Failure("fsynced file %d: %d bytes, not %d, or other ones" % (number, len(data), size))
    for number in sorted(gone):
        if os.path.exists(os.path.join(top, "f%d" % number)):
            raise lib.Failure("file %d came back after its unlink was fsynced" % number)
    if appended:
        with open(os.path.join(top, "log"), "rb") as file:
            lines = file.read().split(b"\n")
        for number in range(appended):
            if number >= len(lines) or lines[number] != b"%08d" % number:
                raise lib.Failure("fsynced record %d of %d is lost or wrong" % (number, appended))
    return len(there), appended, len(gone)
