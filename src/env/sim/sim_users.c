/* The user database of a node's host: a table that the test fills. */
#include "env/sim/sim_int.h"

static struct sim_user *user_find(struct sim_node *node, uint32_t uid)
{
	for (unsigned i = 0; i < node->user_count; i++) {
		if (node->users[i].uid == uid) {
			return &node->users[i];
		}
	}
	return NULL;
}

void sim_node_user_set(struct sim_node *node, uint32_t uid, const uint32_t *groups, unsigned count)
{
	struct sim_user *user = user_find(node, uid);

	ASSERT(count <= ARRAY_SIZE(user->groups));
	if (user == NULL) {
		ASSERT(node->user_count < ARRAY_SIZE(node->users));
		user = &node->users[node->user_count++];
	}
	user->uid = uid;
	user->count = count;
	for (unsigned i = 0; i < count; i++) {
		user->groups[i] = groups[i];
	}
}

void sim_node_users_fail(struct sim_node *node, enum ne_code code)
{
	node->users_fail = code;
}

uint64_t sim_node_users_asked(const struct sim_node *node)
{
	return node->users_asked;
}

/* What a helper thread does; the table is looked at when it runs. */
struct users_lookup {
	struct sim_node *node;
	uint32_t uid;
	uint32_t *ids;
	uint32_t max;
	uint32_t count;
	int err;
};

static void lookup_job(void *arg)
{
	struct users_lookup *l = arg;
	const struct sim_user *user = user_find(l->node, l->uid);

	l->node->users_asked++;
	l->err = -(int)l->node->users_fail;
	for (unsigned i = 0; user != NULL && i < user->count && i < l->max; i++) {
		l->ids[i] = user->groups[i];
		l->count = i + 1;
	}
}

int sim_user_groups(struct env *env, uint32_t uid, uint32_t *ids, uint32_t max, uint32_t *ret_count)
{
	struct users_lookup l = {.node = sim_node_of(env), .uid = uid, .ids = ids, .max = max};

	sim_job_run(env, ENV_JOB_NAMES, lookup_job, &l);
	if (l.err == 0) {
		*ret_count = l.count;
	}
	return l.err;
}
