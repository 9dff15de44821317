/*
 * Connections and listeners.
 *
 * Sockets are non-blocking and edge-triggered. A receiver first tries recv, unless the last one came back
 * short and no edge was seen since (`readable` is false): then the buffer is known to be empty and the
 * call is saved. Senders try sendmsg and ask for output readiness only when the buffer is full.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/limits.h"
#include "base/log.h"
#include "env/posix/addr.h"
#include "env/posix/posix_int.h"
#include "env/posix/sys.h"

/* Unix sockets queue in the sender's buffer: room for one bulk transfer (bytes). */
#define CONN_LOCAL_BUFFER (4 << 20)
#define CONN_BACKLOG 1024
/* iovecs given to one sendmsg; the copy lives on the fiber's stack. */
#define CONN_IOV_MAX 64
/* Pause after accept found no descriptor or memory left (ns), doubled up to the second figure. */
#define ACCEPT_PAUSE_MIN_NS (10 * NS_PER_MS)
#define ACCEPT_PAUSE_MAX_NS (NS_PER_S)

struct posix_conn {
	struct env_conn base;
	struct posix_watch watch;
	bool broken;
	bool readable; /* recv may find something */
	bool receiving;
	bool sending;
	bool stale; /* an edge is pending for bytes that conn_poll took already */
	void *want; /* where the waiting receiver wants bytes; NULL: nobody waits */
	size_t want_len;
	size_t taken; /* bytes conn_poll put there */
	struct env_peer peer;
};

struct posix_listener {
	struct env_listener base;
	struct posix_watch watch;
	bool local;
	bool closing;
	unsigned accepting; /* fibers inside accept; the last one frees after close */
	uint64_t pause_ns;
};

static struct posix_conn *conn_of(struct env_conn *c)
{
	return container_of(c, struct posix_conn, base);
}

/* ---- connections ---- */

/* Receives once. Bytes, 0 if there is nothing now or the stream is broken. */
static size_t conn_take(struct posix_conn *c, void *buf, size_t len)
{
	struct reactor *r = reactor_of(c->base.env);
	ssize_t n;

	stat_add(&r->stats.sys_recv, 1);
	n = sys_recv(c->watch.fd, buf, len);
	/* Short: the buffer is empty, and what comes next makes an edge. Not so the end of the stream, if its edge
	 * came with that of the bytes. */
	c->readable = n > 0 && ((size_t)n == len || c->watch.ended);
	if (n > 0) {
		return (size_t)n;
	}
	/* Anything but "nothing now" is the end of the stream, or a break. */
	c->broken |= n != -EAGAIN;
	return 0;
}

/* Polls the socket itself for a waiting receiver. The edge of what it takes is still in the epoll set. */
static bool conn_poll(struct posix_watch *w)
{
	struct posix_conn *c = container_of(w, struct posix_conn, watch);

	if (c->want == NULL || c->broken) {
		return false;
	}
	c->taken = conn_take(c, c->want, c->want_len);
	if (c->taken == 0 && !c->broken) {
		return false;
	}
	c->want = NULL;
	c->stale = true;
	fiber_wake_all(&w->in);
	return true;
}

static bool conn_event(struct posix_watch *w, unsigned events)
{
	struct posix_conn *c = container_of(w, struct posix_conn, watch);

	if (events != POSIX_IN || !c->stale) {
		c->readable |= (events & POSIX_IN) != 0;
		return true;
	}
	/* Probably the edge of bytes taken before; but a new one may have joined it. */
	c->stale = false;
	if (c->want == NULL) {
		c->readable = true;
		return false;
	}
	(void)conn_poll(w);
	return c->taken > 0 || c->broken;
}

static void conn_tune(int fd, bool local)
{
	/* Each may fail without harm: the socket works, slower. */
	if (local) {
		(void)sys_setsockopt(fd, SOL_SOCKET, SO_SNDBUF, CONN_LOCAL_BUFFER);
		(void)sys_setsockopt(fd, SOL_SOCKET, SO_RCVBUF, CONN_LOCAL_BUFFER);
	} else {
		(void)sys_setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, 1);
		(void)sys_setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
	}
}

static void conn_identify(struct posix_conn *c, int fd, bool local)
{
	struct addr addr = {.len = sizeof(addr.sa)};
	struct ucred cred;

	c->peer.local = local;
	if (!local) {
		if (sys_getpeername(fd, &addr.sa, &addr.len) == 0) {
			addr_format(&addr, c->peer.addr, sizeof(c->peer.addr));
		}
		return;
	}
	if (sys_getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, sizeof(cred)) < 0) {
		c->peer.uid = UINT32_MAX;
		c->peer.gid = UINT32_MAX;
		return;
	}
	c->peer.uid = cred.uid;
	c->peer.gid = cred.gid;
	c->peer.pid = cred.pid;
	(void)snprintf(
		c->peer.addr, sizeof(c->peer.addr), "unix:pid=%d,uid=%u", cred.pid, cred.uid);
}

int posix_conn_new(struct env *env, int fd, bool local, struct env_conn **ret_conn)
{
	struct posix_conn *c = mem_zalloc(sizeof(*c));
	int rc = -NE_NOMEM;

	if (c != NULL) {
		conn_tune(fd, local);
		conn_identify(c, fd, local);
		c->base.env = env;
		c->readable = true;
		c->watch.on_event = conn_event;
		c->watch.poll = conn_poll;
		rc = posix_watch_add(env, &c->watch, fd, POSIX_IN);
	}
	if (rc < 0) {
		mem_free(c);
		sys_close(fd);
		return rc;
	}
	*ret_conn = &c->base;
	return 0;
}

/* Waits until recv may find something, or bytes were put to `buf` (*ret_taken). */
static int recv_wait(
	struct posix_conn *c, void *buf, size_t len, uint64_t deadline_ns, size_t *ret_taken)
{
	struct env *env = c->base.env;
	int rc = 0;

	c->taken = 0;
	c->want = buf;
	c->want_len = len;
	posix_watch_hot(env, &c->watch);
	while (rc == 0 && c->taken == 0 && !c->readable && !c->broken) {
		rc = posix_watch_wait(env, &c->watch, POSIX_IN, deadline_ns, ENV_WAIT_PLAIN);
	}
	c->want = NULL;
	*ret_taken = c->taken;
	if (c->taken > 0 || c->readable) {
		return 0;
	}
	return c->broken ? -NE_CONNLOST : rc;
}

int posix_recv(struct env_conn *base, void *buf, size_t min, size_t max, uint64_t deadline_ns,
	size_t *ret_len)
{
	struct posix_conn *c = conn_of(base);
	size_t got = 0;
	int rc = 0;

	ASSERT(!c->receiving);
	c->receiving = true;
	while (got < min && rc == 0) {
		size_t n = 0;

		if (c->broken) {
			rc = -NE_CONNLOST;
		} else if (c->readable) {
			n = conn_take(c, (char *)buf + got, max - got);
		} else {
			rc = recv_wait(c, (char *)buf + got, max - got, deadline_ns, &n);
		}
		got += n;
	}
	c->receiving = false;
	*ret_len = got;
	return rc;
}

/* Waits until the socket may take more. */
static int send_wait(struct posix_conn *c)
{
	struct env *env = c->base.env;
	int rc = posix_watch_modify(env, &c->watch, POSIX_IN | POSIX_OUT);

	if (rc == 0) {
		rc = posix_watch_wait(env, &c->watch, POSIX_OUT, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
	if (rc == 0 && !c->broken) {
		rc = posix_watch_modify(env, &c->watch, POSIX_IN);
	}
	return c->broken ? -NE_CONNLOST : rc;
}

/* Drops `n` sent bytes from the front: *iov is advanced, *skip bytes of its first entry are done. */
static void iov_advance(const struct iovec **iov, unsigned *count, size_t *skip, size_t n)
{
	n += *skip;
	while (*count > 0 && n >= (*iov)->iov_len) {
		n -= (*iov)->iov_len;
		(*iov)++;
		(*count)--;
	}
	ASSERT(*count > 0 || n == 0);
	*skip = n;
}

static ssize_t send_some(struct posix_conn *c, const struct iovec *iov, unsigned count, size_t skip)
{
	struct reactor *r = reactor_of(c->base.env);
	struct iovec part[CONN_IOV_MAX];

	stat_add(&r->stats.sys_send, 1);
	count = count < CONN_IOV_MAX ? count : CONN_IOV_MAX;
	if (skip == 0) {
		return sys_sendmsg(c->watch.fd, iov, count);
	}
	memcpy(part, iov, count * sizeof(*iov));
	part[0].iov_base = (char *)part[0].iov_base + skip;
	part[0].iov_len -= skip;
	return sys_sendmsg(c->watch.fd, part, count);
}

int posix_send(struct env_conn *base, const struct iovec *iov, unsigned iov_count)
{
	struct posix_conn *c = conn_of(base);
	size_t skip = 0;
	int rc = 0;

	ASSERT(!c->sending);
	c->sending = true;
	iov_advance(&iov, &iov_count, &skip, 0);
	while (iov_count > 0 && rc == 0) {
		ssize_t n;

		if (c->broken) {
			rc = -NE_CONNLOST;
			break;
		}
		n = send_some(c, iov, iov_count, skip);
		if (n >= 0) {
			iov_advance(&iov, &iov_count, &skip, (size_t)n);
		} else if (n == -EAGAIN) {
			rc = send_wait(c);
		} else if (n == -ENOBUFS || n == -ENOMEM) {
			env_sleep(base->env, NS_PER_MS);
		} else {
			rc = -NE_CONNLOST;
		}
	}
	if (rc < 0) {
		posix_conn_shutdown(base);
		rc = -NE_CONNLOST;
	}
	c->sending = false;
	return rc;
}

const struct env_peer *posix_conn_peer(const struct env_conn *c)
{
	return &container_of(c, const struct posix_conn, base)->peer;
}

void posix_conn_shutdown(struct env_conn *base)
{
	struct posix_conn *c = conn_of(base);

	c->broken = true;
	(void)sys_shutdown(c->watch.fd); /* ENOTCONN: the peer was faster */
	fiber_wake_all(&c->watch.in);
	fiber_wake_all(&c->watch.out);
}

void posix_conn_close(struct env_conn *base)
{
	struct posix_conn *c = conn_of(base);
	int fd = c->watch.fd;

	ASSERT(!c->receiving && !c->sending);
	posix_watch_del(base->env, &c->watch);
	sys_close(fd);
	mem_free(c);
}

/* ---- listeners ---- */

/* A socket file that nobody listens on is left over from a killed process: it may be replaced. */
static bool local_is_stale(const struct addr *addr)
{
	int fd = sys_socket(AF_UNIX, SOCK_STREAM);
	int rc;

	if (fd < 0) {
		return false;
	}
	rc = sys_connect(fd, (const struct sockaddr *)&addr->sa, addr->len);
	sys_close(fd);
	return rc == -ECONNREFUSED;
}

static int listen_bind_local(int fd, const char *path)
{
	struct addr addr;
	int dir_fd;
	int rc = addr_local(path, &addr, &dir_fd);

	if (rc < 0) {
		return rc;
	}
	rc = sys_bind(fd, (const struct sockaddr *)&addr.sa, addr.len);
	if (rc == -EADDRINUSE && local_is_stale(&addr) && sys_unlink(path) == 0) {
		rc = sys_bind(fd, (const struct sockaddr *)&addr.sa, addr.len);
	}
	if (dir_fd >= 0) {
		sys_close(dir_fd);
	}
	return rc == -EADDRINUSE ? -NE_BUSY : rc < 0 ? ne_from_errno(-rc) : 0;
}

static int listen_bind_tcp(int fd, const struct addr *addr)
{
	int rc;

	(void)sys_setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, 1);
	if (addr->sa.ss_family == AF_INET6) {
		(void)sys_setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
	}
	rc = sys_bind(fd, (const struct sockaddr *)&addr->sa, addr->len);
	return rc == -EADDRINUSE ? -NE_BUSY : rc < 0 ? ne_from_errno(-rc) : 0;
}

static int listen_open(const struct addr_text *text, int *ret_fd)
{
	struct addr addrs[ADDR_RESULTS_MAX];
	unsigned count = 0;
	int family = AF_UNIX;
	int rc = 0;
	int fd;

	if (!text->local) {
		rc = addr_resolve(text, true, addrs, &count);
		if (rc < 0) {
			rc = addr_resolve(text, false, addrs, &count);
		}
		if (rc < 0) {
			return rc;
		}
		family = addrs[0].sa.ss_family;
	}
	fd = sys_socket(family, SOCK_STREAM);
	if (fd < 0) {
		return ne_from_errno(-fd);
	}
	rc = text->local ? listen_bind_local(fd, text->path) : listen_bind_tcp(fd, &addrs[0]);
	if (rc == 0) {
		rc = sys_listen(fd, CONN_BACKLOG);
		rc = rc == -EADDRINUSE ? -NE_BUSY : rc < 0 ? ne_from_errno(-rc) : 0;
	}
	if (rc < 0) {
		sys_close(fd);
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

static int listen_name(int fd, const char *text, bool local, char *buf, size_t cap)
{
	struct addr addr = {.len = sizeof(addr.sa)};
	char name[128];
	int rc = 0;

	if (!local) {
		rc = sys_getsockname(fd, &addr.sa, &addr.len);
		if (rc < 0) {
			return ne_from_errno(-rc);
		}
		addr_format(&addr, name, sizeof(name));
		text = name;
	}
	if (strlen(text) >= cap) {
		return -NE_RANGE;
	}
	memcpy(buf, text, strlen(text) + 1);
	return 0;
}

int posix_listen(struct env *env, const char *addr, char *ret_addr, size_t cap,
	struct env_listener **ret_listener)
{
	struct addr_text text;
	struct posix_listener *l;
	int fd = -1;
	int rc = addr_parse(addr, &text);

	if (rc < 0) {
		return rc;
	}
	rc = listen_open(&text, &fd);
	if (rc < 0) {
		return rc;
	}
	rc = -NE_NOMEM;
	l = mem_zalloc(sizeof(*l));
	if (l != NULL) {
		l->base.env = env;
		l->local = text.local;
		rc = listen_name(fd, addr, text.local, ret_addr, cap);
	}
	if (rc == 0) {
		rc = posix_watch_add(env, &l->watch, fd, POSIX_IN);
	}
	if (rc < 0) {
		mem_free(l);
		sys_close(fd);
		return rc;
	}
	*ret_listener = &l->base;
	return 0;
}

/* Out of descriptors or memory: connections stay in the backlog until there are some again. */
static int accept_pause(struct posix_listener *l, int sys_errno)
{
	if (l->pause_ns == 0) {
		log_warn("env", "cannot accept connections for now: %s",
			ne_text(ne_from_errno(sys_errno)));
	}
	l->pause_ns = u64_min(u64_max(l->pause_ns * 2, ACCEPT_PAUSE_MIN_NS), ACCEPT_PAUSE_MAX_NS);
	/* On the listener's queue, so that closing it ends the pause. */
	return posix_watch_wait(l->base.env, &l->watch, POSIX_OUT,
		l->base.env->sched.now_ns + l->pause_ns, ENV_WAIT_PLAIN);
}

static int accept_retry(struct posix_listener *l, int rc)
{
	switch (rc) {
	case -EAGAIN:
		return posix_watch_wait(
			l->base.env, &l->watch, POSIX_IN, ENV_FOREVER, ENV_WAIT_PLAIN);
	case -EMFILE:
	case -ENFILE:
	case -ENOBUFS:
	case -ENOMEM:
		rc = accept_pause(l, -rc);
		return rc == -NE_TIMEDOUT ? 0 : rc;
	default:
		return 0; /* that connection broke before it was accepted */
	}
}

static void listener_free(struct posix_listener *l)
{
	ASSERT(l->closing && l->accepting == 0);
	mem_free(l);
}

int posix_accept(struct env_listener *base, struct env_conn **ret_conn)
{
	struct posix_listener *l = container_of(base, struct posix_listener, base);
	int rc = 0;

	ASSERT(!l->closing);
	l->accepting++;
	while (!l->closing) {
		struct sockaddr_storage sa;
		socklen_t len = sizeof(sa);
		int fd = sys_accept(l->watch.fd, &sa, &len);

		if (fd < 0) {
			rc = accept_retry(l, fd);
			continue;
		}
		l->pause_ns = 0;
		rc = posix_conn_new(base->env, fd, l->local, ret_conn);
		break;
	}
	l->accepting--;
	if (!l->closing) {
		return rc;
	}
	if (l->accepting == 0) {
		listener_free(l);
	}
	return -NE_SHUTDOWN;
}

void posix_listener_close(struct env_listener *base)
{
	struct posix_listener *l = container_of(base, struct posix_listener, base);
	int fd = l->watch.fd;

	ASSERT(!l->closing);
	l->closing = true;
	posix_watch_del(base->env, &l->watch); /* accepters wake with -NE_SHUTDOWN */
	sys_close(fd);
	if (l->accepting == 0) {
		listener_free(l);
	}
}
