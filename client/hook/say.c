/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "hook/hook.h"

#include <stdarg.h>
#include <stdio.h>
#include <syslog.h>

#include "lib/format.h"

/* Calls @each for every line that is not empty, made harmless. */
static void for_each_line(const char *text, void (*each)(const char *line)) {
        while (*text) {
                size_t n = strcspn(text, "\n");
                _cleanup_free_ char *line = strndup(text, n), *harmless = NULL;

                harmless = line && n > 0 ? text_escape_new(line) : NULL;
                if (harmless)
                        each(harmless);
                text += n;
                text += *text == '\n';
        }
}

static void to_stderr(const char *line) {
        (void)fprintf(stderr, "%s\n", line);
}

static void warn_log(const char *line) {
        syslog(LOG_WARNING, "%s", line);
}

static void note_log(const char *line) {
        syslog(LOG_INFO, "%s", line);
}

void hook_say(const char *text) {
        for_each_line(text, to_stderr);
        (void)fflush(stderr);
}

static void say_and_log(void (*log)(const char *line), const char *format, va_list ap)
        _printf_(2, 0);

static void say_and_log(void (*log)(const char *line), const char *format, va_list ap) {
        _cleanup_free_ char *text = NULL;

        if (vasprintf(&text, format, ap) < 0) {
                text = NULL;
                return;
        }
        hook_say(text);
        openlog("aviommu-libvirt-hook", LOG_PID | LOG_NDELAY, LOG_DAEMON);
        for_each_line(text, log);
        closelog();
}

void hook_warn(const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        say_and_log(warn_log, format, ap);
        va_end(ap);
}

void hook_note(const char *format, ...) {
        va_list ap;

        va_start(ap, format);
        say_and_log(note_log, format, ap);
        va_end(ap);
}

const char *hook_timeout(Hook *h, char buf[static HOOK_TIMEOUT_SIZE]) {
        uint64_t timeout = watch_get_timeout(&h->watch);

        (void)snprintf(buf, HOOK_TIMEOUT_SIZE, "%u s%s", (unsigned)(timeout / 1000000),
                       timeout == h->config.timeout_usec ? " (TimeoutSec=)" : "");
        return buf;
}

void lines_add(Lines *l, const char *format, ...) {
        _cleanup_free_ char *line = NULL;
        va_list ap;
        char *grown;
        int n;

        va_start(ap, format);
        n = vasprintf(&line, format, ap);
        va_end(ap);
        if (n < 0) {
                line = NULL;
                return;
        }
        grown = realloc(l->text, l->length + (size_t)n + 2);
        if (!grown)
                return;
        l->text = grown;
        memcpy(l->text + l->length, line, (size_t)n);
        l->length += (size_t)n;
        memcpy(l->text + l->length++, "\n", 2);
}

void lines_done(Lines *l) {
        free(l->text);
        *l = (Lines){};
}
