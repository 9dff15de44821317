/*
 * Fibers without a world: the scheduler is driven by hand with a hand-set clock.
 */
#include <fenv.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/limits.h"
#include "env/env_int.h"
#include "test.h"

static struct fiber_pool *pool;
static struct env env;
static char trace[256];
static size_t trace_len;

static void setup(void)
{
	if (pool == NULL) {
		CHECK_EQ(fiber_pool_new(LIM_FIBERS, &pool), 0);
	}
	env = (struct env){.ops = NULL};
	fiber_sched_init(&env.sched, pool, LIM_FIBERS);
	env.sched.stack_check = true;
	trace_len = 0;
	trace[0] = 0;
}

static void teardown(void)
{
	fiber_sched_fini(&env.sched);
	CHECK_EQ(pool->used, 0);
}

static void run(void)
{
	while (fiber_step(&env.sched)) {
	}
}

static void note(char c)
{
	trace[trace_len++] = c;
	trace[trace_len] = 0;
}

static void letters(void *arg)
{
	const char *c = arg;

	note(c[0]);
	env_yield(&env);
	note(c[1]);
	env_yield(&env);
	note(c[2]);
}

TEST(fiber_yield_is_fifo)
{
	setup();
	CHECK_EQ(env_spawn(&env, "one", letters, "abc"), 0);
	CHECK_EQ(env_spawn(&env, "two", letters, "xyz"), 0);
	CHECK(env_self(&env) == NULL);
	CHECK_EQ(fiber_turn(&env.sched), 2);
	CHECK_STR(trace, "ax");
	run();
	CHECK_STR(trace, "axbycz");
	CHECK(env.sched.stack_used_max > 64 || getenv("LD_PRELOAD") != NULL); /* 0 under valgrind */
	teardown();
}

static struct fiber *pick_last(struct fiber_sched *sched, void *ctx)
{
	CHECK(ctx == &env);
	return list_entry(sched->ready.prev, struct fiber, link);
}

TEST(fiber_pick_decides)
{
	setup();
	env.sched.pick = pick_last;
	env.sched.pick_ctx = &env;
	CHECK_EQ(env_spawn(&env, "one", letters, "abc"), 0);
	CHECK_EQ(env_spawn(&env, "two", letters, "xyz"), 0);
	run();
	CHECK_STR(trace, "xyzabc");
	teardown();
}

/* ---- waits ---- */

static struct env_waitq waitq;
static struct fiber *waiter;
static int wait_results[8];
static unsigned wait_count;
static uint64_t wait_deadline;
static unsigned wait_flags;

static void wait_fn(_unused_ void *arg)
{
	int rc;

	waiter = env_self(&env);
	rc = env_wait(&env, &waitq, wait_deadline, wait_flags);
	wait_results[wait_count++] = rc;
}

static void wait_setup(uint64_t deadline, unsigned flags, unsigned fibers)
{
	setup();
	env_waitq_init(&waitq);
	wait_count = 0;
	wait_deadline = deadline;
	wait_flags = flags;
	for (unsigned i = 0; i < fibers; i++) {
		CHECK_EQ(env_spawn(&env, "waiter", wait_fn, NULL), 0);
	}
	run();
	CHECK_EQ(wait_count, 0);
}

TEST(fiber_wake_one_and_all)
{
	wait_setup(ENV_FOREVER, ENV_WAIT_PLAIN, 4);
	CHECK(env_wake_one(&env, &waitq));
	run();
	CHECK_EQ(wait_count, 1);
	env_wake_all(&env, &waitq);
	run();
	CHECK_EQ(wait_count, 4);
	for (unsigned i = 0; i < 4; i++) {
		CHECK_EQ(wait_results[i], 0);
	}
	CHECK(!env_wake_one(&env, &waitq));
	teardown();
}

TEST(fiber_deadline)
{
	wait_setup(100, ENV_WAIT_PLAIN, 2);
	CHECK_EQ(fiber_deadline_next(&env.sched), 100);
	env.sched.now_ns = 99;
	CHECK_EQ(fiber_timers_expire(&env.sched), 0);
	CHECK(env_wake_one(&env, &waitq));
	env.sched.now_ns = 100;
	CHECK_EQ(fiber_timers_expire(&env.sched), 1);
	run();
	CHECK_EQ(wait_results[0], 0);
	CHECK_EQ(wait_results[1], -NE_TIMEDOUT);
	CHECK(list_empty(&waitq.waiters));
	CHECK_EQ(fiber_deadline_next(&env.sched), ENV_FOREVER);
	teardown();
}

TEST(fiber_interrupt_ends_interruptible_waits_only)
{
	wait_setup(ENV_FOREVER, ENV_WAIT_PLAIN, 1);
	env_interrupt(&env, waiter);
	run();
	CHECK_EQ(wait_count, 0);
	CHECK(env_wake_one(&env, &waitq));
	run();
	CHECK_EQ(wait_results[0], 0);
	teardown();

	wait_setup(500, ENV_WAIT_INTR, 1);
	env_interrupt(&env, waiter);
	run();
	CHECK_EQ(wait_results[0], -NE_INTR);
	CHECK_EQ(fiber_deadline_next(&env.sched), ENV_FOREVER);
	teardown();
}

TEST(fiber_wake_before_interrupt_is_not_lost)
{
	wait_setup(ENV_FOREVER, ENV_WAIT_INTR, 1);
	CHECK(env_wake_one(&env, &waitq));
	env_interrupt(&env, waiter);
	run();
	CHECK_EQ(wait_results[0], 0);
	teardown();
}

static void interrupted_fn(_unused_ void *arg)
{
	waiter = env_self(&env);
	env_yield(&env);
	CHECK(env_interrupted(&env));
	CHECK_EQ(env_sleep_until(&env, 1000), -NE_INTR);
	CHECK_EQ(env_sleep_until(&env, 1000), -NE_INTR);
	env_interrupt_clear(&env);
	CHECK(!env_interrupted(&env));
	CHECK_EQ(env_sleep_until(&env, 1000), 0);
	env_sleep(&env, 500);
	note('!');
}

TEST(fiber_interrupt_mark_stays_until_cleared)
{
	setup();
	CHECK_EQ(env_spawn(&env, "i", interrupted_fn, NULL), 0);
	CHECK(fiber_step(&env.sched));
	env_interrupt(&env, waiter);
	run();
	CHECK_EQ(fiber_deadline_next(&env.sched), 1000);
	env.sched.now_ns = 1000;
	CHECK_EQ(fiber_timers_expire(&env.sched), 1);
	run();
	CHECK_EQ(fiber_deadline_next(&env.sched), 1500);
	env.sched.now_ns = 1500;
	CHECK_EQ(fiber_timers_expire(&env.sched), 1);
	run();
	CHECK_STR(trace, "!");
	teardown();
}

/* ---- mutex ---- */

static struct env_mutex mutex;
static bool inside;

static void mutex_fn(void *arg)
{
	for (unsigned i = 0; i < 3; i++) {
		env_mutex_lock(&env, &mutex);
		CHECK(!inside);
		inside = true;
		note(*(const char *)arg);
		env_yield(&env);
		inside = false;
		env_mutex_unlock(&env, &mutex);
	}
}

TEST(fiber_mutex_is_fair)
{
	setup();
	env_mutex_init(&mutex);
	CHECK_EQ(env_spawn(&env, "a", mutex_fn, "a"), 0);
	CHECK_EQ(env_spawn(&env, "b", mutex_fn, "b"), 0);
	CHECK_EQ(env_spawn(&env, "c", mutex_fn, "c"), 0);
	run();
	CHECK_STR(trace, "abcabcabc");
	CHECK(!mutex.held);
	teardown();
}

/* ---- many ---- */

static unsigned done;

static void many_fn(void *arg)
{
	uint64_t wait = (uint64_t)(uintptr_t)arg;
	volatile char local[1500];

	local[0] = (char)wait;
	CHECK_EQ(env_sleep_until(&env, wait), 0);
	CHECK_EQ(env.sched.now_ns, wait);
	CHECK_EQ(local[0], (char)wait);
	done++;
}

TEST(fiber_thousands)
{
	setup();
	done = 0;
	for (unsigned round = 0; round < 5; round++) {
		uint64_t base = env.sched.now_ns + 1;

		for (unsigned i = 0; i < LIM_FIBERS; i++) {
			uint64_t at = base + (i * 7919u) % 1000u;

			CHECK_EQ(env_spawn(&env, "m", many_fn, (void *)(uintptr_t)at), 0);
		}
		CHECK_EQ(env_spawn(&env, "m", many_fn, NULL), -NE_LIMIT);
		run();
		while (fiber_deadline_next(&env.sched) != ENV_FOREVER) {
			env.sched.now_ns = fiber_deadline_next(&env.sched);
			CHECK(fiber_timers_expire(&env.sched) > 0);
			run();
		}
	}
	CHECK_EQ(done, 5 * LIM_FIBERS);
	teardown();
}

TEST(fiber_abandon_forgets_everybody)
{
	wait_setup(700, ENV_WAIT_INTR, 10);
	for (unsigned i = 0; i < 5; i++) {
		CHECK_EQ(env_spawn(&env, "ready", letters, "abc"), 0);
	}
	CHECK(fiber_step(&env.sched));
	memset(&waitq, 0x5a, sizeof(waitq));
	fiber_sched_abandon(&env.sched);
	CHECK(!fiber_step(&env.sched));
	CHECK_EQ(fiber_deadline_next(&env.sched), ENV_FOREVER);
	CHECK_EQ(wait_count, 0);
	teardown();
}

static void park_fn(_unused_ void *arg)
{
	note('p');
	fiber_park(&env.sched);
}

TEST(fiber_park_never_returns)
{
	setup();
	CHECK_EQ(env_spawn(&env, "p", park_fn, NULL), 0);
	run();
	CHECK_STR(trace, "p");
	CHECK_EQ(env.sched.count, 1);
	fiber_sched_abandon(&env.sched);
	teardown();
}

/* ---- the switch keeps what the ABI promises ---- */

static void round_up_fn(_unused_ void *arg)
{
	volatile double one = 1.0;
	volatile double three = 3.0;
	double up;

	CHECK_EQ(fegetround(), FE_TONEAREST);
	fesetround(FE_UPWARD);
	up = one / three;
	env_yield(&env);
	CHECK_EQ(fegetround(), FE_UPWARD);
	CHECK(one / three == up);
	fesetround(FE_TONEAREST);
}

static void round_nearest_fn(_unused_ void *arg)
{
	CHECK_EQ(fegetround(), FE_TONEAREST);
	env_yield(&env);
	CHECK_EQ(fegetround(), FE_TONEAREST);
}

TEST(fiber_keeps_rounding_mode)
{
	setup();
	CHECK_EQ(env_spawn(&env, "up", round_up_fn, NULL), 0);
	CHECK_EQ(env_spawn(&env, "nearest", round_nearest_fn, NULL), 0);
	run();
	CHECK_EQ(fegetround(), FE_TONEAREST);
	teardown();
}

/* Touches one page of stack after another until the guard stops it. */
static __attribute__((noinline)) unsigned overflow(unsigned depth)
{
	volatile char page[1024];

	page[0] = (char)depth;
	if (depth > 100000) {
		return 0;
	}
	return overflow(depth + 1) + (unsigned)page[0];
}

static void overflow_fn(_unused_ void *arg)
{
	done = overflow(0);
}

TEST(fiber_overflow_hits_the_guard)
{
	int status;
	pid_t pid;

	setup();
	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		close(2);
		if (env_spawn(&env, "overflow", overflow_fn, NULL) == 0) {
			run();
		}
		_exit(0);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) != 0));
	teardown();
}

/* ---- cost: printed, and bounded loosely so that a gross regression fails ---- */

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

#define SPINS 200000

static void spin_fn(_unused_ void *arg)
{
	for (unsigned i = 0; i < SPINS; i++) {
		env_yield(&env);
	}
}

static void nothing_fn(_unused_ void *arg)
{
	done++;
}

TEST(fiber_costs)
{
	uint64_t begin;
	uint64_t switch_ns;
	uint64_t spawn_ns;

	setup();
	env.sched.stack_check = false;
	CHECK_EQ(env_spawn(&env, "s", spin_fn, NULL), 0);
	CHECK_EQ(env_spawn(&env, "s", spin_fn, NULL), 0);
	begin = clock_ns();
	run();
	/* A yield is two switches: to the driver and to the other fiber. */
	switch_ns = (clock_ns() - begin) * 10 / (SPINS * 4);
	begin = clock_ns();
	for (unsigned i = 0; i < SPINS; i++) {
		CHECK_EQ(env_spawn(&env, "n", nothing_fn, NULL), 0);
		run();
	}
	spawn_ns = (clock_ns() - begin) / SPINS;
	printf("switch %" PRIu64 ".%" PRIu64 " ns, spawn+exit %" PRIu64 " ns\n", switch_ns / 10,
		switch_ns % 10, spawn_ns);
	CHECK(switch_ns < 10000 * 10);
	CHECK(spawn_ns < 20000);
	teardown();
}
