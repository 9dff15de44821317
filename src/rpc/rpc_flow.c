/*
 * Which request is sent when.
 *
 * A session's requests wait in four queues, sent in this order: recovery, urgent, normal, bulk. Each takes
 * one of the session's slots (its credit, and for modifying ones its place in the server's table); the last
 * slot is kept for recovery and some more for urgent ones, so what drains queues always finds one (RULES D1).
 * Bulk requests need the bulk connection and byte credit on it besides.
 *
 * Exactly once. A modifying request keeps its slot and sequence until its fate is known: a reply says
 * whether the sequence was consumed; after a reconnect the server's table does. Nothing else may use the
 * slot meanwhile, even if the caller has gone: then the request stays as a ghost, without its bulk, which
 * only the server's table can still answer.
 */
#include "rpc/rpc_client_int.h"

#include "base/alloc.h"

/* ---- slots ---- */

static unsigned slots_reserved(const struct rpc_session *s, enum flow flow)
{
	unsigned n = s->info.slots;

	switch (flow) {
	case FLOW_RECOVERY:
		return 0;
	case FLOW_URGENT:
		return n >= 4 ? 1 : 0;
	default:
		return n >= 16 ? n / 8 + 1 : n / 4;
	}
}

static bool slot_take(struct rpc_session *s, struct rpc_pending *p)
{
	unsigned free_count = (unsigned)__builtin_popcountll(s->slots_free);
	unsigned i;

	if (p->slot >= 0) {
		return true;
	}
	if (free_count <= slots_reserved(s, p->flow)) {
		return false;
	}
	i = (unsigned)__builtin_ctzll(s->slots_free);
	ASSERT(i < s->info.slots && s->slot[i].owner == NULL);
	s->slots_free &= ~(UINT64_C(1) << i);
	s->slot[i].owner = p;
	p->slot = (int)i;
	p->seq = s->slot[i].seq + (p->op->modifies ? 1 : 0);
	return true;
}

void flow_slot_release(struct rpc_pending *p, bool consumed)
{
	struct rpc_session *s = p->session;

	if (p->slot < 0) {
		return;
	}
	ASSERT(s != NULL && s->slot[p->slot].owner == p);
	if (consumed && p->op->modifies) {
		s->slot[p->slot].seq = p->seq;
	}
	s->slot[p->slot].owner = NULL;
	if ((unsigned)p->slot < s->info.slots) {
		s->slots_free |= UINT64_C(1) << p->slot;
	}
	p->slot = -1;
	p->sent_once = false;
}

/* ---- sending ---- */

static void out_done(struct rpc_out *out, int result _unused_)
{
	struct rpc_pending *p = container_of(out, struct rpc_pending, out);

	/* A failure is the receiving fiber's business: it gives back everything sent. */
	p->out_busy = false;
	env_wake_all(p->client->env, &p->waitq);
	if (p->state == PENDING_DONE && p->call == NULL) {
		pending_free(p);
	} else if (p->state == PENDING_UNSENT) {
		session_kick(p->session, RPC_SEND_BEHIND);
	}
}

static uint32_t deadline_ms_of(const struct rpc_pending *p)
{
	uint64_t now = env_now(p->client->env);
	uint64_t deadline = p->call != NULL ? p->call->deadline_ns : 0;

	if (deadline == 0 || deadline == ENV_FOREVER) {
		return 0;
	}
	if (deadline <= now) {
		return 1;
	}
	return (uint32_t)u64_min((deadline - now) / NS_PER_MS + 1, UINT32_MAX);
}

static void header_fill(struct rpc_pending *p)
{
	struct wire_header *h = &p->out.header;
	struct rpc_session *s = p->session;

	h->class = p->out.urgent ? W_MSG_CLASS_URGENT : p->op->class;
	h->op = p->op->op;
	h->flags = p->sent_once ? W_MSG_FLAGS_RESEND : 0;
	h->flags |= h->bulk_len > 0 ? W_MSG_FLAGS_BULK_CRC : 0;
	h->incarnation = p->client->incarnation;
	h->key_id = (uint16_t)p->client->key.key_id;
	h->slot = p->slot >= 0 && p->op->modifies ? (uint16_t)p->slot : RPC_SLOT_NONE;
	h->sequence = p->op->modifies ? p->seq : 0;
	h->xid = p->xid;
	h->map = p->client->map_version;
	h->deadline_ms = deadline_ms_of(p);
	if (p->call != NULL) {
		memcpy(h->trace, p->call->trace, sizeof(h->trace));
	}
	if (s != NULL) {
		h->session = s->info.session;
		h->target = s->code;
		h->epoch = s->info.epoch;
	}
}

void flow_send(struct rpc_pending *p, struct rpc_lconn *lc, enum rpc_send_how how)
{
	ASSERT(!p->out_busy && !list_linked(&p->link));
	header_fill(p);
	p->sent_session = p->session != NULL ? p->session->info.session : 0;
	p->parked = false;
	p->woken = false;
	p->lconn = lc;
	p->state = PENDING_SENT;
	p->sent_once = true;
	p->sends++;
	p->wire_bytes = WIRE_HEADER_SIZE + p->out.header.body_len + p->out.header.bulk_len;
	if (lc->unacked + p->wire_bytes > RPC_INLINE_BYTES) {
		how = RPC_SEND_BEHIND;
	}
	lc->unacked += p->wire_bytes;
	ASSERT(lc->credit >= p->out.header.bulk_len);
	lc->credit -= p->out.header.bulk_len;
	list_push_back(p->session != NULL ? &p->session->sent : &lc->direct, &p->link);
	p->out_busy = true;
	p->out.done = out_done;
	rpc_conn_send(lc->conn, &p->out, how);
}

void flow_acked(struct rpc_pending *p)
{
	struct rpc_lconn *lc = p->lconn;

	if (lc == NULL || p->wire_bytes == 0) {
		return;
	}
	ASSERT(lc->unacked >= p->wire_bytes);
	lc->unacked -= p->wire_bytes;
	lc->credit += p->out.header.bulk_len;
	p->wire_bytes = 0;
}

static bool session_flows(const struct rpc_session *s, enum flow flow)
{
	return s->state == RPC_SESSION_READY ||
		(s->state == RPC_SESSION_RECOVERING && flow == FLOW_RECOVERY);
}

/* The connection p can go out on now, or NULL. */
static struct rpc_lconn *flow_lconn(struct rpc_session *s, struct rpc_pending *p)
{
	struct rpc_link *link = s->server;
	struct rpc_lconn *lc = &link->control;

	if (p->op->class == W_MSG_CLASS_BULK && p->call != NULL) {
		lc = &link->bulk;
		if (!lconn_up(lc)) {
			link_bulk_start(link);
			return NULL;
		}
	}
	return lconn_up(lc) && lc->credit >= p->out.header.bulk_len ? lc : NULL;
}

static bool kick_one(struct rpc_session *s, enum flow flow, enum rpc_send_how how)
{
	struct rpc_pending *p;
	struct rpc_lconn *lc;

	if (list_empty(&s->unsent[flow]) || s->server == NULL || !session_flows(s, flow)) {
		return false;
	}
	p = list_entry(s->unsent[flow].next, struct rpc_pending, link);
	ASSERT(p->state == PENDING_UNSENT);
	if (p->out_busy) {
		return false; /* the sender of a dead connection has it for a moment */
	}
	lc = flow_lconn(s, p);
	if (lc == NULL || !slot_take(s, p)) {
		return false;
	}
	list_del(&p->link);
	flow_send(p, lc, how);
	return true;
}

void session_kick(struct rpc_session *s, enum rpc_send_how how)
{
	for (unsigned flow = 0; flow < FLOWS; flow++) {
		while (kick_one(s, flow, how)) {
		}
	}
}

void link_kick(struct rpc_link *link)
{
	LIST_FOREACH_SAFE (it, &link->sessions) {
		session_kick(list_entry(it, struct rpc_session, link), RPC_SEND_BEHIND);
	}
}

void flow_submit(struct rpc_pending *p)
{
	ASSERT(p->session != NULL && !list_linked(&p->link));
	p->state = PENDING_UNSENT;
	p->lconn = NULL;
	list_push_back(&p->session->unsent[p->flow], &p->link);
}

void flow_unpark(struct rpc_session *s)
{
	struct rpc_client *client = s->client;

	for (uint32_t i = 0; i < client->pending_made; i++) {
		struct rpc_pending *p = client->pending[i];

		if (p->session == s && p->state == PENDING_DELAYED && p->parked) {
			p->retry_ns = env_now(client->env);
			env_wake_all(client->env, &p->waitq);
		}
	}
}

/* ---- ends ---- */

void pending_complete(struct rpc_pending *p, int status)
{
	struct rpc_session *s = p->session;

	ASSERT(p->state != PENDING_FREE && p->state != PENDING_DONE);
	if (list_linked(&p->link)) {
		list_del(&p->link);
	}
	flow_acked(p);
	flow_slot_release(p, false);
	p->state = PENDING_DONE;
	p->lconn = NULL;
	if (p->call != NULL) {
		p->call->status = status;
		env_wake_all(p->client->env, &p->waitq);
	} else if (!p->out_busy) {
		pending_free(p);
	}
	if (s != NULL) {
		session_kick(s, RPC_SEND_BEHIND);
	}
}

/* Of a ghost only header and body are left. */
static void ghost_strip(struct rpc_pending *p)
{
	p->out.bulk = NULL;
	p->out.bulk_count = 0;
	p->out.header.bulk_len = 0;
	p->out.header.bulk_crc = 0;
}

void pending_abandon(struct rpc_pending *p, int status)
{
	bool fate_open = p->slot >= 0 && p->op->modifies && p->sent_once &&
		(p->state == PENDING_SENT || p->state == PENDING_UNSENT ||
			p->state == PENDING_DELAYED);
	struct rpc_call *call = p->call;

	ASSERT(call != NULL && !p->out_busy && p->state != PENDING_RECV);
	call->status = status;
	if (!fate_open) {
		/* The credit of a bulk request that may still be on its way stays used until its
		 * connection ends; the server counts it too. */
		if (p->state == PENDING_SENT && p->out.header.bulk_len > 0) {
			p->wire_bytes = 0;
		}
		pending_complete(p, status);
		return;
	}
	p->call = NULL;
	call->pending = NULL;
	if (p->state == PENDING_DELAYED) {
		flow_submit(p);
	}
	env_wake_all(p->client->env, &p->waitq);
	if (p->state == PENDING_UNSENT) {
		ghost_strip(p);
		session_kick(p->session, RPC_SEND_BEHIND);
	}
}

static void requeue_one(struct rpc_pending *p)
{
	struct rpc_session *s = p->session;

	ASSERT(!p->out_busy);
	p->wire_bytes = 0;
	p->lconn = NULL;
	list_del(&p->link);
	p->state = PENDING_UNSENT;
	list_push_front(&s->unsent[p->flow], &p->link);
	if (p->call == NULL) {
		ghost_strip(p);
	} else if (p->canceled) {
		pending_abandon(p, -NE_INTR);
	} else if ((p->call->flags & (RPC_CALL_NO_RETRY | RPC_CALL_RECOVERY)) != 0) {
		pending_abandon(p, -NE_CONNLOST);
	}
	env_wake_all(p->client->env, &p->waitq);
}

void flow_requeue(struct rpc_lconn *lc)
{
	struct list *it;

	while ((it = list_pop_front(&lc->direct)) != NULL) {
		pending_complete(list_entry(it, struct rpc_pending, link), -NE_CONNLOST);
	}
	LIST_FOREACH_SAFE (sit, &lc->link->sessions) {
		struct rpc_session *s = list_entry(sit, struct rpc_session, link);

		/* From the back, to the front: the order of sending is kept. */
		for (it = s->sent.prev; it != &s->sent;) {
			struct rpc_pending *p = list_entry(it, struct rpc_pending, link);

			it = it->prev;
			if (p->lconn == lc) {
				requeue_one(p);
			}
		}
	}
}

void flow_fail_recovery(struct rpc_session *s)
{
	LIST_FOREACH_SAFE (it, &s->unsent[FLOW_RECOVERY]) {
		struct rpc_pending *p = list_entry(it, struct rpc_pending, link);

		if (p->call != NULL && !p->out_busy) {
			pending_abandon(p, -NE_CONNLOST);
		}
	}
}

static void fail_list(struct list *head, int status)
{
	LIST_FOREACH_SAFE (it, head) {
		struct rpc_pending *p = list_entry(it, struct rpc_pending, link);

		if (p->state != PENDING_RECV) {
			p->wire_bytes = 0;
			pending_complete(p, status);
		}
	}
}

void flow_fail_all(struct rpc_session *s, int status)
{
	fail_list(&s->sent, status);
	for (unsigned flow = 0; flow < FLOWS; flow++) {
		fail_list(&s->unsent[flow], status);
	}
}

/* ---- after session_open ---- */

/* One request that waits and owns a slot; true if it was ended. */
static void resume_one(struct rpc_pending *p, bool resumed, uint32_t server_seq)
{
	struct rpc_session *s = p->session;
	bool repeatable = p->call != NULL && (p->call->flags & RPC_CALL_REPEATABLE) != 0;

	if (!p->op->modifies) {
		s->slot[p->slot].seq = server_seq;
		flow_slot_release(p, false);
		return;
	}
	if (resumed && server_seq == p->seq) {
		p->sent_once = true;
		return; /* executed or running: the server's slot answers the resend */
	}
	s->slot[p->slot].seq = server_seq;
	if (resumed && p->call != NULL) {
		p->seq = server_seq + 1; /* not executed */
		return;
	}
	if (p->call == NULL || (p->sent_once && !repeatable)) {
		pending_complete(p, -NE_NOSESSION);
		return;
	}
	flow_slot_release(p, false);
}

static uint32_t seq_at(const struct wire_view *seqs, unsigned i)
{
	return i < seqs->count ? wire_u32_at(seqs, i) : 0;
}

void flow_resume(struct rpc_session *s, bool resumed, const struct wire_view *seqs)
{
	for (unsigned i = 0; i < LIM_SLOTS; i++) {
		struct rpc_pending *p = s->slot[i].owner;
		uint32_t seq = resumed ? seq_at(seqs, i) : 0;

		if (p == NULL) {
			s->slot[i].seq = seq;
		} else if (p->state == PENDING_UNSENT || p->state == PENDING_DELAYED) {
			resume_one(p, resumed, seq);
		} else if (!resumed || !p->op->modifies) {
			/* Of an old session its reply will not count: sent_session differs. */
			s->slot[i].seq = seq;
		}
	}
	s->slots_free = 0;
	for (unsigned i = 0; i < s->info.slots; i++) {
		if (s->slot[i].owner == NULL) {
			s->slots_free |= UINT64_C(1) << i;
		}
	}
}
