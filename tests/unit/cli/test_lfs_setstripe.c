/*
 * lfs setstripe: what arguments become, and which are refused.
 */
#include <errno.h>

#include "cli/lfs.h"
#include "test.h"

static struct lfs_setstripe_options o;
static int first;

/* Splits at blanks. */
static int parse(const char *line)
{
	static char text[256];
	static char *argv[32];
	int argc = 0;

	snprintf(text, sizeof(text), "%s", line);
	for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " ")) {
		argv[argc++] = strcmp(word, "''") == 0 ? word + 2 : word;
	}
	argv[argc] = NULL;
	return lfs_setstripe_parse(argc, argv, &o, &first);
}

TEST(short_options)
{
	CHECK_EQ(parse("setstripe -c 4 -S 1M -i 2 -p flash /mnt/fs/f"), 0);
	CHECK_EQ(first, 9);
	CHECK_EQ(o.md.stripe_count, 4);
	CHECK_EQ(o.md.stripe_size, MIB);
	CHECK_EQ(o.md.stripe_offset, 2);
	CHECK_EQ(o.md.pattern, LOV_PATTERN_RAID0);
	CHECK_STR(o.md.pool, "flash");
	CHECK_EQ(o.md.osts_count, 0);
}

TEST(long_options)
{
	CHECK_EQ(parse("setstripe --stripe-count=-1 --stripe-size 64k --stripe-index -1 "
		       "--pool=fs.flash a b"),
		0);
	CHECK_EQ(o.md.stripe_count, LAYOUT_COUNT_ALL);
	CHECK_EQ(o.md.stripe_size, 64 * KIB);
	CHECK_EQ(o.md.stripe_offset, LAYOUT_OST_ANY);
	CHECK_STR(o.md.pool, "flash");
}

TEST(nothing_is_default)
{
	CHECK_EQ(parse("setstripe f"), 0);
	CHECK_EQ(o.md.stripe_count, 0);
	CHECK_EQ(o.md.stripe_size, 0);
	CHECK_EQ(o.md.stripe_offset, LAYOUT_OST_ANY);
	CHECK_EQ(parse("setstripe -c 0 -S 0 -p none f"), 0);
	CHECK_STR(o.md.pool, "");
	CHECK_EQ(parse("setstripe -p '' f"), 0);
	CHECK_STR(o.md.pool, "");
}

TEST(overstripe)
{
	CHECK_EQ(parse("setstripe -C 8 f"), 0);
	CHECK_EQ(o.md.pattern, LOV_PATTERN_RAID0 | LOV_PATTERN_OVERSTRIPED);
	CHECK_EQ(o.md.stripe_count, 8);
	CHECK_EQ(parse("setstripe --overstripe-count 2 -o 1,1 f"), 0);
	CHECK_EQ(o.md.osts_count, 2);
	CHECK_EQ(parse("setstripe -c 2 -C 2 f"), EINVAL);
}

TEST(lists)
{
	CHECK_EQ(parse("setstripe -o 3,0x1-2 -o OST0007 f"), 0);
	CHECK_EQ(o.md.osts_count, 4);
	CHECK_EQ(o.md.stripe_count, 4);
	CHECK_EQ(o.md.osts[0], 3);
	CHECK_EQ(o.md.osts[1], 1);
	CHECK_EQ(o.md.osts[2], 2);
	CHECK_EQ(o.md.osts[3], 7);
	CHECK_EQ(o.md.stripe_offset, 3);
	/* -i turns the list. */
	CHECK_EQ(parse("setstripe --ost 3,1,2 -i 2 -c 3 f"), 0);
	CHECK_EQ(o.md.osts[0], 2);
	CHECK_EQ(o.md.osts[1], 3);
	CHECK_EQ(o.md.osts[2], 1);
	CHECK_EQ(o.md.stripe_offset, 2);
	CHECK_EQ(parse("setstripe -o 1,2 -c 3 f"), EINVAL);
	CHECK_EQ(parse("setstripe -o 1,2 -i 3 f"), EINVAL);
	CHECK_EQ(parse("setstripe -o 1,1 f"), EINVAL);
	CHECK_EQ(parse("setstripe -o 2-1 f"), EINVAL);
	CHECK_EQ(parse("setstripe -o 1, f"), EINVAL);
	CHECK_EQ(parse("setstripe -o 4096 f"), EINVAL);
	CHECK_EQ(parse("setstripe -o 0-4000 f"), EINVAL);
}

TEST(sizes)
{
	CHECK_EQ(parse("setstripe -S 4294901760 f"), 0);
	CHECK_EQ(o.md.stripe_size, LIM_STRIPE_SIZE_MAX);
	CHECK_EQ(parse("setstripe -S 1g f"), 0);
	CHECK_EQ(o.md.stripe_size, GIB);
	CHECK_EQ(parse("setstripe -S 4G f"), EINVAL);
	CHECK_EQ(parse("setstripe -S 65537 f"), EINVAL);
	CHECK_EQ(parse("setstripe -S 1 f"), EINVAL);
	CHECK_EQ(parse("setstripe -S 1MB f"), EINVAL);
	CHECK_EQ(parse("setstripe -S -1 f"), EINVAL);
	CHECK_EQ(parse("setstripe -S x f"), EINVAL);
	CHECK_EQ(parse("setstripe -S 99999999999E f"), EINVAL);
}

TEST(counts)
{
	CHECK_EQ(parse("setstripe -c 2000 f"), 0);
	CHECK_EQ(parse("setstripe -c 2001 f"), EINVAL);
	CHECK_EQ(parse("setstripe -c -2 f"), EINVAL);
	CHECK_EQ(parse("setstripe -c 2x f"), EINVAL);
	CHECK_EQ(parse("setstripe -i 70000 f"), EINVAL);
	CHECK_EQ(parse("setstripe -p waytoolongpoolname f"), EINVAL);
	CHECK_EQ(parse("setstripe -p a/b f"), EINVAL);
}

TEST(delete_stands_alone)
{
	CHECK_EQ(parse("setstripe -d dir"), 0);
	CHECK(o.delete_default);
	CHECK_EQ(parse("setstripe --delete -c 1 dir"), EINVAL);
}

TEST(wrong_calls)
{
	CHECK_EQ(parse("setstripe"), LFS_USAGE);
	CHECK_EQ(parse("setstripe -c 1"), LFS_USAGE);
	CHECK_EQ(parse("setstripe -c"), LFS_USAGE);
	CHECK_EQ(parse("setstripe --nonsense f"), LFS_USAGE);
	CHECK_EQ(parse("setstripe -E 1M -c 1 -E -1 f"), EOPNOTSUPP);
	CHECK_EQ(parse("setstripe -L mdt f"), EOPNOTSUPP);
	CHECK_EQ(parse("setstripe -L raid0 f"), 0);
	CHECK_EQ(parse("setstripe -N2 f"), EOPNOTSUPP);
}

/* What goes into setxattr comes out as it was meant. */
TEST(lov_round_trip)
{
	static const char *const lines[] = {"setstripe -c 3 -S 1M -i 2 -p flash f", "setstripe f",
		"setstripe -C -1 f", "setstripe -o 5,1,3 -p flash f", "setstripe -o 5,1,3 f"};
	static uint8_t buf[LOV_SIZE_MAX];
	static struct lov_md back;

	for (unsigned i = 0; i < ARRAY_SIZE(lines); i++) {
		size_t len = 0;

		CHECK_EQ(parse(lines[i]), 0);
		CHECK_EQ(lov_encode(&o.md, buf, sizeof(buf), &len), 0);
		CHECK_EQ(lov_decode(buf, len, &back), 0);
		CHECK_EQ(memcmp(&o.md, &back, sizeof(back)), 0);
	}
}
