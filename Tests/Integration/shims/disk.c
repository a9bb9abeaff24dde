/* disk.c — preloaded into the relay by the crash tests: records what happens to the spool, and fails it on command.
 *
 * Everything below SHIM_DIR is watched. With SHIM_LOG every write, sync and change of a name is
 * appended to that file in the order in which it took effect, so that a test can build the disk as a power cut would
 * have left it. With SHIM_FLAG that file is read before each call; a line `CALL=ERRNO` in it (call: write, sync,
 * open; error: EIO, ENOSPC, EMFILE) makes the call fail. With SHIM_NEUTER=1 a sync does nothing and says it did:
 * the control run.
 *
 * Record: struct entry, then `name_length` bytes of path (two paths with a NUL between for a rename or link), then
 * `length` bytes of data for a write.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct entry {
    uint32_t magic; /* 0x4d41524b */
    uint8_t kind;   /* C create, W write, S sync, T size, R rename, L link, U unlink, M mkdir, D rmdir, P punch */
    uint8_t flag;   /* S: 1 data directory; W: 1 written through (O_DSYNC) */
    uint16_t name_length;
    int32_t error; /* 0, or the errno that the caller got */
    uint32_t pad;
    uint64_t inode;
    uint64_t offset; /* W: file offset; S: length of the log when the sync began; T: new size */
    uint64_t length; /* W: bytes that follow */
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char directory[PATH_MAX];
static size_t directory_length;
static const char *flag_path;
static int log_fd = -1, neutered;
static uint64_t log_length;

static int raw_open(const char *path, int flags, mode_t mode) {
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

__attribute__((constructor)) static void start(void) {
    const char *d = getenv("SHIM_DIR"), *l = getenv("SHIM_LOG");
    flag_path = getenv("SHIM_FLAG");
    neutered = getenv("SHIM_NEUTER") != NULL;
    if (d && realpath(d, directory)) directory_length = strlen(directory);
    if (l && directory_length) log_fd = raw_open(l, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* The absolute path that (dirfd, path) means, if it is watched. The parent is resolved, the last part is not. */
static int watched_path(int dirfd, const char *path, char *out) {
    if (!directory_length || !path) return 0;
    char base[PATH_MAX], whole[PATH_MAX * 2];
    if (path[0] == '/') {
        snprintf(whole, sizeof whole, "%s", path);
    } else {
        if (dirfd == AT_FDCWD) {
            if (!getcwd(base, sizeof base)) return 0;
        } else {
            char link[64];
            snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
            ssize_t n = readlink(link, base, sizeof base - 1);
            if (n <= 0) return 0;
            base[n] = 0;
        }
        snprintf(whole, sizeof whole, "%s/%s", base, path);
    }
    size_t n = strlen(whole);
    while (n > 1 && whole[n - 1] == '/') whole[--n] = 0;
    char *slash = strrchr(whole, '/');
    if (!slash) return 0;
    char name[NAME_MAX + 1];
    if (strlen(slash + 1) > NAME_MAX) return 0;
    strcpy(name, slash + 1);
    *slash = 0;
    char parent[PATH_MAX];
    if (!realpath(whole[0] ? whole : "/", parent)) return 0;
    if (snprintf(out, PATH_MAX, "%s/%s", parent, name) >= PATH_MAX) return 0;
    return strncmp(out, directory, directory_length) == 0 && (out[directory_length] == '/' || !out[directory_length]);
}

static int watched_fd(int fd, char *out) {
    if (!directory_length) return 0;
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, out, PATH_MAX - 1);
    if (n <= 0) return 0;
    out[n] = 0;
    return strncmp(out, directory, directory_length) == 0 && (out[directory_length] == '/' || !out[directory_length]);
}

static int commanded(const char *call) {
    if (!flag_path) return 0;
    int fd = raw_open(flag_path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) return 0;
    char text[256], key[32];
    ssize_t n = syscall(SYS_read, fd, text, sizeof text - 1);
    syscall(SYS_close, fd);
    if (n <= 0) return 0;
    text[n] = 0;
    snprintf(key, sizeof key, "%s=", call);
    char *at = strstr(text, key);
    if (!at) return 0;
    at += strlen(key);
    if (!strncmp(at, "ENOSPC", 6)) return ENOSPC;
    if (!strncmp(at, "EMFILE", 6)) return EMFILE;
    return EIO;
}

/* Call with the mutex held. */
static void put(struct entry e, const char *name, size_t name_length, const struct iovec *iov, int count) {
    if (log_fd < 0) return;
    e.magic = 0x4d41524b;
    e.name_length = (uint16_t)name_length;
    struct iovec parts[2 + 1024];
    parts[0] = (struct iovec){&e, sizeof e};
    parts[1] = (struct iovec){(void *)name, name_length};
    int used = 2;
    uint64_t left = e.kind == 'W' ? e.length : 0, total = sizeof e + name_length + left;
    for (int i = 0; i < count && left && used < 1026; i++) {
        size_t take = iov[i].iov_len < left ? iov[i].iov_len : left;
        if (!take) continue;
        parts[used++] = (struct iovec){iov[i].iov_base, take};
        left -= take;
    }
    int at = 0;
    while (at < used) {
        int batch = used - at > 1000 ? 1000 : used - at;
        ssize_t n = syscall(SYS_writev, log_fd, parts + at, batch);
        if (n < 0) {
            if (errno == EINTR) continue;
            abort();
        }
        while (at < used && (size_t)n >= parts[at].iov_len) n -= (ssize_t)parts[at++].iov_len;
        if (at < used) {
            parts[at].iov_base = (char *)parts[at].iov_base + n;
            parts[at].iov_len -= (size_t)n;
        }
    }
    log_length += total;
}

static uint64_t inode_of(int fd) {
    struct stat s;
    return fstat(fd, &s) == 0 ? (uint64_t)s.st_ino : 0;
}

#define REAL(name) ((__typeof__(&name))real_##name())
#define FIND(name)                                        \
    static void *real_##name(void) {                      \
        static void *found;                               \
        if (!found) found = dlsym(RTLD_NEXT, #name);      \
        return found;                                     \
    }

/* ---- names ---- */

static int open_at(int dirfd, const char *path, int flags, mode_t mode) {
    char whole[PATH_MAX];
    if (!watched_path(dirfd, path, whole)) return (int)syscall(SYS_openat, dirfd, path, flags, mode);
    int refused = flags & (O_CREAT | O_TRUNC) ? commanded("open") : 0;
    if (refused) return errno = refused, -1;
    pthread_mutex_lock(&mutex);
    struct stat before;
    int existed = lstat(whole, &before) == 0;
    int fd = (int)syscall(SYS_openat, dirfd, path, flags, mode), error = errno;
    if (fd >= 0 && (flags & O_CREAT) && !existed)
        put((struct entry){.kind = 'C', .inode = inode_of(fd)}, whole, strlen(whole), NULL, 0);
    if (fd >= 0 && (flags & O_TRUNC) && existed) put((struct entry){.kind = 'T', .inode = inode_of(fd)}, "", 0, NULL, 0);
    pthread_mutex_unlock(&mutex);
    errno = error;
    return fd;
}

static mode_t mode_of(int flags, va_list list) { return flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0; }

#define OPEN(name, extra)                                         \
    int name(const char *path, int flags, ...) {                  \
        va_list list;                                             \
        va_start(list, flags);                                    \
        mode_t mode = mode_of(flags, list);                       \
        va_end(list);                                             \
        return open_at(AT_FDCWD, path, flags extra, mode);        \
    }
#define OPENAT(name, extra)                                       \
    int name(int dirfd, const char *path, int flags, ...) {       \
        va_list list;                                             \
        va_start(list, flags);                                    \
        mode_t mode = mode_of(flags, list);                       \
        va_end(list);                                             \
        return open_at(dirfd, path, flags extra, mode);           \
    }
OPEN(open, )
OPEN(open64, | O_LARGEFILE)
OPENAT(openat, )
OPENAT(openat64, | O_LARGEFILE)
int creat(const char *path, mode_t mode) { return open_at(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }

static int two_names(char kind, int olddir, const char *old, int newdir, const char *new, int flags) {
    char both[PATH_MAX * 2], a[PATH_MAX], b[PATH_MAX];
    int mine = watched_path(newdir, new, b);
    if (mine && !watched_path(olddir, old, a)) snprintf(a, sizeof a, "%s", old);
    int refused = mine ? commanded("open") : 0;
    if (refused) return errno = refused, -1;
    pthread_mutex_lock(&mutex);
    struct stat s = {0};
    if (mine) lstat(a, &s);
    int result = kind == 'R' ? (int)syscall(SYS_renameat2, olddir, old, newdir, new, flags)
                             : (int)syscall(SYS_linkat, olddir, old, newdir, new, flags);
    int error = errno;
    if (mine && result == 0) {
        size_t la = strlen(a), lb = strlen(b);
        memcpy(both, a, la + 1);
        memcpy(both + la + 1, b, lb);
        put((struct entry){.kind = (uint8_t)kind, .inode = s.st_ino}, both, la + 1 + lb, NULL, 0);
    }
    pthread_mutex_unlock(&mutex);
    errno = error;
    return result;
}
int rename(const char *a, const char *b) { return two_names('R', AT_FDCWD, a, AT_FDCWD, b, 0); }
int renameat(int x, const char *a, int y, const char *b) { return two_names('R', x, a, y, b, 0); }
int renameat2(int x, const char *a, int y, const char *b, unsigned f) { return two_names('R', x, a, y, b, (int)f); }
int link(const char *a, const char *b) { return two_names('L', AT_FDCWD, a, AT_FDCWD, b, 0); }
int linkat(int x, const char *a, int y, const char *b, int f) { return two_names('L', x, a, y, b, f); }

static int remove_name(int dirfd, const char *path, int flags) {
    char whole[PATH_MAX];
    int mine = watched_path(dirfd, path, whole);
    pthread_mutex_lock(&mutex);
    int result = (int)syscall(SYS_unlinkat, dirfd, path, flags), error = errno;
    if (mine && result == 0)
        put((struct entry){.kind = flags & AT_REMOVEDIR ? 'D' : 'U'}, whole, strlen(whole), NULL, 0);
    pthread_mutex_unlock(&mutex);
    errno = error;
    return result;
}
int unlink(const char *path) { return remove_name(AT_FDCWD, path, 0); }
int unlinkat(int dirfd, const char *path, int flags) { return remove_name(dirfd, path, flags); }
int rmdir(const char *path) { return remove_name(AT_FDCWD, path, AT_REMOVEDIR); }

int mkdirat(int dirfd, const char *path, mode_t mode) {
    char whole[PATH_MAX];
    int mine = watched_path(dirfd, path, whole);
    pthread_mutex_lock(&mutex);
    int result = (int)syscall(SYS_mkdirat, dirfd, path, mode), error = errno;
    if (mine && result == 0) put((struct entry){.kind = 'M'}, whole, strlen(whole), NULL, 0);
    pthread_mutex_unlock(&mutex);
    errno = error;
    return result;
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

/* ---- bytes ---- */

static ssize_t write_out(long call, int fd, const struct iovec *iov, int count, off_t offset, int flags) {
    char path[PATH_MAX];
    int mine = watched_fd(fd, path);
    int refused = mine ? commanded("write") : 0;
    if (refused) return errno = refused, -1;
    if (mine) pthread_mutex_lock(&mutex);
    ssize_t n;
    if (call == SYS_writev) n = syscall(SYS_writev, fd, iov, count);
    else n = syscall(SYS_pwritev2, fd, iov, count, (unsigned long)offset, 0UL, flags);
    int error = errno;
    if (mine) {
        if (n > 0) {
            if (call == SYS_writev) offset = lseek(fd, 0, SEEK_CUR) - n;
            int through = fcntl(fd, F_GETFL) & O_DSYNC || flags & 0x6;
            put((struct entry){.kind = 'W',
                               .flag = (uint8_t)(through ? 1 : 0),
                               .inode = inode_of(fd),
                               .offset = (uint64_t)offset,
                               .length = (uint64_t)n},
                "", 0, iov, count);
        }
        pthread_mutex_unlock(&mutex);
    }
    errno = error;
    return n;
}
FIND(write)
ssize_t write(int fd, const void *bytes, size_t count) {
    char path[PATH_MAX];
    if (!watched_fd(fd, path)) return REAL(write)(fd, bytes, count);
    struct iovec one = {(void *)bytes, count};
    return write_out(SYS_writev, fd, &one, 1, 0, 0);
}
FIND(writev)
ssize_t writev(int fd, const struct iovec *iov, int count) {
    char path[PATH_MAX];
    if (!watched_fd(fd, path)) return REAL(writev)(fd, iov, count);
    return write_out(SYS_writev, fd, iov, count, 0, 0);
}
ssize_t pwritev(int fd, const struct iovec *iov, int count, off_t offset) {
    return write_out(SYS_pwritev2, fd, iov, count, offset, 0);
}
ssize_t pwritev64(int fd, const struct iovec *iov, int count, off64_t offset) {
    return write_out(SYS_pwritev2, fd, iov, count, offset, 0);
}
ssize_t pwritev2(int fd, const struct iovec *iov, int count, off_t offset, int flags) {
    return write_out(offset == -1 ? SYS_writev : SYS_pwritev2, fd, iov, count, offset, flags);
}
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
    struct iovec one = {(void *)bytes, count};
    return write_out(SYS_pwritev2, fd, &one, 1, offset, 0);
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset) { return pwrite(fd, bytes, count, offset); }

static int sized(int fd, uint64_t size, int result) {
    int error = errno;
    char path[PATH_MAX];
    if (result == 0 && watched_fd(fd, path)) {
        pthread_mutex_lock(&mutex);
        put((struct entry){.kind = 'T', .inode = inode_of(fd), .offset = size}, "", 0, NULL, 0);
        pthread_mutex_unlock(&mutex);
    }
    errno = error;
    return result;
}
int ftruncate(int fd, off_t size) { return sized(fd, (uint64_t)size, (int)syscall(SYS_ftruncate, fd, size)); }
int ftruncate64(int fd, off64_t size) { return ftruncate(fd, size); }

static int allocate(int fd, int mode, off_t offset, off_t length) {
    char path[PATH_MAX];
    if (watched_fd(fd, path)) {
        int refused = commanded("write");
        if (refused) return errno = refused, -1;
    }
    int result = (int)syscall(SYS_fallocate, fd, mode, offset, length);
    struct stat s;
    if (mode & 2 && result == 0 && watched_fd(fd, path)) { /* FALLOC_FL_PUNCH_HOLE */
        pthread_mutex_lock(&mutex);
        put((struct entry){.kind = 'P', .inode = inode_of(fd), .offset = (uint64_t)offset, .length = (uint64_t)length}, "", 0,
            NULL, 0);
        pthread_mutex_unlock(&mutex);
        return result;
    }
    return fstat(fd, &s) == 0 ? sized(fd, (uint64_t)s.st_size, result) : result;
}
int fallocate(int fd, int mode, off_t offset, off_t length) { return allocate(fd, mode, offset, length); }
int fallocate64(int fd, int mode, off64_t offset, off64_t length) { return allocate(fd, mode, offset, length); }
int posix_fallocate(int fd, off_t offset, off_t length) { return allocate(fd, 0, offset, length) == 0 ? 0 : errno; }
int posix_fallocate64(int fd, off64_t offset, off64_t length) { return posix_fallocate(fd, offset, length); }

static int sync_out(long call, int fd) {
    char path[PATH_MAX];
    if (!watched_fd(fd, path)) return (int)syscall(call, fd);
    if (neutered) return 0;
    struct stat s = {0};
    fstat(fd, &s);
    pthread_mutex_lock(&mutex);
    uint64_t began = log_length;
    pthread_mutex_unlock(&mutex);
    int refused = commanded("sync");
    int result = refused ? -1 : (int)syscall(call, fd), error = refused ? refused : errno;
    pthread_mutex_lock(&mutex);
    put((struct entry){.kind = 'S',
                       .flag = S_ISDIR(s.st_mode) ? 1 : 0,
                       .error = result ? error : 0,
                       .inode = s.st_ino,
                       .offset = began},
        path, strlen(path), NULL, 0);
    pthread_mutex_unlock(&mutex);
    errno = error;
    return result;
}
int fdatasync(int fd) { return sync_out(SYS_fdatasync, fd); }
int fsync(int fd) { return sync_out(SYS_fsync, fd); }
