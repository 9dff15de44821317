/* See data_box.h: what a client does, with the semantics of the real one. */
#include "data_check.h"

#include <sys/stat.h>

/* ---- calls ---- */

/* The reply of the last call lives until the next one of the same fiber. */
int dc_call(struct dcli_box *c, uint16_t op, const void *req, void *rep)
{
	struct rpc_call call = {.op = op, .request = req, .reply = rep};
	int r = rpc_call(c->mdt, &call);

	rpc_call_fini(&call);
	return r;
}

static void layout_take(struct dfile *f, const struct w_layout *l)
{
	f->objects = (l->flags & W_LAYOUT_FLAGS_INSTANTIATED) != 0;
	f->gen = l->gen;
	f->data_fid = l->data_fid;
	f->geom = (struct layout_geom){
		.stripe_size = l->stripe_size, .stripe_count = l->osts.view.count};
	for (uint32_t i = 0; i < l->osts.view.count; i++) {
		f->osts[i] = wire_u32_at(&l->osts.view, i);
	}
}

static void info_take(struct dfile *f, const struct w_inode_info *info)
{
	struct wire_iter it = w_layout_iter(&info->layouts.view);
	struct w_layout l;

	f->attr = info->attr;
	f->fid = info->attr.fid;
	if (w_layout_next(&it, &l)) {
		layout_take(f, &l);
	}
}

static struct dfile *file_new(struct dcli_box *c)
{
	for (unsigned i = 0; i < DFILES_MAX; i++) {
		if (!c->files[i].used) {
			memset(&c->files[i], 0, sizeof(c->files[i]));
			return &c->files[i];
		}
	}
	CHECK(false);
	return NULL;
}

/* The MDT may have started again while an open was on its way: it knows of the open what stands in its log, so the
 * handle is re-claimed. */
static int reclaim_late(struct dcli_box *c, struct dfile *f, uint32_t epoch)
{
	if (rpc_session_info(c->mdt)->epoch == epoch) {
		return 0;
	}

	int r = dbox_reclaim_one(c, c->mdt, f, false);

	/* Down again: the next connection's event claims it, as every file in use. */
	return r == -NE_CONNLOST ? 0 : r;
}

int dc_create_as(
	struct dcli_box *c, const char *name, const struct w_layout *layout, struct dfile **ret)
{
	struct dfile *f = file_new(c);
	struct w_mds_create_req req = {.cred = c->cred,
		.parent = fid_root(),
		.name = wire_str_of(name),
		.mode = S_IFREG | 0644,
		.flags = W_CREATE_FLAGS_OPEN | (layout != NULL ? W_CREATE_FLAGS_LAYOUT : 0),
		.open = W_OPEN_FLAGS_READ | W_OPEN_FLAGS_WRITE,
		.want = W_WANT_LAYOUT,
		.handle = ++c->handle_last};
	struct w_mds_create_rep rep = {0};
	struct rpc_call call = {.op = W_OP_MDS_CREATE, .request = &req, .reply = &rep};
	uint32_t epoch = rpc_session_info(c->mdt)->epoch;
	int r;

	if (layout != NULL) {
		req.layouts.items = layout;
		req.layouts.count = 1;
	}
	r = rpc_call(c->mdt, &call);
	if (r == 0) {
		info_take(f, &rep.info);
		f->used = true;
		f->handle = req.handle;
		f->flags = req.open;
		*ret = f;
	}
	rpc_call_fini(&call);
	return r < 0 ? r : reclaim_late(c, f, epoch);
}

struct dfile *dc_create(struct dcli_box *c, const char *name, const struct w_layout *layout)
{
	struct dfile *f = NULL;

	CHECK_EQ(dc_create_as(c, name, layout, &f), 0);
	return f;
}

int dc_lookup(struct dcli_box *c, const char *name, struct w_attr *ret)
{
	struct w_mds_lookup_req req = {
		.cred = c->cred, .parent = fid_root(), .name = wire_str_of(name)};
	struct w_mds_lookup_rep rep = {0};
	int r = dc_call(c, W_OP_MDS_LOOKUP, &req, &rep);

	if (r == 0) {
		*ret = rep.info.attr;
	}
	return r;
}

int dc_getattr(struct dcli_box *c, struct fid fid, struct w_attr *ret)
{
	struct w_mds_getattr_req req = {.cred = c->cred, .fid = fid};
	struct w_mds_getattr_rep rep = {0};
	int r = dc_call(c, W_OP_MDS_GETATTR, &req, &rep);

	if (r == 0) {
		*ret = rep.info.attr;
	}
	return r;
}

int dc_settle(struct dcli_box *c, const struct w_attr *attr)
{
	struct w_mds_getattr_req req = {.cred = c->cred, .fid = attr->fid, .want = W_WANT_SETTLED};
	struct w_mds_getattr_rep rep = {0};
	int r = (attr->state & W_ATTR_STATE_SETTLING) == 0
		? 0
		: dc_call(c, W_OP_MDS_GETATTR, &req, &rep);

	return r == -NE_STALE ? 0 : r;
}

int dc_open_fid(struct dcli_box *c, struct fid fid, uint32_t flags, struct dfile **ret)
{
	struct dfile *f = file_new(c);
	struct w_mds_open_req req = {.cred = c->cred,
		.fid = fid,
		.open = flags,
		.handle = ++c->handle_last,
		.want = W_WANT_LAYOUT};
	struct w_mds_open_rep rep = {0};
	struct rpc_call call = {.op = W_OP_MDS_OPEN, .request = &req, .reply = &rep};
	uint32_t epoch = rpc_session_info(c->mdt)->epoch;
	int r = rpc_call(c->mdt, &call);

	sim_note(c->box->sim, "open fid %#x flags %#x: %d", fid.oid, flags, r);
	if (r == 0) {
		info_take(f, &rep.info);
		f->used = true;
		f->handle = req.handle;
		f->flags = flags & ~W_OPEN_FLAGS_TRUNC;
		f->size = f->attr.size;
		f->blocks = f->attr.blocks;
		*ret = f;
	}
	rpc_call_fini(&call);
	if (r == 0) {
		r = reclaim_late(c, f, epoch);
	}
	return r < 0 ? r : dc_settle(c, &f->attr);
}

struct dfile *dc_open(struct dcli_box *c, const char *name, uint32_t flags)
{
	struct w_attr attr;
	struct dfile *f = NULL;

	CHECK_EQ(dc_lookup(c, name, &attr), 0);
	CHECK_EQ(dc_open_fid(c, attr.fid, flags, &f), 0);
	return f;
}

static struct w_size_report report_of(const struct dfile *f, bool report)
{
	struct w_size_report r = {.valid = report};

	if (report) {
		r.size = f->size;
		r.blocks = f->blocks;
		r.mtime = f->mtime;
		r.stripes_present = wire_bytes_of(f->present, (f->geom.stripe_count + 7) / 8);
	}
	return r;
}

int dc_close(struct dcli_box *c, struct dfile *f, bool report)
{
	struct w_mds_close_req req = {
		.fid = f->fid, .handle = f->handle, .report = report_of(f, report && f->objects)};
	struct w_mds_close_rep rep = {0};
	uint32_t epoch = rpc_session_info(c->mdt)->epoch;
	bool ready = rpc_session_state(c->mdt) == RPC_SESSION_READY;
	int r;

	/* From here on it is not re-claimed: if the close was executed before the MDT started again, that stands; if not,
	 * the open is forgotten with the start, and the size is asked for. */
	f->used = false;
	sim_note(c->box->sim, "close fid %#x handle %" PRIu64 " report %d size %" PRIu64,
		f->fid.oid, f->handle, req.report.valid, req.report.size);
	r = dc_call(c, W_OP_MDS_CLOSE, &req, &rep);
	if (r == -NE_BADF && (!ready || rpc_session_info(c->mdt)->epoch != epoch)) {
		return 0;
	}
	return r;
}

static struct w_object_ref ref_of(const struct dfile *f, uint32_t stripe)
{
	return (struct w_object_ref){.data_fid = f->data_fid,
		.stripe = stripe,
		.layout_gen = f->gen,
		.file_fid = f->fid};
}

static int layout_refresh(struct dcli_box *c, struct dfile *f)
{
	struct w_mds_getattr_req req = {.cred = c->cred, .fid = f->fid, .want = W_WANT_LAYOUT};
	struct w_mds_getattr_rep rep = {0};
	struct rpc_call call = {.op = W_OP_MDS_GETATTR, .request = &req, .reply = &rep};
	int r = rpc_call(c->mdt, &call);

	if (r == 0) {
		info_take(f, &rep.info);
	}
	rpc_call_fini(&call);
	return r;
}

int dc_instantiate(struct dcli_box *c, struct dfile *f)
{
	struct w_mds_instantiate_req req = {.fid = f->fid, .handle = f->handle};
	struct w_mds_instantiate_rep rep = {0};
	struct rpc_call call = {.op = W_OP_MDS_INSTANTIATE, .request = &req, .reply = &rep};
	int r = rpc_call(c->mdt, &call);

	if (r == 0) {
		info_take(f, &rep.info);
		CHECK(f->objects);
		f->size = f->attr.size;
	}
	rpc_call_fini(&call);
	return r;
}

static int object_write(
	struct dcli_box *c, struct dfile *f, struct layout_extent e, const uint8_t *buf)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = e.len};
	struct w_ost_write_req req = {.object = ref_of(f, e.stripe),
		.offset = e.object_off,
		.length = (uint32_t)e.len,
		.flags = W_OST_WRITE_FLAGS_SYNC};
	struct w_ost_write_rep rep = {0};
	struct rpc_call call = {.op = W_OP_OST_WRITE,
		.flags = RPC_CALL_REPEATABLE,
		.request = &req,
		.reply = &rep,
		.bulk_out = &iov,
		.bulk_out_count = 1};
	int r = rpc_call(c->ost[f->osts[e.stripe]], &call);

	if (r == 0) {
		f->wrote = true;
		f->present[e.stripe / 8] |= (uint8_t)(1 << e.stripe % 8);
		f->mtime = i64_max(f->mtime, rep.attr.mtime);
		f->size = u64_max(f->size, e.file_off + e.len);
	}
	rpc_call_fini(&call);
	return r;
}

static int objects_write(
	struct dcli_box *c, struct dfile *f, uint64_t off, const uint8_t *buf, size_t len)
{
	while (len > 0) {
		struct layout_extent e = layout_extent_at(&f->geom, off, u64_min(len, 256 * KIB));
		int r = object_write(c, f, e, buf);

		if (r < 0) {
			return r;
		}
		off += e.len;
		buf += e.len;
		len -= e.len;
	}
	return 0;
}

static int inline_write(struct dcli_box *c, struct dfile *f, uint64_t off, uint32_t flags,
	const void *buf, size_t len)
{
	struct w_mds_write_req req = {.fid = f->fid,
		.handle = f->handle,
		.offset = off,
		.flags = flags,
		.data = wire_bytes_of(buf, len)};
	struct w_mds_write_rep rep = {0};

	if (len > LIM_INLINE_MAX) {
		return -NE_FBIG;
	}
	return dc_call(c, W_OP_MDS_WRITE, &req, &rep);
}

/* Writes inline, or makes sure that there are objects: 0 done, 1 objects. */
static int write_prepare(struct dcli_box *c, struct dfile *f, uint64_t off, uint32_t flags,
	const void *buf, size_t len)
{
	int r = 0;

	if (f->objects) {
		return 1;
	}
	r = inline_write(c, f, off, flags, buf, len);
	if (r == -NE_LAYOUT_CHANGED) {
		r = layout_refresh(c, f);
		return r < 0 ? r : 1;
	}
	if (r == -NE_FBIG) {
		r = dc_instantiate(c, f);
		return r < 0 ? r : 1;
	}
	return r;
}

int dc_write(struct dcli_box *c, struct dfile *f, uint64_t off, const void *buf, size_t len)
{
	int r = write_prepare(c, f, off, W_WRITE_FLAGS_SYNC, buf, len);

	sim_note(c->box->sim, "write fid %#x off %" PRIu64 " len %zu: %d", f->fid.oid, off, len, r);
	return r <= 0 ? r : objects_write(c, f, off, buf, len);
}

int dc_append(struct dcli_box *c, struct dfile *f, const void *buf, size_t len)
{
	struct w_mds_append_begin_req req = {.fid = f->fid, .handle = f->handle, .length = len};
	struct w_mds_append_begin_rep rep = {0};
	struct w_mds_append_end_req end = {.fid = f->fid, .handle = f->handle};
	struct w_mds_append_end_rep end_rep = {0};
	int r = write_prepare(c, f, 0, W_WRITE_FLAGS_APPEND, buf, len);

	if (r <= 0) {
		return r;
	}
	r = dc_call(c, W_OP_MDS_APPEND_BEGIN, &req, &rep);
	if (r < 0) {
		return r;
	}
	r = objects_write(c, f, rep.offset, buf, len);
	end.token = rep.token;
	end.size = rep.offset + len;
	CHECK_EQ(dc_call(c, W_OP_MDS_APPEND_END, &end, &end_rep), 0);
	return r;
}

/* ---- sizes and reads ---- */

static int object_attr(
	struct dcli_box *c, struct dfile *f, uint32_t stripe, struct w_object_attr *ret_attr)
{
	struct w_object_ref ref = ref_of(f, stripe);
	struct w_ost_getattr_req req = {0};
	struct w_ost_getattr_rep rep = {0};
	struct rpc_call call = {.op = W_OP_OST_GETATTR, .request = &req, .reply = &rep};
	int r;

	req.objects.items = &ref;
	req.objects.count = 1;
	r = rpc_call(c->ost[f->osts[stripe]], &call);
	if (r == 0) {
		struct wire_iter it = w_object_attr_iter(&rep.attrs.view);

		CHECK(w_object_attr_next(&it, ret_attr));
	}
	rpc_call_fini(&call);
	return r;
}

int dc_size(struct dcli_box *c, struct dfile *f, uint64_t *ret_size)
{
	int r = layout_refresh(c, f);
	uint64_t size = 0;

	if (r < 0 || (f->attr.state & W_ATTR_STATE_SIZE_OPEN) == 0) {
		*ret_size = f->attr.size;
		return r;
	}
	for (uint32_t i = 0; i < f->geom.stripe_count; i++) {
		struct w_object_attr attr;

		r = object_attr(c, f, i, &attr);
		if (r < 0) {
			return r;
		}
		size = u64_max(size, layout_file_size(&f->geom, i, attr.exists ? attr.size : 0));
	}
	*ret_size = size;
	return 0;
}

static int object_read(struct dcli_box *c, struct dfile *f, struct layout_extent e, uint8_t *buf)
{
	struct iovec iov = {.iov_base = buf, .iov_len = e.len};
	struct w_ost_read_req req = {
		.object = ref_of(f, e.stripe), .offset = e.object_off, .length = (uint32_t)e.len};
	struct w_ost_read_rep rep = {0};
	struct rpc_call call = {.op = W_OP_OST_READ,
		.request = &req,
		.reply = &rep,
		.bulk_in = &iov,
		.bulk_in_count = 1};
	int r = rpc_call(c->ost[f->osts[e.stripe]], &call);

	if (r == 0 && call.bulk_in_len < e.len) {
		memset(buf + call.bulk_in_len, 0, e.len - call.bulk_in_len);
	}
	rpc_call_fini(&call);
	return r;
}

static int inline_read(struct dcli_box *c, struct dfile *f, uint64_t off, void *buf, size_t len)
{
	struct w_mds_read_req req = {
		.fid = f->fid, .handle = f->handle, .offset = off, .length = (uint32_t)len};
	struct w_mds_read_rep rep = {0};
	struct rpc_call call = {.op = W_OP_MDS_READ, .request = &req, .reply = &rep};
	int r = rpc_call(c->mdt, &call);

	if (r == 0) {
		bytes_copy(buf, rep.data.ptr, rep.data.len);
		r = (int)rep.data.len;
	}
	rpc_call_fini(&call);
	return r;
}

int dc_read(struct dcli_box *c, struct dfile *f, uint64_t off, void *buf, size_t len)
{
	uint64_t size = 0;
	size_t done = 0;
	int r = dc_size(c, f, &size);

	if (r < 0) {
		return r;
	}
	if (!f->objects) {
		return inline_read(c, f, off, buf, len);
	}
	len = off >= size ? 0 : u64_min(len, size - off);
	while (done < len) {
		struct layout_extent e =
			layout_extent_at(&f->geom, off + done, u64_min(len - done, 256 * KIB));

		r = object_read(c, f, e, (uint8_t *)buf + done);
		if (r < 0) {
			return r;
		}
		done += e.len;
	}
	return (int)done;
}

int dc_fsync(struct dcli_box *c, struct dfile *f)
{
	struct w_mds_size_req req = {
		.fid = f->fid, .handle = f->handle, .report = report_of(f, f->objects)};
	struct w_mds_size_rep rep = {0};
	int r = dc_call(c, W_OP_MDS_SIZE, &req, &rep);

	sim_note(c->box->sim, "fsync fid %#x report %d size %" PRIu64, f->fid.oid, req.report.valid,
		req.report.size);
	if (r == 0) {
		f->attr = rep.attr;
	}
	return r;
}

int dc_truncate(struct dcli_box *c, struct fid fid, uint64_t handle, uint64_t size)
{
	struct w_mds_setattr_req req = {.cred = c->cred,
		.fid = fid,
		.handle = handle,
		.valid = W_SETATTR_VALID_SIZE,
		.size = size};
	struct w_mds_setattr_rep rep = {0};
	int r;

	sim_note(c->box->sim, "truncate fid %#x handle %" PRIu64 " size %" PRIu64, fid.oid, handle,
		size);
	r = dc_call(c, W_OP_MDS_SETATTR, &req, &rep);
	if (r == 0) {
		r = dc_settle(c, &rep.info.attr);
	}
	for (unsigned i = 0; i < DFILES_MAX && r == 0; i++) {
		if (c->files[i].used && fid_eq(c->files[i].fid, fid)) {
			c->files[i].size = size;
		}
	}
	return r;
}

int dc_unlink(struct dcli_box *c, const char *name)
{
	struct w_mds_unlink_req req = {
		.cred = c->cred, .parent = fid_root(), .name = wire_str_of(name)};
	struct w_mds_unlink_rep rep = {0};

	return dc_call(c, W_OP_MDS_UNLINK, &req, &rep);
}

int dc_layout_get(
	struct dcli_box *c, struct fid fid, struct w_layout *ret, uint32_t *osts, char *pool)
{
	struct w_mds_layout_get_req req = {.cred = c->cred, .fid = fid};
	struct w_mds_layout_get_rep rep = {0};
	struct rpc_call call = {.op = W_OP_MDS_LAYOUT_GET, .request = &req, .reply = &rep};
	int r = rpc_call(c->mdt, &call);

	if (r == 0) {
		*ret = rep.layout;
		ret->osts.count = rep.layout.osts.view.count;
		for (uint32_t i = 0; i < ret->osts.count && osts != NULL; i++) {
			osts[i] = wire_u32_at(&rep.layout.osts.view, i);
		}
		if (pool != NULL) {
			CHECK_EQ(wire_str_copy(rep.layout.pool, pool, LIM_POOL_NAME_MAX + 1), 0);
		}
	}
	rpc_call_fini(&call);
	return r;
}
