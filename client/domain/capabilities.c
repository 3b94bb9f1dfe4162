/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "domain/capabilities.h"

#include <errno.h>

#include "domain/xml.h"

/* Whether one of the <value> of @parent is @value. Returns 0 or -ENOMEM. */
static int has_value(const XmlNode *parent, const char *value, bool *ret) {
        *ret = false;
        XML_FOR_EACH(node, parent, NULL, "value") {
                _cleanup_free_ char *text = NULL;
                int r = xml_text_copy(node, &text);

                if (r < 0)
                        return r;
                if (text && streq(text, value)) {
                        *ret = true;
                        return 0;
                }
        }
        return 0;
}

int capabilities_enumerate(const char *xml, const char *device, const char *name, const char *value,
                           bool *ret) {
        _cleanup_(xml_freep) XmlNode *root = NULL;
        _cleanup_free_ char *error = NULL;
        const XmlNode *node;
        int r;

        r = xml_read(xml, strlen(xml), &root, &error);
        if (r < 0)
                return r;
        node = xml_child(xml_child(root, NULL, "devices"), NULL, device);
        XML_FOR_EACH(e, node, NULL, "enum")
        if (xml_attribute_is(e, "name", name))
                return has_value(e, value, ret);
        return -ENODATA;
}
