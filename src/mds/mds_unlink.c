/*
 * Names come and go: link, unlink, rmdir, and what an inode and a directory feel of it.
 *
 * A directory's nlink is 2 and its subdirectories; `entries` counts its names. A file's `parent` is a directory
 * that holds one of its names.
 */
#include "mds/mds_int.h"

void mds_dir_changed(struct mds_op *op, struct mds_inode *dir, int entries, int subdirs)
{
	ASSERT(mds_is_dir(dir));
	ASSERT(entries >= 0 || dir->d.entries >= (uint64_t)-entries);
	dir->d.entries += (uint64_t)(int64_t)entries;
	dir->d.nlink += (uint32_t)subdirs;
	dir->d.mtime = op->now_ns;
	mds_inode_changed(op, dir);
}

static int link_first(void *arg, const struct state_rec *rec)
{
	struct fid *parent = arg;

	if (rec->key_len != 1 + 16 + 1 + 16 + 8) {
		return -NE_CORRUPT;
	}
	*parent = mds_fid_load((const uint8_t *)rec->key + 18);
	return 1;
}

/* The remembered parent lost its name of this file: any other of its parents will do. */
static int parent_find(struct mds_op *op, struct mds_inode *inode)
{
	struct mds_key from = mds_key_part(inode->fid, MDS_PART_LINK);
	struct mds_key to = mds_key_part(inode->fid, MDS_PART_LINK + 1);

	return mds_kv_range(op, &from, &to, 1, link_first, &inode->d.parent);
}

int mds_inode_unlinked(struct mds_op *op, struct mds_inode *inode, const struct mds_inode *dir)
{
	if (mds_is_dir(inode)) {
		inode->d.nlink = 0;
		mds_inode_changed(op, inode);
		return mds_data_unlinked(op, inode);
	}
	if (inode->d.nlink == 0) {
		return -NE_CORRUPT;
	}
	inode->d.nlink--;
	mds_inode_changed(op, inode);
	if (inode->d.nlink == 0) {
		return mds_data_unlinked(op, inode);
	}
	return fid_eq(inode->d.parent, dir->fid) ? parent_find(op, inode) : 0;
}

/* ---- unlink and rmdir ---- */

static int unlink_permitted(
	struct mds_op *op, const struct mds_inode *dir, const struct mds_inode *victim)
{
	const struct w_mds_unlink_req *req = op->req;
	int r = mds_perm_remove(op, dir, victim);

	if (r < 0) {
		return r;
	}
	if (req->directory != mds_is_dir(victim)) {
		return req->directory ? -NE_NOTDIR : -NE_ISDIR;
	}
	return mds_is_dir(victim) && victim->d.entries != 0 ? -NE_NOTEMPTY : 0;
}

int mds_unlink_execute(struct mds_op *op)
{
	const struct w_mds_unlink_req *req = op->req;
	struct mds_inode *dir = NULL;
	struct mds_inode *victim = NULL;
	struct mds_dirent dirent;
	int r = mds_reach_dir(op, req->parent, &dir);

	if (r == 0) {
		r = mds_dir_lookup(op, dir, req->name, &dirent);
	}
	if (r == 0) {
		r = mds_inode_get(op, dirent.fid, &victim);
		r = r == -NE_STALE ? -NE_CORRUPT : r;
	}
	if (r == 0) {
		r = unlink_permitted(op, dir, victim);
	}
	if (r == 0) {
		r = mds_dirent_remove(op, dir->fid, &dirent);
	}
	if (r < 0) {
		return r;
	}
	mds_dir_changed(op, dir, -1, mds_is_dir(victim) ? -1 : 0);
	op->res.inode = victim;
	op->res.parents[0] = dir;
	return mds_inode_unlinked(op, victim, dir);
}

int mds_unlink_reply(struct mds_op *op)
{
	mds_attr_fill(op->res.inode, &op->rep.unlink.attr);
	mds_change_fill(op, &op->rep.unlink.change);
	return 0;
}

/* ---- link ---- */

/* What fs.protected_hardlinks asks for: nobody pins other people's set-id programs or secrets. */
static int guard_permits(struct mds_op *op, const struct mds_inode *inode)
{
	uint32_t mode = inode->d.mode;
	int r;

	if (mds_is_owner(op, inode)) {
		return 0;
	}
	if (!S_ISREG(mode) || (mode & S_ISUID) != 0 ||
		(mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP)) {
		return -NE_PERM;
	}
	r = mds_perm_check(op, inode, MDS_MAY_READ | MDS_MAY_WRITE);
	return r == -NE_ACCES ? -NE_PERM : r;
}

static int link_permitted(
	struct mds_op *op, const struct mds_inode *dir, const struct mds_inode *inode)
{
	const struct w_mds_link_req *req = op->req;
	int r = req->guarded ? guard_permits(op, inode) : 0;

	if (r == 0) {
		r = mds_perm_add(op, dir);
	}
	if (r < 0) {
		return r;
	}
	if (mds_has(inode, W_ATTR_STATE_APPEND_ONLY | W_ATTR_STATE_IMMUTABLE)) {
		return -NE_PERM;
	}
	if (mds_is_dir(inode)) {
		return -NE_PERM;
	}
	if (inode->d.nlink == 0 && !mds_has(inode, W_ATTR_STATE_LINKABLE)) {
		return -NE_NOENT;
	}
	return inode->d.nlink >= LIM_LINK_MAX ? -NE_MLINK : 0;
}

int mds_link_execute(struct mds_op *op)
{
	const struct w_mds_link_req *req = op->req;
	struct mds_inode *inode = NULL;
	struct mds_inode *dir = NULL;
	struct mds_dirent dirent;
	int r = mds_reach(op, req->fid, &inode);

	if (r == 0) {
		r = mds_reach_dir(op, req->parent, &dir);
	}
	if (r < 0) {
		return r;
	}
	r = mds_dir_lookup(op, dir, req->name, &dirent);
	if (r != -NE_NOENT) {
		return r == 0 ? -NE_EXIST : r;
	}
	r = link_permitted(op, dir, inode);
	if (r == 0) {
		r = mds_dirent_add(op, dir->fid, req->name, inode->fid, inode->d.mode);
	}
	if (r < 0) {
		return r;
	}
	if (inode->d.nlink == 0) {
		inode->d.parent = dir->fid;
		r = mds_data_named(op, inode);
		if (r < 0) {
			return r;
		}
	}
	inode->d.nlink++;
	mds_inode_changed(op, inode);
	mds_dir_changed(op, dir, 1, 0);
	op->res.inode = inode;
	op->res.parents[0] = dir;
	return 0;
}

int mds_link_reply(struct mds_op *op)
{
	mds_change_fill(op, &op->rep.link.change);
	return mds_rep_inode_info(op, 0, &op->rep.link.info);
}
