/*
 * WRITE: the bytes were received into a pooled buffer and their checksum verified; they go to the kernel from
 * there. The answer says UNSTABLE with the verifier and the change's number, unless SYNC asked for a commit.
 */
#include "oss/oss_int.h"

static int write_check(const struct oss *oss, const struct rpc_request *req)
{
	const struct w_ost_write_req *in = req->body;
	const struct rpc_identity *id = rpc_export_identity(req->exp);

	if (id->read_only) {
		return -NE_ROFS;
	}
	if (in->length != req->bulk_in_len || in->length == 0) {
		return -NE_INVAL;
	}
	if (in->offset > LIM_FILE_SIZE_MAX || in->length > LIM_FILE_SIZE_MAX - in->offset) {
		return -NE_FBIG;
	}
	return oss_facts_check(oss, &in->object);
}

static int write_object(struct oss *oss, struct rpc_request *req, struct oss_object *obj)
{
	const struct w_ost_write_req *in = req->body;
	int err;

	oss_object_lock(oss, obj, false);
	/* The wait may have been for a destroy. */
	err = oss_facts_check(oss, &in->object);
	if (err == 0) {
		err = oss_space_check(oss, obj, in->offset, in->length);
	}
	if (err == 0 && !obj->exists) {
		struct d_ost_object owner = {.uid = in->uid, .gid = in->gid, .projid = in->projid};

		err = oss_object_create(oss, obj, &in->object, &owner);
	}
	if (err == 0) {
		oss_object_change_begin(oss, obj);
		err = oss_segments_write(oss, obj, req->bulk_in, in->length, in->offset);
		oss_object_change_end(oss, obj);
	}
	oss_object_unlock(oss, obj, false);
	return err;
}

int oss_write(struct oss *oss, struct rpc_request *req)
{
	const struct w_ost_write_req *in = req->body;
	struct w_ost_write_rep out = {.verifier = oss->verifier};
	struct oss_object *obj = NULL;
	int err = write_check(oss, req);

	if (err == 0) {
		err = oss_object_get(oss, in->object.data_fid, in->object.stripe, &obj);
	}
	if (err != 0) {
		return err;
	}
	err = write_object(oss, req, obj);
	if (err == 0 && (in->flags & W_OST_WRITE_FLAGS_SYNC) != 0) {
		err = oss_object_commit(oss, obj);
		out.stable = true;
	}
	if (err == 0) {
		err = oss_object_attr(oss, obj, &out.attr);
	}
	oss_object_put(oss, obj);
	if (err != 0) {
		return err;
	}
	oss->counters.writes++;
	oss->counters.bytes_written += in->length;
	return rpc_request_reply(req, &out);
}
