/*
 * What a user can type: sources, option lists, command lines of mount(8) and fstab.
 */
#include "fuse/mount_opts.h"
#include "test.h"

static struct mount_opts o;
static char why[MOUNT_WHY_MAX];

static int source(const char *text)
{
	mount_opts_init(&o);
	why[0] = '\0';
	return mount_source_parse(&o, text, why);
}

static int list(const char *text)
{
	mount_opts_init(&o);
	why[0] = '\0';
	return mount_list_parse(&o, text, why);
}

TEST(sources)
{
	CHECK_EQ(source("host:/demo"), 0);
	CHECK_STR(o.addrs[0], "tcp:host:7988");
	CHECK_STR(o.fsname, "demo");
	CHECK_STR(o.subdir, "");
	CHECK_STR(o.source, "host:/demo");
	CHECK_EQ(source("192.0.2.1:1234,b:/demo/a/b/"), 0);
	CHECK_EQ(o.addr_count, 2);
	CHECK_STR(o.addrs[0], "tcp:192.0.2.1:1234");
	CHECK_STR(o.addrs[1], "tcp:b:7988");
	CHECK_STR(o.subdir, "a/b");
	CHECK_EQ(source("[::1]:7988,[2001:db8::5]:/x"), 0);
	CHECK_STR(o.addrs[0], "tcp:[::1]:7988");
	CHECK_STR(o.addrs[1], "tcp:[2001:db8::5]:7988");
}

TEST(bad_sources)
{
	static const char *const bad[] = {"", "host", "host:demo", ":/demo", "host:/", "host:0:/x",
		"host:99999:/x", "host:7x:/x", "[::1:/x", "[]:/x", ",:/x", "a,,b:/x", "a:1:2:/x",
		"host:/ninechars", "a,b,c,d,e,f,g,h,i:/x", "::1:/x"};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		CHECK_EQ(source(bad[i]), -NE_INVAL);
		CHECK(why[0] != '\0');
	}
}

TEST(options)
{
	CHECK_EQ(list("rw,key=/"
		      "k,ro,patience=30,nodev,suid,noexec,allow_other,no_uring,_netdev,noatime,"
		      "x-systemd.automount,nofail,log=/l,log_level=debug,defaults,subdir=/p/q"),
		0);
	CHECK(o.read_only && o.no_uring && o.noatime);
	CHECK_EQ(o.patience_s, 30);
	CHECK_EQ(o.dev, MOUNT_NO);
	CHECK_EQ(o.suid, MOUNT_YES);
	CHECK_EQ(o.exec, MOUNT_NO);
	CHECK_EQ(o.allow_other, MOUNT_YES);
	CHECK_EQ(o.log_level, LOG_DEBUG);
	CHECK_STR(o.key_path, "/k");
	CHECK_STR(o.subdir, "p/q");
	CHECK_EQ(list(""), 0);
	CHECK_EQ(list("rw,,ro"), 0);
}

TEST(unknown_options_are_named)
{
	CHECK_EQ(list("rw,frobnicate=7"), -NE_INVAL);
	CHECK(strstr(why, "frobnicate") != NULL);
	CHECK_EQ(list("patience=x"), -NE_INVAL);
	CHECK(strstr(why, "patience") != NULL);
	CHECK_EQ(list("key="), -NE_INVAL);
	CHECK_EQ(list("key"), -NE_INVAL);
	CHECK_EQ(list("patience=-1"), -NE_INVAL);
}

static int line(int argc, const char **argv)
{
	mount_opts_init(&o);
	why[0] = '\0';
	return mount_opts_parse(&o, argc, (char **)(uintptr_t)argv, why);
}

TEST(command_lines)
{
	const char *mount8[] = {"mount.nacre", "h:/f", "/mnt", "-o", "rw,key=/k", NULL};
	const char *flags[] = {
		"m", "h:/f", "/mnt", "-sfnv", "-okey=/k,frob", "-N", "/ns", "-t", "nacre"};
	const char *nokey[] = {"m", "h:/f", "/mnt"};
	const char *one[] = {"m", "h:/f", "-o", "key=/k"};
	const char *three[] = {"m", "h:/f", "/mnt", "/more", "-o", "key=/k"};
	const char *unknown[] = {"m", "--frob"};
	const char *help[] = {"m", "--help"};

	CHECK_EQ(line(5, mount8), 0);
	CHECK_STR(o.target, "/mnt");
	CHECK_STR(o.key_path, "/k");
	CHECK_EQ(line(9, flags), 0);
	CHECK(o.fake && o.sloppy && o.verbose);
	CHECK_EQ(line(3, nokey), -NE_INVAL);
	CHECK(strstr(why, "key=PATH") != NULL);
	CHECK_EQ(line(4, one), -NE_INVAL);
	CHECK_EQ(line(6, three), -NE_INVAL);
	CHECK_EQ(line(2, unknown), -NE_INVAL);
	CHECK_EQ(line(2, help), 0);
	CHECK(o.help);
	CHECK_EQ(line(4, mount8), -NE_INVAL);
}
