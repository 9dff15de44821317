/*
 * Closes: of one handle by its client, of all of a session that goes.
 *
 * The last writer's report of the size is believed if nobody else could have changed it since the size was closed
 * last; otherwise, and when the writer tells nothing, the OSTs are asked in the background, and until they have
 * answered the file says SIZE_OPEN.
 */
#include "base/log.h"
#include "mds/mds_data.h"

/* Another writing handle of the same session stays. */
static bool session_writes_on(const struct mds_open *open)
{
	LIST_FOREACH (it, &open->file->opens) {
		const struct mds_open *o = list_entry(it, struct mds_open, file_link);

		if (o != open && o->session == open->session && o->writes) {
			return true;
		}
	}
	return false;
}

/* op->res.flag: the size is to be asked for. */
static int close_writer(struct mds_op *op, struct mds_open *open, struct mds_inode *inode,
	const struct w_size_report *report)
{
	const struct mds_file *file = open->file;
	bool last = file->writers == 1;
	int r;

	ASSERT(open->writes && file->writers > 0);
	if (!mds_size_is_open(inode)) {
		return 0;
	}
	if (last && report != NULL && report->valid && !file->shared) {
		r = mds_size_report_apply(op, inode, report);
		return r < 0 ? r : mds_size_closed(op, inode);
	}
	op->res.flag = last;
	return session_writes_on(open) ? 0
				       : mds_size_session_gone(op, inode->fid, open->session->id);
}

static int close_do(struct mds_op *op, struct mds_open *open, const struct w_size_report *report)
{
	struct mds_data *data = op->mds->data;
	struct mds_file *file = open->file;
	struct mds_inode *inode = NULL;
	int r;

	/* Whoever changes its data in several steps counts on the open. */
	if (file->owner != NULL && file->owner != op->work) {
		return mds_work_want(op, MDS_WORK_WAIT_OWNER, file->fid);
	}
	op->data.closing = open;
	r = mds_inode_get(op, file->fid, &inode);
	if (r < 0) {
		/* A directory may be gone. */
		return r == -NE_STALE ? 0 : r;
	}
	op->data.inode = inode;
	if (inode->d.nlink == 0 && !mds_file_others(data, file->fid, open)) {
		return mds_orphan_destroy(op, inode);
	}
	return open->writes ? close_writer(op, open, inode, report) : 0;
}

static void close_atime(struct mds_op *op, int64_t atime)
{
	struct mds_inode *inode = op->data.inode;

	if (atime == 0 || inode == NULL || inode->deleted || !mds_atime_due(op, inode)) {
		return;
	}
	if (atime > inode->d.atime) {
		inode->d.atime = i64_min(atime, op->now_ns);
		mds_inode_touched(inode);
	}
}

int mds_close_execute(struct mds_op *op)
{
	const struct w_mds_close_req *req = op->req;
	struct mds_open *open = NULL;
	int r = mds_open_need(op, mds_fid_translate(op, req->fid), req->handle, 0, &open);

	if (r == 0) {
		r = close_do(op, open, &req->report);
	}
	if (r == 0) {
		close_atime(op, req->atime);
	}
	return r;
}

int mds_close_reply(struct mds_op *op)
{
	op->rep.close.need_size = op->res.flag;
	return 0;
}

static void close_committed(struct mds_op *op, bool fence)
{
	struct mds_data *data = op->mds->data;
	struct mds_open *open = op->data.closing;
	struct mds_file *file = open->file;

	file->refs++;
	mds_append_open_gone(data, open, fence);
	mds_open_drop(data, open);
	if (op->res.flag) {
		ASSERT(file->writers == 0);
		mds_size_queue(data, file);
	}
	mds_file_unref(data, file);
}

void mds_close_committed(struct mds_op *op, int status)
{
	if (status == 0 && op->data.closing != NULL) {
		close_committed(op, false);
	}
	mds_data_committed(op, status);
}

/* ---- of a session ---- */

static int session_one(struct mds_op *op, void *ctx)
{
	return close_do(op, ctx, NULL);
}

static void session_one_committed(struct mds_op *op, int status)
{
	if (status == 0 && op->data.closing != NULL) {
		close_committed(op, true);
	}
}

void mds_data_session_close(struct mds *mds, struct mds_session *session)
{
	struct mds_data *data = mds->data;

	ASSERT(session->closing && data != NULL);
	while (!list_empty(&session->opens)) {
		struct mds_open *open = list_entry(session->opens.next, struct mds_open, link);
		int r = mds_data_run(
			mds, STATE_RELEASE, session_one, session_one_committed, open, NULL);

		if (r < 0) {
			/* What it left in the state is found again at the next start. */
			log_error(MDS_LOG, "open not closed session=%llu error=%s",
				(unsigned long long)session->id, ne_name(r));
			mds_append_open_gone(data, open, true);
			mds_open_drop(data, open);
		}
	}
	mds_window_session_closed(data, session);
}
