/*
 * What both sides of rpc share: message buffers, connections that combine sends, keys of a connection,
 * counters. Private to src/rpc.
 */
#ifndef NACRE_RPC_RPC_INT_H
#define NACRE_RPC_RPC_INT_H

#include "base/bytes.h"
#include "base/crypto.h"
#include "rpc/rpc.h"
#include "wire/gen/wire.h"

/* Messages queued in one env_send at most; each takes one or two vectors and its bulk's. */
#define RPC_BATCH_MAX 24
#define RPC_IOV_MAX (RPC_BATCH_MAX * 2 + RPC_BULK_IOV_MAX)
/* Small messages are received through this; anything that does not fit goes straight to its place. */
#define RPC_RECV_BUF_BYTES (UINT32_C(64) << 10)
/* Largest decoded struct of the schema (the generated header asserts the same). */
#define RPC_STRUCT_MAX 1024
/* Bodies up to this need no allocation. */
#define RPC_BODY_INLINE 1024
/* A batch of one fiber's turn at sending; then a fiber of its own takes over. */
#define RPC_SEND_TURNS 4
/* Where the proof stands in the encoded reply to hello: after version, features and nonce. */
#define RPC_HELLO_PROOF_OFFSET 44
#define RPC_PROOF_BYTES 32
#define RPC_NONCE_BYTES 32
/* Most bytes of a message before authentication: hello with the longest claims. */
#define RPC_HANDSHAKE_BODY_MAX 4608
/* Received bulk is checked while it is still in the cache (a second-level one has 512 KiB and more). */
#define RPC_BULK_CHUNK (UINT32_C(512) << 10)
/* What follows a bulk of so many bytes probably has one too: then only a message's head is received first (bytes), so
 * that its bulk goes where it belongs and not through the buffer. */
#define RPC_BULK_BIG (UINT32_C(64) << 10)
#define RPC_RECV_HEAD_BYTES 1024
#define RPC_FEATURES UINT64_C(1) /* W_FEATURE_WIRE_CRC */

_Static_assert(RPC_RECV_BUF_BYTES >= 4 * (RPC_HANDSHAKE_BODY_MAX + WIRE_HEADER_SIZE),
	"a handshake fits the receive buffer");

/* ---- message buffers ---- */

/* A body's bytes: inline, or from the heap when larger. Zeroed: empty. */
struct rpc_buf {
	uint8_t *ptr; /* inline_bytes, a heap block, or NULL */
	uint32_t len;
	uint32_t cap;
	uint8_t inline_bytes[RPC_BODY_INLINE];
};

/* Room for len bytes; what it held is lost. -NE_NOMEM leaves it empty. */
_check_ int rpc_buf_reserve(struct rpc_buf *buf, uint32_t len);
void rpc_buf_free(struct rpc_buf *buf);
/* Encodes a struct into it. -NE_INVAL (a field beyond its bound), -NE_OVERFLOW, -NE_NOMEM. */
_check_ int rpc_buf_encode(struct rpc_buf *buf, const struct wire_codec *codec, const void *v);

/* ---- keys of one connection ---- */

struct rpc_proofs {
	uint8_t server[RPC_PROOF_BYTES];
	uint8_t client[RPC_PROOF_BYTES];
};

/* The transcript is the two hello bodies as sent, the proof in the reply taken as zero. */
_check_ int rpc_proofs_make(const uint8_t secret[RPC_KEY_BYTES], struct span hello,
	struct span hello_reply, struct rpc_proofs *ret_proofs);
void rpc_claims_of_key(const struct rpc_key *key, struct w_key_claims *ret_claims);
_check_ int rpc_key_of_claims(const struct w_key_claims *claims, struct rpc_key *ret_key);

/* ---- connections ---- */

struct rpc_conn;

/* One message on its way out. Owned by whoever sends; not touched between rpc_conn_send and done. */
struct rpc_out {
	struct list link;
	struct wire_header header; /* sealed (crc, mac) when it is sent */
	const void *body; /* header.body_len bytes */
	const struct iovec *bulk; /* header.bulk_len bytes in all; any number of vectors */
	unsigned bulk_count;
	bool urgent;
	bool sending;
	uint8_t bytes[WIRE_HEADER_SIZE];
	/* Called once, by whichever fiber sent it or found the connection broken; must not yield. */
	void (*done)(struct rpc_out *out, int result);
};

struct rpc_conn {
	struct env *env;
	struct env_conn *stream;
	bool mac; /* messages are authenticated from now on */
	struct crypto_gmac tx_mac;
	struct crypto_gmac rx_mac;
	uint64_t tx_count;
	uint64_t rx_count;
	int error; /* why it broke; 0 while it works */
	/* sending */
	struct list urgent;
	struct list normal;
	unsigned queued;
	bool sending; /* a fiber is in env_send */
	bool send_fiber; /* and it is the connection's own, or that is about to run */
	uint64_t send_start_ns; /* of the env_send that runs */
	unsigned users; /* fibers inside a function that will touch it again */
	struct env_waitq idle; /* users became 0 */
	struct iovec iov[RPC_IOV_MAX];
	struct rpc_out *batch[RPC_BATCH_MAX];
	/* receiving */
	uint8_t *buf;
	uint32_t buf_pos;
	uint32_t buf_end;
	bool bulk_was_big; /* of the message received last */
	uint64_t rx_last_ns;
	uint64_t tx_last_ns;
	uint64_t partial_ns; /* patience with a message that has begun */
};

/* Takes the stream, also on failure. */
_check_ int rpc_conn_new(
	struct env *env, struct env_conn *stream, uint64_t partial_ns, struct rpc_conn **ret_conn);
/* Breaks it, waits for its users, frees. No receiver may be left. Accepts NULL. */
_yields_ void rpc_conn_free(struct rpc_conn *conn);
/* The first reason counts. Queued messages are done with it by their sender or here. */
void rpc_conn_break(struct rpc_conn *conn, int reason);
/* The secret's session keys; the client is the side that connected. */
_check_ int rpc_conn_mac_start(struct rpc_conn *conn, bool client,
	const uint8_t secret[RPC_KEY_BYTES], const uint8_t nonces[2 * RPC_NONCE_BYTES]);

enum rpc_send_how {
	RPC_SEND_INLINE, /* this fiber may send: it may wait for the socket */
	RPC_SEND_BEHIND, /* another fiber sends; returns at once */
	RPC_SEND_BATCH, /* as BEHIND, or INLINE when no fiber is to be had */
};

/* Queues it and, if nobody is sending, sends. done may have been called on return. */
_yields_ void rpc_conn_send(struct rpc_conn *conn, struct rpc_out *out, enum rpc_send_how how);
/* Takes back what is queued and not being sent; false if it is too late. done is not called. */
bool rpc_conn_unsend(struct rpc_conn *conn, struct rpc_out *out);
/* Starts the sending fiber if messages wait and nobody sends (after a failed spawn). */
void rpc_conn_kick(struct rpc_conn *conn);
static inline bool rpc_conn_idle(const struct rpc_conn *conn)
{
	return !conn->sending && conn->queued == 0;
}

/* Receives the next header: waits for its first byte until idle_deadline. Its length fields are below
 * their limits; the body must be fetched next. */
_yields_ _check_ int rpc_conn_recv_header(
	struct rpc_conn *conn, uint64_t idle_deadline_ns, struct wire_header *ret_header);
/* The body into buf, verified by crc and, once authenticated, MAC. */
_yields_ _check_ int rpc_conn_recv_body(
	struct rpc_conn *conn, const struct wire_header *header, struct rpc_buf *buf);
/* Receives len bytes to dst (NULL: drops them) and continues the checksum *crc. */
_yields_ _check_ int rpc_conn_recv_bulk(
	struct rpc_conn *conn, void *dst, uint32_t len, uint64_t deadline_ns, uint32_t *crc);
uint64_t rpc_conn_bulk_deadline(const struct rpc_conn *conn);

/* ---- counters ---- */

struct rpc_stats {
	unsigned count;
	struct rpc_op_stats ops[]; /* one per operation of the registry */
};

_check_ int rpc_stats_new(struct rpc_stats **ret_stats);
void rpc_stats_add(struct rpc_stats *stats, const struct wire_op *op, int status,
	uint64_t latency_ns, uint64_t bulk_bytes);

/* ---- small things ---- */

/* The number by which the header names a target. */
uint32_t rpc_target_code(const char *name);
/* A code out of a message: unknown numbers become -NE_IO. */
int rpc_status_decode(uint32_t status);
/* Adds up vectors. */
uint64_t rpc_iov_len(const struct iovec *iov, unsigned count);
uint32_t rpc_iov_crc(const struct iovec *iov, unsigned count, uint32_t len);
/* True for what only a broken or hostile peer causes, false for networks and shutdowns. */
bool rpc_error_is_foul(int rc);
/* For tests, which set it to prove that they would notice: a server executes every request it gets,
 * whatever its slot says. */
extern bool rpc_canary_slots_off;
/* True at most every `interval_ns`: for log lines that a stranger can cause. */
struct rpc_log_limit {
	uint64_t next_ns;
	uint64_t suppressed;
};
bool rpc_log_allowed(struct rpc_log_limit *limit, uint64_t now_ns);

#endif
