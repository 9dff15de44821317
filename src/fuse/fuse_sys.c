/*
 * System calls of this folder as functions that return a result or -errno.
 *
 * errno is thread-local and a fiber may go on in another thread, so code that yields never names it.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fuse/fuse_int.h"

ssize_t fuse_sys_readv(int fd, const struct iovec *iov, int count)
{
	ssize_t n = readv(fd, iov, count);

	return n < 0 ? -errno : n;
}

ssize_t fuse_sys_writev(int fd, const struct iovec *iov, int count)
{
	ssize_t n;

	do {
		n = writev(fd, iov, count);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : n;
}

int fuse_sys_nonblock(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) {
		return -errno;
	}
	return 0;
}

ssize_t fuse_sys_text(const char *path, char *buf, size_t cap)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n = 0;

	ASSERT(cap > 0);
	if (fd < 0) {
		return -errno;
	}
	while (len < cap - 1) {
		n = read(fd, buf + len, cap - 1 - len);
		if (n <= 0) {
			break;
		}
		len += (size_t)n;
	}
	if (n < 0) {
		n = -errno;
	}
	(void)close(fd);
	buf[len] = '\0';
	return n < 0 ? n : (ssize_t)len;
}

bool fuse_sys_links_guarded(void)
{
	char text[8];

	return fuse_sys_text("/proc/sys/fs/protected_hardlinks", text, sizeof(text)) > 0 &&
		text[0] == '1';
}
