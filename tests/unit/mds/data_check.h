/*
 * Checks for the files of the frame (data_box.h) that are not a test program themselves: test.h defines main.
 */
#ifndef NACRE_TESTS_DATA_CHECK_H
#define NACRE_TESTS_DATA_CHECK_H

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data_box.h"

#define CHECK(cond) \
	do { \
		if (!(cond)) { \
			fprintf(stderr, "%s:%d: CHECK failed: %s\n", __FILE__, __LINE__, #cond); \
			abort(); \
		} \
	} while (0)
#define CHECK_EQ(a, b) \
	do { \
		int64_t check_a = (int64_t)(a), check_b = (int64_t)(b); \
		if (check_a != check_b) { \
			fprintf(stderr, "%s:%d: %s = %" PRId64 ", %s = %" PRId64 "\n", __FILE__, \
				__LINE__, #a, check_a, #b, check_b); \
			abort(); \
		} \
	} while (0)

/* data_look.c, from the servers' own fibers. */
void dbox_mdt_look(struct dserver *s);
void dbox_ost_look(struct dserver *s);
/* data_box.c */
_check_ int dbox_reclaim_one(
	struct dcli_box *c, struct rpc_session *session, struct dfile *f, bool last);

#endif
