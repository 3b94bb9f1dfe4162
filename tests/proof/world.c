/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "proof/world.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd-util.h"
#include "base/log.h"
#include "proof/vmm.h"

#define PATIENCE_SEC 30

/* ---- the directory of records ---- */

static bool is_dots(const char *name) {
        return streq(name, ".") || streq(name, "..");
}

bool is_record_of_vms(const char *name) {
        return !is_dots(name) && strncmp(name, "level-", strlen("level-")) != 0;
}

/* What was set aside. */
static void remove_damaged(int dir) {
        int fd = openat(dir, "damaged", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = fd >= 0 ? fdopendir(fd) : NULL;

        for (struct dirent *e; d && (e = readdir(d));)
                (void)unlinkat(fd, e->d_name, 0);
        if (d)
                (void)closedir(d);
        (void)unlinkat(dir, "damaged", AT_REMOVEDIR);
}

/* Counts what is in it; the first name goes to @ret. */
static unsigned count_records(const World *w, char *ret, size_t size, bool remove) {
        DIR *d = opendir(w->records);
        struct dirent *e;
        unsigned n = 0;

        assert(d);
        while ((e = readdir(d))) {
                if (is_record_of_vms(e->d_name) && n++ == 0 && ret)
                        (void)snprintf(ret, size, "%s", e->d_name);
                if (remove && !is_dots(e->d_name))
                        (void)unlinkat(dirfd(d), e->d_name, 0);
        }
        if (remove)
                remove_damaged(dirfd(d));
        (void)closedir(d);
        return n;
}

/* ---- its life ---- */

static void count_child(World *w, void *userdata) {
        unsigned n = 0;

        (void)userdata;
        for (int fd = 0; fd < 1024; fd++)
                n += fcntl(fd, F_GETFD) >= 0;
        w->n_fds = w->shared->n_steps = n;
}

void world_init(World *w, const char *profile) {
        const char *dirs[] = { "/dev/shm", "/run", "/tmp" };
        Problem p = {};
        int state;

        *w = (World){};
        log_set_max_level(getenv("PROOF_LOG") ? LOG_DEBUG : LOG_EMERG);
        (void)close_range(3, SERVICE_MANAGER_FD_MIN - 1, 0); /* of whoever started the program */
        state = memfd_create("kernel", MFD_CLOEXEC);
        assert(state >= 0);
        w->state = service_manager_move_fd(state);
        if (sim_kernel_new(profile, w->state, &w->look, &p) < 0) {
                (void)fprintf(stderr, "%s\n", p.text);
                exit(EXIT_FAILURE);
        }
        for (size_t i = 0; i < ELEMENTSOF(dirs) && !w->records[0]; i++) {
                (void)snprintf(w->records, sizeof(w->records), "%s/aviommu-proof-XXXXXX", dirs[i]);
                if (!mkdtemp(w->records))
                        w->records[0] = '\0';
        }
        assert(w->records[0]);
        w->ram = service_manager_move_fd(memfd_create("ram", MFD_CLOEXEC));
        assert(ftruncate(w->ram, (off_t)(8 * RAM_BYTES)) == 0);
        w->shared = mmap(NULL, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                         -1, 0);
        assert(w->shared != MAP_FAILED);
        w->service = service_manager_start(SERVICE_MANAGER_FDS_MAX);

        world_begin(w);
        assert(world_run(w, count_child, NULL) == 0);
        w->n_fds = (unsigned)w->shared->n_steps;
        world_end(w);
}

void world_done(World *w) {
        w->service = service_manager_stop(w->service);
        (void)count_records(w, NULL, 0, true);
        (void)rmdir(w->records);
        (void)munmap(w->shared, sizeof(Shared));
        (void)fd_close(w->ram);
        kernel_free(w->look);
        (void)fd_close(w->state);
}

/* So that each life begins alike: what was probed in the one before is not known. */
static void forget_levels(const World *w) {
        DIR *d = opendir(w->records);

        assert(d);
        for (struct dirent *e; (e = readdir(d));)
                if (strncmp(e->d_name, "level-", strlen("level-")) == 0)
                        (void)unlinkat(dirfd(d), e->d_name, 0);
        (void)closedir(d);
}

void world_begin(World *w) {
        forget_levels(w);
        w->shared->stage = false;
        w->shared->token[0] = '\0';
        w->shared->failure[0] = '\0';
        for (int i = 0; i < VMMS; i++)
                vmm_start(w, i);
}

void world_end(World *w) {
        for (int i = 0; i < VMMS; i++)
                vmm_reap(w, i);
}

void world_revive(World *w) {
        for (int i = 0; i < VMMS; i++)
                if (w->shared->vmm_ended[i]) {
                        vmm_reap(w, i);
                        vmm_start(w, i);
                }
}

const char *world_check_empty(World *w) {
        char *text = w->shared->failure;
        const ManagedFd *fds;
        SimCounters c;
        size_t n;

        fds = service_manager_list(w->service, &n); /* hears what there is to hear, and closes */
        sim_get_counters(w->look, &c);
        if (!sim_counters_are_zero(&c)) {
                (void)snprintf(text, sizeof(w->shared->failure),
                               "the kernel has %lu contexts, %lu cdevs (%lu bound), %lu ioas, %lu "
                               "hwpts, %lu viommus, %lu mappings left",
                               c.contexts, c.open_cdevs, c.bound_functions, c.ioas, c.hwpts,
                               c.viommus, c.mappings);
                return text;
        }
        if (n > 0) {
                (void)snprintf(text, sizeof(w->shared->failure),
                               "%zu descriptors are stored still, the first is %s", n, fds[0].name);
                return text;
        }
        text[0] = '\0';
        n = count_records(w, text, sizeof(w->shared->failure), false);
        if (n > 0) {
                (void)snprintf(text + strlen(text), 64, " and all in all %zu records are left", n);
                return text;
        }
        return NULL;
}

void world_purge(World *w) {
        service_manager_clear(w->service);
        (void)count_records(w, NULL, 0, true);
        (void)sim_clear_faults(w->look);
}

int world_run(World *w, void (*run)(World *w, void *userdata), void *userdata) {
        int status;
        pid_t pid;

        pid = fork();
        assert(pid >= 0);
        if (pid == 0) {
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
                (void)alarm(PATIENCE_SEC);
                w->look = kernel_free(w->look);
                service_manager_enter(w->service);
                run(w, userdata);
                _exit(0);
        }
        assert(waitpid(pid, &status, 0) == pid);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
