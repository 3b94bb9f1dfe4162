/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The pure parts of the libvirt hook: what to do, what to exit with, and whose arguments a process has. */

#include "unit.h"

#include <stdio.h>

#include "hook/judge.h"
#include "hook/qemu.h"

/* ---- the judgement ---- */

#define ANY (-1)

/* What aviommu-libvirt-hook(8) says of a domain that is about to run. */
static const struct Row {
        HookOutcome outcome;
        int asks, runs_otherwise, unasked, down_refuses_asked, down_refuses_unasked;
        int code;
} rows[] = {
        { HOOK_DONE, ANY, ANY, ANY, ANY, ANY, 0 },

        { HOOK_REFUSED, HOOK_ASKS, false, ANY, ANY, ANY, 1 },
        { HOOK_REFUSED, HOOK_ASKS, true, ANY, ANY, ANY, 0 },
        { HOOK_REFUSED, HOOK_ASKS_UNKNOWN, false, ANY, ANY, ANY, 1 },
        { HOOK_REFUSED, HOOK_ASKS_UNKNOWN, true, ANY, ANY, ANY, 0 },
        { HOOK_REFUSED, HOOK_ASKS_NOT, ANY, UNASKED_ACCOUNT, ANY, ANY, 0 },
        { HOOK_REFUSED, HOOK_ASKS_NOT, ANY, UNASKED_IGNORE, ANY, ANY, 0 },
        { HOOK_REFUSED, HOOK_ASKS_NOT, ANY, UNASKED_REFUSE, ANY, ANY, 1 },

        /* A wish to run otherwise does not outdo the administrator's. */
        { HOOK_DOWN, HOOK_ASKS, ANY, ANY, true, ANY, 1 },
        { HOOK_DOWN, HOOK_ASKS, ANY, ANY, false, ANY, 0 },
        { HOOK_DOWN, HOOK_ASKS_UNKNOWN, ANY, ANY, true, ANY, 1 },
        { HOOK_DOWN, HOOK_ASKS_UNKNOWN, ANY, ANY, false, ANY, 0 },
        { HOOK_DOWN, HOOK_ASKS_NOT, ANY, ANY, ANY, true, 1 },
        { HOOK_DOWN, HOOK_ASKS_NOT, ANY, ANY, ANY, false, 0 },

        /* It would run on what another QEMU has had. */
        { HOOK_NO_CONTEXT, ANY, ANY, ANY, ANY, ANY, 1 },

        { HOOK_DENIED, HOOK_ASKS, ANY, ANY, ANY, ANY, 1 },
        { HOOK_DENIED, HOOK_ASKS_UNKNOWN, ANY, ANY, ANY, ANY, 1 },
        { HOOK_DENIED, HOOK_ASKS_NOT, ANY, ANY, ANY, ANY, 0 },

        { HOOK_UNREADABLE, HOOK_ASKS, ANY, ANY, ANY, ANY, 1 },
        { HOOK_UNREADABLE, HOOK_ASKS_UNKNOWN, ANY, ANY, ANY, ANY, 1 },
        { HOOK_UNREADABLE, HOOK_ASKS_NOT, ANY, ANY, ANY, ANY, 0 },
};

static bool is(int cell, int value) {
        return cell == ANY || cell == value;
}

/* The one row of a case. */
static int expected_code(const HookCase *c) {
        const struct Row *found = NULL;

        for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
                const struct Row *row = rows + i;

                if (row->outcome != c->outcome || !is(row->asks, (int)c->asks) ||
                    !is(row->runs_otherwise, c->runs_otherwise) ||
                    !is(row->unasked, (int)c->config->unasked) ||
                    !is(row->down_refuses_asked, c->config->down_refuses_asked) ||
                    !is(row->down_refuses_unasked, c->config->down_refuses_unasked))
                        continue;
                assert_null(found);
                found = row;
        }
        assert_non_null(found);
        return found->code;
}

static void test_judge(void **state) {
        size_t n = 0;

        (void)state;
        for (unsigned i = 0;
             i < _HOOK_TASK_MAX * _HOOK_OUTCOME_MAX * _HOOK_ASKS_MAX * _UNASKED_MAX * 8U; i++) {
                unsigned rest = i;
                LibvirtConfig config = {};
                HookCase c = { .config = &config };

                c.task = rest % _HOOK_TASK_MAX;
                rest /= _HOOK_TASK_MAX;
                c.outcome = rest % _HOOK_OUTCOME_MAX;
                rest /= _HOOK_OUTCOME_MAX;
                c.asks = rest % _HOOK_ASKS_MAX;
                rest /= _HOOK_ASKS_MAX;
                config.unasked = rest % _UNASKED_MAX;
                rest /= _UNASKED_MAX;
                c.runs_otherwise = rest & 1;
                config.down_refuses_asked = rest & 2;
                config.down_refuses_unasked = rest & 4;

                /* libvirt kills what runs when its hook fails. */
                assert_int_equal(hook_judge(&c),
                                 hook_task_may_refuse(c.task) ? expected_code(&c) : 0);
                n++;
        }
        assert_int_equal(n, 7 * 6 * 3 * 3 * 8);
}

static void test_task(void **state) {
        (void)state;
        assert_int_equal(hook_task("prepare", "begin"), HOOK_ADMIT);
        assert_int_equal(hook_task("migrate", "begin"), HOOK_ASK);
        assert_int_equal(hook_task("restore", "begin"), HOOK_ASK);
        assert_int_equal(hook_task("started", "begin"), HOOK_LEASH);
        assert_int_equal(hook_task("reconnect", "begin"), HOOK_LEASH);
        assert_int_equal(hook_task("stopped", "end"), HOOK_TAKE_BACK);
        assert_int_equal(hook_task("release", "end"), HOOK_RELEASE);
        assert_int_equal(hook_task("start", "begin"), HOOK_COMPLETE);
        assert_int_equal(hook_task("attach", "begin"), HOOK_NOTHING);
        assert_int_equal(hook_task("prepare", "end"), HOOK_NOTHING);
        assert_int_equal(hook_task("release", "begin"), HOOK_NOTHING);
        assert_int_equal(hook_task("", ""), HOOK_NOTHING);
}

/* ---- arguments ---- */

#define UUID "5ca1ab1e-0000-4000-8000-000000000001"

#define MATCHES(name, arguments) qemu_arguments_match(arguments, sizeof(arguments), (name), UUID)

static void test_arguments(void **state) {
        (void)state;
        assert_true(MATCHES("demo", "qemu\0-name\0guest=demo,debug-threads=on\0-uuid\0" UUID));
        assert_true(MATCHES("other", "qemu\0-uuid\0" UUID));
        assert_true(MATCHES("demo", "qemu\0-uuid\0"
                                    "5CA1AB1E000040008000000000000001"));
        /* The UUID is what counts where there is one. */
        assert_false(MATCHES("demo", "qemu\0-name\0guest=demo\0-uuid\0"
                                     "5ca1ab1e-0000-4000-8000-000000000002"));
        assert_false(MATCHES("demo", "qemu\0-name\0guest=demo\0-uuid\0no"));
        /* The first one is QEMU's; what comes later may be a value. */
        assert_false(MATCHES("demo",
                             "qemu\0-uuid\0"
                             "5ca1ab1e-0000-4000-8000-000000000002\0-append\0-uuid\0" UUID));
        assert_false(MATCHES("demo", "qemu\0-uuid"));
        assert_false(MATCHES("demo", "qemu"));
        assert_false(MATCHES("demo", ""));
        assert_false(qemu_arguments_match("", 0, "demo", UUID));

        assert_true(MATCHES("demo", "qemu\0-name\0guest=demo"));
        assert_true(MATCHES("demo", "qemu\0-name\0guest=demo,debug-threads=on"));
        assert_true(MATCHES("demo", "qemu\0-name\0demo"));
        assert_true(MATCHES("de,mo", "qemu\0-name\0guest=de,,mo,debug-threads=on"));
        assert_true(MATCHES("demo,", "qemu\0-name\0guest=demo,,"));
        assert_false(MATCHES("demo", "qemu\0-name\0guest=demo,,x"));
        assert_false(MATCHES("demo,x", "qemu\0-name\0guest=demo,x"));
        assert_false(MATCHES("demo", "qemu\0-name\0guest=demo2"));
        assert_false(MATCHES("demo2", "qemu\0-name\0guest=demo"));
        assert_false(MATCHES("demo", "sleep\0guest=demo"));

        /* Cut off, and not even ended. */
        assert_false(qemu_arguments_match("qemu\0-uuid\0" UUID, sizeof("qemu\0-uuid\0" UUID) - 1,
                                          "demo", UUID));
        assert_false(qemu_arguments_match("qemu", 4, "demo", UUID));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_judge),
                cmocka_unit_test(test_task),
                cmocka_unit_test(test_arguments),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
