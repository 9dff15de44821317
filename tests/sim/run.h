/*
 * One whole run of a seed: a safety phase under faults, then a liveness phase without, then all checks.
 */
#ifndef NACRE_TESTS_SIM_RUN_H
#define NACRE_TESTS_SIM_RUN_H

#include "env/sim/sim.h"

struct run_options {
	uint64_t seed;
	unsigned ops; /* per worker; 0: drawn */
	unsigned kinds; /* enum nemesis_kind allowed */
	bool trace;
	bool quiet;
};

struct run_result {
	struct sim_stats stats;
	uint64_t hash; /* of all events */
	uint64_t virtual_ns;
	unsigned kinds;
	unsigned osts;
	unsigned clients;
	unsigned workers;
	unsigned ops;
	unsigned crashes;
	unsigned resyncs;
	unsigned ops_lost;
	unsigned lost_writes;
	unsigned nospace;
	unsigned ordered; /* operations on shared names that have an order */
};

/* Hosts of the fixed scenario: the MDT's and two OSTs'. */
#define STEP_HOSTS 3u

struct step_options {
	uint64_t seed;
	unsigned host;
	enum sim_crash kind;
	uint64_t step; /* crash point at which the host crashes, from 1 */
	bool trace;
};

/* A fixed scenario with a crash at one step: false when it ended before that step came. */
bool run_step(const struct step_options *opt, struct run_result *ret_result);
/* Aborts on the first violation, after saying what and which seed. */
void run_seed(const struct run_options *opt, struct run_result *ret_result);

#endif
