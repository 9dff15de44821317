/*
 * SIGBUS while reading a mapped checkpoint becomes an error of that call instead of the process's end.
 *
 * One handler for the process, installed at first use; it jumps back only on a thread that is inside
 * kv_guard_run, else it restores what was there before and lets the signal come again. What runs under
 * the guard may be cut anywhere: the caller must not use the store again (it stops the target).
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <string.h>

#include "store/kv_int.h"

static __thread sigjmp_buf *guard_jump;
static __thread bool guard_open; /* this thread does not block SIGBUS any more */
static struct sigaction guard_before;
static pthread_once_t guard_once = PTHREAD_ONCE_INIT;

static void guard_signal(int sig)
{
	if (guard_jump != NULL) {
		siglongjmp(*guard_jump, 1);
	}
	sigaction(sig, &guard_before, NULL);
}

static void guard_install(void)
{
	struct sigaction sa;
	int rc;

	memset(&sa, 0, sizeof(sa));
	sa.sa_handler = guard_signal;
	sigemptyset(&sa.sa_mask);
	rc = sigaction(SIGBUS, &sa, &guard_before);
	ASSERT(rc == 0);
}

/* Helper threads block all signals; a blocked SIGBUS of their own making kills the process. */
static void guard_unblock(void)
{
	sigset_t mask;
	int rc;

	sigemptyset(&mask);
	sigaddset(&mask, SIGBUS);
	rc = pthread_sigmask(SIG_UNBLOCK, &mask, NULL);
	ASSERT(rc == 0);
	guard_open = true;
}

int kv_guard_run(void (*fn)(void *), void *arg)
{
	sigjmp_buf jump;
	int rc;

	ASSERT(guard_jump == NULL);
	rc = pthread_once(&guard_once, guard_install);
	ASSERT(rc == 0);
	if (!guard_open) {
		guard_unblock();
	}
	/* Without the mask, so that a run that goes well makes no system call. */
	if (sigsetjmp(jump, 0) != 0) {
		guard_jump = NULL;
		guard_unblock();
		return -NE_IO;
	}
	guard_jump = &jump;
	fn(arg);
	guard_jump = NULL;
	return 0;
}
