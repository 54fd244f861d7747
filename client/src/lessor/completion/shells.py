"""The completion scripts of bash, zsh and fish."""

from __future__ import annotations

from lessor.cli import COMMANDS

from .words import actions_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from .words import Place

_BASH = """\
# bash completion for lessor: source it, or put it where bash-completion looks.
_lessor() {{
    local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}
    local command=${{COMP_WORDS[1]}} action='' words='' i
    COMPREPLY=()
    # Behind "--" stands a command that is not ours.
    for ((i = 2; i < COMP_CWORD; i++)); do
        [[ ${{COMP_WORDS[i]}} == -- ]] && return
    done
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W '{commands}' -- "$current"))
        return
    fi
    case $command in
{actions}
    esac
    if ((COMP_CWORD == 2)) && [[ -n $words ]]; then
        COMPREPLY=($(compgen -W "$words" -- "$current"))
        return
    fi
    [[ -n $words ]] && action=${{COMP_WORDS[2]}}
    case "$command $action $previous" in
{choices}
    esac
    [[ $current == -* ]] || return
    case "$command $action" in
{options}
    esac
}}
complete -o default -F _lessor lessor
"""

_ZSH = """\
#compdef lessor
# zsh completion for lessor: put it as _lessor into a folder of $fpath.
_lessor() {{
    local command=${{words[2]}} action='' previous=${{words[CURRENT-1]}}
    local -a found
    # Behind "--" stands a command that is not ours.
    if (( CURRENT > 3 && ${{words[(I)--]}} > 0 && ${{words[(I)--]}} < CURRENT )); then
        _files
        return
    fi
    if (( CURRENT == 2 )); then
        compadd -- {commands}
        return
    fi
    case $command in
{actions}
    esac
    if (( CURRENT == 3 && $#found )); then
        compadd -- $found
        return
    fi
    (( $#found )) && action=${{words[3]}}
    case "$command $action $previous" in
{choices}
    esac
    if [[ $PREFIX != -* ]]; then
        _files
        return
    fi
    case "$command $action" in
{options}
    esac
}}
if [[ $funcstack[1] == _lessor ]]; then
    _lessor "$@"
else
    compdef _lessor lessor
fi
"""


def bash(places: list[Place]) -> str:
    """The script for bash."""
    reply = "COMPREPLY=($(compgen -W '{}' -- \"$current\"))"
    return _BASH.format(
        commands=" ".join(COMMANDS),
        actions=_cases(
            {command: f"words='{' '.join(names)}'" for command, names in actions_of(places).items()}
        ),
        choices=_choice_cases(places, lambda words: f"{reply.format(words)}; return"),
        options=_option_cases(places, reply.format),
    )


def zsh(places: list[Place]) -> str:
    """The script for zsh."""
    return _ZSH.format(
        commands=" ".join(COMMANDS),
        actions=_cases(
            {command: f"found=({' '.join(names)})" for command, names in actions_of(places).items()}
        ),
        choices=_choice_cases(places, lambda words: f"compadd -- {words}; return"),
        options=_option_cases(places, "compadd -- {}".format),
    )


def fish(places: list[Place]) -> str:
    """The script for fish."""
    lines = [
        "# fish completion for lessor: put it into ~/.config/fish/completions/lessor.fish.",
        *(
            f"complete -c lessor -n __fish_use_subcommand -f -a {command} -d {_quoted(summary)}"
            for command, summary in COMMANDS.items()
        ),
    ]
    grouped = actions_of(places)
    for place in places:
        seen = f"__fish_seen_subcommand_from {place.command}"
        if place.action:
            others = " ".join(grouped[place.command])
            lines.append(
                f"complete -c lessor -n '{seen}; and not __fish_seen_subcommand_from {others}' "
                f"-f -a {place.action} -d {_quoted(place.summary)}"
            )
            seen += f"; and __fish_seen_subcommand_from {place.action}"
        lines.extend(_fish_option(seen, place, option) for option in place.options)
    return "\n".join([*lines, ""])


SHELLS: dict[str, Callable[[list[Place]], str]] = {"bash": bash, "zsh": zsh, "fish": fish}


def _fish_option(seen: str, place: Place, option: str) -> str:
    name = f"-l {option[2:]}" if option.startswith("--") else f"-s {option[1:]}"
    if option in place.choices:
        name += f" -x -a '{' '.join(place.choices[option])}'"
    return f"complete -c lessor -n '{seen}' {name}"


def _choice_cases(places: list[Place], do: Callable[[str], str]) -> str:
    return _cases(
        {
            f"{place.command} {place.action} {option}": do(" ".join(words))
            for place in places
            for option, words in place.choices.items()
        }
    )


def _option_cases(places: list[Place], do: Callable[[str], str]) -> str:
    return _cases(
        {
            f"{place.command} {place.action}": do(" ".join(place.options))
            for place in places
            if place.options
        }
    )


def _cases(deeds: dict[str, str]) -> str:
    return "\n".join(f"        '{pattern}') {deed} ;;" for pattern, deed in deeds.items())


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
