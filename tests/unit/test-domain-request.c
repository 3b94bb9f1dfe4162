/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The schema of a request and the reader of it are two descriptions of the same thing: on every example they have to agree. */

#include "unit.h"

#include <dirent.h>
#include <fcntl.h>

#include "domain/decide.h"

/* Whether the schema takes the file, as xmllint has it. */
static bool schema_takes(const char *path) {
        int status = -1;
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

                if (null < 0 || dup2(null, STDERR_FILENO) < 0)
                        _exit(127);
                (void)execlp("xmllint", "xmllint", "--noout", "--nonet", "--relaxng",
                             REQUEST_SCHEMA, path, (char *)NULL);
                _exit(127);
        }
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_true(WIFEXITED(status));
        /* 3: it does not validate. Whatever else there is, is no answer. */
        if (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 3)
                fail_msg("xmllint ends with %i on %s", WEXITSTATUS(status), path);
        return WEXITSTATUS(status) == 0;
}

/* Whether the reader takes it, as the request of a domain with the functions 0000:41:00.0 and 0000:42:00.0. */
static bool reader_takes(const char *path) {
        static const char
                head[] = "<domain type='kvm'><name>web</name><metadata>",
                tail[] = "</metadata><devices>"
                         "<hostdev type='pci'><source><address bus='0x41'/></source></hostdev>"
                         "<hostdev type='pci'><source><address bus='0x42'/></source></hostdev>"
                         "</devices></domain>";
        _cleanup_free_ char *error = NULL;
        char request[4096], xml[sizeof(head) + sizeof(request) + sizeof(tail)];
        FILE *f = fopen(path, "re");
        Domain domain;
        size_t n;
        int r;

        assert_non_null(f);
        n = fread(request, 1, sizeof(request) - 1, f);
        assert_true(feof(f));
        (void)fclose(f);
        request[n] = '\0';
        (void)snprintf(xml, sizeof(xml), "%s%s%s", head, request, tail);

        r = domain_parse(xml, strlen(xml), &domain, &error);
        if (r < 0) {
                assert_error(r, EINVAL);
                assert_contains(error, " of the domain's XML: ");
                return false;
        }
        assert_true(domain.asks);
        domain_done(&domain);
        return true;
}

static void examples(void **state) {
        DIR *d = opendir(REQUESTS_DIR);
        unsigned n_good = 0, n_bad = 0;

        (void)state;
        assert_non_null(d);
        for (struct dirent *e; (e = readdir(d));) {
                bool good = strncmp(e->d_name, "good-", strlen("good-")) == 0;
                char path[512];

                if (e->d_name[0] == '.')
                        continue;
                assert_true(good || strncmp(e->d_name, "bad-", strlen("bad-")) == 0);
                (void)snprintf(path, sizeof(path), REQUESTS_DIR "/%s", e->d_name);
                if (schema_takes(path) != good)
                        fail_msg("the schema %s %s", good ? "refuses" : "takes", e->d_name);
                if (reader_takes(path) != good)
                        fail_msg("the reader %s %s", good ? "refuses" : "takes", e->d_name);
                n_good += good;
                n_bad += !good;
        }
        (void)closedir(d);
        assert_true(n_good >= 20 && n_bad >= 40);
}

/* The domains that the manual shows are what it says: they ask for a tier, and have it. */
static void manual(void **state) {
        static const DomainTier tiers[] = { DOMAIN_TIER_EMULATED, DOMAIN_TIER_VIRTIO };
        char page[32768], *p = page, *end;
        FILE *f = fopen(MANUAL, "re");
        size_t n;

        (void)state;
        assert_non_null(f);
        n = fread(page, 1, sizeof(page) - 1, f);
        assert_true(feof(f));
        (void)fclose(f);
        page[n] = '\0';

        for_each_case(tier, tiers) {
                _cleanup_(domain_done) Domain domain = { .id = -1 };
                _cleanup_free_ char *error = NULL;
                LibvirtConfig config;
                DomainDecision d;

                p = strstr(p, "\n<domain ");
                end = p ? strstr(p, "\n</domain>") : NULL;
                assert_non_null(end);
                if (domain_parse(p + 1, (size_t)(end + strlen("\n</domain>") - (p + 1)), &domain,
                                 &error) < 0)
                        fail_msg("%s", error);
                libvirt_config_init(&config);
                domain_decide(&domain, &config, &d);
                assert_int_equal(d.verdict, DOMAIN_CANDIDATES);
                assert_int_equal(d.candidates[0], *tier);
                assert_int_equal(d.n_reasons, 0);
                assert_int_equal(domain.n_functions, 1);
                p = end;
        }
        assert_null(strstr(p, "\n<domain "));
}

int main(void) {
        const struct CMUnitTest tests[] = { cmocka_unit_test(examples), cmocka_unit_test(manual) };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
