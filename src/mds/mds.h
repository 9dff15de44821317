/*
 * The MDT's service: name space, inodes, sessions, and (in the mds_layout, mds_open... files) layouts, opens,
 * sizes and inline data. A deterministic state machine over src/store/state.h.
 *
 * Who calls it. The daemon starts one `struct mds` per MDT on a reactor and makes an RPC service of it with
 * mds_service_ops; tests call mds_serve. One fiber per request. Everything in a request is distrusted: ids are
 * checked against the session, FIDs against the state.
 *
 * Invariants. A change, the reply to it and the slot it answers are one log record. A reply leaves when its
 * record is in the kernel. Nothing but the sessions' and opens' tables lives outside the state.
 */
#ifndef NACRE_MDS_MDS_H
#define NACRE_MDS_MDS_H

#include "base/base.h"
#include "base/bytes.h"
#include "base/fid.h"
#include "base/limits.h"
#include "base/uuid.h"
#include "env/env.h"
#include "store/state.h"
#include "wire/gen/wire.h"

struct mds;
struct mds_session;
struct rpc_client;

struct mds_options {
	const char *fsname; /* file system this MDT belongs to */
	uint16_t index; /* number of the MDT */
	uint32_t epoch; /* of this start, from the target's superblock */
	/* The state store; `create` makes a new name space with an empty root in an empty store. */
	struct state_opts store;
	/* Sequences that are this MDT's (mgs_register). The first of them is never used. */
	uint64_t fid_seq_start;
	uint64_t fid_seq_count;
	/* Of the root directory when the name space is made. Mode 0: 0755. */
	uint32_t root_mode;
	uint32_t root_uid;
	uint32_t root_gid;
	/* Bits of a name's hash that count; 0: all 63. Tests use 4 to make names collide. Fixed for a store. */
	unsigned hash_bits;
	/* Oids reserved by one durable record; 0: 65536. */
	uint32_t fid_batch;
	/* Makes the sessions with the OSTs (role SERVER); outlives the mds. NULL: there are none, data stays in
	 * the MDT and -NE_NOSPC is answered where it would have to leave. */
	struct rpc_client *ost_client;
	/* How long opens and orphans of before the start are waited for; 0: 60 s. */
	uint64_t recovery_ns;
};

/* Recovers (or makes) the state and starts serving. Besides state_open's errors: -NE_INVAL for options
 * that make no sense, -NE_CORRUPT when the state lacks what every name space has. */
_yields_ _check_ int mds_start(
	struct env *env, const struct mds_options *opts, struct mds **ret_mds);
/* Everything becomes durable; no request may be in progress. Accepts NULL. */
_yields_ void mds_stop(struct mds *mds);

/* ---- sessions (RULES D4) ---- */

/* What the transport's handshake proved about a client. */
struct mds_peer {
	struct uuid client;
	uint32_t incarnation;
	enum w_peer_role role;
	uint32_t uid; /* USER: the only uid */
	uint32_t gid;
	bool allow_root;
	bool read_only;
	uint32_t key_id;
	uint32_t pid;
	const char *subdir; /* only this directory and below; empty: all */
	const char *hostname;
	const char *addr; /* for people */
};

/* Opens a session, or resumes number `wanted` if this MDT knows it as that client's (*ret_resumed). The
 * session is durable when this returns; it outlives restarts until mds_session_close. -NE_NOENT: the
 * subdirectory does not exist. -NE_LIMIT. */
_yields_ _check_ int mds_session_open(struct mds *mds, const struct mds_peer *peer, uint64_t wanted,
	struct mds_session **ret_session, bool *ret_resumed);
/* Ends it: opens, slots and the record go. No request of it may be running. */
_yields_ void mds_session_close(struct mds *mds, struct mds_session *session);
uint64_t mds_session_id(const struct mds_session *session);

/* A slot's last request as the state holds it, with the reply as it was encoded (or made again). */
struct mds_slot {
	uint16_t slot;
	uint16_t op;
	uint32_t seq;
	uint64_t transno;
	struct span reply;
};

/* Calls fn for each slot the session has used, ascending; the first non-zero result ends it. */
typedef int mds_slot_fn(void *ctx, const struct mds_slot *slot);
_yields_ _check_ int mds_session_slots(
	struct mds *mds, struct mds_session *session, mds_slot_fn *fn, void *ctx);

/* ---- requests ---- */

/* Encodes a reply (struct w_..._rep of the op) for the transport, again for each attempt; *ret_bytes lives
 * until the request has been served. Must not yield. */
typedef int mds_encode_fn(
	void *ctx, const struct wire_op *op, const void *reply, struct span *ret_bytes);

struct rpc_parking;

/* Has the client ask again when the lot is woken (rpc_request_park); what it returns is the result. */
typedef int mds_park_fn(void *ctx, struct rpc_parking *lot);

struct mds_request {
	struct mds_session *session;
	const struct wire_op *op; /* any; -NE_NOSYS for what an MDT does not do */
	const void *body; /* decoded: struct w_..._req of the op */
	uint16_t slot; /* < LIM_SLOTS for modifying requests: the reply is kept there */
	uint32_t seq; /* in the slot; the transport has sorted out duplicates */
	mds_encode_fn *encode;
	void *encode_ctx;
	mds_park_fn
		*park; /* with encode_ctx; NULL: the request waits here for as long as it takes */
};

struct mds_result {
	uint64_t transno; /* of the change; 0: nothing changed */
};

/* Serves one request: 0 (the reply was given to encode) or the negative status. When it returns, the
 * reply may leave. */
_yields_ _check_ int mds_serve(
	struct mds *mds, const struct mds_request *request, struct mds_result *ret_result);
/* last_committed of every reply. */
uint64_t mds_last_committed(const struct mds *mds);

struct rpc_service_ops;
/* What makes a service of it; their ctx is the struct mds. */
const struct rpc_service_ops *mds_service_ops(void);

struct mds_space {
	uint64_t bytes_total;
	uint64_t bytes_free;
	uint64_t bytes_avail;
	uint64_t files_total; /* inodes there are and could be */
	uint64_t files_used;
};

struct mds_status {
	uint64_t sessions;
	uint64_t requests; /* served since the start */
	uint64_t last_committed;
	uint64_t uptime_ms;
	struct mds_space space;
};

void mds_space_get(struct mds *mds, struct mds_space *ret_space);
void mds_status_get(struct mds *mds, struct mds_status *ret_status);
struct metric_batch;
void mds_metrics(struct mds *mds, struct metric_batch *batch);
struct state *mds_state(struct mds *mds);
/* A newer cluster map: OSTs, their addresses and states, pools. Copies what it needs. -NE_NOMEM (nothing
 * changed), -NE_BADMSG. */
_check_ int mds_map_set(struct mds *mds, const struct w_mgs_map_rep *map);
/* What replies say of the cluster map. */
void mds_map_version_set(struct mds *mds, uint32_t version);

/* The codec of the value a key of the state has, for showing it; NULL: raw bytes. */
const struct wire_codec *mds_key_codec(const void *key, uint32_t len);

/* ---- checker ---- */

/* Called with one line per violation. */
typedef void mds_check_fn(void *ctx, const char *line);

/* Walks the whole state and verifies what must always hold: every entry names an inode, link counts,
 * entry counts, link keys, parents, no cycles, chains of colliding names, orphans, counters, layouts, inline
 * data, open sizes, intents. Returns the number of violations or a negative code. Nobody may change the state meanwhile. */
_yields_ _check_ int mds_check(
	struct env *env, struct state *st, unsigned hash_bits, mds_check_fn *fn, void *ctx);

#endif
