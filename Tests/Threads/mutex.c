/* mutex.c - tells ThreadSanitizer about the slow paths of Swift's Mutex.
 *
 * The fast path of `Mutex` is inlined, so ThreadSanitizer sees its atomics. Who must wait goes through the three functions
 * below in libswiftSynchronization.so, which no sanitizer has seen: every mutex that was ever waited for looked like none.
 * Preloaded in front of that library, this passes the calls on and reports the same edges that the fast path has. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>

#define SWIFT __attribute__((swiftcall))
#define SELF __attribute__((swift_context)) void *handle
#define LOCK "$s15Synchronization12_MutexHandleV9_lockSlowyys6UInt32VF"
#define UNLOCK "$s15Synchronization12_MutexHandleV11_unlockSlowyyF"
#define TRY "$s15Synchronization12_MutexHandleV12_tryLockSlowSbyF"

/* The sanitizer's runtime is part of the test bundle; a process without it needs no reports. */
__attribute__((weak)) void __tsan_acquire(void *address);
__attribute__((weak)) void __tsan_release(void *address);

SWIFT void martlet_lock(uint32_t thread, SELF) __asm__(LOCK);
SWIFT void martlet_unlock(SELF) __asm__(UNLOCK);
SWIFT bool martlet_try(SELF) __asm__(TRY);

typedef void SWIFT (*lock_function)(uint32_t thread, SELF);
typedef void SWIFT (*unlock_function)(SELF);
typedef bool SWIFT (*try_function)(SELF);

static lock_function lock_slow;
static unlock_function unlock_slow;
static try_function try_slow;

static void *next(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    /* With a bundle that was opened later, the library is not behind this one in the order of search. */
    if (!found) {
        void *library = dlopen("libswiftSynchronization.so", RTLD_LAZY | RTLD_NOLOAD);
        if (library) found = dlsym(library, name);
    }
    if (!found) __builtin_trap();
    return found;
}

SWIFT void martlet_lock(uint32_t thread, SELF) {
    if (!lock_slow) lock_slow = (lock_function)next(LOCK);
    lock_slow(thread, handle);
    if (__tsan_acquire) __tsan_acquire(handle);
}

SWIFT void martlet_unlock(SELF) {
    if (!unlock_slow) unlock_slow = (unlock_function)next(UNLOCK);
    if (__tsan_release) __tsan_release(handle);
    unlock_slow(handle);
}

SWIFT bool martlet_try(SELF) {
    if (!try_slow) try_slow = (try_function)next(TRY);
    bool taken = try_slow(handle);
    if (taken && __tsan_acquire) __tsan_acquire(handle);
    return taken;
}
