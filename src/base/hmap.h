/*
 * Intrusive hash map: the owner embeds `struct hmap_node` in its objects and compares keys itself.
 *
 * Buckets are chains; their number doubles when there are more nodes than buckets. That is the only
 * allocation, and its failure only makes chains longer. The map does not own the objects and must
 * not be moved in memory while in use. Not thread-safe. To find:
 *
 *	for (struct hmap_node *it = hmap_find(map, hash); it != NULL; it = hmap_find_next(it)) {
 *		struct thing *t = container_of(it, struct thing, node);
 *		if (t->key == key) ...
 *	}
 */
#ifndef NACRE_BASE_HMAP_H
#define NACRE_BASE_HMAP_H

#include "base/base.h"

struct hmap_node {
	struct hmap_node *next;
	uint64_t hash;
};

struct hmap {
	struct hmap_node **buckets;
	size_t mask; /* buckets - 1 */
	size_t count; /* nodes */
	struct hmap_node *one; /* the bucket of a map that has never grown */
};

/* Makes an empty map; allocates nothing. */
void hmap_init(struct hmap *map);
/* Frees the buckets; nodes still in the map are forgotten, not freed. The map is empty and
 * usable. */
void hmap_fini(struct hmap *map);
/* Adds a node; equal hashes and equal keys are the caller's business. Never fails. */
void hmap_insert(struct hmap *map, struct hmap_node *node, uint64_t hash);
/* Removes a node that is in the map. */
void hmap_remove(struct hmap *map, struct hmap_node *node);
/* Makes room for count nodes at once, so that later inserts do not pause to grow. Failure is no
 * error. */
void hmap_reserve(struct hmap *map, size_t count);
/* Any node and the next in no order; NULL at the end. The map may not change in between. */
struct hmap_node *hmap_first(const struct hmap *map);
struct hmap_node *hmap_next(const struct hmap *map, const struct hmap_node *node);
/* Removes and returns any node, NULL if empty: the way to empty a map. O(buckets) over the whole
 * emptying if `*cursor` (start with 0) is passed on from call to call and nothing is inserted in
 * between. */
struct hmap_node *hmap_pop(struct hmap *map, size_t *cursor);

/* The first node from here on in the chain with this hash, or NULL. */
static inline struct hmap_node *hmap_chain_find(struct hmap_node *node, uint64_t hash)
{
	while (node != NULL && node->hash != hash) {
		node = node->next;
	}
	return node;
}

static inline struct hmap_node *hmap_find(const struct hmap *map, uint64_t hash)
{
	return hmap_chain_find(map->buckets[hash & map->mask], hash);
}

/* The next node with the same hash. */
static inline struct hmap_node *hmap_find_next(const struct hmap_node *node)
{
	return hmap_chain_find(node->next, node->hash);
}

#define HMAP_FOREACH(it, map) \
	for (struct hmap_node *it = hmap_first(map); it != NULL; it = hmap_next((map), it))

#endif
