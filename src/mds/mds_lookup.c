/*
 * Looking at inodes: getattr, lookup, readlink, and access times.
 *
 * Access times are the server's (relatime): reading an entry list or a link moves atime when it is not later
 * than the last change or is a day old, in a transaction of its own, since the reading itself writes nothing.
 */
#include "mds/mds_int.h"

#define RELATIME_NS (INT64_C(24) * 3600 * 1000000000)

int mds_dir_lookup(struct mds_op *op, struct mds_inode *dir, struct wire_str name,
	struct mds_dirent *ret_dirent)
{
	int r = mds_name_check(name);

	ASSERT(mds_is_dir(dir));
	if (r == 0) {
		r = mds_perm_check(op, dir, MDS_MAY_EXEC);
	}
	return r < 0 ? r : mds_dirent_find(op, dir->fid, name, ret_dirent);
}

int mds_rep_inode_info(struct mds_op *op, uint32_t want, struct w_inode_info *ret_info)
{
	struct mds_inode *inode = op->res.inode;

	ASSERT(inode != NULL);
	/* Data goes only to those who may read it. */
	if ((want & W_WANT_DATA) != 0 && !inode->fresh &&
		mds_perm_check(op, inode, MDS_MAY_READ) < 0) {
		want &= ~W_WANT_DATA;
	}
	return mds_info_fill(op, inode, want, ret_info);
}

int mds_getattr_execute(struct mds_op *op)
{
	const struct w_mds_getattr_req *req = op->req;

	int r = mds_reach(op, req->fid, &op->res.inode);

	if (r == 0 && (req->want & W_WANT_SETTLED) != 0) {
		r = mds_file_settled(op, op->res.inode->fid);
	}
	return r;
}

int mds_getattr_reply(struct mds_op *op)
{
	const struct w_mds_getattr_req *req = op->req;

	return mds_rep_inode_info(op, req->want, &op->rep.getattr.info);
}

int mds_lookup_execute(struct mds_op *op)
{
	const struct w_mds_lookup_req *req = op->req;
	struct mds_inode *dir = NULL;
	struct mds_dirent dirent;
	int r = mds_reach_dir(op, req->parent, &dir);

	if (r == 0) {
		r = mds_dir_lookup(op, dir, req->name, &dirent);
	}
	if (r == 0) {
		r = mds_inode_get(op, dirent.fid, &op->res.inode);
		r = r == -NE_STALE ? -NE_CORRUPT : r;
	}
	op->res.parents[0] = dir;
	return r;
}

int mds_lookup_reply(struct mds_op *op)
{
	const struct w_mds_lookup_req *req = op->req;
	struct w_mds_lookup_rep *rep = &op->rep.lookup;

	if ((req->want & W_WANT_PARENT) != 0) {
		mds_attr_fill(op->res.parents[0], &op->attrs[0]);
		rep->parents.items = op->attrs;
		rep->parents.count = 1;
	}
	return mds_rep_inode_info(op, req->want, &rep->info);
}

/* ---- access times ---- */

bool mds_atime_due(const struct mds_op *op, const struct mds_inode *inode)
{
	const struct d_mds_inode *d = &inode->d;

	if (op->session != NULL && op->session->read_only) {
		return false;
	}
	return d->atime <= d->mtime || d->atime <= d->ctime || op->now_ns - d->atime >= RELATIME_NS;
}

static int atime_move(struct mds_op *op, void *ctx)
{
	const struct fid *fid = ctx;
	struct mds_inode *inode = NULL;
	int r = mds_inode_get(op, *fid, &inode);

	if (r == 0 && mds_atime_due(op, inode)) {
		inode->d.atime = op->now_ns;
		mds_inode_touched(inode);
	}
	return r;
}

int mds_atime_after(struct mds_op *op)
{
	struct mds_op *own = NULL;
	struct fid fid = op->res.fid;
	int r;

	if (!op->res.atime_due) {
		return 0;
	}
	r = mds_op_new(op->mds, &own);
	if (r == 0) {
		r = mds_op_run_own(own, STATE_CHANGE, atime_move, &fid);
		mds_op_free(own);
	}
	/* Removed meanwhile, or no room for it: reading goes on. */
	return r == -NE_STALE || r == -NE_NOSPC ? 0 : r;
}

/* ---- readlink ---- */

int mds_readlink_execute(struct mds_op *op)
{
	const struct w_mds_readlink_req *req = op->req;
	struct mds_inode *inode = NULL;
	int r = mds_reach(op, req->fid, &inode);

	if (r < 0) {
		return r;
	}
	if (!S_ISLNK(inode->d.mode)) {
		return -NE_INVAL;
	}
	op->res.fid = inode->fid;
	op->res.atime_due = mds_atime_due(op, inode);
	if (inode->d.target.len != 0) {
		op->res.bytes = wire_str_span(inode->d.target);
		return 0;
	}
	if (inode->d.size == 0 || inode->d.size > LIM_SYMLINK_MAX) {
		return -NE_CORRUPT;
	}
	op->res.bytes = span_of(op->large, inode->d.size);
	return mds_pieces_get(op, inode->fid, MDS_PART_SYMLINK, op->large, inode->d.size);
}

int mds_readlink_reply(struct mds_op *op)
{
	op->rep.readlink.target = wire_str_n(op->res.bytes.ptr, op->res.bytes.len);
	return 0;
}
