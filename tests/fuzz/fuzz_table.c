/*
 * libFuzzer's two functions for a program that is a table of targets; see fuzz.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/log.h"
#include "fuzz.h"

struct fuzz_seeds {
	const char *dir;
	const char *target;
	unsigned count;
};

static const struct fuzz_target *chosen;

void fuzz_seed_add(struct fuzz_seeds *seeds, const char *name, const void *data, size_t len)
{
	char path[512];
	FILE *f;

	(void)snprintf(path, sizeof(path), "%s/%s", seeds->dir, seeds->target);
	(void)mkdir(path, 0755);
	(void)snprintf(path, sizeof(path), "%s/%s/%s", seeds->dir, seeds->target, name);
	f = fopen(path, "wb");
	if (f == NULL || fwrite(data, 1, len, f) != len || fclose(f) != 0) {
		fprintf(stderr, "%s: cannot be written\n", path);
		exit(2);
	}
	seeds->count++;
}

static void seeds_write(const char *dir)
{
	for (unsigned i = 0; i < fuzz_target_count; i++) {
		struct fuzz_seeds seeds = {.dir = dir, .target = fuzz_targets[i].name};

		fuzz_targets[i].seeds(&seeds);
		ASSERT(seeds.count > 0);
	}
}

static void list(void)
{
	for (unsigned i = 0; i < fuzz_target_count; i++) {
		puts(fuzz_targets[i].name);
	}
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	const char *name = fuzz_target_name(*argc, *argv);

	/* What is wrong with an input is logged; nobody reads that here. */
	log_level_set(LOG_ERROR);
	for (int i = 1; i < *argc; i++) {
		if (strcmp((*argv)[i], "--list") == 0) {
			list();
			exit(0);
		}
		if (strncmp((*argv)[i], "--seeds=", 8) == 0) {
			seeds_write((*argv)[i] + 8);
			exit(0);
		}
	}
	for (unsigned i = 0; name != NULL && i < fuzz_target_count; i++) {
		if (strcmp(fuzz_targets[i].name, name) == 0) {
			chosen = &fuzz_targets[i];
		}
	}
	if (chosen == NULL) {
		fprintf(stderr, "give --target=NAME; --list prints the names\n");
		exit(2);
	}
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	chosen->run(data, size);
	return 0;
}
