/* The checker finds what is wrong: each kind of damage, done by hand, is reported. */
#include "mds/mds_data.h"
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
	const char *want; /* a line that must be among those of the checker; NULL any */
	bool named;
	/* the file's and the directory's records as they are to be; broken and put back one by one */
	struct d_mds_inode inode;
	struct d_mds_layout layout;
	struct d_mds_intent intent;
	uint32_t osts[LIM_STRIPE_COUNT_MAX];
	struct fid data_fid;
	struct fid other_data_fid; /* of another file's layout */
};

static void count_line(void *ctx, const char *line)
{
	struct damage *d = ctx;

	CHECK(line[0] != 0);
	d->lines++;
	d->named |= d->want != NULL && strstr(line, d->want) != NULL;
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

/* ---- the data side ---- */

static void expect_clean(struct damage *d)
{
	d->want = NULL;
	CHECK_EQ(violations(d), 0);
}

static void expect(struct damage *d, const char *want)
{
	d->want = want;
	d->named = false;
	CHECK(violations(d) > 0);
	if (!d->named) {
		fprintf(stderr, "not named: %s\n", want);
		abort();
	}
	d->want = NULL;
}

static void put(
	struct damage *d, struct mds_key key, const struct wire_codec *codec, const void *rec)
{
	struct wire_enc enc = wire_enc_of(d->value, sizeof(d->value));

	CHECK_EQ(codec->encode(rec, &enc), 0);
	d->key = key;
	d->len = enc.pos;
	apply(d, false);
}

static void drop(struct damage *d, struct mds_key key)
{
	d->key = key;
	apply(d, true);
}

static void layout_put(struct damage *d, const struct d_mds_layout *l)
{
	put(d, mds_key_piece(d->file, MDS_PART_LAYOUT, 0), &d_mds_layout_codec, l);
}

static void inode_put(struct damage *d, const struct d_mds_inode *i)
{
	put(d, mds_key_inode(d->file), &d_mds_inode_codec, i);
}

static void try_layout(struct damage *d, const struct d_mds_layout *broken, const char *want)
{
	layout_put(d, broken);
	expect(d, want);
	layout_put(d, &d->layout);
	expect_clean(d);
}

static void try_state(struct damage *d, uint32_t state, const char *want)
{
	struct d_mds_inode broken = d->inode;

	broken.state = state;
	inode_put(d, &broken);
	expect(d, want);
	inode_put(d, &d->inode);
	expect_clean(d);
}

static void try_intent(struct damage *d, const struct d_mds_intent *broken, const char *want)
{
	struct mds_key key = mds_key_intent(2);

	put(d, key, &d_mds_intent_codec, broken);
	expect(d, want);
	drop(d, key);
	expect_clean(d);
}

/* A list of `count` OSTs in pieces of MDS_LAYOUT_OSTS_PIECE. */
static void pieces_put(struct damage *d, uint32_t count)
{
	for (uint32_t at = 0; at < count; at += MDS_LAYOUT_OSTS_PIECE) {
		uint32_t n = (uint32_t)u64_min(count - at, MDS_LAYOUT_OSTS_PIECE);

		d->key = mds_key_piece(
			d->file, MDS_PART_LAYOUT, (uint16_t)(at / MDS_LAYOUT_OSTS_PIECE + 1));
		d->len = n * sizeof(uint32_t);
		for (uint32_t k = 0; k < n; k++) {
			le32_store(d->value + k * 4, (at + k) % LIM_OST_MAX);
		}
		apply(d, false);
	}
}

static void piece_drop(struct damage *d, uint16_t piece)
{
	drop(d, mds_key_piece(d->file, MDS_PART_LAYOUT, piece));
}

/* What the file's records say; the views of the layout are made lists of ours. */
static void records_load(struct damage *d)
{
	struct d_mds_layout other;
	struct w_attr a;

	CHECK_EQ(mcli_create(&d->c, ROOT, "other", 0100644, &a), 0);
	load(d, mds_key_piece(a.fid, MDS_PART_LAYOUT, 0));
	CHECK_EQ(d_mds_layout_decode(&other, d->value, d->len), 0);
	d->other_data_fid = other.layout.data_fid;
	CHECK_EQ(mcli_create(&d->c, ROOT, "file", 0100644, &a), 0);
	d->file = a.fid;
	load(d, mds_key_inode(d->file));
	CHECK_EQ(d_mds_inode_decode(&d->inode, d->value, d->len), 0);
	load(d, mds_key_piece(d->file, MDS_PART_LAYOUT, 0));
	CHECK_EQ(d_mds_layout_decode(&d->layout, d->value, d->len), 0);
	d->data_fid = d->layout.layout.data_fid;
	d->inode.target = (struct wire_str){0};
	d->layout.layout.pool = (struct wire_str){0};
	d->layout.layout.stripes_present = (struct wire_bytes){0};
}

/* With objects on three OSTs, the first of which is known to be there. */
static void instantiate(struct damage *d)
{
	static const uint8_t present = 1;
	struct w_layout *l = &d->layout.layout;

	for (uint32_t i = 0; i < 3; i++) {
		d->osts[i] = i + 4;
	}
	l->osts.items = d->osts;
	l->osts.count = 3;
	l->stripe_count = 3;
	l->flags = W_LAYOUT_FLAGS_INSTANTIATED;
	l->stripes_present = wire_bytes_of(&present, 1);
	d->inode.state = W_ATTR_STATE_INSTANTIATED;
	inode_put(d, &d->inode);
	layout_put(d, &d->layout);
	expect_clean(d);
}

static void layout_fids(struct damage *d)
{
	struct d_mds_layout broken = d->layout;

	broken.layout.data_fid = d->file;
	try_layout(d, &broken, "data FID is an inode's");
	broken.layout.data_fid = d->other_data_fid;
	try_layout(d, &broken, "two layouts have one data FID");
	broken.layout.data_fid = (struct fid){0};
	try_layout(d, &broken, "layout has no data FID");
	broken.layout.data_fid = d->data_fid;
	broken.layout.data_fid.seq += 1000;
	try_layout(d, &broken, "data FID was never reserved");
}

static void layout_flags(struct damage *d)
{
	struct d_mds_layout broken = d->layout;

	broken.layout.flags |= W_LAYOUT_FLAGS_INLINE;
	try_layout(d, &broken, "layout is not one of inline and instantiated");
	broken.layout.flags = 0;
	try_layout(d, &broken, "layout is not one of inline and instantiated");
	broken.layout.flags = W_LAYOUT_FLAGS_INLINE;
	try_layout(d, &broken, "inode and layout differ in where the data is");
	try_layout(d, &broken, "layout says that stripe 0 has an object");
	broken.layout.flags = d->layout.layout.flags | W_LAYOUT_FLAGS_DIRECTORY;
	try_layout(d, &broken, "file has a directory's layout");
	broken = d->layout;
	broken.layout.gen++;
	try_layout(d, &broken, "inode and layout differ in generation");
	try_state(d, 0, "inode is not one of inline and instantiated");
	try_state(d, W_ATTR_STATE_INLINE | W_ATTR_STATE_INSTANTIATED,
		"inode is not one of inline and instantiated");
}

static void layout_lists(struct damage *d)
{
	static const uint8_t fourth = 8;
	struct d_mds_layout broken = d->layout;
	uint32_t saved = d->osts[1];

	broken.layout.stripe_count = 4;
	try_layout(d, &broken, "layout has 4 stripes and 3 OSTs");
	broken = d->layout;
	broken.layout.osts.count = 0;
	try_layout(d, &broken, "instantiated layout without OSTs");
	broken = d->layout;
	broken.layout.stripes_present = wire_bytes_of(&fourth, 1);
	try_layout(d, &broken, "layout says that stripe 3 has an object");
	broken = d->layout;
	d->osts[1] = LIM_OST_MAX;
	layout_put(d, &broken);
	expect(d, "layout names an impossible OST");
	d->osts[1] = saved;
	layout_put(d, &d->layout);
	expect_clean(d);
	drop(d, mds_key_piece(d->file, MDS_PART_LAYOUT, 0));
	expect(d, "file without layout");
	pieces_put(d, 1);
	expect(d, "OST list without layout");
	layout_put(d, &d->layout);
	expect(d, "OST list is not in order");
	piece_drop(d, 1);
	expect_clean(d);
}

static void layout_pieces(struct damage *d)
{
	struct d_mds_layout saved = d->layout;
	uint32_t count = 2 * MDS_LAYOUT_OSTS_PIECE + 10;

	d->layout.layout.osts.count = 0;
	d->layout.layout.stripe_count = (uint16_t)count;
	layout_put(d, &d->layout);
	pieces_put(d, count);
	expect_clean(d);
	piece_drop(d, 3);
	expect(d, "layout has 910 stripes and 900 OSTs");
	pieces_put(d, count);
	piece_drop(d, 2);
	expect(d, "OST list is not in order");
	pieces_put(d, count);
	expect_clean(d);
	piece_drop(d, 3);
	piece_drop(d, 2);
	pieces_put(d, 3);
	d->layout.layout.stripe_count = 3;
	layout_put(d, &d->layout);
	expect(d, "short OST list is in pieces");
	piece_drop(d, 1);
	d->layout = saved;
	layout_put(d, &d->layout);
	expect_clean(d);
}

static void inline_bytes(struct damage *d)
{
	struct mds_key key = mds_key_piece(d->file, MDS_PART_DATA, 0);

	d->key = key;
	d->len = 5;
	apply(d, false);
	expect(d, "inline data is 5 bytes, should be 0");
	drop(d, key);
	expect_clean(d);
}

static void size_records(struct damage *d)
{
	struct mds_key key = mds_key_size_open(d->file);
	struct d_mds_size_open record = {0};
	struct d_mds_inode inode = d->inode;

	try_state(d, d->inode.state | W_ATTR_STATE_SIZE_OPEN, "open size without record");
	put(d, key, &d_mds_size_open_codec, &record);
	expect(d, "record of a size that is not open");
	d->inode.state |= W_ATTR_STATE_SIZE_OPEN;
	inode_put(d, &d->inode);
	expect_clean(d);
	try_state(d, W_ATTR_STATE_SIZE_OPEN | W_ATTR_STATE_INLINE, "open size without objects");
	memset(d->value, 0xff, 1);
	d->key = key;
	d->len = 1;
	apply(d, false);
	expect(d, "record of an open size is damaged");
	drop(d, key);
	d->inode = inode;
	inode_put(d, &d->inode);
	expect_clean(d);
}

static void intents_of_layouts(struct damage *d)
{
	struct d_mds_intent broken = d->intent;

	/* What may be: its size is set. */
	put(d, mds_key_intent(2), &d_mds_intent_codec, &broken);
	expect_clean(d);
	drop(d, mds_key_intent(2));
	broken.kind = W_OST_CHANGE_KIND_DESTROY;
	try_intent(d, &broken, "intent destroys an object of a layout");
	broken = d->intent;
	broken.ost++;
	try_intent(d, &broken, "intent and layout differ in the OST");
	broken = d->intent;
	broken.stripe = 3;
	try_intent(d, &broken, "intent and layout differ in the OST");
	broken = d->intent;
	broken.file_fid.oid++;
	try_intent(d, &broken, "intent names another file than the layout");
	broken = d->intent;
	broken.data_fid = d->other_data_fid;
	try_intent(d, &broken, "intent sizes an object that cannot exist");
}

static void intents_alone(struct damage *d)
{
	struct d_mds_intent broken = d->intent;
	struct d_mds_intent gone = d->intent;

	broken.kind = W_OST_CHANGE_KIND_CHOWN;
	try_intent(d, &broken, "intent is of a kind that is not logged");
	broken = d->intent;
	broken.size = (uint64_t)LIM_FILE_SIZE_MAX + 1;
	try_intent(d, &broken, "intent has an impossible size");
	broken = d->intent;
	broken.ost = LIM_OST_MAX;
	try_intent(d, &broken, "intent names an impossible object");
	broken = d->intent;
	broken.data_fid = d->file;
	try_intent(d, &broken, "intent names no data FID");
	broken.data_fid.seq += 1000;
	try_intent(d, &broken, "intent names no data FID");
	put(d, mds_key_intent(1ull << 40), &d_mds_intent_codec, &d->intent);
	expect(d, "intent has a number that was not given");
	drop(d, mds_key_intent(1ull << 40));
	/* Objects of a data FID that no layout names any more go, and nothing happens to them afterwards. */
	gone.kind = W_OST_CHANGE_KIND_DESTROY;
	gone.data_fid.oid++;
	put(d, mds_key_intent(1), &d_mds_intent_codec, &gone);
	expect_clean(d);
	gone.kind = W_OST_CHANGE_KIND_SET_SIZE;
	try_intent(d, &gone, "intent for an object that goes");
	drop(d, mds_key_intent(1));
	memset(d->value, 0xff, 1);
	d->key = mds_key_intent(1);
	d->len = 1;
	apply(d, false);
	expect(d, "intent is damaged");
	drop(d, mds_key_intent(1));
	expect_clean(d);
}

/* Numbers 1 and 2 were given. */
static void intents_given(struct damage *d)
{
	struct d_mds_globals g;

	load(d, mds_key_globals());
	CHECK_EQ(d_mds_globals_decode(&g, d->value, d->len), 0);
	g.intent_next = 3;
	put(d, mds_key_globals(), &d_mds_globals_codec, &g);
	d->intent = (struct d_mds_intent){
		.kind = W_OST_CHANGE_KIND_SET_SIZE,
		.file_fid = d->file,
		.data_fid = d->data_fid,
		.layout_gen = d->layout.layout.gen,
		.ost = d->osts[1],
		.stripe = 1,
	};
}

static void data_main(void *arg)
{
	struct damage *d = arg;

	mbox_start(&d->box);
	mcli_open(&d->c, 0);
	records_load(d);
	expect_clean(d);
	instantiate(d);
	layout_fids(d);
	layout_flags(d);
	layout_lists(d);
	layout_pieces(d);
	inline_bytes(d);
	size_records(d);
	intents_given(d);
	intents_of_layouts(d);
	intents_alone(d);
	mbox_stop(&d->box);
}

TEST(damage_of_data_is_named)
{
	struct damage *d = calloc(1, sizeof(*d));

	CHECK(d != NULL);
	mbox_init(&d->box, 1);
	mcli_init(&d->c, &d->box);
	CHECK(mbox_run(&d->box, data_main, d, SIM_KILL));
	mcli_fini(&d->c);
	mbox_fini(&d->box);
	free(d);
}
