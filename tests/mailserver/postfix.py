"""Postfix for one instance: submission, submissions, and an MX as the world sees it. Needs root."""

import grp
import os
import pwd
import subprocess
import time
from collections.abc import Mapping

from tests.mailserver import recipients
from tests.mailserver.instance import Site
from tests.mailserver.net import HOST
from tests.mailserver.options import Options

SETTLED_S = 60  # Postfix waits while a configuration file is younger than a second

_ASKED = ("daemon_directory", "command_directory", "mail_owner", "setgid_group", "mail_version")
_PRIVATE_QUEUES = ("incoming", "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "saved", "trace")


def postfix_defaults() -> dict[str, str]:
    """What this machine's Postfix was built with."""
    output = subprocess.run(["postconf", "-d", *_ASKED], capture_output=True, text=True, check=True).stdout
    return dict(line.split(" = ", 1) for line in output.strip().splitlines())


def write_postfix(options: Options, site: Site, defaults: Mapping[str, str]) -> None:
    """Make the queue, and write all files of the configuration."""
    _make_queue(site, defaults)
    files = {
        "main.cf": _main_cf(options, site, defaults),
        "master.cf": _master_cf(site),
        "transport": recipients.transport_table(site.ports["mx"]),
        "sub_access": recipients.AT_RCPT,
        "sub_eod": recipients.AT_END_OF_DATA,
        "mx_access": recipients.AT_NEXT_MTA,
    }
    old = time.time() - SETTLED_S
    for name, text in files.items():
        site.write(f"pf/etc/{name}", text)
        os.utime(site.path("pf", "etc", name), (old, old))


def _make_queue(site: Site, defaults: Mapping[str, str]) -> None:
    owner = pwd.getpwnam(defaults["mail_owner"])
    dropping = grp.getgrnam(defaults["setgid_group"]).gr_gid
    queue = site.path("pf", "queue")
    (queue / "pid").mkdir(parents=True)
    owned = {"private": (0o700, owner.pw_gid), "public": (0o710, dropping), "maildrop": (0o730, dropping)}
    for name, (mode, group) in (owned | dict.fromkeys(_PRIVATE_QUEUES, (0o700, owner.pw_gid))).items():
        (queue / name).mkdir()
        os.chown(queue / name, owner.pw_uid, group)
        (queue / name).chmod(mode)
    data = site.path("pf", "data")
    data.mkdir()
    os.chown(data, owner.pw_uid, owner.pw_gid)
    data.chmod(0o700)


def _lmtp(site: Site) -> str:
    return f"lmtp:inet:{HOST}:{site.ports['lmtp']}"


def _main_cf(options: Options, site: Site, defaults: Mapping[str, str]) -> str:
    base = site.directory
    extra = "\n".join(options.postfix_set)
    return f"""# generated for a test
compatibility_level = 3.6
queue_directory = {base}/pf/queue
data_directory = {base}/pf/data
daemon_directory = {defaults["daemon_directory"]}
command_directory = {defaults["command_directory"]}
mail_owner = {defaults["mail_owner"]}
setgid_group = {defaults["setgid_group"]}
maillog_file = {base}/log/postfix.log
maillog_file_prefixes = {base}/log
myhostname = mta.mail.test
mydomain = mail.test
myorigin = mail.test
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
mynetworks = 192.0.2.255/32
relay_domains =
inet_interfaces = {HOST}
inet_protocols = ipv4
smtp_host_lookup = native
smtp_dns_support_level = disabled
lmtp_host_lookup = native
smtpd_peername_lookup = no
virtual_mailbox_domains = static:all
virtual_mailbox_maps =
virtual_alias_maps =
virtual_transport = {_lmtp(site)}
transport_maps = regexp:{base}/pf/etc/transport
default_transport = error:5.4.4 this test server relays nowhere
smtpd_reject_unlisted_recipient = no
recipient_delimiter = +
message_size_limit = {options.message_size}
mailbox_size_limit = 0
virtual_mailbox_limit = 0
disable_vrfy_command = yes
biff = no
smtpd_banner = $myhostname ESMTP Postfix
smtpd_tls_cert_file = {base}/tls/server.crt
smtpd_tls_key_file = {base}/tls/server.key
smtpd_tls_security_level = may
smtpd_tls_auth_only = {"yes" if options.require_tls else "no"}
smtpd_tls_session_cache_database =
smtp_tls_session_cache_database =
smtpd_sasl_type = dovecot
smtpd_sasl_path = {base}/run/auth-postfix
smtpd_sasl_security_options = noanonymous
smtpd_relay_restrictions = permit_sasl_authenticated, permit_auth_destination, reject
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 1000
smtpd_hard_error_limit = 1000
smtpd_junk_command_limit = 10000
smtpd_client_connection_count_limit = 0
smtpd_recipient_limit = 1000
smtpd_timeout = 300s
in_flow_delay = 0
service_throttle_time = 1s
default_process_limit = 200
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = {options.retry}s
maximal_queue_lifetime = {options.queue_lifetime}s
bounce_queue_lifetime = {options.queue_lifetime}s
delay_warning_time = {options.delay_warning}s
transport_retry_time = 1s
destination_concurrency_feedback_debug = no
smtp_destination_concurrency_failed_cohort_limit = 0
lmtp_destination_concurrency_failed_cohort_limit = 0
default_destination_concurrency_failed_cohort_limit = 0
lmtp_destination_recipient_limit = 50
smtp_connect_timeout = 5s
smtputf8_enable = yes
smtputf8_autodetect_classes = all
smtpd_policy_service_timeout = 20s
{recipients.SLOW_CLASSES}{extra}
"""


def _policy(site: Site, context: str) -> str:
    return f"check_policy_service {{ inet:{HOST}:{site.ports['policy']}, policy_context={context} }}"


def _submission_settings(site: Site) -> str:
    table = f"check_recipient_access regexp:{site.directory}/pf/etc/"
    policy = _policy(site, "submission")
    return f"""  -o smtpd_sasl_auth_enable=yes
  -o {{smtpd_recipient_restrictions={table}sub_access, {policy}, permit_sasl_authenticated, reject}}
  -o {{smtpd_relay_restrictions=permit_sasl_authenticated, reject}}
  -o {{smtpd_end_of_data_restrictions={table}sub_eod}}
"""


def _mx_settings(site: Site) -> str:
    table = f"check_recipient_access regexp:{site.directory}/pf/etc/mx_access"
    return f"""  -o smtpd_sasl_auth_enable=no
  -o content_filter={_lmtp(site)}
  -o {{smtpd_recipient_restrictions={table}, {_policy(site, "mx")}, permit_auth_destination, reject}}
"""


def _master_cf(site: Site) -> str:
    ports = site.ports
    return f"""{HOST}:{ports["submission"]} inet n - n - 200 smtpd
  -o syslog_name=postfix/submission
{_submission_settings(site)}{HOST}:{ports["submissions"]} inet n - n - 200 smtpd
  -o syslog_name=postfix/submissions
  -o smtpd_tls_wrappermode=yes
{_submission_settings(site)}{HOST}:{ports["mx"]} inet n - n - 200 smtpd
  -o syslog_name=postfix/mx
  -o myhostname=mx.mail.test
{_mx_settings(site)}{_DAEMONS}"""


_DAEMONS = """pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 1 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
