/*
 * What must hold of a whole name space, judged on the tables mds_check.c read.
 */
#include "mds/mds_check_int.h"

#define WHO(fid) (unsigned long long)(fid).seq, (fid).oid

static void rule_tie(struct mds_check *c, const struct check_tie *t)
{
	struct check_inode *child;
	struct check_inode *parent;

	if (t->entry != t->link) {
		mds_check_report(c, "%s parent=%#llx:%#x cookie=%#llx",
			t->entry ? "entry without link key" : "link key without entry",
			WHO(t->parent), (unsigned long long)t->cookie);
		return;
	}
	if (!fid_eq(t->entry_fid, t->link_fid) || t->entry_name != t->link_name) {
		mds_check_report(c, "entry and link key differ parent=%#llx:%#x", WHO(t->parent));
	}
	child = mds_check_inode(c, t->entry_fid);
	parent = mds_check_inode(c, t->parent);
	if (child == NULL || !child->present) {
		mds_check_report(c, "entry names no inode fid=%#llx:%#x", WHO(t->entry_fid));
		return;
	}
	if (parent == NULL || !parent->present || !S_ISDIR(parent->d.mode)) {
		mds_check_report(c, "entry in no directory parent=%#llx:%#x", WHO(t->parent));
		return;
	}
	if ((child->d.mode & S_IFMT) != t->entry_mode) {
		mds_check_report(
			c, "entry and inode differ in type fid=%#llx:%#x", WHO(child->fid));
	}
	child->names++;
	parent->entries++;
	parent->subdirs += S_ISDIR(child->d.mode) ? 1 : 0;
	if (fid_eq(child->d.parent, t->parent)) {
		child->parent_named = true;
	}
}

static void rule_dir(struct mds_check *c, const struct check_inode *i)
{
	bool root = fid_eq(i->fid, fid_root());
	bool orphan = (i->d.state & W_ATTR_STATE_ORPHAN) != 0;

	if (i->d.entries != i->entries) {
		mds_check_report(c, "entry count is %llu, should be %llu fid=%#llx:%#x",
			(unsigned long long)i->d.entries, (unsigned long long)i->entries,
			WHO(i->fid));
	}
	if (i->orphan != orphan) {
		mds_check_report(c, "orphan record and state of a directory differ fid=%#llx:%#x",
			WHO(i->fid));
	}
	if (orphan) {
		if (i->d.nlink != 0 || i->names != 0 || i->entries != 0) {
			mds_check_report(
				c, "directory without a name has links fid=%#llx:%#x", WHO(i->fid));
		}
		return;
	}
	if (i->d.nlink != 2 + i->subdirs) {
		mds_check_report(c, "directory's link count is %u, should be %llu fid=%#llx:%#x",
			i->d.nlink, (unsigned long long)i->subdirs + 2, WHO(i->fid));
	}
	if (i->names != (root ? 0 : 1)) {
		mds_check_report(c, "directory has %llu names fid=%#llx:%#x",
			(unsigned long long)i->names, WHO(i->fid));
	}
	if (root ? !fid_eq(i->d.parent, i->fid) : !i->parent_named) {
		mds_check_report(c, "directory's parent is wrong fid=%#llx:%#x", WHO(i->fid));
	}
}

static void rule_file(struct mds_check *c, const struct check_inode *i)
{
	bool orphan = (i->d.state & W_ATTR_STATE_ORPHAN) != 0;

	if (i->d.nlink != i->names) {
		mds_check_report(c, "link count is %u, should be %llu fid=%#llx:%#x", i->d.nlink,
			(unsigned long long)i->names, WHO(i->fid));
	}
	if (i->names > 0 && !i->parent_named) {
		mds_check_report(c, "file's parent holds no name of it fid=%#llx:%#x", WHO(i->fid));
	}
	if (i->orphan != (i->d.nlink == 0) || i->orphan != orphan) {
		mds_check_report(
			c, "orphan record, state and link count differ fid=%#llx:%#x", WHO(i->fid));
	}
	if (i->d.entries != 0) {
		mds_check_report(c, "file has entries fid=%#llx:%#x", WHO(i->fid));
	}
	if (S_ISLNK(i->d.mode) && i->d.size != i->target_len + i->symlink_bytes) {
		mds_check_report(c, "target of a link is incomplete fid=%#llx:%#x", WHO(i->fid));
	}
}

bool mds_check_reserved(const struct mds_check *c, struct fid fid)
{
	return fid.seq < c->range.seq || (fid.seq == c->range.seq && fid.oid < c->range.oid_end);
}

static void rule_inode(struct mds_check *c, const struct check_inode *i)
{
	bool has_xattr = (i->d.state & W_ATTR_STATE_HAS_XATTR) != 0;

	if (!i->present) {
		mds_check_report(c, "records without inode fid=%#llx:%#x", WHO(i->fid));
		return;
	}
	if (i->d.xattr_count != i->xattrs || has_xattr != (i->xattrs > 0)) {
		mds_check_report(c, "xattr count is %u, should be %u fid=%#llx:%#x",
			i->d.xattr_count, i->xattrs, WHO(i->fid));
	}
	if (i->xattr_bytes != 0) {
		mds_check_report(c, "xattr is incomplete fid=%#llx:%#x", WHO(i->fid));
	}
	if (i->layouts > 0 && i->d.layout_gen == 0) {
		mds_check_report(c, "layout without generation fid=%#llx:%#x", WHO(i->fid));
	}
	if (i->data_bytes > 0 && !S_ISREG(i->d.mode)) {
		mds_check_report(c, "data of what is no file fid=%#llx:%#x", WHO(i->fid));
	}
	if (!fid_eq(i->fid, fid_root()) && !mds_check_reserved(c, i->fid)) {
		mds_check_report(c, "FID was never reserved fid=%#llx:%#x", WHO(i->fid));
	}
	mds_check_data_inode(c, i);
	if (S_ISDIR(i->d.mode)) {
		rule_dir(c, i);
	} else {
		rule_file(c, i);
	}
}

/* Walks up until something known to be below the root; a walk longer than there are inodes is a cycle. */
static void rule_reached(struct mds_check *c, struct check_inode *start)
{
	struct check_inode *i = start;

	for (size_t n = 0; i != NULL && i->present && n <= c->inodes.count; n++) {
		if (i->reached || fid_eq(i->fid, fid_root())) {
			start->reached = true;
			return;
		}
		i = mds_check_inode(c, i->d.parent);
	}
	mds_check_report(c, "directory is not below the root fid=%#llx:%#x", WHO(start->fid));
}

static void rule_globals(struct mds_check *c)
{
	uint64_t inodes = 0;

	if (!c->globals_seen) {
		mds_check_report(c, "there are no globals");
		return;
	}
	HMAP_FOREACH (it, &c->inodes) {
		inodes += container_of(it, struct check_inode, node)->present ? 1 : 0;
	}
	if (inodes != c->globals.inodes) {
		mds_check_report(c, "inode count is %llu, should be %llu",
			(unsigned long long)c->globals.inodes, (unsigned long long)inodes);
	}
	if (c->session_last >= c->globals.session_next) {
		mds_check_report(c, "a session has a number that was not given");
	}
	if (c->chain_on) {
		mds_check_report(c, "the last chain leads nowhere");
	}
}

void mds_check_rules(struct mds_check *c)
{
	rule_globals(c);
	HMAP_FOREACH (it, &c->ties) {
		rule_tie(c, container_of(it, struct check_tie, node));
	}
	HMAP_FOREACH (it, &c->inodes) {
		rule_inode(c, container_of(it, struct check_inode, node));
	}
	HMAP_FOREACH (it, &c->inodes) {
		struct check_inode *i = container_of(it, struct check_inode, node);

		if (i->present && S_ISDIR(i->d.mode) && i->d.nlink != 0) {
			rule_reached(c, i);
		}
	}
	mds_check_data_rules(c);
}
