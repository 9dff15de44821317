/* What a client sees of a directory: see worker.h. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "worker.h"

static const uint32_t user_groups[] = {1001};

struct client_cred worker_cred(bool user)
{
	if (user) {
		return (struct client_cred){.uid = 1000,
			.gid = 1000,
			.pid = 1,
			.groups = user_groups,
			.group_count = 1};
	}
	return (struct client_cred){.pid = 1, .caps = UINT64_MAX, .groups = user_groups};
}

struct walk {
	struct worker *w;
	struct client *c;
	struct client_cred cred;
	uint32_t dir; /* index being listed */
	uint64_t cookie;
	bool sync;
};

static int entry_seen(void *ctx, const struct client_dirent *e_in)
{
	const char *name = e_in->name;
	size_t name_len = e_in->name_len;
	struct fid fid = e_in->fid;
	uint32_t mode = e_in->mode;
	uint64_t next_cookie = e_in->next_cookie;
	struct walk *k = ctx;
	struct snap_node *n = snap_add(&k->w->snap, k->dir, name);

	ASSERT(strlen(name) == name_len);
	n->attr.fid = fid;
	n->attr.mode = mode;
	k->cookie = next_cookie;
	return 0;
}

static int list(struct walk *k, uint32_t at)
{
	struct client_file *dir = NULL;
	struct client_attr attr;
	struct fid parent;
	bool end = false;
	int err = client_open(k->c, &k->cred, k->w->snap.nodes[at].attr.fid, O_RDONLY, &attr, &dir);

	if (err != 0) {
		return err;
	}
	k->dir = at;
	k->cookie = 0;
	while (err == 0 && !end) {
		err = client_readdir(k->c, &k->cred, dir,
			&(struct client_listing){.cookie = k->cookie,
				.bytes_max = 1500,
				.plus = false,
				.fn = entry_seen,
				.ctx = k,
				.ret_parent = &parent,
				.ret_end = &end});
	}
	(void)client_release(k->c, dir);
	return err;
}

static int content_read(struct walk *k, struct client_file *f, uint32_t at)
{
	struct snap_node *n;
	struct iovec iov = {.iov_base = k->w->buf, .iov_len = TREE_FILE_MAX + 1};
	size_t len = 0;
	int err = client_read(k->c, f, &iov, 1, 0, &len);

	n = &k->w->snap.nodes[at];
	n->data_rc = err;
	if (worker_disk_failed(k->w, err)) {
		return err; /* the walk begins again */
	}
	if (err == 0) {
		n->data = malloc(len + 1);
		if (n->data == NULL) {
			abort();
		}
		memcpy(n->data, k->w->buf, len);
		n->data_len = len;
	}
	return 0;
}

static int content(struct walk *k, uint32_t at)
{
	struct snap *s = &k->w->snap;
	struct client_file *f = NULL;
	struct client_attr attr;
	int err;

	for (uint32_t i = 0; i < at; i++) {
		if (fid_eq(s->nodes[i].attr.fid, s->nodes[at].attr.fid)) {
			s->nodes[at].same = i;
			s->nodes[at].attr = s->nodes[i].attr;
			return 0;
		}
	}
	err = client_open(
		k->c, &k->cred, s->nodes[at].attr.fid, k->sync ? O_RDWR : O_RDONLY, &attr, &f);
	if (err != 0) {
		return err;
	}
	if (k->sync) {
		err = client_fsync(k->c, f, false);
		err = ne_errno(err) == EIO ? 0 : err;
	}
	if (err == 0) {
		err = content_read(k, f, at);
	}
	(void)client_release(k->c, f);
	if (err == 0) {
		err = client_getattr(k->c, &k->cred, s->nodes[at].attr.fid, NULL, &attr);
	}
	if (err == 0) {
		s->nodes[at].attr = attr;
	}
	return err;
}

static int xattrs(struct walk *k, uint32_t at)
{
	for (unsigned i = 0; i < TREE_XATTRS; i++) {
		struct fid fid = k->w->snap.nodes[at].attr.fid;
		size_t len = 0;
		int rc = client_getxattr(k->c, &k->cred, fid, tree_xattr(i),
			(struct client_out){k->w->buf, TREE_XATTR_MAX}, &len);
		struct snap_xattr *x = &k->w->snap.nodes[at].xattrs[i];

		if (rc == -NE_STALE) {
			return rc;
		}
		x->rc = rc;
		if (rc == 0) {
			x->len = len;
			memcpy(x->value, k->w->buf, len);
		}
	}
	return 0;
}

static int node_see(struct walk *k, uint32_t at)
{
	struct snap *s = &k->w->snap;
	struct client_attr attr;
	int err = 0;

	if (at > 0) {
		err = client_lookup(k->c, &k->cred, s->nodes[s->nodes[at].parent].attr.fid,
			s->nodes[at].name, &attr);
	} else {
		err = client_getattr(k->c, &k->cred, k->w->root, NULL, &attr);
	}
	if (err != 0) {
		return err;
	}
	if (at > 0 &&
		(!fid_eq(attr.fid, s->nodes[at].attr.fid) ||
			(attr.mode & S_IFMT) != (s->nodes[at].attr.mode & S_IFMT))) {
		cluster_fail(k->w->cluster, "%s: readdir and lookup of %s disagree", k->w->name,
			s->nodes[at].name);
	}
	s->nodes[at].attr = attr;
	if (S_ISREG(attr.mode)) {
		err = content(k, at);
	} else if (S_ISLNK(attr.mode)) {
		char target[300];

		err = client_readlink(k->c, &k->cred, attr.fid, target, sizeof(target));
		if (err == 0) {
			memcpy(s->nodes[at].target, target, sizeof(target));
		}
	} else if (S_ISDIR(attr.mode)) {
		err = list(k, at);
	}
	return err == 0 ? xattrs(k, at) : err;
}

int worker_walk(struct worker *w, struct client *c, bool sync)
{
	struct walk k = {.w = w, .c = c, .cred = worker_cred(false), .sync = sync};
	int err = 0;

	snap_clear(&w->snap);
	snap_add(&w->snap, 0, w->name)->attr.fid = w->root;
	for (uint32_t i = 0; i < w->snap.count && err == 0; i++) {
		err = node_see(&k, i);
	}
	return err;
}
