/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/screen.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "base/fd-util.h"

/* The other screen, no cursor, lines are cut; and back. */
#define TEXT_ENTER "\033[?1049h\033[?25l\033[?7l"
#define TEXT_LEAVE "\033[?7h\033[?25h\033[?1049l"

static const int orderly[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP, SIGWINCH };
static const int fatal[] = { SIGABRT, SIGSEGV, SIGBUS, SIGFPE, SIGILL };

/* There is one terminal, and a handler of a fatal signal has no other way to know of it. */
static struct {
        struct termios before;
        bool has_keys; /* stdin is the terminal too */
        volatile sig_atomic_t is_on;
        bool has_handlers;
        int signal_fd;
} screen = { .signal_fd = -1 };

bool screen_is_possible(void) {
        const char *term = getenv("TERM");

        return isatty(STDOUT_FILENO) && term && *term && !streq(term, "dumb");
}

static void write_text(const char *text) {
        (void)!write(STDOUT_FILENO, text, strlen(text));
}

static void screen_enter(void) {
        struct termios raw;

        screen.has_keys = isatty(STDIN_FILENO) && tcgetattr(STDIN_FILENO, &screen.before) >= 0;
        screen.is_on = 1;
        write_text(TEXT_ENTER);
        if (!screen.has_keys)
                return;
        raw = screen.before;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        raw.c_cc[VMIN] = 1;
        raw.c_cc[VTIME] = 0;
        (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &raw);
}

/* Safe in a signal handler. */
static void screen_leave(void) {
        if (!screen.is_on)
                return;
        screen.is_on = 0;
        write_text(TEXT_LEAVE);
        if (screen.has_keys)
                (void)tcsetattr(STDIN_FILENO, TCSADRAIN, &screen.before);
}

static void on_fatal_signal(int signo) {
        screen_leave();
        (void)raise(signo); /* SA_RESETHAND: it does now what it would have done */
}

static void set_handlers(void) {
        struct sigaction sa = { .sa_handler = on_fatal_signal,
                                .sa_flags = (int)SA_RESETHAND | SA_NODEFER };

        if (screen.has_handlers)
                return;
        screen.has_handlers = true;
        for (size_t i = 0; i < ELEMENTSOF(fatal); i++)
                (void)sigaction(fatal[i], &sa, NULL);
        (void)atexit(screen_leave);
}

static void orderly_signals(sigset_t *set) {
        (void)sigemptyset(set);
        for (size_t i = 0; i < ELEMENTSOF(orderly); i++)
                (void)sigaddset(set, orderly[i]);
}

int screen_open(void) {
        sigset_t set;

        orderly_signals(&set);
        screen.signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
        if (screen.signal_fd < 0)
                return -errno;
        (void)sigprocmask(SIG_BLOCK, &set, NULL);
        set_handlers();
        screen_enter();
        return 0;
}

void screen_close(void) {
        sigset_t set;

        if (screen.signal_fd < 0)
                return;
        screen_leave();
        orderly_signals(&set);
        (void)sigprocmask(SIG_UNBLOCK, &set, NULL);
        screen.signal_fd = fd_close(screen.signal_fd);
}

int screen_get_signal_fd(void) {
        return screen.signal_fd;
}

int screen_get_key_fd(void) {
        return screen.has_keys ? STDIN_FILENO : -1;
}

static ScreenEvent on_signal(int signo) {
        switch (signo) {
        case SIGWINCH:
                return SCREEN_REDRAW;
        case SIGTSTP:
                screen_leave();
                (void)raise(SIGSTOP);
                screen_enter();
                return SCREEN_REDRAW;
        default:
                return SCREEN_END;
        }
}

/* Whether a key waits; a terminal that is gone counts as one, and reading it then fails. */
static bool key_waits(void) {
        struct pollfd fd = { .fd = screen_get_key_fd(), .events = POLLIN };

        return poll(&fd, 1, 0) > 0;
}

ScreenEvent screen_read(char *ret_key) {
        struct signalfd_siginfo si;

        if (read(screen.signal_fd, &si, sizeof(si)) == (ssize_t)sizeof(si))
                return on_signal((int)si.ssi_signo);
        if (!key_waits())
                return SCREEN_NOTHING;
        return read(STDIN_FILENO, ret_key, 1) == 1 ? SCREEN_KEY : SCREEN_END;
}

int screen_show(const char *text, size_t size, unsigned n_rows) {
        char *page = NULL;
        size_t page_size;
        FILE *f = open_memstream(&page, &page_size);
        int r = 0;

        if (!f)
                return -ENOMEM;
        /* Line over line, and no line's end after the last: it would push the first out. */
        (void)fputs("\033[H", f);
        for (const char *line = text, *end; line < text + size && n_rows > 0;
             line = end + 1, n_rows--) {
                end = memchr(line, '\n', (size_t)(text + size - line)) ?: text + size;
                (void)fprintf(f, "%s%.*s\033[K", line > text ? "\r\n" : "", (int)(end - line),
                              line);
        }
        (void)fputs("\033[J", f);
        if (fclose(f) != 0)
                r = -ENOMEM;
        for (const char *p = page; r >= 0 && page_size > 0;) {
                ssize_t n = write(STDOUT_FILENO, p, page_size);

                if (n < 0 && errno != EINTR)
                        r = -errno;
                if (n > 0) {
                        p += n;
                        page_size -= (size_t)n;
                }
        }
        free(page);
        return r;
}
