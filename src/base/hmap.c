/*
 * Intrusive hash map with chains. See hmap.h.
 *
 * Invariants: the number of buckets is a power of two; a node is in bucket hash & mask; count is
 * the number of nodes. The low bits of the hash choose the bucket, so hashes must be well mixed
 * there.
 */
#include "base/hmap.h"

#include "base/alloc.h"

/* The first allocation, and the bound on buckets (2^32 pointers are 32 GiB: nobody gets there). */
#define HMAP_BUCKETS_FIRST 16
#define HMAP_BUCKETS_MAX (UINT64_C(1) << 32)

void hmap_init(struct hmap *map)
{
	ASSERT(map != NULL);
	*map = (struct hmap){.buckets = &map->one};
}

void hmap_fini(struct hmap *map)
{
	ASSERT(map != NULL);
	if (map->buckets != NULL && map->buckets != &map->one) {
		mem_free(map->buckets);
	}
	hmap_init(map);
}

static void hmap_link(struct hmap *map, struct hmap_node *node)
{
	struct hmap_node **bucket = &map->buckets[node->hash & map->mask];

	node->next = *bucket;
	*bucket = node;
}

/* Moves all nodes to `buckets` buckets, if there is memory for them. */
static void hmap_resize(struct hmap *map, size_t buckets)
{
	struct hmap_node **old = map->buckets;
	size_t old_mask = map->mask;

	ASSERT(u64_is_pow2(buckets) && buckets > old_mask);
	struct hmap_node **fresh = mem_zalloc_array(buckets, sizeof(*fresh));

	if (fresh == NULL) {
		return;
	}
	map->buckets = fresh;
	map->mask = buckets - 1;
	for (size_t i = 0; i <= old_mask; i++) {
		struct hmap_node *next = NULL;

		for (struct hmap_node *node = old[i]; node != NULL; node = next) {
			next = node->next;
			hmap_link(map, node);
		}
	}
	if (old != &map->one) {
		mem_free(old);
	}
	map->one = NULL;
}

void hmap_reserve(struct hmap *map, size_t count)
{
	size_t buckets = HMAP_BUCKETS_FIRST;

	ASSERT(map->buckets != NULL);
	while (buckets < count && buckets < HMAP_BUCKETS_MAX) {
		buckets *= 2;
	}
	if (buckets > map->mask + 1) {
		hmap_resize(map, buckets);
	}
}

void hmap_insert(struct hmap *map, struct hmap_node *node, uint64_t hash)
{
	ASSERT(map->buckets != NULL);
	ASSERT(node != NULL);
	if (unlikely(map->count > map->mask && map->mask + 1 < HMAP_BUCKETS_MAX)) {
		hmap_resize(map, u64_max(HMAP_BUCKETS_FIRST, (map->mask + 1) * 2));
	}
	node->hash = hash;
	hmap_link(map, node);
	map->count++;
}

void hmap_remove(struct hmap *map, struct hmap_node *node)
{
	struct hmap_node **pos = &map->buckets[node->hash & map->mask];

	ASSERT(map->count > 0);
	while (*pos != node) {
		ASSERT(*pos != NULL);
		pos = &(*pos)->next;
	}
	*pos = node->next;
	node->next = NULL;
	map->count--;
}

/* The first node in the buckets from index on. */
static struct hmap_node *hmap_scan(const struct hmap *map, size_t index)
{
	for (; index <= map->mask; index++) {
		if (map->buckets[index] != NULL) {
			return map->buckets[index];
		}
	}
	return NULL;
}

struct hmap_node *hmap_first(const struct hmap *map)
{
	ASSERT(map->buckets != NULL);
	return map->count == 0 ? NULL : hmap_scan(map, 0);
}

struct hmap_node *hmap_next(const struct hmap *map, const struct hmap_node *node)
{
	ASSERT(node != NULL);
	if (node->next != NULL) {
		return node->next;
	}
	return hmap_scan(map, (node->hash & map->mask) + 1);
}

struct hmap_node *hmap_pop(struct hmap *map, size_t *cursor)
{
	ASSERT(cursor != NULL);
	if (map->count == 0) {
		return NULL;
	}
	struct hmap_node *node = hmap_scan(map, *cursor);

	ASSERT(node != NULL);
	*cursor = node->hash & map->mask;
	hmap_remove(map, node);
	return node;
}
