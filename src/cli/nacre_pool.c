/*
 * nacre pool: named sets of OSTs, as `lctl pool_*`. OSTs are named by index or by name.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "daemon/super.h"
#include "layout/layout.h"
#include "mgs/mgs.h"
#include "wire/gen/wire.h"

struct pool {
	struct cli_where where;
	bool json;
	enum w_pool_op op;
	bool list;
	char name[LIM_POOL_NAME_MAX + 1];
	uint32_t osts[LIM_OST_MAX];
	uint32_t count;
};

static const char usage_text[] =
	"usage: nacre pool new|add|remove|destroy POOL [OST...] [OPTIONS]\n"
	"       nacre pool list [POOL] [OPTIONS]\n"
	"\n"
	"POOL is NAME or FSNAME.NAME (up to 15 characters); OST is an index, a name (OST0003) or "
	"a\n"
	"range (0-3). `new` takes OSTs too. Files and directories use a pool by `lfs setstripe "
	"-p`.\n"
	"\n"
	"  --dir DIR    cluster directory of nacre up (default $NACRE_DIR or ~/.nacre)\n"
	"  --mgs ADDR   HOST:PORT of the MGS instead, with\n"
	"  --key FILE   an administrator's key\n"
	"  --json       print facts as JSON\n";

static bool ost_index(const char *text, uint32_t *ret)
{
	enum w_target_kind kind;
	uint16_t index;
	char *end;
	const char *dash = strrchr(text, '-');
	unsigned long n;

	/* fsname-OST0003 as `lfs osts` prints it. */
	if (dash != NULL && strncmp(dash + 1, "OST", 3) == 0) {
		text = dash + 1;
	}
	if (target_name_parse(text, &kind, &index) == 0 && kind == W_TARGET_KIND_OST) {
		*ret = index;
		return true;
	}
	n = strtoul(text, &end, 10);
	if (end == text || *end != '\0' || n >= LIM_OST_MAX) {
		return false;
	}
	*ret = (uint32_t)n;
	return true;
}

static int osts_take(struct pool *p, const char *arg)
{
	char text[64];
	uint32_t first;
	uint32_t last;
	char *dash;

	snprintf(text, sizeof(text), "%s", arg);
	if (ost_index(text, &first)) {
		last = first;
	} else {
		dash = strchr(text, '-');
		if (dash == NULL) {
			return cli_fail("%s is no OST: write an index, OSTxxxx or a range", arg);
		}
		*dash = '\0';
		if (!ost_index(text, &first) || !ost_index(dash + 1, &last) || last < first) {
			return cli_fail("%s is no OST: write an index, OSTxxxx or a range", arg);
		}
	}
	for (uint32_t i = first; i <= last; i++) {
		if (p->count == LIM_OST_MAX) {
			return cli_fail("too many OSTs");
		}
		p->osts[p->count++] = i;
	}
	return 0;
}

static int change_run(struct cli_conn *conn, void *ctx)
{
	struct pool *p = ctx;
	struct w_mgs_pool_req req = {.pool_op = p->op, .name = wire_str_of(p->name)};
	struct w_mgs_pool_rep rep;
	struct rpc_call call = {.op = W_OP_MGS_POOL, .request = &req, .reply = &rep};
	int err;

	req.osts.items = p->osts;
	req.osts.count = p->count;
	err = cli_conn_call(conn, MGS_TARGET, "", p->where.addrs, &call);
	rpc_call_fini(&call);
	switch (err) {
	case 0:
		return 0;
	case -NE_EXIST:
		return cli_fail(p->op == W_POOL_OP_NEW ? "pool %s exists already"
						       : "pool %s has one of these OSTs already",
			p->name);
	case -NE_NOPOOL:
		return cli_fail("there is no pool %s", p->name);
	case -NE_NODEV:
		return cli_fail("one of these OSTs does not exist (see nacre status)");
	case -NE_NOENT:
		return cli_fail("one of these OSTs is not in pool %s", p->name);
	case -NE_NOTEMPTY:
		return cli_fail("pool %s has OSTs: remove them first", p->name);
	default:
		return cli_fail("MGS %s: %s", p->where.addrs[0], ne_text(err));
	}
}

static int list_one(struct pool *p, const struct w_pool *w, const char *fsname, json_t *out)
{
	json_t *osts = json_array();

	if (out == NULL) {
		if (p->name[0] == '\0') {
			printf("%s.%.*s\n", fsname, (int)w->name.len, w->name.ptr);
		}
		for (uint32_t i = 0; p->name[0] != '\0' && i < w->osts.count; i++) {
			printf("%s-OST%04x_UUID\n", fsname, wire_u32_at(&w->osts.view, i));
		}
		json_decref(osts);
		return 0;
	}
	for (uint32_t i = 0; i < w->osts.count; i++) {
		json_array_append_new(osts, json_integer(wire_u32_at(&w->osts.view, i)));
	}
	return json_array_append_new(out,
		json_pack("{s:s%, s:o}", "name", w->name.ptr, (size_t)w->name.len, "osts", osts));
}

static int list_print(struct pool *p, const struct w_mgs_map_rep *map)
{
	struct wire_iter it = w_pool_iter(&map->pools.view);
	json_t *out = p->json ? json_array() : NULL;
	char fsname[LIM_FSNAME_MAX + 1];
	struct w_pool w;
	bool found = p->name[0] == '\0';

	if (wire_str_copy(map->fsname, fsname, sizeof(fsname)) != 0) {
		return cli_fail("the MGS sent a bad name");
	}
	if (!p->json && p->name[0] == '\0') {
		printf("Pools from %s:\n", fsname);
	}
	while (w_pool_next(&it, &w)) {
		if (p->name[0] != '\0' && !wire_str_eq(w.name, wire_str_of(p->name))) {
			continue;
		}
		if (!p->json && p->name[0] != '\0') {
			printf("Pool: %s.%s\n", fsname, p->name);
		}
		found = true;
		(void)list_one(p, &w, fsname, out);
	}
	if (!found) {
		json_decref(out);
		return cli_fail("there is no pool %s", p->name);
	}
	return out == NULL ? 0 : cli_json_print(out);
}

static int list_run(struct cli_conn *conn, void *ctx)
{
	struct pool *p = ctx;
	struct w_mgs_map_req req = {0};
	struct w_mgs_map_rep rep;
	struct rpc_call call = {.op = W_OP_MGS_MAP, .request = &req, .reply = &rep};
	int err = cli_conn_call(conn, MGS_TARGET, "", p->where.addrs, &call);

	if (err != 0) {
		err = cli_fail("MGS %s: %s", p->where.addrs[0], ne_text(err));
	} else {
		err = list_print(p, &rep);
	}
	rpc_call_fini(&call);
	return err;
}

enum {
	OPT_DIR = 256,
	OPT_MGS,
	OPT_KEY,
	OPT_JSON
};

static const struct option options[] = {
	{"dir", required_argument, NULL, OPT_DIR},
	{"mgs", required_argument, NULL, OPT_MGS},
	{"key", required_argument, NULL, OPT_KEY},
	{"json", no_argument, NULL, OPT_JSON},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static int name_take(struct pool *p, const char *arg)
{
	const char *dot = strchr(arg, '.');
	const char *name = dot == NULL ? arg : dot + 1;

	if (!layout_pool_name_ok(name, strlen(name))) {
		return cli_fail("%s: a pool's name has 1 to %d letters, digits, - or _", arg,
			LIM_POOL_NAME_MAX);
	}
	memcpy(p->name, name, strlen(name) + 1);
	return 0;
}

static int verb_take(struct pool *p, const char *verb)
{
	static const char *const verbs[] = {"new", "add", "remove", "destroy"};

	if (strcmp(verb, "list") == 0) {
		p->list = true;
		return 0;
	}
	for (unsigned i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (strcmp(verb, verbs[i]) == 0) {
			p->op = (enum w_pool_op)i;
			return 0;
		}
	}
	return cli_usage("pool", "no verb %s", verb);
}

static int arguments_take(struct pool *p, int argc, char **argv)
{
	int err;

	if (argc < 1) {
		return cli_usage("pool", "what is to be done?");
	}
	err = verb_take(p, argv[0]);
	if (err == 0 && argc >= 2) {
		err = name_take(p, argv[1]);
	}
	for (int i = 2; i < argc && err == 0; i++) {
		err = osts_take(p, argv[i]);
	}
	if (err == 0 && !p->list && p->name[0] == '\0') {
		return cli_usage("pool", "which pool?");
	}
	if (err == 0 && p->count == 0 && !p->list &&
		(p->op == W_POOL_OP_ADD || p->op == W_POOL_OP_REMOVE)) {
		return cli_usage("pool", "which OSTs?");
	}
	return err;
}

int cli_pool(int argc, char **argv)
{
	static struct pool p;
	int opt;
	int err;

	while ((opt = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		switch (opt) {
		case OPT_DIR:
			p.where.dir = optarg;
			break;
		case OPT_MGS:
			p.where.mgs = optarg;
			break;
		case OPT_KEY:
			p.where.key = optarg;
			break;
		case OPT_JSON:
			p.json = true;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return 0;
		default:
			return cli_usage_option("pool", opt, argv);
		}
	}
	err = arguments_take(&p, argc - optind, argv + optind);
	if (err == 0) {
		err = cli_where_resolve(&p.where);
	}
	if (err != 0) {
		return err;
	}
	return cli_conn_run(p.where.key_path, "nacre-pool", p.list ? list_run : change_run, &p);
}
