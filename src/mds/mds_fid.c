/*
 * FIDs: handed out of ranges that a durable record reserved before (RULES A3).
 *
 * The record holds the sequence and the oid below which everything was given away. A start goes on at that
 * oid, so whatever the last run had reserved and perhaps used is skipped; an orderly stop writes the exact next
 * oid. Memory is ahead of the record never, behind it always. The reserve is filled up in the background
 * when a quarter is left, so requests do not wait.
 */
#include "base/log.h"
#include "mds/mds_int.h"

#define FID_BATCH 65536

static uint32_t batch_of(const struct mds *mds)
{
	return mds->opts.fid_batch == 0 ? FID_BATCH : mds->opts.fid_batch;
}

static int range_put(struct mds_op *op, void *ctx)
{
	struct mds_key key = mds_key_fid_range();

	return mds_kv_put_record(op, &key, &d_mds_fid_range_codec, ctx);
}

/* The record becomes durable. */
static int range_write(struct mds *mds, const struct d_mds_fid_range *range)
{
	struct d_mds_fid_range copy = *range;
	struct mds_op *op = NULL;
	int r = mds_op_new(mds, &op);

	if (r < 0) {
		return r;
	}
	r = mds_op_run_own(op, STATE_RELEASE, range_put, &copy);
	if (r == 0) {
		state_wait_durable(mds->st, op->lsn);
	}
	mds_op_free(op);
	return r;
}

/* Reserves the next batch after what is reserved now. */
static int range_extend(struct mds *mds)
{
	struct mds_fids *f = &mds->fids;
	struct d_mds_fid_range range = {.seq = f->seq, .seq_end = f->seq_end};
	uint32_t batch = batch_of(mds);
	int r;

	if (f->oid_end > FID_OID_MAX - batch) {
		/* The sequence's last oids are not worth the trouble. */
		if (f->seq + 1 >= f->seq_end) {
			return -NE_NOSPC;
		}
		range.seq++;
		range.oid_end = 1 + batch;
	} else {
		range.oid_end = f->oid_end + batch;
	}
	r = range_write(mds, &range);
	if (r < 0) {
		return r;
	}
	if (range.seq != f->seq) {
		f->seq = range.seq;
		f->oid_next = 1;
	}
	f->oid_end = range.oid_end;
	return 0;
}

static int range_get(struct mds_op *op, void *ctx)
{
	struct mds_key key = mds_key_fid_range();

	return mds_kv_get_record(op, &key, &d_mds_fid_range_codec, ctx);
}

int mds_fids_start(struct mds *mds)
{
	struct mds_fids *f = &mds->fids;
	struct d_mds_fid_range range = {0};
	struct mds_op *op = NULL;
	uint64_t seq_first = mds->opts.fid_seq_start + 1;
	uint64_t seq_end = mds->opts.fid_seq_start + mds->opts.fid_seq_count;
	int r = mds_op_new(mds, &op);

	ASSERT(batch_of(mds) < FID_OID_MAX / 2);
	if (r < 0) {
		return r;
	}
	r = mds_op_run_own(op, STATE_READ, range_get, &range);
	mds_op_free(op);
	if (r < 0 && r != -NE_NOENT) {
		return r;
	}
	if (r == -NE_NOENT || range.seq < seq_first || range.seq >= seq_end) {
		/* A new store, or the MGS gave other sequences (a restored backup). */
		range = (struct d_mds_fid_range){.seq = seq_first, .oid_end = 1};
	}
	if (range.oid_end == 0 || range.oid_end > FID_OID_MAX) {
		return -NE_CORRUPT;
	}
	f->seq = range.seq;
	f->seq_end = seq_end;
	f->oid_next = range.oid_end;
	f->oid_end = range.oid_end;
	return range_extend(mds);
}

void mds_fids_stop(struct mds *mds)
{
	struct mds_fids *f = &mds->fids;
	struct d_mds_fid_range range = {
		.seq = f->seq, .oid_end = f->oid_next, .seq_end = f->seq_end};

	if (f->seq == 0) {
		return;
	}
	f->oid_end = f->oid_next;
	/* Without the record the rest of the batch is skipped: no harm. */
	if (range_write(mds, &range) < 0) {
		log_warn("mds", "the rest of a FID range is given up seq=%#lx oid=%u",
			(unsigned long)range.seq, range.oid_end);
	}
}

static void refill_fiber(void *arg)
{
	struct mds *mds = arg;
	struct mds_fids *f = &mds->fids;

	f->error = range_extend(mds);
	if (f->error < 0) {
		log_error("mds", "no FIDs can be reserved error=%s", ne_name(f->error));
	}
	f->refilling = false;
	env_wake_all(mds->env, &f->refilled);
	mds->background--;
	env_wake_all(mds->env, &mds->background_done);
}

static int refill_start(struct mds *mds)
{
	int r;

	if (mds->fids.refilling || mds->stopping) {
		return 0;
	}
	r = env_spawn(mds->env, "mds-fids", refill_fiber, mds);
	if (r < 0) {
		return r;
	}
	mds->fids.refilling = true;
	mds->background++;
	return 0;
}

int mds_fid_next(struct mds_op *op, struct fid *ret_fid)
{
	struct mds_fids *f = &op->mds->fids;

	ASSERT(f->seq != 0);
	if (f->oid_next >= f->oid_end) {
		op->need_fids = true;
		return -NE_MISSING_KEY;
	}
	*ret_fid = (struct fid){.seq = f->seq, .oid = f->oid_next++};
	if (f->oid_end - f->oid_next < batch_of(op->mds) / 4 && refill_start(op->mds) < 0) {
		/* Too many fibers: the request that finds nothing left tries again. */
		return 0;
	}
	return 0;
}

bool mds_fid_is_new(struct mds *mds, struct fid fid)
{
	struct mds_fids *f = &mds->fids;
	uint64_t freezes = state_freezes(mds->st);

	if (f->seq == 0) {
		return false; /* not started */
	}
	if (fid_is_zero(f->new_from) || f->new_freezes != freezes) {
		f->new_freezes = freezes;
		f->new_from = (struct fid){.seq = f->seq, .oid = f->oid_next};
	}
	ASSERT(f->new_from.seq <= f->seq);
	return fid.seq == f->new_from.seq ? fid.oid >= f->new_from.oid
					  : fid.seq > f->new_from.seq && fid.seq <= f->seq;
}

int mds_fids_refill(struct mds *mds)
{
	struct mds_fids *f = &mds->fids;

	ASSERT(env_self(mds->env) != NULL);
	while (f->oid_next >= f->oid_end) {
		int r = refill_start(mds);

		if (r < 0) {
			return r;
		}
		if (!f->refilling) {
			return -NE_SHUTDOWN;
		}
		r = env_wait(mds->env, &f->refilled, ENV_FOREVER, ENV_WAIT_PLAIN);
		if (r < 0) {
			return r;
		}
		if (f->error < 0 && f->oid_next >= f->oid_end) {
			return f->error;
		}
	}
	return 0;
}
