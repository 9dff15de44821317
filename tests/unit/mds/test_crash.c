/*
 * Crashes at every point: what was answered is there, what was durable survives a power loss, nothing is half
 * done, and the checker is content.
 */
#include "prop.h"
#include "test.h"

#define STEPS_MAX 400

struct crash {
	struct prop p;
	unsigned steps;
	enum sim_crash kind;
	struct model *after[STEPS_MAX + 1]; /* the model after so many steps */
	uint64_t transno[STEPS_MAX + 1];
	unsigned done; /* steps that were answered */
	uint64_t committed; /* as seen last */
	bool attached;
	uint64_t session;
};

static void crash_first(void *arg)
{
	struct crash *t = arg;

	mbox_start(&t->p.box);
	prop_attach(&t->p, 0);
	t->session = mds_session_id(t->p.c.session);
	t->after[0] = model_clone(t->p.model);
	t->attached = true;
	while (t->done < t->steps) {
		prop_step(&t->p);
		t->done++;
		t->after[t->done] = model_clone(t->p.model);
		t->transno[t->done] = t->p.transno;
		t->committed = mds_last_committed(t->p.box.mds);
	}
	mbox_stop(&t->p.box);
}

/* Is the state what the model was after `steps` steps? */
static bool is_after(struct crash *t, unsigned steps)
{
	struct model *now = t->p.model;
	bool same;

	t->p.model = t->after[steps];
	same = prop_compare(&t->p, true, true);
	t->p.model = now;
	return same;
}

static void crash_second(void *arg)
{
	struct crash *t = arg;
	struct mds_peer peer;
	unsigned lowest = t->done;

	mbox_start(&t->p.box);
	mbox_check(&t->p.box);
	if (!t->attached) {
		return;
	}
	mcli_peer(&peer, 9);
	CHECK_EQ(mcli_open_peer(&t->p.c, &peer, 0), 0);
	peer.client.bytes[0] = 10;
	peer.read_only = true;
	CHECK_EQ(mcli_open_peer(&t->p.viewer, &peer, 0), 0);
	if (t->kind == SIM_POWER_LOSS) {
		while (lowest > 0 && t->transno[lowest] > t->committed) {
			lowest--;
		}
		/* Access times moved since have numbers that no reply named: they may be lost. */
		while (lowest > 0 && t->transno[lowest - 1] == t->transno[lowest]) {
			lowest--;
		}
	}
	for (unsigned n = t->done + 1; n-- > lowest;) {
		if (is_after(t, n)) {
			return;
		}
	}
	/* The one that was in progress may have happened. */
	CHECK(t->done < t->steps);
	prop_step_again(&t->p);
	prop_compare(&t->p, false, false);
}

/* True: the run ended before the k-th point. */
static bool crash_at(uint64_t seed, uint64_t k, unsigned steps, enum sim_crash kind)
{
	struct crash *t = calloc(1, sizeof(*t));
	bool ended;

	prop_init(&t->p, seed, seed % 2 == 0 ? 0 : 4);
	t->steps = steps;
	t->kind = kind;
	sim_crash_at(t->p.box.node, k, kind);
	ended = mbox_run(&t->p.box, crash_first, t, kind);
	if (ended) {
		t->committed = UINT64_MAX; /* an orderly stop loses nothing */
	}
	sim_crash_at(t->p.box.node, 0, kind);
	CHECK(mbox_run(&t->p.box, crash_second, t, SIM_KILL));
	for (unsigned i = 0; i <= t->done; i++) {
		model_free(t->after[i]);
	}
	prop_fini(&t->p);
	free(t);
	return ended;
}

static void every_point(enum sim_crash kind)
{
	uint64_t k = 1;

	while (!crash_at(3, k, 12, kind)) {
		k++;
	}
	CHECK(k > 100);
}

TEST(kill_at_every_point)
{
	every_point(SIM_KILL);
}

TEST(power_loss_at_every_point)
{
	every_point(SIM_POWER_LOSS);
}

static void some_points(enum sim_crash kind)
{
	struct prng rng;
	unsigned crashed = 0;

	prng_init(&rng, 77);
	for (uint64_t seed = 100; seed < 160; seed++) {
		crashed += crash_at(seed, 150 + prng_below(&rng, 1200), STEPS_MAX, kind) ? 0 : 1;
	}
	CHECK(crashed > 30);
}

TEST(kill_at_random_points)
{
	some_points(SIM_KILL);
}

TEST(power_loss_at_random_points)
{
	some_points(SIM_POWER_LOSS);
}
