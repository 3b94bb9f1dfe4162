/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "base/ini-file.h"

#include <errno.h>
#include <ini.h>
#include <stdarg.h>
#include <stdio.h>

struct IniFile {
        const char *section;
        IniKeyFound found;
        void *userdata;
        FILE *file;
        int line;   /* the one that was read last */
        int result; /* of the first key that was not taken; inih goes on after it */
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

/* Reads a line for inih, whose buffer is small: of a comment the rest does not matter, of anything else it does. */
static char *read_line(char *buffer, int size, void *userdata) {
        IniFile *file = userdata;
        bool whole = true;
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
        if (!whole && !strchr("#;", buffer[strspn(buffer, " \t")]) && file->result == 0)
                file->result = ini_refuse(file, "The line is too long.");
        return buffer;
}

/* Returns 0, which is inih's word for an error, or 1. */
static int handle_line(void *userdata, const char *section, const char *key, const char *value) {
        IniFile *file = userdata;

        if (file->result < 0)
                return 0;
        if (streq(section, file->section))
                file->result = file->found(file->userdata, file, key, strempty(value));
        else
                file->result = ini_refuse(file, "Unknown section [%s]; there is only [%s].",
                                          section, file->section);
        return file->result == 0;
}

int ini_file_read(const char *path, const char *section, IniKeyFound found, void *userdata,
                  int *ret_line, char ret_refusal[static INI_REFUSAL_SIZE]) {
        IniFile file = {
                .section = section, .found = found, .userdata = userdata, .refusal = ret_refusal
        };
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
