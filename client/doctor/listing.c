/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/listing.h"

#include "lib/alloc.h"

void listing_add(Listing *l, const char *name) {
        if (l->n++ < LISTING_MAX) {
                char *longer = alloc_printf("%s%s%s", strempty(l->text), l->text ? ", " : "", name);

                free(l->text);
                l->text = longer;
        }
}

char *listing_text(const Listing *l) {
        if (l->n <= LISTING_MAX)
                return alloc_printf("%s", strempty(l->text));
        return alloc_printf("%s and %zu more", l->text, l->n - LISTING_MAX);
}

void listing_done(Listing *l) {
        free(l->text);
        *l = (Listing){};
}
