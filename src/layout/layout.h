/*
 * Striping arithmetic, placement and Lustre's lov_user_md: pure functions, no I/O, no state.
 *
 * RAID-0: byte b of a file lies in stripe (b / stripe_size) % stripe_count, at offset
 * (b / stripe_size / stripe_count) * stripe_size + b % stripe_size of that stripe's object.
 * All functions are thread-safe. Sizes and offsets are bytes, below LIM_FILE_SIZE_MAX.
 */
#ifndef NACRE_LAYOUT_LAYOUT_H
#define NACRE_LAYOUT_LAYOUT_H

#include "base/base.h"
#include "base/error.h"
#include "base/fid.h"
#include "base/limits.h"
#include "base/prng.h"

/* stripe_count of a default: every OST; first_ost: any. As Lustre's -1. */
#define LAYOUT_COUNT_ALL 0xffff
#define LAYOUT_OST_ANY 0xffff

struct layout_geom {
	uint64_t stripe_size; /* bytes, multiple of LIM_STRIPE_SIZE_MIN */
	uint32_t stripe_count; /* 1..LIM_STRIPE_COUNT_MAX */
};

/* A piece of a file range that lies contiguously in one object. */
struct layout_extent {
	uint32_t stripe;
	uint64_t object_off; /* bytes */
	uint64_t file_off; /* bytes */
	uint64_t len; /* bytes */
};

/* -NE_INVAL unless the size is a multiple of 64 KiB within the limits and the count is in range. */
_check_ int layout_geom_check(const struct layout_geom *g);
/* The first piece of [off, off + len); len > 0. At most one stripe long. */
struct layout_extent layout_extent_at(const struct layout_geom *g, uint64_t off, uint64_t len);
/* Length of stripe's object when the file has this size (0: the object need not exist). */
uint64_t layout_object_size(const struct layout_geom *g, uint32_t stripe, uint64_t file_size);
/* Smallest file size that explains an object of this size in this stripe (0 for 0); LIM_FILE_SIZE_MAX
 * at most. The file's size is the maximum over all stripes. */
uint64_t layout_file_size(const struct layout_geom *g, uint32_t stripe, uint64_t object_size);
/* The file offset of a byte of an object. */
uint64_t layout_file_offset(const struct layout_geom *g, uint32_t stripe, uint64_t object_off);
/* Stripe that holds the last byte of a file of this size (0 when the size is 0). */
uint32_t layout_last_stripe(const struct layout_geom *g, uint64_t file_size);

/* ---- placement ---- */

struct layout_ost {
	uint32_t index;
	uint64_t bytes_avail;
	bool usable; /* up, may take new objects */
};

struct layout_request {
	const struct layout_ost *known; /* every OST there is */
	uint32_t known_count;
	uint32_t stripe_count; /* 1.. or LAYOUT_COUNT_ALL */
	uint32_t first_ost; /* index or LAYOUT_OST_ANY */
	bool overstripe; /* several stripes of one OST are wanted */
	const uint32_t *listed; /* NULL, or the exact OSTs to use (listed_count of them) */
	uint32_t listed_count;
	const uint32_t *members; /* NULL, or the pool's indexes (member_count of them) */
	uint32_t member_count;
};

/* Chooses OSTs, one index per stripe, into osts (cap entries). Without a list: from the usable members,
 * weighted by free space when they differ by more than an eighth, else evenly starting at random; each OST
 * once unless overstriping. A stripe count above what there is is lowered to it (as Lustre does).
 * -NE_INVAL: unknown OST, OST outside of the pool, list too long. -NE_NOSPC: no usable OST.
 * -NE_TARGET_DOWN: an OST asked for by index is not usable. */
_check_ int layout_place(const struct layout_request *req, struct prng *prng, uint32_t *osts,
	uint32_t cap, uint32_t *ret_count);

/* ---- lov_user_md (Lustre's user-visible layout, xattr lustre.lov) ---- */

#define LOV_MAGIC_V1 UINT32_C(0x0BD10BD0)
#define LOV_MAGIC_V3 UINT32_C(0x0BD30BD0)
#define LOV_MAGIC_SPECIFIC UINT32_C(0x0BD50BD0) /* V3 with a list of OSTs to use */
#define LOV_PATTERN_RAID0 UINT32_C(0x001)
#define LOV_PATTERN_MDT UINT32_C(0x100)
#define LOV_PATTERN_OVERSTRIPED UINT32_C(0x200)
/* Largest encoding: V3 header and an entry per stripe. */
#define LOV_SIZE_MAX (48 + 24 * LIM_STRIPE_COUNT_MAX)

struct lov_md {
	uint32_t pattern; /* LOV_PATTERN_* */
	uint64_t stripe_size; /* 0: default */
	uint16_t stripe_count; /* 0: default, 0xffff: all */
	uint16_t stripe_offset; /* when set: first OST, 0xffff any; when read: layout generation */
	struct fid fid; /* objects: oid = objid, seq = group */
	char pool[LIM_POOL_NAME_MAX + 1];
	uint32_t osts_count;
	uint32_t osts[LIM_STRIPE_COUNT_MAX];
};

/* Encodes as V1 without pool, V3 with one. -NE_RANGE when cap is too small; *ret_len is the size. */
_check_ int lov_encode(const struct lov_md *md, void *buf, size_t cap, size_t *ret_len);
/* Accepts V1, V3 and SPECIFIC; objects are optional. -NE_INVAL on anything else or out of bounds. */
_check_ int lov_decode(const void *buf, size_t len, struct lov_md *ret_md);
/* 1..15 characters of letters, digits, '_', '-', '.'. */
bool layout_pool_name_ok(const char *name, size_t len);

#endif
