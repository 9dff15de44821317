/* The checker finds what is wrong: each kind of damage, done by hand, is reported. */
#include "mds/mds_int.h"
#include "mds_box.h"
#include "test.h"

#define ROOT fid_root()

struct damage {
	struct mbox box;
	struct mcli c;
	struct fid dir;
	struct fid file;
	uint64_t cookie; /* of the file in the directory */
	unsigned lines;
	struct mds_key key;
	uint8_t value[LIM_KV_VALUE_MAX];
	uint8_t before[LIM_KV_VALUE_MAX];
	size_t len;
	bool del;
};

static void count_line(void *ctx, const char *line)
{
	struct damage *d = ctx;

	CHECK(line[0] != 0);
	d->lines++;
}

static int violations(struct damage *d)
{
	int r;

	d->lines = 0;
	r = mds_check(d->box.env, mds_state(d->box.mds), 0, count_line, d);
	CHECK(r >= 0 && (unsigned)r == d->lines);
	return r;
}

static int change(struct state_txn *txn, void *ctx)
{
	struct damage *d = ctx;

	if (d->del) {
		return state_del(txn, d->key.b, d->key.len);
	}
	return state_put(txn, d->key.b, d->key.len, d->value, (uint32_t)d->len);
}

static int read_value(struct state_txn *txn, void *ctx)
{
	struct damage *d = ctx;
	struct state_val val;
	int r = state_get(txn, d->key.b, d->key.len, &val);

	if (r == 0) {
		memcpy(d->value, val.data, val.len);
		d->len = val.len;
	}
	return r;
}

static void apply(struct damage *d, bool del)
{
	struct state_run_opts opts = {.kind = STATE_CHANGE};

	d->del = del;
	CHECK_EQ(state_run(mds_state(d->box.mds), change, d, &opts, NULL), 0);
}

static void load(struct damage *d, struct mds_key key)
{
	struct state_run_opts opts = {.kind = STATE_READ};

	d->key = key;
	CHECK_EQ(state_run(mds_state(d->box.mds), read_value, d, &opts, NULL), 0);
}

/* The record is deleted, found to be missing, and put back. */
static void try_delete(struct damage *d, struct mds_key key)
{
	load(d, key);
	apply(d, true);
	CHECK(violations(d) > 0);
	apply(d, false);
	CHECK_EQ(violations(d), 0);
}

static void try_inode(struct damage *d, struct fid fid, void (*fn)(struct d_mds_inode *i))
{
	size_t len;
	struct d_mds_inode i;
	struct wire_enc enc = wire_enc_of(d->value, sizeof(d->value));

	load(d, mds_key_inode(fid));
	len = d->len;
	memcpy(d->before, d->value, len);
	CHECK_EQ(d_mds_inode_decode(&i, d->before, len), 0);
	fn(&i);
	CHECK_EQ(d_mds_inode_encode(&i, &enc), 0);
	d->len = enc.pos;
	apply(d, false);
	CHECK(violations(d) > 0);
	memcpy(d->value, d->before, len);
	d->len = len;
	apply(d, false);
	CHECK_EQ(violations(d), 0);
}

static void nlink_more(struct d_mds_inode *i)
{
	i->nlink++;
}

static void entries_more(struct d_mds_inode *i)
{
	i->entries++;
}

static void parent_other(struct d_mds_inode *i)
{
	i->parent.oid += 1000;
}

static void type_other(struct d_mds_inode *i)
{
	i->mode ^= 0100000 ^ 0010000;
}

static void xattrs_more(struct d_mds_inode *i)
{
	i->xattr_count++;
}

static void orphan_state(struct d_mds_inode *i)
{
	i->state |= W_ATTR_STATE_ORPHAN;
}

static void damage_main(void *arg)
{
	struct damage *d = arg;
	struct mds_key orphan;
	struct w_attr a;

	mbox_start(&d->box);
	mcli_open(&d->c, 0);
	CHECK_EQ(mcli_create(&d->c, ROOT, "dir", 040755, &a), 0);
	d->dir = a.fid;
	CHECK_EQ(mcli_create(&d->c, d->dir, "file", 0100644, &a), 0);
	d->file = a.fid;
	CHECK_EQ(mcli_setxattr(&d->c, d->file, "user.a", d->value, sizeof(d->value), 0), 0);
	CHECK_EQ(violations(d), 0);
	d->cookie = mds_cookie_home(d->box.mds->hash_key, 0, wire_str_of("file"));
	try_delete(d, mds_key_entry(d->dir, d->cookie));
	try_delete(d, mds_key_link(d->file, d->dir, d->cookie));
	try_delete(d, mds_key_inode(d->file));
	try_delete(d, mds_key_inode(d->dir));
	try_delete(d, mds_key_globals());
	try_inode(d, d->file, nlink_more);
	try_inode(d, d->file, parent_other);
	try_inode(d, d->file, type_other);
	try_inode(d, d->file, xattrs_more);
	try_inode(d, d->file, orphan_state);
	try_inode(d, d->dir, nlink_more);
	try_inode(d, d->dir, entries_more);
	try_inode(d, d->dir, parent_other);
	/* An orphan record of what has a name. */
	orphan = mds_key_orphan(d->file);
	d->key = orphan;
	d->len = 0;
	apply(d, false);
	CHECK(violations(d) > 0);
	apply(d, true);
	CHECK_EQ(violations(d), 0);
	mbox_stop(&d->box);
}

TEST(damage_is_found)
{
	struct damage *d = calloc(1, sizeof(*d));

	mbox_init(&d->box, 1);
	mcli_init(&d->c, &d->box);
	CHECK(mbox_run(&d->box, damage_main, d, SIM_KILL));
	mcli_fini(&d->c);
	mbox_fini(&d->box);
	free(d);
}
