/*
 * Fuzz targets: what `lfs` believes: arguments, lines of mountinfo, and the JSON texts a mount answers with.
 *
 * What is accepted is printed as well, into the void: the printers must stand every fact that passed. lfs
 * says on stderr what it refuses; that is swallowed while a target runs.
 */
#include <stdio.h>
#include <stdlib.h>

#include "cli/lfs.h"
#include "cli/lfs_find.h"
#include "fuzz.h"

#define ARGS_MAX 24
#define TEXT_MAX 4096

static FILE *hole;

static FILE *hole_open(void)
{
	if (hole == NULL) {
		hole = fopen("/dev/null", "w");
		ASSERT(hole != NULL);
	}
	return hole;
}

/* ---- numbers and lists ---- */

static void run_lfs_numbers(const uint8_t *data, size_t size)
{
	char text[TEXT_MAX];
	uint32_t osts[64];
	uint32_t count = 0;
	uint64_t bytes, unit;
	int64_t n;

	fuzz_text(data, size, text, sizeof(text));
	if (lfs_size_parse(text, &bytes, &unit)) {
		ASSERT(unit > 0 && bytes % unit == 0);
	}
	if (lfs_int_parse(text, -5, 1000, &n)) {
		ASSERT(n >= -5 && n <= 1000);
	}
	if (lfs_osts_parse(text, osts, ARRAY_SIZE(osts), &count)) {
		ASSERT(count <= ARRAY_SIZE(osts));
		for (uint32_t i = 0; i < count; i++) {
			ASSERT(osts[i] < LIM_OST_MAX);
		}
	}
	if (find_time_parse(text, &bytes, &unit)) {
		ASSERT(unit > 0);
	}
}

static void seeds_lfs_numbers(struct fuzz_seeds *s)
{
	fuzz_seed_add(s, "list", "0,2-4,OST0007,fs-OST0001_UUID,0x3", 33);
	fuzz_seed_add(s, "size", "18446744073709551615k", 21);
	fuzz_seed_add(s, "time", "1w2d8h20m", 9);
}

/* ---- command lines: a word per line ---- */

static void run_lfs_args(const uint8_t *data, size_t size)
{
	static struct lfs_setstripe_options set;
	static struct lfs_getstripe_options get;
	static struct lfs_df_options df;
	static struct find_options find;
	static char text[TEXT_MAX];
	char *argv[ARGS_MAX + 1] = {NULL};
	char *rest = fuzz_text(data, size, text, sizeof(text));
	const char *path = NULL;
	FILE *before = stderr;
	int argc = 0;
	int first = 0;
	int r = 0;

	while (argc < ARGS_MAX && rest != NULL) {
		argc += (argv[argc] = strsep(&rest, "\n")) != NULL;
	}
	stderr = hole_open();
	if (strcmp(argv[0], "setstripe") == 0) {
		memset(&set, 0, sizeof(set));
		r = lfs_setstripe_parse(argc, argv, &set, &first);
		ASSERT(r != 0 || set.md.osts_count <= LIM_STRIPE_COUNT_MAX);
	} else if (strcmp(argv[0], "getstripe") == 0) {
		memset(&get, 0, sizeof(get));
		r = lfs_getstripe_parse(argc, argv, &get, &first);
	} else if (strcmp(argv[0], "df") == 0) {
		memset(&df, 0, sizeof(df));
		r = lfs_df_parse(argc, argv, &df, &path);
	} else {
		memset(&find, 0, sizeof(find));
		r = find_parse(argc, argv, &find);
		ASSERT(r != 0 || find.count <= FIND_PREDICATES_MAX);
		find_options_fini(&find);
	}
	stderr = before;
	ASSERT(r >= 0 && first >= 0 && first <= argc);
}

static void seeds_lfs_args(struct fuzz_seeds *s)
{
	static const char set[] = "setstripe\n-c\n-1\n-S\n4M\n-i\n2\n-p\nfs.fast\n-o\n1,2-3\nfile";
	static const char get[] = "getstripe\n-c\n-S\n-i\n-y\n-r\n--json\nfile\nother";
	static const char df[] = "df\n-h\n-i\n--ost=2\n-p\nfs.pool\n/mnt";
	static const char find[] =
		"find\n/a\n-name\n*.c\n!\n-size\n+4k\n-mtime\n-1d\n-type\nf,d\n-ost\n1,2\n"
		"-perm\n/u+rw\n-printf\n%p %s\\n\n-maxdepth\n3";

	fuzz_seed_add(s, "set", set, sizeof(set) - 1);
	fuzz_seed_add(s, "get", get, sizeof(get) - 1);
	fuzz_seed_add(s, "df", df, sizeof(df) - 1);
	fuzz_seed_add(s, "find", find, sizeof(find) - 1);
}

/* ---- /proc/self/mountinfo ---- */

static void run_lfs_mountinfo(const uint8_t *data, size_t size)
{
	static struct lfs_mount mount;
	char text[TEXT_MAX];

	memset(&mount, 0, sizeof(mount));
	if (lfs_mount_parse(fuzz_text(data, size, text, sizeof(text)), &mount)) {
		ASSERT(strlen(mount.fsname) <= LIM_FSNAME_MAX);
		ASSERT(memchr(mount.point, '\0', sizeof(mount.point)) != NULL);
	}
}

static void seeds_lfs_mountinfo(struct fuzz_seeds *s)
{
	static const char line[] =
		"36 35 98:0 / /mnt\\040a rw,noatime - fuse.nacre host:7988:/fs/sub rw\n";

	fuzz_seed_add(s, "line", line, sizeof(line) - 1);
}

/* ---- answers ---- */

static void targets_try(const json_t *j)
{
	static const struct lfs_df_options df = {.mdt_index = LFS_ANY, .ost_index = LFS_ANY};
	struct lfs_targets t;
	json_t *out;

	if (lfs_targets_decode(j, &t) != 0) {
		return;
	}
	lfs_df_print(hole_open(), &t, "/mnt", &df);
	lfs_tgts_print(hole_open(), &t, LFS_OST);
	out = lfs_df_json(&t, "/mnt");
	ASSERT(out != NULL);
	json_decref(out);
	lfs_targets_fini(&t);
}

static void layout_try(const json_t *j)
{
	static const struct lfs_getstripe_options show = {
		.show = LFS_SHOW_DEFAULT | LFS_SHOW_DETAIL, .ost = LFS_ANY};
	static const struct lfs_getstripe_options yaml = {
		.show = LFS_SHOW_DEFAULT, .yaml = true, .ost = LFS_ANY};
	static struct lfs_layout l;
	json_t *out;

	if (lfs_layout_decode(j, &l) != 0) {
		return;
	}
	ASSERT(l.osts_count <= LIM_STRIPE_COUNT_MAX);
	lfs_layout_print(hole_open(), "/mnt/file", &l, &show, true);
	lfs_layout_print(hole_open(), "/mnt/file", &l, &yaml, true);
	out = lfs_layout_json("/mnt/file", &l);
	ASSERT(out != NULL);
	json_decref(out);
}

static void run_lfs_json(const uint8_t *data, size_t size)
{
	json_t *j = json_loadb((const char *)data, size, 0, NULL);

	if (json_is_object(j)) {
		targets_try(j);
		layout_try(j);
		(void)!lfs_pools_print(hole_open(), j, NULL);
		(void)!lfs_pools_print(hole_open(), j, "fast");
	}
	json_decref(j);
}

static void seeds_lfs_json(struct fuzz_seeds *s)
{
	static const char map[] =
		"{\"fsname\":\"fs\",\"targets\":[{\"name\":\"OST0000\",\"kind\":\"OST\","
		"\"index\":0,\"active\":true,\"bytes_total\":9,\"bytes_free\":5,"
		"\"state\":\"active\",\"error\":\"\",\"files_total\":4}],"
		"\"pools\":[{\"name\":\"fast\",\"osts\":[0]}]}";
	static const char file[] =
		"{\"type\":\"file\",\"fid\":\"[0x200000401:0x1:0x0]\",\"stripe_count\":2,"
		"\"stripe_size\":1048576,\"stripe_offset\":0,\"gen\":1,\"pool\":\"p\","
		"\"objects\":[{\"ost\":0},{\"ost\":1}]}";
	static const char dir[] = "{\"type\":\"directory\",\"inherited\":true,\"stripe_count\":-1,"
				  "\"stripe_size\":4194304,\"stripe_offset\":-1,\"osts\":[1,2]}";

	fuzz_seed_add(s, "map", map, sizeof(map) - 1);
	fuzz_seed_add(s, "file", file, sizeof(file) - 1);
	fuzz_seed_add(s, "dir", dir, sizeof(dir) - 1);
}

const struct fuzz_target fuzz_targets[] = {
	{"lfs_numbers", run_lfs_numbers, seeds_lfs_numbers},
	{"lfs_args", run_lfs_args, seeds_lfs_args},
	{"lfs_mountinfo", run_lfs_mountinfo, seeds_lfs_mountinfo},
	{"lfs_json", run_lfs_json, seeds_lfs_json},
};
const unsigned fuzz_target_count = ARRAY_SIZE(fuzz_targets);
