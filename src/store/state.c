/*
 * The state machine's life: open and recover, close, durability, figures. See state.h.
 */
#include <stdio.h>

#include "base/log.h"
#include "env/trace.h"
#include "store/state_int.h"

_Static_assert(STATE_LSN_SHIFT == WAL_LSN_SHIFT, "one lsn");
_Static_assert(
	(int)STATE_KV_LMDB == (int)KV_LMDB && (int)STATE_KV_MODEL == (int)KV_MODEL, "one kind");
_Static_assert((int)STATE_WAL_COMMIT == (int)WAL_COMMIT, "one type");
_Static_assert((int)STATE_WAL_INCARNATION == (int)WAL_INCARNATION, "one type");
_Static_assert((int)STATE_WAL_CLEAN == (int)WAL_CLEAN, "one type");

#define STATE_TABLE_BYTES (64 * MIB)
#define STATE_CACHE_BYTES (32 * MIB)
#define STATE_WAL_SEGMENTS 4

static void state_free(struct state *st)
{
	struct list *l;

	ASSERT(st->txn == NULL && list_empty(&st->fetches));
	while ((l = list_pop_front(&st->frozen)) != NULL) {
		state_table_free(list_entry(l, struct state_table, link));
	}
	state_table_free(st->active);
	state_cache_fini(&st->cache);
	state_writes_fini(&st->writes);
	env_file_close(st->lock);
	mem_free(st->dir);
	mem_free(st);
}

/* A log of a few segments must leave most of a small capacity to what it is the log of. */
static uint64_t segment_default(uint64_t capacity_bytes)
{
	uint64_t share = capacity_bytes / 32 / MIB * MIB;

	if (capacity_bytes == 0) {
		return LIM_WAL_SEGMENT_BYTES;
	}
	return u64_min(LIM_WAL_SEGMENT_BYTES, u64_max(share, 4 * (uint64_t)LIM_WAL_RECORD_MAX));
}

static void state_defaults(struct state_opts *o)
{
	o->wal_segment_bytes = o->wal_segment_bytes != 0 ? o->wal_segment_bytes
							 : segment_default(o->capacity_bytes);
	o->wal_segments = o->wal_segments != 0 ? o->wal_segments : STATE_WAL_SEGMENTS;
	o->table_bytes = o->table_bytes != 0 ? o->table_bytes : STATE_TABLE_BYTES;
	o->cache_bytes = o->cache_bytes != 0 ? o->cache_bytes : STATE_CACHE_BYTES;
	o->batch_ops = o->batch_ops != 0 ? o->batch_ops : STATE_BATCH_OPS;
	o->kv_map_bytes = o->kv_map_bytes != 0 ? o->kv_map_bytes : LIM_LMDB_MAP_BYTES;
}

static struct state *state_new(struct env *env, const struct state_opts *opts)
{
	struct state *st = mem_zalloc(sizeof(*st));
	size_t len = strlen(opts->dir) + 1;

	if (st == NULL) {
		return NULL;
	}
	st->env = env;
	st->opts = *opts;
	state_defaults(&st->opts);
	st->batch_ops = st->opts.batch_ops;
	list_init(&st->frozen);
	list_init(&st->fetches);
	env_waitq_init(&st->fetch_job_q);
	env_waitq_init(&st->view_q);
	env_waitq_init(&st->ckpt_q);
	env_waitq_init(&st->ckpt_done_q);
	env_mutex_init(&st->space_mutex);
	state_cache_init(&st->cache, env, st->opts.cache_bytes);
	st->dir = mem_alloc(len);
	if (st->dir == NULL || state_table_new(&st->active) != 0) {
		state_free(st);
		return NULL;
	}
	memcpy(st->dir, opts->dir, len);
	return st;
}

static int subdir_make(struct state *st, const char *name)
{
	_cleanup_(free_ptr) char *path = mem_alloc(LIM_PATH_MAX);
	int err;

	if (path == NULL) {
		return -NE_NOMEM;
	}
	snprintf(path, LIM_PATH_MAX, "%s/%s", st->dir, name);
	err = env_mkdir(st->env, path);
	return err == -NE_EXIST ? 0 : err;
}

/* Takes the store for this process; makes its directories. */
static int state_take(struct state *st)
{
	_cleanup_(free_ptr) char *path = mem_alloc(LIM_PATH_MAX);
	int err;

	if (path == NULL) {
		return -NE_NOMEM;
	}
	if (strlen(st->dir) + 8 > LIM_PATH_MAX) {
		return -NE_NAMETOOLONG;
	}
	snprintf(path, LIM_PATH_MAX, "%s/lock", st->dir);
	err = env_file_open(st->env, path,
		ENV_OPEN_READ | ENV_OPEN_WRITE | (st->opts.create ? ENV_OPEN_CREATE : 0),
		&st->lock);
	if (err == -NE_NOENT) {
		return -NE_NOTFORMATTED;
	}
	if (err == 0) {
		err = env_file_lock(st->lock);
	}
	if (err == 0 && st->opts.create) {
		err = subdir_make(st, "wal");
		err = err != 0 ? err : subdir_make(st, "kv");
		err = err != 0 ? err : env_fsync_dir(st->env, st->dir);
	}
	return err;
}

static int state_kv_open(struct state *st)
{
	_cleanup_(free_ptr) char *path = mem_alloc(LIM_PATH_MAX);
	struct kv_opts opts = {.kind = (enum kv_kind)st->opts.kv_kind,
		.dir = path,
		.map_bytes = st->opts.kv_map_bytes,
		.create = st->opts.create};

	if (path == NULL) {
		return -NE_NOMEM;
	}
	snprintf(path, LIM_PATH_MAX, "%s/kv", st->dir);
	return kv_open(st->env, &opts, &st->kv);
}

struct replay_op {
	struct state *st;
	struct state_tag tag;
};

static int replay_op(void *ctx, const struct state_op *op)
{
	struct replay_op *r = ctx;

	return state_table_apply(r->st->active, op, r->tag);
}

static int replay_record(void *ctx, const struct wal_rec *rec)
{
	struct replay_op r = {.st = ctx, .tag = {.lsn = rec->lsn}};

	if (rec->type != WAL_COMMIT) {
		return 0;
	}
	if (rec->len < STATE_COMMIT_HEADER) {
		return -NE_CORRUPT;
	}
	/* The session comes first in the payload; every op needs it. */
	r.tag.session = le64_load(rec->payload);
	return state_commit_decode(rec->payload, rec->len, &r.tag.session, replay_op, &r);
}

static int state_wal_open(struct state *st)
{
	_cleanup_(free_ptr) char *path = mem_alloc(LIM_PATH_MAX);
	struct wal_opts opts = {.dir = path,
		.segment_bytes = st->opts.wal_segment_bytes,
		.incarnation_min = st->opts.incarnation_min,
		.from_lsn = kv_lsn(st->kv),
		.create = st->opts.create,
		.replay = replay_record,
		.ctx = st};

	if (path == NULL) {
		return -NE_NOMEM;
	}
	snprintf(path, LIM_PATH_MAX, "%s/wal", st->dir);
	return wal_open(st->env, &opts, &st->wal);
}

static int state_recover(struct state *st)
{
	int err = state_take(st);

	if (err == 0) {
		err = state_kv_open(st);
	}
	if (err == 0) {
		err = state_wal_open(st);
	}
	if (err == 0) {
		err = state_writes_init(&st->writes, wal_payload_max(st->wal));
	}
	if (err == 0) {
		state_space_update(st);
		err = env_spawn(st->env, "checkpointer", state_checkpointer, st);
		st->ckpt_running = err == 0;
	}
	return err;
}

int state_open(struct env *env, const struct state_opts *opts, struct state **ret_state)
{
	struct state *st;
	int err;

	ASSERT(opts->dir != NULL && opts->dir[0] == '/');
	ASSERT(opts->incarnation_min < UINT64_C(1) << (64 - STATE_LSN_SHIFT));
	st = state_new(env, opts);
	if (st == NULL) {
		return -NE_NOMEM;
	}
	err = state_recover(st);
	if (err != 0) {
		state_close(st);
		return err;
	}
	*ret_state = st;
	return 0;
}

void state_close(struct state *st)
{
	if (st == NULL) {
		return;
	}
	ASSERT(st->txn == NULL);
	st->closing = true;
	env_wake_all(st->env, &st->ckpt_q);
	while (st->ckpt_running) {
		(void)env_wait(st->env, &st->ckpt_done_q, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
	wal_close(st->wal);
	kv_close(st->kv);
	state_free(st);
}

void state_wait_written(struct state *st, uint64_t lsn)
{
	enum trace_wait before = trace_wait_set(st->env, TRACE_LOG);

	wal_wait_written(st->wal, lsn);
	(void)trace_wait_set(st->env, before);
}

void state_wait_durable(struct state *st, uint64_t lsn)
{
	enum trace_wait before = trace_wait_set(st->env, TRACE_LOG);

	wal_wait_durable(st->wal, lsn);
	(void)trace_wait_set(st->env, before);
}

uint64_t state_committed_lsn(const struct state *st)
{
	return wal_durable_lsn(st->wal);
}

uint64_t state_memory_loss(const struct state *st)
{
	return wal_memory_loss(st->wal);
}

uint64_t state_last_lsn(const struct state *st)
{
	return wal_last_lsn(st->wal);
}

uint64_t state_incarnation(const struct state *st)
{
	return wal_incarnation(st->wal);
}

uint64_t state_freezes(const struct state *st)
{
	return st->freezes;
}

void state_stats_get(const struct state *st, struct state_stats *ret_stats)
{
	struct wal_stats ws;

	wal_stats_get(st->wal, &ws);
	*ret_stats = st->stats;
	ret_stats->wal_bytes = ws.bytes;
	ret_stats->wal_writes = ws.writes;
	ret_stats->wal_fsyncs = ws.fsyncs;
	ret_stats->wal_segments = ws.segments;
	ret_stats->replayed = ws.replayed;
	ret_stats->table_records = st->active->map.count;
	ret_stats->table_bytes = state_tables_bytes(st);
	ret_stats->frozen_tables = st->frozen_count;
	LIST_FOREACH (it, &st->frozen) {
		ret_stats->table_records += list_entry(it, struct state_table, link)->map.count;
	}
	ret_stats->cache_bytes = st->cache.bytes;
	ret_stats->cache_hits = st->cache.hits;
	ret_stats->cache_misses = st->cache.misses;
	ret_stats->kv_records = st->kv_stat.records;
	ret_stats->kv_bytes = st->kv_stat.bytes;
	ret_stats->kv_bytes_max = st->kv_stat.bytes_max;
	ret_stats->capacity_used = ws.disk_bytes + st->kv_stat.bytes;
	ret_stats->nospc = st->kv_nospc || ws.nospc;
}
