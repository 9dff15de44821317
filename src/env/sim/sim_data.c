/*
 * What is in a simulated file: read, write, truncate, allocate, seek, sync - and what a crash leaves.
 *
 * Invariant: bytes of a page beyond the file's size are zero in cur. A page taken out by truncate or punch
 * is one with cur == NULL and all sectors dirty until a sync.
 */
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "env/sim/sim_int.h"
#include "env/sim/sim_pages.h"

#define PAGE_SECTORS (DISK_PAGE / DISK_SECTOR)

/* ---- reading and writing ---- */

size_t disk_read(struct disk_inode *inode, void *buf, size_t len, uint64_t off)
{
	uint8_t *out = buf;
	size_t done = 0;

	if (off >= inode->size) {
		return 0;
	}
	len = (size_t)u64_min(len, inode->size - off);
	while (done < len) {
		uint64_t at = off + done;
		size_t in_page = (size_t)(at % DISK_PAGE);
		size_t part = (size_t)u64_min(len - done, DISK_PAGE - in_page);
		const struct disk_page *page = disk_page_find(inode, at / DISK_PAGE);
		const uint8_t *from = page != NULL ? page->cur : NULL;

		memcpy(out + done, (from != NULL ? from : disk_zero_page) + in_page, part);
		done += part;
	}
	return len;
}

/* Pages of [off, off + len) that take no space yet. */
static uint64_t data_pages_missing(const struct disk_inode *inode, uint64_t off, uint64_t len)
{
	uint64_t missing = 0;

	for (uint64_t n = off / DISK_PAGE; n * DISK_PAGE < off + len; n++) {
		const struct disk_page *page = disk_page_find(inode, n);

		missing += page == NULL || !page->alloc ? 1 : 0;
	}
	return missing;
}

/* Takes the space of [off, off + len), all or nothing. */
static int data_space_take(
	struct sim_disk *disk, const struct disk_inode *inode, uint64_t off, uint64_t len)
{
	uint64_t missing;

	/* Cheap refusal first: the range alone may have more pages than the disk. */
	if (len / DISK_PAGE > disk->capacity_pages) {
		return -NE_NOSPC;
	}
	missing = data_pages_missing(inode, off, len);
	if (missing > 0 && disk->used_pages + missing > disk->capacity_pages) {
		return -NE_NOSPC;
	}
	disk->used_pages += missing;
	return 0;
}

static unsigned data_sectors(size_t in_page, size_t len)
{
	unsigned first = (unsigned)(in_page / DISK_SECTOR);
	unsigned last = (unsigned)((in_page + len - 1) / DISK_SECTOR);

	return ((1U << (last + 1)) - 1) & ~((1U << first) - 1);
}

static void data_page_write(struct sim_disk *disk, struct disk_inode *inode, uint64_t off,
	const uint8_t *from, size_t len)
{
	uint64_t number = off / DISK_PAGE;
	size_t in_page = (size_t)(off % DISK_PAGE);
	struct disk_page *page = disk_page_get(inode, number);

	ASSERT(len > 0 && in_page + len <= DISK_PAGE);
	disk_page_touch(disk, inode, number, page);
	if (len == DISK_PAGE && memcmp(from, disk_zero_page, DISK_PAGE) == 0) {
		disk_page_set(page, disk_zero_page);
	} else {
		memcpy(disk_page_writable(page) + in_page, from, len);
	}
	page->alloc = true;
	disk_page_dirty(inode, number, page, data_sectors(in_page, len));
}

/* Before a file grows its last block is zeroed behind the old end, and so written again. */
static void data_grow(struct disk_inode *inode, uint64_t size)
{
	struct disk_page *page = disk_page_find(inode, inode->size / DISK_PAGE);

	if (size > inode->size && page != NULL) {
		page->lost = 0;
	}
}

int disk_write(struct sim_disk *disk, struct disk_inode *inode, const void *buf, size_t len,
	uint64_t off, int64_t now_ns)
{
	const uint8_t *from = buf;
	size_t done = 0;
	int rc;

	ASSERT(!inode->is_dir);
	if (off > LIM_FILE_SIZE_MAX || len > LIM_FILE_SIZE_MAX - off) {
		return -NE_FBIG;
	}
	if (len == 0) {
		return 0;
	}
	rc = data_space_take(disk, inode, off, len);
	if (rc != 0) {
		return rc;
	}
	while (done < len) {
		size_t part = (size_t)u64_min(len - done, DISK_PAGE - (off + done) % DISK_PAGE);

		data_page_write(disk, inode, off + done, from + done, part);
		done += part;
	}
	data_grow(inode, off + len);
	inode->size = u64_max(inode->size, off + len);
	inode->mtime_ns = now_ns;
	return 0;
}

/* Removes (keep_alloc: empties) whole pages first..end-1 from cur. */
static void data_cut(struct sim_disk *disk, struct disk_inode *inode, uint64_t first, uint64_t end,
	bool keep_alloc)
{
	size_t i = disk_chunk_lower(inode, first / DISK_CHUNK_PAGES);

	for (; i < inode->chunk_count && inode->chunks[i]->index * DISK_CHUNK_PAGES < end; i++) {
		for (unsigned j = 0; j < DISK_CHUNK_PAGES; j++) {
			uint64_t number = inode->chunks[i]->index * DISK_CHUNK_PAGES + j;
			struct disk_page *page = &inode->chunks[i]->pages[j];

			if (number < first || number >= end ||
				(page->cur == NULL && !page->alloc)) {
				continue;
			}
			disk_page_touch(disk, inode, number, page);
			disk_page_set(page, NULL);
			if (page->alloc && !keep_alloc) {
				page->alloc = false;
				disk->used_pages--;
			}
			disk_page_dirty(inode, number, page, PAGE_DIRTY_ALL);
		}
	}
}

/* Zeroes part of a page, if it holds anything. */
static void data_zero_part(
	struct sim_disk *disk, struct disk_inode *inode, uint64_t off, size_t len)
{
	struct disk_page *page = disk_page_find(inode, off / DISK_PAGE);

	if (len == 0 || page == NULL || page->cur == NULL || page->cur == disk_zero_page) {
		return;
	}
	data_page_write(disk, inode, off, disk_zero_page, len);
}

int disk_truncate(struct sim_disk *disk, struct disk_inode *inode, uint64_t size, int64_t now_ns)
{
	ASSERT(!inode->is_dir);
	if (size > LIM_FILE_SIZE_MAX) {
		return -NE_FBIG;
	}
	if (size < inode->size) {
		uint64_t keep = u64_round_up(size, DISK_PAGE);

		data_zero_part(disk, inode, size, (size_t)(keep - size));
		data_cut(disk, inode, keep / DISK_PAGE, UINT64_MAX, false);
		inode->low_size = u64_min(inode->low_size, size);
	}
	data_grow(inode, size);
	inode->size = size;
	inode->mtime_ns = now_ns;
	return 0;
}

static int data_reserve(struct sim_disk *disk, struct disk_inode *inode, uint64_t off, uint64_t len)
{
	int rc = data_space_take(disk, inode, off, len);

	if (rc != 0) {
		return rc;
	}
	for (uint64_t n = off / DISK_PAGE; n * DISK_PAGE < off + len; n++) {
		struct disk_page *page = disk_page_get(inode, n);

		page->alloc = true;
		page->dur_alloc = true;
	}
	return 0;
}

/* Zeroes or removes a range: whole pages are cut, the edges are overwritten. */
static void data_range_clear(struct sim_disk *disk, struct disk_inode *inode, uint64_t off,
	uint64_t len, bool keep_alloc)
{
	uint64_t end = off + len;
	uint64_t first = u64_round_up(off, DISK_PAGE);
	uint64_t last = u64_round_down(end, DISK_PAGE);

	if (first > last) {
		data_zero_part(disk, inode, off, (size_t)len);
		return;
	}
	data_zero_part(disk, inode, off, (size_t)(first - off));
	data_zero_part(disk, inode, last, (size_t)(end - last));
	data_cut(disk, inode, first / DISK_PAGE, last / DISK_PAGE, keep_alloc);
}

int disk_allocate(struct sim_disk *disk, struct disk_inode *inode, enum env_fallocate_mode mode,
	uint64_t off, uint64_t len)
{
	int rc;

	ASSERT(!inode->is_dir);
	if (len == 0) {
		return -NE_INVAL;
	}
	if (off > LIM_FILE_SIZE_MAX || len > LIM_FILE_SIZE_MAX - off) {
		return -NE_FBIG;
	}
	if (mode == ENV_FALLOC_PUNCH) {
		data_range_clear(disk, inode, off, len, false);
		return 0;
	}
	rc = data_reserve(disk, inode, off, len);
	if (rc != 0) {
		return rc;
	}
	if (mode == ENV_FALLOC_ZERO) {
		data_range_clear(disk, inode, off, len, true);
	} else if (mode == ENV_FALLOC_RESERVE) {
		inode->size = u64_max(inode->size, off + len);
	}
	return 0;
}

int disk_seek(const struct disk_inode *inode, uint64_t off, bool data, uint64_t *ret_off)
{
	uint64_t number = off / DISK_PAGE;

	if (off >= inode->size) {
		return -NE_NXIO;
	}
	while (number * DISK_PAGE < inode->size) {
		const struct disk_page *page = disk_page_find(inode, number);

		if ((page != NULL && page->cur != NULL) == data) {
			*ret_off = u64_max(off, number * DISK_PAGE);
			return 0;
		}
		if (page == NULL) { /* only when looking for data: go to the next chunk there is */
			size_t i = disk_chunk_lower(inode, number / DISK_CHUNK_PAGES);

			if (i == inode->chunk_count) {
				break;
			}
			number = inode->chunks[i]->index * DISK_CHUNK_PAGES;
			continue;
		}
		number++;
	}
	if (data) {
		return -NE_NXIO;
	}
	*ret_off = inode->size;
	return 0;
}

uint64_t disk_inode_blocks(const struct disk_inode *inode)
{
	uint64_t pages = 0;

	for (size_t i = 0; i < inode->chunk_count; i++) {
		for (unsigned j = 0; j < DISK_CHUNK_PAGES; j++) {
			pages += inode->chunks[i]->pages[j].alloc ? 1 : 0;
		}
	}
	return pages * DISK_PAGE;
}

int disk_flip(struct disk_inode *inode, uint64_t off, unsigned bit)
{
	struct disk_page *page = disk_page_find(inode, off / DISK_PAGE);
	uint8_t mask = (uint8_t)(1U << bit);
	bool shared;

	ASSERT(bit < 8);
	if (off >= inode->size || page == NULL || page->cur == NULL) {
		return -NE_INVAL;
	}
	shared = page->cur == page->dur;
	if (shared) {
		page->dur = NULL; /* the one buffer is cur's for a moment */
		disk_page_writable(page)[off % DISK_PAGE] ^= mask;
		page->dur = page->cur;
		return 0;
	}
	disk_page_writable(page)[off % DISK_PAGE] ^= mask;
	if (page->dur != NULL && page->dur != disk_zero_page) {
		page->dur[off % DISK_PAGE] ^= mask;
	}
	return 0;
}

/* ---- syncs ---- */

struct disk_sync disk_sync_begin(struct disk_inode *inode)
{
	struct disk_sync sync = {inode->gen, inode->size, inode->mtime_ns};

	inode->sync_gen = inode->gen;
	inode->gen++;
	return sync;
}

/* Takes out of the dirty list what is clean. */
static void data_dirty_sweep(struct disk_inode *inode)
{
	size_t kept = 0;

	for (size_t i = 0; i < inode->dirty_count; i++) {
		struct disk_page *page = disk_page_find(inode, inode->dirty[i]);

		if (page->dirty == 0) {
			page->listed = false;
		} else {
			inode->dirty[kept++] = inode->dirty[i];
		}
	}
	inode->dirty_count = kept;
}

void disk_sync_end(struct disk_inode *inode, const struct disk_sync *sync)
{
	ASSERT(sync->gen <= inode->sync_gen);
	for (size_t i = 0; i < inode->dirty_count; i++) {
		struct disk_page *page = disk_page_find(inode, inode->dirty[i]);

		if (page->gen <= sync->gen) {
			disk_page_commit(page, (unsigned)page->dirty & ~(unsigned)page->lost);
		}
	}
	data_dirty_sweep(inode);
	if (sync->gen >= inode->dur_gen) {
		inode->dur_gen = sync->gen;
		inode->dur_size = sync->size;
		inode->dur_mtime_ns = sync->mtime_ns;
		inode->low_size = u64_min(inode->size, sync->size);
	}
}

void disk_sync_fail(struct disk_inode *inode, const struct disk_sync *sync)
{
	ASSERT(sync->gen <= inode->sync_gen);
	for (size_t i = 0; i < inode->dirty_count; i++) {
		struct disk_page *page = disk_page_find(inode, inode->dirty[i]);

		/* A cut is metadata, as the size is: the kernel goes on with it, and a later sync makes it durable. */
		if (page->gen <= sync->gen && page->cur != NULL) {
			page->lost = page->dirty;
		}
	}
	if (sync->gen >= inode->dur_gen) {
		inode->dur_gen = sync->gen;
	}
}

/* ---- crashes ---- */

/* Garbage where the write was cut off: from some byte on, to the last one it changed; between two writes of one sector
 * lies what neither changed, and stays. */
static void data_sector_tear(struct sim_disk *disk, uint8_t *dur, const uint8_t *cur)
{
	bool neighbours = disk->opts->disk.torn_neighbours;
	uint8_t garbage[DISK_SECTOR];
	size_t first = 0;
	size_t end = DISK_SECTOR;
	size_t cut;

	while (!neighbours && first < end && dur[first] == cur[first]) {
		first++;
	}
	while (!neighbours && end > first && dur[end - 1] == cur[end - 1]) {
		end--;
	}
	cut = (size_t)prng_range(&disk->rng, first, end);
	memcpy(dur, cur, cut);
	if (prng_chance(&disk->rng, 1, 2)) {
		prng_fill(&disk->rng, garbage, end - cut);
		for (size_t i = cut; i < end; i++) {
			dur[i] = neighbours || dur[i] != cur[i] ? garbage[i - cut] : dur[i];
		}
	}
	disk->stats->faults[SIM_FAULT_SECTOR_TORN]++;
}

/* One sector's fate. */
static void data_sector_crash(struct sim_disk *disk, uint8_t *dur, const uint8_t *cur)
{
	if (sim_chance(&disk->rng, disk->opts->disk.torn_ppm)) {
		data_sector_tear(disk, dur, cur);
	} else if (prng_chance(&disk->rng, 1, 2)) {
		memcpy(dur, cur, DISK_SECTOR);
		disk->stats->faults[SIM_FAULT_SECTOR_NEW]++;
	} else {
		disk->stats->faults[SIM_FAULT_SECTOR_OLD]++;
	}
}

static void data_page_power_loss(struct sim_disk *disk, struct disk_page *page, bool keep_cuts)
{
	struct disk_page after = {.dur_alloc = page->dur_alloc};
	uint8_t *dur;

	if (page->cur == NULL) {
		if (keep_cuts) {
			disk_page_commit(page, page->dirty);
			return;
		}
		page->cur = page->dur;
		page->alloc = page->dur_alloc;
		page->dirty = 0;
		page->lost = 0;
		return;
	}
	dur = sim_alloc(DISK_PAGE);
	memcpy(dur, page->dur != NULL ? page->dur : disk_zero_page, DISK_PAGE);
	for (unsigned i = 0; i < PAGE_SECTORS; i++) {
		if ((page->dirty >> i & 1) != 0) {
			data_sector_crash(disk, dur + i * DISK_SECTOR, page->cur + i * DISK_SECTOR);
		}
	}
	if (page->dur == NULL && memcmp(dur, disk_zero_page, DISK_PAGE) == 0) {
		free(dur);
		dur = NULL;
	}
	disk_page_release(page);
	after.cur = dur;
	after.dur = dur;
	after.alloc = page->dur_alloc || dur != NULL;
	after.dur_alloc = after.alloc;
	*page = after;
}

/* Removes what lies beyond the size, on the medium too: nobody can see it any more. */
static void data_clip(struct disk_inode *inode)
{
	uint64_t keep = u64_round_up(inode->size, DISK_PAGE) / DISK_PAGE;
	size_t tail = (size_t)(inode->size % DISK_PAGE);

	for (size_t i = disk_chunk_lower(inode, keep / DISK_CHUNK_PAGES); i < inode->chunk_count;
		i++) {
		for (unsigned j = 0; j < DISK_CHUNK_PAGES; j++) {
			if (inode->chunks[i]->index * DISK_CHUNK_PAGES + j >= keep) {
				disk_page_release(&inode->chunks[i]->pages[j]);
			}
		}
	}
	if (tail != 0) {
		struct disk_page *page = disk_page_find(inode, keep - 1);

		if (page != NULL && page->cur != NULL && page->cur != disk_zero_page) {
			memset(page->cur + tail, 0, DISK_PAGE - tail);
		}
	}
}

static uint64_t data_size_crash(struct sim_disk *disk, const struct disk_inode *inode)
{
	uint64_t low = u64_min(inode->low_size, u64_min(inode->size, inode->dur_size));
	uint64_t high = u64_max(inode->size, inode->dur_size);
	uint64_t fate = prng_below(&disk->rng, 5);

	if (inode->size == inode->dur_size && low == high) {
		return inode->size;
	}
	if (fate < 2) {
		return inode->size;
	}
	if (fate < 4) {
		disk->stats->faults[SIM_FAULT_SIZE_OLD]++;
		return inode->dur_size;
	}
	disk->stats->faults[SIM_FAULT_SIZE_BETWEEN]++;
	high = u64_min(high, inode->size > low ? inode->size : high);
	return u64_min(high, u64_round_up(prng_range(&disk->rng, low, high), DISK_SECTOR));
}

static void data_power_loss(struct sim_disk *disk, struct disk_inode *inode)
{
	uint64_t size = data_size_crash(disk, inode);
	bool keep_cuts = prng_chance(&disk->rng, 1, 2);

	if (inode->dur_size > inode->size && size == inode->dur_size) {
		keep_cuts = false; /* the truncate did not happen */
	}
	for (size_t i = 0; i < inode->dirty_count; i++) {
		struct disk_page *page = disk_page_find(inode, inode->dirty[i]);

		page->listed = false;
		if (page->dirty != 0) {
			data_page_power_loss(disk, page, keep_cuts);
		}
	}
	inode->dirty_count = 0;
	inode->size = size;
	inode->dur_size = size;
	inode->low_size = size;
	inode->mtime_ns = prng_chance(&disk->rng, 1, 2) ? inode->mtime_ns : inode->dur_mtime_ns;
	inode->dur_mtime_ns = inode->mtime_ns;
	data_clip(inode);
}

static void data_tail_zero(struct disk_inode *inode)
{
	size_t tail = (size_t)(inode->size % DISK_PAGE);
	struct disk_page *page = disk_page_find(inode, inode->size / DISK_PAGE);

	if (page != NULL && page->cur != NULL && page->cur != page->dur &&
		page->cur != disk_zero_page) {
		memset(page->cur + tail, 0, DISK_PAGE - tail);
	}
}

/* Pages that a failed sync left clean may be dropped by the kernel at any time. */
static void data_evict(struct sim_disk *disk, struct disk_inode *inode, bool all)
{
	for (size_t i = 0; i < inode->dirty_count; i++) {
		struct disk_page *page = disk_page_find(inode, inode->dirty[i]);
		const uint8_t *old;

		if (page->lost == 0 || page->cur == NULL ||
			(!all && !prng_chance(&disk->rng, 1, 2))) {
			continue;
		}
		old = page->dur != NULL ? page->dur : disk_zero_page;
		for (unsigned s = 0; s < PAGE_SECTORS; s++) {
			if ((page->lost >> s & 1) != 0) {
				memcpy(disk_page_writable(page) + s * DISK_SECTOR,
					old + s * DISK_SECTOR, DISK_SECTOR);
				disk->stats->faults[SIM_FAULT_EVICTED]++;
			}
		}
	}
	/* What a read brings in beyond the end of the file is zeros, whatever the medium has there. */
	data_tail_zero(inode);
}

void disk_forget(struct sim_disk *disk, struct disk_inode *inode)
{
	data_evict(disk, inode, true);
}

void disk_data_crash(struct sim_disk *disk, struct disk_inode *inode, enum sim_crash kind)
{
	ASSERT(!inode->is_dir);
	if (kind == SIM_POWER_LOSS) {
		data_power_loss(disk, inode);
	} else {
		data_evict(disk, inode, false);
	}
	inode->dur_gen = inode->sync_gen; /* no sync is under way any more */
}

/* ---- whole files ---- */

void disk_data_free(struct sim_disk *disk, struct disk_inode *inode)
{
	for (size_t i = 0; i < inode->chunk_count; i++) {
		for (unsigned j = 0; j < DISK_CHUNK_PAGES; j++) {
			disk->used_pages -=
				inode->counted && inode->chunks[i]->pages[j].alloc ? 1 : 0;
			disk_page_release(&inode->chunks[i]->pages[j]);
		}
		free(inode->chunks[i]);
	}
	free(inode->chunks);
	free(inode->dirty);
}

static uint8_t *data_buffer_copy(uint8_t *buffer)
{
	uint8_t *copy;

	if (buffer == NULL || buffer == disk_zero_page) {
		return buffer;
	}
	copy = sim_alloc(DISK_PAGE);
	memcpy(copy, buffer, DISK_PAGE);
	return copy;
}

void disk_data_copy(struct disk_inode *to, const struct disk_inode *from)
{
	ASSERT(to->chunk_count == 0 && to->dirty_count == 0);
	to->chunks =
		from->chunk_count == 0 ? NULL : sim_alloc(from->chunk_count * sizeof(*to->chunks));
	to->chunk_count = from->chunk_count;
	to->chunk_cap = from->chunk_count;
	to->last = NULL;
	for (size_t i = 0; i < from->chunk_count; i++) {
		struct disk_chunk *chunk = sim_alloc(sizeof(*chunk));

		*chunk = *from->chunks[i];
		for (unsigned j = 0; j < DISK_CHUNK_PAGES; j++) {
			struct disk_page *page = &chunk->pages[j];
			bool shared = page->cur == page->dur;

			page->cur = data_buffer_copy(page->cur);
			page->dur = shared ? page->cur : data_buffer_copy(page->dur);
		}
		to->chunks[i] = chunk;
	}
	to->dirty =
		from->dirty_count == 0 ? NULL : sim_alloc(from->dirty_count * sizeof(*to->dirty));
	to->dirty_count = from->dirty_count;
	to->dirty_cap = from->dirty_count;
	for (size_t i = 0; i < from->dirty_count; i++) {
		to->dirty[i] = from->dirty[i];
	}
}
