/* What Swift cannot name: the machine instruction for CRC32C of eight bytes. The Files room is the only importer. The loop
 * is here too, because a function for a better processor cannot become part of one for any processor. */
#pragma once
#include <stdint.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#if defined(__x86_64__)

static inline bool martlet_has_crc32c(void) { return __builtin_cpu_supports("sse4.2"); }

__attribute__((target("sse4.2")))
static inline uint32_t martlet_crc32c(uint32_t crc, const void *bytes, size_t count) {
    uint64_t value = crc;
    const unsigned char *next = (const unsigned char *)bytes;
    for (; count >= 8; count -= 8, next += 8) {
        uint64_t word;
        memcpy(&word, next, 8);
        value = __builtin_ia32_crc32di(value, word);
    }
    for (; count > 0; count--) value = __builtin_ia32_crc32qi((uint32_t)value, *next++);
    return (uint32_t)value;
}

#elif defined(__aarch64__)

#include <sys/auxv.h>

static inline bool martlet_has_crc32c(void) { return (getauxval(AT_HWCAP) & (1 << 7)) != 0; }

__attribute__((target("crc")))
static inline uint32_t martlet_crc32c(uint32_t crc, const void *bytes, size_t count) {
    const unsigned char *next = (const unsigned char *)bytes;
    for (; count >= 8; count -= 8, next += 8) {
        uint64_t word;
        memcpy(&word, next, 8);
        crc = __builtin_arm_crc32cd(crc, word);
    }
    for (; count > 0; count--) crc = __builtin_arm_crc32cb(crc, *next++);
    return crc;
}

#else

static inline bool martlet_has_crc32c(void) { return false; }
static inline uint32_t martlet_crc32c(uint32_t crc, const void *bytes, size_t count) {
    (void)bytes; (void)count; return crc;
}

#endif
