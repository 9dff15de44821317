/*
 * nacre: the user's and administrator's command. Each verb is a file nacre_VERB.c.
 */
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "cli/cli.h"
#include "nacre/version.h"

static const struct cli_verb verbs[] = {
	{"up", "start (or make) a whole file system on this machine and mount it", cli_up},
	{"down", "unmount and stop it; data stays", cli_down},
	{"umount", "unmount, and wait until everything is durable", cli_umount_verb},
	{"status", "targets, processes, space, clients", cli_status},
	{"top", "what targets and mounts do, live", cli_top},
	{"trace", "explain slow requests hop by hop", cli_trace},
	{"log-level", "show or change what daemons log", cli_log_level},
	{"pool", "pools of OSTs: new, add, remove, destroy, list", cli_pool},
	{"sync", "wait until everything written through a mount is durable", cli_sync},
	{"format", "prepare a directory as a target", cli_format},
	{"key", "make server keys and client keys", cli_key},
	{"inspect", "show a target's superblock, log, checkpoint or an object", cli_inspect},
};

int cli_fail(const char *fmt, ...)
{
	va_list ap;

	fputs("nacre: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	return 1;
}

int cli_usage(const char *verb, const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "nacre %s: ", verb);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fprintf(stderr, "; see nacre %s --help\n", verb);
	return 2;
}

int cli_usage_option(const char *verb, int opt, char **argv)
{
	const char *word = argv[optind - 1];

	if (opt == ':') {
		return cli_usage(verb, "%s needs a value", word);
	}
	/* Of letters behind one dash the one that is wrong; of long options the word as it is. */
	if (strncmp(word, "--", 2) != 0 && optopt > ' ' && optopt <= '~') {
		return cli_usage(verb, "there is no option -%c", optopt);
	}
	return cli_usage(verb, "there is no option %s", word);
}

static int help(FILE *out, int code)
{
	fputs("usage: nacre VERB [OPTIONS]\n\n", out);
	for (unsigned i = 0; i < ARRAY_SIZE(verbs); i++) {
		fprintf(out, "  %-9s %s\n", verbs[i].name, verbs[i].synopsis);
	}
	fputs("\n`nacre VERB --help` tells more. Exit codes: 0 done, 1 failed, 2 wrong usage.\n",
		out);
	return code;
}

int main(int argc, char **argv)
{
	if (argc < 2) {
		return help(stderr, 2);
	}
	if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
		strcmp(argv[1], "-h") == 0) {
		return help(stdout, 0);
	}
	if (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-V") == 0) {
		printf("nacre %s\n", NACRE_VERSION);
		return 0;
	}
	/* What went wrong is said once, by the verb: not by getopt, and not by the layers below it. */
	opterr = 0;
	log_level_set(LOG_ERROR);
	for (unsigned i = 0; i < ARRAY_SIZE(verbs); i++) {
		if (strcmp(argv[1], verbs[i].name) == 0) {
			return verbs[i].run(argc - 1, argv + 1);
		}
	}
	fprintf(stderr, "nacre: no verb %s; see nacre help\n", argv[1]);
	return 2;
}
