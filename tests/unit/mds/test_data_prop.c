/*
 * Random work of two clients on a few files, one operation at a time, against a model of what the files hold: opens,
 * writes, reads, truncates, reports true and missing, unlinks of open files; while servers are killed at random
 * moments. DATA_PROP_SEED and DATA_PROP_RUNS choose the worlds.
 */
#include <sys/stat.h>

#include "base/prng.h"
#include "data_box.h"
#include "test.h"

#define RW (W_OPEN_FLAGS_READ | W_OPEN_FLAGS_WRITE)
#define FILE_MAX (400 * 1024)
#define NAMES 4
#define OBJECTS 64
#define HANDLES 6
#define STEPS 120

struct pfile {
	bool named;
	uint32_t size;
	uint8_t bytes[FILE_MAX];
};

struct phandle {
	struct dfile *f;
	struct pfile *p;
	unsigned name;
};

static struct pfile files[OBJECTS]; /* each file that ever was */
static unsigned file_count;
static struct pfile *named[NAMES];
static struct phandle handles[2][HANDLES];
static struct prng rng;
static unsigned turn;
static unsigned steps;
static bool kills;
static uint8_t pbuf[FILE_MAX];
static uint8_t pgot[FILE_MAX + 1];

static uint32_t below(uint32_t bound)
{
	return (uint32_t)prng_below(&rng, bound);
}

static const char *name_of(unsigned i)
{
	static const char *const names[NAMES] = {"a", "b", "c", "d"};

	return names[i];
}

static struct phandle *handle_free(struct dcli_box *c)
{
	for (unsigned i = 0; i < HANDLES; i++) {
		if (handles[c->index][i].f == NULL) {
			return &handles[c->index][i];
		}
	}
	return NULL;
}

static struct phandle *handle_any(struct dcli_box *c, bool writable)
{
	struct phandle *h = &handles[c->index][below(HANDLES)];

	if (h->f == NULL || (writable && (h->f->flags & W_OPEN_FLAGS_WRITE) == 0)) {
		return NULL;
	}
	return h;
}

static void model_size(struct pfile *p, uint32_t size)
{
	if (size > p->size) {
		memset(p->bytes + p->size, 0, size - p->size);
	}
	p->size = size;
}

static void do_create(struct dcli_box *c, unsigned i)
{
	struct w_layout l = {.stripe_size = 64 * KIB,
		.stripe_count = (uint16_t)(1 + below(3)),
		.first_ost = 0xffff};
	struct phandle *h = handle_free(c);

	if (h == NULL || file_count == OBJECTS) {
		return;
	}
	CHECK_EQ(dc_create_as(c, name_of(i), &l, &h->f), 0);
	h->p = &files[file_count++];
	h->name = i;
	named[i] = h->p;
}

static void do_open(struct dcli_box *c, unsigned i)
{
	struct phandle *h = handle_free(c);
	uint32_t flags = below(3) == 0 ? W_OPEN_FLAGS_READ : RW;

	if (h == NULL) {
		return;
	}
	if (flags == RW && below(4) == 0) {
		flags |= W_OPEN_FLAGS_TRUNC;
		named[i]->size = 0;
	}
	h->f = dc_open(c, name_of(i), flags);
	h->p = named[i];
	h->name = i;
}

static void do_write(struct dcli_box *c)
{
	struct phandle *h = handle_any(c, true);
	uint32_t off = below(4) == 0 ? below(300 * 1024) : below(6000);
	uint32_t len = 1 + (below(3) == 0 ? below(90 * 1024) : below(2000));

	if (h == NULL) {
		return;
	}
	for (uint32_t i = 0; i < len; i++) {
		pbuf[i] = (uint8_t)(steps + i * 3 + (i >> 7));
	}
	if (below(5) == 0) {
		off = h->p->size;
		if (off + len > FILE_MAX) {
			return;
		}
		CHECK_EQ(dc_append(c, h->f, pbuf, len), 0);
	} else {
		CHECK_EQ(dc_write(c, h->f, off, pbuf, len), 0);
	}
	if (off > h->p->size) {
		model_size(h->p, off);
	}
	memcpy(h->p->bytes + off, pbuf, len);
	h->p->size = (uint32_t)u64_max(h->p->size, off + len);
}

static void do_read(struct dcli_box *c)
{
	struct phandle *h = handle_any(c, false);
	int r;

	if (h == NULL) {
		return;
	}
	r = dc_read(c, h->f, 0, pgot, sizeof(pgot));
	CHECK_EQ(r, h->p->size);
	CHECK_EQ(memcmp(pgot, h->p->bytes, h->p->size), 0);
}

static void do_truncate(struct dcli_box *c)
{
	struct phandle *h = handle_any(c, true);
	uint32_t size = below(3) == 0 ? 0 : (below(2) == 0 ? below(5000) : below(300 * 1024));
	unsigned i = below(NAMES);
	struct w_attr attr;

	if (h != NULL && below(2) == 0) {
		CHECK_EQ(dc_truncate(c, h->f->fid, h->f->handle, size), 0);
		model_size(h->p, size);
	} else if (named[i] != NULL) {
		CHECK_EQ(dc_lookup(c, name_of(i), &attr), 0);
		CHECK_EQ(dc_truncate(c, attr.fid, 0, size), 0);
		model_size(named[i], size);
	}
}

static void do_close(struct dcli_box *c)
{
	struct phandle *h = handle_any(c, false);

	if (h == NULL) {
		return;
	}
	CHECK_EQ(dc_close(c, h->f, below(3) != 0), 0);
	h->f = NULL;
}

static void do_stat(struct dcli_box *c)
{
	unsigned i = below(NAMES);
	struct w_attr attr;
	int r = dc_lookup(c, name_of(i), &attr);

	CHECK_EQ(r, named[i] == NULL ? -NE_NOENT : 0);
	if (r == 0 && (attr.state & W_ATTR_STATE_SIZE_OPEN) == 0) {
		CHECK_EQ(attr.size, named[i]->size);
	}
}

static void do_fsync(struct dcli_box *c)
{
	struct phandle *h = handle_any(c, true);

	if (h != NULL) {
		CHECK_EQ(dc_fsync(c, h->f), 0);
	}
}

static void do_name(struct dcli_box *c)
{
	unsigned i = below(NAMES);

	if (named[i] == NULL) {
		do_create(c, i);
	} else if (below(4) == 0) {
		CHECK_EQ(dc_unlink(c, name_of(i)), 0);
		named[i] = NULL;
	} else {
		do_open(c, i);
	}
}

static void do_kill(struct dcli_box *c)
{
	struct dserver *s = below(2) == 0 ? &c->box->mdt : &c->box->ost[below(c->box->ost_count)];

	if (kills && below(3) == 0) {
		sim_crash_at(s->node, 1 + below(150), SIM_KILL);
	}
}

static void step(struct dcli_box *c)
{
	switch (below(10)) {
	case 0:
	case 1:
		do_name(c);
		break;
	case 2:
	case 3:
	case 4:
		do_write(c);
		break;
	case 5:
		do_read(c);
		break;
	case 6:
		do_truncate(c);
		break;
	case 7:
		do_close(c);
		break;
	case 8:
		do_stat(c);
		do_kill(c);
		break;
	default:
		do_fsync(c);
		break;
	}
}

/* Some handles are left open: the sessions' ends have to deal with them. */
static void finish(struct dcli_box *c)
{
	for (unsigned i = 0; i < HANDLES; i++) {
		struct phandle *h = &handles[c->index][i];

		if (h->f != NULL) {
			CHECK_EQ(dc_close(c, h->f, i % 2 == 0), 0);
			h->f = NULL;
		}
	}
}

static void verify(struct dcli_box *c)
{
	dbox_settle(c);
	for (unsigned i = 0; i < NAMES; i++) {
		struct w_attr attr;
		struct dfile *f;

		CHECK_EQ(dc_lookup(c, name_of(i), &attr), named[i] == NULL ? -NE_NOENT : 0);
		if (named[i] == NULL) {
			continue;
		}
		CHECK_EQ(attr.size, named[i]->size);
		f = dc_open(c, name_of(i), W_OPEN_FLAGS_READ);
		CHECK_EQ(dc_read(c, f, 0, pgot, sizeof(pgot)), named[i]->size);
		CHECK_EQ(memcmp(pgot, named[i]->bytes, named[i]->size), 0);
		CHECK_EQ(dc_close(c, f, false), 0);
		CHECK_EQ(dc_unlink(c, name_of(i)), 0);
	}
	dbox_settle(c);
	CHECK_EQ(dbox_objects(c->box), 0);
}

static void body(struct dcli_box *c)
{
	while (steps < STEPS) {
		if (turn != c->index) {
			env_sleep(c->env, NS_PER_MS);
			continue;
		}
		step(c);
		steps++;
		turn = below(2);
	}
	while (turn != c->index) {
		env_sleep(c->env, NS_PER_MS);
	}
	finish(c);
	turn = 1 - c->index;
	steps++;
	if (c->index == 0) {
		while (steps < STEPS + 2) {
			env_sleep(c->env, NS_PER_MS);
		}
		turn = 0;
		verify(c);
	}
}

static void run_seed(uint64_t seed)
{
	struct dbox *b = calloc(1, sizeof(*b));
	dcli_fn *fns[2] = {body, body};

	memset(files, 0, sizeof(files));
	memset(named, 0, sizeof(named));
	memset(handles, 0, sizeof(handles));
	file_count = 0;
	steps = 0;
	turn = 0;
	prng_init(&rng, seed);
	dbox_init(b, seed, 3);
	dbox_run(b, fns, 2);
	dbox_fini(b);
	free(b);
}

static void run_seeds(uint64_t first, unsigned runs)
{
	const char *seed = getenv("DATA_PROP_SEED");
	const char *count = getenv("DATA_PROP_RUNS");

	if (seed != NULL) {
		first = strtoull(seed, NULL, 10);
		runs = 1;
	}
	if (count != NULL) {
		runs = (unsigned)strtoul(count, NULL, 10);
	}
	for (unsigned i = 0; i < runs; i++) {
		if (getenv("DATA_PROP_SHOW") != NULL) {
			fprintf(stderr, "seed %" PRIu64 "\n", first + i);
		}
		run_seed(first + i);
	}
}

TEST(quiet)
{
	kills = false;
	run_seeds(1, 15);
}

TEST(killed)
{
	kills = true;
	run_seeds(1000, 25);
}
