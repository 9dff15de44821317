/*
 * Frames for the store's tests: a body as the main fiber of a simulated node (its process ends with the
 * body), and as a fiber of a real reactor with a directory of its own.
 */
#ifndef NACRE_TESTS_STORE_BOX_H
#define NACRE_TESTS_STORE_BOX_H

#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/prng.h"
#include "env/posix/reactor.h"
#include "env/sim/sim.h"
#include "test.h"

struct box {
	struct sim *sim;
	struct sim_node *node;
	struct env *env;
	env_fiber_fn *fn;
	void *arg;
	bool done;
};

static inline void box_main(void *arg)
{
	struct box *b = arg;

	b->fn(b->arg);
	b->done = true;
}

static inline bool box_over(void *arg)
{
	struct box *b = arg;

	return b->done || !sim_node_is_up(b->node);
}

/* Starts fn(arg) as the node's process and drives the world until it ended or crashed. True: it ended by
 * itself; then it is killed without harm (or loses power), so that the next body can start. */
static inline bool box_run_then(struct box *b, env_fiber_fn *fn, void *arg, enum sim_crash how)
{
	b->fn = fn;
	b->arg = arg;
	b->done = false;
	sim_node_start(b->node, box_main, b);
	CHECK_EQ(sim_run(b->sim, box_over, b, ENV_FOREVER), 0);
	if (sim_node_is_up(b->node)) {
		sim_node_crash(b->node, how);
	}
	return b->done;
}

static inline bool box_run(struct box *b, env_fiber_fn *fn, void *arg)
{
	return box_run_then(b, fn, arg, SIM_KILL);
}

static inline void box_mkdir(void *arg)
{
	struct box *b = arg;

	CHECK_EQ(env_mkdir(b->env, "/s"), 0);
	CHECK_EQ(env_fsync_dir(b->env, "/"), 0);
}

static inline void box_init_opts(struct box *b, const struct sim_options *opts)
{
	*b = (struct box){0};
	b->sim = sim_new(opts);
	b->node = sim_node_new(b->sim, "n");
	b->env = sim_node_env(b->node);
	CHECK(box_run(b, box_mkdir, b));
}

static inline void box_init(struct box *b, uint64_t seed)
{
	struct sim_options opts;

	sim_options_default(&opts, seed);
	box_init_opts(b, &opts);
}

static inline void box_fini(struct box *b)
{
	sim_free(b->sim);
}

/* ---- the real world ---- */

struct real {
	struct env *env;
	char dir[256];
	env_fiber_fn *fn;
};

static inline void real_remove(const char *dir)
{
	char cmd[300];

	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	CHECK_EQ(system(cmd), 0);
}

/* fn gets the struct real. */
static inline void real_run(struct real *r, env_fiber_fn *fn)
{
	const char *tmp = getenv("TMPDIR");
	struct reactor *reactor;

	snprintf(r->dir, sizeof(r->dir), "%s/nacre-store-XXXXXX", tmp != NULL ? tmp : "/tmp");
	CHECK(mkdtemp(r->dir) != NULL);
	CHECK_EQ(reactor_new(NULL, &reactor), 0);
	r->env = reactor_env(reactor);
	CHECK_EQ(reactor_call(reactor, fn, r), 0);
	reactor_free(reactor);
	real_remove(r->dir);
}

static inline void box_sink(void *ctx _unused_, enum log_level level _unused_,
	const char *module _unused_, const char *line _unused_)
{
}

/* Expected errors are not printed. */
static inline void box_quiet(bool on)
{
	log_sink_set(on ? box_sink : NULL, NULL);
}

#endif
