/*
 * Transactions: one is open at a time, between two yields. Reads go down the chain of state_int.h; a
 * commit is one log record and the same effects on the active table.
 */
#include "base/log.h"
#include "store/state_int.h"

void state_txn_init(struct state *st, const struct state_run_opts *opts, struct state_txn *txn)
{
	*txn = (struct state_txn){.st = st, .kind = opts->kind, .session = opts->session};
}

void state_txn_fini(struct state_txn *txn)
{
	ASSERT(!txn->active);
	state_wants_clear(txn);
	state_fetches_drop(txn);
	mem_free(TAKE_PTR(txn->wants));
	mem_free(TAKE_PTR(txn->fetches));
}

void state_txn_begin(struct state_txn *txn)
{
	ASSERT(txn->st->txn == NULL && !txn->active);
	ASSERT(txn->want_count == 0);
	txn->st->txn = txn;
	txn->active = true;
	state_writes_reset(&txn->st->writes);
}

static void txn_end(struct state_txn *txn)
{
	ASSERT(txn->active && txn->st->txn == txn && !txn->ranging);
	txn->active = false;
	txn->st->txn = NULL;
}

void state_txn_abort(struct state_txn *txn)
{
	txn_end(txn);
}

/* From the transaction and the tables; -NE_MISSING_KEY: they do not know the key. */
static int get_changed(struct state_txn *txn, struct span k, struct state_val *ret_val)
{
	const struct txn_op *op = state_writes_find(&txn->st->writes, k);
	struct omap_entry e;

	if (op != NULL) {
		if (!op->del) {
			*ret_val = (struct state_val){.data = op->val, .len = op->val_len};
		}
		return op->del ? -NE_NOENT : 0;
	}
	if (!state_tables_find(txn->st, k, &e)) {
		return -NE_MISSING_KEY;
	}
	if (e.mark.flags != 0) {
		return -NE_NOENT;
	}
	*ret_val = (struct state_val){.data = e.val.ptr,
		.len = (uint32_t)e.val.len,
		.tag = {.lsn = e.mark.tag[0], .session = e.mark.tag[1]}};
	return 0;
}

int state_get_new(
	struct state_txn *txn, const void *key, uint32_t key_len, struct state_val *ret_val)
{
	int err;

	ASSERT(txn->active && key_len > 0 && key_len <= LIM_KV_KEY_MAX);
	err = get_changed(txn, span_of(key, key_len), ret_val);
	return err == -NE_MISSING_KEY ? -NE_NOENT : err;
}

int state_get(struct state_txn *txn, const void *key, uint32_t key_len, struct state_val *ret_val)
{
	struct state *st = txn->st;
	struct span k = span_of(key, key_len);
	struct span val;
	int err;

	ASSERT(txn->active && key_len > 0 && key_len <= LIM_KV_KEY_MAX);
	err = get_changed(txn, k, ret_val);
	if (err != -NE_MISSING_KEY) {
		return err;
	}
	err = state_cache_get(&st->cache, k, &val);
	if (err == -NE_MISSING_KEY) {
		err = state_fetched_get(txn, k, &val);
	}
	if (err == -NE_MISSING_KEY) {
		return state_want_key(txn, k);
	}
	if (err == 0) {
		*ret_val = (struct state_val){.data = val.ptr, .len = (uint32_t)val.len};
	}
	return err;
}

void state_get_tag(
	struct state_txn *txn, const void *key, uint32_t key_len, struct state_tag *ret_tag)
{
	struct omap_entry e;

	ASSERT(txn->active && key_len > 0 && key_len <= LIM_KV_KEY_MAX);
	*ret_tag = (struct state_tag){0};
	if (state_tables_find(txn->st, span_of(key, key_len), &e)) {
		*ret_tag = (struct state_tag){.lsn = e.mark.tag[0], .session = e.mark.tag[1]};
	}
}

static int txn_write(struct state_txn *txn, const struct state_op *op)
{
	ASSERT(txn->active && !txn->ranging && txn->kind != STATE_READ);
	return state_writes_add(&txn->st->writes, op);
}

int state_put(
	struct state_txn *txn, const void *key, uint32_t key_len, const void *val, uint32_t val_len)
{
	struct state_op op = {.key = key, .key_len = key_len, .val = val, .val_len = val_len};

	return txn_write(txn, &op);
}

int state_del(struct state_txn *txn, const void *key, uint32_t key_len)
{
	struct state_op op = {.del = true, .key = key, .key_len = key_len};

	return txn_write(txn, &op);
}

void state_txn_commit(struct state_txn *txn, uint64_t *ret_lsn)
{
	struct state *st = txn->st;
	struct state_writes *w = &st->writes;
	struct iovec iov = {.iov_base = w->buf, .iov_len = w->len};
	struct state_tag tag = {.session = txn->session};
	int err = 0;

	ASSERT(txn->want_count == 0);
	if (w->op_count > 0) {
		state_writes_seal(w, txn->session);
		err = wal_append(st->wal, WAL_COMMIT, &iov, 1, &tag.lsn);
	}
	for (uint32_t i = 0; i < w->order_count && err == 0; i++) {
		const struct txn_op *t = &w->ops[w->order[i]];
		struct state_op op = {.del = t->del,
			.key = t->key,
			.key_len = t->key_len,
			.val = t->val,
			.val_len = t->val_len};

		err = state_table_apply(st->active, &op, tag);
	}
	if (err != 0) {
		log_error("store", "commit failed dir=%s error=%s", st->dir, ne_name(err));
		env_die(st->env, "no memory for a commit");
	}
	txn_end(txn);
	st->stats.commits += w->op_count > 0;
	if (txn->kind == STATE_RELEASE && tag.lsn != 0) {
		st->last_release = tag.lsn;
	}
	if (state_ckpt_due(st)) {
		env_wake_all(st->env, &st->ckpt_q);
	}
	if (ret_lsn != NULL) {
		*ret_lsn = tag.lsn;
	}
}

int state_run(struct state *st, state_exec_fn *fn, void *ctx, const struct state_run_opts *opts,
	uint64_t *ret_lsn)
{
	_cleanup_(state_txn_fini) struct state_txn txn;
	int err;

	state_txn_init(st, opts, &txn);
	for (;;) {
		if (!state_admit_now(st, opts->kind)) {
			/* What waits for a checkpoint must hold no view: the checkpoint waits for views. */
			state_fetches_drop(&txn);
			err = state_admit(st, opts->kind);
			if (err != 0) {
				return err;
			}
		}
		state_txn_begin(&txn);
		err = fn(&txn, ctx);
		ASSERT(err <= 0 && txn.active);
		if (err == 0) {
			state_txn_commit(&txn, ret_lsn);
			return 0;
		}
		state_txn_abort(&txn);
		if (err != -NE_MISSING_KEY) {
			return err;
		}
		err = state_prefetch(&txn);
		if (err != 0) {
			return err;
		}
	}
}
