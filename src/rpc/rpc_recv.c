/*
 * Receiving requests: every check between the socket and a handler, in the order that trusts least.
 *
 *	header crc, lengths	rpc_conn
 *	body crc, MAC		rpc_conn
 *	operation		unknown: NOSYS
 *	target, session, epoch	NOTARGET, NOSESSION, FENCED, STALE_EPOCH: the client opens its session anew
 *	slot and sequence	a duplicate is answered from the slot, or by the request that runs
 *	room			RETRY
 *	body			malformed: the connection is cut
 *	bulk			within the credit, else cut; checksum, else CHECKSUM
 *
 * A request refused before its slot was taken leaves the slot as it was, and the reply says so by carrying
 * the slot's sequence instead of the request's. The slot is taken before the bulk is received (that
 * yields) and given back if it does not arrive whole.
 */
#include "rpc/rpc_server_int.h"

#include "base/alloc.h"
#include "base/crc32c.h"
#include "base/log.h"

/* What the checks found. */
enum verdict {
	VERDICT_ACCEPT,
	VERDICT_ANSWERED, /* or dropped; the bulk must still be skipped */
};

static int skip_bulk(struct sconn *conn, const struct wire_header *h)
{
	uint32_t crc = 0;

	return rpc_conn_recv_bulk(
		conn->conn, NULL, h->bulk_len, rpc_conn_bulk_deadline(conn->conn), &crc);
}

static bool op_is_own(uint16_t op)
{
	return op == W_OP_PING || op == W_OP_CANCEL || op == W_OP_SESSION_OPEN ||
		op == W_OP_SESSION_CLOSE;
}

static enum group group_of(const struct wire_op *op, const struct wire_header *h)
{
	return op->class == W_MSG_CLASS_URGENT || op->class == W_MSG_CLASS_CONTROL ||
			h->class == W_MSG_CLASS_URGENT
		? GROUP_URGENT
		: GROUP_NORMAL;
}

/* ---- slots ---- */

static int slot_duplicate(struct rpc_req *req, struct rpc_export *exp, struct server_slot *slot)
{
	struct rpc_req *busy = slot->busy;

	if (busy == NULL) {
		if (!slot->cached) {
			return -NE_BADSLOT;
		}
		serve_cached(req, exp, slot);
		return 0;
	}
	if (busy->state == REQ_RECEIVING) {
		return -NE_BADSLOT;
	}
	if (busy->state != REQ_ANSWERED) {
		/* It still runs: its answer goes out once, here. */
		struct sconn *old = busy->conn;

		if (busy->counted) {
			old->requests--;
			env_wake_all(exp->service->server->env, &old->room);
			busy->counted = false;
			old->bulk_bytes -= busy->header.bulk_len;
			busy->header.bulk_len = 0;
		}
		busy->conn = req->conn;
		busy->conn->refs++;
		busy->header.xid = req->header.xid;
		sconn_unref(old);
	}
	serve_drop(req);
	return 0;
}

/* The request is still being received on an older connection, which is dead without our knowing: it is cut,
 * and what it brought is forgotten. The export stays, because req is one of its requests. */
static void slot_cut_older(struct rpc_req *req, struct server_slot *slot)
{
	struct env *env = req->server->env;

	while (slot->busy != NULL && slot->busy->state == REQ_RECEIVING &&
		(int32_t)(slot->busy->conn->generation - req->conn->generation) < 0) {
		sconn_break(slot->busy->conn, -NE_CONNLOST);
		(void)env_wait(env, &req->server->quiet, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
}

/* 0: *ret_verdict; else the connection is cut. */
static int slot_check(struct rpc_req *req, struct rpc_export *exp, enum verdict *ret_verdict)
{
	const struct wire_header *h = &req->header;
	struct server_slot *slot;

	*ret_verdict = VERDICT_ACCEPT;
	if (!req->pub.op->modifies) {
		return 0;
	}
	if (h->slot >= exp->slots) {
		return -NE_BADSLOT;
	}
	slot = &exp->slot[h->slot];
	if (unlikely(rpc_canary_slots_off) && slot->busy == NULL) {
		slot->seq = h->sequence - 1;
	}
	slot_cut_older(req, slot);
	if (h->sequence == slot->seq) {
		req->server->stats.duplicates++;
		*ret_verdict = VERDICT_ANSWERED;
		return slot_duplicate(req, exp, slot);
	}
	if ((int32_t)(h->sequence - slot->seq) < 0) {
		/* A delayed copy, from a bulk connection that was replaced: long answered (RULES B5). */
		req->server->stats.dropped_old++;
		*ret_verdict = VERDICT_ANSWERED;
		serve_drop(req);
		return 0;
	}
	if (h->sequence != slot->seq + 1 || slot->busy != NULL) {
		return -NE_BADSLOT;
	}
	return 0;
}

static void slot_accept(struct rpc_req *req, struct rpc_export *exp)
{
	if (!req->pub.op->modifies) {
		return;
	}
	req->slot = &exp->slot[req->header.slot];
	ASSERT(req->slot->busy == NULL);
	req->slot->busy = req;
	req->slot->seq = req->header.sequence;
	req->slot->cached = false;
}

/* ---- checks ---- */

/* The export a request belongs to; a negative status refuses it. */
static int export_check(struct rpc_req *req, struct rpc_export **ret_export)
{
	const struct wire_header *h = &req->header;
	struct rpc_service *service = service_find(req->server, h->target);
	struct rpc_service_state state = {.epoch = 0};
	struct rpc_export *exp;

	if (service == NULL || service->stopping) {
		return -NE_NOTARGET;
	}
	exp = export_find(service, h->session);
	if (exp == NULL || exp->peer != req->conn->peer || exp->state != EXPORT_OPEN) {
		return exp != NULL && exp->fenced ? -NE_FENCED : -NE_NOSESSION;
	}
	if (h->incarnation != exp->peer->id.incarnation) {
		return -NE_FENCED;
	}
	service->ops->state(service->ctx, &state);
	if (h->epoch != state.epoch) {
		return -NE_STALE_EPOCH;
	}
	*ret_export = exp;
	return 0;
}

static bool generation_is_old(const struct rpc_req *req, const struct rpc_export *exp)
{
	return (int32_t)(req->conn->generation - exp->generation_min) < 0;
}

static void req_publish(struct rpc_req *req, struct rpc_export *exp)
{
	const struct wire_header *h = &req->header;

	req->pub.exp = exp;
	req->pub.body = req->body;
	req->pub.body_bytes = span_of(req->in.ptr, req->in.len);
	req->pub.slot = req->pub.op->modifies ? h->slot : RPC_SLOT_NONE;
	req->pub.seq = h->sequence;
	req->pub.resend = (h->flags & W_MSG_FLAGS_RESEND) != 0;
	req->pub.replay = (h->flags & W_MSG_FLAGS_REPLAY) != 0;
	req->pub.xid = h->xid;
	req->pub.map_version = h->map;
	req->pub.deadline_ns = ENV_FOREVER;
	if (h->deadline_ms != 0) {
		req->pub.deadline_ns = req->start_ns + (uint64_t)h->deadline_ms * NS_PER_MS;
	}
	memcpy(req->pub.trace, h->trace, sizeof(req->pub.trace));
}

static void req_count(struct rpc_req *req)
{
	req->counted = true;
	req->conn->requests++;
	req->conn->bulk_bytes += req->header.bulk_len;
}

/* ---- bulk ---- */

static void *bulk_get(struct sconn *conn, uint32_t len)
{
	struct rpc_server *server = conn->server;

	while (conn->conn->error == 0) {
		void *buf = NULL;

		if (server->bulk_bytes + len <= server->lim.bulk_total_bytes) {
			buf = bufpool_get(server->pool, len);
		}
		if (buf != NULL) {
			server->bulk_bytes += len;
			server->stats.bulk_bytes_max =
				u64_max(server->stats.bulk_bytes_max, server->bulk_bytes);
			return buf;
		}
		/* Other holders of the pool's buffers do not wake us: look again now and then. */
		(void)env_wait(server->env, &server->room, env_now(server->env) + 10 * NS_PER_MS,
			ENV_WAIT_PLAIN);
	}
	return NULL;
}

/* -NE_CHECKSUM: received, but not what was sent; others: the connection is lost. */
static int recv_bulk(struct rpc_req *req)
{
	struct sconn *conn = req->conn;
	const struct wire_header *h = &req->header;
	uint32_t crc = 0;
	int rc;

	if (h->bulk_len == 0) {
		return 0;
	}
	req->pub.bulk_in = bulk_get(conn, h->bulk_len);
	if (req->pub.bulk_in == NULL) {
		return -NE_CONNLOST;
	}
	req->pub.bulk_in_len = h->bulk_len;
	rc = rpc_conn_recv_bulk(conn->conn, req->pub.bulk_in, h->bulk_len,
		rpc_conn_bulk_deadline(conn->conn), &crc);
	if (rc == 0 && (h->flags & W_MSG_FLAGS_BULK_CRC) != 0 && crc != h->bulk_crc) {
		rc = -NE_CHECKSUM;
	}
	return rc;
}

/* ---- the two kinds of requests ---- */

/* Answers and skips the bulk. */
static int refuse(struct rpc_req *req, struct sconn *conn, int status)
{
	struct wire_header h = req->header;

	serve_answer(req, status);
	return skip_bulk(conn, &h);
}

static int recv_own(struct rpc_req *req, struct sconn *conn)
{
	if (req->header.bulk_len != 0 ||
		(req->pub.op->class == W_MSG_CLASS_CONTROL && conn->kind != W_CONN_KIND_CONTROL)) {
		serve_drop(req);
		return -NE_BADMSG;
	}
	if (req->pub.op->op != W_OP_SESSION_OPEN && req->pub.op->op != W_OP_SESSION_CLOSE) {
		serve_dispatch(req); /* ping, cancel: answered at once */
		return 0;
	}
	if (!serve_has_room(req->server, GROUP_URGENT)) {
		serve_answer(req, -NE_RETRY);
		return 0;
	}
	serve_dispatch(req);
	return 0;
}

/* Accepted: takes slot and bulk and lets it run. */
static int recv_accepted(struct rpc_req *req, struct rpc_export *exp)
{
	int rc;

	slot_accept(req, exp);
	rc = recv_bulk(req);
	if (rc != 0 || generation_is_old(req, exp) || exp->state != EXPORT_OPEN) {
		serve_slot_rollback(req);
		if (rc == 0 && exp->state != EXPORT_OPEN) {
			serve_answer(req, exp->fenced ? -NE_FENCED : -NE_NOSESSION);
			return 0;
		}
		if (rc == -NE_CHECKSUM) {
			serve_answer(req, rc);
			return 0;
		}
		serve_drop(req);
		return rc;
	}
	serve_dispatch(req);
	return 0;
}

static int recv_for_export(struct rpc_req *req, struct sconn *conn)
{
	struct wire_header h = req->header;
	struct rpc_export *exp = NULL;
	enum verdict verdict;
	int rc = export_check(req, &exp);

	if (rc != 0) {
		return refuse(req, conn, rc);
	}
	if (generation_is_old(req, exp)) {
		req->server->stats.dropped_old++;
		serve_drop(req);
		return skip_bulk(conn, &h);
	}
	export_touch(exp);
	req_publish(req, exp);
	req->state = REQ_RECEIVING;
	list_push_back(&exp->requests, &req->exp_link);
	rc = slot_check(req, exp, &verdict);
	if (rc != 0) {
		serve_answer(req, rc);
		return rc;
	}
	if (verdict == VERDICT_ANSWERED) {
		return skip_bulk(conn, &h);
	}
	if (!serve_has_room(req->server, req->group) ||
		(req->group == GROUP_NORMAL &&
			conn->requests > req->server->lim.conn_requests_max)) {
		req->server->stats.retries++;
		return refuse(req, conn, -NE_RETRY);
	}
	return recv_accepted(req, exp);
}

/* Waits while the connection, or the server, has too much of ours in hand. Before that, normal requests
 * are answered "retry", so an urgent one does not stand behind a normal one that waits. */
static int wait_for_room(struct sconn *conn, const struct wire_header *h)
{
	struct rpc_server *server = conn->server;
	bool urgent = h->class == W_MSG_CLASS_URGENT || h->class == W_MSG_CLASS_CONTROL;
	unsigned requests_max = server->lim.conn_requests_max + RPC_CONN_EXTRA;
	uint64_t need = sizeof(struct rpc_req) + h->body_len;
	uint64_t max = server->lim.message_total_bytes;

	max += urgent ? max / 4 : 0;
	while (conn->conn->error == 0) {
		struct env_waitq *q = &server->room;

		if (conn->requests >= requests_max) {
			q = &conn->room;
		} else if (server->message_bytes + need <= max &&
			conn->message_bytes + need <= max / RPC_CONN_SHARE &&
			conn->conn->queued < requests_max) {
			return 0;
		}
		(void)env_wait(
			server->env, q, env_now(server->env) + 100 * NS_PER_MS, ENV_WAIT_PLAIN);
	}
	return conn->conn->error;
}

static int header_check(const struct sconn *conn, const struct wire_header *h)
{
	if ((h->flags & (W_MSG_FLAGS_REPLY | W_MSG_FLAGS_PUSH)) != 0) {
		return -NE_BADMSG;
	}
	if (h->bulk_len == 0) {
		return 0;
	}
	if (conn->kind != W_CONN_KIND_BULK ||
		h->bulk_len > conn->server->lim.bulk_credit_bytes - conn->bulk_bytes) {
		return -NE_BADMSG; /* more than it was granted */
	}
	return 0;
}

static int recv_request(struct sconn *conn, const struct wire_header *h)
{
	const struct wire_op *op = wire_op_find(h->op);
	struct rpc_req *req = req_new(conn, h);
	int rc;

	if (req == NULL) {
		return -NE_NOMEM;
	}
	req->pub.op = op;
	rc = rpc_conn_recv_body(conn->conn, h, &req->in);
	if (rc != 0) {
		req_free(req);
		return rc;
	}
	req_count(req);
	if (op == NULL) {
		return refuse(req, conn, -NE_NOSYS);
	}
	req->group = group_of(op, h);
	ASSERT(op->request->struct_size <= sizeof(req->body));
	rc = op->push ? -NE_BADMSG : op->request->decode(req->body, req->in.ptr, req->in.len);
	if (rc != 0) {
		serve_drop(req);
		return rc;
	}
	return op_is_own(op->op) ? recv_own(req, conn) : recv_for_export(req, conn);
}

int sconn_receive(struct sconn *conn)
{
	struct wire_header h;
	int rc = 0;

	ASSERT(conn->peer != NULL);
	while (rc == 0) {
		rc = rpc_conn_recv_header(conn->conn, ENV_FOREVER, &h);
		if (rc == 0) {
			rc = header_check(conn, &h);
		}
		if (rc == 0) {
			rc = wait_for_room(conn, &h);
		}
		if (rc == 0) {
			rc = recv_request(conn, &h);
		}
	}
	return rc;
}
