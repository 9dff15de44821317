/*
 * See data_box.h: is everything consistent? The layouts in the MDT's state against the object files on the disks.
 */
#include "data_check.h"

#include "mds/mds_data.h"

/* ---- looking at servers, from their own fibers ---- */

static void object_add(struct dobjects *o, const struct dobject *item)
{
	CHECK(o->count < DOBJECTS_MAX);
	o->item[o->count++] = *item;
}

static int disk_one(void *ctx, const char *name)
{
	struct dserver *s = ctx;
	struct dobject item = {.ost = s->index};

	CHECK_EQ(sscanf(name, "%" SCNx64 "-%x-%x.%u", &item.data_fid.seq, &item.data_fid.oid,
			 &item.data_fid.ver, &item.stripe),
		4);
	object_add(&s->objects, &item);
	return 0;
}

void dbox_ost_look(struct dserver *s)
{
	struct env *env = sim_node_env(s->node);
	char dir[32];

	s->objects.count = 0;
	for (unsigned i = 0; i < 256; i++) {
		snprintf(dir, sizeof(dir), "/ost/objects/%02x", i);
		CHECK_EQ(env_readdir(env, dir, disk_one, s), 0);
	}
	s->look = false;
}

struct layouts {
	struct dserver *s;
	uint8_t from[64];
	uint32_t from_len;
	unsigned seen;
	struct fid found[16];
	unsigned count;
	struct fid one;
};

static int inode_one(void *ctx, const struct state_rec *rec)
{
	struct layouts *l = ctx;
	const uint8_t *key = rec->key;

	CHECK(rec->key_len < sizeof(l->from));
	memcpy(l->from, key, rec->key_len);
	l->from_len = rec->key_len;
	l->seen++;
	if (key[17] == MDS_PART_INODE) {
		l->found[l->count++] = mds_fid_load(key + 1);
	}
	return 0;
}

static int inodes_batch(struct mds_op *op, void *ctx)
{
	struct layouts *l = ctx;
	struct mds_key from = {.len = l->from_len + 1};
	struct mds_key to = mds_key_kind(MDS_KEY_INODE + 1);
	uint32_t len = l->from_len;
	uint8_t saved[64];
	int r;

	memcpy(from.b, l->from, len);
	memcpy(saved, l->from, len);
	l->seen = 0;
	l->count = 0;
	r = mds_kv_range(op, &from, &to, 16, inode_one, l);
	if (r < 0) {
		memcpy(l->from, saved, len);
		l->from_len = len;
	}
	return r;
}

static int layout_one(struct mds_op *op, void *ctx)
{
	struct layouts *l = ctx;
	struct mds_inode *inode = NULL;
	int r = mds_inode_get(op, l->one, &inode);

	l->count = 0;
	if (r == 0 && (inode->d.state & W_ATTR_STATE_SIZE_OPEN) != 0) {
		l->s->settled = false;
	}
	if (r < 0 || !S_ISREG(inode->d.mode) || !mds_instantiated(inode)) {
		return r;
	}
	r = mds_layout_load(op, inode);
	l->count = r == 0;
	return r;
}

static void layout_add(struct mds_op *op, int status)
{
	struct layouts *l = mds_data_run_ctx(op);
	const uint8_t *present = op->layout.stripes_present.ptr;

	for (uint32_t i = 0; status == 0 && l->count == 1 && i < op->layout.osts.count; i++) {
		bool must = i / 8 < op->layout.stripes_present.len &&
			(present[i / 8] >> i % 8 & 1) != 0;
		struct dobject item = {.data_fid = op->layout.data_fid,
			.stripe = i,
			.ost = op->layout_osts[i],
			.must = must};

		object_add(&l->s->objects, &item);
	}
}

static bool mdt_quiet(const struct mds_data *data)
{
	return !data->window && data->intents.loaded.count == 0 &&
		data->intents.fresh_from == UINT64_MAX && data->intents.held_count == 0 &&
		!data->intents.scanning && data->intents.later_from == UINT64_MAX &&
		list_empty(&data->sizes) && data->sizers == 0;
}

static void check_line(void *ctx, const char *line)
{
	struct dserver *s = ctx;

	fprintf(stderr, "mds_check: %s\n", line);
	s->violations++;
}

void dbox_mdt_look(struct dserver *s)
{
	struct mds *mds = s->mds;
	struct env *env = sim_node_env(s->node);
	struct layouts layouts = {.s = s};
	struct layouts *l = &layouts;

	s->objects.count = 0;
	s->settled = mdt_quiet(mds->data);
	l->from[0] = MDS_KEY_INODE;
	l->from_len = 1;
	do {
		struct fid found[16];
		unsigned count;

		CHECK_EQ(mds_data_run(mds, STATE_READ, inodes_batch, NULL, l, NULL), 0);
		count = l->count;
		memcpy(found, l->found, sizeof(found));
		for (unsigned i = 0; i < count; i++) {
			l->one = found[i];
			CHECK_EQ(mds_data_run(mds, STATE_READ, layout_one, layout_add, l, NULL), 0);
		}
	} while (l->seen == 16);
	s->violations = 0;
	if (s->settled) {
		CHECK(mds_check(env, mds_state(mds), 0, check_line, s) >= 0);
	}
	s->look = false;
}

/* ---- everything together, from a client ---- */

static void look(struct dcli_box *c, struct dserver *s)
{
	s->look = true;
	while (s->look) {
		env_sleep(c->env, 10 * NS_PER_MS);
	}
}

static bool object_in(const struct dobjects *o, const struct dobject *item)
{
	for (unsigned i = 0; i < o->count; i++) {
		if (o->item[i].stripe == item->stripe && o->item[i].ost == item->ost &&
			fid_eq(o->item[i].data_fid, item->data_fid)) {
			return true;
		}
	}
	return false;
}

unsigned dbox_objects(struct dbox *b)
{
	unsigned n = 0;

	for (unsigned i = 0; i < b->ost_count; i++) {
		n += b->ost[i].objects.count;
	}
	return n;
}

void dbox_settle(struct dcli_box *c)
{
	struct dbox *b = c->box;
	struct dobjects *want = &b->mdt.objects;

	for (unsigned n = 0;; n++) {
		look(c, &b->mdt);
		if (b->mdt.settled) {
			break;
		}
		if (n >= 1200) {
			const struct mds_data *d = b->mdt.mds->data;

			fprintf(stderr,
				"never quiet: window %d loaded %zu fresh %" PRIx64
				" held %u later %" PRIx64 " sizes %d sizers %u files %zu\n",
				d->window, d->intents.loaded.count, d->intents.fresh_from,
				d->intents.held_count, d->intents.later_from,
				!list_empty(&d->sizes), d->sizers, d->files.count);
			abort();
		}
		env_sleep(c->env, 100 * NS_PER_MS);
	}
	CHECK_EQ(b->mdt.violations, 0);
	for (unsigned i = 0; i < b->ost_count; i++) {
		struct dserver *s = &b->ost[i];

		look(c, s);
		for (unsigned k = 0; k < s->objects.count; k++) {
			if (!object_in(want, &s->objects.item[k])) {
				fprintf(stderr,
					"object without owner: ost %u fid %#" PRIx64
					":%#x stripe %u\n",
					i, s->objects.item[k].data_fid.seq,
					s->objects.item[k].data_fid.oid, s->objects.item[k].stripe);
				for (unsigned n = 0; n < want->count; n++) {
					fprintf(stderr, "layout: ost %u oid %#x stripe %u\n",
						want->item[n].ost, want->item[n].data_fid.oid,
						want->item[n].stripe);
				}
				abort();
			}
		}
	}
	for (unsigned k = 0; k < want->count; k++) {
		CHECK(!want->item[k].must ||
			object_in(&b->ost[want->item[k].ost].objects, &want->item[k]));
	}
}
