/*
 * The nacre mounts of this host, out of /proc/self/mountinfo (proc(5)).
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"

#define MOUNTS_MAX 1024
/* A mount that does not answer for so long is waiting, not dead. */
#define DEAD_WAIT_MS 1000
/* nacre-fuse gives up on servers that do not answer after 15 s. */
#define DAEMON_END_MS 20000

/* \040 and friends become the characters they stand for. */
static void unescape(char *s)
{
	char *to = s;

	while (*s != '\0') {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] != '\0' && s[3] != '\0') {
			*to++ = (char)((s[1] - '0') * 64 + (s[2] - '0') * 8 + (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = '\0';
}

static bool line_parse(char *line, struct cli_mount *m)
{
	char *save = NULL;
	char *word = strtok_r(line, " \n", &save);
	char *type;
	char *source;
	char *options;
	const char *uid;

	for (unsigned i = 0; word != NULL; i++) {
		if (i == 4) {
			snprintf(m->point, sizeof(m->point), "%s", word);
		}
		if (strcmp(word, "-") == 0) {
			break;
		}
		word = strtok_r(NULL, " \n", &save);
	}
	type = strtok_r(NULL, " \n", &save);
	source = strtok_r(NULL, " \n", &save);
	options = strtok_r(NULL, " \n", &save);
	if (word == NULL || type == NULL || source == NULL || strcmp(type, "fuse.nacre") != 0) {
		return false;
	}
	uid = options == NULL ? NULL : strstr(options, "user_id=");
	m->uid = uid == NULL ? 0 : (uint32_t)strtoul(uid + 8, NULL, 10);
	snprintf(m->source, sizeof(m->source), "%s", source);
	unescape(m->source);
	unescape(m->point);
	return true;
}

/* Asked in a child, because a mount whose servers are down lets stat wait. */
static bool mount_is_dead(const char *point)
{
	struct stat st;
	int status = 0;
	pid_t pid = fork();

	if (pid < 0) {
		return false;
	}
	if (pid == 0) {
		_exit(stat(point, &st) != 0 && errno == ENOTCONN ? 1 : 0);
	}
	for (unsigned ms = 0; waitpid(pid, &status, WNOHANG) == 0; ms += 5) {
		if (ms >= DEAD_WAIT_MS) {
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return false;
		}
		usleep(5000);
	}
	return WIFEXITED(status) && WEXITSTATUS(status) == 1;
}

/* Is /proc/PID/cmdline a nacre-fuse with this mount point among its arguments? */
static bool process_serves(const char *pid, const char *point)
{
	static const char name[] = "nacre-fuse";
	char path[64];
	char *cmd;
	size_t len = 0;
	size_t n;
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%.20s/cmdline", pid);
	cmd = cli_file_read(path, 65536, &len);
	if (cmd == NULL) {
		return false;
	}
	n = strlen(cmd);
	if (n >= sizeof(name) - 1 && strcmp(cmd + n - (sizeof(name) - 1), name) == 0) {
		for (size_t at = n + 1; at < len; at += strlen(cmd + at) + 1) {
			found |= strcmp(cmd + at, point) == 0;
		}
	}
	free(cmd);
	return found;
}

/* Of our mount namespace, or one whose namespace we may not know? */
static bool process_here(const char *pid)
{
	char path[64];
	struct stat own;
	struct stat its;

	snprintf(path, sizeof(path), "/proc/%.20s/ns/mnt", pid);
	return stat("/proc/self/ns/mnt", &own) != 0 || stat(path, &its) != 0 ||
		(own.st_ino == its.st_ino && own.st_dev == its.st_dev);
}

/* The nacre-fuse that serves a mount point; a pidfd, or -1. */
static int daemon_open(const char *point)
{
	DIR *proc = opendir("/proc");
	struct dirent *e;
	int fd = -1;

	while (proc != NULL && fd < 0 && (e = readdir(proc)) != NULL) {
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' &&
			process_serves(e->d_name, point) && process_here(e->d_name)) {
			fd = pidfd_open(atoi(e->d_name), 0);
		}
	}
	if (proc != NULL) {
		closedir(proc);
	}
	return fd;
}

/* As a user who may not call umount(2). */
static int umount_helper(const char *point, bool detach)
{
	int status = 0;
	pid_t pid = fork();

	if (pid == 0) {
		execlp("fusermount3", "fusermount3", "-u", detach ? "-qz" : "-q", point,
			(char *)NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0 || !WIFEXITED(status)) {
		return EIO;
	}
	return WEXITSTATUS(status) == 0 ? 0 : EBUSY;
}

int cli_umount(const char *point, bool detach)
{
	struct pollfd p = {.fd = detach ? -1 : daemon_open(point), .events = POLLIN};
	int err = umount2(point, detach ? MNT_DETACH : UMOUNT_NOFOLLOW) == 0 ? 0 : errno;

	if (err == EPERM) {
		err = umount_helper(point, detach);
	}
	if (err == 0 && p.fd >= 0 && poll(&p, 1, DAEMON_END_MS) == 0) {
		err = ETIMEDOUT;
	}
	if (p.fd >= 0) {
		close(p.fd);
	}
	return err;
}

int cli_mounts_each(const char *source, int (*fn)(void *ctx, const struct cli_mount *m), void *ctx)
{
	struct cli_mount *list = calloc(MOUNTS_MAX, sizeof(*list));
	FILE *f = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t cap = 0;
	unsigned n = 0;
	int err = 0;

	while (list != NULL && f != NULL && n < MOUNTS_MAX && getline(&line, &cap, f) > 0) {
		if (line_parse(line, &list[n]) &&
			(source == NULL || strcmp(source, list[n].source) == 0)) {
			n++;
		}
	}
	free(line);
	if (f != NULL) {
		fclose(f);
	}
	while (n-- > 0 && err == 0) {
		list[n].dead = mount_is_dead(list[n].point);
		err = fn(ctx, &list[n]);
	}
	free(list);
	return err;
}
