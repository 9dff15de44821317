/*
 * COMMIT: what an object holds becomes durable, contents first, then its directory entry.
 *
 * Commits of one object join: whoever comes while a sync runs waits for it and syncs again only if something
 * was written after that sync began. A failed sync stops the target, because the kernel reports a lost
 * write once and then calls the pages clean (RULES B4).
 */
#include <stdio.h>

#include "oss/oss_int.h"
#include "store/lost.h"

int oss_entry_sync(struct oss *oss, const struct oss_object *obj)
{
	char *path = mem_alloc(LIM_PATH_MAX + 1);
	int err;

	if (path == NULL) {
		return -NE_NOMEM;
	}
	snprintf(path, LIM_PATH_MAX + 1, "%s/objects/%02x", oss->path,
		(unsigned)(fid_hash(obj->data_fid) % OSS_DIRS));
	err = env_fsync_dir(oss->env, path);
	mem_free(path);
	return err;
}

void oss_write_back_failed(struct oss *oss, int err)
{
	log_error(OSS_LOG, "%s: write-back failed (%s): stopping", oss->target, ne_text(err));
	lost_mark(oss->env, oss->path);
	env_die(oss->env, "write-back of an object failed");
}

static int object_sync(struct oss *oss, struct oss_object *obj)
{
	int err = oss_segments_sync(oss, obj);

	if (err == 0 && !obj->entry_durable) {
		obj->entry_durable = true;
		err = oss_entry_sync(oss, obj);
		if (err != 0) {
			obj->entry_durable = false;
		}
	}
	if (err == 0 || err == -NE_NOMEM) {
		return err;
	}
	oss_write_back_failed(oss, err);
}

int oss_object_commit(struct oss *oss, struct oss_object *obj)
{
	uint64_t want = obj->number;
	int err = 0;

	ASSERT(obj->refs > 0);
	while (obj->syncing) {
		/* Not interruptible, no deadline: cannot fail. */
		(void)!env_wait(oss->env, &obj->sync_q, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
	if (!obj->exists || (obj->clean && obj->entry_durable)) {
		return 0;
	}
	obj->syncing = true;
	/* A write that comes meanwhile makes it unclean again. */
	obj->clean = true;
	err = object_sync(oss, obj);
	if (err != 0) {
		obj->clean = false;
	}
	obj->syncing = false;
	env_wake_all(oss->env, &obj->sync_q);
	ASSERT(obj->number >= want);
	return err;
}

static int commit_item(
	struct oss *oss, const struct w_commit_item *item, struct w_object_attr *ret_attr)
{
	struct oss_object *obj = NULL;
	int err = oss_facts_check(oss, &item->object);

	if (err == 0) {
		err = oss_object_get(oss, item->object.data_fid, item->object.stripe, &obj);
	}
	if (err != 0) {
		return err;
	}
	err = oss_object_commit(oss, obj);
	if (err == 0) {
		err = oss_object_attr(oss, obj, ret_attr);
	}
	oss_object_put(oss, obj);
	return err;
}

int oss_commit(struct oss *oss, struct rpc_request *req)
{
	const struct w_ost_commit_req *in = req->body;
	struct w_object_attr *attrs = mem_zalloc_array(in->items.count + 1, sizeof(*attrs));
	struct w_ost_commit_rep out = {.verifier = oss->verifier};
	struct wire_iter it = w_commit_item_iter(&in->items.view);
	struct w_commit_item item;
	uint32_t n = 0;
	int err = 0;

	if (attrs == NULL) {
		return -NE_NOMEM;
	}
	while (err == 0 && w_commit_item_next(&it, &item)) {
		err = commit_item(oss, &item, &attrs[n++]);
	}
	oss->counters.commits++;
	if (err == 0) {
		out.attrs.items = attrs;
		out.attrs.count = n;
		err = rpc_request_reply(req, &out);
	}
	mem_free(attrs);
	return err;
}

int oss_sync(struct oss *oss, struct rpc_request *req)
{
	struct w_ost_sync_rep out = {.verifier = oss->verifier};
	uint64_t round = ++oss->sync_rounds;
	bool again = true;

	/* Objects are committed one by one; the walk starts anew after each, as the map may have changed. Each
	 * is committed once: what is written meanwhile is not ours, and a sync ends however busy others are. */
	while (again) {
		again = false;
		HMAP_FOREACH (it, &oss->objects) {
			struct oss_object *obj = container_of(it, struct oss_object, node);

			if (obj->sync_round >= round || !obj->loaded || !obj->exists ||
				(obj->clean && !obj->syncing)) {
				continue;
			}
			if (obj->refs++ == 0) {
				list_del(&obj->lru);
			}

			int err = oss_object_commit(oss, obj);

			obj->sync_round = u64_max(obj->sync_round, round);
			oss_object_put(oss, obj);
			if (err != 0) {
				return err;
			}
			again = true;
			break;
		}
	}
	return rpc_request_reply(req, &out);
}
