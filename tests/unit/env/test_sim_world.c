/*
 * The simulated world itself: time, clocks, choice of fibers, jobs, suspension, deadlocks, determinism.
 */
#include "test.h"

#include "base/alloc.h"
#include "base/log.h"
#include "env/sim/sim.h"

struct world {
	struct sim *sim;
	struct sim_node *node;
	struct env *env;
	unsigned done;
	unsigned goal;
	uint64_t value;
	struct env_waitq q;
};

static void world_init(struct world *w, uint64_t seed)
{
	struct sim_options opts;

	sim_options_default(&opts, seed);
	opts.quiet = true;
	*w = (struct world){.goal = 1};
	w->sim = sim_new(&opts);
	w->node = sim_node_new(w->sim, "a");
	w->env = sim_node_env(w->node);
	env_waitq_init(&w->q);
}

static bool world_done(void *ctx)
{
	const struct world *w = ctx;

	return w->done >= w->goal;
}

/* ---- time ---- */

static void sleeper(void *arg)
{
	struct world *w = arg;
	uint64_t before = env_now(w->env);

	env_sleep(w->env, 3600 * NS_PER_S);
	CHECK(env_now(w->env) >= before + 3600 * NS_PER_S);
	CHECK(env_now(w->env) < before + 3600 * NS_PER_S + NS_PER_MS);
	w->done++;
}

TEST(an_hour_passes_at_once)
{
	struct world w;

	world_init(&w, 1);
	sim_node_start(w.node, sleeper, &w);
	CHECK_EQ(sim_run(w.sim, world_done, &w, ENV_FOREVER), 0);
	/* The node's clock drifts by at most 100 ppm. */
	CHECK(sim_now(w.sim) > 3599 * NS_PER_S && sim_now(w.sim) < 3601 * NS_PER_S);
	sim_free(w.sim);
}

static void poller(void *arg)
{
	struct world *w = arg;
	uint64_t end = env_now(w->env) + 10 * NS_PER_US;

	while (env_now(w->env) < end) {
		env_yield(w->env);
	}
	w->done++;
}

TEST(a_polling_fiber_does_not_stop_time)
{
	struct world w;

	world_init(&w, 2);
	sim_node_start(w.node, poller, &w);
	CHECK_EQ(sim_run(w.sim, world_done, &w, NS_PER_S), 0);
	sim_free(w.sim);
}

static void idler(void *arg)
{
	struct world *w = arg;

	for (unsigned i = 0; i < 100; i++) {
		env_sleep(w->env, NS_PER_MS);
	}
	w->done++;
}

TEST(clocks_differ_but_never_go_back)
{
	struct sim_options opts;
	struct world w = {.goal = 8};
	struct sim_node *nodes[8];
	uint64_t before[8];
	int64_t real_low = INT64_MAX;
	int64_t real_high = INT64_MIN;

	sim_options_default(&opts, 3);
	w.sim = sim_new(&opts);
	for (unsigned i = 0; i < 8; i++) {
		char name[8];

		(void)snprintf(name, sizeof(name), "n%u", i);
		nodes[i] = sim_node_new(w.sim, name);
	}
	w.env = sim_node_env(nodes[0]);
	for (unsigned i = 0; i < 8; i++) {
		struct env *env = sim_node_env(nodes[i]);
		int64_t real;

		sim_node_start(nodes[i], i == 0 ? idler : sleeper, &w);
		before[i] = env_boottime(env);
		real = env_realtime(env);
		real_low = real < real_low ? real : real_low;
		real_high = real > real_high ? real : real_high;
		w.env = env;
		CHECK_EQ(sim_run(w.sim, NULL, NULL, 2 * 3600 * NS_PER_S), 0);
		CHECK(env_boottime(env) > before[i]);
	}
	CHECK(real_high - real_low > (int64_t)NS_PER_S);
	sim_free(w.sim);
}

/* ---- suspension ---- */

static void suspended(void *arg)
{
	struct world *w = arg;
	uint64_t now = env_now(w->env);
	uint64_t boot = env_boottime(w->env);

	env_sleep(w->env, 2 * NS_PER_MS);
	w->value = (env_boottime(w->env) - boot) - (env_now(w->env) - now);
	w->done++;
}

static void suspend_stop(void *ctx)
{
	sim_node_suspend(((struct world *)ctx)->node, SIM_PAUSE_STOP);
}

static void suspend_sleep(void *ctx)
{
	sim_node_suspend(((struct world *)ctx)->node, SIM_PAUSE_SLEEP);
}

static void resume(void *ctx)
{
	sim_node_resume(((struct world *)ctx)->node);
}

TEST(suspension_stops_fibers_and_boottime_goes_on)
{
	for (unsigned how = 0; how < 2; how++) {
		struct world w;

		world_init(&w, 4);
		sim_node_start(w.node, suspended, &w);
		sim_after(w.sim, NS_PER_MS, how == 0 ? suspend_stop : suspend_sleep, &w);
		sim_after(w.sim, 5 * NS_PER_S, resume, &w);
		CHECK_EQ(sim_run(w.sim, world_done, &w, 4 * NS_PER_S), -NE_TIMEDOUT);
		CHECK_EQ(w.done, 0);
		CHECK_EQ(sim_run(w.sim, world_done, &w, 4 * NS_PER_S), 0);
		/* Stopped, the monotonic clock went on; asleep it did not. */
		CHECK(how == 0 ? w.value < NS_PER_MS : w.value > 4 * NS_PER_S);
		CHECK(how == 1 || sim_now(w.sim) < 5 * NS_PER_S + NS_PER_MS);
		sim_free(w.sim);
	}
}

/* ---- jobs ---- */

static void job_double(void *arg)
{
	uint64_t *value = arg;

	*value *= 2;
}

static void job_user(void *arg)
{
	struct world *w = arg;
	uint64_t value = 21;

	env_job(w->env, ENV_JOB_LOOKUP, job_double, &value);
	CHECK_EQ(value, 42);
	w->done++;
}

static void job_users(void *arg)
{
	struct world *w = arg;

	for (unsigned i = 0; i < 10; i++) {
		CHECK_EQ(env_spawn(w->env, "job_user", job_user, w), 0);
	}
}

TEST(jobs_run_and_die_with_their_node)
{
	for (uint64_t seed = 0; seed < 20; seed++) {
		struct world w;

		world_init(&w, seed);
		w.goal = 10;
		sim_node_start(w.node, job_users, &w);
		CHECK_EQ(sim_run(w.sim, world_done, &w, NS_PER_S), 0);
		w.done = 0;
		CHECK_EQ(sim_run(w.sim, NULL, NULL, NS_PER_S), 0);
		sim_node_crash(w.node, SIM_KILL);
		sim_node_start(w.node, job_users, &w);
		w.goal = 3;
		CHECK_EQ(sim_run(w.sim, world_done, &w, NS_PER_S), 0);
		sim_node_crash(w.node, SIM_KILL);
		CHECK(sim_stats(w.sim)->faults[SIM_FAULT_JOB_LOST] > 0 || w.done == 10);
		sim_free(w.sim);
	}
}

/* ---- deadlocks ---- */

static void waiter(void *arg)
{
	struct world *w = arg;
	int rc = env_wait(w->env, &w->q, ENV_FOREVER, ENV_WAIT_PLAIN);

	CHECK_EQ(rc, 0);
	w->done++;
}

TEST(a_deadlock_is_found_and_described)
{
	struct world w;
	char *text = NULL;
	size_t size = 0;
	FILE *out;

	world_init(&w, 5);
	sim_node_start(w.node, waiter, &w);
	CHECK_EQ(sim_run(w.sim, world_done, &w, ENV_FOREVER), -NE_DEADLK);
	out = open_memstream(&text, &size);
	CHECK(out != NULL);
	sim_dump(w.sim, out);
	CHECK_EQ(fclose(out), 0);
	CHECK(strstr(text, "node a: up") != NULL);
	CHECK(strstr(text, "main") != NULL);
	CHECK(strstr(text, "waiting in a wait of the core, for ever") != NULL);
	free(text);
	/* Without a goal the same state is simply rest. */
	CHECK_EQ(sim_run(w.sim, NULL, NULL, ENV_FOREVER), 0);
	sim_free(w.sim);
}

/* ---- choice ---- */

struct racer {
	struct world *w;
	unsigned index;
	unsigned turns;
};

static void race(void *arg)
{
	struct racer *r = arg;

	for (unsigned i = 0; i < 1000; i++) {
		r->turns++;
		env_yield(r->w->env);
	}
	r->w->value = r->w->value * 31 + r->index;
	r->w->done++;
}

static struct racer racers[6];

static void racers_start(void *arg)
{
	for (unsigned i = 0; i < 6; i++) {
		struct racer *r = &racers[i];

		*r = (struct racer){.w = arg, .index = i};
		CHECK_EQ(env_spawn(r->w->env, "racer", race, r), 0);
	}
}

static bool racers_fair(void *ctx)
{
	unsigned low = UINT32_MAX;
	unsigned high = 0;

	for (unsigned i = 0; i < 6; i++) {
		low = racers[i].turns < low ? racers[i].turns : low;
		high = racers[i].turns > high ? racers[i].turns : high;
	}
	/* Nobody starves: a ready fiber is passed over a bounded number of times. */
	CHECK(high < 60 || low * 4 > high || high == 1000);
	return world_done(ctx);
}

TEST(the_seed_decides_the_order_and_nobody_starves)
{
	uint64_t first[16];
	bool differ = false;

	for (unsigned i = 0; i < 32; i++) {
		struct world w;

		world_init(&w, i % 16);
		w.goal = 6;
		sim_node_start(w.node, racers_start, &w);
		memset(racers, 0, sizeof(racers));
		CHECK_EQ(sim_run(w.sim, racers_fair, &w, NS_PER_S), 0);
		if (i < 16) {
			first[i] = w.value;
			differ = differ || first[i] != first[0];
		} else {
			CHECK_EQ(w.value, first[i - 16]);
		}
		sim_free(w.sim);
	}
	CHECK(differ);
}

/* ---- the heap of a node ---- */

static void hoarder(void *arg)
{
	struct world *w = arg;

	for (unsigned i = 0; i < 3000; i++) {
		void *block = mem_alloc(1 + env_random(w->env) % 100);

		CHECK(block != NULL);
		block = mem_realloc(block, 200);
		CHECK(block != NULL);
		if (i % 3 == 0) {
			mem_free(block);
		}
	}
	w->done++;
	env_sleep(w->env, NS_PER_S);
}

TEST(a_crashed_node_gives_its_memory_back)
{
	struct world w;

	world_init(&w, 6);
	for (unsigned i = 1; i <= 20; i++) {
		w.goal = i;
		sim_node_start(w.node, hoarder, &w);
		CHECK_EQ(sim_run(w.sim, world_done, &w, NS_PER_MS), 0);
		CHECK_EQ(sim_node_heap_blocks(w.node), 2000);
		sim_node_crash(w.node, i % 2 == 0 ? SIM_KILL : SIM_POWER_LOSS);
		CHECK_EQ(sim_node_heap_blocks(w.node), 0);
	}
	CHECK_EQ(sim_crashes(w.node), 20);
	sim_free(w.sim); /* and the sanitizer sees no leak */
}

static void mortal(void *arg)
{
	struct world *w = arg;

	w->done++;
	env_die(w->env, "the disk is gone");
}

static void count_crash(void *ctx)
{
	((struct world *)ctx)->value++;
}

TEST(die_crashes_the_node_and_boot_ids_tell)
{
	struct world w;
	char first[64];

	world_init(&w, 7);
	sim_node_on_crash(w.node, count_crash, &w);
	sim_node_start(w.node, mortal, &w);
	(void)snprintf(first, sizeof(first), "%s", env_boot_id(w.env));
	CHECK_EQ(sim_run(w.sim, NULL, NULL, NS_PER_S), 0);
	CHECK(!sim_node_is_up(w.node));
	CHECK_EQ(w.value, 1);
	CHECK_EQ(sim_node_fibers(w.node), 0);
	sim_node_start(w.node, sleeper, &w);
	CHECK_STR(env_boot_id(w.env), first);
	sim_node_crash(w.node, SIM_POWER_LOSS);
	sim_node_start(w.node, sleeper, &w);
	CHECK(strcmp(env_boot_id(w.env), first) != 0);
	sim_free(w.sim);
}

/* ---- the event log ---- */

static void noter(void *arg)
{
	struct world *w = arg;

	log_warn("test", "fact=%d", 17);
	sim_note(w->sim, "note %d", 18);
	w->done++;
}

TEST(log_lines_and_notes_are_events)
{
	struct world w;
	char *text = NULL;
	size_t size = 0;
	FILE *out;

	world_init(&w, 8);
	sim_node_start(w.node, noter, &w);
	CHECK_EQ(sim_run(w.sim, world_done, &w, NS_PER_S), 0);
	out = open_memstream(&text, &size);
	CHECK(out != NULL);
	sim_log_print(w.sim, out);
	CHECK_EQ(fclose(out), 0);
	CHECK(strstr(text, "fact=17") != NULL);
	CHECK(strstr(text, "note 18") != NULL);
	free(text);
	sim_free(w.sim);
}
