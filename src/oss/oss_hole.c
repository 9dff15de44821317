/*
 * Ranges and holes of an object over its segment files: fallocate, and what lseek(2) looks for.
 *
 * The size never changes by a promise: it is extended afterwards, when all space is there, so a promise that
 * fails half-way has grown nothing. A file system that cannot zero a range punches and promises it. What an
 * object has beyond its size is never read: holes begin there.
 */
#include "oss/oss_int.h"

/* Where a segment's byte lies in its file. */
static uint64_t file_pos(uint32_t segment, uint64_t off)
{
	return off % OSS_SEGMENT_BYTES + (segment == 0 ? OSS_HEADER_BYTES : 0);
}

static int file_allocate(
	struct env_file *file, enum env_fallocate_mode mode, uint64_t pos, uint64_t len)
{
	int err = env_fallocate(file, mode, pos, len);

	if (err != -NE_NOTSUP || mode != ENV_FALLOC_ZERO) {
		return err;
	}
	err = env_fallocate(file, ENV_FALLOC_PUNCH, pos, len);
	return err != 0 ? err : env_fallocate(file, ENV_FALLOC_KEEP_SIZE, pos, len);
}

static int high_change(struct oss *oss, struct oss_object *obj, struct env_file *file,
	enum env_fallocate_mode mode, struct oss_range part)
{
	struct env_stat before;
	struct env_stat after;
	int err = env_fstat(file, &before);

	if (err == 0) {
		err = file_allocate(file, mode, part.off % OSS_SEGMENT_BYTES, part.len);
	}
	if (err == 0) {
		err = env_fstat(file, &after);
	}
	if (err != 0) {
		return err;
	}
	obj->high_bytes += after.blocks;
	obj->high_bytes -= u64_min(obj->high_bytes, before.blocks);
	obj->entry_durable = false;
	/* The first file carries the object's mtime. */
	return env_file_utime(obj->file, env_realtime(oss->env));
}

static int high_allocate(struct oss *oss, struct oss_object *obj, enum env_fallocate_mode mode,
	struct oss_range part)
{
	uint32_t segment = (uint32_t)(part.off / OSS_SEGMENT_BYTES);
	unsigned flags = ENV_OPEN_READ | ENV_OPEN_WRITE;
	struct env_file *file = NULL;
	int err = 0;

	if (mode == ENV_FALLOC_PUNCH) {
		err = segment > obj->header.d.segment_last ? -NE_NOENT : 0;
	} else {
		err = oss_segment_announce(oss, obj, segment);
		flags |= ENV_OPEN_CREATE;
	}
	if (err == 0) {
		err = oss_segment_open(oss, obj, segment, flags, &file);
	}
	if (err != 0) {
		/* A hole stays one. */
		return mode == ENV_FALLOC_PUNCH && err == -NE_NOENT ? 0 : err;
	}
	err = high_change(oss, obj, file, mode, part);
	env_file_close(file);
	return err;
}

int oss_segments_allocate(struct oss *oss, struct oss_object *obj, enum env_fallocate_mode mode,
	struct oss_range range)
{
	uint64_t end = range.off + range.len;
	int err = 0;

	ASSERT(obj->exists && obj->ios > 0 && range.len > 0);
	ASSERT(end > range.off && end <= LIM_FILE_SIZE_MAX && mode != ENV_FALLOC_RESERVE);
	if (mode == ENV_FALLOC_PUNCH) {
		/* Behind the last segment there is nothing to punch. */
		uint64_t last = obj->header.d.segment_last;

		end = u64_min(end, (last + 1) * OSS_SEGMENT_BYTES);
	}
	while (range.off < end && err == 0) {
		uint64_t room = OSS_SEGMENT_BYTES - range.off % OSS_SEGMENT_BYTES;
		struct oss_range part = {.off = range.off, .len = u64_min(end - range.off, room)};

		if (mode == ENV_FALLOC_PUNCH && range.off >= OSS_SEGMENT_BYTES) {
			/* Only what exists: there may be a million places for files. */
			uint32_t at = (uint32_t)(range.off / OSS_SEGMENT_BYTES);
			uint32_t next = at;

			err = oss_segment_next(oss, obj, at, &next);
			if (err != 0) {
				return err == -NE_NOENT ? 0 : err;
			}
			if (next > at) {
				range.off = u64_min(end, next * OSS_SEGMENT_BYTES);
				continue;
			}
		}
		err = range.off >= OSS_SEGMENT_BYTES
			? high_allocate(oss, obj, mode, part)
			: file_allocate(obj->file, mode, file_pos(0, part.off), part.len);
		range.off += part.len;
	}
	return err;
}

/* The last byte's file becomes as long as that; the space is there. */
int oss_segments_extend(struct oss *oss, struct oss_object *obj, uint64_t size)
{
	uint64_t last = size - 1;
	uint32_t segment = (uint32_t)(last / OSS_SEGMENT_BYTES);
	struct env_file *file = NULL;
	int err = 0;

	ASSERT(obj->exists && obj->ios > 0 && size > 0 && size <= LIM_FILE_SIZE_MAX);
	if (size <= obj->size) {
		return 0;
	}
	if (segment > 0) {
		err = oss_segment_open(oss, obj, segment, ENV_OPEN_READ | ENV_OPEN_WRITE, &file);
	}
	if (err == 0) {
		err = env_fallocate(file != NULL ? file : obj->file, ENV_FALLOC_RESERVE,
			file_pos(segment, last), 1);
	}
	env_file_close(file);
	if (err == 0) {
		obj->size = u64_max(obj->size, size);
	}
	return err;
}

/* In one segment's file; -NE_NXIO: it has no more data, or ends before off. */
static int segment_seek(
	struct oss *oss, struct oss_object *obj, uint64_t off, bool data, uint64_t *ret_off)
{
	uint32_t segment = (uint32_t)(off / OSS_SEGMENT_BYTES);
	uint64_t start = segment * OSS_SEGMENT_BYTES;
	struct env_file *file = NULL;
	uint64_t at = 0;
	int err;

	if (segment == 0) {
		err = env_seek(obj->file, file_pos(0, off), data, &at);
		*ret_off = at - u64_min(at, OSS_HEADER_BYTES);
		return err;
	}
	if (segment > obj->header.d.segment_last) {
		return -NE_NXIO;
	}
	err = oss_segment_open(oss, obj, segment, ENV_OPEN_READ | ENV_OPEN_WRITE, &file);
	if (err != 0) {
		return err == -NE_NOENT ? -NE_NXIO : err;
	}
	err = env_seek(file, file_pos(segment, off), data, &at);
	env_file_close(file);
	*ret_off = start + at;
	return err;
}

static int seek_data(struct oss *oss, struct oss_object *obj, uint64_t off, uint64_t *ret_off)
{
	int err = -NE_NXIO;

	while (off < obj->size && err == -NE_NXIO) {
		uint32_t segment = (uint32_t)(off / OSS_SEGMENT_BYTES);

		err = segment_seek(oss, obj, off, true, ret_off);
		if (err == -NE_NXIO) {
			int rc = oss_segment_next(oss, obj, segment + 1, &segment);

			if (rc != 0) {
				return rc == -NE_NOENT ? -NE_NXIO : rc;
			}
			off = segment * OSS_SEGMENT_BYTES;
		}
	}
	return err == 0 && *ret_off >= obj->size ? -NE_NXIO : err;
}

static int seek_hole(struct oss *oss, struct oss_object *obj, uint64_t off, uint64_t *ret_off)
{
	uint64_t at = off;

	while (off < obj->size) {
		int err = segment_seek(oss, obj, off, false, &at);

		if (err != 0) {
			*ret_off = off;
			return err == -NE_NXIO ? 0 : err;
		}
		if (at == off || at % OSS_SEGMENT_BYTES != 0) {
			break;
		}
		/* Data up to the segment's very end: the next one decides. */
		off = at;
	}
	*ret_off = u64_max(off, u64_min(at, obj->size));
	return 0;
}

int oss_segments_seek(
	struct oss *oss, struct oss_object *obj, uint64_t off, bool data, uint64_t *ret_off)
{
	ASSERT(obj->exists && obj->ios > 0);
	return data ? seek_data(oss, obj, off, ret_off) : seek_hole(oss, obj, off, ret_off);
}
