/*
 * Between sim_file.c and sim_path.c: open files, and how an operation on a disk takes time and fails.
 */
#ifndef NACRE_ENV_SIM_SIM_FILE_H
#define NACRE_ENV_SIM_SIM_FILE_H

#include "env/sim/sim_int.h"

struct sim_file {
	struct env_file file;
	struct list link; /* node->files */
	struct sim_node *node;
	struct disk_inode *inode;
	unsigned flags;
	bool locked;
	uint64_t errors_seen; /* of the inode: reported to this descriptor */
	uint64_t disk_errors_seen; /* of the disk, for syncfs */
	char path[];
};

/* When, relative to its effect, an operation waits. */
struct sim_disk_wait {
	uint64_t ns;
	bool after;
};

/* Logs the operation and passes its crash point. */
void sim_disk_enter(
	struct sim_node *node, enum sim_point point, const char *path, uint64_t a, uint64_t b);
/* 0, or the error that a fault or sim_disk_fail gives this operation. */
_check_ int sim_disk_fault(
	struct sim_node *node, enum sim_disk_op op, uint32_t ppm, const char *path);
/* Decides how long an operation takes; waits now if it is to wait before its effect. */
_yields_ struct sim_disk_wait sim_disk_before(
	struct sim_node *node, enum sim_point point, const char *path);
/* Waits now if it is to wait after it. */
_yields_ void sim_disk_after(
	struct sim_node *node, struct sim_disk_wait wait, enum sim_point point, const char *path);
/* Waits as long as a sync takes. */
_yields_ void sim_disk_sync_wait(struct sim_node *node, enum sim_point point, const char *path);
void sim_stat_fill(
	const struct sim_node *node, const struct disk_inode *inode, struct env_stat *ret_stat);

#endif
