/*
 * The name space of a simulated disk: directories now, directories on the medium, and the operations between.
 *
 * Every operation changes the directories at once and is put on the disk's pending list. fsync of a
 * directory takes from the list the operations on that directory and, before each, older ones on the same
 * names (so a rename never becomes durable without what it renames). At power loss the pending operations
 * survive as a prefix (as with a journal) or as a random subset in which each still makes sense.
 */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/limits.h"
#include "env/sim/sim_int.h"

/* ---- inodes ---- */

struct disk_inode *disk_inode_new(struct sim_disk *disk, bool is_dir, uint64_t ino)
{
	struct disk_inode *inode = sim_zalloc(sizeof(*inode));

	inode->ino = ino;
	inode->is_dir = is_dir;
	inode->gen = 1;
	hmap_init(&inode->names);
	hmap_init(&inode->dur_names);
	list_push_back(&disk->inodes, &inode->all);
	return inode;
}

void disk_inode_ref(struct disk_inode *inode)
{
	inode->refs++;
}

void disk_inode_unref(struct sim_disk *disk, struct disk_inode *inode)
{
	ASSERT(inode->refs > 0);
	inode->refs--;
	if (inode->refs > 0) {
		return;
	}
	list_del(&inode->all);
	disk_names_free(disk, &inode->names);
	disk_names_free(disk, &inode->dur_names);
	disk_data_free(disk, inode);
	free(inode);
}

void disk_inode_settle(struct sim_disk *disk, struct disk_inode *inode)
{
	bool counted = inode->links > 0 || inode->opens > 0;
	uint64_t pages;

	if (counted == inode->counted) {
		return;
	}
	pages = disk_inode_blocks(inode) / DISK_PAGE;
	ASSERT(counted || disk->used_pages >= pages);
	disk->used_pages = counted ? disk->used_pages + pages : disk->used_pages - pages;
	inode->counted = counted;
}

/* ---- tables of names ---- */

static uint64_t names_hash(const char *name)
{
	return hash_bytes(name, strlen(name));
}

struct disk_name *disk_names_find(const struct hmap *names, const char *name)
{
	for (struct hmap_node *it = hmap_find(names, names_hash(name)); it != NULL;
		it = hmap_find_next(it)) {
		struct disk_name *entry = container_of(it, struct disk_name, node);

		if (strcmp(entry->text, name) == 0) {
			return entry;
		}
	}
	return NULL;
}

/* The table's buckets are the disk's, not of the process that runs now. */
static void names_insert(struct hmap *names, struct disk_name *entry)
{
	struct mem_scope *before = mem_scope_enter(NULL);

	hmap_insert(names, &entry->node, names_hash(entry->text));
	(void)mem_scope_enter(before);
}

/* inode NULL: the name goes. */
void disk_names_set(
	struct sim_disk *disk, struct hmap *names, const char *name, struct disk_inode *inode)
{
	struct disk_name *entry = disk_names_find(names, name);
	size_t len = strlen(name);

	if (inode != NULL) {
		disk_inode_ref(inode);
	}
	if (entry != NULL && inode != NULL) {
		struct disk_inode *old = entry->inode;

		entry->inode = inode;
		disk_inode_unref(disk, old);
	} else if (entry != NULL) {
		hmap_remove(names, &entry->node);
		disk_inode_unref(disk, entry->inode);
		free(entry);
	} else if (inode != NULL) {
		entry = sim_zalloc(sizeof(*entry) + len + 1);
		memcpy(entry->text, name, len + 1);
		entry->inode = inode;
		names_insert(names, entry);
	}
}

void disk_names_free(struct sim_disk *disk, struct hmap *names)
{
	size_t cursor = 0;
	struct hmap_node *node;

	while ((node = hmap_pop(names, &cursor)) != NULL) {
		struct disk_name *entry = container_of(node, struct disk_name, node);

		disk_inode_unref(disk, entry->inode);
		free(entry);
	}
	hmap_fini(names);
}

/* ---- paths ---- */

struct disk_inode *disk_dir_find(const struct disk_inode *dir, const char *name)
{
	struct disk_name *entry = disk_names_find(&dir->names, name);

	return entry != NULL ? entry->inode : NULL;
}

/* The next component into buf; returns what is left of the path. NULL if it is too long. */
static const char *path_component(const char *path, char *buf)
{
	size_t len;

	while (*path == '/') {
		path++;
	}
	len = strcspn(path, "/");
	if (len > LIM_NAME_MAX) {
		return NULL;
	}
	memcpy(buf, path, len);
	buf[len] = '\0';
	path += len;
	while (*path == '/') {
		path++;
	}
	return path;
}

/* Walks all components (parent: all but the last, which is left in last). */
static int path_walk(struct sim_disk *disk, const char *path, bool parent, char *last,
	struct disk_inode **ret_inode)
{
	struct disk_inode *at = disk->root;

	if (path[0] != '/') {
		return -NE_INVAL;
	}
	last[0] = '\0';
	while (*path != '\0') {
		path = path_component(path, last);
		if (path == NULL) {
			return -NE_NAMETOOLONG;
		}
		if (!at->is_dir) {
			return -NE_NOTDIR;
		}
		if (last[0] == '\0' || (parent && *path == '\0')) {
			break;
		}
		at = disk_dir_find(at, last);
		if (at == NULL) {
			return -NE_NOENT;
		}
	}
	*ret_inode = at;
	return 0;
}

int disk_lookup(struct sim_disk *disk, const char *path, struct disk_inode **ret_inode)
{
	char last[LIM_NAME_MAX + 1];

	return path_walk(disk, path, false, last, ret_inode);
}

int disk_lookup_parent(struct sim_disk *disk, const char *path, struct disk_inode **ret_dir,
	char ret_name[LIM_NAME_MAX + 1])
{
	int rc = path_walk(disk, path, true, ret_name, ret_dir);

	if (rc == 0 &&
		(ret_name[0] == '\0' || strcmp(ret_name, ".") == 0 ||
			strcmp(ret_name, "..") == 0)) {
		return -NE_INVAL;
	}
	return rc;
}

/* ---- pending operations ---- */

static void change_free(struct sim_disk *disk, struct disk_change *change)
{
	list_del(&change->link);
	disk->pending_count--;
	disk_inode_unref(disk, change->inode);
	disk_inode_unref(disk, change->dir);
	if (change->dir2 != NULL) {
		disk_inode_unref(disk, change->dir2);
	}
	free(change->name);
	free(change->name2);
	free(change);
}

/* Does to the medium what the operation did, if it makes sense there. */
static bool change_apply(struct sim_disk *disk, struct disk_change *change)
{
	struct disk_name *entry = disk_names_find(&change->dir->dur_names, change->name);
	bool there = entry != NULL && entry->inode == change->inode;

	if (change->kind == DISK_LINK) {
		disk_names_set(disk, &change->dir->dur_names, change->name, change->inode);
		return true;
	}
	if (!there) {
		return false;
	}
	if (change->kind == DISK_RENAME) {
		disk_names_set(disk, &change->dir2->dur_names, change->name2, change->inode);
	}
	disk_names_set(disk, &change->dir->dur_names, change->name, NULL);
	return true;
}

static bool change_names(
	const struct disk_change *change, const struct disk_inode *dir, const char *name)
{
	return (change->dir == dir && strcmp(change->name, name) == 0) ||
		(change->dir2 == dir && change->dir2 != NULL && strcmp(change->name2, name) == 0);
}

/* Marks for commit (by moving it to `out`, in order) a change and older ones on the same names. */
static void changes_take(
	struct sim_disk *disk, const struct disk_inode *dir, uint64_t last, struct list *out)
{
	struct list rest;

	/* From the newest back, so that a taken change pulls in the older ones it depends on. */
	list_init(&rest);
	while (!list_empty(&disk->pending)) {
		struct disk_change *change =
			list_entry(disk->pending.prev, struct disk_change, link);
		bool take = change->number <= last && (change->dir == dir || change->dir2 == dir);

		for (struct list *it = out->next; !take && it != out; it = it->next) {
			struct disk_change *newer = list_entry(it, struct disk_change, link);

			take = change_names(change, newer->dir, newer->name) ||
				(newer->dir2 != NULL &&
					change_names(change, newer->dir2, newer->name2));
		}
		list_del(&change->link);
		list_push_front(take ? out : &rest, &change->link);
	}
	list_splice_back(&disk->pending, &rest);
}

static void changes_commit(struct sim_disk *disk, struct list *changes)
{
	while (!list_empty(changes)) {
		struct disk_change *change = list_entry(changes->next, struct disk_change, link);

		(void)change_apply(disk, change);
		change_free(disk, change);
	}
}

void disk_dir_sync(struct sim_disk *disk, struct disk_inode *dir, uint64_t last)
{
	struct list taken;

	ASSERT(dir->is_dir);
	list_init(&taken);
	changes_take(disk, dir, last, &taken);
	changes_commit(disk, &taken);
}

void disk_names_sync_all(struct sim_disk *disk)
{
	changes_commit(disk, &disk->pending);
	ASSERT(disk->pending_count == 0);
}

static struct disk_change *change_add(struct sim_disk *disk, enum disk_change_kind kind,
	struct disk_inode *dir, const char *name, struct disk_inode *inode)
{
	struct disk_change *change = sim_zalloc(sizeof(*change));

	change->number = ++disk->change_last;
	change->kind = kind;
	change->dir = dir;
	change->inode = inode;
	change->name = sim_strdup(name);
	disk_inode_ref(dir);
	disk_inode_ref(inode);
	list_push_back(&disk->pending, &change->link);
	disk->pending_count++;
	if (disk->pending_count > DISK_PENDING_MAX) {
		struct disk_change *oldest =
			list_entry(disk->pending.next, struct disk_change, link);

		(void)change_apply(disk, oldest);
		change_free(disk, oldest);
	}
	return change;
}

void disk_names_crash(struct sim_disk *disk)
{
	bool prefix = prng_chance(&disk->rng, 1, 2);
	uint64_t keep = prng_range(&disk->rng, 0, disk->pending_count);

	for (uint64_t i = 0; !list_empty(&disk->pending); i++) {
		struct disk_change *change =
			list_entry(disk->pending.next, struct disk_change, link);
		bool kept = prefix ? i < keep : prng_chance(&disk->rng, 1, 2);

		kept = kept && change_apply(disk, change);
		disk->stats->faults[kept ? SIM_FAULT_NAME_KEPT : SIM_FAULT_NAME_LOST]++;
		change_free(disk, change);
	}
	/* What runs after the crash sees what the medium has. All inodes are held while this goes on. */
	LIST_FOREACH (it, &disk->inodes) {
		struct disk_inode *inode = list_entry(it, struct disk_inode, all);

		disk_inode_ref(inode);
		inode->links = inode == disk->root ? 1 : 0;
	}
	LIST_FOREACH (it, &disk->inodes) {
		struct disk_inode *dir = list_entry(it, struct disk_inode, all);

		disk_names_free(disk, &dir->names);
		hmap_init(&dir->names);
		HMAP_FOREACH (node, &dir->dur_names) {
			struct disk_name *entry = container_of(node, struct disk_name, node);

			disk_names_set(disk, &dir->names, entry->text, entry->inode);
			entry->inode->links++;
		}
	}
	/* Dropping one may drop others below it, but never the next: that one is still held. */
	LIST_FOREACH_SAFE (it, &disk->inodes) {
		disk_inode_unref(disk, list_entry(it, struct disk_inode, all));
	}
}

/* ---- operations ---- */

int disk_create(struct sim_disk *disk, const char *path, bool is_dir, int64_t now_ns,
	struct disk_inode **ret_inode)
{
	char name[LIM_NAME_MAX + 1];
	struct disk_inode *dir;
	struct disk_inode *inode;
	int rc = disk_lookup_parent(disk, path, &dir, name);

	if (rc != 0) {
		return rc;
	}
	if (disk_dir_find(dir, name) != NULL) {
		return -NE_EXIST;
	}
	inode = disk_inode_new(disk, is_dir, disk->ino_next++);
	inode->mtime_ns = now_ns;
	inode->dur_mtime_ns = now_ns;
	disk_names_set(disk, &dir->names, name, inode);
	inode->links = 1;
	disk_inode_settle(disk, inode);
	change_add(disk, DISK_LINK, dir, name, inode);
	dir->mtime_ns = now_ns;
	*ret_inode = inode;
	return 0;
}

int disk_remove(struct sim_disk *disk, const char *path, bool is_dir)
{
	char name[LIM_NAME_MAX + 1];
	struct disk_inode *dir;
	struct disk_inode *inode;
	int rc = disk_lookup_parent(disk, path, &dir, name);

	if (rc != 0) {
		return rc;
	}
	inode = disk_dir_find(dir, name);
	if (inode == NULL) {
		return -NE_NOENT;
	}
	if (inode->is_dir != is_dir) {
		return is_dir ? -NE_NOTDIR : -NE_ISDIR;
	}
	if (inode->names.count > 0) {
		return -NE_NOTEMPTY;
	}
	change_add(disk, DISK_UNLINK, dir, name, inode);
	inode->links--;
	disk_inode_settle(disk, inode);
	disk_names_set(disk, &dir->names, name, NULL);
	return 0;
}

/* True if `dir` is `top` or lies below it. */
static bool names_below(const struct disk_inode *top, const struct disk_inode *dir)
{
	if (top == dir) {
		return true;
	}
	HMAP_FOREACH (node, &top->names) {
		const struct disk_inode *inode = container_of(node, struct disk_name, node)->inode;

		if (inode->is_dir && names_below(inode, dir)) {
			return true;
		}
	}
	return false;
}

/* May the inode take the place of what is at the goal? */
static int rename_check(const struct disk_inode *inode, const struct disk_inode *goal_dir,
	const struct disk_inode *goal)
{
	if (inode->is_dir && names_below(inode, goal_dir)) {
		return -NE_INVAL;
	}
	if (goal == NULL) {
		return 0;
	}
	if (goal->is_dir != inode->is_dir) {
		return goal->is_dir ? -NE_ISDIR : -NE_NOTDIR;
	}
	return goal->names.count > 0 ? -NE_NOTEMPTY : 0;
}

int disk_rename(struct sim_disk *disk, const char *from, const char *to)
{
	char name[LIM_NAME_MAX + 1];
	char name2[LIM_NAME_MAX + 1];
	struct disk_inode *dir;
	struct disk_inode *dir2;
	struct disk_inode *inode;
	struct disk_inode *goal;
	struct disk_change *change;
	int rc = disk_lookup_parent(disk, from, &dir, name);

	rc = rc != 0 ? rc : disk_lookup_parent(disk, to, &dir2, name2);
	if (rc != 0) {
		return rc;
	}
	inode = disk_dir_find(dir, name);
	goal = disk_dir_find(dir2, name2);
	if (inode == NULL) {
		return -NE_NOENT;
	}
	if (inode == goal) {
		return 0;
	}
	rc = rename_check(inode, dir2, goal);
	if (rc != 0) {
		return rc;
	}
	if (goal != NULL) {
		goal->links--;
		disk_inode_settle(disk, goal);
	}
	change = change_add(disk, DISK_RENAME, dir, name, inode);
	change->dir2 = dir2;
	change->name2 = sim_strdup(name2);
	disk_inode_ref(dir2);
	disk_names_set(disk, &dir2->names, name2, inode);
	disk_names_set(disk, &dir->names, name, NULL);
	return 0;
}
