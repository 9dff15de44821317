/*
 * Heap wrappers with fault injection. See alloc.h.
 *
 * mem_fail_left is 0 when disarmed, else the number of allocations until the failing one,
 * inclusive.
 */
#include "base/alloc.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/base_int.h"

static _Atomic(uint64_t) mem_fail_left;
static _Atomic(bool) mem_fail_done;

void mem_fail_nth(uint64_t n)
{
	atomic_store(&mem_fail_done, false);
	atomic_store(&mem_fail_left, n);
}

bool mem_fail_fired(void)
{
	return atomic_load(&mem_fail_done);
}

bool mem_fail_due(void)
{
	uint64_t left = atomic_load_explicit(&mem_fail_left, memory_order_relaxed);

	while (unlikely(left != 0)) {
		if (!atomic_compare_exchange_weak(&mem_fail_left, &left, left - 1)) {
			continue;
		}
		if (left == 1) {
			atomic_store(&mem_fail_done, true);
		}
		return left == 1;
	}
	return false;
}

/* Every new block passes here. */
static void *mem_given(void *ptr)
{
	if (unlikely(mem_scope_current != NULL)) {
		mem_scope_note(ptr);
	}
	return ptr;
}

void *mem_alloc(size_t size)
{
	ASSERT(size > 0);
	return mem_fail_due() ? NULL : mem_given(malloc(size));
}

void *mem_zalloc(size_t size)
{
	ASSERT(size > 0);
	return mem_fail_due() ? NULL : mem_given(calloc(1, size));
}

void *mem_zalloc_array(size_t count, size_t size)
{
	ASSERT(count > 0 && size > 0);
	size_t total = 0;

	if (__builtin_mul_overflow(count, size, &total)) {
		return NULL;
	}
	return mem_fail_due() ? NULL : mem_given(calloc(1, total));
}

void *mem_alloc_aligned(size_t align, size_t size)
{
	ASSERT(u64_is_pow2(align) && align >= sizeof(void *));
	ASSERT(size > 0 && size % align == 0);
	return mem_fail_due() ? NULL : mem_given(aligned_alloc(align, size));
}

/* In the simulator: the block stays its owner's, wherever it moves. */
static void *mem_realloc_scoped(void *ptr, size_t size)
{
	struct mem_scope *scope = ptr == NULL ? mem_scope_current : mem_scope_forget(ptr);
	struct mem_scope *before = mem_scope_enter(scope);
	void *moved = realloc(ptr, size);

	mem_given(moved != NULL ? moved : ptr);
	mem_scope_enter(before);
	return moved;
}

void *mem_realloc(void *ptr, size_t size)
{
	ASSERT(size > 0);
	if (mem_fail_due()) {
		return NULL;
	}
	if (unlikely(mem_scope_used > 0 || mem_scope_current != NULL)) {
		return mem_realloc_scoped(ptr, size);
	}
	return realloc(ptr, size);
}

void mem_free(void *ptr)
{
	if (unlikely(mem_scope_used > 0)) {
		(void)mem_scope_forget(ptr);
	}
	free(ptr);
}
