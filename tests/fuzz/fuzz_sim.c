/*
 * See fuzz_sim.h.
 */
#include "fuzz_sim.h"

#include <signal.h>

/* A world keeps its log, its time and its counters; after so many executions a new one is made. */
#define RUNS_MAX 5000

static struct fuzz_sim world;

struct sim *fuzz_sim_new(const struct sim_options *opts)
{
	struct sigaction before;
	struct sim *sim;

	(void)sigaction(SIGABRT, NULL, &before);
	sim = sim_new(opts);
	(void)sigaction(SIGABRT, &before, NULL);
	return sim;
}

void fuzz_sim_free(struct sim *sim)
{
	struct sigaction before;

	(void)sigaction(SIGABRT, NULL, &before);
	sim_free(sim);
	(void)sigaction(SIGABRT, &before, NULL);
}

static void body(void *arg)
{
	struct fuzz_sim *f = arg;

	f->fn(f->arg);
	f->done = true;
}

static bool over(void *arg)
{
	struct fuzz_sim *f = arg;

	return f->done || !sim_node_is_up(f->node);
}

bool fuzz_sim_run(struct fuzz_sim *f, env_fiber_fn *fn, void *arg)
{
	int r;

	f->fn = fn;
	f->arg = arg;
	f->done = false;
	sim_node_start(f->node, body, f);
	r = sim_run(f->sim, over, f, ENV_FOREVER);
	ASSERT(r == 0);
	if (sim_node_is_up(f->node)) {
		sim_node_crash(f->node, SIM_KILL);
	}
	return f->done;
}

void fuzz_sim_disk_reset(struct fuzz_sim *f)
{
	sim_node_disk_set(f->node, sim_disk_clone(f->store));
}

struct fuzz_sim *fuzz_sim_get(env_fiber_fn *prepare)
{
	struct fuzz_sim *f = &world;
	struct sim_options opts;

	if (f->sim != NULL && f->runs++ < RUNS_MAX) {
		return f;
	}
	fuzz_sim_free(f->sim);
	sim_options_default(&opts, 1);
	opts.fibers_max = 256;
	opts.log_events = 512;
	*f = (struct fuzz_sim){.sim = fuzz_sim_new(&opts)};
	f->node = sim_node_new(f->sim, "node");
	f->store = sim_node_new(f->sim, "store");
	f->env = sim_node_env(f->node);
	(void)fuzz_sim_run(f, prepare, f->env);
	ASSERT(f->done);
	sim_node_disk_set(f->store, sim_disk_clone(f->node));
	return f;
}
