/*
 * The map: asked for by everybody, changed by targets that register and by administrators.
 */
#include "base/fid.h"
#include "mgs/mgs_int.h"

static void pools_fill(const struct mgs *mgs, struct w_pool *pools)
{
	for (uint32_t i = 0; i < mgs->pool_count; i++) {
		pools[i] = (struct w_pool){.name = wire_str_of(mgs->pools[i].name)};
		pools[i].osts.items = mgs->pools[i].osts;
		pools[i].osts.count = mgs->pools[i].count;
	}
}

/* The arrays of a reply; freed together. */
struct map_arrays {
	struct w_target *targets;
	struct w_pool *pools;
	struct w_param *params;
};

static void arrays_fini(struct map_arrays *a)
{
	mem_free(a->targets);
	mem_free(a->pools);
	mem_free(a->params);
}

static int arrays_fill(const struct mgs *mgs, struct map_arrays *a, struct w_mgs_map_rep *out)
{
	a->targets = mem_zalloc_array(mgs->target_count + 1, sizeof(*a->targets));
	a->pools = mem_zalloc_array(mgs->pool_count + 1, sizeof(*a->pools));
	a->params = mem_zalloc_array(mgs->param_count + 1, sizeof(*a->params));
	if (a->targets == NULL || a->pools == NULL || a->params == NULL) {
		return -NE_NOMEM;
	}
	for (uint32_t i = 0; i < mgs->target_count; i++) {
		mgs_target_fill(&mgs->targets[i], &a->targets[i]);
	}
	pools_fill(mgs, a->pools);
	for (uint32_t i = 0; i < mgs->param_count; i++) {
		a->params[i] = (struct w_param){.key = wire_str_of(mgs->params[i].key),
			.value = wire_str_of(mgs->params[i].value)};
	}
	out->targets.items = a->targets;
	out->targets.count = mgs->target_count;
	out->pools.items = a->pools;
	out->pools.count = mgs->pool_count;
	out->params.items = a->params;
	out->params.count = mgs->param_count;
	return 0;
}

int mgs_map_request(struct mgs *mgs, struct rpc_request *req)
{
	const struct w_mgs_map_req *in = req->body;
	struct w_mgs_map_rep out = {.version = mgs->version,
		.fsname = wire_str_of(mgs->fsname),
		.cluster = mgs->cluster};
	struct map_arrays arrays = {0};
	int err = 0;

	if (in->fsname.len > 0 && !wire_str_eq(in->fsname, wire_str_of(mgs->fsname))) {
		return -NE_WRONGFS;
	}
	if (in->have_version != mgs->version) {
		err = arrays_fill(mgs, &arrays, &out);
	}
	if (err == 0) {
		err = rpc_request_reply(req, &out);
	}
	arrays_fini(&arrays);
	return err;
}

int mgs_map_room(const struct mgs *mgs, size_t more)
{
	struct w_mgs_map_rep out = {.fsname = wire_str_of(mgs->fsname)};
	struct map_arrays arrays = {0};
	int err = arrays_fill(mgs, &arrays, &out);

	if (err == 0 && w_mgs_map_rep_codec.size(&out) + more > LIM_MSG_BODY_MAX) {
		err = -NE_LIMIT;
	}
	arrays_fini(&arrays);
	return err;
}

void mgs_map_announce(struct mgs *mgs)
{
	struct w_push_map_changed push = {.map_version = mgs->version};
	struct rpc_export *exp = NULL;

	while ((exp = rpc_service_export_next(mgs->service, exp)) != NULL) {
		/* Who misses it sees the version on the next reply. */
		(void)!rpc_export_push(exp, W_OP_MAP_CHANGED, &push);
	}
}

static bool target_same(const struct mgs_target *a, const struct mgs_target *b)
{
	for (unsigned i = 0; i < MGS_ADDRS; i++) {
		if (strcmp(a->addr[i], b->addr[i]) != 0) {
			return false;
		}
	}
	return a->epoch == b->epoch && a->state == b->state && a->pid == b->pid &&
		strcmp(a->boot_id, b->boot_id) == 0;
}

static int register_locked(struct mgs *mgs, struct mgs_target *t)
{
	struct mgs_target *have = mgs_target_find(mgs, t->name);
	struct mgs_effect *e;
	int err;

	t->state |= W_TARGET_STATE_UP;
	if (have != NULL) {
		if (!uuid_eq(have->uuid, t->uuid)) {
			log_error(MGS_LOG, "%s: another storage with this name is registered",
				t->name);
			return -NE_FOREIGN;
		}
		if (t->epoch < have->epoch) {
			return -NE_OLD_EPOCH;
		}
		/* What an administrator set stays. */
		t->state |= have->state;
		if (target_same(have, t)) {
			return 0;
		}
	}
	e = mem_zalloc(sizeof(*e));
	if (e == NULL) {
		return -NE_NOMEM;
	}
	err = mgs_target_encode(t, e);
	if (err == 0 && have == NULL) {
		err = mgs_map_room(mgs, e->val_len + MGS_MAP_FRAME);
	}
	if (err == 0) {
		err = mgs_store_apply(mgs, e, 1);
	}
	mem_free(e);
	return err != 0 ? err : mgs_target_insert(mgs, t);
}

int mgs_register_request(struct mgs *mgs, struct rpc_request *req)
{
	const struct w_mgs_register_req *in = req->body;
	struct w_mgs_register_rep out = {0};
	struct mgs_target t;
	uint32_t before = mgs->version;
	int err;

	if (rpc_export_identity(req->exp)->role != RPC_ROLE_SERVER) {
		return -NE_PERM;
	}
	if (!wire_str_eq(in->fsname, wire_str_of(mgs->fsname)) ||
		!uuid_eq(in->cluster, mgs->cluster)) {
		return -NE_FOREIGN;
	}
	err = mgs_target_from(&in->target, &t);
	if (err != 0) {
		return err;
	}
	env_mutex_lock(mgs->env, &mgs->change);
	err = register_locked(mgs, &t);
	out.version = mgs->version;
	env_mutex_unlock(mgs->env, &mgs->change);
	if (err != 0) {
		return err;
	}
	if (out.version != before) {
		log_info(MGS_LOG, "%s: registered epoch=%u addr=%s", t.name, t.epoch, t.addr[0]);
		mgs_map_announce(mgs);
	}
	if (t.kind == W_TARGET_KIND_MDT) {
		out.fid_seq_start = FID_SEQ_NORMAL + t.index * FID_SEQ_PER_MDT;
		out.fid_seq_count = FID_SEQ_PER_MDT;
	}
	return rpc_request_reply(req, &out);
}

static int state_locked(struct mgs *mgs, const struct w_mgs_target_state_req *in)
{
	char name[LIM_TARGET_NAME_MAX + 1];
	struct mgs_target *have;
	struct mgs_target next;
	struct mgs_effect *e;
	int err = wire_str_copy(in->target, name, sizeof(name));

	have = err == 0 ? mgs_target_find(mgs, name) : NULL;
	if (have == NULL) {
		return -NE_NOTARGET;
	}
	next = *have;
	next.state = (in->state & ~(uint32_t)W_TARGET_STATE_UP) |
		(have->state & (uint32_t)W_TARGET_STATE_UP);
	e = mem_zalloc(sizeof(*e));
	if (e == NULL) {
		return -NE_NOMEM;
	}
	err = mgs_target_encode(&next, e);
	if (err == 0) {
		err = mgs_store_apply(mgs, e, 1);
	}
	mem_free(e);
	return err != 0 ? err : mgs_target_insert(mgs, &next);
}

int mgs_target_state_request(struct mgs *mgs, struct rpc_request *req)
{
	struct w_mgs_target_state_rep out;
	int err;

	if (!mgs_may_change(req)) {
		return -NE_PERM;
	}
	env_mutex_lock(mgs->env, &mgs->change);
	err = state_locked(mgs, req->body);
	out.version = mgs->version;
	env_mutex_unlock(mgs->env, &mgs->change);
	if (err != 0) {
		return err;
	}
	mgs_map_announce(mgs);
	return rpc_request_reply(req, &out);
}

int mgs_status_request(struct mgs *mgs, struct rpc_request *req)
{
	struct w_target_status_rep out = {0};

	out.target.name = wire_str_of(MGS_TARGET);
	out.target.kind = W_TARGET_KIND_MGT;
	out.target.epoch = mgs->epoch;
	out.target.state = W_TARGET_STATE_UP;
	out.uptime_ms = (env_now(mgs->env) - mgs->started_ns) / NS_PER_MS;
	out.last_committed = state_committed_lsn(mgs->state);
	return rpc_request_reply(req, &out);
}
