/*
 * UUID text and version-4 ids (RFC 4122 section 4.4). See uuid.h.
 */
#include "base/uuid.h"

#include "base/error.h"

/* Where the text has a dash. */
static bool uuid_is_dash(size_t pos)
{
	return pos == 8 || pos == 13 || pos == 18 || pos == 23;
}

struct uuid uuid_from_random(const uint8_t random[16])
{
	struct uuid u;

	ASSERT(random != NULL);
	memcpy(u.bytes, random, sizeof(u.bytes));
	u.bytes[6] = (uint8_t)((u.bytes[6] & 0x0f) | 0x40);
	u.bytes[8] = (uint8_t)((u.bytes[8] & 0x3f) | 0x80);
	return u;
}

const char *uuid_format(struct uuid u, char *buf, size_t cap)
{
	static const char digits[] = "0123456789abcdef";
	size_t pos = 0;

	ASSERT(buf != NULL);
	ASSERT(cap >= UUID_STR_MAX);
	for (unsigned i = 0; i < sizeof(u.bytes); i++) {
		if (uuid_is_dash(pos)) {
			buf[pos++] = '-';
		}
		buf[pos++] = digits[u.bytes[i] >> 4];
		buf[pos++] = digits[u.bytes[i] & 15];
	}
	ASSERT(pos == UUID_STR_MAX - 1);
	buf[pos] = '\0';
	return buf;
}

static int uuid_digit(char c)
{
	if (c >= '0' && c <= '9') {
		return c - '0';
	}
	if (c >= 'a' && c <= 'f') {
		return c - 'a' + 10;
	}
	if (c >= 'A' && c <= 'F') {
		return c - 'A' + 10;
	}
	return -1;
}

int uuid_parse(const char *text, struct uuid *ret_uuid)
{
	struct uuid u = {.bytes = {0}};
	unsigned digits = 0;

	ASSERT(text != NULL && ret_uuid != NULL);
	for (size_t pos = 0; pos < UUID_STR_MAX - 1; pos++) {
		if (uuid_is_dash(pos)) {
			if (text[pos] != '-') {
				return -NE_INVAL;
			}
			continue;
		}
		int digit = uuid_digit(text[pos]);

		if (digit < 0) {
			return -NE_INVAL;
		}
		u.bytes[digits / 2] = (uint8_t)(u.bytes[digits / 2] << 4 | digit);
		digits++;
	}
	ASSERT(digits == 2 * sizeof(u.bytes));
	if (text[UUID_STR_MAX - 1] != '\0') {
		return -NE_INVAL;
	}
	*ret_uuid = u;
	return 0;
}
