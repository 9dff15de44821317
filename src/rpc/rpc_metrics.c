/*
 * What the monitor is told of servers, services and clients (base/metric.h). Copies only; never yields.
 */
#include "base/metric.h"
#include "rpc/rpc_client_int.h"
#include "rpc/rpc_server_int.h"

void rpc_server_metrics(const struct rpc_server *server, struct metric_batch *batch)
{
	struct rpc_server_stats st;

	rpc_server_stats(server, &st);
	metric_add(
		batch, METRIC_ID_conns, st.conns - st.unauthenticated, "authenticated", NULL, NULL);
	metric_add(batch, METRIC_ID_conns, st.unauthenticated, "unauthenticated", NULL, NULL);
	metric_add(batch, METRIC_ID_conns_accepted, st.accepted, NULL, NULL, NULL);
	metric_add(batch, METRIC_ID_conns_rejected, st.refused, "limit", NULL, NULL);
	metric_add(batch, METRIC_ID_conns_rejected, st.auth_failed, "authentication", NULL, NULL);
	metric_add(batch, METRIC_ID_conns_rejected, st.cut, "malformed", NULL, NULL);
	metric_add(batch, METRIC_ID_requests_running, st.running, NULL, NULL, NULL);
	metric_add(batch, METRIC_ID_requests_queued, st.queued, NULL, NULL, NULL);
	metric_add(batch, METRIC_ID_requests_refused, st.retries, "no_room", NULL, NULL);
	metric_add(batch, METRIC_ID_requests_refused, st.duplicates, "duplicate", NULL, NULL);
	metric_add(batch, METRIC_ID_requests_refused, st.dropped_old, "old_connection", NULL, NULL);
	metric_add(batch, METRIC_ID_rpc_message, st.message_bytes, NULL, NULL, NULL);
	metric_add(batch, METRIC_ID_rpc_bulk, st.bulk_bytes, NULL, NULL, NULL);
	metric_add(batch, METRIC_ID_rpc_slot, st.slot_bytes, NULL, NULL, NULL);
}

/* Slots granted, and those whose request runs. */
static void slots_count(
	const struct rpc_service *service, uint64_t *ret_granted, uint64_t *ret_busy)
{
	LIST_FOREACH (it, &service->all) {
		const struct rpc_export *exp = list_entry(it, struct rpc_export, all);

		if (exp->state != EXPORT_OPEN) {
			continue;
		}
		*ret_granted += exp->slots;
		LIST_FOREACH (r, &exp->requests) {
			*ret_busy += list_entry(r, struct rpc_req, exp_link)->slot != NULL;
		}
	}
}

void rpc_service_metrics(const struct rpc_service *service, struct metric_batch *batch)
{
	const char *target = service->target;
	const struct rpc_op_stats *s;
	uint64_t granted = 0;
	uint64_t busy = 0;
	unsigned pos = 0;

	while ((s = rpc_stats_next(service->stats, &pos)) != NULL) {
		const char *op = wire_op_name(s->op);

		metric_add_hist(batch, METRIC_ID_request_duration, &s->latency, target, op);
		metric_add(batch, METRIC_ID_request_errors, s->errors, target, op, NULL);
		metric_add(batch, METRIC_ID_request_bytes, s->bulk_bytes, target, op, NULL);
	}
	slots_count(service, &granted, &busy);
	metric_add(batch, METRIC_ID_sessions, service->exports.count, target, NULL, NULL);
	metric_add(batch, METRIC_ID_slots, granted, target, "granted", NULL);
	metric_add(batch, METRIC_ID_slots, busy, target, "busy", NULL);
}

void rpc_client_metrics(const struct rpc_client *client, struct metric_batch *batch)
{
	const struct rpc_op_stats *s;
	unsigned pos = 0;

	while ((s = rpc_stats_next(client->stats, &pos)) != NULL) {
		const char *op = wire_op_name(s->op);

		metric_add_hist(batch, METRIC_ID_call_duration, &s->latency, op, NULL);
		metric_add(batch, METRIC_ID_call_errors, s->errors, op, NULL, NULL);
		metric_add(batch, METRIC_ID_call_bytes, s->bulk_bytes, op, NULL, NULL);
	}
	metric_add(batch, METRIC_ID_call_conns_cut, rpc_client_conns_cut(client), NULL, NULL, NULL);
}
