/*
 * Sockets: every kind of address, big transfers against a slow reader, and loss in every state.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sys/resource.h>

#include "base/alloc.h"
#include "env/env_int.h"
#include "run.h"

struct pair {
	struct env_listener *listener;
	struct env_conn *client;
	struct env_conn *server;
	char addr[512];
};

static struct pair *accepting;

static void accept_fn(void *arg)
{
	struct pair *p = arg;

	CHECK_EQ(env_accept(p->listener, &p->server), 0);
}

static void pair_open(struct pair *p, const char *addr)
{
	*p = (struct pair){.server = NULL};
	CHECK_EQ(env_listen(env, addr, p->addr, sizeof(p->addr), &p->listener), 0);
	accepting = p;
	CHECK_EQ(env_spawn(env, "accept", accept_fn, p), 0);
	CHECK_EQ(env_connect(env, p->addr, env_now(env) + 5 * NS_PER_S, &p->client), 0);
	while (p->server == NULL) {
		env_yield(env);
	}
}

static void pair_close(struct pair *p)
{
	env_conn_close(p->client);
	env_conn_close(p->server);
	env_listener_close(p->listener);
}

static void send_text(struct env_conn *c, const char *text)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)text, .iov_len = strlen(text)};

	CHECK_EQ(env_send(c, &iov, 1), 0);
}

static void expect_text(struct env_conn *c, const char *text)
{
	char buf[64];
	size_t len;

	CHECK_EQ(env_recv(c, buf, strlen(text), strlen(text), ENV_FOREVER, &len), 0);
	CHECK_EQ(len, strlen(text));
	CHECK(memcmp(buf, text, len) == 0);
}

static void echo_body(void *arg)
{
	struct pair p;

	pair_open(&p, arg);
	for (unsigned i = 0; i < 20; i++) {
		send_text(p.client, "ping");
		expect_text(p.server, "ping");
		send_text(p.server, "pong!");
		expect_text(p.client, "pong!");
	}
	CHECK(strncmp(p.addr, arg, 4) == 0);
	CHECK(strlen(env_conn_peer(p.client)->addr) > 5);
	if (strncmp(arg, "unix:", 5) == 0) {
		CHECK(env_conn_peer(p.server)->local);
		CHECK_EQ(env_conn_peer(p.server)->uid, getuid());
		CHECK_EQ(env_conn_peer(p.server)->pid, getpid());
	} else {
		CHECK(!env_conn_peer(p.server)->local);
	}
	pair_close(&p);
}

TEST(net_tcp4)
{
	run_body(echo_body, "tcp:127.0.0.1:0");
}

TEST(net_tcp6)
{
	run_body(echo_body, "tcp:[::1]:0");
}

TEST(net_host_name)
{
	run_body(echo_body, "tcp:localhost:0");
}

static void name_body(_unused_ void *arg)
{
	struct pair p;
	char addr[64];

	pair_open(&p, "tcp:127.0.0.1:0");
	env_conn_close(p.client);
	env_conn_close(p.server);
	p.server = NULL;
	CHECK(snprintf(addr, sizeof(addr), "tcp:localhost%s", strrchr(p.addr, ':')) > 0);
	CHECK_EQ(env_spawn(env, "accept", accept_fn, &p), 0);
	CHECK_EQ(env_connect(env, addr, ENV_FOREVER, &p.client), 0);
	send_text(p.client, "named");
	expect_text(p.server, "named");
	pair_close(&p);
}

TEST(net_connect_resolves_names_and_tries_every_address)
{
	run_body(name_body, NULL);
}

TEST(net_unix)
{
	char dir[128];
	char addr[256];

	run_dir(dir, sizeof(dir));
	CHECK(snprintf(addr, sizeof(addr), "unix:%s/s", dir) > 0);
	run_body(echo_body, addr);
	/* The file is left over: a second listener replaces it. */
	run_body(echo_body, addr);
	CHECK_EQ(unlink(addr + 5), 0);
	CHECK_EQ(rmdir(dir), 0);
}

TEST(net_unix_long_path)
{
	char dir[128];
	char addr[512];
	char sub[400];

	run_dir(dir, sizeof(dir));
	CHECK(snprintf(sub, sizeof(sub), "%s/%0100d", dir, 7) > 0);
	CHECK_EQ(mkdir(sub, 0700), 0);
	CHECK(snprintf(addr, sizeof(addr), "unix:%s/s", sub) > 0);
	run_body(echo_body, addr);
	run_body(echo_body, addr);
	CHECK_EQ(unlink(addr + 5), 0);
	CHECK_EQ(rmdir(sub), 0);
	CHECK_EQ(rmdir(dir), 0);
}

static void bad_body(_unused_ void *arg)
{
	static const char *const bad[] = {"", "unix:relative", "tcp:1.2.3.4", "tcp:[::1:5",
		"tcp:::1:5", "tcp:1.2.3.4:70000", "tcp:1.2.3.4:x", "tcp::5", "udp:1.2.3.4:5",
		"tcp:[]:5", "tcp:1.2.3.4:"};
	struct env_listener *l;
	struct env_listener *l2;
	struct env_conn *c;
	char buf[64];
	char tiny[4];

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		CHECK_EQ(env_listen(env, bad[i], buf, sizeof(buf), &l), -NE_INVAL);
		CHECK_EQ(env_connect(env, bad[i], ENV_FOREVER, &c), -NE_INVAL);
	}
	CHECK_EQ(env_listen(env, "tcp:127.0.0.1:0", tiny, sizeof(tiny), &l), -NE_RANGE);
	CHECK_EQ(env_listen(env, "tcp:127.0.0.1:0", buf, sizeof(buf), &l), 0);
	CHECK_EQ(env_listen(env, buf, buf, sizeof(buf), &l2), -NE_BUSY);
	env_listener_close(l);
	CHECK_EQ(env_connect(env, buf, ENV_FOREVER, &c), -NE_CONNREFUSED);
	CHECK_EQ(env_connect(env, "unix:/nonexistent/socket", ENV_FOREVER, &c), -NE_CONNREFUSED);
	env_listener_close(NULL);
	env_conn_close(NULL);
}

TEST(net_bad_addresses)
{
	run_body(bad_body, NULL);
}

/* ---- big transfers ---- */

#define BIG (24u << 20)

static unsigned char *big;
static bool big_sent;

static void big_sender(void *arg)
{
	struct pair *p = arg;
	static struct iovec iov[200];
	size_t piece = BIG / 200;

	for (unsigned i = 0; i < 200; i++) {
		iov[i].iov_base = big + i * piece;
		iov[i].iov_len = i == 199 ? BIG - 199 * piece : piece;
	}
	CHECK_EQ(env_send(p->client, iov, 200), 0);
	big_sent = true;
}

static void big_body(void *arg)
{
	struct pair p;
	unsigned char *buf = malloc(1 << 20);
	size_t off = 0;

	CHECK(buf != NULL);
	pair_open(&p, arg);
	big_sent = false;
	CHECK_EQ(env_spawn(env, "sender", big_sender, &p), 0);
	env_sleep(env, 20 * NS_PER_MS);
	CHECK(!big_sent); /* back-pressure: nobody has read yet */
	while (off < BIG) {
		size_t len;
		size_t max = u64_min(1 << 20, BIG - off);

		CHECK_EQ(env_recv(p.server, buf, 1 + max / 2, max, ENV_FOREVER, &len), 0);
		CHECK(len > max / 2 && len <= max);
		CHECK(memcmp(buf, big + off, len) == 0);
		off += len;
	}
	while (!big_sent) {
		env_yield(env);
	}
	pair_close(&p);
	free(buf);
}

TEST(net_big_transfers)
{
	char dir[128];
	char addr[256];

	big = malloc(BIG);
	CHECK(big != NULL);
	for (size_t i = 0; i < BIG; i++) {
		big[i] = (unsigned char)((i * 2654435761u) >> 13);
	}
	run_body(big_body, "tcp:127.0.0.1:0");
	run_dir(dir, sizeof(dir));
	CHECK(snprintf(addr, sizeof(addr), "unix:%s/s", dir) > 0);
	run_body(big_body, addr);
	CHECK_EQ(unlink(addr + 5), 0);
	CHECK_EQ(rmdir(dir), 0);
	free(big);
}

/* ---- loss ---- */

static int loss_rc;
static size_t loss_len;
static bool loss_done;

static void loss_receiver(void *arg)
{
	char buf[100];

	loss_rc = env_recv(arg, buf, 50, 100, ENV_FOREVER, &loss_len);
	loss_done = true;
}

static void loss_sender(void *arg)
{
	struct iovec iov = {.iov_base = big, .iov_len = BIG};

	loss_rc = env_send(arg, &iov, 1);
	loss_done = true;
}

static void loss_start(env_fiber_fn *fn, struct env_conn *c)
{
	loss_done = false;
	loss_rc = 1;
	loss_len = 99;
	CHECK_EQ(env_spawn(env, "loser", fn, c), 0);
	env_sleep(env, 2 * NS_PER_MS);
	CHECK(!loss_done);
}

static void loss_end(size_t len)
{
	while (!loss_done) {
		env_yield(env);
	}
	CHECK_EQ(loss_rc, -NE_CONNLOST);
	if (len != SIZE_MAX) {
		CHECK_EQ(loss_len, len);
	}
}

static void loss_body(void *arg)
{
	struct pair p;
	char c;
	size_t len;

	/* The peer goes while we receive: what had come is reported. */
	pair_open(&p, arg);
	send_text(p.server, "half");
	loss_start(loss_receiver, p.client);
	env_conn_close(TAKE_PTR(p.server));
	loss_end(4);
	CHECK_EQ(env_recv(p.client, &c, 1, 1, ENV_FOREVER, &len), -NE_CONNLOST);
	pair_close(&p);
	/* We shut down while we receive. */
	pair_open(&p, arg);
	loss_start(loss_receiver, p.client);
	env_conn_shutdown(p.client);
	env_conn_shutdown(p.client);
	loss_end(0);
	/* The other side sees the end. */
	CHECK_EQ(env_recv(p.server, &c, 1, 1, ENV_FOREVER, &len), -NE_CONNLOST);
	pair_close(&p);
	/* The peer goes while we send into a full buffer. */
	pair_open(&p, arg);
	loss_start(loss_sender, p.client);
	env_conn_close(TAKE_PTR(p.server));
	loss_end(SIZE_MAX);
	pair_close(&p);
	/* We shut down while we send. */
	pair_open(&p, arg);
	loss_start(loss_sender, p.client);
	env_conn_shutdown(p.client);
	loss_end(SIZE_MAX);
	loss_sender(p.client);
	CHECK_EQ(loss_rc, -NE_CONNLOST);
	pair_close(&p);
}

TEST(net_loss_in_every_state)
{
	char dir[128];
	char addr[256];

	big = calloc(1, BIG);
	CHECK(big != NULL);
	run_body(loss_body, "tcp:127.0.0.1:0");
	run_dir(dir, sizeof(dir));
	CHECK(snprintf(addr, sizeof(addr), "unix:%s/s", dir) > 0);
	run_body(loss_body, addr);
	CHECK_EQ(unlink(addr + 5), 0);
	CHECK_EQ(rmdir(dir), 0);
	free(big);
}

static void deadline_body(_unused_ void *arg)
{
	struct pair p;
	char buf[16];
	size_t len = 7;
	uint64_t begin;

	pair_open(&p, "tcp:127.0.0.1:0");
	begin = env_now(env);
	CHECK_EQ(env_recv(p.client, buf, 1, 16, begin + 3 * NS_PER_MS, &len), -NE_TIMEDOUT);
	CHECK_EQ(len, 0);
	CHECK(env_now(env) >= begin + 3 * NS_PER_MS);
	send_text(p.server, "abc");
	CHECK_EQ(env_recv(p.client, buf, 4, 16, env_now(env) + 3 * NS_PER_MS, &len), -NE_TIMEDOUT);
	CHECK_EQ(len, 3);
	/* The stream goes on where it was. */
	send_text(p.server, "d");
	expect_text(p.client, "d");
	pair_close(&p);
}

TEST(net_deadlines)
{
	run_body(deadline_body, NULL);
}

/* ---- listeners ---- */

static int accept_rc;

static void accept_code_fn(void *arg)
{
	struct env_conn *c;

	accept_rc = env_accept(arg, &c);
}

static void close_body(_unused_ void *arg)
{
	struct env_listener *l;
	char addr[64];

	CHECK_EQ(env_listen(env, "tcp:127.0.0.1:0", addr, sizeof(addr), &l), 0);
	accept_rc = 1;
	CHECK_EQ(env_spawn(env, "accept", accept_code_fn, l), 0);
	env_yield(env);
	env_yield(env);
	CHECK_EQ(accept_rc, 1);
	env_listener_close(l);
	env_yield(env);
	env_yield(env);
	CHECK_EQ(accept_rc, -NE_SHUTDOWN);
}

TEST(net_listener_close_wakes_accepters)
{
	run_body(close_body, NULL);
}

static void emfile_body(_unused_ void *arg)
{
	struct pair p = {.server = NULL};
	struct rlimit old;
	struct rlimit tight;
	struct reactor_stats before;
	struct reactor_stats after;
	int top;

	CHECK_EQ(env_listen(env, "tcp:127.0.0.1:0", p.addr, sizeof(p.addr), &p.listener), 0);
	CHECK_EQ(env_connect(env, p.addr, ENV_FOREVER, &p.client), 0);
	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
	top = dup(0);
	CHECK(top >= 0);
	CHECK_EQ(close(top), 0);
	tight = old;
	tight.rlim_cur = (rlim_t)top;
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &tight), 0);
	CHECK_EQ(env_spawn(env, "accept", accept_fn, &p), 0);
	reactor_stats(run_reactor, &before);
	env_sleep(env, 25 * NS_PER_MS);
	reactor_stats(run_reactor, &after);
	CHECK(p.server == NULL);
	CHECK(after.turns - before.turns < 10); /* it does not spin */
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
	while (p.server == NULL) {
		env_sleep(env, NS_PER_MS);
	}
	pair_close(&p);
}

TEST(net_accept_waits_when_descriptors_run_out)
{
	run_body(emfile_body, NULL);
}

/* ---- polling: two reactors in two threads, messages of changing size, with pauses between ---- */

#define TURNS 3000

static struct reactor *far_reactor;
static pthread_barrier_t far_ready;
static char far_addr[64];

static size_t turn_size(unsigned i)
{
	return 1 + (i * 37u) % 900u;
}

static void turn_send(struct env_conn *c, unsigned i)
{
	unsigned char buf[1000];
	struct iovec iov = {buf, turn_size(i)};

	memset(buf, (int)(i & 0xff), sizeof(buf));
	CHECK_EQ(env_send(c, &iov, 1), 0);
}

static void turn_receive(struct env *e, struct env_conn *c, unsigned i)
{
	unsigned char buf[1000] = {0};
	size_t len;

	posix_spin_hint(e, 50 * NS_PER_US);
	CHECK_EQ(env_recv(c, buf, turn_size(i), turn_size(i), ENV_FOREVER, &len), 0);
	CHECK_EQ(len, turn_size(i));
	CHECK_EQ(buf[0], i & 0xff);
	CHECK_EQ(buf[len - 1], i & 0xff);
}

static void far_fn(_unused_ void *arg)
{
	struct env *e = reactor_env(far_reactor);
	struct env_listener *l;
	struct env_conn *c;

	CHECK_EQ(env_listen(e, "tcp:127.0.0.1:0", far_addr, sizeof(far_addr), &l), 0);
	pthread_barrier_wait(&far_ready);
	CHECK_EQ(env_accept(l, &c), 0);
	for (unsigned i = 0; i < TURNS; i++) {
		turn_receive(e, c, i);
		turn_send(c, i + 1);
		if (i % 100 == 0) {
			env_sleep(e, 200 * NS_PER_US);
		}
	}
	env_conn_close(c);
	env_listener_close(l);
}

static void *far_thread(_unused_ void *arg)
{
	CHECK_EQ(reactor_new(NULL, &far_reactor), 0);
	CHECK_EQ(reactor_call(far_reactor, far_fn, NULL), 0);
	reactor_free(far_reactor);
	return NULL;
}

static void near_fn(_unused_ void *arg)
{
	struct env_conn *c;
	char end;
	size_t len;

	CHECK_EQ(env_connect(env, far_addr, ENV_FOREVER, &c), 0);
	for (unsigned i = 0; i < TURNS; i++) {
		turn_send(c, i);
		turn_receive(env, c, i + 1);
	}
	CHECK_EQ(env_recv(c, &end, 1, 1, ENV_FOREVER, &len), -NE_CONNLOST);
	env_conn_close(c);
}

TEST(net_polled_messages_arrive_whole)
{
	struct reactor_stats st;
	pthread_t thread;

	CHECK_EQ(pthread_barrier_init(&far_ready, NULL, 2), 0);
	CHECK_EQ(pthread_create(&thread, NULL, far_thread, NULL), 0);
	pthread_barrier_wait(&far_ready);
	run_open(NULL);
	CHECK_EQ(reactor_call(run_reactor, near_fn, NULL), 0);
	reactor_stats(run_reactor, &st);
	CHECK(st.spins > 0);
	run_close();
	CHECK_EQ(pthread_join(thread, NULL), 0);
	CHECK_EQ(pthread_barrier_destroy(&far_ready), 0);
}
