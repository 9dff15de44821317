/*
 * The host's user database: whom the name service switch asks (files, LDAP...), on a helper thread of its own kind,
 * because an answer may take as long as a network does.
 */
#include <errno.h>
#include <grp.h>
#include <pwd.h>

#include "base/alloc.h"
#include "env/posix/posix_int.h"

/* An entry of the database, bytes: it names one user, so this is plenty. */
#define ENTRY_BYTES_MIN 1024
#define ENTRY_BYTES_MAX (1024 * 1024)

_Static_assert(sizeof(gid_t) == sizeof(uint32_t), "ids of groups are given as they are");

struct users_lookup {
	uint32_t uid;
	uint32_t *ids;
	uint32_t max;
	uint32_t count;
	int err;
};

static int groups_list(struct users_lookup *l, const struct passwd *user)
{
	int count = (int)l->max;

	/* With more than fit the first of them are there. */
	if (getgrouplist(user->pw_name, user->pw_gid, l->ids, &count) < 0) {
		count = (int)l->max;
	}
	l->count = (uint32_t)count;
	return 0;
}

/* -NE_TOOBIG: once more, with more memory. */
static int groups_ask(struct users_lookup *l, size_t bytes)
{
	char *buf = mem_alloc(bytes);
	struct passwd entry;
	struct passwd *user = NULL;
	int err;

	if (buf == NULL) {
		return -NE_NOMEM;
	}
	do {
		err = getpwuid_r(l->uid, &entry, buf, bytes, &user);
	} while (err == EINTR);
	if (user != NULL) {
		err = groups_list(l, user);
	} else if (err == 0 || err == ENOENT || err == ESRCH) {
		l->count = 0; /* there is no such user */
		err = 0;
	} else {
		err = err == ERANGE ? -NE_TOOBIG : ne_from_errno(err);
	}
	mem_free(buf);
	return err;
}

static void groups_job(void *arg)
{
	struct users_lookup *l = arg;
	size_t bytes = ENTRY_BYTES_MIN;

	do {
		l->err = groups_ask(l, bytes);
		bytes *= 4;
	} while (l->err == -NE_TOOBIG && bytes <= ENTRY_BYTES_MAX);
}

int posix_user_groups(
	struct env *env, uint32_t uid, uint32_t *ids, uint32_t max, uint32_t *ret_count)
{
	struct users_lookup l = {.uid = uid, .ids = ids, .max = max};

	posix_job(env, ENV_JOB_NAMES, groups_job, &l);
	if (l.err == 0) {
		*ret_count = l.count;
	}
	return l.err;
}
