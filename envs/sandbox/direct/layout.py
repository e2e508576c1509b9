"""Where things are inside every sandbox, and the environment that its programs begin with."""

from __future__ import annotations

from repodrome.envs.sandbox.base import ENV_PREFIX, HOME

CONTROL = "/run/repodrome"
"""Directory of the host's FIFOs and scripts, read-only inside."""
BASE_ENV = {
    "PATH": f"{ENV_PREFIX}/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
    "HOME": HOME,
    "USER": "agent",
    "LOGNAME": "agent",
    "SHELL": "/bin/bash",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "TMPDIR": "/tmp",
    "PAGER": "cat",
    "GIT_PAGER": "cat",
    "GIT_AUTHOR_NAME": "agent",
    "GIT_AUTHOR_EMAIL": "agent@localhost",
    "GIT_COMMITTER_NAME": "agent",
    "GIT_COMMITTER_EMAIL": "agent@localhost",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
}
