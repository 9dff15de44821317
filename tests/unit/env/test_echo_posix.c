/*
 * The echo service of echo.h on real sockets: Unix, TCP over IPv4 and over IPv6, server and clients on
 * reactors of two threads. Under load, with large transfers, with many connections, and with a server
 * that breaks connections in the middle of its answers.
 */
#include <pthread.h>

#include "echo.h"
#include "run.h"

#define KINDS 3

static struct echo echo;
static struct reactor *server;
static struct reactor *clients;

static void *server_thread(void *arg _unused_)
{
	CHECK_EQ(reactor_run(server), 0);
	return NULL;
}

static void listen_body(void *arg)
{
	echo_listen(&echo, reactor_env(server), arg);
	CHECK_EQ(env_spawn(reactor_env(server), "accept", echo_accept, &echo), 0);
}

/* Everybody has hung up: what serves ends by itself. */
static void unlisten_body(void *arg _unused_)
{
	env_listener_close(echo.listener);
	while (echo.serving > 0) {
		CHECK_EQ(env_wait(reactor_env(server), &echo.served, ENV_FOREVER, ENV_WAIT_PLAIN),
			0);
	}
}

static void clients_body(void *arg _unused_)
{
	struct env *e = reactor_env(clients);

	for (unsigned i = 0; i < echo.client_count; i++) {
		echo.clients[i].env = e;
		CHECK_EQ(env_spawn(e, "client", echo_client_main, &echo.clients[i]), 0);
	}
	/* Ends are rare beside what the clients do: looking now and then is enough. */
	while (!echo_done(&echo)) {
		env_sleep(e, NS_PER_MS);
	}
}

static void echo_run(const char *addr)
{
	struct reactor_options options = {.cpu = -1, .shared = true};
	struct reactor_stats st;
	pthread_t thread;

	CHECK_EQ(reactor_new(&options, &server), 0);
	CHECK_EQ(reactor_new(&options, &clients), 0);
	CHECK_EQ(reactor_call(server, listen_body, (void *)(uintptr_t)addr), 0);
	CHECK_EQ(pthread_create(&thread, NULL, server_thread, NULL), 0);
	CHECK_EQ(reactor_call(clients, clients_body, NULL), 0);
	CHECK_EQ(reactor_call(server, unlisten_body, NULL), 0);
	reactor_stop(server);
	CHECK_EQ(pthread_join(thread, NULL), 0);
	reactor_stats(server, &st);
	CHECK_EQ(st.fibers, 0);
	reactor_stats(clients, &st);
	CHECK_EQ(st.fibers, 0);
	reactor_free(server);
	reactor_free(clients);
	for (unsigned i = 0; i < echo.client_count; i++) {
		CHECK_EQ(echo.clients[i].number, echo.goal);
	}
	CHECK_EQ(echo.duplicates, 0);
	CHECK_EQ(echo.corrupt, 0);
	CHECK_EQ(echo.late, 0); /* a broken connection is noticed at once */
}

/* The same over every kind of address; set makes the service anew each time. */
static void every_kind(void (*set)(void), void (*check)(void))
{
	static const char *const tcp[] = {"tcp:127.0.0.1:0", "tcp:[::1]:0"};
	char dir[128];
	char addr[256];

	run_dir(dir, sizeof(dir));
	CHECK(snprintf(addr, sizeof(addr), "unix:%s/s", dir) > 0);
	for (unsigned i = 0; i < KINDS; i++) {
		set();
		echo_run(i == 0 ? addr : tcp[i - 1]);
		CHECK(strncmp(echo.addr,
			      i == 0           ? "unix:"
				      : i == 1 ? "tcp:127."
					       : "tcp:[::1]",
			      5) == 0);
		check();
	}
	CHECK_EQ(unlink(addr + 5), 0);
	CHECK_EQ(rmdir(dir), 0);
}

static void one_connection_each(void)
{
	for (unsigned i = 0; i < echo.client_count; i++) {
		CHECK_EQ(echo.clients[i].connects, 1);
	}
}

static void load_set(void)
{
	echo_prepare(&echo, 8, 300);
	echo.payload_max = 65536;
}

TEST(echo_under_load)
{
	every_kind(load_set, one_connection_each);
}

static void large_set(void)
{
	echo_prepare(&echo, 2, 5);
	echo.payload_min = 4 * MIB;
	echo.payload_max = 8 * MIB;
}

TEST(echo_of_large_messages)
{
	every_kind(large_set, one_connection_each);
	CHECK(echo.bytes >= 40 * MIB);
}

static void many_set(void)
{
	echo_prepare(&echo, 200, 20);
}

TEST(echo_over_many_connections)
{
	every_kind(many_set, one_connection_each);
}

static void lossy_set(void)
{
	echo_prepare(&echo, 8, 60);
	echo.payload_max = 300000;
	echo.break_every = 4;
}

/* Each connection brought three answers; the fourth request was repeated on the next. */
static void lossy_check(void)
{
	CHECK_EQ(echo.broken, 8 * (60 / 3 - 1));
	for (unsigned i = 0; i < echo.client_count; i++) {
		CHECK_EQ(echo.clients[i].connects, 60 / 3);
	}
}

TEST(echo_over_breaking_connections)
{
	every_kind(lossy_set, lossy_check);
}
