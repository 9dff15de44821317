/*
 * The cache: records of the checkpoint and proven absences, least recently used out first.
 *
 * Bounded in bytes, its own overhead included. Keyed hashing, because names are chosen by strangers.
 * It may hold what is older than the tables above it, never what is older than all of them.
 */
#include "store/state_int.h"

struct cache_entry {
	struct hmap_node node;
	struct list lru;
	uint32_t val_len;
	uint16_t key_len;
	bool absent;
	uint8_t data[]; /* key, value */
};

/* What the heap and the buckets take beside an entry, estimated. */
#define CACHE_OVERHEAD 32

static uint64_t entry_bytes(const struct cache_entry *e)
{
	return sizeof(*e) + e->key_len + e->val_len + CACHE_OVERHEAD;
}

void state_cache_init(struct state_cache *c, struct env *env, uint64_t bytes_max)
{
	*c = (struct state_cache){.bytes_max = bytes_max};
	hmap_init(&c->map);
	list_init(&c->lru);
	c->key = (struct hash_key){.k0 = env_random(env), .k1 = env_random(env)};
}

static void entry_remove(struct state_cache *c, struct cache_entry *e)
{
	ASSERT(c->bytes >= entry_bytes(e));
	c->bytes -= entry_bytes(e);
	list_del(&e->lru);
	hmap_remove(&c->map, &e->node);
	mem_free(e);
}

void state_cache_fini(struct state_cache *c)
{
	while (!list_empty(&c->lru)) {
		entry_remove(c, list_entry(c->lru.next, struct cache_entry, lru));
	}
	ASSERT(c->bytes == 0);
	hmap_fini(&c->map);
}

static struct cache_entry *entry_find(struct state_cache *c, struct span key, uint64_t hash)
{
	struct hmap_node *it = hmap_find(&c->map, hash);

	for (; it != NULL; it = hmap_find_next(it)) {
		struct cache_entry *e = container_of(it, struct cache_entry, node);

		if (span_eq(span_of(e->data, e->key_len), key)) {
			return e;
		}
	}
	return NULL;
}

int state_cache_get(struct state_cache *c, struct span key, struct span *ret_val)
{
	struct cache_entry *e = entry_find(c, key, hash_sip(c->key, key.ptr, key.len));

	if (e == NULL) {
		c->misses++;
		return -NE_MISSING_KEY;
	}
	c->hits++;
	list_del(&e->lru);
	list_push_front(&c->lru, &e->lru);
	if (e->absent) {
		return -NE_NOENT;
	}
	*ret_val = span_of(e->data + e->key_len, e->val_len);
	return 0;
}

static void cache_set(
	struct state_cache *c, struct span key, struct span val, bool absent, bool evict)
{
	uint64_t hash = hash_sip(c->key, key.ptr, key.len);
	struct cache_entry *old = entry_find(c, key, hash);
	size_t size = sizeof(*old) + key.len + val.len;
	struct cache_entry *e;

	ASSERT(key.len <= LIM_KV_KEY_MAX && (!absent || val.len == 0));
	if (old == NULL && !evict && c->bytes + size + CACHE_OVERHEAD > c->bytes_max) {
		return;
	}
	if (old != NULL) {
		entry_remove(c, old);
	}
	e = mem_alloc(size);
	if (e == NULL) {
		return;
	}
	e->key_len = (uint16_t)key.len;
	e->val_len = (uint32_t)val.len;
	e->absent = absent;
	bytes_copy(e->data, key.ptr, key.len);
	bytes_copy(e->data + key.len, val.ptr, val.len);
	hmap_insert(&c->map, &e->node, hash);
	list_push_front(&c->lru, &e->lru);
	c->bytes += entry_bytes(e);
	while (c->bytes > c->bytes_max && !list_empty(&c->lru)) {
		entry_remove(c, list_entry(c->lru.prev, struct cache_entry, lru));
	}
}

void state_cache_put(struct state_cache *c, struct span key, struct span val, bool absent)
{
	cache_set(c, key, val, absent, true);
}

void state_cache_refresh(struct state_cache *c, struct span key, struct span val, bool absent)
{
	cache_set(c, key, val, absent, false);
}
