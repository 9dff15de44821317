/*
 * Growing bounded text. See strbuf.h.
 *
 * Invariants: text == NULL iff cap == 0; otherwise len < cap and text[len] == 0; len <= len_max.
 */
#include "base/strbuf.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/error.h"

/* The first allocation, bytes. */
#define STRBUF_CAP_FIRST 128

void strbuf_init(struct strbuf *sb, size_t len_max)
{
	ASSERT(sb != NULL);
	ASSERT(len_max < SIZE_MAX / 4);
	*sb = (struct strbuf){.len_max = len_max};
}

void strbuf_fini(struct strbuf *sb)
{
	ASSERT(sb != NULL);
	mem_free(sb->text);
	*sb = (struct strbuf){.len_max = sb->len_max};
}

void strbuf_clear(struct strbuf *sb)
{
	ASSERT(sb != NULL);
	sb->len = 0;
	sb->error = 0;
	if (sb->text != NULL) {
		sb->text[0] = '\0';
	}
}

/* Makes room for more bytes and a NUL, or sets the error. True if there is room. */
static bool strbuf_grow(struct strbuf *sb, size_t more)
{
	if (sb->error != 0) {
		return false;
	}
	if (more > sb->len_max - sb->len) {
		sb->error = -NE_RANGE;
		return false;
	}
	size_t need = sb->len + more + 1;

	if (need <= sb->cap) {
		return true;
	}
	size_t cap = u64_max(need, u64_max(STRBUF_CAP_FIRST, sb->cap * 2));
	char *text = mem_realloc(sb->text, cap);

	if (text == NULL) {
		sb->error = -NE_NOMEM;
		return false;
	}
	text[sb->len] = '\0';
	sb->text = text;
	sb->cap = cap;
	return true;
}

void strbuf_append(struct strbuf *sb, const void *bytes, size_t len)
{
	ASSERT(sb->len <= sb->len_max);
	ASSERT(bytes != NULL || len == 0);
	if (!strbuf_grow(sb, len)) {
		return;
	}
	bytes_copy(sb->text + sb->len, bytes, len);
	sb->len += len;
	sb->text[sb->len] = '\0';
}

void strbuf_puts(struct strbuf *sb, const char *text)
{
	strbuf_append(sb, text, strlen(text));
}

void strbuf_hex(struct strbuf *sb, const void *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *p = bytes;

	ASSERT(bytes != NULL || len == 0);
	if (len > sb->len_max) {
		sb->error = sb->error != 0 ? sb->error : -NE_RANGE;
		return;
	}
	if (!strbuf_grow(sb, len * 2)) {
		return;
	}
	for (size_t i = 0; i < len; i++) {
		sb->text[sb->len++] = digits[p[i] >> 4];
		sb->text[sb->len++] = digits[p[i] & 15];
	}
	sb->text[sb->len] = '\0';
}

void strbuf_vprintf(struct strbuf *sb, const char *fmt, va_list args)
{
	va_list again;

	ASSERT(sb->len <= sb->len_max);
	va_copy(again, args);
	int len = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (len < 0) {
		/* The C library could not convert (wide characters): nothing a caller could
		 * cure. */
		sb->error = sb->error != 0 ? sb->error : -NE_INVAL;
		return;
	}
	if (!strbuf_grow(sb, (size_t)len)) {
		return;
	}
	int wrote = vsnprintf(sb->text + sb->len, (size_t)len + 1, fmt, args);

	ASSERT(wrote == len);
	sb->len += (size_t)len;
}

void strbuf_printf(struct strbuf *sb, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	strbuf_vprintf(sb, fmt, args);
	va_end(args);
}

int strbuf_error(const struct strbuf *sb)
{
	return sb->error;
}

const char *strbuf_text(const struct strbuf *sb)
{
	return sb->text == NULL ? "" : sb->text;
}

int strbuf_take(struct strbuf *sb, char **ret_text)
{
	ASSERT(ret_text != NULL);
	if (!strbuf_grow(sb, 0)) {
		return sb->error;
	}
	*ret_text = TAKE_PTR(sb->text);
	strbuf_fini(sb);
	return 0;
}
