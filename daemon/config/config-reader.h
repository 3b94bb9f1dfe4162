/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of config/ share while they read. */

#include "base/ini-file.h"
#include "config/config.h"

typedef struct PolicySection PolicySection;

typedef struct SeenKey {
        char *section, *key;
} SeenKey;

typedef struct ConfigReader {
        Config config; /* as far as it has been read; the policy is there */
        ConfigReport report;
        void *userdata;
        Problem *problem; /* the first error */
        bool failed;

        const char *file; /* that is being read; the policy's */
        SeenKey *seen;    /* in this file */
        size_t n_seen;
        bool skips;                   /* the section is not known: its keys are not looked at */
        const PolicySection *section; /* NULL: [Manager], or none yet */
        char section_name[INI_SECTION_NAME_SIZE]; /* in the form in which it is told */
        size_t index;                             /* of the section in its array */
} ConfigReader;

/* Says what is wrong with the line that is being read. Returns -EINVAL, or 0 where it goes on to find more. */
int reader_refuse(ConfigReader *reader, IniFile *file, const char *format, ...) _printf_(3, 4);

/* The same of what is wrong with several lines together, after all is read, and a remark that keeps nothing from being used. */
void reader_refuse_at(ConfigReader *reader, const ConfigPlace *place, const char *format, ...)
        _printf_(3, 4);
void reader_warn_at(ConfigReader *reader, const ConfigPlace *place, const char *format, ...)
        _printf_(3, 4);

/* Writes a setting down: @list: beside those before it, and an empty @value takes them away; else in place of the one before.
 * Returns 0 or -ENOMEM. */
int reader_note(ConfigReader *reader, IniFile *file, const char *key, const char *value, bool list);

static inline ConfigPlace reader_place(const ConfigReader *reader, const IniFile *file) {
        return (ConfigPlace){ reader->file, ini_get_line(file) };
}

/* Decimal digits only: no sign, no space, no other base. Returns 0, -EINVAL, -ERANGE. */
int config_parse_number(const char *s, uint64_t *ret);

/* The same with K, M, G or T behind it (1024 and its powers), in bytes. */
int config_parse_size(const char *s, uint64_t *ret);

/* ---- the sections beside [Manager] (policy-section.c) ---- */

/* Begins a section. Returns 0, what reader_refuse() returned, -ENOMEM. reader->section stays NULL where it is none. */
int policy_section_begin(ConfigReader *reader, IniFile *file, const char *name);

/* Takes a key of the section that was begun. */
int policy_section_take(ConfigReader *reader, IniFile *file, const char *key, const char *value);

/* Whether the values of a key add up, so that it may stand there several times. */
bool policy_section_is_list(const PolicySection *section, const char *key);

/* ---- what does not go together (policy-check.c) ---- */

void policy_check(ConfigReader *reader);
