/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Addresses, descriptors, refusals, log lines. */

#include "unit.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "base/log.h"

/* ---- PCI addresses ---- */

static void address_parses(void **state) {
        static const struct {
                const char *text, *full;
        } cases[] = {
                { "0000:00:00.0", "0000:00:00.0" }, { "ffff:ff:1f.7", "ffff:ff:1f.7" },
                { "FFFF:FF:1F.7", "ffff:ff:1f.7" }, { "aBcD:eF:0a.3", "abcd:ef:0a.3" },
                { "41:00.0", "0000:41:00.0" },      { "FF:1F.7", "0000:ff:1f.7" },
                { "0001:40:01.1", "0001:40:01.1" },
        };

        (void)state;
        for_each_case(c, cases) {
                PciAddress a = address(c->text);

                assert_string_equal(PCI_ADDRESS_STRING(&a), c->full);
        }
}

static void address_refused(void **state) {
        static const char *const cases[] = {
                "",
                " ",
                " 0000:41:00.0",
                "0000:41:00.0 ",
                "0000:41:00.0\n",
                "0000:41:00.00",
                "0000:41:00.8",
                "0000:41:00.9",
                "0000:41:00.f",
                "0000:41:20.0",
                "0000:41:ff.0",
                "0000:41:0.0",
                "0000:4:00.0",
                "0000:041:00.0",
                "000:41:00.0",
                "00000:41:00.0",
                "10000:41:00.0",
                "0000:41:00:0",
                "0000.41.00.0",
                "0000:41:00",
                "0000:4g:00.0",
                "0000:41:0g.0",
                "0000:41:00.g",
                "g000:41:00.0",
                "0x00:41:00.0",
                "+000:41:00.0",
                "-000:41:00.0",
                "0000:-1:00.0",
                "0000:+1:00.0",
                "0000: 1:00.0",
                "0000:41:00.-",
                "0000::41:00.0",
                ":41:00.0",
                "0000:0000:41:00.0",
                "41:00.0:0000",
                "@000:41:00.0",
                "`000:41:00.0",
                "/000:41:00.0",
                "G000:41:00.0",
                "0000:41:1F.8",
                "ivhd0",
        };

        (void)state;
        for_each_case(c, cases) {
                PciAddress a = { 0x1234, 0x56, 0x78 };

                if (pci_address_parse(*c, &a) != -EINVAL)
                        fail_msg("\"%s\" is taken for %s", *c, PCI_ADDRESS_STRING(&a));
                assert_true(a.segment == 0x1234 && a.bus == 0x56 && a.devfn == 0x78);
        }
}

static void address_truncated(void **state) {
        static const char *const cases[] = { "0001:41:02.3", "41:02.3" };

        (void)state;
        for_each_case(c, cases) for (size_t n = 0; n < strlen(*c); n++) {
                _cleanup_free_ char *cut = strndup(*c, n);
                PciAddress a;

                if (pci_address_parse(cut, &a) != -EINVAL)
                        fail_msg("\"%s\" is taken", cut);
        }
}

static void address_round_trip(void **state) {
        static const uint16_t segments[] = { 0, 1, 0x7fff, 0x8000, 0xffff };

        (void)state;
        for_each_case(segment, segments) for (uint32_t bdf = 0; bdf <= UINT16_MAX; bdf++) {
                PciAddress a = { *segment, (uint8_t)(bdf >> 8), (uint8_t)bdf }, b;

                assert_int_equal(pci_address_parse(PCI_ADDRESS_STRING(&a), &b), 0);
                assert_true(pci_address_equal(&a, &b));
                assert_int_equal(pci_address_bdf(&b), bdf);
        }
}

static void address_order(void **state) {
        static const char *const sorted[] = {
                "0000:00:00.0", "0000:00:00.1", "0000:00:01.0", "0000:01:00.0",
                "0000:ff:1f.7", "0001:00:00.0", "7fff:00:00.0", "ffff:ff:1f.7",
        };

        (void)state;
        for (size_t i = 0; i < ELEMENTSOF(sorted); i++)
                for (size_t j = 0; j < ELEMENTSOF(sorted); j++) {
                        PciAddress a = address(sorted[i]), b = address(sorted[j]);

                        assert_int_equal(pci_address_compare(&a, &b), (i > j) - (i < j));
                        assert_int_equal(pci_address_equal(&a, &b), i == j);
                }
}

static void guest_ids(void **state) {
        static const char *const refused[] = { "",        "0000:01:00.0", "01:00",  "01:00.8",
                                               "01:20.0", "01:00.0 ",     "1:00.0", "01.00.0" };
        static const char whole[] = "01:02.3";

        (void)state;
        for (uint32_t bdf = 0; bdf <= UINT16_MAX; bdf++) {
                GuestDeviceId id = { (uint16_t)bdf };

                assert_int_equal(guest_id(GUEST_DEVICE_ID_STRING(id)).bdf, bdf);
        }
        assert_int_equal(guest_id("FF:1F.7").bdf, 0xffff);
        for_each_case(c, refused) {
                GuestDeviceId id = { 7 };

                assert_error(guest_device_id_parse(*c, &id), EINVAL);
                assert_int_equal(id.bdf, 7);
        }
        for (size_t n = 0; n < strlen(whole); n++) {
                _cleanup_free_ char *cut = strndup(whole, n);
                GuestDeviceId id;

                assert_error(guest_device_id_parse(cut, &id), EINVAL);
        }
}

/* ---- descriptors ---- */

static void closing_keeps_errno(void **state) {
        int pipes[2];

        (void)state;
        assert_ok(pipe2(pipes, O_CLOEXEC));
        errno = EXDEV;
        assert_int_equal(fd_close(pipes[0]), -1);
        assert_int_equal(errno, EXDEV);
        assert_int_equal(fcntl(pipes[0], F_GETFD), -1);

        errno = EXDEV;
        assert_int_equal(fd_close(-1), -1);
        assert_int_equal(fd_close(-EBADF), -1);
        assert_int_equal(fd_close(pipes[0]), -1); /* closed already */
        assert_int_equal(errno, EXDEV);

        fd_closep(&pipes[1]);
        assert_int_equal(pipes[1], -1);
}

static void duplicates(void **state) {
        _cleanup_close_ int fd = open("/dev/null", O_RDONLY), copy = -1;

        (void)state;
        copy = fd_dup(fd);
        assert_true(copy >= 3 && copy != fd);
        assert_int_equal(fcntl(copy, F_GETFD), FD_CLOEXEC);
        assert_error(fd_dup(-1), EBADF);
        assert_error(fd_dup(1 << 20), EBADF);
}

/* A child that waits for its end. */
static pid_t child_new(int *ret_pidfd) {
        pid_t pid = fork();

        assert_true(pid >= 0);
        if (pid == 0) {
                (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
                (void)pause();
                _exit(0);
        }
        *ret_pidfd = pidfd_open(pid, 0);
        assert_true(*ret_pidfd >= 0);
        return pid;
}

static void child_kill(pid_t pid) {
        siginfo_t info;

        assert_ok(kill(pid, SIGKILL));
        assert_ok(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT));
}

static void pidfd_lives_and_dies(void **state) {
        _cleanup_close_ int pidfd = -1;
        pid_t child = child_new(&pidfd);
        bool ended = true;
        int pid = -1;

        (void)state;
        assert_ok(fd_verify_pidfd(pidfd));
        assert_ok(pidfd_has_ended(pidfd, &ended));
        assert_false(ended);
        assert_ok(pidfd_get_pid(pidfd, &pid));
        assert_int_equal(pid, child);

        child_kill(child); /* a zombie now */
        assert_ok(fd_verify_pidfd(pidfd));
        assert_ok(pidfd_has_ended(pidfd, &ended));
        assert_true(ended);
        assert_ok(pidfd_get_pid(pidfd, &pid));

        assert_int_equal(waitpid(child, NULL, 0), child);
        assert_ok(fd_verify_pidfd(pidfd));
        ended = false;
        assert_ok(pidfd_has_ended(pidfd, &ended));
        assert_true(ended);
        pid = -7;
        assert_error(pidfd_get_pid(pidfd, &pid), ESRCH);
        assert_int_equal(pid, -7);
}

static void pidfd_of_oneself(void **state) {
        _cleanup_close_ int pidfd = pidfd_open(getpid(), 0);
        int pid;

        (void)state;
        assert_ok(fd_verify_pidfd(pidfd));
        assert_ok(pidfd_get_pid(pidfd, &pid));
        assert_int_equal(pid, getpid());
}

static void what_is_no_pidfd(void **state) {
        _cleanup_close_ int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC),
                            folder = open("/proc/self", O_RDONLY | O_DIRECTORY | O_CLOEXEC),
                            path = open("/", O_PATH | O_CLOEXEC);
        int pipes[2], pid = -7;
        bool ended = true;

        (void)state;
        assert_ok(pipe2(pipes, O_CLOEXEC));
        assert_error(fd_verify_pidfd(file), EINVAL);
        assert_error(fd_verify_pidfd(folder), EINVAL);
        assert_error(fd_verify_pidfd(path), EINVAL);
        assert_error(fd_verify_pidfd(pipes[0]), EINVAL);
        assert_error(fd_verify_pidfd(pipes[1]), EINVAL);
        assert_error(pidfd_get_pid(pipes[1], &pid), EINVAL);

        fd_closep(&pipes[0]);
        fd_closep(&pipes[1]);
        assert_error(fd_verify_pidfd(-1), EBADF);
        assert_error(fd_verify_pidfd(1 << 20), EBADF);
        assert_error(pidfd_get_pid(-1, &pid), EBADF);
        assert_error(pidfd_has_ended(1 << 20, &ended), EBADF);
        assert_true(ended);
        assert_int_equal(pid, -7);
}

/* ---- refusals ---- */

static void problem_names(void **state) {
        (void)state;
        for (ProblemKind a = PROBLEM_NONE + 1; a < _PROBLEM_KIND_MAX; a++) {
                const char *name = problem_kind_to_name(a);

                assert_true(problem_kind_to_errno(a) > 0);
                /* A part of a D-Bus error name. */
                assert_true(name[0] >= 'A' && name[0] <= 'Z');
                assert_int_equal(
                        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"),
                        strlen(name));
                for (ProblemKind b = PROBLEM_NONE + 1; b < a; b++)
                        assert_string_not_equal(name, problem_kind_to_name(b));
        }
        assert_string_equal(problem_kind_to_name(PROBLEM_NO_FREE_INSTANCE), "NoFreeInstance");
        assert_int_equal(problem_kind_to_errno(PROBLEM_NO_FREE_INSTANCE), EDQUOT);
        assert_int_equal(problem_kind_to_errno(PROBLEM_WRONG_STATE), EBADFD);
}

static void problem_is_filled(void **state) {
        Problem p = {};

        (void)state;
        assert_false(problem_is_set(&p));
        assert_error(problem_set_amounts(&p, PROBLEM_LIMITS_EXCEEDED, 7, 5, "%u of %u", 7U, 5U),
                     EDQUOT);
        assert_true(problem_is_set(&p));
        assert_string_equal(p.text, "7 of 5");
        assert_int_equal(p.wanted, 7);
        assert_int_equal(p.available, 5);

        assert_error(problem_set(&p, PROBLEM_BUSY, "%s", "busy"), EBUSY);
        assert_problem(&p, PROBLEM_BUSY, "busy");
        assert_int_equal(p.wanted, 0); /* nothing of the one before is left */
        assert_int_equal(p.available, 0);

        assert_error(problem_set(NULL, PROBLEM_BUSY, "nobody reads this"), EBUSY);
        assert_error(problem_set_amounts(NULL, PROBLEM_BUSY, 1, 2, "nor this"), EBUSY);
}

static void problem_is_cut(void **state) {
        char text[2 * sizeof(((Problem *)0)->text)];
        Problem p;

        (void)state;
        memset(text, 'x', sizeof(text));
        text[sizeof(text) - 1] = '\0';
        (void)problem_set(&p, PROBLEM_BUSY, "%s", text);
        assert_int_equal(strlen(p.text), sizeof(p.text) - 1);

        text[sizeof(p.text) - 1] = '\0'; /* fits exactly */
        (void)problem_set(&p, PROBLEM_BUSY, "%s", text);
        assert_string_equal(p.text, text);
}

/* Error messages are UTF-8 or D-Bus does not carry them: what was cut in the middle of a character may not spoil it. */
static void problem_is_utf8(void **state) {
        static const struct {
                const char *text, *result;
        } cases[] = {
                { "grün", "grün" },
                { "\xe2\x82\xac", "\xe2\x82\xac" },
                { "\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80" },
                { "a\xc3", "a?" },
                { "a\xe2\x82\"", "a??\"" },
                { "a\xf0\x9f\x98", "a???" },
                { "\x80z", "?z" },
                { "\xc0\x80", "??" },           /* overlong */
                { "\xe0\x80\x80", "???" },      /* overlong */
                { "\xed\xa0\x80", "???" },      /* half of a pair */
                { "\xf0\x80\x80\x80", "????" }, /* overlong */
                { "\xf4\x90\x80\x80", "????" }, /* beyond the last */
                { "\xf5\x80\x80\x80", "????" },
                { "\xff\xfe", "??" },
        };
        Problem p;

        (void)state;
        for_each_case(c, cases) {
                (void)problem_set(&p, PROBLEM_BUSY, "%s", c->text);
                assert_string_equal(p.text, c->result);
        }

        /* Cut by the size of the text: the character that does not fit whole is not there at all. */
        for (size_t before = sizeof(p.text) - 6; before < sizeof(p.text); before++) {
                (void)problem_set(&p, PROBLEM_BUSY, "%*s\xf0\x9f\x98\x80", (int)before, "");
                for (const char *c = p.text; c < p.text + MIN(before, sizeof(p.text) - 1); c++)
                        assert_int_equal(*c, ' ');
                if (before + 4 < sizeof(p.text))
                        assert_string_equal(p.text + before, "\xf0\x9f\x98\x80");
                else if (before < sizeof(p.text) - 1)
                        assert_int_equal(strspn(p.text + before, "?"), strlen(p.text + before));
        }
}

/* ---- log ---- */

/* What a child writes to its stderr while it logs. @journal: it takes that for the journal. */
static void log_in_child(bool journal, char *ret, size_t size) {
        int pipes[2];
        ssize_t n;
        pid_t pid;

        assert_ok(pipe2(pipes, O_CLOEXEC));
        pid = fork();
        if (pid == 0) {
                char stream[64] = "1:2";
                struct stat st;

                (void)dup2(pipes[1], 2);
                (void)fstat(2, &st);
                if (journal)
                        (void)snprintf(stream, sizeof(stream), "%llu:%llu",
                                       (unsigned long long)st.st_dev,
                                       (unsigned long long)st.st_ino);
                (void)setenv("JOURNAL_STREAM", stream, 1);

                log_set_max_level(LOG_WARNING);
                log_msg(LOG_WARNING, "a %s", "warning");
                log_vm(LOG_ERR, "some-vm", "an error");
                log_event(LOG_WARNING, MESSAGE_VM_QUARANTINED,
                          &(LogFields){ .vm = "a-vm", .name = "web1", .reason = "because" },
                          "an event");
                log_msg(LOG_INFO, "too much");
                exit(log_get_max_level() == LOG_WARNING ? 0 : 1);
        }

        fd_close(pipes[1]);
        for (size_t length = 0; (n = read(pipes[0], ret + length, size - 1 - length)) > 0;)
                ret[length += (size_t)n] = '\0';
        fd_close(pipes[0]);
        assert_int_equal(waitpid(pid, (int[]){ 0 }, 0), pid);
}

static void log_lines(void **state) {
        char text[256] = "";

        (void)state;
        log_in_child(false, text, sizeof(text));
        assert_string_equal(text, "a warning\nsome-vm: an error\na-vm: an event\n");

        /* Where stderr is the journal's, nothing is written to it. */
        text[0] = '\0';
        log_in_child(true, text, sizeof(text));
        assert_string_equal(text, "");
}

/* What the journal gets, instead of it. */
static char journal[2048];
int __wrap_sd_journal_sendv(const struct iovec *iov, int n);

int __wrap_sd_journal_sendv(const struct iovec *iov, int n) {
        for (int i = 0; i < n; i++)
                (void)snprintf(journal + strlen(journal), sizeof(journal) - strlen(journal),
                               "%.*s|", (int)iov[i].iov_len, (const char *)iov[i].iov_base);
        return 0;
}

static void log_fields(void **state) {
        char text[1600];

        (void)state;
        log_set_target(LOG_TARGET_JOURNAL);
        log_event(LOG_ERR, "an-id",
                  &(LogFields){ .vm = "a-vm",
                                .name = "web1\nAVIOMMU_VM=other",
                                .function = "f",
                                .iommu = "ivhd0",
                                .reason = "100%s",
                                .record = "r" },
                  "an %s", "event");
        assert_string_equal(journal, "PRIORITY=3|MESSAGE=a-vm: an event|MESSAGE_ID=an-id|"
                                     "AVIOMMU_VM=a-vm|AVIOMMU_VM_NAME=web1\nAVIOMMU_VM=other|"
                                     "AVIOMMU_FUNCTION=f|AVIOMMU_IOMMU=ivhd0|"
                                     "AVIOMMU_REASON=100%s|AVIOMMU_RECORD=r|");
        journal[0] = '\0';
        log_event(LOG_ERR, "an-id", NULL, "an event");
        log_vm(LOG_WARNING, "a-vm", "plain");
        log_msg(LOG_DEBUG, "too much");
        assert_string_equal(journal, "PRIORITY=3|MESSAGE=an event|MESSAGE_ID=an-id|"
                                     "PRIORITY=4|MESSAGE=a-vm: plain|AVIOMMU_VM=a-vm|");

        /* What is too long is cut. */
        memset(text, 'x', sizeof(text) - 1);
        text[sizeof(text) - 1] = '\0';
        journal[0] = '\0';
        log_event(LOG_ERR, NULL, &(LogFields){ .reason = "short" }, "%s", text);
        assert_non_null(strstr(journal, "x|AVIOMMU_REASON=short|"));

        journal[0] = '\0';
        log_set_target(LOG_TARGET_NULL);
        log_msg(LOG_ERR, "nowhere");
        assert_string_equal(journal, "");
        log_set_target(LOG_TARGET_AUTO);
}

static void log_names(void **state) {
        static const char *const bad[] = { "", "DEBUG", "7", "info ", "warn", "error" };
        LogTarget target;
        int level;

        (void)state;
        for (int i = LOG_EMERG; i <= LOG_DEBUG; i++) {
                assert_ok(log_level_from_string(log_level_to_string(i), &level));
                assert_int_equal(level, i);
        }
        for (LogTarget t = 0; t < _LOG_TARGET_MAX; t++) {
                assert_ok(log_target_from_string(log_target_to_string(t), &target));
                assert_int_equal(target, t);
        }
        for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
                assert_int_equal(log_level_from_string(bad[i], &level), -EINVAL);
                assert_int_equal(log_target_from_string(bad[i], &target), -EINVAL);
        }
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(address_parses),       cmocka_unit_test(address_refused),
                cmocka_unit_test(address_truncated),    cmocka_unit_test(address_round_trip),
                cmocka_unit_test(address_order),        cmocka_unit_test(guest_ids),
                cmocka_unit_test(closing_keeps_errno),  cmocka_unit_test(duplicates),
                cmocka_unit_test(pidfd_lives_and_dies), cmocka_unit_test(pidfd_of_oneself),
                cmocka_unit_test(what_is_no_pidfd),     cmocka_unit_test(problem_names),
                cmocka_unit_test(problem_is_filled),    cmocka_unit_test(problem_is_cut),
                cmocka_unit_test(problem_is_utf8),      cmocka_unit_test(log_lines),
                cmocka_unit_test(log_fields),           cmocka_unit_test(log_names),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
