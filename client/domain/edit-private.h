/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files of edit.h share. */

#include "domain/edit.h"
#include "domain/splice.h"
#include "domain/xml.h"

typedef struct Edit {
        Domain domain; /* as it was */
        XmlNode *root;
        Splicer *splicer;
        DomainTier tier;
        DomainChanges changes;
} Edit;

/* Adds to the list of what is different now. Returns 0 or -ENOMEM. */
int edit_changed(Edit *e, const char *format, ...) _printf_(2, 3);

/* ---- edit-iommufd.c ---- */

/* FDGROUP_ADD and FDGROUP_REMOVE. Both return 0 or -ENOMEM. */
int edit_add_iommufd(Edit *e);
int edit_remove_iommufd(Edit *e);
