/*
 * Room: when to checkpoint, when a change has to wait, when growth is refused.
 *
 * Memory and log are bounded: at table_bytes or wal_segments a checkpoint begins, at twice that changes
 * wait for it. Space: growth is refused while what is used, what the tables will add and the reserve do
 * not fit, so that deletes and checkpoints always do. The reserve is held on the disk (kv_reserve); log
 * segments are made ahead and recycled. A refused change first lets pending releases be checkpointed.
 */
#include "base/log.h"
#include "store/state_int.h"

bool state_ckpt_due(const struct state *st)
{
	struct wal_stats ws;

	if (st->active->map.size_bytes >= st->opts.table_bytes) {
		return true;
	}
	if (st->ckpt_want > kv_lsn(st->kv)) {
		return true;
	}
	wal_stats_get(st->wal, &ws);
	return ws.segments > st->opts.wal_segments && wal_last_lsn(st->wal) > kv_lsn(st->kv);
}

/* What the checkpoint store may grow to. */
static uint64_t space_max(const struct state *st)
{
	uint64_t cap = st->opts.capacity_bytes;
	uint64_t max = st->kv_stat.bytes_max;
	struct wal_stats ws;

	if (cap != 0) {
		wal_stats_get(st->wal, &ws);
		max = u64_min(max, cap > ws.disk_bytes ? cap - ws.disk_bytes : 0);
	}
	return max;
}

/* What must be free in the checkpoint store: what the tables will take (pages are half full at worst) and
 * a reserve for copies of pages. */
static uint64_t space_need(const struct state *st)
{
	return 2 * state_tables_bytes(st) + u64_min(STATE_KV_RESERVE, space_max(st) / 16);
}

void state_space_update(struct state *st)
{
	struct kv_stat stat;
	uint64_t need;
	int err;

	env_mutex_lock(st->env, &st->space_mutex);
	err = kv_stat(st->kv, &stat);
	if (err == 0) {
		st->kv_stat = stat;
		need = space_need(st) + u64_min(STATE_KV_STEP, space_max(st) / 16);
		/* Nothing is to be held where the log takes all of the capacity. */
		err = need == 0 ? -NE_NOSPC : kv_reserve(st->kv, need);
		if (err == -NE_NOSPC || err == -NE_DQUOT) {
			need = space_need(st);
			err = need == 0 ? -NE_NOSPC : kv_reserve(st->kv, need);
		}
		st->kv_reserved = err == 0 ? need : 0;
	}
	st->kv_nospc = err == -NE_NOSPC || err == -NE_DQUOT;
	if (err != 0 && !st->kv_nospc) {
		log_error(
			"store", "checkpoint space unknown dir=%s error=%s", st->dir, ne_name(err));
	}
	st->nospc_tried_ns = env_now(st->env);
	env_mutex_unlock(st->env, &st->space_mutex);
}

/* May a change that takes space be made? */
static bool space_fits(const struct state *st)
{
	struct wal_stats ws;

	wal_stats_get(st->wal, &ws);
	return !st->kv_nospc && !(ws.nospc && wal_segments_ahead(st->wal) == 0) &&
		space_need(st) <= st->kv_reserved &&
		st->kv_stat.bytes + space_need(st) <= space_max(st);
}

/* Full: let releases take effect, ask the disk again now and then. True: look once more. */
static bool space_wait(struct state *st)
{
	struct wal_stats ws;

	if (!st->kv_nospc && space_need(st) > st->kv_reserved) {
		state_space_update(st);
		return true;
	}
	if (kv_lsn(st->kv) < st->last_release) {
		state_ckpt_request(st, st->last_release);
		(void)env_wait(st->env, &st->ckpt_done_q, env_now(st->env) + STATE_NOSPC_RETRY_NS,
			ENV_WAIT_PLAIN);
		return !st->kv_nospc;
	}
	if (env_now(st->env) < st->nospc_tried_ns + STATE_NOSPC_RETRY_NS) {
		return false;
	}
	wal_stats_get(st->wal, &ws);
	if (ws.nospc) {
		wal_space_retry(st->wal);
		wal_wait_segment(st->wal, env_now(st->env) + STATE_NOSPC_RETRY_NS);
	}
	state_space_update(st);
	return true;
}

enum pressure {
	PRESSURE_NONE,
	PRESSURE_WRITER, /* too much appended and not written */
	PRESSURE_SEGMENT, /* no segment ready */
	PRESSURE_CHECKPOINT, /* tables or log too large */
};

static enum pressure pressure_find(const struct state *st, const struct wal_stats *ws)
{
	if (ws->pending_bytes > STATE_PENDING_MAX) {
		return PRESSURE_WRITER;
	}
	if (!wal_has_room(st->wal)) {
		return PRESSURE_SEGMENT;
	}
	if (state_tables_bytes(st) >= 2 * st->opts.table_bytes ||
		ws->segments >= 2 * (uint64_t)st->opts.wal_segments) {
		return PRESSURE_CHECKPOINT;
	}
	return PRESSURE_NONE;
}

/* Waits for one reason a change cannot go ahead now; false if there is none. */
static bool pressure_wait(struct state *st)
{
	struct wal_stats ws;
	enum pressure why;

	wal_stats_get(st->wal, &ws);
	why = pressure_find(st, &ws);
	if (why == PRESSURE_NONE) {
		return false;
	}
	st->stats.admit_waits++;
	if (why == PRESSURE_WRITER) {
		wal_wait_written(st->wal, wal_last_lsn(st->wal));
	} else if (why == PRESSURE_SEGMENT) {
		if (ws.nospc) {
			state_ckpt_request(st, wal_last_lsn(st->wal));
			wal_space_retry(st->wal);
		}
		wal_wait_segment(st->wal, env_now(st->env) + STATE_NOSPC_RETRY_NS);
	} else {
		env_wake_all(st->env, &st->ckpt_q);
		(void)env_wait(st->env, &st->ckpt_done_q, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
	return true;
}

bool state_admit_now(const struct state *st, enum state_kind kind)
{
	struct wal_stats ws;

	if (kind == STATE_READ) {
		return true;
	}
	wal_stats_get(st->wal, &ws);
	return !st->closing && (kind == STATE_RELEASE || space_fits(st)) &&
		pressure_find(st, &ws) == PRESSURE_NONE;
}

int state_admit(struct state *st, enum state_kind kind)
{
	if (kind == STATE_READ) {
		return 0;
	}
	for (;;) {
		if (st->closing) {
			return -NE_SHUTDOWN;
		}
		if (kind == STATE_CHANGE && !space_fits(st)) {
			if (!space_wait(st)) {
				return -NE_NOSPC;
			}
		} else if (!pressure_wait(st)) {
			return 0;
		}
	}
}
