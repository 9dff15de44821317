/*
 * Names: lookup, making, removing, renaming, linking, symbolic links.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/stat.h>

#include "fuse/fuse_int.h"

#define RENAME_FLAGS (RENAME_NOREPLACE | RENAME_EXCHANGE)

static struct fid parent_of(const struct fuse_req *req)
{
	return fuse_node_fid(req->s, req->msg.head.nodeid);
}

static int entry_answer(struct fuse_req *req, int rc, const struct client_attr *attr)
{
	if (rc == 0) {
		fuse_entry_fill(req->s, attr, &req->out.entry);
		req->ret_data = &req->out.entry;
		req->ret_len = sizeof(req->out.entry);
	}
	return rc;
}

int fuse_op_lookup(struct fuse_req *req)
{
	struct client_cred cred = fuse_req_cred(req);
	struct client_attr attr;
	int rc = client_lookup(req->s->client, &cred, parent_of(req), req->msg.name, &attr);

	return entry_answer(req, rc, &attr);
}

static int op_make(struct fuse_req *req, const char *name, const struct client_create *how)
{
	struct client_cred cred = fuse_req_cred(req);
	struct client_attr attr;
	int rc = client_create(req->s->client, &cred, parent_of(req), name, how, &attr);

	return entry_answer(req, rc, &attr);
}

int fuse_op_symlink(struct fuse_req *req)
{
	struct client_create how = {.mode = S_IFLNK | 0777, .target = req->msg.name2};

	return op_make(req, req->msg.name, &how);
}

int fuse_op_mknod(struct fuse_req *req)
{
	const struct fuse_mknod_in *in = &req->msg.arg.mknod;
	struct client_create how = {.mode = in->mode, .umask = in->umask, .rdev = in->rdev};

	return op_make(req, req->msg.name, &how);
}

int fuse_op_mkdir(struct fuse_req *req)
{
	const struct fuse_mkdir_in *in = &req->msg.arg.mkdir;
	struct client_create how = {.mode = (in->mode & 07777) | S_IFDIR, .umask = in->umask};

	return op_make(req, req->msg.name, &how);
}

int fuse_op_unlink(struct fuse_req *req)
{
	struct client_cred cred = fuse_req_cred(req);

	return client_unlink(req->s->client, &cred, parent_of(req), req->msg.name);
}

int fuse_op_rmdir(struct fuse_req *req)
{
	struct client_cred cred = fuse_req_cred(req);

	return client_rmdir(req->s->client, &cred, parent_of(req), req->msg.name);
}

static int op_rename(struct fuse_req *req, uint64_t newdir, unsigned flags)
{
	struct client_cred cred = fuse_req_cred(req);

	if ((flags & ~(unsigned)RENAME_FLAGS) != 0) {
		return -NE_INVAL;
	}
	return client_rename(req->s->client, &cred,
		(struct client_entry){parent_of(req), req->msg.name},
		(struct client_entry){fuse_node_fid(req->s, newdir), req->msg.name2}, flags);
}

int fuse_op_rename(struct fuse_req *req)
{
	return op_rename(req, req->msg.arg.rename.newdir, 0);
}

int fuse_op_rename2(struct fuse_req *req)
{
	return op_rename(req, req->msg.arg.rename2.newdir, req->msg.arg.rename2.flags);
}

int fuse_op_link(struct fuse_req *req)
{
	struct client_cred cred = fuse_req_cred(req);
	struct fid fid = fuse_node_fid(req->s, req->msg.arg.link.nodeid);
	struct client_attr attr;
	int rc;

	/* The VFS asks the file system whether the caller may read and write the file, which here answers at the
	 * operation only. */
	cred.guard_links = cred.uid != 0 && fuse_sys_links_guarded();
	rc = client_link(req->s->client, &cred, fid, parent_of(req), req->msg.name, &attr);

	return entry_answer(req, rc, &attr);
}

int fuse_op_readlink(struct fuse_req *req)
{
	struct client_cred cred = fuse_req_cred(req);
	void *buf;
	int rc = fuse_req_out(req, LIM_SYMLINK_MAX + 1, &buf);

	if (rc == 0) {
		rc = client_readlink(
			req->s->client, &cred, parent_of(req), buf, LIM_SYMLINK_MAX + 1);
	}
	if (rc == 0) {
		req->ret_data = buf;
		req->ret_len = strnlen(buf, LIM_SYMLINK_MAX);
	}
	return rc;
}
