/*
 * The server's side inside: connections, peers, services, exports, requests.
 *
 *	rpc_server.c	listening, limits, the janitor
 *	rpc_accept.c	the server's half of HELLO, peers
 *	rpc_recv.c	receiving requests: checks, slots, bulk
 *	rpc_serve.c	running requests and answering them
 *	rpc_export.c	opening, resuming, closing sessions; slots; pushes
 *	rpc_park.c	requests that wait for somebody else
 *	rpc_service.c	what services call
 *
 * A connection (sconn) has one receiving fiber, which frees it when nothing refers to it any more. A peer is
 * one proved identity with one incarnation; its connections may carry requests for any of its exports. A
 * request is in export->requests from its acceptance to its answer.
 */
#ifndef NACRE_RPC_RPC_SERVER_INT_H
#define NACRE_RPC_RPC_SERVER_INT_H

#include "base/hmap.h"
#include "env/trace.h"
#include "rpc/rpc_int.h"

/* Connections of one peer at a time: control and bulk of a few reactors, and their dying predecessors. */
#define RPC_PEER_CONNS_MAX 64
/* Pushes of one connection that wait for the network. */
#define RPC_PUSHES_MAX 256
/* And with those that wake parked requests. */
#define RPC_PUSHES_READY_MAX (RPC_PUSHES_MAX + LIM_PARKED_SESSION)
/* Requests of one connection beyond conn_requests_max, of whatever class, before it is read no further:
 * room for urgent ones, and for normal ones on their way to "retry". */
#define RPC_CONN_EXTRA 64
/* The part of message_total_bytes one connection may use. */
#define RPC_CONN_SHARE 4
/* Sessions closed at a time: some may wait for a target that is down, the others do not. */
#define RPC_REAPERS_MAX 16
/* The janitor's round. */
#define RPC_JANITOR_NS (5 * NS_PER_S)
/* How long opening a session waits for requests of older connections. */
#define RPC_CUT_NS (30 * NS_PER_S)
/* Told to clients when there is no room. */
#define RPC_RETRY_MS 20
/* A parked request comes again by itself after this, should its push be lost; and when there is no room to park it. */
#define RPC_PARK_AGAIN_NS (10 * NS_PER_S)
#define RPC_PARK_BUSY_NS (1 * NS_PER_S)

enum group {
	GROUP_NORMAL,
	GROUP_URGENT,
	GROUPS,
};

struct rpc_server {
	struct env *env;
	struct uuid uuid;
	struct uuid cluster;
	uint8_t key[RPC_KEY_BYTES];
	uint32_t own_uid;
	struct bufpool *pool;
	bool own_pool;
	struct rpc_server_limits lim;
	struct list listeners;
	struct list services;
	struct list conns;
	struct list peers;
	unsigned conn_count;
	unsigned unauth_count;
	unsigned running[GROUPS];
	unsigned queued[GROUPS];
	struct list queue[GROUPS];
	uint64_t message_bytes;
	uint64_t slot_bytes; /* replies that slots remember */
	unsigned parked; /* tickets */
	uint64_t bulk_bytes;
	struct env_waitq room; /* message or bulk bytes were freed */
	struct list req_free;
	unsigned req_free_count;
	bool stopping;
	bool janitor; /* its fiber runs */
	unsigned reapers; /* sessions in session_closed */
	struct env_waitq janitor_q;
	unsigned fibers;
	struct env_waitq quiet; /* fibers became 0, an export or a request went */
	struct rpc_server_stats stats; /* the counters and maxima of it */
	struct rpc_log_limit log_auth;
	struct rpc_log_limit log_bad;
	struct rpc_log_limit log_full;
};

struct rpc_listener {
	struct list link;
	struct rpc_server *server;
	struct env_listener *listener;
};

struct rpc_peer {
	struct list link;
	struct rpc_server *server;
	struct rpc_identity id;
	struct list conns;
	struct list exports;
	unsigned refs; /* connections and exports */
	struct env_mutex opening; /* session_open of one peer at a time */
};

struct sconn {
	struct list link; /* of the server */
	struct list peer_link;
	struct rpc_server *server;
	struct rpc_conn *conn; /* NULL: its receiving fiber has left */
	struct rpc_peer *peer; /* NULL before auth */
	enum w_conn_kind kind;
	uint32_t reactor;
	uint32_t generation;
	unsigned refs;
	unsigned requests; /* not answered */
	uint32_t bulk_bytes; /* received, not answered */
	uint64_t message_bytes; /* of its requests in memory */
	unsigned pushes; /* queued */
	uint64_t since_ns;
	struct env_waitq room; /* requests went down */
};

struct server_slot {
	uint32_t seq; /* of the last request accepted */
	struct rpc_req *busy; /* and it still runs */
	bool cached; /* what follows is its answer */
	int status;
	uint16_t op;
	uint64_t transno;
	uint8_t *reply;
	uint32_t reply_len;
	uint32_t reply_cap;
};

struct rpc_service {
	struct list link;
	struct rpc_server *server;
	char target[LIM_TARGET_NAME_MAX + 1];
	char fsname[LIM_FSNAME_MAX + 1];
	uint32_t code;
	const struct rpc_service_ops *ops;
	void *ctx;
	bool stopping;
	unsigned opens; /* session_open requests in it */
	struct hmap exports; /* by session id; those that are open */
	struct list all; /* also those being opened or closed */
	struct rpc_stats *stats;
};

enum export_state {
	EXPORT_OPENING,
	EXPORT_OPEN,
	EXPORT_CLOSING, /* waits for its requests, then for session_closed */
	EXPORT_CLOSED,
};

struct rpc_export {
	struct hmap_node node;
	struct list all; /* of the service */
	struct list peer_link;
	struct rpc_service *service;
	struct rpc_peer *peer;
	enum export_state state;
	enum rpc_close_reason close_reason;
	uint64_t session;
	uint32_t slots;
	uint32_t generation_min; /* requests on older connections are dropped */
	struct sconn *control; /* where pushes go, NULL none */
	uint64_t last_ns;
	struct list requests;
	struct hmap tickets; /* of its parked requests, by xid */
	bool fenced;
	struct rpc_open_reply facts; /* for resuming it */
	void *ctx;
	struct server_slot slot[LIM_SLOTS];
};

enum req_state {
	REQ_RECEIVING,
	REQ_QUEUED,
	REQ_RUNNING,
	REQ_ANSWERED,
};

struct rpc_req {
	struct rpc_request pub;
	struct list link; /* queue, or the free list */
	struct list exp_link; /* of the export */
	struct rpc_server *server;
	struct sconn *conn; /* where the answer goes; a reference */
	struct sconn *home; /* where it came from, whose memory it uses; a reference */
	struct wire_header header;
	enum group group;
	enum req_state state;
	struct server_slot *slot;
	struct fiber *fiber; /* that runs it */
	bool canceled;
	bool counted; /* in conn->requests */
	bool parked; /* it has a ticket: answer QUEUED */
	bool replied;
	bool traced; /* span is filled */
	struct trace_span span;
	uint64_t transno;
	uint64_t retry_after_ns;
	uint64_t start_ns;
	uint64_t bytes; /* of it in server->message_bytes */
	void (*release)(void *arg);
	void *release_arg;
	struct iovec bulk_out[RPC_BULK_IOV_MAX];
	unsigned bulk_out_count;
	struct rpc_out out;
	struct rpc_buf in;
	struct rpc_buf rep;
	_Alignas(16) uint8_t body[RPC_STRUCT_MAX];
};

static inline struct rpc_req *req_of(const struct rpc_request *req)
{
	return container_of(req, struct rpc_req, pub);
}

/* rpc_server.c */
_check_ int server_spawn(struct rpc_server *server, const char *name, env_fiber_fn *fn, void *arg);
void server_fiber_end(struct rpc_server *server);
void server_janitor_wake(struct rpc_server *server);
struct rpc_req *req_new(struct sconn *conn, const struct wire_header *header);
void req_free(struct rpc_req *req);
void sconn_unref(struct sconn *conn);
void sconn_break(struct sconn *conn, int reason);

/* rpc_accept.c */
_yields_ _check_ int server_hello(struct sconn *conn);
void peer_unref(struct rpc_peer *peer);

/* rpc_recv.c */
_yields_ int sconn_receive(struct sconn *conn);

/* rpc_serve.c */
/* True if the group has room for one more. */
bool serve_has_room(const struct rpc_server *server, enum group group);
/* Runs it in a fiber of its own, now or when there is one. */
void serve_dispatch(struct rpc_req *req);
/* Answers with a status (and the reply, if there is one) and lets go of it. */
_yields_ void serve_answer(struct rpc_req *req, int status);
/* Lets go of it without an answer. */
void serve_drop(struct rpc_req *req);
/* Answers with what the slot remembers. */
_yields_ void serve_cached(
	struct rpc_req *req, const struct rpc_export *exp, const struct server_slot *slot);
void serve_cancel(struct rpc_req *req);
/* Gives the slot back as if the request had not come. */
void serve_slot_rollback(struct rpc_req *req);

/* rpc_park.c */
/* The request needs its ticket no more: it is answered, or nobody waits for it. */
void park_forget(struct rpc_export *exp, uint64_t xid);
void park_forget_all(struct rpc_export *exp);

/* rpc_export.c */
struct rpc_service *service_find(struct rpc_server *server, uint32_t code);
struct rpc_export *export_find(struct rpc_service *service, uint64_t session);
_yields_ int export_open(struct rpc_req *req);
_yields_ int export_close_request(struct rpc_req *req);
/* Begins to close it; session_closed follows from the janitor when its requests are gone. */
void export_close(struct rpc_export *exp, enum rpc_close_reason reason);
/* The janitor's part: lets one that can be closed for good go. False: there is no fiber for it now. */
_yields_ bool export_reap(struct rpc_export *exp);
void export_touch(struct rpc_export *exp);
/* As rpc_export_push, with a bound of its own on the pushes that wait for the network. */
_check_ int export_push(struct rpc_export *exp, uint16_t op_number, const void *body, unsigned max);
_check_ int slot_store(struct rpc_server *server, struct server_slot *slot, struct span reply);

#endif
