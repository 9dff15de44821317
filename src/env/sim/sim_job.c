/*
 * Helper jobs as events: run on the driver's stack at one random time, reported to the fiber at a later one.
 *
 * A job is owned by its node's list until its fiber takes it off; a crash drops it, before it ran or after.
 * While the process is stopped its helper threads are too: a job that comes due is held until it goes on.
 */
#include <stdlib.h>

#include "env/sim/sim_int.h"

struct sim_job {
	struct timer timer;
	struct list link;
	struct sim_node *node;
	void (*fn)(void *);
	void *arg;
	struct env_waitq q;
	bool ran;
	bool held;
};

static void job_due(struct timer *timer)
{
	struct sim_job *job = container_of(timer, struct sim_job, timer);
	struct sim_node *node = job->node;
	struct sim *sim = node->sim;
	struct mem_scope *before;

	if (!sim_node_runs(node)) {
		job->held = true;
		return;
	}
	if (job->ran) {
		fiber_wake_all(&job->q);
		return;
	}
	sim_log(sim, node, "job_run", NULL, 0, 0);
	job->ran = true;
	before = mem_scope_enter(node->heap);
	job->fn(job->arg);
	(void)mem_scope_enter(before);
	timer_add(&sim->events, &job->timer,
		sim->now + prng_range(&sim->sched_rng, 0, sim->opts.job_ns_max), job_due);
}

void sim_job_run(struct env *env, enum env_job_kind kind, void (*fn)(void *), void *arg)
{
	struct sim_node *node = sim_node_of(env);
	struct sim *sim = node->sim;
	struct sim_job *job;
	int rc;

	sim_point_pass(node, SIM_POINT_JOB);
	sim_log(sim, node, "job", NULL, kind, 0);
	job = sim_zalloc(sizeof(*job));
	job->node = node;
	job->fn = fn;
	job->arg = arg;
	env_waitq_init(&job->q);
	list_push_back(&node->jobs, &job->link);
	timer_add(&sim->events, &job->timer,
		sim->now + prng_range(&sim->sched_rng, 0, sim->opts.job_ns_max), job_due);
	rc = sim_wait(node, &job->q, ENV_FOREVER, ENV_WAIT_PLAIN, "job", NULL);
	ASSERT(rc == 0 && job->ran);
	list_del(&job->link);
	free(job);
}

void sim_jobs_crash(struct sim_node *node)
{
	while (!list_empty(&node->jobs)) {
		struct sim_job *job = list_entry(node->jobs.next, struct sim_job, link);

		list_del(&job->link);
		timer_cancel(&node->sim->events, &job->timer);
		free(job);
		sim_fault(node, SIM_FAULT_JOB_LOST, NULL, 0);
	}
}

void sim_node_resume(struct sim_node *node)
{
	struct sim *sim = node->sim;

	if (node->asleep) {
		node->slept_ns += sim->now - node->sleep_since_ns;
		node->asleep = false;
		node->deadline_local = ENV_FOREVER; /* true times of all deadlines have moved */
		node->deadline_ns = ENV_FOREVER;
		sim_node_deadline_update(node);
	}
	node->stopped = false;
	sim_log(sim, node, "resume", NULL, 0, 0);
	LIST_FOREACH (it, &node->jobs) {
		struct sim_job *job = list_entry(it, struct sim_job, link);

		if (job->held) {
			job->held = false;
			timer_add(&sim->events, &job->timer, sim->now, job_due);
		}
	}
}
