/*
 * prng: the published sequences, bounds, evenness.
 */
#include "base/prng.h"

#include "test.h"

/* xoshiro256** from the state 1, 2, 3, 4: values of the authors' reference program. */
TEST(xoshiro_sequence)
{
	static const uint64_t want[] = {11520, 0, 1509978240, UINT64_C(1215971899390074240),
		UINT64_C(1216172134540287360), UINT64_C(607988272756665600)};
	struct prng rng = {{1, 2, 3, 4}};

	for (unsigned i = 0; i < ARRAY_SIZE(want); i++) {
		CHECK(prng_next(&rng) == want[i]);
	}
}

/* splitmix64 from 0: the seeding, and so every sequence, never changes. */
TEST(seeding)
{
	struct prng rng;

	prng_init(&rng, 0);
	CHECK(rng.s[0] == UINT64_C(0xe220a8397b1dcdaf) && rng.s[1] == UINT64_C(0x6e789e6aa1b965f4));
	CHECK(rng.s[2] == UINT64_C(0x06c45d188009454f) && rng.s[3] == UINT64_C(0xf88bb8a8724c81ec));
}

TEST(bounds_and_evenness)
{
	unsigned hits[7] = {0};
	unsigned yes = 0;
	struct prng rng;

	prng_init(&rng, 42);
	for (unsigned i = 0; i < 70000; i++) {
		uint64_t v = prng_below(&rng, 7);

		CHECK(v < 7);
		hits[v]++;
		yes += prng_chance(&rng, 1, 10);
		CHECK_EQ(prng_below(&rng, 1), 0);
		v = prng_range(&rng, 5, 6);
		CHECK(v == 5 || v == 6);
		CHECK(!prng_chance(&rng, 0, 3) && prng_chance(&rng, 3, 3));
	}
	for (unsigned i = 0; i < 7; i++) {
		CHECK(hits[i] > 9500 && hits[i] < 10500);
	}
	CHECK(yes > 6500 && yes < 7500);
	CHECK_EQ(prng_range(&rng, 9, 9), 9);
	(void)prng_range(&rng, 0, UINT64_MAX);
	/* A bound where plain modulo would be visibly uneven: 2/3 of the range. */
	uint64_t bound = UINT64_MAX / 3 * 2;
	unsigned low = 0;

	for (unsigned i = 0; i < 10000; i++) {
		uint64_t v = prng_below(&rng, bound);

		CHECK(v < bound);
		low += v < bound / 2;
	}
	CHECK(low > 4700 && low < 5300);
}

TEST(fill)
{
	uint8_t a[13], b[13];
	struct prng rng;

	for (size_t len = 0; len <= sizeof(a); len++) {
		memset(a, 0, sizeof(a));
		prng_init(&rng, 9);
		prng_fill(&rng, a, len);
		prng_init(&rng, 9);
		prng_fill(&rng, b, sizeof(b));
		CHECK(memcmp(a, b, len) == 0);
		CHECK(len == sizeof(a) || a[len] == 0);
	}
}
