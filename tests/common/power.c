// Notes what a process syncs: of a file its bytes, of a directory the names in it, each under
// `<device>-<number>` in the directory that DURABLE names. Nothing is synced for that.
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

static void must(int holds, const char *what) {
    if (holds) return;
    perror(what);
    abort();
}

static void copy(int from, FILE *into) {
    static char piece[1 << 16];
    ssize_t length;
    while ((length = read(from, piece, sizeof piece)) > 0)
        must(fwrite(piece, 1, length, into) == (size_t)length, "note bytes");
    must(length == 0, "read what is synced");
}

static void list(int from, dev_t device, FILE *into) {
    DIR *dir = fdopendir(dup(from));
    must(dir != NULL, "list what is synced");
    struct dirent *entry;
    while ((entry = readdir(dir))) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
        char kind = entry->d_type == DT_DIR ? 'd' : 'f';
        fprintf(into, "%c %lx-%lx %s\n", kind, (long)device, (long)entry->d_ino, entry->d_name);
    }
    closedir(dir);
}

static int note(int file) {
    struct stat of;
    if (fstat(file, &of)) return -1;
    char own[64], new[4096], path[4096];
    const char *durable = getenv("DURABLE");
    pthread_mutex_lock(&turn);
    // What is synced may be open for writing alone.
    snprintf(own, sizeof own, "/proc/self/fd/%d", file);
    snprintf(new, sizeof new, "%s/new", durable);
    snprintf(path, sizeof path, "%s/%lx-%lx", durable, (long)of.st_dev, (long)of.st_ino);
    int from = open(own, O_RDONLY | O_CLOEXEC);
    must(from >= 0, "open what is synced");
    FILE *into = fopen(new, "we");
    must(into != NULL, "note what is synced");
    if (S_ISDIR(of.st_mode)) list(from, of.st_dev, into);
    else copy(from, into);
    must(fclose(into) == 0, "note what is synced");
    close(from);
    must(rename(new, path) == 0, "note what is synced");
    pthread_mutex_unlock(&turn);
    return 0;
}

int fsync(int file) { return note(file); }
int fdatasync(int file) { return note(file); }
