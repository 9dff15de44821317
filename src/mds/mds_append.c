/*
 * Append tokens (RULES C9): who appends to objects holds the file's token from the reservation of the range until
 * the data is acknowledged, so no two appends get the same offset.
 *
 * The token is memory only. It comes back with append_end, with the close of the handle, or with the session; a session
 * that ends while it holds one may still have writes on the way, so its client is fenced at the file's OSTs first. A
 * client runs one append at a time per handle: the same handle asking again repeats a request whose answer was lost.
 * After a restart nobody gets a token before the recovery window has closed, and clients that did not come back by then are
 * fenced first (mds_absent.c). Who cannot have the token, or finds an OST
 * that does not answer, is parked without it (mds_wait.c).
 */
#include "base/log.h"
#include "mds/mds_data.h"

#define FENCE_AGAIN_NS (1 * NS_PER_S)
#define FENCE_ANSWER_NS (30 * NS_PER_S)

static bool holds(const struct mds_file *file, const struct mds_session *session, uint64_t handle)
{
	return file->token != 0 && file->token_session == session && file->token_handle == handle;
}

static void token_free(struct mds_data *data, struct mds_file *file)
{
	ASSERT(file->token != 0);
	file->token = 0;
	file->token_session = NULL;
	mds_file_token_wake(data, file);
}

/* ---- the exact size ---- */

struct exact {
	struct fid fid;
	uint64_t size;
	bool ask;
	bool busy; /* its data is being changed in several steps */
	struct mds_objects objects;
	struct mds_sizes sizes;
};

static int exact_read(struct mds_op *op, void *arg)
{
	struct exact *e = arg;
	const struct mds_file *file = mds_file_find(op->mds->data, e->fid);
	struct mds_inode *inode = NULL;
	int r = mds_inode_get(op, e->fid, &inode);

	e->busy = file != NULL && !mds_file_free(file);
	if (r < 0) {
		return r;
	}
	if (!mds_instantiated(inode)) {
		return -NE_LAYOUT_CHANGED;
	}
	e->size = inode->d.size;
	e->ask = mds_size_is_open(inode);
	r = mds_layout_load(op, inode);
	if (r == 0 && op->layout.osts.count == 0) {
		return -NE_CORRUPT;
	}
	if (r == 0) {
		mds_objects_fill(op, inode, &e->objects);
	}
	return r;
}

/* The first OST that is known not to answer. */
static struct mds_ost *late_of(struct mds_data *data, const struct mds_objects *o)
{
	for (uint32_t i = 0; i < o->geom.stripe_count; i++) {
		struct mds_ost *ost = mds_ost_find(data, o->osts[i]);

		if (mds_ost_is_late(ost)) {
			return ost;
		}
	}
	return NULL;
}

/* Asks all objects, or has the request wait for one that does not answer. */
static int exact_ask(struct mds_op *op, struct exact *e, struct mds_ost **ret_late)
{
	struct mds_data *data = op->mds->data;
	bool was_long;
	uint64_t deadline;
	int r;

	*ret_late = mds_parkable(op) ? late_of(data, &e->objects) : NULL;
	if (*ret_late != NULL) {
		return -NE_TIMEDOUT;
	}
	deadline = mds_wait_begin(op, &was_long);
	r = mds_ost_sizes(data, &e->objects, deadline, &e->sizes);
	mds_wait_end(op, was_long);
	if (r == 0) {
		e->size = e->sizes.size;
		mds_ost_served(mds_ost_find(data, e->objects.osts[0]));
	} else if (r == -NE_TIMEDOUT && e->sizes.late != NULL) {
		*ret_late = e->sizes.late;
		mds_ost_late(data, *ret_late);
	}
	return r;
}

/* Nobody who was given a range before a restart may still write it. */
static int exact_fence(struct mds_op *op, struct exact *e, struct mds_ost **ret_late)
{
	struct mds_data *data = op->mds->data;
	bool was_long;
	uint64_t deadline;
	int r;

	if (data->absent_count == 0) {
		return 0;
	}
	deadline = mds_wait_begin(op, &was_long);
	r = mds_absent_fence(data, &e->objects, deadline, ret_late);
	mds_wait_end(op, was_long);
	if (r == -NE_TIMEDOUT) {
		mds_ost_late(data, *ret_late);
	}
	return r;
}

/* *ret_lot: where to wait, when the answer is -NE_TIMEDOUT. */
static int exact_size(struct mds_op *op, struct mds_file *file, struct rpc_parking **ret_lot)
{
	struct mds_ost *late = NULL;
	struct exact *e = mem_zalloc(sizeof(*e));
	int r;

	if (e == NULL) {
		return -NE_NOMEM;
	}
	e->fid = file->fid;
	*ret_lot = NULL;
	r = mds_data_run(op->mds, STATE_READ, exact_read, NULL, e, NULL);
	if (r == 0 && e->busy) {
		*ret_lot = &file->parked;
		r = -NE_TIMEDOUT;
	} else if (r == 0) {
		r = exact_fence(op, e, &late);
		if (r == 0 && e->ask) {
			r = exact_ask(op, e, &late);
		}
		*ret_lot = late == NULL ? NULL : &late->parked;
	}
	op->work->size = e->size;
	mem_free(e);
	return r;
}

/* ---- begin and end ---- */

/* With the token. */
static int begin_exact(struct mds_op *op, struct mds_file *file, struct rpc_parking **ret_lot)
{
	const struct w_mds_append_begin_req *req = op->req;
	int r = exact_size(op, file, ret_lot);
	uint64_t size = op->work->size;

	if (r == 0 && (size > LIM_FILE_SIZE_MAX || req->length > LIM_FILE_SIZE_MAX - size)) {
		r = -NE_FBIG;
	}
	/* The handle may have been closed meanwhile. */
	if (r == 0 && !holds(file, op->session, req->handle)) {
		r = -NE_BADF;
	}
	op->work->token = file->token;
	return r;
}

static int park_or_retry(struct mds_op *op, struct rpc_parking *lot)
{
	return mds_parkable(op) ? mds_park(op, lot) : -NE_RETRY;
}

/* The file is settled; the caller holds a reference. */
static int begin_locked(struct mds_op *op, struct mds_file *file)
{
	const struct w_mds_append_begin_req *req = op->req;
	struct mds_data *data = op->mds->data;
	struct rpc_parking *lot = NULL;
	int r;

	if (file->token != 0 && !holds(file, op->session, req->handle)) {
		return park_or_retry(op, &file->token_parked);
	}
	ASSERT(op->work == NULL);
	op->work = mem_zalloc(sizeof(*op->work));
	if (op->work == NULL) {
		return -NE_NOMEM;
	}
	if (file->token == 0) {
		file->token = ++data->token_last;
		file->token_session = op->session;
		file->token_handle = req->handle;
	}
	r = begin_exact(op, file, &lot);
	if (r < 0 && holds(file, op->session, req->handle)) {
		token_free(data, file);
	}
	return r == -NE_TIMEDOUT && lot != NULL ? park_or_retry(op, lot) : r;
}

int mds_append_begin_prepare(struct mds_op *op)
{
	const struct w_mds_append_begin_req *req = op->req;
	struct mds_data *data = op->mds->data;
	struct mds_open *open = NULL;
	struct mds_file *file;
	int r = mds_open_need(op, req->fid, req->handle, W_OPEN_FLAGS_WRITE, &open);

	if (r < 0) {
		return r;
	}
	if (data->window) {
		return park_or_retry(op, &data->window_parked);
	}
	file = open->file;
	file->refs++;
	r = mds_file_wait(op, file, mds_file_free);
	if (r == 0) {
		r = mds_open_need(op, req->fid, req->handle, W_OPEN_FLAGS_WRITE, &open);
	}
	if (r == 0) {
		r = begin_locked(op, file);
	}
	mds_file_unref(data, file);
	return r;
}

int mds_append_begin_execute(struct mds_op *op)
{
	ASSERT(op->txn != NULL && op->work != NULL);
	return 0;
}

int mds_append_begin_reply(struct mds_op *op)
{
	op->rep.append_begin.offset = op->work->size;
	op->rep.append_begin.token = op->work->token;
	return 0;
}

int mds_append_end_execute(struct mds_op *op)
{
	const struct w_mds_append_end_req *req = op->req;
	struct mds_data *data = op->mds->data;
	struct mds_file *file = mds_file_find(data, req->fid);

	/* Twice is as good as once. */
	if (file != NULL && file->token == req->token && holds(file, op->session, req->handle)) {
		token_free(data, file);
	}
	return 0;
}

/* ---- holders that are gone ---- */

struct fence {
	struct mds_file *file; /* holds a reference */
	struct mds_absent who;
	struct exact e;
};

static bool listed_before(const struct mds_objects *o, uint32_t i)
{
	for (uint32_t k = 0; k < i; k++) {
		if (o->osts[k] == o->osts[i]) {
			return true;
		}
	}
	return false;
}

static int fence_all(struct mds_data *data, struct fence *f)
{
	int r;

	f->e.fid = f->file->fid;
	r = mds_data_run(data->mds, STATE_READ, exact_read, NULL, &f->e, NULL);
	/* Gone, or empty with new objects: nothing can be written to it any more. */
	if (r == -NE_STALE || r == -NE_LAYOUT_CHANGED) {
		return 0;
	}
	for (uint32_t i = 0; r == 0 && i < f->e.objects.geom.stripe_count; i++) {
		if (!listed_before(&f->e.objects, i)) {
			r = mds_absent_fence_one(mds_ost_find(data, f->e.objects.osts[i]), &f->who,
				env_now(data->mds->env) + FENCE_ANSWER_NS);
		}
	}
	return r;
}

static void fence_fiber(struct mds_data *data, void *arg)
{
	struct fence *f = arg;

	while (!data->stopping && fence_all(data, f) < 0) {
		mds_data_pause(data, &data->stop_wake, env_now(data->mds->env) + FENCE_AGAIN_NS);
	}
	token_free(data, f->file);
	mds_file_unref(data, f->file);
	mem_free(f);
}

void mds_append_open_gone(struct mds_data *data, struct mds_open *open, bool fence)
{
	struct mds_file *file = open->file;
	struct fence *f;

	if (!holds(file, open->session, open->handle)) {
		return;
	}
	if (!fence) {
		token_free(data, file);
		return;
	}
	file->token_session = NULL;
	f = mem_zalloc(sizeof(*f));
	if (f != NULL) {
		f->file = file;
		f->who.client = open->session->client;
		f->who.incarnation = open->session->incarnation;
		f->who.key_id = open->session->key_id;
	}
	file->refs++;
	if (f == NULL || mds_data_spawn(data, "mds-fence", fence_fiber, f) < 0) {
		/* Nobody appends to it until the last close: better than twice to one place. */
		mem_free(f);
		mds_file_unref(data, file);
		log_error(MDS_LOG, "no memory to fence the holder of an append token");
	}
}
