/*
 * Start and stop of the service, the name space's first state, status.
 *
 * Order of a start: the state is recovered; an empty one gets its globals and root; FIDs are reserved;
 * sessions are read; the data side starts. A stop goes the other way.
 */
#include "base/log.h"
#include "mds/mds_int.h"

#define INODE_BYTES_MEAN 1024

/* ---- options ---- */

static int options_check(const struct mds_options *o)
{
	if (o->fid_seq_count < 2 || o->fid_seq_start > UINT64_MAX - o->fid_seq_count) {
		return -NE_INVAL;
	}
	if (o->hash_bits > 63 || o->fid_batch > FID_OID_MAX / 4) {
		return -NE_INVAL;
	}
	if (o->fsname == NULL || strlen(o->fsname) > LIM_FSNAME_MAX || o->store.dir == NULL) {
		return -NE_INVAL;
	}
	return (o->root_mode & ~07777u) != 0 ? -NE_INVAL : 0;
}

/* ---- the first state ---- */

static int format_root(struct mds_op *op)
{
	const struct mds_options *o = &op->mds->opts;
	struct mds_inode *root = NULL;
	int r = mds_inode_new(op, fid_root(), &root);

	if (r < 0) {
		return r;
	}
	root->d.mode = S_IFDIR | (o->root_mode == 0 ? 0755 : o->root_mode);
	root->d.nlink = 2;
	root->d.uid = o->root_uid;
	root->d.gid = o->root_gid;
	root->d.parent = fid_root();
	root->d.dir_shards = 1;
	return 0;
}

static int format_execute(struct mds_op *op, void *ctx)
{
	struct mds_key key = mds_key_globals();
	const struct d_mds_globals *fresh = ctx;
	struct mds_inode *root = NULL;
	int r = mds_kv_get_record(op, &key, &d_mds_globals_codec, &op->globals);

	if (r == 0) {
		op->globals_loaded = true;
		r = mds_dir_get(op, fid_root(), &root);
		return r == -NE_STALE || r == -NE_NOTDIR ? -NE_CORRUPT : r;
	}
	if (r != -NE_NOENT) {
		return r;
	}
	if (!op->mds->opts.store.create) {
		return -NE_NOTFORMATTED;
	}
	op->globals = *fresh;
	op->globals_loaded = true;
	op->globals_dirty = true;
	return format_root(op);
}

/* Makes the name space if the store is new; reads the globals either way. */
static int name_space_open(struct mds *mds)
{
	struct d_mds_globals fresh = {.intent_next = 1, .session_next = 1};
	struct mds_op *op = NULL;
	int r = mds_op_new(mds, &op);

	if (r < 0) {
		return r;
	}
	env_random_bytes(mds->env, &fresh.hash_key0, sizeof(fresh.hash_key0));
	env_random_bytes(mds->env, &fresh.hash_key1, sizeof(fresh.hash_key1));
	/* Also the way an existing name space is opened, which a full disk must not prevent. */
	r = mds_op_run_own(op, STATE_RELEASE, format_execute, &fresh);
	if (r == 0) {
		mds->hash_key.k0 = op->globals.hash_key0;
		mds->hash_key.k1 = op->globals.hash_key1;
		if (op->lsn != 0) {
			state_wait_durable(mds->st, op->lsn);
		}
	}
	mds_op_free(op);
	return r;
}

/* ---- start, stop ---- */

static void handlers_enter(struct mds *mds, const struct mds_handler *table, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		unsigned at = table[i].op - MDS_OP_BASE;

		ASSERT(at < MDS_OPS_MAX && mds->handlers[at] == NULL);
		mds->handlers[at] = &table[i];
	}
}

static struct mds *mds_new(struct env *env, const struct mds_options *opts)
{
	struct mds *mds = mem_zalloc(sizeof(*mds));

	if (mds == NULL) {
		return NULL;
	}
	mds->env = env;
	mds->opts = *opts;
	memcpy(mds->fsname, opts->fsname, strlen(opts->fsname));
	mds->opts.fsname = mds->fsname;
	hmap_init(&mds->sessions);
	list_init(&mds->ops_free);
	env_waitq_init(&mds->fids.refilled);
	env_waitq_init(&mds->background_done);
	env_waitq_init(&mds->stop_wake);
	mds->started_ns = env_now(env);
	handlers_enter(mds, mds_handlers_ns, mds_handlers_ns_count);
	handlers_enter(mds, mds_handlers_data, mds_handlers_data_count);
	return mds;
}

static void background_join(struct mds *mds)
{
	mds->stopping = true;
	env_wake_all(mds->env, &mds->stop_wake);
	while (mds->background > 0) {
		if (env_wait(mds->env, &mds->background_done, ENV_FOREVER, ENV_WAIT_PLAIN) < 0) {
			break;
		}
	}
}

int mds_start(struct env *env, const struct mds_options *opts, struct mds **ret_mds)
{
	struct mds *mds;
	int r = options_check(opts);

	ASSERT(env != NULL && ret_mds != NULL);
	if (r < 0) {
		return r;
	}
	mds = mds_new(env, opts);
	if (mds == NULL) {
		return -NE_NOMEM;
	}
	r = state_open(env, &opts->store, &mds->st);
	mds->opts.store.dir = NULL;
	if (r == 0) {
		r = name_space_open(mds);
	}
	if (r == 0) {
		r = mds_fids_start(mds);
	}
	if (r == 0) {
		r = mds_sessions_load(mds);
	}
	if (r == 0) {
		r = mds_data_start(mds);
	}
	if (r == 0) {
		r = mds_sessions_expire_start(mds);
	}
	if (r < 0) {
		mds_stop(mds);
		return r;
	}
	*ret_mds = mds;
	return 0;
}

void mds_stop(struct mds *mds)
{
	struct list *link;

	if (mds == NULL) {
		return;
	}
	background_join(mds);
	if (mds->data != NULL) {
		mds_data_stop(mds);
	}
	if (mds->st != NULL) {
		mds_fids_stop(mds);
	}
	mds_sessions_free(mds);
	hmap_fini(&mds->sessions);
	state_close(mds->st);
	while ((link = list_pop_front(&mds->ops_free)) != NULL) {
		mem_free(list_entry(link, struct mds_op, link));
	}
	mem_free(mds);
}

/* ---- what others ask ---- */

uint64_t mds_last_committed(const struct mds *mds)
{
	return state_committed_lsn(mds->st);
}

struct state *mds_state(struct mds *mds)
{
	ASSERT(mds->st != NULL);
	return mds->st;
}

void mds_map_version_set(struct mds *mds, uint32_t version)
{
	mds->map_version = version;
}

void mds_space_get(struct mds *mds, struct mds_space *ret_space)
{
	struct state_stats stats;
	uint64_t total;

	state_stats_get(mds->st, &stats);
	total = mds->opts.store.capacity_bytes != 0 ? mds->opts.store.capacity_bytes
						    : stats.kv_bytes_max;
	total = u64_max(total, stats.capacity_used);
	*ret_space = (struct mds_space){
		.bytes_total = total,
		.bytes_free = total - stats.capacity_used,
		.bytes_avail = stats.nospc ? 0 : total - stats.capacity_used,
		.files_used = mds->inodes,
	};
	ret_space->files_total = mds->inodes + ret_space->bytes_avail / INODE_BYTES_MEAN;
}

void mds_status_get(struct mds *mds, struct mds_status *ret_status)
{
	ASSERT(mds != NULL && ret_status != NULL);
	*ret_status = (struct mds_status){
		.sessions = mds->sessions.count,
		.requests = mds->requests,
		.last_committed = mds_last_committed(mds),
		.uptime_ms = (env_now(mds->env) - mds->started_ns) / NS_PER_MS,
	};
	mds_space_get(mds, &ret_status->space);
}
