/*
 * Timers: order of expiry against a sorted array under random additions and cancellations.
 */
#include "env/timer.h"
#include "test.h"

#define N 2000

struct entry {
	struct timer timer;
	uint64_t fired_at;
	unsigned fired;
};

static struct entry entries[N];
static uint64_t last_deadline;
static uint64_t last_order;
static struct timer_heap heap;
static struct timer rearmed;

static void on_timer(struct timer *t)
{
	struct entry *e = container_of(t, struct entry, timer);

	CHECK(!t->armed);
	CHECK(t->deadline_ns > last_deadline ||
		(t->deadline_ns == last_deadline && t->order > last_order));
	last_deadline = t->deadline_ns;
	last_order = t->order;
	e->fired++;
}

static uint64_t rnd(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

TEST(timer_expires_in_order)
{
	uint64_t seed = 88172645463325252u;
	size_t armed = 0;
	size_t fired = 0;

	timer_heap_init(&heap);
	CHECK(timer_heap_next(&heap) == UINT64_MAX);
	for (unsigned i = 0; i < N; i++) {
		timer_add(&heap, &entries[i].timer, 1 + rnd(&seed) % 500, on_timer);
		if (i % 3 == 0) {
			struct entry *e = &entries[rnd(&seed) % (i + 1)];

			timer_cancel(&heap, &e->timer);
			CHECK(!e->timer.armed);
		}
	}
	for (unsigned i = 0; i < N; i++) {
		armed += entries[i].timer.armed;
	}
	CHECK_EQ(heap.count, armed);
	CHECK(armed > N / 2 && armed < N);
	for (uint64_t now = 0; now <= 500; now += 7) {
		uint64_t next = timer_heap_next(&heap);
		size_t n = timer_heap_expire(&heap, now);

		CHECK((next <= now) == (n > 0));
		CHECK(timer_heap_next(&heap) > now);
		fired += n;
	}
	fired += timer_heap_expire(&heap, 500);
	CHECK_EQ(fired, armed);
	CHECK_EQ(heap.count, 0);
}

static void on_rearm(struct timer *t)
{
	timer_add(&heap, t, t->deadline_ns, on_rearm);
}

TEST(timer_armed_by_a_callback_waits_for_the_next_call)
{
	timer_heap_init(&heap);
	timer_add(&heap, &rearmed, 5, on_rearm);
	CHECK_EQ(timer_heap_expire(&heap, 10), 1);
	CHECK_EQ(timer_heap_expire(&heap, 10), 1);
	CHECK(rearmed.armed);
	timer_cancel(&heap, &rearmed);
	timer_cancel(&heap, &rearmed);
	CHECK_EQ(heap.count, 0);
}
