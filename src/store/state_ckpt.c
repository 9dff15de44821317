/*
 * Checkpoints: one fiber freezes the active table, brings it into the checkpoint store, trims the log,
 * lets the cache agree and drops the table.
 *
 * The order carries the proof:
 * 1. The log up to the table's last lsn is durable before its first batch is applied: so a half-applied
 *    table is always completed by replay, which starts at the checkpoint's lsn.
 * 2. Batches are sorted and atomic; the lsn moves with the last one only.
 * 3. The table stays in the chain until no fetch lives whose view may be older than the last batch, and
 *    until each of its keys was renewed in the cache.
 */
#include <stdio.h>

#include "base/log.h"
#include "store/lost.h"
#include "store/state_int.h"

void state_ckpt_request(struct state *st, uint64_t lsn)
{
	ASSERT(lsn <= wal_last_lsn(st->wal));
	if (lsn > st->ckpt_want) {
		st->ckpt_want = lsn;
	}
	env_wake_all(st->env, &st->ckpt_q);
}

/* The active table becomes the newest frozen one. */
static bool table_freeze(struct state *st)
{
	struct state_table *fresh;

	if (st->frozen_count == STATE_FROZEN_MAX || state_table_new(&fresh) != 0) {
		return false;
	}
	ASSERT(st->txn == NULL);
	st->active->last_lsn = wal_last_lsn(st->wal);
	list_push_back(&st->frozen, &st->active->link);
	st->frozen_count++;
	st->active = fresh;
	st->freezes++;
	return true;
}

struct batch {
	struct kv_op *ops;
	uint32_t count;
};

/* Gathers the next ops from the cursor; the table is frozen, so yielding between is harmless. */
static void batch_gather(struct state *st, struct omap_cursor *cur, struct batch *b)
{
	struct omap_entry e;

	b->count = 0;
	while (b->count < st->batch_ops && omap_cursor_get(cur, &e)) {
		b->ops[b->count++] =
			(struct kv_op){.key = e.key, .val = e.val, .del = e.mark.flags != 0};
		(void)omap_cursor_next(cur);
		if (b->count % STATE_SLICE == 0) {
			env_yield(st->env);
		}
	}
}

/* No space: smaller batches first, then waiting until somebody makes room. */
static void batch_nospc(struct state *st)
{
	if (st->batch_ops > STATE_BATCH_OPS_MIN) {
		st->batch_ops /= 2;
		return;
	}
	if (!st->kv_nospc) {
		log_warn("store", "no space for a checkpoint, waiting dir=%s", st->dir);
	}
	st->kv_nospc = true;
	env_wake_all(st->env, &st->ckpt_done_q);
	(void)env_wait(
		st->env, &st->ckpt_q, env_now(st->env) + STATE_NOSPC_RETRY_NS, ENV_WAIT_PLAIN);
}

static void checkpoint_mark(struct state *st)
{
	_cleanup_(free_ptr) char *path = mem_alloc(LIM_PATH_MAX);

	if (path != NULL) {
		snprintf(path, LIM_PATH_MAX, "%s/kv", st->dir);
		lost_mark(st->env, path);
	}
}

/* Applies the table; false when the state is closing before it could. */
static bool table_apply(struct state *st, struct state_table *t, struct batch *b)
{
	struct omap_cursor cur;
	struct omap_entry e;
	bool last = false;

	(void)omap_first(&t->map, &cur);
	while (!last) {
		struct omap_cursor start = cur;
		int err;

		batch_gather(st, &cur, b);
		last = !omap_cursor_get(&cur, &e);
		err = kv_apply(st->kv, b->ops, b->count, last ? t->last_lsn : 0);
		if (err == -NE_NOSPC || err == -NE_DQUOT) {
			if (st->closing) {
				return false;
			}
			cur = start;
			last = false;
			batch_nospc(st);
		} else if (err != 0) {
			log_error("store", "checkpoint failed dir=%s error=%s", st->dir,
				ne_name(err));
			checkpoint_mark(st);
			env_die(st->env, "the checkpoint cannot be written");
		}
	}
	st->batch_ops = st->opts.batch_ops;
	return true;
}

/* Every key of the table gets its value in the cache, if it is there or there is room. */
static void table_to_cache(struct state *st, struct state_table *t)
{
	struct omap_cursor cur;
	struct omap_entry e;
	uint64_t n = 0;

	(void)omap_first(&t->map, &cur);
	for (; omap_cursor_get(&cur, &e); (void)omap_cursor_next(&cur)) {
		bool del = e.mark.flags != 0;

		state_cache_refresh(&st->cache, e.key, del ? span_of(NULL, 0) : e.val, del);
		if (++n % STATE_SLICE == 0) {
			env_yield(st->env);
		}
	}
}

static void table_free_job(void *arg)
{
	state_table_free(arg);
}

/* The oldest frozen table goes into the checkpoint and away. */
static void table_checkpoint(struct state *st, struct batch *b)
{
	struct state_table *t = list_entry(st->frozen.next, struct state_table, link);
	uint64_t began = env_now(st->env);

	wal_wait_durable(st->wal, t->last_lsn);
	if (!table_apply(st, t, b)) {
		return;
	}
	t->done_seq = ++st->kv_seq;
	wal_trim(st->wal, t->last_lsn);
	while (state_view_oldest(st) < t->done_seq) {
		(void)env_wait(st->env, &st->view_q, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
	table_to_cache(st, t);
	list_del(&t->link);
	st->frozen_count--;
	env_job(st->env, ENV_JOB_BULK, table_free_job, t);
	st->stats.checkpoints++;
	st->stats.checkpoint_ns_last = env_now(st->env) - began;
	st->stats.checkpoint_ns_total += st->stats.checkpoint_ns_last;
	state_space_update(st);
	env_wake_all(st->env, &st->ckpt_done_q);
}

void state_checkpointer(void *arg)
{
	struct state *st = arg;
	struct batch b = {.ops = mem_zalloc_array(st->opts.batch_ops, sizeof(*b.ops))};

	if (b.ops == NULL) {
		env_die(st->env, "no memory for checkpoints");
	}
	while (!st->closing) {
		if (!list_empty(&st->frozen)) {
			table_checkpoint(st, &b);
		} else if (!state_ckpt_due(st)) {
			(void)env_wait(st->env, &st->ckpt_q, ENV_FOREVER, ENV_WAIT_PLAIN);
		} else if (!table_freeze(st)) {
			/* No memory: nobody else would ask again for those who wait. */
			(void)env_wait(st->env, &st->ckpt_q,
				env_now(st->env) + STATE_NOSPC_RETRY_NS, ENV_WAIT_PLAIN);
		}
	}
	mem_free(b.ops);
	st->ckpt_running = false;
	env_wake_all(st->env, &st->ckpt_done_q);
}

int state_checkpoint(struct state *st)
{
	uint64_t lsn = wal_last_lsn(st->wal);

	while (kv_lsn(st->kv) < lsn || !list_empty(&st->frozen)) {
		if (st->closing) {
			return -NE_SHUTDOWN;
		}
		state_ckpt_request(st, lsn);
		(void)env_wait(st->env, &st->ckpt_done_q, ENV_FOREVER, ENV_WAIT_PLAIN);
		if (st->kv_nospc && kv_lsn(st->kv) < lsn) {
			return -NE_NOSPC;
		}
	}
	return 0;
}
