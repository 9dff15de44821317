/*
 * See monitors.h.
 */
#include "cli/monitors.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/alloc.h"

/* A mount whose servers are away may let the question for the map wait. */
#define MAP_WAIT_MS 3000
#define MAP_BYTES_MAX 65536

static bool is_socket(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

static void place_add(struct monitors *m, const char *name, const char *socket, bool is_mount)
{
	struct monitor_place *p;

	for (unsigned i = 0; i < m->count; i++) {
		if (strcmp(m->place[i].socket, socket) == 0) {
			return;
		}
	}
	if (m->count == MONITORS_MAX || !is_socket(socket)) {
		return;
	}
	p = &m->place[m->count++];
	snprintf(p->name, sizeof(p->name), "%s", name);
	snprintf(p->socket, sizeof(p->socket), "%s", socket);
	p->is_mount = is_mount;
}

/* ---- a cluster's directory ---- */

static int mount_add(void *ctx, const struct cli_mount *mount)
{
	char socket[MONITOR_PATH_MAX];
	char name[PATH_MAX + 16];

	monitor_path_of_mount(mount->point, mount->uid, socket);
	snprintf(name, sizeof(name), "mount %s", mount->point);
	place_add(ctx, name, socket, true);
	return 0;
}

static int dir_take(struct monitors *m, const char *where)
{
	struct cluster *c = calloc(1, sizeof(*c));
	char path[PATH_MAX];
	char source[PATH_MAX];
	int err = c == NULL ? cli_fail("out of memory")
			    : cluster_dir_find(where, c->dir, sizeof(c->dir));

	if (err == 0) {
		err = cluster_load(c, false);
	}
	for (unsigned i = 0; err == 0 && i < c->daemon_count; i++) {
		place_add(m, c->daemons[i].name,
			cluster_path(c, path, "run/%s.monitor", c->daemons[i].name), false);
	}
	if (err == 0) {
		(void)!cli_mounts_each(cluster_source(c, source), mount_add, m);
	}
	free(c);
	return err;
}

/* ---- a mount ---- */

struct mount_find {
	const char *point;
	struct cli_mount mount;
	bool found;
};

static int mount_match(void *ctx, const struct cli_mount *mount)
{
	struct mount_find *f = ctx;

	if (strcmp(mount->point, f->point) != 0) {
		return 0;
	}
	f->mount = *mount;
	f->found = true;
	return 1;
}

/* The mount's cluster map as JSON text, asked for by a child that can be left waiting. */
static ssize_t map_read(const char *point, char *buf, size_t cap)
{
	struct pollfd p = {.events = POLLIN};
	ssize_t n = -1;
	int fds[2];
	pid_t pid;

	if (pipe(fds) != 0) {
		return -1;
	}
	pid = fork();
	if (pid == 0) {
		n = getxattr(point, "nacre.map", buf, cap);
		for (ssize_t at = 0; at < n;) {
			ssize_t w = write(fds[1], buf + at, (size_t)(n - at));

			at = w > 0 ? at + w : n;
		}
		_exit(0);
	}
	close(fds[1]);
	p.fd = fds[0];
	if (pid > 0 && poll(&p, 1, MAP_WAIT_MS) > 0) {
		ssize_t got;

		n = 0;
		while ((size_t)n < cap && (got = read(fds[0], buf + n, cap - (size_t)n)) > 0) {
			n += got;
		}
	}
	close(fds[0]);
	if (pid > 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	return n;
}

static void target_add(struct monitors *m, const json_t *target)
{
	const char *name = json_string_value(json_object_get(target, "name"));
	char socket[MONITOR_PATH_MAX];
	json_t *addr;
	size_t i;

	json_array_foreach(json_object_get(target, "addresses"), i, addr)
	{
		const char *text = json_string_value(addr);

		if (name != NULL && text != NULL && monitor_path_of_server(text, socket)) {
			place_add(m, name, socket, false);
		}
	}
}

static int mount_take(struct monitors *m, const struct cli_mount *mount)
{
	char *buf = malloc(MAP_BYTES_MAX);
	ssize_t n;
	json_t *map;
	json_t *target;
	size_t i;

	if (buf == NULL) {
		return cli_fail("out of memory");
	}
	(void)mount_add(m, mount);
	n = map_read(mount->point, buf, MAP_BYTES_MAX);
	map = n > 0 ? json_loadb(buf, (size_t)n, 0, NULL) : NULL;
	json_array_foreach(json_object_get(map, "targets"), i, target)
	{
		target_add(m, target);
	}
	json_decref(map);
	free(buf);
	return 0;
}

/* ---- all ---- */

static int find(const char *where, struct monitors *m)
{
	char real[PATH_MAX];
	struct mount_find f = {.point = real};

	if (where == NULL || realpath(where, real) == NULL) {
		return dir_take(m, where);
	}
	if (is_socket(real)) {
		place_add(m, real, real, false);
		return 0;
	}
	(void)!cli_mounts_each(NULL, mount_match, &f);
	return f.found ? mount_take(m, &f.mount) : dir_take(m, where);
}

int monitors_find(const char *where, struct monitors *ret_monitors)
{
	struct monitors m = {.place = calloc(MONITORS_MAX, sizeof(*m.place))};
	int err = m.place == NULL ? cli_fail("out of memory") : find(where, &m);

	if (err == 0 && m.count == 0) {
		err = cli_fail("%s: no monitor of a daemon was found on this host (are they "
			       "running, and yours?)",
			where == NULL ? "the file system" : where);
	}
	if (err != 0) {
		monitors_free(&m);
		return err;
	}
	*ret_monitors = m;
	return 0;
}

void monitors_free(struct monitors *m)
{
	free(m->place);
	m->place = NULL;
	m->count = 0;
}

/* ---- asking ---- */

char *monitors_ask(const struct monitor_place *p, const char *method, const char *url, bool quiet)
{
	char *text = NULL;
	int status = 0;
	int rc = monitor_request(p->socket, method, url, MONITOR_ASK_MS, &status, &text);

	if (rc == 0 && status == 200) {
		return text;
	}
	if (!quiet) {
		cli_fail("%s (%s): %.*s", p->name, p->socket,
			rc == 0 ? (int)strcspn(text, "\n") : 200, rc == 0 ? text : ne_text(rc));
	}
	mem_free(text);
	return NULL;
}

json_t *monitors_ask_json(const struct monitor_place *p, const char *method, const char *url)
{
	char *text = monitors_ask(p, method, url, false);
	json_t *j = text == NULL ? NULL : json_loads(text, 0, NULL);

	if (text != NULL && j == NULL) {
		cli_fail("%s (%s): its answer is not JSON", p->name, p->socket);
	}
	mem_free(text);
	return j;
}

/* ---- metrics ---- */

/* Takes `le="..."`, always the last label, out of the labels. */
static const char *le_take(char *labels)
{
	char *at = strstr(labels, "le=\"");
	char *end;

	if (at == NULL || (at != labels && at[-1] != ',')) {
		return NULL;
	}
	end = strchr(at + 4, '"');
	if (end != NULL) {
		*end = '\0';
	}
	at[at == labels ? 0 : -1] = '\0';
	return at + 4;
}

/* nacre_NAME[{LABELS}] VALUE */
static bool line_parse(char *line, struct sample *s)
{
	char *space = strrchr(line, ' ');
	char *brace = strchr(line, '{');
	char *end;

	if (strncmp(line, "nacre_", 6) != 0 || space == NULL) {
		return false;
	}
	s->name = line + 6;
	s->labels = "";
	s->le = NULL;
	*space = '\0';
	if (brace != NULL && brace < space) {
		if (space[-1] != '}') {
			return false;
		}
		space[-1] = '\0';
		*brace = '\0';
		s->le = le_take(brace + 1);
		s->labels = brace + 1;
	}
	s->value = strtod(space + 1, &end);
	return *end == '\0' && end != space + 1;
}

static int sample_order(const void *a, const void *b)
{
	const struct sample *x = a;
	const struct sample *y = b;
	int order = strcmp(x->name, y->name);

	if (order == 0) {
		order = strcmp(x->labels, y->labels);
	}
	if (order != 0 || x->le == NULL || y->le == NULL) {
		return order;
	}
	return (strtod(x->le, NULL) > strtod(y->le, NULL)) -
		(strtod(x->le, NULL) < strtod(y->le, NULL));
}

int samples_parse(char *text, struct samples *ret_samples)
{
	struct samples s = {.text = text};
	size_t lines = 1;
	char *save = NULL;
	bool good = true;

	for (const char *c = text; *c != '\0'; c++) {
		lines += *c == '\n';
	}
	s.sample = mem_zalloc_array(lines, sizeof(*s.sample));
	if (s.sample == NULL) {
		mem_free(text);
		return -NE_NOMEM;
	}
	for (char *line = strtok_r(text, "\n", &save); line != NULL && good;
		line = strtok_r(NULL, "\n", &save)) {
		if (*line != '#') {
			good = line_parse(line, &s.sample[s.count]);
			s.count += good;
		}
	}
	if (!good) {
		samples_free(&s);
		return -NE_BADMSG;
	}
	qsort(s.sample, s.count, sizeof(*s.sample), sample_order);
	*ret_samples = s;
	return 0;
}

void samples_free(struct samples *s)
{
	mem_free(s->text);
	mem_free(s->sample);
	*s = (struct samples){0};
}

/* Index of the first sample that is not before (name, labels). */
static unsigned seek(const struct samples *s, const char *name, const char *labels)
{
	unsigned low = 0;
	unsigned high = s->count;

	while (low < high) {
		unsigned mid = (low + high) / 2;
		int order = strcmp(s->sample[mid].name, name);

		if (order < 0 || (order == 0 && strcmp(s->sample[mid].labels, labels) < 0)) {
			low = mid + 1;
		} else {
			high = mid;
		}
	}
	return low;
}

const struct sample *samples_first(const struct samples *s, const char *name)
{
	unsigned i = seek(s, name, "");

	return i < s->count && strcmp(s->sample[i].name, name) == 0 ? &s->sample[i] : NULL;
}

double samples_get(const struct samples *s, const char *name, const char *labels)
{
	unsigned i = seek(s, name, labels);

	return i < s->count && strcmp(s->sample[i].name, name) == 0 &&
			strcmp(s->sample[i].labels, labels) == 0
		? s->sample[i].value
		: 0;
}

const char *sample_label(const struct sample *s, const char *label, char *buf, size_t cap)
{
	char want[64];
	const char *at;
	const char *end;

	buf[0] = '\0';
	snprintf(want, sizeof(want), "%s=\"", label);
	at = strstr(s->labels, want);
	if (at != NULL && (at == s->labels || at[-1] == ',')) {
		at += strlen(want);
		end = strchr(at, '"');
		snprintf(buf, cap, "%.*s", end == NULL ? 0 : (int)(end - at), at);
	}
	return buf;
}

static void hist_add(const struct samples *s, const char *name, const char *labels, bool minus,
	struct metric_hist *into)
{
	char full[128];
	uint64_t below = 0;
	unsigned bucket = 0;

	snprintf(full, sizeof(full), "%s_bucket", name);
	for (unsigned i = seek(s, full, labels); i < s->count && bucket < METRIC_BUCKETS &&
		strcmp(s->sample[i].name, full) == 0 && strcmp(s->sample[i].labels, labels) == 0;
		i++) {
		uint64_t n = (uint64_t)s->sample[i].value;

		into->bucket[bucket++] += minus ? below - n : n - below;
		into->count += minus ? below - n : n - below;
		below = n;
	}
	snprintf(full, sizeof(full), "%s_sum", name);
	uint64_t sum = (uint64_t)(samples_get(s, full, labels) * 1e9);

	into->sum_ns += minus ? -sum : sum;
}

void samples_hist(const struct samples *s, const struct samples *before, const char *name,
	const char *labels, struct metric_hist *into)
{
	hist_add(s, name, labels, false, into);
	if (before != NULL) {
		hist_add(before, name, labels, true, into);
	}
}
