/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The agent's smaller parts: what to charge, which domains are still to be started, and mail between threads. */

#include "unit.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/stat.h>

#include "agent/agent-private.h"
#include "agent/charges.h"
#include "agent/mailbox.h"
#include "agent/starts.h"
#include "oom.h"

/* ---- charges ---- */

typedef struct ChargeCase {
        const char *name, *has, *charged; /* one digit a function, 'x' after one that is leaving */
        const char *detach, *attach;
        bool waits;
} ChargeCase;

static const ChargeCase charge_cases[] = {
        { "nothing", "", "", "", "", false },
        { "the same", "123", "321", "", "", false },
        { "one plugged in", "123", "12", "", "3", false },
        { "all plugged in", "12", "", "", "12", false },
        { "one unplugged", "1", "12", "2", "", false },
        { "one for another", "13", "12", "2", "3", false },
        { "all unplugged", "", "12", "12", "", false },
        { "unplugged and on its way out", "1", "12x", "", "", false },
        { "plugged in again on its way out", "12", "12x", "", "", true },
        { "named twice", "122", "1", "", "2", false },
};

static PciAddress numbered(char digit) {
        char text[] = "0000:00:00.0";

        text[6] = digit;
        return address(text);
}

static void test_charge_plan(void **state) {
        (void)state;
        for_each_case(c, charge_cases) {
                DomainFunction has[8] = {};
                Charged charged[8] = {};
                size_t n_has = 0, n_charged = 0;
                ChargePlan plan;
                char text[8];

                for (const char *p = c->has; *p; p++)
                        has[n_has++].address = numbered(*p);
                for (const char *p = c->charged; *p; p++)
                        if (*p == 'x')
                                charged[n_charged - 1].leaving = true;
                        else
                                charged[n_charged++].address = numbered(*p);
                assert_ok(charge_plan(has, n_has, charged, n_charged, &plan));

                memset(text, 0, sizeof(text));
                for (size_t i = 0; i < plan.n_detach; i++)
                        text[i] = (char)('0' + charged[plan.detach[i]].address.bus);
                if (!streq(text, c->detach))
                        fail_msg("%s: detaches \"%s\"", c->name, text);
                memset(text, 0, sizeof(text));
                for (size_t i = 0; i < plan.n_attach; i++)
                        text[i] = (char)('0' + has[plan.attach[i]].address.bus);
                if (!streq(text, c->attach))
                        fail_msg("%s: attaches \"%s\"", c->name, text);
                assert_int_equal(plan.waits, c->waits);
                charge_plan_done(&plan);
        }
}

static void test_charge_plan_oom(void **state) {
        const DomainFunction has = {};
        ChargePlan plan;

        (void)state;
        OOM_SWEEP(nth, {
                int r = charge_plan(&has, 1, NULL, 0, &plan);

                assert_true(r == 0 || r == -ENOMEM);
                if (r == 0)
                        charge_plan_done(&plan);
        });
}

/* ---- starts ---- */

static int folder_setup(void **state) {
        static char folder[64];

        (void)snprintf(folder, sizeof(folder), "/tmp/test-agent-XXXXXX");
        *state = mkdtemp(folder);
        return *state ? 0 : -1;
}

static int folder_teardown(void **state) {
        char path[96];

        (void)snprintf(path, sizeof(path), "%s/starts", (char *)*state);
        (void)unlink(path);
        return rmdir(*state);
}

static sd_id128_t id(uint8_t n) {
        return (sd_id128_t){ .bytes = { 0x5c, [15] = n } };
}

static void test_starts(void **state) {
        const sd_id128_t two[] = { id(1), id(2) };
        Starts starts;

        assert_ok(starts_open(&starts, *state));
        assert_false(starts.decided);
        assert_ok(starts_decide(&starts, two, 2));
        assert_true(starts.decided);
        starts_done(&starts);

        assert_ok(starts_open(&starts, *state));
        assert_true(starts.decided);
        assert_true(starts_has(&starts, id(1)));
        assert_true(starts_has(&starts, id(2)));
        assert_false(starts_has(&starts, id(3)));
        assert_ok(starts_remove(&starts, id(3)));
        assert_ok(starts_remove(&starts, id(1)));
        assert_false(starts_has(&starts, id(1)));
        starts_done(&starts);

        /* It is gone from the file too, and an empty file is a decision. */
        assert_ok(starts_open(&starts, *state));
        assert_int_equal(starts.n, 1);
        assert_ok(starts_remove(&starts, id(2)));
        starts_done(&starts);
        assert_ok(starts_open(&starts, *state));
        assert_true(starts.decided);
        assert_int_equal(starts.n, 0);
        starts_done(&starts);
}

static void test_starts_none(void **state) {
        Starts starts;

        assert_ok(starts_open(&starts, *state));
        assert_ok(starts_decide(&starts, NULL, 0));
        starts_done(&starts);
        assert_ok(starts_open(&starts, *state));
        assert_true(starts.decided);
        starts_done(&starts);
}

/* What cannot be written down is not to be started. */
static void test_starts_unwritable(void **state) {
        const sd_id128_t one[] = { id(1) };
        char path[96];
        Starts starts;

        (void)state;
        assert_ok(starts_open(&starts, NULL));
        assert_error(starts_decide(&starts, one, 1), ENOENT);
        assert_false(starts.decided);
        starts_done(&starts);

        assert_ok(starts_open(&starts, "/nowhere/at/all"));
        assert_error(starts_decide(&starts, one, 1), ENOENT);
        assert_false(starts.decided);
        starts_done(&starts);

        assert_ok(starts_open(&starts, *state));
        assert_ok(starts_decide(&starts, one, 1));
        (void)snprintf(path, sizeof(path), "%s/starts.new", (char *)*state);
        assert_ok(mkdir(path, 0700));
        assert_error(starts_remove(&starts, id(1)), EISDIR);
        assert_true(starts_has(&starts, id(1)));
        assert_ok(rmdir(path));
        starts_done(&starts);
}

static void test_starts_hostile(void **state) {
        static const char text[] = "\n\nnothing\n5c000000-0000-0000-0000-000000000001\n5c\n"
                                   "5c000000-0000-0000-0000-0000000000015c000000-0000-0000-0000-0\n"
                                   "5c000000000000000000000000000002";
        Starts starts;
        char path[96];
        int fd;

        (void)snprintf(path, sizeof(path), "%s/starts", (char *)*state);
        fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, strlen(text)), strlen(text));
        (void)close(fd);
        assert_ok(starts_open(&starts, *state));
        assert_int_equal(starts.n, 2);
        assert_true(starts_has(&starts, id(1)));
        assert_true(starts_has(&starts, id(2)));
        starts_done(&starts);
}

static void test_starts_oom(void **state) {
        const sd_id128_t two[] = { id(1), id(2) };

        OOM_SWEEP(nth, {
                Starts starts;
                int r = starts_open(&starts, *state);

                if (r >= 0) {
                        r = starts_decide(&starts, two, 2);
                        if (r >= 0)
                                r = starts_remove(&starts, id(1));
                        starts_done(&starts);
                }
                assert_true(r == 0 || r == -ENOMEM);
        });
}

/* ---- mail ---- */

typedef struct Letter {
        Mail mail;
        unsigned number;
} Letter;

#define LETTERS 20000

static unsigned n_freed;

static void letter_free(Mail *mail) {
        free(container_of(mail, Letter, mail));
        n_freed++;
}

static void post(Mailbox *box, unsigned number) {
        Letter *letter = new0(Letter, 1);

        assert_non_null(letter);
        letter->number = number;
        mailbox_post(box, &letter->mail);
}

static bool is_readable(const Mailbox *box) {
        struct pollfd p = { .fd = box->fd, .events = POLLIN };

        return poll(&p, 1, 0) > 0;
}

static void *write_letters(void *userdata) {
        for (unsigned i = 0; i < LETTERS; i++)
                post(userdata, i);
        return NULL;
}

static void test_mail(void **state) {
        unsigned expected = 0;
        pthread_t thread;
        Mailbox box;

        (void)state;
        assert_ok(mailbox_init(&box));
        assert_false(is_readable(&box));
        assert_null(mailbox_take(&box));
        assert_ok(pthread_create(&thread, NULL, write_letters, &box));
        while (expected < LETTERS) {
                struct pollfd p = { .fd = box.fd, .events = POLLIN };
                Mail *mail;

                assert_int_equal(poll(&p, 1, 10000), 1);
                mail = mailbox_take(&box);
                while (mail) {
                        Mail *next = mail->next;

                        assert_int_equal(container_of(mail, Letter, mail)->number, expected++);
                        letter_free(mail);
                        mail = next;
                }
        }
        assert_ok(pthread_join(thread, NULL));

        /* What nobody took is freed. */
        n_freed = 0;
        post(&box, 1);
        post(&box, 2);
        assert_true(is_readable(&box));
        mailbox_done(&box, letter_free);
        assert_int_equal(n_freed, 2);
}

/* ---- domains ---- */

static Followed *followed_new(Agent *agent, uint8_t number) {
        Followed *f = new0(Followed, 1);

        assert_non_null(f);
        f->uuid.bytes[0] = number;
        HASH_ADD(hh, agent->domains, uuid, sizeof(f->uuid), f);
        return f;
}

/* A domain that libvirt has no more waits for the answer of aviommud, and for an aviommud that keeps a context for it. */
static void test_gone(void **state) {
        Agent agent = {};
        Followed *asking = followed_new(&agent, 1), *prepared = followed_new(&agent, 2);

        (void)state;
        (void)followed_new(&agent, 3);
        follow_begin(&asking->follow, FOLLOW_PREPARE);
        prepared->follow.prepared = true;
        agent_forget(&agent, asking);
        agent_forget(&agent, prepared);
        agent_forget_gone(&agent);
        assert_int_equal(HASH_COUNT(agent.domains), 3);

        assert_false(follow_prepared(&asking->follow, FOLLOW_PREPARED_REFUSED));
        agent_forget_gone(&agent);
        assert_int_equal(HASH_COUNT(agent.domains), 2);
        assert_ptr_equal(agent_find(&agent, prepared->uuid), prepared);
        agent_forget_all(&agent);
}

int main(void) {
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(test_charge_plan),
                cmocka_unit_test(test_charge_plan_oom),
                cmocka_unit_test_setup_teardown(test_starts, folder_setup, folder_teardown),
                cmocka_unit_test_setup_teardown(test_starts_none, folder_setup, folder_teardown),
                cmocka_unit_test_setup_teardown(test_starts_unwritable, folder_setup,
                                                folder_teardown),
                cmocka_unit_test_setup_teardown(test_starts_hostile, folder_setup, folder_teardown),
                cmocka_unit_test_setup_teardown(test_starts_oom, folder_setup, folder_teardown),
                cmocka_unit_test(test_mail),
                cmocka_unit_test(test_gone),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
