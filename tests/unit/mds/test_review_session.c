/* Sessions that others try to end, or to take over. */
#include "mds_box.h"
#include "test.h"

struct life {
	struct mbox box;
	struct mcli c;
	uint64_t session;
};

static void session_make(void *arg)
{
	struct life *l = arg;

	mbox_start(&l->box);
	mcli_open(&l->c, 0);
	l->session = mds_session_id(l->c.session);
}

static void session_steal(void *arg)
{
	struct life *l = arg;
	struct mds_peer peer;
	struct mds_session *s = NULL;
	bool resumed = true;

	mbox_start(&l->box);
	/* The client's name is no secret: whoever says it with another key is somebody else. */
	mcli_peer(&peer, 1);
	peer.key_id += 7;
	peer.role = W_PEER_ROLE_USER;
	peer.uid = 1000;
	CHECK_EQ(mds_session_open(l->box.mds, &peer, 0, &s, &resumed), 0);
	CHECK(!resumed && mds_session_id(s) != l->session);
	CHECK_EQ(mds_session_open(l->box.mds, &peer, l->session, &s, &resumed), 0);
	CHECK(!resumed);
	mcli_peer(&peer, 1);
	CHECK_EQ(mds_session_open(l->box.mds, &peer, l->session, &s, &resumed), 0);
	CHECK(resumed && mds_session_id(s) == l->session);
	mbox_check(&l->box);
	mbox_stop(&l->box);
}

TEST(another_key_does_not_end_a_session)
{
	struct life *l = calloc(1, sizeof(*l));

	mbox_init(&l->box, 1);
	mcli_init(&l->c, &l->box);
	CHECK(mbox_run(&l->box, session_make, l, SIM_KILL));
	CHECK(mbox_run(&l->box, session_steal, l, SIM_KILL));
	mcli_fini(&l->c);
	mbox_fini(&l->box);
	free(l);
}

/* Over a Unix socket many users come with one key: the kernel's uid tells them apart. */
static void user_peer(struct mds_peer *peer, uint32_t uid)
{
	mcli_peer(peer, 1);
	peer->role = W_PEER_ROLE_USER;
	peer->allow_root = false;
	peer->uid = uid;
	peer->gid = uid;
}

static void user_make(void *arg)
{
	struct life *l = arg;
	struct mds_peer peer;

	mbox_start(&l->box);
	user_peer(&peer, 1000);
	CHECK_EQ(mcli_open_peer(&l->c, &peer, 0), 0);
	l->session = mds_session_id(l->c.session);
	CHECK_EQ(mcli_create(&l->c, fid_root(), "before", 0100600, NULL), 0);
}

static void user_steal(void *arg)
{
	struct life *l = arg;
	struct mds_peer peer;
	struct mds_session *s = NULL;
	struct w_attr attr;
	bool resumed = true;

	mbox_start(&l->box);
	user_peer(&peer, 1001);
	CHECK_EQ(mds_session_open(l->box.mds, &peer, 0, &s, &resumed), 0);
	CHECK(!resumed && mds_session_id(s) != l->session);
	CHECK_EQ(mds_session_open(l->box.mds, &peer, l->session, &s, &resumed), 0);
	CHECK(!resumed);
	/* Whose it is finds it, and is what he proves now: ids and rights do not come from the record. */
	user_peer(&peer, 1000);
	peer.gid = 77;
	CHECK_EQ(mcli_open_peer(&l->c, &peer, l->session), 0);
	mcli_as_root(&l->c);
	CHECK_EQ(mcli_create(&l->c, fid_root(), "after", 0100600, &attr), 0);
	CHECK_EQ(attr.uid, 1000);
	CHECK_EQ(attr.gid, 77);
}

static void user_read_only(void *arg)
{
	struct life *l = arg;
	struct mds_peer peer;

	mbox_start(&l->box);
	user_peer(&peer, 1000);
	peer.read_only = true;
	CHECK_EQ(mcli_open_peer(&l->c, &peer, l->session), 0);
	CHECK_EQ(mcli_create(&l->c, fid_root(), "more", 0100600, NULL), -NE_ROFS);
	mbox_check(&l->box);
	mbox_stop(&l->box);
}

TEST(another_user_of_the_key_does_not_get_a_session)
{
	struct life *l = calloc(1, sizeof(*l));

	mbox_init(&l->box, 2);
	mcli_init(&l->c, &l->box);
	CHECK(mbox_run(&l->box, user_make, l, SIM_KILL));
	CHECK(mbox_run(&l->box, user_steal, l, SIM_KILL));
	CHECK(mbox_run(&l->box, user_read_only, l, SIM_KILL));
	mcli_fini(&l->c);
	mbox_fini(&l->box);
	free(l);
}
