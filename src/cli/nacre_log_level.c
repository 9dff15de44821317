/*
 * nacre log-level: shows or changes what the daemons of a file system on this host log, while they run.
 */
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/log.h"
#include "cli/monitors.h"

static const char usage_text[] =
	"usage: nacre log-level [DIR|MOUNT|SOCKET] [LEVEL] [OPTIONS]\n"
	"\n"
	"Shows the log levels of the daemons of a file system on this host, or sets them\n"
	"until the daemons end. LEVEL is error, warn, info or debug.\n"
	"\n"
	"  --module NAME  only lines of this module (mds, rpc, ...); without it LEVEL is for\n"
	"                 all modules\n"
	"  --daemon NAME  only this one: mds, ost0000, OST0000 or \"mount /mnt\"\n"
	"  --json         print facts as JSON\n";

struct log_level_args {
	const char *where;
	const char *level;
	const char *module;
	const char *daemon;
	bool json;
};

static void levels_print(const char *name, const json_t *levels)
{
	const json_t *modules = json_object_get(levels, "modules");
	const char *level = json_string_value(json_object_get(levels, "level"));
	const char *module;
	json_t *own;

	printf("%s: %s", name, level == NULL ? "?" : level);
	json_object_foreach((json_t *)(uintptr_t)modules, module, own)
	{
		printf(" %s=%s", module, json_string_value(own));
	}
	putchar('\n');
}

static int daemons_ask(const struct log_level_args *a, const struct monitors *m, const char *url)
{
	json_t *all = json_object();
	unsigned asked = 0;
	int err = 0;

	for (unsigned i = 0; i < m->count; i++) {
		const struct monitor_place *p = &m->place[i];
		json_t *levels;

		if (a->daemon != NULL && strcasecmp(a->daemon, p->name) != 0) {
			continue;
		}
		asked++;
		levels = monitors_ask_json(p, a->level == NULL ? "GET" : "POST", url);
		if (levels == NULL) {
			err = 1;
		} else if (a->json) {
			json_object_set(all, p->name, levels);
		} else {
			levels_print(p->name, levels);
		}
		json_decref(levels);
	}
	if (asked == 0) {
		err = cli_fail("no daemon %s here", a->daemon);
	}
	if (a->json && err == 0) {
		return cli_json_print(all);
	}
	json_decref(all);
	return err;
}

static int log_level_run(const struct log_level_args *a)
{
	struct monitors m;
	char url[256];
	int err;

	if (a->level == NULL) {
		snprintf(url, sizeof(url), "/log");
	} else if (a->module == NULL) {
		snprintf(url, sizeof(url), "/log?level=%s", a->level);
	} else {
		snprintf(url, sizeof(url), "/log?level=%s&module=%s", a->level, a->module);
	}
	err = monitors_find(a->where, &m);
	if (err != 0) {
		return err;
	}
	err = daemons_ask(a, &m, url);
	monitors_free(&m);
	return err;
}

static bool is_level(const char *text)
{
	enum log_level level;

	return log_level_parse(text, &level) == 0;
}

enum {
	OPT_MODULE = 256,
	OPT_DAEMON,
	OPT_JSON
};

static const struct option options[] = {
	{"module", required_argument, NULL, OPT_MODULE},
	{"daemon", required_argument, NULL, OPT_DAEMON},
	{"json", no_argument, NULL, OPT_JSON},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

static int words_take(struct log_level_args *a, int argc, char **argv)
{
	if (optind < argc && (argc - optind == 2 || !is_level(argv[optind]))) {
		a->where = argv[optind++];
	}
	if (optind < argc) {
		a->level = argv[optind++];
	}
	if (optind < argc) {
		return cli_usage("log-level", "too many arguments");
	}
	if (a->level != NULL && !is_level(a->level)) {
		return cli_usage(
			"log-level", "%s is no level: error, warn, info or debug", a->level);
	}
	if (a->module != NULL && a->level == NULL) {
		return cli_usage("log-level", "--module needs a level");
	}
	if (a->module != NULL &&
		(strspn(a->module, "abcdefghijklmnopqrstuvwxyz0123456789_-") != strlen(a->module) ||
			a->module[0] == '\0' || strlen(a->module) > LOG_MODULE_MAX)) {
		return cli_usage("log-level", "%s is no module's name", a->module);
	}
	return 0;
}

int cli_log_level(int argc, char **argv)
{
	struct log_level_args a = {0};
	int opt;
	int err;

	while ((opt = getopt_long(argc, argv, "h", options, NULL)) != -1) {
		switch (opt) {
		case OPT_MODULE:
			a.module = optarg;
			break;
		case OPT_DAEMON:
			a.daemon = optarg;
			break;
		case OPT_JSON:
			a.json = true;
			break;
		case 'h':
			fputs(usage_text, stdout);
			return 0;
		default:
			return cli_usage("log-level", "unknown option");
		}
	}
	err = words_take(&a, argc, argv);
	return err != 0 ? err : log_level_run(&a);
}
