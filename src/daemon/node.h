/*
 * A node: any set of targets of one file system, served on one reactor.
 *
 * The daemon nacred is this with a configuration file and signals around it; the simulator runs the same node
 * with a simulated env. A node checks and locks its targets, raises their epochs, starts their services,
 * listens, registers with the MGS (for as long as that takes) and hands every newer map to its services.
 */
#ifndef NACRE_DAEMON_NODE_H
#define NACRE_DAEMON_NODE_H

#include "base/limits.h"
#include "base/uuid.h"
#include "env/env.h"
#include "store/state.h"

struct node;
struct mds;
struct oss;
struct mgs;

/* Targets one process may serve, addresses it may listen on. */
#define NODE_TARGETS_MAX 64
#define NODE_ADDRS_MAX 4

struct node_target_config {
	char name[LIM_TARGET_NAME_MAX + 1];
	char path[LIM_PATH_MAX + 1];
	uint64_t capacity_bytes; /* 0: as formatted */
};

struct node_config {
	char fsname[LIM_FSNAME_MAX + 1];
	struct uuid cluster;
	unsigned listen_count;
	char listen[NODE_ADDRS_MAX][LIM_ADDR_LEN_MAX + 1];
	unsigned advertise_count; /* 0: the addresses listened on */
	char advertise[NODE_ADDRS_MAX][LIM_ADDR_LEN_MAX + 1];
	unsigned mgs_count;
	char mgs[LIM_ADDRS_MAX][LIM_ADDR_LEN_MAX + 1];
	char server_key[LIM_PATH_MAX + 1]; /* path */
	unsigned target_count;
	struct node_target_config targets[NODE_TARGETS_MAX];
	/* Of the environment rather than of the file. */
	enum state_kv_kind kv_kind;
	uint64_t wal_segment_bytes; /* of all logs; 0: each service's own */
	uint32_t uid; /* the process's */
	uint32_t gid;
	uint32_t pid;
};

/* Starts everything or nothing. ret_why (cap bytes) gets one line for the operator when it fails: what,
 * where, what to do. config must live as long as the node. */
_yields_ _check_ int node_start(struct env *env, const struct node_config *config, char *ret_why,
	size_t cap, struct node **ret_node);
/* Orderly: everything becomes durable. Accepts NULL. */
_yields_ void node_stop(struct node *node);
/* True once all targets are registered with the MGS and a map has been received. */
bool node_registered(const struct node *node);
/* Waits for that, at most until the deadline: -NE_TIMEDOUT. */
_yields_ _check_ int node_register_wait(struct node *node, uint64_t deadline_ns);
/* The address bound (port filled in) for listen[i]. */
const char *node_addr(const struct node *node, unsigned i);
struct metric_batch;
/* All that there is to know, for the monitor. */
_yields_ void node_metrics(struct node *node, struct metric_batch *batch);
/* Services by target name, NULL if not here; for tests and status. */
struct mds *node_mds(struct node *node, const char *target);
struct oss *node_oss(struct node *node, const char *target);

#endif
