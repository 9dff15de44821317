/*
 * The two file systems a workload can run on: a mount, by system calls, and libnacre, without one.
 *
 * Invariant: both do the same with the same arguments, so that what differs is the way to the servers. One
 * libnacre mount serves all threads of the process.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "nacre/nacre.h"
#include "workload.h"

static int result(int res)
{
	return res < 0 ? -errno : 0;
}

static int posix_open(const char *path, int flags, union fs_file *ret_file)
{
	int fd = open(path, flags | O_CLOEXEC, 0644);

	if (fd < 0) {
		return -errno;
	}
	ret_file->fd = fd;
	return 0;
}

static int posix_close(union fs_file file)
{
	return result(close(file.fd));
}

static ssize_t posix_pread(union fs_file file, void *buf, size_t len, off_t off)
{
	ssize_t got = pread(file.fd, buf, len, off);

	return got < 0 ? -errno : got;
}

/* Offset -1: where the file ends (O_APPEND). */
static ssize_t posix_pwrite(union fs_file file, const void *buf, size_t len, off_t off)
{
	ssize_t put = off < 0 ? write(file.fd, buf, len) : pwrite(file.fd, buf, len, off);

	return put < 0 ? -errno : put;
}

static int posix_fsync(union fs_file file)
{
	return result(fsync(file.fd));
}

static int posix_stat_size(const char *path, off_t *ret_size)
{
	struct stat st;
	int err = result(lstat(path, &st));

	if (err == 0) {
		*ret_size = st.st_size;
	}
	return err;
}

static int posix_mkdir(const char *path)
{
	return result(mkdir(path, 0755));
}

static int posix_unlink(const char *path)
{
	return result(unlink(path));
}

static int posix_rmdir(const char *path)
{
	return result(rmdir(path));
}

const struct fs_ops fs_posix = {
	.open = posix_open,
	.close = posix_close,
	.pread = posix_pread,
	.pwrite = posix_pwrite,
	.fsync = posix_fsync,
	.stat_size = posix_stat_size,
	.mkdir = posix_mkdir,
	.unlink = posix_unlink,
	.rmdir = posix_rmdir,
};

static struct nacre *mounted;

void fs_nacre_start(const char *source, const char *key)
{
	const char *fsname = strstr(source, ":/");
	struct nacre_options options = {.size = sizeof(options), .key_path = key, .patience_s = 60};
	char mgs[256] = "", why[256] = "the source is not HOST:PORT:/FS";

	if (fsname != NULL && (size_t)(fsname - source) < sizeof(mgs)) {
		memcpy(mgs, source, (size_t)(fsname - source));
		options.mgs = mgs;
		options.fsname = fsname + 2;
		if (nacre_mount(&options, why, sizeof(why), &mounted) == 0) {
			return;
		}
	}
	fprintf(stderr, "workload: %s: %s\n", source, why);
	exit(1);
}

void fs_nacre_stop(void)
{
	(void)nacre_umount(mounted);
	mounted = NULL;
}

static int lib_open(const char *path, int flags, union fs_file *ret_file)
{
	struct nacre_file *file;
	int err = nacre_open(mounted, path, flags, 0644, &file);

	if (err == 0) {
		ret_file->handle = file;
	}
	return err;
}

static int lib_close(union fs_file file)
{
	return nacre_close(file.handle);
}

static ssize_t lib_pread(union fs_file file, void *buf, size_t len, off_t off)
{
	return nacre_pread(file.handle, buf, len, off);
}

static ssize_t lib_pwrite(union fs_file file, const void *buf, size_t len, off_t off)
{
	return nacre_pwrite(file.handle, buf, len, off < 0 ? 0 : off);
}

static int lib_fsync(union fs_file file)
{
	return nacre_fsync(file.handle);
}

static int lib_stat_size(const char *path, off_t *ret_size)
{
	struct stat st;
	int err = nacre_lstat(mounted, path, &st);

	if (err == 0) {
		*ret_size = st.st_size;
	}
	return err;
}

static int lib_mkdir(const char *path)
{
	return nacre_mkdir(mounted, path, 0755);
}

static int lib_unlink(const char *path)
{
	return nacre_unlink(mounted, path);
}

static int lib_rmdir(const char *path)
{
	return nacre_rmdir(mounted, path);
}

const struct fs_ops fs_nacre = {
	.threads = true,
	.open = lib_open,
	.close = lib_close,
	.pread = lib_pread,
	.pwrite = lib_pwrite,
	.fsync = lib_fsync,
	.stat_size = lib_stat_size,
	.mkdir = lib_mkdir,
	.unlink = lib_unlink,
	.rmdir = lib_rmdir,
};
