/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/ini-file.h"

#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>

struct IniFile {
        IniSectionFound section_found;
        IniKeyFound key_found;
        void *userdata;
        FILE *file;
        char section[INI_SECTION_NAME_SIZE];
        int line;   /* the one that was read last */
        int result; /* of the first thing that was not taken; inih goes on after it */
        int refused_line;
        char *refusal;
};

int ini_refuse(IniFile *file, const char *format, ...) {
        va_list ap;

        file->refused_line = file->line;
        va_start(ap, format);
        (void)vsnprintf(file->refusal, INI_REFUSAL_SIZE, format, ap);
        va_end(ap);
        return -EINVAL;
}

int ini_get_line(const IniFile *file) {
        return file->line;
}

const char *ini_get_section(const IniFile *file) {
        return file->section;
}

/* A line that begins with "[": inih tells of a section with its first key only, and cuts long names. What has no "]" is left to
 * inih to complain about. */
static int begin_section(IniFile *file, const char *line) {
        const char *end = strchr(line, ']');
        size_t n;

        if (!end)
                return 0;
        n = (size_t)(end - line) - 1;
        if (n >= sizeof(file->section))
                return ini_refuse(file, "The name of the section is too long.");
        memcpy(file->section, line + 1, n);
        file->section[n] = '\0';
        if (!strchr("\r\n;#", end[1 + strspn(end + 1, " \t")]))
                return ini_refuse(file, "There is something behind [%s].", file->section);
        return file->section_found(file->userdata, file, file->section);
}

/* Reads a line for inih, whose buffer is small: of a comment the rest does not matter, of anything else it does. */
static char *read_line(char *buffer, int size, void *userdata) {
        static const char mark[] = "\xef\xbb\xbf"; /* byte order */
        IniFile *file = userdata;
        bool whole = true;
        const char *start;
        int n = 0, c;

        file->line++;
        while ((c = getc(file->file)) != EOF && c != '\n')
                if (n < size - 2)
                        buffer[n++] = (char)c;
                else
                        whole = false;
        if (c == EOF && n == 0)
                return NULL;

        buffer[n] = '\n';
        buffer[n + 1] = '\0';
        start = buffer;
        if (file->line == 1 && strncmp(start, mark, strlen(mark)) == 0)
                start += strlen(mark);
        start += strspn(start, " \t");
        if (!whole && *start != '#' && *start != ';' && file->result == 0)
                file->result = ini_refuse(file, "The line is too long.");
        if (*start == '[') {
                if (file->result == 0)
                        file->result = begin_section(file, start);
                /* Further in it would go on with the value above. */
                memmove(buffer, start, strlen(start) + 1);
        }
        return buffer;
}

/* Returns 0, which is inih's word for an error, or 1. */
static int handle_line(void *userdata, const char *section, const char *key, const char *value) {
        IniFile *file = userdata;

        (void)section;
        if (file->result == 0)
                file->result = file->key_found(file->userdata, file, key, strempty(value));
        return file->result == 0;
}

int ini_file_read_sections(const char *path, IniSectionFound section_found, IniKeyFound key_found,
                           void *userdata, int *ret_line,
                           char ret_refusal[static INI_REFUSAL_SIZE]) {
        IniFile file = { .section_found = section_found,
                         .key_found = key_found,
                         .userdata = userdata,
                         .refusal = ret_refusal };
        bool failed;
        int line;

        file.file = fopen(path, "re");
        if (!file.file)
                return -errno;

        line = ini_parse_stream(read_line, &file, handle_line, &file);
        failed = ferror(file.file);
        (void)fclose(file.file);
        if (failed || line == -1)
                return -EIO;
        if (line < 0 || file.result == -ENOMEM)
                return -ENOMEM;
        if (line == 0 && file.result == 0)
                return 0;

        /* Of two that are wrong the first counts: inih knows of lines that are none, we of the others. */
        if (file.refused_line > 0 && (line == 0 || file.refused_line <= line))
                line = file.refused_line;
        else
                (void)snprintf(ret_refusal, INI_REFUSAL_SIZE, "This is no \"Key=value\" line.");
        *ret_line = line;
        return -EINVAL;
}

/* ---- one section ---- */

typedef struct OneSection {
        const char *section;
        IniKeyFound found;
        void *userdata;
} OneSection;

static int on_section(void *userdata, IniFile *file, const char *section) {
        const OneSection *one = userdata;

        return streq(section, one->section)
                       ? 0
                       : ini_refuse(file, "Unknown section [%.64s]; there is only [%s].", section,
                                    one->section);
}

static int on_key(void *userdata, IniFile *file, const char *key, const char *value) {
        const OneSection *one = userdata;

        return *ini_get_section(file) ? one->found(one->userdata, file, key, value)
                                      : on_section(userdata, file, "");
}

int ini_file_read(const char *path, const char *section, IniKeyFound found, void *userdata,
                  int *ret_line, char ret_refusal[static INI_REFUSAL_SIZE]) {
        OneSection one = { .section = section, .found = found, .userdata = userdata };

        return ini_file_read_sections(path, on_section, on_key, &one, ret_line, ret_refusal);
}
