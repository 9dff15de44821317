/*
 * READ and GETATTR.
 *
 * A read answers what the object has: bytes up to its size, zeros in its holes, nothing beyond. Whether
 * a missing object is a hole or a loss is decided by what the layout says (must_exist, RULES B2).
 *
 * Big reads take what is in the page cache from there and the rest past it, O_DIRECT into pooled buffers: page cache that
 * is filled costs more than the disk, and what is read once is not worth it. What is read by many at once is hot: it
 * goes through the page cache, and stays. Readers in order are read ahead for (oss_ahead.c).
 */
#include "oss/oss_int.h"

/* Smaller reads go through the page cache (bytes): on their own, and of somebody known to read in order. */
#define DIRECT_MIN (128 * KIB)
#define DIRECT_STREAM_MIN (16 * KIB)
/* Chunks ahead of a stream that is known to go on. */
#define STREAM_SURE 2
/* An object whose bytes were read this often past the page cache within that time is hot. */
#define HEAT_READS 3
#define HEAT_NS (30 * NS_PER_S)

struct read_buffer {
	struct bufpool *pool;
	void *buf;
};

static void read_buffer_release(void *arg)
{
	struct read_buffer *rb = arg;

	bufpool_put(rb->pool, rb->buf);
	mem_free(rb);
}

static struct read_buffer *read_buffer_new(struct bufpool *pool, size_t len)
{
	struct read_buffer *rb = mem_alloc(sizeof(*rb));

	if (rb == NULL) {
		return NULL;
	}
	rb->pool = pool;
	rb->buf = bufpool_get(pool, len);
	if (rb->buf == NULL) {
		mem_free(rb);
		return NULL;
	}
	return rb;
}

/* What many read at the same time had better stay in memory. */
static bool object_is_hot(struct oss *oss, struct oss_object *obj)
{
	uint64_t now = env_now(oss->env);

	if (now - obj->heat_ns > HEAT_NS) {
		obj->heat_ns = now;
		obj->heat_bytes = 0;
	}
	return obj->heat_bytes / HEAT_READS > obj->size;
}

/* Bytes of an object that a client wants; there are that many. */
struct reading {
	struct oss_object *obj;
	uint64_t off;
	size_t len;
	struct oss_stream *stream; /* NULL: on its own */
	bool direct; /* past the page cache, if they are not in it */
};

/* From what was, or is now being, read ahead. False: they are not in it. */
static bool read_ahead(struct oss *oss, struct rpc_request *req, const struct reading *r)
{
	struct oss_ahead *a;
	struct iovec iov;

	if (r->stream != NULL && r->direct) {
		oss_ahead_run(oss, r->obj, r->stream, r->off);
	}
	a = oss_ahead_take(oss, r->obj, r->off, r->len);
	if (a == NULL) {
		return false;
	}
	iov = (struct iovec){.iov_base = oss_ahead_at(a, r->off), .iov_len = r->len};
	rpc_request_bulk_out(req, &iov, 1, oss_ahead_release, a);
	return true;
}

/* Tries what is in memory first. */
static int read_into(
	struct oss *oss, struct rpc_request *req, struct reading *r, struct read_buffer *rb)
{
	struct iovec iov = {.iov_base = rb->buf, .iov_len = r->len};
	size_t got = 0;
	int err = 0;

	if (r->direct) {
		err = env_pread_cached(
			r->obj->file, rb->buf, r->len, OSS_HEADER_BYTES + r->off, &got);
	}
	if (err == 0 && got < r->len) {
		if (read_ahead(oss, req, r)) {
			read_buffer_release(rb);
			return 0;
		}
		err = oss_segments_read(oss, r->obj, rb->buf, r->len, r->off,
			r->direct ? OSS_READ_DIRECT : OSS_READ_CACHED);
	}
	if (err != 0) {
		read_buffer_release(rb);
		return err;
	}
	rpc_request_bulk_out(req, &iov, 1, read_buffer_release, rb);
	return 0;
}

static bool read_is_direct(struct oss *oss, const struct reading *r)
{
	bool sure = r->stream != NULL && r->stream->window >= STREAM_SURE;

	return r->len >= (sure ? DIRECT_STREAM_MIN : DIRECT_MIN) &&
		r->off % OSS_HEADER_BYTES == 0 && r->off + r->len <= OSS_SEGMENT_BYTES &&
		!object_is_hot(oss, r->obj);
}

static int read_bytes(struct oss *oss, struct rpc_request *req, struct reading *r)
{
	struct oss_object *obj = r->obj;
	struct read_buffer *rb;

	r->stream = oss_ahead_follow(obj, r->off, r->len);
	r->direct = read_is_direct(oss, r);
	obj->heat_bytes += r->direct ? r->len : 0;
	if (oss_ahead_has(obj, r->off) && read_ahead(oss, req, r)) {
		return 0;
	}
	rb = read_buffer_new(oss->bufpool, r->len);
	if (rb == NULL) {
		rpc_request_retry_after_set(req, NS_PER_MS);
		return -NE_RETRY;
	}
	return read_into(oss, req, r, rb);
}

static int read_object(struct oss *oss, struct rpc_request *req, struct oss_object *obj)
{
	const struct w_ost_read_req *in = req->body;
	struct reading r = {.obj = obj, .off = in->offset};
	struct w_ost_read_rep out;
	int err = 0;

	if (obj->exists && in->offset < obj->size) {
		r.len = (size_t)u64_min(in->length, obj->size - in->offset);
	}
	if (r.len > 0) {
		err = read_bytes(oss, req, &r);
	}
	if (err != 0) {
		return err;
	}
	oss->counters.reads++;
	oss->counters.bytes_read += r.len;
	err = oss_object_attr(oss, obj, &out.attr);
	return err != 0 ? err : rpc_request_reply(req, &out);
}

int oss_read(struct oss *oss, struct rpc_request *req)
{
	const struct w_ost_read_req *in = req->body;
	struct oss_object *obj = NULL;
	int err;

	if (in->length > LIM_MSG_BULK_MAX || in->offset > LIM_FILE_SIZE_MAX) {
		return -NE_INVAL;
	}
	err = oss_facts_check(oss, &in->object);
	if (err == 0) {
		err = oss_object_get(oss, in->object.data_fid, in->object.stripe, &obj);
	}
	if (err != 0) {
		return err;
	}
	oss_object_lock(oss, obj, false);
	/* The wait may have been for a destroy. */
	err = oss_facts_check(oss, &in->object);
	if (err == 0 && !obj->exists && in->must_exist) {
		char fid[FID_STR_MAX];

		err = -NE_LOST_OBJECT;
		log_error(OSS_LOG, "%s: object %s stripe %u is missing", oss->target,
			fid_format(in->object.data_fid, fid, sizeof(fid)), in->object.stripe);
	} else if (err == 0) {
		err = read_object(oss, req, obj);
	}
	oss_object_unlock(oss, obj, false);
	oss_object_put(oss, obj);
	return err;
}

static int getattr_one(
	struct oss *oss, const struct w_object_ref *ref, struct w_object_attr *ret_attr)
{
	struct oss_object *obj = NULL;
	int err = oss_facts_check(oss, ref);

	if (err == 0) {
		err = oss_object_get(oss, ref->data_fid, ref->stripe, &obj);
	}
	if (err != 0) {
		return err;
	}
	err = oss_object_attr(oss, obj, ret_attr);
	oss_object_put(oss, obj);
	return err;
}

int oss_getattr(struct oss *oss, struct rpc_request *req)
{
	const struct w_ost_getattr_req *in = req->body;
	struct w_object_attr *attrs = mem_zalloc_array(in->objects.count + 1, sizeof(*attrs));
	struct w_ost_getattr_rep out = {0};
	struct wire_iter it = w_object_ref_iter(&in->objects.view);
	struct w_object_ref ref;
	uint32_t n = 0;
	int err = 0;

	if (attrs == NULL) {
		return -NE_NOMEM;
	}
	while (err == 0 && w_object_ref_next(&it, &ref)) {
		err = getattr_one(oss, &ref, &attrs[n++]);
	}
	if (err == 0) {
		out.attrs.items = attrs;
		out.attrs.count = n;
		err = rpc_request_reply(req, &out);
	}
	mem_free(attrs);
	return err;
}
