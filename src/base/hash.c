/*
 * SipHash-2-4 (Aumasson and Bernstein 2012, sections 2.1 to 2.3) and the byte mixer. See hash.h.
 */
#include "base/hash.h"

#include "base/bytes.h"

struct sip {
	uint64_t v0;
	uint64_t v1;
	uint64_t v2;
	uint64_t v3;
};

static inline uint64_t rotl64(uint64_t v, unsigned bits)
{
	return v << bits | v >> (64 - bits);
}

static inline void sip_round(struct sip *s)
{
	s->v0 += s->v1;
	s->v2 += s->v3;
	s->v1 = rotl64(s->v1, 13) ^ s->v0;
	s->v3 = rotl64(s->v3, 16) ^ s->v2;
	s->v0 = rotl64(s->v0, 32) + s->v3;
	s->v2 += s->v1;
	s->v1 = rotl64(s->v1, 17) ^ s->v2;
	s->v3 = rotl64(s->v3, 21) ^ s->v0;
	s->v2 = rotl64(s->v2, 32);
}

/* Compression: two rounds per word. */
static inline void sip_word(struct sip *s, uint64_t word)
{
	s->v3 ^= word;
	sip_round(s);
	sip_round(s);
	s->v0 ^= word;
}

/* Up to 7 trailing bytes as a little-endian number. */
static inline uint64_t tail_load(const unsigned char *p, size_t len)
{
	uint64_t word = 0;

	ASSERT(len < 8);
	for (size_t i = 0; i < len; i++) {
		word |= (uint64_t)p[i] << (8 * i);
	}
	return word;
}

uint64_t hash_sip(struct hash_key key, const void *data, size_t len)
{
	const unsigned char *p = data;
	size_t whole = len / 8 * 8;
	struct sip s = {
		.v0 = key.k0 ^ UINT64_C(0x736f6d6570736575),
		.v1 = key.k1 ^ UINT64_C(0x646f72616e646f6d),
		.v2 = key.k0 ^ UINT64_C(0x6c7967656e657261),
		.v3 = key.k1 ^ UINT64_C(0x7465646279746573),
	};

	ASSERT(data != NULL || len == 0);
	for (size_t i = 0; i < whole; i += 8) {
		sip_word(&s, le64_load(p + i));
	}
	uint64_t last = (uint64_t)(len & 0xff) << 56;

	if (len > whole) {
		last |= tail_load(p + whole, len - whole);
	}
	sip_word(&s, last);
	s.v2 ^= 0xff;
	for (unsigned i = 0; i < 4; i++) {
		sip_round(&s);
	}
	return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

uint64_t hash_bytes(const void *data, size_t len)
{
	const unsigned char *p = data;
	uint64_t h = hash_mix(len);

	ASSERT(data != NULL || len == 0);
	for (; len >= 8; p += 8, len -= 8) {
		h = hash_mix(h ^ le64_load(p));
	}
	return len == 0 ? h : hash_mix(h ^ tail_load(p, len));
}
