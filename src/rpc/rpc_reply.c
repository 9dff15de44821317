/*
 * What a client receives: replies, matched to their requests by xid, and pushes.
 *
 * Bulk goes from the socket straight into the caller's memory. The body is decoded here, into the caller's
 * struct, so that a malformed one costs the connection and the request is sent again on the next. A
 * reply nobody waits for (its caller was interrupted) is received and dropped.
 *
 * This runs in the connection's receiving fiber, which must never wait for anything but the network:
 * what it has to send goes out behind (RPC_SEND_BEHIND).
 */
#include "rpc/rpc_client_int.h"

#include "base/log.h"

static uint32_t capacity_of(const struct rpc_call *call)
{
	uint64_t len = call == NULL ? 0 : rpc_iov_len(call->bulk_in, call->bulk_in_count);

	return (uint32_t)u64_min(len, LIM_MSG_BULK_MAX);
}

/* The reply's bulk into the caller's vectors; *ret_good tells whether its checksum fits. */
static int recv_bulk(
	struct rpc_lconn *lc, struct rpc_pending *p, const struct wire_header *h, bool *ret_good)
{
	uint64_t deadline = rpc_conn_bulk_deadline(lc->conn);
	uint32_t left = h->bulk_len;
	uint32_t crc = 0;

	*ret_good = true;
	if (p == NULL || p->call == NULL || left == 0) {
		return rpc_conn_recv_bulk(lc->conn, NULL, left, deadline, &crc);
	}
	if (left > capacity_of(p->call)) {
		return -NE_BADMSG;
	}
	for (unsigned i = 0; left > 0; i++) {
		uint32_t part = (uint32_t)u64_min(p->call->bulk_in[i].iov_len, left);
		int rc = rpc_conn_recv_bulk(
			lc->conn, p->call->bulk_in[i].iov_base, part, deadline, &crc);

		if (rc != 0) {
			return rc;
		}
		left -= part;
	}
	*ret_good = (h->flags & W_MSG_FLAGS_BULK_CRC) == 0 || crc == h->bulk_crc;
	return 0;
}

static uint64_t retry_delay(struct rpc_pending *p, const struct wire_header *h)
{
	struct rpc_client *client = p->client;
	uint64_t delay = (uint64_t)h->deadline_ms * NS_PER_MS;
	uint64_t step;

	if (delay > 0) {
		delay = u64_min(delay, 60 * NS_PER_S);
		return delay + env_random(client->env) % (delay / 4 + 1);
	}
	step = client->backoff_min_ns << (p->retries < 8 ? p->retries : 8);
	step = u64_min(u64_max(step, NS_PER_MS), client->backoff_max_ns);
	return step / 2 + env_random(client->env) % step;
}

/* "Come again": its caller submits it anew when the time has come. */
static void reply_retry(struct rpc_pending *p, const struct wire_header *h)
{
	p->parked = (h->flags & W_MSG_FLAGS_QUEUED) != 0;
	p->retry_ns = env_now(p->client->env);
	p->retry_ns += p->parked && p->woken ? 0 : retry_delay(p, h);
	p->retries++;
	if (p->call == NULL) {
		pending_complete(p, -NE_RETRY);
		return;
	}
	list_del(&p->link);
	p->state = PENDING_DELAYED;
	env_wake_all(p->client->env, &p->waitq);
}

/* Back to the queue, to be sent once more as it is. */
static void reply_resubmit(struct rpc_pending *p)
{
	list_del(&p->link);
	flow_submit(p);
}

/* The server does not know the session, or not this epoch. */
static bool reply_lost(struct rpc_pending *p, int status, bool current)
{
	if (!current && p->slot >= 0 && (p->call->flags & RPC_CALL_REPEATABLE) == 0) {
		return false; /* its fate was lost with the session it was sent in */
	}
	if (!current) {
		flow_slot_release(p, false);
	}
	reply_resubmit(p);
	if (current) {
		session_lost(p->session, status);
	}
	return true;
}

/* True if the status was dealt with here. */
static bool reply_status(struct rpc_pending *p, const struct wire_header *h, int status)
{
	struct rpc_session *s = p->session;
	bool retry = p->call == NULL || (p->call->flags & RPC_CALL_NO_RETRY) == 0;
	bool current = s != NULL && p->sent_session == s->info.session;

	if (s == NULL) {
		return false;
	}
	switch (status) {
	case -NE_RETRY:
	case -NE_RECOVERING:
		if (!retry || p->canceled) {
			return false;
		}
		reply_retry(p, h);
		return true;
	case -NE_NOSESSION:
	case -NE_NOTARGET:
	case -NE_STALE_EPOCH:
		if (!retry || p->canceled || p->call == NULL) {
			return false;
		}
		return reply_lost(p, status, current);
	case -NE_FENCED:
		if (current) {
			session_evicted(s);
			return true;
		}
		return false;
	case -NE_CHECKSUM:
		p->corrupt++;
		if (p->corrupt >= RPC_CORRUPT_MAX || p->call == NULL) {
			return false;
		}
		reply_resubmit(p);
		return true;
	default:
		return false;
	}
}

static void reply_facts(struct rpc_pending *p, const struct wire_header *h)
{
	struct rpc_session *s = p->session;

	if (s != NULL && p->sent_session == s->info.session && h->epoch == s->info.epoch) {
		s->last_committed = u64_max(s->last_committed, h->last_committed);
	}
	if (p->call != NULL) {
		p->call->transno = h->transno;
		p->call->last_committed = h->last_committed;
		p->call->map_version = h->map;
		p->call->bulk_in_len = h->bulk_len;
	}
	if (s != NULL) {
		client_map_seen(p->client, h->map);
	}
}

/* Decodes into the caller's struct. */
static int reply_decode(struct rpc_pending *p, struct span body)
{
	struct rpc_call *call = p->call;

	if (call == NULL || call->reply == NULL) {
		return p->op->reply->check(body.ptr, body.len);
	}
	return p->op->reply->decode(call->reply, body.ptr, body.len);
}

/* Frees the slot, unless the server refused without using it and an earlier copy of the request may still be
 * on its way on a dead connection, or may have been executed: then only this request may use it. */
static void reply_slot(struct rpc_pending *p, const struct wire_header *h, int status)
{
	struct rpc_session *s = p->session;
	bool consumed;

	if (s == NULL || p->slot < 0) {
		return;
	}
	consumed = p->sent_session == s->info.session && h->sequence == p->seq;
	if (!consumed && status != 0 && p->op->modifies && p->sends > 1) {
		return;
	}
	flow_slot_release(p, consumed);
}

/* The reply is complete. An error costs the connection; p then waits to be sent again. */
static int reply_finish(struct rpc_pending *p, const struct wire_header *h, bool bulk_good)
{
	struct rpc_session *s = p->session;
	int status = rpc_status_decode(h->status);
	int rc = 0;

	if (status == 0 && bulk_good) {
		rc = reply_decode(p, span_of(p->rep.ptr, p->rep.len));
	}
	if (rc != 0) {
		p->corrupt++;
		p->state = PENDING_SENT;
		return rc;
	}
	reply_facts(p, h);
	flow_acked(p);
	reply_slot(p, h, status);
	if (!bulk_good) {
		status = -NE_CHECKSUM;
	}
	p->state = PENDING_SENT;
	if (!reply_status(p, h, status)) {
		pending_complete(p, status);
		return 0;
	}
	if (s != NULL) {
		session_kick(s, RPC_SEND_BEHIND);
	}
	return 0;
}

static int recv_reply(struct rpc_lconn *lc, const struct wire_header *h)
{
	struct rpc_pending *p = pending_find(lc->link->client, h->xid);
	bool good = true;
	int rc;

	if (p == NULL || p->lconn != lc || p->state != PENDING_SENT || p->op->op != h->op) {
		rc = rpc_conn_recv_body(lc->conn, h, &lc->scratch);
		return rc != 0 ? rc : recv_bulk(lc, NULL, h, &good);
	}
	p->state = PENDING_RECV;
	rc = rpc_conn_recv_body(lc->conn, h, &p->rep);
	if (rc == 0) {
		rc = recv_bulk(lc, p, h, &good);
	}
	if (rc != 0) {
		p->state = PENDING_SENT;
		env_wake_all(p->client->env, &p->waitq);
		return rc;
	}
	if (p->corrupt >= RPC_CORRUPT_MAX) {
		flow_acked(p);
		flow_slot_release(p, h->sequence == p->seq);
		p->state = PENDING_SENT;
		pending_complete(p, -NE_BADMSG);
		return 0;
	}
	return reply_finish(p, h, good);
}

/* ---- pushes ---- */

static struct rpc_session *session_of_push(struct rpc_lconn *lc, const struct wire_header *h)
{
	LIST_FOREACH (it, &lc->link->sessions) {
		struct rpc_session *s = list_entry(it, struct rpc_session, link);

		if (s->info.session == h->session && s->code == h->target) {
			return s;
		}
	}
	return NULL;
}

/* What the request waits for at the server has happened. The push may overtake the answer "queued". */
static int push_ready(const struct rpc_session *s, struct rpc_client *client, uint64_t xid)
{
	struct rpc_pending *p = pending_find(client, xid);

	if (p == NULL || s == NULL || p->session != s) {
		return 0; /* its caller has gone */
	}
	p->woken = true;
	if (p->state == PENDING_DELAYED && p->parked) {
		p->retry_ns = env_now(client->env);
		env_wake_all(client->env, &p->waitq);
	}
	return 0;
}

static void push_fenced(struct rpc_session *s, const struct w_push_fenced *push)
{
	if (s == NULL || push->incarnation < s->client->incarnation) {
		return;
	}
	log_warn("rpc", "fenced target=%s incarnation=%u reason=%.*s", s->target, push->incarnation,
		(int)push->reason.len, push->reason.ptr == NULL ? "" : push->reason.ptr);
	session_evicted(s);
}

static int push_handle(struct rpc_lconn *lc, const struct wire_header *h, const struct wire_op *op,
	const void *body)
{
	struct rpc_client *client = lc->link->client;
	struct rpc_session *s = session_of_push(lc, h);

	switch (op->op) {
	case W_OP_CREDIT:
		lc->credit += ((const struct w_push_credit *)body)->bulk_credit_bytes;
		lc->credit = lc->credit < lc->credit_max ? lc->credit : lc->credit_max;
		link_kick(lc->link);
		return 0;
	case W_OP_MAP_CHANGED:
		client_map_seen(client, ((const struct w_push_map_changed *)body)->map_version);
		return 0;
	case W_OP_REQUEST_READY:
		return push_ready(s, client, ((const struct w_push_request_ready *)body)->xid);
	case W_OP_FENCED:
		push_fenced(s, body);
		return 0;
	default:
		if (s != NULL && client->on_push != NULL) {
			client->on_push(client->on_push_ctx, s, op, body);
		}
		return 0;
	}
}

static int recv_push(struct rpc_lconn *lc, const struct wire_header *h)
{
	_Alignas(16) uint8_t body[RPC_STRUCT_MAX];
	const struct wire_op *op = wire_op_find(h->op);
	int rc = rpc_conn_recv_body(lc->conn, h, &lc->scratch);

	if (rc != 0) {
		return rc;
	}
	if (h->bulk_len != 0) {
		return -NE_BADMSG;
	}
	if (op == NULL || !op->push) {
		return 0; /* of a newer version */
	}
	ASSERT(op->request->struct_size <= sizeof(body));
	rc = op->request->decode(body, lc->scratch.ptr, lc->scratch.len);
	return rc != 0 ? rc : push_handle(lc, h, op, body);
}

int lconn_receive(struct rpc_lconn *lc)
{
	struct wire_header h;
	int rc = 0;

	while (rc == 0) {
		rc = rpc_conn_recv_header(lc->conn, ENV_FOREVER, &h);
		if (rc != 0) {
			break;
		}
		if ((h.flags & W_MSG_FLAGS_PUSH) != 0) {
			rc = recv_push(lc, &h);
		} else if ((h.flags & W_MSG_FLAGS_REPLY) != 0) {
			rc = recv_reply(lc, &h);
		} else {
			rc = -NE_BADMSG;
		}
	}
	return rc;
}
