/*
 * Writing: into the MDT while the file is small, then straight to the objects.
 *
 * A write that would make the file outgrow the MDT (or finds that it has) asks for its objects first: the MDT moves the
 * bytes it has and notes that this handle may change sizes. The same range is then written to the objects.
 * Repeating a write after a changed layout is harmless: the same bytes at the same place.
 */
#include "client/client_int.h"

/* For an MDT that does not answer, when the writer was interrupted. */
#define APPEND_END_NS (2 * NS_PER_S)
#define CAP_FSETID_BIT (UINT64_C(1) << 4)

struct writing {
	struct client *c;
	struct client_file *f;
	const struct client_cred *cred;
	const struct iovec *iov;
	unsigned iov_count;
	uint64_t off;
	uint64_t len;
	uint64_t done; /* of the last attempt, from the start */
	bool append; /* the offset is good while the MDT knows the token */
	unsigned recovered; /* client_recoveries when the token was asked for */
	struct client_io io;
};

bool client_suid_kills(const struct client_file *f, const struct client_cred *cred)
{
	return (cred->caps & CAP_FSETID_BIT) == 0 && (f->inode->mode & (S_ISUID | S_ISGID)) != 0;
}

/* Set-gid without execution by the group goes only if the writer is not in the group: the MDT is asked. */
static bool asks_suid(const struct writing *w)
{
	return client_suid_kills(w->f, w->cred) &&
		(w->f->inode->mode & (S_ISGID | S_IXGRP)) == S_ISGID;
}

int client_suid_kill(struct client *c, struct client_file *f, const struct client_cred *cred)
{
	struct client_setattr set = {.valid = 0};
	struct client_attr attr;

	set.valid |= client_suid_kills(f, cred) ? CLIENT_SET_KILL_SUID : 0;
	set.valid |= f->inode->capability ? CLIENT_SET_KILL_CAPABILITY : 0;
	if (set.valid == 0) {
		return 0;
	}
	return client_setattr(c, cred, f->inode->fid, f, &set, &attr);
}

/* Size and times reach the MDT, durably: what O_SYNC promises besides the data. */
static int striped_sync(struct writing *w)
{
	if ((w->f->open_flags & W_OPEN_FLAGS_SYNC) == 0) {
		return 0;
	}
	return client_inode_sync(w->c, w->f->inode);
}

static void append_running(struct writing *w, int delta)
{
	struct client *c = w->c;

	if (w->append) {
		c->appends += (unsigned)delta;
		if (c->appends == 0) {
			env_wake_all(c->env, &c->appends_done);
		}
	}
}

/* Has the MDT forgotten the token, and with it the offset? */
static bool append_stale(const struct writing *w)
{
	return w->append && w->recovered != client_recoveries(w->c);
}

static int striped_once(struct writing *w)
{
	struct client_place place = {.iov = w->iov, .count = w->iov_count};
	int err;

	w->io.c = w->c;
	w->io.inode = w->f->inode;
	w->io.layout = client_layout_ref(w->f->inode->layout);
	w->io.write = true;
	w->io.sync = (w->f->open_flags & W_OPEN_FLAGS_SYNC) != 0;
	w->io.deadline_ns = client_deadline(w->c);
	client_io_init(&w->io);
	err = client_stripes_prepare(w->f->inode, w->io.layout);
	if (err == 0) {
		w->f->wrote = true;
		append_running(w, 1);
		client_io_run(&w->io, place, w->off, w->len);
		append_running(w, -1);
		err = w->io.error;
	}
	w->done = err == 0 ? w->len : 0;
	if (err != 0 && w->io.error_off != UINT64_MAX && w->io.error_off > w->off) {
		w->done = w->io.error_off - w->off;
	}
	client_io_fini(&w->io);
	client_layout_put(&w->io.layout);
	return err;
}

static int write_striped(struct writing *w)
{
	int err = 0;

	for (unsigned i = 0; i < CLIENT_LAYOUT_TRIES; i++) {
		if (!w->f->size_opened) {
			err = client_layout_instantiate(w->c, w->f);
		}
		if (err == 0 && append_stale(w)) {
			return -NE_AGAIN;
		}
		if (err == 0) {
			err = striped_once(w);
		}
		if (err != -NE_STALE_LAYOUT) {
			return err;
		}
		w->f->size_opened = false;
		err = 0;
	}
	return -NE_STALE_LAYOUT;
}

/* ---- O_APPEND ---- */

static int append_begin(struct writing *w, uint64_t *ret_token)
{
	struct w_mds_append_begin_req req = {
		.fid = w->f->inode->fid, .handle = w->f->handle, .length = w->len};
	struct w_mds_append_begin_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_APPEND_BEGIN, .request = &req, .reply = &rep};
	int err;

	w->recovered = client_recoveries(w->c);
	err = client_mdt_call(w->c, &call);
	if (err == 0) {
		w->off = rep.offset;
		*ret_token = rep.token;
	}
	return err;
}

static int append_end_send(struct writing *w, uint64_t token, unsigned flags, uint64_t deadline_ns)
{
	struct w_mds_append_end_req req = {
		.fid = w->f->inode->fid,
		.handle = w->f->handle,
		.token = token,
		.size = w->off + w->done,
	};
	struct w_mds_append_end_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {.op = W_OP_MDS_APPEND_END,
		.flags = (uint16_t)(RPC_CALL_REPEATABLE | flags),
		.request = &req,
		.reply = &rep,
		.deadline_ns = deadline_ns};

	return client_mdt_call(w->c, &call);
}

static void append_end(struct writing *w, uint64_t token)
{
	int err = append_end_send(w, token, 0, 0);

	if (err == -NE_INTR) {
		/* Others would wait for the token until this handle appends again or is closed: one more try. */
		err = append_end_send(
			w, token, RPC_CALL_NO_INTR, env_now(w->c->env) + APPEND_END_NS);
	}
	/* An MDT that was restarted has forgotten the token. */
	if (err != 0 && !append_stale(w)) {
		log_warn(CLIENT_LOG, "append token was not given back: %s", ne_text(err));
	}
}

/* With a token; -NE_AGAIN: the MDT has forgotten it, and nothing was written yet. */
static int append_once(struct writing *w)
{
	uint64_t len = w->len;
	uint64_t token = 0;
	int err = append_begin(w, &token);

	if (err != 0) {
		return err;
	}
	if (w->off >= LIM_FILE_SIZE_MAX) {
		err = -NE_FBIG;
	} else {
		w->len = u64_min(w->len, LIM_FILE_SIZE_MAX - w->off);
		err = write_striped(w);
	}
	append_end(w, token);
	if (err == -NE_AGAIN && w->done == 0) {
		w->len = len;
	}
	return err;
}

/* One append of this client at a time; the token keeps other clients away. */
static int append_striped(struct writing *w)
{
	struct client_lock *lock = &w->f->inode->append;
	int err = client_lock_take(w->c, lock);

	if (err != 0) {
		return err;
	}
	w->append = true;
	if (!w->f->size_opened) {
		err = client_layout_instantiate(w->c, w->f);
	}
	while (err == 0) {
		err = append_once(w);
		if (err == 0 || err != -NE_AGAIN || w->done > 0) {
			break;
		}
		err = 0;
	}
	client_lock_give(w->c, lock);
	return err;
}

static int write_inline(struct writing *w, bool append)
{
	struct client_inline_write in = {
		.f = w->f,
		.iov = w->iov,
		.iov_count = w->iov_count,
		.off = w->off,
		.append = append,
		.kill_suid = client_suid_kills(w->f, w->cred),
	};
	size_t len = 0;
	int err = client_inline_write(w->c, &in, &len);

	w->done = len;
	return err;
}

static int write_any(struct writing *w)
{
	bool append = (w->f->open_flags & W_OPEN_FLAGS_APPEND) != 0;
	int err = w->f->inode->layout_unsure ? client_layout_refresh(w->c, w->f) : 0;

	if (err == 0 && asks_suid(w)) {
		err = client_suid_kill(w->c, w->f, w->cred);
	}
	if (err != 0) {
		return err;
	}
	if (w->f->inode->inline_data) {
		err = write_inline(w, append);
		if (err != -NE_FBIG && err != -NE_LAYOUT_CHANGED) {
			return err;
		}
		w->f->size_opened = false;
	}
	err = client_suid_kill(w->c, w->f, w->cred);
	if (err == 0) {
		err = append ? append_striped(w) : write_striped(w);
	}
	return err == 0 ? striped_sync(w) : err;
}

int client_write_check(const struct client *c, const struct client_file *f)
{
	if (f->dir || (f->open_flags & W_OPEN_FLAGS_WRITE) == 0) {
		return -NE_BADF;
	}
	if (f->stale) {
		return -NE_STALE;
	}
	return c->read_only ? -NE_ROFS : 0;
}

int client_write(struct client *c, const struct client_cred *cred, struct client_file *f,
	struct client_buffers io, size_t *ret_len)
{
	const struct iovec *iov = io.iov;
	unsigned iov_count = io.iov_count;
	uint64_t off = io.off;
	struct writing w = {
		.c = c, .f = f, .cred = cred, .iov = iov, .iov_count = iov_count, .off = off};
	int err;

	ASSERT(ret_len != NULL);
	*ret_len = 0;
	err = client_write_check(c, f);
	if (err != 0) {
		return err;
	}
	w.len = client_iov_len(iov, iov_count);
	if (w.len == 0) {
		return 0;
	}
	if ((f->open_flags & W_OPEN_FLAGS_APPEND) != 0) {
		w.off = 0;
	} else if (off >= LIM_FILE_SIZE_MAX) {
		return -NE_FBIG;
	}
	w.len = u64_min(w.len, LIM_FILE_SIZE_MAX - w.off);
	err = write_any(&w);
	*ret_len = (size_t)w.done;
	return err;
}
