/*
 * What node.c and node_link.c share.
 */
#ifndef NACRE_DAEMON_NODE_INT_H
#define NACRE_DAEMON_NODE_INT_H

#include "daemon/node.h"
#include "daemon/super.h"
#include "rpc/rpc.h"

struct node_target {
	const struct node_target_config *config;
	struct super super;
	struct env_file *lock;
	uint64_t capacity_bytes;
	struct mgs *mgs;
	struct mds *mds;
	struct rpc_service *service; /* of the MDT */
	struct oss *oss;
};

/* The node as a client of the MGS. */
struct node_link {
	struct rpc_session *session;
	uint32_t map_version; /* of the map the services have */
	bool registered;
	bool stopping;
	bool fiber_alive;
	struct fiber *fiber; /* the map fiber; interrupted at the end */
	struct env_waitq wake; /* the map fiber waits here */
	struct env_waitq done; /* for registered, and for the fiber's end */
};

struct node {
	struct env *env;
	const struct node_config *config;
	struct bufpool *bufpool;
	struct rpc_server *server;
	struct rpc_client *client; /* role SERVER: to the MGS and, for the MDT, to OSTs */
	char addrs[NODE_ADDRS_MAX][LIM_ADDR_LEN_MAX + 1];
	unsigned target_count;
	struct node_target targets[NODE_TARGETS_MAX];
	struct node_link link;
};

/* Makes node->client. */
_check_ int node_link_make(
	struct node *node, struct uuid uuid, const uint8_t server_key[RPC_KEY_BYTES]);
/* Starts to register and to follow the map; returns at once. */
_check_ int node_link_start(struct node *node);
_yields_ void node_link_stop(struct node *node, uint64_t deadline_ns);
_yields_ void node_link_free(struct node *node);

#endif
