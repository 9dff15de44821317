/*
 * Between names.c (doing) and names_order.c (is there an order?).
 */
#ifndef NACRE_TESTS_SIM_NAMES_INT_H
#define NACRE_TESTS_SIM_NAMES_INT_H

#include "names.h"

#define NAMES_DIRS 2u
#define NAMES_SLOTS 6u /* names in both directories together */
#define NAMES_OPS_MAX 1024u

enum name_kind {
	NAME_CREATE,
	NAME_MKDIR,
	NAME_UNLINK,
	NAME_RMDIR,
	NAME_LINK,
	NAME_RENAME,
	NAME_NOREPLACE,
	NAME_EXCHANGE,
	NAME_LOOKUP,
	NAME_KINDS,
};

struct name_op {
	enum name_kind kind;
	uint8_t a; /* slot */
	uint8_t b;
	bool dir; /* made or found */
	uint8_t actor;
	int rc; /* errno */
	struct fid target; /* of a link */
	struct fid fid; /* made or found */
};

/* Begin and end of operations, in the order of time. */
struct name_event {
	uint16_t op;
	bool end;
};

struct name_history {
	struct name_op ops[NAMES_OPS_MAX];
	unsigned op_count;
	struct name_event events[2 * NAMES_OPS_MAX];
	unsigned event_count;
};

enum name_verdict {
	NAMES_FINE,
	NAMES_WRONG, /* no order exists */
	NAMES_TOO_MANY, /* too many orders to look at */
};

/* *ret_event: the end that no order explains. */
enum name_verdict names_order(const struct name_history *h, unsigned *ret_event);
void name_op_text(const struct name_op *op, char *buf, size_t cap);

#endif
