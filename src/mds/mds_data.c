/*
 * The data side's frame: files in use, work between attempts, fibers, start and stop, the table of handlers.
 *
 * A request that needs OSTs asks for it from execute (mds_work_want) and is run again when that is done
 * (mds_data_fetch); what was done stays in op->work over the attempts. The file belongs to the work until the
 * request has committed or failed.
 */
#include <limits.h>

#include "base/log.h"
#include "mds/mds_data.h"

/* ---- fibers ---- */

static void fiber_main(void *arg)
{
	struct mds_fiber *f = arg;
	struct mds_data *data = f->data;

	f->fiber = env_self(data->mds->env);
	f->fn(data, f->arg);
	list_del(&f->link);
	mem_free(f);
	data->fiber_count--;
	env_wake_all(data->mds->env, &data->fibers_gone);
}

int mds_data_spawn(struct mds_data *data, const char *name,
	void (*fn)(struct mds_data *data, void *arg), void *arg)
{
	struct mds_fiber *f = mem_zalloc(sizeof(*f));
	int r;

	if (f == NULL) {
		return -NE_NOMEM;
	}
	f->data = data;
	f->fn = fn;
	f->arg = arg;
	r = env_spawn(data->mds->env, name, fiber_main, f);
	if (r < 0) {
		mem_free(f);
		return r;
	}
	list_push_back(&data->fibers, &f->link);
	data->fiber_count++;
	return 0;
}

void mds_data_pause(struct mds_data *data, struct env_waitq *q, uint64_t deadline_ns)
{
	if (!data->stopping) {
		/* Woken, late or interrupted: the caller looks for itself. */
		(void)!env_wait(data->mds->env, q, deadline_ns, ENV_WAIT_INTR);
	}
}

/* ---- files in use ---- */

int mds_files_reserve(struct mds_data *data)
{
	if (list_empty(&data->opens_spare)) {
		struct mds_open *open = mem_zalloc(sizeof(*open));

		if (open == NULL) {
			return -NE_NOMEM;
		}
		list_push_back(&data->opens_spare, &open->link);
	}
	if (list_empty(&data->files_spare)) {
		struct mds_file *file = mem_zalloc(sizeof(*file));

		if (file == NULL) {
			return -NE_NOMEM;
		}
		list_push_back(&data->files_spare, &file->size_link);
	}
	return 0;
}

struct mds_file *mds_file_find(struct mds_data *data, struct fid fid)
{
	for (struct hmap_node *it = hmap_find(&data->files, fid_hash(fid)); it != NULL;
		it = hmap_find_next(it)) {
		struct mds_file *file = container_of(it, struct mds_file, node);

		if (fid_eq(file->fid, fid)) {
			return file;
		}
	}
	return NULL;
}

struct mds_file *mds_file_ref(struct mds_data *data, struct fid fid)
{
	struct mds_file *file = mds_file_find(data, fid);

	if (file == NULL) {
		struct list *link = list_pop_front(&data->files_spare);

		ASSERT(link != NULL);
		file = list_entry(link, struct mds_file, size_link);
		memset(file, 0, sizeof(*file));
		file->fid = fid;
		list_init(&file->opens);
		env_waitq_init(&file->wake);
		rpc_parking_init(&file->parked);
		rpc_parking_init(&file->token_parked);
		hmap_insert(&data->files, &file->node, fid_hash(fid));
	}
	file->refs++;
	return file;
}

void mds_file_unref(struct mds_data *data, struct mds_file *file)
{
	ASSERT(file->refs > 0);
	file->refs--;
	if (file->refs > 0 || file->intents_left > 0) {
		return;
	}
	rpc_parking_wake(&file->parked, UINT_MAX);
	rpc_parking_wake(&file->token_parked, UINT_MAX);
	ASSERT(list_empty(&file->opens) && file->owner == NULL && !file->sizing);
	hmap_remove(&data->files, &file->node);
	mem_free(file);
}

void mds_file_sized(struct mds_data *data, struct fid fid)
{
	struct mds_file *file = mds_file_find(data, fid);

	ASSERT(file != NULL && file->intents_left > 0);
	file->refs++;
	file->intents_left--;
	if (file->intents_left == 0) {
		mds_file_moved(data, file);
	}
	mds_file_unref(data, file);
}

/* ---- work between attempts ---- */

int mds_work_want(struct mds_op *op, enum mds_work_kind kind, struct fid fid)
{
	struct mds_work *work = op->work;

	if (work == NULL) {
		work = mem_zalloc(sizeof(*work));
		if (work == NULL) {
			return -NE_NOMEM;
		}
		op->work = work;
	}
	if (work->file != NULL && !fid_eq(work->file->fid, fid)) {
		/* The name that is asked for means another file by now: what was done for the first one stands. */
		mds_work_release(op->mds->data, work);
	}
	work->wanted = kind;
	work->fid = fid;
	op->need_data = true;
	return -NE_MISSING_KEY;
}

int mds_file_settled(struct mds_op *op, struct fid fid)
{
	const struct mds_file *file = mds_file_find(op->mds->data, fid);

	if (file == NULL || mds_file_free(file)) {
		return 0;
	}
	if (file->owner != NULL && file->owner == op->work) {
		return 0;
	}
	return mds_work_want(op, MDS_WORK_WAIT, fid);
}

static int work_wait(struct mds_op *op, mds_file_over_fn *over)
{
	struct mds_data *data = op->mds->data;
	struct mds_file *file = mds_file_find(data, op->work->fid);
	int r;

	if (file == NULL) {
		return 0;
	}
	file->refs++;
	r = mds_file_wait(op, file, over);
	mds_file_unref(data, file);
	return r;
}

static int work_acquire(struct mds_op *op)
{
	struct mds_data *data = op->mds->data;
	struct mds_work *work = op->work;
	struct mds_file *file;
	int r;

	if (work->file != NULL) {
		return 0;
	}
	r = mds_files_reserve(data);
	if (r < 0) {
		return r;
	}
	file = mds_file_ref(data, work->fid);
	r = mds_file_wait(op, file, mds_file_free);
	if (r < 0) {
		mds_file_unref(data, file);
		return r;
	}
	file->owner = work;
	work->file = file;
	return 0;
}

void mds_work_release(struct mds_data *data, struct mds_work *work)
{
	struct mds_file *file = TAKE_PTR(work->file);

	mds_move_drop(data, work);
	if (file != NULL) {
		ASSERT(file->owner == work);
		file->owner = NULL;
		mds_file_moved(data, file);
		mds_file_unref(data, file);
	}
}

int mds_data_fetch(struct mds_op *op)
{
	struct mds_work *work = op->work;
	int r;

	ASSERT(work != NULL && work->wanted != MDS_WORK_NONE);
	if (work->wanted == MDS_WORK_WAIT || work->wanted == MDS_WORK_WAIT_OWNER) {
		return work_wait(
			op, work->wanted == MDS_WORK_WAIT ? mds_file_free : mds_file_unowned);
	}
	if (work->wanted == MDS_WORK_DURABLE) {
		state_wait_durable(op->mds->st, work->lsn);
		return 0;
	}
	ASSERT(work->wanted == MDS_WORK_MOVE);
	r = work_acquire(op);
	return r < 0 ? r : mds_move_run(op);
}

void mds_data_op_end(struct mds_op *op)
{
	struct mds_work *work = TAKE_PTR(op->work);

	if (work != NULL) {
		mds_work_release(op->mds->data, work);
		mem_free(work);
	}
}

/* ---- after a commit ---- */

static void outcome_apply(struct mds_op *op)
{
	struct mds_data *data = op->mds->data;
	struct mds_file *file;

	if (op->data.intent_first != 0) {
		mds_intents_fresh(data, op->data.intent_first);
	}
	if (op->data.moved && op->work != NULL) {
		mds_move_switched(data, op->work);
	}
	if (op->data.instantiated) {
		mds_open_writers_committed(data, op->data.inode->fid);
	}
	if (op->data.open) {
		mds_open_committed(op);
	}
	if (op->data.sizes_sent > 0) {
		file = mds_file_ref(data, op->data.inode->fid);
		file->intents_left += op->data.sizes_sent;
		mds_file_unref(data, file);
	}
	file = op->data.inode == NULL ? NULL : mds_file_find(data, op->data.inode->fid);
	if (file != NULL && op->data.shared) {
		file->shared = true;
		file->epoch++;
	}
}

void mds_data_committed(struct mds_op *op, int status)
{
	if (status == 0) {
		outcome_apply(op);
	}
	mds_data_op_end(op);
}

struct run {
	struct mds_handler handler; /* only its committed is used */
	void (*committed)(struct mds_op *op, int status);
	void *ctx;
};

static void run_committed(struct mds_op *op, int status)
{
	const struct run *run = container_of(op->handler, struct run, handler);

	if (status == 0) {
		outcome_apply(op);
	}
	if (run->committed != NULL) {
		run->committed(op, status);
	}
}

void *mds_data_run_ctx(const struct mds_op *op)
{
	ASSERT(op->handler != NULL && op->handler->committed == run_committed);
	return container_of(op->handler, struct run, handler)->ctx;
}

int mds_data_run(struct mds *mds, enum state_kind kind, mds_own_fn *execute,
	void (*committed)(struct mds_op *op, int status), void *ctx, uint64_t *ret_lsn)
{
	struct run run = {
		.handler = {.committed = run_committed}, .committed = committed, .ctx = ctx};
	struct mds_op *op = NULL;
	int r = mds_op_new(mds, &op);

	if (r < 0) {
		return r;
	}
	op->handler = &run.handler;
	r = mds_op_run_own(op, kind, execute, ctx);
	if (r == 0 && ret_lsn != NULL) {
		*ret_lsn = op->lsn;
	}
	op->handler = NULL;
	mds_op_free(op);
	return r;
}

/* ---- small hooks ---- */

int mds_data_owner_changed(struct mds_op *op, struct mds_inode *inode)
{
	/* OSTs do not account by id: who owns an object matters to nobody there. */
	ASSERT(op->txn != NULL && inode->present);
	return 0;
}

/* ---- start and stop ---- */

static struct mds_data *data_new(struct mds *mds)
{
	struct mds_data *data = mem_zalloc(sizeof(*data));

	if (data == NULL) {
		return NULL;
	}
	data->mds = mds;
	prng_init(&data->prng, env_random(mds->env));
	list_init(&data->fibers);
	list_init(&data->files_spare);
	list_init(&data->opens_spare);
	list_init(&data->sizes);
	hmap_init(&data->files);
	hmap_init(&data->opens);
	hmap_init(&data->intents.loaded);
	hmap_init(&data->intents.failed);
	data->intents.fresh_from = UINT64_MAX;
	data->intents.later_from = UINT64_MAX;
	env_waitq_init(&data->fibers_gone);
	env_waitq_init(&data->stop_wake);
	env_waitq_init(&data->window_wake);
	rpc_parking_init(&data->window_parked);
	env_waitq_init(&data->poll_wake);
	env_waitq_init(&data->sizes_wake);
	env_waitq_init(&data->intents.wake);
	return data;
}

int mds_data_start(struct mds *mds)
{
	struct mds_data *data;
	int r;

	_Static_assert(sizeof(struct mds_fiber) < 256, "a fiber's record is small");
	ASSERT(mds->st != NULL);
	/* The map may have been set before the start of this side. */
	if (mds->data == NULL) {
		mds->data = data_new(mds);
	}
	data = mds->data;
	if (data == NULL) {
		return -NE_NOMEM;
	}
	r = mds_intents_start(data);
	if (r == 0) {
		r = mds_osts_start(data);
	}
	if (r == 0) {
		r = mds_window_start(data);
	}
	return r;
}

static void fibers_join(struct mds_data *data)
{
	struct env *env = data->mds->env;

	data->stopping = true;
	while (data->fiber_count > 0) {
		LIST_FOREACH (it, &data->fibers) {
			struct mds_fiber *f = list_entry(it, struct mds_fiber, link);

			if (f->fiber != NULL) {
				env_interrupt(env, f->fiber);
			}
		}
		if (env_wait(env, &data->fibers_gone, ENV_FOREVER, ENV_WAIT_PLAIN) < 0) {
			break;
		}
	}
}

static void opens_free(struct mds_data *data)
{
	size_t cursor = 0;
	struct hmap_node *it;
	struct list *link;

	while ((it = hmap_pop(&data->opens, &cursor)) != NULL) {
		struct mds_open *open = container_of(it, struct mds_open, node);

		list_del(&open->link);
		mem_free(open);
	}
	while ((link = list_pop_front(&data->opens_spare)) != NULL) {
		mem_free(list_entry(link, struct mds_open, link));
	}
}

static void files_free(struct mds_data *data)
{
	size_t cursor = 0;
	struct hmap_node *it;
	struct list *link;

	while ((it = hmap_pop(&data->files, &cursor)) != NULL) {
		mem_free(container_of(it, struct mds_file, node));
	}
	while ((link = list_pop_front(&data->files_spare)) != NULL) {
		mem_free(list_entry(link, struct mds_file, size_link));
	}
}

void mds_data_stop(struct mds *mds)
{
	struct mds_data *data = mds->data;

	ASSERT(data != NULL);
	fibers_join(data);
	mds_osts_stop(data);
	mds_intents_stop(data);
	opens_free(data);
	files_free(data);
	hmap_fini(&data->opens);
	hmap_fini(&data->files);
	mem_free(data->absent);
	mem_free(data);
	mds->data = NULL;
}

/* ---- the table ---- */

#define CRED(name) ((int)offsetof(struct w_mds_##name##_req, cred))

const struct mds_handler mds_handlers_data[] = {
	/* It makes no file and its records go with the close: on a full MDT files are still read and overwritten. */
	{.op = W_OP_MDS_OPEN,
		.flags = MDS_H_CHANGE | MDS_H_READ_ONLY_OK,
		.kind = STATE_RELEASE,
		.cred_offset = CRED(open),
		.execute = mds_open_request_execute,
		.reply = mds_open_request_reply,
		.committed = mds_data_committed},
	{.op = W_OP_MDS_CLOSE,
		.flags = MDS_H_CHANGE | MDS_H_READ_ONLY_OK,
		.kind = STATE_RELEASE,
		.cred_offset = MDS_NO_CRED,
		.execute = mds_close_execute,
		.reply = mds_close_reply,
		.committed = mds_close_committed},
	{.op = W_OP_MDS_SIZE,
		.flags = MDS_H_CHANGE,
		.kind = STATE_RELEASE,
		.cred_offset = MDS_NO_CRED,
		.execute = mds_size_execute,
		.reply = mds_size_reply,
		.committed = mds_data_committed,
		.after = mds_size_after},
	{.op = W_OP_MDS_READ,
		.kind = STATE_READ,
		.cred_offset = MDS_NO_CRED,
		.execute = mds_read_execute,
		.reply = mds_read_reply},
	{.op = W_OP_MDS_WRITE,
		.flags = MDS_H_CHANGE,
		.kind = STATE_CHANGE,
		.cred_offset = MDS_NO_CRED,
		.execute = mds_write_execute,
		.reply = mds_write_reply,
		.committed = mds_data_committed,
		.after = mds_write_after},
	{.op = W_OP_MDS_FALLOCATE,
		.flags = MDS_H_CHANGE,
		.kind = STATE_CHANGE,
		.cred_offset = MDS_NO_CRED,
		.execute = mds_fallocate_execute,
		.reply = mds_fallocate_reply,
		.committed = mds_data_committed,
		.after = mds_fallocate_after},
	{.op = W_OP_MDS_INSTANTIATE,
		.flags = MDS_H_CHANGE,
		.kind = STATE_CHANGE,
		.cred_offset = MDS_NO_CRED,
		.execute = mds_instantiate_execute,
		.reply = mds_instantiate_reply,
		.committed = mds_data_committed,
		.after = mds_instantiate_after},
	{.op = W_OP_MDS_APPEND_BEGIN,
		.flags = MDS_H_CHANGE,
		.kind = STATE_READ,
		.cred_offset = MDS_NO_CRED,
		.prepare = mds_append_begin_prepare,
		.execute = mds_append_begin_execute,
		.reply = mds_append_begin_reply},
	{.op = W_OP_MDS_APPEND_END,
		.kind = STATE_READ,
		.cred_offset = MDS_NO_CRED,
		.execute = mds_append_end_execute},
	{.op = W_OP_MDS_LAYOUT_SET,
		.flags = MDS_H_CHANGE,
		.kind = STATE_CHANGE,
		.cred_offset = CRED(layout_set),
		.execute = mds_layout_set_execute,
		.reply = mds_layout_set_reply,
		.committed = mds_data_committed},
	{.op = W_OP_MDS_LAYOUT_GET,
		.kind = STATE_READ,
		.cred_offset = CRED(layout_get),
		.execute = mds_layout_get_execute,
		.reply = mds_layout_get_reply},
	{.op = W_OP_MDS_RECLAIM_OPEN,
		.flags = MDS_H_CHANGE | MDS_H_READ_ONLY_OK,
		.kind = STATE_RELEASE,
		.cred_offset = CRED(reclaim_open),
		.execute = mds_reclaim_execute,
		.reply = mds_reclaim_reply,
		.committed = mds_reclaim_committed},
};
const unsigned mds_handlers_data_count = ARRAY_SIZE(mds_handlers_data);
