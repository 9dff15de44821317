/*
 * Every bound of the system, once, with unit and reason. Relations are asserted at the end.
 */
#ifndef NACRE_BASE_LIMITS_H
#define NACRE_BASE_LIMITS_H

#include "base/base.h"

/* Names: Linux's NAME_MAX and PATH_MAX (bytes). */
#define LIM_NAME_MAX 255
#define LIM_PATH_MAX 4096
/* Symlink target, bytes: PATH_MAX less the NUL, as the VFS accepts. */
#define LIM_SYMLINK_MAX 4095
/* Extended attribute: name (bytes), value (bytes), all names of one file (bytes), as Linux's. */
#define LIM_XATTR_NAME_MAX 255
#define LIM_XATTR_VALUE_MAX 65536
#define LIM_XATTR_LIST_MAX 65536
/* A POSIX ACL as an xattr, bytes: what fits the page in which Linux asks a FUSE file system for it. */
#define LIM_ACL_BYTES_MAX 4096
/* Hard links of one file: a file with a million links must work; bound of the 32-bit nlink. */
#define LIM_LINK_MAX 2000000000
/* Largest file size, bytes: signed 64-bit offsets end here. */
#define LIM_FILE_SIZE_MAX INT64_MAX
/* fsname (bytes without NUL): 8 as Lustre's. Pool name 15 as Lustre's. */
#define LIM_FSNAME_MAX 8
#define LIM_POOL_NAME_MAX 15
/* Target name "OST0000", bytes. */
#define LIM_TARGET_NAME_MAX 15
/* Targets of one kind in one file system: index is 16 bits wide in names, 0xffff means any. */
#define LIM_OST_MAX 4096
#define LIM_MDT_MAX 256
#define LIM_POOLS_MAX 256
/* Stripes of one file: Lustre's 2000. */
#define LIM_STRIPE_COUNT_MAX 2000
/* Stripe size, bytes. */
#define LIM_STRIPE_SIZE_MIN (UINT64_C(64) << 10)
#define LIM_STRIPE_SIZE_MAX ((UINT64_C(4) << 30) - (UINT64_C(64) << 10))
#define LIM_STRIPE_SIZE_DEFAULT (UINT64_C(4) << 20)
/* Small files up to this live in the MDT (bytes). One FUSE page less the record's overhead. */
#define LIM_INLINE_MAX 4000
/* A value in the checkpoint store must fit a quarter of a B-tree page (bytes): bigger things are
 * stored in pieces (RULES A8). */
#define LIM_KV_KEY_MAX 255
#define LIM_KV_VALUE_MAX 1900
/* Supplementary groups carried by a "need groups" answer; Linux's NGROUPS_MAX is 65536, but
 * /proc shows what a process has; requests carry at most this many. A server takes as many of a user from its
 * database (16 KiB in each session). */
#define LIM_GROUPS_MAX 4096
/* One message's body (bytes): the largest is an xattr value or a page of directory entries. */
#define LIM_MSG_BODY_MAX (UINT32_C(256) << 10)
/* One message's bulk (bytes). */
#define LIM_MSG_BULK_MAX (UINT32_C(4) << 20)
/* Requests in flight per session = slots of a session. */
#define LIM_SLOTS 64
/* Requests that wait for somebody else (RULES D1), of one session and of one server; 100 bytes each. A client has
 * fewer fibers than the first. */
#define LIM_PARKED_SESSION 1024
#define LIM_PARKED 65536
/* Fibers of one reactor. */
#define LIM_FIBERS 1024
/* Addresses of one target in the map, and bytes of one address text. */
#define LIM_ADDRS_MAX 8
#define LIM_ADDR_LEN_MAX 255
/* Sessions of one target. */
#define LIM_SESSIONS_MAX 65536
/* One FUSE request's payload, bytes. */
#define LIM_FUSE_IO_MAX (UINT32_C(1) << 20)
/* WAL segment, bytes; one record's payload must fit a segment with room to spare. */
#define LIM_WAL_SEGMENT_BYTES (UINT64_C(32) << 20)
#define LIM_WAL_RECORD_MAX (UINT32_C(1) << 20)
/* Samples of one answer of the monitor: 64 targets with 40 operations of three values each fit four times. */
#define LIM_METRIC_SAMPLES 32768
/* A label's value, bytes: target names and operations are shorter. */
#define LIM_METRIC_LABEL_MAX 31
/* LMDB map, bytes (sparse). */
#define LIM_LMDB_MAP_BYTES (UINT64_C(64) << 30)

_Static_assert(LIM_INLINE_MAX < (int)LIM_STRIPE_SIZE_MIN, "inline data is within the first stripe");
_Static_assert(LIM_MSG_BODY_MAX > LIM_XATTR_VALUE_MAX + 4096, "a setxattr fits one body");
_Static_assert(LIM_WAL_RECORD_MAX * 4 < LIM_WAL_SEGMENT_BYTES, "several records per segment");
_Static_assert(LIM_FUSE_IO_MAX <= LIM_MSG_BULK_MAX, "a FUSE request is one bulk transfer");

#endif
