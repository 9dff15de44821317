/*
 * The client's side inside: client, links (one server's connections), sessions, pending requests.
 *
 *	rpc_client.c	the client, its table of pending requests, keep-alive
 *	rpc_link.c	connections of one server: dialling, life and end
 *	rpc_hello.c	the client's half of HELLO
 *	rpc_reply.c	receiving replies and pushes
 *	rpc_session.c	opening, resuming, losing a session
 *	rpc_flow.c	which request is sent when: slots, credits, classes
 *	rpc_call.c	what callers see
 *
 * A pending request is on exactly one list: unsent[] of its session (state UNSENT), sent (SENT, RECV),
 * or none (DELAYED, DONE, FREE). It is a ghost when its caller has gone but its slot's fate is open.
 */
#ifndef NACRE_RPC_RPC_CLIENT_INT_H
#define NACRE_RPC_RPC_CLIENT_INT_H

#include "rpc/rpc_int.h"

/* Requests of a client at a time, all sessions: the low bits of an xid are the index. */
#define RPC_PENDING_BITS 12
#define RPC_PENDING_MAX (1u << RPC_PENDING_BITS)
/* A fiber sends its own request itself while this much is unanswered: it fits every socket's buffer,
 * so the send does not wait and the caller stays interruptible. */
#define RPC_INLINE_BYTES (UINT32_C(64) << 10)
/* How long an interrupted or late caller waits for the server's verdict, or for its memory to be free. */
#define RPC_VERDICT_NS (3 * NS_PER_S)
/* Bad checksums of one request until it is given up. */
#define RPC_CORRUPT_MAX 3

enum pending_state {
	PENDING_FREE = 0,
	PENDING_UNSENT,
	PENDING_SENT, /* given to a connection */
	PENDING_RECV, /* its reply is being received */
	PENDING_DELAYED, /* answered "retry" or "queued": its caller submits it again */
	PENDING_DONE,
};

/* Which queue a request waits in; also the order of sending. */
enum flow {
	FLOW_RECOVERY,
	FLOW_URGENT,
	FLOW_NORMAL,
	FLOW_BULK,
	FLOWS,
};

struct rpc_pending {
	struct list link;
	struct rpc_client *client;
	struct rpc_session
		*session; /* NULL: sent directly on a connection, by the rpc module itself */
	struct rpc_call *call; /* NULL: a ghost */
	const struct wire_op *op;
	enum pending_state state;
	enum flow flow;
	uint32_t index;
	uint64_t xid;
	int slot; /* -1 none */
	uint32_t seq;
	uint64_t sent_session; /* session id it was last sent with */
	bool sent_once;
	bool parked; /* DELAYED: the server has a ticket of it and says when */
	bool woken; /* it has said so since the request was sent */
	bool canceled; /* its caller waits for the verdict of a cancel */
	bool out_busy; /* `out` and the memory it points to are in use */
	unsigned corrupt;
	unsigned sends; /* how often it was given to a connection */
	unsigned retries;
	uint64_t retry_ns; /* DELAYED: when to submit again */
	struct rpc_lconn *lconn; /* SENT, RECV: where */
	uint32_t wire_bytes; /* of it, counted in lconn->unacked */
	struct env_waitq waitq;
	struct rpc_out out;
	struct rpc_buf req;
	struct rpc_buf rep;
};

struct rpc_client {
	struct env *env;
	struct uuid uuid;
	uint32_t incarnation;
	uint32_t reactor;
	struct rpc_key key;
	char hostname[256];
	uint32_t pid;
	rpc_push_fn *on_push;
	void *on_push_ctx;
	uint64_t connect_timeout_ns;
	uint64_t ping_idle_ns;
	uint64_t backoff_min_ns;
	uint64_t backoff_max_ns;
	struct rpc_stats *stats;
	uint64_t conns_cut;
	struct list links;
	struct list sessions;
	uint32_t map_version;
	uint64_t xid_next;
	uint32_t generation; /* of its newest connection */
	struct rpc_pending *pending[RPC_PENDING_MAX];
	uint32_t pending_made;
	struct list pending_free;
	bool stopping;
	bool ticking; /* the keep-alive fiber runs */
	struct env_waitq tick;
	unsigned fibers; /* of the client, all kinds */
	struct env_waitq quiet; /* fibers became 0 */
};

/* One connection of a link, or the place for it. */
struct rpc_lconn {
	struct rpc_link *link;
	enum w_conn_kind kind;
	struct rpc_conn *conn; /* NULL: none */
	bool dialing; /* a fiber makes one */
	bool dead; /* conn is broken and being taken down */
	uint32_t generation; /* of conn, or of the one being made */
	uint32_t credit; /* bulk bytes that may be sent now */
	uint32_t credit_max;
	uint32_t unacked; /* bytes of requests sent and not answered */
	bool ping_busy;
	uint64_t ping_ns; /* when the last ping was sent, 0: none since something was received */
	struct rpc_out ping;
	uint8_t ping_body[W_PING_REQ_SIZE_MAX];
	struct list direct; /* calls of the module's own */
	struct rpc_buf scratch; /* pushes, replies nobody waits for */
};

struct rpc_link {
	struct list link;
	struct rpc_client *client;
	struct rpc_addrs addrs;
	int addr_used; /* index, -1 none */
	struct list sessions;
	unsigned refs; /* sessions and fibers */
	struct rpc_lconn control;
	struct rpc_lconn bulk;
	bool bulk_fiber; /* one dials for bulk */
	struct env_waitq changed;
	struct uuid server;
	uint64_t bulk_retry_ns; /* not before, after a failure */
	uint64_t bulk_backoff_ns;
	int64_t realtime;
	uint64_t realtime_at_ns;
	char boot_id[65]; /* of the server's host */
	struct rpc_log_limit log;
};

struct session_slot {
	uint32_t seq; /* of the last request whose fate is known */
	struct rpc_pending *owner;
};

struct rpc_session {
	struct list link; /* of the rpc_link */
	struct list all; /* of the client */
	struct rpc_client *client;
	struct rpc_link *server;
	char target[LIM_TARGET_NAME_MAX + 1];
	char fsname[LIM_FSNAME_MAX + 1];
	uint32_t code;
	struct rpc_addrs addrs;
	struct rpc_addrs addrs_next; /* too big for a stack */
	bool addrs_changed;
	rpc_event_fn *on_event;
	void *on_event_ctx;
	unsigned slots_wanted;
	enum rpc_session_state state;
	struct rpc_session_info info;
	int error;
	int event_due; /* enum rpc_event not yet delivered with success, -1 none */
	bool running; /* its fiber */
	bool closing;
	bool active; /* wants to be connected */
	bool reopen; /* lost its place while its fiber was opening it */
	uint64_t backoff_ns;
	unsigned attempts; /* that failed, since the last success */
	uint64_t last_committed;
	struct env_waitq waitq; /* state or error changed */
	struct env_waitq poke; /* ends a backoff */
	uint64_t slots_free; /* bit per slot */
	struct session_slot slot[LIM_SLOTS];
	struct list unsent[FLOWS];
	struct list sent;
	unsigned calls; /* running */
};

/* rpc_client.c */
_check_ int client_spawn(struct rpc_client *client, const char *name, env_fiber_fn *fn, void *arg);
void client_fiber_end(struct rpc_client *client);
void client_tick_start(struct rpc_client *client);
void client_map_seen(struct rpc_client *client, uint32_t map_version);
/* A new pending for the call, or NULL (limit, memory). */
struct rpc_pending *pending_new(struct rpc_client *client);
void pending_free(struct rpc_pending *p);
struct rpc_pending *pending_find(struct rpc_client *client, uint64_t xid);

/* rpc_link.c */
/* The link for these addresses, with a reference, or NULL. */
struct rpc_link *link_get(struct rpc_client *client, const struct rpc_addrs *addrs);
void link_put(struct rpc_link *link);
/* Takes the session off it; the last one breaks the connections. */
void link_detach(struct rpc_link *link, struct rpc_session *s);
bool rpc_error_is_final(int rc);
/* A working connection of that kind, made if need be. */
_yields_ _check_ int link_connect(struct rpc_link *link, enum w_conn_kind kind);
/* Starts to make the bulk connection in the background. */
void link_bulk_start(struct rpc_link *link);
void lconn_break(struct rpc_lconn *lc, int reason);
static inline bool lconn_up(const struct rpc_lconn *lc)
{
	return lc->conn != NULL && lc->conn->error == 0 && !lc->dead;
}
void lconn_ping(struct rpc_lconn *lc);

/* rpc_hello.c */
struct hello_result {
	uint32_t credit;
	struct uuid server;
	int64_t realtime;
	char boot_id[65];
};
_yields_ _check_ int client_hello(
	struct rpc_lconn *lc, struct rpc_conn *conn, struct hello_result *ret_result);

/* rpc_reply.c */
/* Receives until the connection breaks; returns why. */
_yields_ int lconn_receive(struct rpc_lconn *lc);

/* rpc_session.c */
/* Makes the session connect if it is not. */
void session_activate(struct rpc_session *s);
/* The control connection is gone, or the server does not know the session any more. */
void session_lost(struct rpc_session *s, int reason);
/* FENCED. */
void session_evicted(struct rpc_session *s);

/* rpc_flow.c */
/* Requests that the server had parked come again: it may have forgotten them. */
void flow_unpark(struct rpc_session *s);
void flow_submit(struct rpc_pending *p);
/* Sends what may be sent. */
_yields_ void session_kick(struct rpc_session *s, enum rpc_send_how how);
void link_kick(struct rpc_link *link);
/* Gives p to the connection; p is on no list. */
_yields_ void flow_send(struct rpc_pending *p, struct rpc_lconn *lc, enum rpc_send_how how);
/* The answer was received, or will not be: bytes and credit are free again. */
void flow_acked(struct rpc_pending *p);
void flow_slot_release(struct rpc_pending *p, bool consumed);
/* Ends it with a status: wakes the caller, or frees a ghost. */
void pending_complete(struct rpc_pending *p, int status);
/* The caller leaves: nothing of it may be used any more. */
void pending_abandon(struct rpc_pending *p, int status);
/* Everything sent on a dead connection goes back to its session. */
void flow_requeue(struct rpc_lconn *lc);
/* After session_open: slots and unanswered requests are brought in line with the server's. */
void flow_resume(struct rpc_session *s, bool resumed, const struct wire_view *seqs);
/* Ends everything with a status. */
void flow_fail_all(struct rpc_session *s, int status);
/* Requests of the recovery itself end when its connection does. */
void flow_fail_recovery(struct rpc_session *s);

/* rpc_call.c */
/* A call of the module's own, on one connection, without session; ends with -NE_CONNLOST when that breaks. */
_yields_ int call_direct(struct rpc_lconn *lc, struct rpc_session *s, struct rpc_call *call);
void call_cancel_send(struct rpc_pending *p);

#endif
