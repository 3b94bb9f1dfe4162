/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The configuration file. Its shipped form is read here too, so that defaults and documentation cannot drift apart. */

#include "unit.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "config/config.h"

/* What the test knows of each key; that it knows all of them is checked against the shipped file. */
typedef struct Key {
        const char *name;
        size_t offset;
        uint64_t unit, minimum, maximum;
} Key;

#define NUMBER(key, field, minimum, maximum) { key, offsetof(Config, field), 1, minimum, maximum }
#define SECONDS(key, field)                  { key, offsetof(Config, field), 1000000, 1, 3600 }

static const Key keys[] = {
        SECONDS("AdmissionTimeoutSec", admission_timeout_usec),
        SECONDS("DetachTimeoutSec", detach_timeout_usec),
        NUMBER("MaxVms", max_vms, 1, 1000000),
        NUMBER("MaxFunctionsPerVm", max_functions_per_vm, 1, 1024),
        NUMBER("MaxMappingsPerVm", max_mappings_per_vm, 1, 65536),
        NUMBER("MaxOperationsPerCaller", max_operations_per_caller, 1, 65536),
        NUMBER("MaxOperationsPerVm", max_operations_per_vm, 1, 1024),
        NUMBER("MaxPreparedContexts", max_prepared_contexts, 0, 65536),
        NUMBER("MaxReservationsPerUser", max_reservations_per_user, 0, 4096),
        NUMBER("MaxDescriptors", max_descriptors, 0, 1000000),
        NUMBER("InstancesPerIommu", instances_per_iommu, 0, 65535),
        NUMBER("ContiguousMemoryPerNodePercent", contiguous_memory_per_node_percent, 0, 100),
        NUMBER("DefaultGuestDomains", default_guest_domains, 1, 65535),
        NUMBER("DomainIdsReserved", domain_ids_reserved, 0, 65535),
        NUMBER("PinnedMemoryPercent", pinned_memory_percent, 0, 100),
        NUMBER("HotplugDevIdsReserved", hotplug_devids_reserved, 0, 65535),
        NUMBER("Workers", workers, 1, 64),
};

static uint64_t value_of(const Config *config, const Key *key) {
        return *(const uint64_t *)((const char *)config + key->offset);
}

static const Key *key_find(const char *name) {
        for_each_case(key, keys) if (streq(key->name, name)) return key;
        return NULL;
}

/* Reads @text as a configuration file, over @config. */
static int read_text(Config *config, const char *text, Problem *p) {
        _cleanup_close_ int fd = memfd_create("config", MFD_CLOEXEC);
        char path[64];

        assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%i", fd);
        return config_read_file(config, path, p);
}

static bool config_equal(const Config *a, const Config *b) {
        for_each_case(key, keys) if (value_of(a, key) != value_of(b, key)) return false;
        return a->allow_plumbing == b->allow_plumbing && a->require_tenant == b->require_tenant;
}

/* Refused, with @line and @says in the message, and nothing has changed. */
static void assert_refused(const char *text, unsigned line, const char *says) {
        _cleanup_(config_done) Config config = {};
        Config before;
        Problem p = {};
        char where[32];

        config_init(&config);
        config.max_vms = 77;
        before = config;
        if (read_text(&config, text, &p) != -EINVAL)
                fail_msg("taken: %s", text);
        (void)snprintf(where, sizeof(where), ":%u: ", line);
        assert_problem(&p, PROBLEM_INVALID_ARGUMENT, where);
        assert_contains(p.text, says);
        assert_contains(p.text, "/proc/self/fd/"); /* the file */
        assert_true(config_equal(&config, &before));
}

/* The shipped file names every key, commented out, with its default. */
static void defaults_are_as_shipped(void **state) {
        FILE *f = fopen(SHIPPED_CONFIG, "re");
        unsigned n = 0, n_booleans = 0;
        char line[256], name[64], value[64];
        _cleanup_(config_done) Config config = {};

        (void)state;
        assert_non_null(f);
        config_init(&config);
        while (fgets(line, sizeof(line), f)) {
                const Key *key;

                if (line[0] != '#' || sscanf(line, "#%63[A-Za-z]=%63s", name, value) != 2)
                        continue;
                if (streq(name, "AllowPlumbing") || streq(name, "RequireTenant")) {
                        assert_string_equal(value, "no");
                        n_booleans++;
                        continue;
                }
                key = key_find(name);
                if (!key)
                        fail_msg("%s= is shipped, but this test does not know it", name);
                if (strtoull(value, NULL, 10) * key->unit != value_of(&config, key))
                        fail_msg("%s=%s is not the default, %" PRIu64, name, value,
                                 value_of(&config, key) / key->unit);
                n++;
        }
        (void)fclose(f);
        assert_int_equal(n, ELEMENTSOF(keys));
        assert_int_equal(n_booleans, 2);
}

/* It can be read, as it is and with every comment mark before a key taken away, and gives the defaults. */
static void shipped_file_is_read(void **state) {
        FILE *f = fopen(SHIPPED_CONFIG, "re");
        char text[8192] = "", line[256], name[64];
        _cleanup_(config_done) Config config = {};
        Config defaults;
        Problem p = {};

        (void)state;
        assert_non_null(f);
        config_init(&defaults);
        config = defaults;
        assert_ok(config_read_file(&config, SHIPPED_CONFIG, NULL));
        assert_true(config_equal(&config, &defaults));

        while (fgets(line, sizeof(line), f))
                (void)strcat(text, sscanf(line, "#%63[A-Za-z]=", name) == 1 && strchr(line, '=')
                                           ? line + 1
                                           : line);
        (void)fclose(f);
        config_done(&config);
        memset(&config, 0xff, sizeof(config));
        config.policy = NULL;
        if (read_text(&config, text, &p) < 0)
                fail_msg("%s", p.text);
        assert_true(config_equal(&config, &defaults));
}

static void every_key_is_read(void **state) {
        (void)state;
        for_each_case(key, keys) {
                _cleanup_(config_done) Config config = {};
                Config expected;
                char text[128];

                config_init(&config);
                expected = config;
                for (unsigned i = 0; i < 2; i++) {
                        uint64_t value = i ? key->maximum : key->minimum;

                        (void)snprintf(text, sizeof(text), "[Manager]\n%s=%" PRIu64 "\n", key->name,
                                       value);
                        assert_ok(read_text(&config, text, NULL));
                        *(uint64_t *)((char *)&expected + key->offset) = value * key->unit;
                        assert_true(config_equal(&config, &expected)); /* that one and no other */
                }
        }
}

static void bounds(void **state) {
        static const char *const no_numbers[] = {
                "",
                "-1",
                "+1",
                "0x10",
                "1 000",
                "1,5",
                "1.0",
                "ten",
                "1k",
                "1s",
                "1 s",
                "yes",
                "\"1\"",
                "1-",
                ":",
                "/",
                "18446744073709551616",
                "99999999999999999999999999",
                "184467440737095516150",
        };

        (void)state;
        for_each_case(key, keys) {
                char text[160];

                for_each_case(value, no_numbers) {
                        (void)snprintf(text, sizeof(text), "[Manager]\n\n%s=%s\n", key->name,
                                       *value);
                        assert_refused(text, 3, key->name);
                }
                (void)snprintf(text, sizeof(text), "[Manager]\n%s=%" PRIu64 "\n", key->name,
                               key->maximum + 1);
                assert_refused(text, 2, "wants a number from");
                if (key->minimum > 0) {
                        (void)snprintf(text, sizeof(text), "[Manager]\n%s=%" PRIu64 "\n", key->name,
                                       key->minimum - 1);
                        assert_refused(text, 2, "wants a number from");
                }
        }
}

static void booleans(void **state) {
        static const struct {
                const char *text;
                int value; /* -1: refused */
        } cases[] = {
                { "yes", 1 },   { "true", 1 }, { "on", 1 },    { "1", 1 },     { "no", 0 },
                { "false", 0 }, { "off", 0 },  { "0", 0 },     { "", -1 },     { "y", -1 },
                { "YES", -1 },  { "2", -1 },   { "yes!", -1 }, { "nope", -1 },
        };

        (void)state;
        for_each_case(c, cases) {
                _cleanup_(config_done) Config config = {};
                char text[64];

                (void)snprintf(text, sizeof(text), "[Manager]\nAllowPlumbing=%s\n", c->text);
                if (c->value < 0) {
                        assert_refused(text, 2, "AllowPlumbing= wants yes or no");
                        continue;
                }
                config_init(&config);
                config.allow_plumbing = !c->value;
                assert_ok(read_text(&config, text, NULL));
                assert_int_equal(config.allow_plumbing, c->value);
        }
}

static void refusals(void **state) {
        static const struct {
                const char *text;
                unsigned line;
                const char *says;
        } cases[] = {
                { "[Manager]\nMaxVM=1\n", 2, "Unknown key \"MaxVM\"" },
                { "[Manager]\n\n# a comment\nmaxvms=1\n", 4, "Unknown key \"maxvms\"" },
                { "[Manager]\nMax Vms=1\n", 2, "Unknown key \"Max Vms\"" },
                { "[Manager]\n=1\n", 2, "Unknown key \"\"" },
                { "[Other]\nMaxVms=1\n", 1, "Unknown section [Other]" },
                { "[manager]\nMaxVms=1\n", 1, "Unknown section [manager]" },
                { "[]\nMaxVms=1\n", 1, "Unknown section []" },
                { "MaxVms=1\n", 1, "Unknown section []" },
                { "[Manager]\nMaxVms=1\n[More]\nMaxVms=2\n", 3, "Unknown section [More]" },
                { "[Other]\n", 1, "Unknown section [Other]" }, /* also without a key */
                { "[Manager] more\n", 1, "something behind [Manager]" },
                { "[Manager]\nMaxVms=7\nMaxVms=5\n", 3, "MaxVms= is there twice in [Manager]" },
                { "[Manager]\nMaxVms=7\n[Vm]\n[Manager]\nMaxVms=5\n", 5, "MaxVms= is there twice" },
                { "[Manager]\nMaxVms\n", 2, "no \"Key=value\" line" },
                { "[Manager]\nMaxVms 1\n", 2, "no \"Key=value\" line" },
                { "[Manager\nMaxVms=1\n", 1, "no \"Key=value\" line" },
                { "[Manager]\nMaxVms=\n", 2, "MaxVms= wants a number from 1 to 1000000" },
                /* the first of several, with its own words */
                { "[Manager]\nMaxVms=5\nNo=1\nMaxVms=x\n", 3, "Unknown key \"No\"" },
                { "[Manager]\nMaxVms=5\nWorkers=x\nNo=1\n", 3, "not \"x\"" },
                { "[Manager]\nbroken\n\nNo=1\n", 2, "no \"Key=value\" line" },
                { "[Manager]\nWorkers=4\n  5000\n", 3, "is there twice" }, /* goes on from above */
        };

        (void)state;
        for_each_case(c, cases) assert_refused(c->text, c->line, c->says);
}

static void forms_that_are_taken(void **state) {
        static const char *const cases[] = {
                "[Manager]\nMaxVms=5\n",
                "[Manager]\nMaxVms = 5\n",
                "  [Manager]  \n\tMaxVms\t=\t5\t\n",
                "[Manager]\r\nMaxVms=5\r\n",
                "[Manager]\nMaxVms=5", /* no newline at the end */
                "; a comment\n[Manager]\n# another\nMaxVms=5\n",
                "[Manager]\nMaxVms=5 ; five\n",
                "[Manager] ; the section\nMaxVms=5\n",
                "[Manager]\nWorkers=4\n  [Manager]\nMaxVms=5\n", /* no part of the value above */
                "[Manager]\nMaxVms=005\n",
                "[Manager]\nMaxVms=5\n\n# no newline at the end",
                "\xef\xbb\xbf[Manager]\nMaxVms=5\n", /* a byte order mark */
        };

        (void)state;
        for_each_case(c, cases) {
                _cleanup_(config_done) Config config = {};
                Problem p = {};

                config_init(&config);
                if (read_text(&config, *c, &p) < 0)
                        fail_msg("%s\n%s", p.text, *c);
                assert_int_equal(config.max_vms, 5);
        }
}

static void nothing_in_it(void **state) {
        static const char *const cases[] = { "", "\n", "[Manager]\n", "# nothing\n" };

        (void)state;
        for_each_case(c, cases) {
                _cleanup_(config_done) Config config = {};
                Config defaults;

                config_init(&defaults);
                config = defaults;
                assert_ok(read_text(&config, *c, NULL));
                assert_true(config_equal(&config, &defaults));
        }
}

/* A comment of any length, and a value too long. */
static void long_lines(void **state) {
        char text[2048] = "[Manager]\n# ";
        _cleanup_(config_done) Config config = {};

        (void)state;
        config_init(&config);
        memset(text + strlen(text), 'x', 1000);
        (void)strcat(text, "\nMaxVms=5\n");
        assert_ok(read_text(&config, text, NULL));
        assert_int_equal(config.max_vms, 5);

        (void)strcpy(text, "[Manager]\nMaxVms=");
        memset(text + strlen(text), '0', 1000);
        text[1017] = '\0';
        assert_refused(text, 2, "too long");
        (void)strcat(text, "\nNo=1\n");
        assert_refused(text, 2, "too long");
}

static void cannot_be_read(void **state) {
        _cleanup_(config_done) Config config = {};
        Config before;
        Problem p = {};

        (void)state;
        config_init(&config);
        before = config;
        assert_error(config_read_file(&config, "/nonexistent/aviommud.conf", &p), ENOENT);
        assert_error(config_read_file(&config, "/proc/self/mem", &p), EIO);
        assert_error(config_read_file(&config, "/", &p), EIO);
        assert_false(problem_is_set(&p));
        assert_true(config_equal(&config, &before));
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(defaults_are_as_shipped),
                cmocka_unit_test(shipped_file_is_read),
                cmocka_unit_test(every_key_is_read),
                cmocka_unit_test(bounds),
                cmocka_unit_test(booleans),
                cmocka_unit_test(refusals),
                cmocka_unit_test(forms_that_are_taken),
                cmocka_unit_test(nothing_in_it),
                cmocka_unit_test(long_lines),
                cmocka_unit_test(cannot_be_read),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
