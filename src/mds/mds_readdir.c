/*
 * Pages of a directory, in cookie order, with attributes when asked for.
 *
 * A page begins behind a cookie and ends when the bytes asked for are full. Cookies live as long as their
 * entries, so an entry that exists all the time is delivered exactly once, whatever happens to others.
 */
#include "mds/mds_int.h"

/* Of a page; the reply's other fields must fit the body as well. */
#define PAGE_BYTES_MAX (LIM_MSG_BODY_MAX - 1024)
#define PAGE_BYTES_MIN 512
#define ENTRIES_MAX 8192
/* Records asked for at a time: one more question than needed costs more than a few records too many. */
#define RANGE_BATCH 256

struct page {
	struct mds_op *op;
	struct wire_enc enc;
	struct wire_array array;
	uint64_t next; /* cookie to go on from */
	unsigned seen; /* records of this batch */
	bool plus;
	bool full;
	int missing; /* inodes that have to be fetched */
};

static int page_attr(struct page *p, struct fid fid, struct w_attr *ret_attr)
{
	struct mds_inode inode = {.fid = fid, .present = true};
	int r = mds_inode_peek(p->op, fid, &inode.d);

	if (r == 0) {
		mds_attr_fill(&inode, ret_attr);
	}
	return r;
}

static int page_entry(void *arg, const struct state_rec *rec)
{
	struct page *p = arg;
	struct d_mds_dirent d;
	struct w_attr attr;
	struct w_dirent out = {0};
	int r = d_mds_dirent_decode(&d, rec->val.data, rec->val.len);

	if (r < 0 || rec->key_len != 1 + 16 + 8) {
		return -NE_CORRUPT;
	}
	p->seen++;
	out.cookie = be64_load((const uint8_t *)rec->key + 17);
	if (fid_is_zero(d.fid)) {
		p->next = out.cookie + 1;
		return 0;
	}
	out.fid = d.fid;
	out.mode = d.mode & S_IFMT;
	out.name = d.name;
	if (p->plus) {
		r = page_attr(p, d.fid, &attr);
		if (r == -NE_MISSING_KEY) {
			/* Its place is taken all the same, so that one fetch brings the whole page. */
			memset(&attr, 0, sizeof(attr));
			p->missing = r;
		} else if (r < 0 && r != -NE_STALE) {
			return r;
		}
		out.attrs.items = &attr;
		out.attrs.count = r == -NE_STALE ? 0 : 1;
	}
	if (w_dirent_append(&p->array, &out) < 0) {
		p->full = true;
		return 1;
	}
	p->next = out.cookie + 1;
	return 0;
}

static int page_fill(struct page *p, struct fid dir)
{
	struct mds_key to = mds_key_entry(dir, UINT64_MAX);

	do {
		struct mds_key from = mds_key_entry(dir, p->next);
		int r;

		p->seen = 0;
		r = mds_kv_range(p->op, &from, &to, RANGE_BATCH, page_entry, p);
		if (r < 0) {
			return r;
		}
	} while (!p->full && p->seen == RANGE_BATCH);
	return p->missing;
}

static int readdir_permitted(struct mds_op *op, const struct mds_inode *dir, bool *ret_plus)
{
	const struct w_mds_readdir_req *req = op->req;
	bool open = req->handle != 0 && mds_data_is_open(op->session, dir->fid);
	int r = open ? 0 : mds_perm_check(op, dir, MDS_MAY_READ);

	*ret_plus = false;
	if (r == 0 && req->plus) {
		/* Who may list but not search gets names without attributes. */
		r = mds_perm_check(op, dir, MDS_MAY_EXEC);
		*ret_plus = r == 0;
		r = r == -NE_ACCES ? 0 : r;
	}
	return r;
}

static int page_memory(struct mds_op *op, uint32_t *ret_bytes)
{
	const struct w_mds_readdir_req *req = op->req;
	uint32_t bytes = (uint32_t)u64_min(req->bytes_max, PAGE_BYTES_MAX);

	if (bytes < PAGE_BYTES_MIN) {
		return -NE_INVAL;
	}
	if (op->large == NULL) {
		op->large = mem_alloc(bytes);
	}
	*ret_bytes = bytes;
	return op->large == NULL ? -NE_NOMEM : 0;
}

int mds_readdir_execute(struct mds_op *op)
{
	const struct w_mds_readdir_req *req = op->req;
	struct page page = {.op = op, .next = req->cookie + 1};
	struct mds_inode *dir = NULL;
	uint32_t bytes = 0;
	int r = mds_reach_dir(op, req->fid, &dir);

	if (r == 0) {
		r = readdir_permitted(op, dir, &page.plus);
	}
	if (r == 0) {
		r = page_memory(op, &bytes);
	}
	if (r < 0) {
		return r;
	}
	page.enc = wire_enc_of(op->large, bytes);
	r = wire_array_begin(&page.enc, ENTRIES_MAX, &page.array);
	if (r == 0 && req->cookie <= INT64_MAX - 1) {
		r = page_fill(&page, dir->fid);
	}
	if (r < 0) {
		return r;
	}
	wire_array_end(&page.array, &op->rep_view);
	op->res.inode = dir;
	op->res.flag = !page.full;
	op->res.fid = dir->fid;
	op->res.atime_due = req->cookie == 0 && mds_atime_due(op, dir);
	return 0;
}

int mds_readdir_reply(struct mds_op *op)
{
	struct w_mds_readdir_rep *rep = &op->rep.readdir;
	const struct mds_inode *dir = op->res.inode;

	rep->entries.view = op->rep_view;
	rep->entries.count = op->rep_view.count;
	rep->end = op->res.flag;
	rep->parent = dir->d.parent;
	if (fid_eq(dir->fid, mds_fid_translate(op, fid_root()))) {
		rep->parent = dir->fid;
	}
	return 0;
}
