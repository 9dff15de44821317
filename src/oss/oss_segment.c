/*
 * The data of an object over its segment files.
 *
 * Segment 0 (8 TiB) is the object's first file, behind the header; nearly every object has only that and
 * its size is the file's. Bytes beyond lie in files `name.sK`, opened per operation; header.segment_last bounds
 * K, and header.size_min is the size when a truncate put it beyond the first segment without data there.
 * The logical size is the maximum of size_min and the end of the last existing segment. Callers hold the
 * object's lock: shared to read and write, exclusive to set the size or to unlink.
 */
#include <stdio.h>
#include <stdlib.h>

#include "oss/oss_int.h"

int oss_segment_open(struct oss *oss, const struct oss_object *obj, uint32_t segment,
	unsigned flags, struct env_file **ret_file)
{
	char *path = mem_alloc(LIM_PATH_MAX + 1);
	int err;

	ASSERT(segment > 0);
	if (path == NULL) {
		return -NE_NOMEM;
	}
	oss_object_path(oss, obj->data_fid, obj->stripe, segment, path);
	err = env_file_open(oss->env, path, flags, ret_file);
	mem_free(path);
	return err;
}

static int segment_unlink(struct oss *oss, const struct oss_object *obj, uint32_t segment)
{
	char *path = mem_alloc(LIM_PATH_MAX + 1);
	int err;

	if (path == NULL) {
		return -NE_NOMEM;
	}
	oss_object_path(oss, obj->data_fid, obj->stripe, segment, path);
	err = env_unlink(oss->env, path);
	mem_free(path);
	return err == -NE_NOENT ? 0 : err;
}

/* The kernel reports a lost write once: there is no second try (RULES B4). */
static void file_sync(struct oss *oss, struct env_file *file)
{
	int err = env_fdatasync(file);

	if (err != 0) {
		oss_write_back_failed(oss, err);
	}
}

/* Reads and fills up with zeros what the file does not have. */
static int file_read_full(
	struct env_file *file, void *buf, size_t len, uint64_t off, enum oss_read_how how)
{
	size_t got = 0;
	size_t whole = (size_t)u64_round_up(len, OSS_HEADER_BYTES);
	int err = how == OSS_READ_DIRECT ? env_pread_direct(file, buf, whole, off, &got)
					 : env_pread(file, buf, len, off, &got);

	if (err != 0) {
		return err;
	}
	got = got < len ? got : len;
	memset((uint8_t *)buf + got, 0, len - got);
	return 0;
}

static int segment_read(struct oss *oss, struct oss_object *obj, void *buf, size_t len,
	uint64_t off, enum oss_read_how how)
{
	uint32_t segment = (uint32_t)(off / OSS_SEGMENT_BYTES);
	struct env_file *file = NULL;
	int err;

	if (segment == 0) {
		return file_read_full(obj->file, buf, len, OSS_HEADER_BYTES + off, how);
	}
	err = segment > obj->header.d.segment_last
		? -NE_NOENT
		: oss_segment_open(oss, obj, segment, ENV_OPEN_READ, &file);
	if (err == -NE_NOENT) {
		memset(buf, 0, len);
		return 0;
	}
	if (err != 0) {
		return err;
	}
	err = file_read_full(file, buf, len, off % OSS_SEGMENT_BYTES, how);
	env_file_close(file);
	return err;
}

int oss_segments_read(struct oss *oss, struct oss_object *obj, void *buf, size_t len, uint64_t off,
	enum oss_read_how how)
{
	uint8_t *p = buf;

	ASSERT(obj->exists && obj->ios > 0);
	while (len > 0) {
		size_t n = (size_t)u64_min(len, OSS_SEGMENT_BYTES - off % OSS_SEGMENT_BYTES);
		int err = segment_read(oss, obj, p, n, off, how);

		if (err != 0) {
			return err;
		}
		p += n;
		off += n;
		len -= n;
	}
	return 0;
}

/* Writes the next header without moving the object's mtime. What it speaks of, and the header of before, are durable
 * first: the number in it is never durable before its size, and one sound header is always left. */
static int header_update(struct oss *oss, struct oss_object *obj)
{
	struct oss_header next = {.seq = obj->header.seq + 1, .d = obj->header.d};
	struct env_stat st;
	int err = env_fstat(obj->file, &st);

	ASSERT(obj->exists);
	if (err != 0) {
		return err;
	}
	file_sync(oss, obj->file);
	err = oss_header_write(obj->file, &next);
	if (err == 0) {
		obj->header.seq = next.seq;
		err = env_file_utime(obj->file, st.mtime_ns);
	}
	return err;
}

/* The header counts a segment before its file is made; others who write there wait for that. */
int oss_segment_announce(struct oss *oss, struct oss_object *obj, uint32_t segment)
{
	uint32_t last;
	int err = 0;

	env_mutex_lock(oss->env, &obj->setup);
	last = obj->header.d.segment_last;
	if (segment > last) {
		obj->header.d.segment_last = segment;
		err = header_update(oss, obj);
		if (err != 0) {
			obj->header.d.segment_last = last;
		}
	}
	env_mutex_unlock(oss->env, &obj->setup);
	return err;
}

static int segment_write_high(struct oss *oss, struct oss_object *obj, const struct iovec *iov,
	uint64_t off, uint32_t segment)
{
	struct env_file *file = NULL;
	struct env_stat before;
	struct env_stat after;
	int err = oss_segment_announce(oss, obj, segment);

	if (err == 0) {
		err = oss_segment_open(
			oss, obj, segment, ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE, &file);
	}
	if (err != 0) {
		return err;
	}
	err = env_fstat(file, &before);
	if (err == 0) {
		err = env_pwrite(file, iov, 1, off % OSS_SEGMENT_BYTES);
	}
	if (err == 0) {
		err = env_fstat(file, &after);
	}
	env_file_close(file);
	if (err != 0) {
		return err;
	}
	obj->high_bytes += after.blocks - before.blocks;
	obj->entry_durable = false;
	/* The first file carries the object's mtime. */
	return env_file_utime(obj->file, after.mtime_ns);
}

int oss_segments_write(
	struct oss *oss, struct oss_object *obj, const void *buf, size_t len, uint64_t off)
{
	const uint8_t *p = buf;

	ASSERT(obj->exists && obj->ios > 0);
	ASSERT(off <= LIM_FILE_SIZE_MAX && len <= LIM_FILE_SIZE_MAX - off);
	while (len > 0) {
		size_t n = (size_t)u64_min(len, OSS_SEGMENT_BYTES - off % OSS_SEGMENT_BYTES);
		uint32_t segment = (uint32_t)(off / OSS_SEGMENT_BYTES);
		struct iovec iov = {.iov_base = (void *)(uintptr_t)p, .iov_len = n};
		int err = segment == 0 ? env_pwrite(obj->file, &iov, 1, OSS_HEADER_BYTES + off)
				       : segment_write_high(oss, obj, &iov, off, segment);

		if (err != 0) {
			return err;
		}
		p += n;
		off += n;
		len -= n;
		obj->size = u64_max(obj->size, off);
	}
	return 0;
}

/* ---- which segments there are ---- */

/* Up to here every number is tried; beyond, the directory is read: an object may begin at 8 TiB and end at 8 EiB. */
#define SEGMENTS_TRY_MAX 32

struct segment_list {
	uint32_t *items; /* ascending; those of small numbers need not exist */
	uint32_t count;
	uint32_t cap;
	char prefix[FID_STR_MAX + 16]; /* of the files' names */
	size_t prefix_len;
};

static int list_add(struct segment_list *l, uint32_t segment)
{
	if (l->count == l->cap) {
		uint32_t cap = l->cap == 0 ? SEGMENTS_TRY_MAX : l->cap * 2;
		uint32_t *items = mem_realloc(l->items, cap * sizeof(*items));

		if (items == NULL) {
			return -NE_NOMEM;
		}
		l->items = items;
		l->cap = cap;
	}
	l->items[l->count++] = segment;
	return 0;
}

static int list_name(void *ctx, const char *name)
{
	struct segment_list *l = ctx;
	unsigned long segment;
	char *end;

	if (strncmp(name, l->prefix, l->prefix_len) != 0) {
		return 0;
	}
	segment = strtoul(name + l->prefix_len, &end, 10);
	if (*end != '\0' || segment == 0 || segment > UINT32_MAX) {
		return 0;
	}
	return list_add(l, (uint32_t)segment);
}

static int segment_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static int list_from_dir(struct oss *oss, const struct oss_object *obj, struct segment_list *l)
{
	char *path = mem_alloc(LIM_PATH_MAX + 1);
	char *slash;
	int err;

	if (path == NULL) {
		return -NE_NOMEM;
	}
	oss_object_path(oss, obj->data_fid, obj->stripe, 0, path);
	slash = strrchr(path, '/');
	ASSERT(slash != NULL);
	l->prefix_len = (size_t)snprintf(l->prefix, sizeof(l->prefix), "%.60s.s", slash + 1);
	*slash = '\0';
	err = env_readdir(oss->env, path, list_name, l);
	mem_free(path);
	if (err == 0 && l->count > 1) {
		qsort(l->items, l->count, sizeof(*l->items), segment_compare);
	}
	return err;
}

/* Fills the list; list_fini in any case. */
static int segments_list(struct oss *oss, const struct oss_object *obj, struct segment_list *l)
{
	int err = 0;

	memset(l, 0, sizeof(*l));
	if (obj->header.d.segment_last > SEGMENTS_TRY_MAX) {
		return list_from_dir(oss, obj, l);
	}
	for (uint32_t k = 1; k <= obj->header.d.segment_last && err == 0; k++) {
		err = list_add(l, k);
	}
	return err;
}

static void list_fini(struct segment_list *l)
{
	mem_free(l->items);
}

int oss_segment_next(
	struct oss *oss, const struct oss_object *obj, uint32_t from, uint32_t *ret_segment)
{
	struct segment_list l;
	int err = segments_list(oss, obj, &l);
	bool found = false;

	for (uint32_t i = 0; i < l.count && err == 0 && !found; i++) {
		found = l.items[i] >= from;
		*ret_segment = l.items[i];
	}
	list_fini(&l);
	return err == 0 && !found ? -NE_NOENT : err;
}

/* Sizes a file beyond the first segment: cut, removed or left as it is. */
static int segment_cut(struct oss *oss, struct oss_object *obj, uint32_t segment, uint64_t size)
{
	uint64_t start = segment * OSS_SEGMENT_BYTES;
	struct env_file *file = NULL;
	struct env_stat st;
	int err;

	if (size <= start) {
		return segment_unlink(oss, obj, segment);
	}
	err = oss_segment_open(oss, obj, segment, ENV_OPEN_READ | ENV_OPEN_WRITE, &file);
	if (err != 0) {
		return err == -NE_NOENT ? 0 : err;
	}
	err = env_fstat(file, &st);
	if (err == 0 && st.size > size - start) {
		err = env_ftruncate(file, size - start);
	}
	if (err == 0) {
		file_sync(oss, file);
	}
	env_file_close(file);
	return err;
}

static int first_resize(struct oss_object *obj, uint64_t size)
{
	struct env_stat st;
	uint64_t want = OSS_HEADER_BYTES + u64_min(size, OSS_SEGMENT_BYTES);
	int err = env_fstat(obj->file, &st);

	if (err != 0) {
		return err;
	}
	/* A size beyond the first segment is kept in the header: the file need not grow for it. */
	if (size > OSS_SEGMENT_BYTES && st.size <= want) {
		return 0;
	}
	/* Space that was promised beyond the end goes too. */
	if (st.size == want && st.blocks <= u64_round_up(want, OSS_HEADER_BYTES)) {
		return 0;
	}
	return env_ftruncate(obj->file, want);
}

static int segments_high_stat(struct oss *oss, struct oss_object *obj, uint64_t *ret_end)
{
	char *path = mem_alloc(LIM_PATH_MAX + 1);
	struct segment_list l;
	uint64_t end = 0;
	int err = segments_list(oss, obj, &l);

	if (path == NULL) {
		list_fini(&l);
		return -NE_NOMEM;
	}
	obj->high_bytes = 0;
	for (uint32_t i = 0; i < l.count && err == 0; i++) {
		uint32_t k = l.items[i];
		struct env_stat st;

		oss_object_path(oss, obj->data_fid, obj->stripe, k, path);
		err = env_stat(oss->env, path, &st);
		if (err == 0) {
			obj->high_bytes += st.blocks;
			end = st.size > 0 ? k * OSS_SEGMENT_BYTES + st.size : end;
		} else if (err == -NE_NOENT) {
			err = 0;
		}
	}
	list_fini(&l);
	mem_free(path);
	*ret_end = end;
	return err;
}

int oss_segments_set_size(struct oss *oss, struct oss_object *obj, uint64_t size)
{
	uint32_t last = obj->header.d.segment_last;
	uint32_t keep = (uint32_t)u64_min(last, size == 0 ? 0 : (size - 1) / OSS_SEGMENT_BYTES);
	struct segment_list l;
	struct env_stat st;
	uint64_t end;
	int err;

	ASSERT(obj->exists && obj->exclusive);
	err = segments_list(oss, obj, &l);
	if (err == 0) {
		err = env_fstat(obj->file, &st);
	}
	for (uint32_t i = l.count; i > 0 && err == 0; i--) {
		err = segment_cut(oss, obj, l.items[i - 1], size);
	}
	list_fini(&l);
	if (err == 0) {
		err = first_resize(obj, size);
	}
	if (err == 0 && keep < last) {
		/* A segment that the header does not count must not come back. */
		err = oss_entry_sync(oss, obj);
	}
	if (err != 0) {
		return err;
	}
	obj->header.d.size_min = size > OSS_SEGMENT_BYTES ? size : 0;
	obj->header.d.segment_last = keep;
	err = header_update(oss, obj);
	if (err == 0) {
		/* A truncate is the MDT's event: it stamps it itself. */
		err = env_file_utime(obj->file, st.mtime_ns);
	}
	if (err == 0) {
		obj->size = size;
		err = segments_high_stat(oss, obj, &end);
	}
	return err;
}

int oss_segments_sync(struct oss *oss, struct oss_object *obj)
{
	struct segment_list l;
	int err = segments_list(oss, obj, &l);

	if (err == 0) {
		err = env_fdatasync(obj->file);
	}
	for (uint32_t i = 0; i < l.count && err == 0; i++) {
		struct env_file *file = NULL;

		err = oss_segment_open(oss, obj, l.items[i], ENV_OPEN_READ | ENV_OPEN_WRITE, &file);
		if (err == -NE_NOENT) {
			err = 0;
			continue;
		}
		if (err == 0) {
			err = env_fdatasync(file);
			env_file_close(file);
		}
	}
	list_fini(&l);
	return err;
}

int oss_segments_unlink(struct oss *oss, struct oss_object *obj)
{
	struct segment_list l;
	int err = segments_list(oss, obj, &l);

	ASSERT(obj->exclusive);
	for (uint32_t i = l.count; i > 0 && err == 0; i--) {
		err = segment_unlink(oss, obj, l.items[i - 1]);
	}
	list_fini(&l);
	return err != 0 ? err : segment_unlink(oss, obj, 0);
}

int oss_segments_load(struct oss *oss, struct oss_object *obj)
{
	struct env_stat st;
	uint64_t end = 0;
	int err = env_fstat(obj->file, &st);

	ASSERT(obj->file != NULL);
	if (err == 0) {
		err = segments_high_stat(oss, obj, &end);
	}
	if (err != 0) {
		return err;
	}
	if (st.size > OSS_HEADER_BYTES) {
		end = u64_max(end, st.size - OSS_HEADER_BYTES);
	}
	obj->size = u64_max(end, obj->header.d.size_min);
	return 0;
}
