/*
 * Hashes for tables: SipHash-2-4 where a stranger chooses the keys, a plain mixer where he does
 * not.
 *
 * SipHash-2-4, 128-bit key, 64-bit result, after Aumasson and Bernstein, "SipHash: a fast
 * short-input PRF" (2012). The mixer is a multiply-xorshift finaliser: every input bit reaches
 * every output bit, no secret. Neither is a checksum: results are not stored or sent. Pure
 * functions: thread-safe.
 */
#ifndef NACRE_BASE_HASH_H
#define NACRE_BASE_HASH_H

#include "base/base.h"

struct hash_key {
	uint64_t k0;
	uint64_t k1;
};

/* SipHash-2-4 of len bytes; data may be NULL if len is 0. The paper's key bytes are k0, k1
 * little-endian. */
uint64_t hash_sip(struct hash_key key, const void *data, size_t len);

/* Bijective scrambling of 64 bits. hash_mix(0) is not 0. */
static inline uint64_t hash_mix(uint64_t v)
{
	v += UINT64_C(0x9e3779b97f4a7c15);
	v = (v ^ (v >> 32)) * UINT64_C(0xd6e8feb86659fd93);
	v = (v ^ (v >> 32)) * UINT64_C(0xd6e8feb86659fd93);
	return v ^ (v >> 32);
}

/* Scrambles two words into one; not symmetric in its arguments. */
static inline uint64_t hash_mix2(uint64_t a, uint64_t b)
{
	return hash_mix(hash_mix(a) ^ b);
}

/* Mixer over bytes: a few cycles per 8 bytes, not keyed. data may be NULL if len is 0. */
uint64_t hash_bytes(const void *data, size_t len);

#endif
