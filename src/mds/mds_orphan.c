/*
 * Files and directories without a name: who has them open keeps them.
 *
 * A record names the sessions, so that a restart knows who may re-claim an open. The last close destroys; so does the
 * end of the recovery window what nobody re-claimed (RULES C10).
 */
#include "base/log.h"
#include "mds/mds_data.h"

#define SESSIONS_MAX 64

int mds_orphan_destroy(struct mds_op *op, struct mds_inode *inode)
{
	struct mds_key key;
	int r = 0;

	ASSERT(inode->d.nlink == 0);
	if (mds_instantiated(inode)) {
		r = mds_layout_load(op, inode);
		if (r == 0) {
			r = mds_intents_destroy(op, inode);
		}
	} else if (S_ISREG(inode->d.mode) && inode->d.size > 0) {
		r = mds_pieces_del(op, inode->fid, MDS_PART_DATA, inode->d.size);
	}
	if (r == 0 && mds_size_is_open(inode)) {
		r = mds_size_closed(op, inode);
	}
	if (r == 0 && (inode->d.state & W_ATTR_STATE_ORPHAN) != 0) {
		key = mds_key_orphan(inode->fid);
		r = mds_kv_del(op, &key);
	}
	return r < 0 ? r : mds_inode_destroy(op, inode);
}

static bool listed(const uint64_t *ids, uint32_t count, uint64_t id)
{
	for (uint32_t i = 0; i < count; i++) {
		if (ids[i] == id) {
			return true;
		}
	}
	return false;
}

int mds_data_unlinked(struct mds_op *op, struct mds_inode *inode)
{
	struct mds_data *data = op->mds->data;
	const struct mds_file *file = mds_file_find(data, inode->fid);
	struct mds_key key = mds_key_orphan(inode->fid);
	struct d_mds_orphan d = {
		.since = state_last_lsn(op->mds->st) + 1, .all_sessions = data->window};
	uint64_t ids[SESSIONS_MAX];
	uint32_t n = 0;

	ASSERT(inode->d.nlink == 0);
	if ((!S_ISREG(inode->d.mode) && !mds_is_dir(inode)) ||
		!mds_file_others(data, inode->fid, NULL)) {
		return mds_orphan_destroy(op, inode);
	}
	for (const struct list *it = file == NULL ? NULL : file->opens.next;
		it != NULL && it != &file->opens; it = it->next) {
		uint64_t id = list_entry(it, struct mds_open, file_link)->session->id;

		if (listed(ids, n, id)) {
			continue;
		}
		if (n == SESSIONS_MAX) {
			d.all_sessions = true;
			break;
		}
		ids[n++] = id;
	}
	d.sessions.items = ids;
	d.sessions.count = n;
	inode->d.state |= W_ATTR_STATE_ORPHAN;
	mds_inode_touched(inode);
	return mds_kv_put_record(op, &key, &d_mds_orphan_codec, &d);
}

int mds_data_nameless(struct mds_op *op, struct mds_inode *inode)
{
	struct mds_key key = mds_key_orphan(inode->fid);
	struct d_mds_orphan d = {.since = state_last_lsn(op->mds->st) + 1};

	ASSERT(inode->fresh && inode->d.nlink == 0 && op->session != NULL);
	d.sessions.items = &op->session->id;
	d.sessions.count = 1;
	inode->d.state |= W_ATTR_STATE_ORPHAN;
	return mds_kv_put_record(op, &key, &d_mds_orphan_codec, &d);
}

int mds_data_named(struct mds_op *op, struct mds_inode *inode)
{
	struct mds_key key = mds_key_orphan(inode->fid);

	ASSERT(inode->d.nlink == 0);
	inode->d.state &= ~(uint32_t)(W_ATTR_STATE_ORPHAN | W_ATTR_STATE_LINKABLE);
	return mds_kv_del(op, &key);
}

/* The record may say that all of before are meant: who had it open was not known then. Still nobody reaches outside. */
static int orphan_allows_all(struct mds_op *op, const struct mds_inode *inode, bool *ret_allows)
{
	struct mds_inode *dir = NULL;
	int r = 0;

	*ret_allows = op->mds->data->window || op->session->recovering;
	if (*ret_allows && op->session->confined) {
		r = mds_reach(op, inode->d.parent, &dir);
		*ret_allows = r == 0;
	}
	return r == -NE_STALE ? 0 : r;
}

int mds_orphan_allows(struct mds_op *op, const struct mds_inode *inode, bool *ret_allows)
{
	struct mds_key key = mds_key_orphan(inode->fid);
	struct d_mds_orphan d;
	bool allows = false;
	int r = mds_kv_get_record(op, &key, &d_mds_orphan_codec, &d);

	ASSERT(inode->d.nlink == 0 && op->session != NULL);
	if (r < 0) {
		return r == -NE_NOENT ? -NE_CORRUPT : r;
	}
	for (uint32_t i = 0; i < d.sessions.view.count; i++) {
		allows |= wire_u64_at(&d.sessions.view, i) == op->session->id;
	}
	if (!allows && d.all_sessions) {
		return orphan_allows_all(op, inode, ret_allows);
	}
	*ret_allows = allows;
	return 0;
}

/* ---- after the window ---- */

struct sweep {
	struct mds_data *data;
	struct fid from;
	bool begun;
	struct fid found[MDS_SCAN_BATCH];
	unsigned count;
	struct fid one; /* to be destroyed */
};

static int sweep_one(void *arg, const struct state_rec *rec)
{
	struct sweep *s = arg;

	ASSERT(s->count < MDS_SCAN_BATCH);
	return mds_key_fid(rec->key, rec->key_len, &s->found[s->count++]);
}

static int sweep_batch(struct mds_op *op, void *arg)
{
	struct sweep *s = arg;
	struct mds_key from = mds_key_orphan(s->from);
	struct mds_key to = mds_key_kind(MDS_KEY_ORPHAN + 1);

	if (s->begun) {
		from.b[from.len++] = 0;
	}
	s->count = 0;
	return mds_kv_range(op, &from, &to, MDS_SCAN_BATCH, sweep_one, s);
}

static int destroy_one(struct mds_op *op, void *arg)
{
	const struct sweep *s = arg;
	struct mds_inode *inode = NULL;
	int r;

	if (mds_file_others(s->data, s->one, NULL)) {
		return 0;
	}
	r = mds_inode_get(op, s->one, &inode);
	if (r < 0) {
		return r == -NE_STALE ? 0 : r;
	}
	return inode->d.nlink == 0 ? mds_orphan_destroy(op, inode) : -NE_CORRUPT;
}

void mds_orphans_sweep(struct mds_data *data)
{
	struct sweep *s = mem_zalloc(sizeof(*s));
	int r = s == NULL ? -NE_NOMEM : 0;

	ASSERT(!data->window);
	while (r == 0 && !data->stopping) {
		s->data = data;
		r = mds_data_run(data->mds, STATE_READ, sweep_batch, NULL, s, NULL);
		for (unsigned i = 0; r == 0 && i < s->count && !data->stopping; i++) {
			s->one = s->found[i];
			r = mds_data_run(data->mds, STATE_RELEASE, destroy_one, NULL, s, NULL);
		}
		if (r < 0 || s->count < MDS_SCAN_BATCH) {
			break;
		}
		s->from = s->found[s->count - 1];
		s->begun = true;
	}
	if (r < 0 && !data->stopping) {
		log_error(MDS_LOG, "files without names are not destroyed error=%s", ne_name(r));
	}
	mem_free(s);
}
