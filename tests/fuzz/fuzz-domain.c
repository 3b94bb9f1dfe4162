/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Fuzzes a domain's XML: it is read, or refused in words; what is read can be decided on, and has a tier after it was applied. */

#include "domain/decide.h"
#include "domain/edit.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void decide(const Domain *domain) {
        LibvirtConfig config;
        DomainDecision d;

        libvirt_config_init(&config);
        for (int unasked = 0; unasked < _UNASKED_MAX; unasked++) {
                config.unasked = (Unasked)unasked;
                domain_decide(domain, &config, &d);
                assert((d.verdict == DOMAIN_REFUSED) == (d.n_candidates == 0 && d.n_reasons > 0));
                assert(d.verdict != DOMAIN_ACCOUNTED || d.n_candidates == 1);
                for (size_t i = 0; i < d.n_reasons; i++)
                        assert(strlen(d.reasons[i].text) > 0);
        }
        libvirt_config_done(&config);
}

/* Applied, or refused in words; and what was applied once is not changed by a second time. */
static void apply(const char *xml, size_t size, DomainTier tier, FdgroupEdit fdgroup) {
        _cleanup_(domain_changes_done) DomainChanges changes = {}, none = {};
        _cleanup_free_ char *once = NULL, *twice = NULL, *error = NULL;

        if (domain_apply(xml, size, tier, fdgroup, &once, &changes, &error) < 0) {
                assert(error && !once);
                return;
        }
        assert((changes.n == 0) == (strlen(once) == size && memcmp(once, xml, size) == 0));
        assert(domain_apply(once, strlen(once), tier, fdgroup, &twice, &none, &error) == 0);
        assert(none.n == 0 && streq(once, twice));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
        _cleanup_free_ char *error = NULL;
        const char *xml = (const char *)data;
        Domain domain;

        if (domain_parse(xml, size, &domain, &error) < 0) {
                assert(error);
                return 0;
        }
        decide(&domain);
        domain_done(&domain);
        for (int tier = 0; tier < _DOMAIN_TIER_MAX; tier++)
                for (int fdgroup = 0; fdgroup < _FDGROUP_EDIT_MAX; fdgroup++)
                        apply(xml, size, (DomainTier)tier, (FdgroupEdit)fdgroup);
        return 0;
}
