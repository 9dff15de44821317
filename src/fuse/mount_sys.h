/*
 * What a mount needs of the system: the channel, mount and umount, checks that make the reasons plain.
 * Blocking; called before the reactor runs or in helper jobs. See mount_sys.c.
 */
#ifndef NACRE_FUSE_MOUNT_SYS_H
#define NACRE_FUSE_MOUNT_SYS_H

#include "base/base.h"
#include "base/error.h"
#include "fuse/mount_opts.h"

/* Is there FUSE, is the target a directory that can be mounted on? Makes o->target absolute. */
_check_ int mount_check(struct mount_opts *o, char *ret_why);
/* Mounts: as root by mount(2), otherwise by fusermount3. ret_fd: the channel. */
_check_ int mount_do(const struct mount_opts *o, int *ret_fd, char *ret_why);
/* Detaches the mount (lazily). */
_check_ int mount_detach(const char *target);
/* As root: raises the mount's readahead to what INIT allows. Harmless otherwise. */
void mount_readahead_raise(const char *target);
/* Reads the key file into buf (cap bytes with the NUL). */
_check_ int mount_key_read(const struct mount_opts *o, char *buf, size_t cap, char *ret_why);

#endif
