/*
 * Sessions: durable records of who may have opens and slots here, and their counterparts in memory.
 *
 * Invariants. A session's record is durable before the session answers anything (RULES D2). Every record has its
 * struct mds_session, also after a restart: those whose clients do not come back within the recovery window
 * are closed. A client has one session. What a session may do (ids, groups, root, read-only, subdirectory) is what
 * the last handshake proved and never what a record says; the record says whose it is, and nobody else gets it.
 */
#include "base/log.h"
#include "mds/mds_int.h"

/* How long sessions of before a restart are waited for: as long as a silent client is kept. */
#define RECOVERY_NS (120 * NS_PER_S)
#define LOAD_BATCH 64

static uint64_t session_hash(uint64_t id)
{
	return hash_mix(id);
}

struct mds_session *mds_session_find(struct mds *mds, uint64_t id)
{
	for (struct hmap_node *it = hmap_find(&mds->sessions, session_hash(id)); it != NULL;
		it = hmap_find_next(it)) {
		struct mds_session *s = container_of(it, struct mds_session, node);

		if (s->id == id) {
			return s;
		}
	}
	return NULL;
}

uint64_t mds_session_id(const struct mds_session *session)
{
	ASSERT(session->id != 0);
	return session->id;
}

static struct mds_session *session_new(struct mds *mds, uint64_t id)
{
	struct mds_session *s = mem_zalloc(sizeof(*s));

	if (s != NULL) {
		s->id = id;
		hmap_init(&s->inside);
		list_init(&s->opens);
		env_waitq_init(&s->groups_wake);
		s->seen_ns = env_now(mds->env);
	}
	return s;
}

static void session_free(struct mds_session *s)
{
	if (s == NULL) {
		return;
	}
	ASSERT(!s->groups_asking);
	mds_groups_clear(s);
	mds_inside_clear(s);
	hmap_fini(&s->inside);
	mem_free(s);
}

static void text_copy(char *to, size_t cap, const char *from)
{
	size_t len = from == NULL ? 0 : strnlen(from, cap - 1);

	bytes_copy(to, from, len);
	to[len] = 0;
}

/* ---- records ---- */

struct load_ctx {
	uint64_t from; /* the next id to read */
	struct mds_session *found[LOAD_BATCH];
	unsigned count;
	struct mds *mds;
};

static void load_clear(struct load_ctx *ctx)
{
	for (unsigned i = 0; i < ctx->count; i++) {
		session_free(TAKE_PTR(ctx->found[i]));
	}
	ctx->count = 0;
}

static int load_one(void *arg, const struct state_rec *rec)
{
	struct load_ctx *ctx = arg;
	struct d_mds_session d;
	struct mds_session *s;
	int r = d_mds_session_decode(&d, rec->val.data, rec->val.len);

	ASSERT(ctx->count < LOAD_BATCH);
	if (r < 0 || rec->key_len != 9) {
		return -NE_CORRUPT;
	}
	s = session_new(ctx->mds, be64_load((const uint8_t *)rec->key + 1));
	if (s == NULL) {
		return -NE_NOMEM;
	}
	s->client = d.client;
	s->incarnation = d.incarnation;
	s->role = d.role;
	s->key_id = d.key_id;
	s->uid = d.uid;
	s->opened = d.opened;
	s->recovering = true;
	ctx->found[ctx->count++] = s;
	return wire_str_copy(d.hostname, s->hostname, sizeof(s->hostname));
}

static int load_batch(struct mds_op *op, void *arg)
{
	struct load_ctx *ctx = arg;
	struct mds_key from = mds_key_session(ctx->from);
	struct mds_key to = mds_key_kind(MDS_KEY_SESSION + 1);

	load_clear(ctx);
	return mds_kv_range(op, &from, &to, LOAD_BATCH, load_one, ctx);
}

int mds_sessions_load(struct mds *mds)
{
	struct load_ctx ctx = {.mds = mds};
	struct mds_op *op = NULL;
	int r = mds_op_new(mds, &op);

	if (r < 0) {
		return r;
	}
	for (;;) {
		unsigned count;

		r = mds_op_run_own(op, STATE_READ, load_batch, &ctx);
		if (r < 0) {
			break;
		}
		count = ctx.count;
		for (unsigned i = 0; i < count; i++) {
			struct mds_session *s = TAKE_PTR(ctx.found[i]);

			hmap_insert(&mds->sessions, &s->node, session_hash(s->id));
			ctx.from = s->id + 1;
		}
		ctx.count = 0;
		if (count < LOAD_BATCH) {
			break;
		}
	}
	load_clear(&ctx);
	mds_op_free(op);
	return r;
}

void mds_sessions_free(struct mds *mds)
{
	size_t cursor = 0;
	struct hmap_node *it;

	while ((it = hmap_pop(&mds->sessions, &cursor)) != NULL) {
		session_free(container_of(it, struct mds_session, node));
	}
}

/* ---- opening ---- */

struct open_ctx {
	const struct mds_peer *peer;
	uint64_t id; /* to be renewed; 0: a new one is numbered */
	int64_t opened;
	struct fid root;
};

/* The directory a confined session sees: a path of plain names from the root, symbolic links not followed. */
static int subdir_resolve(struct mds_op *op, const char *path, struct fid *ret_fid)
{
	struct fid at = fid_root();

	while (*path != 0) {
		size_t len = strcspn(path, "/");
		struct mds_dirent dirent;
		struct wire_str name;
		int r;

		if (len == 0) {
			path++;
			continue;
		}
		name = wire_str_n(path, u64_min(len, LIM_NAME_MAX + 1));
		r = mds_name_check(name);
		if (r == 0) {
			r = mds_dirent_find(op, at, name, &dirent);
		}
		if (r < 0) {
			return r;
		}
		if (!S_ISDIR(dirent.mode)) {
			return -NE_NOTDIR;
		}
		at = dirent.fid;
		path += len;
	}
	*ret_fid = at;
	return 0;
}

static int open_record(struct mds_op *op, void *arg)
{
	struct open_ctx *ctx = arg;
	const struct mds_peer *peer = ctx->peer;
	struct d_mds_session d = {
		.client = peer->client,
		.incarnation = peer->incarnation,
		.role = peer->role,
		.key_id = peer->key_id,
		.uid = peer->uid,
		.opened = ctx->opened == 0 ? op->now_ns : ctx->opened,
	};
	struct d_mds_globals *globals = NULL;
	struct mds_key key;
	int r = mds_globals_get(op, &globals);

	if (r == 0 && peer->subdir != NULL) {
		r = subdir_resolve(op, peer->subdir, &ctx->root);
	}
	if (r < 0) {
		return r;
	}
	if (peer->hostname != NULL) {
		d.hostname = wire_str_n(peer->hostname, strnlen(peer->hostname, 255));
	}
	op->res.number = ctx->id;
	if (ctx->id == 0) {
		op->res.number = globals->session_next++;
		mds_globals_dirty(op);
	}
	op->res.fid = ctx->root;
	key = mds_key_session(op->res.number);
	return mds_kv_put_record(op, &key, &d_mds_session_codec, &d);
}

static void session_peer_set(struct mds_session *s, const struct mds_peer *peer, struct fid root)
{
	s->client = peer->client;
	s->incarnation = peer->incarnation;
	s->role = peer->role;
	s->uid = peer->uid;
	s->gid = peer->gid;
	s->allow_root = peer->allow_root;
	s->read_only = peer->read_only;
	s->key_id = peer->key_id;
	s->pid = peer->pid;
	s->root = root;
	s->confined = !fid_eq(root, fid_root());
	s->attached = true;
	mds_inside_clear(s);
	text_copy(s->hostname, sizeof(s->hostname), peer->hostname);
	text_copy(s->addr, sizeof(s->addr), peer->addr);
}

/* Ids of clients are no secret: what another key or another user left is another's. One key may serve many users: over a
 * Unix socket the uid is the kernel's. */
static bool session_is_of(const struct mds_session *s, const struct mds_peer *peer)
{
	return uuid_eq(s->client, peer->client) && s->role == peer->role &&
		s->key_id == peer->key_id && (s->role != W_PEER_ROLE_USER || s->uid == peer->uid);
}

static struct mds_session *session_left_of(struct mds *mds, const struct mds_peer *peer)
{
	HMAP_FOREACH (it, &mds->sessions) {
		struct mds_session *s = container_of(it, struct mds_session, node);

		if (!s->attached && !s->closing && session_is_of(s, peer)) {
			return s;
		}
	}
	return NULL;
}

static bool session_matches(const struct mds_session *s, const struct mds_peer *peer)
{
	return s != NULL && !s->attached && !s->closing && session_is_of(s, peer) &&
		s->incarnation == peer->incarnation;
}

/* Writes the record; on success the session carries the peer and is durable. */
static int session_establish(struct mds *mds, const struct mds_peer *peer, struct mds_session *s)
{
	struct open_ctx ctx = {.peer = peer, .id = s->id, .opened = s->opened, .root = fid_root()};
	struct mds_op *op = NULL;
	int r = mds_op_new(mds, &op);

	if (r < 0) {
		return r;
	}
	/* Into the reserve: without a session nobody could delete anything from a full disk. */
	r = mds_op_run_own(op, STATE_RELEASE, open_record, &ctx);
	if (r == 0) {
		state_wait_durable(mds->st, op->lsn);
		s->id = op->res.number;
		session_peer_set(s, peer, op->res.fid);
		s->opened = s->opened == 0 ? op->now_ns : s->opened;
		mds_groups_clear(s);
		if (s->role == W_PEER_ROLE_USER) {
			mds_groups_learn(mds, s);
		}
	}
	mds_op_free(op);
	return r;
}

int mds_session_open(struct mds *mds, const struct mds_peer *peer, uint64_t wanted,
	struct mds_session **ret_session, bool *ret_resumed)
{
	struct mds_session *s = wanted == 0 ? NULL : mds_session_find(mds, wanted);
	int r;

	if (session_matches(s, peer)) {
		s->attached = true; /* nobody else may take it meanwhile */
		r = session_establish(mds, peer, s);
		s->attached = r == 0;
		if (r == 0) {
			*ret_session = s;
			*ret_resumed = true;
		}
		return r;
	}
	/* What the client had here before, it has given up. */
	while ((s = session_left_of(mds, peer)) != NULL) {
		mds_session_close(mds, s);
	}
	if (mds->sessions.count >= LIM_SESSIONS_MAX) {
		return -NE_LIMIT;
	}
	s = session_new(mds, 0);
	if (s == NULL) {
		return -NE_NOMEM;
	}
	r = session_establish(mds, peer, s);
	if (r < 0) {
		session_free(s);
		return r;
	}
	hmap_insert(&mds->sessions, &s->node, session_hash(s->id));
	log_info("mds", "session opened id=%llu host=%s addr=%s pid=%u", (unsigned long long)s->id,
		s->hostname, s->addr, s->pid);
	*ret_session = s;
	*ret_resumed = false;
	return 0;
}

/* ---- closing ---- */

static int close_record(struct mds_op *op, void *arg)
{
	const struct mds_session *s = arg;
	struct mds_key key = mds_key_session(s->id);
	int r = mds_kv_del(op, &key);

	for (uint16_t i = 0; r == 0 && i < LIM_SLOTS; i++) {
		key = mds_key_slot(s->id, i);
		r = mds_kv_del(op, &key);
	}
	return r;
}

void mds_session_close(struct mds *mds, struct mds_session *session)
{
	struct mds_op *op = NULL;
	int r;

	ASSERT(!session->closing);
	session->closing = true;
	mds_data_session_close(mds, session);
	r = mds_op_new(mds, &op);
	if (r == 0) {
		r = mds_op_run_own(op, STATE_RELEASE, close_record, session);
		mds_op_free(op);
	}
	if (r < 0) {
		/* The record stays; after the next start the session is found again and closed then. */
		log_error("mds", "session not closed id=%llu error=%s",
			(unsigned long long)session->id, ne_name(r));
	}
	hmap_remove(&mds->sessions, &session->node);
	session_free(session);
}

/* Closes what clients left behind when they did not come back after a restart. */
void mds_sessions_expire(struct mds *mds)
{
	struct hmap_node *it = hmap_first(&mds->sessions);

	ASSERT(env_self(mds->env) != NULL);
	while (it != NULL && !mds->stopping) {
		struct mds_session *s = container_of(it, struct mds_session, node);

		it = hmap_next(&mds->sessions, it);
		if (!s->attached && !s->closing) {
			log_info("mds", "session given up id=%llu host=%s",
				(unsigned long long)s->id, s->hostname);
			mds_session_close(mds, s);
			it = hmap_first(&mds->sessions);
		}
	}
}

static void expire_fiber(void *arg)
{
	struct mds *mds = arg;
	uint64_t end = env_now(mds->env) + RECOVERY_NS;

	while (!mds->stopping && env_now(mds->env) < end) {
		int r = env_wait(mds->env, &mds->stop_wake, end, ENV_WAIT_PLAIN);

		if (r < 0 && r != -NE_TIMEDOUT) {
			break;
		}
	}
	mds_sessions_expire(mds);
	mds->background--;
	env_wake_all(mds->env, &mds->background_done);
}

int mds_sessions_expire_start(struct mds *mds)
{
	int r;

	if (mds->sessions.count == 0) {
		return 0;
	}
	r = env_spawn(mds->env, "mds-sessions", expire_fiber, mds);
	if (r == 0) {
		mds->background++;
	}
	return r;
}

/* ---- slots ---- */

struct slot_ctx {
	uint64_t session;
	uint16_t slot;
	bool found;
	struct mds_slot out;
	uint8_t *buf; /* SLOT_BUF_BYTES */
};

#define SLOT_BUF_BYTES 32768

static int slot_refill(
	struct mds_op *op, const struct wire_op *wop, struct span stripped, struct wire_enc *enc)
{
	struct w_inode_info *info;
	struct w_inode_info more;
	struct mds_inode *inode = NULL;
	int r = wop->reply->decode(&op->rep, stripped.ptr, stripped.len);

	info = mds_rep_info(wop->op, &op->rep);
	if (r < 0 || info == NULL) {
		return -NE_CORRUPT;
	}
	r = mds_inode_get(op, info->attr.fid, &inode);
	if (r == 0) {
		r = mds_info_fill(op, inode, W_WANT_LAYOUT | W_WANT_DATA, &more);
	}
	if (r == 0) {
		info->layouts = more.layouts;
		info->data = more.data;
	} else if (r != -NE_STALE) {
		return r;
	}
	return wop->reply->encode(&op->rep, enc);
}

static int slot_read(struct mds_op *op, void *arg)
{
	struct slot_ctx *ctx = arg;
	struct mds_key key = mds_key_slot(ctx->session, ctx->slot);
	struct wire_enc enc = wire_enc_of(ctx->buf, SLOT_BUF_BYTES);
	const struct wire_op *wop;
	struct d_mds_slot d;
	int r = mds_kv_get_record(op, &key, &d_mds_slot_codec, &d);

	ctx->found = false;
	if (r < 0) {
		return r == -NE_NOENT ? 0 : r;
	}
	wop = wire_op_find(d.op & ~MDS_SLOT_STRIPPED);
	if (wop == NULL || wop->reply == NULL) {
		return -NE_CORRUPT;
	}
	if ((d.op & MDS_SLOT_STRIPPED) != 0) {
		r = slot_refill(op, wop, wire_bytes_span(d.body), &enc);
		if (r < 0) {
			return r;
		}
	} else {
		bytes_copy(ctx->buf, d.body.ptr, d.body.len);
		enc.pos = d.body.len;
	}
	ctx->found = true;
	ctx->out = (struct mds_slot){.slot = ctx->slot,
		.op = wop->op,
		.seq = d.seq,
		.transno = d.transno,
		.reply = span_of(ctx->buf, enc.pos)};
	return 0;
}

int mds_session_slots(struct mds *mds, struct mds_session *session, mds_slot_fn *fn, void *ctx)
{
	struct slot_ctx slot = {.session = session->id};
	struct mds_op *op = NULL;
	int r = mds_op_new(mds, &op);

	if (r < 0) {
		return r;
	}
	slot.buf = mem_alloc(SLOT_BUF_BYTES);
	if (slot.buf == NULL) {
		r = -NE_NOMEM;
	}
	for (uint16_t i = 0; r == 0 && i < LIM_SLOTS; i++) {
		slot.slot = i;
		r = mds_op_run_own(op, STATE_READ, slot_read, &slot);
		if (r == 0 && slot.found) {
			r = fn(ctx, &slot.out);
		}
	}
	mem_free(slot.buf);
	mds_op_free(op);
	return r;
}
