/*
 * The checkpoint store's front: checks arguments, dispatches, owns the arenas of results.
 */
#include "store/kv_int.h"
#include "store/lost.h"

#define ARENA_BLOCK_BYTES (16 * KIB)
#define WALK_RECORDS 512

struct kv_block {
	struct kv_block *next;
	size_t used;
	size_t cap;
	uint8_t data[];
};

void *kv_arena_alloc(struct kv_fetch *fetch, size_t len)
{
	size_t need = u64_round_up(len == 0 ? 1 : len, 8);
	struct kv_block *b = fetch->arena;
	void *p;

	if (b == NULL || b->cap - b->used < need) {
		size_t cap = u64_max(need, ARENA_BLOCK_BYTES);

		b = mem_alloc(sizeof(*b) + cap);
		if (b == NULL) {
			return NULL;
		}
		b->next = fetch->arena;
		b->used = 0;
		b->cap = cap;
		fetch->arena = b;
	}
	p = b->data + b->used;
	b->used += need;
	return p;
}

int kv_arena_copy(struct kv_fetch *fetch, const void *p, size_t len, struct span *ret_span)
{
	void *copy = kv_arena_alloc(fetch, len);

	if (copy == NULL) {
		return -NE_NOMEM;
	}
	bytes_copy(copy, p, len);
	*ret_span = span_of(copy, len);
	return 0;
}

int kv_scan_prepare(struct kv_fetch *fetch, struct kv_scan *scan)
{
	ASSERT(scan->max > 0);
	scan->count = 0;
	scan->end = false;
	scan->err = 0;
	scan->recs = kv_arena_alloc(fetch, scan->max * sizeof(*scan->recs));
	return scan->recs == NULL ? -NE_NOMEM : 0;
}

bool kv_scan_past(const struct kv_scan *scan, struct span key)
{
	return scan->to.len != 0 && span_cmp(key, scan->to) >= 0;
}

void kv_fetch_fini(struct kv_fetch *fetch)
{
	struct kv_block *b;

	while ((b = fetch->arena) != NULL) {
		fetch->arena = b->next;
		mem_free(b);
	}
}

/* After a failed sync in this boot the newest commit may be in the kernel's memory only, and no later sync writes it:
 * it is written again before anybody counts on it. */
static int lost_prove(struct kv *kv, const char *dir)
{
	uint64_t loss = 0;
	int err = lost_load(kv->env, dir, &loss);

	return err == 0 && loss != 0 ? kv->ops->prove(kv) : err;
}

int kv_open(struct env *env, const struct kv_opts *opts, struct kv **ret_kv)
{
	struct kv *kv = NULL;
	int err;

	ASSERT(opts->dir != NULL && opts->dir[0] == '/');
	ASSERT(opts->map_bytes > 0);
	err = opts->kind == KV_MODEL ? kv_model_open(env, opts, &kv) : kv_lmdb_open(env, opts, &kv);
	if (err == 0 && !opts->read_only) {
		err = lost_prove(kv, opts->dir);
	}
	if (err == -NE_IO && !opts->read_only) {
		/* Perhaps it was a sync: the next one would say that all is well. */
		lost_mark(env, opts->dir);
	}
	if (err != 0) {
		kv_close(kv);
		return err;
	}
	*ret_kv = kv;
	return 0;
}

void kv_close(struct kv *kv)
{
	if (kv != NULL) {
		ASSERT(!kv->applying);
		kv->ops->close(kv);
	}
}

uint64_t kv_lsn(const struct kv *kv)
{
	return kv->lsn;
}

int kv_fetch(struct kv *kv, struct kv_fetch *fetch)
{
	ASSERT(fetch->get_count + fetch->scan_count > 0);
	return kv->ops->fetch(kv, fetch);
}

int kv_apply(struct kv *kv, const struct kv_op *ops, uint32_t count, uint64_t lsn)
{
	int err;

	ASSERT(!kv->applying && (lsn == 0 || lsn >= kv->lsn));
	for (uint32_t i = 0; i < count; i++) {
		ASSERT(ops[i].key.len > 0 && ops[i].key.len <= LIM_KV_KEY_MAX);
		ASSERT(ops[i].val.len <= LIM_KV_VALUE_MAX);
		ASSERT(i == 0 || span_cmp(ops[i - 1].key, ops[i].key) < 0);
	}
	kv->applying = true;
	err = kv->ops->apply(kv, ops, count, lsn);
	kv->applying = false;
	if (err == 0 && lsn != 0) {
		kv->lsn = lsn;
	}
	return err;
}

int kv_stat(struct kv *kv, struct kv_stat *ret_stat)
{
	return kv->ops->stat(kv, ret_stat);
}

int kv_reserve(struct kv *kv, uint64_t bytes)
{
	ASSERT(bytes > 0);
	return kv->ops->reserve(kv, bytes);
}

/* One page of the walk; sets *ret_last to the last key seen. */
static int walk_page(
	struct kv *kv, struct kv_scan *scan, struct kv_fetch *fetch, kv_walk_fn *fn, void *ctx)
{
	int err;

	fetch->scans = scan;
	fetch->scan_count = 1;
	err = kv_fetch(kv, fetch);
	for (uint32_t i = 0; err == 0 && i < scan->count; i++) {
		err = fn(ctx, &scan->recs[i]);
	}
	return err != 0 ? err : scan->err;
}

int kv_walk(struct kv *kv, kv_walk_fn *fn, void *ctx)
{
	uint8_t from[LIM_KV_KEY_MAX + 1];
	size_t from_len = 0;
	bool end = false;
	int err = 0;

	while (err == 0 && !end) {
		struct kv_scan scan = {.from = span_of(from, from_len), .max = WALK_RECORDS};
		struct kv_fetch fetch = {0};

		err = walk_page(kv, &scan, &fetch, fn, ctx);
		end = scan.end;
		if (err == 0 && scan.count > 0) {
			struct span last = scan.recs[scan.count - 1].key;

			/* The next possible key: the last one and a zero byte. */
			bytes_copy(from, last.ptr, last.len);
			from[last.len] = 0;
			from_len = last.len + 1;
		}
		kv_fetch_fini(&fetch);
	}
	return err;
}
