#include "rpc_world.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/prng.h"

/* A simulated crash frees what a node had from its heap; OpenSSL's contexts are not of that heap. */
const char *__lsan_default_suppressions(void);
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void)
{
	return "leak:crypto_gmac_init\n";
}

#define MUST(cond) \
	do { \
		if (!(cond)) { \
			fprintf(stderr, "%s:%d: failed: %s\n", __FILE__, __LINE__, #cond); \
			abort(); \
		} \
	} while (0)

void pattern_fill(uint64_t offset, void *buf, uint32_t len)
{
	uint8_t *b = buf;

	for (uint32_t i = 0; i < len; i++) {
		uint64_t v = offset + i;

		b[i] = (uint8_t)(v * 31 + (v >> 8) * 7 + 3);
	}
}

bool pattern_check(uint64_t offset, const void *buf, uint32_t len)
{
	const uint8_t *b = buf;

	for (uint32_t i = 0; i < len; i++) {
		uint64_t v = offset + i;

		if (b[i] != (uint8_t)(v * 31 + (v >> 8) * 7 + 3)) {
			return false;
		}
	}
	return true;
}

void world_key(const struct world *w, enum rpc_role role, struct rpc_key *ret_key)
{
	memset(ret_key, 0, sizeof(*ret_key));
	ret_key->key_id = 7;
	ret_key->role = role;
	ret_key->uid = 1234;
	ret_key->gid = 1235;
	ret_key->allow_root = role == RPC_ROLE_HOST;
	ret_key->cluster = w->cluster;
	strcpy(ret_key->fsname, "testfs");
	MUST(rpc_key_derive(ret_key, w->server_key) == 0);
}

void world_init(struct world *w, uint64_t seed)
{
	struct prng rng;

	memset(w, 0, sizeof(*w));
	prng_init(&rng, seed);
	prng_fill(&rng, w->server_key, sizeof(w->server_key));
	prng_fill(&rng, w->cluster.bytes, sizeof(w->cluster.bytes));
	w->session_next = 100;
	w->epoch = 1;
	w->slow_ns = 5 * NS_PER_MS;
	world_key(w, RPC_ROLE_HOST, &w->key);
}

/* ---- the service ---- */

static struct world_session *session_find(struct world *w, uint64_t id)
{
	for (unsigned i = 0; i < w->session_count; i++) {
		if (w->sessions[i].id == id) {
			return &w->sessions[i];
		}
	}
	return NULL;
}

static int world_open(
	void *ctx, struct rpc_export *exp, uint64_t wanted, struct rpc_open_reply *ret_reply)
{
	struct world *w = ctx;
	const struct rpc_identity *id = rpc_export_identity(exp);
	struct world_session *s = wanted != 0 && !w->forget ? session_find(w, wanted) : NULL;

	env_sleep(w->env, env_random(w->env) % NS_PER_MS);
	w->last_identity = *id;
	if (id->incarnation < w->fence_below) {
		return -NE_FENCED;
	}
	ret_reply->incarnation = id->incarnation;
	if (s != NULL && uuid_eq(s->client, id->client)) {
		for (unsigned i = 0; i < LIM_SLOTS; i++) {
			struct rpc_slot_state state = {.slot = i,
				.seq = s->slot[i].seq,
				.status = s->slot[i].status,
				.op = s->slot[i].op,
				.transno = s->slot[i].transno,
				.reply = span_of(s->slot[i].reply, s->slot[i].reply_len)};

			if (state.seq != 0) {
				MUST(rpc_export_slot_set(exp, &state) == 0);
			}
		}
		ret_reply->session = wanted;
		ret_reply->resumed = true;
		w->resumed++;
	} else {
		MUST(w->session_count < WORLD_SESSIONS);
		s = &w->sessions[w->session_count++];
		memset(s, 0, sizeof(*s));
		s->id = w->session_next++;
		s->client = id->client;
		ret_reply->session = s->id;
		w->opened++;
	}
	rpc_export_ctx_set(exp, s);
	return 0;
}

static void world_closed(void *ctx, struct rpc_export *exp, enum rpc_close_reason reason)
{
	struct world *w = ctx;

	MUST(rpc_export_ctx(exp) != NULL);
	env_sleep(w->env, env_random(w->env) % NS_PER_MS);
	w->closed++;
	w->close_reason = reason;
}

static int world_wait(struct world *w, struct wire_str how)
{
	int rc = 0;

	if (wire_str_eq(how, wire_str_of("slow"))) {
		env_sleep(w->env, 1 + env_random(w->env) % w->slow_ns);
	} else if (wire_str_eq(how, wire_str_of("stubborn"))) {
		env_sleep(w->env, 5 * NS_PER_S);
	} else if (wire_str_eq(how, wire_str_of("block"))) {
		w->blocked++;
		rc = env_sleep_until(w->env, ENV_FOREVER);
		w->blocked--;
		w->interrupted += rc == -NE_INTR;
	} else if (wire_str_eq(how, wire_str_of("retry"))) {
		rc = -NE_RETRY;
	} else if (wire_str_eq(how, wire_str_of("fail"))) {
		rc = -NE_NOSPC;
	}
	return rc;
}

/* Executes the id and logs slot and reply, without switching fibers in between: as a log append does. */
static int world_execute(struct world *w, struct rpc_request *req, uint64_t id, const void *reply)
{
	struct world_session *s = rpc_export_ctx(req->exp);
	struct world_slot *slot = &s->slot[req->slot];
	struct span bytes;

	MUST(id < WORLD_IDS && req->slot < LIM_SLOTS);
	MUST(rpc_request_reply(req, reply) == 0);
	bytes = rpc_request_reply_bytes(req);
	MUST(bytes.len <= sizeof(slot->reply));
	w->executed[id]++;
	w->transno++;
	rpc_request_transno_set(req, w->transno);
	slot->seq = req->seq;
	slot->op = req->op->op;
	slot->status = 0;
	slot->transno = w->transno;
	slot->reply_len = (uint32_t)bytes.len;
	bytes_copy(slot->reply, bytes.ptr, bytes.len);
	return 0;
}

static bool world_parks(struct world *w, struct wire_str how, uint32_t id)
{
	if (wire_str_eq(how, wire_str_of("park"))) {
		return !w->gate_open;
	}
	if (wire_str_eq(how, wire_str_of("parkwake"))) {
		return w->parkings[id] == 0;
	}
	return wire_str_eq(how, wire_str_of("dice")) && env_random(w->env) % 2 == 0;
}

static int world_park(struct world *w, struct rpc_request *req, struct wire_str how, uint32_t id)
{
	int rc = rpc_request_park(req, &w->lot);

	w->parkings[id]++;
	if (wire_str_eq(how, wire_str_of("parkwake"))) {
		rpc_parking_wake(&w->lot, UINT_MAX);
	}
	return rc;
}

static int world_param(struct world *w, struct rpc_request *req)
{
	const struct w_mgs_param_req *body = req->body;
	struct w_mgs_param_rep rep;
	char text[16];
	int rc = world_wait(w, body->param.value);

	if (rc != 0) {
		return rc;
	}
	MUST(wire_str_copy(body->param.key, text, sizeof(text)) == 0);
	rep.version = (uint32_t)atoi(text);
	if (world_parks(w, body->param.value, rep.version)) {
		return world_park(w, req, body->param.value, rep.version);
	}
	rc = world_execute(w, req, rep.version, &rep);
	if (wire_str_eq(body->param.value, wire_str_of("slow"))) {
		env_sleep(w->env, 1 + env_random(w->env) % w->slow_ns);
	}
	return rc;
}

static int world_map(struct world *w, struct rpc_request *req)
{
	const struct w_mgs_map_req *body = req->body;
	struct w_mgs_map_rep rep;
	int rc = world_wait(w, body->fsname);

	if (rc == -NE_RETRY) {
		rpc_request_retry_after_set(req, 50 * NS_PER_MS);
	}
	if (rc != 0) {
		return rc;
	}
	memset(&rep, 0, sizeof(rep));
	rep.version = body->have_version + 1;
	rep.fsname = wire_str_of("testfs");
	return rpc_request_reply(req, &rep);
}

static int world_write(struct world *w, struct rpc_request *req)
{
	const struct w_ost_write_req *body = req->body;
	struct w_ost_write_rep rep;
	int rc;

	memset(&rep, 0, sizeof(rep));
	if (req->bulk_in_len != body->length) {
		return -NE_INVAL;
	}
	MUST(pattern_check(body->offset, req->bulk_in, req->bulk_in_len));
	w->bulk_now += req->bulk_in_len;
	w->bulk_max = u64_max(w->bulk_max, w->bulk_now);
	env_sleep(w->env, 1 + env_random(w->env) % w->slow_ns);
	w->bulk_now -= req->bulk_in_len;
	rep.verifier = 77;
	rc = world_execute(w, req, body->write_seq, &rep);
	return rc;
}

static void world_release(void *arg)
{
	mem_free(arg);
}

static int world_read(struct rpc_request *req)
{
	const struct w_ost_read_req *body = req->body;
	struct w_ost_read_rep rep;
	struct iovec iov[3];
	uint8_t *buf;
	uint32_t third = body->length / 3;
	int rc;

	memset(&rep, 0, sizeof(rep));
	rep.attr.exists = true;
	rep.attr.size = body->length;
	rc = rpc_request_reply(req, &rep);
	if (rc != 0 || body->length == 0) {
		return rc;
	}
	buf = mem_alloc(body->length);
	MUST(buf != NULL);
	pattern_fill(body->offset, buf, body->length);
	iov[0] = (struct iovec){.iov_base = buf, .iov_len = third};
	iov[1] = (struct iovec){.iov_base = buf + third, .iov_len = third};
	iov[2] = (struct iovec){.iov_base = buf + 2 * third, .iov_len = body->length - 2 * third};
	rpc_request_bulk_out(req, iov, 3, world_release, buf);
	return 0;
}

static int world_request_run(struct world *w, struct rpc_request *req)
{
	switch (req->op->op) {
	case W_OP_MGS_PARAM:
		return world_param(w, req);
	case W_OP_MGS_MAP:
		return world_map(w, req);
	case W_OP_MDS_CLOSE: {
		const struct w_mds_close_req *body = req->body;
		struct w_mds_close_rep rep = {.need_size = true};

		return world_execute(w, req, body->handle, &rep);
	}
	case W_OP_OST_WRITE:
		return world_write(w, req);
	case W_OP_OST_READ:
		return world_read(req);
	default:
		return -NE_NOTSUP;
	}
}

static int world_request(void *ctx, struct rpc_request *req)
{
	struct world *w = ctx;
	int rc;

	w->running++;
	w->running_max = w->running > w->running_max ? w->running : w->running_max;
	rc = world_request_run(w, req);
	w->running--;
	return rc;
}

static void world_state(void *ctx, struct rpc_service_state *ret_state)
{
	struct world *w = ctx;

	*ret_state = (struct rpc_service_state){
		.epoch = w->epoch, .map_version = 5, .last_committed = w->transno};
}

static const struct rpc_service_ops world_ops = {
	.session_open = world_open,
	.session_closed = world_closed,
	.request = world_request,
	.state = world_state,
};

/* ---- starting and stopping ---- */

void world_serve(struct world *w, struct env *env, const char *addr)
{
	struct rpc_server_opts opts = {.env = env,
		.cluster = w->cluster,
		.server_key = w->server_key,
		.own_uid = w->own_uid,
		.limits = w->limits};
	struct rpc_service_opts service = {
		.target = "MDT0000", .fsname = "testfs", .ops = &world_ops, .ctx = w};
	uint8_t random[16];

	w->env = env;
	w->running = 0;
	w->bulk_now = 0;
	rpc_parking_init(&w->lot);
	env_random_bytes(env, random, sizeof(random));
	opts.uuid = uuid_from_random(random);
	MUST(rpc_server_new(&opts, &w->server) == 0);
	MUST(rpc_service_start(w->server, &service, &w->service) == 0);
	MUST(rpc_server_listen(w->server, addr, w->addr, sizeof(w->addr)) == 0);
}

void world_stop(struct world *w)
{
	rpc_server_stop(w->server);
	rpc_server_free(w->server);
	w->server = NULL;
	w->service = NULL;
}

struct rpc_client *world_client(
	const struct world *w, struct env *env, uint64_t uuid_seed, const struct rpc_key *key)
{
	struct rpc_client_opts opts = {.env = env,
		.incarnation = 1,
		.key = key != NULL ? key : &w->key,
		.hostname = "testhost",
		.pid = 42};
	struct rpc_client *client = NULL;
	struct prng rng;

	prng_init(&rng, uuid_seed);
	prng_fill(&rng, opts.uuid.bytes, sizeof(opts.uuid.bytes));
	MUST(rpc_client_new(&opts, &client) == 0);
	return client;
}

struct rpc_session *world_session(struct rpc_client *client, const char *addr)
{
	static struct rpc_addrs addrs;
	struct rpc_session_opts opts = {.target = "MDT0000", .fsname = "testfs", .addrs = &addrs};
	struct rpc_session *s = NULL;

	addrs.count = 1;
	strcpy(addrs.addr[0], addr);
	MUST(rpc_session_new(client, &opts, &s) == 0);
	return s;
}

/* ---- calls ---- */

int call_param(
	struct rpc_session *s, unsigned id, const char *value, uint64_t deadline_ns, unsigned flags)
{
	char key[16];
	struct w_mgs_param_req req;
	struct w_mgs_param_rep rep = {.version = 0};
	struct rpc_call call = {.op = W_OP_MGS_PARAM,
		.flags = (uint16_t)flags,
		.request = &req,
		.reply = &rep,
		.deadline_ns = deadline_ns};
	int rc;

	snprintf(key, sizeof(key), "%u", id);
	req.param.key = wire_str_of(key);
	req.param.value = wire_str_of(value);
	rc = rpc_call(s, &call);
	if (rc == 0) {
		MUST(rep.version == id && call.transno > 0);
	}
	rpc_call_fini(&call);
	return rc;
}

int call_map(struct rpc_session *s, const char *how, uint32_t have, uint64_t deadline_ns)
{
	struct w_mgs_map_req req = {.fsname = wire_str_of(how), .have_version = have};
	struct w_mgs_map_rep rep;
	struct rpc_call call = {
		.op = W_OP_MGS_MAP, .request = &req, .reply = &rep, .deadline_ns = deadline_ns};
	int rc = rpc_call(s, &call);

	if (rc == 0) {
		MUST(rep.version == have + 1 && wire_str_eq(rep.fsname, wire_str_of("testfs")));
		MUST(call.map_version == 5);
	}
	rpc_call_fini(&call);
	return rc;
}

int call_close(struct rpc_session *s, unsigned id)
{
	struct w_mds_close_req req;
	struct w_mds_close_rep rep = {.need_size = false};
	struct rpc_call call = {.op = W_OP_MDS_CLOSE, .request = &req, .reply = &rep};
	int rc;

	memset(&req, 0, sizeof(req));
	req.handle = id;
	rc = rpc_call(s, &call);
	if (rc == 0) {
		MUST(rep.need_size);
	}
	rpc_call_fini(&call);
	return rc;
}

int call_write(struct rpc_session *s, unsigned id, uint64_t offset, void *buf, uint32_t len,
	unsigned flags)
{
	struct w_ost_write_req req;
	struct w_ost_write_rep rep;
	uint32_t half = len / 2;
	struct iovec iov[2] = {{.iov_base = buf, .iov_len = half},
		{.iov_base = (uint8_t *)buf + half, .iov_len = len - half}};
	struct rpc_call call = {.op = W_OP_OST_WRITE,
		.flags = (uint16_t)flags,
		.request = &req,
		.reply = &rep,
		.bulk_out = iov,
		.bulk_out_count = 2};
	int rc;

	memset(&req, 0, sizeof(req));
	req.offset = offset;
	req.length = len;
	req.write_seq = id;
	pattern_fill(offset, buf, len);
	rc = rpc_call(s, &call);
	if (rc == 0) {
		MUST(rep.verifier == 77);
	}
	rpc_call_fini(&call);
	return rc;
}

int call_read(struct rpc_session *s, uint64_t offset, void *buf, uint32_t len)
{
	struct w_ost_read_req req;
	struct w_ost_read_rep rep;
	uint32_t part = len / 4;
	struct iovec iov[2] = {{.iov_base = buf, .iov_len = part},
		{.iov_base = (uint8_t *)buf + part, .iov_len = len - part}};
	struct rpc_call call = {.op = W_OP_OST_READ,
		.request = &req,
		.reply = &rep,
		.bulk_in = iov,
		.bulk_in_count = 2};
	int rc;

	memset(&req, 0, sizeof(req));
	memset(buf, 0xee, len);
	req.offset = offset;
	req.length = len;
	rc = rpc_call(s, &call);
	if (rc == 0) {
		MUST(call.bulk_in_len == len && pattern_check(offset, buf, len));
	}
	rpc_call_fini(&call);
	return rc;
}
