/*
 * What a fuzz program defines, whether libFuzzer drives it (clang) or fuzz_driver.c (any compiler).
 *
 * A program chooses its target by `--target=NAME` or the environment variable NACRE_FUZZ_TARGET, and
 * prints its targets, one per line, for `--list`. A target aborts when something is wrong.
 */
#ifndef NACRE_TESTS_FUZZ_FUZZ_H
#define NACRE_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The value of --target=, or of the environment variable, or NULL. */
const char *fuzz_target_name(int argc, char **argv);

#endif
