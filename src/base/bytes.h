/*
 * Byte spans, and loads and stores of integers in a stated byte order at any alignment.
 *
 * Little-endian (le) is the wire's and the disk's order; big-endian (be) is for keys, so that
 * memcmp orders them as the numbers. Callers own the memory and have checked its size. Thread-safe.
 */
#ifndef NACRE_BASE_BYTES_H
#define NACRE_BASE_BYTES_H

#include <endian.h>
#include <string.h>

#include "base/base.h"

/* Bytes that somebody else owns. ptr may be NULL if len is 0. */
struct span {
	const void *ptr;
	size_t len;
};

static inline struct span span_of(const void *ptr, size_t len)
{
	return (struct span){.ptr = ptr, .len = len};
}

/* A C string without its NUL. */
static inline struct span span_str(const char *text)
{
	return (struct span){.ptr = text, .len = strlen(text)};
}

/* <0, 0, >0: memcmp order, then the shorter first. */
static inline int span_cmp(struct span a, struct span b)
{
	size_t len = a.len < b.len ? a.len : b.len;
	int c = len == 0 ? 0 : memcmp(a.ptr, b.ptr, len);

	if (c != 0) {
		return c;
	}
	return (a.len > b.len) - (a.len < b.len);
}

static inline bool span_eq(struct span a, struct span b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

/* The C library's memcpy with NULL allowed for no bytes. */
static inline void bytes_copy(void *dst, const void *src, size_t len)
{
	if (len != 0) {
		memcpy(dst, src, len);
	}
}

static inline uint16_t le16_load(const void *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return le16toh(v);
}

static inline uint32_t le32_load(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static inline uint64_t le64_load(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

static inline void le16_store(void *p, uint16_t v)
{
	v = htole16(v);
	memcpy(p, &v, sizeof(v));
}

static inline void le32_store(void *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}

static inline void le64_store(void *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof(v));
}

static inline uint16_t be16_load(const void *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return be16toh(v);
}

static inline uint32_t be32_load(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static inline uint64_t be64_load(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return be64toh(v);
}

static inline void be16_store(void *p, uint16_t v)
{
	v = htobe16(v);
	memcpy(p, &v, sizeof(v));
}

static inline void be32_store(void *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, sizeof(v));
}

static inline void be64_store(void *p, uint64_t v)
{
	v = htobe64(v);
	memcpy(p, &v, sizeof(v));
}

#endif
