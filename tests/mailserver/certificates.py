"""A certificate authority of our own, and the server's certificate: a good one, or one that is wrong on purpose."""

import subprocess
from pathlib import Path

KINDS = ("good", "expired", "wronghost", "selfsigned")
DAYS = "30"

_GOOD_NAMES = "DNS:localhost,DNS:mail.test,DNS:*.mail.test,IP:127.0.0.1,IP:::1"
_WRONG_NAMES = "DNS:other.invalid"
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
_EXTENSIONS = """[req]
distinguished_name=dn
[dn]
[ca]
basicConstraints=critical,CA:TRUE
keyUsage=critical,keyCertSign,cRLSign
subjectKeyIdentifier=hash
[srv]
basicConstraints=CA:FALSE
keyUsage=digitalSignature
extendedKeyUsage=serverAuth
subjectAltName={names}
"""
_BACKDATING = """[ca]
default_ca=d
[d]
database=index.txt
serial=serial
new_certs_dir=.
certificate=ca.crt
private_key=ca.key
default_md=sha256
policy=pol
x509_extensions=srv
[pol]
commonName=supplied
[srv]
basicConstraints=CA:FALSE
extendedKeyUsage=serverAuth
subjectAltName={names}
"""


def make_certificates(directory: Path, kind: str = "good") -> None:
    """Write ca.crt, ca.key, server.crt and server.key; `kind` is one of KINDS. RuntimeError when openssl refuses."""
    directory.mkdir(parents=True, exist_ok=True)
    names = _WRONG_NAMES if kind == "wronghost" else _GOOD_NAMES
    (directory / "ext.cnf").write_text(_EXTENSIONS.format(names=names))
    _self_signed(directory, "ca", "/CN=mailserver test CA", "ca")
    if kind == "selfsigned":
        _self_signed(directory, "server", "/CN=localhost", "srv")
        return
    request = ["-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=localhost", "-config", "ext.cnf"]
    _openssl(directory, "req", *_NEW_KEY, *request)
    if kind == "expired":
        _sign_in_the_past(directory, names)
    else:
        signing = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", DAYS]
        extensions = ["-extfile", "ext.cnf", "-extensions", "srv"]
        _openssl(directory, "x509", "-req", "-in", "server.csr", "-out", "server.crt", *signing, *extensions)


def _self_signed(directory: Path, name: str, subject: str, extensions: str) -> None:
    output = ["-keyout", f"{name}.key", "-out", f"{name}.crt", "-days", DAYS, "-subj", subject]
    _openssl(directory, "req", "-x509", *_NEW_KEY, *output, "-config", "ext.cnf", "-extensions", extensions)


def _sign_in_the_past(directory: Path, names: str) -> None:
    (directory / "index.txt").write_text("")
    (directory / "serial").write_text("01\n")
    (directory / "ca.cnf").write_text(_BACKDATING.format(names=names))
    life = ["-startdate", "20200101000000Z", "-enddate", "20200201000000Z"]
    _openssl(
        directory, "ca", "-batch", "-notext", "-config", "ca.cnf", "-in", "server.csr", "-out", "server.crt", *life
    )


def _openssl(directory: Path, *arguments: str) -> None:
    result = subprocess.run(["openssl", *arguments], cwd=directory, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"openssl {arguments[0]}: {result.stderr}")
