/*
 * Table from small ids to pointers, for handles that are given out and come back.
 *
 * An id is an index, kept small by re-using the last one freed, and the generation of its slot. The
 * generation changes when the slot is freed, so a stale handle is not found (until 2^32 - 1 re-uses
 * of the same slot). All operations are O(1), growth amortised. Does not own what it points to. Not
 * thread-safe.
 */
#ifndef NACRE_BASE_IDR_H
#define NACRE_BASE_IDR_H

#include "base/base.h"

struct idr_id {
	uint32_t index;
	uint32_t gen; /* never 0 in an id that was given out */
};

struct idr_slot {
	void *ptr; /* NULL when free */
	uint32_t gen;
	uint32_t free_next; /* index of the next free slot, when free */
};

struct idr {
	struct idr_slot *slots;
	uint32_t cap; /* slots allocated */
	uint32_t cap_max;
	uint32_t count; /* ids in use */
	uint32_t free_first;
};

/* At most count_max ids at a time (1..2^31). Allocates nothing. */
void idr_init(struct idr *idr, uint32_t count_max);
void idr_fini(struct idr *idr);
/* Gives ptr (not NULL) an id. -NE_LIMIT at count_max, -NE_NOMEM; the table is unchanged then. */
_check_ int idr_add(struct idr *idr, void *ptr, struct idr_id *ret_id);
/* The pointer, or NULL if the id is not (or no longer) in use. Any value may be asked for. */
void *idr_find(const struct idr *idr, struct idr_id id);
/* Frees the id and returns what it pointed to, or NULL if it was not in use. */
void *idr_remove(struct idr *idr, struct idr_id id);
/* Iteration in the order of indexes: start with *pos = 0; NULL at the end. Removing the returned id
 * while iterating is allowed. */
void *idr_next(const struct idr *idr, uint32_t *pos, struct idr_id *ret_id);

/* An id as one number for a message; 0 is never an id. */
static inline uint64_t idr_pack(struct idr_id id)
{
	return (uint64_t)id.gen << 32 | id.index;
}

static inline struct idr_id idr_unpack(uint64_t packed)
{
	return (struct idr_id){.index = (uint32_t)packed, .gen = (uint32_t)(packed >> 32)};
}

#endif
