/*
 * Fetching what is not in memory.
 *
 * A transaction that met -NE_MISSING_KEY holds its wants. state_prefetch adds them to the fetch that is
 * gathering; whoever opens one leads it: it yields once, so that the other requests of this turn join,
 * waits for a free job, runs it and wakes the others. One fetch = one view of the checkpoint. Points go
 * to the cache as well; points and ranges stay with every transaction that took part until it ends, so a
 * small cache cannot starve a request, and with them the view's age: it keeps the frozen tables that
 * cover the difference in place.
 */
#include <stdlib.h>

#include "env/trace.h"
#include "store/kv_int.h"
#include "store/state_int.h"

/* ---- wants ---- */

static int want_add(struct state_txn *txn, const struct state_want *want)
{
	struct state_want *w;

	if (txn->want_count == STATE_WANTS_MAX) {
		return -NE_MISSING_KEY; /* there is enough to fetch for a round */
	}
	if (txn->want_count == txn->want_cap) {
		uint32_t cap = txn->want_cap == 0 ? 8 : txn->want_cap * 2;

		w = mem_realloc(txn->wants, cap * sizeof(*w));
		if (w == NULL) {
			return -NE_NOMEM;
		}
		txn->wants = w;
		txn->want_cap = cap;
	}
	w = &txn->wants[txn->want_count];
	*w = *want;
	w->buf = mem_alloc(want->from.len + want->to.len + 1);
	if (w->buf == NULL) {
		return -NE_NOMEM;
	}
	bytes_copy(w->buf, want->from.ptr, want->from.len);
	bytes_copy(w->buf + want->from.len, want->to.ptr, want->to.len);
	w->from = span_of(w->buf, want->from.len);
	w->to = span_of(w->buf + want->from.len, want->to.len);
	txn->want_count++;
	return -NE_MISSING_KEY;
}

int state_want_key(struct state_txn *txn, struct span key)
{
	struct state_want want = {.from = key};

	return want_add(txn, &want);
}

int state_want_range(struct state_txn *txn, struct span from, struct span to, uint32_t max)
{
	struct state_want want = {.range = true, .from = from, .to = to};

	want.max = (uint32_t)u64_min(u64_max(max, STATE_SCAN_MIN), STATE_SCAN_MAX);
	return want_add(txn, &want);
}

void state_wants_clear(struct state_txn *txn)
{
	while (txn->want_count > 0) {
		mem_free(txn->wants[--txn->want_count].buf);
	}
}

/* ---- fetches ---- */

uint64_t state_view_oldest(const struct state *st)
{
	uint64_t seq = UINT64_MAX;

	LIST_FOREACH (it, &st->fetches) {
		seq = u64_min(seq, list_entry(it, struct state_fetch, link)->seq);
	}
	return seq;
}

static struct state_fetch *fetch_new(struct state *st)
{
	struct state_fetch *f = mem_zalloc(sizeof(*f));

	if (f != NULL) {
		f->st = st;
		f->seq = st->kv_seq;
		env_waitq_init(&f->q);
		list_push_back(&st->fetches, &f->link);
	}
	return f;
}

static void fetch_unref(struct state_fetch *f)
{
	struct state *st = f->st;

	ASSERT(f->refs > 0);
	if (--f->refs > 0) {
		return;
	}
	if (st->fetch_next == f) {
		st->fetch_next = NULL;
	}
	list_del(&f->link);
	kv_fetch_fini(&f->kvf);
	mem_free(f->kvf.gets);
	mem_free(f->kvf.scans);
	mem_free(f);
	env_wake_all(st->env, &st->view_q);
}

void state_fetches_drop(struct state_txn *txn)
{
	while (txn->fetch_count > 0) {
		fetch_unref(txn->fetches[--txn->fetch_count]);
	}
}

static int fetch_add_get(struct state_fetch *f, const struct state_want *want)
{
	struct kv_fetch *k = &f->kvf;
	struct kv_get *get;

	if (k->get_count == f->get_cap) {
		uint32_t cap = f->get_cap == 0 ? 16 : f->get_cap * 2;

		get = mem_realloc(k->gets, cap * sizeof(*get));
		if (get == NULL) {
			return -NE_NOMEM;
		}
		k->gets = get;
		f->get_cap = cap;
	}
	get = &k->gets[k->get_count];
	*get = (struct kv_get){.err = -NE_IO};
	if (kv_arena_copy(k, want->from.ptr, want->from.len, &get->key) != 0) {
		return -NE_NOMEM;
	}
	k->get_count++;
	return 0;
}

static int fetch_add_scan(struct state_fetch *f, const struct state_want *want)
{
	struct kv_fetch *k = &f->kvf;
	struct kv_scan *scan;

	if (k->scan_count == f->scan_cap) {
		uint32_t cap = f->scan_cap == 0 ? 4 : f->scan_cap * 2;

		scan = mem_realloc(k->scans, cap * sizeof(*scan));
		if (scan == NULL) {
			return -NE_NOMEM;
		}
		k->scans = scan;
		f->scan_cap = cap;
	}
	scan = &k->scans[k->scan_count];
	*scan = (struct kv_scan){.max = want->max, .err = -NE_IO};
	if (kv_arena_copy(k, want->from.ptr, want->from.len, &scan->from) != 0 ||
		kv_arena_copy(k, want->to.ptr, want->to.len, &scan->to) != 0) {
		return -NE_NOMEM;
	}
	k->scan_count++;
	return 0;
}

/* The transaction takes part in the fetch. */
static int fetch_join(struct state_fetch *f, struct state_txn *txn)
{
	int err = 0;

	if (txn->fetch_count == txn->fetch_cap) {
		uint32_t cap = txn->fetch_cap == 0 ? 4 : txn->fetch_cap * 2;
		struct state_fetch **p =
			mem_realloc(txn->fetches, cap * sizeof(struct state_fetch *));

		if (p == NULL) {
			return -NE_NOMEM;
		}
		txn->fetches = p;
		txn->fetch_cap = cap;
	}
	for (uint32_t i = 0; i < txn->want_count && err == 0; i++) {
		err = txn->wants[i].range ? fetch_add_scan(f, &txn->wants[i])
					  : fetch_add_get(f, &txn->wants[i]);
	}
	if (err == 0) {
		txn->fetches[txn->fetch_count++] = f;
		f->refs++;
	}
	return err;
}

static int get_compare(const void *a, const void *b)
{
	const struct kv_get *x = a, *y = b;

	return span_cmp(x->key, y->key);
}

static void fetch_finish(struct state_fetch *f)
{
	struct state *st = f->st;

	if (f->kvf.get_count > 1) {
		qsort(f->kvf.gets, f->kvf.get_count, sizeof(*f->kvf.gets), get_compare);
	}
	for (uint32_t i = 0; f->err == 0 && i < f->kvf.get_count; i++) {
		const struct kv_get *get = &f->kvf.gets[i];

		if (get->err == 0 || get->err == -NE_NOENT) {
			state_cache_put(&st->cache, get->key, get->val, get->err != 0);
		}
	}
	st->stats.fetch_jobs++;
	st->stats.fetch_keys += f->kvf.get_count;
	f->done = true;
	env_wake_all(st->env, &f->q);
}

static void fetch_lead(struct state_fetch *f)
{
	struct state *st = f->st;

	env_yield(st->env);
	while (st->fetch_jobs == STATE_FETCH_JOBS) {
		(void)env_wait(st->env, &st->fetch_job_q, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
	ASSERT(st->fetch_next == f);
	st->fetch_next = NULL;
	st->fetch_jobs++;
	f->running = true;
	f->seq = st->kv_seq; /* the view is taken from here on */
	f->err = kv_fetch(st->kv, &f->kvf);
	st->fetch_jobs--;
	env_wake_one(st->env, &st->fetch_job_q);
	fetch_finish(f);
}

static int prefetch(struct state_txn *txn)
{
	struct state *st = txn->st;
	bool lead = st->fetch_next == NULL;
	struct state_fetch *f;
	int err;

	ASSERT(!txn->active && txn->want_count > 0);
	if (lead) {
		st->fetch_next = fetch_new(st);
		if (st->fetch_next == NULL) {
			return -NE_NOMEM;
		}
	}
	f = st->fetch_next;
	f->refs++;
	err = fetch_join(f, txn);
	state_wants_clear(txn);
	if (lead && f->kvf.get_count + f->kvf.scan_count > 0) {
		fetch_lead(f);
	}
	while (err == 0 && !f->done) {
		(void)env_wait(st->env, &f->q, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
	err = err != 0 ? err : f->err;
	fetch_unref(f);
	return err;
}

int state_prefetch(struct state_txn *txn)
{
	struct env *env = txn->st->env;
	enum trace_wait before = trace_wait_set(env, TRACE_FETCH);
	int err = prefetch(txn);

	(void)trace_wait_set(env, before);
	return err;
}

int state_fetched_get(struct state_txn *txn, struct span key, struct span *ret_val)
{
	struct kv_get want = {.key = key};

	for (uint32_t i = txn->fetch_count; i-- > 0;) {
		const struct kv_fetch *k = &txn->fetches[i]->kvf;
		const struct kv_get *get;

		if (!txn->fetches[i]->done || txn->fetches[i]->err != 0 || k->get_count == 0) {
			continue;
		}
		get = bsearch(&want, k->gets, k->get_count, sizeof(*k->gets), get_compare);
		if (get != NULL) {
			*ret_val = get->val;
			return get->err;
		}
	}
	return -NE_MISSING_KEY;
}

/* True if everything from scan->from up to and with point is known. */
static bool scan_covers(const struct kv_scan *scan, struct span point)
{
	if (span_cmp(scan->from, point) > 0) {
		return false;
	}
	if (scan->err != 0 || scan->end) {
		return !kv_scan_past(scan, point);
	}
	return scan->count > 0 && span_cmp(point, scan->recs[scan->count - 1].key) <= 0;
}

const struct kv_scan *state_fetched_scan(struct state_txn *txn, struct span point)
{
	for (uint32_t i = txn->fetch_count; i-- > 0;) {
		const struct kv_fetch *k = &txn->fetches[i]->kvf;

		for (uint32_t n = 0; n < k->scan_count && txn->fetches[i]->err == 0; n++) {
			if (scan_covers(&k->scans[n], point)) {
				return &k->scans[n];
			}
		}
	}
	return NULL;
}
