/* See actor.h. */
#include "actor.h"

#include "worker.h"

void actor_begin(struct actor *a)
{
	if (a->life != 0 && a->life != a->cl->life) {
		env_sleep(sim_node_env(a->cl->node), WORKER_QUIET_NS);
	}
	a->life = a->cl->life;
}

void actor_pause(struct actor *a, uint64_t ns)
{
	env_sleep(sim_node_env(a->cl->node), ns);
}
