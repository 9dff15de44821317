/*
 * Deterministic random numbers for the simulator and for layouts: xoshiro256** (Blackman and Vigna,
 * "Scrambled linear pseudorandom number generators", 2018) seeded by splitmix64 (Steele et al.
 * 2014).
 *
 * The same seed gives the same sequence on every machine, for ever: placement and replayed seeds
 * depend on it. Not for secrets: see crypto_random. One struct per user; not thread-safe.
 */
#ifndef NACRE_BASE_PRNG_H
#define NACRE_BASE_PRNG_H

#include "base/base.h"

struct prng {
	uint64_t s[4];
};

/* Any seed is good, 0 too. */
void prng_init(struct prng *rng, uint64_t seed);
uint64_t prng_next(struct prng *rng);
/* Uniform in 0..bound-1, without bias; bound > 0. */
uint64_t prng_below(struct prng *rng, uint64_t bound);
/* Uniform in min..max, both included; min <= max. */
uint64_t prng_range(struct prng *rng, uint64_t min, uint64_t max);
/* True with probability num/den; den > 0, num <= den. */
bool prng_chance(struct prng *rng, uint64_t num, uint64_t den);
void prng_fill(struct prng *rng, void *buf, size_t len);

#endif
