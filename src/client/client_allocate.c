/*
 * fallocate: space promised, holes punched, ranges zeroed; in the MDT while the file is small, else at the objects.
 *
 * A range of the file is one range of each object. Space first: all objects keep their sizes while it is promised, and
 * only when every OST has it do they grow, which makes the file as long (the objects alone tell the size). So ENOSPC leaves
 * the size as it was. A range within one object needs one request for both. Like writes these changes are unstable
 * until a COMMIT, and harmless when they are repeated.
 */
#include "client/client_int.h"

/* Requests at a time of one call. */
#define ALLOCATE_CALLS 64

struct allocation {
	struct client *c;
	struct client_file *f;
	struct client_range range;
	uint32_t flags; /* W_FALLOCATE_FLAGS_* of the wire */
	struct client_layout *layout;
};

/* One object's part. */
struct piece {
	struct client_target *ost;
	uint32_t stripe;
	struct rpc_call call;
	struct w_ost_allocate_rep rep;
};

static struct client_range object_range(const struct allocation *a, uint32_t stripe)
{
	const struct layout_geom *g = &a->layout->geom;
	uint64_t from = layout_object_size(g, stripe, a->range.off);
	uint64_t to = layout_object_size(g, stripe, a->range.off + a->range.len);

	return (struct client_range){.off = from, .len = to - from};
}

static int piece_start(struct allocation *a, struct piece *p, struct client_range r, uint32_t flags)
{
	const struct client_inode *inode = a->f->inode;
	struct w_ost_allocate_req req = {
		.object = {.data_fid = a->layout->data_fid,
			.stripe = p->stripe,
			.layout_gen = a->layout->gen,
			.file_fid = inode->fid},
		.offset = r.off,
		.length = r.len,
		.flags = flags,
		.must_exist = client_layout_present(a->layout, p->stripe),
		.uid = inode->uid,
		.gid = inode->gid,
		.projid = inode->projid,
	};
	int err = client_ost_get(a->c, a->layout->osts[p->stripe], &p->ost);

	if (err != 0) {
		return err;
	}
	p->call = (struct rpc_call){.op = W_OP_OST_ALLOCATE,
		.flags = RPC_CALL_REPEATABLE,
		.request = &req,
		.reply = &p->rep,
		.deadline_ns = client_deadline(a->c)};
	a->c->counters.rpcs++;
	rpc_call_start(p->ost->session, &p->call);
	return 0;
}

static int piece_finish(struct allocation *a, struct piece *p)
{
	int err = rpc_call_wait(&p->call);

	if (err == 0 && p->rep.attr.exists) {
		struct w_ost_write_rep wrote = {.attr = p->rep.attr, .verifier = p->rep.verifier};

		client_stripe_wrote(a->f->inode, p->ost, p->stripe, &wrote);
		client_layout_present_set(a->layout, p->stripe);
	}
	rpc_call_fini(&p->call);
	return err;
}

/* A changed layout is worth more than what else went wrong: everything is done again. */
static int worse(int a, int b)
{
	return a == 0 || b == -NE_STALE_LAYOUT ? b : a;
}

/* All objects' parts of the range, ALLOCATE_CALLS at a time; everything that was started is waited for. */
static int pieces_run(struct allocation *a, uint32_t flags)
{
	_cleanup_(free_ptr) struct piece *pieces =
		mem_zalloc_array(ALLOCATE_CALLS, sizeof(*pieces));
	uint32_t stripe = 0;
	int err = pieces == NULL ? -NE_NOMEM : 0;

	while (err == 0 && stripe < a->layout->geom.stripe_count) {
		uint32_t n = 0;

		for (; n < ALLOCATE_CALLS && err == 0 && stripe < a->layout->geom.stripe_count;
			stripe++) {
			struct client_range r = object_range(a, stripe);

			if (r.len > 0) {
				pieces[n].stripe = stripe;
				err = piece_start(a, &pieces[n], r, flags);
				n += err == 0;
			}
		}
		for (uint32_t i = 0; i < n; i++) {
			int rc = piece_finish(a, &pieces[i]);

			err = rc == 0 ? err : worse(err, rc);
		}
	}
	return err;
}

static int objects_once(struct allocation *a)
{
	const struct layout_geom *g = &a->layout->geom;
	bool keep = (a->flags & W_FALLOCATE_FLAGS_KEEP_SIZE) != 0;
	bool one = g->stripe_count == 1 ||
		a->range.off / g->stripe_size == (a->range.off + a->range.len - 1) / g->stripe_size;
	int err = client_stripes_prepare(a->f->inode, a->layout);

	if (err != 0) {
		return err;
	}
	a->f->wrote = true;
	err = pieces_run(a, a->flags | (one ? 0 : W_FALLOCATE_FLAGS_KEEP_SIZE));
	/* Every object becomes as long as its part, so that holes can be punched there again. */
	return err == 0 && !keep && !one ? pieces_run(a, 0) : err;
}

static int objects_run(struct allocation *a)
{
	int err = 0;

	for (unsigned i = 0; i < CLIENT_LAYOUT_TRIES; i++) {
		if (!a->f->size_opened) {
			err = client_layout_instantiate(a->c, a->f);
		}
		if (err != 0) {
			return err;
		}
		a->layout = client_layout_ref(a->f->inode->layout);
		err = objects_once(a);
		client_layout_put(&a->layout);
		if (err != -NE_STALE_LAYOUT) {
			return err;
		}
		a->f->size_opened = false;
		err = 0;
	}
	return -NE_STALE_LAYOUT;
}

static int inline_run(struct allocation *a, bool kill_suid)
{
	struct client_inode *inode = a->f->inode;
	struct w_mds_fallocate_req req = {
		.fid = inode->fid,
		.handle = a->f->handle,
		.offset = a->range.off,
		.length = a->range.len,
		.flags = a->flags | (kill_suid ? W_FALLOCATE_FLAGS_KILL_SUID : 0),
	};
	struct w_mds_fallocate_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {.op = W_OP_MDS_FALLOCATE,
		.flags = RPC_CALL_REPEATABLE,
		.request = &req,
		.reply = &rep};
	int err;

	if ((a->f->open_flags & W_OPEN_FLAGS_SYNC) != 0) {
		req.flags |= W_FALLOCATE_FLAGS_SYNC;
	}
	err = client_mdt_call(a->c, &call);
	if (err == 0) {
		client_inode_attr(inode, &rep.attr);
		inode->mdt_transno = u64_max(inode->mdt_transno, call.transno);
	}
	return err;
}

static uint32_t flags_encode(unsigned flags)
{
	uint32_t wire = 0;

	wire |= (flags & CLIENT_ALLOC_KEEP_SIZE) != 0 ? W_FALLOCATE_FLAGS_KEEP_SIZE : 0;
	wire |= (flags & CLIENT_ALLOC_PUNCH) != 0 ? W_FALLOCATE_FLAGS_PUNCH : 0;
	wire |= (flags & CLIENT_ALLOC_ZERO) != 0 ? W_FALLOCATE_FLAGS_ZERO : 0;
	return wire;
}

int client_allocate(struct client *c, const struct client_cred *cred, struct client_file *f,
	struct client_range range, unsigned flags)
{
	struct allocation a = {.c = c, .f = f, .range = range, .flags = flags_encode(flags)};
	int err = client_write_check(c, f);

	if (err != 0) {
		return err;
	}
	if (range.len == 0) {
		return -NE_INVAL;
	}
	if (f->inode->immutable ||
		(f->inode->append_only &&
			(flags & (CLIENT_ALLOC_PUNCH | CLIENT_ALLOC_ZERO)) != 0)) {
		return -NE_PERM;
	}
	if (range.off > LIM_FILE_SIZE_MAX || range.len > LIM_FILE_SIZE_MAX - range.off) {
		return -NE_FBIG;
	}
	if (f->inode->inline_data) {
		err = inline_run(&a, client_suid_kills(f, cred));
		if (err != -NE_FBIG && err != -NE_LAYOUT_CHANGED) {
			return err;
		}
		f->size_opened = false;
	}
	err = client_suid_kill(c, f, cred);
	if (err == 0) {
		err = objects_run(&a);
	}
	if (err == 0 && (f->open_flags & W_OPEN_FLAGS_SYNC) != 0) {
		err = client_inode_sync(c, f->inode);
	}
	return err;
}
