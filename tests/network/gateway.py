"""A router's program that maps ports, as the program of a namespace: NAT-PMP and UPnP, honest or not.

The rule: an honest one really passes on what comes in (by nft), so a mapping that a test sees is one that works. How it
behaves is said on its input, a word and its value a line; what it was asked it says on its output, a JSON list a line.
It is run as ``python -m springline.tests.network.gateway INSIDE OUTSIDE NATPMP UPNP`` inside the router.
"""

from __future__ import annotations

import json
import re
import socket
import struct
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DEVICE = "urn:schemas-upnp-org:device:"
SERVICE = "urn:schemas-upnp-org:service:WANIPConnection:1"
ARGUMENTS = {
    "AddPortMapping": [
        "in NewRemoteHost string", "in NewExternalPort ui2", "in NewProtocol string", "in NewInternalPort ui2",
        "in NewInternalClient string", "in NewEnabled boolean", "in NewPortMappingDescription string",
        "in NewLeaseDuration ui4",
    ],
    "DeletePortMapping": ["in NewRemoteHost string", "in NewExternalPort ui2", "in NewProtocol string"],
    "GetExternalIPAddress": ["out NewExternalIPAddress string"],
    "GetSpecificPortMappingEntry": [
        "in NewRemoteHost string", "in NewExternalPort ui2", "in NewProtocol string", "out NewInternalPort ui2",
        "out NewInternalClient string", "out NewEnabled boolean", "out NewPortMappingDescription string",
        "out NewLeaseDuration ui4",
    ],
}  # fmt: skip


def say(*what: object) -> None:
    """One line, in one piece: several threads say something."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class Ports:
    """What is mapped, for both ways of asking."""

    def __init__(self, inside: str, outside: str, natpmp: str, upnp: str) -> None:
        self.inside, self.outside = inside, outside
        self.behaves = {"natpmp": natpmp, "upnp": upnp}
        self.taken: set[int] = set()
        self.began = time.monotonic()
        self.mapped: dict[tuple[str, int], tuple[str, int]] = {}

    def map(self, protocol: str, port: int, client: str, own: int, seconds: int) -> None:
        self.mapped[protocol, port] = client, own
        say("mapped", protocol, port, client, own, seconds)
        self.apply()

    def unmap(self, protocol: str, client: str, own: int) -> None:
        self.mapped = {key: to for key, to in self.mapped.items() if (key[0], *to) != (protocol, client, own)}
        say("unmapped", protocol, own)
        self.apply()

    def forget(self) -> None:
        self.mapped.clear()
        self.began = time.monotonic()
        self.apply()

    def apply(self) -> None:
        rules = "".join(
            f"iifname outside {protocol} dport {port} dnat to {client}:{own};\n"
            for (protocol, port), (client, own) in self.mapped.items()
        )
        table = f"table ip ports {{ chain in {{ type nat hook prerouting priority -100;\n{rules} }}; }}"
        script = f"table ip ports {{}}\ndelete table ip ports\n{table}"
        subprocess.run(["nft", "-f", "-"], input=script, text=True, check=True)


def serve_natpmp(ports: Ports) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((ports.inside, 5351))
        while True:
            data, client = sock.recvfrom(1100)
            match ports.behaves["natpmp"]:
                case "no":
                    continue
                case "garbage":
                    for size in range(200):
                        sock.sendto(b"\x01" * size, client)
                case "refuses":
                    sock.sendto(bytes((0, data[1] + 128)) + struct.pack("!HI", 2, 1), client)
                case _:
                    sock.sendto(answer_natpmp(ports, data, client[0]), client)


def answer_natpmp(ports: Ports, data: bytes, client: str) -> bytes:
    lies = ports.behaves["natpmp"] == "lies"
    head = bytes((0, data[1] + 128)) + struct.pack("!HI", 0, int(time.monotonic() - ports.began))
    if data[1] == 0:
        say("asked")
        return head + socket.inet_aton("127.0.0.1" if lies else ports.outside)
    protocol = {1: "udp", 2: "tcp"}[data[1]]
    own, wanted, seconds = struct.unpack("!HHI", data[4:12])
    if seconds == 0:
        ports.unmap(protocol, client, own)
        return head + struct.pack("!HHI", own, 0, 0)
    while wanted in ports.taken:
        wanted += 1
    if not lies:
        ports.map(protocol, wanted, client, own, seconds)
    return head + struct.pack("!HHI", own, wanted, seconds)


def serve_search(ports: Ports) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("", 1900))
        group = socket.inet_aton("239.255.255.250") + socket.inet_aton(ports.inside)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
        while True:
            _, client = sock.recvfrom(2048)
            host = "127.0.0.1" if ports.behaves["upnp"] == "elsewhere" else ports.inside
            answer = f"HTTP/1.1 200 OK\r\nST: {DEVICE}InternetGatewayDevice:1\r\nLOCATION: http://{host}:5000/root\r\n\r\n"
            if ports.behaves["upnp"] != "no":
                sock.sendto(answer.encode(), client)


def description() -> str:
    service = (
        f"<serviceList><service><serviceType>{SERVICE}</serviceType><serviceId>urn:upnp-org:serviceId:WANIPConn1"
        "</serviceId><controlURL>/control</controlURL><eventSubURL>/event</eventSubURL><SCPDURL>/service</SCPDURL>"
        "</service></serviceList>"
    )
    inner = service
    for kind in ("WANConnectionDevice", "WANDevice", "InternetGatewayDevice"):
        named = f"<deviceType>{DEVICE}{kind}:1</deviceType><friendlyName>x</friendlyName><UDN>uuid:{kind}</UDN>"
        within = inner if inner is service else f"<deviceList>{inner}</deviceList>"
        inner = f"<device>{named}{within}</device>"
    return f'<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0">{inner}</root>'


def actions() -> str:
    listed, variables = "", set()
    for name, arguments in ARGUMENTS.items():
        listed += f"<action><name>{name}</name><argumentList>"
        for argument in arguments:
            way, variable, kind = argument.split()
            variables.add((variable, kind))
            listed += (
                f"<argument><name>{variable}</name><direction>{way}</direction>"
                f"<relatedStateVariable>{variable}</relatedStateVariable></argument>"
            )
        listed += "</argumentList></action>"
    table = "".join(
        f'<stateVariable sendEvents="no"><name>{name}</name><dataType>{kind}</dataType></stateVariable>'
        for name, kind in sorted(variables)
    )
    scpd = '<?xml version="1.0"?><scpd xmlns="urn:schemas-upnp-org:service-1-0">'
    return f"{scpd}<actionList>{listed}</actionList><serviceStateTable>{table}</serviceStateTable></scpd>"


class Fault(Exception):
    """A UPnP error, by its number."""


class Handler(BaseHTTPRequestHandler):
    """The description, and the calls."""

    ports: Ports

    def log_message(self, *_: object) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        match self.ports.behaves["upnp"]:
            case "garbage":
                self.reply("<root><device>" * 5000)
            case "endless":
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                while True:
                    self.wfile.write(b"x" * 10000)
            case _:
                self.reply(description() if self.path == "/root" else actions())

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        action = self.headers["SOAPAction"].rpartition("#")[2].strip('"')
        given = dict(re.findall(r"<(New\w+)>([^<]*)</New", body))
        start = '<?xml version="1.0"?><s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>'
        try:
            told = "".join(f"<{name}>{value}</{name}>" for name, value in self.called(action, given).items())
            answer = f'<u:{action}Response xmlns:u="{SERVICE}">{told}</u:{action}Response>'
            self.reply(f"{start}{answer}</s:Body></s:Envelope>")
        except Fault as fault:
            error = f'<UPnPError xmlns="urn:schemas-upnp-org:control-1-0"><errorCode>{fault}</errorCode></UPnPError>'
            named = "<faultcode>s:Client</faultcode><faultstring>UPnPError</faultstring>"
            fault_ = f"<s:Fault>{named}<detail>{error}</detail></s:Fault>"
            self.reply(f"{start}{fault_}</s:Body></s:Envelope>", 500)

    def called(self, action: str, given: dict[str, str]) -> dict[str, object]:
        ports, port = self.ports, int(given.get("NewExternalPort", 0))
        protocol = given.get("NewProtocol", "").lower()
        if action == "GetExternalIPAddress":
            say("asked")
            return {"NewExternalIPAddress": "nowhere.example" if ports.behaves["upnp"] == "lies" else ports.outside}
        if action == "GetSpecificPortMappingEntry":
            if (protocol, port) not in ports.mapped:
                raise Fault(714)
            client, own = ports.mapped[protocol, port]
            return {"NewInternalPort": own, "NewInternalClient": client, "NewEnabled": 1,
                    "NewPortMappingDescription": "x", "NewLeaseDuration": 60}  # fmt: skip
        if action == "DeletePortMapping":
            if (protocol, port) not in ports.mapped:
                raise Fault(714)
            ports.unmap(protocol, *ports.mapped[protocol, port])
            return {}
        seconds = int(given["NewLeaseDuration"])
        if ports.behaves["upnp"] == "for ever" and seconds:
            raise Fault(725)
        if port in ports.taken:
            raise Fault(718)
        ports.map(protocol, port, given["NewInternalClient"], int(given["NewInternalPort"]), seconds)
        return {}

    def reply(self, text: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "text/xml")
        self.end_headers()
        self.wfile.write(text.encode())


def main(inside: str, outside: str, natpmp: str, upnp: str) -> None:
    ports = Ports(inside, outside, natpmp, upnp)
    Handler.ports = ports
    server = ThreadingHTTPServer((inside, 5000), Handler)
    for work in (lambda: serve_natpmp(ports), lambda: serve_search(ports), server.serve_forever):
        threading.Thread(target=work, daemon=True).start()
    say("here")
    for line in sys.stdin:
        what, _, value = line.strip().partition(" ")
        match what:
            case "forget":
                ports.forget()
            case "outside":
                ports.outside = value
            case "taken":
                ports.taken = {int(port) for port in value.split()}
            case "natpmp" | "upnp":
                ports.behaves[what] = value
        say("done")


if __name__ == "__main__":
    main(*sys.argv[1:])
