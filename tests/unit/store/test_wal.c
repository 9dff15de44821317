/*
 * The log in the simulator: order, group commit, syncing, segments, and what is made of damage.
 */
#include "box.h"
#include "store/wal.h"
#include "store/wal_int.h"

#define SEG (64 * KIB)

struct logt {
	struct box box;
	struct wal *wal;
	uint64_t from_lsn;
	unsigned count; /* records to append */
	unsigned first; /* number of the first */
	bool durable_each;
	bool leave; /* end without closing */
	/* what replay saw */
	unsigned seen;
	unsigned seen_first;
	int err;
	uint64_t incarnation;
	uint64_t last_lsn;
	uint64_t proven_lsn;
};

static size_t payload_len(unsigned i)
{
	return 20 + i * 37 % 300;
}

static void payload_make(unsigned i, uint8_t *buf)
{
	struct prng rng;

	prng_init(&rng, i);
	prng_fill(&rng, buf, payload_len(i));
	le32_store(buf, i);
}

static int replay_count(void *ctx, const struct wal_rec *rec)
{
	struct logt *t = ctx;
	uint8_t want[512];
	unsigned i;

	if (rec->type != WAL_COMMIT) {
		return 0;
	}
	i = le32_load(rec->payload);
	if (t->seen == 0) {
		t->seen_first = i;
	}
	CHECK_EQ(i, t->seen_first + t->seen);
	payload_make(i, want);
	CHECK_EQ(rec->len, payload_len(i));
	CHECK(memcmp(want, rec->payload, rec->len) == 0);
	t->seen++;
	return 0;
}

static int log_open(struct logt *t)
{
	struct wal_opts opts = {.dir = "/s",
		.segment_bytes = SEG,
		.from_lsn = t->from_lsn,
		.create = true,
		.replay = replay_count,
		.ctx = t};

	t->seen = 0;
	t->wal = NULL;
	t->err = wal_open(t->box.env, &opts, &t->wal);
	if (t->err == 0) {
		t->incarnation = wal_incarnation(t->wal);
	}
	return t->err;
}

static uint64_t log_append(struct logt *t, unsigned i)
{
	uint8_t buf[512];
	struct iovec iov[2] = {{buf, 10}, {buf + 10, payload_len(i) - 10}};
	uint64_t lsn = 0;

	payload_make(i, buf);
	CHECK_EQ(wal_append(t->wal, WAL_COMMIT, iov, 2, &lsn), 0);
	return lsn;
}

static void log_body(void *arg)
{
	struct logt *t = arg;

	if (log_open(t) != 0) {
		return;
	}
	for (unsigned i = 0; i < t->count; i++) {
		t->last_lsn = log_append(t, t->first + i);
		if (t->durable_each) {
			wal_wait_durable(t->wal, t->last_lsn);
		} else if (i % 3 == 0) {
			wal_wait_written(t->wal, t->last_lsn);
		}
	}
	if (!t->leave) {
		wal_close(t->wal);
	} else if (t->count > 0) {
		wal_wait_written(t->wal, t->last_lsn);
	}
}

static void logt_init(struct logt *t, uint64_t seed)
{
	*t = (struct logt){.first = 1};
	box_init(&t->box, seed);
}

/* Only opens and closes. */
static void log_reopen(struct logt *t)
{
	unsigned count = t->count;

	t->count = 0;
	CHECK(box_run(&t->box, log_body, t));
	t->count = count;
}

TEST(append_close_replay)
{
	struct logt t;

	logt_init(&t, 1);
	t.count = 100;
	CHECK(box_run(&t.box, log_body, &t));
	CHECK_EQ(t.err, 0);
	CHECK_EQ(t.seen, 0);
	CHECK_EQ(t.incarnation, 1);
	CHECK_EQ(t.last_lsn, (UINT64_C(1) << WAL_LSN_SHIFT) + 100);
	CHECK_EQ(sim_node_heap_blocks(t.box.node), 0);
	log_reopen(&t);
	CHECK_EQ(t.seen, 100);
	CHECK_EQ(t.incarnation, 2);
	/* From a given lsn on. */
	t.from_lsn = (UINT64_C(1) << WAL_LSN_SHIFT) + 60;
	log_reopen(&t);
	CHECK_EQ(t.seen, 40);
	CHECK_EQ(t.seen_first, 61);
	CHECK_EQ(t.incarnation, 3);
	box_fini(&t.box);
}

TEST(many_incarnations_many_segments)
{
	struct logt t;
	unsigned total = 0;

	logt_init(&t, 2);
	for (unsigned round = 0; round < 12; round++) {
		t.count = round % 4 == 3 ? 0 : 300;
		t.first = total + 1;
		t.leave = round % 2 == 1;
		CHECK(box_run_then(
			&t.box, log_body, &t, round % 4 == 1 ? SIM_KILL : SIM_POWER_LOSS));
		CHECK_EQ(t.err, 0);
		if (round % 4 == 3) {
			/* Power was lost before: what it said it had then is what it has. */
			CHECK(t.seen <= total);
			CHECK(t.seen + 300 >= total);
			total = t.seen;
		} else {
			CHECK_EQ(t.seen, total);
			total += t.count;
		}
		if (round % 4 == 2) {
			/* An orderly stop. */
			CHECK(!t.leave);
		}
	}
	CHECK_EQ(t.incarnation, 12);
	box_fini(&t.box);
}

/* ---- group commit and syncing ---- */

struct group {
	struct logt t;
	unsigned running;
	struct wal_stats stats;
	uint64_t idle_fsyncs;
	uint64_t began;
	uint64_t took;
};

static void gang_member(void *arg)
{
	struct group *g = arg;
	uint64_t lsn = log_append(&g->t, 1);

	wal_wait_written(g->t.wal, lsn);
	CHECK(wal_written_lsn(g->t.wal) >= lsn);
	g->running--;
}

static void group_body(void *arg)
{
	struct group *g = arg;
	struct env *env = g->t.box.env;

	CHECK_EQ(log_open(&g->t), 0);
	g->running = 50;
	for (int i = 0; i < 50; i++) {
		CHECK_EQ(env_spawn(env, "member", gang_member, g), 0);
	}
	while (g->running > 0) {
		env_sleep(env, NS_PER_US);
	}
	wal_stats_get(g->t.wal, &g->stats);
	/* Unsynced for not much more than 5 ms. */
	env_sleep(env, 20 * NS_PER_MS);
	CHECK_EQ(wal_durable_lsn(g->t.wal), wal_last_lsn(g->t.wal));
	wal_stats_get(g->t.wal, &g->stats);
	env_sleep(env, 3600 * NS_PER_S);
	wal_stats_get(g->t.wal, &g->stats);
	g->idle_fsyncs = g->stats.fsyncs;
	/* Somebody waits: at once. */
	g->began = env_now(env);
	wal_wait_durable(g->t.wal, log_append(&g->t, 1));
	g->took = env_now(env) - g->began;
	wal_close(g->t.wal);
}

TEST(group_commit_and_lazy_sync)
{
	struct group g = {.running = 0};
	struct sim_options opts;

	logt_init(&g.t, 3);
	sim_options_default(&opts, 3);
	CHECK(box_run(&g.t.box, group_body, &g));
	CHECK_EQ(g.stats.appends, 50);
	CHECK(g.stats.writes < 25);
	CHECK(g.idle_fsyncs >= 1 && g.idle_fsyncs <= 2);
	CHECK(g.took < opts.disk.sync_ns_max + 2 * NS_PER_MS);
	box_fini(&g.t.box);
}

static void idle_body(void *arg)
{
	struct logt *t = arg;

	CHECK_EQ(log_open(t), 0);
	(void)log_append(t, 1);
	t->box.done = false;
}

TEST(an_idle_log_sets_no_timer)
{
	struct logt t;

	logt_init(&t, 4);
	sim_node_start(t.box.node, idle_body, &t);
	/* Runs until nothing can ever happen again: a periodic timer would never let it end. */
	CHECK_EQ(sim_run(t.box.sim, NULL, NULL, ENV_FOREVER), 0);
	CHECK(sim_now(t.box.sim) < 10 * NS_PER_S);
	CHECK_EQ(wal_durable_lsn(t.wal), wal_last_lsn(t.wal));
	sim_node_crash(t.box.node, SIM_POWER_LOSS);
	log_reopen(&t);
	CHECK_EQ(t.seen, 1);
	box_fini(&t.box);
}

/* ---- segments ---- */

static void trim_body(void *arg)
{
	struct logt *t = arg;
	struct wal_stats st;

	CHECK_EQ(log_open(t), 0);
	for (unsigned i = 1; i <= 2000; i++) {
		t->last_lsn = log_append(t, i);
		if (i % 10 == 0) {
			wal_wait_written(t->wal, t->last_lsn);
		}
		if (i % 500 == 0) {
			wal_wait_durable(t->wal, t->last_lsn);
			wal_trim(t->wal, t->last_lsn);
			env_sleep(t->box.env, NS_PER_S);
			wal_stats_get(t->wal, &st);
			CHECK_EQ(st.segments, 1);
			CHECK(st.disk_bytes <= 6 * SEG);
		}
	}
	t->from_lsn = t->last_lsn;
	wal_close(t->wal);
}

TEST(trimmed_segments_are_recycled)
{
	struct logt t;

	logt_init(&t, 5);
	CHECK(box_run(&t.box, trim_body, &t));
	log_reopen(&t);
	CHECK_EQ(t.err, 0);
	CHECK_EQ(t.seen, 0);
	/* What was trimmed is gone: from the start on there is a hole. */
	t.from_lsn = 0;
	box_quiet(true);
	log_reopen(&t);
	box_quiet(false);
	CHECK_EQ(t.err, -NE_CORRUPT);
	box_fini(&t.box);
}

static void toobig_body(void *arg)
{
	struct logt *t = arg;
	struct iovec iov;
	uint64_t lsn = 0;

	CHECK_EQ(log_open(t), 0);
	iov.iov_len = wal_payload_max(t->wal);
	iov.iov_base = mem_zalloc(iov.iov_len + 1);
	CHECK(iov.iov_base != NULL);
	CHECK_EQ(wal_append(t->wal, WAL_COMMIT, &iov, 1, &lsn), 0);
	CHECK_EQ(wal_append(t->wal, WAL_COMMIT, &iov, 1, &lsn), 0);
	wal_wait_durable(t->wal, lsn);
	iov.iov_len++;
	CHECK_EQ(wal_append(t->wal, WAL_COMMIT, &iov, 1, &lsn), -NE_TOOBIG);
	mem_free(iov.iov_base);
	wal_close(t->wal);
}

TEST(the_largest_record)
{
	struct logt t;

	logt_init(&t, 6);
	CHECK(box_run(&t.box, toobig_body, &t));
	CHECK(t.incarnation == 1);
	box_fini(&t.box);
}

/* ---- damage ---- */

/* Where the records end, in the newest segment of a log with one segment of records. */
static uint64_t records_end(unsigned count)
{
	uint64_t off = WAL_HEADER_BYTES + wal_rec_bytes(8);

	for (unsigned i = 1; i <= count; i++) {
		off += wal_rec_bytes((uint32_t)payload_len(i));
	}
	return off;
}

/* A log of `count` records with every byte of its first segment flipped in turn. */
static void flip_all(bool durable_each, bool leave, unsigned count)
{
	uint64_t end = records_end(count);
	struct sim_disk *disk;
	unsigned corrupt = 0, cut = 0;
	struct logt t;

	logt_init(&t, 7);
	t.count = count;
	t.durable_each = durable_each;
	t.leave = leave;
	CHECK(box_run(&t.box, log_body, &t));
	disk = sim_disk_clone(t.box.node);
	sim_node_disk_set(t.box.node, disk);
	box_quiet(true);
	for (uint64_t off = 0; off < end + 64; off += off < WAL_HEADER_BYTES ? 13 : 1) {
		disk = sim_disk_clone(t.box.node);
		CHECK_EQ(sim_disk_flip(t.box.node, "/s/0000000000000001.seg", off), 0);
		log_reopen(&t);
		CHECK(t.err == 0 || t.err == -NE_CORRUPT || t.err == -NE_TOONEW);
		corrupt += t.err != 0;
		cut += t.err == 0 && t.seen < count;
		if (t.err == 0 && durable_each) {
			/* All but the last record were proven durable by a later one. */
			CHECK(t.seen >= count - leave);
		}
		if (t.err == 0 && t.seen == count) {
			CHECK(off >= WAL_HEADER_USED);
		}
		sim_node_disk_set(t.box.node, disk);
	}
	box_quiet(false);
	CHECK(corrupt > 0);
	CHECK(durable_each ? corrupt > end - WAL_HEADER_BYTES - 512 : cut > 0);
	box_fini(&t.box);
}

TEST(every_flipped_byte_in_the_middle_is_an_error)
{
	flip_all(true, false, 12);
	flip_all(true, true, 12);
}

TEST(a_torn_tail_is_cut)
{
	flip_all(false, true, 12);
}

/* The scenario of rule A1: 100 torn, replaced by another 100; the old 101.. must not line up. */
TEST(old_records_behind_a_tear_never_line_up)
{
	struct logt t;
	uint64_t off = records_end(9);

	logt_init(&t, 8);
	t.count = 20;
	t.leave = true;
	CHECK(box_run(&t.box, log_body, &t));
	/* Record 10 is torn; 11..20 stay intact behind it. None was synced, so this is a tail. */
	CHECK_EQ(sim_disk_flip(t.box.node, "/s/0000000000000001.seg", off + 40), 0);
	t.first = 10;
	t.count = 1;
	box_quiet(true);
	CHECK(box_run(&t.box, log_body, &t));
	CHECK_EQ(t.err, 0);
	CHECK_EQ(t.seen, 9);
	for (int i = 0; i < 5; i++) {
		log_reopen(&t);
		CHECK_EQ(t.err, 0);
		CHECK_EQ(t.seen, 10);
	}
	box_quiet(false);
	box_fini(&t.box);
}

static void unlink_body(void *arg)
{
	struct logt *t = arg;

	CHECK_EQ(env_unlink(t->box.env, "/s/0000000000000002.seg"), 0);
	(void)log_open(t);
}

/* Without its first segment, or its middle one, a log is refused. */
TEST(a_missing_segment_is_an_error)
{
	struct logt t;
	struct sim_disk *disk;
	uint8_t zero[100] = {0};

	logt_init(&t, 9);
	t.count = 1000;
	CHECK(box_run(&t.box, log_body, &t));
	box_quiet(true);
	for (unsigned i = 1; i <= 3; i++) {
		char name[64];

		snprintf(name, sizeof(name), "/s/%016x.seg", i);
		disk = sim_disk_clone(t.box.node);
		CHECK_EQ(sim_disk_poke(t.box.node, name, zero, 100), 0);
		log_reopen(&t);
		CHECK_EQ(t.err, -NE_CORRUPT);
		sim_node_disk_set(t.box.node, disk);
	}
	disk = sim_disk_clone(t.box.node);
	CHECK(box_run(&t.box, unlink_body, &t));
	CHECK_EQ(t.err, -NE_CORRUPT);
	sim_node_disk_set(t.box.node, disk);
	box_quiet(false);
	log_reopen(&t);
	CHECK_EQ(t.err, 0);
	CHECK_EQ(t.seen, 1000);
	box_fini(&t.box);
}

/* A segment of another history - a backup put back in part - has the right numbers and the wrong chain. */
TEST(a_segment_of_another_history_is_an_error)
{
	static uint8_t other[SEG];
	const char *name = "/s/0000000000000004.seg";
	struct sim_disk *disk;
	struct logt t;

	logt_init(&t, 11);
	t.count = 100;
	CHECK(box_run(&t.box, log_body, &t));
	disk = sim_disk_clone(t.box.node);
	t.first = 101;
	t.count = 500;
	CHECK(box_run(&t.box, log_body, &t));
	CHECK_EQ(sim_disk_peek(t.box.node, name, other, SEG), SEG);
	sim_node_disk_set(t.box.node, disk);
	t.durable_each = true; /* the same records, but for what each knows to be durable */
	CHECK(box_run(&t.box, log_body, &t));
	log_reopen(&t);
	CHECK_EQ(t.err, 0);
	CHECK_EQ(t.seen, 600);
	CHECK_EQ(sim_disk_poke(t.box.node, name, other, SEG), 0);
	box_quiet(true);
	log_reopen(&t);
	box_quiet(false);
	CHECK_EQ(t.err, -NE_CORRUPT);
	box_fini(&t.box);
}

/* ---- failures of the disk ---- */

static void sync_fail_body(void *arg)
{
	struct logt *t = arg;

	CHECK_EQ(log_open(t), 0);
	t->proven_lsn = log_append(t, 1);
	wal_wait_durable(t->wal, t->proven_lsn);
	env_sleep(t->box.env, NS_PER_S); /* segments are ready, nothing else syncs */
	(void)log_append(t, 2);
	sim_disk_fail(t->box.node, SIM_DISK_SYNC, 1, NE_IO);
	wal_wait_durable(t->wal, wal_last_lsn(t->wal));
	CHECK(false); /* not reached: the node stopped */
}

static void sync_fail(uint64_t seed)
{
	struct logt t;
	unsigned seen;

	logt_init(&t, seed);
	box_quiet(true);
	CHECK(!box_run(&t.box, sync_fail_body, &t));
	box_quiet(false);
	/* The page of record 2 counts as clean though the disk has it not: the next start writes it again. */
	t.leave = true;
	t.count = 0;
	CHECK(box_run_then(&t.box, log_body, &t, SIM_POWER_LOSS));
	CHECK_EQ(t.err, 0);
	CHECK(t.seen == 1 || t.seen == 2);
	seen = t.seen;
	log_reopen(&t);
	CHECK_EQ(t.seen, seen);
	box_fini(&t.box);
}

TEST(a_failed_sync_stops_the_node)
{
	for (uint64_t seed = 10; seed < 30; seed++) {
		sync_fail(seed);
	}
}
