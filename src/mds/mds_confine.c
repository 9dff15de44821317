/*
 * Sessions that see one directory and what is below it, whatever FIDs they know or guess.
 *
 * The well-known root FID stands for the session's root. Any other FID is accepted when walking up parents from
 * it arrives at the session's root: of a directory by its one parent, of another file by any of its names, and
 * of a file without a name when this session has it open. Directories found inside are remembered until some
 * directory changes its place. Invariant: the memory holds directories that were inside at `inside_moves`.
 */
#include "mds/mds_int.h"

/* Directories remembered per session; then the memory starts anew. */
#define INSIDE_MAX 4096
/* Names of one file that are tried. */
#define LINKS_MAX 1024
/* Deeper than any path that can be made: each step is a key. */
#define DEPTH_MAX 1000000

struct inside {
	struct hmap_node node;
	struct fid fid;
};

void mds_inside_clear(struct mds_session *session)
{
	size_t cursor = 0;
	struct hmap_node *it;

	while ((it = hmap_pop(&session->inside, &cursor)) != NULL) {
		mem_free(container_of(it, struct inside, node));
	}
}

static uint64_t inside_hash(struct fid fid)
{
	/* Clients choose what they ask for, but only FIDs of directories that exist get here. */
	return fid_hash(fid);
}

static bool inside_known(struct mds_op *op, struct fid fid)
{
	struct mds_session *s = op->session;

	if (s->inside_moves != op->mds->dir_moves) {
		mds_inside_clear(s);
		s->inside_moves = op->mds->dir_moves;
	}
	for (struct hmap_node *it = hmap_find(&s->inside, inside_hash(fid)); it != NULL;
		it = hmap_find_next(it)) {
		if (fid_eq(container_of(it, struct inside, node)->fid, fid)) {
			return true;
		}
	}
	return false;
}

static void inside_remember(struct mds_session *s, struct fid fid)
{
	struct inside *in;

	if (s->inside.count >= INSIDE_MAX) {
		mds_inside_clear(s);
	}
	in = mem_zalloc(sizeof(*in));
	if (in != NULL) {
		in->fid = fid;
		hmap_insert(&s->inside, &in->node, inside_hash(fid));
	}
}

static int dir_inside(struct mds_op *op, struct fid fid)
{
	struct fid at = fid;

	for (unsigned depth = 0; depth < DEPTH_MAX; depth++) {
		struct d_mds_inode d;
		int r;

		if (fid_eq(at, op->session->root) || inside_known(op, at)) {
			if (depth > 0) {
				inside_remember(op->session, fid);
			}
			return 0;
		}
		if (fid_is_zero(at) || fid_eq(at, fid_root())) {
			return -NE_STALE;
		}
		r = mds_inode_peek(op, at, &d);
		if (r < 0) {
			return r;
		}
		at = d.parent;
	}
	return -NE_STALE;
}

struct links_ctx {
	struct mds_op *op;
	bool inside;
};

static int link_inside(void *arg, const struct state_rec *rec)
{
	struct links_ctx *ctx = arg;
	int r;

	/* kind, FID, part, parent FID, cookie */
	if (rec->key_len != 1 + 16 + 1 + 16 + 8) {
		return -NE_CORRUPT;
	}
	r = dir_inside(ctx->op, mds_fid_load((const uint8_t *)rec->key + 18));
	if (r == 0) {
		ctx->inside = true;
		return 1;
	}
	return r == -NE_STALE ? 0 : r;
}

static int file_inside(struct mds_op *op, const struct mds_inode *inode)
{
	struct mds_key from = mds_key_part(inode->fid, MDS_PART_LINK);
	struct mds_key to = mds_key_part(inode->fid, MDS_PART_LINK + 1);
	struct links_ctx ctx = {.op = op};
	int r;

	if (mds_data_is_open(op->session, inode->fid)) {
		return 0;
	}
	if (inode->d.nlink == 0) {
		return -NE_STALE;
	}
	r = dir_inside(op, inode->d.parent);
	if (r != -NE_STALE || inode->d.nlink == 1) {
		return r;
	}
	r = mds_kv_range(op, &from, &to, LINKS_MAX, link_inside, &ctx);
	if (r < 0) {
		return r;
	}
	return ctx.inside ? 0 : -NE_STALE;
}

struct fid mds_fid_translate(const struct mds_op *op, struct fid fid)
{
	if (op->session != NULL && op->session->confined && fid_eq(fid, fid_root())) {
		return op->session->root;
	}
	return fid;
}

int mds_reach(struct mds_op *op, struct fid fid, struct mds_inode **ret_inode)
{
	struct mds_inode *inode = NULL;
	int r = mds_inode_get(op, mds_fid_translate(op, fid), &inode);

	if (r == 0 && op->session != NULL && op->session->confined) {
		r = mds_is_dir(inode) && inode->d.nlink != 0 ? dir_inside(op, inode->fid)
							     : file_inside(op, inode);
	}
	if (r < 0) {
		return r;
	}
	*ret_inode = inode;
	return 0;
}

int mds_reach_dir(struct mds_op *op, struct fid fid, struct mds_inode **ret_dir)
{
	struct mds_inode *dir = NULL;
	int r = mds_reach(op, fid, &dir);

	if (r < 0) {
		return r;
	}
	if (!mds_is_dir(dir)) {
		return -NE_NOTDIR;
	}
	*ret_dir = dir;
	return 0;
}
