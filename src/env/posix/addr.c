/*
 * Parsing and printing of address texts. Nothing here yields; addr_resolve may block and is called on a
 * helper thread when the host is a name.
 */
#include "env/posix/addr.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "base/alloc.h"
#include "base/error.h"
#include "env/posix/sys.h"

static int addr_copy(char *to, size_t cap, const char *from, size_t len)
{
	if (len == 0 || len >= cap) {
		return -NE_INVAL;
	}
	memcpy(to, from, len);
	to[len] = '\0';
	return 0;
}

static int addr_parse_port(const char *text, struct addr_text *t)
{
	size_t len = strlen(text);
	unsigned value = 0;

	if (len == 0 || len > 5 || strspn(text, "0123456789") != len) {
		return -NE_INVAL;
	}
	for (size_t i = 0; i < len; i++) {
		value = value * 10 + (unsigned)(text[i] - '0');
	}
	return value > 65535 ? -NE_INVAL : addr_copy(t->port, sizeof(t->port), text, len);
}

static int addr_parse_tcp(const char *rest, struct addr_text *t)
{
	const char *colon = strrchr(rest, ':');
	const char *host = rest;
	const char *end = colon;

	if (colon == NULL) {
		return -NE_INVAL;
	}
	if (rest[0] == '[') {
		host = rest + 1;
		end = colon - 1;
		if (end <= host || *end != ']') {
			return -NE_INVAL;
		}
	} else if (memchr(rest, ':', (size_t)(colon - rest)) != NULL) {
		return -NE_INVAL; /* IPv6 goes in brackets: where its port begins would be a guess */
	}
	if (addr_copy(t->host, sizeof(t->host), host, (size_t)(end - host)) < 0) {
		return -NE_INVAL;
	}
	return addr_parse_port(colon + 1, t);
}

int addr_parse(const char *text, struct addr_text *ret_text)
{
	struct addr_text t = {.local = false};
	int rc = -NE_INVAL;

	if (strncmp(text, "unix:", 5) == 0 && text[5] == '/') {
		t.local = true;
		t.path = text + 5;
		rc = 0;
	} else if (strncmp(text, "tcp:", 4) == 0) {
		rc = addr_parse_tcp(text + 4, &t);
	}
	if (rc == 0) {
		*ret_text = t;
	}
	return rc;
}

/* The directory a long socket path lies in, opened; the socket's name in it is written to sun_path. */
static int addr_local_long(const char *path, struct sockaddr_un *un)
{
	const char *slash = strrchr(path, '/');
	_cleanup_(free_ptr) char *dir = mem_zalloc((size_t)(slash - path) + 2);
	int fd;
	int n;

	if (dir == NULL) {
		return -NE_NOMEM;
	}
	memcpy(dir, path, (size_t)(slash - path) + 1);
	fd = sys_open(dir, O_PATH | O_DIRECTORY, 0);
	if (fd < 0) {
		return ne_from_errno(-fd);
	}
	n = snprintf(un->sun_path, sizeof(un->sun_path), "/proc/self/fd/%d/%s", fd, slash + 1);
	if (n < 0 || (size_t)n >= sizeof(un->sun_path)) {
		sys_close(fd);
		return -NE_NAMETOOLONG;
	}
	return fd;
}

int addr_local(const char *path, struct addr *ret_addr, int *ret_dir_fd)
{
	struct addr a = {.len = sizeof(struct sockaddr_un)};
	struct sockaddr_un *un = (struct sockaddr_un *)(void *)&a.sa;
	int fd = -1;

	ASSERT(path[0] == '/');
	un->sun_family = AF_UNIX;
	if (strlen(path) < sizeof(un->sun_path)) {
		memcpy(un->sun_path, path, strlen(path) + 1);
	} else {
		fd = addr_local_long(path, un);
		if (fd < 0) {
			return fd;
		}
	}
	*ret_addr = a;
	*ret_dir_fd = fd;
	return 0;
}

int addr_resolve(
	const struct addr_text *text, bool numeric, struct addr *ret_addrs, unsigned *ret_count)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV | (numeric ? AI_NUMERICHOST : AI_ADDRCONFIG)};
	struct addrinfo *list = NULL;
	unsigned count = 0;
	int rc;

	ASSERT(!text->local);
	rc = getaddrinfo(text->host, text->port, &hints, &list);
	if (rc != 0) {
		return rc == EAI_MEMORY ? -NE_NOMEM : -NE_HOSTUNREACH;
	}
	for (struct addrinfo *ai = list; ai != NULL && count < ADDR_RESULTS_MAX; ai = ai->ai_next) {
		if (ai->ai_family != AF_INET && ai->ai_family != AF_INET6) {
			continue;
		}
		ret_addrs[count].len = ai->ai_addrlen;
		memcpy(&ret_addrs[count].sa, ai->ai_addr, ai->ai_addrlen);
		count++;
	}
	freeaddrinfo(list);
	if (count == 0) {
		return -NE_HOSTUNREACH;
	}
	*ret_count = count;
	return 0;
}

void addr_format(const struct addr *addr, char *buf, size_t cap)
{
	char host[INET6_ADDRSTRLEN] = "?";
	const struct sockaddr_in *in4 = (const struct sockaddr_in *)(const void *)&addr->sa;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)&addr->sa;

	ASSERT(cap > 0);
	switch (addr->sa.ss_family) {
	case AF_INET:
		(void)inet_ntop(AF_INET, &in4->sin_addr, host, sizeof(host));
		(void)snprintf(buf, cap, "tcp:%s:%u", host, ntohs(in4->sin_port));
		break;
	case AF_INET6:
		(void)inet_ntop(AF_INET6, &in6->sin6_addr, host, sizeof(host));
		(void)snprintf(buf, cap, "tcp:[%s]:%u", host, ntohs(in6->sin6_port));
		break;
	default:
		(void)snprintf(buf, cap, "unix:");
		break;
	}
}
