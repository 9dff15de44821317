/* Random operations: see worker.h. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include "worker.h"

/* Directories and files alive are kept about this many. */
#define LIVE_MAX 40u

static uint64_t rnd(struct worker *w, uint64_t below)
{
	return prng_below(&w->rng, below);
}

static bool chance(struct worker *w, unsigned percent)
{
	return rnd(w, 100) < percent;
}

/* A random living node of a type (0: any) with a name; 0: none found. */
static uint32_t pick(struct worker *w, uint32_t type)
{
	uint32_t count = model_count(w->tree->now);

	for (unsigned i = 0; i < 24; i++) {
		uint32_t id = 1 + (uint32_t)rnd(w, count);
		struct model_attr attr;

		if (model_getattr(w->tree->now, id, &attr) == 0 && attr.nlink > 0 &&
			(type == 0 || (attr.mode & S_IFMT) == type)) {
			return id;
		}
	}
	return 0;
}

static uint32_t pick_dir(struct worker *w)
{
	uint32_t id = chance(w, 40) ? 0 : pick(w, S_IFDIR);

	/* Now and then something that is none, or is gone. */
	if (chance(w, 2)) {
		id = 1 + (uint32_t)rnd(w, model_count(w->tree->now));
	}
	if (id != 0 && fid_is_zero(tree_fid(w->tree, id))) {
		id = 0;
	}
	return id == 0 ? MODEL_ROOT : id;
}

static uint32_t pick_node(struct worker *w, uint32_t type)
{
	uint32_t id = pick(w, type);

	return id == 0 || fid_is_zero(tree_fid(w->tree, id)) ? MODEL_ROOT : id;
}

static unsigned live_count(const struct worker *w)
{
	unsigned n = 0;

	for (uint32_t id = 1; id <= model_count(w->tree->now); id++) {
		struct model_attr attr;

		n += model_getattr(w->tree->now, id, &attr) == 0;
	}
	return n;
}

/* A slot whose handle is closed (want_open false) or open with a mode (flags O_ACCMODE allowed); -1. */
static int pick_handle(struct worker *w, bool want_open, bool write)
{
	unsigned first = (unsigned)rnd(w, TREE_HANDLES);

	for (unsigned i = 0; i < TREE_HANDLES; i++) {
		unsigned slot = (first + i) % TREE_HANDLES;
		const struct tree_handle *h = &w->tree->handles[slot];
		int acc = (int)(h->flags & O_ACCMODE);
		struct dirt *d = tree_dirt(w->tree, h->id);

		if ((h->id != 0) != want_open) {
			continue;
		}
		if (!want_open) {
			return (int)slot;
		}
		if (acc != (write ? O_RDONLY : O_WRONLY) && (d == NULL || !d->broken)) {
			return (int)slot;
		}
	}
	return -1;
}

static uint32_t random_mode(struct worker *w)
{
	static const uint32_t modes[] = {0777, 0755, 0644, 0600, 0700, 0666, 0775};

	return modes[rnd(w, ARRAY_SIZE(modes))];
}

static void gen_make(struct worker *w, struct op *op)
{
	static const enum op_kind kinds[] = {OP_MKDIR, OP_MKDIR, OP_MKNOD, OP_SYMLINK};
	static const uint32_t types[] = {S_IFREG, S_IFREG, S_IFIFO, S_IFSOCK};

	op->kind = kinds[rnd(w, ARRAY_SIZE(kinds))];
	op->id = pick_dir(w);
	op->mode = random_mode(w);
	op->user = chance(w, 10);
	switch (op->kind) {
	case OP_MKDIR:
		op->mode |= S_IFDIR | (chance(w, 10) ? (uint32_t)S_ISGID : 0);
		break;
	case OP_SYMLINK:
		op->mode = S_IFLNK | 0777;
		break;
	default:
		op->mode |= types[rnd(w, ARRAY_SIZE(types))];
		break;
	}
}

static void gen_remove(struct worker *w, struct op *op)
{
	op->kind = chance(w, 70) ? OP_UNLINK : OP_RMDIR;
	op->id = pick_dir(w);
	op->user = chance(w, 5);
}

static void gen_rename(struct worker *w, struct op *op)
{
	static const unsigned flags[] = {0, 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE};

	op->kind = OP_RENAME;
	op->id = pick_dir(w);
	op->id2 = chance(w, 50) ? op->id : pick_dir(w);
	op->flags = flags[rnd(w, ARRAY_SIZE(flags))];
	op->user = chance(w, 5);
}

static void gen_setattr(struct worker *w, struct op *op)
{
	static const unsigned kinds[] = {CLIENT_SET_MODE, CLIENT_SET_UID | CLIENT_SET_GID,
		CLIENT_SET_ATIME | CLIENT_SET_MTIME, CLIENT_SET_MODE | CLIENT_SET_MTIME};

	op->kind = OP_SETATTR;
	op->id = pick_node(w, 0);
	op->valid = kinds[rnd(w, ARRAY_SIZE(kinds))];
	op->mode = random_mode(w);
	op->uid = chance(w, 50) ? 0 : 1000;
	op->gid = chance(w, 50) ? 0 : 1000 + (uint32_t)rnd(w, 2);
	op->time_ns =
		(int64_t)(1000000000 + rnd(w, 1000)) * (int64_t)NS_PER_S + (int64_t)rnd(w, 1000);
	op->user = chance(w, 10);
}

static void gen_xattr(struct worker *w, struct op *op)
{
	static const unsigned flags[] = {0, 0, XATTR_CREATE, XATTR_REPLACE};

	op->kind = chance(w, 70) ? OP_SETXATTR : OP_REMOVEXATTR;
	op->id = pick_node(w, 0);
	op->name = (uint8_t)rnd(w, TREE_XATTRS);
	op->len = chance(w, 20) ? rnd(w, TREE_XATTR_MAX) : rnd(w, 60);
	op->flags = flags[rnd(w, ARRAY_SIZE(flags))];
	op->user = chance(w, 10);
}

static void gen_look(struct worker *w, struct op *op)
{
	static const enum op_kind kinds[] = {
		OP_LOOKUP, OP_GETATTR, OP_READLINK, OP_READDIR, OP_GETXATTR, OP_GETATTR};
	struct model_attr attr;

	op->kind = kinds[rnd(w, ARRAY_SIZE(kinds))];
	op->id = op->kind == OP_LOOKUP || op->kind == OP_READDIR ? pick_dir(w) : pick_node(w, 0);
	if (op->kind == OP_READLINK && chance(w, 80)) {
		op->id = pick_node(w, S_IFLNK);
	}
	if (op->kind == OP_GETXATTR) {
		op->name = (uint8_t)rnd(w, TREE_XATTRS);
	}
	if (op->kind == OP_READDIR && model_getattr(w->tree->now, op->id, &attr) == 0 &&
		!S_ISDIR(attr.mode)) {
		op->id = MODEL_ROOT;
	}
	op->user = chance(w, 5);
}

static void gen_name(struct worker *w, struct op *op)
{
	unsigned dice = (unsigned)rnd(w, 100);

	op->name = (uint8_t)rnd(w, TREE_NAMES);
	op->name2 = (uint8_t)rnd(w, TREE_NAMES);
	if (live_count(w) > LIVE_MAX && dice < 50) {
		gen_remove(w, op);
	} else if (dice < 30) {
		gen_make(w, op);
	} else if (dice < 42) {
		gen_remove(w, op);
	} else if (dice < 55) {
		gen_rename(w, op);
	} else if (dice < 62) {
		op->kind = OP_LINK;
		op->id = pick_dir(w);
		op->id2 = pick_node(w, chance(w, 90) ? S_IFREG : 0);
	} else if (dice < 70) {
		gen_setattr(w, op);
	} else if (dice < 78) {
		gen_xattr(w, op);
	} else if (dice < 80) {
		op->kind = OP_SYNC;
	} else {
		gen_look(w, op);
	}
}

/* ---- contents ---- */

/* open(O_CREAT) of what is there is for regular files: a kernel opens others without it. */
static bool may_reopen(const struct worker *w, const struct op *op)
{
	struct model_cred root;
	struct model_attr attr;
	uint32_t id = 0;

	tree_model_cred(false, &root);
	if (model_lookup(w->tree->now, &root, op->id, tree_name(op->name), &id) != 0) {
		return true;
	}
	return model_getattr(w->tree->now, id, &attr) == 0 && S_ISREG(attr.mode);
}

static void gen_open(struct worker *w, struct op *op)
{
	static const int accs[] = {O_RDWR, O_RDWR, O_RDONLY, O_WRONLY};
	int slot = pick_handle(w, false, false);

	if (slot < 0) {
		op->kind = OP_CLOSE;
		op->handle = (uint8_t)rnd(w, TREE_HANDLES);
		return;
	}
	op->handle = (uint8_t)slot;
	op->flags = (unsigned)accs[rnd(w, ARRAY_SIZE(accs))];
	op->flags |= chance(w, 15) && op->flags != O_RDONLY ? O_APPEND : 0;
	op->flags |= chance(w, 10) && op->flags != O_RDONLY ? O_TRUNC : 0;
	op->flags |= chance(w, 5) && op->flags != O_RDONLY ? O_SYNC : 0;
	op->id = pick_node(w, S_IFREG);
	if (op->id != MODEL_ROOT && chance(w, 45)) {
		op->kind = OP_OPEN;
		return;
	}
	op->kind = OP_CREATE;
	op->id = pick_dir(w);
	op->name = (uint8_t)rnd(w, TREE_NAMES);
	op->mode = S_IFREG | random_mode(w);
	op->flags |= O_CREAT | (chance(w, 50) || !may_reopen(w, op) ? O_EXCL : 0);
	op->stripe_count = w->profile.stripes && chance(w, 30) ? (uint16_t)(1 + rnd(w, 8)) : 0;
}

static uint64_t random_offset(struct worker *w, uint64_t size)
{
	static const uint64_t edges[] = {0, LIM_INLINE_MAX, 4096, 65536, 131072, 262144};

	if (!chance(w, w->profile.big_percent)) {
		return chance(w, 50) ? u64_min(size, 3000) : rnd(w, 3000);
	}
	switch (rnd(w, 4)) {
	case 0:
		return size;
	case 1: {
		uint64_t edge = edges[rnd(w, ARRAY_SIZE(edges))];

		return edge - u64_min(edge, rnd(w, 200)) + rnd(w, 100);
	}
	case 2:
		return rnd(w, TREE_FILE_MAX);
	default:
		return rnd(w, 20000);
	}
}

static uint64_t random_length(struct worker *w)
{
	if (!chance(w, w->profile.big_percent)) {
		return 1 + rnd(w, 900);
	}
	switch (rnd(w, 8)) {
	case 0:
		return 1 + rnd(w, 200000);
	case 1:
		return 65536;
	case 2:
		return 1 + rnd(w, 70000);
	default:
		return 1 + rnd(w, 9000);
	}
}

static void gen_io(struct worker *w, struct op *op, bool write)
{
	int slot = pick_handle(w, true, write);
	struct model_attr attr = {0};
	uint64_t size;

	if (slot < 0) {
		gen_open(w, op);
		return;
	}
	op->kind = write ? OP_WRITE : OP_READ;
	op->handle = (uint8_t)slot;
	if (model_getattr(w->tree->now, w->tree->handles[slot].id, &attr) != 0) {
		abort();
	}
	size = attr.size;
	op->off = u64_min(random_offset(w, size), TREE_FILE_MAX - 1);
	op->len = random_length(w);
	if (write && (w->tree->handles[slot].flags & O_APPEND) != 0) {
		op->off = size;
	}
	if (op->off >= TREE_FILE_MAX) {
		op->kind = OP_READ;
		op->kind =
			(w->tree->handles[slot].flags & O_ACCMODE) == O_WRONLY ? OP_FSYNC : OP_READ;
	}
	op->len = u64_min(op->len, TREE_FILE_MAX - u64_min(op->off, TREE_FILE_MAX - 1));
}

static void gen_truncate(struct worker *w, struct op *op)
{
	uint32_t id = pick_node(w, S_IFREG);
	struct dirt *d = tree_dirt(w->tree, id);
	struct model_attr attr;

	if (id == MODEL_ROOT || (d != NULL && d->broken) ||
		model_getattr(w->tree->now, id, &attr) != 0) {
		gen_io(w, op, true);
		return;
	}
	op->kind = OP_SETATTR;
	op->id = id;
	op->valid = CLIENT_SET_SIZE;
	op->len = u64_min(
		chance(w, 50) ? rnd(w, attr.size + 1) : random_offset(w, attr.size), TREE_FILE_MAX);
}

static void gen_data(struct worker *w, struct op *op)
{
	unsigned dice = (unsigned)rnd(w, 100);
	int slot;

	op->name = (uint8_t)rnd(w, TREE_NAMES);
	if (chance(w, w->profile.truncate_percent)) {
		gen_truncate(w, op);
	} else if (dice < 18) {
		gen_open(w, op);
	} else if (dice < 28) {
		op->kind = OP_CLOSE;
		op->handle = (uint8_t)rnd(w, TREE_HANDLES);
	} else if (dice < 62) {
		gen_io(w, op, true);
	} else if (dice < 82) {
		gen_io(w, op, false);
	} else if (dice < 90) {
		gen_truncate(w, op);
	} else {
		slot = pick_handle(w, true, true);
		op->kind = slot < 0 ? OP_SYNC : OP_FSYNC;
		op->handle = (uint8_t)(slot < 0 ? 0 : slot);
	}
}

void worker_generate(struct worker *w, struct op *op)
{
	if (w->script != NULL) {
		*op = w->script[w->ops_done];
		return;
	}
	memset(op, 0, sizeof(*op));
	op->pattern = prng_next(&w->rng);
	if (chance(w, w->profile.data_percent)) {
		gen_data(w, op);
	} else {
		gen_name(w, op);
	}
	if (op->kind == OP_CLOSE && w->tree->handles[op->handle].id == 0) {
		gen_open(w, op);
	}
}
