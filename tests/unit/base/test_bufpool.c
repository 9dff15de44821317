/*
 * bufpool: buffers never overlap, the bound holds, memory is re-used and rejoined, nothing leaks.
 */
#include "base/bufpool.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/prng.h"
#include "test.h"

static struct bufpool_stats stats_of(const struct bufpool *pool)
{
	struct bufpool_stats stats;

	bufpool_stats_get(pool, &stats);
	return stats;
}

TEST(sizes_and_alignment)
{
	static const size_t sizes[][2] = {{1, 4096}, {4096, 4096}, {4097, 8192}, {65536, 65536},
		{1000000, 1 << 20}, {(4 << 20) - 1, 4 << 20}, {4 << 20, 4 << 20}};
	struct bufpool *pool = NULL;

	CHECK_EQ(bufpool_new(4 * MIB - 1, 0, &pool), -NE_INVAL);
	CHECK_EQ(bufpool_new(32 * MIB, 32 * MIB, &pool), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		char *buf = bufpool_get(pool, sizes[i][0]);

		CHECK(buf != NULL && (uintptr_t)buf % 4096 == 0);
		CHECK_EQ(bufpool_buf_size(pool, buf), sizes[i][1]);
		memset(buf, 1, sizes[i][1]);
		bufpool_put(pool, buf);
	}
	bufpool_put(pool, NULL);
	CHECK_EQ(stats_of(pool).arenas_new, 1);
	CHECK_EQ(stats_of(pool).used_bytes, 0);
	bufpool_free(pool);
	bufpool_free(NULL);
}

TEST(bound_and_reuse)
{
	struct bufpool *pool = NULL;
	static void *buf[2048];

	CHECK_EQ(bufpool_new(9 * MIB, 4 * MIB, &pool), 0);
	CHECK_EQ(stats_of(pool).bytes_max, 8 * MIB);
	for (unsigned i = 0; i < ARRAY_SIZE(buf); i++) {
		buf[i] = bufpool_get(pool, 4096);
		CHECK(buf[i] != NULL);
	}
	CHECK(bufpool_get(pool, 1) == NULL);
	CHECK_EQ(stats_of(pool).denials, 1);
	CHECK_EQ(stats_of(pool).used_bytes, 8 * MIB);
	/* The one freed last comes back first: it is warm. */
	bufpool_put(pool, buf[77]);
	CHECK(bufpool_get(pool, 4096) == buf[77]);
	for (unsigned i = 0; i < ARRAY_SIZE(buf); i++) {
		bufpool_put(pool, buf[i * 1021 % ARRAY_SIZE(buf)]);
	}
	/* Everything rejoined; one arena is kept, the other given back. */
	CHECK_EQ(stats_of(pool).arena_bytes, 4 * MIB);
	CHECK_EQ(stats_of(pool).arenas_freed, 1);
	CHECK_EQ(stats_of(pool).used_bytes_peak, 8 * MIB);
	buf[0] = bufpool_get(pool, 4 * MIB);
	buf[1] = bufpool_get(pool, 4 * MIB);
	CHECK(buf[0] != NULL && buf[1] != NULL && bufpool_get(pool, 1) == NULL);
	bufpool_put(pool, buf[0]);
	bufpool_put(pool, buf[1]);
	bufpool_free(pool);
}

struct held {
	unsigned char *buf;
	size_t size;
	unsigned char mark;
};

/* First and last byte of every page of a buffer carry its mark. */
static void held_mark(const struct held *h)
{
	for (size_t at = 0; at < h->size; at += 4096) {
		h->buf[at] = h->mark;
		h->buf[at + 4095] = h->mark;
	}
}

static void held_check(const struct held *h)
{
	for (size_t at = 0; at < h->size; at += 4096) {
		CHECK(h->buf[at] == h->mark && h->buf[at + 4095] == h->mark);
	}
}

TEST(random_no_overlap)
{
	static struct held held[64];
	struct bufpool *pool = NULL;
	struct prng rng;
	unsigned denied = 0;

	prng_init(&rng, 3);
	CHECK_EQ(bufpool_new(16 * MIB, 8 * MIB, &pool), 0);
	for (unsigned step = 0; step < 20000; step++) {
		struct held *h = &held[prng_below(&rng, ARRAY_SIZE(held))];

		if (h->buf != NULL) {
			held_check(h);
			bufpool_put(pool, h->buf);
			h->buf = NULL;
			continue;
		}
		/* Mostly small ones. */
		size_t size = 1 + prng_below(&rng, UINT64_C(1) << prng_range(&rng, 10, 22));

		h->buf = bufpool_get(pool, size);
		if (h->buf == NULL) {
			denied++;
			continue;
		}
		h->size = bufpool_buf_size(pool, h->buf);
		h->mark = (unsigned char)prng_next(&rng);
		CHECK(h->size >= size);
		held_mark(h);
		CHECK(stats_of(pool).arena_bytes <= 16 * MIB);
		CHECK(stats_of(pool).used_bytes <= stats_of(pool).arena_bytes);
	}
	CHECK(denied > 0 && stats_of(pool).denials == denied);
	for (unsigned i = 0; i < ARRAY_SIZE(held); i++) {
		bufpool_put(pool, held[i].buf);
		held[i].buf = NULL;
	}
	CHECK_EQ(stats_of(pool).used_bytes, 0);
	CHECK_EQ(stats_of(pool).arena_bytes, 8 * MIB);
	bufpool_free(pool);
}

TEST(allocation_failures)
{
	struct bufpool *pool = NULL;

	mem_fail_nth(1);
	CHECK_EQ(bufpool_new(8 * MIB, 0, &pool), -NE_NOMEM);
	mem_fail_nth(0);
	CHECK_EQ(bufpool_new(8 * MIB, 0, &pool), 0);
	for (uint64_t n = 1;; n++) {
		mem_fail_nth(n);
		void *buf = bufpool_get(pool, 100);
		bool fired = mem_fail_fired();

		mem_fail_nth(0);
		bufpool_put(pool, buf);
		CHECK_EQ(stats_of(pool).arena_bytes, 0);
		if (!fired) {
			CHECK(buf != NULL);
			break;
		}
		/* The third allocation is the table of arenas, which does without. */
		CHECK(buf == NULL || n == 3);
	}
	CHECK_EQ(stats_of(pool).denials, 2);
	bufpool_free(pool);
}

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>

/* What is not given out may not be touched. */
TEST(free_is_poisoned)
{
	struct bufpool *pool = NULL;

	CHECK_EQ(bufpool_new(8 * MIB, 8 * MIB, &pool), 0);
	char *buf = bufpool_get(pool, 8192);

	CHECK(!__asan_address_is_poisoned(buf) && !__asan_address_is_poisoned(buf + 8191));
	CHECK(__asan_address_is_poisoned(buf + 8192));
	bufpool_put(pool, buf);
	CHECK(__asan_address_is_poisoned(buf) && __asan_address_is_poisoned(buf + 8191));
	bufpool_free(pool);
}
#endif
