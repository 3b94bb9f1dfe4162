/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Libvirt, behind one thread that makes every call to it: orders go in, news come out, and nobody waits. While a domain is being
 * started or a hook runs, a call may take as long as that; only this thread sits there. Another runs libvirt's event loop, which
 * hears events meanwhile, and ends a call that libvirtd does not answer: libvirt looks at its keepalives in the loop alone.
 *
 * The thread keeps the connection, comes back with growing pauses when it is lost, and each time asks for all events before it
 * looks at all domains. What comes from one connection has its number; orders for another come to nothing.
 */

#include "agent/mailbox.h"
#include "domain/decide.h"

typedef struct Libvirt Libvirt;

typedef enum OrderKind {
        ORDER_LIST,      /* the running domains: NEWS_RUNNING */
        ORDER_LOOK,      /* at one: NEWS_DOMAIN or NEWS_GONE */
        ORDER_ASSOCIATE, /* @fd with the domain, from now on: NEWS_ANSWER */
        ORDER_RETIRE,    /* a dead end with it: NEWS_ANSWER */
        ORDER_START,     /* it, if it is still marked for autostart: NEWS_ANSWER */
        /* Within: */
        _ORDER_LOOK_SOON,
        _ORDER_LOST,
        _ORDER_STOP,
} OrderKind;

typedef enum NewsKind {
        NEWS_CONNECTED,    /* text: to what */
        NEWS_DISCONNECTED, /* text: why */
        NEWS_STARTED,
        NEWS_STOPPED,
        NEWS_UNDEFINED,
        NEWS_DOMAIN,
        NEWS_GONE,
        NEWS_LISTED,  /* all domains that there are have been told */
        NEWS_RUNNING, /* uuids; no text: a full list */
        NEWS_ANSWER,  /* order, result, text */
} NewsKind;

/* What matters of a domain. */
typedef struct DomainFacts {
        char *name;
        bool running, persistent, autostart;
        bool wants_context;   /* the next start wants one associated */
        bool next_unknown;    /* libvirt did not give the XML that says so */
        bool functions_known; /* of one that runs, if its XML could be read */
        DomainFunction *functions;
        size_t n_functions;
        uint64_t memory; /* bytes; with the functions, as is what follows */
        DomainLate late;
        char *unreadable; /* why its XML could not be read, or was not to be had; NULL: it could */
        char *bad_request; /* why the running one's request could not, though the functions are known */
} DomainFacts;

typedef struct News {
        Mail mail;
        NewsKind kind;
        unsigned connection;
        sd_id128_t uuid;
        DomainFacts facts;
        bool devices; /* of NEWS_DOMAIN: an event said that its devices have changed */
        sd_id128_t *uuids;
        size_t n_uuids;
        OrderKind order;
        int result; /* 0; -EOPNOTSUPP: this libvirt cannot do that; -ECANCELED: it is not marked; another errno */
        char *text;
} News;

/* Starts the thread. @config lives as long. Returns 0 or a negative errno. */
int libvirt_start(const LibvirtConfig *config, Libvirt **ret);

/* Ends the thread, and waits a few seconds for it. Returns 0; -ETIMEDOUT when it sits in a call to libvirt: then nothing is freed,
 * and the process can only end. */
int libvirt_stop(Libvirt *lv);

/* Readable when there are news. */
int libvirt_get_fd(const Libvirt *lv);

/* The news so far, in order, for news_free(). */
News *libvirt_take_news(Libvirt *lv);
News *news_next(const News *news);
News *news_free(News *news);

/* Gives an order. @fd, -1 for none, is taken in any case. Returns 0 or -ENOMEM. */
int libvirt_order(Libvirt *lv, unsigned connection, OrderKind kind, sd_id128_t uuid, int fd);
