/*
 * Reading.
 *
 * An object answers what it has: less than was asked for means a hole or the end of the file. Which one it is
 * follows from the file's size; and the size must be known *before* the bytes that are taken for a hole were
 * looked for, or a write between the two would be read as zeros. So:
 *   1. ask all objects; everything came: done
 *   2. find out how long the file is: from the objects that answered, else from the MDT and the other OSTs
 *   3. ask again for what was missing below that size; what is missing still is a hole: zeros.
 * Nothing is remembered: another client's completed write is always seen.
 */
#include "client/client_int.h"

struct reading {
	struct client *c;
	struct client_file *f;
	const struct iovec *iov;
	unsigned iov_count;
	uint64_t off;
	uint64_t len;
	struct client_io io;
};

/* A lower bound of the size that also is the size, if nobody writes now. */
static int file_size_ask(struct reading *r, uint64_t *ret_size)
{
	struct client_attr attr;
	struct client_cred self = client_cred_self(r->c);
	int err;

	if (r->io.units >= r->io.layout->geom.stripe_count &&
		r->len / r->io.layout->geom.stripe_size >= r->io.layout->geom.stripe_count) {
		/* Every object has answered. */
		*ret_size = r->io.end;
		return 0;
	}
	if (r->io.layout->geom.stripe_count == 1) {
		*ret_size = r->io.end;
		return 0;
	}
	err = client_getattr(r->c, &self, r->f->inode->fid, NULL, &attr);
	if (err == 0) {
		*ret_size = u64_max(attr.size, r->io.end);
	}
	return err;
}

/* Bytes of a unit's memory from `done` on. */
static void unit_zero(struct client_unit *u, uint64_t done)
{
	for (unsigned i = 0; i < u->iov_count; i++) {
		size_t n = u->iov[i].iov_len;
		size_t skip = (size_t)u64_min(done, n);

		memset((char *)u->iov[i].iov_base + skip, 0, n - skip);
		done -= skip;
	}
}

/* Cuts off what was read. */
static void unit_rest(struct client_unit *u, const struct layout_geom *geom, uint64_t done)
{
	unsigned i = 0;

	ASSERT(done < u->len);
	u->object_off += done;
	u->len -= (uint32_t)done;
	u->file_off = layout_file_offset(geom, u->stripe, u->object_off);
	while (done >= u->iov[i].iov_len) {
		done -= u->iov[i++].iov_len;
	}
	memmove(u->iov, u->iov + i, (u->iov_count - i) * sizeof(u->iov[0]));
	u->iov_count -= i;
	u->iov[0].iov_base = (char *)u->iov[0].iov_base + done;
	u->iov[0].iov_len -= (size_t)done;
}

static void shorts_again(struct reading *r, uint64_t size)
{
	struct list again;
	struct list *it;

	list_init(&again);
	list_splice_back(&again, &r->io.shorts);
	while ((it = list_pop_front(&again)) != NULL) {
		struct client_unit *u = list_entry(it, struct client_unit, link);

		unit_rest(u, &r->io.layout->geom, u64_min(u->call.bulk_in_len, u->len));
		if (u->file_off < size) {
			client_unit_start(&r->io, u);
		} else {
			mem_free(u);
		}
	}
	client_io_finish(&r->io);
	while ((it = list_pop_front(&r->io.shorts)) != NULL) {
		struct client_unit *u = list_entry(it, struct client_unit, link);

		unit_zero(u, u64_min(u->call.bulk_in_len, u->len));
		mem_free(u);
	}
}

/* Fills r->io; *ret_size: bytes below it are in the caller's memory. */
static void read_objects(struct reading *r, uint64_t *ret_size)
{
	struct client_place place = {.iov = r->iov, .count = r->iov_count};
	uint64_t end = r->off + r->len;

	client_io_init(&r->io);
	client_io_run(&r->io, place, r->off, r->len);
	if (r->io.error != 0 || list_empty(&r->io.shorts)) {
		*ret_size = end;
		return;
	}
	*ret_size = r->io.end;
	if (r->io.end < end) {
		int err = file_size_ask(r, ret_size);

		if (err != 0) {
			r->io.error = err;
			r->io.error_off = r->off;
			return;
		}
	}
	shorts_again(r, u64_min(*ret_size, end));
}

static int read_striped(struct reading *r, size_t *ret_len)
{
	uint64_t size = 0;
	int err;

	r->io.c = r->c;
	r->io.inode = r->f->inode;
	r->io.layout = client_layout_ref(r->f->inode->layout);
	r->io.deadline_ns = client_deadline(r->c);
	read_objects(r, &size);
	err = r->io.error;
	size = u64_min(size, r->io.error_off);
	*ret_len = size > r->off ? (size_t)u64_min(size - r->off, r->len) : 0;
	client_io_fini(&r->io);
	client_layout_put(&r->io.layout);
	return err;
}

int client_read(struct client *c, struct client_file *f, const struct iovec *iov,
	unsigned iov_count, uint64_t off, size_t *ret_len)
{
	struct reading r = {.c = c, .f = f, .iov = iov, .iov_count = iov_count, .off = off};
	int err = 0;

	*ret_len = 0;
	if (f->dir || (f->open_flags & W_OPEN_FLAGS_READ) == 0) {
		return f->dir ? -NE_ISDIR : -NE_BADF;
	}
	if (f->stale) {
		return -NE_STALE;
	}
	r.len = client_iov_len(iov, iov_count);
	if (off >= LIM_FILE_SIZE_MAX || r.len == 0) {
		return 0;
	}
	r.len = u64_min(r.len, LIM_FILE_SIZE_MAX - off);
	f->did_read = true;
	if (f->inode->layout_unsure) {
		err = client_layout_refresh(c, f);
	}
	if (err != 0) {
		return err;
	}
	for (unsigned i = 0; i < CLIENT_LAYOUT_TRIES; i++) {
		struct client_place place = {.iov = iov, .count = iov_count};

		err = f->inode->inline_data ? client_inline_read(c, f, place, off, ret_len)
					    : read_striped(&r, ret_len);
		if (err != -NE_STALE_LAYOUT && err != -NE_LAYOUT_CHANGED) {
			return err;
		}
		*ret_len = 0;
		err = client_layout_refresh(c, f);
		if (err != 0) {
			return err;
		}
		err = -NE_STALE_LAYOUT;
	}
	return err;
}
