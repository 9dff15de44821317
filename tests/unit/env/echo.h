/*
 * An echo service and its clients, against env.h only: the same code on the simulated world and on real sockets.
 *
 * A request is a header (client, number, length, checksum of the payload) and a payload; the server sends it
 * back as it is. A client goes on with the next number only when the answer was right; when the connection
 * breaks it connects again and repeats the number. So within a connection everything must come back in
 * order and unchanged, and with a world that lets it, everything ends.
 *
 * The world gives each party its env and the server its address; sim_echo.h and test_echo_posix.c are such worlds.
 */
#ifndef NACRE_TESTS_ECHO_H
#define NACRE_TESTS_ECHO_H

#include "test.h"

#include "base/alloc.h"
#include "base/crc32c.h"
#include "env/env.h"

#define ECHO_CLIENTS_MAX 256
#define ECHO_PAYLOAD_MAX (UINT32_C(8) << 20)

struct echo_header {
	uint32_t magic;
	uint32_t client;
	uint32_t number;
	uint32_t len;
	uint32_t crc;
};

#define ECHO_MAGIC UINT32_C(0x4f484345)

struct echo;

struct echo_client {
	struct echo *echo;
	struct env *env;
	uint32_t index;
	/* In the test's memory: outlives crashes of the client. */
	uint32_t number;
	unsigned connects;
	bool done;
};

struct echo {
	char addr[512]; /* where clients go: what the server was bound to */
	struct env *server_env;
	struct env_listener *listener; /* while the server runs */
	unsigned serving; /* fibers of the server */
	struct env_waitq served; /* serving became 0 */
	struct echo_client clients[ECHO_CLIENTS_MAX];
	uint32_t client_count;
	uint32_t goal; /* requests of each client */
	size_t payload_max;
	size_t payload_min;
	bool hostile; /* wrong bytes are expected and cost a connection only */
	uint32_t seen[ECHO_CLIENTS_MAX]; /* highest number the server met */
	unsigned duplicates; /* requests it met after a later one */
	unsigned corrupt;
	uint64_t bytes; /* echoed */
	/* 0, or: the server breaks a connection after so many requests of it, in the middle of an answer. */
	unsigned break_every;
	unsigned broken;
	unsigned late; /* answers that clients gave up waiting for */
};

#define ECHO_PATIENCE_NS (5 * NS_PER_S)

struct echo_conn {
	struct echo *echo;
	struct env_conn *conn;
	unsigned requests;
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
	if (h->magic != ECHO_MAGIC || h->len > e->payload_max || h->client >= e->client_count) {
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

/* Half an answer, and then nothing. */
static inline void echo_break(struct echo_conn *ec, struct echo_header *h, uint8_t *payload)
{
	struct iovec iov[2] = {{h, sizeof(*h)}, {payload, h->len / 2}};

	(void)!env_send(ec->conn, iov, h->len > 1 ? 2 : 1);
	ec->echo->broken++;
}

static inline bool echo_answer(struct echo_conn *ec, struct echo_header *h, uint8_t *payload)
{
	struct echo *e = ec->echo;

	if (h->number < e->seen[h->client]) {
		e->duplicates++;
	} else {
		e->seen[h->client] = h->number;
	}
	if (e->break_every != 0 && ++ec->requests >= e->break_every) {
		echo_break(ec, h, payload);
		return false;
	}
	e->bytes += h->len;
	return echo_write(ec->conn, h, payload);
}

static inline void echo_serve_conn(void *arg)
{
	struct echo_conn *ec = arg;
	struct echo *e = ec->echo;
	struct echo_header h;
	uint8_t *payload;
	bool going = true;

	while (going && echo_read(e, ec->conn, ENV_FOREVER, &h, &payload)) {
		going = echo_answer(ec, &h, payload);
		mem_free(payload);
		payload = NULL;
	}
	mem_free(going ? payload : NULL);
	env_conn_shutdown(ec->conn);
	env_conn_close(ec->conn);
	mem_free(ec);
	if (--e->serving == 0) {
		env_wake_all(e->server_env, &e->served);
	}
}

static inline void echo_listen(struct echo *e, struct env *env, const char *addr)
{
	e->server_env = env;
	e->serving = 0;
	env_waitq_init(&e->served);
	CHECK_EQ(env_listen(env, addr, e->addr, sizeof(e->addr), &e->listener), 0);
}

/* Until the listener is closed; then waits for the connections to end. */
static inline void echo_accept(void *arg)
{
	struct echo *e = arg;
	struct env_conn *conn;

	e->serving++;
	while (env_accept(e->listener, &conn) == 0) {
		struct echo_conn *ec = mem_alloc(sizeof(*ec));

		CHECK(ec != NULL);
		*ec = (struct echo_conn){.echo = e, .conn = conn};
		e->serving++;
		CHECK_EQ(env_spawn(e->server_env, "echo", echo_serve_conn, ec), 0);
	}
	if (--e->serving == 0) {
		env_wake_all(e->server_env, &e->served);
	}
}

/* One request; false when the connection is to be given up. */
static inline bool echo_round(struct echo_client *c, struct env_conn *conn)
{
	struct echo *e = c->echo;
	struct env *env = c->env;
	struct echo_header h = {ECHO_MAGIC, c->index, c->number, 0, 0};
	struct echo_header back;
	uint8_t *payload;
	uint8_t *answer = NULL;
	uint64_t deadline;
	bool ok;

	CHECK(e->payload_min <= e->payload_max && e->payload_max <= ECHO_PAYLOAD_MAX);
	h.len = (uint32_t)(e->payload_min +
		env_random(env) % (e->payload_max - e->payload_min + 1));
	payload = mem_alloc(h.len + 1);
	CHECK(payload != NULL);
	env_random_bytes(env, payload, h.len);
	h.crc = crc32c(h.number, payload, h.len);
	ok = echo_write(conn, &h, payload);
	deadline = env_now(env) + ECHO_PATIENCE_NS;
	ok = ok && echo_read(e, conn, deadline, &back, &answer);
	e->late += env_now(env) >= deadline;
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
	struct env *env = c->env;

	while (c->number < c->echo->goal) {
		struct env_conn *conn;
		int rc = env_connect(env, c->echo->addr, env_now(env) + 3 * NS_PER_S, &conn);

		if (rc != 0) {
			CHECK(rc == -NE_CONNREFUSED || rc == -NE_TIMEDOUT || rc == -NE_CONNLOST);
			env_sleep(env, env_random(env) % (50 * NS_PER_MS));
			continue;
		}
		c->connects++;
		while (c->number < c->echo->goal && echo_round(c, conn)) {
		}
		env_conn_close(conn);
	}
	c->done = true;
}

static inline bool echo_done(void *ctx)
{
	const struct echo *e = ctx;

	for (unsigned i = 0; i < e->client_count; i++) {
		if (!e->clients[i].done) {
			return false;
		}
	}
	return true;
}

static inline void echo_prepare(struct echo *e, uint32_t clients, uint32_t goal)
{
	CHECK(clients > 0 && clients <= ECHO_CLIENTS_MAX);
	*e = (struct echo){.goal = goal, .payload_max = 2000, .client_count = clients};
	for (uint32_t i = 0; i < clients; i++) {
		e->clients[i] = (struct echo_client){.echo = e, .index = i};
	}
}

#endif
