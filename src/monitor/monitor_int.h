/*
 * What the files of the monitor share.
 */
#ifndef NACRE_MONITOR_MONITOR_INT_H
#define NACRE_MONITOR_MONITOR_INT_H

#include <pthread.h>

#include "base/metric.h"
#include "base/strbuf.h"
#include "env/posix/posix.h"
#include "env/trace.h"
#include "monitor/monitor.h"

/* The reactor's time for an answer, ns. */
#define MONITOR_ANSWER_NS (3 * NS_PER_S)
#define MONITOR_TOKEN_MIN 16
#define MONITOR_TOKEN_MAX 4096
/* Longest text answered, bytes. */
#define MONITOR_TEXT_MAX (64 * MIB)

enum question_kind {
	QUESTION_METRICS,
	QUESTION_TRACES,
	QUESTION_SAMPLE,
};

/* From the thread to the reactor and back; both hold it. */
struct question {
	struct posix_post post;
	struct monitor *m;
	enum question_kind kind;
	unsigned refs; /* m->lock */
	bool done; /* m->lock */
	int rc;
	uint32_t sample; /* SAMPLE: in the new, out the old value */
	struct metric_batch *batch; /* METRICS */
	struct trace_record *records; /* TRACES */
	size_t record_count;
	uint64_t now_ns; /* TRACES: env_clock */
	int64_t realtime_ns; /* and the same moment since 1970 */
};

struct http;

struct monitor {
	struct monitor_options o;
	struct trace_store *traces;
	struct http *http;
	int64_t started_ns; /* since 1970 */
	char token[MONITOR_TOKEN_MAX + 1];
	pthread_mutex_t lock;
	pthread_cond_t answered;
	bool stopping; /* lock */
	unsigned asked; /* questions the reactor has not finished; lock */
	struct env_waitq quiet; /* reactor: asked became 0 */
	/* The thread's. */
	uint64_t answers;
	uint64_t refused_auth;
	uint64_t refused_peer;
	uint64_t refused_slow;
	uint64_t refused_crowd;
	uint64_t refused_request;
};

/* ---- monitor.c; from the thread ---- */

/* Asks and waits; 0 and a question that was answered, for question_free. -NE_TIMEDOUT, -NE_SHUTDOWN, -NE_NOMEM. */
_check_ int question_ask(struct monitor *m, enum question_kind kind, uint32_t sample,
	struct question **ret_question);
void question_free(struct question *q);

/* ---- http.c ---- */

struct http_request {
	const char *method;
	const char *path;
	bool local; /* over the Unix socket */
	/* The value of an argument of the URL, NULL: not there. */
	const char *(*arg)(void *ctx, const char *name);
	void *ctx;
};

struct http_answer {
	unsigned status;
	const char *type; /* of the content */
	struct strbuf text;
};

_check_ int http_start(struct monitor *m, char *ret_why, size_t cap, struct http **ret_http);
void http_stop(struct http *http);
const char *http_addr(const struct http *http);

/* ---- routes.c ---- */

void routes_answer(struct monitor *m, const struct http_request *req, struct http_answer *answer);

/* ---- process.c ---- */

void process_metrics(struct monitor *m, struct metric_batch *batch);

/* ---- listen.c ---- */

/* Listening, non-blocking descriptors. */
_check_ int listen_unix(const char *path, int *ret_fd, uint64_t *ret_ino);
_check_ int listen_tcp(const char *addr, int *ret_fd, char *ret_addr, size_t cap);
/* Removes the socket if it is still ours. */
void listen_unix_remove(const char *path, uint64_t ino);
/* Connects to it. */
_check_ int listen_unix_connect(const char *path, int *ret_fd);

#endif
