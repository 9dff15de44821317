/*
 * SEEK_DATA and SEEK_HOLE over stripes.
 *
 * Every object is asked for its first data (or hole) at or behind the place that belongs to the file's offset; the
 * nearest answer, as an offset of the file, is the file's, because between the offset and it no object has any. A hole
 * behind the last byte is the file's end. The size is asked of the MDT and the OSTs first. Inline data has no holes.
 */
#include "client/client_int.h"

/* Requests at a time of one call. */
#define SEEK_CALLS 64

struct seeking {
	struct client *c;
	struct client_file *f;
	struct client_layout *layout;
	uint64_t off;
	bool data;
	uint64_t best; /* file offset; UINT64_MAX: none yet */
};

struct asked {
	uint32_t stripe;
	struct rpc_call call;
	struct w_ost_seek_rep rep;
};

static int ask_start(struct seeking *s, struct asked *a)
{
	struct client_target *ost = NULL;
	struct w_ost_seek_req req = {
		.object = {.data_fid = s->layout->data_fid,
			.stripe = a->stripe,
			.layout_gen = s->layout->gen,
			.file_fid = s->f->inode->fid},
		.offset = layout_object_size(&s->layout->geom, a->stripe, s->off),
		.data = s->data,
		.must_exist = client_layout_present(s->layout, a->stripe),
	};
	int err = client_ost_get(s->c, s->layout->osts[a->stripe], &ost);

	if (err != 0) {
		return err;
	}
	a->call = (struct rpc_call){.op = W_OP_OST_SEEK,
		.request = &req,
		.reply = &a->rep,
		.deadline_ns = client_deadline(s->c)};
	s->c->counters.rpcs++;
	rpc_call_start(ost->session, &a->call);
	return 0;
}

static int ask_finish(struct seeking *s, struct asked *a)
{
	int err = rpc_call_wait(&a->call);

	if (err == 0 && a->rep.found) {
		uint64_t at = u64_min(a->rep.offset, LIM_FILE_SIZE_MAX);

		s->best = u64_min(s->best, layout_file_offset(&s->layout->geom, a->stripe, at));
	}
	rpc_call_fini(&a->call);
	return err;
}

static int objects_ask(struct seeking *s)
{
	_cleanup_(free_ptr) struct asked *all = mem_zalloc_array(SEEK_CALLS, sizeof(*all));
	uint32_t count = s->layout->geom.stripe_count;
	uint32_t stripe = 0;
	int err = all == NULL ? -NE_NOMEM : 0;

	s->best = UINT64_MAX;
	while (err == 0 && stripe < count) {
		uint32_t n = 0;

		for (; n < SEEK_CALLS && err == 0 && stripe < count; stripe++) {
			all[n].stripe = stripe;
			err = ask_start(s, &all[n]);
			n += err == 0;
		}
		for (uint32_t i = 0; i < n; i++) {
			int rc = ask_finish(s, &all[i]);

			err = err == 0 || rc == -NE_STALE_LAYOUT ? rc : err;
		}
	}
	return err;
}

static int size_ask(struct seeking *s, uint64_t *ret_size)
{
	struct client_cred self = client_cred_self(s->c);
	struct client_attr attr;
	int err = client_getattr(s->c, &self, s->f->inode->fid, s->f, &attr);

	*ret_size = err == 0 ? attr.size : 0;
	return err;
}

static int seek_once(struct seeking *s, uint64_t *ret_off)
{
	uint64_t size = 0;
	/* Somebody else may have moved the data out of the MDT. */
	bool refresh = s->f->inode->inline_data || s->f->inode->layout_unsure;
	int err = refresh ? client_layout_refresh(s->c, s->f) : 0;

	if (err == 0) {
		err = size_ask(s, &size);
	}
	if (err != 0) {
		return err;
	}
	if (s->off >= size) {
		return -NE_NXIO;
	}
	if (s->f->inode->inline_data) {
		*ret_off = s->data ? s->off : size;
		return 0;
	}
	s->layout = client_layout_ref(s->f->inode->layout);
	err = objects_ask(s);
	client_layout_put(&s->layout);
	if (err != 0) {
		return err;
	}
	if (s->data && s->best >= size) {
		return -NE_NXIO;
	}
	*ret_off = u64_min(s->best, size);
	ASSERT(*ret_off >= s->off);
	return 0;
}

int client_seek(struct client *c, struct client_file *f, uint64_t off, bool data, uint64_t *ret_off)
{
	struct seeking s = {.c = c, .f = f, .off = off, .data = data};
	int err = 0;

	if (f->dir) {
		return -NE_INVAL;
	}
	if (f->stale) {
		return -NE_STALE;
	}
	if (off >= LIM_FILE_SIZE_MAX) {
		return -NE_NXIO;
	}
	for (unsigned i = 0; i < CLIENT_LAYOUT_TRIES; i++) {
		err = seek_once(&s, ret_off);
		if (err != -NE_STALE_LAYOUT) {
			return err;
		}
		err = client_layout_refresh(c, f);
		if (err != 0) {
			return err;
		}
	}
	return -NE_STALE_LAYOUT;
}
