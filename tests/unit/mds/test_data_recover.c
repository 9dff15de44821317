/*
 * What happens when somebody is gone: OSTs that are down, a restarted MDT with opens to re-claim, clients that die
 * with files open, orphans, or the append token.
 */
#include <sys/stat.h>

#include "data_box.h"
#include "test.h"

#define RW (W_OPEN_FLAGS_READ | W_OPEN_FLAGS_WRITE)

static uint8_t buf[1 << 19];
static uint8_t got[1 << 19];
static unsigned stage;

static void fill(uint8_t seed)
{
	for (size_t i = 0; i < sizeof(buf); i++) {
		buf[i] = (uint8_t)(seed + i * 11 + (i >> 8));
	}
}

static void run(dcli_fn *first, dcli_fn *second, unsigned osts)
{
	struct dbox *b = calloc(1, sizeof(*b));
	dcli_fn *fns[2] = {first, second};

	stage = 0;
	fill(1);
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

static void up_later(void *arg)
{
	dbox_up(arg);
}

static void down(struct dcli_box *c, unsigned ost)
{
	struct dserver *s = &c->box->ost[ost];

	s->hold = true;
	dbox_crash(s, SIM_POWER_LOSS);
	/* Until the MDT has heard of it: nobody closes the connection after a power loss. */
	env_sleep(c->env, 60 * NS_PER_S);
}

static struct w_layout on_ost(uint32_t *index)
{
	struct w_layout l = {.stripe_size = 64 * KIB, .first_ost = 0xffff};

	l.osts.items = index;
	l.osts.count = 1;
	return l;
}

/* ---- OSTs ---- */

static void down_body(struct dcli_box *c)
{
	static uint32_t zero;
	struct w_layout l = on_ost(&zero);
	struct dfile *f = dc_create(c, "on0", &l);
	struct dfile *g;
	uint64_t before;
	char name[16];

	CHECK_EQ(dc_write(c, f, 0, buf, 100000), 0);
	g = dc_create(c, "dead", &l);
	CHECK_EQ(dc_write(c, g, 0, buf, 100000), 0);
	CHECK_EQ(dc_close(c, g, true), 0);
	down(c, 0);
	for (unsigned i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		g = dc_create(c, name, NULL);
		CHECK(g->osts[0] != 0);
		CHECK_EQ(dc_close(c, g, false), 0);
	}
	/* Its objects are destroyed when it is back. */
	CHECK_EQ(dc_unlink(c, "dead"), 0);
	before = env_now(c->env);
	sim_after(c->box->sim, 40 * NS_PER_S, up_later, &c->box->ost[0]);
	CHECK_EQ(dc_truncate(c, f->fid, f->handle, 5000), 0);
	CHECK(env_now(c->env) - before > 30 * NS_PER_S);
	CHECK_EQ(dc_read(c, f, 0, got, sizeof(got)), 5000);
	CHECK_EQ(memcmp(got, buf, 5000), 0);
	CHECK_EQ(dc_close(c, f, true), 0);
	dbox_settle(c);
	CHECK_EQ(dbox_objects(c->box), 1);
}

TEST(ost_down)
{
	run(down_body, NULL, 3);
}

/* The OST that was chosen goes before the data comes: another one is taken. */
static void moved_body(struct dcli_box *c)
{
	struct dfile *f = dc_create(c, "f", NULL);
	unsigned ost = f->osts[0];

	CHECK_EQ(dc_write(c, f, 0, buf, 3000), 0);
	down(c, ost);
	CHECK_EQ(dc_write(c, f, 3000, buf + 3000, 50000), 0);
	CHECK(f->osts[0] != ost);
	CHECK_EQ(dc_read(c, f, 0, got, sizeof(got)), 53000);
	CHECK_EQ(memcmp(got, buf, 53000), 0);
	CHECK_EQ(dc_close(c, f, true), 0);
	dbox_up(&c->box->ost[ost]);
	dbox_settle(c);
}

TEST(replaced)
{
	run(moved_body, NULL, 2);
}

static void nospace_body(struct dcli_box *c)
{
	struct dfile *f;
	struct w_layout l;

	dbox_states_set(c, W_TARGET_STATE_UP | W_TARGET_STATE_NO_CREATE);
	f = dc_create(c, "f", NULL);
	CHECK_EQ(f->geom.stripe_count, 0);
	CHECK_EQ(dc_write(c, f, 0, buf, 4000), 0);
	CHECK_EQ(dc_write(c, f, 4000, buf + 4000, 4000), -NE_NOSPC);
	CHECK_EQ(dc_read(c, f, 0, got, sizeof(got)), 4000);
	CHECK_EQ(memcmp(got, buf, 4000), 0);
	CHECK_EQ(dc_layout_get(c, f->fid, &l, NULL, NULL), 0);
	CHECK_EQ(l.osts.count, 0);
	CHECK_EQ(l.stripe_count, 1);
	dbox_states_set(c, W_TARGET_STATE_UP);
	CHECK_EQ(dc_write(c, f, 4000, buf + 4000, 4000), 0);
	CHECK_EQ(dc_read(c, f, 0, got, sizeof(got)), 8000);
	CHECK_EQ(memcmp(got, buf, 8000), 0);
	CHECK_EQ(dc_close(c, f, true), 0);
	dbox_settle(c);
}

TEST(no_osts)
{
	run(nospace_body, NULL, 2);
}

/* ---- the MDT ---- */

static void reclaim_body(struct dcli_box *c)
{
	struct dfile *f = dc_create(c, "f", NULL);
	struct dfile *g = dc_create(c, "g", NULL);
	struct w_attr attr;

	CHECK_EQ(dc_write(c, f, 0, buf, 100000), 0);
	CHECK_EQ(dc_write(c, g, 0, buf, 3000), 0);
	CHECK_EQ(dc_unlink(c, "g"), 0);
	dbox_crash(&c->box->mdt, SIM_KILL);
	CHECK_EQ(dc_read(c, g, 0, got, sizeof(got)), 3000);
	CHECK_EQ(c->reclaims, 2);
	CHECK_EQ(dc_write(c, f, 100000, buf, 1), 0);
	/* Its report is not believed: before it came back others may have changed the file. */
	f->size = 17;
	CHECK_EQ(dc_close(c, f, true), 0);
	CHECK_EQ(dc_write(c, g, 3000, buf + 3000, 100000), 0);
	CHECK_EQ(dc_read(c, g, 0, got, sizeof(got)), 103000);
	CHECK_EQ(memcmp(got, buf, 103000), 0);
	CHECK_EQ(dc_close(c, g, true), 0);
	dbox_settle(c);
	CHECK_EQ(dc_lookup(c, "f", &attr), 0);
	CHECK_EQ(attr.size, 100001);
	CHECK_EQ(dbox_objects(c->box), 1);
}

TEST(reclaims)
{
	run(reclaim_body, NULL, 2);
}

/* A client and the MDT die together: nobody re-claims. */
static void both_die(struct dcli_box *c)
{
	struct w_attr attr;

	wait_stage(c, 1);
	sim_node_crash(c->box->cli[1]->node, SIM_KILL);
	dbox_crash(&c->box->mdt, SIM_KILL);
	dbox_settle(c);
	CHECK_EQ(dc_lookup(c, "w", &attr), 0);
	CHECK_EQ(attr.size, 150000);
	CHECK_EQ(attr.state, W_ATTR_STATE_INSTANTIATED);
	CHECK_EQ(dbox_objects(c->box), 1);
}

static void leaves_open(struct dcli_box *c)
{
	struct dfile *f = dc_create(c, "w", NULL);
	struct dfile *g = dc_create(c, "o", NULL);

	CHECK_EQ(dc_write(c, f, 0, buf, 150000), 0);
	CHECK_EQ(dc_write(c, g, 0, buf, 150000), 0);
	CHECK_EQ(dc_unlink(c, "o"), 0);
	stage = 1;
	env_sleep(c->env, 1000 * NS_PER_S);
}

TEST(unclaimed)
{
	run(both_die, leaves_open, 2);
}

/* ---- clients ---- */

static void survivor(struct dcli_box *c)
{
	struct w_attr attr;

	wait_stage(c, 1);
	sim_node_crash(c->box->cli[1]->node, SIM_KILL);
	CHECK_EQ(dc_lookup(c, "w", &attr), 0);
	CHECK(attr.state & W_ATTR_STATE_SIZE_OPEN);
	for (unsigned i = 0; i < 400 && (attr.state & W_ATTR_STATE_SIZE_OPEN) != 0; i++) {
		env_sleep(c->env, NS_PER_S);
		CHECK_EQ(dc_lookup(c, "w", &attr), 0);
	}
	CHECK_EQ(attr.size, 150000);
	dbox_settle(c);
	CHECK_EQ(dbox_objects(c->box), 1);
}

TEST(client_dies)
{
	run(survivor, leaves_open, 2);
}

static void token_wants(struct dcli_box *c)
{
	struct dfile *f = dc_create(c, "log", NULL);
	uint64_t before;

	CHECK_EQ(dc_write(c, f, 0, buf, 20000), 0);
	stage = 1;
	wait_stage(c, 2);
	sim_node_crash(c->box->cli[1]->node, SIM_KILL);
	before = env_now(c->env);
	/* Waits for the end of the dead one's session. */
	CHECK_EQ(dc_append(c, f, buf + 20000, 30000), 0);
	CHECK(env_now(c->env) - before > 60 * NS_PER_S);
	CHECK_EQ(dc_read(c, f, 0, got, sizeof(got)), 50000);
	CHECK_EQ(memcmp(got, buf, 50000), 0);
	CHECK_EQ(dc_close(c, f, true), 0);
	dbox_settle(c);
}

static void token_keeps(struct dcli_box *c)
{
	struct w_mds_append_begin_req req = {.length = 10};
	struct w_mds_append_begin_rep rep = {0};
	struct dfile *f;

	wait_stage(c, 1);
	f = dc_open(c, "log", RW);
	req.fid = f->fid;
	req.handle = f->handle;
	CHECK_EQ(dc_call(c, W_OP_MDS_APPEND_BEGIN, &req, &rep), 0);
	CHECK_EQ(rep.offset, 20000);
	CHECK(rep.token != 0);
	stage = 2;
	env_sleep(c->env, 1000 * NS_PER_S);
}

TEST(token_dies)
{
	run(token_wants, token_keeps, 2);
}

/* A client that has a token is cut off from the MDT, which starts again and gives up waiting for it. */
static void absent_wants(struct dcli_box *c)
{
	struct dbox *b = c->box;
	struct dfile *f = dc_create(c, "log", NULL);

	CHECK_EQ(dc_write(c, f, 0, buf, 20000), 0);
	stage = 1;
	wait_stage(c, 2);
	sim_partition(b->sim, b->mdt.node, b->cli[1]->node, true);
	dbox_crash(&b->mdt, SIM_KILL);
	CHECK_EQ(dc_append(c, f, buf + 20000, 30000), 0);
	/* Its range is somebody else's now. */
	stage = 3;
	wait_stage(c, 4);
	CHECK_EQ(dc_read(c, f, 0, got, sizeof(got)), 50000);
	CHECK_EQ(memcmp(got, buf, 50000), 0);
	sim_partition_heal(b->sim);
	CHECK_EQ(dc_close(c, f, true), 0);
	dbox_settle(c);
}

static void absent_writes(struct dcli_box *c)
{
	struct w_mds_append_begin_req req = {.length = 30000};
	struct w_mds_append_begin_rep rep = {0};
	struct dfile *f;

	wait_stage(c, 1);
	f = dc_open(c, "log", RW);
	CHECK_EQ(dc_write(c, f, 0, buf, 100), 0);
	req.fid = f->fid;
	req.handle = f->handle;
	CHECK_EQ(dc_call(c, W_OP_MDS_APPEND_BEGIN, &req, &rep), 0);
	CHECK_EQ(rep.offset, 20000);
	stage = 2;
	wait_stage(c, 3);
	CHECK_EQ(dc_write(c, f, rep.offset, got, 30000), -NE_FENCED);
	stage = 4;
	env_sleep(c->env, 1000 * NS_PER_S);
}

TEST(absent_clients_are_fenced)
{
	run(absent_wants, absent_writes, 2);
}
