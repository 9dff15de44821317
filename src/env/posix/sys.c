/*
 * See sys.h. Every function makes one system call (or repeats it after EINTR) and reads errno at once.
 */
#include "env/posix/sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SYS_NOINLINE __attribute__((noinline))

static ssize_t sys_result(ssize_t rc)
{
	return rc < 0 ? -errno : rc;
}

static int sys_code(int rc)
{
	return rc < 0 ? -errno : rc;
}

static struct timespec sys_timespec(uint64_t ns)
{
	return (struct timespec){
		.tv_sec = (time_t)(ns / NS_PER_S), .tv_nsec = (long)(ns % NS_PER_S)};
}

SYS_NOINLINE uint64_t sys_clock(clockid_t id)
{
	struct timespec ts;
	int rc = clock_gettime(id, &ts);

	ASSERT(rc == 0);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

SYS_NOINLINE int sys_open(const char *path, int flags, mode_t mode)
{
	int fd;

	do {
		fd = sys_code(open(path, flags | O_CLOEXEC, mode));
	} while (fd == -EINTR);
	return fd;
}

SYS_NOINLINE void sys_close(int fd)
{
	int rc = sys_code(close(fd));

	ASSERT(rc != -EBADF);
}

SYS_NOINLINE ssize_t sys_recv(int fd, void *buf, size_t len)
{
	ssize_t n;

	do {
		n = sys_result(recv(fd, buf, len, MSG_DONTWAIT));
	} while (n == -EINTR);
	return n;
}

SYS_NOINLINE ssize_t sys_sendmsg(int fd, const struct iovec *iov, size_t count)
{
	struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = count};
	ssize_t n;

	do {
		n = sys_result(sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL));
	} while (n == -EINTR);
	return n;
}

SYS_NOINLINE int sys_socket(int domain, int type)
{
	return sys_code(socket(domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
}

SYS_NOINLINE int sys_bind(int fd, const struct sockaddr *sa, socklen_t len)
{
	return sys_code(bind(fd, sa, len));
}

SYS_NOINLINE int sys_listen(int fd, int backlog)
{
	return sys_code(listen(fd, backlog));
}

SYS_NOINLINE int sys_accept(int fd, struct sockaddr_storage *sa, socklen_t *len)
{
	int rc;

	do {
		rc = sys_code(
			accept4(fd, (struct sockaddr *)sa, len, SOCK_CLOEXEC | SOCK_NONBLOCK));
	} while (rc == -EINTR);
	return rc;
}

SYS_NOINLINE int sys_connect(int fd, const struct sockaddr *sa, socklen_t len)
{
	return sys_code(connect(fd, sa, len));
}

SYS_NOINLINE int sys_shutdown(int fd)
{
	return sys_code(shutdown(fd, SHUT_RDWR));
}

SYS_NOINLINE int sys_setsockopt(int fd, int level, int name, int value)
{
	return sys_code(setsockopt(fd, level, name, &value, sizeof(value)));
}

SYS_NOINLINE int sys_getsockopt(int fd, int level, int name, void *value, socklen_t len)
{
	return sys_code(getsockopt(fd, level, name, value, &len));
}

SYS_NOINLINE int sys_getsockname(int fd, struct sockaddr_storage *sa, socklen_t *len)
{
	return sys_code(getsockname(fd, (struct sockaddr *)sa, len));
}

SYS_NOINLINE int sys_getpeername(int fd, struct sockaddr_storage *sa, socklen_t *len)
{
	return sys_code(getpeername(fd, (struct sockaddr *)sa, len));
}

SYS_NOINLINE int sys_epoll_ctl(int epfd, int op, int fd, uint32_t events, void *ptr)
{
	struct epoll_event ev = {.events = events, .data.ptr = ptr};

	return sys_code(epoll_ctl(epfd, op, fd, &ev));
}

/* Before Linux 5.11, and under valgrind: milliseconds, rounded up. */
static int sys_epoll_wait_ms(int epfd, struct epoll_event *events, int max, uint64_t timeout_ns)
{
	uint64_t ms = timeout_ns / NS_PER_MS + (timeout_ns % NS_PER_MS != 0);

	return sys_code(epoll_wait(
		epfd, events, max, timeout_ns == UINT64_MAX ? -1 : (int)u64_min(ms, INT32_MAX)));
}

SYS_NOINLINE int sys_epoll_wait(int epfd, struct epoll_event *events, int max, uint64_t timeout_ns)
{
	struct timespec ts = sys_timespec(timeout_ns);
	int n;

	if (timeout_ns == 0) {
		n = sys_code(epoll_wait(epfd, events, max, 0));
	} else {
		n = sys_code(epoll_pwait2(
			epfd, events, max, timeout_ns == UINT64_MAX ? NULL : &ts, NULL));
	}
	if (unlikely(n == -ENOSYS)) {
		n = sys_epoll_wait_ms(epfd, events, max, timeout_ns);
	}
	if (n == -EINTR) {
		return 0;
	}
	ASSERT(n >= 0);
	return n;
}

SYS_NOINLINE void sys_eventfd_write(int fd)
{
	uint64_t one = 1;
	int saved = errno; /* signal handlers come here */
	ssize_t n = write(fd, &one, sizeof(one));

	(void)n; /* EAGAIN would mean 2^64 - 2 unread writes: readable all the same */
	errno = saved;
}

SYS_NOINLINE void sys_futex_wait(_Atomic uint32_t *word, uint32_t value, uint64_t timeout_ns)
{
	struct timespec ts = sys_timespec(timeout_ns);

	(void)syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value,
		timeout_ns == UINT64_MAX ? NULL : &ts, NULL, 0);
}

SYS_NOINLINE void sys_futex_wake(_Atomic uint32_t *word)
{
	int saved = errno; /* signal handlers come here */

	(void)syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
	errno = saved;
}

SYS_NOINLINE int sys_poll_in(int fd, uint64_t timeout_ns)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	struct timespec ts = sys_timespec(timeout_ns);

	return sys_code(ppoll(&pfd, 1, timeout_ns == UINT64_MAX ? NULL : &ts, NULL));
}

SYS_NOINLINE ssize_t sys_preadv2(int fd, void *buf, size_t len, uint64_t off, int flags)
{
	struct iovec iov = {.iov_base = buf, .iov_len = len};
	ssize_t n;

	do {
		n = sys_result(preadv2(fd, &iov, 1, (off_t)off, flags));
	} while (n == -EINTR);
	return n;
}

/* cachestat(2), which the headers do not know yet. */
#define SYS_CACHESTAT 451
#define CACHE_PAGE 4096

struct cache_range {
	uint64_t off;
	uint64_t len;
};

struct cache_pages {
	uint64_t cached;
	uint64_t dirty;
	uint64_t writeback;
	uint64_t evicted;
	uint64_t recently_evicted;
};

SYS_NOINLINE int sys_is_cached(int fd, uint64_t off, uint64_t len)
{
	struct cache_range range = {.off = off, .len = len};
	struct cache_pages pages = {.cached = 0};
	uint64_t first = off / CACHE_PAGE;
	uint64_t end = (off + len + CACHE_PAGE - 1) / CACHE_PAGE;
	int rc = sys_code((int)syscall(SYS_CACHESTAT, fd, &range, &pages, 0));

	return rc < 0 ? rc : pages.cached >= end - first;
}

SYS_NOINLINE ssize_t sys_pwritev(int fd, const struct iovec *iov, unsigned count, uint64_t off)
{
	ssize_t n;

	do {
		n = sys_result(pwritev(fd, iov, (int)count, (off_t)off));
	} while (n == -EINTR);
	return n;
}

SYS_NOINLINE int sys_ftruncate(int fd, uint64_t size)
{
	int rc;

	do {
		rc = sys_code(ftruncate(fd, (off_t)size));
	} while (rc == -EINTR);
	return rc;
}

SYS_NOINLINE int sys_fallocate(int fd, int mode, uint64_t off, uint64_t len)
{
	int rc;

	do {
		rc = sys_code(fallocate(fd, mode, (off_t)off, (off_t)len));
	} while (rc == -EINTR);
	return rc;
}

SYS_NOINLINE int64_t sys_lseek(int fd, uint64_t off, int whence)
{
	return sys_result(lseek(fd, (off_t)off, whence));
}

SYS_NOINLINE int sys_fstat(int fd, struct stat *st)
{
	return sys_code(fstat(fd, st));
}

SYS_NOINLINE int sys_futimens(int fd, int64_t mtime_ns)
{
	int64_t sec = mtime_ns / (int64_t)NS_PER_S;
	int64_t nsec = mtime_ns % (int64_t)NS_PER_S;
	struct timespec ts[2] = {{.tv_nsec = UTIME_OMIT}};

	if (nsec < 0) {
		nsec += (int64_t)NS_PER_S;
		sec--;
	}
	ts[1] = (struct timespec){.tv_sec = (time_t)sec, .tv_nsec = (long)nsec};
	return sys_code(futimens(fd, ts));
}

SYS_NOINLINE int sys_flock(int fd)
{
	return sys_code(flock(fd, LOCK_EX | LOCK_NB));
}

SYS_NOINLINE int sys_syncfs(int fd)
{
	return sys_code(syncfs(fd));
}

SYS_NOINLINE int sys_mkdir(const char *path)
{
	return sys_code(mkdir(path, 0755));
}

SYS_NOINLINE int sys_unlink(const char *path)
{
	return sys_code(unlink(path));
}

SYS_NOINLINE int sys_rmdir(const char *path)
{
	return sys_code(rmdir(path));
}

SYS_NOINLINE int sys_rename(const char *from, const char *to)
{
	return sys_code(rename(from, to));
}

SYS_NOINLINE int sys_stat(const char *path, struct stat *st)
{
	return sys_code(stat(path, st));
}

SYS_NOINLINE int sys_statfs(const char *path, struct statfs *st)
{
	int rc;

	do {
		rc = sys_code(statfs(path, st));
	} while (rc == -EINTR);
	return rc;
}

SYS_NOINLINE int sys_opendir(const char *path, DIR **ret_dir)
{
	DIR *dir = opendir(path);

	if (dir == NULL) {
		return -errno;
	}
	*ret_dir = dir;
	return 0;
}

SYS_NOINLINE int sys_readdir(DIR *dir, const char **ret_name)
{
	struct dirent *entry;

	errno = 0;
	entry = readdir(dir);
	if (entry == NULL) {
		return -errno;
	}
	*ret_name = entry->d_name;
	return 1;
}

SYS_NOINLINE void sys_random(void *buf, size_t len)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = sys_result(getrandom((char *)buf + done, len - done, 0));

		ASSERT(n > 0 || n == -EINTR);
		done += n > 0 ? (size_t)n : 0;
	}
}

SYS_NOINLINE int sys_pin(int cpu)
{
	cpu_set_t set;

	if (cpu < 0 || cpu >= CPU_SETSIZE) {
		return -EINVAL;
	}
	CPU_ZERO(&set);
	CPU_SET((unsigned)cpu, &set);
	return sys_code(sched_setaffinity(0, sizeof(set), &set));
}
