/* Attributes, extended attributes, contents: see model.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "model_int.h"

#define DAY_NS (INT64_C(24) * 3600 * 1000000000)
#define XATTRS_MAX 256

/* ---- setattr ---- */

static bool is_owner(const struct model_node *n, const struct model_cred *cred)
{
	return cred->uid == n->attr.uid || model_capable(cred, MODEL_CAP_FOWNER);
}

static int may_size(
	const struct model_node *n, const struct model_cred *cred, const struct model_setattr *req)
{
	if ((req->valid & MODEL_SIZE) == 0) {
		return 0;
	}
	if (!S_ISREG(n->attr.mode)) {
		return S_ISDIR(n->attr.mode) ? -EISDIR : -EINVAL;
	}
	return req->open_writable ? 0 : model_permission(n, cred, 2);
}

static int may_chown(
	const struct model_node *n, const struct model_cred *cred, const struct model_setattr *req)
{
	if (model_capable(cred, MODEL_CAP_CHOWN)) {
		return 0;
	}
	if ((req->valid & MODEL_UID) != 0 &&
		(cred->uid != n->attr.uid || req->uid != n->attr.uid)) {
		return -EPERM;
	}
	if ((req->valid & MODEL_GID) != 0 &&
		(cred->uid != n->attr.uid ||
			(req->gid != n->attr.gid && !model_in_group(cred, req->gid)))) {
		return -EPERM;
	}
	return 0;
}

static int may_times(const struct model_node *n, const struct model_cred *cred, unsigned valid)
{
	unsigned times = valid & (MODEL_ATIME | MODEL_ATIME_NOW | MODEL_MTIME | MODEL_MTIME_NOW);

	if (times == 0 || is_owner(n, cred)) {
		return 0;
	}
	if (times == (MODEL_ATIME_NOW | MODEL_MTIME_NOW)) {
		return model_permission(n, cred, 2);
	}
	return -EPERM;
}

static uint32_t killed(uint32_t mode)
{
	mode &= ~(uint32_t)S_ISUID;
	if ((mode & S_ISGID) != 0 && (mode & S_IXGRP) != 0) {
		mode &= ~(uint32_t)S_ISGID;
	}
	return mode;
}

static uint32_t mode_after(
	const struct model_node *n, const struct model_cred *cred, const struct model_setattr *req)
{
	bool fsetid = model_capable(cred, MODEL_CAP_FSETID);
	bool chown = (req->valid & (MODEL_UID | MODEL_GID)) != 0 && !S_ISDIR(n->attr.mode);
	uint32_t gid = n->attr.gid;
	uint32_t mode = n->attr.mode;

	if ((req->valid & MODEL_MODE) != 0) {
		mode = (mode & S_IFMT) | (req->mode & 07777);
		gid = (req->valid & MODEL_GID) != 0 ? req->gid : gid;
	}
	if (chown || ((req->valid & MODEL_SIZE) != 0 && !fsetid)) {
		mode = killed(mode);
	}
	if (((req->valid & (MODEL_MODE | MODEL_SIZE)) != 0 || chown) && !fsetid &&
		!model_in_group(cred, gid)) {
		mode &= ~(uint32_t)S_ISGID;
	}
	return mode;
}

static void size_apply(struct model_node *n, uint64_t size)
{
	n->attr.size = size;
	if (n->data_len > size) {
		n->data_len = (size_t)size;
	}
}

static void setattr_apply(struct model_node *n, const struct model_setattr *req, int64_t now)
{
	struct model_attr *a = &n->attr;

	a->uid = (req->valid & MODEL_UID) != 0 ? req->uid : a->uid;
	a->gid = (req->valid & MODEL_GID) != 0 ? req->gid : a->gid;
	if ((req->valid & (MODEL_ATIME | MODEL_ATIME_NOW)) != 0) {
		a->atime = (req->valid & MODEL_ATIME) != 0 ? req->atime : now;
	}
	if ((req->valid & (MODEL_MTIME | MODEL_MTIME_NOW)) != 0) {
		a->mtime = (req->valid & MODEL_MTIME) != 0 ? req->mtime : now;
	}
	if ((req->valid & MODEL_SIZE) != 0) {
		size_apply(n, req->size);
		a->mtime = now;
	}
	a->ctime = now;
}

int model_setattr(struct model *m, const struct model_cred *cred, int64_t now,
	const struct model_setattr *req)
{
	struct model_node *n = model_node(m, req->id);
	uint32_t mode;
	int r;

	if (n == NULL) {
		return -ESTALE;
	}
	if (req->valid == 0) {
		return 0;
	}
	r = may_size(n, cred, req);
	if (r == 0) {
		r = may_chown(n, cred, req);
	}
	if (r == 0 && (req->valid & MODEL_MODE) != 0) {
		r = !is_owner(n, cred) ? -EPERM : (S_ISLNK(n->attr.mode) ? -EOPNOTSUPP : 0);
	}
	if (r == 0) {
		r = may_times(n, cred, req->valid);
	}
	if (r < 0) {
		return r;
	}
	mode = mode_after(n, cred, req);
	setattr_apply(n, req, now);
	n->attr.mode = mode;
	return 0;
}

bool model_atime_due(const struct model *m, uint32_t id, int64_t now)
{
	const struct model_attr *a = &model_node(m, id)->attr;

	return a->atime <= a->mtime || a->atime <= a->ctime || now - a->atime >= DAY_NS;
}

int model_readlink(const struct model *m, uint32_t id, const char **ret_target)
{
	const struct model_node *n = model_node(m, id);

	if (n == NULL) {
		return -ESTALE;
	}
	if (!S_ISLNK(n->attr.mode)) {
		return -EINVAL;
	}
	*ret_target = n->target;
	return 0;
}

/* ---- extended attributes ---- */

static int may_xattr(
	const struct model_node *n, const struct model_cred *cred, const char *name, bool write)
{
	uint32_t mode = n->attr.mode;

	if (strncmp(name, "user.", 5) == 0 && name[5] != 0) {
		if (!S_ISREG(mode) && !S_ISDIR(mode)) {
			return write ? -EPERM : -ENODATA;
		}
		if (write && S_ISDIR(mode) && (mode & S_ISVTX) != 0 && !is_owner(n, cred)) {
			return -EPERM;
		}
		return model_permission(n, cred, write ? 2 : 4);
	}
	if (strncmp(name, "trusted.", 8) == 0 && name[8] != 0) {
		return model_capable(cred, MODEL_CAP_SYS_ADMIN) ? 0 : (write ? -EPERM : -ENODATA);
	}
	if (strncmp(name, "security.", 9) == 0 && name[9] != 0) {
		return !write || model_capable(cred, MODEL_CAP_SYS_ADMIN) ? 0 : -EPERM;
	}
	return -EOPNOTSUPP;
}

static struct model_xattr *xattr_find(const struct model_node *n, const char *name)
{
	for (unsigned i = 0; i < n->xattr_count; i++) {
		if (strcmp(n->xattrs[i].name, name) == 0) {
			return &n->xattrs[i];
		}
	}
	return NULL;
}

static struct model_xattr *xattr_add(struct model_node *n, const char *name)
{
	struct model_xattr *x;

	n->xattrs = model_alloc(n->xattrs, (n->xattr_count + 1) * sizeof(*n->xattrs));
	x = &n->xattrs[n->xattr_count++];
	memset(x, 0, sizeof(*x));
	x->name = strdup(name);
	return x;
}

int model_setxattr(struct model *m, const struct model_cred *cred, int64_t now,
	const struct model_setxattr *req)
{
	struct model_node *n = model_node(m, req->id);
	struct model_xattr *x;
	int r = n == NULL ? -ESTALE : may_xattr(n, cred, req->name, true);

	if (r < 0) {
		return r;
	}
	x = xattr_find(n, req->name);
	if (x != NULL && (req->flags & 1) != 0) {
		return -EEXIST;
	}
	if (x == NULL && (req->flags & 2) != 0) {
		return -ENODATA;
	}
	if (x == NULL && n->xattr_count >= XATTRS_MAX) {
		return -ENOSPC;
	}
	x = x == NULL ? xattr_add(n, req->name) : x;
	x->value = model_alloc(x->value, req->len);
	if (req->len > 0) {
		memcpy(x->value, req->value, req->len);
	}
	x->len = req->len;
	n->attr.ctime = now;
	return 0;
}

int model_removexattr(
	struct model *m, const struct model_cred *cred, int64_t now, uint32_t id, const char *name)
{
	struct model_node *n = model_node(m, id);
	struct model_xattr *x;
	int r = n == NULL ? -ESTALE : may_xattr(n, cred, name, true);

	if (r < 0) {
		return r;
	}
	x = xattr_find(n, name);
	if (x == NULL) {
		return -ENODATA;
	}
	free(x->name);
	free(x->value);
	*x = n->xattrs[--n->xattr_count];
	n->attr.ctime = now;
	return 0;
}

int model_getxattr(const struct model *m, const struct model_cred *cred, uint32_t id,
	const char *name, const void **ret_value, size_t *ret_len)
{
	const struct model_node *n = model_node(m, id);
	const struct model_xattr *x;
	int r = n == NULL ? -ESTALE : may_xattr(n, cred, name, false);

	if (r < 0) {
		return r;
	}
	x = xattr_find(n, name);
	if (x == NULL) {
		return -ENODATA;
	}
	*ret_value = x->value;
	*ret_len = x->len;
	return 0;
}

unsigned model_xattr_count(const struct model *m, uint32_t id)
{
	const struct model_node *n = model_node(m, id);

	return n == NULL ? 0 : n->xattr_count;
}

/* ---- contents ---- */

int model_write(
	struct model *m, int64_t now, uint32_t id, uint64_t off, const void *data, size_t len)
{
	struct model_node *n = model_node(m, id);

	if (n == NULL) {
		return -ESTALE;
	}
	if (off > INT64_MAX - len) {
		return -EFBIG;
	}
	if (len == 0) {
		return 0;
	}
	if (off + len > n->data_len) {
		n->data = model_alloc(n->data, (size_t)(off + len));
		memset(n->data + n->data_len, 0, (size_t)(off + len) - n->data_len);
		n->data_len = (size_t)(off + len);
	}
	memcpy(n->data + off, data, len);
	n->attr.size = n->attr.size < off + len ? off + len : n->attr.size;
	n->attr.mtime = now;
	n->attr.ctime = now;
	return 0;
}

int model_read(
	const struct model *m, uint32_t id, uint64_t off, void *buf, size_t len, size_t *ret_len)
{
	const struct model_node *n = model_node(m, id);
	size_t have;

	if (n == NULL) {
		return -ESTALE;
	}
	if (off >= n->attr.size) {
		*ret_len = 0;
		return 0;
	}
	*ret_len = len < n->attr.size - off ? len : (size_t)(n->attr.size - off);
	memset(buf, 0, *ret_len);
	if (off < n->data_len) {
		have = n->data_len - (size_t)off;
		memcpy(buf, n->data + off, have < *ret_len ? have : *ret_len);
	}
	return 0;
}
