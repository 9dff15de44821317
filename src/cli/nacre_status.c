/*
 * nacre status: what runs, where, how full, who uses it. Asks every target of the map.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "mgs/mgs.h"
#include "wire/gen/wire.h"

struct status {
	struct cli_where where;
	struct cluster cluster;
	bool have_cluster;
	bool json;
	json_t *targets;
	json_t *clients;
	json_t *daemons;
	json_t *mounts;
	unsigned down;
	uint32_t map_version;
};

static const char usage_text[] =
	"usage: nacre status [DIR] [OPTIONS]\n"
	"\n"
	"Shows targets, process ids, addresses, space and clients of a file system.\n"
	"\n"
	"  --mgs ADDR   HOST:PORT of the MGS instead of a directory, with\n"
	"  --key FILE   an administrator's key\n"
	"  --json       print facts as JSON\n"
	"\n"
	"Exit code 1 when a target does not answer.\n";

static json_t *str_json(struct wire_str s)
{
	return json_stringn(s.len == 0 ? "" : s.ptr, s.len);
}

/* Targets asked at the same time. */
#define ASKING_MAX 64
/* A target that takes longer is down for whoever looks. */
#define ANSWER_NS_MAX (2 * NS_PER_S)

/* One target's question, a fiber. */
struct asking {
	struct cli_conn *conn;
	struct w_target t; /* its texts are in the MGS's answer */
	json_t *j;
	json_t *clients;
	unsigned *left; /* fibers that still run */
	struct env_waitq *ended;
};

static void clients_take(json_t *clients, const struct w_target_status_rep *rep)
{
	struct wire_iter it = w_client_info_iter(&rep->clients.view);
	struct w_client_info c;
	char uuid[UUID_STR_MAX];

	while (w_client_info_next(&it, &c)) {
		json_t *j = json_object();

		/* Servers talk to each other too. */
		if (c.role == W_PEER_ROLE_SERVER || c.role == W_PEER_ROLE_ADMIN) {
			json_decref(j);
			continue;
		}
		json_object_set_new(
			j, "uuid", json_string(uuid_format(c.client, uuid, sizeof(uuid))));
		json_object_set_new(j, "target", str_json(rep->target.name));
		json_object_set_new(j, "host", str_json(c.hostname));
		json_object_set_new(j, "pid", json_integer(c.pid));
		json_object_set_new(j, "address", str_json(c.addr));
		json_object_set_new(j, "opens", json_integer((json_int_t)c.opens));
		json_object_set_new(j, "idle_ms", json_integer((json_int_t)c.idle_ms));
		json_array_append_new(clients, j);
	}
}

static void answer_take(json_t *j, const struct w_target_status_rep *rep)
{
	struct wire_iter it = w_counter_iter(&rep->counters.view);
	json_t *counters = json_object();
	struct w_counter c;
	char name[80];

	json_object_set_new(j, "uptime_ms", json_integer((json_int_t)rep->uptime_ms));
	json_object_set_new(j, "bytes_total", json_integer((json_int_t)rep->bytes_total));
	json_object_set_new(j, "bytes_free", json_integer((json_int_t)rep->bytes_free));
	json_object_set_new(j, "bytes_avail", json_integer((json_int_t)rep->bytes_avail));
	json_object_set_new(j, "files_total", json_integer((json_int_t)rep->files_total));
	json_object_set_new(j, "files_used", json_integer((json_int_t)rep->files_used));
	json_object_set_new(j, "last_committed", json_integer((json_int_t)rep->last_committed));
	while (w_counter_next(&it, &c)) {
		if (wire_str_copy(c.name, name, sizeof(name)) == 0) {
			json_object_set_new(counters, name, json_integer((json_int_t)c.value));
		}
	}
	json_object_set_new(j, "counters", counters);
}

static void target_ask(void *arg)
{
	struct asking *a = arg;
	const struct w_target *t = &a->t;
	char addr[4][LIM_ADDR_LEN_MAX + 1];
	const struct wire_str from[4] = {t->addr0, t->addr1, t->addr2, t->addr3};
	const char *addrs[5] = {NULL};
	char name[LIM_TARGET_NAME_MAX + 1];
	struct w_target_status_req req = {.target = t->name, .clients = true, .counters = true};
	struct w_target_status_rep rep;
	struct rpc_call call = {.op = W_OP_TARGET_STATUS, .request = &req, .reply = &rep};
	unsigned n = 0;
	int err;

	for (unsigned i = 0; i < 4; i++) {
		if (from[i].len > 0 && wire_str_copy(from[i], addr[n], sizeof(addr[n])) == 0) {
			addrs[n] = addr[n];
			n++;
		}
	}
	err = wire_str_copy(t->name, name, sizeof(name));
	if (err == 0) {
		err = cli_conn_call(a->conn, name, "", addrs, &call);
	}
	json_object_set_new(a->j, "state", json_string(err == 0 ? "up" : "down"));
	if (err == 0) {
		answer_take(a->j, &rep);
		clients_take(a->clients, &rep);
	} else {
		json_object_set_new(a->j, "error", json_string(ne_text(err)));
	}
	rpc_call_fini(&call);
	(*a->left)--;
	env_wake_all(cli_conn_env(a->conn), a->ended);
}

static void addresses_take(json_t *j, const struct w_target *t)
{
	const struct wire_str from[4] = {t->addr0, t->addr1, t->addr2, t->addr3};
	json_t *list = json_array();

	for (unsigned i = 0; i < 4; i++) {
		if (from[i].len > 0) {
			json_array_append_new(list, str_json(from[i]));
		}
	}
	json_object_set_new(j, "addresses", list);
}

static json_t *target_new(const struct w_target *t)
{
	json_t *j = json_object();

	json_object_set_new(j, "name", str_json(t->name));
	json_object_set_new(j, "pid", json_integer(t->pid));
	json_object_set_new(j, "epoch", json_integer(t->epoch));
	addresses_take(j, t);
	return j;
}

/* What the fibers found, in the order of the map. */
static void answers_take(struct status *st, struct asking *asked, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		st->down += json_object_get(asked[i].j, "error") != NULL;
		json_array_append_new(st->targets, asked[i].j);
		json_array_extend(st->clients, asked[i].clients);
		json_decref(asked[i].clients);
	}
}

static void targets_ask(struct cli_conn *conn, struct status *st, struct wire_iter *it)
{
	static struct asking asked[ASKING_MAX];
	struct env *env = cli_conn_env(conn);
	struct env_waitq ended;
	struct w_target t;
	unsigned count = ASKING_MAX;

	env_waitq_init(&ended);
	while (count == ASKING_MAX) {
		unsigned left = 0;

		for (count = 0; count < ASKING_MAX && w_target_next(it, &t); count++) {
			asked[count] = (struct asking){.conn = conn,
				.t = t,
				.j = target_new(&t),
				.clients = json_array(),
				.left = &left,
				.ended = &ended};
			left++;
			if (env_spawn(env, "status", target_ask, &asked[count]) != 0) {
				target_ask(&asked[count]);
			}
		}
		while (left > 0) {
			(void)env_wait(env, &ended, ENV_FOREVER, ENV_WAIT_PLAIN);
		}
		answers_take(st, asked, count);
	}
}

static int ask_run(struct cli_conn *conn, void *ctx)
{
	struct status *st = ctx;
	struct w_mgs_map_req req = {0};
	struct w_mgs_map_rep rep;
	struct rpc_call call = {.op = W_OP_MGS_MAP, .request = &req, .reply = &rep};
	struct wire_iter it;
	int err = cli_conn_call(conn, MGS_TARGET, "", st->where.addrs, &call);

	if (err != 0) {
		rpc_call_fini(&call);
		return cli_fail("MGS %s: %s", st->where.addrs[0], ne_text(err));
	}
	if (wire_str_copy(rep.fsname, st->where.fsname, sizeof(st->where.fsname)) != 0) {
		st->where.fsname[0] = '\0';
	}
	st->map_version = rep.version;
	it = w_target_iter(&rep.targets.view);
	cli_conn_limit_set(conn, ANSWER_NS_MAX);
	targets_ask(conn, st, &it);
	rpc_call_fini(&call);
	return 0;
}

static int mount_take(void *ctx, const struct cli_mount *m)
{
	struct status *st = ctx;

	json_array_append_new(st->mounts,
		json_pack("{s:s, s:s, s:b}", "source", m->source, "mount_point", m->point, "dead",
			m->dead));
	return 0;
}

static void local_take(struct status *st)
{
	char source[PATH_MAX];

	for (unsigned i = 0; st->have_cluster && i < st->cluster.daemon_count; i++) {
		const struct cluster_daemon *d = &st->cluster.daemons[i];

		json_array_append_new(st->daemons,
			json_pack("{s:s, s:i, s:b}", "name", d->name, "pid", d->pid, "running",
				d->pid != 0));
	}
	/* Nothing is asked on a failure: mounts are an extra. */
	(void)!cli_mounts_each(
		st->have_cluster ? cluster_source(&st->cluster, source) : NULL, mount_take, st);
}

static int64_t num(const json_t *j, const char *key)
{
	return json_integer_value(json_object_get(j, key));
}

static const char *text(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s == NULL ? "-" : s;
}

static void targets_print(const struct status *st)
{
	size_t i;
	json_t *t;

	printf("%-8s %-5s %8s %9s %9s %9s %8s  %s\n", "target", "state", "pid", "size", "used",
		"avail", "files", "address");
	json_array_foreach(st->targets, i, t)
	{
		char a[32] = "-";
		char b[32] = "-";
		char c[32] = "-";
		json_t *addrs = json_object_get(t, "addresses");
		int64_t total = num(t, "bytes_total");

		if (total > 0) {
			cli_size_format((uint64_t)total, a, sizeof(a));
			cli_size_format((uint64_t)(total - num(t, "bytes_free")), b, sizeof(b));
			cli_size_format((uint64_t)num(t, "bytes_avail"), c, sizeof(c));
		}
		printf("%-8s %-5s %8" PRId64 " %9s %9s %9s %8" PRId64 "  %s\n", text(t, "name"),
			text(t, "state"), num(t, "pid"), a, b, c, num(t, "files_used"),
			json_array_size(addrs) > 0 ? json_string_value(json_array_get(
							     addrs, json_array_size(addrs) - 1))
						   : "-");
	}
}

static void others_print(const struct status *st)
{
	size_t i;
	json_t *j;

	json_array_foreach(st->daemons, i, j)
	{
		if (num(j, "pid") == 0) {
			printf("daemon %s is not running: nacre up %s starts it\n", text(j, "name"),
				st->cluster.dir);
		}
	}
	json_array_foreach(st->clients, i, j)
	{
		if (strncmp(text(j, "target"), "MDT", 3) == 0) {
			printf("client %s host=%s pid=%" PRId64 " opens=%" PRId64 " idle=%.1fs\n",
				text(j, "uuid"), text(j, "host"), num(j, "pid"), num(j, "opens"),
				(double)num(j, "idle_ms") / 1000.0);
		}
	}
	json_array_foreach(st->mounts, i, j)
	{
		printf("mounted on %s%s\n", text(j, "mount_point"),
			json_is_true(json_object_get(j, "dead")) ? " (dead: nacre up mends it)"
								 : "");
	}
}

static int report(struct status *st)
{
	int code = st->down > 0 ? 1 : 0;

	if (st->json) {
		json_t *j = json_pack("{s:s, s:i, s:o, s:o, s:o, s:o}", "fsname", st->where.fsname,
			"map_version", (int)st->map_version, "targets", st->targets, "clients",
			st->clients, "daemons", st->daemons, "mounts", st->mounts);

		return j == NULL ? cli_fail("out of memory") : (cli_json_print(j), code);
	}
	printf("file system %s, map version %u\n", st->where.fsname, st->map_version);
	targets_print(st);
	others_print(st);
	return code;
}

static int status_run(struct status *st)
{
	int err = 0;

	if (st->where.mgs == NULL) {
		err = cluster_dir_find(st->where.dir, st->cluster.dir, sizeof(st->cluster.dir));
		if (err == 0) {
			err = cluster_load(&st->cluster, false);
		}
		st->have_cluster = err == 0;
	}
	if (err == 0) {
		err = cli_where_resolve(&st->where);
	}
	if (err != 0) {
		return err;
	}
	st->targets = json_array();
	st->clients = json_array();
	st->daemons = json_array();
	st->mounts = json_array();
	local_take(st);
	err = cli_conn_run(st->where.key_path, "nacre-status", ask_run, st);
	if (err != 0) {
		if (!st->json) {
			others_print(st);
		}
		return err;
	}
	return report(st);
}

enum {
	OPT_DIR = 256,
	OPT_MGS,
	OPT_KEY,
	OPT_JSON
};

static const struct option options[] = {
	{"dir", required_argument, NULL, OPT_DIR},
	{"mgs", required_argument, NULL, OPT_MGS},
	{"key", required_argument, NULL, OPT_KEY},
	{"json", no_argument, NULL, OPT_JSON},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

int cli_status(int argc, char **argv)
{
	static struct status st;
	int opt;

	while ((opt = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		switch (opt) {
		case OPT_DIR:
			st.where.dir = optarg;
			break;
		case OPT_MGS:
			st.where.mgs = optarg;
			break;
		case OPT_KEY:
			st.where.key = optarg;
			break;
		case OPT_JSON:
			st.json = true;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return 0;
		default:
			return cli_usage_option("status", opt, argv);
		}
	}
	if (optind < argc && st.where.dir == NULL) {
		st.where.dir = argv[optind++];
	}
	if (optind < argc) {
		return cli_usage("status", "too many arguments");
	}
	return status_run(&st);
}
