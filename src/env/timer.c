/*
 * The pairing heap behind timer.h. Every node's children form a doubly linked list whose first element's
 * `prev` is the parent; a root has prev == next == NULL. Merging is iterative (two passes): fiber
 * stacks are small.
 */
#include "env/timer.h"

void timer_heap_init(struct timer_heap *heap)
{
	ASSERT(heap != NULL);
	*heap = (struct timer_heap){.root = NULL};
}

static bool timer_before(const struct timer *a, const struct timer *b)
{
	if (a->deadline_ns != b->deadline_ns) {
		return a->deadline_ns < b->deadline_ns;
	}
	return a->order < b->order;
}

/* Joins two roots; either may be NULL. */
static struct timer *timer_meld(struct timer *a, struct timer *b)
{
	struct timer *low = a;
	struct timer *high = b;

	if (a == NULL || b == NULL) {
		return a != NULL ? a : b;
	}
	if (timer_before(b, a)) {
		low = b;
		high = a;
	}
	high->next = low->child;
	high->prev = low;
	if (low->child != NULL) {
		low->child->prev = high;
	}
	low->child = high;
	low->next = NULL;
	low->prev = NULL;
	return low;
}

/* Melds a list of siblings to one tree: pairs from left to right, then the pairs from right to left. */
static struct timer *timer_meld_siblings(struct timer *first)
{
	struct timer *pairs = NULL; /* linked by next, last pair first */
	struct timer *root = NULL;

	while (first != NULL) {
		struct timer *a = first;
		struct timer *b = a->next;

		first = b != NULL ? b->next : NULL;
		a->next = NULL;
		a->prev = NULL;
		if (b != NULL) {
			b->next = NULL;
			b->prev = NULL;
		}
		a = timer_meld(a, b);
		a->next = pairs;
		pairs = a;
	}
	while (pairs != NULL) {
		struct timer *rest = pairs->next;

		pairs->next = NULL;
		root = timer_meld(root, pairs);
		pairs = rest;
	}
	return root;
}

void timer_add(struct timer_heap *heap, struct timer *timer, uint64_t deadline_ns, timer_fn *fn)
{
	ASSERT(!timer->armed);
	ASSERT(fn != NULL);
	timer->child = NULL;
	timer->next = NULL;
	timer->prev = NULL;
	timer->deadline_ns = deadline_ns;
	timer->order = heap->order_next++;
	timer->fn = fn;
	timer->armed = true;
	heap->root = timer_meld(heap->root, timer);
	heap->count++;
}

void timer_cancel(struct timer_heap *heap, struct timer *timer)
{
	if (!timer->armed) {
		return;
	}
	ASSERT(heap->count > 0);
	if (timer == heap->root) {
		heap->root = timer_meld_siblings(timer->child);
	} else {
		ASSERT(timer->prev != NULL);
		if (timer->prev->child == timer) {
			timer->prev->child = timer->next;
		} else {
			timer->prev->next = timer->next;
		}
		if (timer->next != NULL) {
			timer->next->prev = timer->prev;
		}
		if (timer->child != NULL) {
			heap->root = timer_meld(heap->root, timer_meld_siblings(timer->child));
		}
	}
	timer->child = NULL;
	timer->next = NULL;
	timer->prev = NULL;
	timer->armed = false;
	heap->count--;
}

uint64_t timer_heap_next(const struct timer_heap *heap)
{
	return heap->root != NULL ? heap->root->deadline_ns : UINT64_MAX;
}

size_t timer_heap_expire(struct timer_heap *heap, uint64_t now_ns)
{
	uint64_t order_end = heap->order_next;
	size_t expired = 0;

	while (heap->root != NULL && heap->root->deadline_ns <= now_ns) {
		struct timer *timer = heap->root;

		if (timer->order >= order_end) {
			break; /* armed by a callback: its turn is the next call */
		}
		timer_cancel(heap, timer);
		timer->fn(timer);
		expired++;
	}
	return expired;
}
