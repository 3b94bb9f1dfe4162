/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Names for a sentence: the first few in full, of the rest how many. A large host has hundreds of everything. */

#include "base/macro.h"

#define LISTING_MAX 8U

typedef struct Listing {
        char *text; /* NULL: none yet */
        size_t n;   /* that were added, shown or not */
} Listing;

void listing_add(Listing *l, const char *name);

/* "ivhd0, ivhd1", "a, b, c, d, e, f, g, h and 12 more", "" for none. The caller frees it. */
char *listing_text(const Listing *l);

void listing_done(Listing *l);
