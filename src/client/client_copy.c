/*
 * copy_file_range: from the source's objects to the target's through this client's memory, not the application's.
 *
 * A window of COPY_BYTES is read from all its OSTs at the same time, then written to all of the target's. Windows
 * are few (COPIES_MAX), whoever finds none waits. What was copied before an error or an interruption counts.
 */
#include "client/client_int.h"

/* Bytes of a window: 4 requests on the way for a file with one stripe. */
#define COPY_BYTES (4 * MIB)
/* Windows of one mount: the bound of the memory they take. */
#define COPIES_MAX 16

static int copy_check(const struct client *c, const struct client_copy *copy)
{
	uint64_t a = copy->from_off;
	uint64_t b = copy->to_off;
	int err = client_write_check(c, copy->to);

	if (err != 0) {
		return err;
	}
	if (copy->from->dir) {
		return -NE_ISDIR;
	}
	if ((copy->from->open_flags & W_OPEN_FLAGS_READ) == 0 ||
		(copy->to->open_flags & W_OPEN_FLAGS_APPEND) != 0) {
		return -NE_BADF;
	}
	if (!S_ISREG(copy->from->inode->mode) || !S_ISREG(copy->to->inode->mode)) {
		return -NE_INVAL;
	}
	if (a > LIM_FILE_SIZE_MAX || b > LIM_FILE_SIZE_MAX) {
		return -NE_INVAL;
	}
	if (copy->from->inode == copy->to->inode && a < u64_min(b + copy->len, LIM_FILE_SIZE_MAX) &&
		b < u64_min(a + copy->len, LIM_FILE_SIZE_MAX)) {
		return -NE_INVAL;
	}
	return 0;
}

static int window_wait(struct client *c)
{
	while (c->copies >= COPIES_MAX) {
		uint64_t deadline = client_deadline(c);
		int err = env_wait(c->env, &c->copies_wait, deadline == 0 ? ENV_FOREVER : deadline,
			ENV_WAIT_INTR);

		if (err != 0) {
			/* A wake-up that came together with the interruption goes to the next. */
			env_wake_one(c->env, &c->copies_wait);
			return err;
		}
	}
	c->copies++;
	return 0;
}

/* One window. -NE_NODATA: the source has ended (before what is written may make it longer). */
static int window_copy(struct client *c, const struct client_cred *cred,
	const struct client_copy *copy, struct iovec window, uint64_t *done)
{
	size_t want = window.iov_len;
	size_t got = 0;
	size_t put = 0;
	int err = client_read(c, copy->from, &window, 1, copy->from_off + *done, &got);

	if (err != 0 && got == 0) {
		return err;
	}
	if (got == 0) {
		return -NE_NODATA;
	}
	window.iov_len = got;
	err = client_write(
		c, cred, copy->to, (struct client_buffers){&window, 1, copy->to_off + *done}, &put);
	*done += put;
	return err == 0 && got < want ? -NE_NODATA : err;
}

int client_copy_range(struct client *c, const struct client_cred *cred,
	const struct client_copy *copy, uint64_t *ret_len)
{
	struct client_copy todo = *copy;
	struct iovec window;
	int err;

	*ret_len = 0;
	todo.len = u64_min(todo.len, LIM_FILE_SIZE_MAX);
	err = copy_check(c, &todo);
	if (err != 0 || todo.len == 0 || todo.from_off == LIM_FILE_SIZE_MAX) {
		return err;
	}
	if (todo.to_off == LIM_FILE_SIZE_MAX) {
		return -NE_FBIG;
	}
	err = window_wait(c);
	if (err != 0) {
		return err;
	}
	window.iov_base = mem_alloc((size_t)u64_min(todo.len, COPY_BYTES));
	err = window.iov_base == NULL ? -NE_NOMEM : 0;
	while (err == 0 && *ret_len < todo.len) {
		window.iov_len = (size_t)u64_min(todo.len - *ret_len, COPY_BYTES);
		err = window_copy(c, cred, &todo, window, ret_len);
	}
	mem_free(window.iov_base);
	c->copies--;
	env_wake_one(c->env, &c->copies_wait);
	return err == -NE_NODATA || *ret_len > 0 ? 0 : err;
}
