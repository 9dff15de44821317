/*
 * A file range to and from objects: split by stripe, coalesced per object, all OSTs at the same time.
 *
 * A contiguous range of the file is one contiguous range of each object it touches; in memory it is scattered. So
 * pieces of the range, taken in file order, are added to one open unit per stripe, and a unit that is full (or
 * comes to a multiple of CLIENT_RPC_BYTES in its object, so that requests stay aligned) is sent. Units travel straight
 * from and into the caller's memory.
 *
 * Bounds. Per OST CLIENT_OST_BYTES and CLIENT_OST_CALLS over all transfers of the client. A fiber that finds no
 * room first finishes units of its own, so it never holds room while it waits for others' (no deadlock).
 * Every unit that was started is waited for, also after errors and interruptions.
 */
#include "client/client_int.h"

/* Units being filled: a range over more stripes than this sends the oldest half-filled one. */
#define UNITS_OPEN_MAX 256

void client_io_init(struct client_io *io)
{
	list_init(&io->open);
	list_init(&io->started);
	list_init(&io->shorts);
	io->open_count = 0;
	io->error = 0;
	io->error_off = UINT64_MAX;
	io->end = 0;
	io->units = 0;
}

static void io_fail(struct client_io *io, uint64_t off, int err)
{
	ASSERT(err < 0);
	/* A changed layout is worth more than what else went wrong: everything is done again. */
	if (io->error == 0 || err == -NE_STALE_LAYOUT) {
		io->error = err;
	}
	io->error_off = u64_min(io->error_off, off);
}

static void units_free(struct list *units)
{
	struct list *it;

	while ((it = list_pop_front(units)) != NULL) {
		mem_free(list_entry(it, struct client_unit, link));
	}
}

void client_io_fini(struct client_io *io)
{
	ASSERT(list_empty(&io->started));
	units_free(&io->open);
	units_free(&io->shorts);
}

/* ---- the end of a unit ---- */

static void read_done(struct client_io *io, struct client_unit *u)
{
	const struct layout_geom *geom = &io->layout->geom;
	uint64_t got = u64_min(u->call.bulk_in_len, u->len);
	uint64_t size = u64_max(u->rep.read.attr.size, got == 0 ? 0 : u->object_off + got);

	io->c->counters.bytes_read += got;
	if (u->rep.read.attr.exists || got > 0) {
		size = u64_min(size, LIM_FILE_SIZE_MAX);
		io->end = u64_max(io->end, layout_file_size(geom, u->stripe, size));
	}
	if (got < u->len) {
		list_push_back(&io->shorts, &u->link);
		return;
	}
	mem_free(u);
}

static void write_done(struct client_io *io, struct client_unit *u)
{
	client_stripe_wrote(io->inode, u->ost, u->stripe, &u->rep.write);
	client_layout_present_set(io->layout, u->stripe);
	io->c->counters.bytes_written += u->len;
	mem_free(u);
}

/* Waits for the oldest unit that was started. */
static void unit_finish(struct client_io *io)
{
	struct client_unit *u = list_entry(list_pop_front(&io->started), struct client_unit, link);
	int err = rpc_call_wait(&u->call);

	ASSERT(u->ost->calls > 0 && u->ost->bytes >= u->len);
	u->ost->calls--;
	u->ost->bytes -= u->len;
	env_wake_all(io->c->env, &u->ost->room);
	if (err != 0) {
		io_fail(io, u->file_off, err);
		rpc_call_fini(&u->call);
		mem_free(u);
		return;
	}
	rpc_call_fini(&u->call);
	if (io->write) {
		write_done(io, u);
	} else {
		read_done(io, u);
	}
}

void client_io_finish(struct client_io *io)
{
	while (!list_empty(&io->started)) {
		unit_finish(io);
	}
}

/* ---- the start of a unit ---- */

static bool room_for(const struct client_target *ost, uint32_t len)
{
	return ost->calls == 0 ||
		(ost->calls < CLIENT_OST_CALLS && ost->bytes + len <= CLIENT_OST_BYTES);
}

static int room_wait(struct client_io *io, struct client_unit *u)
{
	while (!room_for(u->ost, u->len)) {
		uint64_t deadline = io->deadline_ns == 0 ? ENV_FOREVER : io->deadline_ns;
		int err;

		if (!list_empty(&io->started)) {
			unit_finish(io);
			continue;
		}
		err = env_wait(io->c->env, &u->ost->room, deadline, ENV_WAIT_INTR);
		if (err != 0) {
			return err;
		}
	}
	return 0;
}

static struct w_object_ref unit_ref(const struct client_io *io, const struct client_unit *u)
{
	return (struct w_object_ref){.data_fid = io->layout->data_fid,
		.stripe = u->stripe,
		.layout_gen = io->layout->gen,
		.file_fid = io->inode->fid};
}

static void unit_send_read(struct client_io *io, struct client_unit *u)
{
	struct w_ost_read_req req = {
		.object = unit_ref(io, u),
		.offset = u->object_off,
		.length = u->len,
		.must_exist = client_layout_present(io->layout, u->stripe),
	};

	u->call.op = W_OP_OST_READ;
	u->call.request = &req;
	u->call.reply = &u->rep.read;
	u->call.bulk_in = u->iov;
	u->call.bulk_in_count = u->iov_count;
	rpc_call_start(u->ost->session, &u->call);
}

static void unit_send_write(struct client_io *io, struct client_unit *u)
{
	struct w_ost_write_req req = {
		.object = unit_ref(io, u),
		.offset = u->object_off,
		.length = u->len,
		.flags = io->sync ? W_OST_WRITE_FLAGS_SYNC : 0,
		.write_incarnation = io->c->incarnation,
		.write_seq = ++io->c->write_seq,
		.uid = io->inode->uid,
		.gid = io->inode->gid,
		.projid = io->inode->projid,
		.checksum_kind = 1,
	};

	u->call.op = W_OP_OST_WRITE;
	/* The same bytes at the same place: harmless twice, also in a new session. */
	u->call.flags = RPC_CALL_REPEATABLE;
	u->call.request = &req;
	u->call.reply = &u->rep.write;
	u->call.bulk_out = u->iov;
	u->call.bulk_out_count = u->iov_count;
	rpc_call_start(u->ost->session, &u->call);
}

void client_unit_start(struct client_io *io, struct client_unit *u)
{
	int err = client_ost_get(io->c, io->layout->osts[u->stripe], &u->ost);

	ASSERT(u->len > 0 && u->iov_count > 0);
	if (err == 0) {
		err = room_wait(io, u);
	}
	if (err == 0 && io->error != 0) {
		err = io->error;
	}
	if (err != 0) {
		io_fail(io, u->file_off, err);
		mem_free(u);
		return;
	}
	u->ost->calls++;
	u->ost->bytes += u->len;
	io->units++;
	io->c->counters.rpcs++;
	u->call = (struct rpc_call){.deadline_ns = io->deadline_ns};
	list_push_back(&io->started, &u->link);
	if (io->write) {
		unit_send_write(io, u);
	} else {
		unit_send_read(io, u);
	}
}

/* ---- filling units ---- */

static void open_start(struct client_io *io, struct client_unit *u)
{
	list_del(&u->link);
	io->open_count--;
	client_unit_start(io, u);
}

/* The open unit of a stripe, or a new one. */
static struct client_unit *unit_get(struct client_io *io, const struct layout_extent *e)
{
	struct client_unit *u;

	LIST_FOREACH (it, &io->open) {
		u = list_entry(it, struct client_unit, link);
		if (u->stripe == e->stripe) {
			ASSERT(u->object_off + u->len == e->object_off);
			return u;
		}
	}
	if (io->open_count == UNITS_OPEN_MAX) {
		open_start(io, list_entry(io->open.next, struct client_unit, link));
	}
	u = mem_alloc(sizeof(*u));
	if (u == NULL) {
		return NULL;
	}
	u->stripe = e->stripe;
	u->object_off = e->object_off;
	u->file_off = e->file_off;
	u->len = 0;
	u->iov_count = 0;
	u->ost = NULL;
	list_push_back(&io->open, &u->link);
	io->open_count++;
	return u;
}

static void place_skip_empty(struct client_place *p)
{
	while (p->count > 0 && p->used == p->iov->iov_len) {
		p->iov++;
		p->count--;
		p->used = 0;
	}
}

/* Adds the beginning of an extent to its unit; returns how much. */
static uint64_t unit_add(
	struct client_io *io, struct client_unit *u, struct client_place *p, uint64_t len)
{
	uint64_t left = CLIENT_RPC_BYTES - (u->object_off + u->len) % CLIENT_RPC_BYTES;
	uint64_t n;

	place_skip_empty(p);
	ASSERT(p->count > 0 && u->iov_count < CLIENT_RPC_IOVS);
	n = u64_min(u64_min(len, left), p->iov->iov_len - p->used);
	u->iov[u->iov_count++] = (struct iovec){
		.iov_base = (char *)p->iov->iov_base + p->used, .iov_len = (size_t)n};
	u->len += (uint32_t)n;
	p->used += (size_t)n;
	if (n == left || u->iov_count == CLIENT_RPC_IOVS) {
		open_start(io, u);
	}
	return n;
}

void client_io_run(struct client_io *io, struct client_place place, uint64_t off, uint64_t len)
{
	uint64_t end = off + len;

	ASSERT(end >= off && end <= LIM_FILE_SIZE_MAX);
	while (off < end && io->error == 0) {
		struct layout_extent e = layout_extent_at(&io->layout->geom, off, end - off);
		struct client_unit *u = unit_get(io, &e);

		if (u == NULL) {
			io_fail(io, off, -NE_NOMEM);
			break;
		}
		off += unit_add(io, u, &place, e.len);
	}
	while (!list_empty(&io->open)) {
		struct client_unit *u = list_entry(io->open.next, struct client_unit, link);

		open_start(io, u);
	}
	client_io_finish(io);
}
