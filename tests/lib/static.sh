# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# The checks that run nothing of the project's: form, known mistakes, unit, XML, manuals.

static_steps() {
        step format check_format
        step cppcheck check_cppcheck
        step analyzer-clang run tests/lib/analyze clang build/development
        step analyzer-gcc run tests/lib/analyze gcc build/development
        step shellcheck check_shell
        step xml check_xml
        step apparmor check_apparmor
        step manuals check_manuals
        step words run tests/lib/words build/development
        step threats run tests/lib/threats
        step credentials check_credentials
}

# Prints the C files of the project.
c_files() {
        find daemon client doc tests -name '*.[ch]' -not -path 'tests/vm/module/*' | sort
}

check_format() {
        c_files | xargs -n 20 -P "$jobs" clang-format-19 --dry-run --Werror
}

# Leaks are the sanitizers' business: cppcheck follows neither cleanup attributes nor "?:".
check_cppcheck() {
        run cppcheck --quiet --project=build/development/compile_commands.json -j "$jobs" --std=c11 \
                --enable=warning,portability --inline-suppr --suppress=memleak --suppress='*:*tests/*' \
                --suppress=normalCheckLevelMaxBranches --error-exitcode=1
}

# Prints the shell scripts of the project: what says so in its first two lines.
shell_files() {
        find .ci tests client systemd debian -type f -not -path 'tests/vm/guest-packages/*' |
                while read -r file; do
                        if head -n2 "$file" | grep -qE '^#!/bin/(ba)?sh|^# shellcheck shell='; then
                                printf '%s\n' "$file"
                        fi
                done | sort
}

# Left out: variables that another file sets or reads, commas in arguments of QEMU, "VARIABLE= command".
check_shell() {
        shell_files | xargs shellcheck --severity=warning --exclude=SC1007,SC2034,SC2054,SC2154,SC2164 --source-path=SCRIPTDIR
}

check_xml() {
        xmllint --noout --nonet dbus/*.xml dbus/*.conf policy/*.policy policy/libvirt/*.rng &&
                xmllint --noout --nonet --dtdvalid /usr/share/polkit-1/policyconfig-1.dtd policy/*.policy
}

# Who calls is what the bus says: sd-bus would fill in from /proc what the bus does not say (SD_BUS_CREDS_AUGMENT), and its own gate
# does, which methods without SD_BUS_VTABLE_UNPRIVILEGED have.
check_credentials() {
        local code=0
        ! grep -rnE 'SD_BUS_CREDS_AUGMENT|sd_bus_(query_sender|creds)_|SD_BUS_VTABLE_CAPABILITY' daemon || code=1
        # One vtable entry a line.
        for file in daemon/bus/*.c; do
                tr -s '\n ' ' ' <"$file" | sed 's/SD_BUS_METHOD_WITH_ARGS(/\n&/g; s/SD_BUS_\(SIGNAL\|PROPERTY\|VTABLE_END\)/\n&/g' |
                        grep '^SD_BUS_METHOD' | grep -v SD_BUS_VTABLE_UNPRIVILEGED && code=1
        done
        return "$code"
}

# AppArmor's compiler takes each profile, with all that profiles can say whatever this kernel can, and each program in sbin has one.
check_apparmor() {
        local profile path abi=/etc/apparmor.d/abi/3.0
        diff <(grep -oE '^/usr/sbin/.*' tests/lib/installed-files | sort) \
                <(for profile in policy/apparmor/usr.*; do sed -nE 's/^profile [^ ]+ ([^ ]+) .*/\1/p' "$profile"; done | sort) ||
                { say "programs and profiles differ"; return 1; }
        printf 'abi <abi/3.0>,\nprofile test { include "%s" }\n' \
                "$top/policy/apparmor/abstractions/libvirt-qemu.d/aviommu" >"$temp/qemu"
        for profile in policy/apparmor/usr.* "$temp/qemu"; do
                apparmor_parser --skip-kernel-load --skip-cache --features-file "$abi" --warn=all --Werror "$profile" || return
        done
        # The configuration names users and groups that /etc/passwd and /etc/group need not have.
        for path in /var/lib/sss/pipes/nss nslcd/socket samba/winbindd/pipe systemd/userdb/; do
                apparmor_parser --preprocess policy/apparmor/usr.sbin.aviommud | grep -F "$path" | grep -q ' rw,' ||
                        { say "aviommud cannot look up users through $path"; return 1; }
        done
}

# man(1) and mandoc(1) have nothing to say about any manual.
check_manuals() {
        local page said code=0
        for page in man/*.[1-9]; do
                said=$(
                        MANWIDTH=80 man --warnings --encoding=UTF-8 --local-file --troff-device=utf8 --ditroff \
                                "$page" 2>&1 >/dev/null
                        # Says STYLE and UNSUPP about what groff does well.
                        mandoc -T lint -W warning "$page"
                )
                [[ ! $said ]] || { say "$page:" "$said"; code=1; }
        done
        return "$code"
}
