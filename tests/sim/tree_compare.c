/* See tree.h: is what a client saw the model? */
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model/model_int.h"
#include "tree.h"

/* ---- snapshots ---- */

void snap_clear(struct snap *s)
{
	for (uint32_t i = 0; i < s->count; i++) {
		free(s->nodes[i].data);
	}
	s->count = 0;
}

struct snap_node *snap_add(struct snap *s, uint32_t parent, const char *name)
{
	struct snap_node *n;

	if (s->count == s->cap) {
		s->cap = s->cap == 0 ? 64 : s->cap * 2;
		s->nodes = model_alloc(s->nodes, s->cap * sizeof(*s->nodes));
	}
	n = &s->nodes[s->count];
	memset(n, 0, sizeof(*n));
	n->parent = parent;
	n->same = s->count++;
	snprintf(n->name, sizeof(n->name), "%s", name);
	return n;
}

/* ---- comparing ---- */

struct comparing {
	const struct tree_view *v;
	const struct snap *s;
	uint32_t *map;
};

static bool differs(const struct tree_view *v, const char *fmt, ...) _printf_(2, 3);

static bool differs(const struct tree_view *v, const char *fmt, ...)
{
	va_list ap;

	if (v->why != NULL) {
		va_start(ap, fmt);
		vsnprintf(v->why, v->why_cap, fmt, ap);
		va_end(ap);
	}
	return false;
}

static unsigned excuses_of(const struct tree_view *v, const struct dirt *d)
{
	unsigned bits = v->excuses & (DIRT_MDT | DIRT_UNKNOWN);

	if (d == NULL) {
		return 0;
	}
	if ((d->any & DIRT_OST) != 0 && d->ost_losses != v->ost_losses) {
		bits |= DIRT_OST;
	}
	return d->striped ? bits : bits & DIRT_UNKNOWN;
}

int64_t tree_content_check(
	const struct tree_view *v, uint32_t id, uint64_t off, const uint8_t *buf, uint64_t len)
{
	const struct model_node *n = model_node(v->m, id);
	const struct dirt *d = tree_dirt(v->tree, id);
	unsigned bits = excuses_of(v, d);

	for (uint64_t i = 0; i < len; i++) {
		uint64_t at = off + i;
		uint8_t want = at < n->data_len ? n->data[at] : 0;

		if (buf[i] == want) {
			continue;
		}
		if (bits == 0 || at >= TREE_FILE_MAX || (d->bits[at] & bits) == 0) {
			return (int64_t)at;
		}
	}
	return -1;
}

/* May the size be this rather than the model's? Every byte between must be excused. */
static bool size_excused(const struct tree_view *v, uint32_t id, uint64_t size, uint64_t want)
{
	const struct dirt *d = tree_dirt(v->tree, id);
	unsigned bits = excuses_of(v, d);

	for (uint64_t i = u64_min(size, want); i < u64_max(size, want); i++) {
		if (bits == 0 || i >= TREE_FILE_MAX || (d->bits[i] & bits) == 0) {
			return false;
		}
	}
	return true;
}

static bool content_equal(const struct comparing *cmp, uint32_t id, const struct snap_node *n)
{
	const struct tree_view *v = cmp->v;
	const struct snap_node *data = &cmp->s->nodes[n->same];
	const struct dirt *d = tree_dirt(v->tree, id);
	uint64_t want = model_node(v->m, id)->attr.size;
	int64_t bad;

	if (d != NULL && d->broken) {
		return true;
	}
	if (data->data_rc != 0) {
		unsigned doubt = v->ost_losses > 0 ? DIRT_OST | DIRT_UNKNOWN : 0;

		if (ne_errno(data->data_rc) == EIO && d != NULL &&
			(excuses_of(v, d) & d->any & doubt) != 0) {
			return true;
		}
		return differs(
			v, "node %u (%s): reading gives %s", id, n->name, ne_name(data->data_rc));
	}
	if (n->attr.size != data->data_len) {
		return differs(v, "node %u (%s): size %" PRIu64 ", but %" PRIu64 " bytes were read",
			id, n->name, n->attr.size, data->data_len);
	}
	if (!size_excused(v, id, data->data_len, want)) {
		return differs(v, "node %u (%s): size %" PRIu64 ", not %" PRIu64, id, n->name,
			data->data_len, want);
	}
	bad = tree_content_check(v, id, 0, data->data, data->data_len);
	if (bad >= 0) {
		return differs(v, "node %u (%s): byte %" PRId64 " of %" PRIu64 " is 0x%02x", id,
			n->name, bad, data->data_len, data->data[bad]);
	}
	return true;
}

bool tree_mtime_exact(const struct tree *t, const struct model *m, uint32_t id)
{
	const struct dirt *d = tree_dirt(t, id);

	return model_node(m, id)->attr.mtime != TREE_TIME_UNKNOWN && (d == NULL || !d->striped);
}

static bool attr_equal(const struct comparing *cmp, uint32_t id, const struct snap_node *n)
{
	const struct tree_view *v = cmp->v;
	const struct model_attr *a = &model_node(v->m, id)->attr;
	const struct client_attr *b = &n->attr;

	if (a->mode != b->mode || a->nlink != b->nlink || a->uid != b->uid || a->gid != b->gid) {
		return differs(v,
			"node %u (%s): mode %o nlink %u uid %u gid %u, not mode %o nlink %u uid %u "
			"gid "
			"%u",
			id, n->name, b->mode, b->nlink, b->uid, b->gid, a->mode, a->nlink, a->uid,
			a->gid);
	}
	if (tree_mtime_exact(v->tree, v->m, id) && a->mtime != b->mtime_ns) {
		return differs(v, "node %u (%s): mtime %" PRId64 ", not %" PRId64, id, n->name,
			b->mtime_ns, a->mtime);
	}
	if (!S_ISDIR(a->mode) && !S_ISREG(a->mode) && a->size != b->size) {
		return differs(v, "node %u (%s): size %" PRIu64 ", not %" PRIu64, id, n->name,
			b->size, a->size);
	}
	return true;
}

static bool xattrs_equal(const struct comparing *cmp, uint32_t id, const struct snap_node *n)
{
	struct model_cred root;

	tree_model_cred(false, &root);
	for (unsigned i = 0; i < TREE_XATTRS; i++) {
		const struct snap_xattr *x = &n->xattrs[i];
		const void *value = NULL;
		size_t len = 0;
		int r = model_getxattr(cmp->v->m, &root, id, tree_xattr(i), &value, &len);

		if (r != -ne_errno(x->rc)) {
			return differs(cmp->v, "node %u (%s): xattr %s gives %s, not %s", id,
				n->name, tree_xattr(i), ne_name(x->rc), strerror(-r));
		}
		if (r == 0 && (len != x->len || memcmp(value, x->value, len) != 0)) {
			return differs(cmp->v, "node %u (%s): xattr %s differs", id, n->name,
				tree_xattr(i));
		}
	}
	return true;
}

static uint32_t child_find(const struct snap *s, uint32_t parent, const char *name)
{
	for (uint32_t i = 1; i < s->count; i++) {
		if (s->nodes[i].parent == parent && strcmp(s->nodes[i].name, name) == 0) {
			return i;
		}
	}
	return 0;
}

static unsigned child_count(const struct snap *s, uint32_t parent)
{
	unsigned n = 0;

	for (uint32_t i = 1; i < s->count; i++) {
		n += s->nodes[i].parent == parent;
	}
	return n;
}

static bool node_equal(const struct comparing *cmp, uint32_t id, uint32_t at)
{
	const struct tree_view *v = cmp->v;
	const struct snap_node *n = &cmp->s->nodes[at];
	struct fid fid = tree_fid(v->tree, id);
	bool known = v->fids_known == 0 || id <= v->fids_known;
	const char *target = NULL;

	if (known && !fid_is_zero(fid) && !fid_eq(fid, n->attr.fid)) {
		return differs(v, "node %u (%s): another FID than when it was made", id, n->name);
	}
	if (cmp->map[id - 1] != 0 &&
		!fid_eq(cmp->s->nodes[cmp->map[id - 1] - 1].attr.fid, n->attr.fid)) {
		return differs(v, "node %u (%s): its links name different files", id, n->name);
	}
	cmp->map[id - 1] = at + 1;
	if (!attr_equal(cmp, id, n) || !xattrs_equal(cmp, id, n)) {
		return false;
	}
	if (S_ISREG(n->attr.mode)) {
		return content_equal(cmp, id, n);
	}
	if (S_ISLNK(n->attr.mode) && model_readlink(v->m, id, &target) == 0 &&
		strcmp(target, n->target) != 0) {
		return differs(v, "node %u (%s): another target", id, n->name);
	}
	return true;
}

static bool dir_equal(const struct comparing *cmp, uint32_t dir, uint32_t at)
{
	const struct tree_view *v = cmp->v;
	const char *name = NULL;
	unsigned pos = 0;
	unsigned count = 0;
	uint32_t id = 0;

	while (model_dir_next(v->m, dir, &pos, &name, &id)) {
		uint32_t child = child_find(cmp->s, at, name);

		count++;
		if (child == 0) {
			return differs(v, "directory %u: %s (node %u) is missing", dir, name, id);
		}
		if (!node_equal(cmp, id, child)) {
			return false;
		}
		if (S_ISDIR(cmp->s->nodes[child].attr.mode) && !dir_equal(cmp, id, child)) {
			return false;
		}
	}
	if (count != child_count(cmp->s, at)) {
		return differs(
			v, "directory %u: %u entries, not %u", dir, child_count(cmp->s, at), count);
	}
	return true;
}

bool tree_equal(const struct tree_view *v, const struct snap *s)
{
	struct comparing cmp = {.v = v, .s = s, .map = v->map};
	uint32_t *own = NULL;
	bool equal;

	if (s->count == 0) {
		return differs(v, "nothing was seen");
	}
	if (cmp.map == NULL) {
		own = calloc(model_count(v->m) + 1, sizeof(*own));
		cmp.map = own;
	}
	if (cmp.map == NULL) {
		abort();
	}
	equal = node_equal(&cmp, MODEL_ROOT, 0) && dir_equal(&cmp, MODEL_ROOT, 0);
	free(own);
	return equal;
}

/* ---- taking over what is there ---- */

static void content_adopt(struct tree *t, uint32_t id, const struct snap_node *data)
{
	struct model_node *n = model_node(t->now, id);

	if (data->data_rc != 0) {
		tree_broken(t, id);
		return;
	}
	n->data = model_alloc(n->data, data->data_len);
	if (data->data_len > 0) {
		memcpy(n->data, data->data, data->data_len);
	}
	n->data_len = data->data_len;
	n->attr.size = data->data_len;
}

void tree_adopt(struct tree *t, const struct snap *s, const uint32_t *map)
{
	for (uint32_t id = 1; id <= model_count(t->now); id++) {
		const struct snap_node *n;

		if (map[id - 1] == 0) {
			continue;
		}
		n = &s->nodes[map[id - 1] - 1];
		tree_fid_set(t, id, n->attr.fid);
		if (S_ISREG(n->attr.mode) &&
			(tree_dirt(t, id) == NULL || !tree_dirt(t, id)->broken)) {
			content_adopt(t, id, &s->nodes[n->same]);
		}
	}
}
