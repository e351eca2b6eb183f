"""Who may log in to Dovecot, how, and which users exist."""

import base64
from collections.abc import Iterator

from tests.mailserver import recipients
from tests.mailserver.instance import Site
from tests.mailserver.net import HOST
from tests.mailserver.options import Options

_TOKEN_MECHANISMS = ("xoauth2", "oauthbearer")


def login_settings(options: Options, site: Site) -> Iterator[str]:
    """Sections of dovecot.conf: passwords first to last, then users."""
    base = site.directory
    passwords = [name for name in options.mechanisms.split(",") if name not in _TOKEN_MECHANISMS]
    tokens = [] if options.oauth == "off" else _TOKEN_MECHANISMS
    only = f"  mechanisms = {' '.join(passwords)}\n"
    yield f"""disable_plaintext_auth = {"yes" if options.require_tls else "no"}
auth_mechanisms = {" ".join([*passwords, *tokens])}
auth_username_format = %Lu
auth_username_chars =
auth_failure_delay = {options.auth_failure_delay}
auth_cache_size = 0
auth_worker_max_count = 10
"""
    if options.deny:
        yield f"passdb {{\n  driver = passwd-file\n  deny = yes\n  args = {base}/deny\n}}\n"
    if tokens:
        mechanisms = f"  mechanisms = {' '.join(tokens)}\n"
        yield f"passdb {{\n  driver = oauth2\n{mechanisms}  args = {base}/oauth.conf\n}}\n"
    if options.users:
        args = f"  args = scheme=PLAIN username_format=%Lu {base}/users\n"
        yield f"passdb {{\n  driver = passwd-file\n{only}{args}}}\n"
    if not options.only_users:
        yield f"passdb {{\n  driver = static\n{only}  args = password={options.password}\n}}\n"
    yield from _users(site)


def login_files(options: Options, site: Site, jwt_key: bytes) -> dict[str, str]:
    """The files those sections name."""
    unknown = [*recipients.UNKNOWN_USERS, *options.unknown]
    files = {
        "unknown-users": "".join(f"{name}:::::::\n" for name in unknown),
        "unknown-domains": f"{recipients.UNKNOWN_DOMAIN}:::::::\n",
    }
    if options.users:
        pairs = [spec.partition(":")[::2] for spec in options.users.split(",")]
        files["users"] = "".join(f"{user}:{{PLAIN}}{password}\n" for user, password in pairs)
    if options.deny:
        files["deny"] = "\n".join(options.deny) + "\n"
    if options.oauth == "jwt":
        files["oauth.conf"] = f"""introspection_mode = local
local_validation_key_dict = fs:posix:prefix={site.directory}/keys/
username_attribute = email
"""
        files["keys/default/HS256/default"] = base64.b64encode(jwt_key).decode()
    if options.oauth == "introspect":
        files["oauth.conf"] = f"""introspection_mode = post
introspection_url = http://{HOST}:{site.ports["http"]}/oauth/introspect
username_attribute = email
active_attribute = active
active_value = true
timeout_msecs = 5000
max_idle_time_msecs = 60000
max_parallel_connections = 20
debug = no
"""
    return files


def _users(site: Site) -> Iterator[str]:
    """Recipients that do not exist, by local part, then by domain; everybody else does."""
    for name, form in (("unknown-users", "%Ln"), ("unknown-domains", "%Ld")):
        yield f"""userdb {{
  driver = passwd-file
  args = username_format={form} {site.directory}/{name}
  result_success = return-fail
  result_failure = continue
  result_internalfail = continue
}}
"""
    home = f"uid={site.owner.uid} gid={site.owner.gid} home={site.directory}/mail/%Ld/%Ln"
    yield f"userdb {{\n  driver = static\n  args = {home} allow_all_users=yes\n}}\n"
