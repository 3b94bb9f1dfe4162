/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What the thread asks of libvirt: how domains are, and the orders. */

#include "agent/libvirt-private.h"

#include <stdio.h>

#include "base/log.h"

/* A start is told of while libvirt is still about it, and does not have to share the machine with us. */
#define LOOK_AFTER_MSEC 300

static bool error_is(int code) {
        const virError *e = virGetLastError();

        return e && e->code == code;
}

/* A call has failed, with @reason: was it the connection? */
static void check_alive_after(Libvirt *lv, const char *reason) {
        if (lv->connection && virConnectIsAlive(lv->connection) != 1)
                libvirt_lose(lv, reason ?: "the connection is lost");
}

static void check_alive(Libvirt *lv) {
        _cleanup_free_ char *reason = strdup(libvirt_error());

        check_alive_after(lv, reason);
}

/* ---- a domain ---- */

/* Returns 0, -ENOENT (there is none any more), -EIO (the reason is libvirt's last error), -ENOMEM. */
static int failed(void) {
        return error_is(VIR_ERR_NO_DOMAIN) ? -ENOENT : error_is(VIR_ERR_NO_MEMORY) ? -ENOMEM : -EIO;
}

/* There is no XML to be had: it may be too large for libvirt's protocol. */
static int not_given(DomainFacts *facts) {
        int r = failed();

        if (r != -EIO)
                return r;
        free(facts->unreadable);
        if (asprintf(&facts->unreadable, "Libvirt does not give its XML: %s", libvirt_error()) >= 0)
                return -ENODATA;
        facts->unreadable = NULL;
        return -ENOMEM;
}

/* Reads the XML. A domain whose XML cannot be read has a sentence in @facts->unreadable, and *ret is left. Returns 0, -ENODATA
 * (there is none to be read), -ENOENT, -ENOMEM. */
static int read_xml(virDomainPtr domain, unsigned flags, DomainFacts *facts, Domain *ret,
                    bool *ret_read) {
        _cleanup_free_ char *xml = virDomainGetXMLDesc(domain, flags);
        char *error = NULL;
        int r;

        *ret_read = false;
        if (!xml)
                return not_given(facts);
        r = flags & VIR_DOMAIN_XML_INACTIVE ? domain_parse(xml, strlen(xml), ret, &error)
                                            : domain_parse_started(xml, strlen(xml), ret, &error);
        if (r >= 0) {
                *ret_read = true;
                return 0;
        }
        free(facts->unreadable);
        facts->unreadable = error ?: strdup(strerror(-r));
        return r == -ENOMEM ? r : 0;
}

static int read_next_start(virDomainPtr domain, DomainFacts *facts) {
        Domain d;
        bool is_read;
        int r;

        r = read_xml(domain, VIR_DOMAIN_XML_INACTIVE, facts, &d, &is_read);
        if (r < 0 || !is_read)
                return r;
        facts->wants_context = d.iommufd && d.fdgroup && streq(d.fdgroup, DOMAIN_FDGROUP);
        domain_done(&d);
        return 0;
}

static int read_functions(const Libvirt *lv, virDomainPtr domain, DomainFacts *facts) {
        Domain d;
        bool is_read;
        int r;

        r = read_xml(domain, 0, facts, &d, &is_read);
        if (r < 0 || !is_read)
                return r;
        domain_decide_late(&d, lv->config, &facts->late);
        facts->memory = d.memory;
        facts->functions = TAKE_PTR(d.functions);
        facts->n_functions = d.n_functions;
        d.n_functions = 0;
        facts->functions_known = true;
        facts->bad_request = TAKE_PTR(d.bad_request);
        domain_done(&d);
        return 0;
}

static int read_facts(const Libvirt *lv, virDomainPtr domain, DomainFacts *facts) {
        const char *name = virDomainGetName(domain);
        int active, persistent, autostart = 0, r = 0;

        facts->name = strdup(name ?: "?");
        if (!facts->name)
                return -ENOMEM;
        active = virDomainIsActive(domain);
        persistent = active < 0 ? -1 : virDomainIsPersistent(domain);
        if (persistent < 0)
                return failed();
        facts->running = active;
        facts->persistent = persistent;

        if (persistent) {
                if (virDomainGetAutostart(domain, &autostart) < 0)
                        return failed();
                facts->autostart = autostart;
                r = read_next_start(domain, facts);
                facts->next_unknown = r == -ENODATA;
        }
        if ((r >= 0 || facts->next_unknown) && active) {
                int q = read_functions(lv, domain, facts);

                r = q < 0 ? q : r;
        }
        return r;
}

static void look_at(Libvirt *lv, virDomainPtr domain, bool devices) {
        News *news = libvirt_news(NEWS_DOMAIN, lv->number);
        int r;

        if (!news)
                return;
        news->devices = devices;
        (void)virDomainGetUUID(domain, news->uuid.bytes);
        r = read_facts(lv, domain, &news->facts);
        if (r == -ENODATA)
                check_alive_after(lv, news->facts.unreadable);
        if (r == -ENOENT)
                news->kind = NEWS_GONE;
        else if (r < 0 && (r != -ENODATA || lv->lost)) {
                log_msg(LOG_WARNING, "Cannot look at domain %s: %s", strempty(news->facts.name),
                        r == -ENOMEM    ? strerror(-r)
                        : r == -ENODATA ? news->facts.unreadable
                                        : libvirt_error());
                if (r == -EIO)
                        check_alive(lv);
                news_free(news);
                return;
        }
        libvirt_tell(lv, news);
}

/* The domain of a UUID, or NULL: there is none, which is told, or the connection is lost. */
static virDomainPtr find(Libvirt *lv, sd_id128_t uuid) {
        virDomainPtr domain = virDomainLookupByUUID(lv->connection, uuid.bytes);
        News *news;

        if (domain)
                return domain;
        if (!error_is(VIR_ERR_NO_DOMAIN)) {
                check_alive(lv);
                return NULL;
        }
        news = libvirt_news(NEWS_GONE, lv->number);
        if (news)
                news->uuid = uuid;
        libvirt_tell(lv, news);
        return NULL;
}

static void look(Libvirt *lv, sd_id128_t uuid, bool devices) {
        virDomainPtr domain = find(lv, uuid);

        if (!domain)
                return;
        look_at(lv, domain, devices);
        (void)virDomainFree(domain);
}

uint64_t libvirt_now_msec(void) {
        struct timespec ts;

        (void)clock_gettime(CLOCK_MONOTONIC, &ts);
        return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void libvirt_look_soon(Libvirt *lv, sd_id128_t uuid, bool devices, bool later) {
        uint64_t at = libvirt_now_msec() + (later ? LOOK_AFTER_MSEC : 0);
        Look *grown;

        lv->look_at_msec = lv->n_looks == 0 ? at : MIN(lv->look_at_msec, at);

        for (size_t i = 0; i < lv->n_looks; i++)
                if (sd_id128_equal(lv->looks[i].uuid, uuid)) {
                        lv->looks[i].devices |= devices;
                        return;
                }
        grown = reallocarray(lv->looks, lv->n_looks + 1, sizeof(*grown));
        if (!grown) {
                libvirt_lose(lv, "not enough memory for its events");
                return;
        }
        lv->looks = grown;
        grown[lv->n_looks++] = (Look){ .uuid = uuid, .devices = devices };
}

void libvirt_look_due(Libvirt *lv) {
        Look *looks;
        size_t n = lv->n_looks;

        if (n == 0 || libvirt_now_msec() < lv->look_at_msec)
                return;
        looks = TAKE_PTR(lv->looks);
        lv->n_looks = 0;
        for (size_t i = 0; i < n && lv->connection && !lv->lost; i++)
                look(lv, looks[i].uuid, looks[i].devices);
        free(looks);
}

/* ---- lists ---- */

static void list_free(virDomainPtr *domains, int n) {
        for (int i = 0; i < n; i++)
                (void)virDomainFree(domains[i]);
        free(domains);
}

void libvirt_list_all(Libvirt *lv) {
        virDomainPtr *domains = NULL;
        int n;

        n = virConnectListAllDomains(lv->connection, &domains, 0);
        if (n < 0) {
                libvirt_lose(lv, libvirt_error());
                return;
        }
        for (int i = 0; i < n && !lv->lost; i++)
                look_at(lv, domains[i], false);
        list_free(domains, n);
        if (!lv->lost)
                libvirt_tell(lv, libvirt_news(NEWS_LISTED, lv->number));
}

static void list_running(Libvirt *lv) {
        News *news = libvirt_news(NEWS_RUNNING, lv->number);
        virDomainPtr *domains = NULL;
        int n;

        if (!news) {
                /* Nobody would ask for another list. */
                libvirt_lose(lv, "not enough memory");
                return;
        }
        n = virConnectListAllDomains(lv->connection, &domains, VIR_CONNECT_LIST_DOMAINS_ACTIVE);
        if (n < 0) {
                news->text = strdup(libvirt_error());
                news->result = -EIO;
                check_alive(lv);
        } else {
                news->uuids = new0(sd_id128_t, (size_t)n + 1);
                if (!news->uuids)
                        news->result = -ENOMEM;
                for (int i = 0; i < n && news->uuids; i++)
                        (void)virDomainGetUUID(domains[i], news->uuids[news->n_uuids++].bytes);
                list_free(domains, n);
        }
        libvirt_tell(lv, news);
}

/* ---- orders that are answered ---- */

/* Older servers do not know the call, test drivers and other hypervisors do not have it, and over a network there are no descriptors. */
static bool is_unsupported(void) {
        const virError *e = virGetLastError();

        if (!e)
                return false;
        return e->code == VIR_ERR_NO_SUPPORT || e->code == VIR_ERR_OPERATION_UNSUPPORTED ||
               (e->code == VIR_ERR_RPC && e->message && strstr(e->message, "unknown procedure"));
}

static int carry_out(Libvirt *lv, const Order *order, virDomainPtr domain) {
        int fd = order->kind == ORDER_RETIRE ? lv->dead_end : order->fd;

        return order->kind == ORDER_START ? virDomainCreate(domain)
                                          : virDomainFDAssociate(domain, DOMAIN_FDGROUP, 1, &fd, 0);
}

/* Of a domain that is to be started: nobody tells when the mark is taken off. */
static bool is_marked(virDomainPtr domain) {
        int autostart;

        return virDomainGetAutostart(domain, &autostart) < 0 || autostart;
}

static void answer(Libvirt *lv, const Order *order) {
        News *news = libvirt_news(NEWS_ANSWER, lv->number);
        virDomainPtr domain = NULL;

        if (!news) {
                /* Nobody would know how it went: begin anew. */
                libvirt_lose(lv, "not enough memory");
                return;
        }
        news->uuid = order->uuid;
        news->order = order->kind;
        news->result = -EIO;
        domain = find(lv, order->uuid);
        if (domain && order->kind == ORDER_START && !is_marked(domain))
                news->result = -ECANCELED;
        else if (domain && carry_out(lv, order, domain) >= 0)
                news->result = 0;
        else {
                if (is_unsupported())
                        news->result = -EOPNOTSUPP;
                news->text = strdup(libvirt_error());
                if (domain)
                        check_alive(lv);
        }
        if (domain)
                (void)virDomainFree(domain);
        libvirt_tell(lv, news);
}

void libvirt_carry_out(Libvirt *lv, Order *order) {
        if (!lv->connection || lv->lost || order->connection != lv->number)
                return;
        switch (order->kind) {
        case ORDER_LIST:
                list_running(lv);
                break;
        case ORDER_LOOK:
                look(lv, order->uuid, true);
                break;
        case ORDER_ASSOCIATE:
        case ORDER_RETIRE:
        case ORDER_START:
                answer(lv, order);
                break;
        case _ORDER_LOOK_SOON:
                libvirt_look_soon(lv, order->uuid, order->devices, order->later);
                break;
        case _ORDER_LOST:
                libvirt_lose(lv, order->reason);
                break;
        case _ORDER_STOP:
                break;
        }
}
