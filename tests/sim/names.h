/*
 * Names that several clients create, remove, link and rename at the same time, in two directories.
 *
 * Every operation is noted with its begin and end. Afterwards there must be an order in which each happened at one
 * moment between its begin and its end and gave the answer it gave (linearisability); an operation whose end nobody
 * saw may have happened at any time after its begin, or never. Names that nobody touches must be in each listing
 * exactly once, and files that lost their names are read through the handles that are left.
 */
#ifndef NACRE_TESTS_SIM_NAMES_H
#define NACRE_TESTS_SIM_NAMES_H

#include "actor.h"

struct names;

/* One or two actors for each client. */
struct names *names_new(struct cluster *c);
void names_free(struct names *n);
/* The actors; returns how many. */
unsigned names_actors(struct names *n, struct actor **ret_actors, unsigned max);
/* As this client sees it when all is quiet, and the order. Once. */
_yields_ void names_check(struct names *n, struct client *c);

#endif
