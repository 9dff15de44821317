/*
 * The reference: a POSIX name space with file contents in memory, written for being obviously right.
 *
 * Tests run the same operations here and on the file system and compare errnos, attributes and contents.
 * Nodes are numbered from MODEL_ROOT in the order they were made and never re-used. Times are what the caller
 * passes as `now`. Results are 0 or a negative errno of the C library; errors come in the order of Linux's
 * VFS. Open files are the caller's: see model_open. Aborts when out
 * of memory, as tools for tests may.
 */
#ifndef NACRE_TESTS_MODEL_H
#define NACRE_TESTS_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_ROOT 1u
#define MODEL_NAME_MAX 255
#define MODEL_GROUPS_MAX 16

struct model;

enum model_cap { /* bits of model_cred.caps, as in linux/capability.h */
	MODEL_CAP_CHOWN = 0,
	MODEL_CAP_DAC_OVERRIDE = 1,
	MODEL_CAP_DAC_READ_SEARCH = 2,
	MODEL_CAP_FOWNER = 3,
	MODEL_CAP_FSETID = 4,
	MODEL_CAP_SYS_ADMIN = 21,
	MODEL_CAP_MKNOD = 27,
};

struct model_cred {
	uint32_t uid;
	uint32_t gid;
	uint32_t groups[MODEL_GROUPS_MAX];
	unsigned group_count;
	uint64_t caps;
};

struct model_attr {
	uint32_t mode; /* type and permissions */
	uint32_t nlink;
	uint32_t uid;
	uint32_t gid;
	uint64_t rdev;
	uint64_t size;
	uint64_t entries; /* of a directory */
	int64_t atime;
	int64_t mtime;
	int64_t ctime;
	int64_t btime;
};

struct model *model_new(const struct model_attr *root);
struct model *model_clone(const struct model *m);
void model_free(struct model *m); /* accepts NULL */

/* Nodes made so far: ids are 1..count. */
uint32_t model_count(const struct model *m);
/* -ESTALE when it is gone. */
int model_getattr(const struct model *m, uint32_t id, struct model_attr *ret_attr);
/* For what only the file system decides (sizes of devices, access times). */
void model_attr_force(struct model *m, uint32_t id, const struct model_attr *attr);

int model_lookup(const struct model *m, const struct model_cred *cred, uint32_t dir,
	const char *name, uint32_t *ret_id);

struct model_create {
	uint32_t dir;
	const char *name;
	uint32_t mode;
	uint32_t umask;
	uint64_t rdev;
	const char *target; /* of a symbolic link */
};

int model_create(struct model *m, const struct model_cred *cred, int64_t now,
	const struct model_create *req, uint32_t *ret_id);
/* A node without names stays, with nlink 0, while it is open. */
int model_unlink(struct model *m, const struct model_cred *cred, int64_t now, uint32_t dir,
	const char *name, bool directory);
int model_link(struct model *m, const struct model_cred *cred, int64_t now, uint32_t id,
	uint32_t dir, const char *name);

struct model_rename {
	uint32_t sdir;
	const char *sname;
	uint32_t ddir;
	const char *dname;
	bool noreplace;
	bool exchange;
};

int model_rename(struct model *m, const struct model_cred *cred, int64_t now,
	const struct model_rename *req);

enum model_valid {
	MODEL_MODE = 1,
	MODEL_UID = 2,
	MODEL_GID = 4,
	MODEL_SIZE = 8,
	MODEL_ATIME = 16,
	MODEL_ATIME_NOW = 32,
	MODEL_MTIME = 64,
	MODEL_MTIME_NOW = 128,
};

struct model_setattr {
	uint32_t id;
	unsigned valid; /* enum model_valid */
	uint32_t mode;
	uint32_t uid;
	uint32_t gid;
	uint64_t size;
	int64_t atime;
	int64_t mtime;
	bool open_writable; /* through a descriptor that may write */
};

int model_setattr(struct model *m, const struct model_cred *cred, int64_t now,
	const struct model_setattr *req);
/* mask: R_OK, W_OK, X_OK. */
int model_access(const struct model *m, const struct model_cred *cred, uint32_t id, unsigned mask);
/* The target lives as long as the node. */
int model_readlink(const struct model *m, uint32_t id, const char **ret_target);
/* relatime: is a read now going to move the access time? */
bool model_atime_due(const struct model *m, uint32_t id, int64_t now);

/* The next entry behind *pos (start with 0), in the order of creation; false at the end. */
bool model_dir_next(const struct model *m, uint32_t dir, unsigned *pos, const char **ret_name,
	uint32_t *ret_id);

struct model_setxattr {
	uint32_t id;
	const char *name;
	const void *value;
	size_t len;
	int flags; /* as setxattr(2)'s: XATTR_CREATE 1, XATTR_REPLACE 2 */
};

int model_setxattr(struct model *m, const struct model_cred *cred, int64_t now,
	const struct model_setxattr *req);
int model_removexattr(
	struct model *m, const struct model_cred *cred, int64_t now, uint32_t id, const char *name);
int model_getxattr(const struct model *m, const struct model_cred *cred, uint32_t id,
	const char *name, const void **ret_value, size_t *ret_len);
unsigned model_xattr_count(const struct model *m, uint32_t id);

/* Contents. Bytes never written are zero. */
int model_write(
	struct model *m, int64_t now, uint32_t id, uint64_t off, const void *data, size_t len);
/* *ret_len < len only at the end of the file. */
int model_read(
	const struct model *m, uint32_t id, uint64_t off, void *buf, size_t len, size_t *ret_len);

/* An open descriptor keeps a node that has no name. */
void model_open(struct model *m, uint32_t id);
void model_close(struct model *m, uint32_t id);

#endif
