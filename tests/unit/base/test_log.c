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
