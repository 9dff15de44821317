/*
 * Counts what a program copies in its own memory: a library for LD_PRELOAD that stands in for memcpy and memmove.
 *
 * NACRE_BENCH_COPIES names a directory; each process that loads this keeps a file there, named by its pid, whose first
 * eight bytes are the bytes copied so far in pieces of COUNTED bytes and more (smaller ones are headers and keys, and the
 * compiler writes many of those itself). Nothing else of the program changes: budget.py reads the files from outside.
 *
 * Invariant: these functions call nothing that could copy. They are built without builtins, so that the compiler does not
 * make calls of themselves out of their loops.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define COUNTED 256

static uint64_t nowhere;
static uint64_t *copied = &nowhere;

#if defined(__x86_64__)
static void forward(void *to, const void *from, size_t len)
{
	__asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(len) : : "memory");
}
#else
static void forward(void *to, const void *from, size_t len)
{
	volatile uint8_t *out = to;
	const uint8_t *in = from;

	for (size_t i = 0; i < len; i++) {
		out[i] = in[i];
	}
}
#endif

static void count(size_t len)
{
	if (len >= COUNTED) {
		(void)__atomic_fetch_add(copied, len, __ATOMIC_RELAXED);
	}
}

__attribute__((visibility("default"))) void *memcpy(
	void *restrict to, const void *restrict from, size_t len)
{
	count(len);
	forward(to, from, len);
	return to;
}

__attribute__((visibility("default"))) void *memmove(void *to, const void *from, size_t len)
{
	volatile uint8_t *out = to;
	const uint8_t *in = from;

	count(len);
	if ((uintptr_t)to - (uintptr_t)from >= len) {
		forward(to, from, len);
		return to;
	}
	for (size_t i = len; i > 0; i--) {
		out[i - 1] = in[i - 1];
	}
	return to;
}

/* A fork without exec goes on counting into its parent's file. */
__attribute__((constructor)) static void copies_start(void)
{
	const char *dir = getenv("NACRE_BENCH_COPIES");
	char path[512];
	void *area;
	int fd;

	if (dir == NULL) {
		return;
	}
	(void)snprintf(path, sizeof(path), "%s/%d", dir, (int)getpid());
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0) {
		return;
	}
	if (ftruncate(fd, sizeof(uint64_t)) == 0) {
		area = mmap(NULL, sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (area != MAP_FAILED) {
			copied = area;
		}
	}
	(void)close(fd);
}
