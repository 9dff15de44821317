/*
 * mount(2), fusermount3, and what can be said about a mount that will not work before anybody is asked.
 *
 * Nothing here touches files of the mount itself once it stands: the process that would answer is this one.
 */
#include "fuse/mount_sys.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#define FUSE_DEVICE "/dev/fuse"
#define FUSERMOUNT "fusermount3"
/* Readahead of mapped files, KiB: one request. Without it the kernel reads 128 KiB at a time. */
#define READ_AHEAD_KIB 1024

static int because(char *ret_why, int sys_errno, const char *what, const char *path)
{
	(void)snprintf(ret_why, MOUNT_WHY_MAX, "%s %.300s: %s", what, path, strerror(sys_errno));
	return ne_from_errno(sys_errno);
}

static int say(char *ret_why, int error, const char *text, const char *path)
{
	(void)snprintf(ret_why, MOUNT_WHY_MAX, "%.300s: %s", path, text);
	return error;
}

/* ---- /proc/self/mountinfo ---- */

struct mount_found {
	unsigned major;
	unsigned minor;
	char source[MOUNT_TEXT_MAX];
};

/* Undoes \040 and the like, in place. */
static void octal_undo(char *text)
{
	char *to = text;

	for (const char *at = text; *at != '\0';) {
		if (at[0] == '\\' && at[1] >= '0' && at[1] <= '3' && at[2] != '\0' &&
			at[3] != '\0') {
			*to++ = (char)((at[1] - '0') * 64 + (at[2] - '0') * 8 + (at[3] - '0'));
			at += 4;
		} else {
			*to++ = *at++;
		}
	}
	*to = '\0';
}

/* True if the line is one of ours on `target`. */
static bool line_match(char *line, const char *target, struct mount_found *ret_found)
{
	char *save = NULL;
	char *fields[6] = {NULL};
	char *type;
	char *source;

	for (unsigned i = 0; i < ARRAY_SIZE(fields); i++) {
		fields[i] = strtok_r(i == 0 ? line : NULL, " ", &save);
		if (fields[i] == NULL) {
			return false;
		}
	}
	do {
		type = strtok_r(NULL, " ", &save);
	} while (type != NULL && strcmp(type, "-") != 0);
	type = type != NULL ? strtok_r(NULL, " ", &save) : NULL;
	source = type != NULL ? strtok_r(NULL, " ", &save) : NULL;
	if (source == NULL || strcmp(type, "fuse.nacre") != 0) {
		return false;
	}
	octal_undo(fields[4]);
	octal_undo(source);
	if (strcmp(fields[4], target) != 0 ||
		sscanf(fields[2], "%u:%u", &ret_found->major, &ret_found->minor) != 2) {
		return false;
	}
	(void)snprintf(ret_found->source, sizeof(ret_found->source), "%s", source);
	return true;
}

/* The last mount of ours on the directory. */
static bool mount_find(const char *target, struct mount_found *ret_found)
{
	FILE *file = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t cap = 0;
	bool found = false;

	if (file == NULL) {
		return false;
	}
	while (getline(&line, &cap, file) > 0) {
		line[strcspn(line, "\n")] = '\0';
		found |= line_match(line, target, ret_found);
	}
	free(line);
	(void)fclose(file);
	return found;
}

/* ---- checks ---- */

static int device_check(char *ret_why)
{
	int fd = open(FUSE_DEVICE, O_RDWR | O_CLOEXEC);
	int error = errno;

	if (fd >= 0) {
		(void)close(fd);
		return 0;
	}
	if (error == ENOENT) {
		return say(ret_why, -NE_NODEV,
			"FUSE is missing: no such device (load the kernel's module with 'modprobe "
			"fuse', or "
			"give the device to the container)",
			FUSE_DEVICE);
	}
	return because(ret_why, error, "FUSE cannot be used:", FUSE_DEVICE);
}

int mount_check(struct mount_opts *o, char *ret_why)
{
	static struct mount_found found;
	static char path[LIM_PATH_MAX];
	struct stat st;
	int rc = device_check(ret_why);

	if (rc < 0) {
		return rc;
	}
	_Static_assert(LIM_PATH_MAX >= 4096, "realpath writes PATH_MAX");
	if (mount_find(o->target, &found) && strcmp(found.source, o->source) == 0 &&
		(stat(o->target, &st) == 0 || errno != ENOTCONN)) {
		return say(
			ret_why, -NE_BUSY, "this file system is mounted there already", o->target);
	}
	if (realpath(o->target, path) == NULL || stat(path, &st) != 0) {
		if (errno == ENOTCONN) {
			return say(ret_why, -NE_BUSY,
				"the mount there has lost its daemon; detach it first: umount",
				o->target);
		}
		return because(ret_why, errno, "the mount point", o->target);
	}
	if (!S_ISDIR(st.st_mode)) {
		return say(ret_why, -NE_NOTDIR, "the mount point is not a directory", o->target);
	}
	if (mount_find(path, &found) && strcmp(found.source, o->source) == 0) {
		return say(ret_why, -NE_BUSY, "this file system is mounted there already", path);
	}
	(void)snprintf(o->target, sizeof(o->target), "%s", path);
	return 0;
}

int mount_key_read(const struct mount_opts *o, char *buf, size_t cap, char *ret_why)
{
	int fd = open(o->key_path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0) {
		return because(ret_why, errno, "the key file", o->key_path);
	}
	n = read(fd, buf, cap);
	if (n < 0) {
		int error = errno;

		(void)close(fd);
		return because(ret_why, error, "the key file", o->key_path);
	}
	(void)close(fd);
	if (n == 0 || (size_t)n >= cap) {
		return say(ret_why, -NE_INVAL,
			n == 0 ? "the key file is empty" : "the key file is too long to be one",
			o->key_path);
	}
	buf[n] = '\0';
	return 0;
}

/* ---- as root ---- */

static unsigned long mount_flags(const struct mount_opts *o)
{
	unsigned long flags = 0;

	flags |= o->read_only ? MS_RDONLY : 0;
	flags |= o->noatime ? MS_NOATIME : 0;
	flags |= o->dev == MOUNT_NO ? MS_NODEV : 0;
	flags |= o->suid == MOUNT_NO ? MS_NOSUID : 0;
	flags |= o->exec == MOUNT_NO ? MS_NOEXEC : 0;
	return flags;
}

static int mount_as_root(const struct mount_opts *o, int *ret_fd, char *ret_why)
{
	char data[128];
	int fd = open(FUSE_DEVICE, O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0) {
		return because(ret_why, errno, "FUSE cannot be used:", FUSE_DEVICE);
	}
	(void)snprintf(data, sizeof(data), "fd=%d,rootmode=40000,user_id=0,group_id=0%s", fd,
		o->allow_other == MOUNT_NO ? "" : ",allow_other");
	if (mount(o->source, o->target, "fuse.nacre", mount_flags(o), data) != 0) {
		int error = errno;

		(void)close(fd);
		if (error == ENODEV) {
			return say(ret_why, -NE_NODEV,
				"FUSE is missing: the kernel has no such file system", o->target);
		}
		return because(ret_why, error, "mounting on", o->target);
	}
	*ret_fd = fd;
	return 0;
}

/* ---- as anybody else: fusermount3 mounts and sends the channel through a socket ---- */

static size_t option_escape(char *to, size_t cap, const char *from)
{
	size_t len = 0;

	for (; *from != '\0' && len + 3 < cap; from++) {
		if (*from == ',' || *from == '\\') {
			to[len++] = '\\';
		}
		to[len++] = *from;
	}
	to[len] = '\0';
	return len;
}

static int fd_receive(int sock, int *ret_fd)
{
	char byte;
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec iov = {.iov_base = &byte, .iov_len = 1};
	struct msghdr msg = {.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control)};
	struct cmsghdr *head;
	ssize_t n;

	do {
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	head = n > 0 ? CMSG_FIRSTHDR(&msg) : NULL;
	if (head == NULL || head->cmsg_type != SCM_RIGHTS ||
		head->cmsg_len != CMSG_LEN(sizeof(int))) {
		return -NE_PERM;
	}
	memcpy(ret_fd, CMSG_DATA(head), sizeof(*ret_fd));
	return 0;
}

static _noreturn_ void fusermount_exec(char *const argv[], int sock, int err)
{
	char number[16];
	int null = open("/dev/null", O_RDWR);

	(void)snprintf(number, sizeof(number), "%d", sock);
	if (null >= 0 && dup2(null, 0) >= 0 && dup2(null, 1) >= 0 && dup2(err, 2) >= 0 &&
		(sock < 0 || setenv("_FUSE_COMMFD", number, 1) == 0)) {
		(void)execvp(argv[0], argv);
	}
	_exit(127);
}

/* Runs it; its first line on stderr goes to ret_why. fd: -1 where none is expected. */
static int fusermount_run(char *const argv[], int *ret_fd, char *ret_why)
{
	int sock[2] = {-1, -1};
	int err[2];
	char line[MOUNT_WHY_MAX / 2];
	ssize_t n;
	int status = -1;
	int rc = 0;
	pid_t pid;

	if (pipe2(err, O_CLOEXEC) != 0 ||
		(ret_fd != NULL && socketpair(AF_UNIX, SOCK_STREAM, 0, sock) != 0)) {
		return because(ret_why, errno, "starting", argv[0]);
	}
	pid = fork();
	if (pid == 0) {
		fusermount_exec(argv, sock[0], err[1]);
	}
	(void)close(err[1]);
	if (ret_fd != NULL) {
		(void)close(sock[0]);
		rc = pid > 0 ? fd_receive(sock[1], ret_fd) : -NE_AGAIN;
		(void)close(sock[1]);
	}
	n = read(err[0], line, sizeof(line) - 1);
	(void)close(err[0]);
	line[n > 0 ? n : 0] = '\0';
	line[strcspn(line, "\n")] = '\0';
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
	}
	if (rc == 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		return 0;
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127 && line[0] == '\0') {
		return say(ret_why, -NE_NOENT,
			"not found; users other than root need it (package fuse3)", argv[0]);
	}
	(void)snprintf(ret_why, MOUNT_WHY_MAX, "%s", line[0] != '\0' ? line : "fusermount3 failed");
	return rc < 0 ? rc : -NE_PERM;
}

static int mount_as_user(const struct mount_opts *o, int *ret_fd, char *ret_why)
{
	static char options[2 * MOUNT_TEXT_MAX + 128];
	char program[] = FUSERMOUNT;
	char dash_o[] = "-o";
	char dashes[] = "--";
	char *argv[] = {program, dash_o, options, dashes, (char *)(uintptr_t)o->target, NULL};
	size_t len;

	(void)snprintf(options, sizeof(options),
		"nosuid,nodev%s%s%s%s,subtype=nacre,fsname=", o->read_only ? ",ro" : "",
		o->exec == MOUNT_NO ? ",noexec" : "", o->noatime ? ",noatime" : "",
		o->allow_other == MOUNT_YES ? ",allow_other" : "");
	len = strlen(options);
	(void)option_escape(options + len, sizeof(options) - len, o->source);
	return fusermount_run(argv, ret_fd, ret_why);
}

int mount_do(const struct mount_opts *o, int *ret_fd, char *ret_why)
{
	return geteuid() == 0 ? mount_as_root(o, ret_fd, ret_why)
			      : mount_as_user(o, ret_fd, ret_why);
}

int mount_detach(const char *target)
{
	char program[] = FUSERMOUNT;
	char options[] = "-uzq";
	char dashes[] = "--";
	char *argv[] = {program, options, dashes, (char *)(uintptr_t)target, NULL};
	char why[MOUNT_WHY_MAX];

	if (geteuid() == 0) {
		return umount2(target, MNT_DETACH | UMOUNT_NOFOLLOW) == 0 ? 0
									  : ne_from_errno(errno);
	}
	return fusermount_run(argv, NULL, why);
}

void mount_readahead_raise(const char *target)
{
	static struct mount_found found;
	char path[96];
	int fd;

	if (geteuid() != 0 || !mount_find(target, &found)) {
		return;
	}
	(void)snprintf(
		path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", found.major, found.minor);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd >= 0) {
		(void)dprintf(fd, "%d", READ_AHEAD_KIB);
		(void)close(fd);
	}
}
