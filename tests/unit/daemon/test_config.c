/* nacred's configuration: what is accepted, and that each mistake is named with its place. */
#include "daemon/config.h"
#include "test.h"

#define GOOD \
	"version: 1\n" \
	"fsname: scratch\n" \
	"cluster_uuid: 01234567-89ab-cdef-0123-456789abcdef\n" \
	"listen: [\"unix:/run/a.sock\", \"tcp:[::1]:0\"]\n" \
	"mgs: [\"tcp:127.0.0.1:7988\"]\n" \
	"server_key: /etc/nacre/server.key\n" \
	"targets:\n" \
	"  - {name: OST000a, path: /data/ost, capacity_bytes: 1000}\n" \
	"  - {name: MDT0000, path: /data/mdt}\n"

static struct config config;
static char why[512];

static int parse(const char *text)
{
	return config_parse("x.yaml", text, strlen(text), &config, why, sizeof(why));
}

/* GOOD with one text replaced. */
static int parse_with(const char *from, const char *to)
{
	static char text[4096];
	const char *at = strstr(GOOD, from);

	CHECK(at != NULL);
	snprintf(text, sizeof(text), "%.*s%s%s", (int)(at - GOOD), GOOD, to, at + strlen(from));
	return parse(text);
}

static void refused(const char *from, const char *to, const char *message)
{
	CHECK_EQ(parse_with(from, to), -NE_CONFIG);
	if (strstr(why, message) == NULL) {
		fprintf(stderr, "expected \"%s\" in \"%s\"\n", message, why);
		abort();
	}
	CHECK(strchr(why, '\n') == NULL);
}

TEST(a_good_one)
{
	CHECK_EQ(parse(GOOD "log: {level: debug, file: /tmp/log}\nadvertise: [\"tcp:h:1\"]\n"), 0);
	CHECK_STR(config.node.fsname, "scratch");
	CHECK_EQ(config.node.listen_count, 2);
	CHECK_STR(config.node.listen[1], "tcp:[::1]:0");
	CHECK_EQ(config.node.mgs_count, 1);
	CHECK_EQ(config.node.advertise_count, 1);
	CHECK_EQ(config.node.target_count, 2);
	CHECK_STR(config.node.targets[0].name, "OST000a");
	CHECK_EQ(config.node.targets[0].capacity_bytes, 1000);
	CHECK_STR(config.node.targets[1].path, "/data/mdt");
	CHECK_EQ(config.log_level, LOG_DEBUG);
	CHECK_STR(config.log_file, "/tmp/log");
}

TEST(mistakes_are_named)
{
	refused("version: 1", "version: 2", "x.yaml:1:10: version 2 is not known");
	refused("version: 1\n", "", "key version is missing");
	refused("fsname: scratch", "fsname: toolongname", "1 to 8 characters");
	refused("fsname: scratch", "fsname: \"a/b\"", "letters, digits");
	refused("fsname: scratch", "fsnam: scratch", "x.yaml:2:1: unknown key fsnam");
	refused("fsname: scratch", "fsname: a\nfsname: b", "x.yaml:3:1: key fsname is given twice");
	refused("01234567-89ab", "01234567_89ab", "cluster_uuid must be a UUID");
	refused("unix:/run/a.sock", "unix:run", "no address");
	refused("tcp:[::1]:0", "tcp:[::1]:x", "no address");
	refused("[\"tcp:127.0.0.1:7988\"]", "[]", "mgs is empty");
	refused("/etc/nacre/server.key", "server.key", "absolute path");
	refused("OST000a", "OST000A", "no target name");
	refused("OST000a", "OST1000", "no target name");
	refused("MDT0000", "OST000a", "used by another target");
	refused("path: /data/mdt", "path: /data/ost", "used by another target");
	refused("capacity_bytes: 1000", "capacity_bytes: -1", "number of 0 or more");
	refused("capacity_bytes: 1000", "capacity_bytes: 10x", "must be a number");
	refused("capacity_bytes: 1000", "capacity: 1", "unknown key capacity");
}

TEST(not_yaml)
{
	CHECK_EQ(parse("a: [1"), -NE_CONFIG);
	CHECK(strstr(why, "not valid YAML") != NULL);
	CHECK_EQ(parse(""), -NE_CONFIG);
	CHECK_EQ(parse("- 1\n"), -NE_CONFIG);
	CHECK_EQ(parse("version\n"), -NE_CONFIG);
	CHECK_EQ(config_parse("x", "version: \"1\0\"", 13, &config, why, sizeof(why)), -NE_CONFIG);
}

TEST(too_many)
{
	static char text[65536];
	size_t n = (size_t)snprintf(text, sizeof(text), "%s", GOOD);

	for (int i = 0; i < NODE_TARGETS_MAX; i++) {
		n += (size_t)snprintf(text + n, sizeof(text) - n,
			"  - {name: OST%04x, path: /data/%d}\n", 256 + i, i);
	}
	CHECK_EQ(parse(text), -NE_CONFIG);
	CHECK(strstr(why, "more than 64 targets") != NULL);
}

TEST(monitor)
{
	CHECK_EQ(parse(GOOD), 0);
	CHECK(!config.monitor_given && !config.log_json && config.monitor.socket[0] == '\0');
	CHECK_EQ(parse(GOOD "log: {format: json}\nmonitor: {socket: /run/m, listen: "
			    "\"tcp:127.0.0.1:0\", "
			    "token_file: /etc/t}\n"),
		0);
	CHECK(config.monitor_given && config.log_json && !config.monitor.open);
	CHECK_STR(config.monitor.socket, "/run/m");
	CHECK_STR(config.monitor.listen, "tcp:127.0.0.1:0");
	CHECK_STR(config.monitor.token_file, "/etc/t");
	CHECK_EQ(parse(GOOD "monitor: {socket: none}\n"), 0);
	CHECK(config.monitor_no_socket);
	CHECK_EQ(parse(GOOD "monitor: {listen: \"tcp:[::]:1\", token_file: /etc/t, open: true}\n"),
		0);
	CHECK_EQ(parse(GOOD "monitor: {listen: \"tcp:[::1]:1\", token_file: /etc/t}\n"), 0);
}

TEST(monitor_mistakes)
{
	static const struct {
		const char *text;
		const char *message;
	} wrong[] = {
		{"monitor: {sockt: /a}\n", "x.yaml:10:11: unknown key sockt"},
		{"monitor: {socket: a}\n", "x.yaml:10:19: socket must be an absolute path"},
		{"monitor: {listen: \"tcp:0.0.0.0:1\", token_file: /t}\n",
			"x.yaml:10:19: tcp:0.0.0.0:1 is not a loopback"},
		{"monitor: {listen: \"tcp:[::]:1\", token_file: /t}\n", "is not a loopback"},
		{"monitor: {listen: \"tcp:localhost:1\", token_file: /t}\n", "is no address"},
		{"monitor: {listen: \"tcp:127.0.0.1:65536\", token_file: /t}\n", "is no address"},
		{"monitor: {listen: \"tcp:127.0.0.1:1\"}\n",
			"x.yaml:10:10: key token_file is missing"},
		{"monitor: {open: maybe}\n", "open must be true or false"},
		{"log: {format: xml}\n", "x.yaml:10:15: format must be text or json"},
	};

	for (unsigned i = 0; i < ARRAY_SIZE(wrong); i++) {
		static char text[4096];

		snprintf(text, sizeof(text), "%s%s", GOOD, wrong[i].text);
		CHECK_EQ(parse(text), -NE_CONFIG);
		if (strstr(why, wrong[i].message) == NULL) {
			fprintf(stderr, "expected \"%s\" in \"%s\"\n", wrong[i].message, why);
			abort();
		}
	}
}
