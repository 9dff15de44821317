/*
 * CRC32C: the check value, RFC 3720 B.4, and chaining at every cut.
 */
#include "base/crc32c.h"

#include "test.h"

TEST(known_answers)
{
	uint8_t bytes[32];

	CHECK_EQ(crc32c(0, "123456789", 9), 0xE3069283);
	CHECK_EQ(crc32c(0, NULL, 0), 0);
	memset(bytes, 0, sizeof(bytes));
	CHECK_EQ(crc32c(0, bytes, sizeof(bytes)), 0x8A9136AA);
	memset(bytes, 0xff, sizeof(bytes));
	CHECK_EQ(crc32c(0, bytes, sizeof(bytes)), 0x62A8AB43);
	for (unsigned i = 0; i < sizeof(bytes); i++) {
		bytes[i] = (uint8_t)i;
	}
	CHECK_EQ(crc32c(0, bytes, sizeof(bytes)), 0x46DD794E);
}

/* Bit by bit: slow, obviously right. */
static uint32_t crc_slow(const uint8_t *p, size_t len)
{
	uint32_t reg = UINT32_MAX;

	for (size_t bit = 0; bit < len * 8; bit++) {
		uint32_t in = (reg ^ (uint32_t)(p[bit / 8] >> bit % 8)) & 1;

		reg = reg >> 1 ^ (in != 0 ? UINT32_C(0x82F63B78) : 0);
	}
	return ~reg;
}

TEST(chaining_and_sizes)
{
	static uint8_t bytes[5000];
	uint32_t x = 1;

	for (unsigned i = 0; i < sizeof(bytes); i++) {
		x = x * 1664525 + 1013904223;
		bytes[i] = (uint8_t)(x >> 24);
	}
	uint32_t whole = crc_slow(bytes, sizeof(bytes));

	for (size_t cut = 0; cut <= sizeof(bytes); cut += 7) {
		uint32_t crc = crc32c(0, bytes, cut);

		CHECK_EQ(crc32c(crc, bytes + cut, sizeof(bytes) - cut), whole);
	}
	for (size_t len = 0; len < 300; len++) {
		CHECK_EQ(crc32c(0, bytes + len % 9, len), crc_slow(bytes + len % 9, len));
	}
}
