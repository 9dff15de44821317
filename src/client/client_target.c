/*
 * Sessions with targets, and what their events mean for the mount.
 *
 * OSTs' sessions are made when a file first needs them. A new or recovering session of the MDT re-claims every
 * open before ordinary calls flow. A newer map, or a target that cannot be reached, wakes the fiber that asks
 * for the map (client_map.c).
 */
#include "client/client_int.h"

/* Names the memory that outlives a server's process: equal means that nothing was lost in between. */
static uint64_t memory_hash(const struct rpc_session_info *info)
{
	size_t len = strlen(info->boot_id);

	/* 0 stands for unknown, which equals nothing. */
	return len == 0 ? 0 : (hash_bytes(info->boot_id, len) ^ info->memory_loss << 1) | 1;
}

static void memory_note(struct client_target *t, const struct rpc_session_info *info)
{
	struct client_memory *m = &t->memories[t->memory_next % CLIENT_MEMORIES];

	if (info->verifier == 0 || client_target_boot(t, info->verifier) != 0) {
		return;
	}
	m->verifier = info->verifier;
	m->boot = memory_hash(info);
	t->memory_next++;
}

uint64_t client_target_boot(const struct client_target *t, uint64_t verifier)
{
	for (unsigned i = 0; i < CLIENT_MEMORIES; i++) {
		if (t->memories[i].verifier == verifier && verifier != 0) {
			return t->memories[i].boot;
		}
	}
	return 0;
}

static void map_poke(struct client *c)
{
	c->map_wanted = true;
	env_wake_all(c->env, &c->map_poke);
}

/* The MDT's host lost its memory (another boot id), or the MDT could not write its log (another loss): inline data
 * written since the last commit it told of may be gone. Whether it is cannot be known, so who has such a file open is
 * told once, as for objects. A killed MDT lost nothing. */
static void mdt_memory_check(struct client *c, const struct rpc_session_info *info)
{
	uint64_t boot = memory_hash(info);

	if (c->mdt_boot != 0 && boot != c->mdt_boot) {
		HMAP_FOREACH (it, &c->inodes) {
			struct client_inode *inode = container_of(it, struct client_inode, node);

			inode->lost += inode->mdt_transno > c->mdt_committed;
			inode->mdt_transno = 0;
			client_inode_unsure(inode);
		}
	}
	c->mdt_boot = boot;
}

static int target_connected(struct client_target *t, struct rpc_session *session,
	enum rpc_event event, const struct rpc_session_info *info)
{
	struct client *c = t->client;
	int err = 0;

	memory_note(t, info);
	if (t->kind == W_TARGET_KIND_MDT) {
		mdt_memory_check(c, info);
	}
	if (t->connected_once) {
		c->counters.reconnects++;
		log_info(CLIENT_LOG, "%s: connected again at %s", t->name,
			rpc_session_addr(session));
	}
	t->connected_once = true;
	t->down = false;
	if (event != RPC_EVENT_RESUMED) {
		t->recoveries++;
		if (t->kind == W_TARGET_KIND_MDT) {
			err = client_reclaim(c, session);
		}
	}
	return err;
}

static int target_event(void *ctx, struct rpc_session *session, enum rpc_event event,
	const struct rpc_session_info *info)
{
	struct client_target *t = ctx;
	struct client *c = t->client;

	switch (event) {
	case RPC_EVENT_NEW:
	case RPC_EVENT_RESUMED:
	case RPC_EVENT_RECOVERING:
		return target_connected(t, session, event, info);
	case RPC_EVENT_EVICTED:
		log_warn(CLIENT_LOG, "%s: this client was evicted", t->name);
		/* What it had on the way is lost; under its next name it is let in again (RULES D2). */
		rpc_client_incarnation_set(c->rpc, ++c->incarnation);
		break;
	case RPC_EVENT_DISCONNECTED:
		t->down = true;
		map_poke(c);
		break;
	case RPC_EVENT_MAP:
		if (rpc_session_map_version(session) > c->map.version) {
			map_poke(c);
		}
		break;
	}
	return 0;
}

int client_session_make(struct client *c, struct client_target *t)
{
	struct rpc_session_opts opts = {
		.target = t->name,
		.fsname = c->fsname,
		.addrs = &t->addrs,
		.on_event = target_event,
		.on_event_ctx = t,
	};

	if (t->session != NULL) {
		return 0;
	}
	return rpc_session_new(c->rpc, &opts, &t->session);
}

struct rpc_session *client_mdt(struct client *c)
{
	ASSERT(c->map.mdt_count > 0 && c->map.mdts[0] != NULL);
	ASSERT(c->map.mdts[0]->session != NULL);
	return c->map.mdts[0]->session;
}

int client_ost_get(struct client *c, uint32_t index, struct client_target **ret_target)
{
	int err;

	if (index >= c->map.ost_count || c->map.osts[index] == NULL) {
		err = client_map_fetch(c, client_deadline(c));
		if (err != 0) {
			return err;
		}
	}
	if (index >= c->map.ost_count || c->map.osts[index] == NULL) {
		return -NE_NOTARGET;
	}
	err = client_session_make(c, c->map.osts[index]);
	if (err == 0) {
		*ret_target = c->map.osts[index];
	}
	return err;
}

struct client_target *client_target_next(struct client *c, uint32_t *pos)
{
	struct client_map *m = &c->map;

	for (;;) {
		uint32_t i = (*pos)++;

		if (i == 0) {
			if (m->mgt != NULL) {
				return m->mgt;
			}
		} else if (i <= m->mdt_count) {
			if (m->mdts[i - 1] != NULL) {
				return m->mdts[i - 1];
			}
		} else if (i - m->mdt_count <= m->ost_count) {
			if (m->osts[i - m->mdt_count - 1] != NULL) {
				return m->osts[i - m->mdt_count - 1];
			}
		} else {
			return NULL;
		}
	}
}
