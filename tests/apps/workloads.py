"""Workloads on a mount: stress-ng's file-system class, dbench, dpkg, a compiler and a Python environment that live on it, overlayfs."""

import os
import re
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))

import cluster  # noqa: E402 pylint: disable=wrong-import-position
import lib  # noqa: E402 pylint: disable=wrong-import-position

# What stress-ng itself passes over on this kernel or on any FUSE file system. Anything else that is passed over is a failure.
STRESS_SKIPPED = {"binderfs", "fiemap", "verity"}


@lib.test(limit_s=300)
def stress_ng(t):
    """stress-ng --class filesystem --verify: every stressor, in turn, without a complaint."""
    _, mount = cluster.started(t)
    result = t.run("stress-ng", "--class", "filesystem", "--sequential", "1", "--timeout", "10s" if lib.LONG else "1s", "--temp-path",
                   mount.point, "--verify", "--metrics", check=False, limit_s=290 if not lib.LONG else 1200)
    # 2 is failure; 3 and 4 say that a stressor was passed over.
    t.check(result.returncode in (0, 3, 4), "status of stress-ng: %d", result.returncode)
    text = result.stdout + result.stderr
    t.equal(re.findall(r"^stress-ng: fail:.*", text, re.MULTILINE), [], "failures")
    skipped = set(re.findall(r"info: +\[\d+\] (\w+): .*skipping str", text))
    t.check(skipped <= STRESS_SKIPPED, "passed over: %s", skipped - STRESS_SKIPPED)
    t.equal(os.listdir(mount.point), [], "what is left")


@lib.test(limit_s=90)
def dbench(t):
    """dbench, four clients: a file server's calls, on one mount and on two at once."""
    _, one, two = cluster.started(t, mounts=2)
    words = ["dbench", "-t", "60" if lib.LONG else "4", "-c", "/usr/share/dbench/client.txt"]
    for folder in ("alone", "first", "second"):
        os.mkdir(one / folder)
    t.check("Throughput" in t.out(*words, "-D", one / "alone", "4"), "dbench names no throughput")
    both = [subprocess.Popen(words + ["-D", mount / folder, "2"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
            for mount, folder in ((one, "first"), (two, "second"))]
    for process in both:
        t.check("Throughput" in process.communicate(timeout=80)[0], "dbench names no throughput")
        t.equal(process.returncode, 0, "status of dbench")


def package_make(t, version, files):
    """A package with owners, modes, links and a conffile, as dpkg-deb makes it."""
    top = t.path("package-" + version)
    os.makedirs(top + "/DEBIAN")
    os.makedirs(top + "/etc")
    os.makedirs(top + "/usr/bin")
    os.makedirs(top + "/usr/share/thing")
    with open(top + "/DEBIAN/control", "w", encoding="utf-8") as file:
        file.write("Package: thing\nVersion: %s\nArchitecture: all\nMaintainer: T <t@localhost>\nDescription: a test\n" % version)
    with open(top + "/DEBIAN/conffiles", "w", encoding="utf-8") as file:
        file.write("/etc/thing.conf\n")
    with open(top + "/etc/thing.conf", "w", encoding="utf-8") as file:
        file.write("version 1\n")
    os.utime(top + "/etc/thing.conf", (1700000000, 1700000000))
    for number in range(files):
        path = top + "/usr/share/thing/f%d" % number
        with open(path, "wb") as file:
            file.write(t.rng.randbytes(number * 37 % 9000))
        os.chown(path, number % 3 * 10, number % 5 * 10)
        os.chmod(path, (0o644, 0o4755, 0o2755, 0o600)[number % 4])
    os.link(top + "/usr/share/thing/f1", top + "/usr/bin/hard")
    os.symlink("../share/thing/f2", top + "/usr/bin/soft")
    deb = t.path("thing-%s.deb" % version)
    t.run("dpkg-deb", "--build", "-Znone", top, deb)
    return top, deb


def package_verify(t, top, root):
    for here, _, names in os.walk(top):
        if "DEBIAN" in here:
            continue
        for name in names:
            want = os.lstat(os.path.join(here, name))
            got = os.lstat(os.path.join(root, os.path.relpath(here, top), name))
            t.equal((got.st_mode, got.st_uid, got.st_gid, got.st_size, got.st_nlink, int(got.st_mtime)),
                    (want.st_mode, want.st_uid, want.st_gid, want.st_size, want.st_nlink, int(want.st_mtime)), "attributes of " + name)


@lib.test(limit_s=120)
def dpkg(t):
    """dpkg installs, upgrades, verifies and removes a package with owners, set-id bits and links in a root on the mount."""
    _, mount = cluster.started(t)
    root = mount / "root"
    os.makedirs(root + "/var/lib/dpkg/info")
    os.makedirs(root + "/var/lib/dpkg/updates")
    for name in ("status", "available"):
        with open(root + "/var/lib/dpkg/" + name, "w", encoding="utf-8"):
            pass
    base = ("dpkg", "--root=" + root, "--force-not-root", "--force-script-chrootless", "--log=" + t.path("dpkg.log"))
    for version in ("1", "2"):
        top, deb = package_make(t, version, 60 if version == "1" else 40)
        t.run(*base, "--install", deb)
        package_verify(t, top, root)
        t.equal(t.out(*base, "--verify", "thing"), "", "dpkg --verify")
    t.check(not os.path.exists(root + "/usr/share/thing/f50"), "the upgrade left a file of the old version")
    t.run(*base, "--purge", "thing")
    t.check(not os.path.exists(root + "/usr/share/thing") and not os.path.exists(root + "/etc/thing.conf"), "files are left")


@lib.test(limit_s=120)
def compiler(t):
    """gcc's own programs and headers run from the mount and compile there."""
    _, mount = cluster.started(t)
    real = t.out("gcc", "-print-prog-name=cc1").strip()
    tools = mount / "toolchain"
    os.mkdir(tools)
    for path in (real, t.out("gcc", "-print-prog-name=collect2").strip(), t.out("gcc", "-print-prog-name=lto-wrapper").strip(),
                 "/usr/bin/as", "/usr/bin/ld"):
        t.run("cp", "-L", path, tools)
    os.mkdir(mount / "src")
    with open(mount / "src/a.c", "w", encoding="utf-8") as file:
        file.write("#include <stdio.h>\nint main(void) { puts(\"from the mount\"); return 0; }\n")
    for number in range(8 if not lib.LONG else 100):
        said = t.run("gcc", "-v", "-O2", "-B", tools + "/", "-o", "prog%d" % number, "a.c", cwd=mount / "src").stderr
        t.check(tools + "/cc1" in said, "another cc1 was used")
        t.equal(t.out(mount / ("src/prog%d" % number)), "from the mount\n", "what the program says")


@lib.test(limit_s=120)
def python_venv(t):
    """A virtual environment is made on the mount, pip in it installs a package made there, its programs run."""
    _, mount = cluster.started(t)
    t.run("/usr/bin/python3", "-m", "venv", mount / "venv")
    source = mount / "thing"
    os.makedirs(source + "/thing")
    with open(source + "/setup.py", "w", encoding="utf-8") as file:
        file.write("from setuptools import setup\nsetup(name='thing', version='1', packages=['thing'],"
                   " entry_points={'console_scripts': ['thing=thing:main']})\n")
    with open(source + "/thing/__init__.py", "w", encoding="utf-8") as file:
        file.write("def main():\n    print('thing runs')\n")
    t.run(mount / "venv/bin/python", "-m", "pip", "install", "-q", "--no-index", "--no-build-isolation", "--no-deps",
          "--disable-pip-version-check", source, env=dict(os.environ, HOME=t.dir, TMPDIR=mount.point))
    t.equal(t.out(mount / "venv/bin/thing"), "thing runs\n", "what the installed program says")
    t.run(mount / "venv/bin/python", "-m", "pip", "uninstall", "-q", "-y", "thing", env=dict(os.environ, HOME=t.dir))
    t.check(not os.path.exists(mount / "venv/bin/thing"), "pip left the program")
    t.run("rm", "-r", mount / "venv")


@lib.test(limit_s=60)
def overlay(t):
    """The mount as lower layer of an overlay; as upper layer the kernel refuses every FUSE file system."""
    _, mount = cluster.started(t)
    for folder in ("lower", "upper", "work", "merged"):
        os.mkdir(mount / folder)
    local = {name: t.path("o-" + name) for name in ("tmpfs", "merged")}
    for path in local.values():
        os.mkdir(path)
    lib.mount("tmpfs", local["tmpfs"], "tmpfs")
    t.cleanup(lambda: lib.umount(local["tmpfs"]))
    for name in ("upper", "work"):
        os.mkdir(os.path.join(local["tmpfs"], name))
    with open(mount / "lower/file", "w", encoding="utf-8") as file:
        file.write("below")
    os.mkdir(mount / "lower/dir")
    os.setxattr(mount / "lower/file", "user.a", b"b")
    lib.mount("overlay", local["merged"], "overlay", 0, "lowerdir=%s,upperdir=%s,workdir=%s" % (
        mount / "lower", os.path.join(local["tmpfs"], "upper"), os.path.join(local["tmpfs"], "work")))
    t.cleanup(lambda: lib.umount(local["merged"]))
    merged = local["merged"]
    with open(merged + "/file", "a", encoding="utf-8") as file:
        file.write(" and above")
    with open(merged + "/file", encoding="utf-8") as file:
        t.equal(file.read(), "below and above", "the file in the overlay")
    with open(mount / "lower/file", encoding="utf-8") as file:
        t.equal(file.read(), "below", "the file below it")
    t.equal(os.getxattr(merged + "/file", "user.a"), b"b", "its attribute, copied up")
    os.rmdir(merged + "/dir")
    t.equal((os.listdir(merged), sorted(os.listdir(mount / "lower"))), (["file"], ["dir", "file"]), "names")
    t.fails(22, lib.mount, "overlay", mount / "merged", "overlay", 0, "lowerdir=%s,upperdir=%s,workdir=%s" % (
        mount / "lower", mount / "upper", mount / "work"))


lib.main(__doc__)
