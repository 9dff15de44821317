/*
 * Opens: who may, what is remembered of it, re-claims after a restart.
 *
 * Handles are numbers that clients choose, per session and file. They live in memory: a client that finds the MDT
 * restarted re-claims them. Only what must outlive everybody is logged with an open: that a file's size is open
 * for a writer, and (when the last name goes) who has an orphan open.
 */
#include "mds/mds_data.h"

static uint64_t open_hash(const struct mds_session *session, struct fid fid, uint64_t handle)
{
	return hash_mix2(hash_mix2(session->id, handle), fid_hash(fid));
}

struct mds_open *mds_open_find(
	struct mds_data *data, const struct mds_session *session, struct fid fid, uint64_t handle)
{
	for (struct hmap_node *it = hmap_find(&data->opens, open_hash(session, fid, handle));
		it != NULL; it = hmap_find_next(it)) {
		struct mds_open *open = container_of(it, struct mds_open, node);

		if (open->session == session && open->handle == handle &&
			fid_eq(open->file->fid, fid)) {
			return open;
		}
	}
	return NULL;
}

int mds_open_need(struct mds_op *op, struct fid fid, uint64_t handle, uint32_t flag,
	struct mds_open **ret_open)
{
	struct mds_open *open = mds_open_find(op->mds->data, op->session, fid, handle);

	if (open == NULL || (flag != 0 && (open->flags & flag) == 0)) {
		return -NE_BADF;
	}
	*ret_open = open;
	return 0;
}

bool mds_file_others(struct mds_data *data, struct fid fid, const struct mds_open *except)
{
	const struct mds_file *file = mds_file_find(data, fid);

	ASSERT(except == NULL || (file != NULL && except->file == file));
	if (data->window) {
		return true;
	}
	return file != NULL && file->open_count > (except != NULL ? 1u : 0u);
}

/* The tables of a session that has any open. */
static struct mds_data *session_data(const struct mds_session *session)
{
	if (session == NULL || list_empty(&session->opens)) {
		return NULL;
	}
	return list_entry(session->opens.next, struct mds_open, link)->data;
}

bool mds_data_open_writes(const struct mds_session *session, struct fid fid, uint64_t handle)
{
	struct mds_data *data = session_data(session);
	const struct mds_open *open =
		data == NULL ? NULL : mds_open_find(data, session, fid, handle);

	return open != NULL && (open->flags & W_OPEN_FLAGS_WRITE) != 0;
}

bool mds_data_is_open(const struct mds_session *session, struct fid fid)
{
	struct mds_data *data = session_data(session);
	struct mds_file *file = data == NULL ? NULL : mds_file_find(data, fid);

	if (file == NULL) {
		return false;
	}
	LIST_FOREACH (it, &file->opens) {
		if (list_entry(it, struct mds_open, file_link)->session == session) {
			return true;
		}
	}
	return false;
}

/* ---- tables ---- */

void mds_open_committed(struct mds_op *op)
{
	struct mds_data *data = op->mds->data;
	struct list *link = list_pop_front(&data->opens_spare);
	struct mds_open *open = link == NULL ? NULL : list_entry(link, struct mds_open, link);
	struct fid fid = op->data.inode->fid;

	ASSERT(open != NULL && op->session != NULL);
	memset(open, 0, sizeof(*open));
	open->data = data;
	open->session = op->session;
	open->handle = op->data.handle;
	open->flags = op->data.flags;
	open->file = mds_file_ref(data, fid);
	open->writes = op->data.writes;
	list_push_back(&op->session->opens, &open->link);
	list_push_back(&open->file->opens, &open->file_link);
	hmap_insert(&data->opens, &open->node, open_hash(op->session, fid, open->handle));
	op->session->open_count++;
	open->file->open_count++;
	if (open->writes) {
		open->file->writers++;
		open->file->epoch++;
		open->file->shared = op->data.shared;
	}
}

void mds_open_drop(struct mds_data *data, struct mds_open *open)
{
	struct mds_file *file = open->file;

	ASSERT(file->open_count > 0 && open->session->open_count > 0);
	hmap_remove(&data->opens, &open->node);
	list_del(&open->link);
	list_del(&open->file_link);
	open->session->open_count--;
	file->open_count--;
	if (open->writes) {
		ASSERT(file->writers > 0);
		file->writers--;
	}
	mem_free(open);
	mds_file_unref(data, file);
}

int mds_open_writers_log(struct mds_op *op, struct mds_inode *inode)
{
	struct mds_file *file = mds_file_find(op->mds->data, inode->fid);
	int r = 0;

	ASSERT(mds_instantiated(inode));
	if (file == NULL) {
		return 0;
	}
	LIST_FOREACH (it, &file->opens) {
		const struct mds_open *open = list_entry(it, struct mds_open, file_link);

		if (r == 0 && (open->flags & W_OPEN_FLAGS_WRITE) != 0) {
			r = mds_size_open(op, inode, open->session->id);
		}
	}
	op->data.inode = inode;
	op->data.instantiated = true;
	return r;
}

void mds_open_writers_committed(struct mds_data *data, struct fid fid)
{
	struct mds_file *file = mds_file_find(data, fid);

	if (file == NULL) {
		return;
	}
	LIST_FOREACH (it, &file->opens) {
		struct mds_open *open = list_entry(it, struct mds_open, file_link);

		if ((open->flags & W_OPEN_FLAGS_WRITE) != 0 && !open->writes) {
			open->writes = true;
			file->writers++;
		}
	}
	file->epoch++;
	file->shared = file->writers > 1;
}

/* ---- opening ---- */

/* Whatever the mode and whoever asks: read-only sessions, directories, chattr's flags. */
static int open_flags_permitted(struct mds_op *op, const struct mds_inode *inode, uint32_t flags)
{
	int r;

	if ((flags & (W_OPEN_FLAGS_WRITE | W_OPEN_FLAGS_TRUNC)) == 0) {
		return 0;
	}
	r = mds_is_dir(inode) ? -NE_ISDIR : mds_perm_change(op);
	if (r < 0) {
		return r;
	}
	if (mds_has(inode, W_ATTR_STATE_IMMUTABLE)) {
		return -NE_PERM;
	}
	if (mds_has(inode, W_ATTR_STATE_APPEND_ONLY) &&
		((flags & W_OPEN_FLAGS_APPEND) == 0 || (flags & W_OPEN_FLAGS_TRUNC) != 0)) {
		return -NE_PERM;
	}
	return 0;
}

static int open_permitted(struct mds_op *op, const struct mds_inode *inode, uint32_t flags)
{
	unsigned may = 0;
	int r = open_flags_permitted(op, inode, flags);

	if (r < 0) {
		return r;
	}
	if ((flags & (W_OPEN_FLAGS_WRITE | W_OPEN_FLAGS_TRUNC)) != 0) {
		may |= MDS_MAY_WRITE;
	}
	/* Who may execute may read for it, as in the kernel. */
	if ((flags & W_OPEN_FLAGS_EXEC) != 0) {
		may |= MDS_MAY_EXEC;
	} else if ((flags & W_OPEN_FLAGS_READ) != 0) {
		may |= MDS_MAY_READ;
	}
	return may == 0 || inode->fresh ? 0 : mds_perm_check(op, inode, may);
}

static int open_check(
	struct mds_op *op, const struct mds_inode *inode, uint32_t flags, uint64_t handle)
{
	if ((flags & ~W_OPEN_FLAGS_ALL) != 0 || handle == 0) {
		return -NE_INVAL;
	}
	if (!S_ISREG(inode->d.mode) && !mds_is_dir(inode)) {
		return S_ISLNK(inode->d.mode) ? -NE_LOOP : -NE_NXIO;
	}
	if (mds_open_find(op->mds->data, op->session, inode->fid, handle) != NULL) {
		return -NE_EXIST;
	}
	return op->session->open_count >= MDS_OPENS_MAX ? -NE_MFILE : 0;
}

/* Notes the open for `committed`, and the writer in the state. */
static int open_note(struct mds_op *op, struct mds_inode *inode, uint32_t flags, uint64_t handle)
{
	int r = mds_files_reserve(op->mds->data);

	if (r < 0) {
		return r;
	}
	op->data.inode = inode;
	op->data.handle = handle;
	op->data.flags = flags;
	op->data.open = true;
	if (!S_ISREG(inode->d.mode) || !mds_instantiated(inode) ||
		(flags & W_OPEN_FLAGS_WRITE) == 0) {
		return 0;
	}
	op->data.writes = true;
	/* Writes go past this server. A user's session is not believed to tell of those that take set-id bits away. */
	if (op->session->role == W_PEER_ROLE_USER && op->cred.uid != inode->d.uid &&
		mds_mode_kill_setid(inode->d.mode) != inode->d.mode) {
		inode->d.mode = mds_mode_kill_setid(inode->d.mode);
		mds_inode_changed(op, inode);
	}
	r = mds_layout_durable(op, inode);
	return r < 0 ? r : mds_size_open(op, inode, op->session->id);
}

int mds_open_execute(struct mds_op *op, struct mds_inode *inode, uint32_t flags, uint64_t handle)
{
	int r = open_check(op, inode, flags, handle);

	if (r == 0) {
		r = open_permitted(op, inode, flags);
	}
	if (r == 0 && (flags & W_OPEN_FLAGS_TRUNC) != 0 && !inode->fresh) {
		r = mds_truncate_open(op, inode);
	}
	return r < 0 ? r : open_note(op, inode, flags & ~W_OPEN_FLAGS_TRUNC, handle);
}

int mds_open_request_execute(struct mds_op *op)
{
	const struct w_mds_open_req *req = op->req;
	struct mds_inode *inode = NULL;
	int r = mds_reach(op, req->fid, &inode);

	if (r < 0) {
		return r;
	}
	/* What has no name is opened again only by who has it open. */
	if (inode->d.nlink == 0 && !mds_data_is_open(op->session, inode->fid)) {
		return -NE_STALE;
	}
	op->res.inode = inode;
	return mds_open_execute(op, inode, req->open, req->handle);
}

int mds_open_request_reply(struct mds_op *op)
{
	const struct w_mds_open_req *req = op->req;

	return mds_rep_inode_info(op, req->want, &op->rep.open.info);
}

/* ---- re-claims ---- */

/*
 * Does the state know the session as one that wrote it before this server started? Only a session of before that has not
 * come back yet is believed so: the record goes on naming writers that have closed while others write.
 */
static int writer_before(struct mds_op *op, struct fid fid, bool *ret_known)
{
	struct mds_key key = mds_key_size_open(fid);
	struct d_mds_size_open d;
	int r;

	*ret_known = false;
	if (!op->session->recovering) {
		return 0;
	}
	r = mds_kv_get_record(op, &key, &d_mds_size_open_codec, &d);
	if (r == -NE_NOENT) {
		return 0;
	}
	for (uint32_t i = 0; r == 0 && i < d.sessions.view.count; i++) {
		*ret_known |= wire_u64_at(&d.sessions.view, i) == op->session->id;
	}
	return r;
}

/*
 * Nothing in a re-claim proves that there was an open, so it is checked as one. Two things are believed: that a writer
 * the state knows may write, and that an owner had the file open whatever its mode, which he could change, says now (it
 * may forbid what its maker does).
 */
static int reclaim_permitted(struct mds_op *op, const struct mds_inode *inode, uint32_t flags)
{
	bool known = false;
	int r;

	if ((flags & W_OPEN_FLAGS_WRITE) != 0 && !mds_is_dir(inode)) {
		r = mds_perm_change(op);
		if (r == 0) {
			r = writer_before(op, inode->fid, &known);
		}
		if (r < 0) {
			return r;
		}
		known &= !mds_has(inode, W_ATTR_STATE_APPEND_ONLY) ||
			(flags & W_OPEN_FLAGS_APPEND) != 0;
	}
	/* To write does not mean to read. */
	flags &= known ? ~(uint32_t)W_OPEN_FLAGS_WRITE : ~0u;
	r = open_flags_permitted(op, inode, flags);
	if (r < 0 || op->cred.uid == inode->d.uid) {
		return r;
	}
	return open_permitted(op, inode, flags);
}

static int reclaim_inode(struct mds_op *op, struct fid fid)
{
	struct mds_inode *inode = NULL;
	bool allows = false;
	int r = mds_inode_get(op, mds_fid_translate(op, fid), &inode);

	if (r < 0) {
		return r;
	}
	op->res.inode = inode;
	if (inode->d.nlink != 0) {
		return mds_reach(op, fid, &op->res.inode);
	}
	r = mds_orphan_allows(op, inode, &allows);
	return r < 0 ? r : (allows ? 0 : -NE_STALE);
}

int mds_reclaim_execute(struct mds_op *op)
{
	const struct w_mds_reclaim_open_req *req = op->req;
	uint32_t flags = req->open & ~W_OPEN_FLAGS_TRUNC;
	int r = reclaim_inode(op, req->fid);

	if (r < 0) {
		return r;
	}
	if (mds_open_find(op->mds->data, op->session, op->res.inode->fid, req->handle) != NULL) {
		return 0;
	}
	r = open_check(op, op->res.inode, flags, req->handle);
	if (r == 0) {
		r = reclaim_permitted(op, op->res.inode, flags);
	}
	if (r == 0) {
		r = open_note(op, op->res.inode, flags, req->handle);
	}
	/* What it knows of the size may be older than others' changes before it came back. */
	op->data.shared = true;
	return r;
}

int mds_reclaim_reply(struct mds_op *op)
{
	mds_attr_fill(op->res.inode, &op->rep.reclaim_open.attr);
	return 0;
}

void mds_reclaim_committed(struct mds_op *op, int status)
{
	const struct w_mds_reclaim_open_req *req = op->req;

	op->session->recover_seen_ns = env_now(op->mds->env);
	/* With its groups it comes again. */
	if (req->last && status != -NE_NEED_GROUPS) {
		mds_window_session_done(op->mds->data, op->session);
	}
	mds_data_committed(op, status);
}
