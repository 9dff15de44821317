/*
 * Servers crash at enumerated points while a client works: nothing that was acknowledged and durable is lost, nothing is
 * half-done, no object is left without an owner.
 *
 * The client writes with SYNC. A killed MDT, and any crash of an OST, must not be noticed: every call succeeds and
 * every byte is right. When the MDT loses power, changes that were not synced may be gone; then the file at hand is given
 * up, and only what was synced before is verified. DATA_CRASH_STRIDE=1 tries every point.
 */
#include <sys/stat.h>

#include "data_box.h"
#include "test.h"

#define RW (W_OPEN_FLAGS_READ | W_OPEN_FLAGS_WRITE)
#define FILE_MAX (300 * 1024)
#define FILES 3

struct content {
	bool exists;
	bool unsure;
	uint32_t size;
	uint8_t bytes[FILE_MAX];
};

static struct content model[FILES];
static uint8_t got[FILE_MAX + 1];
static bool lossy; /* the MDT may forget */

/* ---- one client's work ---- */

struct work {
	struct dcli_box *c;
	unsigned index;
	char name[16];
	struct dfile *f;
	struct content *m;
	uint32_t epoch; /* of the MDT when the file was begun */
};

static bool failed(struct work *w, int r, const char *what)
{
	if (r >= 0) {
		return false;
	}
	if (!lossy) {
		fprintf(stderr, "file %u: %s: %s\n", w->index, what, ne_name(r));
		CHECK(false);
	}
	w->m->unsure = true;
	return true;
}

#define TRY(call) \
	do { \
		if (failed(w, (call), #call)) { \
			return false; \
		} \
	} while (0)

static bool write_at(struct work *w, uint32_t off, uint32_t len, uint8_t seed)
{
	struct content *m = w->m;

	if (off > m->size) {
		memset(m->bytes + m->size, 0, off - m->size);
	}
	for (uint32_t i = 0; i < len; i++) {
		m->bytes[off + i] = (uint8_t)(seed + i * 13 + (i >> 9));
	}
	m->size = (uint32_t)u64_max(m->size, off + len);
	TRY(dc_write(w->c, w->f, off, m->bytes + off, len));
	return true;
}

static bool cut(struct work *w, uint64_t handle, uint32_t size)
{
	struct content *m = w->m;

	if (size > m->size) {
		memset(m->bytes + m->size, 0, size - m->size);
	}
	m->size = size;
	TRY(dc_truncate(w->c, w->f->fid, handle, size));
	return true;
}

/* The MDT lost power and with it, perhaps, what was not synced: nobody knows what the file holds. */
static bool forgotten(struct work *w)
{
	if (!lossy || rpc_session_info(w->c->mdt)->epoch == w->epoch) {
		return false;
	}
	w->m->unsure = true;
	return true;
}

static bool same(struct work *w)
{
	int r = dc_read(w->c, w->f, 0, got, sizeof(got));

	TRY(r);
	if (forgotten(w)) {
		return false;
	}
	CHECK_EQ(r, w->m->size);
	CHECK_EQ(memcmp(got, w->m->bytes, w->m->size), 0);
	return true;
}

static bool closed(struct work *w, bool report)
{
	struct dfile *f = w->f;

	w->f = NULL;
	TRY(dc_close(w->c, f, report));
	return true;
}

static bool sync_all(struct work *w)
{
	struct w_mds_sync_req req = {0};
	struct w_mds_sync_rep rep = {0};

	TRY(dc_call(w->c, W_OP_MDS_SYNC, &req, &rep));
	return !forgotten(w);
}

static bool opened(struct work *w, uint32_t flags)
{
	struct w_attr attr;

	TRY(dc_lookup(w->c, w->name, &attr));
	TRY(dc_open_fid(w->c, attr.fid, flags, &w->f));
	return true;
}

static bool born(struct work *w)
{
	struct w_layout l = {.stripe_size = 64 * KIB,
		.stripe_count = (uint16_t)(1 + w->index % 3),
		.first_ost = 0xffff};

	TRY(dc_create_as(w->c, w->name, &l, &w->f));
	w->m->exists = true;
	return write_at(w, 0, 2000, (uint8_t)w->index) && same(w) &&
		write_at(w, 1000, 150000, 77) && same(w);
}

static bool resized(struct work *w)
{
	return cut(w, w->f->handle, 70001) && write_at(w, 90000, 1000, 5) && same(w) &&
		cut(w, 0, 250000) && same(w) && write_at(w, 200000, 3000, 9) && same(w) &&
		closed(w, true);
}

static bool emptied(struct work *w)
{
	w->m->size = 0;
	return opened(w, RW | W_OPEN_FLAGS_TRUNC) && same(w) && write_at(w, 10, 100, 3) &&
		same(w) && closed(w, false);
}

static bool removed(struct work *w)
{
	if (!opened(w, RW)) {
		return false;
	}
	w->m->exists = false;
	TRY(dc_unlink(w->c, w->name));
	return write_at(w, 1000, 100000, 4) && same(w) && closed(w, true);
}

static bool file_life(struct work *w)
{
	if (!born(w) || !resized(w)) {
		return false;
	}
	if (w->index % 3 == 1 && !emptied(w)) {
		return false;
	}
	if (w->index % 3 == 2 && !removed(w)) {
		return false;
	}
	return sync_all(w);
}

static void verify(struct dcli_box *c, unsigned index)
{
	struct work work = {.c = c, .index = index, .m = &model[index]};
	struct work *w = &work;
	struct w_attr attr;
	int r;

	snprintf(w->name, sizeof(w->name), "f%u", index);
	r = dc_lookup(c, w->name, &attr);
	if (w->m->unsure) {
		if (r == 0) {
			CHECK_EQ(dc_open_fid(c, attr.fid, W_OPEN_FLAGS_READ, &w->f), 0);
			CHECK(dc_read(c, w->f, 0, got, sizeof(got)) >= 0);
			CHECK_EQ(dc_close(c, w->f, false), 0);
		}
		return;
	}
	CHECK_EQ(r, w->m->exists ? 0 : -NE_NOENT);
	if (r == 0) {
		CHECK_EQ(attr.size, w->m->size);
		CHECK_EQ(dc_open_fid(c, attr.fid, W_OPEN_FLAGS_READ, &w->f), 0);
		r = dc_read(c, w->f, 0, got, sizeof(got));
		CHECK_EQ(r, w->m->size);
		CHECK_EQ(memcmp(got, w->m->bytes, w->m->size), 0);
		CHECK_EQ(dc_close(c, w->f, false), 0);
	}
}

static void script(struct dcli_box *c)
{
	for (unsigned i = 0; i < FILES; i++) {
		struct work w = {.c = c,
			.index = i,
			.m = &model[i],
			.epoch = rpc_session_info(c->mdt)->epoch};

		snprintf(w.name, sizeof(w.name), "f%u", i);
		if (!file_life(&w) && w.f != NULL && w.f->used) {
			/* May say that it knows nothing of it. */
			(void)!dc_close(c, w.f, false);
		}
	}
	dbox_settle(c);
	for (unsigned i = 0; i < FILES; i++) {
		verify(c, i);
	}
	dbox_settle(c);
}

/* ---- worlds ---- */

struct plan {
	bool mdt;
	unsigned ost;
	enum sim_crash kind;
	uint64_t seed;
};

/* Crash points the victim passed; crashed: whether it got as far as k. */
static uint64_t run_one(const struct plan *plan, uint64_t k, bool *ret_crashed)
{
	struct dbox *b = calloc(1, sizeof(*b));
	struct dserver *victim;
	dcli_fn *fn = script;
	uint64_t points;

	memset(model, 0, sizeof(model));
	lossy = plan->mdt && plan->kind == SIM_POWER_LOSS;
	dbox_init(b, plan->seed, 3);
	victim = plan->mdt ? &b->mdt : &b->ost[plan->ost];
	if (k != 0) {
		sim_crash_at(victim->node, k, plan->kind);
	}
	dbox_run(b, &fn, 1);
	points = sim_crash_points(victim->node);
	*ret_crashed = sim_crashes(victim->node) > 0;
	dbox_fini(b);
	free(b);
	return points;
}

static void enumerate(const struct plan *plan, unsigned runs)
{
	const char *text = getenv("DATA_CRASH_STRIDE");
	const char *only = getenv("DATA_CRASH_AT");
	bool crashed = false;
	uint64_t points = run_one(plan, 0, &crashed);
	uint64_t stride = text != NULL ? strtoull(text, NULL, 10) : points / runs + 1;
	unsigned hit = 0;

	CHECK(!crashed && stride > 0);
	if (only != NULL) {
		(void)run_one(plan, strtoull(only, NULL, 10), &crashed);
		return;
	}
	for (uint64_t k = 1; k <= points; k += stride) {
		if (getenv("DATA_CRASH_SHOW") != NULL) {
			fprintf(stderr, "crash at %" PRIu64 " of %" PRIu64 "\n", k, points);
		}
		(void)run_one(plan, k, &crashed);
		hit += crashed;
	}
	CHECK(hit > 10);
}

TEST(mdt_kill)
{
	struct plan plan = {.mdt = true, .kind = SIM_KILL, .seed = 11};

	enumerate(&plan, 60);
}

TEST(mdt_power)
{
	struct plan plan = {.mdt = true, .kind = SIM_POWER_LOSS, .seed = 12};

	enumerate(&plan, 60);
}

TEST(ost_kill)
{
	struct plan plan = {.ost = 0, .kind = SIM_KILL, .seed = 13};

	enumerate(&plan, 40);
}

TEST(ost_power)
{
	struct plan plan = {.ost = 1, .kind = SIM_POWER_LOSS, .seed = 14};

	enumerate(&plan, 40);
}
