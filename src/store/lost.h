/*
 * The mark that a write-back has failed in this boot of the host: see lost.c.
 */
#ifndef NACRE_STORE_LOST_H
#define NACRE_STORE_LOST_H

#include "env/env.h"

/* Leaves the mark in a directory. Errors are logged: whoever calls is about to end. */
_yields_ void lost_mark(struct env *env, const char *dir);
/* Is there one of this boot? */
_yields_ _check_ int lost_load(struct env *env, const char *dir, bool *ret_lost);

#endif
