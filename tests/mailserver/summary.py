"""What a client needs to know of a running instance: ports, logins, paths. Also written into its directory."""

import os
from collections.abc import Mapping
from typing import Any

from tests.mailserver.dovecot import dovecot_version
from tests.mailserver.instance import Site
from tests.mailserver.net import HOST
from tests.mailserver.oauth import CLIENT_ID, CLIENT_SECRET
from tests.mailserver.options import Options


def instance_info(options: Options, site: Site, postfix: Mapping[str, str]) -> dict[str, Any]:
    """The JSON of `start`, `run`, `status` and `GET /status`; ports that are not served are None."""
    base = f"http://{HOST}:{site.ports['http']}"
    return {
        "pid": os.getpid(),
        "dir": str(site.directory),
        "host": HOST,
        "mta": "postfix" if postfix else "none",
        **_ports(options, site, with_postfix=bool(postfix)),
        "http_url": base,
        "password": options.password,
        "any_user": not options.only_users,
        "tls": {
            **{name: str(site.path("tls", file)) for name, file in _CERTIFICATES.items()},
            "kind": options.cert,
        },
        "oauth": None if options.oauth == "off" else _oauth(options, base),
        "dropped_capabilities": sorted(options.dropped),
        "strict": options.strict,
        "logs": _logs(options, site, with_postfix=bool(postfix)),
        "mail": str(site.path("mail")),
        "storage": options.storage,
        "separator": options.separator,
        "mail_uid": site.owner.uid,
        "mail_gid": site.owner.gid,
        "max_connections": site.max_connections,
        "versions": {"dovecot": dovecot_version(), "postfix": postfix.get("mail_version")},
    }


_CERTIFICATES = {"ca": "ca.crt", "cert": "server.crt", "key": "server.key"}


def _ports(options: Options, site: Site, *, with_postfix: bool) -> dict[str, Any]:
    ports = site.ports
    proxied = ("imap", "imaps", *(("submission", "submissions") if with_postfix else ()))
    return {
        "imap": ports["strict_imap"] if options.fronted else ports["imap"],
        "imap_direct": ports["imap"],
        **{name: ports[name] for name in ("imaps", "lmtp", "http")},
        **{name: ports[name] if with_postfix else None for name in ("submission", "submissions", "mx")},
        "dovecot_submission": ports["dovecot_submission"] if options.dovecot_submission else None,
        "proxy": {name: ports[f"proxy_{name}"] for name in proxied},
    }


def _oauth(options: Options, base: str) -> dict[str, str]:
    paths = ("authorize", "token", "introspect", "userinfo", "mint")
    client = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
    return {"mode": options.oauth, **client, **{name: f"{base}/oauth/{name}" for name in paths}}


def _logs(options: Options, site: Site, *, with_postfix: bool) -> dict[str, str | None]:
    return {
        "dovecot": str(site.path("log", "dovecot-info.log")),
        "dovecot_errors": str(site.path("log", "dovecot.log")),
        "postfix": str(site.path("log", "postfix.log")) if with_postfix else None,
        "http": str(site.path("log", "http.log")),
        "rawlog": str(site.path("rawlog")) if options.rawlog else None,
    }
