/*
 * Files on the file system of $TMPDIR.
 */
#include <fcntl.h>

#include "base/alloc.h"
#include "env/env_int.h"
#include "run.h"

static char dir[128];

static const char *at(const char *name)
{
	static char paths[4][256];
	static unsigned turn;
	char *path = paths[turn++ % 4];

	CHECK(snprintf(path, 256, "%s/%s", dir, name) > 0);
	return path;
}

static void with_dir(env_fiber_fn *fn)
{
	run_dir(dir, sizeof(dir));
	run_body(fn, NULL);
	CHECK_EQ(rmdir(dir), 0);
}

static void expect_bytes(struct env_file *f, uint64_t off, const char *text, size_t len)
{
	char buf[64];
	size_t got;

	CHECK(len < sizeof(buf));
	CHECK_EQ(env_pread(f, buf, sizeof(buf), off, &got), 0);
	CHECK_EQ(got, len);
	CHECK(memcmp(buf, text, len) == 0);
}

static void basic_body(_unused_ void *arg)
{
	struct env_file *f;
	struct env_file *g;
	struct env_stat st;
	struct iovec iov[3] = {{"hello ", 6}, {NULL, 0}, {"world", 5}};

	CHECK_EQ(env_file_open(env, at("a"), ENV_OPEN_READ, &f), -NE_NOENT);
	CHECK_EQ(env_file_open(env, at("a"), ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE, &f),
		0);
	CHECK_EQ(env_file_open(env, at("a"), ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_EXCL, &g),
		-NE_EXIST);
	CHECK_EQ(env_pwrite(f, iov, 3, 0), 0);
	expect_bytes(f, 0, "hello world", 11);
	expect_bytes(f, 6, "world", 5);
	expect_bytes(f, 11, "", 0);
	CHECK_EQ(env_fdatasync(f), 0);
	CHECK_EQ(env_ftruncate(f, 5), 0);
	expect_bytes(f, 0, "hello", 5);
	CHECK_EQ(env_file_utime(f, INT64_C(-1500000000)), 0);
	CHECK_EQ(env_fstat(f, &st), 0);
	CHECK_EQ(st.size, 5);
	CHECK_EQ(st.mtime_ns, INT64_C(-1500000000));
	CHECK(!st.is_dir && st.ino != 0);
	CHECK_EQ(env_file_lock(f), 0);
	CHECK_EQ(env_file_open(env, at("a"), ENV_OPEN_READ | ENV_OPEN_WRITE, &g), 0);
	CHECK_EQ(env_file_lock(g), -NE_LOCKED);
	env_file_close(f);
	CHECK_EQ(env_file_lock(g), 0);
	CHECK_EQ(env_syncfs(g), 0);
	env_file_close(g);
	CHECK_EQ(env_file_open(env, at("a"), ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_TRUNC, &f),
		0);
	expect_bytes(f, 0, "", 0);
	env_file_close(f);
	env_file_close(NULL);
	CHECK_EQ(env_unlink(env, at("a")), 0);
	CHECK_EQ(env_unlink(env, at("a")), -NE_NOENT);
}

TEST(file_basic)
{
	with_dir(basic_body);
}

static void space_body(_unused_ void *arg)
{
	struct env_file *f;
	struct env_stat st;
	struct iovec iov = {"x", 1};
	uint64_t off;
	char buf[8];
	size_t len;

	CHECK_EQ(env_file_open(env, at("s"), ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE, &f),
		0);
	CHECK_EQ(env_pwrite(f, &iov, 1, 1 << 20), 0);
	CHECK_EQ(env_fallocate(f, ENV_FALLOC_KEEP_SIZE, 4 << 20, 8 << 20), 0);
	CHECK_EQ(env_fstat(f, &st), 0);
	CHECK_EQ(st.size, (1 << 20) + 1);
	CHECK(st.blocks >= 8 << 20);
	CHECK_EQ(env_fallocate(f, ENV_FALLOC_PUNCH, 0, 16 << 20), 0);
	CHECK_EQ(env_fstat(f, &st), 0);
	CHECK_EQ(st.size, (1 << 20) + 1);
	CHECK(st.blocks <= 8 << 20); /* ext4 keeps what was reserved past the end */
	CHECK_EQ(env_pread(f, buf, 8, 1 << 20, &len), 0);
	CHECK_EQ(len, 1);
	CHECK_EQ(buf[0], 0);
	CHECK_EQ(env_fallocate(f, ENV_FALLOC_RESERVE, 0, 2 << 20), 0);
	CHECK_EQ(env_fstat(f, &st), 0);
	CHECK_EQ(st.size, 2 << 20);
	CHECK_EQ(env_ftruncate(f, 0), 0);
	CHECK_EQ(env_ftruncate(f, 4 << 20), 0);
	CHECK_EQ(env_pwrite(f, &iov, 1, 1 << 20), 0);
	CHECK_EQ(env_seek(f, 0, true, &off), 0);
	CHECK_EQ(off, 1 << 20);
	CHECK_EQ(env_seek(f, 1 << 20, false, &off), 0);
	CHECK(off > 1 << 20 && off <= (1 << 20) + 65536);
	CHECK_EQ(env_seek(f, off, true, &off), -NE_NXIO);
	CHECK_EQ(env_seek(f, 4 << 20, false, &off), -NE_NXIO);
	CHECK_EQ(env_ftruncate(f, UINT64_MAX), -NE_FBIG);
	CHECK_EQ(env_fallocate(f, ENV_FALLOC_RESERVE, INT64_MAX, 1), -NE_FBIG);
	env_file_close(f);
	CHECK_EQ(env_unlink(env, at("s")), 0);
}

TEST(file_space)
{
	with_dir(space_body);
}

/* ---- big reads and writes ---- */

#define BIG (1u << 20)

static void big_check(struct env_file *f, unsigned char *buf, const unsigned char *want)
{
	size_t len;

	memset(buf, 0, BIG);
	CHECK_EQ(env_pread(f, buf, BIG, 4096, &len), 0);
	CHECK_EQ(len, BIG);
	CHECK(memcmp(buf, want, BIG) == 0);
}

static void drop_cache(const char *path)
{
	int fd = open(path, O_RDONLY);

	CHECK(fd >= 0);
	CHECK_EQ(fsync(fd), 0);
	CHECK_EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	CHECK_EQ(close(fd), 0);
}

static void big_body(_unused_ void *arg)
{
	unsigned char *data = aligned_alloc(4096, BIG);
	unsigned char *buf = aligned_alloc(4096, BIG);
	struct env_file *f;
	struct iovec two[2];
	static struct iovec many[300];
	struct reactor_stats before;
	struct reactor_stats after;

	CHECK(data != NULL && buf != NULL);
	env_random_bytes(env, data, BIG);
	CHECK_EQ(env_file_open(env, at("b"),
			 ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_DIRECT, &f),
		0);
	/* Aligned: direct, by the ring. */
	two[0] = (struct iovec){data, BIG / 4};
	two[1] = (struct iovec){data + BIG / 4, BIG - BIG / 4};
	reactor_stats(run_reactor, &before);
	CHECK_EQ(env_pwrite(f, two, 2, 4096), 0);
	reactor_stats(run_reactor, &after);
	CHECK(after.sys_uring > before.sys_uring || after.sys_file > before.sys_file + 1);
	drop_cache(at("b"));
	reactor_stats(run_reactor, &before);
	big_check(f, buf, data);
	reactor_stats(run_reactor, &after);
	CHECK(after.sys_file > before.sys_file);
	/* Cached: no ring, no switch. */
	big_check(f, buf, data);
	reactor_stats(run_reactor, &after);
	before = after;
	big_check(f, buf, data);
	reactor_stats(run_reactor, &after);
	CHECK_EQ(after.sys_uring, before.sys_uring);
	CHECK_EQ(after.turns, before.turns);
	/* Unaligned pieces, more than one call takes. */
	for (unsigned i = 0; i < 300; i++) {
		size_t piece = BIG / 300;

		many[i].iov_base = data + i * piece;
		many[i].iov_len = i == 299 ? BIG - 299 * piece : piece;
	}
	CHECK_EQ(env_ftruncate(f, 0), 0);
	CHECK_EQ(env_pwrite(f, many, 300, 4096), 0);
	big_check(f, buf, data);
	env_file_close(f);
	CHECK_EQ(env_unlink(env, at("b")), 0);
	free(data);
	free(buf);
}

TEST(file_big)
{
	with_dir(big_body);
}

/* What comes from memory that begins within a page: all blocks of the piece go direct, its rest by the page cache. */
static void rest_body(_unused_ void *arg)
{
	size_t cut = BIG - 48;
	uint8_t *data = aligned_alloc(4096, BIG);
	uint8_t *buf = aligned_alloc(4096, BIG);
	struct reactor_stats before;
	struct reactor_stats after;
	struct iovec iov[2];
	struct env_file *f;

	CHECK(data != NULL && buf != NULL);
	env_random_bytes(env, data, BIG);
	CHECK_EQ(env_file_open(env, at("r"),
			 ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_DIRECT, &f),
		0);
	iov[0] = (struct iovec){data, cut};
	reactor_stats(run_reactor, &before);
	CHECK_EQ(env_pwrite(f, iov, 1, 4096), 0);
	reactor_stats(run_reactor, &after);
	CHECK(after.sys_uring > before.sys_uring || after.sys_file > before.sys_file + 2);
	iov[0] = (struct iovec){data + cut, BIG - cut};
	CHECK_EQ(env_pwrite(f, iov, 1, 4096 + cut), 0);
	big_check(f, buf, data);
	/* Several pieces, the last of them short, over what is there. */
	env_random_bytes(env, data, BIG);
	iov[0] = (struct iovec){data, BIG / 2};
	iov[1] = (struct iovec){data + BIG / 2, BIG / 2 - 4095};
	CHECK_EQ(env_pwrite(f, iov, 2, 4096), 0);
	iov[0] = (struct iovec){data + BIG - 4095, 4095};
	CHECK_EQ(env_pwrite(f, iov, 1, 4096 + BIG - 4095), 0);
	big_check(f, buf, data);
	drop_cache(at("r"));
	big_check(f, buf, data);
	env_file_close(f);
	CHECK_EQ(env_unlink(env, at("r")), 0);
	free(data);
	free(buf);
}

TEST(file_direct_but_for_the_rest)
{
	with_dir(rest_body);
}

/* Direct reads leave the page cache alone, and see what is written through it; cached ones read nothing. */
static void direct_body(_unused_ void *arg)
{
	uint8_t *data = aligned_alloc(4096, BIG);
	uint8_t *buf = aligned_alloc(4096, BIG);
	struct iovec iov = {data, BIG};
	struct env_file *f;
	size_t len = 1;

	CHECK(data != NULL && buf != NULL);
	env_random_bytes(env, data, BIG);
	CHECK_EQ(env_file_open(env, at("d"),
			 ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE | ENV_OPEN_DIRECT, &f),
		0);
	CHECK_EQ(env_pwrite(f, &iov, 1, 4096), 0);
	drop_cache(at("d"));
	CHECK_EQ(env_pread_direct(f, buf, BIG, 4096, &len), 0);
	CHECK_EQ(len, BIG);
	CHECK(memcmp(buf, data, BIG) == 0);
	CHECK_EQ(env_pread_cached(f, buf, BIG, 4096, &len), 0);
	CHECK_EQ(len, 0);
	/* A page of it, not written back. */
	data[5] ^= 1;
	iov = (struct iovec){data + 5, 1};
	CHECK_EQ(env_pwrite(f, &iov, 1, 4096 + 5), 0);
	CHECK_EQ(env_pread_direct(f, buf, BIG, 4096, &len), 0);
	CHECK(len == BIG && memcmp(buf, data, BIG) == 0);
	/* The end of the file is within the last block. */
	CHECK_EQ(env_ftruncate(f, 4096 + 5000), 0);
	CHECK_EQ(env_pread_direct(f, buf, BIG, 4096, &len), 0);
	CHECK(len == 5000 && memcmp(buf, data, len) == 0);
	CHECK_EQ(env_pread_direct(f, buf, BIG, 3 * 4096, &len), 0);
	CHECK_EQ(len, 0);
	CHECK_EQ(env_pread(f, buf, 5000, 4096, &len), 0);
	memset(buf, 0, 5000);
	CHECK_EQ(env_pread_cached(f, buf, 5000, 4096, &len), 0);
	CHECK(len == 5000 && memcmp(buf, data, len) == 0);
	env_file_close(f);
	CHECK_EQ(env_unlink(env, at("d")), 0);
	free(data);
	free(buf);
}

TEST(file_direct_reads)
{
	with_dir(direct_body);
}

static void full_body(_unused_ void *arg)
{
	struct env_file *f;
	struct iovec iov = {"x", 1};

	CHECK_EQ(env_file_open(env, "/dev/full", ENV_OPEN_WRITE, &f), 0);
	CHECK_EQ(env_pwrite(f, &iov, 1, 0), -NE_NOSPC);
	env_file_close(f);
}

TEST(file_no_space)
{
	run_body(full_body, NULL);
}

/* ---- names ---- */

static unsigned names_seen;

static int name_fn(void *ctx, const char *name)
{
	CHECK(strcmp(name, "one") == 0 || strcmp(name, "two") == 0);
	names_seen++;
	return *(int *)ctx;
}

static void names_body(_unused_ void *arg)
{
	struct env_file *f;
	struct env_stat st;
	struct env_statfs fs;
	int rc = 0;

	CHECK_EQ(env_mkdir(env, at("d")), 0);
	CHECK_EQ(env_mkdir(env, at("d")), -NE_EXIST);
	CHECK_EQ(env_mkdir(env, at("d/one")), 0);
	CHECK_EQ(env_file_open(env, at("d/x"), ENV_OPEN_WRITE | ENV_OPEN_CREATE, &f), 0);
	env_file_close(f);
	CHECK_EQ(env_rename(env, at("d/x"), at("d/two")), 0);
	CHECK_EQ(env_fsync_dir(env, at("d")), 0);
	CHECK_EQ(env_fsync_dir(env, at("nothing")), -NE_NOENT);
	CHECK_EQ(env_stat(env, at("d"), &st), 0);
	CHECK(st.is_dir);
	CHECK_EQ(env_stat(env, at("d/x"), &st), -NE_NOENT);
	names_seen = 0;
	CHECK_EQ(env_readdir(env, at("d"), name_fn, &rc), 0);
	CHECK_EQ(names_seen, 2);
	rc = -NE_STALE;
	CHECK_EQ(env_readdir(env, at("d"), name_fn, &rc), -NE_STALE);
	CHECK_EQ(names_seen, 3);
	CHECK_EQ(env_readdir(env, at("nothing"), name_fn, &rc), -NE_NOENT);
	CHECK_EQ(env_rmdir(env, at("d")), -NE_NOTEMPTY);
	CHECK_EQ(env_rmdir(env, at("d/one")), 0);
	CHECK_EQ(env_unlink(env, at("d/two")), 0);
	CHECK_EQ(env_rmdir(env, at("d")), 0);
	CHECK_EQ(env_statfs(env, dir, &fs), 0);
	CHECK(fs.bytes_total > 0 && fs.bytes_avail <= fs.bytes_free);
	CHECK(fs.bytes_free <= fs.bytes_total);
}

TEST(file_names)
{
	with_dir(names_body);
}

/* Many at once: more than the ring has entries. */

#define MANY 600

static struct env_file *many_file;
static unsigned many_done;

static void many_fn(void *arg)
{
	uint64_t value = (uint64_t)(uintptr_t)arg;
	struct iovec iov = {&value, sizeof(value)};
	uint64_t back = 0;
	size_t len;

	CHECK_EQ(env_pwrite(many_file, &iov, 1, value * sizeof(value)), 0);
	CHECK_EQ(env_fdatasync(many_file), 0);
	CHECK_EQ(env_pread(many_file, &back, sizeof(back), value * sizeof(value), &len), 0);
	CHECK_EQ(len, sizeof(back));
	CHECK(back == value);
	many_done++;
}

static void many_body(_unused_ void *arg)
{
	many_done = 0;
	CHECK_EQ(env_file_open(env, at("m"), ENV_OPEN_READ | ENV_OPEN_WRITE | ENV_OPEN_CREATE,
			 &many_file),
		0);
	for (uintptr_t i = 0; i < MANY; i++) {
		CHECK_EQ(env_spawn(env, "many", many_fn, (void *)i), 0);
	}
	while (many_done < MANY) {
		env_sleep(env, NS_PER_MS);
	}
	env_file_close(many_file);
	CHECK_EQ(env_unlink(env, at("m")), 0);
}

TEST(file_more_than_the_ring_holds)
{
	with_dir(many_body);
}
