/*
 * idr: ids are found while in use and never after, stay small, and are bounded.
 */
#include "base/idr.h"

#include "base/alloc.h"
#include "base/error.h"
#include "base/prng.h"
#include "test.h"

TEST(stale_ids)
{
	struct idr idr;
	struct idr_id a = {0, 0}, b = {0, 0};
	int x = 0, y = 0;

	idr_init(&idr, 10);
	CHECK(idr_find(&idr, a) == NULL && idr_remove(&idr, a) == NULL);
	CHECK_EQ(idr_add(&idr, &x, &a), 0);
	CHECK(idr_find(&idr, a) == &x);
	CHECK(idr_find(&idr, idr_unpack(idr_pack(a))) == &x && idr_pack(a) != 0);
	CHECK(idr_remove(&idr, a) == &x);
	CHECK(idr_find(&idr, a) == NULL && idr_remove(&idr, a) == NULL);
	CHECK_EQ(idr_add(&idr, &y, &b), 0);
	CHECK(b.index == a.index && b.gen != a.gen);
	CHECK(idr_find(&idr, a) == NULL && idr_find(&idr, b) == &y);
	CHECK(idr_find(&idr, (struct idr_id){b.index, 0}) == NULL);
	CHECK(idr_find(&idr, (struct idr_id){UINT32_MAX, b.gen}) == NULL);
	CHECK(idr_find(&idr, (struct idr_id){b.index + 1, 1}) == NULL);
	idr_fini(&idr);
	CHECK(idr_find(&idr, b) == NULL);
}

/* The generation goes round without ever being 0. */
TEST(generation_wraps)
{
	struct idr idr;
	struct idr_id id = {0, 0};
	int x = 0;

	idr_init(&idr, 1);
	CHECK_EQ(idr_add(&idr, &x, &id), 0);
	idr.slots[id.index].gen = UINT32_MAX;
	id.gen = UINT32_MAX;
	CHECK(idr_remove(&idr, id) == &x);
	CHECK_EQ(idr_add(&idr, &x, &id), 0);
	CHECK_EQ(id.gen, 1);
	idr_fini(&idr);
}

TEST(bound_and_failures)
{
	static int things[100];
	struct idr idr;
	struct idr_id id = {7, 7};

	idr_init(&idr, 100);
	mem_fail_nth(1);
	CHECK_EQ(idr_add(&idr, &things[0], &id), -NE_NOMEM);
	mem_fail_nth(0);
	CHECK(id.index == 7 && id.gen == 7);
	for (unsigned i = 0; i < 100; i++) {
		mem_fail_nth(1);
		int rc = idr_add(&idr, &things[i], &id);

		mem_fail_nth(0);
		if (rc != 0) {
			CHECK_EQ(rc, -NE_NOMEM);
			CHECK_EQ(idr_add(&idr, &things[i], &id), 0);
		}
		CHECK_EQ(id.index, i);
	}
	CHECK_EQ(idr_add(&idr, &things[0], &id), -NE_LIMIT);
	CHECK_EQ(idr.count, 100);
	idr_fini(&idr);
}

TEST(random_ops)
{
	enum {
		N = 1000
	};
	static int things[N];
	static struct idr_id ids[N];
	static bool in[N];
	struct idr idr;
	struct prng rng;
	uint32_t live = 0, most = 0;

	prng_init(&rng, 11);
	idr_init(&idr, UINT32_C(1) << 31);
	for (unsigned step = 0; step < 30000; step++) {
		size_t k = prng_below(&rng, N);

		if (in[k]) {
			CHECK(idr_remove(&idr, ids[k]) == &things[k]);
			live--;
		} else {
			CHECK_EQ(idr_add(&idr, &things[k], &ids[k]), 0);
			live++;
		}
		in[k] = !in[k];
		most = live > most ? live : most;
		k = prng_below(&rng, N);
		CHECK(idr_find(&idr, ids[k]) == (in[k] ? &things[k] : NULL));
		/* Dense: no index beyond the most ever in use. */
		CHECK(ids[k].index < most);
	}
	CHECK_EQ(idr.count, live);
	uint32_t pos = 0, seen = 0;
	struct idr_id id = {0, 0};

	for (int *t = idr_next(&idr, &pos, &id); t != NULL; t = idr_next(&idr, &pos, &id)) {
		CHECK(in[t - things] && ids[t - things].index == id.index);
		CHECK(idr_remove(&idr, id) == t);
		seen++;
	}
	CHECK_EQ(seen, live);
	CHECK_EQ(idr.count, 0);
	idr_fini(&idr);
}
