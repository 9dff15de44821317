/*
 * Mounting and unmounting: a reactor, a thread that tends it between calls, and the client core on it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/crypto.h"
#include "client/lib/lib_int.h"
#include "nacre/version.h"
#include "rpc/rpc.h"

_export_ const char *nacre_version(void)
{
	return NACRE_VERSION;
}

/* ---- the thread ---- */

static void *tender_main(void *arg)
{
	struct nacre *fs = arg;

	lib_thread_enter(fs->reactor);
	(void)!reactor_tend(fs->reactor);
	return NULL;
}

/* Every signal of the program is the program's: this thread takes none. */
static int tender_start(struct nacre *fs)
{
	sigset_t all;
	sigset_t before;
	int rc;

	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &before);
	rc = pthread_create(&fs->tender, NULL, tender_main, fs);
	(void)pthread_sigmask(SIG_SETMASK, &before, NULL);
	fs->tended = rc == 0;
	return rc == 0 ? 0 : ne_from_errno(rc);
}

static void tender_stop(struct nacre *fs)
{
	if (fs->tended) {
		reactor_stop(fs->reactor);
		(void)pthread_join(fs->tender, NULL);
		fs->tended = false;
	}
}

/* ---- options ---- */

static int key_read(const char *path, char *text, size_t cap)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	size_t len = 0;
	ssize_t n = 1;

	if (fd < 0) {
		return ne_from_errno(errno);
	}
	while (n > 0 && len < cap - 1) {
		n = read(fd, text + len, cap - 1 - len);
		len += n > 0 ? (size_t)n : 0;
	}
	(void)close(fd);
	text[len] = '\0';
	return n < 0 ? -NE_IO : 0;
}

static int groups_copy(struct nacre *fs, const struct nacre_options *o)
{
	gid_t own[256];
	const gid_t *from = o->groups;
	size_t count = o->groups_count;

	if ((o->flags & NACRE_AS_USER) == 0) {
		int n = getgroups((int)ARRAY_SIZE(own), own);

		from = own;
		count = n > 0 ? (size_t)n : 0;
	}
	count = count > LIM_GROUPS_MAX ? LIM_GROUPS_MAX : count;
	fs->groups = mem_zalloc_array(count + 1, sizeof(uint32_t));
	if (fs->groups == NULL) {
		return -NE_NOMEM;
	}
	for (size_t i = 0; i < count; i++) {
		fs->groups[i] = from[i];
	}
	fs->group_count = (uint32_t)count;
	return 0;
}

static int identity_set(struct nacre *fs, const struct nacre_options *o)
{
	bool as_user = (o->flags & NACRE_AS_USER) != 0;

	fs->uid = as_user ? o->uid : geteuid();
	fs->gid = as_user ? o->gid : getegid();
	fs->caps = fs->uid == 0 ? UINT64_MAX : 0;
	return groups_copy(fs, o);
}

/* ---- mount ---- */

struct mount_call {
	struct nacre *fs;
	struct client_options opt;
	char addrs[LIM_ADDRS_MAX][LIM_ADDR_LEN_MAX + 1];
	const char *mgs[LIM_ADDRS_MAX + 1];
	char key_text[RPC_KEY_TEXT_MAX];
	char hostname[256];
	char why[512];
};

static int mount_fiber(struct lib_call *call)
{
	struct mount_call *m = call->buf;

	return client_new(&m->opt, m->why, sizeof(m->why), &m->fs->client);
}

static int mount_prepare(struct mount_call *m, const struct nacre_options *o)
{
	int n;
	int err;

	if (o->size < sizeof(*o) || o->mgs == NULL || o->fsname == NULL || o->key_path == NULL) {
		(void)snprintf(m->why, sizeof(m->why),
			"options: size, mgs, fsname and key_path are needed");
		return -NE_INVAL;
	}
	n = lib_addrs_parse(o->mgs, m->addrs);
	if (n <= 0) {
		(void)snprintf(
			m->why, sizeof(m->why), "'%s' is not a list of server addresses", o->mgs);
		return -NE_INVAL;
	}
	for (int i = 0; i < n; i++) {
		m->mgs[i] = m->addrs[i];
	}
	err = key_read(o->key_path, m->key_text, sizeof(m->key_text));
	if (err != 0) {
		(void)snprintf(
			m->why, sizeof(m->why), "key file %s: %s", o->key_path, ne_text(err));
		return err;
	}
	(void)gethostname(m->hostname, sizeof(m->hostname) - 1);
	return identity_set(m->fs, o);
}

static int mount_reactor(struct nacre *fs)
{
	struct reactor_options opts = {.cpu = -1, .shared = true};
	int err = reactor_new(&opts, &fs->reactor);

	if (err != 0) {
		return err;
	}
	fs->env = reactor_env(fs->reactor);
	return tender_start(fs);
}

static int mount_run(struct mount_call *m, const struct nacre_options *o)
{
	struct nacre *fs = m->fs;
	struct lib_call call = {.what = "mount", .fn = mount_fiber, .buf = m};
	int err = mount_prepare(m, o);

	if (err == 0) {
		err = mount_reactor(fs);
	}
	if (err != 0) {
		return err;
	}
	m->opt = (struct client_options){
		.env = fs->env,
		.mgs = m->mgs,
		.fsname = o->fsname,
		.subdir = o->subdir != NULL ? o->subdir : "",
		.key_text = m->key_text,
		.key_path = o->key_path,
		.hostname = m->hostname,
		.pid = (uint32_t)getpid(),
		.patience_ns = o->patience_s * NS_PER_S,
		.read_only = (o->flags & NACRE_READ_ONLY) != 0,
	};
	return lib_run(fs, &call) == 0 ? 0 : call.err != 0 ? call.err : -NE_NOTRECOVERABLE;
}

static void fs_free(struct nacre *fs)
{
	tender_stop(fs);
	reactor_free(fs->reactor);
	mem_free(fs->groups);
	mem_free(fs);
}

_export_ int nacre_mount(
	const struct nacre_options *options, char *why, size_t cap, struct nacre **ret_fs)
{
	struct mount_call *m = mem_zalloc(sizeof(*m));
	struct nacre *fs = mem_zalloc(sizeof(*fs));
	int err = m == NULL || fs == NULL ? -NE_NOMEM : 0;
	int saved = errno;

	lib_process_init();
	if (err == 0) {
		list_init(&fs->files);
		list_init(&fs->dirs);
		lib_calls_init(fs);
		m->fs = fs;
		err = mount_run(m, options);
	}
	if (err != 0) {
		lib_error_set("mount", NULL, err);
		if (why != NULL && cap > 0) {
			(void)snprintf(why, cap, "%s",
				m != NULL && m->why[0] != '\0' ? m->why : ne_text(err));
		}
	}
	if (m != NULL) {
		crypto_wipe(m->key_text, sizeof(m->key_text));
		mem_free(m);
	}
	errno = saved;
	if (err == -NE_NOTRECOVERABLE) {
		return -ENOTRECOVERABLE;
	}
	if (err != 0) {
		if (fs != NULL) {
			fs_free(fs);
		}
		errno = saved;
		return -ne_errno(err);
	}
	*ret_fs = fs;
	return 0;
}

/* ---- umount ---- */

static int umount_fiber(struct lib_call *call)
{
	struct nacre *fs = call->fs;
	struct list *it;
	int err = 0;

	while ((it = list_pop_front(&fs->files)) != NULL) {
		struct nacre_file *f = list_entry(it, struct nacre_file, link);
		int rc = client_release(fs->client, f->file);

		err = err != 0 ? err : rc;
		mem_free(f);
	}
	while ((it = list_pop_front(&fs->dirs)) != NULL) {
		struct nacre_dir *d = list_entry(it, struct nacre_dir, link);

		(void)client_release(fs->client, d->file);
		mem_free(d);
	}
	client_free(fs->client);
	fs->client = NULL;
	return err;
}

_export_ int nacre_umount(struct nacre *fs)
{
	struct lib_call call = {.what = "umount", .fn = umount_fiber};
	int saved = errno;
	int rc;

	if (fs == NULL) {
		return 0;
	}
	rc = lib_run(fs, &call);
	if (rc == -ENOTRECOVERABLE) {
		/* What a broken reactor holds cannot be trusted, so not be freed. Its thread ends. */
		if (fs->tended) {
			(void)pthread_join(fs->tender, NULL);
		}
		return rc;
	}
	fs_free(fs);
	errno = saved;
	return rc;
}

static int sync_fiber(struct lib_call *call)
{
	struct client *c = call->fs->client;

	return client_setxattr(c, &call->cred, client_root(c), "nacre.sync", span_of("", 0), 0);
}

_export_ int nacre_sync(struct nacre *fs)
{
	struct lib_call call = {.what = "sync", .fn = sync_fiber};

	return lib_run(fs, &call);
}
