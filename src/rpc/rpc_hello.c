/*
 * The client's half of HELLO, once per connection.
 *
 *	client -> hello (who I say I am, nonce)		server -> hello reply (nonce, proof)
 *	client -> auth (proof)				server -> auth reply (who you are)
 *
 * The proofs are over both hello bodies. A client that finds the server's proof wrong still sends its own,
 * so that a server whose key differs can log which key id was refused; a proof tells nothing of the
 * secret. From auth on, messages carry a MAC unless the peer is local.
 */
#include "rpc/rpc_client_int.h"

#include "base/alloc.h"
#include "base/crc32c.h"
#include "base/log.h"

#define HELLO_VERSION_TEXT "nacre 0.1"

/* Too big for a fiber's stack together with what it calls. */
struct hello {
	struct rpc_lconn *lc;
	struct rpc_conn *conn;
	struct w_hello_req req;
	struct w_hello_rep rep;
	struct rpc_buf out_body;
	struct rpc_buf rep_body;
	struct rpc_buf hello_body;
	struct rpc_out out;
	struct rpc_proofs proofs;
	uint8_t nonces[2 * RPC_NONCE_BYTES];
	bool sent;
	int sent_result;
	struct env_waitq sent_q;
};

static void hello_free(struct hello **h)
{
	if (*h == NULL) {
		return;
	}
	rpc_buf_free(&(*h)->out_body);
	rpc_buf_free(&(*h)->rep_body);
	rpc_buf_free(&(*h)->hello_body);
	crypto_wipe(*h, sizeof(**h));
	mem_free(*h);
}

static void hello_sent(struct rpc_out *out, int result)
{
	struct hello *h = container_of(out, struct hello, out);

	h->sent = true;
	h->sent_result = result;
	env_wake_all(h->conn->env, &h->sent_q);
}

/* Sends one request and receives its reply's body; the reply's status is the result. */
static int hello_exchange(
	struct hello *h, uint16_t op, const struct rpc_buf *body, uint64_t deadline_ns)
{
	struct wire_header header;
	int rc;

	memset(&h->out.header, 0, sizeof(h->out.header));
	h->out.header.class = W_MSG_CLASS_CONTROL;
	h->out.header.op = op;
	h->out.header.slot = RPC_SLOT_NONE;
	h->out.header.incarnation = h->req.incarnation;
	h->out.header.key_id = (uint16_t)h->req.claims.key_id;
	h->out.header.xid = op;
	h->out.header.body_len = body->len;
	h->out.header.body_crc = crc32c(0, body->ptr, body->len);
	h->out.body = body->ptr;
	h->out.done = hello_sent;
	h->sent = false;
	rpc_conn_send(h->conn, &h->out, RPC_SEND_INLINE);
	while (!h->sent) {
		(void)env_wait(h->conn->env, &h->sent_q, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
	if (h->sent_result != 0) {
		return h->sent_result;
	}
	rc = rpc_conn_recv_header(h->conn, deadline_ns, &header);
	if (rc != 0) {
		return rc;
	}
	if (header.op != op || header.xid != op || (header.flags & W_MSG_FLAGS_REPLY) == 0 ||
		header.body_len > RPC_HANDSHAKE_BODY_MAX || header.bulk_len != 0) {
		return -NE_BADMSG;
	}
	rc = rpc_conn_recv_body(h->conn, &header, &h->rep_body);
	return rc != 0 ? rc : rpc_status_decode(header.status);
}

static int hello_first(struct hello *h, uint64_t deadline_ns)
{
	struct rpc_client *client = h->lc->link->client;
	int rc;

	client->generation++;
	h->lc->generation = client->generation;
	h->req.version_min = W_PROTOCOL_VERSION;
	h->req.version_max = W_PROTOCOL_VERSION;
	h->req.features = RPC_FEATURES;
	h->req.client = client->uuid;
	h->req.incarnation = client->incarnation;
	h->req.conn_generation = client->generation;
	h->req.conn_kind = h->lc->kind;
	h->req.reactor = client->reactor;
	rpc_claims_of_key(&client->key, &h->req.claims);
	env_random_bytes(client->env, h->req.nonce, sizeof(h->req.nonce));
	h->req.hostname = wire_str_of(client->hostname);
	h->req.pid = client->pid;
	h->req.version_text = wire_str_of(HELLO_VERSION_TEXT);
	rc = rpc_buf_encode(&h->hello_body, &w_hello_req_codec, &h->req);
	if (rc == 0) {
		rc = hello_exchange(h, W_OP_HELLO, &h->hello_body, deadline_ns);
	}
	if (rc == 0) {
		rc = w_hello_rep_decode(&h->rep, h->rep_body.ptr, h->rep_body.len);
	}
	if (rc == 0 && h->rep.version != W_PROTOCOL_VERSION) {
		rc = -NE_VERSION;
	}
	return rc;
}

static int hello_second(struct hello *h, uint64_t deadline_ns)
{
	struct rpc_client *client = h->lc->link->client;
	struct w_auth_req auth;
	struct w_auth_rep auth_rep;
	bool right;
	int rc = rpc_proofs_make(client->key.secret, span_of(h->hello_body.ptr, h->hello_body.len),
		span_of(h->rep_body.ptr, h->rep_body.len), &h->proofs);

	if (rc != 0) {
		return rc;
	}
	right = crypto_equal(h->proofs.server, h->rep.proof, RPC_PROOF_BYTES);
	memcpy(auth.proof, h->proofs.client, RPC_PROOF_BYTES);
	memcpy(h->nonces, h->req.nonce, RPC_NONCE_BYTES);
	memcpy(h->nonces + RPC_NONCE_BYTES, h->rep.nonce, RPC_NONCE_BYTES);
	if (!env_conn_peer(h->conn->stream)->local) {
		rc = rpc_conn_mac_start(h->conn, true, client->key.secret, h->nonces);
	}
	if (rc == 0) {
		rc = rpc_buf_encode(&h->out_body, &w_auth_req_codec, &auth);
	}
	if (rc == 0) {
		rc = hello_exchange(h, W_OP_AUTH, &h->out_body, deadline_ns);
	}
	if (!right) {
		return -NE_AUTH;
	}
	return rc != 0 ? rc : w_auth_rep_decode(&auth_rep, h->rep_body.ptr, h->rep_body.len);
}

int client_hello(struct rpc_lconn *lc, struct rpc_conn *conn, struct hello_result *ret_result)
{
	_cleanup_(hello_free) struct hello *h = mem_zalloc(sizeof(*h));
	uint64_t deadline = env_now(conn->env) + lc->link->client->connect_timeout_ns;
	int rc;

	if (h == NULL) {
		return -NE_NOMEM;
	}
	h->lc = lc;
	h->conn = conn;
	env_waitq_init(&h->sent_q);
	rc = hello_first(h, deadline);
	if (rc != 0) {
		return rc;
	}
	*ret_result = (struct hello_result){.credit = h->rep.bulk_credit_bytes,
		.server = h->rep.server,
		.realtime = h->rep.realtime};
	if (wire_str_copy(h->rep.boot_id, ret_result->boot_id, sizeof(ret_result->boot_id)) != 0) {
		ret_result->boot_id[0] = '\0';
	}
	return hello_second(h, deadline);
}
