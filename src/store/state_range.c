/*
 * Ranges: a merge of the transaction's writes, the tables and what was fetched of the checkpoint.
 *
 * Every source is ordered; the smallest key comes next, and on equal keys the newest source counts and the
 * others step over it. The checkpoint part is a chain of fetched scans, each covering the keys from its
 * start to its last record (or to the end): where the chain ends the rest of the range is noted as wanted,
 * at least as much again as was fetched so far, so that a range over many deleted names needs few rounds.
 */
#include "store/state_int.h"

#define RANGE_TABLES (STATE_FROZEN_MAX + 1)

struct range_base {
	const struct kv_scan *scan;
	uint32_t pos;
	uint32_t seen; /* records stepped over in all scans */
	size_t at_len; /* covered up to here (exclusive) once scan is used up */
	uint8_t at[LIM_KV_KEY_MAX + 1];
};

struct range_merge {
	struct state_txn *txn;
	struct span to;
	bool all_new; /* the checkpoint has nothing of it */
	uint32_t order_pos;
	unsigned tables;
	struct omap_cursor cursors[RANGE_TABLES]; /* newest first */
	struct range_base base;
};

static bool range_past(const struct range_merge *m, struct span key)
{
	return m->to.len != 0 && span_cmp(key, m->to) >= 0;
}

/* Finds a scan that covers the place reached. */
static bool base_find(struct range_merge *m)
{
	struct range_base *b = &m->base;
	struct span at = span_of(b->at, b->at_len);

	b->scan = state_fetched_scan(m->txn, at);
	b->pos = 0;
	if (b->scan == NULL) {
		return false;
	}
	while (b->pos < b->scan->count && span_cmp(b->scan->recs[b->pos].key, at) < 0) {
		b->pos++;
	}
	return true;
}

/* 0: the next record. -NE_NOENT: none before the end. -NE_MISSING_KEY: not known. */
static int base_peek(struct range_merge *m, const struct kv_rec **ret_rec)
{
	struct range_base *b = &m->base;

	if (m->all_new) {
		return -NE_NOENT;
	}
	for (;;) {
		if (b->scan != NULL && b->pos < b->scan->count) {
			*ret_rec = &b->scan->recs[b->pos];
			return range_past(m, (*ret_rec)->key) ? -NE_NOENT : 0;
		}
		if (b->scan != NULL && b->scan->err != 0) {
			return b->scan->err;
		}
		if (b->scan != NULL && b->scan->end) {
			if (b->scan->to.len == 0 || range_past(m, b->scan->to)) {
				return -NE_NOENT;
			}
			bytes_copy(b->at, b->scan->to.ptr, b->scan->to.len);
			b->at_len = b->scan->to.len;
		} else if (b->scan != NULL) {
			struct span last = b->scan->recs[b->scan->count - 1].key;

			bytes_copy(b->at, last.ptr, last.len);
			b->at[last.len] = 0;
			b->at_len = last.len + 1;
		}
		if (range_past(m, span_of(b->at, b->at_len))) {
			return -NE_NOENT;
		}
		if (!base_find(m)) {
			return -NE_MISSING_KEY;
		}
	}
}

static void merge_init(
	struct range_merge *m, struct state_txn *txn, const struct state_range *range)
{
	struct state *st = txn->st;
	struct span from = span_of(range->from, range->from_len);

	m->txn = txn;
	m->to = span_of(range->to, range->to_len);
	m->all_new = range->all_new;
	m->order_pos = state_writes_seek(&st->writes, from);
	m->tables = 0;
	(void)omap_seek(&st->active->map, from, &m->cursors[m->tables++]);
	for (struct list *it = st->frozen.prev; it != &st->frozen; it = it->prev) {
		ASSERT(m->tables < RANGE_TABLES);
		(void)omap_seek(&list_entry(it, struct state_table, link)->map, from,
			&m->cursors[m->tables++]);
	}
	m->base.scan = NULL;
	m->base.pos = 0;
	m->base.seen = 0;
	m->base.at_len = from.len;
	bytes_copy(m->base.at, from.ptr, from.len);
}

/* What one source has at the merge's place. */
struct range_item {
	struct span key;
	struct span val;
	struct state_tag tag;
	bool del;
};

static void item_consider(struct range_item *best, bool *any, const struct range_item *item)
{
	if (!*any || span_cmp(item->key, best->key) < 0) {
		*best = *item;
		*any = true;
	}
}

/* Every source that stands on the key moves on. */
static void merge_step(struct range_merge *m, struct span key)
{
	const struct state_writes *w = &m->txn->st->writes;
	const struct kv_rec *rec;
	struct omap_entry e;

	if (m->order_pos < w->order_count) {
		const struct txn_op *op = &w->ops[w->order[m->order_pos]];

		m->order_pos += span_eq(span_of(op->key, op->key_len), key);
	}
	for (unsigned i = 0; i < m->tables; i++) {
		if (omap_cursor_get(&m->cursors[i], &e) && span_eq(e.key, key)) {
			(void)omap_cursor_next(&m->cursors[i]);
		}
	}
	if (base_peek(m, &rec) == 0 && span_eq(rec->key, key)) {
		m->base.pos++;
		m->base.seen++;
	}
}

/* 0 and the newest item of the smallest key; -NE_NOENT at the end; -NE_MISSING_KEY. */
static int merge_peek(struct range_merge *m, struct range_item *ret_item)
{
	const struct state_writes *w = &m->txn->st->writes;
	const struct kv_rec *rec;
	struct range_item item;
	struct omap_entry e;
	bool any = false;
	int err;

	if (m->order_pos < w->order_count) {
		const struct txn_op *op = &w->ops[w->order[m->order_pos]];

		item = (struct range_item){.key = span_of(op->key, op->key_len),
			.val = span_of(op->val, op->val_len),
			.del = op->del};
		item_consider(ret_item, &any, &item);
	}
	for (unsigned i = 0; i < m->tables; i++) {
		if (omap_cursor_get(&m->cursors[i], &e)) {
			item = (struct range_item){.key = e.key,
				.val = e.val,
				.tag = {.lsn = e.mark.tag[0], .session = e.mark.tag[1]},
				.del = e.mark.flags != 0};
			item_consider(ret_item, &any, &item);
		}
	}
	err = base_peek(m, &rec);
	if (err == 0) {
		item = (struct range_item){.key = rec->key, .val = rec->val};
		item_consider(ret_item, &any, &item);
	} else if (err == -NE_MISSING_KEY) {
		/* What lies before the unknown part is still known. */
		if (any && span_cmp(ret_item->key, span_of(m->base.at, m->base.at_len)) < 0) {
			err = 0;
		}
		return err;
	} else if (err != -NE_NOENT) {
		return err;
	}
	return any && !range_past(m, ret_item->key) ? 0 : -NE_NOENT;
}

static int merge_run(
	struct range_merge *m, const struct state_range *range, state_range_fn *fn, void *ctx)
{
	uint32_t delivered = 0;
	struct range_item item;
	int err = 0;

	while (delivered < range->max) {
		err = merge_peek(m, &item);
		if (err == -NE_MISSING_KEY) {
			return state_want_range(m->txn, span_of(m->base.at, m->base.at_len), m->to,
				(uint32_t)u64_max(range->max - delivered, m->base.seen));
		}
		if (err != 0) {
			return err == -NE_NOENT ? 0 : err;
		}
		merge_step(m, item.key);
		if (!item.del) {
			struct state_rec rec = {.key = item.key.ptr,
				.key_len = (uint32_t)item.key.len,
				.val = {.data = item.val.ptr,
					.len = (uint32_t)item.val.len,
					.tag = item.tag}};

			err = fn(ctx, &rec);
			if (err != 0) {
				return err < 0 ? err : 0;
			}
			delivered++;
		}
	}
	return 0;
}

int state_range(
	struct state_txn *txn, const struct state_range *range, state_range_fn *fn, void *ctx)
{
	struct range_merge m;
	int err;

	ASSERT(txn->active && !txn->ranging);
	ASSERT(range->from_len > 0 && range->from_len <= LIM_KV_KEY_MAX && range->max > 0);
	ASSERT(range->to_len <= LIM_KV_KEY_MAX);
	merge_init(&m, txn, range);
	if (range_past(&m, span_of(range->from, range->from_len))) {
		return 0;
	}
	txn->ranging = true;
	err = merge_run(&m, range, fn, ctx);
	txn->ranging = false;
	return err;
}
