/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * One call at a time, and while it runs: the progress line, the operation's name fetched from the VM once a second, and
 * Ctrl-C turned into Cancel.
 */
#include "lib/client.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "base/fd-util.h"
#include "lib/format.h"
#include "lib/interrupt.h"
#include "lib/progress.h"

#define READ_TIMEOUT_USEC     (25 * (uint64_t)1000000)
#define ASIDE_TIMEOUT_USEC    (5 * (uint64_t)1000000)
#define OPERATION_FIRST_USEC  ((uint64_t)900000) /* so that the first line has it */
#define OPERATION_PERIOD_USEC ((uint64_t)1000000)

typedef struct Call {
        Client *client;
        const CallOptions *options;
        Progress progress;
        sd_bus_message *reply;
        sd_bus_slot *slot, *operation_slot, *cancel_slot;
        uint64_t start_usec, timeout_usec, next_operation_usec;
        int interrupt_fd; /* -1: signals do what they always do */
        bool stopping;
} Call;

uint64_t now_usec(void) {
        struct timespec ts;

        (void)clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

char *vm_path(const char *uuid, char buf[static VM_PATH_SIZE]) {
        size_t n = strlen(AVIOMMU_VM_PATH);

        memcpy(buf, AVIOMMU_VM_PATH, n);
        for (; *uuid && n + 1 < VM_PATH_SIZE; uuid++)
                if (*uuid != '-')
                        buf[n++] = *uuid;
        buf[n] = '\0';
        return buf;
}

/* Whether sd-bus can do anything with an address: it passes over what it does not know, and nothing left is a refused connection. */
static bool is_address(const char *s) {
        static const char *const transports[] = { "unix:", "unixexec:", "tcp:", "x-machine-unix:" };

        for (;; s++) {
                for (size_t i = 0; i < ELEMENTSOF(transports); i++)
                        if (strncmp(s, transports[i], strlen(transports[i])) == 0)
                                return true;
                s = strchrnul(s, ';');
                if (!*s)
                        return false;
        }
}

static int client_open_address(Client *c, sd_bus **ret) {
        sd_bus *bus = NULL;
        int r;

        if (!is_address(c->address))
                return -EINVAL;
        r = sd_bus_new(&bus);
        if (r < 0)
                return r;
        r = sd_bus_set_address(bus, c->address);
        if (r >= 0)
                r = sd_bus_set_bus_client(bus, true);
        if (r >= 0)
                r = sd_bus_start(bus);
        if (r < 0) {
                (void)sd_bus_unref(bus);
                return r;
        }

        *ret = bus;
        return 0;
}

int client_connect(Client *c, Failure *reterr) {
        int r;

        if (c->bus)
                return 0;

        r = c->address ? client_open_address(c, &c->bus) : sd_bus_open_system(&c->bus);
        if (r < 0)
                return failure_set_connection(reterr, r, c->address);

        (void)sd_bus_set_allow_interactive_authorization(c->bus, c->interactive);
        return 0;
}

void client_done(Client *c) {
        c->bus = sd_bus_flush_close_unref(c->bus);
}

int client_new_call(Client *c, const char *path, const char *interface, const char *member,
                    sd_bus_message **ret, Failure *reterr) {
        int r;

        r = client_connect(c, reterr);
        if (r < 0)
                return r;
        r = sd_bus_message_new_method_call(c->bus, ret, AVIOMMU_BUS_NAME, path, interface, member);
        if (r >= 0)
                r = sd_bus_message_set_auto_start(*ret, !c->only_looks);
        if (r < 0)
                return failure_set_connection(reterr, r, c->address);
        return 0;
}

int client_wait(Client *c, struct pollfd *extra, size_t n_extra, uint64_t timeout_usec) {
        struct pollfd fds[3] = {};
        struct timespec ts;
        uint64_t until;
        int r;

        assert(n_extra <= 2);

        r = sd_bus_process(c->bus, NULL);
        if (r < 0)
                return r;
        if (r > 0) /* There may be more: come back without waiting, but look at @extra too. */
                timeout_usec = 0;

        r = sd_bus_get_fd(c->bus);
        if (r < 0)
                return r;
        fds[0].fd = r;
        r = sd_bus_get_events(c->bus);
        if (r < 0)
                return r;
        fds[0].events = (short)r;
        for (size_t i = 0; i < n_extra; i++)
                fds[i + 1] = (struct pollfd){ .fd = extra[i].fd, .events = extra[i].events };

        r = sd_bus_get_timeout(c->bus, &until);
        if (r < 0)
                return r;
        if (until != UINT64_MAX) {
                uint64_t now = now_usec();

                timeout_usec = MIN(timeout_usec, until > now ? until - now : 0);
        }

        ts.tv_sec = (time_t)(timeout_usec / 1000000);
        ts.tv_nsec = (long)(timeout_usec % 1000000) * 1000;
        r = ppoll(fds, 1 + n_extra, timeout_usec == UINT64_MAX ? NULL : &ts, NULL);
        if (r < 0 && errno != EINTR)
                return -errno;
        for (size_t i = 0; i < n_extra; i++)
                extra[i].revents = r > 0 ? fds[i + 1].revents : 0;
        return 0;
}

/* Returns 1: when the time is up, sd_bus_process() passes it on, and with 0 nobody would know that something happened. */
static int on_reply(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        Call *call = userdata;

        (void)reterr;
        call->reply = sd_bus_message_ref(m);
        return 1;
}

static int on_operation(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        Call *call = userdata;
        const char *name;

        (void)reterr;
        call->operation_slot = sd_bus_slot_unref(call->operation_slot);
        call->progress.operation[0] = '\0';
        /* A VM that is not there yet, or an older daemon: then there is no name to show. */
        if (sd_bus_message_is_method_error(m, NULL))
                return 0;
        if (sd_bus_message_enter_container(m, 'v', "(stu)") > 0 &&
            sd_bus_message_enter_container(m, 'r', "stu") > 0 &&
            sd_bus_message_read_basic(m, 's', &name) > 0)
                (void)snprintf(call->progress.operation, sizeof(call->progress.operation), "%s",
                               name);
        return 0;
}

static void call_ask_operation(Call *call, uint64_t elapsed_usec) {
        sd_bus_message *m = NULL;
        Client *c = call->client;

        if (elapsed_usec < call->next_operation_usec)
                return;
        call->next_operation_usec = elapsed_usec + OPERATION_PERIOD_USEC;
        if (call->operation_slot)
                return;

        if (sd_bus_message_new_method_call(c->bus, &m, AVIOMMU_BUS_NAME,
                                           VM_PATH(call->options->uuid), DBUS_PROPERTIES_INTERFACE,
                                           "Get") >= 0 &&
            sd_bus_message_append(m, "ss", AVIOMMU_VM_INTERFACE, "Operation") >= 0)
                (void)sd_bus_call_async(c->bus, &call->operation_slot, m, on_operation, call,
                                        ASIDE_TIMEOUT_USEC);
        (void)sd_bus_message_unref(m);
}

static int on_cancelled(sd_bus_message *m, void *userdata, sd_bus_error *reterr) {
        const sd_bus_error *e = sd_bus_message_get_error(m);
        Call *call = userdata;

        (void)reterr;
        if (e && !call->client->quiet)
                progress_note(&call->progress,
                              "There is nothing to cancel yet; Ctrl-C again leaves at once");
        return 0;
}

/* The first signal asks the daemon to stop; the second ends us. */
static void call_interrupted(Call *call, int signo) {
        sd_bus_message *m = NULL;
        Client *c = call->client;

        if (call->stopping) {
                progress_end(&call->progress);
                interrupt_die(signo);
        }
        call->stopping = true;

        if (!c->quiet)
                progress_note(&call->progress, "Cancelling; Ctrl-C again leaves at once");
        if (sd_bus_message_new_method_call(c->bus, &m, AVIOMMU_BUS_NAME,
                                           VM_PATH(call->options->uuid), AVIOMMU_VM_INTERFACE,
                                           "Cancel") >= 0)
                (void)sd_bus_call_async(c->bus, &call->cancel_slot, m, on_cancelled, call,
                                        ASIDE_TIMEOUT_USEC);
        (void)sd_bus_message_unref(m);
}

static int call_wait(Call *call) {
        Progress *p = &call->progress;
        int r;

        while (!call->reply) {
                struct pollfd extra[] = { { .fd = call->interrupt_fd, .events = POLLIN },
                                          { .fd = call->client->stop_fd ?: -1, .events = POLLIN } };
                uint64_t elapsed = now_usec() - call->start_usec, due = p->next_usec;

                if (p->what && call->options->uuid)
                        due = MIN(due, call->next_operation_usec);

                r = client_wait(call->client, extra, ELEMENTSOF(extra),
                                due == UINT64_MAX ? UINT64_MAX
                                : due > elapsed   ? due - elapsed
                                                  : 0);
                if (r < 0)
                        return r;
                if (extra[0].revents) {
                        int signo = interrupt_read(call->interrupt_fd);

                        if (signo > 0)
                                call_interrupted(call, signo);
                }
                if (call->reply)
                        break;
                if (extra[1].revents)
                        return -EINTR;

                elapsed = now_usec() - call->start_usec;
                if (p->what && call->options->uuid)
                        call_ask_operation(call, elapsed);
                progress_update(p, elapsed);
        }
        return 0;
}

static int call_failed(Call *call, const sd_bus_error *e, Failure *reterr) {
        FailureSubject subject = { call->options->uuid, call->options->function };
        uint64_t elapsed = now_usec() - call->start_usec;

        /* sd-bus says NoReply when the time is up, and the bus says so when aviommud went away before it answered. */
        if (sd_bus_error_has_name(e, SD_BUS_ERROR_NO_REPLY)) {
                if (elapsed < call->timeout_usec)
                        return failure_set_bus(reterr, e->name, "It went away before it answered",
                                               &subject);
                return failure_set(reterr, CLIENT_EXIT_TIMED_OUT, -ETIMEDOUT,
                                   call->options->is_change
                                           ? "It may still be done: `aviommuctl list` and "
                                             "`aviommuctl show UUID` tell. --timeout=0 waits for "
                                             "as long as it takes."
                                           : "Give it more time with --timeout=SECONDS, or see "
                                             "`systemctl status aviommud`.",
                                   "No answer from aviommud within %s",
                                   FORMAT_DURATION(call->timeout_usec));
        }
        return failure_set_bus(reterr, e->name, e->message, &subject);
}

int client_call(Client *c, sd_bus_message *message, const CallOptions *options,
                sd_bus_message **ret_reply, Failure *reterr) {
        static const CallOptions none = {};
        Call call = {
                .client = c,
                .options = options ?: &none,
                .start_usec = now_usec(),
                .next_operation_usec = OPERATION_FIRST_USEC,
        };
        const sd_bus_error *e;
        int r;

        call.timeout_usec = call.options->is_change ? UINT64_MAX : READ_TIMEOUT_USEC;
        if (c->timeout_usec > 0)
                call.timeout_usec = c->timeout_usec;
        progress_begin(&call.progress, c->quiet ? NULL : call.options->what);

        /* Before the call goes out: a signal right after must find someone who cancels it. */
        r = call.options->can_be_stopped ? interrupt_open() : -1;
        call.interrupt_fd = r;
        if (r >= 0 || !call.options->can_be_stopped)
                r = sd_bus_call_async(c->bus, &call.slot, message, on_reply, &call,
                                      call.timeout_usec);
        if (r >= 0)
                r = call_wait(&call);
        call.interrupt_fd = interrupt_close(call.interrupt_fd);
        progress_end(&call.progress);
        (void)sd_bus_slot_unref(call.slot);
        (void)sd_bus_slot_unref(call.operation_slot);
        (void)sd_bus_slot_unref(call.cancel_slot);

        if (r == -EINTR) /* without a flush, which would wait for a bus that hangs */
                c->bus = sd_bus_close_unref(c->bus);

        e = call.reply ? sd_bus_message_get_error(call.reply) : NULL;
        if (r < 0)
                r = failure_set_connection(reterr, r, c->address);
        else if (e)
                r = call_failed(&call, e, reterr);
        else if (call.options->is_change)
                c->has_changed = true;
        if (r < 0 || !ret_reply)
                (void)sd_bus_message_unref(call.reply);
        else
                *ret_reply = call.reply;
        return MIN(r, 0);
}

int client_get_properties(Client *c, const char *path, const char *interface,
                          const CallOptions *options, sd_bus_message **ret_reply, Failure *reterr) {
        sd_bus_message *m = NULL;
        int r;

        r = client_new_call(c, path, DBUS_PROPERTIES_INTERFACE, "GetAll", &m, reterr);
        if (r < 0)
                return r;
        r = sd_bus_message_append(m, "s", interface);
        if (r < 0)
                r = failure_set_connection(reterr, r, c->address);
        else
                r = client_call(c, m, options, ret_reply, reterr);
        (void)sd_bus_message_unref(m);
        return r;
}
