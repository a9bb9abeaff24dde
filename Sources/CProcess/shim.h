/* What Swift cannot name: the list of environment variables, which C declares as a changeable global, what glibc's allocator
 * can be told, and how a program that is begun has no file of ours. The Process room is the only importer. */
#pragma once
#include <malloc.h>

/* By its symbol: <spawn.h> would define types of the C library a second time. The first is a posix_spawn_file_actions_t. */
extern int martlet_add_close_from(void *actions, int first) __asm__("posix_spawn_file_actions_addclosefrom_np");
static inline void martlet_close_from(void *actions, int first) { (void)martlet_add_close_from(actions, first); }

static inline void martlet_heap_return_large_blocks(int bytes) { (void)mallopt(M_MMAP_THRESHOLD, bytes); }
static inline void martlet_heap_trim(void) { (void)malloc_trim(0); }

extern char **environ;
static inline char *const *martlet_environment(void) { return environ; }
