/*
 * UUIDs: text there and back, refusals, version bits.
 */
#include "base/uuid.h"

#include "base/error.h"
#include "test.h"

TEST(text)
{
	static const char text[] = "01234567-89ab-cdef-0123-456789abcdef";
	struct uuid u = {{0}}, v = {{0}};
	char buf[UUID_STR_MAX];

	CHECK(uuid_is_zero(u));
	CHECK_EQ(uuid_parse(text, &u), 0);
	CHECK_EQ(u.bytes[0], 0x01);
	CHECK_EQ(u.bytes[15], 0xef);
	CHECK_STR(uuid_format(u, buf, sizeof(buf)), text);
	CHECK_EQ(uuid_parse("01234567-89AB-CDEF-0123-456789ABCDEF", &v), 0);
	CHECK(uuid_eq(u, v) && !uuid_is_zero(u));
}

TEST(refused)
{
	static const char *const bad[] = {"", "0", "01234567-89ab-cdef-0123-456789abcde",
		"01234567-89ab-cdef-0123-456789abcdef0", "0123456789abcdef0123456789abcdef",
		"01234567-89ab-cdef-0123+456789abcdef", "01234567-89ab-cdef-0123-456789abcdeg",
		"{1234567-89ab-cdef-0123-456789abcde}", "012345678-9ab-cdef-0123-456789abcdef"};
	struct uuid u = {{1}};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		CHECK_EQ(uuid_parse(bad[i], &u), -NE_INVAL);
	}
	CHECK_EQ(u.bytes[0], 1);
}

TEST(version_4)
{
	uint8_t random[16];
	char buf[UUID_STR_MAX];

	memset(random, 0xff, sizeof(random));
	CHECK_STR(uuid_format(uuid_from_random(random), buf, sizeof(buf)),
		"ffffffff-ffff-4fff-bfff-ffffffffffff");
	memset(random, 0, sizeof(random));
	CHECK_STR(uuid_format(uuid_from_random(random), buf, sizeof(buf)),
		"00000000-0000-4000-8000-000000000000");
}
