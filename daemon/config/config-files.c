/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "config/config-files.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define MAIN_FILE AVIOMMU_CONFIG_ETC "/aviommud.conf"

/* By rank. What systemd makes for the daemon in /run is the daemon's own, so this is another. */
static const char *const folders[] = {
        AVIOMMU_CONFIG_ETC "/aviommud.conf.d",
        "/run/aviommud/aviommud.conf.d",
        "/usr/local/lib/aviommu/aviommud.conf.d",
        "/usr/lib/aviommu/aviommud.conf.d",
};

static void closedirp(DIR **d) {
        if (*d)
                (void)closedir(*d);
}

void config_files_done(ConfigFiles *files) {
        for (size_t i = 0; i < files->n_paths; i++)
                free(files->paths[i]);
        free(files->paths);
        *files = (ConfigFiles){};
}

static const char *name_of(const char *path) {
        return strrchr(path, '/') + 1;
}

/* Takes *path. */
static int add(ConfigFiles *files, char **path) {
        char **grown = reallocarray(files->paths, files->n_paths + 1, sizeof(char *));

        if (!grown)
                return -ENOMEM;
        files->paths = grown;
        grown[files->n_paths++] = TAKE_PTR(*path);
        return 0;
}

static bool is_known(const ConfigFiles *files, const char *name) {
        for (size_t i = 0; i < files->n_paths; i++)
                if (streq(name_of(files->paths[i]), name))
                        return true;
        return false;
}

static bool is_drop_in(const char *name) {
        size_t n = strlen(name), suffix = strlen(".conf");

        return name[0] != '.' && n > suffix && streq(name + n - suffix, ".conf");
}

/* Adds the drop-ins of one folder. Returns 0, -ENOMEM, or what reading the folder gave; one that is not there has none. */
static int add_folder(ConfigFiles *files, const char *folder) {
        _cleanup_(closedirp) DIR *d = opendir(folder);
        const struct dirent *e;

        if (!d)
                return errno == ENOENT ? 0 : negative_errno();
        for (;;) {
                _cleanup_free_ char *path = NULL;
                int r;

                errno = 0;
                e = readdir(d);
                if (!e)
                        return -errno;
                if (!is_drop_in(e->d_name) || is_known(files, e->d_name))
                        continue;
                if (asprintf(&path, "%s/%s", folder, e->d_name) < 0) {
                        path = NULL;
                        return -ENOMEM;
                }
                r = add(files, &path);
                if (r < 0)
                        return r;
        }
}

static int compare(const void *a, const void *b) {
        return strcmp(name_of(*(char *const *)a), name_of(*(char *const *)b));
}

int config_files_find(const char *root, ConfigFiles *ret, char **ret_path) {
        _cleanup_(config_files_done) ConfigFiles all = {}, found = {};
        _cleanup_free_ char *main_file = NULL;
        const char *prefix = streq(root, "/") ? "" : root;
        int r = 0;

        for (size_t i = 0; i < ELEMENTSOF(folders) && r >= 0; i++) {
                _cleanup_free_ char *folder = NULL;

                if (asprintf(&folder, "%s%s", prefix, folders[i]) < 0) {
                        folder = NULL;
                        return -ENOMEM;
                }
                r = add_folder(&found, folder);
                if (r < 0 && r != -ENOMEM)
                        *ret_path = TAKE_PTR(folder);
        }
        if (r < 0)
                return r;
        if (found.n_paths > 0)
                qsort(found.paths, found.n_paths, sizeof(char *), compare);

        if (asprintf(&main_file, "%s%s", prefix, MAIN_FILE) < 0) {
                main_file = NULL;
                return -ENOMEM;
        }
        if (access(main_file, F_OK) == 0 || errno != ENOENT)
                r = add(&all, &main_file);
        for (size_t i = 0; i < found.n_paths && r >= 0; i++)
                r = add(&all, found.paths + i);
        if (r < 0)
                return r;

        *ret = all;
        all = (ConfigFiles){};
        return 0;
}
