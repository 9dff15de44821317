/*
 * POSIX ACLs: who an access ACL lets in, what a default ACL hands down, how both go together with the mode.
 *
 * An ACL is kept as the bytes Linux uses in system.posix_acl_*: a version word (2), then entries of 8 bytes (tag, permission,
 * id), little-endian, in the order owner, users, group, groups, mask, others. Invariants: a kept ACL is valid; an access ACL
 * says what the mode does not (it has a mask, or named users or groups), and its owner's, mask's (else group's) and
 * others' permissions are the mode's nine bits. So a stat tells the truth, and an inode without HAS_ACL needs no look here.
 * The algorithms are POSIX 1003.1e draft 17's (23.1.5 access check, 23.3 inheritance), as acl(5) describes them.
 */
#include "mds/mds_int.h"

#define ACL_VERSION 2
#define HEAD_BYTES 4
#define ENTRY_BYTES 8

enum acl_tag {
	ACL_USER_OBJ = 0x01,
	ACL_USER = 0x02,
	ACL_GROUP_OBJ = 0x04,
	ACL_GROUP = 0x08,
	ACL_MASK = 0x10,
	ACL_OTHER = 0x20,
};

/* An ACL's bytes; of the three that mirror the mode, where their entries are. */
struct acl {
	uint8_t *bytes;
	size_t len;
	unsigned count;
	unsigned user_obj;
	unsigned group_obj;
	unsigned mask;
	unsigned other;
	bool has_mask;
	bool named; /* there are named users or groups */
};

static uint8_t *entry_at(const struct acl *a, unsigned i)
{
	ASSERT(i < a->count);
	return a->bytes + HEAD_BYTES + (size_t)i * ENTRY_BYTES;
}

static unsigned tag_of(const struct acl *a, unsigned i)
{
	return le16_load(entry_at(a, i));
}

static unsigned perm_of(const struct acl *a, unsigned i)
{
	return le16_load(entry_at(a, i) + 2);
}

static uint32_t id_of(const struct acl *a, unsigned i)
{
	return le32_load(entry_at(a, i) + 4);
}

static void perm_set(const struct acl *a, unsigned i, unsigned perm)
{
	ASSERT((perm & ~7u) == 0);
	le16_store(entry_at(a, i) + 2, (uint16_t)perm);
}

static struct wire_str name_of(enum mds_acl_kind kind)
{
	return wire_str_of(
		kind == MDS_ACL_ACCESS ? "system.posix_acl_access" : "system.posix_acl_default");
}

/* Order and number of entries: each tag may come after the tags before it. */
static int tags_check(struct acl *a)
{
	unsigned last = 0;
	unsigned seen = 0;

	for (unsigned i = 0; i < a->count; i++) {
		unsigned tag = tag_of(a, i);
		bool named = tag == ACL_USER || tag == ACL_GROUP;

		if ((tag & (tag - 1)) != 0 || tag == 0 || tag > ACL_OTHER || tag < last ||
			(tag == last && !named) || (perm_of(a, i) & ~7u) != 0) {
			return -NE_INVAL;
		}
		if (named && id_of(a, i) == UINT32_MAX) {
			return -NE_INVAL;
		}
		a->named |= named;
		a->user_obj = tag == ACL_USER_OBJ ? i : a->user_obj;
		a->group_obj = tag == ACL_GROUP_OBJ ? i : a->group_obj;
		a->mask = tag == ACL_MASK ? i : a->mask;
		a->other = tag == ACL_OTHER ? i : a->other;
		seen |= tag;
		last = tag;
	}
	a->has_mask = (seen & ACL_MASK) != 0;
	if ((seen & (ACL_USER_OBJ | ACL_GROUP_OBJ | ACL_OTHER)) !=
		(ACL_USER_OBJ | ACL_GROUP_OBJ | ACL_OTHER)) {
		return -NE_INVAL;
	}
	return a->named && !a->has_mask ? -NE_INVAL : 0;
}

/* Takes bytes apart: -NE_INVAL, -NE_NOTSUP for another version. */
static int acl_parse(uint8_t *bytes, size_t len, struct acl *ret_acl)
{
	struct acl a = {.bytes = bytes, .len = len};
	int r;

	if (len < HEAD_BYTES || (len - HEAD_BYTES) % ENTRY_BYTES != 0) {
		return -NE_INVAL;
	}
	if (le32_load(bytes) != ACL_VERSION) {
		return -NE_NOTSUP;
	}
	a.count = (unsigned)((len - HEAD_BYTES) / ENTRY_BYTES);
	r = tags_check(&a);
	if (r == 0) {
		*ret_acl = a;
	}
	return r;
}

/* Into op->acl. -NE_NODATA when there is none. */
static int acl_load(struct mds_op *op, const struct mds_inode *inode, enum mds_acl_kind kind,
	struct acl *ret_acl)
{
	size_t len = 0;
	int r = mds_xattr_load(op, inode, name_of(kind), op->acl, sizeof(op->acl), &len);

	if (r < 0) {
		return r;
	}
	return acl_parse(op->acl, len, ret_acl) < 0 ? -NE_CORRUPT : 0;
}

static int acl_store(
	struct mds_op *op, struct mds_inode *inode, enum mds_acl_kind kind, const struct acl *a)
{
	return mds_xattr_store(op, inode, name_of(kind), wire_bytes_of(a->bytes, a->len));
}

/* ---- access ---- */

static bool masked(const struct acl *a, unsigned i, unsigned may)
{
	unsigned perm = perm_of(a, i) & (a->has_mask ? perm_of(a, a->mask) : 7u);

	return (perm & may) == may;
}

/* Group entries: any that is the caller's and permits will do; -NE_NOENT when none is the caller's. */
static int groups_permit(
	struct mds_op *op, const struct mds_inode *inode, const struct acl *a, unsigned may)
{
	bool found = false;

	for (unsigned i = 0; i < a->count; i++) {
		unsigned tag = tag_of(a, i);
		int member;

		if (tag != ACL_GROUP_OBJ && tag != ACL_GROUP) {
			continue;
		}
		member = mds_perm_in_group(op, tag == ACL_GROUP ? id_of(a, i) : inode->d.gid);
		if (member < 0) {
			return member;
		}
		if (member != 0 && masked(a, i, may)) {
			return 0;
		}
		found |= member != 0;
	}
	return found ? -NE_ACCES : -NE_NOENT;
}

int mds_acl_permits(struct mds_op *op, const struct mds_inode *inode, unsigned may)
{
	struct acl a;
	int r = acl_load(op, inode, MDS_ACL_ACCESS, &a);

	ASSERT(op->cred.uid != inode->d.uid);
	if (r < 0) {
		return r == -NE_NODATA ? -NE_CORRUPT : r;
	}
	for (unsigned i = 0; i < a.count; i++) {
		if (tag_of(&a, i) == ACL_USER && id_of(&a, i) == op->cred.uid) {
			return masked(&a, i, may) ? 0 : -NE_ACCES;
		}
	}
	r = groups_permit(op, inode, &a, may);
	if (r != -NE_NOENT) {
		return r;
	}
	return (perm_of(&a, a.other) & may) == may ? 0 : -NE_ACCES;
}

/* ---- mode and ACL ---- */

/* The nine bits an access ACL shows as. */
static uint32_t mode_of(const struct acl *a)
{
	unsigned group = perm_of(a, a->has_mask ? a->mask : a->group_obj);

	return perm_of(a, a->user_obj) << 6 | group << 3 | perm_of(a, a->other);
}

static void mode_into(const struct acl *a, uint32_t mode)
{
	perm_set(a, a->user_obj, (mode >> 6) & 7u);
	perm_set(a, a->has_mask ? a->mask : a->group_obj, (mode >> 3) & 7u);
	perm_set(a, a->other, mode & 7u);
}

int mds_acl_chmod(struct mds_op *op, struct mds_inode *inode)
{
	struct acl a;
	int r;

	if (!mds_has(inode, W_ATTR_STATE_HAS_ACL)) {
		return 0;
	}
	r = acl_load(op, inode, MDS_ACL_ACCESS, &a);
	if (r < 0) {
		return r == -NE_NODATA ? -NE_CORRUPT : r;
	}
	mode_into(&a, inode->d.mode);
	return acl_store(op, inode, MDS_ACL_ACCESS, &a);
}

static int access_set(struct mds_op *op, struct mds_inode *inode, const struct acl *a)
{
	uint32_t mode = (inode->d.mode & ~0777u) | mode_of(a);

	if ((mode & S_ISGID) != 0 && !mds_capable(op, MDS_CAP_FSETID)) {
		int member = mds_perm_in_group(op, inode->d.gid);

		if (member < 0) {
			return member;
		}
		mode &= member != 0 ? ~0u : ~(uint32_t)S_ISGID;
	}
	inode->d.mode = mode;
	/* What the mode says alone needs no ACL. */
	if (!a->named && !a->has_mask) {
		return mds_xattr_drop(op, inode, name_of(MDS_ACL_ACCESS));
	}
	return acl_store(op, inode, MDS_ACL_ACCESS, a);
}

int mds_acl_set(
	struct mds_op *op, struct mds_inode *inode, enum mds_acl_kind kind, struct wire_bytes value)
{
	struct acl a;
	int r;

	if (value.len == 0 || value.len == HEAD_BYTES) {
		return mds_xattr_drop(op, inode, name_of(kind));
	}
	if (value.len > sizeof(op->acl)) {
		return -NE_NOSPC;
	}
	bytes_copy(op->acl, value.ptr, value.len);
	r = acl_parse(op->acl, value.len, &a);
	if (r < 0) {
		return r;
	}
	return kind == MDS_ACL_ACCESS ? access_set(op, inode, &a) : acl_store(op, inode, kind, &a);
}

/* ---- inheritance ---- */

/* What the default ACL and the mode asked for both allow; the rest of the mode stays. */
static uint32_t mode_masked(const struct acl *a, uint32_t mode)
{
	uint32_t both = mode & mode_of(a);

	mode_into(a, both);
	return (mode & ~0777u) | both;
}

int mds_acl_inherit(
	struct mds_op *op, const struct mds_inode *dir, uint32_t umask, struct mds_inode *inode)
{
	struct acl a;
	int r;

	ASSERT(inode->fresh && !S_ISLNK(inode->d.mode));
	if (!mds_has(dir, W_ATTR_STATE_HAS_DEFAULT_ACL)) {
		inode->d.mode &= ~(umask & 0777u);
		return 0;
	}
	r = acl_load(op, dir, MDS_ACL_DEFAULT, &a);
	if (r < 0) {
		return r == -NE_NODATA ? -NE_CORRUPT : r;
	}
	if (mds_is_dir(inode)) {
		r = acl_store(op, inode, MDS_ACL_DEFAULT, &a);
	}
	inode->d.mode = mode_masked(&a, inode->d.mode);
	if (r == 0 && (a.named || a.has_mask)) {
		r = acl_store(op, inode, MDS_ACL_ACCESS, &a);
	}
	return r;
}
