/*
 * The client: what all sessions of a reactor share, and the fiber that keeps connections alive.
 *
 * Pending requests are made once and used again; the index of one is in the low bits of its xid, so a reply
 * finds its request without a search, and the whole xid is compared, so an old reply finds nothing.
 * The keep-alive fiber wakes three times per ping interval: it pings what was silent for one interval,
 * breaks what stayed silent for another or does not take our bytes, and restarts what could not
 * get a fiber.
 */
#include "rpc/rpc_client_int.h"

#include "base/alloc.h"
#include "base/log.h"

int client_spawn(struct rpc_client *client, const char *name, env_fiber_fn *fn, void *arg)
{
	int rc = env_spawn(client->env, name, fn, arg);

	if (rc == 0) {
		client->fibers++;
	}
	return rc;
}

void client_fiber_end(struct rpc_client *client)
{
	ASSERT(client->fibers > 0);
	client->fibers--;
	if (client->fibers == 0) {
		env_wake_all(client->env, &client->quiet);
	}
}

static uint64_t or_default(uint64_t v, uint64_t def)
{
	return v != 0 ? v : def;
}

int rpc_client_new(const struct rpc_client_opts *opts, struct rpc_client **ret_client)
{
	struct rpc_client *client = mem_zalloc(sizeof(*client));
	int rc;

	ASSERT(opts->env != NULL && opts->key != NULL);
	if (client == NULL) {
		return -NE_NOMEM;
	}
	rc = rpc_stats_new(&client->stats);
	if (rc != 0) {
		mem_free(client);
		return rc;
	}
	client->env = opts->env;
	client->uuid = opts->uuid;
	client->incarnation = opts->incarnation;
	client->reactor = opts->reactor;
	client->key = *opts->key;
	client->pid = opts->pid;
	client->on_push = opts->on_push;
	client->on_push_ctx = opts->on_push_ctx;
	client->connect_timeout_ns = or_default(opts->connect_timeout_ns, 5 * NS_PER_S);
	client->ping_idle_ns = or_default(opts->ping_idle_ns, 30 * NS_PER_S);
	client->backoff_min_ns = or_default(opts->backoff_min_ns, 20 * NS_PER_MS);
	client->backoff_max_ns = or_default(opts->backoff_max_ns, NS_PER_S);
	if (opts->hostname != NULL) {
		size_t len = strlen(opts->hostname);

		len = len < sizeof(client->hostname) ? len : sizeof(client->hostname) - 1;
		memcpy(client->hostname, opts->hostname, len);
	}
	client->xid_next = 1;
	list_init(&client->links);
	list_init(&client->sessions);
	list_init(&client->pending_free);
	env_waitq_init(&client->tick);
	env_waitq_init(&client->quiet);
	*ret_client = client;
	return 0;
}

void rpc_client_free(struct rpc_client *client)
{
	if (client == NULL) {
		return;
	}
	ASSERT(list_empty(&client->sessions));
	client->stopping = true;
	env_wake_all(client->env, &client->tick);
	while (client->fibers > 0) {
		(void)env_wait(client->env, &client->quiet, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
	ASSERT(list_empty(&client->links));
	for (uint32_t i = 0; i < client->pending_made; i++) {
		ASSERT(client->pending[i]->state == PENDING_FREE);
		mem_free(client->pending[i]);
	}
	crypto_wipe(&client->key, sizeof(client->key));
	mem_free(client->stats);
	mem_free(client);
}

const struct rpc_stats *rpc_client_stats(const struct rpc_client *client)
{
	return client->stats;
}

uint64_t rpc_client_conns_cut(const struct rpc_client *client)
{
	return client->conns_cut;
}

void rpc_client_incarnation_set(struct rpc_client *client, uint32_t incarnation)
{
	ASSERT(incarnation >= client->incarnation);
	client->incarnation = incarnation;
	/* The new one is said in HELLO. */
	LIST_FOREACH_SAFE (it, &client->links) {
		lconn_break(&list_entry(it, struct rpc_link, link)->control, -NE_SHUTDOWN);
	}
}

void client_map_seen(struct rpc_client *client, uint32_t map_version)
{
	if (map_version <= client->map_version) {
		return;
	}
	client->map_version = map_version;
	LIST_FOREACH_SAFE (it, &client->sessions) {
		struct rpc_session *s = list_entry(it, struct rpc_session, all);

		if (s->on_event != NULL) {
			(void)s->on_event(s->on_event_ctx, s, RPC_EVENT_MAP, &s->info);
		}
	}
}

/* ---- pending requests ---- */

static struct rpc_pending *pending_make(struct rpc_client *client)
{
	struct rpc_pending *p;

	if (client->pending_made == RPC_PENDING_MAX) {
		return NULL;
	}
	p = mem_zalloc(sizeof(*p));
	if (p == NULL) {
		return NULL;
	}
	p->client = client;
	p->index = client->pending_made;
	env_waitq_init(&p->waitq);
	client->pending[client->pending_made++] = p;
	return p;
}

struct rpc_pending *pending_new(struct rpc_client *client)
{
	struct list *it = list_pop_front(&client->pending_free);
	struct rpc_pending *p =
		it != NULL ? list_entry(it, struct rpc_pending, link) : pending_make(client);

	if (p == NULL) {
		return NULL;
	}
	ASSERT(p->state == PENDING_FREE && !p->out_busy);
	p->session = NULL;
	p->call = NULL;
	p->slot = -1;
	p->sent_once = false;
	p->parked = false;
	p->woken = false;
	p->canceled = false;
	p->corrupt = 0;
	p->sends = 0;
	p->retries = 0;
	p->lconn = NULL;
	p->wire_bytes = 0;
	p->sent_session = 0;
	p->state = PENDING_DONE;
	p->xid = client->xid_next << RPC_PENDING_BITS | p->index;
	client->xid_next++;
	memset(&p->out.header, 0, sizeof(p->out.header));
	p->out.bulk = NULL;
	p->out.bulk_count = 0;
	return p;
}

void pending_free(struct rpc_pending *p)
{
	ASSERT(p->state == PENDING_DONE && !p->out_busy && !list_linked(&p->link));
	ASSERT(p->slot < 0);
	rpc_buf_free(&p->req);
	rpc_buf_free(&p->rep);
	p->state = PENDING_FREE;
	p->xid = 0;
	list_push_front(&p->client->pending_free, &p->link);
}

struct rpc_pending *pending_find(struct rpc_client *client, uint64_t xid)
{
	uint32_t index = (uint32_t)xid & (RPC_PENDING_MAX - 1);

	if (xid == 0 || index >= client->pending_made || client->pending[index]->xid != xid) {
		return NULL;
	}
	return client->pending[index];
}

/* ---- keep-alive ---- */

static void tick_lconn(struct rpc_client *client, struct rpc_lconn *lc)
{
	uint64_t now = env_now(client->env);
	struct rpc_conn *conn = lc->conn;

	if (!lconn_up(lc)) {
		return;
	}
	if (conn->sending && now - conn->send_start_ns > 2 * client->ping_idle_ns) {
		lconn_break(lc, -NE_TIMEDOUT);
		return;
	}
	rpc_conn_kick(conn);
	if (conn->rx_last_ns + client->ping_idle_ns > now) {
		lc->ping_ns = 0;
		return;
	}
	if (lc->ping_ns != 0 && conn->rx_last_ns >= lc->ping_ns) {
		lc->ping_ns = 0;
	}
	if (lc->ping_ns == 0) {
		lconn_ping(lc);
	} else if (now - lc->ping_ns >= client->ping_idle_ns) {
		lconn_break(lc, -NE_TIMEDOUT);
	}
}

static void tick_fiber(void *arg)
{
	struct rpc_client *client = arg;

	while (!client->stopping && !list_empty(&client->links)) {
		uint64_t until = env_now(client->env) + client->ping_idle_ns / 3;

		(void)env_wait(client->env, &client->tick, until, ENV_WAIT_PLAIN);
		LIST_FOREACH_SAFE (it, &client->links) {
			struct rpc_link *link = list_entry(it, struct rpc_link, link);

			tick_lconn(client, &link->control);
			tick_lconn(client, &link->bulk);
		}
		LIST_FOREACH_SAFE (it, &client->sessions) {
			struct rpc_session *s = list_entry(it, struct rpc_session, all);

			if (s->active && s->state == RPC_SESSION_DISCONNECTED) {
				session_activate(s);
			}
		}
	}
	client->ticking = false;
	client_fiber_end(client);
}

void client_tick_start(struct rpc_client *client)
{
	if (!client->ticking && !client->stopping) {
		client->ticking = client_spawn(client, "rpc-tick", tick_fiber, client) == 0;
	}
}
