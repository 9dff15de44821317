/*
 * Asking a monitor: one HTTP request over its Unix socket, read to the end.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "monitor/monitor_int.h"

#define ANSWER_MAX (MONITOR_TEXT_MAX + 65536)

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

/* Until the peer closes. */
static int answer_read(int fd, uint64_t until_ms, struct strbuf *answer)
{
	char buf[16384];

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		uint64_t now = now_ms();
		ssize_t n;

		if (now >= until_ms || poll(&p, 1, (int)(until_ms - now)) == 0) {
			return -NE_TIMEDOUT;
		}
		n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);
		if (n == 0) {
			return strbuf_error(answer);
		}
		if (n < 0 && errno != EAGAIN && errno != EINTR) {
			return ne_from_errno(errno);
		}
		strbuf_append(answer, buf, n > 0 ? (size_t)n : 0);
	}
}

/* "HTTP/1.1 200 OK" ... empty line, body. */
static int answer_split(const char *text, size_t len, int *ret_status, char **ret_text)
{
	const char *body = strstr(text, "\r\n\r\n");
	size_t head;
	char *copy;

	if (strncmp(text, "HTTP/1.", 7) != 0 || body == NULL) {
		return -NE_BADMSG;
	}
	head = (size_t)(body - text) + 4;
	copy = mem_alloc(len - head + 1);
	if (copy == NULL) {
		return -NE_NOMEM;
	}
	memcpy(copy, text + head, len - head);
	copy[len - head] = '\0';
	*ret_status = atoi(text + 9);
	*ret_text = copy;
	return 0;
}

int monitor_request(const char *path, const char *method, const char *url, unsigned timeout_ms,
	int *ret_status, char **ret_text)
{
	struct strbuf answer;
	char request[1024];
	int fd = -1;
	int n = snprintf(request, sizeof(request),
		"%s %s HTTP/1.1\r\nHost: nacre\r\nConnection: close\r\n\r\n", method, url);
	int rc = n > 0 && (size_t)n < sizeof(request) ? listen_unix_connect(path, &fd) : -NE_TOOBIG;

	if (rc != 0) {
		return rc;
	}
	strbuf_init(&answer, ANSWER_MAX);
	rc = send(fd, request, (size_t)n, MSG_NOSIGNAL) == n ? 0 : -NE_CONNLOST;
	if (rc == 0) {
		rc = answer_read(fd, now_ms() + timeout_ms, &answer);
	}
	close(fd);
	if (rc == 0) {
		rc = answer_split(strbuf_text(&answer), answer.len, ret_status, ret_text);
	}
	strbuf_fini(&answer);
	return rc;
}
