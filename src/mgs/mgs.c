/*
 * Start, stop and the service's face to rpc.
 */
#include <stdio.h>

#include "mgs/mgs_int.h"

static int session_open(
	void *ctx, struct rpc_export *exp, uint64_t wanted, struct rpc_open_reply *ret_reply)
{
	struct mgs *mgs = ctx;

	(void)wanted;
	/* Nothing of a session needs to survive: changes of the map may be repeated by people. */
	ret_reply->session = (uint64_t)mgs->epoch << 32 | ++mgs->session_next;
	ret_reply->incarnation = rpc_export_identity(exp)->incarnation;
	ret_reply->resumed = false;
	return 0;
}

static void session_closed(void *ctx, struct rpc_export *exp, enum rpc_close_reason reason)
{
	(void)ctx;
	(void)exp;
	(void)reason;
}

static int request(void *ctx, struct rpc_request *req)
{
	struct mgs *mgs = ctx;

	switch (req->op->op) {
	case W_OP_MGS_MAP:
		return mgs_map_request(mgs, req);
	case W_OP_MGS_REGISTER:
		return mgs_register_request(mgs, req);
	case W_OP_MGS_POOL:
		return mgs_pool_request(mgs, req);
	case W_OP_MGS_PARAM:
		return mgs_param_request(mgs, req);
	case W_OP_MGS_TARGET_STATE:
		return mgs_target_state_request(mgs, req);
	case W_OP_TARGET_STATUS:
		return mgs_status_request(mgs, req);
	default:
		return -NE_NOSYS;
	}
}

static void service_state(void *ctx, struct rpc_service_state *ret_state)
{
	const struct mgs *mgs = ctx;

	ret_state->epoch = mgs->epoch;
	ret_state->map_version = mgs->version;
	ret_state->last_committed = state_committed_lsn(mgs->state);
}

static const struct rpc_service_ops service_ops = {
	.session_open = session_open,
	.session_closed = session_closed,
	.request = request,
	.state = service_state,
};

static int recover(struct mgs *mgs, const struct mgs_options *opts)
{
	struct state_opts so = {
		.dir = opts->state_dir,
		.kv_kind = opts->kv_kind,
		.create = true,
		.incarnation_min = opts->epoch,
		.wal_segment_bytes =
			opts->wal_segment_bytes != 0 ? opts->wal_segment_bytes : 4 * MIB,
		.table_bytes = 4 * MIB,
		.cache_bytes = 1 * MIB,
		.kv_map_bytes = 256 * MIB,
	};
	int err = state_open(mgs->env, &so, &mgs->state);

	return err != 0 ? err : mgs_store_load(mgs);
}

int mgs_start(struct env *env, struct rpc_server *server, const struct mgs_options *opts,
	struct mgs **ret_mgs)
{
	struct mgs *mgs = mem_zalloc(sizeof(*mgs));
	struct rpc_service_opts so = {
		.target = MGS_TARGET, .fsname = "", .ops = &service_ops, .ctx = mgs};
	int err;

	ASSERT(opts->state_dir[0] == '/');
	ASSERT(strlen(opts->fsname) <= LIM_FSNAME_MAX);
	if (mgs == NULL) {
		return -NE_NOMEM;
	}
	mgs->env = env;
	mgs->cluster = opts->cluster;
	mgs->epoch = opts->epoch;
	mgs->started_ns = env_now(env);
	snprintf(mgs->fsname, sizeof(mgs->fsname), "%s", opts->fsname);
	env_mutex_init(&mgs->change);
	err = recover(mgs, opts);
	if (err == 0) {
		err = rpc_service_start(server, &so, &mgs->service);
	}
	if (err != 0) {
		mgs_stop(mgs);
		return err;
	}
	log_info(MGS_LOG, "%s: serving fsname=%s map=%u targets=%u", MGS_TARGET, mgs->fsname,
		mgs->version, mgs->target_count);
	*ret_mgs = mgs;
	return 0;
}

void mgs_stop(struct mgs *mgs)
{
	if (mgs == NULL) {
		return;
	}
	rpc_service_stop(mgs->service);
	state_close(mgs->state);
	mgs_pools_fini(mgs);
	mgs_params_fini(mgs);
	mem_free(mgs->targets);
	mem_free(mgs);
}

uint32_t mgs_map_version(const struct mgs *mgs)
{
	return mgs->version;
}
