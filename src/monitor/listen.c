/*
 * The monitor's sockets. A Unix socket's path may be longer than sockaddr_un holds: the kernel is given
 * /proc/self/fd/N/NAME, with N the directory.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "monitor/monitor_int.h"

#define BACKLOG 64
/* How long connecting waits while the monitor's queue is full. */
#define CONNECT_WAIT_S 5

/* ---- Unix ---- */

/* Opens the directory of path; fills the address by which the kernel finds the socket there. */
static int unix_addr(const char *path, struct sockaddr_un *ret_addr)
{
	const char *slash = strrchr(path, '/');
	char dir[MONITOR_PATH_MAX];
	int fd;
	int n;

	ASSERT(slash != NULL);
	snprintf(dir, sizeof(dir), "%.*s", slash == path ? 1 : (int)(slash - path), path);
	fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		return ne_from_errno(errno);
	}
	memset(ret_addr, 0, sizeof(*ret_addr));
	ret_addr->sun_family = AF_UNIX;
	n = snprintf(ret_addr->sun_path, sizeof(ret_addr->sun_path), "/proc/self/fd/%d/%s", fd,
		slash + 1);
	if (n < 0 || (size_t)n >= sizeof(ret_addr->sun_path)) {
		close(fd);
		return -NE_NAMETOOLONG;
	}
	return fd;
}

/* What a daemon that was killed left behind; never anything but a socket. */
static void stale_remove(const char *path)
{
	struct stat st;

	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode)) {
		(void)unlink(path);
	}
}

int listen_unix(const char *path, int *ret_fd, uint64_t *ret_ino)
{
	struct sockaddr_un addr;
	struct stat st;
	int dir = unix_addr(path, &addr);
	mode_t mask;
	int fd;
	int rc = 0;

	if (dir < 0) {
		return dir;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	stale_remove(path);
	mask = umask(0177);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0 ||
		listen(fd, BACKLOG) != 0 || lstat(path, &st) != 0) {
		rc = ne_from_errno(errno);
	}
	(void)umask(mask);
	close(dir);
	if (rc != 0) {
		if (fd >= 0) {
			close(fd);
		}
		return rc;
	}
	*ret_fd = fd;
	*ret_ino = st.st_ino;
	return 0;
}

void listen_unix_remove(const char *path, uint64_t ino)
{
	struct stat st;

	if (lstat(path, &st) == 0 && S_ISSOCK(st.st_mode) && st.st_ino == ino) {
		(void)unlink(path);
	}
}

int listen_unix_connect(const char *path, int *ret_fd)
{
	const struct timeval wait = {.tv_sec = CONNECT_WAIT_S};
	struct sockaddr_un addr;
	int dir = unix_addr(path, &addr);
	int fd;
	int rc = 0;

	if (dir < 0) {
		return dir;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) != 0 ||
		connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0) {
		rc = ne_from_errno(errno);
	}
	close(dir);
	if (rc != 0) {
		if (fd >= 0) {
			close(fd);
		}
		return rc;
	}
	*ret_fd = fd;
	return 0;
}

/* ---- TCP ---- */

struct tcp_addr {
	struct sockaddr_storage sa;
	socklen_t len;
	bool loopback;
};

/* "tcp:192.0.2.1:80", "tcp:[::1]:80"; numeric only. */
static bool tcp_parse(const char *text, struct tcp_addr *ret)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)(void *)&ret->sa;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)(void *)&ret->sa;
	const char *colon = strrchr(text, ':');
	char host[INET6_ADDRSTRLEN + 2];
	unsigned long port;
	char *end;
	size_t len;

	memset(ret, 0, sizeof(*ret));
	if (strncmp(text, "tcp:", 4) != 0 || colon == NULL || colon < text + 5 || colon[1] < '0' ||
		colon[1] > '9') {
		return false;
	}
	port = strtoul(colon + 1, &end, 10);
	len = (size_t)(colon - text) - 4;
	if (*end != '\0' || port > 65535 || len >= sizeof(host)) {
		return false;
	}
	memcpy(host, text + 4, len);
	host[len] = '\0';
	if (host[0] == '[' && host[len - 1] == ']') {
		host[len - 1] = '\0';
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		ret->len = sizeof(*v6);
		ret->loopback = inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1 &&
			IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr);
		return inet_pton(AF_INET6, host + 1, &v6->sin6_addr) == 1;
	}
	v4->sin_family = AF_INET;
	v4->sin_port = htons((uint16_t)port);
	ret->len = sizeof(*v4);
	if (inet_pton(AF_INET, host, &v4->sin_addr) != 1) {
		return false;
	}
	ret->loopback = ntohl(v4->sin_addr.s_addr) >> 24 == 127;
	return true;
}

const char *monitor_listen_check(const char *addr, bool open)
{
	struct tcp_addr a;

	if (!tcp_parse(addr, &a)) {
		return "is no address: write tcp:ADDRESS:PORT or tcp:[IPV6]:PORT with a numeric "
		       "address";
	}
	if (!a.loopback && !open) {
		return "is not a loopback address: everybody could reach it; if that is meant, add "
		       "open: true";
	}
	return NULL;
}

static int tcp_addr_format(int fd, char *buf, size_t cap)
{
	struct tcp_addr a = {.len = sizeof(a.sa)};
	char host[INET6_ADDRSTRLEN];
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)&a.sa;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)(const void *)&a.sa;

	if (getsockname(fd, (struct sockaddr *)&a.sa, &a.len) != 0) {
		return ne_from_errno(errno);
	}
	if (a.sa.ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof(host));
		snprintf(buf, cap, "tcp:[%s]:%u", host, ntohs(v6->sin6_port));
	} else {
		inet_ntop(AF_INET, &v4->sin_addr, host, sizeof(host));
		snprintf(buf, cap, "tcp:%s:%u", host, ntohs(v4->sin_port));
	}
	return 0;
}

int listen_tcp(const char *addr, int *ret_fd, char *ret_addr, size_t cap)
{
	struct tcp_addr a;
	int one = 1;
	int fd;
	int rc = 0;

	if (!tcp_parse(addr, &a)) {
		return -NE_INVAL;
	}
	fd = socket(a.sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) != 0 ||
		bind(fd, (struct sockaddr *)&a.sa, a.len) != 0 || listen(fd, BACKLOG) != 0) {
		rc = ne_from_errno(errno);
	}
	rc = rc == 0 ? tcp_addr_format(fd, ret_addr, cap) : rc;
	if (rc != 0) {
		if (fd >= 0) {
			close(fd);
		}
		return rc;
	}
	*ret_fd = fd;
	return 0;
}
