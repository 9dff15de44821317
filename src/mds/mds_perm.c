/*
 * Permissions: decided here and nowhere else, by POSIX's rules, out of mode bits, ids, groups and capabilities.
 *
 * Ids come from the request only as far as the session allows (RULES D4): a user session's are its own; a host
 * session without allow_root has no uid 0, no gid 0 and no capabilities. The caller's supplementary groups
 * travel only when they matter: a decision that needs them and has not got them is -NE_NEED_GROUPS. Those of a
 * user session are this server's affair (mds_groups.c).
 */
#include "mds/mds_int.h"

/* "nobody", for squashed ids. */
#define ID_NOBODY 65534

void mds_cred_set(struct mds_op *op, const struct w_cred *cred)
{
	const struct mds_session *s = op->session;
	struct mds_cred *c = &op->cred;
	bool trusted = s->role != W_PEER_ROLE_HOST || s->allow_root;

	memset(c, 0, sizeof(*c));
	c->uid = ID_NOBODY;
	c->gid = ID_NOBODY;
	c->groups_valid = true;
	if (s->role == W_PEER_ROLE_USER) {
		c->uid = s->uid;
		c->gid = s->gid;
		return;
	}
	if (cred == NULL) {
		return;
	}
	c->uid = cred->uid == 0 && !trusted ? ID_NOBODY : cred->uid;
	c->gid = cred->gid == 0 && !trusted ? ID_NOBODY : cred->gid;
	c->squash_root_group = !trusted;
	c->caps = trusted ? cred->caps : 0;
	c->groups_valid = cred->groups_valid;
	if (cred->groups_valid) {
		c->groups = cred->groups.view;
		c->group_items = cred->groups.items;
		c->group_count = cred->groups.count;
	}
}

int mds_perm_in_group(struct mds_op *op, uint32_t gid)
{
	const struct mds_cred *c = &op->cred;

	if (gid == c->gid) {
		return 1;
	}
	if (gid == 0 && c->squash_root_group) {
		return 0;
	}
	if (op->session != NULL && op->session->role == W_PEER_ROLE_USER) {
		return mds_groups_member(op->mds, op->session, gid);
	}
	if (!c->groups_valid) {
		return -NE_NEED_GROUPS;
	}
	for (uint32_t i = 0; i < c->group_count; i++) {
		uint32_t g =
			c->group_items != NULL ? c->group_items[i] : wire_u32_at(&c->groups, i);

		if (g == gid) {
			return 1;
		}
	}
	return 0;
}

static bool caps_permit(const struct mds_op *op, uint32_t mode, unsigned may)
{
	bool any_exec = S_ISDIR(mode) || (mode & 0111) != 0;

	if (mds_capable(op, MDS_CAP_DAC_OVERRIDE) && ((may & MDS_MAY_EXEC) == 0 || any_exec)) {
		return true;
	}
	if (mds_capable(op, MDS_CAP_DAC_READ_SEARCH)) {
		return may == MDS_MAY_READ || (S_ISDIR(mode) && (may & MDS_MAY_WRITE) == 0);
	}
	return false;
}

int mds_perm_check(struct mds_op *op, const struct mds_inode *inode, unsigned may)
{
	uint32_t mode = inode->d.mode;
	bool by_group = ((mode >> 3) & may) == may;
	bool by_other = (mode & may) == may;
	int member;

	ASSERT((may & ~7u) == 0);
	if ((may & MDS_MAY_WRITE) != 0 && op->session != NULL && op->session->read_only &&
		(S_ISREG(mode) || S_ISDIR(mode) || S_ISLNK(mode))) {
		return -NE_ROFS;
	}
	if ((may & MDS_MAY_WRITE) != 0 && mds_has(inode, W_ATTR_STATE_IMMUTABLE)) {
		return -NE_PERM;
	}
	if (may == 0 || caps_permit(op, mode, may)) {
		return 0;
	}
	if (op->cred.uid == inode->d.uid) {
		return ((mode >> 6) & may) == may ? 0 : -NE_ACCES;
	}
	if (mds_has(inode, W_ATTR_STATE_HAS_ACL) && (mode & S_IRWXG) != 0) {
		return mds_acl_permits(op, inode, may);
	}
	if (by_group == by_other) {
		return by_other ? 0 : -NE_ACCES;
	}
	member = mds_perm_in_group(op, inode->d.gid);
	if (member < 0) {
		return member;
	}
	return (member != 0 ? by_group : by_other) ? 0 : -NE_ACCES;
}

int mds_perm_add(struct mds_op *op, const struct mds_inode *dir)
{
	ASSERT(mds_is_dir(dir));
	/* Somebody has it open, but it is gone. */
	if (dir->d.nlink == 0) {
		return -NE_NOENT;
	}
	return mds_perm_check(op, dir, MDS_MAY_WRITE | MDS_MAY_EXEC);
}

int mds_perm_remove(struct mds_op *op, const struct mds_inode *dir, const struct mds_inode *victim)
{
	int r = mds_perm_add(op, dir);

	if (r < 0) {
		return r;
	}
	if (mds_has(dir, W_ATTR_STATE_APPEND_ONLY) ||
		mds_has(victim, W_ATTR_STATE_APPEND_ONLY | W_ATTR_STATE_IMMUTABLE)) {
		return -NE_PERM;
	}
	if ((dir->d.mode & S_ISVTX) != 0 && op->cred.uid != victim->d.uid &&
		op->cred.uid != dir->d.uid && !mds_capable(op, MDS_CAP_FOWNER)) {
		return -NE_PERM;
	}
	return 0;
}

int mds_perm_change(struct mds_op *op)
{
	ASSERT(op->session != NULL);
	return op->session->read_only ? -NE_ROFS : 0;
}

uint32_t mds_mode_kill_setid(uint32_t mode)
{
	mode &= ~(uint32_t)S_ISUID;
	if ((mode & (S_ISGID | S_IXGRP)) == (S_ISGID | S_IXGRP)) {
		mode &= ~(uint32_t)S_ISGID;
	}
	return mode;
}

int mds_mode_kill(struct mds_op *op, const struct mds_inode *inode, uint32_t *ret_mode)
{
	uint32_t mode = mds_mode_kill_setid(*ret_mode);

	if ((mode & S_ISGID) != 0 && !mds_capable(op, MDS_CAP_FSETID)) {
		int member = mds_perm_in_group(op, inode->d.gid);

		if (member < 0) {
			return member;
		}
		mode &= member != 0 ? ~0u : ~(uint32_t)S_ISGID;
	}
	*ret_mode = mode;
	return 0;
}
