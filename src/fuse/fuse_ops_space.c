/*
 * fallocate, lseek for data and holes, copy_file_range.
 *
 * The kernel has checked what belongs to descriptors: modes it does not know, overlapping ranges, O_APPEND targets,
 * other mounts, limits. It drops the pages that mappings hold of a punched or copied-to range itself.
 */
#include <unistd.h>

#include "fuse/fuse_int.h"

/* fallocate(2)'s modes. */
#define MODE_KEEP_SIZE 0x01u
#define MODE_PUNCH_HOLE 0x02u
#define MODE_ZERO_RANGE 0x10u
/* Bytes of one COPY_FILE_RANGE: programs go on where a short one ended, and interruptions are soon heard. */
#define COPY_MAX (256 * MIB)

int fuse_op_fallocate(struct fuse_req *req)
{
	const struct fuse_fallocate_in *in = &req->msg.arg.fallocate;
	struct fuse_handle *h = fuse_handle_find(req->s, in->fh);
	struct client_cred cred = fuse_req_cred(req);
	struct client_range range = {.off = in->offset, .len = in->length};
	unsigned flags = 0;

	if (h == NULL) {
		return -NE_BADF;
	}
	if ((in->mode & ~(MODE_KEEP_SIZE | MODE_PUNCH_HOLE | MODE_ZERO_RANGE)) != 0 ||
		(in->mode & (MODE_PUNCH_HOLE | MODE_ZERO_RANGE)) ==
			(MODE_PUNCH_HOLE | MODE_ZERO_RANGE) ||
		(in->mode & (MODE_PUNCH_HOLE | MODE_KEEP_SIZE)) == MODE_PUNCH_HOLE) {
		return -NE_NOTSUP;
	}
	flags |= (in->mode & MODE_KEEP_SIZE) != 0 ? CLIENT_ALLOC_KEEP_SIZE : 0;
	flags |= (in->mode & MODE_PUNCH_HOLE) != 0 ? CLIENT_ALLOC_PUNCH : 0;
	flags |= (in->mode & MODE_ZERO_RANGE) != 0 ? CLIENT_ALLOC_ZERO : 0;
	return client_allocate(req->s->client, &cred, h->file, range, flags);
}

int fuse_op_lseek(struct fuse_req *req)
{
	const struct fuse_lseek_in *in = &req->msg.arg.lseek;
	struct fuse_handle *h = fuse_handle_find(req->s, in->fh);
	uint64_t at = 0;
	int rc;

	if (h == NULL) {
		return -NE_BADF;
	}
	if (in->whence != SEEK_DATA && in->whence != SEEK_HOLE) {
		return -NE_INVAL;
	}
	rc = client_seek(req->s->client, h->file, in->offset, in->whence == SEEK_DATA, &at);
	if (rc == 0) {
		req->out.lseek = (struct fuse_lseek_out){.offset = at};
		req->ret_data = &req->out.lseek;
		req->ret_len = sizeof(req->out.lseek);
	}
	return rc;
}

int fuse_op_copy_file_range(struct fuse_req *req)
{
	const struct fuse_copy_file_range_in *in = &req->msg.arg.copy;
	struct fuse_session *s = req->s;
	struct fuse_handle *from = fuse_handle_find(s, in->fh_in);
	struct fuse_handle *to = fuse_handle_find(s, in->fh_out);
	struct client_cred cred = fuse_req_cred(req);
	struct client_copy copy = {.from_off = in->off_in, .to_off = in->off_out};
	uint64_t len = 0;
	int rc;

	if (from == NULL || to == NULL || to->nodeid != in->nodeid_out) {
		return -NE_BADF;
	}
	if (in->flags != 0) {
		return -NE_INVAL;
	}
	copy.from = from->file;
	copy.len = u64_min(in->len, COPY_MAX);
	rc = fuse_handle_file(s, to, false, &copy.to);
	if (rc == 0) {
		rc = client_copy_range(s->client, &cred, &copy, &len);
	}
	if (rc != 0) {
		return rc;
	}
	if (req->msg.head.opcode == FUSE_COPY_FILE_RANGE_64) {
		req->out.copied = (struct fuse_copy_file_range_out){.bytes_copied = len};
		req->ret_data = &req->out.copied;
		req->ret_len = sizeof(req->out.copied);
		return 0;
	}
	req->out.write = (struct fuse_write_out){.size = (uint32_t)len};
	req->ret_data = &req->out.write;
	req->ret_len = sizeof(req->out.write);
	return 0;
}
