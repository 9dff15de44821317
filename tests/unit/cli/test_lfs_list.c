/*
 * Lists of lfs, byte by byte; mounts, targets and the numbers in arguments.
 */
#include <errno.h>

#include "capture.h"
#include "cli/lfs.h"

static const char map_text[] =
	"{\"fsname\": \"fs\", \"version\": 7, \"cluster\": \"0123\", \"next\": 0, \"targets\": ["
	"{\"name\": \"OST0001\", \"kind\": \"OST\", \"index\": 1, \"active\": false},"
	"{\"name\": \"OST0000\", \"kind\": \"OST\", \"index\": 0, \"active\": true},"
	"{\"name\": \"MGS\", \"kind\": \"MGT\", \"index\": 0, \"active\": true},"
	"{\"name\": \"MDT0000\", \"kind\": \"MDT\", \"index\": 0, \"active\": true}],"
	"\"pools\": [{\"name\": \"flash\", \"osts\": [0, 16]}, {\"name\": \"disk\", \"osts\": "
	"[]}]}";

TEST(osts_and_mdts)
{
	json_t *map = json_loads(map_text, 0, NULL);
	struct lfs_targets t;

	CHECK_EQ(lfs_targets_decode(map, &t), 0);
	CHECK_EQ(t.count, 4);
	CAPTURE(out)
	{
		lfs_tgts_print(out, &t, LFS_OST);
	}
	capture_is("OBDS:\n0: fs-OST0000_UUID ACTIVE\n1: fs-OST0001_UUID INACTIVE\n");
	CAPTURE(out)
	{
		lfs_tgts_print(out, &t, LFS_MDT);
	}
	capture_is("MDTS:\n0: fs-MDT0000_UUID ACTIVE\n");
	lfs_targets_fini(&t);
	json_decref(map);
}

TEST(pools)
{
	json_t *map = json_loads(map_text, 0, NULL);

	CAPTURE(out)
	{
		CHECK_EQ(lfs_pools_print(out, map, NULL), 0);
	}
	capture_is("Pools from fs:\nfs.flash\nfs.disk\n");
	CAPTURE(out)
	{
		CHECK_EQ(lfs_pools_print(out, map, "flash"), 0);
	}
	capture_is("Pool: fs.flash\nfs-OST0000_UUID\nfs-OST0010_UUID\n");
	CAPTURE(out)
	{
		CHECK_EQ(lfs_pools_print(out, map, "nix"), ENOENT);
	}
	capture_is("");
	json_decref(map);
}

TEST(devices)
{
	struct lfs_targets t = {.fsname = "fs"};
	struct lfs_target one = {.name = "OST0000", .kind = LFS_OST};
	char instance[17];
	char buf[128];

	lfs_instance("0b1c2d3e-4f50-6172-8394-a5b6c7d8e9fa", instance);
	CHECK_STR(instance, "0b1c2d3e4f506172");
	CHECK_STR(lfs_device_name(&t, &one, instance, buf, sizeof(buf)),
		"fs-OST0000-osc-0b1c2d3e4f506172");
	one = (struct lfs_target){.name = "MDT0000", .kind = LFS_MDT};
	CHECK_STR(lfs_device_name(&t, &one, instance, buf, sizeof(buf)),
		"fs-MDT0000-mdc-0b1c2d3e4f506172");
	one = (struct lfs_target){.name = "MGS", .kind = LFS_MGT, .address = "tcp:[::1]:7988"};
	CHECK_STR(lfs_device_name(&t, &one, instance, buf, sizeof(buf)), "MGC[::1]:7988");
}

TEST(targets_of_other_answers)
{
	json_t *j = json_loads(
		"{\"targets\": [{\"name\": \"OST0001\", \"kind\": \"OST\", \"index\": 1, "
		"\"error\": \"target is not reachable\"},"
		"{\"name\": \"OST0000\", \"kind\": \"OST\", \"index\": 0, "
		"\"bytes_total\": 5, \"bytes_free\": 4}]}",
		0, NULL);
	struct lfs_targets t;

	CHECK_EQ(lfs_targets_decode(j, &t), 0);
	CHECK(t.list[0].active && !t.list[1].active);
	CHECK_EQ(t.list[0].bytes_total, 5);
	CHECK_STR(t.list[1].error, "target is not reachable");
	lfs_targets_fini(&t);
	json_decref(j);
	j = json_loads("{\"targets\": [{\"name\": \"X\", \"kind\": \"?\"}]}", 0, NULL);
	CHECK_EQ(lfs_targets_decode(j, &t), EPROTO);
	json_decref(j);
	j = json_loads("{}", 0, NULL);
	CHECK_EQ(lfs_targets_decode(j, &t), EPROTO);
	json_decref(j);
}

static bool mount_of(const char *line, struct lfs_mount *m)
{
	char copy[512];

	snprintf(copy, sizeof(copy), "%s", line);
	return lfs_mount_parse(copy, m);
}

TEST(mounts)
{
	struct lfs_mount m;

	CHECK(mount_of("431 29 0:52 / /mnt/my\\040fs rw,nosuid - fuse.nacre 127.0.0.1:7988:/fs "
		       "rw,user_id=0\n",
		&m));
	CHECK_EQ(m.id, 431);
	CHECK_STR(m.point, "/mnt/my fs");
	CHECK_STR(m.source, "127.0.0.1:7988:/fs");
	CHECK_STR(m.fsname, "fs");
	CHECK(mount_of(
		"5 1 0:5 / /m rw shared:7 - fuse.nacre [::1]:7988:/scratch/sub/dir rw\n", &m));
	CHECK_STR(m.fsname, "scratch");
	CHECK(!mount_of("29 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n", &m));
	CHECK(!mount_of("29 1 8:1 / / rw,relatime\n", &m));
	CHECK(!mount_of("", &m));
	CHECK(mount_of("5 1 0:5 / /m rw - fuse.nacre h:1:/muchtoolong rw\n", &m));
	CHECK_STR(m.fsname, "");
}

TEST(elsewhere)
{
	struct lfs_mount m;

	CHECK_EQ(lfs_mount_of("/proc", true, &m), ENOTTY);
	CHECK_EQ(lfs_mount_of("/proc/no/such", true, &m), ENOENT);
}

TEST(numbers)
{
	uint64_t bytes = 0;
	uint64_t unit = 0;
	int64_t n = 0;
	uint32_t index = 0;

	CHECK(lfs_size_parse("7", &bytes, &unit) && bytes == 7 && unit == 1);
	CHECK(lfs_size_parse("3b", &bytes, &unit) && bytes == 1536 && unit == 512);
	CHECK(lfs_size_parse("2K", &bytes, &unit) && bytes == 2048 && unit == 1024);
	CHECK(lfs_size_parse("1e", &bytes, &unit) && bytes == UINT64_C(1) << 60);
	CHECK(lfs_size_parse("0x10000", &bytes, &unit) && bytes == 65536);
	CHECK(lfs_size_parse("010", &bytes, &unit) && bytes == 10);
	CHECK(!lfs_size_parse("16E", &bytes, &unit));
	CHECK(!lfs_size_parse("", &bytes, &unit));
	CHECK(!lfs_size_parse("k", &bytes, &unit));
	CHECK(lfs_int_parse("-1", -1, 5, &n) && n == -1);
	CHECK(!lfs_int_parse("-2", -1, 5, &n));
	CHECK(!lfs_int_parse(" 1", -1, 5, &n));
	CHECK(lfs_ost_parse("fs-OST001f_UUID", &index) && index == 31);
	CHECK(lfs_ost_parse("OST0002", &index) && index == 2);
	CHECK(!lfs_ost_parse("OST2", &index));
	CHECK(!lfs_ost_parse("fs-MDT0000", &index));
	CHECK(!lfs_ost_parse("OST0002x", &index));
}
