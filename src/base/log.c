/*
 * The log: formats one line on the stack, hands it to the sink.
 *
 * Invariants: control bytes never reach a sink (a name from a user cannot forge a line); a line
 * goes out in one writev(2) to an O_APPEND descriptor; errno is left as it was. One mutex is held
 * while a sink runs, so that after log_sink_set or log_file_open returns the previous sink or file
 * is out of use. Lines below the level cost one relaxed load.
 */
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/base_int.h"
#include "base/error.h"
#include "base/log_int.h"

/* "2025-01-01T00:00:00.000000Z ERROR module " fits. */
#define LOG_PREFIX_MAX 96

static pthread_mutex_t log_mutex = PTHREAD_MUTEX_INITIALIZER;
static log_sink_fn *log_sink;
static void *log_sink_ctx;
static _Atomic(int) log_fd = STDERR_FILENO;
static _Atomic(enum log_level) log_level_now = LOG_INFO;
/* The most talkative of log_level_now and the modules' own. */
static _Atomic(enum log_level) log_level_max = LOG_INFO;
static _Atomic(bool) log_json;
static struct log_stats log_counts; /* under log_mutex, as are the modules */
static struct {
	char name[LOG_MODULE_MAX + 1];
	enum log_level level;
} log_modules[LOG_MODULES_MAX];
static unsigned log_module_count;

static const char *const log_level_names[] = {"ERROR", "WARN", "INFO", "DEBUG"};

static void log_level_max_update(void)
{
	enum log_level most = atomic_load(&log_level_now);

	for (unsigned i = 0; i < log_module_count; i++) {
		most = log_modules[i].level > most ? log_modules[i].level : most;
	}
	atomic_store(&log_level_max, most);
}

void log_level_set(enum log_level level)
{
	ASSERT((unsigned)level <= LOG_DEBUG);
	pthread_mutex_lock(&log_mutex);
	atomic_store_explicit(&log_level_now, level, memory_order_relaxed);
	log_level_max_update();
	pthread_mutex_unlock(&log_mutex);
}

enum log_level log_level_get(void)
{
	return atomic_load_explicit(&log_level_now, memory_order_relaxed);
}

enum log_level log_level_most(void)
{
	return atomic_load_explicit(&log_level_max, memory_order_relaxed);
}

const char *log_level_name(enum log_level level)
{
	static const char *const names[] = {"error", "warn", "info", "debug"};

	ASSERT((unsigned)level <= LOG_DEBUG);
	return names[level];
}

int log_module_level_set(const char *module, enum log_level level)
{
	size_t len = strlen(module);
	unsigned i = 0;
	int rc = 0;

	ASSERT((unsigned)level <= LOG_DEBUG);
	if (len == 0 || len > LOG_MODULE_MAX) {
		return -NE_INVAL;
	}
	pthread_mutex_lock(&log_mutex);
	while (i < log_module_count && strcmp(log_modules[i].name, module) != 0) {
		i++;
	}
	if (i == LOG_MODULES_MAX) {
		rc = -NE_LIMIT;
	} else {
		memcpy(log_modules[i].name, module, len + 1);
		log_modules[i].level = level;
		log_module_count += i == log_module_count;
		log_level_max_update();
	}
	pthread_mutex_unlock(&log_mutex);
	return rc;
}

void log_module_levels_clear(void)
{
	pthread_mutex_lock(&log_mutex);
	log_module_count = 0;
	log_level_max_update();
	pthread_mutex_unlock(&log_mutex);
}

/* Under log_mutex. */
static enum log_level module_level(const char *module)
{
	for (unsigned i = 0; i < log_module_count; i++) {
		if (strcmp(log_modules[i].name, module) == 0) {
			return log_modules[i].level;
		}
	}
	return log_level_get();
}

enum log_level log_module_level_get(const char *module)
{
	enum log_level level;

	pthread_mutex_lock(&log_mutex);
	level = module_level(module);
	pthread_mutex_unlock(&log_mutex);
	return level;
}

bool log_module_level_at(unsigned i, char ret_module[LOG_MODULE_MAX + 1], enum log_level *ret_level)
{
	bool there;

	pthread_mutex_lock(&log_mutex);
	there = i < log_module_count;
	if (there) {
		memcpy(ret_module, log_modules[i].name, sizeof(log_modules[i].name));
		*ret_level = log_modules[i].level;
	}
	pthread_mutex_unlock(&log_mutex);
	return there;
}

void log_json_set(bool json)
{
	atomic_store(&log_json, json);
}

void log_stats_get(struct log_stats *ret_stats)
{
	pthread_mutex_lock(&log_mutex);
	*ret_stats = log_counts;
	ret_stats->suppressed = log_limit_suppressed();
	pthread_mutex_unlock(&log_mutex);
}

void log_limit_set(unsigned burst, uint64_t window_ns)
{
	pthread_mutex_lock(&log_mutex);
	log_limit_configure(burst, window_ns);
	pthread_mutex_unlock(&log_mutex);
}

int log_level_parse(const char *name, enum log_level *ret_level)
{
	ASSERT(name != NULL && ret_level != NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(log_level_names); i++) {
		if (strcasecmp(name, log_level_names[i]) == 0) {
			*ret_level = (enum log_level)i;
			return 0;
		}
	}
	return -NE_INVAL;
}

void log_sink_set(log_sink_fn *fn, void *ctx)
{
	pthread_mutex_lock(&log_mutex);
	log_sink = fn;
	log_sink_ctx = ctx;
	pthread_mutex_unlock(&log_mutex);
}

int log_file_open(const char *path)
{
	ASSERT(path != NULL);
	int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);

	if (fd < 0) {
		return ne_from_errno(errno);
	}
	pthread_mutex_lock(&log_mutex);
	int old = atomic_exchange(&log_fd, fd);

	if (old != STDERR_FILENO) {
		close(old);
	}
	pthread_mutex_unlock(&log_mutex);
	return 0;
}

static void log_fd_write_one(int fd, const char *text, size_t size)
{
	ssize_t done = 0;

	do {
		done = write(fd, text, size);
	} while (done < 0 && errno == EINTR);
}

void log_fd_write(const char *text, size_t size)
{
	int fd = atomic_load(&log_fd);

	log_fd_write_one(STDERR_FILENO, text, size);
	if (fd != STDERR_FILENO) {
		log_fd_write_one(fd, text, size);
	}
}

/* Bytes below space and DEL become '?'; a tab stays. */
static void log_line_clean(char *line)
{
	for (unsigned char *p = (unsigned char *)line; *p != '\0'; p++) {
		if ((*p < ' ' && *p != '\t') || *p == 0x7f) {
			*p = '?';
		}
	}
}

/* A log that cannot be written is nobody's error to handle: the line is lost. */
static void log_parts_write(const struct iovec *parts, int count)
{
	ssize_t done = 0;

	do {
		done = writev(atomic_load(&log_fd), parts, count);
	} while (done < 0 && errno == EINTR);
}

static void log_sink_default(enum log_level level, const char *module, const char *line)
{
	char stamp[LOG_STAMP_MAX];
	char prefix[LOG_PREFIX_MAX];
	struct timespec now;
	struct tm tm;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	size_t len = strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &tm);

	snprintf(stamp + len, sizeof(stamp) - len, ".%06ldZ", now.tv_nsec / 1000);
	if (atomic_load_explicit(&log_json, memory_order_relaxed)) {
		char json[LOG_JSON_MAX];
		size_t n = log_json_line(stamp, log_level_name(level), module, line, json);

		log_parts_write(&(struct iovec){json, n}, 1);
		return;
	}
	int n = snprintf(
		prefix, sizeof(prefix), "%s %s %.32s ", stamp, log_level_names[level], module);

	ASSERT(n > 0 && (size_t)n < sizeof(prefix));
	struct iovec parts[] = {{prefix, (size_t)n}, {(void *)(uintptr_t)line, strlen(line)},
		{(void *)(uintptr_t) "\n", 1}};

	log_parts_write(parts, ARRAY_SIZE(parts));
}

/* Under log_mutex. */
static void log_emit(enum log_level level, const char *module, const char *line)
{
	log_counts.lines[level]++;
	if (log_sink != NULL) {
		log_sink(log_sink_ctx, level, module, line);
	} else {
		log_sink_default(level, module, line);
	}
}

/* Tells of what was left out. Under log_mutex. */
static void log_limit_report(void)
{
	struct log_limited kind;

	while (log_limit_next(&kind)) {
		char line[LOG_MODULE_MAX + 96];

		snprintf(line, sizeof(line),
			"%llu lines like the one before were left out: %.40s...",
			(unsigned long long)kind.count, kind.fmt);
		log_line_clean(line);
		log_emit(kind.level, kind.module, line);
	}
}

/* fmt NULL: the line is not left out, however many there are. */
static void log_deliver(enum log_level level, const char *module, const char *fmt, const char *line)
{
	pthread_mutex_lock(&log_mutex);
	if (level <= module_level(module)) {
		log_limit_report();
		if (level == LOG_DEBUG || fmt == NULL || log_limit_pass(level, module, fmt)) {
			log_emit(level, module, line);
		}
	}
	pthread_mutex_unlock(&log_mutex);
}

/* The kind is NULL for lines without a limit. */
static void _printf_(4, 0) log_vwrite(
	enum log_level level, const char *module, const char *kind, const char *fmt, va_list args)
{
	int saved_errno = errno;
	char line[LOG_LINE_MAX];
	int len;

	ASSERT((unsigned)level <= LOG_DEBUG);
	ASSERT(module != NULL && fmt != NULL);
	if (level > log_level_most()) {
		return;
	}
	len = vsnprintf(line, sizeof(line), fmt, args);
	if (len < 0) {
		line[0] = '\0';
	} else if ((size_t)len >= sizeof(line)) {
		memcpy(line + sizeof(line) - 4, "...", 4);
	}
	log_line_clean(line);
	log_deliver(level, module, kind, line);
	errno = saved_errno;
}

void log_write(enum log_level level, const char *module, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	log_vwrite(level, module, fmt, fmt, args);
	va_end(args);
}

void log_asked(const char *module, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	log_vwrite(LOG_INFO, module, NULL, fmt, args);
	va_end(args);
}
