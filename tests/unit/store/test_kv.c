/*
 * The checkpoint store: one suite, run against the model in the simulator and against LMDB on a real disk;
 * then what is particular to each (damage, bounds).
 */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/omap.h"
#include "box.h"
#include "store/kv.h"

struct suite {
	struct env *env;
	const char *dir;
	enum kv_kind kind;
	uint64_t map_bytes;
	struct omap want;
	struct prng rng;
};

static struct kv *suite_open(struct suite *s, bool create)
{
	struct kv_opts opts = {
		.kind = s->kind, .dir = s->dir, .map_bytes = s->map_bytes, .create = create};
	struct kv *kv = NULL;

	CHECK_EQ(kv_open(s->env, &opts, &kv), 0);
	return kv;
}

static int get(struct kv *kv, const char *key, char *val, size_t cap)
{
	struct kv_get g = {.key = span_str(key)};
	struct kv_fetch f = {.gets = &g, .get_count = 1};
	int err = kv_fetch(kv, &f);

	CHECK_EQ(err, 0);
	if (g.err == 0) {
		CHECK(g.val.len < cap);
		bytes_copy(val, g.val.ptr, g.val.len);
		val[g.val.len] = 0;
	}
	kv_fetch_fini(&f);
	return g.err;
}

static struct kv_op op_put(const char *key, const char *val)
{
	return (struct kv_op){.key = span_str(key), .val = span_str(val)};
}

static struct kv_op op_del(const char *key)
{
	return (struct kv_op){.key = span_str(key), .del = true};
}

static void suite_basic(struct suite *s)
{
	struct kv_opts opts = {.kind = s->kind, .dir = s->dir, .map_bytes = s->map_bytes};
	struct kv_op ops[3] = {op_put("a", "1"), op_put("b", ""), op_put("c", "3")};
	struct kv *kv = NULL;
	char val[64];

	box_quiet(true);
	CHECK_EQ(kv_open(s->env, &opts, &kv), -NE_NOTFORMATTED);
	box_quiet(false);
	kv = suite_open(s, true);
	CHECK_EQ(kv_lsn(kv), 0);
	CHECK_EQ(get(kv, "a", val, sizeof(val)), -NE_NOENT);
	CHECK_EQ(kv_apply(kv, ops, 3, 7), 0);
	CHECK_EQ(kv_lsn(kv), 7);
	CHECK_EQ(get(kv, "a", val, sizeof(val)), 0);
	CHECK_STR(val, "1");
	CHECK_EQ(get(kv, "b", val, sizeof(val)), 0);
	CHECK_STR(val, "");
	/* A batch without an lsn leaves it; deleting what is not there is nothing. */
	ops[0] = op_del("a");
	ops[1] = op_del("bb");
	ops[2] = op_put("c", "33");
	CHECK_EQ(kv_apply(kv, ops, 3, 0), 0);
	CHECK_EQ(kv_lsn(kv), 7);
	kv_close(kv);

	kv = suite_open(s, false);
	CHECK_EQ(kv_lsn(kv), 7);
	CHECK_EQ(get(kv, "a", val, sizeof(val)), -NE_NOENT);
	CHECK_EQ(get(kv, "c", val, sizeof(val)), 0);
	CHECK_STR(val, "33");
	CHECK_EQ(kv_apply(kv, NULL, 0, 9), 0);
	kv_close(kv);
	kv = suite_open(s, true);
	CHECK_EQ(kv_lsn(kv), 9);
	CHECK_EQ(kv_reserve(kv, 64 * KIB), 0);
	kv_close(kv);
}

/* Random sorted batches against an ordered map. */
static void batch_random(struct suite *s, struct kv *kv, uint64_t lsn)
{
	static uint8_t keys[64][LIM_KV_KEY_MAX];
	static uint8_t vals[64][LIM_KV_VALUE_MAX];
	static struct kv_op ops[64];
	struct omap batch;
	struct omap_cursor cur;
	struct omap_entry e;
	uint32_t n = 0;

	omap_init(&batch);
	for (unsigned i = 0; i < 64; i++) {
		size_t klen = 1 + prng_below(&s->rng, i % 8 == 0 ? LIM_KV_KEY_MAX : 2);
		size_t vlen = prng_below(&s->rng, i % 8 == 1 ? LIM_KV_VALUE_MAX + 1 : 40);
		struct omap_mark mark = {.flags = prng_chance(&s->rng, 1, 3)};

		for (size_t k = 0; k < klen; k++) {
			keys[i][k] = (uint8_t)prng_below(&s->rng, 12);
		}
		prng_fill(&s->rng, vals[i], vlen);
		CHECK_EQ(omap_put(&batch, span_of(keys[i], klen),
				 span_of(vals[i], mark.flags != 0 ? 0 : vlen), mark),
			0);
	}
	(void)omap_first(&batch, &cur);
	for (; omap_cursor_get(&cur, &e); (void)omap_cursor_next(&cur)) {
		ops[n++] = (struct kv_op){.key = e.key, .val = e.val, .del = e.mark.flags != 0};
		if (e.mark.flags != 0) {
			(void)omap_del(&s->want, e.key);
		} else {
			CHECK_EQ(omap_put(&s->want, e.key, e.val, (struct omap_mark){0}), 0);
		}
	}
	CHECK_EQ(kv_apply(kv, ops, n, lsn), 0);
	omap_fini(&batch);
}

struct compare {
	struct omap_cursor cur;
	uint64_t count;
};

static int compare_record(void *ctx, const struct kv_rec *rec)
{
	struct compare *c = ctx;
	struct omap_entry e;

	CHECK(omap_cursor_get(&c->cur, &e));
	CHECK(span_eq(e.key, rec->key) && span_eq(e.val, rec->val));
	(void)omap_cursor_next(&c->cur);
	c->count++;
	return 0;
}

static void compare_all(struct suite *s, struct kv *kv)
{
	struct compare c = {.count = 0};

	(void)omap_first(&s->want, &c.cur);
	CHECK_EQ(kv_walk(kv, compare_record, &c), 0);
	CHECK_EQ(c.count, s->want.count);
}

static void scan_random(struct suite *s, struct kv *kv)
{
	uint8_t from = (uint8_t)prng_below(&s->rng, 13);
	uint8_t to[2] = {(uint8_t)prng_below(&s->rng, 13), (uint8_t)prng_below(&s->rng, 13)};
	struct kv_scan scan = {.from = span_of(&from, 1),
		.to = span_of(to, prng_below(&s->rng, 3)),
		.max = (uint32_t)prng_range(&s->rng, 1, 40)};
	struct kv_fetch f = {.scans = &scan, .scan_count = 1};
	struct omap_cursor cur;
	struct omap_entry e;
	uint32_t n = 0;

	CHECK_EQ(kv_fetch(kv, &f), 0);
	(void)omap_seek(&s->want, scan.from, &cur);
	while (omap_cursor_get(&cur, &e) && (scan.to.len == 0 || span_cmp(e.key, scan.to) < 0) &&
		n < scan.max) {
		CHECK(n < scan.count);
		CHECK(span_eq(scan.recs[n].key, e.key) && span_eq(scan.recs[n].val, e.val));
		n++;
		(void)omap_cursor_next(&cur);
	}
	CHECK_EQ(n, scan.count);
	CHECK(scan.end ||
		(n == scan.max && omap_cursor_get(&cur, &e) &&
			(scan.to.len == 0 || span_cmp(e.key, scan.to) < 0)));
	kv_fetch_fini(&f);
}

static void suite_random(struct suite *s)
{
	struct kv *kv = suite_open(s, true);
	struct kv_stat stat;

	omap_init(&s->want);
	for (uint64_t round = 1; round <= 30; round++) {
		batch_random(s, kv, 1000 + round);
		for (int i = 0; i < 10; i++) {
			scan_random(s, kv);
		}
		if (round % 10 == 0) {
			compare_all(s, kv);
			kv_close(kv);
			kv = suite_open(s, false);
			CHECK_EQ(kv_lsn(kv), 1000 + round);
		}
	}
	CHECK_EQ(kv_stat(kv, &stat), 0);
	CHECK_EQ(stat.records, s->want.count);
	CHECK(stat.bytes > 0 && stat.bytes <= stat.bytes_max);
	kv_close(kv);
	omap_fini(&s->want);
}

/* A batch that does not fit changes nothing, and deletes still go in afterwards. */
static void suite_full(struct suite *s)
{
	struct kv *kv = suite_open(s, true);
	static char keys[4096][8];
	static char val[1000];
	static struct kv_op ops[256];
	uint64_t lsn = 1;
	unsigned n = 0;
	char got[8];
	int err = 0;

	for (unsigned i = 0; i < 4096; i++) {
		snprintf(keys[i], sizeof(keys[i]), "%05u", i);
	}
	while (err == 0 && n < 4096) {
		for (unsigned i = 0; i < 256; i++) {
			ops[i] = (struct kv_op){
				.key = span_of(keys[n + i], 5), .val = span_of(val, 1000)};
		}
		err = kv_apply(kv, ops, 256, lsn + 1);
		if (err == 0) {
			lsn++;
			n += 256;
		}
	}
	CHECK_EQ(err, -NE_NOSPC);
	CHECK(n >= 256);
	CHECK_EQ(kv_lsn(kv), lsn);
	CHECK_EQ(get(kv, keys[n], got, sizeof(got)), -NE_NOENT);
	CHECK_EQ(kv_reserve(kv, s->map_bytes), -NE_NOSPC);
	for (unsigned i = 0; i < 64; i++) {
		ops[i] = op_del(keys[i]);
	}
	CHECK_EQ(kv_apply(kv, ops, 64, lsn + 1), 0);
	CHECK_EQ(get(kv, keys[0], got, sizeof(got)), -NE_NOENT);
	kv_close(kv);
}

static void (*const suites[])(struct suite *s) = {suite_basic, suite_random, suite_full};
static const uint64_t suite_maps[] = {16 * MIB, 64 * MIB, MIB};

struct sim_suite {
	struct box box;
	unsigned which;
};

static void sim_suite_body(void *arg)
{
	struct sim_suite *t = arg;
	struct suite s = {.env = t->box.env,
		.dir = "/s",
		.kind = KV_MODEL,
		.map_bytes = suite_maps[t->which]};

	prng_init(&s.rng, 42);
	suites[t->which](&s);
}

TEST(model_in_the_simulator)
{
	for (unsigned i = 0; i < ARRAY_SIZE(suites); i++) {
		struct sim_suite t = {.which = i};

		box_init(&t.box, i);
		CHECK(box_run(&t.box, sim_suite_body, &t));
		CHECK_EQ(sim_node_heap_blocks(t.box.node), 0);
		box_fini(&t.box);
	}
}

struct real_suite {
	struct real real;
	unsigned which;
};

static void real_suite_body(void *arg)
{
	struct real_suite *t = arg;
	struct suite s = {.env = t->real.env,
		.dir = t->real.dir,
		.kind = KV_LMDB,
		.map_bytes = suite_maps[t->which]};

	prng_init(&s.rng, 42);
	suites[t->which](&s);
}

TEST(lmdb_on_a_disk)
{
	for (unsigned i = 0; i < ARRAY_SIZE(suites); i++) {
		struct real_suite t = {.which = i};

		real_run(&t.real, real_suite_body);
	}
}

/* ---- damage in LMDB's file ---- */

/* Flips a bit wherever the text stands in the file. */
static unsigned file_damage(const char *dir, const char *text, size_t off)
{
	char path[300];
	unsigned hits = 0;
	struct stat st;
	uint8_t *map;
	int fd;

	snprintf(path, sizeof(path), "%s/data.mdb", dir);
	fd = open(path, O_RDWR);
	CHECK(fd >= 0 && fstat(fd, &st) == 0);
	map = mmap(NULL, (size_t)st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED);
	for (off_t i = 0; i + (off_t)strlen(text) <= st.st_size; i++) {
		if (memcmp(map + i, text, strlen(text)) == 0) {
			map[i + (off_t)off] ^= 1;
			hits++;
		}
	}
	munmap(map, (size_t)st.st_size);
	close(fd);
	return hits;
}

static void lmdb_damage_body(void *arg)
{
	struct real *r = arg;
	struct suite s = {.env = r->env, .dir = r->dir, .kind = KV_LMDB, .map_bytes = 16 * MIB};
	struct kv *kv = suite_open(&s, true);
	struct kv_op ops[2] = {
		op_put("good", "the-good-value"), op_put("rotten", "the-rotten-value")};
	struct kv_scan scan = {.from = span_str("a"), .max = 10};
	struct kv_fetch f = {.scans = &scan, .scan_count = 1};
	char val[64];

	CHECK_EQ(kv_apply(kv, ops, 2, 1), 0);
	kv_close(kv);
	CHECK(file_damage(r->dir, "the-rotten-value", 5) > 0);
	kv = suite_open(&s, false);
	CHECK_EQ(get(kv, "good", val, sizeof(val)), 0);
	CHECK_EQ(get(kv, "rotten", val, sizeof(val)), -NE_CORRUPT);
	CHECK_EQ(kv_fetch(kv, &f), 0);
	CHECK_EQ(scan.err, -NE_CORRUPT);
	kv_fetch_fini(&f);
	kv_close(kv);
}

TEST(lmdb_notices_a_flipped_bit)
{
	struct real r;

	real_run(&r, lmdb_damage_body);
}

static void lmdb_sigbus_body(void *arg)
{
	struct real *r = arg;
	struct suite s = {.env = r->env, .dir = r->dir, .kind = KV_LMDB, .map_bytes = 16 * MIB};
	struct kv_get g = {.key = span_str("key")};
	struct kv_fetch f = {.gets = &g, .get_count = 1};
	struct kv_op op = op_put("key", "value");
	struct kv *kv = suite_open(&s, true);
	char path[300];

	CHECK_EQ(kv_apply(kv, &op, 1, 1), 0);
	snprintf(path, sizeof(path), "%s/data.mdb", r->dir);
	CHECK_EQ(truncate(path, 8192), 0); /* the meta pages stay */
	box_quiet(true);
	CHECK_EQ(kv_fetch(kv, &f), -NE_IO);
	kv_fetch_fini(&f);
	CHECK_EQ(kv_apply(kv, &op, 1, 2), -NE_IO); /* it is not used again */
	kv_close(kv);
	box_quiet(false);
}

TEST(lmdb_sigbus_is_an_error)
{
	struct real r;

	real_run(&r, lmdb_sigbus_body);
}

/* ---- damage in the model's files ---- */

struct model_test {
	struct box box;
	uint64_t lsn;
	int err;
};

static void model_fill(void *arg)
{
	struct model_test *t = arg;
	struct suite s = {.env = t->box.env, .dir = "/s", .kind = KV_MODEL, .map_bytes = 16 * MIB};
	struct kv *kv = suite_open(&s, true);
	struct kv_op op = op_put("key", "value");

	for (uint64_t lsn = 1; lsn <= 3; lsn++) {
		CHECK_EQ(kv_apply(kv, &op, 1, lsn), 0);
	}
	kv_close(kv);
}

static void model_read(void *arg)
{
	struct model_test *t = arg;
	struct kv_opts opts = {.kind = KV_MODEL, .dir = "/s", .map_bytes = 16 * MIB};
	struct kv *kv = NULL;

	t->err = kv_open(t->box.env, &opts, &kv);
	if (t->err == 0) {
		t->lsn = kv_lsn(kv);
	}
	kv_close(kv);
}

TEST(model_falls_back_to_the_commit_before)
{
	struct model_test t = {.lsn = 0};

	box_init(&t.box, 1);
	CHECK(box_run_then(&t.box, model_fill, &t, SIM_POWER_LOSS));
	CHECK(box_run(&t.box, model_read, &t));
	CHECK_EQ(t.err, 0);
	CHECK_EQ(t.lsn, 3);
	/* Four commits with the one that made it: the last is in model.0. */
	CHECK_EQ(sim_disk_flip(t.box.node, "/s/model.0", 60), 0);
	CHECK(box_run(&t.box, model_read, &t));
	CHECK_EQ(t.err, 0);
	CHECK_EQ(t.lsn, 2);
	CHECK_EQ(sim_disk_flip(t.box.node, "/s/model.1", 20), 0);
	box_quiet(true);
	CHECK(box_run(&t.box, model_read, &t));
	box_quiet(false);
	CHECK_EQ(t.err, -NE_CORRUPT);
	box_fini(&t.box);
}
