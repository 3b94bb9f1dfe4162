/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the shell may complete, from the table of verbs: the kind of each word, and that somebody has thought of every word of the help.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "ctl/complete.h"

static const Program program = { .name = "aviommuctl", .verbs = verbs };

/* Words are separated by one space; the last may be empty. */
static Completion find(const char *line) {
        static char buf[256], *words[16];
        Completion c;
        size_t n = 0;
        char *p = buf;

        assert_true((size_t)snprintf(buf, sizeof(buf), "%s", line) < sizeof(buf));
        for (;;) {
                assert_true(n < ELEMENTSOF(words));
                words[n++] = p;
                p = strchr(p, ' ');
                if (!p)
                        break;
                *p++ = '\0';
        }
        completion_find(&program, n, words, NULL, NULL, &c);
        return c;
}

static void assert_value(const char *line, const char *value, const char *typed) {
        Completion c = find(line);

        if (c.kind != COMPLETION_VALUE || strlen(value) != c.value_size ||
            strncmp(value, c.value, c.value_size) != 0)
                fail_msg("\"%s\" wants kind %i, \"%.*s\" instead of \"%s\"", line, (int)c.kind,
                         (int)c.value_size, strempty(c.value), value);
        assert_string_equal(c.typed, typed);
}

static void assert_kind(const char *line, CompletionKind kind, size_t index) {
        Completion c = find(line);

        if (c.kind != kind || c.index != index)
                fail_msg("\"%s\" is of kind %i, %zu instead of %i, %zu", line, (int)c.kind, c.index,
                         (int)kind, index);
}

static void test_kinds(void **state) {
        (void)state;
        assert_kind("", COMPLETION_VERB, 0);
        assert_kind("sta", COMPLETION_VERB, 0);
        assert_kind("--json short -j --quiet ", COMPLETION_VERB, 0);
        assert_kind("-", COMPLETION_OPTION, 0);
        assert_kind("create --na", COMPLETION_OPTION, 0);
        assert_kind("bogus ", COMPLETION_NOTHING, 0);
        assert_kind("status ", COMPLETION_NOTHING, 0);
        assert_kind("detach vm 0:1.0 ", COMPLETION_NOTHING, 0);
        assert_kind("show --bogus=", COMPLETION_NOTHING, 0);
        assert_kind("--quiet=", COMPLETION_NOTHING, 0);
        assert_kind("libvirt ", COMPLETION_PROGRAM, 0);
        assert_kind("--address=x libvirt check ", COMPLETION_PROGRAM, 1);
        assert_kind("libvirt", COMPLETION_VERB, 0);
        assert_kind("exec vm -- ", COMPLETION_COMMAND, 3);
        assert_kind("exec --fd-keep 4 vm -- ls --", COMPLETION_COMMAND, 5);
        assert_kind("exec vm --", COMPLETION_OPTION, 0);
        assert_kind("exec vm ", COMPLETION_NOTHING, 0);
}

static void test_values(void **state) {
        (void)state;
        assert_value("show ", "VM", "");
        assert_value("show one two t", "VM", "t");
        assert_value("show -- -t", "VM", "-t");
        assert_value("reclaim ", "VM", "");
        assert_value("attach vm ", "FUNCTION", "");
        assert_value("attach vm 0:1.0 0:1", "FUNCTION", "0:1");
        assert_value("viommu vm c", "create|destroy", "c");
        assert_value("viommu vm create ivhd", "IVHD", "ivhd");
        assert_value("map vm file 0 ", "LENGTH", "");
        assert_value("map vm file 0 1 ", "OFFSET", "");
        assert_value("create --tier=hard", "TIER", "hard");
        assert_value("create --tier hard", "TIER", "hard");
        assert_value("create --tier virtio --memory 8G x", "UUID", "x");
        assert_value("--timeout 5 show --address=unix:x x", "VM", "x");
        assert_value("create --leash=", "PID|agent", "");
        assert_true(find("exec --fd-device=0").is_more);
        assert_false(find("create --function=0").is_more);
        assert_int_equal(find("create --tier=hard").prefix, strlen("--tier="));
}

/* What the choices in @help are, with a space after each. */
static void assert_choices(const char *help, const char *expected) {
        const char *pos = NULL, *word;
        char is[128] = "";
        size_t size;

        while (completion_next_choice(help, &pos, &word, &size))
                (void)snprintf(is + strlen(is), sizeof(is) - strlen(is), "%.*s ", (int)size, word);
        assert_string_equal(is, expected);
}

static void test_choices(void **state) {
        (void)state;
        assert_choices("hardware, emulated or virtio", "hardware emulated virtio ");
        assert_choices("emulated or virtio", "emulated virtio ");
        assert_choices("Write JSON: short, pretty or off", "short pretty off ");
        assert_choices("json, libvirt-xml or qemu-args", "json libvirt-xml qemu-args ");
        assert_choices("Wait this long for an answer; 0: for ever", "");
        assert_choices("The bus that aviommud is on", "");
        assert_choices("VF token of the --function before it", "");
        assert_choices("one", "");
        assert_choices("one or two or three", "");
        assert_choices("one, two", "one two ");
        assert_choices("", "");
}

/* Every "|"-separated part of @text is small, or a word that completion_source() knows. */
static void assert_known(const char *verb, const char *text, bool is_option) {
        for (const char *p = text; *p; p += *p == '|') {
                size_t size = strspn(p, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_");

                if (size > 0 && completion_source(p, size, is_option) == SOURCE_UNKNOWN)
                        fail_msg("The help of %s has \"%.*s\": say in client/ctl/complete.c where "
                                 "its values come from, SOURCE_NONE if from nowhere",
                                 verb, (int)size, p);
                p += size;
                p += strcspn(p, "| ");
                /* Only what a word begins with. */
                if (*p == ' ')
                        p += 1 + strspn(p + 1, "[");
        }
}

static void assert_options_known(const char *verb, const CtlOption *options, size_t n) {
        for (size_t i = 0; i < n; i++)
                if (options[i].argument) {
                        char word[64];

                        (void)snprintf(word, sizeof(word), "%.*s",
                                       (int)strcspn(options[i].argument, "=["),
                                       options[i].argument);
                        assert_known(verb, word, true);
                }
}

static void test_every_word_known(void **state) {
        const CtlOption *global;
        size_t n;

        (void)state;
        global = program_global_options(&n);
        assert_options_known("aviommuctl", global, n);
        for (const Verb *v = verbs; v->name; v++) {
                char arguments[128];

                assert_options_known(v->name, v->options, v->n_options);
                /* What comes after "--", or after a verb with a program of its own, is not ours. */
                if (v->program)
                        continue;
                (void)snprintf(arguments, sizeof(arguments), "%s",
                               strempty(v->arguments) + (strempty(v->arguments)[0] == '['));
                if (strstr(arguments, " -- "))
                        *strstr(arguments, " -- ") = '\0';
                assert_known(v->name, arguments, false);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_kinds),
                cmocka_unit_test(test_values),
                cmocka_unit_test(test_choices),
                cmocka_unit_test(test_every_word_known),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
