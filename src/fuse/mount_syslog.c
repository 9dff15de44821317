/*
 * Lines of the log to syslog(3). See mount_syslog.h.
 */
#include "fuse/mount_syslog.h"

#include <syslog.h>

void mount_syslog_open(const char *name)
{
	openlog(name, LOG_PID | LOG_NDELAY, LOG_DAEMON);
}

void mount_syslog_line(int level, const char *module, const char *line)
{
	static const int priority[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
	int known = level >= 0 && level < 4 ? level : 0;

	syslog(priority[known], "%s %s", module, line);
}
