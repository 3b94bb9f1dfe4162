/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Definitions: as documents, which `define` reads and `definition -j` writes, and as the daemon lists them. */

#include "ctl/ctl.h"
#include "lib/pages.h"
#include "lib/reply.h"

/* A document, read. */
typedef struct DefinitionFile {
        Doc *doc;                    /* the request's strings are in it */
        char uuid[UUID_STRING_SIZE]; /* "": it does not say */
        Request request;
} DefinitionFile;

void definition_file_done(DefinitionFile *f);

/* Reads @size bytes with a 0 behind them, called @name in refusals. Strict: an unknown key, a wrong type and a malformed value are refused;
 * whether the values go together is the daemon's to say. Returns 0 or -EINVAL (reterr set); *ret is to be done in any case. */
int definition_file_parse(const char *name, const char *text, size_t size, DefinitionFile *ret,
                          Failure *reterr);

/* The same of a file, "-": of stdin. Returns 0 or a negative errno (reterr set). */
int definition_file_read(const char *path, DefinitionFile *ret, Failure *reterr);

/* What GetDefinition answers; the strings are in the message. */
typedef struct Definition {
        const char *name, *tier, *handover, *tenant; /* NULL: not said */
        uint64_t memory;
        uint32_t guest_domains; /* 0: not said */
        bool autostart;
        RequestFunction *functions;
        size_t n_functions;
} Definition;

void definition_done(Definition *d);
int definition_read(sd_bus_message *m, Definition *ret);

/* The document that define takes. */
Doc *definition_to_doc(const char *uuid, const Definition *d);

/* One of ListDefinitions; the strings are in the messages of its pages. */
typedef struct DefinitionRow {
        const char *uuid, *name, *state, *reason, *tier, *handover, *tenant;
        uint32_t owner_uid;
        bool autostart;
        uint64_t memory;
        StringList functions;
} DefinitionRow;

typedef struct DefinitionList {
        Pages pages;
        DefinitionRow *items;
        size_t n;
} DefinitionList;

void definition_list_done(DefinitionList *l);

/* Asks for all of them. Returns 0 or a negative errno (failure set). */
int definition_list_get(Ctl *ctl, DefinitionList *ret);

/* The one of that UUID or name. Returns 0 or -ENOENT (failure set). */
int definition_list_find(Ctl *ctl, const DefinitionList *l, const char *what,
                         const DefinitionRow **ret);

/* The UUID of a definition, from a UUID (not looked for) or a name. Returns 0 or a negative errno (failure set). */
int definition_resolve(Ctl *ctl, const char *what, char ret[static UUID_STRING_SIZE]);
