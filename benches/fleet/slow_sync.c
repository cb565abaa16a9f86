/* Preloaded: each fdatasync takes as much longer as SYNC_MS says, in milliseconds. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <unistd.h>

int fdatasync(int file)
{
    int (*sync)(int) = (int (*)(int)) dlsym(RTLD_NEXT, "fdatasync");
    const char *longer = getenv("SYNC_MS");
    usleep((longer ? atoi(longer) : 0) * 1000);
    return sync(file);
}
