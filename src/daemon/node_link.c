/*
 * A node's link to the MGS: registers the targets whenever the session is new, fetches the map whenever
 * there is a newer one, and gives it to the services.
 *
 * One fiber waits for "newer map"; registration runs in the session's event, before anything else flows.
 */
#include <inttypes.h>
#include <stdio.h>

#include "base/alloc.h"
#include "base/log.h"
#include "daemon/node_int.h"
#include "mds/mds.h"
#include "mgs/mgs.h"
#include "oss/oss.h"

#define NODE_LOG "node"

int node_link_make(struct node *node, struct uuid uuid, const uint8_t server_key[RPC_KEY_BYTES])
{
	struct rpc_key *key = mem_zalloc(sizeof(*key));
	struct rpc_client_opts opts = {
		.env = node->env,
		.uuid = uuid,
		.incarnation = 1,
		.key = key,
		.hostname = "server",
		.pid = node->config->pid,
	};
	int err;

	env_waitq_init(&node->link.wake);
	env_waitq_init(&node->link.done);
	if (key == NULL) {
		return -NE_NOMEM;
	}
	key->role = RPC_ROLE_SERVER;
	key->cluster = node->config->cluster;
	err = rpc_key_derive(key, server_key);
	if (err == 0) {
		err = rpc_client_new(&opts, &node->client);
	}
	explicit_bzero(key, sizeof(*key));
	mem_free(key);
	return err;
}

static void target_describe(struct node *node, struct node_target *t, struct w_target *w)
{
	const struct node_config *c = node->config;
	bool advertise = c->advertise_count > 0;
	unsigned count = advertise ? c->advertise_count : c->listen_count;
	struct wire_str addr[NODE_ADDRS_MAX] = {{0}};

	for (unsigned i = 0; i < count; i++) {
		addr[i] = wire_str_of(advertise ? c->advertise[i] : node->addrs[i]);
	}
	*w = (struct w_target){
		.name = wire_str_of(t->config->name),
		.kind = t->super.kind,
		.index = t->super.index,
		.uuid = t->super.uuid,
		.epoch = t->super.epoch,
		.state = W_TARGET_STATE_UP,
		.addr0 = addr[0],
		.addr1 = addr[1],
		.addr2 = addr[2],
		.addr3 = addr[3],
		.boot_id = wire_str_of(env_boot_id(node->env)),
		.pid = c->pid,
	};
}

static int target_register(struct node *node, struct node_target *t)
{
	struct w_mgs_register_req req = {
		.fsname = wire_str_of(node->config->fsname), .cluster = node->config->cluster};
	struct w_mgs_register_rep rep;
	struct rpc_call call = {
		.op = W_OP_MGS_REGISTER,
		.flags = RPC_CALL_RECOVERY | RPC_CALL_REPEATABLE,
		.request = &req,
		.reply = &rep,
	};
	int err;

	target_describe(node, t, &req.target);
	err = rpc_call(node->link.session, &call);
	rpc_call_fini(&call);
	if (err != 0) {
		log_error(NODE_LOG, "%s: the MGS refuses the registration: %s", t->config->name,
			ne_text(err));
	}
	return err;
}

static int on_event(void *ctx, struct rpc_session *session, enum rpc_event event,
	const struct rpc_session_info *info)
{
	struct node *node = ctx;
	int err = 0;

	(void)session;
	(void)info;
	switch (event) {
	case RPC_EVENT_NEW:
	case RPC_EVENT_RESUMED:
	case RPC_EVENT_RECOVERING:
		for (unsigned i = 0; i < node->target_count && err == 0; i++) {
			err = target_register(node, &node->targets[i]);
		}
		env_wake_all(node->env, &node->link.wake);
		return err;
	case RPC_EVENT_MAP:
		env_wake_all(node->env, &node->link.wake);
		return 0;
	default:
		return 0;
	}
}

static void map_give(struct node *node, const struct w_mgs_map_rep *map)
{
	for (unsigned i = 0; i < node->target_count; i++) {
		struct node_target *t = &node->targets[i];

		if (t->mds != NULL) {
			int err = mds_map_set(t->mds, map);

			mds_map_version_set(t->mds, map->version);
			if (err != 0) {
				log_error(NODE_LOG, "%s: map %u was not taken: %s", t->config->name,
					map->version, ne_text(err));
			}
		}
		if (t->oss != NULL) {
			oss_map_version_set(t->oss, map->version);
		}
	}
	node->link.map_version = map->version;
	node->link.registered = true;
	env_wake_all(node->env, &node->link.done);
}

bool node_registered(const struct node *node)
{
	return node->link.registered;
}

int node_register_wait(struct node *node, uint64_t deadline_ns)
{
	int err = 0;

	while (!node->link.registered && err == 0) {
		err = env_wait(node->env, &node->link.done, deadline_ns, ENV_WAIT_PLAIN);
	}
	return err;
}

static int map_fetch(struct node *node)
{
	struct w_mgs_map_req req = {.have_version = node->link.map_version};
	struct w_mgs_map_rep rep;
	struct rpc_call call = {.op = W_OP_MGS_MAP, .request = &req, .reply = &rep};
	int err = rpc_call(node->link.session, &call);

	if (err == 0 && rep.version != node->link.map_version) {
		map_give(node, &rep);
	}
	rpc_call_fini(&call);
	return err;
}

static bool map_is_old(const struct node *node)
{
	return node->link.map_version == 0 ||
		rpc_session_map_version(node->link.session) > node->link.map_version;
}

static void map_fiber(void *arg)
{
	struct node *node = arg;
	struct node_link *link = &node->link;

	link->fiber = env_self(node->env);
	while (!link->stopping) {
		int err = rpc_session_connect(link->session, ENV_FOREVER);

		if (err == 0 && map_is_old(node)) {
			err = map_fetch(node);
		}
		if (link->stopping) {
			break;
		}
		if (err != 0) {
			/* Refused for good (key, name) or interrupted: people have to act; try again later. */
			log_warn(NODE_LOG, "MGS: %s; trying again", ne_text(err));
			(void)!env_wait(node->env, &link->wake, env_now(node->env) + NS_PER_S,
				ENV_WAIT_PLAIN);
		} else {
			/* An MGS restored from a backup may have a map older than one that others name. */
			(void)!env_wait(node->env, &link->wake,
				map_is_old(node) ? env_now(node->env) + NS_PER_S : ENV_FOREVER,
				ENV_WAIT_PLAIN);
		}
	}
	link->fiber = NULL;
	link->fiber_alive = false;
	env_wake_all(node->env, &link->done);
}

static void addrs_fill(const struct node *node, struct rpc_addrs *addrs)
{
	const struct node_config *c = node->config;

	memset(addrs, 0, sizeof(*addrs));
	for (unsigned i = 0; i < c->mgs_count && i < LIM_ADDRS_MAX; i++) {
		memcpy(addrs->addr[addrs->count++], c->mgs[i], sizeof(addrs->addr[0]));
	}
}

int node_link_start(struct node *node)
{
	struct rpc_addrs *addrs = mem_alloc(sizeof(*addrs));
	struct rpc_session_opts opts = {
		.target = MGS_TARGET,
		.fsname = node->config->fsname,
		.addrs = addrs,
		.on_event = on_event,
		.on_event_ctx = node,
	};
	int err;

	if (addrs == NULL) {
		return -NE_NOMEM;
	}
	addrs_fill(node, addrs);
	err = rpc_session_new(node->client, &opts, &node->link.session);
	mem_free(addrs);
	if (err != 0) {
		return err;
	}
	node->link.fiber_alive = true;
	err = env_spawn(node->env, "node-map", map_fiber, node);
	if (err != 0) {
		node->link.fiber_alive = false;
	}
	return err;
}

void node_link_stop(struct node *node, uint64_t deadline_ns)
{
	struct node_link *link = &node->link;

	link->stopping = true;
	if (link->session == NULL) {
		return;
	}
	env_wake_all(node->env, &link->wake);
	if (link->fiber != NULL) {
		env_interrupt(node->env, link->fiber);
	}
	while (link->fiber_alive) {
		(void)!env_wait(node->env, &link->done, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
	rpc_session_free(TAKE_PTR(link->session), deadline_ns);
}

void node_link_free(struct node *node)
{
	rpc_client_free(TAKE_PTR(node->client));
}
