/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "doctor/finding.h"

#include <stdarg.h>

#include "lib/alloc.h"

static const struct {
        const char *id;
        unsigned tiers;
} ids[_FINDING_MAX] = {
#define X(symbol, string, mask) [FINDING_##symbol] = { string, mask },
        FINDING_IDS(X)
#undef X
};

const char *finding_id_to_string(FindingId id) {
        assert(id < _FINDING_MAX);
        return ids[id].id;
}

unsigned finding_id_tiers(FindingId id) {
        assert(id < _FINDING_MAX);
        return ids[id].tiers;
}

const char *finding_level_to_string(FindingLevel level) {
        static const char *const words[_LEVEL_MAX] = { "fine", "unchecked", "warning", "fault" };

        assert(level < _LEVEL_MAX);
        return words[level];
}

const char *tier_name(unsigned tier) {
        return tier == TIER_HARDWARE ? "hardware" : tier == TIER_EMULATED ? "emulated" : "virtio";
}

unsigned tier_from_string(const char *s) {
        for (unsigned tier = TIER_HARDWARE; tier <= TIER_VIRTIO; tier <<= 1)
                if (streq(s, tier_name(tier)))
                        return tier;
        return 0;
}

static char *format_new(const char *format, va_list ap) _printf_(1, 0);

static char *format_new(const char *format, va_list ap) {
        char *s;

        if (vasprintf(&s, format, ap) < 0)
                alloc_failed();
        return s;
}

void finding_add(Findings *f, FindingId id, FindingLevel level, const char *format, ...) {
        va_list ap;

        f->items = alloc_grow(f->items, f->n, sizeof(Finding));
        f->items[f->n] = (Finding){ .id = id, .level = level };
        va_start(ap, format);
        f->items[f->n].text = format_new(format, ap);
        va_end(ap);
        f->n++;
}

void finding_mend(Findings *f, const char *format, ...) {
        Finding *last = &f->items[f->n - 1];
        va_list ap;

        free(last->command);
        va_start(ap, format);
        last->command = format_new(format, ap);
        va_end(ap);
}

void finding_keeps_from(Findings *f, unsigned tiers) {
        Finding *last = &f->items[f->n - 1];

        assert((tiers & ~finding_id_tiers(last->id)) == 0);
        last->keeps_from = tiers;
}

static void finding_done(Finding *x) {
        free(x->text);
        free(x->command);
}

void findings_select_tier(Findings *f, unsigned tier) {
        size_t n = 0;

        for (size_t i = 0; i < f->n; i++) {
                Finding x = f->items[i];

                if (!(finding_id_tiers(x.id) & tier)) {
                        finding_done(&x);
                        continue;
                }
                if (x.keeps_from & tier)
                        x.level = LEVEL_FAULT;
                else if (x.level == LEVEL_FAULT)
                        x.level = LEVEL_WARNING;
                f->items[n++] = x;
        }
        f->n = n;
}

size_t findings_count(const Findings *f, FindingLevel level) {
        size_t n = 0;

        for (size_t i = 0; i < f->n; i++)
                n += f->items[i].level == level;
        return n;
}

void findings_done(Findings *f) {
        for (size_t i = 0; i < f->n; i++)
                finding_done(&f->items[i]);
        free(f->items);
        *f = (Findings){};
}
