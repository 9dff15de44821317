/*
 * Open files: open, create, read, write, fsync, release.
 *
 * Before leases every file is opened for direct I/O: the kernel keeps no pages but those of mmap, and requests
 * carry exactly what the program asked for. Several writers of one file go in parallel.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "fuse/fuse_int.h"

#define OPEN_FLAGS \
	(O_ACCMODE | O_APPEND | O_TRUNC | O_SYNC | O_DSYNC | O_DIRECT | CLIENT_O_EXEC | \
		CLIENT_O_NOATIME)

static void open_fill(int flags, uint64_t fh, struct fuse_open_out *ret_open)
{
	*ret_open = (struct fuse_open_out){
		.fh = fh, .open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES};
	if ((flags & O_ACCMODE) == O_RDONLY) {
		ret_open->open_flags |= FOPEN_NOFLUSH;
	}
}

int fuse_op_open(struct fuse_req *req)
{
	const struct fuse_open_in *in = &req->msg.arg.open;
	struct fuse_session *s = req->s;
	struct client_cred cred =
		fuse_req_cred_kill(req, (in->open_flags & FUSE_OPEN_KILL_SUIDGID) != 0);
	int flags = (int)in->flags & OPEN_FLAGS;
	struct client_file *file;
	struct client_attr attr;
	uint64_t fh;
	int rc = client_open(
		s->client, &cred, fuse_node_fid(s, req->msg.head.nodeid), flags, &attr, &file);

	if (rc == 0) {
		rc = fuse_handle_new(s, file, req->msg.head.nodeid, flags, &fh);
	}
	if (rc == 0) {
		open_fill(flags, fh, &req->out.open);
		req->ret_data = &req->out.open;
		req->ret_len = sizeof(req->out.open);
	}
	return rc;
}

/* CREATE and TMPFILE: `more` are the flags that make the difference. */
static int create_open(struct fuse_req *req, int more)
{
	const struct fuse_create_in *in = &req->msg.arg.create;
	struct fuse_session *s = req->s;
	struct client_cred cred =
		fuse_req_cred_kill(req, (in->open_flags & FUSE_OPEN_KILL_SUIDGID) != 0);
	struct client_create how = {.mode = (in->mode & 07777) | S_IFREG,
		.umask = in->umask,
		.open_flags = ((int)in->flags & (OPEN_FLAGS | O_EXCL)) | more};
	struct client_file *file;
	struct client_attr attr;
	uint64_t fh;
	int rc = client_create_open(s->client, &cred,
		(struct client_entry){fuse_node_fid(s, req->msg.head.nodeid), req->msg.name}, &how,
		&attr, &file);

	if (rc == 0) {
		rc = fuse_handle_new(
			s, file, fuse_fid_node(s, attr.fid), how.open_flags & OPEN_FLAGS, &fh);
	}
	if (rc == 0) {
		fuse_entry_fill(s, &attr, &req->out.create.entry);
		open_fill(how.open_flags, fh, &req->out.create.open);
		req->ret_data = &req->out.create;
		req->ret_len = sizeof(req->out.create);
	}
	return rc;
}

int fuse_op_create(struct fuse_req *req)
{
	return create_open(req, O_CREAT);
}

int fuse_op_tmpfile(struct fuse_req *req)
{
	return create_open(req, O_TMPFILE);
}

int fuse_op_release(struct fuse_req *req)
{
	return fuse_handle_close(req->s, req->msg.arg.release.fh);
}

int fuse_op_read(struct fuse_req *req)
{
	const struct fuse_io_in *in = &req->msg.arg.io;
	struct fuse_handle *h = fuse_handle_find(req->s, in->fh);
	struct iovec iov = {.iov_len = in->size};
	int rc;

	if (h == NULL) {
		return -NE_BADF;
	}
	if (in->size == 0 || in->offset > LIM_FILE_SIZE_MAX) {
		return 0;
	}
	rc = fuse_req_out(req, in->size, &iov.iov_base);
	if (rc == 0) {
		rc = client_read(req->s->client, h->file, &iov, 1, in->offset, &req->ret_len);
	}
	req->ret_data = iov.iov_base;
	ASSERT(rc < 0 || req->ret_len <= in->size);
	return rc;
}

int fuse_op_write(struct fuse_req *req)
{
	const struct fuse_io_in *in = &req->msg.arg.io;
	struct fuse_session *s = req->s;
	struct fuse_handle *h = fuse_handle_find(s, in->fh);
	struct client_cred cred =
		fuse_req_cred_kill(req, (in->io_flags & FUSE_WRITE_KILL_SUIDGID) != 0);
	struct iovec iov = {
		.iov_base = (void *)(uintptr_t)req->msg.data, .iov_len = req->msg.data_len};
	bool pages = (in->io_flags & FUSE_WRITE_CACHE) != 0;
	struct client_file *file = NULL;
	size_t len = 0;
	int rc;

	if (h == NULL) {
		return -NE_BADF;
	}
	rc = fuse_handle_file(s, h, !pages && (in->flags & O_APPEND) != 0, &file);
	if (rc == 0) {
		rc = client_write(
			s->client, &cred, file, (struct client_buffers){&iov, 1, in->offset}, &len);
	}
	/* pwritev2(RWF_DSYNC): synchronous, though the file was not opened so. */
	if (rc == 0 && !pages && (in->flags & O_DSYNC) != 0 && (h->flags & O_DSYNC) == 0) {
		rc = client_fsync(s->client, file, (in->flags & O_SYNC) != O_SYNC);
	}
	if (rc < 0 && (len == 0 || pages)) {
		return rc;
	}
	/* Over a ring the answer may overwrite the data, which is sent by now. */
	req->out.write = (struct fuse_write_out){.size = (uint32_t)len};
	req->ret_data = &req->out.write;
	req->ret_len = sizeof(req->out.write);
	return 0;
}

int fuse_op_fsync(struct fuse_req *req)
{
	const struct fuse_fsync_in *in = &req->msg.arg.fsync;
	struct fuse_handle *h = fuse_handle_find(req->s, in->fh);
	bool data_only = (in->flags & FUSE_FSYNC_FDATASYNC) != 0;
	int rc;

	if (h == NULL) {
		return -NE_BADF;
	}
	rc = client_fsync(req->s->client, h->file, data_only);
	if (h->other != NULL) {
		/* Writes through the other open of it are this handle's too. */
		int rc2 = client_fsync(req->s->client, h->other, data_only);

		rc = rc < 0 ? rc : rc2;
	}
	return rc;
}
