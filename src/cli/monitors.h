/*
 * The monitors (src/monitor) of a file system's daemons on this host: finding them, asking them, reading metrics.
 */
#ifndef NACRE_CLI_MONITORS_H
#define NACRE_CLI_MONITORS_H

#include <jansson.h>

#include "base/metric.h"
#include "cli/cli.h"
#include "monitor/monitor.h"

#define MONITORS_MAX 512
#define MONITOR_ASK_MS 5000

struct monitor_place {
	char name[PATH_MAX + 16]; /* "mds", "ost0000", "mount /mnt" */
	char socket[MONITOR_PATH_MAX];
	bool is_mount;
};

struct monitors {
	unsigned count;
	struct monitor_place *place;
};

/* `where`: a directory made by nacre up, a mount point, a monitor's socket, or NULL (as for other verbs). Prints on
 * failure and returns an exit code; finding none is one. */
_check_ int monitors_find(const char *where, struct monitors *ret_monitors);
void monitors_free(struct monitors *m);
/* One request; NULL (said on stderr unless quiet) if nobody answers or the answer is not 200. mem_free it. */
char *monitors_ask(const struct monitor_place *p, const char *method, const char *url, bool quiet);
json_t *monitors_ask_json(const struct monitor_place *p, const char *method, const char *url);

/* ---- the text of /metrics ---- */

struct sample {
	const char *name; /* without "nacre_" */
	const char *labels; /* "target=\"MDT0000\",op=\"...\"", without le; "" */
	const char *le; /* of a bucket, else NULL */
	double value;
};

struct samples {
	char *text;
	unsigned count;
	struct sample *sample; /* sorted by name, labels */
};

/* Takes the text apart in place; takes it over, also on failure. -NE_NOMEM, -NE_BADMSG. */
_check_ int samples_parse(char *text, struct samples *ret_samples);
void samples_free(struct samples *s);
/* 0 if it is not there. */
double samples_get(const struct samples *s, const char *name, const char *labels);
/* The first sample of a name; NULL if none. Those that follow in the array have the same or a greater name. */
const struct sample *samples_first(const struct samples *s, const char *name);
/* The value of a label, into buf; "" if there is none. */
const char *sample_label(const struct sample *s, const char *label, char *buf, size_t cap);
/* Adds buckets, count and sum of what happened from `before` (NULL: the start) to s, of the histogram `name` with
 * these labels. */
void samples_hist(const struct samples *s, const struct samples *before, const char *name,
	const char *labels, struct metric_hist *into);

#endif
