/*
 * The writes of the open transaction: the log record's payload as it grows, and an index over it.
 *
 * The payload buffer has its final size from the start, so views into it stay. A key written twice is in
 * the payload twice, in order; the index holds the last, and replay applies them in order.
 */
#include "store/state_int.h"

#define WRITES_OPS_FIRST 64

int state_writes_init(struct state_writes *w, uint32_t payload_max)
{
	ASSERT(payload_max > STATE_COMMIT_HEADER);
	w->buf = mem_alloc(payload_max);
	w->ops = mem_zalloc_array(WRITES_OPS_FIRST, sizeof(*w->ops));
	w->order = mem_zalloc_array(WRITES_OPS_FIRST, sizeof(*w->order));
	w->cap = payload_max;
	w->ops_cap = WRITES_OPS_FIRST;
	state_writes_reset(w);
	if (w->buf == NULL || w->ops == NULL || w->order == NULL) {
		state_writes_fini(w);
		return -NE_NOMEM;
	}
	return 0;
}

void state_writes_fini(struct state_writes *w)
{
	mem_free(TAKE_PTR(w->buf));
	mem_free(TAKE_PTR(w->ops));
	mem_free(TAKE_PTR(w->order));
}

void state_writes_reset(struct state_writes *w)
{
	w->len = STATE_COMMIT_HEADER;
	w->op_count = 0;
	w->order_count = 0;
}

uint32_t state_writes_seek(const struct state_writes *w, struct span key)
{
	uint32_t lo = 0, hi = w->order_count;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;
		const struct txn_op *op = &w->ops[w->order[mid]];

		if (span_cmp(span_of(op->key, op->key_len), key) < 0) {
			lo = mid + 1;
		} else {
			hi = mid;
		}
	}
	return lo;
}

const struct txn_op *state_writes_find(const struct state_writes *w, struct span key)
{
	uint32_t i = state_writes_seek(w, key);
	const struct txn_op *op;

	if (i == w->order_count) {
		return NULL;
	}
	op = &w->ops[w->order[i]];
	return span_eq(span_of(op->key, op->key_len), key) ? op : NULL;
}

static int writes_grow(struct state_writes *w)
{
	uint32_t cap = w->ops_cap * 2;
	struct txn_op *ops;
	uint32_t *order;

	if (w->op_count < w->ops_cap) {
		return 0;
	}
	ops = mem_realloc(w->ops, cap * sizeof(*ops));
	if (ops == NULL) {
		return -NE_NOMEM;
	}
	w->ops = ops;
	order = mem_realloc(w->order, cap * sizeof(*order));
	if (order == NULL) {
		return -NE_NOMEM;
	}
	w->order = order;
	w->ops_cap = cap;
	return 0;
}

/* Puts op number n into the index, over an earlier one on the same key. */
static void writes_index(struct state_writes *w, uint32_t n)
{
	struct span key = span_of(w->ops[n].key, w->ops[n].key_len);
	uint32_t i = state_writes_seek(w, key);

	if (i < w->order_count) {
		const struct txn_op *at = &w->ops[w->order[i]];

		if (span_eq(span_of(at->key, at->key_len), key)) {
			w->order[i] = n;
			return;
		}
		memmove(&w->order[i + 1], &w->order[i], (w->order_count - i) * sizeof(*w->order));
	}
	w->order[i] = n;
	w->order_count++;
}

int state_writes_add(struct state_writes *w, const struct state_op *op)
{
	uint32_t need = STATE_OP_HEADER + op->key_len + op->val_len;
	uint8_t *p = w->buf + w->len;
	int err;

	ASSERT(op->key_len > 0 && op->key_len <= LIM_KV_KEY_MAX);
	ASSERT(op->val_len <= LIM_KV_VALUE_MAX && (!op->del || op->val_len == 0));
	if (w->len + need > w->cap) {
		return -NE_TOOBIG;
	}
	err = writes_grow(w);
	if (err != 0) {
		return err;
	}
	p[0] = op->del;
	p[1] = (uint8_t)op->key_len;
	le16_store(p + 2, (uint16_t)op->val_len);
	bytes_copy(p + STATE_OP_HEADER, op->key, op->key_len);
	bytes_copy(p + STATE_OP_HEADER + op->key_len, op->val, op->val_len);
	w->ops[w->op_count] = (struct txn_op){.key = p + STATE_OP_HEADER,
		.val = p + STATE_OP_HEADER + op->key_len,
		.key_len = (uint16_t)op->key_len,
		.val_len = (uint16_t)op->val_len,
		.del = op->del};
	w->len += need;
	writes_index(w, w->op_count++);
	return 0;
}

void state_writes_seal(struct state_writes *w, uint64_t session)
{
	ASSERT(w->op_count > 0);
	le64_store(w->buf, session);
	le32_store(w->buf + 8, w->op_count);
}

int state_commit_decode(
	const void *payload, uint32_t len, uint64_t *ret_session, state_op_fn *fn, void *ctx)
{
	const uint8_t *p = payload;
	const uint8_t *end = p + len;
	uint32_t count;

	if (len < STATE_COMMIT_HEADER) {
		return -NE_CORRUPT;
	}
	*ret_session = le64_load(p);
	count = le32_load(p + 8);
	p += STATE_COMMIT_HEADER;
	for (uint32_t i = 0; i < count; i++) {
		struct state_op op;
		int err;

		if (end - p < STATE_OP_HEADER) {
			return -NE_CORRUPT;
		}
		op = (struct state_op){.del = p[0] != 0,
			.key = p + STATE_OP_HEADER,
			.key_len = p[1],
			.val = p + STATE_OP_HEADER + p[1],
			.val_len = le16_load(p + 2)};
		if (p[0] > 1 || op.key_len == 0 || op.val_len > LIM_KV_VALUE_MAX ||
			end - p < (ptrdiff_t)(STATE_OP_HEADER + op.key_len + op.val_len)) {
			return -NE_CORRUPT;
		}
		p += STATE_OP_HEADER + op.key_len + op.val_len;
		err = fn(ctx, &op);
		if (err != 0) {
			return err;
		}
	}
	return p == end ? 0 : -NE_CORRUPT;
}
