/*
 * Requests that wait for an OST that is down (RULES D1): executed once whoever dies meanwhile, in nobody's way.
 */
#include <sys/stat.h>

#include "data_box.h"
#include "test.h"

#define RW (W_OPEN_FLAGS_READ | W_OPEN_FLAGS_WRITE)
#define CALLERS 40

static uint8_t buf[1 << 17];
static uint8_t got[1 << 17];
static unsigned stage;
static unsigned callers_left;
static struct dcli_box *caller_box;
static struct fid caller_fid[CALLERS];
static unsigned caller_next;

static void run(dcli_fn *first, dcli_fn *second, unsigned osts)
{
	struct dbox *b = calloc(1, sizeof(*b));
	dcli_fn *fns[2] = {first, second};

	CHECK(b != NULL);
	stage = 0;
	for (size_t i = 0; i < sizeof(buf); i++) {
		buf[i] = (uint8_t)(i * 13 + (i >> 8));
	}
	dbox_init(b, 5, osts);
	dbox_run(b, fns, second != NULL ? 2 : 1);
	dbox_fini(b);
	free(b);
}

static void wait_stage(struct dcli_box *c, unsigned n)
{
	while (stage < n) {
		env_sleep(c->env, NS_PER_MS);
	}
}

static void ost_down(struct dcli_box *c, unsigned ost)
{
	c->box->ost[ost].hold = true;
	dbox_crash(&c->box->ost[ost], SIM_KILL);
}

/* ---- once ---- */

static void cut_off(struct dcli_box *c, bool off)
{
	if (off) {
		sim_partition(c->box->sim, c->node, c->box->mdt.node, true);
		sim_partition(c->box->sim, c->box->mdt.node, c->node, true);
	} else {
		sim_partition_heal(c->box->sim);
	}
}

/* Sees another's truncate, lets the MDT die before that one hears of it, and writes behind its end. */
static void writes_after(struct dcli_box *c)
{
	struct w_attr attr;
	struct dfile *f;

	wait_stage(c, 1);
	CHECK_EQ(dc_lookup(c, "f", &attr), 0);
	while (attr.size != 5000) {
		env_sleep(c->env, NS_PER_MS);
		CHECK_EQ(dc_getattr(c, attr.fid, &attr), 0);
	}
	cut_off(c->box->cli[0], true);
	dbox_crash(&c->box->mdt, SIM_KILL);
	dbox_up(&c->box->ost[0]);
	attr.state |= W_ATTR_STATE_SETTLING;
	CHECK_EQ(dc_settle(c, &attr), 0);
	f = dc_open(c, "f", RW);
	CHECK_EQ(dc_write(c, f, 5000, buf + 5000, 2000), 0);
	CHECK_EQ(dc_close(c, f, true), 0);
	cut_off(c->box->cli[0], false);
	wait_stage(c, 2);
	f = dc_open(c, "f", RW);
	CHECK_EQ(dc_read(c, f, 0, got, sizeof(got)), 7000);
	CHECK_EQ(memcmp(got, buf, 7000), 0);
	CHECK_EQ(dc_close(c, f, true), 0);
	dbox_settle(c);
}

static void truncates(struct dcli_box *c)
{
	struct dfile *f = dc_create(c, "f", NULL);
	struct fid fid = f->fid;

	CHECK_EQ(dc_write(c, f, 0, buf, 100000), 0);
	CHECK_EQ(dc_close(c, f, true), 0);
	ost_down(c, 0);
	stage = 1;
	CHECK_EQ(dc_truncate(c, fid, 0, 5000), 0);
	stage = 2;
	wait_stage(c, 3);
}

static void writes_after_done(struct dcli_box *c)
{
	writes_after(c);
	stage = 3;
}

TEST(a_truncate_is_executed_once)
{
	run(truncates, writes_after_done, 1);
}

/* ---- in nobody's way ---- */

static void caller(void *arg)
{
	struct dcli_box *c = caller_box;
	unsigned i = caller_next++;

	(void)arg;
	CHECK_EQ(dc_truncate(c, caller_fid[i], 0, 6000), 0);
	callers_left--;
}

static void crowd(struct dcli_box *c)
{
	struct dfile *f;
	struct w_attr attr;
	uint64_t start;
	char name[16];

	for (unsigned i = 0; i < CALLERS; i++) {
		snprintf(name, sizeof(name), "f%u", i);
		f = dc_create(c, name, NULL);
		caller_fid[i] = f->fid;
		CHECK_EQ(dc_write(c, f, 0, buf, 70000), 0);
		CHECK_EQ(dc_close(c, f, true), 0);
	}
	caller_box = c;
	caller_next = 0;
	callers_left = CALLERS;
	ost_down(c, 0);
	for (unsigned i = 0; i < CALLERS; i++) {
		CHECK_EQ(env_spawn(c->env, "caller", caller, NULL), 0);
	}
	env_sleep(c->env, NS_PER_S);
	CHECK_EQ(callers_left, CALLERS);
	/* All are logged, so everybody sees them, and nothing of it is in the way. */
	start = env_now(c->env);
	for (unsigned i = 0; i < CALLERS; i++) {
		CHECK_EQ(dc_getattr(c, caller_fid[i], &attr), 0);
		CHECK_EQ(attr.size, 6000);
		CHECK((attr.state & W_ATTR_STATE_SETTLING) == 0);
	}
	f = dc_create(c, "other", NULL);
	CHECK_EQ(dc_write(c, f, 0, buf, 3000), 0);
	CHECK_EQ(dc_close(c, f, false), 0);
	CHECK(env_now(c->env) - start < NS_PER_S);
	/* A handle of a file that waits can be closed, too. */
	dbox_up(&c->box->ost[0]);
	start = env_now(c->env);
	while (callers_left > 0) {
		env_sleep(c->env, NS_PER_MS);
	}
	CHECK(env_now(c->env) - start < 5 * NS_PER_S);
	dbox_settle(c);
}

TEST(nobody_is_held_up)
{
	run(crowd, NULL, 1);
}

/* ---- closes ---- */

/* A session with a handle of such a file ends, and so does the handle: neither waits for the OST. */
static void close_waits_for_nobody(struct dcli_box *c)
{
	struct dfile *f = dc_create(c, "f", NULL);
	uint64_t start;

	CHECK_EQ(dc_write(c, f, 0, buf, 100000), 0);
	caller_box = c;
	caller_next = 0;
	callers_left = 1;
	caller_fid[0] = f->fid;
	ost_down(c, 0);
	CHECK_EQ(env_spawn(c->env, "caller", caller, NULL), 0);
	env_sleep(c->env, NS_PER_S);
	start = env_now(c->env);
	CHECK_EQ(dc_close(c, f, false), 0);
	CHECK(env_now(c->env) - start < NS_PER_S);
	CHECK_EQ(callers_left, 1);
	dbox_up(&c->box->ost[0]);
	while (callers_left > 0) {
		env_sleep(c->env, NS_PER_MS);
	}
	dbox_settle(c);
}

TEST(closes_do_not_wait)
{
	run(close_waits_for_nobody, NULL, 1);
}
