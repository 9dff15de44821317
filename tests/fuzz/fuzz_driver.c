/*
 * Stands in for libFuzzer where the compiler has none: replays files, then tries mutations of them.
 *
 * Arguments: `-runs=N -seed=N` as libFuzzer's, `--...` left to the target, and files or folders of
 * inputs. There is no feedback: it is a replayer of corpora with a little luck, not a fuzzer. Every input
 * lies in memory of exactly its size. The input that is being tried is kept in `crash-input` when the
 * target aborts.
 */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/prng.h"
#include "fuzz.h"

#define INPUTS_MAX 4096
#define INPUT_BYTES_MAX 65536

struct input {
	uint8_t *data;
	size_t size;
};

static struct input inputs[INPUTS_MAX];
static size_t input_count;
static const uint8_t *trying;
static size_t trying_size;

static void input_save(int sig)
{
	FILE *f = fopen("crash-input", "wb");

	if (f != NULL) {
		fwrite(trying, 1, trying_size, f);
		fclose(f);
		fprintf(stderr, "input written to crash-input\n");
	}
	signal(sig, SIG_DFL);
	raise(sig);
}

static void input_add(const char *path)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data = malloc(INPUT_BYTES_MAX);

	if (f == NULL || data == NULL || input_count == INPUTS_MAX) {
		fprintf(stderr, "%s: cannot be read\n", path);
		exit(2);
	}
	inputs[input_count].data = data;
	inputs[input_count].size = fread(data, 1, INPUT_BYTES_MAX, f);
	input_count++;
	fclose(f);
}

static void inputs_add(const char *path)
{
	struct stat st;
	struct dirent *entry;
	DIR *dir;

	if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
		input_add(path);
		return;
	}
	dir = opendir(path);
	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		char name[1024];

		if (entry->d_name[0] != '.') {
			snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
			input_add(name);
		}
	}
	if (dir != NULL) {
		closedir(dir);
	}
}

static void input_try(const uint8_t *data, size_t size)
{
	uint8_t *exact = malloc(size + (size == 0));

	if (exact == NULL) {
		exit(2);
	}
	memcpy(exact, data, size);
	trying = exact;
	trying_size = size;
	LLVMFuzzerTestOneInput(exact, size);
	free(exact);
}

static size_t input_mutate(struct prng *rng, uint8_t *buf, size_t size)
{
	static const uint8_t telling[] = {0, 1, 2, 0x7f, 0x80, 0xff};
	size_t changes = 1 + prng_below(rng, 4);

	while (changes-- > 0) {
		size_t at = size == 0 ? 0 : prng_below(rng, size);
		size_t len = prng_below(rng, 8);

		switch (prng_below(rng, 5)) {
		case 0:
			size = at;
			break;
		case 1:
			len = size + len > INPUT_BYTES_MAX ? INPUT_BYTES_MAX - size : len;
			prng_fill(rng, buf + size, len);
			size += len;
			break;
		case 2:
			buf[at] = telling[prng_below(rng, sizeof(telling))];
			break;
		case 3:
			buf[at] ^= (uint8_t)(1u << prng_below(rng, 8));
			break;
		default:
			buf[at] = (uint8_t)prng_next(rng);
		}
	}
	return size;
}

int main(int argc, char **argv)
{
	static uint8_t buf[INPUT_BYTES_MAX];
	unsigned long runs = 0, seed = 1, done = 0;
	struct prng rng;

	LLVMFuzzerInitialize(&argc, &argv);
	signal(SIGABRT, input_save);
	signal(SIGSEGV, input_save);
	for (int i = 1; i < argc; i++) {
		if (strncmp(argv[i], "-runs=", 6) == 0) {
			runs = strtoul(argv[i] + 6, NULL, 10);
		} else if (strncmp(argv[i], "-seed=", 6) == 0) {
			seed = strtoul(argv[i] + 6, NULL, 10);
		} else if (argv[i][0] != '-') {
			inputs_add(argv[i]);
		}
	}
	for (size_t i = 0; i < input_count; i++, done++) {
		input_try(inputs[i].data, inputs[i].size);
	}
	prng_init(&rng, seed);
	for (; done < runs; done++) {
		const struct input *in = NULL;
		size_t size = 0;

		if (input_count > 0) {
			in = &inputs[prng_below(&rng, input_count)];
			size = in->size;
			memcpy(buf, in->data, size);
		}
		input_try(buf, input_mutate(&rng, buf, size));
	}
	printf("#%lu DONE\n", done);
	for (size_t i = 0; i < input_count; i++) {
		free(inputs[i].data);
	}
	return 0;
}
