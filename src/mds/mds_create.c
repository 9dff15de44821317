/*
 * Making inodes of every kind: files, directories, links, devices; and opening them in the same step.
 *
 * Keys touched by a create: the entry, the inode, its link key, the parent's inode, the globals, the slot.
 */
#include "mds/mds_int.h"

static bool type_ok(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		return true;
	default:
		return false;
	}
}

static bool is_device(uint32_t mode)
{
	return S_ISCHR(mode) || S_ISBLK(mode);
}

static int request_check(const struct w_mds_create_req *req)
{
	const struct wire_str *t = &req->target;

	if (!type_ok(req->mode) || (req->mode & ~(S_IFMT | 07777u)) != 0) {
		return -NE_INVAL;
	}
	if ((req->flags & ~W_CREATE_FLAGS_ALL) != 0) {
		return -NE_INVAL;
	}
	if (S_ISLNK(req->mode) && (t->len == 0 || memchr(t->ptr, 0, t->len) != NULL)) {
		return t->len == 0 ? -NE_NOENT : -NE_INVAL;
	}
	if ((req->flags & W_CREATE_FLAGS_OPEN) != 0 && !S_ISREG(req->mode)) {
		return -NE_INVAL;
	}
	if ((req->flags & W_CREATE_FLAGS_TMPFILE) != 0) {
		return (req->flags & W_CREATE_FLAGS_OPEN) != 0 && req->name.len == 0 ? 0
										     : -NE_INVAL;
	}
	return mds_name_check(req->name);
}

/* Mode and group of a new inode: what a set-gid directory hands down. The umask or the default ACL come later. */
static int owner_set(
	struct mds_op *op, const struct mds_inode *dir, uint32_t *ret_mode, uint32_t *ret_gid)
{
	const struct w_mds_create_req *req = op->req;
	uint32_t mode = req->mode;
	uint32_t gid = op->cred.gid;

	if ((dir->d.mode & S_ISGID) != 0) {
		gid = dir->d.gid;
		if (S_ISDIR(mode)) {
			mode |= S_ISGID;
		} else if ((mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP) &&
			!mds_capable(op, MDS_CAP_FSETID)) {
			int member = mds_perm_in_group(op, gid);

			if (member < 0) {
				return member;
			}
			mode &= member != 0 ? ~0u : ~(uint32_t)S_ISGID;
		}
	}
	*ret_mode = S_ISLNK(mode) ? S_IFLNK | 0777 : mode;
	*ret_gid = gid;
	return 0;
}

static int symlink_fill(struct mds_op *op, struct mds_inode *inode)
{
	const struct w_mds_create_req *req = op->req;

	inode->d.size = req->target.len;
	if (req->target.len <= MDS_SYMLINK_INODE_MAX) {
		inode->d.target = req->target;
		return 0;
	}
	return mds_pieces_put(op, inode->fid, MDS_PART_SYMLINK, wire_str_span(req->target));
}

static int inode_make(struct mds_op *op, struct mds_inode *dir, struct mds_inode **ret_inode)
{
	const struct w_mds_create_req *req = op->req;
	struct mds_inode *inode = NULL;
	uint32_t mode = 0;
	uint32_t gid = 0;
	struct fid fid;
	int r = owner_set(op, dir, &mode, &gid);

	if (r == 0) {
		r = mds_fid_next(op, &fid);
	}
	if (r == 0) {
		r = mds_inode_new(op, fid, &inode);
	}
	if (r < 0) {
		return r;
	}
	inode->d.mode = mode;
	inode->d.nlink = S_ISDIR(mode) ? 2 : 1;
	inode->d.uid = op->cred.uid;
	inode->d.gid = gid;
	inode->d.rdev = is_device(mode) ? req->rdev : 0;
	inode->d.parent = dir->fid;
	inode->d.projid = dir->d.projid;
	inode->d.dir_shards = S_ISDIR(mode) ? 1 : 0;
	r = S_ISLNK(mode) ? 0 : mds_acl_inherit(op, dir, req->umask, inode);
	if (r < 0) {
		return r;
	}
	if (S_ISLNK(mode)) {
		r = symlink_fill(op, inode);
	} else if (S_ISREG(mode) || S_ISDIR(mode)) {
		r = mds_data_created(op, dir, inode);
	}
	if (r < 0) {
		return r;
	}
	*ret_inode = inode;
	return 0;
}

static int create_existing(struct mds_op *op, const struct mds_dirent *dirent)
{
	const struct w_mds_create_req *req = op->req;
	int r;

	if ((req->flags & W_CREATE_FLAGS_OPEN) == 0 || (req->flags & W_CREATE_FLAGS_EXCL) != 0) {
		return -NE_EXIST;
	}
	if (S_ISDIR(dirent->mode)) {
		return -NE_ISDIR;
	}
	/* A link is followed by the client, a device is opened by its kernel: it has to look first. */
	if (!S_ISREG(dirent->mode)) {
		return -NE_EXIST;
	}
	r = mds_inode_get(op, dirent->fid, &op->res.inode);
	if (r < 0) {
		return r == -NE_STALE ? -NE_CORRUPT : r;
	}
	return mds_open_execute(op, op->res.inode, req->open, req->handle);
}

static int create_permitted(struct mds_op *op, const struct mds_inode *dir)
{
	const struct w_mds_create_req *req = op->req;
	int r = mds_perm_change(op);

	if (r == 0) {
		r = mds_perm_add(op, dir);
	}
	if (r < 0) {
		return r;
	}
	if (is_device(req->mode) && !mds_capable(op, MDS_CAP_MKNOD)) {
		return -NE_PERM;
	}
	return S_ISDIR(req->mode) && dir->d.nlink >= LIM_LINK_MAX ? -NE_MLINK : 0;
}

static int create_new(struct mds_op *op, struct mds_inode *dir)
{
	const struct w_mds_create_req *req = op->req;
	struct mds_inode *inode = NULL;
	int r = create_permitted(op, dir);

	if (r == 0) {
		r = inode_make(op, dir, &inode);
	}
	if (r == 0) {
		r = mds_dirent_add(op, dir->fid, req->name, inode->fid, inode->d.mode);
	}
	if (r < 0) {
		return r;
	}
	mds_dir_changed(op, dir, 1, mds_is_dir(inode) ? 1 : 0);
	op->res.inode = inode;
	op->res.created = true;
	if ((req->flags & W_CREATE_FLAGS_OPEN) != 0) {
		r = mds_open_execute(op, inode, req->open, req->handle);
	}
	return r;
}

/* O_TMPFILE: a file of nobody's, in this directory's name only. */
static int create_nameless(struct mds_op *op, struct mds_inode *dir)
{
	const struct w_mds_create_req *req = op->req;
	struct mds_inode *inode = NULL;
	int r = create_permitted(op, dir);

	if (r == 0) {
		r = inode_make(op, dir, &inode);
	}
	if (r < 0) {
		return r;
	}
	inode->d.nlink = 0;
	if ((req->flags & W_CREATE_FLAGS_EXCL) == 0) {
		inode->d.state |= W_ATTR_STATE_LINKABLE;
	}
	op->res.inode = inode;
	op->res.created = true;
	r = mds_data_nameless(op, inode);
	return r < 0 ? r : mds_open_execute(op, inode, req->open, req->handle);
}

int mds_create_execute(struct mds_op *op)
{
	const struct w_mds_create_req *req = op->req;
	struct mds_inode *dir = NULL;
	struct mds_dirent dirent;
	int r = request_check(req);

	if (r == 0) {
		r = mds_reach_dir(op, req->parent, &dir);
	}
	if (r < 0) {
		return r;
	}
	op->res.parents[0] = dir;
	if ((req->flags & W_CREATE_FLAGS_TMPFILE) != 0) {
		return create_nameless(op, dir);
	}
	r = mds_dir_lookup(op, dir, req->name, &dirent);
	if (r == -NE_NOENT) {
		return create_new(op, dir);
	}
	return r < 0 ? r : create_existing(op, &dirent);
}

int mds_create_reply(struct mds_op *op)
{
	const struct w_mds_create_req *req = op->req;
	struct w_mds_create_rep *rep = &op->rep.create;

	rep->created = op->res.created;
	mds_change_fill(op, &rep->change);
	return mds_rep_inode_info(op, req->want, &rep->info);
}
