/*
 * omap against a naive model (a sorted array), its limits, and every allocation failing once.
 */
#include "base/omap.h"

#include <time.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/prng.h"
#include "test.h"

#define MODEL_MAX 4000
#define MODEL_KEY_MAX 96
#define MODEL_VAL_MAX 200

struct model_entry {
	uint8_t key[MODEL_KEY_MAX];
	size_t key_len;
	uint8_t val[MODEL_VAL_MAX];
	size_t val_len;
	struct omap_mark mark;
};

struct model {
	struct model_entry *entry[MODEL_MAX];
	size_t count;
};

static struct span model_key(const struct model_entry *e)
{
	return span_of(e->key, e->key_len);
}

/* Index of the first entry >= key. */
static size_t model_lower(const struct model *m, struct span key)
{
	size_t lo = 0;

	while (lo < m->count && span_cmp(model_key(m->entry[lo]), key) < 0) {
		lo++;
	}
	return lo;
}

static bool model_has(const struct model *m, struct span key)
{
	size_t at = model_lower(m, key);

	return at < m->count && span_eq(model_key(m->entry[at]), key);
}

static void model_put(struct model *m, struct span key, struct span val, struct omap_mark mark)
{
	size_t at = model_lower(m, key);

	if (!model_has(m, key)) {
		CHECK(m->count < MODEL_MAX);
		memmove(&m->entry[at + 1], &m->entry[at], (m->count - at) * sizeof(m->entry[0]));
		m->entry[at] = calloc(1, sizeof(*m->entry[0]));
		CHECK(m->entry[at] != NULL);
		bytes_copy(m->entry[at]->key, key.ptr, key.len);
		m->entry[at]->key_len = key.len;
		m->count++;
	}
	bytes_copy(m->entry[at]->val, val.ptr, val.len);
	m->entry[at]->val_len = val.len;
	m->entry[at]->mark = mark;
}

static bool model_del(struct model *m, struct span key)
{
	size_t at = model_lower(m, key);

	if (!model_has(m, key)) {
		return false;
	}
	free(m->entry[at]);
	m->count--;
	memmove(&m->entry[at], &m->entry[at + 1], (m->count - at) * sizeof(m->entry[0]));
	return true;
}

static void model_fini(struct model *m)
{
	for (size_t i = 0; i < m->count; i++) {
		free(m->entry[i]);
	}
	m->count = 0;
}

static void entry_check(const struct omap_entry *got, const struct model_entry *want)
{
	CHECK(span_eq(got->key, model_key(want)));
	CHECK(span_eq(got->val, span_of(want->val, want->val_len)));
	CHECK(got->mark.tag[0] == want->mark.tag[0] && got->mark.tag[1] == want->mark.tag[1]);
	CHECK(got->mark.flags == want->mark.flags);
}

/* Both ways through the whole map. */
static void compare_all(struct omap *map, const struct model *m)
{
	struct omap_cursor c;
	struct omap_entry e;
	size_t i = 0;

	omap_check(map);
	CHECK_EQ(map->count, m->count);
	for (bool on = omap_first(map, &c); on; on = omap_cursor_next(&c)) {
		CHECK(omap_cursor_get(&c, &e));
		CHECK(i < m->count);
		entry_check(&e, m->entry[i++]);
	}
	CHECK_EQ(i, m->count);
	CHECK(!omap_cursor_get(&c, &e));
	for (bool on = omap_last(map, &c); on; on = omap_cursor_prev(&c)) {
		CHECK(omap_cursor_get(&c, &e));
		entry_check(&e, m->entry[--i]);
	}
	CHECK_EQ(i, 0);
}

/* Keys of many shapes: short, with zero bytes, with long common prefixes, prefixes of each
 * other. */
static struct span key_make(struct prng *rng, unsigned shape, uint8_t buf[MODEL_KEY_MAX])
{
	size_t len = 0;

	switch (shape) {
	case 0: /* few bytes of few values, many of them zero: ties in the padding of heads */
		len = prng_below(rng, 12);
		for (size_t i = 0; i < len; i++) {
			buf[i] = (uint8_t)prng_below(rng, 2);
		}
		return span_of(buf, len);
	case 1: /* a long common prefix, longer than a node stores, then a number */
		memset(buf, 'p', 70);
		be16_store(buf + 70, (uint16_t)prng_below(rng, 3000));
		return span_of(buf, 72);
	case 2: /* a table, a FID, a name */
		buf[0] = (uint8_t)prng_below(rng, 3);
		be64_store(buf + 1, 0x200000400 + prng_below(rng, 2));
		be32_store(buf + 9, (uint32_t)prng_below(rng, 20));
		len = (size_t)snprintf(
			(char *)buf + 13, 40, "file%06u", (unsigned)prng_below(rng, 50));
		return span_of(buf, 13 + len);
	default: /* random */
		len = 1 + prng_below(rng, 20);
		prng_fill(rng, buf, len);
		buf[0] &= 3;
		return span_of(buf, len);
	}
}

static void seek_check(struct omap *map, const struct model *m, struct span key)
{
	struct omap_cursor c;
	struct omap_entry e;
	size_t at = model_lower(m, key);

	CHECK(omap_seek(map, key, &c) == (at < m->count));
	if (at < m->count) {
		CHECK(omap_cursor_get(&c, &e));
		entry_check(&e, m->entry[at]);
	}
	CHECK(omap_cursor_prev(&c) == (at > 0));
	if (at > 0) {
		CHECK(omap_cursor_get(&c, &e));
		entry_check(&e, m->entry[at - 1]);
	}
	at += model_has(m, key);
	CHECK(omap_seek_after(map, key, &c) == (at < m->count));
	CHECK(omap_cursor_get(&c, &e) == (at < m->count));
	if (at < m->count) {
		entry_check(&e, m->entry[at]);
		CHECK(omap_cursor_next(&c) == (at + 1 < m->count));
	}
}

static void random_step(
	struct omap *map, struct model *m, struct prng *rng, unsigned shape, bool grow)
{
	uint8_t key_buf[MODEL_KEY_MAX];
	uint8_t val_buf[MODEL_VAL_MAX];
	struct omap_entry e;
	struct span key = key_make(rng, shape == 4 ? (unsigned)prng_below(rng, 4) : shape, key_buf);
	struct omap_mark mark = {{prng_next(rng), prng_next(rng)}, (uint8_t)prng_next(rng)};
	size_t val_len = prng_chance(rng, 1, 4) ? 0 : prng_below(rng, MODEL_VAL_MAX);

	if (prng_chance(rng, grow ? 7 : 2, 10) && m->count < MODEL_MAX) {
		prng_fill(rng, val_buf, val_len);
		CHECK_EQ(omap_put(map, key, span_of(val_buf, val_len), mark), 0);
		model_put(m, key, span_of(val_buf, val_len), mark);
	} else if (prng_chance(rng, 1, 2) && m->count > 0) {
		/* Delete one that exists, so that the map does shrink. */
		key = model_key(m->entry[prng_below(rng, m->count)]);
		bytes_copy(key_buf, key.ptr, key.len);
		key = span_of(key_buf, key.len);
		CHECK(omap_del(map, key) && model_del(m, key));
	} else {
		CHECK(omap_del(map, key) == model_del(m, key));
	}
	key = key_make(rng, shape == 4 ? 0 : shape, key_buf);
	CHECK(omap_get(map, key, &e) == model_has(m, key));
	if (model_has(m, key)) {
		entry_check(&e, m->entry[model_lower(m, key)]);
	}
	seek_check(map, m, key);
}

static void random_run(uint64_t seed, unsigned shape)
{
	static struct model m;
	struct omap map;
	struct prng rng;

	prng_init(&rng, seed);
	omap_init(&map);
	for (unsigned step = 0; step < 9000; step++) {
		random_step(&map, &m, &rng, shape, step / 1500 % 2 == 0);
		if (step % 500 == 0) {
			compare_all(&map, &m);
		}
	}
	compare_all(&map, &m);
	while (m.count > 0) {
		struct span key = model_key(m.entry[prng_below(&rng, m.count)]);

		CHECK(omap_del(&map, key));
		CHECK(model_del(&m, key));
		if (m.count % 64 == 0) {
			compare_all(&map, &m);
		}
	}
	CHECK(map.root == NULL && map.size_bytes == 0);
	model_fini(&m);
	omap_fini(&map);
}

TEST(random_ops_match_model)
{
	for (unsigned shape = 0; shape < 5; shape++) {
		random_run(100 + shape, shape);
	}
}

static struct span num_key(uint8_t buf[12], uint64_t n)
{
	memcpy(buf, "key:", 4);
	be64_store(buf + 4, n);
	return span_of(buf, 12);
}

static void put_num(struct omap *map, uint64_t n)
{
	uint8_t key[12];

	CHECK_EQ(omap_put(map, num_key(key, n), span_of(&n, sizeof(n)),
			 (struct omap_mark){{n, 0}, 0}),
		0);
}

/* Ascending, descending and shuffled insertion and removal of enough entries for four levels. */
TEST(big_orders)
{
	enum {
		N = 40000
	};
	uint8_t key[12];
	struct omap_entry e;

	for (unsigned order = 0; order < 3; order++) {
		struct omap map;

		omap_init(&map);
		for (uint64_t i = 0; i < N; i++) {
			put_num(&map, order == 0 ? i : order == 1 ? N - 1 - i : i * 7919 % N);
		}
		omap_check(&map);
		CHECK_EQ(map.count, N);
		for (uint64_t i = 0; i < N; i++) {
			CHECK(omap_get(&map, num_key(key, i), &e));
			CHECK_EQ(le64_load(e.val.ptr), i);
		}
		for (uint64_t i = 0; i < N; i++) {
			CHECK(omap_del(&map, num_key(key, order == 2 ? i : i * 7919 % N)));
			if (i % 5000 == 0) {
				omap_check(&map);
			}
		}
		CHECK_EQ(map.count, 0);
		omap_fini(&map);
	}
}

/* Ascending keys fill the leaves: no more than 1.1 times the leaves needed. */
TEST(ascending_is_dense)
{
	enum {
		N = 32 * 500
	};
	struct omap map;

	omap_init(&map);
	for (uint64_t i = 0; i < N; i++) {
		put_num(&map, i);
	}
	uint64_t per_entry = map.size_bytes / N;

	CHECK(per_entry < 100);
	omap_fini(&map);
}

TEST(cursor_del_and_marks)
{
	struct omap_cursor c;
	struct omap_entry e;
	struct omap map;
	uint8_t key[12];
	uint64_t left = 0;

	omap_init(&map);
	CHECK(!omap_first(&map, &c));
	CHECK(!omap_last(&map, &c) && !omap_cursor_next(&c) && !omap_cursor_prev(&c));
	CHECK(!omap_get(&map, span_str("x"), &e) && !omap_del(&map, span_str("x")));
	CHECK(!omap_mark_set(&map, span_str("x"), (struct omap_mark){{0, 0}, 0}));
	for (uint64_t i = 0; i < 1000; i++) {
		put_num(&map, i);
	}
	bool on = omap_first(&map, &c);

	while (on) {
		CHECK(omap_cursor_get(&c, &e));
		if (e.mark.tag[0] % 3 == 0) {
			on = omap_cursor_del(&c);
			continue;
		}
		omap_cursor_mark_set(&c, (struct omap_mark){{e.mark.tag[0], 5}, 1});
		left++;
		on = omap_cursor_next(&c);
	}
	omap_check(&map);
	CHECK_EQ(left, 666);
	CHECK_EQ(map.count, 666);
	CHECK(omap_mark_set(&map, num_key(key, 1), (struct omap_mark){{9, 9}, 9}));
	CHECK(omap_get(&map, num_key(key, 1), &e) && e.mark.flags == 9);
	CHECK(omap_get(&map, num_key(key, 2), &e) && e.mark.flags == 1 && e.mark.tag[1] == 5);
	CHECK(!omap_get(&map, num_key(key, 3), &e));
	omap_fini(&map);
}

/* Key and value may point into the map itself. */
TEST(aliasing)
{
	struct omap_mark mark = {{0, 0}, 0};
	struct omap_entry e;
	struct omap map;
	char big[300];

	memset(big, 'b', sizeof(big));
	omap_init(&map);
	CHECK_EQ(omap_put(&map, span_str("a"), span_of(big, sizeof(big)), mark), 0);
	CHECK(omap_get(&map, span_str("a"), &e));
	/* Much shorter: moves to a new record while reading from the old one. */
	CHECK_EQ(omap_put(&map, e.key, span_of((const char *)e.val.ptr + 100, 10), mark), 0);
	CHECK(omap_get(&map, span_str("a"), &e));
	CHECK(span_eq(e.val, span_str("bbbbbbbbbb")));
	CHECK_EQ(omap_put(&map, span_str("c"), e.val, mark), 0);
	CHECK(omap_get(&map, span_str("c"), &e));
	CHECK(span_eq(e.val, span_str("bbbbbbbbbb")));
	omap_check(&map);
	omap_fini(&map);
}

/* One put in a prepared map, with the n-th allocation failing, for all n. */
static void put_sweep(struct omap *map, struct model *m, struct span key, struct span val)
{
	struct omap_mark mark = {{1, 2}, 3};

	for (uint64_t n = 1;; n++) {
		uint64_t size_before = map->size_bytes;

		mem_fail_nth(n);
		int rc = omap_put(map, key, val, mark);
		bool fired = mem_fail_fired();

		mem_fail_nth(0);
		if (rc == 0) {
			/* A shorter value may stay in place when its new record cannot be had. */
			CHECK(!fired || size_before == map->size_bytes);
			model_put(m, key, val, mark);
			return;
		}
		CHECK_EQ(rc, -NE_NOMEM);
		CHECK(fired && map->size_bytes == size_before);
		compare_all(map, m);
	}
}

TEST(allocation_failures)
{
	static struct model m;
	struct omap map;
	struct prng rng;
	uint8_t key[12];
	uint8_t val[MODEL_VAL_MAX] = {0};

	prng_init(&rng, 7);
	omap_init(&map);
	/* Enough puts for splits at two levels, then replacements with longer and shorter
	 * values. */
	for (unsigned i = 0; i < 1300; i++) {
		put_sweep(&map, &m, num_key(key, prng_below(&rng, 100000)), span_of(val, 8));
	}
	for (unsigned i = 0; i < 50; i++) {
		struct span old = model_key(m.entry[prng_below(&rng, m.count)]);

		put_sweep(&map, &m, old, span_of(val, i % 2 == 0 ? MODEL_VAL_MAX : 1));
		put_sweep(&map, &m, old, span_of(val, i % 2 == 0 ? 1 : MODEL_VAL_MAX));
	}
	compare_all(&map, &m);
	/* Removal needs no memory. */
	mem_fail_nth(1);
	while (m.count > 0) {
		CHECK(omap_del(&map, model_key(m.entry[0])));
		CHECK(model_del(&m, model_key(m.entry[0])));
	}
	CHECK(!mem_fail_fired());
	mem_fail_nth(0);
	omap_fini(&map);
}
