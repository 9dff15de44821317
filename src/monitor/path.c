/*
 * Where monitors' sockets are when nobody says otherwise.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/hash.h"
#include "monitor/monitor.h"

#define RUN_DIR "/run/nacre"

bool monitor_path_of_server(const char *unix_addr, char ret_path[MONITOR_PATH_MAX])
{
	static const char suffix[] = ".sock";
	const char *path = unix_addr + 5;
	size_t len;

	if (strncmp(unix_addr, "unix:/", 6) != 0) {
		return false;
	}
	len = strlen(path);
	if (len > sizeof(suffix) && strcmp(path + len - (sizeof(suffix) - 1), suffix) == 0) {
		len -= sizeof(suffix) - 1;
	}
	return (size_t)snprintf(ret_path, MONITOR_PATH_MAX, "%.*s.monitor", (int)len, path) <
		MONITOR_PATH_MAX;
}

void monitor_path_of_target(const char *fsname, const char *target, char ret_path[MONITOR_PATH_MAX])
{
	snprintf(ret_path, MONITOR_PATH_MAX, RUN_DIR "/%s-%s.monitor", fsname, target);
}

void monitor_run_dir(uint32_t uid, char ret_path[MONITOR_PATH_MAX])
{
	const char *xdg = secure_getenv("XDG_RUNTIME_DIR");

	if (uid == 0) {
		snprintf(ret_path, MONITOR_PATH_MAX, RUN_DIR);
	} else if (uid == geteuid() && xdg != NULL && xdg[0] == '/' && strlen(xdg) < 1024) {
		snprintf(ret_path, MONITOR_PATH_MAX, "%s/nacre", xdg);
	} else {
		snprintf(ret_path, MONITOR_PATH_MAX, "/tmp/nacre-%" PRIu32, uid);
	}
}

void monitor_path_of_mount(const char *mount_point, uint32_t uid, char ret_path[MONITOR_PATH_MAX])
{
	uint64_t hash = hash_bytes(mount_point, strlen(mount_point));
	size_t len;

	monitor_run_dir(uid, ret_path);
	len = strlen(ret_path);
	snprintf(ret_path + len, MONITOR_PATH_MAX - len, "/mount-%016" PRIx64 ".monitor", hash);
}

int monitor_dir_make(const char *path)
{
	char dir[MONITOR_PATH_MAX];
	struct stat st;
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (slash == NULL || slash == dir) {
		return 0;
	}
	*slash = '\0';
	if (mkdir(dir, geteuid() == 0 ? 0755 : 0700) != 0 && errno != EEXIST) {
		return ne_from_errno(errno);
	}
	if (lstat(dir, &st) != 0) {
		return ne_from_errno(errno);
	}
	/* In /tmp somebody else may have been first. */
	return S_ISDIR(st.st_mode) && (st.st_uid == geteuid() || st.st_uid == 0) &&
			(st.st_mode & 022) == 0
		? 0
		: -NE_ACCES;
}
