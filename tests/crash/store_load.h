/*
 * A load for the state machine with a reference beside it: fibers run random transactions over a small
 * universe of keys, and every value, absence and range they read is compared with the reference.
 *
 * The reference is the history of commits: each changes a few keys, the first of which is a counter. After
 * a crash the counter says how many commits survived; all keys must then be as that prefix left them, and
 * the prefix must reach at least to the last commit that was acknowledged. History lives in static memory,
 * outside of the simulated process.
 */
#ifndef NACRE_TESTS_CRASH_STORE_LOAD_H
#define NACRE_TESTS_CRASH_STORE_LOAD_H

#include "../unit/store/box.h"
#include "store/state.h"

#define LOAD_KEYS 300
#define LOAD_COMMITS 4096
#define LOAD_WRITES 6
#define LOAD_OPS 12

enum load_op_kind {
	LOAD_GET,
	LOAD_RANGE,
	LOAD_PUT,
	LOAD_DEL,
};

struct load_op {
	enum load_op_kind kind;
	unsigned key; /* 1..LOAD_KEYS - 1; 0 is the counter */
	unsigned key2;
	unsigned max;
	uint32_t version; /* of the value put */
};

struct load_write {
	unsigned key;
	uint32_t version; /* 0: deleted */
};

struct load_commit {
	uint64_t lsn;
	unsigned count;
	struct load_write writes[LOAD_WRITES];
};

struct load {
	struct env *env;
	struct state *st;
	struct state_opts opts;
	struct prng rng;
	unsigned fibers;
	unsigned per_fiber;
	unsigned checkpoint_every; /* one in so many transactions asks for one and waits */
	unsigned running;
	bool durable; /* acknowledged when durable, else when written */
	bool leave; /* end without closing */
	uint32_t version;
	uint64_t recoveries;
	bool canary; /* a loss is noted instead of failing the test */
	bool lost;
	unsigned gets, ranges, misses;
	int err;
	struct env_waitq q;
	/* the reference */
	unsigned commits;
	unsigned acked; /* commits that must survive */
	uint32_t now[LOAD_KEYS];
	struct load_commit history[LOAD_COMMITS];
};

struct load_run {
	struct load *l;
	unsigned count;
	unsigned runs;
	uint32_t now0;
	struct load_op ops[LOAD_OPS];
};

static inline uint32_t load_key(unsigned key, uint8_t buf[LIM_KV_KEY_MAX])
{
	uint32_t len = 3 + (key % 7 == 0 ? key % 200 : 0);

	memset(buf, 'x', LIM_KV_KEY_MAX);
	buf[0] = 'k';
	be16_store(buf + 1, (uint16_t)key);
	return len;
}

static inline uint32_t load_val_len(uint32_t version)
{
	return version % 11 == 0 ? version * 31 % (LIM_KV_VALUE_MAX + 1) : version % 50;
}

static inline bool load_val_is(uint32_t version, const struct state_val *val)
{
	const uint8_t *p = val->data;

	if (val->len != load_val_len(version)) {
		return false;
	}
	for (uint32_t i = 0; i < val->len; i++) {
		if (p[i] != (uint8_t)(version + i * 7)) {
			return false;
		}
	}
	return true;
}

static inline int load_put(struct state_txn *txn, unsigned key, uint32_t version)
{
	static uint8_t val[LIM_KV_VALUE_MAX];
	uint8_t k[LIM_KV_KEY_MAX];
	uint32_t klen = load_key(key, k);
	uint32_t len = load_val_len(version);

	for (uint32_t i = 0; i < len; i++) {
		val[i] = (uint8_t)(version + i * 7);
	}
	return state_put(txn, k, klen, val, len);
}

/* What the transaction should see at a key: its own writes so far, or the reference. */
static inline uint32_t load_expect(const struct load_run *r, unsigned upto, unsigned key)
{
	for (unsigned i = upto; i-- > 0;) {
		const struct load_op *op = &r->ops[i];

		if (op->key == key && op->kind == LOAD_PUT) {
			return op->version;
		}
		if (op->key == key && op->kind == LOAD_DEL) {
			return 0;
		}
	}
	return r->l->now[key];
}

struct load_range {
	struct load_run *r;
	unsigned upto;
	unsigned key; /* next to be expected at the earliest */
	unsigned count;
};

static inline int load_range_rec(void *ctx, const struct state_rec *rec)
{
	struct load_range *g = ctx;
	uint8_t k[LIM_KV_KEY_MAX];
	unsigned key;

	CHECK(rec->key_len >= 3);
	key = be16_load((const uint8_t *)rec->key + 1);
	CHECK(key < LOAD_KEYS && key >= g->key);
	for (; g->key < key; g->key++) {
		CHECK_EQ(load_expect(g->r, g->upto, g->key), 0);
	}
	CHECK_EQ(rec->key_len, load_key(key, k));
	CHECK(memcmp(rec->key, k, rec->key_len) == 0);
	if (key != 0) {
		CHECK(load_val_is(load_expect(g->r, g->upto, key), &rec->val));
	}
	g->key++;
	g->count++;
	return 0;
}

static inline int load_exec_range(struct state_txn *txn, struct load_run *r, unsigned i)
{
	const struct load_op *op = &r->ops[i];
	struct load_range g = {.r = r, .upto = i, .key = op->key};
	uint8_t from[LIM_KV_KEY_MAX], to[LIM_KV_KEY_MAX];
	struct state_range range = {.from = from, .to = to, .max = op->max};
	int err;

	(void)load_key(op->key, from);
	(void)load_key(op->key2, to);
	range.from_len = 3;
	range.to_len = 3;
	err = state_range(txn, &range, load_range_rec, &g);
	CHECK(err == 0 || err == -NE_MISSING_KEY);
	CHECK(g.count <= op->max);
	if (err == 0 && g.count < op->max) {
		for (; g.key < op->key2; g.key++) {
			CHECK_EQ(load_expect(r, i, g.key), 0);
		}
		r->l->ranges++;
	}
	return err;
}

static inline int load_exec_get(struct state_txn *txn, struct load_run *r, unsigned i)
{
	uint32_t want = load_expect(r, i, r->ops[i].key);
	uint8_t k[LIM_KV_KEY_MAX];
	struct state_val val;
	int err = state_get(txn, k, load_key(r->ops[i].key, k), &val);

	CHECK(err == 0 || err == -NE_NOENT || err == -NE_MISSING_KEY);
	if (err == 0) {
		CHECK(load_val_is(want, &val));
	}
	if (err == -NE_NOENT) {
		CHECK_EQ(want, 0);
	}
	r->l->gets += err != -NE_MISSING_KEY;
	return err == -NE_NOENT ? 0 : err;
}

static inline int load_exec(struct state_txn *txn, void *ctx)
{
	struct load_run *r = ctx;
	uint8_t k[LIM_KV_KEY_MAX];
	bool missing = false;
	bool writes = false;
	int err = 0;

	r->runs++;
	for (unsigned i = 0; i < r->count && err == 0; i++) {
		const struct load_op *op = &r->ops[i];

		if (op->kind == LOAD_GET) {
			err = load_exec_get(txn, r, i);
		} else if (op->kind == LOAD_RANGE) {
			err = load_exec_range(txn, r, i);
		} else if (op->kind == LOAD_PUT) {
			writes = true;
			err = load_put(txn, op->key, op->version);
		} else {
			writes = true;
			err = state_del(txn, k, load_key(op->key, k));
		}
		if (err == -NE_MISSING_KEY && r->ops[i].key % 2 == 0) {
			missing = true; /* gather more before asking */
			err = 0;
		}
	}
	if (err == 0 && writes) {
		uint8_t count[4];

		le32_store(count, r->l->commits + 1);
		err = state_put(txn, k, load_key(0, k), count, 4);
	}
	r->l->misses += missing || err == -NE_MISSING_KEY;
	return missing && err == 0 ? -NE_MISSING_KEY : err;
}

static inline void load_plan(struct load *l, struct load_run *r)
{
	unsigned writes = 0;

	*r = (struct load_run){.l = l, .count = 1 + (unsigned)prng_below(&l->rng, LOAD_OPS)};
	for (unsigned i = 0; i < r->count; i++) {
		struct load_op *op = &r->ops[i];

		op->key = 1 + (unsigned)prng_below(&l->rng, LOAD_KEYS - 1);
		op->key2 = op->key + (unsigned)prng_below(&l->rng, 1 + LOAD_KEYS - op->key);
		op->max = 1 + (unsigned)prng_below(&l->rng, 60);
		op->kind = (enum load_op_kind)prng_below(&l->rng, 4);
		if (op->kind >= LOAD_PUT && writes++ == LOAD_WRITES) {
			op->kind = LOAD_GET;
			writes--;
		}
		if (op->kind == LOAD_PUT) {
			op->version = ++l->version;
		}
	}
}

/* The transaction is in: the reference follows. */
static inline void load_commit(struct load *l, const struct load_run *r, uint64_t lsn)
{
	struct load_commit *c = &l->history[l->commits];

	CHECK(l->commits < LOAD_COMMITS);
	CHECK(l->commits == 0 || lsn > l->history[l->commits - 1].lsn);
	*c = (struct load_commit){.lsn = lsn};
	for (unsigned i = 0; i < r->count; i++) {
		if (r->ops[i].kind >= LOAD_PUT) {
			uint32_t version = r->ops[i].kind == LOAD_PUT ? r->ops[i].version : 0;

			c->writes[c->count++] = (struct load_write){r->ops[i].key, version};
			l->now[r->ops[i].key] = version;
		}
	}
	l->commits++;
}

static inline void load_one(struct load *l)
{
	struct state_run_opts opts = {.kind = STATE_CHANGE, .session = 5};
	struct load_run r;
	unsigned number;
	uint64_t lsn = 0;
	int err;

	load_plan(l, &r);
	err = state_run(l->st, load_exec, &r, &opts, &lsn);
	if (err != 0) {
		l->err = err;
		return;
	}
	if (lsn == 0) {
		return;
	}
	load_commit(l, &r, lsn);
	number = l->commits;
	if (l->durable) {
		state_wait_durable(l->st, lsn);
		CHECK(state_committed_lsn(l->st) >= lsn);
	} else {
		state_wait_written(l->st, lsn);
	}
	if (number > l->acked) {
		l->acked = number;
	}
}

static inline void load_fiber(void *arg)
{
	struct load *l = arg;

	for (unsigned i = 0; i < l->per_fiber && l->err == 0; i++) {
		load_one(l);
		if (l->checkpoint_every != 0 && prng_below(&l->rng, l->checkpoint_every) == 0) {
			int err = state_checkpoint(l->st);

			CHECK(err == 0 || err == -NE_NOSPC);
		}
	}
	l->running--;
	env_wake_all(l->env, &l->q);
}

struct load_count {
	struct load *l;
	uint32_t count;
};

static inline int load_count_exec(struct state_txn *txn, void *ctx)
{
	struct load_count *c = ctx;
	uint8_t k[LIM_KV_KEY_MAX];
	struct state_val val;
	int err = state_get(txn, k, load_key(0, k), &val);

	if (err == 0) {
		CHECK_EQ(val.len, 4);
		c->count = le32_load(val.data);
	}
	return err == -NE_NOENT ? 0 : err;
}

/* After a start: how many commits survived; the reference goes back to there; everything is compared. */
static inline void load_verify(struct load *l)
{
	struct state_run_opts opts = {.kind = STATE_READ};
	struct load_count c = {.l = l};
	struct load_run r = {.l = l, .count = 1};

	CHECK_EQ(state_run(l->st, load_count_exec, &c, &opts, NULL), 0);
	if (l->canary && c.count < l->acked) {
		l->lost = true;
		return;
	}
	if (c.count < l->acked || c.count > l->commits + 1) {
		fprintf(stderr, "survived %u, acknowledged %u, committed %u\n", c.count, l->acked,
			l->commits);
	}
	CHECK(c.count >= l->acked);
	CHECK(c.count <= l->commits);
	memset(l->now, 0, sizeof(l->now));
	for (unsigned i = 0; i < c.count; i++) {
		for (unsigned w = 0; w < l->history[i].count; w++) {
			l->now[l->history[i].writes[w].key] = l->history[i].writes[w].version;
		}
	}
	if (c.count > 0) {
		CHECK(state_last_lsn(l->st) >= l->history[c.count - 1].lsn);
	}
	CHECK(state_incarnation(l->st) > 0);
	l->commits = c.count;
	l->acked = c.count;
	r.ops[0] = (struct load_op){
		.kind = LOAD_RANGE, .key = 0, .key2 = LOAD_KEYS, .max = 2 * LOAD_KEYS};
	CHECK_EQ(state_run(l->st, load_exec, &r, &opts, NULL), 0);
	l->recoveries++;
}

/* The main fiber of a process: recover, verify, run, close. */
static inline void load_main(void *arg)
{
	struct load *l = arg;
	int err;

	l->st = NULL;
	l->err = 0;
	env_waitq_init(&l->q);
	err = state_open(l->env, &l->opts, &l->st);
	if (err != 0) {
		l->err = err;
		return;
	}
	load_verify(l);
	if (l->lost) {
		return;
	}
	l->running = 0;
	for (unsigned i = 0; i < l->fibers; i++) {
		CHECK_EQ(env_spawn(l->env, "load", load_fiber, l), 0);
		l->running++;
	}
	while (l->running > 0) {
		CHECK_EQ(env_wait(l->env, &l->q, ENV_FOREVER, ENV_WAIT_PLAIN), 0);
	}
	if (!l->leave) {
		state_close(l->st);
		l->acked = l->commits;
	}
}

/* Small bounds, so that everything happens often. */
static inline void load_init(struct load *l, struct env *env, const char *dir, uint64_t seed)
{
	memset(l, 0, sizeof(*l));
	l->env = env;
	prng_init(&l->rng, seed);
	l->opts = (struct state_opts){.dir = dir,
		.kv_kind = STATE_KV_MODEL,
		.create = true,
		.wal_segment_bytes = 32 * KIB,
		.wal_segments = 2,
		.table_bytes = 24 * KIB,
		.cache_bytes = 4 * KIB,
		.batch_ops = (uint32_t)(1 + seed % 3 * 9),
		.kv_map_bytes = 4 * MIB};
	l->fibers = 6;
	l->per_fiber = 40;
	l->checkpoint_every = 30;
}

#endif
