/*
 * Appending, writing, syncing.
 *
 * wal_put copies a record into the last chunk of its segment. The writer fiber takes the chunks in order,
 * one pwrite each: all appends of a reactor turn go out together. The syncer fiber is the only one to call
 * fdatasync: at once while somebody waits, else when WAL_SYNC_BYTES or WAL_SYNC_NS are reached, and it
 * sleeps without a timer while nothing is unsynced. Before the writer moves to the next segment it has
 * the last one synced.
 */
#include "base/log.h"
#include "store/lost.h"
#include "store/wal_int.h"

void wal_put_start(struct wal *wal, uint64_t number, uint64_t bytes)
{
	ASSERT(number > wal->app_number && bytes > WAL_HEADER_BYTES);
	wal->app_number = number;
	wal->app_bytes = bytes;
	wal->app_off = WAL_HEADER_BYTES;
	wal->app_seed = wal_seed(wal->salt, number);
}

void wal_chunk_free(struct wal *wal, struct wal_chunk *chunk)
{
	if (chunk->cap == WAL_CHUNK_BYTES && wal->spare_count < WAL_CHUNK_SPARES) {
		list_push_back(&wal->spares, &chunk->link);
		wal->spare_count++;
		return;
	}
	mem_free(chunk->buf);
	mem_free(chunk);
}

static struct wal_chunk *chunk_new(struct wal *wal, uint64_t need)
{
	struct wal_chunk *chunk;

	if (need <= WAL_CHUNK_BYTES && wal->spare_count > 0) {
		wal->spare_count--;
		chunk = list_entry(list_pop_front(&wal->spares), struct wal_chunk, link);
		chunk->len = 0;
		return chunk;
	}
	chunk = mem_zalloc(sizeof(*chunk));
	if (chunk == NULL) {
		return NULL;
	}
	chunk->cap = u64_max(need, WAL_CHUNK_BYTES);
	chunk->buf = mem_alloc(chunk->cap);
	if (chunk->buf == NULL) {
		mem_free(chunk);
		return NULL;
	}
	return chunk;
}

/* A chunk at the log's end with room for need bytes; NULL without memory. */
static struct wal_chunk *chunk_get(struct wal *wal, uint64_t need)
{
	struct wal_chunk *chunk;

	if (!list_empty(&wal->chunks)) {
		chunk = list_entry(wal->chunks.prev, struct wal_chunk, link);
		if (chunk->number == wal->app_number && chunk->len + need <= chunk->cap) {
			return chunk;
		}
	}
	chunk = chunk_new(wal, need);
	if (chunk != NULL) {
		chunk->number = wal->app_number;
		chunk->off = wal->app_off;
		list_push_back(&wal->chunks, &chunk->link);
	}
	return chunk;
}

int wal_put(struct wal *wal, struct wal_rec *rec, const struct iovec *iov, unsigned iov_count)
{
	uint64_t need = wal_rec_bytes(rec->len);
	struct wal_chunk *chunk;
	uint8_t *p, *q;

	ASSERT(rec->lsn > wal->lsn_last);
	if (wal->app_off + need > wal->app_bytes) {
		wal_put_start(wal, wal->app_number + 1, wal->segment_bytes);
		ASSERT(wal->app_off + need <= wal->app_bytes);
	}
	chunk = chunk_get(wal, need);
	if (chunk == NULL) {
		return -NE_NOMEM;
	}
	p = chunk->buf + chunk->len;
	q = p + WAL_REC_BYTES;
	for (unsigned i = 0; i < iov_count; i++) {
		bytes_copy(q, iov[i].iov_base, iov[i].iov_len);
		q += iov[i].iov_len;
	}
	ASSERT(q == p + WAL_REC_BYTES + rec->len);
	memset(q, 0, (size_t)(p + need - q));
	rec->prev_crc = wal->crc_last;
	wal->crc_last = wal_rec_seal(p, rec, wal->app_seed);
	wal->lsn_last = rec->lsn;
	wal->app_off += need;
	chunk->len += need;
	chunk->last_lsn = rec->lsn;
	wal->stats.pending_bytes += need;
	wal->stats.bytes += need;
	return 0;
}

int wal_append(struct wal *wal, enum wal_type type, const struct iovec *iov, unsigned iov_count,
	uint64_t *ret_lsn)
{
	struct wal_rec rec = {.type = type, .lsn = wal->lsn_last + 1, .durable = wal->durable};
	size_t len = 0;
	int err;

	ASSERT(!wal->closing);
	for (unsigned i = 0; i < iov_count; i++) {
		len += iov[i].iov_len;
	}
	if (len > wal_payload_max(wal)) {
		return -NE_TOOBIG;
	}
	rec.len = (uint32_t)len;
	err = wal_put(wal, &rec, iov, iov_count);
	if (err != 0) {
		return err;
	}
	wal->stats.appends++;
	env_wake_one(wal->env, &wal->writer_q);
	*ret_lsn = rec.lsn;
	return 0;
}

static void wal_fail(struct wal *wal, const char *what, uint64_t number, int err)
{
	log_error("wal", "%s failed dir=%s segment=%016llx error=%s", what, wal->dir,
		(unsigned long long)number, ne_name(err));
	lost_mark(wal->env, wal->dir);
	env_die(wal->env, "the log cannot be written");
}

/* Moves the writer to the next segment: the current one is durable first. */
static void writer_switch(struct wal *wal)
{
	struct wal_seg *seg;

	wal_wait_durable(wal, wal->written);
	while (list_empty(&wal->ready)) {
		(void)env_wait(wal->env, &wal->ready_q, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
	env_file_close(TAKE_PTR(wal->cur->file));
	seg = list_entry(list_pop_front(&wal->ready), struct wal_seg, link);
	wal->ready_count--;
	seg->prev_lsn = wal->written;
	list_push_back(&wal->segs, &seg->link);
	wal->stats.segments++;
	wal->cur = seg;
	env_wake_all(wal->env, &wal->maker_q);
}

static void writer_chunk(struct wal *wal, struct wal_chunk *chunk)
{
	struct iovec iov = {.iov_base = chunk->buf, .iov_len = chunk->len};
	bool idle;
	int err;

	if (chunk->number != wal->cur->number) {
		writer_switch(wal);
	}
	ASSERT(chunk->number == wal->cur->number);
	err = env_pwrite(wal->cur->file, &iov, 1, chunk->off);
	if (err != 0) {
		wal_fail(wal, "write", chunk->number, err);
	}
	idle = wal->written == wal->durable;
	if (idle) {
		wal->unsynced_since = env_now(wal->env);
	}
	if (wal->cur->first_lsn == 0) {
		wal->cur->first_lsn = wal->written + 1;
	}
	wal->cur->last_lsn = chunk->last_lsn;
	wal->written = chunk->last_lsn;
	wal->unsynced_bytes += chunk->len;
	wal->stats.pending_bytes -= chunk->len;
	wal->stats.writes++;
	env_wake_all(wal->env, &wal->written_q);
	if (idle || wal->unsynced_bytes >= WAL_SYNC_BYTES || wal->want_durable > wal->durable) {
		env_wake_all(wal->env, &wal->syncer_q);
	}
}

void wal_writer(void *arg)
{
	struct wal *wal = arg;

	for (;;) {
		struct list *l;

		while ((l = list_pop_front(&wal->chunks)) != NULL) {
			struct wal_chunk *chunk = list_entry(l, struct wal_chunk, link);

			writer_chunk(wal, chunk);
			wal_chunk_free(wal, chunk);
		}
		if (wal->closing) {
			break;
		}
		(void)env_wait(wal->env, &wal->writer_q, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
	wal->fibers--;
	env_wake_all(wal->env, &wal->ended_q);
}

static void syncer_sync(struct wal *wal)
{
	uint64_t target = wal->written;
	int err;

	wal->unsynced_bytes = 0;
	wal->unsynced_since = env_now(wal->env);
	err = env_fdatasync(wal->cur->file);
	if (err != 0) {
		wal_fail(wal, "fdatasync", wal->cur->number, err);
	}
	wal->stats.fsyncs++;
	metric_hist_add(&wal->stats.sync, env_now(wal->env) - wal->unsynced_since);
	ASSERT(target >= wal->durable);
	wal->durable = target;
	env_wake_all(wal->env, &wal->durable_q);
}

void wal_syncer(void *arg)
{
	struct wal *wal = arg;

	for (;;) {
		bool dirty = wal->written > wal->durable;
		uint64_t deadline = dirty ? wal->unsynced_since + WAL_SYNC_NS : ENV_FOREVER;

		if (dirty &&
			(wal->want_durable > wal->durable ||
				wal->unsynced_bytes >= WAL_SYNC_BYTES || wal->closing ||
				env_now(wal->env) >= deadline)) {
			syncer_sync(wal);
			continue;
		}
		if (wal->closing) {
			break;
		}
		(void)env_wait(wal->env, &wal->syncer_q, deadline, ENV_WAIT_PLAIN);
	}
	wal->fibers--;
	env_wake_all(wal->env, &wal->ended_q);
}

void wal_wait_written(struct wal *wal, uint64_t lsn)
{
	ASSERT(lsn <= wal->lsn_last);
	while (wal->written < lsn) {
		(void)env_wait(wal->env, &wal->written_q, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
}

void wal_wait_durable(struct wal *wal, uint64_t lsn)
{
	ASSERT(lsn <= wal->lsn_last);
	while (wal->durable < lsn) {
		wal->want_durable = u64_max(wal->want_durable, lsn);
		env_wake_all(wal->env, &wal->syncer_q);
		(void)env_wait(wal->env, &wal->durable_q, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
}
