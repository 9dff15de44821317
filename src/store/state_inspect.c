/*
 * Looking at a store from outside, for `nacre inspect`: changes nothing, repairs nothing.
 */
#include <stdio.h>

#include "store/state_int.h"

struct inspect_wal {
	state_wal_fn *fn;
	void *ctx;
};

static int inspect_record(void *ctx, const struct wal_rec *rec)
{
	struct inspect_wal *in = ctx;
	struct state_wal_view view = {.file = rec->file,
		.offset = rec->offset,
		.lsn = rec->lsn,
		.durable = rec->durable,
		.crc = rec->crc,
		.len = rec->len,
		.type = (enum state_wal_type)rec->type,
		.payload = rec->payload};

	return in->fn(in->ctx, &view);
}

int state_wal_inspect(struct env *env, const char *dir, state_wal_fn *fn, void *ctx)
{
	_cleanup_(free_ptr) char *path = mem_alloc(LIM_PATH_MAX);
	struct inspect_wal in = {.fn = fn, .ctx = ctx};
	int err;

	ASSERT(dir[0] == '/');
	if (path == NULL) {
		return -NE_NOMEM;
	}
	snprintf(path, LIM_PATH_MAX, "%s/wal", dir);
	err = wal_inspect(env, path, inspect_record, &in);
	return err > 0 ? 0 : err;
}

struct inspect_kv {
	state_kv_fn *fn;
	void *ctx;
};

static int inspect_kv_record(void *ctx, const struct kv_rec *rec)
{
	struct inspect_kv *in = ctx;
	struct state_rec view = {.key = rec->key.ptr,
		.key_len = (uint32_t)rec->key.len,
		.val = {.data = rec->val.ptr, .len = (uint32_t)rec->val.len}};

	return in->fn(in->ctx, &view);
}

int state_kv_inspect(struct env *env, const char *dir, enum state_kv_kind kind, state_kv_fn *fn,
	void *ctx, uint64_t *ret_lsn)
{
	_cleanup_(free_ptr) char *path = mem_alloc(LIM_PATH_MAX);
	struct inspect_kv in = {.fn = fn, .ctx = ctx};
	struct kv_opts opts = {.kind = (enum kv_kind)kind,
		.dir = path,
		.map_bytes = LIM_LMDB_MAP_BYTES,
		.read_only = true};
	struct kv *kv = NULL;
	int err;

	ASSERT(dir[0] == '/');
	if (path == NULL) {
		return -NE_NOMEM;
	}
	snprintf(path, LIM_PATH_MAX, "%s/kv", dir);
	err = kv_open(env, &opts, &kv);
	if (err != 0) {
		return err;
	}
	*ret_lsn = kv_lsn(kv);
	err = kv_walk(kv, inspect_kv_record, &in);
	kv_close(kv);
	return err > 0 ? 0 : err;
}
