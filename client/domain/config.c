/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain/config.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/ini-file.h"

#define SECTION      "Libvirt"
#define USEC_PER_SEC UINT64_C(1000000)

/* What a value may be, and what it means. */
typedef struct Word {
        const char *text;
        unsigned value;
} Word;

static const Word unasked_words[] = {
        { "account", UNASKED_ACCOUNT },
        { "ignore", UNASKED_IGNORE },
        { "refuse", UNASKED_REFUSE },
        {},
};
static const Word down_words[] = { { "refuse", true }, { "run", false }, {} };
static const Word boolean_words[] = { { "yes", true },  { "no", false }, { "true", true },
                                      { "on", true },   { "1", true },   { "false", false },
                                      { "off", false }, { "0", false },  {} };

typedef enum KeyKind { KEY_UNASKED, KEY_BOOLEAN, KEY_SECONDS, KEY_URI } KeyKind;

static const struct Key {
        const char *name;
        KeyKind kind;
        size_t offset;
        const Word *words;         /* of KEY_UNASKED and KEY_BOOLEAN */
        const char *wanted;        /* what a value is, for a sentence */
        uint64_t minimum, maximum; /* seconds */
} keys[] = {
        { "Unasked", KEY_UNASKED, offsetof(LibvirtConfig, unasked), unasked_words,
          "account, ignore or refuse" },
        { "DaemonDownAsked", KEY_BOOLEAN, offsetof(LibvirtConfig, down_refuses_asked), down_words,
          "refuse or run" },
        { "DaemonDownUnasked", KEY_BOOLEAN, offsetof(LibvirtConfig, down_refuses_unasked),
          down_words, "run or refuse" },
        { "TimeoutSec", KEY_SECONDS, offsetof(LibvirtConfig, timeout_usec), .minimum = 1,
          .maximum = 120 },
        { "StartDomains", KEY_BOOLEAN, offsetof(LibvirtConfig, start_domains), boolean_words,
          "yes or no" },
        { "Uri", KEY_URI, offsetof(LibvirtConfig, uri) },
        { "ReportSec", KEY_SECONDS, offsetof(LibvirtConfig, report_usec), .minimum = 1,
          .maximum = 3600 },
};

void libvirt_config_init(LibvirtConfig *config) {
        *config = (LibvirtConfig){
                .unasked = UNASKED_ACCOUNT,
                .down_refuses_asked = true,
                .timeout_usec = 20 * USEC_PER_SEC,
                .start_domains = true,
                .report_usec = 30 * USEC_PER_SEC,
        };
}

void libvirt_config_done(LibvirtConfig *config) {
        free(config->uri);
        *config = (LibvirtConfig){};
}

typedef struct Reader {
        LibvirtConfig config;
        bool seen[ELEMENTSOF(keys)];
} Reader;

static void reader_done(Reader *reader) {
        libvirt_config_done(&reader->config);
}

/* Decimal digits only. Returns 0 or -EINVAL. */
static int parse_seconds(const char *s, uint64_t minimum, uint64_t maximum, uint64_t *ret_usec) {
        uint64_t v = 0;

        for (const char *p = s; *p; p++) {
                if (!isdigit((unsigned char)*p))
                        return -EINVAL;
                v = v * 10 + (uint64_t)(*p - '0');
                if (v > maximum)
                        return -EINVAL;
        }
        if (!*s || v < minimum)
                return -EINVAL;
        *ret_usec = v * USEC_PER_SEC;
        return 0;
}

static const Word *word_find(const Word *words, const char *text) {
        for (; words->text; words++)
                if (streq(words->text, text))
                        return words;
        return NULL;
}

/* A scheme and a colon, and nothing that is not printed: the rest is libvirt's to judge. */
static bool uri_is_valid(const char *s) {
        size_t n = strcspn(s, ":");

        for (size_t i = 0; s[i]; i++)
                if (!isgraph((unsigned char)s[i]))
                        return false;
        return isalpha((unsigned char)*s) && s[n] && s[n + 1];
}

static int take_value(Reader *reader, IniFile *file, const struct Key *key, const char *value) {
        void *field = (char *)&reader->config + key->offset;
        const Word *word = key->words ? word_find(key->words, value) : NULL;

        if (key->kind == KEY_SECONDS) {
                if (parse_seconds(value, key->minimum, key->maximum, field) < 0)
                        return ini_refuse(file,
                                          "%s= wants a number from %" PRIu64 " to %" PRIu64
                                          ", not \"%s\".",
                                          key->name, key->minimum, key->maximum, value);
                return 0;
        }
        if (key->kind == KEY_URI) {
                char *copy;

                if (!uri_is_valid(value))
                        return ini_refuse(file,
                                          "%s= wants the URI of a libvirt connection, such as "
                                          "qemu:///system, not \"%s\".",
                                          key->name, value);
                copy = strdup(value);
                if (!copy)
                        return -ENOMEM;
                free(*(char **)field);
                *(char **)field = copy;
                return 0;
        }

        if (!word)
                return ini_refuse(file, "%s= wants %s, not \"%s\".", key->name, key->wanted, value);
        if (key->kind == KEY_UNASKED)
                *(Unasked *)field = (Unasked)word->value;
        else
                *(bool *)field = word->value;
        return 0;
}

static int take_key(void *userdata, IniFile *file, const char *key, const char *value) {
        Reader *reader = userdata;

        for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
                if (!streq(key, keys[i].name))
                        continue;
                if (reader->seen[i])
                        return ini_refuse(file, "%s= is there twice.", key);
                reader->seen[i] = true;
                return take_value(reader, file, keys + i, value);
        }
        return ini_refuse(file, "Unknown key \"%s\", see aviommu-libvirt(5).", key);
}

int libvirt_config_read(const char *path, LibvirtConfig *config, char **reterr) {
        _cleanup_(reader_done) Reader reader = { .config = *config };
        char refusal[INI_REFUSAL_SIZE];
        int line, r;

        /* Not the caller's string, which stays its own until all is read. */
        reader.config.uri = NULL;
        if (config->uri) {
                reader.config.uri = strdup(config->uri);
                if (!reader.config.uri)
                        return -ENOMEM;
        }

        r = ini_file_read(path, SECTION, take_key, &reader, &line, refusal);
        if (r == -EINVAL && asprintf(reterr, "%s:%i: %s", path, line, refusal) < 0) {
                *reterr = NULL;
                return -ENOMEM;
        }
        if (r < 0)
                return r == -ENOENT ? 0 : r;

        libvirt_config_done(config);
        *config = reader.config;
        reader.config.uri = NULL;
        return 0;
}
