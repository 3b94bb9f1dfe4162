# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# bash's completion for aviommuctl: the program itself knows what a word may become.

_aviommuctl() {
        local cur prev words cword line kind head breaks file candidates=()
        # What the user sees as one word, "--function=0000:41:00.0", and of the last what is before the cursor.
        _get_comp_words_by_ref -n =: cur prev words cword

        COMPREPLY=()
        while IFS= read -r line; do
                if [[ ! ${kind-} ]]; then
                        kind=$line
                else
                        candidates+=("${line%%$'\t'*}")
                fi
        done < <("${words[0]}" complete -- "${words[@]:1:cword - 1}" "$cur" 2>/dev/null)

        # bash replaces what comes after the last of these, and no more. Some take one of them out.
        head=
        breaks=${COMP_WORDBREAKS//[^=:]/}
        [[ ! $breaks || $cur != *["$breaks"]* ]] || head=${cur%"${cur##*["$breaks"]}"}

        case ${kind-} in
        :command*)
                _command_offset $((${kind#:command } + 1))
                return
                ;;
        :files)
                compopt -o filenames 2>/dev/null
                file=${cur#--*=}
                mapfile -t COMPREPLY < <(compgen -P "${cur%"$file"}" -f -- "$file")
                COMPREPLY=("${COMPREPLY[@]#"$head"}")
                return
                ;;
        esac

        for line in ${candidates[@]+"${candidates[@]}"}; do
                printf -v line %q "${line#"$head"}"
                COMPREPLY+=("$line")
        done
        [[ ${#COMPREPLY[@]} != 1 || ${COMPREPLY[0]} != *= ]] || compopt -o nospace 2>/dev/null
}

complete -F _aviommuctl aviommuctl
