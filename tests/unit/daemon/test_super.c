/* Superblocks on the simulated disk: format, refusals, damage, power loss. */
#include "base/strbuf.h"
#include "daemon/super.h"
#include "env/sim/sim.h"
#include "test.h"

struct world {
	struct sim *sim;
	struct sim_node *node;
	struct env *env;
	bool done;
};

static struct super sample(void)
{
	struct super s = {.kind = W_TARGET_KIND_OST, .index = 3, .epoch = 0, .formatted_ns = 5};

	strcpy(s.fsname, "scratch");
	s.cluster.bytes[0] = 1;
	s.uuid.bytes[0] = 2;
	return s;
}

static bool is_done(void *arg)
{
	return ((struct world *)arg)->done;
}

static void run(env_fiber_fn *fn, struct world *w, uint64_t seed)
{
	struct sim_options opts;

	sim_options_default(&opts, seed);
	w->sim = sim_new(&opts);
	w->node = sim_node_new(w->sim, "n");
	w->env = sim_node_env(w->node);
	sim_node_start(w->node, fn, w);
	CHECK_EQ(sim_run(w->sim, is_done, w, 1000 * NS_PER_S), 0);
}

static void format_body(void *arg)
{
	struct world *w = arg;
	struct super s = sample();
	struct super back;
	struct env_file *lock = NULL;

	CHECK_EQ(super_read(w->env, "/t", &back), -NE_NOTFORMATTED);
	CHECK_EQ(super_format(w->env, "/t", &s), 0);
	CHECK_EQ(super_format(w->env, "/t", &s), -NE_EXIST);
	CHECK_EQ(super_read(w->env, "/t", &back), 0);
	CHECK_STR(back.fsname, "scratch");
	CHECK(back.index == 3 && back.kind == W_TARGET_KIND_OST && uuid_eq(back.uuid, s.uuid));
	CHECK_EQ(super_lock(w->env, "/t", &lock), 0);
	env_file_close(lock);
	/* A directory with something in it is left alone. */
	CHECK_EQ(env_mkdir(w->env, "/other"), 0);
	CHECK_EQ(env_mkdir(w->env, "/other/precious"), 0);
	CHECK_EQ(super_format(w->env, "/other", &s), -NE_NOTEMPTY);
	CHECK_EQ(super_read(w->env, "/other", &back), -NE_NOTFORMATTED);
	w->done = true;
}

TEST(format_and_read)
{
	struct world w = {0};

	run(format_body, &w, 1);
	sim_free(w.sim);
}

static void read_body(void *arg)
{
	struct world *w = arg;
	struct super back;

	CHECK_EQ(super_read(w->env, "/t", &back), -NE_CORRUPT);
	CHECK_EQ(super_format(w->env, "/t", &back), -NE_CORRUPT);
	w->done = true;
}

TEST(every_flipped_bit_is_seen)
{
	struct world w = {0};
	static uint8_t buf[4096];
	int64_t len;

	run(format_body, &w, 2);
	len = sim_disk_peek(w.node, "/t/" SUPER_FILE, buf, sizeof(buf));
	CHECK(len > 50);
	for (uint64_t off = 0; off < (uint64_t)len; off++) {
		sim_node_crash(w.node, SIM_KILL);
		CHECK_EQ(sim_disk_flip(w.node, "/t/" SUPER_FILE, off), 0);
		w.done = false;
		sim_node_start(w.node, read_body, &w);
		CHECK_EQ(sim_run(w.sim, is_done, &w, 1000 * NS_PER_S), 0);
		CHECK_EQ(sim_disk_poke(w.node, "/t/" SUPER_FILE, buf, (size_t)len), 0);
	}
	sim_free(w.sim);
}

static void write_body(void *arg)
{
	struct world *w = arg;
	struct super s = sample();

	s.epoch = 1;
	CHECK_EQ(super_write(w->env, "/t", &s), 0);
	w->done = true;
}

static void check_body(void *arg)
{
	struct world *w = arg;
	struct super back;

	CHECK_EQ(super_read(w->env, "/t", &back), 0);
	CHECK(back.epoch <= 1);
	w->done = true;
}

static bool ended(void *arg)
{
	struct world *w = arg;

	return w->done || !sim_node_is_up(w->node);
}

TEST(power_loss_at_every_step_leaves_old_or_new)
{
	bool unharmed = false;

	for (uint64_t k = 1; !unharmed; k++) {
		struct world w = {0};

		CHECK(k < 1000);
		run(format_body, &w, k);
		sim_node_crash(w.node, SIM_KILL);
		w.done = false;
		sim_node_start(w.node, write_body, &w);
		sim_crash_at(w.node, k, SIM_POWER_LOSS);
		CHECK_EQ(sim_run(w.sim, ended, &w, 1000 * NS_PER_S), 0);
		unharmed = w.done;
		sim_crash_at(w.node, 0, SIM_POWER_LOSS);
		if (sim_node_is_up(w.node)) {
			sim_node_crash(w.node, SIM_POWER_LOSS);
		}
		w.done = false;
		sim_node_start(w.node, check_body, &w);
		CHECK_EQ(sim_run(w.sim, is_done, &w, 1000 * NS_PER_S), 0);
		sim_free(w.sim);
	}
}

TEST(names)
{
	enum w_target_kind kind;
	uint16_t index;
	char name[LIM_TARGET_NAME_MAX + 1];

	CHECK_EQ(target_name_parse("OST000f", &kind, &index), 0);
	CHECK(kind == W_TARGET_KIND_OST && index == 15);
	target_name_format(W_TARGET_KIND_MDT, 10, name);
	CHECK_STR(name, "MDT000a");
	CHECK_EQ(target_name_parse("MGT0001", &kind, &index), -NE_INVAL);
	CHECK_EQ(target_name_parse("OST000F", &kind, &index), -NE_INVAL);
	CHECK_EQ(target_name_parse("OST+00f", &kind, &index), -NE_INVAL);
	CHECK_EQ(target_name_parse("OST", &kind, &index), -NE_INVAL);
}
