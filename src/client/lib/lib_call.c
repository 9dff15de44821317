/*
 * Entering the reactor, error texts, logging, and what a failed assert does.
 *
 * A failed assert breaks the reactor that the thread drives: its fibers never run again, every call returns
 * -ENOTRECOVERABLE, what it holds is never freed. In a fiber the driver's stack is intact and returns by itself; in the
 * driver's own code the thread leaves by longjmp to where it entered. Such a thread was started here or is in lib_run.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "client/lib/lib_int.h"

static _Thread_local struct reactor *thread_reactor;
static _Thread_local jmp_buf *thread_exit;
static _Thread_local char thread_text[512];
/* The call the thread is in, for its signal handlers: no memory may be taken for it there. */
static _Thread_local struct lib_call *volatile thread_call
	__attribute__((tls_model("initial-exec")));

/* ---- the process ---- */

static void log_nowhere(void *ctx, enum log_level level, const char *module, const char *line)
{
	(void)ctx;
	(void)level;
	(void)module;
	(void)line;
}

static struct {
	nacre_log_fn *fn;
	void *ctx;
} log_user;

static void log_to_user(void *ctx, enum log_level level, const char *module, const char *line)
{
	char text[1024];

	(void)ctx;
	(void)snprintf(text, sizeof(text), "%s: %s", module, line);
	log_user.fn(log_user.ctx, (enum nacre_log_level)level, text);
}

_export_ void nacre_log_set(nacre_log_fn *fn, void *ctx, enum nacre_log_level level)
{
	lib_process_init();
	log_user.fn = fn;
	log_user.ctx = ctx;
	log_level_set((enum log_level)level);
	log_sink_set(fn == NULL ? log_nowhere : log_to_user, NULL);
}

static _noreturn_ void assert_failed(const char *cond, const char *file, int line, const char *func)
{
	struct reactor *reactor = thread_reactor;

	log_error("libnacre", "inconsistent: %s at %s:%d in %s; the file system is given up", cond,
		file, line, func);
	if (reactor != NULL) {
		reactor_break(reactor);
	}
	if (thread_exit != NULL) {
		_longjmp(*thread_exit, 1);
	}
	/* A helper thread: whoever waits for its work waits in vain, but the program lives. */
	for (;;) {
		(void)pause();
	}
}

void lib_process_init(void)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static bool done;

	(void)pthread_mutex_lock(&lock);
	if (!done) {
		log_sink_set(log_nowhere, NULL);
		base_assert_handler_set(assert_failed);
		done = true;
	}
	(void)pthread_mutex_unlock(&lock);
}

void lib_thread_enter(struct reactor *reactor)
{
	thread_reactor = reactor;
}

/* ---- calls ---- */

/* In the driver. Whoever asks from here on posts again. */
static void calls_interrupt(struct posix_post *post)
{
	struct nacre *fs = container_of(post, struct nacre, intr_post);

	atomic_store(&fs->intr_posted, false);
	LIST_FOREACH (it, &fs->calls) {
		struct lib_call *call = list_entry(it, struct lib_call, link);

		if (atomic_load(&call->intr_asked)) {
			env_interrupt(fs->env, call->fiber);
		}
	}
}

void lib_calls_init(struct nacre *fs)
{
	list_init(&fs->calls);
	fs->intr_post.fn = calls_interrupt;
}

_export_ void nacre_interrupt(_unused_ int signal_number)
{
	struct lib_call *call = thread_call;

	if (call == NULL) {
		return;
	}
	/* The mark first: the fiber looks at it when it begins, the post when it runs. */
	atomic_store(&call->intr_asked, true);
	if (!atomic_exchange(&call->fs->intr_posted, true)) {
		posix_post(call->fs->env, &call->fs->intr_post);
	}
}

static void call_fiber(void *arg)
{
	struct lib_call *call = arg;

	call->fiber = env_self(call->fs->env);
	list_push_back(&call->fs->calls, &call->link);
	if (atomic_load(&call->intr_asked)) {
		env_interrupt(call->fs->env, call->fiber);
	}
	call->err = call->fn(call);
	list_del(&call->link);
}

/* In a function of its own, so that no local lives across the jump. */
static int reactor_enter(struct reactor *reactor, env_fiber_fn *fn, void *arg)
{
	jmp_buf here;
	int rc;

	if (_setjmp(here) != 0) {
		thread_exit = NULL;
		thread_reactor = NULL;
		return -NE_NOTRECOVERABLE;
	}
	thread_exit = &here;
	thread_reactor = reactor;
	rc = reactor_call(reactor, fn, arg);
	thread_exit = NULL;
	thread_reactor = NULL;
	return rc;
}

void lib_error_set(const char *what, const char *path, int err)
{
	(void)snprintf(thread_text, sizeof(thread_text), "%s%s%s: %s", what,
		path != NULL ? " " : "", path != NULL ? path : "", ne_text(err));
}

int lib_fail(const struct lib_call *call, int err)
{
	ASSERT(err < 0);
	lib_error_set(call->what, call->path, err);
	return -ne_errno(err);
}

int lib_run(struct nacre *fs, struct lib_call *call)
{
	int saved = errno;
	int rc;

	call->fs = fs;
	call->cred = (struct client_cred){
		.uid = fs->uid,
		.gid = fs->gid,
		.pid = (int32_t)getpid(),
		.caps = fs->caps,
		.groups = fs->groups,
		.group_count = fs->group_count,
	};
	thread_call = call;
	rc = reactor_enter(fs->reactor, call_fiber, call);
	thread_call = NULL;
	errno = saved;
	if (rc != 0) {
		return lib_fail(call, rc);
	}
	return call->err == 0 ? 0 : lib_fail(call, call->err);
}

_export_ const char *nacre_error_text(void)
{
	return thread_text;
}

_export_ const char *nacre_strerror(int err)
{
	return ne_text(ne_from_errno(err < 0 ? -err : err));
}
