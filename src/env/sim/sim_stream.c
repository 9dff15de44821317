/*
 * What a simulated connection does: segments, time, loss, delay, resets, back-pressure.
 */
#include "env/sim/sim_stream.h"

#include <stdlib.h>
#include <string.h>

/* ---- queues of segments ---- */

static void segments_init(struct sim_segments *q)
{
	q->first = NULL;
	q->tail = &q->first;
}

static void segments_push(struct sim_segments *q, struct sim_segment *seg)
{
	seg->next = NULL;
	*q->tail = seg;
	q->tail = &seg->next;
}

struct sim_segment *sim_segments_pop(struct sim_segments *q)
{
	struct sim_segment *seg = q->first;

	ASSERT(seg != NULL);
	q->first = seg->next;
	if (q->first == NULL) {
		q->tail = &q->first;
	}
	return seg;
}

static unsigned segments_clear(struct sim_segments *q)
{
	unsigned count = 0;

	while (q->first != NULL) {
		free(sim_segments_pop(q));
		count++;
	}
	return count;
}

/* Keeps the first n. */
static unsigned segments_cut(struct sim_segments *q, uint64_t n)
{
	struct sim_segments rest;

	q->tail = &q->first;
	while (*q->tail != NULL && n-- > 0) {
		q->tail = &(*q->tail)->next;
	}
	segments_init(&rest);
	rest.first = *q->tail;
	*q->tail = NULL;
	return segments_clear(&rest);
}

static uint64_t segments_count(const struct sim_segments *q)
{
	uint64_t count = 0;

	for (const struct sim_segment *seg = q->first; seg != NULL; seg = seg->next) {
		count++;
	}
	return count;
}

/* ---- time ---- */

uint64_t sim_net_latency(struct sim *sim)
{
	const struct sim_net_options *opts = &sim->opts.net;

	return prng_range(&sim->net_rng, opts->latency_ns_min, opts->latency_ns_max);
}

static uint64_t net_detect(struct sim *sim)
{
	const struct sim_net_options *opts = &sim->opts.net;

	return prng_range(&sim->net_rng, opts->detect_ns_min, opts->detect_ns_max);
}

bool sim_end_blocked(const struct sim_end *from, const struct sim_end *to)
{
	return from->node->sim->blocked[from->node->index][to->node->index];
}

/* ---- resets ---- */

static void end_reset_due(struct timer *timer)
{
	struct sim_end *end = container_of(timer, struct sim_end, reset);
	struct sim *sim = end->stream->sim;

	sim_log(sim, end->node, "reset", end->peer.addr, end->stream->id, end->rx_bytes);
	if (prng_chance(&sim->net_rng, 1, 2)) {
		(void)segments_clear(&end->rx);
		end->rx_bytes = 0;
	}
	end->eof = true;
	end->tx_dead = true;
	sim_end_finish(end, true);
}

/* The end will be reset; the earliest of several reasons wins. */
static void end_reset_after(struct sim_end *end, uint64_t delay_ns, bool by_partition)
{
	struct sim *sim = end->stream->sim;
	uint64_t at = sim->now + delay_ns;

	if (!end->held || end->tx_dead || end->shut) {
		return;
	}
	if (end->reset.armed) {
		if (end->reset.deadline_ns <= at && (by_partition || !end->reset_by_partition)) {
			return;
		}
		timer_cancel(&sim->events, &end->reset);
	}
	end->reset_by_partition = by_partition;
	timer_add(&sim->events, &end->reset, at, end_reset_due);
}

void sim_stream_break(struct sim_stream *stream)
{
	struct sim *sim = stream->sim;
	unsigned first = (unsigned)prng_below(&sim->net_rng, 2);
	uint64_t later = sim_chance(&sim->net_rng, sim->opts.net.late_ppm)
		? sim->opts.net.late_ns_max
		: sim->opts.net.latency_ns_max;

	sim_fault(stream->ends[first].node, SIM_FAULT_BREAK, stream->ends[first].peer.addr,
		stream->id);
	end_reset_after(&stream->ends[first], 0, false);
	end_reset_after(&stream->ends[1 - first], prng_range(&sim->net_rng, 0, later), false);
}

/* ---- the wire ---- */

static void end_deliver(struct sim_end *end, struct sim_segment *seg)
{
	struct sim *sim = end->stream->sim;
	struct sim_end *to = sim_end_peer(end);

	sim_log(sim, to->node, seg->end ? "end" : "deliver", to->peer.addr, end->stream->id,
		seg->len);
	if (!to->held || to->shut || to->tx_dead) {
		if (to->node->powered && !seg->end) {
			sim_fault(to->node, SIM_FAULT_DEAD_PEER, to->peer.addr, end->stream->id);
			end_reset_after(end, sim_net_latency(sim), false);
		}
		free(seg);
		return;
	}
	if (seg->end) {
		free(seg);
		to->eof = true;
		fiber_wake_all(&to->rxq);
		fiber_wake_all(&to->txq);
		return;
	}
	if (end->finished) {
		sim_fault(to->node, SIM_FAULT_LATE, to->peer.addr, seg->len);
	}
	if (sim_end_blocked(to, end)) {
		end_reset_after(end, net_detect(sim), true);
	}
	to->rx_bytes += seg->len;
	segments_push(&to->rx, seg);
	fiber_wake_all(&to->rxq);
}

static void end_pump_arm(struct sim_end *end);

static void end_pump_due(struct timer *timer)
{
	struct sim_end *end = container_of(timer, struct sim_end, pump);
	struct sim *sim = end->stream->sim;
	struct sim_end *to = sim_end_peer(end);

	ASSERT(end->wire.first != NULL);
	if (sim_end_blocked(end, to)) {
		sim_fault(end->node, SIM_FAULT_PARTITION, end->peer.addr, end->stream->id);
		end->wire_held = true;
		end_reset_after(end, net_detect(sim), true);
		if (end->finished) {
			end_reset_after(to, net_detect(sim), true); /* keep-alive */
		}
		return;
	}
	end_deliver(end, sim_segments_pop(&end->wire));
	end_pump_arm(end);
}

static void end_pump_arm(struct sim_end *end)
{
	struct sim *sim = end->stream->sim;

	if (end->wire.first != NULL && !end->pump.armed && !end->wire_held) {
		timer_add(&sim->events, &end->pump, u64_max(sim->now, end->wire.first->at_ns),
			end_pump_due);
	}
}

void sim_end_heal(struct sim_end *end)
{
	struct sim *sim = end->stream->sim;
	struct sim_end *to = sim_end_peer(end);

	if (end->wire_held) {
		ASSERT(end->wire.first != NULL);
		end->wire_held = false;
		if (end->finished && !sim_chance(&sim->net_rng, sim->opts.net.late_ppm)) {
			/* It was given up: what never left its host does not arrive any more. */
			sim->stats.faults[SIM_FAULT_CUT] += segments_clear(&end->wire);
			end_reset_after(to,
				prng_range(&sim->net_rng, 0, sim->opts.net.retransmit_ns_max),
				false);
		} else {
			end->wire.first->at_ns = sim->now +
				prng_range(&sim->net_rng, 0, sim->opts.net.retransmit_ns_max);
			end_pump_arm(end);
		}
	}
	/* end -> to is free again: acknowledgements of what `to` sent get through. */
	to->unread -= to->ack_held;
	to->ack_held = 0;
	fiber_wake_all(&to->txq);
	for (unsigned i = 0; i < 2; i++) {
		struct sim_end *each = &end->stream->ends[i];

		if (each->reset.armed && each->reset_by_partition && !sim_end_blocked(to, end)) {
			timer_cancel(&sim->events, &each->reset);
		}
	}
}

/* A stranger on the wire: only for codecs, TCP does not do this. */
static void wire_hostile(struct sim_end *end, struct sim_segment *seg)
{
	struct sim *sim = end->stream->sim;
	const struct sim_net_options *opts = &sim->opts.net;

	if (sim_chance(&sim->net_rng, opts->hostile_flip_ppm)) {
		uint64_t bit = prng_below(&sim->net_rng, (uint64_t)seg->len * 8);

		seg->data[bit / 8] ^= (uint8_t)(1U << bit % 8);
		sim_fault(end->node, SIM_FAULT_FLIP, end->peer.addr, bit);
	}
	if (sim_chance(&sim->net_rng, opts->hostile_duplicate_ppm)) {
		struct sim_segment *copy = sim_alloc(sizeof(*seg) + seg->len);

		memcpy(copy, seg, sizeof(*seg) + seg->len);
		segments_push(&end->wire, copy);
		end->unread += seg->len;
		sim_fault(end->node, SIM_FAULT_DUPLICATE, end->peer.addr, seg->len);
	}
	if (end->wire.first != NULL && sim_chance(&sim->net_rng, opts->hostile_reorder_ppm)) {
		struct sim_segment *before = sim_segments_pop(&end->wire);

		before->at_ns = seg->at_ns;
		seg->at_ns = end->wire.first != NULL ? end->wire.first->at_ns : seg->at_ns;
		seg->next = end->wire.first;
		if (end->wire.first == NULL) {
			end->wire.tail = &seg->next;
		}
		end->wire.first = seg;
		segments_push(&end->wire, before);
		sim_fault(end->node, SIM_FAULT_REORDER, end->peer.addr, seg->len);
		return;
	}
	segments_push(&end->wire, seg);
}

static uint64_t wire_arrival(struct sim_end *end, uint64_t len)
{
	struct sim *sim = end->stream->sim;
	const struct sim_net_options *opts = &sim->opts.net;
	uint64_t at;

	end->line_free_ns =
		u64_max(sim->now, end->line_free_ns) + len * NS_PER_S / opts->bandwidth_bytes_per_s;
	at = end->line_free_ns + sim_net_latency(sim);
	if (len > 0 && sim_chance(&sim->net_rng, opts->delay_ppm)) {
		at += prng_range(
			&sim->net_rng, opts->retransmit_ns_max / 2, opts->retransmit_ns_max);
		sim_fault(end->node, SIM_FAULT_DELAY, end->peer.addr, end->stream->id);
	}
	end->last_at_ns = u64_max(at, end->last_at_ns);
	return end->last_at_ns;
}

void sim_wire_put(struct sim_end *end, struct sim_segment *seg)
{
	struct sim *sim = end->stream->sim;
	const struct sim_net_options *opts = &sim->opts.net;

	if (!end->lost && !seg->end && sim_chance(&sim->net_rng, opts->lose_ppm)) {
		struct sim_end *to = sim_end_peer(end);

		end->lost = true;
		to->lost = true;
		sim_fault(end->node, SIM_FAULT_LOSE, end->peer.addr, end->stream->id);
		end_reset_after(end, net_detect(sim), false);
		end_reset_after(to, net_detect(sim), false);
		free(seg);
		return;
	}
	if (end->lost) {
		sim->stats.faults[SIM_FAULT_LOSE_LATER]++;
		free(seg);
		return;
	}
	seg->at_ns = wire_arrival(end, seg->len);
	if (seg->end) {
		segments_push(&end->wire, seg);
	} else {
		wire_hostile(end, seg);
	}
	end_pump_arm(end);
}

/* ---- ends ---- */

/* What is in flight when its sender goes: later, or in part. */
static void wire_orphan(struct sim_end *end, bool abort)
{
	struct sim *sim = end->stream->sim;

	if (end->wire.first == NULL) {
		return;
	}
	if (abort && prng_chance(&sim->net_rng, 1, 2)) {
		uint64_t keep = prng_range(&sim->net_rng, 0, segments_count(&end->wire));

		sim->stats.faults[SIM_FAULT_CUT] += segments_cut(&end->wire, keep);
	}
	if (sim_chance(&sim->net_rng, sim->opts.net.late_ppm)) {
		uint64_t late = prng_range(&sim->net_rng, 0, sim->opts.net.late_ns_max);

		for (struct sim_segment *seg = end->wire.first; seg != NULL; seg = seg->next) {
			seg->at_ns += late;
		}
		end->last_at_ns += late;
	}
	timer_cancel(&sim->events, &end->pump);
	end->wire_held = end->wire_held && end->wire.first != NULL;
	end_pump_arm(end);
}

void sim_end_finish(struct sim_end *end, bool abort)
{
	struct sim *sim = end->stream->sim;
	struct sim_segment *seg;

	fiber_wake_all(&end->rxq);
	fiber_wake_all(&end->txq);
	if (end->finished) {
		return;
	}
	end->finished = true;
	timer_cancel(&sim->events, &end->reset);
	wire_orphan(end, abort);
	if (end->wire_held) {
		end_reset_after(sim_end_peer(end), net_detect(sim), true); /* keep-alive */
	}
	seg = sim_zalloc(sizeof(*seg));
	seg->end = true;
	sim_wire_put(end, seg);
}

void sim_end_silence(struct sim_end *end)
{
	struct sim *sim = end->stream->sim;

	end->silent = true;
	timer_cancel(&sim->events, &end->reset);
	if (!end->finished) {
		end->finished = true;
		wire_orphan(end, true);
	}
	if (sim_end_peer(end)->held) {
		sim_fault(
			sim_end_peer(end)->node, SIM_FAULT_DETECT, end->peer.addr, end->stream->id);
		end_reset_after(sim_end_peer(end), net_detect(sim), false);
	}
}

void sim_end_release(struct sim_end *end)
{
	ASSERT(end->held);
	end->held = false;
	list_del(&end->link);
	timer_cancel(&end->stream->sim->events, &end->reset);
	(void)segments_clear(&end->rx);
	end->rx_bytes = 0;
	env_waitq_init(&end->rxq);
	env_waitq_init(&end->txq);
	sim_stream_check(end->stream);
}

static void end_init(struct sim_stream *stream, unsigned side, struct sim_node *node,
	const struct sim_node *peer)
{
	struct sim_end *end = &stream->ends[side];

	end->conn.env = &node->env;
	end->stream = stream;
	end->node = node;
	end->held = true;
	list_push_back(&node->ends, &end->link);
	segments_init(&end->rx);
	segments_init(&end->wire);
	env_waitq_init(&end->rxq);
	env_waitq_init(&end->txq);
	end->peer.local = node == peer;
	end->peer.uid = peer->uid;
	end->peer.gid = peer->gid;
	end->peer.pid = (int32_t)(peer->index * 1000 + peer->life);
	(void)snprintf(end->peer.addr, sizeof(end->peer.addr), "sim:%s#%llu", peer->name,
		(unsigned long long)stream->id);
}

struct sim_stream *sim_stream_new(struct sim_node *client, struct sim_node *server)
{
	struct sim *sim = client->sim;
	struct sim_stream *stream = sim_zalloc(sizeof(*stream));

	stream->sim = sim;
	stream->id = ++sim->stream_next;
	list_push_back(&sim->streams, &stream->link);
	end_init(stream, 0, client, server);
	end_init(stream, 1, server, client);
	return stream;
}

void sim_stream_check(struct sim_stream *stream)
{
	if (stream->ends[0].held || stream->ends[1].held) {
		return;
	}
	for (unsigned i = 0; i < 2; i++) {
		struct sim_end *end = &stream->ends[i];

		timer_cancel(&stream->sim->events, &end->pump);
		timer_cancel(&stream->sim->events, &end->reset);
		(void)segments_clear(&end->wire);
	}
	list_del(&stream->link);
	free(stream);
}
