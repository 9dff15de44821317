/*
 * The map in the state store, and its mirror in memory. A change is durable before it is visible.
 */
#include <stdio.h>

#include "mgs/mgs_int.h"

static int fs_encode(const struct mgs *mgs, uint32_t version, struct mgs_effect *e)
{
	struct d_mgs_fs rec = {.fsname = wire_str_of(mgs->fsname),
		.cluster = mgs->cluster,
		.map_version = version};
	struct wire_enc enc = wire_enc_of(e->val, sizeof(e->val));
	int err = d_mgs_fs_encode(&rec, &enc);

	e->key[0] = 'F';
	e->key_len = 1;
	e->val_len = (uint32_t)enc.pos;
	e->del = false;
	return err;
}

struct apply {
	struct mgs_effect *effects;
	unsigned count;
};

static int apply_execute(struct state_txn *txn, void *ctx)
{
	const struct apply *a = ctx;
	int err = 0;

	for (unsigned i = 0; i < a->count && err == 0; i++) {
		const struct mgs_effect *e = &a->effects[i];

		err = e->del ? state_del(txn, e->key, e->key_len)
			     : state_put(txn, e->key, e->key_len, e->val, e->val_len);
	}
	return err;
}

static int apply_run(struct mgs *mgs, struct apply *a)
{
	struct state_run_opts opts = {.kind = STATE_CHANGE};
	uint64_t lsn = 0;
	int err = state_run(mgs->state, apply_execute, a, &opts, &lsn);

	if (err == 0) {
		state_wait_durable(mgs->state, lsn);
	}
	return err;
}

int mgs_store_apply(struct mgs *mgs, struct mgs_effect *effects, unsigned count)
{
	struct apply a = {.effects = effects, .count = count};
	struct mgs_effect *fs = mem_zalloc(sizeof(*fs));
	struct apply v = {.effects = fs, .count = 1};
	int err;

	ASSERT(mgs->change.held);
	if (fs == NULL) {
		return -NE_NOMEM;
	}
	/* The version first: after a crash in between the map is newer than it need be, never older. */
	err = fs_encode(mgs, mgs->version + 1, fs);
	if (err == 0) {
		err = apply_run(mgs, &v);
	}
	if (err == 0 && count > 0) {
		err = apply_run(mgs, &a);
	}
	if (err == 0) {
		mgs->version++;
	}
	mem_free(fs);
	return err;
}

/* ---- targets ---- */

void mgs_target_fill(const struct mgs_target *t, struct w_target *ret_w)
{
	memset(ret_w, 0, sizeof(*ret_w));
	ret_w->name = wire_str_of(t->name);
	ret_w->kind = t->kind;
	ret_w->index = t->index;
	ret_w->uuid = t->uuid;
	ret_w->epoch = t->epoch;
	ret_w->state = t->state;
	ret_w->addr0 = wire_str_of(t->addr[0]);
	ret_w->addr1 = wire_str_of(t->addr[1]);
	ret_w->addr2 = wire_str_of(t->addr[2]);
	ret_w->addr3 = wire_str_of(t->addr[3]);
	ret_w->boot_id = wire_str_of(t->boot_id);
	ret_w->pid = t->pid;
}

int mgs_target_from(const struct w_target *w, struct mgs_target *ret_t)
{
	static const char *const kinds[] = {"MGT", "MDT", "OST"};
	char want[LIM_TARGET_NAME_MAX + 1];
	const struct wire_str addrs[MGS_ADDRS] = {w->addr0, w->addr1, w->addr2, w->addr3};
	int err;

	memset(ret_t, 0, sizeof(*ret_t));
	ret_t->kind = w->kind;
	ret_t->index = w->index;
	ret_t->uuid = w->uuid;
	ret_t->epoch = w->epoch;
	ret_t->state = w->state;
	ret_t->pid = w->pid;
	err = wire_str_copy(w->name, ret_t->name, sizeof(ret_t->name));
	for (unsigned i = 0; i < MGS_ADDRS && err == 0; i++) {
		err = wire_str_copy(addrs[i], ret_t->addr[i], sizeof(ret_t->addr[i]));
	}
	if (err == 0) {
		err = wire_str_copy(w->boot_id, ret_t->boot_id, sizeof(ret_t->boot_id));
	}
	if (err != 0 || w->kind > W_TARGET_KIND_OST) {
		return -NE_INVAL;
	}
	snprintf(want, sizeof(want), "%s%04x", kinds[w->kind], w->index);
	if (strcmp(want, ret_t->name) != 0 ||
		(w->kind == W_TARGET_KIND_OST && w->index >= LIM_OST_MAX) ||
		(w->kind == W_TARGET_KIND_MDT && w->index >= LIM_MDT_MAX)) {
		return -NE_INVAL;
	}
	return 0;
}

int mgs_target_encode(const struct mgs_target *t, struct mgs_effect *ret_effect)
{
	struct d_mgs_target rec;
	struct wire_enc enc = wire_enc_of(ret_effect->val, sizeof(ret_effect->val));
	int err;

	mgs_target_fill(t, &rec.target);
	err = d_mgs_target_encode(&rec, &enc);
	ret_effect->key[0] = 'T';
	ret_effect->key_len = 1 + (uint32_t)strlen(t->name);
	memcpy(ret_effect->key + 1, t->name, ret_effect->key_len - 1);
	ret_effect->val_len = (uint32_t)enc.pos;
	ret_effect->del = false;
	return err;
}

struct mgs_target *mgs_target_find(struct mgs *mgs, const char *name)
{
	for (uint32_t i = 0; i < mgs->target_count; i++) {
		if (strcmp(mgs->targets[i].name, name) == 0) {
			return &mgs->targets[i];
		}
	}
	return NULL;
}

static bool target_before(const struct mgs_target *a, const struct mgs_target *b)
{
	return a->kind != b->kind ? a->kind < b->kind : a->index < b->index;
}

int mgs_target_insert(struct mgs *mgs, const struct mgs_target *t)
{
	struct mgs_target *have = mgs_target_find(mgs, t->name);
	struct mgs_target *grown;
	uint32_t at;

	if (have != NULL) {
		*have = *t;
		return 0;
	}
	if (mgs->target_count >= MGS_TARGETS_MAX) {
		return -NE_LIMIT;
	}
	grown = mem_realloc(mgs->targets, (mgs->target_count + 1) * sizeof(*grown));
	if (grown == NULL) {
		return -NE_NOMEM;
	}
	mgs->targets = grown;
	for (at = mgs->target_count; at > 0 && target_before(t, &grown[at - 1]); at--) {
		grown[at] = grown[at - 1];
	}
	grown[at] = *t;
	mgs->target_count++;
	return 0;
}

/* ---- load ---- */

static int load_fs(struct mgs *mgs, const struct state_rec *rec)
{
	struct d_mgs_fs fs;

	if (d_mgs_fs_decode(&fs, rec->val.data, rec->val.len) != 0) {
		return -NE_CORRUPT;
	}
	if (!wire_str_eq(fs.fsname, wire_str_of(mgs->fsname)) ||
		!uuid_eq(fs.cluster, mgs->cluster)) {
		return -NE_FOREIGN;
	}
	mgs->version = fs.map_version;
	return 0;
}

static int load_target(struct mgs *mgs, const struct state_rec *rec)
{
	struct d_mgs_target d;
	struct mgs_target t;

	if (d_mgs_target_decode(&d, rec->val.data, rec->val.len) != 0 ||
		mgs_target_from(&d.target, &t) != 0) {
		return -NE_CORRUPT;
	}
	return mgs_target_insert(mgs, &t);
}

static int load_record(void *ctx, const struct state_rec *rec)
{
	struct mgs *mgs = ctx;
	const uint8_t *key = rec->key;

	switch (key[0]) {
	case 'F':
		return load_fs(mgs, rec);
	case 'T':
		return load_target(mgs, rec);
	case 'P':
		return mgs_pool_load(mgs, rec);
	case 'p':
		return mgs_param_load(mgs, rec);
	default:
		return -NE_CORRUPT;
	}
}

/* May run more than once: every load replaces what an earlier run left. */
static int load_execute(struct state_txn *txn, void *ctx)
{
	struct mgs *mgs = ctx;
	struct state_range range = {.from = "\0", .from_len = 1, .max = UINT32_MAX};

	mgs_pools_fini(mgs);
	mgs_params_fini(mgs);
	mgs->target_count = 0;
	return state_range(txn, &range, load_record, mgs);
}

static int first_start(struct mgs *mgs)
{
	int err;

	env_mutex_lock(mgs->env, &mgs->change);
	err = mgs_store_apply(mgs, NULL, 0);
	env_mutex_unlock(mgs->env, &mgs->change);
	return err;
}

int mgs_store_load(struct mgs *mgs)
{
	struct state_run_opts opts = {.kind = STATE_READ};
	int err = state_run(mgs->state, load_execute, mgs, &opts, NULL);

	if (err == 0 && mgs->version == 0) {
		err = first_start(mgs);
	}
	return err;
}

const struct wire_codec *mgs_key_codec(const void *key, uint32_t len)
{
	const char *k = key;

	ASSERT(key != NULL);
	if (len == 0) {
		return NULL;
	}
	switch (k[0]) {
	case 'F':
		return &d_mgs_fs_codec;
	case 'T':
		return &d_mgs_target_codec;
	case 'P':
		return &d_mgs_pool_codec;
	case 'p':
		return &d_mgs_param_codec;
	default:
		return NULL;
	}
}
