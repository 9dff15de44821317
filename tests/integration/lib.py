"""The harness of the integration tests: namespaces, one process and one directory per test, limits, counts, logs.

A test file registers functions with @test and ends with main(__doc__). Method and invariants:

- The program starts itself again in mount and pid namespaces of its own; a first process there only reaps orphans. When
  the program ends, however it ends, the kernel kills every daemon and drops every mount: nothing can leak.
- Each test runs in a forked child with a scratch directory of its own. The parent never touches a mount, so a test that
  hangs in one is still ended at its limit. After each test what runs or is mounted is removed; a test that passed
  and left something behind has failed.
- On failure the test's logs are kept, and the line that repeats it is printed with its seed.
- /dev/fuse is a 0666 node of the namespace's own, so that ordinary users can mount where the machine's is root's.
"""

import argparse
import ctypes
import dataclasses
import fnmatch
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import traceback
import zlib

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.environ.get("NACRE_BIN") or os.path.join(ROOT, "build", "bin")
SCRATCH = os.environ.get("NACRE_SCRATCH") or os.path.join(ROOT, "build", "integration")
SUITE = os.environ.get("NACRE_SUITE", "full")
LONG = SUITE == "long"

CLONE_NEWNS, CLONE_NEWPID = 0x00020000, 0x20000000
MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_REC, MS_PRIVATE, MS_BIND = 4, 8, 2, 16384, 1 << 18, 4096
MNT_DETACH = 2
EXIT_SKIP = 77
EXIT_EXPECTED = 76
TAIL_LINES = 14
MARK = "NACRE_TEST_NAMESPACE"

LIBC = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    """A test's complaint: one line for people."""


class Expected(Exception):
    """What had to go wrong went wrong: the test has passed, what still runs is swept away."""


class Skip(Exception):
    """What this machine lacks."""


@dataclasses.dataclass(frozen=True)
class Case:
    name: str
    function: object
    limit_s: int
    suites: tuple
    purpose: str


CASES = []


def test(limit_s=60, suites=("full", "long")):
    """Registers a test; the first line of its docstring is its purpose."""

    def take(function):
        purpose = (function.__doc__ or "").strip().split("\n")[0]
        assert purpose, "%s does not say its purpose" % function.__name__
        CASES.append(Case(function.__name__, function, limit_s, suites, purpose))
        return function

    return take


def libc_check(result, what):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, "%s: %s" % (what, os.strerror(number)))


def mount(source, target, fs, flags=0, data=None):
    libc_check(LIBC.mount(os.fsencode(source), os.fsencode(target), fs.encode() if fs else None,
                          ctypes.c_ulong(flags), data.encode() if data else None), "mount " + target)


def umount(target, flags=MNT_DETACH):
    libc_check(LIBC.umount2(os.fsencode(target), flags), "umount " + target)


def mount_points(below, kind=""):
    """Mount points below a directory, the newest first, so that they can be unmounted in this order."""
    found = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:
            point = line.split()[4].encode("latin-1", "surrogateescape").decode("unicode_escape")
            if point.startswith(below.rstrip("/") + "/") and (" - " + kind) in line:
                found.append(point)
    return found[::-1]


def processes():
    """pid -> command line of everything in this pid namespace but its first process and ourselves."""
    found = {}
    for entry in os.listdir("/proc"):
        if not entry.isdigit() or int(entry) in (1, os.getpid()):
            continue
        try:
            with open("/proc/%s/stat" % entry, encoding="utf-8", errors="replace") as file:
                state = file.read().rsplit(")", 1)[1].split()[0]
            with open("/proc/%s/cmdline" % entry, "rb") as file:
                line = file.read().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue
        if state not in "ZX":
            found[int(entry)] = line
    return found


def pid_wait(pid, limit_s):
    """True when the process has ended within the limit."""
    import select

    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([fd], [], [], limit_s)[0])
    finally:
        os.close(fd)


def wait_for(fact, limit_s, what):
    """Polls a fact that has no event; returns its first true value."""
    end = time.monotonic() + limit_s
    while True:
        value = fact()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure("%s: not within %g s" % (what, limit_s))
        time.sleep(0.005)


class Test:
    """What a test function gets: its directory, its random numbers, commands, checks, things to undo."""

    def __init__(self, name, folder, seed):
        self.name = name
        self.dir = folder
        self.seed = seed
        self.rng = random.Random(zlib.crc32(name.encode()) ^ seed)
        self.cleanups = []

    def path(self, *parts):
        return os.path.join(self.dir, *parts)

    def say(self, text, *args):
        print("[%s] %s" % (time.strftime("%H:%M:%S"), text % args if args else text), flush=True)

    def check(self, condition, text, *args):
        if not condition:
            raise Failure(text % args if args else text)

    def equal(self, got, want, what):
        if got != want:
            raise Failure("%s: %s, not %s" % (what, short(got), short(want)))

    def fails(self, number, function, *args):
        """The call must fail with this errno."""
        try:
            value = function(*args)
        except OSError as error:
            if error.errno != number:
                raise Failure("%s%s: %s, not %s" % (function.__name__, short(args), error,
                                                    os.strerror(number))) from error
            return
        raise Failure("%s%s did not fail but gave %s" % (function.__name__, short(args), short(value)))

    def run(self, *command, check=True, limit_s=120, **options):
        """Runs a command; its output is in the log and in the result (text unless text=False is given)."""
        options.setdefault("text", True)
        self.say("$ %s", " ".join(str(word) for word in command))
        result = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, capture_output=True,
                                timeout=limit_s, check=False, **options)
        for stream in (result.stdout, result.stderr):
            if stream and options["text"]:
                print("    | " + short(stream, 3000).rstrip().replace("\n", "\n    | "), flush=True)
        if check and result.returncode != 0:
            last = (result.stderr or result.stdout or "").strip() if options["text"] else ""
            raise Failure("%s: exit status %d: %s" % (" ".join(str(w) for w in command[:6]), result.returncode,
                                                      last.split("\n")[-1]))
        return result

    def out(self, *command, **options):
        return self.run(*command, **options).stdout

    def refused(self, *command, holds="", limit_s=60, **options):
        """The command must fail with one line on stderr, which is returned."""
        result = self.run(*command, check=False, limit_s=limit_s, **options)
        lines = result.stderr.strip().split("\n")
        self.check(result.returncode != 0, "%s: did not fail", " ".join(str(w) for w in command))
        self.check(len(lines) == 1 and lines[0], "%s: not one line: %s", command[0], short(result.stderr))
        self.check(holds in lines[0], "'%s' is not in: %s", holds, lines[0])
        return lines[0]

    def spawn(self, function, *args):
        """Runs a function in a forked process; Job.join() raises when it failed."""
        return Job(self, function, args)

    def skip(self, reason):
        raise Skip(reason)

    def cleanup(self, function):
        """Called at the end of a test that passed, the last one first. A failed one is cleaned up by force."""
        self.cleanups.append(function)


class Job:
    def __init__(self, t, function, args):
        self.name = "%s%s" % (function.__name__, short(args, 60))
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            try:
                t.cleanups = []
                function(*args)
                status = 0
            except Failure as error:
                print("FAILED %s: %s" % (self.name, error))
            except BaseException:  # pylint: disable=broad-except
                traceback.print_exc(file=sys.stdout)
            sys.stdout.flush()
            os._exit(status)

    def running(self):
        return not pid_wait(self.pid, 0)

    def signal(self, number):
        os.kill(self.pid, number)

    def join(self, limit_s=120):
        if not pid_wait(self.pid, limit_s):
            raise Failure("%s still runs after %d s" % (self.name, limit_s))
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        if status != 0:
            raise Failure("%s failed (%d); see the log" % (self.name, status))


def short(value, limit=400):
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else text[: limit // 2] + " ... " + text[-limit // 2 :]


def drop_to(uid, gid=None, groups=()):
    """A preexec_fn: the child becomes this user."""

    def change():
        os.setgroups(list(groups))
        os.setresgid(*[uid if gid is None else gid] * 3)
        os.setresuid(*[uid] * 3)

    return change


# ---- namespaces ----


def namespaces_enter():
    """Goes on only in the process that runs the tests; the others wait for it and leave with its status."""
    libc_check(LIBC.unshare(CLONE_NEWNS | CLONE_NEWPID), "unshare")
    first = os.fork()
    if first != 0:
        stand_by(first, signal.SIGKILL)
    mount("none", "/", "", MS_REC | MS_PRIVATE)
    # Other people's mounts of a file system of the same name would be asked by lfs too.
    for point in mount_points("/", "fuse.nacre "):
        umount(point)
    mount("proc", "/proc", "proc", MS_NODEV | MS_NOEXEC | MS_NOSUID)
    LIBC.prctl(1, signal.SIGKILL, 0, 0, 0)
    worker = os.fork()
    if worker != 0:
        stand_by(worker, signal.SIGTERM)


def stand_by(pid, pass_on):
    """Reaps everything until `pid` ends. A signal to us ends it."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: os.kill(pid, pass_on))
    while True:
        try:
            ended, status = os.wait()
        except ChildProcessError:
            os._exit(1)
        if ended == pid:
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)


def fuse_node_make():
    folder = os.path.join(SCRATCH, ".dev")
    os.makedirs(folder, exist_ok=True)
    mount("tmpfs", folder, "tmpfs")
    node = os.path.join(folder, "fuse")
    os.mknod(node, 0o020666, os.makedev(10, 229))
    os.chmod(node, 0o666)
    if not os.path.exists("/dev/fuse"):
        raise Failure("this machine has no /dev/fuse")
    mount(node, "/dev/fuse", "", MS_BIND)


# ---- running ----


def user_become(folder, uid):
    """The test itself, and with it all it starts, runs as an ordinary user."""
    os.chown(folder, uid, uid)
    drop_to(uid)()
    # Changing the user hides a process from its like: what it starts is looked at in /proc.
    LIBC.prctl(4, 1, 0, 0, 0)
    os.environ["HOME"] = folder


def child_run(case, folder, args):
    """The forked child: runs one test and leaves with its status. The reason is the last line of its log."""
    t = Test(case.name, folder, args.seed)
    if args.uid:
        user_become(folder, args.uid)
    status, reason = 1, ""
    # Whoever started us in the background had us ignore SIGINT; the programs under test must not.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)
    try:
        case.function(t)
        for function in reversed(t.cleanups):
            function()
        status = 0
    except Skip as error:
        status, reason = EXIT_SKIP, str(error)
    except Expected as error:
        status, reason = EXIT_EXPECTED, str(error)
    except Failure as error:
        reason = str(error)
        traceback.print_exc(file=sys.stdout)
    except BaseException as error:  # pylint: disable=broad-except
        reason = "%s: %s" % (type(error).__name__, error)
        traceback.print_exc(file=sys.stdout)
    print("@@ %s" % " ".join(reason.split()))
    sys.stdout.flush()
    os._exit(status)


def sweep():
    """Ends what runs in the namespace and unmounts what is below the scratch directory; returns what there was."""
    found = []
    end = time.monotonic() + 2
    while processes() and time.monotonic() < end:
        time.sleep(0.02)
    for _ in range(100):
        running = processes()
        for pid, line in running.items():
            found.append("process %d %s" % (pid, line))
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for pid in running:
            pid_wait(pid, 5)
        if not running:
            break
    for point in mount_points(SCRATCH):
        if not point.startswith(os.path.join(SCRATCH, ".dev")):
            found.append("mount " + point)
            umount(point)
    for path in loops_of(SCRATCH):
        found.append("loop device " + path)
        subprocess.run(["losetup", "-d", path], check=False)
    return found


def loops_of(folder):
    found = []
    for entry in os.listdir("/sys/block"):
        try:
            with open("/sys/block/%s/loop/backing_file" % entry, encoding="utf-8") as file:
                if file.read().startswith(folder + "/"):
                    found.append("/dev/" + entry)
        except OSError:
            continue
    return found


def logs_keep(folder, log, kept):
    """Copies what helps to understand a failure: logs, configurations; not the data."""
    shutil.rmtree(kept, ignore_errors=True)
    os.makedirs(kept)
    shutil.copy(log, kept)
    for top, folders, files in os.walk(folder):
        folders[:] = [f for f in folders if f not in ("data", "mnt", "keys")]
        for name in files:
            if name.endswith((".log", ".yaml", ".txt", ".journal")):
                to = os.path.join(kept, os.path.relpath(top, folder))
                os.makedirs(to, exist_ok=True)
                shutil.copy(os.path.join(top, name), to)


def case_run(case, args, program):
    folder = os.path.join(SCRATCH, "%s.%s" % (program, case.name))
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    log = os.path.join(folder, "test.log")
    start = time.monotonic()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.close(out)
        child_run(case, folder, args)
    in_time = pid_wait(child, case.limit_s * args.patience)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if in_time else None
    left = sweep()
    if not in_time:
        os.waitpid(child, 0)
    with open(log, encoding="utf-8", errors="replace") as file:
        lines = file.read().rstrip().split("\n")
    reason = lines[-1][3:] if lines[-1].startswith("@@ ") else "it died"
    if not in_time:
        reason = "ran into its limit of %d s" % case.limit_s
    elif status == EXIT_EXPECTED:
        status = 0
    elif status == 0 and left:
        status, reason = 1, "left behind: " + "; ".join(left)
    verdict_print(case, program, args, status, reason, lines, time.monotonic() - start)
    if status not in (0, EXIT_SKIP):
        kept = os.path.join(SCRATCH, "failed", "%s.%s" % (program, case.name))
        logs_keep(folder, log, kept)
        print("    logs: %s" % os.path.relpath(kept, ROOT))
    if not args.keep:
        shutil.rmtree(folder, ignore_errors=True)
    return status


def verdict_print(case, program, args, status, reason, lines, seconds):
    name = "%s.%s" % (program, case.name)
    if status == 0:
        print("ok %s (%.1f s)" % (name, seconds))
    elif status == EXIT_SKIP:
        print("SKIP %s: %s" % (name, reason))
    else:
        print("FAIL %s (%.1f s): %s" % (name, seconds, reason))
        for line in lines[-TAIL_LINES:]:
            print("    | " + line)
        print("    again: NACRE_SEED=%d /usr/bin/python3 -B %s --keep %s"
              % (args.seed, os.path.relpath(sys.argv[0], ROOT), ("--uid %d " % args.uid if args.uid else "") + case.name))
    sys.stdout.flush()


def arguments(doc):
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("patterns", nargs="*", metavar="NAME", help="only tests whose name matches (shell patterns)")
    parser.add_argument("--list", action="store_true", help="names and purposes")
    parser.add_argument("--keep", action="store_true", help="keep the scratch directories")
    parser.add_argument("--patience", type=float, default=1.0, help="multiply the tests' limits by this")
    parser.add_argument("--uid", type=int, default=0, help="run the tests as this user instead of root")
    parser.add_argument("--repeat", type=int, default=1, help="run each so often, with seed, seed + 1, ...")
    args = parser.parse_args()
    seed = os.environ.get("NACRE_SEED")
    args.seed = int(seed, 0) if seed else random.SystemRandom().randrange(1 << 32)
    return args


def selected(patterns):
    if patterns:
        return [c for c in CASES if any(fnmatch.fnmatchcase(c.name, p) for p in patterns)]
    return [c for c in CASES if SUITE in c.suites]


def main(doc):
    args = arguments(doc)
    if args.list:
        for case in CASES:
            print("%-28s %4d s  %-16s %s" % (case.name, case.limit_s, ",".join(case.suites), case.purpose))
        sys.exit(0)
    program = os.path.splitext(os.path.basename(sys.argv[0]))[0]
    cases = selected(args.patterns)
    print("%s: %d tests, seed %d (NACRE_SEED repeats it)" % (program, len(cases), args.seed), flush=True)
    if os.getuid() != 0:
        for case in cases:
            print("SKIP %s.%s: mounts and namespaces of the tests need root" % (program, case.name))
        print("0 passed, 0 failed, %d skipped" % len(cases))
        sys.exit(0)
    if not os.path.exists(os.path.join(BIN, "nacre")):
        sys.exit("%s has no nacre: ./dev build first" % BIN)
    os.makedirs(SCRATCH, exist_ok=True)
    os.umask(0o022)
    os.environ["PATH"] = BIN + ":" + os.environ["PATH"]
    os.environ["LC_ALL"] = "C.UTF-8"
    namespaces_enter()
    fuse_node_make()
    results = []
    for number in range(args.repeat):
        results += [case_run(case, args, program) for case in cases]
        args.seed += 1
    passed, skipped = results.count(0), results.count(EXIT_SKIP)
    failed = len(results) - passed - skipped
    print("%d passed, %d failed, %d skipped" % (passed, failed, skipped), flush=True)
    sys.exit(1 if failed or not results else 0)
