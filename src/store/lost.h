/*
 * The mark that a write-back has failed in this boot of the host: see lost.c.
 */
#ifndef NACRE_STORE_LOST_H
#define NACRE_STORE_LOST_H

#include "env/env.h"

/* Leaves the mark in a directory. Errors are logged: whoever calls is about to end. */
_yields_ void lost_mark(struct env *env, const char *dir);
/* Which failure of this boot was the last: a random number; 0: there was none. */
_yields_ _check_ int lost_load(struct env *env, const char *dir, uint64_t *ret_loss);

#endif
