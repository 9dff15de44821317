/*
 * The world: options, the event loop, waiting, dumps.
 *
 * One step of the loop: carry out the events and timers that are due, then run one turn of one ready fiber
 * of a random node; when none is ready, move the time to the next event or deadline. A turn takes a little
 * virtual time, so that a fiber that polls cannot stop the world.
 */
#include "env/sim/sim.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/log.h"
#include "env/sim/sim_int.h"

/* The world whose log lines go into its event log and which is printed on abort; the last one made. */
static struct sim *sink_owner;

struct sim_action {
	struct timer timer;
	struct list link;
	struct sim *sim;
	sim_action_fn *fn;
	void *ctx;
};

/* ---- options ---- */

void sim_options_default(struct sim_options *opts, uint64_t seed)
{
	*opts = (struct sim_options){
		.seed = seed,
		.time_ns_max = 24 * 3600 * NS_PER_S,
		.turn_ns_max = 400,
		.job_ns_max = 500 * NS_PER_US,
		.clock_offset_ns_max = 2 * (int64_t)NS_PER_S,
		.clock_drift_ppm_max = 100,
		.fibers_max = 2048,
		.node_fibers_max = LIM_FIBERS,
		.log_events = 4096,
		.net =
			{
				.latency_ns_min = 10 * NS_PER_US,
				.latency_ns_max = 200 * NS_PER_US,
				.bandwidth_bytes_per_s = UINT64_C(1000000000),
				.buffer_bytes = 256 * 1024,
				.segment_bytes_max = 64 * 1024,
				.backlog = 128,
				.retransmit_ns_max = 400 * NS_PER_MS,
				.connect_timeout_ns_max = 20 * NS_PER_S,
				.detect_ns_min = 100 * NS_PER_MS,
				.detect_ns_max = 20 * NS_PER_S,
				.late_ns_max = 2 * NS_PER_S,
			},
		.disk =
			{
				.capacity_bytes = 4 * GIB,
				.cached_ns_max = 20 * NS_PER_US,
				.sync_ns_min = 100 * NS_PER_US,
				.sync_ns_max = 3 * NS_PER_MS,
				.slow_ns_max = 2 * NS_PER_S,
				.switch_ppm = 50000,
				.writeback_ppm = 20000,
				.torn_ppm = 50000,
			},
	};
}

void sim_options_faults(struct sim_options *opts)
{
	opts->net.delay_ppm = 2000;
	opts->net.lose_ppm = 500;
	opts->net.break_ppm = 2000;
	opts->net.late_ppm = 300000;
	opts->net.refuse_ppm = 10000;
	opts->net.connect_timeout_ppm = 10000;
	opts->net.segment_bytes_max = 4096;
	opts->disk.switch_ppm = 200000;
	opts->disk.slow_ppm = 200;
	opts->disk.writeback_ppm = 100000;
}

/* ---- making ---- */

static void failure_print(struct sim *sim, const char *why);

/* A check of the test or an assert failed: say what led there, then die as asked. */
static void abort_print(int sig)
{
	struct sim *sim = sink_owner;

	(void)signal(sig, SIG_DFL);
	sink_owner = NULL;
	if (sim != NULL && !sim->opts.quiet) {
		failure_print(sim, "aborted");
	}
	(void)raise(sig);
}

static void log_capture(void *ctx, enum log_level level, const char *module, const char *line)
{
	struct sim *sim = ctx;
	const struct sim_node *node = NULL;

	(void)module;
	for (unsigned i = 0; i < sim->node_count; i++) {
		if (sim->nodes[i]->env.sched.current != NULL) {
			node = sim->nodes[i];
		}
	}
	sim_log(sim, node, "log", line, level, 0);
}

struct sim *sim_new(const struct sim_options *opts)
{
	struct sim *sim = sim_zalloc(sizeof(*sim));
	int rc;

	ASSERT(opts->turn_ns_max > 0 && opts->log_events > 0);
	ASSERT(opts->net.segment_bytes_max > 0 && opts->net.bandwidth_bytes_per_s > 0);
	sim->opts = *opts;
	sim->stats.runs = 1;
	prng_init(&sim->sched_rng, hash_mix2(opts->seed, 1));
	prng_init(&sim->net_rng, hash_mix2(opts->seed, 2));
	prng_init(&sim->test_rng, hash_mix2(opts->seed, 3));
	rc = fiber_pool_new(opts->fibers_max, &sim->pool);
	ASSERT(rc == 0);
	timer_heap_init(&sim->events);
	list_init(&sim->actions);
	list_init(&sim->streams);
	sim->doing = sim_zalloc(opts->fibers_max * sizeof(*sim->doing));
	sim->log_cap = opts->log_events;
	sim->log = sim_alloc(sim->log_cap * sizeof(*sim->log));
	sim->log_hash = opts->seed;
	sink_owner = sim;
	log_sink_set(log_capture, sim);
	(void)signal(SIGABRT, abort_print);
	return sim;
}

void sim_free(struct sim *sim)
{
	if (sim == NULL) {
		return;
	}
	for (unsigned i = 0; i < sim->node_count; i++) {
		struct sim_node *node = sim->nodes[i];

		node->on_crash = NULL;
		if (node->up) {
			sim_node_crash_now(node, SIM_KILL, "end");
		}
	}
	sim_net_free(sim);
	while (!list_empty(&sim->actions)) {
		struct sim_action *action = list_entry(sim->actions.next, struct sim_action, link);

		timer_cancel(&sim->events, &action->timer);
		list_del(&action->link);
		free(action);
	}
	ASSERT(sim->events.count == 0);
	for (unsigned i = 0; i < sim->node_count; i++) {
		sim_node_free(sim->nodes[i]);
	}
	fiber_pool_free(sim->pool);
	if (sink_owner == sim) {
		log_sink_set(NULL, NULL);
		(void)signal(SIGABRT, SIG_DFL);
		sink_owner = NULL;
	}
	free(sim->doing);
	free(sim->log);
	free(sim);
}

struct sim_options *sim_options_live(struct sim *sim)
{
	return &sim->opts;
}

uint64_t sim_now(const struct sim *sim)
{
	return sim->now;
}

uint64_t sim_random(struct sim *sim)
{
	return prng_next(&sim->test_rng);
}

/* ---- actions of the test ---- */

static void action_due(struct timer *timer)
{
	struct sim_action *action = container_of(timer, struct sim_action, timer);
	sim_action_fn *fn = action->fn;
	void *ctx = action->ctx;

	list_del(&action->link);
	free(action);
	fn(ctx);
}

void sim_after(struct sim *sim, uint64_t delay_ns, sim_action_fn *fn, void *ctx)
{
	struct sim_action *action = sim_zalloc(sizeof(*action));

	ASSERT(fn != NULL);
	action->sim = sim;
	action->fn = fn;
	action->ctx = ctx;
	list_push_back(&sim->actions, &action->link);
	timer_add(&sim->events, &action->timer, sim->now + delay_ns, action_due);
}

/* ---- the loop ---- */

static void timers_due(struct sim *sim)
{
	if (timer_heap_next(&sim->events) <= sim->now) {
		sim->stats.events += timer_heap_expire(&sim->events, sim->now);
	}
	for (unsigned i = 0; i < sim->node_count; i++) {
		struct sim_node *node = sim->nodes[i];

		if (node->deadline_ns > sim->now || !sim_node_runs(node)) {
			continue;
		}
		node->env.sched.now_ns = sim_node_mono(node);
		sim->stats.events += fiber_timers_expire(&node->env.sched);
		sim_node_deadline_update(node);
	}
}

static struct sim_node *node_choose(struct sim *sim)
{
	struct sim_node *ready[SIM_NODES_MAX];
	struct sim_node *chosen;
	unsigned count = 0;

	for (unsigned i = 0; i < sim->node_count; i++) {
		struct sim_node *node = sim->nodes[i];

		if (node->env.sched.ready_count == 0 || !sim_node_runs(node)) {
			continue;
		}
		if (node->skips >= SIM_SKIPS_MAX) {
			node->skips = 0;
			return node;
		}
		ready[count++] = node;
	}
	if (count == 0) {
		return NULL;
	}
	chosen = ready[count == 1 ? 0 : prng_below(&sim->sched_rng, count)];
	for (unsigned i = 0; count > 1 && i < count; i++) {
		ready[i]->skips++;
	}
	chosen->skips = 0;
	return chosen;
}

/* The next time at which anything happens, or ENV_FOREVER. */
static uint64_t time_next(const struct sim *sim)
{
	uint64_t next = timer_heap_next(&sim->events);

	for (unsigned i = 0; i < sim->node_count; i++) {
		if (sim_node_runs(sim->nodes[i])) {
			next = u64_min(next, sim->nodes[i]->deadline_ns);
		}
	}
	return next;
}

/* False when nothing will ever happen again. */
static bool world_step(struct sim *sim)
{
	struct sim_node *node;
	uint64_t next;

	timers_due(sim);
	node = node_choose(sim);
	if (node != NULL) {
		sim->stats.events++;
		sim_node_turn(node);
		return true;
	}
	next = time_next(sim);
	if (next == ENV_FOREVER) {
		return false;
	}
	sim->now = u64_max(sim->now, u64_min(next, sim->end_ns));
	return true;
}

static void failure_print(struct sim *sim, const char *why)
{
	sim_log_tail(sim, stderr, SIM_FAILED_EVENTS);
	fprintf(stderr, "%s at %.6f ms, seed %llu\n", why, (double)sim->now / 1e6,
		(unsigned long long)sim->opts.seed);
	sim_dump(sim, stderr);
}

static int run_failed(struct sim *sim, int rc, const char *why)
{
	sim_log(sim, NULL, "failed", why, 0, 0);
	if (!sim->opts.quiet) {
		failure_print(sim, why);
	}
	return rc;
}

int sim_run(struct sim *sim, sim_until_fn *until, void *ctx, uint64_t max_ns)
{
	sim->end_ns = max_ns > sim->opts.time_ns_max - u64_min(sim->now, sim->opts.time_ns_max)
		? sim->opts.time_ns_max
		: sim->now + max_ns;
	for (;;) {
		if (until != NULL && until(ctx)) {
			return 0;
		}
		if (sim->now >= sim->end_ns) {
			return run_failed(sim, -NE_TIMEDOUT, "time is over");
		}
		if (!world_step(sim)) {
			break;
		}
	}
	return until == NULL ? 0 : run_failed(sim, -NE_DEADLK, "nothing can happen any more");
}

/* ---- waiting ---- */

int sim_wait(struct sim_node *node, struct env_waitq *q, uint64_t deadline_local, unsigned flags,
	const char *op, const char *what)
{
	struct fiber_sched *sched = &node->env.sched;
	struct sim_doing *doing = &node->sim->doing[sched->current->slot];
	int rc;

	*doing = (struct sim_doing){op, what, node->sim->now};
	rc = fiber_wait(sched, q, deadline_local, flags);
	*doing = (struct sim_doing){NULL, NULL, 0};
	return rc;
}

void sim_pass(struct sim_node *node, uint64_t ns, const char *op, const char *what)
{
	int rc = sim_wait(node, NULL, node->env.sched.now_ns + ns, ENV_WAIT_PLAIN, op, what);

	ASSERT(rc == -NE_TIMEDOUT);
}

/* ---- dumps ---- */

static void fiber_dump(const struct sim *sim, const struct fiber *fiber, FILE *out)
{
	static const char *const states[] = {
		[FIBER_FREE] = "free",
		[FIBER_READY] = "ready",
		[FIBER_RUNNING] = "running",
		[FIBER_WAITING] = "waiting",
		[FIBER_PARKED] = "parked",
	};
	const struct sim_doing *doing = &sim->doing[fiber->slot];

	fprintf(out, "  fiber %-3llu %-20s %s", (unsigned long long)fiber->id, fiber->name,
		states[fiber->state]);
	if (fiber->state == FIBER_WAITING) {
		fprintf(out, " in %s%s%s", doing->op != NULL ? doing->op : "a wait of the core",
			doing->what != NULL ? " " : "", doing->what != NULL ? doing->what : "");
		if (doing->op != NULL) {
			fprintf(out, " since %.6f ms", (double)doing->since_ns / 1e6);
		}
		if (fiber->timer.armed) {
			fprintf(out, ", for at most %.6f ms more",
				((double)fiber->timer.deadline_ns - (double)fiber->sched->now_ns) /
					1e6);
		} else {
			fprintf(out, ", for ever");
		}
	}
	fprintf(out, "%s\n", fiber->interrupted ? ", interrupted" : "");
}

void sim_dump(struct sim *sim, FILE *out)
{
	for (unsigned i = 0; i < sim->node_count; i++) {
		const struct sim_node *node = sim->nodes[i];

		fprintf(out, "node %s: %s%s%s, life %u, %llu crash points, %zu fibers\n",
			node->name, node->up ? "up" : (node->powered ? "killed" : "without power"),
			node->stopped ? ", stopped" : "", node->asleep ? ", asleep" : "",
			node->life, (unsigned long long)node->points, node->env.sched.count);
		LIST_FOREACH (it, &node->env.sched.all) {
			fiber_dump(sim, list_entry(it, struct fiber, all), out);
		}
	}
	for (unsigned i = 0; i < sim->node_count; i++) {
		for (unsigned j = 0; j < sim->node_count; j++) {
			if (sim->blocked[i][j]) {
				fprintf(out, "partition: %s cannot reach %s\n", sim->nodes[i]->name,
					sim->nodes[j]->name);
			}
		}
	}
	sim_net_dump(sim, out);
}
