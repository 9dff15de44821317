/*
 * The pool of fiber stacks: one mapping, a guard page below each stack, last used first reused (its pages
 * are warm). A stack gets its guard when first used, so a pool costs nothing until then. A fiber that ended
 * stays stopped in fiber_main; only thrown-away frames (a crash) make a stack be set up again.
 *
 * Guards are made with MADV_GUARD_INSTALL where the kernel has it, because a guard by mprotect splits the
 * mapping (two entries per stack, and a process may have 65,530).
 */

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "env/fiber_int.h"

#if FIBER_ASAN
#include <sanitizer/asan_interface.h>
#endif
#if FIBER_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#if NACRE_HAVE_VALGRIND
#include <valgrind/valgrind.h>
#endif

/* Linux 6.13; Debian 12's headers are older. */
#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102
#endif

#if defined(__x86_64__)
#define FIBER_FRAME_WORDS 8 /* control words, r15 r14 r13 r12 rbx rbp, return address */
#elif defined(__aarch64__)
#define FIBER_FRAME_WORDS 22 /* as fiber_aarch64.S lays them out */
#else
#error "no context switch for this processor"
#endif

_Static_assert(FIBER_STACK_BYTES % 65536 == 0, "stacks are whole pages of any page size");

int fiber_pool_new(unsigned limit, struct fiber_pool **ret_pool)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	struct fiber_pool *pool;
	void *map;

	ASSERT(limit > 0);
	ASSERT(page > 0 && FIBER_STACK_BYTES % page == 0);
	pool = mem_zalloc(sizeof(*pool));
	if (pool == NULL) {
		return -NE_NOMEM;
	}
	pool->stack_size = FIBER_STACK_BYTES;
	pool->stride = FIBER_STACK_BYTES + page;
	pool->limit = limit;
	list_init(&pool->free);
	pool->fibers = mem_zalloc_array(limit, sizeof(struct fiber));
	map = mmap(NULL, pool->stride * limit, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
	if (map != MAP_FAILED) {
		pool->stacks = map;
		/* A huge page under a stack would cost 2 MiB for what needs 8 KiB; refused harmlessly. */
		(void)madvise(map, pool->stride * limit, MADV_NOHUGEPAGE);
	}
	if (pool->fibers == NULL || pool->stacks == NULL) {
		fiber_pool_free(pool);
		return -NE_NOMEM;
	}
	for (unsigned i = 0; i < limit; i++) {
		pool->fibers[i].slot = i;
		list_push_back(&pool->free, &pool->fibers[i].all);
	}
	*ret_pool = pool;
	return 0;
}

char *fiber_stack_bottom(const struct fiber_pool *pool, const struct fiber *fiber)
{
	return pool->stacks + pool->stride * fiber->slot + (pool->stride - pool->stack_size);
}

static void fiber_stack_discard(_unused_ struct fiber_pool *pool, struct fiber *fiber)
{
#if FIBER_TSAN
	if (fiber->tsan_fiber != NULL) {
		__tsan_destroy_fiber(fiber->tsan_fiber);
		fiber->tsan_fiber = NULL;
	}
#endif
#if FIBER_ASAN
	/* Frames that never returned left their red zones behind. */
	__asan_unpoison_memory_region(fiber_stack_bottom(pool, fiber), pool->stack_size);
	fiber->asan_fake_stack = NULL;
#endif
	fiber->sp = NULL;
}

void fiber_pool_free(struct fiber_pool *pool)
{
	if (pool == NULL) {
		return;
	}
	ASSERT(pool->used == 0);
	for (unsigned i = 0; pool->fibers != NULL && i < pool->limit; i++) {
		if (pool->fibers[i].prepared) {
			fiber_stack_discard(pool, &pool->fibers[i]);
#if NACRE_HAVE_VALGRIND
			VALGRIND_STACK_DEREGISTER(pool->fibers[i].valgrind_id);
#endif
		}
	}
	if (pool->stacks != NULL) {
		int rc = munmap(pool->stacks, pool->stride * pool->limit);

		ASSERT(rc == 0);
	}
	mem_free(pool->fibers);
	mem_free(pool);
}

static bool fiber_stack_prepare(struct fiber_pool *pool, struct fiber *fiber)
{
	char *guard = pool->stacks + pool->stride * fiber->slot;
	size_t guard_size = pool->stride - pool->stack_size;

	if (madvise(guard, guard_size, MADV_GUARD_INSTALL) != 0 &&
		mprotect(guard, guard_size, PROT_NONE) != 0) {
		return false; /* out of mappings: a stack without a guard is not used */
	}
#if NACRE_HAVE_VALGRIND
	fiber->valgrind_id = (unsigned)VALGRIND_STACK_REGISTER(
		guard + guard_size, guard + guard_size + pool->stack_size);
#endif
	fiber->prepared = true;
	return true;
}

/* Lays down the frame that fiber_switch pops: zero registers, the fiber, the entry, default control words. */
static void fiber_stack_setup(struct fiber_pool *pool, struct fiber *fiber)
{
	char *top = fiber_stack_bottom(pool, fiber) + pool->stack_size;
	uint64_t *frame;

#if defined(__x86_64__)
	/* fiber_entry begins with rsp = top - 16, so that its call leaves rsp as the ABI wants it. */
	frame = (uint64_t *)(void *)(top - 8) - FIBER_FRAME_WORDS - 1;
	memset(frame, 0, FIBER_FRAME_WORDS * sizeof(uint64_t));
	frame[0] = UINT64_C(0x1f80) | (UINT64_C(0x037f) << 32); /* mxcsr, x87 control word */
	frame[4] = (uint64_t)(uintptr_t)fiber;
	frame[7] = (uint64_t)(uintptr_t)fiber_entry;
#else
	frame = (uint64_t *)(void *)top - FIBER_FRAME_WORDS;
	memset(frame, 0, FIBER_FRAME_WORDS * sizeof(uint64_t));
	frame[0] = (uint64_t)(uintptr_t)fiber; /* x19 */
	frame[11] = (uint64_t)(uintptr_t)fiber_entry; /* x30 */
#endif
	fiber->sp = frame;
}

struct fiber *fiber_pool_get(struct fiber_pool *pool)
{
	struct list *entry = pool->free.next;
	struct fiber *fiber = list_entry(entry, struct fiber, all);

	if (entry == &pool->free) {
		return NULL;
	}
	ASSERT(fiber->state == FIBER_FREE);
	if (unlikely(!fiber->prepared) && !fiber_stack_prepare(pool, fiber)) {
		return NULL;
	}
	list_del(entry);
	pool->used++;
	if (fiber->sp == NULL) {
		fiber_stack_setup(pool, fiber);
#if FIBER_TSAN
		fiber->tsan_fiber = __tsan_create_fiber(0);
#endif
	}
	return fiber;
}

void fiber_pool_put(struct fiber_pool *pool, struct fiber *fiber, bool ended)
{
	ASSERT(pool->used > 0);
	ASSERT(!fiber->timer.armed && !list_linked(&fiber->link) && !list_linked(&fiber->all));
	if (!ended) {
		fiber_stack_discard(pool, fiber);
	}
	fiber->state = FIBER_FREE;
	pool->used--;
	list_push_front(&pool->free, &fiber->all);
}

/* Reads red zones on purpose. */
__attribute__((no_sanitize("address", "thread"), noinline)) size_t fiber_stack_used(
	const struct fiber *fiber)
{
	const struct fiber_pool *pool = fiber->sched->pool;
	const volatile uint64_t *word;
	size_t words = pool->stack_size / sizeof(*word);
	size_t untouched = 0;

#if NACRE_HAVE_VALGRIND
	if (RUNNING_ON_VALGRIND) {
		return 0; /* it calls every access below the stack pointer an error */
	}
#endif
	word = (const volatile uint64_t *)(const void *)fiber_stack_bottom(pool, fiber);
	while (untouched < words && word[untouched] == 0) {
		untouched++;
	}
	return (words - untouched) * sizeof(*word);
}
