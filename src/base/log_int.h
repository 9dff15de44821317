/*
 * The log's parts that are files of their own: JSON lines, and the limit on lines of one kind.
 */
#ifndef NACRE_BASE_LOG_INT_H
#define NACRE_BASE_LOG_INT_H

#include "base/log.h"

/* One line, bytes with NUL; longer ones end in "...". It is on the stack. */
#define LOG_LINE_MAX 1024
#define LOG_STAMP_MAX 40
/* A line as JSON: each byte may take six. Kept whole for lines of ASCII; others are cut. */
#define LOG_JSON_MAX (LOG_LINE_MAX + 512)

/* Writes one object and a newline to buf (LOG_JSON_MAX bytes); returns its length. Bytes that are no UTF-8 become
 * U+FFFD. What does not fit is left out at the end of the message. */
size_t log_json_line(
	const char *stamp, const char *level, const char *module, const char *line, char *buf);

struct log_limited {
	enum log_level level;
	const char *module;
	const char *fmt;
	uint64_t count;
};

/* All of these under the log's mutex. */
void log_limit_configure(unsigned burst, uint64_t window_ns);
/* May a line of this kind be written now? Counts it. */
bool log_limit_pass(enum log_level level, const char *module, const char *fmt);
/* The next kind whose window has passed and of which lines were left out; forgets them. */
bool log_limit_next(struct log_limited *ret_kind);
uint64_t log_limit_suppressed(void);

#endif
