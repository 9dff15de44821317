/*
 * Lustre's lov_user_md_v1/_v3 (lustre/include/uapi/linux/lustre/lustre_user.h), little-endian:
 *
 *   0 magic4  4 pattern4  8 object-id8  16 object-seq8  24 stripe-size4  28 stripe-count2
 *   30 stripe-offset2 (set) or layout-gen2 (read)  [V3, SPECIFIC: 32 pool-name16]
 *   then per stripe: object-id8 object-seq8 generation4 ost-index4
 */
#include <string.h>

#include "base/bytes.h"
#include "layout/layout.h"

#define LOV_V1_SIZE 32
#define LOV_V3_SIZE 48
#define LOV_OBJECT_SIZE 24
#define LOV_POOL_SIZE 16

bool layout_pool_name_ok(const char *name, size_t len)
{
	if (len == 0 || len > LIM_POOL_NAME_MAX) {
		return false;
	}
	for (size_t i = 0; i < len; i++) {
		char c = name[i];
		bool ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
			(c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.';

		if (!ok) {
			return false;
		}
	}
	return true;
}

static void lov_object_encode(uint8_t *p, const struct lov_md *md, uint32_t ost)
{
	le64_store(p, md->fid.oid);
	le64_store(p + 8, md->fid.seq);
	le32_store(p + 16, 0);
	le32_store(p + 20, ost);
}

int lov_encode(const struct lov_md *md, void *buf, size_t cap, size_t *ret_len)
{
	bool v3 = md->pool[0] != '\0';
	size_t head = v3 ? LOV_V3_SIZE : LOV_V1_SIZE;
	size_t len = head + (size_t)md->osts_count * LOV_OBJECT_SIZE;
	uint8_t *p = buf;

	ASSERT(md->osts_count <= LIM_STRIPE_COUNT_MAX);
	ASSERT(md->stripe_size <= UINT32_MAX);
	if (cap < len) {
		return -NE_RANGE;
	}
	le32_store(p, v3 ? LOV_MAGIC_V3 : LOV_MAGIC_V1);
	le32_store(p + 4, md->pattern);
	le64_store(p + 8, md->fid.oid);
	le64_store(p + 16, md->fid.seq);
	le32_store(p + 24, (uint32_t)md->stripe_size);
	le16_store(p + 28, md->stripe_count);
	le16_store(p + 30, md->stripe_offset);
	if (v3) {
		memset(p + LOV_V1_SIZE, 0, LOV_POOL_SIZE);
		memcpy(p + LOV_V1_SIZE, md->pool, strnlen(md->pool, LIM_POOL_NAME_MAX));
	}
	for (uint32_t i = 0; i < md->osts_count; i++) {
		lov_object_encode(p + head + i * LOV_OBJECT_SIZE, md, md->osts[i]);
	}
	*ret_len = len;
	return 0;
}

static int lov_pool_decode(const uint8_t *p, struct lov_md *md)
{
	size_t n = strnlen((const char *)p, LOV_POOL_SIZE);

	if (n == 0) {
		return 0;
	}
	if (!layout_pool_name_ok((const char *)p, n)) {
		return -NE_INVAL;
	}
	memcpy(md->pool, p, n);
	md->pool[n] = '\0';
	return 0;
}

static int lov_objects_decode(const uint8_t *p, size_t len, bool required, struct lov_md *md)
{
	size_t have = len / LOV_OBJECT_SIZE;

	if (required && (md->stripe_count > LIM_STRIPE_COUNT_MAX || have < md->stripe_count)) {
		return -NE_INVAL;
	}
	if (!required && have == 0) {
		return 0;
	}
	md->osts_count = (uint32_t)u64_min(have, u64_min(md->stripe_count, LIM_STRIPE_COUNT_MAX));
	for (uint32_t i = 0; i < md->osts_count; i++) {
		md->osts[i] = le32_load(p + i * LOV_OBJECT_SIZE + 20);
	}
	return 0;
}

int lov_decode(const void *buf, size_t len, struct lov_md *ret_md)
{
	const uint8_t *p = buf;
	uint32_t magic;
	size_t head = LOV_V1_SIZE;
	int err = 0;

	ASSERT(buf != NULL || len == 0);
	if (len < LOV_V1_SIZE) {
		return -NE_INVAL;
	}
	memset(ret_md, 0, sizeof(*ret_md));
	magic = le32_load(p);
	if (magic != LOV_MAGIC_V1 && magic != LOV_MAGIC_V3 && magic != LOV_MAGIC_SPECIFIC) {
		return -NE_INVAL;
	}
	ret_md->pattern = le32_load(p + 4);
	/* 0 is "default pattern" in what setstripe passes. */
	if ((ret_md->pattern & ~LOV_PATTERN_OVERSTRIPED) > LOV_PATTERN_RAID0) {
		return -NE_INVAL;
	}
	ret_md->fid.oid = (uint32_t)le64_load(p + 8);
	ret_md->fid.seq = le64_load(p + 16);
	ret_md->stripe_size = le32_load(p + 24);
	ret_md->stripe_count = le16_load(p + 28);
	ret_md->stripe_offset = le16_load(p + 30);
	if (magic != LOV_MAGIC_V1) {
		head = LOV_V3_SIZE;
		if (len < head) {
			return -NE_INVAL;
		}
		err = lov_pool_decode(p + LOV_V1_SIZE, ret_md);
	}
	if (err != 0) {
		return err;
	}
	return lov_objects_decode(p + head, len - head, magic == LOV_MAGIC_SPECIFIC, ret_md);
}
