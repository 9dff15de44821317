/*
 * Sizes that are open: while somebody writes a file's objects, only the OSTs know its size (RULES C8).
 *
 * From the first writer on the inode says SIZE_OPEN and a record lists the writers' sessions, so that a restart
 * knows what it does not know. The size comes back with the report of a writer who was alone, or by asking all
 * objects; the answer counts only if no writer and no truncate came meanwhile (file->epoch).
 */
#include "base/log.h"
#include "mds/mds_data.h"

#define ASK_NS (30 * NS_PER_S)
#define ASK_AGAIN_NS (2 * NS_PER_S)
#define SESSIONS_MAX 64

/* ---- the record ---- */

struct writers {
	uint64_t ids[SESSIONS_MAX];
	uint32_t count;
	bool found; /* the session asked for */
};

static int writers_load(struct mds_op *op, struct fid fid, uint64_t session, struct writers *w)
{
	struct mds_key key = mds_key_size_open(fid);
	struct d_mds_size_open d;
	int r = mds_kv_get_record(op, &key, &d_mds_size_open_codec, &d);

	memset(w, 0, sizeof(*w));
	if (r < 0) {
		return r == -NE_NOENT ? 0 : r;
	}
	for (uint32_t i = 0; i < d.sessions.view.count; i++) {
		uint64_t id = wire_u64_at(&d.sessions.view, i);

		if (id == session) {
			w->found = true;
		} else if (w->count < SESSIONS_MAX) {
			w->ids[w->count++] = id;
		}
	}
	return 0;
}

static int writers_store(struct mds_op *op, struct fid fid, const struct writers *w)
{
	struct mds_key key = mds_key_size_open(fid);
	struct d_mds_size_open d = {0};

	d.sessions.items = w->ids;
	d.sessions.count = w->count;
	return mds_kv_put_record(op, &key, &d_mds_size_open_codec, &d);
}

int mds_size_open(struct mds_op *op, struct mds_inode *inode, uint64_t session)
{
	struct writers w;
	int r = writers_load(op, inode->fid, session, &w);

	ASSERT(mds_instantiated(inode));
	if (r < 0) {
		return r;
	}
	if (mds_size_is_open(inode)) {
		op->data.shared = true;
		if (w.found) {
			return 0;
		}
	}
	/* A longer list helps nobody: at a restart any record means that the size is unknown. */
	if (w.count < SESSIONS_MAX) {
		w.ids[w.count++] = session;
	}
	inode->d.state |= W_ATTR_STATE_SIZE_OPEN;
	mds_inode_touched(inode);
	return writers_store(op, inode->fid, &w);
}

int mds_size_closed(struct mds_op *op, struct mds_inode *inode)
{
	struct mds_key key = mds_key_size_open(inode->fid);

	inode->d.state &= ~W_ATTR_STATE_SIZE_OPEN;
	mds_inode_touched(inode);
	return mds_kv_del(op, &key);
}

int mds_size_session_gone(struct mds_op *op, struct fid fid, uint64_t session)
{
	struct writers w;
	int r = writers_load(op, fid, session, &w);

	return r < 0 || !w.found ? r : writers_store(op, fid, &w);
}

/* ---- what is known, into the inode ---- */

void mds_size_set(
	struct mds_op *op, struct mds_inode *inode, uint64_t size, uint64_t blocks, int64_t mtime)
{
	struct d_mds_inode *d = &inode->d;
	bool later = mtime > d->mtime_floor && mtime != d->mtime;

	ASSERT(size <= LIM_FILE_SIZE_MAX);
	if (d->size == size && d->blocks == blocks && !later) {
		return;
	}
	d->size = size;
	d->blocks = blocks;
	if (later) {
		d->mtime = i64_min(mtime, op->now_ns);
		d->ctime = i64_max(d->ctime, d->mtime);
	}
	d->data_version++;
	inode->dirty = true;
	inode->counted = true;
}

int mds_size_present_add(struct mds_op *op, struct mds_inode *inode, struct span bits)
{
	uint8_t sum[LIM_STRIPE_COUNT_MAX / 8] = {0};
	struct w_layout *l = &op->layout;
	uint32_t have = l->stripes_present.len;
	uint32_t bytes = (l->osts.count + 7u) / 8u;
	const uint8_t *add = bits.ptr;
	bool more = false;
	int r;

	if (have > sizeof(sum) || bytes > sizeof(sum)) {
		return -NE_CORRUPT;
	}
	bytes_copy(sum, l->stripes_present.ptr, have);
	for (uint32_t i = 0; i < l->osts.count && i / 8 < bits.len; i++) {
		uint8_t bit = (uint8_t)(1u << (i % 8));

		if ((add[i / 8] & bit) != 0 && (sum[i / 8] & bit) == 0) {
			sum[i / 8] = (uint8_t)(sum[i / 8] | bit);
			more = true;
		}
	}
	if (!more) {
		return 0;
	}
	l->stripes_present = wire_bytes_of(sum, bytes);
	r = mds_layout_store(op, inode, l->osts.count);
	l->stripes_present = (struct wire_bytes){0};
	return r;
}

int mds_size_report_apply(
	struct mds_op *op, struct mds_inode *inode, const struct w_size_report *report)
{
	int r;

	ASSERT(report->valid && mds_instantiated(inode));
	if (report->size > LIM_FILE_SIZE_MAX) {
		return -NE_INVAL;
	}
	r = mds_layout_load(op, inode);
	if (r == 0) {
		r = mds_size_present_add(op, inode, wire_bytes_span(report->stripes_present));
	}
	if (r == 0) {
		mds_size_set(op, inode, report->size, report->blocks, report->mtime);
	}
	return r;
}

/* ---- mds_size: a writer's fsync ---- */

static int size_apply(
	struct mds_op *op, const struct mds_open *open, const struct w_size_report *report)
{
	struct mds_inode *inode = op->res.inode;
	int r;

	if (!report->valid || !open->writes || !mds_instantiated(inode)) {
		return 0;
	}
	if (open->file->writers == 1 && !open->file->shared) {
		return mds_size_report_apply(op, inode, report);
	}
	/* Others write too: its objects exist, its size says nothing. */
	r = mds_layout_load(op, inode);
	return r < 0 ? r
		     : mds_size_present_add(op, inode, wire_bytes_span(report->stripes_present));
}

int mds_size_execute(struct mds_op *op)
{
	const struct w_mds_size_req *req = op->req;
	struct mds_open *open = NULL;
	int r = mds_open_need(op, req->fid, req->handle, 0, &open);

	if (r == 0) {
		r = mds_inode_get(op, req->fid, &op->res.inode);
	}
	return r < 0 ? r : size_apply(op, open, &req->report);
}

int mds_size_reply(struct mds_op *op)
{
	mds_attr_fill(op->res.inode, &op->rep.size.attr);
	return 0;
}

int mds_size_after(struct mds_op *op)
{
	/* The name and the layout are somebody's earlier changes: they count as well. */
	state_wait_durable(op->mds->st, state_last_lsn(op->mds->st));
	return 0;
}

/* ---- asking the OSTs ---- */

struct asking {
	struct mds_file *file;
	uint64_t epoch;
	bool wanted; /* the size is open, the file is there */
	bool again; /* something came in between */
	struct mds_objects objects;
	struct mds_sizes sizes;
};

static int asking_read(struct mds_op *op, void *arg)
{
	struct asking *a = arg;
	struct mds_inode *inode = NULL;
	int r = mds_inode_get(op, a->file->fid, &inode);

	a->wanted = false;
	if (r < 0) {
		return r == -NE_STALE ? 0 : r;
	}
	if (!mds_size_is_open(inode)) {
		return 0;
	}
	r = mds_layout_load(op, inode);
	if (r < 0) {
		return r;
	}
	if (op->layout.osts.count == 0) {
		return -NE_CORRUPT;
	}
	a->wanted = true;
	a->epoch = a->file->epoch;
	mds_objects_fill(op, inode, &a->objects);
	return 0;
}

static int asking_apply(struct mds_op *op, void *arg)
{
	struct asking *a = arg;
	struct mds_file *file = a->file;
	struct mds_inode *inode = NULL;
	int r = mds_inode_get(op, file->fid, &inode);

	a->again = false;
	if (r < 0) {
		return r == -NE_STALE ? 0 : r;
	}
	if (!mds_size_is_open(inode) || file->writers > 0) {
		return 0;
	}
	if (file->epoch != a->epoch || file->owner != NULL || file->intents_left > 0) {
		a->again = true;
		return 0;
	}
	r = mds_layout_load(op, inode);
	if (r == 0) {
		r = mds_size_present_add(
			op, inode, span_of(a->sizes.present, sizeof(a->sizes.present)));
	}
	if (r == 0) {
		mds_size_set(op, inode, a->sizes.size, a->sizes.blocks, a->sizes.mtime);
		r = mds_size_closed(op, inode);
	}
	return r;
}

/* 0: done, or a writer came. -NE_AGAIN: not now. */
static int ask(struct mds_data *data, struct asking *a)
{
	struct mds_file *file = a->file;
	uint64_t deadline = env_now(data->mds->env) + ASK_NS;
	int r;

	if (file->writers > 0) {
		return 0;
	}
	if (file->owner != NULL || file->intents_left > 0) {
		return -NE_AGAIN;
	}
	r = mds_data_run(data->mds, STATE_READ, asking_read, NULL, a, NULL);
	if (r < 0 || !a->wanted) {
		return r;
	}
	r = mds_ost_sizes(data, &a->objects, deadline, &a->sizes);
	if (r < 0) {
		return r;
	}
	r = mds_data_run(data->mds, STATE_RELEASE, asking_apply, NULL, a, NULL);
	return r == 0 && a->again ? -NE_AGAIN : r;
}

static void sizer_fiber(struct mds_data *data, void *arg)
{
	struct asking *a = arg;
	struct list *link;

	while (!data->stopping && (link = list_pop_front(&data->sizes)) != NULL) {
		int r;

		a->file = list_entry(link, struct mds_file, size_link);
		r = ask(data, a);
		if (r < 0 && r != -NE_CORRUPT && !data->stopping) {
			/* An OST is down, or a truncate is on its way: others first. */
			list_push_back(&data->sizes, &a->file->size_link);
			/* Another fiber may finish it meanwhile. */
			a->file->refs++;
			mds_data_pause(
				data, &a->file->wake, env_now(data->mds->env) + ASK_AGAIN_NS);
			mds_file_unref(data, a->file);
			continue;
		}
		if (r == -NE_CORRUPT) {
			log_error(MDS_LOG, "size of [%#llx:%#x] not found error=%s",
				(unsigned long long)a->file->fid.seq, a->file->fid.oid, ne_name(r));
		}
		a->file->sizing = false;
		mds_file_unref(data, a->file);
		env_wake_all(data->mds->env, &data->sizes_wake);
	}
	data->sizers--;
	mem_free(a);
}

static void sizer_spawn(struct mds_data *data)
{
	struct asking *a;

	if (data->sizers >= MDS_SIZERS_MAX || data->stopping) {
		return;
	}
	a = mem_zalloc(sizeof(*a));
	if (a == NULL || mds_data_spawn(data, "mds-sizer", sizer_fiber, a) < 0) {
		/* Another one is running, or the next one that is queued tries again. */
		mem_free(a);
		return;
	}
	data->sizers++;
}

void mds_size_queue(struct mds_data *data, struct mds_file *file)
{
	if (!file->sizing) {
		file->sizing = true;
		file->refs++;
		list_push_back(&data->sizes, &file->size_link);
	}
	sizer_spawn(data);
}
