/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aviommuctl exec: opens the context of a VM that has been admitted, and becomes its VMM.
 *
 * What can be found out is found out first; the leash, which cannot be taken back, comes last but for the handover itself.
 */
#include "ctl/exec.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd-util.h"
#include "ctl/viommu-filter.h"
#include "lib/alloc.h"

/* What of the VM matters here; the strings are in the message. */
typedef struct ExecVm {
        sd_bus_message *message;
        const char *tier, *handover, *leash;
        VmFunctionList functions;
} ExecVm;

static const ReplyField vm_fields[] = {
        { "Tier", "s", offsetof(ExecVm, tier), NULL },
        { "Handover", "s", offsetof(ExecVm, handover), NULL },
        { "Leash", "s", offsetof(ExecVm, leash), NULL },
        { "Functions", "a(ssss)", offsetof(ExecVm, functions), reply_read_vm_functions },
};

static void exec_vm_done(ExecVm *vm) {
        vm_function_list_done(&vm->functions);
        vm->message = sd_bus_message_unref(vm->message);
}

static int exec_vm_get(Ctl *ctl, const char *uuid, ExecVm *vm) {
        CallOptions options = { .what = "looking at the VM", .uuid = uuid };
        int r;

        r = client_get_properties(&ctl->client, VM_PATH(uuid), AVIOMMU_VM_INTERFACE, &options,
                                  &vm->message, &ctl->failure);
        if (r < 0)
                return r;
        r = reply_read_fields(vm->message, vm_fields, ELEMENTSOF(vm_fields), vm);
        if (r < 0 || !vm->tier || !vm->handover || !vm->leash)
                return failure_set_malformed(&ctl->failure, "GetAll of a VM");
        /* Another leash would be taken from it, and its context given away a second time. */
        if (streq(vm->leash, "pidfd"))
                return failure_set(
                        &ctl->failure, CLIENT_EXIT_EXHAUSTED, -EBUSY,
                        "End that process, which takes the VM down, and create it again.",
                        "The VM has a VMM: its life hangs on a process already");
        return 0;
}

/* ---- the command ---- */

static bool is_program(const char *path) {
        struct stat st;

        return stat(path, &st) >= 0 && S_ISREG(st.st_mode) && access(path, X_OK) >= 0;
}

/* Whether what the first line of a script names can be run; of what is no script or cannot be read that is not known. */
static bool has_interpreter(const char *path) {
        _cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        char line[PATH_MAX];
        ssize_t n = fd < 0 ? -1 : read(fd, line, sizeof(line) - 1);
        char *name = line + 2;

        line[MAX(n, (ssize_t)0)] = '\0';
        if (strncmp(line, "#!", 2) != 0)
                return true;
        name += strspn(name, " \t");
        name[strcspn(name, " \t\n")] = '\0';
        return is_program(name);
}

/* The file that execvp() would take, for the caller to free; NULL: there is none (failure set). A command that is not there has to be
 * noticed before the leash is on it. */
static char *find_program(Ctl *ctl, const char *command) {
        const char *path = getenv("PATH") ?: "/usr/local/bin:/usr/bin:/bin", *end;

        if (strchr(command, '/')) {
                if (is_program(command))
                        return alloc_printf("%s", command);
                (void)failure_set(&ctl->failure, CLIENT_EXIT_NOT_FOUND, -ENOENT,
                                  "Give a file that can be executed.",
                                  "%s is no program that can be run", command);
                return NULL;
        }
        for (;; path = end + 1) {
                _cleanup_free_ char *candidate = NULL;

                end = strchrnul(path, ':');
                candidate = alloc_printf("%.*s%s%s", (int)(end - path), path,
                                         end > path ? "/" : "./", command);
                if (*command && is_program(candidate))
                        return TAKE_PTR(candidate);
                if (!*end)
                        break;
        }
        (void)failure_set(&ctl->failure, CLIENT_EXIT_NOT_FOUND, -ENOENT,
                          "Give its path, or install what has it.",
                          "There is no program \"%s\" in $PATH", command);
        return NULL;
}

/* ---- descriptors ---- */

/* Above the numbers that options have taken, so that those stay free. */
static int keep_descriptor(Ctl *ctl, int fd, int *ret) {
        int above = STDERR_FILENO;

        for (size_t i = 0; i < ctl->n_fds; i++)
                above = MAX(above, ctl->fds[i].number);
        *ret = fcntl(fd, F_DUPFD_CLOEXEC, above + 1);
        if (*ret < 0)
                return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, -errno,
                                   "Are the numbers of --fd-iommufd= and --fd-device= below the "
                                   "limit of `ulimit -n`?",
                                   "No descriptor above %d can be had: %s", above, strerror(errno));
        return 0;
}

static int open_context(Ctl *ctl, ExecPlan *p, ExecItem *item) {
        static const ReplyField fields[] = {
                { "ioas", "u", offsetof(ExecPlan, ioas), NULL },
                { "hwpt", "u", offsetof(ExecPlan, hwpt), NULL },
        };
        CallOptions options = { .what = "opening the context", .uuid = p->uuid, .is_change = true };
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int fd, r;

        r = ctl_call_vm(ctl, &options, "OpenContext", &m, NULL);
        if (r < 0)
                return r;
        if (sd_bus_message_read(m, "h", &fd) < 0 ||
            reply_read_fields(m, fields, ELEMENTSOF(fields), p) < 0 ||
            (p->wants_ids && p->ioas == 0))
                return failure_set_malformed(&ctl->failure, "OpenContext");
        return keep_descriptor(ctl, fd, &item->fd);
}

static int open_device(Ctl *ctl, const ExecPlan *p, ExecItem *item) {
        CallOptions options = { .what = "opening the function",
                                .uuid = p->uuid,
                                .function = item->function,
                                .is_change = true };
        _cleanup_(sd_bus_message_unrefp) sd_bus_message *m = NULL;
        int fd, r;

        r = ctl_call_vm(ctl, &options, "OpenDevice", &m, "s", item->function);
        if (r < 0)
                return r;
        if (sd_bus_message_read(m, "h", &fd) < 0)
                return failure_set_malformed(&ctl->failure, "OpenDevice");
        return keep_descriptor(ctl, fd, &item->fd);
}

static int open_items(Ctl *ctl, ExecPlan *p) {
        int r = 0;

        for (size_t i = 0; i < p->n_items && r >= 0; i++) {
                ExecItem *item = p->items + i;

                r = *item->function ? open_device(ctl, p, item) : open_context(ctl, p, item);
        }
        return r;
}

/* What the command gets stays open, all else ends with us. */
static int place_descriptors(Ctl *ctl, const ExecPlan *p) {
        int r = close_range(STDERR_FILENO + 1, ~0U, CLOSE_RANGE_CLOEXEC);

        for (size_t i = 0; i < p->n_items && r >= 0; i++) {
                const ExecItem *item = p->items + i;

                r = item->number >= 0 ? dup2(item->fd, item->number) : fcntl(item->fd, F_SETFD, 0);
        }
        for (size_t i = 0; i < ctl->n_fds && r >= 0; i++)
                if (ctl->fds[i].is_kept)
                        r = fcntl(ctl->fds[i].number, F_SETFD, 0);
        if (r < 0)
                return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, -errno, NULL,
                                   "Cannot put the descriptors in their places: %s",
                                   strerror(errno));
        return 0;
}

/* ---- the handover ---- */

static int set_leash(Ctl *ctl, const char *uuid) {
        CallOptions options = { .what = "setting the leash", .uuid = uuid, .is_change = true };
        _cleanup_close_ int pidfd = pidfd_open(getpid(), 0);

        if (pidfd < 0)
                return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, -errno, NULL,
                                   "Cannot open a pidfd of this process: %s", strerror(errno));
        return ctl_call_vm(ctl, &options, "SetLeash", NULL, "h", pidfd);
}

static int confirm(Ctl *ctl, const char *uuid) {
        CallOptions options = { .what = "confirming", .uuid = uuid, .is_change = true };

        return ctl_call_vm(ctl, &options, "ConfirmContext", NULL, NULL);
}

/* Returns only to say why not. The bus goes first: its descriptor may be where another is to be. */
static int become(Ctl *ctl, const ExecPlan *p, const char *program, char **arguments) {
        int r;

        client_done(&ctl->client);
        r = place_descriptors(ctl, p);
        if (r < 0)
                return r;
        (void)signal(SIGPIPE, SIG_DFL);
        (void)execvp(program, arguments); /* runs a script that names no shell */
        r = -errno;
        (void)signal(SIGPIPE, SIG_IGN);
        return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, r, NULL, "Cannot run %s: %s", program,
                           strerror(-r));
}

static int hand_over(Ctl *ctl, const ExecVm *vm, const ExecPlan *p, const char *program,
                     char **arguments) {
        bool has_context = streq(p->handover, "daemon");
        int r;

        if (has_context && streq(vm->tier, "hardware")) {
                r = viommu_filter_install();
                if (r < 0)
                        return failure_set(
                                &ctl->failure, CLIENT_EXIT_FAILED, r, NULL,
                                "Cannot keep the VMM from allocating more vIOMMUs with a "
                                "seccomp filter: %s",
                                strerror(-r));
        }
        r = set_leash(ctl, p->uuid);
        if (r < 0)
                return r;

        if (has_context)
                r = confirm(ctl, p->uuid);
        if (r >= 0)
                r = become(ctl, p, program, arguments);
        (void)snprintf(ctl->failure.next, sizeof(ctl->failure.next),
                       "The VM hangs on this process already and is taken down with it: create it "
                       "again.");
        return r;
}

int verb_exec(Ctl *ctl, int argc, char **argv) {
        _cleanup_(exec_arguments_freep) char **arguments = NULL;
        _cleanup_(exec_plan_done) ExecPlan p = {};
        _cleanup_(exec_vm_done) ExecVm vm = {};
        _cleanup_free_ char *program = NULL;
        char uuid[UUID_STRING_SIZE];
        int r;

        (void)argc;

        r = ctl_resolve_vm(ctl, argv[0], uuid);
        if (r < 0)
                return r;
        r = exec_vm_get(ctl, uuid, &vm);
        if (r < 0)
                return r;
        r = exec_plan_make(ctl, uuid, vm.handover, &vm.functions, argv + 1, &p);
        if (r < 0)
                return r;
        program = find_program(ctl, argv[1]);
        if (!program)
                return -ENOENT;
        if (!has_interpreter(program))
                return failure_set(&ctl->failure, CLIENT_EXIT_NOT_FOUND, -ENOENT,
                                   "Its first line says what runs it.",
                                   "%s is a script for a program that cannot be run", program);
        r = open_items(ctl, &p);
        if (r < 0)
                return r;
        arguments = exec_arguments_new(&p, argv + 1);
        return hand_over(ctl, &vm, &p, program, arguments);
}
