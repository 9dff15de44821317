/*
 * Whole simulated disks: making, cloning, crashing, freeing; and the parts of sim.h about disks.
 */
#include <stdlib.h>
#include <string.h>

#include "env/sim/sim_int.h"

struct sim_disk *disk_new(uint64_t seed, uint64_t capacity_bytes, uint64_t dev)
{
	struct sim_disk *disk = sim_zalloc(sizeof(*disk));

	ASSERT(capacity_bytes >= DISK_PAGE);
	prng_init(&disk->rng, seed);
	disk->capacity_pages = capacity_bytes / DISK_PAGE;
	disk->ino_next = 2;
	disk->dev = dev;
	list_init(&disk->inodes);
	list_init(&disk->pending);
	disk->root = disk_inode_new(disk, true, 1);
	disk_inode_ref(disk->root);
	disk->root->links = 1;
	disk->root->counted = true;
	return disk;
}

void disk_attach(struct sim_disk *disk, const struct sim_options *opts, struct sim_stats *stats)
{
	disk->opts = opts;
	disk->stats = stats;
}

/* Inodes may hold each other in circles after a crash that kept half of several renames: all names go first. */
void disk_free(struct sim_disk *disk)
{
	if (disk == NULL) {
		return;
	}
	while (!list_empty(&disk->pending)) {
		disk_names_sync_all(disk);
	}
	LIST_FOREACH (it, &disk->inodes) {
		disk_inode_ref(list_entry(it, struct disk_inode, all));
	}
	LIST_FOREACH (it, &disk->inodes) {
		struct disk_inode *inode = list_entry(it, struct disk_inode, all);

		disk_names_free(disk, &inode->names);
		disk_names_free(disk, &inode->dur_names);
	}
	disk_inode_unref(disk, disk->root);
	LIST_FOREACH_SAFE (it, &disk->inodes) {
		struct disk_inode *inode = list_entry(it, struct disk_inode, all);

		ASSERT(inode->refs == 1);
		disk_inode_unref(disk, inode);
	}
	free(disk);
}

void disk_crash(struct sim_disk *disk, enum sim_crash kind)
{
	uint64_t used = 0;

	ASSERT(disk->opts != NULL && disk->stats != NULL);
	LIST_FOREACH (it, &disk->inodes) {
		struct disk_inode *inode = list_entry(it, struct disk_inode, all);

		inode->locked = false;
		if (!inode->is_dir) {
			disk_data_crash(disk, inode, kind);
		}
	}
	if (kind == SIM_POWER_LOSS) {
		disk_names_crash(disk);
	}
	LIST_FOREACH (it, &disk->inodes) {
		struct disk_inode *inode = list_entry(it, struct disk_inode, all);

		ASSERT(inode->opens == 0);
		inode->counted = inode->links > 0;
		used += inode->counted ? disk_inode_blocks(inode) : 0;
	}
	disk->used_pages = used / DISK_PAGE;
}

/* ---- clones ---- */

static void disk_names_clone(struct sim_disk *disk, struct hmap *to, const struct hmap *from)
{
	HMAP_FOREACH (node, from) {
		struct disk_name *entry = container_of(node, struct disk_name, node);

		disk_names_set(disk, to, entry->text, entry->inode->copy);
	}
}

static void disk_inode_clone(struct sim_disk *disk, struct disk_inode *from)
{
	struct disk_inode *to = disk_inode_new(disk, from->is_dir, from->ino);

	to->links = from->links;
	to->counted = from->counted;
	to->size = from->size;
	to->dur_size = from->dur_size;
	to->low_size = from->low_size;
	to->mtime_ns = from->mtime_ns;
	to->dur_mtime_ns = from->dur_mtime_ns;
	to->gen = from->gen;
	to->sync_gen = from->sync_gen;
	to->dur_gen = from->sync_gen; /* a sync under way is not under way in the copy */
	disk_data_copy(to, from);
	disk_inode_ref(to);
	from->copy = to;
}

static void disk_pending_clone(struct sim_disk *disk, const struct disk_change *from)
{
	struct disk_change *to = sim_zalloc(sizeof(*to));

	to->number = from->number;
	to->kind = from->kind;
	to->dir = from->dir->copy;
	to->inode = from->inode->copy;
	to->name = sim_strdup(from->name);
	disk_inode_ref(to->dir);
	disk_inode_ref(to->inode);
	if (from->dir2 != NULL) {
		to->dir2 = from->dir2->copy;
		to->name2 = sim_strdup(from->name2);
		disk_inode_ref(to->dir2);
	}
	list_push_back(&disk->pending, &to->link);
	disk->pending_count++;
}

struct sim_disk *disk_clone(const struct sim_disk *from)
{
	struct sim_disk *disk = sim_zalloc(sizeof(*disk));

	*disk = *from;
	disk->pending_count = 0;
	list_init(&disk->inodes);
	list_init(&disk->pending);
	LIST_FOREACH (it, &from->inodes) {
		disk_inode_clone(disk, list_entry(it, struct disk_inode, all));
	}
	LIST_FOREACH (it, &from->inodes) {
		struct disk_inode *inode = list_entry(it, struct disk_inode, all);

		disk_names_clone(disk, &inode->copy->names, &inode->names);
		disk_names_clone(disk, &inode->copy->dur_names, &inode->dur_names);
	}
	LIST_FOREACH (it, &from->pending) {
		disk_pending_clone(disk, list_entry(it, struct disk_change, link));
	}
	disk->root = from->root->copy;
	disk_inode_ref(disk->root);
	LIST_FOREACH_SAFE (it, &from->inodes) {
		struct disk_inode *inode = list_entry(it, struct disk_inode, all);

		disk_inode_settle(disk, inode->copy); /* nothing is open in the copy */
		disk_inode_unref(disk, inode->copy);
		inode->copy = NULL;
	}
	return disk;
}

/* ---- what sim.h offers ---- */

struct sim_disk *sim_disk_clone(const struct sim_node *node)
{
	return disk_clone(node->disk);
}

void sim_disk_free(struct sim_disk *disk)
{
	disk_free(disk);
}

void sim_node_disk_set(struct sim_node *node, struct sim_disk *disk)
{
	ASSERT(!node->up);
	ASSERT(disk != NULL && disk != node->disk);
	disk_free(node->disk);
	node->disk = disk;
	disk_attach(disk, &node->sim->opts, &node->sim->stats);
}

void sim_disk_capacity_set(struct sim_node *node, uint64_t bytes)
{
	node->disk->capacity_pages = bytes / DISK_PAGE;
}

void sim_disk_slow_set(struct sim_node *node, unsigned factor)
{
	ASSERT(factor > 0);
	node->disk_factor = factor;
}

int sim_disk_flip(struct sim_node *node, const char *path, uint64_t off)
{
	struct disk_inode *inode;
	int rc = disk_lookup(node->disk, path, &inode);

	if (rc != 0) {
		return rc;
	}
	rc = disk_flip(inode, off, (unsigned)prng_below(&node->disk->rng, 8));
	if (rc == 0) {
		sim_fault(node, SIM_FAULT_ROT, path, off);
	}
	return rc;
}

int64_t sim_disk_peek(struct sim_node *node, const char *path, void *buf, size_t cap)
{
	struct disk_inode *inode;
	int rc = disk_lookup(node->disk, path, &inode);

	if (rc != 0) {
		return rc;
	}
	(void)disk_read(inode, buf, cap, 0);
	return (int64_t)inode->size;
}

int sim_disk_poke(struct sim_node *node, const char *path, const void *buf, size_t len)
{
	struct disk_inode *inode;
	struct disk_sync sync;
	int rc = disk_lookup(node->disk, path, &inode);

	if (rc == -NE_NOENT) {
		rc = disk_create(node->disk, path, false, 0, &inode);
		if (rc == 0) {
			disk_names_sync_all(node->disk);
		}
	}
	rc = rc != 0 ? rc : disk_truncate(node->disk, inode, 0, 0);
	rc = rc != 0 ? rc : disk_write(node->disk, inode, buf, len, 0, 0);
	if (rc != 0) {
		return rc;
	}
	sync = disk_sync_begin(inode);
	disk_sync_end(inode, &sync);
	return 0;
}

void sim_disk_fail(struct sim_node *node, enum sim_disk_op op, uint64_t nth, enum ne_code code)
{
	ASSERT(op < SIM_DISK_OPS);
	node->disk_fail[op].left = nth;
	node->disk_fail[op].code = code;
}
