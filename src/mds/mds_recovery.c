/*
 * The recovery window: how long opens of before a restart are waited for, and what happens when it closes.
 *
 * A session that was known before is done when it says so (the last re-claim), when it asks for anything else, when
 * it came back and re-claims nothing for a moment, or when it is closed. Then, or when the time is over: files
 * without names that nobody has open are destroyed, files whose writers did not come back are sized by asking their
 * OSTs, and destruction of objects begins.
 */
#include <limits.h>

#include "base/log.h"
#include "mds/mds_data.h"

#define WINDOW_NS (60 * NS_PER_S)
#define LOOK_NS (500 * NS_PER_MS)
/* A client re-claims as soon as it is connected. */
#define QUIET_NS (3 * NS_PER_S)

void mds_window_session_closed(struct mds_data *data, struct mds_session *session)
{
	if (session->recovering) {
		session->recovering = false;
		env_wake_all(data->mds->env, &data->window_wake);
	}
}

void mds_window_session_done(struct mds_data *data, struct mds_session *session)
{
	mds_absent_back(data, session);
	mds_window_session_closed(data, session);
}

void mds_data_session_active(struct mds *mds, struct mds_session *session)
{
	ASSERT(mds->data != NULL);
	if (session->recovering) {
		mds_window_session_done(mds->data, session);
	}
}

static bool session_waited_for(struct mds_data *data, struct mds_session *session)
{
	uint64_t now = env_now(data->mds->env);

	if (!session->recovering || session->closing) {
		return false;
	}
	if (!session->attached) {
		return true;
	}
	if (session->recover_seen_ns == 0) {
		session->recover_seen_ns = now;
	}
	if (now - session->recover_seen_ns < QUIET_NS) {
		return true;
	}
	session->recovering = false;
	return false;
}

static bool anybody_waited_for(struct mds_data *data)
{
	bool any = false;

	HMAP_FOREACH (it, &data->mds->sessions) {
		any |= session_waited_for(data, container_of(it, struct mds_session, node));
	}
	return any;
}

/* ---- sizes that were open ---- */

struct sweep {
	struct fid from; /* everything up to it was looked at */
	bool begun;
	struct fid found[MDS_SCAN_BATCH];
	unsigned count;
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
	struct mds_key from = mds_key_size_open(s->from);
	struct mds_key to = mds_key_kind(MDS_KEY_SIZE_OPEN + 1);

	if (s->begun) {
		/* Longer than the key: the next one after it. */
		from.b[from.len++] = 0;
	}
	s->count = 0;
	return mds_kv_range(op, &from, &to, MDS_SCAN_BATCH, sweep_one, s);
}

static void sizes_queue_one(struct mds_data *data, struct fid fid)
{
	struct mds_file *file;

	if (mds_files_reserve(data) < 0) {
		return; /* a later last close or start brings it back */
	}
	file = mds_file_ref(data, fid);
	file->shared = true;
	if (file->writers == 0) {
		mds_size_queue(data, file);
	}
	mds_file_unref(data, file);
}

static void sizes_sweep(struct mds_data *data)
{
	struct sweep *s = mem_zalloc(sizeof(*s));
	int r = s == NULL ? -NE_NOMEM : 0;

	while (r == 0 && !data->stopping) {
		r = mds_data_run(data->mds, STATE_READ, sweep_batch, NULL, s, NULL);
		for (unsigned i = 0; r == 0 && i < s->count; i++) {
			sizes_queue_one(data, s->found[i]);
		}
		if (r < 0 || s->count < MDS_SCAN_BATCH) {
			break;
		}
		s->from = s->found[s->count - 1];
		s->begun = true;
		/* What was queued is worked off first: memory stays bounded. */
		while (!list_empty(&data->sizes) && !data->stopping) {
			mds_data_pause(data, &data->sizes_wake, ENV_FOREVER);
		}
	}
	if (r < 0 && !data->stopping) {
		log_error(MDS_LOG, "sizes of open files not asked for error=%s", ne_name(r));
	}
	mem_free(s);
}

static void window_fiber(struct mds_data *data, void *arg)
{
	struct env *env = data->mds->env;

	ASSERT(arg == NULL && data->window);
	while (!data->stopping && env_now(env) < data->window_end_ns && anybody_waited_for(data)) {
		uint64_t end = u64_min(env_now(env) + LOOK_NS, data->window_end_ns);

		mds_data_pause(data, &data->window_wake, end);
	}
	while (!data->stopping && mds_absent_note(data) < 0) {
		mds_data_pause(data, &data->window_wake, env_now(env) + LOOK_NS);
	}
	if (data->stopping) {
		return;
	}
	data->window = false;
	log_info(MDS_LOG, "recovery window closed");
	rpc_parking_wake(&data->window_parked, UINT_MAX);
	mds_intents_retry(data);
	mds_orphans_sweep(data);
	sizes_sweep(data);
}

int mds_window_start(struct mds_data *data)
{
	uint64_t length = data->mds->opts.recovery_ns;

	data->window = true;
	data->window_end_ns = env_now(data->mds->env) + (length == 0 ? WINDOW_NS : length);
	return mds_data_spawn(data, "mds-window", window_fiber, NULL);
}
