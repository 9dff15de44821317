/* Doing one operation on the client and checking its answer: see worker.h. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "layout/layout.h"
#include "model/model_int.h"
#include "worker.h"

static const char *const op_names[OP_KINDS] = {"mknod", "mkdir", "symlink", "create", "link",
	"unlink", "rmdir", "rename", "setattr", "setxattr", "removexattr", "open", "close", "write",
	"read", "fsync", "sync", "lookup", "getattr", "readlink", "readdir", "getxattr"};

static void fail_op(struct worker *w, const struct op *op, int rc, const char *what) _noreturn_;

void op_text(const struct op *op, char *buf)
{
	snprintf(buf, OP_TEXT_MAX,
		"%s id %u id2 %u name %u name2 %u handle %u off %" PRIu64 " len %" PRIu64
		" mode %o flags 0x%x valid %u%s",
		op_names[op->kind], op->id, op->id2, op->name, op->name2, op->handle, op->off,
		op->len, op->mode, op->flags, op->valid, op->user ? " by a user" : "");
}

static void fail_op(struct worker *w, const struct op *op, int rc, const char *what)
{
	char text[OP_TEXT_MAX];

	op_text(op, text);
	cluster_fail(w->cluster,
		"%s: operation %u: %s (handle's node %u flags 0x%x): answered %s: %s", w->name,
		w->ops_done, text, w->tree->handles[op->handle].id,
		w->tree->handles[op->handle].flags, ne_name(rc), what);
}

/* ---- doing ---- */

static int run_make(struct worker *w, const struct op *op, const struct client_cred *cred)
{
	struct client_create how = {.mode = op->mode, .umask = 022};
	struct client_attr attr;
	char target[300];
	int err;

	if (op->kind == OP_SYMLINK) {
		tree_target(op, target, sizeof(target));
		how.target = target;
	}
	err = client_create(
		w->cl->client, cred, tree_fid(w->tree, op->id), tree_name(op->name), &how, &attr);
	if (err == 0) {
		tree_fid_set(w->tree, model_count(w->tree->now) + 1, attr.fid);
	}
	return err;
}

static size_t stripes_encode(const struct worker *w, const struct op *op, void *buf, size_t cap)
{
	static struct lov_md md;
	size_t len = 0;

	if (op->stripe_count == 0) {
		return 0;
	}
	memset(&md, 0, sizeof(md));
	md.pattern = LOV_PATTERN_RAID0;
	if (op->stripe_count > w->cluster->ost_count) {
		md.pattern |= LOV_PATTERN_OVERSTRIPED;
	}
	md.stripe_size = LIM_STRIPE_SIZE_MIN;
	md.stripe_count = op->stripe_count;
	md.stripe_offset = 0xffff;
	return lov_encode(&md, buf, cap, &len) == 0 ? len : 0;
}

/* A loss that has happened and that nobody has noticed yet is told to every handle when somebody does. */
static void opened_in_doubt(struct worker *w, const struct op *op, uint32_t id)
{
	w->lost_ok[op->handle] = tree_doubtful(w->tree, id, w->cluster->ost_losses);
}

static int run_create(struct worker *w, const struct op *op, const struct client_cred *cred)
{
	uint8_t lov[64];
	struct client_create how = {
		.mode = op->mode, .umask = 022, .open_flags = (int)op->flags, .lov = lov};
	struct client_attr attr;
	struct client_file *f = NULL;
	struct model_cred root;
	unsigned losses = w->cluster->mdt_losses;
	uint32_t id = 0;
	int err;

	how.lov_len = stripes_encode(w, op, lov, sizeof(lov));
	how.lov = how.lov_len == 0 ? NULL : lov;
	err = client_create_open(w->cl->client, cred,
		(struct client_entry){tree_fid(w->tree, op->id), tree_name(op->name)}, &how, &attr,
		&f);
	if (err != 0) {
		return err;
	}
	w->files[op->handle] = f;
	w->lost_ok[op->handle] = false;
	w->losses_at_open[op->handle] = w->ost_losses;
	tree_model_cred(false, &root);
	if (model_lookup(w->tree->now, &root, op->id, tree_name(op->name), &id) != 0) {
		tree_fid_set(w->tree, model_count(w->tree->now) + 1, attr.fid);
		return 0;
	}
	opened_in_doubt(w, op, id);
	/* The MDT may have forgotten what had the name. */
	if (losses == w->cluster->mdt_losses && !fid_eq(tree_fid(w->tree, id), attr.fid)) {
		fail_op(w, op, err, "it opened another file");
	}
	return 0;
}

static int run_open(struct worker *w, const struct op *op, const struct client_cred *cred)
{
	struct client_attr attr;
	int err = client_open(w->cl->client, cred, tree_fid(w->tree, op->id), (int)op->flags, &attr,
		&w->files[op->handle]);

	w->lost_ok[op->handle] = false;
	w->losses_at_open[op->handle] = w->ost_losses;
	opened_in_doubt(w, op, op->id);
	return err;
}

static int run_write(struct worker *w, const struct op *op, const struct client_cred *cred)
{
	bool append = (w->tree->handles[op->handle].flags & O_APPEND) != 0;
	struct iovec iov[2];
	size_t len = 0;
	int err;

	tree_bytes(op->pattern, append ? 0 : op->off, w->buf, op->len);
	iov[0] = (struct iovec){.iov_base = w->buf, .iov_len = op->len / 3};
	iov[1] = (struct iovec){.iov_base = w->buf + op->len / 3, .iov_len = op->len - op->len / 3};
	err = client_write(w->cl->client, cred, w->files[op->handle],
		(struct client_buffers){.iov = iov, .iov_count = 2, .off = op->off}, &len);
	if (err == 0 && len != op->len) {
		fail_op(w, op, err, "it wrote less than all");
	}
	return err;
}

static int run_setattr(struct worker *w, const struct op *op, const struct client_cred *cred)
{
	struct client_setattr set = {.valid = op->valid,
		.mode = op->mode,
		.uid = op->uid,
		.gid = op->gid,
		.size = op->len,
		.atime_ns = op->time_ns,
		.mtime_ns = op->time_ns};
	struct client_attr attr;

	return client_setattr(w->cl->client, cred, tree_fid(w->tree, op->id), NULL, &set, &attr);
}

static int run_change(struct worker *w, const struct op *op, const struct client_cred *cred)
{
	struct client *c = w->cl->client;
	struct fid dir = tree_fid(w->tree, op->id);
	struct client_attr attr;

	switch (op->kind) {
	case OP_LINK:
		return client_link(
			c, cred, tree_fid(w->tree, op->id2), dir, tree_name(op->name), &attr);
	case OP_UNLINK:
		return client_unlink(c, cred, dir, tree_name(op->name));
	case OP_RMDIR:
		return client_rmdir(c, cred, dir, tree_name(op->name));
	case OP_RENAME:
		return client_rename(c, cred, (struct client_entry){dir, tree_name(op->name)},
			(struct client_entry){tree_fid(w->tree, op->id2), tree_name(op->name2)},
			op->flags);
	case OP_SETXATTR:
		tree_bytes(op->pattern, 0, w->buf, op->len);
		return client_setxattr(c, cred, dir, tree_xattr(op->name), span_of(w->buf, op->len),
			(int)op->flags);
	case OP_REMOVEXATTR:
		return client_removexattr(c, cred, dir, tree_xattr(op->name));
	case OP_CLOSE:
		return client_release(c, TAKE_PTR(w->files[op->handle]));
	default:
		abort();
	}
}

/* ---- looking: the answer is checked right here ---- */

static void attr_check(
	struct worker *w, const struct op *op, uint32_t id, const struct client_attr *b)
{
	struct model_attr a;

	if (model_getattr(w->tree->now, id, &a) != 0) {
		fail_op(w, op, 0, "a node that is gone");
	}
	if (a.mode != b->mode || a.nlink != b->nlink || a.uid != b->uid || a.gid != b->gid) {
		fail_op(w, op, 0, "attributes differ");
	}
	if (!S_ISDIR(a.mode) && a.size != b->size &&
		!tree_doubtful(w->tree, id, w->cluster->ost_losses)) {
		cluster_fail(w->cluster,
			"%s: operation %u: %s: node %u has size %" PRIu64 ", not %" PRIu64, w->name,
			w->ops_done, op_names[op->kind], id, b->size, a.size);
	}
	if (tree_mtime_exact(w->tree, w->tree->now, id) && a.mtime != b->mtime_ns) {
		cluster_fail(w->cluster,
			"%s: operation %u: node %u has mtime %" PRId64 ", not %" PRId64, w->name,
			w->ops_done, id, b->mtime_ns, a.mtime);
	}
	if (!fid_eq(tree_fid(w->tree, id), b->fid)) {
		fail_op(w, op, 0, "FID differs");
	}
}

static int same_errno(struct worker *w, const struct op *op, int rc, int want)
{
	char text[64];

	/* A file that is gone stays a while after a restart: somebody might have it open. */
	if (want == -ESTALE && w->cluster->crashes > 0) {
		return rc;
	}
	if (ne_errno(rc) != -want) {
		snprintf(text, sizeof(text), "errno should be %d", -want);
		fail_op(w, op, rc, text);
	}
	return rc;
}

struct listing {
	struct worker *w;
	const struct op *op;
	unsigned count;
	uint64_t cookie;
	unsigned losses; /* when it began */
};

static int listed(void *ctx, const struct client_dirent *e_in)
{
	const char *name = e_in->name;
	struct fid fid = e_in->fid;
	uint32_t mode = e_in->mode;
	uint64_t next_cookie = e_in->next_cookie;
	const struct client_attr *attr = e_in->attr;
	struct listing *l = ctx;
	struct model_cred root;
	struct model_attr want;
	uint32_t id = 0;

	l->cookie = next_cookie;
	if (l->losses != l->w->cluster->mdt_losses) {
		return 0;
	}
	tree_model_cred(false, &root);
	if (model_lookup(l->w->tree->now, &root, l->op->id, name, &id) != 0 ||
		!fid_eq(tree_fid(l->w->tree, id), fid)) {
		fail_op(l->w, l->op, 0, "an entry that is not there");
	}
	if (model_getattr(l->w->tree->now, id, &want) != 0 ||
		(mode & S_IFMT) != (want.mode & S_IFMT)) {
		fail_op(l->w, l->op, 0, "an entry of another type");
	}
	if (attr != NULL) {
		attr_check(l->w, l->op, id, attr);
	}
	l->count++;
	return 0;
}

static int look_dir(struct worker *w, const struct op *op, const struct client_cred *cred)
{
	struct listing l = {.w = w, .op = op, .losses = w->cluster->mdt_losses};
	struct client_file *dir = NULL;
	struct client_attr attr;
	struct model_attr want;
	struct fid parent;
	unsigned losses = w->cluster->mdt_losses;
	bool end = false;
	int err =
		client_open(w->cl->client, cred, tree_fid(w->tree, op->id), O_RDONLY, &attr, &dir);

	if (err != 0) {
		return err;
	}
	while (err == 0 && !end && w->cluster->mdt_losses == losses) {
		err = client_readdir(w->cl->client, cred, dir,
			&(struct client_listing){.cookie = l.cookie,
				.bytes_max = 1200,
				.plus = op->pattern % 2 == 0,
				.fn = listed,
				.ctx = &l,
				.ret_parent = &parent,
				.ret_end = &end});
	}
	(void)client_release(w->cl->client, dir);
	if (err == 0 && w->cluster->mdt_losses == losses &&
		model_getattr(w->tree->now, op->id, &want) == 0 && S_ISDIR(want.mode) &&
		want.entries != l.count) {
		fail_op(w, op, err, "another number of entries");
	}
	return err;
}

static int look_getattr(struct worker *w, const struct op *op, const struct client_cred *cred)
{
	struct client_attr attr;
	unsigned losses = w->cluster->mdt_losses;
	int err = client_getattr(w->cl->client, cred, tree_fid(w->tree, op->id), NULL, &attr);

	if (err == 0 && losses == w->cluster->mdt_losses) {
		attr_check(w, op, op->id, &attr);
	}
	return err;
}

static int look_lookup(struct worker *w, const struct op *op, const struct client_cred *cred)
{
	struct client_attr attr;
	struct model_cred mc;
	uint32_t id = 0;
	unsigned losses = w->cluster->mdt_losses;
	int err = client_lookup(
		w->cl->client, cred, tree_fid(w->tree, op->id), tree_name(op->name), &attr);

	tree_model_cred(op->user, &mc);
	if (err == 0 && losses == w->cluster->mdt_losses &&
		model_lookup(w->tree->now, &mc, op->id, tree_name(op->name), &id) == 0) {
		attr_check(w, op, id, &attr);
	}
	return err;
}

static void read_check(struct worker *w, const struct op *op, size_t len, unsigned ost_losses)
{
	uint32_t id = w->tree->handles[op->handle].id;
	struct tree_view v = {.tree = w->tree,
		.m = w->tree->now,
		.excuses = DIRT_UNKNOWN,
		.ost_losses = w->cluster->ost_losses};
	uint64_t size = model_node(v.m, id)->attr.size;
	uint64_t want = op->off >= size ? 0 : u64_min(op->len, size - op->off);
	char text[96];
	int64_t bad;

	(void)ost_losses;
	if (len != want && !tree_doubtful(w->tree, id, w->cluster->ost_losses)) {
		snprintf(text, sizeof(text), "%zu bytes, not %" PRIu64, len, want);
		fail_op(w, op, 0, text);
	}
	bad = tree_content_check(&v, id, op->off, w->buf, u64_min(len, want));
	if (bad >= 0) {
		snprintf(text, sizeof(text), "byte %" PRId64 " is 0x%02x", bad,
			w->buf[bad - (int64_t)op->off]);
		fail_op(w, op, 0, text);
	}
}

static int look_read(struct worker *w, const struct op *op)
{
	struct iovec iov = {.iov_base = w->buf, .iov_len = op->len};
	unsigned losses = w->cluster->mdt_losses;
	size_t len = 0;
	int err = client_read(w->cl->client, w->files[op->handle], &iov, 1, op->off, &len);

	if (err == 0 && losses == w->cluster->mdt_losses) {
		read_check(w, op, len, w->cluster->ost_losses);
	}
	return err;
}

static int run_look(struct worker *w, const struct op *op, const struct client_cred *cred)
{
	struct client *c = w->cl->client;
	struct fid fid = tree_fid(w->tree, op->id);
	size_t len = 0;

	switch (op->kind) {
	case OP_READ:
		return look_read(w, op);
	case OP_FSYNC:
		return client_fsync(c, w->files[op->handle], op->pattern % 2 == 0);
	case OP_SYNC:
		return client_sync(c);
	case OP_LOOKUP:
		return look_lookup(w, op, cred);
	case OP_GETATTR:
		return look_getattr(w, op, cred);
	case OP_READLINK:
		return client_readlink(c, cred, fid, (char *)w->buf, 4096);
	case OP_READDIR:
		return look_dir(w, op, cred);
	case OP_GETXATTR:
		return client_getxattr(c, cred, fid, tree_xattr(op->name),
			(struct client_out){w->buf, 4096}, &len);
	default:
		abort();
	}
}

int worker_execute(struct worker *w, const struct op *op)
{
	struct client_cred cred = worker_cred(op->user);

	switch (op->kind) {
	case OP_MKNOD:
	case OP_MKDIR:
	case OP_SYMLINK:
		return run_make(w, op, &cred);
	case OP_CREATE:
		return run_create(w, op, &cred);
	case OP_OPEN:
		return run_open(w, op, &cred);
	case OP_WRITE:
		return run_write(w, op, &cred);
	case OP_SETATTR:
		return run_setattr(w, op, &cred);
	default:
		return op->kind >= OP_CHANGES ? run_look(w, op, &cred) : run_change(w, op, &cred);
	}
}

/* ---- checking ---- */

/* The whole content through a fresh handle becomes the model's: after a loss was told. */
static void content_adopt(struct worker *w, const struct op *op, uint32_t id)
{
	struct client_cred cred = worker_cred(false);
	struct client_file *f = NULL;
	struct client_attr attr;
	struct iovec iov = {.iov_base = w->buf, .iov_len = TREE_FILE_MAX + 1};
	struct tree_view v = {.tree = w->tree,
		.m = w->tree->now,
		.excuses = DIRT_UNKNOWN,
		.ost_losses = w->cluster->ost_losses};
	unsigned losses = w->cluster->mdt_losses;
	size_t len = 0;
	int64_t bad;
	int err = client_open(w->cl->client, &cred, tree_fid(w->tree, id), O_RDONLY, &attr, &f);

	if (err == 0) {
		err = client_read(w->cl->client, f, &iov, 1, 0, &len);
		(void)client_release(w->cl->client, f);
	}
	if (losses != w->cluster->mdt_losses) {
		return; /* the resync comes next */
	}
	/* A file without a name may be gone with this handle. */
	if (ne_errno(err) == EIO || (err == -NE_STALE && model_node(v.m, id)->attr.nlink == 0)) {
		tree_broken(w->tree, id);
		return;
	}
	if (err != 0) {
		fail_op(w, op, err, "reading after a loss");
	}
	v.ost_losses = w->cluster->ost_losses; /* one may have been during the read */
	bad = tree_content_check(&v, id, 0, w->buf, len);
	if (bad >= 0) {
		char text[96];

		snprintf(
			text, sizeof(text), "a loss took bytes that were safe: from %" PRId64, bad);
		fail_op(w, op, err, text);
	}
	struct model_node *n = model_node(w->tree->now, id);

	n->data = model_alloc(n->data, len);
	memcpy(n->data, w->buf, len);
	n->data_len = len;
	n->attr.size = len;
}

/* What was in doubt has been settled, unless the MDT lost power meanwhile: then the resync finds out. */
static void doubt_end(struct worker *w, uint32_t id)
{
	if (w->mdt_seen == w->cluster->mdt_losses) {
		tree_dirt_clear(w->tree, id, DIRT_OST | DIRT_UNKNOWN);
	} else {
		tree_mark(w->tree, id, 0, TREE_FILE_MAX, DIRT_UNKNOWN, w->ost_losses);
	}
}

static void lost_told(struct worker *w, const struct op *op, uint32_t id)
{
	if (!tree_doubtful(w->tree, id, w->cluster->ost_losses) && !w->lost_ok[op->handle] &&
		w->losses_at_open[op->handle] == w->cluster->ost_losses) {
		fail_op(w, op, -NE_LOST_WRITES, "nothing can have been lost");
	}
	w->lost_writes++;
	for (unsigned i = 0; i < TREE_HANDLES; i++) {
		w->lost_ok[i] = w->lost_ok[i] || w->tree->handles[i].id == id;
	}
	w->lost_ok[op->handle] = false;
	if (op->kind == OP_CLOSE && model_node(w->tree->now, id)->attr.nlink == 0) {
		/* With its last handle the file goes: there is nothing to look at. */
		tree_broken(w->tree, id);
		return;
	}
	content_adopt(w, op, id);
	if (op->kind == OP_CLOSE || w->mdt_seen != w->cluster->mdt_losses) {
		tree_mark(w->tree, id, 0, TREE_FILE_MAX, DIRT_UNKNOWN, w->ost_losses);
	}
}

/* fsync says that all of it is durable: then nothing may be missing, whatever happened to OSTs before. */
static void synced(struct worker *w, const struct op *op, uint32_t id)
{
	struct op read = {.kind = OP_READ, .handle = op->handle, .len = TREE_FILE_MAX};
	bool doubtful = tree_doubtful(w->tree, id, w->cluster->ost_losses);
	struct dirt *d = tree_dirt(w->tree, id);

	if (d != NULL && d->broken) {
		return;
	}
	/* A handle that was opened after a loss was noticed is not told of it: it sees what there is. */
	if (doubtful && w->losses_at_open[op->handle] != d->ost_losses) {
		content_adopt(w, op, id);
		doubtful = false;
	}
	doubt_end(w, id);
	if (doubtful && (w->tree->handles[op->handle].flags & O_ACCMODE) != O_WRONLY) {
		int rc = look_read(w, &read);

		if (rc != 0 && !worker_disk_failed(w, rc) &&
			w->mdt_seen == w->cluster->mdt_losses) {
			fail_op(w, &read, rc, "after an fsync that told of no loss");
		}
	}
}

static void check_sync(struct worker *w, const struct op *op, int rc)
{
	uint32_t id = w->tree->handles[op->handle].id;

	if (op->kind == OP_FSYNC && rc == -NE_LOST_WRITES) {
		lost_told(w, op, id);
		doubt_end(w, id);
	} else if (op->kind == OP_FSYNC && ne_errno(rc) == EIO &&
		tree_doubtful(w->tree, id, w->cluster->ost_losses)) {
		tree_broken(w->tree, id);
		return;
	} else if (rc != 0) {
		fail_op(w, op, rc, "it should work");
	} else if (op->kind == OP_FSYNC) {
		synced(w, op, id);
	}
	if (w->mdt_seen == w->cluster->mdt_losses) {
		tree_based(w->tree);
	}
}

static void check_look(struct worker *w, const struct op *op, int rc)
{
	struct model *m = w->tree->now;
	struct model_cred cred;
	const char *target = NULL;
	const void *value = NULL;
	struct model_attr attr;
	uint32_t id = 0;
	size_t len = 0;
	int r;

	tree_model_cred(op->user, &cred);
	switch (op->kind) {
	case OP_LOOKUP:
		same_errno(w, op, rc, model_lookup(m, &cred, op->id, tree_name(op->name), &id));
		return;
	case OP_GETATTR:
		same_errno(w, op, rc, model_getattr(m, op->id, &attr));
		return;
	case OP_READLINK:
		same_errno(w, op, rc, model_readlink(m, op->id, &target));
		if (rc == 0 && strcmp((char *)w->buf, target) != 0) {
			fail_op(w, op, rc, "another target");
		}
		return;
	case OP_READDIR:
		r = model_getattr(m, op->id, &attr);
		if (r == 0) {
			r = model_access(m, &cred, op->id, 4);
		}
		same_errno(w, op, rc, r == 0 && !S_ISDIR(attr.mode) ? -ENOTDIR : r);
		return;
	default:
		same_errno(w, op, rc,
			model_getxattr(m, &cred, op->id, tree_xattr(op->name), &value, &len));
		if (rc == 0 && memcmp(w->buf, value, len) != 0) {
			fail_op(w, op, rc, "another value");
		}
		return;
	}
}

static void check_read(struct worker *w, const struct op *op, int rc)
{
	uint32_t id = w->tree->handles[op->handle].id;

	if (ne_errno(rc) == EIO && tree_doubtful(w->tree, id, w->cluster->ost_losses)) {
		tree_broken(w->tree, id);
		return;
	}
	if (rc != 0) {
		fail_op(w, op, rc, "it should work");
	}
}

/* No space: a change of names did not happen; contents may have changed within the range written. */
static void check_nospace(struct worker *w, const struct op *op)
{
	uint32_t id = w->tree->handles[op->handle].id;

	w->nospace++;
	if (op->kind == OP_CREATE && w->files[op->handle] != NULL &&
		w->tree->handles[op->handle].id == 0) {
		fail_op(w, op, -NE_NOSPC, "a file was opened all the same");
	}
	if (op->kind == OP_WRITE) {
		uint64_t size = model_node(w->tree->now, id)->attr.size;
		bool append = (w->tree->handles[op->handle].flags & O_APPEND) != 0;
		uint64_t off = append ? size : op->off;

		tree_striped(w->tree, id);
		tree_mark(w->tree, id, u64_min(size, off), off + op->len, DIRT_UNKNOWN | DIRT_OST,
			w->ost_losses);
		/* The doubt stays until an fsync: the base does not know what was found. */
		content_adopt(w, op, id);
	}
}

static bool space_may_end(const struct worker *w, const struct op *op)
{
	switch (op->kind) {
	case OP_UNLINK:
	case OP_RMDIR:
	case OP_CLOSE:
		return false;
	case OP_REMOVEXATTR:
		/* It writes the inode anew: of the MDT's deletes only those of names use the reserve. */
		return w->cluster->opt.mdt_capacity_bytes != 0;
	default:
		return w->cluster->opt.space_short;
	}
}

bool worker_disk_failed(const struct worker *w, int rc)
{
	return rc != 0 && rc != -NE_LOST_WRITES && ne_errno(rc) == EIO &&
		w->cluster->opt.disk_errors && cluster_disk_errors(w->cluster) != w->disk_errors;
}

bool worker_half_done(const struct worker *w, const struct op *op, int rc)
{
	return rc == -NE_NOSPC && (op->kind == OP_OPEN || op->kind == OP_CREATE) &&
		(op->flags & O_TRUNC) != 0 && w->crashes != w->cluster->crashes;
}

void worker_check(struct worker *w, const struct op *op, int rc)
{
	uint32_t id = 0;
	uint32_t closing = w->tree->handles[op->handle].id;
	int r;

	if (op->kind == OP_READ) {
		check_read(w, op, rc);
		return;
	}
	if (op->kind == OP_FSYNC || op->kind == OP_SYNC) {
		check_sync(w, op, rc);
		return;
	}
	if (op->kind >= OP_CHANGES) {
		check_look(w, op, rc);
		return;
	}
	if (rc == -NE_NOSPC && space_may_end(w, op)) {
		check_nospace(w, op);
		return;
	}
	if (op->kind == OP_CLOSE && rc == -NE_LOST_WRITES) {
		lost_told(w, op, closing);
		rc = 0;
	}
	r = tree_do(w->tree, op, w->ost_losses, &id);
	same_errno(w, op, rc, r);
}
