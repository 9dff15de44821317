/*
 * nacre top: what a file system does now. Asks every monitor of this host once per interval and shows differences.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "cli/monitors.h"

#define OPS_SHOWN 8
#define ROWS_MAX 1024

static const char usage_text[] =
	"usage: nacre top [DIR|MOUNT|SOCKET] [OPTIONS]\n"
	"\n"
	"Shows what the targets and mounts of a file system on this host do: requests,\n"
	"bytes and latencies of the last interval, log, sessions, space, and the busiest\n"
	"operations. In a pipe, one block per interval.\n"
	"\n"
	"  --interval S  seconds between two looks (default 1)\n"
	"  --count N     end after N blocks (default: never)\n"
	"  --json        one JSON object per interval\n"
	"\n"
	"DIR is a directory made by nacre up, MOUNT a mount point, SOCKET a monitor's.\n";

/* What one daemon said, now and before. */
struct daemon {
	const struct monitor_place *place;
	struct samples now;
	struct samples before;
	bool there; /* both are */
};

/* A line of the table. */
struct row {
	char name[64];
	const struct daemon *daemon;
	struct metric_hist hist;
	double errors;
	double read_bytes;
	double write_bytes;
	double busy; /* share of the interval */
};

struct op_row {
	char target[64];
	char op[64];
	struct metric_hist hist;
};

struct top {
	const char *where;
	double interval_s;
	unsigned long blocks; /* 0: for ever */
	bool json;
	bool screen;
	struct monitors monitors;
	struct daemon *daemons;
	double elapsed_s;
	unsigned row_count;
	unsigned op_count;
	struct row *rows;
	struct op_row *ops;
};

static double now_s(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}

/* ---- looking ---- */

static void daemon_look(struct daemon *d)
{
	char *text = monitors_ask(d->place, "GET", "/metrics", true);

	samples_free(&d->before);
	d->before = d->now;
	d->now = (struct samples){0};
	d->there = text != NULL && samples_parse(text, &d->now) == 0 && d->before.count > 0;
	/* A daemon that was started anew has begun to count anew. */
	if (d->there &&
		samples_get(&d->now, "start_time_seconds", "") !=
			samples_get(&d->before, "start_time_seconds", "")) {
		samples_free(&d->before);
		d->there = false;
	}
}

static double moved(const struct daemon *d, const char *name, const char *labels)
{
	return samples_get(&d->now, name, labels) - samples_get(&d->before, name, labels);
}

static struct row *row_of(struct top *top, const char *name, const struct daemon *d)
{
	struct row *r;

	for (unsigned i = 0; i < top->row_count; i++) {
		if (top->rows[i].daemon == d && strcmp(top->rows[i].name, name) == 0) {
			return &top->rows[i];
		}
	}
	if (top->row_count == ROWS_MAX) {
		return NULL;
	}
	r = &top->rows[top->row_count++];
	*r = (struct row){.daemon = d};
	snprintf(r->name, sizeof(r->name), "%s", name);
	r->busy = moved(d, "reactor_busy_seconds_total", "reactor=\"0\"") / top->elapsed_s;
	return r;
}

static void hist_merge(struct metric_hist *into, const struct metric_hist *from)
{
	into->count += from->count;
	into->sum_ns += from->sum_ns;
	for (unsigned i = 0; i < METRIC_BUCKETS; i++) {
		into->bucket[i] += from->bucket[i];
	}
}

static void op_add(
	struct top *top, const char *target, const char *op, const struct metric_hist *hist)
{
	struct op_row *o;

	if (hist->count == 0 || top->op_count == ROWS_MAX) {
		return;
	}
	o = &top->ops[top->op_count++];
	snprintf(o->target, sizeof(o->target), "%s", target);
	snprintf(o->op, sizeof(o->op), "%s", op);
	o->hist = *hist;
}

static void target_op_take(struct top *top, const struct daemon *d, const struct sample *s)
{
	struct metric_hist hist = {0};
	char target[64];
	char op[64];
	struct row *r;
	double bytes;

	sample_label(s, "target", target, sizeof(target));
	sample_label(s, "op", op, sizeof(op));
	r = row_of(top, target, d);
	if (r == NULL) {
		return;
	}
	samples_hist(&d->now, &d->before, "request_duration_seconds", s->labels, &hist);
	hist_merge(&r->hist, &hist);
	op_add(top, target, op, &hist);
	r->errors += moved(d, "request_errors_total", s->labels);
	bytes = moved(d, "request_bulk_bytes_total", s->labels);
	if (strstr(op, "read") != NULL) {
		r->read_bytes += bytes;
	} else {
		r->write_bytes += bytes;
	}
}

static void mount_op_take(struct top *top, const struct daemon *d, const struct sample *s)
{
	struct metric_hist hist = {0};
	char op[64];
	struct row *r = row_of(top, d->place->name, d);

	if (r != NULL) {
		samples_hist(
			&d->now, &d->before, "fuse_request_duration_seconds", s->labels, &hist);
		hist_merge(&r->hist, &hist);
		op_add(top, "mount", sample_label(s, "op", op, sizeof(op)), &hist);
	}
}

static void each_series(struct top *top, const struct daemon *d, const char *name,
	void (*take)(struct top *top, const struct daemon *d, const struct sample *s))
{
	const struct sample *s = samples_first(&d->now, name);

	for (; s != NULL && s < d->now.sample + d->now.count && strcmp(s->name, name) == 0; s++) {
		take(top, d, s);
	}
}

static void daemon_take(struct top *top, const struct daemon *d)
{
	each_series(top, d, "request_duration_seconds_count", target_op_take);
	each_series(top, d, "fuse_request_duration_seconds_count", mount_op_take);
	if (samples_first(&d->now, "client_open_files") != NULL) {
		struct row *r = row_of(top, d->place->name, d);

		if (r != NULL) {
			r->read_bytes = moved(d, "client_bytes_total", "direction=\"read\"");
			r->write_bytes = moved(d, "client_bytes_total", "direction=\"write\"");
			r->errors = moved(d, "fuse_errors_total", "");
		}
	}
}

static int op_order(const void *a, const void *b)
{
	const struct op_row *x = a;
	const struct op_row *y = b;

	return (x->hist.sum_ns < y->hist.sum_ns) - (x->hist.sum_ns > y->hist.sum_ns);
}

static int row_order(const void *a, const void *b)
{
	return strcmp(((const struct row *)a)->name, ((const struct row *)b)->name);
}

static void look(struct top *top)
{
	static double last;
	double now = now_s();

	top->elapsed_s = now - last;
	last = now;
	top->row_count = 0;
	top->op_count = 0;
	for (unsigned i = 0; i < top->monitors.count; i++) {
		daemon_look(&top->daemons[i]);
		if (top->daemons[i].there) {
			daemon_take(top, &top->daemons[i]);
		}
	}
	qsort(top->ops, top->op_count, sizeof(*top->ops), op_order);
	qsort(top->rows, top->row_count, sizeof(*top->rows), row_order);
}

/* ---- showing ---- */

static double per_s(const struct top *top, double n)
{
	return n / top->elapsed_s;
}

static double quantile_us(const struct metric_hist *h, unsigned percent)
{
	return (double)metric_hist_quantile(h, percent, 100) / 1000;
}

/* A fact of a target, "-" if it has none. */
static const char *fact(const struct row *r, const char *name, bool size, char *buf, size_t cap)
{
	char labels[96];
	double value;

	snprintf(labels, sizeof(labels), "target=\"%s\"", r->name);
	value = samples_get(&r->daemon->now, name, labels);
	if (value == 0 && r->daemon->place->is_mount) {
		snprintf(buf, cap, "-");
	} else if (size) {
		cli_size_format((uint64_t)value, buf, cap);
	} else {
		snprintf(buf, cap, "%.0f", value);
	}
	return buf;
}

static void rate_format(double bytes_per_s, char *buf, size_t cap)
{
	cli_size_format((uint64_t)bytes_per_s, buf, cap);
}

static double sync_p99_us(const struct row *r)
{
	struct metric_hist h = {0};
	char labels[96];

	snprintf(labels, sizeof(labels), "target=\"%s\"", r->name);
	samples_hist(&r->daemon->now, &r->daemon->before, "log_sync_duration_seconds", labels, &h);
	return quantile_us(&h, 99);
}

static double log_bytes(const struct row *r)
{
	char labels[96];

	snprintf(labels, sizeof(labels), "target=\"%s\"", r->name);
	return moved(r->daemon, "log_written_bytes_total", labels);
}

static void row_print(const struct top *top, const struct row *r)
{
	char rd[32], wr[32], lg[32], used[32], avail[32], sessions[32];

	rate_format(per_s(top, r->read_bytes), rd, sizeof(rd));
	rate_format(per_s(top, r->write_bytes), wr, sizeof(wr));
	rate_format(per_s(top, log_bytes(r)), lg, sizeof(lg));
	printf("%-12s %9.0f %8.0f %8.0f %7.0f %8s %8s %8s %8.0f %5.0f %5s %8s %8s\n",
		r->daemon->place->is_mount ? "mount" : r->name, per_s(top, (double)r->hist.count),
		quantile_us(&r->hist, 50), quantile_us(&r->hist, 99), per_s(top, r->errors), rd, wr,
		lg, sync_p99_us(r), r->busy * 100,
		fact(r, "sessions", false, sessions, sizeof(sessions)),
		fact(r, "used_bytes", true, used, sizeof(used)),
		fact(r, "available_bytes", true, avail, sizeof(avail)));
	if (r->daemon->place->is_mount) {
		printf("  %s\n", r->name + strlen("mount "));
	}
}

static void text_print(const struct top *top)
{
	time_t now = time(NULL);
	char stamp[32];
	struct tm tm;

	localtime_r(&now, &tm);
	strftime(stamp, sizeof(stamp), "%H:%M:%S", &tm);
	printf("%s%s  last %.1f s\n", top->screen ? "\033[H\033[J" : "", stamp, top->elapsed_s);
	printf("%-12s %9s %8s %8s %7s %8s %8s %8s %8s %5s %5s %8s %8s\n", "who", "op/s", "p50 us",
		"p99 us", "err/s", "read/s", "write/s", "log/s", "sync99", "busy%", "sess", "used",
		"avail");
	for (unsigned i = 0; i < top->row_count; i++) {
		row_print(top, &top->rows[i]);
	}
	for (unsigned i = 0; i < top->monitors.count; i++) {
		if (!top->daemons[i].there) {
			printf("%s: no answer\n", top->monitors.place[i].name);
		}
	}
	for (unsigned i = 0; i < top->op_count && i < OPS_SHOWN; i++) {
		const struct op_row *o = &top->ops[i];

		if (i == 0) {
			printf("\n%-12s %-20s %9s %8s %8s\n", "busiest", "operation", "op/s",
				"p50 us", "p99 us");
		}
		printf("%-12s %-20s %9.0f %8.0f %8.0f\n", o->target, o->op,
			per_s(top, (double)o->hist.count), quantile_us(&o->hist, 50),
			quantile_us(&o->hist, 99));
	}
	if (!top->screen) {
		printf("\n");
	}
}

static json_t *latency_json(const struct metric_hist *h)
{
	return json_pack("{s:f, s:f, s:f}", "p50_us", quantile_us(h, 50), "p99_us",
		quantile_us(h, 99), "mean_us",
		h->count == 0 ? 0.0 : (double)h->sum_ns / 1000 / (double)h->count);
}

static json_t *row_json(const struct top *top, const struct row *r)
{
	json_t *j = json_pack("{s:s, s:s, s:f, s:f, s:f, s:f, s:f, s:o}", "name", r->name, "kind",
		r->daemon->place->is_mount ? "mount" : "target", "ops_per_s",
		per_s(top, (double)r->hist.count), "errors_per_s", per_s(top, r->errors),
		"read_bytes_per_s", per_s(top, r->read_bytes), "write_bytes_per_s",
		per_s(top, r->write_bytes), "busy", r->busy, "latency", latency_json(&r->hist));
	static const char *const facts[] = {"sessions", "capacity_bytes", "used_bytes",
		"available_bytes", "inodes_used", "uncommitted_changes"};
	char labels[96];

	if (r->daemon->place->is_mount) {
		return j;
	}
	snprintf(labels, sizeof(labels), "target=\"%s\"", r->name);
	json_object_set_new(j, "log_bytes_per_s", json_real(per_s(top, log_bytes(r))));
	json_object_set_new(j, "log_sync_p99_us", json_real(sync_p99_us(r)));
	for (unsigned i = 0; i < ARRAY_SIZE(facts); i++) {
		json_object_set_new(j, facts[i],
			json_integer((json_int_t)samples_get(&r->daemon->now, facts[i], labels)));
	}
	return j;
}

static void json_show(const struct top *top)
{
	json_t *rows = json_array();
	json_t *ops = json_array();
	json_t *silent = json_array();
	json_t *j;

	for (unsigned i = 0; i < top->row_count; i++) {
		json_array_append_new(rows, row_json(top, &top->rows[i]));
	}
	for (unsigned i = 0; i < top->op_count; i++) {
		const struct op_row *o = &top->ops[i];

		json_array_append_new(ops,
			json_pack("{s:s, s:s, s:f, s:o}", "who", o->target, "op", o->op,
				"ops_per_s", per_s(top, (double)o->hist.count), "latency",
				latency_json(&o->hist)));
	}
	for (unsigned i = 0; i < top->monitors.count; i++) {
		if (!top->daemons[i].there) {
			json_array_append_new(silent, json_string(top->monitors.place[i].name));
		}
	}
	j = json_pack("{s:I, s:f, s:o, s:o, s:o}", "time", (json_int_t)time(NULL), "interval_s",
		top->elapsed_s, "rows", rows, "operations", ops, "silent", silent);
	json_dumpf(j, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(j);
}

/* ---- the loop ---- */

static void sleep_until(double when)
{
	struct timespec ts = {
		.tv_sec = (time_t)when, .tv_nsec = (long)((when - (double)(time_t)when) * 1e9)};

	(void)clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL);
}

static int top_run(struct top *top)
{
	double next = now_s();

	look(top);
	for (unsigned long n = 0; top->blocks == 0 || n < top->blocks; n++) {
		next += top->interval_s;
		sleep_until(next);
		look(top);
		if (top->json) {
			json_show(top);
		} else {
			text_print(top);
		}
		if (fflush(stdout) != 0) {
			return 1; /* nobody reads any more */
		}
	}
	return 0;
}

static int top_start(struct top *top)
{
	int err = monitors_find(top->where, &top->monitors);

	if (err != 0) {
		return err;
	}
	top->daemons = calloc(top->monitors.count, sizeof(*top->daemons));
	top->rows = calloc(ROWS_MAX, sizeof(*top->rows));
	top->ops = calloc(ROWS_MAX, sizeof(*top->ops));
	if (top->daemons == NULL || top->rows == NULL || top->ops == NULL) {
		return cli_fail("out of memory");
	}
	for (unsigned i = 0; i < top->monitors.count; i++) {
		top->daemons[i].place = &top->monitors.place[i];
	}
	top->screen = !top->json && isatty(STDOUT_FILENO);
	err = top_run(top);
	for (unsigned i = 0; i < top->monitors.count; i++) {
		samples_free(&top->daemons[i].now);
		samples_free(&top->daemons[i].before);
	}
	free(top->daemons);
	free(top->rows);
	free(top->ops);
	monitors_free(&top->monitors);
	return err;
}

enum {
	OPT_INTERVAL = 256,
	OPT_COUNT,
	OPT_JSON
};

static const struct option options[] = {
	{"interval", required_argument, NULL, OPT_INTERVAL},
	{"count", required_argument, NULL, OPT_COUNT},
	{"json", no_argument, NULL, OPT_JSON},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

int cli_top(int argc, char **argv)
{
	struct top top = {.interval_s = 1};
	char *end = NULL;
	int opt;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (opt) {
		case OPT_INTERVAL:
			top.interval_s = strtod(optarg, &end);
			if (*end != '\0' || !(top.interval_s >= 0.05 && top.interval_s <= 86400)) {
				return cli_usage(
					"top", "--interval %s: seconds from 0.05 to 86400", optarg);
			}
			break;
		case OPT_COUNT:
			top.blocks = strtoul(optarg, &end, 10);
			if (*end != '\0' || top.blocks == 0) {
				return cli_usage(
					"top", "--count %s: a number of at least 1", optarg);
			}
			break;
		case OPT_JSON:
			top.json = true;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return 0;
		default:
			return cli_usage("top", "unknown option");
		}
	}
	if (optind < argc) {
		top.where = argv[optind++];
	}
	if (optind < argc) {
		return cli_usage("top", "too many arguments");
	}
	return top_start(&top);
}
