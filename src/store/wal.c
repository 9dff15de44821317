/*
 * The log's life: open, close, trim, and what others may ask. See wal.h for the invariants.
 */
#include <stdio.h>

#include "base/log.h"
#include "store/lost.h"
#include "store/wal_int.h"

static void wal_free(struct wal *wal)
{
	struct list *l;

	if (wal == NULL) {
		return;
	}
	wal->spare_count = WAL_CHUNK_SPARES;
	list_splice_back(&wal->chunks, &wal->spares);
	while ((l = list_pop_front(&wal->chunks)) != NULL) {
		wal_chunk_free(wal, list_entry(l, struct wal_chunk, link));
	}
	wal_segs_free(&wal->segs);
	wal_segs_free(&wal->ready);
	wal_segs_free(&wal->dead);
	mem_free(wal->dir);
	mem_free(wal);
}

static struct wal *wal_new(struct env *env, const struct wal_opts *opts)
{
	struct wal *wal = mem_zalloc(sizeof(*wal));
	size_t len = strlen(opts->dir) + 1;

	if (wal == NULL) {
		return NULL;
	}
	wal->env = env;
	wal->segment_bytes = opts->segment_bytes;
	list_init(&wal->chunks);
	list_init(&wal->spares);
	list_init(&wal->segs);
	list_init(&wal->ready);
	list_init(&wal->dead);
	env_waitq_init(&wal->writer_q);
	env_waitq_init(&wal->syncer_q);
	env_waitq_init(&wal->maker_q);
	env_waitq_init(&wal->written_q);
	env_waitq_init(&wal->durable_q);
	env_waitq_init(&wal->ready_q);
	env_waitq_init(&wal->ended_q);
	wal->dir = mem_alloc(len);
	if (wal->dir == NULL) {
		wal_free(wal);
		return NULL;
	}
	memcpy(wal->dir, opts->dir, len);
	return wal;
}

/* Ends the fibers that run. */
static void wal_stop(struct wal *wal)
{
	wal->closing = true;
	env_wake_all(wal->env, &wal->writer_q);
	env_wake_all(wal->env, &wal->syncer_q);
	env_wake_all(wal->env, &wal->maker_q);
	while (wal->fibers > 0) {
		(void)env_wait(wal->env, &wal->ended_q, ENV_FOREVER, ENV_WAIT_PLAIN);
	}
}

static int wal_start(struct wal *wal)
{
	static const struct {
		const char *name;
		env_fiber_fn *fn;
	} fibers[] = {
		{"wal-writer", wal_writer}, {"wal-syncer", wal_syncer}, {"wal-maker", wal_maker}};

	for (unsigned i = 0; i < ARRAY_SIZE(fibers); i++) {
		int err = env_spawn(wal->env, fibers[i].name, fibers[i].fn, wal);

		if (err != 0) {
			return err;
		}
		wal->fibers++;
	}
	return 0;
}

int wal_open(struct env *env, const struct wal_opts *opts, struct wal **ret_wal)
{
	struct wal *wal;
	int err;

	ASSERT(opts->dir != NULL && opts->dir[0] == '/');
	ASSERT(opts->segment_bytes >= 16 * KIB && opts->segment_bytes % WAL_HEADER_BYTES == 0);
	ASSERT(opts->incarnation_min < UINT64_C(1) << (64 - WAL_LSN_SHIFT));
	wal = wal_new(env, opts);
	if (wal == NULL) {
		return -NE_NOMEM;
	}
	err = lost_load(env, opts->dir, &wal->memory_loss);
	if (err == 0) {
		err = wal_recover(wal, opts);
	}
	if (err == 0) {
		err = wal_start(wal);
		if (err != 0) {
			wal_stop(wal);
		}
	}
	if (err != 0) {
		wal_free(wal);
		return err;
	}
	*ret_wal = wal;
	return 0;
}

void wal_close(struct wal *wal)
{
	uint64_t lsn;

	if (wal == NULL) {
		return;
	}
	wal_wait_durable(wal, wal->lsn_last);
	if (wal->app_off + WAL_REC_BYTES <= wal->app_bytes &&
		wal_append(wal, WAL_CLEAN, NULL, 0, &lsn) == 0) {
		wal_wait_durable(wal, lsn);
	}
	wal_stop(wal);
	ASSERT(list_empty(&wal->chunks) && wal->durable == wal->lsn_last);
	wal_free(wal);
}

uint64_t wal_memory_loss(const struct wal *wal)
{
	return wal->memory_loss;
}

uint32_t wal_payload_max(const struct wal *wal)
{
	uint64_t room = wal->segment_bytes - WAL_HEADER_BYTES - WAL_REC_BYTES;

	return (uint32_t)u64_min(LIM_WAL_RECORD_MAX - WAL_REC_BYTES, room);
}

uint32_t wal_segments_ahead(const struct wal *wal)
{
	uint64_t taken = wal->app_number - wal->cur->number;

	return wal->ready_count > taken ? (uint32_t)(wal->ready_count - taken) : 0;
}

bool wal_has_room(const struct wal *wal)
{
	return wal->app_off + wal_rec_bytes(wal_payload_max(wal)) <= wal->app_bytes ||
		wal_segments_ahead(wal) > 0;
}

uint64_t wal_last_lsn(const struct wal *wal)
{
	return wal->lsn_last;
}

uint64_t wal_written_lsn(const struct wal *wal)
{
	return wal->written;
}

uint64_t wal_durable_lsn(const struct wal *wal)
{
	return wal->durable;
}

uint64_t wal_incarnation(const struct wal *wal)
{
	return wal->incarnation;
}

void wal_trim(struct wal *wal, uint64_t lsn)
{
	ASSERT(lsn <= wal->durable);
	while (wal->segs.next != wal->segs.prev) {
		struct wal_seg *seg = list_entry(wal->segs.next, struct wal_seg, link);

		if (seg == wal->cur || seg->last_lsn > lsn) {
			break;
		}
		ASSERT(seg->file == NULL);
		list_del(&seg->link);
		list_push_back(&wal->dead, &seg->link);
		wal->dead_count++;
		wal->stats.segments--;
	}
	wal->stats.nospc = false;
	env_wake_all(wal->env, &wal->maker_q);
}

void wal_stats_get(const struct wal *wal, struct wal_stats *ret_stats)
{
	*ret_stats = wal->stats;
	ret_stats->segments_ready = wal->ready_count;
}

void wal_wait_segment(struct wal *wal, uint64_t deadline_ns)
{
	(void)env_wait(wal->env, &wal->ready_q, deadline_ns, ENV_WAIT_PLAIN);
}

void wal_space_retry(struct wal *wal)
{
	wal->stats.nospc = false;
	env_wake_all(wal->env, &wal->maker_q);
}
