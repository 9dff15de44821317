/*
 * Layouts: their records, how new files and directories come to theirs, what replies say of them.
 *
 * A file's layout is chosen when the file is made: stripe count, OSTs, data FID; nothing is asked of the OSTs
 * then. If no OST can take objects at that moment the list stays empty and is made when the data leaves the MDT. A
 * directory's default says what is wanted for new files and is handed down to new directories. Lists of more than
 * MDS_LAYOUT_OSTS_INLINE OSTs lie in pieces behind the first record.
 */
#include "mds/mds_data.h"

struct layout_geom mds_layout_geom(const struct w_layout *layout)
{
	struct layout_geom g = {
		.stripe_size = layout->stripe_size, .stripe_count = layout->stripe_count};

	ASSERT(layout->stripe_size > 0);
	return g;
}

/* ---- records ---- */

static uint32_t piece_count(uint32_t osts)
{
	if (osts <= MDS_LAYOUT_OSTS_INLINE) {
		return 0;
	}
	return (osts + MDS_LAYOUT_OSTS_PIECE - 1) / MDS_LAYOUT_OSTS_PIECE;
}

static int pieces_load(struct mds_op *op, struct fid fid, uint32_t osts)
{
	uint32_t at = 0;

	for (uint32_t i = 0; i < piece_count(osts); i++) {
		struct mds_key key = mds_key_piece(fid, MDS_PART_LAYOUT, (uint16_t)(i + 1));
		uint32_t n = (uint32_t)u64_min(osts - at, MDS_LAYOUT_OSTS_PIECE);
		struct span val = {0};
		int r = mds_kv_get(op, &key, &val);

		if (r == -NE_NOENT && i == 0) {
			return 0; /* not placed yet */
		}
		if (r < 0) {
			return r == -NE_NOENT ? -NE_CORRUPT : r;
		}
		if (val.len != n * sizeof(uint32_t)) {
			return -NE_CORRUPT;
		}
		for (uint32_t k = 0; k < n; k++) {
			op->layout_osts[at++] = le32_load((const uint8_t *)val.ptr + k * 4);
		}
	}
	op->layout.osts.count = osts;
	return 0;
}

int mds_layout_load(struct mds_op *op, const struct mds_inode *inode)
{
	struct mds_key key = mds_key_piece(inode->fid, MDS_PART_LAYOUT, 0);
	struct w_layout *l = &op->layout;
	struct d_mds_layout d;
	int r;

	if (inode->d.layout_gen == 0) {
		return -NE_NODATA;
	}
	r = mds_kv_get_record(op, &key, &d_mds_layout_codec, &d);
	if (r < 0) {
		return r != -NE_NOENT ? r : (mds_is_dir(inode) ? -NE_NODATA : -NE_CORRUPT);
	}
	if (d.layout.osts.view.count > MDS_LAYOUT_OSTS_INLINE) {
		return -NE_CORRUPT;
	}
	if (d.layout.stripes_present.len > sizeof(op->layout_present) ||
		d.layout.pool.len > sizeof(op->layout_pool)) {
		return -NE_CORRUPT;
	}
	*l = d.layout;
	/* The record's bytes are another's when the transaction has ended; a reply may be encoded again later. */
	bytes_copy(op->layout_present, l->stripes_present.ptr, l->stripes_present.len);
	l->stripes_present.ptr = op->layout_present;
	bytes_copy(op->layout_pool, l->pool.ptr, l->pool.len);
	l->pool.ptr = op->layout_pool;
	l->osts.items = op->layout_osts;
	l->osts.count = d.layout.osts.view.count;
	for (uint32_t i = 0; i < l->osts.count; i++) {
		op->layout_osts[i] = wire_u32_at(&d.layout.osts.view, i);
	}
	memset(&l->osts.view, 0, sizeof(l->osts.view));
	if (l->osts.count == 0 && l->stripe_count > MDS_LAYOUT_OSTS_INLINE &&
		l->stripe_count <= LIM_STRIPE_COUNT_MAX) {
		r = pieces_load(op, inode->fid, l->stripe_count);
	}
	if (r == 0 && l->osts.count > 0 && l->osts.count != l->stripe_count) {
		return -NE_CORRUPT;
	}
	return r;
}

int mds_layout_durable(struct mds_op *op, const struct mds_inode *inode)
{
	struct mds_key key = mds_key_piece(inode->fid, MDS_PART_LAYOUT, 0);
	struct mds_work *work;
	struct state_tag tag;

	state_get_tag(op->txn, key.b, key.len, &tag);
	if (tag.lsn <= state_committed_lsn(op->mds->st)) {
		return 0;
	}
	work = op->work == NULL ? mem_zalloc(sizeof(*work)) : op->work;
	if (work == NULL) {
		return -NE_NOMEM;
	}
	op->work = work;
	work->wanted = MDS_WORK_DURABLE;
	work->lsn = tag.lsn;
	op->need_data = true;
	return -NE_MISSING_KEY;
}

static int pieces_store(struct mds_op *op, struct fid fid, const uint32_t *osts, uint32_t count)
{
	uint8_t *buf = op->scratch;
	uint32_t at = 0;

	_Static_assert(MDS_LAYOUT_OSTS_PIECE * 4 <= sizeof(op->scratch), "a piece is one value");
	for (uint32_t i = 0; i < piece_count(count); i++) {
		struct mds_key key = mds_key_piece(fid, MDS_PART_LAYOUT, (uint16_t)(i + 1));
		uint32_t n = (uint32_t)u64_min(count - at, MDS_LAYOUT_OSTS_PIECE);
		int r;

		for (uint32_t k = 0; k < n; k++) {
			le32_store(buf + k * 4, osts[at++]);
		}
		r = mds_kv_put(op, &key, buf, n * sizeof(uint32_t));
		if (r < 0) {
			return r;
		}
	}
	return 0;
}

int mds_layout_store(struct mds_op *op, struct mds_inode *inode, uint32_t had)
{
	struct mds_key key = mds_key_piece(inode->fid, MDS_PART_LAYOUT, 0);
	struct d_mds_layout d = {.layout = op->layout};
	uint32_t count = op->layout.osts.count;
	int r = 0;

	ASSERT(count <= LIM_STRIPE_COUNT_MAX && op->layout.gen > 0);
	inode->d.layout_gen = op->layout.gen;
	mds_inode_touched(inode);
	for (uint32_t i = piece_count(count); i < piece_count(had) && r == 0; i++) {
		struct mds_key old = mds_key_piece(inode->fid, MDS_PART_LAYOUT, (uint16_t)(i + 1));

		r = mds_kv_del(op, &old);
	}
	if (r == 0 && piece_count(count) > 0) {
		r = pieces_store(op, inode->fid, op->layout.osts.items, count);
		d.layout.osts.items = NULL;
		d.layout.osts.count = 0;
	}
	return r < 0 ? r : mds_kv_put_record(op, &key, &d_mds_layout_codec, &d);
}

/* ---- what is wanted ---- */

void mds_layout_default(struct mds_op *op)
{
	op->layout = (struct w_layout){
		.pattern = W_LAYOUT_PATTERN_RAID0,
		.stripe_size = LIM_STRIPE_SIZE_DEFAULT,
		.stripe_count = 1,
		.first_ost = LAYOUT_OST_ANY,
	};
	op->layout.osts.items = op->layout_osts;
}

static int list_member(const struct mds_pool *pool, uint32_t index)
{
	for (uint32_t i = 0; pool != NULL && i < pool->count; i++) {
		if (pool->osts[i] == index) {
			return 0;
		}
	}
	return pool == NULL ? 0 : -NE_INVAL;
}

/* The OSTs a user listed, into op->layout_osts. */
static int list_take(struct mds_op *op, const struct w_layout *w, const struct mds_pool *pool)
{
	uint32_t count = w->osts.count;
	bool twice = false;

	if (count > LIM_STRIPE_COUNT_MAX ||
		(w->stripe_count != 0 && w->stripe_count != count &&
			w->stripe_count != LAYOUT_COUNT_ALL)) {
		return -NE_INVAL;
	}
	for (uint32_t i = 0; i < count; i++) {
		uint32_t index =
			w->osts.items != NULL ? w->osts.items[i] : wire_u32_at(&w->osts.view, i);

		if (mds_ost_find(op->mds->data, index) == NULL || list_member(pool, index) < 0) {
			return -NE_INVAL;
		}
		for (uint32_t k = 0; k < i && !twice; k++) {
			twice = op->layout_osts[k] == index;
		}
		op->layout_osts[i] = index;
	}
	if (twice && (w->flags & W_LAYOUT_FLAGS_OVERSTRIPED) == 0) {
		return -NE_INVAL;
	}
	op->layout.osts.count = count;
	op->layout.stripe_count = (uint16_t)count;
	op->layout.flags |= W_LAYOUT_FLAGS_EXPLICIT_OSTS;
	return 0;
}

int mds_layout_wanted(struct mds_op *op, const struct w_layout *wanted)
{
	struct w_layout w = *wanted;
	struct layout_geom g = {.stripe_size = w.stripe_size, .stripe_count = w.stripe_count};
	const struct mds_pool *pool = NULL;
	int r = 0;

	if (w.pattern != W_LAYOUT_PATTERN_RAID0) {
		return -NE_NOTSUP;
	}
	mds_layout_default(op);
	g.stripe_size = g.stripe_size == 0 ? LIM_STRIPE_SIZE_DEFAULT : g.stripe_size;
	g.stripe_count =
		g.stripe_count == 0 || g.stripe_count == LAYOUT_COUNT_ALL ? 1 : g.stripe_count;
	r = layout_geom_check(&g);
	if (r == 0 && w.pool.len > 0) {
		r = mds_placement_pool(op->mds->data, w.pool, &pool);
	}
	if (r < 0) {
		return r;
	}
	op->layout.stripe_size = g.stripe_size;
	op->layout.stripe_count = w.stripe_count == 0 ? 1 : w.stripe_count;
	op->layout.pool = w.pool;
	op->layout.flags = w.flags & W_LAYOUT_FLAGS_OVERSTRIPED;
	op->layout.first_ost = w.first_ost;
	if (w.osts.count > 0) {
		return list_take(op, &w, pool);
	}
	if (w.first_ost != LAYOUT_OST_ANY &&
		(mds_ost_find(op->mds->data, w.first_ost) == NULL ||
			list_member(pool, w.first_ost) < 0)) {
		return -NE_INVAL;
	}
	return 0;
}

/* ---- new files and directories ---- */

int mds_layout_file_init(struct mds_op *op, struct mds_inode *inode, bool strict)
{
	struct w_layout *l = &op->layout;
	int r = mds_placement_choose(op, l, strict);

	/* No OST can take objects now, or not the one that is asked for: there is time until data comes. */
	if (r == -NE_NOSPC || r == -NE_TARGET_DOWN) {
		l->osts.count = 0;
		r = 0;
	}
	if (r == 0) {
		r = mds_fid_next(op, &l->data_fid);
	}
	if (r < 0) {
		return r;
	}
	l->flags &= W_LAYOUT_FLAGS_EXPLICIT_OSTS | W_LAYOUT_FLAGS_OVERSTRIPED;
	l->flags |= W_LAYOUT_FLAGS_INLINE;
	l->gen = inode->d.layout_gen + 1;
	l->stripes_present = (struct wire_bytes){0};
	inode->d.state |= W_ATTR_STATE_INLINE;
	return 0;
}

/* What the request says, else what the parent hands down. *ret_strict: the user said it. -NE_NODATA: nobody says. */
static int wanted_find(struct mds_op *op, const struct mds_inode *parent, bool *ret_strict)
{
	const struct w_mds_create_req *req = op->req;
	struct wire_iter it = w_layout_iter(&req->layouts.view);
	struct w_layout w;

	*ret_strict = false;
	if (op->handler->op != W_OP_MDS_CREATE || (req->flags & W_CREATE_FLAGS_LAYOUT) == 0) {
		return mds_layout_load(op, parent);
	}
	*ret_strict = true;
	if (req->layouts.count == 0) {
		return -NE_INVAL;
	}
	if (req->layouts.items != NULL) {
		return mds_layout_wanted(op, &req->layouts.items[0]);
	}
	return w_layout_next(&it, &w) ? mds_layout_wanted(op, &w) : -NE_INVAL;
}

int mds_data_created(struct mds_op *op, struct mds_inode *parent, struct mds_inode *inode)
{
	bool strict = false;
	int r = wanted_find(op, parent, &strict);

	ASSERT(inode->fresh && mds_is_dir(parent));
	if (mds_is_dir(inode)) {
		if (r < 0) {
			return r == -NE_NODATA ? 0 : r;
		}
		op->layout.flags |= W_LAYOUT_FLAGS_DIRECTORY;
		op->layout.gen = 1;
		return mds_layout_store(op, inode, 0);
	}
	if (r == -NE_NODATA) {
		mds_layout_default(op);
		r = 0;
	}
	if (r == 0) {
		r = mds_layout_file_init(op, inode, strict);
	}
	return r < 0 ? r : mds_layout_store(op, inode, 0);
}

/* ---- replies ---- */

int mds_data_info(
	struct mds_op *op, struct mds_inode *inode, uint32_t want, struct w_inode_info *info)
{
	bool file = S_ISREG(inode->d.mode);
	int r;

	if ((want & W_WANT_LAYOUT) != 0 && (file || mds_is_dir(inode))) {
		r = mds_layout_load(op, inode);
		if (r == 0) {
			info->layouts.items = &op->layout;
			info->layouts.count = 1;
		} else if (r != -NE_NODATA) {
			return r;
		}
	}
	if ((want & W_WANT_DATA) == 0 || !file || mds_instantiated(inode) || inode->d.size == 0) {
		return 0;
	}
	if (inode->d.size > LIM_INLINE_MAX) {
		return -NE_CORRUPT;
	}
	r = mds_pieces_get(op, inode->fid, MDS_PART_DATA, op->inline_data, inode->d.size);
	if (r == 0) {
		info->data = wire_bytes_of(op->inline_data, inode->d.size);
	}
	return r;
}
