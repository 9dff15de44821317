/*
 * Hostile peers on the simulator: they lose their connection, nobody else loses anything, memory stays bounded.
 */
#include "test.h"

#include "base/alloc.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "base/prng.h"
#include "env/sim/sim.h"
#include "rpc/rpc_client_int.h"
#include "rpc_world.h"

#define ADDR "sim:server:1"
#define PROXY "sim:proxy:1"

struct arena {
	struct world w;
	struct sim *sim;
	struct sim_node *server;
	struct sim_node *honest;
	struct sim_node *attacker;
	struct prng rng;
	void (*attack)(struct arena *a);
	const char *honest_addr;
	bool attacking;
	bool honest_done;
	bool server_stop;
	unsigned honest_calls;
	struct rpc_server_stats stats;
	enum tamper {
		TAMPER_BODY,
		TAMPER_HEADER,
		TAMPER_REPLAY,
		TAMPER_SWAP,
		TAMPERS
	} tamper;
	bool tamper_replies;
	unsigned tampered;
	uint8_t buf[70000];
};

static struct arena *ar;
static unsigned handlers_max; /* of the next server; 0: as usual */

static void server_main(void *arg)
{
	struct arena *a = arg;
	struct env *env = sim_node_env(a->server);

	world_serve(&a->w, env, ADDR);
	while (!a->server_stop) {
		env_sleep(env, 10 * NS_PER_MS);
		rpc_server_stats(a->w.server, &a->stats);
	}
	world_stop(&a->w);
	a->w.env = NULL;
}

/* Calls all the time while the attack goes on; every one must succeed, once. */
static void honest_main(void *arg)
{
	struct arena *a = arg;
	struct env *env = sim_node_env(a->honest);
	struct rpc_client *rpc = world_client(&a->w, env, 1, NULL);
	struct rpc_session *s = world_session(rpc, a->honest_addr);
	unsigned id = 0;
	uint8_t *buf = mem_alloc(100000);

	CHECK(buf != NULL);
	while (a->attacking || id < 50) {
		CHECK_EQ(call_param(s, id, "", 0, 0), 0);
		CHECK_EQ(a->w.executed[id], 1);
		id++;
		CHECK_EQ(call_write(s, id, 7, buf, 50000, 0), 0);
		CHECK_EQ(a->w.executed[id], 1);
		id++;
		CHECK_EQ(call_read(s, 7, buf, 50000), 0);
		env_sleep(env, 10 * NS_PER_MS);
		CHECK(id < WORLD_IDS - 2);
	}
	a->honest_calls = id;
	mem_free(buf);
	rpc_session_free(s, env_now(env) + NS_PER_S);
	rpc_client_free(rpc);
	a->honest_done = true;
	a->server_stop = true;
}

static void attacker_main(void *arg)
{
	struct arena *a = arg;

	a->attack(a);
	a->attacking = false;
}

static bool is_over(void *ctx)
{
	struct arena *a = ctx;

	return a->honest_done && sim_node_fibers(a->server) == 0;
}

static void run(uint64_t seed, void (*attack)(struct arena *a), const char *honest_addr)
{
	struct sim_options opts;
	struct arena *a = calloc(1, sizeof(*a));

	CHECK(a != NULL);
	ar = a;
	sim_options_default(&opts, seed);
	world_init(&a->w, seed);
	prng_init(&a->rng, seed);
	a->w.limits.message_total_bytes = 4 * MIB;
	a->w.limits.conns_max = 64;
	a->w.limits.unauth_max = 16;
	a->w.limits.handlers_max = handlers_max;
	a->attack = attack;
	a->honest_addr = honest_addr;
	a->attacking = true;
	a->sim = sim_new(&opts);
	a->server = sim_node_new(a->sim, "server");
	a->honest = sim_node_new(a->sim, "honest");
	a->attacker = sim_node_new(a->sim, strcmp(honest_addr, PROXY) == 0 ? "proxy" : "attacker");
	sim_node_start(a->server, server_main, a);
	sim_node_start(a->attacker, attacker_main, a);
	sim_node_start(a->honest, honest_main, a);
	CHECK_EQ(sim_run(a->sim, is_over, a, 7200 * NS_PER_S), 0);
	CHECK(a->stats.message_bytes_max <= 6 * MIB);
	CHECK(a->stats.message_bytes <= MIB);
	CHECK_EQ(sim_node_heap_blocks(a->server), 0);
	CHECK(a->honest_calls >= 50);
	sim_free(a->sim);
	free(a);
}

/* ---- strangers ---- */

static struct env *env_a(struct arena *a)
{
	return sim_node_env(a->attacker);
}

static struct env_conn *dial(struct arena *a)
{
	struct env_conn *c = NULL;
	struct env *env = env_a(a);

	while (env_connect(env, ADDR, env_now(env) + NS_PER_S, &c) != 0) {
		env_sleep(env, 50 * NS_PER_MS);
	}
	return c;
}

/* Sends and waits until the server hangs up, which must be soon. */
static void send_and_die(struct arena *a, const void *buf, size_t len, uint64_t soon_ns)
{
	struct env_conn *c = dial(a);
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};
	uint64_t start = env_now(env_a(a));
	size_t got = 0;
	uint8_t reply[256];

	(void)!env_send(c, &iov, 1);
	while (env_recv(c, reply, 1, sizeof(reply), ENV_FOREVER, &got) == 0) {
	}
	CHECK(env_now(env_a(a)) - start < soon_ns);
	env_conn_close(c);
}

static void header_put(struct arena *a, const struct wire_header *h)
{
	wire_header_encode(h, a->buf);
}

static void attack_strangers(struct arena *a)
{
	struct wire_header h;

	for (unsigned i = 0; i < 200; i++) {
		size_t len = 1 + prng_below(&a->rng, 3000);

		prng_fill(&a->rng, a->buf, len);
		send_and_die(a, a->buf, len, 16 * NS_PER_S);
	}
	/* A good header whose body never comes, or is not what the header says, or of another kind. */
	for (unsigned i = 0; i < 200; i++) {
		memset(&h, 0, sizeof(h));
		h.op = (uint16_t)(prng_chance(&a->rng, 1, 2) ? W_OP_HELLO
							     : prng_below(&a->rng, 0x500));
		h.flags = (uint32_t)prng_below(&a->rng, 4) == 0 ? (uint32_t)prng_next(&a->rng) : 0;
		h.xid = prng_next(&a->rng);
		h.body_len = (uint32_t)prng_below(&a->rng, LIM_MSG_BODY_MAX);
		h.bulk_len = (uint32_t)prng_below(&a->rng, 3) == 0 ? LIM_MSG_BULK_MAX : 0;
		prng_fill(&a->rng, a->buf + WIRE_HEADER_SIZE, 5000);
		h.body_len = prng_chance(&a->rng, 1, 2) ? h.body_len % 4600 : h.body_len;
		h.body_crc = crc32c(0, a->buf + WIRE_HEADER_SIZE, h.body_len % 4600);
		header_put(a, &h);
		send_and_die(a, a->buf, WIRE_HEADER_SIZE + h.body_len % 5000, 16 * NS_PER_S);
	}
	CHECK(a->stats.accepted >= 300);
	CHECK_EQ(a->stats.auth_failed, 0);
}

TEST(strangers)
{
	run(1, attack_strangers, ADDR);
}

static void attack_crowd(struct arena *a)
{
	static struct env_conn *crowd[300];
	struct env *env = env_a(a);
	unsigned n = 0;

	/* Connections that say nothing, many more than are borne. */
	env_sleep(env, 100 * NS_PER_MS);
	for (unsigned i = 0; i < 300; i++) {
		if (env_connect(env, ADDR, env_now(env) + NS_PER_S, &crowd[n]) == 0) {
			n++;
		}
		if (i % 20 == 0) {
			env_sleep(env, 20 * NS_PER_MS);
			CHECK(a->stats.unauthenticated <= 16);
			CHECK(a->stats.conns <= 64);
		}
	}
	CHECK(a->stats.refused > 0);
	env_sleep(env, 15 * NS_PER_S);
	CHECK_EQ(a->stats.unauthenticated, 0); /* their time was up */
	while (n > 0) {
		env_conn_close(crowd[--n]);
	}
}

TEST(crowd)
{
	run(2, attack_crowd, ADDR);
}

static void attack_drip(struct arena *a)
{
	struct env *env = env_a(a);
	struct env_conn *c = dial(a);
	struct wire_header h;
	uint64_t start = env_now(env);
	int rc = 0;

	/* A byte a second: HELLO must be through in ten. */
	memset(&h, 0, sizeof(h));
	h.op = W_OP_HELLO;
	h.body_len = 200;
	header_put(a, &h);
	for (unsigned i = 0; i < 300 && rc == 0; i++) {
		struct iovec iov = {.iov_base = a->buf + i, .iov_len = 1};

		rc = env_send(c, &iov, 1);
		env_sleep(env, NS_PER_S);
	}
	CHECK(rc != 0);
	CHECK(env_now(env) - start < 20 * NS_PER_S);
	env_conn_close(c);
}

TEST(drip)
{
	run(3, attack_drip, ADDR);
}

/* ---- holders of a key ---- */

struct insider {
	struct arena *a;
	struct rpc_client *rpc;
	struct rpc_session *s;
	struct rpc_out out;
	bool busy;
};

static void insider_sent(struct rpc_out *out, int result _unused_)
{
	container_of(out, struct insider, out)->busy = false;
}

/* A request with anything in it, whose checksums and MAC are right. */
static void insider_request(struct insider *in, struct rpc_conn *conn, bool bulk)
{
	struct arena *a = in->a;
	struct prng *rng = &a->rng;
	const struct wire_op *op =
		&wire_registry_wire.ops[prng_below(rng, wire_registry_wire.op_count)];
	struct wire_header *h = &in->out.header;
	uint32_t len = (uint32_t)prng_below(rng, prng_chance(rng, 1, 10) ? 60000 : 200);
	static struct iovec iov;

	prng_fill(rng, a->buf, len);
	if (prng_chance(rng, 1, 2)) {
		memset(a->buf, 0, len);
	}
	memset(h, 0, sizeof(*h));
	h->op = prng_chance(rng, 1, 10) ? (uint16_t)prng_next(rng) : op->op;
	h->class = (uint8_t)prng_below(rng, 5);
	h->flags = prng_chance(rng, 1, 8) ? (uint32_t)prng_next(rng) : 0;
	h->session = prng_chance(rng, 1, 5) ? prng_below(rng, 200) : in->s->info.session;
	h->incarnation = prng_chance(rng, 1, 10) ? 2 : 1;
	h->target = prng_chance(rng, 1, 10) ? (uint32_t)prng_next(rng) : in->s->code;
	h->slot = (uint16_t)prng_below(rng, 70);
	h->sequence = (uint32_t)prng_below(rng, 3);
	h->xid = prng_below(rng, 100000);
	h->epoch = prng_chance(rng, 1, 10) ? 9 : 1;
	h->deadline_ms = prng_chance(rng, 1, 2) ? 10 : 0;
	h->body_len = len;
	h->body_crc = crc32c(0, a->buf, len);
	in->out.body = a->buf;
	in->out.bulk_count = 0;
	if (bulk && prng_chance(rng, 1, 2)) {
		iov = (struct iovec){.iov_base = a->buf, .iov_len = 1 + prng_below(rng, 60000)};
		in->out.bulk = &iov;
		in->out.bulk_count = 1;
		h->bulk_len = (uint32_t)iov.iov_len;
		h->flags |= W_MSG_FLAGS_BULK_CRC;
		h->bulk_crc = prng_chance(rng, 1, 2) ? crc32c(0, iov.iov_base, iov.iov_len) : 0;
	}
	in->out.done = insider_sent;
	in->busy = true;
	rpc_conn_send(conn, &in->out, RPC_SEND_BEHIND);
	while (in->busy) {
		env_sleep(env_a(a), 10 * NS_PER_US);
	}
}

static void attack_insider(struct arena *a)
{
	struct insider *in = calloc(1, sizeof(*in));
	struct env *env = env_a(a);

	CHECK(in != NULL);
	in->a = a;
	in->rpc = world_client(&a->w, env, 77, NULL);
	in->s = world_session(in->rpc, ADDR);
	for (unsigned i = 0; i < 4000; i++) {
		struct rpc_lconn *lc;

		if (rpc_session_connect(in->s, env_now(env) + 60 * NS_PER_S) != 0) {
			abort();
		}
		lc = &in->s->server->control;
		if (i % 3 == 0 && link_connect(in->s->server, W_CONN_KIND_BULK) == 0) {
			lc = &in->s->server->bulk;
		}
		if (lconn_up(lc)) {
			insider_request(in, lc->conn, lc->kind == W_CONN_KIND_BULK);
		}
		if (prng_chance(&a->rng, 1, 20)) {
			env_sleep(env, NS_PER_MS);
		}
	}
	CHECK(a->stats.cut > 100);
	rpc_session_free(in->s, env_now(env) + NS_PER_S);
	rpc_client_free(in->rpc);
	free(in);
}

TEST(insider)
{
	log_level_set(LOG_ERROR);
	run(4, attack_insider, ADDR);
	log_level_set(LOG_INFO);
}

/* ---- clients that do not read ---- */

static void stall_end(void *arg)
{
	struct arena *a = arg;

	/* Two of the honest client, and the control connection, which owes nothing. */
	CHECK_EQ(a->stats.conns, 3);
	sim_node_resume(a->attacker);
}

static void attack_stalled(struct arena *a)
{
	struct env *env = env_a(a);
	struct rpc_client *rpc = world_client(&a->w, env, 78, NULL);
	struct rpc_session *s = world_session(rpc, ADDR);
	static struct w_ost_read_req req = {.length = MIB};
	static struct w_ost_read_rep rep[16];
	static struct rpc_call call[16];
	static struct iovec iov;

	iov = (struct iovec){.iov_base = mem_alloc(MIB), .iov_len = MIB};
	CHECK(iov.iov_base != NULL);
	CHECK_EQ(rpc_session_connect(s, ENV_FOREVER), 0);
	CHECK_EQ(call_read(s, 1, iov.iov_base, 100), 0);
	for (unsigned i = 0; i < 16; i++) {
		memset(&call[i], 0, sizeof(call[i]));
		call[i].op = W_OP_OST_READ;
		call[i].request = &req;
		call[i].reply = &rep[i];
		call[i].bulk_in = &iov;
		call[i].bulk_in_count = 1;
		rpc_call_start(s, &call[i]);
	}
	sim_after(a->sim, 80 * NS_PER_S, stall_end, a);
	sim_node_suspend(a->attacker, SIM_PAUSE_STOP);
	for (unsigned i = 0; i < 16; i++) {
		CHECK_EQ(rpc_call_wait(&call[i]), 0); /* asked again on a new connection */
		rpc_call_fini(&call[i]);
	}
	mem_free(iov.iov_base);
	rpc_session_free(s, env_now(env) + NS_PER_S);
	rpc_client_free(rpc);
}

TEST(stalled_reader)
{
	handlers_max = 1;
	run(6, attack_stalled, ADDR);
	handlers_max = 0;
}

/* ---- in the middle ---- */

struct pipe {
	struct arena *a;
	struct env_conn *from;
	struct env_conn *to;
	bool replies;
	struct pipe *other;
	unsigned messages;
	bool ended;
	uint8_t last[4096];
	size_t last_len;
};

static void forward(struct pipe *p, const void *buf, size_t len)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};

	if (env_send(p->to, &iov, 1) != 0) {
		env_conn_shutdown(p->from);
	}
}

/* Changes a message so that every checksum is right again; only the MAC can tell. */
static void tamper(struct pipe *p, uint8_t *msg, struct wire_header *h)
{
	struct arena *a = p->a;
	uint8_t mac[WIRE_MAC_SIZE];

	memcpy(mac, h->mac, sizeof(mac));
	a->tampered++;
	switch (a->tamper) {
	case TAMPER_BODY:
		if (h->body_len > 0) {
			msg[WIRE_HEADER_SIZE + prng_below(&a->rng, h->body_len)] ^= 1;
		} else {
			h->xid ^= 1;
		}
		h->body_crc = crc32c(0, msg + WIRE_HEADER_SIZE, h->body_len);
		wire_header_encode(h, msg);
		break;
	case TAMPER_HEADER:
		h->transno ^= 4;
		h->sequence += 1;
		wire_header_encode(h, msg);
		break;
	case TAMPER_REPLAY:
		forward(p, msg, WIRE_HEADER_SIZE + h->body_len);
		break;
	default:
		if (p->last_len > 0) {
			forward(p, p->last, p->last_len); /* an older one in between */
		}
		break;
	}
}

static int pipe_bulk(struct pipe *p, uint8_t *buf, uint32_t left)
{
	while (left > 0) {
		size_t got = 0;
		int rc = env_recv(p->from, buf, 1, left < 16384 ? left : 16384, ENV_FOREVER, &got);

		if (rc != 0) {
			return rc;
		}
		forward(p, buf, got);
		left -= (uint32_t)got;
	}
	return 0;
}

static int pipe_one(struct pipe *p, uint8_t *msg)
{
	struct wire_header h;
	size_t got = 0;
	bool chosen;
	int rc = env_recv(p->from, msg, WIRE_HEADER_SIZE, WIRE_HEADER_SIZE, ENV_FOREVER, &got);

	if (rc != 0) {
		return rc;
	}
	CHECK_EQ(wire_header_decode(msg, WIRE_HEADER_SIZE, &h), 0);
	if (h.body_len > 0) {
		rc = env_recv(
			p->from, msg + WIRE_HEADER_SIZE, h.body_len, h.body_len, ENV_FOREVER, &got);
		if (rc != 0) {
			return rc;
		}
	}
	p->messages++;
	chosen = p->a->attacking && p->messages > 2 && h.bulk_len == 0 &&
		p->replies == p->a->tamper_replies && prng_chance(&p->a->rng, 1, 4);
	if (chosen) {
		tamper(p, msg, &h);
	}
	forward(p, msg, WIRE_HEADER_SIZE + h.body_len);
	if (WIRE_HEADER_SIZE + h.body_len <= sizeof(p->last)) {
		p->last_len = WIRE_HEADER_SIZE + h.body_len;
		memcpy(p->last, msg, p->last_len);
	}
	return pipe_bulk(p, msg, h.bulk_len);
}

static void pipe_fiber(void *arg)
{
	struct pipe *p = arg;
	struct pipe *other = p->other;
	uint8_t *msg = mem_alloc(WIRE_HEADER_SIZE + LIM_MSG_BODY_MAX);

	CHECK(msg != NULL);
	while (pipe_one(p, msg) == 0) {
	}
	mem_free(msg);
	env_conn_shutdown(p->from);
	env_conn_shutdown(p->to);
	p->ended = true;
	if (other->ended) {
		env_conn_close(p->from);
		env_conn_close(p->to);
		mem_free(other);
		mem_free(p);
	}
}

static void proxy_accept(struct arena *a, struct env_conn *client)
{
	struct env_conn *server = dial(a);
	struct pipe *up = mem_zalloc(sizeof(*up));
	struct pipe *down = mem_zalloc(sizeof(*down));

	CHECK(up != NULL && down != NULL);
	up->a = a;
	up->from = client;
	up->to = server;
	up->other = down;
	down->a = a;
	down->from = server;
	down->to = client;
	down->replies = true;
	down->other = up;
	CHECK_EQ(env_spawn(env_a(a), "up", pipe_fiber, up), 0);
	CHECK_EQ(env_spawn(env_a(a), "down", pipe_fiber, down), 0);
}

static void proxy_fiber(void *arg)
{
	struct env_listener *l = arg;
	struct env_conn *c = NULL;

	while (env_accept(l, &c) == 0) {
		proxy_accept(ar, c);
	}
}

static void attack_middle(struct arena *a)
{
	struct env_listener *l = NULL;
	char addr[128];

	CHECK_EQ(env_listen(env_a(a), PROXY, addr, sizeof(addr), &l), 0);
	CHECK_EQ(env_spawn(env_a(a), "proxy", proxy_fiber, l), 0);
	for (unsigned t = 0; t < 2 * TAMPERS; t++) {
		unsigned before = a->tampered;

		a->tamper = (enum tamper)(t % TAMPERS);
		a->tamper_replies = t >= TAMPERS;
		while (a->tampered < before + 20) {
			env_sleep(env_a(a), 100 * NS_PER_MS);
		}
	}
	/* Each one was noticed by the side it was meant for. */
	CHECK(a->stats.cut >= 60);
}

TEST(man_in_the_middle)
{
	log_level_set(LOG_ERROR);
	run(5, attack_middle, PROXY);
	log_level_set(LOG_INFO);
}
