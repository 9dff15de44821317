/*
 * Pages of a simulated file: current and durable content, dirty sectors, write-back.
 *
 * Invariant: a page with no dirty sector has cur == dur (one buffer or none). Buffers are owned by the page
 * unless they are the zero page.
 */
#include <stdlib.h>
#include <string.h>

#include "env/sim/sim_int.h"
#include "env/sim/sim_pages.h"

uint8_t disk_zero_page[DISK_PAGE];

static void page_buffer_free(uint8_t *buffer)
{
	if (buffer != disk_zero_page) {
		free(buffer);
	}
}

size_t disk_chunk_lower(const struct disk_inode *inode, uint64_t index)
{
	size_t low = 0;
	size_t high = inode->chunk_count;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (inode->chunks[mid]->index < index) {
			low = mid + 1;
		} else {
			high = mid;
		}
	}
	return low;
}

struct disk_page *disk_page_find(const struct disk_inode *inode, uint64_t number)
{
	uint64_t index = number / DISK_CHUNK_PAGES;
	struct disk_chunk *chunk = inode->last;

	if (chunk == NULL || chunk->index != index) {
		size_t i = disk_chunk_lower(inode, index);

		if (i == inode->chunk_count || inode->chunks[i]->index != index) {
			return NULL;
		}
		chunk = inode->chunks[i];
	}
	return &chunk->pages[number % DISK_CHUNK_PAGES];
}

struct disk_page *disk_page_get(struct disk_inode *inode, uint64_t number)
{
	uint64_t index = number / DISK_CHUNK_PAGES;
	struct disk_page *page = disk_page_find(inode, number);
	struct disk_chunk *chunk;
	size_t i;

	if (page != NULL) {
		return page;
	}
	if (inode->chunk_count == inode->chunk_cap) {
		inode->chunk_cap = inode->chunk_cap == 0 ? 4 : inode->chunk_cap * 2;
		inode->chunks =
			sim_realloc(inode->chunks, inode->chunk_cap * sizeof(*inode->chunks));
	}
	i = disk_chunk_lower(inode, index);
	memmove(&inode->chunks[i + 1], &inode->chunks[i],
		(inode->chunk_count - i) * sizeof(*inode->chunks));
	chunk = sim_zalloc(sizeof(*chunk));
	chunk->index = index;
	inode->chunks[i] = chunk;
	inode->chunk_count++;
	inode->last = chunk;
	return &chunk->pages[number % DISK_CHUNK_PAGES];
}

/* dur gets its own buffer with its present content. */
static uint8_t *page_dur_writable(struct disk_page *page)
{
	uint8_t *buffer;

	if (page->dur != NULL && page->dur != disk_zero_page && page->dur != page->cur) {
		return page->dur;
	}
	buffer = sim_alloc(DISK_PAGE);
	memcpy(buffer, page->dur != NULL ? page->dur : disk_zero_page, DISK_PAGE);
	page->dur = buffer;
	return buffer;
}

void disk_page_commit(struct disk_page *page, unsigned sectors)
{
	sectors &= page->dirty;
	if (sectors == page->dirty) {
		if (page->dur != page->cur) {
			page_buffer_free(page->dur);
		}
		page->dur = page->cur;
		page->dur_alloc = page->alloc;
		page->dirty = 0;
		page->lost = 0;
		return;
	}
	if (sectors == 0) {
		return;
	}
	uint8_t *dur = page_dur_writable(page);
	const uint8_t *cur = page->cur != NULL ? page->cur : disk_zero_page;

	for (unsigned i = 0; i < DISK_PAGE / DISK_SECTOR; i++) {
		if ((sectors >> i & 1) != 0) {
			memcpy(dur + i * DISK_SECTOR, cur + i * DISK_SECTOR, DISK_SECTOR);
		}
	}
	page->dur_alloc = true;
	page->dirty = (uint8_t)(page->dirty & ~sectors);
	page->lost = (uint8_t)(page->lost & ~sectors);
}

void disk_page_touch(
	struct sim_disk *disk, struct disk_inode *inode, uint64_t number, struct disk_page *page)
{
	(void)number;
	if (page->dirty == 0) {
		return;
	}
	if (page->gen <= inode->sync_gen && inode->sync_gen > inode->dur_gen) {
		/* A sync under way covers the content that is about to change: it was written first. */
		disk_page_commit(page, (unsigned)page->dirty & ~(unsigned)page->lost);
		return;
	}
	if (sim_chance(&disk->rng, disk->opts->disk.writeback_ppm)) {
		unsigned sectors =
			(unsigned)prng_next(&disk->rng) & page->dirty & ~(unsigned)page->lost;

		if (sectors != 0) {
			disk_page_commit(page, sectors);
			disk->stats->faults[SIM_FAULT_WRITEBACK]++;
		}
	}
}

void disk_page_dirty(
	struct disk_inode *inode, uint64_t number, struct disk_page *page, unsigned sectors)
{
	ASSERT(sectors != 0 && sectors <= PAGE_DIRTY_ALL);
	page->dirty = (uint8_t)(page->dirty | sectors);
	/* Write-back is of whole pages: what a failed sync gave up is tried again with the rest. */
	page->lost = 0;
	page->gen = inode->gen;
	if (page->listed) {
		return;
	}
	if (inode->dirty_count == inode->dirty_cap) {
		inode->dirty_cap = inode->dirty_cap == 0 ? 16 : inode->dirty_cap * 2;
		inode->dirty = sim_realloc(inode->dirty, inode->dirty_cap * sizeof(*inode->dirty));
	}
	inode->dirty[inode->dirty_count++] = number;
	page->listed = true;
}

uint8_t *disk_page_writable(struct disk_page *page)
{
	uint8_t *buffer;

	if (page->cur != NULL && page->cur != disk_zero_page && page->cur != page->dur) {
		return page->cur;
	}
	buffer = sim_alloc(DISK_PAGE);
	memcpy(buffer, page->cur != NULL ? page->cur : disk_zero_page, DISK_PAGE);
	page->cur = buffer;
	return buffer;
}

void disk_page_set(struct disk_page *page, uint8_t *content)
{
	if (page->cur != page->dur) {
		page_buffer_free(page->cur);
	}
	page->cur = content;
}

void disk_page_release(struct disk_page *page)
{
	if (page->cur != page->dur) {
		page_buffer_free(page->cur);
	}
	page_buffer_free(page->dur);
	page->cur = NULL;
	page->dur = NULL;
}
