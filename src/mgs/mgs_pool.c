/*
 * Pools: named sets of OSTs. Stored in pieces of MGS_POOL_PIECE members under 'P' name NUL piece1, so that each
 * fits a value of the store; a pool without members has one empty piece.
 */
#include <stdlib.h>

#include "layout/layout.h"
#include "mgs/mgs_int.h"

static struct mgs_pool *pool_find(struct mgs *mgs, const char *name)
{
	for (uint32_t i = 0; i < mgs->pool_count; i++) {
		if (strcmp(mgs->pools[i].name, name) == 0) {
			return &mgs->pools[i];
		}
	}
	return NULL;
}

static struct mgs_pool *pool_insert(struct mgs *mgs, const char *name)
{
	uint32_t at;

	if (mgs->pool_count >= LIM_POOLS_MAX) {
		return NULL;
	}
	for (at = mgs->pool_count; at > 0 && strcmp(name, mgs->pools[at - 1].name) < 0; at--) {
		mgs->pools[at] = mgs->pools[at - 1];
	}
	mgs->pools[at] = (struct mgs_pool){0};
	memcpy(mgs->pools[at].name, name, strlen(name) + 1);
	mgs->pool_count++;
	return &mgs->pools[at];
}

static void pool_remove(struct mgs *mgs, struct mgs_pool *p)
{
	uint32_t at = (uint32_t)(p - mgs->pools);

	mem_free(p->osts);
	for (; at + 1 < mgs->pool_count; at++) {
		mgs->pools[at] = mgs->pools[at + 1];
	}
	mgs->pool_count--;
}

static bool pool_has(const struct mgs_pool *p, uint32_t ost)
{
	for (uint32_t i = 0; i < p->count; i++) {
		if (p->osts[i] == ost) {
			return true;
		}
	}
	return false;
}

int mgs_pool_load(struct mgs *mgs, const struct state_rec *rec)
{
	struct d_mgs_pool d;
	struct mgs_pool *p;
	char name[LIM_POOL_NAME_MAX + 1];
	uint32_t *osts;

	if (d_mgs_pool_decode(&d, rec->val.data, rec->val.len) != 0 ||
		wire_str_copy(d.pool.name, name, sizeof(name)) != 0) {
		return -NE_CORRUPT;
	}
	p = pool_find(mgs, name);
	if (p == NULL) {
		p = pool_insert(mgs, name);
	}
	if (p == NULL) {
		return -NE_CORRUPT;
	}
	osts = mem_realloc(p->osts, (p->count + d.pool.osts.count + 1) * sizeof(*osts));
	if (osts == NULL) {
		return -NE_NOMEM;
	}
	p->osts = osts;
	for (uint32_t i = 0; i < d.pool.osts.count; i++) {
		p->osts[p->count++] = wire_u32_at(&d.pool.osts.view, i);
	}
	return 0;
}

void mgs_pools_fini(struct mgs *mgs)
{
	for (uint32_t i = 0; i < mgs->pool_count; i++) {
		mem_free(mgs->pools[i].osts);
	}
	mgs->pool_count = 0;
}

static uint32_t pieces_of(uint32_t count)
{
	return count == 0 ? 1 : (count + MGS_POOL_PIECE - 1) / MGS_POOL_PIECE;
}

static int piece_encode(const struct mgs_pool *p, uint32_t piece, struct mgs_effect *e)
{
	uint32_t first = piece * MGS_POOL_PIECE;
	struct d_mgs_pool rec = {0};
	struct wire_enc enc = wire_enc_of(e->val, sizeof(e->val));
	size_t name_len = strlen(p->name);
	int err = 0;

	e->key[0] = 'P';
	memcpy(e->key + 1, p->name, name_len + 1);
	e->key[name_len + 2] = (uint8_t)piece;
	e->key_len = (uint32_t)name_len + 3;
	e->del = first >= p->count && piece > 0;
	if (!e->del) {
		rec.pool.name = wire_str_of(p->name);
		rec.pool.osts.items = p->osts + first;
		rec.pool.osts.count = (uint32_t)u64_min(p->count - first, MGS_POOL_PIECE);
		err = d_mgs_pool_encode(&rec, &enc);
		e->val_len = (uint32_t)enc.pos;
	}
	return err;
}

/* Stores the pool as it is to be; `before` members tell how many pieces there were. */
static int pool_store(struct mgs *mgs, const struct mgs_pool *p, uint32_t before, bool destroy)
{
	uint32_t pieces = (uint32_t)u64_max(pieces_of(p->count), pieces_of(before));
	struct mgs_effect *e = mem_zalloc_array(pieces, sizeof(*e));
	int err = 0;

	if (e == NULL) {
		return -NE_NOMEM;
	}
	for (uint32_t i = 0; i < pieces && err == 0; i++) {
		err = piece_encode(p, i, &e[i]);
		e[i].del = e[i].del || destroy;
	}
	if (err == 0) {
		err = mgs_store_apply(mgs, e, pieces);
	}
	mem_free(e);
	return err;
}

static int ost_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static bool ost_known(const struct mgs *mgs, uint32_t ost)
{
	for (uint32_t i = 0; i < mgs->target_count; i++) {
		if (mgs->targets[i].kind == W_TARGET_KIND_OST && mgs->targets[i].index == ost) {
			return true;
		}
	}
	return false;
}

/* Builds the next member list in `next` out of the present one and the request. */
static int members_next(struct mgs *mgs, const struct w_mgs_pool_req *in, const struct mgs_pool *p,
	struct mgs_pool *next)
{
	bool add = in->pool_op == W_POOL_OP_ADD || in->pool_op == W_POOL_OP_NEW;

	next->osts = mem_alloc((p->count + in->osts.count + 1) * sizeof(*next->osts));
	if (next->osts == NULL) {
		return -NE_NOMEM;
	}
	for (uint32_t i = 0; i < p->count; i++) {
		next->osts[next->count++] = p->osts[i];
	}
	for (uint32_t i = 0; i < in->osts.count; i++) {
		uint32_t ost = wire_u32_at(&in->osts.view, i);

		if (!ost_known(mgs, ost)) {
			return -NE_NODEV;
		}
		if (add == pool_has(next, ost)) {
			return add ? -NE_EXIST : -NE_NOENT;
		}
		if (add) {
			next->osts[next->count++] = ost;
			continue;
		}
		for (uint32_t j = 0; j < next->count; j++) {
			if (next->osts[j] == ost) {
				next->osts[j] = next->osts[--next->count];
				break;
			}
		}
	}
	qsort(next->osts, next->count, sizeof(*next->osts), ost_compare);
	return 0;
}

static int pool_update(
	struct mgs *mgs, const struct w_mgs_pool_req *in, const char *name, struct mgs_pool *have)
{
	static const struct mgs_pool none;
	const struct mgs_pool *p = have != NULL ? have : &none;
	struct mgs_pool next = {0};
	int err = members_next(mgs, in, p, &next);

	memcpy(next.name, name, strlen(name) + 1);
	if (err == 0 && have == NULL && mgs->pool_count >= LIM_POOLS_MAX) {
		err = -NE_LIMIT;
	}
	if (err == 0 && next.count >= p->count) {
		err = mgs_map_room(mgs, (next.count - p->count) * sizeof(uint32_t) + MGS_MAP_FRAME);
	}
	if (err == 0) {
		err = pool_store(mgs, &next, p->count, false);
	}
	if (err != 0) {
		mem_free(next.osts);
		return err;
	}
	if (have == NULL) {
		have = pool_insert(mgs, name);
		ASSERT(have != NULL);
	}
	mem_free(have->osts);
	have->osts = next.osts;
	have->count = next.count;
	return 0;
}

static int pool_change(struct mgs *mgs, const struct w_mgs_pool_req *in)
{
	char name[LIM_POOL_NAME_MAX + 1];
	struct mgs_pool *p;
	int err;

	if (!layout_pool_name_ok(in->name.ptr, in->name.len)) {
		return -NE_INVAL;
	}
	err = wire_str_copy(in->name, name, sizeof(name));
	if (err != 0) {
		return err;
	}
	p = pool_find(mgs, name);
	if (in->pool_op == W_POOL_OP_NEW) {
		return p != NULL ? -NE_EXIST : pool_update(mgs, in, name, NULL);
	}
	if (p == NULL) {
		return -NE_NOPOOL;
	}
	if (in->pool_op != W_POOL_OP_DESTROY) {
		return pool_update(mgs, in, name, p);
	}
	if (p->count > 0) {
		return -NE_NOTEMPTY;
	}
	err = pool_store(mgs, p, 0, true);
	if (err == 0) {
		pool_remove(mgs, p);
	}
	return err;
}

int mgs_pool_request(struct mgs *mgs, struct rpc_request *req)
{
	struct w_mgs_pool_rep out;
	int err;

	if (!mgs_may_change(req)) {
		return -NE_PERM;
	}
	env_mutex_lock(mgs->env, &mgs->change);
	err = pool_change(mgs, req->body);
	out.version = mgs->version;
	env_mutex_unlock(mgs->env, &mgs->change);
	if (err != 0) {
		return err;
	}
	mgs_map_announce(mgs);
	return rpc_request_reply(req, &out);
}
