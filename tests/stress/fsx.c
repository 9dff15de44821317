/*
 * fsx: random operations on one file, each compared with what a plain buffer says the file must hold.
 *
 * `fsx [-s SEED] [-n OPS | -t SECONDS] [-m BYTES] [-x LIST] [-q] PATH [PATH2]`. Reads and writes (also vectored, appending,
 * O_DIRECT, synchronous), mappings (shared, private; msync), truncates, fallocate in all its modes, holes looked for,
 * copy_file_range, fsync, closing and opening again. PATH2 names the same file through another mount: operations then
 * alternate between the two and leave out what the kernel does with a size or pages of its own before it asks anybody
 * (mappings, copy_file_range, RWF_APPEND): that is coherent with leases only. -x leaves operations out by name. The same seed gives the same operations. Everything beyond a written byte must be zero; the
 * size is looked at after each operation. On a difference: the place, both contents, the last operations, status 1.
 */
#define _GNU_SOURCE 1
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define LINE_BYTES 160
#define LINES 48
#define PAGE 4096
#define MODE_ZERO_RANGE 0x10

struct fsx {
	const char *paths[2];
	unsigned path_count;
	int fds[2]; /* O_RDWR */
	int direct[2]; /* O_DIRECT, or -1 where there is none */
	int append[2];
	unsigned who; /* which mount the operation at hand uses */
	uint8_t *good; /* what the file holds */
	uint8_t *buf; /* page-aligned */
	uint64_t size;
	uint64_t max;
	uint64_t rng;
	uint64_t ops;
	uint64_t counts[32];
	const char *left_out;
	bool direct_any; /* O_DIRECT of any alignment works */
	bool quiet;
	char lines[LINES][LINE_BYTES];
};

static uint64_t next_random(struct fsx *f)
{
	uint64_t z = (f->rng += UINT64_C(0x9e3779b97f4a7c15));

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static uint64_t below(struct fsx *f, uint64_t bound)
{
	return bound == 0 ? 0 : next_random(f) % bound;
}

/* Small numbers often, borders of pages and stripes often. */
static uint64_t place(struct fsx *f, uint64_t bound)
{
	uint64_t at;

	switch (below(f, 4)) {
	case 0:
		at = below(f, 6000);
		break;
	case 1:
		at = below(f, bound) / PAGE * PAGE;
		break;
	case 2:
		at = below(f, bound) / 65536 * 65536 + below(f, 3) - 1;
		break;
	default:
		at = below(f, bound);
		break;
	}
	return at < bound ? at : below(f, bound);
}

static uint64_t length(struct fsx *f, uint64_t bound)
{
	uint64_t most = below(f, 3) == 0 ? 300 : (below(f, 4) == 0 ? 1 << 19 : 1 << 16);
	uint64_t len = 1 + below(f, most);

	return len < bound ? len : bound;
}

static void note(struct fsx *f, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void note(struct fsx *f, const char *format, ...)
{
	char *line = f->lines[f->ops % LINES];
	int n = snprintf(line, LINE_BYTES, "%" PRIu64 " %c ", f->ops, "AB"[f->who]);
	va_list args;

	va_start(args, format);
	(void)vsnprintf(line + n, (size_t)(LINE_BYTES - n), format, args);
	va_end(args);
}

static void fail(struct fsx *f, const char *what)
{
	int number = errno;
	uint64_t from = f->ops < LINES - 1 ? 0 : f->ops - (LINES - 1);

	printf("fsx: operation %" PRIu64 ": %s (errno %d: %s), size %" PRIu64 "\n", f->ops, what,
		number, strerror(number), f->size);
	for (uint64_t i = from; i <= f->ops; i++) {
		printf("  %s\n", f->lines[i % LINES]);
	}
	exit(1);
}

static void compare(struct fsx *f, const uint8_t *got, uint64_t off, uint64_t len, const char *what)
{
	for (uint64_t i = 0; i < len; i++) {
		if (got[i] != f->good[off + i]) {
			uint64_t bad = 0;

			for (uint64_t k = i; k < len; k++) {
				bad += got[k] != f->good[off + k];
			}
			printf("fsx: %s at %" PRIu64 ": byte %" PRIu64
			       " is %02x, not %02x; %" PRIu64 " bytes differ\n",
				what, off, off + i, got[i], f->good[off + i], bad);
			errno = 0;
			fail(f, "contents");
		}
	}
}

/* Bytes that tell which operation wrote them. */
static void fill(struct fsx *f, uint8_t *to, uint64_t len)
{
	uint8_t seed = (uint8_t)next_random(f);

	for (uint64_t i = 0; i < len; i++) {
		to[i] = (uint8_t)(seed + i * 7 + (i >> 8)) | 1;
	}
}

static void grown(struct fsx *f, uint64_t end)
{
	if (end > f->size) {
		memset(f->good + f->size, 0, end - f->size);
		f->size = end;
	}
}

/* Does the file system take direct I/O of any alignment? Leaves no file. */
static bool direct_probe(struct fsx *f, const char *path)
{
	int fd = open(path, O_RDWR | O_DIRECT | O_CREAT | O_TRUNC, 0644);
	bool any = fd >= 0 && pwrite(fd, f->buf + 1, 3, 1) == 3;

	if (fd >= 0) {
		(void)close(fd);
	}
	(void)unlink(path);
	return any;
}

/* ---- operations ---- */

static void files_open(struct fsx *f, unsigned who)
{
	const char *path = f->paths[who];

	f->fds[who] = open(path, O_RDWR | O_CREAT | (below(f, 16) == 0 ? O_DSYNC : 0), 0644);
	f->append[who] = open(path, O_WRONLY | O_APPEND);
	f->direct[who] = f->direct_any ? open(path, O_RDWR | O_DIRECT) : -1;
	if (f->fds[who] < 0 || f->append[who] < 0 || (f->direct[who] < 0 && f->direct_any)) {
		fail(f, "open");
	}
}

static void op_reopen(struct fsx *f)
{
	note(f, "reopen");
	if (close(f->fds[f->who]) != 0 || close(f->append[f->who]) != 0) {
		fail(f, "close");
	}
	if (f->direct[f->who] >= 0) {
		(void)close(f->direct[f->who]);
	}
	files_open(f, f->who);
}

static void op_read(struct fsx *f)
{
	uint64_t off = place(f, f->max);
	uint64_t len = length(f, f->max - off);
	uint64_t want = off >= f->size ? 0 : (len < f->size - off ? len : f->size - off);
	bool direct = f->direct[f->who] >= 0 && below(f, 4) == 0;
	ssize_t n;

	if (direct && f->path_count == 1 && below(f, 2) == 0) {
		off = off / PAGE * PAGE;
		len = (len + PAGE - 1) / PAGE * PAGE;
		want = off >= f->size ? 0 : (len < f->size - off ? len : f->size - off);
	}
	note(f, "read%s %" PRIu64 " +%" PRIu64, direct ? " direct" : "", off, len);
	memset(f->buf, 0xa5, len);
	n = pread(direct ? f->direct[f->who] : f->fds[f->who], f->buf, len, (off_t)off);
	if (n < 0 || (uint64_t)n != want) {
		printf("fsx: read gave %zd, not %" PRIu64 "\n", n, want);
		fail(f, "read");
	}
	compare(f, f->buf, off, want, "read");
}

static void op_readv(struct fsx *f)
{
	uint64_t off = place(f, f->size + 1);
	uint64_t len = length(f, f->max - off);
	uint64_t cut = below(f, len + 1);
	uint64_t want = len < f->size - off ? len : f->size - off;
	struct iovec iov[3] = {{f->buf, cut}, {f->buf + cut, 0}, {f->buf + cut, len - cut}};
	ssize_t n;

	note(f, "readv %" PRIu64 " +%" PRIu64, off, len);
	n = preadv(f->fds[f->who], iov, 3, (off_t)off);
	if (n < 0 || (uint64_t)n != want) {
		fail(f, "readv");
	}
	compare(f, f->buf, off, want, "readv");
}

static void op_write(struct fsx *f)
{
	uint64_t off = place(f, below(f, 4) == 0 ? f->max : f->size + 1);
	uint64_t len = length(f, f->max - off);
	bool direct = f->direct[f->who] >= 0 && below(f, 4) == 0;
	unsigned shift = direct ? (unsigned)below(f, 2) : 0; /* odd memory too */
	ssize_t n;

	fill(f, f->buf + shift, len);
	note(f, "write%s %" PRIu64 " +%" PRIu64, direct ? " direct" : "", off, len);
	n = pwrite(direct ? f->direct[f->who] : f->fds[f->who], f->buf + shift, len, (off_t)off);
	if (n < 0 || (uint64_t)n != len) {
		fail(f, "write");
	}
	grown(f, off + len);
	memcpy(f->good + off, f->buf + shift, len);
}

static void op_writev(struct fsx *f)
{
	uint64_t off = place(f, f->size + 1);
	uint64_t len = length(f, f->max - off);
	uint64_t cut = below(f, len + 1);
	struct iovec iov[3] = {{f->buf, cut}, {f->buf, 0}, {f->buf + cut, len - cut}};
	int flags = below(f, 4) == 0 ? RWF_DSYNC : 0;
	ssize_t n;

	fill(f, f->buf, len);
	note(f, "writev %" PRIu64 " +%" PRIu64 " flags %d", off, len, flags);
	n = pwritev2(f->fds[f->who], iov, 3, (off_t)off, flags);
	if (n < 0 || (uint64_t)n != len) {
		fail(f, "writev");
	}
	grown(f, off + len);
	memcpy(f->good + off, f->buf, len);
}

static void op_append(struct fsx *f)
{
	uint64_t off = f->size;
	uint64_t len = length(f, f->max - off);
	bool flag = f->path_count == 1 && below(f, 2) == 0;
	struct iovec iov = {f->buf, len};
	ssize_t n;

	note(f, "append%s %" PRIu64 " +%" PRIu64, flag ? " RWF" : "", off, len);
	if (len == 0) {
		return;
	}
	fill(f, f->buf, len);
	n = flag ? pwritev2(f->fds[f->who], &iov, 1, 0, RWF_APPEND)
		 : write(f->append[f->who], f->buf, len);
	if (n < 0 || (uint64_t)n != len) {
		fail(f, "append");
	}
	grown(f, off + len);
	memcpy(f->good + off, f->buf, len);
}

static void op_truncate(struct fsx *f)
{
	uint64_t size = place(f, below(f, 3) == 0 ? f->max : f->size + 1);

	note(f, "truncate %" PRIu64 " (from %" PRIu64 ")", size, f->size);
	if (ftruncate(f->fds[f->who], (off_t)size) != 0) {
		fail(f, "truncate");
	}
	grown(f, size);
	f->size = size;
}

static void allocate(struct fsx *f, int mode, const char *name)
{
	uint64_t off = place(f, f->max);
	uint64_t len = length(f, f->max - off);
	uint64_t end = off + len;

	note(f, "%s %" PRIu64 " +%" PRIu64 " mode %x", name, off, len, (unsigned)mode);
	if (fallocate(f->fds[f->who], mode, (off_t)off, (off_t)len) != 0) {
		if (errno == EOPNOTSUPP) {
			return;
		}
		fail(f, name);
	}
	if ((mode & FALLOC_FL_KEEP_SIZE) == 0) {
		grown(f, end);
	}
	end = end < f->size ? end : f->size;
	if ((mode & (FALLOC_FL_PUNCH_HOLE | MODE_ZERO_RANGE)) != 0 && off < end) {
		memset(f->good + off, 0, end - off);
	}
}

static void op_allocate(struct fsx *f)
{
	allocate(f, below(f, 2) == 0 ? FALLOC_FL_KEEP_SIZE : 0, "allocate");
}

static void op_punch(struct fsx *f)
{
	allocate(f, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, "punch");
}

static void op_zero(struct fsx *f)
{
	allocate(f, MODE_ZERO_RANGE | (below(f, 2) == 0 ? FALLOC_FL_KEEP_SIZE : 0), "zero");
}

static void op_seek(struct fsx *f)
{
	uint64_t off = place(f, f->max);
	off_t data = lseek(f->fds[f->who], (off_t)off, SEEK_DATA);
	uint64_t stop;
	off_t hole;

	note(f, "seek %" PRIu64 " -> %jd", off, (intmax_t)data);
	if (data < 0 && errno != ENXIO) {
		fail(f, "SEEK_DATA");
	}
	/* Nothing but zeros lies before the data that was found. */
	stop = data < 0 ? f->size : (uint64_t)data;
	if (stop > f->size || (data >= 0 && stop < off)) {
		fail(f, "SEEK_DATA beyond the end");
	}
	for (uint64_t i = off; i < stop; i++) {
		if (f->good[i] != 0) {
			fail(f, "SEEK_DATA skipped data");
		}
	}
	hole = lseek(f->fds[f->who], (off_t)off, SEEK_HOLE);
	if (off >= f->size ? hole != -1 || errno != ENXIO
			   : hole < (off_t)off || (uint64_t)hole > f->size) {
		fail(f, "SEEK_HOLE");
	}
}

static void op_copy(struct fsx *f)
{
	uint64_t len = length(f, f->max / 4);
	off_t from = (off_t)place(f, f->size + 1);
	off_t to = (off_t)place(f, f->max - len);
	uint64_t want = len < f->size - (uint64_t)from ? len : f->size - (uint64_t)from;
	uint64_t src = (uint64_t)from;
	uint64_t dst = (uint64_t)to;
	uint64_t left = want;

	if (src < dst + len && dst < src + len) {
		return;
	}
	note(f, "copy %" PRIu64 " -> %" PRIu64 " +%" PRIu64, src, dst, len);
	memcpy(f->buf, f->good + src, want);
	while (left > 0) {
		ssize_t n = copy_file_range(f->fds[f->who], &from, f->fds[f->who], &to, left, 0);

		if (n <= 0) {
			fail(f, "copy_file_range");
		}
		left -= (uint64_t)n;
	}
	if (want > 0) {
		grown(f, dst + want);
		memcpy(f->good + dst, f->buf, want);
	}
}

static void op_map_read(struct fsx *f)
{
	uint64_t off = place(f, f->size) / PAGE * PAGE;
	uint64_t len = f->size == 0 ? 0 : length(f, f->size - off);
	bool shared = below(f, 2) == 0;
	uint8_t *map;

	note(f, "mapread%s %" PRIu64 " +%" PRIu64, shared ? "" : " private", off, len);
	if (len == 0) {
		return;
	}
	map = mmap(NULL, len, PROT_READ, shared ? MAP_SHARED : MAP_PRIVATE, f->fds[f->who],
		(off_t)off);
	if (map == MAP_FAILED) {
		fail(f, "mmap");
	}
	compare(f, map, off, len, "mapping");
	/* Behind the end of the file a page holds zeros. */
	for (uint64_t i = f->size - off; off + len == f->size && i % PAGE != 0; i++) {
		if (map[i] != 0) {
			fail(f, "bytes behind the end in a mapping");
		}
	}
	(void)munmap(map, len);
}

static void op_map_write(struct fsx *f)
{
	uint64_t off = place(f, f->size);
	uint64_t len = f->size == 0 ? 0 : length(f, f->size - off);
	uint64_t base = off / PAGE * PAGE;
	bool flush = below(f, 2) == 0;
	uint8_t *map;

	note(f, "mapwrite%s %" PRIu64 " +%" PRIu64, flush ? " msync" : "", off, len);
	if (len == 0) {
		return;
	}
	map = mmap(NULL, len + off - base, PROT_READ | PROT_WRITE, MAP_SHARED, f->fds[f->who],
		(off_t)base);
	if (map == MAP_FAILED) {
		fail(f, "mmap");
	}
	fill(f, f->good + off, len);
	memcpy(map + (off - base), f->good + off, len);
	if (flush && msync(map, len + off - base, MS_SYNC) != 0) {
		fail(f, "msync");
	}
	(void)munmap(map, len + off - base);
}

static void op_sync(struct fsx *f)
{
	bool data = below(f, 2) == 0;

	note(f, data ? "fdatasync" : "fsync");
	if ((data ? fdatasync(f->fds[f->who]) : fsync(f->fds[f->who])) != 0) {
		fail(f, "fsync");
	}
}

static const struct {
	const char *name;
	void (*fn)(struct fsx *f);
	unsigned weight;
	bool alone; /* one mount only */
} table[] = {
	{"read", op_read, 10, false},
	{"readv", op_readv, 4, false},
	{"write", op_write, 12, false},
	{"writev", op_writev, 4, false},
	{"append", op_append, 4, false},
	{"truncate", op_truncate, 6, false},
	{"allocate", op_allocate, 4, false},
	{"punch", op_punch, 5, false},
	{"zero", op_zero, 4, false},
	{"seek", op_seek, 4, false},
	{"copy", op_copy, 4, true},
	{"mapread", op_map_read, 6, true},
	{"mapwrite", op_map_write, 6, true},
	{"fsync", op_sync, 1, false},
	{"reopen", op_reopen, 1, false},
};

#define OPS (sizeof(table) / sizeof(table[0]))

static bool op_wanted(const struct fsx *f, size_t i)
{
	const char *at = f->left_out;
	size_t len = strlen(table[i].name);

	if (table[i].alone && f->path_count > 1) {
		return false;
	}
	while (at != NULL && (at = strstr(at, table[i].name)) != NULL) {
		if ((at == f->left_out || at[-1] == ',') && (at[len] == ',' || at[len] == '\0')) {
			return false;
		}
		at += len;
	}
	return true;
}

static size_t op_choose(struct fsx *f)
{
	unsigned sum = 0;
	uint64_t n;
	size_t i;

	for (i = 0; i < OPS; i++) {
		sum += op_wanted(f, i) ? table[i].weight : 0;
	}
	n = below(f, sum);
	for (i = 0; i < OPS; i++) {
		unsigned weight = op_wanted(f, i) ? table[i].weight : 0;

		if (n < weight) {
			break;
		}
		n -= weight;
	}
	return i;
}

static void size_check(struct fsx *f)
{
	struct stat st;

	if (fstat(f->fds[f->who], &st) != 0) {
		fail(f, "fstat");
	}
	if ((uint64_t)st.st_size != f->size) {
		printf("fsx: the size is %jd, not %" PRIu64 "\n", (intmax_t)st.st_size, f->size);
		errno = 0;
		fail(f, "size");
	}
}

static void whole_check(struct fsx *f)
{
	for (f->who = 0; f->who < f->path_count; f->who++) {
		ssize_t n = pread(f->fds[f->who], f->buf, f->max, 0);

		note(f, "whole file");
		if (n < 0 || (uint64_t)n != f->size) {
			fail(f, "reading the whole file");
		}
		compare(f, f->buf, 0, f->size, "the whole file");
	}
}

static uint64_t now_s(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec;
}

static void run(struct fsx *f, uint64_t ops, uint64_t seconds)
{
	uint64_t end = now_s() + seconds;

	while (f->ops < ops && (seconds == 0 || now_s() < end)) {
		size_t i;

		f->who = (unsigned)(f->path_count > 1 ? f->ops % 2 : 0);
		i = op_choose(f);
		table[i].fn(f);
		f->counts[i]++;
		size_check(f);
		f->ops++;
		if (f->ops % 500 == 0) {
			whole_check(f);
		}
	}
	whole_check(f);
}

static void summary(const struct fsx *f)
{
	printf("fsx: %" PRIu64 " operations:", f->ops);
	for (size_t i = 0; i < OPS; i++) {
		printf(" %s %" PRIu64, table[i].name, f->counts[i]);
	}
	printf("\n");
}

static int usage(void)
{
	(void)fprintf(stderr,
		"usage: fsx [-s SEED] [-n OPS | -t SECONDS] [-m BYTES] [-x LIST] "
		"PATH [PATH2]\n");
	return 2;
}

int main(int argc, char **argv)
{
	static struct fsx fsx;
	struct fsx *f = &fsx;
	uint64_t ops = 0;
	uint64_t seconds = 0;
	uint64_t seed = 1;
	int c;

	f->max = 1 << 20;
	while ((c = getopt(argc, argv, "s:n:t:m:x:q")) != -1) {
		switch (c) {
		case 's':
			seed = strtoull(optarg, NULL, 0);
			break;
		case 'n':
			ops = strtoull(optarg, NULL, 0);
			break;
		case 't':
			seconds = strtoull(optarg, NULL, 0);
			break;
		case 'm':
			f->max = strtoull(optarg, NULL, 0);
			break;
		case 'x':
			f->left_out = optarg;
			break;
		case 'q':
			f->quiet = true;
			break;
		default:
			return usage();
		}
	}
	if (optind == argc || argc - optind > 2 || f->max < 8192) {
		return usage();
	}
	f->path_count = (unsigned)(argc - optind);
	f->rng = seed;
	f->good = calloc(1, f->max + PAGE);
	f->buf = aligned_alloc(PAGE, (f->max + 2 * PAGE) / PAGE * PAGE);
	if (f->good == NULL || f->buf == NULL) {
		return 1;
	}
	f->direct_any = direct_probe(f, argv[optind]);
	for (unsigned i = 0; i < f->path_count; i++) {
		f->paths[i] = argv[optind + (int)i];
		files_open(f, i);
	}
	run(f, ops == 0 && seconds == 0 ? 1000 : (ops == 0 ? UINT64_MAX : ops), seconds);
	if (!f->quiet) {
		summary(f);
	}
	return 0;
}
