/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The <iommufd> with which QEMU takes over a context of the daemon's: how a domain gets it, and how it loses it. */

#include "domain/edit-private.h"

int edit_add_iommufd(Edit *e) {
        const XmlNode *iommufd = xml_child(e->root, NULL, "iommufd"),
                      *devices = xml_child(e->root, NULL, "devices");
        int r;

        if (!iommufd)
                r = splicer_insert_after(e->splicer, xml_child(e->root, NULL, "os"),
                                         "<iommufd enabled='yes' fdgroup='" DOMAIN_FDGROUP "'/>");
        else {
                r = splicer_attribute(e->splicer, iommufd, "enabled", "yes");
                if (r >= 0)
                        r = splicer_attribute(e->splicer, iommufd, "fdgroup", DOMAIN_FDGROUP);
        }
        if (r < 0)
                return r;
        if (!iommufd || !xml_attribute_is(iommufd, "enabled", "yes") ||
            !xml_attribute_is(iommufd, "fdgroup", DOMAIN_FDGROUP)) {
                r = edit_changed(e, "<iommufd enabled='yes' fdgroup='" DOMAIN_FDGROUP
                                    "'/>: QEMU takes over the context that "
                                    "aviommud has prepared.");
                if (r < 0)
                        return r;
        }

        for (const XmlNode *node = devices->children; node; node = node->next) {
                const XmlNode *driver = xml_child(node, NULL, "driver");

                if (!xml_is_function(node) || !xml_attribute(driver, "iommufd") ||
                    xml_attribute_is(driver, "iommufd", "yes"))
                        continue;
                r = splicer_attribute(e->splicer, driver, "iommufd", "yes");
                if (r >= 0)
                        r = edit_changed(e, "<hostdev><driver> in line %zu has iommufd='yes'.",
                                         driver->line);
                if (r < 0)
                        return r;
        }
        return 0;
}

/* Whether there is nothing in the element but what edit_add_iommufd() puts there. */
static bool is_plain_iommufd(const XmlNode *iommufd) {
        for (const XmlAttribute *a = iommufd->attributes; a; a = a->next)
                if (a->xmlns || (!streq(a->name, "enabled") && !streq(a->name, "fdgroup")))
                        return false;
        for (const XmlNode *n = iommufd->children; n; n = n->next)
                if (!xml_is_blank(n))
                        return false;
        return true;
}

int edit_remove_iommufd(Edit *e) {
        int r;

        XML_FOR_EACH(iommufd, e->root, NULL, "iommufd") {
                if (!xml_attribute_is(iommufd, "fdgroup", DOMAIN_FDGROUP))
                        continue;
                r = is_plain_iommufd(iommufd)
                            ? splicer_remove(e->splicer, iommufd)
                            : splicer_attribute(e->splicer, iommufd, "fdgroup", NULL);
                if (r >= 0)
                        r = edit_changed(e, "<iommufd fdgroup='" DOMAIN_FDGROUP
                                            "'> is gone: QEMU takes no context of aviommud's over, "
                                            "which accounts for the domain all the same.");
                if (r < 0)
                        return r;
        }
        return 0;
}
