/*
 * Opening, closing, and re-claiming what is open when the MDT has forgotten it.
 *
 * A handle is on client->files from before its open is sent until its close was answered. An open whose answer
 * crossed a recovery (the MDT answered from its log, but lost the open itself) is re-claimed by its own fiber; all
 * others are re-claimed by the session's event, but for those being closed: their close may have been executed.
 */
#include "client/client_int.h"

/* Re-claims at a time. */
#define RECLAIM_CALLS 16
/* While an append is waited for. */
#define RECLAIM_AGAIN_NS NS_PER_S

uint32_t client_open_flags(int open_flags)
{
	uint32_t flags = 0;
	int acc = open_flags & O_ACCMODE;

	/* Access mode 3: neither read nor write, but permission to do both is asked. */
	flags |= acc != O_WRONLY ? W_OPEN_FLAGS_READ : 0;
	flags |= (open_flags & CLIENT_O_EXEC) != 0 ? W_OPEN_FLAGS_EXEC : 0;
	flags |= acc != O_RDONLY ? W_OPEN_FLAGS_WRITE : 0;
	flags |= (open_flags & O_APPEND) != 0 ? W_OPEN_FLAGS_APPEND : 0;
	flags |= (open_flags & O_TRUNC) != 0 ? W_OPEN_FLAGS_TRUNC : 0;
	flags |= (open_flags & (O_SYNC | O_DSYNC)) != 0 ? W_OPEN_FLAGS_SYNC : 0;
	flags |= (open_flags & O_DIRECT) != 0 ? W_OPEN_FLAGS_DIRECT : 0;
	return flags;
}

static struct client_file *file_new(
	struct client *c, const struct client_cred *cred, int open_flags)
{
	struct client_file *f = mem_zalloc(sizeof(*f));

	if (f == NULL) {
		return NULL;
	}
	f->handle = c->handle_next++;
	f->open_flags = client_open_flags(open_flags);
	f->noatime = (open_flags & CLIENT_O_NOATIME) != 0;
	f->cred = *cred;
	f->cred.groups = NULL;
	f->cred.group_count = 0;
	if (cred->groups != NULL &&
		client_file_groups_set(f, cred->groups, (uint32_t)cred->group_count) != 0) {
		mem_free(f);
		return NULL;
	}
	list_push_back(&c->files, &f->all);
	c->counters.open_files++;
	return f;
}

static void file_free(struct client *c, struct client_file *f)
{
	ASSERT(c->counters.open_files > 0);
	c->counters.open_files--;
	list_del(&f->all);
	if (f->inode != NULL) {
		list_del(&f->of_inode);
		client_inode_put(c, f->inode);
	}
	mem_free(f->groups);
	mem_free(f);
}

static int file_attach(struct client *c, struct client_file *f, const struct w_inode_info *info)
{
	struct client_inode *inode;
	int err = client_inode_get(c, info->attr.fid, &inode);

	if (err != 0) {
		return err;
	}
	f->inode = inode;
	list_push_back(&inode->files, &f->of_inode);
	f->dir = S_ISDIR(info->attr.mode);
	f->lost_seen = inode->lost;
	err = client_inode_update(c, inode, info);
	if (err == 0 && S_ISREG(info->attr.mode) && inode->layout == NULL && !inode->inline_data) {
		err = -NE_BADMSG;
	}
	f->size_opened = !inode->inline_data;
	return err;
}

static void close_quietly(struct client *c, struct client_file *f)
{
	struct w_mds_close_req req = {.fid = f->inode->fid, .handle = f->handle};
	struct w_mds_close_rep rep;
	/* Also when the open was interrupted: the MDT has entered it. */
	_cleanup_(rpc_call_fini) struct rpc_call call = {.op = W_OP_MDS_CLOSE,
		.flags = RPC_CALL_REPEATABLE | RPC_CALL_NO_INTR,
		.request = &req,
		.reply = &rep};

	(void)!client_mdt_call(c, &call);
}

unsigned client_recoveries(const struct client *c)
{
	return c->map.mdts[0]->recoveries;
}

/* After a successful answer. Takes f. */
static int open_finish(struct client *c, struct client_file *f, unsigned recovered,
	const struct w_inode_info *info, struct client_attr *ret_attr)
{
	_cleanup_(client_layout_put) struct client_layout *layout = NULL;
	int err = file_attach(c, f, info);

	if (err == 0) {
		f->opened = true;
		if (recovered != client_recoveries(c)) {
			err = client_reclaim_one(c, f);
		}
	}
	if (err == 0) {
		err = client_settle(c, &info->attr);
	}
	if (err == 0) {
		/* Another open of the file may replace its layout while the OSTs are asked. */
		layout = f->inode->layout == NULL ? NULL : client_layout_ref(f->inode->layout);
		err = client_attr_finish(c, &info->attr, layout, ret_attr);
	}
	if (err != 0) {
		if (f->inode != NULL) {
			close_quietly(c, f);
		}
		file_free(c, f);
	}
	return err;
}

int client_open(struct client *c, const struct client_cred *cred, struct fid fid, int open_flags,
	struct client_attr *ret_attr, struct client_file **ret_file)
{
	struct w_mds_open_req req = {.fid = fid, .want = W_WANT_LAYOUT};
	struct w_mds_open_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_OPEN, .request = &req, .reply = &rep};
	struct client_file *f;
	unsigned recovered = client_recoveries(c);
	int err;

	if ((open_flags & (O_ACCMODE | O_TRUNC)) != O_RDONLY && c->read_only) {
		return -NE_ROFS;
	}
	f = file_new(c, cred, open_flags);
	if (f == NULL) {
		return -NE_NOMEM;
	}
	req.open = f->open_flags;
	req.handle = f->handle;
	err = client_mdt_ask_open(c, cred, &req.cred, &call, f);
	if (err != 0) {
		file_free(c, f);
		return err;
	}
	err = open_finish(c, f, recovered, &rep.info, ret_attr);
	if (err == 0) {
		*ret_file = f;
	}
	return err;
}

/* ---- create ---- */

struct create_op {
	struct client *c;
	const struct client_cred *cred;
	struct w_mds_create_req req;
	struct w_mds_create_rep rep;
	struct rpc_call call;
	struct w_layout layout;
	struct lov_md *md;
};

static void create_op_free(struct create_op **op)
{
	if (*op != NULL) {
		rpc_call_fini(&(*op)->call);
		mem_free((*op)->md);
		mem_free(*op);
	}
}

static int create_layout(struct create_op *op, const struct client_create *how)
{
	int err;

	if (how->lov == NULL) {
		return 0;
	}
	op->md = mem_alloc(sizeof(*op->md));
	if (op->md == NULL) {
		return -NE_NOMEM;
	}
	err = lov_decode(how->lov, how->lov_len, op->md);
	if (err != 0) {
		return err;
	}
	client_lov_wanted(op->md, &op->layout);
	op->req.layouts.items = &op->layout;
	op->req.layouts.count = 1;
	op->req.flags |= W_CREATE_FLAGS_LAYOUT;
	return 0;
}

static int create_prepare(
	struct create_op *op, struct fid parent, const char *name, const struct client_create *how)
{
	bool nameless = (how->open_flags & O_TMPFILE) == O_TMPFILE;
	size_t len = nameless ? 0 : strlen(name);
	int err = client_change_check(op->c);

	if (err != 0) {
		return err;
	}
	if ((len == 0 && !nameless) || len > LIM_NAME_MAX) {
		return len == 0 ? -NE_NOENT : -NE_NAMETOOLONG;
	}
	if (how->target != NULL && strlen(how->target) > LIM_SYMLINK_MAX) {
		return -NE_NAMETOOLONG;
	}
	op->req.parent = parent;
	op->req.name = wire_str_n(name, len);
	op->req.flags |= nameless ? W_CREATE_FLAGS_TMPFILE : 0;
	op->req.mode = how->mode;
	op->req.umask = how->umask;
	op->req.rdev = how->rdev;
	op->req.target = wire_str_of(how->target == NULL ? "" : how->target);
	op->call.op = W_OP_MDS_CREATE;
	op->call.request = &op->req;
	op->call.reply = &op->rep;
	return create_layout(op, how);
}

int client_create(struct client *c, const struct client_cred *cred, struct fid parent,
	const char *name, const struct client_create *how, struct client_attr *ret_attr)
{
	_cleanup_(create_op_free) struct create_op *op = mem_zalloc(sizeof(*op));
	int err;

	if (op == NULL) {
		return -NE_NOMEM;
	}
	op->c = c;
	err = create_prepare(op, parent, name, how);
	if (err == 0) {
		op->req.flags |= W_CREATE_FLAGS_EXCL;
		err = client_mdt_ask(c, cred, &op->req.cred, &op->call);
	}
	return err != 0 ? err : client_info_finish(c, &op->rep.info, ret_attr);
}

int client_create_open(struct client *c, const struct client_cred *cred, struct client_entry at,
	const struct client_create *how, struct client_attr *ret_attr,
	struct client_file **ret_file)
{
	struct fid parent = at.parent;
	const char *name = at.name;
	_cleanup_(create_op_free) struct create_op *op = mem_zalloc(sizeof(*op));
	unsigned recovered = client_recoveries(c);
	struct client_file *f;
	int err;

	if (op == NULL) {
		return -NE_NOMEM;
	}
	op->c = c;
	err = create_prepare(op, parent, name, how);
	if (err != 0) {
		return err;
	}
	f = file_new(c, cred, how->open_flags);
	if (f == NULL) {
		return -NE_NOMEM;
	}
	op->req.flags |= W_CREATE_FLAGS_OPEN;
	op->req.flags |= (how->open_flags & O_EXCL) != 0 ? W_CREATE_FLAGS_EXCL : 0;
	op->req.open = f->open_flags;
	op->req.handle = f->handle;
	op->req.want = W_WANT_LAYOUT;
	err = client_mdt_ask_open(c, cred, &op->req.cred, &op->call, f);
	if (err != 0) {
		file_free(c, f);
		return err;
	}
	err = open_finish(c, f, recovered, &op->rep.info, ret_attr);
	if (err == 0) {
		*ret_file = f;
	}
	return err;
}

/* ---- close ---- */

/* Time on the MDT's clock. */
static int64_t mdt_time(struct client *c)
{
	const struct rpc_session_info *info = rpc_session_info(client_mdt(c));

	return info->server_realtime_ns + (int64_t)(env_now(c->env) - info->server_realtime_at_ns);
}

static int close_report(struct client *c, struct client_file *f, struct client_sizes *sizes,
	struct w_size_report *ret_report)
{
	int err = -NE_STALE_LAYOUT;

	for (unsigned i = 0; err == -NE_STALE_LAYOUT && i < CLIENT_LAYOUT_TRIES; i++) {
		_cleanup_(client_layout_put) struct client_layout *layout =
			client_layout_ref(f->inode->layout);

		err = client_sizes_ask(c, layout, f->inode->fid, sizes);
		if (err == 0) {
			client_report_fill(sizes, layout, ret_report);
		} else if (err == -NE_STALE_LAYOUT) {
			int rc = client_layout_refresh(c, f);

			err = rc != 0 ? rc : err;
		}
	}
	return err;
}

int client_release(struct client *c, struct client_file *f)
{
	struct w_mds_close_req req = {.fid = f->inode->fid, .handle = f->handle};
	struct w_mds_close_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {.op = W_OP_MDS_CLOSE,
		.flags = RPC_CALL_REPEATABLE | RPC_CALL_NO_INTR,
		.request = &req,
		.reply = &rep};
	struct client_sizes sizes;
	int result = f->wrote ? client_lost_check(f) : 0;
	int err = 0;

	ASSERT(f->opened);
	if (f->wrote && !f->stale) {
		err = close_report(c, f, &sizes, &req.report);
		/* Without a report the MDT asks the OSTs itself. */
	}
	if (f->did_read && !f->noatime && !c->read_only) {
		req.atime = mdt_time(c);
	}
	f->closing = true;
	if (!f->stale) {
		int rc = client_mdt_call(c, &call);

		/* What the MDT does not know needs no close. */
		err = err != 0 || rc == -NE_BADF || rc == -NE_STALE ? err : rc;
	}
	file_free(c, f);
	return result != 0 ? result : err;
}

struct fid client_file_fid(const struct client_file *f)
{
	return f->inode->fid;
}

/* ---- re-claim ---- */

struct reclaim {
	struct client_file *f;
	struct rpc_session *session;
	bool last;
	bool outside; /* of the session's event: it waits for connections as any call does */
	struct w_mds_reclaim_open_rep rep;
	struct rpc_call call;
};

static void reclaim_start(
	struct client *c, struct rpc_session *session, struct reclaim *r, bool last)
{
	struct w_mds_reclaim_open_req req = {
		.fid = r->f->inode->fid,
		.handle = r->f->handle,
		.open = r->f->open_flags & ~W_OPEN_FLAGS_TRUNC,
		.last = last,
	};

	r->session = session;
	r->last = last;
	client_cred_encode(&r->f->cred, &req.cred);
	r->call = (struct rpc_call){.op = W_OP_MDS_RECLAIM_OPEN,
		.flags = (r->outside ? 0 : RPC_CALL_RECOVERY) | RPC_CALL_REPEATABLE,
		.request = &req,
		.reply = &r->rep};
	c->counters.rpcs++;
	rpc_call_start(session, &r->call);
}

/* Modes have changed since the open, so that the opener's groups matter now. He may have ended: then he has none. */
static int reclaim_with_groups(struct client *c, struct reclaim *r)
{
	_cleanup_(free_ptr) uint32_t *gids = mem_zalloc_array(LIM_GROUPS_MAX, sizeof(*gids));
	uint32_t count = 0;
	int err;

	if (gids == NULL) {
		return -NE_NOMEM;
	}
	if (client_groups_get(c, &r->f->cred, gids, &count) != 0) {
		count = 0;
	}
	err = client_file_groups_set(r->f, gids, count);
	if (err != 0) {
		return err;
	}
	reclaim_start(c, r->session, r, r->last);
	err = rpc_call_wait(&r->call);
	rpc_call_fini(&r->call);
	return err;
}

static int reclaim_finish(struct client *c, struct reclaim *r)
{
	int err = rpc_call_wait(&r->call);
	char fid[FID_STR_MAX];

	rpc_call_fini(&r->call);
	if (err == -NE_NEED_GROUPS && r->f->groups == NULL) {
		err = reclaim_with_groups(c, r);
	}
	if (err == -NE_STALE || err == -NE_NOENT || err == -NE_ACCES || err == -NE_PERM ||
		err == -NE_ROFS) {
		r->f->stale = true;
		log_warn(CLIENT_LOG, "open file %s was not re-claimed: %s",
			fid_format(r->f->inode->fid, fid, sizeof(fid)), ne_text(err));
		return 0;
	}
	return err;
}

/* The next handle to re-claim at or after a place in the list; NULL: none. */
static struct client_file *reclaim_next(struct client *c, struct list *from)
{
	for (struct list *it = from; it != &c->files; it = it->next) {
		struct client_file *f = list_entry(it, struct client_file, all);

		if (f->opened && !f->stale && !f->closing) {
			return f;
		}
	}
	return NULL;
}

/* Some handles with numbers above *after, ascending: the list is in the order of numbers, and may change
 * while this waits. */
static int reclaim_some(
	struct client *c, struct rpc_session *session, struct reclaim *some, uint64_t *after)
{
	struct client_file *f = reclaim_next(c, c->files.next);
	unsigned n = 0;
	int err = 0;

	while (f != NULL && f->handle <= *after) {
		f = reclaim_next(c, f->all.next);
	}
	while (f != NULL && n < RECLAIM_CALLS) {
		/* It may be closed meanwhile: a close waits for this session, so the file stays. */
		some[n++].f = f;
		*after = f->handle;
		f = reclaim_next(c, f->all.next);
	}
	for (unsigned i = 0; i < n; i++) {
		reclaim_start(c, session, &some[i], false);
	}
	for (unsigned i = 0; i < n; i++) {
		int rc = reclaim_finish(c, &some[i]);

		err = err != 0 ? err : rc;
	}
	return err != 0 ? err : (int)n;
}

/* One handle once more: `last` tells the MDT that this client has nothing more to say. */
static int reclaim_word(struct client *c, struct rpc_session *session, struct reclaim *r, bool last)
{
	r->f = reclaim_next(c, c->files.next);
	if (r->f == NULL) {
		return 0;
	}
	reclaim_start(c, session, r, last);
	return reclaim_finish(c, r);
}

/*
 * The MDT gives no append token before all its clients have said their last word, and does not know of the tokens
 * it gave before. So what was being appended then must have had its effect before this client says its own. Meanwhile
 * it repeats itself, or it would be taken for silent.
 */
static int reclaim_appends(struct client *c, struct rpc_session *session, struct reclaim *r)
{
	int err = 0;

	while (c->appends > 0 && err == 0) {
		uint64_t again = env_now(c->env) + RECLAIM_AGAIN_NS;

		if (env_wait(c->env, &c->appends_done, again, ENV_WAIT_PLAIN) == -NE_TIMEDOUT) {
			err = reclaim_word(c, session, r, false);
		}
	}
	return err;
}

int client_reclaim(struct client *c, struct rpc_session *session)
{
	_cleanup_(free_ptr) struct reclaim *some = mem_zalloc_array(RECLAIM_CALLS, sizeof(*some));
	uint64_t after = 0;
	int n;

	if (some == NULL) {
		return -NE_NOMEM;
	}
	do {
		n = reclaim_some(c, session, some, &after);
	} while (n > 0);
	if (n == 0) {
		n = reclaim_appends(c, session, some);
	}
	return n != 0 ? n : reclaim_word(c, session, some, true);
}

int client_reclaim_one(struct client *c, struct client_file *f)
{
	struct reclaim *r = mem_zalloc(sizeof(*r));
	int err;

	if (r == NULL) {
		return -NE_NOMEM;
	}
	r->f = f;
	r->outside = true;
	reclaim_start(c, client_mdt(c), r, false);
	err = reclaim_finish(c, r);
	mem_free(r);
	return err == 0 && f->stale ? -NE_STALE : err;
}
