/* See prop.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "prop.h"

#define MUST(cond) \
	do { \
		if (!(cond)) { \
			fprintf(stderr, "%s:%d: %s (operation %u)\n", __FILE__, __LINE__, #cond, \
				p->ops); \
			abort(); \
		} \
	} while (0)

enum prop_kind {
	P_CREATE,
	P_UNLINK,
	P_LINK,
	P_RENAME,
	P_SETATTR,
	P_XATTR,
	P_LOOK,
	P_READ,
	P_OPEN
};

static const struct prop_user users[] = {
	{.root = true},
	{.uid = 1000, .gid = 100, .group_count = 1, .groups = {200}},
	{.uid = 1001, .gid = 101, .group_count = 2, .groups = {100, 300}},
	{.uid = 1002, .gid = 102, .group_count = 0},
};

void prop_init(struct prop *p, uint64_t seed, unsigned hash_bits)
{
	memset(p, 0, sizeof(*p));
	prng_init(&p->rng, seed);
	mbox_init(&p->box, seed);
	p->box.opts.hash_bits = hash_bits;
	p->box.opts.root_mode = 0777;
	if (seed % 3 == 0) {
		/* Checkpoints all the time, and hardly anything cached: most reads have to be fetched. */
		p->box.opts.store.table_bytes = 16384;
		p->box.opts.store.cache_bytes = 4096;
	}
	mcli_init(&p->c, &p->box);
	mcli_init(&p->viewer, &p->box);
	p->fids = calloc(PROP_NODES_MAX, sizeof(*p->fids));
	p->fids[MODEL_ROOT] = fid_root();
}

void prop_fini(struct prop *p)
{
	model_free(p->model);
	free(p->fids);
	mcli_fini(&p->c);
	mcli_fini(&p->viewer);
	mbox_fini(&p->box);
}

void prop_attach(struct prop *p, uint64_t session)
{
	struct mds_peer peer;
	struct w_attr root;

	mcli_open(&p->c, session);
	mcli_peer(&peer, 2);
	peer.read_only = true;
	MUST(mcli_open_peer(&p->viewer, &peer, 0) == 0);
	if (p->model != NULL) {
		return;
	}
	mcli_as_root(&p->c);
	MUST(mcli_getattr(&p->c, fid_root(), &root) == 0);
	p->model = model_new(&(struct model_attr){.mode = root.mode,
		.atime = root.atime,
		.mtime = root.mtime,
		.ctime = root.ctime,
		.btime = root.btime});
}

/* ---- comparing ---- */

static bool attr_same(const struct model_attr *m, const struct w_attr *a, bool times)
{
	bool dir = S_ISDIR(m->mode);

	if (m->mode != a->mode || m->nlink != a->nlink || m->uid != a->uid || m->gid != a->gid ||
		m->rdev != a->rdev || (!dir && m->size != a->size) || m->entries != a->entries) {
		return false;
	}
	return !times ||
		(m->atime == a->atime && m->mtime == a->mtime && m->ctime == a->ctime &&
			m->btime == a->btime);
}

static void attr_print(uint32_t id, const struct model_attr *m, const struct w_attr *a)
{
	fprintf(stderr,
		"node %u: model mode=%o nlink=%u ids=%u:%u size=%" PRIu64 " entries=%" PRIu64
		" times=%" PRId64 " %" PRId64 " %" PRId64 "\n",
		id, m->mode, m->nlink, m->uid, m->gid, m->size, m->entries, m->atime, m->mtime,
		m->ctime);
	fprintf(stderr,
		"node %u: mds   mode=%o nlink=%u ids=%u:%u size=%" PRIu64 " entries=%" PRIu64
		" times=%" PRId64 " %" PRId64 " %" PRId64 "\n",
		id, a->mode, a->nlink, a->uid, a->gid, a->size, a->entries, a->atime, a->mtime,
		a->ctime);
}

static bool compare_node(struct prop *p, uint32_t id, bool times, bool quiet)
{
	struct model_attr m;
	struct w_attr a;
	int r;

	mcli_as_root(&p->viewer);
	r = mcli_getattr(&p->viewer, p->fids[id], &a);
	if (model_getattr(p->model, id, &m) < 0) {
		/* Never on the MDT either, or gone. */
		if (r == -NE_STALE || fid_is_zero(p->fids[id])) {
			return true;
		}
		MUST(quiet);
		return false;
	}
	if (r == 0 && attr_same(&m, &a, times)) {
		return true;
	}
	if (!quiet) {
		fprintf(stderr, "getattr: %s\n", ne_name(r));
		attr_print(id, &m, &a);
		abort();
	}
	return false;
}

/* Every name of the MDT's directory is in the model, and there are as many. */
static bool compare_dir(struct prop *p, uint32_t id, bool quiet)
{
	struct w_mds_readdir_req req = {
		.cred = p->viewer.cred, .fid = p->fids[id], .bytes_max = 4096};
	struct w_mds_readdir_rep rep;
	struct model_cred root = {.caps = UINT64_MAX};
	struct model_attr attr;
	uint64_t names = 0;
	bool same = true;

	do {
		struct wire_iter it;
		struct w_dirent e;

		MUST(mcli_call(&p->viewer, W_OP_MDS_READDIR, &req, &rep) == 0);
		it = w_dirent_iter(&rep.entries.view);
		while (w_dirent_next(&it, &e)) {
			char name[256];
			uint32_t child = 0;

			MUST(wire_str_copy(e.name, name, sizeof(name)) == 0);
			same = same && model_lookup(p->model, &root, id, name, &child) == 0 &&
				fid_eq(p->fids[child], e.fid);
			names++;
			req.cookie = e.cookie;
		}
	} while (!rep.end);
	MUST(model_getattr(p->model, id, &attr) == 0);
	same = same && names == attr.entries;
	MUST(same || quiet);
	return same;
}

bool prop_compare(struct prop *p, bool times, bool quiet)
{
	for (uint32_t id = 1; id <= model_count(p->model); id++) {
		struct model_attr attr;

		if (!compare_node(p, id, times, quiet)) {
			return false;
		}
		if (model_getattr(p->model, id, &attr) == 0 && S_ISDIR(attr.mode) &&
			!compare_dir(p, id, quiet)) {
			return false;
		}
	}
	return true;
}

/* ---- choosing ---- */

static uint64_t below(struct prop *p, uint64_t bound)
{
	return prng_below(&p->rng, bound);
}

/* A node; mostly one that lives, sometimes of the wanted type only by chance. */
static uint32_t any_node(struct prop *p, uint32_t type)
{
	uint32_t id = MODEL_ROOT;

	for (unsigned tries = 0; tries < 40; tries++) {
		struct model_attr attr;

		id = (uint32_t)below(p, model_count(p->model)) + 1;
		if (below(p, 100) == 0) {
			return id;
		}
		if (model_getattr(p->model, id, &attr) == 0 &&
			(type == 0 || (attr.mode & S_IFMT) == type)) {
			return id;
		}
	}
	return type == S_IFDIR ? MODEL_ROOT : id;
}

static const char *any_name(struct prop *p)
{
	static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g", "h",
		"a-rather-longer-name-of-a-file", "i", "j", "k", "l", "m", "n", "o"};

	return names[below(p, ARRAY_SIZE(names))];
}

static uint32_t any_mode(struct prop *p)
{
	uint32_t mode = (uint32_t)below(p, 01000);

	/* Mostly permissive, or nothing would ever succeed. */
	mode |= below(p, 4) != 0 ? 0755 : 0;
	mode |= below(p, 3) == 0 ? 0070 : 0;
	mode |= below(p, 3) == 0 ? 0007 : 0;
	mode |= below(p, 6) == 0 ? S_ISVTX : 0;
	mode |= below(p, 6) == 0 ? S_ISGID : 0;
	mode |= below(p, 10) == 0 ? S_ISUID : 0;
	return mode;
}

static void cred_of(const struct prop_user *u, struct model_cred *cred)
{
	*cred = (struct model_cred){.uid = u->uid, .gid = u->gid, .group_count = u->group_count};
	memcpy(cred->groups, u->groups, sizeof(u->groups));
	cred->caps = u->root ? UINT64_MAX : 0;
}

static void act_as(struct prop *p, const struct prop_user *u, bool groups)
{
	if (u->root) {
		mcli_as_root(&p->c);
	} else {
		mcli_as(&p->c, u->uid, u->gid, groups ? (int)u->group_count : -1, u->groups);
	}
}

/* ---- one operation ---- */

struct step {
	const struct prop_user *user;
	struct model_cred cred;
};

typedef int step_call_fn(struct prop *p, void *ctx);

/* Calls, first perhaps without groups, as a client does. */
static int step_call(struct prop *p, struct step *s, step_call_fn *fn, void *ctx)
{
	bool groups = below(p, 2) == 0;
	int r;

	if (p->dry) {
		return 0;
	}
	act_as(p, s->user, groups);
	r = fn(p, ctx);
	if (r == -NE_NEED_GROUPS) {
		MUST(!groups);
		p->asked_groups++;
		act_as(p, s->user, true);
		r = fn(p, ctx);
	}
	MUST(r != -NE_NEED_GROUPS);
	p->transno = u64_max(p->transno, p->c.transno);
	return r;
}

/* The time the MDT gave a change: later than the last, not later than its clock. */
static void learn_now(struct prop *p, int64_t ctime)
{
	if (p->dry) {
		return;
	}
	MUST(ctime >= p->now && ctime <= env_realtime(p->box.env));
	p->now = ctime;
}

static void same_result(struct prop *p, enum prop_kind kind, int mds, int model)
{
	if (p->dry) {
		return;
	}
	if (ne_errno(mds) != -model) {
		fprintf(stderr, "operation %u kind %d: mds %s, model errno %d (%s)\n", p->ops,
			(int)kind, ne_name(mds), -model, strerror(-model));
		abort();
	}
	if (mds == 0) {
		p->done[kind]++;
	} else {
		p->failed[kind]++;
	}
}

struct create_ctx {
	struct model_create m;
	struct w_attr attr;
};

static int create_call(struct prop *p, void *arg)
{
	struct create_ctx *ctx = arg;
	struct w_mds_create_req req = {.cred = p->c.cred,
		.parent = p->fids[ctx->m.dir],
		.name = wire_str_of(ctx->m.name),
		.mode = ctx->m.mode,
		.umask = ctx->m.umask,
		.rdev = ctx->m.rdev,
		.target = wire_str_of(ctx->m.target)};
	struct w_mds_create_rep rep;
	int r = mcli_call(&p->c, W_OP_MDS_CREATE, &req, &rep);

	if (r == 0) {
		ctx->attr = rep.info.attr;
		MUST(rep.created && rep.change.parents.count == 1);
	}
	return r;
}

static void step_create(struct prop *p, struct step *s)
{
	static const uint32_t types[] = {
		S_IFREG, S_IFREG, S_IFDIR, S_IFDIR, S_IFLNK, S_IFIFO, S_IFSOCK, S_IFCHR};
	static char target[1500];
	struct create_ctx ctx = {.m = {.rdev = 259}};
	struct model_attr attr;
	uint32_t id = 0;
	int r;

	/* One draw a statement: the order must not be the compiler's. */
	ctx.m.dir = any_node(p, S_IFDIR);
	ctx.m.name = any_name(p);
	memset(target, 'x', sizeof(target) - 1);
	ctx.m.mode = types[below(p, ARRAY_SIZE(types))];
	ctx.m.mode |= any_mode(p);
	ctx.m.umask = below(p, 2) == 0 ? 022 : 0;
	ctx.m.target = S_ISLNK(ctx.m.mode) ? target + below(p, sizeof(target) - 1) : "";
	r = step_call(p, s, create_call, &ctx);
	if (r == 0) {
		learn_now(p, ctx.attr.ctime);
	}
	same_result(p, P_CREATE, r, model_create(p->model, &s->cred, p->now, &ctx.m, &id));
	if (p->dry) {
		/* Under which FID it was made, if it was. */
		mcli_as_root(&p->c);
		if (id != 0 && mcli_lookup(&p->c, p->fids[ctx.m.dir], ctx.m.name, &ctx.attr) == 0) {
			p->fids[id] = ctx.attr.fid;
		}
	} else if (r == 0) {
		MUST(id < PROP_NODES_MAX);
		p->fids[id] = ctx.attr.fid;
		MUST(model_getattr(p->model, id, &attr) == 0);
		if (!attr_same(&attr, &ctx.attr, true)) {
			attr_print(id, &attr, &ctx.attr);
			abort();
		}
	}
}

struct unlink_ctx {
	uint32_t dir;
	const char *name;
	bool directory;
	int64_t ctime;
};

static int unlink_call(struct prop *p, void *arg)
{
	struct unlink_ctx *ctx = arg;
	struct w_mds_unlink_req req = {.cred = p->c.cred,
		.parent = p->fids[ctx->dir],
		.name = wire_str_of(ctx->name),
		.directory = ctx->directory};
	struct w_mds_unlink_rep rep;
	struct wire_iter it;
	struct w_attr parent;
	int r = mcli_call(&p->c, W_OP_MDS_UNLINK, &req, &rep);

	if (r == 0) {
		it = w_attr_iter(&rep.change.parents.view);
		MUST(w_attr_next(&it, &parent));
		ctx->ctime = parent.ctime;
	}
	return r;
}

/* Any name of a node. */
static bool name_find(
	const struct prop *p, uint32_t wanted, uint32_t *ret_dir, const char **ret_name)
{
	for (uint32_t dir = 1; dir <= model_count(p->model); dir++) {
		const char *name = NULL;
		unsigned pos = 0;
		uint32_t id = 0;

		while (model_dir_next(p->model, dir, &pos, &name, &id)) {
			if (id == wanted) {
				*ret_dir = dir;
				*ret_name = name;
				return true;
			}
		}
	}
	return false;
}

static void step_unlink(struct prop *p, struct step *s)
{
	struct unlink_ctx ctx = {.dir = any_node(p, S_IFDIR)};
	char name[256];
	struct model_cred root = {.caps = UINT64_MAX};
	struct model_attr attr;
	uint32_t id;
	int r;

	ctx.name = any_name(p);
	ctx.directory = below(p, 2) == 0;
	/* What is open loses its names more often than chance would have it. */
	if (p->open_count > 0 && below(p, 3) == 0) {
		name_find(p, p->opens[below(p, p->open_count)].id, &ctx.dir, &ctx.name);
	}
	if (model_lookup(p->model, &root, ctx.dir, ctx.name, &id) == 0 && below(p, 5) != 0 &&
		model_getattr(p->model, id, &attr) == 0) {
		ctx.directory = S_ISDIR(attr.mode);
	}
	/* The model frees its copy of the name. */
	snprintf(name, sizeof(name), "%s", ctx.name);
	ctx.name = name;
	r = step_call(p, s, unlink_call, &ctx);
	if (r == 0) {
		learn_now(p, ctx.ctime);
	}
	same_result(p, P_UNLINK, r,
		model_unlink(p->model, &s->cred, p->now, ctx.dir, ctx.name, ctx.directory));
}

struct link_ctx {
	uint32_t id;
	uint32_t dir;
	const char *name;
	int64_t ctime;
};

static int link_call(struct prop *p, void *arg)
{
	struct link_ctx *ctx = arg;
	struct w_attr attr;
	int r = mcli_link(&p->c, p->fids[ctx->id], p->fids[ctx->dir], ctx->name, &attr);

	ctx->ctime = attr.ctime;
	return r;
}

static void step_link(struct prop *p, struct step *s)
{
	struct link_ctx ctx = {.id = any_node(p, below(p, 8) == 0 ? 0 : S_IFREG)};
	int r;

	ctx.dir = any_node(p, S_IFDIR);
	ctx.name = any_name(p);
	r = step_call(p, s, link_call, &ctx);
	if (r == 0) {
		learn_now(p, ctx.ctime);
	}
	same_result(
		p, P_LINK, r, model_link(p->model, &s->cred, p->now, ctx.id, ctx.dir, ctx.name));
}

struct rename_ctx {
	struct model_rename m;
	int64_t ctime;
};

static int rename_call(struct prop *p, void *arg)
{
	struct rename_ctx *ctx = arg;
	struct w_mds_rename_req req = {.cred = p->c.cred,
		.src_parent = p->fids[ctx->m.sdir],
		.src_name = wire_str_of(ctx->m.sname),
		.dst_parent = p->fids[ctx->m.ddir],
		.dst_name = wire_str_of(ctx->m.dname),
		.flags = (ctx->m.noreplace ? W_RENAME_FLAGS_NOREPLACE : 0) |
			(ctx->m.exchange ? W_RENAME_FLAGS_EXCHANGE : 0)};
	struct w_mds_rename_rep rep;
	struct wire_iter it;
	struct w_attr parent;
	int r = mcli_call(&p->c, W_OP_MDS_RENAME, &req, &rep);

	if (r == 0) {
		it = w_attr_iter(&rep.change.parents.view);
		MUST(w_attr_next(&it, &parent));
		ctx->ctime = parent.ctime;
	}
	return r;
}

static void step_rename(struct prop *p, struct step *s)
{
	struct rename_ctx ctx = {.m = {.sdir = any_node(p, S_IFDIR)}};
	unsigned how = (unsigned)below(p, 6);
	int r;

	ctx.m.sname = any_name(p);
	ctx.m.dname = any_name(p);
	ctx.m.ddir = below(p, 3) == 0 ? ctx.m.sdir : any_node(p, S_IFDIR);
	ctx.m.noreplace = how == 0;
	ctx.m.exchange = how == 1;
	r = step_call(p, s, rename_call, &ctx);
	if (r == 0 && ctx.ctime > p->now) {
		learn_now(p, ctx.ctime);
	}
	same_result(p, P_RENAME, r, model_rename(p->model, &s->cred, p->now, &ctx.m));
}

struct setattr_ctx {
	struct model_setattr m;
	struct w_attr attr;
};

static int setattr_call(struct prop *p, void *arg)
{
	struct setattr_ctx *ctx = arg;
	const struct model_setattr *m = &ctx->m;
	struct w_mds_setattr_req req = {.cred = p->c.cred,
		.fid = p->fids[m->id],
		.mode = m->mode,
		.uid = m->uid,
		.gid = m->gid,
		.size = m->size,
		.atime = m->atime,
		.mtime = m->mtime};
	struct w_mds_setattr_rep rep;
	int r;

	/* The two tables of bits happen to have the same order, one with a gap. */
	static const struct {
		unsigned from;
		uint32_t to;
	} bits[] = {{MODEL_MODE, W_SETATTR_VALID_MODE}, {MODEL_UID, W_SETATTR_VALID_UID},
		{MODEL_GID, W_SETATTR_VALID_GID}, {MODEL_SIZE, W_SETATTR_VALID_SIZE},
		{MODEL_ATIME, W_SETATTR_VALID_ATIME}, {MODEL_ATIME_NOW, W_SETATTR_VALID_ATIME_NOW},
		{MODEL_MTIME, W_SETATTR_VALID_MTIME}, {MODEL_MTIME_NOW, W_SETATTR_VALID_MTIME_NOW}};
	for (size_t i = 0; i < ARRAY_SIZE(bits); i++) {
		req.valid |= (m->valid & bits[i].from) != 0 ? bits[i].to : 0;
	}
	r = mcli_call(&p->c, W_OP_MDS_SETATTR, &req, &rep);
	if (r == 0) {
		ctx->attr = rep.info.attr;
	}
	return r;
}

static void step_setattr(struct prop *p, struct step *s)
{
	static const unsigned valids[] = {MODEL_MODE, MODEL_MODE, MODEL_UID, MODEL_GID,
		MODEL_UID | MODEL_GID, MODEL_ATIME_NOW | MODEL_MTIME_NOW, MODEL_ATIME | MODEL_MTIME,
		MODEL_ATIME, MODEL_MTIME_NOW, MODEL_ATIME_NOW | MODEL_MTIME, 0, MODEL_SIZE,
		MODEL_SIZE, MODEL_MODE | MODEL_GID};
	static const uint32_t uids[] = {0, 1000, 1001, 1002};
	static const uint32_t gids[] = {0, 100, 101, 102, 200, 300};
	struct setattr_ctx ctx = {.m = {.id = any_node(p, 0)}};
	int r;

	ctx.m.mode = any_mode(p);
	ctx.m.valid = valids[below(p, ARRAY_SIZE(valids))];
	ctx.m.uid = uids[below(p, ARRAY_SIZE(uids))];
	ctx.m.gid = gids[below(p, ARRAY_SIZE(gids))];
	/* Within the inline limit: there are no OSTs here. */
	ctx.m.size = below(p, LIM_INLINE_MAX);
	ctx.m.atime = (int64_t)below(p, 1000000);
	ctx.m.mtime = (int64_t)below(p, 1000000) - 1000;
	r = step_call(p, s, setattr_call, &ctx);
	if (r == 0 && ctx.m.valid != 0) {
		learn_now(p, ctx.attr.ctime);
	}
	same_result(p, P_SETATTR, r, model_setattr(p->model, &s->cred, p->now, &ctx.m));
}

struct xattr_ctx {
	uint32_t id;
	char name[64];
	uint8_t value[3000];
	size_t len;
	uint32_t flags;
	int64_t ctime;
};

static int xattr_call(struct prop *p, void *arg)
{
	struct xattr_ctx *ctx = arg;
	struct w_mds_setxattr_req req = {.cred = p->c.cred,
		.fid = p->fids[ctx->id],
		.name = wire_str_of(ctx->name),
		.flags = ctx->flags,
		.value = wire_bytes_of(ctx->value, ctx->len)};
	struct w_mds_setxattr_rep rep;
	int r = mcli_call(&p->c, W_OP_MDS_SETXATTR, &req, &rep);

	if (r == 0) {
		ctx->ctime = rep.info.attr.ctime;
	}
	return r;
}

static int xattr_get_call(struct prop *p, void *arg)
{
	struct xattr_ctx *ctx = arg;
	struct w_mds_getxattr_req req = {
		.cred = p->c.cred, .fid = p->fids[ctx->id], .name = wire_str_of(ctx->name)};
	struct w_mds_getxattr_rep rep;
	int r = mcli_call(&p->c, W_OP_MDS_GETXATTR, &req, &rep);

	if (r == 0) {
		ctx->len = rep.value.len;
		memcpy(ctx->value, rep.value.ptr, rep.value.len);
	}
	return r;
}

static void step_xattr(struct prop *p, struct step *s)
{
	static const char *const spaces[] = {"user", "user", "user", "trusted", "security", "odd"};
	static const uint32_t flags[] = {0, 0, 0, W_SETXATTR_FLAGS_CREATE, W_SETXATTR_FLAGS_REPLACE,
		W_SETXATTR_FLAGS_REMOVE};
	/* Not on the fiber's stack, and not lost when the node crashes. */
	static struct xattr_ctx storage;
	struct xattr_ctx *ctx = &storage;
	const char *space;
	const void *value = NULL;
	size_t len = 0;
	int m;
	int r;

	ctx->id = any_node(p, 0);
	ctx->len = below(p, sizeof(ctx->value));
	ctx->flags = flags[below(p, ARRAY_SIZE(flags))];
	space = spaces[below(p, ARRAY_SIZE(spaces))];
	snprintf(ctx->name, sizeof(ctx->name), "%s.%s", space, below(p, 2) == 0 ? "one" : "two");
	prng_fill(&p->rng, ctx->value, ctx->len);
	r = step_call(p, s, xattr_call, ctx);
	if (r == 0) {
		learn_now(p, ctx->ctime);
	}
	if (ctx->flags == W_SETXATTR_FLAGS_REMOVE) {
		m = model_removexattr(p->model, &s->cred, p->now, ctx->id, ctx->name);
	} else {
		m = model_setxattr(p->model, &s->cred, p->now,
			&(struct model_setxattr){.id = ctx->id,
				.name = ctx->name,
				.value = ctx->value,
				.len = ctx->len,
				.flags = (int)ctx->flags});
	}
	same_result(p, P_XATTR, r, m);
	if (p->dry) {
		return;
	}
	r = step_call(p, s, xattr_get_call, ctx);
	m = model_getxattr(p->model, &s->cred, ctx->id, ctx->name, &value, &len);
	same_result(p, P_XATTR, r, m);
	MUST(r != 0 || (len == ctx->len && memcmp(value, ctx->value, len) == 0));
}

struct look_ctx {
	uint32_t dir;
	const char *name;
	struct w_attr attr;
	uint32_t mask;
};

static int look_call(struct prop *p, void *arg)
{
	struct look_ctx *ctx = arg;

	return mcli_lookup(&p->c, p->fids[ctx->dir], ctx->name, &ctx->attr);
}

static int access_call(struct prop *p, void *arg)
{
	struct look_ctx *ctx = arg;
	struct w_mds_access_req req = {
		.cred = p->c.cred, .fid = p->fids[ctx->dir], .mask = ctx->mask};
	struct w_mds_access_rep rep;

	return mcli_call(&p->c, W_OP_MDS_ACCESS, &req, &rep);
}

static void step_look(struct prop *p, struct step *s)
{
	struct look_ctx ctx = {.dir = any_node(p, S_IFDIR)};
	uint32_t id = 0;
	int r;

	ctx.name = any_name(p);
	if (p->dry) {
		return;
	}
	r = step_call(p, s, look_call, &ctx);
	same_result(p, P_LOOK, r, model_lookup(p->model, &s->cred, ctx.dir, ctx.name, &id));
	if (r == 0) {
		struct model_attr attr;

		MUST(fid_eq(ctx.attr.fid, p->fids[id]));
		MUST(model_getattr(p->model, id, &attr) == 0);
		MUST(attr_same(&attr, &ctx.attr, true));
	}
	ctx.dir = any_node(p, 0);
	ctx.mask = (uint32_t)below(p, 8);
	r = step_call(p, s, access_call, &ctx);
	same_result(p, P_LOOK, r, model_access(p->model, &s->cred, ctx.dir, ctx.mask));
}

static int readdir_call(struct prop *p, void *arg)
{
	struct look_ctx *ctx = arg;
	struct w_mds_readdir_req req = {
		.cred = p->c.cred, .fid = p->fids[ctx->dir], .bytes_max = 4096, .plus = true};
	struct w_mds_readdir_rep rep;

	return mcli_call(&p->c, W_OP_MDS_READDIR, &req, &rep);
}

/* Reading a directory moves its access time when that is due, and only then. */
static void step_read(struct prop *p, struct step *s)
{
	struct look_ctx ctx = {.dir = any_node(p, S_IFDIR)};
	struct model_attr attr;
	struct w_attr after;
	int r;
	int m;

	if (p->dry) {
		return;
	}
	r = step_call(p, s, readdir_call, &ctx);
	m = model_getattr(p->model, ctx.dir, &attr);
	if (m == 0) {
		m = S_ISDIR(attr.mode) ? model_access(p->model, &s->cred, ctx.dir, 4) : -ENOTDIR;
	}
	same_result(p, P_READ, r, m);
	if (r < 0) {
		return;
	}
	MUST(mcli_getattr(&p->viewer, p->fids[ctx.dir], &after) == 0);
	if (model_atime_due(p->model, ctx.dir, env_realtime(p->box.env))) {
		MUST(after.atime >= p->now && after.atime <= env_realtime(p->box.env));
		attr.atime = after.atime;
		model_attr_force(p->model, ctx.dir, &attr);
	} else {
		MUST(after.atime == attr.atime);
	}
}

/* ---- opens ---- */

struct open_ctx {
	uint32_t id;
	uint32_t flags;
	uint64_t handle;
};

static int open_call(struct prop *p, void *arg)
{
	struct open_ctx *ctx = arg;
	struct w_mds_open_req req = {.cred = p->c.cred,
		.fid = p->fids[ctx->id],
		.open = ctx->flags,
		.handle = ctx->handle};
	struct w_mds_open_rep rep;

	return mcli_call(&p->c, W_OP_MDS_OPEN, &req, &rep);
}

static void step_open(struct prop *p, struct step *s)
{
	struct open_ctx ctx = {.id = any_node(p, S_IFREG), .handle = p->handle_last + 1};
	struct model_attr attr;
	unsigned mask;
	int m;
	int r;

	mask = (unsigned)below(p, 3);
	ctx.flags = (mask != 1 ? W_OPEN_FLAGS_READ : 0) | (mask != 0 ? W_OPEN_FLAGS_WRITE : 0);
	if (p->dry || model_getattr(p->model, ctx.id, &attr) < 0 || !S_ISREG(attr.mode)) {
		return;
	}
	r = step_call(p, s, open_call, &ctx);
	m = model_access(p->model, &s->cred, ctx.id, (mask != 1 ? 4u : 0) | (mask != 0 ? 2u : 0));
	same_result(p, P_OPEN, r, m);
	if (r == 0) {
		p->handle_last++;
		model_open(p->model, ctx.id);
		p->opens[p->open_count++] = (struct prop_open){ctx.id, ctx.handle};
	}
}

static void close_one(struct prop *p, unsigned i)
{
	struct prop_open open = p->opens[i];
	struct w_mds_close_req req = {.fid = p->fids[open.id], .handle = open.handle};
	struct w_mds_close_rep rep;
	struct model_attr attr;

	if (!p->dry) {
		MUST(mcli_call(&p->c, W_OP_MDS_CLOSE, &req, &rep) == 0);
		p->transno = u64_max(p->transno, p->c.transno);
	}
	p->opens[i] = p->opens[--p->open_count];
	model_close(p->model, open.id);
	if (model_getattr(p->model, open.id, &attr) < 0) {
		p->orphans++;
		MUST(p->dry || mcli_getattr(&p->viewer, p->fids[open.id], NULL) == -NE_STALE);
	}
}

void prop_close_all(struct prop *p)
{
	while (p->open_count > 0) {
		close_one(p, 0);
	}
}

static void step(struct prop *p)
{
	const struct prop_user *user = &users[below(p, ARRAY_SIZE(users))];
	struct step s = {.user = user};
	uint64_t dice = below(p, 100);

	cred_of(user, &s.cred);
	p->ops++;
	if (below(p, 8) == 0 && !p->dry) {
		env_sleep(p->box.env, NS_PER_MS);
	}
	if (dice < 35) {
		step_create(p, &s);
	} else if (dice < 50) {
		step_unlink(p, &s);
	} else if (dice < 58) {
		step_link(p, &s);
	} else if (dice < 73) {
		step_rename(p, &s);
	} else if (dice < 83) {
		step_setattr(p, &s);
	} else if (dice < 90) {
		if (p->open_count == PROP_OPENS_MAX || (p->open_count > 0 && below(p, 2) == 0)) {
			close_one(p, (unsigned)below(p, p->open_count));
		} else {
			step_open(p, &s);
		}
	} else if (dice < 94) {
		step_xattr(p, &s);
	} else if (dice < 98) {
		step_look(p, &s);
	} else {
		step_read(p, &s);
	}
}

void prop_step(struct prop *p)
{
	p->rng_before = p->rng;
	step(p);
}

void prop_step_again(struct prop *p)
{
	p->rng = p->rng_before;
	p->dry = true;
	step(p);
	p->dry = false;
}
