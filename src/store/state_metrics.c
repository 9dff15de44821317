/*
 * What the monitor is told of a state store and its log (base/metric.h). Copies only; never yields.
 */
#include "store/state_int.h"

#include "base/metric.h"

static void log_metrics(const struct state *st, const char *target, struct metric_batch *batch)
{
	struct wal_stats wal;

	wal_stats_get(st->wal, &wal);
	metric_add(batch, METRIC_ID_log_appends, wal.appends, target, NULL, NULL);
	metric_add(batch, METRIC_ID_log_bytes, wal.bytes, target, NULL, NULL);
	metric_add(batch, METRIC_ID_log_writes, wal.writes, target, NULL, NULL);
	metric_add_hist(batch, METRIC_ID_log_sync, &wal.sync, target, NULL);
	metric_add(batch, METRIC_ID_log_segments, wal.segments, target, NULL, NULL);
	metric_add(batch, METRIC_ID_last_committed, wal_durable_lsn(st->wal), target, NULL, NULL);
	metric_add(batch, METRIC_ID_commit_lag, wal_last_lsn(st->wal) - wal_durable_lsn(st->wal),
		target, NULL, NULL);
}

void state_metrics(const struct state *state, const char *target, struct metric_batch *batch)
{
	struct state_stats st;

	state_stats_get(state, &st);
	log_metrics(state, target, batch);
	metric_add(batch, METRIC_ID_checkpoints, st.checkpoints, target, NULL, NULL);
	metric_add(batch, METRIC_ID_checkpoint_time, st.checkpoint_ns_total, target, NULL, NULL);
	metric_add(batch, METRIC_ID_table_bytes, st.table_bytes, target, NULL, NULL);
	metric_add(batch, METRIC_ID_kv_bytes, st.kv_bytes, target, NULL, NULL);
	metric_add(batch, METRIC_ID_cache_bytes, st.cache_bytes, target, NULL, NULL);
	metric_add(batch, METRIC_ID_cache_lookups, st.cache_hits, target, "hit", NULL);
	metric_add(batch, METRIC_ID_cache_lookups, st.cache_misses, target, "miss", NULL);
	metric_add(batch, METRIC_ID_fetches, st.fetch_jobs, target, NULL, NULL);
	metric_add(batch, METRIC_ID_admit_waits, st.admit_waits, target, NULL, NULL);
	metric_add(batch, METRIC_ID_nospc, st.nospc, target, NULL, NULL);
}
