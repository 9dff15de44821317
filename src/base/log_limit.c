/*
 * The limit on repeated lines. A kind of line is its module and format text, both literals: compared by address.
 *
 * A kind may have `burst` lines in a window; the rest is counted and told once the window has passed. The table is
 * small: a kind that hashes to the place of another whose window has passed takes it, else it is not limited.
 */
#include <time.h>

#include "base/hash.h"
#include "base/log_int.h"

#define KINDS 256

struct kind {
	const char *fmt;
	const char *module;
	enum log_level level;
	unsigned lines; /* in this window */
	uint64_t begin_ns;
	uint64_t left_out;
};

static struct kind kinds[KINDS];
static unsigned limit_burst;
static uint64_t limit_window_ns;
static uint64_t limit_suppressed;
static unsigned limit_pending; /* kinds with lines left out */

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

void log_limit_configure(unsigned burst, uint64_t window_ns)
{
	limit_burst = burst;
	limit_window_ns = window_ns;
}

uint64_t log_limit_suppressed(void)
{
	return limit_suppressed;
}

bool log_limit_pass(enum log_level level, const char *module, const char *fmt)
{
	struct kind *k;
	uint64_t now;

	if (limit_burst == 0) {
		return true;
	}
	now = now_ns();
	k = &kinds[hash_mix2((uint64_t)(uintptr_t)fmt, (uint64_t)(uintptr_t)module) % KINDS];
	if (k->fmt != NULL && now - k->begin_ns >= limit_window_ns && k->left_out == 0) {
		k->fmt = NULL; /* its time is over */
	}
	if (k->fmt == NULL) {
		*k = (struct kind){.fmt = fmt, .module = module, .level = level, .begin_ns = now};
	}
	if (k->fmt != fmt || k->module != module) {
		return true;
	}
	if (k->lines < limit_burst) {
		k->lines++;
		return true;
	}
	limit_pending += k->left_out == 0;
	k->left_out++;
	limit_suppressed++;
	return false;
}

bool log_limit_next(struct log_limited *ret_kind)
{
	uint64_t now;

	if (limit_pending == 0) {
		return false;
	}
	now = now_ns();
	for (unsigned i = 0; i < KINDS; i++) {
		struct kind *k = &kinds[i];

		if (k->left_out > 0 && now - k->begin_ns >= limit_window_ns) {
			*ret_kind = (struct log_limited){.level = k->level,
				.module = k->module,
				.fmt = k->fmt,
				.count = k->left_out};
			k->fmt = NULL;
			k->left_out = 0;
			limit_pending--;
			return true;
		}
	}
	return false;
}
