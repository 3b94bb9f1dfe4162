# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Shared by `prepare` and `boot`: where the artefacts are, how they are named and made.
#
# An artefact is a directory CACHE/NAME-KEY. KEY is a hash of all it is made of, and what needs another
# artefact has that one's key in its own, so that a change anywhere makes new ones and spoils none. It is
# made under a temporary name and renamed when complete: what is there is whole.

rig_dir=$(dirname "$(realpath "${BASH_SOURCE[0]}")")
rig_cache=${AVIOMMU_CACHE:-${XDG_CACHE_HOME:-/var/cache}/aviommu-tests}
# What to build the kernel from. Named as Debian names it; if it is gone, the oldest that is newer.
rig_kernel_source=${AVIOMMU_KERNEL_SOURCE:-linux-source-7.2}
# The configuration, in parts; a later part wins.
rig_kernel_config=("$rig_dir/kernel.config" ${AVIOMMU_KERNEL_LOCKDEP:+"$rig_dir/kernel-lockdep.config"})
rig_kernel_suites=(trixie-backports forky sid experimental)
# The root that the host has, and whose QEMU runs it: the newest systemd that Debian has.
rig_root_suite=${AVIOMMU_ROOT_SUITE:-forky}
# Roots besides, for `boot --root`, with base.list alone: the Debian that this machine is, where what is built on it
# runs as it does here. Debian 12 has the oldest systemd that counts, 252.
rig_own_suite=${AVIOMMU_OWN_SUITE:-$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")}
rig_own_suite=${rig_own_suite:-$rig_root_suite}
# And `libvirt`: the first suite again, with libvirt and a guest to run in it.
rig_more_roots=(libvirt)
[[ $rig_own_suite == "$rig_root_suite" ]] || rig_more_roots+=("$rig_own_suite")
rig_unused_days=14

rig_say() {
        printf 'vm: %s\n' "$*"
}

rig_die() {
        printf 'vm: %s\n' "$*" >&2
        exit 98
}

# Hashes the named files, folders and, for what is neither, the words themselves; stays the same
# wherever the checkout is.
rig_hash() {
        local item
        for item; do
                if [[ -d $item ]]; then
                        (cd "$item" && find . -type f -printf '%P %m\n' | sort &&
                                find . -type f -print0 | sort -z | xargs -0 cat)
                elif [[ -f $item ]]; then
                        cat "$item"
                else
                        printf '%s\n' "$item"
                fi
        done | sha256sum | cut -c1-16
}

# Sets what a root is made of: `suite` and `lists`, of Debian's packages.
rig_recipe() {
        local folder=$rig_dir/guest-packages
        suite=$1 lists=("$folder/base.list")
        case $1 in
        libvirt) suite=$rig_root_suite lists+=("$folder"/{qemu,libvirt}.list) ;;
        "$rig_root_suite") lists+=("$folder/qemu.list") ;;
        esac
}

# The keys. A builder's own text is part of its key (`declare -f`).
declare -A rig_root_keys rig_image_keys # by root
rig_keys() {
        local root suite lists nested
        rig_kernel_key=$(rig_hash "${rig_kernel_config[@]}" "$rig_kernel_source" "$(declare -f rig_build_kernel)")
        rig_module_key=$(rig_hash "$rig_dir/module" "$rig_kernel_key" "$(declare -f rig_build_module)")
        rig_nested_key=$(rig_hash "$rig_dir"/tools/nested* "$rig_kernel_key" "$(declare -f rig_build_nested)")
        for root in "$rig_root_suite" "${rig_more_roots[@]}"; do
                rig_recipe "$root"
                rig_root_keys[$root]=$(rig_hash "${lists[@]}" "$suite" "$(declare -f rig_build_root)")
                nested=''
                [[ $root != libvirt ]] || nested=$rig_nested_key
                rig_image_keys[$root]=$(rig_hash "$rig_dir/guest" "${rig_root_keys[$root]}" "$rig_module_key" $nested \
                        "$(declare -f rig_build_image)")
        done
        rig_root_key=${rig_root_keys[$rig_root_suite]}
        rig_ivrs_init_key=$(rig_hash "$rig_dir/tools/ivrs-nest.c" "$(declare -f rig_build_ivrs_init)")

        rig_kernel=$rig_cache/kernel-$rig_kernel_key
        rig_module=$rig_cache/module-$rig_module_key
        rig_nested=$rig_cache/nested-$rig_nested_key
        rig_root=$rig_cache/root-$rig_root_key/tree
        rig_ivrs_init=$rig_cache/ivrs-init-$rig_ivrs_init_key
        rig_accel_verdict=$rig_cache/accel-$(rig_hash "$(uname -r)" "$(grep -m1 'model name' /proc/cpuinfo)" \
                "$rig_kernel_key" "$rig_root_key" "$(declare -f rig_try_kvm)")
}

# Runs tar with ARG... on what is in FOLDER: owned by root, and without an entry for the folder itself, whose
# mode would become that of the host's /.
rig_tar() {
        local folder=$1
        shift
        (cd "$folder" && find . -mindepth 1 -print0) |
                tar "$@" --owner=0 --group=0 --numeric-owner -C "$folder" --null --no-recursion -T -
}

# Makes NAME-KEY with `rig_build_NAME FOLDER [ROOT]` if it is not there. The caller holds the lock.
rig_artefact() {
        local name=$1 key=$2 root=${3:-} new start=$SECONDS
        local final=$rig_cache/$name-$key what=$name${root:+ $root} log=$rig_cache/$name${root:+-$root}.log

        if [[ -d $final ]]; then
                touch -c "$final"
                return 0
        fi
        rig_say "$what: building"
        new=$(mktemp -d "$rig_cache/.new-XXXXXX")
        # Not an `if`: the builders rely on -e, which a condition would switch off.
        (set -e; "rig_build_${name//-/_}" "$new" $root) >"$log" 2>&1 &
        if ! wait $!; then
                tail -n 30 "$log" >&2
                rm -rf "$new"
                rig_die "$what: failed, see $log"
        fi
        chmod 755 "$new"
        mv -T "$new" "$final"
        rig_say "$what: ready after $((SECONDS - start)) s"
}

rig_lock() {
        mkdir -p "$rig_cache"
        exec {rig_lock_fd}>"$rig_cache/lock"
        if ! flock -n "$rig_lock_fd"; then
                rig_say "waiting for another run to finish building"
                flock "$rig_lock_fd"
        fi
        # Left by a run that was killed: nobody else can be building now.
        rm -rf "$rig_cache"/.new-*
}

rig_unlock() {
        exec {rig_lock_fd}>&-
}

# Deletes what no run has used for a while; using an artefact touches it.
rig_prune() {
        find "$rig_cache" -mindepth 1 -maxdepth 1 -type d -name '*-????????????????' \
                -mtime +"$rig_unused_days" -exec rm -rf {} +
}

# --- Debian's archive -------------------------------------------------------------------------------

# Prints the address that this machine gets Debian from, so that nothing needs to be known here.
rig_mirror() {
        local mirror
        mirror=${AVIOMMU_MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' \
                'Label: Debian' | awk 'NR == 1')}
        # Before its first update apt knows no labels, only where it would look.
        [[ $mirror ]] || mirror=$(apt-get --print-uris update |
                sed -n "s|^'\([^']*/debian\)/*dists/.*|\1/|p" | awk 'NR == 1')
        [[ $mirror ]] || rig_die "apt on this machine has no Debian archive configured (AVIOMMU_MIRROR names one)"
        printf '%s\n' "$mirror"
}

# Prints a keyring for Debian's archive, made in FOLDER. A release newer than the machine may be signed by
# keys that only a newer keyring package has: then that package, verified by the machine's own apt, helps.
rig_keyring() {
        local folder=$1 fetch=${2:-} file
        if [[ $fetch ]]; then
                (cd "$folder" && apt-get update && apt-get download debian-archive-keyring &&
                        dpkg-deb -x debian-archive-keyring_*.deb keyring) >&2
        fi
        for file in "$folder"/keyring/usr/share/keyrings/debian-archive-keyring.{pgp,gpg} \
                    /usr/share/keyrings/debian-archive-keyring.{pgp,gpg}; do
                if [[ -e $file ]]; then
                        printf '%s\n' "$file"
                        return 0
                fi
        done
        rig_die "no keyring of Debian's archive: install debian-archive-keyring"
}

# Makes in FOLDER an apt configuration of its own for SUITE..., and loads its lists. The machine's sources
# and package state are never touched; its proxy settings still apply, as apt reads them besides.
# A mirror may hold expired lists of testing suites; signatures are always verified.
rig_apt_setup() {
        local folder=$1 suite mirror keyring try
        shift
        mirror=$(rig_mirror)
        mkdir -p "$folder"/lists/partial "$folder"/cache/archives/partial
        printf '%s\n' "Dir::State \"$folder\";" \
                'Dir::State::status "/dev/null";' \
                "Dir::Cache \"$folder/cache\";" \
                "Dir::Etc::SourceList \"$folder/sources.list\";" \
                'Dir::Etc::SourceParts "/dev/null";' \
                'Dir::Etc::Preferences "/dev/null";' \
                'Dir::Etc::PreferencesParts "/dev/null";' \
                'Acquire::Check-Valid-Until "false";' \
                'Acquire::Languages "none";' \
                'APT::Sandbox::User "root";' >"$folder/apt.conf"
        for try in '' fetch; do
                keyring=$(rig_keyring "$folder" $try)
                for suite; do
                        printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$suite"
                done >"$folder/sources.list"
                if APT_CONFIG=$folder/apt.conf apt-get -o APT::Update::Error-Mode=any update; then
                        return 0
                fi
        done
        return 1
}

# --- The artefacts ----------------------------------------------------------------------------------

# kernel/: bzImage, config, modules/ (as under /), build/ (to build modules against), version
rig_build_kernel() {
        local out=$1 tmp package line symbol jobs
        tmp=$out/tmp
        rig_apt_setup "$tmp/apt" "${rig_kernel_suites[@]}"
        export APT_CONFIG=$tmp/apt/apt.conf
        package=$(apt-cache search --names-only '^linux-source-[0-9.]+$' | cut -d' ' -f1 | sort -V |
                awk -v want="$rig_kernel_source" '$0 == want { print; exit }')
        [[ $package ]] || package=$( (apt-cache search --names-only '^linux-source-[0-9.]+$' | cut -d' ' -f1
                echo "$rig_kernel_source") | sort -V | grep -A1 -xF "$rig_kernel_source" | tail -n1)
        (cd "$tmp" && apt-get download "$package")
        unset APT_CONFIG
        dpkg-deb --fsys-tarfile "$tmp/$package"_*.deb | tar -xO "./usr/src/$package.tar.xz" | tar -xJ -C "$tmp"

        cd "$tmp/$package"
        make tinyconfig
        cat "${rig_kernel_config[@]}" | grep -E '^CONFIG_' >"$tmp/wanted"
        cat "$tmp/wanted" >>.config
        make olddefconfig
        while read -r line; do
                symbol=${line%%=*}
                if [[ $line == *=n ]]; then
                        ! grep -q "^$symbol=" .config || { echo "kernel: $symbol is set and must not be"; exit 1; }
                else
                        grep -qxF -- "$line" .config ||
                                { echo "kernel: wanted $line, got: $(grep -w "$symbol" .config)"; exit 1; }
                fi
        done <"$tmp/wanted"

        # One job more than processors: the linker's single thread should not idle the rest.
        jobs=$(($(nproc) + 1))
        nice -n 5 make -j"$jobs" bzImage modules
        make modules_install INSTALL_MOD_PATH="$out/modules" INSTALL_MOD_STRIP=1
        rm -f "$out"/modules/lib/modules/*/{build,source}
        cp arch/x86/boot/bzImage "$out/bzImage"
        cp .config "$out/config"
        make -s kernelrelease >"$out/version"

        # Only what building a module against it takes.
        find . -name '*.o' -not -path './scripts/*' -not -path './tools/objtool/*' -delete
        find . -name '*.[cS]' -not -path './scripts/*' -not -path './tools/*' -delete
        rm -rf Documentation drivers fs sound net vmlinux* arch/x86/boot/compressed .tmp_*
        find arch -mindepth 1 -maxdepth 1 -type d -not -name x86 -exec rm -rf {} +
        mv "$tmp/$package" "$out/build"
        cd /
        rm -rf "$tmp"
}

# module/: aviommu_v3.ko, built against the kernel
rig_build_module() {
        local out=$1
        cp "$rig_dir"/module/* "$out"
        make -C "$rig_kernel/build" M="$out" modules
        find "$out" -mindepth 1 -not -name aviommu_v3.ko -delete
}

# root/: tree/, the host's file system as a folder; in the first suite's also the QEMU that runs it
rig_build_root() {
        local out=$1 packages mirror keyring suite lists
        rig_recipe "$2"
        rig_apt_setup "$out/tmp" "$suite" # to have a keyring that fits
        keyring=$(sed -n 's/.*signed-by=\([^]]*\)].*/\1/p' "$out/tmp/sources.list")
        mirror=$(rig_mirror)
        packages=$(sed 's/#.*//' "${lists[@]}" | xargs | tr ' ' ,)
        nice -n 5 mmdebstrap --mode=root --variant=minbase --include="$packages" \
                --aptopt='Acquire::Check-Valid-Until "false"' --aptopt='Acquire::Languages "none"' \
                --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
                --dpkgopt='path-exclude=/usr/share/locale/*' \
                "$suite" "$out/tree" "deb [signed-by=$keyring] $mirror $suite main"
        rm -rf "$out/tmp"
}

# image/: root.img, the root with the kernel's modules and the rig's own files (guest/)
rig_build_image() {
        local out=$1 root=$2 tree=$1/tree version unit
        version=$(<"$rig_kernel/version")
        cp -a "$rig_cache/root-${rig_root_keys[$root]}/tree" "$tree"
        cp -a "$rig_kernel/modules/lib/modules" "$tree/usr/lib/"
        install -D -m 644 "$rig_module/aviommu_v3.ko" "$tree/usr/lib/modules/$version/updates/aviommu_v3.ko"
        depmod -b "$tree" "$version"
        [[ $root != libvirt ]] ||
                install -D -m 644 -t "$tree/usr/lib/aviommu-rig/nested" "$rig_kernel/bzImage" "$rig_nested/initrd"
        # Whoever owns the checkout with whatever umask, and over the links that /bin and /lib are.
        rig_tar "$rig_dir/guest" -c --mode=u=rwX,go=rX |
                tar -x --no-overwrite-dir --keep-directory-symlink -C "$tree"

        printf '/dev/vda / ext4 defaults 0 0\n' >"$tree/etc/fstab"
        printf 'aviommu-host\n' >"$tree/etc/hostname"
        printf '127.0.0.1 localhost aviommu-host\n::1 localhost\n' >"$tree/etc/hosts"
        # Every boot is a first boot otherwise, with questions and presets.
        printf '0123456789abcdef0123456789abcdef\n' >"$tree/etc/machine-id"
        # Slow, or in the way of the serial console, and nothing here looks at them.
        for unit in serial-getty@ttyS0.service getty@tty1.service console-getty.service \
                    systemd-firstboot.service systemd-hwdb-update.service systemd-journal-catalog-update.service \
                    systemd-update-done.service ldconfig.service systemd-random-seed.service \
                    e2scrub_all.timer e2scrub_reap.service fstrim.timer apt-daily.timer apt-daily-upgrade.timer \
                    dpkg-db-backup.timer systemd-timesyncd.service systemd-networkd-wait-online.service \
                    libvirt-guests.service; do
                ln -sfn /dev/null "$tree/etc/systemd/system/$unit"
        done

        # No loop device: mke2fs fills the file by itself. Sparse, with room to install and log.
        mke2fs -q -t ext4 -L aviommu-host -O ^has_journal -E root_owner=0:0 -d "$tree" "$out/root.img" 3G
        rm -rf "$tree"
}

# ivrs-init/: an initramfs with a program that writes the table for nesting (tools/ivrs-nest.c)
rig_build_ivrs_init() {
        local out=$1
        gcc -std=gnu17 -O2 -Wall -static -o "$out/init" "$rig_dir/tools/ivrs-nest.c"
        (cd "$out" && echo init | cpio -o -H newc --quiet >initrd)
        rm "$out/init"
}

# nested/: initrd, with which a guest of the host's runs the same kernel (tools/nested-*.c)
rig_build_nested() {
        local out=$1 tree=$1/tree
        mkdir "$tree"
        gcc -std=gnu17 -O2 -Wall -static -o "$tree/init" "$rig_dir"/tools/nested-*.c
        cp "$rig_kernel"/modules/lib/modules/*/kernel/drivers/nvme/host/nvme{-core,}.ko "$tree"
        # Uncompressed: this kernel knows no compression of it.
        (cd "$tree" && find . -mindepth 1 | cpio -o -H newc --quiet >"$out/initrd")
        rm -r "$tree"
}

# --- QEMU -------------------------------------------------------------------------------------------

# Sets `rig_qemu`: the root's own QEMU, run by the root's own loader, so that there is nothing to mount and
# an old machine can run it.
rig_qemu_setup() {
        rig_qemu=("$rig_root/usr/lib64/ld-linux-x86-64.so.2"
                --library-path "$rig_root/usr/lib/x86_64-linux-gnu:$rig_root/usr/lib/x86_64-linux-gnu/pulseaudio"
                "$rig_root/usr/bin/qemu-system-x86_64" -L "$rig_root/usr/share/qemu"
                -L "$rig_root/usr/share/seabios")
}

# /dev/kvm being there does not say that it can run this kernel: believes in it only after a boot.
rig_try_kvm() {
        local table verdict=tcg
        table=$(mktemp "$rig_cache/.new-XXXXXX")
        if [[ -w /dev/kvm ]]; then
                rig_say "trying KVM"
                rig_qemu_setup
                timeout -k 5 15 "${rig_qemu[@]}" -machine q35,kernel-irqchip=split -accel kvm -cpu max -m 1G \
                        -device amd-iommu,intremap=on,xtsup=on -nodefaults -display none -no-reboot \
                        -kernel "$rig_kernel/bzImage" -initrd "$rig_ivrs_init/initrd" \
                        -append 'quiet intremap=off' -serial null -serial "file:$table" </dev/null >/dev/null 2>&1 &&
                        [[ -s $table ]] && verdict=kvm
        fi
        rm "$table"
        rig_say "running on $verdict"
        echo "$verdict" >"$rig_accel_verdict"
}

# Prints QEMU's -accel argument. AVIOMMU_ACCEL=tcg overrules the trial.
rig_accel() {
        case ${AVIOMMU_ACCEL:-$(<"$rig_accel_verdict")} in
        kvm) echo kvm ;;
        *) echo tcg,thread=multi ;;
        esac
}

# Makes what is missing of what the roots ROOT... take; without a word, all roots.
rig_prepare() {
        local tool root part parts missing=()
        for tool in gcc make flex bison bc mmdebstrap cpio depmod xz mke2fs flock perl apt-get; do
                command -v "$tool" >/dev/null || missing+=("$tool")
        done
        [[ ${#missing[@]} -eq 0 ]] || rig_die "missing: ${missing[*]} (packages: tests/vm/packages)"

        rig_keys
        [[ $# -gt 0 ]] || set -- "$rig_root_suite" "${rig_more_roots[@]}"
        parts=("$rig_ivrs_init" "$rig_kernel" "$rig_module" "$rig_nested" "${rig_root%/*}" "$rig_accel_verdict")
        for root; do
                parts+=("$rig_cache/root-${rig_root_keys[$root]}" "$rig_cache/image-${rig_image_keys[$root]}")
        done
        missing=()
        for part in "${parts[@]}"; do
                [[ -e $part ]] || missing+=("$part")
        done
        if [[ ${#missing[@]} -eq 0 ]]; then
                touch -c "${parts[@]}"
                return 0
        fi
        rig_lock
        rig_artefact ivrs-init "$rig_ivrs_init_key"
        rig_artefact root "$rig_root_key" "$rig_root_suite"
        rig_artefact kernel "$rig_kernel_key"
        rig_artefact module "$rig_module_key"
        rig_artefact nested "$rig_nested_key"
        for root; do
                rig_artefact root "${rig_root_keys[$root]}" "$root"
                rig_artefact image "${rig_image_keys[$root]}" "$root"
        done
        [[ -e $rig_accel_verdict ]] || rig_try_kvm
        rig_prune
        rig_unlock
}
