/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * orchestrate TIER FUNCTION...: the life of one VM, as something that starts VMs has it with aviommud. aviommu-orchestration(7)
 * goes through it.
 *
 *     cc -o orchestrate orchestrate.c $(pkg-config --cflags --libs libsystemd)
 *
 * The VMM is a child that takes the descriptors and does nothing with them. An orchestrator of one's own has more than one VM
 * and does not wait for one answer at a time: sd_bus_call_async() in place of sd_bus_call().
 */

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#define NAME    "org.aviommu1"
#define MANAGER "/org/aviommu1"
#define MINUTE  (UINT64_C(60) * 1000 * 1000)

/* Ours are those whose names begin so. Other software on this host has VMs too, and they are none of our business. */
#define PREFIX "example-"

typedef struct Orchestrator {
        sd_bus *bus;
        const char *uuid, *tier;
        char **functions;
        int n_functions;
        char *token, *vm; /* reservation, object path */
        pid_t vmm;
        int vmm_socket;
        bool removed;
} Orchestrator;

static int failed(const char *what, int r, const sd_bus_error *error) {
        fprintf(stderr, "%s: %s [%s]\n", what, error->message ? error->message : strerror(-r),
                error->name ? error->name : "");
        return r;
}

static bool is(const sd_bus_error *error, const char *name) {
        return sd_bus_error_has_name(error, name);
}

/* A call without arguments, or with the arguments of @types. The answer comes when the work is done. */
static int call(Orchestrator *o, const char *path, const char *interface, const char *member,
                sd_bus_error *error, sd_bus_message **ret_reply, const char *types, ...) {
        sd_bus_message *m = NULL;
        va_list ap;
        int r = sd_bus_message_new_method_call(o->bus, &m, NAME, path, interface, member);

        if (r >= 0 && types) {
                va_start(ap, types);
                r = sd_bus_message_appendv(m, types, ap);
                va_end(ap);
        }
        if (r >= 0)
                r = sd_bus_call(o->bus, m, MINUTE, error, ret_reply);
        sd_bus_message_unref(m);
        return r;
}

/* ---- signals ---- */

static int on_removed(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        Orchestrator *o = userdata;
        const char *uuid, *path, *reason;

        (void)error;
        if (sd_bus_message_read(m, "sos", &uuid, &path, &reason) < 0 || strcmp(uuid, o->uuid) != 0)
                return 0;
        /* Either is an end of ours, and which of them is faster is not told. */
        printf("%s is gone: %s\n", uuid,
               !strcmp(reason, "destroyed") || !strcmp(reason, "vmm-exited") ? "as we wanted"
                                                                             : reason);
        o->removed = true;
        return 0;
}

/* What was said while nobody was there is lost: look at everything again. */
static int on_daemon(sd_bus_message *m, void *userdata, sd_bus_error *error) {
        const char *name, *before, *now;

        (void)userdata;
        (void)error;
        if (sd_bus_message_read(m, "sss", &name, &before, &now) >= 0)
                printf("aviommud is %s\n", *now ? "here: list the VMs again" : "gone: wait for it");
        return 0;
}

static int follow(Orchestrator *o) {
        int r = sd_bus_match_signal(o->bus, NULL, NAME, MANAGER, NAME ".Manager", "VmRemoved",
                                    on_removed, o);

        if (r >= 0)
                r = sd_bus_match_signal(o->bus, NULL, "org.freedesktop.DBus",
                                        "/org/freedesktop/DBus", "org.freedesktop.DBus",
                                        "NameOwnerChanged", on_daemon, o);
        return r;
}

/* ---- what an earlier run of ours has left ---- */

static int destroy(Orchestrator *o, const char *path) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        int r = call(o, path, NAME ".Vm", "Destroy", &error, NULL, "a{sv}", 0);

        /* The leash may have been faster: what is gone is what we wanted. */
        if (r < 0 && is(&error, NAME ".Error.NoSuchVm"))
                r = 0;
        if (r < 0)
                (void)failed("Destroy", r, &error);
        sd_bus_error_free(&error);
        return r;
}

/* One page of VMs. @cursor is the last one's on entry, and the next one's at the end: empty when that was all. */
static int reconcile_page(Orchestrator *o, char **cursor) {
        const char *uuid, *name, *tier, *handover, *state, *path, *next;
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *reply = NULL;
        uint32_t n_functions;
        int r;

        r = call(o, MANAGER, NAME ".Manager", "ListVms", &error, &reply, "su", *cursor, 1000U);
        if (r < 0)
                (void)failed("ListVms", r, &error);
        else
                r = sd_bus_message_enter_container(reply, 'a', "(sssssuo)");
        while (r >= 0) {
                r = sd_bus_message_read(reply, "(sssssuo)", &uuid, &name, &tier, &handover, &state,
                                        &n_functions, &path);
                if (r <= 0)
                        break;
                if (strncmp(name, PREFIX, strlen(PREFIX)) == 0) {
                        printf("left over: %s, %s\n", name, state);
                        (void)destroy(o, path);
                }
        }
        if (r >= 0)
                r = sd_bus_message_exit_container(reply);
        if (r >= 0)
                r = sd_bus_message_read(reply, "s", &next);
        if (r >= 0) {
                free(*cursor);
                *cursor = strdup(next);
                r = *cursor ? 0 : -ENOMEM;
        }
        sd_bus_message_unref(reply);
        sd_bus_error_free(&error);
        return r;
}

static int reconcile(Orchestrator *o) {
        char *cursor = strdup("");
        int r = cursor ? 0 : -ENOMEM;

        do
                r = r < 0 ? r : reconcile_page(o, &cursor);
        while (r >= 0 && *cursor);
        free(cursor);
        return r;
}

/* ---- place first ---- */

/* The keys that Plan, Reserve and CreateVm have in common. Our VMM takes over what the daemon makes, in every tier. */
static int append_request(Orchestrator *o, sd_bus_message *m) {
        int r = sd_bus_message_append(m, "{sv}{sv}", "tier", "s", o->tier, "handover", "s",
                                      "daemon");

        if (r >= 0)
                r = sd_bus_message_append(m, "{sv}", "memory", "t", UINT64_C(4) << 30);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'e', "sv");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", "functions");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'v', "a(sa{sv})");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "(sa{sv})");
        for (int i = 0; i < o->n_functions && r >= 0; i++)
                r = sd_bus_message_append(m, "(sa{sv})", o->functions[i], 0);
        for (int i = 0; i < 3 && r >= 0; i++)
                r = sd_bus_message_close_container(m);
        return r;
}

/* Plan wants no more than the right to look. A refusal is an answer, not an error. */
static int plan(Orchestrator *o) {
        const char *key, *name = "", *message = "";
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *m = NULL, *reply = NULL;
        int r, admitted = false;

        r = sd_bus_message_new_method_call(o->bus, &m, NAME, MANAGER, NAME ".Manager", "Plan");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", o->uuid);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0)
                r = append_request(o, m);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                r = sd_bus_call(o->bus, m, MINUTE, &error, &reply);
        if (r < 0)
                (void)failed("Plan", r, &error);
        else
                r = sd_bus_message_enter_container(reply, 'a', "{sv}");
        while (r >= 0 && (r = sd_bus_message_enter_container(reply, 'e', "sv")) > 0) {
                r = sd_bus_message_read(reply, "s", &key);
                if (r >= 0 && !strcmp(key, "admitted"))
                        r = sd_bus_message_read(reply, "v", "b", &admitted);
                else if (r >= 0 && !strcmp(key, "error"))
                        r = sd_bus_message_read(reply, "v", "s", &name);
                else if (r >= 0 && !strcmp(key, "message"))
                        r = sd_bus_message_read(reply, "v", "s", &message);
                else if (r >= 0) /* keys may come to be that this program does not know */
                        r = sd_bus_message_skip(reply, "v");
                if (r >= 0)
                        r = sd_bus_message_exit_container(reply);
        }
        if (r >= 0 && !admitted) {
                printf("refused: %s [%s]\n", message, name);
                r = -EUSERS;
        } else if (r >= 0)
                printf("plan: it would be admitted\n");
        sd_bus_message_unref(m);
        sd_bus_message_unref(reply);
        sd_bus_error_free(&error);
        return r;
}

/* What the VM will need is charged and claimed for ten minutes, and nobody else gets it. */
static int reserve(Orchestrator *o) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *m = NULL, *reply = NULL;
        const char *token;
        int r;

        r = sd_bus_message_new_method_call(o->bus, &m, NAME, MANAGER, NAME ".Manager", "Reserve");
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0)
                r = append_request(o, m);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                r = sd_bus_message_append(m, "t", 10 * MINUTE);
        if (r >= 0)
                r = sd_bus_call(o->bus, m, MINUTE, &error, &reply);
        if (r < 0)
                (void)failed("Reserve", r, &error);
        else
                r = sd_bus_message_read(reply, "s", &token);
        if (r >= 0) {
                o->token = strdup(token);
                r = o->token ? 0 : -ENOMEM;
                printf("reserved\n");
        }
        sd_bus_message_unref(m);
        sd_bus_message_unref(reply);
        sd_bus_error_free(&error);
        return r;
}

/* ---- start later ---- */

/* The VMM: takes descriptors until it hears "." in place of one, says so, and ends when its orchestrator lets go of it. */
static void be_vmm(int s) {
        char word;

        do {
                char control[CMSG_SPACE(sizeof(int))];
                struct iovec iov = { &word, 1 };
                struct msghdr h = { .msg_iov = &iov,
                                    .msg_iovlen = 1,
                                    .msg_control = control,
                                    .msg_controllen = sizeof(control) };

                if (recvmsg(s, &h, 0) != 1)
                        _exit(1);
        } while (word != '.');
        _exit(write(s, "!", 1) == 1 && read(s, &word, 1) == 0 ? 0 : 1);
}

static int send_descriptor(int s, int fd) {
        union {
                char buf[CMSG_SPACE(sizeof(int))];
                struct cmsghdr header;
        } control = { .header = { .cmsg_len = CMSG_LEN(sizeof(int)),
                                  .cmsg_level = SOL_SOCKET,
                                  .cmsg_type = SCM_RIGHTS } };
        struct iovec iov = { (char[]){ 'f' }, 1 };
        struct msghdr h = { .msg_iov = &iov,
                            .msg_iovlen = 1,
                            .msg_control = control.buf,
                            .msg_controllen = sizeof(control.buf) };

        memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
        return sendmsg(s, &h, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

static int start_vmm(Orchestrator *o) {
        int s[2];

        if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) < 0)
                return -errno;
        o->vmm = fork();
        if (o->vmm == 0) {
                (void)close(s[0]);
                be_vmm(s[1]);
        }
        o->vmm_socket = s[0];
        (void)close(s[1]);
        return o->vmm < 0 ? -errno : 0;
}

/* The leash is there from the beginning, so there is no moment in which the VM could be left behind: if the VMM dies, or this
 * program before it has got the answer, the daemon takes everything back. */
static int create(Orchestrator *o) {
        int r, pidfd = (int)syscall(SYS_pidfd_open, o->vmm, 0);
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *m = NULL, *reply = NULL;
        const char *path;

        if (pidfd < 0)
                return -errno;
        r = sd_bus_message_new_method_call(o->bus, &m, NAME, MANAGER, NAME ".Manager", "CreateVm");
        if (r >= 0)
                r = sd_bus_message_append(m, "s", o->uuid);
        if (r >= 0)
                r = sd_bus_message_open_container(m, 'a', "{sv}");
        if (r >= 0)
                r = append_request(o, m);
        if (r >= 0)
                r = sd_bus_message_append(m, "{sv}{sv}{sv}", "name", "s", PREFIX "c", "reservation",
                                          "s", o->token, "leash-pidfd", "h", pidfd);
        if (r >= 0)
                r = sd_bus_message_close_container(m);
        if (r >= 0)
                r = sd_bus_call(o->bus, m, MINUTE, &error, &reply);
        (void)close(pidfd); /* the message has a duplicate, and the daemon another */
        if (r < 0)
                (void)failed("CreateVm", r, &error);
        else
                r = sd_bus_message_read(reply, "o", &path);
        if (r >= 0) {
                o->vm = strdup(path);
                r = o->vm ? 0 : -ENOMEM;
                printf("created: %s\n", path);
        }
        sd_bus_message_unref(m);
        sd_bus_message_unref(reply);
        sd_bus_error_free(&error);
        return r;
}

/* A descriptor in an answer belongs to the answer: it is sent on before that is freed. */
static int pass_on(Orchestrator *o, const char *member, const char *function) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        sd_bus_message *reply = NULL;
        int fd, r = call(o, o->vm, NAME ".Vm", member, &error, &reply, function ? "s" : NULL,
                         function);

        if (r < 0)
                (void)failed(member, r, &error);
        else
                r = sd_bus_message_read(reply, "h", &fd);
        if (r >= 0)
                r = send_descriptor(o->vmm_socket, fd);
        if (r >= 0)
                printf("%s: passed on\n", function ? function : "iommufd");
        sd_bus_message_unref(reply);
        sd_bus_error_free(&error);
        return r;
}

/* After ConfirmContext the VMM has the only descriptors of the functions: not before it says that it has them. */
static int hand_over(Orchestrator *o) {
        sd_bus_error error = SD_BUS_ERROR_NULL;
        char word;
        int r = pass_on(o, "OpenContext", NULL);

        for (int i = 0; i < o->n_functions && r >= 0; i++)
                r = pass_on(o, "OpenDevice", o->functions[i]);
        if (r >= 0 && (write(o->vmm_socket, ".", 1) != 1 || read(o->vmm_socket, &word, 1) != 1))
                r = -EPIPE;
        if (r >= 0) {
                r = call(o, o->vm, NAME ".Vm", "ConfirmContext", &error, NULL, NULL);
                if (r < 0)
                        (void)failed("ConfirmContext", r, &error);
        }
        if (r >= 0)
                printf("the VMM has it all\n");
        sd_bus_error_free(&error);
        return r;
}

/* The VMM first: a VM whose VMM is alive and has its context is not destroyed without force. */
static int end(Orchestrator *o) {
        int r;

        (void)close(o->vmm_socket);
        (void)waitpid(o->vmm, NULL, 0);
        r = destroy(o, o->vm);
        while (r >= 0 && !o->removed) {
                r = sd_bus_process(o->bus, NULL);
                if (r == 0)
                        r = sd_bus_wait(o->bus, MINUTE);
        }
        return r;
}

int main(int argc, char **argv) {
        Orchestrator o = { .uuid = "7d3f0a52-6c1e-4b7a-9a55-2f0c1d9be001", .vmm_socket = -1 };
        int r;

        if (argc < 3) {
                fprintf(stderr, "usage: orchestrate TIER FUNCTION...\n");
                return 2;
        }
        setvbuf(stdout, NULL, _IOLBF, 0);
        o.tier = argv[1];
        o.functions = argv + 2;
        o.n_functions = argc - 2;

        r = sd_bus_open_system(&o.bus);
        if (r < 0)
                fprintf(stderr, "no bus: %s\n", strerror(-r));
        /* Listen before looking, so that nothing is missed in between. */
        r = r < 0 ? r : follow(&o);
        r = r < 0 ? r : reconcile(&o);
        r = r < 0 ? r : plan(&o);
        r = r < 0 ? r : reserve(&o);
        r = r < 0 ? r : start_vmm(&o);
        r = r < 0 ? r : create(&o);
        r = r < 0 ? r : hand_over(&o);
        r = r < 0 ? r : end(&o);

        free(o.token);
        free(o.vm);
        sd_bus_flush_close_unref(o.bus);
        return r < 0 ? 1 : 0;
}
