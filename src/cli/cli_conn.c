/*
 * Calls from the command line to servers: one reactor, one fiber, an administrator's key.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "env/posix/reactor.h"

/* For one call, connecting included. */
#define CALL_NS_MAX (5 * NS_PER_S)

struct cli_conn {
	struct env *env;
	uint64_t limit_ns; /* of a call */
	struct rpc_client *client;
};

struct env_run {
	struct env *env;
	int (*fn)(struct env *env, void *ctx);
	void *ctx;
	int result;
};

static void env_run_fiber(void *arg)
{
	struct env_run *r = arg;

	r->result = r->fn(r->env, r->ctx);
}

int cli_env_run(int (*fn)(struct env *env, void *ctx), void *ctx)
{
	struct reactor *reactor = NULL;
	struct env_run run = {.fn = fn, .ctx = ctx, .result = 1};
	int err = reactor_new(NULL, &reactor);

	if (err != 0) {
		return cli_fail("the reactor cannot start: %s", ne_text(err));
	}
	run.env = reactor_env(reactor);
	err = reactor_call(reactor, env_run_fiber, &run);
	reactor_free(reactor);
	return err != 0 ? cli_fail("%s", ne_text(err)) : run.result;
}

struct conn_run {
	const struct rpc_key *key;
	const char *hostname;
	cli_conn_fn *fn;
	void *ctx;
};

static int conn_run(struct env *env, void *ctx)
{
	struct conn_run *r = ctx;
	struct cli_conn conn = {.env = env, .limit_ns = CALL_NS_MAX};
	uint8_t random[16];
	struct rpc_client_opts opts = {
		.env = env,
		.incarnation = 1,
		.key = r->key,
		.hostname = r->hostname,
		.pid = (uint32_t)getpid(),
	};
	int err;

	env_random_bytes(env, random, sizeof(random));
	opts.uuid = uuid_from_random(random);
	err = rpc_client_new(&opts, &conn.client);
	if (err != 0) {
		return cli_fail("%s", ne_text(err));
	}
	err = r->fn(&conn, r->ctx);
	rpc_client_free(conn.client);
	return err;
}

int cli_conn_run(const char *key_path, const char *hostname, cli_conn_fn *fn, void *ctx)
{
	static struct rpc_key key;
	struct conn_run run = {.key = &key, .hostname = hostname, .fn = fn, .ctx = ctx};
	size_t len = 0;
	char *text = cli_file_read(key_path, RPC_KEY_TEXT_MAX, &len);
	int err;

	if (text == NULL) {
		return cli_fail("key %s cannot be read: %m", key_path);
	}
	err = rpc_key_parse(text, len, &key);
	explicit_bzero(text, len);
	free(text);
	if (err != 0) {
		return cli_fail("key %s: %s", key_path,
			err == -NE_VERSION ? "made by a newer version"
					   : "not a key file, or damaged");
	}
	err = cli_env_run(conn_run, &run);
	explicit_bzero(&key, sizeof(key));
	return err;
}

struct env *cli_conn_env(struct cli_conn *conn)
{
	return conn->env;
}

void cli_conn_limit_set(struct cli_conn *conn, uint64_t limit_ns)
{
	conn->limit_ns = limit_ns;
}

int cli_conn_call(struct cli_conn *conn, const char *target, const char *fsname,
	const char *const *addrs, struct rpc_call *call)
{
	static struct rpc_addrs list;
	struct rpc_session_opts opts = {.target = target, .fsname = fsname, .addrs = &list};
	struct rpc_session *session = NULL;
	uint64_t deadline = env_now(conn->env) + conn->limit_ns;
	int err;

	memset(&list, 0, sizeof(list));
	for (unsigned i = 0; addrs[i] != NULL && i < LIM_ADDRS_MAX; i++) {
		snprintf(list.addr[list.count++], sizeof(list.addr[0]), "%s", addrs[i]);
	}
	err = rpc_session_new(conn->client, &opts, &session);
	if (err != 0) {
		return err;
	}
	err = rpc_session_connect(session, deadline);
	if (err == 0) {
		call->deadline_ns = deadline;
		err = rpc_call(session, call);
	} else if (err == -NE_TIMEDOUT && rpc_session_error(session) != 0) {
		/* The reason of the last attempt says more. */
		err = rpc_session_error(session);
	}
	rpc_session_free(session, env_now(conn->env) + NS_PER_S);
	return err;
}

static int where_from_dir(struct cli_where *w)
{
	static struct cluster c;
	char hp[128];
	int err = cluster_dir_find(w->dir, c.dir, sizeof(c.dir));

	if (err == 0) {
		err = cluster_load(&c, false);
	}
	if (err != 0) {
		return err;
	}
	cluster_path(&c, w->key_path, "keys/admin.key");
	snprintf(w->fsname, sizeof(w->fsname), "%s", c.fsname);
	if (strlen(c.dir) + 20 < sizeof(w->addr[0])) {
		snprintf(w->addr[0], sizeof(w->addr[0]), "unix:%s/run/mds.sock", c.dir);
		w->addrs[0] = w->addr[0];
	}
	snprintf(w->addr[1], sizeof(w->addr[1]), "tcp:%s", cluster_hostport(&c, &c.daemons[0], hp));
	w->addrs[w->addrs[0] == NULL ? 0 : 1] = w->addr[1];
	return 0;
}

int cli_where_resolve(struct cli_where *w)
{
	if (w->mgs == NULL) {
		return where_from_dir(w);
	}
	if (w->key == NULL) {
		return cli_fail("--mgs needs --key with an administrator's key file");
	}
	snprintf(w->key_path, sizeof(w->key_path), "%s", w->key);
	snprintf(w->addr[0], sizeof(w->addr[0]), "%s%s",
		strncmp(w->mgs, "unix:", 5) == 0 || strncmp(w->mgs, "tcp:", 4) == 0 ? "" : "tcp:",
		w->mgs);
	w->addrs[0] = w->addr[0];
	return 0;
}
