/*
 * Space: what the backing file system says, or what is left of a configured capacity.
 *
 * With capacity_bytes the target counts what its objects have allocated: summed over all object files at
 * start, then kept by differences (fstat around each change). Some room is always kept for the log, so
 * that deletes work on a full target.
 */
#include <stdio.h>

#include "oss/oss_int.h"

struct scan {
	struct oss *oss;
	char *path; /* of the directory, then of each file */
	size_t dir_len;
};

static int scan_file(void *ctx, const char *name)
{
	struct scan *s = ctx;
	struct env_stat st;
	int err;

	if (s->dir_len + strlen(name) + 2 > LIM_PATH_MAX) {
		return 0;
	}
	snprintf(s->path + s->dir_len, LIM_PATH_MAX + 1 - s->dir_len, "/%s", name);
	err = env_stat(s->oss->env, s->path, &st);
	if (err == -NE_NOENT) {
		return 0;
	}
	if (err != 0) {
		return err;
	}
	s->oss->used_bytes += st.blocks;
	if (strstr(name, ".s") == NULL) {
		s->oss->objects_total++;
		s->oss->used_bytes -= u64_min(st.blocks, OSS_HEADER_BYTES);
	}
	return 0;
}

int oss_space_load(struct oss *oss)
{
	struct scan s = {.oss = oss, .path = mem_alloc(LIM_PATH_MAX + 1)};
	int err = 0;

	if (s.path == NULL) {
		return -NE_NOMEM;
	}
	for (unsigned i = 0; i < OSS_DIRS && err == 0; i++) {
		s.dir_len =
			(size_t)snprintf(s.path, LIM_PATH_MAX + 1, "%s/objects/%02x", oss->path, i);
		err = env_readdir(oss->env, s.path, scan_file, &s);
	}
	mem_free(s.path);
	return err;
}

static uint64_t capacity_left(const struct oss *oss)
{
	return oss->used_bytes >= oss->capacity_bytes ? 0 : oss->capacity_bytes - oss->used_bytes;
}

/* Does the object have the range's space already, as far as that is known without looking? */
static bool space_owned(const struct oss_object *obj, uint64_t off, uint64_t len)
{
	uint64_t end = off + len;

	if (!obj->exists) {
		return false;
	}
	return (end <= obj->size && obj->blocks_bytes >= obj->size) ||
		(off >= obj->promised_off && end <= obj->promised_end);
}

int oss_space_check(const struct oss *oss, const struct oss_object *obj, uint64_t off, uint64_t len)
{
	if (oss->capacity_bytes == 0 || space_owned(obj, off, len)) {
		return 0;
	}
	return u64_round_up(len, OSS_HEADER_BYTES) > capacity_left(oss) ? -NE_NOSPC : 0;
}

/* Pieces of data looked at before the rest of a range counts as a hole. */
#define PIECES_MAX 256

/* Bytes of the range that hold data. */
static uint64_t range_data(struct oss *oss, struct oss_object *obj, uint64_t off, uint64_t end)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < PIECES_MAX && off < end; i++) {
		uint64_t data = 0;
		uint64_t hole = 0;

		if (oss_segments_seek(oss, obj, off, true, &data) != 0 || data >= end ||
			oss_segments_seek(oss, obj, data, false, &hole) != 0) {
			break;
		}
		off = u64_min(hole, end);
		sum += off - data;
	}
	return sum;
}

int oss_space_promise(struct oss *oss, struct oss_object *obj, uint64_t off, uint64_t len)
{
	uint64_t left = capacity_left(oss);
	struct env_statfs fs;
	int err;

	if (space_owned(obj, off, len)) {
		return 0;
	}
	if (oss->capacity_bytes == 0) {
		/* What cannot be is refused at once: some file systems find it out by filling the disk. */
		err = env_statfs(oss->env, oss->path, &fs);
		if (err != 0) {
			return err;
		}
		left = fs.bytes_free;
	}
	if (len > left && obj->exists) {
		len -= u64_min(len, range_data(oss, obj, off, off + len));
	}
	return len > left ? -NE_NOSPC : 0;
}

void oss_space_promised(struct oss_object *obj, uint64_t off, uint64_t len, bool punched)
{
	uint64_t end = off + len;
	bool touches = off <= obj->promised_end && end >= obj->promised_off;

	if (punched) {
		if (touches) {
			obj->promised_off = 0;
			obj->promised_end = 0;
		}
		return;
	}
	obj->promised_off = touches ? u64_min(obj->promised_off, off) : off;
	obj->promised_end = touches ? u64_max(obj->promised_end, end) : end;
}

void oss_space_update(struct oss *oss, struct oss_object *obj)
{
	struct env_stat st;
	uint64_t now;

	if (!obj->exists && obj->file == NULL) {
		return;
	}
	obj->mtime_known = env_fstat(obj->file, &st) == 0;
	if (!obj->mtime_known) {
		return; /* only statistics: the next change corrects them */
	}
	obj->mtime_ns = st.mtime_ns;
	now = st.blocks - u64_min(st.blocks, OSS_HEADER_BYTES) + obj->high_bytes;
	if (obj->exists) {
		oss->used_bytes += now;
		oss->used_bytes -= u64_min(oss->used_bytes, obj->blocks_bytes);
	}
	obj->blocks_bytes = now;
}

int oss_space_statfs(struct oss *oss, struct w_ost_statfs_rep *ret_rep)
{
	struct env_statfs fs;
	int err = env_statfs(oss->env, oss->path, &fs);

	if (err != 0) {
		return err;
	}
	memset(ret_rep, 0, sizeof(*ret_rep));
	ret_rep->bytes_total = fs.bytes_total;
	ret_rep->bytes_free = fs.bytes_free;
	ret_rep->bytes_avail = fs.bytes_avail - u64_min(fs.bytes_avail, OSS_RESERVE_BYTES);
	ret_rep->backing_fsid = fs.fsid;
	ret_rep->state = W_TARGET_STATE_UP;
	if (oss->capacity_bytes != 0) {
		uint64_t left = u64_min(capacity_left(oss), ret_rep->bytes_avail);

		ret_rep->bytes_total = oss->capacity_bytes;
		ret_rep->bytes_free = left;
		ret_rep->bytes_avail = left;
		/* It has its share for itself, whatever else is on the disk. */
		ret_rep->backing_fsid = 0;
	}
	ret_rep->files_free = fs.files_free;
	ret_rep->files_total = fs.files_free + oss->objects_total;
	return 0;
}

/* What a request says of the MDT's clock is late by the time it took: an earlier answer that was faster stands, but for
 * what clocks drift. */
static void clock_set(struct oss *oss, int64_t offset_ns)
{
	int64_t behind = oss->clock_offset_ns - offset_ns;

	if (!oss->clock_known || behind < 0 || behind > OSS_CLOCK_STEP_NS) {
		oss->clock_offset_ns = offset_ns;
	} else {
		oss->clock_offset_ns -= behind / OSS_CLOCK_DRIFT;
	}
	oss->clock_known = true;
}

int oss_statfs(struct oss *oss, struct rpc_request *req)
{
	const struct w_ost_statfs_req *in = req->body;
	struct w_ost_statfs_rep out;
	int err;

	if (in->mdt_realtime != 0 && rpc_export_identity(req->exp)->role == RPC_ROLE_SERVER) {
		clock_set(oss, in->mdt_realtime - env_realtime(oss->env));
	}
	err = oss_space_statfs(oss, &out);
	return err != 0 ? err : rpc_request_reply(req, &out);
}

int oss_status_get(struct oss *oss, struct oss_status *ret_status)
{
	struct w_ost_statfs_rep fs;
	int err = oss_space_statfs(oss, &fs);

	if (err != 0) {
		return err;
	}
	*ret_status = oss->counters;
	ret_status->bytes_total = fs.bytes_total;
	ret_status->bytes_free = fs.bytes_free;
	ret_status->bytes_avail = fs.bytes_avail;
	ret_status->files_total = fs.files_total;
	ret_status->files_used = oss->objects_total;
	ret_status->objects_open = oss->objects_count;
	ret_status->uptime_ms = (env_now(oss->env) - oss->started_ns) / NS_PER_MS;
	return 0;
}
