/*
 * What the commands of `lfs` share: the mounts of this host, questions to a mount, and the facts in
 * their answers.
 *
 * lfs talks to mounted file systems only, through extended attributes: `lustre.lov` and the JSON
 * texts `nacre.*` of src/client/README.md. Asking, deciding and printing are apart: what prints
 * takes facts and a FILE, so tests compare bytes without a mount.
 *
 * Exit codes: 0, a positive errno as Lustre's lfs gives, or 2 for wrong usage. A failure is one
 * line on stderr, "error: COMMAND: what: why".
 */
#ifndef NACRE_CLI_LFS_H
#define NACRE_CLI_LFS_H

#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/base.h"
#include "base/fid.h"
#include "base/limits.h"
#include "layout/layout.h"

#define LFS_USAGE 2
/* A number that may not be said, as in `lfs df -o[=INDEX]`. */
#define LFS_ANY (-1)

/* A command: gets argv with its own name at [0]; returns the exit code. */
struct lfs_command {
	const char *name;
	const char *synopsis; /* behind the name, for usage */
	const char *help; /* options, one per line; "" for none */
	int (*run)(int argc, char **argv);
};

int lfs_df(int argc, char **argv);
int lfs_setstripe(int argc, char **argv);
int lfs_getstripe(int argc, char **argv);
int lfs_osts(int argc, char **argv);
int lfs_mdts(int argc, char **argv);
int lfs_pool_list(int argc, char **argv);
int lfs_path2fid(int argc, char **argv);
int lfs_fid2path(int argc, char **argv);
int lfs_find(int argc, char **argv);
int lfs_getname(int argc, char **argv);
int lfs_mkdir(int argc, char **argv);
int lfs_check(int argc, char **argv);

/* "error: CMD: ...: strerror(err)" on stderr; returns err (> 0). */
int lfs_fail(const char *cmd, int err, const char *fmt, ...) _printf_(3, 4);
/* The same without the text of err, where fmt has said the cause. */
int lfs_refuse(const char *cmd, int err, const char *fmt, ...) _printf_(3, 4);
/* Names what is wrong with the call and where help is; returns LFS_USAGE. */
int lfs_usage(const char *cmd, const char *fmt, ...) _printf_(2, 3);
/* Prints as indented JSON and frees. Returns 0 or ENOMEM. */
int lfs_json_print(json_t *j);

/* ---- numbers and names ---- */

/* Bytes: a number with k M G T P E (powers of 1024), b (512) or c (1), in either case; *ret_unit
 * (may be NULL) is the unit's bytes, 1 if none was written. */
bool lfs_size_parse(const char *text, uint64_t *ret_bytes, uint64_t *ret_unit);
/* A decimal or 0x number within [min, max] and nothing else. */
bool lfs_int_parse(const char *text, int64_t min, int64_t max, int64_t *ret);
/* An OST as 3, 0x3, OST0003 or fsname-OST0003[_UUID]. */
bool lfs_ost_parse(const char *text, uint32_t *ret_index);
/* A list of OSTs and ranges, "0,2-4,OST0007", appended to osts. False if wrong or more than cap. */
bool lfs_osts_parse(const char *text, uint32_t *osts, uint32_t cap, uint32_t *count);

/* ---- mounts ---- */

struct lfs_mount {
	uint64_t id; /* of mountinfo */
	char source[PATH_MAX]; /* HOST:PORT:/fsname[/subdirectory] */
	char point[PATH_MAX];
	char fsname[LIM_FSNAME_MAX + 1];
};

/* One line of /proc/self/mountinfo, changed while it is read. False if it is no Nacre mount. */
bool lfs_mount_parse(char *line, struct lfs_mount *ret);
/* All mounts of this host (of one file system, or all if fsname is NULL), in mount order; a point
 * that is covered by a later mount is left out. free() the list. 0 or an errno. */
_check_ int lfs_mounts(const char *fsname, struct lfs_mount **ret_list, size_t *ret_count);
/* The mount a path lies on. 0 or an errno; ENOTTY: not on Nacre. */
_check_ int lfs_mount_of(const char *path, bool follow, struct lfs_mount *ret);
/* The same for a command: says on stderr what is wrong. `path` may not exist yet: then its
 * directory counts. */
_check_ int lfs_mount_need(const char *cmd, const char *path, struct lfs_mount *ret);
/* The mounts a command is about: of a path, of a file system's name, or all if arg is NULL. Says
 * what is wrong. */
_check_ int lfs_mounts_need(
	const char *cmd, const char *arg, struct lfs_mount **ret_list, size_t *ret_count);

/* ---- questions ---- */

/* One extended attribute as JSON. 0 or an errno (EPROTO: no JSON object). The caller
 * drops the answer with json_decref. */
_check_ int lfs_ask(const char *path, bool follow, const char *name, json_t **ret);
/* A question whose answer comes in parts: the first one, with all parts' lists of targets. */
_check_ int lfs_ask_targets(const char *path, const char *name, json_t **ret);
/* A text of an answer, "" if it is not there. */
const char *lfs_text(const json_t *j, const char *key);

/* ---- facts: targets ---- */

enum lfs_kind {
	LFS_MGT,
	LFS_MDT,
	LFS_OST,
};

struct lfs_target {
	char name[LIM_TARGET_NAME_MAX + 1]; /* OST0000 */
	enum lfs_kind kind;
	uint32_t index;
	bool active; /* nacre.map, or answered nacre.statfs and nacre.check */
	bool degraded;
	bool read_only;
	bool no_create;
	bool draining;
	uint64_t bytes_total;
	uint64_t bytes_free;
	uint64_t bytes_avail;
	uint64_t files_total;
	uint64_t files_free;
	uint64_t files_used;
	uint64_t backing_fsid; /* 0: a disk of its own */
	uint64_t latency_us;
	char address[LIM_ADDR_LEN_MAX + 1];
	char error[128];
};

struct lfs_targets {
	char fsname[LIM_FSNAME_MAX + 1];
	struct lfs_target *list;
	size_t count;
};

/* From the answer of nacre.map, nacre.statfs or nacre.check. 0, EPROTO or ENOMEM. */
_check_ int lfs_targets_decode(const json_t *answer, struct lfs_targets *ret);
void lfs_targets_fini(struct lfs_targets *t);
/* The OSTs of a pool out of nacre.map. 0; ENOENT: no such pool. */
_check_ int lfs_pool_find(const json_t *map, const char *pool, json_t **ret_osts);

/* ---- facts: layouts ---- */

struct lfs_layout {
	bool dir;
	bool inherited; /* a directory without a default of its own */
	bool overstriped;
	uint32_t gen;
	uint64_t stripe_size;
	int stripe_count; /* -1: all */
	int stripe_offset; /* -1: any */
	char pool[LIM_POOL_NAME_MAX + 1];
	struct fid data_fid; /* names a file's objects */
	struct fid fid; /* of the inode */
	uint32_t osts_count;
	uint32_t osts[LIM_STRIPE_COUNT_MAX];
};

/* From the answer of nacre.layout; 0 or EPROTO. fid is left zero. */
_check_ int lfs_layout_decode(const json_t *answer, struct lfs_layout *ret);
/* From lov_user_md, as `lustre.lov` holds it; 0 or EPROTO. */
_check_ int lfs_layout_from_lov(const struct lov_md *md, bool dir, struct lfs_layout *ret);
/* Asks nacre.layout and nacre.fid. 0 or an errno. */
_check_ int lfs_layout_ask(const char *path, bool follow, struct lfs_layout *ret);

/* ---- df ---- */

struct lfs_df_options {
	bool inodes;
	bool human; /* units of 1024 */
	bool si; /* units of 1000 */
	bool verbose;
	bool mdt;
	bool ost;
	bool json;
	int64_t mdt_index; /* or LFS_ANY */
	int64_t ost_index;
	const char *pool; /* NAME or FSNAME.NAME */
};

/* Parses argv; *ret_path is the operand or NULL. 0 or an exit code. */
_check_ int lfs_df_parse(int argc, char **argv, struct lfs_df_options *o, const char **ret_path);
/* The table of one file system, mounted on `point`. */
void lfs_df_print(
	FILE *out, const struct lfs_targets *t, const char *point, const struct lfs_df_options *o);
json_t *lfs_df_json(const struct lfs_targets *t, const char *point);
/* Used space in percent, rounded up. */
unsigned lfs_df_percent(uint64_t used, uint64_t avail);

/* ---- setstripe ---- */

struct lfs_setstripe_options {
	bool delete_default;
	bool overstripe;
	bool count_given;
	bool size_given;
	bool index_given;
	bool pool_given;
	struct lov_md md; /* what is wanted */
};

/* Parses argv; operands are argv[*ret_first..]. 0 or an exit code, having said why. */
_check_ int lfs_setstripe_parse(
	int argc, char **argv, struct lfs_setstripe_options *o, int *ret_first);

/* ---- getstripe ---- */

/* What is wanted of each layout. */
#define LFS_SHOW_COUNT 0x001u
#define LFS_SHOW_SIZE 0x002u
#define LFS_SHOW_PATTERN 0x004u
#define LFS_SHOW_GEN 0x008u
#define LFS_SHOW_OFFSET 0x010u
#define LFS_SHOW_POOL 0x020u
#define LFS_SHOW_OBJECTS 0x040u
#define LFS_SHOW_FID 0x080u
#define LFS_SHOW_MDT 0x100u
#define LFS_SHOW_DETAIL 0x200u /* magic, sequence, object id, FID */
#define LFS_SHOW_DEFAULT \
	(LFS_SHOW_COUNT | LFS_SHOW_SIZE | LFS_SHOW_PATTERN | LFS_SHOW_GEN | LFS_SHOW_OFFSET | \
		LFS_SHOW_POOL | LFS_SHOW_OBJECTS)

struct lfs_getstripe_options {
	unsigned show; /* LFS_SHOW_* */
	bool single; /* values only: one field was asked for */
	bool quiet; /* objects only */
	bool raw;
	bool yaml;
	bool json;
	bool recursive;
	bool dir_only;
	bool no_follow;
	int64_t ost; /* only files with an object there, or LFS_ANY */
};

_check_ int lfs_getstripe_parse(
	int argc, char **argv, struct lfs_getstripe_options *o, int *ret_first);
/* Prints a file or directory. with_path: a line with the path comes first, where the format has
 * one. */
void lfs_layout_print(FILE *out, const char *path, const struct lfs_layout *l,
	const struct lfs_getstripe_options *o, bool with_path);
json_t *lfs_layout_json(const char *path, const struct lfs_layout *l);

/* ---- lists ---- */

/* "OBDS:" or "MDTS:" and a line per target. */
void lfs_tgts_print(FILE *out, const struct lfs_targets *t, enum lfs_kind kind);
/* Pools of a file system, or one pool's OSTs. 0 or ENOENT. */
_check_ int lfs_pools_print(FILE *out, const json_t *map, const char *pool);
/* What a mount's connection to a target is called: fs-OST0000-osc-INSTANCE. */
const char *lfs_device_name(const struct lfs_targets *t, const struct lfs_target *target,
	const char *instance, char *buf, size_t cap);
/* 16 hexadecimal digits out of the mount's uuid. buf of 17 bytes. */
const char *lfs_instance(const char *uuid, char *buf);

#endif
