/*
 * The log's bytes: segment headers, records, names. Pure functions; see wal_int.h for the layout.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/crc32c.h"
#include "store/wal_int.h"

uint32_t wal_seed(const uint8_t salt[16], uint64_t number)
{
	uint8_t buf[8];

	le64_store(buf, number);
	return crc32c(crc32c(0, salt, 16), buf, sizeof(buf));
}

void wal_header_encode(const struct wal_header *h, uint8_t buf[WAL_HEADER_BYTES])
{
	ASSERT(h->bytes >= WAL_HEADER_BYTES && h->number > 0);
	memset(buf, 0, WAL_HEADER_BYTES);
	le64_store(buf, WAL_MAGIC);
	le32_store(buf + 8, WAL_VERSION);
	le64_store(buf + 16, h->number);
	le64_store(buf + 24, h->bytes);
	memcpy(buf + 32, h->salt, sizeof(h->salt));
	le32_store(buf + 12, crc32c(0, buf, WAL_HEADER_USED));
}

int wal_header_decode(const uint8_t buf[WAL_HEADER_BYTES], struct wal_header *ret_header)
{
	uint8_t copy[WAL_HEADER_USED];

	memcpy(copy, buf, sizeof(copy));
	le32_store(copy + 12, 0);
	if (le64_load(buf) != WAL_MAGIC || le32_load(buf + 12) != crc32c(0, copy, sizeof(copy))) {
		return -NE_CORRUPT;
	}
	if (le32_load(buf + 8) > WAL_VERSION) {
		return -NE_TOONEW;
	}
	ret_header->number = le64_load(buf + 16);
	ret_header->bytes = le64_load(buf + 24);
	memcpy(ret_header->salt, buf + 32, sizeof(ret_header->salt));
	return 0;
}

uint64_t wal_rec_bytes(uint32_t len)
{
	return u64_round_up(WAL_REC_BYTES + (uint64_t)len, WAL_ALIGN);
}

uint32_t wal_rec_seal(uint8_t *p, const struct wal_rec *rec, uint32_t seed)
{
	uint32_t crc;

	ASSERT(rec->len <= LIM_WAL_RECORD_MAX);
	ASSERT(rec->type > 0 && rec->type < WAL_TYPES);
	le32_store(p + 4, rec->prev_crc);
	le32_store(p + 8, rec->len);
	le16_store(p + 12, (uint16_t)rec->type);
	le16_store(p + 14, 0);
	le64_store(p + 16, rec->lsn);
	le64_store(p + 24, rec->durable);
	crc = crc32c(seed, p + 4, WAL_REC_BYTES - 4 + (size_t)rec->len);
	le32_store(p, crc);
	return crc;
}

bool wal_rec_parse(const uint8_t *p, struct wal_rec *ret_rec)
{
	uint16_t type = le16_load(p + 12);
	uint32_t len = le32_load(p + 8);

	if (type == 0 || type >= WAL_TYPES || len > LIM_WAL_RECORD_MAX || le16_load(p + 14) != 0) {
		return false;
	}
	*ret_rec = (struct wal_rec){.crc = le32_load(p),
		.prev_crc = le32_load(p + 4),
		.len = len,
		.type = (enum wal_type)type,
		.lsn = le64_load(p + 16),
		.durable = le64_load(p + 24),
		.payload = p + WAL_REC_BYTES};
	return ret_rec->lsn != 0 && ret_rec->lsn >> WAL_LSN_SHIFT < WAL_INCARNATION_MAX &&
		(type != WAL_INCARNATION || len >= 8);
}

bool wal_rec_check(const uint8_t *p, const struct wal_rec *rec, uint32_t seed)
{
	ASSERT(rec->len <= LIM_WAL_RECORD_MAX);
	return crc32c(seed, p + 4, WAL_REC_BYTES - 4 + (size_t)rec->len) == rec->crc;
}

uint64_t wal_rec_prev_lsn(const struct wal_rec *rec)
{
	ASSERT(rec->lsn > 0);
	return rec->type == WAL_INCARNATION ? le64_load(rec->payload) : rec->lsn - 1;
}

void wal_seg_name(uint64_t number, bool tmp, char *buf, size_t cap)
{
	ASSERT(cap >= WAL_NAME_MAX);
	snprintf(buf, cap, "%016" PRIx64 ".%s", number, tmp ? "tmp" : "seg");
}

bool wal_seg_name_parse(const char *name, uint64_t *ret_number, bool *ret_tmp)
{
	uint64_t number = 0;

	if (strlen(name) != 20) {
		return false;
	}
	for (int i = 0; i < 16; i++) {
		const char *digits = "0123456789abcdef";
		const char *at = strchr(digits, name[i]);

		if (at == NULL) {
			return false;
		}
		number = number << 4 | (uint64_t)(at - digits);
	}
	if (strcmp(name + 16, ".seg") != 0 && strcmp(name + 16, ".tmp") != 0) {
		return false;
	}
	*ret_number = number;
	*ret_tmp = strcmp(name + 16, ".tmp") == 0;
	return true;
}
