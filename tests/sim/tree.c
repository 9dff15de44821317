/* See tree.h: the model of one worker's subtree. What a client saw is compared in tree_compare.c. */
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/limits.h"
#include "model/model_int.h"

#define TREE_USER 1000u
#define LONG_NAME 200

/* ---- what operations are made of ---- */

const char *tree_name(unsigned i)
{
	static char names[TREE_NAMES][LONG_NAME + 1];

	if (names[i][0] == '\0') {
		if (i + 1 == TREE_NAMES) {
			memset(names[i], 'L', LONG_NAME);
		} else {
			snprintf(names[i], sizeof(names[i]), "n%u", i);
		}
	}
	return names[i];
}

const char *tree_xattr(unsigned i)
{
	static const char *const names[TREE_XATTRS] = {
		"user.a", "user.some-longer-name", "trusted.t"};

	return names[i];
}

void tree_target(const struct op *op, char *buf, size_t cap)
{
	unsigned len = 1 + (unsigned)(op->pattern % 250);

	ASSERT(len < cap);
	for (unsigned i = 0; i < len; i++) {
		buf[i] = (char)('a' + (op->pattern + i * 7) % 26);
	}
	buf[len] = '\0';
}

void tree_bytes(uint64_t pattern, uint64_t off, void *buf, size_t len)
{
	uint8_t *b = buf;
	uint64_t x = pattern | 1;

	for (size_t i = 0; i < len; i++) {
		uint64_t at = off + i;

		b[i] = (uint8_t)(((x * (at + 1)) >> 24) ^ (at >> 9) ^ pattern);
	}
}

void tree_model_cred(bool user, struct model_cred *ret_cred)
{
	memset(ret_cred, 0, sizeof(*ret_cred));
	if (user) {
		ret_cred->uid = TREE_USER;
		ret_cred->gid = TREE_USER;
		ret_cred->groups[0] = TREE_USER + 1;
		ret_cred->group_count = 1;
	} else {
		ret_cred->caps = UINT64_MAX;
	}
}

/* ---- the tree ---- */

struct tree *tree_new(const struct client_attr *root)
{
	struct tree *t = calloc(1, sizeof(*t));
	struct model_attr attr = {.mode = root->mode,
		.uid = root->uid,
		.gid = root->gid,
		.atime = TREE_TIME_UNKNOWN,
		.mtime = TREE_TIME_UNKNOWN,
		.ctime = TREE_TIME_UNKNOWN,
		.btime = TREE_TIME_UNKNOWN};

	if (t == NULL) {
		abort();
	}
	t->now = model_new(&attr);
	t->base = model_clone(t->now);
	tree_fid_set(t, MODEL_ROOT, root->fid);
	return t;
}

static void dirt_free(struct dirt *d)
{
	if (d != NULL) {
		free(d->bits);
		free(d);
	}
}

void tree_free(struct tree *t)
{
	if (t == NULL) {
		return;
	}
	for (uint32_t i = 0; i < t->cap; i++) {
		dirt_free(t->dirts[i]);
	}
	free(t->dirts);
	free(t->fids);
	free(t->journal);
	model_free(t->now);
	model_free(t->base);
	free(t);
}

static void tree_grow(struct tree *t, uint32_t id)
{
	uint32_t cap = t->cap == 0 ? 256 : t->cap;

	while (cap < id) {
		cap *= 2;
	}
	if (cap == t->cap) {
		return;
	}
	t->fids = model_alloc(t->fids, cap * sizeof(*t->fids));
	t->dirts = model_alloc(t->dirts, cap * sizeof(struct dirt *));
	memset(t->fids + t->cap, 0, (cap - t->cap) * sizeof(*t->fids));
	memset(t->dirts + t->cap, 0, (cap - t->cap) * sizeof(struct dirt *));
	t->cap = cap;
}

struct fid tree_fid(const struct tree *t, uint32_t id)
{
	return id == 0 || id > t->cap ? (struct fid){0} : t->fids[id - 1];
}

void tree_fid_set(struct tree *t, uint32_t id, struct fid fid)
{
	tree_grow(t, id);
	t->fids[id - 1] = fid;
}

/* ---- doubt ---- */

struct dirt *tree_dirt(const struct tree *t, uint32_t id)
{
	return id == 0 || id > t->cap ? NULL : t->dirts[id - 1];
}

static struct dirt *dirt_get(struct tree *t, uint32_t id)
{
	tree_grow(t, id);
	if (t->dirts[id - 1] == NULL) {
		t->dirts[id - 1] = calloc(1, sizeof(struct dirt));
		if (t->dirts[id - 1] == NULL) {
			abort();
		}
	}
	return t->dirts[id - 1];
}

void tree_mark(
	struct tree *t, uint32_t id, uint64_t from, uint64_t to, unsigned bits, unsigned ost_losses)
{
	struct dirt *d = dirt_get(t, id);

	if (d->bits == NULL) {
		d->bits = calloc(1, TREE_FILE_MAX);
	}
	if (d->bits == NULL) {
		abort();
	}
	if ((bits & DIRT_OST) != 0 && (d->any & DIRT_OST) == 0) {
		d->ost_losses = ost_losses;
	}
	d->any |= (uint8_t)bits;
	to = u64_min(to, TREE_FILE_MAX);
	d->high = u64_max(d->high, to);
	for (uint64_t i = from; i < to; i++) {
		d->bits[i] |= (uint8_t)bits;
	}
}

void tree_striped(struct tree *t, uint32_t id)
{
	dirt_get(t, id)->striped = true;
}

void tree_broken(struct tree *t, uint32_t id)
{
	dirt_get(t, id)->broken = true;
}

void tree_dirt_clear(struct tree *t, uint32_t id, unsigned bits)
{
	struct dirt *d = tree_dirt(t, id);

	if (d == NULL || (d->any & bits) == 0) {
		return;
	}
	d->any &= (uint8_t)~bits;
	for (uint64_t i = 0; i < d->high; i++) {
		d->bits[i] &= (uint8_t)~bits;
	}
	d->high = d->any == 0 ? 0 : d->high;
}

bool tree_doubtful(const struct tree *t, uint32_t id, unsigned ost_losses)
{
	const struct dirt *d = tree_dirt(t, id);

	if (d == NULL) {
		return false;
	}
	return d->broken || (d->any & DIRT_UNKNOWN) != 0 ||
		((d->any & DIRT_OST) != 0 && d->ost_losses != ost_losses);
}

/* ---- operations on a model ---- */

static int apply_make(
	struct model *m, const struct model_cred *cred, const struct op *op, uint32_t *ret_id)
{
	char target[300];
	struct model_create req = {
		.dir = op->id, .name = tree_name(op->name), .mode = op->mode, .umask = 022};

	if (op->kind == OP_SYMLINK) {
		tree_target(op, target, sizeof(target));
		req.target = target;
	}
	return model_create(m, cred, TREE_TIME_UNKNOWN, &req, ret_id);
}

static int may_open(struct model *m, const struct model_cred *cred, uint32_t id, unsigned flags)
{
	struct model_attr attr;
	int r = model_getattr(m, id, &attr);
	bool writes = (flags & O_ACCMODE) != O_RDONLY;

	if (r == 0 && S_ISDIR(attr.mode) && writes) {
		r = -EISDIR;
	}
	if (r == 0) {
		unsigned mask = (flags & O_ACCMODE) == O_WRONLY ? 2 : (writes ? 6 : 4);

		r = model_access(m, cred, id, mask);
	}
	return r;
}

static void truncate_to(struct model *m, uint32_t id, uint64_t size)
{
	struct model_cred root;
	struct model_setattr set = {
		.id = id, .valid = MODEL_SIZE, .size = size, .open_writable = true};

	tree_model_cred(false, &root);
	if (model_setattr(m, &root, TREE_TIME_UNKNOWN, &set) != 0) {
		abort();
	}
}

static int apply_open(struct model *m, struct tree_handle *handles, const struct model_cred *cred,
	const struct op *op, uint32_t id)
{
	int r = may_open(m, cred, id, op->flags);

	if (r != 0) {
		return r;
	}
	if ((op->flags & O_TRUNC) != 0) {
		truncate_to(m, id, 0);
	}
	model_open(m, id);
	handles[op->handle] = (struct tree_handle){.id = id, .flags = op->flags};
	return 0;
}

static int apply_create(struct model *m, struct tree_handle *handles, const struct model_cred *cred,
	const struct op *op, uint32_t *ret_id)
{
	int r = model_lookup(m, cred, op->id, tree_name(op->name), ret_id);

	if (r == 0) {
		return (op->flags & O_EXCL) != 0 ? -EEXIST
						 : apply_open(m, handles, cred, op, *ret_id);
	}
	if (r != -ENOENT) {
		return r;
	}
	r = apply_make(m, cred, op, ret_id);
	if (r == 0) {
		model_open(m, *ret_id);
		handles[op->handle] = (struct tree_handle){.id = *ret_id, .flags = op->flags};
	}
	return r;
}

static int apply_setattr(struct model *m, const struct model_cred *cred, const struct op *op)
{
	struct model_setattr set = {.id = op->id,
		.mode = op->mode,
		.uid = op->uid,
		.gid = op->gid,
		.size = op->len,
		.atime = op->time_ns,
		.mtime = op->time_ns};

	set.valid |= (op->valid & CLIENT_SET_MODE) != 0 ? MODEL_MODE : 0;
	set.valid |= (op->valid & CLIENT_SET_UID) != 0 ? MODEL_UID : 0;
	set.valid |= (op->valid & CLIENT_SET_GID) != 0 ? MODEL_GID : 0;
	set.valid |= (op->valid & CLIENT_SET_SIZE) != 0 ? MODEL_SIZE : 0;
	set.valid |= (op->valid & CLIENT_SET_ATIME) != 0 ? MODEL_ATIME : 0;
	set.valid |= (op->valid & CLIENT_SET_MTIME) != 0 ? MODEL_MTIME : 0;
	return model_setattr(m, cred, TREE_TIME_UNKNOWN, &set);
}

static int apply_setxattr(struct model *m, const struct model_cred *cred, const struct op *op)
{
	uint8_t value[TREE_XATTR_MAX];
	struct model_setxattr req = {.id = op->id,
		.name = tree_xattr(op->name),
		.value = value,
		.len = op->len,
		.flags = (int)op->flags};

	tree_bytes(op->pattern, 0, value, op->len);
	return model_setxattr(m, cred, TREE_TIME_UNKNOWN, &req);
}

static int apply_write(struct model *m, const struct tree_handle *h, const struct op *op)
{
	static uint8_t data[TREE_FILE_MAX];
	struct model_attr attr;
	uint64_t off = op->off;

	if (h->id == 0 || model_getattr(m, h->id, &attr) != 0) {
		return -EBADF;
	}
	if ((h->flags & O_APPEND) != 0) {
		off = attr.size;
	}
	ASSERT(op->len <= sizeof(data));
	/* What is appended does not depend on where it comes to lie: a loss may move that. */
	tree_bytes(op->pattern, (h->flags & O_APPEND) != 0 ? 0 : off, data, op->len);
	return model_write(m, TREE_TIME_UNKNOWN, h->id, off, data, op->len);
}

static int apply_close(struct model *m, struct tree_handle *h)
{
	if (h->id == 0) {
		return -EBADF;
	}
	model_close(m, h->id);
	h->id = 0;
	return 0;
}

static int apply_rename(struct model *m, const struct model_cred *cred, const struct op *op)
{
	struct model_rename req = {.sdir = op->id,
		.sname = tree_name(op->name),
		.ddir = op->id2,
		.dname = tree_name(op->name2),
		.noreplace = op->flags == RENAME_NOREPLACE,
		.exchange = op->flags == RENAME_EXCHANGE};

	return model_rename(m, cred, TREE_TIME_UNKNOWN, &req);
}

int tree_apply(struct model *m, struct tree_handle *handles, const struct op *op, uint32_t *ret_id)
{
	struct model_cred cred;

	tree_model_cred(op->user, &cred);
	switch (op->kind) {
	case OP_MKNOD:
	case OP_MKDIR:
	case OP_SYMLINK:
		return apply_make(m, &cred, op, ret_id);
	case OP_CREATE:
		return apply_create(m, handles, &cred, op, ret_id);
	case OP_LINK:
		return model_link(
			m, &cred, TREE_TIME_UNKNOWN, op->id2, op->id, tree_name(op->name));
	case OP_UNLINK:
	case OP_RMDIR:
		return model_unlink(m, &cred, TREE_TIME_UNKNOWN, op->id, tree_name(op->name),
			op->kind == OP_RMDIR);
	case OP_RENAME:
		return apply_rename(m, &cred, op);
	case OP_SETATTR:
		return apply_setattr(m, &cred, op);
	case OP_SETXATTR:
		return apply_setxattr(m, &cred, op);
	case OP_REMOVEXATTR:
		return model_removexattr(m, &cred, TREE_TIME_UNKNOWN, op->id, tree_xattr(op->name));
	case OP_OPEN:
		*ret_id = op->id;
		return apply_open(m, handles, &cred, op, op->id);
	case OP_CLOSE:
		return apply_close(m, &handles[op->handle]);
	case OP_WRITE:
		return apply_write(m, &handles[op->handle], op);
	default:
		abort();
	}
}

/* ---- operations on the tree ---- */

static uint64_t size_of(const struct tree *t, uint32_t id)
{
	struct model_attr attr;

	return id != 0 && model_getattr(t->now, id, &attr) == 0 ? attr.size : 0;
}

/* The file whose content it may change; 0 none. */
static uint32_t content_of(const struct tree *t, const struct op *op)
{
	struct model_cred root;
	uint32_t id = 0;

	tree_model_cred(false, &root);
	switch (op->kind) {
	case OP_WRITE:
		return t->handles[op->handle].id;
	case OP_SETATTR:
		return (op->valid & CLIENT_SET_SIZE) != 0 ? op->id : 0;
	case OP_OPEN:
		return (op->flags & O_TRUNC) != 0 ? op->id : 0;
	case OP_CREATE:
		if (model_lookup(t->now, &root, op->id, tree_name(op->name), &id) != 0) {
			return 0;
		}
		return (op->flags & O_TRUNC) != 0 ? id : 0;
	default:
		return 0;
	}
}

/* What was not fsynced and is cut off cannot come back: the cut is durable before it is answered. */
static void cut(struct tree *t, uint32_t id, uint64_t size)
{
	struct dirt *d = tree_dirt(t, id);

	for (uint64_t i = size; d != NULL && d->bits != NULL && i < d->high; i++) {
		d->bits[i] &= (uint8_t)~DIRT_OST;
	}
}

static void content_mark(
	struct tree *t, const struct op *op, uint32_t id, uint64_t before, unsigned ost_losses)
{
	uint64_t after = size_of(t, id);
	uint64_t from = u64_min(before, after);
	uint64_t to = u64_max(before, after);
	unsigned bits = DIRT_MDT;
	struct dirt *d;

	if (after > LIM_INLINE_MAX || before > LIM_INLINE_MAX) {
		tree_striped(t, id);
		tree_dirt(t, id)->surely = true;
	}
	d = tree_dirt(t, id);
	if (op->kind == OP_WRITE) {
		uint64_t off = (t->handles[op->handle].flags & O_APPEND) != 0 ? before : op->off;

		from = u64_min(before, off);
		to = off + op->len;
		bits |= d != NULL && d->striped ? DIRT_OST : 0;
	} else {
		cut(t, id, after);
		if (after == 0 && d != NULL) {
			/* An empty file may be the MDT's again. */
			d->surely = false;
		}
	}
	tree_mark(t, id, from, to, bits, ost_losses);
}

/* Where a write to objects went: its handle may mean nothing when the journal is gone through. */
static void objects_note(struct tree *t, struct op *op, uint32_t id, uint64_t before)
{
	const struct dirt *d = tree_dirt(t, id);

	if (op->kind != OP_WRITE || d == NULL || !d->striped) {
		return;
	}
	if (!d->surely) {
		/* The MDT may hold it, and forget it, or not. */
		tree_mark(t, id, u64_min(before, op->off), TREE_FILE_MAX, DIRT_UNKNOWN,
			d->ost_losses);
		return;
	}
	op->to_objects = true;
	op->id = id;
	op->id2 = 0;
	if ((t->handles[op->handle].flags & O_APPEND) != 0) {
		op->id2 = 1;
		op->off = before;
	}
}

void tree_apply_objects(struct model *m, const struct op *op)
{
	static uint8_t data[TREE_FILE_MAX];

	if (!op->to_objects || model_node(m, op->id) == NULL) {
		return;
	}
	ASSERT(op->len <= sizeof(data));
	tree_bytes(op->pattern, op->id2 != 0 ? 0 : op->off, data, op->len);
	if (model_write(m, TREE_TIME_UNKNOWN, op->id, op->off, data, op->len) != 0) {
		abort();
	}
}

int tree_do(struct tree *t, const struct op *op, unsigned ost_losses, uint32_t *ret_id)
{
	uint32_t content = content_of(t, op);
	uint64_t before = size_of(t, content);
	int r = tree_apply(t->now, t->handles, op, ret_id);

	if (t->journal_len == t->journal_cap) {
		t->journal_cap = t->journal_cap == 0 ? 64 : t->journal_cap * 2;
		t->journal = model_alloc(t->journal, t->journal_cap * sizeof(*t->journal));
	}
	t->journal[t->journal_len++] = *op;
	if (r == 0 && content != 0) {
		content_mark(t, op, content, before, ost_losses);
		objects_note(t, &t->journal[t->journal_len - 1], content, before);
	}
	return r;
}

void tree_based(struct tree *t)
{
	model_free(t->base);
	t->base = model_clone(t->now);
	memcpy(t->base_handles, t->handles, sizeof(t->handles));
	t->journal_len = 0;
	for (uint32_t id = 1; id <= t->cap; id++) {
		tree_dirt_clear(t, id, DIRT_MDT);
	}
}
