/*
 * Requests that go by name while their name is given to another file.
 */
#include <sys/stat.h>

#include "data_box.h"
#include "test.h"

#define RW (W_OPEN_FLAGS_READ | W_OPEN_FLAGS_WRITE)

static uint8_t buf[65536];

static struct dfile *file_make(struct dcli_box *c, const char *name)
{
	struct dfile *f = dc_create(c, name, NULL);

	memset(buf, 7, sizeof(buf));
	CHECK_EQ(dc_write(c, f, 0, buf, sizeof(buf)), 0);
	CHECK(f->objects);
	return f;
}

/* open("x", O_CREAT | O_TRUNC), as a kernel asks for it. */
static int open_trunc_by_name(struct dcli_box *c, const char *name)
{
	struct w_mds_create_req req = {.cred = c->cred,
		.parent = fid_root(),
		.name = wire_str_of(name),
		.mode = S_IFREG | 0644,
		.flags = W_CREATE_FLAGS_OPEN,
		.open = RW | W_OPEN_FLAGS_TRUNC,
		.want = W_WANT_LAYOUT,
		.handle = ++c->handle_last};
	struct w_mds_create_rep rep = {0};

	return dc_call(c, W_OP_MDS_CREATE, &req, &rep);
}

static bool renamed;
static bool opened;

static void ost_up(void *arg)
{
	dbox_up(arg);
}

static void first_body(struct dcli_box *c)
{
	struct w_mds_rename_req req = {.cred = c->cred,
		.src_parent = fid_root(),
		.src_name = wire_str_of("b"),
		.dst_parent = fid_root(),
		.dst_name = wire_str_of("a")};
	struct w_mds_rename_rep rep = {0};
	struct dfile *a = file_make(c, "a");
	struct dfile *b = file_make(c, "b");
	struct w_attr attr;

	/* The truncate of "a" is logged, and waits for the OST. */
	c->box->ost[0].hold = true;
	sim_node_crash(c->box->ost[0].node, SIM_KILL);
	opened = true;
	env_sleep(c->env, NS_PER_S);
	/* Now "a" is another file, which is open too. */
	CHECK_EQ(dc_call(c, W_OP_MDS_RENAME, &req, &rep), 0);
	sim_after(c->box->sim, 100 * NS_PER_MS, ost_up, &c->box->ost[0]);
	while (!renamed) {
		env_sleep(c->env, 10 * NS_PER_MS);
	}
	CHECK_EQ(dc_lookup(c, "a", &attr), 0);
	CHECK(fid_eq(attr.fid, b->fid));
	CHECK_EQ(dc_close(c, a, false), 0);
	CHECK_EQ(dc_close(c, b, false), 0);
	dbox_settle(c);
	CHECK_EQ(dc_lookup(c, "a", &attr), 0);
	/* Nobody asked for a truncate of that one. */
	CHECK_EQ(attr.size, 65536);
}

static void second_body(struct dcli_box *c)
{
	while (!opened) {
		env_sleep(c->env, 10 * NS_PER_MS);
	}
	CHECK_EQ(open_trunc_by_name(c, "a"), 0);
	renamed = true;
}

TEST(the_name_of_a_truncate_may_change_hands)
{
	dcli_fn *const fns[] = {first_body, second_body};
	struct dbox *b = calloc(1, sizeof(*b));

	dbox_init(b, 1, 1);
	dbox_run(b, fns, 2);
	dbox_fini(b);
	free(b);
}
