"""Databases on a mount: PostgreSQL and SQLite, through kill -9 of themselves, of the servers, and of everything at once.

What a database answered as committed must be there afterwards, and its own checks must find nothing: pgbench keeps four sums
equal, pg_amcheck compares tables with their indexes, SQLite has its integrity check.
"""

import glob
import os
import pwd
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))

import cluster  # noqa: E402 pylint: disable=wrong-import-position
import lib  # noqa: E402 pylint: disable=wrong-import-position

SUMS = "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(bbalance) FROM pgbench_branches)" \
       " AND (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(tbalance) FROM pgbench_tellers)" \
       " AND (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT coalesce(sum(delta), 0) FROM pgbench_history)"


class Postgres:
    """One server of PostgreSQL with its data on the mount and its socket beside the test."""

    def __init__(self, t, data):
        found = sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))
        t.check(found, "this machine has no PostgreSQL")
        self.t = t
        self.bin = os.path.dirname(found[-1])
        self.data = data
        self.user = pwd.getpwnam("postgres")
        self.sockets = t.path("pg")
        self.log = t.path("postgres.log")
        os.mkdir(self.sockets)
        os.chown(self.sockets, self.user.pw_uid, self.user.pw_gid)
        # The server's user must reach its data and its socket.
        for folder in (t.dir, lib.SCRATCH):
            os.chmod(folder, 0o755)
        self.process = None

    def command(self, name, *words):
        return (os.path.join(self.bin, name),) + words

    def run(self, name, *words, **options):
        options.setdefault("preexec_fn", lib.drop_to(self.user.pw_uid, self.user.pw_gid))
        env = dict(os.environ, PGHOST=self.sockets, PGUSER="postgres", PGDATABASE="postgres")
        return self.t.run(*self.command(name, *words), env=env, cwd="/", **options)

    def init(self):
        os.mkdir(self.data)
        os.chown(self.data, self.user.pw_uid, self.user.pw_gid)
        self.run("initdb", "-D", self.data, "-A", "trust", "--data-checksums", "--no-locale", "-E", "UTF8")

    def start(self):
        words = self.command("postgres", "-D", self.data, "-k", self.sockets, "-c", "listen_addresses=", "-c",
                             "restart_after_crash=off", "-c", "shared_buffers=16MB", "-c", "checkpoint_timeout=30s")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/",
                                            preexec_fn=lib.drop_to(self.user.pw_uid, self.user.pw_gid))
        lib.wait_for(lambda: self.run("pg_isready", "-q", check=False).returncode == 0 or self.process.poll() is not None, 60,
                     "PostgreSQL answers")
        self.t.check(self.process.poll() is None, "PostgreSQL did not start; see postgres.log")

    def children(self):
        with open("/proc/%d/task/%d/children" % (self.process.pid, self.process.pid), encoding="utf-8") as file:
            return [int(word) for word in file.read().split()]

    def kill(self):
        """kill -9 of all its processes at once."""
        pids = [self.process.pid] + self.children()
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()
        for pid in pids[1:]:
            self.t.check(lib.pid_wait(pid, 20), "a killed process of PostgreSQL does not end")

    def stop(self):
        self.process.send_signal(signal.SIGINT)
        self.t.equal(self.process.wait(60), 0, "status of PostgreSQL")

    def query(self, text):
        return self.run("psql", "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-c", text).stdout.strip()

    def bench(self, seconds):
        """pgbench in the background; its result is read by bench_end."""
        words = self.command("pgbench", "-n", "-c", "4", "-j", "2", "-T", str(seconds))
        env = dict(os.environ, PGHOST=self.sockets, PGUSER="postgres", PGDATABASE="postgres")
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env,
                                cwd="/", preexec_fn=lib.drop_to(self.user.pw_uid, self.user.pw_gid))

    def verify(self):
        self.t.equal(self.query(SUMS), "t", "pgbench's four sums are equal")
        self.query("CREATE EXTENSION IF NOT EXISTS amcheck")
        self.run("pg_amcheck", "--heapallindexed", "postgres")
        return int(self.query("SELECT count(*) FROM pgbench_history"))


def bench_done(t, bench, limit_s):
    out = bench.communicate(timeout=limit_s)[0]
    t.say("%s", out)
    t.equal(bench.returncode, 0, "status of pgbench")
    t.check("number of failed transactions: 0 " in out, "pgbench has failed transactions")


@lib.test(limit_s=240)
def postgresql(t):
    """initdb and pgbench; kill -9 of PostgreSQL, of the servers under it, and of everything; sums, indexes and checksums hold."""
    one, mount = cluster.started(t)
    seconds = 30 if lib.LONG else 4
    pg = Postgres(t, mount / "data")
    pg.init()
    pg.start()
    pg.run("pgbench", "-i", "-q", "-s", "10" if lib.LONG else "1")
    bench_done(t, pg.bench(seconds), 60 + seconds)
    rows = pg.verify()
    t.check(rows > 0, "no transaction was made")

    bench = pg.bench(60)
    lib.wait_for(lambda: int(pg.query("SELECT count(*) FROM pgbench_history")) > rows + 20, 60, "transactions run")
    seen = int(pg.query("SELECT count(*) FROM pgbench_history"))
    pg.kill()
    bench.communicate(timeout=60)
    pg.start()
    rows = pg.verify()
    t.check(rows >= seen, "%d committed transactions after kill -9 of PostgreSQL, %d were seen", rows, seen)

    bench = pg.bench(seconds + 4)
    for _ in range(3):
        lib.pid_wait(bench.pid, t.rng.uniform(0.3, 1.2))
        one.kill()
        one.up()
    bench_done(t, bench, 120)
    seen = pg.verify()

    bench = pg.bench(60)
    lib.wait_for(lambda: int(pg.query("SELECT count(*) FROM pgbench_history")) > seen + 20, 60, "transactions run")
    seen = int(pg.query("SELECT count(*) FROM pgbench_history"))
    one.kill()
    mount.kill()
    pg.kill()
    bench.kill()
    bench.communicate(timeout=60)
    one.up()
    one.mount(mount.name)
    pg.start()
    rows = pg.verify()
    t.check(rows >= seen, "%d committed transactions after kill -9 of everything, %d were seen", rows, seen)
    pg.stop()
    pg.run("pg_checksums", "--check", "-D", pg.data)


WRITER = """
import sqlite3, sys
path, who, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
db = sqlite3.connect(path, timeout=60, isolation_level=None)
for n in range(rounds):
    db.execute("BEGIN IMMEDIATE")
    a, b = db.execute("SELECT id FROM account ORDER BY random() LIMIT 2").fetchall()
    db.execute("UPDATE account SET sum = sum - ? WHERE id = ?", (n, a[0]))
    db.execute("UPDATE account SET sum = sum + ? WHERE id = ?", (n, b[0]))
    db.execute("INSERT INTO history (who, n) VALUES (?, ?)", (who, n))
    db.execute("COMMIT")
    print(n, flush=True)
"""


def sqlite_open(t, path, mode):
    script = "PRAGMA journal_mode=%s; CREATE TABLE account (id INTEGER PRIMARY KEY, sum INTEGER);" \
             "CREATE TABLE history (id INTEGER PRIMARY KEY, who TEXT, n INTEGER, UNIQUE (who, n));" \
             "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 500) INSERT INTO account SELECT x, 1000 FROM c;"
    t.run("sqlite3", path, script % mode)


def sqlite_writers(path, round_number, rounds):
    return [subprocess.Popen(("/usr/bin/python3", "-c", WRITER, path, "%d.%d" % (round_number, n), str(rounds)),
                             stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True) for n in range(4)]


def sqlite_verify(t, path, least):
    t.equal(t.out("sqlite3", path, "PRAGMA integrity_check; SELECT sum(sum) FROM account").split(), ["ok", "500000"], "integrity and sum")
    found = int(t.out("sqlite3", path, "SELECT count(*) FROM history"))
    t.check(found >= least, "%d transactions are there, %d were committed", found, least)


@lib.test(limit_s=240)
def sqlite(t):
    """Four processes move money in one SQLite database, in rollback and in WAL mode, while they and the servers are killed."""
    one, mount = cluster.started(t)
    for mode in ("delete", "wal"):
        path = mount / ("bank." + mode)
        sqlite_open(t, path, mode)
        rounds = 400 if lib.LONG else 40
        done = 0
        writers = sqlite_writers(path, 0, rounds)
        lib.pid_wait(writers[0].pid, 0.5)
        one.kill()
        one.up()
        for writer in writers:
            done += len(writer.communicate(timeout=120)[0].split())
            t.equal(writer.returncode, 0, "status of a writer")
        t.equal(done, 4 * rounds, "transactions of writers that were let finish")
        sqlite_verify(t, path, done)
        writers = sqlite_writers(path, 1, 100000)
        writers[0].stdout.readline()
        lib.pid_wait(writers[0].pid, t.rng.uniform(0.2, 1.0))
        for writer in writers:
            writer.kill()
        done += sum(len(writer.communicate(timeout=60)[0].split()) for writer in writers)
        sqlite_verify(t, path, done)


lib.main(__doc__)
