/*
 * nacred's configuration file: YAML into struct node_config, strictly.
 *
 *	version: 1
 *	fsname: scratch
 *	cluster_uuid: 0b1c...
 *	listen: ["unix:/var/run/nacre/ost0000.sock", "tcp:[::1]:7990"]
 *	advertise: ["tcp:host.example:7990"]      # optional: what others are told
 *	mgs: ["unix:/var/run/nacre/mgs.sock", "tcp:[::1]:7988"]
 *	server_key: /etc/nacre/server.key
 *	targets:
 *	  - {name: OST0000, path: /data/ost0000, capacity_bytes: 0}
 *	log: {level: info, file: /var/log/nacre/ost0000.log, format: text}
 *	monitor: {socket: /run/nacre/ost0000.monitor, listen: "tcp:127.0.0.1:9464", token_file: /etc/nacre/token}
 *
 * Unknown or repeated keys, wrong types and values out of range are errors that name line and column.
 */
#ifndef NACRE_DAEMON_CONFIG_H
#define NACRE_DAEMON_CONFIG_H

#include "base/log.h"
#include "daemon/node.h"
#include "monitor/monitor.h"

/* Largest configuration file, bytes. */
#define CONFIG_BYTES_MAX (1 << 20)

struct config {
	struct node_config node;
	enum log_level log_level;
	char log_file[LIM_PATH_MAX + 1]; /* "": stderr */
	bool log_json;
	bool monitor_given; /* the key is there: a monitor that cannot start is an error */
	struct monitor_config monitor; /* socket "": where monitor.h says */
	bool monitor_no_socket;
};

/* Parses the text; `name` is for messages. On failure ret_why (cap bytes) gets one line
 * "FILE:LINE:COLUMN: what is wrong, what is expected". -NE_CONFIG, -NE_NOMEM. */
_check_ int config_parse(const char *name, const char *text, size_t len, struct config *ret_config,
	char *ret_why, size_t cap);

#endif
