/*
 * A client that was fenced at OSTs, because it was silent while it held an append token, comes back: what was on its way
 * is lost and told, then it goes on as its next incarnation.
 */
#include <fcntl.h>
#include <sys/stat.h>

#include "client/client_int.h"
#include "cluster.h"
#include "test.h"

static const struct client_cred root_cred = {.uid = 0, .gid = 0, .pid = 42, .caps = UINT64_MAX};
static uint8_t data[200000];

static struct client_file *file_create(struct client *c, const char *name)
{
	struct client_create how = {.mode = S_IFREG | 0644, .open_flags = O_RDWR};
	struct client_attr attr;
	struct client_file *f;

	CHECK_EQ(client_create_open(c, &root_cred, (struct client_entry){client_root(c), name},
			 &how, &attr, &f),
		0);
	return f;
}

static int file_write(struct client *c, struct client_file *f)
{
	struct iovec iov = {.iov_base = data, .iov_len = sizeof(data)};
	size_t put = 0;

	return client_write(c, &root_cred, f, (struct client_buffers){&iov, 1, 0}, &put);
}

/* As the MDT does it. */
static void fence(struct cluster *cl, struct client *c, unsigned ost)
{
	struct rpc_key *key = calloc(1, sizeof(*key));
	struct rpc_client_opts co = {
		.env = c->env, .incarnation = 1, .key = key, .hostname = "mdt"};
	struct rpc_session_opts so = {.target = c->map.osts[ost]->name,
		.fsname = CLUSTER_FS,
		.addrs = &c->map.osts[ost]->addrs};
	struct w_ost_fence_req req = {.client = c->uuid, .key_id = 1, .incarnation = 1};
	struct w_ost_fence_rep rep;
	struct rpc_call call = {.op = W_OP_OST_FENCE, .request = &req, .reply = &rep};
	struct rpc_client *rpc = NULL;
	struct rpc_session *s = NULL;

	cluster_key(cl, RPC_ROLE_SERVER, key);
	co.uuid.bytes[0] = 99;
	CHECK_EQ(rpc_client_new(&co, &rpc), 0);
	CHECK_EQ(rpc_session_new(rpc, &so, &s), 0);
	CHECK_EQ(rpc_call(s, &call), 0);
	rpc_call_fini(&call);
	rpc_session_free(s, env_now(c->env) + NS_PER_S);
	rpc_client_free(rpc);
	free(key);
}

static void fence_body(struct cluster *cl, unsigned client)
{
	struct client *c = cl->client[client].c;
	struct client_file *f = file_create(c, "f");
	struct client_file *g = file_create(c, "g");
	struct client_attr attr;
	int err;

	CHECK_EQ(file_write(c, f), 0);
	fence(cl, c, 0);
	fence(cl, c, 1);
	err = file_write(c, f);
	CHECK(err == 0 || err == -NE_FENCED);
	/* From here on it is let in again. */
	for (unsigned i = 0; i < 3 && err != 0; i++) {
		env_sleep(c->env, NS_PER_S);
		err = file_write(c, f);
	}
	CHECK_EQ(err, 0);
	CHECK_EQ(file_write(c, g), 0);
	CHECK_EQ(client_fsync(c, g, false), 0);
	CHECK_EQ(client_lookup(c, &root_cred, client_root(c), "g", &attr), 0);
	CHECK_EQ(attr.size, sizeof(data));
	CHECK_EQ(client_release(c, f), 0);
	CHECK_EQ(client_release(c, g), 0);
}

TEST(a_fenced_client_comes_back)
{
	struct cluster *cl = cluster_new(1, 2, 64 * KIB, 2);

	cluster_client_start(cl, 0, fence_body);
	cluster_run(cl, 1);
	cluster_free(cl);
}
