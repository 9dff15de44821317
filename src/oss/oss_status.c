/*
 * TARGET_STATUS: what `nacre status` shows of an OST. Sessions are listed to hosts, servers and administrators; a
 * user session sees figures only.
 */
#include "oss/oss_int.h"

#define COUNTERS 8

static uint32_t clients_fill(struct oss *oss, struct w_client_info *items, uint32_t cap)
{
	struct rpc_export *exp = NULL;
	uint32_t n = 0;

	while (n < cap && (exp = rpc_service_export_next(oss->service, exp)) != NULL) {
		const struct rpc_identity *id = rpc_export_identity(exp);

		items[n++] = (struct w_client_info){
			.client = id->client,
			.session = rpc_export_session(exp),
			.role = (enum w_peer_role)id->role,
			.hostname = wire_str_of(id->hostname),
			.pid = id->pid,
			.addr = wire_str_of(id->addr),
			.idle_ms = rpc_export_idle_ns(exp) / NS_PER_MS,
			.incarnation = id->incarnation,
		};
	}
	return n;
}

static void counters_fill(const struct oss_status *st, struct w_counter *c)
{
	c[0] = (struct w_counter){.name = wire_str_of("reads"), .value = st->reads};
	c[1] = (struct w_counter){.name = wire_str_of("writes"), .value = st->writes};
	c[2] = (struct w_counter){.name = wire_str_of("bytes_read"), .value = st->bytes_read};
	c[3] = (struct w_counter){.name = wire_str_of("bytes_written"), .value = st->bytes_written};
	c[4] = (struct w_counter){.name = wire_str_of("commits"), .value = st->commits};
	c[5] = (struct w_counter){.name = wire_str_of("destroys"), .value = st->destroys};
	c[6] = (struct w_counter){.name = wire_str_of("objects_open"), .value = st->objects_open};
	c[7] = (struct w_counter){.name = wire_str_of("reads_ahead"), .value = st->reads_ahead};
}

int oss_target_status(struct oss *oss, struct rpc_request *req)
{
	/* A reply is bounded: more clients than this are counted, not listed. */
	enum {
		CLIENTS_MAX = 256
	};
	const struct w_target_status_req *in = req->body;
	struct w_target_status_rep out = {0};
	struct w_counter counters[COUNTERS];
	struct w_client_info *clients;
	struct oss_status st;
	int err = oss_status_get(oss, &st);

	if (err != 0) {
		return err;
	}
	clients = mem_zalloc_array(CLIENTS_MAX, sizeof(*clients));
	if (clients == NULL) {
		return -NE_NOMEM;
	}
	out.target.name = wire_str_of(oss->target);
	out.target.kind = W_TARGET_KIND_OST;
	out.target.epoch = oss->epoch;
	out.target.state = W_TARGET_STATE_UP;
	out.uptime_ms = st.uptime_ms;
	out.bytes_total = st.bytes_total;
	out.bytes_free = st.bytes_free;
	out.bytes_avail = st.bytes_avail;
	out.files_total = st.files_total;
	out.files_used = st.files_used;
	out.last_committed = state_committed_lsn(oss->state);
	if (in->clients && rpc_export_identity(req->exp)->role != RPC_ROLE_USER) {
		out.clients.count = clients_fill(oss, clients, CLIENTS_MAX);
		out.clients.items = clients;
	}
	if (in->counters) {
		counters_fill(&st, counters);
		out.counters.items = counters;
		out.counters.count = COUNTERS;
	}
	err = rpc_request_reply(req, &out);
	mem_free(clients);
	return err;
}
