/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/output.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd-util.h"
#include "lib/alloc.h"

#define DEFAULT_COLUMNS 80
#define DEFAULT_ROWS    24

static unsigned number_from_env(const char *name, unsigned otherwise) {
        const char *s = getenv(name);
        unsigned long v;
        char *end;

        if (!s || !*s)
                return otherwise;
        errno = 0;
        v = strtoul(s, &end, 10);
        return errno || *end || v < 1 || v > 10000 ? otherwise : (unsigned)v;
}

static void output_begin(Output *o) {
        o->stream = alloc_check(open_memstream(&o->text, &o->size));
}

void output_measure(Output *o) {
        struct winsize ws = {};

        (void)ioctl(STDOUT_FILENO, TIOCGWINSZ, &ws);
        o->columns = number_from_env("COLUMNS", ws.ws_col ?: DEFAULT_COLUMNS);
        o->rows = number_from_env("LINES", ws.ws_row ?: DEFAULT_ROWS);
}

void output_open(Output *o) {
        const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");

        o->is_tty = isatty(STDOUT_FILENO);
        o->has_colour = o->is_tty && !(no_colour && *no_colour) && term && !streq(term, "dumb");
        output_measure(o);
        output_begin(o);
}

void output_done(Output *o) {
        if (o->stream)
                (void)fclose(o->stream);
        o->stream = NULL;
        free(o->text);
        o->text = NULL;
}

void output_printf(Output *o, const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        if (vfprintf(o->stream, format, ap) < 0)
                alloc_failed();
        va_end(ap);
}

void output_doc(Output *o, const Doc *d) {
        _cleanup_free_ char *text = doc_format(d, o->json == JSON_PRETTY);

        output_printf(o, "%s\n", text);
}

char *output_take(Output *o, size_t *ret_size) {
        char *text;

        if (fflush(o->stream) != 0)
                alloc_failed();
        *ret_size = o->size;
        (void)fclose(o->stream);
        text = o->text;
        output_begin(o);
        return text;
}

static int write_all(int fd, const char *p, size_t n) {
        while (n > 0) {
                ssize_t k = write(fd, p, n);

                if (k < 0 && errno == EINTR)
                        continue;
                if (k < 0)
                        return -errno;
                p += k;
                n -= (size_t)k;
        }
        return 0;
}

static bool wants_pager(const Output *o, const char *pager) {
        unsigned n_lines = 0;

        if (!o->is_tty || !o->may_page || !*pager || streq(pager, "cat"))
                return false;
        for (size_t i = 0; i < o->size; i++)
                n_lines += o->text[i] == '\n';
        return n_lines >= o->rows;
}

/* In the child: becomes the pager, which reads from @fd. */
static _Noreturn void pager_exec(const char *pager, int fd) {
        (void)signal(SIGPIPE, SIG_DFL);
        (void)dup2(fd, STDIN_FILENO);
        /* F: not for what fits, R: colours, S: do not fold tables, X: leave the screen as it is, M: say where, K: end on
         * Ctrl-C. Secure: a pager is no way to a shell for whoever may run this as root. */
        (void)setenv("LESS", "FRSXMK", true);
        (void)setenv("LESSSECURE", "1", false);
        (void)setenv("LESSCHARSET", "utf-8", false);
        (void)execl("/bin/sh", "sh", "-c", pager, (char *)NULL);
        _exit(127);
}

/* Returns 0, also when the reader leaves early, or a negative errno when there is no pager. */
static int pager_run(Output *o, const char *pager) {
        struct sigaction ignore = { .sa_handler = SIG_IGN }, before;
        int p[2], status = 0;
        pid_t pid;

        if (pipe2(p, O_CLOEXEC) < 0)
                return -errno;
        pid = fork();
        if (pid < 0) {
                int r = -errno;

                (void)fd_close(p[0]);
                (void)fd_close(p[1]);
                return r;
        }
        if (pid == 0)
                pager_exec(pager, p[0]);

        /* Ctrl-C belongs to the pager now. */
        (void)sigaction(SIGINT, &ignore, &before);
        (void)fd_close(p[0]);
        (void)write_all(p[1], o->text, o->size);
        (void)fd_close(p[1]);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
                ;
        (void)sigaction(SIGINT, &before, NULL);
        return WIFEXITED(status) && (WEXITSTATUS(status) == 126 || WEXITSTATUS(status) == 127)
                       ? -ENOENT
                       : 0;
}

static int output_write(Output *o, bool may_page, Failure *reterr) {
        const char *pager = getenv("PAGER") ?: "less";
        int r = 0;

        if (fflush(o->stream) != 0)
                alloc_failed();
        if (!o->is_closed && o->size > 0 &&
            (!may_page || !wants_pager(o, pager) || pager_run(o, pager) < 0))
                r = write_all(STDOUT_FILENO, o->text, o->size);
        output_done(o);
        output_begin(o);

        if (r == -EPIPE) {
                o->is_closed = true;
                return 0;
        }
        if (r < 0)
                return failure_set(reterr, CLIENT_EXIT_FAILED, r,
                                   "Run it again with a stdout that takes what it says.",
                                   "Cannot write to stdout: %s", strerror(-r));
        return 0;
}

int output_flush(Output *o, Failure *reterr) {
        return output_write(o, true, reterr);
}

int output_flush_line(Output *o, Failure *reterr) {
        return output_write(o, false, reterr);
}
