/*
 * An intent that an OST refuses for ever holds up its own object's changes, in their order, and nobody else's.
 */
#include "data_box.h"
#include "mds/mds_data.h"
#include "test.h"

/* Long enough for a pause that all objects share to have grown to seconds. */
#define REFUSED_NS (30 * NS_PER_S)
#define SOON_NS NS_PER_S

static uint8_t buf[1 << 17];
static struct dfile kept; /* its object is the refused intent's */
static uint64_t refused;

/* ---- in the MDT's own fiber ---- */

/* No object can have this size. */
static int refused_log(struct mds_op *op, void *arg)
{
	struct d_mds_intent intent = {
		.kind = W_OST_CHANGE_KIND_SET_SIZE,
		.file_fid = kept.fid,
		.data_fid = kept.data_fid,
		.layout_gen = kept.gen,
		.size = (uint64_t)LIM_FILE_SIZE_MAX + 1,
	};

	CHECK(arg == NULL);
	return mds_intent_log(op, &intent, &refused);
}

static int refused_del(struct mds_op *op, void *arg)
{
	struct mds_key key = mds_key_intent(refused);

	CHECK(arg == NULL);
	return mds_kv_del(op, &key);
}

static void log_ask(struct dserver *s)
{
	CHECK_EQ(mds_data_run(s->mds, STATE_CHANGE, refused_log, NULL, NULL, NULL), 0);
	mds_intents_fresh(s->mds->data, refused);
}

static void del_ask(struct dserver *s)
{
	CHECK_EQ(mds_data_run(s->mds, STATE_RELEASE, refused_del, NULL, NULL, NULL), 0);
	state_wait_durable(mds_state(s->mds), state_last_lsn(mds_state(s->mds)));
}

/* ---- in the client ---- */

static void ask(struct dcli_box *c, dserver_fn *fn)
{
	struct dserver *s = &c->box->mdt;

	s->ask = fn;
	while (s->ask != NULL) {
		env_sleep(c->env, NS_PER_MS);
	}
}

static unsigned objects_count(struct dcli_box *c)
{
	struct dserver *s = &c->box->ost[0];

	s->look = true;
	while (s->look) {
		env_sleep(c->env, NS_PER_MS);
	}
	return s->objects.count;
}

static void make(struct dcli_box *c, const char *name)
{
	struct dfile *f = dc_create(c, name, NULL);

	CHECK_EQ(dc_write(c, f, 0, buf, sizeof(buf)), 0);
	kept = *f;
	CHECK_EQ(dc_close(c, f, true), 0);
}

/* Each is destroyed within a moment; `left` objects stay. */
static void others_go(struct dcli_box *c, const char *const *names, unsigned count, unsigned left)
{
	uint64_t begin = env_now(c->env);

	for (unsigned i = 0; i < count; i++) {
		CHECK_EQ(dc_unlink(c, names[i]), 0);
	}
	while (objects_count(c) > left) {
		CHECK(env_now(c->env) - begin < SOON_NS);
		env_sleep(c->env, 10 * NS_PER_MS);
	}
	CHECK_EQ(objects_count(c), left);
}

static void refused_body(struct dcli_box *c)
{
	static const char *const first[] = {"a", "b", "c"};
	static const char *const second[] = {"d"};

	make(c, "a");
	make(c, "b");
	make(c, "c");
	make(c, "d");
	make(c, "kept");
	dbox_settle(c);
	CHECK_EQ(objects_count(c), 5);
	ask(c, log_ask);
	CHECK_EQ(dc_unlink(c, "kept"), 0);
	env_sleep(c->env, REFUSED_NS);
	others_go(c, first, 3, 2);
	env_sleep(c->env, REFUSED_NS);
	others_go(c, second, 1, 1);
	/* The destruction is behind what is refused, and goes when that is gone. */
	CHECK_EQ(c->box->mdt.mds->data->osts[0]->queued, 2);
	ask(c, del_ask);
	dbox_crash(&c->box->mdt, SIM_KILL);
	env_sleep(c->env, NS_PER_S);
	dbox_settle(c);
	CHECK_EQ(objects_count(c), 0);
}

TEST(refused_intent_holds_up_its_object_only)
{
	struct dbox *b = calloc(1, sizeof(*b));
	dcli_fn *fns[1] = {refused_body};

	CHECK(b != NULL);
	dbox_init(b, 7, 1);
	dbox_run(b, fns, 1);
	dbox_fini(b);
	free(b);
}
