/*
 * env.h's file operations in the simulated world: crash point, injected error, time, effect - in this order,
 * but that half of the operations that take time take it after their effect.
 *
 * Functions that env.h does not mark as yielding never wait here.
 */
#include "env/sim/sim_file.h"

#include <stdlib.h>
#include <string.h>

/* ---- time and errors ---- */

void sim_disk_enter(
	struct sim_node *node, enum sim_point point, const char *path, uint64_t a, uint64_t b)
{
	sim_log(node->sim, node, sim_point_name(point), path, a, b);
	sim_point_pass(node, point);
}

int sim_disk_fault(struct sim_node *node, enum sim_disk_op op, uint32_t ppm, const char *path)
{
	static const enum sim_fault faults[SIM_DISK_OPS] = {
		[SIM_DISK_READ] = SIM_FAULT_READ_ERROR,
		[SIM_DISK_WRITE] = SIM_FAULT_WRITE_ERROR,
		[SIM_DISK_SYNC] = SIM_FAULT_SYNC_ERROR,
		[SIM_DISK_ALLOCATE] = SIM_FAULT_NOSPACE,
		[SIM_DISK_NAMES] = SIM_FAULT_NAMES_ERROR,
	};
	struct sim_disk_fail *fail = &node->disk_fail[op];
	int rc = 0;

	ASSERT(op < SIM_DISK_OPS);
	if (fail->left > 0 && --fail->left == 0) {
		rc = -(int)fail->code;
	} else if (sim_chance(&node->fault_rng, ppm)) {
		rc = op == SIM_DISK_ALLOCATE ? -NE_NOSPC : -NE_IO;
	}
	if (rc != 0) {
		sim_fault(node, rc == -NE_NOSPC ? SIM_FAULT_NOSPACE : faults[op], path, op);
	}
	return rc;
}

static uint64_t disk_slow_ns(struct sim_node *node, const char *path)
{
	const struct sim_disk_options *opts = &node->sim->opts.disk;

	if (!sim_chance(&node->fault_rng, opts->slow_ppm)) {
		return 0;
	}
	sim_fault(node, SIM_FAULT_SLOW, path, 0);
	return prng_range(&node->fault_rng, 0, opts->slow_ns_max);
}

struct sim_disk_wait sim_disk_before(struct sim_node *node, enum sim_point point, const char *path)
{
	const struct sim_disk_options *opts = &node->sim->opts.disk;
	struct sim_disk_wait wait = {.ns = 0};

	if (node->env.sched.current == NULL) {
		return wait;
	}
	if (node->disk_factor > 1 || sim_chance(&node->fault_rng, opts->switch_ppm)) {
		wait.ns = prng_range(&node->fault_rng, 1, u64_max(1, opts->cached_ns_max)) *
			node->disk_factor;
	}
	wait.ns += disk_slow_ns(node, path);
	wait.after = wait.ns > 0 && prng_chance(&node->fault_rng, 1, 2);
	if (wait.ns > 0 && !wait.after) {
		sim_pass(node, wait.ns, sim_point_name(point), path);
	}
	return wait;
}

void sim_disk_after(
	struct sim_node *node, struct sim_disk_wait wait, enum sim_point point, const char *path)
{
	if (wait.after) {
		sim_pass(node, wait.ns, sim_point_name(point), path);
	}
}

void sim_disk_sync_wait(struct sim_node *node, enum sim_point point, const char *path)
{
	const struct sim_disk_options *opts = &node->sim->opts.disk;
	uint64_t ns = prng_range(&node->fault_rng, opts->sync_ns_min, opts->sync_ns_max);

	ns = ns * node->disk_factor + disk_slow_ns(node, path);
	if (node->env.sched.current != NULL && ns > 0) {
		sim_pass(node, ns, sim_point_name(point), path);
	}
}

void sim_stat_fill(
	const struct sim_node *node, const struct disk_inode *inode, struct env_stat *ret_stat)
{
	*ret_stat = (struct env_stat){
		.is_dir = inode->is_dir,
		.size = inode->size,
		.blocks = disk_inode_blocks(inode),
		.mtime_ns = inode->mtime_ns,
		.ino = inode->ino,
		.dev = node->disk->dev,
	};
}

static struct sim_file *file_of(struct env_file *f)
{
	return container_of(f, struct sim_file, file);
}

/* ---- opening and closing ---- */

static int open_inode(
	struct sim_node *node, const char *path, unsigned flags, struct disk_inode **ret_inode)
{
	struct disk_inode *inode = NULL;
	int rc = disk_lookup(node->disk, path, &inode);

	if (rc == -NE_NOENT && (flags & ENV_OPEN_CREATE) != 0) {
		rc = sim_disk_fault(node, SIM_DISK_NAMES, 0, path);
		rc = rc != 0
			? rc
			: disk_create(node->disk, path, false, sim_node_realtime(node), ret_inode);
		return rc;
	}
	if (rc != 0) {
		return rc;
	}
	if ((flags & ENV_OPEN_CREATE) != 0 && (flags & ENV_OPEN_EXCL) != 0) {
		return -NE_EXIST;
	}
	if (inode->is_dir) {
		return -NE_ISDIR;
	}
	if ((flags & ENV_OPEN_TRUNC) != 0) {
		rc = disk_truncate(node->disk, inode, 0, sim_node_realtime(node));
	}
	*ret_inode = inode;
	return rc;
}

int sim_file_open(struct env *env, const char *path, unsigned flags, struct env_file **ret_file)
{
	struct sim_node *node = sim_node_of(env);
	struct sim_disk_wait wait;
	struct sim_file *f;
	struct disk_inode *inode;
	size_t size = strlen(path) + 1;
	int rc;

	sim_disk_enter(node, SIM_POINT_OPEN, path, flags, 0);
	wait = sim_disk_before(node, SIM_POINT_OPEN, path);
	rc = open_inode(node, path, flags, &inode);
	if (rc != 0) {
		sim_disk_after(node, wait, SIM_POINT_OPEN, path);
		return rc;
	}
	f = sim_zalloc(sizeof(*f) + size);
	f->file.env = env;
	f->node = node;
	f->inode = inode;
	f->flags = flags;
	f->errors_seen = inode->errors;
	f->disk_errors_seen = node->disk->errors;
	memcpy(f->path, path, size);
	disk_inode_ref(inode);
	inode->opens++;
	disk_inode_settle(node->disk, inode);
	list_push_back(&node->files, &f->link);
	sim_disk_after(node, wait, SIM_POINT_OPEN, f->path);
	*ret_file = &f->file;
	return 0;
}

static void file_drop(struct sim_file *f)
{
	if (f->locked) {
		f->inode->locked = false;
	}
	list_del(&f->link);
	f->inode->opens--;
	disk_inode_settle(f->node->disk, f->inode);
	disk_inode_unref(f->node->disk, f->inode);
	free(f);
}

void sim_file_close(struct env_file *f)
{
	struct sim_file *file = file_of(f);

	sim_disk_enter(file->node, SIM_POINT_CLOSE, file->path, 0, 0);
	file_drop(file);
}

void sim_files_crash(struct sim_node *node)
{
	while (!list_empty(&node->files)) {
		file_drop(list_entry(node->files.next, struct sim_file, link));
	}
}

/* ---- data ---- */

void sim_disk_corrupt_read(struct sim_node *node, const char *part, uint64_t end, uint64_t nth)
{
	node->corrupt_part = part;
	node->corrupt_end = end;
	node->corrupt_left = nth;
}

static void read_corrupt(struct sim_file *file, uint8_t *buf, uint64_t off, size_t got)
{
	struct sim_node *node = file->node;
	uint64_t bit;

	if (node->corrupt_left == 0 || got == 0 || off >= node->corrupt_end ||
		strstr(file->path, node->corrupt_part) == NULL || --node->corrupt_left > 0) {
		return;
	}
	bit = prng_below(&node->fault_rng, got * 8);
	buf[bit / 8] ^= (uint8_t)(1U << bit % 8);
	sim_fault(node, SIM_FAULT_CORRUPT_READ, file->path, bit);
}

int sim_file_pread(struct env_file *f, void *buf, size_t len, uint64_t off, size_t *ret_len)
{
	struct sim_file *file = file_of(f);
	struct sim_node *node = file->node;
	struct sim_disk_wait wait;
	int rc;

	sim_disk_enter(node, SIM_POINT_PREAD, file->path, off, len);
	if ((file->flags & ENV_OPEN_READ) == 0) {
		return -NE_BADF;
	}
	wait = sim_disk_before(node, SIM_POINT_PREAD, file->path);
	rc = sim_disk_fault(node, SIM_DISK_READ, node->sim->opts.disk.read_error_ppm, file->path);
	if (rc == 0) {
		*ret_len = disk_read(file->inode, buf, len, off);
		read_corrupt(file, buf, off, *ret_len);
	}
	sim_disk_after(node, wait, SIM_POINT_PREAD, file->path);
	return rc;
}

int sim_file_pread_cached(struct env_file *f, void *buf, size_t len, uint64_t off, size_t *ret_len)
{
	struct sim_file *file = file_of(f);

	if ((file->flags & ENV_OPEN_READ) == 0) {
		return -NE_BADF;
	}
	/* Nothing, all, or pages from the start on. */
	switch (prng_below(&file->node->fault_rng, 3)) {
	case 0:
		len = 0;
		break;
	case 1:
		len = (size_t)u64_round_down(len / 2, DISK_PAGE);
		break;
	default:
		break;
	}
	*ret_len = len == 0 ? 0 : disk_read(file->inode, buf, len, off);
	return 0;
}

/* Writes the first `limit` bytes of the pieces. */
static int file_write(struct sim_file *file, const struct iovec *iov, unsigned iov_count,
	uint64_t off, uint64_t limit)
{
	int64_t now = sim_node_realtime(file->node);

	for (unsigned i = 0; i < iov_count && limit > 0; i++) {
		size_t len = (size_t)u64_min(iov[i].iov_len, limit);
		int rc = disk_write(file->node->disk, file->inode, iov[i].iov_base, len, off, now);

		if (rc != 0) {
			return rc;
		}
		off += len;
		limit -= len;
	}
	return 0;
}

/* The process dies in the middle of a write: whole pages up to some point may be in the kernel. */
_noreturn_ static void file_write_crash(struct sim_file *file, const struct iovec *iov,
	unsigned iov_count, uint64_t off, uint64_t len)
{
	struct sim_node *node = file->node;
	uint64_t pages = (off % DISK_PAGE + len) / DISK_PAGE;

	if (pages > 0) {
		uint64_t end = prng_range(&node->fault_rng, 0, pages) * DISK_PAGE;
		uint64_t part = end > off % DISK_PAGE ? end - off % DISK_PAGE : 0;

		if (part > 0 && part < len && file_write(file, iov, iov_count, off, part) == 0) {
			sim_fault(node, SIM_FAULT_SHORT_WRITE, file->path, part);
		}
	}
	sim_crash_here(node, node->crash_at_kind, "pwrite");
}

int sim_file_pwrite(struct env_file *f, const struct iovec *iov, unsigned iov_count, uint64_t off)
{
	struct sim_file *file = file_of(f);
	struct sim_node *node = file->node;
	const struct sim_disk_options *opts = &node->sim->opts.disk;
	struct sim_disk_wait wait;
	uint64_t len = 0;
	int rc;

	for (unsigned i = 0; i < iov_count; i++) {
		len += iov[i].iov_len;
	}
	sim_log(node->sim, node, "pwrite", file->path, off, len);
	if ((file->flags & ENV_OPEN_WRITE) == 0) {
		return -NE_BADF;
	}
	if (unlikely(sim_point_due(node, SIM_POINT_PWRITE))) {
		file_write_crash(file, iov, iov_count, off, len);
	}
	wait = sim_disk_before(node, SIM_POINT_PWRITE, file->path);
	rc = sim_disk_fault(node, SIM_DISK_WRITE, opts->write_error_ppm, file->path);
	rc = rc != 0 ? rc : sim_disk_fault(node, SIM_DISK_ALLOCATE, opts->nospace_ppm, file->path);
	rc = rc != 0 ? rc : file_write(file, iov, iov_count, off, len);
	sim_disk_after(node, wait, SIM_POINT_PWRITE, file->path);
	return rc;
}

/* Every descriptor hears of a lost write once (the kernel's errseq). */
static int file_error_take(uint64_t errors, uint64_t *seen)
{
	int rc = errors != *seen ? -NE_IO : 0;

	*seen = errors;
	return rc;
}

int sim_file_fdatasync(struct env_file *f)
{
	struct sim_file *file = file_of(f);
	struct sim_node *node = file->node;
	struct disk_sync sync;
	int rc;

	sim_disk_enter(node, SIM_POINT_FDATASYNC, file->path, 0, 0);
	sync = disk_sync_begin(file->inode);
	sim_disk_sync_wait(node, SIM_POINT_FDATASYNC, file->path);
	rc = sim_disk_fault(node, SIM_DISK_SYNC, node->sim->opts.disk.sync_error_ppm, file->path);
	if (rc != 0) {
		disk_sync_fail(file->inode, &sync);
		file->inode->errors++;
		node->disk->errors++;
	} else {
		disk_sync_end(file->inode, &sync);
	}
	return file_error_take(file->inode->errors, &file->errors_seen) != 0 && rc == 0 ? -NE_IO
											: rc;
}

int sim_file_ftruncate(struct env_file *f, uint64_t size)
{
	struct sim_file *file = file_of(f);
	struct sim_node *node = file->node;
	struct sim_disk_wait wait;
	int rc;

	sim_disk_enter(node, SIM_POINT_FTRUNCATE, file->path, size, 0);
	if ((file->flags & ENV_OPEN_WRITE) == 0) {
		return -NE_BADF;
	}
	wait = sim_disk_before(node, SIM_POINT_FTRUNCATE, file->path);
	rc = disk_truncate(node->disk, file->inode, size, sim_node_realtime(node));
	sim_disk_after(node, wait, SIM_POINT_FTRUNCATE, file->path);
	return rc;
}

int sim_file_fallocate(struct env_file *f, enum env_fallocate_mode mode, uint64_t off, uint64_t len)
{
	struct sim_file *file = file_of(f);
	struct sim_node *node = file->node;
	struct sim_disk_wait wait;
	int rc;

	sim_disk_enter(node, SIM_POINT_FALLOCATE, file->path, off, len);
	if ((file->flags & ENV_OPEN_WRITE) == 0) {
		return -NE_BADF;
	}
	wait = sim_disk_before(node, SIM_POINT_FALLOCATE, file->path);
	rc = sim_disk_fault(node, SIM_DISK_ALLOCATE, node->sim->opts.disk.nospace_ppm, file->path);
	rc = rc != 0 ? rc : disk_allocate(node->disk, file->inode, mode, off, len);
	sim_disk_after(node, wait, SIM_POINT_FALLOCATE, file->path);
	return rc;
}

int sim_file_seek(struct env_file *f, uint64_t off, bool whence_data, uint64_t *ret_off)
{
	struct sim_file *file = file_of(f);
	struct sim_node *node = file->node;
	struct sim_disk_wait wait;
	int rc;

	sim_disk_enter(node, SIM_POINT_SEEK, file->path, off, whence_data);
	wait = sim_disk_before(node, SIM_POINT_SEEK, file->path);
	rc = disk_seek(file->inode, off, whence_data, ret_off);
	sim_disk_after(node, wait, SIM_POINT_SEEK, file->path);
	return rc;
}

/* ---- attributes ---- */

int sim_file_fstat(struct env_file *f, struct env_stat *ret_stat)
{
	struct sim_file *file = file_of(f);

	sim_disk_enter(file->node, SIM_POINT_FSTAT, file->path, 0, 0);
	sim_stat_fill(file->node, file->inode, ret_stat);
	return 0;
}

int sim_file_utime(struct env_file *f, int64_t mtime_ns)
{
	struct sim_file *file = file_of(f);

	sim_disk_enter(file->node, SIM_POINT_UTIME, file->path, (uint64_t)mtime_ns, 0);
	file->inode->mtime_ns = mtime_ns;
	return 0;
}

void sim_file_forget(struct env_file *f)
{
	struct sim_file *file = file_of(f);

	/* Advice, and nothing a process could die in. */
	sim_log(file->node->sim, file->node, "forget", file->path, 0, 0);
	disk_forget(file->node->disk, file->inode);
}

int sim_file_lock(struct env_file *f)
{
	struct sim_file *file = file_of(f);

	sim_disk_enter(file->node, SIM_POINT_LOCK, file->path, 0, 0);
	if (file->inode->locked && !file->locked) {
		return -NE_LOCKED;
	}
	file->inode->locked = true;
	file->locked = true;
	return 0;
}

int sim_file_syncfs(struct env_file *f)
{
	struct sim_file *file = file_of(f);
	struct sim_node *node = file->node;
	int rc;

	sim_disk_enter(node, SIM_POINT_SYNCFS, file->path, 0, 0);
	sim_disk_sync_wait(node, SIM_POINT_SYNCFS, file->path);
	rc = sim_disk_fault(node, SIM_DISK_SYNC, node->sim->opts.disk.sync_error_ppm, file->path);
	LIST_FOREACH (it, &node->disk->inodes) {
		struct disk_inode *inode = list_entry(it, struct disk_inode, all);
		struct disk_sync sync = disk_sync_begin(inode);

		if (rc != 0) {
			disk_sync_fail(inode, &sync);
			inode->errors++;
		} else {
			disk_sync_end(inode, &sync);
		}
	}
	if (rc != 0) {
		node->disk->errors++;
	} else {
		disk_names_sync_all(node->disk);
	}
	return file_error_take(node->disk->errors, &file->disk_errors_seen) != 0 && rc == 0 ? -NE_IO
											    : rc;
}
