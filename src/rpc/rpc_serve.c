/*
 * Running requests and answering them.
 *
 * Two groups, normal and urgent, each with its own number of handler fibers and its own bounded queue, so
 * what drains queues never waits behind what fills them (RULES D1). A fiber runs a request and then the next
 * one of its group's queue, and ends when there is none.
 *
 * The answer of a modifying request is copied into its slot before it is sent; from then on duplicates
 * are answered from there. The bulk credit of a request is given back before its answer goes out, so the
 * client never knows earlier than we do.
 */
#include "rpc/rpc_server_int.h"

#include "base/alloc.h"
#include "base/crc32c.h"
#include "base/log.h"
#include "env/trace.h"

/* ---- letting go ---- */

static void req_uncount(struct rpc_req *req)
{
	struct sconn *conn = req->conn;

	if (!req->counted) {
		return;
	}
	ASSERT(conn->requests > 0 && conn->bulk_bytes >= req->header.bulk_len);
	req->counted = false;
	conn->requests--;
	conn->bulk_bytes -= req->header.bulk_len;
	env_wake_all(req->server->env, &conn->room);
}

static void req_bulk_put(struct rpc_req *req)
{
	struct rpc_server *server = req->server;

	if (req->pub.bulk_in == NULL) {
		return;
	}
	bufpool_put(server->pool, TAKE_PTR(req->pub.bulk_in));
	ASSERT(server->bulk_bytes >= req->pub.bulk_in_len);
	server->bulk_bytes -= req->pub.bulk_in_len;
	env_wake_all(server->env, &server->room);
}

/* Off its export: nobody will find it any more. */
static void req_leave(struct rpc_req *req)
{
	struct rpc_export *exp = req->pub.exp;

	req_uncount(req);
	req_bulk_put(req);
	req->state = REQ_ANSWERED;
	if (!list_linked(&req->exp_link)) {
		return;
	}
	list_del(&req->exp_link);
	env_wake_all(req->server->env, &req->server->quiet);
	if (exp->state == EXPORT_CLOSING && list_empty(&exp->requests)) {
		server_janitor_wake(req->server);
	}
}

void serve_drop(struct rpc_req *req)
{
	ASSERT(req->slot == NULL);
	req_leave(req);
	req_free(req);
}

void serve_slot_rollback(struct rpc_req *req)
{
	if (req->slot != NULL) {
		ASSERT(req->slot->busy == req);
		req->slot->busy = NULL;
		req->slot->seq--;
		req->slot = NULL;
	}
}

void serve_cancel(struct rpc_req *req)
{
	req->canceled = true;
	if (req->fiber != NULL) {
		env_interrupt(req->server->env, req->fiber);
	}
}

/* ---- answering ---- */

static void answer_sent(struct rpc_out *out, int result _unused_)
{
	req_free(container_of(out, struct rpc_req, out));
}

static void answer_header(struct rpc_req *req, int status, uint32_t sequence)
{
	struct wire_header *h = &req->out.header;
	struct rpc_service_state state = {.epoch = 0};

	memset(h, 0, sizeof(*h));
	h->class = req->header.class;
	h->op = req->header.op;
	h->flags = W_MSG_FLAGS_REPLY | (req->parked ? W_MSG_FLAGS_QUEUED : 0);
	h->session = req->header.session;
	h->incarnation = req->header.incarnation;
	h->target = req->header.target;
	h->slot = req->header.slot;
	h->key_id = req->header.key_id;
	h->sequence = sequence;
	h->xid = req->header.xid;
	h->status = (uint32_t)-status;
	h->deadline_ms = (uint32_t)(req->retry_after_ns / NS_PER_MS);
	h->transno = req->transno;
	memcpy(h->trace, req->header.trace, sizeof(h->trace));
	if (req->pub.exp != NULL) {
		struct rpc_service *service = req->pub.exp->service;

		service->ops->state(service->ctx, &state);
		h->epoch = state.epoch;
		h->map = state.map_version;
		h->last_committed = state.last_committed;
	}
}

/* Answers that become ready in the same turn leave in one system call: while others of the connection are still owed, its
 * sending fiber takes them, which runs behind the handlers that are ready now. The last one is sent at once with all that
 * wait, so that a lone request waits for nobody. Bulk is as long as a batch by itself. */
static enum rpc_send_how answer_how(const struct rpc_req *req, uint64_t bulk)
{
	return req->conn->requests > 0 && bulk == 0 ? RPC_SEND_BATCH : RPC_SEND_INLINE;
}

static void answer_send(struct rpc_req *req)
{
	struct rpc_out *out = &req->out;
	uint64_t bulk = rpc_iov_len(req->bulk_out, req->bulk_out_count);

	ASSERT(bulk <= LIM_MSG_BULK_MAX);
	out->header.body_len = req->rep.len;
	out->header.body_crc = crc32c(0, req->rep.ptr, req->rep.len);
	out->header.bulk_len = (uint32_t)bulk;
	if (bulk > 0) {
		out->header.flags |= W_MSG_FLAGS_BULK_CRC;
		out->header.bulk_crc =
			rpc_iov_crc(req->bulk_out, req->bulk_out_count, (uint32_t)bulk);
	}
	out->body = req->rep.ptr;
	out->bulk = req->bulk_out;
	out->bulk_count = req->bulk_out_count;
	out->urgent = req->group == GROUP_URGENT;
	out->done = answer_sent;
	if (req->conn->conn == NULL) {
		req_free(req);
		return;
	}
	rpc_conn_send(req->conn->conn, out, answer_how(req, bulk));
}

static void answer_remember(struct rpc_req *req, int status)
{
	struct server_slot *slot = req->slot;
	struct span reply = span_of(req->rep.ptr, status == 0 ? req->rep.len : 0);

	ASSERT(slot->busy == req);
	slot->busy = NULL;
	slot->cached = true;
	slot->status = status;
	slot->op = req->header.op;
	slot->transno = req->transno;
	if (slot_store(req->server, slot, reply) != 0) {
		/* A duplicate will hear of it; this answer is good. */
		slot->status = -NE_NOMEM;
	}
	req->slot = NULL;
}

/* Counts it, and keeps its span if that is wanted. The clock is read anew: work in this turn counts. */
static void answer_count(struct rpc_req *req, int status, uint64_t bulk)
{
	struct env *env = req->server->env;
	struct rpc_service *service = req->pub.exp->service;
	uint64_t now = env_clock(env);

	rpc_stats_add(service->stats, req->pub.op, status, now - req->start_ns, bulk);
	if (req->traced && unlikely(trace_wanted(env, req->span.id, now - req->start_ns))) {
		struct trace_record what = {.kind = TRACE_SERVE,
			.op = req->pub.op->op,
			.status = status,
			.bytes = bulk,
			.xid = req->header.xid};

		memcpy(what.target, service->target, sizeof(what.target));
		trace_keep(env, &req->span, now, &what);
	}
}

void serve_answer(struct rpc_req *req, int status)
{
	uint32_t sequence = req->header.sequence;
	uint64_t bulk = req->pub.bulk_in_len + rpc_iov_len(req->bulk_out, req->bulk_out_count);

	ASSERT(status <= 0 && (!req->parked || status == -NE_RETRY));
	if (req->pub.exp != NULL && req->pub.exp->tickets.count > 0 && !req->parked) {
		park_forget(req->pub.exp, req->header.xid);
	}
	if (status != 0) {
		req->rep.len = 0;
		req->bulk_out_count = 0;
		if (status == -NE_RETRY && req->retry_after_ns == 0) {
			req->retry_after_ns = RPC_RETRY_MS * NS_PER_MS;
		}
	}
	if (req->slot != NULL) {
		answer_remember(req, status);
	} else if (req->pub.op != NULL && req->pub.op->modifies) {
		sequence--; /* it did not use its slot */
	}
	if (req->pub.exp != NULL) {
		answer_count(req, status, bulk);
	}
	answer_header(req, status, sequence);
	req_leave(req);
	answer_send(req);
}

void serve_cached(struct rpc_req *req, const struct rpc_export *exp, const struct server_slot *slot)
{
	int status = slot->status;

	ASSERT(slot->cached && slot->busy == NULL && req->pub.exp == exp);
	req->transno = slot->transno;
	req->header.op = slot->op;
	if (rpc_buf_reserve(&req->rep, slot->reply_len) != 0) {
		serve_drop(req); /* the client asks again */
		return;
	}
	bytes_copy(req->rep.ptr, slot->reply, slot->reply_len);
	req->rep.len = slot->reply_len;
	answer_header(req, status, req->header.sequence);
	req_leave(req);
	answer_send(req);
}

/* ---- running ---- */

static int run_own(struct rpc_req *req)
{
	if (req->pub.op->op == W_OP_SESSION_OPEN) {
		return export_open(req);
	}
	ASSERT(req->pub.op->op == W_OP_SESSION_CLOSE);
	return export_close_request(req);
}

static int run_one(struct rpc_req *req)
{
	struct rpc_export *exp = req->pub.exp;

	if (exp == NULL) {
		return run_own(req);
	}
	if (exp->state != EXPORT_OPEN) {
		return exp->fenced ? -NE_FENCED : -NE_NOSESSION;
	}
	if (req->canceled) {
		return -NE_INTR;
	}
	if (req->slot == NULL && env_now(req->server->env) >= req->pub.deadline_ns) {
		return -NE_TIMEDOUT;
	}
	return exp->service->ops->request(exp->service->ctx, &req->pub);
}

static unsigned group_max(const struct rpc_server *server, enum group group)
{
	return group == GROUP_URGENT ? server->lim.urgent_max : server->lim.handlers_max;
}

static struct rpc_req *queue_pop(struct rpc_server *server, enum group group)
{
	struct list *it = list_pop_front(&server->queue[group]);

	if (it == NULL) {
		return NULL;
	}
	ASSERT(server->queued[group] > 0);
	server->queued[group]--;
	return list_entry(it, struct rpc_req, link);
}

static void worker_fiber(void *arg);

/* The handler has finished, its fiber will be sending, for as long as the client likes: its place goes to
 * the next request of the queue, or becomes free. */
static void worker_yield_place(struct rpc_server *server, enum group group)
{
	struct rpc_req *next = queue_pop(server, group);

	if (next != NULL && server_spawn(server, "rpc-handler", worker_fiber, next) == 0) {
		return;
	}
	if (next != NULL) {
		list_push_front(&server->queue[group], &next->link);
		server->queued[group]++;
	}
	ASSERT(server->running[group] > 0);
	server->running[group]--;
}

static void worker_fiber(void *arg)
{
	struct rpc_req *req = arg;
	struct rpc_server *server = req->server;
	enum group group = req->group;

	while (req != NULL) {
		int rc;

		req->state = REQ_RUNNING;
		req->fiber = env_self(server->env);
		memcpy(req->span.id, req->header.trace, sizeof(req->span.id));
		req->traced = true;
		trace_begin(server->env, &req->span, req->start_ns);
		rc = run_one(req);
		trace_end(server->env);
		ASSERT(rc <= 0);
		req->fiber = NULL;
		env_interrupt_clear(server->env);
		worker_yield_place(server, group);
		serve_answer(req, rc);
		req = NULL;
		if (server->running[group] < group_max(server, group)) {
			req = queue_pop(server, group);
			server->running[group] += req != NULL;
		}
	}
	server_fiber_end(server);
}

bool serve_has_room(const struct rpc_server *server, enum group group)
{
	return server->running[group] < group_max(server, group) ||
		server->queued[group] < server->lim.queue_max;
}

static void run_ping(struct rpc_req *req)
{
	const struct w_ping_req *ping = (const struct w_ping_req *)req->body;
	struct w_ping_rep rep = {
		.cookie = ping->cookie, .realtime = env_realtime(req->server->env)};

	serve_answer(req, rpc_buf_encode(&req->rep, &w_ping_rep_codec, &rep));
}

static void run_cancel(struct rpc_req *req)
{
	const struct w_cancel_req *cancel = (const struct w_cancel_req *)req->body;
	struct rpc_service *service = service_find(req->server, req->header.target);
	struct rpc_export *exp = service != NULL ? export_find(service, req->header.session) : NULL;
	struct w_cancel_rep rep = {.found = false};

	if (exp != NULL && exp->peer == req->conn->peer) {
		LIST_FOREACH_SAFE (it, &exp->requests) {
			struct rpc_req *r = list_entry(it, struct rpc_req, exp_link);

			if (r->header.xid == cancel->xid) {
				rep.found = true;
				serve_cancel(r);
			}
		}
		park_forget(exp, cancel->xid);
	}
	serve_answer(req, rpc_buf_encode(&req->rep, &w_cancel_rep_codec, &rep));
}

void serve_dispatch(struct rpc_req *req)
{
	struct rpc_server *server = req->server;
	enum group group = req->group;

	if (req->pub.op->op == W_OP_PING) {
		run_ping(req);
		return;
	}
	if (req->pub.op->op == W_OP_CANCEL) {
		run_cancel(req);
		return;
	}
	if (server->running[group] < group_max(server, group) &&
		server_spawn(server, "rpc-handler", worker_fiber, req) == 0) {
		server->running[group]++;
		return;
	}
	if (server->running[group] > 0 && server->queued[group] < server->lim.queue_max) {
		req->state = REQ_QUEUED;
		list_push_back(&server->queue[group], &req->link);
		server->queued[group]++;
		return;
	}
	serve_slot_rollback(req);
	serve_answer(req, -NE_RETRY);
}
