/*
 * A log that several clients append to: every record exactly once, whole, in its writer's order.
 *
 * Records carry writer, number and a checksum, so reading the file needs no knowledge of who wrote when. A record
 * whose append was answered may be missing only if a server lost memory before an fsync covered it; one whose
 * writer died may be there or not, or in part.
 */
#ifndef NACRE_TESTS_SIM_APPLOG_H
#define NACRE_TESTS_SIM_APPLOG_H

#include "cluster.h"

#define APPLOG_WRITERS_MAX 4u
#define APPLOG_RECORDS_MAX 64u
#define APPLOG_RECORD_MAX 6000u
#define APPLOG_NAME "applog"

struct applog;

struct applog_writer {
	struct applog *log;
	struct cluster_client *cl;
	unsigned index;
	struct prng rng;
	unsigned next; /* number of the next record */
	unsigned count; /* to write */
	bool stop;
	bool idle;
	unsigned life;
	bool answered[APPLOG_RECORDS_MAX];
	bool synced[APPLOG_RECORDS_MAX];
	unsigned losses[APPLOG_RECORDS_MAX]; /* of all servers, before it was written */
	unsigned deaths; /* of its client, while a record was on its way */
	bool writing;
	uint8_t buf[APPLOG_RECORD_MAX];
};

struct applog {
	struct cluster *cluster;
	unsigned writer_count;
	struct applog_writer writers[APPLOG_WRITERS_MAX];
	bool ready; /* the file is there for good */
	struct fid fid;
	unsigned nospace;
	uint8_t *content;
};

/* One writer for each client. */
struct applog *applog_new(struct cluster *c);
void applog_free(struct applog *log);
/* The fiber of one writer. */
void applog_main(void *writer);
/* Its client died. */
void applog_died(struct applog_writer *w);
/* Reads it all as this client and checks. */
_yields_ void applog_check(struct applog *log, struct client *c);

#endif
