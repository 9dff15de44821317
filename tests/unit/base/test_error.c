/*
 * The error table: every row is reachable, and errnos go there and back.
 */
#include "base/error.h"

#include <errno.h>

#include "test.h"

TEST(every_row)
{
	unsigned rows = 0;

#define NE(ename, number, parent, text) \
	CHECK(ne_is_known(number) && ne_is_known(-(number))); \
	CHECK_EQ(ne_errno(number), parent); \
	CHECK_EQ(ne_errno(-NE_##ename), parent); \
	CHECK_STR(ne_name(-(number)), #ename); \
	CHECK_STR(ne_text(number), text); \
	CHECK((number) >= 200 || (number) == (parent)); \
	CHECK((number) >= 200 || ne_from_errno(parent) == -(number)); \
	rows++;
#include "base/errors.def"
#undef NE
	CHECK(rows > 50);
}

TEST(outside_the_table)
{
	CHECK_EQ(ne_errno(0), 0);
	CHECK(ne_is_known(0));
	CHECK_STR(ne_name(0), "OK");
	CHECK_STR(ne_text(0), "success");
	static const int strange[] = {3, 199, 255, 256, -256, 100000, INT32_MAX, INT32_MIN};

	for (unsigned i = 0; i < ARRAY_SIZE(strange); i++) {
		CHECK(!ne_is_known(strange[i]));
		CHECK_EQ(ne_errno(strange[i]), EIO);
		CHECK_STR(ne_name(strange[i]), "UNKNOWN");
		CHECK(ne_text(strange[i]) != NULL);
	}
}

TEST(from_errno)
{
	CHECK_EQ(ne_from_errno(0), 0);
	CHECK_EQ(ne_from_errno(EWOULDBLOCK), -NE_AGAIN);
	CHECK_EQ(ne_from_errno(ECONNRESET), -NE_CONNLOST);
	CHECK_EQ(ne_from_errno(EPIPE), -NE_CONNLOST);
	CHECK_EQ(ne_from_errno(ENETUNREACH), -NE_HOSTUNREACH);
	CHECK_EQ(ne_from_errno(EPROTO), -NE_BADMSG);
	CHECK_EQ(ne_from_errno(ECHILD), -NE_IO);
	CHECK_EQ(ne_from_errno(9999), -NE_IO);
}
