/*
 * The checker's part for the data side: layouts, records of open sizes, intents (mds_data.h says what must hold).
 *
 * Records are taken as mds_check.c reads them: by inode, its layout's first record before the pieces of its OST list;
 * intents in the order of their numbers. What one record says of others is judged when all have been read. Which OSTs
 * there are is not in the state: an index is judged by its bound only.
 */
#include "mds/mds_check_int.h"
#include "mds/mds_data.h"

#define WHO(fid) (unsigned long long)(fid).seq, (fid).oid

/* ---- layouts ---- */

static struct check_layout *layout_of(const struct mds_check *c, struct fid data_fid)
{
	for (struct hmap_node *it = hmap_find(&c->layouts, fid_hash(data_fid)); it != NULL;
		it = hmap_find_next(it)) {
		struct check_layout *l = container_of(it, struct check_layout, node);

		if (fid_eq(l->data_fid, data_fid)) {
			return l;
		}
	}
	return NULL;
}

/* The highest stripe with its bit set, plus one. */
static uint32_t present_end(struct wire_bytes bits)
{
	const uint8_t *at = bits.ptr;
	uint32_t end = 0;

	for (uint32_t i = 0; i < bits.len * 8u; i++) {
		end = (at[i / 8] >> (i % 8) & 1) != 0 ? i + 1 : end;
	}
	return end;
}

static int ost_add(struct mds_check *c, struct check_layout *l, uint32_t ost)
{
	if (l->ost_count >= LIM_STRIPE_COUNT_MAX) {
		return -NE_CORRUPT;
	}
	if (ost >= LIM_OST_MAX) {
		mds_check_report(c, "layout names an impossible OST %u fid=%#llx:%#x", ost,
			WHO(l->inode->fid));
	}
	if (l->osts == NULL) {
		uint64_t room = u64_max(l->stripe_count, MDS_LAYOUT_OSTS_INLINE);

		l->osts = mem_zalloc(u64_min(room, LIM_STRIPE_COUNT_MAX) * sizeof(*l->osts));
		l->ost_room = (uint32_t)u64_min(room, LIM_STRIPE_COUNT_MAX);
	}
	if (l->osts == NULL) {
		c->error = -NE_NOMEM;
		return -NE_NOMEM;
	}
	if (l->ost_count < l->ost_room) {
		l->osts[l->ost_count] = ost;
	}
	l->ost_count++;
	return 0;
}

static void layout_enter(struct mds_check *c, struct check_layout *l)
{
	if (fid_is_zero(l->data_fid)) {
		return;
	}
	if (layout_of(c, l->data_fid) != NULL) {
		mds_check_report(c, "two layouts have one data FID fid=%#llx:%#x data=%#llx:%#x",
			WHO(l->inode->fid), WHO(l->data_fid));
	}
	hmap_insert(&c->layouts, &l->node, fid_hash(l->data_fid));
}

static void take_layout_first(
	struct mds_check *c, const struct state_rec *rec, struct check_inode *i)
{
	struct check_layout *l;
	struct d_mds_layout d;
	int r = 0;

	if (d_mds_layout_decode(&d, rec->val.data, rec->val.len) < 0 ||
		d.layout.osts.view.count > MDS_LAYOUT_OSTS_INLINE) {
		mds_check_report(c, "layout is damaged fid=%#llx:%#x", WHO(i->fid));
		return;
	}
	l = mem_zalloc(sizeof(*l));
	if (l == NULL) {
		c->error = -NE_NOMEM;
		return;
	}
	l->inode = i;
	l->gen = d.layout.gen;
	l->flags = d.layout.flags;
	l->stripe_count = d.layout.stripe_count;
	l->data_fid = d.layout.data_fid;
	l->present_end = present_end(d.layout.stripes_present);
	i->layout = l;
	layout_enter(c, l);
	for (uint32_t k = 0; k < d.layout.osts.view.count && r == 0; k++) {
		r = ost_add(c, l, wire_u32_at(&d.layout.osts.view, k));
	}
}

static void take_layout_piece(
	struct mds_check *c, const struct state_rec *rec, struct check_layout *l, uint16_t piece)
{
	const uint8_t *at = rec->val.data;
	int r = 0;

	if (piece != l->pieces + 1 || rec->val.len == 0 || rec->val.len % 4 != 0 ||
		rec->val.len > MDS_LAYOUT_OSTS_PIECE * 4 ||
		(l->pieces == 0 ? l->ost_count > 0 : l->ost_count % MDS_LAYOUT_OSTS_PIECE != 0)) {
		mds_check_report(c, "OST list is not in order fid=%#llx:%#x", WHO(l->inode->fid));
		return;
	}
	l->pieces++;
	for (uint32_t k = 0; k < rec->val.len / 4 && r == 0; k++) {
		r = ost_add(c, l, le32_load(at + (size_t)k * 4));
	}
}

void mds_check_take_layout(struct mds_check *c, const struct state_rec *rec, struct check_inode *i)
{
	uint16_t piece;

	if (rec->key_len != 20) {
		mds_check_report(c, "key of a layout is damaged fid=%#llx:%#x", WHO(i->fid));
		return;
	}
	piece = be16_load((const uint8_t *)rec->key + 18);
	if (piece == 0) {
		take_layout_first(c, rec, i);
	} else if (i->layout != NULL) {
		take_layout_piece(c, rec, i->layout, piece);
	} else {
		mds_check_report(c, "OST list without layout fid=%#llx:%#x", WHO(i->fid));
	}
}

static void rule_data_fid(struct mds_check *c, const struct check_layout *l)
{
	const struct check_inode *other = mds_check_inode(c, l->data_fid);

	if (fid_is_zero(l->data_fid)) {
		mds_check_report(c, "layout has no data FID fid=%#llx:%#x", WHO(l->inode->fid));
		return;
	}
	if (other != NULL && other->present) {
		mds_check_report(c, "data FID is an inode's fid=%#llx:%#x data=%#llx:%#x",
			WHO(l->inode->fid), WHO(l->data_fid));
	}
	if (!mds_check_reserved(c, l->data_fid)) {
		mds_check_report(c, "data FID was never reserved fid=%#llx:%#x data=%#llx:%#x",
			WHO(l->inode->fid), WHO(l->data_fid));
	}
}

/* Of a file or a directory: all of the list is there, where it has to be. */
static void rule_osts(struct mds_check *c, const struct check_layout *l)
{
	if (l->ost_count > 0 && l->ost_count != l->stripe_count) {
		mds_check_report(c, "layout has %u stripes and %u OSTs fid=%#llx:%#x",
			l->stripe_count, l->ost_count, WHO(l->inode->fid));
	}
	if (l->pieces > 0 && l->ost_count <= MDS_LAYOUT_OSTS_INLINE) {
		mds_check_report(
			c, "short OST list is in pieces fid=%#llx:%#x", WHO(l->inode->fid));
	}
}

static void rule_file_layout(struct mds_check *c, const struct check_layout *l)
{
	bool instantiated = (l->flags & W_LAYOUT_FLAGS_INSTANTIATED) != 0;
	bool is_inline = (l->flags & W_LAYOUT_FLAGS_INLINE) != 0;
	uint32_t state = l->inode->d.state;

	rule_data_fid(c, l);
	if (is_inline == instantiated) {
		mds_check_report(c, "layout is not one of inline and instantiated fid=%#llx:%#x",
			WHO(l->inode->fid));
	}
	if (instantiated != ((state & W_ATTR_STATE_INSTANTIATED) != 0) ||
		is_inline != ((state & W_ATTR_STATE_INLINE) != 0)) {
		mds_check_report(c, "inode and layout differ in where the data is fid=%#llx:%#x",
			WHO(l->inode->fid));
	}
	if ((l->flags & W_LAYOUT_FLAGS_DIRECTORY) != 0) {
		mds_check_report(
			c, "file has a directory's layout fid=%#llx:%#x", WHO(l->inode->fid));
	}
	if (instantiated && l->ost_count == 0) {
		mds_check_report(
			c, "instantiated layout without OSTs fid=%#llx:%#x", WHO(l->inode->fid));
	}
	if (l->present_end > (instantiated ? l->stripe_count : 0u)) {
		mds_check_report(c, "layout says that stripe %u has an object fid=%#llx:%#x",
			l->present_end - 1, WHO(l->inode->fid));
	}
}

static void rule_layout(struct mds_check *c, const struct check_inode *i)
{
	const struct check_layout *l = i->layout;

	if (l == NULL) {
		if (S_ISREG(i->d.mode)) {
			mds_check_report(c, "file without layout fid=%#llx:%#x", WHO(i->fid));
		}
		return;
	}
	if (l->gen != i->d.layout_gen) {
		mds_check_report(
			c, "inode and layout differ in generation fid=%#llx:%#x", WHO(i->fid));
	}
	rule_osts(c, l);
	if (S_ISREG(i->d.mode)) {
		rule_file_layout(c, l);
	} else if (!S_ISDIR(i->d.mode)) {
		mds_check_report(c, "layout of what has no data fid=%#llx:%#x", WHO(i->fid));
	} else if ((l->flags & W_LAYOUT_FLAGS_DIRECTORY) == 0) {
		mds_check_report(c, "directory has a file's layout fid=%#llx:%#x", WHO(i->fid));
	}
}

static void rule_inline(struct mds_check *c, const struct check_inode *i)
{
	uint32_t place = i->d.state & (W_ATTR_STATE_INLINE | W_ATTR_STATE_INSTANTIATED);
	uint64_t want = place == W_ATTR_STATE_INLINE ? i->d.size : 0;

	if (S_ISREG(i->d.mode) ? place != W_ATTR_STATE_INLINE && place != W_ATTR_STATE_INSTANTIATED
			       : place != 0) {
		mds_check_report(c, "inode is not one of inline and instantiated fid=%#llx:%#x",
			WHO(i->fid));
	}
	if (S_ISREG(i->d.mode) && i->data_bytes != want) {
		mds_check_report(c, "inline data is %llu bytes, should be %llu fid=%#llx:%#x",
			(unsigned long long)i->data_bytes, (unsigned long long)want, WHO(i->fid));
	}
}

/* ---- open sizes ---- */

void mds_check_take_size_open(
	struct mds_check *c, const struct state_rec *rec, struct check_inode *i)
{
	struct d_mds_size_open d;

	i->size_open = true;
	if (rec->key_len != 17 || d_mds_size_open_decode(&d, rec->val.data, rec->val.len) < 0) {
		mds_check_report(c, "record of an open size is damaged fid=%#llx:%#x", WHO(i->fid));
	}
}

static void rule_size_open(struct mds_check *c, const struct check_inode *i)
{
	bool open = (i->d.state & W_ATTR_STATE_SIZE_OPEN) != 0;

	if (open != i->size_open) {
		mds_check_report(c, "%s fid=%#llx:%#x",
			open ? "open size without record" : "record of a size that is not open",
			WHO(i->fid));
	}
	if (open && (i->d.state & W_ATTR_STATE_INSTANTIATED) == 0) {
		mds_check_report(c, "open size without objects fid=%#llx:%#x", WHO(i->fid));
	}
}

/* ---- intents ---- */

static uint64_t object_hash(const struct d_mds_intent *d)
{
	return hash_mix2(fid_hash(d->data_fid), d->stripe);
}

/* Something happens to an object whose destruction is logged already. */
static bool is_destroyed(const struct mds_check *c, const struct d_mds_intent *d)
{
	for (struct hmap_node *it = hmap_find(&c->intents, object_hash(d)); it != NULL;
		it = hmap_find_next(it)) {
		const struct check_intent *i = container_of(it, struct check_intent, node);

		if (i->d.kind == W_OST_CHANGE_KIND_DESTROY && i->d.stripe == d->stripe &&
			fid_eq(i->d.data_fid, d->data_fid)) {
			return true;
		}
	}
	return false;
}

void mds_check_take_intent(struct mds_check *c, const struct state_rec *rec)
{
	struct check_intent *i;
	struct d_mds_intent d;

	if (rec->key_len != 9 || d_mds_intent_decode(&d, rec->val.data, rec->val.len) < 0) {
		mds_check_report(c, "intent is damaged");
		return;
	}
	i = mem_zalloc(sizeof(*i));
	if (i == NULL) {
		c->error = -NE_NOMEM;
		return;
	}
	i->number = be64_load((const uint8_t *)rec->key + 1);
	i->d = d;
	if (is_destroyed(c, &d)) {
		mds_check_report(c, "intent for an object that goes number=%llu",
			(unsigned long long)i->number);
	}
	hmap_insert(&c->intents, &i->node, object_hash(&d));
}

/* The object is in a layout. */
static void rule_intent_layout(
	struct mds_check *c, const struct check_intent *i, const struct check_layout *l)
{
	unsigned long long number = i->number;

	if (!fid_eq(l->inode->fid, i->d.file_fid)) {
		mds_check_report(
			c, "intent names another file than the layout number=%llu", number);
	}
	if (i->d.kind == W_OST_CHANGE_KIND_DESTROY) {
		mds_check_report(c, "intent destroys an object of a layout number=%llu", number);
	} else if ((l->flags & W_LAYOUT_FLAGS_INSTANTIATED) == 0) {
		mds_check_report(c, "intent sizes an object that cannot exist number=%llu", number);
	} else if (i->d.stripe >= l->ost_count || i->d.stripe >= l->ost_room ||
		l->osts[i->d.stripe] != i->d.ost) {
		mds_check_report(c, "intent and layout differ in the OST number=%llu", number);
	}
}

static void rule_intent(struct mds_check *c, const struct check_intent *i)
{
	const struct check_layout *l = layout_of(c, i->d.data_fid);
	const struct check_inode *inode = mds_check_inode(c, i->d.data_fid);
	unsigned long long number = i->number;

	if (i->number >= c->globals.intent_next) {
		mds_check_report(c, "intent has a number that was not given number=%llu", number);
	}
	if (i->d.kind != W_OST_CHANGE_KIND_DESTROY && i->d.kind != W_OST_CHANGE_KIND_SET_SIZE) {
		mds_check_report(c, "intent is of a kind that is not logged number=%llu", number);
	}
	if (i->d.kind == W_OST_CHANGE_KIND_SET_SIZE && i->d.size > LIM_FILE_SIZE_MAX) {
		mds_check_report(c, "intent has an impossible size number=%llu", number);
	}
	if (i->d.ost >= LIM_OST_MAX || i->d.stripe >= LIM_STRIPE_COUNT_MAX) {
		mds_check_report(c, "intent names an impossible object number=%llu", number);
	}
	if (fid_is_zero(i->d.data_fid) || !mds_check_reserved(c, i->d.data_fid) ||
		(inode != NULL && inode->present)) {
		mds_check_report(c, "intent names no data FID number=%llu", number);
	} else if (l != NULL) {
		rule_intent_layout(c, i, l);
	}
}

/* ---- all of it ---- */

void mds_check_data_inode(struct mds_check *c, const struct check_inode *i)
{
	ASSERT(i->present);
	rule_inline(c, i);
	rule_layout(c, i);
	rule_size_open(c, i);
}

void mds_check_data_rules(struct mds_check *c)
{
	HMAP_FOREACH (it, &c->intents) {
		rule_intent(c, container_of(it, struct check_intent, node));
	}
}

void mds_check_layout_free(struct check_layout *l)
{
	if (l != NULL) {
		mem_free(l->osts);
		mem_free(l);
	}
}

void mds_check_data_free(struct mds_check *c)
{
	size_t cursor = 0;
	struct hmap_node *it;

	while (hmap_pop(&c->layouts, &cursor) != NULL) {
		/* They are the inodes'. */
	}
	cursor = 0;
	while ((it = hmap_pop(&c->intents, &cursor)) != NULL) {
		mem_free(container_of(it, struct check_intent, node));
	}
	hmap_fini(&c->layouts);
	hmap_fini(&c->intents);
}
