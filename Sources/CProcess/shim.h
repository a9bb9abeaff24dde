/* What Swift cannot name: the list of environment variables, which C declares as a changeable global, and what glibc's
 * allocator can be told. The Process room is the only importer. */
#pragma once
#include <malloc.h>

static inline void martlet_heap_return_large_blocks(int bytes) { (void)mallopt(M_MMAP_THRESHOLD, bytes); }
static inline void martlet_heap_trim(void) { (void)malloc_trim(0); }

extern char **environ;
static inline char *const *martlet_environment(void) { return environ; }
