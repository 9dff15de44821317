/*
 * Between sim_pages.c (what a page is) and sim_data.c (what files do with them): pages of a disk inode.
 */
#ifndef NACRE_ENV_SIM_SIM_PAGES_H
#define NACRE_ENV_SIM_SIM_PAGES_H

#include "env/sim/sim_disk.h"

#define PAGE_DIRTY_ALL 0xff

/* The content of pages that were written with zeros; shared, never written to. */
extern uint8_t disk_zero_page[DISK_PAGE];

/* NULL when nothing was ever there. */
struct disk_page *disk_page_find(const struct disk_inode *inode, uint64_t number);
/* Makes the record if need be. */
struct disk_page *disk_page_get(struct disk_inode *inode, uint64_t number);
/* Index of the first chunk whose index is >= the given one. */
size_t disk_chunk_lower(const struct disk_inode *inode, uint64_t index);
/* Before a change: settles what a sync under way must still write, perhaps writes back older content. */
void disk_page_touch(
	struct sim_disk *disk, struct disk_inode *inode, uint64_t number, struct disk_page *page);
/* Marks sectors as differing from the medium. */
void disk_page_dirty(
	struct disk_inode *inode, uint64_t number, struct disk_page *page, unsigned sectors);
/* A private, writable cur. */
uint8_t *disk_page_writable(struct disk_page *page);
/* cur becomes what is given (NULL, or the zero page). */
void disk_page_set(struct disk_page *page, uint8_t *content);
void disk_page_commit(struct disk_page *page, unsigned sectors);
void disk_page_release(struct disk_page *page);

#endif
