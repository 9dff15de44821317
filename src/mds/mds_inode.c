/*
 * Inodes in an operation's cache, and the records below them: gets, puts, pieces.
 *
 * Invariants. Within one operation a FID has one struct mds_inode, so two roles of the same inode (a rename
 * within one directory) see each other's changes. Inodes are put once, by mds_op_flush, and `change` grows by
 * one however often the operation changed the inode.
 */
#include "mds/mds_int.h"

/* Is it a key of an inode that no checkpoint can have seen? */
static bool key_is_new(struct mds_op *op, const struct mds_key *key)
{
	switch (key->b[0]) {
	case MDS_KEY_ENTRY:
	case MDS_KEY_INODE:
	case MDS_KEY_ORPHAN:
	case MDS_KEY_SIZE_OPEN:
		return key->len >= MDS_KEY_FID_END &&
			mds_fid_is_new(op->mds, mds_fid_load(key->b + 1));
	default:
		return false;
	}
}

int mds_kv_get(struct mds_op *op, const struct mds_key *key, struct span *ret_value)
{
	struct state_val val;
	int r;

	ASSERT(op->txn != NULL && key->len > 0);
	r = key_is_new(op, key) ? state_get_new(op->txn, key->b, key->len, &val)
				: state_get(op->txn, key->b, key->len, &val);
	if (r < 0) {
		return r;
	}
	*ret_value = span_of(val.data, val.len);
	return 0;
}

int mds_kv_put(struct mds_op *op, const struct mds_key *key, const void *val, size_t len)
{
	ASSERT(op->txn != NULL && len <= LIM_KV_VALUE_MAX);
	return state_put(op->txn, key->b, key->len, val, (uint32_t)len);
}

int mds_kv_del(struct mds_op *op, const struct mds_key *key)
{
	ASSERT(op->txn != NULL && key->len > 0);
	return state_del(op->txn, key->b, key->len);
}

int mds_kv_put_record(struct mds_op *op, const struct mds_key *key, const struct wire_codec *codec,
	const void *rec)
{
	struct wire_enc enc = wire_enc_of(op->scratch, sizeof(op->scratch));
	int r = codec->encode(rec, &enc);

	ASSERT(codec->bad == -NE_CORRUPT);
	if (r < 0) {
		return r;
	}
	return mds_kv_put(op, key, op->scratch, enc.pos);
}

int mds_kv_get_record(
	struct mds_op *op, const struct mds_key *key, const struct wire_codec *codec, void *ret_rec)
{
	struct span val = {0};
	int r = mds_kv_get(op, key, &val);

	ASSERT(codec->bad == -NE_CORRUPT);
	if (r < 0) {
		return r;
	}
	return codec->decode(ret_rec, val.ptr, val.len);
}

int mds_kv_range(struct mds_op *op, const struct mds_key *from, const struct mds_key *to,
	uint32_t max, state_range_fn *fn, void *ctx)
{
	struct state_range range = {
		.from = from->b, .from_len = from->len, .to = to->b, .to_len = to->len, .max = max};

	ASSERT(op->txn != NULL && max > 0);
	range.all_new = from->len >= MDS_KEY_FID_END && to->len >= MDS_KEY_FID_END &&
		memcmp(from->b, to->b, MDS_KEY_FID_END) == 0 && key_is_new(op, from);
	return state_range(op->txn, &range, fn, ctx);
}

void mds_kv_want(struct mds_op *op, const struct mds_key *key)
{
	struct state_val val;

	ASSERT(op->txn != NULL);
	/* Only the note it leaves in the transaction is meant. */
	if (!key_is_new(op, key) && state_get(op->txn, key->b, key->len, &val) < 0) {
		return;
	}
}

/* ---- values in pieces ---- */

int mds_pieces_put(struct mds_op *op, struct fid fid, enum mds_key_part part, struct span value)
{
	const uint8_t *at = value.ptr;
	size_t left = value.len;

	_Static_assert(MDS_PIECE_BYTES <= LIM_KV_VALUE_MAX, "a piece is one value");
	for (uint16_t i = 0; left > 0; i++) {
		struct mds_key key = mds_key_piece(fid, part, i);
		size_t len = u64_min(left, MDS_PIECE_BYTES);
		int r = mds_kv_put(op, &key, at, len);

		if (r < 0) {
			return r;
		}
		at += len;
		left -= len;
	}
	return 0;
}

int mds_pieces_get(struct mds_op *op, struct fid fid, enum mds_key_part part, void *buf, size_t len)
{
	size_t pos = 0;
	int missing = 0;

	for (uint16_t i = 0; pos < len; i++) {
		struct mds_key key = mds_key_piece(fid, part, i);
		size_t want = u64_min(len - pos, MDS_PIECE_BYTES);
		struct span val = {0};
		int r = mds_kv_get(op, &key, &val);

		if (r == -NE_MISSING_KEY) {
			missing = r;
		} else if (r == -NE_NOENT || (r == 0 && val.len != want)) {
			return -NE_CORRUPT;
		} else if (r < 0) {
			return r;
		} else {
			bytes_copy((uint8_t *)buf + pos, val.ptr, want);
		}
		pos += want;
	}
	return missing;
}

int mds_pieces_del(struct mds_op *op, struct fid fid, enum mds_key_part part, size_t len)
{
	for (size_t pos = 0; pos < len; pos += MDS_PIECE_BYTES) {
		struct mds_key key = mds_key_piece(fid, part, (uint16_t)(pos / MDS_PIECE_BYTES));
		int r = mds_kv_del(op, &key);

		if (r < 0) {
			return r;
		}
	}
	return 0;
}

/* ---- inodes ---- */

static struct mds_inode *inode_cached(struct mds_op *op, struct fid fid)
{
	for (unsigned i = 0; i < op->inode_count; i++) {
		if (fid_eq(op->inodes[i].fid, fid)) {
			return &op->inodes[i];
		}
	}
	return NULL;
}

static struct mds_inode *inode_slot(struct mds_op *op, struct fid fid)
{
	struct mds_inode *inode;

	ASSERT(op->inode_count < MDS_OP_INODES_MAX);
	inode = &op->inodes[op->inode_count++];
	memset(inode, 0, sizeof(*inode));
	inode->fid = fid;
	inode->present = true;
	return inode;
}

int mds_inode_peek(struct mds_op *op, struct fid fid, struct d_mds_inode *ret_inode)
{
	struct mds_key key = mds_key_inode(fid);
	int r = mds_kv_get_record(op, &key, &d_mds_inode_codec, ret_inode);

	return r == -NE_NOENT ? -NE_STALE : r;
}

int mds_inode_get(struct mds_op *op, struct fid fid, struct mds_inode **ret_inode)
{
	struct mds_inode *inode = inode_cached(op, fid);
	struct d_mds_inode d;
	int r;

	if (inode != NULL) {
		if (inode->deleted) {
			return -NE_STALE;
		}
		*ret_inode = inode;
		return 0;
	}
	r = mds_inode_peek(op, fid, &d);
	if (r < 0) {
		return r;
	}
	inode = inode_slot(op, fid);
	inode->d = d;
	*ret_inode = inode;
	return 0;
}

int mds_dir_get(struct mds_op *op, struct fid fid, struct mds_inode **ret_dir)
{
	struct mds_inode *dir = NULL;
	int r = mds_inode_get(op, fid, &dir);

	if (r < 0) {
		return r;
	}
	if (!mds_is_dir(dir)) {
		return -NE_NOTDIR;
	}
	*ret_dir = dir;
	return 0;
}

int mds_inode_new(struct mds_op *op, struct fid fid, struct mds_inode **ret_inode)
{
	struct d_mds_globals *globals = NULL;
	struct mds_inode *inode;
	int r = mds_globals_get(op, &globals);

	ASSERT(!fid_is_zero(fid) && inode_cached(op, fid) == NULL);
	if (r < 0) {
		return r;
	}
	globals->inodes++;
	mds_globals_dirty(op);
	inode = inode_slot(op, fid);
	inode->fresh = true;
	inode->dirty = true;
	inode->counted = true;
	inode->d.atime = op->now_ns;
	inode->d.mtime = op->now_ns;
	inode->d.ctime = op->now_ns;
	inode->d.btime = op->now_ns;
	*ret_inode = inode;
	return 0;
}

void mds_inode_want(struct mds_op *op, struct fid fid)
{
	struct mds_key key = mds_key_inode(mds_fid_translate(op, fid));

	mds_kv_want(op, &key);
}

void mds_inode_changed(struct mds_op *op, struct mds_inode *inode)
{
	ASSERT(inode->present && !inode->deleted);
	inode->dirty = true;
	inode->counted = true;
	inode->d.ctime = op->now_ns;
}

void mds_inode_touched(struct mds_inode *inode)
{
	ASSERT(inode->present && !inode->deleted);
	inode->dirty = true;
}

static int part_delete(void *ctx, const struct state_rec *rec)
{
	/* A range may not be changed while it is walked: keys are collected. */
	struct mds_key *keys = ctx;

	if (rec->key_len > MDS_KEY_MAX) {
		return -NE_CORRUPT;
	}
	while (keys->len != 0) {
		keys++;
	}
	keys->len = rec->key_len;
	memcpy(keys->b, rec->key, rec->key_len);
	return 0;
}

/* How many records of a part are found and deleted at a time: bounded by a fiber's stack. */
#define DELETE_BATCH 16

static int part_destroy(struct mds_op *op, struct fid fid, enum mds_key_part part)
{
	struct mds_key from = mds_key_part(fid, part);
	struct mds_key to = mds_key_part(fid, (enum mds_key_part)(part + 1));

	for (;;) {
		struct mds_key keys[DELETE_BATCH + 1];
		unsigned n = 0;
		int r;

		memset(keys, 0, sizeof(keys));
		r = mds_kv_range(op, &from, &to, DELETE_BATCH, part_delete, keys);
		for (; r == 0 && keys[n].len != 0; n++) {
			r = mds_kv_del(op, &keys[n]);
		}
		if (r < 0 || n < DELETE_BATCH) {
			return r;
		}
	}
}

int mds_inode_destroy(struct mds_op *op, struct mds_inode *inode)
{
	struct d_mds_globals *globals = NULL;
	struct mds_key key;
	int r = mds_globals_get(op, &globals);

	ASSERT(inode->present && !inode->deleted);
	if (r < 0) {
		return r;
	}
	if (S_ISLNK(inode->d.mode) && inode->d.target.len == 0) {
		r = mds_pieces_del(op, inode->fid, MDS_PART_SYMLINK, inode->d.size);
	}
	if (r == 0 && inode->d.xattr_count > 0) {
		r = part_destroy(op, inode->fid, MDS_PART_XATTR);
	}
	if (r == 0 && inode->d.layout_gen != 0) {
		r = part_destroy(op, inode->fid, MDS_PART_LAYOUT);
	}
	if (r < 0) {
		return r;
	}
	ASSERT(globals->inodes > 0);
	globals->inodes--;
	mds_globals_dirty(op);
	inode->deleted = true;
	inode->dirty = false;
	key = mds_key_inode(inode->fid);
	return mds_kv_del(op, &key);
}

static int inode_put(struct mds_op *op, struct mds_inode *inode)
{
	struct mds_key key = mds_key_inode(inode->fid);

	ASSERT(inode->present && !inode->deleted);
	if (inode->counted) {
		inode->d.change++;
		inode->counted = false;
	}
	inode->dirty = false;
	return mds_kv_put_record(op, &key, &d_mds_inode_codec, &inode->d);
}

int mds_op_flush(struct mds_op *op)
{
	struct mds_key key = mds_key_globals();

	ASSERT(op->inode_count <= MDS_OP_INODES_MAX);
	for (unsigned i = 0; i < op->inode_count; i++) {
		struct mds_inode *inode = &op->inodes[i];
		int r = inode->dirty ? inode_put(op, inode) : 0;

		if (r < 0) {
			return r;
		}
	}
	if (!op->globals_dirty) {
		return 0;
	}
	op->globals_dirty = false;
	return mds_kv_put_record(op, &key, &d_mds_globals_codec, &op->globals);
}

/* ---- globals ---- */

int mds_globals_get(struct mds_op *op, struct d_mds_globals **ret_globals)
{
	struct mds_key key = mds_key_globals();

	if (!op->globals_loaded) {
		int r = mds_kv_get_record(op, &key, &d_mds_globals_codec, &op->globals);

		if (r < 0) {
			return r == -NE_NOENT ? -NE_CORRUPT : r;
		}
		op->globals_loaded = true;
	}
	*ret_globals = &op->globals;
	return 0;
}

void mds_globals_dirty(struct mds_op *op)
{
	ASSERT(op->globals_loaded);
	op->globals_dirty = true;
}

/* ---- what replies say ---- */

void mds_attr_fill(const struct mds_inode *inode, struct w_attr *ret_attr)
{
	const struct d_mds_inode *d = &inode->d;

	ASSERT(inode->present && ret_attr != NULL);
	*ret_attr = (struct w_attr){
		.fid = inode->fid,
		.mode = d->mode,
		.nlink = d->nlink,
		.uid = d->uid,
		.gid = d->gid,
		.rdev = d->rdev,
		.size = d->size,
		.blocks = d->blocks,
		.atime = d->atime,
		.mtime = d->mtime,
		.ctime = d->ctime,
		.btime = d->btime,
		.change = d->change,
		.data_version = d->data_version,
		.mtime_floor = d->mtime_floor,
		.layout_gen = d->layout_gen,
		.state = d->state,
		.projid = d->projid,
		.entries = d->entries,
	};
}

int mds_info_fill(
	struct mds_op *op, struct mds_inode *inode, uint32_t want, struct w_inode_info *ret_info)
{
	ASSERT(op->txn != NULL);
	memset(ret_info, 0, sizeof(*ret_info));
	mds_attr_fill(inode, &ret_info->attr);
	if ((want & (W_WANT_LAYOUT | W_WANT_DATA)) == 0 || inode->deleted) {
		return 0;
	}
	return mds_data_info(op, inode, want, ret_info);
}

void mds_change_fill(struct mds_op *op, struct w_change_info *ret_change)
{
	uint32_t n = 0;

	memset(ret_change, 0, sizeof(*ret_change));
	for (unsigned i = 0; i < ARRAY_SIZE(op->res.parents); i++) {
		if (op->res.parents[i] != NULL) {
			mds_attr_fill(op->res.parents[i], &op->attrs[n++]);
		}
	}
	ret_change->parents.items = op->attrs;
	ret_change->parents.count = n;
}
