/*
 * hop: what one round trip costs between two processes, over env and over raw sockets in the same run.
 *
 * The server process echoes 64-byte messages. Modes: `asleep` (two CPUs, never polling), `polled` (two
 * CPUs, adaptive polling as the reactor decides), `one-cpu` (both on one CPU, adaptive). The raw figure is
 * a blocking recv/send ping-pong placed the same way (`polled`: non-blocking, spinning with sched_yield),
 * so the difference is what the reactor and its fibers add. Every figure is the best of several
 * rounds: the others measure the neighbours.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "env/env.h"
#include "env/posix/reactor.h"

#define MESSAGE 64
#define ROUNDS 5

enum hop_mode {
	MODE_ASLEEP,
	MODE_POLLED,
	MODE_ONE_CPU,
	MODES
};

static const char *const mode_names[MODES] = {"asleep", "polled", "one-cpu"};

struct transport {
	const char *name;
	const char *addr; /* NULL: a Unix socket in a new directory */
	int family;
};

static const struct transport transports[] = {
	{"unix", NULL, AF_UNIX},
	{"tcp4", "tcp:127.0.0.1:0", AF_INET},
	{"tcp6", "tcp:[::1]:0", AF_INET6},
};

struct hop {
	const struct transport *transport;
	enum hop_mode mode;
	unsigned count;
	char addr[256];
	int pipe_fds[2];
	struct env *env;
	uint64_t best_ns;
	uint64_t sleeps;
	uint64_t spins;
	uint64_t crowded;
};

static _noreturn_ void fail(const char *what, int rc)
{
	fprintf(stderr, "hop: %s: %s\n", what, rc < 0 ? ne_text(rc) : strerror(errno));
	exit(1);
}

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((unsigned)cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) != 0) {
		fail("pin", 0);
	}
}

static int server_cpu(enum hop_mode mode)
{
	return mode == MODE_ONE_CPU || sysconf(_SC_NPROCESSORS_ONLN) < 2 ? 0 : 1;
}

/* ---- over env ---- */

static void echo_fiber(void *arg)
{
	struct hop *h = arg;
	struct env_listener *listener;
	struct env_conn *conn;
	char buf[MESSAGE];
	size_t len;
	int rc = env_listen(h->env, h->addr, h->addr, sizeof(h->addr), &listener);

	if (rc < 0 || write(h->pipe_fds[1], h->addr, sizeof(h->addr)) != sizeof(h->addr)) {
		fail("listen", rc);
	}
	rc = env_accept(listener, &conn);
	if (rc < 0) {
		fail("accept", rc);
	}
	while (env_recv(conn, buf, MESSAGE, MESSAGE, ENV_FOREVER, &len) == 0) {
		struct iovec iov = {buf, MESSAGE};

		if (env_send(conn, &iov, 1) < 0) {
			break;
		}
	}
	env_conn_close(conn);
	env_listener_close(listener);
}

static void ping_rounds(struct hop *h, struct env_conn *conn)
{
	char buf[MESSAGE] = {0};
	size_t len;

	for (unsigned round = 0; round < ROUNDS; round++) {
		uint64_t begin = clock_ns();

		for (unsigned i = 0; i < h->count; i++) {
			struct iovec iov = {buf, MESSAGE};
			int rc = env_send(conn, &iov, 1);

			if (rc == 0) {
				rc = env_recv(conn, buf, MESSAGE, MESSAGE, ENV_FOREVER, &len);
			}
			if (rc < 0) {
				fail("ping", rc);
			}
		}
		h->best_ns = u64_min(h->best_ns, (clock_ns() - begin) / h->count);
	}
}

static void ping_fiber(void *arg)
{
	struct hop *h = arg;
	struct env_conn *conn;
	int rc = env_connect(h->env, h->addr, ENV_FOREVER, &conn);

	if (rc < 0) {
		fail("connect", rc);
	}
	ping_rounds(h, conn);
	env_conn_close(conn);
}

static void env_side(struct hop *h, env_fiber_fn *fn, int cpu)
{
	struct reactor_options options = {
		.cpu = -1, .spin_us_max = h->mode == MODE_ASLEEP ? REACTOR_SPIN_NONE : 0};
	struct reactor *r;
	struct reactor_stats st;
	int rc = reactor_new(&options, &r);

	if (rc < 0) {
		fail("reactor", rc);
	}
	pin(cpu);
	h->env = reactor_env(r);
	rc = reactor_call(r, fn, h);
	if (rc < 0) {
		fail("call", rc);
	}
	reactor_stats(r, &st);
	h->sleeps = st.sleeps;
	h->spins = st.spins;
	h->crowded = st.spins_crowded;
	reactor_free(r);
}

/* ---- over raw sockets ---- */

static void raw_receive(int fd, char *buf, enum hop_mode mode)
{
	int flags = mode == MODE_POLLED ? MSG_DONTWAIT : 0;

	for (;;) {
		ssize_t n = recv(fd, buf, MESSAGE, flags);

		if (n == MESSAGE) {
			return;
		}
		if (n == 0) {
			exit(0);
		}
		if (n > 0 || errno != EAGAIN) {
			fail("recv", 0);
		}
		sched_yield();
	}
}

static void raw_echo(int fd, enum hop_mode mode)
{
	char buf[MESSAGE];

	for (;;) {
		raw_receive(fd, buf, mode);
		if (send(fd, buf, MESSAGE, 0) != MESSAGE) {
			fail("send", 0);
		}
	}
}

static void raw_pair_tcp(int family, int sv[2])
{
	struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr *sa = family == AF_INET ? (struct sockaddr *)&in4 : (struct sockaddr *)&in6;
	socklen_t len = family == AF_INET ? sizeof(in4) : sizeof(in6);
	int listener = socket(family, SOCK_STREAM, 0);
	int one = 1;

	if (listener < 0 || bind(listener, sa, len) != 0 || listen(listener, 1) != 0 ||
		getsockname(listener, sa, &len) != 0) {
		fail("listen", 0);
	}
	sv[0] = socket(family, SOCK_STREAM, 0);
	if (sv[0] < 0 || connect(sv[0], sa, len) != 0) {
		fail("connect", 0);
	}
	sv[1] = accept(listener, NULL, NULL);
	for (int i = 0; i < 2; i++) {
		if (setsockopt(sv[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) != 0) {
			fail("nodelay", 0);
		}
	}
	close(listener);
}

static void raw_ping(struct hop *h, int fd)
{
	char buf[MESSAGE] = {0};

	for (unsigned round = 0; round < ROUNDS; round++) {
		uint64_t begin = clock_ns();

		for (unsigned i = 0; i < h->count; i++) {
			if (send(fd, buf, MESSAGE, 0) != MESSAGE) {
				fail("send", 0);
			}
			raw_receive(fd, buf, h->mode);
		}
		h->best_ns = u64_min(h->best_ns, (clock_ns() - begin) / h->count);
	}
}

/* ---- one measurement ---- */

/* Every measurement has its own pair of processes, so that history and placement begin anew. */
static pid_t child(void)
{
	pid_t pid = fork();

	if (pid < 0) {
		fail("fork", 0);
	}
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	}
	return pid;
}

static void measure_raw(struct hop *h)
{
	int sv[2];
	pid_t pid;

	if (h->transport->family == AF_UNIX) {
		if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv) != 0) {
			fail("socketpair", 0);
		}
	} else {
		raw_pair_tcp(h->transport->family, sv);
	}
	pid = child();
	if (pid == 0) {
		close(sv[0]);
		pin(server_cpu(h->mode));
		raw_echo(sv[1], h->mode);
	}
	close(sv[1]);
	pin(0);
	raw_ping(h, sv[0]);
	close(sv[0]);
	waitpid(pid, NULL, 0);
}

static void measure_env(struct hop *h)
{
	char dir[] = "/tmp/nacre-hop-XXXXXX";
	pid_t pid;

	if (h->transport->addr != NULL) {
		(void)snprintf(h->addr, sizeof(h->addr), "%s", h->transport->addr);
	} else {
		if (mkdtemp(dir) == NULL) {
			fail("mkdtemp", 0);
		}
		(void)snprintf(h->addr, sizeof(h->addr), "unix:%s/s", dir);
	}
	if (pipe(h->pipe_fds) != 0) {
		fail("pipe", 0);
	}
	pid = child();
	if (pid == 0) {
		env_side(h, echo_fiber, server_cpu(h->mode));
		_exit(0);
	}
	if (read(h->pipe_fds[0], h->addr, sizeof(h->addr)) != sizeof(h->addr)) {
		fail("server", 0);
	}
	env_side(h, ping_fiber, 0);
	waitpid(pid, NULL, 0);
	close(h->pipe_fds[0]);
	close(h->pipe_fds[1]);
	if (h->transport->addr == NULL) {
		(void)unlink(h->addr + 5);
		(void)rmdir(dir);
	}
}

static void report(const struct hop *raw, const struct hop *h, bool json, bool first)
{
	if (json) {
		printf("%s\n  {\"transport\": \"%s\", \"mode\": \"%s\", \"env_us\": %.2f, "
		       "\"raw_us\": %.2f, \"sleeps\": %llu, \"spins\": %llu, \"crowded\": %llu}",
			first ? "" : ",", h->transport->name, mode_names[h->mode],
			(double)h->best_ns / 1e3, (double)raw->best_ns / 1e3,
			(unsigned long long)h->sleeps, (unsigned long long)h->spins,
			(unsigned long long)h->crowded);
		return;
	}
	printf("%-6s %-8s %8.2f %8.2f %10llu %8llu %8llu\n", h->transport->name,
		mode_names[h->mode], (double)h->best_ns / 1e3, (double)raw->best_ns / 1e3,
		(unsigned long long)h->sleeps, (unsigned long long)h->spins,
		(unsigned long long)h->crowded);
}

static void usage(void)
{
	printf("usage: hop [--json] [ROUND_TRIPS]\n"
	       "Measures 64-byte round trips between two processes over env and over raw sockets,\n"
	       "in microseconds (best of %d rounds; default 10000 round trips each).\n",
		ROUNDS);
}

int main(int argc, char **argv)
{
	unsigned count = 10000;
	bool json = false;
	bool first = true;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--json") == 0) {
			json = true;
		} else if (atoi(argv[i]) > 0) {
			count = (unsigned)atoi(argv[i]);
		} else {
			usage();
			return strcmp(argv[i], "--help") == 0 ? 0 : 2;
		}
	}
	if (json) {
		printf("[");
	} else {
		printf("%-6s %-8s %8s %8s %10s %8s\n", "", "", "env us", "raw us", "sleeps",
			"polls");
	}
	for (size_t t = 0; t < ARRAY_SIZE(transports); t++) {
		for (enum hop_mode mode = 0; mode < MODES; mode++) {
			struct hop raw = {
				.transport = &transports[t], .mode = mode, .count = count};
			struct hop h;

			raw.best_ns = UINT64_MAX;
			h = raw;
			fflush(stdout);
			measure_raw(&raw);
			measure_env(&h);
			report(&raw, &h, json, first);
			first = false;
		}
	}
	if (json) {
		printf("\n]\n");
	}
	return 0;
}
