/*
 * Ordered map in memory from byte strings to byte strings: the MDT's table.
 *
 * A B+tree whose nodes hold, of each key, eight bytes after the prefix common to the node, so that
 * a search reads few cache lines and compares one whole key. Keys are ordered by memcmp, then
 * length. Each entry carries a mark of 16 + 1 bytes that the map only stores (who wrote it, whether
 * it is a tombstone). The map copies keys and values; pointers it returns are valid until its next
 * change, and so are cursors (which is asserted). Changes are omap_put, omap_del, omap_cursor_del,
 * omap_clear; omap_mark_set and omap_cursor_mark_set are not. Not thread-safe. Shape: O(log32 n)
 * per operation.
 */
#ifndef NACRE_BASE_OMAP_H
#define NACRE_BASE_OMAP_H

#include "base/base.h"
#include "base/bytes.h"

/* Bounds the caller guarantees, bytes. A key may be empty. */
#define OMAP_KEY_MAX 1024
#define OMAP_VALUE_MAX (UINT32_C(16) << 20)

struct omap_node;

/* What the caller stores along with an entry; the map gives it no meaning. */
struct omap_mark {
	uint64_t tag[2];
	uint8_t flags;
};

struct omap {
	struct omap_node *root; /* NULL when empty */
	uint64_t count; /* entries, tombstones too */
	uint64_t size_bytes; /* memory of entries and nodes, with the heap overhead, about */
	uint64_t change; /* number of changes so far */
};

/* An entry as seen from outside. */
struct omap_entry {
	struct span key;
	struct span val;
	struct omap_mark mark;
};

/* A place in the map: on an entry, or behind the last one. */
struct omap_cursor {
	struct omap *map;
	struct omap_node *leaf;
	uint32_t pos;
	uint64_t change;
};

/* Allocates nothing. */
void omap_init(struct omap *map);
/* Frees all entries; the map is empty and usable. */
void omap_clear(struct omap *map);
void omap_fini(struct omap *map);

/* Inserts, or replaces value and mark. key and val may point into the map. -NE_NOMEM: map
 * unchanged. */
_check_ int omap_put(struct omap *map, struct span key, struct span val, struct omap_mark mark);
/* True and the entry if there is one with this key. */
_check_ bool omap_get(const struct omap *map, struct span key, struct omap_entry *ret_entry);
/* Removes; true if there was one. Never allocates. */
bool omap_del(struct omap *map, struct span key);
/* Replaces the mark of an entry; true if there is one. Not a change: pointers and cursors stay
 * valid. */
bool omap_mark_set(struct omap *map, struct span key, struct omap_mark mark);

/* To the first entry >= key (> key for seek_after), or behind the last. True if on an entry. */
bool omap_seek(struct omap *map, struct span key, struct omap_cursor *ret_cursor);
bool omap_seek_after(struct omap *map, struct span key, struct omap_cursor *ret_cursor);
bool omap_first(struct omap *map, struct omap_cursor *ret_cursor);
bool omap_last(struct omap *map, struct omap_cursor *ret_cursor);
/* True and the entry if the cursor is on one. */
_check_ bool omap_cursor_get(const struct omap_cursor *cursor, struct omap_entry *ret_entry);
/* Forward; true if now on an entry, false if now (or already) behind the last. */
bool omap_cursor_next(struct omap_cursor *cursor);
/* Backward, also from behind the last; false if there is no entry before: the cursor stays then. */
bool omap_cursor_prev(struct omap_cursor *cursor);
/* Removes the entry the cursor is on; the cursor is on the next one. True if there is one. */
bool omap_cursor_del(struct omap_cursor *cursor);
void omap_cursor_mark_set(struct omap_cursor *cursor, struct omap_mark mark);

/* For tests: asserts every invariant of the tree. O(n). */
void omap_check(const struct omap *map);

#endif
