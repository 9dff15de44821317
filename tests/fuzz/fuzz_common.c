/*
 * Choosing a target; see fuzz.h.
 */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"

const char *fuzz_target_name(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		if (strncmp(argv[i], "--target=", 9) == 0) {
			return argv[i] + 9;
		}
	}
	return getenv("NACRE_FUZZ_TARGET");
}
