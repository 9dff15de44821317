/*
 * Extended attributes: the MDT's, and those the client makes (lustre.lov, nacre.*), which are not listed.
 */
#include "client/client_int.h"

#define XATTR_CREATE_FLAG 1
#define XATTR_REPLACE_FLAG 2
/* Names the client answers itself begin so. */
#define TOOL_PREFIX "nacre."
/* Answers for tools stay below what the VFS carries (LIM_XATTR_VALUE_MAX), with room for the last element. */
#define TOOL_TEXT_MAX (LIM_XATTR_VALUE_MAX - 1)

static bool is_tool(const char *name)
{
	return strncmp(name, TOOL_PREFIX, strlen(TOOL_PREFIX)) == 0;
}

static bool is_lov(const char *name)
{
	return strcmp(name, "lustre.lov") == 0 || strcmp(name, "trusted.lov") == 0;
}

static int value_give(const void *value, size_t len, void *buf, size_t cap, size_t *ret_len)
{
	if (cap != 0 && len > cap) {
		return -NE_RANGE;
	}
	bytes_copy(buf, value, cap == 0 ? 0 : len);
	*ret_len = len;
	return 0;
}

static int tool_value(struct client *c, const struct client_cred *cred, struct fid fid,
	const char *name, struct strbuf *out)
{
	int err;

	strbuf_init(out, TOOL_TEXT_MAX);
	err = client_tool_get(c, cred, fid, name + strlen(TOOL_PREFIX), out);
	return err != 0 ? err : strbuf_error(out);
}

static int name_check(const char *name, struct wire_str *ret_name)
{
	size_t len = strlen(name);

	if (len == 0 || len > LIM_XATTR_NAME_MAX) {
		return -NE_RANGE;
	}
	*ret_name = wire_str_of(name);
	return 0;
}

int client_getxattr(struct client *c, const struct client_cred *cred, struct fid fid,
	const char *name, struct client_out dst, size_t *ret_len)
{
	void *buf = dst.buf;
	size_t cap = dst.cap;
	struct w_mds_getxattr_req req = {.fid = fid};
	struct w_mds_getxattr_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_GETXATTR, .request = &req, .reply = &rep};
	int err;

	if (is_lov(name)) {
		return client_lov_get(c, cred, fid, buf, cap, ret_len);
	}
	if (is_tool(name)) {
		_cleanup_(strbuf_fini) struct strbuf out;

		err = tool_value(c, cred, fid, name, &out);
		return err != 0 ? err : value_give(out.text, out.len, buf, cap, ret_len);
	}
	err = name_check(name, &req.name);
	if (err == 0) {
		err = client_mdt_ask(c, cred, &req.cred, &call);
	}
	return err != 0 ? err : value_give(rep.value.ptr, rep.value.len, buf, cap, ret_len);
}

static int xattr_change(struct client *c, const struct client_cred *cred,
	struct w_mds_setxattr_req *req, const char *name)
{
	struct w_mds_setxattr_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_SETXATTR, .request = req, .reply = &rep};
	struct client_inode *inode;
	int err = client_change_check(c);

	if (err == 0) {
		err = name_check(name, &req->name);
	}
	if (err == 0) {
		err = client_mdt_ask(c, cred, &req->cred, &call);
	}
	if (err != 0) {
		return err;
	}
	inode = client_inode_find(c, req->fid);
	if (inode != NULL && inode->refs > 0) {
		/* Writers look at what a write takes away. */
		client_inode_attr(inode, &rep.info.attr);
	}
	return 0;
}

int client_setxattr(struct client *c, const struct client_cred *cred, struct fid fid,
	const char *name, struct span value_span, int flags)
{
	const void *value = value_span.ptr;
	size_t len = value_span.len;
	struct w_mds_setxattr_req req = {.fid = fid};

	if (strcmp(name, "lustre.lov") == 0) {
		return client_lov_set(c, cred, fid, value, len);
	}
	if (strcmp(name, TOOL_PREFIX "sync") == 0) {
		return client_sync_all(c, 0);
	}
	if (is_tool(name) || is_lov(name)) {
		return -NE_NOTSUP;
	}
	if (len > LIM_XATTR_VALUE_MAX) {
		return -NE_TOOBIG;
	}
	req.value = wire_bytes_of(value, len);
	req.flags |= (flags & XATTR_CREATE_FLAG) != 0 ? W_SETXATTR_FLAGS_CREATE : 0;
	req.flags |= (flags & XATTR_REPLACE_FLAG) != 0 ? W_SETXATTR_FLAGS_REPLACE : 0;
	return xattr_change(c, cred, &req, name);
}

int client_removexattr(
	struct client *c, const struct client_cred *cred, struct fid fid, const char *name)
{
	struct w_mds_setxattr_req req = {.fid = fid, .flags = W_SETXATTR_FLAGS_REMOVE};

	if (strcmp(name, "lustre.lov") == 0) {
		return client_lov_remove(c, cred, fid);
	}
	if (is_tool(name) || is_lov(name)) {
		return -NE_NOTSUP;
	}
	return xattr_change(c, cred, &req, name);
}

int client_listxattr(struct client *c, const struct client_cred *cred, struct fid fid, char *buf,
	size_t cap, size_t *ret_len)
{
	struct w_mds_listxattr_req req = {.fid = fid};
	struct w_mds_listxattr_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_LISTXATTR, .request = &req, .reply = &rep};
	int err = client_mdt_ask(c, cred, &req.cred, &call);

	return err != 0 ? err : value_give(rep.names.ptr, rep.names.len, buf, cap, ret_len);
}
