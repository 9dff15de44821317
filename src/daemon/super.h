/*
 * The superblock of a target: the file `target.nacre` in its directory.
 *
 * It says whose storage this is. A target that is foreign, newer, older or damaged is refused with one clear
 * line and never written to. Its epoch grows by one with each start, durably, before anything is served.
 *
 * File: 8 bytes magic "NACRETG1", 4 bytes length (LE), the record d_target_super, 4 bytes CRC32C of all before.
 * Written to `target.nacre.new`, synced, renamed, directory synced.
 */
#ifndef NACRE_DAEMON_SUPER_H
#define NACRE_DAEMON_SUPER_H

#include "base/limits.h"
#include "base/uuid.h"
#include "env/env.h"
#include "wire/gen/disk.h"

struct super {
	char fsname[LIM_FSNAME_MAX + 1];
	struct uuid cluster;
	enum w_target_kind kind;
	uint16_t index;
	struct uuid uuid;
	uint32_t epoch;
	int64_t formatted_ns;
	uint64_t capacity_bytes;
};

#define SUPER_FILE "target.nacre"

/* "OST0003" for (OST, 3) and back. name: LIM_TARGET_NAME_MAX + 1 bytes. -NE_INVAL. */
void target_name_format(enum w_target_kind kind, uint16_t index, char *name);
_check_ int target_name_parse(const char *name, enum w_target_kind *ret_kind, uint16_t *ret_index);

/* Reads and verifies. -NE_NOTFORMATTED, -NE_CORRUPT, -NE_TOONEW, -NE_TOOOLD. */
_yields_ _check_ int super_read(struct env *env, const char *dir, struct super *ret_super);
/* Replaces it atomically and durably. */
_yields_ _check_ int super_write(struct env *env, const char *dir, const struct super *super);
/* Prepares an empty directory (made if needed) as a target. -NE_EXIST: it is one already; -NE_NOTEMPTY:
 * it holds something else. */
_yields_ _check_ int super_format(struct env *env, const char *dir, const struct super *super);
/* Opens `dir`/lock and locks it against other processes; close the file to unlock. -NE_LOCKED. */
_yields_ _check_ int super_lock(struct env *env, const char *dir, struct env_file **ret_file);

#endif
