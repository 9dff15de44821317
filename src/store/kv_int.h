/*
 * What the two checkpoint stores implement behind kv.h, and the arena results are copied into.
 */
#ifndef NACRE_STORE_KV_INT_H
#define NACRE_STORE_KV_INT_H

#include "base/alloc.h"
#include "base/limits.h"
#include "store/kv.h"

struct kv_ops {
	void (*close)(struct kv *kv);
	int (*fetch)(struct kv *kv, struct kv_fetch *fetch);
	int (*apply)(struct kv *kv, const struct kv_op *ops, uint32_t count, uint64_t lsn);
	int (*stat)(struct kv *kv, struct kv_stat *ret_stat);
	int (*reserve)(struct kv *kv, uint64_t bytes);
	/* Makes the commit that was loaded durable although a sync of it may have failed. */
	int (*prove)(struct kv *kv);
};

struct kv {
	const struct kv_ops *ops;
	struct env *env;
	uint64_t lsn;
	bool applying;
};

_yields_ _check_ int kv_lmdb_open(struct env *env, const struct kv_opts *opts, struct kv **ret_kv);
_yields_ _check_ int kv_model_open(struct env *env, const struct kv_opts *opts, struct kv **ret_kv);

/* Bytes in the fetch's arena; freed with it. NULL without memory. */
void *kv_arena_alloc(struct kv_fetch *fetch, size_t len);
_check_ int kv_arena_copy(struct kv_fetch *fetch, const void *p, size_t len, struct span *ret_span);
/* Room for the scan's records. */
_check_ int kv_scan_prepare(struct kv_fetch *fetch, struct kv_scan *scan);
/* True if the key is at or behind the scan's end. */
bool kv_scan_past(const struct kv_scan *scan, struct span key);

/* Runs fn(arg) on this thread; -NE_IO if a SIGBUS hit it (the map lost its file or its disk). */
_check_ int kv_guard_run(void (*fn)(void *), void *arg);

#endif
