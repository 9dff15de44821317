/*
 * Attributes: what the MDT says, completed by the OSTs while somebody writes the file.
 *
 * The MDT's record is exact while nobody has a file open for writing. Otherwise (SIZE_OPEN) the size is what
 * the objects tell, blocks are theirs, and mtime is the newest object's if that is later than the last
 * explicit utimes or truncate.
 */
#include "client/client_int.h"

/* st_blksize: one request to an OST; one page for what is no file. */
#define BLKSIZE_FILE CLIENT_RPC_BYTES
#define BLKSIZE_OTHER 4096

bool client_size_is_open(const struct w_attr *attr)
{
	uint32_t both = W_ATTR_STATE_SIZE_OPEN | W_ATTR_STATE_INSTANTIATED;

	return S_ISREG(attr->mode) && (attr->state & both) == both &&
		(attr->state & W_ATTR_STATE_INLINE) == 0;
}

static unsigned flags_of(uint32_t state)
{
	return ((state & W_ATTR_STATE_IMMUTABLE) != 0 ? (unsigned)CLIENT_FLAG_IMMUTABLE : 0) |
		((state & W_ATTR_STATE_APPEND_ONLY) != 0 ? (unsigned)CLIENT_FLAG_APPEND : 0) |
		((state & W_ATTR_STATE_NODUMP) != 0 ? (unsigned)CLIENT_FLAG_NODUMP : 0);
}

static uint32_t state_of(unsigned flags)
{
	return ((flags & CLIENT_FLAG_IMMUTABLE) != 0 ? W_ATTR_STATE_IMMUTABLE : 0) |
		((flags & CLIENT_FLAG_APPEND) != 0 ? W_ATTR_STATE_APPEND_ONLY : 0) |
		((flags & CLIENT_FLAG_NODUMP) != 0 ? W_ATTR_STATE_NODUMP : 0);
}

void client_attr_convert(const struct w_attr *from, struct client_attr *ret_attr)
{
	*ret_attr = (struct client_attr){
		.fid = from->fid,
		.ino = fid_ino(from->fid),
		.mode = from->mode,
		.nlink = from->nlink,
		.uid = from->uid,
		.gid = from->gid,
		.rdev = from->rdev,
		.size = from->size,
		.blocks = from->blocks,
		.blksize = S_ISREG(from->mode) ? BLKSIZE_FILE : BLKSIZE_OTHER,
		.atime_ns = from->atime,
		.mtime_ns = from->mtime,
		.ctime_ns = from->ctime,
		.btime_ns = from->btime,
		.change = from->change,
		.projid = from->projid,
		.flags = flags_of(from->state),
	};
}

static int attr_complete(struct client *c, const struct w_attr *from, struct client_layout *layout,
	struct client_attr *ret_attr)
{
	struct client_sizes sizes;
	int err = client_sizes_ask(c, layout, from->fid, &sizes);

	if (err != 0) {
		return err;
	}
	client_attr_convert(from, ret_attr);
	ret_attr->size = sizes.size;
	ret_attr->blocks = sizes.blocks;
	if (sizes.mtime_ns > from->mtime_floor) {
		ret_attr->mtime_ns = i64_max(from->mtime, sizes.mtime_ns);
		ret_attr->ctime_ns = i64_max(from->ctime, ret_attr->mtime_ns);
	}
	/* A change the MDT has not heard of must not look like none. */
	ret_attr->change += (uint64_t)i64_max(sizes.mtime_ns - from->mtime, 0);
	return 0;
}

/* The MDT's answer again, this time with the layout, and the OSTs'. */
static int attr_ask_again(struct client *c, struct fid fid, struct client_attr *ret_attr)
{
	struct client_cred self = client_cred_self(c);
	int err = 0;

	for (unsigned i = 0; i < CLIENT_LAYOUT_TRIES; i++) {
		struct w_mds_getattr_req req = {.fid = fid, .want = W_WANT_LAYOUT};
		struct w_mds_getattr_rep rep;
		_cleanup_(rpc_call_fini) struct rpc_call call = {
			.op = W_OP_MDS_GETATTR, .request = &req, .reply = &rep};
		_cleanup_(client_layout_put) struct client_layout *layout = NULL;
		struct wire_iter it;
		struct w_layout from;

		err = client_mdt_ask(c, &self, &req.cred, &call);
		if (err != 0) {
			return err;
		}
		if (!client_size_is_open(&rep.info.attr)) {
			client_attr_convert(&rep.info.attr, ret_attr);
			return 0;
		}
		it = w_layout_iter(&rep.info.layouts.view);
		err = w_layout_next(&it, &from) ? client_layout_decode(&from, &layout) : -NE_BADMSG;
		if (err == 0) {
			err = attr_complete(c, &rep.info.attr, layout, ret_attr);
		}
		if (err != -NE_STALE_LAYOUT) {
			return err;
		}
	}
	return err;
}

int client_attr_finish(struct client *c, const struct w_attr *attr, struct client_layout *layout,
	struct client_attr *ret_attr)
{
	int err;

	ASSERT(attr != NULL && ret_attr != NULL);
	if (!client_size_is_open(attr)) {
		client_attr_convert(attr, ret_attr);
		return 0;
	}
	if (layout == NULL || layout->gen != attr->layout_gen) {
		return attr_ask_again(c, attr->fid, ret_attr);
	}
	err = attr_complete(c, attr, layout, ret_attr);
	return err == -NE_STALE_LAYOUT ? attr_ask_again(c, attr->fid, ret_attr) : err;
}

int client_info_finish(
	struct client *c, const struct w_inode_info *info, struct client_attr *ret_attr)
{
	struct wire_iter it = w_layout_iter(&info->layouts.view);
	_cleanup_(client_layout_put) struct client_layout *layout = NULL;
	struct client_inode *inode;
	struct w_layout from;
	int err;

	if (!client_size_is_open(&info->attr)) {
		client_attr_convert(&info->attr, ret_attr);
		return 0;
	}
	if (w_layout_next(&it, &from)) {
		err = client_layout_decode(&from, &layout);
		if (err != 0) {
			return err;
		}
	} else {
		inode = client_inode_find(c, info->attr.fid);
		if (inode != NULL && inode->layout != NULL) {
			layout = client_layout_ref(inode->layout);
		}
	}
	return client_attr_finish(c, &info->attr, layout, ret_attr);
}

int client_getattr(struct client *c, const struct client_cred *cred, struct fid fid,
	struct client_file *f, struct client_attr *ret_attr)
{
	struct w_mds_getattr_req req = {.fid = fid};
	struct w_mds_getattr_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_GETATTR, .request = &req, .reply = &rep};
	int err = client_mdt_ask(c, cred, &req.cred, &call);

	if (err != 0) {
		return err;
	}
	if (f != NULL) {
		ASSERT(fid_eq(f->inode->fid, fid));
		client_inode_attr(f->inode, &rep.info.attr);
	}
	return client_info_finish(c, &rep.info, ret_attr);
}

int client_settle(struct client *c, const struct w_attr *attr)
{
	struct client_cred self = client_cred_self(c);
	struct w_mds_getattr_req req = {.fid = attr->fid, .want = W_WANT_SETTLED};
	struct w_mds_getattr_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_GETATTR, .request = &req, .reply = &rep};
	int err;

	if ((attr->state & W_ATTR_STATE_SETTLING) == 0) {
		return 0;
	}
	err = client_mdt_ask(c, &self, &req.cred, &call);
	return err == -NE_STALE ? 0 : err; /* gone altogether */
}

static uint32_t set_valid(const struct client_setattr *set)
{
	static const struct {
		unsigned from;
		uint32_t to;
	} map[] = {
		{CLIENT_SET_MODE, W_SETATTR_VALID_MODE},
		{CLIENT_SET_UID, W_SETATTR_VALID_UID},
		{CLIENT_SET_GID, W_SETATTR_VALID_GID},
		{CLIENT_SET_SIZE, W_SETATTR_VALID_SIZE},
		{CLIENT_SET_ATIME, W_SETATTR_VALID_ATIME},
		{CLIENT_SET_ATIME_NOW, W_SETATTR_VALID_ATIME_NOW},
		{CLIENT_SET_MTIME, W_SETATTR_VALID_MTIME},
		{CLIENT_SET_MTIME_NOW, W_SETATTR_VALID_MTIME_NOW},
		{CLIENT_SET_KILL_SUID, W_SETATTR_VALID_KILL_SUID},
		{CLIENT_SET_KILL_CAPABILITY, W_SETATTR_VALID_KILL_CAPABILITY},
		{CLIENT_SET_TOUCH, W_SETATTR_VALID_TOUCH},
		{CLIENT_SET_FLAGS, W_SETATTR_VALID_FLAGS},
		{CLIENT_SET_PROJID, W_SETATTR_VALID_PROJID},
	};
	uint32_t valid = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(map); i++) {
		valid |= (set->valid & map[i].from) != 0 ? map[i].to : 0;
	}
	return valid;
}

int client_setattr(struct client *c, const struct client_cred *cred, struct fid fid,
	struct client_file *f, const struct client_setattr *set, struct client_attr *ret_attr)
{
	struct w_mds_setattr_req req = {
		.fid = fid,
		.handle = f != NULL ? f->handle : 0,
		.valid = set_valid(set),
		.mode = set->mode,
		.uid = set->uid,
		.gid = set->gid,
		.size = set->size,
		.atime = set->atime_ns,
		.mtime = set->mtime_ns,
		.projid = set->projid,
		.state = state_of(set->flags),
	};
	struct w_mds_setattr_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_SETATTR, .request = &req, .reply = &rep};
	struct client_inode *inode;
	int err = client_change_check(c);

	if (err == 0 && (set->valid & CLIENT_SET_SIZE) != 0 && set->size > LIM_FILE_SIZE_MAX) {
		err = -NE_FBIG;
	}
	if (err == 0) {
		err = client_mdt_ask(c, cred, &req.cred, &call);
	}
	if (err != 0) {
		return err;
	}
	inode = client_inode_find(c, fid);
	if (inode != NULL && inode->refs > 0) {
		client_inode_attr(inode, &rep.info.attr);
	}
	err = client_settle(c, &rep.info.attr);
	return err != 0 ? err : client_info_finish(c, &rep.info, ret_attr);
}

int client_access(struct client *c, const struct client_cred *cred, struct fid fid, uint32_t mask)
{
	struct w_mds_access_req req = {.fid = fid, .mask = mask};
	struct w_mds_access_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_ACCESS, .request = &req, .reply = &rep};

	if ((mask & 2u) != 0 && c->read_only) {
		return -NE_ROFS;
	}
	return client_mdt_ask(c, cred, &req.cred, &call);
}
