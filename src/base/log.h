/*
 * Structured logging: one line per event, `time level module message`, to stderr or a file.
 *
 * The layer that handles an error logs it, once. A line carries facts as key=value. In the
 * simulator the sink is replaced and the clock is virtual. Thread-safe; never blocks on anything
 * but the sink's write. libnacre installs a sink of its owner's choice (default: none).
 */
#ifndef NACRE_BASE_LOG_H
#define NACRE_BASE_LOG_H

#include "base/base.h"

enum log_level {
	LOG_ERROR = 0,
	LOG_WARN = 1,
	LOG_INFO = 2,
	LOG_DEBUG = 3,
};

/* Receives a whole line (the message: level, module and time are the sink's to write) without
 * newline and without control bytes. Calls are serialised; a sink neither logs nor switches
 * fibers. */
typedef void log_sink_fn(void *ctx, enum log_level level, const char *module, const char *line);

void log_level_set(enum log_level level);
enum log_level log_level_get(void);
/* NULL restores the default sink (stderr with a UTC time stamp). On return the old sink is out
 * of use. */
void log_sink_set(log_sink_fn *fn, void *ctx);
/* Appends to the file from now on (default sink). 0 or negative code. */
_check_ int log_file_open(const char *path);
/* "error", "warn", "info", "debug" in any case; -NE_INVAL otherwise. */
_check_ int log_level_parse(const char *name, enum log_level *ret_level);
void log_write(enum log_level level, const char *module, const char *fmt, ...) _printf_(3, 4);

#define log_error(module, ...) log_write(LOG_ERROR, module, __VA_ARGS__)
#define log_warn(module, ...) log_write(LOG_WARN, module, __VA_ARGS__)
#define log_info(module, ...) log_write(LOG_INFO, module, __VA_ARGS__)
#define log_debug(module, ...) \
	do { \
		if (unlikely(log_level_get() >= LOG_DEBUG)) { \
			log_write(LOG_DEBUG, module, __VA_ARGS__); \
		} \
	} while (0)

#endif
