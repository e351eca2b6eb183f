"""Verifying logins that nobody has stored (contract, `POST /v1/verifyAccount`)."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from postbus.api.schemas.accounts import EXAMPLE_LOGINS, EhloName, ImapInput, SmtpInput
from postbus.api.schemas.fields import Given, GivenOrFalse, Input, Output, ProxyInput
from postbus.api.schemas.messages import ListedMailbox


class VerifyInput(Input):
    """Logins to try."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "mailboxes": True,
                    **EXAMPLE_LOGINS,
                }
            ]
        }
    )

    mailboxes: bool = Field(False, description="List the mailboxes, if the IMAP login works")
    imap: GivenOrFalse[ImapInput] = Field(None, description="The IMAP side; nothing or `false` leaves it out")
    smtp: GivenOrFalse[SmtpInput] = Field(None, description="The SMTP side; nothing or `false` leaves it out")
    proxy: Given[ProxyInput] = Field(None, description="Proxy towards the mail servers, instead of the global one")
    smtp_ehlo_name: EhloName | None = Field(None, description="Name to greet the SMTP server with")


class VerifyResult(Output):
    """How a login went."""

    success: bool = Field(description="It works")
    error: Given[str] = Field(None, description="Why not, for people", examples=["connection refused"])
    code: Given[str] = Field(
        None,
        description="Why not, for programs: `ENOTFOUND`, `ECONNREFUSED`, `ETIMEDOUT`, `ETLS`, `EPROXY`, `EPROXYAUTH`, "
        "`EAUTH`, or the code of the mail server",
        examples=["AUTHENTICATIONFAILED"],
    )
    status_code: Given[int] = Field(None, description="Reply code of the SMTP server", examples=[535])
    response_text: Given[str] = Field(None, description="Words of the mail server")


class Verified(Output):
    """How the logins went; a side that was not asked for is left out."""

    imap: Given[VerifyResult] = Field(None, description="The IMAP login")
    smtp: Given[VerifyResult] = Field(None, description="The SMTP login")
    mailboxes: Given[list[ListedMailbox]] = Field(None, description="The mailboxes, INBOX first, then by path")
