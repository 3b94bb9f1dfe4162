/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Writing for people: sizes, and text that came from elsewhere. Independent of the locale's numbers. */

#include "base/macro.h"

#define FORMAT_SIZE 32

/* "4G", "1.5M", "512": binary units, one digit after the point where it is not whole. UINT64_MAX is "unlimited".
 * Returns @buf. */
char *format_bytes(uint64_t bytes, char buf[static FORMAT_SIZE]);
#define FORMAT_BYTES(bytes) format_bytes((bytes), (char[FORMAT_SIZE]){})

/* A plain number; UINT64_MAX is "unlimited". Returns @buf. */
char *format_count(uint64_t count, char buf[static FORMAT_SIZE]);
#define FORMAT_COUNT(count) format_count((count), (char[FORMAT_SIZE]){})

/* Microseconds as "4.2 s", "3 min 20 s", "23 h 59 min". Returns @buf. */
char *format_duration(uint64_t usec, char buf[static FORMAT_SIZE]);
#define FORMAT_DURATION(usec) format_duration((usec), (char[FORMAT_SIZE]){})

/* Writes @s with everything that could steer a terminal made visible: control characters (C0, C1, DEL), line and
 * paragraph separators and characters that change the direction of writing as \uXXXX, bytes that are no UTF-8 as \xXX;
 * and with a character set other than UTF-8 in the locale everything beyond ASCII. A text that does not fit is cut and
 * ends in "...". Returns @buf; @size is at least 16. */
char *text_escape(const char *s, char *buf, size_t size);

/* The same into a new string; NULL: not enough memory. */
char *text_escape_new(const char *s);

/* How many bytes at the beginning of @s are printable ASCII: harmless, and a column each. Most texts are nothing else. */
size_t text_plain_length(const char *s);

/* Reads one UTF-8 character of @s. Returns its length in bytes, 0 when there is none that is well-formed. */
size_t text_read_char(const char *s, uint32_t *ret);

/* Whether a character neither steers a terminal nor deceives about the order of others. */
bool text_char_is_harmless(uint32_t c);

/* Whether text may be written to the terminal as UTF-8; setlocale() has to come first. */
bool text_is_utf8(void);
