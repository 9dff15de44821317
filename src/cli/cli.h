/*
 * What the verbs of `nacre` share: options, one-line errors, JSON, the layout of a cluster directory, and calls
 * to servers with an administrator's key.
 *
 * Exit codes: 0 done, 1 failed (one line on stderr says what, where, what to do), 2 wrong usage.
 */
#ifndef NACRE_CLI_CLI_H
#define NACRE_CLI_CLI_H

#include <jansson.h>
#include <limits.h>

#include "base/base.h"
#include "base/limits.h"
#include "base/uuid.h"
#include "rpc/rpc.h"

/* A verb: gets argv with its own name at [0]; returns the exit code. */
struct cli_verb {
	const char *name;
	const char *synopsis; /* one line for `nacre help` */
	int (*run)(int argc, char **argv);
};

int cli_up(int argc, char **argv);
int cli_down(int argc, char **argv);
int cli_status(int argc, char **argv);
int cli_format(int argc, char **argv);
int cli_pool(int argc, char **argv);
int cli_key(int argc, char **argv);
int cli_inspect(int argc, char **argv);
int cli_sync(int argc, char **argv);
int cli_umount_verb(int argc, char **argv);
int cli_top(int argc, char **argv);
int cli_trace(int argc, char **argv);
int cli_log_level(int argc, char **argv);

/* Prints "nacre: ..." and returns 1, so that verbs can `return cli_fail(...)`. */
int cli_fail(const char *fmt, ...) _printf_(1, 2);
/* Points to --help and returns 2. */
int cli_usage(const char *verb, const char *fmt, ...) _printf_(2, 3);
/* For what getopt_long(3) did not take: `opt` is '?' or ':'. Returns 2. */
int cli_usage_option(const char *verb, int opt, char **argv);
/* Prints and frees. Returns 0. */
int cli_json_print(json_t *j);
/* A size like 10G, 512M, 4096 (powers of 1024). False if it is none. */
bool cli_size_parse(const char *text, uint64_t *ret_bytes);
/* "12.3G" style, as lfs df -h. buf of at least 16 bytes. */
const char *cli_size_format(uint64_t bytes, char *buf, size_t cap);
/* Reads a whole small file; NUL-terminated; free() it. NULL and errno on failure. */
char *cli_file_read(const char *path, size_t max, size_t *ret_len);
/* Reads a server key file: RPC_KEY_BYTES. Prints on failure, returns an exit code. */
_check_ int cli_server_key_read(const char *path, uint8_t *key);
/* Writes a new file atomically (tmp, fsync, rename) with this mode. 0 or -errno. */
_check_ int cli_file_write(const char *path, const char *text, size_t len, unsigned mode);
/* Directory of the running program's binary, for finding its siblings. */
const char *cli_bin_dir(void);

/* ---- cluster directories: DIR/{cluster.yaml,keys,etc,data,run,log,mnt} ---- */

#define CLUSTER_OSTS_MAX 256

struct cluster_daemon {
	char name[16]; /* "mds", "ost0000" */
	uint16_t port; /* TCP */
	bool is_mds;
	unsigned ost; /* index */
	int pid; /* 0: not running */
};

struct cluster {
	char dir[PATH_MAX]; /* absolute */
	char fsname[LIM_FSNAME_MAX + 1];
	struct uuid uuid;
	char host[64]; /* address listened on: "127.0.0.1", "::1" */
	char mount[PATH_MAX]; /* mount point */
	unsigned osts;
	uint64_t ost_capacity_bytes;
	uint64_t mdt_capacity_bytes;
	unsigned daemon_count;
	struct cluster_daemon daemons[CLUSTER_OSTS_MAX + 1]; /* [0] is mds */
};

/* DIR as given, else $NACRE_DIR, else ~/.nacre; made absolute. 0 or an exit code. */
_check_ int cluster_dir_resolve(const char *given, char *buf, size_t cap);
/* The same for verbs that need one that exists: without DIR, NACRE_DIR and ~/.nacre, the only one whose servers
 * run on this host. */
_check_ int cluster_dir_find(const char *given, char *buf, size_t cap);
/* Loads DIR/cluster.yaml and looks which daemons run. 1 = not there (errno ENOENT) or not usable (said on
 * stderr unless quiet). */
_check_ int cluster_load(struct cluster *c, bool quiet);
/* Writes cluster.yaml. Prints on failure, returns an exit code. */
_check_ int cluster_save(const struct cluster *c);
/* PATH_MAX buffer; returns it. E.g. cluster_path(c, buf, "etc/%s.yaml", name). */
const char *cluster_path(const struct cluster *c, char *buf, const char *fmt, ...) _printf_(3, 4);
/* "127.0.0.1:7988" or "[::1]:7988" of a daemon. */
const char *cluster_hostport(const struct cluster *c, const struct cluster_daemon *d, char *buf);
/* Source of a mount: HOST:PORT:/FS. */
const char *cluster_source(const struct cluster *c, char *buf);
/* Process id of the daemon if it runs with its configuration, else 0. One that was killed and is not gone yet
 * is waited for: it holds its targets. */
int cluster_daemon_pid(const struct cluster *c, const struct cluster_daemon *d);

/* ---- mounts of this host ---- */

struct cli_mount {
	char source[PATH_MAX];
	char point[PATH_MAX];
	uint32_t uid; /* whose nacre-fuse serves it */
	bool dead; /* its daemon is gone */
};

/* Calls fn for each nacre mount (of this source, or all if NULL), newest first; non-zero stops and is returned. */
int cli_mounts_each(const char *source, int (*fn)(void *ctx, const struct cli_mount *m), void *ctx);
/* Unmounts, and waits until the daemon behind the mount has made everything durable and ended. With `detach` a mount in use
 * is taken away too, and nothing is waited for. 0 or an errno; ETIMEDOUT: unmounted, but the daemon has not ended. */
_check_ int cli_umount(const char *point, bool detach);

/* ---- calls to servers ---- */

struct cli_conn;

/* Runs fn in a fiber of a reactor made for it, with a client that has the key. Prints on failure to start;
 * returns fn's result, or 1. */
typedef int cli_conn_fn(struct cli_conn *conn, void *ctx);
int cli_conn_run(const char *key_path, const char *hostname, cli_conn_fn *fn, void *ctx);
struct env *cli_conn_env(struct cli_conn *conn);
/* How long a call may take, connecting included; 5 s at first. */
void cli_conn_limit_set(struct cli_conn *conn, uint64_t limit_ns);
/* One call to a target at the given addresses (NULL-terminated list), within that limit. The reply's views
 * live until rpc_call_fini(call). */
_yields_ _check_ int cli_conn_call(struct cli_conn *conn, const char *target, const char *fsname,
	const char *const *addrs, struct rpc_call *call);
/* Runs fn in a fiber of a fresh reactor without any connection. */
int cli_env_run(int (*fn)(struct env *env, void *ctx), void *ctx);

/* How a verb names its MGS: --dir, or --mgs and --key. */
struct cli_where {
	const char *dir;
	const char *mgs;
	const char *key;
	/* resolved */
	char key_path[PATH_MAX];
	char addr[4][LIM_ADDR_LEN_MAX + 1];
	const char *addrs[5];
	char fsname[LIM_FSNAME_MAX + 1];
};

/* Fills the resolved part; prints and returns an exit code on failure. */
_check_ int cli_where_resolve(struct cli_where *w);

#endif
