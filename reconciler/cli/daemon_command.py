"""`trimtab daemon`: stay, and keep the machine as declared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from runtime.layout import Layout


@click.command()
@click.option("--source", multiple=True, metavar="PATH|URL[#REF[:PATH]]", help="Directory or git repository to follow.")
@click.option(
    "--listen", multiple=True, metavar="ADDRESS", help="unix://PATH or tcp://HOST:PORT [unix://RUN/api.sock]."
)
@click.option("--config", "file", type=click.Path(dir_okay=False), help="Settings [/etc/trimtab/daemon.yaml].")
@click.option("--log", type=click.Choice(("auto", "console", "json")), help="Form of the log [auto].")
@click.option("--log-level", type=click.Choice(("debug", "info", "warning", "error")), help="Least of it [info].")
@click.option("--prune/--no-prune", default=None, help="Delete what sources no longer declare [--prune].")
@click.option("--insecure-tcp", is_flag=True, default=None, help="Let tcp:// be plain, on loopback alone.")
@click.option("--print-config", is_flag=True, help="Print the settings in effect, and end.")
@click.pass_obj
def command(
    layout: Layout,
    source: tuple[str, ...],
    listen: tuple[str, ...],
    file: str | None,
    log: str | None,
    log_level: str | None,
    prune: bool | None,
    insecure_tcp: bool | None,
    print_config: bool,
) -> None:
    """Stay in the foreground, hear the API, and keep the machine as declared. SIGTERM leaves containers running.

    SIGHUP reads the settings again. `trimtab system install` has systemd start it.
    """
    from pathlib import Path

    from reconciler.daemon.settings import read_settings, settings_text

    told: dict[str, object] = {"source": source or None, "listen": listen or None, "log": log, "log_level": log_level}
    told |= {"prune": prune, "insecure_tcp": insecure_tcp}
    given = {name: value for name, value in told.items() if value is not None}
    path = Path(file).absolute() if file else None
    settings = read_settings(given, path)
    if print_config:
        click.echo(settings_text(settings))
        return
    from reconciler.daemon.run import run_daemon

    run_daemon(layout, settings, lambda: read_settings(given, path))
