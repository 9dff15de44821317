/*
 * Data that is in the MDT: files of at most LIM_INLINE_MAX bytes. The only bytes this client copies.
 */
#include "client/client_int.h"

static void place_fill(struct client_place p, const void *from, size_t len)
{
	const char *at = from;

	while (len > 0) {
		size_t n;

		ASSERT(p.count > 0);
		n = (size_t)u64_min(len, p.iov->iov_len - p.used);
		bytes_copy((char *)p.iov->iov_base + p.used, at, n);
		at += n;
		len -= n;
		p.iov++;
		p.count--;
		p.used = 0;
	}
}

int client_inline_read(struct client *c, struct client_file *f, struct client_place place,
	uint64_t off, size_t *ret_len)
{
	uint64_t len = client_iov_len(place.iov, place.count);
	struct w_mds_read_req req = {
		.fid = f->inode->fid,
		.handle = f->handle,
		.offset = off,
		.length = (uint32_t)u64_min(len, LIM_INLINE_MAX),
	};
	struct w_mds_read_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_READ, .request = &req, .reply = &rep};
	int err;

	ASSERT(place.used == 0);
	err = client_mdt_call(c, &call);
	if (err != 0) {
		return err;
	}
	if (rep.data.len > len) {
		return -NE_BADMSG;
	}
	place_fill(place, rep.data.ptr, rep.data.len);
	c->counters.bytes_read += rep.data.len;
	*ret_len = rep.data.len;
	return 0;
}

static void gather(const struct client_inline_write *w, char *to)
{
	for (unsigned i = 0; i < w->iov_count; i++) {
		bytes_copy(to, w->iov[i].iov_base, w->iov[i].iov_len);
		to += w->iov[i].iov_len;
	}
}

int client_inline_write(struct client *c, const struct client_inline_write *w, size_t *ret_len)
{
	uint64_t len = client_iov_len(w->iov, w->iov_count);
	_cleanup_(free_ptr) char *buf = NULL;
	struct w_mds_write_req req = {
		.fid = w->f->inode->fid, .handle = w->f->handle, .offset = w->off};
	struct w_mds_write_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_WRITE, .request = &req, .reply = &rep};
	int err;

	ASSERT(len > 0);
	if (len > LIM_INLINE_MAX || (!w->append && w->off > LIM_INLINE_MAX - len)) {
		return -NE_FBIG;
	}
	buf = mem_alloc((size_t)len);
	if (buf == NULL) {
		return -NE_NOMEM;
	}
	gather(w, buf);
	req.data = wire_bytes_of(buf, (size_t)len);
	req.flags |= w->append ? W_WRITE_FLAGS_APPEND : 0;
	req.flags |= w->kill_suid ? W_WRITE_FLAGS_KILL_SUID : 0;
	req.flags |= (w->f->open_flags & W_OPEN_FLAGS_SYNC) != 0 ? W_WRITE_FLAGS_SYNC : 0;
	/* An append that was executed in a session now lost must not be executed again. */
	call.flags = w->append ? 0 : RPC_CALL_REPEATABLE;
	err = client_mdt_call(c, &call);
	if (err != 0) {
		return err;
	}
	client_inode_attr(w->f->inode, &rep.attr);
	w->f->inode->mdt_transno = u64_max(w->f->inode->mdt_transno, call.transno);
	c->counters.bytes_written += len;
	*ret_len = (size_t)len;
	return 0;
}
