/*
 * Clients that did not come back before the recovery window ran out (RULES C9, D2).
 *
 * What such a client was writing when the MDT went may still be on its way to the OSTs, and the MDT no longer knows which
 * ranges it had handed out. So, before an append is given a range, the OSTs of that file refuse those clients, durably.
 * That is asked of an OST when it matters, once per client: a client
 * that comes back meanwhile loses nothing on the others, and what it had on its way is over when it says so
 * (mds_window_session_done).
 *
 * Invariant: absent[0, ost->absent_done) are fenced at the OST or have come back. The list only grows once in a life.
 */
#include "base/log.h"
#include "mds/mds_data.h"

#define ANSWER_NS (30 * NS_PER_S)

static bool is_absent(const struct mds_session *session)
{
	return session->recovering && !session->closing;
}

int mds_absent_note(struct mds_data *data)
{
	uint32_t count = 0;

	ASSERT(data->absent == NULL);
	HMAP_FOREACH (it, &data->mds->sessions) {
		count += is_absent(container_of(it, struct mds_session, node));
	}
	if (count == 0) {
		return 0;
	}
	data->absent = mem_zalloc_array(count, sizeof(*data->absent));
	if (data->absent == NULL) {
		return -NE_NOMEM;
	}
	HMAP_FOREACH (it, &data->mds->sessions) {
		const struct mds_session *s = container_of(it, struct mds_session, node);

		if (is_absent(s)) {
			data->absent[data->absent_count++] = (struct mds_absent){
				.client = s->client,
				.key_id = s->key_id,
				.incarnation = s->incarnation,
			};
		}
	}
	log_warn(MDS_LOG, "clients did not come back count=%u", count);
	return 0;
}

void mds_absent_back(struct mds_data *data, const struct mds_session *session)
{
	for (uint32_t i = 0; i < data->absent_count; i++) {
		struct mds_absent *a = &data->absent[i];

		if (uuid_eq(a->client, session->client) && a->key_id == session->key_id &&
			a->incarnation == session->incarnation) {
			a->back = true;
		}
	}
}

int mds_absent_fence_one(struct mds_ost *ost, const struct mds_absent *who, uint64_t deadline_ns)
{
	struct w_ost_fence_req req = {
		.client = who->client, .key_id = who->key_id, .incarnation = who->incarnation};
	struct w_ost_fence_rep rep;
	struct rpc_call call = {
		.op = W_OP_OST_FENCE,
		.flags = RPC_CALL_REPEATABLE,
		.request = &req,
		.reply = &rep,
		.deadline_ns = deadline_ns,
	};
	int r = ost == NULL ? -NE_NOTARGET : mds_ost_call(ost, &call);

	rpc_call_fini(&call);
	return r;
}

static int fence_at(struct mds_data *data, struct mds_ost *ost, uint64_t deadline_ns)
{
	uint32_t i = ost == NULL ? 0 : ost->absent_done;

	while (i < data->absent_count) {
		const struct mds_absent a = data->absent[i];
		int r = a.back ? 0 : mds_absent_fence_one(ost, &a, deadline_ns);

		if (r < 0) {
			return r;
		}
		i++;
		/* Others may have been faster. */
		if (ost != NULL && ost->absent_done < i) {
			ost->absent_done = i;
		}
	}
	return 0;
}

int mds_absent_fence(struct mds_data *data, const struct mds_objects *objects, uint64_t deadline_ns,
	struct mds_ost **ret_late)
{
	uint64_t deadline = deadline_ns != 0 ? deadline_ns : env_now(data->mds->env) + ANSWER_NS;

	for (uint32_t i = 0; data->absent_count > 0 && i < objects->geom.stripe_count; i++) {
		struct mds_ost *ost = mds_ost_find(data, objects->osts[i]);
		int r = fence_at(data, ost, deadline);

		if (r < 0) {
			*ret_late = r == -NE_TIMEDOUT ? ost : NULL;
			return r;
		}
	}
	return 0;
}
