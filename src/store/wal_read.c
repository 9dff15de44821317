/*
 * Reading segments: a buffered reader of records, the search behind a bad one, the list of files.
 *
 * The reader believes nothing: lengths are bounded before use and a record counts only if its CRC, seeded
 * with salt and segment number, is right. The buffer holds at least one whole record of any size.
 */
#include <stdio.h>

#include "base/log.h"
#include "store/wal_int.h"

#define WAL_READ_BYTES (2 * MIB)

_Static_assert(WAL_READ_BYTES >= LIM_WAL_RECORD_MAX + WAL_REC_BYTES + WAL_HEADER_BYTES,
	"a record fits the buffer");

void wal_reader_close(struct wal_reader *r)
{
	env_file_close(TAKE_PTR(r->file));
	mem_free(TAKE_PTR(r->buf));
}

/* Makes [r->off, r->off + len) available in the buffer as far as the file has it. */
static int reader_fill(struct wal_reader *r, uint64_t len)
{
	uint64_t start = u64_round_down(r->off, WAL_HEADER_BYTES);
	size_t got = 0;
	int err;

	ASSERT(len <= WAL_READ_BYTES - WAL_HEADER_BYTES);
	if (r->off >= r->buf_off && r->off + len <= r->buf_off + r->buf_len) {
		return 0;
	}
	if (r->off + len > r->size) {
		return -NE_NOENT;
	}
	err = env_pread(r->file, r->buf, WAL_READ_BYTES, start, &got);
	if (err != 0) {
		return err;
	}
	r->buf_off = start;
	r->buf_len = got;
	return r->off + len <= start + got ? 0 : -NE_NOENT;
}

int wal_reader_open(struct env *env, const char *dir, uint64_t number, struct wal_reader *r,
	struct wal_header *ret_header)
{
	_cleanup_(free_ptr) char *path = mem_alloc(WAL_PATH_MAX);
	struct wal_header h;
	struct env_stat st;
	int err;

	*r = (struct wal_reader){0};
	wal_seg_name(number, false, r->name, sizeof(r->name));
	r->buf = mem_alloc(WAL_READ_BYTES);
	if (path == NULL || r->buf == NULL) {
		mem_free(TAKE_PTR(r->buf));
		return -NE_NOMEM;
	}
	snprintf(path, WAL_PATH_MAX, "%s/%s", dir, r->name);
	err = env_file_open(env, path, ENV_OPEN_READ, &r->file);
	if (err == 0) {
		err = env_fstat(r->file, &st);
	}
	if (err == 0) {
		r->size = st.size;
		err = reader_fill(r, WAL_HEADER_BYTES);
		err = err == -NE_NOENT ? -NE_CORRUPT : err;
	}
	if (err == 0) {
		err = wal_header_decode(r->buf, &h);
	}
	if (err == 0 && h.number != number) {
		err = -NE_CORRUPT;
	}
	if (err != 0) {
		log_error(
			"wal", "bad segment header file=%s offset=0 error=%s", path, ne_name(err));
		wal_reader_close(r);
		return err;
	}
	r->seed = wal_seed(h.salt, number);
	r->off = WAL_HEADER_BYTES;
	*ret_header = h;
	return 0;
}

int wal_reader_next(struct wal_reader *r, struct wal_rec *ret_rec)
{
	struct wal_rec rec;
	const uint8_t *p;
	int err;

	ASSERT(r->file != NULL && r->off % WAL_ALIGN == 0);
	err = reader_fill(r, WAL_REC_BYTES);
	if (err != 0) {
		return err;
	}
	if (!wal_rec_parse(r->buf + (r->off - r->buf_off), &rec)) {
		return -NE_NOENT;
	}
	err = reader_fill(r, wal_rec_bytes(rec.len));
	if (err != 0) {
		return err;
	}
	p = r->buf + (r->off - r->buf_off);
	rec.payload = p + WAL_REC_BYTES;
	if (!wal_rec_check(p, &rec, r->seed) || wal_rec_prev_lsn(&rec) >= rec.lsn ||
		rec.durable > rec.lsn) {
		return -NE_NOENT;
	}
	rec.file = r->name;
	rec.offset = r->off;
	r->off += wal_rec_bytes(rec.len);
	*ret_rec = rec;
	return 0;
}

int wal_reader_search(struct wal_reader *r)
{
	uint64_t end = u64_min(r->off + WAL_SEARCH_BYTES, r->size);
	struct wal_rec rec;
	int err;

	for (; r->off + WAL_REC_BYTES <= end; r->off += WAL_ALIGN) {
		uint64_t at = r->off;

		err = wal_reader_next(r, &rec);
		r->off = at;
		if (err != -NE_NOENT) {
			return err;
		}
	}
	return -NE_NOENT;
}

void wal_segs_free(struct list *segs)
{
	struct list *l;

	while ((l = list_pop_front(segs)) != NULL) {
		wal_segment_free(list_entry(l, struct wal_seg, link));
	}
}

static int dir_entry(void *ctx, const char *name)
{
	struct wal_dir *d = ctx;
	struct list *pos;
	struct wal_seg *seg;
	uint64_t number;
	bool tmp;

	if (!wal_seg_name_parse(name, &number, &tmp)) {
		return 0;
	}
	seg = mem_zalloc(sizeof(*seg));
	if (seg == NULL) {
		return -NE_NOMEM;
	}
	seg->number = number;
	seg->tmp = tmp;
	if (tmp) {
		list_push_back(&d->junk, &seg->link);
		return 0;
	}
	for (pos = d->segs.prev; pos != &d->segs; pos = pos->prev) {
		if (list_entry(pos, struct wal_seg, link)->number < number) {
			break;
		}
	}
	list_insert_after(pos, &seg->link);
	return 0;
}

int wal_dir_list(struct env *env, const char *dir, struct wal_dir *ret_list)
{
	int err;

	list_init(&ret_list->segs);
	list_init(&ret_list->junk);
	err = env_readdir(env, dir, dir_entry, ret_list);
	if (err != 0) {
		wal_segs_free(&ret_list->segs);
		wal_segs_free(&ret_list->junk);
	}
	return err;
}

static int inspect_segment(
	struct env *env, const char *dir, uint64_t number, wal_replay_fn *fn, void *ctx)
{
	_cleanup_(wal_reader_close) struct wal_reader r = {0};
	struct wal_header h;
	struct wal_rec rec;
	int err;

	err = wal_reader_open(env, dir, number, &r, &h);
	while (err == 0) {
		err = wal_reader_next(&r, &rec);
		if (err == 0) {
			err = fn(ctx, &rec);
		}
	}
	return err == -NE_NOENT ? 0 : err;
}

int wal_inspect(struct env *env, const char *dir, wal_replay_fn *fn, void *ctx)
{
	struct wal_dir d;
	int err;

	err = wal_dir_list(env, dir, &d);
	if (err != 0) {
		return err;
	}
	LIST_FOREACH (it, &d.segs) {
		if (err == 0) {
			err = inspect_segment(
				env, dir, list_entry(it, struct wal_seg, link)->number, fn, ctx);
		}
	}
	wal_segs_free(&d.segs);
	wal_segs_free(&d.junk);
	return err;
}
