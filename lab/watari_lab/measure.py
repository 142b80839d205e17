# SPDX-License-Identifier: Apache-2.0
"""The lab measures its own wires: round trip by UDP echo, rate by one TCP connection.

Also the program that does it: `measure.py serve ADDRESS` answers on one host, `measure.py probe
ADDRESS SECONDS` asks on another and prints what it saw as JSON. Both run with this machine's Python
in the host's network namespace.
"""

import dataclasses
import json
import socket
import statistics
import subprocess
import sys
import threading
import time

PORT = 7007
_BLOCK = bytes(1 << 18)


@dataclasses.dataclass
class Measurement:
    """What one host sees of another."""

    source: str
    destination: str
    network: str
    rtt_ms: float  # median
    rtt_worst_ms: float
    rtt_lost: int  # probes without an answer
    rtt_sent: int
    rate_bits: float  # bits per second of TCP payload, one connection

    def __str__(self) -> str:
        return (
            f"{self.source} -> {self.destination} ({self.network}): "
            f"round trip {self.rtt_ms:.3f} ms (worst {self.rtt_worst_ms:.3f}, "
            f"{self.rtt_lost} of {self.rtt_sent} probes lost), "
            f"TCP {self.rate_bits / 1e6:.0f} Mbit/s"
        )


def measure(lab, source: str, destination: str, network: str = "migration", seconds: float = 2.0):
    """Measure from host to host over a network; takes about two seconds more than `seconds`."""
    address = lab.host(destination).address(network)
    argv = [sys.executable, __file__]
    server = lab.host(destination).popen_network(
        [*argv, "serve", address], stdout=subprocess.PIPE, text=True
    )
    try:
        server.stdout.readline()
        probe = lab.host(source).popen_network(
            [*argv, "probe", address, str(seconds)], stdout=subprocess.PIPE, text=True
        )
        with probe:
            output = probe.communicate(timeout=seconds * 4 + 60)[0]
    finally:
        server.kill()
        server.stdout.close()
        server.wait()
    return Measurement(source, destination, network, **json.loads(output))


# ---- the program ----


def _serve(address: str) -> None:
    echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    echo.bind((address, PORT))
    listener = socket.create_server((address, PORT))

    def answer() -> None:
        while True:
            data, peer = echo.recvfrom(2048)
            echo.sendto(data, peer)

    threading.Thread(target=answer, daemon=True).start()
    print("ready", flush=True)
    buffer = bytearray(1 << 20)
    while True:
        connection, _ = listener.accept()
        received, first = 0, 0.0
        with connection:
            while got := connection.recv_into(buffer):
                first = first or time.monotonic()
                received += got
            result = {"received": received, "seconds": time.monotonic() - first}
            connection.sendall(json.dumps(result).encode())


def _probe_rtt(address: str, seconds: float) -> dict:
    trips, sent = [], 0
    end = time.monotonic() + seconds
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(1.0)
        probe.connect((address, PORT))
        while time.monotonic() < end:
            start = time.monotonic()
            sent += 1
            word = b"%d" % sent
            probe.send(word)
            try:
                while probe.recv(2048) != word:
                    pass
                trips.append((time.monotonic() - start) * 1000)
            except OSError:
                continue
            time.sleep(0.005)
    return {
        "rtt_ms": statistics.median(trips) if trips else float("nan"),
        "rtt_worst_ms": max(trips, default=float("nan")),
        "rtt_lost": sent - len(trips),
        "rtt_sent": sent,
    }


def _probe_rate(address: str, seconds: float) -> float:
    end = time.monotonic() + seconds
    with socket.create_connection((address, PORT), timeout=30) as stream:
        while time.monotonic() < end:
            stream.sendall(_BLOCK)
        stream.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := stream.recv(4096):
            answer += chunk
    result = json.loads(answer)
    return result["received"] * 8 / result["seconds"]


def _main() -> None:
    if sys.argv[1] == "serve":
        _serve(sys.argv[2])
        return
    address, seconds = sys.argv[2], float(sys.argv[3])
    result = _probe_rtt(address, min(1.0, seconds))
    result["rate_bits"] = _probe_rate(address, seconds)
    print(json.dumps(result))


if __name__ == "__main__":
    _main()
