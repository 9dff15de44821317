/*
 * Servers that die: nothing fsynced is lost, what is lost is told once, who waits goes on, ^C ends every wait.
 */
#include "cluster.h"
#include "test.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/prng.h"

#define LEN 700000

static const struct client_cred root_cred = {.uid = 0, .gid = 0, .pid = 42, .caps = UINT64_MAX};

static struct client_file *file_create(struct client *c, const char *name, int flags)
{
	struct client_create how = {.mode = S_IFREG | 0644, .open_flags = flags};
	struct client_attr attr;
	struct client_file *f;

	CHECK_EQ(client_create_open(c, &root_cred, (struct client_entry){client_root(c), name},
			 &how, &attr, &f),
		0);
	return f;
}

static int file_write(
	struct client *c, struct client_file *f, const void *buf, size_t len, uint64_t off)
{
	struct iovec iov = {.iov_base = (void *)(uintptr_t)buf, .iov_len = len};
	size_t put = 0;

	return client_write(c, &root_cred, f, (struct client_buffers){&iov, 1, off}, &put);
}

static int file_read(struct client *c, struct client_file *f, void *buf, size_t len, uint64_t off)
{
	struct iovec iov = {.iov_base = buf, .iov_len = len};
	size_t got = 0;
	int err = client_read(c, f, &iov, 1, off, &got);

	return err != 0 ? err : (int)got;
}

static void sleep_ms(struct cluster *cl, unsigned client, uint64_t ms)
{
	env_sleep(sim_node_env(cl->client[client].node), ms * NS_PER_MS);
}

static uint8_t *pattern(uint64_t seed, size_t len)
{
	uint8_t *buf = mem_alloc(len);
	struct prng rng;

	CHECK(buf != NULL);
	prng_init(&rng, seed);
	prng_fill(&rng, buf, len);
	return buf;
}

static void all_lose_power(struct cluster *cl)
{
	for (unsigned i = 0; i < cl->ost_count; i++) {
		cluster_ost_crash(cl, i, SIM_POWER_LOSS, 200 * NS_PER_MS);
	}
}

/* ---- fsync, then power loss ---- */

static void fsync_body(struct cluster *cl, unsigned client)
{
	struct client *c = cl->client[client].c;
	struct client_file *f = file_create(c, "f", O_RDWR);
	struct client_file *g;
	struct client_attr attr;
	uint8_t *want = pattern(1, LEN);
	uint8_t *buf = mem_alloc(LEN);

	CHECK_EQ(file_write(c, f, want, LEN, 0), 0);
	CHECK_EQ(client_fsync(c, f, false), 0);
	all_lose_power(cl);
	cluster_mdt_crash(cl, SIM_POWER_LOSS, 300 * NS_PER_MS);
	sleep_ms(cl, client, 1000);
	/* Nothing fsynced is lost, name and size neither, and nobody is told of a loss. */
	CHECK_EQ(client_lookup(c, &root_cred, client_root(c), "f", &attr), 0);
	CHECK_EQ(attr.size, LEN);
	CHECK_EQ(file_read(c, f, buf, LEN, 0), LEN);
	CHECK(memcmp(buf, want, LEN) == 0);
	CHECK_EQ(client_fsync(c, f, false), 0);

	/* Unsynced writes are lost: each open handle is told once. */
	CHECK_EQ(client_open(c, &root_cred, client_file_fid(f), O_RDWR, &attr, &g), 0);
	CHECK_EQ(file_write(c, f, want, LEN, 0), 0);
	all_lose_power(cl);
	sleep_ms(cl, client, 1000);
	CHECK_EQ(client_fsync(c, f, false), -NE_LOST_WRITES);
	CHECK_EQ(client_fsync(c, f, false), 0);
	CHECK_EQ(client_fsync(c, g, true), -NE_LOST_WRITES);
	CHECK_EQ(client_fsync(c, g, true), 0);
	CHECK_EQ(client_release(c, g), 0);
	/* Who opens it afterwards is not. */
	CHECK_EQ(client_open(c, &root_cred, client_file_fid(f), O_RDWR, &attr, &g), 0);
	CHECK_EQ(client_fsync(c, g, false), 0);
	CHECK_EQ(client_release(c, g), 0);
	CHECK_EQ(client_release(c, f), 0);
	mem_free(want);
	mem_free(buf);
}

TEST(fsync_and_power_loss)
{
	for (unsigned seed = 1; seed <= 3; seed++) {
		struct cluster *cl = cluster_new(seed, 3, LIM_STRIPE_SIZE_MIN, 3);

		cluster_client_start(cl, 0, fsync_body);
		cluster_run(cl, 1);
		cluster_free(cl);
	}
}

/* A killed process loses nothing: same boot, so no error, and the commit of afterwards counts. */
static void killed_body(struct cluster *cl, unsigned client)
{
	struct client *c = cl->client[client].c;
	struct client_file *f = file_create(c, "f", O_RDWR);
	uint8_t *want = pattern(2, LEN);
	uint8_t *buf = mem_alloc(LEN);

	CHECK_EQ(file_write(c, f, want, LEN, 0), 0);
	for (unsigned i = 0; i < cl->ost_count; i++) {
		cluster_ost_crash(cl, i, SIM_KILL, 50 * NS_PER_MS);
	}
	sleep_ms(cl, client, 500);
	CHECK_EQ(client_fsync(c, f, false), 0);
	all_lose_power(cl);
	sleep_ms(cl, client, 500);
	CHECK_EQ(file_read(c, f, buf, LEN, 0), LEN);
	CHECK(memcmp(buf, want, LEN) == 0);
	CHECK_EQ(client_release(c, f), 0);
	mem_free(want);
	mem_free(buf);
}

static void inline_body(struct cluster *cl, unsigned client)
{
	struct client *c = cl->client[client].c;
	struct client_file *f = file_create(c, "small", O_RDWR);
	uint8_t *want = pattern(4, 100);

	CHECK_EQ(client_fsync(c, f, false), 0);
	/* A killed MDT has lost nothing. */
	CHECK_EQ(file_write(c, f, want, 100, 0), 0);
	cluster_mdt_crash(cl, SIM_KILL, 100 * NS_PER_MS);
	sleep_ms(cl, client, 1000);
	CHECK_EQ(client_fsync(c, f, false), 0);
	/* What was fsynced survives the host's power loss, and nobody is told anything. */
	cluster_mdt_crash(cl, SIM_POWER_LOSS, 100 * NS_PER_MS);
	sleep_ms(cl, client, 1000);
	CHECK_EQ(client_fsync(c, f, false), 0);
	/* What was not may be lost: said once. */
	CHECK_EQ(file_write(c, f, want, 100, 50), 0);
	cluster_mdt_crash(cl, SIM_POWER_LOSS, 100 * NS_PER_MS);
	sleep_ms(cl, client, 1000);
	CHECK_EQ(client_fsync(c, f, false), -NE_LOST_WRITES);
	CHECK_EQ(client_fsync(c, f, false), 0);
	CHECK_EQ(client_release(c, f), 0);
	mem_free(want);
}

TEST(inline_data_lost_by_the_mdt_is_told)
{
	struct cluster *cl = cluster_new(6, 2, LIM_STRIPE_SIZE_MIN, 1);

	cluster_client_start(cl, 0, inline_body);
	cluster_run(cl, 1);
	cluster_free(cl);
}

TEST(a_killed_ost_loses_nothing)
{
	struct cluster *cl = cluster_new(4, 3, LIM_STRIPE_SIZE_MIN, 3);

	cluster_client_start(cl, 0, killed_body);
	cluster_run(cl, 1);
	cluster_free(cl);
}

/* A sync fails: that is a loss, told once. What is written afterwards is safe from a kill, in the same boot too. */
static void sync_fails_body(struct cluster *cl, unsigned client)
{
	struct client *c = cl->client[client].c;
	struct client_file *f = file_create(c, "f", O_RDWR);
	struct client_file *small = file_create(c, "small", O_RDWR);
	uint8_t *want = pattern(5, LEN);
	uint8_t *buf = mem_alloc(LEN);

	for (unsigned i = 0; i < 2; i++) {
		CHECK_EQ(file_write(c, f, want, LEN, 0), 0);
		sim_disk_fail(cl->ost[0].node, SIM_DISK_SYNC, 1, NE_IO);
		cluster_ost_revive(cl, 0, 500 * NS_PER_MS);
		CHECK_EQ(client_fsync(c, f, false), -NE_LOST_WRITES);
		CHECK_EQ(client_fsync(c, f, false), 0);
		CHECK_EQ(sim_crashes(cl->ost[0].node), 2 * i + 1);
		CHECK_EQ(file_write(c, f, want, LEN, 0), 0);
		cluster_ost_crash(cl, 0, SIM_KILL, 50 * NS_PER_MS);
		sleep_ms(cl, client, 500);
		CHECK_EQ(client_fsync(c, f, false), 0);
		CHECK_EQ(file_read(c, f, buf, LEN, 0), LEN);
		CHECK(memcmp(buf, want, LEN) == 0);

		CHECK_EQ(client_fsync(c, small, false), 0);
		CHECK_EQ(file_write(c, small, want, 100, 0), 0);
		sim_disk_fail(cl->mdt_node, SIM_DISK_SYNC, 1, NE_IO);
		cluster_mdt_revive(cl, 500 * NS_PER_MS);
		CHECK_EQ(client_fsync(c, small, false), -NE_LOST_WRITES);
		CHECK_EQ(client_fsync(c, small, false), 0);
		CHECK_EQ(sim_crashes(cl->mdt_node), 2 * i + 1);
		CHECK_EQ(file_write(c, small, want, 100, 0), 0);
		cluster_mdt_crash(cl, SIM_KILL, 50 * NS_PER_MS);
		sleep_ms(cl, client, 1000);
		CHECK_EQ(client_fsync(c, small, false), 0);
	}
	CHECK_EQ(client_release(c, f), 0);
	CHECK_EQ(client_release(c, small), 0);
	mem_free(want);
	mem_free(buf);
}

TEST(a_kill_after_a_failed_sync_loses_nothing)
{
	struct cluster *cl = cluster_new(7, 2, LIM_STRIPE_SIZE_MIN, 2);

	cluster_client_start(cl, 0, sync_fails_body);
	cluster_run(cl, 1);
	cluster_free(cl);
}

/* The loss of writes to a file that was closed is told to who fsyncs... nobody had it open, so nobody; but the sync
 * of everything tells. */
static void closed_body(struct cluster *cl, unsigned client)
{
	struct client *c = cl->client[client].c;
	struct client_file *f = file_create(c, "f", O_RDWR);
	uint8_t *want = pattern(3, LEN);

	CHECK_EQ(file_write(c, f, want, LEN, 0), 0);
	CHECK_EQ(client_release(c, f), 0);
	all_lose_power(cl);
	sleep_ms(cl, client, 1000);
	CHECK_EQ(client_setxattr(c, &root_cred, client_root(c), "nacre.sync", span_of("", 0), 0),
		-NE_LOST_WRITES);
	CHECK_EQ(
		client_setxattr(c, &root_cred, client_root(c), "nacre.sync", span_of("", 0), 0), 0);
	mem_free(want);
}

TEST(sync_of_everything_tells_of_losses)
{
	struct cluster *cl = cluster_new(5, 2, LIM_STRIPE_SIZE_MIN, 2);

	cluster_client_start(cl, 0, closed_body);
	cluster_run(cl, 1);
	cluster_free(cl);
}

static void osync_body(struct cluster *cl, unsigned client)
{
	struct client *c = cl->client[client].c;
	struct client_file *f = file_create(c, "f", O_RDWR | O_SYNC);
	uint8_t *want = pattern(4, LEN);
	uint8_t *buf = mem_alloc(LEN);
	struct client_attr attr;

	CHECK_EQ(file_write(c, f, want, LEN, 0), 0);
	all_lose_power(cl);
	cluster_mdt_crash(cl, SIM_POWER_LOSS, 300 * NS_PER_MS);
	sleep_ms(cl, client, 1000);
	CHECK_EQ(file_read(c, f, buf, LEN, 0), LEN);
	CHECK(memcmp(buf, want, LEN) == 0);
	CHECK_EQ(client_getattr(c, &root_cred, client_file_fid(f), f, &attr), 0);
	CHECK_EQ(attr.size, LEN);
	CHECK_EQ(client_fsync(c, f, false), 0);
	CHECK_EQ(client_release(c, f), 0);
	mem_free(want);
	mem_free(buf);
}

TEST(o_sync)
{
	struct cluster *cl = cluster_new(6, 2, LIM_STRIPE_SIZE_MIN, 2);

	cluster_client_start(cl, 0, osync_body);
	cluster_run(cl, 1);
	cluster_free(cl);
}

/* ---- restarts while data moves ---- */

static void busy_body(struct cluster *cl, unsigned client)
{
	struct client *c = cl->client[client].c;
	struct client_file *f = file_create(c, "f", O_RDWR);
	uint8_t *want = pattern(5, LEN);
	uint8_t *buf = mem_alloc(LEN);

	for (unsigned i = 0; i < 12; i++) {
		uint64_t off = (uint64_t)i * LEN;

		if (i % 3 == 1) {
			cluster_ost_crash(cl, i % cl->ost_count, SIM_KILL, 300 * NS_PER_MS);
		}
		CHECK_EQ(file_write(c, f, want, LEN, off), 0);
		if (i % 3 == 2) {
			cluster_ost_crash(cl, i % cl->ost_count, SIM_KILL, 300 * NS_PER_MS);
		}
		CHECK_EQ(file_read(c, f, buf, LEN, off), LEN);
		CHECK(memcmp(buf, want, LEN) == 0);
	}
	CHECK_EQ(client_fsync(c, f, false), 0);
	CHECK_EQ(client_release(c, f), 0);
	mem_free(want);
	mem_free(buf);
}

TEST(ost_restarts_during_io)
{
	for (unsigned seed = 11; seed <= 13; seed++) {
		struct cluster *cl = cluster_new(seed, 3, LIM_STRIPE_SIZE_MIN * 2, 3);

		cluster_client_start(cl, 0, busy_body);
		cluster_run(cl, 1);
		cluster_free(cl);
	}
}

/* It comes back somewhere else: the map tells where. */
static void moved_body(struct cluster *cl, unsigned client)
{
	struct client *c = cl->client[client].c;
	struct client_file *f = file_create(c, "f", O_RDWR);
	struct env *env = sim_node_env(cl->client[client].node);
	uint8_t *want = pattern(6, LEN);
	uint8_t *buf = mem_alloc(LEN);
	uint64_t start;

	CHECK_EQ(file_write(c, f, want, LEN, 0), 0);
	for (unsigned i = 0; i < cl->ost_count; i++) {
		cl->ost[i].port = 2;
		cluster_ost_crash(cl, i, SIM_KILL, 300 * NS_PER_MS);
	}
	sleep_ms(cl, client, 10);
	start = env_now(env);
	CHECK_EQ(file_read(c, f, buf, LEN, 0), LEN);
	CHECK(env_now(env) - start < 10 * NS_PER_S);
	CHECK(memcmp(buf, want, LEN) == 0);
	CHECK_EQ(client_release(c, f), 0);
	mem_free(want);
	mem_free(buf);
}

TEST(an_ost_moves)
{
	struct cluster *cl = cluster_new(14, 2, LIM_STRIPE_SIZE_MIN, 2);

	cluster_client_start(cl, 0, moved_body);
	cluster_run(cl, 1);
	cluster_free(cl);
}

static void reclaim_body(struct cluster *cl, unsigned client)
{
	struct client *c = cl->client[client].c;
	struct client_file *f[40];
	uint8_t *want = pattern(7, LEN);
	uint8_t *buf = mem_alloc(LEN);
	char name[8];

	for (unsigned i = 0; i < ARRAY_SIZE(f); i++) {
		snprintf(name, sizeof(name), "f%u", i);
		f[i] = file_create(c, name, O_RDWR);
		CHECK_EQ(file_write(c, f[i], want + i, 20000, 0), 0);
	}
	cluster_mdt_crash(cl, SIM_KILL, 400 * NS_PER_MS);
	sleep_ms(cl, client, 100);
	/* Waits for the MDT, which knows all opens again before it serves this: what is open stays usable. */
	for (unsigned i = 0; i < ARRAY_SIZE(f); i++) {
		snprintf(name, sizeof(name), "f%u", i);
		CHECK_EQ(client_unlink(c, &root_cred, client_root(c), name), 0);
	}
	sleep_ms(cl, client, 20000);
	for (unsigned i = 0; i < ARRAY_SIZE(f); i++) {
		CHECK_EQ(file_read(c, f[i], buf, LEN, 0), 20000);
		CHECK(memcmp(buf, want + i, 20000) == 0);
		CHECK_EQ(file_write(c, f[i], want, LEN, 0), 0);
		CHECK_EQ(client_fsync(c, f[i], false), 0);
		CHECK_EQ(client_release(c, f[i]), 0);
	}
	mem_free(want);
	mem_free(buf);
}

TEST(opens_are_reclaimed)
{
	struct cluster *cl = cluster_new(15, 2, LIM_STRIPE_SIZE_MIN, 2);

	cluster_client_start(cl, 0, reclaim_body);
	cluster_run(cl, 1);
	cluster_free(cl);
}

/* A file made while no OST can take it: its OSTs are chosen when data comes. */
static void unplaced_body(struct cluster *cl, unsigned client)
{
	struct client *c = cl->client[client].c;
	uint8_t *want = pattern(10, LEN);
	uint8_t *buf = mem_alloc(LEN);
	char text[512];
	struct client_file *f;
	size_t len = 0;

	for (unsigned i = 0; i < cl->ost_count; i++) {
		cluster_ost_crash(cl, i, SIM_KILL, 120 * NS_PER_S);
	}
	/* The MDT asks its OSTs now and then. */
	sleep_ms(cl, client, 100000);
	f = file_create(c, "f", O_RDWR);
	CHECK_EQ(client_getxattr(c, &root_cred, client_file_fid(f), "nacre.layout",
			 (struct client_out){text, sizeof(text) - 1}, &len),
		0);
	text[len] = '\0';
	CHECK(strstr(text, "\"objects\": []") != NULL);
	CHECK_EQ(file_write(c, f, want, 1000, 0), 0);
	CHECK_EQ(file_read(c, f, buf, LEN, 0), 1000);
	sleep_ms(cl, client, 120000);
	CHECK_EQ(file_write(c, f, want, LEN, 0), 0);
	CHECK_EQ(file_read(c, f, buf, LEN, 0), LEN);
	CHECK(memcmp(buf, want, LEN) == 0);
	CHECK_EQ(client_release(c, f), 0);
	mem_free(want);
	mem_free(buf);
}

TEST(a_file_that_has_no_osts_yet)
{
	struct cluster *cl = cluster_new(18, 2, LIM_STRIPE_SIZE_MIN, 2);

	cluster_client_start(cl, 0, unplaced_body);
	cluster_run(cl, 1);
	cluster_free(cl);
}

/* ---- interrupts and patience ---- */

struct victim {
	struct cluster *cl;
	struct client *c;
	struct client_file *f;
	struct fiber *fiber;
	int what;
	int result;
	bool running;
	bool done;
};

static void victim_main(void *arg)
{
	struct victim *v = arg;
	struct env *env = sim_node_env(v->cl->client[0].node);
	struct client_attr attr;
	uint8_t *buf = mem_zalloc(LEN);

	v->fiber = env_self(env);
	v->running = true;
	switch (v->what) {
	case 0:
		v->result = file_read(v->c, v->f, buf, LEN, 0);
		break;
	case 1:
		v->result = file_write(v->c, v->f, buf, LEN, 0);
		break;
	case 2:
		v->result = client_fsync(v->c, v->f, false);
		break;
	default:
		v->result = client_getattr(v->c, &root_cred, client_file_fid(v->f), v->f, &attr);
	}
	mem_free(buf);
	v->done = true;
}

static void interrupt_body(struct cluster *cl, unsigned client)
{
	struct client *c = cl->client[client].c;
	struct env *env = sim_node_env(cl->client[client].node);
	struct client_file *f = file_create(c, "f", O_RDWR);
	uint8_t *want = pattern(8, LEN);

	CHECK_EQ(file_write(c, f, want, LEN, 0), 0);
	for (int what = 0; what < 4; what++) {
		struct victim v = {.cl = cl, .c = c, .f = f, .what = what};
		uint64_t start;

		for (unsigned i = 0; i < cl->ost_count; i++) {
			cluster_ost_crash(cl, i, SIM_KILL, 60 * NS_PER_S);
		}
		sleep_ms(cl, client, 200);
		CHECK_EQ(env_spawn(env, "victim", victim_main, &v), 0);
		sleep_ms(cl, client, 2000);
		CHECK(v.running && !v.done);
		start = env_now(env);
		env_interrupt(env, v.fiber);
		while (!v.done) {
			sleep_ms(cl, client, 1);
		}
		CHECK_EQ(v.result, -NE_INTR);
		CHECK(env_now(env) - start < 5 * NS_PER_S);
		sleep_ms(cl, client, 70000);
	}
	CHECK_EQ(client_release(c, f), 0);
	mem_free(want);
}

static void interrupt_mdt_body(struct cluster *cl, unsigned client)
{
	struct client *c = cl->client[client].c;
	struct env *env = sim_node_env(cl->client[client].node);
	struct client_file *f = file_create(c, "f", O_RDWR | O_APPEND);
	uint8_t *want = pattern(8, LEN);

	CHECK_EQ(file_write(c, f, want, LEN, 0), 0);
	for (int what = 1; what < 4; what++) {
		struct victim v = {.cl = cl, .c = c, .f = f, .what = what};
		uint64_t start;

		cluster_mdt_crash(cl, SIM_KILL, 60 * NS_PER_S);
		sleep_ms(cl, client, 200);
		CHECK_EQ(env_spawn(env, "victim", victim_main, &v), 0);
		sleep_ms(cl, client, 2000);
		CHECK(v.running && !v.done);
		start = env_now(env);
		env_interrupt(env, v.fiber);
		while (!v.done) {
			sleep_ms(cl, client, 1);
		}
		CHECK_EQ(v.result, -NE_INTR);
		CHECK(env_now(env) - start < 5 * NS_PER_S);
		sleep_ms(cl, client, 70000);
	}
	CHECK_EQ(file_write(c, f, want, LEN, 0), 0);
	CHECK_EQ(client_release(c, f), 0);
	mem_free(want);
}

TEST(an_interrupt_ends_every_wait_for_the_mdt)
{
	struct cluster *cl = cluster_new(19, 2, LIM_STRIPE_SIZE_MIN, 2);

	cluster_client_start(cl, 0, interrupt_mdt_body);
	cluster_run(cl, 1);
	cluster_free(cl);
}

TEST(an_interrupt_ends_every_wait)
{
	struct cluster *cl = cluster_new(16, 2, LIM_STRIPE_SIZE_MIN, 2);

	cluster_client_start(cl, 0, interrupt_body);
	cluster_run(cl, 1);
	cluster_free(cl);
}

static void patience_body(struct cluster *cl, unsigned client)
{
	struct client_options opt;
	struct client_file *f;
	struct client *c;
	uint8_t *want = pattern(9, LEN);
	uint64_t start;
	struct client_statfs st;

	cluster_options(cl, client, &opt);
	opt.patience_ns = 3 * NS_PER_S;
	CHECK_EQ(client_new(&opt, NULL, 0, &c), 0);
	f = file_create(c, "f", O_RDWR);
	CHECK_EQ(file_write(c, f, want, LEN, 0), 0);
	cluster_ost_crash(cl, 0, SIM_KILL, 30 * NS_PER_S);
	sleep_ms(cl, client, 100);
	start = env_now(opt.env);
	CHECK_EQ(file_read(c, f, want, LEN, 0), -NE_TIMEDOUT);
	CHECK(env_now(opt.env) - start < 7 * NS_PER_S);
	/* df does not wait for it. */
	CHECK_EQ(client_statfs(c, &st), 0);
	CHECK(st.bytes_total > 0 && st.files_total > 0);
	sleep_ms(cl, client, 40000);
	CHECK_EQ(file_read(c, f, want, LEN, 0), LEN);
	CHECK_EQ(client_release(c, f), 0);
	client_free(c);
	mem_free(want);
}

TEST(patience)
{
	struct cluster *cl = cluster_new(17, 2, LIM_STRIPE_SIZE_MIN, 2);

	cluster_client_start(cl, 0, patience_body);
	cluster_run(cl, 1);
	cluster_free(cl);
}
