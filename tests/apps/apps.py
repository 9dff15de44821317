"""Applications on a mount: git, a C project, rsync, fio, tar, sqlite3, a Python tree, 100,000 entries; and again after kill -9.

Each test works in a fresh cluster of four OSTs. after_kill_9 does a round of them, kills everything, and finds their
results whole. Sources of the C project are made here, or come by apt-get source into build/.
"""

import glob
import hashlib
import os
import shutil
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))

import cluster  # noqa: E402 pylint: disable=wrong-import-position
import lib  # noqa: E402 pylint: disable=wrong-import-position

GIT = ("git", "-c", "user.name=T", "-c", "user.email=t@localhost", "-c", "safe.directory=*", "-c", "init.defaultBranch=main",
       "-c", "gc.auto=0", "-c", "advice.detachedHead=false")
APT_PROJECT = "hello"


def tree_hash(top):
    """One hash over names, types, modes, owners, link targets, times of files and contents."""
    total = hashlib.sha256()
    for here, folders, files in os.walk(top):
        folders.sort()
        for name in sorted(folders + files):
            path = os.path.join(here, name)
            st = os.lstat(path)
            total.update(("%s %o %d %d\n" % (os.path.relpath(path, top), st.st_mode, st.st_uid, st.st_gid)).encode())
            if os.path.islink(path):
                total.update(os.readlink(path).encode())
            elif os.path.isfile(path):
                total.update(b"%d" % st.st_mtime_ns)
                with open(path, "rb") as file:
                    total.update(file.read())
    return total.hexdigest()


# ---- git ----


def git_origin(t, folder, commits):
    """A repository with branches, merges and binary files, made locally."""
    rng = t.rng
    os.makedirs(folder)
    t.run(*GIT, "-C", folder, "init", "-q")
    for number in range(commits):
        for _ in range(12):
            path = os.path.join(folder, "d%d" % rng.randrange(8), "f%d" % rng.randrange(40))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "ab") as file:
                file.write(b"line %d\n" % number * rng.randrange(200))
        with open(os.path.join(folder, "binary%d" % (number % 5)), "wb") as file:
            file.write(rng.randbytes(60000))
        subprocess.run(GIT + ("-C", folder, "add", "-A"), check=True)
        subprocess.run(GIT + ("-C", folder, "commit", "-q", "-m", "commit %d" % number), check=True)


def git_work(t, mount, commits=12):
    origin = t.path("origin")
    if not os.path.exists(origin):
        git_origin(t, origin, commits)
    clone = mount / "clone"
    t.run(*GIT, "clone", "-q", "--no-local", origin, clone)
    t.run(*GIT, "-C", clone, "checkout", "-q", "-b", "side", "HEAD~3")
    with open(os.path.join(clone, "new"), "wb") as file:
        file.write(t.rng.randbytes(300000))
    t.run(*GIT, "-C", clone, "add", "-A")
    t.run(*GIT, "-C", clone, "commit", "-q", "-m", "beside")
    t.run(*GIT, "-C", clone, "merge", "-q", "-m", "both", "main")
    t.run(*GIT, "-C", clone, "gc", "-q", "--aggressive", "--prune=now")
    git_verify(t, mount)
    t.run(*GIT, "clone", "-q", clone, mount / "local-clone")
    t.run(*GIT, "-C", clone, "stash", "list")


def git_verify(t, mount):
    clone = mount / "clone"
    t.run(*GIT, "-C", clone, "fsck", "--full", "--strict")
    t.equal(t.out(*GIT, "-C", clone, "status", "--porcelain"), "", "git status")
    t.equal(t.out(*GIT, "-C", clone, "rev-parse", "origin/main"),
            t.out(*GIT, "-C", t.path("origin"), "rev-parse", "main"), "the commit that was cloned")


@lib.test(limit_s=120)
def git(t):
    """git clone, commit, merge, gc and fsck of a repository made here."""
    _, mount = cluster.started(t)
    git_work(t, mount, 60 if lib.LONG else 12)


# ---- a C project ----

MAKEFILE = """CFLAGS = -O1 -I. -Wall
OBJS = $(patsubst %.c,%.o,$(wildcard src/*.c))
all: prog libmany.a
libmany.a: $(OBJS)
\trm -f $@
\tar rcs $@ $(OBJS)
prog: main.o libmany.a
\t$(CC) -o $@ main.o libmany.a
main.o: config.h
check: prog
\t./prog
install: prog
\tmkdir -p $(DESTDIR)/bin
\tinstall -m 755 prog $(DESTDIR)/bin/prog
clean:
\trm -f prog libmany.a main.o src/*.o
.PHONY: all check install clean
"""


def project_make(folder, files):
    """Sources of a project of its own: a configure script, many files, a test."""
    os.makedirs(os.path.join(folder, "src"))
    with open(os.path.join(folder, "configure"), "w", encoding="utf-8") as file:
        file.write("#!/bin/sh\nset -e\necho 'int main(void) { return 0; }' >conftest.c\ncc conftest.c -o conftest\n"
                   "./conftest\nrm -f conftest conftest.c\necho '#define FILES %d' >config.h\n" % files)
    os.chmod(os.path.join(folder, "configure"), 0o755)
    with open(os.path.join(folder, "Makefile"), "w", encoding="utf-8") as file:
        file.write(MAKEFILE)
    for number in range(files):
        with open(os.path.join(folder, "src", "f%d.c" % number), "w", encoding="utf-8") as file:
            file.write("#include \"config.h\"\n#include <stdio.h>\nint f%d(int x);\nint f%d(int x)\n{\n\treturn x + %d;\n}\n"
                       % (number, number, number))
    with open(os.path.join(folder, "main.c"), "w", encoding="utf-8") as file:
        file.write("#include \"config.h\"\n#include <stdio.h>\n")
        file.writelines("int f%d(int x);\n" % n for n in range(files))
        file.write("int main(void)\n{\n\tlong sum = 0;\n")
        file.writelines("\tsum += f%d(0);\n" % n for n in range(files))
        file.write("\tprintf(\"%%ld\\n\", sum);\n\treturn sum == %dL * (%dL - 1) / 2 ? 0 : 1;\n}\n" % (files, files))


def project_work(t, mount, files=60):
    local, archive = t.path("project"), t.path("project.tar.gz")
    project_make(local, files)
    t.run("tar", "-C", t.dir, "-czf", archive, "project")
    t.run("tar", "-C", mount.point, "-xzf", archive)
    top = mount / "project"
    t.run("sh", "-c", "./configure && make -s -j4 && make -s check && make -s install DESTDIR=$PWD/inst && ./inst/bin/prog", cwd=top)
    t.equal(t.out("make", "-q", cwd=top), "", "make -q after make")
    t.run("touch", "src/f3.c", cwd=top)
    text = t.out("make", cwd=top)
    t.check("src/f3.c" in text and "src/f4.c" not in text, "make rebuilds %s", text)
    t.run("make", "-s", "clean", cwd=top)
    t.run("diff", "-r", "-x", "config.h", "-x", "inst", local, top)


@lib.test(limit_s=180)
def c_project(t):
    """Unpack, configure, build, test, install, rebuild a part, clean a C project."""
    _, mount = cluster.started(t)
    project_work(t, mount, 400 if lib.LONG else 60)


@lib.test(limit_s=300)
def debian_source(t):
    """apt-get source of a small autotools package: unpack, configure, make, make check on the mount."""
    cache = os.path.join(lib.ROOT, "build", "apt-source")
    os.makedirs(cache, exist_ok=True)
    found = glob.glob(os.path.join(cache, APT_PROJECT + "_*.orig.tar.*[zl]*"))
    found = [f for f in found if not f.endswith(".asc")]
    if not found:
        apt_fetch(t, cache)
        found = [f for f in glob.glob(os.path.join(cache, APT_PROJECT + "_*.orig.tar.*")) if not f.endswith(".asc")]
    if not found:
        t.skip("apt-get source has no %s here" % APT_PROJECT)
    _, mount = cluster.started(t)
    t.run("tar", "-C", mount.point, "-xf", found[0])
    top = glob.glob(mount / (APT_PROJECT + "-*"))[0]
    env = dict(os.environ, FORCE_UNSAFE_CONFIGURE="1")
    t.run("sh", "-c", "./configure -q && make -s -j2 && ./hello | grep -q Hello && make -s -j2 check TESTS=tests/hello-1", cwd=top,
          limit_s=280, env=env)


def apt_fetch(t, cache):
    """Only this one source package, with source entries made from the machine's own binary ones, in a private apt state."""
    state = os.path.join(cache, "state")
    os.makedirs(os.path.join(state, "lists", "partial"), exist_ok=True)
    lines = []
    for path in ["/etc/apt/sources.list"] + glob.glob("/etc/apt/sources.list.d/*"):
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                lines.append(file.read())
    text = "\n\n".join(lines)
    deb822 = "\n".join(l for l in text.split("\n") if not l.startswith("deb"))
    one_line = "\n".join(l.replace("deb ", "deb-src ", 1) for l in text.split("\n") if l.startswith("deb "))
    parts = os.path.join(state, "parts")
    os.makedirs(parts, exist_ok=True)
    with open(os.path.join(parts, "a.sources"), "w", encoding="utf-8") as file:
        file.write(deb822.replace("Types: deb\n", "Types: deb-src\n"))
    with open(os.path.join(parts, "b.list"), "w", encoding="utf-8") as file:
        file.write(one_line + "\n")
    options = ["-q", "-o", "Dir::Etc::sourcelist=/dev/null", "-o", "Dir::Etc::sourceparts=" + parts, "-o",
               "Dir::State::lists=" + os.path.join(state, "lists"), "-o", "APT::Sandbox::User=root", "-o",
               "Acquire::Languages=none"]
    t.run("apt-get", *options, "update", check=False, limit_s=120)
    t.run("apt-get", *options, "source", "--download-only", APT_PROJECT, check=False, cwd=cache, limit_s=120)


# ---- copying ----


def mixed_tree(t, top, files):
    """Files of many sizes, holes, hard and symbolic links, xattrs, owners, a fifo, times with nanoseconds."""
    rng = t.rng
    os.makedirs(top)
    names = []
    for number in range(files):
        folder = os.path.join(top, "d%d" % (number % 17), "e%d" % (number % 5))
        os.makedirs(folder, exist_ok=True)
        path = os.path.join(folder, "f%d" % number)
        with open(path, "wb") as file:
            if number % 13 == 0:
                file.seek(rng.randrange(1 << 21))
            file.write(rng.randbytes(rng.choice((0, 5, 3999, 4001, 70000, 300000))))
        if number % 4 == 0:
            os.link(path, path + ".hard")
        if number % 5 == 0:
            os.symlink("f%d" % number, path + ".sym")
        if number % 6 == 0:
            os.setxattr(path, "user.kind", b"value %d" % number)
        os.chmod(path, rng.choice((0o600, 0o644, 0o755, 0o4755)))
        os.chown(path, number % 3 * 1000, number % 4 * 1000)
        if number % 6 != 0:
            os.chmod(path, rng.choice((0o600, 0o644)))
        os.utime(path, ns=(10 ** 18 + number, 10 ** 18 + number * 1001))
        names.append(path)
    os.mkfifo(os.path.join(top, "fifo"))


def rsync_work(t, mount, files=250):
    local, back = t.path("mixed"), t.path("back")
    if not os.path.exists(local):
        mixed_tree(t, local, files)
    t.run("rsync", "-aHX", local + "/", mount / "mixed/")
    t.equal(t.out("rsync", "-aHXnci", "--delete", local + "/", mount / "mixed/"), "", "differences rsync finds there")
    t.run("rsync", "-aHX", mount / "mixed/", back + "/")
    t.equal(t.out("rsync", "-aHXnci", "--delete", local + "/", back + "/"), "", "differences after the way back")
    t.equal(tree_hash(back), tree_hash(local), "the tree that came back")
    shutil.rmtree(back)


@lib.test(limit_s=120)
def rsync(t):
    """rsync -aHX of a mixed tree there and back; nothing differs."""
    _, mount = cluster.started(t)
    rsync_work(t, mount, 3000 if lib.LONG else 250)


@lib.test(limit_s=120)
def tar(t):
    """tar with owners, times, links and sparse files out of and into the mount."""
    _, mount = cluster.started(t)
    mixed_tree(t, t.path("mixed"), 150)
    t.run("tar", "-C", t.dir, "--xattrs", "-Scf", t.path("a.tar"), "mixed")
    t.run("tar", "-C", mount.point, "--xattrs", "-Spxf", t.path("a.tar"))
    t.equal(tree_hash(mount / "mixed"), tree_hash(t.path("mixed")), "the tree tar unpacked")
    t.run("tar", "-C", mount.point, "--xattrs", "-Scf", mount / "b.tar", "mixed")
    os.mkdir(t.path("again"))
    t.run("tar", "-C", t.path("again"), "--xattrs", "-Spxf", mount / "b.tar")
    t.equal(tree_hash(t.path("again/mixed")), tree_hash(t.path("mixed")), "the tree through both ways")
    t.run("tar", "-C", t.dir, "--compare", "-f", mount / "b.tar")
    t.run("cp", "-a", mount / "mixed", mount / "copy")
    t.equal(tree_hash(mount / "copy"), tree_hash(t.path("mixed")), "the tree cp -a made")
    t.run("rm", "-r", mount / "copy")
    t.run("mv", mount / "mixed", t.path("moved"))
    t.equal(tree_hash(t.path("moved")), tree_hash(t.path("mixed")), "the tree mv took out")


# ---- data ----


@lib.test(limit_s=180)
def fio(t):
    """fio with verify over striped files: psync, libaio and io_uring, buffered and direct."""
    _, mount = cluster.started(t)
    os.mkdir(mount / "striped")
    t.run("lfs", "setstripe", "-c", "-1", "-S", "256k", mount / "striped")
    size = "1g" if lib.LONG else "24m"
    for engine, direct, pattern, block in (("psync", 0, "randwrite", "4k-128k"), ("psync", 1, "write", "1m"),
                                           ("libaio", 1, "randwrite", "64k"), ("io_uring", 0, "randwrite", "4k-256k"),
                                           ("io_uring", 1, "randrw", "32k"), ("mmap", 0, "randwrite", "4k")):
        result = t.run("fio", "--name=%s-%d-%s" % (engine, direct, pattern), "--directory=" + (mount / "striped"),
                       "--ioengine=" + engine, "--direct=%d" % direct, "--rw=" + pattern,
                       ("--bsrange=" if "-" in block else "--bs=") + block, "--size=" + size, "--numjobs=2", "--iodepth=8",
                       "--verify=crc32c", "--verify_state_save=0", "--verify_fatal=1", "--do_verify=1", "--end_fsync=1", "--randseed=%d" % t.seed,
                       "--group_reporting", "--output-format=terse", check=False, limit_s=170)
        if result.returncode != 0 and "engine" in result.stderr and "not" in result.stderr:
            raise lib.Failure("fio has no engine %s" % engine)
        t.equal(result.returncode, 0, "fio %s direct=%d %s" % (engine, direct, pattern))
        for name in os.listdir(mount / "striped"):
            os.unlink(mount / ("striped/" + name))


def sqlite_work(t, path, rows=2000):
    script = "PRAGMA journal_mode=%s; CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT);" \
             "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM n WHERE x<%d) INSERT INTO t SELECT x, hex(randomblob(50)) FROM n;" \
             "CREATE INDEX i ON t(b); UPDATE t SET b=b||'x' WHERE a%%3=0; DELETE FROM t WHERE a%%7=0; VACUUM; PRAGMA integrity_check;"
    for mode in ("delete", "truncate", "persist", "wal"):
        t.check(t.out("sqlite3", path + "." + mode, script % (mode, rows)).strip().endswith("ok"), "integrity with %s", mode)
    code = "import sqlite3,sys\nfor n in range(60):\n c=sqlite3.connect(sys.argv[1],timeout=60)\n" \
           " c.execute('INSERT INTO t(b) VALUES(?)',(sys.argv[2],))\n c.commit()\n c.close()\n"
    writers = [subprocess.Popen(("/usr/bin/python3", "-c", code, path + ".delete", "writer %d" % n)) for n in range(3)]
    for writer in writers:
        t.check(lib.pid_wait(writer.pid, 90), "a writer hangs")
        t.equal(writer.wait(), 0, "status of a writer")
    t.equal(t.out("sqlite3", path + ".delete", "SELECT count(*) FROM t WHERE b LIKE 'writer%'").strip(), "180", "rows of three writers")
    sqlite_verify(t, path)


def sqlite_verify(t, path):
    for mode in ("delete", "truncate", "persist", "wal"):
        t.equal(t.out("sqlite3", path + "." + mode, "PRAGMA integrity_check").strip(), "ok", "integrity later with %s" % mode)


@lib.test(limit_s=120)
def sqlite(t):
    """sqlite3 in every journal mode, and three processes writing one database."""
    _, mount = cluster.started(t)
    sqlite_work(t, mount / "db")


@lib.test(limit_s=120)
def python_tree(t):
    """Python runs from the mount: its library copied, compiled there, imported, a package installed in a venv-like tree."""
    _, mount = cluster.started(t)
    source = "/usr/lib/python3.%d" % sys.version_info[1]
    packages = ("json", "email", "http", "logging", "asyncio", "unittest", "xml", "encodings", "collections", "concurrent",
                "importlib", "html", "urllib", "sqlite3", "ctypes", "multiprocessing")
    os.mkdir(mount / "lib")
    for name in packages:
        shutil.copytree(os.path.join(source, name), mount / ("lib/" + name), ignore=shutil.ignore_patterns("__pycache__"))
    t.run("/usr/bin/python3", "-m", "compileall", "-q", "-j", "2", mount / "lib")
    out = t.out("/usr/bin/python3", "-c", "import json,email,http,asyncio;print(json.__file__,json.__cached__)",
                env=dict(os.environ, PYTHONPATH=mount / "lib", PYTHONDONTWRITEBYTECODE="")).split()
    t.check(all(p.startswith(mount.point) for p in out), "modules came from %s", out)
    compiled = sum(len(f) for top, _, f in os.walk(mount / "lib") if top.endswith("__pycache__"))
    t.check(compiled > 100, "only %d compiled files", compiled)


# ---- a big directory ----


@lib.test(limit_s=400)
def big_directory(t):
    """A directory of 100,000 entries: create, ls, stat all, unlink."""
    _, mount = cluster.started(t)
    count = 1000000 if lib.LONG and os.environ.get("NACRE_HUGE") else 100000
    folder = mount / "big"
    os.mkdir(folder)
    jobs = [t.spawn(entries_make, folder, number, count, 4) for number in range(4)]
    for job in jobs:
        job.join(300)
    names = os.listdir(folder)
    t.equal((len(names), len(set(names))), (count, count), "entries and different entries")
    t.check(set(names) == {"entry-%07d" % n for n in range(count)}, "names are wrong")
    t.equal(len(t.out("ls", "-f", folder).split("\n")) - 3, count, "lines of ls -f")
    t.equal(t.out("sh", "-c", "ls -l %s | grep -c ^-rw-" % folder).strip(), str(count), "files of ls -l")
    for number in t.rng.sample(range(count), 500):
        t.equal(os.stat(folder + "/entry-%07d" % number).st_size, 0, "size")
    t.fails(39, os.rmdir, folder)
    jobs = [t.spawn(entries_remove, folder, number, count, 4) for number in range(4)]
    for job in jobs:
        job.join(300)
    t.equal(os.listdir(folder), [], "entries after removal")
    os.rmdir(folder)


def entries_make(folder, share, count, shares):
    fd = os.open(folder, os.O_RDONLY)
    for number in range(share, count, shares):
        os.mknod("entry-%07d" % number, 0o644, dir_fd=fd)


def entries_remove(folder, share, count, shares):
    fd = os.open(folder, os.O_RDONLY)
    for number in range(share, count, shares):
        os.unlink("entry-%07d" % number, dir_fd=fd)


# ---- all of it, killed ----


@lib.test(limit_s=300)
def after_kill_9(t):
    """git, a build, rsync and sqlite3; kill -9 of everything; each finds its data whole and does its work once more."""
    one, mount = cluster.started(t)
    git_work(t, mount)
    rsync_work(t, mount, 150)
    project_work(t, mount, 20)
    sqlite_work(t, mount / "db", 500)
    before = tree_hash(mount / "mixed")
    for number in range(2):
        one.kill()
        if number == 0:
            mount.kill()
        one.up()
        if number == 0:
            mount = mount.remount()
        git_verify(t, mount)
        t.equal(tree_hash(mount / "mixed"), before, "the rsynced tree after kill -9")
        t.run("sh", "-c", "make -s -j4 && make -s check && make -s clean", cwd=mount / "project")
        sqlite_verify(t, mount / "db")
    for name in ("clone", "local-clone", "project", "mixed"):
        t.run("rm", "-r", mount / name)
    shutil.rmtree(t.path("project"))
    git_work(t, mount)
    rsync_work(t, mount, 150)
    project_work(t, mount, 20)


@lib.test(limit_s=180)
def killed_while_working(t):
    """Servers are killed and restarted while git, make and rsync run: they notice nothing but a pause."""
    one, mount = cluster.started(t)
    jobs = [t.spawn(work, t, mount) for work in (git_work, project_work, rsync_work)]
    while any(job.running() for job in jobs):
        lib.pid_wait(jobs[0].pid, t.rng.uniform(0.3, 1.5))
        names = sorted(one.pids())
        one.kill(*t.rng.sample(names, t.rng.choice((1, len(names)))))
        one.up()
    for job in jobs:
        job.join()
    git_verify(t, mount)


lib.main(__doc__)
