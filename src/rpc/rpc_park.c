/*
 * Requests that wait for somebody else (RULES D1): a dead OST, another client's lock.
 *
 * The handler parks the request and returns: no fiber, no slot, no body is held here, only a ticket that names the
 * session and the xid. The client is answered "queued" and keeps the request; when the lot is woken it is told so by a
 * push and sends the request again, as a new one, in a new slot. Only a request that has changed nothing may be parked,
 * so a ticket is a hint and not a promise, and whatever is lost costs time only: for a lost push, or one that found no
 * connection, the client comes again by itself, as it does when its session was resumed, or was opened anew at a server
 * that has been restarted. What a request has changed before it waits it answers first, in its slot like any change;
 * then the client waits with another request, which may be repeated (mds_truncate.c).
 *
 * A request that comes again before it was woken keeps its place in the lot. Tickets are bounded per session and per
 * server. They end with the wake-up, the answer, the cancel, the session.
 */
#include "rpc/rpc_server_int.h"

#include "base/alloc.h"
#include "base/hash.h"

struct ticket {
	struct list link; /* of the lot */
	struct hmap_node node; /* of the export */
	struct rpc_export *exp;
	struct rpc_parking *lot;
	uint64_t xid;
};

_Static_assert(sizeof(struct ticket) <= 100, "as limits.h says");

void rpc_parking_init(struct rpc_parking *lot)
{
	list_init(&lot->tickets);
}

static struct ticket *ticket_find(const struct rpc_export *exp, uint64_t xid)
{
	for (struct hmap_node *it = hmap_find(&exp->tickets, hash_mix(xid)); it != NULL;
		it = hmap_find_next(it)) {
		struct ticket *t = container_of(it, struct ticket, node);

		if (t->xid == xid) {
			return t;
		}
	}
	return NULL;
}

static void ticket_free(struct ticket *t)
{
	struct rpc_server *server = t->exp->service->server;

	ASSERT(server->parked > 0 && t->exp->tickets.count > 0);
	server->parked--;
	hmap_remove(&t->exp->tickets, &t->node);
	list_del(&t->link);
	mem_free(t);
}

void park_forget(struct rpc_export *exp, uint64_t xid)
{
	struct ticket *t = ticket_find(exp, xid);

	if (t != NULL) {
		ticket_free(t);
	}
}

void park_forget_all(struct rpc_export *exp)
{
	struct hmap_node *it;

	while ((it = hmap_first(&exp->tickets)) != NULL) {
		ticket_free(container_of(it, struct ticket, node));
	}
}

static struct ticket *ticket_new(struct rpc_export *exp, uint64_t xid)
{
	struct rpc_server *server = exp->service->server;
	struct ticket *t;

	if (server->parked >= server->lim.parked_max ||
		exp->tickets.count >= server->lim.session_parked_max) {
		return NULL;
	}
	t = mem_zalloc(sizeof(*t));
	if (t == NULL) {
		return NULL;
	}
	t->exp = exp;
	t->xid = xid;
	hmap_insert(&exp->tickets, &t->node, hash_mix(xid));
	server->parked++;
	return t;
}

int rpc_request_park(struct rpc_request *pub, struct rpc_parking *lot)
{
	struct rpc_req *req = req_of(pub);
	struct rpc_export *exp = pub->exp;
	struct ticket *t = ticket_find(exp, req->header.xid);

	ASSERT(req->state == REQ_RUNNING);
	if (exp->state != EXPORT_OPEN) {
		return exp->fenced ? -NE_FENCED : -NE_NOSESSION;
	}
	if (req->canceled) {
		return -NE_INTR;
	}
	if (t == NULL) {
		t = ticket_new(exp, req->header.xid);
	}
	if (t == NULL) {
		req->retry_after_ns = RPC_PARK_BUSY_NS;
		return -NE_RETRY;
	}
	if (t->lot != lot) {
		if (t->lot != NULL) {
			list_del(&t->link);
		}
		t->lot = lot;
		list_push_back(&lot->tickets, &t->link);
	}
	req->parked = true;
	req->retry_after_ns = RPC_PARK_AGAIN_NS;
	req->server->stats.parkings++;
	return -NE_RETRY;
}

void rpc_parking_wake(struct rpc_parking *lot, unsigned max)
{
	while (max > 0 && !list_empty(&lot->tickets)) {
		struct ticket *t = list_entry(lot->tickets.next, struct ticket, link);
		struct rpc_export *exp = t->exp;
		struct w_push_request_ready push = {.xid = t->xid};

		ticket_free(t);
		/* Without a connection it comes again when there is one. */
		(void)!export_push(exp, W_OP_REQUEST_READY, &push, RPC_PUSHES_READY_MAX);
		max--;
	}
}
