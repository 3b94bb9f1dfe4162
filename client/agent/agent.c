/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Its life, what aviommud says, and the work: what each domain wants done next is done, bounded. */

#include "agent/agent-private.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <systemd/sd-daemon.h>
#include <time.h>

#include "base/fd-util.h"

/* Of what aviommud answers only after some work: it allows 64 a caller. */
#define CALLS_MAX 32

/* ---- domains ---- */

Followed *agent_find(const Agent *agent, sd_id128_t uuid) {
        Followed *f;

        HASH_FIND(hh, agent->domains, &uuid, sizeof(uuid), f);
        return f;
}

void followed_complain(Followed *f, int level, const char *format, ...) {
        char text[1024];
        va_list ap;

        va_start(ap, format);
        (void)vsnprintf(text, sizeof(text), format, ap);
        va_end(ap);
        if (f->complaint && streq(f->complaint, text))
                level = LOG_DEBUG;
        log_event(level, MESSAGE_DOMAIN_TROUBLE,
                  &(LogFields){ .vm = SD_ID128_TO_UUID_STRING(f->uuid), .name = f->name }, "%s",
                  text);
        free(f->complaint);
        f->complaint = strdup(text);
}

void followed_content(Followed *f) {
        free(f->complaint);
        f->complaint = NULL;
}

/* ---- contexts ---- */

static FollowPrepared read_prepared(const sd_bus_error *error, sd_bus_message *reply, int *ret_fd) {
        int fd;

        if (error)
                return streq(aviommud_error_name(error), "VmExists") ? FOLLOW_PREPARED_VM_EXISTS
                                                                     : FOLLOW_PREPARED_REFUSED;
        if (sd_bus_message_read(reply, "h", &fd) < 0)
                return FOLLOW_PREPARED_REFUSED;
        *ret_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        return *ret_fd < 0 ? FOLLOW_PREPARED_REFUSED : FOLLOW_PREPARED;
}

static void prepare_refused(Followed *f, const sd_bus_error *error) {
        followed_complain(f, LOG_ERR, "There is no context for domain %s: %s", strempty(f->name),
                          error ? strempty(error->message) : "aviommud's answer has none");
}

static void on_prepared(void *userdata, sd_id128_t uuid, const sd_bus_error *error,
                        sd_bus_message *reply) {
        Agent *agent = userdata;
        Followed *f = agent_find(agent, uuid);
        _cleanup_close_ int fd = -1;
        FollowPrepared answer;

        agent->n_calls--;
        agent_wake(agent);
        if (!f || f->follow.under_way != FOLLOW_PREPARE)
                return;
        answer = read_prepared(error, reply, &fd);
        if (answer == FOLLOW_PREPARED_REFUSED)
                prepare_refused(f, error);
        if (follow_prepared(&f->follow, answer) &&
            libvirt_order(agent->libvirt, agent->connection, ORDER_ASSOCIATE, uuid, TAKE_FD(fd)) <
                    0)
                follow_done(&f->follow, false);
        if (f->gone)
                agent_forget(agent, f);
}

/* ---- the work ---- */

static void prepare(Agent *agent, Followed *f) {
        int r;

        follow_begin(&f->follow, FOLLOW_PREPARE);
        r = aviommud_prepare(agent->aviommud, f->uuid, on_prepared, agent);
        if (r >= 0) {
                agent->n_calls++;
                return;
        }
        followed_complain(f, LOG_ERR, "Cannot ask aviommud for a context: %s", strerror(-r));
        (void)follow_prepared(&f->follow, FOLLOW_PREPARED_REFUSED);
}

static void order(Agent *agent, Followed *f, FollowAction action, OrderKind kind) {
        follow_begin(&f->follow, action);
        if (libvirt_order(agent->libvirt, agent->connection, kind, f->uuid, -1) < 0)
                follow_done(&f->follow, false);
}

static void start(Agent *agent, Followed *f) {
        int r = starts_remove(&agent->starts, f->uuid);

        if (r < 0) {
                followed_log(f, LOG_ERR, "Cannot write %s, domain %s is not started: %s",
                             agent->starts.path, strempty(f->name), strerror(-r));
                f->follow.to_start = false;
                return;
        }
        followed_log(f, LOG_INFO, "Starting domain %s.", strempty(f->name));
        order(agent, f, FOLLOW_START, ORDER_START);
}

static void on_forgotten(void *userdata, sd_id128_t uuid, const sd_bus_error *error,
                         sd_bus_message *reply) {
        const Agent *agent = userdata;
        Followed *f = agent_find(agent, uuid);

        (void)reply;
        if (f)
                follow_forgotten(&f->follow, !sd_bus_error_has_names(error, SD_BUS_ERROR_NO_REPLY,
                                                                     SD_BUS_ERROR_SERVICE_UNKNOWN));
        /* That it is taken over is what should be, and of a VM that is only heard of late. */
        if (f && f->follow.running && !error)
                followed_log(f, LOG_NOTICE,
                             "Domain %s runs on a context that was prepared for it, and aviommud "
                             "has not admitted it: the context is let go of.",
                             strempty(f->name));
}

void agent_forget_context(Agent *agent, Followed *f) {
        follow_begin(&f->follow, FOLLOW_FORGET);
        (void)aviommud_forget(agent->aviommud, f->uuid, on_forgotten, agent);
}

static void act(Agent *agent, Followed *f, FollowAction action) {
        if (action == FOLLOW_COMPARE)
                compare_begin(agent, f);
        else if (action == FOLLOW_PREPARE)
                prepare(agent, f);
        else if (action == FOLLOW_FORGET)
                agent_forget_context(agent, f);
        else if (action == FOLLOW_RETIRE)
                order(agent, f, action, ORDER_RETIRE);
        else
                start(agent, f);
}

static void show_status(Agent *agent) {
        size_t n_running = 0, n_fresh = 0;
        char *status;

        for (const Followed *f = agent->domains; f; f = f->hh.next) {
                n_running += f->follow.running;
                n_fresh += f->follow.context == FOLLOW_FRESH;
        }
        if (asprintf(&status,
                     "libvirt: %s; aviommud: %s; %u domains, %zu running, %zu with a "
                     "fresh context%s",
                     agent->world.libvirt ? strempty(agent->connected_to) : "not reached",
                     agent->world.aviommud ? "there" : "not there", HASH_COUNT(agent->domains),
                     n_running, n_fresh,
                     agent->world.can_associate ? "" : " (this libvirt takes none)") < 0)
                return;
        if (!agent->status || !streq(agent->status, status)) {
                (void)sd_notifyf(false, "STATUS=%s", status);
                free(TAKE_PTR(agent->status));
                agent->status = TAKE_PTR(status);
        }
        free(status);
}

static int on_work(sd_event_source *source, void *userdata) {
        Agent *agent = userdata;

        (void)source;
        for (Followed *f = agent->domains; f; f = f->hh.next) {
                FollowAction action = f->gone ? FOLLOW_NOTHING
                                              : follow_next(&f->follow, &agent->world);

                if (action == FOLLOW_NOTHING)
                        continue;
                if ((action == FOLLOW_PREPARE || action == FOLLOW_COMPARE) &&
                    agent->n_calls >= CALLS_MAX)
                        continue; /* the next answer wakes us */
                act(agent, f, action);
        }
        show_status(agent);
        return 0;
}

void agent_wake(Agent *agent) {
        (void)sd_event_source_set_enabled(agent->work, SD_EVENT_ONESHOT);
}

static int on_report(sd_event_source *source, uint64_t usec, void *userdata) {
        Agent *agent = userdata;

        (void)usec;
        agent_list(agent);
        for (Followed *f = agent->domains; f; f = f->hh.next) {
                if (f->follow.unsettled && agent->world.libvirt)
                        (void)libvirt_order(agent->libvirt, agent->connection, ORDER_LOOK, f->uuid,
                                            -1);
                follow_again(&f->follow);
        }
        agent_wake(agent);
        (void)sd_event_source_set_time_relative(source, agent->config->report_usec);
        (void)sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
        return 0;
}

/* ---- aviommud ---- */

static void on_presence(void *userdata, bool there) {
        Agent *agent = userdata;

        if (there)
                log_msg(LOG_INFO, "aviommud is there.");
        else
                log_event(LOG_WARNING, MESSAGE_AGENT_NO_DAEMON, NULL, "aviommud is gone.");
        agent->world.aviommud = there;
        if (there) {
                agent_forget_gone(agent);
                for (Followed *f = agent->domains; f; f = f->hh.next)
                        follow_aviommud_came(&f->follow);
                agent_list(agent);
        }
        agent_wake(agent);
}

static void on_vm_added(void *userdata, sd_id128_t uuid) {
        Agent *agent = userdata;
        Followed *f = agent_find(agent, uuid);

        if (f)
                follow_vm_added(&f->follow);
        agent_wake(agent);
}

static void on_vm_removed(void *userdata, sd_id128_t uuid, const char *reason) {
        Agent *agent = userdata;
        Followed *f = agent_find(agent, uuid);

        if (f)
                follow_vm_removed(&f->follow,
                                  streq(reason, "vmm-exited") || streq(reason, "agent-report"));
        agent_wake(agent);
}

static int open_bus(Agent *agent) {
        const AviommudObserver observer = { .userdata = agent,
                                            .presence = on_presence,
                                            .vm_added = on_vm_added,
                                            .vm_removed = on_vm_removed };
        int r;

        r = aviommud_open(agent->event, agent->bus_address, &observer, &agent->aviommud);
        if (r < 0)
                log_msg(LOG_ERR, "Cannot get on the bus: %s", strerror(-r));
        return r;
}

/* ---- life ---- */

static int start_libvirt(Agent *agent) {
        int r;

        r = libvirt_start(agent->config, &agent->libvirt);
        if (r >= 0)
                r = sd_event_add_io(agent->event, &agent->news, libvirt_get_fd(agent->libvirt),
                                    EPOLLIN, agent_on_news, agent);
        if (r < 0)
                log_msg(LOG_ERR, "Cannot begin with libvirt: %s", strerror(-r));
        return r;
}

static int agent_begin(Agent *agent, const char *runtime_folder) {
        int r;

        r = starts_open(&agent->starts, runtime_folder);
        if (r < 0) {
                log_msg(LOG_ERR, "Cannot read the runtime directory %s: %s", runtime_folder,
                        strerror(-r));
                return r;
        }
        if (agent->config->start_domains && !runtime_folder)
                log_msg(LOG_WARNING, "There is no runtime directory: no domains are started.");
        r = sd_event_add_defer(agent->event, &agent->work, on_work, agent);
        if (r >= 0)
                r = sd_event_add_time_relative(agent->event, &agent->report, CLOCK_MONOTONIC,
                                               agent->config->report_usec, 0, on_report, agent);
        if (r < 0) {
                log_msg(LOG_ERR, "Cannot begin: %s", strerror(-r));
                return r;
        }
        r = open_bus(agent);
        return r < 0 ? r : start_libvirt(agent);
}

int agent_new(sd_event *event, const AgentOptions *options, Agent **ret) {
        Agent *agent = new0(Agent, 1);
        int r;

        if (!agent)
                return -ENOMEM;
        *agent = (Agent){ .event = sd_event_ref(event),
                          .config = options->config,
                          .bus_address = options->bus_address };
        r = agent_begin(agent, options->runtime_folder);
        if (r < 0) {
                (void)agent_free(agent);
                return r;
        }
        *ret = agent;
        return 0;
}

int agent_free(Agent *agent) {
        int r;

        if (!agent)
                return 0;
        agent->aviommud = aviommud_close(agent->aviommud);
        comparisons_free(agent);
        agent->news = sd_event_source_disable_unref(agent->news);
        r = libvirt_stop(agent->libvirt);
        agent_forget_all(agent);
        agent->work = sd_event_source_disable_unref(agent->work);
        agent->report = sd_event_source_disable_unref(agent->report);
        starts_done(&agent->starts);
        free(agent->report_complaint);
        free(agent->connected_to);
        free(agent->status);
        agent->event = sd_event_unref(agent->event);
        free(agent);
        return r;
}
