/*
 * The helper thread: libmicrohttpd driven by hand (its own thread would not let us end slow connections).
 *
 * A connection lives for CONN_NS at most, whatever it sends; answers close it. Beyond CONNS_SOFT the oldest one is
 * ended, so that a crowd of slow strangers keeps nobody out for long. Everything but start and stop is the thread's.
 */
#include <errno.h>
#include <microhttpd.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "monitor/monitor_int.h"

#define CONN_NS (10 * NS_PER_S)
/* Per listener; beyond the first number the oldest goes, the second libmicrohttpd keeps. */
#define CONNS_SOFT 24
#define CONNS_HARD 96
/* At its own limit libmicrohttpd stops listening until it is called again: then it is called so often. */
#define CROWD_NS (50 * NS_PER_MS)
/* Memory of one connection for what it sends, bytes: a scraper's headers are a few hundred. */
#define CONN_MEMORY 16384

struct conn {
	struct list link; /* oldest first */
	int fd;
	uint64_t until_ns;
	bool refused; /* another user's */
	bool cut;
};

struct listener {
	struct http *http;
	struct MHD_Daemon *daemon;
	bool local;
	struct list conns;
	unsigned count;
};

struct http {
	struct monitor *m;
	pthread_t thread;
	int stop_fd;
	unsigned listeners;
	struct listener listener[2];
	uint64_t socket_ino;
	bool have_socket;
	char addr[LIM_ADDR_LEN_MAX + 1];
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

/* ---- connections ---- */

static void conn_cut(struct conn *c)
{
	if (!c->cut) {
		c->cut = true;
		(void)shutdown(c->fd, SHUT_RDWR); /* libmicrohttpd notices and closes it */
	}
}

/* The socket's mode keeps others out already; the kernel's word on who it is holds even if that was changed. */
static bool peer_allowed(int fd)
{
	struct ucred who;
	socklen_t len = sizeof(who);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) == 0 &&
		(who.uid == 0 || who.uid == geteuid());
}

static void conn_started(struct listener *l, struct MHD_Connection *connection, void **socket_ctx)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct conn *c = mem_zalloc(sizeof(*c));

	*socket_ctx = c;
	if (info == NULL || c == NULL) {
		return; /* without a record it is not answered */
	}
	c->fd = info->connect_fd;
	c->until_ns = now_ns() + CONN_NS;
	c->refused = l->local && !peer_allowed(c->fd);
	list_push_back(&l->conns, &c->link);
	l->count++;
	if (c->refused) {
		l->http->m->refused_peer++;
		conn_cut(c);
	}
	if (l->count > CONNS_SOFT) {
		LIST_FOREACH (it, &l->conns) {
			struct conn *oldest = list_entry(it, struct conn, link);

			if (!oldest->cut) {
				l->http->m->refused_crowd++;
				conn_cut(oldest);
				break;
			}
		}
	}
}

static void conn_notify(void *cls, struct MHD_Connection *connection, void **socket_ctx,
	enum MHD_ConnectionNotificationCode code)
{
	struct listener *l = cls;
	struct conn *c = *socket_ctx;

	if (code == MHD_CONNECTION_NOTIFY_STARTED) {
		conn_started(l, connection, socket_ctx);
	} else if (c != NULL) {
		list_del(&c->link);
		l->count--;
		mem_free(c);
		*socket_ctx = NULL;
	}
}

/* Ends what has lived too long; returns when the next one will have. */
static uint64_t conns_expire(struct listener *l, uint64_t now)
{
	LIST_FOREACH (it, &l->conns) {
		struct conn *c = list_entry(it, struct conn, link);

		if (c->cut) {
			continue;
		}
		if (c->until_ns > now) {
			return c->until_ns;
		}
		l->http->m->refused_slow++;
		conn_cut(c);
	}
	return UINT64_MAX;
}

/* ---- requests ---- */

static const char *request_arg(void *ctx, const char *name)
{
	return MHD_lookup_connection_value(ctx, MHD_GET_ARGUMENT_KIND, name);
}

/* Takes the same time wherever the first difference is. */
static bool token_fits(const struct monitor *m, const char *given)
{
	size_t len = strlen(m->token);
	size_t given_len = strlen(given);
	unsigned differ = len != given_len;

	for (size_t i = 0; i < len; i++) {
		differ |= (unsigned)(m->token[i] ^ given[given_len == 0 ? 0 : i % given_len]);
	}
	return differ == 0;
}

static bool authorized(const struct listener *l, struct MHD_Connection *connection)
{
	const char *header;

	if (l->local) {
		return true; /* conn_started knows who it is */
	}
	header = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Authorization");
	return header != NULL && strncasecmp(header, "Bearer ", 7) == 0 &&
		token_fits(l->http->m, header + 7);
}

static bool has_body(struct MHD_Connection *connection)
{
	const char *len =
		MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Content-Length");

	return (len != NULL && strcmp(len, "0") != 0) ||
		MHD_lookup_connection_value(connection, MHD_HEADER_KIND, "Transfer-Encoding") !=
		NULL;
}

static enum MHD_Result answer_send(struct MHD_Connection *connection, const struct http_answer *a)
{
	const char *text = strbuf_text(&a->text);
	struct MHD_Response *response = MHD_create_response_from_buffer(
		strlen(text), (void *)(uintptr_t)text, MHD_RESPMEM_MUST_COPY);
	enum MHD_Result rc;

	if (response == NULL) {
		return MHD_NO;
	}
	(void)MHD_add_response_header(response, "Content-Type", a->type);
	(void)MHD_add_response_header(response, "Connection", "close");
	(void)MHD_add_response_header(response, "Cache-Control", "no-store");
	if (a->status == MHD_HTTP_UNAUTHORIZED) {
		(void)MHD_add_response_header(response, "WWW-Authenticate", "Bearer");
	}
	rc = MHD_queue_response(connection, a->status, response);
	MHD_destroy_response(response);
	return rc;
}

static void answer_plain(struct http_answer *a, unsigned status, const char *text)
{
	a->status = status;
	strbuf_puts(&a->text, text);
}

static void request_answer(struct listener *l, struct MHD_Connection *connection,
	const struct http_request *req, struct http_answer *a)
{
	struct monitor *m = l->http->m;

	if (!authorized(l, connection)) {
		m->refused_auth++;
		answer_plain(a, MHD_HTTP_UNAUTHORIZED, "a bearer token is needed\n");
	} else if (has_body(connection)) {
		m->refused_request++;
		answer_plain(a, MHD_HTTP_CONTENT_TOO_LARGE, "no request has a body here\n");
	} else {
		m->answers++;
		routes_answer(m, req, a);
	}
}

static enum MHD_Result request_take(void *cls, struct MHD_Connection *connection, const char *url,
	const char *method, const char *version, const char *data, size_t *data_len, void **ctx)
{
	struct listener *l = cls;
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
	const struct conn *c = info == NULL ? NULL : info->socket_context;
	struct http_request req = {.method = method,
		.path = url,
		.local = l->local,
		.arg = request_arg,
		.ctx = connection};
	struct http_answer a = {.status = MHD_HTTP_OK, .type = "text/plain; charset=utf-8"};
	enum MHD_Result rc;

	(void)version;
	(void)data;
	(void)data_len;
	(void)ctx;
	if (c == NULL || c->refused) {
		return MHD_NO;
	}
	/* Answered at the first call, when the headers are there: what would follow them is never read. */
	strbuf_init(&a.text, MONITOR_TEXT_MAX);
	request_answer(l, connection, &req, &a);
	if (strbuf_error(&a.text) != 0) {
		strbuf_clear(&a.text);
		answer_plain(&a, MHD_HTTP_SERVICE_UNAVAILABLE, "no memory for the answer\n");
	}
	rc = answer_send(connection, &a);
	strbuf_fini(&a.text);
	return rc;
}

/* ---- the thread ---- */

static int timeout_of(const struct http *h, uint64_t until)
{
	uint64_t now = now_ns();
	uint64_t ms = until == UINT64_MAX ? UINT64_MAX
		: until <= now            ? 0
					  : (until - now) / NS_PER_MS + 1;

	for (unsigned i = 0; i < h->listeners; i++) {
		MHD_UNSIGNED_LONG_LONG wanted;

		if (MHD_get_timeout(h->listener[i].daemon, &wanted) == MHD_YES) {
			ms = u64_min(ms, wanted);
		}
	}
	return ms > INT32_MAX ? -1 : (int)ms;
}

static void *http_thread(void *arg)
{
	struct http *h = arg;
	struct pollfd fds[3] = {{.fd = h->stop_fd, .events = POLLIN}};

	for (unsigned i = 0; i < h->listeners; i++) {
		fds[i + 1].fd = MHD_get_daemon_info(h->listener[i].daemon, MHD_DAEMON_INFO_EPOLL_FD)
					->epoll_fd;
		fds[i + 1].events = POLLIN;
	}
	for (;;) {
		uint64_t until = UINT64_MAX;

		for (unsigned i = 0; i < h->listeners; i++) {
			uint64_t now = now_ns();

			until = u64_min(until, conns_expire(&h->listener[i], now));
			if (h->listener[i].count >= CONNS_SOFT) {
				until = u64_min(until, now + CROWD_NS);
			}
		}
		if (poll(fds, h->listeners + 1, timeout_of(h, until)) < 0 && errno != EINTR) {
			log_error("monitor", "poll: %s", strerror(errno));
			return NULL;
		}
		if ((fds[0].revents & POLLIN) != 0) {
			return NULL;
		}
		for (unsigned i = 0; i < h->listeners; i++) {
			(void)MHD_run(h->listener[i].daemon);
		}
	}
}

/* ---- start and stop ---- */

/* Takes the descriptor. */
static int listener_add(struct http *h, int fd, bool local)
{
	struct listener *l = &h->listener[h->listeners];

	l->http = h;
	l->local = local;
	list_init(&l->conns);
	l->daemon = MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, request_take, l,
		MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNS_HARD,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)(CONN_NS / NS_PER_S),
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONN_MEMORY,
		MHD_OPTION_NOTIFY_CONNECTION, conn_notify, l, MHD_OPTION_END);
	if (l->daemon == NULL) {
		close(fd);
		return -NE_NOMEM;
	}
	h->listeners++;
	return 0;
}

static int sockets_open(struct http *h, char *why, size_t cap)
{
	const struct monitor_config *c = h->m->o.config;
	int fd = -1;
	int rc = 0;

	if (c->socket[0] != '\0') {
		rc = listen_unix(c->socket, &fd, &h->socket_ino);
		h->have_socket = rc == 0;
		rc = rc == 0 ? listener_add(h, fd, true) : rc;
		if (rc != 0) {
			snprintf(why, cap, "the monitor cannot listen on %s: %s", c->socket,
				ne_text(rc));
		}
	}
	if (rc == 0 && c->listen[0] != '\0') {
		rc = listen_tcp(c->listen, &fd, h->addr, sizeof(h->addr));
		rc = rc == 0 ? listener_add(h, fd, false) : rc;
		if (rc != 0) {
			snprintf(why, cap, "the monitor cannot listen on %s: %s", c->listen,
				ne_text(rc));
		}
	}
	return rc;
}

static void http_free(struct http *h)
{
	for (unsigned i = 0; i < h->listeners; i++) {
		MHD_stop_daemon(h->listener[i].daemon);
		ASSERT(h->listener[i].count == 0);
	}
	if (h->have_socket) {
		listen_unix_remove(h->m->o.config->socket, h->socket_ino);
	}
	if (h->stop_fd >= 0) {
		close(h->stop_fd);
	}
	mem_free(h);
}

int http_start(struct monitor *m, char *ret_why, size_t cap, struct http **ret_http)
{
	struct http *h = mem_zalloc(sizeof(*h));
	int rc;

	if (h == NULL) {
		return -NE_NOMEM;
	}
	h->m = m;
	h->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	rc = h->stop_fd < 0 ? ne_from_errno(errno) : sockets_open(h, ret_why, cap);
	if (rc == 0 && pthread_create(&h->thread, NULL, http_thread, h) != 0) {
		rc = -NE_NOMEM;
	}
	if (rc != 0) {
		http_free(h);
		return rc;
	}
	(void)pthread_setname_np(h->thread, "nacre-monitor");
	*ret_http = h;
	return 0;
}

void http_stop(struct http *h)
{
	uint64_t one = 1;

	(void)!write(h->stop_fd, &one, sizeof(one));
	pthread_join(h->thread, NULL);
	http_free(h);
}

const char *http_addr(const struct http *h)
{
	return h->addr;
}
