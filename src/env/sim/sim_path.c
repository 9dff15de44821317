/*
 * env.h's operations on names in the simulated world.
 */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "env/sim/sim_file.h"

/* What follows is the same for all: point, error, time, effect. The effect is chosen by the point. */
static int path_effect(
	struct sim_node *node, enum sim_point point, const char *path, const char *to)
{
	struct disk_inode *inode;

	switch (point) {
	case SIM_POINT_MKDIR:
		return disk_create(node->disk, path, true, sim_node_realtime(node), &inode);
	case SIM_POINT_UNLINK:
		return disk_remove(node->disk, path, false);
	case SIM_POINT_RMDIR:
		return disk_remove(node->disk, path, true);
	case SIM_POINT_RENAME:
		return disk_rename(node->disk, path, to);
	default:
		base_assert_failed("unknown operation on a name", __FILE__, __LINE__, __func__);
	}
}

static int path_change(struct env *env, enum sim_point point, const char *path, const char *to)
{
	struct sim_node *node = sim_node_of(env);
	struct sim_disk_wait wait;
	int rc;

	sim_disk_enter(node, point, path, 0, 0);
	wait = sim_disk_before(node, point, path);
	rc = sim_disk_fault(node, SIM_DISK_NAMES, 0, path);
	rc = rc != 0 ? rc : path_effect(node, point, path, to);
	sim_disk_after(node, wait, point, path);
	return rc;
}

int sim_path_mkdir(struct env *env, const char *path)
{
	return path_change(env, SIM_POINT_MKDIR, path, NULL);
}

int sim_path_unlink(struct env *env, const char *path)
{
	return path_change(env, SIM_POINT_UNLINK, path, NULL);
}

int sim_path_rmdir(struct env *env, const char *path)
{
	return path_change(env, SIM_POINT_RMDIR, path, NULL);
}

int sim_path_rename(struct env *env, const char *from, const char *to)
{
	return path_change(env, SIM_POINT_RENAME, from, to);
}

/* Makes durable what had happened before it was called, not what happens while it waits. */
int sim_path_fsync_dir(struct env *env, const char *path)
{
	struct sim_node *node = sim_node_of(env);
	struct disk_inode *inode;
	uint64_t last;
	int rc;

	sim_disk_enter(node, SIM_POINT_FSYNC_DIR, path, 0, 0);
	last = node->disk->change_last;
	sim_disk_sync_wait(node, SIM_POINT_FSYNC_DIR, path);
	rc = sim_disk_fault(node, SIM_DISK_NAMES, 0, path);
	rc = rc != 0 ? rc : disk_lookup(node->disk, path, &inode);
	if (rc != 0) {
		return rc;
	}
	if (!inode->is_dir) {
		return -NE_NOTDIR;
	}
	disk_dir_sync(node->disk, inode, last);
	return 0;
}

int sim_path_stat(struct env *env, const char *path, struct env_stat *ret_stat)
{
	struct sim_node *node = sim_node_of(env);
	struct sim_disk_wait wait;
	struct disk_inode *inode;
	int rc;

	sim_disk_enter(node, SIM_POINT_STAT, path, 0, 0);
	wait = sim_disk_before(node, SIM_POINT_STAT, path);
	rc = disk_lookup(node->disk, path, &inode);
	if (rc == 0) {
		sim_stat_fill(node, inode, ret_stat);
	}
	sim_disk_after(node, wait, SIM_POINT_STAT, path);
	return rc;
}

int sim_path_statfs(struct env *env, const char *path, struct env_statfs *ret_statfs)
{
	struct sim_node *node = sim_node_of(env);
	const struct sim_disk *disk = node->disk;
	struct sim_disk_wait wait;
	struct disk_inode *inode;
	uint64_t free_pages;
	int rc;

	sim_disk_enter(node, SIM_POINT_STATFS, path, 0, 0);
	wait = sim_disk_before(node, SIM_POINT_STATFS, path);
	rc = disk_lookup(node->disk, path, &inode);
	free_pages = disk->capacity_pages - u64_min(disk->used_pages, disk->capacity_pages);
	if (rc == 0) {
		*ret_statfs = (struct env_statfs){
			.bytes_total = disk->capacity_pages * DISK_PAGE,
			.bytes_free = free_pages * DISK_PAGE,
			.bytes_avail = free_pages * DISK_PAGE,
			.files_total = disk->capacity_pages,
			.files_free = free_pages,
			.fsid = disk->dev,
		};
	}
	sim_disk_after(node, wait, SIM_POINT_STATFS, path);
	return rc;
}

/* The names of a directory one after the other, in a random order: no file system promises any. From the
 * node's heap, so that a crash within the callback loses nothing. */
static int readdir_snapshot(struct sim_node *node, const struct disk_inode *dir, char **ret_names,
	const char ***ret_order)
{
	size_t bytes = 1;
	size_t count = 0;
	char *names;
	const char **order;

	HMAP_FOREACH (it, &dir->names) {
		bytes += strlen(container_of(it, struct disk_name, node)->text) + 1;
	}
	names = mem_alloc(bytes);
	order = mem_zalloc_array(dir->names.count + 1, sizeof(*order));
	if (names == NULL || order == NULL) {
		mem_free(names);
		mem_free(order);
		return -NE_NOMEM;
	}
	bytes = 0;
	HMAP_FOREACH (it, &dir->names) {
		const char *text = container_of(it, struct disk_name, node)->text;
		size_t at = (size_t)prng_below(&node->fault_rng, count + 1);

		memcpy(names + bytes, text, strlen(text) + 1);
		order[count++] = order[at];
		order[at] = names + bytes;
		bytes += strlen(text) + 1;
	}
	*ret_names = names;
	*ret_order = order;
	return 0;
}

int sim_path_readdir(struct env *env, const char *path, env_dirent_fn *fn, void *ctx)
{
	struct sim_node *node = sim_node_of(env);
	struct sim_disk_wait wait;
	struct disk_inode *inode;
	char *names;
	const char **order;
	int rc;

	sim_disk_enter(node, SIM_POINT_READDIR, path, 0, 0);
	wait = sim_disk_before(node, SIM_POINT_READDIR, path);
	rc = disk_lookup(node->disk, path, &inode);
	if (rc == 0 && !inode->is_dir) {
		rc = -NE_NOTDIR;
	}
	rc = rc != 0 ? rc : readdir_snapshot(node, inode, &names, &order);
	sim_disk_after(node, wait, SIM_POINT_READDIR, path);
	if (rc != 0) {
		return rc;
	}
	for (size_t i = 0; rc == 0 && order[i] != NULL; i++) {
		rc = fn(ctx, order[i]);
	}
	mem_free(names);
	mem_free(order);
	return rc;
}
