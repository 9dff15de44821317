/*
 * The life of a session on the client: connect, open or resume, recover, be ready, be lost, again.
 *
 * A session that was used once is `active`: whenever it has no place at the server, a fiber of its own
 * tries to get one, with growing, jittered pauses, for ever. On the way from open to ready it tells its
 * owner what happened (rpc_event), who may make recovery calls; only then what waited is sent.
 *
 * An event counts as delivered when the owner returned 0 and the connection still stands; else the strongest
 * one that is due is delivered again, so a re-claim that broke half-way is done over.
 */
#include "rpc/rpc_client_int.h"

#include "base/alloc.h"
#include "base/log.h"

static void session_state_set(struct rpc_session *s, enum rpc_session_state state)
{
	s->state = state;
	env_wake_all(s->client->env, &s->waitq);
}

static void session_event(struct rpc_session *s, enum rpc_event event)
{
	if (s->on_event != NULL) {
		(void)s->on_event(s->on_event_ctx, s, event, &s->info);
	}
}

/* ---- losing it ---- */

void session_lost(struct rpc_session *s, int reason)
{
	bool was_ready = s->state == RPC_SESSION_READY;

	if (s->state == RPC_SESSION_DISCONNECTED || s->state == RPC_SESSION_DEAD) {
		return;
	}
	s->reopen = true;
	session_state_set(s, RPC_SESSION_DISCONNECTED);
	flow_fail_recovery(s);
	if (was_ready && reason != -NE_FENCED) {
		session_event(s, RPC_EVENT_DISCONNECTED);
	}
	session_activate(s);
}

void session_evicted(struct rpc_session *s)
{
	if (s->info.session == 0) {
		return;
	}
	log_warn("rpc", "evicted target=%s session=%llu", s->target,
		(unsigned long long)s->info.session);
	s->info.session = 0;
	s->event_due = RPC_EVENT_NEW;
	flow_fail_all(s, -NE_FENCED);
	session_lost(s, -NE_FENCED);
	session_event(s, RPC_EVENT_EVICTED);
}

/* ---- getting it ---- */

/* Takes over addresses that changed, or the first ones. */
static int session_link_update(struct rpc_session *s)
{
	struct rpc_link *old = s->server;
	struct rpc_link *link;

	if (!s->addrs_changed) {
		return old != NULL ? 0 : -NE_TARGET_DOWN;
	}
	while (old != NULL && !list_empty(&s->sent) &&
		(old->control.conn != NULL || old->bulk.conn != NULL)) {
		/* What was sent there comes back when those connections have ended. */
		lconn_break(&old->control, -NE_SHUTDOWN);
		lconn_break(&old->bulk, -NE_SHUTDOWN);
		(void)env_wait(s->client->env, &old->changed, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
	link = link_get(s->client, &s->addrs);
	if (link == NULL) {
		return -NE_NOMEM;
	}
	s->addrs_changed = false;
	if (old != NULL) {
		link_detach(old, s);
	}
	s->server = link;
	list_push_back(&link->sessions, &s->link);
	return 0;
}

/* NEW is stronger than RECOVERING is stronger than RESUMED. */
static unsigned event_rank(int event)
{
	switch (event) {
	case RPC_EVENT_NEW:
		return 3;
	case RPC_EVENT_RECOVERING:
		return 2;
	case RPC_EVENT_RESUMED:
		return 1;
	default:
		return 0;
	}
}

static int session_opened(struct rpc_session *s, const struct w_session_open_rep *rep)
{
	int event = RPC_EVENT_RESUMED;

	if (rep->slots == 0 || rep->slots > LIM_SLOTS || rep->session == 0 ||
		(rep->resumed && rep->session != s->info.session)) {
		return -NE_BADMSG;
	}
	if (!rep->resumed) {
		event = RPC_EVENT_NEW;
		s->last_committed = 0;
	} else if (rep->epoch != s->info.epoch || rep->recovering) {
		event = RPC_EVENT_RECOVERING;
	}
	if (rep->epoch != s->info.epoch) {
		s->last_committed = 0;
	}
	s->info.session = rep->session;
	s->info.slots = rep->slots;
	s->info.epoch = rep->epoch;
	s->info.recovering = rep->recovering;
	s->info.verifier = rep->verifier;
	s->info.memory_loss = rep->memory_loss;
	s->info.lease_term_ms = rep->lease_term_ms;
	s->info.server_realtime_ns = s->server->realtime;
	s->info.server_realtime_at_ns = s->server->realtime_at_ns;
	memcpy(s->info.boot_id, s->server->boot_id, sizeof(s->info.boot_id));
	s->event_due = event_rank(event) > event_rank(s->event_due) ? event : s->event_due;
	flow_resume(s, rep->resumed, &rep->slot_seqs.view);
	return 0;
}

static int session_open_exchange(struct rpc_session *s)
{
	struct w_session_open_req req = {
		.target = wire_str_of(s->target),
		.fsname = wire_str_of(s->fsname),
		.session = s->info.session,
		.slots = s->slots_wanted,
	};
	struct w_session_open_rep rep;
	struct rpc_call call = {.op = W_OP_SESSION_OPEN, .request = &req, .reply = &rep};
	int rc;

	call.deadline_ns = env_now(s->client->env) + 4 * s->client->connect_timeout_ns;
	rc = call_direct(&s->server->control, s, &call);
	if (rc == 0) {
		rc = s->closing ? -NE_CANCELED : session_opened(s, &rep);
	}
	if (rc == -NE_FENCED) {
		session_evicted(s);
	} else if (rc == -NE_STALE) {
		/* The server knows a newer connection of this session: it takes a newer one yet. */
		lconn_break(&s->server->control, -NE_STALE);
	}
	rpc_call_fini(&call);
	return rc;
}

static int session_recover(struct rpc_session *s)
{
	int rc = 0;

	session_state_set(s, RPC_SESSION_RECOVERING);
	if (s->on_event != NULL) {
		rc = s->on_event(s->on_event_ctx, s, (enum rpc_event)s->event_due, &s->info);
	}
	if (rc == 0 && s->reopen) {
		rc = -NE_CONNLOST;
	}
	return rc;
}

static int session_attempt(struct rpc_session *s)
{
	int rc = session_link_update(s);

	if (rc != 0) {
		return rc;
	}
	s->reopen = false;
	session_state_set(s, RPC_SESSION_CONNECTING);
	rc = link_connect(s->server, W_CONN_KIND_CONTROL);
	if (rc == 0 && s->closing) {
		rc = -NE_CANCELED;
	}
	/* What was sent as bulk must have come back before the slots are compared. */
	while (rc == 0 && s->server->bulk.conn != NULL && !lconn_up(&s->server->bulk)) {
		(void)env_wait(s->client->env, &s->server->changed, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
	if (rc == 0 && s->addrs_changed) {
		rc = -NE_AGAIN;
	}
	if (rc == 0) {
		s->reopen = false;
		session_state_set(s, RPC_SESSION_CONNECTING);
		rc = session_open_exchange(s);
	}
	if (rc == 0 && s->reopen) {
		rc = -NE_CONNLOST;
	}
	return rc != 0 ? rc : session_recover(s);
}

static void session_backoff(struct rpc_session *s)
{
	struct rpc_client *client = s->client;
	uint64_t ns = s->backoff_ns / 2 + env_random(client->env) % s->backoff_ns;

	s->backoff_ns = u64_min(2 * s->backoff_ns, client->backoff_max_ns);
	(void)env_wait(client->env, &s->poke, env_now(client->env) + ns, ENV_WAIT_PLAIN);
}

/* Those who wait look at the reason of the failure. */
static void session_wake_callers(struct rpc_session *s)
{
	for (unsigned flow = 0; flow < FLOWS; flow++) {
		LIST_FOREACH (it, &s->unsent[flow]) {
			struct rpc_pending *p = list_entry(it, struct rpc_pending, link);

			env_wake_all(s->client->env, &p->waitq);
		}
	}
}

static void session_fiber(void *arg)
{
	struct rpc_session *s = arg;
	struct rpc_client *client = s->client;

	while (!s->closing) {
		int rc = session_attempt(s);

		if (rc == 0) {
			s->error = 0;
			s->attempts = 0;
			s->event_due = -1;
			s->backoff_ns = client->backoff_min_ns;
			break;
		}
		if (s->state != RPC_SESSION_DISCONNECTED) {
			session_state_set(s, RPC_SESSION_DISCONNECTED);
			flow_fail_recovery(s);
		}
		if (rc != s->error && rc != -NE_CANCELED && rc != -NE_AGAIN) {
			log_warn("rpc", "cannot reach target=%s reason=%s", s->target, ne_name(rc));
		}
		s->error = rc;
		s->attempts++;
		env_wake_all(client->env, &s->waitq);
		session_wake_callers(s);
		if (!s->closing) {
			session_backoff(s);
		}
	}
	s->running = false;
	if (!s->closing) {
		session_state_set(s, RPC_SESSION_READY);
		flow_unpark(s);
		session_kick(s, RPC_SEND_BEHIND);
	}
	env_wake_all(client->env, &s->waitq);
	client_fiber_end(client);
}

void session_activate(struct rpc_session *s)
{
	s->active = true;
	if (s->running || s->closing || s->state != RPC_SESSION_DISCONNECTED) {
		return;
	}
	s->running = true;
	if (client_spawn(s->client, "rpc-session", session_fiber, s) != 0) {
		s->running = false; /* the keep-alive fiber tries again */
	}
}

/* ---- what owners see ---- */

/* Every address is compared as bytes by the links: what is behind a text must be zero. */
static void addrs_normalize(struct rpc_addrs *to, const struct rpc_addrs *from)
{
	memset(to, 0, sizeof(*to));
	ASSERT(from->count <= LIM_ADDRS_MAX);
	to->count = from->count;
	for (unsigned i = 0; i < from->count; i++) {
		memcpy(to->addr[i], from->addr[i], strnlen(from->addr[i], LIM_ADDR_LEN_MAX));
	}
	memcpy(to->boot_id, from->boot_id, strnlen(from->boot_id, sizeof(to->boot_id) - 1));
}

int rpc_session_new(struct rpc_client *client, const struct rpc_session_opts *opts,
	struct rpc_session **ret_session)
{
	struct rpc_session *s;

	if (strlen(opts->target) > LIM_TARGET_NAME_MAX || opts->target[0] == '\0' ||
		strlen(opts->fsname) > LIM_FSNAME_MAX || opts->slots > LIM_SLOTS) {
		return -NE_INVAL;
	}
	s = mem_zalloc(sizeof(*s));
	if (s == NULL) {
		return -NE_NOMEM;
	}
	s->client = client;
	strcpy(s->target, opts->target);
	strcpy(s->fsname, opts->fsname);
	s->code = rpc_target_code(s->target);
	s->on_event = opts->on_event;
	s->on_event_ctx = opts->on_event_ctx;
	s->slots_wanted = opts->slots != 0 ? opts->slots : LIM_SLOTS;
	s->state = RPC_SESSION_DISCONNECTED;
	s->event_due = -1;
	s->backoff_ns = client->backoff_min_ns;
	env_waitq_init(&s->waitq);
	env_waitq_init(&s->poke);
	list_init(&s->sent);
	for (unsigned flow = 0; flow < FLOWS; flow++) {
		list_init(&s->unsent[flow]);
	}
	if (opts->addrs != NULL && opts->addrs->count > 0) {
		addrs_normalize(&s->addrs, opts->addrs);
		s->addrs_changed = true;
	}
	list_push_back(&client->sessions, &s->all);
	*ret_session = s;
	return 0;
}

void rpc_session_addrs_set(struct rpc_session *s, const struct rpc_addrs *addrs)
{
	addrs_normalize(&s->addrs_next, addrs);
	if (addrs->count == 0 || memcmp(&s->addrs_next, &s->addrs, sizeof(s->addrs)) == 0) {
		return;
	}
	s->addrs = s->addrs_next;
	s->addrs_changed = true;
	s->backoff_ns = s->client->backoff_min_ns;
	session_lost(s, -NE_CONNLOST);
	env_wake_all(s->client->env, &s->poke);
	if (s->active) {
		session_activate(s);
	}
}

/* Tells the server, if it listens; what it answers does not matter. */
static void session_close_exchange(struct rpc_session *s, uint64_t deadline_ns)
{
	struct w_session_close_req req = {.session = s->info.session};
	struct w_session_close_rep rep;
	struct rpc_call call = {.op = W_OP_SESSION_CLOSE,
		.request = &req,
		.reply = &rep,
		.deadline_ns = deadline_ns,
		.flags = RPC_CALL_NO_INTR};

	if (s->server != NULL && lconn_up(&s->server->control)) {
		(void)call_direct(&s->server->control, s, &call);
		rpc_call_fini(&call);
	}
}

/* Waits until no connection uses memory of the session's requests, and drops them. */
static void session_drain(struct rpc_session *s)
{
	bool busy = true;

	while (busy) {
		busy = false;
		LIST_FOREACH (it, &s->sent) {
			struct rpc_pending *p = list_entry(it, struct rpc_pending, link);

			ASSERT(p->call == NULL);
			if (p->state == PENDING_RECV || p->out_busy) {
				busy = true;
				lconn_break(p->lconn, -NE_SHUTDOWN);
				(void)env_wait(s->client->env, &p->waitq,
					env_now(s->client->env) + 10 * NS_PER_MS, ENV_WAIT_PLAIN);
				break;
			}
		}
	}
	flow_fail_all(s, -NE_SHUTDOWN);
}

void rpc_session_free(struct rpc_session *s, uint64_t deadline_ns)
{
	bool was_ready;

	if (s == NULL) {
		return;
	}
	ASSERT(s->calls == 0);
	was_ready = s->state == RPC_SESSION_READY;
	s->closing = true;
	env_wake_all(s->client->env, &s->poke);
	while (s->running) {
		(void)env_wait(s->client->env, &s->waitq, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
	if (was_ready) {
		session_close_exchange(s, deadline_ns);
	}
	s->state = RPC_SESSION_DEAD;
	session_drain(s);
	if (s->server != NULL) {
		link_detach(s->server, s);
	}
	list_del(&s->all);
	mem_free(s);
}

int rpc_session_connect(struct rpc_session *s, uint64_t deadline_ns)
{
	unsigned attempts = s->attempts;

	session_activate(s);
	while (s->state != RPC_SESSION_READY) {
		int rc = env_wait(s->client->env, &s->waitq, deadline_ns, ENV_WAIT_INTR);

		if (rc != 0) {
			return rc;
		}
		if (s->attempts != attempts && rpc_error_is_final(s->error)) {
			return s->error;
		}
	}
	return 0;
}

void rpc_session_disconnect(struct rpc_session *s)
{
	if (s->server != NULL) {
		lconn_break(&s->server->control, -NE_CONNLOST);
		lconn_break(&s->server->bulk, -NE_CONNLOST);
	}
}

enum rpc_session_state rpc_session_state(const struct rpc_session *s)
{
	return s->state;
}

const struct rpc_session_info *rpc_session_info(const struct rpc_session *s)
{
	return &s->info;
}

const char *rpc_session_target(const struct rpc_session *s)
{
	return s->target;
}

uint32_t rpc_session_map_version(const struct rpc_session *s)
{
	return s->client->map_version;
}

uint64_t rpc_session_last_committed(const struct rpc_session *s)
{
	return s->last_committed;
}

const char *rpc_session_addr(const struct rpc_session *s)
{
	if (s->server == NULL || s->server->addr_used < 0 || !lconn_up(&s->server->control)) {
		return "";
	}
	return s->server->addrs.addr[s->server->addr_used];
}

int rpc_session_error(const struct rpc_session *s)
{
	return s->error;
}
