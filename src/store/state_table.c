/*
 * Tables: what the log holds beyond the checkpoint, ordered. One is active; frozen ones are being
 * checkpointed and do not change any more.
 */
#include "store/state_int.h"

int state_table_new(struct state_table **ret_table)
{
	struct state_table *t = mem_zalloc(sizeof(*t));

	if (t == NULL) {
		return -NE_NOMEM;
	}
	omap_init(&t->map);
	*ret_table = t;
	return 0;
}

void state_table_free(struct state_table *t)
{
	if (t != NULL) {
		ASSERT(!list_linked(&t->link));
		omap_fini(&t->map);
		mem_free(t);
	}
}

bool state_tables_find(struct state *st, struct span key, struct omap_entry *ret_entry)
{
	if (omap_get(&st->active->map, key, ret_entry)) {
		return true;
	}
	for (struct list *it = st->frozen.prev; it != &st->frozen; it = it->prev) {
		if (omap_get(&list_entry(it, struct state_table, link)->map, key, ret_entry)) {
			return true;
		}
	}
	return false;
}

int state_table_apply(struct state_table *t, const struct state_op *op, struct state_tag tag)
{
	struct omap_mark mark = {.tag = {tag.lsn, tag.session}, .flags = op->del ? 1 : 0};

	ASSERT(t->last_lsn == 0 && tag.lsn != 0);
	return omap_put(&t->map, span_of(op->key, op->key_len),
		op->del ? span_of(NULL, 0) : span_of(op->val, op->val_len), mark);
}

uint64_t state_tables_bytes(const struct state *st)
{
	uint64_t bytes = st->active->map.size_bytes;

	LIST_FOREACH (it, &st->frozen) {
		bytes += list_entry(it, struct state_table, link)->map.size_bytes;
	}
	return bytes;
}
