"""`trimtab completion`: the script by which a shell completes commands, options and names of objects."""

from __future__ import annotations

import click

SHELLS = ("bash", "zsh", "fish")


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell. To install it for everybody:

    \b
    trimtab completion bash > /etc/bash_completion.d/trimtab
    trimtab completion zsh > /usr/share/zsh/vendor-completions/_trimtab
    trimtab completion fish > /etc/fish/completions/trimtab.fish
    """
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    # not `source()`: bash's asks the shell for its version, and fails where there is none
    completer = made(ctx.find_root().command, {}, "trimtab", "_TRIMTAB_COMPLETE")
    click.echo(completer.source_template % completer.source_vars())
