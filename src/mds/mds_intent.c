/*
 * Intents: changes of objects that are logged with what caused them and carried out until an OST confirms (RULES A7).
 *
 * The state holds all of them by number; memory holds a bounded part. One fiber looks at new records and hands
 * them to their OST's queue; where a queue is full it remembers from where to read on. A fiber per OST that has work
 * sends batches when they are durable, for ever with growing pauses, and deletes what was confirmed. OSTs ignore
 * what they have done already, so nothing is lost or done twice when this MDT starts again.
 *
 * Pauses. An OST that does not answer has one for all its intents. One that answers with an error says something of
 * that object: its intent alone has the pause, and what follows for the same object stays behind it. Failed intents
 * keep their places in the queue, so it takes MDS_INTENTS_QUEUE_MAX / 2 of them to keep other destructions waiting.
 *
 * Invariants. A size intent is always in memory (truncates wait for it). A number that is held is not carried out.
 * Two intents for one object are never on the way at once, and go in the order of their numbers. At most one of an
 * object's intents has failed (intents.failed), and it is the first of them.
 */
#include "base/log.h"
#include "mds/mds_data.h"

#define ANSWER_NS (30 * NS_PER_S)
#define BACKOFF_MIN_NS (100 * NS_PER_MS)
#define BACKOFF_MAX_NS (10 * NS_PER_S)
/* Destruction is in no hurry: the log is synced soon anyway. */
#define LAZY_NS (20 * NS_PER_MS)

/* ---- logging ---- */

int mds_intent_log(struct mds_op *op, const struct d_mds_intent *intent, uint64_t *ret_number)
{
	struct d_mds_globals *globals = NULL;
	struct mds_key key;
	int r = mds_globals_get(op, &globals);

	if (r < 0) {
		return r;
	}
	key = mds_key_intent(globals->intent_next);
	if (op->data.intent_first == 0) {
		op->data.intent_first = globals->intent_next;
	}
	if (ret_number != NULL) {
		*ret_number = globals->intent_next;
	}
	globals->intent_next++;
	mds_globals_dirty(op);
	return mds_kv_put_record(op, &key, &d_mds_intent_codec, intent);
}

int mds_intents_destroy(struct mds_op *op, const struct mds_inode *inode)
{
	const struct w_layout *l = &op->layout;
	int r = 0;

	ASSERT(mds_instantiated(inode));
	for (uint32_t i = 0; i < l->osts.count && r == 0; i++) {
		struct d_mds_intent intent = {
			.kind = W_OST_CHANGE_KIND_DESTROY,
			.file_fid = inode->fid,
			.data_fid = l->data_fid,
			.layout_gen = l->gen,
			.ost = l->osts.items[i],
			.stripe = i,
		};

		r = mds_intent_log(op, &intent, NULL);
	}
	return r;
}

/* ---- memory ---- */

static void from_lower(uint64_t *from, uint64_t number)
{
	*from = u64_min(*from, number);
}

void mds_intents_fresh(struct mds_data *data, uint64_t first)
{
	ASSERT(first > 0);
	from_lower(&data->intents.fresh_from, first);
	env_wake_all(data->mds->env, &data->intents.wake);
}

void mds_intents_retry(struct mds_data *data)
{
	struct mds_intents *in = &data->intents;

	from_lower(&in->fresh_from, in->later_from);
	in->later_from = UINT64_MAX;
	env_wake_all(data->mds->env, &in->wake);
}

bool mds_intent_holdable(const struct mds_data *data)
{
	/* Others may be between their plan and its commit, which is the same moment: no margin is needed. */
	return data->intents.held_count < MDS_HELD_MAX;
}

void mds_intent_hold(struct mds_data *data, uint64_t number)
{
	struct mds_intents *in = &data->intents;

	ASSERT(in->held_count < MDS_HELD_MAX);
	in->held[in->held_count++] = number;
}

static bool is_held(const struct mds_intents *in, uint64_t number)
{
	for (unsigned i = 0; i < in->held_count; i++) {
		if (in->held[i] == number) {
			return true;
		}
	}
	return false;
}

void mds_intent_unhold(struct mds_data *data, uint64_t number, bool execute)
{
	struct mds_intents *in = &data->intents;

	for (unsigned i = 0; i < in->held_count; i++) {
		if (in->held[i] == number) {
			in->held[i] = in->held[--in->held_count];
			break;
		}
	}
	if (execute) {
		mds_intents_fresh(data, number);
	}
}

static struct mds_intent *loaded_find(const struct mds_intents *in, uint64_t number)
{
	for (struct hmap_node *it = hmap_find(&in->loaded, hash_mix(number)); it != NULL;
		it = hmap_find_next(it)) {
		struct mds_intent *i = container_of(it, struct mds_intent, node);

		if (i->number == number) {
			return i;
		}
	}
	return NULL;
}

static bool same_object(const struct d_mds_intent *a, const struct d_mds_intent *b)
{
	return a->stripe == b->stripe && fid_eq(a->data_fid, b->data_fid);
}

static uint64_t object_hash(const struct d_mds_intent *d)
{
	return hash_mix2(fid_hash(d->data_fid), d->stripe);
}

/* The intent for the same object that the OST refused; NULL none. */
static struct mds_intent *failed_find(const struct mds_intents *in, const struct d_mds_intent *d)
{
	for (struct hmap_node *it = hmap_find(&in->failed, object_hash(d)); it != NULL;
		it = hmap_find_next(it)) {
		struct mds_intent *i = container_of(it, struct mds_intent, failed_node);

		if (same_object(&i->d, d)) {
			return i;
		}
	}
	return NULL;
}

static uint64_t backoff_next(uint64_t backoff_ns)
{
	return u64_min(u64_max(backoff_ns * 2, BACKOFF_MIN_NS), BACKOFF_MAX_NS);
}

static void intent_failed(struct mds_data *data, struct mds_intent *i)
{
	if (i->backoff_ns == 0) {
		ASSERT(failed_find(&data->intents, &i->d) == NULL);
		hmap_insert(&data->intents.failed, &i->failed_node, object_hash(&i->d));
	}
	i->backoff_ns = backoff_next(i->backoff_ns);
	i->not_before_ns = env_now(data->mds->env) + i->backoff_ns;
}

/* ---- reading records ---- */

struct scan {
	uint64_t from;
	unsigned count;
	struct mds_intent found[MDS_SCAN_BATCH];
};

static int scan_one(void *arg, const struct state_rec *rec)
{
	struct scan *s = arg;
	struct mds_intent *i = &s->found[s->count];

	ASSERT(s->count < MDS_SCAN_BATCH);
	if (rec->key_len != 9 || d_mds_intent_decode(&i->d, rec->val.data, rec->val.len) < 0) {
		return -NE_CORRUPT;
	}
	i->number = be64_load((const uint8_t *)rec->key + 1);
	i->lsn = rec->val.tag.lsn;
	s->count++;
	return 0;
}

static int scan_execute(struct mds_op *op, void *arg)
{
	struct scan *s = arg;
	struct mds_key from = mds_key_intent(s->from);
	struct mds_key to = mds_key_kind(MDS_KEY_INTENT + 1);

	s->count = 0;
	return mds_kv_range(op, &from, &to, MDS_SCAN_BATCH, scan_one, s);
}

static int load(struct mds_data *data, struct mds_ost *ost, const struct mds_intent *record)
{
	struct mds_intent *i = mem_zalloc(sizeof(*i));

	if (i == NULL) {
		return -NE_NOMEM;
	}
	i->number = record->number;
	i->lsn = record->lsn;
	i->d = record->d;
	hmap_insert(&data->intents.loaded, &i->node, hash_mix(i->number));
	list_push_back(&ost->queue, &i->link);
	ost->queued++;
	ost->ready_ns = 0;
	return 0;
}

static int take(struct mds_data *data, const struct mds_intent *record)
{
	struct mds_intents *in = &data->intents;
	struct mds_ost *ost = mds_ost_find(data, record->d.ost);
	bool size = record->d.kind == W_OST_CHANGE_KIND_SET_SIZE;

	if (loaded_find(in, record->number) != NULL || is_held(in, record->number)) {
		return 0;
	}
	if (ost == NULL || (data->window && !size)) {
		from_lower(&in->later_from, record->number);
		return 0;
	}
	if (ost->queued < MDS_INTENTS_QUEUE_MAX || size) {
		return load(data, ost, record);
	}
	if (!ost->behind) {
		ost->behind = true;
		ost->behind_from = record->number;
	}
	return 0;
}

/* Looks at everything from fresh_from on. */
static int scan_fresh(struct mds_data *data, struct scan *s)
{
	struct mds_intents *in = &data->intents;
	int r = 0;

	s->from = in->fresh_from;
	in->fresh_from = UINT64_MAX;
	in->scanning = true;
	while (!data->stopping) {
		r = mds_data_run(data->mds, STATE_READ, scan_execute, NULL, s, NULL);
		for (unsigned i = 0; r == 0 && i < s->count; i++) {
			r = take(data, &s->found[i]);
		}
		if (r < 0 || s->count < MDS_SCAN_BATCH) {
			break;
		}
		s->from = s->found[s->count - 1].number + 1;
	}
	in->scanning = false;
	if (r < 0) {
		from_lower(&in->fresh_from, s->from);
	}
	return r;
}

/* ---- sending ---- */

struct sent {
	struct mds_intent *intent;
	struct w_ost_change_req req;
	struct w_ost_change_rep rep;
	struct rpc_call call;
	int result;
};

struct batch {
	struct mds_data *data;
	struct mds_ost *ost;
	unsigned count;
	struct sent sent[MDS_INTENTS_BATCH];
};

static bool in_batch(const struct batch *b, const struct d_mds_intent *d)
{
	for (unsigned k = 0; k < b->count; k++) {
		if (same_object(&b->sent[k].intent->d, d)) {
			return true;
		}
	}
	return false;
}

/* None is ready: ost->ready_ns says when one will be. */
static void batch_fill(struct batch *b)
{
	struct mds_ost *ost = b->ost;
	uint64_t now = env_now(b->data->mds->env);
	uint64_t ready = ENV_FOREVER;

	b->count = 0;
	LIST_FOREACH (it, &ost->queue) {
		struct mds_intent *i = list_entry(it, struct mds_intent, link);
		const struct mds_intent *failed = failed_find(&b->data->intents, &i->d);

		if (failed != NULL && (failed != i || i->not_before_ns > now)) {
			ready = u64_min(ready, failed->not_before_ns);
			continue;
		}
		/* What follows may be for the same object again: the order is kept. */
		if (in_batch(b, &i->d)) {
			break;
		}
		b->sent[b->count++].intent = i;
		if (b->count == MDS_INTENTS_BATCH) {
			break;
		}
	}
	ost->ready_ns = b->count > 0 ? 0 : ready;
}

static void batch_durable(struct batch *b)
{
	struct state *st = b->data->mds->st;
	uint64_t lsn = 0;
	bool lazy = true;

	for (unsigned i = 0; i < b->count; i++) {
		const struct mds_intent *intent = b->sent[i].intent;

		lsn = u64_max(lsn, intent->lsn);
		lazy &= intent->d.kind == W_OST_CHANGE_KIND_DESTROY;
	}
	if (lazy && state_committed_lsn(st) < lsn) {
		mds_data_pause(b->data, &b->data->stop_wake, env_now(b->data->mds->env) + LAZY_NS);
	}
	state_wait_durable(st, lsn);
}

static void sent_start(struct batch *b, struct sent *s)
{
	const struct d_mds_intent *d = &s->intent->d;

	s->req = (struct w_ost_change_req){
		.kind = d->kind,
		.mdt = b->data->mds->opts.index,
		.number = s->intent->number,
		.object = {.data_fid = d->data_fid,
			.stripe = d->stripe,
			.layout_gen = d->layout_gen,
			.file_fid = d->file_fid},
		.size = d->size,
		.uid = d->uid,
		.gid = d->gid,
		.projid = d->projid,
	};
	memset(&s->rep, 0, sizeof(s->rep));
	s->call = (struct rpc_call){
		.op = W_OP_OST_CHANGE,
		/* The number makes it harmless. */
		.flags = RPC_CALL_REPEATABLE,
		.request = &s->req,
		.reply = &s->rep,
		.deadline_ns = env_now(b->data->mds->env) + ANSWER_NS,
	};
	rpc_call_start(b->ost->session, &s->call);
}

static void sent_finish(struct batch *b, struct sent *s)
{
	struct mds_intent *intent = s->intent;

	s->result = rpc_call_wait(&s->call);
	rpc_call_fini(&s->call);
	/* The object was destroyed before it could be sized: so be it. */
	if (s->result == -NE_STALE && intent->d.kind == W_OST_CHANGE_KIND_SET_SIZE) {
		s->result = 0;
	}
	if (s->result == 0 && !intent->done) {
		intent->done = true;
		b->data->poll_stale = true; /* it may have space again */
		if (intent->d.kind == W_OST_CHANGE_KIND_SET_SIZE) {
			mds_file_sized(b->data, intent->d.file_fid);
		}
	}
	if (s->result < 0 && s->result != -NE_INTR && s->result != -NE_TIMEDOUT &&
		s->result != intent->error) {
		log_warn(MDS_LOG, "intent %llu not done ost=%s error=%s",
			(unsigned long long)intent->number, b->ost->name, ne_name(s->result));
	}
	intent->error = s->result;
}

/* Is it the OST (or the way to it) that failed? Else it answered, and this object is the matter. */
static bool is_unreachable(int result)
{
	switch (result) {
	case -NE_TIMEDOUT:
	case -NE_CONNLOST:
	case -NE_TARGET_DOWN:
	case -NE_SHUTDOWN:
	case -NE_CANCELED:
	case -NE_FENCED:
	case -NE_INTR:
	case -NE_NOMEM:
		return true;
	default:
		return false;
	}
}

static int delete_execute(struct mds_op *op, void *arg)
{
	const struct batch *b = arg;
	int r = 0;

	for (unsigned i = 0; i < b->count && r == 0; i++) {
		struct mds_key key = mds_key_intent(b->sent[i].intent->number);

		if (b->sent[i].intent->done) {
			r = mds_kv_del(op, &key);
		}
	}
	return r;
}

static void intent_free(struct mds_data *data, struct mds_intent *i)
{
	if (i->backoff_ns != 0) {
		hmap_remove(&data->intents.failed, &i->failed_node);
	}
	hmap_remove(&data->intents.loaded, &i->node);
	list_del(&i->link);
	mem_free(i);
}

static void delete_committed(struct mds_op *op, int status)
{
	struct batch *b = mds_data_run_ctx(op);

	for (unsigned i = 0; status == 0 && i < b->count; i++) {
		struct mds_intent *intent = b->sent[i].intent;

		if (intent->done) {
			ASSERT(b->ost->queued > 0);
			b->ost->queued--;
			intent_free(b->data, intent);
			b->sent[i].intent = NULL;
		}
	}
}

/* True if the OST answered and what it did is noted. */
static bool batch_send(struct batch *b)
{
	bool answered = true;
	int r;

	batch_durable(b);
	for (unsigned i = 0; i < b->count; i++) {
		sent_start(b, &b->sent[i]);
	}
	for (unsigned i = 0; i < b->count; i++) {
		sent_finish(b, &b->sent[i]);
		if (is_unreachable(b->sent[i].result)) {
			answered = false;
		} else if (b->sent[i].result < 0) {
			intent_failed(b->data, b->sent[i].intent);
		}
	}
	r = mds_data_run(b->data->mds, STATE_RELEASE, delete_execute, delete_committed, b, NULL);
	return answered && r == 0;
}

static void serve_fiber(struct mds_data *data, void *arg)
{
	struct batch *b = arg;
	struct mds_ost *ost = b->ost;
	struct env *env = data->mds->env;

	ASSERT(ost->serving);
	while (!data->stopping && !list_empty(&ost->queue)) {
		batch_fill(b);
		if (b->count == 0) {
			break;
		}
		if (batch_send(b)) {
			ost->backoff_ns = 0;
		} else {
			ost->backoff_ns = backoff_next(ost->backoff_ns);
			ost->not_before_ns = env_now(env) + ost->backoff_ns;
			break;
		}
	}
	ost->serving = false;
	data->intents.fibers--;
	env_wake_all(env, &data->intents.wake);
	mem_free(b);
}

static bool serve_spawn(struct mds_data *data, struct mds_ost *ost)
{
	struct batch *b = mem_zalloc(sizeof(*b));

	if (b == NULL) {
		return false;
	}
	b->data = data;
	b->ost = ost;
	if (mds_data_spawn(data, "mds-intent", serve_fiber, b) < 0) {
		mem_free(b);
		return false;
	}
	ost->serving = true;
	data->intents.fibers++;
	return true;
}

/* Starts what can be; returns when to look again. */
static uint64_t serve_all(struct mds_data *data)
{
	struct mds_intents *in = &data->intents;
	uint64_t now = env_now(data->mds->env);
	uint64_t next = ENV_FOREVER;

	for (uint32_t i = 0; i < LIM_OST_MAX; i++) {
		struct mds_ost *ost = data->osts[i];
		uint64_t ready;

		if (ost == NULL || ost->serving || ost->session == NULL) {
			continue;
		}
		if (ost->behind && ost->queued < MDS_INTENTS_QUEUE_MAX / 2) {
			ost->behind = false;
			from_lower(&in->fresh_from, ost->behind_from);
			next = now;
		}
		if (list_empty(&ost->queue)) {
			continue;
		}
		ready = u64_max(ost->not_before_ns, ost->ready_ns);
		if (ready > now) {
			next = u64_min(next, ready);
		} else if (in->fibers < MDS_INTENT_FIBERS_MAX && !serve_spawn(data, ost)) {
			next = u64_min(next, now + BACKOFF_MIN_NS);
		}
	}
	return next;
}

static void intents_fiber(struct mds_data *data, void *arg)
{
	struct mds_intents *in = &data->intents;
	struct scan *s = arg;

	while (!data->stopping) {
		uint64_t next = 0;

		if (in->fresh_from != UINT64_MAX && scan_fresh(data, s) < 0) {
			mds_data_pause(
				data, &data->stop_wake, env_now(data->mds->env) + BACKOFF_MIN_NS);
		}
		next = serve_all(data);
		if (in->fresh_from == UINT64_MAX) {
			mds_data_pause(data, &in->wake, next);
		}
	}
	mem_free(s);
}

/* ---- start and stop ---- */

/* A truncate that was on its way when this MDT stopped: its file waits until the OSTs have answered. */
static int start_count(struct mds_data *data, const struct mds_intent *record)
{
	struct mds_file *file;
	int r;

	if (record->d.kind != W_OST_CHANGE_KIND_SET_SIZE) {
		return 0;
	}
	r = mds_files_reserve(data);
	if (r == 0) {
		file = mds_file_ref(data, record->d.file_fid);
		file->intents_left++;
		mds_file_unref(data, file);
	}
	return r;
}

int mds_intents_start(struct mds_data *data)
{
	struct scan *s = mem_zalloc(sizeof(*s));
	int r = s == NULL ? -NE_NOMEM : 0;

	while (r == 0) {
		r = mds_data_run(data->mds, STATE_READ, scan_execute, NULL, s, NULL);
		for (unsigned i = 0; r == 0 && i < s->count; i++) {
			r = start_count(data, &s->found[i]);
		}
		if (r < 0 || s->count < MDS_SCAN_BATCH) {
			break;
		}
		s->from = s->found[s->count - 1].number + 1;
	}
	data->intents.fresh_from = 0;
	if (r == 0) {
		r = mds_data_spawn(data, "mds-intents", intents_fiber, s);
	}
	if (r < 0) {
		mem_free(s);
	}
	return r;
}

void mds_intents_stop(struct mds_data *data)
{
	struct hmap_node *it;

	ASSERT(data->intents.fibers == 0);
	while ((it = hmap_first(&data->intents.loaded)) != NULL) {
		/* Their OSTs, and with them the queues' heads, are gone. */
		struct mds_intent *i = container_of(it, struct mds_intent, node);

		if (i->backoff_ns != 0) {
			hmap_remove(&data->intents.failed, &i->failed_node);
		}
		hmap_remove(&data->intents.loaded, it);
		mem_free(i);
	}
	hmap_fini(&data->intents.loaded);
	hmap_fini(&data->intents.failed);
}
