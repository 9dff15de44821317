/*
 * The durable key-value state machine under an MDT, an OST's log and the MGS's store.
 *
 * What it is. An ordered map from keys (1..LIM_KV_KEY_MAX bytes) to values (0..LIM_KV_VALUE_MAX bytes),
 * changed by transactions. Three things hold it: a write-ahead log of effects (wal.h), ordered tables in
 * memory of what the log holds beyond the last checkpoint, and a checkpoint store (kv.h: LMDB, or a model
 * for the simulator). The reactor reads tables and a bounded cache only; what is in neither is fetched in
 * batches by helper threads (RULES A6).
 *
 * How to use it. A request is a function of a transaction, run by state_run():
 *
 *	static int mkdir_execute(struct state_txn *txn, void *ctx)
 *	{
 *		err = state_get(txn, key, klen, &val);		// never yields
 *		if (err == -NE_MISSING_KEY) { return err; }	// run again after the fetch
 *		...
 *		return state_put(txn, key, klen, data, len);
 *	}
 *	struct state_run_opts opts = {.kind = STATE_CHANGE, .session = s->id};
 *	err = state_run(st, mkdir_execute, &ctx, &opts, &lsn);	// yields
 *	err = state_wait_written(st, lsn);			// then the reply may leave
 *
 * Invariants.
 * - An execute function never yields, and may be run any number of times: it starts from its inputs each
 *   time and has no effect but through the transaction until it returns 0. Returning anything else than 0
 *   aborts. To fetch much at once, keep asking after -NE_MISSING_KEY and return it at the end.
 * - A transaction is one log record: all of it survives or none, in the order of commits. lsn grows;
 *   its high bits (lsn >> STATE_LSN_SHIFT) are the incarnation, which changes with each start.
 * - "Written" = a killed process loses nothing. "Durable" = a power failure loses nothing.
 * - All functions belong to the env's reactor. _yields_ ones need a fiber.
 */
#ifndef NACRE_STORE_STATE_H
#define NACRE_STORE_STATE_H

#include "base/base.h"
#include "base/limits.h"
#include "env/env.h"

#define STATE_LSN_SHIFT 40

struct state;
struct state_fetch;

enum state_kv_kind {
	STATE_KV_LMDB = 0,
	STATE_KV_MODEL = 1, /* for the simulator: an ordered map saved in env files */
};

/* Zero means the default given behind each. */
struct state_opts {
	const char *dir; /* absolute; must exist; files made in it: wal/, kv/ */
	enum state_kv_kind kv_kind;
	bool create; /* make it if it is not there, else -NE_NOTFORMATTED */
	uint64_t incarnation_min; /* the epoch the MGS gave; the incarnation is at least this */
	uint64_t wal_segment_bytes; /* LIM_WAL_SEGMENT_BYTES; fixed at creation per segment */
	uint32_t wal_segments; /* checkpoint when the log holds more: 4; the bound is twice */
	uint64_t table_bytes; /* checkpoint when the table is larger: 64 MiB; bound is twice */
	uint64_t cache_bytes; /* records and proven absences: 32 MiB */
	uint64_t kv_map_bytes; /* LIM_LMDB_MAP_BYTES */
	uint32_t batch_ops; /* operations in one checkpoint batch: 8192 */
	uint64_t capacity_bytes; /* of log + checkpoint: no growth beyond; 0: the disk's */
};

/* Opens and recovers: checkpoint, then the log after it. Errors name file and offset in the log.
 * -NE_NOTFORMATTED, -NE_CORRUPT, -NE_FOREIGN, -NE_TOONEW, -NE_LOCKED, -NE_IO, -NE_NOSPC. */
_yields_ _check_ int state_open(
	struct env *env, const struct state_opts *opts, struct state **ret_state);
/* Makes everything durable, stops the background fibers and frees. No transaction, wait or run may be
 * in progress. Accepts NULL. */
_yields_ void state_close(struct state *st);

/* ---- transactions ---- */

/* What a table knows about the last change of a key; zero when it is in the checkpoint (so durable). */
struct state_tag {
	uint64_t lsn;
	uint64_t session;
};

struct state_val {
	const void *data;
	uint32_t len; /* bytes */
	struct state_tag tag;
};

struct state_rec {
	const void *key;
	uint32_t key_len;
	struct state_val val;
};

enum state_kind {
	STATE_READ = 0, /* writes nothing (asserted) */
	STATE_CHANGE = 1, /* may need new space: refused with -NE_NOSPC when that is short */
	STATE_RELEASE = 2, /* frees space or must not fail: goes into the reserve */
};

/* In the caller's memory; fields are private. */
struct state_txn {
	struct state *st;
	enum state_kind kind;
	bool active;
	bool ranging;
	uint64_t session;
	/* what was asked for and not in memory */
	struct state_want *wants;
	uint32_t want_count;
	uint32_t want_cap;
	/* what was fetched for this transaction, each with the view it was read in */
	struct state_fetch **fetches;
	uint32_t fetch_count;
	uint32_t fetch_cap;
};

struct state_run_opts {
	enum state_kind kind;
	uint64_t session; /* who is changing: goes into the tag of every key put or deleted */
};

typedef int state_exec_fn(struct state_txn *txn, void *ctx);

/* Admission, execute, fetch and again, commit. Returns what fn returned (0 or negative) or the
 * machinery's error. *ret_lsn (may be NULL) is the commit's lsn, 0 if nothing was written. */
_yields_ _check_ int state_run(struct state *st, state_exec_fn *fn, void *ctx,
	const struct state_run_opts *opts, uint64_t *ret_lsn);

/* 0: *ret_val is a view valid until the transaction ends. -NE_NOENT: proven absent.
 * -NE_MISSING_KEY: not in memory, noted in the transaction. -NE_CORRUPT/-NE_IO: the store is damaged there. */
_check_ int state_get(
	struct state_txn *txn, const void *key, uint32_t key_len, struct state_val *ret_val);
/* As state_get, for a key nobody can have put before state_freezes() reached its present value (it names something
 * made since): what the tables do not know is absent, without a fetch. */
_check_ int state_get_new(
	struct state_txn *txn, const void *key, uint32_t key_len, struct state_val *ret_val);
/* How often a table was closed for a checkpoint since the start. */
uint64_t state_freezes(const struct state *st);
/* Who changed the key last, present or deleted; zero if it was not changed since the checkpoint.
 * Needs no fetch. The transaction's own writes do not count. */
void state_get_tag(
	struct state_txn *txn, const void *key, uint32_t key_len, struct state_tag *ret_tag);
/* -NE_TOOBIG when the transaction's record would pass LIM_WAL_RECORD_MAX. */
_check_ int state_put(struct state_txn *txn, const void *key, uint32_t key_len, const void *val,
	uint32_t val_len);
/* Deleting what is not there is allowed. */
_check_ int state_del(struct state_txn *txn, const void *key, uint32_t key_len);

struct state_range {
	const void *from; /* inclusive; from_len >= 1 */
	uint32_t from_len;
	const void *to; /* exclusive; to_len 0: to the end */
	uint32_t to_len;
	uint32_t max; /* records delivered at most; > 0 */
	bool all_new; /* every key in it is one for state_get_new */
};

/* Called in key order; may state_get but not put or delete. 0: go on; > 0: stop, the range is 0;
 * < 0: stop with that. The record's pointers are valid until the transaction ends. */
typedef int state_range_fn(void *ctx, const struct state_rec *rec);
/* Merges the transaction's writes, the tables and what was fetched. -NE_MISSING_KEY (possibly after
 * some records were delivered) when a part is not in memory: noted. */
_check_ int state_range(
	struct state_txn *txn, const struct state_range *range, state_range_fn *fn, void *ctx);

/* ---- the pieces of state_run, for who needs them apart ---- */

/* init .. (begin .. abort, prefetch)* .. begin .. commit or abort .. fini */
void state_txn_init(struct state *st, const struct state_run_opts *opts, struct state_txn *txn);
void state_txn_begin(struct state_txn *txn);
/* Appends one log record and applies it to the table; does not yield. */
void state_txn_commit(struct state_txn *txn, uint64_t *ret_lsn);
void state_txn_abort(struct state_txn *txn);
/* Fetches what was missing; call between abort and the next begin. */
_yields_ _check_ int state_prefetch(struct state_txn *txn);
void state_txn_fini(struct state_txn *txn);
/* Waits until log and tables have room. -NE_NOSPC for STATE_CHANGE when the disk is full. Not while a
 * transaction holds what it fetched: checkpoints wait for that. */
_yields_ _check_ int state_admit(struct state *st, enum state_kind kind);
/* It need not wait. */
bool state_admit_now(const struct state *st, enum state_kind kind);
/* Gives back what the transaction fetched; what it still needs is fetched again. Before any wait that may be for a
 * checkpoint or for another host. */
void state_fetches_drop(struct state_txn *txn);

/* ---- durability ---- */

/* Returns when all log writes up to lsn are in the kernel: from then on the reply may leave (RULES A2). */
_yields_ void state_wait_written(struct state *st, uint64_t lsn);
/* Returns when lsn survives a power failure. */
_yields_ void state_wait_durable(struct state *st, uint64_t lsn);
/* Everything up to this lsn is durable: last_committed of every reply. */
uint64_t state_committed_lsn(const struct state *st);
/* The last commit's lsn (0 before the first of a new store). */
/* Names the last failure in this boot of the host to write the log: what was answered and not durable then may be gone.
 * 0: none. */
uint64_t state_memory_loss(const struct state *st);
uint64_t state_last_lsn(const struct state *st);
/* Of this start; greater than that of every earlier one. */
uint64_t state_incarnation(const struct state *st);

/* Brings everything committed so far into the checkpoint store and trims the log. */
_yields_ _check_ int state_checkpoint(struct state *st);

struct state_stats {
	uint64_t commits;
	uint64_t wal_bytes; /* appended since the start */
	uint64_t wal_writes; /* pwrite calls */
	uint64_t wal_fsyncs;
	uint64_t wal_segments; /* holding records now */
	uint64_t table_records;
	uint64_t table_bytes; /* active and frozen */
	uint64_t frozen_tables;
	uint64_t checkpoints;
	uint64_t checkpoint_ns_last;
	uint64_t checkpoint_ns_total;
	uint64_t cache_bytes;
	uint64_t cache_hits;
	uint64_t cache_misses;
	uint64_t fetch_jobs;
	uint64_t fetch_keys;
	uint64_t admit_waits;
	uint64_t kv_records;
	uint64_t kv_bytes; /* used in the checkpoint file */
	uint64_t kv_bytes_max; /* it cannot grow beyond this */
	uint64_t replayed; /* records replayed at open */
	uint64_t capacity_used; /* log + checkpoint, bytes */
	bool nospc; /* growth is being refused */
};

void state_stats_get(const struct state *st, struct state_stats *ret_stats);
struct metric_batch;
/* The same and the log's, for the monitor. */
void state_metrics(const struct state *st, const char *target, struct metric_batch *batch);

/* ---- reading a stopped (or running) store from outside, for `nacre inspect` ---- */

enum state_wal_type {
	STATE_WAL_INCARNATION = 1, /* a start; payload: the lsn before it */
	STATE_WAL_COMMIT = 2, /* one transaction */
	STATE_WAL_CLEAN = 3, /* an orderly stop */
};

struct state_wal_view {
	const char *file; /* segment's name within wal/ */
	uint64_t offset; /* bytes */
	uint64_t lsn;
	uint64_t durable; /* what was known durable when it was written */
	uint32_t crc;
	uint32_t len; /* payload bytes */
	enum state_wal_type type;
	const void *payload;
};

/* One effect of a STATE_WAL_COMMIT; op.del: no value. */
struct state_op {
	bool del;
	const void *key;
	uint32_t key_len;
	const void *val;
	uint32_t val_len;
};

/* Non-zero stops, negative is returned. */
typedef int state_wal_fn(void *ctx, const struct state_wal_view *rec);
typedef int state_op_fn(void *ctx, const struct state_op *op);
typedef int state_kv_fn(void *ctx, const struct state_rec *rec);

/* Records as they lie in `dir`/wal, those a later segment replaced included; stops quietly at a torn tail. */
_yields_ _check_ int state_wal_inspect(
	struct env *env, const char *dir, state_wal_fn *fn, void *ctx);
/* Takes a commit's payload apart; *ret_session is its tag's. -NE_CORRUPT. */
_check_ int state_commit_decode(
	const void *payload, uint32_t len, uint64_t *ret_session, state_op_fn *fn, void *ctx);
/* Records of `dir`/kv in key order, and the lsn it stands at. */
_yields_ _check_ int state_kv_inspect(struct env *env, const char *dir, enum state_kv_kind kind,
	state_kv_fn *fn, void *ctx, uint64_t *ret_lsn);

#endif
