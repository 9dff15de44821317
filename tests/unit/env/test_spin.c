/*
 * Adaptive polling against models of traffic: it must poll where that makes waits shorter, and nowhere else.
 */
#include "env/posix/posix_int.h"
#include "test.h"

#define WAITS 20000

/* How long a wait lasts if polled, and if slept through; both ns. */
struct model {
	uint64_t polled_ns;
	uint64_t slept_ns;
};

/* Percent of waits that polled, over the second half. */
static unsigned play(struct posix_spin *s, const struct model *m)
{
	uint64_t now = NS_PER_S;
	unsigned polls = 0;

	for (unsigned i = 0; i < WAITS; i++) {
		uint64_t budget = spin_budget(s, now);
		uint64_t jitter = (i * 7919u) % 1000u;
		uint64_t waited;

		if (budget == 0) {
			waited = m->slept_ns + jitter;
		} else if (m->polled_ns <= budget) {
			waited = m->polled_ns + jitter;
		} else {
			waited = u64_max(m->slept_ns, budget) + jitter;
		}
		spin_learn(s, budget > 0, true, waited);
		now += waited + NS_PER_US;
		polls += i >= WAITS / 2 && budget > 0;
	}
	return polls * 100 / (WAITS / 2);
}

static unsigned play_new(uint64_t polled_us, uint64_t slept_us)
{
	struct posix_spin s;
	struct model m = {polled_us * NS_PER_US, slept_us * NS_PER_US};

	spin_init(&s, 0);
	return play(&s, &m);
}

TEST(spin_polls_where_it_pays)
{
	CHECK(play_new(4, 50) >= 95);
	CHECK(play_new(30, 80) >= 95);
}

TEST(spin_sleeps_where_polling_gains_nothing)
{
	CHECK(play_new(8, 8) <= 5); /* both ends on one CPU */
	CHECK(play_new(100, 100) <= 5); /* regular, but too far apart */
	CHECK(play_new(70, 105) <= 5);
	CHECK(play_new(900, 1000) == 0);
}

TEST(spin_follows_changes)
{
	struct posix_spin s;
	struct model near = {4 * NS_PER_US, 50 * NS_PER_US};
	struct model far = {100 * NS_PER_US, 100 * NS_PER_US};

	spin_init(&s, 0);
	CHECK(play(&s, &near) >= 95);
	CHECK(play(&s, &far) <= 5);
	CHECK(play(&s, &near) >= 95);
}

TEST(spin_never_when_idle)
{
	struct posix_spin s;
	struct model near = {4 * NS_PER_US, 50 * NS_PER_US};
	unsigned polls = 0;

	spin_init(&s, 0);
	CHECK(play(&s, &near) >= 95);
	for (unsigned i = 0; i < 1000; i++) {
		bool polled = spin_budget(&s, NS_PER_S) > 0;

		polls += polled;
		spin_learn(&s, polled, i % 2 == 0, 500 * NS_PER_MS);
	}
	CHECK(polls <= 8);
	CHECK_EQ(spin_budget(&s, NS_PER_S), 0);
}

TEST(spin_off_and_hint_and_crowded)
{
	struct posix_spin s;
	struct model near = {4 * NS_PER_US, 50 * NS_PER_US};

	spin_init(&s, REACTOR_SPIN_NONE);
	CHECK_EQ(play(&s, &near), 0);
	spin_init(&s, 20);
	s.hint_until = 1000;
	CHECK_EQ(spin_budget(&s, 400), 600);
	CHECK_EQ(spin_budget(&s, 1000), 0);
	s.hint_until = NS_PER_S;
	CHECK_EQ(spin_budget(&s, 0), 20 * NS_PER_US);
	spin_init(&s, 0);
	CHECK(play(&s, &near) >= 95);
	spin_crowded(&s);
	for (unsigned i = 0; i < 100; i++) {
		CHECK_EQ(spin_budget(&s, NS_PER_S), 0);
	}
}

/* Waits until polling is allowed again. */
static unsigned pause_len(struct posix_spin *s)
{
	unsigned waits = 0;

	while (spin_budget(s, NS_PER_S) == 0) {
		waits++;
		CHECK(waits < 1000000);
	}
	return waits;
}

TEST(spin_pauses_grow_while_the_cpu_is_crowded_and_shrink_when_it_is_not)
{
	struct posix_spin s;
	struct model near = {4 * NS_PER_US, 50 * NS_PER_US};
	unsigned before = 0;
	unsigned len = 0;

	spin_init(&s, 0);
	(void)play(&s, &near);
	for (unsigned i = 0; i < 6; i++) {
		spin_crowded(&s);
		len = pause_len(&s);
		CHECK(i == 0 || len >= before + before / 2);
		before = len;
	}
	for (unsigned i = 0; i < 40; i++) {
		(void)play(&s, &near);
	}
	spin_crowded(&s);
	CHECK(pause_len(&s) <= before / 4);
}
