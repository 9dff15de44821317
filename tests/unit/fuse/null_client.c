/*
 * An in-memory client.h: a file system in the process's own memory, without servers.
 *
 * Linked instead of src/client to test and measure src/fuse alone: what it costs is the FUSE side's cost. It follows
 * client.h (modes, link counts, open files that outlive their names, sparse files, cookies), keeps everything until the
 * process ends, and knows some names: reads of files called hang* wait until they are interrupted, and so do
 * lookups of hanging*. The file system name "wrong" cannot be mounted.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "base/alloc.h"
#include "base/metric.h"
#include "base/hash.h"
#include "base/hmap.h"
#include "base/list.h"
#include "client/client.h"

#define CHUNK MIB
#define COOKIE_FIRST UINT64_C(0x1000)
#define XATTRS_MAX 16

struct chunk {
	struct hmap_node node;
	uint64_t index;
	uint8_t data[CHUNK];
};

struct xattr {
	char name[256];
	uint8_t *value;
	size_t len;
};

struct inode {
	struct hmap_node node; /* fs->inodes */
	struct client_attr attr;
	struct inode *parent; /* of a directory */
	struct list entries; /* struct entry.link, by cookie */
	struct hmap chunks;
	char *target;
	bool hangs;
	unsigned opens;
	struct xattr xattrs[XATTRS_MAX];
	unsigned xattr_count;
};

struct entry {
	struct hmap_node node; /* fs->names */
	struct list link;
	struct inode *dir;
	struct inode *inode;
	uint64_t cookie;
	size_t len;
	char name[LIM_NAME_MAX + 1];
};

struct client {
	struct env *env;
	struct hmap inodes;
	struct hmap names;
	struct inode *root;
	uint32_t oid;
	uint64_t cookie;
	uint64_t bytes;
	bool read_only;
	client_groups_fn *groups;
	void *groups_ctx;
	struct env_waitq never;
	struct client_counters counters;
};

struct client_file {
	struct inode *inode;
	int flags;
	uint64_t at_cookie; /* where the last walk ended */
	struct list *at;
};

static int64_t now(struct client *c)
{
	return env_realtime(c->env);
}

static struct inode *inode_new(struct client *c, uint32_t mode, const struct client_cred *cred)
{
	struct inode *i = mem_zalloc(sizeof(*i));
	struct fid fid = {.seq = FID_SEQ_NORMAL + 1, .oid = ++c->oid};

	ASSERT(i != NULL);
	if (c->root == NULL) {
		fid = fid_root();
	}
	i->attr = (struct client_attr){.fid = fid,
		.ino = fid_ino(fid),
		.mode = mode,
		.nlink = S_ISDIR(mode) ? 2 : 1,
		.uid = cred != NULL ? cred->uid : 0,
		.gid = cred != NULL ? cred->gid : 0,
		.atime_ns = now(c),
		.mtime_ns = now(c),
		.ctime_ns = now(c),
		.btime_ns = now(c)};
	list_init(&i->entries);
	hmap_init(&i->chunks);
	hmap_insert(&c->inodes, &i->node, fid_hash(fid));
	return i;
}

static struct inode *inode_find(struct client *c, struct fid fid)
{
	for (struct hmap_node *it = hmap_find(&c->inodes, fid_hash(fid)); it != NULL;
		it = hmap_find_next(it)) {
		struct inode *i = container_of(it, struct inode, node);

		if (fid_eq(i->attr.fid, fid)) {
			return i;
		}
	}
	return NULL;
}

static uint64_t name_hash(const struct inode *dir, const char *name)
{
	struct hash_key key = {.k0 = 1, .k1 = 2};

	return hash_sip(key, name, strlen(name)) ^ fid_hash(dir->attr.fid);
}

static struct entry *entry_find(struct client *c, const struct inode *dir, const char *name)
{
	for (struct hmap_node *it = hmap_find(&c->names, name_hash(dir, name)); it != NULL;
		it = hmap_find_next(it)) {
		struct entry *e = container_of(it, struct entry, node);

		if (e->dir == dir && strcmp(e->name, name) == 0) {
			return e;
		}
	}
	return NULL;
}

static void entry_add(struct client *c, struct inode *dir, const char *name, struct inode *inode)
{
	struct entry *e = mem_zalloc(sizeof(*e));

	ASSERT(e != NULL);
	e->dir = dir;
	e->inode = inode;
	e->cookie = c->cookie++;
	e->len = strlen(name);
	memcpy(e->name, name, e->len + 1);
	hmap_insert(&c->names, &e->node, name_hash(dir, name));
	list_push_back(&dir->entries, &e->link);
	dir->attr.mtime_ns = dir->attr.ctime_ns = now(c);
	if (S_ISDIR(inode->attr.mode)) {
		inode->parent = dir;
		dir->attr.nlink++;
	}
	inode->hangs = strncmp(name, "hang", 4) == 0;
}

static void chunks_free(struct client *c, struct inode *i)
{
	struct hmap_node *node;
	size_t cursor = 0;

	while ((node = hmap_pop(&i->chunks, &cursor)) != NULL) {
		mem_free(container_of(node, struct chunk, node));
		c->bytes -= CHUNK;
	}
}

static void inode_put(struct client *c, struct inode *i)
{
	if (i->attr.nlink > 0 || i->opens > 0 || i == c->root) {
		return;
	}
	chunks_free(c, i);
	hmap_fini(&i->chunks);
	for (unsigned x = 0; x < i->xattr_count; x++) {
		mem_free(i->xattrs[x].value);
	}
	hmap_remove(&c->inodes, &i->node);
	mem_free(i->target);
	mem_free(i);
}

static void entry_del(struct client *c, struct entry *e)
{
	struct inode *i = e->inode;

	hmap_remove(&c->names, &e->node);
	list_del(&e->link);
	e->dir->attr.mtime_ns = e->dir->attr.ctime_ns = now(c);
	if (S_ISDIR(i->attr.mode)) {
		e->dir->attr.nlink--;
	}
	mem_free(e);
}

static int may(
	struct client *c, const struct client_cred *cred, const struct inode *i, uint32_t mask)
{
	uint32_t gids[64];
	uint32_t bits = i->attr.mode & 7;

	if (cred->uid == 0 || mask == 0 || (cred->caps & 2) != 0) {
		bool exec = (mask & 1) != 0 && S_ISREG(i->attr.mode) && (i->attr.mode & 0111) == 0;

		return exec ? -NE_ACCES : 0;
	}
	if (cred->uid == i->attr.uid) {
		bits = (i->attr.mode >> 6) & 7;
	} else if (cred->gid == i->attr.gid) {
		bits = (i->attr.mode >> 3) & 7;
	} else if (c->groups != NULL) {
		int n = c->groups(c->groups_ctx, cred->pid, gids, ARRAY_SIZE(gids));

		for (int g = 0; g < n; g++) {
			bits = gids[g] == i->attr.gid ? (i->attr.mode >> 3) & 7 : bits;
		}
	}
	return (bits & mask) == mask ? 0 : -NE_ACCES;
}

/* ---- the mount ---- */

void client_gone_set(_unused_ struct client *c, _unused_ client_gone_fn *fn, _unused_ void *ctx)
{
	/* Nothing is ever gone here while it is held: inodes are counted. */
}

int client_new(
	const struct client_options *opt, char *ret_why, size_t why_cap, struct client **ret_client)
{
	struct client *c;

	if (strcmp(opt->fsname, "wrong") == 0) {
		(void)snprintf(
			ret_why, why_cap, "there is no file system 'wrong' at %s", opt->mgs[0]);
		return -NE_WRONGFS;
	}
	c = mem_zalloc(sizeof(*c));
	ASSERT(c != NULL);
	c->env = opt->env;
	c->read_only = opt->read_only;
	c->groups = opt->groups;
	c->groups_ctx = opt->groups_ctx;
	c->cookie = COOKIE_FIRST;
	hmap_init(&c->inodes);
	hmap_init(&c->names);
	env_waitq_init(&c->never);
	c->root = inode_new(c, S_IFDIR | 0777, NULL);
	*ret_client = c;
	return 0;
}

void client_free(_unused_ struct client *c)
{
}

struct fid client_root(_unused_ const struct client *c)
{
	return fid_root();
}

/* ---- names ---- */

static int dir_find(struct client *c, struct fid parent, struct inode **ret_dir)
{
	*ret_dir = inode_find(c, parent);
	if (*ret_dir == NULL) {
		return -NE_STALE;
	}
	return S_ISDIR((*ret_dir)->attr.mode) ? 0 : -NE_NOTDIR;
}

int client_lookup(struct client *c, const struct client_cred *cred, struct fid parent,
	const char *name, struct client_attr *ret_attr)
{
	struct inode *dir;
	struct entry *e;
	int rc = dir_find(c, parent, &dir);

	while (rc == 0 && strncmp(name, "hanging", 7) == 0) {
		rc = env_wait(c->env, &c->never, ENV_FOREVER, ENV_WAIT_INTR);
	}
	rc = rc == 0 ? may(c, cred, dir, 1) : rc;
	e = rc == 0 ? entry_find(c, dir, name) : NULL;
	if (e == NULL) {
		return rc < 0 ? rc : -NE_NOENT;
	}
	*ret_attr = e->inode->attr;
	return 0;
}

int client_getattr(struct client *c, _unused_ const struct client_cred *cred, struct fid fid,
	struct client_file *f, struct client_attr *ret_attr)
{
	struct inode *i = f != NULL ? f->inode : inode_find(c, fid);

	if (i == NULL) {
		return -NE_STALE;
	}
	*ret_attr = i->attr;
	return 0;
}

static void size_set(struct inode *i, uint64_t size)
{
	if (size < i->attr.size) {
		for (struct hmap_node *it = hmap_first(&i->chunks); it != NULL;
			it = hmap_next(&i->chunks, it)) {
			struct chunk *k = container_of(it, struct chunk, node);
			uint64_t at = k->index * CHUNK;
			uint64_t keep = size > at ? u64_min(size - at, CHUNK) : 0;

			memset(k->data + keep, 0, CHUNK - keep);
		}
	}
	i->attr.size = size;
	i->attr.blocks = (size + 511) / 512;
}

int client_setattr(struct client *c, const struct client_cred *cred, struct fid fid,
	struct client_file *f, const struct client_setattr *set, struct client_attr *ret_attr)
{
	struct inode *i = f != NULL ? f->inode : inode_find(c, fid);
	struct client_attr *a;

	if (i == NULL) {
		return -NE_STALE;
	}
	a = &i->attr;
	if (c->read_only) {
		return -NE_ROFS;
	}
	if ((set->valid & (CLIENT_SET_MODE | CLIENT_SET_UID)) != 0 && cred->uid != 0 &&
		cred->uid != a->uid) {
		return -NE_PERM;
	}
	if ((set->valid & CLIENT_SET_MODE) != 0) {
		a->mode = (a->mode & S_IFMT) | set->mode;
	}
	a->uid = (set->valid & CLIENT_SET_UID) != 0 ? set->uid : a->uid;
	a->gid = (set->valid & CLIENT_SET_GID) != 0 ? set->gid : a->gid;
	if ((set->valid & CLIENT_SET_SIZE) != 0) {
		size_set(i, set->size);
		a->mtime_ns = now(c);
	}
	if ((set->valid & CLIENT_SET_KILL_SUID) != 0) {
		a->mode &= ~(uint32_t)S_ISUID;
	}
	a->atime_ns = (set->valid & CLIENT_SET_ATIME) != 0 ? set->atime_ns : a->atime_ns;
	a->mtime_ns = (set->valid & CLIENT_SET_MTIME) != 0 ? set->mtime_ns : a->mtime_ns;
	a->atime_ns = (set->valid & CLIENT_SET_ATIME_NOW) != 0 ? now(c) : a->atime_ns;
	a->mtime_ns = (set->valid & CLIENT_SET_MTIME_NOW) != 0 ? now(c) : a->mtime_ns;
	a->ctime_ns = now(c);
	*ret_attr = *a;
	return 0;
}

int client_access(struct client *c, const struct client_cred *cred, struct fid fid, uint32_t mask)
{
	struct inode *i = inode_find(c, fid);

	return i != NULL ? may(c, cred, i, mask) : -NE_STALE;
}

static int dir_for_change(
	struct client *c, const struct client_cred *cred, struct fid parent, struct inode **ret_dir)
{
	int rc = dir_find(c, parent, ret_dir);

	if (rc == 0 && c->read_only) {
		return -NE_ROFS;
	}
	return rc == 0 ? may(c, cred, *ret_dir, 3) : rc;
}

static int make(struct client *c, const struct client_cred *cred, struct fid parent,
	const char *name, const struct client_create *how, struct inode **ret_inode)
{
	struct inode *dir;
	struct inode *i;
	int rc = dir_for_change(c, cred, parent, &dir);

	if (rc < 0) {
		return rc;
	}
	if (entry_find(c, dir, name) != NULL) {
		return -NE_EXIST;
	}
	i = inode_new(c, how->mode & ~how->umask, cred);
	i->attr.rdev = how->rdev;
	if (how->target != NULL) {
		size_t len = strlen(how->target);

		i->target = mem_alloc(len + 1);
		ASSERT(i->target != NULL);
		memcpy(i->target, how->target, len + 1);
		i->attr.size = len;
		i->attr.mode = S_IFLNK | 0777;
	}
	entry_add(c, dir, name, i);
	*ret_inode = i;
	return 0;
}

int client_create(struct client *c, const struct client_cred *cred, struct fid parent,
	const char *name, const struct client_create *how, struct client_attr *ret_attr)
{
	struct inode *i;
	int rc = make(c, cred, parent, name, how, &i);

	if (rc == 0) {
		*ret_attr = i->attr;
	}
	return rc;
}

int client_create_open(struct client *c, const struct client_cred *cred, struct client_entry at,
	const struct client_create *how, struct client_attr *ret_attr,
	struct client_file **ret_file)
{
	struct fid parent = at.parent;
	const char *name = at.name;
	struct inode *i;
	int rc = make(c, cred, parent, name, how, &i);
	struct client_cred root = {.caps = UINT64_MAX};

	if (rc == -NE_EXIST && (how->open_flags & O_EXCL) == 0) {
		rc = client_lookup(c, cred, parent, name, ret_attr);
		return rc == 0
			? client_open(c, cred, ret_attr->fid, how->open_flags, ret_attr, ret_file)
			: rc;
	}
	return rc == 0 ? client_open(c, &root, i->attr.fid, how->open_flags, ret_attr, ret_file)
		       : rc;
}

static int entry_for_change(struct client *c, const struct client_cred *cred, struct fid parent,
	const char *name, struct entry **ret_entry)
{
	struct inode *dir;
	int rc = dir_for_change(c, cred, parent, &dir);

	if (rc == 0) {
		*ret_entry = entry_find(c, dir, name);
		rc = *ret_entry != NULL ? 0 : -NE_NOENT;
	}
	return rc;
}

int client_unlink(
	struct client *c, const struct client_cred *cred, struct fid parent, const char *name)
{
	struct entry *e = NULL;
	struct inode *i;
	int rc = entry_for_change(c, cred, parent, name, &e);

	if (rc < 0) {
		return rc;
	}
	i = e->inode;
	if (S_ISDIR(i->attr.mode)) {
		return -NE_ISDIR;
	}
	entry_del(c, e);
	i->attr.nlink--;
	i->attr.ctime_ns = now(c);
	inode_put(c, i);
	return 0;
}

int client_rmdir(
	struct client *c, const struct client_cred *cred, struct fid parent, const char *name)
{
	struct entry *e = NULL;
	struct inode *i;
	int rc = entry_for_change(c, cred, parent, name, &e);

	if (rc < 0) {
		return rc;
	}
	i = e->inode;
	if (!S_ISDIR(i->attr.mode)) {
		return -NE_NOTDIR;
	}
	if (!list_empty(&i->entries)) {
		return -NE_NOTEMPTY;
	}
	entry_del(c, e);
	i->attr.nlink = 0;
	inode_put(c, i);
	return 0;
}

int client_link(struct client *c, const struct client_cred *cred, struct fid fid, struct fid parent,
	const char *name, struct client_attr *ret_attr)
{
	struct inode *i = inode_find(c, fid);
	struct inode *dir;
	int rc = dir_for_change(c, cred, parent, &dir);

	if (rc < 0 || i == NULL) {
		return rc < 0 ? rc : -NE_STALE;
	}
	if (entry_find(c, dir, name) != NULL) {
		return -NE_EXIST;
	}
	entry_add(c, dir, name, i);
	i->attr.nlink++;
	*ret_attr = i->attr;
	return 0;
}

int client_rename(struct client *c, const struct client_cred *cred, struct client_entry src,
	struct client_entry dst, unsigned flags)
{
	struct fid src_parent = src.parent;
	const char *src_name = src.name;
	struct fid dst_parent = dst.parent;
	const char *dst_name = dst.name;
	struct entry *from = NULL;
	struct entry *to;
	struct inode *dir = NULL;
	struct inode *moved;
	int rc = entry_for_change(c, cred, src_parent, src_name, &from);

	rc = rc == 0 ? dir_for_change(c, cred, dst_parent, &dir) : rc;
	if (rc < 0) {
		return rc;
	}
	to = entry_find(c, dir, dst_name);
	if ((flags & 1) != 0 && to != NULL) {
		return -NE_EXIST;
	}
	if ((flags & 2) != 0) {
		return -NE_INVAL;
	}
	moved = from->inode;
	if (to != NULL && to->inode != moved) {
		rc = S_ISDIR(to->inode->attr.mode) ? client_rmdir(c, cred, dst_parent, dst_name)
						   : client_unlink(c, cred, dst_parent, dst_name);
	}
	if (rc < 0 || (to != NULL && to->inode == moved)) {
		return rc;
	}
	entry_del(c, from);
	entry_add(c, dir, dst_name, moved);
	return 0;
}

int client_readlink(struct client *c, _unused_ const struct client_cred *cred, struct fid fid,
	char *buf, size_t cap)
{
	struct inode *i = inode_find(c, fid);

	if (i == NULL || i->target == NULL) {
		return -NE_INVAL;
	}
	if (strlen(i->target) >= cap) {
		return -NE_RANGE;
	}
	memcpy(buf, i->target, strlen(i->target) + 1);
	return 0;
}

/* ---- extended attributes ---- */

static struct xattr *xattr_find(struct inode *i, const char *name)
{
	for (unsigned x = 0; i != NULL && x < i->xattr_count; x++) {
		if (strcmp(i->xattrs[x].name, name) == 0) {
			return &i->xattrs[x];
		}
	}
	return NULL;
}

int client_getxattr(struct client *c, _unused_ const struct client_cred *cred, struct fid fid,
	const char *name, struct client_out dst, size_t *ret_len)
{
	void *buf = dst.buf;
	size_t cap = dst.cap;
	struct xattr *x = xattr_find(inode_find(c, fid), name);

	if (x == NULL) {
		return -NE_NODATA;
	}
	*ret_len = x->len;
	if (cap == 0) {
		return 0;
	}
	if (x->len > cap) {
		return -NE_RANGE;
	}
	memcpy(buf, x->value, x->len);
	return 0;
}

int client_setxattr(struct client *c, _unused_ const struct client_cred *cred, struct fid fid,
	const char *name, struct span value_span, int flags)
{
	const void *value = value_span.ptr;
	size_t len = value_span.len;
	struct inode *i = inode_find(c, fid);
	struct xattr *x = xattr_find(i, name);

	if (i == NULL || (x == NULL && i->xattr_count == XATTRS_MAX)) {
		return i == NULL ? -NE_STALE : -NE_NOSPC;
	}
	if (x != NULL ? flags == XATTR_CREATE : flags == XATTR_REPLACE) {
		return x != NULL ? -NE_EXIST : -NE_NODATA;
	}
	if (x == NULL) {
		x = &i->xattrs[i->xattr_count++];
		(void)snprintf(x->name, sizeof(x->name), "%s", name);
	} else {
		mem_free(x->value);
	}
	x->len = len;
	x->value = mem_alloc(len + 1);
	ASSERT(x->value != NULL);
	memcpy(x->value, value, len);
	return 0;
}

int client_removexattr(
	struct client *c, _unused_ const struct client_cred *cred, struct fid fid, const char *name)
{
	struct inode *i = inode_find(c, fid);
	struct xattr *x = xattr_find(i, name);

	if (x == NULL) {
		return -NE_NODATA;
	}
	mem_free(x->value);
	*x = i->xattrs[--i->xattr_count];
	return 0;
}

int client_listxattr(struct client *c, _unused_ const struct client_cred *cred, struct fid fid,
	char *buf, size_t cap, size_t *ret_len)
{
	struct inode *i = inode_find(c, fid);
	size_t len = 0;

	for (unsigned x = 0; i != NULL && x < i->xattr_count; x++) {
		size_t n = strlen(i->xattrs[x].name) + 1;

		if (cap > 0 && len + n > cap) {
			return -NE_RANGE;
		}
		if (cap > 0) {
			memcpy(buf + len, i->xattrs[x].name, n);
		}
		len += n;
	}
	*ret_len = len;
	return 0;
}

/* ---- files ---- */

int client_open(struct client *c, const struct client_cred *cred, struct fid fid, int open_flags,
	struct client_attr *ret_attr, struct client_file **ret_file)
{
	static const uint32_t need[4] = {4, 2, 6, 6};
	struct inode *i = inode_find(c, fid);
	uint32_t mask = need[open_flags & O_ACCMODE];
	struct client_file *f;
	int rc;

	if (i == NULL) {
		return -NE_STALE;
	}
	if (c->read_only && (mask & 2) != 0) {
		return -NE_ROFS;
	}
	rc = may(c, cred, i, (open_flags & CLIENT_O_EXEC) != 0 ? 1 : mask);
	if (rc < 0) {
		return rc;
	}
	if ((open_flags & O_TRUNC) != 0) {
		size_set(i, 0);
	}
	f = mem_zalloc(sizeof(*f));
	ASSERT(f != NULL);
	f->inode = i;
	f->flags = open_flags;
	i->opens++;
	c->counters.open_files++;
	*ret_attr = i->attr;
	*ret_file = f;
	return 0;
}

int client_release(struct client *c, struct client_file *f)
{
	f->inode->opens--;
	c->counters.open_files--;
	inode_put(c, f->inode);
	mem_free(f);
	return 0;
}

struct fid client_file_fid(const struct client_file *f)
{
	return f->inode->attr.fid;
}

static struct chunk *chunk_find(struct inode *i, uint64_t index)
{
	for (struct hmap_node *it = hmap_find(&i->chunks, hash_mix2(index, 0)); it != NULL;
		it = hmap_find_next(it)) {
		struct chunk *k = container_of(it, struct chunk, node);

		if (k->index == index) {
			return k;
		}
	}
	return NULL;
}

int client_read(struct client *c, struct client_file *f, const struct iovec *iov,
	unsigned iov_count, uint64_t off, size_t *ret_len)
{
	struct inode *i = f->inode;
	uint8_t *to = iov[0].iov_base;
	size_t done = 0;

	ASSERT(iov_count == 1);
	while (i->hangs) {
		int rc = env_wait(c->env, &c->never, ENV_FOREVER, ENV_WAIT_INTR);

		if (rc < 0) {
			return rc;
		}
	}
	while (done < iov[0].iov_len && off + done < i->attr.size) {
		uint64_t at = off + done;
		size_t n = (size_t)u64_min(CHUNK - at % CHUNK, iov[0].iov_len - done);
		struct chunk *k = chunk_find(i, at / CHUNK);

		n = (size_t)u64_min(n, i->attr.size - at);
		if (k != NULL) {
			memcpy(to + done, k->data + at % CHUNK, n);
		} else {
			memset(to + done, 0, n);
		}
		done += n;
	}
	*ret_len = done;
	return 0;
}

int client_write(struct client *c, const struct client_cred *cred, struct client_file *f,
	struct client_buffers io, size_t *ret_len)
{
	const struct iovec *iov = io.iov;
	unsigned iov_count = io.iov_count;
	uint64_t off = io.off;
	struct inode *i = f->inode;
	const uint8_t *from = iov[0].iov_base;
	size_t done = 0;

	ASSERT(iov_count == 1);
	if ((f->flags & O_ACCMODE) == O_RDONLY) {
		return -NE_BADF;
	}
	off = (f->flags & O_APPEND) != 0 ? i->attr.size : off;
	while (done < iov[0].iov_len) {
		uint64_t at = off + done;
		size_t n = (size_t)u64_min(CHUNK - at % CHUNK, iov[0].iov_len - done);
		struct chunk *k = chunk_find(i, at / CHUNK);

		if (k == NULL) {
			k = mem_zalloc(sizeof(*k));
			if (k == NULL) {
				return -NE_NOSPC;
			}
			k->index = at / CHUNK;
			hmap_insert(&i->chunks, &k->node, hash_mix2(k->index, 0));
			c->bytes += CHUNK;
		}
		memcpy(k->data + at % CHUNK, from + done, n);
		done += n;
	}
	i->attr.size = u64_max(i->attr.size, off + done);
	i->attr.blocks = (i->attr.size + 511) / 512;
	i->attr.mtime_ns = now(c);
	if ((cred->caps & 16) == 0) {
		i->attr.mode &= ~(uint32_t)(S_ISUID | S_ISGID);
	}
	*ret_len = done;
	return 0;
}

/* The double promises no space; all it has is data; the kernel copies by itself. */
int client_allocate(_unused_ struct client *c, _unused_ const struct client_cred *cred,
	_unused_ struct client_file *f, _unused_ struct client_range range, _unused_ unsigned flags)
{
	return -NE_NOTSUP;
}

int client_seek(_unused_ struct client *c, struct client_file *f, uint64_t off, bool data,
	uint64_t *ret_off)
{
	if (off >= f->inode->attr.size) {
		return -NE_NXIO;
	}
	*ret_off = data ? off : f->inode->attr.size;
	return 0;
}

int client_copy_range(_unused_ struct client *c, _unused_ const struct client_cred *cred,
	_unused_ const struct client_copy *copy, _unused_ uint64_t *ret_len)
{
	return -NE_NOSYS;
}

int client_fsync(_unused_ struct client *c, _unused_ struct client_file *f, _unused_ bool data_only)
{
	return 0;
}

int client_readdir(struct client *c, _unused_ const struct client_cred *cred,
	struct client_file *dir, const struct client_listing *walk)
{
	uint64_t cookie = walk->cookie;
	bool plus = walk->plus;
	client_dirent_fn *fn = walk->fn;
	void *ctx = walk->ctx;
	struct fid *ret_parent = walk->ret_parent;
	bool *ret_end = walk->ret_end;
	struct inode *i = dir->inode;

	*ret_parent = i->parent != NULL ? i->parent->attr.fid : i->attr.fid;
	*ret_end = false;
	(void)c;
	LIST_FOREACH (it, &i->entries) {
		struct entry *e = list_entry(it, struct entry, link);

		if (e->cookie <= cookie) {
			continue;
		}
		struct client_dirent d = {e->name, e->len, e->inode->attr.fid, e->inode->attr.mode,
			e->cookie, plus ? &e->inode->attr : NULL};

		if (fn(ctx, &d) != 0) {
			return 0;
		}
	}
	*ret_end = true;
	return 0;
}

int client_sync(_unused_ struct client *c)
{
	return 0;
}

int client_statfs(struct client *c, struct client_statfs *ret_statfs)
{
	*ret_statfs = (struct client_statfs){.bytes_total = 64 * GIB,
		.bytes_free = 64 * GIB - c->bytes,
		.bytes_avail = 64 * GIB - c->bytes,
		.files_total = 1 << 20,
		.files_free = (1 << 20) - c->inodes.count,
		.block_size = 4096,
		.name_max = LIM_NAME_MAX};
	return 0;
}

void client_metrics(const struct client *c, struct metric_batch *batch)
{
	metric_add(batch, METRIC_ID_client_open_files, c->counters.open_files, NULL, NULL, NULL);
}

void client_counters(const struct client *c, struct client_counters *ret)
{
	*ret = c->counters;
}
