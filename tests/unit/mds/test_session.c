/* Sessions and slots over restarts and crashes; FIDs are never issued twice. */
#include "mds_box.h"
#include "test.h"

#define ROOT fid_root()

struct life {
	struct mbox box;
	struct mcli c;
	uint64_t session;
	struct fid fid;
	uint64_t transno;
	unsigned slots_seen;
	unsigned life;
};

static void life_run(struct life *l, env_fiber_fn *fn, enum sim_crash how)
{
	CHECK(mbox_run(&l->box, fn, l, how));
	l->life++;
}

static void life_init(struct life *l, uint64_t seed)
{
	memset(l, 0, sizeof(*l));
	mbox_init(&l->box, seed);
	mcli_init(&l->c, &l->box);
}

static void life_fini(struct life *l)
{
	mcli_fini(&l->c);
	mbox_fini(&l->box);
}

/* ---- slots ---- */

static void slots_make(void *arg)
{
	struct life *l = arg;
	struct w_mds_setattr_req size = {
		.cred = l->c.cred, .valid = W_SETATTR_VALID_SIZE, .size = 3000};
	struct w_mds_create_req open = {.cred = l->c.cred,
		.parent = ROOT,
		.name = wire_str_of("f"),
		.mode = 0100644,
		.flags = W_CREATE_FLAGS_OPEN,
		.open = W_OPEN_FLAGS_READ,
		.handle = 7,
		.want = W_WANT_DATA};
	struct w_mds_create_rep rep;
	struct w_attr attr;

	mbox_start(&l->box);
	mcli_open(&l->c, 0);
	l->session = mds_session_id(l->c.session);
	l->c.slot = 3;
	l->c.seq = 40;
	CHECK_EQ(mcli_create(&l->c, ROOT, "f", 0100644, &attr), 0);
	l->fid = attr.fid;
	l->transno = l->c.transno;
	CHECK(l->transno != 0);
	l->c.slot = 5;
	size.fid = attr.fid;
	CHECK_EQ(mcli_call(&l->c, W_OP_MDS_SETATTR, &size, NULL), 0);
	/* A reply with more data than a slot record holds. */
	l->c.slot = 9;
	CHECK_EQ(mcli_call(&l->c, W_OP_MDS_CREATE, &open, &rep), 0);
	CHECK(!rep.created);
	CHECK_EQ(rep.info.data.len, 3000);
	/* What failed leaves no trace. */
	l->c.slot = 11;
	CHECK_EQ(mcli_create(&l->c, ROOT, "f", 0100644, NULL), -NE_EXIST);
}

static int slot_look(void *ctx, const struct mds_slot *slot)
{
	struct life *l = ctx;
	struct w_mds_create_rep rep;

	l->slots_seen++;
	switch (slot->slot) {
	case 3:
		CHECK_EQ(slot->seq, 41);
		CHECK_EQ(slot->op, W_OP_MDS_CREATE);
		CHECK(slot->transno == l->transno);
		CHECK_EQ(w_mds_create_rep_decode(&rep, slot->reply.ptr, slot->reply.len), 0);
		CHECK(fid_eq(rep.info.attr.fid, l->fid) && rep.created);
		return 0;
	case 5:
		CHECK_EQ(slot->op, W_OP_MDS_SETATTR);
		return 0;
	case 9:
		CHECK_EQ(w_mds_create_rep_decode(&rep, slot->reply.ptr, slot->reply.len), 0);
		CHECK(!rep.created && rep.info.attr.size == 3000);
		CHECK_EQ(rep.info.data.len, 3000);
		return 0;
	default:
		CHECK(false);
		return 0;
	}
}

static void slots_find(void *arg)
{
	struct life *l = arg;
	struct mds_peer peer;
	struct mds_session *s = NULL;
	bool resumed = true;

	mbox_start(&l->box);
	/* Somebody else does not get it, whatever number he names. */
	mcli_peer(&peer, 66);
	CHECK_EQ(mds_session_open(l->box.mds, &peer, l->session, &s, &resumed), 0);
	CHECK(!resumed && mds_session_id(s) != l->session);
	mcli_open(&l->c, l->session);
	CHECK(mds_session_id(l->c.session) == l->session);
	CHECK_EQ(mds_session_slots(l->box.mds, l->c.session, slot_look, l), 0);
	CHECK_EQ(l->slots_seen, 3);
	CHECK_EQ(mcli_lookup(&l->c, ROOT, "f", NULL), 0);
	mds_session_close(l->box.mds, l->c.session);
	/* Closed: not found any more. */
	mcli_peer(&peer, 1);
	CHECK_EQ(mds_session_open(l->box.mds, &peer, l->session, &s, &resumed), 0);
	CHECK(!resumed);
	mbox_check(&l->box);
	mbox_stop(&l->box);
}

TEST(slots_survive_a_kill)
{
	struct life l;

	life_init(&l, 1);
	life_run(&l, slots_make, SIM_KILL);
	life_run(&l, slots_find, SIM_KILL);
	life_fini(&l);
}

/* ---- sessions that do not come back ---- */

static void expire_wait(void *arg)
{
	struct life *l = arg;
	struct mds_peer peer;
	struct mds_session *s = NULL;
	struct mds_status status;
	bool resumed = true;

	mbox_start(&l->box);
	mds_status_get(l->box.mds, &status);
	CHECK_EQ(status.sessions, 1);
	env_sleep(l->box.env, 130 * NS_PER_S);
	mds_status_get(l->box.mds, &status);
	CHECK_EQ(status.sessions, 0);
	mcli_peer(&peer, 1);
	CHECK_EQ(mds_session_open(l->box.mds, &peer, l->session, &s, &resumed), 0);
	CHECK(!resumed);
	mbox_stop(&l->box);
}

TEST(silent_sessions_go)
{
	struct life l;

	life_init(&l, 2);
	life_run(&l, slots_make, SIM_KILL);
	life_run(&l, expire_wait, SIM_KILL);
	life_fini(&l);
}

/* ---- FIDs ---- */

#define FIDS_MAX 4000

struct fids {
	struct life l;
	struct fid last;
	bool clean;
};

static void fids_make(void *arg)
{
	struct fids *f = arg;
	char name[32];
	struct w_attr attr;

	mbox_start(&f->l.box);
	mcli_open(&f->l.c, 0);
	for (unsigned i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "f%u-%u", f->l.life, i);
		CHECK_EQ(mcli_create(&f->l.c, ROOT, name, 0100644, &attr), 0);
		CHECK(fid_cmp(attr.fid, f->last) > 0);
		/* A file takes two (one names its data); an orderly stop gives nothing up. */
		CHECK(f->last.oid == 0 || !f->clean || attr.fid.oid <= f->last.oid + 2);
		f->last = attr.fid;
	}
	if (f->clean) {
		mbox_stop(&f->l.box);
	}
}

static void fids_run(bool clean, enum sim_crash how)
{
	struct fids f = {.clean = clean};

	life_init(&f.l, 5);
	f.l.box.opts.fid_batch = 16;
	for (unsigned i = 0; i < 10; i++) {
		life_run(&f.l, fids_make, how);
	}
	life_fini(&f.l);
}

TEST(fids_grow_over_stops)
{
	fids_run(true, SIM_KILL);
}

TEST(fids_grow_over_kills)
{
	fids_run(false, SIM_KILL);
}

/* Power losses may lose files, but no FID comes twice: `last` is never reached again. */
TEST(fids_grow_over_power_losses)
{
	fids_run(false, SIM_POWER_LOSS);
}

static void options_try(void *arg)
{
	struct life *l = arg;
	struct mds_options good = l->box.opts;
	struct mds *mds = NULL;

	l->box.opts.fid_seq_count = 1;
	CHECK_EQ(mds_start(l->box.env, &l->box.opts, &mds), -NE_INVAL);
	l->box.opts = good;
	l->box.opts.hash_bits = 64;
	CHECK_EQ(mds_start(l->box.env, &l->box.opts, &mds), -NE_INVAL);
	l->box.opts = good;
	l->box.opts.store.create = false;
	CHECK_EQ(mds_start(l->box.env, &l->box.opts, &mds), -NE_NOTFORMATTED);
	l->box.opts = good;
	mbox_start(&l->box);
	mbox_stop(&l->box);
}

TEST(options)
{
	struct life l;

	life_init(&l, 3);
	life_run(&l, options_try, SIM_KILL);
	life_fini(&l);
}
