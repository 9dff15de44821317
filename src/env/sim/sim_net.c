/*
 * The simulated network between nodes: addresses, listeners, connecting, partitions, crashes of hosts.
 * Waits for the network are not interruptible, as in the real world: deadlines and shutdowns end them.
 */
#include <stdlib.h>
#include <string.h>

#include "env/sim/sim_stream.h"

/* ---- addresses ---- */

/* "sim:node:port" */
static int addr_parse(const char *addr, char name[SIM_NAME_MAX + 1], uint32_t *ret_port)
{
	const char *colon;
	char *end;
	unsigned long port;
	size_t len;

	if (strncmp(addr, "sim:", 4) != 0) {
		return -NE_INVAL;
	}
	addr += 4;
	colon = strchr(addr, ':');
	len = colon != NULL ? (size_t)(colon - addr) : 0;
	if (len == 0 || len > SIM_NAME_MAX || colon[1] < '0' || colon[1] > '9') {
		return -NE_INVAL;
	}
	port = strtoul(colon + 1, &end, 10);
	if (*end != '\0' || port > 65535) {
		return -NE_INVAL;
	}
	memcpy(name, addr, len);
	name[len] = '\0';
	*ret_port = (uint32_t)port;
	return 0;
}

static struct sim_node *node_find(struct sim *sim, const char *name)
{
	for (unsigned i = 0; i < sim->node_count; i++) {
		if (strcmp(sim->nodes[i]->name, name) == 0) {
			return sim->nodes[i];
		}
	}
	return NULL;
}

/* ---- listeners ---- */

static struct sim_listener *listener_find(const struct sim_node *node, uint32_t port)
{
	LIST_FOREACH (it, &node->listeners) {
		struct sim_listener *l = list_entry(it, struct sim_listener, link);

		if (l->port == port) {
			return l;
		}
	}
	return NULL;
}

int sim_net_listen(struct env *env, const char *addr, char *ret_addr, size_t cap,
	struct env_listener **ret_listener)
{
	struct sim_node *node = sim_node_of(env);
	char name[SIM_NAME_MAX + 1];
	struct sim_listener *l;
	uint32_t port;
	int rc = addr_parse(addr, name, &port);

	sim_log(node->sim, node, "listen", addr, 0, 0);
	sim_point_pass(node, SIM_POINT_LISTEN);
	if (rc != 0 || strcmp(name, node->name) != 0) {
		return -NE_INVAL;
	}
	while (port == 0) {
		port = listener_find(node, node->port_next) == NULL ? node->port_next : 0;
		node->port_next = node->port_next == 65535 ? 49152 : node->port_next + 1;
	}
	if (listener_find(node, port) != NULL) {
		return -NE_BUSY;
	}
	l = sim_zalloc(sizeof(*l));
	(void)snprintf(l->addr, sizeof(l->addr), "sim:%s:%u", node->name, port);
	if (strlen(l->addr) >= cap) {
		free(l);
		return -NE_RANGE;
	}
	memcpy(ret_addr, l->addr, strlen(l->addr) + 1);
	l->listener.env = env;
	l->node = node;
	l->port = port;
	env_waitq_init(&l->q);
	list_init(&l->queue);
	list_push_back(&node->listeners, &l->link);
	*ret_listener = &l->listener;
	return 0;
}

static struct sim_listener *listener_of(struct env_listener *l)
{
	return container_of(l, struct sim_listener, listener);
}

int sim_net_accept(struct env_listener *listener, struct env_conn **ret_conn)
{
	struct sim_listener *l = listener_of(listener);
	struct sim_node *node = l->node;
	struct sim_end *end;
	bool closed;
	int rc = 0;

	sim_point_pass(node, SIM_POINT_ACCEPT);
	l->accepters++;
	while (rc == 0 && !l->closed && list_empty(&l->queue)) {
		rc = sim_wait(node, &l->q, ENV_FOREVER, ENV_WAIT_PLAIN, "accept", l->addr);
	}
	l->accepters--;
	closed = l->closed;
	if (closed && l->accepters == 0) {
		free(l);
	}
	if (closed || rc != 0) {
		return closed ? -NE_SHUTDOWN : rc;
	}
	end = list_entry(list_pop_front(&l->queue), struct sim_end, queue);
	l->queued--;
	sim_log(node->sim, node, "accept", end->peer.addr, end->stream->id, 0);
	*ret_conn = &end->conn;
	return 0;
}

/* Takes it from its node; connections nobody accepted end. */
static void listener_unhook(struct sim_listener *l)
{
	list_del(&l->link);
	while (!list_empty(&l->queue)) {
		struct sim_end *end = list_entry(list_pop_front(&l->queue), struct sim_end, queue);

		end->shut = true;
		sim_end_finish(end, true);
		sim_end_release(end);
	}
	l->queued = 0;
}

void sim_net_listener_close(struct env_listener *listener)
{
	struct sim_listener *l = listener_of(listener);

	ASSERT(!l->closed);
	l->closed = true;
	listener_unhook(l);
	if (l->accepters == 0) {
		free(l);
	} else {
		fiber_wake_all(&l->q);
	}
}

/* ---- connecting ---- */

enum connect_answer {
	CONNECT_SILENCE,
	CONNECT_REFUSED,
	CONNECT_ACCEPTED,
};

/* What the host says to a connection request that reaches it now. */
static enum connect_answer connect_ask(
	struct sim_node *node, struct sim_node *to, uint32_t port, struct sim_stream **ret_stream)
{
	struct sim *sim = node->sim;
	struct sim_listener *l;

	if (!to->powered || to->asleep || sim->blocked[node->index][to->index] ||
		sim->blocked[to->index][node->index]) {
		return CONNECT_SILENCE;
	}
	l = listener_find(to, port);
	if (l == NULL) {
		return CONNECT_REFUSED;
	}
	if (l->queued >= sim->opts.net.backlog) {
		return CONNECT_SILENCE;
	}
	*ret_stream = sim_stream_new(node, to);
	list_push_back(&l->queue, &(*ret_stream)->ends[1].queue);
	l->queued++;
	(void)fiber_wake_one(&l->q);
	return CONNECT_ACCEPTED;
}

/* The answer is on its way back; the deadline or the end of the connection may come first. */
static int connect_answered(
	struct sim_node *node, struct sim_stream *stream, uint64_t deadline, const char *addr)
{
	struct sim_end *end = &stream->ends[0];
	uint64_t at = node->env.sched.now_ns + sim_net_latency(node->sim);
	int rc = sim_wait(node, NULL, u64_min(at, deadline), ENV_WAIT_PLAIN, "connect", addr);

	if (rc == -NE_TIMEDOUT && at <= deadline) {
		rc = end->tx_dead ? -NE_CONNLOST : 0;
	}
	if (rc != 0) {
		end->shut = true;
		sim_end_finish(end, true);
		sim_end_release(end);
	}
	return rc;
}

/* Asks again and again, as TCP does, until there is an answer or it gives up. */
static int connect_try(struct sim_node *node, struct sim_node *to, uint32_t port, uint64_t give_up,
	const char *addr, struct sim_stream **ret_stream)
{
	struct sim *sim = node->sim;
	bool mute = sim_chance(&sim->net_rng, sim->opts.net.connect_timeout_ppm);
	uint64_t again = NS_PER_S;

	for (;;) {
		uint64_t at = node->env.sched.now_ns + sim_net_latency(sim);
		enum connect_answer answer = CONNECT_SILENCE;
		int rc =
			sim_wait(node, NULL, u64_min(at, give_up), ENV_WAIT_PLAIN, "connect", addr);

		if (rc != -NE_TIMEDOUT || at > give_up) {
			return rc;
		}
		if (!mute) {
			answer = connect_ask(node, to, port, ret_stream);
		}
		if (answer != CONNECT_SILENCE) {
			return answer == CONNECT_ACCEPTED ? 0 : -NE_CONNREFUSED;
		}
		at = u64_min(give_up, node->env.sched.now_ns + again);
		rc = sim_wait(node, NULL, at, ENV_WAIT_PLAIN, "connect", addr);
		if (rc != -NE_TIMEDOUT || at == give_up) {
			sim_fault(node, SIM_FAULT_CONNECT_TIMEOUT, addr, 0);
			return rc;
		}
		again *= 2;
	}
}

int sim_net_connect(
	struct env *env, const char *addr, uint64_t deadline_ns, struct env_conn **ret_conn)
{
	struct sim_node *node = sim_node_of(env);
	struct sim *sim = node->sim;
	char name[SIM_NAME_MAX + 1];
	struct sim_stream *stream = NULL;
	struct sim_node *to;
	uint64_t give_up = sim->opts.net.connect_timeout_ns_max;
	uint32_t port;
	int rc = addr_parse(addr, name, &port);

	sim_log(sim, node, "connect", addr, 0, 0);
	sim_point_pass(node, SIM_POINT_CONNECT);
	if (rc != 0) {
		return rc;
	}
	to = node_find(sim, name);
	if (to == NULL) {
		return -NE_HOSTUNREACH;
	}
	if (sim_chance(&sim->net_rng, sim->opts.net.refuse_ppm)) {
		sim_fault(node, SIM_FAULT_REFUSE, addr, 0);
		sim_pass(node, sim_net_latency(sim), "connect", addr);
		return -NE_CONNREFUSED;
	}
	give_up = env->sched.now_ns + prng_range(&sim->net_rng, give_up / 2, give_up);
	give_up = u64_min(give_up, deadline_ns);
	rc = connect_try(node, to, port, give_up, addr, &stream);
	rc = rc != 0 ? rc : connect_answered(node, stream, deadline_ns, addr);
	if (rc != 0) {
		return rc;
	}
	sim_log(sim, node, "connected", addr, stream->id, 0);
	*ret_conn = &stream->ends[0].conn;
	return 0;
}

/* ---- crashes ---- */

/* All the node's ends: connections, then those not yet accepted with their listeners. */
void sim_net_node_crash(struct sim_node *node, enum sim_crash kind)
{
	while (!list_empty(&node->listeners)) {
		struct sim_listener *l =
			list_entry(node->listeners.next, struct sim_listener, link);

		list_del(&l->link); /* its queue's ends are on the node's list like all others */
		free(l);
	}
	while (!list_empty(&node->ends)) {
		struct sim_end *end = list_entry(node->ends.next, struct sim_end, link);

		/* Whoever waited on it is gone without being unlinked. */
		env_waitq_init(&end->rxq);
		env_waitq_init(&end->txq);
		if (kind == SIM_POWER_LOSS) {
			sim_end_silence(end);
		} else {
			end->shut = true;
			sim_end_finish(end, true);
		}
		sim_end_release(end);
	}
}

void sim_net_free(struct sim *sim)
{
	ASSERT(list_empty(&sim->streams)); /* every node has crashed, nobody holds an end */
	(void)sim;
}

/* ---- partitions ---- */

void sim_partition(struct sim *sim, struct sim_node *a, struct sim_node *b, bool on)
{
	if (sim->blocked[a->index][b->index] == on) {
		return;
	}
	sim_log(sim, a, on ? "partition" : "heal", b->name, 0, 0);
	sim->blocked[a->index][b->index] = on;
	if (on) {
		return;
	}
	LIST_FOREACH (it, &sim->streams) {
		struct sim_stream *stream = list_entry(it, struct sim_stream, link);

		for (unsigned i = 0; i < 2; i++) {
			if (stream->ends[i].node == a && stream->ends[1 - i].node == b) {
				sim_end_heal(&stream->ends[i]);
			}
		}
	}
}

void sim_partition_heal(struct sim *sim)
{
	for (unsigned i = 0; i < sim->node_count; i++) {
		for (unsigned j = 0; j < sim->node_count; j++) {
			sim_partition(sim, sim->nodes[i], sim->nodes[j], false);
		}
	}
}

void sim_net_reset(struct sim *sim, struct sim_node *a, struct sim_node *b)
{
	LIST_FOREACH (it, &sim->streams) {
		struct sim_stream *stream = list_entry(it, struct sim_stream, link);
		const struct sim_node *x = stream->ends[0].node;
		const struct sim_node *y = stream->ends[1].node;

		if ((x == a && y == b) || (x == b && y == a)) {
			sim_stream_break(stream);
		}
	}
}

void sim_net_dump(const struct sim *sim, FILE *out)
{
	LIST_FOREACH (it, &sim->streams) {
		const struct sim_stream *stream = list_entry(it, struct sim_stream, link);

		fprintf(out, "stream %llu:", (unsigned long long)stream->id);
		for (unsigned i = 0; i < 2; i++) {
			const struct sim_end *end = &stream->ends[i];

			fprintf(out, " [%s%s%s%s%s%s rx=%llu unread=%llu%s]", end->node->name,
				end->held ? "" : " gone", end->shut ? " shut" : "",
				end->eof ? " eof" : "", end->tx_dead ? " reset" : "",
				end->lost ? " lost" : "", (unsigned long long)end->rx_bytes,
				(unsigned long long)end->unread, end->wire_held ? " held" : "");
		}
		fprintf(out, "\n");
	}
}
