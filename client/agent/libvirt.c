/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The threads: libvirt's loop with the events, and the one that calls, with the connection. */

#include "agent/libvirt-private.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <time.h>

#include "base/fd-util.h"
#include "base/log.h"

#define PAUSE_MIN_MSEC 1000U
#define PAUSE_MAX_MSEC 60000U

/* A libvirtd that says nothing for so long is as good as gone. */
#define KEEPALIVE_SEC   5
#define KEEPALIVE_COUNT 4

#define STOP_SEC 5

const char *libvirt_error(void) {
        const virError *e = virGetLastError();

        return e && e->message ? e->message : "libvirt does not say why";
}

/* ---- news ---- */

static void news_mail_free(Mail *mail) {
        news_free(container_of(mail, News, mail));
}

static void tell_text(Libvirt *lv, NewsKind kind, const char *text) {
        News *news = libvirt_news(kind, lv->number);

        if (news)
                news->text = strdup(text);
        libvirt_tell(lv, news);
}

/* ---- events ---- */

static Source *source_new(Libvirt *lv) {
        Source *source = new0(Source, 1);

        if (source)
                *source = (Source){ .lv = lv, .number = lv->number };
        return source;
}

static void tell_event(const Source *source, NewsKind kind, virDomainPtr domain) {
        News *news = libvirt_news(kind, source->number);

        if (!news)
                return;
        (void)virDomainGetUUID(domain, news->uuid.bytes);
        libvirt_tell(source->lv, news);
}

static void order_within(const Source *source, const Order *template) {
        Order *order = new0(Order, 1);

        if (!order) {
                log_msg(LOG_ERR, "Not enough memory for an event of libvirt.");
                return;
        }
        *order = *template;
        order->connection = source->number;
        order->fd = -1;
        mailbox_post(&source->lv->orders, &order->mail);
}

static void look_soon(const Source *source, virDomainPtr domain, bool devices, bool later) {
        Order order = { .kind = _ORDER_LOOK_SOON, .devices = devices, .later = later };

        if (virDomainGetUUID(domain, order.uuid.bytes) >= 0)
                order_within(source, &order);
}

static void on_lifecycle(virConnectPtr connection, virDomainPtr domain, int event, int detail,
                         void *userdata) {
        (void)connection;
        (void)detail;
        if (event == VIR_DOMAIN_EVENT_STARTED)
                tell_event(userdata, NEWS_STARTED, domain);
        else if (event == VIR_DOMAIN_EVENT_STOPPED)
                tell_event(userdata, NEWS_STOPPED, domain);
        else if (event == VIR_DOMAIN_EVENT_UNDEFINED)
                tell_event(userdata, NEWS_UNDEFINED, domain);
        else if (event != VIR_DOMAIN_EVENT_DEFINED && event != VIR_DOMAIN_EVENT_CRASHED)
                return;
        look_soon(userdata, domain, false, event == VIR_DOMAIN_EVENT_STARTED);
}

static void on_device(virConnectPtr connection, virDomainPtr domain, const char *alias,
                      void *userdata) {
        (void)connection;
        (void)alias;
        look_soon(userdata, domain, true, false);
}

static void on_metadata(virConnectPtr connection, virDomainPtr domain, int type, const char *uri,
                        void *userdata) {
        (void)connection;
        (void)type;
        (void)uri;
        look_soon(userdata, domain, false, false);
}

static void on_close(virConnectPtr connection, int reason, void *userdata) {
        static const char *const reasons[] = {
                [VIR_CONNECT_CLOSE_REASON_ERROR] = "an error on the connection",
                [VIR_CONNECT_CLOSE_REASON_EOF] = "it has closed the connection",
                [VIR_CONNECT_CLOSE_REASON_KEEPALIVE] = "it does not answer",
                [VIR_CONNECT_CLOSE_REASON_CLIENT] = "the connection was closed here",
        };

        (void)connection;
        order_within(userdata, &(Order){ .kind = _ORDER_LOST,
                                         .reason = reason >= 0 && reason < (int)ELEMENTSOF(reasons)
                                                           ? reasons[reason]
                                                           : "the connection is closed" });
}

/* ---- the connection ---- */

void libvirt_lose(Libvirt *lv, const char *reason) {
        if (lv->lost || !lv->connection)
                return;
        lv->lost = true;
        lv->lost_reason = strdup(reason);
}

static void disconnect(Libvirt *lv) {
        if (!lv->connection)
                return;
        for (size_t i = 0; i < _EVENT_MAX; i++)
                if (lv->events[i] >= 0) {
                        (void)virConnectDomainEventDeregisterAny(lv->connection, lv->events[i]);
                        lv->events[i] = -1;
                }
        if (lv->has_close_callback)
                (void)virConnectUnregisterCloseCallback(lv->connection, on_close);
        lv->has_close_callback = false;
        (void)virConnectClose(lv->connection);
        lv->connection = NULL;
        lv->lost = false;
        free(TAKE_PTR(lv->lost_reason));
        free(TAKE_PTR(lv->looks));
        lv->n_looks = 0;
}

/* libvirt calls each through its own type again. */
#define CALLBACK(f) ((virConnectDomainEventGenericCallback)(void (*)(void))(f))

/* All events that there are. Those of life are what we live on, the others an old libvirt may lack. */
static int subscribe(Libvirt *lv) {
        static const struct {
                int id;
                virConnectDomainEventGenericCallback callback;
                const char *what;
        } table[_EVENT_MAX] = {
                [EVENT_LIFECYCLE] = { VIR_DOMAIN_EVENT_ID_LIFECYCLE, CALLBACK(on_lifecycle),
                                      "life" },
                [EVENT_DEVICE_ADDED] = { VIR_DOMAIN_EVENT_ID_DEVICE_ADDED, CALLBACK(on_device),
                                         "added devices" },
                [EVENT_DEVICE_REMOVED] = { VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED, CALLBACK(on_device),
                                           "removed devices" },
                [EVENT_METADATA] = { VIR_DOMAIN_EVENT_ID_METADATA_CHANGE, CALLBACK(on_metadata),
                                     "metadata" },
        };

        for (size_t i = 0; i < _EVENT_MAX; i++) {
                Source *source = source_new(lv);

                if (!source)
                        return -ENOMEM;
                lv->events[i] = virConnectDomainEventRegisterAny(lv->connection, NULL, table[i].id,
                                                                 table[i].callback, source, free);
                if (lv->events[i] >= 0)
                        continue;
                free(source);
                if (i == EVENT_LIFECYCLE)
                        return -EIO;
                log_msg(LOG_WARNING, "This libvirt tells nothing of domains' %s: %s", table[i].what,
                        libvirt_error());
        }
        return 0;
}

/* Not every driver that accepts a callback ever frees what belongs to it. */
static void watch_close(Libvirt *lv) {
        lv->close_source = (Source){ .lv = lv, .number = lv->number };
        lv->has_close_callback = virConnectRegisterCloseCallback(lv->connection, on_close,
                                                                 &lv->close_source, NULL) >= 0;
}

static void tell_connected(Libvirt *lv) {
        _cleanup_free_ char *text = NULL;
        unsigned long version = 0;

        (void)virConnectGetLibVersion(lv->connection, &version);
        if (asprintf(&text, "%s, libvirt %lu.%lu.%lu", lv->uri, version / 1000000,
                     version / 1000 % 1000, version % 1000) < 0)
                text = NULL;
        tell_text(lv, NEWS_CONNECTED, text ?: lv->uri);
}

static void connect_later(Libvirt *lv) {
        lv->connect_at_msec = libvirt_now_msec() + lv->pause_msec;
        lv->pause_msec = MIN(lv->pause_msec * 2, PAUSE_MAX_MSEC);
}

/* Says why, the first time; the reason is libvirt's last error. */
static void connect_failed(Libvirt *lv) {
        log_event(lv->said_unreachable ? LOG_DEBUG : LOG_WARNING, MESSAGE_AGENT_NO_LIBVIRT,
                  &(LogFields){ .reason = libvirt_error() },
                  "Cannot reach libvirt at %s, trying again from time to time: %s", lv->uri,
                  libvirt_error());
        lv->said_unreachable = true;
        disconnect(lv);
        connect_later(lv);
}

static void connect_now(Libvirt *lv) {
        lv->number++;
        lv->connection = virConnectOpen(lv->uri);
        if (!lv->connection) {
                connect_failed(lv);
                return;
        }

        /* What has no daemon behind it has neither. */
        (void)virConnectSetKeepAlive(lv->connection, KEEPALIVE_SEC, KEEPALIVE_COUNT);
        watch_close(lv);
        if (subscribe(lv) < 0) {
                connect_failed(lv);
                return;
        }
        tell_connected(lv);
        libvirt_list_all(lv);
        if (!lv->lost) {
                lv->said_unreachable = false;
                lv->pause_msec = PAUSE_MIN_MSEC;
        }
}

/* ---- the threads ---- */

static Order *order_free(Order *order) {
        (void)fd_close(order->fd);
        free(order);
        return NULL;
}

static void order_mail_free(Mail *mail) {
        order_free(container_of(mail, Order, mail));
}

static void take_orders(Libvirt *lv) {
        Mail *mail = mailbox_take(&lv->orders);

        while (mail) {
                Order *order = container_of(mail, Order, mail);

                mail = mail->next;
                if (order->kind == _ORDER_STOP)
                        lv->stopping = true;
                else if (!lv->stopping)
                        libvirt_carry_out(lv, order);
                order_free(order);
        }
}

static void check_connection(Libvirt *lv) {
        if (!lv->lost)
                return;
        tell_text(lv, NEWS_DISCONNECTED, lv->lost_reason ?: "the connection is lost");
        lv->said_unreachable = false;
        disconnect(lv);
        connect_later(lv);
}

/* Whatever went wrong is said by us. */
static void on_error(void *userdata, virErrorPtr error) {
        (void)userdata;
        (void)error;
}

/* Waits for orders, or until it is time to connect or to look. */
static void wait_for_work(const Libvirt *lv) {
        struct pollfd p = { .fd = lv->orders.fd, .events = POLLIN };
        uint64_t now = libvirt_now_msec(),
                 at = lv->connection ? lv->look_at_msec : lv->connect_at_msec;
        int timeout = at > now ? (int)(at - now) : 0;

        (void)poll(&p, 1, lv->connection && lv->n_looks == 0 ? -1 : timeout);
}

static void *run(void *userdata) {
        Libvirt *lv = userdata;

        while (!lv->stopping) {
                wait_for_work(lv);
                take_orders(lv);
                if (lv->stopping)
                        break;
                if (!lv->connection && libvirt_now_msec() >= lv->connect_at_msec)
                        connect_now(lv);
                libvirt_look_due(lv);
                check_connection(lv);
        }
        disconnect(lv);
        return NULL;
}

static void *run_loop(void *userdata) {
        Libvirt *lv = userdata;

        while (!atomic_load(&lv->loop_ends))
                if (virEventRunDefaultImpl() < 0) {
                        log_msg(LOG_ERR, "libvirt's event loop fails: %s", libvirt_error());
                        (void)nanosleep(&(struct timespec){ .tv_sec = 1 }, NULL);
                }
        return NULL;
}

/* Ends the wait of the loop. */
static void on_wake(int timer, void *userdata) {
        (void)userdata;
        virEventUpdateTimeout(timer, -1);
}

/* ---- from outside ---- */

static void register_loop(void) {
        (void)virInitialize();
        (void)virEventRegisterDefaultImpl();
        virSetErrorFunc(NULL, on_error);
}

static void libvirt_free(Libvirt *lv) {
        mailbox_done(&lv->orders, order_mail_free);
        mailbox_done(&lv->news, news_mail_free);
        (void)fd_close(lv->dead_end);
        free(lv->looks);
        free(lv->lost_reason);
        free(lv->uri);
        free(lv);
}

/* The signals are the other threads'. */
static int start_thread(Libvirt *lv, pthread_t *thread, void *(*function)(void *)) {
        sigset_t all, before;
        int r;

        (void)sigfillset(&all);
        (void)pthread_sigmask(SIG_SETMASK, &all, &before);
        r = pthread_create(thread, NULL, function, lv);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
        return -r;
}

static int end_thread(pthread_t thread) {
        struct timespec until;

        (void)clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += STOP_SEC;
        return pthread_timedjoin_np(thread, NULL, &until) == 0 ? 0 : -ETIMEDOUT;
}

static int end_loop(Libvirt *lv) {
        int r;

        atomic_store(&lv->loop_ends, true);
        virEventUpdateTimeout(lv->waker, 0);
        r = end_thread(lv->loop);
        (void)virEventRemoveTimeout(lv->waker);
        return r;
}

/* On failure @lv is gone. */
static int libvirt_init(Libvirt *lv) {
        int r;

        r = mailbox_init(&lv->orders);
        if (r < 0) {
                free(lv);
                return r;
        }
        r = mailbox_init(&lv->news);
        if (r < 0) {
                mailbox_done(&lv->orders, order_mail_free);
                free(lv);
                return r;
        }
        lv->uri = strdup(lv->config->uri ?: LIBVIRT_DEFAULT_URI);
        lv->dead_end = open("/dev/null", O_RDWR | O_CLOEXEC);
        if (lv->dead_end < 0)
                r = negative_errno();
        if (!lv->uri)
                r = -ENOMEM;
        if (r < 0)
                libvirt_free(lv);
        return r;
}

int libvirt_start(const LibvirtConfig *config, Libvirt **ret) {
        static pthread_once_t once = PTHREAD_ONCE_INIT;
        Libvirt *lv = new0(Libvirt, 1);
        int r;

        if (!lv)
                return -ENOMEM;
        *lv = (Libvirt){ .config = config, .pause_msec = PAUSE_MIN_MSEC, .dead_end = -1 };
        for (size_t i = 0; i < _EVENT_MAX; i++)
                lv->events[i] = -1;
        r = libvirt_init(lv);
        if (r < 0)
                return r;

        (void)pthread_once(&once, register_loop);
        lv->waker = virEventAddTimeout(-1, on_wake, NULL, NULL);
        r = lv->waker < 0 ? -ENOMEM : start_thread(lv, &lv->loop, run_loop);
        if (r >= 0) {
                r = start_thread(lv, &lv->thread, run);
                if (r < 0 && end_loop(lv) < 0)
                        return r; /* it sits there still */
        } else if (lv->waker >= 0)
                (void)virEventRemoveTimeout(lv->waker);
        if (r < 0) {
                libvirt_free(lv);
                return r;
        }
        *ret = lv;
        return 0;
}

int libvirt_stop(Libvirt *lv) {
        if (!lv)
                return 0;
        if (libvirt_order(lv, 0, _ORDER_STOP, SD_ID128_NULL, -1) < 0 ||
            end_thread(lv->thread) < 0 || end_loop(lv) < 0)
                return -ETIMEDOUT;
        libvirt_free(lv);
        return 0;
}

int libvirt_get_fd(const Libvirt *lv) {
        return lv->news.fd;
}

News *libvirt_take_news(Libvirt *lv) {
        Mail *mail = mailbox_take(&lv->news);

        return mail ? container_of(mail, News, mail) : NULL;
}

int libvirt_order(Libvirt *lv, unsigned connection, OrderKind kind, sd_id128_t uuid, int fd) {
        Order *order = new0(Order, 1);

        if (!order) {
                (void)fd_close(fd);
                return -ENOMEM;
        }
        *order = (Order){ .kind = kind, .connection = connection, .uuid = uuid, .fd = fd };
        mailbox_post(&lv->orders, &order->mail);
        return 0;
}
