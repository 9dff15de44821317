/*
 * The disk of a simulated node: a file system in memory that knows what is durable. Pure data, no fibers.
 *
 * Everything exists twice: as the running system sees it (`cur`) and as the medium holds it (`dur`).
 * Pages are 4096 bytes of 8 sectors; a page whose cur and dur are the same pointer is clean. fdatasync
 * makes a file's data and size durable, never its name; names become durable by fsync of their
 * directory, in program order per name. At power loss every unsynced sector is by itself old, new or (rarely)
 * garbage; sizes are old, new or in between; directory operations survive as a prefix or as any subset that
 * makes sense. That is stricter than ext4 or XFS: a store that survives it relies on nothing but POSIX.
 *
 * After a failed fdatasync the pages are clean for the kernel (it says so once) though the medium does not
 * have them: they are `lost`, no later sync writes them, and they may fall back to the old content.
 *
 * References: an inode lives while a name (cur or dur), a pending directory operation or an open file
 * holds it.
 */
#ifndef NACRE_ENV_SIM_SIM_DISK_H
#define NACRE_ENV_SIM_SIM_DISK_H

#include "base/hmap.h"
#include "base/limits.h"
#include "base/list.h"
#include "base/prng.h"
#include "env/env.h"
#include "env/sim/sim.h"

#define DISK_SECTOR 512
#define DISK_PAGE 4096
#define DISK_CHUNK_PAGES 64
/* Directory operations the medium may be behind; older ones are written back, as a journal is. */
#define DISK_PENDING_MAX 1024

struct disk_page {
	uint8_t *cur; /* NULL: a hole or allocated and unwritten */
	uint8_t *dur;
	uint32_t gen; /* sync generation of the last write */
	uint8_t dirty; /* sectors whose cur and dur may differ */
	uint8_t lost; /* of these: a failed fdatasync gave them up */
	bool alloc; /* takes space */
	bool dur_alloc;
	bool listed; /* in the inode's dirty list */
};

struct disk_chunk {
	uint64_t index;
	struct disk_page pages[DISK_CHUNK_PAGES];
};

struct disk_inode {
	struct list all;
	uint64_t ino;
	unsigned refs;
	struct disk_inode *copy; /* while its disk is cloned */
	unsigned links; /* names it has now */
	unsigned opens;
	bool counted; /* its pages are in used_pages: it has a name or is open */
	bool is_dir;
	bool locked; /* env_file_lock */
	uint64_t errors; /* failed syncs: each descriptor hears of it once */
	uint64_t size;
	uint64_t dur_size;
	uint64_t low_size; /* smallest size since the last sync */
	int64_t mtime_ns;
	int64_t dur_mtime_ns;
	uint32_t gen; /* of writes now; a sync covers those up to the value it found */
	uint32_t sync_gen; /* newest sync under way or done */
	uint32_t dur_gen; /* newest sync done */
	struct disk_chunk **chunks; /* sorted by index */
	size_t chunk_count;
	size_t chunk_cap;
	struct disk_chunk *last;
	uint64_t *dirty; /* numbers of dirty pages */
	size_t dirty_count;
	size_t dirty_cap;
	struct hmap names; /* struct disk_name, of a directory */
	struct hmap dur_names;
};

struct disk_name {
	struct hmap_node node;
	struct disk_inode *inode;
	char text[];
};

enum disk_change_kind {
	DISK_LINK, /* dir/name now is inode */
	DISK_UNLINK, /* dir/name is gone */
	DISK_RENAME, /* dir/name is gone, dir2/name2 now is inode */
};

struct disk_change {
	struct list link;
	uint64_t number;
	enum disk_change_kind kind;
	struct disk_inode *dir;
	struct disk_inode *dir2;
	struct disk_inode *inode;
	char *name;
	char *name2;
};

struct sim_disk {
	struct prng rng; /* fates at power loss and write-back; from the node's seed */
	uint64_t capacity_pages;
	uint64_t used_pages;
	uint64_t ino_next;
	uint64_t dev;
	uint64_t errors; /* failed syncs of any file */
	struct list inodes;
	struct disk_inode *root;
	struct list pending; /* struct disk_change, oldest first */
	size_t pending_count;
	uint64_t change_last; /* number of the newest change */
	const struct sim_options *opts;
	struct sim_stats *stats;
};

/* What a sync found when it began; completed later. */
struct disk_sync {
	uint32_t gen;
	uint64_t size;
	int64_t mtime_ns;
};

/* ---- whole disks ---- */

struct sim_disk *disk_new(uint64_t seed, uint64_t capacity_bytes, uint64_t dev);
void disk_free(struct sim_disk *disk);
struct sim_disk *disk_clone(const struct sim_disk *disk);
/* opts and stats must outlive the disk's use. */
void disk_attach(struct sim_disk *disk, const struct sim_options *opts, struct sim_stats *stats);
/* What a crash does to it; no file may be open any more. */
void disk_crash(struct sim_disk *disk, enum sim_crash kind);

/* ---- names ---- */

/* -NE_NOENT, -NE_NOTDIR, -NE_NAMETOOLONG, -NE_INVAL (not absolute). No reference is taken. */
_check_ int disk_lookup(struct sim_disk *disk, const char *path, struct disk_inode **ret_inode);
/* The directory that holds the last component, and that component. */
_check_ int disk_lookup_parent(struct sim_disk *disk, const char *path, struct disk_inode **ret_dir,
	char ret_name[LIM_NAME_MAX + 1]);
struct disk_inode *disk_dir_find(const struct disk_inode *dir, const char *name);
_check_ int disk_create(struct sim_disk *disk, const char *path, bool is_dir, int64_t now_ns,
	struct disk_inode **ret_inode);
_check_ int disk_remove(struct sim_disk *disk, const char *path, bool is_dir);
_check_ int disk_rename(struct sim_disk *disk, const char *from, const char *to);
/* The directory's pending operations up to a change_last, and what they depend on, reach the medium. */
void disk_dir_sync(struct sim_disk *disk, struct disk_inode *dir, uint64_t last);
void disk_names_sync_all(struct sim_disk *disk);
void disk_names_crash(struct sim_disk *disk);
void disk_names_free(struct sim_disk *disk, struct hmap *names);
struct disk_name *disk_names_find(const struct hmap *names, const char *name);
void disk_names_set(
	struct sim_disk *disk, struct hmap *names, const char *name, struct disk_inode *inode);
struct disk_inode *disk_inode_new(struct sim_disk *disk, bool is_dir, uint64_t ino);
void disk_inode_ref(struct disk_inode *inode);
void disk_inode_unref(struct sim_disk *disk, struct disk_inode *inode);
/* links or opens changed: its space is taken or given back. (What the medium still holds of a file that is
 * gone but not durably so takes no space: a journal is made to commit when space is short.) */
void disk_inode_settle(struct sim_disk *disk, struct disk_inode *inode);

/* ---- data ---- */

size_t disk_read(struct disk_inode *inode, void *buf, size_t len, uint64_t off);
/* -NE_NOSPC (nothing written), -NE_FBIG. */
_check_ int disk_write(struct sim_disk *disk, struct disk_inode *inode, const void *buf, size_t len,
	uint64_t off, int64_t now_ns);
_check_ int disk_truncate(
	struct sim_disk *disk, struct disk_inode *inode, uint64_t size, int64_t now_ns);
_check_ int disk_allocate(struct sim_disk *disk, struct disk_inode *inode,
	enum env_fallocate_mode mode, uint64_t off, uint64_t len);
_check_ int disk_seek(const struct disk_inode *inode, uint64_t off, bool data, uint64_t *ret_off);
uint64_t disk_inode_blocks(const struct disk_inode *inode);
struct disk_sync disk_sync_begin(struct disk_inode *inode);
void disk_sync_end(struct disk_inode *inode, const struct disk_sync *sync);
/* The sync failed: what it covered is lost. */
void disk_sync_fail(struct disk_inode *inode, const struct disk_sync *sync);
/* Pages that a failed sync left clean are what the medium holds. */
void disk_forget(struct sim_disk *disk, struct disk_inode *inode);
void disk_data_crash(struct sim_disk *disk, struct disk_inode *inode, enum sim_crash kind);
void disk_data_free(struct sim_disk *disk, struct disk_inode *inode);
void disk_data_copy(struct disk_inode *to, const struct disk_inode *from);
_check_ int disk_flip(struct disk_inode *inode, uint64_t off, unsigned bit);

#endif
