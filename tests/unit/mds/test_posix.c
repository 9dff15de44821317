/* ACLs, chattr's flags, file capabilities, files without a name, open directories that are removed. */
#include "mds_box.h"
#include "test.h"

#define ROOT fid_root()
#define ACL_ACCESS "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"

struct px {
	struct mbox box;
	struct mcli root;
	struct mcli c;
	void (*body)(struct px *p);
};

static void px_main(void *arg)
{
	struct px *p = arg;

	mbox_start(&p->box);
	mcli_open(&p->root, 0);
	p->body(p);
	mbox_check(&p->box);
	mbox_stop(&p->box);
}

static void px_run(void (*body)(struct px *p))
{
	struct px p = {.body = body};

	mbox_init(&p.box, 1);
	mcli_init(&p.root, &p.box);
	mcli_init(&p.c, &p.box);
	CHECK(mbox_run(&p.box, px_main, &p, SIM_KILL));
	mcli_fini(&p.root);
	mcli_fini(&p.c);
	mbox_fini(&p.box);
}

static int setattr(struct mcli *c, struct w_mds_setattr_req req)
{
	req.cred = c->cred;
	return mcli_call(c, W_OP_MDS_SETATTR, &req, NULL);
}

static int access_as(struct mcli *c, struct fid fid, uint32_t mask)
{
	struct w_mds_access_req req = {.cred = c->cred, .fid = fid, .mask = mask};

	return mcli_call(c, W_OP_MDS_ACCESS, &req, NULL);
}

static int open_as(struct mcli *c, struct fid fid, uint32_t flags, uint64_t handle)
{
	struct w_mds_open_req req = {.cred = c->cred, .fid = fid, .open = flags, .handle = handle};

	return mcli_call(c, W_OP_MDS_OPEN, &req, NULL);
}

static int close_as(struct mcli *c, struct fid fid, uint64_t handle)
{
	struct w_mds_close_req req = {.fid = fid, .handle = handle};

	return mcli_call(c, W_OP_MDS_CLOSE, &req, NULL);
}

static int write_as(struct mcli *c, struct fid fid, uint64_t handle, uint32_t flags)
{
	struct w_mds_write_req req = {
		.fid = fid, .handle = handle, .flags = flags, .data = wire_bytes_of("x", 1)};

	return mcli_call(c, W_OP_MDS_WRITE, &req, NULL);
}

/* ---- ACLs ---- */

struct acl_text {
	uint8_t b[256];
	size_t len;
};

static void acl_add(struct acl_text *a, unsigned tag, unsigned perm, uint32_t id)
{
	if (a->len == 0) {
		le32_store(a->b, 2);
		a->len = 4;
	}
	le16_store(a->b + a->len, (uint16_t)tag);
	le16_store(a->b + a->len + 2, (uint16_t)perm);
	le32_store(a->b + a->len + 4, id);
	a->len += 8;
}

/* Owner rwx, a user, the group, a group, others --x, all but the owner below a mask. */
static void acl_full(struct acl_text *a, unsigned user, unsigned group, unsigned mask)
{
	*a = (struct acl_text){.len = 0};
	acl_add(a, 1, 7, UINT32_MAX);
	acl_add(a, 2, user, 50);
	acl_add(a, 4, 4, UINT32_MAX);
	acl_add(a, 8, group, 60);
	acl_add(a, 16, mask, UINT32_MAX);
	acl_add(a, 32, 1, UINT32_MAX);
}

static void body_acl(struct px *p)
{
	struct mcli *c = &p->root;
	const uint32_t groups[] = {60};
	struct acl_text a;
	struct w_attr f;

	CHECK_EQ(mcli_create(c, ROOT, "f", 0100640, &f), 0);
	acl_full(&a, 6, 2, 7);
	CHECK_EQ(mcli_setxattr(c, f.fid, ACL_ACCESS, a.b, a.len, 0), 0);
	CHECK_EQ(mcli_getattr(c, f.fid, &f), 0);
	CHECK_EQ(f.mode, 0100771);
	mcli_as(c, 50, 1, 0, groups);
	CHECK_EQ(access_as(c, f.fid, 6), 0);
	CHECK_EQ(access_as(c, f.fid, 1), -NE_ACCES);
	/* Groups that were not sent are asked for; a group's entry and the owning group's add nothing up. */
	mcli_as(c, 51, 0, -1, groups);
	CHECK_EQ(access_as(c, f.fid, 2), -NE_NEED_GROUPS);
	mcli_as(c, 51, 0, 1, groups);
	CHECK_EQ(access_as(c, f.fid, 2), 0);
	CHECK_EQ(access_as(c, f.fid, 4), 0);
	CHECK_EQ(access_as(c, f.fid, 6), -NE_ACCES);
	mcli_as(c, 52, 52, 0, groups);
	CHECK_EQ(access_as(c, f.fid, 1), 0);
	CHECK_EQ(access_as(c, f.fid, 4), -NE_ACCES);
	CHECK_EQ(mcli_setxattr(c, f.fid, ACL_ACCESS, a.b, a.len, 0), -NE_PERM);
	mcli_as_root(c);
	/* chmod moves the mask. */
	CHECK_EQ(setattr(c,
			 (struct w_mds_setattr_req){
				 .fid = f.fid, .valid = W_SETATTR_VALID_MODE, .mode = 0740}),
		0);
	mcli_as(c, 50, 1, 0, groups);
	CHECK_EQ(access_as(c, f.fid, 4), 0);
	CHECK_EQ(access_as(c, f.fid, 2), -NE_ACCES);
	mcli_as_root(c);
	CHECK_EQ(mcli_setxattr(c, f.fid, ACL_ACCESS, a.b, a.len - 8, 0), -NE_INVAL);
	CHECK_EQ(mcli_setxattr(c, f.fid, ACL_DEFAULT, a.b, a.len, 0), -NE_ACCES);
	CHECK_EQ(mcli_setxattr(c, f.fid, ACL_ACCESS, NULL, 0, W_SETXATTR_FLAGS_REMOVE), 0);
	mcli_as(c, 50, 1, 0, groups);
	CHECK_EQ(access_as(c, f.fid, 4), -NE_ACCES);
	mcli_as_root(c);
}

TEST(acl)
{
	px_run(body_acl);
}

static void body_acl_inherit(struct px *p)
{
	struct mcli *c = &p->root;
	struct acl_text a;
	struct w_attr d;
	struct w_attr f;

	CHECK_EQ(mcli_create(c, ROOT, "d", 040755, &d), 0);
	acl_full(&a, 7, 7, 7);
	CHECK_EQ(mcli_setxattr(c, d.fid, ACL_DEFAULT, a.b, a.len, 0), 0);
	CHECK_EQ(mcli_create(c, d.fid, "f", 0100664, &f), 0);
	CHECK_EQ(f.mode, 0100660);
	CHECK((f.state & W_ATTR_STATE_HAS_ACL) != 0);
	CHECK((f.state & W_ATTR_STATE_HAS_DEFAULT_ACL) == 0);
	CHECK_EQ(mcli_create(c, d.fid, "e", 040777, &f), 0);
	CHECK_EQ(f.mode, 040771);
	CHECK((f.state & W_ATTR_STATE_HAS_DEFAULT_ACL) != 0);
	mcli_as(c, 50, 1, 0, NULL);
	CHECK_EQ(access_as(c, f.fid, 7), 0);
	mcli_as_root(c);
	CHECK_EQ(mcli_symlink(c, d.fid, "l", "x", &f), 0);
	CHECK_EQ(f.state & (W_ATTR_STATE_HAS_ACL | W_ATTR_STATE_HAS_DEFAULT_ACL), 0);
	CHECK_EQ(mcli_unlink(c, d.fid, "e", true), 0);
}

TEST(acl_inherit)
{
	px_run(body_acl_inherit);
}

/* A user's session is who its key says, whatever ids it names. */
static void body_forged(struct px *p)
{
	struct acl_text a;
	struct mds_peer peer;
	struct w_attr f;

	CHECK_EQ(mcli_create(&p->root, ROOT, "f", 0104777, &f), 0);
	acl_full(&a, 4, 0, 7);
	CHECK_EQ(mcli_setxattr(&p->root, f.fid, ACL_ACCESS, a.b, a.len, 0), 0);
	mcli_peer(&peer, 2);
	peer.role = W_PEER_ROLE_USER;
	peer.uid = 50;
	peer.gid = 50;
	CHECK_EQ(mcli_open_peer(&p->c, &peer, 0), 0);
	mcli_as_root(&p->c);
	CHECK_EQ(access_as(&p->c, f.fid, 4), 0);
	CHECK_EQ(access_as(&p->c, f.fid, 2), -NE_ACCES);
	CHECK_EQ(mcli_setxattr(&p->c, f.fid, ACL_ACCESS, a.b, a.len, 0), -NE_PERM);
	CHECK_EQ(setattr(&p->c,
			 (struct w_mds_setattr_req){.fid = f.fid,
				 .valid = W_SETATTR_VALID_FLAGS,
				 .state = W_ATTR_STATE_NODUMP}),
		-NE_PERM);
	/* It says nothing of set-id bits when it writes: they go all the same. */
	acl_full(&a, 6, 0, 7);
	CHECK_EQ(mcli_setxattr(&p->root, f.fid, ACL_ACCESS, a.b, a.len, 0), 0);
	CHECK_EQ(open_as(&p->c, f.fid, W_OPEN_FLAGS_WRITE, 5), 0);
	CHECK_EQ(write_as(&p->c, f.fid, 5, 0), 0);
	CHECK_EQ(mcli_getattr(&p->root, f.fid, &f), 0);
	CHECK_EQ(f.mode, 0100771);
	CHECK_EQ(close_as(&p->c, f.fid, 5), 0);
}

TEST(forged_ids)
{
	px_run(body_forged);
}

/* ---- flags ---- */

static int flags_set(struct mcli *c, struct fid fid, uint32_t state)
{
	return setattr(c,
		(struct w_mds_setattr_req){
			.fid = fid, .valid = W_SETATTR_VALID_FLAGS, .state = state});
}

static void body_flags(struct px *p)
{
	struct mcli *c = &p->root;
	struct w_attr d;
	struct w_attr f;

	CHECK_EQ(mcli_create(c, ROOT, "d", 040777, &d), 0);
	CHECK_EQ(mcli_create(c, d.fid, "f", 0100666, &f), 0);
	mcli_as(c, 5, 5, 0, NULL);
	CHECK_EQ(flags_set(c, f.fid, W_ATTR_STATE_NODUMP), -NE_PERM);
	mcli_as_root(c);
	CHECK_EQ(flags_set(c, f.fid, W_ATTR_STATE_HAS_ACL), -NE_NOTSUP);
	CHECK_EQ(flags_set(c, f.fid, W_ATTR_STATE_IMMUTABLE), 0);
	CHECK_EQ(open_as(c, f.fid, W_OPEN_FLAGS_WRITE, 1), -NE_PERM);
	CHECK_EQ(mcli_unlink(c, d.fid, "f", false), -NE_PERM);
	CHECK_EQ(mcli_rename(c, d.fid, "f", d.fid, "g", 0), -NE_PERM);
	CHECK_EQ(mcli_link(c, f.fid, d.fid, "g", NULL), -NE_PERM);
	CHECK_EQ(mcli_setxattr(c, f.fid, "user.a", "1", 1, 0), -NE_PERM);
	CHECK_EQ(flags_set(c, f.fid, W_ATTR_STATE_APPEND_ONLY), 0);
	CHECK_EQ(open_as(c, f.fid, W_OPEN_FLAGS_WRITE, 1), -NE_PERM);
	CHECK_EQ(open_as(c, f.fid, W_OPEN_FLAGS_WRITE | W_OPEN_FLAGS_APPEND, 1), 0);
	CHECK_EQ(write_as(c, f.fid, 1, W_WRITE_FLAGS_APPEND), 0);
	CHECK_EQ(setattr(c,
			 (struct w_mds_setattr_req){
				 .fid = f.fid, .handle = 1, .valid = W_SETATTR_VALID_SIZE}),
		-NE_PERM);
	CHECK_EQ(close_as(c, f.fid, 1), 0);
	CHECK_EQ(flags_set(c, f.fid, 0), 0);
	CHECK_EQ(flags_set(c, d.fid, W_ATTR_STATE_APPEND_ONLY), 0);
	CHECK_EQ(mcli_create(c, d.fid, "h", 0100666, NULL), 0);
	CHECK_EQ(mcli_unlink(c, d.fid, "f", false), -NE_PERM);
	CHECK_EQ(flags_set(c, d.fid, W_ATTR_STATE_IMMUTABLE), 0);
	CHECK_EQ(mcli_create(c, d.fid, "i", 0100666, NULL), -NE_PERM);
	CHECK_EQ(mcli_getattr(c, d.fid, &d), 0);
	CHECK((d.state & W_ATTR_STATE_IMMUTABLE) != 0);
}

TEST(flags)
{
	px_run(body_flags);
}

static void body_file_caps(struct px *p)
{
	struct mcli *c = &p->root;
	struct w_attr f;

	CHECK_EQ(mcli_create(c, ROOT, "f", 0100755, &f), 0);
	for (unsigned i = 0; i < 3; i++) {
		CHECK_EQ(mcli_setxattr(c, f.fid, "security.capability", "caps", 4, 0), 0);
		if (i == 0) {
			CHECK_EQ(open_as(c, f.fid, W_OPEN_FLAGS_WRITE, 1), 0);
			CHECK_EQ(write_as(c, f.fid, 1, 0), 0);
			CHECK_EQ(close_as(c, f.fid, 1), 0);
		} else {
			CHECK_EQ(setattr(c,
					 (struct w_mds_setattr_req){.fid = f.fid,
						 .valid = i == 1 ? W_SETATTR_VALID_TOUCH
								 : W_SETATTR_VALID_SIZE}),
				0);
		}
		CHECK_EQ(mcli_getattr(c, f.fid, &f), 0);
		CHECK_EQ(f.state & (W_ATTR_STATE_CAPABILITY | W_ATTR_STATE_HAS_XATTR), 0);
		mbox_check(&p->box);
	}
}

TEST(file_caps)
{
	px_run(body_file_caps);
}

/* ---- without a name ---- */

static int tmpfile_new(struct mcli *c, uint32_t more, uint64_t handle, struct fid *ret_fid)
{
	struct w_mds_create_req req = {.cred = c->cred,
		.parent = ROOT,
		.mode = 0100600,
		.flags = W_CREATE_FLAGS_TMPFILE | W_CREATE_FLAGS_OPEN | more,
		.open = W_OPEN_FLAGS_READ | W_OPEN_FLAGS_WRITE,
		.handle = handle};
	struct w_mds_create_rep rep;
	int r = mcli_call(c, W_OP_MDS_CREATE, &req, &rep);

	if (r == 0) {
		CHECK_EQ(rep.info.attr.nlink, 0);
		*ret_fid = rep.info.attr.fid;
	}
	return r;
}

static void body_nameless(struct px *p)
{
	struct mcli *c = &p->root;
	struct fid a = {0};
	struct fid b = {0};
	struct w_attr attr;

	CHECK_EQ(tmpfile_new(c, 0, 1, &a), 0);
	CHECK_EQ(tmpfile_new(c, W_CREATE_FLAGS_EXCL, 1, &b), 0);
	mbox_check(&p->box);
	CHECK_EQ(write_as(c, a, 1, 0), 0);
	CHECK_EQ(mcli_link(c, b, ROOT, "b", NULL), -NE_NOENT);
	CHECK_EQ(mcli_link(c, a, ROOT, "a", &attr), 0);
	CHECK_EQ(attr.nlink, 1);
	mbox_check(&p->box);
	/* Named once, it is like any other: nameless again it gets no name. */
	CHECK_EQ(mcli_unlink(c, ROOT, "a", false), 0);
	CHECK_EQ(mcli_link(c, a, ROOT, "a", NULL), -NE_NOENT);
	CHECK_EQ(close_as(c, a, 1), 0);
	CHECK_EQ(close_as(c, b, 1), 0);
	CHECK_EQ(mcli_getattr(c, a, &attr), -NE_STALE);
	CHECK_EQ(mcli_getattr(c, b, &attr), -NE_STALE);
}

TEST(nameless)
{
	px_run(body_nameless);
}

static void body_open_dir(struct px *p)
{
	struct mcli *c = &p->root;
	struct w_mds_readdir_rep list;
	struct w_mds_readdir_req req = {.bytes_max = 4096, .handle = 3};
	struct w_attr d;
	struct w_attr e;

	CHECK_EQ(mcli_create(c, ROOT, "d", 040755, &d), 0);
	CHECK_EQ(mcli_create(c, ROOT, "e", 040755, &e), 0);
	CHECK_EQ(open_as(c, d.fid, W_OPEN_FLAGS_READ, 3), 0);
	CHECK_EQ(mcli_unlink(c, ROOT, "d", true), 0);
	mbox_check(&p->box);
	CHECK_EQ(mcli_getattr(c, d.fid, &d), 0);
	CHECK_EQ(d.nlink, 0);
	CHECK_EQ(mcli_create(c, d.fid, "x", 0100644, NULL), -NE_NOENT);
	CHECK_EQ(mcli_rename(c, ROOT, "e", d.fid, "x", 0), -NE_NOENT);
	req.cred = c->cred;
	req.fid = d.fid;
	CHECK_EQ(mcli_call(c, W_OP_MDS_READDIR, &req, &list), 0);
	CHECK_EQ(list.entries.count, 0);
	CHECK_EQ(close_as(c, d.fid, 3), 0);
	CHECK_EQ(mcli_getattr(c, d.fid, &d), -NE_STALE);
	/* Replaced by a rename while open. */
	CHECK_EQ(mcli_create(c, ROOT, "d", 040755, &d), 0);
	CHECK_EQ(open_as(c, d.fid, W_OPEN_FLAGS_READ, 3), 0);
	CHECK_EQ(mcli_rename(c, ROOT, "e", ROOT, "d", 0), 0);
	CHECK_EQ(mcli_getattr(c, d.fid, &d), 0);
	CHECK_EQ(d.nlink, 0);
	mbox_check(&p->box);
	CHECK_EQ(close_as(c, d.fid, 3), 0);
}

TEST(open_directory)
{
	px_run(body_open_dir);
}

static void body_guarded(struct px *p)
{
	struct mcli *c = &p->root;
	struct w_mds_link_req req = {.parent = ROOT, .name = wire_str_of("g"), .guarded = true};
	struct w_attr f;

	CHECK_EQ(setattr(c,
			 (struct w_mds_setattr_req){
				 .fid = ROOT, .valid = W_SETATTR_VALID_MODE, .mode = 0777}),
		0);
	CHECK_EQ(mcli_create(c, ROOT, "f", 0100644, &f), 0);
	mcli_as(c, 5, 5, 0, NULL);
	req.cred = c->cred;
	req.fid = f.fid;
	CHECK_EQ(mcli_call(c, W_OP_MDS_LINK, &req, NULL), -NE_PERM);
	mcli_as_root(c);
	CHECK_EQ(setattr(c,
			 (struct w_mds_setattr_req){
				 .fid = f.fid, .valid = W_SETATTR_VALID_MODE, .mode = 0666}),
		0);
	CHECK_EQ(mcli_call(c, W_OP_MDS_LINK, &req, NULL), 0);
}

TEST(guarded_links)
{
	px_run(body_guarded);
}
