/*
 * Private to the state machine: tables, cache, fetches, and what the parts ask of each other.
 *
 * Where a key's value is, newest first: the open transaction, the active table, the frozen tables, the
 * cache, what was fetched for this transaction. A frozen table stays in that chain until the checkpoint
 * holds it, no fetch whose view is older lives, and the cache agrees with it (RULES A6); so whatever was
 * read from the checkpoint, at whatever moment, is right below the tables that are in the chain.
 */
#ifndef NACRE_STORE_STATE_INT_H
#define NACRE_STORE_STATE_INT_H

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "base/hmap.h"
#include "base/list.h"
#include "base/omap.h"
#include "store/kv.h"
#include "store/state.h"
#include "store/wal.h"

/* Frozen tables at once; freezing waits beyond. */
#define STATE_FROZEN_MAX 4
/* Keys and ranges one transaction may miss per round: more are asked for in the next. */
#define STATE_WANTS_MAX 1024
/* Records one range fetch brings at least and at most. */
#define STATE_SCAN_MIN 64
#define STATE_SCAN_MAX 65536
/* Fetch jobs at once. */
#define STATE_FETCH_JOBS 4
/* One checkpoint batch: operations at first, and the least it is cut to when space is short. */
#define STATE_BATCH_OPS 8192
#define STATE_BATCH_OPS_MIN 64
/* Steps over a table between two yields. */
#define STATE_SLICE 1024
/* Disk space kept for batches to come (bytes): three batches of the least size that touch a page each
 * fit many times over; see state_space.c. */
#define STATE_KV_RESERVE (16 * MIB)
/* The reserve grows ahead of the tables in such steps, bytes. */
#define STATE_KV_STEP (32 * MIB)
/* Appended and not yet written: admission waits beyond (bytes). */
#define STATE_PENDING_MAX (8 * MIB)
/* How long a full disk is left alone before it is tried again. */
#define STATE_NOSPC_RETRY_NS NS_PER_S

/* Payload of a WAL_COMMIT: session8 count4, then per effect: del1 key-length1 value-length2 key value. */
#define STATE_COMMIT_HEADER 12
#define STATE_OP_HEADER 4

struct state_table {
	struct list link; /* st->frozen, oldest first */
	struct omap map; /* mark: tag = {lsn, session}; flags = 1: deleted */
	uint64_t last_lsn; /* set when frozen: all up to here is in it or in older ones */
	uint64_t
		done_seq; /* fetches begun at this kv_seq or later see it in the checkpoint; 0: none */
};

struct state_cache {
	struct hmap map;
	struct hash_key key;
	struct list lru; /* most recent first */
	uint64_t bytes;
	uint64_t bytes_max;
	uint64_t hits;
	uint64_t misses;
};

struct txn_op {
	const uint8_t *key;
	const uint8_t *val;
	uint16_t key_len;
	uint16_t val_len;
	bool del;
};

/* What the one open transaction writes: its record in the making, and an index of it. */
struct state_writes {
	uint8_t *buf; /* payload; does not move */
	uint32_t len;
	uint32_t cap;
	struct txn_op *ops;
	uint32_t op_count;
	uint32_t *order; /* indices of the last op on each key, by key */
	uint32_t order_count;
	uint32_t ops_cap;
};

struct state_want {
	bool range;
	uint32_t max;
	struct span from;
	struct span to;
	uint8_t *buf; /* owns both */
};

struct state_fetch {
	struct list link; /* st->fetches */
	struct state *st;
	unsigned refs;
	bool running;
	bool done;
	int err;
	uint64_t seq; /* kv_seq when its view was taken at the earliest */
	struct kv_fetch kvf;
	uint32_t get_cap;
	uint32_t scan_cap;
	struct env_waitq q;
};

struct state {
	struct env *env;
	struct state_opts opts;
	char *dir;
	struct env_file *lock;
	struct wal *wal;
	struct kv *kv;

	struct state_table *active;
	struct list frozen; /* oldest first */
	unsigned frozen_count;
	struct state_cache cache;
	struct state_writes writes;
	struct state_txn *txn; /* the open one */
	uint64_t last_release; /* lsn of the last STATE_RELEASE commit */

	/* fetching */
	struct list fetches; /* all alive */
	struct state_fetch *fetch_next; /* gathering wants */
	unsigned fetch_jobs;
	struct env_waitq fetch_job_q;
	struct env_waitq view_q; /* a fetch went away */
	uint64_t kv_seq; /* counts tables applied */

	/* checkpointing and space */
	struct env_waitq ckpt_q; /* the checkpointer sleeps here */
	struct env_waitq ckpt_done_q;
	uint64_t ckpt_want; /* lsn asked for */
	uint32_t batch_ops;
	struct kv_stat kv_stat;
	bool kv_nospc;
	uint64_t kv_reserved; /* bytes the disk has for sure */
	uint64_t nospc_tried_ns;
	struct env_mutex space_mutex;
	bool ckpt_running;
	uint64_t freezes; /* state_freezes() */
	bool closing;
	struct state_stats stats;
};

/* ---- state_table.c ---- */

_check_ int state_table_new(struct state_table **ret_table);
void state_table_free(struct state_table *t);
/* The newest table that knows the key. */
bool state_tables_find(struct state *st, struct span key, struct omap_entry *ret_entry);
_check_ int state_table_apply(
	struct state_table *t, const struct state_op *op, struct state_tag tag);
uint64_t state_tables_bytes(const struct state *st);

/* ---- state_cache.c ---- */

void state_cache_init(struct state_cache *c, struct env *env, uint64_t bytes_max);
void state_cache_fini(struct state_cache *c);
/* 0, -NE_NOENT (proven absent) or -NE_MISSING_KEY. */
int state_cache_get(struct state_cache *c, struct span key, struct span *ret_val);
/* Replaces or adds; val.ptr NULL: absent. Without memory the key is just not cached. */
void state_cache_put(struct state_cache *c, struct span key, struct span val, bool absent);
/* As put, but adds only while there is room without throwing others out. */
void state_cache_refresh(struct state_cache *c, struct span key, struct span val, bool absent);

/* ---- state_writes.c ---- */

_check_ int state_writes_init(struct state_writes *w, uint32_t payload_max);
void state_writes_fini(struct state_writes *w);
void state_writes_reset(struct state_writes *w);
_check_ int state_writes_add(struct state_writes *w, const struct state_op *op);
/* Index in order of the first op with key >= key. */
uint32_t state_writes_seek(const struct state_writes *w, struct span key);
const struct txn_op *state_writes_find(const struct state_writes *w, struct span key);
/* Completes the payload. */
void state_writes_seal(struct state_writes *w, uint64_t session);

/* ---- state_fetch.c ---- */

/* Notes what is missing; -NE_MISSING_KEY, or -NE_NOMEM. */
int state_want_key(struct state_txn *txn, struct span key);
int state_want_range(struct state_txn *txn, struct span from, struct span to, uint32_t max);
void state_wants_clear(struct state_txn *txn);
/* What was fetched for the transaction: 0, -NE_NOENT, -NE_CORRUPT or -NE_MISSING_KEY. */
int state_fetched_get(struct state_txn *txn, struct span key, struct span *ret_val);
/* A fetched scan that covers the point; NULL if none. */
const struct kv_scan *state_fetched_scan(struct state_txn *txn, struct span point);
/* Smallest seq of all fetches alive, UINT64_MAX if none. */
uint64_t state_view_oldest(const struct state *st);

/* ---- state_ckpt.c ---- */

void state_checkpointer(void *arg);
/* Asks for everything up to lsn to be checkpointed; does not wait. */
void state_ckpt_request(struct state *st, uint64_t lsn);

/* ---- state_space.c ---- */

/* True if something should be checkpointed now. */
bool state_ckpt_due(const struct state *st);
/* Looks at what the checkpoint takes and what the disk has. */
_yields_ void state_space_update(struct state *st);

#endif
