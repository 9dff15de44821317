/*
 * The heap, with a hook that makes the n-th allocation fail, so that tests can sweep over all of
 * them.
 *
 * Memory from here is the C library's, but give it back with mem_free or free_ptr: in the simulator
 * blocks have an owner (scopes, below), and a plain free() would leave a stale entry. Outside of
 * tests the cost is one relaxed load. Thread-safe; with the hook armed, allocations of all threads
 * are counted.
 */
#ifndef NACRE_BASE_ALLOC_H
#define NACRE_BASE_ALLOC_H

#include "base/base.h"

/* All return NULL when out of memory. size > 0, in bytes. The caller owns the result. */
_check_ void *mem_alloc(size_t size);
_check_ void *mem_zalloc(size_t size);
/* count * size zeroed bytes; NULL also if the product does not fit. */
_check_ void *mem_zalloc_array(size_t count, size_t size);
/* align: a power of two, at least sizeof(void *); size: a multiple of it. */
_check_ void *mem_alloc_aligned(size_t align, size_t size);
/* On failure ptr stays as it was and valid. ptr may be NULL. */
_check_ void *mem_realloc(void *ptr, size_t size);
/* NULL is allowed. */
void mem_free(void *ptr);

/* For tests: the n-th allocation from now on fails, once (n = 1 is the next one); 0 disarms. */
void mem_fail_nth(uint64_t n);
/* For tests: true if the failure asked for by the last mem_fail_nth has happened. */
bool mem_fail_fired(void);
/* For resources that are not from this heap (mappings): counts as an allocation; true = fail it. */
bool mem_fail_due(void);

/* Scopes, for the simulator: while a scope is entered, what is allocated here belongs to it
 * until mem_free or free_ptr (never plain free) takes it away; clearing the scope frees what is
 * left. One thread only. */
struct mem_scope;
struct mem_scope *mem_scope_new(void);
/* Clears and frees; accepts NULL. */
void mem_scope_free(struct mem_scope *scope);
/* Makes a scope current (NULL: none) and returns the one that was. */
struct mem_scope *mem_scope_enter(struct mem_scope *scope);
/* Frees every block that belongs to the scope. */
void mem_scope_clear(struct mem_scope *scope);
size_t mem_scope_blocks(const struct mem_scope *scope);

#endif
