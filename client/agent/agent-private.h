/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of the agent's event loop share. */

#include "agent/agent.h"
#include "agent/aviommud.h"
#include "agent/follow.h"
#include "agent/libvirt.h"
#include "agent/starts.h"
#include "base/hash.h"
#include "base/log.h"

typedef struct Comparison Comparison;

/* A domain of libvirt. */
typedef struct Followed {
        sd_id128_t uuid;
        char *name;
        Follow follow;
        bool autostart;
        bool gone;       /* libvirt has it no more, but there is still something with aviommud */
        unsigned seen;   /* on which connection */
        unsigned listed; /* by which list */
        DomainFunction *functions; /* of the running one, without aliases */
        size_t n_functions;
        uint64_t memory;        /* bytes, of the running one */
        DomainLate late;        /* what is to be done if aviommud does not know the running one */
        bool is_unknown;        /* it was asked once, and did not */
        char *complaint;        /* the last one: each is made once */
        Comparison *comparison; /* that is under way */
        UT_hash_handle hh;
} Followed;

struct Agent {
        sd_event *event;
        const LibvirtConfig *config;
        const char *bus_address;

        Libvirt *libvirt;
        sd_event_source *news, *report, *work;
        unsigned connection; /* the number of libvirt's */
        char *connected_to;

        Aviommud *aviommud;
        FollowWorld world;
        Followed *domains;
        Comparison *comparisons;
        Starts starts;

        size_t n_calls; /* to aviommud, of those that are limited in number */
        bool listing;   /* a list of the running domains is ordered */
        unsigned list;  /* its number */
        bool said_unsupported;
        char *report_complaint;
        char *status;
};

/* Does what is to be done, soon. */
void agent_wake(Agent *agent);

Followed *agent_find(const Agent *agent, sd_id128_t uuid);

/* Has aviommud let go of the context that it keeps for the domain. */
void agent_forget_context(Agent *agent, Followed *f);

#define followed_log(f, level, ...) log_vm((level), SD_ID128_TO_UUID_STRING((f)->uuid), __VA_ARGS__)

/* Logs what is wrong with a domain, unless that has been said last. */
void followed_complain(Followed *f, int level, const char *format, ...) _printf_(3, 4);
void followed_content(Followed *f); /* nothing is */

DomainFunction *functions_copy(const DomainFunction *functions, size_t n); /* NULL: -ENOMEM */

/* ---- agent-compare.c ---- */

/* Compares what a domain has with what aviommud charges, and has it charge what is missing and let go of what is gone. */
void compare_begin(Agent *agent, Followed *f);

/* The domain is no longer followed. */
void comparison_abandon(Comparison *c);
void comparisons_free(Agent *agent);

/* ---- agent-news.c ---- */

int agent_on_news(sd_event_source *source, int fd, uint32_t events, void *userdata);
void agent_list(Agent *agent);
void agent_look(Agent *agent, sd_id128_t uuid); /* has libvirt say how the domain is now */

/* Libvirt has it no more: it goes, as soon as aviommud has let go of what was prepared for it. */
void agent_forget(Agent *agent, Followed *f);
void agent_forget_gone(Agent *agent); /* those that waited for aviommud, if it can be told */
void agent_forget_all(Agent *agent);
