/*
 * Address texts ("unix:/path", "tcp:192.0.2.1:7988", "tcp:[::1]:7988", "tcp:host:7988") and sockaddrs.
 */
#ifndef NACRE_ENV_POSIX_ADDR_H
#define NACRE_ENV_POSIX_ADDR_H

#include <sys/socket.h>

#include "base/base.h"

#define ADDR_HOST_MAX 256
#define ADDR_PORT_MAX 8
#define ADDR_RESULTS_MAX 8

struct addr {
	struct sockaddr_storage sa;
	socklen_t len;
};

/* What a text says, before any name is resolved. */
struct addr_text {
	bool local;
	const char *path; /* local: points into the text */
	char host[ADDR_HOST_MAX];
	char port[ADDR_PORT_MAX];
};

_check_ int addr_parse(const char *text, struct addr_text *ret_text);
/* A Unix socket's address. Paths longer than sun_path go through /proc/self/fd of the directory, which
 * is opened: *ret_dir_fd (-1 if none) is closed by the caller after bind or connect. */
_check_ int addr_local(const char *path, struct addr *ret_addr, int *ret_dir_fd);
/* Resolves host and port. numeric: without asking anybody. Blocks otherwise. -NE_HOSTUNREACH. */
_check_ int addr_resolve(
	const struct addr_text *text, bool numeric, struct addr *ret_addrs, unsigned *ret_count);
/* "tcp:192.0.2.1:7988" or "tcp:[::1]:7988" or "unix:". */
void addr_format(const struct addr *addr, char *buf, size_t cap);

#endif
