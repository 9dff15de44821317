/*
 * GETATTR and COMMIT of many objects: one request per OST and 64 objects, all OSTs at the same time.
 *
 * Stripes are sorted by OST, cut into batches, and batches run CLIENT_QUERY_CALLS at a time. Every batch
 * that was started is waited for; the first failure is the result.
 */
#include <stdlib.h>

#include "client/client_int.h"

/* A stripe of some OST, for sorting. */
struct query_item {
	uint32_t ost;
	uint32_t stripe;
};

struct query_batch {
	struct client_target *ost;
	const struct query_item *items;
	uint32_t count;
	bool started;
	struct rpc_call call;
	union {
		struct w_ost_getattr_rep getattr;
		struct w_ost_commit_rep commit;
	} rep;
};

static int item_order(const void *a, const void *b)
{
	const struct query_item *x = a;
	const struct query_item *y = b;

	if (x->ost != y->ost) {
		return x->ost < y->ost ? -1 : 1;
	}
	return x->stripe < y->stripe ? -1 : x->stripe > y->stripe;
}

static struct w_object_ref ref_of(const struct client_query *q, uint32_t stripe)
{
	return (struct w_object_ref){.data_fid = q->layout->data_fid,
		.stripe = stripe,
		.layout_gen = q->layout->gen,
		.file_fid = q->file};
}

static void getattr_start(const struct client_query *q, struct query_batch *b)
{
	struct w_object_ref *refs = mem_zalloc_array(b->count, sizeof(*refs));
	struct w_ost_getattr_req req = {.objects = {.items = refs, .count = b->count}};

	if (refs == NULL) {
		b->call.status = -NE_NOMEM;
		return;
	}
	for (uint32_t i = 0; i < b->count; i++) {
		refs[i] = ref_of(q, b->items[i].stripe);
	}
	b->call.op = W_OP_OST_GETATTR;
	b->call.request = &req;
	b->call.reply = &b->rep.getattr;
	b->started = true;
	rpc_call_start(b->ost->session, &b->call);
	mem_free(refs);
}

static void commit_start(const struct client_query *q, struct query_batch *b)
{
	struct w_commit_item *items = mem_zalloc_array(b->count, sizeof(*items));
	struct w_ost_commit_req req = {.items = {.items = items, .count = b->count}};

	if (items == NULL) {
		b->call.status = -NE_NOMEM;
		return;
	}
	for (uint32_t i = 0; i < b->count; i++) {
		items[i].object = ref_of(q, b->items[i].stripe);
	}
	b->call.op = W_OP_OST_COMMIT;
	b->call.request = &req;
	b->call.reply = &b->rep.commit;
	b->started = true;
	rpc_call_start(b->ost->session, &b->call);
	mem_free(items);
}

static int batch_finish(const struct client_query *q, struct query_batch *b)
{
	uint32_t want = b->count;
	struct client_object o = {.ost = b->ost};
	struct wire_iter it;
	uint32_t n = 0;
	int err = b->started ? rpc_call_wait(&b->call) : b->call.status;

	if (err == 0) {
		const struct wire_view *view =
			q->commit ? &b->rep.commit.attrs.view : &b->rep.getattr.attrs.view;

		it = w_object_attr_iter(view);
		o.verifier = q->commit ? b->rep.commit.verifier : 0;
		while (n < want && w_object_attr_next(&it, &o.attr)) {
			o.stripe = b->items[n++].stripe;
			q->fn(q->ctx, &o);
		}
		err = n == want ? 0 : -NE_BADMSG;
	}
	rpc_call_fini(&b->call);
	return err;
}

/* Cuts the next batch off the items. */
static int batch_make(const struct client_query *q, const struct query_item **items, uint32_t *left,
	struct query_batch *b)
{
	uint32_t n = 0;
	int err;

	*b = (struct query_batch){.items = *items};
	while (n < *left && n < CLIENT_QUERY_OBJECTS && (*items)[n].ost == (*items)[0].ost) {
		n++;
	}
	b->count = n;
	*items += n;
	*left -= n;
	err = client_ost_get(q->c, b->items[0].ost, &b->ost);
	if (err != 0) {
		b->call.status = err;
		return err;
	}
	q->c->counters.rpcs++;
	b->call.deadline_ns = q->deadline_ns != 0 ? q->deadline_ns : client_deadline(q->c);
	return 0;
}

static int query_items(const struct client_query *q, const struct query_item *items, uint32_t left)
{
	_cleanup_(free_ptr) struct query_batch *batches =
		mem_zalloc_array(CLIENT_QUERY_CALLS, sizeof(*batches));
	int err = batches == NULL ? -NE_NOMEM : 0;

	while (err == 0 && left > 0) {
		uint32_t n = 0;

		while (left > 0 && n < CLIENT_QUERY_CALLS && err == 0) {
			err = batch_make(q, &items, &left, &batches[n]);
			if (err == 0 && q->commit) {
				commit_start(q, &batches[n++]);
			} else if (err == 0) {
				getattr_start(q, &batches[n++]);
			}
		}
		for (uint32_t i = 0; i < n; i++) {
			int rc = batch_finish(q, &batches[i]);

			err = err != 0 ? err : rc;
		}
	}
	return err;
}

int client_query_run(const struct client_query *q)
{
	uint32_t count = q->layout->geom.stripe_count;
	_cleanup_(free_ptr) struct query_item *items = mem_zalloc_array(count, sizeof(*items));
	uint32_t n = 0;

	ASSERT(q->fn != NULL && count > 0);
	if (items == NULL) {
		return -NE_NOMEM;
	}
	for (uint32_t i = 0; i < count; i++) {
		if (q->want == NULL || (q->want[i / 8] >> (i % 8) & 1) != 0) {
			items[n++] = (struct query_item){.ost = q->layout->osts[i], .stripe = i};
		}
	}
	qsort(items, n, sizeof(*items), item_order);
	return query_items(q, items, n);
}
