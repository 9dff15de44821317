/*
 * Speed of the state machine on a real disk, against a raw loop of pwrite + fdatasync in the same run.
 *
 *	state_bench [--dir DIR] [--seconds S]
 *
 * A commit = two pairs of 24-byte key and 128-byte value, as a create makes. Several fibers commit and wait
 * until theirs is written (what a reply waits for); fdatasync follows in the background every 5 ms. The
 * raw loop appends the same bytes to a preallocated, zero-written file in batches of the average group
 * size with fdatasync every 5 ms. All on one thread but for the helpers, whose CPU time is in the figures.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/bytes.h"
#include "base/hash.h"
#include "env/posix/reactor.h"
#include "store/state.h"

#define FIBERS 128
#define PAIRS 2
#define KEY_BYTES 24
#define VAL_BYTES 128
#define GET_KEYS 100000

struct bench {
	struct env *env;
	struct state *st;
	struct state_opts opts;
	char dir[256];
	double seconds;
	uint64_t deadline;
	uint64_t next;
	uint64_t keys; /* committed keys: 0 .. keys - 1 */
	uint64_t done;
	unsigned running;
	bool durable;
	struct env_waitq q;
	uint64_t hits;
};

static void must(int err, const char *what)
{
	if (err != 0) {
		fprintf(stderr, "%s failed: %s\n", what, ne_text(err));
		exit(1);
	}
}

static double cpu_now(void)
{
	struct rusage ru;

	(void)getrusage(RUSAGE_SELF, &ru);
	return (double)ru.ru_utime.tv_sec + (double)ru.ru_stime.tv_sec +
		1e-6 * (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec);
}

static double wall_now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

/* Directories of 1,000 entries each, names by hash: what an MDT's keys look like. */
static void key_make(uint64_t n, uint8_t key[KEY_BYTES])
{
	be64_store(key, 0x200000400);
	be64_store(key + 8, n / 1000);
	be64_store(key + 16, hash_mix(n));
}

static int commit_exec(struct state_txn *txn, void *ctx)
{
	static const uint8_t val[VAL_BYTES] = {1, 2, 3};
	const uint64_t *n = ctx;
	uint8_t key[KEY_BYTES];
	int err = 0;

	for (unsigned i = 0; i < PAIRS && err == 0; i++) {
		key_make(*n * PAIRS + i, key);
		err = state_put(txn, key, KEY_BYTES, val, VAL_BYTES);
	}
	return err;
}

static void commit_fiber(void *arg)
{
	struct bench *b = arg;
	struct state_run_opts opts = {.kind = STATE_CHANGE, .session = 1};

	while (env_now(b->env) < b->deadline) {
		uint64_t n = b->next++;
		uint64_t lsn = 0;

		must(state_run(b->st, commit_exec, &n, &opts, &lsn), "commit");
		if (b->durable) {
			state_wait_durable(b->st, lsn);
		} else {
			state_wait_written(b->st, lsn);
		}
		b->done++;
	}
	b->running--;
	env_wake_all(b->env, &b->q);
}

static void commits(struct bench *b, const char *name, unsigned fibers, bool durable)
{
	struct state_stats before, after;
	double cpu, wall;

	env_sleep(b->env, 100 * NS_PER_MS); /* the env's clock stood while others had the thread */
	cpu = cpu_now();
	wall = wall_now();
	state_stats_get(b->st, &before);
	b->done = 0;
	b->durable = durable;
	b->deadline = env_now(b->env) + (uint64_t)(b->seconds * 1e9);
	for (b->running = 0; b->running < fibers; b->running++) {
		if (env_spawn(b->env, "commit", commit_fiber, b) != 0) {
			exit(1);
		}
	}
	while (b->running > 0) {
		(void)env_wait(b->env, &b->q, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
	state_stats_get(b->st, &after);
	wall = wall_now() - wall;
	cpu = cpu_now() - cpu;
	b->keys = b->next * PAIRS;
	printf("%-34s %9.0f /s  %6.2f us CPU each  group %5.1f  fsyncs %5.0f /s  log %4.0f MB/s  "
	       "checkpoints %" PRIu64 "\n",
		name, (double)b->done / wall, 1e6 * cpu / (double)b->done,
		(double)b->done / (double)(after.wal_writes - before.wal_writes + 1),
		(double)(after.wal_fsyncs - before.wal_fsyncs) / wall,
		1e-6 * (double)(after.wal_bytes - before.wal_bytes) / wall,
		after.checkpoints - before.checkpoints);
}

struct gets {
	struct bench *b;
	uint64_t from;
};

/* 64 gets in one transaction, so that what is measured is the get. */
static int gets_exec(struct state_txn *txn, void *ctx)
{
	struct gets *g = ctx;
	uint8_t key[KEY_BYTES];
	struct state_val val;
	int missing = 0;

	for (uint64_t i = 0; i < 64; i++) {
		int err;

		key_make((g->from + hash_mix(i + g->b->hits)) % GET_KEYS, key);
		err = state_get(txn, key, KEY_BYTES, &val);
		missing = err == -NE_MISSING_KEY ? err : missing;
		if (err != 0 && err != -NE_MISSING_KEY) {
			return err;
		}
	}
	return missing;
}

static void gets(struct bench *b, const char *name)
{
	struct state_run_opts opts = {.kind = STATE_READ};
	struct gets g = {.b = b};
	double cpu, wall;
	uint64_t n;

	for (n = 0; n < 4000; n++) { /* warms up */
		b->hits = n * 64;
		must(state_run(b->st, gets_exec, &g, &opts, NULL), "get");
	}
	cpu = cpu_now();
	wall = wall_now();
	for (n = 0; n < 20000; n++) {
		b->hits = n * 64;
		must(state_run(b->st, gets_exec, &g, &opts, NULL), "get");
	}
	wall = wall_now() - wall;
	cpu = cpu_now() - cpu;
	printf("%-34s %9.0f /s  %6.3f us CPU each\n", name, (double)n * 64 / wall,
		1e6 * cpu / (double)(n * 64));
}

/* The same bytes by hand: one pwrite per group, fdatasync when 5 ms have passed. */
static void raw(struct bench *b, const char *name, unsigned group, size_t rec, bool sync_each)
{
	size_t size = 256 << 20, len = group * rec;
	double cpu, wall, last, now;
	uint64_t done = 0, syncs = 0;
	char path[300];
	char *buf;
	int fd;

	snprintf(path, sizeof(path), "%s/raw", b->dir);
	fd = open(path, O_RDWR | O_CREAT, 0600);
	buf = mem_zalloc(1 << 20);
	if (fd < 0 || buf == NULL) {
		perror(path);
		exit(1);
	}
	for (size_t off = 0; off < size; off += 1 << 20) {
		if (pwrite(fd, buf, 1 << 20, (off_t)off) != 1 << 20) {
			perror("pwrite");
			exit(1);
		}
	}
	(void)fdatasync(fd);
	memset(buf, 7, 1 << 20);
	cpu = cpu_now();
	wall = last = now = wall_now();
	for (size_t off = 0; now - wall < b->seconds; off = (off + len) % (size - len)) {
		if (pwrite(fd, buf, len, (off_t)off) != (ssize_t)len) {
			perror("pwrite");
			exit(1);
		}
		done += group;
		now = wall_now();
		if (sync_each || now - last > 0.005) {
			(void)fdatasync(fd);
			last = now = wall_now();
			syncs++;
		}
	}
	wall = now - wall;
	cpu = cpu_now() - cpu;
	printf("%-34s %9.0f /s  %6.2f us CPU each  group %5u  fsyncs %5.0f /s\n", name,
		(double)done / wall, 1e6 * cpu / (double)done, group, (double)syncs / wall);
	mem_free(buf);
	close(fd);
	unlink(path);
}

static void bench_body(void *arg)
{
	struct bench *b = arg;
	struct state_stats stats;
	double began;

	env_waitq_init(&b->q);
	b->opts = (struct state_opts){.dir = b->dir, .create = true, .cache_bytes = 128 * MIB};
	must(state_open(b->env, &b->opts, &b->st), "open");
	env_sleep(b->env, NS_PER_S / 2); /* segments get ready */
	raw(b, "raw pwrite, fdatasync each 5 ms", FIBERS, 360, false);
	commits(b, "commits, written, 128 fibers", FIBERS, false);
	raw(b, "raw pwrite, fdatasync each 5 ms", FIBERS, 360, false);
	commits(b, "commits, written, 1 fiber", 1, false);
	raw(b, "raw pwrite + fdatasync each", 1, 360, true);
	commits(b, "commits, durable, 1 fiber", 1, true);
	commits(b, "commits, durable, 128 fibers", FIBERS, true);
	began = wall_now();
	must(state_checkpoint(b->st), "checkpoint");
	printf("%-34s %9.2f s\n", "checkpoint of the rest", wall_now() - began);
	gets(b, "gets from the cache");
	b->next = 0;
	b->seconds = 1;
	commits(b, "commits over existing keys", FIBERS, false);
	b->next = 0;
	while (b->next < GET_KEYS / PAIRS) {
		struct state_run_opts opts = {.kind = STATE_CHANGE, .session = 1};
		uint64_t n = b->next++;

		must(state_run(b->st, commit_exec, &n, &opts, NULL), "commit");
	}
	gets(b, "gets from the table");
	state_stats_get(b->st, &stats);
	printf("records %" PRIu64 ", checkpoint %.0f MB, %" PRIu64
	       " checkpoints, %.2f s each, admission "
	       "waited %" PRIu64 " times\n",
		stats.kv_records, 1e-6 * (double)stats.kv_bytes, stats.checkpoints,
		1e-9 * (double)stats.checkpoint_ns_total / (double)(stats.checkpoints + 1),
		stats.admit_waits);
	began = wall_now();
	state_close(b->st);
	printf("%-34s %9.2f s\n", "close", wall_now() - began);
	began = wall_now();
	must(state_open(b->env, &b->opts, &b->st), "open");
	state_stats_get(b->st, &stats);
	printf("%-34s %9.2f s, %" PRIu64 " records replayed\n", "open", wall_now() - began,
		stats.replayed);
	state_close(b->st);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"dir", required_argument, NULL, 'd'},
		{"seconds", required_argument, NULL, 's'}, {0}};
	struct bench b = {.seconds = 3};
	const char *base = ".";
	struct reactor *r;
	char cmd[300];
	int c;

	while ((c = getopt_long(argc, argv, "d:s:", options, NULL)) != -1) {
		if (c == 'd') {
			base = optarg;
		} else if (c == 's') {
			b.seconds = strtod(optarg, NULL);
		} else {
			fprintf(stderr, "usage: state_bench [--dir DIR] [--seconds S]\n");
			return 2;
		}
	}
	if (base[0] != '/') {
		char *abs = realpath(base, NULL);

		snprintf(b.dir, sizeof(b.dir), "%s/state-bench-XXXXXX", abs != NULL ? abs : "/tmp");
		free(abs);
	} else {
		snprintf(b.dir, sizeof(b.dir), "%s/state-bench-XXXXXX", base);
	}
	if (mkdtemp(b.dir) == NULL || reactor_new(NULL, &r) != 0) {
		perror(b.dir);
		return 1;
	}
	b.env = reactor_env(r);
	if (reactor_call(r, bench_body, &b) != 0) {
		return 1;
	}
	reactor_free(r);
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", b.dir);
	return system(cmd) == 0 ? 0 : 1;
}
