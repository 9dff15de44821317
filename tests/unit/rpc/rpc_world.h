/*
 * A small world for tests of rpc: a service that counts, keeps slots as a log would, and echoes bulk.
 *
 * Operations are borrowed from the schema and mean here:
 *	mgs_param	modifies: executes the id in param.key once; param.value "slow" takes a while first,
 *			"block" waits until it is interrupted, "stubborn" waits 5 s whatever happens,
 *			"park" is parked until the gate is open, "parkwake" once, and woken before it is
 *			answered, "dice" as chance will have it
 *	mgs_map		does not modify: replies have_version + 1; fsname "slow", "block", "retry" as above
 *	mds_close	modifies, urgent: executes the id in handle once
 *	ost_write	modifies, bulk: verifies the pattern of `offset`; executes the id in write_seq
 *	ost_read	bulk: replies `length` bytes of the pattern of `offset`
 * What must outlive a crash (slots, counters) is in `struct world`, in the test's memory.
 */
#ifndef NACRE_TESTS_RPC_WORLD_H
#define NACRE_TESTS_RPC_WORLD_H

#include "rpc/rpc.h"
#include "wire/gen/wire.h"

#define WORLD_IDS 65536
#define WORLD_SESSIONS 64
#define WORLD_REPLY_MAX 192

struct world_slot {
	uint32_t seq;
	int status;
	uint16_t op;
	uint64_t transno;
	uint8_t reply[WORLD_REPLY_MAX];
	uint32_t reply_len;
};

struct world_session {
	uint64_t id;
	struct uuid client;
	struct world_slot slot[LIM_SLOTS];
};

struct world {
	uint8_t server_key[RPC_KEY_BYTES];
	struct uuid cluster;
	struct rpc_key key; /* of the clients */
	/* durable */
	struct world_session sessions[WORLD_SESSIONS];
	unsigned session_count;
	uint64_t session_next;
	uint8_t executed[WORLD_IDS];
	uint64_t transno;
	uint32_t epoch;
	bool forget; /* sessions are not resumed after a restart */
	/* of one server process */
	struct env *env;
	struct rpc_server *server;
	struct rpc_service *service;
	struct rpc_server_limits limits;
	uint32_t own_uid;
	char addr[LIM_ADDR_LEN_MAX + 1];
	/* what was seen */
	unsigned opened;
	unsigned resumed;
	unsigned closed;
	enum rpc_close_reason close_reason;
	unsigned interrupted;
	unsigned blocked; /* handlers that wait now */
	unsigned running;
	unsigned running_max;
	uint64_t bulk_now; /* received bulk in handlers */
	uint64_t bulk_max;
	struct rpc_identity last_identity;
	uint64_t slow_ns;
	uint32_t fence_below; /* incarnations below this are refused */
	bool gate_open;
	struct rpc_parking lot; /* of parked requests */
	uint8_t parkings[WORLD_IDS]; /* how often each id was parked */
};

void world_init(struct world *w, uint64_t seed);
/* A key of this world for a role. */
void world_key(const struct world *w, enum rpc_role role, struct rpc_key *ret_key);
/* Starts server and service, listening on addr; aborts on failure. From a fiber of env. */
void world_serve(struct world *w, struct env *env, const char *addr);
void world_stop(struct world *w);
struct rpc_client *world_client(
	const struct world *w, struct env *env, uint64_t uuid_seed, const struct rpc_key *key);
struct rpc_session *world_session(struct rpc_client *client, const char *addr);

/* Calls; each returns the status. */
int call_param(struct rpc_session *s, unsigned id, const char *value, uint64_t deadline_ns,
	unsigned flags);
int call_map(struct rpc_session *s, const char *how, uint32_t have, uint64_t deadline_ns);
int call_close(struct rpc_session *s, unsigned id);
int call_write(struct rpc_session *s, unsigned id, uint64_t offset, void *buf, uint32_t len,
	unsigned flags);
int call_read(struct rpc_session *s, uint64_t offset, void *buf, uint32_t len);
void pattern_fill(uint64_t offset, void *buf, uint32_t len);
bool pattern_check(uint64_t offset, const void *buf, uint32_t len);

#endif
