/*
 * Segment files: made ahead of the writer, synced before they get their name, recycled after a trim.
 *
 * A new file is allocated and zero-written, so that later fdatasyncs have no extents to convert; a
 * recycled one already is. Once made, space is given back only beyond WAL_READY_MIN + WAL_DEAD_KEEP
 * files: a full disk does not stop the log.
 */
#include <stdio.h>

#include "base/log.h"
#include "store/wal_int.h"

#define ZERO_BYTES (64 * KIB)
#define ZERO_IOVS 16

static uint8_t wal_zeros[ZERO_BYTES];

void wal_path(const struct wal *wal, uint64_t number, bool tmp, char *buf, size_t cap)
{
	char name[WAL_NAME_MAX];

	wal_seg_name(number, tmp, name, sizeof(name));
	snprintf(buf, cap, "%s/%s", wal->dir, name);
}

void wal_segment_free(struct wal_seg *seg)
{
	if (seg != NULL) {
		env_file_close(seg->file);
		mem_free(seg);
	}
}

static int segment_rename(struct wal *wal, struct wal_seg *seg, uint64_t number, bool tmp)
{
	_cleanup_(free_ptr) char *from = mem_alloc(WAL_PATH_MAX);
	_cleanup_(free_ptr) char *to = mem_alloc(WAL_PATH_MAX);
	int err;

	if (from == NULL || to == NULL) {
		return -NE_NOMEM;
	}
	wal_path(wal, seg->number, seg->tmp, from, WAL_PATH_MAX);
	wal_path(wal, number, tmp, to, WAL_PATH_MAX);
	err = env_rename(wal->env, from, to);
	if (err == 0) {
		seg->number = number;
		seg->tmp = tmp;
	}
	return err;
}

static int segment_open(struct wal *wal, struct wal_seg *seg, unsigned flags)
{
	_cleanup_(free_ptr) char *path = mem_alloc(WAL_PATH_MAX);

	if (path == NULL) {
		return -NE_NOMEM;
	}
	wal_path(wal, seg->number, seg->tmp, path, WAL_PATH_MAX);
	return env_file_open(wal->env, path, ENV_OPEN_READ | ENV_OPEN_WRITE | flags, &seg->file);
}

static void segment_unlink(struct wal *wal, struct wal_seg *seg)
{
	_cleanup_(free_ptr) char *path = mem_alloc(WAL_PATH_MAX);
	int err = -NE_NOMEM;

	if (path != NULL) {
		wal_path(wal, seg->number, seg->tmp, path, WAL_PATH_MAX);
		err = env_unlink(wal->env, path);
	}
	if (err != 0) {
		log_warn("wal", "cannot remove a segment dir=%s number=%llu error=%s", wal->dir,
			(unsigned long long)seg->number, ne_name(err));
	}
}

static int segment_zero(struct wal_seg *seg)
{
	struct iovec iov[ZERO_IOVS];
	int err = 0;

	for (unsigned i = 0; i < ZERO_IOVS; i++) {
		iov[i] = (struct iovec){.iov_base = wal_zeros, .iov_len = ZERO_BYTES};
	}
	for (uint64_t off = 0; off < seg->bytes && err == 0;) {
		uint64_t left = seg->bytes - off;
		unsigned n = (unsigned)u64_min(ZERO_IOVS, left / ZERO_BYTES);

		iov[0].iov_len = n == 0 ? left : ZERO_BYTES;
		err = env_pwrite(seg->file, iov, n == 0 ? 1 : n, off);
		off += n == 0 ? left : n * ZERO_BYTES;
	}
	return err;
}

static int segment_header_write(struct wal *wal, struct wal_seg *seg)
{
	_cleanup_(free_ptr) uint8_t *buf = mem_alloc(WAL_HEADER_BYTES);
	struct wal_header h = {.number = seg->number, .bytes = seg->bytes};
	struct iovec iov = {.iov_base = buf, .iov_len = WAL_HEADER_BYTES};

	if (buf == NULL) {
		return -NE_NOMEM;
	}
	memcpy(h.salt, wal->salt, sizeof(h.salt));
	wal_header_encode(&h, buf);
	return env_pwrite(seg->file, &iov, 1, 0);
}

static struct wal_seg *segment_dead_take(struct wal *wal, uint64_t bytes)
{
	LIST_FOREACH (it, &wal->dead) {
		struct wal_seg *seg = list_entry(it, struct wal_seg, link);

		if (seg->bytes == bytes) {
			list_del(&seg->link);
			wal->dead_count--;
			return seg;
		}
	}
	return NULL;
}

static int segment_new(
	struct wal *wal, uint64_t number, uint64_t bytes, bool zero, struct wal_seg **ret_seg)
{
	struct wal_seg *seg = mem_zalloc(sizeof(*seg));
	int err;

	if (seg == NULL) {
		return -NE_NOMEM;
	}
	seg->number = number;
	seg->bytes = bytes;
	seg->tmp = true;
	err = segment_open(wal, seg, ENV_OPEN_CREATE | ENV_OPEN_TRUNC);
	if (err != 0) {
		wal_segment_free(seg);
		return err;
	}
	wal->stats.disk_bytes += bytes;
	err = env_fallocate(seg->file, ENV_FALLOC_RESERVE, 0, bytes);
	if (err == 0 && zero) {
		err = segment_zero(seg);
	}
	*ret_seg = seg; /* also on failure: the caller removes it */
	return err;
}

int wal_segment_make(
	struct wal *wal, uint64_t number, uint64_t bytes, bool zero, struct wal_seg **ret_seg)
{
	struct wal_seg *seg = segment_dead_take(wal, bytes);
	int err;

	ASSERT(bytes > WAL_HEADER_BYTES && bytes % WAL_HEADER_BYTES == 0);
	if (seg != NULL) {
		seg->first_lsn = 0;
		seg->last_lsn = 0;
		err = segment_rename(wal, seg, number, true);
		if (err == 0) {
			/* Else the old name could come back with the new header. */
			err = env_fsync_dir(wal->env, wal->dir);
		}
		if (err == 0) {
			err = segment_open(wal, seg, 0);
		}
	} else {
		err = segment_new(wal, number, bytes, zero, &seg);
	}
	if (err == 0) {
		err = segment_header_write(wal, seg);
	}
	if (err != 0) {
		if (seg != NULL) {
			segment_unlink(wal, seg);
			wal->stats.disk_bytes -= bytes;
		}
		wal_segment_free(seg);
		return err;
	}
	*ret_seg = seg;
	return 0;
}

int wal_segment_publish(struct wal *wal, struct wal_seg *seg)
{
	int err;

	ASSERT(seg->tmp && seg->file != NULL);
	err = env_fdatasync(seg->file);
	if (err == 0) {
		err = segment_rename(wal, seg, seg->number, false);
	}
	if (err == 0) {
		err = env_fsync_dir(wal->env, wal->dir);
	}
	return err;
}

/* Removes a dead segment: one that is too many or cannot be used again. False if there is none. */
static bool maker_remove(struct wal *wal)
{
	LIST_FOREACH (it, &wal->dead) {
		struct wal_seg *seg = list_entry(it, struct wal_seg, link);

		if (wal->dead_count > WAL_DEAD_KEEP || seg->bytes != wal->segment_bytes) {
			list_del(&seg->link);
			wal->dead_count--;
			segment_unlink(wal, seg);
			wal->stats.disk_bytes -= seg->bytes;
			wal_segment_free(seg);
			return true;
		}
	}
	return false;
}

/* One step of the maker; false when there is nothing to do. */
static bool maker_step(struct wal *wal)
{
	struct wal_seg *seg;
	int err;

	if (wal->ready_count < WAL_READY_MIN && !wal->stats.nospc) {
		err = wal_segment_make(wal, wal->next_number, wal->segment_bytes, true, &seg);
		if (err == -NE_NOSPC || err == -NE_DQUOT || err == -NE_NOMEM) {
			log_warn("wal", "no space for log segments dir=%s", wal->dir);
			wal->stats.nospc = true;
			env_wake_all(wal->env, &wal->ready_q);
			return true;
		}
		if (err == 0) {
			err = wal_segment_publish(wal, seg);
		}
		if (err != 0) {
			log_error("wal", "cannot make a segment dir=%s error=%s", wal->dir,
				ne_name(err));
			env_die(wal->env, "log segment cannot be made");
		}
		ASSERT(seg->number == wal->next_number);
		wal->next_number++;
		list_push_back(&wal->ready, &seg->link);
		wal->ready_count++;
		env_wake_all(wal->env, &wal->ready_q);
		return true;
	}
	return maker_remove(wal);
}

void wal_maker(void *arg)
{
	struct wal *wal = arg;

	while (!wal->closing) {
		if (!maker_step(wal)) {
			(void)env_wait(wal->env, &wal->maker_q, ENV_FOREVER, ENV_WAIT_PLAIN);
		}
	}
	wal->fibers--;
	env_wake_all(wal->env, &wal->ended_q);
}
