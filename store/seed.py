"""A file of the former program: an identity that was paired with devices, from which ours can begin.

The rule: what it says is another program's and is believed only as far as it makes sense. Its keys are of another kind
and open nothing here, so this device gets a new identity with the old name, and each device has to be paired again;
until then it is remembered (``store/before.py``).

The format: salt (32 bytes), nonce (12), AES-256-GCM ciphertext with its tag; the key is PBKDF2-HMAC-SHA256 of the
passphrase, 100,000 iterations. Inside is the JSON that serde writes of a ``PersistentNetworkIdentity``: enum variants
by name, durations as ``secs`` and ``nanos``, times as of RFC 3339, addresses as multiaddrs. The format has nothing that
tells a wrong passphrase from a damaged file.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar
from uuid import UUID

from springline.errors import Damaged, Misuse, WrongPassphrase
from springline.store import before
from springline.store.before import KnownBefore
from springline.store.config import DeviceConfig
from springline.store.devices import PersistentNetworkIdentity, TrustLevel
from springline.store.identity import MOST_ADDRESSES, NetworkIdentity, clean_name
from springline.store.moving import Moved
from springline.store.preferences import ConnectionConfig
from springline.store.vault import Vault

SALT_SIZE, NONCE_SIZE, TAG_SIZE = 32, 12, 16
ITERATIONS = 100_000
MOST_BYTES = 64 << 20
MOST_DEVICES = 10_000
_TRANSPORTS = {"Tcp": "tcp", "Quic": "quic", "WebSocket": "websocket", "WebRtc": "webrtc"}
_LONGEST_HOST = 100

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class SeedIdentity:
    """What is kept of the file.

    :param device_id: as it was. :param name: this device's, or ``""`` if the file does not say.
    """

    device_id: UUID
    name: str
    updated_at: datetime
    devices: tuple[KnownBefore, ...]


def open_seed(blob: bytes, passphrase: bytes) -> SeedIdentity:
    """Open such a file.

    :raises WrongPassphrase: the passphrase is wrong or the file is damaged. :raises Damaged: it can't be such a file,
        or what is inside makes no sense.
    """
    if not SALT_SIZE + NONCE_SIZE + TAG_SIZE < len(blob) <= MOST_BYTES:
        raise Damaged("this is no identity of the former format: it has another size")
    try:
        fields = json.loads(_opened(blob, passphrase))
        own = fields["identity"]
        entries = fields["paired_devices"]
        if not isinstance(entries, dict) or len(entries) > MOST_DEVICES:
            raise ValueError("paired_devices")
        devices = tuple(_device(UUID(device), entry) for device, entry in entries.items())
        return SeedIdentity(UUID(own["device_id"]), _name(own), _moment(fields["updated_at"]), devices)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError, Misuse):
        raise Damaged("the former identity makes no sense") from None


def opened(blob: bytes, passphrase: bytes, now: datetime) -> BegunAnew:
    """What a store is to begin with that follows such a file; errors as of :func:`open_seed`."""
    found = open_seed(blob, passphrase)
    identity = NetworkIdentity.new()
    made = DeviceConfig(identity.device_id, found.name or "device", now)
    return BegunAnew(made, PersistentNetworkIdentity(identity, now), {}, found.devices)


@dataclass(frozen=True, slots=True)
class BegunAnew(Moved):
    """A new identity that remembers whom the former one knew."""

    known: tuple[KnownBefore, ...] = ()

    def fill(self, vault: Vault) -> None:
        """Put them into a store."""
        before.save(vault.layout, vault.data_key, self.known)


def _opened(blob: bytes, passphrase: bytes) -> bytes:
    from cryptography.exceptions import InvalidTag  # a heavy library, for a command that is run once
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    salt, nonce, sealed = blob[:SALT_SIZE], blob[SALT_SIZE:][:NONCE_SIZE], blob[SALT_SIZE + NONCE_SIZE :]
    key = hashlib.pbkdf2_hmac("sha256", passphrase, salt, ITERATIONS)
    try:
        return AESGCM(key).decrypt(nonce, sealed, None)
    except InvalidTag:
        hint = "the former format does not tell which"
        raise WrongPassphrase("the passphrase is wrong, or the file is damaged", hint) from None


def _device(device: UUID, entry: dict[str, Any]) -> KnownBefore:
    config = entry["connection_config"]
    last = entry["last_connected"]
    return KnownBefore(
        device,
        _name(entry["device_info"]) or str(device)[:8],
        _moment(entry["paired_at"]),
        _moment(last) if last is not None else None,
        TrustLevel[str(entry["trust_level"]).upper()],
        entry["auto_connect"] is True,
        _preferences(config if isinstance(config, dict) else {}),
    )


def _preferences(config: dict[str, Any]) -> ConnectionConfig:
    default = ConnectionConfig()
    policy = config.get("retry_policy")
    policy = policy if isinstance(policy, dict) else {}
    first = _seconds(policy.get("initial_delay"), default.retry_first)
    known = _each(config.get("known_addresses"), _address)[:MOST_ADDRESSES]
    transports = _each(config.get("preferred_transports"), lambda name: _TRANSPORTS.get(str(name)))
    return ConnectionConfig(
        tuple(dict.fromkeys(known)),
        tuple(dict.fromkeys(transports)) or default.preferred_transports,
        max(1.0, _seconds(config.get("keepalive_interval"), default.keepalive_interval)),
        first,
        max(first, _seconds(policy.get("max_delay"), default.retry_cap)),
    )


def _each(values: object, read: Callable[[Any], Value | None]) -> list[Value]:
    """What could be read of a list; what could not is left out: it is a preference, not a promise."""
    found: Iterable[Value | None] = map(read, values) if isinstance(values, list) else ()
    return [value for value in found if value is not None]


def _address(multiaddr: object) -> str | None:
    """``host:port`` of a multiaddr with TCP, or None."""
    parts = multiaddr.split("/") if isinstance(multiaddr, str) else []
    if len(parts) < 5 or parts[0] or parts[3] != "tcp" or not parts[4].isascii() or not parts[4].isdigit():
        return None
    kind, host, port = parts[1], parts[2], int(parts[4][:6])
    try:
        if kind in ("ip4", "ip6"):
            ip = ipaddress.ip_address(host)
            host = f"[{ip}]" if ip.version == 6 else str(ip)
        elif kind not in ("dns", "dns4", "dns6"):
            return None
    except ValueError:
        return None
    sound = host and len(host) <= _LONGEST_HOST and host.isascii() and host.isprintable() and 0 < port < 65536
    return f"{host}:{port}" if sound and not set(host) & set(" /") else None


def _seconds(duration: object, default: float) -> float:
    """A duration of serde's, at most an hour."""
    if not isinstance(duration, dict):
        return default
    secs, nanos = duration.get("secs"), duration.get("nanos", 0)
    if type(secs) is not int or type(nanos) is not int or secs < 0 or nanos < 0 or secs + nanos == 0:
        return default
    return min(3600.0, min(secs, 3600) + min(nanos, 10**9) / 1e9)


def _moment(text: str) -> datetime:
    found = datetime.fromisoformat(text)
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _name(info: dict[str, Any]) -> str:
    name = info.get("device_name")
    return clean_name(name) if isinstance(name, str) and name.strip() else ""
