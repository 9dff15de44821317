/*
 * Fuzz targets: what a server's connection receives, before and after HELLO, with real services behind it.
 *
 * One simulated node runs an MGS, an MDT and an OST as nacred does. `rpc_stranger` sends the bytes to it as
 * they are, and with every header sealed. `rpc_insider` holds keys and sessions: the input describes
 * messages (which operation, which flags, which body), which are sent with right checksums and MACs.
 *
 * Whatever comes, the node lives: it never dies or asserts, honest calls are answered afterwards, and when
 * a world ends the name space that such requests made is consistent. A world serves many inputs, as a server
 * does; an input that fails only behind others is repeated by giving the fuzzer's log of inputs.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "daemon/node.h"
#include "daemon/super.h"
#include "env/sim/sim.h"
#include "fuzz.h"
#include "fuzz_sim.h"
#include "mds/mds.h"
#include "rpc/rpc_client_int.h"

#define FSNAME "fuzzfs"
#define ADDR "sim:server:7988"
/* Inputs one world serves; then its state is checked and a new one made. */
#define WORLD_INPUTS 400
#define MESSAGES_MAX 12
#define BODY_MAX 4096
#define TARGETS 3
#define ROLES 4

static const char *const target_names[TARGETS] = {"MDT0000", "OST0000", "MGT0000"};
static const enum rpc_role roles[ROLES] = {
	RPC_ROLE_HOST, RPC_ROLE_USER, RPC_ROLE_SERVER, RPC_ROLE_ADMIN};

/* One way in: a role's session with a target. */
struct door {
	struct rpc_client *client;
	struct rpc_session *session;
	uint64_t session_id; /* the numbers below are of */
	uint32_t seq[LIM_SLOTS];
};

struct rpc_world {
	struct sim *sim;
	struct sim_node *server;
	struct sim_node *peer;
	struct node_config config;
	uint8_t server_key[RPC_KEY_BYTES];
	struct node *node;
	bool stop;
	bool checked;
	struct env_waitq stop_q;
	struct door doors[ROLES][TARGETS];
	unsigned inputs;
	/* the input that is being tried */
	const uint8_t *data;
	size_t size;
	void (*attack)(struct rpc_world *w);
	bool done;
	uint8_t body[BODY_MAX];
	bool sending;
	struct rpc_out out;
	struct iovec bulk;
};

static struct rpc_world *world;

/* Sessions of the last world hold contexts of OpenSSL, which are not of a node's heap. */
const char *__lsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void)
{
	return "leak:crypto_gmac_init\n";
}

/* ---- the server ---- */

static void format(struct rpc_world *w, struct env *env)
{
	for (unsigned i = 0; i < w->config.target_count; i++) {
		struct super super = {.cluster = w->config.cluster};
		int r = target_name_parse(w->config.targets[i].name, &super.kind, &super.index);

		ASSERT(r == 0);
		strcpy(super.fsname, FSNAME);
		env_random_bytes(env, super.uuid.bytes, sizeof(super.uuid.bytes));
		r = super_format(env, w->config.targets[i].path, &super);
		ASSERT(r == 0);
	}
}

static void server_main(void *arg)
{
	struct rpc_world *w = arg;
	struct env *env = sim_node_env(w->server);
	char why[512];
	int r;

	env_waitq_init(&w->stop_q);
	format(w, env);
	r = node_start(env, &w->config, why, sizeof(why), &w->node);
	ASSERT(r == 0);
	while (!w->stop) {
		(void)!env_wait(env, &w->stop_q, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
	node_stop(TAKE_PTR(w->node));
}

static void violation(void *ctx _unused_, const char *line)
{
	fprintf(stderr, "name space: %s\n", line);
}

/* The next process on that disk: opens the MDT's state and walks it. */
static void check_main(void *arg)
{
	struct rpc_world *w = arg;
	struct env *env = sim_node_env(w->server);
	struct state_opts opts = {.dir = "/data-MDT0000/state", .kv_kind = STATE_KV_MODEL};
	struct state *st = NULL;
	int r = state_open(env, &opts, &st);

	ASSERT(r == 0);
	r = mds_check(env, st, 0, violation, NULL);
	ASSERT(r == 0);
	state_close(st);
	w->checked = true;
}

static bool is_checked(void *arg)
{
	return ((struct rpc_world *)arg)->checked;
}

static bool is_down(void *arg)
{
	return sim_node_fibers(((struct rpc_world *)arg)->server) == 0;
}

static bool is_registered(void *arg)
{
	struct rpc_world *w = arg;

	return w->node != NULL && node_registered(w->node);
}

static void config_make(struct rpc_world *w)
{
	struct node_config *c = &w->config;
	char text[256];
	int r;

	strcpy(c->fsname, FSNAME);
	memset(w->server_key, 5, sizeof(w->server_key));
	c->cluster.bytes[0] = 6;
	c->listen_count = c->mgs_count = 1;
	strcpy(c->listen[0], ADDR);
	strcpy(c->mgs[0], ADDR);
	strcpy(c->server_key, "/server.key");
	c->kv_kind = STATE_KV_MODEL;
	c->pid = 10;
	for (; c->target_count < TARGETS; c->target_count++) {
		struct node_target_config *t = &c->targets[c->target_count];

		/* The MGS comes first. */
		strcpy(t->name, target_names[(c->target_count + 2) % TARGETS]);
		(void)snprintf(t->path, sizeof(t->path), "/data-%.15s", t->name);
	}
	r = rpc_server_key_format(w->server_key, text, sizeof(text));
	ASSERT(r == 0);
	r = sim_disk_poke(w->server, c->server_key, text, strlen(text));
	ASSERT(r == 0);
}

static struct rpc_world *world_new(void)
{
	struct rpc_world *w = calloc(1, sizeof(*w));
	struct sim_options opts;
	int r;

	ASSERT(w != NULL);
	sim_options_default(&opts, 3);
	opts.fibers_max = 1024;
	opts.log_events = 512;
	w->sim = fuzz_sim_new(&opts);
	w->server = sim_node_new(w->sim, "server");
	w->peer = sim_node_new(w->sim, "peer");
	config_make(w);
	sim_node_start(w->server, server_main, w);
	r = sim_run(w->sim, is_registered, w, 600 * NS_PER_S);
	ASSERT(r == 0);
	return w;
}

static bool is_done(void *arg)
{
	struct rpc_world *w = arg;

	return w->done || !sim_node_is_up(w->server);
}

/* The peer gives its sessions back. */
static void leave_main(void *arg)
{
	struct rpc_world *w = arg;
	struct env *env = sim_node_env(w->peer);

	for (unsigned i = 0; i < ROLES * TARGETS; i++) {
		struct door *d = &w->doors[i / TARGETS][i % TARGETS];

		rpc_session_free(d->session, env_now(env) + NS_PER_S);
		rpc_client_free(d->client);
	}
	w->done = true;
}

static void world_free(struct rpc_world *w)
{
	int r;

	r = env_spawn(sim_node_env(w->peer), "leave", leave_main, w);
	ASSERT(r == 0);
	w->done = false;
	r = sim_run(w->sim, is_done, w, 600 * NS_PER_S);
	ASSERT(r == 0);
	w->stop = true;
	env_wake_all(sim_node_env(w->server), &w->stop_q);
	r = sim_run(w->sim, is_down, w, 600 * NS_PER_S);
	ASSERT(r == 0);
	sim_node_crash(w->server, SIM_KILL);
	sim_node_start(w->server, check_main, w);
	r = sim_run(w->sim, is_checked, w, 600 * NS_PER_S);
	ASSERT(r == 0);
	fuzz_sim_free(w->sim);
	free(w);
}

/* ---- the peer: a process that lives as long as the world ---- */

static void peer_main(void *arg)
{
	struct rpc_world *w = arg;

	w->attack(w);
	w->done = true;
}

static void input_run(const uint8_t *data, size_t size, void (*attack)(struct rpc_world *w))
{
	struct rpc_world *w;
	int r;

	if (world != NULL && world->inputs >= WORLD_INPUTS) {
		world_free(TAKE_PTR(world));
	}
	if (world == NULL) {
		world = world_new();
	}
	w = world;
	w->data = data;
	w->size = size;
	w->attack = attack;
	w->done = false;
	if (w->inputs++ == 0) {
		sim_node_start(w->peer, peer_main, w);
	} else {
		r = env_spawn(sim_node_env(w->peer), "attack", peer_main, w);
		ASSERT(r == 0);
	}
	r = sim_run(w->sim, is_done, w, 3600 * NS_PER_S);
	ASSERT(r == 0 && sim_node_is_up(w->server));
}

/* ---- before HELLO ---- */

static void stranger_send(struct env *env, const void *data, size_t size)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = size};
	struct env_conn *c = NULL;
	uint8_t reply[512];
	size_t len;
	int r = env_connect(env, ADDR, env_now(env) + 60 * NS_PER_S, &c);

	ASSERT(r == 0);
	if (env_send(c, &iov, 1) == 0) {
		/* What it answers, or that it hangs up, as far as that comes soon. */
		while (env_recv(c, reply, 1, sizeof(reply), env_now(env) + NS_PER_MS, &len) == 0) {
		}
	}
	env_conn_shutdown(c);
	env_conn_close(c);
}

/* Every message in the stream gets a header whose lengths fit and whose checksums are right. */
static void stream_seal(uint8_t *p, size_t size)
{
	struct wire_header h;

	while (size >= WIRE_HEADER_SIZE) {
		size_t left = size - WIRE_HEADER_SIZE;

		wire_header_seal(p);
		if (wire_header_decode(p, WIRE_HEADER_SIZE, &h) != 0) {
			return;
		}
		h.body_len = h.body_len > left ? (uint32_t)left : h.body_len;
		h.bulk_len =
			h.bulk_len > left - h.body_len ? (uint32_t)(left - h.body_len) : h.bulk_len;
		h.body_crc = crc32c(0, p + WIRE_HEADER_SIZE, h.body_len);
		wire_header_encode(&h, p);
		p += WIRE_HEADER_SIZE + h.body_len + h.bulk_len;
		size = left - h.body_len - h.bulk_len;
	}
}

static void attack_stranger(struct rpc_world *w)
{
	struct env *env = sim_node_env(w->peer);
	uint8_t *copy = malloc(w->size + 1);

	ASSERT(copy != NULL);
	if (w->size > 0) {
		memcpy(copy, w->data, w->size);
	}
	stranger_send(env, copy, w->size);
	stream_seal(copy, w->size);
	stranger_send(env, copy, w->size);
	free(copy);
}

static void run_stranger(const uint8_t *data, size_t size)
{
	if (size > 0) {
		input_run(data, size, attack_stranger);
	}
}

static size_t message_make(uint8_t *buf, uint16_t op, const struct wire_codec *codec, const void *v)
{
	struct wire_header h = {.op = op, .xid = 1};
	struct wire_enc enc = wire_enc_of(buf + WIRE_HEADER_SIZE, 2048);
	int r = codec == NULL ? 0 : codec->encode(v, &enc);

	ASSERT(r == 0);
	h.body_len = (uint32_t)enc.pos;
	h.body_crc = crc32c(0, buf + WIRE_HEADER_SIZE, enc.pos);
	wire_header_encode(&h, buf);
	return WIRE_HEADER_SIZE + enc.pos;
}

static void seeds_stranger(struct fuzz_seeds *s)
{
	struct w_hello_req hello;
	uint8_t buf[4096];
	size_t len;

	memset(&hello, 0, sizeof(hello));
	len = message_make(buf, W_OP_HELLO, &w_hello_req_codec, &hello);
	fuzz_seed_add(s, "hello", buf, len);
	len += message_make(buf + len, W_OP_PING, NULL, NULL);
	fuzz_seed_add(s, "hello_ping", buf, len);
}

/* ---- after HELLO ---- */

static void door_open(struct rpc_world *w, unsigned role, unsigned target)
{
	struct door *d = &w->doors[role][target];
	static struct rpc_key key;
	static struct rpc_addrs addrs = {.count = 1, .addr = {ADDR}};
	struct rpc_client_opts co = {
		.env = sim_node_env(w->peer), .incarnation = 1, .key = &key, .hostname = "fuzz"};
	struct rpc_session_opts so = {
		.target = target_names[target], .fsname = FSNAME, .addrs = &addrs};
	int r;

	memset(&key, 0, sizeof(key));
	key.key_id = role + 1;
	key.role = roles[role];
	key.uid = key.gid = 1000;
	key.allow_root = true;
	key.cluster = w->config.cluster;
	strcpy(key.fsname, FSNAME);
	r = rpc_key_derive(&key, w->server_key);
	ASSERT(r == 0);
	co.uuid.bytes[0] = (uint8_t)(role + 1);
	co.uuid.bytes[1] = (uint8_t)target;
	r = rpc_client_new(&co, &d->client);
	ASSERT(r == 0);
	r = rpc_session_new(d->client, &so, &d->session);
	ASSERT(r == 0);
}

/* The number that the server expects next in this slot, or one beside it. */
static uint32_t door_seq(struct door *d, unsigned slot, uint8_t odd)
{
	if (d->session_id != d->session->info.session) {
		d->session_id = d->session->info.session;
		memset(d->seq, 0, sizeof(d->seq));
	}
	if (odd != 0) {
		return d->seq[slot] + odd % 4 - 1;
	}
	return ++d->seq[slot];
}

static void sent(struct rpc_out *out, int result _unused_)
{
	container_of(out, struct rpc_world, out)->sending = false;
}

/* One message out of the input: op, how, slot, body's length, body. */
static void insider_message(struct rpc_world *w, struct door *d, struct fuzz_in *in)
{
	const struct wire_op *op =
		&wire_registry_wire.ops[fuzz_u8(in) % wire_registry_wire.op_count];
	uint8_t how = fuzz_u8(in);
	unsigned slot = fuzz_u8(in) % 4;
	struct wire_header *h = &w->out.header;
	struct rpc_lconn *lc = &d->session->server->control;
	size_t len;
	const uint8_t *at = fuzz_take(in, fuzz_uint(in, 2) % BODY_MAX, &len);

	memset(&w->out, 0, sizeof(w->out));
	if (len > 0) {
		memcpy(w->body, at, len);
	}
	if ((how & 1) && link_connect(d->session->server, W_CONN_KIND_BULK) == 0) {
		lc = &d->session->server->bulk;
	}
	h->op = (how & 2) ? (uint16_t)fuzz_uint(in, 2) : op->op;
	h->class = (how & 4) ? fuzz_u8(in) : op->class;
	h->flags = (how & 8) ? (uint32_t)fuzz_uint(in, 4) : 0;
	h->session = (how & 16) ? fuzz_u8(in) : d->session->info.session;
	h->incarnation = 1;
	h->target = d->session->code;
	h->slot = (uint16_t)slot;
	h->sequence = door_seq(d, slot, (how & 32) ? fuzz_u8(in) : 0);
	h->xid = 1000000 + w->inputs;
	h->epoch = d->session->info.epoch;
	h->body_len = (uint32_t)len;
	h->body_crc = crc32c(0, w->body, len);
	w->out.body = w->body;
	if ((how & 64) && len > 0) {
		w->bulk = (struct iovec){.iov_base = w->body, .iov_len = len};
		w->out.bulk = &w->bulk;
		w->out.bulk_count = 1;
		h->bulk_len = (uint32_t)len;
		h->flags |= W_MSG_FLAGS_BULK_CRC;
		h->bulk_crc = crc32c(0, w->body, len);
	}
	w->out.done = sent;
	if (!lconn_up(lc)) {
		return;
	}
	w->sending = true;
	rpc_conn_send(lc->conn, &w->out, RPC_SEND_BEHIND);
	while (w->sending) {
		env_sleep(sim_node_env(w->peer), 10 * NS_PER_US);
	}
}

static void honest_call(struct rpc_world *w, struct door *d)
{
	struct w_target_status_req req;
	struct w_target_status_rep rep;
	struct rpc_call call = {.op = W_OP_TARGET_STATUS, .request = &req, .reply = &rep};
	int r;

	memset(&req, 0, sizeof(req));
	call.deadline_ns = env_now(sim_node_env(w->peer)) + 600 * NS_PER_S;
	r = rpc_call(d->session, &call);
	/* It may lack the right; what counts is that it is answered. */
	ASSERT(r != -NE_TIMEDOUT);
	rpc_call_fini(&call);
}

static void attack_insider(struct rpc_world *w)
{
	struct fuzz_in in = fuzz_in_of(w->data, w->size);
	uint8_t who = fuzz_u8(&in);
	unsigned target = who % TARGETS;
	unsigned role = who / TARGETS % ROLES;
	struct door *d = &w->doors[role][target];
	struct env *env = sim_node_env(w->peer);

	if (d->session == NULL) {
		door_open(w, role, target);
	}
	for (unsigned i = 0; i < MESSAGES_MAX && in.left > 0; i++) {
		int r = rpc_session_connect(d->session, env_now(env) + 600 * NS_PER_S);

		ASSERT(r == 0);
		insider_message(w, d, &in);
	}
	env_sleep(env, 20 * NS_PER_MS);
	honest_call(w, d);
}

static void run_insider(const uint8_t *data, size_t size)
{
	input_run(data, size, attack_insider);
}

/* Each operation with an empty message of its kind, sent to the target it is for. */
static void seeds_insider(struct fuzz_seeds *s)
{
	static uint8_t v[RPC_STRUCT_MAX];
	uint8_t buf[2048];

	for (unsigned i = 0; i < wire_registry_wire.op_count; i++) {
		const struct wire_op *op = &wire_registry_wire.ops[i];
		struct wire_enc enc = wire_enc_of(buf + 6, sizeof(buf) - 6);

		if (op->push || op->request->encode(v, &enc) != 0) {
			continue;
		}
		buf[0] = strncmp(op->name, "ost", 3) == 0  ? 1
			: strncmp(op->name, "mgs", 3) == 0 ? 2
							   : 0;
		buf[0] = (uint8_t)(buf[0] + (i % 3 == 0 ? 6 : 0));
		buf[1] = (uint8_t)i;
		buf[2] = buf[3] = 0;
		le16_store(buf + 4, (uint16_t)enc.pos);
		fuzz_seed_add(s, op->name, buf, 6 + enc.pos);
	}
}

const struct fuzz_target fuzz_targets[] = {
	{"rpc_stranger", run_stranger, seeds_stranger},
	{"rpc_insider", run_insider, seeds_insider},
};
const unsigned fuzz_target_count = ARRAY_SIZE(fuzz_targets);
