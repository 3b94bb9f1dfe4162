# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# What `cmake --install` puts where, and whether systemd takes it.

destination=build/check-destdir

install_steps() {
        step install check_install || return
        step install-umask check_install_umask
        step installed-files check_installed_files
        step install-again check_install_again
        step unit check_unit
        step sysusers check_sysusers
}

check_install() {
        ! has_failed build-release || { say "not built"; return 1; }
        rm -rf "$destination"
        install_into "$destination" 0022
}

# install_into FOLDER UMASK
install_into() {
        (umask "$2" && DESTDIR=$top/$1 cmake --install build/release)
}

# Root's on some hosts: the daemon could not read what is installed with it.
check_install_umask() {
        local umask said folder=$destination-umask
        rm -rf "$folder"
        for umask in 0027 0077; do
                ! said=$(install_into "$folder" "$umask" 2>&1) || { say "installed with umask $umask"; return 1; }
                [[ $said == *"umask is $umask"* && ! -e $folder ]] || { say "with umask $umask: $said"; return 1; }
        done
}

# No more and no less than the list.
check_installed_files() {
        diff <(grep -v '^#' tests/lib/installed-files | sort) \
                <(cd "$destination" && find . ! -type d -printf '/%P\n' | sort)
}

# What the administrator has changed stays.
check_install_again() {
        local name kept=(etc/aviommu/aviommud.conf etc/aviommu/libvirt.conf etc/libvirt/hooks/qemu.d/50-aviommu) code=0
        for name in "${kept[@]}"; do
                rm "$destination/$name" && echo '# mine' >"$destination/$name" || return 1
        done
        install_into "$destination" 0022 || return 1
        for name in "${kept[@]}"; do
                [[ $(<"$destination/$name") == '# mine' ]] || { say "/$name is as if it were new"; code=1; }
                grep -qx "/$name" build/release/install_manifest.txt || { say "/$name is not in the manifest"; code=1; }
                rm "$destination/$name"
        done
        install_into "$destination" 0022 || return 1
        return $code
}

check_unit() {
        check_one_unit aviommud && check_one_unit aviommu-libvirt-agent && check_one_unit aviommu-metrics
}

check_one_unit() {
        local unit=$1.service said
        # The program is not where the unit looks for it yet.
        sed "s#^ExecStart=#&$top/$destination#" "$destination/usr/lib/systemd/system/$unit" >"$temp/$unit"
        said=$(systemd-analyze verify --man=no "$temp/$unit" 2>&1 | grep -F "$unit")
        # The one thing in it that is newer than Debian 12's systemd.
        if (($(systemctl --version | sed -nE '1s/^systemd ([0-9]+).*/\1/p') < 254)); then
                said=$(sed "/: Unknown key 'FileDescriptorStorePreserve' in section \[Service\], ignoring\.\$/d" <<<"$said")
        fi
        [[ ! $said ]] || { say "$said"; return 1; }
        systemd-analyze security --offline=yes --threshold=13 --no-pager "$temp/$unit"
}

# The users that udev's rule and the units name are made.
check_sysusers() {
        local root=$top/$destination user
        systemd-sysusers --root="$root" || return 1
        for user in $(sed -nE 's/^(User|Group)=//p' "$root"/usr/lib/systemd/system/aviommu*.service) \
                    $(grep -ohE '(OWNER|GROUP)="[^"]+"' "$root"/usr/lib/udev/rules.d/60-aviommu.rules | cut -d'"' -f2); do
                grep -qE "^$user:" "$root/etc/passwd" "$root/etc/group" || { say "no user or group $user"; return 1; }
        done
        rm -rf "${root:?}"/etc/{passwd,group,shadow,gshadow}*
}
