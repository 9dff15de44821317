/*
 * Calls: from a caller's struct to a pending request and back.
 *
 * A call's memory (request struct, bulk vectors, reply struct) is the caller's, so a caller never leaves
 * while a connection reads or writes it: an interrupted or late caller takes its request back if it was
 * not sent, asks the server to cancel it if it was, and leaves when the verdict is there, or after a
 * grace, breaking the connection if that still uses the memory.
 */
#include "rpc/rpc_client_int.h"

#include "base/alloc.h"
#include "base/crc32c.h"
#include "env/trace.h"

static enum flow flow_of(const struct rpc_call *call, const struct wire_op *op)
{
	if ((call->flags & RPC_CALL_RECOVERY) != 0) {
		return FLOW_RECOVERY;
	}
	if (op->class == W_MSG_CLASS_BULK) {
		return FLOW_BULK;
	}
	if ((call->flags & RPC_CALL_URGENT) != 0 || op->class == W_MSG_CLASS_URGENT) {
		return FLOW_URGENT;
	}
	return FLOW_NORMAL;
}

/* Makes the request out of the call. */
static int call_prepare(
	struct rpc_client *client, struct rpc_call *call, struct rpc_pending **ret_pending)
{
	const struct wire_op *op = wire_op_find(call->op);
	uint64_t bulk = rpc_iov_len(call->bulk_out, call->bulk_out_count);
	struct wire_header *h;
	struct rpc_pending *p;
	int rc;

	ASSERT(op != NULL && !op->push);
	ASSERT(call->bulk_out_count == 0 || op->class == W_MSG_CLASS_BULK);
	ASSERT(call->bulk_in_count == 0 || op->class == W_MSG_CLASS_BULK);
	if (bulk > LIM_MSG_BULK_MAX) {
		return -NE_TOOBIG;
	}
	p = pending_new(client);
	if (p == NULL) {
		return -NE_LIMIT;
	}
	rc = rpc_buf_encode(&p->req, op->request, call->request);
	if (rc != 0) {
		pending_free(p);
		return rc;
	}
	p->op = op;
	p->call = call;
	p->flow = flow_of(call, op);
	p->out.urgent = p->flow == FLOW_URGENT || p->flow == FLOW_RECOVERY ||
		(call->flags & RPC_CALL_URGENT) != 0;
	p->out.body = p->req.ptr;
	p->out.bulk = call->bulk_out;
	p->out.bulk_count = call->bulk_out_count;
	h = &p->out.header;
	h->body_len = p->req.len;
	h->body_crc = crc32c(0, p->req.ptr, p->req.len);
	h->bulk_len = (uint32_t)bulk;
	h->bulk_crc = rpc_iov_crc(call->bulk_out, call->bulk_out_count, (uint32_t)bulk);
	*ret_pending = p;
	return 0;
}

/* The call belongs to the request its fiber works for, unless its caller says otherwise. */
static void call_trace(struct env *env, struct rpc_call *call)
{
	static const uint8_t none[sizeof(call->trace)];
	const uint8_t *id = trace_id_current(env);

	if (id != NULL && memcmp(call->trace, none, sizeof(none)) == 0) {
		memcpy(call->trace, id, sizeof(call->trace));
	}
}

void rpc_call_start(struct rpc_session *s, struct rpc_call *call)
{
	struct rpc_pending *p = NULL;
	int rc;

	ASSERT(s != NULL && call->pending == NULL && !s->closing);
	call->session = s;
	call->start_ns = env_now(s->client->env);
	call->status = 0;
	call->transno = 0;
	call->last_committed = 0;
	call->map_version = 0;
	call->bulk_in_len = 0;
	s->calls++;
	call_trace(s->client->env, call);
	rc = call_prepare(s->client, call, &p);
	if (rc == 0 && (call->flags & RPC_CALL_RECOVERY) != 0 &&
		s->state != RPC_SESSION_RECOVERING && s->state != RPC_SESSION_READY) {
		pending_free(p);
		rc = -NE_CONNLOST;
	}
	if (rc != 0) {
		call->status = rc;
		return;
	}
	p->session = s;
	call->pending = p;
	flow_submit(p);
	session_activate(s);
	session_kick(s, RPC_SEND_INLINE);
}

/* ---- cancel ---- */

struct cancel_out {
	struct rpc_out out;
	uint8_t body[W_CANCEL_REQ_SIZE_MAX];
};

static void cancel_done(struct rpc_out *out, int result _unused_)
{
	mem_free(container_of(out, struct cancel_out, out));
}

void call_cancel_send(struct rpc_pending *p)
{
	struct rpc_session *s = p->session;
	struct w_cancel_req req = {.xid = p->xid};
	struct cancel_out *c;
	struct wire_enc enc;

	if (s == NULL || s->server == NULL || !lconn_up(&s->server->control)) {
		return;
	}
	c = mem_zalloc(sizeof(*c));
	if (c == NULL) {
		return;
	}
	enc = wire_enc_of(c->body, sizeof(c->body));
	if (w_cancel_req_encode(&req, &enc) != 0) {
		mem_free(c);
		return;
	}
	c->out.header.class = W_MSG_CLASS_URGENT;
	c->out.header.op = W_OP_CANCEL;
	c->out.header.slot = RPC_SLOT_NONE;
	c->out.header.session = s->info.session;
	c->out.header.incarnation = s->client->incarnation;
	c->out.header.target = s->code;
	c->out.header.body_len = (uint32_t)enc.pos;
	c->out.header.body_crc = crc32c(0, c->body, enc.pos);
	c->out.body = c->body;
	c->out.urgent = true;
	c->out.done = cancel_done;
	rpc_conn_send(s->server->control.conn, &c->out, RPC_SEND_BEHIND);
}

/* ---- waiting ---- */

/* What a caller that wants to leave has done so far. */
struct leaving {
	int status; /* 0: it stays */
	uint64_t until_ns; /* of the grace */
};

/* Queued on a connection and not begun: back to being unsent. */
static bool call_unsend(struct rpc_pending *p)
{
	if (p->state != PENDING_SENT || !p->out_busy || p->lconn == NULL ||
		p->lconn->conn == NULL || !rpc_conn_unsend(p->lconn->conn, &p->out)) {
		return false;
	}
	p->out_busy = false;
	p->sends--;
	p->sent_once = p->sends > 0;
	flow_acked(p);
	list_del(&p->link);
	if (p->session != NULL) {
		flow_submit(p);
	} else {
		list_push_back(&p->lconn->direct, &p->link);
	}
	return true;
}

static void leave_begin(struct rpc_pending *p, struct leaving *leaving, int status)
{
	struct env *env = p->client->env;
	bool on_wire;

	leaving->status = status;
	leaving->until_ns = env_now(env) + RPC_VERDICT_NS;
	(void)call_unsend(p);
	on_wire = p->state == PENDING_SENT;
	if (p->state == PENDING_DELAYED && p->parked) {
		call_cancel_send(p); /* the server forgets it */
	}
	if (on_wire && p->lconn != NULL && lconn_up(p->lconn)) {
		p->canceled = true;
		call_cancel_send(p);
		if (status == -NE_INTR) {
			return; /* the server's verdict, if it comes in time */
		}
	}
	if (p->state != PENDING_SENT && p->state != PENDING_RECV) {
		leaving->until_ns = env_now(env);
	} else if (status != -NE_INTR) {
		leaving->until_ns = env_now(env) + (p->out_busy ? NS_PER_S : 0);
	}
}

/* True when the caller has left. */
static bool leave_try(struct rpc_pending *p, struct leaving *leaving)
{
	struct env *env = p->client->env;

	if (leaving->status == 0 || p->state == PENDING_DONE) {
		return false;
	}
	if (env_now(env) < leaving->until_ns && p->state != PENDING_UNSENT &&
		p->state != PENDING_DELAYED) {
		return false;
	}
	if (p->out_busy || p->state == PENDING_RECV) {
		if (env_now(env) >= leaving->until_ns && p->lconn != NULL) {
			lconn_break(p->lconn, -NE_TIMEDOUT);
			leaving->until_ns = env_now(env) + NS_PER_S;
		}
		return false;
	}
	pending_abandon(p, leaving->status);
	return true;
}

static uint64_t wait_deadline(const struct rpc_pending *p, const struct leaving *leaving)
{
	uint64_t deadline = ENV_FOREVER;

	if (leaving->status != 0) {
		return leaving->until_ns;
	}
	if (p->call->deadline_ns != 0) {
		deadline = p->call->deadline_ns;
	}
	if (p->state == PENDING_DELAYED) {
		deadline = u64_min(deadline, p->retry_ns);
	}
	return deadline;
}

static void wait_timed_out(struct rpc_pending *p, struct leaving *leaving)
{
	uint64_t now = env_now(p->client->env);

	if (leaving->status == 0 && p->call->deadline_ns != 0 && now >= p->call->deadline_ns) {
		leave_begin(p, leaving, -NE_TIMEDOUT);
	} else if (p->state == PENDING_DELAYED && now >= p->retry_ns && p->session != NULL) {
		flow_submit(p);
		session_kick(p->session, RPC_SEND_INLINE);
	}
}

static bool call_is_done(const struct rpc_call *call)
{
	const struct rpc_pending *p = call->pending;

	return p == NULL || (p->state == PENDING_DONE && !p->out_busy);
}

/* A target that refuses us for good: those who wait for it hear the reason. */
static int session_verdict(const struct rpc_pending *p)
{
	const struct rpc_session *s = p->session;

	if (s == NULL || p->state != PENDING_UNSENT || s->attempts == 0) {
		return 0;
	}
	if ((p->call->flags & RPC_CALL_NO_RETRY) != 0 || rpc_error_is_final(s->error)) {
		return s->error;
	}
	return 0;
}

static void call_wait(struct rpc_call *call)
{
	struct leaving leaving = {.status = 0};
	bool intr = (call->flags & RPC_CALL_NO_INTR) == 0;

	while (!call_is_done(call)) {
		struct rpc_pending *p = call->pending;
		int rc = session_verdict(p);

		if (rc != 0 && leaving.status == 0) {
			leave_begin(p, &leaving, rc);
		}
		if (leave_try(p, &leaving)) {
			continue;
		}
		rc = env_wait(p->client->env, &p->waitq, wait_deadline(p, &leaving),
			intr && leaving.status == 0 ? ENV_WAIT_INTR : ENV_WAIT_PLAIN);
		if (call->pending == NULL) {
			break;
		}
		if (rc == -NE_INTR) {
			leave_begin(p, &leaving, -NE_INTR);
		} else if (rc == -NE_TIMEDOUT) {
			wait_timed_out(p, &leaving);
		}
	}
	/* Nothing was done, and the reason is why it does not come again. */
	if (leaving.status != 0 && call->status == -NE_RETRY) {
		call->status = leaving.status;
	}
}

static void call_keep(
	struct rpc_session *s, const struct rpc_call *call, uint64_t now, uint64_t bytes)
{
	struct trace_span span = {.start_ns = call->start_ns};
	struct trace_record what = {.kind = TRACE_CALL,
		.op = call->op,
		.status = call->status,
		.bytes = bytes,
		.xid = call->pending != NULL ? call->pending->xid : 0};

	memcpy(span.id, call->trace, sizeof(span.id));
	span.wait_ns[TRACE_NET] = now - call->start_ns;
	memcpy(what.target, s->target, sizeof(what.target));
	trace_keep(s->client->env, &span, now, &what);
}

int rpc_call_wait(struct rpc_call *call)
{
	struct rpc_session *s = call->session;
	enum trace_wait before;
	uint64_t bytes;
	uint64_t now;

	ASSERT(s != NULL && s->calls > 0);
	before = trace_wait_set(s->client->env, TRACE_NET);
	call_wait(call);
	(void)trace_wait_set(s->client->env, before);
	s->calls--;
	call->session = NULL;
	now = env_now(s->client->env);
	bytes = call->bulk_in_len + rpc_iov_len(call->bulk_out, call->bulk_out_count);
	rpc_stats_add(s->client->stats, wire_op_find(call->op), call->status, now - call->start_ns,
		bytes);
	if (unlikely(trace_wanted(s->client->env, call->trace, now - call->start_ns))) {
		call_keep(s, call, now, bytes);
	}
	return call->status;
}

int rpc_call(struct rpc_session *session, struct rpc_call *call)
{
	rpc_call_start(session, call);
	return rpc_call_wait(call);
}

void rpc_call_fini(struct rpc_call *call)
{
	struct rpc_pending *p = call->pending;

	if (p == NULL) {
		return;
	}
	ASSERT(call->session == NULL && p->state == PENDING_DONE);
	call->pending = NULL;
	p->call = NULL;
	pending_free(p);
}

int call_direct(struct rpc_lconn *lc, struct rpc_session *s, struct rpc_call *call)
{
	struct rpc_pending *p = NULL;
	int rc = call_prepare(lc->link->client, call, &p);

	if (rc != 0) {
		return rc;
	}
	call->pending = p;
	if (!lconn_up(lc)) {
		call->status = -NE_CONNLOST;
		return call->status;
	}
	p->out.header.session = s->info.session;
	p->out.header.target = s->code;
	p->out.urgent = true;
	flow_send(p, lc, RPC_SEND_BEHIND);
	call_wait(call);
	return call->status;
}
