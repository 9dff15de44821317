/*
 * Between sim_net.c (nodes, listeners, connecting, partitions), sim_stream.c (what happens to a connection)
 * and sim_conn.c (what its users do).
 *
 * A stream has two ends. What end X sends lies on X's wire, in order, each segment with its time of arrival,
 * until X's pump timer delivers it into the other end's receive queue. `unread` bounds what lies on the
 * wire or unread at the peer. A connection is over for X when it was shut locally (`shut`), or when a reset
 * or the peer's end arrived (`eof`, `tx_dead`). The stream lives until neither end is held by anybody.
 */
#ifndef NACRE_ENV_SIM_SIM_STREAM_H
#define NACRE_ENV_SIM_SIM_STREAM_H

#include "env/sim/sim_int.h"

struct sim_segment {
	struct sim_segment *next;
	uint64_t at_ns;
	bool end; /* nothing follows: the other side closed or was reset */
	uint32_t len;
	uint32_t off; /* consumed */
	uint8_t data[];
};

struct sim_segments {
	struct sim_segment *first;
	struct sim_segment **tail;
};

struct sim_end {
	struct env_conn conn;
	struct list link; /* node->ends while held */
	struct list queue; /* the listener's, until accepted */
	struct sim_stream *stream;
	struct sim_node *node;
	struct env_peer peer;
	bool held; /* by the application or a listener */
	bool shut; /* by this side */
	bool finished; /* its END is on the wire, or never will be */
	bool eof; /* nothing more arrives: what was received may still be read */
	bool tx_dead;
	bool silent; /* its host lost power */
	bool lost; /* a segment of its wire was lost for good */
	struct sim_segments rx;
	uint64_t rx_bytes;
	struct env_waitq rxq;
	struct env_waitq txq;
	struct sim_segments wire;
	struct timer pump;
	bool wire_held; /* by a partition: the pump is not armed */
	uint64_t line_free_ns;
	uint64_t last_at_ns;
	uint64_t unread;
	uint64_t ack_held; /* read by the peer, which this side cannot know */
	struct timer reset;
	bool reset_by_partition;
};

struct sim_stream {
	struct list link; /* sim->streams */
	struct sim *sim;
	uint64_t id;
	struct sim_end ends[2];
};

struct sim_listener {
	struct env_listener listener;
	struct list link; /* node->listeners */
	struct sim_node *node;
	uint32_t port;
	struct env_waitq q;
	struct list queue; /* struct sim_end.queue */
	unsigned queued;
	unsigned accepters;
	bool closed;
	char addr[SIM_NAME_MAX + 16];
};

static inline struct sim_end *sim_end_peer(struct sim_end *end)
{
	return &end->stream->ends[end == &end->stream->ends[0] ? 1 : 0];
}

struct sim_segment *sim_segments_pop(struct sim_segments *q);
uint64_t sim_net_latency(struct sim *sim);
/* A partition stands between them, in this direction. */
bool sim_end_blocked(const struct sim_end *from, const struct sim_end *to);
/* Puts a segment on the end's wire, or loses it. */
void sim_wire_put(struct sim_end *end, struct sim_segment *seg);
struct sim_stream *sim_stream_new(struct sim_node *client, struct sim_node *server);
/* Frees the stream if nobody holds an end. */
void sim_stream_check(struct sim_stream *stream);
/* This side stops sending: what is in flight may arrive, late or in part (abort), then the peer hears of
 * the end. Its own waiters are woken. */
void sim_end_finish(struct sim_end *end, bool abort);
/* The host lost power: silence. */
void sim_end_silence(struct sim_end *end);
/* Gives the end back: it is not used any more. May free the stream. */
void sim_end_release(struct sim_end *end);
/* A middle box resets both ends, each at its own time. */
void sim_stream_break(struct sim_stream *stream);
/* Nothing blocks from -> to any more. */
void sim_end_heal(struct sim_end *end);

#endif
