"""What the daemons tell of themselves: metrics agree with what was done, only the right people are told, logs obey."""

import http.client
import json
import os
import re
import signal
import socket
import threading
import time

import cluster
import lib

ALL = ("quick", "full", "long")
TOKEN = "0123456789abcdefTOKEN"
SAMPLE = re.compile(r'(nacre_[a-z0-9_]+)(?:\{((?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)*)\})? ([0-9.e+-]+|\+Inf)')


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout=10):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)  # waits while the queue of connections is full
        self.sock.settimeout(self.timeout)


def ask(where, url="/metrics", method="GET", headers=None):
    """(status, text); where: the path of a socket, or (address, port)."""
    connection = UnixConnection(where) if isinstance(where, str) else http.client.HTTPConnection(*where, timeout=10)
    try:
        connection.request(method, url, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


class Scrape:
    """One /metrics, read as strictly as promtool does: each family once, with HELP and TYPE, histograms complete."""

    def __init__(self, t, where, headers=None):
        status, text = ask(where, headers=headers)
        t.equal(status, 200, "status of /metrics")
        t.check(text.endswith("\n"), "the text does not end with a newline")
        self.t = t
        self.families = {}
        self.values = {}
        self.labels = {}
        family = None
        for line in text.split("\n")[:-1]:
            word = line.split(" ")
            if line.startswith("# HELP "):
                t.check(word[2] not in self.families and len(word) > 4, "HELP: %s", line)
                family = word[2]
            elif line.startswith("# TYPE "):
                t.check(word[2] == family and len(word) == 4, "TYPE does not follow its HELP: %s", line)
                self.families[family] = word[3]
            else:
                self.sample(line, family)
        self.histograms()

    def sample(self, line, family):
        match = SAMPLE.fullmatch(line)
        self.t.check(match, "not a sample: %s", line)
        name, labels, value = match.group(1), match.group(2) or "", float(match.group(3))
        kind = self.families[family]
        allowed = [family + end for end in ("_bucket", "_sum", "_count")] if kind == "histogram" else [family]
        self.t.check(name in allowed, "%s stands under %s", name, family)
        self.t.check((kind == "counter") == name.endswith("_total"), "%s is a %s", name, kind)
        self.t.check((name, labels) not in self.values, "twice: %s{%s}", name, labels)
        self.t.check(value >= 0, "negative: %s", line)
        self.values[name, labels] = value
        pairs = re.findall(r'([a-z_]+)="', labels)
        self.labels.setdefault(family, set()).add(tuple(p for p in pairs if p != "le"))

    def histograms(self):
        for family, kind in self.families.items():
            if kind != "histogram":
                continue
            series = {}
            for (name, labels), value in self.values.items():
                if name == family + "_bucket":
                    rest, bound = re.fullmatch(r'(.*?),?le="([^"]+)"', labels).groups()
                    series.setdefault(rest, []).append((float(bound), value))
            self.t.check(series, "%s has no buckets", family)
            for rest, buckets in series.items():
                bounds = [b for b, _ in buckets]
                counts = [c for _, c in buckets]
                self.t.check(bounds == sorted(bounds) and bounds[-1] == float("inf"), "buckets of %s{%s}", family, rest)
                self.t.check(counts == sorted(counts), "%s{%s} is not cumulative", family, rest)
                self.t.equal(self.values[family + "_count", rest], counts[-1], "count of " + family)
                self.t.check((family + "_sum", rest) in self.values, "%s{%s} has no sum", family, rest)

    def get(self, name, **labels):
        want = ",".join('%s="%s"' % item for item in labels.items())
        return self.values.get(("nacre_" + name, want), 0)

    def requests(self, target, op):
        return self.get("request_duration_seconds_count", target=target, op=op)


def mount_socket(mount):
    """Where the tools look for it: found by the open sockets of the process."""
    with open("/proc/net/unix", encoding="utf-8", errors="replace") as file:
        inodes = {line.split()[6]: line.split()[7] for line in file if ".monitor" in line}
    folder = "/proc/%d/fd" % mount.pid
    for fd in os.listdir(folder):
        match = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(os.path.join(folder, fd)))
        if match and match.group(1) in inodes:
            name = os.path.basename(inodes[match.group(1)])
            return os.path.join("/run/nacre", name)
    raise lib.Failure("nacre-fuse of %s listens on no monitor's socket" % mount.point)


def documented():
    """name -> (type, labels) of the table in docs/metrics.md."""
    with open(os.path.join(lib.ROOT, "docs", "metrics.md"), encoding="utf-8") as file:
        rows = re.findall(r"^\| `(nacre_\w+)` \| (\w+) \| ([^|]*) \| [^|]+ \|$", file.read(), re.M)
    return {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}


@lib.test(limit_s=60, suites=ALL)
def counts_agree(t):
    """N creates, writes, reads move the counters of mount, MDT and OSTs by N; every metric is in docs/metrics.md, and the reverse."""
    one, mount = cluster.started(t, osts=2)
    places = {"mds": one.file("run/mds.monitor"), "ost0000": one.file("run/ost0000.monitor"),
              "ost0001": one.file("run/ost0001.monitor"), "m0": mount_socket(mount)}
    before = {name: Scrape(t, place) for name, place in places.items()}
    for number in range(100):
        with open(mount / ("file%d" % number), "xb"):
            pass
    with open(mount / "data", "wb") as file:
        t.run("lfs", "setstripe", "-c", "2", "-S", "64k", mount / "striped")
    data = os.urandom(1 << 20)
    with open(mount / "striped", "r+b", buffering=0) as file:
        file.write(data)
        os.fsync(file.fileno())
        file.seek(0)
        t.check(file.read() == data, "what was written is not what was read")
    t.fails(2, os.stat, mount / "missing")
    after = {name: Scrape(t, place) for name, place in places.items()}

    def moved(who, name, **labels):
        return after[who].get(name, **labels) - before[who].get(name, **labels)

    creates = after["mds"].requests("MDT0000", "mds_create") - before["mds"].requests("MDT0000", "mds_create")
    t.equal(creates, 102, "creates the MDT counted")
    t.equal(moved("m0", "call_duration_seconds_count", op="mds_create"), 102, "creates the mount asked for")
    t.equal(moved("m0", "fuse_request_duration_seconds_count", op="CREATE"), 102, "CREATEs of the kernel")
    t.equal(moved("m0", "client_bytes_total", direction="write"), len(data), "bytes the mount wrote")
    t.equal(moved("m0", "client_bytes_total", direction="read"), len(data), "bytes the mount read")
    for op in ("ost_write", "ost_read"):
        both = sum(moved(who, "request_bulk_bytes_total", target=who.upper(), op=op) for who in ("ost0000", "ost0001"))
        t.equal(both, len(data), "bulk bytes of " + op)
    t.check(moved("mds", "log_appends_total", target="MDT0000") >= 102, "the log has too few records")
    t.check(moved("mds", "log_sync_duration_seconds_count", target="MDT0000") >= 1, "the log was never synced")
    t.equal(after["mds"].get("inodes_used", target="MDT0000") - before["mds"].get("inodes_used", target="MDT0000"), 102,
            "inodes used")
    t.check(after["mds"].get("sessions", target="MDT0000") >= 1, "no session")
    t.check(moved("mds", "reactor_busy_seconds_total", reactor="0") > 0, "the reactor was never busy")
    t.equal(after["m0"].get("monitor_samples_dropped"), 0, "samples dropped")
    table = documented()
    for who, scrape in after.items():
        for family, kind in scrape.families.items():
            t.check(family in table, "%s of %s is not in docs/metrics.md", family, who)
            t.equal((kind, scrape.labels[family]), (table[family][0], {table[family][1]}), family)
    emitted = set().union(*(s.families for s in after.values()))
    t.equal(sorted(set(table) - emitted), [], "documented, but of no daemon")


@lib.test(limit_s=60)
def who_may_ask(t):
    """Other users, wrong tokens and open addresses are refused; a TCP port tells metrics only."""
    one = cluster.Cluster(t, osts=1)
    one.up()
    place = one.file("run/mds.monitor")
    t.equal(os.stat(place).st_mode & 0o777, 0o600, "mode of the socket")

    def as_nobody():
        lib.drop_to(65534)()
        for path in (place, one.file("run/ost0000.monitor")):
            try:
                ask(path)
            except PermissionError:
                continue
            except (OSError, http.client.HTTPException):
                continue
            raise lib.Failure("another user was answered")

    os.chmod(one.dir, 0o755)
    t.spawn(as_nobody).join()
    os.chmod(place, 0o666)  # even then the kernel tells who it is
    t.spawn(as_nobody).join()
    t.check(Scrape(t, place).get("monitor_refused_total", reason="user") >= 1, "the refusal was not counted")
    token = t.path("token")
    with open(token, "w", encoding="utf-8") as file:
        file.write(TOKEN + "\n")
    one.mount_refused(holds="others may read it", options=["monitor_listen=127.0.0.1:0", "monitor_token=" + token])
    os.chmod(token, 0o600)
    one.mount_refused(holds="loopback", options=["monitor_listen=0.0.0.0:0", "monitor_token=" + token])
    mount = one.mount("m1", options=["monitor_listen=127.0.0.1:0", "monitor_token=" + token, "monitor=none"])
    with open(mount.log, encoding="utf-8") as file:
        port = int(re.search(r"metrics on tcp:127\.0\.0\.1:(\d+)", file.read()).group(1))
    tcp = ("127.0.0.1", port)
    t.equal(ask(tcp)[0], 401, "without a token")
    for wrong in ("", TOKEN[:-1], TOKEN + "x", TOKEN.lower()):
        t.equal(ask(tcp, headers={"Authorization": "Bearer " + wrong})[0], 401, "with a wrong token")
    good = {"Authorization": "Bearer " + TOKEN}
    Scrape(t, tcp, headers=good)
    for url, method in (("/log?level=debug", "POST"), ("/traces", "GET"), ("/metrics", "POST"), ("/", "GET")):
        t.check(ask(tcp, url, method, good)[0] in (404, 405), "%s %s is answered over TCP", method, url)
    t.equal(Scrape(t, tcp, headers=good).get("monitor_refused_total", reason="token"), 5, "refusals counted")
    t.equal(ask(place, "/metrics", "GET", {"Content-Length": "5"})[0], 413, "a request with a body")


@lib.test(limit_s=60)
def slow_loris(t):
    """Slow and silent connections in any number keep nobody out and end by themselves; the file system does not notice."""
    one, mount = cluster.started(t, osts=1)
    place = one.file("run/mds.monitor")
    crowd = []
    for _ in range(100):
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(5)
        try:
            sock.connect(place)
            sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: ")
        except OSError:
            sock.close()
            continue
        crowd.append(sock)
    begin = time.monotonic()
    scrape = Scrape(t, place)
    t.check(time.monotonic() - begin < 5, "a scrape among slow connections took %g s", time.monotonic() - begin)
    t.check(scrape.get("monitor_refused_total", reason="crowd") > 0, "nobody was sent away")
    with open(mount / "file", "w", encoding="utf-8") as file:
        file.write("served\n")
    last = crowd[-1]
    stop = threading.Event()

    def drip():
        while not stop.wait(0.2):
            try:
                last.sendall(b"x")
            except OSError:
                return

    thread = threading.Thread(target=drip)
    thread.start()
    last.settimeout(20)
    try:
        ended = last.recv(1) == b""
    except OSError:
        ended = True
    stop.set()
    thread.join()
    t.check(ended, "a connection that sends a byte now and then lives on")
    for sock in crowd:
        sock.close()
    t.check(Scrape(t, place).get("process_open_fds") < 100, "connections were not closed")
    garbage = socket.socket(socket.AF_UNIX)
    garbage.connect(place)
    garbage.sendall(t.rng.randbytes(100000))
    garbage.close()
    Scrape(t, place)


@lib.test(limit_s=60)
def logs(t):
    """Levels change at run time, per module too, and come back; JSON lines are JSON; repeats are limited."""
    one, mount = cluster.started(t, osts=1)
    place = one.file("run/mds.monitor")
    t.equal(json.loads(ask(place, "/log")[1]), {"level": "info", "modules": {}}, "levels at the start")
    t.equal(ask(place, "/log?level=loud", "POST")[0], 400, "an unknown level")
    t.equal(ask(place, "/log?level=debug&module=..%2F", "POST")[0], 400, "a strange module")
    t.equal(json.loads(ask(place, "/log?level=debug&module=rpc", "POST")[1]), {"level": "info", "modules": {"rpc": "debug"}},
            "levels")
    t.equal(json.loads(ask(place, "/log?level=warn", "POST")[1]), {"level": "warn", "modules": {}}, "levels")
    os.kill(one.pids()["mds"], signal.SIGHUP)  # opens the log again and changes no level
    t.equal(json.loads(ask(place, "/log")[1])["level"], "warn", "level after SIGHUP")
    second = one.mount("m1", options=["log_format=json"])
    second.umount()
    with open(second.log, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    t.check(lines and all(set(line) == {"time", "level", "module", "message"} for line in lines), "not JSON lines: %s", lines)
    t.check(any("mounted" in line["message"] for line in lines), "the mount is not told of")
    del mount


@lib.test(limit_s=60, suites=ALL)
def top(t):
    """nacre top shows every target and mount, with the rates of what runs; by directory, by mount point, by socket."""
    one, mount = cluster.started(t, osts=2)

    def work():
        end = time.monotonic() + 30
        number = 0
        while time.monotonic() < end:
            with open(mount / ("f%d" % number), "w", encoding="utf-8") as file:
                file.write("x" * 1000)
            number += 1

    job = t.spawn(work)
    for where in (one.dir, mount.point):
        lines = t.out("nacre", "top", where, "--count", "2", "--interval", "0.5", "--json").strip().split("\n")
        t.equal(len(lines), 2, "objects for two intervals")
        shown = json.loads(lines[1])
        rows = {row["name"]: row for row in shown["rows"]}
        t.equal(sorted(rows), ["MDT0000", "MGT0000", "OST0000", "OST0001", "mount " + mount.point], "rows of " + where)
        t.equal(shown["silent"], [], "daemons that do not answer")
        for name in ("MDT0000", "mount " + mount.point):
            latency = rows[name]["latency"]
            t.check(rows[name]["ops_per_s"] > 10, "%s does only %s", name, rows[name])
            t.check(0 < latency["p50_us"] <= latency["p99_us"] < 1e7, "latencies of %s: %s", name, latency)
        t.check(rows["MDT0000"]["log_bytes_per_s"] > 0 and rows["MDT0000"]["inodes_used"] > 10, "the MDT: %s", rows["MDT0000"])
        creates = [o for o in shown["operations"] if (o["who"], o["op"]) == ("MDT0000", "mds_create")]
        t.check(creates and creates[0]["ops_per_s"] > 3, "creates: %s", creates)
    text = t.out("nacre", "top", one.file("run/mds.monitor"), "--count", "1", "--interval", "0.2")
    t.check("MDT0000" in text and "\x1b" not in text and "p99" in text, "text in a pipe")
    job.signal(signal.SIGKILL)
    one.kill("ost0001")
    lines = t.out("nacre", "top", one.dir, "--count", "1", "--interval", "0.2", "--json")
    t.check(json.loads(lines)["silent"] == ["ost0001"], "a dead daemon is not told of: %s", lines)
    one.up()
    t.refused("nacre", "top", t.dir, holds="no file system was made here")
    t.equal(t.run("nacre", "top", one.dir, "--interval", "0", check=False).returncode, 2, "exit status of wrong usage")


def hops(node):
    yield node
    for child in node["children"]:
        yield from hops(child)


@lib.test(limit_s=60, suites=ALL)
def trace(t):
    """A traced command's requests are shown hop by hop: mount, MDT, OST; a server that is stopped is where the time went."""
    one, mount = cluster.started(t, osts=1)
    with open(mount / "file", "wb") as file:
        file.write(b"x" * 100000)
    words = ["nacre", "trace", mount.point, "--json", "--slowest", "100", "--"]
    lines = t.out(*words, "dd", "if=" + (mount / "file"), "of=/dev/null", "bs=64k", "status=none")
    found = json.loads(lines)
    reads = [trace for trace in found if trace["op"] == "READ"]
    t.check(reads, "no READ was kept: %s", [trace["op"] for trace in found])
    chain = [(hop["kind"], hop["op"], hop["target"]) for hop in hops(reads[0])]
    for hop in (("fuse", "READ", ""), ("call", "ost_read", "OST0000"), ("serve", "ost_read", "OST0000")):
        t.check(hop in chain, "%s is not in %s", hop, chain)
    for trace_ in found:
        for hop in hops(trace_):
            waits = sum(hop["wait_ns"].values())
            t.check(0 <= hop["work_ns"] <= hop["duration_ns"], "work of %s", hop)
            t.check(waits <= hop["duration_ns"] * 1.5 + 1e6, "waits of %s", hop)
        for call in (hop for hop in hops(trace_) if hop["kind"] == "call" and hop["children"]):
            t.check(call["children"][0]["duration_ns"] <= call["duration_ns"] + 1e6, "the server took longer: %s", call)
    # The MDT stands still for a while: that is the slowest request now, and its time was the network's.
    pid = one.pids()["mds"]
    os.kill(pid, signal.SIGSTOP)
    timer = threading.Timer(0.3, os.kill, (pid, signal.SIGCONT))
    timer.start()
    os.stat(mount / "file")
    timer.join()
    slowest = json.loads(t.out("nacre", "trace", one.dir, "--slowest", "1", "--json"))[0]
    t.check(slowest["duration_ns"] > 0.25e9 and slowest["wait_ns"]["net"] > 0.25e9, "the slowest is %s", slowest)
    text = t.out("nacre", "trace", one.dir, slowest["id"])
    t.check(re.search(r"^ +\d+ us +-> MDT0000 mds_", text, re.M) and slowest["id"] in text, "text of one request")
    t.refused("nacre", "trace", one.dir, "0" * 31 + "f", holds="no daemon of this host has kept")
    t.equal(t.run("nacre", "trace", "--slowest", "x", check=False).returncode, 2, "exit status of wrong usage")


@lib.test(limit_s=30)
def log_level(t):
    """nacre log-level shows and changes levels, of all daemons or one, for all modules or one."""
    one, mount = cluster.started(t, osts=1)
    names = ["mds", "ost0000", "mount " + mount.point]
    shown = json.loads(t.out("nacre", "log-level", one.dir, "--json"))
    t.equal(shown, {name: {"level": "info", "modules": {}} for name in names}, "levels at the start")
    t.run("nacre", "log-level", one.dir, "debug", "--daemon", "mds", "--module", "rpc")
    t.run("nacre", "log-level", mount.point, "error", "--daemon", "mount " + mount.point)
    shown = json.loads(t.out("nacre", "log-level", one.dir, "--json"))
    t.equal([shown[name]["level"] for name in names], ["info", "info", "error"], "levels")
    t.equal(shown["mds"]["modules"], {"rpc": "debug"}, "modules of the MDT's daemon")
    t.run("nacre", "log-level", one.dir, "info")
    shown = json.loads(t.out("nacre", "log-level", one.dir, "--json"))
    t.equal([shown[name] for name in names], [{"level": "info", "modules": {}}] * 3, "levels at the end")
    t.refused("nacre", "log-level", one.dir, "info", "--daemon", "ost0009", holds="no daemon ost0009")
    t.equal(t.run("nacre", "log-level", one.dir, "loud", check=False).returncode, 2, "exit status of wrong usage")


lib.main(__doc__)
