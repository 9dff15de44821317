/*
 * Buffers from a buddy system over 4 MiB arenas. See bufpool.h.
 *
 * An arena is 1,024 pages; a block of order k is 2^k pages at a multiple of 2^k. state[page] of a
 * block's first page says its order and whether it is free; state of its other pages is
 * PAGE_INSIDE. Free blocks are on the list of their order; the list nodes are outside the buffers,
 * which are thus never touched by the pool. Invariants: a free block's buddy is not free as a whole
 * (else they had been joined); blocks tile each arena. An arena is found from a buffer's address,
 * because arenas are aligned.
 */
#include "base/bufpool.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/hmap.h"
#include "base/list.h"
#include "base/metric.h"

#if defined(__SANITIZE_ADDRESS__)
#define BUFPOOL_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BUFPOOL_ASAN 1
#endif
#endif
#ifdef BUFPOOL_ASAN
#include <sanitizer/asan_interface.h>
#define POOL_POISON(ptr, size) ASAN_POISON_MEMORY_REGION(ptr, size)
#define POOL_UNPOISON(ptr, size) ASAN_UNPOISON_MEMORY_REGION(ptr, size)
#else
#define POOL_POISON(ptr, size) ((void)(ptr), (void)(size))
#define POOL_UNPOISON(ptr, size) ((void)(ptr), (void)(size))
#endif

#define ARENA_BYTES BUFPOOL_BUF_MAX
#define PAGE_BYTES BUFPOOL_BUF_MIN
#define ARENA_PAGES (ARENA_BYTES / PAGE_BYTES)
#define ORDER_MAX 10
/* Page states: an order, with one of these, or PAGE_INSIDE. */
#define PAGE_FREE 0x40
#define PAGE_USED 0x80
#define PAGE_INSIDE 0
#define PAGE_ORDER_MASK 0x0f

_Static_assert(ARENA_PAGES == 1u << ORDER_MAX, "the largest buffer is an arena");

struct arena {
	struct hmap_node node; /* in bufpool.arenas, by address */
	char *base;
	uint8_t state[ARENA_PAGES];
	struct list page[ARENA_PAGES]; /* on bufpool.free_list when first page of a free block */
};

struct bufpool {
	struct hmap arenas;
	struct list free_list[ORDER_MAX + 1];
	struct arena *last; /* the arena looked up last */
	uint64_t keep_bytes;
	struct bufpool_stats stats;
};

/* A block: its arena and first page. */
struct block {
	struct arena *arena;
	unsigned page;
};

int bufpool_new(uint64_t bytes_max, uint64_t keep_bytes, struct bufpool **ret_pool)
{
	ASSERT(ret_pool != NULL);
	if (bytes_max < ARENA_BYTES) {
		return -NE_INVAL;
	}
	struct bufpool *pool = mem_zalloc(sizeof(*pool));

	if (pool == NULL) {
		return -NE_NOMEM;
	}
	hmap_init(&pool->arenas);
	for (unsigned i = 0; i < ARRAY_SIZE(pool->free_list); i++) {
		list_init(&pool->free_list[i]);
	}
	pool->keep_bytes = keep_bytes;
	pool->stats.bytes_max = u64_round_down(bytes_max, ARENA_BYTES);
	*ret_pool = pool;
	return 0;
}

static void arena_free(struct bufpool *pool, struct arena *arena)
{
	hmap_remove(&pool->arenas, &arena->node);
	if (pool->last == arena) {
		pool->last = NULL;
	}
	POOL_UNPOISON(arena->base, ARENA_BYTES);
	mem_free(arena->base);
	mem_free(arena);
	ASSERT(pool->stats.arena_bytes >= ARENA_BYTES);
	pool->stats.arena_bytes -= ARENA_BYTES;
	pool->stats.arenas_freed++;
}

void bufpool_free(struct bufpool *pool)
{
	if (pool == NULL) {
		return;
	}
	ASSERT(pool->stats.used_bytes == 0);
	for (struct hmap_node *it = hmap_first(&pool->arenas); it != NULL;
		it = hmap_first(&pool->arenas)) {
		arena_free(pool, container_of(it, struct arena, node));
	}
	hmap_fini(&pool->arenas);
	mem_free(pool);
}

static uint64_t arena_hash(uintptr_t base)
{
	return hash_mix(base);
}

/* The block whose first byte is at buf; buf is from this pool. */
static struct block block_of(const struct bufpool *pool, const void *buf)
{
	uintptr_t addr = (uintptr_t)buf;
	uintptr_t base = addr & ~(uintptr_t)(ARENA_BYTES - 1);
	struct arena *arena = pool->last;

	ASSERT(addr % PAGE_BYTES == 0);
	if (arena == NULL || (uintptr_t)arena->base != base) {
		struct hmap_node *it = hmap_find(&pool->arenas, arena_hash(base));

		while (it != NULL &&
			(uintptr_t)container_of(it, struct arena, node)->base != base) {
			it = hmap_find_next(it);
		}
		ASSERT(it != NULL);
		arena = container_of(it, struct arena, node);
	}
	return (struct block){.arena = arena, .page = (unsigned)((addr - base) / PAGE_BYTES)};
}

static void block_free_push(struct bufpool *pool, struct block block, unsigned order)
{
	block.arena->state[block.page] = (uint8_t)(PAGE_FREE | order);
	list_push_front(&pool->free_list[order], &block.arena->page[block.page]);
}

/* The arena whose page[] has this list entry, and the index: entries know neither, so the
 * entry's place in the arena gives both. Arenas are allocated at a multiple of a power of two
 * that holds one. */
#define ARENA_META_ALIGN (UINT64_C(32) << 10)
_Static_assert(
	sizeof(struct arena) <= ARENA_META_ALIGN, "an arena's description fits its alignment");

static struct block block_of_entry(struct list *entry)
{
	uintptr_t meta = (uintptr_t)entry & ~(uintptr_t)(ARENA_META_ALIGN - 1);
	struct arena *arena = (struct arena *)meta;

	return (struct block){.arena = arena, .page = (unsigned)(entry - arena->page)};
}

/* A new arena, all of it one free block. False at the bound or when out of memory. */
static bool arena_new(struct bufpool *pool)
{
	if (pool->stats.arena_bytes + ARENA_BYTES > pool->stats.bytes_max) {
		return false;
	}
	struct arena *arena = mem_alloc_aligned(ARENA_META_ALIGN, ARENA_META_ALIGN);
	char *base = arena == NULL ? NULL : mem_alloc_aligned(ARENA_BYTES, ARENA_BYTES);

	if (base == NULL) {
		mem_free(arena);
		return false;
	}
	memset(arena, 0, sizeof(*arena));
	arena->base = base;
	hmap_insert(&pool->arenas, &arena->node, arena_hash((uintptr_t)base));
	POOL_POISON(base, ARENA_BYTES);
	block_free_push(pool, (struct block){.arena = arena, .page = 0}, ORDER_MAX);
	pool->stats.arena_bytes += ARENA_BYTES;
	pool->stats.arenas_new++;
	return true;
}

/* The order of the smallest free block that holds 2^order pages; ORDER_MAX + 1 if there is none. */
static unsigned order_find(const struct bufpool *pool, unsigned order)
{
	while (order <= ORDER_MAX && list_empty(&pool->free_list[order])) {
		order++;
	}
	return order;
}

static unsigned order_of_size(size_t size)
{
	unsigned order = 0;

	while (PAGE_BYTES << order < size) {
		order++;
	}
	return order;
}

void *bufpool_get(struct bufpool *pool, size_t size)
{
	ASSERT(pool != NULL);
	ASSERT(size > 0 && size <= BUFPOOL_BUF_MAX);
	unsigned order = order_of_size(size);
	unsigned found = order_find(pool, order);

	if (found > ORDER_MAX && arena_new(pool)) {
		found = ORDER_MAX;
	}
	if (found > ORDER_MAX) {
		pool->stats.denials++;
		return NULL;
	}
	struct block block = block_of_entry(list_pop_front(&pool->free_list[found]));

	ASSERT(block.arena->state[block.page] == (PAGE_FREE | found));
	/* Halve it until it fits; the upper halves are free. */
	while (found > order) {
		found--;
		struct block upper = {.arena = block.arena, .page = block.page + (1u << found)};

		block_free_push(pool, upper, found);
	}
	block.arena->state[block.page] = (uint8_t)(PAGE_USED | order);
	pool->stats.gets++;
	pool->stats.used_bytes += PAGE_BYTES << order;
	pool->stats.used_bytes_peak = u64_max(pool->stats.used_bytes_peak, pool->stats.used_bytes);
	char *buf = block.arena->base + block.page * PAGE_BYTES;

	POOL_UNPOISON(buf, PAGE_BYTES << order);
	return buf;
}

/* The order of the used block that begins at this page. */
static unsigned block_order(struct block block)
{
	uint8_t state = block.arena->state[block.page];

	ASSERT((state & PAGE_USED) != 0);
	return state & PAGE_ORDER_MASK;
}

size_t bufpool_buf_size(const struct bufpool *pool, const void *buf)
{
	ASSERT(pool != NULL && buf != NULL);
	return PAGE_BYTES << block_order(block_of(pool, buf));
}

void bufpool_put(struct bufpool *pool, void *buf)
{
	ASSERT(pool != NULL);
	if (buf == NULL) {
		return;
	}
	struct block block = block_of(pool, buf);
	struct arena *arena = block.arena;
	unsigned order = block_order(block);

	pool->last = arena;
	POOL_POISON(buf, PAGE_BYTES << order);
	ASSERT(pool->stats.used_bytes >= PAGE_BYTES << order);
	pool->stats.used_bytes -= PAGE_BYTES << order;
	/* Join with the buddy while that is free as a whole. */
	for (; order < ORDER_MAX; order++) {
		unsigned buddy = block.page ^ 1u << order;

		if (arena->state[buddy] != (PAGE_FREE | order)) {
			break;
		}
		list_del(&arena->page[buddy]);
		arena->state[buddy] = PAGE_INSIDE;
		arena->state[block.page] = PAGE_INSIDE;
		block.page &= ~(1u << order);
	}
	block_free_push(pool, block, order);
	if (order == ORDER_MAX && pool->stats.arena_bytes > pool->keep_bytes) {
		list_del(&arena->page[0]);
		arena_free(pool, arena);
	}
}

void bufpool_stats_get(const struct bufpool *pool, struct bufpool_stats *ret_stats)
{
	ASSERT(pool != NULL && ret_stats != NULL);
	*ret_stats = pool->stats;
}

void bufpool_metrics(const struct bufpool *pool, struct metric_batch *batch)
{
	struct bufpool_stats st;

	bufpool_stats_get(pool, &st);
	metric_add(batch, METRIC_ID_bufpool_used, st.used_bytes, NULL, NULL, NULL);
	metric_add(batch, METRIC_ID_bufpool_taken, st.arena_bytes, NULL, NULL, NULL);
	metric_add(batch, METRIC_ID_bufpool_denials, st.denials, NULL, NULL, NULL);
}
