"""The user's own pip settings, for set-up inside a sandbox.

pip in the sandbox has another home and another prefix, so it would find none of them: they are read
here, as pip would read them, and handed on as environment variables, with the local files that they
name (certificates, ``file://`` indexes, find-links directories) to be bound.
"""

from __future__ import annotations

import configparser
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from repodrome.tasks.home import home

# What a proxied or intercepted network needs besides pip's own settings.
_NETWORK = (
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY"),
    *("http_proxy", "https_proxy", "no_proxy", "all_proxy"),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR"),
)
# Settings of where things go, which in the sandbox are ours to say, and of pip's own chatter.
_OURS = frozenset(
    (
        *("PIP_CONFIG_FILE", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_PYTHON"),
        *("PIP_CACHE_DIR", "PIP_NO_CACHE_DIR", "PIP_LOG", "PIP_REQUIRE_VIRTUALENV", "PIP_REPORT"),
        *("PIP_DRY_RUN", "PIP_BREAK_SYSTEM_PACKAGES", "PIP_NO_COMPILE", "PIP_COMPILE"),
    )
)


@dataclass(frozen=True, slots=True)
class PipSettings:
    """What pip is to be given.

    Attributes:
        env: environment variables; they may hold the user's credentials, so never log them.
        paths: host files and directories they name, to be bound read-only at the same path.
    """

    env: dict[str, str]
    paths: tuple[str, ...]


def pip_settings() -> PipSettings:
    """Read pip's configuration files and the environment, later ones winning as in pip."""
    found: dict[str, str] = {}
    for file in _config_files():
        found.update(_from_file(file))
    for name, value in os.environ.items():
        if name.startswith("PIP_") and value:
            found[name] = value
    env = {name: value for name, value in found.items() if name not in _OURS}
    env.update({name: os.environ[name] for name in _NETWORK if os.environ.get(name)})
    paths = sorted({path for value in env.values() for path in _local_paths(value)})
    env.update(
        PIP_CONFIG_FILE=os.devnull,
        PIP_DISABLE_PIP_VERSION_CHECK="1",
        PIP_NO_INPUT="1",
        PIP_NO_CACHE_DIR="1",
        PIP_PROGRESS_BAR="off",
        PIP_ROOT_USER_ACTION="ignore",
    )
    return PipSettings(env=env, paths=tuple(paths))


def _config_files() -> list[Path]:
    """pip's files, lowest precedence first: global, user, site, ``PIP_CONFIG_FILE``."""
    named = os.environ.get("PIP_CONFIG_FILE")
    if named == os.devnull:
        return []
    user = home()
    config_home = Path(os.environ.get("XDG_CONFIG_HOME") or user / ".config")
    system = os.environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    files = [Path(part) / "pip" / "pip.conf" for part in reversed(system.split(":")) if part]
    files += [Path("/etc/pip.conf"), user / ".pip" / "pip.conf", config_home / "pip" / "pip.conf"]
    files.append(Path(sys.prefix) / "pip.conf")
    if named:
        files.append(Path(named))
    return files


def _from_file(file: Path) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(file.read_text(encoding="utf-8"), source=str(file))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    except (configparser.Error, UnicodeDecodeError):
        # pip itself would complain; here it must not stop tasks that install nothing new.
        return {}
    found: dict[str, str] = {}
    # A command's own section beats [global]; only installing matters here.
    for section in ("global", "install"):
        if parser.has_section(section):
            for key, value in parser.items(section):
                name = "PIP_" + key.upper().replace("-", "_")
                found[name] = " ".join(value.split())
    return found


def _local_paths(value: str) -> list[str]:
    """The existing host paths in a setting's value, none of them holding the user's home."""
    paths = []
    user = home().resolve()
    for word in dict.fromkeys([value, *value.split()]):
        is_url = word.startswith("file:")
        path = Path(unquote(urlsplit(word).path) if is_url else word)
        if not path.is_absolute() or path == Path(os.devnull) or not path.exists():
            continue
        # The pages of a local index point beside it: …/simple/<name>/ to ../../files/.
        for candidate in (path.parent, path) if is_url and path.is_dir() else (path,):
            if not user.is_relative_to(candidate.resolve()):
                paths.append(str(candidate))
                break
    return paths
