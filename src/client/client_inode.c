/*
 * Inodes this client uses: what several open files of one inode share.
 *
 * Stripes' records of unsynced writes belong to the data FID they were made for. A layout with another data
 * FID drops them (its objects hold the data then, and whoever moved it has synced it).
 */
#include "client/client_int.h"

struct client_inode *client_inode_find(struct client *c, struct fid fid)
{
	uint64_t hash = fid_hash(fid);

	for (struct hmap_node *it = hmap_find(&c->inodes, hash); it != NULL;
		it = hmap_find_next(it)) {
		struct client_inode *inode = container_of(it, struct client_inode, node);

		if (fid_eq(inode->fid, fid)) {
			return inode;
		}
	}
	return NULL;
}

int client_inode_get(struct client *c, struct fid fid, struct client_inode **ret_inode)
{
	struct client_inode *inode = client_inode_find(c, fid);

	if (inode == NULL) {
		inode = mem_zalloc(sizeof(*inode));
		if (inode == NULL) {
			return -NE_NOMEM;
		}
		inode->fid = fid;
		list_init(&inode->files);
		env_waitq_init(&inode->append.q);
		hmap_insert(&c->inodes, &inode->node, fid_hash(fid));
	}
	if (list_linked(&inode->linger)) {
		ASSERT(inode->refs == 0 && c->linger_count > 0);
		list_del(&inode->linger);
		c->linger_count--;
	}
	inode->refs++;
	*ret_inode = inode;
	return 0;
}

static void inode_free(struct client *c, struct client_inode *inode)
{
	ASSERT(inode->refs == 0 && list_empty(&inode->files));
	if (list_linked(&inode->linger)) {
		list_del(&inode->linger);
		c->linger_count--;
	}
	hmap_remove(&c->inodes, &inode->node);
	client_layout_unref(inode->layout);
	mem_free(inode->stripes);
	mem_free(inode);
}

void client_inode_put(struct client *c, struct client_inode *inode)
{
	if (inode == NULL) {
		return;
	}
	ASSERT(inode->refs > 0);
	if (--inode->refs > 0) {
		return;
	}
	if (inode->dirty == 0) {
		inode_free(c, inode);
		return;
	}
	list_push_back(&c->linger, &inode->linger);
	c->linger_count++;
	if (c->linger_count > CLIENT_LINGER_MAX) {
		inode_free(c, list_entry(c->linger.next, struct client_inode, linger));
	}
}

void client_inodes_free(struct client *c)
{
	while (!list_empty(&c->linger)) {
		inode_free(c, list_entry(c->linger.next, struct client_inode, linger));
	}
	ASSERT(hmap_first(&c->inodes) == NULL);
	hmap_fini(&c->inodes);
}

void client_inode_attr(struct client_inode *inode, const struct w_attr *attr)
{
	ASSERT(inode->refs > 0);
	inode->mode = attr->mode;
	inode->append_only = (attr->state & W_ATTR_STATE_APPEND_ONLY) != 0;
	inode->immutable = (attr->state & W_ATTR_STATE_IMMUTABLE) != 0;
	inode->capability = (attr->state & W_ATTR_STATE_CAPABILITY) != 0;
	inode->uid = attr->uid;
	inode->gid = attr->gid;
	inode->projid = attr->projid;
}

/* Bits that this client's own writes have set stay. */
static void layout_replace(struct client_inode *inode, struct client_layout *layout)
{
	struct client_layout *old = inode->layout;

	if (old != NULL && fid_eq(old->data_fid, layout->data_fid)) {
		for (size_t i = 0; i < sizeof(old->present); i++) {
			layout->present[i] |= old->present[i];
		}
	}
	inode->layout = layout;
	client_layout_unref(old);
}

void client_inode_unsure(struct client_inode *inode)
{
	inode->layout_unsure = true;
	LIST_FOREACH (it, &inode->files) {
		list_entry(it, struct client_file, of_inode)->size_opened = false;
	}
}

/* What was known before the MDT lost its memory counts no more; writes to objects it does not know any more are lost. */
static void layout_forget(struct client_inode *inode, const struct w_layout *now)
{
	inode->layout_unsure = false;
	if (inode->layout == NULL || fid_eq(inode->layout->data_fid, now->data_fid)) {
		return;
	}
	inode->lost += inode->dirty > 0;
	client_layout_put(&inode->layout);
	inode->inline_data = false;
}

int client_inode_update(
	struct client *c, struct client_inode *inode, const struct w_inode_info *info)
{
	struct wire_iter it = w_layout_iter(&info->layouts.view);
	struct client_layout *layout;
	struct w_layout from;
	int err;

	ASSERT(c != NULL && inode->refs > 0);
	client_inode_attr(inode, &info->attr);
	if (!S_ISREG(info->attr.mode) || !w_layout_next(&it, &from)) {
		return 0;
	}
	if (inode->layout_unsure) {
		layout_forget(inode, &from);
	}
	if ((info->attr.state & W_ATTR_STATE_INLINE) != 0 && from.osts.count == 0) {
		/* Its OSTs will be chosen when data comes. */
		inode->inline_data = inode->inline_data || inode->layout == NULL;
		return 0;
	}
	/* An answer that was overtaken by a newer one says nothing. */
	if (inode->layout != NULL && from.gen < inode->layout->gen) {
		return 0;
	}
	if (inode->layout != NULL && !inode->inline_data && from.gen == inode->layout->gen &&
		(info->attr.state & W_ATTR_STATE_INLINE) != 0) {
		return 0;
	}
	err = client_layout_decode(&from, &layout);
	if (err != 0) {
		return err;
	}
	layout_replace(inode, layout);
	inode->inline_data = (info->attr.state & W_ATTR_STATE_INLINE) != 0;
	return 0;
}

int client_stripes_prepare(struct client_inode *inode, const struct client_layout *layout)
{
	struct client_stripe *stripes;

	if (inode->stripes != NULL && fid_eq(inode->stripes_of, layout->data_fid)) {
		ASSERT(inode->stripe_count == layout->geom.stripe_count);
		return 0;
	}
	stripes = mem_zalloc_array(layout->geom.stripe_count, sizeof(*stripes));
	if (stripes == NULL) {
		return -NE_NOMEM;
	}
	mem_free(inode->stripes);
	inode->stripes = stripes;
	inode->stripe_count = layout->geom.stripe_count;
	inode->stripes_of = layout->data_fid;
	inode->dirty = 0;
	return 0;
}

void client_stripe_wrote(struct client_inode *inode, const struct client_target *ost,
	uint32_t stripe, const struct w_ost_write_rep *rep)
{
	struct client_stripe *s;
	uint64_t boot = client_target_boot(ost, rep->verifier);

	ASSERT(stripe < inode->stripe_count);
	s = &inode->stripes[stripe];
	inode->writes++;
	if (rep->stable && !s->dirty) {
		return;
	}
	if (s->dirty && s->verifier != rep->verifier && (boot == 0 || boot != s->boot)) {
		/* The host lost its memory between two writes: the earlier one is gone. */
		inode->lost++;
		s->verifier = rep->verifier;
		s->boot = boot;
	}
	if (!s->dirty) {
		s->verifier = rep->verifier;
		s->boot = boot;
		s->dirty = true;
		inode->dirty++;
	}
	s->number = u64_max(s->number, rep->attr.number);
}
