/* lov_user_md: exact bytes, round trips, and refusal of everything malformed. */
#include "layout/layout.h"
#include "test.h"

static struct lov_md md;
static struct lov_md back;
static uint8_t buf[LOV_SIZE_MAX];

static void sample(bool pool)
{
	memset(&md, 0, sizeof(md));
	md.pattern = LOV_PATTERN_RAID0;
	md.stripe_size = 4 * MIB;
	md.stripe_count = 2;
	md.fid = (struct fid){.seq = 0x200000401, .oid = 7};
	md.osts_count = 2;
	md.osts[0] = 3;
	md.osts[1] = 1;
	if (pool) {
		strcpy(md.pool, "flash");
	}
}

TEST(v1_bytes)
{
	static const uint8_t want[32 + 48] = {0xd0, 0x0b, 0xd1, 0x0b, 1, 0, 0, 0, 7, 0, 0, 0, 0, 0,
		0, 0, 0x01, 0x04, 0, 0, 2, 0, 0, 0, 0, 0, 0x40, 0, 2, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0,
		0, 0x01, 0x04, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0,
		0x01, 0x04, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0};
	size_t len;

	sample(false);
	CHECK_EQ(lov_encode(&md, buf, sizeof(buf), &len), 0);
	CHECK_EQ(len, sizeof(want));
	CHECK(memcmp(buf, want, len) == 0);
}

TEST(round_trip_and_truncation)
{
	for (int pool = 0; pool < 2; pool++) {
		size_t len;

		sample(pool == 1);
		CHECK_EQ(lov_encode(&md, buf, sizeof(buf), &len), 0);
		CHECK_EQ(lov_encode(&md, buf, len - 1, &len), -NE_RANGE);
		CHECK_EQ(lov_decode(buf, len, &back), 0);
		CHECK(memcmp(&md, &back, sizeof(md)) == 0);
		for (size_t cut = 0; cut < (pool == 1 ? 48u : 32u); cut++) {
			CHECK_EQ(lov_decode(buf, cut, &back), -NE_INVAL);
		}
	}
}

TEST(refusals)
{
	size_t len;

	sample(true);
	CHECK_EQ(lov_encode(&md, buf, sizeof(buf), &len), 0);
	buf[32] = '/';
	CHECK_EQ(lov_decode(buf, len, &back), -NE_INVAL);
	sample(true);
	CHECK_EQ(lov_encode(&md, buf, sizeof(buf), &len), 0);
	buf[0] = 0xd1;
	CHECK_EQ(lov_decode(buf, len, &back), -NE_INVAL);
	buf[0] = 0xd0;
	buf[5] = 0x01; /* MDT pattern */
	CHECK_EQ(lov_decode(buf, len, &back), -NE_INVAL);
	buf[5] = 0x02; /* overstriped */
	CHECK_EQ(lov_decode(buf, len, &back), 0);
	CHECK_EQ(back.pattern, LOV_PATTERN_RAID0 | LOV_PATTERN_OVERSTRIPED);
	buf[2] = 0xd5; /* SPECIFIC with too few objects */
	CHECK_EQ(lov_decode(buf, len - 24, &back), -NE_INVAL);
	CHECK_EQ(lov_decode(buf, len, &back), 0);
	CHECK_EQ(back.osts_count, 2);
	CHECK_EQ(back.osts[0], 3);
}

TEST(pool_names)
{
	CHECK(layout_pool_name_ok("flash", 5));
	CHECK(layout_pool_name_ok("a23456789012345", 15));
	CHECK(!layout_pool_name_ok("a234567890123456", 16));
	CHECK(!layout_pool_name_ok("", 0));
	CHECK(!layout_pool_name_ok("a b", 3));
	CHECK(!layout_pool_name_ok("a/b", 3));
}
