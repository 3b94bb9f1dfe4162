/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/progress.h"

#include <errno.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "lib/format.h"

#define PATIENCE_USEC     1000000
#define FRAME_USEC        200000
#define QUIET_PERIOD_USEC 5000000

void progress_begin(Progress *p, const char *what) {
        const char *term = getenv("TERM");

        *p = (Progress){
                .what = what,
                .live = isatty(STDERR_FILENO) && term && !streq(term, "dumb"),
                .next_usec = UINT64_MAX,
        };
        if (what)
                p->next_usec = p->live ? PATIENCE_USEC : QUIET_PERIOD_USEC;
}

static void progress_erase(Progress *p) {
        if (p->live && p->shown)
                (void)fputs("\r\033[K", stderr);
        p->shown = false;
}

static void progress_draw(Progress *p, const char *operation, uint64_t elapsed_usec) {
        struct winsize ws = {};
        char line[192];
        int n;

        n = snprintf(line, sizeof(line), "%c %s%s%s, %s", "|/-\\"[p->frame++ % 4], p -> what,
                     *operation ? ": " : "", operation, FORMAT_DURATION(elapsed_usec));
        if (n >= (int)sizeof(line))
                n = (int)sizeof(line) - 1;

        /* The last column stays free: writing there would begin a new line, which cannot be overwritten. */
        if (ioctl(STDERR_FILENO, TIOCGWINSZ, &ws) >= 0 && ws.ws_col > 1 && n >= ws.ws_col)
                n = ws.ws_col - 1;
        (void)fprintf(stderr, "\r\033[K%.*s", n, line);
        (void)fflush(stderr);
        p->shown = true;
}

void progress_update(Progress *p, uint64_t elapsed_usec) {
        char operation[128];

        if (elapsed_usec < p->next_usec)
                return;

        text_escape(p->operation, operation, sizeof(operation));
        if (p->live) {
                progress_draw(p, operation, elapsed_usec);
                p->next_usec = elapsed_usec + FRAME_USEC;
        } else {
                (void)fprintf(stderr, "still waiting: %s%s%s, %u s\n", p->what,
                              *operation ? ": " : "", operation,
                              (unsigned)(elapsed_usec / 1000000));
                p->next_usec = (elapsed_usec / QUIET_PERIOD_USEC + 1) * QUIET_PERIOD_USEC;
        }
}

void progress_note(Progress *p, const char *notice) {
        progress_erase(p);
        (void)fprintf(stderr, "%s: %s\n", program_invocation_short_name, notice);
}

void progress_end(Progress *p) {
        progress_erase(p);
        (void)fflush(stderr);
}
