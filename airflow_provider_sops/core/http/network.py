# SPDX-License-Identifier: Apache-2.0
"""The way to one address: which proxy stands on it, and what certificates are verified by.

This is the one place that looks at the environment. HTTP libraries read different variables, and the same ones
differently, but workers and triggerers must reach a site alike: both clients are told the way, and look no further.
"""

from __future__ import annotations

import ipaddress
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

from airflow_provider_sops.core.errors import SopsConfigError
from airflow_provider_sops.core.http.transport import TransportSettings

#: Variables that name CA certificates, a file or a directory: the first that is set counts.
CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
#: What OpenSSL looks for in a directory of certificates.
_HASHED_NAME = re.compile(r"[0-9a-f]{8}\.\d+")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Route:
    """How requests reach one address."""

    #: the proxy's address with its scheme; empty where there is none. It may hold a password.
    proxy: str = field(default="", repr=False)
    #: verify certificates: no, against those that come with Python's HTTP libraries, or against this file or directory
    verify: bool | str = True
    #: whether certificates matter at all
    speaks_tls: bool = True

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""
        password = urlsplit(self.proxy).password
        return (password,) if password else ()

    def tls_context(self) -> ssl.SSLContext | None:
        """Make what TLS is spoken with, ``None`` where none is; reads the certificates, which takes a moment."""
        if not self.speaks_tls:
            return None
        if self.verify is False:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            return context
        import certifi

        path = certifi.where() if self.verify is True else self.verify
        if os.path.isfile(path):
            return ssl.create_default_context(cafile=path)
        return ssl.create_default_context(capath=path)


def route_to(base_url: str, settings: TransportSettings) -> Route:
    """Find the way to an address: from the connection's settings, and where these say nothing from the environment.

    :raises SopsConfigError: names the field, or the variable, whose certificates cannot be used or whose proxy is none.
    """
    proxy = _proxy_to(base_url, settings.proxies)
    speaks_tls = base_url.startswith("https:") or proxy.startswith("https:")
    return Route(proxy, _certificates(settings.verify, speaks_tls), speaks_tls)


def is_proxy_address(url: str) -> bool:
    """Return whether a text is a proxy's address, with its scheme."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https", "socks5", "socks5h") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _certificates(verify: bool | str, speaks_tls: bool) -> bool | str:
    if isinstance(verify, str):
        _check_certificates("verify", verify)
        return verify
    if verify and speaks_tls:
        for name in CA_VARIABLES:
            path = os.environ.get(name, "").strip()
            if path:
                _check_certificates(name, path)
                return path
    return verify


def _check_certificates(name: str, path: str) -> None:
    """Try the certificates: a library would tell of bad ones at the first request, in words that name no field."""
    problem = ""
    try:
        if os.path.exists(path) and not os.path.isfile(path):
            if not any(_HASHED_NAME.fullmatch(one) for one in os.listdir(path)):
                problem = f"is a directory without certificates under hashed names: run 'openssl rehash {path}'"
        elif name == "SSL_CERT_DIR":  # may be several
            if not any(os.path.isdir(one) for one in path.split(os.pathsep)):
                problem = "is no directory on this machine"
        else:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError as error:
        problem = f"holds no certificates that can be read ({error.reason or error})"
    except FileNotFoundError:
        problem = "is not there: no such file or directory on this machine"
    except OSError as error:
        problem = f"cannot be read on this machine ({error.strerror})"
    if problem:
        where = "" if name == "verify" else " (a variable of this process' environment)"
        raise SopsConfigError(name, f"{path!r}{where} {problem}")


def _proxy_to(base_url: str, proxies: Mapping[str, str]) -> str:
    parts = urlsplit(base_url)
    proxy = proxies.get(parts.scheme) or proxies.get("all") or ""
    name = "proxies"
    if not proxy:
        # not the system's settings, as some libraries do on some systems: what counts is the same everywhere
        environment = getproxies_environment()
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        if _needs_no_proxy(host, port, environment.get("no", "")):
            return ""
        name = f"{parts.scheme}_proxy" if environment.get(parts.scheme) else "all_proxy"
        proxy = (environment.get(parts.scheme) or environment.get("all") or "").strip()
        if proxy and "://" not in proxy:
            proxy = f"http://{proxy}"
        if proxy and not is_proxy_address(proxy):  # it is not shown: it may hold a password
            raise SopsConfigError(
                name,
                "(a variable of this process' environment) must be an address like http://proxy.example.com:3128",
            )
    if proxy.startswith("socks") and not (find_spec("socks") and find_spec("socksio")):
        raise SopsConfigError(
            name, "a SOCKS proxy needs two more packages: pip install 'requests[socks]' 'httpx[socks]'"
        )
    return proxy


def _needs_no_proxy(host: str, port: int, no_proxy: str) -> bool:
    """Return whether ``NO_PROXY`` names a host: by name or domain, address or network (CIDR), with or without port."""
    return any(_names(entry, host, port) for entry in re.split(r"[,\s]+", no_proxy.lower()) if entry)


def _names(entry: str, host: str, port: int) -> bool:
    if entry == "*":
        return True
    match = re.fullmatch(r"(?:\[(?P<address>[^\]]+)\]|(?P<name>[^:]+))(?::(?P<port>\d+))?", entry)
    name = (match["address"] or match["name"]) if match else entry  # an IPv6 address has colons of its own
    if match and match["port"] and int(match["port"]) != port:
        return False
    try:
        network = ipaddress.ip_network(name, strict=False)
    except ValueError:
        domain = name.lstrip("*").strip(".")
        return bool(domain) and (host == domain or host.endswith(f".{domain}"))
    try:
        return ipaddress.ip_address(host) in network
    except ValueError:
        return False
