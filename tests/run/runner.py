"""Runs one step of the check: its process, its log, its time limit, its count, and what it left behind.

Invariants: a step's processes never outlive it. The driver is a subreaper, so that even a daemon that
detached itself is found, named as a failure and killed. A step that executed nothing has failed.
"""

import ctypes
import dataclasses
import os
import re
import signal
import subprocess
import time

import state

PR_SET_CHILD_SUBREAPER = 36
COUNT = re.compile(r"^(\d+) passed, (\d+) failed, (\d+) skipped$")
SKIP = re.compile(r"^SKIP (\S+): (.+)$")
PATIENCE_S = 3.0
HEARTBEAT_S = 60.0


@dataclasses.dataclass
class Result:
    name: str
    seconds: float = 0.0
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    problems: list = dataclasses.field(default_factory=list)
    skips: list = dataclasses.field(default_factory=list)
    log: str = ""

    def ok(self):
        return self.failed == 0

    def problem(self, text):
        self.problems.append(text)


def become_subreaper():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def reap():
    """Collects orphans that became our children and have ended."""
    while True:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return


def orphans_wait(patience_s):
    end = time.monotonic() + patience_s
    while True:
        reap()
        pids = state.descendants(os.getpid())
        if not pids or time.monotonic() >= end:
            return pids
        time.sleep(0.05)


def orphans_kill():
    """Ends whatever still runs below us; returns its description."""
    names = []
    pids = orphans_wait(PATIENCE_S)
    while pids:
        for pid in pids:
            names.append("process %d %s" % (pid, state.command_line(pid)))
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        # Killing one may have orphaned others that were not in the list.
        pids = orphans_wait(1.0)
        if len(names) > 1000:
            break
    return names


def group_kill(process):
    """SIGTERM, five seconds to clean up, SIGKILL: for a step that passed its limit or was interrupted."""
    for sig in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sig)
        except ProcessLookupError:
            pass
        try:
            process.wait(timeout=5)
            return
        except subprocess.TimeoutExpired:
            continue


def wait(process, limit_s, heartbeat):
    """True when the process ended by itself within its limit."""
    start = time.monotonic()
    next_beat = start + HEARTBEAT_S
    while True:
        try:
            process.wait(timeout=max(0.0, min(start + limit_s, next_beat) - time.monotonic()))
            return True
        except subprocess.TimeoutExpired:
            now = time.monotonic()
            if now >= start + limit_s:
                return False
            heartbeat(now - start)
            next_beat = now + HEARTBEAT_S


def count_log(result):
    """Reads counts and SKIP lines from the log; None when the step did not state its own count."""
    last = ""
    with open(result.log, encoding="utf-8", errors="replace") as lines:
        for line in lines:
            line = line.rstrip()
            if SKIP.match(line):
                result.skips.append(line)
            if line:
                last = line
    return COUNT.match(last)


def judge(result, status, stated):
    """Turns an exit status and a stated count into the result's numbers."""
    if stated:
        result.passed, result.failed, result.skipped = (int(n) for n in stated.groups())
        if status != 0 and result.failed == 0:
            result.failed = 1
            result.problem("exit status %d although it counted no failure" % status)
        elif status == 0 and result.failed != 0:
            result.problem("counted failures although its exit status was 0")
    elif status == 0:
        result.passed = 1
    else:
        result.failed = 1
        result.problem("exit status %d" % status)
    if result.passed + result.failed == 0:
        result.failed = 1
        result.problem("it executed nothing")


def run(step, log, env, cwd, heartbeat):
    """Runs a step to its end. Never raises for what the step does; KeyboardInterrupt passes after a clean-up."""
    result = Result(step.name, log=log)
    before = state.snapshot()
    start = time.monotonic()
    with open(log, "wb") as out:
        try:
            process = subprocess.Popen(step.command, stdin=subprocess.DEVNULL, stdout=out, cwd=cwd,
                                       stderr=subprocess.STDOUT, env=env, start_new_session=True)
        except OSError as error:
            result.failed = 1
            result.problem("cannot be started: %s" % error)
            return result
        try:
            in_time = wait(process, step.limit_s, heartbeat)
        except BaseException:
            group_kill(process)
            orphans_kill()
            raise
        if not in_time:
            group_kill(process)
    left = orphans_kill()
    stated = count_log(result)
    judge(result, process.returncode, stated)
    if not in_time:
        result.failed = max(1, result.failed)
        result.problem("ran into its limit of %d s" % step.limit_s)
    left += [text for text in state.leftovers(before, PATIENCE_S) if text not in left]
    for text in left:
        result.failed += 1
        result.problem("left behind: " + text)
    result.seconds = time.monotonic() - start
    return result
