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

#define LOG_MODULE_MAX 31
#define LOG_MODULES_MAX 16

/* Receives a whole line (the message: level, module and time are the sink's to write) without
 * newline and without control bytes. Calls are serialised; a sink neither logs nor switches
 * fibers. */
typedef void log_sink_fn(void *ctx, enum log_level level, const char *module, const char *line);

/* For all modules without a level of their own. May change at any time, from any thread. */
void log_level_set(enum log_level level);
enum log_level log_level_get(void);
/* A level for one module's lines. -NE_LIMIT: LOG_MODULES_MAX modules have one; -NE_INVAL: no module's name. */
_check_ int log_module_level_set(const char *module, enum log_level level);
/* Every module has the common level again. */
void log_module_levels_clear(void);
/* The level of a module's lines. */
enum log_level log_module_level_get(const char *module);
/* The i-th module with a level of its own; false behind the last. */
bool log_module_level_at(
	unsigned i, char ret_module[LOG_MODULE_MAX + 1], enum log_level *ret_level);
/* The most talkative of all levels: below it, no line is written. */
enum log_level log_level_most(void);
const char *log_level_name(enum log_level level); /* "error", ... */
/* The default sink writes one JSON object per line instead of text. */
void log_json_set(bool json);
/* At most `burst` lines of one kind (the same format text of the same module) within window_ns; what is left out
 * is counted, and told with the next line of that kind, or when the window has passed and another line is written.
 * burst 0, the default: no limit. Debug lines are not limited. For daemons: it reads the clock. */
void log_limit_set(unsigned burst, uint64_t window_ns);

struct log_stats {
	uint64_t lines[LOG_DEBUG + 1]; /* by level, written */
	uint64_t suppressed;
};

void log_stats_get(struct log_stats *ret_stats);
/* NULL restores the default sink (stderr with a UTC time stamp). On return the old sink is out
 * of use. */
void log_sink_set(log_sink_fn *fn, void *ctx);
/* Appends to the file from now on (default sink). 0 or negative code. */
_check_ int log_file_open(const char *path);
/* "error", "warn", "info", "debug" in any case; -NE_INVAL otherwise. */
_check_ int log_level_parse(const char *name, enum log_level *ret_level);
void log_write(enum log_level level, const char *module, const char *fmt, ...) _printf_(3, 4);
/* At LOG_INFO, and never left out: what somebody asked for. */
void log_asked(const char *module, const char *fmt, ...) _printf_(2, 3);

#define log_error(module, ...) log_write(LOG_ERROR, module, __VA_ARGS__)
#define log_warn(module, ...) log_write(LOG_WARN, module, __VA_ARGS__)
#define log_info(module, ...) log_write(LOG_INFO, module, __VA_ARGS__)
#define log_debug(module, ...) \
	do { \
		if (unlikely(log_level_most() >= LOG_DEBUG)) { \
			log_write(LOG_DEBUG, module, __VA_ARGS__); \
		} \
	} while (0)

#endif
