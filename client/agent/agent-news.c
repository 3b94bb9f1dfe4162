/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What libvirt says, and what that changes. */

#include "agent/agent-private.h"

/* What aviommud takes in one report. */
#define REPORT_MAX 32768

/* ---- domains ---- */

static void followed_free(Agent *agent, Followed *f) {
        HASH_DEL(agent->domains, f);
        if (f->comparison)
                comparison_abandon(f->comparison);
        free(f->functions);
        free(f->complaint);
        free(f->name);
        free(f);
}

void agent_forget(Agent *agent, Followed *f) {
        if (f->follow.under_way == FOLLOW_PREPARE ||
            (f->follow.prepared && !agent->world.aviommud)) {
                f->gone = true;
                follow_stopped(&f->follow);
                f->follow.persistent = false;
                return;
        }
        if (f->follow.prepared)
                agent_forget_context(agent, f);
        followed_free(agent, f);
}

void agent_forget_gone(Agent *agent) {
        for (Followed *f = agent->domains, *next; f; f = next) {
                next = f->hh.next;
                if (f->gone)
                        agent_forget(agent, f);
        }
}

void agent_forget_all(Agent *agent) {
        for (Followed *f = agent->domains, *next; f; f = next) {
                next = f->hh.next;
                followed_free(agent, f);
        }
}

static Followed *follow(Agent *agent, sd_id128_t uuid) {
        Followed *f = agent_find(agent, uuid);

        if (f) {
                f->gone = false;
                return f;
        }
        f = new0(Followed, 1);
        if (!f)
                return NULL;
        *f = (Followed){ .uuid = uuid };
        HASH_ADD(hh, agent->domains, uuid, sizeof(f->uuid), f);
        if (!f->hh.tbl) {
                free(f);
                return NULL;
        }
        f->follow.to_start = agent->config->start_domains && starts_has(&agent->starts, uuid);
        return f;
}

static bool functions_equal(const DomainFunction *a, size_t n_a, const DomainFunction *b,
                            size_t n_b) {
        if (n_a != n_b)
                return false;
        for (size_t i = 0; i < n_a; i++)
                if (!pci_address_equal(&a[i].address, &b[i].address))
                        return false;
        return true;
}

DomainFunction *functions_copy(const DomainFunction *functions, size_t n) {
        DomainFunction *copy = new0(DomainFunction, n + 1);

        for (size_t i = 0; copy && i < n; i++) {
                copy[i] = functions[i];
                copy[i].alias = NULL;
        }
        return copy;
}

/* One that runs need not be started any more, whatever becomes of it. */
static void started(Agent *agent, const Followed *f) {
        if (starts_has(&agent->starts, f->uuid))
                (void)starts_remove(&agent->starts, f->uuid);
}

static void on_functions(Followed *f, const News *news) {
        const DomainFacts *facts = &news->facts;
        bool known = f->follow.functions_known, changed = news->devices || !known;

        if (!facts->functions_known) {
                follow_functions(&f->follow, false, false);
                return;
        }
        changed |= !functions_equal(f->functions, f->n_functions, facts->functions,
                                    facts->n_functions);
        free(f->functions);
        f->functions = functions_copy(facts->functions, facts->n_functions);
        f->n_functions = f->functions ? facts->n_functions : 0;
        f->memory = facts->memory;
        f->late = facts->late;
        follow_functions(&f->follow, f->functions, changed);
}

static void on_domain(Agent *agent, News *news) {
        const DomainFacts *facts = &news->facts;
        Followed *f = follow(agent, news->uuid);

        if (!f) {
                log_msg(LOG_ERR, "Not enough memory to follow domain %s.", facts->name);
                return;
        }
        f->seen = news->connection;
        f->autostart = facts->autostart;
        free(f->name);
        f->name = TAKE_PTR(news->facts.name);
        follow_facts(&f->follow, facts->running, facts->persistent,
                     facts->next_unknown ? f->follow.wants_context : facts->wants_context);
        on_functions(f, news);
        if (facts->running)
                started(agent, f);
        if (facts->bad_request)
                followed_complain(f, LOG_WARNING,
                                  "The request of domain %s is not taken, and what it has is "
                                  "counted without it: %s",
                                  strempty(f->name), facts->bad_request);
        else if (facts->unreadable)
                followed_complain(f, LOG_WARNING, "Domain %s is left alone: %s", strempty(f->name),
                                  facts->unreadable);
}

/* ---- the connection ---- */

static void on_connected(Agent *agent, News *news) {
        agent->connection = news->connection;
        agent->world.libvirt = true;
        agent->world.can_associate = true;
        agent->listing = false;
        free(agent->connected_to);
        agent->connected_to = TAKE_PTR(news->text);
        log_msg(LOG_INFO, "Connected to libvirt: %s.", strempty(agent->connected_to));
}

static void on_disconnected(Agent *agent, const News *news) {
        log_event(LOG_WARNING, MESSAGE_AGENT_NO_LIBVIRT, &(LogFields){ .reason = news->text },
                  "The connection to libvirt is lost: %s.", strempty(news->text));
        agent->world.libvirt = false;
        agent->listing = false;
        for (Followed *f = agent->domains; f; f = f->hh.next)
                follow_libvirt_lost(&f->follow);
}

/* Which domains an agent starts after a boot is decided once, at the first look. */
static void decide_starts(Agent *agent) {
        _cleanup_free_ sd_id128_t *uuids = NULL;
        size_t n = 0;
        int r;

        if (agent->starts.decided || !agent->starts.path)
                return;
        uuids = new0(sd_id128_t, HASH_COUNT(agent->domains) + 1);
        for (const Followed *f = agent->domains; f && uuids; f = f->hh.next)
                if (agent->config->start_domains && f->autostart && f->follow.persistent &&
                    f->follow.wants_context && !f->follow.running)
                        uuids[n++] = f->uuid;
        r = uuids ? starts_decide(&agent->starts, uuids, n) : -ENOMEM;
        if (r < 0) {
                log_msg(LOG_ERR, "Cannot write %s, no domains are started: %s", agent->starts.path,
                        strerror(-r));
                return;
        }
        for (size_t i = 0; i < n; i++)
                agent_find(agent, uuids[i])->follow.to_start = true;
        if (n > 0)
                log_msg(LOG_INFO, "%zu domain(s) are to be started.", n);
}

static void on_listed(Agent *agent, const News *news) {
        for (Followed *f = agent->domains, *next; f; f = next) {
                next = f->hh.next;
                if (f->seen != news->connection)
                        agent_forget(agent, f);
        }
        decide_starts(agent);
        agent_list(agent);
}

/* ---- reports ---- */

void agent_list(Agent *agent) {
        if (!agent->world.libvirt || agent->listing)
                return;
        agent->listing = libvirt_order(agent->libvirt, agent->connection, ORDER_LIST, SD_ID128_NULL,
                                       -1) >= 0;
}

static void report_failed(Agent *agent, const char *text) {
        if (agent->report_complaint && streq(agent->report_complaint, text))
                return;
        log_event(LOG_ERR, MESSAGE_AGENT_NO_REPORT, &(LogFields){ .reason = text },
                  "Cannot report the running domains to aviommud: %s", text);
        free(agent->report_complaint);
        agent->report_complaint = strdup(text);
}

static void on_reported(void *userdata, sd_id128_t uuid, const sd_bus_error *error,
                        sd_bus_message *reply) {
        Agent *agent = userdata;

        (void)uuid;
        (void)reply;
        if (error) {
                report_failed(agent, strempty(error->message));
                return;
        }
        free(agent->report_complaint);
        agent->report_complaint = NULL;
}

void agent_look(Agent *agent, sd_id128_t uuid) {
        (void)libvirt_order(agent->libvirt, agent->connection, ORDER_LOOK, uuid, -1);
}

/* An event that has not come is made up for. */
static void check_list(Agent *agent, const News *news) {
        agent->list++;
        for (size_t i = 0; i < news->n_uuids; i++) {
                Followed *f = agent_find(agent, news->uuids[i]);

                if (f)
                        f->listed = agent->list;
                if (!f || !f->follow.running)
                        agent_look(agent, news->uuids[i]);
        }
        for (const Followed *f = agent->domains; f; f = f->hh.next)
                if (f->follow.running && f->listed != agent->list)
                        agent_look(agent, f->uuid);
}

static void on_running(Agent *agent, const News *news) {
        int r;

        agent->listing = false;
        if (news->result < 0) {
                log_event(LOG_WARNING, MESSAGE_AGENT_NO_REPORT,
                          &(LogFields){ .reason = news->text },
                          "No report: libvirt does not list the running domains: %s",
                          news->text ?: strerror(-news->result));
                return;
        }
        check_list(agent, news);
        if (!agent->world.aviommud)
                return;
        if (news->n_uuids > REPORT_MAX) {
                report_failed(agent, "there are more than it takes");
                return;
        }
        r = aviommud_report(agent->aviommud, news->uuids, news->n_uuids, on_reported, agent);
        if (r < 0)
                report_failed(agent, strerror(-r));
}

/* ---- answers ---- */

static void say_unsupported(Agent *agent, const News *news) {
        agent->world.can_associate = false;
        if (agent->said_unsupported)
                return;
        agent->said_unsupported = true;
        log_event(LOG_WARNING, MESSAGE_AGENT_NO_DESCRIPTORS, &(LogFields){ .reason = news->text },
                  "This libvirt takes no file descriptors for domains (%s): domains with "
                  "fdgroup='%s' "
                  "cannot start here. QEMU's driver has it since libvirt 9.0, <iommufd fdgroup=> "
                  "since "
                  "12.2.",
                  strempty(news->text), DOMAIN_FDGROUP);
}

static void on_answer(Agent *agent, const News *news) {
        Followed *f = agent_find(agent, news->uuid);
        FollowAction expected = news->order == ORDER_RETIRE  ? FOLLOW_RETIRE
                                : news->order == ORDER_START ? FOLLOW_START
                                                             : FOLLOW_ASSOCIATE;

        if (news->order != ORDER_START && news->result == -EOPNOTSUPP)
                say_unsupported(agent, news);
        if (!f || f->follow.under_way != expected)
                return;
        follow_done(&f->follow, news->result >= 0);

        if (news->order == ORDER_START) {
                if (news->result == -ECANCELED)
                        followed_log(f, LOG_INFO,
                                     "Domain %s is not started: it is not marked for autostart any "
                                     "more.",
                                     strempty(f->name));
                else if (news->result < 0)
                        log_event(LOG_ERR, MESSAGE_DOMAIN_TROUBLE,
                                  &(LogFields){ .vm = SD_ID128_TO_UUID_STRING(f->uuid),
                                                .name = f->name,
                                                .reason = news->text },
                                  "Domain %s does not start: %s", strempty(f->name),
                                  strempty(news->text));
                else
                        followed_log(f, LOG_INFO, "Started domain %s.", strempty(f->name));
        } else if (news->result < 0 && news->result != -EOPNOTSUPP)
                followed_complain(f, LOG_ERR, "Cannot associate a context with domain %s: %s",
                                  strempty(f->name), strempty(news->text));
        else if (f->follow.context == FOLLOW_FRESH) {
                agent->said_unsupported = false;
                followed_content(f);
                followed_log(f, LOG_INFO, "Domain %s has a fresh context for its next start.",
                             strempty(f->name));
        }
}

/* ---- all news ---- */

static void on_event(Agent *agent, const News *news) {
        Followed *f = agent_find(agent, news->uuid);

        if (!f)
                return; /* the look after it tells */
        f->is_unknown = false;
        if (news->kind == NEWS_STARTED) {
                follow_started(&f->follow);
                started(agent, f);
        } else if (news->kind == NEWS_STOPPED)
                follow_stopped(&f->follow);
        else if (news->kind == NEWS_UNDEFINED)
                follow_undefined(&f->follow);
        else
                agent_forget(agent, f);
}

static void on_one(Agent *agent, News *news) {
        switch (news->kind) {
        case NEWS_CONNECTED:
                on_connected(agent, news);
                break;
        case NEWS_DISCONNECTED:
                on_disconnected(agent, news);
                break;
        case NEWS_STARTED:
        case NEWS_STOPPED:
        case NEWS_UNDEFINED:
        case NEWS_GONE:
                on_event(agent, news);
                break;
        case NEWS_DOMAIN:
                on_domain(agent, news);
                break;
        case NEWS_LISTED:
                on_listed(agent, news);
                break;
        case NEWS_RUNNING:
                on_running(agent, news);
                break;
        case NEWS_ANSWER:
                on_answer(agent, news);
                break;
        }
}

int agent_on_news(sd_event_source *source, int fd, uint32_t events, void *userdata) {
        Agent *agent = userdata;
        News *news = libvirt_take_news(agent->libvirt);

        (void)source;
        (void)fd;
        (void)events;
        while (news) {
                News *next = news_next(news);

                on_one(agent, news);
                news_free(news);
                news = next;
        }
        agent_wake(agent);
        return 0;
}
