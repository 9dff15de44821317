/*
 * Last attributes of inodes whose last name went through this mount, while the kernel still holds them.
 *
 * A program may hold what nobody has open at the MDT: a descriptor of O_PATH, a FIFO or device (which the kernel opens by
 * itself), a working directory. The MDT has destroyed such an inode, and answers STALE; fstat must show it with
 * no links left. Invariants: a grave is made before the answer to UNLINK, RMDIR or RENAME and filled up by the FORGET that
 * comes when the kernel drops the inode; it is asked only after the MDT said STALE, so it hides nothing. Bounded:
 * beyond FUSE_GRAVES_MAX no new ones are made.
 */
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "fuse/fuse_int.h"

struct grave {
	struct hmap_node node;
	uint64_t nodeid;
	struct client_attr attr;
};

static struct grave *grave_find(const struct fuse_session *s, uint64_t nodeid)
{
	for (struct hmap_node *it = hmap_find(&s->graves, hash_mix2(nodeid, 0)); it != NULL;
		it = hmap_find_next(it)) {
		struct grave *g = container_of(it, struct grave, node);

		if (g->nodeid == nodeid) {
			return g;
		}
	}
	return NULL;
}

void fuse_grave_dig(void *ctx, const struct client_attr *attr)
{
	struct fuse_session *s = ctx;
	uint64_t nodeid = fuse_fid_node(s, attr->fid);
	struct grave *g = grave_find(s, nodeid);

	ASSERT(attr->nlink == 0);
	if (g == NULL) {
		g = s->graves.count < FUSE_GRAVES_MAX ? mem_zalloc(sizeof(*g)) : NULL;
		if (g == NULL) {
			return;
		}
		g->nodeid = nodeid;
		hmap_insert(&s->graves, &g->node, hash_mix2(nodeid, 0));
	}
	g->attr = *attr;
}

int fuse_grave_attr(const struct fuse_session *s, uint64_t nodeid, struct client_attr *ret_attr)
{
	const struct grave *g = grave_find(s, nodeid);

	if (g == NULL) {
		return -NE_STALE;
	}
	*ret_attr = g->attr;
	return 0;
}

static void grave_fill(struct fuse_session *s, uint64_t nodeid)
{
	struct grave *g = grave_find(s, nodeid);

	if (g != NULL) {
		hmap_remove(&s->graves, &g->node);
		mem_free(g);
	}
}

void fuse_grave_forget(struct fuse_session *s, const struct fuse_raw *raw)
{
	struct fuse_msg msg;

	if (s->graves.count == 0 || fuse_msg_parse(raw, false, &msg) < 0) {
		return;
	}
	if (msg.head.opcode == FUSE_FORGET) {
		grave_fill(s, msg.head.nodeid);
		return;
	}
	/* Pairs of node id and count. */
	for (size_t at = 0; at + 16 <= msg.data_len; at += 16) {
		uint64_t nodeid;

		memcpy(&nodeid, msg.data + at, sizeof(nodeid));
		grave_fill(s, nodeid);
	}
}

void fuse_graves_free(struct fuse_session *s)
{
	struct hmap_node *it;
	size_t cursor = 0;

	while ((it = hmap_pop(&s->graves, &cursor)) != NULL) {
		mem_free(container_of(it, struct grave, node));
	}
	hmap_fini(&s->graves);
}
