/*
 * The tree of an omap: get, put with splits, del with merges. See omap.h and omap_int.h.
 *
 * Invariants: all leaves are at one depth and linked in key order; no leaf is empty; an inner node
 * has at least one child, the root at least two unless it is a leaf. A put first allocates all it
 * may need, then changes: so it fails without a trace. A del merges a node under OMAP_FILL_MIN with
 * a neighbour if both fit into one with room to spare, and never borrows: neighbours together stay
 * above OMAP_MERGE_MAX, which is all the balance a table needs, and a del needs no memory.
 */
#include "base/omap_int.h"

#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

/* The nodes from the root to a leaf, and where to go in each. */
struct omap_path {
	unsigned depth; /* nodes */
	bool exact; /* the leaf has the key at pos[depth - 1] */
	struct omap_node *node[OMAP_DEPTH_MAX];
	uint8_t pos[OMAP_DEPTH_MAX];
};

/* What a put will consume: allocated before anything changes, what is left over is freed. */
struct omap_stock {
	struct omap_rec *rec;
	struct omap_rec *separator;
	struct omap_node *leaf;
	unsigned inner_count;
	struct omap_node *inner[OMAP_DEPTH_MAX + 1];
};

void omap_init(struct omap *map)
{
	ASSERT(map != NULL);
	*map = (struct omap){.root = NULL};
}

static void omap_rec_drop(struct omap *map, struct omap_rec *rec)
{
	map->size_bytes -= omap_rec_size(rec);
	mem_free(rec);
}

/* Frees a node; its records are somewhere else by now. */
static void omap_node_drop(struct omap *map, struct omap_node *node)
{
	map->size_bytes -= omap_node_size(node->leaf);
	mem_free(node);
}

/* Recursion is as deep as the tree. */
static void omap_subtree_free(struct omap *map, struct omap_node *node)
{
	for (unsigned i = 0; i < node->count; i++) {
		omap_rec_drop(map, node->recs[i]);
	}
	for (unsigned i = 0; !node->leaf && i <= node->count; i++) {
		omap_subtree_free(map, node->child[i]);
	}
	omap_node_drop(map, node);
}

void omap_clear(struct omap *map)
{
	ASSERT(map != NULL);
	if (map->root != NULL) {
		omap_subtree_free(map, map->root);
	}
	ASSERT(map->size_bytes == 0);
	map->root = NULL;
	map->count = 0;
	map->change++;
}

void omap_fini(struct omap *map)
{
	omap_clear(map);
}

/* What a search reads of a node first comes from memory at once, instead of line after line. The
 * rest of the node is left out: fetching more lines than one needs was measured to be slower. */
static inline void node_prefetch(const struct omap_node *node)
{
	const char *p = (const char *)node;

	for (size_t at = 0; at < offsetof(struct omap_node, recs); at += OMAP_CACHE_LINE) {
		__builtin_prefetch(p + at);
	}
}

struct omap_node *omap_leaf_find(
	const struct omap *map, struct span key, unsigned *ret_pos, bool *ret_exact)
{
	struct omap_node *node = map->root;

	ASSERT(node != NULL);
	while (!node->leaf) {
		node = node->child[omap_node_child(node, key)];
		node_prefetch(node);
	}
	*ret_pos = omap_node_search(node, key, ret_exact);
	return node;
}

/* As omap_leaf_find, but remembers the way. */
static void omap_path_find(const struct omap *map, struct span key, struct omap_path *path)
{
	struct omap_node *node = map->root;

	ASSERT(node != NULL);
	path->depth = 0;
	while (!node->leaf) {
		ASSERT(path->depth < OMAP_DEPTH_MAX - 1);
		unsigned pos = omap_node_child(node, key);

		path->node[path->depth] = node;
		path->pos[path->depth++] = (uint8_t)pos;
		node = node->child[pos];
		node_prefetch(node);
	}
	path->node[path->depth] = node;
	path->pos[path->depth++] = (uint8_t)omap_node_search(node, key, &path->exact);
}

void omap_rec_view(const struct omap_rec *rec, struct omap_entry *ret_entry)
{
	ret_entry->key = omap_rec_key(rec);
	ret_entry->val = span_of(rec->data + rec->key_len, rec->val_len);
	ret_entry->mark =
		(struct omap_mark){.tag = {rec->tag[0], rec->tag[1]}, .flags = rec->flags};
}

bool omap_get(const struct omap *map, struct span key, struct omap_entry *ret_entry)
{
	unsigned pos = 0;
	bool exact = false;

	ASSERT(ret_entry != NULL);
	if (map->root == NULL) {
		return false;
	}
	struct omap_node *leaf = omap_leaf_find(map, key, &pos, &exact);

	if (exact) {
		omap_rec_view(leaf->recs[pos], ret_entry);
	}
	return exact;
}

bool omap_mark_set(struct omap *map, struct span key, struct omap_mark mark)
{
	unsigned pos = 0;
	bool exact = false;

	if (map->root == NULL) {
		return false;
	}
	struct omap_node *leaf = omap_leaf_find(map, key, &pos, &exact);

	if (exact) {
		omap_rec_mark_set(leaf->recs[pos], mark);
	}
	return exact;
}

/* ---- put ---- */

static void omap_stock_fini(struct omap_stock *stock)
{
	mem_free(stock->rec);
	mem_free(stock->separator);
	mem_free(stock->leaf);
	while (stock->inner_count > 0) {
		mem_free(stock->inner[--stock->inner_count]);
	}
}

/* How many records of the full leaf stay left when a new one goes to pos. A new last record
 * starts a leaf of its own, so that ascending keys fill the leaves; else the cut is near the
 * middle, where the keys differ earliest: that keeps what belongs together in one node, and
 * makes short separators. */
static unsigned leaf_split_at(const struct omap_node *leaf, unsigned pos)
{
	unsigned best = OMAP_FANOUT / 2;
	int best_shared = 64;

	ASSERT(leaf->count == OMAP_FANOUT);
	if (pos == leaf->count) {
		return pos;
	}
	for (unsigned at = OMAP_SPLIT_MIN; at <= OMAP_FANOUT - OMAP_SPLIT_MIN; at++) {
		uint64_t differ = leaf->heads[at - 1] ^ leaf->heads[at];
		int shared = differ == 0 ? 64 : __builtin_clzll(differ) & ~7;

		if (shared < best_shared) {
			best = at;
			best_shared = shared;
		}
	}
	return best;
}

/* Which separator of a full inner node goes up when one is added at pos: the shortest of those
 * that leave enough on both sides (or nothing right, when keys ascend). */
static unsigned inner_split_at(const struct omap_node *node, unsigned pos)
{
	bool ascending = pos == node->count;
	unsigned last = ascending ? node->count - 1u : OMAP_FANOUT - OMAP_SPLIT_MIN;
	unsigned best = ascending ? last : OMAP_FANOUT / 2;

	ASSERT(node->count == OMAP_FANOUT);
	for (unsigned at = OMAP_SPLIT_MIN; at <= last; at++) {
		if (node->recs[at]->key_len < node->recs[best]->key_len) {
			best = at;
		}
	}
	return best;
}

/* The shortest key that divides what will be the last record left and the first one right. */
static struct omap_rec *leaf_separator_new(
	const struct omap_node *leaf, unsigned pos, const struct omap_rec *rec)
{
	unsigned at = leaf_split_at(leaf, pos);
	const struct omap_rec *last = at == pos && at < leaf->count ? rec : leaf->recs[at - 1];
	const struct omap_rec *first = at == leaf->count ? rec : leaf->recs[at];
	size_t len = 0;

	ASSERT(span_cmp(omap_rec_key(last), omap_rec_key(first)) < 0);
	while (len < last->key_len && last->data[len] == first->data[len]) {
		len++;
	}
	ASSERT(len < first->key_len);
	return omap_rec_new(span_of(first->data, len + 1), 0);
}

static int omap_stock_add(struct omap_stock *stock)
{
	struct omap_node *inner = omap_node_new(false);

	ASSERT(stock->inner_count < ARRAY_SIZE(stock->inner));
	if (inner == NULL) {
		return -NE_NOMEM;
	}
	stock->inner[stock->inner_count++] = inner;
	return 0;
}

/* Allocates what inserting stock->rec at the end of the path takes. */
static int omap_stock_fill(struct omap_stock *stock, const struct omap_path *path)
{
	unsigned level = path->depth - 1;
	struct omap_node *leaf = path->node[level];
	int rc = 0;

	if (leaf->count < OMAP_FANOUT) {
		return 0;
	}
	stock->leaf = omap_node_new(true);
	stock->separator = leaf_separator_new(leaf, path->pos[level], stock->rec);
	if (stock->leaf == NULL || stock->separator == NULL) {
		return -NE_NOMEM;
	}
	while (rc == 0 && level > 0 && path->node[level - 1]->count == OMAP_FANOUT) {
		rc = omap_stock_add(stock);
		level--;
	}
	/* Every node on the way splits: the tree gets a new root. */
	return rc == 0 && level == 0 ? omap_stock_add(stock) : rc;
}

static struct omap_node *omap_stock_take(struct omap *map, struct omap_stock *stock)
{
	ASSERT(stock->inner_count > 0);
	map->size_bytes += omap_node_size(false);
	return stock->inner[--stock->inner_count];
}

/* Splits the full leaf and inserts; returns the new leaf, which is right of it. */
static struct omap_node *leaf_split_insert(
	struct omap *map, struct omap_node *leaf, unsigned pos, struct omap_stock *stock)
{
	struct omap_node *right = TAKE_PTR(stock->leaf);
	unsigned at = leaf_split_at(leaf, pos);

	ASSERT(leaf->count == OMAP_FANOUT);
	map->size_bytes += omap_node_size(true) + omap_rec_size(stock->separator);
	omap_node_move_tail(leaf, at, right);
	omap_node_tighten(leaf);
	omap_node_tighten(right);
	if (pos <= at && leaf->count < OMAP_FANOUT) {
		omap_node_insert(leaf, pos, TAKE_PTR(stock->rec));
	} else {
		omap_node_insert(right, pos - at, TAKE_PTR(stock->rec));
	}
	right->links.prev = leaf;
	right->links.next = leaf->links.next;
	if (right->links.next != NULL) {
		right->links.next->links.prev = right;
	}
	leaf->links.next = right;
	return right;
}

/* Inserts separator and right child behind child pos of an inner node with room. */
static void inner_insert(
	struct omap_node *node, unsigned pos, struct omap_rec *separator, struct omap_node *right)
{
	ASSERT(!node->leaf && pos <= node->count);
	memmove(&node->child[pos + 2], &node->child[pos + 1], (node->count - pos) * sizeof(right));
	node->child[pos + 1] = right;
	omap_node_insert(node, pos, separator);
}

/* Splits the full inner node, inserts as inner_insert; *separator becomes what divides it from
 * the result. */
static struct omap_node *inner_split_insert(struct omap_node *node, unsigned pos,
	struct omap_rec **separator, struct omap_node *child, struct omap_node *right)
{
	unsigned mid = inner_split_at(node, pos);
	struct omap_rec *up = node->recs[mid];
	unsigned moved = node->count - mid; /* children */

	ASSERT(node->count == OMAP_FANOUT && pos <= node->count);
	memcpy(right->child, &node->child[mid + 1], moved * sizeof(child));
	omap_node_move_tail(node, mid + 1, right);
	omap_node_remove(node, mid);
	omap_node_tighten(node);
	omap_node_tighten(right);
	if (pos <= mid) {
		inner_insert(node, pos, *separator, child);
	} else {
		inner_insert(right, pos - mid - 1, *separator, child);
	}
	*separator = up;
	return right;
}

/* Inserts the stocked record where the path ends; cannot fail. */
static void omap_path_insert(
	struct omap *map, const struct omap_path *path, struct omap_stock *stock)
{
	unsigned level = path->depth - 1;
	struct omap_node *leaf = path->node[level];

	if (leaf->count < OMAP_FANOUT) {
		omap_node_insert(leaf, path->pos[level], TAKE_PTR(stock->rec));
		return;
	}
	struct omap_rec *separator = stock->separator;
	struct omap_node *child = leaf_split_insert(map, leaf, path->pos[level], stock);

	stock->separator = NULL;
	while (level > 0 && path->node[level - 1]->count == OMAP_FANOUT) {
		struct omap_node *right = omap_stock_take(map, stock);

		level--;
		child = inner_split_insert(
			path->node[level], path->pos[level], &separator, child, right);
	}
	if (level > 0) {
		inner_insert(path->node[level - 1], path->pos[level - 1], separator, child);
		return;
	}
	struct omap_node *root = omap_stock_take(map, stock);

	root->child[0] = map->root;
	inner_insert(root, 0, separator, child);
	map->root = root;
}

static int omap_insert(struct omap *map, struct span key, struct omap_path *path,
	struct omap_rec **ret_rec, size_t val_len)
{
	_cleanup_(omap_stock_fini) struct omap_stock stock = {.rec = omap_rec_new(key, val_len)};
	struct omap_rec *rec = stock.rec;

	if (rec == NULL) {
		return -NE_NOMEM;
	}
	if (map->root != NULL) {
		int rc = omap_stock_fill(&stock, path);

		if (rc != 0) {
			return rc;
		}
		omap_path_insert(map, path, &stock);
	} else {
		struct omap_node *root = omap_node_new(true);

		if (root == NULL) {
			return -NE_NOMEM;
		}
		omap_node_insert(root, 0, TAKE_PTR(stock.rec));
		map->root = root;
		map->size_bytes += omap_node_size(true);
	}
	ASSERT(stock.inner_count == 0 && stock.rec == NULL);
	map->size_bytes += omap_rec_size(rec);
	map->count++;
	*ret_rec = rec;
	return 0;
}

static void rec_value_set(struct omap_rec *rec, struct span val, struct omap_mark mark)
{
	ASSERT(val.len <= rec->val_cap);
	if (val.len > 0) {
		memmove(rec->data + rec->key_len, val.ptr, val.len);
	}
	rec->val_len = (uint32_t)val.len;
	omap_rec_mark_set(rec, mark);
}

/* In place if the value fits and would not waste much, else (or if there is no memory) anew. */
static int omap_replace(
	struct omap *map, struct omap_rec **slot, struct span val, struct omap_mark mark)
{
	struct omap_rec *rec = *slot;
	bool fits = val.len <= rec->val_cap;

	if (fits && rec->val_cap <= 2 * val.len + OMAP_CACHE_LINE) {
		rec_value_set(rec, val, mark);
		return 0;
	}
	struct omap_rec *fresh = omap_rec_new(omap_rec_key(rec), val.len);

	if (fresh == NULL && !fits) {
		return -NE_NOMEM;
	}
	if (fresh == NULL) {
		rec_value_set(rec, val, mark);
		return 0;
	}
	rec_value_set(fresh, val, mark);
	map->size_bytes += omap_rec_size(fresh);
	*slot = fresh;
	omap_rec_drop(map, rec);
	return 0;
}

int omap_put(struct omap *map, struct span key, struct span val, struct omap_mark mark)
{
	struct omap_path path;
	struct omap_rec *rec = NULL;
	int rc = 0;

	ASSERT(key.len <= OMAP_KEY_MAX);
	ASSERT(val.len <= OMAP_VALUE_MAX);
	path.exact = false;
	if (map->root != NULL) {
		omap_path_find(map, key, &path);
	}
	if (path.exact) {
		unsigned level = path.depth - 1;

		rc = omap_replace(map, &path.node[level]->recs[path.pos[level]], val, mark);
	} else {
		rc = omap_insert(map, key, &path, &rec, val.len);
		if (rc == 0) {
			rec_value_set(rec, val, mark);
		}
	}
	map->change += rc == 0;
	return rc;
}

/* ---- del ---- */

/* Takes child pos out of an inner node with at least two, and frees the separator beside it. */
static void inner_unlink(struct omap *map, struct omap_node *node, unsigned pos)
{
	unsigned sep = pos == 0 ? 0 : pos - 1;

	ASSERT(!node->leaf && node->count > 0 && pos <= node->count);
	omap_rec_drop(map, node->recs[sep]);
	memmove(&node->child[pos], &node->child[pos + 1], (node->count - pos) * sizeof(node));
	omap_node_remove(node, sep);
}

/* Unlinks the leaf from its neighbours and frees it. */
static void leaf_drop(struct omap *map, struct omap_node *leaf)
{
	ASSERT(leaf->leaf && leaf->count == 0);
	if (leaf->links.prev != NULL) {
		leaf->links.prev->links.next = leaf->links.next;
	}
	if (leaf->links.next != NULL) {
		leaf->links.next->links.prev = leaf->links.prev;
	}
	omap_node_drop(map, leaf);
}

/* Merges child pos + 1 of the parent into child pos, if they fit. */
static bool inner_merge(struct omap *map, struct omap_node *parent, unsigned pos)
{
	if (pos >= parent->count) {
		return false;
	}
	struct omap_node *left = parent->child[pos];
	struct omap_node *right = parent->child[pos + 1];

	ASSERT(left->leaf == right->leaf);
	if (left->count + right->count + !left->leaf > OMAP_MERGE_MAX) {
		return false;
	}
	if (left->leaf) {
		omap_node_append(left, right);
		leaf_drop(map, right);
		inner_unlink(map, parent, pos + 1);
		return true;
	}
	memcpy(&left->child[left->count + 1], right->child, (right->count + 1u) * sizeof(right));
	/* The separator between the two comes down instead of being freed. */
	omap_node_insert(left, left->count, parent->recs[pos]);
	omap_node_append(left, right);
	omap_node_drop(map, right);
	memmove(&parent->child[pos + 1], &parent->child[pos + 2],
		(parent->count - pos - 1u) * sizeof(right));
	omap_node_remove(parent, pos);
	return true;
}

/* Frees the empty leaf at the end of the path and the inner nodes that had no other child.
 * Returns the level of the node that lost a child, or -1 if the map is empty now. */
static int omap_path_unlink(struct omap *map, const struct omap_path *path)
{
	int level = (int)path->depth - 2;

	leaf_drop(map, path->node[path->depth - 1]);
	while (level >= 0 && path->node[level]->count == 0) {
		omap_node_drop(map, path->node[level]);
		level--;
	}
	if (level < 0) {
		map->root = NULL;
		return -1;
	}
	inner_unlink(map, path->node[level], path->pos[level]);
	return level;
}

/* After a record left the node at the end of the path: merge upwards while nodes are small. */
static void omap_path_shrink(struct omap *map, const struct omap_path *path)
{
	int level = (int)path->depth - 1;

	if (path->node[level]->count == 0) {
		level = omap_path_unlink(map, path);
	}
	for (; level > 0 && path->node[level]->count < OMAP_FILL_MIN; level--) {
		struct omap_node *parent = path->node[level - 1];
		unsigned pos = path->pos[level - 1];

		if (!(pos > 0 && inner_merge(map, parent, pos - 1)) &&
			!inner_merge(map, parent, pos)) {
			break;
		}
	}
	while (map->root != NULL && !map->root->leaf && map->root->count == 0) {
		struct omap_node *old = map->root;

		map->root = old->child[0];
		omap_node_drop(map, old);
	}
}

bool omap_del(struct omap *map, struct span key)
{
	struct omap_path path;

	ASSERT(key.len <= OMAP_KEY_MAX);
	path.exact = false;
	if (map->root != NULL) {
		omap_path_find(map, key, &path);
	}
	if (!path.exact) {
		return false;
	}
	struct omap_node *leaf = path.node[path.depth - 1];
	unsigned pos = path.pos[path.depth - 1];

	ASSERT(map->count > 0);
	omap_rec_drop(map, leaf->recs[pos]);
	omap_node_remove(leaf, pos);
	omap_path_shrink(map, &path);
	map->count--;
	map->change++;
	return true;
}
