/* Fails system calls on files whose path holds a word, as a dying disk does; loaded by LD_PRELOAD.
 * DISK_CALL: fsync or write; DISK_PATH: the word; DISK_FIRST, DISK_LAST: which of them fail, from 1;
 * DISK_ERRNO: with what. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int counted;

static int fails(const char *call, int fd)
{
    char link[64], path[PATH_MAX];
    const char *wanted = getenv("DISK_CALL"), *word = getenv("DISK_PATH");
    ssize_t length;

    if (wanted == NULL || word == NULL || strcmp(wanted, call) != 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    if (strstr(path, word) == NULL)
        return 0;
    int number = __sync_add_and_fetch(&counted, 1);
    if (number < atoi(getenv("DISK_FIRST")) || number > atoi(getenv("DISK_LAST")))
        return 0;
    errno = atoi(getenv("DISK_ERRNO"));
    return 1;
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

int fsync(int fd)
{
    return fails("fsync", fd) ? -1 : NEXT(fsync)(fd);
}

ssize_t write(int fd, const void *data, size_t size)
{
    return fails("write", fd) ? -1 : NEXT(write)(fd, data, size);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset)
{
    return fails("write", fd) ? -1 : NEXT(pwritev)(fd, parts, count, offset);
}

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset)
{
    return fails("write", fd) ? -1 : NEXT(pwritev64)(fd, parts, count, offset);
}

ssize_t pwritev2(int fd, const struct iovec *parts, int count, off_t offset, int flags)
{
    return fails("write", fd) ? -1 : NEXT(pwritev2)(fd, parts, count, offset, flags);
}

ssize_t pwritev64v2(int fd, const struct iovec *parts, int count, off64_t offset, int flags)
{
    return fails("write", fd) ? -1 : NEXT(pwritev64v2)(fd, parts, count, offset, flags);
}
