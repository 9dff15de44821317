/*
 * fallocate of files whose data is in the MDT.
 *
 * Their bytes all exist, so a promise within the size changes nothing but the times, and a hole is zeros. What is
 * promised beyond the inline limit needs objects: the client has the file instantiated and promises it there.
 */
#include "mds/mds_data.h"

static int request_check(const struct w_mds_fallocate_req *req)
{
	uint32_t f = req->flags;
	bool punch = (f & W_FALLOCATE_FLAGS_PUNCH) != 0;

	if ((f & ~W_FALLOCATE_FLAGS_ALL) != 0 || req->length == 0) {
		return -NE_INVAL;
	}
	if (punch &&
		((f & W_FALLOCATE_FLAGS_KEEP_SIZE) == 0 || (f & W_FALLOCATE_FLAGS_ZERO) != 0)) {
		return -NE_INVAL;
	}
	if (req->offset > LIM_FILE_SIZE_MAX || req->length > LIM_FILE_SIZE_MAX - req->offset) {
		return -NE_INVAL;
	}
	return !punch && req->offset + req->length > LIM_INLINE_MAX ? -NE_FBIG : 0;
}

static int range_apply(struct mds_op *op, struct mds_inode *inode)
{
	const struct w_mds_fallocate_req *req = op->req;
	uint64_t size = inode->d.size;
	uint64_t end = req->offset + req->length;
	int r = 0;

	if ((req->flags & (W_FALLOCATE_FLAGS_PUNCH | W_FALLOCATE_FLAGS_ZERO)) != 0) {
		r = mds_inline_zero(op, inode, u64_min(req->offset, size), u64_min(end, size));
	}
	if (r == 0 && end > size && (req->flags & W_FALLOCATE_FLAGS_KEEP_SIZE) == 0) {
		r = mds_inline_size_set(op, inode, end);
	}
	return r;
}

int mds_fallocate_execute(struct mds_op *op)
{
	const struct w_mds_fallocate_req *req = op->req;
	struct mds_inode *inode = NULL;
	int r = mds_inline_writable(op, req->fid, req->handle, &inode);

	if (r == 0) {
		r = request_check(req);
	}
	if (r == 0 && mds_has(inode, W_ATTR_STATE_APPEND_ONLY) &&
		(req->flags & (W_FALLOCATE_FLAGS_PUNCH | W_FALLOCATE_FLAGS_ZERO)) != 0) {
		r = -NE_PERM;
	}
	if (r < 0) {
		return r;
	}
	op->res.inode = inode;
	r = range_apply(op, inode);
	if (r < 0) {
		return r;
	}
	if ((req->flags & W_FALLOCATE_FLAGS_KILL_SUID) != 0 ||
		op->session->role == W_PEER_ROLE_USER) {
		inode->d.mode = mds_mode_kill_setid(inode->d.mode);
	}
	mds_inode_data_changed(op, inode);
	return mds_capability_kill(op, inode);
}

int mds_fallocate_reply(struct mds_op *op)
{
	mds_attr_fill(op->res.inode, &op->rep.fallocate.attr);
	return 0;
}

int mds_fallocate_after(struct mds_op *op)
{
	const struct w_mds_fallocate_req *req = op->req;

	if ((req->flags & W_FALLOCATE_FLAGS_SYNC) != 0) {
		state_wait_durable(op->mds->st, state_last_lsn(op->mds->st));
	}
	return 0;
}
