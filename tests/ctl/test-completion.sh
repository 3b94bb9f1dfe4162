#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
#
# Completion: that it knows every verb and option, and what bash and zsh make of it at a terminal, with what a simulated host has.
#
#     test-completion.sh PATH_TO_AVIOMMUCTL PATH_TO_AVIOMMUD_SIM

set -u

ctl=$(realpath "${1:?path of aviommuctl}")
sim=$(realpath "${2:?path of aviommud-sim}")
scripts=$(dirname "$(realpath "$0")")/../../client/completion
tmp=$(mktemp -d)
pids=()
uuid=0f0e0d0c-0b0a-4908-8706-050403020100

unset DBUS_SYSTEM_BUS_ADDRESS LANG LANGUAGE INPUTRC ZDOTDIR
AVIOMMU_LIBEXEC=$(dirname "$ctl")
export AVIOMMU_LIBEXEC AVIOMMU_BUS_ADDRESS=unix:path=$tmp/bus LIBVIRT_DEFAULT_URI=test:///default
export LC_ALL=C.UTF-8 TERM=xterm HOME=$tmp PATH=$AVIOMMU_LIBEXEC:$PATH

finish() {
        ((${#pids[@]} == 0)) || kill -CONT "${pids[@]}" 2>/dev/null
        ((${#pids[@]} == 0)) || kill "${pids[@]}" 2>/dev/null
        rm -rf "$tmp"
}
trap finish EXIT

fail() {
        echo "FAILED $1: $2"
        exit 1
}

# Waits until a command succeeds, for at most 20 seconds.
await() {
        local name=$1 i
        shift
        for ((i = 0; i < 400; i++)); do
                "$@" >/dev/null 2>&1 && return 0
                sleep 0.05
        done
        fail "$name" "waited in vain for: $*"
}

# asked WORD...: what the program answers, without the helps
asked() {
        timeout 30 "$ctl" complete -- "$@" 2>"$tmp/err" || fail "complete -- $*" "exit code $?"
        [[ ! -s $tmp/err ]] || fail "complete -- $*" "says $(cat "$tmp/err")"
}

# answers NAME EXPECTED WORD...: these are the candidates, in their order
answers() {
        local name=$1 expected=$2 is
        shift 2
        is=$(asked "$@" | cut -f1 | tr '\n' ' ')
        [[ $is == "$expected " ]] || fail "$name" "'$is' instead of '$expected'"
        echo "ok $name"
}

sim_start() {
        dbus-daemon --session --nofork --address="$AVIOMMU_BUS_ADDRESS" >/dev/null 2>&1 &
        pids+=($!)
        await "the bus" test -S "$tmp/bus"
        mkdir -m 0700 "$tmp/definitions"
        "$sim" --bus="$AVIOMMU_BUS_ADDRESS" --profile epyc-2p --definitions="$tmp/definitions" >/dev/null 2>&1 &
        pids+=($!)
        await "the daemon" "$ctl" status
        "$ctl" --quiet create "$uuid" --name 'web one' --tier emulated --handover none --leash $$ || fail "a VM" "not made"
        "$ctl" --quiet define "$uuid" --name 'web two' --tier virtio >/dev/null || fail "a definition" "not made"
}

# ---- the answers: every verb and option that --help has ----

# The verbs, and the options, that a --help lists.
verbs_in() {
        sed -n '/^Verbs:/,/^$/s/^  \([a-z]\+\).*/\1/p'
}
options_in() {
        sed -nE 's/^  (    |-[a-z], )--([a-z-]+)(=?).*/--\2\3/p' | sort
}

# every WORD...: verbs and options after WORD... are those of its --help, and so on with the verbs
every() {
        local help verbs verb
        help=$("$ctl" "$@" --help) || fail "$*" "no help"
        verbs=$(verbs_in <<<"$help")
        [[ ! $verbs ]] || diff <(echo "$verbs") <(asked "$@" '' | tail -n +2 | cut -f1) || fail "verbs after '$*'" "differ from the help"
        diff <(options_in <<<"$help") <(asked "$@" -- | tail -n +2 | cut -f1 | sort) || fail "options after '$*'" "differ from the help"
        n=$((n + 1))
        for verb in $verbs; do
                every "$@" "$verb"
        done
}

# Options of aviommuctl itself come before a verb: `complete -- --`.
check_answers() {
        local n=0
        every
        ((n > 20)) || fail "every verb" "there are only $n"
        echo "ok every verb and option ($n)"

        answers "a VM's name" ":words web one" show ''
        answers "a VM's UUID" ":words $uuid" show 0f
        answers "a definition's name" ":words web two" start ''
        answers "a definition's UUID" ":words $uuid" modify --autostart 0f
        answers "a definition's file" ":files" define --file=/
        answers "a PCI function" ":words 0000:41:00.0" attach "web one" 0000:41:00.0
        answers "the third argument" ":words create destroy" viommu x ''
        answers "a host IOMMU" ":words ivhd0 ivhd1 ivhd2 ivhd3 ivhd4 ivhd5 ivhd6 ivhd7" viommu x create ''
        answers "an option's value" ":words --tier=hardware --tier=emulated --tier=virtio" create --tier=
        answers "an option's value apart" ":words hardware emulated virtio" create --tier ''
        answers "a value that goes on" ":words --fd-device=0000:41:00.0=" exec --fd-device=0000:41
        answers "files" ":files" map x /
        answers "another command" ":command 4" exec -q x -- ls -
        answers "a domain" ":words test" libvirt check ''
        answers "a domain, another libvirt" ":words" libvirt --connect=test:///no-such check ''
        answers "after the last argument" ":words" detach x y ''
        answers "an unknown verb" ":words" bogus ''
}

# ---- a shell at a terminal ----

# shell_start NAME COMMAND: an interactive shell; what goes to descriptor 5 is typed. Ctrl-T writes the line to the file `line`
# and empties it.
shell_start() {
        rm -f "$tmp"/{keys,ready,line}
        mkfifo "$tmp/keys"
        (cd "$tmp" && exec script -qfc "$2" /dev/null <keys >screen 2>&1) &
        shell=$!
        exec 5>"$tmp/keys"
        printf '. %s/%s.setup\n' "$tmp" "$1" >&5
        await "$1" test -e "$tmp/ready"
}

shell_end() {
        exec 5>&-
        kill $shell 2>/dev/null
        wait $shell 2>/dev/null
}

# typed NAME TYPED EXPECTED: the line after a tab
typed() {
        local is
        rm -f "$tmp/line"
        printf '%s\t\024' "$2" >&5
        await "$1 (screen: $(tail -c 300 "$tmp/screen" | tr -cd '[:print:]'))" test -s "$tmp/line"
        is=$(cat "$tmp/line")
        [[ $is == "$3" ]] || fail "$1" "'$2' and a tab became '$is' instead of '$3'"
        echo "ok $1"
}

# The same in both shells, but for how they quote. QUOTED: the name of the VM.
check_shell() {
        local shell=$1 quoted=$2
        typed "$shell: a verb" "aviommuctl stat" "aviommuctl status "
        typed "$shell: an option" "aviommuctl create --ti" "aviommuctl create --ti"
        typed "$shell: an option with a value" "aviommuctl create --tie" "aviommuctl create --tier="
        typed "$shell: its value" "aviommuctl create --tier=h" "aviommuctl create --tier=hardware "
        typed "$shell: its value apart" "aviommuctl create --tier h" "aviommuctl create --tier hardware "
        typed "$shell: a name" "aviommuctl show w" "aviommuctl show $quoted "
        typed "$shell: a UUID" "aviommuctl show 0f" "aviommuctl show $uuid "
        typed "$shell: a function" "aviommuctl attach $quoted 0000:4" "aviommuctl attach $quoted 0000:4"
        typed "$shell: a function of an option" "aviommuctl create new --function=0002:41" "aviommuctl create new --function=0002:41:00.0 "
        typed "$shell: an IOMMU" "aviommuctl host ivhd7" "aviommuctl host ivhd7 "
        typed "$shell: a domain" "aviommuctl libvirt check te" "aviommuctl libvirt check test "
        typed "$shell: a file" "aviommuctl map x unlike" "aviommuctl map x unlikely-file "
        typed "$shell: a file of an option" "aviommuctl libvirt --config=unlike" "aviommuctl libvirt --config=unlikely-file "
        typed "$shell: a command" "aviommuctl exec x -- uncommon-c" "aviommuctl exec x -- uncommon-command "
        typed "$shell: no such verb" "aviommuctl bogus a" "aviommuctl bogus a"
}

check_bash() {
        cat >"$tmp/bash.setup" <<'END'
. /usr/share/bash-completion/bash_completion
. "$SCRIPTS/aviommuctl.bash"
PS1='$ '
show() { printf '%s' "$READLINE_LINE" >line.new; mv line.new line; READLINE_LINE=; }
bind -x '"\C-t": show'
bind 'set bell-style none' 2>/dev/null
: >ready
END
        shell_start bash "bash --noprofile --norc -i"
        check_shell bash 'web\ one'
        check_breaks :
        check_breaks '='
        check_breaks ''
        shell_end
}

# Where bash takes other characters, of ":" and "=", for ends of words than it does by itself. BREAKS: those that it does.
check_breaks() {
        local name="bash, breaks '$1'"
        printf 'COMP_WORDBREAKS="${COMP_WORDBREAKS//[:=]}"%s\n' "$1" >&5
        typed "$name: a value" "aviommuctl create --tier=h" "aviommuctl create --tier=hardware "
        typed "$name: a function" "aviommuctl functions 0000:4" "aviommuctl functions 0000:4"
        typed "$name: one function" "aviommuctl functions 0002:41" "aviommuctl functions 0002:41:00.0 "
        typed "$name: a function of an option" "aviommuctl create new --function=0002:41" "aviommuctl create new --function=0002:41:00.0 "
        typed "$name: a file" "aviommuctl map x un:like" "aviommuctl map x un:likely-file "
        typed "$name: a file of an option" "aviommuctl libvirt --config=unlike" "aviommuctl libvirt --config=unlikely-file "
}

check_zsh() {
        cat >"$tmp/zsh.setup" <<'END'
PS1='$ '
mkdir -p functions && cp "$SCRIPTS/aviommuctl.zsh" functions/_aviommuctl
fpath=($PWD/functions $fpath)
autoload -U compinit && compinit -u -D
setopt no_beep no_list_beep no_auto_menu
show() { print -rn -- "$BUFFER" >line.new; mv line.new line; BUFFER=; }
zle -N show
bindkey '^T' show
bindkey '^I' complete-word
: >ready
END
        shell_start zsh "zsh -f -i"
        check_shell zsh 'web\ one'
        shell_end
}

# ---- nobody there ----

# Nobody on the bus; no bus; a bus that takes us in and is silent; a libvirt that is not there.
check_silence() {
        kill "${pids[1]}"
        await "the end of the daemon" bash -c "! kill -0 ${pids[1]}"
        answers "no daemon" ":words" show ''
        answers "no daemon, and a verb" ":words status" stat
        AVIOMMU_BUS_ADDRESS=unix:path=$tmp/no-such answers "no bus" ":words" show ''
        answers "no libvirt" ":words" libvirt --connect=qemu+unix:///system?socket="$tmp"/no-such check ''
        [[ ! $(AVIOMMU_LIBEXEC=/nowhere asked libvirt check '') ]] || fail "no part for libvirt" "there are candidates"
        echo "ok no part for libvirt"
        kill -STOP "${pids[0]}"
        [[ ! $(asked show '') ]] || fail "a bus that is silent" "there are candidates"
        kill -CONT "${pids[0]}"
        echo "ok a bus that is silent"
}

export SCRIPTS=$scripts
touch "$tmp"/{unlikely-file,un:likely-file}
printf '#!/bin/sh\n' >"$tmp/uncommon-command"
chmod +x "$tmp/uncommon-command"
PATH=$PATH:$tmp

sim_start
check_answers
check_bash
check_zsh
check_silence
