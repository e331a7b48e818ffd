"""The page for readers, `docs/benchmarks.md`: what was measured, where, what came out, and what it does not say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.records import OURS, Row, Series
from benchmarks.reports.numbers import bound, quantity, ratio, reached, verdict, whose

HEAD = """# Benchmarks

Written by `make bench`; do not edit. One run compares, doing the same work in turns, trimtab with the peers that this
machine has and with a floor: the smallest C program that makes such a container (`benchmarks/floor.c`). Values are
medians. **Only the ratios of one run count**: machines differ, and one machine differs from hour to hour.

![Chart](benchmarks.svg)
"""
HOW = """## How it is measured

- `make bench` (root) measures against what is installed; `make bench-peers` installs the peers, Debian's packages
  `docker.io`, `docker-compose`, `podman`, `runc`, `skopeo` and `docker-registry`. A peer that is missing is said to
  be. Rows by name: `python -m benchmarks --only container --only network --rounds 10`.
- Everything happens in a network and a mount namespace of the run's own. All tools keep their data on one fresh ext4
  on a loop device, and their live state on a tmpfs. dockerd and containerd are started for the run, with their
  defaults.
- trimtab is called through its own API in a process that has it loaded, as its daemon has; rows that say *command* or
  *cold process* start `trimtab` as a user does. Peers are called through their commands, which is how they are used.
- *container*: on each side a bundle stands ready, and what it leaves behind is removed outside the measured time.
  trimtab's and the second runc's containers have a user namespace of their own; the floor has none, and neither limits,
  seccomp, log nor exit record.
- *network*: for trimtab once the calls alone, of a bundle that stands ready; and once two whole passes, each with
  manifest, observation, plan and durable records: one makes the container, one deletes it. `docker run --rm` is one
  command.
- *apply*, *delete*: the containers end when asked to. Compose gets the same services in one file.
- *logs*: rotation at 20 MB and three files everywhere; the last line must have arrived.
- *memory*: proportional set size (PSS) while the containers run.
"""

TRIES = """## Where it goes, and what was tried

Seen with `perf trace`, `perf record -e page-faults -d` and getrusage(2); ratios of before and after were taken in turns
in one run, since a machine that others use moves every number in milliseconds.

A run on a machine that does other work beside it (see its load below) shows ratios that swing by half, and limits in
plain milliseconds or MB/s missed that a quiet one keeps. With little else running, in turns: one container 5.2 to 5.4 ×
the floor and 0.28 × `runc run`; networked 17.5 ms for the calls and 29 ms for two passes where `docker run --rm` takes
310.

- *container*, kept: a container whose generated files lie in its own bundle is made in the launcher itself and not in
  a process of its own (8.0 × the floor, then 6.5 ×); init builds its root while its cgroup is made; the seccomp filter
  goes to init as a file and not as 52 KB of JSON; the next pair of monitor and init is forked once the last container
  runs, not while it starts; whoever waits for an exit record or a lock looks every tenth of what it has waited (then
  5.3 ×, and 0.28 × `runc run` instead of 0.40 ×); an init that waits rehearses (447 page faults between birth and
  execve before, 109 after, 5.7 ms of processor before, 4.3 after).
- *container*, not kept: every page of a waiting init made its own in advance (`MADV_POPULATE_WRITE`): execve(2) then
  takes longer to give them back than was won.
- *container*, what is left: init's own work, about 4 ms (mounts 1.5, devices and masked paths 0.6, seccomp and
  capabilities 0.9), execve(2) from an interpreter, which gives back its memory (1 ms), the end of the namespaces and a
  durable exit record (2 to 3 ms). The floor has no user namespace, limits, filter, devices of the host, masked paths,
  hostname files, log or record.
- *network*, kept: the monitor forgets the container's names itself; a program is started at its end only where the host
  led to it (5.5 ms of a deletion before, 0.8 after). Left: the veth pair with address and routes (2.3 ms), and for
  whole passes six durable commits (ten before), two observations and a bundle made and removed.
- *network*, two whole passes, kept: a plan of one action starts no thread, what was asked for before is not written
  again, links, addresses and proc(5) are read for less (together 0.93 of the time and of the CPU time). What is left,
  of 29 ms: 15 to 17 for the calls, of which launcher and init take 11; 1.5 for the bundle, 2.6 for reading and
  planning twice, 2.9 for five durable commits. Not done: a revision that waits for no disk (0.3 ms, and history could
  lose its newest line to a power cut while what it tells of stays). So 0.05 of `docker run` is about what the calls
  alone take.
- *daemon diff*, *daemon apply*, kept: plain command lines are understood without click
  (`reconciler/client/plain.py`): the client's process took 48 to 55 ms of CPU for a diff where the interpreter alone
  takes 11, then 23 to 25; the whole command 0.5 to 0.6 of the time. An apply without a change commits nothing. What
  the daemon uses for thirty containers, 51 ms and then 41, is three quarters observation, about 0.9 ms a container:
  some 25 files of its cgroups (a fifth), its network namespace (a quarter), processes, names, mounts. Threads do not
  help: Python runs one of them at a time.
- *daemon*, left: 5 ms of the client are `re`, which the script that pip makes imports; 3 ms the host's `site`.
- *repairs*, kept: whether a mounted volume can be id-mapped is remembered (a process was started at each start of its
  user); a volume's directory is opened in the launcher; the next pair of monitor and init is not forked while another
  process makes a container; the file of the incarnation is made anew and not cut short, which ext4 writes out at
  once. A container with port, volume and limit runs again after 0.57 to 0.69 of the time; one without, as before.
- *repairs*, what is left: for a killed init the loop itself uses 3 to 4 ms to look (2 of them list the tables, 1 of
  which is libnftables' own), 2 for the bundle, 2.4 for the link, 0.6 for the record; the rest are launcher and init.
  After `nft flush ruleset`, some 10 are rules, written, read back and marked.
- *idle*: a resync looks at each networked container for 1.1 ms of CPU before, 0.9 after (300 of them); beside 1,000
  each part of it asked for all the host's links too, 28 us each, ten times a minute, and asks for its own now.
- *a thousand with networks*, kept: the kernel's neighbour tables, one for all namespaces of a machine, have 1,024
  entries until somebody raises that, and each container took two; past some 770 the next met ENOBUFS.
- *an event beside 1,000*, kept: a container's settings are written through a procfs that is gone afterwards. The host's
  keeps an entry for each namespace that was looked at through it, all of one name: beside 400 containers each look at a
  setting took 0.1 to 0.3 ms and not 5 us. Ports have no link-local address any more: the kernel walks all routes of the
  host's whenever a link changes. Left: the broadcast that a new container sends reaches every port of its network.
- *an edit beside 1,000 manifests*, kept: files that have long stood still are not read again after an event (a full
  look follows 0.25 s later), unchanged objects stay the very same, paths are made absolute only where there are any:
  23 ms of CPU until it is read and 17 until it is offered before, 14 and 5 after, beside the 50 ms for which a writer
  must pause. Left: until it is acted on the whole set is read back, compared and planned, some 0.15 ms of CPU for each
  Config that did not change, about 1 ms for each container.
- *a thousand containers* (`--only thousand`), once, while other work had both cores busy fifteen times over: each of
  100 took 171 ms up, 52 down and 0.70 MB of monitor and loop; each of 1,000 took 219, 41 and 0.60. Ten that were
  killed came back, and nobody else was started again.
- *apply*, kept: the DNS server starts while the bridge and its rules are made (12 % less), and all of the above (31 %
  less).
- *memory*, kept: a monitor builds nothing until something happens (1.91 MB, then 1.3 MB); all that comes before its
  container (sockets, init, the shelter) is done by helpers, short-lived children that share its descriptors and not its
  memory, and the zygote between two forks makes one call of C and nothing else, since what a process changes there, the
  forked before it keep for themselves (1.32 MB, then 0.87 MB, on the same machine within the hour). A bare fork that
  only reads costs 0.1 MB of its own and 0.3 MB as its share of the interpreter; each object that Python touches
  afterwards costs a page, since it counts references in place. What is left are some 140 pages, most of them of
  receiving the container and of waiting for its first sign. Since the launcher makes most containers itself, its own
  memory is larger, once per engine.
- *memory*, without effect: a report made ready in advance (the pages it saves are touched a moment later).
"""


def page(rows: Sequence[Row], machine: Mapping[str, str]) -> str:
    parts = [HEAD, "## Targets", _targets(rows), "## Values", *map(_row, rows), TRIES, HOW, "## Machine of this run"]
    parts.append("\n".join(f"- {name}: {value}" for name, value in machine.items()))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _targets(rows: Sequence[Row]) -> str:
    lines = ["| row | what | target | reached | |", "|---|---|---|---|---|"]
    for row in rows:
        for target in row.targets:
            wanted = f"{whose(row, target)}{bound(row, target)}"
            lines.append(f"| {row.name} | {row.title} | {wanted} | {reached(row, target)} | {verdict(row, target)} |")
    return "\n".join(lines)


def _row(row: Row) -> str:
    head = f"### {row.name}: {row.title}"
    lines = ["| | median | fastest | slowest | rounds | trimtab is |", "|---|---|---|---|---|---|"]
    lines += [f"| {series.tool} | {' | '.join(_cells(row, series))} |" for series in row.series]
    return "\n\n".join(part for part in (head, "\n".join(lines), row.note) if part)


def _cells(row: Row, series: Series) -> Iterator[str]:
    if series.median is None:
        yield from (series.why_not, "", "", "", "")
        return
    yield quantity(series.median, row.unit)
    yield quantity(min(series.values), row.unit)
    yield quantity(max(series.values), row.unit)
    yield str(len(series.values))
    yield "" if series.tool == OURS else ratio(row.ratio(OURS, series.tool))
