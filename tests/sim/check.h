/*
 * What must hold when everything is quiet: the MDT's own checker, and objects against layouts.
 */
#ifndef NACRE_TESTS_SIM_CHECK_H
#define NACRE_TESTS_SIM_CHECK_H

#include "cluster.h"

/* Every object on every OST is named by the layout of a file a client sees, on that OST; with orphans_ok
 * a file may have gone less than a moment ago. Needs a mounted client. */
void check_objects(struct cluster *c);
/* mds_check finds nothing. */
void check_mds(struct cluster *c);

#endif
