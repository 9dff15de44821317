/*
 * lfs getstripe, byte by byte, and what it is made of.
 */
#include "capture.h"
#include "cli/lfs.h"

static struct lfs_layout file_of(unsigned stripes)
{
	struct lfs_layout l = {.gen = 0,
		.stripe_size = 4 * MIB,
		.stripe_count = (int)stripes,
		.stripe_offset = 1,
		.data_fid = {.seq = 0x400, .oid = 37},
		.fid = {.seq = UINT64_C(0x200000404), .oid = 5},
		.osts_count = stripes};

	for (unsigned i = 0; i < stripes; i++) {
		l.osts[i] = i + 1;
	}
	return l;
}

static const struct lfs_getstripe_options plain = {.show = LFS_SHOW_DEFAULT, .ost = LFS_ANY};

TEST(file)
{
	struct lfs_layout l = file_of(2);

	strcpy(l.pool, "flash");
	CAPTURE(out)
	{
		lfs_layout_print(out, "/mnt/fs/f", &l, &plain, true);
	}
	capture_is("/mnt/fs/f\n"
		   "lmm_stripe_count:  2\n"
		   "lmm_stripe_size:   4194304\n"
		   "lmm_pattern:       raid0\n"
		   "lmm_layout_gen:    0\n"
		   "lmm_stripe_offset: 1\n"
		   "lmm_pool:          flash\n"
		   "\tobdidx\t\t objid\t\t objid\t\t group\n"
		   "\t     1\t            37\t         0x25\t          1024\n"
		   "\t     2\t            37\t         0x25\t          1024\n"
		   "\n");
}

TEST(file_overstriped_without_pool)
{
	struct lfs_layout l = file_of(1);

	l.overstriped = true;
	l.gen = 3;
	CAPTURE(out)
	{
		lfs_layout_print(out, "f", &l, &plain, true);
	}
	capture_is("f\n"
		   "lmm_stripe_count:  1\n"
		   "lmm_stripe_size:   4194304\n"
		   "lmm_pattern:       raid0,overstriped\n"
		   "lmm_layout_gen:    3\n"
		   "lmm_stripe_offset: 1\n"
		   "\tobdidx\t\t objid\t\t objid\t\t group\n"
		   "\t     1\t            37\t         0x25\t          1024\n"
		   "\n");
}

TEST(file_verbose)
{
	struct lfs_layout l = file_of(1);
	struct lfs_getstripe_options o = plain;

	o.show |= LFS_SHOW_DETAIL;
	CAPTURE(out)
	{
		lfs_layout_print(out, "f", &l, &o, true);
	}
	capture_is("f\n"
		   "lmm_magic:         0x0BD10BD0\n"
		   "lmm_seq:           0x200000404\n"
		   "lmm_object_id:     0x5\n"
		   "lmm_fid:           [0x200000404:0x5:0x0]\n"
		   "lmm_stripe_count:  1\n"
		   "lmm_stripe_size:   4194304\n"
		   "lmm_pattern:       raid0\n"
		   "lmm_layout_gen:    0\n"
		   "lmm_stripe_offset: 1\n"
		   "\tobdidx\t\t objid\t\t objid\t\t group\n"
		   "\t     1\t            37\t         0x25\t          1024\n"
		   "\n");
}

TEST(file_quiet_and_one_ost)
{
	struct lfs_layout l = file_of(3);
	struct lfs_getstripe_options o = {.show = LFS_SHOW_OBJECTS, .quiet = true, .ost = 2};

	CAPTURE(out)
	{
		lfs_layout_print(out, "f", &l, &o, true);
	}
	capture_is("f\n"
		   "\tobdidx\t\t objid\t\t objid\t\t group\n"
		   "\t     2\t            37\t         0x25\t          1024 *\n"
		   "\n");
}

TEST(file_yaml)
{
	struct lfs_layout l = file_of(2);
	struct lfs_getstripe_options o = plain;

	o.yaml = true;
	CAPTURE(out)
	{
		lfs_layout_print(out, "f", &l, &o, true);
	}
	capture_is("lmm_stripe_count:  2\n"
		   "lmm_stripe_size:   4194304\n"
		   "lmm_pattern:       raid0\n"
		   "lmm_layout_gen:    0\n"
		   "lmm_stripe_offset: 1\n"
		   "lmm_objects:\n"
		   "      - l_ost_idx: 1\n"
		   "        l_fid:     0x400:0x25:0x0\n"
		   "      - l_ost_idx: 2\n"
		   "        l_fid:     0x400:0x25:0x0\n"
		   "\n");
}

static void single_is(const struct lfs_layout *l, const char *option, const char *expected)
{
	char *argv[] = {"getstripe", (char *)option, "f", NULL};
	struct lfs_getstripe_options o;
	int first = 0;

	CHECK_EQ(lfs_getstripe_parse(3, argv, &o, &first), 0);
	CHECK_EQ(first, 2);
	CHECK(o.single);
	CAPTURE(out)
	{
		lfs_layout_print(out, "f", l, &o, true);
	}
	capture_is(expected);
}

TEST(single_values)
{
	struct lfs_layout l = file_of(4);

	single_is(&l, "-c", "4\n");
	single_is(&l, "--stripe-count", "4\n");
	single_is(&l, "-S", "4194304\n");
	single_is(&l, "-i", "1\n");
	single_is(&l, "-p", "\n");
	single_is(&l, "-g", "0\n");
	single_is(&l, "-L", "raid0\n");
	single_is(&l, "-m", "0\n");
	single_is(&l, "-F", "[0x200000404:0x5:0x0]\n");
	strcpy(l.pool, "flash");
	single_is(&l, "--pool", "flash\n");
}

TEST(two_fields_have_names)
{
	struct lfs_layout l = file_of(4);
	char *argv[] = {"getstripe", "-c", "-S", "f", NULL};
	struct lfs_getstripe_options o;
	int first = 0;

	CHECK_EQ(lfs_getstripe_parse(4, argv, &o, &first), 0);
	CAPTURE(out)
	{
		lfs_layout_print(out, "f", &l, &o, true);
	}
	capture_is("f\nlmm_stripe_count:  4\nlmm_stripe_size:   4194304\n");
}

TEST(directory)
{
	struct lfs_layout l = {
		.dir = true, .stripe_size = 4 * MIB, .stripe_count = 1, .stripe_offset = -1};

	CAPTURE(out)
	{
		lfs_layout_print(out, "/mnt/fs/d", &l, &plain, false);
	}
	capture_is("stripe_count:  1 stripe_size:   4194304 pattern:       raid0 stripe_offset: "
		   "-1\n");
	l.stripe_count = -1;
	strcpy(l.pool, "flash");
	CAPTURE(out)
	{
		lfs_layout_print(out, "/mnt/fs/d", &l, &plain, true);
	}
	capture_is("/mnt/fs/d\n"
		   "stripe_count:  -1 stripe_size:   4194304 pattern:       raid0 "
		   "stripe_offset: -1 pool:          flash\n"
		   "\n");
	single_is(&l, "-c", "-1\n");
}

TEST(directory_raw_and_defaults)
{
	struct lfs_layout l = {.dir = true, .inherited = true, .stripe_offset = -1};
	struct lfs_getstripe_options o = plain;

	CAPTURE(out)
	{
		lfs_layout_print(out, "d", &l, &o, false);
	}
	capture_is("stripe_count:  1 stripe_size:   4194304 pattern:       raid0 stripe_offset: "
		   "-1\n");
	o.raw = true;
	CAPTURE(out)
	{
		lfs_layout_print(out, "d", &l, &o, false);
	}
	capture_is("stripe_count:  0 stripe_size:   0 pattern:       raid0 stripe_offset: -1\n");
}

TEST(directory_yaml)
{
	struct lfs_layout l = {
		.dir = true, .stripe_size = MIB, .stripe_count = 2, .stripe_offset = 0};
	struct lfs_getstripe_options o = plain;

	o.yaml = true;
	CAPTURE(out)
	{
		lfs_layout_print(out, "d", &l, &o, false);
	}
	capture_is("stripe_count:  2\n"
		   "stripe_size:   1048576\n"
		   "pattern:       raid0\n"
		   "stripe_offset: 0\n");
}

TEST(decode_file)
{
	static const char text[] =
		"{\"type\": \"file\", \"pattern\": \"raid0\", \"gen\": 1, \"stripe_size\": "
		"4194304, "
		"\"stripe_count\": 2, \"stripe_offset\": 3, \"pool\": \"flash\", \"overstriped\": "
		"true, "
		"\"explicit\": false, \"inline\": false, \"instantiated\": true, "
		"\"fid\": \"[0x200000401:0x6:0x0]\", \"objects\": [{\"stripe\": 0, \"ost\": 3, "
		"\"present\": true}, {\"ost\": 1}]}";
	struct lfs_layout l;
	json_t *j = json_loads(text, 0, NULL);

	CHECK(j != NULL);
	CHECK_EQ(lfs_layout_decode(j, &l), 0);
	CHECK(!l.dir && l.overstriped);
	CHECK_EQ(l.gen, 1);
	CHECK_EQ(l.stripe_count, 2);
	CHECK_EQ(l.stripe_offset, 3);
	CHECK_EQ(l.osts_count, 2);
	CHECK_EQ(l.osts[1], 1);
	CHECK_EQ(l.data_fid.oid, 6);
	CHECK_STR(l.pool, "flash");
	json_object_set_new(j, "type", json_string("pipe"));
	CHECK(lfs_layout_decode(j, &l) != 0);
	json_object_set_new(j, "type", json_string("file"));
	json_object_set_new(j, "fid", json_string("nonsense"));
	CHECK(lfs_layout_decode(j, &l) != 0);
	json_decref(j);
}

TEST(decode_directory)
{
	static const char text[] =
		"{\"type\": \"directory\", \"pattern\": \"raid0\", \"inherited\": true, "
		"\"stripe_size\": 4194304, \"stripe_count\": 1, \"stripe_offset\": -1, \"pool\": "
		"\"\", "
		"\"overstriped\": false, \"osts\": [2, 0]}";
	struct lfs_layout l;
	json_t *j = json_loads(text, 0, NULL);

	CHECK_EQ(lfs_layout_decode(j, &l), 0);
	CHECK(l.dir && l.inherited);
	CHECK_EQ(l.osts_count, 2);
	CHECK_EQ(l.osts[0], 2);
	CHECK_EQ(l.stripe_offset, -1);
	json_decref(j);
}

/* What getxattr lustre.lov gives for a file and a directory. */
TEST(lov_round_trip)
{
	static struct lov_md md = {.pattern = LOV_PATTERN_RAID0 | LOV_PATTERN_OVERSTRIPED,
		.stripe_size = MIB,
		.stripe_count = 2,
		.stripe_offset = 9,
		.fid = {.seq = UINT64_C(0x200000401), .oid = 6},
		.pool = "flash",
		.osts_count = 2,
		.osts = {5, 5}};
	static struct lov_md back;
	static uint8_t buf[LOV_SIZE_MAX];
	struct lfs_layout l;
	size_t len = 0;

	CHECK_EQ(lov_encode(&md, buf, sizeof(buf), &len), 0);
	CHECK_EQ(lov_decode(buf, len, &back), 0);
	CHECK_EQ(lfs_layout_from_lov(&back, false, &l), 0);
	CHECK(l.overstriped);
	CHECK_EQ(l.gen, 9);
	CHECK_EQ(l.stripe_offset, 5);
	CHECK_EQ(l.osts_count, 2);
	CHECK_STR(l.pool, "flash");
	md.stripe_offset = LAYOUT_OST_ANY;
	md.stripe_count = LAYOUT_COUNT_ALL;
	md.osts_count = 0;
	CHECK_EQ(lov_encode(&md, buf, sizeof(buf), &len), 0);
	CHECK_EQ(lov_decode(buf, len, &back), 0);
	CHECK_EQ(lfs_layout_from_lov(&back, true, &l), 0);
	CHECK_EQ(l.stripe_offset, -1);
	CHECK_EQ(l.stripe_count, -1);
}

TEST(json)
{
	struct lfs_layout l = file_of(2);
	json_t *j = lfs_layout_json("/mnt/fs/f", &l);

	CHECK_EQ(json_integer_value(json_object_get(j, "stripe_count")), 2);
	CHECK_EQ(json_array_size(json_object_get(j, "osts")), 2);
	CHECK_STR(lfs_text(j, "fid"), "[0x200000404:0x5:0x0]");
	CHECK_STR(lfs_text(j, "type"), "file");
	json_decref(j);
}

TEST(options)
{
	char *both[] = {"getstripe", "-d", "-r", "f", NULL};
	char *none[] = {"getstripe", "-v", NULL};
	char *obd[] = {"getstripe", "-O", "fs-OST000a_UUID", "--yaml", "f", NULL};
	char *bad[] = {"getstripe", "-O", "MDT0", "f", NULL};
	struct lfs_getstripe_options o;
	int first = 0;

	CHECK_EQ(lfs_getstripe_parse(4, both, &o, &first), LFS_USAGE);
	CHECK_EQ(lfs_getstripe_parse(2, none, &o, &first), LFS_USAGE);
	CHECK_EQ(lfs_getstripe_parse(5, obd, &o, &first), 0);
	CHECK_EQ(o.ost, 10);
	CHECK(o.yaml && !o.single);
	CHECK_EQ(o.show, LFS_SHOW_DEFAULT);
	CHECK(lfs_getstripe_parse(4, bad, &o, &first) != 0);
}

/* A default that was set with a list of OSTs. */
TEST(directory_with_osts)
{
	struct lfs_layout l = {.dir = true,
		.stripe_size = MIB,
		.stripe_count = 2,
		.stripe_offset = 2,
		.osts_count = 2};

	l.osts[0] = 2;
	CAPTURE(out)
	{
		lfs_layout_print(out, "d", &l, &plain, false);
	}
	capture_is("stripe_count:  2 stripe_size:   1048576 pattern:       raid0 stripe_offset: 2\n"
		   "\tobdidx\t\t objid\t\t objid\t\t group\n"
		   "\t     2\t             0\t            0\t             0\n"
		   "\t     0\t             0\t            0\t             0\n"
		   "\n");
}
