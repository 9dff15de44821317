/*
 * env.h's operations on connections in the simulated world: send, receive, shut down, close.
 *
 * A send cuts its bytes into segments of random size and waits while the peer does not read; a receive takes
 * at least what was asked for, sometimes no more than that.
 */
#include <stdlib.h>
#include <string.h>

#include "env/sim/sim_stream.h"

/* ---- sending ---- */

static struct sim_end *end_of(const struct env_conn *c)
{
	return container_of(c, struct sim_end, conn);
}

/* A place in the caller's pieces. */
struct send_cursor {
	const struct iovec *iov;
	unsigned count;
	size_t off;
};

static void cursor_copy(struct send_cursor *cur, uint8_t *to, size_t len)
{
	while (len > 0) {
		size_t part = (size_t)u64_min(len, cur->iov->iov_len - cur->off);

		ASSERT(cur->count > 0);
		if (part > 0) {
			memcpy(to, (const uint8_t *)cur->iov->iov_base + cur->off, part);
		}
		to += part;
		len -= part;
		cur->off += part;
		if (cur->off == cur->iov->iov_len) {
			cur->iov++;
			cur->count--;
			cur->off = 0;
		}
	}
}

static size_t send_part(struct sim_end *end, uint64_t left)
{
	struct sim *sim = end->stream->sim;
	uint64_t part = u64_min(left, sim->opts.net.segment_bytes_max);

	part = u64_min(part, sim->opts.net.buffer_bytes - end->unread);
	if (part > 1 && prng_chance(&sim->net_rng, 1, 8)) {
		part = prng_range(&sim->net_rng, 1, part);
	}
	return (size_t)part;
}

/* The peer has closed: the first send still looks well, as TCP only learns by the answer. */
static int send_to_closed(struct sim_end *end)
{
	bool accepted = prng_chance(&end->stream->sim->net_rng, 1, 2);

	end->tx_dead = true;
	sim_end_finish(end, true);
	if (accepted) {
		sim_fault(end->node, SIM_FAULT_VOID, end->peer.addr, end->stream->id);
	}
	return accepted ? 0 : -NE_CONNLOST;
}

static int send_room_wait(struct sim_end *end)
{
	while (!end->shut && !end->tx_dead && !end->eof &&
		end->unread >= end->stream->sim->opts.net.buffer_bytes) {
		int rc;

		sim_fault(end->node, SIM_FAULT_BACKPRESSURE, end->peer.addr, end->unread);
		rc = sim_wait(
			end->node, &end->txq, ENV_FOREVER, ENV_WAIT_PLAIN, "send", end->peer.addr);
		ASSERT(rc == 0);
	}
	return end->shut || end->tx_dead || end->eof ? -NE_CONNLOST : 0;
}

int sim_net_send(struct env_conn *c, const struct iovec *iov, unsigned iov_count)
{
	struct sim_end *end = end_of(c);
	struct sim *sim = end->stream->sim;
	struct send_cursor cur = {iov, iov_count, 0};
	uint64_t left = 0;

	for (unsigned i = 0; i < iov_count; i++) {
		left += iov[i].iov_len;
	}
	sim_log(sim, end->node, "send", end->peer.addr, end->stream->id, left);
	sim_point_pass(end->node, SIM_POINT_SEND);
	if (end->shut || end->tx_dead) {
		return -NE_CONNLOST;
	}
	if (end->eof) {
		return send_to_closed(end);
	}
	if (sim_chance(&sim->net_rng, sim->opts.net.break_ppm)) {
		sim_stream_break(end->stream);
	}
	while (left > 0) {
		int rc = send_room_wait(end);
		struct sim_segment *seg;
		size_t part;

		if (rc != 0) {
			return rc;
		}
		part = send_part(end, left);
		seg = sim_alloc(sizeof(*seg) + part);
		*seg = (struct sim_segment){.len = (uint32_t)part};
		cursor_copy(&cur, seg->data, part);
		end->unread += part;
		left -= part;
		sim_wire_put(end, seg);
	}
	return 0;
}

/* ---- receiving ---- */

/* Takes what there is, at most len; the peer's sender gets room. */
static size_t recv_take(struct sim_end *end, uint8_t *buf, size_t len)
{
	struct sim_end *from = sim_end_peer(end);
	size_t done = 0;

	while (done < len && end->rx.first != NULL) {
		struct sim_segment *seg = end->rx.first;
		size_t part = (size_t)u64_min(len - done, seg->len - seg->off);

		memcpy(buf + done, seg->data + seg->off, part);
		done += part;
		seg->off += (uint32_t)part;
		if (seg->off == seg->len) {
			free(sim_segments_pop(&end->rx));
		}
	}
	if (done == 0) {
		return 0;
	}
	ASSERT(end->rx_bytes >= done);
	end->rx_bytes -= done;
	if (sim_end_blocked(end, from)) {
		from->ack_held += done;
		sim_fault(from->node, SIM_FAULT_ACK_HELD, from->peer.addr, done);
	} else {
		ASSERT(from->unread >= done);
		from->unread -= done;
		fiber_wake_all(&from->txq);
	}
	return done;
}

int sim_net_recv(struct env_conn *c, void *buf, size_t min, size_t max, uint64_t deadline_ns,
	size_t *ret_len)
{
	struct sim_end *end = end_of(c);
	struct sim *sim = end->stream->sim;
	uint8_t *out = buf;
	size_t got = 0;

	sim_log(sim, end->node, "recv", end->peer.addr, end->stream->id, min);
	sim_point_pass(end->node, SIM_POINT_RECV);
	if (max > min && prng_chance(&sim->net_rng, 1, 8)) {
		max = (size_t)prng_range(&sim->net_rng, min, max);
	}
	for (;;) {
		int rc;

		if (end->shut) {
			return -NE_CONNLOST;
		}
		got += recv_take(end, out + got, max - got);
		*ret_len = got;
		if (got >= min) {
			return 0;
		}
		if (end->eof) {
			return -NE_CONNLOST;
		}
		rc = sim_wait(
			end->node, &end->rxq, deadline_ns, ENV_WAIT_PLAIN, "recv", end->peer.addr);
		if (rc != 0) {
			return rc;
		}
	}
}

/* ---- the rest of a connection ---- */

const struct env_peer *sim_net_conn_peer(const struct env_conn *c)
{
	return &end_of(c)->peer;
}

static void end_shut(struct sim_end *end)
{
	if (end->shut) {
		return;
	}
	end->shut = true;
	sim_end_finish(end, end->rx_bytes > 0);
}

void sim_net_conn_shutdown(struct env_conn *c)
{
	struct sim_end *end = end_of(c);

	sim_log(end->stream->sim, end->node, "shutdown", end->peer.addr, end->stream->id, 0);
	sim_point_pass(end->node, SIM_POINT_SHUTDOWN);
	end_shut(end);
}

void sim_net_conn_close(struct env_conn *c)
{
	struct sim_end *end = end_of(c);

	sim_log(end->stream->sim, end->node, "conn_close", end->peer.addr, end->stream->id, 0);
	sim_point_pass(end->node, SIM_POINT_CONN_CLOSE);
	ASSERT(list_empty(&end->rxq.waiters) && list_empty(&end->txq.waiters));
	end_shut(end);
	sim_end_release(end);
}
