/*
 * The reactor: calls from one and from many threads, run and stop, tending, timers, jobs, posts, polling.
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "env/env_int.h"
#include "run.h"

static uint64_t clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static void sleep_fn(void *arg)
{
	uint64_t begin = env_now(env);

	env_sleep(env, 5 * NS_PER_MS);
	*(uint64_t *)arg = env_now(env) - begin;
}

TEST(reactor_call_drives_and_sleeps)
{
	uint64_t slept = 0;
	struct reactor_stats st;

	run_open(NULL);
	CHECK_EQ(reactor_call(run_reactor, sleep_fn, &slept), 0);
	CHECK(slept >= 5 * NS_PER_MS);
	reactor_stats(run_reactor, &st);
	CHECK(st.sleeps >= 1 && st.sleeps < 20);
	CHECK(st.sleeps_timeout >= 1);
	CHECK_EQ(st.spins, 0);
	CHECK_EQ(st.calls_driven, 1);
	CHECK_EQ(st.calls_handed, 0);
	run_close();
}

static void facts_fn(_unused_ void *arg)
{
	uint8_t a[16] = {0};
	uint8_t b[16] = {0};

	CHECK(env_self(env) != NULL);
	CHECK(env_realtime(env) > INT64_C(1700000000) * (int64_t)NS_PER_S);
	CHECK(env_boottime(env) > 0);
	CHECK(env_random(env) != env_random(env));
	env_random_bytes(env, a, sizeof(a));
	env_random_bytes(env, b, sizeof(b));
	CHECK(memcmp(a, b, sizeof(a)) != 0);
	CHECK(strlen(env_boot_id(env)) == 36);
	CHECK(strchr(env_boot_id(env), '\n') == NULL);
	CHECK(!env_stopping(env));
}

TEST(reactor_facts)
{
	run_body(facts_fn, NULL);
}

/* ---- many threads ---- */

#define THREADS 8
#define CALLS 200

static unsigned counter; /* only fibers touch it */
static atomic_uint called;

static void count_fn(void *arg)
{
	unsigned before = counter;

	if ((uintptr_t)arg % 3 == 0) {
		env_yield(env);
		before = counter;
	}
	if ((uintptr_t)arg % 7 == 0) {
		env_sleep(env, 20 * NS_PER_US);
		before = counter;
	}
	counter = before + 1;
	atomic_fetch_add(&called, 1);
}

static void *caller(void *arg)
{
	for (unsigned i = 0; i < CALLS; i++) {
		CHECK_EQ(reactor_call(run_reactor, count_fn, (void *)((uintptr_t)arg + i)), 0);
	}
	return NULL;
}

static void call_from_threads(void)
{
	pthread_t threads[THREADS];

	counter = 0;
	atomic_store(&called, 0);
	for (uintptr_t i = 0; i < THREADS; i++) {
		CHECK_EQ(pthread_create(&threads[i], NULL, caller, (void *)i), 0);
	}
	for (unsigned i = 0; i < THREADS; i++) {
		CHECK_EQ(pthread_join(threads[i], NULL), 0);
	}
	CHECK_EQ(counter, THREADS * CALLS);
	CHECK_EQ(atomic_load(&called), THREADS * CALLS);
}

TEST(reactor_call_from_many_threads)
{
	struct reactor_options options = {.cpu = -1, .shared = true};
	struct reactor_stats st;

	run_open(&options);
	call_from_threads();
	reactor_stats(run_reactor, &st);
	CHECK_EQ(st.calls_driven + st.calls_handed, THREADS * CALLS);
	CHECK(st.calls_handed > 0);
	run_close();
}

static void *runner(void *arg)
{
	CHECK_EQ(reactor_run(arg), 0);
	return NULL;
}

static void *tender(void *arg)
{
	CHECK_EQ(reactor_tend(arg), 0);
	return NULL;
}

TEST(reactor_run_serves_calls)
{
	struct reactor_options options = {.cpu = 0, .shared = true};
	pthread_t thread;

	run_open(&options);
	CHECK_EQ(pthread_create(&thread, NULL, runner, run_reactor), 0);
	call_from_threads();
	reactor_stop(run_reactor);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	CHECK(env_stopping(env));
	run_close();
}

static void second_run_fn(_unused_ void *arg)
{
	CHECK_EQ(reactor_run(run_reactor), -NE_BUSY);
	reactor_stop(run_reactor);
}

TEST(reactor_runs_once)
{
	run_open(NULL);
	CHECK_EQ(env_spawn(env, "second", second_run_fn, NULL), 0);
	CHECK_EQ(reactor_run(run_reactor), 0);
	run_close();
}

static void on_alarm(_unused_ int sig)
{
	reactor_stop(run_reactor);
}

TEST(reactor_stop_from_signal_handler)
{
	struct timespec ts = {.tv_nsec = 2000000};
	struct itimerspec spec = {.it_value = ts};
	struct sigevent sev = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
	timer_t timer;

	run_open(NULL);
	signal(SIGALRM, on_alarm);
	CHECK_EQ(timer_create(CLOCK_MONOTONIC, &sev, &timer), 0);
	CHECK_EQ(timer_settime(timer, 0, &spec, NULL), 0);
	CHECK_EQ(reactor_run(run_reactor), 0);
	CHECK_EQ(timer_delete(timer), 0);
	run_close();
}

/* ---- tending ---- */

static atomic_uint ticks;

static void ticker_fn(_unused_ void *arg)
{
	while (!env_stopping(env)) {
		env_sleep(env, NS_PER_MS);
		atomic_fetch_add(&ticks, 1);
	}
}

static void spawn_ticker_fn(_unused_ void *arg)
{
	CHECK_EQ(env_spawn(env, "ticker", ticker_fn, NULL), 0);
}

static void wait_for_ticks(unsigned more)
{
	unsigned target = atomic_load(&ticks) + more;
	uint64_t limit = clock_ns() + 20 * NS_PER_S;

	while (atomic_load(&ticks) < target) {
		CHECK(clock_ns() < limit);
		sched_yield();
	}
}

TEST(reactor_tend_serves_between_calls)
{
	struct reactor_options options = {.cpu = -1, .shared = true};
	pthread_t thread;

	run_open(&options);
	CHECK_EQ(pthread_create(&thread, NULL, tender, run_reactor), 0);
	CHECK_EQ(reactor_call(run_reactor, spawn_ticker_fn, NULL), 0);
	wait_for_ticks(5);
	call_from_threads();
	wait_for_ticks(5);
	reactor_stopping_set(run_reactor);
	wait_for_ticks(1);
	reactor_stop(run_reactor);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	run_close();
}

/* ---- jobs ---- */

#define JOBS 20

static unsigned jobs_done;
static pthread_t main_thread;

static void job_fn(void *arg)
{
	CHECK(!pthread_equal(pthread_self(), main_thread));
	(*(unsigned *)arg)++;
}

static void job_fiber(void *arg)
{
	unsigned value = (unsigned)(uintptr_t)arg;

	env_job(env, value % 2 == 0 ? ENV_JOB_LOOKUP : ENV_JOB_BULK, job_fn, &value);
	CHECK_EQ(value, (uintptr_t)arg + 1);
	jobs_done++;
}

static void jobs_body(_unused_ void *arg)
{
	main_thread = pthread_self();
	jobs_done = 0;
	for (uintptr_t i = 0; i < JOBS; i++) {
		CHECK_EQ(env_spawn(env, "job", job_fiber, (void *)i), 0);
	}
	while (jobs_done < JOBS) {
		env_sleep(env, 10 * NS_PER_US);
	}
}

TEST(reactor_jobs_run_elsewhere)
{
	run_body(jobs_body, NULL);
}

/* ---- posts ---- */

static struct env_waitq post_q;
static unsigned posts_seen;
static struct posix_post post;

static void soon_fn(_unused_ void *arg)
{
	posts_seen++;
	env_wake_all(env, &post_q);
}

static void post_fn(_unused_ struct posix_post *p)
{
	CHECK(p == &post);
	soon_fn(NULL);
}

static void *poster(_unused_ void *arg)
{
	post.fn = post_fn;
	posix_post(env, &post);
	CHECK_EQ(posix_call_soon(env, soon_fn, NULL), 0);
	return NULL;
}

static void posts_body(_unused_ void *arg)
{
	pthread_t thread;

	posts_seen = 0;
	env_waitq_init(&post_q);
	CHECK_EQ(pthread_create(&thread, NULL, poster, NULL), 0);
	while (posts_seen < 2) {
		CHECK_EQ(env_wait(env, &post_q, ENV_FOREVER, ENV_WAIT_PLAIN), 0);
	}
	CHECK_EQ(pthread_join(thread, NULL), 0);
}

TEST(reactor_posts_wake_it)
{
	run_body(posts_body, NULL);
}

/* ---- descriptors ---- */

static int pipe_fds[2];

static void pipe_writer(_unused_ void *arg)
{
	CHECK_EQ(write(pipe_fds[1], "x", 1), 1);
}

static void fd_body(_unused_ void *arg)
{
	char c;

	CHECK_EQ(pipe(pipe_fds), 0);
	CHECK_EQ(posix_fd_wait(env, pipe_fds[1], POSIX_OUT, ENV_FOREVER, ENV_WAIT_PLAIN), 0);
	CHECK_EQ(
		posix_fd_wait(env, pipe_fds[0], POSIX_IN, env_now(env) + NS_PER_MS, ENV_WAIT_PLAIN),
		-NE_TIMEDOUT);
	CHECK_EQ(env_spawn(env, "writer", pipe_writer, NULL), 0);
	CHECK_EQ(posix_fd_wait(env, pipe_fds[0], POSIX_IN, ENV_FOREVER, ENV_WAIT_PLAIN), 0);
	CHECK_EQ(read(pipe_fds[0], &c, 1), 1);
	env_interrupt(env, env_self(env));
	CHECK_EQ(posix_fd_wait(env, pipe_fds[0], POSIX_IN, ENV_FOREVER, ENV_WAIT_INTR), -NE_INTR);
	env_interrupt_clear(env);
	CHECK_EQ(close(pipe_fds[1]), 0);
	CHECK_EQ(posix_fd_wait(env, pipe_fds[0], POSIX_IN, ENV_FOREVER, ENV_WAIT_INTR), 0);
	CHECK_EQ(close(pipe_fds[0]), 0);
}

TEST(reactor_fd_wait)
{
	run_body(fd_body, NULL);
}

/* ---- polling ---- */

static void near_body(_unused_ void *arg)
{
	for (unsigned i = 0; i < 400; i++) {
		unsigned value = 0;

		env_job(env, ENV_JOB_LOOKUP, job_fn, &value);
	}
}

TEST(reactor_polls_only_when_told_it_may)
{
	struct reactor_options options = {.cpu = -1, .spin_us_max = REACTOR_SPIN_NONE};
	struct reactor_stats st;

	main_thread = pthread_self();
	run_open(&options);
	CHECK_EQ(reactor_call(run_reactor, near_body, NULL), 0);
	reactor_stats(run_reactor, &st);
	CHECK_EQ(st.spins, 0);
	run_close();
}

static void hint_body(_unused_ void *arg)
{
	posix_spin_hint(env, 10 * NS_PER_MS);
	env_sleep(env, NS_PER_MS);
	env_sleep(env, 20 * NS_PER_MS);
}

TEST(reactor_polls_when_hinted_and_not_longer)
{
	struct reactor_options options = {.cpu = -1, .spin_us_max = 10000};
	struct reactor_stats st;

	run_open(&options);
	CHECK_EQ(reactor_call(run_reactor, hint_body, NULL), 0);
	reactor_stats(run_reactor, &st);
	CHECK(st.spins >= 1 && st.spins <= 2);
	CHECK_EQ(st.spins_hit, 0);
	CHECK(st.sleeps >= 1);
	run_close();
}

/* Rings freed by earlier tests may still interrupt this thread once each: one quiet window is asked for. */
static void idle_body(_unused_ void *arg)
{
	for (unsigned window = 0; window < 20; window++) {
		struct reactor_stats before;
		struct reactor_stats after;

		reactor_stats(run_reactor, &before);
		env_sleep(env, 50 * NS_PER_MS);
		reactor_stats(run_reactor, &after);
		CHECK_EQ(after.spins, before.spins);
		if (after.sleeps - before.sleeps == 1 && after.turns - before.turns <= 2) {
			return;
		}
	}
	CHECK(false);
}

TEST(reactor_idle_has_no_ticks)
{
	run_body(idle_body, NULL);
}

/* ---- a host that forbids io_uring ---- */

static void forbid_uring(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_io_uring_setup, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {.len = ARRAY_SIZE(code), .filter = code};

	CHECK_EQ(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	CHECK_EQ(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog), 0);
}

TEST(reactor_says_when_uring_is_forbidden)
{
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0);
	if (pid == 0) {
		struct reactor *r;

		forbid_uring();
		_exit(reactor_new(NULL, &r) == -NE_NOURING ? 0 : 1);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFEXITED(status));
	CHECK_EQ(WEXITSTATUS(status), 0);
}
