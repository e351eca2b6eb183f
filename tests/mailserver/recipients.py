"""Recipient addresses with a life of their own: what the MTA does with them, as Postfix access and transport tables."""

from tests.mailserver.net import HOST

ADDRESSES = """
recipient address (any domain)  what happens
------------------------------  ---------------------------------------------
anything@any.domain             delivered to that user's INBOX (users exist on demand)
user+detail@any.domain          delivered to user
-- answers to the submitter, at RCPT TO or at the end of DATA
reject-5NN@                     5NN 5.7.1 at RCPT
defer-4NN@                      4NN 4.7.1 at RCPT, always
greylist-rcpt*@                 450 4.7.1 at RCPT until --greylist seconds have passed
slow-N@                         RCPT answered after N s (1,2,3,5,10,20,30,60,120)
rejectdata-5NN@                 5NN after the message (single recipient)
deferdata-4NN@                  4NN after the message (single recipient)
slowdata-N@                     end of DATA answered after N s (single recipient)
-- accepted, then a real delivery status notification to the sender
unknown@ nouser@ @unknown.test  550 5.1.1 from Dovecot LMTP: failure DSN (also with +detail)
bounce-5NN@                     5NN from the next MTA: failure DSN
full@ mailbox-full@             552 5.2.2 from the next MTA: failure DSN
anything@nxdomain.test          5.4.4 no such domain: failure DSN
-- accepted, then delayed
greylist*@ retry*@              451 from the next MTA, delivered on the retry
stuck*@ anything@dead.test      deferred for good: delay DSN after --delay-warning,
                                failure DSN after --queue-lifetime
-- delivered, then answered
autoreply*@ vacation*@          Sieve vacation reply to the sender
"""
UNKNOWN_USERS = ("unknown", "nouser")
UNKNOWN_DOMAIN = "unknown.test"
SLOW_SECONDS = (1, 2, 3, 5, 10, 20, 30, 60, 120)

AT_RCPT = """/^reject-(5[0-9][0-9])[^@]*@/  $1 5.7.1 Recipient rejected by test rule
/^defer-(4[0-9][0-9])[^@]*@/  $1 4.7.1 Recipient deferred by test rule
""" + "".join(f"/^slow-{seconds}@/  slow{seconds}\n" for seconds in SLOW_SECONDS)

AT_END_OF_DATA = """/^rejectdata-(5[0-9][0-9])[^@]*@/  $1 5.7.1 Message rejected by test rule
/^deferdata-(4[0-9][0-9])[^@]*@/  $1 4.7.1 Message deferred by test rule
""" + "".join(f"/^slowdata-{seconds}@/  slow{seconds}\n" for seconds in SLOW_SECONDS)

AT_NEXT_MTA = """/^bounce-551[^@]*@/  551 5.1.6 User not local
/^bounce-552[^@]*@/  552 5.2.2 Mailbox full
/^bounce-553[^@]*@/  553 5.1.3 Mailbox name not allowed
/^bounce-554[^@]*@/  554 5.7.1 Message refused by policy
/^bounce-(5[0-9][0-9])[^@]*@/  $1 5.1.1 The email account that you tried to reach does not exist
/^(full|mailbox-full)@/  552 5.2.2 The recipient's mailbox is full
/^stuck[^@]*@/  451 4.3.0 Temporary system problem
"""

# smtpd_restriction_classes of main.cf: `sleep` is Postfix's own restriction
SLOW_CLASSES = f"""smtpd_restriction_classes = {", ".join(f"slow{seconds}" for seconds in SLOW_SECONDS)}
""" + "".join(f"slow{seconds} = sleep {seconds}\n" for seconds in SLOW_SECONDS)


def transport_table(mx_port: int) -> str:
    """Which recipients go another way than straight into a mailbox; the next MTA is our own at `mx_port`."""
    return f"""/@nxdomain\\.test$/  error:5.4.4 Host or domain name not found
/@dead\\.test$/  smtp:[{HOST}]:1
/^(bounce-5[0-9][0-9]|full|mailbox-full|greylist|retry|stuck)[^@]*@/  smtp:[{HOST}]:{mx_port}
"""


def sieve_script(prefix: str) -> str:
    """What every mailbox does at delivery: file spam, answer for those who are away."""
    return f"""require ["envelope", "vacation", "vacation-seconds", "fileinto"];
if header :is "X-Spam" "yes" {{ fileinto "{prefix}Junk"; stop; }}
if envelope :localpart :matches "to" ["autoreply*", "vacation*"] {{
  vacation :seconds 0 :subject "Out of office" "I am away until Monday.";
}}
"""
