/*
 * The simulated disk: reads and writes against a plain array, what survives which crash, errors, space.
 */
#include "test.h"

#include "base/prng.h"
#include "env/sim/sim.h"

#define CAP (96 * 1024)

struct bench {
	struct sim *sim;
	struct sim_node *node;
	struct env *env;
	void (*body)(struct bench *b);
	bool done;
	uint64_t seed;
	struct prng rng;
	unsigned counts[8];
};

static void bench_main(void *arg)
{
	struct bench *b = arg;

	b->body(b);
	b->done = true;
}

static bool bench_done(void *ctx)
{
	return ((struct bench *)ctx)->done;
}

static void bench_init(struct bench *b, uint64_t seed)
{
	struct sim_options opts;

	sim_options_default(&opts, seed);
	opts.disk.capacity_bytes = MIB;
	opts.disk.switch_ppm = 200000;
	opts.disk.writeback_ppm = 200000;
	b->seed = seed;
	b->sim = sim_new(&opts);
	b->node = sim_node_new(b->sim, "disk");
	b->env = sim_node_env(b->node);
	prng_init(&b->rng, seed);
}

/* Runs a body on the node to its end, starting the node if it is down. */
static void bench_run(struct bench *b, void (*body)(struct bench *b))
{
	b->body = body;
	b->done = false;
	if (!sim_node_is_up(b->node)) {
		sim_node_start(b->node, bench_main, b);
	} else {
		CHECK_EQ(env_spawn(b->env, "body", bench_main, b), 0);
	}
	CHECK_EQ(sim_run(b->sim, bench_done, b, 100 * NS_PER_S), 0);
}

static struct env_file *open_file(struct bench *b, const char *path)
{
	struct env_file *f = NULL;

	CHECK_EQ(env_file_open(b->env, path, ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE, &f),
		0);
	return f;
}

static int write_at(struct env_file *f, const void *buf, size_t len, uint64_t off)
{
	struct iovec iov = {(void *)(uintptr_t)buf, len};

	return env_pwrite(f, &iov, 1, off);
}

/* ---- against a plain array ---- */

static uint8_t model[CAP];
static uint8_t buffer[CAP];
static uint64_t model_size;

static void model_check(struct bench *b, struct env_file *f)
{
	struct env_stat st;
	size_t len = 0;

	CHECK_EQ(env_fstat(f, &st), 0);
	CHECK_EQ(st.size, model_size);
	CHECK_EQ(env_pread(f, buffer, CAP, 0, &len), 0);
	CHECK_EQ(len, model_size);
	CHECK(memcmp(buffer, model, len) == 0);
	b->counts[0]++;
}

static void model_write(struct bench *b, struct env_file *f, uint64_t off, uint64_t len)
{
	struct iovec iov[2];

	if (prng_chance(&b->rng, 1, 5)) {
		memset(buffer, 0, len);
	} else {
		prng_fill(&b->rng, buffer, len);
	}
	iov[0] = (struct iovec){buffer, len / 3};
	iov[1] = (struct iovec){buffer + len / 3, len - len / 3};
	CHECK_EQ(env_pwrite(f, iov, 2, off), 0);
	memcpy(model + off, buffer, len);
	if (len > 0 && off + len > model_size) {
		model_size = off + len;
	}
}

static void model_step(struct bench *b, struct env_file *f)
{
	uint64_t off = prng_below(&b->rng, CAP);
	uint64_t len = prng_below(&b->rng, prng_chance(&b->rng, 1, 2) ? 600 : CAP);

	len = u64_min(len, CAP - off);
	switch (prng_below(&b->rng, 7)) {
	case 0:
		CHECK_EQ(env_ftruncate(f, off), 0);
		memset(model + u64_min(off, model_size), 0, CAP - u64_min(off, model_size));
		model_size = off;
		break;
	case 1:
		if (len > 0) {
			CHECK_EQ(env_fallocate(f, ENV_FALLOC_PUNCH, off, len), 0);
			memset(model + off, 0, len);
		}
		break;
	case 2:
		if (len > 0 && off + len <= model_size) {
			CHECK_EQ(env_fallocate(f, ENV_FALLOC_ZERO, off, len), 0);
			memset(model + off, 0, len);
		}
		break;
	case 3:
		CHECK_EQ(env_fdatasync(f), 0);
		break;
	default:
		model_write(b, f, off, len);
		break;
	}
}

static void model_body(struct bench *b)
{
	struct env_file *f = open_file(b, "/f");

	for (unsigned i = 0; i < 60; i++) {
		model_step(b, f);
		model_check(b, f);
	}
	b->counts[1] = (unsigned)prng_below(&b->rng, 2);
	if (b->counts[1] == 0) {
		CHECK_EQ(env_fdatasync(f), 0);
		CHECK_EQ(env_fsync_dir(b->env, "/"), 0);
	}
}

static void model_again(struct bench *b)
{
	struct env_file *f = open_file(b, "/f");

	model_check(b, f);
	env_file_close(f);
}

TEST(files_agree_with_an_array_and_survive_what_they_must)
{
	for (uint64_t seed = 0; seed < 150; seed++) {
		struct bench b = {.done = false};
		struct sim_disk *clone;
		struct sim_node *other;

		memset(model, 0, sizeof(model));
		model_size = 0;
		bench_init(&b, seed);
		bench_run(&b, model_body);
		clone = sim_disk_clone(b.node);
		/* A kill loses nothing; a power loss nothing that was synced. */
		sim_node_crash(b.node, b.counts[1] == 0 ? SIM_POWER_LOSS : SIM_KILL);
		bench_run(&b, model_again);
		/* The copy was made before the crash and has it all. */
		other = sim_node_new(b.sim, "other");
		sim_node_disk_set(other, clone);
		b.node = other;
		b.env = sim_node_env(other);
		bench_run(&b, model_again);
		sim_free(b.sim);
	}
}

/* ---- sectors ---- */

static void sectors_body(struct bench *b)
{
	struct env_file *f = open_file(b, "/s");

	memset(buffer, 'o', 64 * 512);
	CHECK_EQ(write_at(f, buffer, 64 * 512, 0), 0);
	CHECK_EQ(env_fdatasync(f), 0);
	CHECK_EQ(env_fsync_dir(b->env, "/"), 0);
	memset(buffer, 'n', 64 * 512);
	CHECK_EQ(write_at(f, buffer, 64 * 512, 0), 0);
}

static void sectors_count(struct bench *b)
{
	CHECK_EQ(sim_disk_peek(b->node, "/s", buffer, CAP), 64 * 512);
	for (unsigned i = 0; i < 64; i++) {
		const uint8_t *s = buffer + i * 512;
		unsigned fate = s[0] == 'o' ? 0 : (s[0] == 'n' ? 1 : 2);

		for (unsigned j = 1; j < 512; j++) {
			fate = s[j] != s[0] ? 2 : fate;
		}
		b->counts[fate]++;
	}
}

TEST(unsynced_sectors_are_old_new_or_torn)
{
	struct bench b = {.done = false};

	for (uint64_t seed = 0; seed < 40; seed++) {
		bench_init(&b, seed);
		bench_run(&b, sectors_body);
		sim_node_crash(b.node, SIM_POWER_LOSS);
		sectors_count(&b);
		sim_free(b.sim);
	}
	CHECK_EQ(b.counts[0] + b.counts[1] + b.counts[2], 40 * 64);
	CHECK(b.counts[0] > 600 && b.counts[1] > 600);
	CHECK(b.counts[2] > 20 && b.counts[2] < 400);
}

/* Two writes to each sector, with bytes before, between and behind them that stay. */
static void gaps_body(struct bench *b)
{
	struct env_file *f = open_file(b, "/s");

	memset(buffer, 'o', 64 * 512);
	CHECK_EQ(write_at(f, buffer, 64 * 512, 0), 0);
	CHECK_EQ(env_fdatasync(f), 0);
	CHECK_EQ(env_fsync_dir(b->env, "/"), 0);
	memset(buffer, 'n', 100);
	for (uint64_t i = 0; i < 64; i++) {
		CHECK_EQ(write_at(f, buffer, 100, i * 512 + 100), 0);
		CHECK_EQ(write_at(f, buffer, 100, i * 512 + 300), 0);
	}
}

/* Counts garbage: [0] in what was written, [1] between the writes, [2] before and behind them. */
static void gaps_count(struct bench *b)
{
	CHECK_EQ(sim_disk_peek(b->node, "/s", buffer, CAP), 64 * 512);
	for (unsigned i = 0; i < 64 * 512; i++) {
		unsigned at = i % 512;
		bool written = (at >= 100 && at < 200) || (at >= 300 && at < 400);
		bool between = at >= 200 && at < 300;

		if (buffer[i] != 'o' && (buffer[i] != 'n' || !written)) {
			b->counts[written ? 0 : (between ? 1 : 2)]++;
		}
	}
}

TEST(garbage_stays_within_what_each_write_changed)
{
	for (unsigned neighbours = 0; neighbours < 2; neighbours++) {
		struct bench b = {.done = false};

		bench_init(&b, 7);
		sim_options_live(b.sim)->disk.torn_ppm = 1000000;
		sim_options_live(b.sim)->disk.torn_neighbours = neighbours == 1;
		bench_run(&b, gaps_body);
		sim_node_crash(b.node, SIM_POWER_LOSS);
		gaps_count(&b);
		CHECK(b.counts[0] > 500);
		CHECK_EQ(b.counts[1] > 500, neighbours == 1);
		CHECK_EQ(b.counts[2] > 500, neighbours == 1);
		CHECK(neighbours == 1 || b.counts[1] + b.counts[2] == 0);
		sim_free(b.sim);
	}
}

/* ---- names ---- */

static void put(struct bench *b, const char *path, const char *text)
{
	struct env_file *f = open_file(b, path);

	CHECK_EQ(write_at(f, text, strlen(text), 0), 0);
	CHECK_EQ(env_fdatasync(f), 0);
	env_file_close(f);
}

static void names_body(struct bench *b)
{
	CHECK_EQ(env_mkdir(b->env, "/d"), 0);
	put(b, "/d/real", "old");
	CHECK_EQ(env_fsync_dir(b->env, "/d"), 0);
	CHECK_EQ(env_fsync_dir(b->env, "/"), 0);
	put(b, "/d/tmp", "new");
	CHECK_EQ(env_rename(b->env, "/d/tmp", "/d/real"), 0);
	if (b->seed % 2 == 0) {
		CHECK_EQ(env_fsync_dir(b->env, "/d"), 0);
	}
	put(b, "/d/later", "later");
}

TEST(renames_are_atomic_and_durable_only_after_fsync_dir)
{
	unsigned olds = 0;
	unsigned news = 0;
	unsigned laters = 0;

	for (uint64_t seed = 0; seed < 100; seed++) {
		struct bench b = {.done = false};
		char text[8] = "";

		bench_init(&b, seed);
		bench_run(&b, names_body);
		sim_node_crash(b.node, SIM_POWER_LOSS);
		CHECK_EQ(sim_disk_peek(b.node, "/d/real", text, sizeof(text)), 3);
		if (seed % 2 == 0) {
			CHECK_STR(text, "new");
			CHECK_EQ(sim_disk_peek(b.node, "/d/tmp", text, sizeof(text)), -NE_NOENT);
		} else {
			CHECK(strcmp(text, "old") == 0 || strcmp(text, "new") == 0);
			olds += strcmp(text, "old") == 0 ? 1 : 0;
			news += strcmp(text, "new") == 0 ? 1 : 0;
		}
		laters += sim_disk_peek(b.node, "/d/later", text, sizeof(text)) == 5 ? 1 : 0;
		sim_free(b.sim);
	}
	CHECK(olds > 5 && news > 5);
	CHECK(laters > 10 && laters < 90);
}

static int count_name(void *ctx, const char *name)
{
	struct bench *b = ctx;

	b->counts[0]++;
	b->counts[1] += (unsigned)strlen(name);
	return b->counts[0] == 100 ? 17 : 0;
}

static void tree_body(struct bench *b)
{
	struct env *env = b->env;
	struct env_stat st;
	char path[32];

	CHECK_EQ(env_mkdir(env, "/x"), 0);
	CHECK_EQ(env_mkdir(env, "/x"), -NE_EXIST);
	CHECK_EQ(env_mkdir(env, "/y/z"), -NE_NOENT);
	CHECK_EQ(env_mkdir(env, "relative"), -NE_INVAL);
	CHECK_EQ(env_mkdir(env, "/x/sub"), 0);
	put(b, "/x/file", "1");
	CHECK_EQ(env_mkdir(env, "/x/file/deeper"), -NE_NOTDIR);
	CHECK_EQ(env_rmdir(env, "/x"), -NE_NOTEMPTY);
	CHECK_EQ(env_unlink(env, "/x"), -NE_ISDIR);
	CHECK_EQ(env_rmdir(env, "/x/file"), -NE_NOTDIR);
	CHECK_EQ(env_rename(env, "/x", "/x/sub/x"), -NE_INVAL);
	CHECK_EQ(env_rename(env, "/x/file", "/x/sub"), -NE_ISDIR);
	CHECK_EQ(env_rename(env, "/x/sub", "/x/file"), -NE_NOTDIR);
	CHECK_EQ(env_rename(env, "/x/sub", "/sub"), 0);
	CHECK_EQ(env_stat(env, "/sub", &st), 0);
	CHECK(st.is_dir);
	CHECK_EQ(env_unlink(env, "/x/file"), 0);
	CHECK_EQ(env_unlink(env, "/x/file"), -NE_NOENT);
	CHECK_EQ(env_rmdir(env, "/x"), 0);
	for (unsigned i = 0; i < 150; i++) {
		(void)snprintf(path, sizeof(path), "/sub/%03u", i);
		put(b, path, "x");
	}
	CHECK_EQ(env_readdir(env, "/sub", count_name, b), 17);
	CHECK_EQ(b->counts[0], 100);
	CHECK_EQ(b->counts[1], 300);
	b->counts[0] = 1000;
	CHECK_EQ(env_readdir(env, "/sub", count_name, b), 0);
	CHECK_EQ(b->counts[0], 1150);
	CHECK_EQ(env_readdir(env, "/sub/001", count_name, b), -NE_NOTDIR);
}

TEST(names_follow_posix)
{
	struct bench b = {.done = false};

	bench_init(&b, 1);
	bench_run(&b, tree_body);
	sim_free(b.sim);
}

/* ---- space, holes, locks, attributes ---- */

static void space_body(struct bench *b)
{
	struct env_file *f = open_file(b, "/big");
	struct env_file *again = open_file(b, "/big");
	struct env_statfs fs;
	struct env_stat st;
	uint64_t off;

	CHECK_EQ(env_fallocate(f, ENV_FALLOC_KEEP_SIZE, 0, MIB + 1), -NE_NOSPC);
	CHECK_EQ(env_fallocate(f, ENV_FALLOC_RESERVE, 0, MIB - 8192), 0);
	memset(buffer, 1, CAP);
	CHECK_EQ(write_at(f, buffer, CAP, 0), 0);
	CHECK_EQ(write_at(f, buffer, 8193, MIB - 8192), -NE_NOSPC);
	CHECK_EQ(env_statfs(b->env, "/", &fs), 0);
	CHECK_EQ(fs.bytes_free, 8192);
	CHECK_EQ(env_fstat(f, &st), 0);
	CHECK_EQ(st.blocks, MIB - 8192);
	CHECK_EQ(env_seek(f, 0, false, &off), 0);
	CHECK_EQ(off, CAP);
	CHECK_EQ(env_seek(f, CAP, true, &off), -NE_NXIO);
	CHECK_EQ(env_fallocate(f, ENV_FALLOC_PUNCH, 4096, 8192), 0);
	CHECK_EQ(env_seek(f, 0, false, &off), 0);
	CHECK_EQ(off, 4096);
	CHECK_EQ(env_seek(f, 5000, true, &off), 0);
	CHECK_EQ(off, 12288);
	CHECK_EQ(env_ftruncate(f, UINT64_C(1) << 62), 0);
	CHECK_EQ(write_at(f, "x", 1, (UINT64_C(1) << 62) - 1), 0);
	CHECK_EQ(write_at(f, "x", 1, INT64_MAX), -NE_FBIG);
	CHECK_EQ(env_seek(f, CAP, true, &off), 0);
	CHECK_EQ(off, (UINT64_C(1) << 62) - 4096);
	CHECK_EQ(env_file_lock(f), 0);
	CHECK_EQ(env_file_lock(f), 0);
	CHECK_EQ(env_file_lock(again), -NE_LOCKED);
	CHECK_EQ(env_file_utime(f, 12345), 0);
	CHECK_EQ(env_stat(b->env, "/big", &st), 0);
	CHECK_EQ(st.mtime_ns, 12345);
	CHECK_EQ(env_unlink(b->env, "/big"), 0);
	CHECK_EQ(env_statfs(b->env, "/", &fs), 0);
	CHECK(fs.bytes_free < 64 * 4096); /* open: still there */
}

static void space_again(struct bench *b)
{
	struct env_statfs fs;

	CHECK_EQ(env_statfs(b->env, "/", &fs), 0);
	CHECK_EQ(fs.bytes_free, MIB);
}

TEST(space_holes_locks)
{
	struct bench b = {.done = false};

	bench_init(&b, 1);
	bench_run(&b, space_body);
	sim_node_crash(b.node, SIM_KILL);
	bench_run(&b, space_again);
	sim_free(b.sim);
}

/* ---- errors ---- */

static void errors_body(struct bench *b)
{
	struct env_file *f = open_file(b, "/e");
	struct env_file *other = open_file(b, "/e");
	size_t len;

	memset(buffer, 'o', 8192);
	CHECK_EQ(write_at(f, buffer, 8192, 0), 0);
	CHECK_EQ(env_fdatasync(f), 0);
	CHECK_EQ(env_fsync_dir(b->env, "/"), 0);
	memset(buffer, 'n', 8192);
	CHECK_EQ(write_at(f, buffer, 8192, 0), 0);
	sim_disk_fail(b->node, SIM_DISK_SYNC, 1, NE_IO);
	CHECK_EQ(env_fdatasync(f), -NE_IO);
	/* The kernel says it once, to each descriptor; then it lies. */
	CHECK_EQ(env_fdatasync(f), 0);
	CHECK_EQ(env_fdatasync(other), -NE_IO);
	CHECK_EQ(env_syncfs(other), -NE_IO);
	CHECK_EQ(env_syncfs(other), 0);
	sim_disk_fail(b->node, SIM_DISK_READ, 2, NE_IO);
	CHECK_EQ(env_pread(f, buffer, 10, 0, &len), 0);
	CHECK_EQ(env_pread(f, buffer, 10, 0, &len), -NE_IO);
	sim_disk_fail(b->node, SIM_DISK_WRITE, 1, NE_ROFS);
	CHECK_EQ(write_at(f, buffer, 1, 10000), -NE_ROFS);
	sim_disk_fail(b->node, SIM_DISK_ALLOCATE, 1, NE_NOSPC);
	CHECK_EQ(write_at(f, buffer, 1, 10000), -NE_NOSPC);
	sim_disk_fail(b->node, SIM_DISK_NAMES, 1, NE_IO);
	CHECK_EQ(env_mkdir(b->env, "/q"), -NE_IO);
}

TEST(a_failed_sync_loses_pages_silently)
{
	unsigned old_kill = 0;
	unsigned old_power = 0;

	for (uint64_t seed = 0; seed < 40; seed++) {
		struct bench b = {.done = false};
		bool old;

		bench_init(&b, seed);
		bench_run(&b, errors_body);
		sim_node_crash(b.node, seed % 2 == 0 ? SIM_KILL : SIM_POWER_LOSS);
		CHECK_EQ(sim_disk_peek(b.node, "/e", buffer, CAP), 8192);
		old = memchr(buffer, 'o', 8192) != NULL;
		old_kill += seed % 2 == 0 && old ? 1 : 0;
		old_power += seed % 2 == 1 && old ? 1 : 0;
		sim_free(b.sim);
	}
	CHECK(old_kill > 5 && old_power > 10);
}

/* The sync of a truncate fails, the next one does not: what was cut off never comes back. */
static void cut_body(struct bench *b)
{
	struct env_file *f = open_file(b, "/e");
	size_t len;

	memset(buffer, 'o', 8192);
	CHECK_EQ(write_at(f, buffer, 8192, 0), 0);
	CHECK_EQ(env_fdatasync(f), 0);
	CHECK_EQ(env_fsync_dir(b->env, "/"), 0);
	CHECK_EQ(env_ftruncate(f, 0), 0);
	sim_disk_fail(b->node, SIM_DISK_SYNC, 1, NE_IO);
	CHECK_EQ(env_fdatasync(f), -NE_IO);
	CHECK_EQ(env_fdatasync(f), 0);
	CHECK_EQ(write_at(f, "n", 1, 8191), 0);
	if (b->seed % 2 == 0) {
		sim_disk_fail(b->node, SIM_DISK_SYNC, 1, NE_IO);
		CHECK_EQ(env_fdatasync(f), -NE_IO);
		env_file_forget(f);
		CHECK_EQ(env_pread(f, buffer, 8192, 0, &len), 0);
		CHECK_EQ(len, 8192);
		CHECK(memchr(buffer, 'o', 8192) == NULL);
	}
	env_file_close(f);
}

TEST(a_cut_is_durable_with_the_next_sync_that_works)
{
	for (uint64_t seed = 0; seed < 40; seed++) {
		struct bench b = {.done = false};
		size_t len;

		bench_init(&b, seed);
		sim_options_live(b.sim)->disk.torn_ppm = 0;
		bench_run(&b, cut_body);
		sim_node_crash(b.node, SIM_POWER_LOSS);
		len = (size_t)sim_disk_peek(b.node, "/e", buffer, CAP);
		CHECK(len <= 8192);
		CHECK(memchr(buffer, 'o', len) == NULL);
		sim_free(b.sim);
	}
}

static void rot_body(struct bench *b)
{
	put(b, "/rot", "AAAAAAAA");
}

TEST(bits_rot)
{
	struct bench b = {.done = false};
	char text[9] = "";
	unsigned changed = 0;

	bench_init(&b, 1);
	bench_run(&b, rot_body);
	CHECK_EQ(sim_disk_flip(b.node, "/rot", 3), 0);
	CHECK_EQ(sim_disk_flip(b.node, "/rot", 8), -NE_INVAL);
	CHECK_EQ(sim_disk_flip(b.node, "/none", 0), -NE_NOENT);
	CHECK_EQ(sim_disk_peek(b.node, "/rot", text, 8), 8);
	for (unsigned i = 0; i < 8; i++) {
		changed += text[i] != 'A' ? 1 : 0;
	}
	CHECK_EQ(changed, 1);
	CHECK(text[3] != 'A');
	CHECK_EQ(sim_disk_poke(b.node, "/rot", "fresh", 5), 0);
	CHECK_EQ(sim_disk_peek(b.node, "/rot", text, 8), 5);
	CHECK_EQ(sim_disk_poke(b.node, "/made", "m", 1), 0);
	sim_node_crash(b.node, SIM_POWER_LOSS);
	CHECK_EQ(sim_disk_peek(b.node, "/made", text, 8), 1);
	sim_free(b.sim);
}

/* ---- a sync covers what was written before it began, and not what comes after ---- */

static void sync_fiber(void *arg)
{
	struct bench *b = arg;
	struct env_file *f = open_file(b, "/c");

	CHECK_EQ(env_fdatasync(f), 0);
	b->counts[0] = 1;
}

static void covers_body(struct bench *b)
{
	struct env_file *f = open_file(b, "/c");

	CHECK_EQ(env_fsync_dir(b->env, "/"), 0);
	memset(buffer, 'a', 4096);
	CHECK_EQ(write_at(f, buffer, 4096, 0), 0);
	CHECK_EQ(env_spawn(b->env, "sync", sync_fiber, b), 0);
	env_sleep(b->env, 80 * NS_PER_US); /* it has begun and is not done */
	CHECK_EQ(b->counts[0], 0);
	memset(buffer, 'b', 4096);
	CHECK_EQ(write_at(f, buffer, 4096, 0), 0);
	while (b->counts[0] == 0) {
		env_sleep(b->env, NS_PER_MS);
	}
}

TEST(a_sync_covers_what_was_written_before_it_began)
{
	unsigned a = 0;
	unsigned other = 0;

	for (uint64_t seed = 0; seed < 40; seed++) {
		struct bench b = {.done = false};

		bench_init(&b, seed);
		sim_options_live(b.sim)->disk.torn_ppm = 0;
		bench_run(&b, covers_body);
		sim_node_crash(b.node, SIM_POWER_LOSS);
		CHECK_EQ(sim_disk_peek(b.node, "/c", buffer, CAP), 4096);
		for (unsigned i = 0; i < 4096; i++) {
			CHECK(buffer[i] == 'a' || buffer[i] == 'b');
			a += buffer[i] == 'a' ? 1 : 0;
			other += buffer[i] == 'b' ? 1 : 0;
		}
		sim_free(b.sim);
	}
	CHECK(a > 40 * 1000 && other > 40 * 1000);
}
