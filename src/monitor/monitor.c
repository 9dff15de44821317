/*
 * Start, stop, and questions to the reactor.
 */
#include "monitor/monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/log.h"
#include "monitor/monitor_int.h"

/* Spans longer than this are kept always; one of so many is kept whatever it took. */
#define TRACE_SLOW_NS (2 * NS_PER_MS)
#define TRACE_SAMPLE_EVERY 256
#define RECORDS_MAX (TRACE_SAMPLED_MAX + TRACE_SLOW_MAX + TRACE_WORST_MAX)

/* ---- questions: the reactor's side ---- */

static void question_unref(struct question *q)
{
	struct monitor *m = q->m;
	bool last;

	pthread_mutex_lock(&m->lock);
	last = --q->refs == 0;
	pthread_mutex_unlock(&m->lock);
	if (last) {
		metric_batch_free(q->batch);
		mem_free(q->records);
		mem_free(q);
	}
}

static int traces_copy(struct question *q)
{
	q->records = mem_zalloc_array(RECORDS_MAX, sizeof(*q->records));
	if (q->records == NULL) {
		return -NE_NOMEM;
	}
	q->record_count = trace_store_read(q->m->traces, q->records, RECORDS_MAX);
	q->now_ns = env_clock(q->m->o.env);
	q->realtime_ns = env_realtime(q->m->o.env);
	return 0;
}

static int question_answer(struct question *q)
{
	int rc = 0;

	switch (q->kind) {
	case QUESTION_METRICS:
		rc = metric_batch_new(&q->batch);
		if (rc == 0) {
			q->m->o.collect(q->m->o.ctx, q->batch);
		}
		break;
	case QUESTION_TRACES:
		rc = traces_copy(q);
		break;
	case QUESTION_SAMPLE:
		q->sample = trace_sample_set(q->m->o.env, q->sample);
		break;
	}
	return rc;
}

static void question_end(struct question *q, int rc)
{
	struct monitor *m = q->m;
	bool quiet;

	pthread_mutex_lock(&m->lock);
	q->rc = rc;
	q->done = true;
	m->asked--;
	quiet = m->asked == 0;
	pthread_cond_broadcast(&m->answered);
	pthread_mutex_unlock(&m->lock);
	question_unref(q);
	if (quiet) {
		env_wake_all(m->o.env, &m->quiet);
	}
}

static void question_fiber(void *arg)
{
	struct question *q = arg;

	question_end(q, question_answer(q));
}

static void question_posted(struct posix_post *post)
{
	struct question *q = container_of(post, struct question, post);
	int rc = env_spawn(q->m->o.env, "monitor", question_fiber, q);

	if (rc != 0) {
		question_end(q, rc);
	}
}

/* ---- questions: the thread's side ---- */

static struct timespec deadline_of(uint64_t ns)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	ns += (uint64_t)ts.tv_nsec;
	ts.tv_sec += (time_t)(ns / NS_PER_S);
	ts.tv_nsec = (long)(ns % NS_PER_S);
	return ts;
}

/* Under the lock. */
static int question_wait(struct monitor *m, const struct question *q)
{
	struct timespec until = deadline_of(MONITOR_ANSWER_NS);
	int rc = 0;

	while (!q->done && !m->stopping && rc == 0) {
		rc = pthread_cond_timedwait(&m->answered, &m->lock, &until);
	}
	if (q->done) {
		return q->rc;
	}
	return m->stopping ? -NE_SHUTDOWN : -NE_TIMEDOUT;
}

int question_ask(
	struct monitor *m, enum question_kind kind, uint32_t sample, struct question **ret_question)
{
	struct question *q = mem_zalloc(sizeof(*q));
	int rc;

	if (q == NULL) {
		return -NE_NOMEM;
	}
	q->m = m;
	q->kind = kind;
	q->sample = sample;
	q->refs = 2;
	q->post.fn = question_posted;
	pthread_mutex_lock(&m->lock);
	m->asked++;
	pthread_mutex_unlock(&m->lock);
	posix_post(m->o.env, &q->post);
	pthread_mutex_lock(&m->lock);
	rc = question_wait(m, q);
	pthread_mutex_unlock(&m->lock);
	if (rc != 0) {
		question_unref(q);
		return rc;
	}
	*ret_question = q;
	return 0;
}

void question_free(struct question *q)
{
	question_unref(q);
}

/* ---- the token ---- */

static int token_refuse(char *why, size_t cap, const char *path, const char *what)
{
	snprintf(why, cap, "the monitor's token %s: %s", path, what);
	return -NE_CONFIG;
}

/* One word of 16 or more printable characters, in a file nobody else may read. */
static int token_read(struct monitor *m, const char *path, char *why, size_t cap)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	struct stat st;
	ssize_t n;

	if (fd < 0) {
		return token_refuse(why, cap, path, strerror(errno));
	}
	n = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? read(fd, m->token, sizeof(m->token)) : -1;
	close(fd);
	if (n < 0 || n == (ssize_t)sizeof(m->token)) {
		return token_refuse(why, cap, path, "not a small file");
	}
	if ((st.st_mode & 077) != 0) {
		return token_refuse(why, cap, path, "others may read it: chmod 600");
	}
	while (n > 0 && (m->token[n - 1] == '\n' || m->token[n - 1] == '\r')) {
		n--;
	}
	m->token[n] = '\0';
	for (const char *c = m->token; *c != '\0'; c++) {
		if (*c <= ' ' || *c > '~') {
			return token_refuse(why, cap, path, "it must be one printable word");
		}
	}
	if (strlen(m->token) != (size_t)n || n < MONITOR_TOKEN_MIN) {
		return token_refuse(why, cap, path, "it must have at least 16 characters");
	}
	return 0;
}

/* ---- start and stop ---- */

static int monitor_init(struct monitor *m)
{
	pthread_condattr_t attr;
	int rc;

	m->started_ns = env_realtime(m->o.env);
	env_waitq_init(&m->quiet);
	rc = pthread_mutex_init(&m->lock, NULL);
	ASSERT(rc == 0);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	rc = pthread_cond_init(&m->answered, &attr);
	ASSERT(rc == 0);
	pthread_condattr_destroy(&attr);
	rc = trace_store_new(m->o.env, TRACE_SLOW_NS, TRACE_SAMPLE_EVERY, &m->traces);
	if (rc == 0) {
		trace_store_set(m->o.env, m->traces);
	}
	return rc;
}

static void monitor_free(struct monitor *m)
{
	trace_store_set(m->o.env, NULL);
	trace_store_free(m->traces);
	pthread_cond_destroy(&m->answered);
	pthread_mutex_destroy(&m->lock);
	explicit_bzero(m->token, sizeof(m->token));
	mem_free(m);
}

int monitor_start(const struct monitor_options *options, char *ret_why, size_t cap,
	struct monitor **ret_monitor)
{
	struct monitor *m = mem_zalloc(sizeof(*m));
	int rc;

	if (m == NULL) {
		snprintf(ret_why, cap, "out of memory");
		return -NE_NOMEM;
	}
	ASSERT(options->collect != NULL);
	m->o = *options;
	ret_why[0] = '\0';
	rc = monitor_init(m);
	if (rc == 0 && m->o.config->listen[0] != '\0') {
		rc = token_read(m, m->o.config->token_file, ret_why, cap);
	}
	if (rc == 0) {
		rc = http_start(m, ret_why, cap, &m->http);
	}
	if (rc != 0) {
		if (ret_why[0] == '\0') {
			snprintf(ret_why, cap, "the monitor cannot start: %s", ne_text(rc));
		}
		monitor_free(m);
		return rc;
	}
	*ret_monitor = m;
	return 0;
}

static bool monitor_quiet(struct monitor *m)
{
	bool quiet;

	pthread_mutex_lock(&m->lock);
	quiet = m->asked == 0;
	pthread_mutex_unlock(&m->lock);
	return quiet;
}

void monitor_stop(struct monitor *m)
{
	if (m == NULL) {
		return;
	}
	pthread_mutex_lock(&m->lock);
	m->stopping = true;
	pthread_cond_broadcast(&m->answered);
	pthread_mutex_unlock(&m->lock);
	/* The thread waits for nothing but us now, so joining it is short. */
	http_stop(m->http);
	while (!monitor_quiet(m)) {
		(void)env_wait(m->o.env, &m->quiet, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
	monitor_free(m);
}

const char *monitor_addr(const struct monitor *m)
{
	return http_addr(m->http);
}
