"""The user's own pip settings, for set-up inside a sandbox.

pip in the sandbox has another home and another prefix, so it would find none of them: they are
handed on as environment variables, with the local files that they name (certificates, ``file://``
indexes, find-links directories) to be bound.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from repodrome.tasks.home import home
from repodrome.tasks.pip_options import pip_options

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
    """What pip outside would go by, as environment variables."""
    options = pip_options("install")
    found = {
        "PIP_" + option.upper().replace("-", "_"): " ".join(value.split())
        for option, value in options.items()
    }
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
