/*
 * A log line as a JSON object: {"time":...,"level":...,"module":...,"message":...}.
 */
#include <stdio.h>
#include <string.h>

#include "base/log_int.h"

struct json_out {
	char *buf;
	size_t len;
	size_t max; /* what texts may fill; room for the end is kept */
};

/* Length of the UTF-8 sequence at p, 0 if it is none. */
static size_t utf8_len(const unsigned char *p)
{
	unsigned first = p[0];
	size_t n = first < 0x80                 ? 1
		: first >= 0xc2 && first < 0xe0 ? 2
		: (first & 0xf0) == 0xe0        ? 3
						: 0;

	if (first >= 0xf0 && first < 0xf5) {
		n = 4;
	}
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80) {
			return 0;
		}
	}
	/* Overlong forms, surrogates, beyond U+10FFFF. */
	if ((first == 0xe0 && p[1] < 0xa0) || (first == 0xed && p[1] >= 0xa0) ||
		(first == 0xf0 && p[1] < 0x90) || (first == 0xf4 && p[1] >= 0x90)) {
		return 0;
	}
	return n;
}

static bool json_put(struct json_out *o, const char *text, size_t len)
{
	if (o->len + len > o->max) {
		return false;
	}
	memcpy(o->buf + o->len, text, len);
	o->len += len;
	return true;
}

static void json_text(struct json_out *o, const char *text)
{
	const unsigned char *p = (const unsigned char *)text;
	bool room = true;

	while (room && *p != '\0') {
		size_t n = utf8_len(p);
		char escape[8];

		if (*p == '"' || *p == '\\') {
			escape[0] = '\\';
			escape[1] = (char)*p;
			room = json_put(o, escape, 2);
		} else if (*p < ' ' || *p == 0x7f) {
			snprintf(escape, sizeof(escape), "\\u%04x", *p);
			room = json_put(o, escape, 6);
		} else if (n == 0) {
			room = json_put(o, "\\ufffd", 6);
		} else {
			room = json_put(o, (const char *)p, n);
		}
		p += n == 0 ? 1 : n;
	}
}

static void json_member(struct json_out *o, const char *name, const char *value)
{
	o->max += 16;
	(void)json_put(o, o->len == 0 ? "{\"" : "\",\"", o->len == 0 ? 2 : 3);
	(void)json_put(o, name, strlen(name));
	(void)json_put(o, "\":\"", 3);
	o->max -= 16;
	json_text(o, value);
}

size_t log_json_line(
	const char *stamp, const char *level, const char *module, const char *line, char *buf)
{
	struct json_out o = {.buf = buf, .max = LOG_JSON_MAX - 24};

	json_member(&o, "time", stamp);
	json_member(&o, "level", level);
	json_member(&o, "module", module);
	json_member(&o, "message", line);
	o.max = LOG_JSON_MAX;
	(void)json_put(&o, "\"}\n", 3);
	ASSERT(o.len > 3 && o.buf[o.len - 1] == '\n');
	return o.len;
}
