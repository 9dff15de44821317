/*
 * The table of name-space operations, and those that are only a few lines: access, statfs, sync.
 */
#include "mds/mds_int.h"

static int access_execute(struct mds_op *op)
{
	const struct w_mds_access_req *req = op->req;
	struct mds_inode *inode = NULL;
	int r = mds_reach(op, req->fid, &inode);

	if (r < 0) {
		return r;
	}
	if ((req->mask & ~7u) != 0) {
		return -NE_INVAL;
	}
	return mds_perm_check(op, inode, req->mask);
}

static int statfs_execute(struct mds_op *op)
{
	const struct w_mds_statfs_req *req = op->req;
	struct mds_inode *inode = NULL;

	return fid_is_zero(req->fid) ? 0 : mds_reach(op, req->fid, &inode);
}

static int statfs_reply(struct mds_op *op)
{
	struct mds_space space;

	mds_space_get(op->mds, &space);
	op->rep.statfs = (struct w_mds_statfs_rep){
		.bytes_total = space.bytes_total,
		.bytes_free = space.bytes_free,
		.bytes_avail = space.bytes_avail,
		.files_total = space.files_total,
		.files_used = space.files_used,
	};
	return 0;
}

/* Waits before the transaction: what the reply says is true when it is encoded. */
static int sync_prepare(struct mds_op *op)
{
	const struct w_mds_sync_req *req = op->req;
	uint64_t last = state_last_lsn(op->mds->st);

	state_wait_durable(op->mds->st, req->transno == 0 ? last : u64_min(req->transno, last));
	return 0;
}

static int sync_execute(struct mds_op *op)
{
	ASSERT(op->txn != NULL);
	return 0;
}

static int sync_reply(struct mds_op *op)
{
	op->rep.sync.last_committed = mds_last_committed(op->mds);
	return 0;
}

/* ---- what each is known to read ---- */

static void getattr_want(struct mds_op *op)
{
	mds_inode_want(op, ((const struct w_mds_getattr_req *)op->req)->fid);
}

static void lookup_want(struct mds_op *op)
{
	const struct w_mds_lookup_req *req = op->req;

	mds_inode_want(op, req->parent);
	mds_dirent_want(op, req->parent, req->name);
}

static void globals_want(struct mds_op *op)
{
	struct mds_key key = mds_key_globals();

	mds_kv_want(op, &key);
}

static void create_want(struct mds_op *op)
{
	const struct w_mds_create_req *req = op->req;

	globals_want(op);
	mds_inode_want(op, req->parent);
	mds_dirent_want(op, req->parent, req->name);
}

static void unlink_want(struct mds_op *op)
{
	const struct w_mds_unlink_req *req = op->req;

	globals_want(op);
	mds_inode_want(op, req->parent);
	mds_dirent_want(op, req->parent, req->name);
}

static void link_want(struct mds_op *op)
{
	const struct w_mds_link_req *req = op->req;

	mds_inode_want(op, req->fid);
	mds_inode_want(op, req->parent);
	mds_dirent_want(op, req->parent, req->name);
}

static void rename_want(struct mds_op *op)
{
	const struct w_mds_rename_req *req = op->req;

	globals_want(op);
	mds_inode_want(op, req->src_parent);
	mds_dirent_want(op, req->src_parent, req->src_name);
	mds_inode_want(op, req->dst_parent);
	mds_dirent_want(op, req->dst_parent, req->dst_name);
}

#define CRED(name) ((int)offsetof(struct w_mds_##name##_req, cred))

const struct mds_handler mds_handlers_ns[] = {
	{.op = W_OP_MDS_GETATTR,
		.kind = STATE_READ,
		.cred_offset = CRED(getattr),
		.execute = mds_getattr_execute,
		.want = getattr_want,
		.reply = mds_getattr_reply},
	{.op = W_OP_MDS_LOOKUP,
		.kind = STATE_READ,
		.cred_offset = CRED(lookup),
		.execute = mds_lookup_execute,
		.want = lookup_want,
		.reply = mds_lookup_reply},
	{.op = W_OP_MDS_CREATE,
		.flags = MDS_H_CHANGE | MDS_H_READ_ONLY_OK,
		.kind = STATE_CHANGE,
		.cred_offset = CRED(create),
		.execute = mds_create_execute,
		.want = create_want,
		.reply = mds_create_reply,
		.committed = mds_data_committed},
	{.op = W_OP_MDS_SETATTR,
		.flags = MDS_H_CHANGE,
		.kind = STATE_CHANGE,
		.cred_offset = CRED(setattr),
		.execute = mds_setattr_execute,
		.reply = mds_setattr_reply,
		.committed = mds_data_committed},
	{.op = W_OP_MDS_UNLINK,
		.flags = MDS_H_CHANGE,
		.kind = STATE_RELEASE,
		.cred_offset = CRED(unlink),
		.execute = mds_unlink_execute,
		.want = unlink_want,
		.reply = mds_unlink_reply,
		.committed = mds_data_committed},
	{.op = W_OP_MDS_LINK,
		.flags = MDS_H_CHANGE,
		.kind = STATE_CHANGE,
		.cred_offset = CRED(link),
		.execute = mds_link_execute,
		.want = link_want,
		.reply = mds_link_reply},
	{.op = W_OP_MDS_RENAME,
		.flags = MDS_H_CHANGE,
		.kind = STATE_CHANGE,
		.cred_offset = CRED(rename),
		.execute = mds_rename_execute,
		.want = rename_want,
		.reply = mds_rename_reply,
		.committed = mds_data_committed},
	{.op = W_OP_MDS_READDIR,
		.kind = STATE_READ,
		.cred_offset = CRED(readdir),
		.execute = mds_readdir_execute,
		.reply = mds_readdir_reply,
		.after = mds_atime_after},
	{.op = W_OP_MDS_READLINK,
		.kind = STATE_READ,
		.cred_offset = CRED(readlink),
		.large_bytes = LIM_SYMLINK_MAX,
		.execute = mds_readlink_execute,
		.reply = mds_readlink_reply,
		.after = mds_atime_after},
	{.op = W_OP_MDS_GETXATTR,
		.kind = STATE_READ,
		.cred_offset = CRED(getxattr),
		.execute = mds_getxattr_execute,
		.reply = mds_getxattr_reply},
	{.op = W_OP_MDS_SETXATTR,
		.flags = MDS_H_CHANGE,
		.kind = STATE_CHANGE,
		.cred_offset = CRED(setxattr),
		.execute = mds_setxattr_execute,
		.reply = mds_setxattr_reply},
	{.op = W_OP_MDS_LISTXATTR,
		.kind = STATE_READ,
		.cred_offset = CRED(listxattr),
		.execute = mds_listxattr_execute,
		.reply = mds_listxattr_reply},
	{.op = W_OP_MDS_STATFS,
		.kind = STATE_READ,
		.cred_offset = MDS_NO_CRED,
		.execute = statfs_execute,
		.reply = statfs_reply},
	{.op = W_OP_MDS_SYNC,
		.kind = STATE_READ,
		.cred_offset = MDS_NO_CRED,
		.prepare = sync_prepare,
		.execute = sync_execute,
		.reply = sync_reply},
	{.op = W_OP_MDS_FID2PATH,
		.kind = STATE_READ,
		.cred_offset = CRED(fid2path),
		.execute = mds_fid2path_execute,
		.reply = mds_fid2path_reply},
	{.op = W_OP_MDS_ACCESS,
		.kind = STATE_READ,
		.cred_offset = CRED(access),
		.execute = access_execute},
};
const unsigned mds_handlers_ns_count = ARRAY_SIZE(mds_handlers_ns);
