"""``lbtop completion SHELL``: completion for bash, zsh and fish, made from the options themselves."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from lbtop.cli import COMMANDS, OK
from lbtop.model.record import dataclass

SUMMARY = "shell completion: prints a script for bash, zsh or fish"
EXAMPLES = (
    'eval "$(lbtop completion bash)"',
    "lbtop completion zsh > ~/.zfunc/_lbtop",
    "lbtop completion fish > ~/.config/fish/completions/lbtop.fish",
)
SHELLS = ("bash", "zsh", "fish")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS)


def run(options: argparse.Namespace) -> int:
    sys.stdout.write({"bash": bash, "zsh": zsh, "fish": fish}[options.shell](tuple(commands())))
    return OK


@dataclass(frozen=True, slots=True)
class Option:
    flags: tuple[str, ...]
    help: str
    takes_value: bool
    choices: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A command as a completion sees it."""

    name: str
    summary: str
    options: tuple[Option, ...]
    arguments: tuple[str, ...]  # what a positional argument may be, where that is a fixed list


def commands() -> Iterator[CommandLine]:
    """Every command with its options, from the parsers that will read them."""
    from lbtop.cli.command import load, parser

    for name in COMMANDS:
        command = load(name)
        made = parser(name, command)
        options: list[Option] = []
        arguments: list[str] = []
        for action in made._actions:
            choices = tuple(str(choice) for choice in action.choices or ())
            if action.option_strings:
                takes = action.nargs != 0
                options.append(Option(tuple(action.option_strings), _one_line(action.help), takes, choices))
            else:
                arguments += choices
        if name == "explain":
            arguments += _explained()
        yield CommandLine(name, command.SUMMARY, tuple(options), tuple(arguments))


def _explained() -> list[str]:
    from lbtop.findings import RULES
    from lbtop.model.judgement import Mode

    return [*(mode.value for mode in Mode), *sorted(RULES)]


def _one_line(text: str | None) -> str:
    return " ".join((text or "").replace("%%", "%").split())


def bash(lines: tuple[CommandLine, ...]) -> str:
    """Commands, options, their choices, else files."""
    cases = []
    for line in lines:
        flags = " ".join(flag for option in line.options for flag in option.flags)
        choices = "".join(
            f"            {'|'.join(option.flags)}) "
            f"COMPREPLY=($(compgen -W '{' '.join(option.choices)}' -- \"$cur\")); return ;;\n"
            for option in line.options
            if option.choices
        )
        words = f"{flags} {' '.join(line.arguments)}".strip()
        cases.append(
            f"    {line.name})\n"
            f'        case "$prev" in\n{choices}            *) ;;\n        esac\n'
            f"        COMPREPLY=($(compgen -W '{words}' -- \"$cur\"))\n        ;;\n"
        )
    names = " ".join(line.name for line in lines)
    return (
        "# bash completion for lbtop, made by: lbtop completion bash\n"
        "_lbtop() {\n"
        '    local cur="${COMP_WORDS[COMP_CWORD]}" prev="${COMP_WORDS[COMP_CWORD-1]}"\n'
        "    COMPREPLY=()\n"
        '    if [ "$COMP_CWORD" -eq 1 ]; then\n'
        f"        COMPREPLY=($(compgen -W '{names} --help --version' -- \"$cur\"))\n        return\n    fi\n"
        '    case "${COMP_WORDS[1]}" in\n' + "".join(cases) + "    esac\n}\n"
        "complete -o bashdefault -o default -F _lbtop lbtop\n"
    )


def zsh(lines: tuple[CommandLine, ...]) -> str:
    def quoted(text: str) -> str:
        return text.replace("'", "'\\''").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")

    out = ["#compdef lbtop", "# zsh completion for lbtop, made by: lbtop completion zsh", "_lbtop() {", "  local -a commands"]
    out.append("  commands=(" + " ".join(f"'{line.name}:{quoted(line.summary)}'" for line in lines) + ")")
    out += ["  if (( CURRENT == 2 )); then", "    _describe command commands", "    return", "  fi", "  local command=$words[2]"]
    out += ["  shift words", "  (( CURRENT-- ))", "  case $command in"]
    for line in lines:
        out.append(f"    {line.name}) _arguments -s \\")
        for option in line.options:
            value = f":value:({' '.join(option.choices)})" if option.choices else (":value:_files" if option.takes_value else "")
            for flag in option.flags:
                out.append(f"      '*{flag}[{quoted(option.help)}]{value}' \\")
        rest = f"'*:what:({' '.join(line.arguments)})'" if line.arguments else "'*:file:_files'"
        out.append(f"      {rest} ;;")
    out += ["  esac", "}", '_lbtop "$@"']
    return "\n".join(out) + "\n"


def fish(lines: tuple[CommandLine, ...]) -> str:
    def quoted(text: str) -> str:
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

    out = ["# fish completion for lbtop, made by: lbtop completion fish"]
    for line in lines:
        out.append(f"complete -c lbtop -n __fish_use_subcommand -f -a {line.name} -d {quoted(line.summary)}")
    for line in lines:
        here = f"complete -c lbtop -n '__fish_seen_subcommand_from {line.name}'"
        for option in line.options:
            names = " ".join(f"-l {flag[2:]}" if flag.startswith("--") else f"-s {flag[1:]}" for flag in option.flags)
            value = f" -x -a {quoted(' '.join(option.choices))}" if option.choices else (" -r" if option.takes_value else "")
            out.append(f"{here} {names}{value} -d {quoted(option.help)}")
        if line.arguments:
            out.append(f"{here} -f -a {quoted(' '.join(line.arguments))}")
    return "\n".join(out) + "\n"
