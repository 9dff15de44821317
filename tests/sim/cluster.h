/*
 * A whole file system in one simulated world: a node with MGS and MDT, nodes with OSTs, nodes with clients.
 *
 * Everything is drawn from one seed: how many OSTs and clients, latencies, faults. What must outlive crashes (keys,
 * configurations, what the checkers know) is in the test's memory. Servers are formatted in their first life
 * and restarted from their disks later; a client's later life is a new client.
 */
#ifndef NACRE_TESTS_SIM_CLUSTER_H
#define NACRE_TESTS_SIM_CLUSTER_H

#include "base/prng.h"
#include "client/client.h"
#include "daemon/node.h"
#include "env/sim/sim.h"
#include "rpc/rpc.h"

#define CLUSTER_OSTS_MAX 6
#define CLUSTER_HOSTS_MAX (CLUSTER_OSTS_MAX + 1)
#define CLUSTER_CLIENTS_MAX 4
#define CLUSTER_FSNAME "simfs"

struct cluster;

/* A node with servers. hosts[0] has MGS and MDT. */
struct cluster_host {
	struct cluster *cluster;
	struct sim_node *node;
	struct node_config config;
	unsigned ost_first; /* indexes of its OSTs */
	unsigned ost_count;
	bool formatted;
	/* of the current life */
	struct node *server;
	bool stop;
	struct env_waitq stop_q;
	bool restart_due;
	bool suspended;
	enum sim_crash armed; /* kind of a crash armed with sim_crash_at */
	unsigned starts_failed; /* for lack of space, in a row */
};

struct cluster_client {
	struct cluster *cluster;
	struct sim_node *node;
	unsigned index;
	/* of the current life */
	struct client *client; /* NULL: not mounted */
	bool stop;
	bool stopped; /* unmounted in order */
	struct env_waitq stop_q;
	unsigned life;
	bool restart_due;
	bool suspended;
};

struct cluster_options {
	uint64_t seed;
	unsigned host_count; /* with OSTs */
	unsigned osts_per_host;
	unsigned client_count;
	uint64_t mdt_capacity_bytes; /* 0: the disk's */
	uint64_t ost_capacity_bytes;
	bool space_short; /* a start may fail for lack of space; it is tried again */
	bool disk_errors; /* disks fail: so may a start, it is tried again; operations may end with EIO */
	bool trace;
	bool quiet;
};

struct cluster {
	struct cluster_options opt;
	struct sim *sim;
	struct prng rng; /* of the test */
	uint8_t server_key[RPC_KEY_BYTES];
	char server_key_text[256];
	char client_key_text[2048];
	struct uuid uuid;
	unsigned host_count;
	unsigned ost_count;
	struct cluster_host *hosts[CLUSTER_HOSTS_MAX];
	unsigned client_count;
	struct cluster_client clients[CLUSTER_CLIENTS_MAX];
	/* Called in a fiber of the client when it has mounted, in each life. */
	void (*on_mount)(struct cluster_client *cl, void *ctx);
	/* Called when the process of a client has died. */
	void (*on_client_death)(struct cluster_client *cl, void *ctx);
	void *ctx;
	/* What has happened; checkers compare with what they had seen. */
	unsigned mdt_losses; /* power losses of the MDT's host */
	unsigned ost_losses; /* of any host with an OST */
	unsigned crashes;
	uint64_t quiet_until_ns;
	unsigned orders_checked; /* operations in histories that have an order */
	char faults[128]; /* for people */
};

struct cluster *cluster_new(const struct cluster_options *opt);
void cluster_free(struct cluster *c);
/* Starts every node. */
void cluster_start(struct cluster *c);
/* All servers registered and all clients mounted; false when that takes longer than max_ns. */
bool cluster_wait_ready(struct cluster *c, uint64_t max_ns);

/* Crash now, restart later (sim_after); harmless when it is down. */
void cluster_host_crash(struct cluster_host *h, enum sim_crash kind, uint64_t down_ns);
void cluster_client_crash(struct cluster_client *cl, enum sim_crash kind, uint64_t down_ns);
/* Restarts what is down, resumes what is suspended. */
void cluster_heal(struct cluster *c);
/* Servers end in order; returns false when they do not within max_ns. */
bool cluster_clients_stop(struct cluster *c, uint64_t max_ns);
bool cluster_hosts_stop(struct cluster *c, uint64_t max_ns);

struct mds *cluster_mds(struct cluster *c);
/* Disk errors that fired so far: an operation during which one did may end with EIO. */
uint64_t cluster_disk_errors(const struct cluster *c);
/* Runs fn(arg) in a fiber of the node until it ends. */
bool cluster_run_on(
	struct cluster *c, struct sim_node *node, env_fiber_fn *fn, void *arg, uint64_t max_ns);

/* Says what is wrong, with the seed, and aborts: the simulator adds the last events. */
void cluster_fail(struct cluster *c, const char *fmt, ...) _printf_(2, 3) _noreturn_;

static inline uint64_t cluster_rand(struct cluster *c, uint64_t below)
{
	return prng_below(&c->rng, below);
}

#endif
