/*
 * hmap against an array of flags, with growth, collisions, and without memory.
 */
#include "base/hmap.h"

#include "base/alloc.h"
#include "base/hash.h"
#include "base/prng.h"
#include "test.h"

#define THINGS 3000

struct thing {
	uint64_t key;
	bool in;
	struct hmap_node node;
};

static struct thing things[THINGS];

static struct thing *find(const struct hmap *map, uint64_t key, uint64_t hash)
{
	for (struct hmap_node *it = hmap_find(map, hash); it != NULL; it = hmap_find_next(it)) {
		struct thing *t = container_of(it, struct thing, node);

		if (t->key == key) {
			return t;
		}
	}
	return NULL;
}

/* Few hash values if collide, so that chains have equal hashes. */
static uint64_t key_hash(uint64_t key, bool collide)
{
	return hash_mix(collide ? key % 50 : key);
}

static void check_all(const struct hmap *map, bool collide)
{
	size_t in = 0, seen = 0;

	for (uint64_t k = 0; k < THINGS; k++) {
		CHECK(find(map, k, key_hash(k, collide)) == (things[k].in ? &things[k] : NULL));
		in += things[k].in;
	}
	HMAP_FOREACH (it, map) {
		CHECK(container_of(it, struct thing, node)->in);
		seen++;
	}
	CHECK_EQ(seen, in);
	CHECK_EQ(map->count, in);
}

static void run(bool collide, bool memory)
{
	struct hmap map;
	struct prng rng;

	prng_init(&rng, 1);
	hmap_init(&map);
	CHECK(hmap_first(&map) == NULL);
	for (uint64_t k = 0; k < THINGS; k++) {
		things[k] = (struct thing){.key = k};
	}
	for (unsigned step = 0; step < 20000; step++) {
		uint64_t k = prng_below(&rng, THINGS);

		if (things[k].in) {
			hmap_remove(&map, &things[k].node);
		} else {
			mem_fail_nth(memory ? 0 : 1);
			hmap_insert(&map, &things[k].node, key_hash(k, collide));
			mem_fail_nth(0);
		}
		things[k].in = !things[k].in;
		if (step % 4000 == 0) {
			check_all(&map, collide);
		}
	}
	check_all(&map, collide);
	CHECK_EQ(map.mask > 0, memory);
	size_t cursor = 0;

	for (size_t left = map.count; left > 0; left--) {
		struct hmap_node *node = hmap_pop(&map, &cursor);

		CHECK(node != NULL && container_of(node, struct thing, node)->in);
		container_of(node, struct thing, node)->in = false;
	}
	CHECK(hmap_pop(&map, &cursor) == NULL);
	hmap_fini(&map);
	CHECK(hmap_first(&map) == NULL);
}

TEST(random_ops)
{
	run(false, true);
	run(true, true);
}

/* Never any memory: one long chain, all correct. */
TEST(no_memory_is_no_error)
{
	run(false, false);
}

/* The n-th allocation fails, for all n: growth comes later. */
TEST(growth_sweep)
{
	for (uint64_t n = 1;; n++) {
		struct hmap map;

		hmap_init(&map);
		mem_fail_nth(n);
		for (uint64_t k = 0; k < THINGS; k++) {
			things[k] = (struct thing){.key = k, .in = true};
			hmap_insert(&map, &things[k].node, key_hash(k, false));
		}
		bool fired = mem_fail_fired();

		mem_fail_nth(0);
		check_all(&map, false);
		CHECK(map.mask + 1 >= THINGS / 2);
		hmap_fini(&map);
		if (!fired) {
			CHECK(n > 5);
			break;
		}
	}
}

TEST(reserve)
{
	struct hmap map;

	hmap_init(&map);
	hmap_reserve(&map, THINGS);
	CHECK_EQ(map.mask, 4095);
	mem_fail_nth(1);
	for (uint64_t k = 0; k < THINGS; k++) {
		things[k] = (struct thing){.key = k, .in = true};
		hmap_insert(&map, &things[k].node, key_hash(k, false));
	}
	hmap_reserve(&map, 10);
	CHECK(!mem_fail_fired());
	mem_fail_nth(0);
	check_all(&map, false);
	hmap_fini(&map);
}
