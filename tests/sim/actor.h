/*
 * A fiber of a client beside the workers, which several clients' fibers share something with.
 *
 * It lives in the test's memory: `main` runs in each life of its client until it says that it is idle.
 */
#ifndef NACRE_TESTS_SIM_ACTOR_H
#define NACRE_TESTS_SIM_ACTOR_H

#include "cluster.h"

#define ACTORS_MAX 32u

struct actor {
	struct cluster_client *cl;
	env_fiber_fn *main; /* of the actor */
	void (*died)(struct actor *a); /* its client has died */
	bool stop; /* end after this operation */
	bool idle;
	unsigned life; /* of the client, when main last ran */
	struct prng rng;
};

/* After the death of a client its last requests may still be on their way. To be called first in main. */
_yields_ void actor_begin(struct actor *a);
_yields_ void actor_pause(struct actor *a, uint64_t ns);

static inline uint64_t actor_rnd(struct actor *a, uint64_t below)
{
	return prng_below(&a->rng, below);
}

#endif
