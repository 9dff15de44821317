/*
 * The frame of fault sweeps: which operation fails, arming it, and whether it was met.
 *
 * One fault per run, the n-th operation of its kind on one node (allocations: of the whole program). A sweep
 * calls its body with n = 1, 2, 3... until a run ends without having met the fault; a sweep whose first
 * run meets none has tested nothing and fails.
 */
#ifndef NACRE_TESTS_FAULT_SWEEP_H
#define NACRE_TESTS_FAULT_SWEEP_H

#include "base/alloc.h"
#include "env/sim/sim.h"
#include "test.h"

enum fault_kind {
	FAULT_ALLOC,
	FAULT_READ,
	FAULT_WRITE,
	FAULT_SYNC,
	FAULT_RESERVE,
	FAULT_NAMES,
	FAULT_KINDS,
};

struct fault {
	enum fault_kind kind;
	uint64_t n;
	uint64_t met_before;
	struct sim *sim;
	struct sim_node *node;
};

static const struct {
	const char *name;
	enum sim_disk_op op;
	enum ne_code code;
	enum sim_fault counter;
} fault_table[FAULT_KINDS] = {
	[FAULT_ALLOC] = {"alloc", SIM_DISK_OPS, NE_NOMEM, SIM_FAULTS},
	[FAULT_READ] = {"read", SIM_DISK_READ, NE_IO, SIM_FAULT_READ_ERROR},
	[FAULT_WRITE] = {"write", SIM_DISK_WRITE, NE_IO, SIM_FAULT_WRITE_ERROR},
	[FAULT_SYNC] = {"sync", SIM_DISK_SYNC, NE_IO, SIM_FAULT_SYNC_ERROR},
	[FAULT_RESERVE] = {"reserve", SIM_DISK_ALLOCATE, NE_NOSPC, SIM_FAULT_NOSPACE},
	[FAULT_NAMES] = {"names", SIM_DISK_NAMES, NE_IO, SIM_FAULT_NAMES_ERROR},
};

static inline void fault_arm(struct fault *f, struct sim *sim, struct sim_node *node)
{
	f->sim = sim;
	f->node = node;
	if (f->kind == FAULT_ALLOC) {
		mem_fail_nth(f->n);
		return;
	}
	f->met_before = sim_stats(sim)->faults[fault_table[f->kind].counter];
	sim_disk_fail(node, fault_table[f->kind].op, f->n, fault_table[f->kind].code);
}

static inline bool fault_met(const struct fault *f)
{
	if (f->kind == FAULT_ALLOC) {
		return mem_fail_fired();
	}
	return sim_stats(f->sim)->faults[fault_table[f->kind].counter] > f->met_before;
}

/* Takes what was not met away; true: it was met. */
static inline bool fault_disarm(struct fault *f)
{
	bool met = fault_met(f);

	if (f->kind == FAULT_ALLOC) {
		mem_fail_nth(0);
	} else {
		sim_disk_fail(f->node, fault_table[f->kind].op, 0, fault_table[f->kind].code);
	}
	return met;
}

/* body runs one world and returns whether it met the fault; step 0: every n, else n grows by 1 + n / step. */
static inline void sweep(enum fault_kind kind, uint64_t step, bool (*body)(struct fault *f))
{
	struct fault f = {.kind = kind, .n = 1};
	unsigned runs = 0;

	while (body(&f)) {
		runs++;
		f.n += 1 + (step == 0 ? 0 : f.n / step);
		CHECK(f.n < 1000000);
	}
	CHECK(runs > 0);
	printf("%s: %u runs, n up to %" PRIu64 "\n", fault_table[kind].name, runs, f.n);
}

#endif
