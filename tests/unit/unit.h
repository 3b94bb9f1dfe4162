/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the unit tests share: cmocka, short assertions, literals that are parsed. */

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd-util.h"
#include "base/pci-address.h"
#include "base/problem.h"

#define assert_ok(call)          assert_int_equal((call), 0)
#define assert_error(call, name) assert_int_equal((call), -(name))

/* That @text has @part in it; shows both when not. */
#define assert_contains(text, part)                                                                \
        do {                                                                                       \
                if (!strstr((text), (part)))                                                       \
                        fail_msg("\"%s\" does not say \"%s\"", (text), (part));                    \
        } while (0)

/* That @p is a refusal of @kind whose sentence has @part in it. */
#define assert_problem(p, k, part)                                                                 \
        do {                                                                                       \
                if (!problem_is_set(p))                                                            \
                        fail_msg("no problem is set, but %s is expected",                          \
                                 problem_kind_to_name(k));                                         \
                if ((p)->kind != (k))                                                              \
                        fail_msg("%s instead of %s: %s", problem_kind_to_name((p)->kind),          \
                                 problem_kind_to_name(k), (p)->text);                              \
                assert_contains((p)->text, (part));                                                \
        } while (0)

/* Goes over a table of cases. */
#define for_each_case(c, table)                                                                    \
        for (typeof(&(table)[0]) c = (table); c < (table) + ELEMENTSOF(table); c++)

static inline PciAddress address(const char *s) {
        PciAddress a = {};

        assert_ok(pci_address_parse(s, &a));
        return a;
}

static inline GuestDeviceId guest_id(const char *s) {
        GuestDeviceId id = {};

        assert_ok(guest_device_id_parse(s, &id));
        return id;
}

/* How many descriptors this process has. */
static inline unsigned count_fds(void) {
        unsigned n = 0;

        for (int fd = 0; fd < 1024; fd++)
                n += dup2(fd, fd) >= 0;
        return n;
}

/* That @call ends the process by an assertion: in a child, for it is the end of it. */
#define assert_aborts(call)                                                                        \
        do {                                                                                       \
                pid_t _pid = fork();                                                               \
                int _status = 0;                                                                   \
                                                                                                   \
                assert_true(_pid >= 0);                                                            \
                if (_pid == 0) {                                                                   \
                        (void)signal(SIGABRT, SIG_DFL);                                            \
                        (void)!freopen("/dev/null", "w", stderr);                                  \
                        call;                                                                      \
                        _exit(0);                                                                  \
                }                                                                                  \
                assert_int_equal(waitpid(_pid, &_status, 0), _pid);                                \
                if (!WIFSIGNALED(_status) || WTERMSIG(_status) != SIGABRT)                         \
                        fail_msg("%s goes through", #call);                                        \
        } while (0)
