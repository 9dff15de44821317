/*
 * A growing text with a bound, for dumps and reports.
 *
 * The first failure sticks: later appends do nothing, and the owner asks strbuf_error once at the
 * end. The text is always NUL-terminated and holds what was appended before the failure. Not
 * thread-safe.
 */
#ifndef NACRE_BASE_STRBUF_H
#define NACRE_BASE_STRBUF_H

#include <stdarg.h>

#include "base/base.h"

struct strbuf {
	char *text; /* NULL until the first append */
	size_t len; /* bytes without the NUL */
	size_t cap; /* bytes allocated */
	size_t len_max; /* bound on len */
	int error; /* 0 or the first failure */
};

/* len_max: bytes the text may grow to, without the NUL. Allocates nothing. */
void strbuf_init(struct strbuf *sb, size_t len_max);
void strbuf_fini(struct strbuf *sb);
/* Empties the text and forgets the error; keeps the memory. */
void strbuf_clear(struct strbuf *sb);
/* Each appends all or nothing. */
void strbuf_printf(struct strbuf *sb, const char *fmt, ...) _printf_(2, 3);
void strbuf_vprintf(struct strbuf *sb, const char *fmt, va_list args) _printf_(2, 0);
void strbuf_append(struct strbuf *sb, const void *bytes, size_t len);
void strbuf_puts(struct strbuf *sb, const char *text);
/* Lower-case hexadecimal of the bytes. */
void strbuf_hex(struct strbuf *sb, const void *bytes, size_t len);
/* 0, -NE_NOMEM, or -NE_RANGE if the bound was hit. */
_check_ int strbuf_error(const struct strbuf *sb);
/* The text, "" if empty; valid until the next append. */
const char *strbuf_text(const struct strbuf *sb);
/* Gives the text to the caller, who frees it (mem_free, free_ptr); strbuf is empty afterwards.
 * The stuck error, or -NE_NOMEM. */
_check_ int strbuf_take(struct strbuf *sb, char **ret_text);

#endif
