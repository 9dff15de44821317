/*
 * Names and attributes by path.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "client/lib/lib_int.h"

/* ---- attributes ---- */

static int stat_fiber(struct lib_call *call)
{
	return lib_walk(call, call->path, call->follow, &call->attr);
}

static int stat_path(struct nacre *fs, struct lib_call *call, struct stat *ret_st)
{
	int rc;

	call->fn = stat_fiber;
	rc = lib_run(fs, call);
	if (rc == 0) {
		lib_stat_fill(&call->attr, ret_st);
	}
	return rc;
}

_export_ int nacre_stat(struct nacre *fs, const char *path, struct stat *ret_st)
{
	struct lib_call call = {.what = "stat", .path = path, .follow = true};

	return stat_path(fs, &call, ret_st);
}

_export_ int nacre_lstat(struct nacre *fs, const char *path, struct stat *ret_st)
{
	struct lib_call call = {.what = "lstat", .path = path};

	return stat_path(fs, &call, ret_st);
}

static int access_fiber(struct lib_call *call)
{
	int err = lib_walk(call, call->path, true, &call->attr);

	if (err != 0 || call->flags == F_OK) {
		return err;
	}
	return client_access(call->fs->client, &call->cred, call->attr.fid, (uint32_t)call->flags);
}

_export_ int nacre_access(struct nacre *fs, const char *path, int mode)
{
	struct lib_call call = {.what = "access", .fn = access_fiber, .path = path, .flags = mode};

	return (mode & ~(R_OK | W_OK | X_OK)) != 0 ? lib_fail(&call, -NE_INVAL)
						   : lib_run(fs, &call);
}

static int set_fiber(struct lib_call *call)
{
	int err = lib_walk(call, call->path, call->follow, &call->attr);
	struct fid fid = call->attr.fid;

	if (err == 0 && (call->set.valid & CLIENT_SET_SIZE) != 0 && !S_ISREG(call->attr.mode)) {
		err = S_ISDIR(call->attr.mode) ? -NE_ISDIR : -NE_INVAL;
	}
	return err != 0
		? err
		: client_setattr(call->fs->client, &call->cred, fid, NULL, &call->set, &call->attr);
}

_export_ int nacre_truncate(struct nacre *fs, const char *path, off_t size)
{
	struct lib_call call = {.what = "truncate", .fn = set_fiber, .path = path, .follow = true};

	call.set = (struct client_setattr){.valid = CLIENT_SET_SIZE, .size = (uint64_t)size};
	return size < 0 ? lib_fail(&call, -NE_INVAL) : lib_run(fs, &call);
}

_export_ int nacre_chmod(struct nacre *fs, const char *path, mode_t mode)
{
	struct lib_call call = {.what = "chmod", .fn = set_fiber, .path = path, .follow = true};

	call.set = (struct client_setattr){.valid = CLIENT_SET_MODE, .mode = mode & 07777};
	return lib_run(fs, &call);
}

static int chown_path(struct nacre *fs, struct lib_call *call, uid_t uid, gid_t gid)
{
	call->fn = set_fiber;
	call->set = (struct client_setattr){.uid = uid, .gid = gid};
	call->set.valid |= uid != (uid_t)-1 ? CLIENT_SET_UID : 0;
	call->set.valid |= gid != (gid_t)-1 ? CLIENT_SET_GID : 0;
	call->set.valid = call->set.valid != 0 ? call->set.valid : (unsigned)CLIENT_SET_TOUCH;
	return lib_run(fs, call);
}

_export_ int nacre_chown(struct nacre *fs, const char *path, uid_t uid, gid_t gid)
{
	struct lib_call call = {.what = "chown", .path = path, .follow = true};

	return chown_path(fs, &call, uid, gid);
}

_export_ int nacre_lchown(struct nacre *fs, const char *path, uid_t uid, gid_t gid)
{
	struct lib_call call = {.what = "lchown", .path = path};

	return chown_path(fs, &call, uid, gid);
}

static int64_t ns_of(const struct timespec *t)
{
	return t->tv_sec * (int64_t)NS_PER_S + t->tv_nsec;
}

static bool time_ok(const struct timespec *t)
{
	return t->tv_nsec == UTIME_NOW || t->tv_nsec == UTIME_OMIT ||
		(t->tv_nsec >= 0 && t->tv_nsec < (long)NS_PER_S);
}

_export_ int nacre_utimens(struct nacre *fs, const char *path, const struct timespec times[2])
{
	static const struct timespec now[2] = {{.tv_nsec = UTIME_NOW}, {.tv_nsec = UTIME_NOW}};
	const struct timespec *t = times != NULL ? times : now;
	struct lib_call call = {.what = "utimens", .fn = set_fiber, .path = path, .follow = true};

	if (!time_ok(&t[0]) || !time_ok(&t[1])) {
		return lib_fail(&call, -NE_INVAL);
	}
	if (t[0].tv_nsec != UTIME_OMIT) {
		call.set.valid |=
			t[0].tv_nsec == UTIME_NOW ? CLIENT_SET_ATIME_NOW : CLIENT_SET_ATIME;
		call.set.atime_ns = ns_of(&t[0]);
	}
	if (t[1].tv_nsec != UTIME_OMIT) {
		call.set.valid |=
			t[1].tv_nsec == UTIME_NOW ? CLIENT_SET_MTIME_NOW : CLIENT_SET_MTIME;
		call.set.mtime_ns = ns_of(&t[1]);
	}
	return lib_run(fs, &call);
}

/* ---- names ---- */

static int create_fiber(struct lib_call *call)
{
	char name[LIM_NAME_MAX + 1];
	struct fid parent;
	int err = lib_parent(call, call->path, &parent, name);

	return err != 0 ? err
			: client_create(call->fs->client, &call->cred, parent, name, &call->create,
				  &call->attr);
}

_export_ int nacre_mkdir(struct nacre *fs, const char *path, mode_t mode)
{
	struct lib_call call = {.what = "mkdir", .fn = create_fiber, .path = path};

	call.create.mode = S_IFDIR | (mode & 07777);
	return lib_run(fs, &call);
}

_export_ int nacre_symlink(struct nacre *fs, const char *target, const char *path)
{
	struct lib_call call = {.what = "symlink", .fn = create_fiber, .path = path};

	call.create.mode = S_IFLNK | 0777;
	call.create.target = target;
	return target[0] == '\0' ? lib_fail(&call, -NE_NOENT) : lib_run(fs, &call);
}

static int remove_fiber(struct lib_call *call)
{
	char name[LIM_NAME_MAX + 1];
	struct fid parent;
	int err = lib_parent(call, call->path, &parent, name);

	if (err != 0) {
		return err == -NE_EXIST ? -NE_BUSY : err;
	}
	return call->flags != 0 ? client_rmdir(call->fs->client, &call->cred, parent, name)
				: client_unlink(call->fs->client, &call->cred, parent, name);
}

_export_ int nacre_rmdir(struct nacre *fs, const char *path)
{
	struct lib_call call = {.what = "rmdir", .fn = remove_fiber, .path = path, .flags = 1};

	return lib_run(fs, &call);
}

_export_ int nacre_unlink(struct nacre *fs, const char *path)
{
	struct lib_call call = {.what = "unlink", .fn = remove_fiber, .path = path};

	return lib_run(fs, &call);
}

static int rename_fiber(struct lib_call *call)
{
	_cleanup_(free_ptr) char *names = mem_alloc(2 * (LIM_NAME_MAX + 1));
	struct fid from;
	struct fid to;
	int err = names == NULL ? -NE_NOMEM : lib_parent(call, call->path, &from, names);

	if (err == 0) {
		err = lib_parent(call, call->path2, &to, names + LIM_NAME_MAX + 1);
	}
	return err != 0
		? (err == -NE_EXIST ? -NE_BUSY : err)
		: client_rename(call->fs->client, &call->cred, (struct client_entry){from, names},
			  (struct client_entry){to, names + LIM_NAME_MAX + 1},
			  (unsigned)call->flags);
}

_export_ int nacre_rename(struct nacre *fs, const char *from, const char *to, unsigned flags)
{
	struct lib_call call = {.what = "rename",
		.fn = rename_fiber,
		.path = from,
		.path2 = to,
		.flags = (int)flags};

	return lib_run(fs, &call);
}

static int link_fiber(struct lib_call *call)
{
	char name[LIM_NAME_MAX + 1];
	struct fid parent;
	int err = lib_walk(call, call->path, false, &call->attr);
	struct fid fid = call->attr.fid;

	if (err == 0) {
		err = lib_parent(call, call->path2, &parent, name);
	}
	return err != 0
		? err
		: client_link(call->fs->client, &call->cred, fid, parent, name, &call->attr);
}

_export_ int nacre_link(struct nacre *fs, const char *from, const char *to)
{
	struct lib_call call = {.what = "link", .fn = link_fiber, .path = from, .path2 = to};

	return lib_run(fs, &call);
}

static int readlink_fiber(struct lib_call *call)
{
	int err = lib_walk(call, call->path, false, &call->attr);

	if (err == 0 && !S_ISLNK(call->attr.mode)) {
		err = -NE_INVAL;
	}
	return err != 0 ? err
			: client_readlink(call->fs->client, &call->cred, call->attr.fid, call->buf,
				  call->cap);
}

_export_ ssize_t nacre_readlink(struct nacre *fs, const char *path, char *buf, size_t cap)
{
	struct lib_call call = {
		.what = "readlink", .fn = readlink_fiber, .path = path, .buf = buf, .cap = cap};
	int rc = cap == 0 ? lib_fail(&call, -NE_INVAL) : lib_run(fs, &call);

	return rc == 0 ? (ssize_t)strlen(buf) : rc;
}

/* ---- extended attributes ---- */

static int getxattr_fiber(struct lib_call *call)
{
	int err = lib_walk(call, call->path, true, &call->attr);

	if (err != 0) {
		return err;
	}
	return call->name != NULL
		? client_getxattr(call->fs->client, &call->cred, call->attr.fid, call->name,
			  (struct client_out){call->buf, call->cap}, &call->len)
		: client_listxattr(call->fs->client, &call->cred, call->attr.fid, call->buf,
			  call->cap, &call->len);
}

_export_ ssize_t nacre_getxattr(
	struct nacre *fs, const char *path, const char *name, void *buf, size_t cap)
{
	struct lib_call call = {.what = "getxattr",
		.fn = getxattr_fiber,
		.path = path,
		.name = name,
		.buf = buf,
		.cap = cap};
	int rc = lib_run(fs, &call);

	return rc == 0 ? (ssize_t)call.len : rc;
}

_export_ ssize_t nacre_listxattr(struct nacre *fs, const char *path, char *buf, size_t cap)
{
	struct lib_call call = {
		.what = "listxattr", .fn = getxattr_fiber, .path = path, .buf = buf, .cap = cap};
	int rc = lib_run(fs, &call);

	return rc == 0 ? (ssize_t)call.len : rc;
}

static int setxattr_fiber(struct lib_call *call)
{
	int err = lib_walk(call, call->path, true, &call->attr);

	if (err != 0) {
		return err;
	}
	return call->value != NULL
		? client_setxattr(call->fs->client, &call->cred, call->attr.fid, call->name,
			  span_of(call->value, call->cap), call->flags)
		: client_removexattr(call->fs->client, &call->cred, call->attr.fid, call->name);
}

_export_ int nacre_setxattr(struct nacre *fs, const char *path, const char *name, const void *value,
	size_t len, int flags)
{
	struct lib_call call = {.what = "setxattr",
		.fn = setxattr_fiber,
		.path = path,
		.name = name,
		.value = value != NULL ? value : "",
		.cap = len,
		.flags = flags};

	return lib_run(fs, &call);
}

_export_ int nacre_removexattr(struct nacre *fs, const char *path, const char *name)
{
	struct lib_call call = {
		.what = "removexattr", .fn = setxattr_fiber, .path = path, .name = name};

	return lib_run(fs, &call);
}
