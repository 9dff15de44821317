/*
 * The state machine killed and unplugged at every crash point of a small load: each system call and turn of
 * a fiber, one run per point, until a run ends unharmed; and again while it recovers. What was acknowledged
 * is there, transactions are whole, the survivors are a prefix. Then the canary: with fdatasync taken out,
 * the same search must find a loss.
 *
 * NACRE_CRASH_LONG=1 runs more seeds.
 */
#include "env/env_int.h"
#include "store_load.h"

static struct load load;
static struct sim_stats stats_sum;

struct crash_case {
	uint64_t seed;
	enum sim_crash kind;
	bool faults;
	bool canary;
};

static void case_init(const struct crash_case *c, struct box *box)
{
	struct sim_options opts;

	sim_options_default(&opts, c->seed);
	if (c->faults) {
		sim_options_faults(&opts);
	}
	opts.quiet = true;
	box_init_opts(box, &opts);
	load_init(&load, box->env, "/s", c->seed);
	load.opts.wal_segment_bytes = 16 * KIB;
	load.opts.table_bytes = 4 * KIB;
	load.fibers = 3;
	load.per_fiber = 9;
	load.checkpoint_every = 6;
	load.durable = c->kind == SIM_POWER_LOSS;
	load.canary = c->canary;
}

/* Takes fdatasync out of the node's world. */
static int sync_nothing(struct env_file *f _unused_)
{
	return 0;
}

static void canary_set(struct box *box)
{
	static struct env_ops ops;

	ops = *box->env->ops;
	ops.fdatasync = sync_nothing;
	box->env->ops = &ops;
}

/* One world: crash at the k-th point, then at the j-th of the recovery (0: not), then run to the end.
 * False when the load ended before its k-th point. */
static bool crash_once(const struct crash_case *c, uint64_t k, uint64_t j)
{
	struct box box;
	bool ended;

	case_init(c, &box);
	if (c->canary) {
		canary_set(&box);
	}
	sim_crash_at(box.node, k, c->kind);
	ended = box_run_then(&box, load_main, &load, c->kind);
	sim_crash_at(box.node, 0, c->kind);
	if (!ended && j != 0) {
		sim_crash_at(box.node, j, c->kind);
		(void)box_run_then(&box, load_main, &load, c->kind);
		sim_crash_at(box.node, 0, c->kind);
	}
	load.per_fiber = 3;
	for (int i = 0; i < 2 && !load.lost && load.err == 0; i++) {
		CHECK(box_run_then(&box, load_main, &load, c->kind));
	}
	if (load.err != 0) {
		if (!c->canary) {
			fprintf(stderr, "seed %" PRIu64 " k %" PRIu64 " j %" PRIu64 " error %s\n",
				c->seed, k, j, ne_name(load.err));
			sim_log_print(box.sim, stderr);
		}
		CHECK(c->canary);
		load.lost = true;
	} else if (!load.lost) {
		CHECK_EQ(sim_node_heap_blocks(box.node), 0);
	}
	sim_stats_add(&stats_sum, sim_stats(box.sim));
	box_fini(&box);
	return !ended;
}

/* Every point of the load. */
static uint64_t crash_everywhere(const struct crash_case *c, bool twice)
{
	struct prng rng;
	uint64_t k = 1;

	prng_init(&rng, c->seed);
	while (crash_once(c, k, twice ? prng_range(&rng, 1, 80) : 0)) {
		k++;
		CHECK(k < 100000);
	}
	return k;
}

static uint64_t seeds(void)
{
	return getenv("NACRE_CRASH_LONG") != NULL ? 20 : 1;
}

static void sweep(enum sim_crash kind, bool faults, bool twice, uint64_t base)
{
	for (uint64_t seed = base; seed < base + seeds(); seed++) {
		struct crash_case c = {.seed = seed, .kind = kind, .faults = faults};
		uint64_t k = crash_everywhere(&c, twice);

		CHECK(k > 200);
		printf("  seed %" PRIu64 ": %" PRIu64 " crash points\n", seed, k);
	}
}

TEST(killed_at_every_point)
{
	sweep(SIM_KILL, false, false, 100);
	sweep(SIM_KILL, true, true, 200);
}

TEST(power_lost_at_every_point)
{
	sweep(SIM_POWER_LOSS, false, false, 300);
	sweep(SIM_POWER_LOSS, true, true, 400);
}

/* Long lives: many crashes of one node, the disk gets old. */
TEST(many_lives)
{
	for (uint64_t seed = 500; seed < 500 + 20 * seeds(); seed++) {
		struct crash_case c = {.seed = seed, .kind = SIM_POWER_LOSS, .faults = true};
		struct box box;

		case_init(&c, &box);
		for (int life = 0; life < 20; life++) {
			uint64_t k = prng_below(&load.rng, 1500);

			sim_crash_at(box.node, k, life % 3 == 0 ? SIM_KILL : SIM_POWER_LOSS);
			(void)box_run_then(&box, load_main, &load, SIM_POWER_LOSS);
			if (load.err != 0) {
				sim_log_print(box.sim, stderr);
			}
			CHECK_EQ(load.err, 0);
		}
		sim_crash_at(box.node, 0, SIM_KILL);
		CHECK(box_run(&box, load_main, &load));
		CHECK(load.recoveries > 5);
		sim_stats_add(&stats_sum, sim_stats(box.sim));
		box_fini(&box);
	}
}

TEST(without_fdatasync_a_loss_is_found)
{
	uint64_t runs = 0;
	bool found = false;

	box_quiet(true);
	for (uint64_t seed = 600; seed < 610 && !found; seed++) {
		struct crash_case c = {
			.seed = seed, .kind = SIM_POWER_LOSS, .faults = true, .canary = true};

		for (uint64_t k = 40; k < 1000 && !found; k += 20) {
			(void)crash_once(&c, k, 0);
			found = load.lost;
			runs++;
		}
	}
	box_quiet(false);
	CHECK(found);
	printf("  found in run %" PRIu64 "\n", runs);
	CHECK(runs <= 50);
}

/* What the sweeps above met: every fault of the disk, and every kind of point the store passes. */
TEST(every_disk_fault_fired)
{
	CHECK_EQ(sim_stats_check_all_fired(&stats_sum, SIM_GROUP_DISK, stderr), 0);
	CHECK(stats_sum.crashed[SIM_POINT_PWRITE] > 0 &&
		stats_sum.crashed[SIM_POINT_FDATASYNC] > 0);
	CHECK(stats_sum.crashed[SIM_POINT_RENAME] > 0 &&
		stats_sum.crashed[SIM_POINT_FSYNC_DIR] > 0);
	CHECK(stats_sum.crashed[SIM_POINT_JOB] > 0 && stats_sum.crashed[SIM_POINT_TURN] > 0);
}
