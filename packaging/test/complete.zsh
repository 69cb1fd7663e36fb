# Prints what a line is in an interactive zsh after Tab was typed behind it: zsh -f complete.zsh DIRECTORY LINE, with the
# completions of DIRECTORY. The line is taken from the editor itself, not from what it draws.

zmodload zsh/zpty
buffer=$(mktemp)

zpty shell zsh -f -i
zpty -w shell "PS1= PS2=; fpath=(${(q)1} \$fpath); autoload -U compinit && compinit -D"
zpty -w shell "unsetopt beep; setopt no_always_last_prompt; bindkey '^I' complete-word"
# Another key, typed behind Tab, writes the line down and gives it up.
zpty -w shell "write-down() { print -r -- \"\$BUFFER\" >${(q)buffer}; zle kill-whole-line }; zle -N write-down; bindkey '^X' write-down"
zpty -n -w shell "$2"$'\t\x18'

# So many tenths of a second at most.
for tenth in {1..600}; do
    # What it draws must be read, or it waits for that.
    while zpty -r -t shell drawn; do :; done
    [[ -s $buffer ]] && break
    sleep 0.1
done
zpty -d shell
cat "$buffer"
rm "$buffer"
