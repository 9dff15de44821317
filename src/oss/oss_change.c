/*
 * What only servers may ask: numbered changes of objects by the MDT (RULES A7), and fences (D2).
 *
 * Applied once. DESTROY: a durable tombstone first, then the files go; a repeat finds the tombstone. SET_SIZE:
 * the number of the last one stands in the object's header, written with the new size and synced before
 * the answer; a repeat changes nothing. RAISE_GEN is idempotent by itself.
 */
#include "oss/oss_int.h"

/* Its files go; the caller holds the object's lock alone. */
static int destroy_locked(struct oss *oss, struct oss_object *obj)
{
	int err;

	ASSERT(obj->exclusive);
	if (!obj->exists) {
		/* A power failure may have left a file without a header. */
		return oss_object_file_remove(oss, obj->data_fid, obj->stripe);
	}
	err = oss_segments_unlink(oss, obj);
	if (err != 0) {
		return err;
	}
	/* Commits do not take the lock: one that runs has the file in hand. */
	while (obj->syncing) {
		/* Not interruptible, no deadline: cannot fail. */
		(void)!env_wait(oss->env, &obj->sync_q, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
	oss->used_bytes -= u64_min(oss->used_bytes, obj->blocks_bytes);
	oss->objects_total -= u64_min(oss->objects_total, 1);
	env_file_close(TAKE_PTR(obj->file));
	obj->exists = false;
	obj->size = 0;
	obj->blocks_bytes = 0;
	obj->high_bytes = 0;
	obj->promised_off = 0;
	obj->promised_end = 0;
	return 0;
}

int oss_object_destroy(struct oss *oss, struct fid data_fid, uint32_t stripe, bool durable)
{
	struct oss_object *obj = NULL;
	bool existed;
	int err = oss_object_get(oss, data_fid, stripe, &obj);

	if (err == -NE_CORRUPT) {
		return oss_object_file_remove(oss, data_fid, stripe);
	}
	if (err != 0) {
		return err;
	}
	oss_object_lock(oss, obj, true);
	existed = obj->exists;
	err = destroy_locked(oss, obj);
	oss->counters.destroys += err == 0 && existed;
	oss_object_unlock(oss, obj, true);
	if (err == 0 && existed && durable) {
		err = oss_entry_sync(oss, obj);
	}
	oss_object_put(oss, obj);
	return err;
}

static int change_destroy(struct oss *oss, const struct w_ost_change_req *in)
{
	uint64_t lsn = 0;
	int err = oss_tombstone_add(oss, in, &lsn);

	if (err != 0) {
		return err;
	}
	state_wait_durable(oss->state, lsn);
	return oss_object_destroy(oss, in->object.data_fid, in->object.stripe, false);
}

static int set_size_locked(
	struct oss *oss, struct oss_object *obj, const struct w_ost_change_req *in)
{
	struct d_ost_object before;
	/* The wait may have been for a destroy. */
	int err = oss_facts_check(oss, &in->object);

	if (err != 0) {
		return err;
	}
	if (obj->exists && obj->header.d.applied_mdt == in->mdt &&
		obj->header.d.applied >= in->number) {
		return 0;
	}
	if (!obj->exists) {
		struct d_ost_object owner = {.uid = in->uid, .gid = in->gid, .projid = in->projid};

		err = oss_object_create(oss, obj, &in->object, &owner);
	}
	if (err != 0) {
		return err;
	}
	/* The number is written after the size: a crash in between repeats, it does not skip. */
	before = obj->header.d;
	obj->header.d.applied = in->number;
	obj->header.d.applied_mdt = in->mdt;
	obj->clean = false;
	obj->number = ++oss->number;
	obj->promised_end = u64_min(obj->promised_end, in->size);
	obj->promised_off = u64_min(obj->promised_off, obj->promised_end);
	err = oss_segments_set_size(oss, obj, in->size);
	if (err != 0) {
		/* Nor does a failure. */
		obj->header.d.applied = before.applied;
		obj->header.d.applied_mdt = before.applied_mdt;
	}
	oss_space_update(oss, obj);
	return err;
}

static int change_set_size(
	struct oss *oss, const struct w_ost_change_req *in, struct w_object_attr *ret_attr)
{
	struct oss_object *obj = NULL;
	int err;

	if (in->size > LIM_FILE_SIZE_MAX) {
		return -NE_FBIG;
	}
	err = oss_facts_check(oss, &in->object);
	if (err == 0) {
		err = oss_object_get(oss, in->object.data_fid, in->object.stripe, &obj);
	}
	if (err != 0) {
		return err;
	}
	oss_object_lock(oss, obj, true);
	err = set_size_locked(oss, obj, in);
	oss_object_unlock(oss, obj, true);
	if (err == 0) {
		err = oss_object_commit(oss, obj);
	}
	if (err == 0) {
		err = oss_object_attr(oss, obj, ret_attr);
	}
	oss_object_put(oss, obj);
	return err;
}

int oss_change(struct oss *oss, struct rpc_request *req)
{
	const struct w_ost_change_req *in = req->body;
	struct w_ost_change_rep out = {0};
	uint64_t lsn = 0;
	int err;

	if (rpc_export_identity(req->exp)->role != RPC_ROLE_SERVER) {
		return -NE_PERM;
	}
	switch (in->kind) {
	case W_OST_CHANGE_KIND_DESTROY:
		err = change_destroy(oss, in);
		break;
	case W_OST_CHANGE_KIND_SET_SIZE:
		err = change_set_size(oss, in, &out.attr);
		break;
	case W_OST_CHANGE_KIND_RAISE_GEN:
		err = oss_generation_raise(oss, &in->object, &lsn);
		if (err == 0) {
			state_wait_durable(oss->state, lsn);
		}
		break;
	case W_OST_CHANGE_KIND_CHOWN:
		/* Owners matter to accounting by id, which this version does not have. */
		err = 0;
		break;
	default:
		err = -NE_INVAL;
		break;
	}
	return err != 0 ? err : rpc_request_reply(req, &out);
}

int oss_fence(struct oss *oss, struct rpc_request *req)
{
	const struct w_ost_fence_req *in = req->body;
	struct w_ost_fence_rep out = {0};
	uint64_t lsn = 0;
	int err;

	if (rpc_export_identity(req->exp)->role != RPC_ROLE_SERVER) {
		return -NE_PERM;
	}
	err = oss_fence_add(oss, in, &lsn);
	if (err != 0) {
		return err;
	}
	state_wait_durable(oss->state, lsn);
	return rpc_request_reply(req, &out);
}
