/*
 * Runs a body as a fiber of a fresh reactor: the frame of the posix tests. Everything must be given back:
 * the reactor is freed at the end with no fiber left.
 */
#ifndef NACRE_TESTS_ENV_RUN_H
#define NACRE_TESTS_ENV_RUN_H

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "env/posix/posix.h"
#include "env/posix/reactor.h"
#include "test.h"

static struct reactor *run_reactor;
static struct env *env;

static void run_open(const struct reactor_options *options)
{
	CHECK_EQ(reactor_new(options, &run_reactor), 0);
	env = reactor_env(run_reactor);
}

static void run_close(void)
{
	struct reactor_stats st;

	reactor_stats(run_reactor, &st);
	CHECK_EQ(st.fibers, 0);
	reactor_free(run_reactor);
	run_reactor = NULL;
}

static inline void run_body(env_fiber_fn *fn, void *arg)
{
	struct reactor_options options = {.cpu = -1, .stack_check = true};

	run_open(&options);
	CHECK_EQ(reactor_call(run_reactor, fn, arg), 0);
	run_close();
}

/* A new directory below $TMPDIR; its path is written to buf. */
static inline void run_dir(char *buf, size_t cap)
{
	const char *tmp = getenv("TMPDIR");
	int n = snprintf(buf, cap, "%s/nacre-env-XXXXXX", tmp != NULL ? tmp : "/tmp");

	CHECK(n > 0 && (size_t)n < cap);
	CHECK(mkdtemp(buf) != NULL);
}

#endif
