/*
 * Spans: what waits are charged to, what is kept, ids, bounds.
 */
#include "env/trace.h"

#include "base/error.h"
#include "env/posix/reactor.h"
#include "test.h"

#define SLOW (50 * NS_PER_MS)

static struct env *env;
static struct reactor *reactor;
static struct trace_store *store;
static struct trace_record found[TRACE_SAMPLED_MAX + TRACE_SLOW_MAX + TRACE_WORST_MAX];

static void in_fiber(void (*fn)(void))
{
	CHECK_EQ(reactor_new(NULL, &reactor), 0);
	env = reactor_env(reactor);
	CHECK_EQ(trace_store_new(env, SLOW, 4, &store), 0);
	trace_store_set(env, store);
	CHECK_EQ(reactor_call(reactor, (env_fiber_fn *)(void *)fn, NULL), 0);
	trace_store_set(env, NULL);
	trace_store_free(store);
	reactor_free(reactor);
}

static void nap(enum trace_wait wait, uint64_t ms)
{
	enum trace_wait before = trace_wait_set(env, wait);

	env_sleep(env, ms * NS_PER_MS);
	CHECK_EQ(trace_wait_set(env, before), wait);
}

static void body_waits(void)
{
	struct trace_span span = {.id = {TRACE_KEEP, 1}};
	struct trace_record what = {.kind = TRACE_SERVE, .op = 7, .target = "MDT0000"};

	CHECK(trace_id_current(env) == NULL);
	nap(TRACE_LOG, 1); /* of no span: nowhere */
	trace_begin(env, &span, env_now(env) - 5000);
	CHECK(trace_id_current(env) == span.id);
	nap(TRACE_LOG, 3);
	nap(TRACE_NET, 2);
	nap(TRACE_LOG, 1);
	nap(TRACE_OFF, 1);
	env_sleep(env, NS_PER_MS);
	trace_wait_add(env, TRACE_DISK, 12345);
	trace_end(env);
	nap(TRACE_FETCH, 1);
	CHECK_EQ(span.wait_ns[TRACE_QUEUE], 5000);
	CHECK(span.wait_ns[TRACE_LOG] >= 4 * NS_PER_MS);
	CHECK(span.wait_ns[TRACE_NET] >= 2 * NS_PER_MS);
	CHECK(span.wait_ns[TRACE_LOCK] >= NS_PER_MS);
	CHECK_EQ(span.wait_ns[TRACE_DISK], 12345);
	CHECK_EQ(span.wait_ns[TRACE_FETCH], 0);
	trace_keep(env, &span, span.start_ns + 10 * NS_PER_MS, &what);
	CHECK_EQ(trace_store_read(store, found, ARRAY_SIZE(found)), 1);
	CHECK_EQ(found[0].op, 7);
	CHECK_EQ(found[0].duration_ns, 10 * NS_PER_MS);
	CHECK_STR(found[0].target, "MDT0000");
	CHECK(memcmp(found[0].id, span.id, sizeof(span.id)) == 0);
	CHECK_EQ(found[0].wait_ns[TRACE_DISK], 12345);
}

TEST(waits)
{
	in_fiber(body_waits);
}

static void keep(uint8_t first, uint64_t start_ns, uint64_t ns, uint64_t xid)
{
	struct trace_span span = {.id = {first, 1}, .start_ns = start_ns};
	struct trace_record what = {.kind = TRACE_CALL, .xid = xid};

	trace_keep(env, &span, start_ns + ns, &what);
}

static void body_kept(void)
{
	unsigned sampled = 0;
	uint8_t id[TRACE_ID_BYTES];
	uint8_t last[TRACE_ID_BYTES] = {0};
	size_t n;

	for (unsigned i = 0; i < 400; i++) {
		trace_id_new(env, id);
		sampled += (id[0] & TRACE_KEEP) != 0;
		CHECK(memcmp(id, last, sizeof(id)) != 0);
		memcpy(last, id, sizeof(id));
	}
	CHECK_EQ(sampled, 100);
	CHECK_EQ(trace_sample_set(env, 0), 4);
	keep(0, 1000, SLOW - 1, 1);
	CHECK_EQ(trace_store_read(store, found, ARRAY_SIZE(found)), 0);
	keep(0, 1000, SLOW, 2);
	CHECK_EQ(trace_store_read(store, found, ARRAY_SIZE(found)), 1);
	/* Rings keep the last ones; the slowest stay beside them. */
	keep(0, 2000, 1000 * SLOW, 3);
	for (unsigned i = 0; i < 2 * TRACE_SLOW_MAX; i++) {
		keep(0, 3000 + i, SLOW + 1, 100 + i);
	}
	for (unsigned i = 0; i < 2 * TRACE_SAMPLED_MAX; i++) {
		keep(TRACE_KEEP, 3000 + i, 1, 10000 + i);
	}
	n = trace_store_read(store, found, ARRAY_SIZE(found));
	CHECK(n > TRACE_SLOW_MAX + TRACE_SAMPLED_MAX);
	CHECK_EQ(found[0].xid, 100 + 2 * TRACE_SLOW_MAX - 1);
	bool there = false;

	for (size_t i = 0; i < n; i++) {
		there |= found[i].xid == 3 && found[i].duration_ns == 1000 * SLOW;
	}
	CHECK(there);
	/* After ten minutes the slowest is history. */
	for (unsigned i = 0; i < 2 * TRACE_SLOW_MAX; i++) {
		keep(0, 700 * NS_PER_S + i, SLOW + 1, 50000 + i);
	}
	n = trace_store_read(store, found, ARRAY_SIZE(found));
	for (size_t i = 0; i < n; i++) {
		CHECK(found[i].xid != 3);
	}
	CHECK_EQ(trace_store_read(store, found, 10), 10);
}

TEST(kept)
{
	in_fiber(body_kept);
}

static void body_without(void)
{
	struct trace_span span = {.id = {TRACE_KEEP}};
	uint8_t id[TRACE_ID_BYTES] = {1};

	trace_store_set(env, NULL);
	trace_id_new(env, id);
	CHECK_EQ(id[0], 0);
	CHECK(!trace_wanted(env, span.id, UINT64_MAX));
	trace_begin(env, &span, env_now(env));
	nap(TRACE_LOG, 1);
	trace_end(env);
	trace_keep(env, &span, UINT64_MAX, &(struct trace_record){.kind = TRACE_CALL});
	trace_store_set(env, store);
	CHECK_EQ(trace_store_read(store, found, ARRAY_SIZE(found)), 0);
}

TEST(without_a_store_nothing_is_kept)
{
	in_fiber(body_without);
}
