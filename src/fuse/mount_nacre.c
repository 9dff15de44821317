/*
 * mount.nacre: the helper mount(8) calls for `mount -t nacre` and for fstab.
 *
 * It checks what was asked, starts nacre-fuse as a daemon and waits until that has connected and mounted; then it says
 * nothing and exits with 0, or prints one line why not and exits with 32 (1: wrong usage). nacre-fuse is the one beside
 * this program, else the installed one.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fuse/mount_opts.h"
#include "fuse/mount_sys.h"

#ifndef NACRE_VERSION
#define NACRE_VERSION "unknown"
#endif
#ifndef NACRE_BINDIR
#define NACRE_BINDIR "/usr/local/bin"
#endif

#define EXIT_USAGE 1
#define EXIT_MOUNT 32
#define DAEMON "nacre-fuse"
#define ARGS_MAX 64

static const char help[] =
	"usage: mount -t nacre [-o OPTION,...] HOST[:PORT][,HOST[:PORT]...]:/FSNAME[/SUBDIR] "
	"DIRECTORY\n"
	"       mount.nacre HOST...:/FSNAME[/SUBDIR] DIRECTORY [-sfnvrw] [-o OPTION,...]\n"
	"\n"
	"HOST is a name, an IPv4 address or an IPv6 address in brackets; the port is 7988 if not "
	"given.\n"
	"\n"
	"options\n"
	"  key=PATH          the client's key file (needed)\n"
	"  ro, rw            read-only or (default) read-write\n"
	"  subdir=PATH       mount this directory of the file system, as /SUBDIR in the source "
	"does\n"
	"  patience=SECONDS  give up on servers that do not answer; default 0: wait for ever\n"
	"  mount_patience=SECONDS  the same for the mount itself; default 15\n"
	"  no_uring          do not use FUSE over io_uring\n"
	"  allow_other, noallow_other   other users may use the mount (default as root)\n"
	"  dev, suid, exec, nodev, nosuid, noexec   as for every file system; other users than "
	"root get\n"
	"                    nodev and nosuid in any case\n"
	"  noatime           do not record when files were read\n"
	"  foreground        do not become a daemon\n"
	"  log=PATH|syslog   where the daemon logs; default syslog, in the foreground stderr\n"
	"  log_level=error|warn|info|debug\n"
	"  log_format=text|json   how; json writes one object per line\n"
	"  monitor=PATH|none  where metrics are answered; default below /run/nacre\n"
	"  monitor_listen=ADDRESS:PORT, monitor_token=PATH   metrics for Prometheus, with a "
	"bearer\n"
	"                    token; the address is loopback's unless monitor_open is given\n"
	"  _netdev, nofail, noauto, user, x-... and the other words of fstab are accepted\n"
	"\n"
	"  -s  ignore unknown options   -f  check, but do not mount   -v  say what is done   -n  "
	"nothing\n"
	"  --help, --version\n"
	"\n"
	"Exit status: 0 mounted, 1 wrong usage, 32 it did not work; one line says why.\n";

static int fail(int code, const char *why)
{
	(void)fprintf(stderr, "mount.nacre: %s\n", why);
	return code;
}

/* Where nacre-fuse is: beside this program (links followed), else where it is installed. */
static void daemon_path(char *path, size_t cap)
{
	ssize_t n = readlink("/proc/self/exe", path, cap - 1);
	char *slash;

	path[n > 0 ? n : 0] = '\0';
	slash = strrchr(path, '/');
	if (slash != NULL && (size_t)(slash - path) + sizeof("/" DAEMON) <= cap) {
		(void)strcpy(slash + 1, DAEMON);
		if (access(path, X_OK) == 0) {
			return;
		}
	}
	(void)snprintf(path, cap, "%s/%s", NACRE_BINDIR, DAEMON);
}

static _noreturn_ void daemon_exec(const char *path, char **argv, int ready_fd)
{
	int null = open("/dev/null", O_RDWR);

	/* Its own session; nobody's terminal, and nobody's pipe is held open. */
	if (null < 0 || setsid() < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 ||
		dup2(null, 2) < 0) {
		_exit(EXIT_MOUNT);
	}
	(void)execv(path, argv);
	(void)dprintf(ready_fd, "error cannot start %s: %s\n", path, strerror(errno));
	_exit(EXIT_MOUNT);
}

/* Waits for "ok" or "error WHY". */
static int daemon_wait(int fd, pid_t pid)
{
	char line[MOUNT_WHY_MAX + 64];
	size_t len = 0;
	int status;

	while (len < sizeof(line) - 1) {
		ssize_t n = read(fd, line + len, sizeof(line) - 1 - len);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n <= 0) {
			break;
		}
		len += (size_t)n;
	}
	line[len] = '\0';
	line[strcspn(line, "\n")] = '\0';
	if (strcmp(line, "ok") == 0) {
		return 0;
	}
	if (strncmp(line, "error ", 6) == 0) {
		return fail(EXIT_MOUNT, line + 6);
	}
	if (waitpid(pid, &status, 0) == pid && WIFSIGNALED(status)) {
		(void)snprintf(
			line, sizeof(line), DAEMON " was killed by signal %d", WTERMSIG(status));
		return fail(EXIT_MOUNT, line);
	}
	return fail(EXIT_MOUNT, DAEMON " ended before it was ready");
}

static int daemon_start(const struct mount_opts *o, int argc, char **argv)
{
	static char path[LIM_PATH_MAX];
	char ready[32];
	char *args[ARGS_MAX + 2];
	int fds[2];
	pid_t pid;
	int rc;

	if (argc > ARGS_MAX) {
		return fail(EXIT_USAGE, "too many words");
	}
	daemon_path(path, sizeof(path));
	memcpy(args, argv, (size_t)argc * sizeof(*argv));
	args[0] = path;
	args[argc] = NULL;
	if (o->foreground) {
		(void)execv(path, args);
		(void)fprintf(stderr, "mount.nacre: cannot start %s: %s\n", path, strerror(errno));
		return EXIT_MOUNT;
	}
	if (pipe(fds) != 0) {
		return fail(EXIT_MOUNT, strerror(errno));
	}
	(void)fcntl(fds[0], F_SETFD, FD_CLOEXEC);
	(void)snprintf(ready, sizeof(ready), "--ready-fd=%d", fds[1]);
	args[argc] = ready;
	args[argc + 1] = NULL;
	pid = fork();
	if (pid < 0) {
		return fail(EXIT_MOUNT, strerror(errno));
	}
	if (pid == 0) {
		daemon_exec(path, args, fds[1]);
	}
	(void)close(fds[1]);
	if (o->verbose) {
		(void)printf(
			"mount.nacre: %s on %s: %s[%d]\n", o->source, o->target, path, (int)pid);
	}
	rc = daemon_wait(fds[0], pid);
	(void)close(fds[0]);
	return rc;
}

int main(int argc, char **argv)
{
	static struct mount_opts o;
	static char key[LIM_PATH_MAX];
	char why[MOUNT_WHY_MAX];

	mount_opts_init(&o);
	if (mount_opts_parse(&o, argc, argv, why) < 0) {
		return fail(EXIT_USAGE, why);
	}
	if (o.help) {
		(void)fputs(help, stdout);
		return 0;
	}
	if (o.version) {
		(void)printf("mount.nacre %s\n", NACRE_VERSION);
		return 0;
	}
	/* nacre-fuse looks again; here it costs nothing and says so sooner. */
	if (mount_key_read(&o, key, sizeof(key), why) < 0 || mount_check(&o, why) < 0) {
		return fail(EXIT_MOUNT, why);
	}
	if (o.fake) {
		return 0;
	}
	return daemon_start(&o, argc, argv);
}
