/*
 * How requests wait for OSTs and for each other without stopping the MDT (RULES D1).
 *
 * A handler waits a moment, because that is cheapest while all goes well; then the request is parked: its client asks
 * again when there is something new (rpc_request_park), and nothing waits here. Only what has changed nothing is parked.
 * Whatever is found late is remembered (of a file, of an OST) until it moves, so the next request is parked at once.
 *
 * An answer that takes longer than a moment though its OST lives is waited for by a bounded number of handlers, of each
 * session and in all: they make progress, and the others' name space goes on. A request that cannot be parked (the
 * service's own, a test's) waits here.
 *
 * Lots. A file's `parked` wait until its data is settled; `token_parked` for its append token, woken a few at a time, as
 * one can have it; an OST's wait until it answers; the window's until it is closed.
 */
#include <limits.h>

#include "mds/mds_data.h"

/* An OST on a busy disk answers within this. */
#define SHORT_NS (100 * NS_PER_MS)
/* With a place among those that may wait longer. */
#define LONG_NS (5 * NS_PER_S)
/* Handlers that wait longer: a third of them (rpc: 384), half of a session's slots. */
#define WAITS_MAX 128
#define WAITS_SESSION_MAX (LIM_SLOTS / 2)
/* Who waits for the token: one gets it, another one if that client has gone. */
#define TOKEN_WAKE 4
/* After an OST's first answer, and after each request it served: all come in time, not all at once. */
#define OST_WAKE_FIRST 256
#define OST_WAKE_NEXT 2

bool mds_parkable(const struct mds_op *op)
{
	return op->request != NULL && op->request->park != NULL;
}

int mds_park(struct mds_op *op, struct rpc_parking *lot)
{
	ASSERT(mds_parkable(op));
	return op->request->park(op->request->encode_ctx, lot);
}

/* ---- files ---- */

bool mds_file_free(const struct mds_file *file)
{
	return file->owner == NULL && file->intents_left == 0;
}

bool mds_file_unowned(const struct mds_file *file)
{
	return file->owner == NULL;
}

int mds_file_wait(struct mds_op *op, struct mds_file *file, mds_file_over_fn *over)
{
	struct env *env = op->mds->env;
	uint64_t deadline = mds_parkable(op) ? env_now(env) + SHORT_NS : ENV_FOREVER;

	while (!over(file)) {
		int r = file->late && mds_parkable(op)
			? -NE_TIMEDOUT
			: env_wait(env, &file->wake, deadline, ENV_WAIT_INTR);

		if (r == -NE_TIMEDOUT && !over(file)) {
			file->late = true;
			return mds_park(op, &file->parked);
		}
		if (r < 0 && r != -NE_TIMEDOUT) {
			return r;
		}
	}
	return 0;
}

void mds_file_moved(struct mds_data *data, struct mds_file *file)
{
	file->late = false;
	env_wake_all(data->mds->env, &file->wake);
	rpc_parking_wake(&file->parked, UINT_MAX);
}

void mds_file_token_wake(struct mds_data *data, struct mds_file *file)
{
	env_wake_all(data->mds->env, &file->wake);
	rpc_parking_wake(&file->token_parked, TOKEN_WAKE);
}

/* ---- OSTs ---- */

bool mds_ost_is_late(const struct mds_ost *ost)
{
	return ost != NULL && ost->session != NULL && (ost->late || !ost->answers);
}

void mds_ost_late(struct mds_data *data, struct mds_ost *ost)
{
	if (ost == NULL || ost->late) {
		return;
	}
	ost->late = true;
	/* Asked now: if it lives it will say so. */
	data->poll_due_ns = 0;
	env_wake_all(data->mds->env, &data->poll_wake);
}

void mds_ost_in_time(struct mds_data *data, struct mds_ost *ost)
{
	bool was_late = mds_ost_is_late(ost);

	ost->late = false;
	ost->answers = true;
	if (was_late && !ost->serving) {
		ost->backoff_ns = 0;
		ost->not_before_ns = 0;
		env_wake_all(data->mds->env, &data->intents.wake);
	}
	rpc_parking_wake(&ost->parked, OST_WAKE_FIRST);
}

void mds_ost_served(struct mds_ost *ost)
{
	if (ost != NULL && ost->answers && !ost->late) {
		rpc_parking_wake(&ost->parked, OST_WAKE_NEXT);
	}
}

uint64_t mds_wait_begin(struct mds_op *op, bool *ret_long)
{
	struct mds_data *data = op->mds->data;
	uint64_t now = env_now(op->mds->env);

	*ret_long = false;
	if (!mds_parkable(op)) {
		return 0;
	}
	if (data->waits >= WAITS_MAX || op->session->waits >= WAITS_SESSION_MAX) {
		return now + SHORT_NS;
	}
	data->waits++;
	op->session->waits++;
	*ret_long = true;
	return now + LONG_NS;
}

void mds_wait_end(struct mds_op *op, bool was_long)
{
	if (was_long) {
		ASSERT(op->mds->data->waits > 0 && op->session->waits > 0);
		op->mds->data->waits--;
		op->session->waits--;
	}
}

/* ---- changes of a size that are on their way (mds_truncate.c) ---- */

/* The attributes in the reply, if this operation sent sizes to OSTs. */
static struct w_attr *settling_attr(struct mds_op *op)
{
	struct w_inode_info *info =
		op->data.sizes_sent == 0 ? NULL : mds_rep_info(op->request->op->op, &op->rep);

	return info == NULL ? NULL : &info->attr;
}

void mds_settling_mark(struct mds_op *op)
{
	struct w_attr *attr = settling_attr(op);

	if (attr != NULL) {
		attr->state |= W_ATTR_STATE_SETTLING;
	}
}

static bool settling_late(struct mds_op *op)
{
	for (uint32_t i = 0; i < op->layout.osts.count; i++) {
		if (mds_ost_is_late(mds_ost_find(op->mds->data, op->layout_osts[i]))) {
			return true;
		}
	}
	return false;
}

/* Those that have not answered yet. */
static void settling_late_note(struct mds_op *op)
{
	for (uint32_t i = 0; i < op->layout.osts.count; i++) {
		struct mds_ost *ost = mds_ost_find(op->mds->data, op->layout_osts[i]);

		if (ost != NULL && ost->queued > 0) {
			mds_ost_late(op->mds->data, ost);
		}
	}
}

/* The objects' sizes are set, or it takes longer: then the reply says so. */
static void settling_wait(struct mds_op *op, struct mds_file *file)
{
	struct env *env = op->mds->env;
	uint64_t deadline = mds_parkable(op) ? env_now(env) + SHORT_NS : ENV_FOREVER;

	while (file->intents_left > 0) {
		int r;

		if (mds_parkable(op) && (file->late || settling_late(op))) {
			file->late = true;
			return;
		}
		r = env_wait(env, &file->wake, deadline, ENV_WAIT_INTR);
		if (r == -NE_TIMEDOUT && file->intents_left > 0) {
			settling_late_note(op);
			file->late = true;
			return;
		}
		if (r < 0 && r != -NE_TIMEDOUT) {
			/* It is done and will be answered so: only the waiting ends. */
			return;
		}
	}
}

int mds_settling_after(struct mds_op *op)
{
	struct mds_data *data = op->mds->data;
	struct w_attr *attr = settling_attr(op);
	struct mds_file *file = attr == NULL ? NULL : mds_file_find(data, attr->fid);
	struct span bytes = {0};

	if (attr == NULL) {
		return 0;
	}
	if (file != NULL) {
		bool settled;

		file->refs++;
		settling_wait(op, file);
		settled = file->intents_left == 0;
		mds_file_unref(data, file);
		if (!settled) {
			return 0;
		}
	}
	attr->state &= ~W_ATTR_STATE_SETTLING;
	/* Should it not be encoded again, the client asks once more in vain. */
	(void)!op->request->encode(op->request->encode_ctx, op->request->op, &op->rep, &bytes);
	return 0;
}
