/* Random operations against the reference model, with restarts, with a full and with cut name hashes. */
#include "prop.h"
#include "test.h"

#define STEPS 1500
#define SEEDS 4

static uint64_t fetches;
static uint64_t checkpoints;

static void run_once(void *arg)
{
	struct prop *p = arg;
	struct state_stats stats;

	mbox_start(&p->box);
	prop_attach(p, 0);
	for (unsigned i = 0; i < STEPS; i++) {
		prop_step(p);
		if (i % 500 == 499) {
			prop_compare(p, true, false);
			mbox_check(&p->box);
		}
	}
	state_stats_get(mds_state(p->box.mds), &stats);
	fetches += stats.fetch_keys;
	checkpoints += stats.checkpoints;
	prop_close_all(p);
	prop_compare(p, true, false);
	mbox_check(&p->box);
	mbox_stop(&p->box);
}

static void run_seeds(uint64_t first, unsigned hash_bits)
{
	unsigned done[PROP_KINDS] = {0};
	unsigned failed[PROP_KINDS] = {0};
	unsigned asked_groups = 0;
	unsigned orphans = 0;

	for (uint64_t seed = first; seed < first + SEEDS; seed++) {
		struct prop p;

		prop_init(&p, seed, hash_bits);
		for (unsigned life = 0; life < 2; life++) {
			CHECK(mbox_run(&p.box, run_once, &p, SIM_KILL));
		}
		for (unsigned i = 0; i < PROP_KINDS; i++) {
			done[i] += p.done[i];
			failed[i] += p.failed[i];
		}
		asked_groups += p.asked_groups;
		orphans += p.orphans;
		prop_fini(&p);
	}
	/* The test means something only if all kinds succeed and fail, groups were asked for, and so on. */
	for (unsigned i = 0; i < PROP_KINDS; i++) {
		CHECK(done[i] > 50);
		CHECK(failed[i] > 10);
	}
	CHECK(asked_groups > 10);
	CHECK(orphans > 10);
	CHECK(fetches > 10000);
	CHECK(checkpoints > 10);
}

TEST(full_hash)
{
	run_seeds(1, 0);
}

TEST(four_bits)
{
	run_seeds(11, 4);
}

TEST(one_bit)
{
	run_seeds(21, 1);
}
