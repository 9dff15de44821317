/*
 * Test instances of generated codecs, and the random values they are made of.
 *
 * Tables wire_cases_NAME are written by `wiregen.py --cases`. Random values come from a seed and live in
 * an arena that is reset between instances; lengths favour 0, 1, a few and the bound itself.
 */
#ifndef NACRE_TESTS_WIRE_CASES_H
#define NACRE_TESTS_WIRE_CASES_H

#include "base/prng.h"
#include "wire/wire.h"

/* Bytes of memory for one random instance. */
#define CASE_ARENA_BYTES (8 * MIB)

struct case_rand {
	struct prng rng;
	uint8_t *arena;
	size_t used;
};

struct wire_case {
	const struct wire_codec *codec;
	/* The golden instance and the bytes the generator's own encoder made of it. */
	const void *golden;
	const uint8_t *bytes;
	size_t len;
	void (*random)(struct case_rand *r, void *v);
};

extern const struct wire_case wire_cases_wire[];
extern const size_t wire_cases_wire_count;
extern const struct wire_case wire_cases_disk[];
extern const size_t wire_cases_disk_count;
extern const struct wire_case wire_cases_sample[];
extern const size_t wire_cases_sample_count;

void case_rand_init(struct case_rand *r, uint64_t seed);
void case_rand_fini(struct case_rand *r);
void case_rand_reset(struct case_rand *r);
uint64_t case_below(struct case_rand *r, uint64_t bound);
uint64_t case_u64(struct case_rand *r);
uint32_t case_count(struct case_rand *r, uint64_t max);
struct fid case_fid(struct case_rand *r);
struct uuid case_uuid(struct case_rand *r);
struct wire_str case_str(struct case_rand *r, uint64_t max);
struct wire_bytes case_bytes(struct case_rand *r, uint64_t max);
void case_fill(struct case_rand *r, void *buf, size_t len);
/* Zeroed memory for n things; aborts when the arena is full, as the bound on counts prevents. */
void *case_alloc(struct case_rand *r, size_t n, size_t size);

/* Every check that holds for every codec; abort with a message. */
void case_check_golden(const struct wire_case *c);
void case_check_golden_file(const struct wire_case *c, const char *folder);
void case_check_random(const struct wire_case *c, uint64_t seed, unsigned rounds);
/* Bytes of a .hex file; the caller frees. */
uint8_t *case_read_hex(const char *path, size_t *ret_len);

#endif
