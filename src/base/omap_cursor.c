/*
 * Cursors of an omap, and the check of the whole tree.
 *
 * A cursor is a leaf and a position; behind the last entry it is the last leaf and its count (or no
 * leaf in an empty map). It remembers the map's change number, and using it after a change is a
 * failed assert.
 */
#include "base/omap_int.h"

static bool cursor_valid(const struct omap_cursor *cursor)
{
	ASSERT(cursor->change == cursor->map->change);
	return cursor->leaf != NULL && cursor->pos < cursor->leaf->count;
}

/* From behind the last record of a leaf to the first of the next one, if there is one. */
static bool cursor_settle(struct omap_cursor *cursor)
{
	if (cursor->leaf != NULL && cursor->pos == cursor->leaf->count &&
		cursor->leaf->links.next != NULL) {
		cursor->leaf = cursor->leaf->links.next;
		cursor->pos = 0;
	}
	return cursor_valid(cursor);
}

/* To the first entry >= key, or > key if after. */
static bool cursor_seek(struct omap *map, struct span key, bool after, struct omap_cursor *cursor)
{
	unsigned pos = 0;
	bool exact = false;

	ASSERT(map != NULL && cursor != NULL);
	ASSERT(key.len <= OMAP_KEY_MAX);
	*cursor = (struct omap_cursor){.map = map, .change = map->change};
	if (map->root == NULL) {
		return false;
	}
	cursor->leaf = omap_leaf_find(map, key, &pos, &exact);
	cursor->pos = exact && after ? pos + 1 : pos;
	return cursor_settle(cursor);
}

bool omap_seek(struct omap *map, struct span key, struct omap_cursor *ret_cursor)
{
	return cursor_seek(map, key, false, ret_cursor);
}

bool omap_seek_after(struct omap *map, struct span key, struct omap_cursor *ret_cursor)
{
	return cursor_seek(map, key, true, ret_cursor);
}

bool omap_first(struct omap *map, struct omap_cursor *ret_cursor)
{
	return cursor_seek(map, span_of("", 0), false, ret_cursor);
}

bool omap_last(struct omap *map, struct omap_cursor *ret_cursor)
{
	struct omap_node *node = map->root;

	ASSERT(ret_cursor != NULL);
	*ret_cursor = (struct omap_cursor){.map = map, .change = map->change};
	if (node == NULL) {
		return false;
	}
	while (!node->leaf) {
		node = node->child[node->count];
	}
	ASSERT(node->count > 0);
	ret_cursor->leaf = node;
	ret_cursor->pos = node->count - 1u;
	return true;
}

bool omap_cursor_get(const struct omap_cursor *cursor, struct omap_entry *ret_entry)
{
	ASSERT(ret_entry != NULL);
	if (!cursor_valid(cursor)) {
		return false;
	}
	omap_rec_view(cursor->leaf->recs[cursor->pos], ret_entry);
	return true;
}

bool omap_cursor_next(struct omap_cursor *cursor)
{
	if (!cursor_valid(cursor)) {
		return false;
	}
	cursor->pos++;
	return cursor_settle(cursor);
}

bool omap_cursor_prev(struct omap_cursor *cursor)
{
	ASSERT(cursor->change == cursor->map->change);
	if (cursor->leaf == NULL) {
		return false;
	}
	if (cursor->pos > 0) {
		cursor->pos--;
		return true;
	}
	if (cursor->leaf->links.prev == NULL) {
		return false;
	}
	cursor->leaf = cursor->leaf->links.prev;
	ASSERT(cursor->leaf->count > 0);
	cursor->pos = cursor->leaf->count - 1u;
	return true;
}

bool omap_cursor_del(struct omap_cursor *cursor)
{
	uint8_t key[OMAP_KEY_MAX];

	ASSERT(cursor_valid(cursor));
	const struct omap_rec *rec = cursor->leaf->recs[cursor->pos];
	size_t key_len = rec->key_len;

	bytes_copy(key, rec->data, key_len);
	bool removed = omap_del(cursor->map, span_of(key, key_len));

	ASSERT(removed);
	return omap_seek(cursor->map, span_of(key, key_len), cursor);
}

void omap_cursor_mark_set(struct omap_cursor *cursor, struct omap_mark mark)
{
	ASSERT(cursor_valid(cursor));
	omap_rec_mark_set(cursor->leaf->recs[cursor->pos], mark);
}

/* What omap_check adds up. */
struct omap_census {
	uint64_t count;
	uint64_t size_bytes;
	unsigned leaf_depth;
	const struct omap_node *leaf_last;
};

/* low and high: separators left and right of the node, NULL at the edges. Keys are in [low,
 * high). */
static void node_check_range(
	const struct omap_node *node, const struct omap_rec *low, const struct omap_rec *high)
{
	if (node->count == 0) {
		return;
	}
	struct span first = omap_rec_key(node->recs[0]);
	struct span last = omap_rec_key(node->recs[node->count - 1]);

	ASSERT(low == NULL || span_cmp(omap_rec_key(low), first) <= 0);
	ASSERT(high == NULL || span_cmp(last, omap_rec_key(high)) < 0);
}

static void leaf_check(const struct omap_node *leaf, unsigned depth, struct omap_census *census)
{
	ASSERT(leaf->count > 0);
	ASSERT(census->leaf_depth == 0 || census->leaf_depth == depth);
	ASSERT(leaf->links.prev == census->leaf_last);
	ASSERT(census->leaf_last == NULL || census->leaf_last->links.next == leaf);
	census->leaf_depth = depth;
	census->leaf_last = leaf;
	census->count += leaf->count;
}

static void subtree_check(const struct omap_node *node, const struct omap_rec *low,
	const struct omap_rec *high, unsigned depth, struct omap_census *census)
{
	omap_node_check(node);
	node_check_range(node, low, high);
	census->size_bytes += omap_node_size(node->leaf);
	for (unsigned i = 0; i < node->count; i++) {
		census->size_bytes += omap_rec_size(node->recs[i]);
	}
	if (node->leaf) {
		leaf_check(node, depth, census);
		return;
	}
	for (unsigned i = 0; i <= node->count; i++) {
		const struct omap_rec *child_low = i == 0 ? low : node->recs[i - 1];
		const struct omap_rec *child_high = i == node->count ? high : node->recs[i];

		subtree_check(node->child[i], child_low, child_high, depth + 1, census);
	}
}

void omap_check(const struct omap *map)
{
	struct omap_census census = {.count = 0};

	if (map->root != NULL) {
		ASSERT(map->root->leaf || map->root->count > 0);
		subtree_check(map->root, NULL, NULL, 1, &census);
		ASSERT(census.leaf_last->links.next == NULL);
	}
	ASSERT(census.count == map->count);
	ASSERT(census.size_bytes == map->size_bytes);
}
