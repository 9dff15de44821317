/*
 * rename: moving, replacing, exchanging names; directories never end up below themselves.
 *
 * Checks come in the order of the VFS, so errors are those programs know. All directories have one parent, so
 * walking up from the destination meets the source exactly when the move would cut a cycle off the tree.
 */
#include "mds/mds_int.h"

/* Deeper than any path that can be made: each step is a key. */
#define DEPTH_MAX 1000000

struct rename {
	struct mds_inode *sdir;
	struct mds_inode *ddir;
	struct mds_inode *src;
	struct mds_inode *dst; /* NULL: the new name is free */
	struct mds_dirent sent;
	struct mds_dirent dent;
	bool exchange;
};

/* Is `dir` the directory `above` or somewhere below it? 1, 0 or an error. */
static int is_below(struct mds_op *op, const struct mds_inode *dir, struct fid above)
{
	struct fid at = dir->fid;
	struct fid up = dir->d.parent;

	for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
		struct d_mds_inode d;
		int r;

		if (fid_eq(at, above)) {
			return 1;
		}
		if (fid_eq(at, fid_root())) {
			return 0;
		}
		at = up;
		r = mds_inode_peek(op, at, &d);
		if (r < 0) {
			return r == -NE_STALE ? -NE_CORRUPT : r;
		}
		up = d.parent;
	}
	return -NE_CORRUPT;
}

static int flags_check(uint32_t flags)
{
	if ((flags & ~(W_RENAME_FLAGS_NOREPLACE | W_RENAME_FLAGS_EXCHANGE)) != 0) {
		return -NE_INVAL;
	}
	return flags == (W_RENAME_FLAGS_NOREPLACE | W_RENAME_FLAGS_EXCHANGE) ? -NE_INVAL : 0;
}

static int entry_inode(struct mds_op *op, struct mds_inode *dir, struct wire_str name,
	struct mds_dirent *ret_dirent, struct mds_inode **ret_inode)
{
	int r = mds_dir_lookup(op, dir, name, ret_dirent);

	if (r == 0) {
		r = mds_inode_get(op, ret_dirent->fid, ret_inode);
		r = r == -NE_STALE ? -NE_CORRUPT : r;
	}
	return r;
}

static int rename_find(struct mds_op *op, struct rename *rn)
{
	const struct w_mds_rename_req *req = op->req;
	int r = mds_reach_dir(op, req->src_parent, &rn->sdir);

	if (r == 0) {
		r = mds_reach_dir(op, req->dst_parent, &rn->ddir);
	}
	if (r == 0) {
		r = entry_inode(op, rn->sdir, req->src_name, &rn->sent, &rn->src);
	}
	if (r < 0) {
		return r;
	}
	r = entry_inode(op, rn->ddir, req->dst_name, &rn->dent, &rn->dst);
	if (r == -NE_NOENT && !rn->exchange) {
		rn->dst = NULL;
		return 0;
	}
	if (r == 0 && (req->flags & W_RENAME_FLAGS_NOREPLACE) != 0) {
		return -NE_EXIST;
	}
	return r;
}

static int cycles_check(struct mds_op *op, const struct rename *rn)
{
	int below;

	if (rn->sdir == rn->ddir) {
		return 0;
	}
	if (mds_is_dir(rn->src)) {
		below = is_below(op, rn->ddir, rn->src->fid);
		if (below != 0) {
			return below < 0 ? below : -NE_INVAL;
		}
	}
	if (rn->dst != NULL && mds_is_dir(rn->dst)) {
		below = is_below(op, rn->sdir, rn->dst->fid);
		if (below != 0) {
			return below < 0 ? below : (rn->exchange ? -NE_INVAL : -NE_NOTEMPTY);
		}
	}
	return 0;
}

/* A directory that gets another parent has its ".." written. */
static int move_permitted(struct mds_op *op, const struct rename *rn, struct mds_inode *inode)
{
	if (rn->sdir == rn->ddir || !mds_is_dir(inode)) {
		return 0;
	}
	return mds_perm_check(op, inode, MDS_MAY_WRITE);
}

static int types_check(const struct rename *rn)
{
	if (rn->exchange) {
		return 0;
	}
	if (mds_is_dir(rn->src) != mds_is_dir(rn->dst)) {
		return mds_is_dir(rn->src) ? -NE_NOTDIR : -NE_ISDIR;
	}
	return 0;
}

static int rename_permitted(struct mds_op *op, const struct rename *rn)
{
	int r = mds_perm_remove(op, rn->sdir, rn->src);

	if (r == 0 && rn->dst == NULL) {
		r = mds_perm_add(op, rn->ddir);
	} else if (r == 0) {
		r = mds_perm_remove(op, rn->ddir, rn->dst);
		if (r == 0) {
			r = types_check(rn);
		}
	}
	if (r == 0) {
		r = move_permitted(op, rn, rn->src);
	}
	if (r == 0 && rn->exchange) {
		r = move_permitted(op, rn, rn->dst);
	}
	if (r < 0) {
		return r;
	}
	if (!rn->exchange && rn->dst != NULL && mds_is_dir(rn->dst) && rn->dst->d.entries != 0) {
		return -NE_NOTEMPTY;
	}
	return mds_is_dir(rn->src) && rn->ddir->d.nlink >= LIM_LINK_MAX ? -NE_MLINK : 0;
}

static int entries_exchange(struct mds_op *op, struct rename *rn)
{
	const struct w_mds_rename_req *req = op->req;
	int sub = (mds_is_dir(rn->src) ? 1 : 0) - (mds_is_dir(rn->dst) ? 1 : 0);
	int r = mds_dirent_replace(
		op, rn->ddir->fid, req->dst_name, &rn->dent, rn->src->fid, rn->src->d.mode);

	if (r == 0) {
		r = mds_dirent_replace(
			op, rn->sdir->fid, req->src_name, &rn->sent, rn->dst->fid, rn->dst->d.mode);
	}
	if (r < 0) {
		return r;
	}
	mds_dir_changed(op, rn->sdir, 0, -sub);
	mds_dir_changed(op, rn->ddir, 0, sub);
	rn->src->d.parent = rn->ddir->fid;
	rn->dst->d.parent = rn->sdir->fid;
	mds_inode_changed(op, rn->src);
	mds_inode_changed(op, rn->dst);
	return 0;
}

static int entries_move(struct mds_op *op, struct rename *rn)
{
	const struct w_mds_rename_req *req = op->req;
	int sub = mds_is_dir(rn->src) ? 1 : 0;
	int r;

	if (rn->dst == NULL) {
		r = mds_dirent_add(op, rn->ddir->fid, req->dst_name, rn->src->fid, rn->src->d.mode);
	} else {
		r = mds_dirent_replace(
			op, rn->ddir->fid, req->dst_name, &rn->dent, rn->src->fid, rn->src->d.mode);
	}
	if (r == 0) {
		r = mds_dirent_remove(op, rn->sdir->fid, &rn->sent);
	}
	if (r < 0) {
		return r;
	}
	mds_dir_changed(op, rn->sdir, -1, -sub);
	mds_dir_changed(op, rn->ddir, rn->dst == NULL ? 1 : 0,
		sub - (rn->dst != NULL && mds_is_dir(rn->dst) ? 1 : 0));
	rn->src->d.parent = rn->ddir->fid;
	mds_inode_changed(op, rn->src);
	op->res.replaced = rn->dst;
	return rn->dst == NULL ? 0 : mds_inode_unlinked(op, rn->dst, rn->ddir);
}

int mds_rename_execute(struct mds_op *op)
{
	const struct w_mds_rename_req *req = op->req;
	struct rename rn = {.exchange = (req->flags & W_RENAME_FLAGS_EXCHANGE) != 0};
	int r = flags_check(req->flags);

	if (r == 0) {
		r = rename_find(op, &rn);
	}
	if (r == 0) {
		r = cycles_check(op, &rn);
	}
	if (r < 0) {
		return r;
	}
	op->res.inode = rn.src;
	op->res.parents[0] = rn.sdir;
	op->res.parents[1] = rn.ddir == rn.sdir ? NULL : rn.ddir;
	if (rn.dst == rn.src) {
		return 0;
	}
	r = rename_permitted(op, &rn);
	if (r < 0) {
		return r;
	}
	op->res.dir_moved =
		rn.sdir != rn.ddir && (mds_is_dir(rn.src) || (rn.exchange && mds_is_dir(rn.dst)));
	return rn.exchange ? entries_exchange(op, &rn) : entries_move(op, &rn);
}

int mds_rename_reply(struct mds_op *op)
{
	mds_attr_fill(op->res.inode, &op->rep.rename.attr);
	mds_change_fill(op, &op->rep.rename.change);
	if (op->res.replaced != NULL) {
		mds_attr_fill(op->res.replaced, &op->attrs[2]);
		op->rep.rename.replaced.items = &op->attrs[2];
		op->rep.rename.replaced.count = 1;
	}
	return 0;
}
