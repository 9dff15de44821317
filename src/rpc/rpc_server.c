/*
 * The server: listeners, connections, the pool of requests, and the janitor, a fiber that every few
 * seconds cuts what is silent or stuck and closes sessions nobody comes back to.
 *
 * Everything a stranger can make us keep is bounded: connections, those not yet authenticated, requests
 * per connection, bytes of messages and of bulk. Where a bound is reached, a connection waits (is not
 * read) or a request is answered "retry"; nothing else suffers.
 */
#include "rpc/rpc_server_int.h"

#include "base/alloc.h"
#include "base/log.h"

/* Request objects kept for the next ones. */
#define REQ_KEEP 128

int server_spawn(struct rpc_server *server, const char *name, env_fiber_fn *fn, void *arg)
{
	int rc = env_spawn(server->env, name, fn, arg);

	if (rc == 0) {
		server->fibers++;
	}
	return rc;
}

void server_fiber_end(struct rpc_server *server)
{
	ASSERT(server->fibers > 0);
	server->fibers--;
	env_wake_all(server->env, &server->quiet);
}

/* ---- requests' memory ---- */

struct rpc_req *req_new(struct sconn *conn, const struct wire_header *header)
{
	struct rpc_server *server = conn->server;
	struct list *it = list_pop_front(&server->req_free);
	struct rpc_req *req;

	if (it != NULL) {
		req = list_entry(it, struct rpc_req, link);
		server->req_free_count--;
	} else {
		req = mem_alloc(sizeof(*req));
	}
	if (req == NULL) {
		return NULL;
	}
	/* Not the buffers and the body behind. */
	memset(req, 0, offsetof(struct rpc_req, bulk_out));
	memset(&req->out, 0, sizeof(req->out));
	req->bulk_out_count = 0;
	req->in.ptr = NULL;
	req->in.len = 0;
	req->in.cap = 0;
	req->rep.ptr = NULL;
	req->rep.len = 0;
	req->rep.cap = 0;
	req->server = server;
	req->conn = conn;
	req->home = conn;
	conn->refs += 2;
	req->header = *header;
	req->start_ns = env_now(server->env);
	req->bytes = sizeof(*req) + header->body_len;
	server->message_bytes += req->bytes;
	conn->message_bytes += req->bytes;
	server->stats.message_bytes_max =
		u64_max(server->stats.message_bytes_max, server->message_bytes);
	return req;
}

void req_free(struct rpc_req *req)
{
	struct rpc_server *server = req->server;

	ASSERT(!list_linked(&req->link) && !list_linked(&req->exp_link));
	ASSERT(server->message_bytes >= req->bytes && !req->counted);
	if (req->release != NULL) {
		req->release(req->release_arg);
	}
	if (req->pub.bulk_in != NULL) {
		bufpool_put(server->pool, req->pub.bulk_in);
		ASSERT(server->bulk_bytes >= req->pub.bulk_in_len);
		server->bulk_bytes -= req->pub.bulk_in_len;
	}
	rpc_buf_free(&req->in);
	rpc_buf_free(&req->rep);
	server->message_bytes -= req->bytes;
	req->home->message_bytes -= req->bytes;
	env_wake_all(server->env, &server->room);
	sconn_unref(req->home);
	sconn_unref(req->conn);
	if (server->req_free_count < REQ_KEEP) {
		list_push_front(&server->req_free, &req->link);
		server->req_free_count++;
	} else {
		mem_free(req);
	}
}

/* ---- connections ---- */

void sconn_unref(struct sconn *conn)
{
	ASSERT(conn->refs > 0);
	conn->refs--;
	if (conn->refs > 0) {
		return;
	}
	ASSERT(conn->conn == NULL && conn->requests == 0);
	if (conn->peer != NULL) {
		list_del(&conn->peer_link);
		peer_unref(conn->peer);
	}
	list_del(&conn->link);
	conn->server->conn_count--;
	env_wake_all(conn->server->env, &conn->server->quiet);
	mem_free(conn);
}

void sconn_break(struct sconn *conn, int reason)
{
	if (conn->conn != NULL) {
		rpc_conn_break(conn->conn, reason);
	}
}

static void sconn_log(struct sconn *conn, int reason)
{
	struct rpc_server *server = conn->server;

	server->stats.cut += rpc_error_is_foul(reason);
	server->stats.auth_failed += reason == -NE_AUTH || reason == -NE_EXPIRED;
	if (reason == -NE_CONNLOST || reason == -NE_SHUTDOWN || reason == -NE_AUTH ||
		!rpc_log_allowed(&server->log_bad, env_now(server->env))) {
		return;
	}
	log_warn("rpc", "connection cut peer=%s host=%s reason=%s",
		env_conn_peer(conn->conn->stream)->addr,
		conn->peer != NULL ? conn->peer->id.hostname : "?", ne_name(reason));
}

static void sconn_leave(struct sconn *conn)
{
	struct rpc_conn *stream = conn->conn;

	if (conn->peer != NULL) {
		LIST_FOREACH (it, &conn->peer->exports) {
			struct rpc_export *exp = list_entry(it, struct rpc_export, peer_link);

			if (exp->control == conn) {
				export_touch(exp);
				exp->control = NULL;
			}
		}
	}
	conn->conn = NULL;
	rpc_conn_free(stream);
	sconn_unref(conn);
}

static void sconn_fiber(void *arg)
{
	struct sconn *conn = arg;
	struct rpc_server *server = conn->server;
	int rc = server_hello(conn);

	ASSERT(server->unauth_count > 0);
	server->unauth_count--;
	if (rc == 0) {
		conn->conn->partial_ns = server->lim.partial_ns;
		rc = sconn_receive(conn);
	}
	rpc_conn_break(conn->conn, rc);
	sconn_log(conn, conn->conn->error);
	sconn_leave(conn);
	server_fiber_end(server);
}

static void server_accepted(struct rpc_server *server, struct env_conn *stream)
{
	struct sconn *conn;
	int rc;

	if (server->stopping || server->conn_count >= server->lim.conns_max ||
		server->unauth_count >= server->lim.unauth_max) {
		server->stats.refused++;
		if (rpc_log_allowed(&server->log_full, env_now(server->env))) {
			log_warn("rpc", "connection refused peer=%s conns=%u unauthenticated=%u",
				env_conn_peer(stream)->addr, server->conn_count,
				server->unauth_count);
		}
		env_conn_close(stream);
		return;
	}
	conn = mem_zalloc(sizeof(*conn));
	if (conn == NULL) {
		env_conn_close(stream);
		return;
	}
	rc = rpc_conn_new(server->env, stream,
		u64_min(server->lim.partial_ns, server->lim.handshake_ns), &conn->conn);
	if (rc != 0) {
		mem_free(conn);
		return;
	}
	server->stats.accepted++;
	conn->server = server;
	conn->refs = 1;
	conn->since_ns = env_now(server->env);
	env_waitq_init(&conn->room);
	list_push_back(&server->conns, &conn->link);
	server->conn_count++;
	server->unauth_count++;
	if (server_spawn(server, "rpc-serve", sconn_fiber, conn) != 0) {
		struct rpc_conn *broken = conn->conn;

		server->unauth_count--;
		conn->conn = NULL;
		rpc_conn_free(broken);
		sconn_unref(conn);
	}
}

static void accept_fiber(void *arg)
{
	struct rpc_listener *l = arg;
	struct rpc_server *server = l->server;

	while (l->listener != NULL) {
		struct env_conn *stream = NULL;
		int rc = env_accept(l->listener, &stream);

		if (rc == -NE_SHUTDOWN) {
			break;
		}
		if (rc == 0) {
			server_accepted(server, stream);
			continue;
		}
		if (rpc_log_allowed(&server->log_full, env_now(server->env))) {
			log_warn("rpc", "cannot accept reason=%s", ne_name(rc));
		}
		env_sleep(server->env, 100 * NS_PER_MS);
	}
	mem_free(l);
	server_fiber_end(server);
}

int rpc_server_listen(struct rpc_server *server, const char *addr, char *ret_addr, size_t cap)
{
	struct rpc_listener *l = mem_zalloc(sizeof(*l));
	int rc;

	if (l == NULL) {
		return -NE_NOMEM;
	}
	l->server = server;
	rc = env_listen(server->env, addr, ret_addr, cap, &l->listener);
	if (rc == 0) {
		rc = server_spawn(server, "rpc-accept", accept_fiber, l);
		if (rc != 0) {
			env_listener_close(l->listener);
		}
	}
	if (rc != 0) {
		mem_free(l);
		return rc;
	}
	list_push_back(&server->listeners, &l->link);
	return 0;
}

/* ---- the janitor ---- */

static void janitor_conn(struct rpc_server *server, struct sconn *conn)
{
	uint64_t now = env_now(server->env);
	struct rpc_conn *c = conn->conn;

	if (c == NULL || c->error != 0) {
		return;
	}
	rpc_conn_kick(c);
	if (conn->peer == NULL && now - conn->since_ns > server->lim.handshake_ns) {
		sconn_break(conn, -NE_TIMEDOUT);
	} else if (c->sending && now - c->send_start_ns > server->lim.silent_ns / 2) {
		sconn_break(conn, -NE_TIMEDOUT);
	} else if (now - c->rx_last_ns > server->lim.silent_ns) {
		sconn_break(conn, -NE_TIMEDOUT);
	}
}

static void janitor_export(struct rpc_server *server, struct rpc_export *exp)
{
	const struct rpc_service_ops *ops = exp->service->ops;

	if (exp->state != EXPORT_OPEN || rpc_export_idle_ns(exp) <= server->lim.silent_ns) {
		return;
	}
	if (ops->session_silent == NULL || ops->session_silent(exp->service->ctx, exp)) {
		export_close(exp, RPC_CLOSE_SILENT);
	}
}

/* One export that can be closed for good now, or NULL. */
static struct rpc_export *janitor_closing(struct rpc_server *server)
{
	if (server->reapers >= RPC_REAPERS_MAX) {
		return NULL; /* one that ends wakes us */
	}
	LIST_FOREACH (sit, &server->services) {
		struct rpc_service *service = list_entry(sit, struct rpc_service, link);

		LIST_FOREACH (it, &service->all) {
			struct rpc_export *exp = list_entry(it, struct rpc_export, all);

			if (exp->state == EXPORT_CLOSING && list_empty(&exp->requests)) {
				return exp;
			}
		}
	}
	return NULL;
}

/* False: what can be closed has to wait for a fiber. */
static bool janitor_round(struct rpc_server *server)
{
	struct rpc_export *exp;

	LIST_FOREACH_SAFE (it, &server->conns) {
		janitor_conn(server, list_entry(it, struct sconn, link));
	}
	LIST_FOREACH (sit, &server->services) {
		struct rpc_service *service = list_entry(sit, struct rpc_service, link);

		LIST_FOREACH_SAFE (it, &service->all) {
			janitor_export(server, list_entry(it, struct rpc_export, all));
		}
	}
	do {
		exp = janitor_closing(server);
	} while (exp != NULL && export_reap(exp));
	return exp == NULL;
}

static bool janitor_needed(const struct rpc_server *server)
{
	return !server->stopping || !list_empty(&server->services);
}

static void janitor_fiber(void *arg)
{
	struct rpc_server *server = arg;

	while (janitor_needed(server)) {
		bool all = janitor_round(server);

		if (janitor_needed(server) && (!all || janitor_closing(server) == NULL)) {
			(void)env_wait(server->env, &server->janitor_q,
				env_now(server->env) + RPC_JANITOR_NS, ENV_WAIT_PLAIN);
		}
	}
	server->janitor = false;
	server_fiber_end(server);
}

void server_janitor_wake(struct rpc_server *server)
{
	env_wake_all(server->env, &server->janitor_q);
}

/* ---- life ---- */

static void limits_default(struct rpc_server_limits *l)
{
	l->conns_max = l->conns_max != 0 ? l->conns_max : 480;
	l->unauth_max = l->unauth_max != 0 ? l->unauth_max : 64;
	l->handlers_max = l->handlers_max != 0 ? l->handlers_max : 384;
	l->urgent_max = l->urgent_max != 0 ? l->urgent_max : 64;
	l->queue_max = l->queue_max != 0 ? l->queue_max : 1024;
	l->conn_requests_max = l->conn_requests_max != 0 ? l->conn_requests_max : 256;
	l->bulk_credit_bytes =
		l->bulk_credit_bytes != 0 ? l->bulk_credit_bytes : 2 * LIM_MSG_BULK_MAX;
	if (l->bulk_credit_bytes < LIM_MSG_BULK_MAX) {
		l->bulk_credit_bytes = LIM_MSG_BULK_MAX; /* one message must fit */
	}
	l->bulk_total_bytes = l->bulk_total_bytes != 0 ? l->bulk_total_bytes : 256 * MIB;
	l->message_total_bytes = l->message_total_bytes != 0 ? l->message_total_bytes : 64 * MIB;
	l->parked_max = l->parked_max != 0 ? l->parked_max : LIM_PARKED;
	l->session_parked_max =
		l->session_parked_max != 0 ? l->session_parked_max : LIM_PARKED_SESSION;
	l->slot_total_bytes = l->slot_total_bytes != 0 ? l->slot_total_bytes : 256 * MIB;
	l->handshake_ns = l->handshake_ns != 0 ? l->handshake_ns : 10 * NS_PER_S;
	l->partial_ns = l->partial_ns != 0 ? l->partial_ns : 20 * NS_PER_S;
	l->silent_ns = l->silent_ns != 0 ? l->silent_ns : 120 * NS_PER_S;
}

static void server_init(struct rpc_server *server, const struct rpc_server_opts *opts)
{
	server->env = opts->env;
	server->uuid = opts->uuid;
	server->cluster = opts->cluster;
	memcpy(server->key, opts->server_key, RPC_KEY_BYTES);
	server->own_uid = opts->own_uid;
	server->lim = opts->limits;
	limits_default(&server->lim);
	list_init(&server->listeners);
	list_init(&server->services);
	list_init(&server->conns);
	list_init(&server->peers);
	list_init(&server->req_free);
	for (unsigned g = 0; g < GROUPS; g++) {
		list_init(&server->queue[g]);
	}
	env_waitq_init(&server->room);
	env_waitq_init(&server->janitor_q);
	env_waitq_init(&server->quiet);
}

int rpc_server_new(const struct rpc_server_opts *opts, struct rpc_server **ret_server)
{
	struct rpc_server *server = mem_zalloc(sizeof(*server));
	int rc = 0;

	ASSERT(opts->env != NULL && opts->server_key != NULL);
	if (server == NULL) {
		return -NE_NOMEM;
	}
	server_init(server, opts);
	server->pool = opts->bufpool;
	if (server->pool == NULL) {
		rc = bufpool_new(
			u64_max(server->lim.bulk_total_bytes, 8 * MIB), 8 * MIB, &server->pool);
		server->own_pool = rc == 0;
	}
	if (rc == 0) {
		rc = server_spawn(server, "rpc-janitor", janitor_fiber, server);
		server->janitor = rc == 0;
	}
	if (rc != 0) {
		rpc_server_free(server);
		return rc;
	}
	*ret_server = server;
	return 0;
}

void rpc_server_stats(const struct rpc_server *server, struct rpc_server_stats *ret_stats)
{
	*ret_stats = server->stats;
	ret_stats->message_bytes = server->message_bytes;
	ret_stats->slot_bytes = server->slot_bytes;
	ret_stats->parked = server->parked;
	ret_stats->bulk_bytes = server->bulk_bytes;
	ret_stats->conns = server->conn_count;
	ret_stats->unauthenticated = server->unauth_count;
	ret_stats->running = server->running[GROUP_NORMAL] + server->running[GROUP_URGENT];
	ret_stats->queued = server->queued[GROUP_NORMAL] + server->queued[GROUP_URGENT];
}

void rpc_server_stop(struct rpc_server *server)
{
	struct list *it;

	server->stopping = true;
	while ((it = list_pop_front(&server->listeners)) != NULL) {
		struct rpc_listener *l = list_entry(it, struct rpc_listener, link);

		env_listener_close(TAKE_PTR(l->listener)); /* its fiber frees l */
	}
	LIST_FOREACH_SAFE (cit, &server->conns) {
		sconn_break(list_entry(cit, struct sconn, link), -NE_SHUTDOWN);
	}
	while (!list_empty(&server->services)) {
		rpc_service_stop(list_entry(server->services.next, struct rpc_service, link));
	}
	server_janitor_wake(server);
	while (server->fibers > 0 || server->conn_count > 0) {
		(void)env_wait(server->env, &server->quiet, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
}

void rpc_server_free(struct rpc_server *server)
{
	struct list *it;

	if (server == NULL) {
		return;
	}
	ASSERT(server->fibers == 0 && server->conn_count == 0 && list_empty(&server->peers));
	while ((it = list_pop_front(&server->req_free)) != NULL) {
		mem_free(list_entry(it, struct rpc_req, link));
	}
	if (server->own_pool) {
		bufpool_free(server->pool);
	}
	crypto_wipe(server->key, sizeof(server->key));
	mem_free(server);
}
