/*
 * Searching and editing one node of an omap. See omap_int.h for the invariants.
 *
 * The prefix is as long as the keys allow when a node starts, only gets shorter as keys come in,
 * and is found anew after a split or merge if heads do not tell the keys apart. Shortening it means
 * recomputing all heads from the keys, at most OMAP_PREFIX_MAX times in the life of a node.
 */
#include "base/omap_int.h"

#include <string.h>

#include "base/alloc.h"

size_t omap_rec_size(const struct omap_rec *rec)
{
	return OMAP_REC_HEAD + rec->key_len + rec->val_cap + OMAP_HEAP_OVERHEAD;
}

struct omap_rec *omap_rec_new(struct span key, size_t val_len)
{
	ASSERT(key.len <= OMAP_KEY_MAX);
	ASSERT(val_len <= OMAP_VALUE_MAX);
	/* The heap rounds to 16 with its overhead of 8: what it rounds up is room for the value
	 * to grow. */
	size_t need = u64_max(OMAP_REC_HEAD + key.len + val_len, sizeof(struct omap_rec));
	size_t size = u64_round_up(need + OMAP_HEAP_OVERHEAD, 16) - OMAP_HEAP_OVERHEAD;
	struct omap_rec *rec = mem_alloc(size);

	if (rec == NULL) {
		return NULL;
	}
	*rec = (struct omap_rec){
		.val_len = (uint32_t)val_len,
		.val_cap = (uint32_t)(size - OMAP_REC_HEAD - key.len),
		.key_len = (uint16_t)key.len,
	};
	bytes_copy(rec->data, key.ptr, key.len);
	return rec;
}

size_t omap_node_size(bool leaf)
{
	size_t size = leaf ? offsetof(struct omap_node, links) + sizeof(struct omap_leaf_links)
			   : sizeof(struct omap_node);

	return u64_round_up(size, OMAP_CACHE_LINE);
}

struct omap_node *omap_node_new(bool leaf)
{
	size_t size = omap_node_size(leaf);
	struct omap_node *node = mem_alloc_aligned(OMAP_CACHE_LINE, size);

	if (node != NULL) {
		memset(node, 0, size);
		node->leaf = leaf;
	}
	return node;
}

/* Key bytes from..from+7 as a big-endian number; what is beyond the end counts as zero. */
static inline uint64_t key_head(struct span key, size_t from)
{
	const uint8_t *p = (const uint8_t *)key.ptr + from;
	size_t len = key.len - from;

	if (likely(len >= 8)) {
		return be64_load(p);
	}
	uint64_t head = 0;

	for (size_t i = 0; i < len; i++) {
		head |= (uint64_t)p[i] << (56 - 8 * i);
	}
	return head;
}

/* Number of leading bytes a and b share, at most max. */
static size_t key_common(struct span a, struct span b, size_t max)
{
	const uint8_t *pa = a.ptr;
	const uint8_t *pb = b.ptr;
	size_t len = u64_min(u64_min(a.len, b.len), max);
	size_t i = 0;

	while (i < len && pa[i] == pb[i]) {
		i++;
	}
	return i;
}

/* Index of the first head >= h. No branch on the heads: each would be a coin toss. */
static inline unsigned heads_lower(const uint64_t *heads, unsigned count, uint64_t h)
{
	unsigned base = 0;

	while (count > 1) {
		unsigned half = count / 2;

		base += half & -(unsigned)(heads[base + half - 1] < h);
		count -= half;
	}
	return count == 0 ? 0 : base + (heads[base] < h);
}

/* Search among the records lo..hi-1, whose heads all equal the key's. */
static unsigned node_search_equal(
	const struct omap_node *node, unsigned lo, unsigned hi, struct span key, bool *ret_exact)
{
	size_t skip = node->prefix_len;
	struct span rest = span_of((const uint8_t *)key.ptr + skip, key.len - skip);

	*ret_exact = false;
	while (lo < hi) {
		unsigned mid = (lo + hi) / 2;
		const struct omap_rec *rec = node->recs[mid];
		int c = span_cmp(span_of(rec->data + skip, rec->key_len - skip), rest);

		if (c == 0) {
			*ret_exact = true;
			return mid;
		}
		lo = c < 0 ? mid + 1 : lo;
		hi = c < 0 ? hi : mid;
	}
	return lo;
}

unsigned omap_node_search(const struct omap_node *node, struct span key, bool *ret_exact)
{
	size_t prefix_len = node->prefix_len;

	ASSERT(node->count <= OMAP_FANOUT);
	*ret_exact = false;
	if (prefix_len > 0) {
		size_t len = u64_min(prefix_len, key.len);
		int c = len == 0 ? 0 : memcmp(key.ptr, node->prefix, len);

		if (c != 0) {
			return c < 0 ? 0 : node->count;
		}
		if (key.len < prefix_len) {
			return 0;
		}
	}
	uint64_t h = key.len == prefix_len ? 0 : key_head(key, prefix_len);
	unsigned lo = heads_lower(node->heads, node->count, h);
	unsigned hi = lo;

	while (hi < node->count && node->heads[hi] == h) {
		hi++;
	}
	return node_search_equal(node, lo, hi, key, ret_exact);
}

unsigned omap_node_child(const struct omap_node *node, struct span key)
{
	bool exact = false;

	ASSERT(!node->leaf);
	unsigned pos = omap_node_search(node, key, &exact);

	return exact ? pos + 1 : pos;
}

/* Takes the first prefix_len bytes of the first key for the prefix and computes all heads. */
static void node_heads_set(struct omap_node *node, size_t prefix_len)
{
	ASSERT(node->count > 0);
	ASSERT(prefix_len <= OMAP_PREFIX_MAX && prefix_len <= node->recs[0]->key_len);
	memcpy(node->prefix, node->recs[0]->data, prefix_len);
	node->prefix_len = (uint8_t)prefix_len;
	for (unsigned i = 0; i < node->count; i++) {
		node->heads[i] = key_head(omap_rec_key(node->recs[i]), prefix_len);
	}
}

/* Finds the longest prefix: what the first and the last key share, all between them share. */
static void node_reprefix(struct omap_node *node)
{
	if (node->count == 0) {
		node->prefix_len = 0;
		return;
	}
	struct span first = omap_rec_key(node->recs[0]);
	struct span last = omap_rec_key(node->recs[node->count - 1]);

	node_heads_set(node, key_common(first, last, OMAP_PREFIX_MAX));
}

/* True if two neighbours cannot be told apart by their heads. */
static bool node_heads_tie(const struct omap_node *node)
{
	for (unsigned i = 1; i < node->count; i++) {
		if (node->heads[i - 1] == node->heads[i]) {
			return true;
		}
	}
	return false;
}

void omap_node_insert(struct omap_node *node, unsigned pos, struct omap_rec *rec)
{
	struct span key = omap_rec_key(rec);
	size_t after = node->count - pos;

	ASSERT(node->count < OMAP_FANOUT);
	ASSERT(pos <= node->count);
	if (node->count > 0) {
		size_t common =
			key_common(key, span_of(node->prefix, node->prefix_len), OMAP_PREFIX_MAX);

		if (common < node->prefix_len) {
			node_heads_set(node, common);
		}
	} else {
		node->prefix_len = (uint8_t)u64_min(key.len, OMAP_PREFIX_MAX);
		memcpy(node->prefix, rec->data, node->prefix_len);
	}
	memmove(&node->recs[pos + 1], &node->recs[pos], after * sizeof(node->recs[0]));
	memmove(&node->heads[pos + 1], &node->heads[pos], after * sizeof(node->heads[0]));
	node->recs[pos] = rec;
	node->heads[pos] = key_head(key, node->prefix_len);
	node->count++;
}

void omap_node_remove(struct omap_node *node, unsigned pos)
{
	ASSERT(pos < node->count);
	size_t after = node->count - pos - 1u;

	memmove(&node->recs[pos], &node->recs[pos + 1], after * sizeof(node->recs[0]));
	memmove(&node->heads[pos], &node->heads[pos + 1], after * sizeof(node->heads[0]));
	node->count--;
}

void omap_node_move_tail(struct omap_node *node, unsigned from, struct omap_node *right)
{
	ASSERT(from <= node->count);
	ASSERT(right->count == 0 && right->leaf == node->leaf);
	unsigned moved = node->count - from;

	memcpy(right->recs, &node->recs[from], moved * sizeof(node->recs[0]));
	memcpy(right->heads, &node->heads[from], moved * sizeof(node->heads[0]));
	memcpy(right->prefix, node->prefix, node->prefix_len);
	right->prefix_len = node->prefix_len;
	right->count = (uint16_t)moved;
	node->count = (uint16_t)from;
}

void omap_node_tighten(struct omap_node *node)
{
	if (node_heads_tie(node)) {
		node_reprefix(node);
	}
}

void omap_node_append(struct omap_node *node, struct omap_node *right)
{
	ASSERT(node->count + right->count <= OMAP_FANOUT);
	ASSERT(node->leaf == right->leaf);
	memcpy(&node->recs[node->count], right->recs, right->count * sizeof(node->recs[0]));
	node->count = (uint16_t)(node->count + right->count);
	right->count = 0;
	node_reprefix(node);
}

void omap_node_check(const struct omap_node *node)
{
	ASSERT(node->count <= OMAP_FANOUT);
	ASSERT(node->prefix_len <= OMAP_PREFIX_MAX);
	for (unsigned i = 0; i < node->count; i++) {
		struct span key = omap_rec_key(node->recs[i]);

		ASSERT(key.len >= node->prefix_len);
		ASSERT(memcmp(key.ptr, node->prefix, node->prefix_len) == 0);
		ASSERT(node->heads[i] == key_head(key, node->prefix_len));
		ASSERT(i == 0 || span_cmp(omap_rec_key(node->recs[i - 1]), key) < 0);
		ASSERT(node->recs[i]->val_len <= node->recs[i]->val_cap);
	}
}
