/*
 * xoshiro256** and splitmix64. See prng.h.
 *
 * Invariant: the state is never all zero (splitmix64 is a bijection of a counter, so four
 * consecutive outputs cannot all be zero).
 */
#include "base/prng.h"

#include "base/bytes.h"

static uint64_t splitmix64_next(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static inline uint64_t rotl64(uint64_t v, unsigned bits)
{
	return v << bits | v >> (64 - bits);
}

void prng_init(struct prng *rng, uint64_t seed)
{
	ASSERT(rng != NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(rng->s); i++) {
		rng->s[i] = splitmix64_next(&seed);
	}
}

uint64_t prng_next(struct prng *rng)
{
	uint64_t *s = rng->s;
	uint64_t result = rotl64(s[1] * 5, 7) * 9;
	uint64_t t = s[1] << 17;

	s[2] ^= s[0];
	s[3] ^= s[1];
	s[1] ^= s[2];
	s[0] ^= s[3];
	s[2] ^= t;
	s[3] = rotl64(s[3], 45);
	return result;
}

/*
 * Lemire's method: the high word of random * bound is uniform once the few products whose low word
 * is under 2^64 mod bound are drawn again.
 */
uint64_t prng_below(struct prng *rng, uint64_t bound)
{
	ASSERT(bound > 0);
	uint64_t threshold = (0 - bound) % bound;

	for (;;) {
		unsigned __int128 product = (unsigned __int128)prng_next(rng) * bound;

		if ((uint64_t)product >= threshold) {
			return (uint64_t)(product >> 64);
		}
	}
}

uint64_t prng_range(struct prng *rng, uint64_t min, uint64_t max)
{
	ASSERT(min <= max);
	if (max - min == UINT64_MAX) {
		return prng_next(rng);
	}
	return min + prng_below(rng, max - min + 1);
}

bool prng_chance(struct prng *rng, uint64_t num, uint64_t den)
{
	ASSERT(den > 0);
	ASSERT(num <= den);
	return prng_below(rng, den) < num;
}

void prng_fill(struct prng *rng, void *buf, size_t len)
{
	unsigned char *p = buf;
	unsigned char word[8];

	ASSERT(buf != NULL || len == 0);
	while (len > 0) {
		size_t chunk = u64_min(len, sizeof(word));

		le64_store(word, prng_next(rng));
		memcpy(p, word, chunk);
		p += chunk;
		len -= chunk;
	}
}
