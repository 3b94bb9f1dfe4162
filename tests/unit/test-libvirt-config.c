/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The configuration of hook and agent. Its shipped form is read here too, so that defaults and file cannot drift apart. */

#include "unit.h"

#include <fcntl.h>
#include <sys/mman.h>

#include "domain/config.h"
#include "oom.h"

#define SEC UINT64_C(1000000)

/* Reads @text as a configuration file, over @config. */
static int read_text(const char *text, LibvirtConfig *config, char **reterr) {
        _cleanup_close_ int fd = memfd_create("config", MFD_CLOEXEC);
        char path[64];

        assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
        (void)snprintf(path, sizeof(path), "/proc/self/fd/%i", fd);
        return libvirt_config_read(path, config, reterr);
}

/* Taken; the caller gives it back. */
static LibvirtConfig taken(const char *text) {
        _cleanup_free_ char *error = NULL;
        LibvirtConfig config;

        libvirt_config_init(&config);
        if (read_text(text, &config, &error) < 0)
                fail_msg("%s\n%s", error, text);
        assert_null(error);
        return config;
}

static void assert_defaults(const LibvirtConfig *c) {
        assert_int_equal(c->unasked, UNASKED_ACCOUNT);
        assert_true(c->down_refuses_asked);
        assert_false(c->down_refuses_unasked);
        assert_true(c->start_domains);
        assert_int_equal(c->timeout_usec, 20 * SEC);
        assert_int_equal(c->report_usec, 30 * SEC);
        assert_null(c->uri);
}

/* Refused, with @line and @says in the message, and nothing has changed. */
static void assert_refused(const char *text, unsigned line, const char *says) {
        _cleanup_(libvirt_config_done)
                LibvirtConfig config = { .uri = strdup("xen:///system"), .timeout_usec = 7 };
        const LibvirtConfig before = config;
        _cleanup_free_ char *error = NULL;
        char where[32];

        if (read_text(text, &config, &error) != -EINVAL)
                fail_msg("taken: %s", text);
        (void)snprintf(where, sizeof(where), ":%u: ", line);
        assert_non_null(error);
        assert_contains(error, "/proc/self/fd/"); /* the file */
        assert_contains(error, where);
        assert_contains(error, says);
        assert_memory_equal(&config, &before, sizeof(config));
        assert_string_equal(config.uri, "xen:///system");
}

/* The shipped file names every key, commented out, with its default: uncommented it says the same as nothing. */
static void defaults_are_as_shipped(void **state) {
        static const char *const keys[] = { "Unasked",    "DaemonDownAsked", "DaemonDownUnasked",
                                            "TimeoutSec", "StartDomains",    "Uri",
                                            "ReportSec" };
        _cleanup_free_ char *error = NULL, *text = new0(char, 8192);
        FILE *f = fopen(SHIPPED_CONFIG, "re");
        LibvirtConfig config;
        char line[256];

        (void)state;
        assert_non_null(f);
        while (fgets(line, sizeof(line), f)) {
                bool is_key = line[0] == '#' && line[1] >= 'A' && line[1] <= 'Z' &&
                              strchr(line, '=');

                (void)strcat(text, is_key ? line + 1 : line);
        }
        (void)fclose(f);
        for_each_case(key, keys) {
                char set[64];

                (void)snprintf(set, sizeof(set), "\n%s=", *key);
                assert_contains(text, set);
        }

        config = taken(text);
        assert_string_equal(config.uri, "qemu:///system");
        free(TAKE_PTR(config.uri));
        assert_defaults(&config);

        libvirt_config_init(&config);
        assert_ok(libvirt_config_read(SHIPPED_CONFIG, &config, &error));
        assert_defaults(&config);
}

static void every_key(void **state) {
        LibvirtConfig c = taken(
                "[Libvirt]\nUnasked=refuse\nDaemonDownAsked=run\nDaemonDownUnasked=refuse\n"
                "TimeoutSec=120\nStartDomains=no\nUri=test:///default\nReportSec=3600\n");

        (void)state;
        assert_int_equal(c.unasked, UNASKED_REFUSE);
        assert_false(c.down_refuses_asked);
        assert_true(c.down_refuses_unasked);
        assert_false(c.start_domains);
        assert_int_equal(c.timeout_usec, 120 * SEC);
        assert_int_equal(c.report_usec, 3600 * SEC);
        assert_string_equal(c.uri, "test:///default");
        libvirt_config_done(&c);
        libvirt_config_done(&c); /* twice is as good */

        c = taken("[Libvirt]\nUnasked=ignore\nTimeoutSec=1\nReportSec=1\n");
        assert_int_equal(c.unasked, UNASKED_IGNORE);
        assert_int_equal(c.timeout_usec, SEC);
        assert_int_equal(c.report_usec, SEC);
        assert_true(c.down_refuses_asked);
        libvirt_config_done(&c);
}

/* Over what is there already: what the file does not say stays, and what it says takes its place. */
static void over_another(void **state) {
        _cleanup_(libvirt_config_done)
                LibvirtConfig c = taken("[Libvirt]\nUri=a:b\nTimeoutSec=5\n");
        char *error = NULL;

        (void)state;
        assert_ok(read_text("[Libvirt]\nReportSec=9\n", &c, &error));
        assert_string_equal(c.uri, "a:b");
        assert_int_equal(c.timeout_usec, 5 * SEC);
        assert_int_equal(c.report_usec, 9 * SEC);
        assert_ok(read_text("[Libvirt]\nUri=c:d\n", &c, &error));
        assert_string_equal(c.uri, "c:d");
}

static void forms_that_are_taken(void **state) {
        static const char *const cases[] = {
                "[Libvirt]\nStartDomains=no\nTimeoutSec=5\n",
                "[Libvirt]\nStartDomains=false\nTimeoutSec=005",
                "  [Libvirt]  \n\tStartDomains\t=\toff\t\nTimeoutSec = 5\n",
                "[Libvirt]\r\nStartDomains=0\r\nTimeoutSec=5\r\n",
                "; a comment\n[Libvirt]\n# another\nStartDomains=no ; no\nTimeoutSec=5\n",
                "[Libvirt]\nStartDomains=no\n[Libvirt]\nTimeoutSec=5\n",
                "\xef\xbb\xbf[Libvirt]\nStartDomains=no\nTimeoutSec=5\n",
        };
        static const char *const yes[] = { "yes", "true", "on", "1" };

        (void)state;
        for_each_case(text, cases) {
                LibvirtConfig c = taken(*text);

                assert_false(c.start_domains);
                assert_int_equal(c.timeout_usec, 5 * SEC);
                libvirt_config_done(&c);
        }
        for_each_case(word, yes) {
                LibvirtConfig c;
                char *error = NULL, text[64];

                (void)snprintf(text, sizeof(text), "[Libvirt]\nStartDomains=%s\n", *word);
                libvirt_config_init(&c);
                c.start_domains = false;
                assert_int_equal(read_text(text, &c, &error), 0);
                assert_true(c.start_domains);
                libvirt_config_done(&c);
        }
}

static void refusals(void **state) {
        static const struct {
                const char *text;
                unsigned line;
                const char *says;
        } cases[] = {
                { "[Libvirt]\nUnaskd=account\n", 2,
                  "Unknown key \"Unaskd\", see aviommu-libvirt(5)" },
                { "[Libvirt]\nunasked=account\n", 2, "Unknown key \"unasked\"" },
                { "[Libvirt]\n=1\n", 2, "Unknown key \"\"" },
                { "[Manager]\nUnasked=account\n", 1,
                  "Unknown section [Manager]; there is only [Libvirt]" },
                { "Unasked=account\n", 1, "Unknown section []" },
                { "[Libvirt]\nUnasked\n", 2, "no \"Key=value\" line" },
                { "[Libvirt\nUnasked=account\n", 1, "no \"Key=value\" line" },
                { "[Libvirt]\n\n#\nUnasked=\n", 4,
                  "Unasked= wants account, ignore or refuse, not \"\"" },
                { "[Libvirt]\nUnasked=Account\n", 2, "not \"Account\"" },
                { "[Libvirt]\nUnasked=run\n", 2, "not \"run\"" },
                { "[Libvirt]\nDaemonDownAsked=yes\n", 2,
                  "DaemonDownAsked= wants refuse or run, not \"yes\"" },
                { "[Libvirt]\nDaemonDownUnasked=no\n", 2,
                  "DaemonDownUnasked= wants run or refuse" },
                { "[Libvirt]\nStartDomains=refuse\n", 2, "StartDomains= wants yes or no" },
                { "[Libvirt]\nTimeoutSec=0\n", 2,
                  "TimeoutSec= wants a number from 1 to 120, not \"0\"" },
                { "[Libvirt]\nTimeoutSec=121\n", 2, "from 1 to 120" },
                { "[Libvirt]\nTimeoutSec=\n", 2, "from 1 to 120" },
                { "[Libvirt]\nTimeoutSec=-1\n", 2, "from 1 to 120" },
                { "[Libvirt]\nTimeoutSec=1s\n", 2, "from 1 to 120" },
                { "[Libvirt]\nTimeoutSec=18446744073709551617\n", 2, "from 1 to 120" },
                { "[Libvirt]\nReportSec=3601\n", 2, "ReportSec= wants a number from 1 to 3600" },
                { "[Libvirt]\nReportSec=0\n", 2, "from 1 to 3600" },
                { "[Libvirt]\nUri=\n", 2, "Uri= wants the URI of a libvirt connection" },
                { "[Libvirt]\nUri=qemu\n", 2, "not \"qemu\"" },
                { "[Libvirt]\nUri=qemu:\n", 2, "Uri=" },
                { "[Libvirt]\nUri=:///x\n", 2, "Uri=" },
                { "[Libvirt]\nUri=qemu:///a b\n", 2, "Uri=" },
                /* twice */
                { "[Libvirt]\nTimeoutSec=5\nTimeoutSec=5\n", 3, "TimeoutSec= is there twice" },
                { "[Libvirt]\nUri=a:b\n[Libvirt]\nUri=a:b\n", 4, "Uri= is there twice" },
                { "[Libvirt]\nTimeoutSec=4\n  5\n", 3,
                  "TimeoutSec= is there twice" }, /* goes on from above */
                /* the first of several, with its own words */
                { "[Libvirt]\nUri=a:b\nNo=1\nTimeoutSec=x\n", 3, "Unknown key \"No\"" },
                { "[Libvirt]\nbroken\n\nNo=1\n", 2, "no \"Key=value\" line" },
                { "[Libvirt]\nUnasked=refuse\nUri=c:d\nTimeoutSec=x\n", 4, "not \"x\"" },
        };

        (void)state;
        for_each_case(c, cases) assert_refused(c->text, c->line, c->says);
}

static void long_lines(void **state) {
        char text[2048] = "[Libvirt]\n# ";
        LibvirtConfig c;

        (void)state;
        memset(text + strlen(text), 'x', 1000);
        (void)strcat(text, "\nTimeoutSec=5\n");
        c = taken(text);
        assert_int_equal(c.timeout_usec, 5 * SEC);

        (void)strcpy(text, "[Libvirt]\nUri=a:");
        memset(text + strlen(text), 'x', 1000);
        text[1016] = '\0';
        assert_refused(text, 2, "too long");
}

static void no_file(void **state) {
        _cleanup_(libvirt_config_done) LibvirtConfig c;
        char *error = NULL;

        (void)state;
        libvirt_config_init(&c);
        assert_ok(libvirt_config_read("/nonexistent/libvirt.conf", &c, &error));
        assert_defaults(&c);
        assert_error(libvirt_config_read("/proc/self/mem", &c, &error), EIO);
        assert_error(libvirt_config_read("/", &c, &error), EIO);
        assert_error(libvirt_config_read("/dev/null/x", &c, &error), ENOTDIR);
        assert_null(error);
        assert_defaults(&c);
}

static void without_memory(void **state) {
        (void)state;
        OOM_SWEEP(nth, {
                _cleanup_(libvirt_config_done) LibvirtConfig c = { .uri = strndup("a:b", 3) };
                _cleanup_free_ char *error = NULL;
                int r = read_text("[Libvirt]\nUri=c:d\n", &c, &error);

                assert_true(r == 0 || r == -ENOMEM);
                assert_string_equal(c.uri, r == 0 ? "c:d" : "a:b");
                assert_null(error);
        });
        OOM_SWEEP(nth, {
                LibvirtConfig c = {};
                _cleanup_free_ char *error = NULL;
                int r = read_text("[Libvirt]\nNo=1\n", &c, &error);

                assert_true(r == -ENOMEM ? !error : r == -EINVAL && error);
        });
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(defaults_are_as_shipped),
                cmocka_unit_test(every_key),
                cmocka_unit_test(over_another),
                cmocka_unit_test(forms_that_are_taken),
                cmocka_unit_test(refusals),
                cmocka_unit_test(long_lines),
                cmocka_unit_test(no_file),
                cmocka_unit_test(without_memory),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
