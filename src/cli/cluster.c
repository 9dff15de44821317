/*
 * Cluster directories as `nacre up` makes them. cluster.yaml keeps what must stay the same between starts: the
 * name, the identity, addresses and ports.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#include "cli/cli.h"

#define CLUSTER_YAML_MAX (256 * 1024)
/* A killed process frees its memory and its locks within this. */
#define DYING_MS_MAX 20000

/* DIR of a process whose command line names DIR/etc/mds.yaml. */
static bool dir_of_process(const char *pid, char *buf, size_t cap)
{
	static const char tail[] = "/etc/mds.yaml";
	char path[64];
	char *cmd;
	size_t len = 0;
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%.20s/cmdline", pid);
	cmd = cli_file_read(path, 65536, &len);
	for (size_t at = 0; cmd != NULL && at < len; at += strlen(cmd + at) + 1) {
		size_t n = strlen(cmd + at);

		if (cmd[at] == '/' && n > sizeof(tail) &&
			strcmp(cmd + at + n - (sizeof(tail) - 1), tail) == 0) {
			snprintf(buf, cap, "%.*s", (int)(n - (sizeof(tail) - 1)), cmd + at);
			found = true;
		}
	}
	free(cmd);
	return found;
}

/* The one file system that `nacre up` keeps running on this host: its directory. False: none, or several. */
static bool dir_running(char *buf, size_t cap)
{
	DIR *proc = opendir("/proc");
	struct dirent *e;
	unsigned n = 0;

	while (proc != NULL && (e = readdir(proc)) != NULL) {
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9' &&
			dir_of_process(e->d_name, buf, cap)) {
			n++;
		}
	}
	if (proc != NULL) {
		closedir(proc);
	}
	return n == 1;
}

int cluster_dir_find(const char *given, char *buf, size_t cap)
{
	char path[PATH_MAX];
	int err = cluster_dir_resolve(given, buf, cap);

	if (err != 0 || given != NULL || getenv("NACRE_DIR") != NULL) {
		return err;
	}
	snprintf(path, sizeof(path), "%.*s/cluster.yaml", PATH_MAX - 16, buf);
	if (access(path, F_OK) != 0 && dir_running(path, sizeof(path))) {
		snprintf(buf, cap, "%s", path);
	}
	return 0;
}

/* Without "..", "." and links, as far as it exists: processes and mounts are found again by it. */
static void path_canonical(char *path, size_t cap)
{
	char real[PATH_MAX];
	char *slash = strrchr(path, '/');

	if (realpath(path, real) != NULL) {
		snprintf(path, cap, "%s", real);
		return;
	}
	if (slash == NULL || slash == path) {
		return;
	}
	*slash = '\0';
	if (realpath(path, real) != NULL && strlen(real) + strlen(slash + 1) + 2 < cap) {
		char name[NAME_MAX + 1];

		snprintf(name, sizeof(name), "%s", slash + 1);
		snprintf(path, cap, "%s/%s", real, name);
		return;
	}
	*slash = '/';
}

int cluster_dir_resolve(const char *given, char *buf, size_t cap)
{
	const char *home = getenv("HOME");
	const char *env = getenv("NACRE_DIR");
	char path[PATH_MAX];
	char cwd[PATH_MAX / 2];

	if (given == NULL) {
		given = env;
	}
	if (given == NULL && home == NULL) {
		return cli_fail("no directory: give DIR, or set NACRE_DIR");
	}
	if (given == NULL) {
		snprintf(path, sizeof(path), "%s/.nacre", home);
	} else if (given[0] == '/') {
		snprintf(path, sizeof(path), "%s", given);
	} else if (getcwd(cwd, sizeof(cwd)) == NULL) {
		return cli_fail("the current directory: %s", strerror(errno));
	} else {
		snprintf(path, sizeof(path), "%s/%s", cwd, given);
	}
	while (strlen(path) > 1 && path[strlen(path) - 1] == '/') {
		path[strlen(path) - 1] = '\0';
	}
	path_canonical(path, sizeof(path));
	/* Paths of targets and sockets are made of it: they must stay within their bounds. */
	if (strlen(path) > 1024 || strpbrk(path, "\"\\\n") != NULL) {
		return cli_fail("%s: the path is too long or has quotes in it", path);
	}
	snprintf(buf, cap, "%s", path);
	return 0;
}

const char *cluster_path(const struct cluster *c, char *buf, const char *fmt, ...)
{
	va_list ap;
	int n = snprintf(buf, PATH_MAX, "%s/", c->dir);

	ASSERT(n > 0 && n < PATH_MAX);
	va_start(ap, fmt);
	vsnprintf(buf + n, (size_t)(PATH_MAX - n), fmt, ap);
	va_end(ap);
	return buf;
}

const char *cluster_hostport(const struct cluster *c, const struct cluster_daemon *d, char *buf)
{
	bool v6 = strchr(c->host, ':') != NULL;

	snprintf(buf, 128, v6 ? "[%s]:%u" : "%s:%u", c->host, d->port);
	return buf;
}

const char *cluster_source(const struct cluster *c, char *buf)
{
	char hp[128];

	snprintf(buf, PATH_MAX, "%s:/%s", cluster_hostport(c, &c->daemons[0], hp), c->fsname);
	return buf;
}

/* PF_EXITING of /proc/PID/stat, proc(5) field 9. */
static bool process_exiting(int pid)
{
	unsigned long flags = 0;
	char path[64];
	char *text;
	char *at;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	text = cli_file_read(path, 65536, NULL);
	at = text == NULL ? NULL : strrchr(text, ')');
	if (at != NULL) {
		(void)sscanf(at + 1, " %*c %*d %*d %*d %*d %*d %lu", &flags);
	}
	free(text);
	return (flags & 0x4) != 0;
}

/* Is /proc/PID/cmdline a nacred with this configuration? */
static bool process_is(int pid, const char *config)
{
	char path[64];
	char *cmd;
	size_t len = 0;
	bool found = false;

	snprintf(path, sizeof(path), "/proc/%d/cmdline", pid);
	cmd = cli_file_read(path, 65536, &len);
	if (cmd == NULL) {
		return false;
	}
	for (size_t at = 0; at < len; at += strlen(cmd + at) + 1) {
		if (strcmp(cmd + at, config) == 0) {
			found = true;
		}
	}
	free(cmd);
	return found;
}

/* SIGKILL has come, or it is on its way out: what it holds is freed in a moment. */
static bool process_dying(int pid)
{
	unsigned long long pending = 0;
	char path[64];
	char *text;
	char *at;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	text = cli_file_read(path, 65536, NULL);
	at = text == NULL ? NULL : strstr(text, "\nSigPnd:");
	if (at != NULL) {
		pending = strtoull(at + 8, NULL, 16);
	}
	free(text);
	return (pending & (1ULL << (SIGKILL - 1))) != 0 || process_exiting(pid);
}

static void process_end_wait(int pid, const char *config)
{
	for (unsigned ms = 0; ms < DYING_MS_MAX && process_is(pid, config); ms += 5) {
		usleep(5000);
	}
}

int cluster_daemon_pid(const struct cluster *c, const struct cluster_daemon *d)
{
	char path[PATH_MAX];
	char *text = cli_file_read(cluster_path(c, path, "run/%s.pid", d->name), 64, NULL);
	int pid;

	if (text == NULL) {
		return 0;
	}
	pid = atoi(text);
	free(text);
	if (pid <= 1 || !process_is(pid, cluster_path(c, path, "etc/%s.yaml", d->name))) {
		return 0;
	}
	if (process_dying(pid)) {
		process_end_wait(pid, path);
		return process_is(pid, path) ? pid : 0;
	}
	return pid;
}

static void daemons_name(struct cluster *c)
{
	c->daemon_count = c->osts + 1;
	for (unsigned i = 0; i < c->daemon_count; i++) {
		struct cluster_daemon *d = &c->daemons[i];

		d->is_mds = i == 0;
		d->ost = i == 0 ? 0 : i - 1;
		if (d->is_mds) {
			snprintf(d->name, sizeof(d->name), "mds");
		} else {
			snprintf(d->name, sizeof(d->name), "ost%04x", d->ost & 0xffff);
		}
	}
}

static int value_take(struct cluster *c, const char *key, const char *value)
{
	unsigned ost;

	if (strcmp(key, "fsname") == 0 && strlen(value) <= LIM_FSNAME_MAX) {
		snprintf(c->fsname, sizeof(c->fsname), "%s", value);
	} else if (strcmp(key, "cluster_uuid") == 0) {
		return uuid_parse(value, &c->uuid) == 0 ? 0 : -1;
	} else if (strcmp(key, "host") == 0) {
		snprintf(c->host, sizeof(c->host), "%s", value);
	} else if (strcmp(key, "mount") == 0) {
		snprintf(c->mount, sizeof(c->mount), "%s", value);
	} else if (strcmp(key, "osts") == 0) {
		c->osts = (unsigned)atoi(value);
	} else if (strcmp(key, "ost_capacity_bytes") == 0) {
		c->ost_capacity_bytes = strtoull(value, NULL, 10);
	} else if (strcmp(key, "mdt_capacity_bytes") == 0) {
		c->mdt_capacity_bytes = strtoull(value, NULL, 10);
	} else if (strcmp(key, "port_mds") == 0) {
		c->daemons[0].port = (uint16_t)atoi(value);
	} else if (sscanf(key, "port_ost%4x", &ost) == 1 && ost < CLUSTER_OSTS_MAX) {
		c->daemons[ost + 1].port = (uint16_t)atoi(value);
	} else if (strcmp(key, "version") == 0) {
		return strcmp(value, "1") == 0 ? 0 : -1;
	} else {
		return -1;
	}
	return 0;
}

/* cluster.yaml is one flat mapping of scalars. */
static int yaml_take(struct cluster *c, yaml_document_t *doc, const char *path)
{
	yaml_node_t *root = yaml_document_get_root_node(doc);

	if (root == NULL || root->type != YAML_MAPPING_NODE) {
		return cli_fail("%s: expected keys and values", path);
	}
	for (yaml_node_pair_t *it = root->data.mapping.pairs.start;
		it < root->data.mapping.pairs.top; it++) {
		yaml_node_t *k = yaml_document_get_node(doc, it->key);
		yaml_node_t *v = yaml_document_get_node(doc, it->value);

		if (k->type != YAML_SCALAR_NODE || v->type != YAML_SCALAR_NODE ||
			value_take(c, (const char *)k->data.scalar.value,
				(const char *)v->data.scalar.value) != 0) {
			return cli_fail(
				"%s:%zu: unknown key or wrong value", path, k->start_mark.line + 1);
		}
	}
	if (c->fsname[0] == '\0' || c->osts == 0 || c->osts > CLUSTER_OSTS_MAX) {
		return cli_fail("%s: fsname or osts is missing", path);
	}
	return 0;
}

int cluster_load(struct cluster *c, bool quiet)
{
	char path[PATH_MAX];
	yaml_parser_t parser;
	yaml_document_t doc;
	size_t len = 0;
	char *text = cli_file_read(cluster_path(c, path, "cluster.yaml"), CLUSTER_YAML_MAX, &len);
	int err = 1;

	if (text == NULL) {
		int e = errno;

		if (e == ENOENT && !quiet) {
			cli_fail("%s: no file system was made here (nacre up makes one)", c->dir);
		} else if (e != ENOENT) {
			cli_fail("%s: %s", path, strerror(e));
		}
		errno = e;
		return 1;
	}
	if (!yaml_parser_initialize(&parser)) {
		free(text);
		return cli_fail("out of memory");
	}
	yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
	if (yaml_parser_load(&parser, &doc)) {
		err = yaml_take(c, &doc, path);
		yaml_document_delete(&doc);
	} else {
		cli_fail("%s: not valid YAML", path);
	}
	yaml_parser_delete(&parser);
	free(text);
	if (err != 0) {
		errno = EINVAL;
		return err;
	}
	daemons_name(c);
	for (unsigned i = 0; i < c->daemon_count; i++) {
		c->daemons[i].pid = cluster_daemon_pid(c, &c->daemons[i]);
	}
	return 0;
}

int cluster_save(const struct cluster *c)
{
	char path[PATH_MAX];
	char uuid[UUID_STR_MAX];
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	int err;

	if (f == NULL) {
		return cli_fail("out of memory");
	}
	fprintf(f,
		"# Made by `nacre up`; it keeps names, addresses and ports the same between "
		"starts.\n"
		"version: 1\nfsname: %s\ncluster_uuid: %s\nhost: \"%s\"\nmount: \"%s\"\nosts: %u\n"
		"ost_capacity_bytes: %" PRIu64 "\nmdt_capacity_bytes: %" PRIu64 "\nport_mds: %u\n",
		c->fsname, uuid_format(c->uuid, uuid, sizeof(uuid)), c->host, c->mount, c->osts,
		c->ost_capacity_bytes, c->mdt_capacity_bytes, c->daemons[0].port);
	for (unsigned i = 0; i < c->osts; i++) {
		fprintf(f, "port_ost%04x: %u\n", i, c->daemons[i + 1].port);
	}
	fclose(f);
	err = cli_file_write(cluster_path(c, path, "cluster.yaml"), text, len, 0644);
	free(text);
	return err == 0 ? 0 : cli_fail("%s: %s", path, strerror(-err));
}
