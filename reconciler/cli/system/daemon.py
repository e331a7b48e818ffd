"""`trimtab system install|uninstall|certs|dial-stdio`: what a daemon needs around it."""

from __future__ import annotations

import click

from runtime.layout import Layout

PREFIX = click.option("--prefix", default="/", type=click.Path(), metavar="DIR", help="Another system's root [/].")
TLS = "/etc/trimtab/tls"


@click.command(short_help="Have systemd start the daemon.")
@click.option("--source", multiple=True, metavar="PATH|URL[#REF[:PATH]]", help="Directory or git repository to follow.")
@click.option("--listen", multiple=True, metavar="ADDRESS", help="unix://PATH or tcp://HOST:PORT.")
@click.option("--config", type=click.Path(dir_okay=False), help="Settings [/etc/trimtab/daemon.yaml].")
@click.option("--start/--no-start", default=True, help="Start it now [--start].")
@PREFIX
@click.pass_obj
def install(
    layout: Layout, source: tuple[str, ...], listen: tuple[str, ...], config: str | None, start: bool, prefix: str
) -> None:
    """Write a systemd unit for the daemon, enable it, start it; it comes back after a reboot.

    Done again with other options, the unit is changed and the daemon started anew. Containers never notice.
    """
    from pathlib import Path

    from reconciler.daemon.unit import install as write

    options = [word for each in source for word in ("--source", each if "://" in each else str(Path(each).absolute()))]
    options += [word for each in listen for word in ("--listen", each)]
    options += ["--config", str(Path(config).absolute())] if config else []
    path = write(layout, options, Path(prefix), start=start)
    click.echo(f"{path} is enabled{' and started' if start and prefix == '/' else ''}.")


@click.command(short_help="Stop the daemon and take its unit away.")
@PREFIX
def uninstall(prefix: str) -> None:
    """Stop the daemon and take its systemd unit away. Containers go on running."""
    from pathlib import Path

    from reconciler.daemon.unit import uninstall as remove

    click.echo("The unit is gone; containers go on running." if remove(Path(prefix)) else "There was no unit.")


@click.command(short_help="Make certificates for tcp://.")
@click.option("--host", "hosts", multiple=True, metavar="NAME|ADDRESS", help="What clients call this machine.")
@click.option("--client", "clients", multiple=True, metavar="NAME", help="A certificate for this client [client].")
@click.option("--directory", default=TLS, type=click.Path(file_okay=False), help=f"Where [{TLS}].")
@click.option("--renew", is_flag=True, help="Make them anew, by the same authority.")
@click.option("--revoke", "revoked", multiple=True, metavar="NAME", help="Take this client's certificate back.")
def certs(
    hosts: tuple[str, ...], clients: tuple[str, ...], directory: str, renew: bool, revoked: tuple[str, ...]
) -> None:
    """Make an authority, the daemon's certificate and one for each client. What is there and lasts is kept.

    The client's directory is what `trimtab context create --tls` takes; the authority's key stays here.
    """
    import re
    import socket
    from pathlib import Path

    from reconciler.daemon.certificates import make_certificates, revoke_certificates

    wrong = [name for name in (*clients, *revoked) if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", name)]
    if wrong:
        raise click.UsageError(f"{wrong[0]!r} cannot name a client")
    top = Path(directory).absolute()
    if revoked:
        click.echo(f"The daemon's settings, for its next start:\n  tls_revoked: {revoke_certificates(top, revoked)}")
        return
    names = list(dict.fromkeys((*hosts, socket.gethostname(), "localhost", "127.0.0.1", "::1")))
    for made in make_certificates(top, names, clients or ("client",), renew=renew):
        click.echo(f"{made.directory}: {'made' if made.new else 'kept'}")
    server = top / "server"
    click.echo("The daemon's settings:")
    for name, file in (("tls_ca", "ca.pem"), ("tls_certificate", "cert.pem"), ("tls_key", "key.pem")):
        click.echo(f"  {name}: {server / file}")


@click.command("dial-stdio", short_help="Join standard streams to the daemon's socket.", hidden=True)
@click.option("--socket", "path", type=click.Path(), help="The daemon's socket.")
@click.pass_obj
def dial_stdio(layout: Layout, path: str | None) -> None:
    """Join standard input and output to the daemon's socket: the far end of ssh://."""
    from reconciler.client.stdio import connected, join
    from schemas.errors import Refused

    place = path or str(layout.api_socket)
    try:
        channel = connected(place)
    except OSError as error:
        told = f"no daemon listens at {place}: {error.strerror}"
        raise Refused(told, hint="`trimtab daemon` starts one") from error
    join(channel)


COMMANDS = (install, uninstall, certs, dial_stdio)
