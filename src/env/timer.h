/*
 * Timers of one reactor: an intrusive pairing heap ordered by (deadline, order of addition).
 *
 * Adding costs O(1), cancelling and expiring O(log n) amortised, and nothing is ever allocated, so a
 * timer cannot fail. The usual timer is a deadline that never comes: added and cancelled while it is a
 * leaf, which is a few stores. Ties expire in the order they were added (the simulator needs an order).
 * Source of the structure: Fredman, Sedgewick, Sleator, Tarjan, "The pairing heap", 1986.
 * Not thread-safe; the owner embeds `struct timer`, zero-initialised.
 */
#ifndef NACRE_ENV_TIMER_H
#define NACRE_ENV_TIMER_H

#include "base/base.h"

struct timer;
typedef void timer_fn(struct timer *timer);

struct timer {
	struct timer *child;
	struct timer *next; /* sibling */
	struct timer *prev; /* left sibling, or the parent of the first child */
	uint64_t deadline_ns;
	uint64_t order;
	timer_fn *fn;
	bool armed;
};

struct timer_heap {
	struct timer *root;
	uint64_t order_next;
	size_t count;
};

void timer_heap_init(struct timer_heap *heap);
/* Arms a timer that is not armed; fn is called by timer_heap_expire with the timer disarmed. */
void timer_add(struct timer_heap *heap, struct timer *timer, uint64_t deadline_ns, timer_fn *fn);
/* Disarms; harmless on a timer that is not armed. */
void timer_cancel(struct timer_heap *heap, struct timer *timer);
/* The earliest deadline, or UINT64_MAX. */
uint64_t timer_heap_next(const struct timer_heap *heap);
/* Calls fn of every timer whose deadline is <= now that was armed when the call began. Returns how many. */
size_t timer_heap_expire(struct timer_heap *heap, uint64_t now_ns);

#endif
