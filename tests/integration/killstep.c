/*
 * killstep PID K: kills a process at the K-th step it makes, where a step is the entry or the exit of a system call of
 * any of its threads; waiting (epoll_wait, futex) changes nothing and is not one, so that polling moves no count. K = 0
 * only counts.
 *
 * Driven by lines: it says "ready" when every thread is traced and waits in a system call, begins to count at "go" on
 * stdin, and ends with "killed COUNT entry|exit NUMBER" when the process is gone, or, when stdin ends first, with
 * "unharmed COUNT" after it has let the process go. "gone" means that it ended by itself.
 *
 * What a step means: killed at an entry the call is never made (the kernel skips it under a fatal signal); killed at an
 * exit its effect is there, its result is unknown to the process. Between two steps a process changes nothing but its own
 * memory, so these are all the moments that can differ from outside - except for what the kernel does for the process on its own:
 * the workers of an io_uring (iou-wrk-*) make no system calls and cannot be traced, so a write is cut off before it was
 * submitted, right after that (done or not), or when its completion was seen; not in its middle.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* linux/ptrace.h and sys/ptrace.h of older C libraries exclude each other: our own view of PTRACE_GET_SYSCALL_INFO. */
#define GET_SYSCALL_INFO 0x420e
#define INFO_ENTRY 1

struct syscall_info {
	uint8_t op;
	uint8_t pad[3];
	uint32_t arch;
	uint64_t instruction_pointer;
	uint64_t stack_pointer;
	uint64_t number; /* at an entry */
	uint64_t args[6];
	uint64_t unused;
};

#define THREADS_MAX 64
#define OPTIONS (PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE)
/* Nothing moved for so long: every thread waits. */
#define QUIET_MS 15
#define NO_CALL (-1L)

struct thread {
	pid_t tid;
	long call; /* the one it is in */
	bool held; /* stopped by us, for good */
};

struct killer {
	pid_t pid;
	unsigned long step;
	unsigned long count;
	bool counting;
	bool killed;
	bool gone;
	const char *where;
	long call;
	struct thread threads[THREADS_MAX];
	unsigned thread_count;
};

static _Noreturn void die(const char *what)
{
	(void)fprintf(stderr, "killstep: %s: %s\n", what, strerror(errno));
	exit(1);
}

static struct thread *thread_get(struct killer *k, pid_t tid)
{
	for (unsigned i = 0; i < k->thread_count; i++) {
		if (k->threads[i].tid == tid) {
			return &k->threads[i];
		}
	}
	if (k->thread_count == THREADS_MAX) {
		errno = E2BIG;
		die("threads");
	}
	k->threads[k->thread_count] = (struct thread){.tid = tid, .call = NO_CALL};
	return &k->threads[k->thread_count++];
}

static void thread_drop(struct killer *k, pid_t tid)
{
	struct thread *t = thread_get(k, tid);

	*t = k->threads[--k->thread_count];
	k->gone |= tid == k->pid;
}

static bool thread_known(const struct killer *k, pid_t tid)
{
	for (unsigned i = 0; i < k->thread_count; i++) {
		if (k->threads[i].tid == tid) {
			return true;
		}
	}
	return false;
}

/* A worker of an io_uring: it may be traced since Linux 6.x, but never stops, as it never comes back from the kernel. */
static bool worker(pid_t pid, pid_t tid)
{
	char text[32] = "";
	char path[64];
	FILE *file;

	(void)snprintf(path, sizeof(path), "/proc/%d/task/%d/comm", (int)pid, (int)tid);
	file = fopen(path, "re");
	if (file == NULL) {
		return true; /* it has ended */
	}
	(void)!fgets(text, sizeof(text), file);
	(void)fclose(file);
	return strncmp(text, "iou-", 4) == 0;
}

/* Attaches to what is not attached yet; the number of new ones. */
static unsigned threads_seize(struct killer *k)
{
	char path[64];
	struct dirent *entry;
	unsigned found = 0;
	DIR *dir;

	(void)snprintf(path, sizeof(path), "/proc/%d/task", (int)k->pid);
	dir = opendir(path);
	if (dir == NULL) {
		die(path);
	}
	while ((entry = readdir(dir)) != NULL) {
		pid_t tid = (pid_t)atoi(entry->d_name);

		if (tid <= 0 || thread_known(k, tid) || worker(k->pid, tid)) {
			continue;
		}
		if (ptrace(PTRACE_SEIZE, tid, NULL, (void *)(uintptr_t)OPTIONS) != 0) {
			if (errno != ESRCH) {
				die("PTRACE_SEIZE");
			}
			continue;
		}
		(void)thread_get(k, tid);
		(void)ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
		found++;
	}
	(void)closedir(dir);
	return found;
}

static bool waits(long call)
{
	switch (call) {
	case NO_CALL:
	case SYS_futex:
	case SYS_restart_syscall:
	case SYS_epoll_pwait:
	case SYS_epoll_pwait2:
#ifdef SYS_epoll_wait
	case SYS_epoll_wait:
#endif
		return true;
	default:
		return false;
	}
}

/* A step; true: it was the one, and the process has been killed. */
static bool step(struct killer *k, struct thread *t)
{
	struct syscall_info info = {0};
	bool entry;

	if (ptrace(GET_SYSCALL_INFO, t->tid, (void *)sizeof(info), &info) <= 0) {
		return false;
	}
	entry = info.op == INFO_ENTRY;
	if (entry) {
		t->call = (long)info.number;
	}
	if (k->counting && !waits(t->call) && ++k->count == k->step) {
		k->where = entry ? "entry" : "exit";
		k->call = t->call;
		k->killed = true;
		if (kill(k->pid, SIGKILL) != 0) {
			die("kill");
		}
		return true;
	}
	if (!entry) {
		t->call = NO_CALL;
	}
	return false;
}

static void stop_take(struct killer *k, pid_t tid, int status)
{
	struct thread *t = thread_get(k, tid);
	int sig = WSTOPSIG(status);
	int event = status >> 16;
	long pass = 0;

	if (sig == (SIGTRAP | 0x80)) {
		if (step(k, t)) {
			return;
		}
	} else if (event == 0) {
		pass = sig;
	}
	(void)ptrace(PTRACE_SYSCALL, tid, NULL, (void *)pass);
}

/* Everything the kernel has to tell; true if there was something. */
static bool events_take(struct killer *k)
{
	bool any = false;
	int status;
	pid_t tid;

	while ((tid = waitpid(-1, &status, __WALL | WNOHANG)) > 0) {
		any = true;
		if (WIFSTOPPED(status)) {
			stop_take(k, tid, status);
		} else {
			thread_drop(k, tid);
		}
	}
	if (tid < 0 && errno == ECHILD) {
		k->gone = true;
	}
	return any;
}

static bool all_wait(const struct killer *k)
{
	for (unsigned i = 0; i < k->thread_count; i++) {
		if (k->threads[i].call == NO_CALL) {
			return false;
		}
	}
	return true;
}

static void settle(struct killer *k, int signals)
{
	struct pollfd p = {.fd = signals, .events = POLLIN};
	struct signalfd_siginfo info;

	while (threads_seize(k) > 0) {
	}
	if (k->thread_count == 0) {
		errno = ESRCH;
		die("no thread to trace");
	}
	while (!k->gone) {
		bool moved = poll(&p, 1, QUIET_MS) > 0 && read(signals, &info, sizeof(info)) > 0;

		moved |= events_take(k);
		if (!moved && all_wait(k)) {
			return;
		}
	}
}

/* Lets every thread go on as if nobody had looked. */
static void let_go(struct killer *k)
{
	for (unsigned i = 0; i < k->thread_count; i++) {
		int status;
		pid_t tid = k->threads[i].tid;

		(void)ptrace(PTRACE_INTERRUPT, tid, NULL, NULL);
		if (waitpid(tid, &status, __WALL) == tid && WIFSTOPPED(status)) {
			bool ours = WSTOPSIG(status) == (SIGTRAP | 0x80) || status >> 16 != 0;

			(void)ptrace(PTRACE_DETACH, tid, NULL,
				(void *)(long)(ours ? 0 : WSTOPSIG(status)));
		}
	}
}

static void run(struct killer *k, int signals)
{
	struct pollfd p[2] = {
		{.fd = signals, .events = POLLIN}, {.fd = STDIN_FILENO, .events = POLLIN}};
	struct signalfd_siginfo info;
	char text[16];

	while (!k->gone) {
		if (poll(p, 2, -1) < 0 && errno != EINTR) {
			die("poll");
		}
		if (p[0].revents != 0) {
			(void)!read(signals, &info, sizeof(info));
		}
		(void)events_take(k);
		if (!k->killed && p[1].revents != 0) {
			if (read(STDIN_FILENO, text, sizeof(text)) <= 0) {
				return;
			}
			k->counting = true;
			(void)puts("counting");
			(void)fflush(stdout);
		}
	}
}

int main(int argc, char **argv)
{
	static struct killer k;
	sigset_t set;
	int signals;

	if (argc != 3) {
		(void)fputs("usage: killstep PID K\n", stderr);
		return 2;
	}
	k.pid = (pid_t)atoi(argv[1]);
	k.step = strtoul(argv[2], NULL, 10);
	(void)sigemptyset(&set);
	(void)sigaddset(&set, SIGCHLD);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (signals < 0) {
		die("signalfd");
	}
	settle(&k, signals);
	(void)puts("ready");
	(void)fflush(stdout);
	run(&k, signals);
	if (k.killed) {
		(void)printf("killed %lu %s %ld\n", k.count, k.where, k.call);
	} else if (k.gone) {
		(void)printf("gone %lu\n", k.count);
	} else {
		let_go(&k);
		(void)printf("unharmed %lu\n", k.count);
	}
	return 0;
}
