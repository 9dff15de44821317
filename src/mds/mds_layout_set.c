/*
 * Requests about layouts: a file's before it has data, a directory's default.
 */
#include "mds/mds_data.h"

static int set_permitted(struct mds_op *op, const struct mds_inode *inode)
{
	if (!S_ISREG(inode->d.mode) && !mds_is_dir(inode)) {
		return -NE_INVAL;
	}
	return mds_is_owner(op, inode) ? 0 : mds_perm_check(op, inode, MDS_MAY_WRITE);
}

static int set_file(struct mds_op *op, struct mds_inode *inode)
{
	const struct w_mds_layout_set_req *req = op->req;
	uint32_t had;
	int r = mds_file_settled(op, inode->fid);

	if (r < 0) {
		return r;
	}
	if (req->remove) {
		return -NE_INVAL;
	}
	if (mds_instantiated(inode) || inode->d.size != 0) {
		return -NE_EXIST;
	}
	r = mds_layout_load(op, inode);
	had = op->layout.osts.count;
	if (r == 0) {
		r = mds_layout_wanted(op, &req->layout);
	}
	if (r == 0) {
		r = mds_layout_file_init(op, inode, true);
	}
	return r < 0 ? r : mds_layout_store(op, inode, had);
}

static int set_directory(struct mds_op *op, struct mds_inode *inode)
{
	const struct w_mds_layout_set_req *req = op->req;
	uint32_t had = 0;
	int r = mds_layout_load(op, inode);

	if (r == 0) {
		had = op->layout.osts.count;
	} else if (r != -NE_NODATA) {
		return r;
	}
	if (!req->remove) {
		r = mds_layout_wanted(op, &req->layout);
		if (r < 0) {
			return r;
		}
		op->layout.flags |= W_LAYOUT_FLAGS_DIRECTORY;
		op->layout.gen = inode->d.layout_gen + 1;
		return mds_layout_store(op, inode, had);
	}
	if (r == -NE_NODATA) {
		return 0;
	}
	/* Through the store, so that pieces of a long list go too. */
	op->layout.osts.count = 0;
	op->layout.gen = inode->d.layout_gen + 1;
	r = mds_layout_store(op, inode, had);
	if (r == 0) {
		struct mds_key key = mds_key_piece(inode->fid, MDS_PART_LAYOUT, 0);

		r = mds_kv_del(op, &key);
	}
	return r;
}

int mds_layout_set_execute(struct mds_op *op)
{
	const struct w_mds_layout_set_req *req = op->req;
	struct mds_inode *inode = NULL;
	int r = mds_reach(op, req->fid, &inode);

	if (r == 0) {
		r = set_permitted(op, inode);
	}
	if (r < 0) {
		return r;
	}
	op->res.inode = inode;
	mds_inode_changed(op, inode);
	return mds_is_dir(inode) ? set_directory(op, inode) : set_file(op, inode);
}

int mds_layout_set_reply(struct mds_op *op)
{
	return mds_rep_inode_info(op, W_WANT_LAYOUT, &op->rep.layout_set.info);
}

int mds_layout_get_execute(struct mds_op *op)
{
	const struct w_mds_layout_get_req *req = op->req;
	struct mds_inode *inode = NULL;
	int r = mds_reach(op, req->fid, &inode);

	if (r == 0) {
		r = mds_layout_load(op, inode);
	}
	if (r == -NE_NODATA && inode != NULL && mds_is_dir(inode)) {
		mds_layout_default(op);
		op->layout.flags = W_LAYOUT_FLAGS_DIRECTORY;
		op->res.flag = true;
		r = 0;
	}
	return r;
}

int mds_layout_get_reply(struct mds_op *op)
{
	op->rep.layout_get.layout = op->layout;
	op->rep.layout_get.inherited = op->res.flag;
	return 0;
}
