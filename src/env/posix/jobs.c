/*
 * Helper threads: a few per kind, started when first needed, asleep on a condition when idle. A job and
 * the post that ends it lie on the waiting fiber's stack.
 */
#include <pthread.h>
#include <signal.h>

#include "base/log.h"
#include "env/posix/posix_int.h"

static const unsigned job_threads_max[ENV_JOB_KINDS] = {
	[ENV_JOB_LOOKUP] = 2,
	[ENV_JOB_BULK] = 1,
	[ENV_JOB_NAMES] = 1,
};

struct job {
	struct list link; /* pool's queue */
	struct posix_post post;
	struct env *env;
	void (*fn)(void *);
	void *arg;
	struct env_waitq q;
	bool done;
};

static void job_lock(struct job_pool *p)
{
	int rc = pthread_mutex_lock(&p->lock);

	ASSERT(rc == 0);
}

static void job_unlock(struct job_pool *p)
{
	int rc = pthread_mutex_unlock(&p->lock);

	ASSERT(rc == 0);
}

static void job_posted(struct posix_post *post)
{
	struct job *job = container_of(post, struct job, post);

	job->done = true;
	fiber_wake_all(&job->q);
}

static void *job_thread(void *arg)
{
	struct job_pool *p = arg;

	job_lock(p);
	for (;;) {
		struct list *entry = list_pop_front(&p->queue);

		if (entry != NULL) {
			struct job *job = list_entry(entry, struct job, link);

			job_unlock(p);
			job->fn(job->arg);
			posix_post(job->env, &job->post);
			job_lock(p);
		} else if (p->stop) {
			break;
		} else {
			p->idle++;
			(void)pthread_cond_wait(&p->cond, &p->lock);
			p->idle--;
		}
	}
	job_unlock(p);
	return NULL;
}

/* With the lock held. Signals are for the process's own threads. */
static void job_thread_start(struct job_pool *p)
{
	sigset_t all;
	sigset_t old;
	int rc;

	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&p->threads[p->started], NULL, job_thread, p);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (rc == 0) {
		p->started++;
	}
}

/* Returns false if there is no thread to run it. */
static bool job_submit(struct job_pool *p, struct job *job, unsigned threads_max)
{
	bool ok;

	job_lock(p);
	ASSERT(!p->stop);
	if (p->idle == 0 && p->started < threads_max) {
		job_thread_start(p);
	}
	ok = p->started > 0;
	if (ok) {
		list_push_back(&p->queue, &job->link);
	}
	job_unlock(p);
	/* Without the lock, or the thread that wakes would find it taken and sleep again. */
	if (ok) {
		(void)pthread_cond_signal(&p->cond);
	}
	return ok;
}

void posix_job(struct env *env, enum env_job_kind kind, void (*fn)(void *), void *arg)
{
	struct reactor *r = reactor_of(env);
	struct job job = {.post = {.fn = job_posted}, .env = env, .fn = fn, .arg = arg};

	ASSERT(fn != NULL);
	env_waitq_init(&job.q);
	if (!job_submit(&r->jobs[kind], &job, job_threads_max[kind])) {
		log_warn("env", "no helper thread can be started: working in line");
		fn(arg);
		return;
	}
	while (!job.done) {
		int rc = env_wait(env, &job.q, ENV_FOREVER, ENV_WAIT_PLAIN);

		ASSERT(rc == 0);
	}
}

void jobs_init(struct reactor *r)
{
	for (unsigned i = 0; i < ENV_JOB_KINDS; i++) {
		struct job_pool *p = &r->jobs[i];
		int rc = pthread_mutex_init(&p->lock, NULL);

		ASSERT(rc == 0);
		rc = pthread_cond_init(&p->cond, NULL);
		ASSERT(rc == 0);
		ASSERT(job_threads_max[i] <= ARRAY_SIZE(p->threads));
		list_init(&p->queue);
	}
}

void jobs_fini(struct reactor *r)
{
	for (unsigned i = 0; i < ENV_JOB_KINDS; i++) {
		struct job_pool *p = &r->jobs[i];

		job_lock(p);
		p->stop = true;
		(void)pthread_cond_broadcast(&p->cond);
		job_unlock(p);
		for (unsigned k = 0; k < p->started; k++) {
			int rc = pthread_join(p->threads[k], NULL);

			ASSERT(rc == 0);
		}
		(void)pthread_cond_destroy(&p->cond);
		(void)pthread_mutex_destroy(&p->lock);
	}
}
