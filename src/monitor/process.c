/*
 * What the operating system knows of this process, for /metrics.
 */
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/log.h"
#include "monitor/monitor_int.h"
#include "nacre/version.h"

static uint64_t ns_of(struct timeval tv)
{
	return (uint64_t)tv.tv_sec * NS_PER_S + (uint64_t)tv.tv_usec * NS_PER_US;
}

static uint64_t resident_bytes(void)
{
	FILE *f = fopen("/proc/self/statm", "re");
	unsigned long size = 0;
	unsigned long resident = 0;

	if (f == NULL) {
		return 0;
	}
	if (fscanf(f, "%lu %lu", &size, &resident) != 2) {
		resident = 0;
	}
	fclose(f);
	return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t descriptors_count(void)
{
	DIR *dir = opendir("/proc/self/fd");
	uint64_t n = 0;
	struct dirent *e;

	if (dir == NULL) {
		return 0;
	}
	while ((e = readdir(dir)) != NULL) {
		n += e->d_name[0] != '.';
	}
	closedir(dir);
	return n - 1; /* the directory itself */
}

static void log_metrics(struct metric_batch *batch)
{
	struct log_stats log;

	log_stats_get(&log);
	for (unsigned i = 0; i <= LOG_DEBUG; i++) {
		metric_add(batch, METRIC_ID_log_messages, log.lines[i],
			log_level_name((enum log_level)i), NULL, NULL);
	}
	metric_add(batch, METRIC_ID_log_suppressed, log.suppressed, NULL, NULL, NULL);
}

void process_metrics(struct monitor *m, struct metric_batch *batch)
{
	struct rusage use;
	struct rlimit files;

	metric_add(batch, METRIC_ID_build_info, 1, NACRE_VERSION, m->o.daemon, m->o.fsname);
	metric_add(batch, METRIC_ID_start_time, (uint64_t)m->started_ns, NULL, NULL, NULL);
	if (getrusage(RUSAGE_SELF, &use) == 0) {
		metric_add(batch, METRIC_ID_cpu, ns_of(use.ru_utime), "user", NULL, NULL);
		metric_add(batch, METRIC_ID_cpu, ns_of(use.ru_stime), "system", NULL, NULL);
	}
	metric_add(batch, METRIC_ID_rss, resident_bytes(), NULL, NULL, NULL);
	metric_add(batch, METRIC_ID_fds, descriptors_count(), NULL, NULL, NULL);
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		metric_add(batch, METRIC_ID_fds_max, files.rlim_cur, NULL, NULL, NULL);
	}
	log_metrics(batch);
	metric_add(batch, METRIC_ID_scrapes, m->answers, NULL, NULL, NULL);
	metric_add(batch, METRIC_ID_monitor_refused, m->refused_auth, "token", NULL, NULL);
	metric_add(batch, METRIC_ID_monitor_refused, m->refused_peer, "user", NULL, NULL);
	metric_add(batch, METRIC_ID_monitor_refused, m->refused_slow, "slow", NULL, NULL);
	metric_add(batch, METRIC_ID_monitor_refused, m->refused_crowd, "crowd", NULL, NULL);
	metric_add(batch, METRIC_ID_monitor_refused, m->refused_request, "request", NULL, NULL);
}
