"""Gets a pinned sdist from the user's own package indexes, running none of its code.

``pip download`` prepares an sdist's metadata, which runs its ``setup.py``. So only pip's *settings*
are used (index, extra indexes, find-links, certificates, proxy, …; from its files and the
environment), and the file is found and fetched here. A file counts only if it has the pinned
SHA-256, wherever it came from.
"""

from __future__ import annotations

import hashlib
import os
import re
import shlex
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urldefrag, urljoin, urlsplit
from urllib.request import url2pathname

from repodrome.errors import SetupError, UsageError
from repodrome.tasks.pip_options import pip_options

if TYPE_CHECKING:
    import requests

_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar")
_MAX_SDIST_BYTES = 1 << 30
_LISTS = ("extra-index-url", "find-links", "trusted-host")


@dataclass(frozen=True)
class PipSettings:
    """What pip is set to, as far as it matters for finding a file.

    Attributes:
        indexes: simple index URLs, the main one first.
        find_links: directories, or pages of links.
        cert: a CA bundle.
        client_cert: a client certificate.
        proxy: for HTTP and HTTPS.
        trusted_hosts: hosts whose certificate isn't checked.
        timeout: seconds a connection may be silent.
    """

    indexes: tuple[str, ...] = ()
    find_links: tuple[str, ...] = ()
    cert: str | None = None
    client_cert: str | None = None
    proxy: str | None = None
    trusted_hosts: tuple[str, ...] = ()
    timeout: float = 15.0


def pip_settings() -> PipSettings:
    """Read pip's settings; the environment alone where this Python has no pip."""
    options = pip_options("download")
    words = {key: tuple(shlex.split(options.get(key, ""))) for key in _LISTS}
    indexes: tuple[str, ...] = ()
    if options.get("no-index", "").lower() not in ("1", "true", "yes", "on"):
        main = (options["index-url"],) if "index-url" in options else _default_index()
        indexes = (*main, *words["extra-index-url"])
    return PipSettings(
        indexes=indexes,
        find_links=words["find-links"],
        cert=options.get("cert") or None,
        client_cert=options.get("client-cert") or None,
        proxy=options.get("proxy") or None,
        trusted_hosts=words["trusted-host"],
        timeout=float(options.get("timeout", options.get("default-timeout", "15"))),
    )


def _default_index() -> tuple[str, ...]:
    """The index that pip, as it is installed here, uses where none is set; from its own help."""
    command = [sys.executable, "-m", "pip", "download", "--help"]
    wide = {**os.environ, "COLUMNS": "1000"}
    said = subprocess.run(command, capture_output=True, text=True, check=False, env=wide).stdout
    found = re.search(r"--index-url.*?\(default:?\s+(https?://[^\s)]+)", said, re.DOTALL)
    return (found[1],) if found else ()


def fetch_sdist(
    project: str,
    version: str,
    sha256: str,
    target: Path,
    *,
    settings: PipSettings | None = None,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Put the sdist with that hash into the directory ``target``; its path is the result.

    Raises:
        UsageError: there is such an sdist, but with another hash.
        SetupError: it could not be found or fetched; says where it was looked for.
    """
    import requests

    settings = settings or pip_settings()
    tried: list[str] = []
    hashes: list[str] = []
    with _session(settings) as session:
        for link in _candidates(session, settings, project, version, tried):
            url, fragment = urldefrag(link)
            algorithm, _, announced = fragment.partition("=")
            if algorithm == "sha256" and announced.lower() != sha256.lower():
                hashes.append(announced)
                continue
            file = target / Path(unquote(urlsplit(url).path)).name
            if progress:
                progress(f"fetching {file.name}")
            try:
                found = _download(session, settings, url, file)
            except (requests.RequestException, OSError) as exc:
                tried.append(f"{_shown(url)}: {_shown(str(exc))}")
                continue
            if found == sha256.lower():
                return file
            file.unlink()
            hashes.append(found)
    if hashes:
        raise UsageError(
            f"{project} {version}: the sdist's sha256 is {' or '.join(sorted(set(hashes)))}, not "
            f"{sha256}. Fix: correct source.sha256 if that is the file you mean"
        )
    raise SetupError(
        f"no sdist of {project} {version} was found: check name and version, and pip's settings "
        "(index-url, extra-index-url, find-links)",
        log_tail="\n".join(tried),
    )


def _candidates(
    session: requests.Session,
    settings: PipSettings,
    project: str,
    version: str,
    tried: list[str],
) -> Iterator[str]:
    """Links to sdists of that version: find-links first, then index after index."""
    import requests

    name = re.sub(r"[-_.]+", "-", project).lower()
    pages = [*settings.find_links, *(f"{i.rstrip('/')}/{name}/" for i in settings.indexes)]
    for page in pages:
        try:
            links = _links(session, settings, page)
        except (requests.RequestException, OSError) as exc:
            tried.append(f"{_shown(page)}: {_shown(str(exc))}")
            continue
        matching = [link for link in links if _is_sdist_of(link, name, version)]
        tried.append(f"{_shown(page)}: {len(links)} files, {len(matching)} of them fit")
        yield from matching


def _links(session: requests.Session, settings: PipSettings, page: str) -> list[str]:
    """The files that a directory or an HTML page offers, as absolute URLs."""
    local = _local_path(page)
    if local is not None:
        if local.is_dir() and (local / "index.html").is_file() and page not in settings.find_links:
            local = local / "index.html"
        if local.is_dir():
            return [entry.resolve().as_uri() for entry in sorted(local.iterdir())]
        return _parsed(local.read_text(encoding="utf-8"), local.resolve().as_uri())
    accept = "application/vnd.pypi.simple.v1+html, text/html;q=0.9"
    answer = session.get(
        page,
        headers={"Accept": accept},
        timeout=settings.timeout,
        verify=_verify(settings, page),
    )
    answer.raise_for_status()
    return _parsed(answer.text, answer.url)


def _download(session: requests.Session, settings: PipSettings, url: str, file: Path) -> str:
    """Fetch a URL into a file; its SHA-256 is the result."""
    digest = hashlib.sha256()
    local = _local_path(url)
    with file.open("wb") as out:
        if local is not None:
            with local.open("rb") as data:
                while chunk := data.read(1 << 20):
                    digest.update(chunk)
                    out.write(chunk)
            return digest.hexdigest()
        with session.get(
            url, stream=True, timeout=settings.timeout, verify=_verify(settings, url)
        ) as answer:
            answer.raise_for_status()
            # Raw: the hash is that of the file, so that no Content-Encoding may be undone.
            size = 0
            for chunk in answer.raw.stream(1 << 20, decode_content=False):
                size += len(chunk)
                if size > _MAX_SDIST_BYTES:
                    raise OSError(f"longer than {_MAX_SDIST_BYTES} bytes")
                digest.update(chunk)
                out.write(chunk)
    return digest.hexdigest()


def _session(settings: PipSettings) -> requests.Session:
    import requests
    from requests.adapters import HTTPAdapter

    session = requests.Session()
    session.headers["Accept-Encoding"] = "identity"
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(max_retries=3))
    if settings.proxy:
        session.proxies = {"http": settings.proxy, "https": settings.proxy}
    if settings.client_cert:
        session.cert = settings.client_cert
    return session


def _verify(settings: PipSettings, url: str) -> bool | str:
    """As requests' ``verify``: pip's certificates, else those of the system, as pip does it."""
    parts = urlsplit(url)
    if {parts.hostname, f"{parts.hostname}:{parts.port}"} & set(settings.trusted_hosts):
        return False
    if settings.cert:
        return settings.cert
    if os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE"):
        return True  # requests reads these itself
    return ssl.get_default_verify_paths().cafile or True


def _local_path(url: str) -> Path | None:
    if url.startswith("file:"):
        return Path(url2pathname(urlsplit(url).path))
    return None if "://" in url else Path(url).expanduser()


def _is_sdist_of(link: str, name: str, version: str) -> bool:
    file = unquote(urlsplit(link).path).rpartition("/")[2]
    suffix = next((s for s in _SUFFIXES if file.endswith(s)), None)
    if suffix is None:
        return False
    stem, _, found = file.removesuffix(suffix).rpartition("-")
    if re.sub(r"[-_.]+", "-", stem).lower() != name:
        return False
    return _normal(found) == _normal(version)


def _normal(version: str) -> str:
    """Enough of PEP 440 for two spellings of a pinned version to meet; the hash decides anyhow."""
    text = version.lower().lstrip("v").replace("_", ".").replace("-", ".").replace("+", ".")
    return re.sub(r"\.?(a|b|rc|post|dev)\.?(?=\d)", r"\1", text)


class _Anchors(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.base = ""
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        href = dict(attrs).get("href")
        if href and tag == "a":
            self.links.append(href)
        elif href and tag == "base":
            self.base = href


def _parsed(html: str, url: str) -> list[str]:
    parser = _Anchors()
    parser.feed(html)
    base = urljoin(url, parser.base)
    return [urljoin(base, link) for link in parser.links]


def _shown(text: str) -> str:
    """Without the passwords that URLs may hold."""
    return re.sub(r"://[^/@\s]+@", "://****@", text)
