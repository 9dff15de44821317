/*
 * A tiny write-ahead log on a simulated disk, crashed at every crash point and at random ones.
 *
 * It must survive; and each way of building it wrongly (a sync left out or too early, a name not made
 * durable, a recovery that serves what is not durable) must be found within a known number of seeds: the canaries that show the disk is no kinder
 * than a real one.
 */
#include "test.h"

#include "base/crc32c.h"
#include "base/prng.h"
#include "env/sim/sim.h"

enum wal_mistake {
	WAL_RIGHT,
	WAL_NO_FDATASYNC,
	WAL_NO_FSYNC_DIR,
	WAL_SYNC_BEFORE_WRITE,
	WAL_SERVE_UNSYNCED, /* recovery serves what it read before it is durable */
	WAL_SHARED_SECTORS, /* no mistake on most disks: appends share a sector, and a torn one is garbage */
};

#define WAL_RECORDS 40
#define WAL_PATH "/wal/log"

struct wal_record {
	uint32_t crc; /* of what follows, continued from the record before */
	uint32_t seq;
	uint64_t value; /* drawn anew in each life */
	uint8_t pad[500];
};

struct wal {
	struct sim *sim;
	struct sim_node *node;
	struct env *env;
	enum wal_mistake mistake;
	/* The test's memory, outside of the node: what was acknowledged. */
	uint64_t acked[WAL_RECORDS + 1];
	uint32_t acked_seq;
	bool lost;
	/* In the node. */
	uint64_t found[WAL_RECORDS + 1];
	uint32_t seq;
	uint32_t crc;
	bool finished;
};

static uint32_t wal_crc(const struct wal *w, const struct wal_record *r)
{
	return crc32c(w->crc, &r->seq, sizeof(*r) - offsetof(struct wal_record, seq));
}

/* Reads what is there; a valid record is believed. */
static void wal_recover(struct wal *w, struct env_file *f)
{
	struct wal_record r;
	size_t len;

	w->seq = 0;
	w->crc = 0;
	for (;;) {
		CHECK_EQ(env_pread(f, &r, sizeof(r), (uint64_t)w->seq * sizeof(r), &len), 0);
		if (len < sizeof(r) || r.seq != w->seq + 1 || r.crc != wal_crc(w, &r)) {
			break;
		}
		w->seq = r.seq;
		w->crc = r.crc;
		if (w->seq <= w->acked_seq && r.value != w->acked[r.seq]) {
			w->lost = true;
		}
		w->found[r.seq] = r.value;
	}
	if (w->seq < w->acked_seq) {
		w->lost = true;
	}
	/* What is served from now on must not depend on pages that are not on the medium. */
	if (w->mistake != WAL_SERVE_UNSYNCED) {
		CHECK_EQ(env_fdatasync(f), 0);
	}
	memcpy(w->acked, w->found, sizeof(w->acked));
	w->acked_seq = w->seq;
}

static void wal_append(struct wal *w, struct env_file *f)
{
	struct wal_record r = {.seq = w->seq + 1, .value = env_random(w->env)};
	struct iovec iov = {&r, sizeof(r)};

	memset(r.pad, (int)(r.value & 0xff), sizeof(r.pad));
	r.crc = wal_crc(w, &r);
	if (w->mistake == WAL_SYNC_BEFORE_WRITE) {
		CHECK_EQ(env_fdatasync(f), 0);
	}
	CHECK_EQ(env_pwrite(f, &iov, 1, (uint64_t)w->seq * sizeof(r)), 0);
	if (w->mistake != WAL_NO_FDATASYNC && w->mistake != WAL_SYNC_BEFORE_WRITE) {
		CHECK_EQ(env_fdatasync(f), 0);
	}
	w->seq = r.seq;
	w->crc = r.crc;
	w->acked[r.seq] = r.value;
	w->acked_seq = r.seq;
}

static void wal_main(void *arg)
{
	struct wal *w = arg;
	struct env_file *f;
	int rc = env_mkdir(w->env, "/wal");

	CHECK(rc == 0 || rc == -NE_EXIST);
	CHECK_EQ(env_file_open(
			 w->env, WAL_PATH, ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE, &f),
		0);
	if (w->mistake != WAL_NO_FSYNC_DIR) {
		CHECK_EQ(env_fsync_dir(w->env, "/wal"), 0);
		CHECK_EQ(env_fsync_dir(w->env, "/"), 0);
	}
	wal_recover(w, f);
	while (w->seq < WAL_RECORDS) {
		wal_append(w, f);
	}
	env_file_close(f);
	w->finished = true;
}

static bool wal_stopped(void *ctx)
{
	const struct wal *w = ctx;

	return w->finished || !sim_node_is_up(w->node);
}

static void wal_new(struct wal *w, uint64_t seed, enum wal_mistake mistake)
{
	struct sim_options opts;

	sim_options_default(&opts, seed);
	opts.fibers_max = 8;
	opts.log_events = 256;
	opts.disk.torn_neighbours = mistake == WAL_SHARED_SECTORS;
	*w = (struct wal){.mistake = mistake};
	w->sim = sim_new(&opts);
	w->node = sim_node_new(w->sim, "wal");
	w->env = sim_node_env(w->node);
}

static void wal_life(struct wal *w)
{
	w->finished = false;
	sim_node_start(w->node, wal_main, w);
	CHECK_EQ(sim_run(w->sim, wal_stopped, w, 100 * NS_PER_S), 0);
}

/* Lives and power losses until one life ends unharmed; false when an acknowledged record was lost. */
static bool wal_survives(uint64_t seed, enum wal_mistake mistake, struct sim_stats *sum)
{
	struct wal w;

	wal_new(&w, seed, mistake);
	for (unsigned life = 0; life < 12 && !w.lost; life++) {
		sim_crash_at(w.node, 1 + sim_random(w.sim) % 150,
			sim_random(w.sim) % 4 == 0 ? SIM_KILL : SIM_POWER_LOSS);
		wal_life(&w);
		if (w.finished) {
			sim_node_crash(w.node, SIM_POWER_LOSS);
		}
	}
	sim_crash_at(w.node, 0, SIM_KILL);
	wal_life(&w);
	sim_stats_add(sum, sim_stats(w.sim));
	sim_free(w.sim);
	return !w.lost;
}

TEST(a_right_log_survives_every_seed)
{
	struct sim_stats sum = {.runs = 0};

	for (uint64_t seed = 0; seed < 300; seed++) {
		CHECK(wal_survives(seed, WAL_RIGHT, &sum));
	}
	CHECK(sum.faults[SIM_FAULT_SECTOR_OLD] > 0 && sum.faults[SIM_FAULT_SECTOR_TORN] > 0);
	CHECK(sum.faults[SIM_FAULT_SIZE_OLD] > 0 && sum.faults[SIM_FAULT_NAME_LOST] > 0);
	CHECK_EQ(sum.runs, 300);
}

/* The number of seeds until the mistake shows. */
static uint64_t canary(enum wal_mistake mistake, uint64_t limit)
{
	struct sim_stats sum = {.runs = 0};

	for (uint64_t seed = 1; seed <= limit; seed++) {
		if (!wal_survives(seed, mistake, &sum)) {
			return seed;
		}
	}
	return UINT64_MAX;
}

TEST(canaries_are_found)
{
	CHECK(canary(WAL_NO_FDATASYNC, 5) <= 5);
	CHECK(canary(WAL_SYNC_BEFORE_WRITE, 5) <= 5);
	CHECK(canary(WAL_NO_FSYNC_DIR, 10) <= 10);
	CHECK(canary(WAL_SERVE_UNSYNCED, 3000) <= 3000);
	CHECK(canary(WAL_SHARED_SECTORS, 20) <= 20);
}

TEST(every_crash_point_of_a_life)
{
	for (unsigned kind = 0; kind < 2; kind++) {
		uint64_t k = 0;
		bool unharmed = false;

		while (!unharmed) {
			struct wal w;

			wal_new(&w, 77, WAL_RIGHT);
			sim_crash_at(w.node, ++k, kind == 0 ? SIM_KILL : SIM_POWER_LOSS);
			wal_life(&w);
			unharmed = w.finished;
			if (!unharmed) {
				CHECK_EQ(sim_crash_points(w.node), k);
				wal_life(&w);
			}
			CHECK(w.finished && !w.lost);
			sim_free(w.sim);
		}
		/* Two operations for each record, a turn after each sync, and the beginning. */
		CHECK(k > 3 * WAL_RECORDS);
	}
}
