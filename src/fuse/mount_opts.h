/*
 * What a mount is asked to be: "HOST[:PORT][,HOST2...]:/fsname[/subdir]", a directory, and mount(8)'s options.
 * Shared by mount.nacre and nacre-fuse, which take the same words.
 */
#ifndef NACRE_FUSE_MOUNT_OPTS_H
#define NACRE_FUSE_MOUNT_OPTS_H

#include "base/base.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/log.h"

/* Longest source and option texts taken, bytes. */
#define MOUNT_TEXT_MAX 4096
#define MOUNT_WHY_MAX 512
#define MOUNT_PORT_DEFAULT 7988

enum mount_choice {
	MOUNT_DEFAULT = 0,
	MOUNT_YES,
	MOUNT_NO
};

struct mount_opts {
	char source[MOUNT_TEXT_MAX]; /* as given */
	char addrs[LIM_ADDRS_MAX][LIM_ADDR_LEN_MAX + 1]; /* "tcp:host:port" */
	unsigned addr_count;
	char fsname[LIM_FSNAME_MAX + 1];
	char subdir[LIM_PATH_MAX]; /* without slashes at its ends; "" is the root */
	char target[LIM_PATH_MAX];
	char key_path[LIM_PATH_MAX];
	char log_path[LIM_PATH_MAX]; /* "": stderr in the foreground, else syslog; "syslog" */
	enum log_level log_level;
	bool log_json;
	char monitor_path[LIM_PATH_MAX]; /* "": the usual place; "none" */
	char monitor_listen[LIM_ADDR_LEN_MAX + 1]; /* "ADDRESS:PORT", "" none */
	char monitor_token[LIM_PATH_MAX];
	bool monitor_open;
	uint64_t patience_s; /* 0: for ever */
	uint64_t mount_patience_s;
	uint64_t init_mask; /* INIT features allowed (for tests); 0: all */
	bool read_only;
	bool no_uring;
	bool foreground;
	bool noatime;
	enum mount_choice dev, suid, exec, allow_other;
	/* mount(8)'s own words */
	bool fake, sloppy, verbose;
	bool help, version;
	int ready_fd; /* nacre-fuse: tells mount.nacre; -1 */
};

void mount_opts_init(struct mount_opts *o);
/* The command line of either program. -NE_INVAL with a line for the user in ret_why (MOUNT_WHY_MAX bytes). */
_check_ int mount_opts_parse(struct mount_opts *o, int argc, char **argv, char *ret_why);
_check_ int mount_source_parse(struct mount_opts *o, const char *source, char *ret_why);
_check_ int mount_list_parse(struct mount_opts *o, const char *list, char *ret_why);

#endif
