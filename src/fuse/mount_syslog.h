/*
 * syslog(3) as a place for log lines. Its own file: <syslog.h> and base/log.h use the same names.
 */
#ifndef NACRE_FUSE_MOUNT_SYSLOG_H
#define NACRE_FUSE_MOUNT_SYSLOG_H

void mount_syslog_open(const char *name);
/* level: enum log_level. */
void mount_syslog_line(int level, const char *module, const char *line);

#endif
