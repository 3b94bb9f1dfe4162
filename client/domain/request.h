/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The request in a domain's <metadata>: policy/libvirt/domain-request.rng says the same of its form. */

#include "domain/domain.h"
#include "domain/xml.h"

/* The <viommu> element of @domain, the root of the document. NULL: there is none; the first one, if there are several. */
const XmlNode *domain_request_find(const XmlNode *domain);

/* Reads the request, if there is one, into @domain, whose functions are known already; of one that is @started it may name others.
 * Returns 0; -EINVAL with a sentence in *reterr; -ENOMEM. */
int domain_request_read(const XmlNode *root, bool started, Domain *domain, char **reterr);
