/*
 * lfs df, byte by byte.
 */
#include "capture.h"
#include "cli/lfs.h"

static struct lfs_target mdt(void)
{
	return (struct lfs_target){.name = "MDT0000",
		.kind = LFS_MDT,
		.active = true,
		.bytes_total = 1000 * KIB,
		.bytes_free = 990 * KIB,
		.bytes_avail = 990 * KIB,
		.files_total = 1000,
		.files_free = 996,
		.files_used = 4};
}

static struct lfs_target ost(uint32_t index, const char *name)
{
	struct lfs_target t = {.kind = LFS_OST,
		.index = index,
		.active = true,
		.bytes_total = 100 * MIB,
		.bytes_free = 96 * MIB,
		.bytes_avail = 95 * MIB,
		.files_total = 600,
		.files_free = 500,
		.files_used = 100};

	snprintf(t.name, sizeof(t.name), "%s", name);
	return t;
}

static const struct lfs_df_options both = {
	.mdt = true, .ost = true, .mdt_index = LFS_ANY, .ost_index = LFS_ANY};

TEST(blocks)
{
	struct lfs_target list[] = {mdt(), ost(0, "OST0000"), ost(1, "OST0001")};
	struct lfs_targets t = {.fsname = "fs", .list = list, .count = 3};

	CAPTURE(out)
	{
		lfs_df_print(out, &t, "/mnt/fs", &both);
	}
	capture_is("UUID                   1K-blocks        Used   Available Use% Mounted on\n"
		   "fs-MDT0000_UUID             1000          10         990   1% /mnt/fs[MDT:0]\n"
		   "fs-OST0000_UUID           102400        4096       97280   5% /mnt/fs[OST:0]\n"
		   "fs-OST0001_UUID           102400        4096       97280   5% /mnt/fs[OST:1]\n"
		   "\n"
		   "filesystem_summary:       204800        8192      194560   5% /mnt/fs\n");
}

TEST(inactive_and_states)
{
	struct lfs_target list[] = {ost(1, "OST0001"), ost(2, "OST0002"), ost(3, "OST0003")};
	struct lfs_targets t = {.fsname = "fs", .list = list, .count = 3};

	list[0].degraded = true;
	list[0].read_only = true;
	list[0].no_create = true;
	list[1].bytes_avail = 0;
	list[1].files_free = 0;
	list[2].active = false;
	CAPTURE(out)
	{
		lfs_df_print(out, &t, "/mnt/fs", &both);
	}
	capture_is(
		"UUID                   1K-blocks        Used   Available Use% Mounted on\n"
		"fs-OST0001_UUID           102400        4096       97280   5% /mnt/fs[OST:1] DRN\n"
		"fs-OST0002_UUID           102400        4096           0 100% /mnt/fs[OST:2] SI\n"
		"OST0003             : inactive device\n"
		"\n"
		"filesystem_summary:       204800        8192       97280   8% /mnt/fs\n");
}

TEST(human_units)
{
	struct lfs_target list[] = {ost(0, "OST0000"), ost(16, "OST0010")};
	struct lfs_targets t = {.fsname = "fs", .list = list, .count = 2};
	struct lfs_df_options o = both;

	o.human = true;
	list[0].bytes_total = 1000;
	list[0].bytes_free = 1000;
	list[0].bytes_avail = 1000;
	list[1].bytes_total = UINT64_C(36) << 40;
	list[1].bytes_free = UINT64_C(9) << 40;
	list[1].bytes_avail = UINT64_C(9) << 40;
	CAPTURE(out)
	{
		lfs_df_print(out, &t, "/mnt/fs", &o);
	}
	capture_is("UUID                       bytes        Used   Available Use% Mounted on\n"
		   "fs-OST0000_UUID             1000           0        1000   0% /mnt/fs[OST:0]\n"
		   "fs-OST0010_UUID            36.0T       27.0T        9.0T  75% /mnt/fs[OST:16]\n"
		   "\n"
		   "filesystem_summary:        36.0T       27.0T        9.0T  75% /mnt/fs\n");
}

TEST(si_units)
{
	struct lfs_target list[] = {ost(0, "OST0000")};
	struct lfs_targets t = {.fsname = "fs", .list = list, .count = 1};
	struct lfs_df_options o = both;

	o.human = true;
	o.si = true;
	CAPTURE(out)
	{
		lfs_df_print(out, &t, "/mnt/fs", &o);
	}
	capture_is("UUID                       bytes        Used   Available Use% Mounted on\n"
		   "fs-OST0000_UUID           104.9M        4.2M       99.6M   5% /mnt/fs[OST:0]\n"
		   "\n"
		   "filesystem_summary:       104.9M        4.2M       99.6M   5% /mnt/fs\n");
}

/* Files are the MDT's, unless the OSTs cannot hold so many. */
TEST(inodes)
{
	struct lfs_target list[] = {mdt(), ost(0, "OST0000")};
	struct lfs_targets t = {.fsname = "fs", .list = list, .count = 2};
	struct lfs_df_options o = both;

	o.inodes = true;
	CAPTURE(out)
	{
		lfs_df_print(out, &t, "/mnt/fs", &o);
	}
	capture_is("UUID                      Inodes       IUsed       IFree IUse% Mounted on\n"
		   "fs-MDT0000_UUID             1000           4         996   1% /mnt/fs[MDT:0]\n"
		   "fs-OST0000_UUID              600         100         500  17% /mnt/fs[OST:0]\n"
		   "\n"
		   "filesystem_summary:          504           4         500   1% /mnt/fs\n");
}

TEST(only_mdts_only_one_ost)
{
	struct lfs_target list[] = {mdt(), ost(0, "OST0000"), ost(1, "OST0001")};
	struct lfs_targets t = {.fsname = "fs", .list = list, .count = 3};
	struct lfs_df_options o = both;

	o.ost = false;
	CAPTURE(out)
	{
		lfs_df_print(out, &t, "/mnt/fs", &o);
	}
	capture_is("UUID                   1K-blocks        Used   Available Use% Mounted on\n"
		   "fs-MDT0000_UUID             1000          10         990   1% /mnt/fs[MDT:0]\n"
		   "\n"
		   "filesystem_summary:         1000          10         990   1% /mnt/fs\n");
	o.ost = true;
	o.mdt = false;
	o.ost_index = 1;
	CAPTURE(out)
	{
		lfs_df_print(out, &t, "/mnt/fs", &o);
	}
	capture_is("UUID                   1K-blocks        Used   Available Use% Mounted on\n"
		   "fs-OST0001_UUID           102400        4096       97280   5% /mnt/fs[OST:1]\n"
		   "\n"
		   "filesystem_summary:       102400        4096       97280   5% /mnt/fs\n");
}

/* Two OSTs on one disk, a third elsewhere. */
TEST(shared_disk_counts_once)
{
	struct lfs_target list[] = {ost(0, "OST0000"), ost(1, "OST0001"), ost(2, "OST0002")};
	struct lfs_targets t = {.fsname = "fs", .list = list, .count = 3};
	json_t *j;

	list[0].backing_fsid = 7;
	list[1].backing_fsid = 7;
	list[2].backing_fsid = 8;
	j = lfs_df_json(&t, "/mnt/fs");
	CHECK_EQ(json_integer_value(json_object_get(json_object_get(j, "summary"), "bytes_total")),
		200 * MIB);
	CHECK_EQ(json_array_size(json_object_get(j, "targets")), 3);
	json_decref(j);
	list[0].active = false;
	j = lfs_df_json(&t, "/mnt/fs");
	CHECK_EQ(json_integer_value(json_object_get(json_object_get(j, "summary"), "bytes_total")),
		200 * MIB);
	json_decref(j);
}

TEST(percent_rounds_up)
{
	CHECK_EQ(lfs_df_percent(0, 0), 0);
	CHECK_EQ(lfs_df_percent(0, 100), 0);
	CHECK_EQ(lfs_df_percent(1, 1000000), 1);
	CHECK_EQ(lfs_df_percent(50, 50), 50);
	CHECK_EQ(lfs_df_percent(501, 499), 51);
	CHECK_EQ(lfs_df_percent(100, 0), 100);
	CHECK_EQ(lfs_df_percent(UINT64_MAX, UINT64_MAX), 50);
}

TEST(options)
{
	char *argv[] = {"df", "-ih", "-p", "fs.flash", "--ost=3", "/mnt/fs", NULL};
	char *wrong[] = {"df", "-X", NULL};
	char *bad_index[] = {"df", "-mx", NULL};
	struct lfs_df_options o;
	const char *path = NULL;

	CHECK_EQ(lfs_df_parse(6, argv, &o, &path), 0);
	CHECK(o.inodes && o.human && !o.si && o.ost && !o.mdt);
	CHECK_EQ(o.ost_index, 3);
	CHECK_STR(o.pool, "fs.flash");
	CHECK_STR(path, "/mnt/fs");
	CHECK_EQ(lfs_df_parse(2, wrong, &o, &path), LFS_USAGE);
	CHECK_EQ(lfs_df_parse(2, bad_index, &o, &path), LFS_USAGE);
}
