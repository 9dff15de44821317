/*
 * The echo service of echo.h in the simulated world: one node serves, each client is a node.
 */
#ifndef NACRE_TESTS_SIM_ECHO_H
#define NACRE_TESTS_SIM_ECHO_H

#include "echo.h"
#include "env/sim/sim.h"

#define ECHO_ADDR "sim:server:7"
#define ECHO_CLIENTS 3
#define ECHO_LARGE 20000

struct sim_echo {
	struct echo echo;
	struct sim *sim;
	struct sim_node *server;
	struct sim_node *nodes[ECHO_CLIENTS];
};

static inline void sim_echo_server(void *arg)
{
	struct sim_echo *s = arg;

	echo_listen(&s->echo, sim_node_env(s->server), ECHO_ADDR);
	CHECK_STR(s->echo.addr, ECHO_ADDR);
	echo_accept(&s->echo);
}

static inline void sim_echo_init(struct sim_echo *s, const struct sim_options *opts, uint32_t goal)
{
	echo_prepare(&s->echo, ECHO_CLIENTS, goal);
	strcpy(s->echo.addr, ECHO_ADDR); /* clients may come before the server has listened */
	s->sim = sim_new(opts);
	s->server = sim_node_new(s->sim, "server");
	for (uint32_t i = 0; i < ECHO_CLIENTS; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "client%u", i);
		s->nodes[i] = sim_node_new(s->sim, name);
		s->echo.clients[i].env = sim_node_env(s->nodes[i]);
	}
}

/* Starts whoever does not run. */
static inline void sim_echo_start(struct sim_echo *s)
{
	if (!sim_node_is_up(s->server)) {
		sim_node_start(s->server, sim_echo_server, s);
	}
	for (unsigned i = 0; i < ECHO_CLIENTS; i++) {
		if (!sim_node_is_up(s->nodes[i])) {
			sim_node_start(s->nodes[i], echo_client_main, &s->echo.clients[i]);
		}
	}
}

#endif
