/*
 * Extended attributes. The client core knows which names it makes itself (lustre.lov, nacre.*).
 */
#include <stdio.h>
#include <string.h>

#include "fuse/fuse_int.h"

static struct fid node_of(const struct fuse_req *req)
{
	return fuse_node_fid(req->s, req->msg.head.nodeid);
}

/* The answer to "how long is it?", or the value in buf. */
static int size_or_value(struct fuse_req *req, uint32_t asked, const void *buf, size_t len)
{
	if (asked == 0) {
		req->out.getxattr = (struct fuse_getxattr_out){.size = (uint32_t)len};
		req->ret_data = &req->out.getxattr;
		req->ret_len = sizeof(req->out.getxattr);
		return 0;
	}
	if (len > asked) {
		return -NE_RANGE;
	}
	req->ret_data = buf;
	req->ret_len = len;
	return 0;
}

int fuse_op_getxattr(struct fuse_req *req)
{
	uint32_t asked = req->msg.arg.getxattr.size;
	size_t cap = asked < LIM_XATTR_VALUE_MAX ? asked : LIM_XATTR_VALUE_MAX;
	struct client_cred cred = fuse_req_cred(req);
	char name[LIM_XATTR_NAME_MAX + 1]; /* over a ring the value comes where the name is */
	void *buf = NULL;
	size_t len = 0;
	int rc = 0;

	ASSERT(strlen(req->msg.name) < sizeof(name));
	memcpy(name, req->msg.name, strlen(req->msg.name) + 1);
	if (cap > 0) {
		rc = fuse_req_out(req, cap, &buf);
	}
	if (rc == 0) {
		rc = client_getxattr(req->s->client, &cred, node_of(req), name,
			(struct client_out){buf, cap}, &len);
	}
	return rc == 0 ? size_or_value(req, asked, buf, len) : rc;
}

int fuse_op_listxattr(struct fuse_req *req)
{
	uint32_t asked = req->msg.arg.getxattr.size;
	size_t cap = asked < LIM_XATTR_LIST_MAX ? asked : LIM_XATTR_LIST_MAX;
	struct client_cred cred = fuse_req_cred(req);
	void *buf = NULL;
	size_t len = 0;
	int rc = 0;

	if (cap > 0) {
		rc = fuse_req_out(req, cap, &buf);
	}
	if (rc == 0) {
		rc = client_listxattr(req->s->client, &cred, node_of(req), buf, cap, &len);
	}
	return rc == 0 ? size_or_value(req, asked, buf, len) : rc;
}

int fuse_op_setxattr(struct fuse_req *req)
{
	struct client_cred cred = fuse_req_cred(req);

	return client_setxattr(req->s->client, &cred, node_of(req), req->msg.name,
		span_of(req->msg.data, req->msg.data_len), (int)req->msg.arg.setxattr.flags);
}

int fuse_op_removexattr(struct fuse_req *req)
{
	struct client_cred cred = fuse_req_cred(req);

	/* The kernel also asks for this before a change of data or owner that may be refused: no more rights than the
	 * caller's own. */
	return client_removexattr(req->s->client, &cred, node_of(req), req->msg.name);
}
