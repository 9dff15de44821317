/*
 * setattr: modes, owners, times, chattr's flags, and the permission side of truncation.
 *
 * All checks come before the first change, in the VFS's order. A chown and a truncate take away set-id bits and file
 * capabilities; a chmod by somebody outside of the file's group takes away set-gid. An access ACL follows the mode.
 */
#include "mds/mds_int.h"

#define TIMES \
	(W_SETATTR_VALID_ATIME | W_SETATTR_VALID_ATIME_NOW | W_SETATTR_VALID_MTIME | \
		W_SETATTR_VALID_MTIME_NOW)
#define TIMES_NOW (W_SETATTR_VALID_ATIME_NOW | W_SETATTR_VALID_MTIME_NOW)
#define SUPPORTED \
	(W_SETATTR_VALID_MODE | W_SETATTR_VALID_UID | W_SETATTR_VALID_GID | W_SETATTR_VALID_SIZE | \
		TIMES | W_SETATTR_VALID_PROJID | W_SETATTR_VALID_FLAGS | \
		W_SETATTR_VALID_KILL_SUID | W_SETATTR_VALID_KILL_CAPABILITY | \
		W_SETATTR_VALID_TOUCH)
#define OWNER (W_SETATTR_VALID_UID | W_SETATTR_VALID_GID)
/* What chattr may set, and what of it needs a capability. */
#define FLAGS_SETTABLE (W_ATTR_STATE_IMMUTABLE | W_ATTR_STATE_APPEND_ONLY | W_ATTR_STATE_NODUMP)
#define FLAGS_GUARDED (W_ATTR_STATE_IMMUTABLE | W_ATTR_STATE_APPEND_ONLY)

/* What is left of the request after interpretation. */
struct setattr {
	const struct w_mds_setattr_req *req;
	struct mds_inode *inode;
	uint32_t valid;
	uint32_t mode; /* the new one, type included */
};

static bool has(const struct setattr *s, uint32_t bits)
{
	return (s->valid & bits) != 0;
}

static int request_check(const struct w_mds_setattr_req *req)
{
	uint32_t v = req->valid;

	if ((v & ~SUPPORTED) != 0) {
		return -NE_NOTSUP;
	}
	if ((v & (W_SETATTR_VALID_ATIME | W_SETATTR_VALID_ATIME_NOW)) ==
			(W_SETATTR_VALID_ATIME | W_SETATTR_VALID_ATIME_NOW) ||
		(v & (W_SETATTR_VALID_MTIME | W_SETATTR_VALID_MTIME_NOW)) ==
			(W_SETATTR_VALID_MTIME | W_SETATTR_VALID_MTIME_NOW)) {
		return -NE_INVAL;
	}
	if ((v & W_SETATTR_VALID_SIZE) != 0 && req->size > LIM_FILE_SIZE_MAX) {
		return -NE_FBIG;
	}
	/* (uid_t)-1 means "unchanged" to programs, so no file may have it. */
	if (((v & W_SETATTR_VALID_UID) != 0 && req->uid == UINT32_MAX) ||
		((v & W_SETATTR_VALID_GID) != 0 && req->gid == UINT32_MAX)) {
		return -NE_INVAL;
	}
	return 0;
}

static int size_permitted(struct mds_op *op, const struct setattr *s)
{
	/* A kernel sends KILL_SUID along with a chown too; alone it stands for a write. */
	bool write = has(s, W_SETATTR_VALID_KILL_SUID | W_SETATTR_VALID_KILL_CAPABILITY) &&
		!has(s, W_SETATTR_VALID_MODE | OWNER);

	if (!has(s, W_SETATTR_VALID_SIZE) && !write) {
		return 0;
	}
	if (!S_ISREG(s->inode->d.mode)) {
		return mds_is_dir(s->inode) ? -NE_ISDIR : -NE_INVAL;
	}
	if (s->req->handle != 0 &&
		mds_data_open_writes(op->session, s->inode->fid, s->req->handle)) {
		return 0;
	}
	return mds_perm_check(op, s->inode, MDS_MAY_WRITE);
}

static int owner_permitted(struct mds_op *op, const struct setattr *s)
{
	const struct d_mds_inode *d = &s->inode->d;
	bool owner = op->cred.uid == d->uid;
	int member;

	if (mds_capable(op, MDS_CAP_CHOWN)) {
		return 0;
	}
	if (has(s, W_SETATTR_VALID_UID) && (!owner || s->req->uid != d->uid)) {
		return -NE_PERM;
	}
	if (!has(s, W_SETATTR_VALID_GID) || (owner && s->req->gid == d->gid)) {
		return 0;
	}
	if (!owner) {
		return -NE_PERM;
	}
	member = mds_perm_in_group(op, s->req->gid);
	return member < 0 ? member : (member != 0 ? 0 : -NE_PERM);
}

static int times_permitted(struct mds_op *op, const struct setattr *s)
{
	int r;

	if (!has(s, TIMES) || mds_is_owner(op, s->inode)) {
		return 0;
	}
	if ((s->valid & TIMES) != TIMES_NOW) {
		return -NE_PERM;
	}
	/* To now, as a write would: whoever may write may do it. */
	r = mds_perm_check(op, s->inode, MDS_MAY_WRITE);
	return r;
}

/* Files that nobody may change, or that may only grow. */
static int flags_permitted(struct mds_op *op, const struct setattr *s)
{
	const struct d_mds_inode *d = &s->inode->d;
	bool now = (s->valid & TIMES) == TIMES_NOW;
	uint32_t change = W_SETATTR_VALID_MODE | OWNER | W_SETATTR_VALID_SIZE |
		W_SETATTR_VALID_TOUCH | (now ? 0 : TIMES);

	if (has(s, W_SETATTR_VALID_FLAGS)) {
		uint32_t guarded = (d->state ^ s->req->state) & FLAGS_GUARDED;

		if (!S_ISREG(d->mode) && !mds_is_dir(s->inode)) {
			return -NE_NOTSUP;
		}
		if ((s->req->state & ~FLAGS_SETTABLE) != 0) {
			return -NE_NOTSUP;
		}
		if (!mds_is_owner(op, s->inode) ||
			(guarded != 0 && !mds_capable(op, MDS_CAP_LINUX_IMMUTABLE))) {
			return -NE_PERM;
		}
	}
	if (mds_has(s->inode, W_ATTR_STATE_IMMUTABLE) && has(s, change | TIMES)) {
		return -NE_PERM;
	}
	return mds_has(s->inode, W_ATTR_STATE_APPEND_ONLY) && has(s, change) ? -NE_PERM : 0;
}

/* The mode as it will be; needs groups where set-gid is at stake. */
static int mode_decide(struct mds_op *op, struct setattr *s)
{
	struct d_mds_inode *d = &s->inode->d;
	uint32_t gid =
		has(s, W_SETATTR_VALID_MODE) && has(s, W_SETATTR_VALID_GID) ? s->req->gid : d->gid;
	bool chown = has(s, OWNER | W_SETATTR_VALID_TOUCH) && !mds_is_dir(s->inode);
	bool write = (has(s, W_SETATTR_VALID_SIZE) && !mds_capable(op, MDS_CAP_FSETID)) ||
		(has(s, W_SETATTR_VALID_KILL_SUID) && S_ISREG(d->mode));
	int member;

	s->mode = d->mode;
	if (has(s, W_SETATTR_VALID_MODE)) {
		if (!mds_is_owner(op, s->inode)) {
			return -NE_PERM;
		}
		if (S_ISLNK(d->mode)) {
			return -NE_NOTSUP;
		}
		s->mode = (d->mode & S_IFMT) | (s->req->mode & 07777u);
	}
	if (write) {
		int r = mds_mode_kill(op, s->inode, &s->mode);

		if (r < 0) {
			return r;
		}
	}
	if (chown) {
		s->mode = mds_mode_kill_setid(s->mode);
	}
	if ((s->mode & S_ISGID) == 0 || mds_capable(op, MDS_CAP_FSETID) ||
		!(has(s, W_SETATTR_VALID_MODE) || chown)) {
		return 0;
	}
	member = mds_perm_in_group(op, gid);
	if (member < 0) {
		return member;
	}
	if (member == 0) {
		s->mode &= ~(uint32_t)S_ISGID;
	}
	return 0;
}

static void times_apply(struct mds_op *op, const struct setattr *s)
{
	struct d_mds_inode *d = &s->inode->d;

	if (has(s, W_SETATTR_VALID_ATIME)) {
		d->atime = s->req->atime;
	} else if (has(s, W_SETATTR_VALID_ATIME_NOW)) {
		d->atime = op->now_ns;
	}
	if (has(s, W_SETATTR_VALID_MTIME)) {
		d->mtime = s->req->mtime;
	} else if (has(s, W_SETATTR_VALID_MTIME_NOW)) {
		d->mtime = op->now_ns;
	}
	if (has(s, W_SETATTR_VALID_MTIME | W_SETATTR_VALID_MTIME_NOW)) {
		d->mtime_floor = op->now_ns;
	}
}

static int setattr_apply(struct mds_op *op, const struct setattr *s)
{
	struct d_mds_inode *d = &s->inode->d;
	uint32_t kills = OWNER | W_SETATTR_VALID_TOUCH | W_SETATTR_VALID_SIZE |
		W_SETATTR_VALID_KILL_SUID | W_SETATTR_VALID_KILL_CAPABILITY;
	bool moved = false;
	int r = has(s, kills) && S_ISREG(d->mode) ? mds_capability_kill(op, s->inode) : 0;

	if (r < 0) {
		return r;
	}
	d->mode = s->mode;
	if (has(s, W_SETATTR_VALID_UID)) {
		moved |= d->uid != s->req->uid;
		d->uid = s->req->uid;
	}
	if (has(s, W_SETATTR_VALID_GID)) {
		moved |= d->gid != s->req->gid;
		d->gid = s->req->gid;
	}
	if (has(s, W_SETATTR_VALID_PROJID)) {
		moved |= d->projid != s->req->projid;
		d->projid = s->req->projid;
	}
	if (has(s, W_SETATTR_VALID_FLAGS)) {
		d->state = (d->state & ~FLAGS_SETTABLE) | s->req->state;
	}
	times_apply(op, s);
	mds_inode_changed(op, s->inode);
	if (has(s, W_SETATTR_VALID_MODE)) {
		r = mds_acl_chmod(op, s->inode);
	}
	if (r == 0 && moved && S_ISREG(d->mode)) {
		r = mds_data_owner_changed(op, s->inode);
	}
	if (r == 0 && has(s, W_SETATTR_VALID_SIZE)) {
		r = mds_data_size_set(op, s->inode, s->req->size);
	}
	return r;
}

int mds_setattr_execute(struct mds_op *op)
{
	struct setattr s = {
		.req = op->req, .valid = ((const struct w_mds_setattr_req *)op->req)->valid};
	int r = request_check(s.req);

	if (r == 0) {
		r = mds_reach(op, s.req->fid, &s.inode);
	}
	if (r < 0) {
		return r;
	}
	op->res.inode = s.inode;
	/* A truncation moves the times itself; what a kernel sends along says no more than that. */
	if (has(&s, W_SETATTR_VALID_SIZE)) {
		s.valid &= ~TIMES_NOW;
	}
	if (s.valid == 0) {
		return 0;
	}
	r = flags_permitted(op, &s);
	if (r == 0) {
		r = size_permitted(op, &s);
	}
	if (r == 0 && has(&s, OWNER)) {
		r = owner_permitted(op, &s);
	}
	if (r == 0) {
		r = mode_decide(op, &s);
	}
	/* A chown of nothing is anybody's, unless it takes something away. */
	if (r == 0 && has(&s, W_SETATTR_VALID_TOUCH) && s.mode != s.inode->d.mode &&
		!mds_is_owner(op, s.inode)) {
		r = -NE_PERM;
	}
	if (r == 0) {
		r = times_permitted(op, &s);
	}
	if (r == 0 && has(&s, W_SETATTR_VALID_PROJID) && !mds_is_owner(op, s.inode)) {
		r = -NE_PERM;
	}
	return r < 0 ? r : setattr_apply(op, &s);
}

int mds_setattr_reply(struct mds_op *op)
{
	return mds_rep_inode_info(op, 0, &op->rep.setattr.info);
}
