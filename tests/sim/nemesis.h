/*
 * What goes wrong: crashes, pauses, partitions, full and slow disks, at times and places the seed decides.
 */
#ifndef NACRE_TESTS_SIM_NEMESIS_H
#define NACRE_TESTS_SIM_NEMESIS_H

#include "cluster.h"

enum nemesis_kind {
	NEMESIS_KILL_MDT = 1 << 0,
	NEMESIS_POWER_MDT = 1 << 1,
	NEMESIS_KILL_OST = 1 << 2,
	NEMESIS_POWER_OST = 1 << 3,
	NEMESIS_CRASH_CLIENT = 1 << 4,
	NEMESIS_SUSPEND = 1 << 5,
	NEMESIS_PARTITION = 1 << 6,
	NEMESIS_RESET = 1 << 7,
	NEMESIS_SLOW = 1 << 8,
	NEMESIS_MESSAGES = 1 << 9, /* options of the network */
	NEMESIS_SPACE = 1 << 10, /* disks that are nearly full */
	NEMESIS_KINDS = 11,
	NEMESIS_ALL = (1 << NEMESIS_KINDS) - 1,
};

struct nemesis {
	struct cluster *cluster;
	struct prng rng;
	unsigned kinds;
	uint64_t gap_ns; /* between actions, about */
	bool stopped;
	unsigned actions;
};

/* Which kinds a seed has; a quarter of all seeds have none but lost messages. */
unsigned nemesis_draw(struct prng *rng);
void nemesis_start(struct nemesis *n, struct cluster *c, unsigned kinds);
/* No more trouble: all is healed, restarted and resumed. */
void nemesis_stop(struct nemesis *n);
/* Ordinary behaviour of network and disks, but slower and less orderly if `kinds` says so. */
void nemesis_options(struct nemesis *n, bool on);
const char *nemesis_text(unsigned kinds, char *buf, size_t cap);

#endif
