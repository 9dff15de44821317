/*
 * Extended attributes: user., trusted., security. and POSIX ACLs, each with its name space's rules.
 *
 * An attribute's first record carries its name and the value's first kilobyte; the rest is in pieces behind it.
 * Names are found by keyed hash; two names of one file with the same 64-bit hash do not happen, and the second
 * would be refused. Invariant: `xattr_count` of the inode is the number of first records, so an inode without
 * attributes answers without looking. An ACL is kept as the kernel's xattr has it (mds_acl.c); HAS_ACL, HAS_DEFAULT_ACL and
 * CAPABILITY in the inode's state say that system.posix_acl_access, system.posix_acl_default and security.capability
 * are there, so that nobody has to look.
 */
#include "mds/mds_int.h"

/* Of one inode: their names, each with its NUL, always fit LIM_XATTR_LIST_MAX. */
#define XATTRS_MAX (LIM_XATTR_LIST_MAX / (LIM_XATTR_NAME_MAX + 1))
/* Bytes of the value in the first record. */
#define FIRST_BYTES 1024
#define CAPABILITY "security.capability"

enum xattr_space {
	XATTR_USER,
	XATTR_TRUSTED,
	XATTR_SECURITY,
	XATTR_ACL_ACCESS,
	XATTR_ACL_DEFAULT,
};

static bool prefixed(struct wire_str name, const char *prefix, size_t len)
{
	return name.len >= len && memcmp(name.ptr, prefix, len) == 0;
}

static int name_check(struct wire_str name, enum xattr_space *ret_space)
{
	static const struct {
		const char *prefix;
		size_t len;
		enum xattr_space space;
	} spaces[] = {
		{"user.", 5, XATTR_USER},
		{"trusted.", 8, XATTR_TRUSTED},
		{"security.", 9, XATTR_SECURITY},
	};
	static const struct {
		const char *name;
		enum xattr_space space;
	} acls[] = {
		{"system.posix_acl_access", XATTR_ACL_ACCESS},
		{"system.posix_acl_default", XATTR_ACL_DEFAULT},
	};

	if (name.len == 0 || memchr(name.ptr, 0, name.len) != NULL) {
		return -NE_INVAL;
	}
	if (name.len > LIM_XATTR_NAME_MAX) {
		return -NE_RANGE;
	}
	for (size_t i = 0; i < ARRAY_SIZE(spaces); i++) {
		if (prefixed(name, spaces[i].prefix, spaces[i].len)) {
			*ret_space = spaces[i].space;
			return name.len == spaces[i].len ? -NE_INVAL : 0;
		}
	}
	for (size_t i = 0; i < ARRAY_SIZE(acls); i++) {
		if (wire_str_eq(name, wire_str_of(acls[i].name))) {
			*ret_space = acls[i].space;
			return 0;
		}
	}
	return -NE_NOTSUP;
}

static int acl_permitted(
	struct mds_op *op, const struct mds_inode *inode, enum xattr_space space, bool write)
{
	if (S_ISLNK(inode->d.mode)) {
		return -NE_NOTSUP;
	}
	if (!write) {
		return 0;
	}
	if (mds_has(inode, W_ATTR_STATE_APPEND_ONLY | W_ATTR_STATE_IMMUTABLE)) {
		return -NE_PERM;
	}
	if (space == XATTR_ACL_DEFAULT && !mds_is_dir(inode)) {
		return -NE_ACCES;
	}
	return mds_is_owner(op, inode) ? 0 : -NE_PERM;
}

static int user_permitted(struct mds_op *op, const struct mds_inode *inode, bool write)
{
	uint32_t mode = inode->d.mode;

	if (!S_ISREG(mode) && !S_ISDIR(mode)) {
		return write ? -NE_PERM : -NE_NODATA;
	}
	if (write && S_ISDIR(mode) && (mode & S_ISVTX) != 0 && !mds_is_owner(op, inode)) {
		return -NE_PERM;
	}
	return mds_perm_check(op, inode, write ? MDS_MAY_WRITE : MDS_MAY_READ);
}

static int xattr_permitted(struct mds_op *op, const struct mds_inode *inode, struct wire_str name,
	bool write, enum xattr_space *ret_space)
{
	enum xattr_space space = XATTR_USER;
	int r = name_check(name, &space);

	*ret_space = space;
	if (r < 0) {
		return r;
	}
	if (space == XATTR_ACL_ACCESS || space == XATTR_ACL_DEFAULT) {
		return acl_permitted(op, inode, space, write);
	}
	if (write && mds_has(inode, W_ATTR_STATE_APPEND_ONLY | W_ATTR_STATE_IMMUTABLE)) {
		return -NE_PERM;
	}
	if (space == XATTR_USER) {
		return user_permitted(op, inode, write);
	}
	if (space == XATTR_TRUSTED && !mds_capable(op, MDS_CAP_SYS_ADMIN)) {
		return write ? -NE_PERM : -NE_NODATA;
	}
	if (space == XATTR_SECURITY && write) {
		bool fcap = wire_str_eq(name, wire_str_of(CAPABILITY));

		return mds_capable(op, fcap ? MDS_CAP_SETFCAP : MDS_CAP_SYS_ADMIN) ? 0 : -NE_PERM;
	}
	return 0;
}

static uint64_t name_hash(const struct mds_op *op, struct wire_str name)
{
	return hash_sip(op->mds->hash_key, name.ptr, name.len);
}

/* -NE_NODATA when the inode has no such attribute. */
static int xattr_find(struct mds_op *op, const struct mds_inode *inode, struct wire_str name,
	struct d_mds_xattr *ret_xattr)
{
	struct mds_key key = mds_key_xattr(inode->fid, name_hash(op, name), 0);
	int r;

	if (inode->d.xattr_count == 0) {
		return -NE_NODATA;
	}
	r = mds_kv_get_record(op, &key, &d_mds_xattr_codec, ret_xattr);
	if (r < 0) {
		return r == -NE_NOENT ? -NE_NODATA : r;
	}
	return wire_str_eq(ret_xattr->name, name) ? 0 : -NE_NODATA;
}

static unsigned pieces_of(uint32_t length)
{
	return length <= FIRST_BYTES
		? 0
		: (length - FIRST_BYTES + MDS_PIECE_BYTES - 1) / MDS_PIECE_BYTES;
}

/* What is behind the first record, behind the first bytes in buf. */
static int pieces_read(
	struct mds_op *op, struct fid fid, uint64_t hash, uint8_t *buf, uint32_t length)
{
	uint32_t pos = FIRST_BYTES;
	int missing = 0;

	for (uint16_t i = 1; pos < length; i++) {
		struct mds_key key = mds_key_xattr(fid, hash, i);
		size_t want = u64_min(length - pos, MDS_PIECE_BYTES);
		struct span val = {0};
		int r = mds_kv_get(op, &key, &val);

		if (r == -NE_MISSING_KEY) {
			missing = r;
		} else if (r == -NE_NOENT || (r == 0 && val.len != want)) {
			return -NE_CORRUPT;
		} else if (r < 0) {
			return r;
		} else {
			bytes_copy(buf + pos, val.ptr, want);
		}
		pos += (uint32_t)want;
	}
	return missing;
}

int mds_xattr_load(struct mds_op *op, const struct mds_inode *inode, struct wire_str name,
	void *buf, size_t cap, size_t *ret_len)
{
	struct d_mds_xattr x;
	int r = xattr_find(op, inode, name, &x);

	if (r < 0) {
		return r;
	}
	if (x.length > cap || x.value.len != u64_min(x.length, FIRST_BYTES)) {
		return -NE_CORRUPT;
	}
	bytes_copy(buf, x.value.ptr, x.value.len);
	*ret_len = x.length;
	return pieces_read(op, inode->fid, name_hash(op, name), buf, x.length);
}

int mds_getxattr_execute(struct mds_op *op)
{
	const struct w_mds_getxattr_req *req = op->req;
	struct mds_inode *inode = NULL;
	enum xattr_space space;
	struct d_mds_xattr x;
	int r = mds_reach(op, req->fid, &inode);

	if (r == 0) {
		r = xattr_permitted(op, inode, req->name, false, &space);
	}
	if (r == 0) {
		r = xattr_find(op, inode, req->name, &x);
	}
	if (r < 0) {
		return r;
	}
	if (x.length > LIM_XATTR_VALUE_MAX || x.value.len != u64_min(x.length, FIRST_BYTES)) {
		return -NE_CORRUPT;
	}
	if (x.length <= FIRST_BYTES) {
		op->res.bytes = wire_bytes_span(x.value);
		return 0;
	}
	if (op->large == NULL) {
		op->large = mem_alloc(x.length);
	}
	if (op->large == NULL) {
		return -NE_NOMEM;
	}
	bytes_copy(op->large, x.value.ptr, x.value.len);
	op->res.bytes = span_of(op->large, x.length);
	return pieces_read(op, inode->fid, name_hash(op, req->name), op->large, x.length);
}

int mds_getxattr_reply(struct mds_op *op)
{
	op->rep.getxattr.value = wire_bytes_of(op->res.bytes.ptr, op->res.bytes.len);
	return 0;
}

/* ---- changes ---- */

/* Which bit of the inode's state says that this attribute is there. */
static uint32_t state_of(struct wire_str name)
{
	if (wire_str_eq(name, wire_str_of("system.posix_acl_access"))) {
		return W_ATTR_STATE_HAS_ACL;
	}
	if (wire_str_eq(name, wire_str_of("system.posix_acl_default"))) {
		return W_ATTR_STATE_HAS_DEFAULT_ACL;
	}
	return wire_str_eq(name, wire_str_of(CAPABILITY)) ? W_ATTR_STATE_CAPABILITY : 0;
}

static int value_put(
	struct mds_op *op, struct fid fid, struct wire_str name, struct wire_bytes value)
{
	uint64_t hash = name_hash(op, name);
	struct mds_key key = mds_key_xattr(fid, hash, 0);
	uint32_t pos = (uint32_t)u64_min(value.len, FIRST_BYTES);
	struct d_mds_xattr x = {
		.name = name,
		.length = value.len,
		.value = wire_bytes_of(value.ptr, pos),
	};
	int r = mds_kv_put_record(op, &key, &d_mds_xattr_codec, &x);

	for (uint16_t i = 1; r == 0 && pos < value.len; i++) {
		size_t len = u64_min(value.len - pos, MDS_PIECE_BYTES);

		key = mds_key_xattr(fid, hash, i);
		r = mds_kv_put(op, &key, (const uint8_t *)value.ptr + pos, len);
		pos += (uint32_t)len;
	}
	return r;
}

/* Deletes pieces from..to-1 of a value (piece 0 is the first record). */
static int value_cut(struct mds_op *op, struct fid fid, uint64_t hash, unsigned from, unsigned to)
{
	int r = 0;

	for (unsigned i = from; r == 0 && i < to; i++) {
		struct mds_key key = mds_key_xattr(fid, hash, (uint16_t)i);

		r = mds_kv_del(op, &key);
	}
	return r;
}

/* `old` is the attribute; its name may lie in the record that goes. */
static int xattr_remove(struct mds_op *op, struct mds_inode *inode, struct wire_str name,
	const struct d_mds_xattr *old)
{
	if (inode->d.xattr_count == 0) {
		return -NE_CORRUPT;
	}
	inode->d.xattr_count--;
	if (inode->d.xattr_count == 0) {
		inode->d.state &= ~W_ATTR_STATE_HAS_XATTR;
	}
	inode->d.state &= ~state_of(name);
	mds_inode_touched(inode);
	return value_cut(op, inode->fid, name_hash(op, name), 0, pieces_of(old->length) + 1);
}

static int xattr_add(
	struct mds_op *op, struct mds_inode *inode, struct wire_str name, struct wire_bytes value)
{
	struct mds_key key = mds_key_xattr(inode->fid, name_hash(op, name), 0);
	struct span taken;
	int r = inode->d.xattr_count == 0 ? -NE_NOENT : mds_kv_get(op, &key, &taken);

	if (r != -NE_NOENT) {
		return r == 0 ? -NE_NOSPC : r;
	}
	if (inode->d.xattr_count >= XATTRS_MAX) {
		return -NE_NOSPC;
	}
	inode->d.xattr_count++;
	inode->d.state |= W_ATTR_STATE_HAS_XATTR | state_of(name);
	mds_inode_touched(inode);
	return value_put(op, inode->fid, name, value);
}

int mds_xattr_store(
	struct mds_op *op, struct mds_inode *inode, struct wire_str name, struct wire_bytes value)
{
	struct d_mds_xattr old;
	int r = xattr_find(op, inode, name, &old);

	if (r == -NE_NODATA) {
		return xattr_add(op, inode, name, value);
	}
	if (r == 0) {
		r = value_cut(op, inode->fid, name_hash(op, name), pieces_of(value.len) + 1,
			pieces_of(old.length) + 1);
	}
	return r < 0 ? r : value_put(op, inode->fid, name, value);
}

int mds_xattr_drop(struct mds_op *op, struct mds_inode *inode, struct wire_str name)
{
	struct d_mds_xattr old;
	int r = xattr_find(op, inode, name, &old);

	if (r < 0) {
		return r == -NE_NODATA ? 0 : r;
	}
	return xattr_remove(op, inode, name, &old);
}

int mds_capability_kill(struct mds_op *op, struct mds_inode *inode)
{
	if (!mds_has(inode, W_ATTR_STATE_CAPABILITY)) {
		return 0;
	}
	return mds_xattr_drop(op, inode, wire_str_of(CAPABILITY));
}

static int xattr_set(struct mds_op *op, struct mds_inode *inode, enum xattr_space space)
{
	const struct w_mds_setxattr_req *req = op->req;
	bool remove = (req->flags & W_SETXATTR_FLAGS_REMOVE) != 0;
	struct wire_bytes none = {0};

	if (space == XATTR_ACL_ACCESS || space == XATTR_ACL_DEFAULT) {
		return mds_acl_set(op, inode,
			space == XATTR_ACL_ACCESS ? MDS_ACL_ACCESS : MDS_ACL_DEFAULT,
			remove ? none : req->value);
	}
	return remove ? mds_xattr_drop(op, inode, req->name)
		      : mds_xattr_store(op, inode, req->name, req->value);
}

/* A kernel removes security.capability in the name of whoever is about to change data or owner: who may do that
 * may do this. */
static int change_permitted(
	struct mds_op *op, const struct mds_inode *inode, enum xattr_space *ret_space)
{
	const struct w_mds_setxattr_req *req = op->req;
	int r = xattr_permitted(op, inode, req->name, true, ret_space);

	if (r == -NE_PERM && (req->flags & W_SETXATTR_FLAGS_REMOVE) != 0 &&
		wire_str_eq(req->name, wire_str_of(CAPABILITY)) &&
		!mds_has(inode, W_ATTR_STATE_IMMUTABLE | W_ATTR_STATE_APPEND_ONLY)) {
		r = mds_is_owner(op, inode) ? 0 : mds_perm_check(op, inode, MDS_MAY_WRITE);
	}
	return r;
}

int mds_setxattr_execute(struct mds_op *op)
{
	const struct w_mds_setxattr_req *req = op->req;
	struct mds_inode *inode = NULL;
	enum xattr_space space = XATTR_USER;
	struct d_mds_xattr old;
	bool found;
	int r = mds_reach(op, req->fid, &inode);

	if (r == 0) {
		r = change_permitted(op, inode, &space);
	}
	if (r == 0 && (req->flags & ~W_SETXATTR_FLAGS_ALL) != 0) {
		r = -NE_INVAL;
	}
	if (r < 0) {
		return r;
	}
	r = xattr_find(op, inode, req->name, &old);
	found = r == 0;
	if (r < 0 && r != -NE_NODATA) {
		return r;
	}
	if (found && (req->flags & W_SETXATTR_FLAGS_CREATE) != 0) {
		return -NE_EXIST;
	}
	if (!found && (req->flags & W_SETXATTR_FLAGS_REMOVE) != 0 && space >= XATTR_ACL_ACCESS) {
		/* An ACL that is not there says what the mode says: it is gone already. */
		op->res.inode = inode;
		return 0;
	}
	if (!found && (req->flags & (W_SETXATTR_FLAGS_REPLACE | W_SETXATTR_FLAGS_REMOVE)) != 0) {
		return -NE_NODATA;
	}
	r = xattr_set(op, inode, space);
	if (r < 0) {
		return r;
	}
	mds_inode_changed(op, inode);
	op->res.inode = inode;
	return 0;
}

int mds_setxattr_reply(struct mds_op *op)
{
	return mds_rep_inode_info(op, 0, &op->rep.setxattr.info);
}

/* ---- list ---- */

struct list_ctx {
	struct mds_op *op;
	size_t len;
};

static int list_one(void *arg, const struct state_rec *rec)
{
	struct list_ctx *ctx = arg;
	struct d_mds_xattr x;

	/* kind, FID, part, hash, piece */
	if (rec->key_len != 1 + 16 + 1 + 8 + 2) {
		return -NE_CORRUPT;
	}
	if (be16_load((const uint8_t *)rec->key + 26) != 0) {
		return 0;
	}
	if (d_mds_xattr_decode(&x, rec->val.data, rec->val.len) < 0) {
		return -NE_CORRUPT;
	}
	if (prefixed(x.name, "trusted.", 8) && !mds_capable(ctx->op, MDS_CAP_SYS_ADMIN)) {
		return 0;
	}
	if (ctx->len + x.name.len + 1 > LIM_XATTR_LIST_MAX) {
		return -NE_CORRUPT;
	}
	bytes_copy(ctx->op->large + ctx->len, x.name.ptr, x.name.len);
	ctx->len += x.name.len;
	ctx->op->large[ctx->len++] = 0;
	return 0;
}

int mds_listxattr_execute(struct mds_op *op)
{
	const struct w_mds_listxattr_req *req = op->req;
	struct mds_inode *inode = NULL;
	struct list_ctx ctx = {.op = op};
	struct mds_key from;
	struct mds_key to;
	int r = mds_reach(op, req->fid, &inode);

	if (r < 0 || inode->d.xattr_count == 0) {
		return r;
	}
	if (op->large == NULL) {
		op->large = mem_alloc(LIM_XATTR_LIST_MAX);
	}
	if (op->large == NULL) {
		return -NE_NOMEM;
	}
	from = mds_key_part(inode->fid, MDS_PART_XATTR);
	to = mds_key_part(inode->fid, MDS_PART_XATTR + 1);
	r = mds_kv_range(op, &from, &to, UINT32_MAX, list_one, &ctx);
	op->res.bytes = span_of(op->large, ctx.len);
	return r;
}

int mds_listxattr_reply(struct mds_op *op)
{
	op->rep.listxattr.names = wire_bytes_of(op->res.bytes.ptr, op->res.bytes.len);
	return 0;
}
