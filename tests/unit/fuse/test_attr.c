/*
 * Attributes and times between the client's words and the kernel's; block sizes.
 */
#include <sys/stat.h>
#include <unistd.h>

#include "fuse/fuse_int.h"
#include "test.h"

TEST(times_before_1970)
{
	struct client_attr attr = {
		.mode = S_IFREG | 0644, .atime_ns = -1, .mtime_ns = 1500000000, .ctime_ns = 0};
	struct fuse_attr out;

	fuse_attr_fill(&attr, &out);
	CHECK_EQ((int64_t)out.atime, -1);
	CHECK_EQ(out.atime_ns, 999999999);
	CHECK_EQ(out.mtime, 1);
	CHECK_EQ(out.mtime_ns, 500000000);
	CHECK_EQ(out.ctime, 0);
	CHECK_EQ(fuse_time_ns(out.atime, out.atime_ns), -1);
	CHECK_EQ(fuse_time_ns(out.mtime, out.mtime_ns), 1500000000);
}

TEST(times_beyond_what_we_keep)
{
	CHECK(fuse_time_ns(UINT64_C(1) << 40, 0) > INT64_C(9000000000) * 1000000000 / 1);
	CHECK(fuse_time_ns((uint64_t)INT64_MIN, 0) < INT64_C(-9000000000) * 1000000000);
	CHECK_EQ(fuse_time_ns(5, UINT32_MAX), INT64_C(5000000000));
}

TEST(block_sizes)
{
	CHECK_EQ(fuse_blksize(S_IFREG, 0), 1 << 20);
	CHECK_EQ(fuse_blksize(S_IFREG, 1), 4096);
	CHECK_EQ(fuse_blksize(S_IFREG, 4096), 4096);
	CHECK_EQ(fuse_blksize(S_IFREG, 4097), 8192);
	CHECK_EQ(fuse_blksize(S_IFREG, (1 << 20) - 1), 1 << 20);
	CHECK_EQ(fuse_blksize(S_IFREG, UINT64_C(1) << 62), 1 << 20);
	CHECK_EQ(fuse_blksize(S_IFDIR, UINT64_C(1) << 20), 4096);
}

TEST(groups_of_this_process)
{
	uint32_t gids[4];

	CHECK(fuse_groups_read(NULL, (int32_t)getpid(), gids, 4) >= 0);
	CHECK(fuse_groups_read(NULL, 0, gids, 4) < 0);
	CHECK(fuse_groups_read(NULL, INT32_MAX, gids, 4) < 0);
}

TEST(every_known_request_is_served_or_refused)
{
	unsigned served = 0;

	for (uint32_t op = 0; op < FUSE_OPCODES; op++) {
		served += fuse_op_find(op) != NULL;
	}
	CHECK_EQ(served, 39);
	CHECK(fuse_op_find(FUSE_FLUSH) == NULL);
	CHECK(fuse_op_find(FUSE_OPCODES) == NULL);
}
