/*
 * lfs osts, mdts, pool_list, getname, check: lists of what a mount knows.
 */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/lfs.h"

/* Lustre's word for a target that does not answer (ENOTCONN). */
#define ERR_UNREACHABLE ENOTCONN

enum {
	OPT_JSON = 256,
};

static const struct option json_options[] = {
	{"json", no_argument, NULL, OPT_JSON},
	{NULL, 0, NULL, 0},
};

/* Options of commands that know --json only. 0 or an exit code. */
static int json_parse(int argc, char **argv, const char *cmd, bool *ret_json)
{
	int c;

	*ret_json = false;
	opterr = 0;
	optind = 0;
	while ((c = getopt_long(argc, argv, "", json_options, NULL)) != -1) {
		if (c != OPT_JSON) {
			return lfs_usage(cmd, "wrong option '%s'", argv[optind - 1]);
		}
		*ret_json = true;
	}
	return 0;
}

static int ask_targets(const char *cmd, const struct lfs_mount *m, const char *question,
	json_t **ret_answer, struct lfs_targets *ret_targets)
{
	json_t *answer = NULL;
	int err = lfs_ask_targets(m->point, question, &answer);

	if (err == 0) {
		err = lfs_targets_decode(answer, ret_targets);
	}
	if (err != 0) {
		json_decref(answer);
		return lfs_fail(cmd, err, "'%s'", m->point);
	}
	snprintf(ret_targets->fsname, sizeof(ret_targets->fsname), "%s", m->fsname);
	if (ret_answer != NULL) {
		*ret_answer = answer;
	} else {
		json_decref(answer);
	}
	return 0;
}

/* ---- osts, mdts ---- */

void lfs_tgts_print(FILE *out, const struct lfs_targets *t, enum lfs_kind kind)
{
	fputs(kind == LFS_OST ? "OBDS:\n" : "MDTS:\n", out);
	for (size_t i = 0; i < t->count; i++) {
		const struct lfs_target *one = &t->list[i];

		if (one->kind == kind) {
			fprintf(out, "%" PRIu32 ": %s-%s_UUID %s\n", one->index, t->fsname,
				one->name, one->active ? "ACTIVE" : "INACTIVE");
		}
	}
}

static json_t *tgts_json(const struct lfs_targets *t, enum lfs_kind kind, const char *point)
{
	json_t *list = json_array();

	for (size_t i = 0; i < t->count; i++) {
		const struct lfs_target *one = &t->list[i];

		if (one->kind == kind) {
			json_array_append_new(list,
				json_pack("{s:I, s:s, s:b}", "index", (json_int_t)one->index,
					"name", one->name, "active", one->active));
		}
	}
	return json_pack("{s:s, s:s, s:o}", "fsname", t->fsname, "mount", point, "targets", list);
}

static int tgts(int argc, char **argv, enum lfs_kind kind)
{
	_cleanup_(free_ptr) struct lfs_mount *mounts = NULL;
	size_t count = 0;
	bool json = false;
	json_t *all;
	int code = json_parse(argc, argv, argv[0], &json);

	if (code == 0 && argc - optind > 1) {
		code = lfs_usage(argv[0], "one path at most");
	}
	if (code == 0) {
		code = lfs_mounts_need(argv[0], argv[optind], &mounts, &count);
	}
	if (code != 0) {
		return code;
	}
	all = json_array();
	for (size_t i = 0; i < count; i++) {
		struct lfs_targets t = {0};
		int err = ask_targets(argv[0], &mounts[i], "nacre.map", NULL, &t);

		code = err != 0 ? err : code;
		if (err == 0 && json) {
			json_array_append_new(all, tgts_json(&t, kind, mounts[i].point));
		} else if (err == 0) {
			lfs_tgts_print(stdout, &t, kind);
		}
		lfs_targets_fini(&t);
	}
	if (json) {
		return lfs_json_print(all) != 0 ? ENOMEM : code;
	}
	json_decref(all);
	return code;
}

int lfs_osts(int argc, char **argv)
{
	return tgts(argc, argv, LFS_OST);
}

int lfs_mdts(int argc, char **argv)
{
	return tgts(argc, argv, LFS_MDT);
}

/* ---- pool_list ---- */

int lfs_pools_print(FILE *out, const json_t *map, const char *pool)
{
	const char *fsname = lfs_text(map, "fsname");
	const json_t *pools = json_object_get(map, "pools");
	json_t *osts = NULL;

	if (pool == NULL) {
		fprintf(out, "Pools from %s:\n", fsname);
		for (size_t i = 0; i < json_array_size(pools); i++) {
			fprintf(out, "%s.%s\n", fsname, lfs_text(json_array_get(pools, i), "name"));
		}
		return 0;
	}
	if (lfs_pool_find(map, pool, &osts) != 0) {
		return ENOENT;
	}
	fprintf(out, "Pool: %s.%s\n", fsname, pool);
	for (size_t i = 0; i < json_array_size(osts); i++) {
		fprintf(out, "%s-OST%04x_UUID\n", fsname,
			(unsigned)json_integer_value(json_array_get(osts, i)));
	}
	return 0;
}

static int pools_show(const struct lfs_mount *m, const char *pool, bool json)
{
	json_t *map = NULL;
	json_t *osts = NULL;
	int err = lfs_ask(m->point, true, "nacre.map", &map);

	if (err != 0) {
		return lfs_fail("pool_list", err, "'%s'", m->point);
	}
	if (pool != NULL && lfs_pool_find(map, pool, &osts) != 0) {
		json_decref(map);
		return lfs_refuse(
			"pool_list", ENOENT, "no pool '%s' in file system '%s'", pool, m->fsname);
	}
	if (json) {
		json_t *pools = json_object_get(map, "pools");

		err = lfs_json_print(pool == NULL
				? json_pack("{s:s, s:O}", "fsname", m->fsname, "pools", pools)
				: json_pack("{s:s, s:s, s:O}", "fsname", m->fsname, "name", pool,
					  "osts", osts));
	} else {
		err = lfs_pools_print(stdout, map, pool);
	}
	json_decref(map);
	return err;
}

int lfs_pool_list(int argc, char **argv)
{
	_cleanup_(free_ptr) struct lfs_mount *mounts = NULL;
	_cleanup_(free_ptr) char *name = NULL;
	char *pool = NULL;
	size_t count = 0;
	bool json = false;
	int code = json_parse(argc, argv, "pool_list", &json);

	if (code == 0 && argc - optind != 1) {
		code = lfs_usage("pool_list", "name one file system, pool or path");
	}
	if (code != 0) {
		return code;
	}
	name = strdup(argv[optind]);
	if (name == NULL) {
		return lfs_fail("pool_list", ENOMEM, "'%s'", argv[optind]);
	}
	/* FSNAME.POOL, unless it is a path. */
	if (strchr(name, '/') == NULL && name[0] != '.') {
		pool = strchr(name, '.');
	}
	if (pool != NULL) {
		*pool++ = '\0';
	}
	code = lfs_mounts_need("pool_list", name, &mounts, &count);
	/* A file system that is mounted twice has the same pools. */
	return code != 0 ? code : pools_show(&mounts[0], pool, json);
}

/* ---- getname ---- */

const char *lfs_instance(const char *uuid, char *buf)
{
	unsigned n = 0;

	for (; *uuid != '\0' && n < 16; uuid++) {
		if (*uuid != '-') {
			buf[n++] = *uuid;
		}
	}
	buf[n] = '\0';
	return buf;
}

static const struct option name_options[] = {
	{"instance", no_argument, NULL, 'i'},
	{"fsname", no_argument, NULL, 'n'},
	{"uuid", no_argument, NULL, 'u'},
	{"json", no_argument, NULL, OPT_JSON},
	{NULL, 0, NULL, 0},
};

/* what: 0, or the option's letter. with_point: the mount point behind. */
static void name_print(const json_t *client, const struct lfs_mount *m, int what, bool with_point)
{
	const char *uuid = lfs_text(client, "uuid");
	char instance[17];

	lfs_instance(uuid, instance);
	switch (what) {
	case 'i':
		fputs(instance, stdout);
		break;
	case 'n':
		fputs(lfs_text(client, "fsname"), stdout);
		break;
	case 'u':
		fputs(uuid, stdout);
		break;
	default:
		printf("%s-%s", lfs_text(client, "fsname"), instance);
	}
	if (with_point) {
		printf(" %s", m->point);
	}
	putchar('\n');
}

static json_t *name_json(const json_t *client, const struct lfs_mount *m)
{
	char instance[17];

	return json_pack("{s:s, s:s, s:s, s:s, s:s}", "fsname", lfs_text(client, "fsname"),
		"instance", lfs_instance(lfs_text(client, "uuid"), instance), "uuid",
		lfs_text(client, "uuid"), "mount", m->point, "source", m->source);
}

static int name_of(const struct lfs_mount *m, int what, bool with_point, json_t *json)
{
	json_t *client = NULL;
	int err = lfs_ask(m->point, true, "nacre.client", &client);

	if (err != 0) {
		return lfs_fail("getname", err, "'%s'", m->point);
	}
	if (json != NULL) {
		json_array_append_new(json, name_json(client, m));
	} else {
		name_print(client, m, what, with_point);
	}
	json_decref(client);
	return 0;
}

static int names_of_paths(int argc, char **argv, int what, json_t *json)
{
	bool with_point = what == 0 || argc - optind > 1;
	int code = 0;

	for (int i = optind; i < argc; i++) {
		struct lfs_mount m;
		int err = lfs_mount_of(argv[i], true, &m);

		/* Lustre's errno for a path elsewhere. */
		if (err == ENOTTY) {
			err = lfs_refuse(
				"getname", ENODEV, "'%s' is not on a Nacre file system", argv[i]);
		} else if (err != 0) {
			err = lfs_fail("getname", err, "cannot access '%s'", argv[i]);
		} else {
			err = name_of(&m, what, with_point, json);
		}
		code = err != 0 ? err : code;
	}
	return code;
}

static int names_of_all(int what, json_t *json)
{
	_cleanup_(free_ptr) struct lfs_mount *mounts = NULL;
	size_t count = 0;
	int code = lfs_mounts_need("getname", NULL, &mounts, &count);

	for (size_t i = 0; i < count; i++) {
		int err = name_of(&mounts[i], what, true, json);

		code = err != 0 ? err : code;
	}
	return code;
}

int lfs_getname(int argc, char **argv)
{
	json_t *json = NULL;
	int what = 0;
	int code;
	int c;

	opterr = 0;
	optind = 0;
	while ((c = getopt_long(argc, argv, "inu", name_options, NULL)) != -1) {
		if (c == OPT_JSON) {
			json = json == NULL ? json_array() : json;
		} else if (c == '?' || (what != 0 && what != c)) {
			json_decref(json);
			return lfs_usage("getname",
				c == '?' ? "wrong option '%s'" : "'%s': one of -i, -n, -u",
				argv[optind - 1]);
		} else {
			what = c;
		}
	}
	code = optind < argc ? names_of_paths(argc, argv, what, json) : names_of_all(what, json);
	if (json != NULL) {
		return lfs_json_print(json) != 0 ? ENOMEM : code;
	}
	return code;
}

/* ---- check ---- */

const char *lfs_device_name(const struct lfs_targets *t, const struct lfs_target *target,
	const char *instance, char *buf, size_t cap)
{
	const char *address = strchr(target->address, ':');

	if (target->kind != LFS_MGT) {
		snprintf(buf, cap, "%s-%s-%s-%s", t->fsname, target->name,
			target->kind == LFS_MDT ? "mdc" : "osc", instance);
	} else {
		snprintf(buf, cap, "MGC%s", address == NULL ? "" : address + 1);
	}
	return buf;
}

static bool kinds_parse(const char *word, bool kinds[3])
{
	bool all = strcmp(word, "all") == 0;

	kinds[LFS_MGT] = all || strcmp(word, "mgts") == 0 || strcmp(word, "mgs") == 0;
	kinds[LFS_MDT] = all || strcmp(word, "mdts") == 0 || strcmp(word, "mds") == 0;
	kinds[LFS_OST] = all || strcmp(word, "osts") == 0;
	if (strcmp(word, "servers") == 0) {
		kinds[LFS_MDT] = true;
		kinds[LFS_OST] = true;
	}
	return kinds[LFS_MGT] || kinds[LFS_MDT] || kinds[LFS_OST];
}

static int check_one(const struct lfs_targets *t, const struct lfs_target *one,
	const char *instance, json_t *json)
{
	char device[LIM_ADDR_LEN_MAX + 64];

	lfs_device_name(t, one, instance, device, sizeof(device));
	if (json != NULL) {
		json_t *j = json_pack("{s:s, s:s, s:b}", "device", device, "name", one->name,
			"active", one->active);

		if (one->active) {
			json_object_set_new(j, "address", json_string(one->address));
			json_object_set_new(
				j, "latency_us", json_integer((json_int_t)one->latency_us));
		} else {
			json_object_set_new(j, "error", json_string(one->error));
		}
		json_array_append_new(json, j);
	} else if (one->active) {
		printf("%s active.\n", device);
	} else {
		lfs_refuse("check", ERR_UNREACHABLE, "'%s': %s (%d)", device, one->error,
			ERR_UNREACHABLE);
	}
	return one->active ? 0 : ERR_UNREACHABLE;
}

static int check_mount(const struct lfs_mount *m, const bool kinds[3], json_t *json)
{
	_cleanup_(lfs_targets_fini) struct lfs_targets t = {0};
	json_t *client = NULL;
	char instance[17];
	int code = lfs_ask(m->point, true, "nacre.client", &client);

	if (code != 0) {
		return lfs_fail("check", code, "'%s'", m->point);
	}
	lfs_instance(lfs_text(client, "uuid"), instance);
	json_decref(client);
	code = ask_targets("check", m, "nacre.check", NULL, &t);
	for (size_t i = 0; i < t.count; i++) {
		if (kinds[t.list[i].kind]) {
			int err = check_one(&t, &t.list[i], instance, json);

			code = err != 0 ? err : code;
		}
	}
	return code;
}

int lfs_check(int argc, char **argv)
{
	_cleanup_(free_ptr) struct lfs_mount *mounts = NULL;
	bool kinds[3];
	size_t count = 0;
	bool json = false;
	json_t *list;
	int code = json_parse(argc, argv, "check", &json);

	if (code == 0 && (argc - optind < 1 || argc - optind > 2)) {
		code = lfs_usage("check", "say what: mgts, mdts, osts or all");
	}
	if (code == 0 && !kinds_parse(argv[optind], kinds)) {
		code = lfs_usage("check", "'%s' is none of mgts, mdts, osts, all", argv[optind]);
	}
	if (code == 0) {
		code = lfs_mounts_need("check", argv[optind + 1], &mounts, &count);
	}
	if (code != 0) {
		return code;
	}
	list = json ? json_array() : NULL;
	for (size_t i = 0; i < count; i++) {
		int err = check_mount(&mounts[i], kinds, list);

		code = err != 0 ? err : code;
	}
	if (json) {
		return lfs_json_print(list) != 0 ? ENOMEM : code;
	}
	return code;
}
