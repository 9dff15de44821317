/* Sessions that others try to end. */
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
