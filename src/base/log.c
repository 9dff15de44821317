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

/* One line, bytes with NUL; longer ones end in "...". It is on the stack. */
#define LOG_LINE_MAX 1024
/* "2025-01-01T00:00:00.000000Z ERROR module " fits. */
#define LOG_PREFIX_MAX 96

static pthread_mutex_t log_mutex = PTHREAD_MUTEX_INITIALIZER;
static log_sink_fn *log_sink;
static void *log_sink_ctx;
static _Atomic(int) log_fd = STDERR_FILENO;
static _Atomic(enum log_level) log_level_now = LOG_INFO;

static const char *const log_level_names[] = {"ERROR", "WARN", "INFO", "DEBUG"};

void log_level_set(enum log_level level)
{
	ASSERT((unsigned)level <= LOG_DEBUG);
	atomic_store_explicit(&log_level_now, level, memory_order_relaxed);
}

enum log_level log_level_get(void)
{
	return atomic_load_explicit(&log_level_now, memory_order_relaxed);
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

static void log_sink_default(enum log_level level, const char *module, const char *line)
{
	char prefix[LOG_PREFIX_MAX];
	struct timespec now;
	struct tm tm;
	ssize_t done = 0;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	size_t len = strftime(prefix, sizeof(prefix), "%Y-%m-%dT%H:%M:%S", &tm);
	int more = snprintf(prefix + len, sizeof(prefix) - len, ".%06ldZ %s %.32s ",
		now.tv_nsec / 1000, log_level_names[level], module);

	ASSERT(more > 0 && len + (size_t)more < sizeof(prefix));
	struct iovec parts[] = {{prefix, len + (size_t)more},
		{(void *)(uintptr_t)line, strlen(line)}, {(void *)(uintptr_t) "\n", 1}};

	/* A log that cannot be written is nobody's error to handle: the line is lost. */
	do {
		done = writev(atomic_load(&log_fd), parts, ARRAY_SIZE(parts));
	} while (done < 0 && errno == EINTR);
}

void log_write(enum log_level level, const char *module, const char *fmt, ...)
{
	int saved_errno = errno;
	char line[LOG_LINE_MAX];
	va_list args;

	ASSERT((unsigned)level <= LOG_DEBUG);
	ASSERT(module != NULL && fmt != NULL);
	if (level > log_level_get()) {
		return;
	}
	va_start(args, fmt);
	int len = vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	if (len < 0) {
		line[0] = '\0';
	} else if ((size_t)len >= sizeof(line)) {
		memcpy(line + sizeof(line) - 4, "...", 4);
	}
	log_line_clean(line);
	pthread_mutex_lock(&log_mutex);
	if (log_sink != NULL) {
		log_sink(log_sink_ctx, level, module, line);
	} else {
		log_sink_default(level, module, line);
	}
	pthread_mutex_unlock(&log_mutex);
	errno = saved_errno;
}
