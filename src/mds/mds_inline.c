/*
 * Data that lives in the MDT: reads, writes and sizes of small files.
 *
 * The bytes are in pieces below the inode (MDS_PART_DATA); an operation reads all of them (LIM_INLINE_MAX at most)
 * and puts those that changed. A write that would outgrow the limit is refused: the client has the file
 * instantiated first.
 */
#include "mds/mds_data.h"

void mds_inode_data_changed(struct mds_op *op, struct mds_inode *inode)
{
	inode->d.mtime = op->now_ns;
	inode->d.data_version++;
	mds_inode_changed(op, inode);
	if (!mds_instantiated(inode)) {
		inode->d.blocks = (inode->d.size + 511) / 512;
	}
}

static int inline_load(struct mds_op *op, const struct mds_inode *inode)
{
	ASSERT(!mds_instantiated(inode));
	if (inode->d.size > LIM_INLINE_MAX) {
		return -NE_CORRUPT;
	}
	return mds_pieces_get(op, inode->fid, MDS_PART_DATA, op->inline_data, inode->d.size);
}

/* Puts the pieces that hold any of the bytes from..to of a file that is `size` long. */
static int inline_put(
	struct mds_op *op, const struct mds_inode *inode, uint64_t from, uint64_t to, uint64_t size)
{
	ASSERT(to <= size && size <= LIM_INLINE_MAX);
	for (uint64_t at = u64_round_down(from, MDS_PIECE_BYTES); at < to; at += MDS_PIECE_BYTES) {
		struct mds_key key =
			mds_key_piece(inode->fid, MDS_PART_DATA, (uint16_t)(at / MDS_PIECE_BYTES));
		int r = mds_kv_put(
			op, &key, op->inline_data + at, u64_min(size - at, MDS_PIECE_BYTES));

		if (r < 0) {
			return r;
		}
	}
	return 0;
}

int mds_inline_size_set(struct mds_op *op, struct mds_inode *inode, uint64_t size)
{
	uint64_t old = inode->d.size;
	int r = inline_load(op, inode);

	ASSERT(size <= LIM_INLINE_MAX);
	if (r < 0) {
		return r;
	}
	if (size > old) {
		memset(op->inline_data + old, 0, size - old);
		r = inline_put(op, inode, old, size, size);
	} else {
		/* The last piece that stays is cut, those behind it go. */
		r = size == 0 ? 0 : inline_put(op, inode, size - 1, size, size);
	}
	for (uint64_t at = u64_round_up(size, MDS_PIECE_BYTES); at < old && r == 0;
		at += MDS_PIECE_BYTES) {
		struct mds_key key =
			mds_key_piece(inode->fid, MDS_PART_DATA, (uint16_t)(at / MDS_PIECE_BYTES));

		r = mds_kv_del(op, &key);
	}
	inode->d.size = size;
	return r;
}

int mds_inline_zero(struct mds_op *op, const struct mds_inode *inode, uint64_t from, uint64_t to)
{
	int r = inline_load(op, inode);

	ASSERT(to <= inode->d.size);
	if (r < 0 || from >= to) {
		return r;
	}
	memset(op->inline_data + from, 0, to - from);
	return inline_put(op, inode, from, to, inode->d.size);
}

/* ---- read ---- */

int mds_read_execute(struct mds_op *op)
{
	const struct w_mds_read_req *req = op->req;
	struct mds_inode *inode = NULL;
	struct mds_open *open = NULL;
	uint64_t from;
	int r = mds_open_need(
		op, req->fid, req->handle, W_OPEN_FLAGS_READ | W_OPEN_FLAGS_EXEC, &open);

	if (r == 0) {
		r = mds_inode_get(op, req->fid, &inode);
	}
	if (r < 0) {
		return r;
	}
	if (!S_ISREG(inode->d.mode)) {
		return -NE_ISDIR;
	}
	if (mds_instantiated(inode)) {
		return -NE_LAYOUT_CHANGED;
	}
	op->res.inode = inode;
	from = u64_min(req->offset, inode->d.size);
	op->res.bytes = span_of(op->inline_data + from, u64_min(inode->d.size - from, req->length));
	return inline_load(op, inode);
}

int mds_read_reply(struct mds_op *op)
{
	op->rep.read.data = wire_bytes_of(op->res.bytes.ptr, op->res.bytes.len);
	op->rep.read.size = op->res.inode->d.size;
	return 0;
}

/* ---- write ---- */

static int write_bytes(struct mds_op *op, struct mds_inode *inode, uint64_t off)
{
	const struct w_mds_write_req *req = op->req;
	uint64_t old = inode->d.size;
	uint64_t end = off + req->data.len;
	int r = inline_load(op, inode);

	if (r < 0) {
		return r;
	}
	if (off > old) {
		memset(op->inline_data + old, 0, off - old);
	}
	bytes_copy(op->inline_data + off, req->data.ptr, req->data.len);
	inode->d.size = u64_max(old, end);
	return inline_put(op, inode, u64_min(off, old), end, inode->d.size);
}

int mds_inline_writable(
	struct mds_op *op, struct fid fid, uint64_t handle, struct mds_inode **ret_inode)
{
	struct mds_inode *inode = NULL;
	struct mds_open *open = NULL;
	int r = mds_open_need(op, fid, handle, W_OPEN_FLAGS_WRITE, &open);

	if (r == 0) {
		r = mds_file_settled(op, fid);
	}
	if (r == 0) {
		r = mds_inode_get(op, fid, &inode);
	}
	if (r < 0) {
		return r;
	}
	if (mds_instantiated(inode)) {
		r = mds_layout_durable(op, inode);
		return r < 0 ? r : -NE_LAYOUT_CHANGED;
	}
	if (mds_has(inode, W_ATTR_STATE_IMMUTABLE)) {
		return -NE_PERM;
	}
	*ret_inode = inode;
	return 0;
}

int mds_write_execute(struct mds_op *op)
{
	const struct w_mds_write_req *req = op->req;
	struct mds_inode *inode = NULL;
	uint64_t off;
	int r = mds_inline_writable(op, req->fid, req->handle, &inode);

	if (r == 0 && (req->flags & ~W_WRITE_FLAGS_ALL) != 0) {
		r = -NE_INVAL;
	}
	if (r == 0 && mds_has(inode, W_ATTR_STATE_APPEND_ONLY) &&
		(req->flags & W_WRITE_FLAGS_APPEND) == 0) {
		r = -NE_PERM;
	}
	if (r < 0) {
		return r;
	}
	op->res.inode = inode;
	off = (req->flags & W_WRITE_FLAGS_APPEND) != 0 ? inode->d.size : req->offset;
	op->res.number = off;
	if (req->data.len == 0) {
		return 0;
	}
	if (off > LIM_INLINE_MAX || req->data.len > LIM_INLINE_MAX - off) {
		return -NE_FBIG;
	}
	r = write_bytes(op, inode, off);
	if (r < 0) {
		return r;
	}
	/* Who asserts no ids is not believed to have CAP_FSETID either. */
	if ((req->flags & W_WRITE_FLAGS_KILL_SUID) != 0 || op->session->role == W_PEER_ROLE_USER) {
		inode->d.mode = mds_mode_kill_setid(inode->d.mode);
	}
	mds_inode_data_changed(op, inode);
	return mds_capability_kill(op, inode);
}

int mds_write_reply(struct mds_op *op)
{
	mds_attr_fill(op->res.inode, &op->rep.write.attr);
	op->rep.write.offset = op->res.number;
	return 0;
}

int mds_write_after(struct mds_op *op)
{
	const struct w_mds_write_req *req = op->req;

	if ((req->flags & W_WRITE_FLAGS_SYNC) != 0) {
		state_wait_durable(op->mds->st, state_last_lsn(op->mds->st));
	}
	return 0;
}
