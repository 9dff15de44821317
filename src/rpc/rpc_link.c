/*
 * A link: the connections to one server, one for control and one for bulk, shared by the sessions of its
 * targets.
 *
 * The control connection is made by the fiber of the first session that needs it, the bulk connection in
 * the background when the first bulk request waits. Each has a receiving fiber that owns its end: when it
 * breaks, for whatever reason, that fiber waits until no sender uses it, hands what was sent back
 * to the sessions, and frees it. Without control there is no bulk.
 *
 * Invariants: lc->conn changes from NULL only in link_connect (while lc->dialing) and to NULL only in the
 * receiving fiber; a link lives while it has sessions or fibers (refs).
 */
#include "rpc/rpc_client_int.h"

#include "base/alloc.h"
#include "base/crc32c.h"
#include "base/log.h"

static void lconn_init(struct rpc_lconn *lc, struct rpc_link *link, enum w_conn_kind kind)
{
	lc->link = link;
	lc->kind = kind;
	list_init(&lc->direct);
}

struct rpc_link *link_get(struct rpc_client *client, const struct rpc_addrs *addrs)
{
	struct rpc_link *link;

	ASSERT(addrs->count > 0 && addrs->count <= LIM_ADDRS_MAX);
	LIST_FOREACH (it, &client->links) {
		link = list_entry(it, struct rpc_link, link);
		if (memcmp(&link->addrs, addrs, sizeof(*addrs)) == 0) {
			link->refs++;
			return link;
		}
	}
	link = mem_zalloc(sizeof(*link));
	if (link == NULL) {
		return NULL;
	}
	link->client = client;
	link->addrs = *addrs;
	link->addr_used = -1;
	link->refs = 1;
	list_init(&link->sessions);
	env_waitq_init(&link->changed);
	lconn_init(&link->control, link, W_CONN_KIND_CONTROL);
	lconn_init(&link->bulk, link, W_CONN_KIND_BULK);
	list_push_back(&client->links, &link->link);
	client_tick_start(client);
	return link;
}

void link_put(struct rpc_link *link)
{
	ASSERT(link->refs > 0);
	link->refs--;
	if (link->refs > 0) {
		return;
	}
	ASSERT(list_empty(&link->sessions));
	ASSERT(link->control.conn == NULL && link->bulk.conn == NULL);
	rpc_buf_free(&link->control.scratch);
	rpc_buf_free(&link->bulk.scratch);
	list_del(&link->link);
	if (list_empty(&link->client->links)) {
		env_wake_all(link->client->env, &link->client->tick);
	}
	mem_free(link);
}

void link_detach(struct rpc_link *link, struct rpc_session *s)
{
	ASSERT(s->server == link);
	list_del(&s->link);
	s->server = NULL;
	if (list_empty(&link->sessions)) {
		lconn_break(&link->control, -NE_SHUTDOWN);
		lconn_break(&link->bulk, -NE_SHUTDOWN);
	}
	link_put(link);
}

void lconn_break(struct rpc_lconn *lc, int reason)
{
	if (lc->conn != NULL) {
		rpc_conn_break(lc->conn, reason);
	}
}

bool rpc_error_is_final(int rc)
{
	switch (rc) {
	case -NE_AUTH:
	case -NE_EXPIRED:
	case -NE_VERSION:
	case -NE_WRONGFS:
	case -NE_ACCES:
	case -NE_PERM:
	case -NE_INVAL:
		return true;
	default:
		return false;
	}
}

/* ---- the receiving fiber ---- */

static void link_log_lost(struct rpc_lconn *lc, int reason)
{
	struct rpc_link *link = lc->link;
	const char *addr = link->addr_used >= 0 ? link->addrs.addr[link->addr_used] : "?";

	if (reason == -NE_SHUTDOWN || !rpc_log_allowed(&link->log, env_now(link->client->env))) {
		return;
	}
	if (reason == -NE_CONNLOST) {
		log_info(
			"rpc", "connection lost addr=%s kind=%s", addr, w_conn_kind_name(lc->kind));
	} else {
		log_warn("rpc", "connection given up addr=%s kind=%s reason=%s", addr,
			w_conn_kind_name(lc->kind), ne_name(reason));
	}
}

static void lconn_fiber(void *arg)
{
	struct rpc_lconn *lc = arg;
	struct rpc_link *link = lc->link;
	struct rpc_client *client = link->client;
	struct rpc_conn *conn = lc->conn;
	int rc = lconn_receive(lc);

	ASSERT(rc < 0 && conn != NULL);
	rpc_conn_break(conn, rc);
	rc = conn->error;
	client->conns_cut += rpc_error_is_foul(rc);
	link_log_lost(lc, rc);
	lc->dead = true;
	if (lc->kind == W_CONN_KIND_CONTROL) {
		lconn_break(&link->bulk, -NE_SHUTDOWN);
		LIST_FOREACH_SAFE (it, &link->sessions) {
			session_lost(list_entry(it, struct rpc_session, link), -NE_CONNLOST);
		}
	}
	rpc_conn_free(conn);
	flow_requeue(lc);
	lc->conn = NULL;
	lc->dead = false;
	lc->unacked = 0;
	lc->ping_ns = 0;
	rpc_buf_free(&lc->scratch);
	env_wake_all(client->env, &link->changed);
	link_kick(link);
	link_put(link);
	client_fiber_end(client);
}

/* ---- dialling ---- */

static bool addr_is_usable(const struct rpc_link *link, unsigned i)
{
	const struct rpc_addrs *addrs = &link->addrs;

	if (strncmp(addrs->addr[i], "unix:", 5) != 0) {
		return true;
	}
	return addrs->boot_id[0] == '\0' ||
		strcmp(addrs->boot_id, env_boot_id(link->client->env)) == 0;
}

static int link_dial_one(struct rpc_lconn *lc, unsigned i, struct rpc_conn **ret_conn,
	struct hello_result *ret_hello)
{
	struct rpc_link *link = lc->link;
	struct env *env = link->client->env;
	uint64_t deadline = env_now(env) + link->client->connect_timeout_ns;
	struct env_conn *stream = NULL;
	struct rpc_conn *conn = NULL;
	int rc = env_connect(env, link->addrs.addr[i], deadline, &stream);

	if (rc == 0) {
		rc = rpc_conn_new(env, stream, link->client->connect_timeout_ns, &conn);
	}
	if (rc != 0) {
		return rc;
	}
	rc = client_hello(lc, conn, ret_hello);
	if (rc != 0) {
		rpc_conn_free(conn);
		return rc;
	}
	*ret_conn = conn;
	return 0;
}

static int link_dial(
	struct rpc_lconn *lc, struct rpc_conn **ret_conn, struct hello_result *ret_hello)
{
	struct rpc_link *link = lc->link;
	int best = -NE_TARGET_DOWN;

	for (unsigned i = 0; i < link->addrs.count; i++) {
		int rc;

		if (lc->kind == W_CONN_KIND_BULK && (int)i != link->addr_used) {
			continue;
		}
		if (!addr_is_usable(link, i)) {
			continue;
		}
		rc = link_dial_one(lc, i, ret_conn, ret_hello);
		if (rc == 0) {
			if (lc->kind == W_CONN_KIND_CONTROL) {
				link->addr_used = (int)i;
			}
			return 0;
		}
		best = rpc_error_is_final(best) ? best : rc;
	}
	return best;
}

/* Takes a connection that is through HELLO into use. */
static int lconn_adopt(
	struct rpc_lconn *lc, struct rpc_conn *conn, const struct hello_result *hello)
{
	struct rpc_link *link = lc->link;
	int rc;

	/* Bulk follows control: what is older, the server takes for history. */
	if (lc->kind == W_CONN_KIND_BULK &&
		(!lconn_up(&link->control) || !uuid_eq(link->server, hello->server) ||
			(int32_t)(lc->generation - link->control.generation) < 0)) {
		return -NE_CONNLOST;
	}
	lc->conn = conn;
	lc->credit = hello->credit;
	lc->credit_max = hello->credit;
	lc->unacked = 0;
	lc->ping_ns = 0;
	link->refs++;
	rc = client_spawn(link->client, "rpc-recv", lconn_fiber, lc);
	if (rc != 0) {
		lc->conn = NULL;
		link->refs--;
		return rc;
	}
	if (lc->kind == W_CONN_KIND_CONTROL) {
		link->server = hello->server;
		link->realtime = hello->realtime;
		link->realtime_at_ns = env_now(link->client->env);
		memcpy(link->boot_id, hello->boot_id, sizeof(link->boot_id));
		link->bulk_retry_ns = 0;
		link->bulk_backoff_ns = 0;
	}
	return 0;
}

int link_connect(struct rpc_link *link, enum w_conn_kind kind)
{
	struct rpc_lconn *lc = kind == W_CONN_KIND_BULK ? &link->bulk : &link->control;
	struct env *env = link->client->env;
	struct hello_result hello;
	struct rpc_conn *conn = NULL;
	int rc;

	while (lc->dialing || (lc->conn != NULL && !lconn_up(lc))) {
		(void)env_wait(env, &link->changed, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
	if (lconn_up(lc)) {
		return 0;
	}
	lc->dialing = true;
	rc = link_dial(lc, &conn, &hello);
	if (rc == 0) {
		rc = lconn_adopt(lc, conn, &hello);
		if (rc != 0) {
			rpc_conn_free(conn);
		}
	}
	lc->dialing = false;
	env_wake_all(env, &link->changed);
	return rc;
}

static void bulk_fiber(void *arg)
{
	struct rpc_link *link = arg;
	struct rpc_client *client = link->client;

	while (lconn_up(&link->control) && !list_empty(&link->sessions)) {
		int rc;

		if (link->bulk_retry_ns > env_now(client->env)) {
			(void)env_sleep_until(client->env, link->bulk_retry_ns);
		}
		rc = link_connect(link, W_CONN_KIND_BULK);
		if (rc == 0) {
			link->bulk_backoff_ns = 0;
			break;
		}
		link->bulk_backoff_ns = u64_min(client->backoff_max_ns,
			u64_max(client->backoff_min_ns, 2 * link->bulk_backoff_ns));
		link->bulk_retry_ns = env_now(client->env) + link->bulk_backoff_ns / 2 +
			env_random(client->env) % link->bulk_backoff_ns;
	}
	link->bulk_fiber = false;
	link_kick(link);
	link_put(link);
	client_fiber_end(client);
}

void link_bulk_start(struct rpc_link *link)
{
	struct rpc_lconn *lc = &link->bulk;

	if (lc->conn != NULL || link->bulk_fiber || !lconn_up(&link->control)) {
		return;
	}
	link->bulk_fiber = true;
	link->refs++;
	if (client_spawn(link->client, "rpc-bulk", bulk_fiber, link) != 0) {
		link->bulk_fiber = false;
		link->refs--;
	}
}

/* ---- ping ---- */

static void ping_done(struct rpc_out *out, int result _unused_)
{
	struct rpc_lconn *lc = container_of(out, struct rpc_lconn, ping);

	lc->ping_busy = false;
}

void lconn_ping(struct rpc_lconn *lc)
{
	struct w_ping_req req = {.cookie = env_now(lc->link->client->env)};
	struct wire_enc enc = wire_enc_of(lc->ping_body, sizeof(lc->ping_body));
	struct rpc_out *out = &lc->ping;

	lc->ping_ns = env_now(lc->link->client->env);
	if (lc->ping_busy || w_ping_req_encode(&req, &enc) != 0) {
		return;
	}
	lc->ping_busy = true;
	memset(&out->header, 0, sizeof(out->header));
	out->header.class = W_MSG_CLASS_URGENT;
	out->header.op = W_OP_PING;
	out->header.slot = RPC_SLOT_NONE;
	out->header.body_len = (uint32_t)enc.pos;
	out->header.body_crc = crc32c(0, lc->ping_body, enc.pos);
	out->body = lc->ping_body;
	out->urgent = true;
	out->done = ping_done;
	rpc_conn_send(lc->conn, out, RPC_SEND_BEHIND);
}
