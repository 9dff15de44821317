/*
 * See trace.h. The store is three arrays: two rings and the worst ones, of which the shortest or oldest is replaced.
 */
#include "env/trace.h"

#include <string.h>

#include "base/alloc.h"
#include "env/env_int.h"

/* A worst span is forgotten after so long. */
#define WORST_AGE_NS (600 * NS_PER_S)

struct trace_store {
	uint64_t slow_ns;
	uint64_t seed; /* of the ids made here */
	uint64_t next;
	uint32_t sample_every;
	uint64_t sampled_count; /* so far */
	uint64_t slow_count;
	unsigned worst_count;
	uint64_t worst_min_ns; /* the shortest of a full array */
	struct trace_record sampled[TRACE_SAMPLED_MAX];
	struct trace_record slow[TRACE_SLOW_MAX];
	struct trace_record worst[TRACE_WORST_MAX];
};

int trace_store_new(
	struct env *env, uint64_t slow_ns, uint32_t sample_every, struct trace_store **ret_store)
{
	struct trace_store *s = mem_zalloc(sizeof(*s));

	if (s == NULL) {
		return -NE_NOMEM;
	}
	s->slow_ns = slow_ns;
	s->sample_every = sample_every;
	s->seed = env_random(env);
	*ret_store = s;
	return 0;
}

void trace_store_free(struct trace_store *store)
{
	mem_free(store);
}

void trace_store_set(struct env *env, struct trace_store *store)
{
	env->traces = store;
}

uint32_t trace_sample_set(struct env *env, uint32_t sample_every)
{
	struct trace_store *s = env->traces;
	uint32_t before;

	if (s == NULL) {
		return 0;
	}
	before = s->sample_every;
	s->sample_every = sample_every;
	return before;
}

/* ---- reading ---- */

static bool record_same(const struct trace_record *a, const struct trace_record *b)
{
	return a->start_ns == b->start_ns && a->duration_ns == b->duration_ns && a->xid == b->xid &&
		a->kind == b->kind && memcmp(a->id, b->id, sizeof(a->id)) == 0;
}

static bool record_known(
	const struct trace_record *records, size_t count, const struct trace_record *r)
{
	for (size_t i = 0; i < count; i++) {
		if (record_same(&records[i], r)) {
			return true;
		}
	}
	return false;
}

static size_t ring_read(const struct trace_record *ring, size_t size, uint64_t count,
	struct trace_record *records, size_t cap)
{
	size_t n = 0;

	for (uint64_t i = count; i > 0 && count - i < size && n < cap; i--) {
		records[n++] = ring[(i - 1) % size];
	}
	return n;
}

size_t trace_store_read(const struct trace_store *s, struct trace_record *records, size_t cap)
{
	size_t slow = ring_read(s->slow, TRACE_SLOW_MAX, s->slow_count, records, cap);
	size_t n = slow;

	for (unsigned i = 0; i < s->worst_count && n < cap; i++) {
		if (!record_known(records, slow, &s->worst[i])) {
			records[n++] = s->worst[i];
		}
	}
	/* What was sampled and slow is in the slow ring only. */
	return n + ring_read(s->sampled, TRACE_SAMPLED_MAX, s->sampled_count, records + n, cap - n);
}

/* ---- keeping ---- */

static void worst_min_update(struct trace_store *s)
{
	s->worst_min_ns = UINT64_MAX;
	for (unsigned i = 0; i < s->worst_count; i++) {
		s->worst_min_ns = u64_min(s->worst_min_ns, s->worst[i].duration_ns);
	}
}

static void worst_add(struct trace_store *s, const struct trace_record *r)
{
	unsigned at = 0;

	if (s->worst_count < TRACE_WORST_MAX) {
		s->worst[s->worst_count++] = *r;
		worst_min_update(s);
		return;
	}
	for (unsigned i = 0; i < TRACE_WORST_MAX; i++) {
		if (s->worst[i].start_ns + WORST_AGE_NS < r->start_ns) {
			at = i;
			break;
		}
		if (s->worst[i].duration_ns < s->worst[at].duration_ns) {
			at = i;
		}
	}
	if (s->worst[at].start_ns + WORST_AGE_NS < r->start_ns ||
		s->worst[at].duration_ns < r->duration_ns) {
		s->worst[at] = *r;
		worst_min_update(s);
	}
}

bool trace_wanted(struct env *env, const uint8_t id[TRACE_ID_BYTES], uint64_t duration_ns)
{
	const struct trace_store *s = env->traces;

	return s != NULL && ((id[0] & TRACE_KEEP) != 0 || duration_ns >= s->slow_ns);
}

void trace_keep(struct env *env, const struct trace_span *span, uint64_t end_ns,
	const struct trace_record *what)
{
	struct trace_store *s = env->traces;
	uint64_t duration = end_ns - u64_min(end_ns, span->start_ns);
	struct trace_record r;

	if (likely(!trace_wanted(env, span->id, duration))) {
		return;
	}
	r = *what;
	memcpy(r.id, span->id, sizeof(r.id));
	r.start_ns = span->start_ns;
	r.duration_ns = duration;
	memcpy(r.wait_ns, span->wait_ns, sizeof(r.wait_ns));
	if (duration >= s->slow_ns) {
		s->slow[s->slow_count++ % TRACE_SLOW_MAX] = r;
		worst_add(s, &r);
	} else {
		s->sampled[s->sampled_count++ % TRACE_SAMPLED_MAX] = r;
	}
}

/* ---- spans of fibers ---- */

void trace_id_new(struct env *env, uint8_t ret_id[TRACE_ID_BYTES])
{
	struct trace_store *s = env->traces;

	if (s == NULL) {
		memset(ret_id, 0, TRACE_ID_BYTES);
		return;
	}
	s->next++;
	memcpy(ret_id, &s->seed, sizeof(s->seed));
	memcpy(ret_id + sizeof(s->seed), &s->next, sizeof(s->next));
	ret_id[0] &= (uint8_t)~TRACE_KEEP;
	if (s->sample_every != 0 && s->next % s->sample_every == 0) {
		ret_id[0] |= TRACE_KEEP;
	}
}

void trace_begin(struct env *env, struct trace_span *span, uint64_t start_ns)
{
	struct fiber *fiber = env->sched.current;

	ASSERT(fiber != NULL);
	memset(span->wait_ns, 0, sizeof(span->wait_ns));
	span->start_ns = start_ns;
	span->wait_ns[TRACE_QUEUE] = env->sched.now_ns - u64_min(env->sched.now_ns, start_ns);
	fiber->trace = span;
	fiber->trace_wait = TRACE_LOCK;
}

void trace_end(struct env *env)
{
	ASSERT(env->sched.current != NULL);
	env->sched.current->trace = NULL;
}

const uint8_t *trace_id_current(struct env *env)
{
	const struct fiber *fiber = env->sched.current;

	return fiber == NULL || fiber->trace == NULL ? NULL : fiber->trace->id;
}

enum trace_wait trace_wait_set(struct env *env, enum trace_wait wait)
{
	struct fiber *fiber = env->sched.current;
	enum trace_wait before;

	if (fiber == NULL) {
		return TRACE_OFF;
	}
	before = fiber->trace_wait;
	fiber->trace_wait = (uint8_t)wait;
	return before;
}

void trace_wait_add(struct env *env, enum trace_wait wait, uint64_t ns)
{
	struct fiber *fiber = env->sched.current;

	if (fiber != NULL && fiber->trace != NULL && wait < TRACE_OFF) {
		fiber->trace->wait_ns[wait] += ns;
	}
}

const char *trace_wait_name(enum trace_wait wait)
{
	static const char *const names[] = {"queue", "lock", "fetch", "log", "disk", "net"};

	ASSERT((unsigned)wait < TRACE_WAITS);
	return names[wait];
}
