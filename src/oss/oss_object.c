/*
 * Objects in memory: found by name, loaded once, kept open in LRU order, locked shared or exclusive.
 *
 * An object file is opened read-write at its first use. That it does not exist is remembered too, so a
 * sparse file's holes cost no system call. Only clean, unreferenced objects are closed first; a
 * dirty one is synced before, so that its write-back error cannot go unnoticed.
 */
#include <inttypes.h>
#include <stdio.h>

#include "oss/oss_int.h"

void oss_object_path(
	const struct oss *oss, struct fid data_fid, uint32_t stripe, uint32_t segment, char *buf)
{
	unsigned dir = (unsigned)(fid_hash(data_fid) % OSS_DIRS);
	int n = snprintf(buf, LIM_PATH_MAX + 1, "%s/objects/%02x/%" PRIx64 "-%x-%x.%u", oss->path,
		dir, data_fid.seq, data_fid.oid, data_fid.ver, stripe);

	ASSERT(n > 0 && n < LIM_PATH_MAX - 16);
	if (segment > 0) {
		snprintf(buf + n, 16, ".s%u", segment);
	}
}

int oss_object_file_remove(struct oss *oss, struct fid data_fid, uint32_t stripe)
{
	char *path = mem_alloc(LIM_PATH_MAX + 1);
	int err;

	ASSERT(!fid_is_zero(data_fid));
	if (path == NULL) {
		return -NE_NOMEM;
	}
	oss_object_path(oss, data_fid, stripe, 0, path);
	err = env_unlink(oss->env, path);
	mem_free(path);
	return err == -NE_NOENT ? 0 : err;
}

static struct oss_object *object_find(struct oss *oss, struct fid data_fid, uint32_t stripe)
{
	struct hmap_node *it = hmap_find(&oss->objects, oss_object_hash(data_fid, stripe));

	for (; it != NULL; it = hmap_find_next(it)) {
		struct oss_object *obj = container_of(it, struct oss_object, node);

		if (obj->stripe == stripe && fid_eq(obj->data_fid, data_fid)) {
			return obj;
		}
	}
	return NULL;
}

static void object_free(struct oss *oss, struct oss_object *obj)
{
	ASSERT(obj->refs == 0 && obj->ios == 0);
	oss_ahead_forget(oss, obj);
	hmap_remove(&oss->objects, &obj->node);
	if (list_linked(&obj->lru)) {
		list_del(&obj->lru);
	}
	oss->objects_count--;
	env_file_close(obj->file);
	mem_free(obj);
}

/* Closes the least recently used objects beyond the limit. May sync a dirty one. */
static int objects_shrink(struct oss *oss)
{
	while (oss->objects_count >= OSS_OBJECTS_OPEN_MAX && !list_empty(&oss->objects_lru)) {
		struct oss_object *obj = list_entry(oss->objects_lru.next, struct oss_object, lru);

		if (obj->exists && !obj->clean) {
			list_del(&obj->lru);
			obj->refs++;

			int err = oss_object_commit(oss, obj);

			oss_object_put(oss, obj);
			if (err != 0) {
				return err;
			}
			continue;
		}
		object_free(oss, obj);
	}
	return 0;
}

static struct oss_object *object_new(struct oss *oss, struct fid data_fid, uint32_t stripe)
{
	struct oss_object *obj = mem_zalloc(sizeof(*obj));

	if (obj == NULL) {
		return NULL;
	}
	obj->data_fid = data_fid;
	obj->stripe = stripe;
	/* Younger than any SYNC that runs. */
	obj->sync_round = oss->sync_rounds;
	env_mutex_init(&obj->setup);
	env_waitq_init(&obj->lock_q);
	env_waitq_init(&obj->sync_q);
	env_waitq_init(&obj->ahead_q);
	list_init(&obj->ahead);
	obj->oss = oss;
	hmap_insert(&oss->objects, &obj->node, oss_object_hash(data_fid, stripe));
	oss->objects_count++;
	return obj;
}

static int object_load_file(struct oss *oss, struct oss_object *obj, struct env_file *file)
{
	int err;

	if (oss->memory_loss != 0) {
		/* What a failed sync left in the kernel's memory only must not be taken for durable: a size that was
		 * set, the number of the change that set it. */
		env_file_forget(file);
	}
	err = oss_header_read(file, &obj->header);
	if (err != 0) {
		return err;
	}
	obj->file = file;
	err = oss_segments_load(oss, obj);
	if (err != 0) {
		obj->file = NULL;
		return err;
	}
	/* Counted when the target started: before it exists, this only notes what it has. */
	oss_space_update(oss, obj);
	obj->exists = true;
	return 0;
}

static int object_load(struct oss *oss, struct oss_object *obj)
{
	char *full = mem_alloc(LIM_PATH_MAX + 1);
	struct env_file *file = NULL;
	int err;

	if (full == NULL) {
		return -NE_NOMEM;
	}
	oss_object_path(oss, obj->data_fid, obj->stripe, 0, full);
	err = env_file_open(
		oss->env, full, ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_DIRECT, &file);
	if (err == 0) {
		err = object_load_file(oss, obj, file);
		if (err != 0) {
			env_file_close(file);
		}
	}
	if (err == -NE_CORRUPT) {
		log_error(OSS_LOG, "%s: header of %s is damaged", oss->target, full);
	}
	mem_free(full);
	if (err == 0 || err == -NE_NOENT) {
		obj->loaded = true;
		return 0;
	}
	return err;
}

int oss_object_get(
	struct oss *oss, struct fid data_fid, uint32_t stripe, struct oss_object **ret_obj)
{
	struct oss_object *obj = object_find(oss, data_fid, stripe);
	int err = 0;

	if (obj == NULL) {
		err = objects_shrink(oss);
		if (err != 0) {
			return err;
		}
		/* The shrinking may have yielded. */
		obj = object_find(oss, data_fid, stripe);
	}
	if (obj == NULL) {
		obj = object_new(oss, data_fid, stripe);
	}
	if (obj == NULL) {
		return -NE_NOMEM;
	}
	if (obj->refs++ == 0 && list_linked(&obj->lru)) {
		list_del(&obj->lru);
	}
	if (!obj->loaded) {
		env_mutex_lock(oss->env, &obj->setup);
		if (!obj->loaded) {
			err = object_load(oss, obj);
		}
		env_mutex_unlock(oss->env, &obj->setup);
	}
	if (err != 0) {
		oss_object_put(oss, obj);
		return err;
	}
	*ret_obj = obj;
	return 0;
}

void oss_object_put(struct oss *oss, struct oss_object *obj)
{
	ASSERT(obj->refs > 0);
	if (--obj->refs > 0) {
		return;
	}
	if (!obj->loaded) {
		object_free(oss, obj);
		return;
	}
	list_push_back(&oss->objects_lru, &obj->lru);
}

static int object_create_file(struct oss *oss, struct oss_object *obj, const char *path)
{
	struct env_file *file = NULL;
	int err = env_file_open(oss->env, path,
		ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_TRUNC | ENV_OPEN_DIRECT,
		&file);

	if (err != 0) {
		return err;
	}
	err = oss_header_create(file, &obj->header);
	if (err == 0) {
		err = env_ftruncate(file, OSS_HEADER_BYTES);
	}
	if (err == 0) {
		/* Creation is no data change: the time counts as none until the first write. */
		err = env_file_utime(file, 0);
	}
	if (err != 0) {
		env_file_close(file);
		/* Best effort: a file without header counts as absent anyway. */
		(void)!env_unlink(oss->env, path);
		return err;
	}
	obj->file = file;
	return 0;
}

int oss_object_create(struct oss *oss, struct oss_object *obj, const struct w_object_ref *ref,
	const struct d_ost_object *owner)
{
	char *path;
	int err = 0;

	ASSERT(obj->refs > 0 && obj->loaded);
	env_mutex_lock(oss->env, &obj->setup);
	if (obj->exists) {
		env_mutex_unlock(oss->env, &obj->setup);
		return 0;
	}
	path = mem_alloc(LIM_PATH_MAX + 1);
	if (path == NULL) {
		env_mutex_unlock(oss->env, &obj->setup);
		return -NE_NOMEM;
	}
	obj->header.d = *owner;
	obj->header.d.format = W_FORMAT_VERSION;
	obj->header.d.file_fid = ref->file_fid;
	obj->header.d.data_fid = obj->data_fid;
	obj->header.d.stripe = obj->stripe;
	obj->header.d.created = oss_mdt_time(oss);
	oss_object_path(oss, obj->data_fid, obj->stripe, 0, path);
	err = object_create_file(oss, obj, path);
	if (err == 0) {
		obj->exists = true;
		obj->size = 0;
		obj->clean = false;
		obj->entry_durable = false;
		obj->blocks_bytes = 0;
		obj->mtime_known = false;
		oss->objects_total++;
	}
	mem_free(path);
	env_mutex_unlock(oss->env, &obj->setup);
	return err;
}

void oss_object_lock(struct oss *oss, struct oss_object *obj, bool exclusive)
{
	ASSERT(obj->refs > 0);
	while (obj->exclusive || (exclusive && obj->ios > 0)) {
		/* Not interruptible, no deadline: cannot fail. */
		(void)!env_wait(oss->env, &obj->lock_q, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
	if (exclusive) {
		obj->exclusive = true;
		oss_ahead_forget(oss, obj);
	} else {
		obj->ios++;
	}
}

void oss_object_unlock(struct oss *oss, struct oss_object *obj, bool exclusive)
{
	if (exclusive) {
		ASSERT(obj->exclusive);
		obj->exclusive = false;
	} else {
		ASSERT(obj->ios > 0);
		obj->ios--;
	}
	env_wake_all(oss->env, &obj->lock_q);
}

void oss_object_change_begin(struct oss *oss, struct oss_object *obj)
{
	ASSERT(obj->ios > 0 && !obj->exclusive);
	obj->clean = false;
	obj->number = ++oss->number;
	obj->changing++;
	oss_ahead_forget(oss, obj);
}

void oss_object_change_end(struct oss *oss, struct oss_object *obj)
{
	ASSERT(obj->changing > 0);
	obj->changing--;
	/* Changed while a sync was running: that one may have missed it. */
	obj->clean = false;
	oss_space_update(oss, obj);
}

int oss_object_attr(struct oss *oss, struct oss_object *obj, struct w_object_attr *ret_attr)
{
	memset(ret_attr, 0, sizeof(*ret_attr));
	ret_attr->number = obj->number;
	if (!obj->exists) {
		return 0;
	}
	if (!obj->mtime_known) {
		struct env_stat st;
		int err = env_fstat(obj->file, &st);

		if (err != 0) {
			return err;
		}
		obj->mtime_ns = st.mtime_ns;
		obj->mtime_known = true;
	}
	ret_attr->exists = true;
	ret_attr->size = obj->size;
	ret_attr->blocks = obj->blocks_bytes / 512;
	if (obj->mtime_ns != 0) {
		ret_attr->mtime = obj->mtime_ns + oss->clock_offset_ns;
	}
	return 0;
}

void oss_objects_close(struct oss *oss)
{
	struct hmap_node *it;

	while ((it = hmap_first(&oss->objects)) != NULL) {
		struct oss_object *obj = container_of(it, struct oss_object, node);

		ASSERT(obj->refs == 0);
		object_free(oss, obj);
	}
	hmap_fini(&oss->objects);
}
