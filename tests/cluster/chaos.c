/* Lets a process believe in another time of day and in a slow disk; see tests/fix_chaos.py.
 *
 * Preloaded into a process, it maps the file that CHAOS names: two numbers of 64 bits, which the
 * test changes while the process runs. Without that file it ends the process at once, because a
 * test whose fault does nothing would pass.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct chaos {
    int64_t clock_seconds; /* how far the time of day is ahead */
    int64_t sync_millis;   /* how much longer each sync takes */
};

static const struct chaos none;
/* Other libraries may ask for the time before our constructor has run. */
static const volatile struct chaos *chaos = &none;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("CHAOS");
    int file = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    void *page = mmap(NULL, sizeof *chaos, PROT_READ, MAP_SHARED, file, 0);
    if (page == MAP_FAILED)
        abort();
    close(file);
    chaos = page;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int failed = (int)syscall(SYS_clock_gettime, clock, now);
    if (failed == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += chaos->clock_seconds;
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    int failed = (int)syscall(SYS_gettimeofday, now, zone);
    if (failed == 0)
        now->tv_sec += chaos->clock_seconds;
    return failed;
}

time_t time(time_t *into)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (into != NULL)
        *into = now.tv_sec;
    return now.tv_sec;
}

static void dawdle(void)
{
    struct timespec rest = {chaos->sync_millis / 1000, chaos->sync_millis % 1000 * 1000000};
    nanosleep(&rest, NULL);
}

int fsync(int file)
{
    dawdle();
    return (int)syscall(SYS_fsync, file);
}

int fdatasync(int file)
{
    dawdle();
    return (int)syscall(SYS_fdatasync, file);
}

int sync_file_range(int file, off64_t from, off64_t bytes, unsigned int flags)
{
    dawdle();
    return (int)syscall(SYS_sync_file_range, file, from, bytes, flags);
}
