/*
 * Connecting: parse, resolve (names on a helper thread), try each address until the deadline.
 */
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "env/posix/addr.h"
#include "env/posix/posix_int.h"
#include "env/posix/sys.h"

/* A Unix listener's backlog is full: pause between attempts (ns). */
#define CONNECT_PAUSE_NS NS_PER_MS

struct connect_lookup {
	struct addr_text text;
	struct addr addrs[ADDR_RESULTS_MAX];
	unsigned count;
	int rc;
};

static void connect_lookup_job(void *arg)
{
	struct connect_lookup *l = arg;

	l->rc = addr_resolve(&l->text, false, l->addrs, &l->count);
}

static int connect_code(int sys_errno)
{
	switch (sys_errno) {
	case ENOENT: /* no socket file: nobody listens */
	case ECONNRESET:
		return -NE_CONNREFUSED;
	default:
		return ne_from_errno(sys_errno);
	}
}

/* A connection is under way: waits for its outcome. */
static int connect_finish(struct env *env, int fd, uint64_t deadline_ns)
{
	int error = 0;
	int rc = posix_fd_wait(env, fd, POSIX_OUT, deadline_ns, ENV_WAIT_PLAIN);

	if (rc < 0) {
		return rc;
	}
	rc = sys_getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, sizeof(error));
	if (rc < 0) {
		return ne_from_errno(-rc);
	}
	return error != 0 ? connect_code(error) : 0;
}

static int connect_one(
	struct env *env, const struct addr *addr, uint64_t deadline_ns, struct env_conn **ret_conn)
{
	bool local = addr->sa.ss_family == AF_UNIX;
	int fd = sys_socket(addr->sa.ss_family, SOCK_STREAM);
	int rc;

	if (fd < 0) {
		return ne_from_errno(-fd);
	}
	for (;;) {
		rc = sys_connect(fd, (const struct sockaddr *)&addr->sa, addr->len);
		if (rc != -EAGAIN || !local) {
			break;
		}
		if (env->sched.now_ns >= deadline_ns) {
			rc = -ETIMEDOUT;
			break;
		}
		env_sleep(env, CONNECT_PAUSE_NS);
	}
	if (rc == -EINPROGRESS || rc == -EINTR) {
		rc = connect_finish(env, fd, deadline_ns);
	} else if (rc < 0) {
		rc = connect_code(-rc);
	}
	if (rc < 0) {
		sys_close(fd);
		return rc;
	}
	return posix_conn_new(env, fd, local, ret_conn);
}

static int connect_local(
	struct env *env, const char *path, uint64_t deadline_ns, struct env_conn **ret_conn)
{
	struct addr addr;
	int dir_fd;
	int rc = addr_local(path, &addr, &dir_fd);

	if (rc < 0) {
		return rc == -NE_NOENT ? -NE_CONNREFUSED : rc;
	}
	rc = connect_one(env, &addr, deadline_ns, ret_conn);
	if (dir_fd >= 0) {
		sys_close(dir_fd);
	}
	return rc;
}

/* `l` lies on the caller's stack, where a helper thread may fill it while the fiber waits. */
static int connect_tcp(
	struct env *env, struct connect_lookup *l, uint64_t deadline_ns, struct env_conn **ret_conn)
{
	int rc;

	l->rc = addr_resolve(&l->text, true, l->addrs, &l->count);
	if (l->rc < 0) {
		env_job(env, ENV_JOB_LOOKUP, connect_lookup_job, l);
	}
	rc = l->rc;
	for (unsigned i = 0; l->rc == 0 && i < l->count; i++) {
		rc = connect_one(env, &l->addrs[i], deadline_ns, ret_conn);
		if (rc == 0 || rc == -NE_TIMEDOUT) {
			break;
		}
	}
	return rc;
}

int posix_connect(
	struct env *env, const char *addr, uint64_t deadline_ns, struct env_conn **ret_conn)
{
	struct connect_lookup l = {.rc = 0};
	int rc = addr_parse(addr, &l.text);

	if (rc < 0) {
		return rc;
	}
	if (l.text.local) {
		return connect_local(env, l.text.path, deadline_ns, ret_conn);
	}
	return connect_tcp(env, &l, deadline_ns, ret_conn);
}
