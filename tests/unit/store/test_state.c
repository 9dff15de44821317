/*
 * The state machine against a reference: in the simulator over the model, on a disk over LMDB; then tags,
 * space, and what inspection shows.
 */
#include "../../crash/store_load.h"

static struct load load;

static void property(uint64_t seed, unsigned cache_bytes, unsigned fibers)
{
	struct box box;

	box_init(&box, seed);
	load_init(&load, box.env, "/s", seed);
	load.opts.cache_bytes = cache_bytes;
	load.fibers = fibers;
	for (int round = 0; round < 3; round++) {
		CHECK(box_run_then(&box, load_main, &load, round == 1 ? SIM_POWER_LOSS : SIM_KILL));
		CHECK_EQ(load.err, 0);
		CHECK_EQ(sim_node_heap_blocks(box.node), 0);
	}
	CHECK_EQ(load.recoveries, 3);
	CHECK(load.gets > 300 && load.ranges > 20 && load.misses > 20);
	box_fini(&box);
}

TEST(random_transactions_over_the_model)
{
	for (uint64_t seed = 1; seed <= 15; seed++) {
		property(seed, 4 * KIB, 6);
		property(seed + 100, 1, 10); /* a cache that holds nothing starves nobody */
		property(seed + 200, 4 * MIB, 1);
	}
}

static void real_load(void *arg)
{
	struct real *r = arg;

	load_init(&load, r->env, r->dir, 77);
	load.opts.kv_kind = STATE_KV_LMDB;
	load.opts.kv_map_bytes = 64 * MIB;
	for (int round = 0; round < 3; round++) {
		load_main(&load);
		CHECK_EQ(load.err, 0);
	}
	CHECK_EQ(load.recoveries, 3);
	CHECK(load.gets > 300 && load.ranges > 20 && load.misses > 20);
}

TEST(random_transactions_over_lmdb)
{
	struct real r;

	real_run(&r, real_load);
}

/* ---- small bodies with one state ---- */

struct one {
	struct box box;
	struct state *st;
	struct state_opts opts;
	/* for the execute functions */
	const char *key;
	const char *val;
	struct state_tag tag;
	char got[64];
	unsigned count;
	unsigned first;
	uint32_t size;
};

static int put_exec(struct state_txn *txn, void *ctx)
{
	struct one *o = ctx;

	return state_put(txn, o->key, (uint32_t)strlen(o->key), o->val, (uint32_t)strlen(o->val));
}

static int del_exec(struct state_txn *txn, void *ctx)
{
	struct one *o = ctx;

	return state_del(txn, o->key, (uint32_t)strlen(o->key));
}

static int get_exec(struct state_txn *txn, void *ctx)
{
	struct one *o = ctx;
	struct state_val val;
	int err = state_get(txn, o->key, (uint32_t)strlen(o->key), &val);

	state_get_tag(txn, o->key, (uint32_t)strlen(o->key), &o->tag);
	if (err == 0) {
		CHECK_EQ(val.tag.lsn, o->tag.lsn);
		CHECK_EQ(val.tag.session, o->tag.session);
		if (val.len < sizeof(o->got)) {
			bytes_copy(o->got, val.data, val.len);
			o->got[val.len] = 0;
		}
	}
	return err;
}

struct pair {
	const char *key;
	const char *val;
};

#define PAIR(k, v) ((struct pair){.key = (k), .val = (v)})

static int one_run(struct one *o, state_exec_fn *fn, enum state_kind kind, uint64_t session,
	struct pair kv, uint64_t *ret_lsn)
{
	struct state_run_opts opts = {.kind = kind, .session = session};

	o->key = kv.key;
	o->val = kv.val;
	return state_run(o->st, fn, o, &opts, ret_lsn);
}

static void one_init(struct one *o, uint64_t seed)
{
	*o = (struct one){.opts = {.dir = "/s",
				  .kv_kind = STATE_KV_MODEL,
				  .create = true,
				  .wal_segment_bytes = 64 * KIB,
				  .table_bytes = 64 * KIB,
				  .cache_bytes = 64 * KIB,
				  .kv_map_bytes = 2 * MIB}};
	box_init(&o->box, seed);
}

static void tags_body(void *arg)
{
	struct one *o = arg;
	struct state_opts opts = o->opts;
	uint64_t a = 0, b = 0, none = 1;

	opts.create = false;
	CHECK_EQ(state_open(o->box.env, &opts, &o->st), -NE_NOTFORMATTED);
	o->opts.incarnation_min = 9;
	CHECK_EQ(state_open(o->box.env, &o->opts, &o->st), 0);
	CHECK_EQ(state_incarnation(o->st), 9);
	CHECK_EQ(one_run(o, put_exec, STATE_CHANGE, 11, PAIR("k", "one"), &a), 0);
	CHECK_EQ(a >> STATE_LSN_SHIFT, 9);
	CHECK_EQ(one_run(o, get_exec, STATE_READ, 0, PAIR("k", ""), &none), 0);
	CHECK_EQ(none, 0);
	CHECK_STR(o->got, "one");
	CHECK_EQ(o->tag.lsn, a);
	CHECK_EQ(o->tag.session, 11);
	CHECK(state_committed_lsn(o->st) < a);
	state_wait_durable(o->st, a);
	CHECK(state_committed_lsn(o->st) >= a);
	/* A proven absence has a tag too. */
	CHECK_EQ(one_run(o, del_exec, STATE_RELEASE, 12, PAIR("k", ""), &b), 0);
	CHECK_EQ(b, a + 1);
	CHECK_EQ(one_run(o, get_exec, STATE_READ, 0, PAIR("k", ""), NULL), -NE_NOENT);
	CHECK_EQ(o->tag.lsn, b);
	CHECK_EQ(o->tag.session, 12);
	/* In the checkpoint nobody is to blame. */
	CHECK_EQ(one_run(o, put_exec, STATE_CHANGE, 13, PAIR("k2", "two"), &b), 0);
	CHECK_EQ(state_checkpoint(o->st), 0);
	CHECK_EQ(one_run(o, get_exec, STATE_READ, 0, PAIR("k2", ""), NULL), 0);
	CHECK_STR(o->got, "two");
	CHECK_EQ(o->tag.lsn, 0);
	CHECK_EQ(state_last_lsn(o->st), b);
	state_close(o->st);
	/* Replay restores tags. */
	CHECK_EQ(state_open(o->box.env, &o->opts, &o->st), 0);
	CHECK_EQ(state_incarnation(o->st), 10);
	CHECK_EQ(one_run(o, put_exec, STATE_CHANGE, 14, PAIR("k3", "three"), &b), 0);
	state_close(o->st);
	CHECK_EQ(state_open(o->box.env, &o->opts, &o->st), 0);
	CHECK_EQ(one_run(o, get_exec, STATE_READ, 0, PAIR("k3", ""), NULL), 0);
	CHECK_EQ(o->tag.lsn, b);
	CHECK_EQ(o->tag.session, 14);
	state_close(o->st);
}

TEST(tags_and_incarnations)
{
	struct one o;

	one_init(&o, 1);
	box_quiet(true);
	CHECK(box_run(&o.box, tags_body, &o));
	box_quiet(false);
	CHECK_EQ(sim_node_heap_blocks(o.box.node), 0);
	box_fini(&o.box);
}

/* ---- space ---- */

/* Puts records of 1000 bytes numbered from o->first. */
static int fill_exec(struct state_txn *txn, void *ctx)
{
	static uint8_t val[1000];
	struct one *o = ctx;
	char key[16];
	int err = 0;

	for (unsigned i = 0; i < o->count && err == 0; i++) {
		snprintf(key, sizeof(key), "f%06u", o->first + i);
		err = o->size == 0 ? state_del(txn, key, 7) : state_put(txn, key, 7, val, o->size);
	}
	return err;
}

static int fill(struct one *o, enum state_kind kind, unsigned first, unsigned count, uint32_t size)
{
	struct state_run_opts opts = {.kind = kind};

	o->first = first;
	o->count = count;
	o->size = size;
	return state_run(o->st, fill_exec, o, &opts, NULL);
}

static int get_filled(struct one *o, unsigned i)
{
	struct state_run_opts opts = {.kind = STATE_READ};
	char key[16];
	int err;

	snprintf(key, sizeof(key), "f%06u", i);
	o->key = key;
	err = state_run(o->st, get_exec, o, &opts, NULL);
	return err;
}

static void full_body(void *arg)
{
	struct one *o = arg;
	struct state_stats stats;
	unsigned n = 0;
	int err = 0;

	CHECK_EQ(state_open(o->box.env, &o->opts, &o->st), 0);
	while (err == 0) {
		err = fill(o, STATE_CHANGE, n, 8, 40);
		n += err == 0 ? 8 : 0;
		CHECK(n < 100000);
	}
	CHECK_EQ(err, -NE_NOSPC);
	CHECK(n > 500);
	/* Reads go on, growth stays refused, deletes work, also very many of them. */
	CHECK_EQ(get_filled(o, 0), 0);
	CHECK_EQ(get_filled(o, n), -NE_NOENT);
	CHECK_EQ(fill(o, STATE_CHANGE, n, 8, 40), -NE_NOSPC);
	for (unsigned i = 0; i + 8 <= n / 2; i += 8) {
		CHECK_EQ(fill(o, STATE_RELEASE, i, 8, 0), 0);
	}
	/* The space is there again at once. */
	CHECK_EQ(fill(o, STATE_CHANGE, 0, 8, 40), 0);
	CHECK_EQ(get_filled(o, 0), 0);
	CHECK_EQ(get_filled(o, 8), -NE_NOENT);
	CHECK_EQ(state_checkpoint(o->st), 0);
	state_stats_get(o->st, &stats);
	CHECK(stats.checkpoints > 0 && !stats.nospc);
	state_close(o->st);
	CHECK_EQ(state_open(o->box.env, &o->opts, &o->st), 0);
	CHECK_EQ(get_filled(o, n - 1), 0);
	state_close(o->st);
}

TEST(full_by_the_map_size)
{
	struct one o;

	one_init(&o, 2);
	o.opts.kv_map_bytes = MIB;
	CHECK(box_run(&o.box, full_body, &o));
	box_fini(&o.box);
}

TEST(full_by_the_capacity_given)
{
	struct one o;

	one_init(&o, 3);
	o.opts.kv_map_bytes = 64 * MIB;
	o.opts.capacity_bytes = 2 * MIB;
	CHECK(box_run(&o.box, full_body, &o));
	box_fini(&o.box);
}

TEST(full_by_the_disk)
{
	for (uint64_t seed = 4; seed < 10; seed++) {
		struct one o;

		one_init(&o, seed);
		o.opts.kv_map_bytes = 4 * MIB;
		sim_disk_capacity_set(o.box.node, 2 * MIB + seed * 100 * KIB);
		box_quiet(true);
		CHECK(box_run(&o.box, full_body, &o));
		box_quiet(false);
		box_fini(&o.box);
	}
}

/* ---- bounds ---- */

static void bounds_body(void *arg)
{
	struct one *o = arg;
	struct state_stats stats;

	CHECK_EQ(state_open(o->box.env, &o->opts, &o->st), 0);
	for (unsigned i = 0; i < 3000; i++) {
		CHECK_EQ(fill(o, STATE_CHANGE, i % 700, 3, 200), 0);
		state_stats_get(o->st, &stats);
		/* One transaction may pass the bound, no more. */
		CHECK(stats.table_bytes <= 2 * o->opts.table_bytes + 16 * KIB);
		CHECK(stats.wal_segments <= 2 * 2 + 1);
		CHECK(stats.cache_bytes <= o->opts.cache_bytes);
	}
	CHECK(stats.checkpoints > 10);
	CHECK(stats.commits == 3000);
	state_close(o->st);
}

TEST(log_and_tables_are_bounded)
{
	struct one o;

	one_init(&o, 20);
	o.opts.wal_segments = 2;
	CHECK(box_run(&o.box, bounds_body, &o));
	box_fini(&o.box);
}

/* ---- the log is trimmed only as far as the checkpoint reaches ---- */

static void trim_checkpoint(void *arg)
{
	struct one *o = arg;

	CHECK_EQ(state_checkpoint(o->st), 0);
}

static void trim_body(void *arg)
{
	struct one *o = arg;
	struct state_stats stats;
	unsigned i = 400;

	CHECK_EQ(state_open(o->box.env, &o->opts, &o->st), 0);
	CHECK_EQ(fill(o, STATE_CHANGE, 0, 100, 10), 0);
	CHECK_EQ(env_spawn(o->box.env, "checkpoint", trim_checkpoint, o), 0);
	env_yield(o->box.env);
	do {
		/* Segments fill up while the table goes into the checkpoint, one record a batch. */
		CHECK_EQ(fill(o, STATE_CHANGE, i++, 1, 1000), 0);
		env_sleep(o->box.env, 100 * NS_PER_US);
		state_stats_get(o->st, &stats);
	} while (stats.checkpoints == 0);
	state_wait_durable(o->st, state_last_lsn(o->st));
	CHECK(stats.wal_segments > 3);
	o->size = i;
	/* Ends here, without closing. */
}

static void trim_verify(void *arg)
{
	struct one *o = arg;
	unsigned end = o->size;

	CHECK_EQ(state_open(o->box.env, &o->opts, &o->st), 0);
	for (unsigned i = 0; i < 100; i++) {
		CHECK_EQ(get_filled(o, i), 0);
	}
	for (unsigned i = 400; i < end; i++) {
		CHECK_EQ(get_filled(o, i), 0);
	}
	CHECK_EQ(get_filled(o, 100), -NE_NOENT);
	CHECK_EQ(get_filled(o, end), -NE_NOENT);
	state_close(o->st);
}

TEST(trimmed_only_as_far_as_checkpointed)
{
	struct one o;

	one_init(&o, 24);
	o.opts.batch_ops = 1;
	o.opts.wal_segments = 100;
	o.opts.table_bytes = 16 * MIB;
	o.opts.kv_map_bytes = 256 * MIB;
	CHECK(box_run_then(&o.box, trim_body, &o, SIM_POWER_LOSS));
	CHECK(box_run(&o.box, trim_verify, &o));
	box_fini(&o.box);
}

/* ---- a range over many deleted names ---- */

static int range_count(void *ctx, const struct state_rec *rec)
{
	struct one *o = ctx;

	CHECK_EQ(rec->key_len, 7);
	o->count++;
	return 0;
}

static int desert_exec(struct state_txn *txn, void *ctx)
{
	struct one *o = ctx;
	struct state_range range = {.from = "f", .from_len = 1, .to = "g", .to_len = 1, .max = 10};

	o->count = 0;
	o->first++;
	return state_range(txn, &range, range_count, o);
}

static void desert_body(void *arg)
{
	struct one *o = arg;
	struct state_run_opts opts = {.kind = STATE_READ};

	CHECK_EQ(state_open(o->box.env, &o->opts, &o->st), 0);
	for (unsigned i = 0; i < 20000; i += 100) {
		CHECK_EQ(fill(o, STATE_CHANGE, i, 100, 10), 0);
	}
	CHECK_EQ(state_checkpoint(o->st), 0);
	for (unsigned i = 0; i < 19995; i += 5) {
		CHECK_EQ(fill(o, STATE_RELEASE, i, 5, 0), 0);
	}
	o->first = 0;
	CHECK_EQ(state_run(o->st, desert_exec, o, &opts, NULL), 0);
	CHECK_EQ(o->count, 5);
	CHECK(o->first < 14); /* rounds: each fetch is at least as large as all before */
	state_close(o->st);
}

TEST(a_range_over_a_desert_of_deleted_names)
{
	struct one o;

	one_init(&o, 21);
	o.opts.table_bytes = 16 * MIB;
	o.opts.kv_map_bytes = 256 * MIB;
	o.opts.wal_segment_bytes = 4 * MIB;
	CHECK(box_run(&o.box, desert_body, &o));
	box_fini(&o.box);
}

/* ---- too big, locked ---- */

static void limits_body(void *arg)
{
	struct one *o = arg;
	struct state *other = NULL;

	CHECK_EQ(state_open(o->box.env, &o->opts, &o->st), 0);
	CHECK_EQ(fill(o, STATE_CHANGE, 0, 100, 1000), -NE_TOOBIG);
	CHECK_EQ(get_filled(o, 0), -NE_NOENT);
	CHECK_EQ(state_open(o->box.env, &o->opts, &other), -NE_LOCKED);
	state_close(o->st);
}

TEST(too_big_and_locked)
{
	struct one o;

	one_init(&o, 22);
	CHECK(box_run(&o.box, limits_body, &o));
	box_fini(&o.box);
}

/* ---- inspection ---- */

struct seen {
	unsigned commits, incarnations, clean, puts, dels, records;
	uint64_t lsn;
};

static int seen_op(void *ctx, const struct state_op *op)
{
	struct seen *s = ctx;

	s->puts += !op->del;
	s->dels += op->del;
	return 0;
}

static int seen_wal(void *ctx, const struct state_wal_view *rec)
{
	struct seen *s = ctx;
	uint64_t session = 0;

	CHECK(rec->lsn > s->lsn && strlen(rec->file) == 20 && rec->offset >= 4096);
	s->lsn = rec->lsn;
	s->incarnations += rec->type == STATE_WAL_INCARNATION;
	s->clean += rec->type == STATE_WAL_CLEAN;
	if (rec->type == STATE_WAL_COMMIT) {
		s->commits++;
		CHECK_EQ(state_commit_decode(rec->payload, rec->len, &session, seen_op, s), 0);
		CHECK_EQ(session, 21);
		CHECK_EQ(state_commit_decode(rec->payload, rec->len - 1, &session, seen_op, s),
			-NE_CORRUPT);
	}
	return 0;
}

static int seen_kv(void *ctx, const struct state_rec *rec)
{
	struct seen *s = ctx;

	CHECK(rec->key_len > 0);
	s->records++;
	return 0;
}

static void inspect(struct env *env, const char *dir, enum state_kv_kind kind)
{
	struct one o = {.opts = {.dir = dir,
				.kv_kind = kind,
				.create = true,
				.wal_segment_bytes = MIB,
				.kv_map_bytes = 64 * MIB}};
	struct seen s = {.lsn = 0};
	uint64_t kv_at = 0, a = 0, b = 0;

	CHECK_EQ(state_open(env, &o.opts, &o.st), 0);
	CHECK_EQ(one_run(&o, put_exec, STATE_CHANGE, 21, PAIR("a", "1"), &a), 0);
	CHECK_EQ(state_checkpoint(o.st), 0);
	CHECK_EQ(one_run(&o, put_exec, STATE_CHANGE, 21, PAIR("b", "2"), &b), 0);
	CHECK_EQ(one_run(&o, del_exec, STATE_RELEASE, 21, PAIR("a", ""), &b), 0);
	state_close(o.st);
	CHECK_EQ(state_wal_inspect(env, dir, seen_wal, &s), 0);
	CHECK_EQ(s.commits, 3);
	CHECK_EQ(s.incarnations, 1);
	CHECK_EQ(s.clean, 1);
	CHECK(s.puts >= 2 && s.dels >= 1);
	CHECK_EQ(s.lsn, b + 1);
	CHECK_EQ(state_kv_inspect(env, dir, kind, seen_kv, &s, &kv_at), 0);
	CHECK_EQ(s.records, 1);
	CHECK_EQ(kv_at, a);
	/* Looking changed nothing. */
	o.opts.create = false;
	CHECK_EQ(state_open(env, &o.opts, &o.st), 0);
	CHECK_EQ(one_run(&o, get_exec, STATE_READ, 0, PAIR("b", ""), NULL), 0);
	CHECK_EQ(one_run(&o, get_exec, STATE_READ, 0, PAIR("a", ""), NULL), -NE_NOENT);
	state_close(o.st);
}

static void inspect_sim(void *arg)
{
	struct one *o = arg;

	inspect(o->box.env, "/s", STATE_KV_MODEL);
}

static void inspect_real(void *arg)
{
	struct real *r = arg;

	inspect(r->env, r->dir, STATE_KV_LMDB);
}

TEST(inspection)
{
	struct one o;
	struct real r;

	one_init(&o, 23);
	CHECK(box_run(&o.box, inspect_sim, &o));
	box_fini(&o.box);
	real_run(&r, inspect_real);
}

/* ---- out of memory ---- */

struct nomem {
	struct box box;
	uint64_t nth;
	int err;
	bool ended;
};

/* The n-th allocation of an open, a request that has to fetch, and a close fails. */
static void nomem_body(void *arg)
{
	struct nomem *t = arg;
	struct one o = {.opts = {.dir = "/s",
				.kv_kind = STATE_KV_MODEL,
				.create = true,
				.wal_segment_bytes = 64 * KIB,
				.kv_map_bytes = 2 * MIB}};

	mem_fail_nth(t->nth);
	t->err = state_open(t->box.env, &o.opts, &o.st);
	if (t->err == 0) {
		t->err = one_run(&o, get_exec, STATE_READ, 0, PAIR("k", ""), NULL);
		t->err = t->err == -NE_NOENT ? 0 : t->err;
		state_close(o.st);
	}
	t->ended = !mem_fail_fired();
	mem_fail_nth(0);
}

TEST(every_allocation_may_fail)
{
	struct nomem t = {.nth = 0};
	unsigned died = 0;

	box_quiet(true);
	while (!t.ended) {
		bool whole;

		t.nth++;
		CHECK(t.nth < 1000);
		box_init(&t.box, t.nth);
		whole = box_run(&t.box, nomem_body, &t);
		mem_fail_nth(0);
		died += !whole;
		CHECK(!whole || t.err == 0 || t.err == -NE_NOMEM);
		/* Killed or refused, nothing is left behind, and the next start works. */
		CHECK_EQ(sim_node_heap_blocks(t.box.node), 0);
		box_fini(&t.box);
	}
	box_quiet(false);
	CHECK(t.nth > 20);
	CHECK(died < t.nth / 2); /* the node stops only where it cannot go back */
}
