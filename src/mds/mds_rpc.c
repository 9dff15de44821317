/*
 * The MDT as an RPC service: exports are sessions, requests go to mds_serve.
 *
 * The transport has verified, decoded and sorted out duplicates; here its shapes become the service's. A
 * session's slots are given back to the transport when the session is resumed after a restart.
 */
#include "base/log.h"
#include "mds/mds_int.h"
#include "rpc/rpc.h"

_Static_assert((int)RPC_ROLE_HOST == (int)W_PEER_ROLE_HOST, "roles are the same numbers");
_Static_assert((int)RPC_ROLE_USER == (int)W_PEER_ROLE_USER, "roles are the same numbers");
_Static_assert((int)RPC_ROLE_SERVER == (int)W_PEER_ROLE_SERVER, "roles are the same numbers");
_Static_assert((int)RPC_ROLE_ADMIN == (int)W_PEER_ROLE_ADMIN, "roles are the same numbers");

static int slot_give(void *ctx, const struct mds_slot *slot)
{
	struct rpc_slot_state state = {
		.slot = slot->slot,
		.seq = slot->seq,
		.status = 0,
		.op = slot->op,
		.transno = slot->transno,
		.reply = slot->reply,
	};

	return rpc_export_slot_set(ctx, &state);
}

static int service_session_open(
	void *ctx, struct rpc_export *exp, uint64_t wanted, struct rpc_open_reply *ret_reply)
{
	struct mds *mds = ctx;
	const struct rpc_identity *id = rpc_export_identity(exp);
	struct mds_session *session = NULL;
	bool resumed = false;
	struct mds_peer peer = {
		.client = id->client,
		.incarnation = id->incarnation,
		.role = (enum w_peer_role)id->role,
		.uid = id->uid,
		.gid = id->gid,
		.allow_root = id->allow_root,
		.read_only = id->read_only,
		.key_id = id->key_id,
		.pid = id->pid,
		.subdir = id->subdir,
		.hostname = id->hostname,
		.addr = id->addr,
	};
	int r = mds_session_open(mds, &peer, wanted, &session, &resumed);

	if (r < 0) {
		return r;
	}
	if (resumed) {
		r = mds_session_slots(mds, session, slot_give, exp);
		if (r < 0) {
			session->attached = false;
			return r;
		}
	}
	rpc_export_ctx_set(exp, session);
	*ret_reply = (struct rpc_open_reply){
		.session = session->id,
		.incarnation = session->incarnation,
		.resumed = resumed,
		.memory_loss = state_memory_loss(mds_state(mds)),
	};
	return 0;
}

static void service_session_closed(void *ctx, struct rpc_export *exp, enum rpc_close_reason reason)
{
	struct mds_session *session = rpc_export_ctx(exp);

	if (session == NULL) {
		return;
	}
	rpc_export_ctx_set(exp, NULL);
	if (reason == RPC_CLOSE_SHUTDOWN) {
		session->attached = false;
		return;
	}
	log_info("mds", "session closed id=%llu host=%s reason=%d", (unsigned long long)session->id,
		session->hostname, (int)reason);
	mds_session_close(ctx, session);
}

static int request_encode(
	void *ctx, const struct wire_op *op, const void *reply, struct span *ret_bytes)
{
	struct rpc_request *req = ctx;
	int r = rpc_request_reply(req, reply);

	ASSERT(op == req->op);
	if (r == 0) {
		*ret_bytes = rpc_request_reply_bytes(req);
	}
	return r;
}

static int request_park(void *ctx, struct rpc_parking *lot)
{
	return rpc_request_park(ctx, lot);
}

static int service_request(void *ctx, struct rpc_request *req)
{
	struct mds_session *session = rpc_export_ctx(req->exp);
	struct mds_result result = {0};
	struct mds_request request = {
		.session = session,
		.op = req->op,
		.body = req->body,
		.slot = req->slot,
		.seq = req->seq,
		.encode = request_encode,
		.encode_ctx = req,
		.park = request_park,
	};
	int r;

	if (session == NULL) {
		return -NE_NOSESSION;
	}
	if (req->op->op == W_OP_TARGET_STATUS) {
		return mds_target_status(ctx, req);
	}
	r = mds_serve(ctx, &request, &result);
	if (r == 0) {
		rpc_request_transno_set(req, result.transno);
	}
	return r;
}

static void service_state(void *ctx, struct rpc_service_state *ret_state)
{
	struct mds *mds = ctx;

	*ret_state = (struct rpc_service_state){
		.epoch = mds->opts.epoch,
		.map_version = mds->map_version,
		.last_committed = mds_last_committed(mds),
	};
}

const struct rpc_service_ops *mds_service_ops(void)
{
	static const struct rpc_service_ops ops = {
		.session_open = service_session_open,
		.session_closed = service_session_closed,
		.request = service_request,
		.state = service_state,
	};

	return &ops;
}
