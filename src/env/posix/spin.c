/*
 * Adaptive polling: whether to poll before sleeping, and for how long, learnt from what waits were like.
 *
 * Waking a sleeping thread on another CPU costs more than anything else a request does, so a reactor whose
 * next event comes soon should not sleep. It should not burn a CPU otherwise. The rules:
 *  1. Only near waits argue for polling: those that end within the polling time (with a wake-up's cost on
 *     top if they were slept through). A counter of recent near waits must be high; far waits pull it down
 *     twice as fast, so an idle reactor stops polling after a few waits and never polls again by itself.
 *  2. Of near waits, the smoothed lengths of the polled and of the slept ones are compared: polling goes on
 *     only while it makes waits shorter. Each mode is tried now and then to keep its figure true. When both
 *     ends share one CPU, sleeping is as fast, and this is how the reactor finds out.
 *  3. Every pass yields the CPU. A pass that took long met a busy CPU: polling pauses, twice as long each time it
 *     happens again soon.
 */
#include "env/posix/posix_int.h"

#define SPIN_DEFAULT_US 50
#define SPIN_NEAR_MAX 16
#define SPIN_NEAR_ON 6
/* A near wait that was slept through also contains the wake-up (ns): 60 us asleep against 8 us polled. */
#define SPIN_WAKE_NS (60 * NS_PER_US)
/* The other mode is tried once in so many near waits. */
#define SPIN_EXPLORE 128
#define SPIN_CROWDED_WAITS 128
#define SPIN_CROWDED_WAITS_MAX 65536
/* Polled waits that met nobody, after which a pause is halved again. */
#define SPIN_CALM 256
/* Polling must win this much to be worth a CPU (ns). */
#define SPIN_GAIN_NS (2 * NS_PER_US)

void spin_init(struct posix_spin *s, unsigned us_max)
{
	ASSERT(us_max == REACTOR_SPIN_NONE || us_max <= 10000);
	*s = (struct posix_spin){.max_ns = 0};
	if (us_max != REACTOR_SPIN_NONE) {
		s->max_ns = (us_max == 0 ? SPIN_DEFAULT_US : us_max) * NS_PER_US;
	}
}

static bool spin_pays(const struct posix_spin *s)
{
	if (s->cost_spin == 0 || s->cost_sleep == 0) {
		return s->cost_spin == 0; /* not tried yet: try */
	}
	return s->cost_spin + SPIN_GAIN_NS < s->cost_sleep;
}

uint64_t spin_budget(struct posix_spin *s, uint64_t now_ns)
{
	bool on;

	if (s->max_ns == 0) {
		return 0;
	}
	if (s->hint_until > now_ns) {
		return u64_min(s->hint_until - now_ns, s->max_ns);
	}
	s->waits++;
	if (s->crowded > 0) {
		s->crowded--;
		return 0;
	}
	if (s->near < SPIN_NEAR_ON) {
		return 0;
	}
	on = spin_pays(s);
	if (s->waits % SPIN_EXPLORE == 0) {
		on = !on;
	}
	return on ? s->max_ns : 0;
}

static void spin_smooth(uint64_t *average, uint64_t sample)
{
	*average = *average == 0 ? u64_max(sample, 1) : (*average * 7 + sample) / 8;
}

void spin_learn(struct posix_spin *s, bool polled, bool event, uint64_t waited_ns)
{
	bool near = event && waited_ns <= s->max_ns + (polled ? 0 : SPIN_WAKE_NS);

	if (s->max_ns == 0) {
		return;
	}
	if (near) {
		s->near += s->near < SPIN_NEAR_MAX;
	} else {
		s->near -= s->near < 2 ? s->near : 2;
	}
	/* A phase that polled in vain and slept after it is part of what polling costs. */
	if (event && waited_ns <= s->max_ns + SPIN_WAKE_NS) {
		spin_smooth(polled ? &s->cost_spin : &s->cost_sleep, waited_ns);
	}
	if (polled && s->crowded == 0 && ++s->calm >= SPIN_CALM) {
		s->calm = 0;
		s->pause = s->pause / 2 < SPIN_CROWDED_WAITS ? SPIN_CROWDED_WAITS : s->pause / 2;
	}
	ASSERT(s->near <= SPIN_NEAR_MAX);
}

void spin_crowded(struct posix_spin *s)
{
	if (s->crowded > 0) {
		return; /* of the same phase */
	}
	s->crowded = s->pause < SPIN_CROWDED_WAITS ? SPIN_CROWDED_WAITS : s->pause;
	s->pause = s->crowded < SPIN_CROWDED_WAITS_MAX ? s->crowded * 2 : s->crowded;
	s->calm = 0;
	s->hint_until = 0;
}
