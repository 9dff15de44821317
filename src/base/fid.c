/*
 * FIDs: order, inode numbers, text. See fid.h.
 *
 * fid_ino is injective over issued FIDs because an MDT's sequences span LIM_MDT_MAX *
 * FID_SEQ_PER_MDT = 2^32 values and an issued oid is in 1..FID_OID_MAX. A FID from outside those
 * ranges still gets a non-zero number; it is the caller's business to refuse it.
 */
#include "base/fid.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/hash.h"
#include "base/limits.h"

_Static_assert(LIM_MDT_MAX *FID_SEQ_PER_MDT <= (UINT64_C(1) << 32), "inode numbers are injective");
_Static_assert(FID_OID_MAX < FID_INO_FIRST, "FID_INO_FIRST is no issued oid");

int fid_cmp(struct fid a, struct fid b)
{
	if (a.seq != b.seq) {
		return a.seq < b.seq ? -1 : 1;
	}
	if (a.oid != b.oid) {
		return a.oid < b.oid ? -1 : 1;
	}
	if (a.ver != b.ver) {
		return a.ver < b.ver ? -1 : 1;
	}
	return 0;
}

uint64_t fid_ino(struct fid f)
{
	if (fid_eq(f, fid_root())) {
		return 1;
	}
	uint64_t ino = (f.seq - FID_SEQ_NORMAL) << 32 | f.oid;

	return ino <= 1 ? FID_INO_FIRST : ino;
}

struct fid fid_from_ino(uint64_t ino)
{
	struct fid f = {.seq = FID_SEQ_NORMAL + (ino >> 32), .oid = (uint32_t)ino, .ver = 0};

	if (ino == 0) {
		return (struct fid){0};
	}
	if (ino == 1) {
		return fid_root();
	}
	if (ino == FID_INO_FIRST) {
		f.oid = 1;
	}
	ASSERT(fid_ino(f) == ino);
	return f;
}

uint64_t fid_hash(struct fid f)
{
	return hash_mix2(f.seq, (uint64_t)f.oid << 32 | f.ver);
}

const char *fid_format(struct fid f, char *buf, size_t cap)
{
	ASSERT(buf != NULL && cap > 0);
	int len = snprintf(
		buf, cap, "[0x%" PRIx64 ":0x%" PRIx32 ":0x%" PRIx32 "]", f.seq, f.oid, f.ver);

	ASSERT(len > 0);
	return buf;
}

static int hex_digit(char c)
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

/* Reads "0x<hex>" of at most digits_max digits at *pos and moves it behind. */
static int fid_hex_parse(const char **pos, unsigned digits_max, uint64_t *ret_value)
{
	const char *p = *pos;
	uint64_t value = 0;
	unsigned digits = 0;

	if (p[0] != '0' || (p[1] != 'x' && p[1] != 'X')) {
		return -NE_INVAL;
	}
	for (p += 2; hex_digit(*p) >= 0; p++) {
		value = value << 4 | (uint64_t)hex_digit(*p);
		if (++digits > digits_max) {
			return -NE_INVAL;
		}
	}
	if (digits == 0) {
		return -NE_INVAL;
	}
	*pos = p;
	*ret_value = value;
	return 0;
}

int fid_parse(const char *text, struct fid *ret_fid)
{
	uint64_t part[3];
	const char *p = text;

	ASSERT(text != NULL && ret_fid != NULL);
	bool bracket = *p == '[';

	p += bracket;
	for (unsigned i = 0; i < ARRAY_SIZE(part); i++) {
		if (i > 0 && *p++ != ':') {
			return -NE_INVAL;
		}
		int rc = fid_hex_parse(&p, i == 0 ? 16 : 8, &part[i]);

		if (rc != 0) {
			return rc;
		}
	}
	if (bracket && *p++ != ']') {
		return -NE_INVAL;
	}
	if (*p != '\0') {
		return -NE_INVAL;
	}
	*ret_fid = (struct fid){.seq = part[0], .oid = (uint32_t)part[1], .ver = (uint32_t)part[2]};
	return 0;
}
