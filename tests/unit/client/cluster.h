/*
 * A cluster in the simulator for tests of the client: MGS, MDT and OSTs as they are, and client nodes.
 *
 * Each server is a node of its own, so that it can be killed or lose its power.
 */
#ifndef NACRE_TESTS_CLUSTER_H
#define NACRE_TESTS_CLUSTER_H

#include "client/client.h"
#include "env/sim/sim.h"
#include "oss/oss.h"
#include "rpc/rpc.h"
#include "wire/gen/wire.h"

#define CLUSTER_OSTS 7
#define CLUSTER_CLIENTS 3
#define CLUSTER_FS "testfs"

struct cluster;

struct cluster_ost {
	struct cluster *cl;
	struct sim_node *node;
	unsigned index;
	uint32_t epoch;
	struct uuid uuid;
	unsigned port; /* of the next start */
	bool serving;
	struct oss *oss;
};

typedef void cluster_body_fn(struct cluster *cl, unsigned client);

struct cluster_client {
	struct cluster *cl;
	struct sim_node *node;
	unsigned index;
	cluster_body_fn *body;
	struct client *c; /* while mounted */
	bool done;
};

struct cluster {
	struct sim *sim;
	uint8_t server_key[RPC_KEY_BYTES];
	struct uuid uuid;
	struct sim_node *mgs_node;
	bool mgs_serving;
	struct sim_node *mdt_node;
	uint32_t mdt_epoch;
	bool mdt_serving;
	struct sim_node *setup_node;
	bool setup_done;
	uint64_t stripe_size; /* default of the root directory */
	uint32_t stripe_count;
	unsigned groups_asked;
	unsigned ost_count;
	struct cluster_ost ost[CLUSTER_OSTS];
	struct cluster_client client[CLUSTER_CLIENTS];
	char key_text[RPC_KEY_TEXT_MAX];
	/* the test's own */
	unsigned step;
	uint64_t u64;
};

/* The root directory's default layout: more stripes than OSTs are allowed. */
struct cluster *cluster_new(
	uint64_t seed, unsigned osts, uint64_t stripe_size, uint32_t stripe_count);
void cluster_free(struct cluster *cl);
/* Runs a client program on node `client`; it ends with the mount given back. */
void cluster_client_start(struct cluster *cl, unsigned client, cluster_body_fn *body);
/* Runs the world until these clients have ended. */
void cluster_run(struct cluster *cl, unsigned clients);
/* From a client's fiber: mounts node `client`; aborts when it fails. */
struct client *cluster_mount(struct cluster *cl, unsigned client);
void cluster_options(struct cluster *cl, unsigned client, struct client_options *opt);
/* Crashes an OST and starts it again after a while. From anywhere. */
void cluster_ost_crash(struct cluster *cl, unsigned ost, enum sim_crash kind, uint64_t down_ns);
void cluster_mdt_crash(struct cluster *cl, enum sim_crash kind, uint64_t down_ns);
/* Starts it after a while if it has ended by itself meanwhile. */
void cluster_ost_revive(struct cluster *cl, unsigned ost, uint64_t after_ns);
void cluster_mdt_revive(struct cluster *cl, uint64_t after_ns);
void cluster_key(const struct cluster *cl, enum rpc_role role, struct rpc_key *ret_key);
/* From a fiber: waits until somebody has brought cl->step to this. */
void cluster_step_wait(struct cluster *cl, unsigned client, unsigned step);

#endif
