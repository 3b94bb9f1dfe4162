/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * How long a daemon takes from exec to READY when there is much to take on: makes VMs on a simulated host, keeps their descriptors as
 * a service manager would, and starts aviommud-sim and the empty service in turn with the same descriptors.
 *
 *      bench-recovery AVIOMMUD-SIM EMPTY-SERVICE PROFILE BUS-ADDRESS VMS RUNS
 *
 * Prints medians. Each VM has two descriptors stored, its iommufd and its leash; as long as functions last, it has one, with a vIOMMU, that has been
 * handed over. Where so many descriptors cannot be had, the rest of the VMs have none.
 */

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

#include "base/fd-util.h"
#include "base/log.h"
#include "core/manager.h"
#include "kernel/sim/sim.h"

#define RUNS_MAX 101

int __wrap_sd_pid_notify_with_fds(pid_t pid, int unset, const char *state, const int *fds,
                                  unsigned n_fds);
int __wrap_sd_notify_barrier(int unset, uint64_t timeout);
int __wrap_getrlimit(int resource, struct rlimit *ret);
int __real_getrlimit(int resource, struct rlimit *ret);

typedef struct Kept {
        char name[64];
        int fd;
} Kept;

static Kept *kept;
static size_t n_kept, n_kept_allocated;

static void die(const char *what) {
        (void)fprintf(stderr, "%s: %s\n", what, strerror(errno));
        exit(EXIT_FAILURE);
}

static uint64_t now_usec(void) {
        struct timespec ts;

        (void)clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* ---- the service manager ---- */

static void forget(const char *name) {
        for (size_t i = 0; i < n_kept; i++)
                if (streq(kept[i].name, name)) {
                        (void)fd_close(kept[i].fd);
                        kept[i] = kept[--n_kept];
                        return;
                }
}

/* Not below where it is passed. */
static int keep_fd(int fd) {
        return fcntl(fd, F_DUPFD_CLOEXEC, 64);
}

int __wrap_sd_pid_notify_with_fds(pid_t pid, int unset, const char *state, const int *fds,
                                  unsigned n_fds) {
        const char *name = strstr(state, "FDNAME=");
        size_t length = name ? strcspn(name + strlen("FDNAME="), "\n") : 0;
        Kept k = { .fd = -1 };

        (void)pid;
        (void)unset;
        if (!name || length >= sizeof(k.name))
                return -EINVAL;
        memcpy(k.name, name + strlen("FDNAME="), length);
        if (n_fds == 0) {
                forget(k.name);
                return 1;
        }
        k.fd = keep_fd(fds[0]);
        if (k.fd < 0)
                die("keep");
        if (n_kept == n_kept_allocated) {
                n_kept_allocated = MAX(n_kept_allocated * 2, (size_t)1024);
                kept = reallocarray(kept, n_kept_allocated, sizeof(Kept));
                if (!kept)
                        die("keep");
        }
        kept[n_kept++] = k;
        return 1;
}

int __wrap_sd_notify_barrier(int unset, uint64_t timeout) {
        (void)unset;
        (void)timeout;
        return 1;
}

/* The manager that makes the VMs is not to be kept from it. */
int __wrap_getrlimit(int resource, struct rlimit *ret) {
        (void)resource;
        *ret = (struct rlimit){ 1 << 22, 1 << 22 };
        return 0;
}

/* ---- the VMs ---- */

/* In this process: iommufd and leash with what is kept of them, and the VMM's cdev. */
#define FDS_PER_VM 8

/* What a service manager can pass: their names are one variable of the environment, of 128 KiB at most. */
#define NAMES_MAX (120 << 10)

static size_t names_size(void) {
        size_t size = 0;

        for (size_t i = 0; i < n_kept; i++)
                size += strlen(kept[i].name) + 1;
        return size;
}

typedef struct Answer {
        bool given;
        int r;
} Answer;

static void on_answer(void *userdata, int r, const Problem *p) {
        Answer *answer = userdata;

        if (r < 0)
                (void)fprintf(stderr, "%s\n", p && problem_is_set(p) ? p->text : strerror(-r));
        *answer = (Answer){ true, r };
}

static void finish(sd_event *event, int r, Answer *answer) {
        while (r >= 0 && !answer->given)
                r = sd_event_run(event, UINT64_MAX);
        if (r < 0 || answer->r < 0)
                die("a request fails");
}

#define REQUEST(event, call)                                                                       \
        do {                                                                                       \
                Answer answer = {};                                                                \
                finish((event), (call), &answer);                                                  \
        } while (0)

static void make_vm(sd_event *event, Manager *m, unsigned i, const PciAddress *function,
                    int pidfd) {
        sd_id128_t uuid = { .bytes = { 1 } };
        VmRequest request;
        const Vm *vm;

        memcpy(uuid.bytes + 4, &i, sizeof(i));
        vm_request_init(&request);
        request.uuid = uuid;
        request.has_tier = request.has_handover = true;
        request.tier = function ? TIER_HARDWARE : TIER_EMULATED;
        request.handover = function ? HANDOVER_DAEMON : pidfd >= 0 ? HANDOVER_VMM : HANDOVER_NONE;
        if (function) {
                request.has_guest_domains = true;
                request.guest_domains = 1;
                (void)vm_request_add_function(&request, &(FunctionRequest){ .address = *function });
        }
        if (pidfd >= 0)
                request.leash_pidfd = fd_dup(pidfd);
        else
                request.leash = LEASH_CALLER;
        REQUEST(event, manager_create_vm(m, &request, 0, ":1.1", on_answer, &answer, NULL));
        vm_request_done(&request);

        if (pidfd < 0)
                return;
        vm = manager_find_vm(m, uuid);
        REQUEST(event, vm_open_context((Vm *)vm, NULL, ":1.1", on_answer, &answer, NULL));
        if (!function)
                return;
        REQUEST(event, vm_open_context((Vm *)vm, function, ":1.1", on_answer, &answer, NULL));
        if (keep_fd(vm->context.functions[0].cdev) < 0) /* the VMM's */
                die("keep");
        REQUEST(event, vm_confirm_context((Vm *)vm, ":1.1", on_answer, &answer, NULL));
}

static void make_vms(const char *profile, int state, const char *records, unsigned n) {
        ManagerGround ground = {};
        sd_event *event;
        const HostScan *scan;
        Manager *m = NULL;
        Config config;
        size_t next = 0;
        struct rlimit limit;
        pid_t pid = fork();
        int pidfd;

        if (pid == 0) {
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
                for (;;)
                        (void)pause();
        }
        pidfd = pidfd_open(pid, 0);
        (void)__real_getrlimit(RLIMIT_NOFILE, &limit);
        config_init(&config);
        config.instances_per_iommu = 65535;
        config.max_vms = 1000000;
        config.max_descriptors = 1000000;
        config.contiguous_memory_per_node_percent = 100;
        (void)setenv("NOTIFY_SOCKET", "@nobody", 1);
        if (sim_kernel_new(profile, state, &ground.kernel, NULL) < 0 ||
            state_store_open(records, &ground.records) < 0 ||
            fdstore_new(1000000, &ground.fdstore) < 0 || sd_event_new(&event) < 0 ||
            manager_new(event, &ground, &config, NULL, &m) < 0)
                die("no manager");

        scan = inventory_get_scan(m->inventory);
        for (unsigned i = 0; i < n; i++) {
                PciAddress function;
                bool bare = (i + 1) * FDS_PER_VM > limit.rlim_cur || names_size() > NAMES_MAX, has;

                while (next < scan->n_functions && !streq(scan->functions[next].driver, "vfio-pci"))
                        next++;
                has = next < scan->n_functions && !bare;
                if (has)
                        function = scan->functions[next++].address;
                make_vm(event, m, i, has ? &function : NULL, bare ? -1 : pidfd);
        }
        manager_free(m);
        sd_event_unref(event);
}

/* ---- a start ---- */

typedef struct Start {
        uint64_t usec, cpu_usec;
} Start;

static int compare_fd(const void *a, const void *b) {
        return ((const Kept *)a)->fd - ((const Kept *)b)->fd;
}

static _Noreturn void exec_service(char **argv, const char *address, uint64_t *began) {
        size_t size = n_kept * sizeof(kept->name) + 1;
        char *names = malloc(size), *p = names, number[32];

        if (!names)
                _exit(1);
        *p = '\0';
        qsort(kept, n_kept, sizeof(Kept),
              compare_fd); /* each goes down, where no other is any more */
        for (size_t i = 0; i < n_kept; i++) {
                if (dup2(kept[i].fd, 3 + (int)i) < 0)
                        _exit(1);
                p = stpcpy(stpcpy(p, i > 0 ? ":" : ""), kept[i].name);
        }
        (void)setenv("NOTIFY_SOCKET", address, 1);
        (void)setenv("FDSTORE", "1000000", 1);
        (void)setenv("LISTEN_FDNAMES", names, 1);
        (void)snprintf(number, sizeof(number), "%zu", n_kept);
        (void)setenv("LISTEN_FDS", number, 1);
        (void)snprintf(number, sizeof(number), "%d", getpid());
        (void)setenv("LISTEN_PID", number, 1);
        *began = now_usec();
        (void)execv(argv[0], argv);
        die(argv[0]);
        abort();
}

static Start start(char **argv, int notify, const char *address, bool gently) {
        static uint64_t *began;
        struct rusage usage;
        Start s;
        pid_t pid;

        if (!began)
                began = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        pid = fork();
        if (pid == 0)
                exec_service(argv, address, began);
        for (;;) {
                char text[4096];
                ssize_t n = recv(notify, text, sizeof(text) - 1, 0);

                if (n < 0)
                        die("it does not get ready");
                text[n] = '\0';
                if (strstr(text, "READY=1"))
                        break;
                if (strstr(text, "FDSTORE"))
                        (void)fprintf(stderr, "it sends: %s\n", text);
        }
        s.usec = now_usec() - *began;
        (void)kill(pid, gently ? SIGTERM : SIGKILL);
        (void)wait4(pid, NULL, 0, &usage);
        s.cpu_usec = (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
                     (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
        return s;
}

static int compare(const void *a, const void *b) {
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

        return (x > y) - (x < y);
}

static double median_ms(uint64_t *values, size_t n) {
        qsort(values, n, sizeof(*values), compare);
        return (double)values[n / 2] / 1000;
}

/* ---- all of it ---- */

static int notify_socket(char *ret_address, size_t size) {
        struct sockaddr_un a = { .sun_family = AF_UNIX };
        struct timeval patience = { .tv_sec = 60 };
        socklen_t length = sizeof(a);
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), high;

        if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof(sa_family_t)) < 0 ||
            getsockname(fd, (struct sockaddr *)&a, &length) < 0)
                die("no socket");
        (void)snprintf(ret_address, size, "@%.*s",
                       (int)(length - offsetof(struct sockaddr_un, sun_path) - 1), a.sun_path + 1);
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
        high = keep_fd(fd);
        (void)fd_close(fd);
        return high;
}

static void remove_dir(const char *path) {
        DIR *d = opendir(path);

        for (struct dirent *e; d && (e = readdir(d));)
                (void)unlinkat(dirfd(d), e->d_name, 0);
        if (d)
                (void)closedir(d);
        (void)rmdir(path);
}

int main(int argc, char **argv) {
        char dir[] = "/dev/shm/aviommu-bench-XXXXXX", state[64], state_arg[96], dir_arg[96],
             bus_arg[512], address[128];
        static uint64_t ours[RUNS_MAX], cpu[RUNS_MAX], theirs[RUNS_MAX], their_cpu[RUNS_MAX];
        double a, b;
        size_t runs;
        int notify, fd;

        if (argc != 7)
                return 2;
        runs = MIN((size_t)strtoul(argv[6], NULL, 10), (size_t)RUNS_MAX);
        log_set_max_level(LOG_WARNING);
        (void)setrlimit(RLIMIT_NOFILE, &(struct rlimit){ 262144, 262144 });
        notify = notify_socket(address, sizeof(address));
        if (!mkdtemp(dir))
                die(dir);
        (void)snprintf(state, sizeof(state), "%s.state", dir);
        fd = open(state, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0)
                die(state);
        make_vms(argv[3], fd, dir, (unsigned)strtoul(argv[5], NULL, 10));
        (void)fd_close(fd);

        (void)snprintf(state_arg, sizeof(state_arg), "--state=%s", state);
        (void)snprintf(dir_arg, sizeof(dir_arg), "--runtime-dir=%s", dir);
        (void)snprintf(bus_arg, sizeof(bus_arg), "--bus=%s", argv[4]);
        for (size_t i = 0; i < runs; i++) {
                char *sim[] = { argv[1], bus_arg, (char *)"--profile", argv[3], state_arg,
                                dir_arg, NULL };
                char *empty[] = { argv[2], argv[4], NULL };
                Start s = start(sim, notify, address, getenv("BENCH_GENTLY"));
                Start e = start(empty, notify, address, false);

                ours[i] = s.usec;
                cpu[i] = s.cpu_usec;
                theirs[i] = e.usec;
                their_cpu[i] = e.cpu_usec;
        }
        a = median_ms(ours, runs);
        b = median_ms(theirs, runs);
        (void)printf("%s VMs, %zu descriptors, medians of %zu: aviommud-sim ready after %.1f ms "
                     "(CPU %.1f ms), the empty "
                     "service after %.1f ms (CPU %.1f ms): ratio %.1f\n",
                     argv[5], n_kept, runs, a, median_ms(cpu, runs), b, median_ms(their_cpu, runs),
                     a / b);
        remove_dir(dir);
        (void)unlink(state);
        return EXIT_SUCCESS;
}
