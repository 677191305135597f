/* Sleeps as the kernel has it. libfaketime's own refuses a time of the clock that counts from the
   start (EINVAL) where it was told to leave that clock alone; Python's time.sleep asks for one. */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *until,
                    struct timespec *left) {
  return syscall(SYS_clock_nanosleep, clock, flags, until, left) ? errno : 0;
}
