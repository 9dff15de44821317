/* Groups of users, as this machine's database has them. */
#include <grp.h>
#include <pwd.h>

#include "run.h"

#define GROUPS_MAX 256

static void look(void *arg)
{
	const uint32_t none = 0xfffffff0;
	uint32_t *ids = calloc(GROUPS_MAX, sizeof(*ids));
	uint32_t count = 77;
	unsigned users = 0;
	struct passwd *user;

	(void)arg;
	setpwent();
	while ((user = getpwent()) != NULL) {
		gid_t want[GROUPS_MAX];
		int n = GROUPS_MAX;

		/* Of several names of a uid the first counts. */
		user = getpwuid(user->pw_uid);
		CHECK(user != NULL);
		CHECK(getgrouplist(user->pw_name, user->pw_gid, want, &n) > 0);
		CHECK_EQ(env_user_groups(env, user->pw_uid, ids, GROUPS_MAX, &count), 0);
		CHECK_EQ(count, (uint32_t)n);
		for (int i = 0; i < n; i++) {
			CHECK_EQ(ids[i], want[i]);
		}
		users++;
	}
	endpwent();
	CHECK(users > 0);
	CHECK(getpwuid(none) == NULL);
	CHECK_EQ(env_user_groups(env, none, ids, GROUPS_MAX, &count), 0);
	CHECK_EQ(count, 0);
	free(ids);
}

TEST(groups_are_the_databases)
{
	run_body(look, NULL);
}
