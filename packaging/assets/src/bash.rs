//! Completion of einhyrningsins for bash. clap_complete's would offer options behind the program, and no programs.

use clap::{Arg, Command};

use crate::completions::value_name;

/// `@FLAGS@`, `@VALUED@` and `@VALUES@` are filled in. A word that bash has cut out of `--flag=value` or `addr:port` is
/// glued again, by the `=` or `:` that stands before it.
const TEMPLATE: &str = r#"# bash completion for einhyrningsins

_einhyrningsins() {
    local cur=${COMP_WORDS[COMP_CWORD]} flag='' glued='' word i
    local valued=' @VALUED@ '
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ $word == [:=] ]]; then
            glued=1
        elif [[ -n $glued ]]; then
            glued='' flag=''
        elif [[ $flag == -m ]] && ! [[ $word == manual || $word == [0-9]* ]]; then
            # -m may stand without a value, so this word is looked at again.
            flag='' && ((i--))
        elif [[ -n $flag ]]; then
            flag=''
        elif [[ $word == -- ]]; then
            ((i++)) && break
        elif [[ $word == --* && $valued == *" $word "* ]]; then
            flag=$word
        elif [[ $word == -[!-]* ]]; then
            # In a cluster the first letter that takes a value takes the rest, or the next word.
            word=${word#-}
            while [[ -n $word && $valued != *" -${word:0:1} "* ]]; do word=${word:1}; done
            [[ ${#word} -eq 1 ]] && flag=-$word
        elif [[ $word != -?* ]]; then
            break
        fi
    done
    if [[ $cur == [:=] ]]; then glued=1 cur=''; fi

    if ((i < COMP_CWORD)) || [[ -z $flag$glued && $cur != -* ]]; then
        if declare -F _comp_command_offset >/dev/null; then
            _comp_command_offset "$i"
        elif declare -F _command_offset >/dev/null; then
            _command_offset "$i"
        elif ((i < COMP_CWORD)) || [[ $cur == */* ]]; then
            compopt -o filenames 2>/dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$cur")
        else
            mapfile -t COMPREPLY < <(compgen -c -- "$cur")
        fi
        return
    fi
    case $flag in
@VALUES@
        '') [[ -n $glued ]] || mapfile -t COMPREPLY < <(compgen -W '@FLAGS@' -- "$cur") ;;
    esac
}

complete -F _einhyrningsins einhyrningsins
"#;

pub fn script(program: &Command) -> String {
    let flags: Vec<_> = program.get_arguments().filter(|arg| arg.get_long().is_some()).collect();
    let valued: Vec<_> = flags.iter().filter(|arg| arg.get_action().takes_values()).collect();
    let names = |args: &mut dyn Iterator<Item = &Arg>| args.flat_map(spellings).collect::<Vec<_>>().join(" ");
    let values = valued.iter().filter_map(|arg| {
        let patterns = spellings(arg).join(" | ");
        Some(format!("        {patterns}) {} ;;", offer(arg)?))
    });
    TEMPLATE
        .replace("@VALUED@", &names(&mut valued.iter().map(|arg| **arg)))
        .replace("@FLAGS@", &names(&mut flags.iter().copied()))
        .replace("@VALUES@", &values.collect::<Vec<_>>().join("\n"))
}

fn spellings(arg: &Arg) -> Vec<String> {
    let short = arg.get_short().map(|short| format!("-{short}"));
    short.into_iter().chain(arg.get_long().map(|long| format!("--{long}"))).collect()
}

/// What fills in the values of this option; nothing for numbers and names of the user's own.
fn offer(arg: &Arg) -> Option<String> {
    let list = |what: &str| format!("mapfile -t COMPREPLY < <(compgen {what} -- \"$cur\")");
    let files = |what: &str| format!("compopt -o filenames 2>/dev/null; {}", list(what));
    match (value_name(arg).as_str(), arg.get_long()?) {
        ("PATH", _) => Some(files("-f")),
        ("FILE", _) => Some(files("-o plusdirs -f -X '!*.toml'")),
        ("GROUP", _) => Some(list("-g")),
        ("CMDLINE", _) => Some(list("-c")),
        ("MODE", "ack-mode") => Some(list("-W manual")),
        _ => None,
    }
}
