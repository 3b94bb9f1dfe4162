/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The terminal as a screen of our own: page over page, keys as they are pressed, and as it was before in the end, whatever ends
 * us, but SIGKILL.
 */

#include "base/macro.h"

typedef enum ScreenEvent {
        SCREEN_NOTHING,
        SCREEN_KEY,    /* *ret_key */
        SCREEN_REDRAW, /* it has another size, or was away */
        SCREEN_END,    /* a signal that asks to */
} ScreenEvent;

/* Whether stdout is a terminal that can be a screen. */
bool screen_is_possible(void);

/* Takes the terminal; the signals that end, stop or resize come through screen_read() from now on. There is one screen.
 * Returns 0 or a negative errno. */
int screen_open(void);
void screen_close(void);

/* To be polled for POLLIN: what screen_read() reads. The second is -1 without a keyboard. */
int screen_get_signal_fd(void);
int screen_get_key_fd(void);

/* Takes one of what has come. When the user stops us (Ctrl-Z), returns after we have been continued. */
ScreenEvent screen_read(char *ret_key);

/* Shows @text, lines that end with a newline, in place of what is there: the first @n_rows, since more would push those out. Returns 0
 * or a negative errno. */
int screen_show(const char *text, size_t size, unsigned n_rows);
