/*
 * The error table: errors.def compiled into arrays indexed by the stable number.
 *
 * Invariant: numbers are unique and below NE_MAX (the compiler sees to it: duplicate designators
 * are an error under -Woverride-init / -Winitializer-overrides, duplicate names in the enum
 * always).
 */
#include "base/error.h"

#include <errno.h>

struct error_row {
	const char *name;
	const char *text;
	int parent;
};

static const struct error_row error_rows[NE_MAX] = {
	[0] = {.name = "OK", .text = "success", .parent = 0},
#define NE(ename, number, errno_parent, etext) \
	[number] = {.name = #ename, .text = etext, .parent = errno_parent},
#include "base/errors.def"
#undef NE
};

#define NE(ename, number, errno_parent, etext) \
	_Static_assert((number) > 0 && (number) < NE_MAX, "error number out of range: " #ename);
#include "base/errors.def"
#undef NE

/* The first cause number that is not an errno of its own; below it are the errnos POSIX callers
 * see. */
#define ERROR_CAUSE_FIRST 200

/* NULL if the table has no such number. */
static const struct error_row *error_row_get(int code)
{
	int64_t number = code < 0 ? -(int64_t)code : code;

	if (number >= NE_MAX || error_rows[number].name == NULL) {
		return NULL;
	}
	return &error_rows[number];
}

int ne_errno(int code)
{
	const struct error_row *row = error_row_get(code);

	return row == NULL ? EIO : row->parent;
}

int ne_from_errno(int sys_errno)
{
	ASSERT(sys_errno >= 0);
	switch (sys_errno) {
	case ECONNRESET:
	case ECONNABORTED:
	case EPIPE:
	case ENOTCONN:
	case ESHUTDOWN:
	case ENETRESET:
		return -NE_CONNLOST;
	case ENETUNREACH:
	case ENETDOWN:
	case EHOSTDOWN:
		return -NE_HOSTUNREACH;
	case EPROTO:
		return -NE_BADMSG;
	case EPROTONOSUPPORT:
		return -NE_VERSION;
	default:
		break;
	}
	for (int i = 0; i < ERROR_CAUSE_FIRST; i++) {
		if (error_rows[i].name != NULL && error_rows[i].parent == sys_errno) {
			return -i;
		}
	}
	return -NE_IO;
}

const char *ne_name(int code)
{
	const struct error_row *row = error_row_get(code);

	return row == NULL ? "UNKNOWN" : row->name;
}

const char *ne_text(int code)
{
	const struct error_row *row = error_row_get(code);

	return row == NULL ? "unknown error" : row->text;
}

bool ne_is_known(int code)
{
	return error_row_get(code) != NULL;
}
