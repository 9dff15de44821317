/*
 * Start, stop and the service's face to rpc: sessions and the dispatch of requests.
 */
#include <inttypes.h>
#include <stdio.h>

#include "oss/oss_int.h"
#include "store/lost.h"

int oss_format(struct env *env, const char *path)
{
	char *sub = mem_alloc(LIM_PATH_MAX + 1);
	int err = 0;

	ASSERT(path[0] == '/');
	if (sub == NULL) {
		return -NE_NOMEM;
	}
	for (int i = -2; i < OSS_DIRS && err == 0; i++) {
		if (i == -2) {
			snprintf(sub, LIM_PATH_MAX + 1, "%s/state", path);
		} else if (i == -1) {
			snprintf(sub, LIM_PATH_MAX + 1, "%s/objects", path);
		} else {
			snprintf(sub, LIM_PATH_MAX + 1, "%s/objects/%02x", path, (unsigned)i);
		}
		err = env_mkdir(env, sub);
		err = err == -NE_EXIST ? 0 : err;
	}
	if (err == 0) {
		snprintf(sub, LIM_PATH_MAX + 1, "%s/objects", path);
		err = env_fsync_dir(env, sub);
	}
	if (err == 0) {
		err = env_fsync_dir(env, path);
	}
	mem_free(sub);
	return err;
}

/* ---- the service ---- */

static int session_open(
	void *ctx, struct rpc_export *exp, uint64_t wanted, struct rpc_open_reply *ret_reply)
{
	struct oss *oss = ctx;
	int err = oss_fence_check(oss, rpc_export_identity(exp));

	(void)wanted;
	if (err != 0) {
		return err;
	}
	/* Sessions of an OST end with its process: nothing of them needs to survive. */
	ret_reply->session = (uint64_t)oss->epoch << 32 | ++oss->session_next;
	ret_reply->incarnation = rpc_export_identity(exp)->incarnation;
	ret_reply->resumed = false;
	ret_reply->recovering = false;
	ret_reply->verifier = oss->verifier;
	ret_reply->memory_loss = oss->memory_loss;
	return 0;
}

static void session_closed(void *ctx, struct rpc_export *exp, enum rpc_close_reason reason)
{
	(void)ctx;
	(void)exp;
	(void)reason;
}

static void service_state(void *ctx, struct rpc_service_state *ret_state)
{
	const struct oss *oss = ctx;

	ret_state->epoch = oss->epoch;
	ret_state->map_version = oss->map_version;
	ret_state->last_committed = state_committed_lsn(oss->state);
}

static int dispatch(struct oss *oss, struct rpc_request *req)
{
	switch (req->op->op) {
	case W_OP_OST_READ:
		return oss_read(oss, req);
	case W_OP_OST_WRITE:
		return oss_write(oss, req);
	case W_OP_OST_ALLOCATE:
		return oss_allocate(oss, req);
	case W_OP_OST_SEEK:
		return oss_seek(oss, req);
	case W_OP_OST_COMMIT:
		return oss_commit(oss, req);
	case W_OP_OST_GETATTR:
		return oss_getattr(oss, req);
	case W_OP_OST_CHANGE:
		return oss_change(oss, req);
	case W_OP_OST_STATFS:
		return oss_statfs(oss, req);
	case W_OP_OST_FENCE:
		return oss_fence(oss, req);
	case W_OP_OST_SYNC:
		return oss_sync(oss, req);
	case W_OP_TARGET_STATUS:
		return oss_target_status(oss, req);
	default:
		return -NE_NOSYS;
	}
}

static int request(void *ctx, struct rpc_request *req)
{
	struct oss *oss = ctx;
	int err = oss_fence_check(oss, rpc_export_identity(req->exp));

	return err != 0 ? err : dispatch(oss, req);
}

static const struct rpc_service_ops service_ops = {
	.session_open = session_open,
	.session_closed = session_closed,
	.request = request,
	.state = service_state,
};

/* ---- start and stop ---- */

static int state_start(struct oss *oss, const struct oss_options *opts)
{
	char *dir = mem_alloc(LIM_PATH_MAX + 1);
	struct state_opts so = {
		.dir = dir,
		.kv_kind = opts->kv_kind,
		.create = true,
		.incarnation_min = opts->epoch,
		.wal_segment_bytes =
			opts->wal_segment_bytes != 0 ? opts->wal_segment_bytes : 4 * MIB,
		.table_bytes = 8 * MIB,
		.cache_bytes = 1 * MIB,
		.kv_map_bytes = 1 * GIB,
	};
	int err;

	if (dir == NULL) {
		return -NE_NOMEM;
	}
	snprintf(dir, LIM_PATH_MAX + 1, "%s/state", opts->path);
	err = state_open(oss->env, &so, &oss->state);
	mem_free(dir);
	return err;
}

static struct oss *oss_new(struct env *env, const struct oss_options *opts)
{
	struct oss *oss = mem_zalloc(sizeof(*oss));
	size_t path_size = strlen(opts->path) + 1;

	if (oss == NULL) {
		return NULL;
	}
	oss->path = mem_alloc(path_size);
	if (oss->path == NULL) {
		mem_free(oss);
		return NULL;
	}
	memcpy(oss->path, opts->path, path_size);
	snprintf(oss->target, sizeof(oss->target), "%s", opts->target);
	oss->env = env;
	oss->bufpool = opts->bufpool;
	oss->epoch = opts->epoch;
	oss->capacity_bytes = opts->capacity_bytes;
	oss->started_ns = env_now(env);
	oss->number = (uint64_t)opts->epoch << STATE_LSN_SHIFT;
	env_random_bytes(env, &oss->verifier, sizeof(oss->verifier));
	hmap_init(&oss->objects);
	hmap_init(&oss->facts);
	hmap_init(&oss->fences);
	list_init(&oss->objects_lru);
	list_init(&oss->tombstones);
	list_init(&oss->ahead_lru);
	env_waitq_init(&oss->ahead_q);
	env_waitq_init(&oss->sweep_q);
	return oss;
}

static int oss_recover(struct oss *oss, const struct oss_options *opts)
{
	int err = lost_load(oss->env, oss->path, &oss->memory_loss);

	if (err == 0) {
		err = state_start(oss, opts);
	}
	if (err == 0) {
		err = oss_facts_load(oss);
	}
	if (err == 0) {
		err = oss_space_load(oss);
	}
	return err;
}

int oss_start(struct env *env, struct rpc_server *server, const struct oss_options *opts,
	struct oss **ret_oss)
{
	struct rpc_service_opts so = {
		.target = opts->target, .fsname = opts->fsname, .ops = &service_ops};
	struct oss *oss;
	int err;

	ASSERT(opts->path[0] == '/' && strlen(opts->path) < LIM_PATH_MAX / 2);
	ASSERT(opts->epoch > 0 && opts->bufpool != NULL);
	oss = oss_new(env, opts);
	if (oss == NULL) {
		return -NE_NOMEM;
	}
	so.ctx = oss;
	err = oss_recover(oss, opts);
	if (err == 0) {
		err = rpc_service_start(server, &so, &oss->service);
	}
	if (err != 0) {
		oss_stop(oss);
		return err;
	}
	log_info(OSS_LOG, "%s: serving epoch=%u objects=%" PRIu64 " tombstones=%u", oss->target,
		oss->epoch, oss->objects_total, oss->facts_count);
	*ret_oss = oss;
	return 0;
}

/* A stop is orderly: what clients were told is "unstable" becomes durable all the same. */
static void objects_commit_all(struct oss *oss)
{
	for (struct list *it = oss->objects_lru.next; it != &oss->objects_lru;) {
		struct oss_object *obj = list_entry(it, struct oss_object, lru);

		it = it->next;
		if (obj->exists && !obj->clean) {
			obj->refs++;
			/* Out of memory: the kernel writes it back all the same. */
			(void)!oss_object_commit(oss, obj);
			obj->refs--;
		}
	}
}

void oss_stop(struct oss *oss)
{
	if (oss == NULL) {
		return;
	}
	rpc_service_stop(oss->service);
	oss_ahead_stop(oss);
	objects_commit_all(oss);
	oss_objects_close(oss);
	state_close(oss->state);
	oss_facts_fini(oss);
	mem_free(oss->path);
	mem_free(oss);
}

void oss_map_version_set(struct oss *oss, uint32_t version)
{
	oss->map_version = version;
}
