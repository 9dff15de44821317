"""The whole file system as an ordinary user: nacre up, mounts, striping, kills and down, with the tests of the other programs.

Daemons run as the user who starts them (docs/mount.md). The other programs are run with --uid, those of their tests
that need no root: nothing but /dev/fuse, which the harness makes 0666, and fusermount3 is not the user's own.
"""

import os
import re
import subprocess
import sys

import lib

UID = 65534  # nobody: fusermount3 wants a name
TESTS = (
    ("smoke", ("*",)),
    ("striping", ("setstripe*", "inheritance", "pools", "borders", "tools", "grows")),
    ("coherence", ("interleaved", "three_writers", "agree_over_restarts")),
    ("survival", ("each_daemon_killed", "everything_killed", "up_is_idempotent", "down_refuses_a_busy_mount", "umount_waits",
                  "open_files_survive")),
    ("mistakes", ("refused_up_can_be_repeated", "up_right_after_kill", "keys_that_are_none")),
    ("killsteps", ("client_dies",)),
)


def main():
    passed = failed = 0
    if os.getuid() != 0:
        print("SKIP unprivileged: the harness makes namespaces, which needs root")
        print("0 passed, 0 failed, 1 skipped")
        return 0
    for program, names in TESTS:
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), program + ".py")
        result = subprocess.run([sys.executable, "-B", path, "--uid", str(UID), *names], stdin=subprocess.DEVNULL,
                                capture_output=True, text=True, check=False)
        print(result.stdout + result.stderr, end="", flush=True)
        counts = re.search(r"^(\d+) passed, (\d+) failed, (\d+) skipped$", result.stdout, re.M)
        if not counts or counts.group(3) != "0" or (result.returncode != 0) != (counts.group(2) != "0"):
            print("FAIL unprivileged.%s: it ended with status %d" % (program, result.returncode))
            failed += 1
        if counts:
            passed += int(counts.group(1))
            failed += int(counts.group(2))
    print("%d passed, %d failed, 0 skipped" % (passed, failed))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    assert lib.ROOT
    sys.exit(main())
