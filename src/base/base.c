/*
 * The failed-assert path and the small helpers of base.h.
 *
 * Invariant: base_assert_failed never returns, whatever the installed handler does. It uses neither
 * locks nor the heap before the handler runs, because the program's state is no longer trusted.
 */
#include "base/base.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/base_int.h"

static _Atomic(base_assert_fn *) assert_handler;

void base_assert_handler_set(base_assert_fn *fn)
{
	atomic_store(&assert_handler, fn);
}

/* Says what failed where the log goes, and on stderr if that is somewhere else. */
static void assert_report(const char *cond, const char *file, int line, const char *func)
{
	char text[512];
	int len = snprintf(
		text, sizeof(text), "ASSERT failed: %s at %s:%d in %s\n", cond, file, line, func);
	size_t size = len < 0 ? 0 : u64_min((uint64_t)len, sizeof(text) - 1);

	log_fd_write(text, size);
}

void base_assert_failed(const char *cond, const char *file, int line, const char *func)
{
	base_assert_fn *fn = atomic_load(&assert_handler);

	if (fn != NULL) {
		fn(cond, file, line, func);
	} else {
		assert_report(cond, file, line, func);
	}
	abort();
}

void free_ptr(void *pp)
{
	void **slot = pp;

	mem_free(*slot);
	*slot = NULL;
}
