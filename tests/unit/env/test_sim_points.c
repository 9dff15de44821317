/*
 * Every operation of env.h on one node, crashed at every crash point; every fault of the table fired.
 *
 * The body tolerates every error (they are injected on purpose); what is checked is that the world stays
 * whole: a restarted node always runs to the end of its body, nothing leaks, each counter moves.
 */
#include "test.h"

#include "base/alloc.h"
#include "env/sim/sim.h"

struct all {
	struct sim *sim;
	struct sim_node *node;
	struct env *env;
	unsigned bodies; /* ended */
	bool sat;
};

static void ignore(_unused_ int rc)
{
}

static void all_job(void *arg)
{
	*(unsigned *)arg += 1;
}

static int all_name(void *ctx, const char *name)
{
	unsigned *count = ctx;

	*count += (unsigned)strlen(name);
	return 0;
}

static void all_file_use(struct env_file *f)
{
	static uint8_t block[10000];
	struct iovec iov[2] = {{block, 6000}, {block + 6000, 4000}};
	struct env_stat st;
	uint64_t off;
	size_t len;

	memset(block, 7, sizeof(block));
	ignore(env_file_lock(f));
	ignore(env_fallocate(f, ENV_FALLOC_RESERVE, 0, 16384));
	ignore(env_pwrite(f, iov, 2, 100));
	ignore(env_fdatasync(f));
	ignore(env_pwrite(f, iov, 2, 5000));
	ignore(env_pread(f, block, sizeof(block), 50, &len));
	ignore(env_ftruncate(f, 9000));
	ignore(env_seek(f, 0, true, &off));
	ignore(env_fstat(f, &st));
	ignore(env_file_utime(f, 5));
	env_file_forget(f);
	ignore(env_pwrite(f, iov, 2, 9000));
	ignore(env_fdatasync(f));
	ignore(env_pwrite(f, iov, 2, 3000));
	ignore(env_syncfs(f));
	ignore(env_pwrite(f, iov, 2, 1000));
}

static void all_files(struct all *a)
{
	struct env *env = a->env;
	struct env_file *f;
	struct env_stat st;
	struct env_statfs fs;
	unsigned count = 0;

	ignore(env_mkdir(env, "/d"));
	if (env_file_open(env, "/d/new", ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE, &f) ==
		0) {
		all_file_use(f);
		env_file_close(f);
	}
	ignore(env_rename(env, "/d/new", "/d/old"));
	ignore(env_fsync_dir(env, "/d"));
	ignore(env_fsync_dir(env, "/"));
	ignore(env_stat(env, "/d/old", &st));
	ignore(env_statfs(env, "/", &fs));
	ignore(env_readdir(env, "/d", all_name, &count));
	ignore(env_mkdir(env, "/d/sub"));
	ignore(env_rmdir(env, "/d/sub"));
	ignore(env_unlink(env, "/d/old"));
	env_job(env, ENV_JOB_BULK, all_job, &count);
}

static void all_serve(void *arg)
{
	struct all *a = arg;
	struct env_listener *l;
	struct env_conn *conn;
	char addr[64];
	char byte;
	size_t len;

	if (env_listen(a->env, "sim:all:1", addr, sizeof(addr), &l) != 0) {
		return;
	}
	if (env_accept(l, &conn) == 0) {
		ignore(env_recv(conn, &byte, 1, 1, ENV_FOREVER, &len));
		env_conn_shutdown(conn);
		env_conn_close(conn);
	}
	env_listener_close(l);
}

static void all_main(void *arg)
{
	struct all *a = arg;
	struct env_conn *conn;
	struct iovec iov = {(void *)(uintptr_t) "x", 1};
	char byte;
	size_t len;
	void *memory = mem_alloc(100);

	CHECK(memory != NULL);
	CHECK_EQ(env_spawn(a->env, "serve", all_serve, a), 0);
	env_sleep(a->env, NS_PER_MS);
	if (env_connect(a->env, "sim:all:1", ENV_FOREVER, &conn) == 0) {
		ignore(env_send(conn, &iov, 1));
		ignore(env_recv(conn, &byte, 1, 1, ENV_FOREVER, &len));
		env_conn_close(conn);
	}
	all_files(a);
	mem_free(memory);
	a->bodies++;
}

static bool all_stopped(void *ctx)
{
	const struct all *a = ctx;

	return !sim_node_is_up(a->node) || a->bodies > 0;
}

static void all_new(struct all *a, const struct sim_options *opts)
{
	*a = (struct all){.sat = false};
	a->sim = sim_new(opts);
	a->node = sim_node_new(a->sim, "all");
	a->env = sim_node_env(a->node);
}

static void all_life(struct all *a)
{
	a->bodies = 0;
	sim_node_start(a->node, all_main, a);
	CHECK_EQ(sim_run(a->sim, all_stopped, a, 3600 * NS_PER_S), 0);
}

TEST(a_crash_at_every_point_leaves_a_node_that_starts_again)
{
	struct sim_stats sum = {.runs = 0};

	for (unsigned kind = 0; kind < 2; kind++) {
		bool unharmed = false;

		for (uint64_t k = 1; !unharmed; k++) {
			struct sim_options opts;
			struct all a;

			sim_options_default(&opts, k);
			opts.fibers_max = 16;
			opts.log_events = 512;
			/* The same steps in every run but for where it ends. */
			opts.seed = 3;
			all_new(&a, &opts);
			sim_crash_at(a.node, k, kind == 0 ? SIM_KILL : SIM_POWER_LOSS);
			all_life(&a);
			unharmed = a.bodies > 0;
			CHECK_EQ(sim_crashes(a.node), unharmed ? 0 : 1);
			if (!unharmed) {
				CHECK_EQ(sim_node_heap_blocks(a.node), 0);
				all_life(&a);
				CHECK_EQ(a.bodies, 1);
			}
			sim_stats_add(&sum, sim_stats(a.sim));
			sim_free(a.sim);
		}
	}
	CHECK_EQ(sim_stats_check_all_fired(&sum, SIM_GROUP_POINTS, stderr), 0);
}

TEST(every_disk_fault_fires)
{
	struct sim_stats sum = {.runs = 0};

	for (uint64_t seed = 0; seed < 60; seed++) {
		struct sim_options opts;
		struct all a;

		sim_options_default(&opts, seed);
		sim_options_faults(&opts);
		opts.fibers_max = 16;
		opts.disk.slow_ppm = 10000;
		opts.disk.read_error_ppm = 50000;
		opts.disk.write_error_ppm = 50000;
		opts.disk.sync_error_ppm = 100000;
		opts.disk.nospace_ppm = 50000;
		opts.disk.capacity_bytes = 40960;
		all_new(&a, &opts);
		for (unsigned life = 0; life < 4; life++) {
			sim_disk_fail(a.node, SIM_DISK_NAMES, 1 + sim_random(a.sim) % 12, NE_IO);
			sim_disk_corrupt_read(a.node, "/d/", UINT64_MAX, 1 + sim_random(a.sim) % 4);
			sim_crash_at(a.node, 1 + sim_random(a.sim) % 60,
				sim_random(a.sim) % 2 == 0 ? SIM_KILL : SIM_POWER_LOSS);
			all_life(&a);
			if (sim_node_is_up(a.node)) {
				sim_node_crash(a.node, SIM_POWER_LOSS);
			}
			ignore(sim_disk_flip(a.node, "/d/old", 100));
			ignore(sim_disk_flip(a.node, "/d/new", 100));
		}
		sim_stats_add(&sum, sim_stats(a.sim));
		sim_free(a.sim);
	}
	CHECK_EQ(sim_stats_check_all_fired(
			 &sum, SIM_GROUP_DISK | SIM_GROUP_ERROR | SIM_GROUP_ROT, stderr),
		0);
}

TEST(a_counter_that_is_zero_is_reported)
{
	struct sim_stats none = {.runs = 0};
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	CHECK(out != NULL);
	CHECK_EQ(sim_stats_check_all_fired(&none, SIM_GROUP_HOSTILE, out), 3);
	CHECK_EQ(sim_stats_check_all_fired(&none, SIM_GROUP_POINTS, out), SIM_POINTS);
	sim_stats_print(&none, out);
	CHECK_EQ(fclose(out), 0);
	CHECK(strstr(text, "never fired: FLIP") != NULL);
	CHECK(strstr(text, "never crashed at: fdatasync") != NULL);
	free(text);
}
