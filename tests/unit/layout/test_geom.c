/* RAID-0 arithmetic: by example, and by property against a byte-by-byte definition. */
#include "layout/layout.h"
#include "test.h"

static uint64_t size_from_objects(const struct layout_geom *g, uint64_t file_size)
{
	uint64_t max = 0;

	for (uint32_t s = 0; s < g->stripe_count; s++) {
		max = u64_max(max, layout_file_size(g, s, layout_object_size(g, s, file_size)));
	}
	return max;
}

TEST(check_refuses_what_is_out_of_range)
{
	struct layout_geom g = {.stripe_size = 64 * KIB, .stripe_count = 1};

	CHECK_EQ(layout_geom_check(&g), 0);
	g.stripe_size = LIM_STRIPE_SIZE_MAX;
	CHECK_EQ(layout_geom_check(&g), 0);
	g.stripe_size = 4 * GIB;
	CHECK_EQ(layout_geom_check(&g), -NE_INVAL);
	g.stripe_size = 64 * KIB + 1;
	CHECK_EQ(layout_geom_check(&g), -NE_INVAL);
	g.stripe_size = 32 * KIB;
	CHECK_EQ(layout_geom_check(&g), -NE_INVAL);
	g = (struct layout_geom){.stripe_size = MIB, .stripe_count = LIM_STRIPE_COUNT_MAX + 1};
	CHECK_EQ(layout_geom_check(&g), -NE_INVAL);
	g.stripe_count = 0;
	CHECK_EQ(layout_geom_check(&g), -NE_INVAL);
}

TEST(extents_follow_the_definition)
{
	struct prng rng;

	prng_init(&rng, 42);
	for (int i = 0; i < 20000; i++) {
		struct layout_geom g = {.stripe_size = 64 * KIB * (1 + prng_below(&rng, 100)),
			.stripe_count = (uint32_t)(1 + prng_below(&rng, 17))};
		uint64_t off = prng_below(&rng, GIB);
		uint64_t len = 1 + prng_below(&rng, 16 * MIB);
		struct layout_extent e = layout_extent_at(&g, off, len);

		CHECK(e.len > 0 && e.len <= len);
		CHECK_EQ(e.stripe, off / g.stripe_size % g.stripe_count);
		CHECK_EQ(layout_file_offset(&g, e.stripe, e.object_off), off);
		CHECK_EQ(layout_file_offset(&g, e.stripe, e.object_off + e.len - 1),
			off + e.len - 1);
	}
}

TEST(sizes_invert)
{
	struct prng rng;

	prng_init(&rng, 7);
	for (int i = 0; i < 20000; i++) {
		struct layout_geom g = {.stripe_size = 64 * KIB * (1 + prng_below(&rng, 1000)),
			.stripe_count = (uint32_t)(1 + prng_below(&rng, 40))};
		uint64_t size = prng_below(&rng, i % 2 == 0 ? 1 * GIB : LIM_FILE_SIZE_MAX);
		uint64_t sum = 0;

		CHECK_EQ(size_from_objects(&g, size), size);
		for (uint32_t s = 0; s < g.stripe_count; s++) {
			sum += layout_object_size(&g, s, size);
		}
		CHECK_EQ(sum, size);
		if (size > 0) {
			uint32_t last = layout_last_stripe(&g, size);

			CHECK_EQ(layout_file_size(&g, last, layout_object_size(&g, last, size)),
				size);
		}
	}
}

TEST(the_largest_file)
{
	struct layout_geom g = {.stripe_size = 64 * KIB, .stripe_count = 3};

	CHECK_EQ(size_from_objects(&g, LIM_FILE_SIZE_MAX), LIM_FILE_SIZE_MAX);
	g.stripe_count = 1;
	CHECK_EQ(size_from_objects(&g, LIM_FILE_SIZE_MAX), LIM_FILE_SIZE_MAX);
	CHECK_EQ(layout_file_size(&g, 0, UINT64_MAX), LIM_FILE_SIZE_MAX);
}
