/*
 * What a call costs: latency of one small call, calls per second pipelined, bulk throughput; over Unix
 * sockets and TCP on loopback; with both sides asleep between messages (two CPUs), polling (two CPUs), and
 * on one CPU. A ping-pong of the same bytes over plain blocking (or polling) sockets runs interleaved with
 * each, so the difference is what rpc adds.
 *
 *	rpc_bench [milliseconds per measurement]
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "env/posix/reactor.h"
#include "rpc/rpc.h"
#include "wire/gen/wire.h"

#define MUST(cond) \
	do { \
		if (!(cond)) { \
			fprintf(stderr, "%s:%d: %s: errno %d\n", __FILE__, __LINE__, #cond, \
				errno); \
			exit(1); \
		} \
	} while (0)

#define RAW_BYTES 150 /* about a small call's message */
#define BULK_BYTES (1 << 20)
#define PIPELINE 32
#define BULK_PIPELINE 6

enum mode {
	MODE_ASLEEP,
	MODE_POLLED,
	MODE_ONE_CPU,
	MODES
};

static const char *const mode_names[MODES] = {"asleep", "polled", "one cpu"};
static uint64_t measure_ns = 400 * NS_PER_MS;
static uint8_t secret[RPC_KEY_BYTES] = {1, 2, 3};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static uint64_t cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	(void)!pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

/* ---- plain sockets ---- */

struct raw {
	int fd;
	enum mode mode;
};

static bool raw_io(int fd, enum mode mode, bool out, uint8_t *buf)
{
	size_t done = 0;

	while (done < RAW_BYTES) {
		int flags = (mode == MODE_POLLED ? MSG_DONTWAIT : 0) | MSG_NOSIGNAL;
		ssize_t n = out ? send(fd, buf + done, RAW_BYTES - done, flags)
				: recv(fd, buf + done, RAW_BYTES - done, flags);

		if (n == 0 || (n < 0 && errno != EAGAIN)) {
			return false;
		}
		done += n > 0 ? (size_t)n : 0;
	}
	return true;
}

static void *raw_server(void *arg)
{
	struct raw *raw = arg;
	uint8_t buf[RAW_BYTES];

	pin(raw->mode == MODE_ONE_CPU ? 0 : 1);
	while (raw_io(raw->fd, raw->mode, false, buf) && raw_io(raw->fd, raw->mode, true, buf)) {
	}
	return NULL;
}

static void raw_tcp_pair(int fd[2])
{
	struct sockaddr_in addr = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);
	int l = socket(AF_INET, SOCK_STREAM, 0);
	int one = 1;

	MUST(l >= 0 && bind(l, (struct sockaddr *)&addr, sizeof(addr)) == 0 && listen(l, 1) == 0);
	MUST(getsockname(l, (struct sockaddr *)&addr, &len) == 0);
	fd[0] = socket(AF_INET, SOCK_STREAM, 0);
	MUST(fd[0] >= 0 && connect(fd[0], (struct sockaddr *)&addr, sizeof(addr)) == 0);
	fd[1] = accept(l, NULL, NULL);
	MUST(fd[1] >= 0);
	for (int i = 0; i < 2; i++) {
		MUST(setsockopt(fd[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) == 0);
	}
	close(l);
}

static double raw_us(bool tcp, enum mode mode)
{
	struct raw raw = {.mode = mode};
	uint8_t buf[RAW_BYTES] = {0};
	uint64_t start;
	uint64_t count = 0;
	pthread_t thread;
	int fd[2];

	if (tcp) {
		raw_tcp_pair(fd);
	} else {
		MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
	}
	raw.fd = fd[1];
	pin(0);
	MUST(pthread_create(&thread, NULL, raw_server, &raw) == 0);
	start = now_ns();
	while (now_ns() - start < measure_ns) {
		MUST(raw_io(fd[0], mode, true, buf) && raw_io(fd[0], mode, false, buf));
		count++;
	}
	start = now_ns() - start;
	shutdown(fd[0], SHUT_RDWR);
	pthread_join(thread, NULL);
	close(fd[0]);
	close(fd[1]);
	return (double)start / (double)count / 1000;
}

/* ---- the service ---- */

static uint8_t *bulk_bytes;

static int bench_open(void *ctx _unused_, struct rpc_export *exp _unused_, uint64_t wanted _unused_,
	struct rpc_open_reply *ret_reply)
{
	static uint64_t next = 1;

	ret_reply->session = next++;
	return 0;
}

static void bench_closed(
	void *ctx _unused_, struct rpc_export *exp _unused_, enum rpc_close_reason reason _unused_)
{
}

static void bench_state(void *ctx _unused_, struct rpc_service_state *ret_state)
{
	*ret_state = (struct rpc_service_state){.epoch = 1};
}

static int bench_request(void *ctx _unused_, struct rpc_request *req)
{
	if (req->op->op == W_OP_OST_READ) {
		struct w_ost_read_rep rep;
		struct iovec iov = {.iov_base = bulk_bytes, .iov_len = BULK_BYTES};

		memset(&rep, 0, sizeof(rep));
		rpc_request_bulk_out(req, &iov, 1, NULL, NULL);
		return rpc_request_reply(req, &rep);
	}
	if (req->op->op == W_OP_OST_WRITE) {
		struct w_ost_write_rep rep;

		memset(&rep, 0, sizeof(rep));
		return rpc_request_reply(req, &rep);
	}
	if (req->op->op == W_OP_MDS_CLOSE) {
		struct w_mds_close_rep rep = {.need_size = false};

		return rpc_request_reply(req, &rep);
	}
	return -NE_NOTSUP;
}

static const struct rpc_service_ops bench_ops = {.session_open = bench_open,
	.session_closed = bench_closed,
	.request = bench_request,
	.state = bench_state};

/* ---- both sides ---- */

struct side {
	struct reactor *reactor;
	struct env *env;
	enum mode mode;
	int cpu;
	/* server */
	struct rpc_server *server;
	struct rpc_service *service;
	const char *listen;
	char addr[LIM_ADDR_LEN_MAX + 1];
	/* client */
	struct rpc_client *rpc;
	struct rpc_session *s;
	struct rpc_call calls[PIPELINE];
	uint64_t count;
	uint64_t elapsed_ns;
	bool write;
};

static void server_start(void *arg)
{
	struct side *s = arg;
	struct rpc_server_opts opts = {.env = s->env, .server_key = secret};
	struct rpc_service_opts service = {.target = "OST0000", .fsname = "", .ops = &bench_ops};

	MUST(rpc_server_new(&opts, &s->server) == 0);
	MUST(rpc_service_start(s->server, &service, &s->service) == 0);
	MUST(rpc_server_listen(s->server, s->listen, s->addr, sizeof(s->addr)) == 0);
}

static void server_stop(void *arg)
{
	struct side *s = arg;

	rpc_server_stop(s->server);
	rpc_server_free(s->server);
}

static void *server_thread(void *arg)
{
	struct side *s = arg;

	MUST(reactor_run(s->reactor) == 0);
	return NULL;
}

static void client_start(void *arg)
{
	static struct rpc_addrs addrs;
	static struct rpc_key key;
	struct side *s = arg;
	struct rpc_client_opts opts = {.env = s->env, .incarnation = 1, .key = &key};
	struct rpc_session_opts so = {.target = "OST0000", .fsname = "", .addrs = &addrs};

	memset(&key, 0, sizeof(key));
	key.role = RPC_ROLE_HOST;
	MUST(rpc_key_derive(&key, secret) == 0);
	opts.uuid.bytes[0] = 1;
	memset(&addrs, 0, sizeof(addrs));
	addrs.count = 1;
	memcpy(addrs.addr[0], s->listen, strlen(s->listen));
	MUST(rpc_client_new(&opts, &s->rpc) == 0);
	MUST(rpc_session_new(s->rpc, &so, &s->s) == 0);
	MUST(rpc_session_connect(s->s, env_now(s->env) + 5 * NS_PER_S) == 0);
}

static void client_stop(void *arg)
{
	struct side *s = arg;

	rpc_session_free(s->s, env_now(s->env) + NS_PER_S);
	rpc_client_free(s->rpc);
}

static struct w_mds_close_req close_req;

static void one_call(struct side *s)
{
	struct w_mds_close_rep rep;
	struct rpc_call call = {.op = W_OP_MDS_CLOSE, .request = &close_req, .reply = &rep};

	MUST(rpc_call(s->s, &call) == 0);
	rpc_call_fini(&call);
}

static void client_latency(void *arg)
{
	struct side *s = arg;
	uint64_t start;

	for (unsigned i = 0; i < 200; i++) {
		one_call(s);
	}
	start = now_ns();
	s->count = 0;
	while (now_ns() - start < measure_ns) {
		one_call(s);
		s->count++;
	}
	s->elapsed_ns = now_ns() - start;
}

static void client_pipeline(void *arg)
{
	static struct w_mds_close_rep rep[PIPELINE];
	struct side *s = arg;
	uint64_t start = now_ns();
	unsigned at = 0;

	memset(s->calls, 0, sizeof(s->calls));
	s->count = 0;
	while (now_ns() - start < measure_ns) {
		struct rpc_call *call = &s->calls[at];

		if (call->op != 0) {
			MUST(rpc_call_wait(call) == 0);
			rpc_call_fini(call);
			s->count++;
		}
		*call = (struct rpc_call){
			.op = W_OP_MDS_CLOSE, .request = &close_req, .reply = &rep[at]};
		rpc_call_start(s->s, call);
		at = (at + 1) % PIPELINE;
	}
	s->elapsed_ns = now_ns() - start;
	for (unsigned i = 0; i < PIPELINE; i++) {
		if (s->calls[i].op != 0) {
			MUST(rpc_call_wait(&s->calls[i]) == 0);
			rpc_call_fini(&s->calls[i]);
		}
	}
}

struct bulk_slot {
	struct rpc_call call;
	struct iovec iov;
	struct w_ost_read_rep read_rep;
	struct w_ost_write_rep write_rep;
};

static void bulk_begin(struct side *s, struct bulk_slot *b)
{
	static struct w_ost_read_req read_req = {.length = BULK_BYTES};
	static struct w_ost_write_req write_req = {.length = BULK_BYTES};

	memset(&b->call, 0, sizeof(b->call));
	if (s->write) {
		b->call.op = W_OP_OST_WRITE;
		b->call.request = &write_req;
		b->call.reply = &b->write_rep;
		b->call.bulk_out = &b->iov;
		b->call.bulk_out_count = 1;
	} else {
		b->call.op = W_OP_OST_READ;
		b->call.request = &read_req;
		b->call.reply = &b->read_rep;
		b->call.bulk_in = &b->iov;
		b->call.bulk_in_count = 1;
	}
	rpc_call_start(s->s, &b->call);
}

static void client_bulk(void *arg)
{
	static struct bulk_slot slots[BULK_PIPELINE];
	struct side *s = arg;
	uint64_t start;
	unsigned at = 0;

	for (unsigned i = 0; i < BULK_PIPELINE; i++) {
		void *mem = NULL;

		MUST(posix_memalign(&mem, 4096, BULK_BYTES) == 0);
		memset(mem, 7, BULK_BYTES);
		slots[i].iov = (struct iovec){.iov_base = mem, .iov_len = BULK_BYTES};
		bulk_begin(s, &slots[i]);
	}
	start = now_ns();
	s->count = 0;
	while (now_ns() - start < measure_ns) {
		MUST(rpc_call_wait(&slots[at].call) == 0);
		rpc_call_fini(&slots[at].call);
		s->count++;
		bulk_begin(s, &slots[at]);
		at = (at + 1) % BULK_PIPELINE;
	}
	s->elapsed_ns = now_ns() - start;
	for (unsigned i = 0; i < BULK_PIPELINE; i++) {
		MUST(rpc_call_wait(&slots[i].call) == 0);
		rpc_call_fini(&slots[i].call);
		free(slots[i].iov.iov_base);
	}
}

static void reactor_open(struct side *s, enum mode mode, int cpu)
{
	struct reactor_options opts = {
		.cpu = cpu, .spin_us_max = mode == MODE_POLLED ? 200 : REACTOR_SPIN_NONE};

	memset(s, 0, sizeof(*s));
	MUST(reactor_new(&opts, &s->reactor) == 0);
	s->env = reactor_env(s->reactor);
	s->mode = mode;
}

static void measure(const char *addr, enum mode mode)
{
	static struct side server;
	static struct side client;
	bool tcp = strncmp(addr, "tcp:", 4) == 0;
	double raw[2];
	double us;
	double kcalls;
	double cpu;
	double gb[2];
	pthread_t thread;

	reactor_open(&server, mode, mode == MODE_ONE_CPU ? 0 : 1);
	reactor_open(&client, mode, -1);
	server.listen = addr;
	MUST(reactor_call(server.reactor, server_start, &server) == 0);
	MUST(pthread_create(&thread, NULL, server_thread, &server) == 0);
	client.listen = server.addr;
	pin(0);
	MUST(reactor_call(client.reactor, client_start, &client) == 0);
	raw[0] = raw_us(tcp, mode);
	MUST(reactor_call(client.reactor, client_latency, &client) == 0);
	us = (double)client.elapsed_ns / (double)client.count / 1000;
	raw[1] = raw_us(tcp, mode);
	cpu = (double)cpu_ns();
	MUST(reactor_call(client.reactor, client_pipeline, &client) == 0);
	cpu = ((double)cpu_ns() - cpu) / 1000 / (double)client.count;
	kcalls = (double)client.count / ((double)client.elapsed_ns / 1e6);
	for (int w = 0; w < 2; w++) {
		client.write = w == 1;
		MUST(reactor_call(client.reactor, client_bulk, &client) == 0);
		gb[w] = (double)client.count * BULK_BYTES / (double)client.elapsed_ns;
	}
	printf("%-5s %-8s raw %6.1f us  call %6.1f us  (+%5.1f)  pipelined %6.1f k/s, %4.2f us of "
	       "CPU "
	       "each  read %5.2f GB/s  write %5.2f GB/s\n",
		tcp ? "tcp" : "unix", mode_names[mode], (raw[0] + raw[1]) / 2, us,
		us - (raw[0] + raw[1]) / 2, kcalls, cpu, gb[0], gb[1]);
	fflush(stdout);
	MUST(reactor_call(client.reactor, client_stop, &client) == 0);
	MUST(reactor_call(server.reactor, server_stop, &server) == 0);
	reactor_stop(server.reactor);
	pthread_join(thread, NULL);
	reactor_free(client.reactor);
	reactor_free(server.reactor);
}

int main(int argc, char **argv)
{
	char path[64];
	char addr[80];

	if (argc > 1) {
		measure_ns = (uint64_t)strtoull(argv[1], NULL, 10) * NS_PER_MS;
	}
	log_level_set(LOG_ERROR);
	bulk_bytes = calloc(1, BULK_BYTES);
	MUST(bulk_bytes != NULL);
	snprintf(path, sizeof(path), "/tmp/rpc-bench-%d", (int)getpid());
	snprintf(addr, sizeof(addr), "unix:%s", path);
	for (int m = 0; m < MODES; m++) {
		measure(addr, (enum mode)m);
		(void)!unlink(path);
	}
	for (int m = 0; m < MODES; m++) {
		measure("tcp:127.0.0.1:0", (enum mode)m);
	}
	free(bulk_bytes);
	return 0;
}
