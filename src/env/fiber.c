/*
 * The scheduler: ready list, waits with deadline and interrupt, and the switch between driver and fiber.
 *
 * A wait ends exactly once: whoever ends it (wake, deadline, interrupt) takes the fiber out of its queue
 * and its timer out of the heap and writes the result, so no wake-up is lost to a deadline that passed in
 * the same turn.
 */
#include "env/fiber_int.h"
#include "env/trace.h"

#if FIBER_ASAN
#include <sanitizer/common_interface_defs.h>
#endif
#if FIBER_TSAN
#include <sanitizer/tsan_interface.h>
#endif

void fiber_sched_init(struct fiber_sched *sched, struct fiber_pool *pool, size_t limit)
{
	ASSERT(pool != NULL);
	ASSERT(limit > 0);
	*sched = (struct fiber_sched){.pool = pool, .limit = limit, .id_next = 1};
	list_init(&sched->ready);
	list_init(&sched->all);
	timer_heap_init(&sched->timers);
}

void fiber_sched_fini(struct fiber_sched *sched)
{
	ASSERT(sched->current == NULL);
	ASSERT(sched->count == 0 && list_empty(&sched->ready));
	sched->pool = NULL;
}

static struct fiber *fiber_of_timer(struct timer *timer)
{
	return container_of(timer, struct fiber, timer);
}

static void fiber_release(struct fiber *fiber, bool ended)
{
	struct fiber_sched *sched = fiber->sched;

	if (sched->stack_check) {
		size_t used = fiber_stack_used(fiber);

		sched->stack_used_max = u64_max(sched->stack_used_max, used);
		/* Less than an eighth left is an overflow that has not met its input yet. */
		ASSERT(used < sched->pool->stack_size - sched->pool->stack_size / 8);
	}
	list_del(&fiber->all);
	sched->count--;
	fiber_pool_put(sched->pool, fiber, ended);
}

void fiber_sched_abandon(struct fiber_sched *sched)
{
	ASSERT(sched->current == NULL);
	LIST_FOREACH_SAFE (it, &sched->all) {
		struct fiber *fiber = list_entry(it, struct fiber, all);

		timer_cancel(&sched->timers, &fiber->timer);
		/* Its neighbours in a wait queue may be gone already: forget, do not unlink. */
		fiber->link = (struct list){.next = NULL};
		fiber->state = FIBER_PARKED;
		fiber_release(fiber, false);
	}
	list_init(&sched->ready);
	sched->ready_count = 0;
	ASSERT(sched->count == 0);
}

/* ---- the switch ---- */

static void fiber_resume(struct fiber_sched *sched, struct fiber *fiber)
{
	ASSERT(sched->current == NULL);
	sched->current = fiber;
	sched->switches++;
	fiber->state = FIBER_RUNNING;
#if FIBER_TSAN
	sched->tsan_main = __tsan_get_current_fiber();
	__tsan_switch_to_fiber(fiber->tsan_fiber, 0);
#endif
#if FIBER_ASAN
	__sanitizer_start_switch_fiber(&sched->asan_main_fake_stack,
		fiber_stack_bottom(sched->pool, fiber), sched->pool->stack_size);
#endif
	fiber_switch(&sched->main_sp, fiber->sp);
#if FIBER_ASAN
	__sanitizer_finish_switch_fiber(sched->asan_main_fake_stack, NULL, NULL);
#endif
	ASSERT(sched->current == fiber);
	sched->current = NULL;
}

/* From the running fiber to the driver; returns when the fiber is resumed. */
static void fiber_leave(struct fiber *fiber)
{
	struct fiber_sched *sched = fiber->sched;

#if FIBER_TSAN
	__tsan_switch_to_fiber(sched->tsan_main, 0);
#endif
#if FIBER_ASAN
	__sanitizer_start_switch_fiber(
		&fiber->asan_fake_stack, sched->asan_main_bottom, sched->asan_main_size);
#endif
	fiber_switch(&fiber->sp, sched->main_sp);
#if FIBER_ASAN
	sched = fiber->sched; /* another one, if it ended and was spawned again */
	__sanitizer_finish_switch_fiber(
		fiber->asan_fake_stack, &sched->asan_main_bottom, &sched->asan_main_size);
#endif
}

void fiber_main(struct fiber *fiber)
{
#if FIBER_ASAN
	__sanitizer_finish_switch_fiber(
		NULL, &fiber->sched->asan_main_bottom, &fiber->sched->asan_main_size);
#endif
	for (;;) {
		fiber->fn(fiber->arg);
		ASSERT(fiber->sched->current == fiber);
		fiber->state = FIBER_FREE;
		fiber_leave(fiber);
		/* The record was used for a new fiber, which begins here. */
		ASSERT(fiber->state == FIBER_RUNNING);
	}
}

void fiber_park(struct fiber_sched *sched)
{
	struct fiber *fiber = sched->current;

	ASSERT(fiber != NULL);
	fiber->state = FIBER_PARKED;
	fiber_leave(fiber);
	base_assert_failed("a parked fiber was resumed", __FILE__, __LINE__, __func__);
}

/* ---- driving ---- */

static void fiber_ready(struct fiber *fiber)
{
	ASSERT(!list_linked(&fiber->link));
	fiber->state = FIBER_READY;
	list_push_back(&fiber->sched->ready, &fiber->link);
	fiber->sched->ready_count++;
}

bool fiber_step(struct fiber_sched *sched)
{
	struct fiber *fiber;

	if (list_empty(&sched->ready)) {
		return false;
	}
	if (sched->pick != NULL) {
		fiber = sched->pick(sched, sched->pick_ctx);
	} else {
		fiber = list_entry(sched->ready.next, struct fiber, link);
	}
	ASSERT(fiber->sched == sched && fiber->state == FIBER_READY);
	list_del(&fiber->link);
	sched->ready_count--;
	fiber_resume(sched, fiber);
	if (fiber->state == FIBER_FREE) {
		fiber_release(fiber, true);
	}
	return true;
}

size_t fiber_turn(struct fiber_sched *sched)
{
	size_t todo = sched->ready_count;

	for (size_t i = 0; i < todo; i++) {
		if (!fiber_step(sched)) {
			return i;
		}
	}
	return todo;
}

size_t fiber_timers_expire(struct fiber_sched *sched)
{
	ASSERT(sched->current == NULL);
	return timer_heap_expire(&sched->timers, sched->now_ns);
}

uint64_t fiber_deadline_next(const struct fiber_sched *sched)
{
	return timer_heap_next(&sched->timers);
}

/* ---- from fibers and completions ---- */

int fiber_spawn(struct fiber_sched *sched, const char *name, env_fiber_fn *fn, void *arg,
	struct fiber **ret_fiber)
{
	struct fiber *fiber;

	ASSERT(fn != NULL);
	ASSERT(name != NULL);
	if (sched->count >= sched->limit) {
		return -NE_LIMIT;
	}
	fiber = fiber_pool_get(sched->pool);
	if (fiber == NULL) {
		return -NE_LIMIT;
	}
	fiber->sched = sched;
	fiber->fn = fn;
	fiber->arg = arg;
	fiber->name = name;
	fiber->id = sched->id_next++;
	fiber->interrupted = false;
	fiber->wait_intr = false;
	fiber->trace = NULL;
	list_push_back(&sched->all, &fiber->all);
	sched->count++;
	fiber_ready(fiber);
	if (ret_fiber != NULL) {
		*ret_fiber = fiber;
	}
	return 0;
}

void fiber_yield(struct fiber_sched *sched)
{
	struct fiber *fiber = sched->current;

	ASSERT(fiber != NULL);
	fiber_ready(fiber);
	fiber_leave(fiber);
}

static void fiber_timeout(struct timer *timer)
{
	fiber_wake(fiber_of_timer(timer), -NE_TIMEDOUT);
}

/* The wait is one of a span's (trace.h). Whose span it is may have changed meanwhile, but not ended. */
static void fiber_leave_traced(struct fiber *fiber)
{
	uint64_t begin = fiber->sched->now_ns;

	fiber_leave(fiber);
	if (fiber->trace != NULL && fiber->trace_wait < TRACE_OFF) {
		fiber->trace->wait_ns[fiber->trace_wait] += fiber->sched->now_ns - begin;
	}
}

int fiber_wait(struct fiber_sched *sched, struct env_waitq *q, uint64_t deadline_ns, unsigned flags)
{
	struct fiber *fiber = sched->current;

	ASSERT(fiber != NULL);
	ASSERT(q != NULL || deadline_ns != ENV_FOREVER || (flags & ENV_WAIT_INTR) != 0);
	if ((flags & ENV_WAIT_INTR) != 0 && fiber->interrupted) {
		return -NE_INTR;
	}
	fiber->state = FIBER_WAITING;
	fiber->wait_intr = (flags & ENV_WAIT_INTR) != 0;
	if (q != NULL) {
		list_push_back(&q->waiters, &fiber->link);
	}
	if (deadline_ns != ENV_FOREVER) {
		timer_add(&sched->timers, &fiber->timer, deadline_ns, fiber_timeout);
	}
	if (fiber->trace == NULL) {
		fiber_leave(fiber);
	} else {
		fiber_leave_traced(fiber);
	}
	return fiber->wait_result;
}

void fiber_wake(struct fiber *fiber, int result)
{
	ASSERT(fiber->state == FIBER_WAITING);
	if (list_linked(&fiber->link)) {
		list_del(&fiber->link);
	}
	timer_cancel(&fiber->sched->timers, &fiber->timer);
	fiber->wait_intr = false;
	fiber->wait_result = result;
	fiber_ready(fiber);
}

bool fiber_wake_one(struct env_waitq *q)
{
	if (list_empty(&q->waiters)) {
		return false;
	}
	fiber_wake(list_entry(q->waiters.next, struct fiber, link), 0);
	return true;
}

void fiber_wake_all(struct env_waitq *q)
{
	while (fiber_wake_one(q)) {
	}
}

void fiber_interrupt(struct fiber *fiber)
{
	ASSERT(fiber->state != FIBER_FREE && fiber->state != FIBER_PARKED);
	fiber->interrupted = true;
	if (fiber->state == FIBER_WAITING && fiber->wait_intr) {
		fiber_wake(fiber, -NE_INTR);
	}
}
