/*
 * fid2path: from a FID up to the root by link keys, for those who could have walked down the same way.
 *
 * A file's n-th name is its n-th link key; a directory has one. The path is built backwards into the end of a
 * buffer. A session that is confined to a directory sees that as the root.
 */
#include "mds/mds_int.h"

struct path {
	struct mds_op *op;
	char *buf; /* LIM_PATH_MAX bytes, filled from the end */
	size_t at;
	uint32_t skip; /* links still to pass over */
	bool found;
	bool more; /* another link follows */
	struct fid parent;
};

static int path_push(struct path *p, struct wire_str name)
{
	size_t need = name.len + (p->at == LIM_PATH_MAX ? 0 : 1);

	if (need > p->at) {
		return -NE_NAMETOOLONG;
	}
	if (p->at != LIM_PATH_MAX) {
		p->buf[--p->at] = '/';
	}
	p->at -= name.len;
	bytes_copy(p->buf + p->at, name.ptr, name.len);
	return 0;
}

static int path_link(void *arg, const struct state_rec *rec)
{
	struct path *p = arg;
	struct d_mds_link link;

	if (p->skip > 0) {
		p->skip--;
		return 0;
	}
	if (p->found) {
		p->more = true;
		return 1;
	}
	if (rec->key_len != 1 + 16 + 1 + 16 + 8 ||
		d_mds_link_decode(&link, rec->val.data, rec->val.len) < 0) {
		return -NE_CORRUPT;
	}
	p->parent = mds_fid_load((const uint8_t *)rec->key + 18);
	p->found = true;
	return path_push(p, link.name);
}

/* Puts one name of the FID in front; p->parent is the directory it stands in. */
static int path_step(struct path *p, struct fid fid, uint32_t link)
{
	struct mds_key from = mds_key_part(fid, MDS_PART_LINK);
	struct mds_key to = mds_key_part(fid, MDS_PART_LINK + 1);
	int r;

	p->skip = link;
	p->found = false;
	p->more = false;
	r = mds_kv_range(p->op, &from, &to, link + 2, path_link, p);
	if (r < 0) {
		return r;
	}
	return p->found ? 0 : -NE_NOENT;
}

static int dir_permitted(struct mds_op *op, struct fid fid)
{
	struct mds_inode dir = {.fid = fid, .present = true};
	int r = mds_inode_peek(op, fid, &dir.d);

	if (r < 0) {
		return r == -NE_STALE ? -NE_CORRUPT : r;
	}
	return mds_perm_check(op, &dir, MDS_MAY_EXEC);
}

int mds_fid2path_execute(struct mds_op *op)
{
	const struct w_mds_fid2path_req *req = op->req;
	struct path p = {.op = op, .at = LIM_PATH_MAX};
	struct fid root = mds_fid_translate(op, fid_root());
	struct mds_inode *inode = NULL;
	struct fid at;
	int r = mds_reach(op, req->fid, &inode);

	if (op->large == NULL) {
		op->large = mem_alloc(LIM_PATH_MAX);
	}
	if (op->large == NULL) {
		return -NE_NOMEM;
	}
	p.buf = (char *)op->large;
	if (r < 0) {
		return r;
	}
	if (req->link >= LIM_LINK_MAX || (req->link > 0 && mds_is_dir(inode))) {
		return -NE_NOENT;
	}
	at = inode->fid;
	op->res.number = 0;
	for (uint32_t link = req->link; !fid_eq(at, root); link = 0) {
		if (fid_eq(at, fid_root())) {
			return -NE_STALE;
		}
		r = path_step(&p, at, link);
		if (r < 0) {
			return r;
		}
		if (fid_eq(at, inode->fid) && p.more) {
			op->res.number = (uint64_t)req->link + 1;
		}
		at = p.parent;
		r = dir_permitted(op, at);
		if (r < 0) {
			return r;
		}
	}
	op->res.bytes = span_of(p.buf + p.at, LIM_PATH_MAX - p.at);
	return 0;
}

int mds_fid2path_reply(struct mds_op *op)
{
	op->rep.fid2path.path = wire_str_n(op->res.bytes.ptr, op->res.bytes.len);
	op->rep.fid2path.link_next = (uint32_t)op->res.number;
	return 0;
}
