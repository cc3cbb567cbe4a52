"""`embedq-tui completion`: a script that makes a shell complete commands, options and values."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from embedq_tui.commands.invocation import common_options

_INSTALL = {
    "bash": "mkdir -p ~/.local/share/bash-completion/completions && "
    "embedq-tui completion bash > ~/.local/share/bash-completion/completions/embedq-tui",
    "zsh": "mkdir -p ~/.zfunc && embedq-tui completion zsh > ~/.zfunc/_embedq-tui; "
    "in ~/.zshrc, before compinit: fpath+=~/.zfunc",
    "fish": "embedq-tui completion fish > ~/.config/fish/completions/embedq-tui.fish",
}


@click.command(
    "completion", epilog='Example: embedq-tui completion bash; or: eval "$(embedq-tui completion bash)"'
)
@click.argument("shell", type=click.Choice(tuple(_INSTALL)))
@common_options
def command(shell: str) -> None:
    """Print a script that makes a shell complete commands, options and their values.

    Its first lines say how to install it.
    """
    from embedq_tui.cli import COMPLETION_VARIABLE, PROGRAM, cli

    completion = get_completion_class(shell)
    assert completion is not None
    script = completion(cli, {}, PROGRAM, COMPLETION_VARIABLE).source().strip()
    first, _, rest = script.partition("\n")
    comment = f"# Install: {_INSTALL[shell]}"
    # zsh requires its own line to come first.
    click.echo(f"{first}\n{comment}\n{rest}" if shell == "zsh" else f"{comment}\n{script}")
