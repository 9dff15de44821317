/*
 * Sessions between clients and targets: authentication, exactly-once requests, bulk data, pushes.
 *
 * Client side: a `struct rpc_client` (one per reactor) keeps connections, one `struct rpc_session` per
 * target of interest makes calls over them and reconnects for ever. Server side: a `struct rpc_server`
 * (one per reactor) listens and hosts services, one per target; what a client's session is to a service
 * is a `struct rpc_export`. docs/protocol.md describes what travels.
 *
 * Promises to callers
 * - A call to a modifying operation is executed once, whatever the network does and however often the
 *   connection breaks, as long as the target keeps (or restores) the session. If the session was lost
 *   after the request had been sent, the call ends with -NE_NOSESSION, unless it says RPC_CALL_REPEATABLE.
 * - Other operations may be executed several times.
 * - Messages of class urgent find room where normal and bulk ones wait.
 * - Nothing is believed before its checksum (and, off-host, its MAC) was verified.
 * Everything belongs to the reactor of its env; functions marked _yields_ switch fibers. Times are
 * nanoseconds of env_now.
 */
#ifndef NACRE_RPC_RPC_H
#define NACRE_RPC_RPC_H

#include <sys/uio.h>

#include "base/base.h"
#include "base/bufpool.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/metric.h"
#include "base/uuid.h"
#include "env/env.h"
#include "wire/header.h"
#include "wire/wire.h"

/* ---- keys ---- */

#define RPC_KEY_BYTES 32
/* A key file's line with its newline and NUL, at most. */
#define RPC_KEY_TEXT_MAX 16384

/* Same values as enum w_peer_role. */
enum rpc_role {
	RPC_ROLE_HOST = 0, /* may assert user ids */
	RPC_ROLE_USER = 1, /* ids are the session's */
	RPC_ROLE_SERVER = 2, /* another server of the cluster */
	RPC_ROLE_ADMIN = 3, /* an administrator's tool */
};

/* What a key entitles to, and the secret that proves it. Derived from the server key and the claims, so
 * a changed claim makes a wrong key. */
struct rpc_key {
	uint32_t key_id;
	enum rpc_role role;
	uint32_t uid; /* role USER */
	uint32_t gid; /* role USER */
	bool allow_root; /* role HOST: uid 0 is not squashed */
	bool read_only;
	uint64_t expires_s; /* seconds since 1970, 0 never */
	struct uuid cluster;
	char fsname[LIM_FSNAME_MAX + 1]; /* "" any */
	char subdir[LIM_PATH_MAX + 1]; /* "" all, else "/dir" and below */
	uint8_t secret[RPC_KEY_BYTES];
};

/* Fills key->secret out of the server key and the claims. Role SERVER: the claims do not matter. */
_check_ int rpc_key_derive(struct rpc_key *key, const uint8_t server_key[RPC_KEY_BYTES]);
/* One line "nacre-key-1 <hex of claims> <hex of secret> <hex of crc>\n"; -NE_RANGE if cap is short. */
_check_ int rpc_key_format(const struct rpc_key *key, char *ret_text, size_t cap);
/* -NE_INVAL: not a key; -NE_VERSION: a key of a newer version; -NE_CHECKSUM: mistyped. */
_check_ int rpc_key_parse(const char *text, size_t len, struct rpc_key *ret_key);
/* The server's own file: "nacre-server-key-1 <hex> <hex of crc>\n". */
_check_ int rpc_server_key_format(const uint8_t key[RPC_KEY_BYTES], char *ret_text, size_t cap);
_check_ int rpc_server_key_parse(const char *text, size_t len, uint8_t ret_key[RPC_KEY_BYTES]);
/* Read a file with the functions above. */
_yields_ _check_ int rpc_key_load(struct env *env, const char *path, struct rpc_key *ret_key);
_yields_ _check_ int rpc_server_key_load(
	struct env *env, const char *path, uint8_t ret_key[RPC_KEY_BYTES]);

/* ---- counters per operation, in clients and services ---- */

struct rpc_op_stats {
	uint16_t op;
	uint64_t errors; /* status not 0 */
	uint64_t bulk_bytes; /* both directions */
	struct metric_hist latency; /* its count is that of the calls or requests */
};

struct rpc_stats;
/* The next operation that was used at least once: start with *pos = 0; NULL at the end. */
const struct rpc_op_stats *rpc_stats_next(const struct rpc_stats *stats, unsigned *pos);

/* ---- client ---- */

struct rpc_client;
struct rpc_session;

/* A push that is not the rpc module's own business. `body` is the decoded struct (w_push_...), valid
 * during the call. Runs in the fiber that receives for the whole connection: it must not yield. */
typedef void rpc_push_fn(
	void *ctx, struct rpc_session *session, const struct wire_op *op, const void *body);

struct rpc_client_opts {
	struct env *env;
	struct uuid uuid; /* identity of the client, drawn when it starts */
	uint32_t incarnation;
	uint32_t reactor; /* number of this reactor within the client */
	const struct rpc_key *key; /* copied */
	const char *hostname; /* copied, for people */
	uint32_t pid; /* for people */
	rpc_push_fn *on_push; /* may be NULL */
	void *on_push_ctx;
	uint64_t connect_timeout_ns; /* of one attempt; 0: 5 s */
	uint64_t ping_idle_ns; /* 0: 30 s */
	uint64_t backoff_min_ns; /* between attempts, doubled and jittered; 0: 20 ms */
	uint64_t backoff_max_ns; /* 0: 1 s */
};

_check_ int rpc_client_new(const struct rpc_client_opts *opts, struct rpc_client **ret_client);
/* Every session must have been freed. Yields until the connections' fibers are gone. Accepts NULL. */
_yields_ void rpc_client_free(struct rpc_client *client);
const struct rpc_stats *rpc_client_stats(const struct rpc_client *client);
/* Connections this client ended for what came over them. */
uint64_t rpc_client_conns_cut(const struct rpc_client *client);
/* After the client was fenced: the next incarnation, for sessions opened from now on. */
void rpc_client_incarnation_set(struct rpc_client *client, uint32_t incarnation);

enum rpc_session_state {
	RPC_SESSION_DISCONNECTED,
	RPC_SESSION_CONNECTING,
	RPC_SESSION_RECOVERING, /* open; only calls with RPC_CALL_RECOVERY flow */
	RPC_SESSION_READY,
	RPC_SESSION_DEAD, /* closed for good */
};

enum rpc_event {
	RPC_EVENT_NEW, /* connected, with a new session: slots and opens of before are gone */
	RPC_EVENT_RESUMED, /* connected again, everything is as it was */
	RPC_EVENT_RECOVERING, /* resumed, but the target has a new epoch or waits for its clients */
	RPC_EVENT_EVICTED, /* the server said FENCED or NOSESSION; NEW follows when it lets us in again */
	RPC_EVENT_DISCONNECTED,
	RPC_EVENT_MAP, /* the server has a newer map: rpc_session_map_version() */
};

struct rpc_session_info {
	uint64_t session;
	uint32_t epoch; /* of the target */
	uint32_t slots;
	bool recovering; /* the target waits for its clients */
	uint64_t verifier; /* of an OST's memory */
	/* Within a boot memory is lost when it cannot be written to the disk: names the last time, 0 never. */
	uint64_t memory_loss;
	uint32_t lease_term_ms;
	int64_t server_realtime_ns; /* at HELLO */
	uint64_t server_realtime_at_ns; /* env_now of that moment */
	/* Of the server's host, "" unknown: what it had in memory is there if this and memory_loss are equal. */
	char boot_id[65];
};

/* NEW, RESUMED, RECOVERING: called while the session is RECOVERING, in a fiber of its own: it may yield
 * and make calls with RPC_CALL_RECOVERY (re-claims); ordinary calls flow when it has returned 0, an
 * error makes the session connect again. The others must not yield and their result is ignored. */
typedef int rpc_event_fn(void *ctx, struct rpc_session *session, enum rpc_event event,
	const struct rpc_session_info *info);

struct rpc_addrs {
	unsigned count;
	/* In order of preference. Unix addresses are tried first if boot_id is this host's, else skipped;
	 * an empty boot_id: tried in order, as if it were this host's. */
	char addr[LIM_ADDRS_MAX][LIM_ADDR_LEN_MAX + 1];
	char boot_id[65];
};

struct rpc_session_opts {
	const char *target; /* "OST0000" */
	const char *fsname; /* "" none */
	const struct rpc_addrs *addrs; /* may be NULL: later */
	rpc_event_fn *on_event; /* may be NULL */
	void *on_event_ctx;
	unsigned slots; /* wanted; 0: LIM_SLOTS */
};

/* Makes a session; it connects when it is first used, and from then on stays connected. */
_check_ int rpc_session_new(struct rpc_client *client, const struct rpc_session_opts *opts,
	struct rpc_session **ret_session);
/* Closes it at the server if that is reachable (waiting at most until the deadline) and frees it. No call
 * may be running. Accepts NULL. */
_yields_ void rpc_session_free(struct rpc_session *session, uint64_t deadline_ns);
/* Other addresses, from a newer map. The session moves there if its connection is not one of them. */
void rpc_session_addrs_set(struct rpc_session *session, const struct rpc_addrs *addrs);
/* Waits until ordinary calls flow. An attempt refused for a reason that will not pass by itself (key,
 * version, wrong name) ends it with that reason; others go on until the deadline (-NE_TIMEDOUT). */
_yields_ _check_ int rpc_session_connect(struct rpc_session *session, uint64_t deadline_ns);
/* Breaks the connection, for tests and for suspicious silence; calls are resent on the next. */
void rpc_session_disconnect(struct rpc_session *session);
enum rpc_session_state rpc_session_state(const struct rpc_session *session);
const struct rpc_session_info *rpc_session_info(const struct rpc_session *session);
const char *rpc_session_target(const struct rpc_session *session);
/* Newest map version any reply or push of this client named. */
uint32_t rpc_session_map_version(const struct rpc_session *session);
/* The highest last_committed seen from this target in this epoch. */
uint64_t rpc_session_last_committed(const struct rpc_session *session);
/* Address in use ("" none) and the reason of the last failed attempt (0 none), for status and logs. */
const char *rpc_session_addr(const struct rpc_session *session);
int rpc_session_error(const struct rpc_session *session);

enum rpc_call_flags {
	RPC_CALL_URGENT = 1, /* class urgent even if the operation is not */
	RPC_CALL_NO_RETRY =
		2, /* RETRY and the like are returned, a broken connection is -NE_CONNLOST */
	RPC_CALL_RECOVERY = 4, /* flows while the session recovers */
	RPC_CALL_REPEATABLE = 8, /* harmless if executed twice: resent even on a new session */
	RPC_CALL_NO_INTR = 16, /* env_interrupt does not end it */
};

struct rpc_pending;

/* Zero it, fill what is needed, call, use the reply, rpc_call_fini. */
struct rpc_call {
	/* in */
	uint16_t op;
	uint16_t flags; /* enum rpc_call_flags */
	const void *request; /* the struct w_..._req; read during rpc_call_start only */
	void *reply; /* the struct w_..._rep, or NULL; its views live until rpc_call_fini */
	/* Bytes sent with the request; memory must stay until the call has ended. */
	const struct iovec *bulk_out;
	unsigned bulk_out_count;
	/* Where the reply's bytes are received; undefined if the call fails. */
	unsigned bulk_in_count;
	const struct iovec *bulk_in;
	uint64_t deadline_ns; /* 0: for ever */
	uint8_t trace[16];
	/* out, when the call has ended; header fields are 0 if there was no reply */
	int status; /* 0 or a negative code, as returned */
	uint32_t map_version;
	uint64_t transno;
	uint64_t last_committed;
	uint64_t bulk_in_len; /* bytes received into bulk_in */
	/* private */
	struct rpc_session *session;
	struct rpc_pending *pending;
	uint64_t start_ns;
};

/* Sends the request and waits for its reply. Returns call->status. Interrupted (env_interrupt): a call
 * that was not sent, or whose connection is gone, ends with -NE_INTR at once; a sent one is cancelled at
 * the server and ends with what that says. A modifying call that ended with -NE_INTR or -NE_TIMEDOUT may
 * have been executed or may still be. */
_yields_ int rpc_call(struct rpc_session *session, struct rpc_call *call);
/* The two halves, for several calls at a time from one fiber. start yields only where the send does (a
 * full socket, no free slot); it never fails, errors come from wait. Every started call is waited for. */
_yields_ void rpc_call_start(struct rpc_session *session, struct rpc_call *call);
_yields_ int rpc_call_wait(struct rpc_call *call);
/* Gives the reply's memory back; safe on zeroed, finished and already finished calls. */
void rpc_call_fini(struct rpc_call *call);

/* ---- server ---- */

struct rpc_server;
struct rpc_service;
struct rpc_export;
struct rpc_request;

/* Who a session belongs to, decided by the server (RULES D4). */
struct rpc_identity {
	enum rpc_role role;
	uint32_t uid; /* role USER */
	uint32_t gid;
	bool allow_root;
	bool read_only;
	bool local; /* over a Unix socket: peer_uid etc. are the kernel's */
	uint32_t key_id;
	uint32_t peer_uid;
	uint32_t peer_gid;
	int32_t peer_pid;
	struct uuid client;
	uint32_t incarnation;
	uint32_t pid; /* as the client says */
	char hostname[256]; /* as the client says */
	char addr[LIM_ADDR_LEN_MAX + 1]; /* where it connects from */
	char fsname[LIM_FSNAME_MAX + 1]; /* "" any */
	char subdir[LIM_PATH_MAX + 1]; /* "" all */
};

/* Answer of a service to a session that is opened. */
struct rpc_open_reply {
	uint64_t session; /* id; unique in the target for ever, not 0 */
	uint32_t incarnation; /* of the client as the target knows it */
	bool resumed; /* the service knows that session: its slots were set by rpc_export_slot_set */
	bool recovering; /* as in rpc_service_state; either will do */
	uint64_t verifier; /* of an OST's memory */
	uint64_t memory_loss; /* as in rpc_session_info */
	uint32_t lease_term_ms;
};

enum rpc_close_reason {
	RPC_CLOSE_CLIENT, /* the client said so */
	RPC_CLOSE_SILENT, /* silent, and the service agreed */
	RPC_CLOSE_EVICTED, /* rpc_export_evict */
	RPC_CLOSE_REPLACED, /* the client opened a new one in its place */
	RPC_CLOSE_SHUTDOWN, /* the service stops: the session may be resumed by its successor */
};

/* What every reply of the service carries; asked for when the reply is sealed. */
struct rpc_service_state {
	uint32_t epoch;
	uint32_t map_version;
	uint64_t last_committed;
	bool recovering; /* the target waits for its clients (told when a session is opened or resumed) */
};

struct rpc_service_ops {
	/* A client opens a session, or (wanted != 0) asks for one that rpc does not hold, because the server
	 * was restarted or closed it. May yield. An unknown `wanted`: answer with resumed = false and a new
	 * id. -NE_FENCED for a client (rpc_export_identity) that is. Sessions rpc holds are resumed
	 * without asking. */
	int (*session_open)(void *ctx, struct rpc_export *exp, uint64_t wanted,
		struct rpc_open_reply *ret_reply);
	/* The last call for an export; may yield. No request of it runs any more. */
	void (*session_closed)(void *ctx, struct rpc_export *exp, enum rpc_close_reason reason);
	/* One request, in a fiber of its own; may yield. 0 after rpc_request_reply (or for an empty
	 * reply), else the negative status. -NE_RETRY makes the client come again. */
	int (*request)(void *ctx, struct rpc_request *req);
	/* The session has been silent too long: true closes it. NULL: always. Must not yield. */
	bool (*session_silent)(void *ctx, struct rpc_export *exp);
	void (*state)(void *ctx, struct rpc_service_state *ret_state);
};

/* 0 in a member means the default in brackets. */
struct rpc_server_limits {
	unsigned conns_max; /* [480] fibers that receive */
	unsigned unauth_max; /* [64] connections before HELLO is through */
	unsigned handlers_max; /* [384] requests running, class normal and bulk */
	unsigned urgent_max; /* [64] class urgent beyond those */
	unsigned queue_max; /* [1024] requests waiting for a handler, in each of the two groups */
	unsigned conn_requests_max; /* [256] requests of one connection that are not answered yet */
	uint32_t bulk_credit_bytes; /* [8 MiB] bulk on the way per connection */
	uint64_t bulk_total_bytes; /* [256 MiB] of received bulk, all connections */
	uint64_t message_total_bytes; /* [64 MiB] of bodies and replies, all connections */
	unsigned parked_max; /* [LIM_PARKED] requests that wait for somebody else */
	unsigned session_parked_max; /* [LIM_PARKED_SESSION] of one session */
	uint64_t slot_total_bytes; /* [256 MiB] of remembered replies; beyond, no new sessions */
	uint64_t handshake_ns; /* [10 s] from accept to the end of HELLO */
	uint64_t partial_ns; /* [20 s] without progress within a message */
	uint64_t silent_ns; /* [120 s] connection or session */
};

struct rpc_server_opts {
	struct env *env;
	struct uuid uuid; /* of the server process, new at every start */
	struct uuid cluster;
	const uint8_t *server_key; /* RPC_KEY_BYTES, copied */
	uint32_t own_uid; /* the daemon's */
	struct bufpool *bufpool; /* where received bulk goes; NULL: the server makes its own */
	struct rpc_server_limits limits;
};

_check_ int rpc_server_new(const struct rpc_server_opts *opts, struct rpc_server **ret_server);
/* Starts to listen; the address bound is written to ret_addr. Any number of times. */
_check_ int rpc_server_listen(
	struct rpc_server *server, const char *addr, char *ret_addr, size_t cap);
/* Stops listening, cuts all connections, waits for all handlers, closes all exports (SHUTDOWN). */
_yields_ void rpc_server_stop(struct rpc_server *server);
/* After stop. Accepts NULL. */
void rpc_server_free(struct rpc_server *server);

/* For status, metrics and tests. */
struct rpc_server_stats {
	uint64_t accepted; /* connections */
	uint64_t refused; /* connections beyond a limit */
	uint64_t auth_failed;
	uint64_t
		cut; /* connections ended for what came over them: malformed, forged, out of order */
	uint64_t retries; /* requests answered RETRY for want of room */
	uint64_t duplicates; /* requests answered from their slot or by the one that ran */
	uint64_t dropped_old; /* requests of connections that were history */
	uint64_t message_bytes; /* in memory now: requests, replies */
	uint64_t message_bytes_max;
	uint64_t slot_bytes; /* remembered replies */
	uint64_t bulk_bytes;
	uint64_t bulk_bytes_max;
	unsigned conns;
	unsigned unauthenticated;
	unsigned running; /* requests, both groups */
	unsigned queued;
	unsigned parked; /* requests that wait for somebody else */
	uint64_t parkings; /* times a request was told to wait */
};

void rpc_server_stats(const struct rpc_server *server, struct rpc_server_stats *ret_stats);
/* What the monitor shows; they do not yield. */
void rpc_server_metrics(const struct rpc_server *server, struct metric_batch *batch);
void rpc_service_metrics(const struct rpc_service *service, struct metric_batch *batch);
void rpc_client_metrics(const struct rpc_client *client, struct metric_batch *batch);

struct rpc_service_opts {
	const char *target; /* "OST0000"; unique in the server */
	const char *fsname; /* "": whatever the client names */
	const struct rpc_service_ops *ops;
	void *ctx;
};

_check_ int rpc_service_start(struct rpc_server *server, const struct rpc_service_opts *opts,
	struct rpc_service **ret_service);
/* Refuses new requests, waits for running ones, closes its exports (SHUTDOWN), frees. Accepts NULL. */
_yields_ void rpc_service_stop(struct rpc_service *service);
const struct rpc_stats *rpc_service_stats(const struct rpc_service *service);
/* Exports in no order: start with NULL; NULL at the end. Do not yield in between. */
struct rpc_export *rpc_service_export_next(struct rpc_service *service, struct rpc_export *exp);

/* ---- exports: sessions as a service sees them ---- */

const struct rpc_identity *rpc_export_identity(const struct rpc_export *exp);
uint64_t rpc_export_session(const struct rpc_export *exp);
uint64_t rpc_export_idle_ns(const struct rpc_export *exp);
/* The service's own pointer. */
void rpc_export_ctx_set(struct rpc_export *exp, void *ctx);
void *rpc_export_ctx(const struct rpc_export *exp);

/* A slot as a log keeps it. */
struct rpc_slot_state {
	unsigned slot;
	uint32_t seq; /* of the last request executed */
	int status; /* 0 or negative: what it was answered */
	uint16_t op;
	uint64_t transno;
	struct span reply; /* encoded body */
};

/* Within session_open, before it answers resumed = true: the slot's last request and its reply. */
_check_ int rpc_export_slot_set(struct rpc_export *exp, const struct rpc_slot_state *state);
/* Sends a push to the client on its control connection. -NE_CONNLOST without one, -NE_LIMIT when too many
 * are queued. Does not wait for the network. */
_check_ int rpc_export_push(struct rpc_export *exp, uint16_t op, const void *body);
/* Ends the session: requests are interrupted and their answers FENCED, the client is told why. It may open
 * a new one, unless session_open says -NE_FENCED. Returns at once; session_closed follows from
 * another fiber. */
void rpc_export_evict(struct rpc_export *exp, const char *reason);

/* ---- requests that wait for somebody else ---- */

/* A place where requests wait for one thing, in the order in which they came. */
struct rpc_parking {
	struct list tickets;
};

void rpc_parking_init(struct rpc_parking *lot);
static inline bool rpc_parking_empty(const struct rpc_parking *lot)
{
	return list_empty(&lot->tickets);
}
/* Tells the clients of the first max requests to send them again. Does not yield. */
void rpc_parking_wake(struct rpc_parking *lot, unsigned max);

/* ---- requests ---- */

#define RPC_SLOT_NONE 0xffff

/* All but `user` is read-only to handlers. */
struct rpc_request {
	const struct wire_op *op;
	struct rpc_export *exp;
	const void *body; /* decoded struct w_..._req */
	struct span body_bytes; /* as received, for logs */
	void *bulk_in; /* received bulk, 4096-aligned, verified; NULL if none */
	uint32_t bulk_in_len;
	uint16_t slot; /* RPC_SLOT_NONE for operations that do not modify */
	bool resend;
	bool replay;
	uint32_t seq;
	uint64_t xid;
	uint32_t map_version; /* the client's */
	uint64_t deadline_ns; /* ENV_FOREVER: none */
	uint8_t trace[16];
	void *user; /* the handler's own */
};

/* Encodes the reply's body; replaces an earlier one. A failure (-NE_OVERFLOW, -NE_NOMEM) is what the
 * handler then returns. */
_check_ int rpc_request_reply(struct rpc_request *req, const void *reply);
/* The reply as encoded, for the log; empty before rpc_request_reply. Lives until the handler returns. */
struct span rpc_request_reply_bytes(const struct rpc_request *req);
/* The transno the reply's header carries. */
void rpc_request_transno_set(struct rpc_request *req, uint64_t transno);
/* For -NE_RETRY: when to come again. */
void rpc_request_retry_after_set(struct rpc_request *req, uint64_t delay_ns);
/* Has the client wait instead of a fiber (RULES D1, rpc_park.c): returns what the handler then returns. The request
 * must have changed nothing. It comes again, as a new one, when the lot is woken or after a while. With too many
 * parked already it is an ordinary -NE_RETRY with a long pause. */
int rpc_request_park(struct rpc_request *req, struct rpc_parking *lot);
/* Bytes that follow the reply's body; release(arg) runs once, when they were sent or will not be. Not for
 * operations that modify. iov is copied (count <= RPC_BULK_IOV_MAX); the memory is not. */
#define RPC_BULK_IOV_MAX 64
void rpc_request_bulk_out(struct rpc_request *req, const struct iovec *iov, unsigned count,
	void (*release)(void *arg), void *arg);
/* Takes the received bulk away from the request; the caller gives it back with bufpool_put. */
void *rpc_request_bulk_take(struct rpc_request *req);
/* True once the client has cancelled the request or is gone; the fiber was interrupted (waits marked
 * interruptible return -NE_INTR). A handler that has changed nothing returns -NE_INTR. */
bool rpc_request_canceled(const struct rpc_request *req);

#endif
