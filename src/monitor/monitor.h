/*
 * The monitor of a daemon: metrics, kept spans and the log's levels over HTTP. See README.md.
 */
#ifndef NACRE_MONITOR_MONITOR_H
#define NACRE_MONITOR_MONITOR_H

#include "base/base.h"
#include "base/limits.h"
#include "env/env.h"

struct metric_batch;
struct monitor;

#define MONITOR_PATH_MAX (LIM_PATH_MAX + 1)
/* Where the monitor listens. */
struct monitor_config {
	char socket[MONITOR_PATH_MAX]; /* "": none */
	char listen[LIM_ADDR_LEN_MAX + 1]; /* "tcp:127.0.0.1:9464"; "": none */
	char token_file[MONITOR_PATH_MAX]; /* needed with listen */
	bool open; /* listen may be another address than loopback */
};

struct monitor_options {
	struct env *env; /* of a reactor (src/env/posix) */
	const struct monitor_config *config;
	const char *daemon; /* "nacred", "nacre-fuse": a literal */
	const char *fsname; /* lives as long as the monitor */
	const char *(*fuse_op)(uint32_t op); /* names of FUSE operations; NULL: there are none */
	/* Copies what there is to tell; in a fiber of env, may yield. */
	void (*collect)(void *ctx, struct metric_batch *batch);
	void *ctx;
};

/* Starts to answer. Call from a fiber of env. ret_why (cap bytes) gets one line if it fails. */
_check_ int monitor_start(const struct monitor_options *options, char *ret_why, size_t cap,
	struct monitor **ret_monitor);
/* After it nothing calls collect any more. Accepts NULL. */
_yields_ void monitor_stop(struct monitor *monitor);
/* The TCP address bound, "" none. */
const char *monitor_addr(const struct monitor *monitor);

/* ---- addresses and paths ---- */

/* NULL, or what is wrong with it: "tcp:IP:PORT" with a numeric address, of loopback unless open. */
const char *monitor_listen_check(const char *addr, bool open);
/* The monitor's socket of a server that listens on "unix:DIR/NAME.sock": DIR/NAME.monitor. False: too long, or no
 * Unix address. */
bool monitor_path_of_server(const char *unix_addr, char ret_path[MONITOR_PATH_MAX]);
/* That of a server without a Unix address. */
void monitor_path_of_target(
	const char *fsname, const char *target, char ret_path[MONITOR_PATH_MAX]);
/* The directory for sockets of mounts of this user: /run/nacre, or below XDG_RUNTIME_DIR or /tmp. */
void monitor_run_dir(uint32_t uid, char ret_path[MONITOR_PATH_MAX]);
/* That of the mount at an absolute path, by this user's nacre-fuse. */
void monitor_path_of_mount(const char *mount_point, uint32_t uid, char ret_path[MONITOR_PATH_MAX]);
/* Makes the directory a default path lies in; refuses one that belongs to somebody else. */
_check_ int monitor_dir_make(const char *path);

/* ---- asking, for tools ---- */

/* One request to a monitor's socket, at most timeout_ms. *ret_text: the body, NUL-terminated; mem_free it.
 * *ret_status: HTTP's. Negative code: nobody answers. */
_check_ int monitor_request(const char *path, const char *method, const char *url,
	unsigned timeout_ms, int *ret_status, char **ret_text);

#endif
