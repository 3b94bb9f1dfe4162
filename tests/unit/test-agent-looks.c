/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * When the agent looks at domains that events have told of: at once, but after a start a moment later, and once for all that has come till
 * then. The clock is the test's, libvirt its test driver.
 */

#include "unit.h"

#include <time.h>

#include "agent/libvirt-private.h"
#include "oom.h"

#define DELAY_MSEC 300 /* after a start */

static uint64_t clock_msec;

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret) {
        assert_int_equal(clock, CLOCK_MONOTONIC);
        *ret = (struct timespec){ .tv_sec = (time_t)(clock_msec / 1000),
                                  .tv_nsec = (long)(clock_msec % 1000) * 1000000 };
        return 0;
}

/* What has been said of domains, since it was asked last. */
typedef struct Said {
        unsigned n, n_of_one, n_of_other, n_of_devices;
} Said;

/* Libvirt has no domain of either: a look at one is an answer that it is gone. */
static const sd_id128_t one = { .bytes = { 1 } }, other = { .bytes = { 2 } };

static void on_error(void *userdata, virErrorPtr error) {
        (void)userdata;
        (void)error;
}

static void news_mail_free(Mail *mail) {
        news_free(container_of(mail, News, mail));
}

static int looks_setup(void **state) {
        static LibvirtConfig config;
        static Libvirt lv;

        libvirt_config_init(&config);
        lv = (Libvirt){ .config = &config, .number = 1 };
        virSetErrorFunc(NULL, on_error);
        lv.connection = virConnectOpen("test:///default");
        clock_msec = 1000000;
        *state = &lv;
        return lv.connection ? mailbox_init(&lv.news) : -1;
}

static int looks_teardown(void **state) {
        Libvirt *lv = *state;

        mailbox_done(&lv->news, news_mail_free);
        free(lv->looks);
        return virConnectClose(lv->connection) < 0 ? -1 : 0;
}

/* @msec later. */
static Said after(Libvirt *lv, unsigned msec) {
        Said said = {};
        Mail *mail;

        clock_msec += msec;
        libvirt_look_due(lv);
        mail = mailbox_take(&lv->news);
        while (mail) {
                News *news = container_of(mail, News, mail);

                mail = mail->next;
                assert_int_equal(news->connection, lv->number);
                said.n++;
                said.n_of_one += sd_id128_equal(news->uuid, one);
                said.n_of_other += sd_id128_equal(news->uuid, other);
                said.n_of_devices += news->devices;
                news_free(news);
        }
        return said;
}

static void test_at_once(void **state) {
        Libvirt *lv = *state;

        assert_int_equal(after(lv, 0).n, 0);
        libvirt_look_soon(lv, one, false, false);
        assert_int_equal(after(lv, 0).n_of_one, 1);
        assert_int_equal(after(lv, 10 * DELAY_MSEC).n, 0);
}

static void test_after_start(void **state) {
        Libvirt *lv = *state;

        for (int i = 0; i < 2; i++) {
                libvirt_look_soon(lv, one, false, true);
                assert_int_equal(after(lv, 0).n, 0);
                assert_int_equal(after(lv, DELAY_MSEC - 1).n, 0);
                assert_int_equal(after(lv, 1).n_of_one, 1);
                assert_int_equal(after(lv, 10 * DELAY_MSEC).n, 0);
        }
}

/* However many starts there are, the first of them does not wait for the last. */
static void test_starts(void **state) {
        Libvirt *lv = *state;
        unsigned n = 0;
        Said said;

        libvirt_look_soon(lv, one, false, true);
        for (unsigned i = 0; i < DELAY_MSEC; i += DELAY_MSEC / 3) {
                n += after(lv, DELAY_MSEC / 3).n_of_one;
                libvirt_look_soon(lv, other, false, true);
        }
        assert_int_equal(n, 1);
        said = after(lv, DELAY_MSEC);
        assert_int_equal(said.n_of_one, 0);
        assert_int_equal(said.n_of_other, 1);

        libvirt_look_soon(lv, one, false, true);
        (void)after(lv, DELAY_MSEC / 2);
        libvirt_look_soon(lv, other, false, true);
        libvirt_look_soon(lv, one, false, true);
        said = after(lv, DELAY_MSEC / 2);
        assert_int_equal(said.n_of_one, 1);
        assert_int_equal(said.n_of_other, 1);
        assert_int_equal(said.n, 2);
}

/* What else happens to it has it looked at then, and not a second time for the start. */
static void test_start_and_more(void **state) {
        Libvirt *lv = *state;

        libvirt_look_soon(lv, one, false, true);
        (void)after(lv, 1);
        libvirt_look_soon(lv, one, false, false);
        assert_int_equal(after(lv, 0).n_of_one, 1);
        assert_int_equal(after(lv, DELAY_MSEC).n, 0);

        libvirt_look_soon(lv, one, false, false);
        libvirt_look_soon(lv, one, false, true);
        assert_int_equal(after(lv, 0).n_of_one, 1);
        assert_int_equal(after(lv, DELAY_MSEC).n, 0);
}

/* That devices have changed is not lost on what came before or comes after. */
static void test_devices(void **state) {
        Libvirt *lv = *state;
        virDomainPtr domain = virDomainLookupByName(lv->connection, "test");
        sd_id128_t uuid;
        Said said;

        assert_non_null(domain);
        assert_int_equal(virDomainGetUUID(domain, uuid.bytes), 0);
        (void)virDomainFree(domain);
        for (int i = 0; i < 2; i++) {
                libvirt_look_soon(lv, uuid, i == 0, true);
                libvirt_look_soon(lv, uuid, i == 1, true);
                said = after(lv, DELAY_MSEC);
                assert_int_equal(said.n, 1);
                assert_int_equal(said.n_of_devices, 1);
        }
        libvirt_look_soon(lv, uuid, false, true);
        said = after(lv, DELAY_MSEC);
        assert_int_equal(said.n, 1);
        assert_int_equal(said.n_of_devices, 0);
}

/* Over a connection that is lost nothing is looked at. */
static void test_lost(void **state) {
        Libvirt *lv = *state;

        libvirt_look_soon(lv, one, false, true);
        libvirt_lose(lv, "the test says so");
        assert_int_equal(after(lv, DELAY_MSEC).n, 0);
        free(TAKE_PTR(lv->lost_reason));
        lv->lost = false;
}

#define LOOKS_TEST(f) cmocka_unit_test_setup_teardown(f, looks_setup, looks_teardown)

/* Whoever asked for the list gets an answer, or learns that there will be none: he does not ask again before that. */
static void list_once(Libvirt *lv) {
        Order order = { .kind = ORDER_LIST, .connection = lv->number, .fd = -1 };
        Mail *mail;

        libvirt_carry_out(lv, &order);
        mail = mailbox_take(&lv->news);
        assert_true(mail || lv->lost);
        if (mail) {
                assert_int_equal(container_of(mail, News, mail)->kind, NEWS_RUNNING);
                news_mail_free(mail);
        }
        free(TAKE_PTR(lv->lost_reason));
        lv->lost = false;
}

static void test_list_oom(void **state) {
        Libvirt *lv = *state;

        OOM_SWEEP(nth, list_once(lv))
}

int main(void) {
        const struct CMUnitTest tests[] = {
                LOOKS_TEST(test_at_once),  LOOKS_TEST(test_after_start),    LOOKS_TEST(test_starts),
                LOOKS_TEST(test_devices),  LOOKS_TEST(test_start_and_more), LOOKS_TEST(test_lost),
                LOOKS_TEST(test_list_oom),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
