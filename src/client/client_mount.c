/*
 * From options to a mount that works, or to one line that says why it does not.
 *
 * Order: key, MGS session, map, MDT session, root directory. Nothing is left behind by a failure. Every
 * line names what was asked, where, and what can be done.
 */
#include <stdio.h>

#include "client/client_int.h"

struct mounting {
	struct client *c;
	const struct client_options *opt;
	uint64_t deadline_ns;
	char *why;
	size_t cap;
};

static void why_set(const struct mounting *m, const char *fmt, ...) _printf_(2, 3);

static void why_set(const struct mounting *m, const char *fmt, ...)
{
	va_list args;

	if (m->why == NULL || m->cap == 0) {
		return;
	}
	va_start(args, fmt);
	(void)vsnprintf(m->why, m->cap, fmt, args);
	va_end(args);
}

static int options_copy(struct client *c, const struct client_options *opt)
{
	size_t len = strlen(opt->subdir == NULL ? "" : opt->subdir);

	if (strlen(opt->fsname) > LIM_FSNAME_MAX || opt->fsname[0] == '\0') {
		return -NE_WRONGFS;
	}
	if (len > LIM_PATH_MAX) {
		return -NE_NAMETOOLONG;
	}
	memcpy(c->fsname, opt->fsname, strlen(opt->fsname));
	c->subdir = mem_zalloc(len + 1);
	c->hostname = mem_zalloc(256);
	if (c->subdir == NULL || c->hostname == NULL) {
		return -NE_NOMEM;
	}
	bytes_copy(c->subdir, opt->subdir, len);
	if (opt->hostname != NULL) {
		memcpy(c->hostname, opt->hostname, strnlen(opt->hostname, 255));
	}
	c->pid = opt->pid;
	c->read_only = opt->read_only;
	c->patience_ns = opt->patience_ns;
	c->groups = opt->groups;
	c->groups_ctx = opt->groups_ctx;
	return 0;
}

static int mount_rpc(struct mounting *m)
{
	struct client *c = m->c;
	_cleanup_(free_ptr) struct rpc_key *key = mem_zalloc(sizeof(*key));
	uint8_t random[16];
	int err = key == NULL ? -NE_NOMEM : options_copy(c, m->opt);

	if (err == -NE_WRONGFS) {
		why_set(m, "'%s' is not a file system name (1 to %d characters)", m->opt->fsname,
			LIM_FSNAME_MAX);
	}
	if (err != 0) {
		return err;
	}
	err = rpc_key_parse(m->opt->key_text, strlen(m->opt->key_text), key);
	if (err != 0) {
		why_set(m, "the key file %.300s does not hold a client's key (%s)",
			m->opt->key_path != NULL ? m->opt->key_path : "given",
			err == -NE_VERSION ? "it was made by another version"
					   : "it is another file, or damaged");
		return err;
	}
	env_random_bytes(c->env, random, sizeof(random));
	c->uuid = uuid_from_random(random);
	c->incarnation = 1;

	struct rpc_client_opts opts = {
		.env = c->env,
		.uuid = c->uuid,
		.incarnation = c->incarnation,
		.key = key,
		.hostname = c->hostname,
		.pid = c->pid,
	};

	return rpc_client_new(&opts, &c->rpc);
}

/* Explains why a server could not be used. */
static void why_server(const struct mounting *m, const char *what, const char *addr, int err)
{
	const char *fs = m->c->fsname;

	switch (-err) {
	case NE_AUTH:
	case NE_MAC:
		why_set(m, "%s at %s refuses the key: it belongs to another file system or cluster",
			what, addr);
		return;
	case NE_EXPIRED:
		why_set(m, "%s at %s refuses the key: it has expired", what, addr);
		return;
	case NE_ACCES:
	case NE_PERM:
		why_set(m, "%s at %s denies permission: the key does not entitle to this mount",
			what, addr);
		return;
	case NE_VERSION:
		why_set(m,
			"%s at %s speaks another protocol version: install the same release here "
			"and "
			"there",
			what, addr);
		return;
	case NE_WRONGFS:
		why_set(m, "there is no file system named '%s' at %s: check the name", fs, addr);
		return;
	case NE_NOTARGET:
		why_set(m, "%s is not served at %s: check the address, or start the server", what,
			addr);
		return;
	case NE_INTR:
		why_set(m, "interrupted while waiting for %s at %s", what, addr);
		return;
	default:
		why_set(m, "%s at %s cannot be reached (%s): is it running?", what, addr,
			ne_text(err));
	}
}

/* A time-out hides what the last attempt met. */
static int why_session(const struct mounting *m, struct rpc_session *s, const char *what,
	const char *addr, int err)
{
	int met = err == -NE_TIMEDOUT && s != NULL ? rpc_session_error(s) : 0;

	why_server(m, what, addr, met != 0 ? met : err);
	return err;
}

static const char *addr_first(const struct rpc_addrs *addrs)
{
	return addrs->count > 0 ? addrs->addr[0] : "no address";
}

static int mount_mgs(struct mounting *m)
{
	struct client *c = m->c;
	struct rpc_session_opts opts = {
		.target = "MGT0000", .fsname = c->fsname, .addrs = &c->mgs_addrs};
	const char *addr;
	int err;

	for (unsigned i = 0; m->opt->mgs != NULL && m->opt->mgs[i] != NULL; i++) {
		client_addrs_add(&c->mgs_addrs, m->opt->mgs[i], strlen(m->opt->mgs[i]));
	}
	if (c->mgs_addrs.count == 0) {
		why_set(m, "no usable address of the management server was given");
		return -NE_INVAL;
	}
	addr = addr_first(&c->mgs_addrs);
	err = rpc_session_new(c->rpc, &opts, &c->mgs);
	if (err == 0) {
		err = rpc_session_connect(c->mgs, m->deadline_ns);
	}
	if (err != 0) {
		return why_session(m, c->mgs, "the management server", addr, err);
	}
	err = client_map_fetch(c, m->deadline_ns);
	if (err != 0) {
		why_server(m, "the management server", addr, err);
	}
	return err;
}

static int mount_mdt(struct mounting *m)
{
	struct client *c = m->c;
	struct client_target *t;
	int err;

	if (c->map.mdt_count == 0 || c->map.mdts[0] == NULL || c->map.mdts[0]->addrs.count == 0) {
		why_set(m,
			"file system '%s' has no MDT yet: its first metadata server has never been "
			"started",
			c->fsname);
		return -NE_NOTARGET;
	}
	t = c->map.mdts[0];
	err = client_session_make(c, t);
	if (err == 0) {
		err = client_map_fiber_start(c);
	}
	if (err == 0) {
		err = rpc_session_connect(t->session, m->deadline_ns);
	}
	if (err != 0) {
		return why_session(m, t->session, "MDT0000", addr_first(&t->addrs), err);
	}
	return 0;
}

static int mount_root(struct mounting *m)
{
	struct client *c = m->c;
	struct client_cred cred = client_cred_self(c);
	struct client_attr attr;
	int err = client_walk(c, &cred, fid_root(), c->subdir, true, &attr);

	if (err == 0 && !S_ISDIR(attr.mode)) {
		err = -NE_NOTDIR;
	}
	if (err != 0 && c->subdir[0] != '\0') {
		why_set(m, "subdirectory '%s' of file system '%s': %s", c->subdir, c->fsname,
			ne_text(err));
	} else if (err != 0) {
		why_set(m, "the root directory of file system '%s' cannot be read: %s", c->fsname,
			ne_text(err));
	}
	if (err == 0) {
		c->root = attr.fid;
	}
	return err;
}

int client_new(
	const struct client_options *opt, char *ret_why, size_t why_cap, struct client **ret_client)
{
	struct client *c = mem_zalloc(sizeof(*c));
	struct mounting m = {.c = c, .opt = opt, .why = ret_why, .cap = why_cap};
	int err;

	ASSERT(opt->env != NULL && opt->fsname != NULL && opt->key_text != NULL);
	if (ret_why != NULL && why_cap > 0) {
		ret_why[0] = '\0';
	}
	if (c == NULL) {
		why_set(&m, "out of memory");
		return -NE_NOMEM;
	}
	c->env = opt->env;
	c->handle_next = 1;
	hmap_init(&c->inodes);
	list_init(&c->files);
	list_init(&c->linger);
	env_waitq_init(&c->map_done);
	env_waitq_init(&c->map_poke);
	env_waitq_init(&c->quiet);
	env_waitq_init(&c->appends_done);
	env_waitq_init(&c->copies_wait);
	m.deadline_ns = env_now(c->env) +
		(opt->mount_patience_ns != 0 ? opt->mount_patience_ns : CLIENT_MOUNT_PATIENCE_NS);
	err = mount_rpc(&m);
	if (err == 0) {
		err = mount_mgs(&m);
	}
	if (err == 0) {
		err = mount_mdt(&m);
	}
	if (err == 0) {
		err = mount_root(&m);
	}
	if (err != 0) {
		if (ret_why != NULL && why_cap > 0 && ret_why[0] == '\0') {
			why_set(&m, "%s", ne_text(err));
		}
		client_free(c);
		return err;
	}
	*ret_client = c;
	return 0;
}
