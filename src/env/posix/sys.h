/*
 * System calls as functions that return a result or -errno.
 *
 * errno is thread-local and the compiler may keep its address; a fiber may continue on another thread.
 * So code that yields never names errno: it calls these, which are never inlined and never yield.
 * EINTR is retried here where that is right.
 */
#ifndef NACRE_ENV_POSIX_SYS_H
#define NACRE_ENV_POSIX_SYS_H

#include <dirent.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <time.h>

#include "base/base.h"

uint64_t sys_clock(clockid_t id);
int sys_open(const char *path, int flags, mode_t mode);
void sys_close(int fd);
ssize_t sys_recv(int fd, void *buf, size_t len);
ssize_t sys_sendmsg(int fd, const struct iovec *iov, size_t count);
int sys_socket(int domain, int type);
int sys_bind(int fd, const struct sockaddr *sa, socklen_t len);
int sys_listen(int fd, int backlog);
int sys_accept(int fd, struct sockaddr_storage *sa, socklen_t *len);
int sys_connect(int fd, const struct sockaddr *sa, socklen_t len);
int sys_shutdown(int fd);
int sys_setsockopt(int fd, int level, int name, int value);
int sys_getsockopt(int fd, int level, int name, void *value, socklen_t len);
int sys_getsockname(int fd, struct sockaddr_storage *sa, socklen_t *len);
int sys_getpeername(int fd, struct sockaddr_storage *sa, socklen_t *len);
int sys_epoll_ctl(int epfd, int op, int fd, uint32_t events, void *ptr);
/* timeout_ns: 0 looks, UINT64_MAX waits for ever. -EINTR is returned as 0 events. */
int sys_epoll_wait(int epfd, struct epoll_event *events, int max, uint64_t timeout_ns);
void sys_eventfd_write(int fd);
/* Waits while *word == value, at most timeout_ns (UINT64_MAX: for ever). Spurious returns happen. */
void sys_futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t timeout_ns);
void sys_futex_wake(_Atomic uint32_t *word);
/* Until fd is readable, the time is over or a signal came. */
int sys_poll_in(int fd, uint64_t timeout_ns);
ssize_t sys_preadv2(int fd, void *buf, size_t len, uint64_t off, int flags);
/* Are all pages of the range in the page cache? -ENOSYS before Linux 6.5. */
int sys_is_cached(int fd, uint64_t off, uint64_t len);
ssize_t sys_pwritev(int fd, const struct iovec *iov, unsigned count, uint64_t off);
int sys_ftruncate(int fd, uint64_t size);
int sys_fallocate(int fd, int mode, uint64_t off, uint64_t len);
int64_t sys_lseek(int fd, uint64_t off, int whence);
int sys_fstat(int fd, struct stat *st);
int sys_futimens(int fd, int64_t mtime_ns);
int sys_flock(int fd);
int sys_syncfs(int fd);
int sys_mkdir(const char *path);
int sys_unlink(const char *path);
int sys_rmdir(const char *path);
int sys_rename(const char *from, const char *to);
int sys_stat(const char *path, struct stat *st);
int sys_statfs(const char *path, struct statfs *st);
int sys_opendir(const char *path, DIR **ret_dir);
/* 1 with *ret_name, 0 at the end, or -errno. */
int sys_readdir(DIR *dir, const char **ret_name);
void sys_random(void *buf, size_t len);
int sys_pin(int cpu);

#endif
