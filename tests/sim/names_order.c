/*
 * Is there an order of the operations that explains all answers?
 *
 * Events are gone through in the order of time with the set of all situations possible so far: what the names are,
 * and which of the operations under way have happened already, with what answer. At each end only those situations
 * stay in which that operation has happened with the answer it gave. No situation left: no order exists.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "names_int.h"

#define OPEN_MAX 24u
#define SITUATIONS_MAX 60000u
#define BUCKETS 131072u
#define NOBODY UINT16_MAX

struct answer {
	uint8_t done;
	uint8_t err; /* errno */
	uint8_t err2; /* another one that is as good; 0 none */
	uint8_t dir;
	uint16_t inode; /* number of the operation that made it, plus 1 */
};

struct situation {
	uint16_t names[NAMES_SLOTS]; /* inode, 0: none */
	struct answer open[OPEN_MAX];
};

struct order {
	const struct name_history *h;
	struct situation *set;
	unsigned count;
	uint32_t *buckets; /* index in set plus 1 */
	uint16_t open[OPEN_MAX]; /* operation under way, NOBODY */
	bool too_many;
};

void name_op_text(const struct name_op *op, char *buf, size_t cap)
{
	static const char *const kinds[NAME_KINDS] = {"create", "mkdir", "unlink", "rmdir", "link",
		"rename", "rename-noreplace", "exchange", "lookup"};

	snprintf(buf, cap, "actor %u %s %u %u fid [0x%llx:0x%x] target [0x%llx:0x%x] dir %d: %s",
		op->actor, kinds[op->kind], op->a, op->b, (unsigned long long)op->fid.seq,
		op->fid.oid, (unsigned long long)op->target.seq, op->target.oid, op->dir,
		op->rc < 0 ? "?" : strerror(op->rc));
}

/* ---- what an operation does ---- */

static bool is_dir(const struct order *o, uint16_t inode)
{
	return inode != 0 && o->h->ops[inode - 1].kind == NAME_MKDIR;
}

static uint8_t links(const struct situation *s, uint16_t inode)
{
	uint8_t n = 0;

	for (unsigned i = 0; i < NAMES_SLOTS; i++) {
		n = (uint8_t)(n + (s->names[i] == inode));
	}
	return n;
}

static uint16_t maker(const struct order *o, struct fid fid)
{
	for (unsigned i = 0; i < o->h->op_count; i++) {
		const struct name_op *op = &o->h->ops[i];

		if (op->kind <= NAME_MKDIR && op->rc == 0 && fid_eq(op->fid, fid)) {
			return (uint16_t)(i + 1);
		}
	}
	return NOBODY; /* by an operation whose end nobody saw */
}

static struct answer refused(int err, int err2)
{
	return (struct answer){.done = 1, .err = (uint8_t)err, .err2 = (uint8_t)err2};
}

static struct answer do_link(const struct order *o, struct situation *s, const struct name_op *op)
{
	uint16_t inode = maker(o, op->target);
	bool gone = inode != NOBODY && links(s, inode) == 0;

	if (gone) {
		return refused(s->names[op->a] != 0 ? EEXIST : ENOENT, ESTALE);
	}
	if (s->names[op->a] != 0) {
		return refused(EEXIST, 0);
	}
	s->names[op->a] = inode;
	return (struct answer){.done = 1};
}

static struct answer do_rename(const struct order *o, struct situation *s, const struct name_op *op)
{
	uint16_t a = s->names[op->a];
	uint16_t b = s->names[op->b];

	if (a == 0) {
		return refused(ENOENT, op->kind == NAME_NOREPLACE && b != 0 ? EEXIST : 0);
	}
	if (op->kind == NAME_NOREPLACE && b != 0) {
		return refused(EEXIST, 0);
	}
	if (op->kind == NAME_EXCHANGE) {
		if (b == 0) {
			return refused(ENOENT, 0);
		}
		s->names[op->a] = b;
		s->names[op->b] = a;
		return (struct answer){.done = 1};
	}
	if (op->a == op->b || a == b) {
		return (struct answer){.done = 1};
	}
	if (b != 0 && is_dir(o, a) != is_dir(o, b)) {
		return refused(is_dir(o, a) ? ENOTDIR : EISDIR, 0);
	}
	s->names[op->b] = a;
	s->names[op->a] = 0;
	return (struct answer){.done = 1};
}

static struct answer apply(const struct order *o, struct situation *s, uint16_t number)
{
	const struct name_op *op = &o->h->ops[number];
	uint16_t inode = s->names[op->a];

	switch (op->kind) {
	case NAME_CREATE:
	case NAME_MKDIR:
		if (inode != 0) {
			return refused(EEXIST, 0);
		}
		s->names[op->a] = (uint16_t)(number + 1);
		return (struct answer){.done = 1};
	case NAME_UNLINK:
	case NAME_RMDIR:
		if (inode == 0) {
			return refused(ENOENT, 0);
		}
		if (is_dir(o, inode) != (op->kind == NAME_RMDIR)) {
			return refused(op->kind == NAME_RMDIR ? ENOTDIR : EISDIR, 0);
		}
		s->names[op->a] = 0;
		return (struct answer){.done = 1};
	case NAME_LINK:
		return do_link(o, s, op);
	case NAME_LOOKUP:
		return inode == 0
			? refused(ENOENT, 0)
			: (struct answer){.done = 1, .inode = inode, .dir = is_dir(o, inode)};
	default:
		return do_rename(o, s, op);
	}
}

/* ---- sets of situations ---- */

static void set_clear(struct order *o)
{
	memset(o->buckets, 0, BUCKETS * sizeof(*o->buckets));
	o->count = 0;
}

static void set_add(struct order *o, const struct situation *s)
{
	uint64_t at = hash_bytes(s, sizeof(*s)) % BUCKETS;

	while (o->buckets[at] != 0) {
		if (memcmp(&o->set[o->buckets[at] - 1], s, sizeof(*s)) == 0) {
			return;
		}
		at = (at + 1) % BUCKETS;
	}
	if (o->count == SITUATIONS_MAX) {
		o->too_many = true;
		return;
	}
	o->set[o->count] = *s;
	o->buckets[at] = ++o->count;
}

/* Adds all that can come of the situations when more of what is under way happens. */
static void set_close(struct order *o)
{
	for (unsigned i = 0; i < o->count && !o->too_many; i++) {
		for (unsigned k = 0; k < OPEN_MAX; k++) {
			struct situation s = o->set[i];

			if (o->open[k] == NOBODY || s.open[k].done != 0) {
				continue;
			}
			s.open[k] = apply(o, &s, o->open[k]);
			set_add(o, &s);
		}
	}
}

/* Did it give this answer? */
static bool fits(const struct order *o, const struct answer *a, const struct name_op *op)
{
	if (op->rc == ENOSPC) {
		return a->done == 0; /* it did nothing */
	}
	if (a->done == 0 || (a->err != op->rc && (a->err2 == 0 || a->err2 != op->rc))) {
		return false;
	}
	if (op->kind != NAME_LOOKUP || op->rc != 0) {
		return true;
	}
	if (a->inode == NOBODY || maker(o, op->fid) == NOBODY) {
		/* Made by somebody whose answer was not seen. */
		return a->inode == NOBODY || o->h->ops[a->inode - 1].rc < 0;
	}
	/* Its attributes may be of a later moment, as stat(2)'s: links are not compared. */
	return a->inode == maker(o, op->fid) && a->dir == op->dir;
}

static bool end_of(struct order *o, uint16_t number)
{
	unsigned slot = 0;
	unsigned kept = 0;
	struct situation *old;
	unsigned count;

	while (o->open[slot] != number) {
		slot++;
	}
	set_close(o);
	if (o->too_many) {
		return true;
	}
	count = o->count;
	old = malloc(count * sizeof(*old) + 1);
	if (old == NULL) {
		abort();
	}
	memcpy(old, o->set, count * sizeof(*old));
	set_clear(o);
	for (unsigned i = 0; i < count; i++) {
		if (fits(o, &old[i].open[slot], &o->h->ops[number])) {
			old[i].open[slot] = (struct answer){0};
			set_add(o, &old[i]);
			kept++;
		}
	}
	free(old);
	o->open[slot] = NOBODY;
	return kept > 0;
}

static bool begin_of(struct order *o, uint16_t number)
{
	for (unsigned slot = 0; slot < OPEN_MAX; slot++) {
		if (o->open[slot] == NOBODY) {
			o->open[slot] = number;
			return true;
		}
	}
	return false;
}

enum name_verdict names_order(const struct name_history *h, unsigned *ret_event)
{
	struct order o = {.h = h};
	enum name_verdict verdict = NAMES_FINE;
	struct situation first;

	memset(&first, 0, sizeof(first));
	memset(o.open, 0xff, sizeof(o.open));
	o.set = malloc(SITUATIONS_MAX * sizeof(*o.set));
	o.buckets = calloc(BUCKETS, sizeof(*o.buckets));
	if (o.set == NULL || o.buckets == NULL) {
		abort();
	}
	set_add(&o, &first);
	for (unsigned i = 0; i < h->event_count && verdict == NAMES_FINE; i++) {
		const struct name_event *e = &h->events[i];

		if (!e->end && !begin_of(&o, e->op)) {
			verdict = NAMES_TOO_MANY;
		} else if (e->end && !end_of(&o, e->op)) {
			verdict = NAMES_WRONG;
			*ret_event = i;
		}
		verdict = o.too_many ? NAMES_TOO_MANY : verdict;
	}
	free(o.set);
	free(o.buckets);
	return verdict;
}
