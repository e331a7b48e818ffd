"""How many answers per second the DNS server gives on one core.

    python benchmarks/dns_answers.py [SECONDS]

Needs root: it makes a network namespace of its own and starts the real server in it. The clients are one sending
process on the other core, which keeps a window of questions open, so the number is the server's, not the round
trip's. Prints answers per second and per CPU second of the server, for one repeated name, for 1,000 names, for names
that do not exist, and over 1,000 owners' records; then the server's memory and what it costs idle.
"""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from runtime.kernel.namespaces import CLONE_NEWNET, unshare
from runtime.layout import Layout
from runtime.network.dns.process import ensure_dns, read_dns, stop_dns
from runtime.network.dns.records import ensure_listen, ensure_records

GATEWAY = "127.0.0.1"
WINDOW = 64
OWNERS = 1000
TICKS = os.sysconf("SC_CLK_TCK")


def question(name: str, ident: int) -> bytes:
    """A query for the A record of `name`."""
    labels = b"".join(bytes((len(label),)) + label.encode() for label in name.split("."))
    return struct.pack("!HHHHHH", ident, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!HH", 1, 1)


def measure(names: Sequence[str], seconds: float, server: int) -> tuple[float, float]:
    """(answers per second, answers per CPU second of the server)."""
    packets = [question(names[at % len(names)], at & 0xFFFF) for at in range(max(len(names), WINDOW))]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect((GATEWAY, 53))
        client.settimeout(1.0)
        before, start = cpu_seconds(server), time.monotonic()
        answered = at = 0
        for packet in packets[:WINDOW]:
            client.send(packet)
        while (now := time.monotonic()) < start + seconds:
            for _ in range(WINDOW):
                client.recv(2048)
                client.send(packets[at])
                at = (at + 1) % len(packets)
            answered += WINDOW
        spent = cpu_seconds(server) - before
        return answered / (now - start), answered / spent


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid: int) -> dict[str, int]:
    """KiB by kind, from /proc/PID/smaps_rollup."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {line.split(":")[0]: int(line.split()[1]) for line in lines}


def switches(pid: int) -> int:
    """How often a process was woken so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if "ctxt_switches" in line)


def main(seconds: float) -> None:
    """Measure and print one line per kind of question."""
    unshare(CLONE_NEWNET)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    base = Path(tempfile.mkdtemp(prefix="tt-dns-"))
    layout = Layout(root=base / "root", run=base / "run")
    layout.run.mkdir()
    ensure_listen(layout, "bench", [f"{GATEWAY}/8"])
    for number in range(OWNERS):
        address = f"127.1.{number // 250}.{number % 250 + 1}"
        ensure_records(layout, "bench", f"c{number}", [f"c{number}", "tasks.all"], [address])
    ensure_dns(layout)
    server = read_dns(layout).pid
    assert server is not None
    try:
        names = [f"c{number}" for number in range(OWNERS)]
        for label, asked in (("one name", names[:1]), ("1,000 names", names), ("no such name", ["absent"])):
            rate, per_cpu = measure(asked, seconds, server)
            print(f"{label:14} {rate:8,.0f} answers/s {per_cpu:8,.0f} per CPU second")
        report = memory(server)
        before = switches(server)
        time.sleep(2)
        print(f"memory         {report['Pss'] / 1024:.1f} MiB PSS, {report['Private_Dirty'] / 1024:.1f} MiB private")
        print(f"idle           {switches(server) - before} wake-ups in 2 s")
    finally:
        stop_dns(layout)
        shutil.rmtree(base)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 2.0)
