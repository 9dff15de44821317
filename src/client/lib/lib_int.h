/*
 * Inside libnacre: the client core behind a blocking API.
 *
 * A call fills a struct lib_call on its own stack, enters the reactor (reactor_call: the calling thread drives
 * it if nobody does) and runs a fiber that calls the core. One background thread tends the reactor between calls. Paths are
 * resolved in the fiber. Thread-locals are touched outside of fibers only, as a fiber may continue on another thread.
 */
#ifndef NACRE_CLIENT_LIB_INT_H
#define NACRE_CLIENT_LIB_INT_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/alloc.h"
#include "base/list.h"
#include "client/client.h"
#include "env/posix/posix.h"
#include "env/posix/reactor.h"
#include "nacre/nacre.h"

struct nacre {
	struct reactor *reactor;
	struct env *env;
	struct client *client;
	pthread_t tender;
	bool tended;
	uid_t uid;
	gid_t gid;
	uint64_t caps;
	uint32_t *groups;
	uint32_t group_count;
	struct posix_post intr_post; /* looks for calls to be interrupted */
	_Atomic bool intr_posted;
	/* Calls that run. Touched by fibers and posts only. */
	struct list calls;
	/* Handles the program has not closed. Touched by fibers only. */
	struct list files;
	struct list dirs;
};

struct nacre_file {
	struct list link;
	struct nacre *fs;
	struct client_file *file;
};

struct lib_entry {
	struct fid fid;
	uint32_t mode;
	uint64_t cookie;
	char name[LIM_NAME_MAX + 1];
};

#define LIB_ENTRIES 128

struct nacre_dir {
	struct list link;
	struct nacre *fs;
	struct client_file *file;
	uint64_t cookie;
	bool end;
	unsigned count;
	unsigned next;
	struct lib_entry entries[LIB_ENTRIES];
};

struct lib_call {
	/* set by lib_run */
	struct nacre *fs;
	struct list link; /* fs->calls */
	struct fiber *fiber;
	_Atomic bool intr_asked;
	struct client_cred cred;
	int (*fn)(struct lib_call *call);
	int err; /* negative NE_* code */
	/* arguments, as the call needs them */
	const char *what; /* name of the call, for the error text */
	const char *path;
	const char *path2;
	const char *name;
	struct nacre_file *file;
	struct nacre_file *file2;
	struct nacre_dir *dir;
	const struct iovec *iov;
	unsigned iov_count;
	uint64_t off;
	uint64_t off2;
	uint64_t count;
	int flags;
	bool follow;
	struct client_setattr set;
	struct client_create create;
	const void *value;
	void *buf;
	size_t cap;
	/* results */
	size_t len;
	struct client_attr attr;
	struct client_statfs statfs;
	struct nacre_file *ret_file;
	struct nacre_dir *ret_dir;
};

/* Prepares a mount for calls. */
void lib_calls_init(struct nacre *fs);
/* Runs call->fn as a fiber; 0 or a negative errno. Notes the error text. */
int lib_run(struct nacre *fs, struct lib_call *call);
/* A failure found before the reactor was entered. */
int lib_fail(const struct lib_call *call, int err);
void lib_error_set(const char *what, const char *path, int err);
/* Once per process: log and asserts are ours to direct. */
void lib_process_init(void);
/* Names the reactor whose driver the calling thread may become, for a failed assert. */
void lib_thread_enter(struct reactor *reactor);

/* In fibers: where a path leads, and the directory and last name of a path. name: LIM_NAME_MAX + 1 bytes. */
int lib_walk(struct lib_call *call, const char *path, bool follow, struct client_attr *ret_attr);
int lib_parent(struct lib_call *call, const char *path, struct fid *ret_parent, char *name);

void lib_stat_fill(const struct client_attr *a, struct stat *ret_st);

/* Addresses as people write them: "a,b" into LIM_ADDRS_MAX texts. -NE_INVAL. */
int lib_addrs_parse(const char *text, char addrs[LIM_ADDRS_MAX][LIM_ADDR_LEN_MAX + 1]);

#endif
