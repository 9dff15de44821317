/*
 * Making and replacing a superblock with the n-th allocation or disk operation failing.
 *
 * What was begun can be done again: a directory that a failed format left is formatted, or is a target
 * already. A failed replacement leaves the old superblock or the new one, and nothing that a later one
 * stumbles over.
 */
#include "box.h"
#include "daemon/super.h"
#include "sweep.h"

static struct work {
	struct box box;
	struct fault *fault;
	int err;
	bool met;
} work;

static struct super sample(uint32_t epoch)
{
	struct super s = {.kind = W_TARGET_KIND_OST, .index = 3, .epoch = epoch};

	strcpy(s.fsname, "scratch");
	s.uuid.bytes[0] = 2;
	return s;
}

static void format_body(void *arg _unused_)
{
	struct super s = sample(1);

	fault_arm(work.fault, work.box.sim, work.box.node);
	work.err = super_format(work.box.env, "/s/t", &s);
	CHECK(work.err == 0 || fault_met(work.fault));
	work.met = fault_disarm(work.fault);
}

static void format_again_body(void *arg _unused_)
{
	struct super s = sample(1);
	struct env_file *lock = NULL;
	int err = super_format(work.box.env, "/s/t", &s);

	CHECK(err == 0 || err == -NE_EXIST);
	CHECK(work.err != 0 || err == -NE_EXIST); /* success was durable */
	CHECK_EQ(super_read(work.box.env, "/s/t", &s), 0);
	CHECK_EQ(s.epoch, 1);
	CHECK_EQ(super_lock(work.box.env, "/s/t", &lock), 0);
	env_file_close(lock);
}

static bool format_once(struct fault *f)
{
	memset(&work, 0, sizeof(work));
	box_init(&work.box, f->n);
	work.fault = f;
	CHECK(box_run_then(
		&work.box, format_body, NULL, f->n % 2 == 0 ? SIM_KILL : SIM_POWER_LOSS));
	CHECK(box_run(&work.box, format_again_body, NULL));
	box_fini(&work.box);
	return work.met;
}

static void write_body(void *arg _unused_)
{
	struct super s = sample(1);

	CHECK_EQ(super_format(work.box.env, "/s/t", &s), 0);
	s.epoch = 2;
	fault_arm(work.fault, work.box.sim, work.box.node);
	work.err = super_write(work.box.env, "/s/t", &s);
	CHECK(work.err == 0 || fault_met(work.fault));
	work.met = fault_disarm(work.fault);
}

static void write_again_body(void *arg _unused_)
{
	struct super s;

	CHECK_EQ(super_read(work.box.env, "/s/t", &s), 0);
	CHECK(s.epoch == 2 || (s.epoch == 1 && work.err != 0));
	s.epoch = 3;
	CHECK_EQ(super_write(work.box.env, "/s/t", &s), 0);
	CHECK_EQ(super_read(work.box.env, "/s/t", &s), 0);
	CHECK_EQ(s.epoch, 3);
}

static bool write_once(struct fault *f)
{
	memset(&work, 0, sizeof(work));
	box_init(&work.box, f->n);
	work.fault = f;
	CHECK(box_run_then(&work.box, write_body, NULL, f->n % 2 == 0 ? SIM_KILL : SIM_POWER_LOSS));
	CHECK(box_run(&work.box, write_again_body, NULL));
	box_fini(&work.box);
	return work.met;
}

/* Nothing is read or reserved by either, or only what a write does first. */
static void both(enum fault_kind kind)
{
	box_quiet(true);
	sweep(kind, 0, format_once);
	sweep(kind, 0, write_once);
	box_quiet(false);
}

TEST(super_allocations)
{
	both(FAULT_ALLOC);
}

TEST(super_writes)
{
	both(FAULT_WRITE);
}

TEST(super_syncs)
{
	both(FAULT_SYNC);
}

TEST(super_names)
{
	both(FAULT_NAMES);
}
