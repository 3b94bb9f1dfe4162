/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Gives each file of the folders named to a fuzz harness once: the corpus as a test, for compilers without libFuzzer. */

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/macro.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define FILE_MAX ((size_t)1 << 20)

static int run_file(const char *path, size_t *n_run) {
        uint8_t *data = malloc(FILE_MAX);
        FILE *f = fopen(path, "re");
        struct stat st;
        size_t n;

        if (!data || !f || fstat(fileno(f), &st) < 0) {
                (void)fprintf(stderr, "%s: %s\n", path, strerror(errno));
                free(data);
                return -1;
        }
        if (S_ISREG(st.st_mode)) {
                n = fread(data, 1, FILE_MAX, f);
                (void)LLVMFuzzerTestOneInput(data, n);
                (*n_run)++;
        }
        (void)fclose(f);
        free(data);
        return 0;
}

int main(int argc, char **argv) {
        size_t n_run = 0;

        for (int i = 1; i < argc; i++) {
                DIR *d = opendir(argv[i]);

                if (!d) {
                        (void)fprintf(stderr, "%s: %s\n", argv[i], strerror(errno));
                        return 1;
                }
                for (struct dirent *e; (e = readdir(d));) {
                        char path[4096];

                        (void)snprintf(path, sizeof(path), "%s/%s", argv[i], e->d_name);
                        if (e->d_name[0] != '.' && run_file(path, &n_run) < 0)
                                return 1;
                }
                (void)closedir(d);
        }

        (void)printf("%zu inputs\n", n_run);
        return n_run > 0 ? 0 : 1;
}
