/*
 * The same code on real sockets: Unix, TCP over IPv4 and IPv6, in one reactor.
 */
#include "test.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "env/posix/reactor.h"
#include "rpc/rpc_client_int.h"
#include "rpc_world.h"

struct place {
	struct world w;
	struct reactor *reactor;
	struct env *env;
	char dir[64];
	char addr[LIM_ADDR_LEN_MAX + 1];
	void (*body)(struct place *p);
	unsigned left;
	struct rpc_session *s;
};

static struct place *pl;

static void place_fiber(void *arg)
{
	struct place *p = arg;

	world_serve(&p->w, p->env, p->addr);
	p->body(p);
	world_stop(&p->w);
}

static void run(const char *addr, void (*body)(struct place *p))
{
	struct reactor_options opts = {.cpu = -1};
	struct place *p = calloc(1, sizeof(*p));
	const char *tmp = getenv("TMPDIR");
	struct reactor_stats st;
	int n;

	CHECK(p != NULL);
	pl = p;
	world_init(&p->w, 9);
	snprintf(p->dir, sizeof(p->dir), "%s/nacre-rpc-XXXXXX", tmp != NULL ? tmp : "/tmp");
	CHECK(mkdtemp(p->dir) != NULL);
	CHECK_EQ(chmod(p->dir, 0755), 0);
	n = strcmp(addr, "unix:") == 0 ? snprintf(p->addr, sizeof(p->addr), "unix:%s/s", p->dir)
				       : snprintf(p->addr, sizeof(p->addr), "%s", addr);
	CHECK(n > 0 && (size_t)n < sizeof(p->addr));
	p->w.own_uid = geteuid();
	CHECK_EQ(reactor_new(&opts, &p->reactor), 0);
	p->env = reactor_env(p->reactor);
	p->body = body;
	CHECK_EQ(reactor_call(p->reactor, place_fiber, p), 0);
	reactor_stats(p->reactor, &st);
	CHECK_EQ(st.fibers, 0);
	reactor_free(p->reactor);
	if (strcmp(addr, "unix:") == 0) {
		(void)!unlink(p->addr + 5);
	}
	CHECK_EQ(rmdir(p->dir), 0);
	free(p);
}

static void fiber_calls(void *arg)
{
	unsigned first = (unsigned)(uintptr_t)arg;
	uint8_t *buf = mem_alloc(4 * MIB);
	static const uint32_t sizes[] = {1, 5000, 65536, 1 << 20, 4 << 20};

	CHECK(buf != NULL);
	for (unsigned i = 0; i < 200; i++) {
		CHECK_EQ(call_param(pl->s, first + i, i % 50 == 0 ? "slow" : "", 0, 0), 0);
		CHECK_EQ(pl->w.executed[first + i], 1);
		CHECK_EQ(call_map(pl->s, "", i, 0), 0);
	}
	for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
		CHECK_EQ(call_write(pl->s, first + 300 + i, i, buf, sizes[i], 0), 0);
		CHECK_EQ(call_read(pl->s, i, buf, sizes[i]), 0);
	}
	mem_free(buf);
	pl->left--;
}

static void body_calls(struct place *p)
{
	struct rpc_client *rpc = world_client(&p->w, p->env, 1, NULL);
	bool cut = false;

	p->s = world_session(rpc, p->w.addr);
	p->left = 8;
	for (unsigned i = 0; i < 8; i++) {
		CHECK_EQ(env_spawn(p->env, "t", fiber_calls, (void *)(uintptr_t)(i * 400)), 0);
	}
	while (p->left > 0) {
		env_sleep(p->env, NS_PER_MS);
		if (!cut && p->w.executed[100] != 0) {
			rpc_session_disconnect(p->s);
			cut = true;
		}
	}
	CHECK(cut);
	CHECK_STR(rpc_session_addr(p->s), p->w.addr);
	CHECK_EQ(p->s->server->control.conn->mac, strncmp(p->w.addr, "unix:", 5) != 0);
	CHECK_EQ(p->w.opened, 1);
	rpc_session_free(p->s, env_now(p->env) + NS_PER_S);
	rpc_client_free(rpc);
}

TEST(over_unix)
{
	run("unix:", body_calls);
}

#define TOGETHER 16

/* Requests that arrive together are answered together: what the server sends for them is one or two system calls. */
static void body_together(struct place *p)
{
	struct rpc_client *rpc = world_client(&p->w, p->env, 1, NULL);
	struct w_mgs_map_req req = {.fsname = wire_str_of("")};
	static struct w_mgs_map_rep rep[TOGETHER];
	static struct rpc_call call[TOGETHER];
	struct reactor_stats before, after;

	p->s = world_session(rpc, p->w.addr);
	CHECK_EQ(call_map(p->s, "", 0, 0), 0);
	memset(call, 0, sizeof(call));
	reactor_stats(p->reactor, &before);
	for (unsigned i = 0; i < TOGETHER; i++) {
		call[i].op = W_OP_MGS_MAP;
		call[i].request = &req;
		call[i].reply = &rep[i];
		rpc_call_start(p->s, &call[i]);
	}
	for (unsigned i = 0; i < TOGETHER; i++) {
		CHECK_EQ(rpc_call_wait(&call[i]), 0);
		CHECK_EQ(rep[i].version, 1);
		rpc_call_fini(&call[i]);
	}
	reactor_stats(p->reactor, &after);
	CHECK(after.sys_send - before.sys_send >= 2);
	CHECK(after.sys_send - before.sys_send <= TOGETHER + 2);
	rpc_session_free(p->s, env_now(p->env) + NS_PER_S);
	rpc_client_free(rpc);
}

TEST(answered_together)
{
	run("unix:", body_together);
}

TEST(over_tcp4)
{
	run("tcp:127.0.0.1:0", body_calls);
}

TEST(over_tcp6)
{
	run("tcp:[::1]:0", body_calls);
}

static void body_preference(struct place *p)
{
	static struct rpc_addrs addrs;
	struct rpc_session_opts opts = {.target = "MDT0000", .fsname = "testfs", .addrs = &addrs};
	struct rpc_client *rpc = world_client(&p->w, p->env, 1, NULL);
	struct rpc_session *s = NULL;
	char tcp[128];

	CHECK_EQ(rpc_server_listen(p->w.server, "tcp:127.0.0.1:0", tcp, sizeof(tcp)), 0);
	/* On this host the Unix socket is taken; elsewhere it is somebody else's path. */
	addrs.count = 2;
	strcpy(addrs.addr[0], p->w.addr);
	strcpy(addrs.addr[1], tcp);
	strcpy(addrs.boot_id, env_boot_id(p->env));
	CHECK_EQ(rpc_session_new(rpc, &opts, &s), 0);
	CHECK_EQ(call_map(s, "", 0, 0), 0);
	CHECK_STR(rpc_session_addr(s), p->w.addr);
	strcpy(addrs.boot_id, "another boot of another host");
	rpc_session_addrs_set(s, &addrs);
	CHECK_EQ(call_param(s, 1, "", 0, 0), 0);
	CHECK_STR(rpc_session_addr(s), tcp);
	CHECK_EQ(p->w.opened, 1); /* moved, not opened anew */
	/* A socket nobody listens on: the next address. */
	strcpy(addrs.boot_id, env_boot_id(p->env));
	strcat(addrs.addr[0], "x");
	rpc_session_addrs_set(s, &addrs);
	CHECK_EQ(call_param(s, 2, "", 0, 0), 0);
	CHECK_STR(rpc_session_addr(s), tcp);
	CHECK_EQ(p->w.opened, 1);
	rpc_session_free(s, env_now(p->env) + NS_PER_S);
	rpc_client_free(rpc);
}

TEST(preference)
{
	run("unix:", body_preference);
}

/* A process that is neither root nor the server's user has the kernel's ids, whatever its key. */
static void body_downgrade(struct place *p)
{
	struct rpc_client *rpc = world_client(&p->w, p->env, 1, NULL);
	struct rpc_session *s = world_session(rpc, p->w.addr);
	bool root = geteuid() == 0;
	uint32_t uid = root ? 65534 : geteuid();

	if (root) {
		CHECK_EQ(chmod(p->addr + 5, 0777), 0);
		CHECK_EQ(seteuid(uid), 0);
	}
	CHECK_EQ(rpc_session_connect(s, env_now(p->env) + 10 * NS_PER_S), 0);
	if (root) {
		CHECK_EQ(seteuid(0), 0);
	}
	CHECK_EQ(p->w.last_identity.role, RPC_ROLE_USER);
	CHECK_EQ(p->w.last_identity.uid, uid);
	CHECK(!p->w.last_identity.allow_root);
	CHECK(p->w.last_identity.local);
	CHECK_EQ(p->w.last_identity.peer_pid, getpid());
	rpc_session_free(s, env_now(p->env) + NS_PER_S);
	rpc_client_free(rpc);
}

static void body_downgrade_other(struct place *p)
{
	struct rpc_client *rpc = world_client(&p->w, p->env, 1, NULL);
	struct rpc_session *s = world_session(rpc, p->w.addr);

	CHECK_EQ(rpc_session_connect(s, env_now(p->env) + 10 * NS_PER_S), 0);
	CHECK_EQ(p->w.last_identity.role, RPC_ROLE_HOST);
	CHECK(p->w.last_identity.allow_root);
	rpc_session_free(s, env_now(p->env) + NS_PER_S);
	rpc_client_free(rpc);
	world_stop(&p->w);
	(void)!unlink(p->addr + 5);
	p->w.own_uid = geteuid() + 1; /* now it is another user's server */
	world_serve(&p->w, p->env, p->addr);
	body_downgrade(p);
}

TEST(unix_downgrade)
{
	run("unix:", body_downgrade_other);
}
