/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Why a command failed: its exit code, the name of the error, a sentence, and what to do next.
 *
 * Functions return a negative errno and fill a Failure; whoever gives up prints it, once.
 */

#include <systemd/sd-bus.h>

#include "base/macro.h"

/* Documented in aviommuctl(1); scripts depend on them. */
enum {
        CLIENT_EXIT_OK = 0,
        CLIENT_EXIT_FAILED = 1,
        CLIENT_EXIT_USAGE = 2,
        CLIENT_EXIT_NOT_FOUND = 3,
        CLIENT_EXIT_EXHAUSTED = 4,
        CLIENT_EXIT_DENIED = 5,
        CLIENT_EXIT_UNREACHABLE = 6,
        CLIENT_EXIT_TIMED_OUT = 7,
};

typedef struct Failure {
        int exit_code;
        char name
                [96]; /* "NoFreeInstance" as org.aviommu1(5) lists it, else the whole error name; "" for our own */
        char text[2048]; /* not escaped: failure_print() does that */
        char next[1024]; /* "" when there is nothing to advise */
} Failure;

/* What a call was about, for the next step; either may be NULL. */
typedef struct FailureSubject {
        const char *uuid, *function;
} FailureSubject;

/* Fills @f with a failure of our own. @next may be NULL. Returns @error, a negative errno. */
int failure_set(Failure *f, int exit_code, int error, const char *next, const char *format, ...)
        _printf_(5, 6);

/* Fills @f from an error name and sentence that came over the bus, or that sd-bus made up. Returns a negative errno. */
int failure_set_bus(Failure *f, const char *name, const char *message,
                    const FailureSubject *subject);

/* Fills @f after a call into sd-bus that returned @error, before any reply. Returns @error. */
int failure_set_connection(Failure *f, int error, const char *address);

/* Fills @f: the reply to @member is not of the documented form. Returns -EBADMSG. */
int failure_set_malformed(Failure *f, const char *member);

/* The sentence and the next step, on stderr, each on its line. @prefix (a UUID, say) may be NULL. */
void failure_print(const Failure *f, const char *prefix);
