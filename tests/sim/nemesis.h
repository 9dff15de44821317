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
	NEMESIS_CLOCK = 1 << 11, /* realtime clocks set */
	NEMESIS_ERROR_MDT =
		1 << 12, /* the disk of MGS and MDT: reads, writes, syncs, names fail once */
	NEMESIS_ERROR_OST = 1 << 13,
	NEMESIS_SPACE_MDT = 1 << 14, /* an MDT that is nearly full */
	NEMESIS_CORRUPT = 1 << 15, /* reads of what has a checksum return a flipped bit */
	NEMESIS_KINDS = 16,
	NEMESIS_OLD_KINDS = 11, /* drawn as in earlier versions, so that seeds keep their meaning */
	NEMESIS_DISK_ERRORS = NEMESIS_ERROR_MDT | NEMESIS_ERROR_OST | NEMESIS_CORRUPT,
	NEMESIS_SHORT = NEMESIS_SPACE | NEMESIS_SPACE_MDT,
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
unsigned nemesis_draw(struct prng *rng, uint64_t seed);
void nemesis_start(struct nemesis *n, struct cluster *c, unsigned kinds);
/* No more trouble: all is healed, restarted and resumed. */
void nemesis_stop(struct nemesis *n);
/* Ordinary behaviour of network and disks, but slower and less orderly if `kinds` says so. */
void nemesis_options(struct nemesis *n, bool on);
const char *nemesis_text(unsigned kinds, char *buf, size_t cap);

#endif
