/*
 * The server's half of HELLO, and peers: who is behind a connection.
 *
 * Nothing is kept for, or changed by, a peer that has not proved its key. What the claims say holds because
 * the secret is derived from them; on a Unix socket a process that is neither root nor ours is a USER with
 * the kernel's word for its ids, whatever its key (RULES D4). A refused key costs one log line a
 * second at most.
 */
#include "rpc/rpc_server_int.h"

#include "base/alloc.h"
#include "base/crc32c.h"
#include "base/log.h"

/* Too big for a fiber's stack together with what it calls. */
struct greet {
	struct sconn *conn;
	struct w_hello_req req;
	struct w_hello_rep rep;
	struct rpc_key key;
	struct rpc_proofs proofs;
	struct rpc_buf hello_body;
	struct rpc_buf rep_body;
	struct rpc_buf in;
	struct rpc_out out;
	uint8_t nonces[2 * RPC_NONCE_BYTES];
	bool sent;
	int sent_result;
	struct env_waitq sent_q;
};

static void greet_free(struct greet **g)
{
	if (*g == NULL) {
		return;
	}
	rpc_buf_free(&(*g)->hello_body);
	rpc_buf_free(&(*g)->rep_body);
	rpc_buf_free(&(*g)->in);
	crypto_wipe(*g, sizeof(**g));
	mem_free(*g);
}

static void greet_sent(struct rpc_out *out, int result)
{
	struct greet *g = container_of(out, struct greet, out);

	g->sent = true;
	g->sent_result = result;
	env_wake_all(g->conn->server->env, &g->sent_q);
}

static int greet_send(
	struct greet *g, const struct wire_header *request, int status, const struct rpc_buf *body)
{
	struct wire_header *h = &g->out.header;

	memset(h, 0, sizeof(*h));
	h->class = W_MSG_CLASS_CONTROL;
	h->op = request->op;
	h->flags = W_MSG_FLAGS_REPLY;
	h->slot = RPC_SLOT_NONE;
	h->xid = request->xid;
	h->status = (uint32_t)-status;
	h->body_len = body != NULL ? body->len : 0;
	h->body_crc = body != NULL ? crc32c(0, body->ptr, body->len) : 0;
	g->out.body = body != NULL ? body->ptr : NULL;
	g->out.done = greet_sent;
	g->sent = false;
	rpc_conn_send(g->conn->conn, &g->out, RPC_SEND_INLINE);
	while (!g->sent) {
		(void)env_wait(g->conn->server->env, &g->sent_q, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
	return g->sent_result;
}

static int greet_recv(
	struct greet *g, uint16_t op, struct rpc_buf *body, struct wire_header *ret_header)
{
	struct rpc_server *server = g->conn->server;
	int rc = rpc_conn_recv_header(
		g->conn->conn, g->conn->since_ns + server->lim.handshake_ns, ret_header);

	if (rc != 0) {
		return rc;
	}
	if (ret_header->op != op || ret_header->body_len > RPC_HANDSHAKE_BODY_MAX ||
		ret_header->bulk_len != 0 ||
		(ret_header->flags & (W_MSG_FLAGS_REPLY | W_MSG_FLAGS_PUSH)) != 0) {
		return -NE_BADMSG;
	}
	return rpc_conn_recv_body(g->conn->conn, ret_header, body);
}

static void greet_log_refused(struct greet *g, int status)
{
	struct rpc_server *server = g->conn->server;

	if (rpc_log_allowed(&server->log_auth, env_now(server->env))) {
		log_warn("rpc", "refused peer=%s key_id=%u role=%s reason=%s",
			env_conn_peer(g->conn->conn->stream)->addr, g->req.claims.key_id,
			w_peer_role_name(g->req.claims.role), ne_name(status));
	}
}

/* Whether these claims may be looked at any further. */
static int claims_check(struct greet *g)
{
	struct rpc_server *server = g->conn->server;
	int64_t now_s = env_realtime(server->env) / (int64_t)NS_PER_S;

	if (g->req.version_min > W_PROTOCOL_VERSION || g->req.version_max < W_PROTOCOL_VERSION) {
		return -NE_VERSION;
	}
	if (uuid_is_zero(g->req.client)) {
		return -NE_INVAL;
	}
	if (g->key.role != RPC_ROLE_SERVER) {
		if (!uuid_eq(g->key.cluster, server->cluster)) {
			return -NE_AUTH;
		}
		if (g->key.expires_s != 0 && now_s >= 0 && (uint64_t)now_s >= g->key.expires_s) {
			return -NE_EXPIRED;
		}
	}
	return 0;
}

static int greet_prove(struct greet *g)
{
	struct rpc_server *server = g->conn->server;
	int rc;

	g->rep.version = W_PROTOCOL_VERSION;
	g->rep.features = g->req.features & RPC_FEATURES;
	g->rep.server = server->uuid;
	g->rep.boot_id = wire_str_of(env_boot_id(server->env));
	g->rep.realtime = env_realtime(server->env);
	g->rep.bulk_credit_bytes = server->lim.bulk_credit_bytes;
	env_random_bytes(server->env, g->rep.nonce, sizeof(g->rep.nonce));
	rc = rpc_buf_encode(&g->rep_body, &w_hello_rep_codec, &g->rep);
	if (rc == 0) {
		rc = rpc_proofs_make(g->key.secret, span_of(g->hello_body.ptr, g->hello_body.len),
			span_of(g->rep_body.ptr, g->rep_body.len), &g->proofs);
	}
	if (rc == 0) {
		memcpy(g->rep_body.ptr + RPC_HELLO_PROOF_OFFSET, g->proofs.server, RPC_PROOF_BYTES);
		memcpy(g->nonces, g->req.nonce, RPC_NONCE_BYTES);
		memcpy(g->nonces + RPC_NONCE_BYTES, g->rep.nonce, RPC_NONCE_BYTES);
	}
	return rc;
}

static int greet_first(struct greet *g)
{
	struct wire_header h;
	int rc = greet_recv(g, W_OP_HELLO, &g->hello_body, &h);

	if (rc == 0) {
		rc = w_hello_req_decode(&g->req, g->hello_body.ptr, g->hello_body.len);
	}
	if (rc == 0) {
		rc = rpc_key_of_claims(&g->req.claims, &g->key);
	}
	if (rc != 0) {
		return rc;
	}
	rc = claims_check(g);
	if (rc == 0) {
		rc = rpc_key_derive(&g->key, g->conn->server->key);
	}
	if (rc == 0) {
		rc = greet_prove(g);
	}
	if (rc != 0) {
		greet_log_refused(g, rc);
		(void)greet_send(g, &h, rc, NULL);
		return rc;
	}
	return greet_send(g, &h, 0, &g->rep_body);
}

/* ---- peers ---- */

static void identity_fill(struct greet *g, struct rpc_identity *id)
{
	struct rpc_server *server = g->conn->server;
	const struct env_peer *peer = env_conn_peer(g->conn->conn->stream);

	memset(id, 0, sizeof(*id));
	id->role = g->key.role;
	id->uid = g->key.uid;
	id->gid = g->key.gid;
	id->allow_root = g->key.role == RPC_ROLE_SERVER || g->key.allow_root;
	id->read_only = g->key.role != RPC_ROLE_SERVER && g->key.read_only;
	id->key_id = g->key.key_id;
	id->client = g->req.client;
	id->incarnation = g->req.incarnation;
	id->pid = g->req.pid;
	id->local = peer->local;
	if (peer->local) {
		id->peer_uid = peer->uid;
		id->peer_gid = peer->gid;
		id->peer_pid = peer->pid;
		if (peer->uid != 0 && peer->uid != server->own_uid && id->role != RPC_ROLE_USER) {
			id->role = RPC_ROLE_USER;
			id->uid = peer->uid;
			id->gid = peer->gid;
			id->allow_root = false;
		}
	}
	if (wire_str_copy(g->req.hostname, id->hostname, sizeof(id->hostname)) != 0) {
		strcpy(id->hostname, "?");
	}
	memcpy(id->addr, peer->addr, strnlen(peer->addr, sizeof(id->addr) - 1));
	memcpy(id->fsname, g->key.fsname, sizeof(id->fsname));
	memcpy(id->subdir, g->key.subdir, sizeof(id->subdir));
}

/* The same holder of the same key; subdir and the like follow from the key id, which was proved. */
static bool identity_same_holder(const struct rpc_identity *a, const struct rpc_identity *b)
{
	return uuid_eq(a->client, b->client) && a->key_id == b->key_id && a->role == b->role &&
		a->uid == b->uid && a->gid == b->gid && a->allow_root == b->allow_root &&
		a->read_only == b->read_only && strcmp(a->fsname, b->fsname) == 0 &&
		strcmp(a->subdir, b->subdir) == 0;
}

static int peer_get(
	struct rpc_server *server, const struct rpc_identity *id, struct rpc_peer **ret_peer)
{
	struct rpc_peer *peer;

	LIST_FOREACH (it, &server->peers) {
		peer = list_entry(it, struct rpc_peer, link);
		if (!identity_same_holder(&peer->id, id)) {
			continue;
		}
		if (peer->id.incarnation > id->incarnation) {
			return -NE_FENCED;
		}
		if (peer->id.incarnation == id->incarnation) {
			peer->refs++;
			if (id->local) {
				/* What the sessions opened from here on run over, if there is a choice. */
				memcpy(peer->id.addr, id->addr, sizeof(peer->id.addr));
			}
			*ret_peer = peer;
			return 0;
		}
	}
	peer = mem_zalloc(sizeof(*peer));
	if (peer == NULL) {
		return -NE_NOMEM;
	}
	peer->server = server;
	peer->id = *id;
	peer->refs = 1;
	list_init(&peer->conns);
	list_init(&peer->exports);
	env_mutex_init(&peer->opening);
	list_push_back(&server->peers, &peer->link);
	*ret_peer = peer;
	return 0;
}

void peer_unref(struct rpc_peer *peer)
{
	ASSERT(peer->refs > 0);
	peer->refs--;
	if (peer->refs == 0) {
		ASSERT(list_empty(&peer->conns) && list_empty(&peer->exports));
		list_del(&peer->link);
		mem_free(peer);
	}
}

/* A client that reconnects faster than its dead connections are noticed: the oldest one goes. */
static void peer_limit(struct rpc_peer *peer)
{
	unsigned count = 0;

	LIST_FOREACH (it, &peer->conns) {
		count++;
	}
	LIST_FOREACH (it, &peer->conns) {
		struct sconn *conn = list_entry(it, struct sconn, peer_link);

		if (count <= RPC_PEER_CONNS_MAX) {
			return;
		}
		if (conn->conn != NULL && conn->conn->error == 0) {
			sconn_break(conn, -NE_LIMIT);
		}
		count--;
	}
}

static int greet_adopt(struct greet *g)
{
	_cleanup_(free_ptr) struct rpc_identity *id = mem_alloc(sizeof(*id));
	struct sconn *conn = g->conn;
	struct rpc_peer *peer = NULL;
	int rc;

	if (id == NULL) {
		return -NE_NOMEM;
	}
	identity_fill(g, id);
	rc = peer_get(conn->server, id, &peer);
	if (rc != 0) {
		return rc;
	}
	conn->peer = peer;
	conn->kind = g->req.conn_kind;
	conn->reactor = g->req.reactor;
	conn->generation = g->req.conn_generation;
	list_push_back(&peer->conns, &conn->peer_link);
	peer_limit(peer);
	return 0;
}

static int greet_second(struct greet *g)
{
	struct w_auth_req auth;
	struct w_auth_rep rep;
	struct wire_header h;
	int rc = 0;

	if (!env_conn_peer(g->conn->conn->stream)->local) {
		rc = rpc_conn_mac_start(g->conn->conn, false, g->key.secret, g->nonces);
	}
	if (rc == 0) {
		rc = greet_recv(g, W_OP_AUTH, &g->in, &h);
	}
	if (rc == 0) {
		rc = w_auth_req_decode(&auth, g->in.ptr, g->in.len);
	}
	if (rc == 0 && !crypto_equal(auth.proof, g->proofs.client, RPC_PROOF_BYTES)) {
		rc = -NE_AUTH;
	}
	if (rc == -NE_MAC || rc == -NE_AUTH) {
		greet_log_refused(g, -NE_AUTH);
		h = (struct wire_header){.op = W_OP_AUTH, .xid = W_OP_AUTH};
		(void)greet_send(g, &h, -NE_AUTH, NULL);
		return -NE_AUTH;
	}
	if (rc == 0) {
		rc = greet_adopt(g);
		if (rc != 0) {
			(void)greet_send(g, &h, rc, NULL);
		}
	}
	if (rc != 0) {
		return rc;
	}
	rep = (struct w_auth_rep){.role = (enum w_peer_role)g->conn->peer->id.role,
		.uid = g->conn->peer->id.uid,
		.gid = g->conn->peer->id.gid,
		.allow_root = g->conn->peer->id.allow_root,
		.read_only = g->conn->peer->id.read_only};
	rc = rpc_buf_encode(&g->in, &w_auth_rep_codec, &rep);
	return rc != 0 ? rc : greet_send(g, &h, 0, &g->in);
}

int server_hello(struct sconn *conn)
{
	_cleanup_(greet_free) struct greet *g = mem_zalloc(sizeof(*g));
	int rc;

	if (g == NULL) {
		return -NE_NOMEM;
	}
	g->conn = conn;
	env_waitq_init(&g->sent_q);
	rc = greet_first(g);
	return rc != 0 ? rc : greet_second(g);
}
