/*
 * Directories in pages: the MDT's cookies are stable for an entry's life, so nothing is kept between pages.
 */
#include "client/client_int.h"

/* One page of the MDT (bytes): within a message's body, with room for its frame. */
#define PAGE_BYTES_MAX (LIM_MSG_BODY_MAX - 4096)
#define PAGE_BYTES_MIN 1024

struct dir_walk {
	struct client *c;
	uint64_t cookie;
	bool plus;
	bool full; /* the caller has enough */
	client_dirent_fn *fn;
	void *ctx;
};

static int dirent_give(struct dir_walk *w, const struct w_dirent *from)
{
	struct wire_iter it = w_attr_iter(&from->attrs.view);
	char name[LIM_NAME_MAX + 1];
	struct client_dirent entry;
	struct client_attr attr;
	struct w_attr raw;
	bool plus = w->plus && w_attr_next(&it, &raw);
	int err = wire_str_copy(from->name, name, sizeof(name));

	if (err != 0) {
		return -NE_BADMSG;
	}
	if (plus) {
		err = client_attr_finish(w->c, &raw, NULL, &attr);
		/* Removed since: the entry is given without attributes. */
		plus = err == 0;
		if (err == -NE_INTR) {
			return err;
		}
	}
	entry = (struct client_dirent){
		name, from->name.len, from->fid, from->mode, from->cookie, plus ? &attr : NULL};
	if (w->fn(w->ctx, &entry) != 0) {
		w->full = true;
		return 0;
	}
	w->cookie = from->cookie;
	return 0;
}

static int dir_page(struct dir_walk *w, const struct client_cred *cred,
	struct w_mds_readdir_req *req, struct fid *ret_parent, bool *ret_end)
{
	struct w_mds_readdir_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_READDIR, .request = req, .reply = &rep};
	struct wire_iter it;
	struct w_dirent entry;
	int err;

	req->cookie = w->cookie;
	err = client_mdt_ask(w->c, cred, &req->cred, &call);
	if (err != 0) {
		return err;
	}
	*ret_parent = rep.parent;
	it = w_dirent_iter(&rep.entries.view);
	while (err == 0 && !w->full && w_dirent_next(&it, &entry)) {
		err = dirent_give(w, &entry);
	}
	*ret_end = rep.end && !w->full;
	/* A page that brings nothing and does not end would be asked for ever. */
	return err == 0 && rep.entries.count == 0 && !rep.end ? -NE_BADMSG : err;
}

int client_readdir(struct client *c, const struct client_cred *cred, struct client_file *dir,
	const struct client_listing *walk)
{
	uint64_t cookie = walk->cookie;
	size_t bytes_max = walk->bytes_max;
	bool plus = walk->plus;
	client_dirent_fn *fn = walk->fn;
	void *ctx = walk->ctx;
	struct fid *ret_parent = walk->ret_parent;
	bool *ret_end = walk->ret_end;
	struct dir_walk w = {.c = c, .cookie = cookie, .plus = plus, .fn = fn, .ctx = ctx};
	struct w_mds_readdir_req req = {
		.fid = dir->inode->fid,
		.bytes_max = (uint32_t)u64_max(u64_min(bytes_max, PAGE_BYTES_MAX), PAGE_BYTES_MIN),
		.plus = plus,
		.handle = dir->handle,
	};

	ASSERT(fn != NULL && ret_end != NULL && ret_parent != NULL);
	if (!dir->dir) {
		return -NE_NOTDIR;
	}
	if (dir->stale) {
		return -NE_STALE;
	}
	return dir_page(&w, cred, &req, ret_parent, ret_end);
}

int client_sync(struct client *c)
{
	struct w_mds_sync_req req = {.transno = 0};
	struct w_mds_sync_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_SYNC, .request = &req, .reply = &rep};

	return client_mdt_call(c, &call);
}
