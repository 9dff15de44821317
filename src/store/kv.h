/*
 * The checkpoint store: a durable ordered map that moves from one log position to the next in batches.
 *
 * Narrow on purpose (RULES F1): fetch (one view, many gets and ranges), apply (a sorted batch and the lsn,
 * atomically and synced), stat, reserve, walk. kv_lmdb.c is the real one; kv_model.c keeps a map in memory
 * and saves it in env files, for the simulator. One suite of tests runs against both.
 *
 * Invariants. A fetch sees one committed state: all of a batch or nothing of it. A batch is durable when
 * apply returns. A view lives only within one call of fetch, so never across a wait for anybody.
 * All functions belong to the env's reactor; at most one apply at a time, fetches as many as you like.
 */
#ifndef NACRE_STORE_KV_H
#define NACRE_STORE_KV_H

#include "base/base.h"
#include "base/bytes.h"
#include "env/env.h"

struct kv;

enum kv_kind {
	KV_LMDB = 0,
	KV_MODEL = 1,
};

struct kv_opts {
	enum kv_kind kind;
	const char *dir; /* absolute; must exist */
	uint64_t map_bytes; /* bound of the store's size */
	bool create;
	bool read_only; /* for inspection: changes nothing */
};

struct kv_rec {
	struct span key;
	struct span val;
};

struct kv_op {
	struct span key;
	struct span val;
	bool del;
};

/* Results point into the fetch's arena. */
struct kv_get {
	struct span key;
	struct span val;
	int err; /* 0, -NE_NOENT, -NE_CORRUPT */
};

struct kv_scan {
	struct span from; /* inclusive */
	struct span to; /* exclusive; len 0: the end */
	uint32_t max; /* records */
	uint32_t count;
	struct kv_rec *recs;
	bool end; /* nothing more before `to` */
	int err; /* 0, -NE_CORRUPT */
};

struct kv_block;

struct kv_fetch {
	struct kv_get *gets;
	uint32_t get_count;
	struct kv_scan *scans;
	uint32_t scan_count;
	struct kv_block *arena;
};

struct kv_stat {
	uint64_t records;
	uint64_t bytes; /* used */
	uint64_t bytes_free; /* allocated on disk and free to be used */
	uint64_t bytes_max;
};

/* -NE_NOTFORMATTED: not there and !create. -NE_CORRUPT, -NE_TOONEW, -NE_IO, -NE_NOSPC. */
_yields_ _check_ int kv_open(struct env *env, const struct kv_opts *opts, struct kv **ret_kv);
/* Nothing may be in progress. Accepts NULL. */
_yields_ void kv_close(struct kv *kv);
/* What the store stands at. */
uint64_t kv_lsn(const struct kv *kv);
/* Fills in the results. An error concerns all of it: -NE_IO, -NE_NOMEM. */
_yields_ _check_ int kv_fetch(struct kv *kv, struct kv_fetch *fetch);
void kv_fetch_fini(struct kv_fetch *fetch);
/* ops sorted by key, without repeats. lsn 0 leaves it. On error nothing is changed: -NE_NOSPC, -NE_IO... */
_yields_ _check_ int kv_apply(struct kv *kv, const struct kv_op *ops, uint32_t count, uint64_t lsn);
_yields_ _check_ int kv_stat(struct kv *kv, struct kv_stat *ret_stat);
/* Makes sure of so much free space on the disk for batches to come. -NE_NOSPC. */
_yields_ _check_ int kv_reserve(struct kv *kv, uint64_t bytes);
/* Every record in order. Non-zero from fn stops and is returned. */
typedef int kv_walk_fn(void *ctx, const struct kv_rec *rec);
_yields_ _check_ int kv_walk(struct kv *kv, kv_walk_fn *fn, void *ctx);

#endif
