/*
 * What a mounted file system does per second: creates, stats, open+read+close, unlinks, 4 KiB reads at random, 1 MiB
 * sequential writes and reads. `bench_fs DIR PROCESSES SECONDS`: one line of figures. Needs nothing of Nacre.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BIG_BYTES (256 << 20)
#define IO_BYTES (1 << 20)
#define FILES_MAX 200000

struct run {
	char dir[512];
	double seconds;
	char *buf;
	unsigned count; /* files made by the create run */
};

static double now(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void path_of(const struct run *r, unsigned i, char *path, size_t cap)
{
	(void)snprintf(path, cap, "%s/f%u", r->dir, i);
}

static uint64_t bench_create(struct run *r)
{
	double end = now() + r->seconds;
	char path[600];
	unsigned i = 0;

	for (; i < FILES_MAX && (i % 16 != 0 || now() < end); i++) {
		int fd;

		path_of(r, i, path, sizeof(path));
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0644);
		if (fd < 0) {
			die(path);
		}
		(void)close(fd);
	}
	r->count = i;
	return i;
}

static uint64_t bench_stat(struct run *r)
{
	double end = now() + r->seconds;
	char path[600];
	uint64_t n = 0;
	struct stat st;

	for (; n % 16 != 0 || now() < end; n++) {
		path_of(r, (unsigned)(n % r->count), path, sizeof(path));
		if (stat(path, &st) != 0) {
			die(path);
		}
	}
	return n;
}

static uint64_t bench_open_read(struct run *r)
{
	double end = now() + r->seconds;
	char path[600];
	uint64_t n = 0;

	for (; n % 16 != 0 || now() < end; n++) {
		int fd;

		path_of(r, (unsigned)(n % r->count), path, sizeof(path));
		fd = open(path, O_RDONLY);
		if (fd < 0 || read(fd, r->buf, 4096) < 0) {
			die(path);
		}
		(void)close(fd);
	}
	return n;
}

static uint64_t bench_unlink(struct run *r)
{
	char path[600];

	for (unsigned i = 0; i < r->count; i++) {
		path_of(r, i, path, sizeof(path));
		if (unlink(path) != 0) {
			die(path);
		}
	}
	return r->count;
}

static int big_open(struct run *r, int flags)
{
	char path[600];
	int fd;

	(void)snprintf(path, sizeof(path), "%s/big", r->dir);
	fd = open(path, flags, 0644);
	if (fd < 0) {
		die(path);
	}
	return fd;
}

static uint64_t bench_write(struct run *r)
{
	double end = now() + r->seconds;
	int fd = big_open(r, O_WRONLY | O_CREAT);
	uint64_t n = 0;

	/* At least once through, so that reads find data. */
	for (; n < BIG_BYTES / IO_BYTES || now() < end; n++) {
		if (pwrite(fd, r->buf, IO_BYTES, (off_t)(n * IO_BYTES % BIG_BYTES)) != IO_BYTES) {
			die("pwrite");
		}
	}
	(void)close(fd);
	return n;
}

static uint64_t bench_read(struct run *r)
{
	double end = now() + r->seconds;
	int fd = big_open(r, O_RDONLY);
	uint64_t n = 0;

	for (; now() < end; n++) {
		if (pread(fd, r->buf, IO_BYTES, (off_t)(n * IO_BYTES % BIG_BYTES)) != IO_BYTES) {
			die("pread");
		}
	}
	(void)close(fd);
	return n;
}

static uint64_t bench_random(struct run *r)
{
	double end = now() + r->seconds;
	int fd = big_open(r, O_RDONLY);
	uint64_t n = 0, x = 88172645463325252u + (uint64_t)getpid();

	for (; n % 16 != 0 || now() < end; n++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		if (pread(fd, r->buf, 4096, (off_t)(x % (BIG_BYTES / 4096) * 4096)) != 4096) {
			die("pread");
		}
	}
	(void)close(fd);
	return n;
}

static const struct {
	const char *name;
	uint64_t (*fn)(struct run *r);
	double unit;
} benches[] = {
	{"create/s", bench_create, 1},
	{"stat/s", bench_stat, 1},
	{"open+read/s", bench_open_read, 1},
	{"unlink/s", bench_unlink, 1},
	{"write GB/s", bench_write, IO_BYTES / 1e9},
	{"read GB/s", bench_read, IO_BYTES / 1e9},
	{"4k randread/s", bench_random, 1},
};

#define BENCHES (sizeof(benches) / sizeof(benches[0]))

struct result {
	double rate[BENCHES];
	volatile unsigned done[BENCHES];
};

static void child(
	const char *dir, unsigned id, unsigned procs, double seconds, struct result *shared)
{
	static struct run r;

	r.seconds = seconds;
	r.buf = mmap(NULL, IO_BYTES, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	(void)snprintf(r.dir, sizeof(r.dir), "%s/p%u", dir, id);
	if (r.buf == MAP_FAILED || mkdir(r.dir, 0755) != 0) {
		die(r.dir);
	}
	memset(r.buf, 'x', IO_BYTES);
	for (unsigned b = 0; b < BENCHES; b++) {
		double begin;

		__sync_fetch_and_add(&shared[0].done[b], 1);
		while (shared[0].done[b] < procs) {
			usleep(200);
		}
		begin = now();
		shared[id].rate[b] = (double)benches[b].fn(&r) * benches[b].unit;
		shared[id].rate[b] /= now() - begin;
	}
	exit(0);
}

int main(int argc, char **argv)
{
	unsigned procs = argc == 4 ? (unsigned)atoi(argv[2]) : 0;
	struct result *shared;
	int status, bad = 0;

	if (procs == 0 || procs > 64) {
		fprintf(stderr, "usage: bench_fs DIR PROCESSES SECONDS\n");
		return 1;
	}
	shared = mmap(NULL, procs * sizeof(*shared), PROT_READ | PROT_WRITE,
		MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED) {
		die("mmap");
	}
	for (unsigned i = 0; i < procs; i++) {
		if (fork() == 0) {
			child(argv[1], i, procs, atof(argv[3]), shared);
		}
	}
	while (wait(&status) > 0) {
		bad |= status;
	}
	printf("processes=%u", procs);
	for (unsigned b = 0; b < BENCHES; b++) {
		double sum = 0;

		for (unsigned i = 0; i < procs; i++) {
			sum += shared[i].rate[b];
		}
		printf("  %s %.*f", benches[b].name, sum < 100 ? 2 : 0, sum);
	}
	printf("\n");
	return bad != 0;
}
