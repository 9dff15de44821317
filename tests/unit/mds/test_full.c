/* A full MDT: creating fails cleanly, reading and deleting go on, also after a restart, and room comes back. */
#include "mds_box.h"
#include "test.h"

#define ROOT fid_root()
#define FILES_MAX 100000

struct full {
	struct mbox box;
	struct mcli c;
	unsigned made;
};

static int make(struct full *f, unsigned i)
{
	char name[200];

	snprintf(name, sizeof(name), "file-%u-%0150d", i, 0);
	return mcli_create(&f->c, ROOT, name, 0100644, NULL);
}

static int drop(struct full *f, unsigned i)
{
	char name[200];

	snprintf(name, sizeof(name), "file-%u-%0150d", i, 0);
	return mcli_unlink(&f->c, ROOT, name, false);
}

static void fill(void *arg)
{
	struct full *f = arg;
	struct w_mds_statfs_req req = {0};
	struct w_mds_statfs_rep fs;
	int r = 0;

	mbox_start(&f->box);
	mcli_open(&f->c, 0);
	while (f->made < FILES_MAX && (r = make(f, f->made)) == 0) {
		f->made++;
	}
	CHECK_EQ(r, -NE_NOSPC);
	CHECK(f->made > 100);
	CHECK_EQ(mcli_call(&f->c, W_OP_MDS_STATFS, &req, &fs), 0);
	CHECK(fs.bytes_avail < fs.bytes_total / 2);
	CHECK_EQ(mcli_lookup(&f->c, ROOT, "nothing", NULL), -NE_NOENT);
	CHECK_EQ(drop(f, 0), 0);
	mbox_check(&f->box);
}

static void empty(void *arg)
{
	struct full *f = arg;

	/* Killed while full: it starts, and takes sessions. */
	mbox_start(&f->box);
	mcli_open(&f->c, 0);
	for (unsigned i = 1; i < f->made; i++) {
		CHECK_EQ(drop(f, i), 0);
	}
	CHECK_EQ(state_checkpoint(mds_state(f->box.mds)), 0);
	CHECK_EQ(make(f, 0), 0);
	mbox_check(&f->box);
	mbox_stop(&f->box);
}

TEST(full)
{
	struct full f = {.made = 0};

	mbox_init(&f.box, 4);
	f.box.opts.store.wal_segment_bytes = MIB;
	f.box.opts.store.capacity_bytes = 16 * MIB;
	mcli_init(&f.c, &f.box);
	CHECK(mbox_run(&f.box, fill, &f, SIM_KILL));
	CHECK(mbox_run(&f.box, empty, &f, SIM_KILL));
	mcli_fini(&f.c);
	mbox_fini(&f.box);
}
