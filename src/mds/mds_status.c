/*
 * TARGET_STATUS: what `nacre status` and the metrics show of an MDT.
 *
 * Sessions are listed to hosts, servers and administrators; a user session sees figures only.
 */
#include <stdio.h>

#include "mds/mds_int.h"
#include "rpc/rpc.h"

/* A reply is bounded: more clients than this are counted, not listed. */
#define CLIENTS_MAX 256
#define FACTS 12
#define COUNTERS_MAX (FACTS + MDS_OPS_MAX)

static uint32_t clients_fill(struct mds *mds, struct w_client_info *items)
{
	uint64_t now = env_now(mds->env);
	uint32_t n = 0;

	HMAP_FOREACH (it, &mds->sessions) {
		const struct mds_session *s = container_of(it, struct mds_session, node);

		if (n == CLIENTS_MAX) {
			break;
		}
		items[n++] = (struct w_client_info){
			.client = s->client,
			.session = s->id,
			.role = s->role,
			.hostname = wire_str_of(s->hostname),
			.pid = s->pid,
			.addr = wire_str_of(s->addr),
			.opens = s->open_count,
			.idle_ms = (now - u64_min(now, s->seen_ns)) / NS_PER_MS,
			.incarnation = s->incarnation,
		};
	}
	return n;
}

static uint32_t counters_fill(struct mds *mds, struct w_counter *items)
{
	struct state_stats st;
	uint32_t n = FACTS;

	state_stats_get(mds->st, &st);
	items[0] = (struct w_counter){wire_str_of("requests"), mds->requests};
	items[1] = (struct w_counter){wire_str_of("sessions"), mds->sessions.count};
	items[2] = (struct w_counter){wire_str_of("inodes"), mds->inodes};
	items[3] = (struct w_counter){wire_str_of("commits"), st.commits};
	items[4] = (struct w_counter){wire_str_of("log_bytes"), st.wal_bytes};
	items[5] = (struct w_counter){wire_str_of("log_writes"), st.wal_writes};
	items[6] = (struct w_counter){wire_str_of("log_syncs"), st.wal_fsyncs};
	items[7] = (struct w_counter){wire_str_of("checkpoints"), st.checkpoints};
	items[8] = (struct w_counter){wire_str_of("cache_hits"), st.cache_hits};
	items[9] = (struct w_counter){wire_str_of("cache_misses"), st.cache_misses};
	items[10] = (struct w_counter){wire_str_of("fetch_jobs"), st.fetch_jobs};
	items[11] = (struct w_counter){wire_str_of("admit_waits"), st.admit_waits};
	for (unsigned i = 0; i < MDS_OPS_MAX; i++) {
		if (mds->op_counts[i] != 0) {
			items[n++] = (struct w_counter){
				wire_str_of(wire_op_name((uint16_t)(MDS_OP_BASE + i))),
				mds->op_counts[i]};
		}
	}
	return n;
}

static void target_fill(struct mds *mds, struct w_target_status_rep *out)
{
	struct mds_status st;

	mds_status_get(mds, &st);
	out->target.kind = W_TARGET_KIND_MDT;
	out->target.index = mds->opts.index;
	out->target.epoch = mds->opts.epoch;
	out->target.state = W_TARGET_STATE_UP;
	out->uptime_ms = st.uptime_ms;
	out->bytes_total = st.space.bytes_total;
	out->bytes_free = st.space.bytes_free;
	out->bytes_avail = st.space.bytes_avail;
	out->files_total = st.space.files_total;
	out->files_used = st.space.files_used;
	out->last_committed = st.last_committed;
}

int mds_target_status(struct mds *mds, struct rpc_request *req)
{
	const struct w_target_status_req *in = req->body;
	bool list = in->clients && rpc_export_identity(req->exp)->role != RPC_ROLE_USER;
	struct w_target_status_rep out = {0};
	_cleanup_(free_ptr) struct w_client_info *clients = NULL;
	_cleanup_(free_ptr) struct w_counter *counters = NULL;
	char name[LIM_TARGET_NAME_MAX + 1];

	ASSERT(req->op->op == W_OP_TARGET_STATUS);
	clients = mem_zalloc_array(CLIENTS_MAX, sizeof(*clients));
	counters = mem_zalloc_array(COUNTERS_MAX, sizeof(*counters));
	if (clients == NULL || counters == NULL) {
		return -NE_NOMEM;
	}
	snprintf(name, sizeof(name), "MDT%04x", mds->opts.index);
	out.target.name = wire_str_of(name);
	target_fill(mds, &out);
	if (list) {
		out.clients.items = clients;
		out.clients.count = clients_fill(mds, clients);
	}
	if (in->counters) {
		out.counters.items = counters;
		out.counters.count = counters_fill(mds, counters);
	}
	return rpc_request_reply(req, &out);
}
