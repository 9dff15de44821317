/*
 * One request: deadline, credentials, groups.
 *
 * The MDT decides about permissions. When it needs to know whether the caller is in some group it answers
 * NEED_GROUPS, and the request is repeated with the complete list (CONVENTIONS: the list is looked up then and
 * not before, as it costs a walk through /proc).
 */
#include "client/client_int.h"

uint64_t client_deadline(const struct client *c)
{
	return c->patience_ns == 0 ? 0 : env_now(c->env) + c->patience_ns;
}

struct client_cred client_cred_self(const struct client *c)
{
	return (struct client_cred){.pid = (int32_t)c->pid, .caps = UINT64_MAX};
}

int client_call(struct client *c, struct rpc_session *session, struct rpc_call *call)
{
	ASSERT(session != NULL && call->request != NULL);
	if (call->deadline_ns == 0) {
		call->deadline_ns = client_deadline(c);
	}
	c->counters.rpcs++;
	return rpc_call(session, call);
}

int client_mdt_call(struct client *c, struct rpc_call *call)
{
	int err = client_call(c, client_mdt(c), call);

	c->mdt_committed = u64_max(c->mdt_committed, call->last_committed);
	return err;
}

void client_cred_encode(const struct client_cred *cred, struct w_cred *ret_cred)
{
	ASSERT(cred != NULL);
	*ret_cred = (struct w_cred){.uid = cred->uid, .gid = cred->gid, .caps = cred->caps};
	if (cred->groups != NULL) {
		ret_cred->groups_valid = true;
		ret_cred->groups.items = cred->groups;
		ret_cred->groups.count = (uint32_t)u64_min(cred->group_count, LIM_GROUPS_MAX);
	}
}

/* Once more, with the reply's memory of the first try given back. */
static int call_again(struct client *c, struct rpc_call *call)
{
	struct rpc_call again = {.op = call->op,
		.flags = call->flags,
		.request = call->request,
		.reply = call->reply};

	rpc_call_fini(call);
	*call = again;
	return client_mdt_call(c, call);
}

int client_groups_get(
	struct client *c, const struct client_cred *cred, uint32_t *gids, uint32_t *ret_count)
{
	int count = 0;

	if (c->groups != NULL) {
		count = c->groups(c->groups_ctx, cred->pid, gids, LIM_GROUPS_MAX);
	}
	if (count < 0) {
		return count;
	}
	*ret_count = (uint32_t)u64_min((uint64_t)count, LIM_GROUPS_MAX);
	return 0;
}

int client_file_groups_set(struct client_file *f, const uint32_t *gids, uint32_t count)
{
	uint32_t *copy = mem_zalloc_array(u64_max(count, 1), sizeof(*copy));

	if (copy == NULL) {
		return -NE_NOMEM;
	}
	bytes_copy(copy, gids, count * sizeof(*copy));
	mem_free(f->groups);
	f->groups = copy;
	f->cred.groups = copy;
	f->cred.group_count = count;
	return 0;
}

/* f: NULL, or the file that is opened. */
static int mdt_ask(struct client *c, const struct client_cred *cred, struct w_cred *into,
	struct rpc_call *call, struct client_file *f)
{
	_cleanup_(free_ptr) uint32_t *gids = NULL;
	uint32_t count = 0;
	int err;

	client_cred_encode(cred, into);
	err = client_mdt_call(c, call);
	if (err != -NE_NEED_GROUPS || into->groups_valid) {
		return err;
	}
	gids = mem_zalloc_array(LIM_GROUPS_MAX, sizeof(*gids));
	if (gids == NULL) {
		return -NE_NOMEM;
	}
	err = client_groups_get(c, cred, gids, &count);
	if (err == 0 && f != NULL) {
		err = client_file_groups_set(f, gids, count);
	}
	if (err != 0) {
		return err;
	}
	into->groups_valid = true;
	into->groups.items = gids;
	into->groups.count = count;
	err = call_again(c, call);
	into->groups.items = NULL;
	into->groups.count = 0;
	return err;
}

int client_mdt_ask(struct client *c, const struct client_cred *cred, struct w_cred *into,
	struct rpc_call *call)
{
	return mdt_ask(c, cred, into, call, NULL);
}

int client_mdt_ask_open(struct client *c, const struct client_cred *cred, struct w_cred *into,
	struct rpc_call *call, struct client_file *f)
{
	ASSERT(f != NULL && !f->opened);
	return mdt_ask(c, cred, into, call, f);
}

int client_change_check(const struct client *c)
{
	return c->read_only ? -NE_ROFS : 0;
}

int client_lock_take(struct client *c, struct client_lock *lock)
{
	while (lock->held) {
		uint64_t deadline = client_deadline(c);
		int err = env_wait(
			c->env, &lock->q, deadline == 0 ? ENV_FOREVER : deadline, ENV_WAIT_INTR);

		if (err != 0) {
			/* A wake-up that came together with the interruption goes to the next. */
			if (!lock->held) {
				env_wake_one(c->env, &lock->q);
			}
			return err;
		}
	}
	lock->held = true;
	return 0;
}

void client_lock_give(struct client *c, struct client_lock *lock)
{
	ASSERT(lock->held);
	lock->held = false;
	env_wake_one(c->env, &lock->q);
}
