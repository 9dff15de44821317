/*
 * Directories: open, read with or without attributes, sync.
 *
 * d_off of an entry is the MDT's cookie of it (at least DIR_COOKIE_MIN), so seekdir and NFS-like readers need no state. "."
 * and ".." are ours, at 1 and 2.
 */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "fuse/fuse_int.h"

#define DIR_OFF_DOT 1
#define DIR_OFF_DOTDOT 2
#define DIR_COOKIE_MIN 3

struct fill {
	const struct fuse_session *s;
	uint8_t *buf;
	size_t cap;
	size_t len;
	bool plus;
};

static size_t dirent_size(const struct fill *f, size_t name_len)
{
	size_t head = sizeof(struct fuse_dirent) + (f->plus ? sizeof(struct fuse_entry_out) : 0);

	return (size_t)u64_round_up(head + name_len, 8);
}

/* 1: it does not fit. */
static int fill_add(struct fill *f, const struct fuse_dirent *d, const char *name,
	const struct client_attr *attr)
{
	size_t size = dirent_size(f, d->namelen);
	struct fuse_entry_out entry = {.nodeid = 0}; /* 0: an entry only, nothing is looked up */
	uint8_t *to = f->buf + f->len;

	if (size > f->cap - f->len) {
		return 1;
	}
	memset(to + size - 8, 0, 8);
	if (f->plus) {
		if (attr != NULL) {
			fuse_entry_fill(f->s, attr, &entry);
		}
		memcpy(to, &entry, sizeof(entry));
		to += sizeof(entry);
	}
	memcpy(to, d, sizeof(*d));
	memcpy(to + sizeof(*d), name, d->namelen);
	f->len += size;
	return 0;
}

static int fill_fn(void *ctx, const struct client_dirent *e_in)
{
	const char *name = e_in->name;
	size_t name_len = e_in->name_len;
	struct fid fid = e_in->fid;
	uint32_t mode = e_in->mode;
	uint64_t next_cookie = e_in->next_cookie;
	const struct client_attr *attr = e_in->attr;
	struct fuse_dirent d = {.ino = fid_ino(fid),
		.off = next_cookie,
		.namelen = (uint32_t)name_len,
		.type = (mode & S_IFMT) >> 12};

	ASSERT(name_len > 0 && name_len <= LIM_NAME_MAX);
	ASSERT(next_cookie >= DIR_COOKIE_MIN && next_cookie <= INT64_MAX);
	return fill_add(ctx, &d, name, attr);
}

/* Room for "." and "..", whose inode is known only when the entries were read. */
static size_t dots_reserve(struct fill *f, uint64_t off)
{
	size_t size =
		(off == 0 ? dirent_size(f, 1) : 0) + (off <= DIR_OFF_DOT ? dirent_size(f, 2) : 0);

	f->len = size;
	return size;
}

static void dots_fill(struct fill *f, uint64_t off, uint64_t ino, uint64_t parent_ino)
{
	struct fuse_dirent dot = {.ino = ino, .off = DIR_OFF_DOT, .namelen = 1, .type = DT_DIR};
	struct fuse_dirent dotdot = {
		.ino = parent_ino, .off = DIR_OFF_DOTDOT, .namelen = 2, .type = DT_DIR};
	size_t len = f->len;

	f->len = 0;
	if (off == 0) {
		(void)fill_add(f, &dot, ".", NULL);
	}
	if (off <= DIR_OFF_DOT) {
		(void)fill_add(f, &dotdot, "..", NULL);
	}
	f->len = len;
}

int fuse_op_readdir(struct fuse_req *req)
{
	const struct fuse_io_in *in = &req->msg.arg.io;
	struct fuse_session *s = req->s;
	struct fuse_handle *h = fuse_handle_find(s, in->fh);
	struct client_cred cred = fuse_req_cred(req);
	struct fill f = {.s = s, .cap = in->size};
	struct fid self = fuse_node_fid(s, req->msg.head.nodeid);
	struct fid parent = self;
	void *buf;
	bool end;
	int rc;

	f.plus = req->msg.head.opcode == FUSE_READDIRPLUS;
	if (h == NULL) {
		return -NE_BADF;
	}
	if (in->offset > INT64_MAX || in->size < 2 * dirent_size(&f, LIM_NAME_MAX)) {
		return -NE_INVAL;
	}
	rc = fuse_req_out(req, in->size, &buf);
	if (rc < 0) {
		return rc;
	}
	f.buf = buf;
	rc = client_readdir(s->client, &cred, h->file,
		&(struct client_listing){.cookie = in->offset < DIR_COOKIE_MIN ? 0 : in->offset,
			.bytes_max = f.cap - dots_reserve(&f, in->offset),
			.plus = f.plus,
			.fn = fill_fn,
			.ctx = &f,
			.ret_parent = &parent,
			.ret_end = &end});
	if (rc < 0) {
		return rc;
	}
	if (req->msg.head.nodeid == FUSE_NODE_ROOT) {
		parent = self; /* nothing above the mount is shown */
	}
	dots_fill(&f, in->offset, fid_ino(self), fid_ino(parent));
	req->ret_data = buf;
	req->ret_len = f.len;
	return 0;
}

int fuse_op_opendir(struct fuse_req *req)
{
	struct fuse_session *s = req->s;
	struct client_cred cred = fuse_req_cred(req);
	struct client_file *file;
	struct client_attr attr;
	uint64_t fh;
	int rc = client_open(s->client, &cred, fuse_node_fid(s, req->msg.head.nodeid),
		O_RDONLY | O_DIRECTORY, &attr, &file);

	if (rc == 0) {
		rc = fuse_handle_new(s, file, req->msg.head.nodeid, O_RDONLY, &fh);
	}
	if (rc == 0) {
		req->out.open = (struct fuse_open_out){.fh = fh};
		req->ret_data = &req->out.open;
		req->ret_len = sizeof(req->out.open);
	}
	return rc;
}

int fuse_op_fsyncdir(struct fuse_req *req)
{
	return client_sync(req->s->client);
}
