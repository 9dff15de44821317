/*
 * Entries of directories: names to FIDs through hash chains (RULES A8).
 *
 * An entry stands at (directory, cookie). Its name's chain begins at the name's home, a keyed hash of 63 bits;
 * a name whose home is taken goes to the next free cookie. Cookies never change while the entry lives, so
 * they are positions for readdir.
 *
 * Invariants, for cookies p and p + 1 of one directory:
 * - CHAINED(p) exactly when there is a record at p + 1 and it is PRECEDED. A search goes on behind p only then.
 * - A name is found by walking from its home while CHAINED; nothing on the way is absent.
 * - An entry that is removed from the middle of a chain leaves a place-holder (zero FID, no name), which the
 *   next name of that chain takes. A chain never ends in a place-holder, so an empty directory has no record.
 * Collisions of a 63-bit keyed hash do not happen in practice: chains cost nothing until they do, one read per
 * look-up.
 */
#include "mds/mds_int.h"

#define DIRENT_FLAGS (MDS_DIRENT_CHAINED | MDS_DIRENT_PRECEDED)
/* With a hash cut for tests, chains are as long as directories. */
#define CHAIN_MAX_TEST 100000

/* What a walk along a name's chain found. */
struct chain {
	bool found;
	bool empty; /* nothing stands at the home */
	bool has_free; /* a place-holder at `free_at` */
	uint64_t at; /* found: the entry's cookie, else the last of the chain (or the home) */
	uint64_t free_at;
	struct d_mds_dirent rec; /* at `at` */
};

int mds_name_check(struct wire_str name)
{
	if (name.len > LIM_NAME_MAX) {
		return -NE_NAMETOOLONG;
	}
	if (name.len == 0 || (name.len <= 2 && memcmp(name.ptr, "..", name.len) == 0)) {
		return -NE_INVAL;
	}
	if (memchr(name.ptr, '/', name.len) != NULL || memchr(name.ptr, 0, name.len) != NULL) {
		return -NE_INVAL;
	}
	return 0;
}

uint64_t mds_cookie_home(struct hash_key key, unsigned hash_bits, struct wire_str name)
{
	uint64_t hash = hash_sip(key, name.ptr, name.len);

	ASSERT(hash_bits <= 63);
	if (hash_bits != 0 && hash_bits < 63) {
		return MDS_COOKIE_MIN + (hash & ((UINT64_C(1) << hash_bits) - 1));
	}
	return MDS_COOKIE_MIN + (hash >> 1) % (MDS_COOKIE_MAX - MDS_COOKIE_MIN);
}

static uint64_t home_of(const struct mds_op *op, struct wire_str name)
{
	return mds_cookie_home(op->mds->hash_key, op->mds->opts.hash_bits, name);
}

static unsigned chain_max(const struct mds_op *op)
{
	return op->mds->opts.hash_bits == 0 ? MDS_CHAIN_MAX : CHAIN_MAX_TEST;
}

static int rec_get(
	struct mds_op *op, struct fid parent, uint64_t cookie, struct d_mds_dirent *ret_rec)
{
	struct mds_key key = mds_key_entry(parent, cookie);
	int r = mds_kv_get_record(op, &key, &d_mds_dirent_codec, ret_rec);

	if (r == 0 && fid_is_zero(ret_rec->fid) != (ret_rec->name.len == 0)) {
		return -NE_CORRUPT;
	}
	return r;
}

static int rec_put(
	struct mds_op *op, struct fid parent, uint64_t cookie, const struct d_mds_dirent *rec)
{
	struct mds_key key = mds_key_entry(parent, cookie);

	ASSERT(fid_is_zero(rec->fid) == (rec->name.len == 0));
	return mds_kv_put_record(op, &key, &d_mds_dirent_codec, rec);
}

static int rec_del(struct mds_op *op, struct fid parent, uint64_t cookie)
{
	struct mds_key key = mds_key_entry(parent, cookie);

	return mds_kv_del(op, &key);
}

static int link_put(struct mds_op *op, struct fid child, struct fid parent, uint64_t cookie,
	struct wire_str name)
{
	struct mds_key key = mds_key_link(child, parent, cookie);
	struct d_mds_link link = {.name = name};

	return mds_kv_put_record(op, &key, &d_mds_link_codec, &link);
}

static int link_del(struct mds_op *op, struct fid child, struct fid parent, uint64_t cookie)
{
	struct mds_key key = mds_key_link(child, parent, cookie);

	return mds_kv_del(op, &key);
}

static int chain_walk(
	struct mds_op *op, struct fid parent, struct wire_str name, struct chain *ret_chain)
{
	struct chain c = {.at = home_of(op, name)};
	unsigned left = chain_max(op);

	for (;; c.at++) {
		int r = rec_get(op, parent, c.at, &c.rec);

		if (r == -NE_NOENT && c.at == home_of(op, name)) {
			c.empty = true;
			break;
		}
		if (r < 0) {
			return r == -NE_NOENT ? -NE_CORRUPT : r;
		}
		if (wire_str_eq(c.rec.name, name)) {
			c.found = true;
			break;
		}
		if (fid_is_zero(c.rec.fid) && !c.has_free) {
			c.has_free = true;
			c.free_at = c.at;
		}
		if ((c.rec.mode & MDS_DIRENT_CHAINED) == 0) {
			break;
		}
		if (--left == 0) {
			return -NE_NOSPC;
		}
	}
	*ret_chain = c;
	return 0;
}

int mds_dirent_find(
	struct mds_op *op, struct fid parent, struct wire_str name, struct mds_dirent *ret_dirent)
{
	struct chain c;
	int r = chain_walk(op, parent, name, &c);

	ASSERT(name.len > 0);
	if (r < 0) {
		return r;
	}
	if (!c.found) {
		return -NE_NOENT;
	}
	*ret_dirent =
		(struct mds_dirent){.cookie = c.at, .fid = c.rec.fid, .mode = c.rec.mode & S_IFMT};
	return 0;
}

/* Goes on behind the chain's last record to the next free cookie, tying what lies between to the chain. */
static int chain_extend(struct mds_op *op, struct fid parent, struct chain *c, uint32_t *ret_flags)
{
	unsigned left = chain_max(op);

	while (left-- > 0) {
		int r;

		if ((c->rec.mode & MDS_DIRENT_CHAINED) == 0) {
			c->rec.mode |= MDS_DIRENT_CHAINED;
			r = rec_put(op, parent, c->at, &c->rec);
			if (r < 0) {
				return r;
			}
		}
		c->at++;
		r = rec_get(op, parent, c->at, &c->rec);
		if (r == -NE_NOENT) {
			*ret_flags = MDS_DIRENT_PRECEDED;
			return 0;
		}
		if (r < 0) {
			return r;
		}
		c->rec.mode |= MDS_DIRENT_PRECEDED;
		if (fid_is_zero(c->rec.fid)) {
			*ret_flags = c->rec.mode & DIRENT_FLAGS;
			return 0;
		}
		r = rec_put(op, parent, c->at, &c->rec);
		if (r < 0) {
			return r;
		}
	}
	return -NE_NOSPC;
}

/* Chooses the cookie of a new name and the flags its record has to have. */
static int chain_place(struct mds_op *op, struct fid parent, struct chain *c, uint32_t *ret_flags)
{
	struct d_mds_dirent holder;
	int r;

	if (c->empty) {
		*ret_flags = 0;
		return 0;
	}
	if (!c->has_free) {
		return chain_extend(op, parent, c, ret_flags);
	}
	r = rec_get(op, parent, c->free_at, &holder);
	if (r < 0) {
		return r;
	}
	if (!fid_is_zero(holder.fid)) {
		return -NE_CORRUPT;
	}
	c->at = c->free_at;
	*ret_flags = holder.mode & DIRENT_FLAGS;
	return 0;
}

int mds_dirent_add(
	struct mds_op *op, struct fid parent, struct wire_str name, struct fid child, uint32_t mode)
{
	struct d_mds_dirent rec = {.fid = child, .name = name};
	struct chain c;
	uint32_t flags = 0;
	int r = chain_walk(op, parent, name, &c);

	ASSERT(!fid_is_zero(child) && name.len > 0);
	if (r < 0) {
		return r;
	}
	if (c.found) {
		return -NE_EXIST;
	}
	r = chain_place(op, parent, &c, &flags);
	if (r < 0) {
		return r;
	}
	rec.mode = (mode & S_IFMT) | flags;
	r = rec_put(op, parent, c.at, &rec);
	return r < 0 ? r : link_put(op, child, parent, c.at, name);
}

/* The record at cookie + 1 is gone: unties what stood before it, and removes place-holders at the end. */
static int chain_shorten(struct mds_op *op, struct fid parent, uint64_t cookie)
{
	for (;; cookie--) {
		struct d_mds_dirent rec;
		int r = rec_get(op, parent, cookie, &rec);

		if (r < 0) {
			return r == -NE_NOENT ? -NE_CORRUPT : r;
		}
		if (!fid_is_zero(rec.fid)) {
			rec.mode &= ~MDS_DIRENT_CHAINED;
			return rec_put(op, parent, cookie, &rec);
		}
		r = rec_del(op, parent, cookie);
		if (r < 0 || (rec.mode & MDS_DIRENT_PRECEDED) == 0) {
			return r;
		}
	}
}

int mds_dirent_remove(struct mds_op *op, struct fid parent, const struct mds_dirent *dirent)
{
	struct d_mds_dirent rec;
	int r = rec_get(op, parent, dirent->cookie, &rec);

	if (r < 0) {
		return r;
	}
	if (!fid_eq(rec.fid, dirent->fid)) {
		return -NE_CORRUPT;
	}
	r = link_del(op, dirent->fid, parent, dirent->cookie);
	if (r < 0) {
		return r;
	}
	if ((rec.mode & MDS_DIRENT_CHAINED) != 0) {
		struct d_mds_dirent holder = {.mode = rec.mode & DIRENT_FLAGS};

		return rec_put(op, parent, dirent->cookie, &holder);
	}
	r = rec_del(op, parent, dirent->cookie);
	if (r < 0 || (rec.mode & MDS_DIRENT_PRECEDED) == 0) {
		return r;
	}
	return chain_shorten(op, parent, dirent->cookie - 1);
}

int mds_dirent_replace(struct mds_op *op, struct fid parent, struct wire_str name,
	const struct mds_dirent *dirent, struct fid child, uint32_t mode)
{
	struct d_mds_dirent rec;
	int r = rec_get(op, parent, dirent->cookie, &rec);

	if (r < 0) {
		return r;
	}
	if (!fid_eq(rec.fid, dirent->fid) || !wire_str_eq(rec.name, name)) {
		return -NE_CORRUPT;
	}
	r = link_del(op, dirent->fid, parent, dirent->cookie);
	if (r < 0) {
		return r;
	}
	rec.fid = child;
	rec.mode = (mode & S_IFMT) | (rec.mode & DIRENT_FLAGS);
	r = rec_put(op, parent, dirent->cookie, &rec);
	return r < 0 ? r : link_put(op, child, parent, dirent->cookie, name);
}

void mds_dirent_want(struct mds_op *op, struct fid parent, struct wire_str name)
{
	struct mds_key key;

	if (mds_name_check(name) < 0) {
		return;
	}
	key = mds_key_entry(mds_fid_translate(op, parent), home_of(op, name));
	mds_kv_want(op, &key);
}
