/*
 * The checker: reads the whole state into tables, then asks whether everything that must hold does.
 *
 * For tests and for `inspect`: memory grows with the name space. Two passes over the tables: by entries and
 * link keys (do they mirror each other, do they lead somewhere), by inodes (counts, parents, cycles). Chains
 * are verified while entries are read, since they come in cookie order. The data side's records: mds_check_data.c.
 */
#include <stdarg.h>
#include <stdio.h>

#include "mds/mds_check_int.h"

#define BATCH 512

void mds_check_report(struct mds_check *c, const char *fmt, ...)
{
	char line[512];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	c->violations++;
	c->fn(c->fn_ctx, line);
}

struct check_inode *mds_check_inode(struct mds_check *c, struct fid fid)
{
	for (struct hmap_node *it = hmap_find(&c->inodes, fid_hash(fid)); it != NULL;
		it = hmap_find_next(it)) {
		struct check_inode *i = container_of(it, struct check_inode, node);

		if (fid_eq(i->fid, fid)) {
			return i;
		}
	}
	return NULL;
}

/* Made when first heard of, by whatever key. */
static struct check_inode *inode_of(struct mds_check *c, struct fid fid)
{
	struct check_inode *i = mds_check_inode(c, fid);

	if (i == NULL) {
		i = mem_zalloc(sizeof(*i));
		if (i == NULL) {
			c->error = -NE_NOMEM;
			return NULL;
		}
		i->fid = fid;
		hmap_insert(&c->inodes, &i->node, fid_hash(fid));
	}
	return i;
}

static uint64_t name_sum(struct wire_str name)
{
	return hash_bytes(name.ptr, name.len);
}

static uint64_t tie_hash(struct fid parent, uint64_t cookie)
{
	return hash_mix2(fid_hash(parent), cookie);
}

struct check_tie *mds_check_tie(struct mds_check *c, struct fid parent, uint64_t cookie)
{
	for (struct hmap_node *it = hmap_find(&c->ties, tie_hash(parent, cookie)); it != NULL;
		it = hmap_find_next(it)) {
		struct check_tie *t = container_of(it, struct check_tie, node);

		if (fid_eq(t->parent, parent) && t->cookie == cookie) {
			return t;
		}
	}
	return NULL;
}

static struct check_tie *tie_of(struct mds_check *c, struct fid parent, uint64_t cookie)
{
	struct check_tie *t = mds_check_tie(c, parent, cookie);

	if (t == NULL) {
		t = mem_zalloc(sizeof(*t));
		if (t == NULL) {
			c->error = -NE_NOMEM;
			return NULL;
		}
		t->parent = parent;
		t->cookie = cookie;
		hmap_insert(&c->ties, &t->node, tie_hash(parent, cookie));
	}
	return t;
}

/* ---- one record of each kind ---- */

static void take_chain(struct mds_check *c, const struct check_entry *e)
{
	bool next = c->chain_known && fid_eq(c->chain_parent, e->parent) &&
		c->chain_cookie + 1 == e->cookie;
	bool preceded = (e->mode & MDS_DIRENT_PRECEDED) != 0;

	if (c->chain_known && c->chain_on && !next) {
		mds_check_report(c, "chain leads nowhere parent=%#llx:%#x cookie=%#llx",
			(unsigned long long)c->chain_parent.seq, c->chain_parent.oid,
			(unsigned long long)c->chain_cookie);
	}
	if (preceded != (next && c->chain_on)) {
		mds_check_report(c, "chain flags differ parent=%#llx:%#x cookie=%#llx",
			(unsigned long long)e->parent.seq, e->parent.oid,
			(unsigned long long)e->cookie);
	}
	if (!preceded) {
		c->chain_start = e->cookie;
	}
	if (e->holder && (e->mode & MDS_DIRENT_CHAINED) == 0) {
		mds_check_report(c, "place-holder at the end of a chain parent=%#llx:%#x",
			(unsigned long long)e->parent.seq, e->parent.oid);
	}
	if (!e->holder && (e->home > e->cookie || e->home < c->chain_start)) {
		mds_check_report(c, "entry cannot be found parent=%#llx:%#x cookie=%#llx",
			(unsigned long long)e->parent.seq, e->parent.oid,
			(unsigned long long)e->cookie);
	}
	c->chain_known = true;
	c->chain_parent = e->parent;
	c->chain_cookie = e->cookie;
	c->chain_on = (e->mode & MDS_DIRENT_CHAINED) != 0;
}

static void take_entry(struct mds_check *c, const struct state_rec *rec)
{
	struct check_entry e = {0};
	struct check_tie *t;
	struct d_mds_dirent d;

	if (rec->key_len != 25 || d_mds_dirent_decode(&d, rec->val.data, rec->val.len) < 0) {
		mds_check_report(c, "entry is damaged");
		return;
	}
	e.parent = mds_fid_load((const uint8_t *)rec->key + 1);
	e.cookie = be64_load((const uint8_t *)rec->key + 17);
	e.mode = d.mode;
	e.holder = fid_is_zero(d.fid);
	e.home = e.holder ? 0 : mds_cookie_home(c->hash_key, c->hash_bits, d.name);
	take_chain(c, &e);
	if (e.holder) {
		return;
	}
	t = tie_of(c, e.parent, e.cookie);
	if (t != NULL) {
		t->entry = true;
		t->entry_fid = d.fid;
		t->entry_mode = d.mode & S_IFMT;
		t->entry_name = name_sum(d.name);
	}
}

static void take_link(struct mds_check *c, const struct state_rec *rec, struct fid child)
{
	struct d_mds_link d;
	struct check_tie *t;

	if (rec->key_len != 42 || d_mds_link_decode(&d, rec->val.data, rec->val.len) < 0) {
		mds_check_report(c, "link key is damaged");
		return;
	}
	t = tie_of(c, mds_fid_load((const uint8_t *)rec->key + 18),
		be64_load((const uint8_t *)rec->key + 34));
	if (t == NULL) {
		return;
	}
	if (t->link) {
		mds_check_report(c, "two link keys for one entry child=%#llx:%#x",
			(unsigned long long)child.seq, child.oid);
	}
	t->link = true;
	t->link_fid = child;
	t->link_name = name_sum(d.name);
}

static void take_inode(struct mds_check *c, const struct state_rec *rec, struct fid fid)
{
	struct check_inode *i = inode_of(c, fid);
	struct d_mds_inode d;

	if (i == NULL) {
		return;
	}
	if (d_mds_inode_decode(&d, rec->val.data, rec->val.len) < 0) {
		mds_check_report(
			c, "inode is damaged fid=%#llx:%#x", (unsigned long long)fid.seq, fid.oid);
		return;
	}
	i->present = true;
	i->d = d;
	i->target_len = d.target.len;
	i->d.target = (struct wire_str){0};
}

static void take_part(struct mds_check *c, const struct state_rec *rec)
{
	struct fid fid = mds_fid_load((const uint8_t *)rec->key + 1);
	uint8_t part = ((const uint8_t *)rec->key)[17];
	struct check_inode *i = inode_of(c, fid);

	if (i == NULL) {
		return;
	}
	switch (part) {
	case MDS_PART_INODE:
		take_inode(c, rec, fid);
		break;
	case MDS_PART_LINK:
		take_link(c, rec, fid);
		break;
	case MDS_PART_SYMLINK:
		i->symlink_bytes += rec->val.len;
		break;
	case MDS_PART_XATTR:
		if (rec->key_len == 28 && be16_load((const uint8_t *)rec->key + 26) == 0) {
			struct d_mds_xattr x;

			if (d_mds_xattr_decode(&x, rec->val.data, rec->val.len) < 0) {
				mds_check_report(c, "xattr is damaged");
				return;
			}
			i->xattrs++;
			i->xattr_bytes += (int64_t)x.length - x.value.len;
		} else {
			i->xattr_bytes -= rec->val.len;
		}
		break;
	case MDS_PART_LAYOUT:
		i->layouts++;
		mds_check_take_layout(c, rec, i);
		break;
	case MDS_PART_DATA:
		i->data_bytes += rec->val.len;
		break;
	default:
		mds_check_report(c, "unknown part %u of an inode", part);
	}
}

static void take_small(struct mds_check *c, const struct state_rec *rec, uint8_t kind)
{
	struct d_mds_globals g;
	struct d_mds_fid_range range;
	struct fid fid;

	if (kind == MDS_KEY_GLOBALS) {
		if (d_mds_globals_decode(&g, rec->val.data, rec->val.len) < 0) {
			mds_check_report(c, "globals are damaged");
			return;
		}
		c->globals = g;
		c->globals_seen = true;
		c->hash_key = (struct hash_key){.k0 = g.hash_key0, .k1 = g.hash_key1};
	} else if (kind == MDS_KEY_FID_RANGE) {
		if (d_mds_fid_range_decode(&range, rec->val.data, rec->val.len) < 0) {
			mds_check_report(c, "FID range is damaged");
			return;
		}
		c->range = range;
	} else if (mds_key_fid(rec->key, rec->key_len, &fid) == 0) {
		struct check_inode *i = inode_of(c, fid);

		if (i != NULL && kind == MDS_KEY_ORPHAN) {
			i->orphan = true;
		} else if (i != NULL) {
			mds_check_take_size_open(c, rec, i);
		}
	}
}

static void take(struct mds_check *c, const struct state_rec *rec)
{
	uint8_t kind = ((const uint8_t *)rec->key)[0];

	switch (kind) {
	case MDS_KEY_ENTRY:
		take_entry(c, rec);
		break;
	case MDS_KEY_INODE:
		if (rec->key_len < 18) {
			mds_check_report(c, "key of an inode is too short");
		} else {
			take_part(c, rec);
		}
		break;
	case MDS_KEY_GLOBALS:
	case MDS_KEY_FID_RANGE:
	case MDS_KEY_ORPHAN:
	case MDS_KEY_SIZE_OPEN:
		take_small(c, rec, kind);
		break;
	case MDS_KEY_SESSION:
		c->session_last = rec->key_len == 9 ? be64_load((const uint8_t *)rec->key + 1) : 0;
		break;
	case MDS_KEY_INTENT:
		mds_check_take_intent(c, rec);
		break;
	case MDS_KEY_SLOT:
		break;
	default:
		mds_check_report(c, "unknown key kind %#x", kind);
	}
}

/* ---- reading everything ---- */

static int batch_one(void *arg, const struct state_rec *rec)
{
	struct mds_check *c = arg;

	/* A batch may be read again from its start: what was taken is not taken twice. */
	if (c->from_len != 0 &&
		span_cmp(span_of(rec->key, rec->key_len), span_of(c->from, c->from_len)) <= 0) {
		return 0;
	}
	memcpy(c->from, rec->key, rec->key_len);
	c->from_len = rec->key_len;
	c->seen++;
	take(c, rec);
	return c->error;
}

static int batch_execute(struct state_txn *txn, void *arg)
{
	struct mds_check *c = arg;
	static const uint8_t first = 0;
	struct state_range range = {
		.from = c->from_len == 0 ? &first : c->from,
		.from_len = c->from_len == 0 ? 1 : c->from_len,
		.max = BATCH,
	};

	return state_range(txn, &range, batch_one, c);
}

static int read_all(struct mds_check *c, struct state *st)
{
	struct state_run_opts opts = {.kind = STATE_READ};

	do {
		int r;

		c->seen = 0;
		r = state_run(st, batch_execute, c, &opts, NULL);
		if (r < 0) {
			return r;
		}
	} while (c->seen > 0);
	return 0;
}

static void tables_free(struct mds_check *c)
{
	size_t cursor = 0;
	struct hmap_node *it;

	mds_check_data_free(c);
	while ((it = hmap_pop(&c->inodes, &cursor)) != NULL) {
		struct check_inode *i = container_of(it, struct check_inode, node);

		mds_check_layout_free(i->layout);
		mem_free(i);
	}
	cursor = 0;
	while ((it = hmap_pop(&c->ties, &cursor)) != NULL) {
		mem_free(container_of(it, struct check_tie, node));
	}
	hmap_fini(&c->inodes);
	hmap_fini(&c->ties);
}

int mds_check(struct env *env, struct state *st, unsigned hash_bits, mds_check_fn *fn, void *ctx)
{
	struct mds_check *c = mem_zalloc(sizeof(*c));
	int r;

	ASSERT(env != NULL && st != NULL && fn != NULL);
	if (c == NULL) {
		return -NE_NOMEM;
	}
	c->fn = fn;
	c->fn_ctx = ctx;
	c->hash_bits = hash_bits;
	hmap_init(&c->inodes);
	hmap_init(&c->ties);
	hmap_init(&c->layouts);
	hmap_init(&c->intents);
	r = read_all(c, st);
	if (r == 0) {
		mds_check_rules(c);
		r = c->violations;
	}
	tables_free(c);
	mem_free(c);
	return r;
}
