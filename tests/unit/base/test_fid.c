/*
 * FIDs: text there and back, refusal of everything else, order, inode numbers.
 */
#include "base/fid.h"

#include "base/error.h"
#include "base/prng.h"
#include "test.h"

static void round_trip(struct fid f, const char *text)
{
	char buf[FID_STR_MAX];
	struct fid got = {0, 0, 0};

	CHECK_STR(fid_format(f, buf, sizeof(buf)), text);
	CHECK_EQ(fid_parse(text, &got), 0);
	CHECK(fid_eq(f, got));
}

TEST(text)
{
	struct fid f = {0, 0, 0};

	round_trip(fid_root(), "[0x200000007:0x1:0x0]");
	round_trip((struct fid){0x200000401, 1, 0}, "[0x200000401:0x1:0x0]");
	round_trip((struct fid){0, 0, 0}, "[0x0:0x0:0x0]");
	round_trip((struct fid){UINT64_MAX, UINT32_MAX, UINT32_MAX},
		"[0xffffffffffffffff:0xffffffff:0xffffffff]");
	CHECK_EQ(fid_parse("0X200000401:0xAb:0x0", &f), 0);
	CHECK(fid_eq(f, (struct fid){0x200000401, 0xab, 0}));
}

TEST(text_refused)
{
	static const char *const bad[] = {"", "[", "[]", "0x", "[0x1:0x2]", "[0x1:0x2:0x3",
		"0x1:0x2:0x3]", "[0x1:0x2:0x3]x", "[0x1:0x2:0x3] ", " [0x1:0x2:0x3]", "[1:2:3]",
		"[0x:0x2:0x3]", "[0x1:0x2:0x]", "[0x1:0x2:0x3:0x4]",
		"[0x10000000000000000:0x2:0x3]", "[0x1:0x100000000:0x3]", "[0x1:0x2:0x100000000]",
		"[0x1:-0x2:0x3]", "[[0x1:0x2:0x3]]", "[0xg:0x2:0x3]", "[0x1;0x2:0x3]"};
	struct fid f = {1, 2, 3};

	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		CHECK_EQ(fid_parse(bad[i], &f), -NE_INVAL);
	}
	CHECK(fid_eq(f, (struct fid){1, 2, 3}));
}

TEST(order)
{
	static const struct fid up[] = {{0, 0, 0}, {0, 0, 1}, {0, 1, 0}, {0, UINT32_MAX, 0},
		{1, 0, 0}, {1, 0, UINT32_MAX}, {UINT64_MAX, 0, 0}};

	for (unsigned i = 0; i < ARRAY_SIZE(up); i++) {
		for (unsigned k = 0; k < ARRAY_SIZE(up); k++) {
			int c = fid_cmp(up[i], up[k]);

			CHECK(i < k ? c < 0 : i > k ? c > 0 : c == 0);
			CHECK(fid_eq(up[i], up[k]) == (c == 0));
		}
	}
	CHECK(fid_is_zero(up[0]) && !fid_is_zero(up[1]));
}

static int u64_order(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* The edges of every range and random ones: no two inode numbers are the same, none is 0. */
TEST(inode_numbers)
{
	enum {
		N = 20000
	};
	static const uint32_t edge[] = {1, 2, 3, FID_OID_MAX - 1, FID_OID_MAX};
	static uint64_t ino[N + 100];
	size_t count = 0;
	struct prng rng;

	prng_init(&rng, 5);
	ino[count++] = fid_ino(fid_root());
	CHECK_EQ(ino[0], 1);
	for (unsigned i = 0; i < ARRAY_SIZE(edge); i++) {
		ino[count++] = fid_ino((struct fid){FID_SEQ_NORMAL, edge[i], 0});
		ino[count++] = fid_ino((struct fid){FID_SEQ_NORMAL + 1, edge[i], 0});
		ino[count++] = fid_ino((struct fid){FID_SEQ_NORMAL + UINT32_MAX, edge[i], 0});
	}
	for (unsigned i = 0; i < N; i++) {
		/* Counted up, so that no FID comes twice. */
		uint64_t seq = FID_SEQ_NORMAL + 2 + i * 200000ull + prng_below(&rng, 1000);

		ino[count++] =
			fid_ino((struct fid){seq, (uint32_t)prng_range(&rng, 1, FID_OID_MAX), 0});
	}
	qsort(ino, count, sizeof(ino[0]), u64_order);
	CHECK(ino[0] == 1);
	for (size_t i = 1; i < count; i++) {
		CHECK(ino[i - 1] != ino[i]);
	}
	for (size_t i = 0; i < count; i++) {
		CHECK(fid_ino(fid_from_ino(ino[i])) == ino[i]);
	}
	CHECK(fid_eq(fid_from_ino(1), fid_root()));
	CHECK(fid_eq(fid_from_ino(FID_INO_FIRST), (struct fid){FID_SEQ_NORMAL, 1, 0}));
	CHECK(fid_eq(fid_from_ino(fid_ino((struct fid){FID_SEQ_NORMAL + 7, 9, 0})),
		(struct fid){FID_SEQ_NORMAL + 7, 9, 0}));
	CHECK(fid_is_zero(fid_from_ino(0)));
	CHECK(fid_ino((struct fid){0, 0, 0}) != 0 &&
		fid_ino((struct fid){FID_SEQ_NORMAL, 0, 0}) != 0);
}

TEST(hash_uses_every_field)
{
	uint64_t h = fid_hash((struct fid){1, 2, 3});

	CHECK(h == fid_hash((struct fid){1, 2, 3}));
	CHECK(h != fid_hash((struct fid){2, 2, 3}) && h != fid_hash((struct fid){1, 3, 3}));
	CHECK(h != fid_hash((struct fid){1, 2, 4}));
}
