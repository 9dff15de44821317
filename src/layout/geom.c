/*
 * RAID-0 arithmetic. Everything is computed in 64 bits without overflow because offsets end at 2^63-1.
 */
#include "layout/layout.h"

int layout_geom_check(const struct layout_geom *g)
{
	ASSERT(g != NULL);
	if (g->stripe_size < LIM_STRIPE_SIZE_MIN || g->stripe_size > LIM_STRIPE_SIZE_MAX ||
		g->stripe_size % LIM_STRIPE_SIZE_MIN != 0) {
		return -NE_INVAL;
	}
	if (g->stripe_count == 0 || g->stripe_count > LIM_STRIPE_COUNT_MAX) {
		return -NE_INVAL;
	}
	return 0;
}

struct layout_extent layout_extent_at(const struct layout_geom *g, uint64_t off, uint64_t len)
{
	ASSERT(len > 0);
	ASSERT(g->stripe_count > 0 && g->stripe_size > 0);

	uint64_t unit = off / g->stripe_size;
	uint64_t in_unit = off % g->stripe_size;
	uint64_t row = unit / g->stripe_count;
	struct layout_extent e = {
		.stripe = (uint32_t)(unit % g->stripe_count),
		.object_off = row * g->stripe_size + in_unit,
		.file_off = off,
		/* With one stripe the whole range is contiguous. */
		.len = g->stripe_count == 1 ? len : u64_min(len, g->stripe_size - in_unit),
	};

	return e;
}

uint64_t layout_object_size(const struct layout_geom *g, uint32_t stripe, uint64_t file_size)
{
	ASSERT(stripe < g->stripe_count);
	ASSERT(file_size <= LIM_FILE_SIZE_MAX);

	uint64_t units = file_size / g->stripe_size;
	uint64_t rest = file_size % g->stripe_size;
	uint64_t rows = units / g->stripe_count;
	uint64_t last = units % g->stripe_count;
	uint64_t size = rows * g->stripe_size;

	if (stripe < last) {
		size += g->stripe_size;
	} else if (stripe == last) {
		size += rest;
	}
	return size;
}

uint64_t layout_file_offset(const struct layout_geom *g, uint32_t stripe, uint64_t object_off)
{
	ASSERT(stripe < g->stripe_count);

	uint64_t row = object_off / g->stripe_size;
	uint64_t in_unit = object_off % g->stripe_size;
	uint64_t unit;
	uint64_t off;

	if (__builtin_mul_overflow(row, (uint64_t)g->stripe_count, &unit) ||
		__builtin_add_overflow(unit, (uint64_t)stripe, &unit) ||
		__builtin_mul_overflow(unit, g->stripe_size, &off) ||
		__builtin_add_overflow(off, in_unit, &off) || off > LIM_FILE_SIZE_MAX) {
		return LIM_FILE_SIZE_MAX;
	}
	return off;
}

uint64_t layout_file_size(const struct layout_geom *g, uint32_t stripe, uint64_t object_size)
{
	if (object_size == 0) {
		return 0;
	}
	return u64_min(layout_file_offset(g, stripe, object_size - 1), LIM_FILE_SIZE_MAX - 1) + 1;
}

uint32_t layout_last_stripe(const struct layout_geom *g, uint64_t file_size)
{
	if (file_size == 0) {
		return 0;
	}
	return (uint32_t)((file_size - 1) / g->stripe_size % g->stripe_count);
}
