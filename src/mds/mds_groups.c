/*
 * The supplementary groups of user sessions: what this server's user database says of the session's uid (RULES D4).
 *
 * What the client says of groups is not looked at. The list is asked for when the session is opened, and again when a
 * decision depends on it and it is old: who asks then waits, others of the session decide by what there is or wait
 * with him. Requests that depend on no group (of the urgent classes most of all) never wait for the database.
 *
 * Invariants. Between two waits a list does not change. When the database fails, the last list it gave stays; before
 * the first one nothing that depends on groups is permitted, which is not the same as to be in none: a group may have
 * fewer rights than everybody.
 */
#include "base/log.h"
#include "mds/mds_int.h"

/* Who is put into a group waits for this, or mounts again; who is taken out keeps it for as long. */
#define OLD_NS (300 * NS_PER_S)
/* After a failure. */
#define AGAIN_NS (10 * NS_PER_S)

static bool groups_old(struct mds *mds, const struct mds_session *s)
{
	uint64_t age_max = s->groups_failed ? AGAIN_NS : OLD_NS;

	return !s->groups_asked || env_now(mds->env) - s->groups_asked_ns >= age_max;
}

int mds_groups_member(struct mds *mds, const struct mds_session *session, uint32_t gid)
{
	ASSERT(session->role == W_PEER_ROLE_USER);
	if (groups_old(mds, session)) {
		return -NE_NEED_GROUPS;
	}
	if (!session->groups_known) {
		return -NE_ACCES;
	}
	for (uint32_t i = 0; i < session->group_count; i++) {
		if (session->groups[i] == gid) {
			return 1;
		}
	}
	return 0;
}

void mds_groups_clear(struct mds_session *session)
{
	mem_free(TAKE_PTR(session->groups));
	session->group_count = 0;
	session->groups_known = false;
	session->groups_asked = false;
	session->groups_failed = false;
}

/* Takes a copy that is no longer than it must be. */
static int groups_store(struct mds_session *s, const uint32_t *ids, uint32_t count)
{
	uint32_t *copy = NULL;

	if (count > 0) {
		copy = mem_zalloc_array(count, sizeof(*copy));
		if (copy == NULL) {
			return -NE_NOMEM;
		}
		bytes_copy(copy, ids, count * sizeof(*copy));
	}
	mem_free(s->groups);
	s->groups = copy;
	s->group_count = count;
	s->groups_known = true;
	return 0;
}

static int groups_ask(struct mds *mds, struct mds_session *s)
{
	_cleanup_(free_ptr) uint32_t *ids = mem_zalloc_array(LIM_GROUPS_MAX, sizeof(*ids));
	uint32_t count = 0;
	int r;

	if (ids == NULL) {
		return -NE_NOMEM;
	}
	r = env_user_groups(mds->env, s->uid, ids, LIM_GROUPS_MAX, &count);
	return r < 0 ? r : groups_store(s, ids, count);
}

void mds_groups_learn(struct mds *mds, struct mds_session *session)
{
	int r;

	ASSERT(session->role == W_PEER_ROLE_USER);
	if (session->groups_asking) {
		r = env_wait(mds->env, &session->groups_wake, ENV_FOREVER, ENV_WAIT_PLAIN);
		ASSERT(r == 0);
		return;
	}
	if (!groups_old(mds, session)) {
		return;
	}
	session->groups_asking = true;
	r = groups_ask(mds, session);
	session->groups_asking = false;
	session->groups_asked = true;
	session->groups_failed = r < 0;
	session->groups_asked_ns = env_now(mds->env);
	env_wake_all(mds->env, &session->groups_wake);
	if (r < 0) {
		log_warn("mds", "groups of uid %u are not known: error=%s", session->uid,
			ne_name(r));
	}
}
