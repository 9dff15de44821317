/*
 * Small things the commands share: the one line about a failure, numbers and lists in arguments,
 * JSON.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/lfs.h"

static void line_begin(const char *cmd)
{
	/* In the order of what was printed before. */
	fflush(stdout);
	fprintf(stderr, "error: %s: ", cmd);
}

int lfs_fail(const char *cmd, int err, const char *fmt, ...)
{
	va_list ap;

	ASSERT(err > 0);
	line_begin(cmd);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, ": %s\n", strerror(err));
	return err;
}

int lfs_refuse(const char *cmd, int err, const char *fmt, ...)
{
	va_list ap;

	ASSERT(err > 0);
	line_begin(cmd);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return err;
}

int lfs_usage(const char *cmd, const char *fmt, ...)
{
	va_list ap;

	line_begin(cmd);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "; see lfs %s --help\n", cmd);
	return LFS_USAGE;
}

int lfs_json_print(json_t *j)
{
	char *text = json_dumps(j, JSON_INDENT(2));

	json_decref(j);
	if (text == NULL) {
		return ENOMEM;
	}
	puts(text);
	free(text);
	return 0;
}

/* Bytes of a unit's letter, 0 if it is none. */
static uint64_t unit_bytes(char letter)
{
	static const char units[] = "kmgtpe";
	int lower = tolower((unsigned char)letter);
	const char *u;

	if (lower == 'c') {
		return 1;
	}
	if (lower == 'b') {
		return 512;
	}
	u = lower == '\0' ? NULL : strchr(units, lower);
	return u == NULL ? 0 : UINT64_C(1) << (10 * (u - units + 1));
}

/* 0x... is hexadecimal; a leading 0 alone means nothing. */
static int base_of(const char *text)
{
	return text[0] == '0' && tolower((unsigned char)text[1]) == 'x' ? 16 : 10;
}

bool lfs_size_parse(const char *text, uint64_t *ret_bytes, uint64_t *ret_unit)
{
	uint64_t unit = 1;
	unsigned long long n;
	char *end;

	if (!isdigit((unsigned char)text[0])) {
		return false;
	}
	errno = 0;
	n = strtoull(text, &end, base_of(text));
	if (errno != 0) {
		return false;
	}
	if (*end != '\0') {
		unit = unit_bytes(*end);
		if (unit == 0 || end[1] != '\0') {
			return false;
		}
	}
	if (n > UINT64_MAX / unit) {
		return false;
	}
	*ret_bytes = n * unit;
	if (ret_unit != NULL) {
		*ret_unit = unit;
	}
	return true;
}

bool lfs_int_parse(const char *text, int64_t min, int64_t max, int64_t *ret)
{
	char *end;
	long long n;

	if (!isdigit((unsigned char)text[0]) &&
		(text[0] != '-' || !isdigit((unsigned char)text[1]))) {
		return false;
	}
	errno = 0;
	n = strtoll(text, &end, base_of(text));
	if (errno != 0 || *end != '\0' || n < min || n > max) {
		return false;
	}
	*ret = n;
	return true;
}

bool lfs_ost_parse(const char *text, uint32_t *ret_index)
{
	char *end;
	int64_t n;
	const char *ost = text;
	const char *dash = strrchr(text, '-');

	if (lfs_int_parse(text, 0, LIM_OST_MAX - 1, &n)) {
		*ret_index = (uint32_t)n;
		return true;
	}
	if (dash != NULL) {
		ost = dash + 1;
	}
	if (strncmp(ost, "OST", 3) != 0 || !isxdigit((unsigned char)ost[3])) {
		return false;
	}
	n = (int64_t)strtoul(ost + 3, &end, 16);
	if (end - ost != 7 || (*end != '\0' && strcmp(end, "_UUID") != 0) || n >= LIM_OST_MAX) {
		return false;
	}
	*ret_index = (uint32_t)n;
	return true;
}

/* One element of a list: an OST or a range of numbers. */
static bool element_parse(char *word, uint32_t *ret_first, uint32_t *ret_last)
{
	char *dash = strchr(word, '-');

	if (lfs_ost_parse(word, ret_first)) {
		*ret_last = *ret_first;
		return true;
	}
	if (dash == NULL) {
		return false;
	}
	*dash = '\0';
	return lfs_ost_parse(word, ret_first) && lfs_ost_parse(dash + 1, ret_last) &&
		*ret_first <= *ret_last;
}

bool lfs_osts_parse(const char *text, uint32_t *osts, uint32_t cap, uint32_t *count)
{
	_cleanup_(free_ptr) char *copy = strdup(text);
	char *rest = copy;
	char *word;

	if (copy == NULL) {
		return false;
	}
	while ((word = strsep(&rest, ",")) != NULL) {
		uint32_t first;
		uint32_t last;

		if (!element_parse(word, &first, &last) || cap - *count < last - first + 1) {
			return false;
		}
		for (uint32_t i = first; i <= last; i++) {
			osts[(*count)++] = i;
		}
	}
	return true;
}
