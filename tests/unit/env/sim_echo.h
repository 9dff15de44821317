/*
 * An echo service and its clients, written against env.h only: what the tests of the simulated network run.
 *
 * A request is a header (client, number, length, checksum of the payload) and a payload; the server sends it
 * back as it is. A client goes on with the next number only when the answer was right; when the connection
 * breaks it connects again and repeats the number. So within a connection everything must come back in
 * order and unchanged, and with a world that lets it, everything ends.
 */
#ifndef NACRE_TESTS_ECHO_H
#define NACRE_TESTS_ECHO_H

#include "test.h"

#include "base/alloc.h"
#include "base/crc32c.h"
#include "env/sim/sim.h"

#define ECHO_ADDR "sim:server:7"
#define ECHO_CLIENTS 3
#define ECHO_PAYLOAD_MAX 20000

struct echo_header {
	uint32_t magic;
	uint32_t client;
	uint32_t number;
	uint32_t len;
	uint32_t crc;
};

#define ECHO_MAGIC UINT32_C(0x4f484345)

struct echo_client {
	struct echo *echo;
	struct sim_node *node;
	uint32_t index;
	/* In the test's memory: outlives crashes of the client. */
	uint32_t number;
	unsigned connects;
	bool done;
};

struct echo {
	struct sim *sim;
	struct sim_node *server;
	struct echo_client clients[ECHO_CLIENTS];
	uint32_t goal;
	size_t payload_max;
	bool hostile; /* wrong bytes are expected and cost a connection only */
	uint32_t seen[ECHO_CLIENTS]; /* highest number the server met */
	unsigned duplicates; /* requests it met after a later one */
	unsigned corrupt;
};

struct echo_conn {
	struct echo *echo;
	struct env_conn *conn;
};

/* Reads one message; the caller frees *ret_payload. False when the connection is useless now. */
static inline bool echo_read(struct echo *e, struct env_conn *conn, uint64_t deadline,
	struct echo_header *h, uint8_t **ret_payload)
{
	size_t len;

	*ret_payload = NULL;
	if (env_recv(conn, h, sizeof(*h), sizeof(*h), deadline, &len) != 0) {
		return false;
	}
	if (h->magic != ECHO_MAGIC || h->len > ECHO_PAYLOAD_MAX || h->client >= ECHO_CLIENTS) {
		CHECK(e->hostile);
		e->corrupt++;
		return false;
	}
	*ret_payload = mem_alloc(h->len + 1);
	CHECK(*ret_payload != NULL);
	if (h->len > 0 && env_recv(conn, *ret_payload, h->len, h->len, deadline, &len) != 0) {
		return false;
	}
	if (crc32c(h->number, *ret_payload, h->len) != h->crc) {
		CHECK(e->hostile);
		e->corrupt++;
		return false;
	}
	return true;
}

static inline bool echo_write(struct env_conn *conn, struct echo_header *h, uint8_t *payload)
{
	struct iovec iov[3] = {{h, sizeof(*h)}, {NULL, 0}, {payload, h->len}};

	return env_send(conn, iov, 3) == 0;
}

static inline void echo_serve_conn(void *arg)
{
	struct echo_conn *ec = arg;
	struct echo *e = ec->echo;
	struct echo_header h;
	uint8_t *payload;

	while (echo_read(e, ec->conn, ENV_FOREVER, &h, &payload)) {
		if (h.number < e->seen[h.client]) {
			e->duplicates++;
		} else {
			e->seen[h.client] = h.number;
		}
		if (!echo_write(ec->conn, &h, payload)) {
			break;
		}
		mem_free(payload);
		payload = NULL;
	}
	mem_free(payload);
	env_conn_shutdown(ec->conn);
	env_conn_close(ec->conn);
	mem_free(ec);
}

static inline void echo_server(void *arg)
{
	struct echo *e = arg;
	struct env *env = sim_node_env(e->server);
	struct env_listener *l;
	struct env_conn *conn;
	char addr[64];

	CHECK_EQ(env_listen(env, ECHO_ADDR, addr, sizeof(addr), &l), 0);
	CHECK_STR(addr, ECHO_ADDR);
	while (env_accept(l, &conn) == 0) {
		struct echo_conn *ec = mem_alloc(sizeof(*ec));

		CHECK(ec != NULL);
		*ec = (struct echo_conn){e, conn};
		CHECK_EQ(env_spawn(env, "echo", echo_serve_conn, ec), 0);
	}
}

/* One request; false when the connection is to be given up. */
static inline bool echo_round(struct echo_client *c, struct env *env, struct env_conn *conn)
{
	struct echo *e = c->echo;
	struct echo_header h = {ECHO_MAGIC, c->index, c->number, 0, 0};
	struct echo_header back;
	uint8_t *payload;
	uint8_t *answer = NULL;
	bool ok;

	h.len = (uint32_t)(env_random(env) % (e->payload_max + 1));
	payload = mem_alloc(h.len + 1);
	CHECK(payload != NULL);
	env_random_bytes(env, payload, h.len);
	h.crc = crc32c(h.number, payload, h.len);
	ok = echo_write(conn, &h, payload) &&
		echo_read(e, conn, env_now(env) + 5 * NS_PER_S, &back, &answer);
	if (ok) {
		bool same =
			memcmp(&h, &back, sizeof(h)) == 0 && memcmp(payload, answer, h.len) == 0;

		CHECK(same || e->hostile);
		ok = same;
	}
	c->number += ok ? 1 : 0;
	mem_free(payload);
	mem_free(answer);
	return ok;
}

static inline void echo_client_main(void *arg)
{
	struct echo_client *c = arg;
	struct env *env = sim_node_env(c->node);

	while (c->number < c->echo->goal) {
		struct env_conn *conn;
		int rc = env_connect(env, ECHO_ADDR, env_now(env) + 3 * NS_PER_S, &conn);

		if (rc != 0) {
			CHECK(rc == -NE_CONNREFUSED || rc == -NE_TIMEDOUT || rc == -NE_CONNLOST);
			env_sleep(env, env_random(env) % (50 * NS_PER_MS));
			continue;
		}
		c->connects++;
		while (c->number < c->echo->goal && echo_round(c, env, conn)) {
		}
		env_conn_close(conn);
	}
	c->done = true;
}

static inline bool echo_done(void *ctx)
{
	const struct echo *e = ctx;

	for (unsigned i = 0; i < ECHO_CLIENTS; i++) {
		if (!e->clients[i].done) {
			return false;
		}
	}
	return true;
}

static inline void echo_init(struct echo *e, const struct sim_options *opts, uint32_t goal)
{
	*e = (struct echo){.goal = goal, .payload_max = 2000};
	e->sim = sim_new(opts);
	e->server = sim_node_new(e->sim, "server");
	for (uint32_t i = 0; i < ECHO_CLIENTS; i++) {
		char name[16];

		(void)snprintf(name, sizeof(name), "client%u", i);
		e->clients[i] = (struct echo_client){.echo = e, .index = i};
		e->clients[i].node = sim_node_new(e->sim, name);
	}
}

static inline void echo_start(struct echo *e)
{
	sim_node_start(e->server, echo_server, e);
	for (unsigned i = 0; i < ECHO_CLIENTS; i++) {
		sim_node_start(e->clients[i].node, echo_client_main, &e->clients[i]);
	}
}

#endif
