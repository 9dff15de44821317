/*
 * nacre up: a whole file system on this machine, in one directory.
 *
 *	DIR/{cluster.yaml, keys/, etc/NAME.yaml, data/{mgt,mdt0000,ost0000...}, run/, log/, mnt}
 *
 * Idempotent: what is missing is made, what is dead is started, a dead mount is detached, what runs is
 * left alone. One nacred serves MGS and MDT, one each OST; they start at the same time. Addresses and ports are
 * chosen once and kept.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include "base/crypto.h"
#include "cli/cli.h"
#include "daemon/super.h"

#define READY_MS_MAX 60000
#define DAEMON_ARGS_MAX 8
/* With less nothing can be made: a size without its unit, most likely. */
#define OST_CAPACITY_MIN (UINT64_C(1) << 20)
#define MDT_CAPACITY_MIN (UINT64_C(32) << 20)

struct up {
	struct cluster c;
	const char *fsname;
	const char *host;
	const char *mount;
	unsigned osts;
	uint64_t ost_capacity;
	uint64_t mdt_capacity;
	bool no_mount;
	bool json;
	bool made;
	struct timespec start;
};

static const char usage_text[] =
	"usage: nacre up [DIR] [OPTIONS]\n"
	"\n"
	"Starts the file system in DIR (default $NACRE_DIR or ~/.nacre) and mounts it; makes it "
	"first\n"
	"if there is none. May be repeated: it starts what is not running.\n"
	"\n"
	"  --osts N             OSTs of a new file system, or more than it has (default 4)\n"
	"  --fsname NAME        name of a new file system, up to 8 characters (default nacre)\n"
	"  --mount MNT          mount point (default DIR/mnt)\n"
	"  --no-mount           start the servers only\n"
	"  --listen ADDRESS     IPv4 or IPv6 address for TCP (default 127.0.0.1)\n"
	"  --ost-capacity SIZE  bytes each OST may use, e.g. 10G (default: what the disk has)\n"
	"  --mdt-capacity SIZE  bytes the MDT may use\n"
	"  --json               print facts as JSON\n";

static int dir_make(const char *path, unsigned mode)
{
	if (mkdir(path, mode) != 0 && errno != EEXIST) {
		return cli_fail("%s: %s", path, strerror(errno));
	}
	return 0;
}

static int dirs_make(struct cluster *c)
{
	static const char *const subs[] = {"keys", "etc", "data", "run", "log"};
	char path[PATH_MAX];
	int err = dir_make(c->dir, 0755);

	for (unsigned i = 0; i < ARRAY_SIZE(subs) && err == 0; i++) {
		err = dir_make(cluster_path(c, path, "%s", subs[i]), i == 0 ? 0700 : 0755);
	}
	return err;
}

/* ---- keys ---- */

static int key_write(struct cluster *c, const char *name, const char *text)
{
	char path[PATH_MAX];
	int err = cli_file_write(cluster_path(c, path, "keys/%s", name), text, strlen(text), 0600);

	return err == 0 ? 0 : cli_fail("%s: %s", path, strerror(-err));
}

static int client_key_make(
	struct cluster *c, const char *name, const uint8_t *server_key, uint32_t id, int role)
{
	static char text[RPC_KEY_TEXT_MAX];
	static struct rpc_key key;
	int err;

	memset(&key, 0, sizeof(key));
	key.key_id = id;
	key.role = (enum rpc_role)role;
	key.allow_root = true;
	key.cluster = c->uuid;
	snprintf(key.fsname, sizeof(key.fsname), "%s", c->fsname);
	err = rpc_key_derive(&key, server_key);
	if (err == 0) {
		err = rpc_key_format(&key, text, sizeof(text));
	}
	explicit_bzero(&key, sizeof(key));
	if (err != 0) {
		return cli_fail("cannot make key %s: %s", name, ne_text(err));
	}
	err = key_write(c, name, text);
	explicit_bzero(text, sizeof(text));
	return err;
}

/* A key that is there stays: clients may hold keys made from it. */
static int server_key_get(struct cluster *c, uint8_t *server_key)
{
	char path[PATH_MAX];
	char text[256];
	int err;

	if (access(cluster_path(c, path, "keys/server.key"), F_OK) == 0) {
		return cli_server_key_read(path, server_key);
	}
	err = crypto_random(server_key, RPC_KEY_BYTES);

	if (err == 0) {
		err = rpc_server_key_format(server_key, text, sizeof(text));
	}
	if (err != 0) {
		return cli_fail("cannot make the server key: %s", ne_text(err));
	}
	err = key_write(c, "server.key", text);
	explicit_bzero(text, sizeof(text));
	return err;
}

static int keys_make(struct cluster *c)
{
	uint8_t server_key[RPC_KEY_BYTES];
	int err = server_key_get(c, server_key);

	if (err == 0) {
		err = client_key_make(c, "client.key", server_key, 1, RPC_ROLE_HOST);
	}
	if (err == 0) {
		err = client_key_make(c, "admin.key", server_key, 2, RPC_ROLE_ADMIN);
	}
	explicit_bzero(server_key, sizeof(server_key));
	return err;
}

/* ---- ports and configurations ---- */

static int port_free(const char *host, uint16_t *ret_port)
{
	struct sockaddr_in v4 = {.sin_family = AF_INET};
	struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
	bool is6 = strchr(host, ':') != NULL;
	struct sockaddr *sa = is6 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4;
	socklen_t len = is6 ? sizeof(v6) : sizeof(v4);
	int fd;

	if (inet_pton(sa->sa_family, host, is6 ? (void *)&v6.sin6_addr : (void *)&v4.sin_addr) !=
		1) {
		return cli_fail("%s is not an IPv4 or IPv6 address", host);
	}
	fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, sa, len) != 0 || getsockname(fd, sa, &len) != 0) {
		int e = errno;

		if (fd >= 0) {
			close(fd);
		}
		return cli_fail("cannot listen on %s: %s", host, strerror(e));
	}
	close(fd);
	*ret_port = ntohs(is6 ? v6.sin6_port : v4.sin_port);
	return 0;
}

/* Two calls may get the same number once the first socket is closed. */
static bool port_taken(const struct cluster *c, uint16_t port)
{
	for (unsigned i = 0; i < c->daemon_count; i++) {
		if (c->daemons[i].port == port) {
			return true;
		}
	}
	return false;
}

static int ports_choose(struct cluster *c)
{
	for (unsigned i = 0; i < c->daemon_count; i++) {
		uint16_t port = 0;

		while (c->daemons[i].port == 0) {
			if (port_free(c->host, &port) != 0) {
				return 1;
			}
			if (!port_taken(c, port)) {
				c->daemons[i].port = port;
			}
		}
	}
	return 0;
}

static int config_write(struct cluster *c, struct cluster_daemon *d)
{
	char path[PATH_MAX];
	char hp[128];
	char uuid[UUID_STR_MAX];
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);
	int err;

	if (f == NULL) {
		return cli_fail("out of memory");
	}
	fprintf(f, "version: 1\nfsname: %s\ncluster_uuid: %s\n", c->fsname,
		uuid_format(c->uuid, uuid, sizeof(uuid)));
	fprintf(f, "listen: [\"unix:%s/run/%s.sock\", \"tcp:%s\"]\n", c->dir, d->name,
		cluster_hostport(c, d, hp));
	fprintf(f, "mgs: [\"unix:%s/run/mds.sock\", \"tcp:%s\"]\n", c->dir,
		cluster_hostport(c, &c->daemons[0], hp));
	fprintf(f, "server_key: \"%s/keys/server.key\"\ntargets:\n", c->dir);
	if (d->is_mds) {
		fprintf(f, "  - {name: MGT0000, path: \"%s/data/mgt\"}\n", c->dir);
		fprintf(f,
			"  - {name: MDT0000, path: \"%s/data/mdt0000\", capacity_bytes: %" PRIu64
			"}\n",
			c->dir, c->mdt_capacity_bytes);
	} else {
		fprintf(f,
			"  - {name: OST%04x, path: \"%s/data/ost%04x\", capacity_bytes: %" PRIu64
			"}\n",
			d->ost, c->dir, d->ost, c->ost_capacity_bytes);
	}
	fprintf(f, "log: {level: info, file: \"%s/log/%s.log\"}\n", c->dir, d->name);
	fclose(f);
	err = cli_file_write(cluster_path(c, path, "etc/%s.yaml", d->name), text, len, 0644);
	free(text);
	return err == 0 ? 0 : cli_fail("%s: %s", path, strerror(-err));
}

/* ---- targets ---- */

struct format_ctx {
	struct cluster *c;
};

/* An `up` that was interrupted before its end left targets without a cluster.yaml: they, and their identity, are gone on with. */
static int identity_take(struct env *env, void *ctx)
{
	struct cluster *c = ((struct format_ctx *)ctx)->c;
	char path[PATH_MAX];
	struct super s;
	int err = super_read(env, cluster_path(c, path, "data/mgt"), &s);

	if (err == -NE_NOTFORMATTED) {
		return 0;
	}
	if (err != 0) {
		return cli_fail("%s: %s", path, ne_text(err));
	}
	if (strcmp(s.fsname, c->fsname) != 0) {
		return cli_fail("%s belongs to file system %s, not %s", path, s.fsname, c->fsname);
	}
	c->uuid = s.cluster;
	return 0;
}

static int target_format(struct env *env, struct cluster *c, enum w_target_kind kind,
	uint16_t index, const char *path)
{
	struct super s = {.cluster = c->uuid,
		.kind = kind,
		.index = index,
		.formatted_ns = env_realtime(env)};
	uint8_t random[16];
	int err;

	snprintf(s.fsname, sizeof(s.fsname), "%s", c->fsname);
	env_random_bytes(env, random, sizeof(random));
	s.uuid = uuid_from_random(random);
	err = super_format(env, path, &s);
	/* Formatted by an earlier, interrupted `up`: nacred looks whether it is ours. */
	if (err != 0 && err != -NE_EXIST) {
		return cli_fail("%s: cannot be made a target: %s", path, ne_text(err));
	}
	return 0;
}

static int targets_format(struct env *env, void *ctx)
{
	struct cluster *c = ((struct format_ctx *)ctx)->c;
	char path[PATH_MAX];
	int err = target_format(env, c, W_TARGET_KIND_MGT, 0, cluster_path(c, path, "data/mgt"));

	if (err == 0) {
		err = target_format(
			env, c, W_TARGET_KIND_MDT, 0, cluster_path(c, path, "data/mdt0000"));
	}
	for (unsigned i = 0; i < c->osts && err == 0; i++) {
		err = target_format(env, c, W_TARGET_KIND_OST, (uint16_t)i,
			cluster_path(c, path, "data/ost%04x", i));
	}
	return err;
}

/* ---- make ---- */

static int cluster_make(struct up *u)
{
	struct cluster *c = &u->c;
	struct format_ctx ctx = {.c = c};
	uint8_t random[16];
	int err;

	for (const char *s = u->fsname; *s != '\0'; s++) {
		if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_",
			    *s) == NULL) {
			return cli_fail("--fsname %s: letters, digits, - and _ only", u->fsname);
		}
	}
	if (crypto_random(random, sizeof(random)) != 0) {
		return cli_fail("no random numbers");
	}
	c->uuid = uuid_from_random(random);
	snprintf(c->fsname, sizeof(c->fsname), "%s", u->fsname);
	snprintf(c->host, sizeof(c->host), "%s", u->host);
	c->osts = u->osts;
	c->ost_capacity_bytes = u->ost_capacity;
	c->mdt_capacity_bytes = u->mdt_capacity;
	c->daemon_count = c->osts + 1;
	if (u->mount == NULL) {
		snprintf(c->mount, sizeof(c->mount), "%.*s/mnt", PATH_MAX - 8, c->dir);
	}
	/* First what may be refused, then what leaves something behind. */
	err = ports_choose(c);
	if (err == 0) {
		err = dirs_make(c);
	}
	if (err == 0) {
		err = cli_env_run(identity_take, &ctx);
	}
	if (err == 0) {
		err = keys_make(c);
	}
	if (err == 0) {
		err = cli_env_run(targets_format, &ctx);
	}
	/* Last: its presence says that everything before was done. */
	return err != 0 ? err : cluster_save(c);
}

static int cluster_grow(struct up *u)
{
	struct cluster *c = &u->c;
	struct format_ctx ctx = {.c = c};
	int err;

	c->osts = u->osts;
	c->daemon_count = c->osts + 1;
	for (unsigned i = 1; i < c->daemon_count; i++) {
		c->daemons[i].ost = i - 1;
		snprintf(c->daemons[i].name, sizeof(c->daemons[i].name), "ost%04x",
			(i - 1) & 0xffff);
	}
	err = cli_env_run(targets_format, &ctx);
	if (err == 0) {
		err = ports_choose(c);
	}
	return err != 0 ? err : cluster_save(c);
}

/* A file system that keeps its data in itself, or in another of its kind, cannot work. */
static int place_check(const struct cluster *c)
{
	char path[PATH_MAX];
	char fid[256];
	char *slash;

	snprintf(path, sizeof(path), "%s", c->dir);
	while (getxattr(path, "nacre.fid", fid, sizeof(fid)) < 0) {
		slash = strrchr(path, '/');
		if (errno != ENOENT || slash == NULL || slash == path) {
			return 0;
		}
		*slash = '\0';
	}
	return cli_fail(
		"%s is on a Nacre mount: servers keep their data on local file systems", c->dir);
}

static int cluster_prepare(struct up *u)
{
	struct cluster *c = &u->c;
	int err = 0;

	if (cluster_load(c, true) != 0) {
		if (errno != ENOENT) {
			return 1;
		}
		if (place_check(c) != 0) {
			return 1;
		}
		u->made = true;
		u->osts = u->osts == 0 ? 4 : u->osts;
		err = cluster_make(u);
		return err != 0 ? err : cluster_load(c, false);
	}
	if (strcmp(u->fsname, c->fsname) != 0 && strcmp(u->fsname, "nacre") != 0) {
		return cli_fail("%s holds file system %s, not %s", c->dir, c->fsname, u->fsname);
	}
	if (u->osts > c->osts) {
		err = cluster_grow(u);
	} else if (u->osts != 0 && u->osts < c->osts) {
		return cli_fail("%s has %u OSTs: OSTs cannot be taken away", c->dir, c->osts);
	}
	return err;
}

/* ---- processes ---- */

static void child_exec(struct cluster *c, struct cluster_daemon *d, int ready_fd)
{
	char nacred[PATH_MAX + 16];
	char config[PATH_MAX];
	char log[PATH_MAX];
	char fd_text[16];
	int null_fd = open("/dev/null", O_RDWR);
	int log_fd = open(cluster_path(c, log, "log/%s.log", d->name),
		O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

	setsid();
	snprintf(nacred, sizeof(nacred), "%s/nacred", cli_bin_dir());
	snprintf(fd_text, sizeof(fd_text), "%d", ready_fd);
	cluster_path(c, config, "etc/%s.yaml", d->name);
	dup2(null_fd, 0);
	dup2(null_fd, 1);
	dup2(log_fd, 2);
	execl(nacred, "nacred", "--config", config, "--ready-fd", fd_text, (char *)NULL);
	dprintf(2, "nacre: %s: %s\n", nacred, strerror(errno));
	_exit(127);
}

static int daemon_start(struct cluster *c, struct cluster_daemon *d, int *ret_fd)
{
	char path[PATH_MAX];
	char text[32];
	int fds[2];
	pid_t pid;
	int err;

	if (pipe2(fds, O_CLOEXEC) != 0) {
		return cli_fail("pipe: %s", strerror(errno));
	}
	pid = fork();
	if (pid < 0) {
		close(fds[0]);
		close(fds[1]);
		return cli_fail("fork: %s", strerror(errno));
	}
	if (pid == 0) {
		fcntl(fds[1], F_SETFD, 0);
		child_exec(c, d, fds[1]);
	}
	close(fds[1]);
	d->pid = pid;
	snprintf(text, sizeof(text), "%d\n", pid);
	err = cli_file_write(
		cluster_path(c, path, "run/%s.pid", d->name), text, strlen(text), 0644);
	if (err != 0) {
		kill(pid, SIGTERM);
		close(fds[0]);
		return cli_fail("%s: %s", path, strerror(-err));
	}
	*ret_fd = fds[0];
	return 0;
}

/* What a line of a log says, without its time, level and module. */
static const char *log_message(const char *line)
{
	const char *at = line;

	if (strlen(line) < 20 || line[4] != '-' || line[10] != 'T') {
		return line;
	}
	for (unsigned i = 0; i < 3 && at != NULL; i++) {
		at = strchr(at, ' ');
		at = at == NULL ? NULL : at + 1;
	}
	return at == NULL ? line : at;
}

static void log_tail(struct cluster *c, const struct cluster_daemon *d)
{
	char path[PATH_MAX];
	char *text;
	size_t len = 0;
	const char *last;

	text = cli_file_read(cluster_path(c, path, "log/%s.log", d->name), 64 << 20, &len);
	if (text == NULL) {
		return;
	}
	while (len > 0 && text[len - 1] == '\n') {
		text[--len] = '\0';
	}
	last = strrchr(text, '\n');
	cli_fail("%s did not start: %s (log: %s)", d->name,
		log_message(last == NULL ? text : last + 1), path);
	free(text);
}

/* Waits for "ready" or the end of the process. */
static int daemon_wait(struct cluster *c, struct cluster_daemon *d, int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char buf[16];
	int n = poll(&p, 1, READY_MS_MAX);
	ssize_t got = n > 0 ? read(fd, buf, sizeof(buf)) : -1;

	close(fd);
	if (got > 0) {
		return 0;
	}
	if (n == 0) {
		return cli_fail("%s is not ready after %d s", d->name, READY_MS_MAX / 1000);
	}
	waitpid(d->pid, NULL, WNOHANG);
	d->pid = 0;
	log_tail(c, d);
	return 1;
}

static int daemons_start(struct up *u)
{
	struct cluster *c = &u->c;
	int fds[CLUSTER_OSTS_MAX + 1];
	int err = 0;

	for (unsigned i = 0; i < c->daemon_count; i++) {
		fds[i] = -1;
		if (c->daemons[i].pid != 0 || err != 0) {
			continue;
		}
		err = config_write(c, &c->daemons[i]);
		if (err == 0) {
			err = daemon_start(c, &c->daemons[i], &fds[i]);
		}
	}
	for (unsigned i = 0; i < c->daemon_count; i++) {
		if (fds[i] >= 0 && daemon_wait(c, &c->daemons[i], fds[i]) != 0) {
			err = 1;
		}
	}
	return err;
}

/* ---- mount ---- */

struct mount_look {
	const char *point;
	bool live;
};

static int mount_look(void *ctx, const struct cli_mount *m)
{
	struct mount_look *l = ctx;
	int err;

	if (strcmp(m->point, l->point) != 0) {
		return 0;
	}
	if (!m->dead) {
		l->live = true;
		return 0;
	}
	err = cli_umount(m->point, true);
	return err == 0
		? 0
		: cli_fail("%s: dead mount cannot be detached: %s", m->point, strerror(err));
}

static int mount_run(struct cluster *c)
{
	char helper[PATH_MAX + 16];
	char source[PATH_MAX];
	char opts[PATH_MAX + 8];
	char key[PATH_MAX];
	int status = 0;
	pid_t pid;

	snprintf(helper, sizeof(helper), "%s/mount.nacre", cli_bin_dir());
	cluster_source(c, source);
	snprintf(opts, sizeof(opts), "key=%s", cluster_path(c, key, "keys/client.key"));
	pid = fork();
	if (pid < 0) {
		return cli_fail("fork: %s", strerror(errno));
	}
	if (pid == 0) {
		execl(helper, "mount.nacre", source, c->mount, "-o", opts, (char *)NULL);
		dprintf(2, "nacre: %s: %s\n", helper, strerror(errno));
		_exit(127);
	}
	if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		return cli_fail("%s is served but could not be mounted on %s", source, c->mount);
	}
	return 0;
}

static int mount_ensure(struct up *u)
{
	struct cluster *c = &u->c;
	struct mount_look look = {.point = c->mount};
	int err;

	if (u->no_mount) {
		return 0;
	}
	err = cli_mounts_each(NULL, mount_look, &look);
	if (err != 0 || look.live) {
		return err;
	}
	err = dir_make(c->mount, 0755);
	return err != 0 ? err : mount_run(c);
}

/* ---- report ---- */

static void mount_line(const struct cluster *c, char *buf, size_t cap, bool with_helper)
{
	char source[PATH_MAX];
	char key[PATH_MAX];
	char helper[PATH_MAX + 16];

	snprintf(helper, sizeof(helper), "%s/mount.nacre", cli_bin_dir());
	cluster_source(c, source);
	cluster_path(c, key, "keys/client.key");
	if (with_helper) {
		snprintf(buf, cap, "%s %s %s -o key=%s", helper, source, c->mount, key);
	} else {
		snprintf(buf, cap, "mount -t nacre -o key=%s %s %s", key, source, c->mount);
	}
}

static double seconds_since(const struct timespec *start)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - start->tv_sec) + (double)(now.tv_nsec - start->tv_nsec) / 1e9;
}

static int report_json(struct up *u, const char *line)
{
	struct cluster *c = &u->c;
	char source[PATH_MAX];
	json_t *list = json_array();
	json_t *j;

	for (unsigned i = 0; i < c->daemon_count; i++) {
		char hp[128];

		json_array_append_new(list,
			json_pack("{s:s, s:i, s:s}", "name", c->daemons[i].name, "pid",
				c->daemons[i].pid, "address",
				cluster_hostport(c, &c->daemons[i], hp)));
	}
	j = json_pack("{s:s, s:s, s:b, s:s, s:s, s:b, s:s, s:o, s:f}", "dir", c->dir, "fsname",
		c->fsname, "made", u->made, "source", cluster_source(c, source), "mount_point",
		c->mount, "mounted", !u->no_mount, "mount_command", line, "daemons", list,
		"seconds", seconds_since(&u->start));
	return j == NULL ? cli_fail("out of memory") : cli_json_print(j);
}

static int report(struct up *u)
{
	static char line[4 * PATH_MAX];
	struct cluster *c = &u->c;
	bool installed = access("/sbin/mount.nacre", X_OK) == 0;

	mount_line(c, line, sizeof(line), false);
	if (u->json) {
		return report_json(u, line);
	}
	printf("file system %s: 1 MDT and %u OST%s in %s, %s in %.2f s\n", c->fsname, c->osts,
		c->osts == 1 ? "" : "s", c->dir, u->made ? "made" : "up", seconds_since(&u->start));
	if (!u->no_mount) {
		printf("mounted on %s; stop with: nacre down %s\n", c->mount, c->dir);
	}
	printf("to mount it%s:\n%s\n", u->no_mount ? "" : " elsewhere", line);
	if (!installed) {
		mount_line(c, line, sizeof(line), true);
		printf("(not installed: %s)\n", line);
	}
	return 0;
}

/* ---- options ---- */

enum {
	OPT_OSTS = 256,
	OPT_FSNAME,
	OPT_MOUNT,
	OPT_NO_MOUNT,
	OPT_LISTEN,
	OPT_OST_CAPACITY,
	OPT_MDT_CAPACITY,
	OPT_JSON,
	OPT_DIR,
};

static const struct option options[] = {
	{"osts", required_argument, NULL, OPT_OSTS},
	{"fsname", required_argument, NULL, OPT_FSNAME},
	{"mount", required_argument, NULL, OPT_MOUNT},
	{"no-mount", no_argument, NULL, OPT_NO_MOUNT},
	{"listen", required_argument, NULL, OPT_LISTEN},
	{"ost-capacity", required_argument, NULL, OPT_OST_CAPACITY},
	{"mdt-capacity", required_argument, NULL, OPT_MDT_CAPACITY},
	{"json", no_argument, NULL, OPT_JSON},
	{"dir", required_argument, NULL, OPT_DIR},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static int osts_parse(struct up *u, const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (*end != '\0' || n < 1 || n > CLUSTER_OSTS_MAX) {
		return cli_usage("up", "--osts %s: 1 to %d", text, CLUSTER_OSTS_MAX);
	}
	u->osts = (unsigned)n;
	return 0;
}

static int capacity_parse(const char *name, uint64_t min, uint64_t *ret_bytes)
{
	char text[16];

	if (!cli_size_parse(optarg, ret_bytes)) {
		return cli_usage("up", "%s %s is no size like 10G", name, optarg);
	}
	if (*ret_bytes < min) {
		return cli_usage("up", "%s %s: at least %s", name, optarg,
			cli_size_format(min, text, sizeof(text)));
	}
	return 0;
}

static int option_take(struct up *u, int opt, char **argv, const char **dir)
{
	switch (opt) {
	case OPT_OSTS:
		return osts_parse(u, optarg);
	case OPT_FSNAME:
		u->fsname = optarg;
		return strlen(optarg) >= 1 && strlen(optarg) <= LIM_FSNAME_MAX
			? 0
			: cli_usage(
				  "up", "--fsname %s: 1 to %d characters", optarg, LIM_FSNAME_MAX);
	case OPT_MOUNT:
		u->mount = optarg;
		return 0;
	case OPT_NO_MOUNT:
		u->no_mount = true;
		return 0;
	case OPT_LISTEN:
		u->host = optarg;
		return 0;
	case OPT_OST_CAPACITY:
		return capacity_parse("--ost-capacity", OST_CAPACITY_MIN, &u->ost_capacity);
	case OPT_MDT_CAPACITY:
		return capacity_parse("--mdt-capacity", MDT_CAPACITY_MIN, &u->mdt_capacity);
	case OPT_JSON:
		u->json = true;
		return 0;
	case OPT_DIR:
		*dir = optarg;
		return 0;
	default:
		return cli_usage_option("up", opt, argv);
	}
}

static int up_run(struct up *u, const char *dir)
{
	int err = cluster_dir_resolve(dir, u->c.dir, sizeof(u->c.dir));

	if (err == 0 && u->mount != NULL) {
		err = cluster_dir_resolve(u->mount, u->c.mount, sizeof(u->c.mount));
	}
	if (err == 0) {
		char wanted[PATH_MAX];

		snprintf(wanted, sizeof(wanted), "%s", u->c.mount);
		err = cluster_prepare(u);
		if (err == 0 && u->mount != NULL && strcmp(wanted, u->c.mount) != 0) {
			snprintf(u->c.mount, sizeof(u->c.mount), "%s", wanted);
			err = cluster_save(&u->c);
		}
	}
	if (err == 0) {
		err = daemons_start(u);
	}
	if (err == 0) {
		err = mount_ensure(u);
	}
	return err != 0 ? err : report(u);
}

int cli_up(int argc, char **argv)
{
	static struct up u = {.fsname = "nacre", .host = "127.0.0.1"};
	const char *dir = NULL;
	int opt;

	clock_gettime(CLOCK_MONOTONIC, &u.start);
	while ((opt = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (opt == 'h') {
			fputs(usage_text, stdout);
			return 0;
		}

		int err = option_take(&u, opt, argv, &dir);

		if (err != 0) {
			return err;
		}
	}
	if (optind < argc && dir == NULL) {
		dir = argv[optind++];
	}
	if (optind < argc) {
		return cli_usage("up", "too many arguments");
	}
	return up_run(&u, dir);
}
