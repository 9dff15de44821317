/*
 * Durability: fsync, O_SYNC, `nacre sync`; and telling once of writes that were lost.
 *
 * An acknowledged write is in the OST host's memory, named by the verifier of that start of the OST. COMMIT makes it
 * durable and answers the verifier of now. Another verifier means that the OST was restarted in between: the
 * write is there if the host has not rebooted (the same boot id) and no sync has failed since (the same
 * memory_loss), else it counts as lost, and each handle that was open is told once (-NE_LOST_WRITES). A handle opened later is not told: what it sees is what there is.
 *
 * Order of an fsync: COMMIT at the OSTs, sizes of all objects to the MDT, then the MDT's log.
 */
#include "client/client_int.h"

int client_lost_check(struct client_file *f)
{
	if (f->lost_seen == f->inode->lost) {
		return 0;
	}
	f->lost_seen = f->inode->lost;
	return -NE_LOST_WRITES;
}

struct committing {
	struct client_inode *inode;
	struct client_layout *layout;
	uint64_t
		*numbers; /* per stripe, of the newest write when the commit began; 0: clean then */
	struct client_sizes sizes;
	bool all; /* every stripe was asked */
};

static void stripe_committed(void *ctx, const struct client_object *o)
{
	struct committing *cm = ctx;
	struct client_inode *inode = cm->inode;
	struct client_stripe *s;

	client_sizes_add(&cm->sizes, cm->layout, o);
	if (cm->numbers == NULL || cm->numbers[o->stripe] == 0) {
		return;
	}
	ASSERT(o->stripe < inode->stripe_count);
	s = &inode->stripes[o->stripe];
	if (!s->dirty) {
		return;
	}
	if (s->verifier != o->verifier) {
		uint64_t boot = client_target_boot(o->ost, o->verifier);

		inode->lost += boot == 0 || boot != s->boot;
		s->verifier = o->verifier;
		s->boot = boot;
	}
	if (s->number == cm->numbers[o->stripe]) {
		s->dirty = false;
		inode->dirty--;
	}
}

static int numbers_note(struct committing *cm, uint8_t *ret_want)
{
	struct client_inode *inode = cm->inode;
	bool mine = inode->stripes != NULL && fid_eq(inode->stripes_of, cm->layout->data_fid);
	uint32_t noted = 0;

	if (!mine) {
		return 0;
	}
	cm->numbers = mem_zalloc_array(inode->stripe_count, sizeof(*cm->numbers));
	if (cm->numbers == NULL) {
		return -NE_NOMEM;
	}
	for (uint32_t i = 0; i < inode->stripe_count; i++) {
		if (inode->stripes[i].dirty) {
			cm->numbers[i] = inode->stripes[i].number;
			ret_want[i / 8] |= (uint8_t)(1u << (i % 8));
			noted++;
		}
	}
	/* Then COMMIT tells every object's size, and nobody has to be asked for it. */
	cm->all = noted == cm->layout->geom.stripe_count;
	return 0;
}

/* COMMIT of what is dirty; the first time of all objects, as somebody else may have written before. */
static int inode_commit(struct client *c, struct committing *cm)
{
	uint8_t want[sizeof(cm->sizes.present)] = {0};
	struct client_query q = {
		.c = c,
		.layout = cm->layout,
		.file = cm->inode->fid,
		.commit = true,
		.want = want,
		.fn = stripe_committed,
		.ctx = cm,
	};
	int err = numbers_note(cm, want);

	if (err != 0) {
		return err;
	}
	if (!cm->inode->committed_all) {
		q.want = NULL;
		cm->all = true;
	}
	err = client_query_run(&q);
	if (err == 0) {
		cm->inode->committed_all = true;
	}
	return err;
}

/* An open handle that may tell the MDT sizes. */
static struct client_file *writer_of(struct client_inode *inode)
{
	LIST_FOREACH (it, &inode->files) {
		struct client_file *f = list_entry(it, struct client_file, of_inode);

		if (f->opened && !f->closing && !f->stale &&
			(f->open_flags & W_OPEN_FLAGS_WRITE) != 0) {
			return f;
		}
	}
	return NULL;
}

static int size_tell(struct client *c, struct committing *cm)
{
	struct client_file *f = writer_of(cm->inode);
	uint64_t writes = cm->inode->writes;
	struct w_mds_size_req req = {.fid = cm->inode->fid};
	struct w_mds_size_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_SIZE, .flags = RPC_CALL_REPEATABLE, .request = &req, .reply = &rep};
	int err = 0;

	/* Without a writer the last close has told it. */
	if (f == NULL || cm->inode->writes_reported == writes) {
		return 0;
	}
	req.handle = f->handle;
	if (!cm->all) {
		err = client_sizes_ask(c, cm->layout, cm->inode->fid, &cm->sizes);
	}
	if (err == 0) {
		client_report_fill(&cm->sizes, cm->layout, &req.report);
		err = client_mdt_call(c, &call);
	}
	if (err == 0) {
		client_inode_attr(cm->inode, &rep.attr);
		cm->inode->writes_reported = writes;
	}
	/* Closed meanwhile: then its close has told it. */
	return err == -NE_BADF ? 0 : err;
}

/* -NE_STALE_LAYOUT: to be done again with a newer layout. */
static int inode_sync_once(struct client *c, struct client_inode *inode)
{
	struct committing *cm = mem_zalloc(sizeof(*cm));
	int err;

	if (cm == NULL) {
		return -NE_NOMEM;
	}
	cm->inode = inode;
	cm->layout = client_layout_ref(inode->layout);
	err = inode_commit(c, cm);
	if (err == 0) {
		err = size_tell(c, cm);
	}
	client_layout_unref(cm->layout);
	mem_free(cm->numbers);
	mem_free(cm);
	return err;
}

static int layout_again(struct client *c, struct client_inode *inode)
{
	struct client_cred self = client_cred_self(c);
	struct w_mds_getattr_req req = {.fid = inode->fid, .want = W_WANT_LAYOUT};
	struct w_mds_getattr_rep rep;
	_cleanup_(rpc_call_fini) struct rpc_call call = {
		.op = W_OP_MDS_GETATTR, .request = &req, .reply = &rep};
	int err = client_mdt_ask(c, &self, &req.cred, &call);

	return err != 0 ? err : client_inode_update(c, inode, &rep.info);
}

int client_inode_sync(struct client *c, struct client_inode *inode)
{
	int err = 0;

	ASSERT(inode->refs > 0);
	if (S_ISREG(inode->mode) && !inode->inline_data && inode->layout != NULL) {
		err = inode_sync_once(c, inode);
		for (unsigned i = 0; err == -NE_STALE_LAYOUT && i < CLIENT_LAYOUT_TRIES; i++) {
			err = layout_again(c, inode);
			if (err == 0) {
				err = inode_sync_once(c, inode);
			}
		}
	}
	return err == 0 ? client_sync(c) : err;
}

int client_fsync(struct client *c, struct client_file *f, bool data_only)
{
	int err;

	/* The size belongs to the data, and times travel with it. */
	(void)data_only;
	if (f->stale) {
		return -NE_STALE;
	}
	err = client_inode_sync(c, f->inode);
	if (err == 0 && f->stale) {
		/* The MDT was restarted meanwhile and does not know the file any more. */
		return -NE_STALE;
	}
	return err != 0 ? err : client_lost_check(f);
}

/* ---- everything ---- */

struct syncing {
	struct client_target *ost;
	struct w_ost_sync_rep rep;
	struct rpc_call call;
};

static int osts_sync(struct client *c, uint64_t deadline_ns)
{
	struct w_ost_sync_req req = {.all = true};
	uint32_t count = c->map.ost_count;
	_cleanup_(free_ptr) struct syncing *all = mem_zalloc_array((size_t)count + 1, sizeof(*all));
	int err = 0;

	if (all == NULL) {
		return -NE_NOMEM;
	}
	for (uint32_t i = 0; i < count; i++) {
		/* Who was never talked to holds nothing of ours. */
		if (c->map.osts[i] == NULL || c->map.osts[i]->session == NULL) {
			continue;
		}
		all[i].ost = c->map.osts[i];
		all[i].call = (struct rpc_call){.op = W_OP_OST_SYNC,
			.request = &req,
			.reply = &all[i].rep,
			.deadline_ns = deadline_ns};
		rpc_call_start(all[i].ost->session, &all[i].call);
	}
	for (uint32_t i = 0; i < count; i++) {
		if (all[i].ost != NULL) {
			int rc = rpc_call_wait(&all[i].call);

			rpc_call_fini(&all[i].call);
			err = err != 0 ? err : rc;
		}
	}
	return err;
}

/* Some inode with unsynced writes that is not yet done, with a reference. */
static struct client_inode *dirty_next(struct client *c)
{
	struct client_inode *found = NULL;

	HMAP_FOREACH (it, &c->inodes) {
		struct client_inode *inode = container_of(it, struct client_inode, node);

		if (inode->dirty > 0 && !inode->sync_seen) {
			found = inode;
			break;
		}
	}
	if (found != NULL) {
		found->sync_seen = true;
		if (client_inode_get(c, found->fid, &found) != 0) {
			return NULL;
		}
	}
	return found;
}

/* The file was removed: what of it was not durable is nobody's any more. */
static void inode_forget(struct client_inode *inode)
{
	for (uint32_t i = 0; i < inode->stripe_count && inode->dirty > 0; i++) {
		inode->dirty -= inode->stripes[i].dirty ? 1 : 0;
		inode->stripes[i].dirty = false;
	}
	ASSERT(inode->dirty == 0);
}

static int dirty_sync(struct client *c, struct client_inode *inode)
{
	uint64_t lost = inode->lost;
	int err = client_inode_sync(c, inode);

	if (err == -NE_STALE && list_empty(&inode->files)) {
		inode_forget(inode);
		return 0;
	}
	return err == 0 && inode->lost != lost ? -NE_LOST_WRITES : err;
}

/* A loss is told after everything else has been made durable; servers that do not answer end it at once. */
int client_sync_all(struct client *c, uint64_t deadline_ns)
{
	uint64_t deadline = deadline_ns != 0 ? deadline_ns : client_deadline(c);
	struct client_inode *inode;
	bool lost = false;
	int err = osts_sync(c, deadline);

	HMAP_FOREACH (it, &c->inodes) {
		container_of(it, struct client_inode, node)->sync_seen = false;
	}
	while (err == 0 && (inode = dirty_next(c)) != NULL) {
		err = dirty_sync(c, inode);
		if (err == -NE_LOST_WRITES) {
			lost = true;
			err = 0;
		}
		client_inode_put(c, inode);
	}
	if (err == 0) {
		err = client_sync(c);
	}
	return err == 0 && lost ? -NE_LOST_WRITES : err;
}
