/*
 * What the files of src/base share among themselves only.
 */
#ifndef NACRE_BASE_BASE_INT_H
#define NACRE_BASE_BASE_INT_H

#include "base/base.h"

/* Writes raw bytes to the log file if one is open, and to stderr. No lock, no heap; errors are
 * ignored. For the last words of a process. Thread-safe. */
void log_fd_write(const char *text, size_t size);

/* alloc_scope.c. The scope that new blocks belong to; NULL outside of the simulator. */
struct mem_scope;
extern struct mem_scope *mem_scope_current;
/* Writes down that a block (NULL is ignored) belongs to the current scope. */
void mem_scope_note(void *ptr);
/* Forgets a block; returns the scope it belonged to or NULL. */
struct mem_scope *mem_scope_forget(void *ptr);
/* True while any block belongs to a scope. */
extern size_t mem_scope_used;

#endif
