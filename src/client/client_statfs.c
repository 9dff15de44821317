/*
 * Space: inodes of the MDT, bytes of the OSTs. OSTs that share a disk are counted once (RULES B8).
 *
 * A target that does not answer within CLIENT_STATUS_NS is left out, so df works while an OST is down.
 */
#include "client/client_int.h"

/* One target's question, so that many are on their way at a time. */
struct ask {
	struct client_target *t;
	struct rpc_session *session;
	uint64_t start_ns;
	int err; /* it could not be asked */
	bool waited;
	union {
		struct w_mds_statfs_rep mdt;
		struct w_ost_statfs_rep ost;
		struct w_mgs_map_rep mgt;
	} rep;
	struct rpc_call call;
};

/* The requests are read while they are sent only. */
static void ask_start(
	struct client *c, struct client_target *t, uint64_t deadline_ns, struct ask *a)
{
	struct w_mgs_map_req mgt_req = {
		.fsname = wire_str_of(c->fsname), .have_version = c->map.version};
	struct w_mds_statfs_req mdt_req = {.fid = {0}};
	struct w_ost_statfs_req ost_req = {.mdt_realtime = 0};

	a->t = t;
	a->start_ns = env_now(c->env);
	a->session = c->mgs;
	a->call = (struct rpc_call){.reply = &a->rep, .deadline_ns = deadline_ns};
	switch (t->kind) {
	case W_TARGET_KIND_MGT:
		a->call.op = W_OP_MGS_MAP;
		a->call.request = &mgt_req;
		break;
	case W_TARGET_KIND_MDT:
		a->call.op = W_OP_MDS_STATFS;
		a->call.request = &mdt_req;
		break;
	case W_TARGET_KIND_OST:
		a->call.op = W_OP_OST_STATFS;
		a->call.request = &ost_req;
		break;
	}
	if (t->kind != W_TARGET_KIND_MGT) {
		a->err = client_session_make(c, t);
		a->session = t->session;
	}
	if (a->err == 0) {
		c->counters.rpcs++;
		rpc_call_start(a->session, &a->call);
	}
}

static void mdt_space(const struct ask *a, struct client_space *ret_space)
{
	const struct w_mds_statfs_rep *rep = &a->rep.mdt;

	*ret_space = (struct client_space){
		.bytes_total = rep->bytes_total,
		.bytes_free = rep->bytes_free,
		.bytes_avail = rep->bytes_avail,
		.files_total = rep->files_total,
		.files_used = rep->files_used,
		.files_free = rep->files_total - u64_min(rep->files_used, rep->files_total),
		.state = a->t->state,
	};
}

static void ost_space(const struct ask *a, struct client_space *ret_space)
{
	const struct w_ost_statfs_rep *rep = &a->rep.ost;

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
}

static void ask_finish(struct client *c, struct ask *a, struct client_probe *probe)
{
	a->waited = true;
	probe->err = a->err == 0 ? rpc_call_wait(&a->call) : a->err;
	probe->latency_ns = env_now(c->env) - a->start_ns;
	if (probe->err == 0 && a->t->kind == W_TARGET_KIND_MDT) {
		mdt_space(a, &probe->space);
	} else if (probe->err == 0 && a->t->kind == W_TARGET_KIND_OST) {
		ost_space(a, &probe->space);
	}
	rpc_call_fini(&a->call);
}

/* Those that are connected first: what they took is not covered by the time the others take. */
static void asks_finish(
	struct client *c, struct ask *asks, struct client_probe *probes, uint32_t count, bool all)
{
	for (uint32_t i = 0; i < count; i++) {
		struct ask *a = &asks[i];

		if (!a->waited &&
			(all || (a->err == 0 && rpc_session_addr(a->session)[0] != '\0'))) {
			ask_finish(c, a, &probes[i]);
		}
	}
}

int client_probe(
	struct client *c, struct client_probe *probes, uint32_t count, uint64_t deadline_ns)
{
	_cleanup_(free_ptr) struct ask *asks = mem_zalloc_array((size_t)count + 1, sizeof(*asks));
	int err = 0;

	if (asks == NULL) {
		return -NE_NOMEM;
	}
	for (uint32_t i = 0; i < count; i++) {
		ask_start(c, probes[i].target, deadline_ns, &asks[i]);
	}
	asks_finish(c, asks, probes, count, false);
	asks_finish(c, asks, probes, count, true);
	for (uint32_t i = 0; i < count; i++) {
		err = probes[i].err == -NE_INTR ? -NE_INTR : err;
	}
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

/* Other OSTs' failures leave them out. */
static int osts_statfs(struct client *c, struct client_space *sum, bool *ret_any)
{
	uint32_t count = c->map.ost_count;
	_cleanup_(free_ptr) struct client_probe *probes =
		mem_zalloc_array((size_t)count + 1, sizeof(*probes));
	_cleanup_(free_ptr) uint64_t *fsids = mem_zalloc_array((size_t)count + 1, sizeof(*fsids));
	uint32_t asked = 0;
	int err;

	if (probes == NULL || fsids == NULL) {
		return -NE_NOMEM;
	}
	for (uint32_t i = 0; i < count; i++) {
		if (c->map.osts[i] != NULL) {
			probes[asked++].target = c->map.osts[i];
		}
	}
	err = client_probe(c, probes, asked, env_now(c->env) + CLIENT_STATUS_NS);
	for (uint32_t i = 0; i < asked && err == 0; i++) {
		const struct client_space *one = &probes[i].space;

		if (probes[i].err == 0 && !fsid_counted(fsids, i, one->backing_fsid)) {
			space_add(sum, one);
			fsids[i] = one->backing_fsid;
			*ret_any = true;
		}
	}
	return err;
}

int client_statfs(struct client *c, struct client_statfs *ret_statfs)
{
	struct client_probe mdt = {.target = c->map.mdts[0]};
	struct client_space sum = {0};
	bool any = false;
	int err = client_probe(c, &mdt, 1, client_deadline(c));

	if (err == 0) {
		err = mdt.err;
	}
	if (err == 0) {
		err = osts_statfs(c, &sum, &any);
	}
	if (err != 0) {
		return err;
	}
	if (!any) {
		space_add(&sum, &mdt.space);
	}
	*ret_statfs = (struct client_statfs){
		.bytes_total = sum.bytes_total,
		.bytes_free = sum.bytes_free,
		.bytes_avail = sum.bytes_avail,
		.files_total = mdt.space.files_total,
		.files_free = mdt.space.files_free,
		.block_size = 4096,
		.name_max = LIM_NAME_MAX,
	};
	return 0;
}
