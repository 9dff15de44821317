/*
 * How a request runs: prepare, then attempts in a transaction until everything it reads is in memory, commit.
 *
 * Invariants. Nothing yields between the beginning of an attempt and the end of `committed`, so requests execute
 * one at a time. A reply leaves only after its record is in the kernel (RULES A2). The slot record with the
 * encoded reply is in the same record as the change (RULES A1); a request that failed changed nothing and
 * leaves no slot record: executed again it is as if it had come later.
 */
#include "base/log.h"
#include "mds/mds_int.h"

/* Operations kept for reuse: about as many as run at a time on a busy reactor. */
#define OPS_FREE_MAX 64
/* Attempts of one request before something must be wrong: each fetch brings at least one more key. */
#define ATTEMPTS_MAX 100000

int64_t mds_now(struct mds *mds)
{
	int64_t now = env_realtime(mds->env);

	mds->now_last_ns = i64_max(mds->now_last_ns, now);
	return mds->now_last_ns;
}

int mds_op_new(struct mds *mds, struct mds_op **ret_op)
{
	struct list *link = list_pop_front(&mds->ops_free);
	struct mds_op *op;

	if (link != NULL) {
		op = list_entry(link, struct mds_op, link);
		mds->ops_free_count--;
	} else {
		op = mem_alloc(sizeof(*op));
	}
	if (op == NULL) {
		return -NE_NOMEM;
	}
	memset(op, 0, offsetof(struct mds_op, inodes));
	op->mds = mds;
	*ret_op = op;
	return 0;
}

void mds_op_free(struct mds_op *op)
{
	if (op == NULL) {
		return;
	}
	ASSERT(op->txn == NULL);
	mds_data_op_end(op);
	mem_free(TAKE_PTR(op->large));
	if (op->mds->ops_free_count >= OPS_FREE_MAX) {
		mem_free(op);
		return;
	}
	list_push_front(&op->mds->ops_free, &op->link);
	op->mds->ops_free_count++;
}

static void op_reset(struct mds_op *op)
{
	op->inode_count = 0;
	op->globals_loaded = false;
	op->globals_dirty = false;
	op->need_fids = false;
	op->need_data = false;
	memset(&op->res, 0, sizeof(op->res));
	memset(&op->data, 0, sizeof(op->data));
}

/* ---- slot records ---- */

/* A reply that is too long for its slot record is kept without layout and inline data; they are put
 * back from the inode when a duplicate has to be answered (mds_session_slots). */
static int rep_strip(struct mds_op *op)
{
	struct w_inode_info *info = mds_rep_info(op->request->op->op, &op->rep);

	if (info == NULL) {
		return -NE_TOOBIG;
	}
	info->layouts.items = NULL;
	info->layouts.count = 0;
	memset(&info->layouts.view, 0, sizeof(info->layouts.view));
	info->data = (struct wire_bytes){0};
	return 0;
}

struct w_inode_info *mds_rep_info(uint16_t op, void *rep)
{
	union mds_rep *r = rep;

	switch (op) {
	case W_OP_MDS_CREATE:
		return &r->create.info;
	case W_OP_MDS_OPEN:
		return &r->open.info;
	case W_OP_MDS_SETATTR:
		return &r->setattr.info;
	case W_OP_MDS_SETXATTR:
		return &r->setxattr.info;
	case W_OP_MDS_LINK:
		return &r->link.info;
	case W_OP_MDS_LAYOUT_SET:
		return &r->layout_set.info;
	case W_OP_MDS_INSTANTIATE:
		return &r->instantiate.info;
	default:
		return NULL;
	}
}

static int slot_put(struct mds_op *op, struct span bytes)
{
	const struct mds_request *req = op->request;
	const struct wire_codec *codec = req->op->reply;
	struct mds_key key = mds_key_slot(op->session->id, req->slot);
	struct d_mds_slot slot = {
		.seq = req->seq,
		.op = req->op->op,
		.transno = u64_max(state_last_lsn(op->mds->st),
				   state_incarnation(op->mds->st) << STATE_LSN_SHIFT) +
			1,
		.body = wire_bytes_of(bytes.ptr, bytes.len),
	};
	uint8_t stripped[MDS_SLOT_BODY_MAX];

	if (bytes.len > sizeof(stripped)) {
		struct wire_enc enc = wire_enc_of(stripped, sizeof(stripped));
		int r = rep_strip(op);

		if (r == 0) {
			r = codec->encode(&op->rep, &enc);
		}
		if (r < 0) {
			return r;
		}
		slot.op |= MDS_SLOT_STRIPPED;
		slot.body = wire_bytes_of(stripped, enc.pos);
	}
	return mds_kv_put_record(op, &key, &d_mds_slot_codec, &slot);
}

/* ---- attempts ---- */

static bool wants_slot(const struct mds_op *op)
{
	return op->request != NULL && op->request->op->modifies && op->request->slot < LIM_SLOTS;
}

static int op_attempt(struct mds_op *op)
{
	struct span bytes = {0};
	int r = op->handler->execute(op);

	if (r == 0) {
		r = mds_op_flush(op);
	}
	if (r == 0) {
		memset(&op->rep, 0, sizeof(op->rep));
		r = op->handler->reply == NULL ? 0 : op->handler->reply(op);
	}
	if (r == 0) {
		mds_settling_mark(op);
		r = op->request->encode(op->request->encode_ctx, op->request->op, &op->rep, &bytes);
	}
	if (r == 0 && wants_slot(op)) {
		r = slot_put(op, bytes);
	}
	return r;
}

typedef int attempt_fn(struct mds_op *op, void *ctx);

static int request_attempt(struct mds_op *op, void *ctx)
{
	ASSERT(ctx == NULL && op->request != NULL);
	return op_attempt(op);
}

static int op_fetch(struct mds_op *op, struct state_txn *txn)
{
	op->attempt++;
	if (op->attempt >= ATTEMPTS_MAX) {
		return -NE_IO;
	}
	if (op->need_fids || op->need_data) {
		/* Both may wait for a checkpoint, and checkpoints wait for views. */
		state_fetches_drop(txn);
	}
	if (op->need_fids) {
		return mds_fids_refill(op->mds);
	}
	if (op->need_data) {
		int r = mds_data_fetch(op);

		if (r < 0 || txn->want_count == 0) {
			return r;
		}
	}
	return state_prefetch(txn);
}

/* Waits until the transaction may begin. */
static int op_admit(struct mds_op *op, struct state_txn *txn, enum state_kind kind)
{
	struct state *st = op->mds->st;

	if (state_admit_now(st, kind)) {
		return 0;
	}
	/* What waits for a checkpoint must hold no view: the checkpoint waits for views. */
	state_fetches_drop(txn);
	return state_admit(st, kind);
}

static int op_run(struct mds_op *op, enum state_kind kind, attempt_fn *fn, void *ctx)
{
	struct mds *mds = op->mds;
	struct state_txn txn;
	struct state_run_opts opts = {
		.kind = kind, .session = op->session == NULL ? 0 : op->session->id};
	int r;

	op->lsn = 0;
	state_txn_init(mds->st, &opts, &txn);
	for (;;) {
		r = op_admit(op, &txn, kind);
		if (r < 0) {
			break;
		}
		state_txn_begin(&txn);
		op->txn = &txn;
		op->now_ns = mds_now(mds);
		op_reset(op);
		r = fn(op, ctx);
		if (r == 0) {
			state_txn_commit(&txn, &op->lsn);
			op->txn = NULL;
			break;
		}
		if (r == -NE_MISSING_KEY && !op->need_fids && !op->need_data &&
			op->handler != NULL && op->handler->want != NULL) {
			op->handler->want(op);
		}
		op->txn = NULL;
		state_txn_abort(&txn);
		if (r == -NE_MISSING_KEY) {
			r = op_fetch(op, &txn);
		}
		if (r < 0) {
			break;
		}
	}
	if (r == 0 && op->globals_loaded) {
		mds->inodes = op->globals.inodes;
	}
	if (r == 0 && op->res.dir_moved) {
		mds->dir_moves++;
	}
	if (op->handler != NULL && op->handler->committed != NULL) {
		op->handler->committed(op, r);
	}
	state_txn_fini(&txn);
	return r;
}

struct own_ctx {
	mds_own_fn *fn;
	void *ctx;
};

static int own_attempt(struct mds_op *op, void *ctx)
{
	struct own_ctx *own = ctx;
	int r = own->fn(op, own->ctx);

	return r < 0 ? r : mds_op_flush(op);
}

int mds_op_run_own(struct mds_op *op, enum state_kind kind, mds_own_fn *execute, void *ctx)
{
	struct own_ctx own = {.fn = execute, .ctx = ctx};
	int r;

	ASSERT(execute != NULL && op->request == NULL);
	r = op_run(op, kind, own_attempt, &own);
	if (r == 0 && op->lsn != 0) {
		state_wait_written(op->mds->st, op->lsn);
	}
	return r;
}

/* ---- requests ---- */

const struct mds_handler *mds_handler_find(struct mds *mds, uint16_t op)
{
	const struct mds_handler *h;

	ASSERT(mds != NULL);
	if (op < MDS_OP_BASE || op >= MDS_OP_BASE + MDS_OPS_MAX) {
		return NULL;
	}
	h = mds->handlers[op - MDS_OP_BASE];
	ASSERT(h == NULL || h->op == op);
	return h;
}

static int request_run(struct mds_op *op)
{
	const struct mds_handler *h = op->handler;
	int r = 0;

	if ((h->flags & MDS_H_CHANGE) != 0 && (h->flags & MDS_H_READ_ONLY_OK) == 0) {
		r = mds_perm_change(op);
	}
	if (r == 0 && h->large_bytes != 0) {
		op->large = mem_alloc(h->large_bytes);
		r = op->large == NULL ? -NE_NOMEM : 0;
	}
	if (r == 0 && h->prepare != NULL) {
		r = h->prepare(op);
	}
	if (r < 0) {
		if (h->committed != NULL) {
			h->committed(op, r);
		}
		return r;
	}
	r = op_run(op, h->kind, request_attempt, NULL);
	/* What was seen must outlive a kill too: of a request that changes nothing, and of a refusal (RULES A2). */
	state_wait_written(op->mds->st, op->lsn != 0 ? op->lsn : state_last_lsn(op->mds->st));
	if (r == 0 && op->data.sizes_sent > 0) {
		r = mds_settling_after(op);
	}
	if (r == 0 && h->after != NULL) {
		r = h->after(op);
	}
	return r;
}

static int serve_once(struct mds *mds, const struct mds_handler *h,
	const struct mds_request *request, struct mds_result *ret_result)
{
	struct mds_op *op = NULL;
	int r = mds_op_new(mds, &op);

	if (r < 0) {
		return r;
	}
	op->session = request->session;
	op->handler = h;
	op->request = request;
	op->req = request->body;
	mds_cred_set(op,
		h->cred_offset == MDS_NO_CRED
			? NULL
			: (const struct w_cred *)((const char *)op->req + h->cred_offset));
	r = request_run(op);
	if (r == 0) {
		ret_result->transno = op->lsn;
	}
	mds_op_free(op);
	return r;
}

int mds_serve(struct mds *mds, const struct mds_request *request, struct mds_result *ret_result)
{
	const struct mds_handler *h = mds_handler_find(mds, request->op->op);
	struct mds_session *session = request->session;
	int r;

	ASSERT(session != NULL && request->body != NULL && request->encode != NULL);
	if (h == NULL) {
		return -NE_NOSYS;
	}
	if (mds->stopping) {
		return -NE_SHUTDOWN;
	}
	mds->requests++;
	mds->op_counts[h->op - MDS_OP_BASE]++;
	session->seen_ns = env_now(mds->env);
	if (session->recovering && request->op->op != W_OP_MDS_RECLAIM_OPEN) {
		mds_data_session_active(mds, session);
	}
	r = serve_once(mds, h, request, ret_result);
	if (r == -NE_NEED_GROUPS && session->role == W_PEER_ROLE_USER) {
		/* Of a user's groups his client is not asked. */
		mds_groups_learn(mds, session);
		r = serve_once(mds, h, request, ret_result);
		r = r == -NE_NEED_GROUPS ? -NE_ACCES : r;
	}
	/* Damage is this server's affair: it is named here, once. */
	if (r == -NE_CORRUPT || r == -NE_IO) {
		log_error("mds", "request failed op=%s error=%s", request->op->name, ne_name(r));
	}
	return r;
}
