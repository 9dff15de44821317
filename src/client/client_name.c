/*
 * Names: thin requests to the MDT, whose answers carry attributes.
 */
#include <stdio.h>

#include "client/client_int.h"

/* linux/fs.h has them, but is not a header of the cores. */
#define RENAME_NOREPLACE_FLAG 1u
#define RENAME_EXCHANGE_FLAG 2u

static int name_check(const char *name)
{
	size_t len = strlen(name);

	if (len == 0) {
		return -NE_NOENT;
	}
	return len > LIM_NAME_MAX ? -NE_NAMETOOLONG : 0;
}

/* *ret_gone: it was found, and is gone now that its OSTs were to be asked. */
static int lookup_once(struct client *c, const struct client_cred *cred,
	struct w_mds_lookup_req *req, struct client_attr *ret_attr, bool *ret_gone)
{
	struct w_mds_lookup_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_LOOKUP, .request = req, .reply = &rep};
	int err = client_mdt_ask(c, cred, &req->cred, &call);

	*ret_gone = false;
	if (err == 0) {
		err = client_info_finish(c, &rep.info, ret_attr);
		*ret_gone = err == -NE_STALE;
	}
	return err;
}

int client_lookup(struct client *c, const struct client_cred *cred, struct fid parent,
	const char *name, struct client_attr *ret_attr)
{
	struct w_mds_lookup_req req = {.parent = parent};
	bool gone = true;
	int err = name_check(name);

	if (err != 0) {
		return err;
	}
	req.name = wire_str_of(name);
	/* The name may be another file's by now, or nobody's. */
	for (unsigned i = 0; i < CLIENT_LOOKUP_TRIES && gone; i++) {
		err = lookup_once(c, cred, &req, ret_attr, &gone);
	}
	return err;
}

void client_gone_set(struct client *c, client_gone_fn *fn, void *ctx)
{
	ASSERT(c->gone == NULL || fn == NULL);
	c->gone = fn;
	c->gone_ctx = ctx;
}

static void gone_tell(struct client *c, const struct w_attr *from)
{
	struct client_attr attr;

	if (c->gone != NULL && from->nlink == 0) {
		client_attr_convert(from, &attr);
		c->gone(c->gone_ctx, &attr);
	}
}

static int remove_name(struct client *c, const struct client_cred *cred, struct fid parent,
	const char *name, bool directory)
{
	struct w_mds_unlink_req req = {.parent = parent, .directory = directory};
	struct w_mds_unlink_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_UNLINK, .request = &req, .reply = &rep};
	int err = client_change_check(c);

	if (err == 0) {
		err = name_check(name);
	}
	if (err != 0) {
		return err;
	}
	req.name = wire_str_of(name);
	err = client_mdt_ask(c, cred, &req.cred, &call);
	if (err == 0) {
		gone_tell(c, &rep.attr);
	}
	return err;
}

int client_unlink(
	struct client *c, const struct client_cred *cred, struct fid parent, const char *name)
{
	return remove_name(c, cred, parent, name, false);
}

int client_rmdir(
	struct client *c, const struct client_cred *cred, struct fid parent, const char *name)
{
	return remove_name(c, cred, parent, name, true);
}

int client_link(struct client *c, const struct client_cred *cred, struct fid fid, struct fid parent,
	const char *name, struct client_attr *ret_attr)
{
	struct w_mds_link_req req = {.fid = fid, .parent = parent, .guarded = cred->guard_links};
	struct w_mds_link_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_LINK, .request = &req, .reply = &rep};
	int err = client_change_check(c);

	if (err == 0) {
		err = name_check(name);
	}
	if (err == 0) {
		req.name = wire_str_of(name);
		err = client_mdt_ask(c, cred, &req.cred, &call);
	}
	return err != 0 ? err : client_info_finish(c, &rep.info, ret_attr);
}

int client_rename(struct client *c, const struct client_cred *cred, struct client_entry src,
	struct client_entry dst, unsigned flags)
{
	struct fid src_parent = src.parent;
	const char *src_name = src.name;
	struct fid dst_parent = dst.parent;
	const char *dst_name = dst.name;
	struct w_mds_rename_req req = {.src_parent = src_parent, .dst_parent = dst_parent};
	struct w_mds_rename_rep rep;
	struct w_attr replaced;
	struct wire_iter it;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_RENAME, .request = &req, .reply = &rep};
	int err = client_change_check(c);

	if (err == 0 && (flags & ~(RENAME_NOREPLACE_FLAG | RENAME_EXCHANGE_FLAG)) != 0) {
		err = -NE_INVAL;
	}
	if (err == 0) {
		err = name_check(src_name);
	}
	if (err == 0) {
		err = name_check(dst_name);
	}
	if (err != 0) {
		return err;
	}
	req.flags |= (flags & RENAME_NOREPLACE_FLAG) != 0 ? W_RENAME_FLAGS_NOREPLACE : 0;
	req.flags |= (flags & RENAME_EXCHANGE_FLAG) != 0 ? W_RENAME_FLAGS_EXCHANGE : 0;
	req.src_name = wire_str_of(src_name);
	req.dst_name = wire_str_of(dst_name);
	err = client_mdt_ask(c, cred, &req.cred, &call);
	if (err == 0) {
		it = w_attr_iter(&rep.replaced.view);
		if (w_attr_next(&it, &replaced)) {
			gone_tell(c, &replaced);
		}
	}
	return err;
}

int client_readlink(
	struct client *c, const struct client_cred *cred, struct fid fid, char *buf, size_t cap)
{
	struct w_mds_readlink_req req = {.fid = fid};
	struct w_mds_readlink_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_READLINK, .request = &req, .reply = &rep};
	int err = client_mdt_ask(c, cred, &req.cred, &call);

	if (err == 0) {
		err = wire_str_copy(rep.target, buf, cap);
	}
	return err == -NE_NAMETOOLONG ? -NE_RANGE : err;
}

int client_fid2path(struct client *c, const struct client_cred *cred, struct fid fid, uint32_t link,
	struct client_out out, uint32_t *ret_link_next)
{
	char *buf = out.buf;
	size_t cap = out.cap;
	struct w_mds_fid2path_req req = {.fid = fid, .link = link};
	struct w_mds_fid2path_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_FID2PATH, .request = &req, .reply = &rep};
	const char *subdir = c->subdir;
	size_t sub = strlen(subdir);
	struct wire_str path;
	int err = client_mdt_ask(c, cred, &req.cred, &call);

	if (err != 0) {
		return err;
	}
	/* The MDT counts from its root; what lies outside of the mount has no path here. */
	path = rep.path;
	while (sub > 0 && subdir[0] == '/') {
		subdir++;
		sub--;
	}
	while (sub > 0 && subdir[sub - 1] == '/') {
		sub--;
	}
	if (sub > 0) {
		if (path.len < sub || memcmp(path.ptr, subdir, sub) != 0 ||
			(path.len > sub && path.ptr[sub] != '/')) {
			return -NE_NOENT;
		}
		sub = path.len > sub ? sub + 1 : sub;
		path = wire_str_n(path.ptr + sub, path.len - sub);
	}
	err = wire_str_copy(path, buf, cap);
	if (err == 0) {
		*ret_link_next = rep.link_next;
	}
	return err == -NE_NAMETOOLONG ? -NE_RANGE : err;
}
