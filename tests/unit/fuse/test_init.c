/*
 * INIT: features masked one by one, kernels that are too old or of another kind.
 */
#include "base/limits.h"
#include "fuse/fuse_init.h"
#include "test.h"

static struct fuse_init_in kernel(uint64_t flags)
{
	return (struct fuse_init_in){.major = 7,
		.minor = 45,
		.max_readahead = 1 << 20,
		.flags = (uint32_t)flags,
		.flags2 = (uint32_t)(flags >> 32)};
}

static const struct fuse_init_want want_all = {.flags_mask = UINT64_MAX, .uring = true};

TEST(everything_offered)
{
	struct fuse_init_in in = kernel(UINT64_MAX);
	struct fuse_init_out out;
	struct fuse_init_agreed agreed;

	CHECK_EQ(fuse_init_agree(&in, &want_all, &out, &agreed), 0);
	CHECK_EQ(agreed.max_write, 1 << 20);
	CHECK_EQ(out.max_pages, 256);
	CHECK_EQ(out.max_write, 1 << 20);
	CHECK_EQ(out.minor, 45);
	CHECK((agreed.flags & FUSE_OVER_IO_URING) != 0);
	CHECK((agreed.flags & FUSE_DIRECT_IO_ALLOW_MMAP) != 0);
	/* What would cache before leases, or take over what is the MDT's. */
	CHECK_EQ(agreed.flags & FUSE_WRITEBACK_CACHE, 0);
	CHECK_EQ(agreed.flags & FUSE_AUTO_INVAL_DATA, 0);
	CHECK_EQ(agreed.flags & (FUSE_POSIX_LOCKS | FUSE_FLOCK_LOCKS), 0);
	CHECK_EQ(((uint64_t)out.flags2 << 32 | out.flags), agreed.flags);
}

TEST(each_feature_can_be_missing)
{
	unsigned looked = 0;

	for (const struct fuse_feature *f = fuse_features; f->flag != 0; f++) {
		struct fuse_init_in in = kernel(UINT64_MAX & ~f->flag);
		struct fuse_init_out out;
		struct fuse_init_agreed agreed;

		CHECK_EQ(fuse_init_agree(&in, &want_all, &out, &agreed), 0);
		CHECK_EQ(agreed.flags & f->flag, 0);
		CHECK(f->lost != NULL && f->since != NULL);
		if (f->flag == FUSE_INIT_EXT) {
			CHECK_EQ(out.flags2, 0);
		} else if (f->flag == FUSE_MAX_PAGES) {
			CHECK_EQ(agreed.max_write, 128 << 10);
		} else if (f->flag == FUSE_DO_READDIRPLUS) {
			CHECK_EQ(agreed.flags & FUSE_READDIRPLUS_AUTO, 0);
		} else {
			CHECK((agreed.flags & FUSE_BIG_WRITES) != 0 || f->flag == FUSE_BIG_WRITES);
		}
		looked++;
	}
	CHECK(looked >= 15);
}

TEST(we_can_mask_too)
{
	struct fuse_init_in in = kernel(UINT64_MAX);
	struct fuse_init_want want = {.flags_mask = FUSE_BIG_WRITES | FUSE_INIT_EXT};
	struct fuse_init_out out;
	struct fuse_init_agreed agreed;

	CHECK_EQ(fuse_init_agree(&in, &want, &out, &agreed), 0);
	CHECK_EQ(agreed.flags, FUSE_BIG_WRITES | FUSE_INIT_EXT);
	want = (struct fuse_init_want){.flags_mask = UINT64_MAX, .uring = false};
	CHECK_EQ(fuse_init_agree(&in, &want, &out, &agreed), 0);
	CHECK_EQ(agreed.flags & FUSE_OVER_IO_URING, 0);
}

TEST(versions)
{
	struct fuse_init_in in = kernel(UINT64_MAX);
	struct fuse_init_out out;
	struct fuse_init_agreed agreed;

	in.minor = 30;
	CHECK_EQ(fuse_init_agree(&in, &want_all, &out, &agreed), -NE_VERSION);
	in.minor = 31;
	CHECK_EQ(fuse_init_agree(&in, &want_all, &out, &agreed), 0);
	CHECK_EQ(agreed.minor, 31);
	in.minor = 99;
	CHECK_EQ(fuse_init_agree(&in, &want_all, &out, &agreed), 0);
	CHECK_EQ(agreed.minor, 45);
	in.major = 8;
	CHECK_EQ(fuse_init_agree(&in, &want_all, &out, &agreed), 0);
	CHECK_EQ(agreed.minor, 0);
	CHECK_EQ(out.major, 7);
	in.major = 6;
	CHECK_EQ(fuse_init_agree(&in, &want_all, &out, &agreed), -NE_VERSION);
}
