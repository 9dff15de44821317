/*
 * The nodes of omap: an array of records in key order, searched by key heads.
 *
 * Invariants of a node: the first prefix_len bytes of all its keys equal prefix; heads[i] is the
 * eight key bytes that follow in recs[i], big-endian, padded with zeros; keys ascend strictly. A
 * leaf's records are the entries. An inner node's records are separators it owns: child[i] holds
 * keys < recs[i], and child[i + 1] keys >= recs[i].
 */
#ifndef NACRE_BASE_OMAP_INT_H
#define NACRE_BASE_OMAP_INT_H

#include "base/omap.h"

#define OMAP_FANOUT 32
/* Below this many records a node looks for a sibling to merge with; together at most
 * OMAP_MERGE_MAX. */
#define OMAP_FILL_MIN 8
#define OMAP_MERGE_MAX 24
/* A split leaves at least so many records on each side, unless keys ascend. */
#define OMAP_SPLIT_MIN 10
/* Even inner nodes with one child between full siblings (the worst case) keep the depth far
 * below. */
#define OMAP_DEPTH_MAX 24
/* Makes the head of a node 64 bytes. */
#define OMAP_PREFIX_MAX 60
#define OMAP_CACHE_LINE 64
/* What the heap adds to each allocation, about. */
#define OMAP_HEAP_OVERHEAD 8

struct omap_rec {
	uint64_t tag[2]; /* with flags: the caller's mark */
	uint32_t val_len;
	uint32_t val_cap;
	uint16_t key_len;
	uint8_t flags;
	uint8_t data[]; /* key, then value */
};

struct omap_leaf_links {
	struct omap_node *prev;
	struct omap_node *next;
};

struct omap_node {
	uint16_t count; /* records */
	bool leaf;
	uint8_t prefix_len;
	uint8_t prefix[OMAP_PREFIX_MAX];
	uint64_t heads[OMAP_FANOUT];
	struct omap_rec *recs[OMAP_FANOUT];
	union {
		struct omap_leaf_links links; /* leaf */
		struct omap_node *child[OMAP_FANOUT + 1]; /* inner: count + 1 of them */
	};
};

_Static_assert(offsetof(struct omap_node, heads) == OMAP_CACHE_LINE, "heads begin a cache line");
_Static_assert(OMAP_FILL_MIN * 2 <= OMAP_MERGE_MAX && OMAP_MERGE_MAX < OMAP_FANOUT,
	"merged nodes have room");

static inline struct span omap_rec_key(const struct omap_rec *rec)
{
	return (struct span){.ptr = rec->data, .len = rec->key_len};
}

/* Bytes before the key: sizeof would count padding that the key fills. */
#define OMAP_REC_HEAD offsetof(struct omap_rec, data)

static inline void omap_rec_mark_set(struct omap_rec *rec, struct omap_mark mark)
{
	rec->tag[0] = mark.tag[0];
	rec->tag[1] = mark.tag[1];
	rec->flags = mark.flags;
}

/* A record with this key and val_len uninitialised value bytes. NULL if out of memory. */
struct omap_rec *omap_rec_new(struct span key, size_t val_len);
size_t omap_rec_size(const struct omap_rec *rec);

struct omap_node *omap_node_new(bool leaf);
size_t omap_node_size(bool leaf);

/* Index of the first record >= key; *ret_exact tells whether it is equal. */
unsigned omap_node_search(const struct omap_node *node, struct span key, bool *ret_exact);
/* Index of the child to go to for this key. */
unsigned omap_node_child(const struct omap_node *node, struct span key);
/* Inserts at pos, which omap_node_search gave. The node is not full. Children are the caller's. */
void omap_node_insert(struct omap_node *node, unsigned pos, struct omap_rec *rec);
/* Removes the record at pos from the array. Children are the caller's. */
void omap_node_remove(struct omap_node *node, unsigned pos);
/* Moves records from..count-1 to the end of the empty node `right`. */
void omap_node_move_tail(struct omap_node *node, unsigned from, struct omap_node *right);
/* Finds a longer prefix if heads do not tell the keys apart. */
void omap_node_tighten(struct omap_node *node);
/* Appends all records of right to node; they fit. */
void omap_node_append(struct omap_node *node, struct omap_node *right);
/* The leaf where the key is or would be, and the position in it. The map is not empty. */
struct omap_node *omap_leaf_find(
	const struct omap *map, struct span key, unsigned *ret_pos, bool *ret_exact);
void omap_rec_view(const struct omap_rec *rec, struct omap_entry *ret_entry);
/* Asserts the node's own invariants. */
void omap_node_check(const struct omap_node *node);

#endif
