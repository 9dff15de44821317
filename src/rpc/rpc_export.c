/*
 * Exports: opening, resuming and closing sessions, their slots, their pushes.
 *
 * Opening cuts the past (RULES B5): requests of the session that came over connections older than the one
 * that asks are dropped when they arrive late; those without a slot are interrupted and waited for; those
 * with a slot may go on, because their slot makes them unique and answers the resend. Only then the slots'
 * sequences are told.
 *
 * Closing waits for the session's requests; then a fiber of the janitor's calls session_closed, which may wait for
 * other targets, and frees. A client has one session per target: opening a new one ends the old.
 */
#include "rpc/rpc_server_int.h"

#include "base/alloc.h"
#include "base/crc32c.h"
#include "base/hash.h"
#include "base/log.h"

struct rpc_service *service_find(struct rpc_server *server, uint32_t code)
{
	LIST_FOREACH (it, &server->services) {
		struct rpc_service *service = list_entry(it, struct rpc_service, link);

		if (service->code == code) {
			return service;
		}
	}
	return NULL;
}

struct rpc_export *export_find(struct rpc_service *service, uint64_t session)
{
	for (struct hmap_node *it = hmap_find(&service->exports, hash_mix(session)); it != NULL;
		it = hmap_find_next(it)) {
		struct rpc_export *exp = container_of(it, struct rpc_export, node);

		if (exp->session == session) {
			return exp;
		}
	}
	return NULL;
}

void export_touch(struct rpc_export *exp)
{
	exp->last_ns = env_now(exp->service->server->env);
}

/* ---- slots ---- */

int slot_store(struct rpc_server *server, struct server_slot *slot, struct span reply)
{
	slot->reply_len = 0;
	if (reply.len > slot->reply_cap) {
		uint32_t cap = (uint32_t)u64_round_up(reply.len, 256);
		uint8_t *mem = mem_realloc(slot->reply, cap);

		if (mem == NULL) {
			return -NE_NOMEM;
		}
		server->slot_bytes += cap - slot->reply_cap;
		slot->reply = mem;
		slot->reply_cap = cap;
	}
	bytes_copy(slot->reply, reply.ptr, reply.len);
	slot->reply_len = (uint32_t)reply.len;
	return 0;
}

int rpc_export_slot_set(struct rpc_export *exp, const struct rpc_slot_state *state)
{
	struct server_slot *slot;

	ASSERT(exp->state == EXPORT_OPENING);
	if (state->slot >= LIM_SLOTS || state->reply.len > LIM_MSG_BODY_MAX) {
		return -NE_INVAL;
	}
	slot = &exp->slot[state->slot];
	slot->seq = state->seq;
	slot->status = state->status;
	slot->op = state->op;
	slot->transno = state->transno;
	slot->cached = true;
	return slot_store(exp->service->server, slot, state->reply);
}

/* ---- life ---- */

static struct rpc_export *export_new(struct rpc_service *service, struct rpc_peer *peer)
{
	struct rpc_export *exp = mem_zalloc(sizeof(*exp));

	if (exp == NULL) {
		return NULL;
	}
	exp->service = service;
	exp->peer = peer;
	exp->state = EXPORT_OPENING;
	list_init(&exp->requests);
	hmap_init(&exp->tickets);
	peer->refs++;
	list_push_back(&peer->exports, &exp->peer_link);
	list_push_back(&service->all, &exp->all);
	export_touch(exp);
	return exp;
}

static void export_free(struct rpc_export *exp)
{
	struct rpc_server *server = exp->service->server;

	ASSERT(list_empty(&exp->requests) && exp->tickets.count == 0);
	ASSERT(exp->state == EXPORT_OPENING || exp->state == EXPORT_CLOSED);
	for (unsigned i = 0; i < LIM_SLOTS; i++) {
		ASSERT(exp->slot[i].busy == NULL);
		server->slot_bytes -= exp->slot[i].reply_cap;
		mem_free(exp->slot[i].reply);
	}
	hmap_fini(&exp->tickets);
	list_del(&exp->peer_link);
	list_del(&exp->all);
	peer_unref(exp->peer);
	mem_free(exp);
	env_wake_all(server->env, &server->quiet);
}

void export_close(struct rpc_export *exp, enum rpc_close_reason reason)
{
	if (exp->state != EXPORT_OPEN) {
		return;
	}
	hmap_remove(&exp->service->exports, &exp->node);
	exp->state = EXPORT_CLOSING;
	exp->close_reason = reason;
	exp->control = NULL;
	park_forget_all(exp);
	LIST_FOREACH_SAFE (it, &exp->requests) {
		serve_cancel(list_entry(it, struct rpc_req, exp_link));
	}
	server_janitor_wake(exp->service->server);
}

static void reap(struct rpc_export *exp)
{
	struct rpc_server *server = exp->service->server;

	ASSERT(exp->state == EXPORT_CLOSED && server->reapers > 0);
	exp->service->ops->session_closed(exp->service->ctx, exp, exp->close_reason);
	export_free(exp);
	server->reapers--;
	server_janitor_wake(server);
}

static void reap_fiber(void *arg)
{
	struct rpc_export *exp = arg;
	struct rpc_server *server = exp->service->server;

	reap(exp);
	server_fiber_end(server);
}

bool export_reap(struct rpc_export *exp)
{
	struct rpc_server *server = exp->service->server;

	ASSERT(exp->state == EXPORT_CLOSING && list_empty(&exp->requests));
	exp->state = EXPORT_CLOSED;
	server->reapers++;
	if (server_spawn(server, "rpc-close", reap_fiber, exp) == 0) {
		return true;
	}
	if (server->reapers == 1) {
		reap(exp); /* somebody must */
		return true;
	}
	server->reapers--;
	exp->state = EXPORT_CLOSING; /* when one of the others has ended */
	return false;
}

/* ---- cutting the past ---- */

static bool req_is_old(const struct rpc_req *r, uint32_t generation)
{
	return (int32_t)(r->conn->generation - generation) < 0;
}

/* True if a request of an older connection is still in the way. */
static bool cut_old(struct rpc_export *exp)
{
	bool busy = false;

	LIST_FOREACH_SAFE (it, &exp->requests) {
		struct rpc_req *r = list_entry(it, struct rpc_req, exp_link);

		if (!req_is_old(r, exp->generation_min) || r->pub.op->op == W_OP_SESSION_OPEN) {
			continue;
		}
		if (r->state == REQ_RECEIVING) {
			sconn_break(r->conn, -NE_CONNLOST);
			busy = true;
		} else if (r->slot == NULL) {
			if (!r->canceled) {
				serve_cancel(r);
			}
			busy = true;
		}
	}
	return busy;
}

/* Makes this connection the session's; -NE_RETRY if the past does not end. */
static int export_bind(struct rpc_export *exp, struct sconn *conn)
{
	struct rpc_server *server = exp->service->server;
	uint64_t deadline = env_now(server->env) + RPC_CUT_NS;

	if (conn->conn == NULL || conn->conn->error != 0) {
		return -NE_CONNLOST;
	}
	if ((int32_t)(conn->generation - exp->generation_min) < 0) {
		return -NE_STALE; /* a delayed request of a connection that is history */
	}
	exp->generation_min = conn->generation;
	exp->control = conn;
	while (exp->state == EXPORT_OPEN && exp->generation_min == conn->generation &&
		cut_old(exp)) {
		int rc = env_wait(server->env, &server->quiet, deadline, ENV_WAIT_PLAIN);

		if (rc == -NE_TIMEDOUT) {
			return -NE_RETRY;
		}
	}
	if (exp->state != EXPORT_OPEN || exp->generation_min != conn->generation) {
		return -NE_STALE;
	}
	return conn->conn != NULL && conn->conn->error == 0 ? 0 : -NE_CONNLOST;
}

/* ---- session_open ---- */

static bool same_client(const struct rpc_identity *a, const struct rpc_identity *b)
{
	return uuid_eq(a->client, b->client) && a->key_id == b->key_id && a->role == b->role &&
		a->uid == b->uid;
}

/* A session this client has at the service, in whatever state, or NULL. */
static struct rpc_export *export_of_client(
	struct rpc_service *service, const struct rpc_identity *id)
{
	LIST_FOREACH (it, &service->all) {
		struct rpc_export *exp = list_entry(it, struct rpc_export, all);

		if (same_client(&exp->peer->id, id)) {
			return exp;
		}
	}
	return NULL;
}

/* Ends what the client had before; waits until the service knows. A delayed request of a connection
 * that is history does not end what came after it. */
static int replace_old(struct rpc_service *service, struct sconn *conn)
{
	struct rpc_server *server = service->server;
	struct rpc_peer *peer = conn->peer;
	uint64_t deadline = env_now(server->env) + RPC_CUT_NS;
	struct rpc_export *old;

	while ((old = export_of_client(service, &peer->id)) != NULL) {
		if (old->state == EXPORT_OPENING) {
			return -NE_RETRY;
		}
		if ((int32_t)(conn->generation - old->generation_min) < 0) {
			return -NE_STALE;
		}
		export_close(old, RPC_CLOSE_REPLACED);
		if (env_wait(server->env, &server->quiet, deadline, ENV_WAIT_PLAIN) ==
			-NE_TIMEDOUT) {
			return -NE_RETRY;
		}
	}
	return service->stopping ? -NE_NOTARGET : 0;
}

static int open_encode(
	struct rpc_req *req, const struct rpc_export *exp, const struct rpc_open_reply *facts)
{
	struct rpc_service_state state = {.epoch = 0};
	struct w_session_open_rep rep;
	uint32_t seqs[LIM_SLOTS];

	exp->service->ops->state(exp->service->ctx, &state);
	for (unsigned i = 0; i < LIM_SLOTS; i++) {
		seqs[i] = exp->slot[i].seq;
	}
	memset(&rep, 0, sizeof(rep));
	rep.session = exp->session;
	rep.slots = exp->slots;
	rep.epoch = state.epoch;
	rep.incarnation = facts->incarnation;
	rep.resumed = facts->resumed;
	rep.recovering = facts->recovering || state.recovering;
	rep.verifier = facts->verifier;
	rep.memory_loss = facts->memory_loss;
	rep.lease_term_ms = facts->lease_term_ms;
	rep.slot_seqs.items = seqs;
	rep.slot_seqs.count = LIM_SLOTS;
	return rpc_buf_encode(&req->rep, &w_session_open_rep_codec, &rep);
}

/* The service's answer for a session this process does not hold. */
static int open_new(struct rpc_service *service, struct rpc_req *req, uint64_t wanted,
	struct rpc_open_reply *ret_facts, struct rpc_export **ret_exp)
{
	struct rpc_export *exp;
	int rc = replace_old(service, req->conn);

	if (rc != 0) {
		return rc;
	}
	if (service->server->slot_bytes > service->server->lim.slot_total_bytes) {
		return -NE_RETRY;
	}
	exp = export_new(service, req->conn->peer);
	if (exp == NULL) {
		return -NE_NOMEM;
	}
	rc = service->ops->session_open(service->ctx, exp, wanted, ret_facts);
	if (rc == 0 && service->stopping) {
		rc = -NE_NOTARGET;
	}
	if (rc != 0) {
		export_free(exp);
		return rc;
	}
	ASSERT(ret_facts->session != 0 && export_find(service, ret_facts->session) == NULL);
	ASSERT(!ret_facts->resumed || ret_facts->session == wanted);
	exp->session = ret_facts->session;
	exp->state = EXPORT_OPEN;
	exp->facts = *ret_facts;
	exp->facts.recovering = false;
	exp->generation_min = req->conn->generation;
	hmap_insert(&service->exports, &exp->node, hash_mix(exp->session));
	*ret_exp = exp;
	return 0;
}

static int open_locked(
	struct rpc_service *service, struct rpc_req *req, const struct w_session_open_req *open)
{
	struct rpc_export *exp = open->session != 0 ? export_find(service, open->session) : NULL;
	struct rpc_open_reply facts;
	int rc = 0;

	memset(&facts, 0, sizeof(facts));
	if (exp != NULL && exp->peer != req->conn->peer) {
		exp = NULL; /* somebody else's: not known to you */
	}
	if (exp == NULL) {
		rc = open_new(service, req, open->session, &facts, &exp);
	} else {
		facts = exp->facts;
		facts.resumed = true;
	}
	if (rc != 0) {
		return rc;
	}
	/* From here to the answer it is a request of the export, which so cannot go away. */
	req->pub.exp = exp;
	list_push_back(&exp->requests, &req->exp_link);
	rc = export_bind(exp, req->conn);
	if (rc != 0) {
		return rc;
	}
	exp->slots = open->slots < LIM_SLOTS ? open->slots : LIM_SLOTS;
	exp->slots = exp->slots > 0 ? exp->slots : 1;
	export_touch(exp);
	return open_encode(req, exp, &facts);
}

static int open_check(const struct rpc_service *service, const struct rpc_req *req,
	const struct w_session_open_req *open)
{
	const struct rpc_identity *id = &req->conn->peer->id;
	struct wire_str fsname = wire_str_of(service->fsname);

	if (service->stopping) {
		return -NE_NOTARGET;
	}
	if (open->fsname.len > 0 && fsname.len > 0 && !wire_str_eq(open->fsname, fsname)) {
		return -NE_WRONGFS;
	}
	if (id->fsname[0] != '\0' && fsname.len > 0 && strcmp(id->fsname, service->fsname) != 0) {
		return -NE_WRONGFS; /* the key is another file system's */
	}
	return 0;
}

int export_open(struct rpc_req *req)
{
	const struct w_session_open_req *open = (const struct w_session_open_req *)req->body;
	struct rpc_peer *peer = req->conn->peer;
	char target[LIM_TARGET_NAME_MAX + 1];
	struct rpc_service *service;
	int rc;

	if (wire_str_copy(open->target, target, sizeof(target)) != 0) {
		return -NE_NOTARGET;
	}
	env_mutex_lock(req->server->env, &peer->opening);
	service = service_find(req->server, rpc_target_code(target));
	if (service == NULL || strcmp(service->target, target) != 0) {
		rc = -NE_NOTARGET;
	} else {
		rc = open_check(service, req, open);
	}
	if (rc == 0) {
		service->opens++;
		rc = open_locked(service, req, open);
		service->opens--;
		env_wake_all(req->server->env, &req->server->quiet);
	}
	env_mutex_unlock(req->server->env, &peer->opening);
	return rc;
}

int export_close_request(struct rpc_req *req)
{
	const struct w_session_close_req *body = (const struct w_session_close_req *)req->body;
	struct rpc_service *service = service_find(req->server, req->header.target);
	struct rpc_export *exp = service != NULL ? export_find(service, body->session) : NULL;
	struct rpc_service_state state = {.epoch = 0};
	struct w_session_close_rep rep;

	if (exp == NULL || exp->peer != req->conn->peer) {
		return -NE_NOSESSION;
	}
	export_close(exp, RPC_CLOSE_CLIENT);
	service->ops->state(service->ctx, &state);
	rep.last_committed = state.last_committed;
	return rpc_buf_encode(&req->rep, &w_session_close_rep_codec, &rep);
}

/* ---- pushes ---- */

struct push_out {
	struct rpc_out out;
	struct sconn *conn;
	struct rpc_buf body;
};

static void push_done(struct rpc_out *out, int result _unused_)
{
	struct push_out *push = container_of(out, struct push_out, out);

	ASSERT(push->conn->pushes > 0);
	push->conn->pushes--;
	rpc_buf_free(&push->body);
	sconn_unref(push->conn);
	mem_free(push);
}

static void push_header(
	const struct rpc_export *exp, const struct wire_op *op, struct push_out *push)
{
	struct wire_header *h = &push->out.header;
	struct rpc_service_state state = {.epoch = 0};

	exp->service->ops->state(exp->service->ctx, &state);
	h->class = op->class;
	h->op = op->op;
	h->flags = W_MSG_FLAGS_PUSH;
	h->session = exp->session;
	h->incarnation = exp->peer->id.incarnation;
	h->target = exp->service->code;
	h->slot = RPC_SLOT_NONE;
	h->epoch = state.epoch;
	h->map = state.map_version;
	h->last_committed = state.last_committed;
	h->body_len = push->body.len;
	h->body_crc = crc32c(0, push->body.ptr, push->body.len);
}

int export_push(struct rpc_export *exp, uint16_t op_number, const void *body, unsigned max)
{
	const struct wire_op *op = wire_op_find(op_number);
	struct push_out *push;
	int rc;

	ASSERT(op != NULL && op->push);
	if (exp->control == NULL || exp->control->conn == NULL || exp->control->conn->error != 0) {
		return -NE_CONNLOST;
	}
	if (exp->control->pushes >= max) {
		return -NE_LIMIT;
	}
	push = mem_zalloc(sizeof(*push));
	if (push == NULL) {
		return -NE_NOMEM;
	}
	rc = rpc_buf_encode(&push->body, op->request, body);
	if (rc != 0) {
		mem_free(push);
		return rc;
	}
	push_header(exp, op, push);
	push->conn = exp->control;
	push->conn->refs++;
	push->conn->pushes++;
	push->out.body = push->body.ptr;
	push->out.urgent = op->class == W_MSG_CLASS_URGENT;
	push->out.done = push_done;
	rpc_conn_send(exp->control->conn, &push->out, RPC_SEND_BEHIND);
	return 0;
}

int rpc_export_push(struct rpc_export *exp, uint16_t op_number, const void *body)
{
	return export_push(exp, op_number, body, RPC_PUSHES_MAX);
}

void rpc_export_evict(struct rpc_export *exp, const char *reason)
{
	struct w_push_fenced push = {
		.incarnation = exp->peer->id.incarnation, .reason = wire_str_of(reason)};
	int rc;

	if (exp->state != EXPORT_OPEN) {
		return;
	}
	log_warn("rpc", "evict target=%s host=%s session=%llu reason=%s", exp->service->target,
		exp->peer->id.hostname, (unsigned long long)exp->session, reason);
	rc = rpc_export_push(exp, W_OP_FENCED, &push);
	if (rc != 0 && rc != -NE_CONNLOST) {
		log_warn("rpc", "eviction not told reason=%s", ne_name(rc));
	}
	exp->fenced = true;
	export_close(exp, RPC_CLOSE_EVICTED);
}
