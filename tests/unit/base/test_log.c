/*
 * The log: levels, sinks, what a line may contain, the file.
 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/error.h"
#include "test.h"

struct seen {
	unsigned lines;
	enum log_level level;
	char module[32];
	char line[2048];
};

static void sink(void *ctx, enum log_level level, const char *module, const char *line)
{
	struct seen *seen = ctx;

	seen->lines++;
	seen->level = level;
	snprintf(seen->module, sizeof(seen->module), "%s", module);
	snprintf(seen->line, sizeof(seen->line), "%s", line);
	errno = EDOM;
}

TEST(levels_and_sink)
{
	static struct seen seen;
	enum log_level level = LOG_ERROR;

	log_sink_set(sink, &seen);
	CHECK_EQ(log_level_get(), LOG_INFO);
	errno = ENOENT;
	log_warn("mod", "a=%d b=%s", 1, "x");
	CHECK_EQ(errno, ENOENT);
	CHECK_EQ(seen.lines, 1);
	CHECK_EQ(seen.level, LOG_WARN);
	CHECK_STR(seen.module, "mod");
	CHECK_STR(seen.line, "a=1 b=x");
	log_debug("mod", "hidden");
	CHECK_EQ(seen.lines, 1);
	log_level_set(LOG_DEBUG);
	log_debug("mod", "shown");
	CHECK_EQ(seen.lines, 2);
	log_level_set(LOG_ERROR);
	log_warn("mod", "hidden");
	CHECK_EQ(seen.lines, 2);
	log_error("mod", "shown");
	CHECK_EQ(seen.lines, 3);
	log_level_set(LOG_INFO);
	CHECK(log_level_parse("Debug", &level) == 0 && level == LOG_DEBUG);
	CHECK(log_level_parse("error", &level) == 0 && level == LOG_ERROR);
	CHECK_EQ(log_level_parse("verbose", &level), -NE_INVAL);
	CHECK_EQ(level, LOG_ERROR);
	log_sink_set(NULL, NULL);
}

/* A module may have a level of its own. */
TEST(module_levels)
{
	static struct seen seen;
	char module[LOG_MODULE_MAX + 1];
	enum log_level level;

	log_sink_set(sink, &seen);
	seen.lines = 0;
	CHECK_EQ(log_module_level_set("mds", LOG_DEBUG), 0);
	CHECK_EQ(log_module_level_set("rpc", LOG_ERROR), 0);
	log_debug("mds", "shown");
	log_debug("oss", "hidden");
	log_warn("rpc", "hidden");
	log_warn("oss", "shown");
	CHECK_EQ(seen.lines, 2);
	CHECK_EQ(log_module_level_get("mds"), LOG_DEBUG);
	CHECK_EQ(log_module_level_get("oss"), LOG_INFO);
	CHECK(log_module_level_at(0, module, &level));
	CHECK_STR(module, "mds");
	CHECK(!log_module_level_at(2, module, &level));
	log_module_levels_clear();
	log_debug("mds", "hidden");
	log_warn("rpc", "shown");
	CHECK_EQ(seen.lines, 3);
	CHECK_EQ(log_module_level_set("", LOG_DEBUG), -NE_INVAL);
	for (unsigned i = 0; i < LOG_MODULES_MAX; i++) {
		snprintf(module, sizeof(module), "m%u", i);
		CHECK_EQ(log_module_level_set(module, LOG_DEBUG), 0);
	}
	CHECK_EQ(log_module_level_set("more", LOG_DEBUG), -NE_LIMIT);
	CHECK_EQ(log_module_level_set("m3", LOG_INFO), 0);
	log_module_levels_clear();
	log_sink_set(NULL, NULL);
}

/* Lines of one kind are limited; others are not; what was left out is told. */
TEST(repeats)
{
	static struct seen seen;
	struct log_stats before;
	struct log_stats after;

	log_sink_set(sink, &seen);
	log_stats_get(&before);
	seen.lines = 0;
	log_limit_set(5, 3600 * NS_PER_S);
	for (unsigned i = 0; i < 100; i++) {
		log_warn("mod", "again %u", i);
	}
	CHECK_EQ(seen.lines, 5);
	log_warn("mod", "something else");
	CHECK_EQ(seen.lines, 6);
	log_stats_get(&after);
	CHECK_EQ(after.suppressed - before.suppressed, 95);
	CHECK_EQ(after.lines[LOG_WARN] - before.lines[LOG_WARN], 6);
	/* The window is over: the next line of any kind is preceded by the count. */
	log_limit_set(5, 0);
	log_info("mod", "one more");
	CHECK_EQ(seen.lines, 8);
	CHECK_STR(seen.line, "one more");
	log_limit_set(0, 0);
	for (unsigned i = 0; i < 100; i++) {
		log_warn("mod", "free %u", i);
	}
	CHECK_EQ(seen.lines, 108);
	log_sink_set(NULL, NULL);
}

static void line_read(int fd, char *buf, size_t cap)
{
	ssize_t n = pread(fd, buf, cap - 1, 0);

	CHECK(n > 0);
	buf[n] = '\0';
	CHECK_EQ(ftruncate(fd, 0), 0);
}

TEST(json)
{
	char path[] = "/tmp/nacre-test-log-XXXXXX";
	int fd = mkstemp(path);
	static char buf[4096];
	static char big[2000];

	CHECK(fd >= 0);
	CHECK_EQ(log_file_open(path), 0);
	log_json_set(true);
	log_warn("mod", "name=\"a\\b\" \xc3\xa9 \xff \xe2\x28\xa1");
	line_read(fd, buf, sizeof(buf));
	CHECK(strncmp(buf, "{\"time\":\"20", 11) == 0);
	CHECK(strstr(buf,
		      "Z\",\"level\":\"warn\",\"module\":\"mod\",\"message\":\"name=\\\"a\\\\b\\\" "
		      "\xc3\xa9 "
		      "\\ufffd \\ufffd(\\ufffd\"}\n") != NULL);
	memset(big, '"', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	log_warn("mod", "%s", big);
	line_read(fd, buf, sizeof(buf));
	CHECK_STR(buf + strlen(buf) - 5, "\\\"\"}\n");
	log_json_set(false);
	log_warn("mod", "text");
	line_read(fd, buf, sizeof(buf));
	CHECK(strstr(buf, "Z WARN mod text\n") != NULL);
	close(fd);
	unlink(path);
}

/* A name from a user cannot forge a line, and a long line is cut visibly. */
TEST(hostile_text)
{
	static struct seen seen;
	static char big[4000];

	log_sink_set(sink, &seen);
	log_info("mod", "name=%s", "a\n2026 ERROR x\x1b[2J\x7f\tb");
	CHECK_STR(seen.line, "name=a?2026 ERROR x?[2J?\tb");
	memset(big, 'x', sizeof(big) - 1);
	log_info("mod", "%s", big);
	size_t len = strlen(seen.line);

	CHECK(len > 500 && len < sizeof(big) - 1);
	CHECK_STR(seen.line + len - 3, "...");
	CHECK(seen.line[len - 4] == 'x');
	log_sink_set(NULL, NULL);
}

static size_t file_read(const char *path, char *buf, size_t cap)
{
	int fd = open(path, O_RDONLY);

	CHECK(fd >= 0);
	ssize_t len = read(fd, buf, cap - 1);

	CHECK(len >= 0);
	buf[len] = '\0';
	close(fd);
	return (size_t)len;
}

TEST(file)
{
	char dir[] = "/tmp/nacre-log-XXXXXX";
	char one[64], two[64];
	static char text[4096];
	static char big[4000];

	CHECK(mkdtemp(dir) != NULL);
	snprintf(one, sizeof(one), "%s/one", dir);
	snprintf(two, sizeof(two), "%s/two", dir);
	CHECK_EQ(log_file_open("/nonexistent/log"), -NE_NOENT);
	CHECK_EQ(log_file_open(one), 0);
	log_warn("mod", "first k=%d", 7);
	CHECK_EQ(log_file_open(two), 0);
	log_error("mod", "second");
	memset(big, 'x', sizeof(big) - 1);
	log_error("a-module-with-a-very-long-name-that-is-cut", "%s", big);
	file_read(one, text, sizeof(text));
	/* "2026-01-02T03:04:05.678901Z WARN mod first k=7\n" */
	CHECK(text[4] == '-' && text[10] == 'T' && text[19] == '.' && text[26] == 'Z');
	CHECK_STR(text + 27, " WARN mod first k=7\n");
	size_t len = file_read(two, text, sizeof(text));

	CHECK(strstr(text, " ERROR mod second\n") != NULL);
	CHECK(len > 4 && strcmp(text + len - 4, "...\n") == 0);
	unlink(one);
	unlink(two);
	rmdir(dir);
}
