/* Nodes, permissions, names: see model.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model_int.h"

#define LINK_MAX_FS 2000000000u

void *model_alloc(void *old, size_t size)
{
	void *p = realloc(old, size == 0 ? 1 : size);

	if (p == NULL) {
		abort();
	}
	return p;
}

static void *copy_of(const void *from, size_t len)
{
	void *p;

	if (from == NULL) {
		return NULL;
	}
	p = model_alloc(NULL, len);
	memcpy(p, from, len);
	return p;
}

static char *text_of(const char *from)
{
	return copy_of(from, from == NULL ? 0 : strlen(from) + 1);
}

struct model_node *model_node(const struct model *m, uint32_t id)
{
	if (id == 0 || id > m->count || !m->nodes[id - 1].live) {
		return NULL;
	}
	return &m->nodes[id - 1];
}

static uint32_t node_add(struct model *m, const struct model_attr *attr)
{
	m->nodes = model_alloc(m->nodes, (m->count + 1) * sizeof(*m->nodes));
	memset(&m->nodes[m->count], 0, sizeof(*m->nodes));
	m->nodes[m->count].live = true;
	m->nodes[m->count].attr = *attr;
	return ++m->count;
}

void model_node_clear(struct model_node *n)
{
	for (unsigned i = 0; i < n->entry_count; i++) {
		free(n->entries[i].name);
	}
	for (unsigned i = 0; i < n->xattr_count; i++) {
		free(n->xattrs[i].name);
		free(n->xattrs[i].value);
	}
	free(n->entries);
	free(n->xattrs);
	free(n->target);
	free(n->data);
	memset(n, 0, sizeof(*n));
}

struct model *model_new(const struct model_attr *root)
{
	struct model *m = model_alloc(NULL, sizeof(*m));

	memset(m, 0, sizeof(*m));
	node_add(m, root);
	m->nodes[0].attr.nlink = 2;
	m->nodes[0].parent = MODEL_ROOT;
	return m;
}

struct model *model_clone(const struct model *m)
{
	struct model *c = copy_of(m, sizeof(*m));

	c->nodes = copy_of(m->nodes, m->count * sizeof(*m->nodes));
	for (uint32_t i = 0; i < m->count; i++) {
		const struct model_node *from = &m->nodes[i];
		struct model_node *to = &c->nodes[i];

		to->target = text_of(from->target);
		to->data = copy_of(from->data, from->data_len);
		to->entries = copy_of(from->entries, from->entry_count * sizeof(*from->entries));
		for (unsigned k = 0; k < from->entry_count; k++) {
			to->entries[k].name = text_of(from->entries[k].name);
		}
		to->xattrs = copy_of(from->xattrs, from->xattr_count * sizeof(*from->xattrs));
		for (unsigned k = 0; k < from->xattr_count; k++) {
			to->xattrs[k].name = text_of(from->xattrs[k].name);
			to->xattrs[k].value = copy_of(from->xattrs[k].value, from->xattrs[k].len);
		}
	}
	return c;
}

void model_free(struct model *m)
{
	if (m == NULL) {
		return;
	}
	for (uint32_t i = 0; i < m->count; i++) {
		model_node_clear(&m->nodes[i]);
	}
	free(m->nodes);
	free(m);
}

uint32_t model_count(const struct model *m)
{
	return m->count;
}

int model_getattr(const struct model *m, uint32_t id, struct model_attr *ret_attr)
{
	const struct model_node *n = model_node(m, id);

	if (n == NULL) {
		return -ESTALE;
	}
	*ret_attr = n->attr;
	return 0;
}

void model_attr_force(struct model *m, uint32_t id, const struct model_attr *attr)
{
	model_node(m, id)->attr = *attr;
}

/* ---- permissions ---- */

bool model_capable(const struct model_cred *cred, enum model_cap cap)
{
	return (cred->caps >> cap & 1) != 0;
}

bool model_in_group(const struct model_cred *cred, uint32_t gid)
{
	for (unsigned i = 0; i < cred->group_count; i++) {
		if (cred->groups[i] == gid) {
			return true;
		}
	}
	return cred->gid == gid;
}

int model_permission(const struct model_node *n, const struct model_cred *cred, unsigned mask)
{
	uint32_t mode = n->attr.mode;
	uint32_t bits = mode & 7;

	if (cred->uid == n->attr.uid) {
		bits = mode >> 6 & 7;
	} else if (model_in_group(cred, n->attr.gid)) {
		bits = mode >> 3 & 7;
	}
	if ((bits & mask) == mask) {
		return 0;
	}
	if (model_capable(cred, MODEL_CAP_DAC_OVERRIDE)) {
		if (S_ISDIR(mode) || (mask & 1) == 0 || (mode & 0111) != 0) {
			return 0;
		}
	}
	if (model_capable(cred, MODEL_CAP_DAC_READ_SEARCH)) {
		if (mask == 4 || (S_ISDIR(mode) && (mask & 2) == 0)) {
			return 0;
		}
	}
	return -EACCES;
}

static int may_delete(const struct model_node *dir, const struct model_node *victim,
	const struct model_cred *cred)
{
	int r = model_permission(dir, cred, 3);

	if (r == 0 && (dir->attr.mode & S_ISVTX) != 0 && cred->uid != victim->attr.uid &&
		cred->uid != dir->attr.uid && !model_capable(cred, MODEL_CAP_FOWNER)) {
		r = -EPERM;
	}
	return r;
}

int model_access(const struct model *m, const struct model_cred *cred, uint32_t id, unsigned mask)
{
	const struct model_node *n = model_node(m, id);

	return n == NULL ? -ESTALE : model_permission(n, cred, mask);
}

/* ---- names ---- */

static struct model_entry *entry_find(const struct model_node *dir, const char *name)
{
	for (unsigned i = 0; i < dir->entry_count; i++) {
		if (dir->entries[i].name != NULL && strcmp(dir->entries[i].name, name) == 0) {
			return &dir->entries[i];
		}
	}
	return NULL;
}

static void dir_touch(struct model_node *dir, int64_t now)
{
	dir->attr.mtime = now;
	dir->attr.ctime = now;
}

static void entry_add(struct model_node *dir, const char *name, uint32_t id)
{
	dir->entries = model_alloc(dir->entries, (dir->entry_count + 1) * sizeof(*dir->entries));
	dir->entries[dir->entry_count++] = (struct model_entry){.name = text_of(name), .id = id};
	dir->attr.entries++;
}

static void entry_remove(struct model_node *dir, struct model_entry *entry)
{
	free(entry->name);
	entry->name = NULL;
	dir->attr.entries--;
}

static int dir_of(const struct model *m, uint32_t id, const char *name, struct model_node **ret_dir)
{
	struct model_node *dir = model_node(m, id);

	if (dir == NULL) {
		return -ESTALE;
	}
	if (!S_ISDIR(dir->attr.mode)) {
		return -ENOTDIR;
	}
	if (strlen(name) > MODEL_NAME_MAX) {
		return -ENAMETOOLONG;
	}
	if (name[0] == 0 || strchr(name, '/') != NULL || strcmp(name, ".") == 0 ||
		strcmp(name, "..") == 0) {
		return -EINVAL;
	}
	*ret_dir = dir;
	return 0;
}

/* Finds the entry, as a path walk does: search permission first. NULL and 0: it is not there. */
static int entry_walk(const struct model *m, const struct model_cred *cred, uint32_t id,
	const char *name, struct model_node **ret_dir, struct model_entry **ret_entry)
{
	int r = dir_of(m, id, name, ret_dir);

	if (r == 0) {
		r = model_permission(*ret_dir, cred, 1);
	}
	if (r == 0) {
		*ret_entry = entry_find(*ret_dir, name);
	}
	return r;
}

int model_lookup(const struct model *m, const struct model_cred *cred, uint32_t dir,
	const char *name, uint32_t *ret_id)
{
	struct model_node *d = NULL;
	struct model_entry *e = NULL;
	int r = entry_walk(m, cred, dir, name, &d, &e);

	if (r < 0) {
		return r;
	}
	if (e == NULL) {
		return -ENOENT;
	}
	*ret_id = e->id;
	return 0;
}

bool model_dir_next(
	const struct model *m, uint32_t dir, unsigned *pos, const char **ret_name, uint32_t *ret_id)
{
	const struct model_node *d = model_node(m, dir);

	while (d != NULL && *pos < d->entry_count) {
		const struct model_entry *e = &d->entries[(*pos)++];

		if (e->name != NULL) {
			*ret_name = e->name;
			*ret_id = e->id;
			return true;
		}
	}
	return false;
}

/* ---- create ---- */

static struct model_attr attr_new(const struct model_node *dir, const struct model_cred *cred,
	int64_t now, const struct model_create *req)
{
	struct model_attr a = {.mode = req->mode, .nlink = 1, .uid = cred->uid, .gid = cred->gid};

	if ((dir->attr.mode & S_ISGID) != 0) {
		a.gid = dir->attr.gid;
		if (S_ISDIR(a.mode)) {
			a.mode |= S_ISGID;
		} else if ((a.mode & S_ISGID) != 0 && (a.mode & S_IXGRP) != 0 &&
			!model_in_group(cred, a.gid) && !model_capable(cred, MODEL_CAP_FSETID)) {
			a.mode &= ~(uint32_t)S_ISGID;
		}
	}
	if (S_ISDIR(a.mode)) {
		a.nlink = 2;
	}
	a.mode &= ~(req->umask & 0777);
	if (S_ISLNK(a.mode)) {
		a.mode = S_IFLNK | 0777;
		a.size = strlen(req->target);
	}
	if (S_ISCHR(a.mode) || S_ISBLK(a.mode)) {
		a.rdev = req->rdev;
	}
	a.atime = now;
	a.mtime = now;
	a.ctime = now;
	a.btime = now;
	return a;
}

int model_create(struct model *m, const struct model_cred *cred, int64_t now,
	const struct model_create *req, uint32_t *ret_id)
{
	struct model_node *dir = NULL;
	struct model_entry *e = NULL;
	struct model_attr attr;
	uint32_t id;
	int r = entry_walk(m, cred, req->dir, req->name, &dir, &e);

	if (r == 0 && e != NULL) {
		r = -EEXIST;
	}
	if (r == 0) {
		r = model_permission(dir, cred, 3);
	}
	if (r == 0 && (S_ISCHR(req->mode) || S_ISBLK(req->mode)) &&
		!model_capable(cred, MODEL_CAP_MKNOD)) {
		r = -EPERM;
	}
	if (r < 0) {
		return r;
	}
	attr = attr_new(dir, cred, now, req);
	id = node_add(m, &attr);
	dir = model_node(m, req->dir); /* the table may have moved */
	entry_add(dir, req->name, id);
	dir_touch(dir, now);
	dir->attr.nlink += S_ISDIR(attr.mode) ? 1 : 0;
	model_node(m, id)->parent = req->dir;
	model_node(m, id)->target = S_ISLNK(attr.mode) ? text_of(req->target) : NULL;
	*ret_id = id;
	return 0;
}

/* ---- unlink, link ---- */

static void node_unlinked(struct model_node *n, int64_t now)
{
	n->attr.ctime = now;
	n->attr.nlink = S_ISDIR(n->attr.mode) ? 0 : n->attr.nlink - 1;
	if (n->attr.nlink == 0 && n->opens == 0) {
		model_node_clear(n);
	}
}

int model_unlink(struct model *m, const struct model_cred *cred, int64_t now, uint32_t dir,
	const char *name, bool directory)
{
	struct model_node *d = NULL;
	struct model_entry *e = NULL;
	struct model_node *victim;
	int r = entry_walk(m, cred, dir, name, &d, &e);

	if (r < 0 || e == NULL) {
		return r < 0 ? r : -ENOENT;
	}
	victim = model_node(m, e->id);
	r = may_delete(d, victim, cred);
	if (r < 0) {
		return r;
	}
	if (directory && !S_ISDIR(victim->attr.mode)) {
		return -ENOTDIR;
	}
	if (!directory && S_ISDIR(victim->attr.mode)) {
		return -EISDIR;
	}
	if (directory && victim->attr.entries > 0) {
		return -ENOTEMPTY;
	}
	entry_remove(d, e);
	dir_touch(d, now);
	d->attr.nlink -= directory ? 1 : 0;
	node_unlinked(victim, now);
	return 0;
}

int model_link(struct model *m, const struct model_cred *cred, int64_t now, uint32_t id,
	uint32_t dir, const char *name)
{
	struct model_node *n = model_node(m, id);
	struct model_node *d = NULL;
	struct model_entry *e = NULL;
	int r;

	if (n == NULL) {
		return -ESTALE;
	}
	r = entry_walk(m, cred, dir, name, &d, &e);
	if (r < 0 || e != NULL) {
		return r < 0 ? r : -EEXIST;
	}
	r = model_permission(d, cred, 3);
	if (r < 0) {
		return r;
	}
	if (S_ISDIR(n->attr.mode)) {
		return -EPERM;
	}
	if (n->attr.nlink == 0) {
		return -ENOENT;
	}
	if (n->attr.nlink >= LINK_MAX_FS) {
		return -EMLINK;
	}
	entry_add(d, name, id);
	dir_touch(d, now);
	n->attr.nlink++;
	n->attr.ctime = now;
	return 0;
}

/* ---- rename ---- */

static bool is_below(const struct model *m, uint32_t dir, uint32_t above)
{
	while (dir != above && dir != MODEL_ROOT) {
		dir = model_node(m, dir)->parent;
	}
	return dir == above;
}

struct renaming {
	struct model_node *sdir;
	struct model_node *ddir;
	struct model_entry *se;
	struct model_entry *de;
	struct model_node *src;
	struct model_node *dst;
};

static int rename_find(const struct model *m, const struct model_cred *cred,
	const struct model_rename *req, struct renaming *rn)
{
	int r = entry_walk(m, cred, req->sdir, req->sname, &rn->sdir, &rn->se);

	if (r < 0 || rn->se == NULL) {
		struct model_node *d = NULL;

		/* A destination that is no directory is noticed before a source that is not there. */
		if (model_node(m, req->sdir) != NULL &&
			S_ISDIR(model_node(m, req->sdir)->attr.mode)) {
			int rd = dir_of(m, req->ddir, "x", &d);

			if (rd < 0) {
				return rd;
			}
		}
		return r < 0 ? r : -ENOENT;
	}
	r = entry_walk(m, cred, req->ddir, req->dname, &rn->ddir, &rn->de);
	if (r < 0) {
		return r;
	}
	if (rn->de != NULL && req->noreplace) {
		return -EEXIST;
	}
	if (rn->de == NULL && req->exchange) {
		return -ENOENT;
	}
	rn->src = model_node(m, rn->se->id);
	rn->dst = rn->de == NULL ? NULL : model_node(m, rn->de->id);
	if (req->sdir != req->ddir && S_ISDIR(rn->src->attr.mode) &&
		is_below(m, req->ddir, rn->se->id)) {
		return -EINVAL;
	}
	if (req->sdir != req->ddir && rn->dst != NULL && S_ISDIR(rn->dst->attr.mode) &&
		is_below(m, req->sdir, rn->de->id)) {
		return req->exchange ? -EINVAL : -ENOTEMPTY;
	}
	return 0;
}

static int rename_may(
	const struct model_cred *cred, const struct model_rename *req, const struct renaming *rn)
{
	bool sd = S_ISDIR(rn->src->attr.mode);
	bool dd = rn->dst != NULL && S_ISDIR(rn->dst->attr.mode);
	int r = may_delete(rn->sdir, rn->src, cred);

	if (r == 0) {
		r = rn->dst == NULL ? model_permission(rn->ddir, cred, 3)
				    : may_delete(rn->ddir, rn->dst, cred);
	}
	if (r == 0 && rn->dst != NULL && !req->exchange && sd != dd) {
		r = sd ? -ENOTDIR : -EISDIR;
	}
	if (r == 0 && sd && rn->sdir != rn->ddir) {
		r = model_permission(rn->src, cred, 2);
	}
	if (r == 0 && dd && req->exchange && rn->sdir != rn->ddir) {
		r = model_permission(rn->dst, cred, 2);
	}
	if (r == 0 && dd && !req->exchange && rn->dst->attr.entries > 0) {
		r = -ENOTEMPTY;
	}
	return r;
}

static void rename_exchange(const struct model_rename *req, struct renaming *rn, int64_t now)
{
	uint32_t id = rn->se->id;

	rn->se->id = rn->de->id;
	rn->de->id = id;
	rn->sdir->attr.nlink -= S_ISDIR(rn->src->attr.mode) ? 1 : 0;
	rn->ddir->attr.nlink += S_ISDIR(rn->src->attr.mode) ? 1 : 0;
	rn->ddir->attr.nlink -= S_ISDIR(rn->dst->attr.mode) ? 1 : 0;
	rn->sdir->attr.nlink += S_ISDIR(rn->dst->attr.mode) ? 1 : 0;
	rn->src->parent = req->ddir;
	rn->dst->parent = req->sdir;
	rn->dst->attr.ctime = now;
}

static void rename_move(const struct model_rename *req, struct renaming *rn, int64_t now)
{
	uint32_t id = rn->se->id;

	entry_remove(rn->sdir, rn->se);
	rn->sdir->attr.nlink -= S_ISDIR(rn->src->attr.mode) ? 1 : 0;
	rn->ddir->attr.nlink += S_ISDIR(rn->src->attr.mode) ? 1 : 0;
	rn->src->parent = req->ddir;
	if (rn->dst == NULL) {
		entry_add(rn->ddir, req->dname, id);
		return;
	}
	rn->de->id = id;
	rn->ddir->attr.nlink -= S_ISDIR(rn->dst->attr.mode) ? 1 : 0;
	node_unlinked(rn->dst, now);
}

int model_rename(
	struct model *m, const struct model_cred *cred, int64_t now, const struct model_rename *req)
{
	struct renaming rn = {0};
	int r = rename_find(m, cred, req, &rn);

	if (r < 0 || rn.src == rn.dst) {
		return r;
	}
	r = rename_may(cred, req, &rn);
	if (r < 0) {
		return r;
	}
	rn.src->attr.ctime = now;
	dir_touch(rn.sdir, now);
	dir_touch(rn.ddir, now);
	if (req->exchange) {
		rename_exchange(req, &rn, now);
	} else {
		rename_move(req, &rn, now);
	}
	return 0;
}

/* ---- opens ---- */

void model_open(struct model *m, uint32_t id)
{
	model_node(m, id)->opens++;
}

void model_close(struct model *m, uint32_t id)
{
	struct model_node *n = model_node(m, id);

	n->opens--;
	if (n->opens == 0 && n->attr.nlink == 0) {
		model_node_clear(n);
	}
}
