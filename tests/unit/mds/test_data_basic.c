/*
 * The data side over the real transport: layouts, opens, inline data, objects, truncates, orphans, appends.
 */
#include <sys/stat.h>

#include "data_box.h"
#include "test.h"

#define RW (W_OPEN_FLAGS_READ | W_OPEN_FLAGS_WRITE)

static uint8_t buf[1 << 20];
static uint8_t got[1 << 20];

static void fill(uint8_t *b, size_t len, uint8_t seed)
{
	for (size_t i = 0; i < len; i++) {
		b[i] = (uint8_t)(seed + i * 7 + (i >> 8));
	}
}

static void run1(dcli_fn *fn, unsigned osts)
{
	struct dbox *b = calloc(1, sizeof(*b));

	dbox_init(b, 1, osts);
	dbox_run(b, &fn, 1);
	dbox_fini(b);
	free(b);
}

static void wide_layout(struct w_layout *l, uint16_t count)
{
	*l = (struct w_layout){.stripe_size = 64 * KIB, .stripe_count = count, .first_ost = 0xffff};
}

/* ---- inline ---- */

static void inline_body(struct dcli_box *c)
{
	struct dfile *f = dc_create(c, "small", NULL);
	struct w_attr attr;

	CHECK_EQ(f->attr.state, W_ATTR_STATE_INLINE);
	CHECK(!f->objects);
	CHECK_EQ(f->geom.stripe_count, 1);
	fill(buf, 4000, 1);
	CHECK_EQ(dc_write(c, f, 0, buf, 100), 0);
	CHECK_EQ(dc_read(c, f, 0, got, 4000), 100);
	CHECK_EQ(memcmp(got, buf, 100), 0);
	/* A hole, over a piece's border. */
	CHECK_EQ(dc_write(c, f, 3000, buf + 3000, 1000), 0);
	CHECK_EQ(dc_read(c, f, 0, got, 5000), 4000);
	CHECK_EQ(memcmp(got, buf, 100), 0);
	CHECK_EQ(memcmp(got + 3000, buf + 3000, 1000), 0);
	for (unsigned i = 100; i < 3000; i++) {
		CHECK_EQ(got[i], 0);
	}
	CHECK_EQ(dc_truncate(c, f->fid, f->handle, 50), 0);
	CHECK_EQ(dc_truncate(c, f->fid, 0, 2000), 0);
	CHECK_EQ(dc_read(c, f, 0, got, 4000), 2000);
	CHECK_EQ(memcmp(got, buf, 50), 0);
	for (unsigned i = 50; i < 2000; i++) {
		CHECK_EQ(got[i], 0);
	}
	CHECK_EQ(dc_append(c, f, "xyz", 3), 0);
	CHECK_EQ(dc_read(c, f, 1999, got, 10), 4);
	CHECK_EQ(memcmp(got, "\0xyz", 4), 0);
	CHECK_EQ(dc_close(c, f, true), 0);
	CHECK_EQ(dc_close(c, f, true), -NE_BADF);
	CHECK_EQ(dc_lookup(c, "small", &attr), 0);
	CHECK_EQ(attr.size, 2003);
	CHECK_EQ(attr.blocks, 4);
	dbox_settle(c);
	CHECK_EQ(dbox_objects(c->box), 0);
	CHECK_EQ(dc_unlink(c, "small"), 0);
	dbox_settle(c);
}

TEST(inline_data)
{
	run1(inline_body, 2);
}

/* ---- inline ranges, and what a change of data takes away ---- */

#define KEEP W_FALLOCATE_FLAGS_KEEP_SIZE
#define PUNCH (W_FALLOCATE_FLAGS_PUNCH | W_FALLOCATE_FLAGS_KEEP_SIZE)
#define ZERO W_FALLOCATE_FLAGS_ZERO

static int allocate(struct dcli_box *c, struct dfile *f, uint64_t off, uint64_t len, uint32_t flags)
{
	struct w_mds_fallocate_req req = {
		.fid = f->fid, .handle = f->handle, .offset = off, .length = len, .flags = flags};
	struct w_mds_fallocate_rep rep = {0};
	int r = dc_call(c, W_OP_MDS_FALLOCATE, &req, &rep);

	if (r == 0) {
		f->attr = rep.attr;
	}
	return r;
}

static int capability_set(struct dcli_box *c, struct fid fid, uint32_t flags)
{
	struct w_mds_setxattr_req req = {.cred = c->cred,
		.fid = fid,
		.name = wire_str_of("security.capability"),
		.flags = flags,
		.value = wire_bytes_of("capability", 10)};
	struct w_mds_setxattr_rep rep = {0};

	return dc_call(c, W_OP_MDS_SETXATTR, &req, &rep);
}

static bool capable(struct dcli_box *c, struct fid fid)
{
	struct w_attr attr;

	CHECK_EQ(dc_getattr(c, fid, &attr), 0);
	return (attr.state & W_ATTR_STATE_CAPABILITY) != 0;
}

static void ranges_body(struct dcli_box *c)
{
	struct dfile *f = dc_create(c, "ranges", NULL);

	fill(buf, 4000, 1);
	CHECK_EQ(dc_write(c, f, 0, buf, 2000), 0);
	CHECK_EQ(allocate(c, f, 100, 1500, PUNCH), 0);
	CHECK_EQ(allocate(c, f, 1990, 100, ZERO | KEEP), 0);
	CHECK_EQ(f->attr.size, 2000);
	memset(buf + 100, 0, 1500);
	memset(buf + 1990, 0, 10);
	CHECK_EQ(allocate(c, f, 0, 3000, KEEP), 0);
	CHECK_EQ(f->attr.size, 2000);
	CHECK_EQ(allocate(c, f, 0, 3000, 0), 0);
	CHECK_EQ(allocate(c, f, 3500, 500, ZERO), 0);
	CHECK_EQ(f->attr.size, 4000);
	CHECK_EQ(dc_read(c, f, 0, got, 4000), 4000);
	CHECK_EQ(memcmp(got, buf, 2000), 0);
	for (unsigned i = 2000; i < 4000; i++) {
		CHECK_EQ(got[i], 0);
	}
	/* Beyond the limit objects have to promise; a hole there is one already. */
	CHECK_EQ(allocate(c, f, 3999, 2, 0), -NE_FBIG);
	CHECK_EQ(allocate(c, f, 3999, 2, KEEP), -NE_FBIG);
	CHECK_EQ(allocate(c, f, 1 << 20, 1 << 20, PUNCH), 0);
	CHECK_EQ(allocate(c, f, 0, 0, 0), -NE_INVAL);
	CHECK_EQ(allocate(c, f, 0, 1, W_FALLOCATE_FLAGS_PUNCH), -NE_INVAL);
	CHECK_EQ(allocate(c, f, UINT64_MAX, 1, KEEP), -NE_INVAL);
	/* A write, a range and a truncate each take the capability. */
	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQ(capability_set(c, f->fid, 0), 0);
		CHECK(capable(c, f->fid));
		CHECK_EQ(i == 0          ? dc_write(c, f, 0, buf, 1)
				: i == 1 ? allocate(c, f, 0, 1, PUNCH)
					 : dc_truncate(c, f->fid, f->handle, 10),
			0);
		CHECK(!capable(c, f->fid));
	}
	CHECK_EQ(capability_set(c, f->fid, W_SETXATTR_FLAGS_REMOVE), -NE_NODATA);
	CHECK_EQ(dc_instantiate(c, f), 0);
	CHECK_EQ(allocate(c, f, 0, 10, 0), -NE_LAYOUT_CHANGED);
	CHECK_EQ(dc_close(c, f, true), 0);
	CHECK_EQ(allocate(c, f, 0, 10, 0), -NE_BADF);
	CHECK_EQ(dc_unlink(c, "ranges"), 0);
	dbox_settle(c);
}

TEST(inline_ranges)
{
	run1(ranges_body, 2);
}

/* ---- objects ---- */

static void grow_body(struct dcli_box *c)
{
	struct w_layout wide;
	struct dfile *f;
	struct w_attr attr;

	wide_layout(&wide, 3);
	f = dc_create(c, "big", &wide);
	fill(buf, sizeof(buf), 5);
	CHECK_EQ(dc_write(c, f, 0, buf, 3000), 0);
	CHECK(!f->objects);
	/* Outgrows the MDT: the bytes move. */
	CHECK_EQ(dc_write(c, f, 3000, buf + 3000, 500000), 0);
	CHECK(f->objects);
	CHECK(f->attr.state & W_ATTR_STATE_SIZE_OPEN);
	CHECK_EQ(f->geom.stripe_count, 3);
	CHECK_EQ(dc_read(c, f, 0, got, sizeof(got)), 503000);
	CHECK_EQ(memcmp(got, buf, 503000), 0);
	CHECK_EQ(dc_fsync(c, f), 0);
	CHECK_EQ(f->attr.size, 503000);
	CHECK(f->attr.state & W_ATTR_STATE_SIZE_OPEN);
	CHECK_EQ(dc_close(c, f, true), 0);
	CHECK_EQ(dc_lookup(c, "big", &attr), 0);
	CHECK_EQ(attr.size, 503000);
	CHECK_EQ(attr.state, W_ATTR_STATE_INSTANTIATED);
	/* A writer that tells nothing: the OSTs are asked. */
	f = dc_open(c, "big", RW);
	CHECK(f->attr.state & W_ATTR_STATE_SIZE_OPEN);
	CHECK_EQ(dc_write(c, f, 600000, buf, 1000), 0);
	CHECK_EQ(dc_close(c, f, false), 0);
	dbox_settle(c);
	CHECK_EQ(dc_lookup(c, "big", &attr), 0);
	CHECK_EQ(attr.size, 601000);
	CHECK_EQ(attr.state, W_ATTR_STATE_INSTANTIATED);
	CHECK(attr.mtime > attr.btime);
	CHECK_EQ(dbox_objects(c->box), 3);
	CHECK_EQ(dc_unlink(c, "big"), 0);
	dbox_settle(c);
	CHECK_EQ(dbox_objects(c->box), 0);
}

TEST(growth)
{
	run1(grow_body, 3);
}

static void truncate_body(struct dcli_box *c)
{
	struct w_layout wide;
	struct dfile *f;
	struct w_attr attr;
	uint64_t size = 0;
	struct fid data_fid;

	wide_layout(&wide, 4);
	f = dc_create(c, "t", &wide);
	fill(buf, sizeof(buf), 9);
	CHECK_EQ(dc_write(c, f, 0, buf, 700000), 0);
	CHECK_EQ(dc_truncate(c, f->fid, f->handle, 300001), 0);
	CHECK_EQ(dc_size(c, f, &size), 0);
	CHECK_EQ(size, 300001);
	CHECK_EQ(dc_truncate(c, f->fid, 0, 900000), 0);
	CHECK_EQ(dc_read(c, f, 0, got, sizeof(got)), 900000);
	CHECK_EQ(memcmp(got, buf, 300001), 0);
	for (unsigned i = 300001; i < 900000; i++) {
		CHECK_EQ(got[i], 0);
	}
	CHECK_EQ(dc_close(c, f, true), 0);
	dbox_settle(c);
	CHECK_EQ(dc_lookup(c, "t", &attr), 0);
	CHECK_EQ(attr.size, 900000);
	/* Nobody has it open: a truncate to nothing takes new objects. */
	f = dc_open(c, "t", W_OPEN_FLAGS_READ);
	data_fid = f->data_fid;
	CHECK_EQ(dc_close(c, f, false), 0);
	f = dc_open(c, "t", RW | W_OPEN_FLAGS_TRUNC);
	CHECK(!fid_eq(f->data_fid, data_fid));
	CHECK_EQ(f->attr.size, 0);
	CHECK_EQ(f->attr.state, W_ATTR_STATE_INLINE);
	CHECK_EQ(dc_write(c, f, 0, buf, 10), 0);
	CHECK_EQ(dc_close(c, f, false), 0);
	dbox_settle(c);
	CHECK_EQ(dbox_objects(c->box), 0);
	/* Beyond the inline limit by truncate alone, with bytes. */
	CHECK_EQ(dc_truncate(c, attr.fid, 0, 100000), 0);
	f = dc_open(c, "t", RW);
	CHECK(f->objects);
	CHECK_EQ(dc_read(c, f, 0, got, sizeof(got)), 100000);
	CHECK_EQ(memcmp(got, buf, 10), 0);
	CHECK_EQ(got[10], 0);
	CHECK_EQ(got[99999], 0);
	/* Others have it open: the objects are cut. */
	CHECK_EQ(dc_close(c, dc_open(c, "t", RW | W_OPEN_FLAGS_TRUNC), false), 0);
	CHECK_EQ(dc_size(c, f, &size), 0);
	CHECK_EQ(size, 0);
	CHECK_EQ(dc_close(c, f, false), 0);
	dbox_settle(c);
	CHECK_EQ(dc_lookup(c, "t", &attr), 0);
	CHECK_EQ(attr.size, 0);
	CHECK_EQ(dc_truncate(c, attr.fid, 0, (uint64_t)INT64_MAX + 1), -NE_FBIG);
	CHECK_EQ(dc_truncate(c, attr.fid, 0, INT64_MAX), 0);
	CHECK_EQ(dc_lookup(c, "t", &attr), 0);
	CHECK_EQ(attr.size, INT64_MAX);
	CHECK_EQ(dc_truncate(c, attr.fid, 0, 5), 0);
	dbox_settle(c);
	CHECK_EQ(dc_unlink(c, "t"), 0);
	dbox_settle(c);
	CHECK_EQ(dbox_objects(c->box), 0);
}

TEST(truncates)
{
	run1(truncate_body, 4);
}

/* ---- orphans ---- */

static void orphan_body(struct dcli_box *c)
{
	struct w_layout wide;
	struct dfile *f;
	struct dfile *g;
	struct dfile *h = NULL;
	struct w_attr attr;

	wide_layout(&wide, 2);
	f = dc_create(c, "gone", &wide);
	fill(buf, sizeof(buf), 3);
	CHECK_EQ(dc_write(c, f, 0, buf, 200000), 0);
	g = dc_open(c, "gone", W_OPEN_FLAGS_READ);
	CHECK_EQ(dc_unlink(c, "gone"), 0);
	CHECK_EQ(dc_lookup(c, "gone", &attr), -NE_NOENT);
	CHECK_EQ(dc_getattr(c, f->fid, &attr), 0);
	CHECK_EQ(attr.nlink, 0);
	CHECK(attr.state & W_ATTR_STATE_ORPHAN);
	CHECK_EQ(dc_write(c, f, 200000, buf, 1000), 0);
	CHECK_EQ(dc_close(c, f, true), 0);
	CHECK_EQ(dc_read(c, g, 0, got, sizeof(got)), 201000);
	CHECK_EQ(memcmp(got, buf, 200000), 0);
	dbox_settle(c);
	CHECK_EQ(dbox_objects(c->box), 2);
	CHECK_EQ(dc_open_fid(c, g->fid, W_OPEN_FLAGS_READ, &h), 0);
	CHECK_EQ(dc_close(c, h, false), 0);
	CHECK_EQ(dc_close(c, g, false), 0);
	CHECK_EQ(dc_getattr(c, attr.fid, &attr), -NE_STALE);
	dbox_settle(c);
	CHECK_EQ(dbox_objects(c->box), 0);
	/* With inline data, and left to the session's end. */
	f = dc_create(c, "gone2", NULL);
	CHECK_EQ(dc_write(c, f, 0, buf, 2000), 0);
	CHECK_EQ(dc_unlink(c, "gone2"), 0);
	CHECK_EQ(dc_read(c, f, 0, got, sizeof(got)), 2000);
}

TEST(orphans)
{
	run1(orphan_body, 2);
}

/* ---- layouts ---- */

static int layout_set(struct dcli_box *c, struct fid fid, const struct w_layout *l, bool remove)
{
	struct w_mds_layout_set_req req = {
		.cred = c->cred, .fid = fid, .layout = *l, .remove = remove};
	struct w_mds_layout_set_rep rep = {0};

	return dc_call(c, W_OP_MDS_LAYOUT_SET, &req, &rep);
}

static struct fid mkdir_in(struct dcli_box *c, struct fid parent, const char *name)
{
	struct w_mds_create_req req = {.cred = c->cred,
		.parent = parent,
		.name = wire_str_of(name),
		.mode = S_IFDIR | 0755};
	struct w_mds_create_rep rep = {0};

	CHECK_EQ(dc_call(c, W_OP_MDS_CREATE, &req, &rep), 0);
	return rep.info.attr.fid;
}

static void impossible_layouts(struct dcli_box *c, const struct w_layout *pooled)
{
	struct w_layout bad = *pooled;
	struct dfile *f = NULL;

	bad.pool = wire_str_of("slow");
	CHECK_EQ(dc_create_as(c, "bad", &bad, &f), -NE_NOPOOL);
	wide_layout(&bad, 1);
	bad.stripe_size = 100000;
	CHECK_EQ(dc_create_as(c, "bad", &bad, &f), -NE_INVAL);
	wide_layout(&bad, 1);
	bad.first_ost = 9;
	CHECK_EQ(dc_create_as(c, "bad", &bad, &f), -NE_INVAL);
	wide_layout(&bad, 2001);
	CHECK_EQ(dc_create_as(c, "bad", &bad, &f), -NE_INVAL);
	bad = *pooled;
	bad.first_ost = 0;
	CHECK_EQ(dc_create_as(c, "bad", &bad, &f), -NE_INVAL);
}

static void layout_body(struct dcli_box *c)
{
	static uint32_t osts[LIM_STRIPE_COUNT_MAX];
	static uint32_t list[3] = {2, 0, 3};
	char pool[16];
	struct w_layout l;
	struct dfile *f = NULL;
	struct fid dir;
	struct fid sub;

	/* Directories: the file system's default, their own, inherited. */
	CHECK_EQ(dc_layout_get(c, fid_root(), &l, osts, pool), 0);
	CHECK_EQ(l.stripe_count, 1);
	CHECK_EQ(l.stripe_size, LIM_STRIPE_SIZE_DEFAULT);
	dir = mkdir_in(c, fid_root(), "d");
	wide_layout(&l, 3);
	CHECK_EQ(layout_set(c, dir, &l, false), 0);
	sub = mkdir_in(c, dir, "sub");
	CHECK_EQ(dc_layout_get(c, sub, &l, osts, pool), 0);
	CHECK_EQ(l.stripe_count, 3);
	CHECK(l.flags & W_LAYOUT_FLAGS_DIRECTORY);
	CHECK_EQ(layout_set(c, dir, &l, true), 0);
	CHECK_EQ(layout_set(c, dir, &l, true), 0);
	CHECK_EQ(dc_layout_get(c, dir, &l, osts, pool), 0);
	CHECK_EQ(l.stripe_count, 1);
	CHECK_EQ(dc_layout_get(c, sub, &l, osts, pool), 0);
	CHECK_EQ(l.stripe_count, 3);
	/* A list of OSTs, in order. */
	wide_layout(&l, 0);
	l.osts.items = list;
	l.osts.count = 3;
	f = dc_create(c, "listed", &l);
	CHECK_EQ(f->geom.stripe_count, 3);
	CHECK_EQ(f->osts[0], 2);
	CHECK_EQ(f->osts[1], 0);
	CHECK_EQ(f->osts[2], 3);
	CHECK_EQ(dc_close(c, f, false), 0);
	/* Changed as long as it is empty. */
	wide_layout(&l, 0xffff);
	CHECK_EQ(layout_set(c, f->fid, &l, false), 0);
	CHECK_EQ(dc_layout_get(c, f->fid, &l, osts, pool), 0);
	CHECK_EQ(l.stripe_count, 4);
	f = dc_open(c, "listed", RW);
	CHECK_EQ(dc_write(c, f, 0, "x", 1), 0);
	wide_layout(&l, 1);
	CHECK_EQ(layout_set(c, f->fid, &l, false), -NE_EXIST);
	CHECK_EQ(dc_close(c, f, false), 0);
	/* A pool. */
	wide_layout(&l, 1);
	l.pool = wire_str_of("fast");
	f = dc_create(c, "pooled", &l);
	CHECK_EQ(f->geom.stripe_count, 1);
	CHECK_EQ(f->osts[0], 1);
	CHECK_EQ(dc_close(c, f, false), 0);
	impossible_layouts(c, &l);
	dbox_settle(c);
}

TEST(layouts)
{
	run1(layout_body, 4);
}

/* A list beyond one record: thousands of stripes over a few OSTs. */
static void long_body(struct dcli_box *c)
{
	struct w_layout l;
	struct dfile *f;
	struct w_attr attr;

	wide_layout(&l, 1200);
	l.flags = W_LAYOUT_FLAGS_OVERSTRIPED;
	f = dc_create(c, "long", &l);
	CHECK_EQ(f->geom.stripe_count, 1200);
	fill(buf, sizeof(buf), 3);
	for (unsigned i = 0; i < 1200; i += 100) {
		CHECK_EQ(dc_write(c, f, i * 64 * KIB + 7, buf + i, 1000), 0);
	}
	CHECK_EQ(dc_close(c, f, false), 0);
	dbox_settle(c);
	CHECK_EQ(dc_lookup(c, "long", &attr), 0);
	CHECK_EQ(attr.size, 1100 * 64 * KIB + 1007);
	f = dc_open(c, "long", W_OPEN_FLAGS_READ);
	CHECK_EQ(f->geom.stripe_count, 1200);
	CHECK_EQ(dc_read(c, f, 300 * 64 * KIB + 7, got, 1000), 1000);
	CHECK_EQ(memcmp(got, buf + 300, 1000), 0);
	CHECK_EQ(dc_close(c, f, false), 0);
	CHECK_EQ(dc_unlink(c, "long"), 0);
	dbox_settle(c);
	CHECK_EQ(dbox_objects(c->box), 0);
}

TEST(long_layout)
{
	run1(long_body, 3);
}

/* ---- several clients ---- */

static bool appended[2];

static void append_body(struct dcli_box *c)
{
	struct dfile *f = NULL;
	uint8_t *line = buf + c->index * 4096;

	if (c->index == 0) {
		f = dc_create(c, "log", NULL);
	} else {
		struct w_attr attr;

		while (dc_lookup(c, "log", &attr) != 0) {
			env_sleep(c->env, NS_PER_MS);
		}
		CHECK_EQ(dc_open_fid(c, attr.fid, RW, &f), 0);
	}
	memset(line, 'a' + (int)c->index, 3000);
	for (unsigned i = 0; i < 20; i++) {
		CHECK_EQ(dc_append(c, f, line, 3000), 0);
	}
	CHECK_EQ(dc_close(c, f, true), 0);
	appended[c->index] = true;
	if (c->index != 0) {
		return;
	}
	while (!appended[1]) {
		env_sleep(c->env, NS_PER_MS);
	}
	dbox_settle(c);
	f = dc_open(c, "log", W_OPEN_FLAGS_READ);
	CHECK_EQ(f->attr.size, 120000);
	CHECK_EQ(dc_read(c, f, 0, got, sizeof(got)), 120000);
	for (unsigned i = 0; i < 40; i++) {
		for (unsigned k = 1; k < 3000; k++) {
			CHECK_EQ(got[i * 3000 + k], got[i * 3000]);
		}
	}
	CHECK_EQ(dc_close(c, f, false), 0);
}

TEST(appends)
{
	struct dbox *b = calloc(1, sizeof(*b));
	dcli_fn *fns[2] = {append_body, append_body};

	appended[0] = appended[1] = false;
	dbox_init(b, 3, 2);
	dbox_run(b, fns, 2);
	dbox_fini(b);
	free(b);
}
