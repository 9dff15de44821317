/* Who may: groups asked for, squashed roots, user and read-only sessions, subdirectories, forged FIDs. */
#include "mds_box.h"
#include "test.h"

#define ROOT fid_root()

struct perm {
	struct mbox box;
	struct mcli root;
	struct mcli c;
	void (*body)(struct perm *p);
};

static void perm_main(void *arg)
{
	struct perm *p = arg;

	mbox_start(&p->box);
	mcli_open(&p->root, 0);
	p->body(p);
	mbox_check(&p->box);
	mbox_stop(&p->box);
}

static void perm_run(void (*body)(struct perm *p))
{
	struct perm p = {.body = body};

	mbox_init(&p.box, 1);
	mcli_init(&p.root, &p.box);
	mcli_init(&p.c, &p.box);
	CHECK(mbox_run(&p.box, perm_main, &p, SIM_KILL));
	mcli_fini(&p.root);
	mcli_fini(&p.c);
	mbox_fini(&p.box);
}

static int chmod_as(struct mcli *c, struct fid fid, uint32_t valid, uint32_t mode, uint32_t id)
{
	struct w_mds_setattr_req req = {
		.cred = c->cred, .fid = fid, .valid = valid, .mode = mode, .uid = id, .gid = id};

	return mcli_call(c, W_OP_MDS_SETATTR, &req, NULL);
}

static int access_as(struct mcli *c, struct fid fid, uint32_t mask)
{
	struct w_mds_access_req req = {.cred = c->cred, .fid = fid, .mask = mask};

	return mcli_call(c, W_OP_MDS_ACCESS, &req, NULL);
}

static void body_groups(struct perm *p)
{
	struct mcli *c = &p->root;
	const uint32_t mine[] = {7, 100, 9};
	const uint32_t others[] = {7, 8};
	struct w_attr f;

	CHECK_EQ(mcli_create(c, ROOT, "f", 0100640, &f), 0);
	CHECK_EQ(chmod_as(c, f.fid, W_SETATTR_VALID_GID, 0, 100), 0);
	mcli_as(c, 1000, 1000, -1, NULL);
	CHECK_EQ(access_as(c, f.fid, 4), -NE_NEED_GROUPS);
	CHECK_EQ(access_as(c, f.fid, 2), -NE_ACCES); /* neither group nor others may */
	mcli_as(c, 1000, 1000, 3, mine);
	CHECK_EQ(access_as(c, f.fid, 4), 0);
	mcli_as(c, 1000, 1000, 2, others);
	CHECK_EQ(access_as(c, f.fid, 4), -NE_ACCES);
	mcli_as(c, 1000, 100, -1, NULL); /* the primary group is always known */
	CHECK_EQ(access_as(c, f.fid, 4), 0);
	/* A group with less than others: its members are kept out. */
	mcli_as_root(c);
	CHECK_EQ(chmod_as(c, f.fid, W_SETATTR_VALID_MODE, 0604, 0), 0);
	mcli_as(c, 1000, 1000, -1, NULL);
	CHECK_EQ(access_as(c, f.fid, 4), -NE_NEED_GROUPS);
	mcli_as(c, 1000, 1000, 3, mine);
	CHECK_EQ(access_as(c, f.fid, 4), -NE_ACCES);
	/* An owner gives his file to a group of his. */
	mcli_as_root(c);
	CHECK_EQ(chmod_as(c, f.fid, W_SETATTR_VALID_UID, 0, 1000), 0);
	mcli_as(c, 1000, 1000, -1, NULL);
	CHECK_EQ(chmod_as(c, f.fid, W_SETATTR_VALID_GID, 0, 9), -NE_NEED_GROUPS);
	mcli_as(c, 1000, 1000, 3, mine);
	CHECK_EQ(chmod_as(c, f.fid, W_SETATTR_VALID_GID, 0, 9), 0);
	CHECK_EQ(chmod_as(c, f.fid, W_SETATTR_VALID_GID, 0, 55), -NE_PERM);
	CHECK_EQ(chmod_as(c, f.fid, W_SETATTR_VALID_UID, 0, 1001), -NE_PERM);
}

TEST(groups)
{
	perm_run(body_groups);
}

static void body_squash(struct perm *p)
{
	struct mds_peer peer;
	struct w_attr f;
	struct w_attr a;

	CHECK_EQ(mcli_create(&p->root, ROOT, "f", 0100600, &f), 0);
	mcli_peer(&peer, 2);
	peer.allow_root = false;
	CHECK_EQ(mcli_open_peer(&p->c, &peer, 0), 0);
	mcli_as_root(&p->c); /* claims uid 0 and every capability */
	CHECK_EQ(access_as(&p->c, f.fid, 4), -NE_ACCES);
	CHECK_EQ(chmod_as(&p->c, f.fid, W_SETATTR_VALID_MODE, 0777, 0), -NE_PERM);
	CHECK_EQ(mcli_create(&p->c, ROOT, "dev", 020644, NULL), -NE_PERM);
	CHECK_EQ(mcli_create(&p->c, ROOT, "mine", 0100600, &a), 0);
	CHECK_EQ(a.uid, 65534);
	CHECK_EQ(a.gid, 65534);
	/* Group 0 is squashed as well, listed or not. */
	CHECK_EQ(chmod_as(&p->root, f.fid, W_SETATTR_VALID_MODE, 0660, 0), 0);
	mcli_as(&p->c, 1000, 0, 1, (const uint32_t[]){0});
	CHECK_EQ(access_as(&p->c, f.fid, 4), -NE_ACCES);
	/* Other ids are believed, their capabilities are not. */
	p->c.cred.caps = MCLI_ROOT_CAPS;
	CHECK_EQ(mcli_create(&p->c, ROOT, "his", 0100600, &a), 0);
	CHECK_EQ(a.uid, 1000);
	CHECK_EQ(access_as(&p->c, f.fid, 2), -NE_ACCES);
}

TEST(squash)
{
	perm_run(body_squash);
}

static void body_user(struct perm *p)
{
	struct mds_peer peer;
	struct w_attr f;
	struct w_attr a;

	CHECK_EQ(mcli_create(&p->root, ROOT, "f", 0100600, &f), 0);
	mcli_peer(&peer, 2);
	peer.role = W_PEER_ROLE_USER;
	peer.uid = 1234;
	peer.gid = 1235;
	CHECK_EQ(mcli_open_peer(&p->c, &peer, 0), 0);
	/* Whatever it claims to be, it is its own uid. */
	mcli_as_root(&p->c);
	CHECK_EQ(mcli_create(&p->c, ROOT, "mine", 0100600, &a), 0);
	CHECK_EQ(a.uid, 1234);
	CHECK_EQ(a.gid, 1235);
	CHECK_EQ(access_as(&p->c, f.fid, 4), -NE_ACCES);
	CHECK_EQ(chmod_as(&p->root, f.fid, W_SETATTR_VALID_MODE, 0640, 0), 0);
	CHECK_EQ(chmod_as(&p->root, f.fid, W_SETATTR_VALID_GID, 0, 77), 0);
	mcli_as(&p->c, 1234, 1235, 1, (const uint32_t[]){77});
	CHECK_EQ(access_as(&p->c, f.fid, 4), -NE_ACCES);
	CHECK_EQ(chmod_as(&p->c, f.fid, W_SETATTR_VALID_UID, 0, 1234), -NE_PERM);
}

TEST(user)
{
	perm_run(body_user);
}

static void body_read_only(struct perm *p)
{
	struct mds_peer peer;
	struct w_attr f;
	struct mcli *c = &p->c;

	CHECK_EQ(mcli_create(&p->root, ROOT, "f", 0100644, &f), 0);
	mcli_peer(&peer, 2);
	peer.read_only = true;
	CHECK_EQ(mcli_open_peer(c, &peer, 0), 0);
	CHECK_EQ(mcli_create(c, ROOT, "x", 0100644, NULL), -NE_ROFS);
	CHECK_EQ(mcli_create(c, ROOT, "f", 0100644, NULL), -NE_EXIST);
	CHECK_EQ(mcli_unlink(c, ROOT, "f", false), -NE_ROFS);
	CHECK_EQ(mcli_link(c, f.fid, ROOT, "g", NULL), -NE_ROFS);
	CHECK_EQ(mcli_rename(c, ROOT, "f", ROOT, "g", 0), -NE_ROFS);
	CHECK_EQ(mcli_setxattr(c, f.fid, "user.a", "1", 1, 0), -NE_ROFS);
	CHECK_EQ(chmod_as(c, f.fid, W_SETATTR_VALID_MODE, 0600, 0), -NE_ROFS);
	CHECK_EQ(access_as(c, f.fid, 2), -NE_ROFS);
	CHECK_EQ(access_as(c, f.fid, 4), 0);
	CHECK_EQ(mcli_lookup(c, ROOT, "f", NULL), 0);
}

TEST(read_only)
{
	perm_run(body_read_only);
}

static void body_confined(struct perm *p)
{
	struct mcli *r = &p->root;
	struct mcli *c = &p->c;
	struct w_mds_fid2path_req path = {.link = 0};
	struct w_mds_fid2path_rep pathrep;
	struct mds_peer peer;
	struct w_attr top;
	struct w_attr sub;
	struct w_attr in;
	struct w_attr deep;
	struct w_attr out;
	struct w_attr outdir;
	struct w_attr a;

	CHECK_EQ(mcli_create(r, ROOT, "top", 040777, &top), 0);
	CHECK_EQ(mcli_create(r, top.fid, "sub", 040777, &sub), 0);
	CHECK_EQ(mcli_create(r, sub.fid, "in", 040777, &in), 0);
	CHECK_EQ(mcli_create(r, in.fid, "deep", 0100666, &deep), 0);
	CHECK_EQ(mcli_create(r, ROOT, "out", 0100666, &out), 0);
	CHECK_EQ(mcli_create(r, top.fid, "outdir", 040777, &outdir), 0);
	mcli_peer(&peer, 2);
	peer.subdir = "/top/nothing";
	CHECK_EQ(mcli_open_peer(c, &peer, 0), -NE_NOENT);
	peer.subdir = "/out";
	CHECK_EQ(mcli_open_peer(c, &peer, 0), -NE_NOTDIR);
	peer.subdir = "/top/sub/";
	CHECK_EQ(mcli_open_peer(c, &peer, 0), 0);
	/* The root is its root. */
	CHECK_EQ(mcli_getattr(c, ROOT, &a), 0);
	CHECK(fid_eq(a.fid, sub.fid));
	CHECK_EQ(mcli_lookup(c, ROOT, "in", &a), 0);
	CHECK_EQ(mcli_getattr(c, deep.fid, NULL), 0);
	CHECK_EQ(mcli_create(c, ROOT, "new", 0100644, NULL), 0);
	CHECK_EQ(mcli_lookup(r, sub.fid, "new", NULL), 0);
	path.cred = c->cred;
	path.fid = deep.fid;
	CHECK_EQ(mcli_call(c, W_OP_MDS_FID2PATH, &path, &pathrep), 0);
	CHECK(wire_str_eq(pathrep.path, wire_str_of("in/deep")));
	/* Guessed FIDs of what lies outside. */
	CHECK_EQ(mcli_getattr(c, out.fid, NULL), -NE_STALE);
	CHECK_EQ(mcli_getattr(c, top.fid, NULL), -NE_STALE);
	CHECK_EQ(mcli_lookup(c, top.fid, "outdir", NULL), -NE_STALE);
	CHECK_EQ(mcli_create(c, outdir.fid, "x", 0100644, NULL), -NE_STALE);
	CHECK_EQ(mcli_unlink(c, top.fid, "outdir", true), -NE_STALE);
	CHECK_EQ(mcli_link(c, out.fid, ROOT, "stolen", NULL), -NE_STALE);
	CHECK_EQ(mcli_rename(c, top.fid, "outdir", ROOT, "stolen", 0), -NE_STALE);
	CHECK_EQ(mcli_rename(c, ROOT, "in", outdir.fid, "gone", 0), -NE_STALE);
	CHECK_EQ(chmod_as(c, out.fid, W_SETATTR_VALID_MODE, 0, 0), -NE_STALE);
	CHECK_EQ(mcli_setxattr(c, out.fid, "user.a", "1", 1, 0), -NE_STALE);
	CHECK_EQ(access_as(c, out.fid, 4), -NE_STALE);
	/* A file with a name on either side is inside; without the inner one it is not. */
	CHECK_EQ(mcli_link(r, out.fid, in.fid, "door", NULL), 0);
	CHECK_EQ(mcli_getattr(c, out.fid, NULL), 0);
	CHECK_EQ(mcli_unlink(r, in.fid, "door", false), 0);
	CHECK_EQ(mcli_getattr(c, out.fid, NULL), -NE_STALE);
	/* What is moved out is out at once, though it was inside before. */
	CHECK_EQ(mcli_lookup(c, in.fid, "deep", NULL), 0);
	CHECK_EQ(mcli_rename(r, sub.fid, "in", outdir.fid, "in", 0), 0);
	CHECK_EQ(mcli_lookup(c, in.fid, "deep", NULL), -NE_STALE);
	CHECK_EQ(mcli_getattr(c, deep.fid, NULL), -NE_STALE);
	/* The session's root itself removed. */
	CHECK_EQ(mcli_unlink(r, sub.fid, "new", false), 0);
	CHECK_EQ(mcli_unlink(r, top.fid, "sub", true), 0);
	CHECK_EQ(mcli_getattr(c, ROOT, NULL), -NE_STALE);
}

TEST(confined)
{
	perm_run(body_confined);
}

static void body_forged(struct perm *p)
{
	static const struct fid fids[] = {{0, 0, 0}, {1, 1, 1}, {FID_SEQ_NORMAL + 1, 999999, 0},
		{FID_SEQ_NORMAL + 1, 1, 7}, {UINT64_MAX, UINT32_MAX, UINT32_MAX},
		{FID_SEQ_ROOT, 2, 0}};
	struct mcli *c = &p->root;
	struct w_mds_readdir_req list = {
		.cred = c->cred, .fid = ROOT, .cookie = UINT64_MAX, .bytes_max = 4096};
	struct w_mds_readdir_rep listed;
	struct w_mds_setattr_req set = {.cred = c->cred, .fid = ROOT, .valid = UINT32_MAX};
	struct w_attr f;

	CHECK_EQ(mcli_create(c, ROOT, "f", 0100644, &f), 0);
	for (size_t i = 0; i < ARRAY_SIZE(fids); i++) {
		CHECK_EQ(mcli_getattr(c, fids[i], NULL), -NE_STALE);
		CHECK_EQ(mcli_create(c, fids[i], "x", 0100644, NULL), -NE_STALE);
		CHECK_EQ(mcli_link(c, fids[i], ROOT, "x", NULL), -NE_STALE);
		CHECK_EQ(mcli_rename(c, ROOT, "f", fids[i], "x", 0), -NE_STALE);
	}
	CHECK_EQ(mcli_call(c, W_OP_MDS_READDIR, &list, &listed), 0);
	CHECK(listed.end && listed.entries.count == 0);
	list.bytes_max = 3;
	CHECK_EQ(mcli_call(c, W_OP_MDS_READDIR, &list, &listed), -NE_INVAL);
	list.fid = f.fid;
	CHECK_EQ(mcli_call(c, W_OP_MDS_READDIR, &list, &listed), -NE_NOTDIR);
	CHECK_EQ(mcli_call(c, W_OP_MDS_SETATTR, &set, NULL), -NE_NOTSUP);
	set.valid = W_SETATTR_VALID_SIZE;
	CHECK_EQ(mcli_call(c, W_OP_MDS_SETATTR, &set, NULL), -NE_ISDIR);
	set.fid = f.fid;
	set.size = UINT64_MAX;
	CHECK_EQ(mcli_call(c, W_OP_MDS_SETATTR, &set, NULL), -NE_FBIG);
	set.valid = W_SETATTR_VALID_UID;
	set.uid = UINT32_MAX;
	CHECK_EQ(mcli_call(c, W_OP_MDS_SETATTR, &set, NULL), -NE_INVAL);
	/* An operation that is none of ours. */
	CHECK_EQ(mcli_call(c, W_OP_OST_STATFS, &(struct w_ost_statfs_req){0}, NULL), -NE_NOSYS);
}

TEST(forged)
{
	perm_run(body_forged);
}

static void body_setid(struct perm *p)
{
	struct mcli *c = &p->root;
	struct w_attr d;
	struct w_attr a;

	CHECK_EQ(mcli_create(c, ROOT, "d", 042777, &d), 0);
	CHECK_EQ(chmod_as(c, d.fid, W_SETATTR_VALID_GID, 0, 500), 0);
	mcli_as(c, 1000, 1000, 0, NULL);
	CHECK_EQ(mcli_create(c, d.fid, "sub", 040755, &a), 0);
	CHECK_EQ(a.mode, 042755);
	CHECK_EQ(a.gid, 500);
	CHECK_EQ(mcli_create(c, d.fid, "f", 0102755, &a), 0);
	CHECK_EQ(a.mode, 0100755); /* not a member of group 500 */
	CHECK_EQ(a.gid, 500);
	CHECK_EQ(chmod_as(c, a.fid, W_SETATTR_VALID_MODE, 06755, 0), 0);
	CHECK_EQ(mcli_getattr(c, a.fid, &a), 0);
	CHECK_EQ(a.mode, 0104755);
	mcli_as_root(c);
	CHECK_EQ(chmod_as(c, a.fid, W_SETATTR_VALID_MODE, 06755, 0), 0);
	CHECK_EQ(chmod_as(c, a.fid, W_SETATTR_VALID_UID, 0, 1001), 0);
	CHECK_EQ(mcli_getattr(c, a.fid, &a), 0);
	CHECK_EQ(a.mode, 0100755);
}

TEST(setid)
{
	perm_run(body_setid);
}

/* ---- re-claims by who never opened it ---- */

static int reclaim_as(struct mcli *c, struct fid fid, uint64_t handle, uint32_t flags)
{
	struct w_mds_reclaim_open_req req = {
		.cred = c->cred, .fid = fid, .handle = handle, .open = flags, .last = true};

	return mcli_call(c, W_OP_MDS_RECLAIM_OPEN, &req, NULL);
}

static int open_as(struct mcli *c, struct fid fid, uint64_t handle, uint32_t flags)
{
	struct w_mds_open_req req = {.cred = c->cred, .fid = fid, .handle = handle, .open = flags};

	return mcli_call(c, W_OP_MDS_OPEN, &req, NULL);
}

static void user_open(struct mcli *c, uint8_t client, bool read_only)
{
	struct mds_peer peer;

	mcli_peer(&peer, client);
	peer.role = W_PEER_ROLE_USER;
	peer.allow_root = false;
	peer.read_only = read_only;
	peer.uid = 1234;
	peer.gid = 1235;
	CHECK_EQ(mcli_open_peer(c, &peer, 0), 0);
	mcli_as_root(c);
}

#define READ W_OPEN_FLAGS_READ
#define WRITE W_OPEN_FLAGS_WRITE

static void body_reclaim(struct perm *p)
{
	struct mcli *r = &p->root;
	struct mcli *c = &p->c;
	struct w_mds_setattr_req immutable = {
		.cred = r->cred, .valid = W_SETATTR_VALID_FLAGS, .state = W_ATTR_STATE_IMMUTABLE};
	struct w_attr f;
	struct w_attr own;

	CHECK_EQ(mcli_create(r, ROOT, "f", 0100600, &f), 0);
	user_open(c, 2, false);
	CHECK_EQ(reclaim_as(c, f.fid, 1, READ), -NE_ACCES);
	CHECK_EQ(reclaim_as(c, f.fid, 1, WRITE), -NE_ACCES);
	/* An open to read gives no right to write, with a name or without. */
	CHECK_EQ(chmod_as(r, f.fid, W_SETATTR_VALID_MODE, 0644, 0), 0);
	CHECK_EQ(open_as(c, f.fid, 1, READ), 0);
	CHECK_EQ(reclaim_as(c, f.fid, 2, READ | WRITE), -NE_ACCES);
	CHECK_EQ(mcli_unlink(r, ROOT, "f", false), 0);
	CHECK_EQ(reclaim_as(c, f.fid, 2, READ | WRITE), -NE_ACCES);
	CHECK_EQ(reclaim_as(c, f.fid, 2, READ), 0);
	/* Nor does it to who did not have it open. */
	CHECK_EQ(reclaim_as(r, f.fid, 2, READ), -NE_STALE);
	/* An owner could change the mode, but not chattr's flags. */
	CHECK_EQ(mcli_create(c, ROOT, "own", 0100000, &own), 0);
	CHECK_EQ(reclaim_as(c, own.fid, 3, READ | WRITE), 0);
	immutable.fid = own.fid;
	CHECK_EQ(mcli_call(r, W_OP_MDS_SETATTR, &immutable, NULL), 0);
	CHECK_EQ(reclaim_as(c, own.fid, 4, READ | WRITE), -NE_PERM);
	CHECK_EQ(reclaim_as(c, own.fid, 4, READ), 0);
}

TEST(reclaim)
{
	perm_run(body_reclaim);
}

static void body_reclaim_read_only(struct perm *p)
{
	struct w_attr f;

	CHECK_EQ(mcli_create(&p->root, ROOT, "f", 0100666, &f), 0);
	user_open(&p->c, 2, true);
	CHECK_EQ(open_as(&p->c, f.fid, 1, READ), 0);
	CHECK_EQ(reclaim_as(&p->c, f.fid, 2, WRITE), -NE_ROFS);
	CHECK_EQ(mcli_unlink(&p->root, ROOT, "f", false), 0);
	CHECK_EQ(reclaim_as(&p->c, f.fid, 2, WRITE), -NE_ROFS);
}

TEST(reclaim_read_only)
{
	perm_run(body_reclaim_read_only);
}

static void body_reclaim_groups(struct perm *p)
{
	const uint32_t mine[] = {77};
	const uint32_t others[] = {78};
	struct mcli *c = &p->root;
	struct w_attr f;

	CHECK_EQ(mcli_create(c, ROOT, "f", 0100640, &f), 0);
	CHECK_EQ(chmod_as(c, f.fid, W_SETATTR_VALID_GID, 0, 77), 0);
	mcli_as(c, 1000, 1000, -1, NULL);
	CHECK_EQ(reclaim_as(c, f.fid, 1, READ), -NE_NEED_GROUPS);
	mcli_as(c, 1000, 1000, 1, others);
	CHECK_EQ(reclaim_as(c, f.fid, 1, READ), -NE_ACCES);
	mcli_as(c, 1000, 1000, 1, mine);
	CHECK_EQ(reclaim_as(c, f.fid, 1, READ), 0);
}

TEST(reclaim_groups)
{
	perm_run(body_reclaim_groups);
}

/* ---- groups of user sessions: what the server's database says ---- */

static void group_files(struct perm *p, struct fid *ret_mine, struct fid *ret_less)
{
	struct w_attr f;

	CHECK_EQ(mcli_create(&p->root, ROOT, "mine", 0100660, &f), 0);
	CHECK_EQ(chmod_as(&p->root, f.fid, W_SETATTR_VALID_GID, 0, 77), 0);
	*ret_mine = f.fid;
	/* A group with less than others. */
	CHECK_EQ(mcli_create(&p->root, ROOT, "less", 0100604, &f), 0);
	CHECK_EQ(chmod_as(&p->root, f.fid, W_SETATTR_VALID_GID, 0, 77), 0);
	*ret_less = f.fid;
}

static void body_user_groups(struct perm *p)
{
	const uint32_t in[] = {1235, 9, 77};
	const uint32_t out[] = {1235, 9, 78};
	struct sim_node *node = p->box.node;
	struct mcli *c = &p->c;
	struct fid mine;
	struct fid less;
	struct w_attr own;

	group_files(p, &mine, &less);
	sim_node_user_set(node, 1234, in, 3);
	user_open(c, 2, false);
	CHECK_EQ(sim_node_users_asked(node), 1);
	CHECK_EQ(access_as(c, mine, 6), 0);
	CHECK_EQ(access_as(c, less, 4), -NE_ACCES);
	CHECK_EQ(open_as(c, mine, 1, READ | WRITE), 0);
	/* His own files he gives to his groups and to no others, whatever he says of himself. */
	CHECK_EQ(mcli_create(c, ROOT, "own", 0100600, &own), 0);
	CHECK_EQ(chmod_as(c, own.fid, W_SETATTR_VALID_GID, 0, 9), 0);
	mcli_as(c, 1234, 1235, 1, (const uint32_t[]){55});
	CHECK_EQ(chmod_as(c, own.fid, W_SETATTR_VALID_GID, 0, 55), -NE_PERM);
	/* The list is kept for some minutes; what depends on no group does not ask even then. */
	sim_node_user_set(node, 1234, out, 3);
	CHECK_EQ(access_as(c, mine, 6), 0);
	env_sleep(p->box.env, 400 * NS_PER_S);
	CHECK_EQ(access_as(c, own.fid, 4), 0);
	CHECK_EQ(sim_node_users_asked(node), 1);
	CHECK_EQ(access_as(c, mine, 6), -NE_ACCES);
	CHECK_EQ(access_as(c, less, 4), 0);
	CHECK_EQ(sim_node_users_asked(node), 2);
	/* When the database fails, what it said last holds. */
	sim_node_users_fail(node, NE_IO);
	sim_node_user_set(node, 1234, in, 3);
	env_sleep(p->box.env, 400 * NS_PER_S);
	CHECK_EQ(access_as(c, mine, 6), -NE_ACCES);
	CHECK_EQ(access_as(c, less, 4), 0);
	CHECK_EQ(sim_node_users_asked(node), 3);
	sim_node_users_fail(node, NE_OK);
	env_sleep(p->box.env, 20 * NS_PER_S);
	CHECK_EQ(access_as(c, mine, 6), 0);
}

TEST(user_groups)
{
	perm_run(body_user_groups);
}

static void body_user_unknown(struct perm *p)
{
	struct sim_node *node = p->box.node;
	struct fid mine;
	struct fid less;

	group_files(p, &mine, &less);
	user_open(&p->c, 2, false);
	mcli_as(&p->c, 1234, 1235, 1, (const uint32_t[]){77});
	CHECK_EQ(access_as(&p->c, mine, 4), -NE_ACCES);
	CHECK_EQ(access_as(&p->c, less, 4), 0);
	mds_session_close(p->box.mds, p->c.session);
	/* A database that has never answered: he may be in the group that has less. */
	sim_node_users_fail(node, NE_IO);
	user_open(&p->c, 2, false);
	CHECK_EQ(access_as(&p->c, mine, 4), -NE_ACCES);
	CHECK_EQ(access_as(&p->c, less, 4), -NE_ACCES);
	CHECK_EQ(mcli_create(&p->c, ROOT, "own", 0100600, NULL), 0);
	sim_node_users_fail(node, NE_OK);
	env_sleep(p->box.env, 20 * NS_PER_S);
	CHECK_EQ(access_as(&p->c, less, 4), 0);
}

TEST(user_unknown)
{
	perm_run(body_user_unknown);
}

/* ---- what lost its name while the server did not know who had it open ---- */

struct window {
	struct mbox box;
	struct mcli before; /* comes back */
	struct mcli c;
	uint64_t session;
	struct fid fid;
};

static void window_before(void *arg)
{
	struct window *w = arg;
	struct w_attr f;

	mbox_start(&w->box);
	mcli_open(&w->before, 0);
	w->session = mds_session_id(w->before.session);
	CHECK_EQ(mcli_create(&w->before, ROOT, "f", 0100666, &f), 0);
	CHECK_EQ(open_as(&w->before, f.fid, 1, READ | WRITE), 0);
	w->fid = f.fid;
}

static void window_after(void *arg)
{
	struct window *w = arg;
	struct mds_peer peer;
	uint64_t end;

	mbox_start(&w->box);
	mcli_peer(&peer, 2);
	CHECK_EQ(mcli_open_peer(&w->c, &peer, 0), 0);
	CHECK_EQ(mcli_unlink(&w->c, ROOT, "f", false), 0);
	mcli_open(&w->before, w->session);
	CHECK_EQ(reclaim_as(&w->before, w->fid, 1, READ | WRITE), 0);
	end = env_now(w->box.env) + 10 * NS_PER_S;
	CHECK_EQ(env_sleep_until(w->box.env, end), 0);
	/* The window is over: who was not there before has never had it open. */
	CHECK_EQ(mcli_getattr(&w->before, w->fid, NULL), 0);
	mcli_as_root(&w->c);
	CHECK_EQ(reclaim_as(&w->c, w->fid, 5, READ), -NE_STALE);
	mbox_check(&w->box);
	mbox_stop(&w->box);
}

TEST(reclaim_after_the_window)
{
	struct window *w = calloc(1, sizeof(*w));

	mbox_init(&w->box, 1);
	mcli_init(&w->before, &w->box);
	mcli_init(&w->c, &w->box);
	CHECK(mbox_run(&w->box, window_before, w, SIM_KILL));
	CHECK(mbox_run(&w->box, window_after, w, SIM_KILL));
	mcli_fini(&w->before);
	mcli_fini(&w->c);
	mbox_fini(&w->box);
	free(w);
}
