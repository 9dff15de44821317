/*
 * The workload driver of ./dev bench: one workload on one directory, in C so that the driver costs next to nothing.
 *
 *	bench_workload WORKLOAD DIRECTORY [--jobs N] [--count N] [--bytes N] [--seconds S] [--size N] [--shared]
 *		[--source HOST:PORT:/FS --key FILE]
 *
 * Jobs are processes; with --source they are threads on libnacre and DIRECTORY is a path inside the file system. All
 * jobs begin together; the time is from there to the end of the last. What was written follows from its place in
 * the file, and every read is compared with that: a bench that read the wrong bytes fails. Prints one line of JSON:
 * operations, bytes, seconds, and the CPU seconds of this process and its jobs.
 *
 * Invariant: what is measured is the loop of a job between the barrier and its end, nothing else; opening a big
 * file comes before the barrier, fsync at the end of a write belongs to it.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "workload.h"

#define MIB ((size_t)1 << 20)
#define BLOCK ((size_t)4096)
#define HARD ((size_t)47008) /* the odd size of IO500's shared file */
#define JOBS_MAX 64
#define PATH_BYTES 1024

struct config {
	const struct fs_ops *fs;
	const char *dir;
	const char *source;
	const char *key;
	unsigned jobs;
	uint64_t count; /* of all jobs together */
	uint64_t bytes; /* of the big file */
	size_t size; /* of a small file */
	double seconds;
	bool shared;
};

/* In memory that processes share. */
struct result {
	uint64_t begin_ns;
	uint64_t end_ns;
	uint64_t ops;
	uint64_t bytes;
};

struct board {
	pthread_barrier_t begin;
	struct result results[JOBS_MAX];
};

struct job {
	const struct config *config;
	const struct workload *workload;
	struct board *board;
	struct result *result;
	unsigned number;
	uint8_t *buf; /* 1 MiB, page-aligned */
	uint8_t *want; /* what a read is compared with */
	uint64_t random;
};

struct workload {
	const char *name;
	void (*run)(struct job *job);
	bool one_job; /* streams have one */
};

static uint64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static void fail(const char *what, const char *path, int64_t err)
{
	fprintf(stderr, "workload: %s %s: %s\n", what, path,
		err < 0 ? strerror((int)-err) : "wrong data or size");
	_exit(1);
}

static void must(int64_t res, const char *what, const char *path)
{
	if (res < 0) {
		fail(what, path, res);
	}
}

static void must_all(ssize_t res, size_t len, const char *what, const char *path)
{
	if (res < 0 || (size_t)res != len) {
		fail(what, path, res);
	}
}

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

/* Every block of a big file holds the same bytes but for its first eight, which are its number: cheap to make, and a
 * block of another place is seen. */
static void stamp(uint8_t *buf, size_t len, uint64_t off)
{
	for (size_t at = 0; at + sizeof(uint64_t) <= len; at += BLOCK) {
		uint64_t number = mix((off + at) / BLOCK);

		memcpy(buf + at, &number, sizeof(number));
	}
}

static void stamp_check(const uint8_t *buf, size_t len, uint64_t off, const char *path)
{
	for (size_t at = 0; at + sizeof(uint64_t) <= len; at += BLOCK) {
		uint64_t number = mix((off + at) / BLOCK);

		if (memcmp(buf + at, &number, sizeof(number)) != 0) {
			fail("read", path, 0);
		}
	}
}

static void begin(struct job *job)
{
	(void)pthread_barrier_wait(&job->board->begin);
	job->result->begin_ns = now_ns();
}

static bool time_left(const struct job *job)
{
	return (double)(now_ns() - job->result->begin_ns) < job->config->seconds * 1e9;
}

static void path_make(const struct job *job, char path[PATH_BYTES], const char *name)
{
	(void)snprintf(path, PATH_BYTES, "%s/%s", job->config->dir, name);
}

/* ---- one big file ---- */

static union fs_file big_open(
	const struct job *job, char path[PATH_BYTES], const char *name, int flags)
{
	union fs_file file;

	path_make(job, path, name);
	must(job->config->fs->open(path, flags, &file), "open", path);
	return file;
}

static void run_seqwrite(struct job *job)
{
	const struct fs_ops *fs = job->config->fs;
	char path[PATH_BYTES];
	union fs_file file = big_open(job, path, "big", O_CREAT | O_TRUNC | O_WRONLY);

	begin(job);
	for (uint64_t off = 0; off < job->config->bytes; off += MIB) {
		stamp(job->buf, MIB, off);
		must_all(fs->pwrite(file, job->buf, MIB, (off_t)off), MIB, "write", path);
		job->result->ops++;
	}
	must(fs->fsync(file), "fsync", path);
	job->result->bytes = job->config->bytes;
	job->result->end_ns = now_ns();
	must(fs->close(file), "close", path);
}

static void run_seqread(struct job *job)
{
	const struct fs_ops *fs = job->config->fs;
	char path[PATH_BYTES];
	union fs_file file = big_open(job, path, "big", O_RDONLY);

	begin(job);
	for (uint64_t off = 0; off < job->config->bytes; off += MIB) {
		must_all(fs->pread(file, job->buf, MIB, (off_t)off), MIB, "read", path);
		stamp_check(job->buf, MIB, off, path);
		job->result->ops++;
	}
	job->result->bytes = job->config->bytes;
	job->result->end_ns = now_ns();
	must(fs->close(file), "close", path);
}

static uint64_t random_offset(struct job *job)
{
	job->random = mix(job->random);
	return job->random % (job->config->bytes / BLOCK) * BLOCK;
}

static void run_randread(struct job *job)
{
	const struct fs_ops *fs = job->config->fs;
	char path[PATH_BYTES];
	union fs_file file = big_open(job, path, "big", O_RDONLY);

	begin(job);
	while (time_left(job)) {
		uint64_t off = random_offset(job);

		must_all(fs->pread(file, job->buf, BLOCK, (off_t)off), BLOCK, "read", path);
		stamp_check(job->buf, BLOCK, off, path);
		job->result->ops++;
	}
	job->result->end_ns = now_ns();
	job->result->bytes = job->result->ops * BLOCK;
	must(fs->close(file), "close", path);
}

static void run_randwrite(struct job *job)
{
	const struct fs_ops *fs = job->config->fs;
	char path[PATH_BYTES];
	union fs_file file = big_open(job, path, "big", O_WRONLY);

	begin(job);
	while (time_left(job)) {
		uint64_t off = random_offset(job);

		stamp(job->buf, BLOCK, off);
		must_all(fs->pwrite(file, job->buf, BLOCK, (off_t)off), BLOCK, "write", path);
		job->result->ops++;
	}
	job->result->end_ns = now_ns();
	job->result->bytes = job->result->ops * BLOCK;
	must(fs->close(file), "close", path);
}

static void run_append(struct job *job)
{
	const struct fs_ops *fs = job->config->fs;
	char path[PATH_BYTES];
	union fs_file file = big_open(job, path, "log", O_CREAT | O_WRONLY | O_APPEND);

	begin(job);
	while (time_left(job)) {
		must_all(fs->pwrite(file, job->buf, BLOCK, -1), BLOCK, "append", path);
		must(fs->fsync(file), "fsync", path);
		job->result->ops++;
	}
	job->result->end_ns = now_ns();
	job->result->bytes = job->result->ops * BLOCK;
	must(fs->close(file), "close", path);
}

/* ---- one shared file, written in turns ---- */

static void run_hardwrite(struct job *job)
{
	const struct fs_ops *fs = job->config->fs;
	uint64_t segments = job->config->count / job->config->jobs;
	char path[PATH_BYTES];
	union fs_file file = big_open(job, path, "hard", O_CREAT | O_WRONLY);

	begin(job);
	for (uint64_t i = 0; i < segments; i++) {
		uint64_t off = (i * job->config->jobs + job->number) * HARD;

		stamp(job->buf, HARD, off);
		must_all(fs->pwrite(file, job->buf, HARD, (off_t)off), HARD, "write", path);
		job->result->ops++;
	}
	must(fs->fsync(file), "fsync", path);
	job->result->end_ns = now_ns();
	job->result->bytes = job->result->ops * HARD;
	must(fs->close(file), "close", path);
}

/* Each job reads what its neighbour wrote. */
static void run_hardread(struct job *job)
{
	const struct fs_ops *fs = job->config->fs;
	uint64_t segments = job->config->count / job->config->jobs;
	unsigned other = (job->number + 1) % job->config->jobs;
	char path[PATH_BYTES];
	union fs_file file = big_open(job, path, "hard", O_RDONLY);

	begin(job);
	for (uint64_t i = 0; i < segments; i++) {
		uint64_t off = (i * job->config->jobs + other) * HARD;

		must_all(fs->pread(file, job->buf, HARD, (off_t)off), HARD, "read", path);
		stamp_check(job->buf, HARD, off, path);
		job->result->ops++;
	}
	job->result->end_ns = now_ns();
	job->result->bytes = job->result->ops * HARD;
	must(fs->close(file), "close", path);
}

/* ---- many small files ---- */

static void small_dir(const struct job *job, char path[PATH_BYTES])
{
	if (job->config->shared) {
		(void)snprintf(path, PATH_BYTES, "%s/shared", job->config->dir);
	} else {
		(void)snprintf(path, PATH_BYTES, "%s/own%u", job->config->dir, job->number);
	}
}

static void small_path(const struct job *job, char path[PATH_BYTES], uint64_t i)
{
	size_t len;

	small_dir(job, path);
	len = strlen(path);
	(void)snprintf(path + len, PATH_BYTES - len, "/f%u.%" PRIu64, job->number, i);
}

static uint64_t small_count(const struct job *job)
{
	return job->config->count / job->config->jobs;
}

static void small_done(struct job *job)
{
	job->result->end_ns = now_ns();
	job->result->ops = small_count(job);
	job->result->bytes = job->result->ops * job->config->size;
}

static void run_create(struct job *job)
{
	const struct fs_ops *fs = job->config->fs;
	size_t size = job->config->size;
	char path[PATH_BYTES];
	union fs_file file;
	int err;

	small_dir(job, path);
	err = fs->mkdir(path);
	if (err != -EEXIST) {
		must(err, "mkdir", path);
	}
	begin(job);
	for (uint64_t i = 0; i < small_count(job); i++) {
		small_path(job, path, i);
		must(fs->open(path, O_CREAT | O_EXCL | O_WRONLY, &file), "create", path);
		if (size != 0) {
			must_all(fs->pwrite(file, job->want, size, 0), size, "write", path);
		}
		must(fs->close(file), "close", path);
	}
	small_done(job);
}

static void run_stat(struct job *job)
{
	char path[PATH_BYTES];

	begin(job);
	for (uint64_t i = 0; i < small_count(job); i++) {
		off_t size;

		small_path(job, path, i);
		must(job->config->fs->stat_size(path, &size), "stat", path);
		if ((size_t)size != job->config->size) {
			fail("stat", path, 0);
		}
	}
	small_done(job);
}

static void run_read(struct job *job)
{
	const struct fs_ops *fs = job->config->fs;
	size_t size = job->config->size;
	char path[PATH_BYTES];
	union fs_file file;

	begin(job);
	for (uint64_t i = 0; i < small_count(job); i++) {
		small_path(job, path, i);
		must(fs->open(path, O_RDONLY, &file), "open", path);
		must_all(fs->pread(file, job->buf, BLOCK, 0), size, "read", path);
		if (memcmp(job->buf, job->want, size) != 0) {
			fail("read", path, 0);
		}
		must(fs->close(file), "close", path);
	}
	small_done(job);
}

static void run_unlink(struct job *job)
{
	char path[PATH_BYTES];

	begin(job);
	for (uint64_t i = 0; i < small_count(job); i++) {
		small_path(job, path, i);
		must(job->config->fs->unlink(path), "unlink", path);
	}
	small_done(job);
	small_dir(job, path);
	/* The last of a shared directory takes it away. */
	(void)job->config->fs->rmdir(path);
}

/* Memory that the host took back costs seconds per GiB at its first touch: this is paid here, before anything counts. */
static void run_recycle(struct job *job)
{
	uint8_t *area = mmap(NULL, job->config->bytes, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (area == MAP_FAILED) {
		fail("memory", "for recycling", -errno);
	}
	begin(job);
	for (uint64_t at = 0; at < job->config->bytes; at += BLOCK) {
		area[at] = 1;
	}
	(void)munmap(area, job->config->bytes);
	job->result->end_ns = now_ns();
	job->result->ops = job->config->bytes / BLOCK;
	job->result->bytes = job->config->bytes;
}

static const struct workload workloads[] = {
	{"seqwrite", run_seqwrite, true},
	{"seqread", run_seqread, true},
	{"randread", run_randread, false},
	{"randwrite", run_randwrite, false},
	{"append", run_append, false},
	{"hardwrite", run_hardwrite, false},
	{"hardread", run_hardread, false},
	{"create", run_create, false},
	{"stat", run_stat, false},
	{"read", run_read, false},
	{"unlink", run_unlink, false},
	{"recycle", run_recycle, true},
};

/* ---- jobs ---- */

static void *job_run(void *arg)
{
	struct job *job = arg;
	uint64_t x = 1;

	if (posix_memalign((void **)&job->buf, BLOCK, 2 * MIB) != 0) {
		fail("memory", "for a job", -ENOMEM);
	}
	job->want = job->buf + MIB;
	for (size_t i = 0; i < 2 * MIB; i += sizeof(x)) {
		x = mix(x);
		memcpy(job->buf + i, &x, sizeof(x));
	}
	job->random = mix(job->number + 1);
	job->workload->run(job);
	free(job->buf);
	return NULL;
}

static bool jobs_run_threads(struct job *jobs, unsigned count)
{
	pthread_t threads[JOBS_MAX];

	for (unsigned i = 0; i < count; i++) {
		int err = pthread_create(&threads[i], NULL, job_run, &jobs[i]);

		must(-err, "start", "a thread");
	}
	for (unsigned i = 0; i < count; i++) {
		(void)pthread_join(threads[i], NULL);
	}
	return true;
}

static void processes_kill(const pid_t *pids, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (pids[i] > 0) {
			(void)kill(pids[i], SIGKILL);
		}
	}
}

static void process_ended(pid_t *pids, unsigned count, pid_t pid)
{
	for (unsigned i = 0; i < count; i++) {
		pids[i] = pids[i] == pid ? 0 : pids[i];
	}
}

/* A job that fails leaves the others at the barrier: they are ended with it. */
static bool jobs_run_processes(struct job *jobs, unsigned count)
{
	pid_t pids[JOBS_MAX];
	bool good = true;
	int status = 0;

	for (unsigned i = 0; i < count; i++) {
		pids[i] = fork();
		must(pids[i] < 0 ? -errno : 0, "start", "a process");
		if (pids[i] == 0) {
			(void)job_run(&jobs[i]);
			_exit(0);
		}
	}
	for (unsigned left = count; left > 0; left--) {
		process_ended(pids, count, wait(&status));
		if (status != 0) {
			good = false;
			processes_kill(pids, count);
		}
	}
	return good;
}

static double cpu_seconds(void)
{
	static const int whose[] = {RUSAGE_SELF, RUSAGE_CHILDREN};
	double sum = 0;

	for (size_t i = 0; i < 2; i++) {
		struct rusage ru;

		(void)getrusage(whose[i], &ru);
		sum += (double)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) +
			1e-6 * (double)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec);
	}
	return sum;
}

static void results_print(const struct board *board, unsigned jobs, double cpu)
{
	struct result sum = {.begin_ns = UINT64_MAX};

	for (unsigned i = 0; i < jobs; i++) {
		const struct result *one = &board->results[i];

		sum.ops += one->ops;
		sum.bytes += one->bytes;
		sum.begin_ns = one->begin_ns < sum.begin_ns ? one->begin_ns : sum.begin_ns;
		sum.end_ns = one->end_ns > sum.end_ns ? one->end_ns : sum.end_ns;
	}
	printf("{\"ops\": %" PRIu64 ", \"bytes\": %" PRIu64
	       ", \"seconds\": %.9f, \"cpu_seconds\": %.6f}\n",
		sum.ops, sum.bytes, (double)(sum.end_ns - sum.begin_ns) / 1e9, cpu);
}

static bool workload_run(const struct config *config, const struct workload *workload)
{
	struct board *board = mmap(
		NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	static struct job jobs[JOBS_MAX];
	pthread_barrierattr_t attr;
	double cpu = cpu_seconds();
	bool good;

	if (board == MAP_FAILED) {
		fail("memory", "for results", -errno);
	}
	(void)pthread_barrierattr_init(&attr);
	(void)pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	(void)pthread_barrier_init(&board->begin, &attr, config->jobs);
	for (unsigned i = 0; i < config->jobs; i++) {
		jobs[i].config = config;
		jobs[i].workload = workload;
		jobs[i].board = board;
		jobs[i].result = &board->results[i];
		jobs[i].number = i;
	}
	good = config->fs->threads ? jobs_run_threads(jobs, config->jobs)
				   : jobs_run_processes(jobs, config->jobs);
	if (good) {
		results_print(board, config->jobs, cpu_seconds() - cpu);
	}
	(void)munmap(board, sizeof(*board));
	return good;
}

/* ---- the command line ---- */

static int usage(void)
{
	fprintf(stderr,
		"usage: bench_workload WORKLOAD DIRECTORY [--jobs N] [--count N] [--bytes N] "
		"[--seconds S]\n"
		"\t[--size N] [--shared] [--source HOST:PORT:/FS --key FILE]\nworkloads:");
	for (size_t i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++) {
		fprintf(stderr, " %s", workloads[i].name);
	}
	fprintf(stderr, "\n");
	return 2;
}

static const struct workload *workload_find(const char *name)
{
	for (size_t i = 0; i < sizeof(workloads) / sizeof(workloads[0]); i++) {
		if (strcmp(workloads[i].name, name) == 0) {
			return &workloads[i];
		}
	}
	return NULL;
}

static bool options_read(int argc, char **argv, struct config *config)
{
	static const struct option options[] = {{"jobs", required_argument, NULL, 'j'},
		{"count", required_argument, NULL, 'c'}, {"bytes", required_argument, NULL, 'b'},
		{"seconds", required_argument, NULL, 's'}, {"size", required_argument, NULL, 'z'},
		{"shared", no_argument, NULL, 'h'}, {"source", required_argument, NULL, 'm'},
		{"key", required_argument, NULL, 'k'}, {NULL, 0, NULL, 0}};
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (opt) {
		case 'j':
			config->jobs = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'c':
			config->count = strtoull(optarg, NULL, 10);
			break;
		case 'b':
			config->bytes = strtoull(optarg, NULL, 10) / MIB * MIB;
			break;
		case 's':
			config->seconds = strtod(optarg, NULL);
			break;
		case 'z':
			config->size = strtoull(optarg, NULL, 10);
			break;
		case 'h':
			config->shared = true;
			break;
		case 'm':
			config->source = optarg;
			break;
		case 'k':
			config->key = optarg;
			break;
		default:
			return false;
		}
	}
	return config->jobs > 0 && config->jobs <= JOBS_MAX && config->size <= BLOCK &&
		config->bytes > 0 && config->count >= config->jobs && argc - optind == 2;
}

int main(int argc, char **argv)
{
	struct config config = {.fs = &fs_posix,
		.jobs = 1,
		.count = 1000,
		.bytes = 64 * MIB,
		.size = 0,
		.seconds = 1};
	const struct workload *workload;
	bool good;

	if (!options_read(argc, argv, &config)) {
		return usage();
	}
	workload = workload_find(argv[optind]);
	config.dir = argv[optind + 1];
	if (workload == NULL || (workload->one_job && config.jobs != 1) ||
		(config.source == NULL) != (config.key == NULL)) {
		return usage();
	}
	if (config.source != NULL) {
		fs_nacre_start(config.source, config.key);
		config.fs = &fs_nacre;
	}
	good = workload_run(&config, workload);
	if (config.source != NULL) {
		fs_nacre_stop();
	}
	return good ? 0 : 1;
}
