/*
 * Ids with generations. See idr.h.
 *
 * Invariants: a slot is in use iff ptr != NULL; free slots form a list from free_first that ends in
 * IDR_NONE and has cap - count entries; gen is the generation of the id in use, or of the next one.
 */
#include "base/idr.h"

#include "base/alloc.h"
#include "base/error.h"

#define IDR_NONE UINT32_MAX
#define IDR_CAP_FIRST 16

void idr_init(struct idr *idr, uint32_t count_max)
{
	ASSERT(idr != NULL);
	ASSERT(count_max > 0 && count_max <= (UINT32_C(1) << 31));
	*idr = (struct idr){.cap_max = count_max, .free_first = IDR_NONE};
}

void idr_fini(struct idr *idr)
{
	ASSERT(idr != NULL);
	mem_free(idr->slots);
	*idr = (struct idr){.cap_max = idr->cap_max, .free_first = IDR_NONE};
}

static int idr_grow(struct idr *idr)
{
	uint64_t doubled = u64_max(IDR_CAP_FIRST, (uint64_t)idr->cap * 2);
	uint32_t cap = (uint32_t)u64_min(doubled, idr->cap_max);

	ASSERT(idr->free_first == IDR_NONE);
	if (cap == idr->cap) {
		return -NE_LIMIT;
	}
	struct idr_slot *slots = mem_realloc(idr->slots, (size_t)cap * sizeof(*slots));

	if (slots == NULL) {
		return -NE_NOMEM;
	}
	for (uint32_t i = idr->cap; i < cap; i++) {
		uint32_t next = i + 1 < cap ? i + 1 : IDR_NONE;

		slots[i] = (struct idr_slot){.gen = 1, .free_next = next};
	}
	idr->free_first = idr->cap;
	idr->slots = slots;
	idr->cap = cap;
	return 0;
}

int idr_add(struct idr *idr, void *ptr, struct idr_id *ret_id)
{
	ASSERT(ptr != NULL);
	ASSERT(ret_id != NULL);
	if (idr->free_first == IDR_NONE) {
		int rc = idr_grow(idr);

		if (rc != 0) {
			return rc;
		}
	}
	uint32_t index = idr->free_first;
	struct idr_slot *slot = &idr->slots[index];

	ASSERT(index < idr->cap && slot->ptr == NULL);
	idr->free_first = slot->free_next;
	slot->ptr = ptr;
	idr->count++;
	*ret_id = (struct idr_id){.index = index, .gen = slot->gen};
	return 0;
}

void *idr_find(const struct idr *idr, struct idr_id id)
{
	ASSERT(idr->count <= idr->cap);
	if (id.index >= idr->cap || idr->slots[id.index].gen != id.gen) {
		return NULL;
	}
	return idr->slots[id.index].ptr;
}

void *idr_remove(struct idr *idr, struct idr_id id)
{
	void *ptr = idr_find(idr, id);

	if (ptr == NULL) {
		return NULL;
	}
	struct idr_slot *slot = &idr->slots[id.index];

	ASSERT(idr->count > 0);
	slot->ptr = NULL;
	slot->gen = slot->gen == UINT32_MAX ? 1 : slot->gen + 1;
	slot->free_next = idr->free_first;
	idr->free_first = id.index;
	idr->count--;
	return ptr;
}

void *idr_next(const struct idr *idr, uint32_t *pos, struct idr_id *ret_id)
{
	ASSERT(pos != NULL && ret_id != NULL);
	for (; *pos < idr->cap; (*pos)++) {
		struct idr_slot *slot = &idr->slots[*pos];

		if (slot->ptr != NULL) {
			*ret_id = (struct idr_id){.index = (*pos)++, .gen = slot->gen};
			return slot->ptr;
		}
	}
	return NULL;
}
