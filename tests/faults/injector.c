/* Makes one operation on files fail: loaded with LD_PRELOAD, it stands between a process and the C library.

   Operations on paths below the given folders are counted, written to a log, and the one with the given number fails
   with the given error. With `lasting`, so does every later one that needs room on the disk; the write that fails first
   then writes half of its bytes, as a disk does that fills up. Python starts it with `injector_start`. */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#define MAX_ROOTS 8
#define MAX_FILES 4096

static char roots[MAX_ROOTS][PATH_MAX];
static int num_roots, active, lasting, error_number, log_file = -1;
static long failing = -1;
static atomic_long count;
static char *open_path[MAX_FILES]; /* of files that are open below a root */
static char is_written[MAX_FILES];

void injector_start(const char *folders, long number, int error, int last, int log) {
    char *copy = strdup(folders), *rest = copy, *folder;
    while (num_roots < MAX_ROOTS && (folder = strsep(&rest, ":"))) strcpy(roots[num_roots++], folder);
    free(copy);
    failing = number, error_number = error, lasting = last, log_file = log, active = 1;
}

static int is_below(const char *path) {
    for (int i = 0; i < num_roots; i++) {
        size_t length = strlen(roots[i]);
        if (!strncmp(path, roots[i], length) && (path[length] == '/' || !path[length])) return 1;
    }
    return 0;
}

/* Return the path of an operation if it is below a root, else NULL. */
static const char *watched(int folder, const char *path, char *buffer) {
    if (!active || !path) return NULL;
    if (path[0] != '/') {
        char link[64], base[PATH_MAX];
        ssize_t length;
        if (folder == AT_FDCWD) strcpy(link, "/proc/self/cwd");
        else snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        if ((length = syscall(SYS_readlinkat, AT_FDCWD, link, base, sizeof base - 1)) < 0) return NULL;
        base[length] = 0;
        snprintf(buffer, PATH_MAX, *path ? "%s/%s" : "%s", base, path);
        path = buffer;
    }
    return is_below(path) ? path : NULL;
}

/* Count an operation; return 1 if it fails. `needs_room`: a full disk refuses it. */
static int fails(const char *operation, const char *path, int needs_room) {
    long number = atomic_fetch_add(&count, 1);
    if (log_file >= 0) {
        char line[PATH_MAX + 64];
        int length = snprintf(line, sizeof line, "%s\t%s\n", operation, path);
        syscall(SYS_write, log_file, line, length);
    }
    if (failing < 0 || (number != failing && !(lasting && number > failing && needs_room))) return 0;
    errno = error_number;
    return 1;
}

static void note_open(int file, const char *path, int written) {
    if (file < 0 || file >= MAX_FILES) return;
    free(open_path[file]);
    open_path[file] = path ? strdup(path) : NULL;
    is_written[file] = written;
}

static const char *path_of(int file) { return active && file >= 0 && file < MAX_FILES ? open_path[file] : NULL; }

#define REAL(type, name, parameters)                                       \
    static type(*real) parameters;                                         \
    if (!real) real = (type(*) parameters)dlsym(RTLD_NEXT, #name)

/* Operations on a path, on a path relative to an open folder, and on an open file. */
#define ON_PATH(type, name, operation, room, parameters, arguments)        \
    type name parameters {                                                 \
        REAL(type, name, parameters);                                      \
        char buffer[PATH_MAX];                                             \
        const char *at = watched(AT_FDCWD, path, buffer);                  \
        return at && fails(operation, at, room) ? -1 : real arguments;     \
    }
#define ON_PATH_AT(type, name, operation, room, parameters, arguments)     \
    type name parameters {                                                 \
        REAL(type, name, parameters);                                      \
        char buffer[PATH_MAX];                                             \
        const char *at = watched(folder, path, buffer);                    \
        return at && fails(operation, at, room) ? -1 : real arguments;     \
    }
#define ON_FILE(type, name, operation, room, parameters, arguments)        \
    type name parameters {                                                 \
        REAL(type, name, parameters);                                      \
        const char *at = path_of(file);                                    \
        return at && fails(operation, at, room) ? -1 : real arguments;     \
    }

ON_PATH(int, stat, "stat", 0, (const char *path, struct stat *s), (path, s))
ON_PATH(int, stat64, "stat", 0, (const char *path, struct stat64 *s), (path, s))
ON_PATH(int, lstat, "stat", 0, (const char *path, struct stat *s), (path, s))
ON_PATH(int, lstat64, "stat", 0, (const char *path, struct stat64 *s), (path, s))
ON_PATH(int, __xstat, "stat", 0, (int v, const char *path, struct stat *s), (v, path, s))
ON_PATH(int, __xstat64, "stat", 0, (int v, const char *path, struct stat64 *s), (v, path, s))
ON_PATH(int, __lxstat, "stat", 0, (int v, const char *path, struct stat *s), (v, path, s))
ON_PATH(int, access, "stat", 0, (const char *path, int mode), (path, mode))
ON_PATH(int, unlink, "unlink", 0, (const char *path), (path))
ON_PATH(int, mkdir, "mkdir", 1, (const char *path, mode_t mode), (path, mode))
ON_PATH(int, rmdir, "rmdir", 0, (const char *path), (path))
ON_PATH(int, chmod, "chmod", 0, (const char *path, mode_t mode), (path, mode))
ON_PATH(int, truncate64, "truncate", 1, (const char *path, off64_t size), (path, size))
ON_PATH(ssize_t, readlink, "stat", 0, (const char *path, char *target, size_t size), (path, target, size))
ON_PATH_AT(int, fstatat, "stat", 0, (int folder, const char *path, struct stat *s, int f), (folder, path, s, f))
ON_PATH_AT(int, fstatat64, "stat", 0, (int folder, const char *path, struct stat64 *s, int f), (folder, path, s, f))
ON_PATH_AT(int, statx, "stat", 0, (int folder, const char *path, int f, unsigned m, struct statx *s),
           (folder, path, f, m, s))
ON_PATH_AT(int, unlinkat, "unlink", 0, (int folder, const char *path, int f), (folder, path, f))
ON_PATH_AT(int, mkdirat, "mkdir", 1, (int folder, const char *path, mode_t mode), (folder, path, mode))
ON_PATH_AT(int, utimensat, "utime", 0, (int folder, const char *path, const struct timespec t[2], int f),
           (folder, path, t, f))
ON_FILE(int, fstat, "stat", 0, (int file, struct stat *s), (file, s))
ON_FILE(int, fstat64, "stat", 0, (int file, struct stat64 *s), (file, s))
ON_FILE(int, __fxstat, "stat", 0, (int v, int file, struct stat *s), (v, file, s))
ON_FILE(int, __fxstat64, "stat", 0, (int v, int file, struct stat64 *s), (v, file, s))
ON_FILE(int, fsync, "fsync", 1, (int file), (file))
ON_FILE(int, fdatasync, "fsync", 1, (int file), (file))
ON_FILE(int, fchmod, "chmod", 0, (int file, mode_t mode), (file, mode))
ON_FILE(int, ftruncate, "truncate", 1, (int file, off_t size), (file, size))
ON_FILE(int, ftruncate64, "truncate", 1, (int file, off64_t size), (file, size))
ON_FILE(ssize_t, read, "read", 0, (int file, void *b, size_t n), (file, b, n))
ON_FILE(ssize_t, pread, "read", 0, (int file, void *b, size_t n, off_t at_byte), (file, b, n, at_byte))
ON_FILE(ssize_t, pread64, "read", 0, (int file, void *b, size_t n, off64_t at_byte), (file, b, n, at_byte))

/* The first write that fails on a full disk writes half, and the next one fails. */
#define WRITING(name, parameters, arguments)                               \
    ssize_t name parameters {                                              \
        REAL(ssize_t, name, parameters);                                   \
        const char *at = path_of(file);                                    \
        int is_first = atomic_load(&count) == failing;                     \
        if (at && fails("write", at, 1)) {                                 \
            if (!(lasting && is_first && n > 1)) return -1;                \
            n /= 2;                                                        \
        }                                                                  \
        return real arguments;                                             \
    }
WRITING(write, (int file, const void *b, size_t n), (file, b, n))
WRITING(pwrite, (int file, const void *b, size_t n, off_t at_byte), (file, b, n, at_byte))
WRITING(pwrite64, (int file, const void *b, size_t n, off64_t at_byte), (file, b, n, at_byte))

#define ON_TWO_PATHS(name, operation)                                      \
    int name(const char *from, const char *to) {                           \
        REAL(int, name, (const char *, const char *));                     \
        char buffer[PATH_MAX];                                             \
        const char *at = watched(AT_FDCWD, to, buffer);                    \
        return at && fails(operation, at, 1) ? -1 : real(from, to);        \
    }
ON_TWO_PATHS(rename, "rename")
ON_TWO_PATHS(link, "link")
ON_TWO_PATHS(symlink, "link")

#define ON_TWO_PATHS_AT(name, operation, parameters, arguments)            \
    int name parameters {                                                  \
        REAL(int, name, parameters);                                       \
        char buffer[PATH_MAX];                                             \
        const char *at = watched(folder, path, buffer);                    \
        return at && fails(operation, at, 1) ? -1 : real arguments;        \
    }
ON_TWO_PATHS_AT(renameat, "rename", (int f, const char *from, int folder, const char *path), (f, from, folder, path))
ON_TWO_PATHS_AT(linkat, "link", (int f, const char *from, int folder, const char *path, int flags),
                (f, from, folder, path, flags))

static int open_watched(int folder, const char *path, int flags, mode_t mode) {
    char buffer[PATH_MAX];
    const char *at = watched(folder, path, buffer);
    int writes = (flags & O_ACCMODE) != O_RDONLY, creates = (flags & O_CREAT) != 0;
    if (at && fails(creates ? "create" : "open", at, creates)) return -1;
    int file = syscall(SYS_openat, folder, path, flags, mode);
    note_open(file, at, writes);
    return file;
}

#define OPENING(name, parameters, folder, extra)                           \
    int name parameters {                                                  \
        mode_t mode = 0;                                                   \
        if (flags & (O_CREAT | __O_TMPFILE)) {                             \
            va_list rest;                                                  \
            va_start(rest, flags);                                         \
            mode = va_arg(rest, mode_t);                                   \
            va_end(rest);                                                  \
        }                                                                  \
        return open_watched(folder, path, flags | extra, mode);            \
    }
OPENING(open, (const char *path, int flags, ...), AT_FDCWD, 0)
OPENING(open64, (const char *path, int flags, ...), AT_FDCWD, 0)
OPENING(openat, (int folder, const char *path, int flags, ...), folder, 0)
OPENING(openat64, (int folder, const char *path, int flags, ...), folder, 0)

int close(int file) {
    REAL(int, close, (int));
    const char *at = path_of(file);
    int failed = at && is_written[file] && fails("close", at, 0); /* the file is closed all the same */
    int result = real(file);
    note_open(file, NULL, 0);
    if (failed) errno = error_number;
    return failed ? -1 : result;
}

#define MAPPING(name, offset)                                              \
    void *name(void *a, size_t n, int p, int f, int file, offset start) {  \
        REAL(void *, name, (void *, size_t, int, int, int, offset));       \
        const char *at = path_of(file);                                    \
        return at && fails("map", at, 0) ? MAP_FAILED : real(a, n, p, f, file, start); \
    }
MAPPING(mmap, off_t)
MAPPING(mmap64, off64_t)

DIR *opendir(const char *path) {
    REAL(DIR *, opendir, (const char *));
    char buffer[PATH_MAX];
    const char *at = watched(AT_FDCWD, path, buffer);
    if (at && fails("list", at, 0)) return NULL;
    DIR *folder = real(path);
    if (folder) note_open(dirfd(folder), at, 0);
    return folder;
}

DIR *fdopendir(int file) {
    REAL(DIR *, fdopendir, (int));
    char buffer[PATH_MAX];
    const char *at = watched(file, "", buffer);
    if (at && fails("list", at, 0)) return NULL;
    note_open(file, at, 0);
    return real(file);
}

struct dirent64 *readdir64(DIR *folder) {
    REAL(struct dirent64 *, readdir64, (DIR *));
    const char *at = path_of(dirfd(folder));
    return at && fails("list", at, 0) ? NULL : real(folder);
}

int closedir(DIR *folder) {
    REAL(int, closedir, (DIR *));
    note_open(dirfd(folder), NULL, 0);
    return real(folder);
}
