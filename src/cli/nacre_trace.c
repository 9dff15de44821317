/*
 * nacre trace: where the time of slow requests went, hop by hop.
 *
 * Every daemon keeps spans (src/env/trace.h); those of one request have one id. A mount's FUSE request is the root;
 * below it are the calls its process made, below a call the request it became at the server (the same xid), below that
 * the calls the server made. What a call took more than its request is the network and the waking up of both sides.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cli/monitors.h"

#define TREE_DEPTH_MAX 8
#define SLOWEST_DEFAULT 10
#define SLOWEST_MAX 10000

static const char usage_text[] =
	"usage: nacre trace [DIR|MOUNT|SOCKET] [--slowest N] [--json]\n"
	"       nacre trace [DIR|MOUNT|SOCKET] ID [--json]\n"
	"       nacre trace [DIR|MOUNT|SOCKET] [--slowest N] [--json] -- COMMAND [ARG...]\n"
	"\n"
	"Explains slow requests hop by hop: what the mount, the MDT and the OSTs waited\n"
	"for, in microseconds. Daemons keep each request that took over 2 ms, one of 256\n"
	"others, and the slowest of the last ten minutes. With a COMMAND, every request of\n"
	"the mounts is kept while it runs, and its slowest ones are shown.\n"
	"\n"
	"  --slowest N  how many requests (default 10)\n"
	"  --json       print facts as JSON\n"
	"\n"
	"ID is a request's, 32 hexadecimal digits, as this command shows it. Waits: queue\n"
	"(for its turn), lock (for other requests), fetch (records from the checkpoint),\n"
	"log (write-ahead log), disk, net (servers); work is the rest.\n";

struct tspan {
	const struct monitor_place *place;
	json_t *j;
	const char *id; /* without the mark of a kept one */
	const char *kind;
	const char *op;
	const char *target;
	int64_t start_ns;
	int64_t duration_ns;
	int64_t xid;
	bool shown;
};

struct trace_cmd {
	const char *where;
	const char *id; /* NULL: the slowest */
	unsigned slowest;
	bool json;
	char **command;
	int64_t since_ns;
	struct monitors monitors;
	json_t *answers[MONITORS_MAX];
	struct tspan *spans;
	size_t count;
};

/* ---- gathering ---- */

static const char *text_of(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s == NULL ? "" : s;
}

static int64_t number_of(const json_t *j, const char *key)
{
	return json_integer_value(json_object_get(j, key));
}

/* The first digit of an id holds the mark of a request that is kept: the same request without it. */
static void id_plain(json_t *j)
{
	static const char digits[] = "0123456789abcdef";
	char id[64];
	const char *at;

	snprintf(id, sizeof(id), "%s", text_of(j, "id"));
	at = id[0] == '\0' ? NULL : strchr(digits, id[0]);
	if (at != NULL) {
		id[0] = digits[(at - digits) & 7];
		json_object_set_new(j, "id", json_string(id));
	}
}

static void span_take(struct trace_cmd *c, const struct monitor_place *place, json_t *j)
{
	id_plain(j);
	c->spans[c->count++] = (struct tspan){.place = place,
		.j = j,
		.id = text_of(j, "id"),
		.kind = text_of(j, "kind"),
		.op = text_of(j, "op"),
		.target = text_of(j, "target"),
		.start_ns = number_of(j, "start_ns"),
		.duration_ns = number_of(j, "duration_ns"),
		.xid = number_of(j, "xid")};
}

static int spans_gather(struct trace_cmd *c)
{
	size_t total = 0;
	unsigned silent = 0;

	for (unsigned i = 0; i < c->monitors.count; i++) {
		c->answers[i] = monitors_ask_json(&c->monitors.place[i], "GET", "/traces");
		silent += c->answers[i] == NULL;
		total += json_array_size(json_object_get(c->answers[i], "spans"));
	}
	c->spans = calloc(total + 1, sizeof(*c->spans));
	if (c->spans == NULL) {
		return cli_fail("out of memory");
	}
	for (unsigned i = 0; i < c->monitors.count; i++) {
		json_t *j;
		size_t n;

		json_array_foreach(json_object_get(c->answers[i], "spans"), n, j)
		{
			span_take(c, &c->monitors.place[i], j);
		}
	}
	return silent == c->monitors.count ? 1 : 0;
}

/* ---- the tree ---- */

static bool is_kind(const struct tspan *s, const char *kind)
{
	return strcmp(s->kind, kind) == 0;
}

static bool is_child(const struct tspan *parent, const struct tspan *s)
{
	if (strcmp(parent->id, s->id) != 0) {
		return false;
	}
	if (is_kind(parent, "call")) {
		return is_kind(s, "serve") && s->xid == parent->xid &&
			strcmp(s->target, parent->target) == 0;
	}
	return is_kind(s, "call") && s->place == parent->place && s->start_ns >= parent->start_ns &&
		s->start_ns <= parent->start_ns + parent->duration_ns;
}

static json_t *tree_make(struct trace_cmd *c, struct tspan *root, unsigned depth)
{
	json_t *children = json_array();
	json_t *j = json_object();
	int64_t waits = 0;
	const char *name;
	json_t *ns;

	root->shown = true;
	json_object_update(j, root->j);
	json_object_set_new(j, "where", json_string(root->place->name));
	json_object_foreach(json_object_get(root->j, "wait_ns"), name, ns)
	{
		waits += json_integer_value(ns);
	}
	json_object_set_new(j, "work_ns",
		json_integer(waits > root->duration_ns ? 0 : root->duration_ns - waits));
	for (size_t i = 0; i < c->count && depth < TREE_DEPTH_MAX; i++) {
		if (!c->spans[i].shown && is_child(root, &c->spans[i])) {
			json_array_append_new(children, tree_make(c, &c->spans[i], depth + 1));
		}
	}
	json_object_set_new(j, "children", children);
	return j;
}

static void waits_print(const json_t *j)
{
	const char *name;
	json_t *ns;

	json_object_foreach(json_object_get(j, "wait_ns"), name, ns)
	{
		if (json_integer_value(ns) >= 500) {
			printf(" %s %" PRId64, name,
				(int64_t)(json_integer_value(ns) + 500) / 1000);
		}
	}
	printf(" work %" PRId64, (number_of(j, "work_ns") + 500) / 1000);
}

static void tree_print(const json_t *j, unsigned depth)
{
	const json_t *children = json_object_get(j, "children");
	bool call = strcmp(text_of(j, "kind"), "call") == 0;
	const json_t *child;
	size_t i;

	printf("%10" PRId64 " us  %*s%s%s %s", (number_of(j, "duration_ns") + 500) / 1000,
		(int)depth * 2, "", call ? "-> " : "",
		text_of(j, "target")[0] != '\0' ? text_of(j, "target") : text_of(j, "where"),
		text_of(j, "op"));
	if (strcmp(text_of(j, "status"), "ok") != 0) {
		printf(" (%s)", text_of(j, "status"));
	}
	if (number_of(j, "bytes") > 0 && call) {
		printf(" %" PRId64 " bytes", number_of(j, "bytes"));
	}
	if (!call) {
		printf(":");
		waits_print(j);
	} else if (json_array_size(children) == 0) {
		printf(": the server's part was not kept (short, or long ago)");
	} else {
		printf(": network %" PRId64,
			(number_of(j, "duration_ns") -
				number_of(json_array_get(children, 0), "duration_ns") + 500) /
				1000);
	}
	putchar('\n');
	json_array_foreach(children, i, child)
	{
		tree_print(child, depth + 1);
	}
}

static void trace_print(const json_t *j)
{
	int64_t start = number_of(j, "start_ns");
	time_t s = (time_t)(start / 1000000000);
	char stamp[32];
	struct tm tm;

	localtime_r(&s, &tm);
	strftime(stamp, sizeof(stamp), "%H:%M:%S", &tm);
	printf("%s  %s.%06" PRId64, text_of(j, "id"), stamp, start % 1000000000 / 1000);
	if (number_of(j, "pid") != 0) {
		printf("  pid %" PRId64, number_of(j, "pid"));
	}
	putchar('\n');
	tree_print(j, 0);
	putchar('\n');
}

/* ---- which ---- */

static int slower(const void *a, const void *b)
{
	const struct tspan *x = *(struct tspan *const *)a;
	const struct tspan *y = *(struct tspan *const *)b;

	return (x->duration_ns < y->duration_ns) - (x->duration_ns > y->duration_ns);
}

static int earlier(const void *a, const void *b)
{
	const struct tspan *x = a;
	const struct tspan *y = b;

	return (x->start_ns > y->start_ns) - (x->start_ns < y->start_ns);
}

static bool any_fuse(const struct trace_cmd *c)
{
	for (size_t i = 0; i < c->count; i++) {
		if (is_kind(&c->spans[i], "fuse")) {
			return true;
		}
	}
	return false;
}

/* Requests of mounts; where no mount was asked, requests of servers; and whatever has the id. */
static bool is_root(const struct trace_cmd *c, const struct tspan *s, bool fuse)
{
	if (c->id != NULL) {
		return strcmp(s->id, c->id) == 0;
	}
	return is_kind(s, fuse ? "fuse" : "serve") && s->start_ns >= c->since_ns;
}

static json_t *roots_show(struct trace_cmd *c, struct tspan **roots, size_t count)
{
	json_t *all = json_array();
	static const char *const kinds[] = {"fuse", "call", "serve"};

	for (size_t i = 0; i < count && c->id == NULL; i++) {
		if (i < c->slowest) {
			json_array_append_new(all, tree_make(c, roots[i], 0));
		}
	}
	/* Of one id: from the outermost that is left to the innermost. */
	for (unsigned k = 0; k < ARRAY_SIZE(kinds) && c->id != NULL; k++) {
		for (size_t i = 0; i < count; i++) {
			if (!roots[i]->shown && is_kind(roots[i], kinds[k])) {
				json_array_append_new(all, tree_make(c, roots[i], 0));
			}
		}
	}
	return all;
}

static int spans_show(struct trace_cmd *c)
{
	bool fuse = any_fuse(c);
	struct tspan **roots = calloc(c->count + 1, sizeof(*roots));
	json_t *all;
	json_t *j;
	size_t n = 0;
	size_t i;

	if (roots == NULL) {
		return cli_fail("out of memory");
	}
	qsort(c->spans, c->count, sizeof(*c->spans), earlier);
	for (i = 0; i < c->count; i++) {
		if (is_root(c, &c->spans[i], fuse)) {
			roots[n++] = &c->spans[i];
		}
	}
	qsort(roots, n, sizeof(struct tspan *), slower);
	all = roots_show(c, roots, n);
	free(roots);
	if (c->json) {
		return cli_json_print(all);
	}
	json_array_foreach(all, i, j)
	{
		trace_print(j);
	}
	json_decref(all);
	if (n == 0) {
		return c->id != NULL ? cli_fail("no daemon of this host has kept request %s", c->id)
				     : cli_fail("no request was kept yet");
	}
	return 0;
}

/* ---- a command under trace ---- */

static void sample_set(struct trace_cmd *c, int64_t every, int64_t before[MONITORS_MAX])
{
	for (unsigned i = 0; i < c->monitors.count; i++) {
		char url[64];
		json_t *j;

		if (!c->monitors.place[i].is_mount) {
			continue;
		}
		snprintf(url, sizeof(url), "/traces?sample=%" PRId64,
			every >= 0 ? every : before[i]);
		j = monitors_ask_json(&c->monitors.place[i], "POST", url);
		if (every >= 0) {
			before[i] = j == NULL ? 256 : number_of(j, "before");
		}
		json_decref(j);
	}
}

static int command_run(struct trace_cmd *c)
{
	static int64_t before[MONITORS_MAX];
	struct timespec now;
	int status = 0;
	pid_t pid;

	clock_gettime(CLOCK_REALTIME, &now);
	c->since_ns = (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
	sample_set(c, 1, before);
	pid = fork();
	if (pid == 0) {
		execvp(c->command[0], c->command);
		perror(c->command[0]);
		_exit(127);
	}
	if (pid > 0) {
		waitpid(pid, &status, 0);
	}
	sample_set(c, -1, before);
	if (pid < 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 127)) {
		return cli_fail("%s could not be run", c->command[0]);
	}
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		fprintf(stderr, "nacre: %s ended with %s %d\n", c->command[0],
			WIFEXITED(status) ? "status" : "signal",
			WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
	}
	return 0;
}

static int trace_run(struct trace_cmd *c)
{
	int err = monitors_find(c->where, &c->monitors);

	if (err != 0) {
		return err;
	}
	if (c->command != NULL) {
		err = command_run(c);
	}
	if (err == 0) {
		err = spans_gather(c);
	}
	if (err == 0) {
		err = spans_show(c);
	}
	for (unsigned i = 0; i < c->monitors.count; i++) {
		json_decref(c->answers[i]);
	}
	free(c->spans);
	monitors_free(&c->monitors);
	return err;
}

/* ---- arguments ---- */

static bool is_id(const char *text)
{
	return strlen(text) == 32 && strspn(text, "0123456789abcdef") == 32;
}

enum {
	OPT_SLOWEST = 256,
	OPT_JSON
};

static const struct option options[] = {
	{"slowest", required_argument, NULL, OPT_SLOWEST},
	{"json", no_argument, NULL, OPT_JSON},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

/* getopt moves words; what stands behind "--" is the command. */
static int words_take(struct trace_cmd *c, int argc, char **argv)
{
	if (optind < argc && !is_id(argv[optind])) {
		c->where = argv[optind++];
	}
	if (optind < argc && is_id(argv[optind])) {
		c->id = argv[optind++];
	}
	if (optind < argc) {
		return cli_usage("trace", "too many arguments (a command stands behind --)");
	}
	if (c->id != NULL && c->command != NULL) {
		return cli_usage("trace", "either an ID or a command");
	}
	return 0;
}

int cli_trace(int argc, char **argv)
{
	static struct trace_cmd c = {.slowest = SLOWEST_DEFAULT};
	char *end;
	int opt;
	int err;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--") == 0) {
			c.command = i + 1 < argc ? argv + i + 1 : NULL;
			argc = i;
			if (c.command == NULL) {
				return cli_usage("trace", "which command?");
			}
		}
	}
	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (opt) {
		case OPT_SLOWEST:
			c.slowest = (unsigned)strtoul(optarg, &end, 10);
			if (*end != '\0' || c.slowest == 0 || c.slowest > SLOWEST_MAX) {
				return cli_usage(
					"trace", "--slowest %s: 1 to %d", optarg, SLOWEST_MAX);
			}
			break;
		case OPT_JSON:
			c.json = true;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return 0;
		default:
			return cli_usage("trace", "unknown option");
		}
	}
	err = words_take(&c, argc, argv);
	return err != 0 ? err : trace_run(&c);
}
