/*
 * A file gets objects: an empty one by a change of its layout, one with inline data by moving the bytes.
 *
 * The move (RULES B7). While the file is owned by the request: a data FID is taken and the destruction of its object
 * logged; when that is durable the bytes are written to the first stripe's OST and committed there; then one
 * transaction switches the layout and deletes inline data and intent. Whatever fails in between leaves the inline data
 * as it was, and the intent destroys what may have been written. A data FID is tried once.
 */
#include "mds/mds_data.h"

/* An OST that is silent this long is passed over if there is another one. */
#define WRITE_NS (5 * NS_PER_S)
#define AVOID_NS (10 * NS_PER_S)
/* OSTs one request tries before it is parked: others wait for the file. */
#define TURNS_MAX 3

/* ---- placement at the last moment ---- */

/* Nothing can be placed: is that lack of space, or do we not know the OSTs yet, or is what we know of old? */
static int nowhere(struct mds_data *data)
{
	if (data->mds->opts.ost_client == NULL) {
		return -NE_NOSPC;
	}
	if (!mds_osts_fresh(data)) {
		return -NE_RETRY;
	}
	for (uint32_t i = 0; i < LIM_OST_MAX; i++) {
		const struct mds_ost *ost = data->osts[i];
		bool avoided = ost != NULL && env_now(data->mds->env) < ost->avoid_until_ns;

		/* One that was silent a moment ago says nothing about space. */
		if (ost != NULL && ost->answers &&
			!(avoided && ost->bytes_avail >= MDS_OST_AVAIL_MIN)) {
			return -NE_NOSPC;
		}
	}
	return -NE_RETRY;
}

/* OSTs for a layout that is to be used now: those it has, unless they cannot take objects and others can. */
static int place_now(struct mds_op *op)
{
	struct mds_data *data = op->mds->data;
	struct w_layout *l = &op->layout;
	uint32_t had = l->osts.count;
	int r;

	if (had > 0 &&
		((l->flags & W_LAYOUT_FLAGS_EXPLICIT_OSTS) != 0 || mds_placement_usable(data, l))) {
		return 0;
	}
	r = mds_placement_choose(op, l, false);
	if (r == -NE_NOSPC && had == 0) {
		return nowhere(data);
	}
	/* They may come back: writes wait for them. */
	return r == -NE_NOSPC ? 0 : r;
}

static void layout_instantiated(struct mds_op *op, struct mds_inode *inode)
{
	op->layout.flags &= ~W_LAYOUT_FLAGS_INLINE;
	op->layout.flags |= W_LAYOUT_FLAGS_INSTANTIATED;
	op->layout.gen = inode->d.layout_gen + 1;
	inode->d.state &= ~W_ATTR_STATE_INLINE;
	inode->d.state |= W_ATTR_STATE_INSTANTIATED;
	inode->dirty = true;
	inode->counted = true;
}

int mds_instantiate_empty(struct mds_op *op, struct mds_inode *inode)
{
	uint32_t had;
	int r = mds_layout_load(op, inode);

	ASSERT(!mds_instantiated(inode) && inode->d.size == 0);
	had = op->layout.osts.count;
	if (r == 0) {
		r = place_now(op);
	}
	if (r < 0) {
		return r;
	}
	layout_instantiated(op, inode);
	return mds_layout_store(op, inode, had);
}

/* ---- the move ---- */

static int plan_intent(struct mds_op *op, const struct mds_inode *inode, struct mds_move *move)
{
	struct d_mds_intent intent = {
		.kind = W_OST_CHANGE_KIND_DESTROY,
		.file_fid = inode->fid,
		.data_fid = move->data_fid,
		.layout_gen = move->layout_gen,
		.ost = move->osts[0],
	};

	return mds_intent_log(op, &intent, &move->intent);
}

static int plan_fill(struct mds_op *op, const struct mds_inode *inode, struct mds_move *move)
{
	const struct w_layout *l = &op->layout;

	move->data_version = inode->d.data_version;
	move->layout_gen = inode->d.layout_gen + 1;
	move->uid = inode->d.uid;
	move->gid = inode->d.gid;
	move->projid = inode->d.projid;
	move->len = (uint32_t)inode->d.size;
	move->ost_count = (uint16_t)l->osts.count;
	move->explicit_osts = (l->flags & W_LAYOUT_FLAGS_EXPLICIT_OSTS) != 0;
	memcpy(move->osts, l->osts.items, l->osts.count * sizeof(uint32_t));
	return mds_pieces_get(op, inode->fid, MDS_PART_DATA, move->bytes, move->len);
}

/* No use to log what cannot be done: each try takes a data FID and leaves an object to destroy. */
static int plan_late(struct mds_op *op, struct mds_move *move)
{
	struct mds_ost *ost = mds_ost_find(op->mds->data, op->layout.osts.items[0]);

	if (!mds_ost_is_late(ost)) {
		return 0;
	}
	move->late = ost;
	return -NE_TIMEDOUT;
}

/* move->len stays 0 when there is nothing to move. */
static int plan_execute(struct mds_op *op, void *arg)
{
	struct mds_work *work = arg;
	struct mds_move *move = work->move;
	struct mds_inode *inode = NULL;
	int r = mds_inode_get(op, work->fid, &inode);

	*move = (struct mds_move){.parkable = move->parkable};
	if (r < 0 || mds_instantiated(inode) || inode->d.size == 0) {
		return r;
	}
	if (inode->d.size > LIM_INLINE_MAX) {
		return -NE_CORRUPT;
	}
	if (!mds_intent_holdable(op->mds->data)) {
		return -NE_RETRY;
	}
	r = mds_layout_load(op, inode);
	if (r == 0) {
		r = place_now(op);
	}
	if (r == 0 && move->parkable) {
		r = plan_late(op, move);
	}
	if (r == 0) {
		r = plan_fill(op, inode, move);
	}
	if (r == 0) {
		r = mds_fid_next(op, &move->data_fid);
	}
	return r < 0 ? r : plan_intent(op, inode, move);
}

static void plan_committed(struct mds_op *op, int status)
{
	const struct mds_work *work = mds_data_run_ctx(op);

	if (status == 0 && work->move->len > 0) {
		mds_intent_hold(op->mds->data, work->move->intent);
	}
}

static bool another_usable(const struct mds_data *data, const struct mds_move *move)
{
	if (move->explicit_osts) {
		return false;
	}
	for (uint32_t i = 0; i < LIM_OST_MAX; i++) {
		const struct mds_ost *ost = data->osts[i];

		if (ost != NULL && ost->index != move->osts[0] && mds_ost_usable(data, ost)) {
			return true;
		}
	}
	return false;
}

static int bytes_write(struct mds_data *data, const struct mds_work *work, uint64_t deadline_ns)
{
	struct mds_move *move = work->move;
	struct iovec iov = {.iov_base = move->bytes, .iov_len = move->len};
	struct w_ost_write_req req = {
		.object = {.data_fid = move->data_fid,
			.layout_gen = move->layout_gen,
			.file_fid = work->fid},
		.length = move->len,
		.flags = W_OST_WRITE_FLAGS_SYNC,
		.write_incarnation = data->mds->opts.epoch,
		.write_seq = move->intent,
		.uid = move->uid,
		.gid = move->gid,
		.projid = move->projid,
	};
	struct w_ost_write_rep rep = {0};
	struct rpc_call call = {
		.op = W_OP_OST_WRITE,
		/* The same bytes to the same place: twice is as good as once. */
		.flags = RPC_CALL_REPEATABLE,
		.request = &req,
		.reply = &rep,
		.bulk_out = &iov,
		.bulk_out_count = 1,
		.deadline_ns = deadline_ns,
	};
	int r = mds_ost_call(mds_ost_find(data, move->osts[0]), &call);

	if (r == 0 && !rep.stable) {
		r = -NE_IO;
	}
	move->mtime = rep.attr.mtime;
	move->blocks = rep.attr.blocks;
	rpc_call_fini(&call);
	return r;
}

static int bytes_send(struct mds_op *op, bool another)
{
	uint64_t patience = env_now(op->mds->env) + WRITE_NS;
	bool was_long;
	uint64_t deadline = mds_wait_begin(op, &was_long);
	int r;

	if (another) {
		deadline = deadline == 0 ? patience : u64_min(deadline, patience);
	}
	r = bytes_write(op->mds->data, op->work, deadline);
	mds_wait_end(op, was_long);
	return r;
}

/* The OST did not take the bytes; *ret_again: another one may, else the request is parked if it can be. */
static int move_failed(struct mds_op *op, struct mds_ost *ost, int error, bool *ret_again)
{
	struct mds_data *data = op->mds->data;

	if (ost == NULL || (error != -NE_TIMEDOUT && error != -NE_NOSPC)) {
		return error;
	}
	if (*ret_again) {
		ost->avoid_until_ns = env_now(op->mds->env) + AVOID_NS;
	}
	if (error != -NE_TIMEDOUT) {
		return error;
	}
	mds_ost_late(data, ost);
	return !*ret_again && mds_parkable(op) ? mds_park(op, &ost->parked) : error;
}

static int move_once(struct mds_op *op, bool may_turn, bool *ret_again)
{
	struct mds_data *data = op->mds->data;
	struct mds_work *work = op->work;
	struct mds_ost *late;
	struct mds_ost *ost;
	uint64_t lsn = 0;
	int r;

	*ret_again = false;
	work->move = mem_zalloc(sizeof(*work->move));
	if (work->move == NULL) {
		return -NE_NOMEM;
	}
	work->move->parkable = mds_parkable(op);
	r = mds_data_run(data->mds, STATE_CHANGE, plan_execute, plan_committed, work, &lsn);
	if (r < 0 || work->move->len == 0) {
		late = work->move->late;
		mem_free(TAKE_PTR(work->move));
		return r < 0 && late != NULL ? mds_park(op, &late->parked) : r;
	}
	state_wait_durable(data->mds->st, lsn);
	ost = mds_ost_find(data, work->move->osts[0]);
	*ret_again = may_turn && another_usable(data, work->move);
	r = bytes_send(op, *ret_again);
	if (r == 0) {
		mds_ost_served(ost);
		work->move->done = true;
		*ret_again = false;
		return 0;
	}
	mds_move_drop(data, work);
	r = move_failed(op, ost, r, ret_again);
	*ret_again = *ret_again && (r == -NE_TIMEDOUT || r == -NE_NOSPC);
	return r;
}

int mds_move_run(struct mds_op *op)
{
	const struct mds_work *work = op->work;
	unsigned turns = 0;
	bool again;
	int r;

	ASSERT(work->file != NULL && work->file->owner == work);
	if (work->move != NULL) {
		return 0;
	}
	/* Each turn excludes one more OST for a while. */
	do {
		turns++;
		r = move_once(op, turns < TURNS_MAX || !mds_parkable(op), &again);
	} while (r < 0 && again);
	return r;
}

void mds_move_drop(struct mds_data *data, struct mds_work *work)
{
	struct mds_move *move = TAKE_PTR(work->move);

	if (move != NULL && move->intent != 0) {
		mds_intent_unhold(data, move->intent, true);
	}
	mem_free(move);
}

void mds_move_switched(struct mds_data *data, struct mds_work *work)
{
	ASSERT(work->move != NULL && work->move->done);
	mds_intent_unhold(data, work->move->intent, false);
	work->move->intent = 0;
}

int mds_move_switch(struct mds_op *op, struct mds_inode *inode, struct mds_move *move)
{
	struct mds_key key = mds_key_intent(move->intent);
	static const uint8_t first_stripe = 1;
	struct w_layout *l = &op->layout;
	uint32_t had;
	int r = mds_layout_load(op, inode);

	ASSERT(move->done && !mds_instantiated(inode));
	/* Nobody changes the data of an owned file. */
	ASSERT(inode->d.data_version == move->data_version && inode->d.size == move->len);
	had = l->osts.count;
	if (r < 0) {
		return r;
	}
	l->data_fid = move->data_fid;
	memcpy(op->layout_osts, move->osts, move->ost_count * sizeof(uint32_t));
	l->osts.items = op->layout_osts;
	l->osts.count = move->ost_count;
	l->stripe_count = move->ost_count;
	l->stripes_present = wire_bytes_of(&first_stripe, 1);
	layout_instantiated(op, inode);
	inode->d.blocks = move->blocks;
	r = mds_layout_store(op, inode, had);
	if (r == 0) {
		r = mds_pieces_del(op, inode->fid, MDS_PART_DATA, move->len);
	}
	op->data.inode = inode;
	op->data.moved = true;
	return r < 0 ? r : mds_kv_del(op, &key);
}

/* ---- the request ---- */

int mds_instantiate_execute(struct mds_op *op)
{
	const struct w_mds_instantiate_req *req = op->req;
	struct mds_work *work = op->work;
	struct mds_inode *inode = NULL;
	struct mds_open *open = NULL;
	int r = mds_open_need(op, req->fid, req->handle, W_OPEN_FLAGS_WRITE, &open);

	if (r == 0) {
		r = mds_file_settled(op, req->fid);
	}
	if (r == 0) {
		r = mds_inode_get(op, req->fid, &inode);
	}
	if (r < 0) {
		return r;
	}
	op->res.inode = inode;
	if (mds_instantiated(inode)) {
		r = mds_layout_durable(op, inode);
		return r < 0 || open->writes ? r : mds_open_writers_log(op, inode);
	}
	if (inode->d.size == 0) {
		r = mds_instantiate_empty(op, inode);
	} else if (work != NULL && work->move != NULL && work->move->done) {
		r = mds_move_switch(op, inode, work->move);
	} else {
		return mds_work_want(op, MDS_WORK_MOVE, inode->fid);
	}
	return r < 0 ? r : mds_open_writers_log(op, inode);
}

int mds_instantiate_reply(struct mds_op *op)
{
	return mds_rep_inode_info(op, W_WANT_LAYOUT, &op->rep.instantiate.info);
}

/* Nobody writes to objects that a power failure would make the MDT forget: they would be lost, and left behind. */
int mds_instantiate_after(struct mds_op *op)
{
	ASSERT(op->req != NULL);
	state_wait_durable(op->mds->st, state_last_lsn(op->mds->st));
	return 0;
}
