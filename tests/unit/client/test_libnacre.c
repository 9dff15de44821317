/*
 * libnacre against servers in this process: what a program's threads see, and what a failed assert does to them.
 */
#include "test.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <semaphore.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

#include "client/lib/lib_int.h"
#include "mds/mds.h"
#include "mgs/mgs.h"
#include "oss/oss.h"
#include "rpc/rpc.h"

#define OSTS 3

/* ---- servers: one reactor, one listener, all targets ---- */

struct servers {
	struct reactor *reactor;
	struct env *env;
	pthread_t thread;
	char dir[64];
	char addr[128];
	char key_path[128];
	uint8_t server_key[RPC_KEY_BYTES];
	struct uuid cluster;
	struct rpc_server *server;
	struct bufpool *pool;
	struct mgs *mgs;
	struct mds *mds;
	struct oss *oss[OSTS];
	struct rpc_service *mdt;
	struct rpc_client *rpc;
	struct rpc_session *to_mgs;
	_Atomic bool up;
};

static struct servers sv;

static void sub_dir(const char *name, char path[128])
{
	snprintf(path, 128, "%s/%s", sv.dir, name);
	int err = env_mkdir(sv.env, path);

	CHECK(err == 0 || err == -NE_EXIST);
}

static void key_make(enum rpc_role role, struct rpc_key *key)
{
	memset(key, 0, sizeof(*key));
	key->key_id = 1;
	key->role = role;
	key->allow_root = true;
	key->cluster = sv.cluster;
	strcpy(key->fsname, "demo");
	CHECK_EQ(rpc_key_derive(key, sv.server_key), 0);
}

static struct w_mgs_register_rep target_register(enum w_target_kind kind, unsigned index)
{
	struct uuid uuid = {.bytes = {(uint8_t)kind, (uint8_t)index}};
	char name[16];
	struct w_mgs_register_req req = {.target = {.kind = kind,
						 .index = (uint16_t)index,
						 .uuid = uuid,
						 .epoch = 1,
						 .state = W_TARGET_STATE_UP},
		.fsname = wire_str_of("demo"),
		.cluster = sv.cluster};
	struct w_mgs_register_rep rep;
	struct rpc_call call = {.op = W_OP_MGS_REGISTER, .request = &req, .reply = &rep};

	snprintf(name, sizeof(name), "%s%04x", kind == W_TARGET_KIND_MDT ? "MDT" : "OST", index);
	req.target.name = wire_str_of(name);
	req.target.addr0 = wire_str_of(sv.addr);
	req.target.boot_id = wire_str_of(env_boot_id(sv.env));
	CHECK_EQ(rpc_call(sv.to_mgs, &call), 0);
	rpc_call_fini(&call);
	return rep;
}

static void mgs_begin(void)
{
	struct mgs_options opts = {
		.kv_kind = STATE_KV_MODEL, .fsname = "demo", .cluster = sv.cluster, .epoch = 1};
	struct rpc_addrs *addrs = mem_zalloc(sizeof(*addrs));
	struct rpc_session_opts sopts = {.target = "MGT0000", .fsname = "demo", .addrs = addrs};
	struct rpc_key *key = mem_alloc(sizeof(*key));
	struct rpc_client_opts copts = {
		.env = sv.env, .uuid = {.bytes = {7}}, .incarnation = 1, .key = key};
	char path[128];

	sub_dir("mgs", path);
	opts.state_dir = path;
	CHECK_EQ(mgs_start(sv.env, sv.server, &opts, &sv.mgs), 0);
	key_make(RPC_ROLE_SERVER, key);
	addrs->count = 1;
	strcpy(addrs->addr[0], sv.addr);
	CHECK_EQ(rpc_client_new(&copts, &sv.rpc), 0);
	CHECK_EQ(rpc_session_new(sv.rpc, &sopts, &sv.to_mgs), 0);
	mem_free(key);
	mem_free(addrs);
}

static void osts_begin(void)
{
	CHECK_EQ(bufpool_new(64 * MIB, 8 * MIB, &sv.pool), 0);
	for (unsigned i = 0; i < OSTS; i++) {
		char path[128];
		char name[16];
		struct oss_options opts = {.path = path,
			.target = name,
			.fsname = "demo",
			.epoch = 1,
			.kv_kind = STATE_KV_MODEL,
			.bufpool = sv.pool};

		snprintf(name, sizeof(name), "OST%04x", i);
		sub_dir(name, path);
		CHECK_EQ(oss_format(sv.env, path), 0);
		CHECK_EQ(oss_start(sv.env, sv.server, &opts, &sv.oss[i]), 0);
		(void)target_register(W_TARGET_KIND_OST, i);
	}
}

static void mdt_begin(void)
{
	struct w_mgs_register_rep reg = target_register(W_TARGET_KIND_MDT, 0);
	struct mds_options opts = {.fsname = "demo",
		.epoch = 1,
		.store = {.kv_kind = STATE_KV_MODEL, .create = true},
		.fid_seq_start = reg.fid_seq_start,
		.fid_seq_count = reg.fid_seq_count,
		.root_mode = 0777,
		.ost_client = sv.rpc};
	struct rpc_service_opts sopts = {
		.target = "MDT0000", .fsname = "demo", .ops = mds_service_ops()};
	struct w_mgs_map_req req = {.fsname = wire_str_of("demo")};
	struct w_mgs_map_rep rep;
	struct rpc_call call = {.op = W_OP_MGS_MAP, .request = &req, .reply = &rep};
	char path[128];

	sub_dir("mdt", path);
	opts.store.dir = path;
	CHECK_EQ(mds_start(sv.env, &opts, &sv.mds), 0);
	CHECK_EQ(rpc_call(sv.to_mgs, &call), 0);
	CHECK_EQ(mds_map_set(sv.mds, &rep), 0);
	rpc_call_fini(&call);
	sopts.ctx = sv.mds;
	CHECK_EQ(rpc_service_start(sv.server, &sopts, &sv.mdt), 0);
}

static void servers_main(void *arg)
{
	struct rpc_server_opts opts = {
		.env = sv.env, .uuid = {.bytes = {3}}, .cluster = sv.cluster, .own_uid = getuid()};
	char addr[128];

	(void)arg;
	opts.server_key = sv.server_key;
	snprintf(addr, sizeof(addr), "unix:%s/sock", sv.dir);
	CHECK_EQ(rpc_server_new(&opts, &sv.server), 0);
	CHECK_EQ(rpc_server_listen(sv.server, addr, sv.addr, sizeof(sv.addr)), 0);
	mgs_begin();
	osts_begin();
	mdt_begin();
	atomic_store(&sv.up, true);
	while (!env_stopping(sv.env)) {
		env_sleep(sv.env, 20 * NS_PER_MS);
	}
	rpc_service_stop(sv.mdt);
	mds_stop(sv.mds);
	for (unsigned i = 0; i < OSTS; i++) {
		oss_stop(sv.oss[i]);
	}
	rpc_session_free(sv.to_mgs, env_now(sv.env) + NS_PER_S);
	rpc_client_free(sv.rpc);
	mgs_stop(sv.mgs);
	rpc_server_stop(sv.server);
	rpc_server_free(sv.server);
	bufpool_free(sv.pool);
	atomic_store(&sv.up, false);
}

static void *servers_thread(void *arg)
{
	(void)arg;
	CHECK_EQ(reactor_run(sv.reactor), 0);
	return NULL;
}

static void key_write(void)
{
	struct rpc_key *key = malloc(sizeof(*key));
	char *text = malloc(RPC_KEY_TEXT_MAX);
	FILE *file;

	key_make(RPC_ROLE_HOST, key);
	CHECK_EQ(rpc_key_format(key, text, RPC_KEY_TEXT_MAX), 0);
	snprintf(sv.key_path, sizeof(sv.key_path), "%s/key", sv.dir);
	file = fopen(sv.key_path, "w");
	CHECK(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
	free(key);
	free(text);
}

static void servers_start(void)
{
	if (sv.reactor != NULL) {
		return;
	}
	strcpy(sv.dir, "/tmp/nacre-lib-XXXXXX");
	CHECK(mkdtemp(sv.dir) != NULL);
	memset(sv.server_key, 5, sizeof(sv.server_key));
	sv.cluster.bytes[0] = 9;
	key_write();
	CHECK_EQ(reactor_new(NULL, &sv.reactor), 0);
	sv.env = reactor_env(sv.reactor);
	CHECK_EQ(env_spawn(sv.env, "servers", servers_main, NULL), 0);
	CHECK_EQ(pthread_create(&sv.thread, NULL, servers_thread, NULL), 0);
	while (!atomic_load(&sv.up)) {
		usleep(1000);
	}
}

static struct nacre_options options(void)
{
	servers_start();
	return (struct nacre_options){.size = sizeof(struct nacre_options),
		.mgs = sv.addr,
		.fsname = "demo",
		.key_path = sv.key_path,
		.patience_s = 30,
		.flags = NACRE_AS_USER};
}

static struct nacre *mount_demo(void)
{
	struct nacre_options o = options();
	char why[256] = "";
	struct nacre *fs = NULL;
	int rc = nacre_mount(&o, why, sizeof(why), &fs);

	if (rc != 0) {
		fprintf(stderr, "mount: %s\n", why);
	}
	CHECK_EQ(rc, 0);
	return fs;
}

/* ---- tests ---- */

TEST(addresses)
{
	static char a[LIM_ADDRS_MAX][LIM_ADDR_LEN_MAX + 1];

	CHECK_EQ(lib_addrs_parse("h1,h2:99,[::1]:77,[fe80::1],fe80::2,tcp:x:1,unix:/a/b", a), 7);
	CHECK_STR(a[0], "tcp:h1:7988");
	CHECK_STR(a[1], "tcp:h2:99");
	CHECK_STR(a[2], "tcp:[::1]:77");
	CHECK_STR(a[3], "tcp:[fe80::1]:7988");
	CHECK_STR(a[4], "tcp:[fe80::2]:7988");
	CHECK_STR(a[5], "tcp:x:1");
	CHECK_STR(a[6], "unix:/a/b");
	CHECK_EQ(lib_addrs_parse("a,b,c,d,e,f,g,h,i", a), -NE_INVAL);
	CHECK_EQ(lib_addrs_parse("", a), 0);
}

TEST(mount_failures)
{
	struct nacre_options o = options();
	struct nacre *fs = NULL;
	char why[256];

	o.key_path = "/nonexistent/key";
	CHECK_EQ(nacre_mount(&o, why, sizeof(why), &fs), -ENOENT);
	CHECK(strstr(why, "/nonexistent/key") != NULL);
	CHECK(strstr(nacre_error_text(), "mount") != NULL);
	o = options();
	o.subdir = "missing";
	CHECK_EQ(nacre_mount(&o, why, sizeof(why), &fs), -ENOENT);
	CHECK(strstr(why, "'missing'") != NULL);
	o.size = 8;
	CHECK_EQ(nacre_mount(&o, NULL, 0, &fs), -EINVAL);
	CHECK(fs == NULL);
	CHECK_EQ(nacre_umount(NULL), 0);
}

TEST(files)
{
	struct nacre *fs = mount_demo();
	struct nacre_file *f;
	struct stat st;
	char *big = malloc(3 << 20);
	char *got = malloc(3 << 20);

	errno = 77;
	CHECK_EQ(nacre_open(fs, "a", O_RDWR, 0, &f), -ENOENT);
	CHECK_STR(nacre_error_text(), "open a: no such file or directory");
	CHECK_EQ(nacre_open(fs, "a", O_RDWR | O_CREAT, 0640, &f), 0);
	CHECK_EQ(nacre_pwrite(f, "hello", 5, 0), 5);
	CHECK_EQ(nacre_pread(f, got, 100, 1), 4);
	CHECK(memcmp(got, "ello", 4) == 0);
	for (size_t i = 0; i < 3 << 20; i++) {
		big[i] = (char)(i * 7 + i / 4096);
	}
	CHECK_EQ(nacre_pwrite(f, big, 3 << 20, 10), 3 << 20);
	CHECK_EQ(nacre_pread(f, got, 3 << 20, 10), 3 << 20);
	CHECK(memcmp(big, got, 3 << 20) == 0);
	CHECK_EQ(nacre_fstat(f, &st), 0);
	CHECK_EQ(st.st_size, (3 << 20) + 10);
	CHECK_EQ(st.st_mode, S_IFREG | 0640);
	CHECK_EQ(nacre_fsync(f), 0);
	CHECK_EQ(nacre_ftruncate(f, 7), 0);
	CHECK_EQ(nacre_pread(f, got, 100, 0), 7);
	CHECK(memcmp(got, "hello\0\0", 7) == 0);
	CHECK_EQ(nacre_pread(f, got, 100, -1), -EINVAL);
	CHECK_EQ(nacre_close(f), 0);
	CHECK_EQ(nacre_open(fs, "a", O_RDWR | O_CREAT | O_EXCL, 0640, &f), -EEXIST);
	CHECK_EQ(nacre_open(fs, "/", O_RDWR, 0, &f), -EISDIR);
	CHECK_EQ(nacre_open(fs, "a", O_RDONLY | O_DIRECTORY, 0, &f), -ENOTDIR);
	CHECK_EQ(nacre_truncate(fs, "a", 3), 0);
	CHECK_EQ(nacre_stat(fs, "a", &st), 0);
	CHECK_EQ(st.st_size, 3);
	/* What the program did not close is closed. */
	CHECK_EQ(nacre_open(fs, "a", O_WRONLY | O_APPEND, 0, &f), 0);
	CHECK_EQ(nacre_pwrite(f, "x", 1, 0), 1);
	CHECK_EQ(errno, 77);
	CHECK_EQ(nacre_umount(fs), 0);
	fs = mount_demo();
	CHECK_EQ(nacre_stat(fs, "a", &st), 0);
	CHECK_EQ(st.st_size, 4);
	CHECK_EQ(nacre_unlink(fs, "a"), 0);
	CHECK_EQ(nacre_sync(fs), 0);
	CHECK_EQ(nacre_umount(fs), 0);
	free(big);
	free(got);
}

TEST(ranges)
{
	struct nacre *fs = mount_demo();
	struct nacre *other = mount_demo();
	struct nacre_file *f;
	struct nacre_file *g;
	struct nacre_file *far;
	struct stat st;
	char *big = malloc(1 << 20);
	char *got = malloc(1 << 20);

	memset(big, 'b', 1 << 20);
	CHECK_EQ(nacre_open(fs, "r", O_RDWR | O_CREAT, 0640, &f), 0);
	CHECK_EQ(nacre_open(fs, "copy", O_RDWR | O_CREAT, 0640, &g), 0);
	CHECK_EQ(nacre_open(other, "far", O_RDWR | O_CREAT, 0640, &far), 0);
	CHECK_EQ(nacre_seek(f, 0, SEEK_DATA), -ENXIO);
	CHECK_EQ(nacre_pwrite(f, big, 1 << 20, 0), 1 << 20);
	CHECK_EQ(nacre_fallocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 65536, 65536), 0);
	CHECK_EQ(nacre_fallocate(f, FALLOC_FL_ZERO_RANGE, 10, 5), 0);
	CHECK_EQ(nacre_fallocate(f, 0, 1 << 20, 100), 0);
	CHECK_EQ(nacre_fallocate(f, FALLOC_FL_KEEP_SIZE, 5 << 20, 100), 0);
	CHECK_EQ(nacre_fallocate(f, FALLOC_FL_COLLAPSE_RANGE, 0, 4096), -EOPNOTSUPP);
	CHECK_EQ(nacre_fallocate(f, 0, 0, 0), -EINVAL);
	CHECK_EQ(nacre_fstat(f, &st), 0);
	CHECK_EQ(st.st_size, (1 << 20) + 100);
	CHECK_EQ(nacre_seek(f, 0, SEEK_HOLE), 65536);
	CHECK_EQ(nacre_seek(f, 70000, SEEK_DATA), 131072);
	CHECK_EQ(nacre_seek(f, -1, SEEK_DATA), -ENXIO);
	CHECK_EQ(nacre_seek(f, 0, SEEK_END), -EINVAL);
	CHECK_EQ(nacre_copy_file_range(f, 65530, g, 3, 1 << 20), (1 << 20) + 100 - 65530);
	CHECK_EQ(nacre_pread(g, got, 1 << 20, 3), (1 << 20) + 100 - 65530);
	CHECK(memcmp(got, "bbbbbb\0\0", 8) == 0 && got[70000] == 'b' &&
		got[(1 << 20) - 65530] == 0);
	CHECK_EQ(nacre_copy_file_range(f, 0, f, 5, 10), -EINVAL);
	CHECK_EQ(nacre_copy_file_range(f, 0, far, 0, 10), -EXDEV);
	CHECK_EQ(nacre_unlink(fs, "r"), 0);
	CHECK_EQ(nacre_unlink(fs, "copy"), 0);
	CHECK_EQ(nacre_unlink(fs, "far"), 0);
	CHECK_EQ(nacre_umount(fs), 0);
	CHECK_EQ(nacre_umount(other), 0);
	free(big);
	free(got);
}

static sem_t held;

/* On the servers' reactor: nobody is answered until the test says so. */
static void servers_hold(_unused_ void *arg)
{
	while (sem_wait(&held) != 0) {
	}
}

TEST(a_signal_ends_a_call)
{
	struct nacre *fs = mount_demo();
	struct sigaction on = {.sa_handler = nacre_interrupt, .sa_flags = SA_RESTART};
	struct itimerval soon = {.it_value = {.tv_usec = 200000}};
	struct stat st;

	/* Without a call it is nothing. */
	nacre_interrupt(0);
	CHECK_EQ(sem_init(&held, 0, 0), 0);
	CHECK_EQ(sigaction(SIGALRM, &on, NULL), 0);
	CHECK_EQ(nacre_stat(fs, "/", &st), 0);
	CHECK_EQ(posix_call_soon(sv.env, servers_hold, NULL), 0);
	CHECK_EQ(setitimer(ITIMER_REAL, &soon, NULL), 0);
	CHECK_EQ(nacre_stat(fs, "/", &st), -EINTR);
	CHECK_EQ(sem_post(&held), 0);
	/* The next is not interrupted by it. */
	CHECK_EQ(nacre_stat(fs, "/", &st), 0);
	CHECK_EQ(nacre_umount(fs), 0);
	CHECK_EQ(sem_destroy(&held), 0);
}

static unsigned dir_count(struct nacre *fs, const char *path)
{
	struct nacre_dirent e;
	struct nacre_dir *d;
	unsigned n = 0;
	int rc;

	CHECK_EQ(nacre_opendir(fs, path, &d), 0);
	while ((rc = nacre_readdir(d, &e)) > 0) {
		CHECK(e.ino != 0 && e.name[0] != '\0' && e.type == DT_REG);
		n++;
	}
	CHECK_EQ(rc, 0);
	CHECK_EQ(nacre_readdir(d, &e), 0);
	CHECK_EQ(nacre_closedir(d), 0);
	return n;
}

TEST(names)
{
	struct nacre *fs = mount_demo();
	struct nacre_file *f;
	struct statvfs vfs;
	struct stat st;
	struct timespec times[2] = {{.tv_sec = 5, .tv_nsec = 6}, {.tv_sec = -3, .tv_nsec = 4}};
	char buf[64];

	CHECK_EQ(nacre_mkdir(fs, "d", 0755), 0);
	CHECK_EQ(nacre_mkdir(fs, "d", 0755), -EEXIST);
	CHECK_EQ(nacre_mkdir(fs, "/", 0755), -EEXIST);
	for (unsigned i = 0; i < 300; i++) {
		snprintf(buf, sizeof(buf), "/d/file%u", i);
		CHECK_EQ(nacre_open(fs, buf, O_CREAT | O_WRONLY, 0644, &f), 0);
		CHECK_EQ(nacre_close(f), 0);
	}
	CHECK_EQ(dir_count(fs, "d"), 300);
	CHECK_EQ(nacre_rmdir(fs, "d"), -ENOTEMPTY);
	CHECK_EQ(nacre_rename(fs, "d/file1", "d//renamed/", 0), 0);
	CHECK_EQ(nacre_rename(fs, "d/file2", "d/file3", RENAME_NOREPLACE), -EEXIST);
	CHECK_EQ(nacre_link(fs, "d/renamed", "link"), 0);
	CHECK_EQ(nacre_stat(fs, "link", &st), 0);
	CHECK_EQ(st.st_nlink, 2);
	CHECK_EQ(nacre_symlink(fs, "d/../d/renamed", "sym"), 0);
	CHECK_EQ(nacre_readlink(fs, "sym", buf, sizeof(buf)), 14);
	CHECK_STR(buf, "d/../d/renamed");
	CHECK_EQ(nacre_readlink(fs, "sym", buf, 4), -ERANGE);
	CHECK_EQ(nacre_readlink(fs, "link", buf, 40), -EINVAL);
	CHECK_EQ(nacre_lstat(fs, "sym", &st), 0);
	CHECK(S_ISLNK(st.st_mode));
	CHECK_EQ(nacre_stat(fs, "sym", &st), 0);
	CHECK(S_ISREG(st.st_mode));
	CHECK_EQ(nacre_open(fs, "sym", O_RDONLY | O_NOFOLLOW, 0, &f), -ELOOP);
	CHECK_EQ(nacre_chmod(fs, "sym", 0600), 0);
	CHECK_EQ(nacre_chown(fs, "link", 1000, (gid_t)-1), 0);
	CHECK_EQ(nacre_utimens(fs, "link", times), 0);
	CHECK_EQ(nacre_stat(fs, "d/renamed", &st), 0);
	CHECK(st.st_mode == (S_IFREG | 0600) && st.st_uid == 1000 && st.st_gid == 0);
	CHECK(st.st_atim.tv_sec == 5 && st.st_atim.tv_nsec == 6);
	CHECK(st.st_mtim.tv_sec == -3 && st.st_mtim.tv_nsec == 4);
	CHECK_EQ(nacre_access(fs, "link", R_OK), 0);
	CHECK_EQ(nacre_setxattr(fs, "link", "user.x", "value", 5, 0), 0);
	CHECK_EQ(nacre_getxattr(fs, "link", "user.x", buf, sizeof(buf)), 5);
	CHECK_EQ(nacre_listxattr(fs, "link", buf, sizeof(buf)), 7);
	CHECK_EQ(nacre_removexattr(fs, "link", "user.x"), 0);
	CHECK_EQ(nacre_getxattr(fs, "link", "user.x", buf, sizeof(buf)), -ENODATA);
	CHECK_EQ(nacre_statvfs(fs, &vfs), 0);
	CHECK(vfs.f_blocks > 0 && vfs.f_files > 0 && vfs.f_namemax == 255);
	CHECK_EQ(nacre_unlink(fs, "d"), -EISDIR);
	CHECK_EQ(nacre_unlink(fs, "/"), -EBUSY);
	CHECK_EQ(nacre_stat(fs, "d/none/x", &st), -ENOENT);
	CHECK_EQ(nacre_stat(fs, "link/x", &st), -ENOTDIR);
	CHECK_EQ(nacre_stat(fs, "", &st), -ENOENT);
	CHECK_EQ(nacre_umount(fs), 0);
}

/* ---- threads ---- */

#define THREADS 6
#define ROUNDS 60
#define PART 5000

struct worker {
	struct nacre *fs;
	struct nacre_file *file;
	unsigned number;
	pthread_t thread;
};

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	char *buf = malloc(PART);
	char *got = malloc(PART);
	struct stat st;
	off_t off = (off_t)w->number * ROUNDS * PART;

	memset(buf, 'a' + (int)w->number, PART);
	for (unsigned i = 0; i < ROUNDS; i++, off += PART) {
		CHECK_EQ(nacre_pwrite(w->file, buf, PART, off), PART);
		CHECK_EQ(nacre_pread(w->file, got, PART, off), PART);
		CHECK(memcmp(buf, got, PART) == 0);
		CHECK_EQ(nacre_stat(w->fs, "/none", &st), -ENOENT);
		CHECK_STR(nacre_error_text(), "stat /none: no such file or directory");
	}
	free(buf);
	free(got);
	return NULL;
}

TEST(threads)
{
	struct nacre *fs = mount_demo();
	struct worker w[THREADS];
	struct nacre_file *f;
	struct stat st;

	CHECK_EQ(nacre_open(fs, "shared", O_CREAT | O_RDWR, 0644, &f), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		w[i] = (struct worker){.fs = fs, .file = f, .number = i};
		CHECK_EQ(pthread_create(&w[i].thread, NULL, worker_main, &w[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		CHECK_EQ(pthread_join(w[i].thread, NULL), 0);
	}
	CHECK_EQ(nacre_fstat(f, &st), 0);
	CHECK_EQ(st.st_size, THREADS * ROUNDS * PART);
	CHECK_EQ(nacre_close(f), 0);
	CHECK_EQ(nacre_umount(fs), 0);
}

/* ---- a failed assert ---- */

static unsigned logged;
/* A mount that was given up keeps all it had: not a leak while this points to it. */
static struct nacre *volatile given_up;

static void log_count(void *ctx, enum nacre_log_level level, const char *line)
{
	(void)ctx;
	logged += level == NACRE_LOG_ERROR && strstr(line, "inconsistent: false") != NULL;
}

static int wait_fiber(struct lib_call *call)
{
	atomic_store((_Atomic bool *)call->buf, true);
	env_sleep(call->fs->env, 3600 * NS_PER_S);
	return 0;
}

struct waiter {
	struct nacre *fs;
	_Atomic bool waits;
	int result;
};

static void *waiter_main(void *arg)
{
	struct waiter *w = arg;
	struct lib_call call = {.what = "wait", .fn = wait_fiber, .buf = (void *)&w->waits};

	w->result = lib_run(w->fs, &call);
	return NULL;
}

static int assert_fiber(struct lib_call *call)
{
	(void)call;
	ASSERT(false);
	return 0;
}

TEST(a_failed_assert_gives_up_the_mount_only)
{
	struct nacre *fs = mount_demo();
	struct nacre *other = mount_demo();
	struct lib_call call = {.what = "assert", .fn = assert_fiber};
	struct waiter w = {.fs = fs};
	struct stat st;
	pthread_t thread;

	given_up = fs;
	nacre_log_set(log_count, NULL, NACRE_LOG_ERROR);
	CHECK_EQ(pthread_create(&thread, NULL, waiter_main, &w), 0);
	while (!atomic_load(&w.waits)) {
		usleep(1000);
	}
	CHECK_EQ(lib_run(fs, &call), -ENOTRECOVERABLE);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	CHECK_EQ(w.result, -ENOTRECOVERABLE);
	CHECK_EQ(logged, 1);
	CHECK_EQ(nacre_stat(fs, "/", &st), -ENOTRECOVERABLE);
	CHECK_EQ(nacre_umount(fs), -ENOTRECOVERABLE);
	/* The other one does not care. */
	CHECK_EQ(nacre_stat(other, "/", &st), 0);
	CHECK_EQ(nacre_umount(other), 0);
	nacre_log_set(NULL, NULL, NACRE_LOG_INFO);
}

TEST(stop)
{
	char cmd[128];

	servers_start();
	reactor_stopping_set(sv.reactor);
	while (atomic_load(&sv.up)) {
		usleep(1000);
	}
	reactor_stop(sv.reactor);
	CHECK_EQ(pthread_join(sv.thread, NULL), 0);
	reactor_free(sv.reactor);
	snprintf(cmd, sizeof(cmd), "rm -rf %s", sv.dir);
	CHECK_EQ(system(cmd), 0);
}
