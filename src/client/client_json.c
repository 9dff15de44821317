/*
 * A writer of JSON into a strbuf: the answers to tools are flat, and libnacre should need no library for them.
 *
 * `first` says that no comma is due. key NULL: within an array. Text that is not valid UTF-8 is passed on as it is, but for
 * control characters, which are escaped.
 */
#include <inttypes.h>

#include "client/client_int.h"

static void json_string(struct strbuf *out, const char *text)
{
	strbuf_append(out, "\"", 1);
	for (; *text != '\0'; text++) {
		unsigned char ch = (unsigned char)*text;

		if (ch == '"' || ch == '\\') {
			strbuf_append(out, "\\", 1);
			strbuf_append(out, text, 1);
		} else if (ch < 0x20) {
			strbuf_printf(out, "\\u%04x", ch);
		} else {
			strbuf_append(out, text, 1);
		}
	}
	strbuf_append(out, "\"", 1);
}

static void json_key(struct client_json *j, const char *key)
{
	if (!j->first) {
		strbuf_puts(j->out, ", ");
	}
	j->first = false;
	if (key != NULL) {
		json_string(j->out, key);
		strbuf_puts(j->out, ": ");
	}
}

void client_json_open(struct client_json *j, const char *key, char bracket)
{
	ASSERT(bracket == '{' || bracket == '[');
	json_key(j, key);
	strbuf_append(j->out, &bracket, 1);
	j->first = true;
}

void client_json_close(struct client_json *j, char bracket)
{
	ASSERT(bracket == '}' || bracket == ']');
	strbuf_append(j->out, &bracket, 1);
	j->first = false;
}

void client_json_text(struct client_json *j, const char *key, const char *text)
{
	json_key(j, key);
	json_string(j->out, text);
}

void client_json_number(struct client_json *j, const char *key, int64_t value)
{
	json_key(j, key);
	strbuf_printf(j->out, "%" PRId64, value);
}

void client_json_unsigned(struct client_json *j, const char *key, uint64_t value)
{
	/* Readers keep 64 bits with a sign. */
	client_json_number(j, key, (int64_t)u64_min(value, INT64_MAX));
}

void client_json_bool(struct client_json *j, const char *key, bool value)
{
	json_key(j, key);
	strbuf_puts(j->out, value ? "true" : "false");
}
