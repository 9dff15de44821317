/*
 * A simulated node for fuzz targets that need a disk or a network: one world for all executions of a target.
 *
 * Each execution gets a copy of the disk as fuzz_sim_keep found it, runs a body as the node's process, and
 * kills it. What the world draws at random differs between executions; what a target promises does not.
 */
#ifndef NACRE_TESTS_FUZZ_SIM_H
#define NACRE_TESTS_FUZZ_SIM_H

#include "env/sim/sim.h"

struct fuzz_sim {
	struct sim *sim;
	struct sim_node *node;
	struct sim_node *store; /* never up: holds the disk to begin with */
	struct env *env;
	env_fiber_fn *fn;
	void *arg;
	bool done;
	unsigned runs;
};

/* sim_new and sim_free, but an abort stays the fuzzer's: it saves the input. */
struct sim *fuzz_sim_new(const struct sim_options *opts);
void fuzz_sim_free(struct sim *sim);
/* The one world; made with prepare(env) run on its disk the first time. */
struct fuzz_sim *fuzz_sim_get(env_fiber_fn *prepare);
/* Puts the prepared disk into the node. */
void fuzz_sim_disk_reset(struct fuzz_sim *f);
/* Runs fn(arg) as the node's process until it ends or dies; true: it ended. */
bool fuzz_sim_run(struct fuzz_sim *f, env_fiber_fn *fn, void *arg);

#endif
