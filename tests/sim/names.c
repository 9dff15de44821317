/* See names.h. */
#include "names.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "names_int.h"
#include "worker.h"

#define RACERS_MAX 8u
#define STABLE 24u /* names that nobody touches */
#define HELD_MAX 2u
#define HELD_BYTES 6000u
#define KNOWN_MAX 6u

struct held {
	struct client_file *file;
	bool written;
	uint64_t pattern;
	unsigned losses; /* of OSTs, before it was written */
};

struct racer {
	struct actor actor;
	struct names *names;
	unsigned index;
	unsigned left; /* operations */
	struct fid known[KNOWN_MAX];
	unsigned known_next;
	struct held held[HELD_MAX];
	int op; /* under way, -1: none */
	uint8_t buf[HELD_BYTES + 1];
};

struct names {
	struct cluster *cluster;
	struct fid dirs[NAMES_DIRS];
	bool ready;
	bool over; /* the MDT forgot: what was answered before counts no more */
	unsigned losses; /* of the MDT, when it began */
	unsigned racer_count;
	struct racer racers[RACERS_MAX];
	struct name_history history;
};

static void racer_main(void *arg);

static void racer_died(struct actor *a)
{
	struct racer *r = container_of(a, struct racer, actor);

	/* What was under way never ends. */
	r->op = -1;
	memset(r->held, 0, sizeof(r->held));
}

struct names *names_new(struct cluster *c)
{
	struct names *n = calloc(1, sizeof(*n));

	if (n == NULL) {
		abort();
	}
	n->cluster = c;
	for (unsigned i = 0; i < c->client_count * 2 && i < RACERS_MAX; i++) {
		struct racer *r = &n->racers[n->racer_count++];

		r->names = n;
		r->index = i;
		r->op = -1;
		r->actor.cl = &c->clients[i % c->client_count];
		r->actor.main = racer_main;
		r->actor.died = racer_died;
		prng_init(&r->actor.rng, c->opt.seed * 104729 + i);
		r->left = (unsigned)prng_range(&r->actor.rng, 10, 60);
	}
	return n;
}

void names_free(struct names *n)
{
	free(n);
}

unsigned names_actors(struct names *n, struct actor **ret_actors, unsigned max)
{
	ASSERT(n->racer_count <= max);
	for (unsigned i = 0; i < n->racer_count; i++) {
		ret_actors[i] = &n->racers[i].actor;
	}
	return n->racer_count;
}

/* ---- the beginning ---- */

static int dir_make(struct client *c, struct fid parent, const char *name, struct fid *ret_fid)
{
	struct client_cred cred = worker_cred(false);
	struct client_create how = {.mode = S_IFDIR | 0777};
	struct client_attr attr;
	int err = client_create(c, &cred, parent, name, &how, &attr);

	if (err == -NE_EXIST) {
		err = client_lookup(c, &cred, parent, name, &attr);
	}
	*ret_fid = attr.fid;
	return err;
}

static void stable_name(unsigned i, char *buf, size_t cap)
{
	snprintf(buf, cap, "stable-%u", i);
}

static int place_make(struct racer *r)
{
	struct names *n = r->names;
	struct client *c = r->actor.cl->client;
	struct client_cred cred = worker_cred(false);
	struct client_create how = {.mode = S_IFREG | 0666};
	struct client_attr attr;
	char name[32];
	int err = 0;

	for (unsigned i = 0; i < NAMES_DIRS && err == 0; i++) {
		snprintf(name, sizeof(name), "race%u", i);
		err = dir_make(c, client_root(c), name, &n->dirs[i]);
	}
	for (unsigned i = 0; i < STABLE && err == 0; i++) {
		stable_name(i, name, sizeof(name));
		err = client_create(c, &cred, n->dirs[0], name, &how, &attr);
		err = err == -NE_EXIST ? 0 : err;
	}
	return err == 0 ? client_sync(c) : err;
}

/* The first racer makes the place, the others wait for it. */
static void place_find(struct racer *r)
{
	struct names *n = r->names;

	while (!n->ready && !r->actor.stop && !n->over) {
		unsigned losses = n->cluster->mdt_losses;
		int err = r->index == 0 ? place_make(r) : -NE_AGAIN;

		if (err == 0 && losses == n->cluster->mdt_losses) {
			n->losses = losses;
			n->ready = true;
		} else if (r->index == 0 && err != -NE_NOSPC && losses == n->cluster->mdt_losses) {
			cluster_fail(n->cluster, "names: making the place: %s", ne_name(err));
		} else {
			actor_pause(&r->actor, 10 * NS_PER_MS);
		}
	}
}

/* ---- operations ---- */

static struct client_entry slot_entry(const struct names *n, unsigned slot, char *buf, size_t cap)
{
	snprintf(buf, cap, "r%u", slot / NAMES_DIRS);
	return (struct client_entry){n->dirs[slot % NAMES_DIRS], buf};
}

static void op_generate(struct racer *r, struct name_op *op)
{
	static const enum name_kind kinds[] = {NAME_CREATE, NAME_CREATE, NAME_CREATE, NAME_MKDIR,
		NAME_UNLINK, NAME_UNLINK, NAME_RMDIR, NAME_LINK, NAME_RENAME, NAME_RENAME,
		NAME_NOREPLACE, NAME_EXCHANGE, NAME_LOOKUP, NAME_LOOKUP};

	memset(op, 0, sizeof(*op));
	op->kind = kinds[actor_rnd(&r->actor, ARRAY_SIZE(kinds))];
	op->a = (uint8_t)actor_rnd(&r->actor, NAMES_SLOTS);
	op->b = (uint8_t)actor_rnd(&r->actor, NAMES_SLOTS);
	op->actor = (uint8_t)r->index;
	op->rc = -1;
	op->target = r->known[actor_rnd(&r->actor, KNOWN_MAX)];
	if (op->kind == NAME_LINK && fid_is_zero(op->target)) {
		op->kind = NAME_LOOKUP;
	}
}

static int op_create(
	struct racer *r, struct name_op *op, struct client_entry at, struct client_file **ret_file)
{
	struct client_cred cred = worker_cred(false);
	struct client_create how = {
		.mode = S_IFREG | 0666, .open_flags = O_CREAT | O_EXCL | O_RDWR};
	struct client_attr attr = {0};
	int err = client_create_open(r->actor.cl->client, &cred, at, &how, &attr, ret_file);

	op->fid = attr.fid;
	return err;
}

static int op_run(struct racer *r, struct name_op *op, struct client_file **ret_file)
{
	struct client *c = r->actor.cl->client;
	struct client_cred cred = worker_cred(false);
	struct client_create dir = {.mode = S_IFDIR | 0777};
	struct client_attr attr = {0};
	char na[16];
	char nb[16];
	struct client_entry a = slot_entry(r->names, op->a, na, sizeof(na));
	struct client_entry b = slot_entry(r->names, op->b, nb, sizeof(nb));
	int err;

	switch (op->kind) {
	case NAME_CREATE:
		return op_create(r, op, a, ret_file);
	case NAME_MKDIR:
		err = client_create(c, &cred, a.parent, a.name, &dir, &attr);
		op->fid = attr.fid;
		op->dir = true;
		return err;
	case NAME_UNLINK:
		return client_unlink(c, &cred, a.parent, a.name);
	case NAME_RMDIR:
		return client_rmdir(c, &cred, a.parent, a.name);
	case NAME_LINK:
		return client_link(c, &cred, op->target, a.parent, a.name, &attr);
	case NAME_RENAME:
		return client_rename(c, &cred, a, b, 0);
	case NAME_NOREPLACE:
		return client_rename(c, &cred, a, b, RENAME_NOREPLACE);
	case NAME_EXCHANGE:
		return client_rename(c, &cred, a, b, RENAME_EXCHANGE);
	default:
		err = client_lookup(c, &cred, a.parent, a.name, &attr);
		op->fid = attr.fid;
		op->dir = S_ISDIR(attr.mode);
		return err;
	}
}

static void event_add(struct name_history *h, unsigned op, bool end)
{
	ASSERT(h->event_count < ARRAY_SIZE(h->events));
	h->events[h->event_count++] = (struct name_event){.op = (uint16_t)op, .end = end};
}

/* One operation with its begin and end in the history. False: nobody knows what became of it. */
static bool op_do(struct racer *r, struct name_op *op, struct client_file **ret_file)
{
	struct names *n = r->names;
	struct name_history *h = &n->history;
	unsigned number = h->op_count++;
	uint64_t errors = cluster_disk_errors(n->cluster);
	char text[160];
	int rc;

	h->ops[number] = *op;
	event_add(h, number, false);
	r->op = (int)number;
	rc = op_run(r, op, ret_file);
	r->op = -1;
	if (n->over || n->losses != n->cluster->mdt_losses) {
		n->over = true;
		return false;
	}
	if (ne_errno(rc) == EIO && errors != cluster_disk_errors(n->cluster)) {
		return false;
	}
	op->rc = ne_errno(rc);
	h->ops[number] = *op;
	event_add(h, number, true);
	name_op_text(op, text, sizeof(text));
	sim_note(n->cluster->sim, "names: %s", text);
	if (rc == 0 && !fid_is_zero(op->fid) && !op->dir) {
		r->known[r->known_next++ % KNOWN_MAX] = op->fid;
	}
	return true;
}

/* ---- files that are held ---- */

static void held_drop(struct racer *r, struct held *held)
{
	if (held->file != NULL) {
		/* Whether a loss is told here is the workers' business. */
		(void)client_release(r->actor.cl->client, TAKE_PTR(held->file));
	}
	memset(held, 0, sizeof(*held));
}

static void held_take(struct racer *r, struct client_file *file)
{
	struct held *held = &r->held[actor_rnd(&r->actor, HELD_MAX)];
	struct client_cred cred = worker_cred(false);
	struct iovec iov = {.iov_base = r->buf, .iov_len = HELD_BYTES};
	size_t len = 0;
	int err;

	held_drop(r, held);
	held->file = file;
	held->pattern = prng_next(&r->actor.rng);
	held->losses = r->names->cluster->ost_losses;
	tree_bytes(held->pattern, 0, r->buf, HELD_BYTES);
	err = client_write(
		r->actor.cl->client, &cred, file, (struct client_buffers){&iov, 1, 0}, &len);
	held->written = err == 0;
}

/* With or without a name, what was written through the handle is there. */
static void held_read(struct racer *r, struct held *held)
{
	struct cluster *c = r->names->cluster;
	struct iovec iov = {.iov_base = r->buf, .iov_len = HELD_BYTES + 1};
	uint64_t errors = cluster_disk_errors(c);
	uint8_t want[256];
	size_t len = 0;
	int err;

	if (held->file == NULL || !held->written) {
		return;
	}
	err = client_read(r->actor.cl->client, held->file, &iov, 1, 0, &len);
	if (held->losses != c->ost_losses || r->names->losses != c->mdt_losses ||
		(err != 0 && errors != cluster_disk_errors(c))) {
		return;
	}
	if (err != 0 || len != HELD_BYTES) {
		cluster_fail(c, "names: racer %u reads a file it holds: %s, %zu bytes", r->index,
			ne_name(err), len);
	}
	for (size_t off = 0; off < HELD_BYTES; off += sizeof(want)) {
		size_t part = (size_t)u64_min(sizeof(want), HELD_BYTES - off);

		tree_bytes(held->pattern, off, want, part);
		if (memcmp(want, r->buf + off, part) != 0) {
			cluster_fail(c,
				"names: racer %u reads other bytes at %zu of a file it holds",
				r->index, off);
		}
	}
}

/* ---- listings ---- */

struct listing {
	unsigned seen[STABLE];
	uint64_t cookie;
};

static int listed(void *ctx, const struct client_dirent *e)
{
	struct listing *l = ctx;
	unsigned i;

	l->cookie = e->next_cookie;
	if (sscanf(e->name, "stable-%u", &i) == 1 && i < STABLE) {
		l->seen[i]++;
	}
	return 0;
}

static void list(struct racer *r)
{
	struct names *n = r->names;
	struct client *c = r->actor.cl->client;
	struct client_cred cred = worker_cred(false);
	struct listing l = {.cookie = 0};
	struct client_file *dir = NULL;
	struct client_attr attr;
	struct fid parent;
	bool end = false;
	int err = client_open(c, &cred, n->dirs[0], O_RDONLY, &attr, &dir);

	while (err == 0 && !end) {
		err = client_readdir(c, &cred, dir,
			&(struct client_listing){.cookie = l.cookie,
				.bytes_max = 200 + actor_rnd(&r->actor, 600),
				.plus = actor_rnd(&r->actor, 2) == 0,
				.fn = listed,
				.ctx = &l,
				.ret_parent = &parent,
				.ret_end = &end});
		actor_pause(&r->actor, actor_rnd(&r->actor, NS_PER_MS));
	}
	if (dir != NULL) {
		(void)client_release(c, dir);
	}
	if (err != 0) {
		cluster_fail(n->cluster, "names: listing: %s", ne_name(err));
	}
	for (unsigned i = 0; i < STABLE; i++) {
		if (l.seen[i] != 1) {
			cluster_fail(n->cluster, "names: a listing has stable-%u %u times", i,
				l.seen[i]);
		}
	}
}

/* ---- a racer ---- */

static void step(struct racer *r)
{
	struct client_file *file = NULL;
	struct name_op op;

	switch (actor_rnd(&r->actor, 10)) {
	case 0:
		list(r);
		return;
	case 1:
		held_read(r, &r->held[actor_rnd(&r->actor, HELD_MAX)]);
		return;
	default:
		break;
	}
	op_generate(r, &op);
	(void)op_do(r, &op, &file);
	if (file != NULL && actor_rnd(&r->actor, 2) == 0) {
		held_take(r, file);
	} else if (file != NULL) {
		(void)client_release(r->actor.cl->client, file);
	}
}

static void racer_main(void *arg)
{
	struct racer *r = arg;
	struct names *n = r->names;

	actor_begin(&r->actor);
	place_find(r);
	while (r->left > 0 && !r->actor.stop && !n->over &&
		n->history.op_count < NAMES_OPS_MAX - 2 * RACERS_MAX) {
		step(r);
		r->left--;
		if (actor_rnd(&r->actor, 3) == 0) {
			actor_pause(&r->actor, actor_rnd(&r->actor, 2 * NS_PER_MS));
		}
	}
	for (unsigned i = 0; i < HELD_MAX; i++) {
		held_read(r, &r->held[i]);
		held_drop(r, &r->held[i]);
	}
	r->actor.idle = true;
}

/* ---- the end ---- */

static void history_print(const struct name_history *h, unsigned last)
{
	char text[160];

	for (unsigned i = 0; i <= last && i < h->event_count; i++) {
		name_op_text(&h->ops[h->events[i].op], text, sizeof(text));
		fprintf(stderr, "names: %s %u: %s\n", h->events[i].end ? "end  " : "begin",
			h->events[i].op, text);
	}
}

void names_check(struct names *n, struct client *c)
{
	struct racer *r = &n->racers[0];
	struct client_file *file = NULL;
	unsigned event = 0;
	enum name_verdict verdict;

	if (!n->ready) {
		return;
	}
	ASSERT(c == r->actor.cl->client);
	for (unsigned i = 0; i < NAMES_SLOTS && !n->over; i++) {
		struct name_op op = {.kind = NAME_LOOKUP, .a = (uint8_t)i, .actor = 99, .rc = -1};

		(void)op_do(r, &op, &file);
	}
	verdict = names_order(&n->history, &event);
	if (verdict == NAMES_WRONG) {
		history_print(&n->history, event);
		cluster_fail(n->cluster,
			"names: no order explains the answer of operation %u (of %u)",
			n->history.events[event].op, n->history.op_count);
	}
	n->cluster->orders_checked += verdict == NAMES_FINE ? n->history.op_count : 0;
}
