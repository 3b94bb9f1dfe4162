/* SPDX-License-Identifier: LGPL-2.1-or-later */
#ifndef NESTED_H
#define NESTED_H

/* Says what did not work, and errno. Returns it, negative. */
int failed(const char *what);

/* See nested-dma.c. Returns 0, or a negative errno after failed(). */
int dma_try(void);

#endif
