/*
 * hash: SipHash-2-4 against the vectors of its authors; the mixer is a bijection that moves all
 * bits.
 */
#include "base/hash.h"

#include "base/bytes.h"
#include "test.h"

/* Key 00 01 .. 0f; message 00 01 .. (len - 1): paper, appendix A (length 15), and the reference
 * vectors. */
TEST(siphash_vectors)
{
	static const struct {
		size_t len;
		uint64_t hash;
	} vectors[] = {
		{0, 0x726fdb47dd0e0e31},
		{1, 0x74f839c593dc67fd},
		{8, 0x93f5f5799a932462},
		{15, 0xa129ca6149be45e5},
	};
	uint8_t bytes[16];

	for (unsigned i = 0; i < sizeof(bytes); i++) {
		bytes[i] = (uint8_t)i;
	}
	struct hash_key key = {le64_load(bytes), le64_load(bytes + 8)};

	for (unsigned i = 0; i < ARRAY_SIZE(vectors); i++) {
		CHECK(hash_sip(key, bytes, vectors[i].len) == vectors[i].hash);
	}
	CHECK(hash_sip(key, NULL, 0) == vectors[0].hash);
	key.k1 ^= 1;
	CHECK(hash_sip(key, bytes, 15) != vectors[3].hash);
}

/* Each input bit flips each output bit in about half of the cases. */
TEST(mixer_avalanche)
{
	for (unsigned in = 0; in < 64; in++) {
		unsigned flips[64] = {0};

		for (uint64_t v = 0; v < 500; v++) {
			uint64_t diff = hash_mix(v) ^ hash_mix(v ^ UINT64_C(1) << in);

			for (unsigned out = 0; out < 64; out++) {
				flips[out] += (unsigned)(diff >> out & 1);
			}
		}
		for (unsigned out = 0; out < 64; out++) {
			CHECK(flips[out] > 150 && flips[out] < 350);
		}
	}
	CHECK(hash_mix(0) != 0);
	CHECK(hash_mix2(1, 2) != hash_mix2(2, 1));
}

TEST(bytes_mixer)
{
	uint8_t data[40] = {0};

	/* Lengths of zeros, and every bit at every length, give different values. */
	for (size_t len = 0; len <= sizeof(data); len++) {
		uint64_t h = hash_bytes(data, len);

		CHECK(len == 0 || h != hash_bytes(data, len - 1));
		for (size_t bit = 0; bit < len * 8; bit++) {
			data[bit / 8] ^= (uint8_t)(1 << bit % 8);
			CHECK(hash_bytes(data, len) != h);
			data[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	}
	CHECK(hash_bytes(NULL, 0) == hash_bytes(data, 0));
}
