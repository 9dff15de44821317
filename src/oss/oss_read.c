/*
 * READ and GETATTR.
 *
 * A read answers what the object has: bytes up to its size, zeros in its holes, nothing beyond. Whether
 * a missing object is a hole or a loss is decided by what the layout says (must_exist, RULES B2).
 */
#include "oss/oss_int.h"

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

static int read_object(struct oss *oss, struct rpc_request *req, struct oss_object *obj)
{
	const struct w_ost_read_req *in = req->body;
	struct w_ost_read_rep out;
	struct read_buffer *rb;
	struct iovec iov;
	size_t len = 0;
	int err;

	if (obj->exists && in->offset < obj->size) {
		len = (size_t)u64_min(in->length, obj->size - in->offset);
	}
	if (len > 0) {
		rb = read_buffer_new(oss->bufpool, len);
		if (rb == NULL) {
			rpc_request_retry_after_set(req, NS_PER_MS);
			return -NE_RETRY;
		}
		err = oss_segments_read(oss, obj, rb->buf, len, in->offset);
		if (err != 0) {
			read_buffer_release(rb);
			return err;
		}
		iov = (struct iovec){.iov_base = rb->buf, .iov_len = len};
		rpc_request_bulk_out(req, &iov, 1, read_buffer_release, rb);
	}
	oss->counters.reads++;
	oss->counters.bytes_read += len;
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
