"""Dovecot 2.3 for one instance: its configuration files, as text by name."""

import shutil
import subprocess
from collections.abc import Iterator

from tests.mailserver import recipients
from tests.mailserver.dovecot_logins import login_files, login_settings
from tests.mailserver.instance import Site, is_root
from tests.mailserver.net import HOST
from tests.mailserver.options import Options

CONFIG = "dovecot.conf"

# What Dovecot 2.3 advertises after login. Written out when something is dropped: the setting replaces the whole list.
_CAPABILITY_LINE = (
    "IMAP4rev1 SASL-IR LOGIN-REFERRALS ID ENABLE IDLE SORT SORT=DISPLAY "
    "THREAD=REFERENCES THREAD=REFS THREAD=ORDEREDSUBJECT MULTIAPPEND "
    "URL-PARTIAL CATENATE UNSELECT CHILDREN NAMESPACE UIDPLUS LIST-EXTENDED "
    "I18NLEVEL=1 CONDSTORE QRESYNC ESEARCH ESORT SEARCHRES WITHIN "
    "CONTEXT=SEARCH LIST-STATUS BINARY MOVE SNIPPET=FUZZY PREVIEW=FUZZY "
    "PREVIEW STATUS=SIZE SAVEDATE LITERAL+ NOTIFY SPECIAL-USE"
)
IMAP_CAPABILITIES = tuple(_CAPABILITY_LINE.split())
_LOCATIONS = {"maildir": "maildir:~/Maildir", "sdbox": "sdbox:~/sdbox", "mdbox": "mdbox:~/mdbox"}


def dovecot_files(options: Options, site: Site, jwt_key: bytes) -> dict[str, str]:
    """All files of the configuration, by their names in the directory."""
    sections = (
        _global_settings(options, site),
        _capability_line(options),
        _namespace(options),
        _quota(options),
        *login_settings(options, site),
        _protocols(options, site),
        _services(options, site),
        *(f"{line}\n" for line in options.dovecot_set),
    )
    sieve = {"sieve/before.sieve": recipients.sieve_script(options.prefix)}
    return {CONFIG: "".join(sections)} | sieve | login_files(options, site, jwt_key)


def dovecot_binary() -> str:
    """The server; often not in PATH."""
    return shutil.which("dovecot") or "/usr/sbin/dovecot"


def dovecot_version() -> str:
    """What `dovecot --version` says."""
    return subprocess.run([dovecot_binary(), "--version"], capture_output=True, text=True, check=False).stdout.strip()


def _yes(condition: bool) -> str:
    return "yes" if condition else "no"


def _global_settings(options: Options, site: Site) -> str:
    base = site.directory
    plugins = ["listescape"] if options.storage == "maildir" else []
    return f"""# generated for a test
instance_name = mailserver
base_dir = {base}/run
state_dir = {base}/state
log_path = {base}/log/dovecot.log
info_log_path = {base}/log/dovecot-info.log
debug_log_path = {base}/log/dovecot-debug.log
auth_verbose = yes
mail_debug = {_yes(options.debug)}
auth_debug = {_yes(options.debug)}
protocols = imap lmtp {"submission" if options.dovecot_submission else ""}
listen = {HOST}
hostname = mail.test
postmaster_address = postmaster@mail.test
ssl = {"required" if options.require_tls else "yes"}
ssl_cert = <{base}/tls/server.crt
ssl_key = <{base}/tls/server.key
login_greeting = {options.greeting}
mail_plugins = {" ".join([*plugins, *(["quota"] if options.quota else [])])}
mail_home = {base}/mail/%Ld/%Ln
mail_location = {_LOCATIONS[options.storage]}
mail_fsync = never
mailbox_idle_check_interval = {options.idle_check} s
imap_idle_notify_interval = {options.idle_notify} s
imap_max_line_length = 1M
mail_max_userip_connections = {options.max_userip or site.max_connections}
mail_max_lock_timeout = 20 s
first_valid_uid = 1
first_valid_gid = 0
recipient_delimiter = +
lmtp_save_to_detail_mailbox = no
lmtp_rcpt_check_quota = no
quota_full_tempfail = no
lda_mailbox_autocreate = yes
default_vsz_limit = 0
default_process_limit = 200
default_client_limit = {site.max_connections}
verbose_proctitle = yes
shutdown_clients = yes
{f"imap_hibernate_timeout = {options.hibernate} s" if options.hibernate else ""}
submission_host = {HOST}:{site.ports["mx"]}
"""


def _capability_line(options: Options) -> str:
    if options.caps:
        return f"imap_capability = {options.caps}\n"
    if not options.dropped and not options.add_caps:
        return ""
    offered = [*IMAP_CAPABILITIES, *options.add_caps]
    kept = [name for name in offered if not {name, name.partition("=")[0]} & options.dropped]
    return f"imap_capability = {' '.join(kept)}\n"


def _namespace(options: Options) -> str:
    return "".join(["namespace inbox {\n  inbox = yes\n", *_namespace_lines(options), "}\n"])


def _namespace_lines(options: Options) -> Iterator[str]:
    if options.separator:
        yield f"  separator = {options.separator}\n"
    if options.prefix:
        yield f"  prefix = {options.prefix}\n"
    for spec in filter(None, options.mailboxes.split(",")):
        name, _, use = spec.partition("=")
        special = f"    special_use = {use}\n" if use and "SPECIAL-USE" not in options.dropped else ""
        yield f'  mailbox "{name}" {{\n    auto = subscribe\n{special}  }}\n'


def _quota(options: Options) -> str:
    if not options.quota:
        return ""
    return f"""plugin {{
  quota = count:User quota
  quota_vsizes = yes
  quota_rule = *:storage={options.quota}
  quota_grace = 0
}}
"""


def _protocols(options: Options, site: Site) -> str:
    base = site.directory
    return f"""protocol imap {{
  mail_plugins = $mail_plugins {"imap_quota" if options.quota else ""}
  {f"rawlog_dir = {base}/rawlog" if options.rawlog else ""}
}}
protocol lmtp {{
  mail_plugins = $mail_plugins sieve
}}
plugin {{
  sieve_before = {base}/sieve/before.sieve
  sieve = ~/.dovecot.sieve
  sieve_extensions = +vacation-seconds
  sieve_vacation_min_period = 0
  sieve_vacation_dont_check_recipient = yes
}}
"""


def _services(options: Options, site: Site) -> str:
    """Every service as large as the instance may become; nothing changes its root or user when we are not root."""
    ports, most = site.ports, site.max_connections
    unjailed = "" if is_root() else "  chroot =\n"
    shared = "    mode = 0666\n"
    hibernating = f"  unix_listener imap-master {{\n    user = $default_internal_user\n{shared}  }}\n"
    text = f"""service imap-login {{
{unjailed}  service_count = 0
  client_limit = {most}
  process_min_avail = 2
  process_limit = 8
  vsz_limit = 0
  inet_listener imap {{
    port = {ports["imap"]}
  }}
  inet_listener imaps {{
    port = {ports["imaps"]}
    ssl = yes
  }}
}}
service imap {{
  process_limit = {most}
  client_limit = 1
  service_count = 200
  process_min_avail = 4
  vsz_limit = 0
{hibernating if options.hibernate else ""}}}
service lmtp {{
  process_limit = 200
  process_min_avail = 2
  service_count = 0
  inet_listener lmtp {{
    address = {HOST}
    port = {ports["lmtp"]}
  }}
}}
service auth {{
  client_limit = {most * 2}
  unix_listener auth-postfix {{
{shared}  }}
  unix_listener auth-userdb {{
{shared}  }}
}}
service auth-worker {{
  user = {"root" if is_root() else site.owner.user}
}}
service anvil {{
  client_limit = {most * 2 + 100}
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  client_limit = {most * 2 + 100}
  unix_listener stats-writer {{
{shared}  }}
}}
service imap-hibernate {{
  client_limit = {most}
  unix_listener imap-hibernate {{
{shared}  }}
}}
"""
    if options.dovecot_submission:
        text += f"""submission_relay_host = {HOST}
submission_relay_port = {ports["mx"]}
submission_relay_trusted = no
service submission-login {{
{unjailed}  service_count = 0
  inet_listener submission {{
    port = {ports["dovecot_submission"]}
  }}
}}
"""
    return text if is_root() else text + _unprivileged(site)


def _unprivileged(site: Site) -> str:
    jailed = ("anvil", "dns_client", "dict", "stats", "aggregator", "ipc")
    return f"""default_internal_user = {site.owner.user}
default_internal_group = {site.owner.group}
default_login_user = {site.owner.user}
""" + "".join(f"service {name} {{\n  chroot =\n}}\n" for name in jailed)
