/*
 * Attributes, permissions, file system facts.
 */
#include "fuse/fuse_int.h"

static struct fid node_of(const struct fuse_req *req)
{
	return fuse_node_fid(req->s, req->msg.head.nodeid);
}

/* The open file a request speaks of, or NULL; the kernel's own numbers are believed only if they fit. */
static struct client_file *file_of(const struct fuse_req *req, bool given, uint64_t fh)
{
	struct fuse_handle *h = given ? fuse_handle_find(req->s, fh) : NULL;

	return h != NULL && h->nodeid == req->msg.head.nodeid ? h->file : NULL;
}

static int attr_answer(struct fuse_req *req, int rc, const struct client_attr *attr)
{
	if (rc == 0) {
		req->out.attr = (struct fuse_attr_out){.attr_valid = 0};
		fuse_attr_fill(attr, &req->out.attr.attr);
		req->ret_data = &req->out.attr;
		req->ret_len = sizeof(req->out.attr);
	}
	return rc;
}

/* Attributes of what is there, or was until it was removed and is still held. */
static int attr_ask(struct fuse_req *req, struct client_file *file, struct client_attr *ret_attr)
{
	struct client_cred cred = fuse_req_cred(req);
	int rc = client_getattr(req->s->client, &cred, node_of(req), file, ret_attr);

	return rc == -NE_STALE ? fuse_grave_attr(req->s, req->msg.head.nodeid, ret_attr) : rc;
}

int fuse_op_getattr(struct fuse_req *req)
{
	const struct fuse_getattr_in *in = &req->msg.arg.getattr;
	struct client_file *file = file_of(req, (in->flags & FUSE_GETATTR_FH) != 0, in->fh);
	struct client_attr attr;
	int rc = attr_ask(req, file, &attr);

	return attr_answer(req, rc, &attr);
}

int fuse_op_statx(struct fuse_req *req)
{
	const struct fuse_statx_in *in = &req->msg.arg.statx;
	struct client_file *file = file_of(req, (in->flags & FUSE_GETATTR_FH) != 0, in->fh);
	struct client_attr attr;
	int rc = attr_ask(req, file, &attr);

	if (rc == 0) {
		req->out.statx = (struct fuse_statx_out){.attr_valid = 0};
		fuse_statx_fill(&attr, &req->out.statx.stat);
		req->ret_data = &req->out.statx;
		req->ret_len = sizeof(req->out.statx);
	}
	return rc;
}

static unsigned set_valid(uint32_t valid)
{
	static const struct {
		uint32_t fattr;
		unsigned set;
	} map[] = {
		{FATTR_MODE, CLIENT_SET_MODE},
		{FATTR_UID, CLIENT_SET_UID},
		{FATTR_GID, CLIENT_SET_GID},
		{FATTR_SIZE, CLIENT_SET_SIZE},
		{FATTR_ATIME, CLIENT_SET_ATIME},
		{FATTR_MTIME, CLIENT_SET_MTIME},
		{FATTR_KILL_SUIDGID, CLIENT_SET_KILL_SUID},
	};
	unsigned set = 0;

	for (size_t i = 0; i < ARRAY_SIZE(map); i++) {
		set |= (valid & map[i].fattr) != 0 ? map[i].set : 0;
	}
	/* The kernel sets the plain bit with the "now" bit. */
	if ((valid & FATTR_ATIME_NOW) != 0) {
		set = (set & ~(unsigned)CLIENT_SET_ATIME) | CLIENT_SET_ATIME_NOW;
	}
	if ((valid & FATTR_MTIME_NOW) != 0) {
		set = (set & ~(unsigned)CLIENT_SET_MTIME) | CLIENT_SET_MTIME_NOW;
	}
	/* chown(-1, -1), which the VFS passes on for what it does besides: ctime, set-id bits. */
	return set != 0 ? set : (unsigned)CLIENT_SET_TOUCH;
}

int fuse_op_setattr(struct fuse_req *req)
{
	const struct fuse_setattr_in *in = &req->msg.arg.setattr;
	struct client_setattr set = {.valid = set_valid(in->valid),
		.mode = in->mode & 07777,
		.uid = in->uid,
		.gid = in->gid,
		.size = in->size,
		.atime_ns = fuse_time_ns(in->atime, in->atime_ns),
		.mtime_ns = fuse_time_ns(in->mtime, in->mtime_ns)};
	struct client_file *file = file_of(req, (in->valid & FATTR_FH) != 0, in->fh);
	struct client_cred cred = fuse_req_cred(req);
	struct client_attr attr;
	int rc;

	if ((in->valid & FATTR_SIZE) != 0) {
		if (in->size > LIM_FILE_SIZE_MAX) {
			return -NE_FBIG;
		}
		cred = fuse_req_cred_kill(req, (in->valid & FATTR_KILL_SUIDGID) != 0);
	}
	rc = client_setattr(req->s->client, &cred, node_of(req), file, &set, &attr);
	return attr_answer(req, rc, &attr);
}

int fuse_op_access(struct fuse_req *req)
{
	struct client_cred cred = fuse_req_cred(req);

	return client_access(req->s->client, &cred, node_of(req), req->msg.arg.access.mask & 7);
}

int fuse_op_statfs(struct fuse_req *req)
{
	struct client_statfs st;
	uint32_t unit;
	int rc = client_statfs(req->s->client, &st);

	if (rc < 0) {
		return rc;
	}
	unit = st.block_size != 0 ? st.block_size : 4096;
	req->out.statfs = (struct fuse_statfs_out){.blocks = st.bytes_total / unit,
		.bfree = st.bytes_free / unit,
		.bavail = st.bytes_avail / unit,
		.files = st.files_total,
		.ffree = st.files_free,
		.bsize = unit,
		.frsize = unit,
		.namelen = st.name_max != 0 ? st.name_max : LIM_NAME_MAX};
	req->ret_data = &req->out.statfs;
	req->ret_len = sizeof(req->out.statfs);
	return 0;
}
