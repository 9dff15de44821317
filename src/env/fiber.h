/*
 * Fibers: stackful coroutines and their scheduler, the same in the real and the simulated world.
 *
 * A `fiber_pool` owns stacks (one mapping, a guard page below each) and the fibers' records; several
 * schedulers of one thread may share a pool (the simulator's nodes do). A `fiber_sched` owns the fibers of
 * one reactor: a queue of ready ones, the timers of waiting ones. A world drives it:
 *
 *     for (;;) {
 *             sched->now_ns = clock;
 *             fiber_timers_expire(sched);
 *             while (fiber_step(sched)) { }      // or fiber_turn: those ready now, once each
 *             sleep until fiber_deadline_next(sched) or an event; events call fiber_wake_*
 *     }
 *
 * Invariants: a fiber is in exactly one of: the ready list, running, one wait queue, sleeping (timer
 * only), free. Fibers switch only to the driver's stack and back, so the driver sees every switch. The
 * driver may be a different thread each time (never two at once): no thread-local is held over a yield.
 * Not thread-safe.
 */
#ifndef NACRE_ENV_FIBER_H
#define NACRE_ENV_FIBER_H

#include "base/base.h"
#include "base/list.h"
#include "env/env.h"
#include "env/timer.h"

enum fiber_state {
	FIBER_FREE = 0,
	FIBER_READY,
	FIBER_RUNNING,
	FIBER_WAITING, /* in a wait queue or asleep */
	FIBER_PARKED, /* never runs again; freed by fiber_sched_abandon */
};

struct fiber_sched;

struct fiber {
	void *sp; /* saved stack pointer while it does not run */
	struct fiber_sched *sched;
	struct list link; /* ready list or wait queue */
	struct list all; /* sched->all, or the pool's free list */
	struct timer timer;
	env_fiber_fn *fn;
	void *arg;
	const char *name;
	uint64_t id; /* counts from 1 within the scheduler */
	enum fiber_state state;
	int wait_result;
	bool wait_intr; /* the wait may be interrupted */
	bool interrupted; /* the mark env_interrupt leaves */
	bool prepared; /* the stack has its guard */
	uint8_t trace_wait; /* enum trace_wait: what its waits are for */
	unsigned slot; /* index in the pool */
	struct trace_span *trace; /* it works for; NULL: none */
	unsigned valgrind_id;
	void *asan_fake_stack;
	void *tsan_fiber;
};

/* Opaque but for gdb (tools/gdb/nacre-fibers.py). */
struct fiber_pool {
	char *stacks; /* one mapping: slot i at stacks + i * stride */
	size_t stack_size; /* usable bytes */
	size_t stride; /* with the guard page, which is below the stack */
	struct fiber *fibers;
	unsigned limit;
	unsigned used;
	struct list free;
};

/* Makes a pool for at most `limit` fibers; stacks cost memory only when touched. -NE_NOMEM. */
_check_ int fiber_pool_new(unsigned limit, struct fiber_pool **ret_pool);
/* Every fiber must have ended or been abandoned. Accepts NULL. */
void fiber_pool_free(struct fiber_pool *pool);

/* Chooses which ready fiber runs next: an element of sched->ready (struct fiber.link), which holds
 * sched->ready_count >= 1. */
typedef struct fiber *fiber_pick_fn(struct fiber_sched *sched, void *ctx);

struct fiber_sched {
	void *main_sp;
	struct fiber *current;
	struct fiber_pool *pool;
	uint64_t now_ns; /* what env_now returns; the driver sets it */
	struct list ready;
	size_t ready_count;
	struct list all;
	size_t count; /* live fibers, parked ones included */
	size_t limit;
	struct timer_heap timers;
	fiber_pick_fn *pick; /* NULL: first in, first out */
	void *pick_ctx;
	uint64_t id_next;
	uint64_t switches; /* fibers resumed so far */
	bool stack_check; /* measure stack use at every exit (debug: costs a scan) */
	size_t stack_used_max;
	/* The driver's side, for the sanitizers. */
	void *asan_main_fake_stack;
	const void *asan_main_bottom;
	size_t asan_main_size;
	void *tsan_main;
};

/* `limit`: most fibers alive at once in this scheduler. */
void fiber_sched_init(struct fiber_sched *sched, struct fiber_pool *pool, size_t limit);
/* No fiber may be left (let them end, or abandon them first). */
void fiber_sched_fini(struct fiber_sched *sched);
/* Forgets every fiber as a crash does: none runs again, stacks return to the pool, nothing on them is
 * cleaned up, wait queues they stood in are dangling. Call from the driver, not from a fiber of it. */
void fiber_sched_abandon(struct fiber_sched *sched);

/* ---- driving (from outside of its fibers) ---- */

/* Runs one ready fiber until it yields, waits or ends; false when none is ready. */
bool fiber_step(struct fiber_sched *sched);
/* Runs each fiber that is ready now once (those they make ready wait for the next turn). */
size_t fiber_turn(struct fiber_sched *sched);
/* Makes fibers ready whose deadline is <= sched->now_ns; returns how many timers fired. */
size_t fiber_timers_expire(struct fiber_sched *sched);
/* Earliest deadline anybody waits for, or ENV_FOREVER. */
uint64_t fiber_deadline_next(const struct fiber_sched *sched);

/* ---- from fibers and completions ---- */

_check_ int fiber_spawn(struct fiber_sched *sched, const char *name, env_fiber_fn *fn, void *arg,
	struct fiber **ret_fiber);
_yields_ void fiber_yield(struct fiber_sched *sched);
/* Waits in q (NULL: in none, for the deadline or an interrupt only). See env_wait. */
_yields_ int fiber_wait(
	struct fiber_sched *sched, struct env_waitq *q, uint64_t deadline_ns, unsigned flags);
/* Makes one given waiting fiber ready with a result (its wait returns it). */
void fiber_wake(struct fiber *fiber, int result);
bool fiber_wake_one(struct env_waitq *q);
void fiber_wake_all(struct env_waitq *q);
void fiber_interrupt(struct fiber *fiber);
/* The running fiber never runs again and is not cleaned up (a simulated crash from within). */
_noreturn_ void fiber_park(struct fiber_sched *sched);
/* Most bytes of this fiber's stack that were ever in use (by it or earlier owners of the stack). */
size_t fiber_stack_used(const struct fiber *fiber);

#endif
