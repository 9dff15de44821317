/*
 * The state machine with its n-th allocation or disk operation failing.
 *
 * A disk with some transactions in the log is opened under the fault; more transactions, a checkpoint in the
 * middle, an orderly stop. Each transaction puts two keys of the same value. Afterwards the store opens
 * without faults; what was said to be durable is there, and no transaction is there by half.
 */
#include "box.h"
#include "store/state.h"
#include "sweep.h"

#define BEFORE 5
#define TXNS 14
#define CHECKPOINT_AT 9

static struct work {
	struct box box;
	struct fault *fault;
	unsigned from;
	unsigned to;
	unsigned durable; /* transactions said to be */
	unsigned found;
} work;

static struct state *work_open(int *ret_err)
{
	struct state_opts opts = {.dir = "/s",
		.kv_kind = STATE_KV_MODEL,
		.create = true,
		.wal_segment_bytes = 16 * KIB,
		.kv_map_bytes = 2 * MIB};
	struct state *st = NULL;

	*ret_err = state_open(work.box.env, &opts, &st);
	return st;
}

static void key_make(char *key, char which, unsigned i)
{
	snprintf(key, 16, "%c%04u", which, i);
}

static int put_exec(struct state_txn *txn, void *ctx)
{
	unsigned *i = ctx;
	char key[16];
	int err;

	key_make(key, 'a', *i);
	err = state_put(txn, key, 5, i, sizeof(*i));
	key_make(key, 'b', *i);
	return err != 0 ? err : state_put(txn, key, 5, i, sizeof(*i));
}

/* Works until something fails. */
static void work_body(void *arg _unused_)
{
	static const struct state_run_opts run = {.kind = STATE_CHANGE, .session = 3};
	struct state *st;
	uint64_t lsn;
	int err;

	if (work.fault != NULL) {
		fault_arm(work.fault, work.box.sim, work.box.node);
	}
	st = work_open(&err);
	for (unsigned i = work.from; i < work.to && err == 0; i++) {
		err = state_run(st, put_exec, &i, &run, &lsn);
		if (err == 0) {
			state_wait_durable(st, lsn);
			work.durable = i + 1;
		}
		if (err == 0 && i == CHECKPOINT_AT) {
			err = state_checkpoint(st);
		}
	}
	CHECK(work.fault != NULL || err == 0);
	CHECK(err == 0 || fault_met(work.fault));
	state_close(st);
}

static int get_exec(struct state_txn *txn, void *ctx)
{
	unsigned *i = ctx;
	unsigned there = 0;
	int missing = 0;

	for (unsigned k = 0; k < 2; k++) {
		struct state_val val;
		char key[16];
		int err;

		key_make(key, k == 0 ? 'a' : 'b', *i);
		err = state_get(txn, key, 5, &val);
		if (err == -NE_MISSING_KEY) {
			missing = err;
			continue;
		}
		CHECK(err == 0 || err == -NE_NOENT);
		CHECK(err != 0 || (val.len == sizeof(*i) && memcmp(val.data, i, sizeof(*i)) == 0));
		there += err == 0;
	}
	if (missing == 0) {
		CHECK(there == 2 || (there == 0 && *i >= work.durable));
		work.found += there == 2;
	}
	return missing;
}

static void check_body(void *arg _unused_)
{
	static const struct state_run_opts run = {.kind = STATE_READ};
	struct state *st;
	int err;

	st = work_open(&err);
	CHECK_EQ(err, 0);
	for (unsigned i = 0; i < TXNS; i++) {
		CHECK_EQ(state_run(st, get_exec, &i, &run, NULL), 0);
	}
	state_close(st);
}

static bool once(struct fault *f)
{
	bool met;

	memset(&work, 0, sizeof(work));
	box_init(&work.box, f->n);
	work.to = BEFORE;
	CHECK(box_run(&work.box, work_body, NULL));
	work.fault = f;
	work.from = BEFORE;
	work.to = TXNS;
	(void)box_run_then(&work.box, work_body, NULL, f->n % 2 == 0 ? SIM_KILL : SIM_POWER_LOSS);
	met = fault_disarm(f);
	CHECK_EQ(sim_node_heap_blocks(work.box.node), 0);
	CHECK(box_run(&work.box, check_body, NULL));
	CHECK(met || work.found == TXNS);
	box_fini(&work.box);
	return met;
}

#define STORE_TEST(name, kind) \
	TEST(name) \
	{ \
		box_quiet(true); \
		sweep(kind, 0, once); \
		box_quiet(false); \
	}

STORE_TEST(store_allocations, FAULT_ALLOC)
STORE_TEST(store_reads, FAULT_READ)
STORE_TEST(store_writes, FAULT_WRITE)
STORE_TEST(store_syncs, FAULT_SYNC)
STORE_TEST(store_reservations, FAULT_RESERVE)
STORE_TEST(store_names, FAULT_NAMES)
