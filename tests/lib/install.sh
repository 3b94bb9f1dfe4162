# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What `cmake --install` puts where, and whether systemd takes it.

destination=build/check-destdir

install_steps() {
        step install check_install || return
        step installed-files check_installed_files
        step unit check_unit
        step sysusers check_sysusers
}

check_install() {
        ! has_failed build-release || { say "not built"; return 1; }
        rm -rf "$destination"
        DESTDIR=$top/$destination cmake --install build/release
}

# No more and no less than the list.
check_installed_files() {
        diff <(grep -v '^#' tests/lib/installed-files | sort) \
                <(cd "$destination" && find . -type f -printf '/%P\n' | sort)
}

check_unit() {
        local unit=$destination/usr/lib/systemd/system/aviommud.service said
        # The program is not where the unit looks for it yet.
        sed "s#^ExecStart=#&$top/$destination#" "$unit" >"$temp/aviommud.service"
        said=$(systemd-analyze verify --man=no "$temp/aviommud.service" 2>&1 | grep -F aviommud.service)
        # The one thing in it that is newer than Debian 12's systemd.
        if (($(systemctl --version | sed -nE '1s/^systemd ([0-9]+).*/\1/p') < 254)); then
                said=$(sed "/: Unknown key 'FileDescriptorStorePreserve' in section \[Service\], ignoring\.\$/d" <<<"$said")
        fi
        [[ ! $said ]] || { say "$said"; return 1; }
        systemd-analyze security --offline=yes --threshold=13 --no-pager "$temp/aviommud.service"
}

# The users that udev's rule and the unit name are made.
check_sysusers() {
        local root=$top/$destination user
        systemd-sysusers --root="$root" || return 1
        for user in $(sed -nE 's/^(User|Group)=//p' "$root/usr/lib/systemd/system/aviommud.service") \
                    $(grep -ohE '(OWNER|GROUP)="[^"]+"' "$root"/usr/lib/udev/rules.d/60-aviommu.rules | cut -d'"' -f2); do
                grep -qE "^$user:" "$root/etc/passwd" "$root/etc/group" || { say "no user or group $user"; return 1; }
        done
        rm -rf "${root:?}"/etc/{passwd,group,shadow,gshadow}*
}
