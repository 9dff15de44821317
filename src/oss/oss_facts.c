/*
 * What an OST remembers beyond the objects: tombstones, raised layout generations, fences.
 *
 * All of it is in memory, loaded before the first request is served (RULES D2), and durable in the state
 * store under the keys
 *   't' data FID (seq8 oid4 ver4, big-endian) stripe4   d_ost_tombstone
 *   'g' data FID                                        d_ost_generation
 *   'f' client uuid, key id                             d_ost_fence
 * At start the files of each tombstone are removed again, should a power failure have brought them back. Tombstones
 * older than OSS_TOMBSTONE_NS are dropped, some with each new one, and at start (their files' removal durable
 * first): no request made under the old layout lives that long.
 */
#include "oss/oss_int.h"

#define STRIPE_ALL UINT32_MAX
#define FACT_KEY_MAX 24

static uint32_t fact_key(uint8_t *key, char kind, struct fid fid, uint32_t stripe)
{
	key[0] = (uint8_t)kind;
	be64_store(key + 1, fid.seq);
	be32_store(key + 9, fid.oid);
	be32_store(key + 13, fid.ver);
	if (kind == 'g') {
		return 17;
	}
	be32_store(key + 17, stripe);
	return 21;
}

/* 'f', UUID, key id. */
#define FENCE_KEY_LEN 21

static struct oss_fact *fact_find(const struct oss *oss, struct fid data_fid, uint32_t stripe)
{
	struct hmap_node *it = hmap_find(&oss->facts, oss_object_hash(data_fid, stripe));

	for (; it != NULL; it = hmap_find_next(it)) {
		struct oss_fact *f = container_of(it, struct oss_fact, node);

		if (f->stripe == stripe && fid_eq(f->data_fid, data_fid)) {
			return f;
		}
	}
	return NULL;
}

static void fact_forget(struct oss *oss, struct oss_fact *f)
{
	hmap_remove(&oss->facts, &f->node);
	if (list_linked(&f->age)) {
		list_del(&f->age);
	}
	oss->facts_count--;
	mem_free(f);
}

static struct oss_fact *fact_new(struct oss *oss, struct fid data_fid, uint32_t stripe)
{
	struct oss_fact *f = mem_zalloc(sizeof(*f));

	if (f == NULL) {
		return NULL;
	}
	f->data_fid = data_fid;
	f->stripe = stripe;
	hmap_insert(&oss->facts, &f->node, oss_object_hash(data_fid, stripe));
	oss->facts_count++;
	return f;
}

int oss_facts_check(const struct oss *oss, const struct w_object_ref *ref)
{
	const struct oss_fact *f;

	if (ref->stripe >= LIM_STRIPE_COUNT_MAX || fid_is_zero(ref->data_fid)) {
		return -NE_INVAL;
	}
	if (oss->facts_count == 0) {
		return 0;
	}
	f = fact_find(oss, ref->data_fid, ref->stripe);
	if (f != NULL && f->tombstone) {
		return -NE_STALE;
	}
	f = fact_find(oss, ref->data_fid, STRIPE_ALL);
	return f != NULL && ref->layout_gen < f->layout_gen_min ? -NE_STALE_LAYOUT : 0;
}

bool oss_facts_destroyed(const struct oss *oss, struct fid data_fid, uint32_t stripe)
{
	const struct oss_fact *f = fact_find(oss, data_fid, stripe);

	return f != NULL && f->tombstone;
}

/* Old tombstones that go with each new one: more than one, so that they become fewer. */
#define DROP_MAX 4

struct put {
	uint8_t key[FACT_KEY_MAX];
	uint32_t key_len;
	uint8_t val[64];
	uint32_t val_len;
	struct oss_fact *drop[DROP_MAX];
	unsigned drop_count;
};

static int put_execute(struct state_txn *txn, void *ctx)
{
	const struct put *p = ctx;
	int err = state_put(txn, p->key, p->key_len, p->val, p->val_len);

	for (unsigned i = 0; i < p->drop_count && err == 0; i++) {
		uint8_t key[FACT_KEY_MAX];
		uint32_t len = fact_key(key, 't', p->drop[i]->data_fid, p->drop[i]->stripe);

		err = state_del(txn, key, len);
	}
	return err;
}

/* Takes out of the list what is too old, or too much. */
static void drop_take(struct oss *oss, struct put *p)
{
	int64_t now = oss_mdt_time(oss);

	while (p->drop_count < DROP_MAX && !list_empty(&oss->tombstones)) {
		struct oss_fact *f = list_entry(oss->tombstones.next, struct oss_fact, age);

		if (!f->stored ||
			(oss->facts_count - p->drop_count < OSS_FACTS_MAX &&
				f->when_ns + OSS_TOMBSTONE_NS >= now)) {
			break;
		}
		list_del(&f->age);
		p->drop[p->drop_count++] = f;
	}
}

static void drop_finish(struct oss *oss, struct put *p, int err)
{
	while (p->drop_count > 0) {
		struct oss_fact *f = p->drop[--p->drop_count];

		if (err == 0) {
			fact_forget(oss, f);
		} else {
			list_push_front(&oss->tombstones, &f->age);
		}
	}
}

static int put_run(struct oss *oss, struct put *p, uint64_t *ret_lsn)
{
	struct state_run_opts opts = {.kind = STATE_RELEASE};

	return state_run(oss->state, put_execute, p, &opts, ret_lsn);
}

static struct oss_fact *tombstone_new(
	struct oss *oss, struct fid data_fid, uint32_t stripe, int64_t when_ns)
{
	struct oss_fact *f = fact_new(oss, data_fid, stripe);

	if (f != NULL) {
		f->tombstone = true;
		f->when_ns = when_ns;
		list_push_back(&oss->tombstones, &f->age);
	}
	return f;
}

int oss_tombstone_add(struct oss *oss, const struct w_ost_change_req *req, uint64_t *ret_lsn)
{
	struct d_ost_tombstone rec = {
		.number = req->number, .mdt = req->mdt, .when = oss_mdt_time(oss)};
	struct put p = {0};
	struct wire_enc enc = wire_enc_of(p.val, sizeof(p.val));
	struct oss_fact *f;
	int err;

	if (req->object.stripe >= LIM_STRIPE_COUNT_MAX || fid_is_zero(req->object.data_fid)) {
		return -NE_INVAL;
	}
	f = fact_find(oss, req->object.data_fid, req->object.stripe);
	if (f != NULL && f->stored) {
		*ret_lsn = state_last_lsn(oss->state);
		return 0;
	}
	if (f == NULL) {
		/* From here on nobody may write the object, whether or not the record gets through. */
		f = tombstone_new(oss, req->object.data_fid, req->object.stripe, rec.when);
	}
	if (f == NULL) {
		return -NE_NOMEM;
	}
	p.key_len = fact_key(p.key, 't', f->data_fid, f->stripe);
	err = d_ost_tombstone_encode(&rec, &enc);
	ASSERT(err == 0);
	p.val_len = (uint32_t)enc.pos;
	drop_take(oss, &p);
	err = put_run(oss, &p, ret_lsn);
	/* A repeat may have stored it before us, and it may be gone since. */
	f = fact_find(oss, req->object.data_fid, req->object.stripe);
	if (err == 0 && f != NULL) {
		f->stored = true;
	}
	drop_finish(oss, &p, err);
	return err;
}

int oss_generation_raise(struct oss *oss, const struct w_object_ref *ref, uint64_t *ret_lsn)
{
	struct d_ost_generation rec = {.layout_gen = ref->layout_gen};
	struct put p = {0};
	struct wire_enc enc = wire_enc_of(p.val, sizeof(p.val));
	struct oss_fact *f = fact_find(oss, ref->data_fid, STRIPE_ALL);
	int err;

	if (f == NULL) {
		f = fact_new(oss, ref->data_fid, STRIPE_ALL);
	}
	if (f == NULL) {
		return -NE_NOMEM;
	}
	if (f->layout_gen_stored >= ref->layout_gen) {
		*ret_lsn = state_last_lsn(oss->state);
		return 0;
	}
	f->layout_gen_min = (uint32_t)u64_max(f->layout_gen_min, ref->layout_gen);
	rec.layout_gen = f->layout_gen_min;
	p.key_len = fact_key(p.key, 'g', ref->data_fid, 0);
	err = d_ost_generation_encode(&rec, &enc);
	ASSERT(err == 0);
	p.val_len = (uint32_t)enc.pos;
	err = put_run(oss, &p, ret_lsn);
	if (err == 0) {
		f->layout_gen_stored = (uint32_t)u64_max(f->layout_gen_stored, rec.layout_gen);
	}
	return err;
}

static uint64_t fence_hash(struct uuid client, uint32_t key_id)
{
	return hash_mix2(hash_bytes(client.bytes, 16), key_id);
}

static struct oss_fence *fence_find(const struct oss *oss, struct uuid client, uint32_t key_id)
{
	struct hmap_node *it = hmap_find(&oss->fences, fence_hash(client, key_id));

	for (; it != NULL; it = hmap_find_next(it)) {
		struct oss_fence *f = container_of(it, struct oss_fence, node);

		if (uuid_eq(f->client, client) && f->key_id == key_id) {
			return f;
		}
	}
	return NULL;
}

static int fence_set(struct oss *oss, struct uuid client, uint32_t key_id, uint32_t incarnation)
{
	struct oss_fence *f = fence_find(oss, client, key_id);

	if (f == NULL) {
		f = mem_zalloc(sizeof(*f));
		if (f == NULL) {
			return -NE_NOMEM;
		}
		f->client = client;
		f->key_id = key_id;
		hmap_insert(&oss->fences, &f->node, fence_hash(client, key_id));
	}
	if (incarnation > f->incarnation) {
		f->incarnation = incarnation;
	}
	return 0;
}

int oss_fence_add(struct oss *oss, const struct w_ost_fence_req *fence, uint64_t *ret_lsn)
{
	struct d_ost_fence rec = {.when = oss_mdt_time(oss)};
	struct put p = {0};
	struct wire_enc enc = wire_enc_of(p.val, sizeof(p.val));
	int err = fence_set(oss, fence->client, fence->key_id, fence->incarnation);

	if (err != 0) {
		return err;
	}
	rec.incarnation = fence_find(oss, fence->client, fence->key_id)->incarnation;
	p.key[0] = 'f';
	memcpy(p.key + 1, fence->client.bytes, 16);
	be32_store(p.key + 17, fence->key_id);
	p.key_len = FENCE_KEY_LEN;
	err = d_ost_fence_encode(&rec, &enc);
	ASSERT(err == 0);
	p.val_len = (uint32_t)enc.pos;
	return put_run(oss, &p, ret_lsn);
}

int oss_fence_check(const struct oss *oss, const struct rpc_identity *id)
{
	const struct oss_fence *f;

	if (id->role == RPC_ROLE_SERVER || oss->fences.count == 0) {
		return 0;
	}
	f = fence_find(oss, id->client, id->key_id);
	return f != NULL && id->incarnation <= f->incarnation ? -NE_FENCED : 0;
}

/* ---- load ---- */

/* One page of the walk over the store; records are applied outside of the transaction. */
#define LOAD_PAGE 256

struct load {
	struct oss *oss;
	uint8_t start[FACT_KEY_MAX + 1];
	uint32_t start_len;
	uint8_t next[FACT_KEY_MAX + 1];
	uint32_t next_len;
	uint32_t seen;
	uint32_t expired;
	uint8_t expired_keys[LOAD_PAGE][21];
};

static struct fid key_fid(const uint8_t *key)
{
	return (struct fid){
		.seq = be64_load(key + 1), .oid = be32_load(key + 9), .ver = be32_load(key + 13)};
}

static int load_tombstone(struct load *l, const struct state_rec *rec)
{
	const uint8_t *key = rec->key;
	struct d_ost_tombstone t;
	struct oss_fact *f;

	if (rec->key_len != 21 || d_ost_tombstone_decode(&t, rec->val.data, rec->val.len) != 0) {
		return -NE_CORRUPT;
	}
	if (t.when + OSS_TOMBSTONE_NS < env_realtime(l->oss->env)) {
		memcpy(l->expired_keys[l->expired++], key, 21);
		return 0;
	}
	if (fact_find(l->oss, key_fid(key), be32_load(key + 17)) != NULL) {
		return 0;
	}
	f = tombstone_new(l->oss, key_fid(key), be32_load(key + 17), t.when);
	if (f == NULL) {
		return -NE_NOMEM;
	}
	f->stored = true;
	return 0;
}

static int load_generation(struct load *l, const struct state_rec *rec)
{
	struct d_ost_generation g;
	struct oss_fact *f;

	if (rec->key_len != 17 || d_ost_generation_decode(&g, rec->val.data, rec->val.len) != 0) {
		return -NE_CORRUPT;
	}
	f = fact_find(l->oss, key_fid(rec->key), STRIPE_ALL);
	if (f == NULL) {
		f = fact_new(l->oss, key_fid(rec->key), STRIPE_ALL);
	}
	if (f == NULL) {
		return -NE_NOMEM;
	}
	f->layout_gen_min = g.layout_gen;
	f->layout_gen_stored = g.layout_gen;
	return 0;
}

static int load_fence(struct load *l, const struct state_rec *rec)
{
	struct d_ost_fence f;
	struct uuid client;

	if (rec->key_len != FENCE_KEY_LEN ||
		d_ost_fence_decode(&f, rec->val.data, rec->val.len) != 0) {
		return -NE_CORRUPT;
	}
	memcpy(client.bytes, (const uint8_t *)rec->key + 1, 16);
	return fence_set(l->oss, client, be32_load((const uint8_t *)rec->key + 17), f.incarnation);
}

static int load_record(void *ctx, const struct state_rec *rec)
{
	struct load *l = ctx;
	const uint8_t *key = rec->key;

	if (rec->key_len > FACT_KEY_MAX) {
		return -NE_CORRUPT;
	}
	memcpy(l->next, key, rec->key_len);
	l->next[rec->key_len] = 0;
	l->next_len = rec->key_len + 1;
	l->seen++;
	switch (key[0]) {
	case 't':
		return load_tombstone(l, rec);
	case 'g':
		return load_generation(l, rec);
	case 'f':
		return load_fence(l, rec);
	default:
		return -NE_CORRUPT;
	}
}

/* May be run several times for one page: each starts from where the page before ended. */
static int load_execute(struct state_txn *txn, void *ctx)
{
	struct load *l = ctx;
	struct state_range range = {.from = l->start, .from_len = l->start_len, .max = LOAD_PAGE};

	l->seen = 0;
	l->expired = 0;
	return state_range(txn, &range, load_record, l);
}

static int expire_execute(struct state_txn *txn, void *ctx)
{
	const struct load *l = ctx;
	int err = 0;

	for (uint32_t i = 0; i < l->expired && err == 0; i++) {
		err = state_del(txn, l->expired_keys[i], 21);
	}
	return err;
}

/* The last time: what a power failure brought back must be gone for good before the tombstone goes. */
static int expired_bury(struct load *l)
{
	int err = 0;

	for (uint32_t i = 0; i < l->expired && err == 0; i++) {
		const uint8_t *key = l->expired_keys[i];

		err = oss_object_destroy(l->oss, key_fid(key), be32_load(key + 17), true);
	}
	return err;
}

static int load_pages(struct oss *oss, struct load *l)
{
	struct state_run_opts read_opts = {.kind = STATE_READ};
	struct state_run_opts del_opts = {.kind = STATE_RELEASE};
	int err;

	do {
		memcpy(l->start, l->next, l->next_len);
		l->start_len = l->next_len;
		err = state_run(oss->state, load_execute, l, &read_opts, NULL);
		if (err == 0 && l->expired > 0) {
			err = expired_bury(l);
		}
		if (err == 0 && l->expired > 0) {
			err = state_run(oss->state, expire_execute, l, &del_opts, NULL);
		}
	} while (err == 0 && l->seen == LOAD_PAGE);
	return err;
}

/* Removes the files of destroyed objects that a power failure brought back. */
static int tombstones_apply(struct oss *oss)
{
	int err = 0;

	for (struct list *it = oss->tombstones.next; it != &oss->tombstones && err == 0;
		it = it->next) {
		struct oss_fact *f = list_entry(it, struct oss_fact, age);

		err = oss_object_destroy(oss, f->data_fid, f->stripe, false);
	}
	return err;
}

int oss_facts_load(struct oss *oss)
{
	struct load *l = mem_zalloc(sizeof(*l));
	int err;

	if (l == NULL) {
		return -NE_NOMEM;
	}
	l->oss = oss;
	l->next_len = 1;
	err = load_pages(oss, l);
	mem_free(l);
	return err != 0 ? err : tombstones_apply(oss);
}

void oss_facts_fini(struct oss *oss)
{
	struct hmap_node *it;

	while ((it = hmap_first(&oss->facts)) != NULL) {
		fact_forget(oss, container_of(it, struct oss_fact, node));
	}
	hmap_fini(&oss->facts);
	while ((it = hmap_first(&oss->fences)) != NULL) {
		hmap_remove(&oss->fences, it);
		mem_free(container_of(it, struct oss_fence, node));
	}
	hmap_fini(&oss->fences);
}

const struct wire_codec *oss_key_codec(const void *key, uint32_t len)
{
	const char *k = key;

	ASSERT(key != NULL);
	if (len == 0) {
		return NULL;
	}
	switch (k[0]) {
	case 't':
		return &d_ost_tombstone_codec;
	case 'g':
		return &d_ost_generation_codec;
	case 'f':
		return &d_ost_fence_codec;
	default:
		return NULL;
	}
}
