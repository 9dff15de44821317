/*
 * What the workload driver asks of a file system: one table of calls, answered by the kernel or by libnacre.
 *
 * Calls return 0 or a count, or a negative errno. Handles are made and used by one job; the table itself is
 * shared by all jobs, which are processes on a mount and threads on the library.
 */
#ifndef BENCH_WORKLOAD_H
#define BENCH_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

union fs_file {
	int fd;
	void *handle;
};

struct fs_ops {
	bool threads; /* jobs share the process: a library is not inherited over fork */
	int (*open)(const char *path, int flags, union fs_file *ret_file);
	int (*close)(union fs_file file);
	ssize_t (*pread)(union fs_file file, void *buf, size_t len, off_t off);
	ssize_t (*pwrite)(union fs_file file, const void *buf, size_t len, off_t off);
	int (*fsync)(union fs_file file);
	int (*stat_size)(const char *path, off_t *ret_size);
	int (*mkdir)(const char *path);
	int (*unlink)(const char *path);
	int (*rmdir)(const char *path);
};

extern const struct fs_ops fs_posix;
extern const struct fs_ops fs_nacre;

/* Connects the library: source as in mount(8), "HOST:PORT:/FS". Prints why and exits when it cannot. */
void fs_nacre_start(const char *source, const char *key);
void fs_nacre_stop(void);

#endif
