/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * aviommuctl top: page after page, on a screen of its own where there is a terminal.
 */
#include "ctl/top.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <time.h>
#include <unistd.h>

#include "lib/alloc.h"
#include "lib/interrupt.h"
#include "lib/screen.h"

#define DELAY_USEC    UINT64_C(2000000)
#define PATIENCE_USEC UINT64_C(5000000)
/* Each costs a call: of more, what they hold is not asked. */
#define VMS_MAX ((size_t)1000)

/* What one page is made of. */
typedef struct TopData {
        Status status;
        VmRows rows;
        ChargeList *charges;
        sd_bus_message **messages;
        TopVm *vms;
        size_t n_vms;
        Failure failure; /* of asking for the VMs */
        bool is_there;
} TopData;

static void top_data_done(TopData *d) {
        for (size_t i = 0; i < d->n_vms; i++) {
                charge_list_done(&d->charges[i]);
                (void)sd_bus_message_unref(d->messages[i]);
        }
        free(d->charges);
        free(d->messages);
        free(d->vms);
        status_done(&d->status);
        vm_rows_done(&d->rows);
}

static int read_vms(Ctl *ctl, TopData *d) {
        size_t n;
        int r;

        r = ctl_count_quarantined(ctl, &d->status.n_quarantined);
        if (r >= 0)
                r = survey_vms(ctl, &d->rows);
        if (r < 0)
                return r;
        n = MIN(d->rows.n, VMS_MAX);
        d->charges = alloc_check(new0(ChargeList, n + 1));
        d->messages = alloc_check(new0(sd_bus_message *, n + 1));
        d->vms = alloc_check(new0(TopVm, n + 1));
        for (size_t i = 0; i < n && r >= 0; i++) {
                d->vms[i] = (TopVm){ .row = &d->rows.items[i], .charges = &d->charges[i] };
                d->n_vms = i + 1;
                r = survey_charges(ctl, d->rows.items[i].path, &d->messages[i], &d->charges[i]);
        }
        return r;
}

/* Anybody may see what is in use, but not who holds it. Returns 0, then too, or a negative errno (failure set). */
static int read_data(Ctl *ctl, TopData *d) {
        int r;

        r = survey_status(ctl, &d->status);
        if (r < 0)
                return r;
        d->is_there = true;
        r = read_vms(ctl, d);
        if (r < 0 && ctl->failure.exit_code == CLIENT_EXIT_DENIED) {
                d->failure = ctl->failure;
                r = 0;
        }
        ctl->client.interactive = false; /* once, and not with every page */
        if (ctl->client.bus)
                (void)sd_bus_set_allow_interactive_authorization(ctl->client.bus, false);
        return r;
}

static void print_page(Ctl *ctl, TopData *d, unsigned rows) {
        TopPage page = {
                .vms = d->vms, .n_vms = d->n_vms, .n_vms_left = d->rows.n - d->n_vms, .rows = rows
        };
        struct timespec ts;
        char when[32] = "";
        struct tm tm;

        (void)clock_gettime(CLOCK_REALTIME, &ts);
        if (localtime_r(&ts.tv_sec, &tm))
                (void)strftime(when, sizeof(when), "%T", &tm);
        page.when = when;
        if (d->is_there)
                page.status = &d->status;
        if (d->failure.exit_code != CLIENT_EXIT_OK)
                page.failure = d->failure.text;
        if (page.status)
                top_sort(&page);
        if (ctl->out.json != JSON_OFF)
                top_json(&page, (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000,
                         &ctl->out);
        else
                top_print(&page, &ctl->out);
}

/* ---- one page after the other ---- */

/* When the page after one that begins now is due. */
static uint64_t next_page_usec(const Ctl *ctl) {
        uint64_t now = now_usec();

        return ctl->delay_usec > UINT64_MAX - now ? UINT64_MAX : now + ctl->delay_usec;
}

/* Waits until @until_usec, or for one of @fds, while the bus is served; without one, alone. Looks at @fds even when it is late. */
static void wait_for(Ctl *ctl, struct pollfd fds[static 2], uint64_t until_usec) {
        uint64_t now = now_usec(), timeout_usec = until_usec > now ? until_usec - now : 0;

        if (ctl->client.bus && client_wait(&ctl->client, fds, 2, timeout_usec) >= 0)
                return;
        client_done(&ctl->client); /* to be connected again with the next page */
        (void)poll(fds, 2, (int)MIN(timeout_usec / 1000 + 1, (uint64_t)INT_MAX));
}

/* Waits until the next page is due. Returns false to end. */
static bool wait_in_batch(Ctl *ctl, int interrupt_fd, uint64_t until_usec) {
        struct pollfd fds[] = { { .fd = interrupt_fd, .events = POLLIN }, { .fd = STDOUT_FILENO } };

        do {
                wait_for(ctl, fds, until_usec);
                if ((fds[0].revents && interrupt_read(interrupt_fd) > 0) ||
                    (fds[1].revents & (POLLERR | POLLHUP)))
                        return false;
        } while (now_usec() < until_usec);
        return true;
}

static int run_batch(Ctl *ctl, uint64_t n_pages) {
        _cleanup_(interrupt_closep) int interrupt_fd = -1;

        if (n_pages != 1) /* else a signal just ends us: there is nothing between pages */
                interrupt_fd = interrupt_open();
        if (n_pages != 1 && interrupt_fd < 0)
                return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, interrupt_fd, NULL,
                                   "Cannot wait for signals: %s", strerror(-interrupt_fd));
        ctl->client.stop_fd = MAX(interrupt_fd, 0);
        for (uint64_t i = 0;; i++) {
                _cleanup_(top_data_done) TopData d = {};
                uint64_t until_usec = next_page_usec(ctl);
                int r;

                r = read_data(ctl, &d);
                if (r == -EINTR && interrupt_read(interrupt_fd) > 0)
                        return 0;
                if (r < 0)
                        return r;
                if (i > 0 && ctl->out.json == JSON_OFF)
                        output_printf(&ctl->out, "\n");
                print_page(ctl, &d, 0);
                r = output_flush_line(&ctl->out, &ctl->failure);
                if (r < 0 || ctl->out.is_closed || i + 1 == n_pages ||
                    !wait_in_batch(ctl, interrupt_fd, until_usec))
                        return r;
        }
}

/* What is in ctl->out goes to the screen. Returns 0 or a negative errno. */
static int show(Ctl *ctl) {
        _cleanup_free_ char *text = NULL;
        size_t size;

        text = output_take(&ctl->out, &size);
        return screen_show(text, size, ctl->out.rows);
}

/* Waits until the next page is due, with @d, which may be NULL, on the screen. Whatever has come is looked at even when it is late.
 * Returns false to end. */
static bool wait_on_screen(Ctl *ctl, TopData *d, uint64_t until_usec) {
        for (;;) {
                struct pollfd fds[] = { { .fd = screen_get_signal_fd(), .events = POLLIN },
                                        { .fd = screen_get_key_fd(), .events = POLLIN } };
                char key = '\0';

                wait_for(ctl, fds, until_usec);
                switch (screen_read(&key)) {
                case SCREEN_END:
                        return false;
                case SCREEN_KEY:
                        if (key == 'q' || key == 'Q')
                                return false;
                        if (key == ' ')
                                return true;
                        break;
                case SCREEN_REDRAW:
                        if (!d)
                                break;
                        output_measure(&ctl->out);
                        print_page(ctl, d, ctl->out.rows);
                        if (show(ctl) < 0)
                                return false;
                        break;
                default:
                        if (now_usec() >= until_usec)
                                return true;
                        break;
                }
        }
}

/* One page after the other, until the user has had enough. Returns 0 or a negative errno. */
static int show_pages(Ctl *ctl, uint64_t n_pages) {
        _cleanup_(top_data_done) TopData shown = {};
        uint64_t n_shown = 0;

        for (;;) {
                uint64_t until_usec = next_page_usec(ctl);
                TopData d = {};
                int r;

                r = read_data(ctl, &d);
                if (r < 0) {
                        d.is_there = false;
                        d.failure = ctl->failure;
                        ctl->failure = (Failure){};
                }
                if (r == -EINTR) {
                        top_data_done(&d);
                        if (!wait_on_screen(ctl, n_shown > 0 ? &shown : NULL, 0))
                                return 0;
                        continue;
                }
                top_data_done(&shown);
                shown = d;
                n_shown++;
                output_measure(&ctl->out);
                if (n_shown == n_pages) { /* the last one stays */
                        screen_close();
                        print_page(ctl, &shown, ctl->out.rows);
                        return output_flush_line(&ctl->out, &ctl->failure);
                }
                print_page(ctl, &shown, ctl->out.rows);
                r = show(ctl);
                if (r < 0)
                        return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, r, NULL,
                                           "Cannot write to the terminal: %s", strerror(-r));
                if (!wait_on_screen(ctl, &shown, until_usec))
                        return 0;
        }
}

static int run_on_screen(Ctl *ctl, uint64_t n_pages) {
        int r = 0;

        ctl->client.quiet = true; /* no progress in between */
        if (ctl->client.timeout_usec == 0)
                ctl->client.timeout_usec = PATIENCE_USEC;
        if (n_pages != 1)
                r = screen_open();
        if (r < 0)
                return failure_set(&ctl->failure, CLIENT_EXIT_FAILED, r, NULL,
                                   "Cannot wait for signals: %s", strerror(-r));
        ctl->client.stop_fd = MAX(screen_get_signal_fd(), 0);
        r = show_pages(ctl, n_pages);
        screen_close();
        return r;
}

int verb_top(Ctl *ctl, int argc, char **argv) {
        bool on_screen = !ctl->is_batch && ctl->out.json == JSON_OFF && screen_is_possible();

        (void)argc;
        (void)argv;

        ctl->client.only_looks = true;
        if (ctl->delay_usec == 0)
                ctl->delay_usec = DELAY_USEC;
        if (on_screen)
                return run_on_screen(ctl, ctl->n_iterations);
        return run_batch(ctl, ctl->n_iterations ?: ctl->is_batch ? 0 : 1);
}
