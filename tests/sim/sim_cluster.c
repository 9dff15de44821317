/*
 * The whole file system in the simulator: one seed, or many.
 *
 * usage: sim_cluster --seed X [--verbose] [--trace]
 *        sim_cluster --seeds N [--from S] [-j N] [--stats] [--keep-going]
 *        sim_cluster --file seeds.txt
 *        sim_cluster --steps [--host H] [--power | --kill] [--from K] [--stride N]
 *
 * Each of many seeds runs in a process of its own, so that whatever it does is put down to it. A failure prints the
 * seed's output and the command that repeats it.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "nemesis.h"
#include "run.h"

#define JOBS_MAX 64
#define FAILURES_SHOWN 3
#define OUTPUT_SHOWN 12000
#define SEED_SECONDS 60

struct options {
	struct run_options run;
	const char *program;
	const char *file;
	uint64_t count;
	unsigned jobs;
	bool verbose;
	bool stats;
	bool keep_going;
	bool one;
	bool expect_failure; /* of a canary: finding nothing is what fails */
	bool steps;
	int host; /* -1: each */
	int kind; /* -1: both */
	uint64_t stride;
};

struct job {
	pid_t pid;
	uint64_t seed;
	struct step_options step;
	FILE *out; /* what it prints */
	int result; /* pipe */
	bool unharmed; /* it ended without a crash */
};

struct totals {
	struct sim_stats stats;
	uint64_t seeds;
	uint64_t failed;
	uint64_t ops, crashes, resyncs, ops_lost, lost_writes, nospace, ordered;
};

static void result_print(const struct run_result *r, uint64_t seed)
{
	char kinds[256];

	printf("seed %" PRIu64
	       ": %u OSTs, %u clients, %u workers, %u operations, %.1f s, %u crashes, %u "
	       "resyncs (%u operations lost), %u losses told, %u times no space, %" PRIu64
	       " events, hash %016" PRIx64 ", faults %s\n",
		seed, r->osts, r->clients, r->workers, r->ops, (double)r->virtual_ns / 1e9,
		r->crashes, r->resyncs, r->ops_lost, r->lost_writes, r->nospace, r->stats.events,
		r->hash, nemesis_text(r->kinds, kinds, sizeof(kinds)));
}

static int run_one(const struct options *o)
{
	static struct run_result r;

	run_seed(&o->run, &r);
	result_print(&r, o->run.seed);
	if (o->stats) {
		sim_stats_print(&r.stats, stdout);
	}
	return 0;
}

/* ---- many ---- */

/* Too long: the simulator says where everybody is when the process aborts. */
static void too_long(int sig)
{
	(void)sig;
	abort();
}

static void child(const struct options *o, const struct job *j, int result)
{
	static struct run_result r;
	struct run_options run = o->run;
	const char *at = (const char *)&r;
	size_t left = sizeof(r);

	run.seed = j->seed;
	(void)dup2(fileno(j->out), STDOUT_FILENO);
	(void)dup2(fileno(j->out), STDERR_FILENO);
	(void)signal(SIGALRM, too_long);
	(void)alarm(SEED_SECONDS);
	if (o->steps) {
		r.crashes = run_step(&j->step, &r);
	} else {
		run_seed(&run, &r);
	}
	while (left > 0) {
		ssize_t n = write(result, at, left);

		if (n <= 0) {
			_exit(3);
		}
		at += n;
		left -= (size_t)n;
	}
	_exit(0);
}

static void job_start(const struct options *o, struct job *j, uint64_t seed)
{
	int fds[2];

	j->seed = seed;
	j->out = tmpfile();
	if (j->out == NULL || pipe(fds) != 0) {
		perror("sim_cluster");
		exit(2);
	}
	fflush(NULL);
	j->pid = fork();
	if (j->pid < 0) {
		perror("fork");
		exit(2);
	}
	if (j->pid == 0) {
		close(fds[0]);
		child(o, j, fds[1]);
	}
	close(fds[1]);
	j->result = fds[0];
}

static bool result_read(struct job *j, struct run_result *r)
{
	char *at = (char *)r;
	size_t left = sizeof(*r);

	while (left > 0) {
		ssize_t n = read(j->result, at, left);

		if (n < 0 && errno == EINTR) {
			continue;
		}
		if (n <= 0) {
			return false;
		}
		at += n;
		left -= (size_t)n;
	}
	return true;
}

static void failed_line(struct job *j)
{
	char line[600];

	rewind(j->out);
	while (fgets(line, sizeof(line), j->out) != NULL) {
		if (strncmp(line, "FAILED", 6) == 0 || strstr(line, "ssert") != NULL) {
			fputs(line, stdout);
			return;
		}
	}
	printf("FAILED seed %" PRIu64 "\n", j->seed);
}

/* The one command that does it again. */
static void repeat_print(const struct options *o, const struct job *j)
{
	if (o->steps) {
		printf("repeat: %s --steps --host %u --%s --from %" PRIu64 "\n", o->program,
			j->step.host, j->step.kind == SIM_KILL ? "kill" : "power", j->step.step);
		return;
	}
	printf("repeat: %s --seed %" PRIu64, o->program, j->seed);
	if (o->run.ops != 0) {
		printf(" --ops %u", o->run.ops);
	}
	if (o->run.kinds != NEMESIS_ALL) {
		printf(" --faults %u", o->run.kinds);
	}
	printf("\n");
}

static void output_show(const struct options *o, struct job *j, int status)
{
	static char buf[OUTPUT_SHOWN];
	long size;
	size_t n;

	(void)fseek(j->out, 0, SEEK_END);
	size = ftell(j->out);
	(void)fseek(j->out, size > OUTPUT_SHOWN ? size - OUTPUT_SHOWN : 0, SEEK_SET);
	n = fread(buf, 1, sizeof(buf), j->out);
	fwrite(buf, 1, n, stdout);
	putchar('\n');
	failed_line(j);
	printf("\nFAILED: %s %d\n", WIFSIGNALED(status) ? "signal" : "exit",
		WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	repeat_print(o, j);
	fflush(stdout);
}

static void job_end(const struct options *o, struct job *j, struct totals *t)
{
	static struct run_result r;
	bool got = result_read(j, &r);
	int status = 0;

	while (waitpid(j->pid, &status, 0) < 0 && errno == EINTR) {
	}
	close(j->result);
	t->seeds++;
	if (!got || status != 0) {
		t->failed++;
		if (t->failed <= FAILURES_SHOWN && !o->keep_going && !o->expect_failure) {
			output_show(o, j, status);
		} else {
			failed_line(j);
			repeat_print(o, j);
		}
		fflush(stdout);
	} else {
		j->unharmed = r.crashes == 0;
		sim_stats_add(&t->stats, &r.stats);
		t->ops += r.ops;
		t->crashes += r.crashes;
		t->resyncs += r.resyncs;
		t->ops_lost += r.ops_lost;
		t->lost_writes += r.lost_writes;
		t->nospace += r.nospace;
		t->ordered += r.ordered;
		if (o->verbose) {
			result_print(&r, j->seed);
		}
	}
	fclose(j->out);
	j->pid = 0;
}

static bool seed_next(const struct options *o, FILE *list, uint64_t *done, uint64_t *ret_seed)
{
	char line[256];

	if (list == NULL) {
		if (*done >= o->count) {
			return false;
		}
		*ret_seed = o->run.seed + (*done)++;
		return true;
	}
	while (fgets(line, sizeof(line), list) != NULL) {
		if (line[0] >= '0' && line[0] <= '9') {
			*ret_seed = strtoull(line, NULL, 10);
			return true;
		}
	}
	return false;
}

static int run_many(const struct options *o)
{
	static struct totals t;
	static struct job jobs[JOBS_MAX];
	FILE *list = o->file == NULL ? NULL : fopen(o->file, "r");
	uint64_t begun = 0;
	uint64_t seed = 0;
	unsigned at = 0;
	time_t start = time(NULL);

	if (o->file != NULL && list == NULL) {
		perror(o->file);
		return 2;
	}
	while ((t.failed == 0 || o->keep_going) && seed_next(o, list, &begun, &seed)) {
		if (jobs[at].pid != 0) {
			job_end(o, &jobs[at], &t);
		}
		job_start(o, &jobs[at], seed);
		at = (at + 1) % o->jobs;
	}
	for (unsigned i = 0; i < o->jobs; i++) {
		struct job *j = &jobs[(at + i) % o->jobs];

		if (j->pid != 0) {
			job_end(o, j, &t);
		}
	}
	if (list != NULL) {
		fclose(list);
	}
	printf("%" PRIu64 " seeds, %" PRIu64 " failed, %" PRIu64 " operations, %" PRIu64
	       " crashes, %" PRIu64 " resyncs (%" PRIu64 " operations lost), %" PRIu64
	       " losses told, %" PRIu64 " times no space, %.0f s\n",
		t.seeds, t.failed, t.ops, t.crashes, t.resyncs, t.ops_lost, t.lost_writes,
		t.nospace, difftime(time(NULL), start));
	if (o->expect_failure) {
		printf(t.failed > 0 ? "found after %" PRIu64 " seeds\n"
				    : "NOT found in %" PRIu64 " seeds\n",
			t.seeds);
		return t.failed > 0 ? 0 : 1;
	}
	if (o->stats) {
		unsigned groups = SIM_GROUP_NODE | SIM_GROUP_NET | SIM_GROUP_DISK |
			SIM_GROUP_ERROR | SIM_GROUP_PASSED;

		/* Space ends by the targets' capacities, not by the disk's. */
		t.stats.faults[SIM_FAULT_NOSPACE] += t.nospace;
		sim_stats_print(&t.stats, stdout);
		printf("operations of several clients on the same names, in an order: %" PRIu64
		       "\n",
			t.ordered);
		if (t.ordered == 0) {
			printf("FAILED: no order was ever looked for\n");
			return 1;
		}
		if (sim_stats_check_all_fired(&t.stats, groups, stdout) != 0) {
			printf("FAILED: a kind of fault never fired\n");
			return 1;
		}
	}
	return t.failed == 0 && t.seeds > 0 ? 0 : 1;
}

/* Every step of one host and one kind of crash, until a run ends unharmed; its number. */
static uint64_t steps_of(const struct options *o, struct step_options step, struct totals *t)
{
	static struct job jobs[JOBS_MAX];
	unsigned at = 0;

	for (; t->failed == 0 || o->keep_going; step.step += o->stride) {
		struct job *j = &jobs[at];

		if (j->pid != 0) {
			job_end(o, j, t);
		}
		if (j->unharmed) {
			break;
		}
		j->step = step;
		job_start(o, j, o->run.seed);
		at = (at + 1) % o->jobs;
	}
	for (unsigned i = 0; i < o->jobs; i++) {
		if (jobs[i].pid != 0) {
			job_end(o, &jobs[i], t);
		}
		jobs[i].unharmed = false;
	}
	return step.step;
}

static int run_steps(const struct options *o)
{
	static struct totals t;
	time_t start = time(NULL);

	for (unsigned host = 0; host < STEP_HOSTS; host++) {
		for (int kind = 0; kind < 2; kind++) {
			struct step_options step = {.seed = 1,
				.host = host,
				.kind = kind == 0 ? SIM_KILL : SIM_POWER_LOSS,
				.step = o->run.seed == 0 ? 1 : o->run.seed,
				.trace = o->run.trace};
			uint64_t last;

			if ((o->host >= 0 && (unsigned)o->host != host) ||
				(o->kind >= 0 && o->kind != kind) ||
				(t.failed > 0 && !o->keep_going)) {
				continue;
			}
			last = steps_of(o, step, &t);
			printf("host %u, %s: unharmed from step %" PRIu64 "\n", host,
				kind == 0 ? "kill" : "power loss", last);
			fflush(stdout);
		}
	}
	printf("%" PRIu64 " runs, %" PRIu64 " failed, %.0f s\n", t.seeds, t.failed,
		difftime(time(NULL), start));
	return t.failed == 0 && t.seeds > 0 ? 0 : 1;
}

static int usage(void)
{
	fprintf(stderr,
		"usage: sim_cluster --seed X [--verbose] [--trace] [--stats]\n"
		"       sim_cluster --seeds N [--from S] [-j N] [--stats] [--keep-going] "
		"[--verbose]\n"
		"       sim_cluster --file FILE [-j N]\n"
		"       sim_cluster --steps [--host H] [--kill | --power] [--from K] [--stride N]\n"
		"       [--ops N] operations per worker, [--faults MASK] kinds allowed\n");
	return 2;
}

static const struct option table[] = {{"seed", required_argument, NULL, 's'},
	{"seeds", required_argument, NULL, 'n'}, {"from", required_argument, NULL, 'f'},
	{"file", required_argument, NULL, 'l'}, {"verbose", no_argument, NULL, 'v'},
	{"trace", no_argument, NULL, 't'}, {"stats", no_argument, NULL, 'S'},
	{"ops", required_argument, NULL, 'o'}, {"faults", required_argument, NULL, 'F'},
	{"keep-going", no_argument, NULL, 'k'}, {"expect-failure", no_argument, NULL, 'x'},
	{"steps", no_argument, NULL, 'e'}, {"host", required_argument, NULL, 'h'},
	{"kill", no_argument, NULL, 'K'}, {"power", no_argument, NULL, 'P'},
	{"stride", required_argument, NULL, 'r'}, {NULL, 0, NULL, 0}};

static bool option_take(struct options *o, int opt)
{
	switch (opt) {
	case 's':
		o->one = true;
		o->run.seed = strtoull(optarg, NULL, 0);
		break;
	case 'f':
		o->run.seed = strtoull(optarg, NULL, 0);
		break;
	case 'n':
		o->count = strtoull(optarg, NULL, 0);
		break;
	case 'l':
		o->file = optarg;
		break;
	case 'v':
		o->verbose = true;
		break;
	case 't':
		o->run.trace = true;
		break;
	case 'S':
		o->stats = true;
		break;
	case 'o':
		o->run.ops = (unsigned)strtoul(optarg, NULL, 0);
		break;
	case 'F':
		o->run.kinds = (unsigned)strtoul(optarg, NULL, 0);
		break;
	case 'k':
		o->keep_going = true;
		break;
	case 'x':
		o->expect_failure = true;
		break;
	case 'e':
		o->steps = true;
		break;
	case 'h':
		o->host = atoi(optarg);
		break;
	case 'K':
		o->kind = 0;
		break;
	case 'P':
		o->kind = 1;
		break;
	case 'r':
		o->stride = strtoull(optarg, NULL, 0);
		break;
	case 'j':
		o->jobs = (unsigned)strtoul(optarg, NULL, 0);
		break;
	default:
		return false;
	}
	return true;
}

int main(int argc, char **argv)
{
	struct options o = {.program = argv[0],
		.jobs = 2,
		.host = -1,
		.kind = -1,
		.stride = 1,
		.run = {.kinds = NEMESIS_ALL}};
	int opt;

	while ((opt = getopt_long(argc, argv, "j:", table, NULL)) != -1) {
		if (!option_take(&o, opt)) {
			return usage();
		}
	}
	if (optind != argc || o.jobs < 1 || o.jobs > JOBS_MAX || o.stride == 0 ||
		(!o.one && !o.steps && o.count == 0 && o.file == NULL)) {
		return usage();
	}
	if (o.steps) {
		return run_steps(&o);
	}
	return o.one ? run_one(&o) : run_many(&o);
}
