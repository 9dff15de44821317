/*
 * Error codes: one table (errors.def) with a stable number, the errno a POSIX caller sees, and a
 * text.
 *
 * Functions return 0 or a negative code, -NE_xxx. The stable number travels on the wire and in disk
 * records, so operators can tell causes apart that POSIX merges. Thread-safe: constant tables.
 */
#ifndef NACRE_BASE_ERROR_H
#define NACRE_BASE_ERROR_H

#include "base/base.h"

enum ne_code {
	NE_OK = 0,
#define NE(name, number, parent, text) NE_##name = (number),
#include "base/errors.def"
#undef NE
	NE_MAX = 256,
};

/* The errno (positive) for a code (negative or positive); 0 for 0, EIO for a number not in the
 * table. */
int ne_errno(int code);
/* Our code (negative) for a system call's errno (positive); -NE_IO when there is no closer one. */
int ne_from_errno(int sys_errno);
/* "NOENT" and "no such file or directory"; never NULL. */
const char *ne_name(int code);
const char *ne_text(int code);
/* True if the number is in the table (or 0); what a message carries is checked with this. */
bool ne_is_known(int code);

#endif
