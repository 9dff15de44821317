/*
 * Scopes: who owns which block, so that everything a simulated process had is freed when it crashes.
 *
 * One table, address -> scope, open addressing with linear probing and backward-shift deletion, at most
 * half full. It exists only while there are scopes, which is in the simulator; scopes are for programs
 * of one thread. Blocks have no header: memory stays the C library's, only its owner is written down.
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/base_int.h"
#include "base/hash.h"

struct mem_scope {
	size_t blocks;
};

struct scope_slot {
	void *ptr; /* NULL: empty */
	struct mem_scope *scope;
};

struct mem_scope *mem_scope_current;
static struct scope_slot *scope_table;
static size_t scope_mask;
size_t mem_scope_used;

static size_t scope_home(const void *ptr)
{
	return (size_t)hash_mix((uint64_t)(uintptr_t)ptr) & scope_mask;
}

static void scope_put(void *ptr, struct mem_scope *scope)
{
	size_t i = scope_home(ptr);

	while (scope_table[i].ptr != NULL) {
		ASSERT(scope_table[i].ptr != ptr);
		i = (i + 1) & scope_mask;
	}
	scope_table[i] = (struct scope_slot){ptr, scope};
}

static void scope_grow(void)
{
	struct scope_slot *old = scope_table;
	size_t old_count = old == NULL ? 0 : scope_mask + 1;
	size_t count = old_count == 0 ? 1024 : old_count * 2;

	scope_table = calloc(count, sizeof(*scope_table));
	ASSERT(scope_table != NULL);
	scope_mask = count - 1;
	for (size_t i = 0; i < old_count; i++) {
		if (old[i].ptr != NULL) {
			scope_put(old[i].ptr, old[i].scope);
		}
	}
	free(old);
}

/* Empties slot i and moves back what had been pushed past it. */
static void scope_remove_at(size_t i)
{
	size_t hole = i;

	scope_table[i].scope->blocks--;
	mem_scope_used--;
	for (size_t j = (i + 1) & scope_mask; scope_table[j].ptr != NULL;
		j = (j + 1) & scope_mask) {
		size_t home = scope_home(scope_table[j].ptr);

		if (((j - home) & scope_mask) >= ((j - hole) & scope_mask)) {
			scope_table[hole] = scope_table[j];
			hole = j;
		}
	}
	scope_table[hole] = (struct scope_slot){NULL, NULL};
}

void mem_scope_note(void *ptr)
{
	ASSERT(mem_scope_current != NULL);
	if (ptr == NULL) {
		return;
	}
	if (scope_table == NULL || mem_scope_used * 2 > scope_mask) {
		scope_grow();
	}
	scope_put(ptr, mem_scope_current);
	mem_scope_current->blocks++;
	mem_scope_used++;
}

struct mem_scope *mem_scope_forget(void *ptr)
{
	if (ptr == NULL || mem_scope_used == 0) {
		return NULL;
	}
	for (size_t i = scope_home(ptr); scope_table[i].ptr != NULL; i = (i + 1) & scope_mask) {
		if (scope_table[i].ptr == ptr) {
			struct mem_scope *scope = scope_table[i].scope;

			scope_remove_at(i);
			return scope;
		}
	}
	return NULL;
}

struct mem_scope *mem_scope_new(void)
{
	struct mem_scope *scope = calloc(1, sizeof(*scope));

	ASSERT(scope != NULL);
	return scope;
}

struct mem_scope *mem_scope_enter(struct mem_scope *scope)
{
	struct mem_scope *before = mem_scope_current;

	mem_scope_current = scope;
	return before;
}

size_t mem_scope_blocks(const struct mem_scope *scope)
{
	return scope->blocks;
}

void mem_scope_clear(struct mem_scope *scope)
{
	size_t i = 0;

	while (scope->blocks > 0) {
		ASSERT(i <= scope_mask * 2 + 2);
		if (scope_table[i & scope_mask].ptr != NULL &&
			scope_table[i & scope_mask].scope == scope) {
			void *ptr = scope_table[i & scope_mask].ptr;

			scope_remove_at(i & scope_mask);
			free(ptr);
			continue; /* another block may have moved into this slot */
		}
		i++;
	}
	if (mem_scope_used == 0) {
		free(scope_table);
		scope_table = NULL;
	}
}

void mem_scope_free(struct mem_scope *scope)
{
	if (scope == NULL) {
		return;
	}
	ASSERT(scope != mem_scope_current);
	mem_scope_clear(scope);
	free(scope);
}
