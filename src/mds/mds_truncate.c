/*
 * Sizes that are set: truncate, growth, O_TRUNC.
 *
 * All of it is one transaction: the new size, the reply, and for objects the numbered intents that set them
 * (RULES A7). The engine sends those when they are durable (mds_intent.c). A client that is told "done" writes into
 * objects that no late truncate may cut, so the reply waits a moment for the OSTs' answers; if they take longer it says
 * SETTLING, and the client asks getattr for SETTLED, which may be parked (mds_wait.c). So a truncate is executed once,
 * whoever dies in between. The OST of the last byte gets its object's exact size, also when the file grows: objects alone
 * always tell the size. A file that nobody has open and that loses all its data gets a new data FID instead; the
 * old objects are destroyed.
 */
#include "mds/mds_data.h"

static void times_set(struct mds_op *op, struct mds_inode *inode)
{
	/* Times that the same request sets explicitly stand. */
	if (inode->d.mtime_floor != op->now_ns) {
		inode->d.mtime = op->now_ns;
		inode->d.mtime_floor = op->now_ns;
	}
	mds_inode_changed(op, inode);
}

static void size_logged(struct mds_op *op, struct mds_inode *inode, uint64_t size)
{
	inode->d.size = size;
	inode->d.data_version++;
	if (!mds_instantiated(inode)) {
		inode->d.blocks = (size + 511) / 512;
	}
	times_set(op, inode);
}

/* ---- a new data FID ---- */

static int swap(struct mds_op *op, struct mds_inode *inode)
{
	int r = mds_layout_load(op, inode);

	ASSERT(mds_instantiated(inode));
	if (r == 0) {
		r = mds_intents_destroy(op, inode);
	}
	if (r == 0) {
		r = mds_fid_next(op, &op->layout.data_fid);
	}
	if (r < 0) {
		return r;
	}
	op->layout.gen = inode->d.layout_gen + 1;
	op->layout.flags &= ~W_LAYOUT_FLAGS_INSTANTIATED;
	op->layout.flags |= W_LAYOUT_FLAGS_INLINE;
	op->layout.stripes_present = (struct wire_bytes){0};
	inode->d.state &= ~W_ATTR_STATE_INSTANTIATED;
	inode->d.state |= W_ATTR_STATE_INLINE;
	op->data.inode = inode;
	op->data.shared = true;
	r = mds_layout_store(op, inode, op->layout.osts.count);
	if (r == 0 && mds_size_is_open(inode)) {
		r = mds_size_closed(op, inode);
	}
	size_logged(op, inode, 0);
	return r;
}

/* ---- objects ---- */

static int object_log(
	struct mds_op *op, const struct mds_inode *inode, uint32_t stripe, uint64_t object_size)
{
	struct d_mds_intent intent = {
		.kind = W_OST_CHANGE_KIND_SET_SIZE,
		.file_fid = inode->fid,
		.data_fid = op->layout.data_fid,
		.layout_gen = op->layout.gen,
		.ost = op->layout.osts.items[stripe],
		.stripe = stripe,
		.size = object_size,
		.uid = inode->d.uid,
		.gid = inode->d.gid,
		.projid = inode->d.projid,
	};

	op->data.sizes_sent++;
	return mds_intent_log(op, &intent, NULL);
}

/* op->layout is the inode's. */
static int objects_log(struct mds_op *op, struct mds_inode *inode, uint64_t size)
{
	struct layout_geom g = mds_layout_geom(&op->layout);
	uint32_t last = layout_last_stripe(&g, size);
	uint64_t old = u64_min(inode->d.size, LIM_FILE_SIZE_MAX);
	bool unknown = mds_size_is_open(inode);
	int r = 0;

	if (op->layout.osts.count != g.stripe_count) {
		return -NE_CORRUPT;
	}
	for (uint32_t i = 0; i < g.stripe_count && r == 0; i++) {
		uint64_t want = layout_object_size(&g, i, size);

		if (unknown || (size > 0 && i == last) || layout_object_size(&g, i, old) > want) {
			r = object_log(op, inode, i, want);
		}
	}
	op->data.inode = inode;
	op->data.shared = true;
	return r;
}

/* A file that outgrows the MDT gets objects: op->layout is the new one then. */
static int grow_out(struct mds_op *op, struct mds_inode *inode)
{
	struct mds_move *move = op->work == NULL ? NULL : op->work->move;
	int r;

	if (inode->d.size == 0) {
		r = mds_instantiate_empty(op, inode);
	} else if (move != NULL && move->done) {
		r = mds_move_switch(op, inode, move);
	} else {
		return mds_work_want(op, MDS_WORK_MOVE, inode->fid);
	}
	return r < 0 ? r : mds_open_writers_log(op, inode);
}

/* ---- the requests' side ---- */

int mds_data_size_set(struct mds_op *op, struct mds_inode *inode, uint64_t size)
{
	bool known = !mds_size_is_open(inode) && inode->d.size == size;
	int r;

	if (!S_ISREG(inode->d.mode)) {
		return -NE_INVAL;
	}
	if (size > LIM_FILE_SIZE_MAX) {
		return -NE_FBIG;
	}
	r = mds_file_settled(op, inode->fid);
	if (r < 0) {
		return r;
	}
	if (known) {
		times_set(op, inode);
		return 0;
	}
	if (!mds_instantiated(inode) && size <= LIM_INLINE_MAX) {
		r = mds_inline_size_set(op, inode, size);
		size_logged(op, inode, size);
		return r;
	}
	if (mds_instantiated(inode) && size == 0 &&
		!mds_file_others(op->mds->data, inode->fid, NULL)) {
		return swap(op, inode);
	}
	r = mds_files_reserve(op->mds->data);
	if (r == 0) {
		r = mds_instantiated(inode) ? mds_layout_load(op, inode) : grow_out(op, inode);
	}
	if (r == 0) {
		r = objects_log(op, inode, size);
	}
	if (r == 0) {
		size_logged(op, inode, size);
	}
	return r;
}

int mds_truncate_open(struct mds_op *op, struct mds_inode *inode)
{
	int r = mds_data_size_set(op, inode, 0);

	if (r == 0 && !mds_capable(op, MDS_CAP_FSETID)) {
		r = mds_mode_kill(op, inode, &inode->d.mode);
	}
	return r < 0 ? r : mds_capability_kill(op, inode);
}
