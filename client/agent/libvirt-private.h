/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of the libvirt thread share. */

#include <stdatomic.h>

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

#include "agent/libvirt.h"

#define LIBVIRT_DEFAULT_URI "qemu:///system"

typedef struct Order {
        Mail mail;
        OrderKind kind;
        unsigned connection;
        sd_id128_t uuid;
        int fd;
        bool devices;       /* of _ORDER_LOOK_SOON */
        bool later;         /* of that, too: when what libvirt is about is over */
        const char *reason; /* of _ORDER_LOST, static */
} Order;

/* A domain to be looked at. */
typedef struct Look {
        sd_id128_t uuid;
        bool devices;
} Look;

enum {
        EVENT_LIFECYCLE,
        EVENT_DEVICE_ADDED,
        EVENT_DEVICE_REMOVED,
        EVENT_METADATA,
        _EVENT_MAX,
};

/* What an event needs to know: they come in the thread of the loop. */
typedef struct Source {
        Libvirt *lv;
        unsigned number; /* of the connection */
} Source;

struct Libvirt {
        const LibvirtConfig *config;
        char *uri;
        Mailbox orders, news;

        pthread_t loop; /* of libvirt's events */
        int waker;      /* a timeout of it */
        atomic_bool loop_ends;

        /* The rest belongs to the thread that calls. */
        pthread_t thread;
        virConnectPtr connection;
        unsigned number; /* of the connection */
        int events[_EVENT_MAX];
        bool has_close_callback;
        Source close_source; /* as long as there is that callback */
        bool lost;
        char *lost_reason;
        uint64_t connect_at_msec; /* CLOCK_MONOTONIC; without a connection */
        unsigned pause_msec;
        bool said_unreachable;
        int dead_end; /* what is associated in place of a spent context */
        Look *looks;
        size_t n_looks;
        uint64_t look_at_msec; /* when the first of them is to be looked at */
        bool stopping;
};

/* CLOCK_MONOTONIC. */
uint64_t libvirt_now_msec(void);

/* The message of the last error of this thread; valid until the next call into libvirt. */
const char *libvirt_error(void);

/* A piece of news of a connection, or NULL: not enough memory, which is logged. */
News *libvirt_news(NewsKind kind, unsigned connection);
void libvirt_tell(Libvirt *lv, News *news);

/* The connection is of no use any more: the loop closes it. */
void libvirt_lose(Libvirt *lv, const char *reason);

/* Has a domain looked at, once for all events of it that have come. @later: a moment after this one. */
void libvirt_look_soon(Libvirt *lv, sd_id128_t uuid, bool devices, bool later);

/* Looks at all domains, tells of each, and then that it was all. Loses the connection when it cannot. */
void libvirt_list_all(Libvirt *lv);

/* Looks at those that are to be looked at, when it is time. */
void libvirt_look_due(Libvirt *lv);

void libvirt_carry_out(Libvirt *lv, Order *order);
