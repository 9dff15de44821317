/*
 * Space: inodes of the MDT, bytes of the OSTs. OSTs that share a disk are counted once (RULES B8).
 *
 * A target that does not answer within CLIENT_STATUS_NS is left out, so df works while an OST is down.
 */
#include "client/client_int.h"

static int mdt_statfs(struct client *c, struct client_target *t, uint64_t deadline_ns,
	struct client_space *ret_space)
{
	struct w_mds_statfs_req req = {.fid = {0}};
	struct w_mds_statfs_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_STATFS, .request = &req, .reply = &rep, .deadline_ns = deadline_ns};
	int err = client_session_make(c, t);

	if (err == 0) {
		err = client_call(c, t->session, &call);
	}
	if (err != 0) {
		return err;
	}
	*ret_space = (struct client_space){
		.bytes_total = rep.bytes_total,
		.bytes_free = rep.bytes_free,
		.bytes_avail = rep.bytes_avail,
		.files_total = rep.files_total,
		.files_used = rep.files_used,
		.files_free = rep.files_total - u64_min(rep.files_used, rep.files_total),
		.state = t->state,
	};
	return 0;
}

/* One OST's question, so that many are on their way at a time. */
struct ost_ask {
	struct client_target *t;
	struct w_ost_statfs_rep rep;
	struct rpc_call call;
};

static int ost_ask_start(
	struct client *c, struct client_target *t, uint64_t deadline_ns, struct ost_ask *a)
{
	struct w_ost_statfs_req req = {.mdt_realtime = 0};
	int err = client_session_make(c, t);

	if (err != 0) {
		return err;
	}
	a->t = t;
	a->call = (struct rpc_call){.op = W_OP_OST_STATFS,
		.request = &req,
		.reply = &a->rep,
		.deadline_ns = deadline_ns};
	c->counters.rpcs++;
	rpc_call_start(t->session, &a->call);
	return 0;
}

static int ost_ask_finish(struct ost_ask *a, struct client_space *ret_space)
{
	const struct w_ost_statfs_rep *rep = &a->rep;
	int err = rpc_call_wait(&a->call);

	rpc_call_fini(&a->call);
	if (err != 0) {
		return err;
	}
	*ret_space = (struct client_space){
		.bytes_total = rep->bytes_total,
		.bytes_free = rep->bytes_free,
		.bytes_avail = rep->bytes_avail,
		.files_total = rep->files_total,
		.files_free = rep->files_free,
		.files_used = rep->files_total - u64_min(rep->files_free, rep->files_total),
		.backing_fsid = rep->backing_fsid,
		.state = a->t->state | rep->state,
	};
	return 0;
}

int client_target_statfs(struct client *c, struct client_target *t, uint64_t deadline_ns,
	struct client_space *ret_space)
{
	struct ost_ask *ask;
	int err;

	ASSERT(t->kind != W_TARGET_KIND_MGT);
	if (t->kind == W_TARGET_KIND_MDT) {
		return mdt_statfs(c, t, deadline_ns, ret_space);
	}
	ask = mem_zalloc(sizeof(*ask));
	if (ask == NULL) {
		return -NE_NOMEM;
	}
	err = ost_ask_start(c, t, deadline_ns, ask);
	if (err == 0) {
		err = ost_ask_finish(ask, ret_space);
	}
	mem_free(ask);
	return err;
}

static void space_add(struct client_space *sum, const struct client_space *one)
{
	sum->bytes_total += one->bytes_total;
	sum->bytes_free += one->bytes_free;
	sum->bytes_avail += one->bytes_avail;
}

static bool fsid_counted(const uint64_t *fsids, uint32_t count, uint64_t fsid)
{
	for (uint32_t i = 0; fsid != 0 && i < count; i++) {
		if (fsids[i] == fsid) {
			return true;
		}
	}
	return false;
}

/* -NE_INTR is the only error: other OSTs' failures leave them out. */
static int osts_statfs(struct client *c, struct client_space *sum, bool *ret_any)
{
	uint32_t count = c->map.ost_count;
	uint64_t deadline = env_now(c->env) + CLIENT_STATUS_NS;
	_cleanup_(free_ptr) struct ost_ask *asks =
		mem_zalloc_array((size_t)count + 1, sizeof(*asks));
	_cleanup_(free_ptr) uint64_t *fsids = mem_zalloc_array((size_t)count + 1, sizeof(*fsids));
	int err = 0;

	if (asks == NULL || fsids == NULL) {
		return -NE_NOMEM;
	}
	for (uint32_t i = 0; i < count; i++) {
		if (c->map.osts[i] != NULL) {
			(void)!ost_ask_start(c, c->map.osts[i], deadline, &asks[i]);
		}
	}
	for (uint32_t i = 0; i < count; i++) {
		struct client_space one;
		int rc = asks[i].t == NULL ? -NE_NOTARGET : ost_ask_finish(&asks[i], &one);

		if (rc == 0 && !fsid_counted(fsids, i, one.backing_fsid)) {
			space_add(sum, &one);
			fsids[i] = one.backing_fsid;
			*ret_any = true;
		}
		err = rc == -NE_INTR ? rc : err;
	}
	return err;
}

int client_statfs(struct client *c, struct client_statfs *ret_statfs)
{
	struct client_space mdt;
	struct client_space sum = {0};
	bool any = false;
	int err = client_target_statfs(c, c->map.mdts[0], 0, &mdt);

	if (err == 0) {
		err = osts_statfs(c, &sum, &any);
	}
	if (err != 0) {
		return err;
	}
	if (!any) {
		space_add(&sum, &mdt);
	}
	*ret_statfs = (struct client_statfs){
		.bytes_total = sum.bytes_total,
		.bytes_free = sum.bytes_free,
		.bytes_avail = sum.bytes_avail,
		.files_total = mdt.files_total,
		.files_free = mdt.files_free,
		.block_size = 4096,
		.name_max = LIM_NAME_MAX,
	};
	return 0;
}
