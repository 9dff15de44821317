/*
 * ALLOCATE and SEEK: what fallocate(2) and lseek(2) ask of an object.
 *
 * An ALLOCATE is a change like a write: numbered, unstable until a COMMIT, harmless twice. A promise makes the object
 * if there is none, so that the space is there; a punch of what does not exist changes nothing.
 */
#include "oss/oss_int.h"

#define HOW (W_FALLOCATE_FLAGS_KEEP_SIZE | W_FALLOCATE_FLAGS_PUNCH | W_FALLOCATE_FLAGS_ZERO)
#define PUNCH (W_FALLOCATE_FLAGS_PUNCH | W_FALLOCATE_FLAGS_KEEP_SIZE)

static int allocate_check(const struct oss *oss, const struct rpc_request *req)
{
	const struct w_ost_allocate_req *in = req->body;

	if (rpc_export_identity(req->exp)->read_only) {
		return -NE_ROFS;
	}
	if (in->length == 0 || (in->flags & ~HOW) != 0) {
		return -NE_INVAL;
	}
	if ((in->flags & W_FALLOCATE_FLAGS_PUNCH) != 0 && in->flags != PUNCH) {
		return -NE_INVAL;
	}
	if (in->offset > LIM_FILE_SIZE_MAX || in->length > LIM_FILE_SIZE_MAX - in->offset) {
		return -NE_FBIG;
	}
	return oss_facts_check(oss, &in->object);
}

static int object_missing(const struct oss *oss, const struct w_object_ref *ref)
{
	char fid[FID_STR_MAX];

	log_error(OSS_LOG, "%s: object %s stripe %u is missing", oss->target,
		fid_format(ref->data_fid, fid, sizeof(fid)), ref->stripe);
	return -NE_LOST_OBJECT;
}

/* Space first, then the size. */
static int range_change(
	struct oss *oss, struct oss_object *obj, const struct w_ost_allocate_req *in)
{
	struct oss_range range = {.off = in->offset, .len = in->length};
	enum env_fallocate_mode mode = ENV_FALLOC_KEEP_SIZE;
	int err;

	if ((in->flags & W_FALLOCATE_FLAGS_PUNCH) != 0) {
		mode = ENV_FALLOC_PUNCH;
	} else if ((in->flags & W_FALLOCATE_FLAGS_ZERO) != 0) {
		mode = ENV_FALLOC_ZERO;
	}
	oss_object_change_begin(oss, obj);
	if (mode == ENV_FALLOC_PUNCH) {
		oss_space_promised(obj, in->offset, in->length, true);
	}
	err = oss_segments_allocate(oss, obj, mode, range);
	if (err == 0 && (in->flags & W_FALLOCATE_FLAGS_KEEP_SIZE) == 0) {
		err = oss_segments_extend(oss, obj, in->offset + in->length);
	}
	if (err == 0 && mode != ENV_FALLOC_PUNCH) {
		oss_space_promised(obj, in->offset, in->length, false);
	}
	oss_object_change_end(oss, obj);
	return err;
}

static int allocate_locked(
	struct oss *oss, struct oss_object *obj, const struct w_ost_allocate_req *in)
{
	struct d_ost_object owner = {.uid = in->uid, .gid = in->gid, .projid = in->projid};
	bool punch = (in->flags & W_FALLOCATE_FLAGS_PUNCH) != 0;
	/* The wait may have been for a destroy. */
	int err = oss_facts_check(oss, &in->object);

	if (err == 0 && !obj->exists && in->must_exist) {
		err = object_missing(oss, &in->object);
	}
	if (err != 0 || (!obj->exists && punch)) {
		return err;
	}
	if (!punch) {
		err = oss_space_promise(oss, obj, in->offset, in->length);
	}
	if (err == 0 && !obj->exists) {
		err = oss_object_create(oss, obj, &in->object, &owner);
	}
	return err != 0 ? err : range_change(oss, obj, in);
}

int oss_allocate(struct oss *oss, struct rpc_request *req)
{
	const struct w_ost_allocate_req *in = req->body;
	struct w_ost_allocate_rep out = {.verifier = oss->verifier};
	struct oss_object *obj = NULL;
	int err = allocate_check(oss, req);

	if (err == 0) {
		err = oss_object_get(oss, in->object.data_fid, in->object.stripe, &obj);
	}
	if (err != 0) {
		return err;
	}
	oss_object_lock(oss, obj, false);
	err = allocate_locked(oss, obj, in);
	oss_object_unlock(oss, obj, false);
	if (err == 0) {
		err = oss_object_attr(oss, obj, &out.attr);
	}
	oss_object_put(oss, obj);
	return err != 0 ? err : rpc_request_reply(req, &out);
}

static int seek_locked(struct oss *oss, struct oss_object *obj, const struct w_ost_seek_req *in,
	struct w_ost_seek_rep *out)
{
	int err = oss_facts_check(oss, &in->object);

	if (err != 0) {
		return err;
	}
	if (!obj->exists) {
		out->found = !in->data;
		out->offset = in->offset;
		return in->must_exist ? object_missing(oss, &in->object) : 0;
	}
	err = oss_segments_seek(oss, obj, in->offset, in->data, &out->offset);
	out->found = err == 0;
	return err == -NE_NXIO ? 0 : err;
}

int oss_seek(struct oss *oss, struct rpc_request *req)
{
	const struct w_ost_seek_req *in = req->body;
	struct w_ost_seek_rep out = {0};
	struct oss_object *obj = NULL;
	int err = in->offset > LIM_FILE_SIZE_MAX ? -NE_INVAL : oss_facts_check(oss, &in->object);

	if (err == 0) {
		err = oss_object_get(oss, in->object.data_fid, in->object.stripe, &obj);
	}
	if (err != 0) {
		return err;
	}
	oss_object_lock(oss, obj, false);
	err = seek_locked(oss, obj, in, &out);
	oss_object_unlock(oss, obj, false);
	if (err == 0) {
		err = oss_object_attr(oss, obj, &out.attr);
	}
	oss_object_put(oss, obj);
	return err != 0 ? err : rpc_request_reply(req, &out);
}
