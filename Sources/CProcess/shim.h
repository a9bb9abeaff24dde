/* What Swift cannot name: the list of environment variables, which C declares as a changeable global, what glibc's allocator
 * can be told, and how a program that is begun has no file of ours. The Process room is the only importer. */
#pragma once
#include <malloc.h>
#include <spawn.h>

int posix_spawn_file_actions_addclosefrom_np(posix_spawn_file_actions_t *, int);
static inline void martlet_close_from(posix_spawn_file_actions_t *actions, int first) {
    (void)posix_spawn_file_actions_addclosefrom_np(actions, first);
}

static inline void martlet_heap_return_large_blocks(int bytes) { (void)mallopt(M_MMAP_THRESHOLD, bytes); }
static inline void martlet_heap_trim(void) { (void)malloc_trim(0); }

extern char **environ;
static inline char *const *martlet_environment(void) { return environ; }
