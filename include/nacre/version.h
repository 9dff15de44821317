/*
 * The version of this software; protocol and disk formats have versions of their own.
 */
#ifndef NACRE_VERSION_H
#define NACRE_VERSION_H

#define NACRE_VERSION "0.1.0"

#endif
