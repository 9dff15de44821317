/*
 * 128-bit unique ids in the order of RFC 4122 text. Plain values; pure functions: thread-safe.
 */
#ifndef NACRE_BASE_UUID_H
#define NACRE_BASE_UUID_H

#include <string.h>

#include "base/base.h"

struct uuid {
	uint8_t bytes[16];
};

/* "01234567-89ab-cdef-0123-456789abcdef" and the NUL. */
#define UUID_STR_MAX 37

static inline bool uuid_eq(struct uuid a, struct uuid b)
{
	return memcmp(a.bytes, b.bytes, sizeof(a.bytes)) == 0;
}

static inline bool uuid_is_zero(struct uuid u)
{
	return uuid_eq(u, (struct uuid){.bytes = {0}});
}

/* A version-4 id out of 16 random bytes (6 of their bits are overwritten). */
struct uuid uuid_from_random(const uint8_t random[16]);
/* Writes the lower-case form with dashes; returns buf. cap >= UUID_STR_MAX. */
const char *uuid_format(struct uuid u, char *buf, size_t cap);
/* Accepts exactly the form with dashes, in any case. -NE_INVAL otherwise. */
_check_ int uuid_parse(const char *text, struct uuid *ret_uuid);

#endif
