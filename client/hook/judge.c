/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hook/judge.h"

HookTask hook_task(const char *operation, const char *suboperation) {
        static const struct Row {
                const char *operation, *suboperation;
                HookTask task;
        } rows[] = {
                { "migrate", "begin", HOOK_ASK },     { "restore", "begin", HOOK_ASK },
                { "prepare", "begin", HOOK_ADMIT },   { "start", "begin", HOOK_COMPLETE },
                { "started", "begin", HOOK_LEASH },   { "reconnect", "begin", HOOK_LEASH },
                { "stopped", "end", HOOK_TAKE_BACK }, { "release", "end", HOOK_RELEASE },
        };

        for (size_t i = 0; i < ELEMENTSOF(rows); i++)
                if (streq(rows[i].operation, operation) &&
                    streq(rows[i].suboperation, suboperation))
                        return rows[i].task;
        return HOOK_NOTHING;
}

static bool may_run(const HookCase *c) {
        bool asks = c->asks != HOOK_ASKS_NOT;

        switch (c->outcome) {
        case HOOK_DONE:
                return true;
        case HOOK_REFUSED:
                return asks ? c->runs_otherwise : c->config->unasked != UNASKED_REFUSE;
        case HOOK_NO_CONTEXT:
                return false;
        case HOOK_DOWN:
                return asks ? !c->config->down_refuses_asked : !c->config->down_refuses_unasked;
        case HOOK_DENIED:
        case HOOK_UNREADABLE:
        default:
                return !asks;
        }
}

int hook_judge(const HookCase *c) {
        return !hook_task_may_refuse(c->task) || may_run(c) ? HOOK_EXIT_RUN : HOOK_EXIT_REFUSED;
}
