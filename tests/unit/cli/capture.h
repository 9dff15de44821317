/*
 * What a function printed, for comparing byte by byte: CAPTURE(out) { print(out, ...); } then
 * capture_is("...").
 */
#ifndef NACRE_TESTS_CAPTURE_H
#define NACRE_TESTS_CAPTURE_H

#include "test.h"

static char *capture_text;
static size_t capture_len;

static inline FILE *capture_begin(void)
{
	FILE *f = open_memstream(&capture_text, &capture_len);

	CHECK(f != NULL);
	return f;
}

static inline FILE *capture_end(FILE *f)
{
	fclose(f);
	return NULL;
}

/* Runs the block with `out` open. */
#define CAPTURE(out) for (FILE *out = capture_begin(); out != NULL; out = capture_end(out))

static inline void capture_is(const char *expected)
{
	CHECK_STR(capture_text, expected);
	free(capture_text);
	capture_text = NULL;
}

#endif
