/*
 * lfs find: arguments, comparisons, and the walk's parts on files of the build machine's own file
 * system.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "capture.h"
#include "cli/lfs_find.h"

static struct find_options o;

/* Splits at blanks. */
static int parse(const char *line)
{
	static char text[512];
	static char *argv[64];
	int argc = 0;

	snprintf(text, sizeof(text), "%s", line);
	for (char *word = strtok(text, " "); word != NULL; word = strtok(NULL, " ")) {
		argv[argc++] = word;
	}
	argv[argc] = NULL;
	return find_parse(argc, argv, &o);
}

static int refused(const char *line)
{
	int err = parse(line);

	CHECK(err != 0);
	return err;
}

TEST(paths_and_predicates)
{
	CHECK_EQ(parse("find /a -name *.c /b ! --type=f,d -maxdepth 3 --mindepth 1 -print0"), 0);
	CHECK_EQ(o.paths_count, 2);
	CHECK_STR(o.paths[1], "/b");
	CHECK_EQ(o.count, 2);
	CHECK_EQ(o.list[0].kind, FIND_NAME);
	CHECK(!o.list[0].negate);
	CHECK_EQ(o.list[1].kind, FIND_TYPE);
	CHECK(o.list[1].negate);
	CHECK_STR(o.list[1].text, "f,d");
	CHECK_EQ(o.depth_max, 3);
	CHECK_EQ(o.depth_min, 1);
	CHECK_EQ(o.output, FIND_PRINT0);
	find_options_fini(&o);
}

TEST(signs_and_units)
{
	CHECK_EQ(parse("find . -size +1M -s -4k -blocks 2 -mtime -2 -mmin +5 -links 2 -uid 0"), 0);
	CHECK_EQ(o.list[0].sign, FIND_MORE);
	CHECK_EQ(o.list[0].value, MIB);
	CHECK_EQ(o.list[0].unit, MIB);
	CHECK_EQ(o.list[1].sign, FIND_LESS);
	CHECK_EQ(o.list[2].value, 2048);
	CHECK_EQ(o.list[2].unit, 1024);
	CHECK_EQ(o.list[3].value, 2 * 86400);
	CHECK_EQ(o.list[3].sign, FIND_LESS);
	CHECK_EQ(o.list[4].value, 300);
	CHECK_EQ(o.list[4].unit, 60);
	CHECK_EQ(o.list[5].value, 2);
	CHECK_EQ(o.list[6].kind, FIND_USER);
	find_options_fini(&o);
}

TEST(layout_predicates)
{
	CHECK_EQ(
		parse("find . -ost 0,OST0002 -c +1 -S 1M -i 3 --pool flash -layout raid0 -m 0"), 0);
	CHECK_EQ(o.list[0].osts_count, 2);
	CHECK_EQ(o.list[0].osts[1], 2);
	CHECK_EQ(o.list[1].kind, FIND_STRIPE_COUNT);
	CHECK_EQ(o.list[2].value, MIB);
	CHECK_EQ(o.list[3].kind, FIND_OST);
	CHECK_STR(o.list[4].text, "flash");
	CHECK_EQ(o.list[6].kind, FIND_MDT);
	CHECK_EQ(o.list[6].value, 1);
	find_options_fini(&o);
}

TEST(wrong_arguments)
{
	CHECK_EQ(refused("find"), LFS_USAGE);
	CHECK_EQ(refused("find . -nonsense"), LFS_USAGE);
	CHECK_EQ(refused("find . -name"), LFS_USAGE);
	CHECK_EQ(refused("find . !"), LFS_USAGE);
	CHECK_EQ(refused("find . ! -print"), LFS_USAGE);
	CHECK_EQ(refused("find . -type x"), EINVAL);
	CHECK_EQ(refused("find . -size 1Q"), EINVAL);
	CHECK_EQ(refused("find . -mtime 3q"), EINVAL);
	CHECK_EQ(refused("find . -perm u+x"), EINVAL);
	CHECK_EQ(refused("find . -user no-such-user-here"), EINVAL);
	CHECK_EQ(refused("find . -newer /no/such/file"), ENOENT);
	CHECK_EQ(refused("find . -newerxm /"), LFS_USAGE);
	CHECK_EQ(refused("find . -ost x"), EINVAL);
	CHECK_EQ(refused("find . -printf %Q"), EINVAL);
	CHECK_EQ(refused("find . -maxdepth -1"), EINVAL);
}

TEST(times)
{
	uint64_t s = 0;
	uint64_t unit = 0;

	CHECK(find_time_parse("3", &s, &unit) && s == 3 * 86400 && unit == 86400);
	CHECK(find_time_parse("8h20m", &s, &unit) && s == 30000 && unit == 60);
	CHECK(find_time_parse("1w", &s, &unit) && s == 604800 && unit == 604800);
	CHECK(find_time_parse("90s", &s, &unit) && s == 90 && unit == 1);
	CHECK(!find_time_parse("", &s, &unit));
	CHECK(!find_time_parse("h", &s, &unit));
	CHECK(!find_time_parse("99999999999999999999y", &s, &unit));
}

TEST(size_compares)
{
	CHECK(find_size_cmp(100, FIND_EQUAL, 100, 1));
	CHECK(!find_size_cmp(99, FIND_EQUAL, 100, 1));
	CHECK(find_size_cmp(MIB + 1, FIND_MORE, MIB, MIB));
	CHECK(!find_size_cmp(MIB, FIND_MORE, MIB, MIB));
	CHECK(find_size_cmp(MIB - 1, FIND_LESS, MIB, MIB));
	CHECK(find_size_cmp(1, FIND_EQUAL, MIB, MIB));
	CHECK(find_size_cmp(MIB, FIND_EQUAL, MIB, MIB));
	CHECK(!find_size_cmp(MIB + 1, FIND_EQUAL, MIB, MIB));
	CHECK(find_size_cmp(0, FIND_EQUAL, 0, MIB));
	CHECK(!find_size_cmp(0, FIND_EQUAL, MIB, MIB));
}

TEST(age_compares)
{
	CHECK(find_age_cmp(86400, FIND_EQUAL, 86400, 86400));
	CHECK(find_age_cmp(2 * 86400 - 1, FIND_EQUAL, 86400, 86400));
	CHECK(!find_age_cmp(2 * 86400 - 1, FIND_MORE, 86400, 86400));
	CHECK(find_age_cmp(2 * 86400, FIND_MORE, 86400, 86400));
	CHECK(find_age_cmp(86399, FIND_LESS, 86400, 86400));
	CHECK(find_age_cmp(-5, FIND_LESS, 86400, 86400));
}

/* A file with known facts. */
static struct find_file file_make(void)
{
	static struct lfs_layout layout;
	struct find_file f = {.dir_fd = AT_FDCWD,
		.name = "x",
		.base = "Name.C",
		.path = "top/sub/Name.C",
		.start_len = 3,
		.depth = 2,
		.type = DT_REG,
		.have_inode = true,
		.have_layout = true,
		.layout = &layout};

	layout = (struct lfs_layout){
		.stripe_count = 2, .stripe_size = MIB, .stripe_offset = 3, .osts_count = 2};
	layout.osts[0] = 3;
	layout.osts[1] = 1;
	strcpy(layout.pool, "flash");
	f.inode.stx_mode = S_IFREG | S_ISUID | 0754;
	f.inode.stx_size = 5000;
	f.inode.stx_blocks = 16;
	f.inode.stx_nlink = 2;
	f.inode.stx_uid = 4000000001u;
	f.inode.stx_gid = 4000000002u;
	f.inode.stx_ino = 77;
	f.inode.stx_mtime.tv_sec = 1000;
	f.inode.stx_mtime.tv_nsec = 5;
	return f;
}

static bool matches(const char *predicates)
{
	struct find_file f = file_make();
	char line[256];
	bool match = false;

	snprintf(line, sizeof(line), "find . %s", predicates);
	CHECK_EQ(parse(line), 0);
	o.now_s = 1000 + 3 * 86400;
	CHECK_EQ(find_match(&o, &f, &match), 0);
	find_options_fini(&o);
	return match;
}

TEST(matching)
{
	CHECK(matches(""));
	CHECK(matches("-name *.C"));
	CHECK(!matches("-name *.c"));
	CHECK(matches("-iname *.c"));
	CHECK(matches("! -name *.c"));
	CHECK(matches("-path */sub/*"));
	CHECK(matches("-type f"));
	CHECK(matches("-type d,f"));
	CHECK(!matches("-type d"));
	CHECK(matches("-size 5000"));
	CHECK(matches("-size 5k -size +4k -size -5k"));
	CHECK(matches("-blocks 8"));
	CHECK(matches("-perm 4754"));
	CHECK(matches("-perm -750"));
	CHECK(!matches("-perm -755"));
	CHECK(matches("-perm /002") == false);
	CHECK(matches("-perm /006"));
	CHECK(matches("-uid 4000000001 -gid +5"));
	CHECK(matches("-links 2 -inum 77"));
	CHECK(matches("-mtime 3 -mtime +2 -mtime -4"));
	CHECK(!matches("-mtime 2"));
	CHECK(matches("-newermt @999"));
	CHECK(!matches("-newermt @1001"));
	CHECK(matches("! -newermt @1001"));
	CHECK(!matches("-btime 3"));
	CHECK(!matches("! -btime 3"));
	CHECK(matches("-stripe-count 2 -stripe-size 1M -ost 1 -i 0,3 -pool flash -layout raid0"));
	CHECK(!matches("-c +2"));
	CHECK(!matches("-ost 0,2"));
	CHECK(matches("! -pool disk"));
	CHECK(matches("-mdt-index 0"));
	CHECK(!matches("-mdt-index 1"));
	CHECK(!matches("-empty"));
	CHECK(matches("-size +1 -name N* ! -type l"));
}

TEST(links_have_no_layout)
{
	struct find_file f = file_make();
	bool match = true;

	f.type = DT_LNK;
	f.have_layout = false;
	CHECK_EQ(parse("find . -stripe-count 2"), 0);
	CHECK_EQ(find_match(&o, &f, &match), 0);
	CHECK(!match);
	find_options_fini(&o);
	CHECK_EQ(parse("find . ! -ost 1"), 0);
	CHECK_EQ(find_match(&o, &f, &match), 0);
	CHECK(match);
	find_options_fini(&o);
}

static void format_is(const char *format, const char *expected)
{
	struct find_file f = file_make();
	char bad[32];

	CHECK(find_format_check(format, bad, sizeof(bad)));
	CAPTURE(out)
	{
		CHECK_EQ(find_format_print(out, format, &f), 0);
	}
	capture_is(expected);
}

TEST(formats)
{
	format_is("%p|%f|%h|%P|%d|%y\\n", "top/sub/Name.C|Name.C|top/sub|sub/Name.C|2|f\n");
	format_is("%s %b %k %n %i %m %M", "5000 16 8 2 77 4754 -rwsr-xr--");
	format_is("%U %G %u %g %%", "4000000001 4000000002 4000000001 4000000002 %");
	format_is("%T@", "1000.0000000050");
	format_is("%Lc %LS %Li %Lo %Lp", "2 1048576 3 3,1 flash");
	format_is("a\\tb\\\\\\101", "a\tb\\A");
}

TEST(formats_refused)
{
	char bad[32];

	CHECK(!find_format_check("%", bad, sizeof(bad)));
	CHECK(!find_format_check("%Lz", bad, sizeof(bad)));
	CHECK_STR(bad, "%Lz");
	CHECK(!find_format_check("%A", bad, sizeof(bad)));
	CHECK(!find_format_check("ok %Q", bad, sizeof(bad)));
}

/* -empty asks the directory itself. */
TEST(empty_directories)
{
	char dir[] = "/tmp/lfs-find-XXXXXX";
	struct find_file f = {.base = "d", .path = "d", .type = DT_DIR};
	bool match = false;
	int fd;

	CHECK(mkdtemp(dir) != NULL);
	f.dir_fd = open(dir, O_RDONLY | O_DIRECTORY);
	f.name = ".";
	CHECK_EQ(parse("find . -empty"), 0);
	CHECK_EQ(find_match(&o, &f, &match), 0);
	CHECK(match);
	fd = openat(f.dir_fd, "file", O_CREAT | O_WRONLY, 0600);
	CHECK(fd >= 0);
	close(fd);
	CHECK_EQ(find_match(&o, &f, &match), 0);
	CHECK(!match);
	f = (struct find_file){.dir_fd = f.dir_fd, .name = "file", .base = "file", .type = DT_REG};
	CHECK_EQ(find_match(&o, &f, &match), 0);
	CHECK(match);
	find_options_fini(&o);
	CHECK_EQ(unlinkat(f.dir_fd, "file", 0), 0);
	close(f.dir_fd);
	CHECK_EQ(rmdir(dir), 0);
}
