/*
 * Opening a log: find what is there, replay it, and leave it in a state that can be trusted.
 *
 * 1. List the segments and read the first record of each: segments without one are unused. A segment
 *    made by a later opening replaces whatever earlier ones hold behind the place it continues from
 *    (`limit`): the lsn before its first record.
 * 2. Replay, in order, from the last segment that begins at or before the checkpoint. Every record must
 *    chain to the one before. Where one does not: in any segment but the last that is damage. In the
 *    last, the records behind it decide: if one of them says that the bad place had been durable, it is
 *    damage; else it is the torn end of what was being written at a power failure, and is cut.
 * 3. Write all records not proven durable by a later one again, into a fresh segment, with the record of
 *    the new incarnation behind them; sync; give it its name. Only then anything is served (RULES A2).
 *    A crash before that leaves the log as it was found.
 */
#include "base/log.h"
#include "store/wal_int.h"

struct recover {
	struct wal *wal;
	const struct wal_opts *opts;
	struct list segs; /* by number; unused ones too */
	uint64_t number_max;
	bool anchored; /* the start of the chain is known */
	uint64_t last_lsn;
	uint32_t last_crc;
	uint64_t proven;
	struct wal_seg *last; /* the last segment that holds records */
	uint64_t bad_off; /* where its records end */
};

static int corrupt(struct recover *rc, const char *what, uint64_t number, uint64_t off)
{
	log_error("wal", "damaged log: %s file=%s/%016llx.seg offset=%llu after_lsn=%llu", what,
		rc->wal->dir, (unsigned long long)number, (unsigned long long)off,
		(unsigned long long)rc->last_lsn);
	return -NE_CORRUPT;
}

/* Reads the header and the first record. */
static int segment_peek(struct recover *rc, struct wal_seg *seg, bool first)
{
	_cleanup_(wal_reader_close) struct wal_reader r = {0};
	struct wal_header h;
	struct wal_rec rec;
	int err;

	err = wal_reader_open(rc->wal->env, rc->wal->dir, seg->number, &r, &h);
	if (err != 0) {
		return err;
	}
	if (first) {
		memcpy(rc->wal->salt, h.salt, sizeof(h.salt));
	} else if (memcmp(rc->wal->salt, h.salt, sizeof(h.salt)) != 0) {
		log_error("wal", "segment of another store file=%s/%s", rc->wal->dir, r.name);
		return -NE_FOREIGN;
	}
	seg->bytes = h.bytes;
	err = wal_reader_next(&r, &rec);
	if (err == 0) {
		seg->first_lsn = rec.lsn;
		seg->prev_lsn = wal_rec_prev_lsn(&rec);
		seg->last_lsn = rec.lsn;
	}
	return err == -NE_NOENT ? 0 : err;
}

/* Lists; unused and unfinished files go to the dead. */
static int recover_list(struct recover *rc)
{
	struct wal *wal = rc->wal;
	struct wal_dir d;
	struct list *l;
	int err;

	err = wal_dir_list(wal->env, wal->dir, &d);
	if (err != 0) {
		return err;
	}
	list_splice_back(&rc->segs, &d.segs);
	LIST_FOREACH (it, &d.junk) {
		rc->number_max =
			u64_max(rc->number_max, list_entry(it, struct wal_seg, link)->number);
	}
	while ((l = list_pop_front(&d.junk)) != NULL) {
		list_push_back(&wal->dead, l);
		wal->dead_count++;
	}
	LIST_FOREACH (it, &rc->segs) {
		struct wal_seg *seg = list_entry(it, struct wal_seg, link);

		err = segment_peek(rc, seg, it == rc->segs.next);
		if (err != 0) {
			return err;
		}
		wal->stats.disk_bytes += seg->bytes;
		rc->number_max = u64_max(rc->number_max, seg->number);
		if (seg->first_lsn != 0) {
			rc->last = seg;
		}
	}
	return 0;
}

/* The place up to which a segment counts: where a later one continues. */
static uint64_t segment_limit(struct recover *rc, struct wal_seg *seg)
{
	uint64_t limit = UINT64_MAX;

	for (struct list *it = seg->link.next; it != &rc->segs; it = it->next) {
		struct wal_seg *later = list_entry(it, struct wal_seg, link);

		if (later->first_lsn != 0) {
			limit = u64_min(limit, later->prev_lsn);
		}
	}
	return limit;
}

/* The segment replay starts in. */
static struct wal_seg *segment_start(struct recover *rc)
{
	struct wal_seg *start = NULL;

	LIST_FOREACH (it, &rc->segs) {
		struct wal_seg *seg = list_entry(it, struct wal_seg, link);

		if (seg->first_lsn != 0 && seg->prev_lsn <= rc->opts->from_lsn &&
			seg->first_lsn <= segment_limit(rc, seg)) {
			start = seg;
		}
	}
	return start;
}

/* Does a valid record behind the reader's place prove that `lsn` had been durable? */
static int tear_check(struct wal_reader *r, uint64_t lsn)
{
	struct wal_rec rec;
	int err;

	for (;;) {
		err = wal_reader_search(r);
		if (err == 0) {
			err = wal_reader_next(r, &rec);
		}
		if (err != 0) {
			return err == -NE_NOENT ? 0 : err;
		}
		if (rec.durable >= lsn && rec.lsn > lsn) {
			return -NE_CORRUPT;
		}
	}
}

/* The last record is known: looks into the rest of its segment and into those behind it. */
static int recover_tail_check(struct recover *rc)
{
	int err = 0;

	for (struct list *it = &rc->last->link; it != &rc->segs && err == 0; it = it->next) {
		_cleanup_(wal_reader_close) struct wal_reader r = {0};
		struct wal_seg *seg = list_entry(it, struct wal_seg, link);
		struct wal_header h;

		err = wal_reader_open(rc->wal->env, rc->wal->dir, seg->number, &r, &h);
		if (err != 0) {
			return err;
		}
		if (seg == rc->last) {
			r.off = rc->bad_off;
		}
		err = tear_check(&r, rc->last_lsn + 1);
		if (err == -NE_CORRUPT) {
			return corrupt(rc, "a durable record is bad", seg->number,
				seg == rc->last ? rc->bad_off : WAL_HEADER_BYTES);
		}
	}
	return err;
}

static int record_replay(struct recover *rc, const struct wal_rec *rec)
{
	rc->last_lsn = rec->lsn;
	rc->last_crc = rec->crc;
	rc->proven = u64_max(rc->proven, rec->durable);
	if (rec->lsn <= rc->opts->from_lsn) {
		return 0;
	}
	rc->wal->stats.replayed++;
	return rc->opts->replay == NULL ? 0 : rc->opts->replay(rc->opts->ctx, rec);
}

static bool record_chains(const struct recover *rc, const struct wal_rec *rec)
{
	return !rc->anchored ||
		(rec->prev_crc == rc->last_crc && wal_rec_prev_lsn(rec) == rc->last_lsn);
}

static int segment_replay(struct recover *rc, struct wal_seg *seg)
{
	_cleanup_(wal_reader_close) struct wal_reader r = {0};
	uint64_t limit = segment_limit(rc, seg);
	struct wal_header h;
	struct wal_rec rec;
	uint64_t off = 0;
	unsigned n = 0;
	int err;

	err = wal_reader_open(rc->wal->env, rc->wal->dir, seg->number, &r, &h);
	if (err != 0) {
		return err;
	}
	while (!(rc->anchored && rc->last_lsn == limit)) {
		off = r.off;
		err = wal_reader_next(&r, &rec);
		if (err == 0 && !record_chains(rc, &rec)) {
			err = -NE_NOENT;
		}
		if (err != 0) {
			break;
		}
		rc->anchored = true;
		err = record_replay(rc, &rec);
		if (err != 0) {
			log_error("wal", "replay failed file=%s/%s offset=%llu lsn=%llu error=%s",
				rc->wal->dir, r.name, (unsigned long long)off,
				(unsigned long long)rec.lsn, ne_name(err));
			return err;
		}
		seg->last_lsn = rec.lsn;
		if (++n % 4096 == 0) {
			env_yield(rc->wal->env);
		}
	}
	if (err != 0 && err != -NE_NOENT) {
		return err;
	}
	if (err == -NE_NOENT && seg != rc->last) {
		return corrupt(rc, "a record in the middle is bad", seg->number, off);
	}
	rc->bad_off = off;
	return 0;
}

/* Replays everything; segments whose records all were replaced or checkpointed go to the dead. */
static int recover_replay(struct recover *rc)
{
	struct wal_seg *start = segment_start(rc);
	bool started = false;
	int err;

	if (start == NULL) {
		return corrupt(rc, "the log begins behind the checkpoint", rc->last->number, 0);
	}
	LIST_FOREACH (it, &rc->segs) {
		struct wal_seg *seg = list_entry(it, struct wal_seg, link);

		started = started || seg == start;
		if (!started || seg->first_lsn == 0 || seg->first_lsn > segment_limit(rc, seg)) {
			continue;
		}
		seg->needed = true;
		err = segment_replay(rc, seg);
		if (err != 0) {
			return err;
		}
	}
	if (rc->last_lsn < rc->opts->from_lsn) {
		return corrupt(
			rc, "the log ends before the checkpoint", rc->last->number, rc->bad_off);
	}
	return recover_tail_check(rc);
}

/* Writes the chunks gathered so far straight into the fresh segment. */
static int fresh_flush(struct wal *wal, struct wal_seg *seg)
{
	struct list *l;
	int err = 0;

	while ((l = list_pop_front(&wal->chunks)) != NULL) {
		struct wal_chunk *chunk = list_entry(l, struct wal_chunk, link);
		struct iovec iov = {.iov_base = chunk->buf, .iov_len = chunk->len};

		ASSERT(chunk->number == seg->number);
		if (err == 0) {
			err = env_pwrite(seg->file, &iov, 1, chunk->off);
		}
		wal->stats.pending_bytes -= chunk->len;
		wal_chunk_free(wal, chunk);
	}
	return err;
}

/* Walks the last segment up to the last good record and adds up what is not proven durable; with seg,
 * puts it there. Leaves crc_last and lsn_last of the record the fresh segment continues from, or ends with. */
static int tail_walk(struct recover *rc, struct wal_seg *seg, uint64_t *ret_bytes)
{
	_cleanup_(wal_reader_close) struct wal_reader r = {0};
	struct wal *wal = rc->wal;
	uint64_t bytes = 0;
	struct wal_header h;
	struct wal_rec rec;
	int err;

	err = wal_reader_open(wal->env, wal->dir, rc->last->number, &r, &h);
	while (err == 0 && r.off < rc->bad_off) {
		err = wal_reader_next(&r, &rec);
		if (err != 0) {
			return err == -NE_NOENT ? -NE_IO : err; /* it was good a moment ago */
		}
		if (rec.lsn <= rc->proven) {
			wal->crc_last = rec.crc;
			wal->lsn_last = rec.lsn;
			continue;
		}
		if (bytes == 0) {
			wal->crc_last = rec.prev_crc;
			wal->lsn_last = wal_rec_prev_lsn(&rec);
		}
		bytes += wal_rec_bytes(rec.len);
		if (seg != NULL) {
			struct iovec iov = {
				.iov_base = (void *)(uintptr_t)rec.payload, .iov_len = rec.len};

			err = wal_put(wal, &rec, &iov, 1);
		}
		if (err == 0 && wal->stats.pending_bytes > MIB) {
			err = fresh_flush(wal, seg);
		}
	}
	*ret_bytes = bytes;
	return err;
}

static int incarnation_put(struct recover *rc)
{
	struct wal *wal = rc->wal;
	uint8_t prev[8];
	struct iovec iov = {.iov_base = prev, .iov_len = sizeof(prev)};
	struct wal_rec rec = {.type = WAL_INCARNATION, .len = sizeof(prev)};

	wal->incarnation = u64_max((rc->last_lsn >> WAL_LSN_SHIFT) + 1, rc->opts->incarnation_min);
	if (wal->incarnation >= WAL_INCARNATION_MAX) {
		log_error("wal", "no incarnation is left dir=%s", wal->dir);
		return -NE_LIMIT;
	}
	rec.lsn = wal->incarnation << WAL_LSN_SHIFT;
	rec.durable =
		rec.lsn; /* it counts only once the segment has its name, which is after the sync */
	le64_store(prev, rc->last_lsn);
	return wal_put(wal, &rec, &iov, 1);
}

/* Makes the fresh segment: unproven tail, new incarnation. */
static int recover_fresh(struct recover *rc)
{
	struct wal *wal = rc->wal;
	uint64_t number = rc->number_max + 1;
	uint64_t tail = 0;
	struct wal_seg *seg;
	int err = 0;

	if (rc->last != NULL) {
		/* Where the chain ends, if the last segment adds nothing to it. */
		wal->crc_last = rc->last_crc;
		wal->lsn_last = rc->last_lsn;
		err = tail_walk(rc, NULL, &tail);
	}
	tail = u64_round_up(WAL_HEADER_BYTES + tail + wal_rec_bytes(8), WAL_HEADER_BYTES);
	if (err == 0) {
		err = wal_segment_make(wal, number, u64_max(wal->segment_bytes, tail), false, &seg);
	}
	if (err != 0) {
		return err;
	}
	wal_put_start(wal, number, seg->bytes);
	if (rc->last != NULL) {
		err = tail_walk(rc, seg, &tail);
	}
	seg->prev_lsn =
		rc->last != NULL && tail == 0 ? rc->last_lsn : u64_min(rc->proven, rc->last_lsn);
	if (err == 0) {
		err = incarnation_put(rc);
	}
	if (err == 0) {
		err = fresh_flush(wal, seg);
	}
	if (err == 0) {
		err = wal_segment_publish(wal, seg);
	}
	if (err != 0) {
		wal_segment_free(seg);
		return err;
	}
	seg->first_lsn = seg->prev_lsn + 1;
	seg->last_lsn = wal->lsn_last;
	wal->cur = seg;
	wal->next_number = number + 1;
	wal->written = wal->lsn_last;
	wal->durable = wal->lsn_last;
	return 0;
}

static void seg_bury(struct wal *wal, struct wal_seg *seg)
{
	list_del(&seg->link);
	list_push_back(&wal->dead, &seg->link);
	wal->dead_count++;
}

/* After the replay: what is unused, replaced or checkpointed can be made into the fresh segment, so that a
 * full disk does not prevent a start. The last one is still needed. */
static void recover_bury(struct recover *rc)
{
	LIST_FOREACH_SAFE (it, &rc->segs) {
		struct wal_seg *seg = list_entry(it, struct wal_seg, link);

		if (seg != rc->last && (!seg->needed || seg->last_lsn <= rc->opts->from_lsn)) {
			seg_bury(rc->wal, seg);
		}
	}
}

/* The segments that are left, and the fresh one. */
static void recover_sort(struct recover *rc)
{
	struct wal *wal = rc->wal;

	if (rc->last != NULL &&
		(rc->last->first_lsn >= wal->cur->first_lsn ||
			rc->last->last_lsn <= rc->opts->from_lsn)) {
		seg_bury(wal, rc->last);
	}
	list_splice_back(&wal->segs, &rc->segs);
	list_push_back(&wal->segs, &wal->cur->link);
	LIST_FOREACH (it, &wal->segs) {
		wal->stats.segments++;
	}
}

int wal_recover(struct wal *wal, const struct wal_opts *opts)
{
	struct recover rc = {.wal = wal, .opts = opts};
	int err;

	list_init(&rc.segs);
	err = recover_list(&rc);
	if (err == 0 && list_empty(&rc.segs)) {
		err = opts->from_lsn != 0 ? -NE_CORRUPT : opts->create ? 0 : -NE_NOTFORMATTED;
		if (err == -NE_CORRUPT) {
			log_error("wal", "the log is gone dir=%s", wal->dir);
		}
		env_random_bytes(wal->env, wal->salt, sizeof(wal->salt));
	} else if (err == 0 && rc.last == NULL) {
		err = corrupt(&rc, "no segment holds a record", rc.number_max, WAL_HEADER_BYTES);
	} else if (err == 0) {
		err = recover_replay(&rc);
	}
	if (err == 0) {
		recover_bury(&rc);
		err = recover_fresh(&rc);
	}
	if (err == 0) {
		recover_sort(&rc);
	}
	wal_segs_free(&rc.segs);
	return err;
}
