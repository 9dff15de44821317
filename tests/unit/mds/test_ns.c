/* The name space by hand: each operation's effects, errors and attributes, with a full and with a cut hash. */
#include "mds/mds_int.h"
#include "mds_box.h"
#include "test.h"

#define ROOT fid_root()

struct ns {
	struct mbox box;
	struct mcli c;
	void (*body)(struct ns *ns);
};

static void ns_main(void *arg)
{
	struct ns *ns = arg;

	mbox_start(&ns->box);
	mcli_open(&ns->c, 0);
	ns->body(ns);
	mbox_check(&ns->box);
	mbox_stop(&ns->box);
	/* What was built is found again. */
	mbox_start(&ns->box);
	mbox_check(&ns->box);
	mbox_stop(&ns->box);
}

static void ns_run_bits(void (*body)(struct ns *ns), unsigned hash_bits)
{
	struct ns ns = {.body = body};

	mbox_init(&ns.box, 1);
	ns.box.opts.hash_bits = hash_bits;
	mcli_init(&ns.c, &ns.box);
	CHECK(mbox_run(&ns.box, ns_main, &ns, SIM_KILL));
	mcli_fini(&ns.c);
	mbox_fini(&ns.box);
}

static void ns_run(void (*body)(struct ns *ns))
{
	ns_run_bits(body, 0);
	ns_run_bits(body, 4);
	ns_run_bits(body, 1);
}

static void body_tree(struct ns *ns)
{
	struct mcli *c = &ns->c;
	struct w_attr d;
	struct w_attr f;
	struct w_attr a;

	CHECK_EQ(mcli_getattr(c, ROOT, &a), 0);
	CHECK_EQ(a.mode, 040777);
	CHECK_EQ(a.nlink, 2);
	CHECK_EQ(mcli_create(c, ROOT, "dir", 040755, &d), 0);
	CHECK(d.fid.seq == FID_SEQ_NORMAL + 1 && d.fid.oid == 1);
	CHECK_EQ(mcli_create(c, ROOT, "dir", 040755, NULL), -NE_EXIST);
	CHECK_EQ(mcli_create(c, d.fid, "file", 0100644, &f), 0);
	CHECK_EQ(f.mode, 0100644);
	CHECK_EQ(f.nlink, 1);
	CHECK_EQ(mcli_lookup(c, d.fid, "file", &a), 0);
	CHECK(fid_eq(a.fid, f.fid));
	CHECK_EQ(mcli_lookup(c, d.fid, "nothing", NULL), -NE_NOENT);
	CHECK_EQ(mcli_lookup(c, f.fid, "x", NULL), -NE_NOTDIR);
	CHECK_EQ(mcli_getattr(c, ROOT, &a), 0);
	CHECK_EQ(a.nlink, 3);
	CHECK_EQ(a.entries, 1);
	CHECK_EQ(mcli_link(c, f.fid, ROOT, "hard", &a), 0);
	CHECK_EQ(a.nlink, 2);
	CHECK_EQ(mcli_link(c, d.fid, ROOT, "harddir", NULL), -NE_PERM);
	CHECK_EQ(mcli_unlink(c, ROOT, "dir", true), -NE_NOTEMPTY);
	CHECK_EQ(mcli_unlink(c, ROOT, "dir", false), -NE_ISDIR);
	CHECK_EQ(mcli_unlink(c, ROOT, "hard", true), -NE_NOTDIR);
	CHECK_EQ(mcli_unlink(c, d.fid, "file", false), 0);
	CHECK_EQ(mcli_getattr(c, f.fid, &a), 0);
	CHECK_EQ(a.nlink, 1);
	CHECK_EQ(mcli_unlink(c, ROOT, "hard", false), 0);
	CHECK_EQ(mcli_getattr(c, f.fid, NULL), -NE_STALE);
	CHECK_EQ(mcli_unlink(c, ROOT, "dir", true), 0);
	CHECK_EQ(mcli_getattr(c, ROOT, &a), 0);
	CHECK_EQ(a.nlink, 2);
	CHECK_EQ(a.entries, 0);
}

TEST(tree)
{
	ns_run(body_tree);
}

static void body_names(struct ns *ns)
{
	struct mcli *c = &ns->c;
	char name[300];
	struct w_mds_create_req req = {.cred = c->cred, .parent = ROOT, .mode = 0100644};

	CHECK_EQ(mcli_create(c, ROOT, "", 0100644, NULL), -NE_INVAL);
	CHECK_EQ(mcli_create(c, ROOT, ".", 0100644, NULL), -NE_INVAL);
	CHECK_EQ(mcli_create(c, ROOT, "..", 0100644, NULL), -NE_INVAL);
	CHECK_EQ(mcli_create(c, ROOT, "a/b", 0100644, NULL), -NE_INVAL);
	CHECK_EQ(mcli_create(c, ROOT, "...", 0100644, NULL), 0);
	req.name = wire_str_n("a\0b", 3);
	CHECK_EQ(mcli_call(c, W_OP_MDS_CREATE, &req, NULL), -NE_INVAL);
	memset(name, 'n', sizeof(name));
	name[255] = 0;
	CHECK_EQ(mcli_create(c, ROOT, name, 0100644, NULL), 0);
	CHECK_EQ(mcli_lookup(c, ROOT, name, NULL), 0);
	CHECK_EQ(mcli_create(c, ROOT, "bad", 0170644, NULL), -NE_INVAL);
	CHECK_EQ(mcli_create(c, ROOT, "bad", 0644, NULL), -NE_INVAL);
}

TEST(names)
{
	ns_run(body_names);
}

static void body_rename(struct ns *ns)
{
	struct mcli *c = &ns->c;
	struct w_attr a;
	struct w_attr b;
	struct w_attr f;
	struct w_attr x;

	CHECK_EQ(mcli_create(c, ROOT, "a", 040755, &a), 0);
	CHECK_EQ(mcli_create(c, a.fid, "b", 040755, &b), 0);
	CHECK_EQ(mcli_create(c, ROOT, "f", 0100644, &f), 0);
	CHECK_EQ(mcli_rename(c, ROOT, "a", b.fid, "x", 0), -NE_INVAL);
	CHECK_EQ(mcli_rename(c, ROOT, "a", a.fid, "x", 0), -NE_INVAL);
	CHECK_EQ(mcli_rename(c, a.fid, "b", ROOT, "a", 0), -NE_NOTEMPTY);
	CHECK_EQ(mcli_rename(c, ROOT, "f", ROOT, "a", 0), -NE_ISDIR);
	CHECK_EQ(mcli_rename(c, a.fid, "b", ROOT, "f", 0), -NE_NOTDIR);
	CHECK_EQ(mcli_rename(c, ROOT, "none", ROOT, "a", 0), -NE_NOENT);
	CHECK_EQ(mcli_rename(c, ROOT, "f", a.fid, "b", W_RENAME_FLAGS_NOREPLACE), -NE_EXIST);
	CHECK_EQ(mcli_rename(c, ROOT, "f", a.fid, "g", W_RENAME_FLAGS_EXCHANGE), -NE_NOENT);
	CHECK_EQ(mcli_rename(c, ROOT, "f", a.fid, "g", W_RENAME_FLAGS_WHITEOUT), -NE_INVAL);
	/* A directory over an empty one, in another directory. */
	CHECK_EQ(mcli_create(c, ROOT, "empty", 040755, NULL), 0);
	CHECK_EQ(mcli_rename(c, a.fid, "b", ROOT, "empty", 0), 0);
	CHECK_EQ(mcli_lookup(c, ROOT, "empty", &x), 0);
	CHECK(fid_eq(x.fid, b.fid));
	CHECK_EQ(mcli_getattr(c, a.fid, &x), 0);
	CHECK_EQ(x.nlink, 2);
	CHECK_EQ(x.entries, 0);
	/* Exchange of a directory and a file over directories. */
	CHECK_EQ(mcli_rename(c, ROOT, "f", a.fid, "f2", 0), 0);
	CHECK_EQ(mcli_rename(c, ROOT, "empty", a.fid, "f2", W_RENAME_FLAGS_EXCHANGE), 0);
	CHECK_EQ(mcli_getattr(c, a.fid, &x), 0);
	CHECK_EQ(x.nlink, 3);
	CHECK_EQ(mcli_lookup(c, ROOT, "empty", &x), 0);
	CHECK(fid_eq(x.fid, f.fid));
	/* Two names of one file: nothing happens. */
	CHECK_EQ(mcli_link(c, f.fid, ROOT, "same", NULL), 0);
	CHECK_EQ(mcli_rename(c, ROOT, "same", ROOT, "empty", 0), 0);
	CHECK_EQ(mcli_lookup(c, ROOT, "same", &x), 0);
	CHECK_EQ(x.nlink, 2);
	CHECK_EQ(mcli_rename(c, ROOT, "same", ROOT, "same", 0), 0);
}

TEST(rename)
{
	ns_run(body_rename);
}

/* ---- readdir ---- */

static unsigned list_all(struct mcli *c, struct fid dir, uint32_t bytes_max, bool plus, bool *seen)
{
	struct w_mds_readdir_req req = {
		.cred = c->cred, .fid = dir, .bytes_max = bytes_max, .plus = plus};
	struct w_mds_readdir_rep rep;
	uint64_t last = 0;
	unsigned n = 0;

	do {
		struct wire_iter it;
		struct w_dirent e;

		CHECK_EQ(mcli_call(c, W_OP_MDS_READDIR, &req, &rep), 0);
		it = w_dirent_iter(&rep.entries.view);
		CHECK(rep.end || rep.entries.count > 0);
		CHECK(rep.entries.view.size <= bytes_max);
		while (w_dirent_next(&it, &e)) {
			unsigned number;

			CHECK(e.cookie > last);
			last = e.cookie;
			CHECK(e.name.len == 5 && e.name.ptr[0] == 'e');
			number = (unsigned)atoi(e.name.ptr + 1) % 10000;
			CHECK(!seen[number]);
			seen[number] = true;
			n++;
			CHECK_EQ(e.attrs.count, plus ? 1 : 0);
			if (plus) {
				struct wire_iter ai = w_attr_iter(&e.attrs.view);
				struct w_attr attr;

				CHECK(w_attr_next(&ai, &attr));
				CHECK(fid_eq(attr.fid, e.fid));
			}
		}
		req.cookie = last;
	} while (!rep.end);
	return n;
}

static void body_readdir(struct ns *ns)
{
	struct mcli *c = &ns->c;
	static bool seen[10000];
	struct w_attr d;
	char name[16];

	CHECK_EQ(mcli_create(c, ROOT, "d", 040755, &d), 0);
	for (unsigned i = 0; i < 600; i++) {
		snprintf(name, sizeof(name), "e%04u", i);
		CHECK_EQ(mcli_create(c, d.fid, name, 0100644, NULL), 0);
	}
	memset(seen, 0, sizeof(seen));
	CHECK_EQ(list_all(c, d.fid, 1024, false, seen), 600);
	memset(seen, 0, sizeof(seen));
	CHECK_EQ(list_all(c, d.fid, 65536, true, seen), 600);
	/* Holes everywhere, then everything again. */
	for (unsigned i = 0; i < 600; i += 3) {
		snprintf(name, sizeof(name), "e%04u", i);
		CHECK_EQ(mcli_unlink(c, d.fid, name, false), 0);
	}
	mbox_check(&ns->box);
	memset(seen, 0, sizeof(seen));
	CHECK_EQ(list_all(c, d.fid, 4096, false, seen), 400);
	for (unsigned i = 0; i < 600; i++) {
		snprintf(name, sizeof(name), "e%04u", i);
		CHECK_EQ(mcli_create(c, d.fid, name, 0100644, NULL), i % 3 == 0 ? 0 : -NE_EXIST);
	}
	for (unsigned i = 0; i < 600; i++) {
		snprintf(name, sizeof(name), "e%04u", (i * 7) % 600);
		CHECK_EQ(mcli_unlink(c, d.fid, name, false), 0);
	}
	memset(seen, 0, sizeof(seen));
	CHECK_EQ(list_all(c, d.fid, 4096, false, seen), 0);
	CHECK_EQ(mcli_unlink(c, ROOT, "d", true), 0);
}

TEST(readdir)
{
	ns_run(body_readdir);
}

/* ---- xattrs, links, paths ---- */

static int getxattr(struct mcli *c, struct fid fid, const char *name, void *buf, size_t *ret_len)
{
	struct w_mds_getxattr_req req = {.cred = c->cred, .fid = fid, .name = wire_str_of(name)};
	struct w_mds_getxattr_rep rep;
	int r = mcli_call(c, W_OP_MDS_GETXATTR, &req, &rep);

	if (r == 0) {
		memcpy(buf, rep.value.ptr, rep.value.len);
		*ret_len = rep.value.len;
	}
	return r;
}

static void body_xattr(struct ns *ns)
{
	struct mcli *c = &ns->c;
	static uint8_t big[LIM_XATTR_VALUE_MAX];
	static uint8_t back[LIM_XATTR_VALUE_MAX];
	static const size_t sizes[] = {0, 1, 1024, 1025, 2824, 2825, 40000, 65536, 3000, 1};
	struct w_mds_listxattr_req list;
	struct w_mds_listxattr_rep names;
	struct w_attr f;
	size_t len = 0;

	for (size_t i = 0; i < sizeof(big); i++) {
		big[i] = (uint8_t)(i * 31 + i / 256);
	}
	CHECK_EQ(mcli_create(c, ROOT, "f", 0100644, &f), 0);
	CHECK_EQ(getxattr(c, f.fid, "user.a", back, &len), -NE_NODATA);
	CHECK_EQ(mcli_setxattr(c, f.fid, "user.a", "1", 1, W_SETXATTR_FLAGS_REPLACE), -NE_NODATA);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		CHECK_EQ(mcli_setxattr(c, f.fid, "user.a", big, sizes[i], 0), 0);
		CHECK_EQ(getxattr(c, f.fid, "user.a", back, &len), 0);
		CHECK_EQ(len, sizes[i]);
		CHECK(memcmp(back, big, len) == 0);
		mbox_check(&ns->box);
	}
	CHECK_EQ(mcli_setxattr(c, f.fid, "user.a", "1", 1, W_SETXATTR_FLAGS_CREATE), -NE_EXIST);
	CHECK_EQ(mcli_setxattr(c, f.fid, "trusted.t", big, 5000, 0), 0);
	CHECK_EQ(mcli_setxattr(c, f.fid, "system.posix_acl_access", "1", 1, 0), -NE_INVAL);
	CHECK_EQ(mcli_setxattr(c, f.fid, "user.", "1", 1, 0), -NE_INVAL);
	CHECK_EQ(mcli_setxattr(c, f.fid, "none", "1", 1, 0), -NE_NOTSUP);
	list = (struct w_mds_listxattr_req){.cred = c->cred, .fid = f.fid};
	CHECK_EQ(mcli_call(c, W_OP_MDS_LISTXATTR, &list, &names), 0);
	CHECK_EQ(names.names.len, strlen("user.a") + strlen("trusted.t") + 2);
	CHECK_EQ(mcli_setxattr(c, f.fid, "user.a", NULL, 0, W_SETXATTR_FLAGS_REMOVE), 0);
	CHECK_EQ(mcli_setxattr(c, f.fid, "user.a", NULL, 0, W_SETXATTR_FLAGS_REMOVE), -NE_NODATA);
	for (unsigned i = 0; i < 40; i++) {
		char name[32];

		snprintf(name, sizeof(name), "user.many%u", i);
		CHECK_EQ(mcli_setxattr(c, f.fid, name, big, 1500, 0), 0);
	}
	mbox_check(&ns->box);
	/* They go with the file. */
	CHECK_EQ(mcli_unlink(c, ROOT, "f", false), 0);
}

TEST(xattr)
{
	ns_run(body_xattr);
}

static void symlink_try(struct ns *ns, size_t len)
{
	struct mcli *c = &ns->c;
	static char target[LIM_SYMLINK_MAX + 1];
	struct w_mds_readlink_req req = {.cred = c->cred};
	struct w_mds_readlink_rep rep;
	struct w_attr a;

	memset(target, 't', len);
	target[len] = 0;
	CHECK_EQ(mcli_symlink(c, ROOT, "l", target, &a), 0);
	CHECK_EQ(a.mode, 0120777);
	CHECK_EQ(a.size, len);
	req.fid = a.fid;
	CHECK_EQ(mcli_call(c, W_OP_MDS_READLINK, &req, &rep), 0);
	CHECK_EQ(rep.target.len, len);
	CHECK(memcmp(rep.target.ptr, target, len) == 0);
	mbox_check(&ns->box);
	/* Moving it keeps the target. */
	CHECK_EQ(mcli_rename(c, ROOT, "l", ROOT, "m", 0), 0);
	CHECK_EQ(mcli_call(c, W_OP_MDS_READLINK, &req, &rep), 0);
	CHECK_EQ(rep.target.len, len);
	CHECK_EQ(mcli_unlink(c, ROOT, "m", false), 0);
}

static void body_symlink(struct ns *ns)
{
	struct w_mds_readlink_req req = {.cred = ns->c.cred, .fid = ROOT};

	symlink_try(ns, 1);
	symlink_try(ns, 1024);
	symlink_try(ns, 1025);
	symlink_try(ns, 4095);
	CHECK_EQ(mcli_symlink(&ns->c, ROOT, "l", "", NULL), -NE_NOENT);
	CHECK_EQ(mcli_call(&ns->c, W_OP_MDS_READLINK, &req, NULL), -NE_INVAL);
}

TEST(symlink)
{
	ns_run(body_symlink);
}

static void path_is(struct mcli *c, struct fid fid, uint32_t link, const char *path, uint32_t next)
{
	struct w_mds_fid2path_req req = {.cred = c->cred, .fid = fid, .link = link};
	struct w_mds_fid2path_rep rep;

	CHECK_EQ(mcli_call(c, W_OP_MDS_FID2PATH, &req, &rep), 0);
	CHECK(wire_str_eq(rep.path, wire_str_of(path)));
	CHECK_EQ(rep.link_next, next);
}

static void body_path(struct ns *ns)
{
	struct mcli *c = &ns->c;
	struct w_attr a;
	struct w_attr b;
	struct w_attr f;

	CHECK_EQ(mcli_create(c, ROOT, "a", 040755, &a), 0);
	CHECK_EQ(mcli_create(c, a.fid, "bb", 040755, &b), 0);
	CHECK_EQ(mcli_create(c, b.fid, "file", 0100644, &f), 0);
	path_is(c, f.fid, 0, "a/bb/file", 0);
	path_is(c, b.fid, 0, "a/bb", 0);
	path_is(c, ROOT, 0, "", 0);
	CHECK_EQ(mcli_rename(c, a.fid, "bb", ROOT, "c", 0), 0);
	path_is(c, f.fid, 0, "c/file", 0);
	CHECK_EQ(mcli_link(c, f.fid, ROOT, "z", NULL), 0);
	path_is(c, f.fid, 0, "z", 1);
	path_is(c, f.fid, 1, "c/file", 0);
}

TEST(path)
{
	ns_run(body_path);
}

static void body_times(struct ns *ns)
{
	struct mcli *c = &ns->c;
	struct w_mds_setattr_req req = {.cred = c->cred};
	struct w_attr d;
	struct w_attr e;
	struct w_attr f;
	struct w_attr g;

	CHECK_EQ(mcli_create(c, ROOT, "d", 040755, &d), 0);
	env_sleep(ns->box.env, NS_PER_MS);
	CHECK_EQ(mcli_create(c, d.fid, "f", 0100644, &f), 0);
	CHECK(f.atime == f.mtime && f.mtime == f.ctime && f.btime == f.ctime && f.ctime > d.ctime);
	CHECK_EQ(mcli_getattr(c, d.fid, &e), 0);
	CHECK(e.mtime == f.ctime && e.ctime == f.ctime && e.change == d.change + 1);
	CHECK(e.btime == d.btime && e.atime == d.atime);
	env_sleep(ns->box.env, NS_PER_MS);
	req.fid = f.fid;
	req.valid = W_SETATTR_VALID_ATIME | W_SETATTR_VALID_MTIME;
	req.atime = 1000000001;
	req.mtime = -5;
	CHECK_EQ(mcli_call(c, W_OP_MDS_SETATTR, &req, NULL), 0);
	CHECK_EQ(mcli_getattr(c, f.fid, &g), 0);
	CHECK(g.atime == 1000000001 && g.mtime == -5 && g.ctime > f.ctime && g.change > f.change);
	env_sleep(ns->box.env, NS_PER_MS);
	CHECK_EQ(mcli_link(c, f.fid, d.fid, "g", &g), 0);
	CHECK(g.mtime == -5 && g.atime == 1000000001);
	CHECK_EQ(mcli_getattr(c, d.fid, &e), 0);
	CHECK(e.mtime == g.ctime && e.ctime == g.ctime);
}

TEST(times)
{
	ns_run(body_times);
}

static void body_sync(struct ns *ns)
{
	struct w_mds_sync_req req = {0};
	struct w_mds_sync_rep rep;
	struct w_mds_statfs_rep fs;
	struct w_mds_statfs_req fsreq = {0};
	uint64_t transno;

	CHECK_EQ(mcli_create(&ns->c, ROOT, "f", 0100644, NULL), 0);
	transno = ns->c.transno;
	CHECK(transno != 0);
	CHECK_EQ(mcli_call(&ns->c, W_OP_MDS_SYNC, &req, &rep), 0);
	CHECK(rep.last_committed >= transno);
	req.transno = UINT64_MAX;
	CHECK_EQ(mcli_call(&ns->c, W_OP_MDS_SYNC, &req, &rep), 0);
	CHECK_EQ(mcli_call(&ns->c, W_OP_MDS_STATFS, &fsreq, &fs), 0);
	CHECK_EQ(fs.files_used, 2);
	CHECK(fs.bytes_free <= fs.bytes_total && fs.bytes_total > 0);
}

TEST(sync)
{
	ns_run(body_sync);
}

static uint64_t fetches(const struct ns *ns)
{
	struct state_stats st;

	state_stats_get(ns->box.mds->st, &st);
	return st.fetch_jobs;
}

static void entries_are(struct mcli *c, struct fid dir, unsigned want)
{
	struct w_mds_readdir_req req = {.cred = c->cred, .fid = dir, .bytes_max = 64 * KIB};
	struct w_mds_readdir_rep rep;

	CHECK_EQ(mcli_call(c, W_OP_MDS_READDIR, &req, &rep), 0);
	CHECK_EQ(rep.entries.count, want);
	CHECK(rep.end);
}

/* What is in no checkpoint is not looked for there; what may be in one is. */
static void body_new(struct ns *ns)
{
	struct mcli *c = &ns->c;
	struct w_attr old;
	struct w_attr new;
	uint64_t before;

	CHECK_EQ(mcli_create(c, ROOT, "old", 040755, &old), 0);
	before = fetches(ns);
	CHECK_EQ(mcli_lookup(c, old.fid, "a", NULL), -NE_NOENT);
	CHECK_EQ(mcli_create(c, old.fid, "a", 0100644, NULL), 0);
	CHECK_EQ(mcli_create(c, old.fid, "b", 0100644, NULL), 0);
	CHECK_EQ(mcli_unlink(c, old.fid, "b", false), 0);
	CHECK_EQ(mcli_rename(c, old.fid, "a", old.fid, "c", 0), 0);
	entries_are(c, old.fid, 1);
	CHECK_EQ(fetches(ns), before);
	CHECK_EQ(state_checkpoint(ns->box.mds->st), 0);
	/* Now the directory's entries are in the checkpoint and nowhere else. */
	CHECK_EQ(mcli_lookup(c, old.fid, "d", NULL), -NE_NOENT);
	CHECK(fetches(ns) > before);
	CHECK_EQ(mcli_lookup(c, old.fid, "c", NULL), 0);
	entries_are(c, old.fid, 1);
	CHECK_EQ(mcli_create(c, old.fid, "c", 0100644, NULL), -NE_EXIST);
	CHECK_EQ(mcli_create(c, old.fid, "new", 040755, &new), 0);
	before = fetches(ns);
	CHECK_EQ(mcli_lookup(c, new.fid, "a", NULL), -NE_NOENT);
	entries_are(c, new.fid, 0);
	CHECK_EQ(fetches(ns), before);
	CHECK_EQ(state_checkpoint(ns->box.mds->st), 0);
	CHECK_EQ(mcli_unlink(c, old.fid, "new", true), 0);
	CHECK_EQ(mcli_unlink(c, old.fid, "c", false), 0);
	entries_are(c, old.fid, 0);
	CHECK_EQ(mcli_unlink(c, ROOT, "old", true), 0);
}

TEST(new_inodes_need_no_fetch)
{
	ns_run(body_new);
}
