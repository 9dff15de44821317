"""What a newcomer does wrong: each mistake is answered by one line that names it, and leaves nothing behind."""

import json
import os
import re
import signal
import subprocess
import time

import cluster
import lib


@lib.test(limit_s=60)
def wrong_words(t):
    """Wrong verbs, options and values of nacre: one line, exit code 2, nothing made."""
    place = t.path("new")
    for words, holds in (
            (["frob"], "no verb frob"),
            (["up", "--frob"], "no option --frob"),
            (["up", "-x"], "no option -x"),
            (["up", "--osts"], "--osts needs a value"),
            (["up", place, "--osts", "x"], "--osts x"),
            (["up", place, "--osts", "0"], "--osts 0"),
            (["up", place, "other"], "too many arguments"),
            (["up", place, "--fsname", "toolongname"], "--fsname toolongname"),
            (["up", place, "--ost-capacity", "10X"], "--ost-capacity 10X"),
            (["up", place, "--ost-capacity", "10"], "at least"),
            (["up", place, "--mdt-capacity", "1M"], "at least"),
            (["down", "--frob"], "no option --frob"),
            (["status", "--key"], "--key needs a value"),
            (["pool", "frob", "p"], "no verb frob"),
            (["pool", "--frob"], "no option --frob"),
            (["sync"], "which mount"),
            (["umount"], "which mount"),
            (["umount", "--frob"], "no option --frob"),
            (["sync", "--frob"], "no option --frob"),
            (["key", "--frob"], "no option --frob"),
            (["format", "--frob"], "no option --frob"),
            (["inspect", "--frob"], "no option --frob")):
        line = t.refused("nacre", *words, holds=holds)
        t.check("--help" in line or "nacre help" in line, "it does not say where help is: %s", line)
        t.equal(t.run("nacre", *words, check=False).returncode, 2, "exit code")
    t.check(not os.path.exists(place), "a refused up made its directory")


@lib.test(limit_s=60)
def help_everywhere(t):
    """Every program and verb has --help on stdout, with its usage first."""
    verbs = re.findall(r"^  (\w+) ", t.out("nacre", "--help"), re.M)
    t.check(len(verbs) >= 8, "only %d verbs are listed", len(verbs))
    commands = t.out("lfs", "--list-commands").split()
    t.check(len(commands) >= 12, "only %d commands are listed", len(commands))
    for words in ([["nacre", v] for v in verbs] + [["lfs", c] for c in commands if c != "help"] +
                  [["nacre"], ["lfs"], ["nacred"], ["nacre-fuse"], ["mount.nacre"]]):
        text = t.out(*words, "--help")
        t.check(text.startswith("usage: "), "%s --help does not begin with usage", " ".join(words))
        t.check(max(len(line) for line in text.split("\n")) <= 100, "%s --help has long lines", " ".join(words))


@lib.test(limit_s=60)
def refused_up_can_be_repeated(t):
    """`nacre up` that is refused or killed half-way leaves nothing that stands in the way of the next."""
    one = cluster.Cluster(t, osts=2)
    t.refused("nacre", "up", one.dir, "--listen", "300.1.1.1", holds="300.1.1.1")
    t.check(not os.path.exists(one.dir), "a refused up made its directory")
    # The directories of targets, but no cluster.yaml: as after a kill before the end.
    one.up()
    with open(one.key("client.key"), encoding="utf-8") as file:
        before = file.read()
    one.down()
    os.unlink(one.file("cluster.yaml"))
    os.unlink(one.key("client.key"))
    t.refused("nacre", "up", one.dir, "--fsname", "other", holds="belongs to file system nacre")
    one.up()
    with open(one.key("client.key"), encoding="utf-8") as file:
        t.equal(file.read(), before, "the client key, made again")
    with open(one.mount() / "f", "w", encoding="utf-8") as file:
        file.write("works")


@lib.test(limit_s=60)
def up_killed_anywhere(t):
    """kill -9 of `nacre up` while it makes a file system: the next one makes it whole."""
    for number in range(12):
        one = cluster.Cluster(t, name="c%d" % number, osts=2)
        process = subprocess.Popen(["nacre", "up", one.dir, "--osts", "2", "--no-mount"], stdout=subprocess.DEVNULL)
        time.sleep(0.03 * number * t.rng.random())
        process.kill()
        process.wait()
        one.up()
        t.equal(len(one.pids()), 3, "daemons after the second up")
        t.equal(one.status()[0], 0, "exit code of status")


@lib.test(limit_s=60)
def up_right_after_kill(t):
    """`nacre up` in the moment a daemon is killed waits for its end and starts it."""
    one, mount = cluster.started(t, osts=2)
    for _ in range(5):
        for name, pid in one.pids().items():
            os.kill(pid, signal.SIGKILL)
            one.up()
            t.check(one.pids()[name] != pid, "%s is the killed process", name)
    os.mkdir(mount / "d")


@lib.test(limit_s=60)
def keys_that_are_none(t):
    """Files that are no client keys: mount, status and key show name the file."""
    one = cluster.Cluster(t, osts=1)
    one.up()
    for name, text in (("garbage", "hello\n"), ("empty", ""), ("server", None)):
        path = one.key("server.key") if text is None else t.path(name)
        if text is not None:
            with open(path, "w", encoding="utf-8") as file:
                file.write(text)
        one.mount_refused(holds=path, key=path)
        t.refused("nacre", "key", "show", path, holds=path)
        t.refused("nacre", "status", "--mgs", one.source.split("/")[0].rstrip(":"), "--key", path, holds=path)
    one.mount_refused(holds=t.path("absent"), key=t.path("absent"))


@lib.test(limit_s=60)
def places_that_cannot_be(t):
    """A file instead of a directory, no right to write, a Nacre mount: `nacre up` says so."""
    with open(t.path("file"), "w", encoding="utf-8"):
        pass
    t.refused("nacre", "up", t.path("file"), holds="Not a directory")
    t.refused("nacre", "up", "/proc/nacre", holds="/proc/nacre")
    t.refused("nacre", "down", t.path("nothing"), holds="nacre up makes one")
    os.mkdir(t.path("others"), 0o755)
    t.refused("nacre", "up", t.path("others/new"), holds="Permission denied", preexec_fn=lib.drop_to(12345))
    _, mount = cluster.started(t, osts=1)
    t.refused("nacre", "up", mount / "inner", holds="Nacre mount")
    t.check(not os.path.exists(mount / "inner"), "a refused up made its directory")


@lib.test(limit_s=60)
def dead_targets_do_not_add_up(t):
    """status, df and check with three dead OSTs take as long as with one, and say nothing but what they are for."""
    one, mount = cluster.started(t, osts=4)
    one.kill("ost0000", "ost0001", "ost0003")
    for words, limit_s in ((["nacre", "status", one.dir], 4), (["lfs", "df", mount.point], 5),
                           (["lfs", "check", "osts", mount.point], 5)):
        start = time.monotonic()
        result = t.run(*words, check=False)
        took = time.monotonic() - start
        t.check(took < limit_s, "%s took %.1f s", words[0:2], took)
        t.check("WARN" not in result.stderr, "a log line on stderr: %s", result.stderr)
    facts = json.loads(t.run("nacre", "status", one.dir, "--json", check=False).stdout)
    t.equal([x["name"] for x in facts["targets"] if x["state"] == "down"], ["OST0000", "OST0001", "OST0003"], "down")
    found = json.loads(t.run("lfs", "check", "osts", "--json", mount.point, check=False).stdout)
    live = [x for x in found if x["active"]]
    t.equal([x["name"] for x in live], ["OST0002"], "active OSTs")
    t.check(live[0]["latency_us"] < 1000000, "latency of a live OST: %d us", live[0]["latency_us"])
    one.up()


lib.main(__doc__)
