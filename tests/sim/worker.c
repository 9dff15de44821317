/* A worker's life: see worker.h. */
#include "worker.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "layout/layout.h"
#include "model/model_int.h"

#define RESYNC_TRIES 50

struct worker *worker_new(struct cluster_client *cl, unsigned index, unsigned ops)
{
	struct worker *w = calloc(1, sizeof(*w));
	struct cluster *c = cl->cluster;

	if (w == NULL) {
		abort();
	}
	w->cluster = c;
	w->cl = cl;
	w->index = index;
	snprintf(w->name, sizeof(w->name), "w%u", index);
	prng_init(&w->rng, c->opt.seed * 1000003 + index);
	w->profile.data_percent = (unsigned)prng_range(&w->rng, 10, 80);
	w->profile.big_percent = (unsigned)prng_range(&w->rng, 5, 60);
	w->profile.stripes = prng_chance(&w->rng, 2, 3);
	w->profile.truncate_percent = prng_chance(&w->rng, 1, 5) ? 40 : 0;
	w->ops_left = ops;
	w->buf = malloc(TREE_FILE_MAX + 1);
	return w;
}

void worker_free(struct worker *w)
{
	if (w == NULL) {
		return;
	}
	snap_clear(&w->snap);
	free(w->snap.nodes);
	tree_free(w->tree);
	free(w->buf);
	free(w);
}

/* ---- the beginning ---- */

static void stripes_set(struct worker *w)
{
	static struct lov_md md;
	struct client_cred cred = worker_cred(false);
	unsigned losses = w->cluster->mdt_losses;
	uint8_t lov[64];
	size_t len = 0;
	int err;

	memset(&md, 0, sizeof(md));
	md.pattern = LOV_PATTERN_RAID0;
	md.stripe_size = LIM_STRIPE_SIZE_MIN * (1 + prng_below(&w->rng, 2));
	md.stripe_count = (uint16_t)(1 + prng_below(&w->rng, w->cluster->ost_count));
	md.stripe_offset = 0xffff;
	err = lov_encode(&md, lov, sizeof(lov), &len);
	if (err == 0) {
		err = client_setxattr(
			w->cl->client, &cred, w->root, "lustre.lov", span_of(lov, len), 0);
	}
	if (err != 0 && losses == w->cluster->mdt_losses &&
		!(err == -NE_NOSPC && w->cluster->opt.space_short)) {
		cluster_fail(w->cluster, "%s: default layout: %s", w->name, ne_name(err));
	}
}

/* Makes the directory or, in a later life, finds it. */
static bool dir_find(struct worker *w, struct client_attr *ret_attr)
{
	struct client_cred cred = worker_cred(false);
	struct client_create how = {.mode = S_IFDIR | 0777};
	struct client *c = w->cl->client;
	struct client_attr attr;
	int err = client_create(c, &cred, client_root(c), w->name, &how, &attr);

	if (err == -NE_EXIST) {
		err = client_lookup(c, &cred, client_root(c), w->name, &attr);
	}
	if (err == -NE_NOSPC && w->cluster->opt.space_short) {
		return false;
	}
	if (err != 0) {
		cluster_fail(w->cluster, "%s: making its directory: %s", w->name, ne_name(err));
	}
	w->root = attr.fid;
	*ret_attr = attr;
	return true;
}

static bool begin(struct worker *w)
{
	struct client_attr attr;
	unsigned losses;
	int err;

	do {
		losses = w->cluster->mdt_losses;
		if (!dir_find(w, &attr)) {
			return false;
		}
		if (w->profile.stripes && losses == w->cluster->mdt_losses) {
			stripes_set(w);
		}
		err = client_sync(w->cl->client);
	} while (losses != w->cluster->mdt_losses);
	if (err != 0) {
		cluster_fail(w->cluster, "%s: sync: %s", w->name, ne_name(err));
	}
	ASSERT(w->tree == NULL);
	w->tree = tree_new(&attr);
	w->mdt_seen = losses;
	return true;
}

/* ---- which of the possible states is it? ---- */

static void handles_close(struct worker *w)
{
	for (unsigned i = 0; i < TREE_HANDLES; i++) {
		if (w->files[i] != NULL) {
			(void)client_release(w->cl->client, TAKE_PTR(w->files[i]));
		}
		w->lost_ok[i] = false;
	}
}

/* The operation in flight may have happened in part. */
static void flight_mark(struct worker *w)
{
	const struct op *op = &w->op;
	struct tree *t = w->tree;
	struct model_cred root;
	struct model_attr attr;
	uint64_t from = 0;
	uint64_t to;
	uint32_t id = op->id;

	tree_model_cred(false, &root);
	if (op->kind == OP_WRITE) {
		id = t->handles[op->handle].id;
	} else if (op->kind == OP_CREATE &&
		model_lookup(t->now, &root, op->id, tree_name(op->name), &id) != 0) {
		return;
	} else if (op->kind != OP_CREATE && op->kind != OP_OPEN && op->kind != OP_SETATTR) {
		return;
	}
	if (model_getattr(t->now, id, &attr) != 0 || !S_ISREG(attr.mode)) {
		return;
	}
	to = attr.size;
	if (op->kind == OP_WRITE) {
		from = (t->handles[op->handle].flags & O_APPEND) != 0 ? attr.size : op->off;
		to = from + op->len;
		from = u64_min(from, attr.size);
	} else if (op->kind == OP_SETATTR) {
		if ((op->valid & CLIENT_SET_SIZE) == 0) {
			return;
		}
		from = u64_min(attr.size, op->len);
		to = u64_max(attr.size, op->len);
	} else if ((op->flags & O_TRUNC) == 0) {
		return;
	}
	if (u64_max(to, attr.size) > LIM_INLINE_MAX) {
		tree_striped(t, id);
	}
	tree_mark(t, id, from, to, DIRT_UNKNOWN, 0);
}

/* The base and the first k operations, perhaps the one in flight after them; all handles closed. */
static struct model *candidate(const struct worker *w, unsigned k, bool flight, uint32_t *ret_known)
{
	const struct tree *t = w->tree;
	struct model *m = model_clone(t->base);
	struct tree_handle handles[TREE_HANDLES];
	uint32_t id = 0;

	memcpy(handles, t->base_handles, sizeof(handles));
	for (unsigned i = 0; i < k; i++) {
		(void)tree_apply(m, handles, &t->journal[i], &id);
	}
	for (unsigned i = k; i < t->journal_len; i++) {
		tree_apply_objects(m, &t->journal[i]);
	}
	*ret_known = model_count(m);
	if (flight && w->op.kind == OP_WRITE) {
		/* Its handle was claimed again, although the open may have been forgotten. */
		struct tree_handle claimed[TREE_HANDLES];
		uint32_t file = t->handles[w->op.handle].id;

		memcpy(claimed, t->handles, sizeof(claimed));
		if (model_node(m, file) != NULL) {
			(void)tree_apply(m, claimed, &w->op, &id);
		}
	} else if (flight) {
		(void)tree_apply(m, handles, &w->op, &id);
	}
	for (unsigned i = 0; i < TREE_HANDLES; i++) {
		if (handles[i].id != 0) {
			model_close(m, handles[i].id);
		}
	}
	return m;
}

static void candidate_take(struct worker *w, struct model *m, const uint32_t *map)
{
	struct tree *t = w->tree;

	model_free(t->now);
	t->now = m;
	for (uint32_t id = model_count(m) + 1; id <= t->cap; id++) {
		tree_fid_set(t, id, (struct fid){0});
		tree_dirt_clear(t, id, DIRT_OST | DIRT_MDT | DIRT_UNKNOWN);
		if (t->dirts[id - 1] != NULL) {
			t->dirts[id - 1]->broken = false;
			t->dirts[id - 1]->striped = false;
			t->dirts[id - 1]->surely = false;
		}
	}
	tree_adopt(t, &w->snap, map);
	for (uint32_t id = 1; id <= model_count(m); id++) {
		tree_dirt_clear(t, id, DIRT_OST | DIRT_MDT | DIRT_UNKNOWN);
	}
	memset(t->handles, 0, sizeof(t->handles));
	tree_based(t);
}

static bool candidate_try(struct worker *w, unsigned k, bool flight, char *why, size_t cap)
{
	uint32_t known = 0;
	struct model *m = candidate(w, k, flight, &known);
	uint32_t *map = calloc(model_count(m) + 1, sizeof(*map));
	struct tree_view v = {.tree = w->tree,
		.m = m,
		.fids_known = known,
		.excuses = DIRT_UNKNOWN,
		.ost_losses = w->cluster->ost_losses,
		.map = map,
		.why = why,
		.why_cap = cap};
	bool equal = tree_equal(&v, &w->snap);

	if (equal) {
		candidate_take(w, m, map);
	} else {
		model_free(m);
	}
	free(map);
	return equal;
}

static bool candidates_try(struct worker *w, bool flight, bool mdt_lost)
{
	unsigned n = w->tree->journal_len;
	static char why[2][256];

	for (unsigned k = n + 1; k-- > (mdt_lost ? 0 : n);) {
		if ((flight && candidate_try(w, k, true, why[1], sizeof(why[1]))) ||
			candidate_try(w, k, false, why[0], sizeof(why[0]))) {
			w->ops_lost += n - k;
			return true;
		}
		fprintf(stderr, "%s: not the first %u of %u operations: %s\n", w->name, k, n,
			why[0]);
		if (flight) {
			fprintf(stderr, "%s: nor with that in flight: %s\n", w->name, why[1]);
		}
	}
	for (unsigned k = 0; k < n; k++) {
		char text[OP_TEXT_MAX];

		op_text(&w->tree->journal[k], text);
		fprintf(stderr, "%s: operation %u since the last sync: %s\n", w->name, k + 1, text);
	}
	if (flight) {
		char text[OP_TEXT_MAX];

		op_text(&w->op, text);
		fprintf(stderr, "%s: in flight: %s\n", w->name, text);
	}
	cluster_fail(w->cluster,
		"%s: after a crash its directory is in no possible state (%u operations since the "
		"last "
		"sync, MDT lost power: %d)",
		w->name, n, mdt_lost);
}

/* Another life of the client: nothing is open any more. */
static void life_begin(struct worker *w)
{
	if (w->life == w->cl->life) {
		return;
	}
	if (w->life != 0) {
		memset(w->files, 0, sizeof(w->files));
		env_sleep(sim_node_env(w->cl->node), WORKER_QUIET_NS);
	}
	w->life = w->cl->life;
}

static void worker_resync(struct worker *w)
{
	struct cluster *c = w->cluster;
	bool flight = w->in_flight && w->op.kind < OP_CHANGES;
	bool mdt_lost = w->mdt_seen != c->mdt_losses;
	unsigned losses;
	int err;

	w->resyncs++;
	if (flight) {
		flight_mark(w);
	}
	handles_close(w);
	for (unsigned i = 0;; i++) {
		losses = c->mdt_losses;
		w->disk_errors = cluster_disk_errors(c);
		err = worker_walk(w, w->cl->client, true);
		if (err == 0) {
			err = client_sync(w->cl->client);
		}
		if (losses == c->mdt_losses && !worker_disk_failed(w, err)) {
			break;
		}
		mdt_lost = mdt_lost || losses != c->mdt_losses;
		if (i == RESYNC_TRIES) {
			return; /* the MDT loses power all the time */
		}
	}
	if (err != 0) {
		cluster_fail(c, "%s: walking its directory: %s", w->name, ne_name(err));
	}
	mdt_lost = mdt_lost || w->mdt_seen != losses;
	(void)candidates_try(w, flight, mdt_lost);
	w->in_flight = false;
	w->resync_due = false;
	w->mdt_seen = losses;
}

/* ---- work ---- */

/* After a loss, parts of a script have nothing to work on. */
static bool possible(const struct worker *w, const struct op *op)
{
	bool handle = op->kind == OP_WRITE || op->kind == OP_READ || op->kind == OP_FSYNC ||
		op->kind == OP_CLOSE;
	struct model_attr attr;

	if (handle) {
		return w->tree->handles[op->handle].id != 0;
	}
	if (op->kind == OP_SETATTR && model_getattr(w->tree->now, op->id, &attr) == 0 &&
		!S_ISREG(attr.mode)) {
		return false;
	}
	return (op->id == 0 || !fid_is_zero(tree_fid(w->tree, op->id))) &&
		(op->id2 == 0 || !fid_is_zero(tree_fid(w->tree, op->id2)));
}

static void step(struct worker *w)
{
	unsigned losses = w->cluster->mdt_losses;
	char text[OP_TEXT_MAX];
	int rc;

	worker_generate(w, &w->op);
	if (w->script != NULL && !possible(w, &w->op)) {
		w->ops_done++;
		return;
	}
	w->ost_losses = w->cluster->ost_losses;
	w->disk_errors = cluster_disk_errors(w->cluster);
	w->crashes = w->cluster->crashes;
	w->in_flight = true;
	op_text(&w->op, text);
	sim_note(w->cluster->sim, "%s %u: %s", w->name, w->ops_done, text);
	rc = worker_execute(w, &w->op);
	sim_note(w->cluster->sim, "%s %u: answered %s", w->name, w->ops_done, ne_name(rc));
	w->ops_done++;
	if (losses != w->cluster->mdt_losses) {
		return;
	}
	if (worker_disk_failed(w, rc) || worker_half_done(w, &w->op, rc)) {
		/* Done or not, in part or whole: the same as after a crash. */
		w->resync_due = w->op.kind < OP_CHANGES;
	} else {
		worker_check(w, &w->op, rc);
		w->in_flight = false;
	}
}

static void work(struct worker *w)
{
	while (w->ops_left > 0 && !w->stop) {
		if (w->mdt_seen != w->cluster->mdt_losses || w->resync_due) {
			worker_resync(w);
			continue;
		}
		step(w);
		w->ops_left--;
	}
}

void worker_main(void *arg)
{
	struct worker *w = arg;
	struct env *env = sim_node_env(w->cl->node);

	w->running = true;
	w->idle = false;
	life_begin(w);
	if (w->tree != NULL) {
		worker_resync(w);
	}
	while (w->tree == NULL && !w->stop && !begin(w)) {
		env_sleep(env, NS_PER_S);
	}
	work(w);
	w->idle = true;
	w->running = false;
}

/* ---- the end ---- */

void worker_settle(struct worker *w)
{
	life_begin(w);
	if (w->tree == NULL && !begin(w)) {
		return;
	}
	/* The same as after a crash in which nothing was lost. */
	worker_resync(w);
}

void worker_compare(struct worker *w, struct client *c, const char *who)
{
	char why[256] = "";
	struct tree_view v = {.tree = w->tree,
		.m = w->tree == NULL ? NULL : w->tree->now,
		.ost_losses = w->cluster->ost_losses,
		.why = why,
		.why_cap = sizeof(why)};
	int err;

	if (w->tree == NULL) {
		return;
	}
	err = worker_walk(w, c, false);
	if (err != 0) {
		cluster_fail(w->cluster, "%s walks %s: %s", who, w->name, ne_name(err));
	}
	if (!tree_equal(&v, &w->snap)) {
		cluster_fail(
			w->cluster, "%s sees %s otherwise than its owner: %s", who, w->name, why);
	}
}
