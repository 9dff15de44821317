/*
 * Parameters of the file system: key and value texts under 'p' key.
 */
#include "mgs/mgs_int.h"

static char *text_copy(struct wire_str s)
{
	char *t = mem_alloc((size_t)s.len + 1);

	if (t != NULL) {
		bytes_copy(t, s.ptr, s.len);
		t[s.len] = '\0';
	}
	return t;
}

static struct mgs_param *param_find(struct mgs *mgs, struct wire_str key)
{
	for (uint32_t i = 0; i < mgs->param_count; i++) {
		if (wire_str_eq(wire_str_of(mgs->params[i].key), key)) {
			return &mgs->params[i];
		}
	}
	return NULL;
}

static int param_set(struct mgs *mgs, struct wire_str key, struct wire_str value)
{
	struct mgs_param *p = param_find(mgs, key);
	struct mgs_param made = {.key = text_copy(key), .value = text_copy(value)};
	struct mgs_param *grown;
	uint32_t at;

	if (made.key == NULL || made.value == NULL) {
		mem_free(made.key);
		mem_free(made.value);
		return -NE_NOMEM;
	}
	if (p != NULL) {
		mem_free(p->key);
		mem_free(p->value);
		*p = made;
		return 0;
	}
	grown = mem_realloc(mgs->params, (mgs->param_count + 1) * sizeof(*grown));
	if (grown == NULL) {
		mem_free(made.key);
		mem_free(made.value);
		return -NE_NOMEM;
	}
	mgs->params = grown;
	for (at = mgs->param_count; at > 0 && strcmp(made.key, grown[at - 1].key) < 0; at--) {
		grown[at] = grown[at - 1];
	}
	grown[at] = made;
	mgs->param_count++;
	return 0;
}

static void param_remove(struct mgs *mgs, struct mgs_param *p)
{
	uint32_t at = (uint32_t)(p - mgs->params);

	mem_free(p->key);
	mem_free(p->value);
	for (; at + 1 < mgs->param_count; at++) {
		mgs->params[at] = mgs->params[at + 1];
	}
	mgs->param_count--;
}

int mgs_param_load(struct mgs *mgs, const struct state_rec *rec)
{
	struct d_mgs_param d;

	if (d_mgs_param_decode(&d, rec->val.data, rec->val.len) != 0) {
		return -NE_CORRUPT;
	}
	return param_set(mgs, d.param.key, d.param.value);
}

void mgs_params_fini(struct mgs *mgs)
{
	while (mgs->param_count > 0) {
		param_remove(mgs, &mgs->params[mgs->param_count - 1]);
	}
	mem_free(mgs->params);
	mgs->params = NULL;
}

static int param_change(struct mgs *mgs, const struct w_param *in)
{
	struct mgs_effect *e = mem_zalloc(sizeof(*e));
	struct d_mgs_param rec = {.param = *in};
	struct mgs_param *have = param_find(mgs, in->key);
	struct wire_enc enc;
	int err = 0;

	if (e == NULL) {
		return -NE_NOMEM;
	}
	enc = wire_enc_of(e->val, sizeof(e->val));
	e->key[0] = 'p';
	bytes_copy(e->key + 1, in->key.ptr, in->key.len);
	e->key_len = 1 + (uint32_t)in->key.len;
	e->del = in->value.len == 0;
	if (!e->del) {
		err = d_mgs_param_encode(&rec, &enc);
		e->val_len = (uint32_t)enc.pos;
	}
	if (err == 0) {
		err = mgs_store_apply(mgs, e, 1);
	}
	mem_free(e);
	if (err != 0) {
		return err;
	}
	if (in->value.len > 0) {
		return param_set(mgs, in->key, in->value);
	}
	if (have != NULL) {
		param_remove(mgs, have);
	}
	return 0;
}

int mgs_param_request(struct mgs *mgs, struct rpc_request *req)
{
	const struct w_mgs_param_req *in = req->body;
	struct w_mgs_param_rep out;
	int err = 0;

	if (!mgs_may_change(req)) {
		return -NE_PERM;
	}
	if (in->param.key.len == 0 || in->param.key.len > LIM_KV_KEY_MAX - 1) {
		return -NE_INVAL;
	}
	if (mgs->param_count >= MGS_PARAMS_MAX && in->param.value.len > 0) {
		return -NE_LIMIT;
	}
	env_mutex_lock(mgs->env, &mgs->change);
	if (in->param.value.len > 0) {
		err = mgs_map_room(
			mgs, (size_t)in->param.key.len + in->param.value.len + MGS_MAP_FRAME);
	}
	if (err == 0) {
		err = param_change(mgs, &in->param);
	}
	out.version = mgs->version;
	env_mutex_unlock(mgs->env, &mgs->change);
	if (err != 0) {
		return err;
	}
	mgs_map_announce(mgs);
	return rpc_request_reply(req, &out);
}
