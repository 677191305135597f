"""Signature version 4 of AWS, and the credentials of the machine that this is, by IMDSv2.

"AWS Signature Version 4 for API requests" in the IAM user guide; "Use IMDSv2" in EC2's. Standard
library only: a machine begins with nothing else, and this very text is in its user-data.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import time
import urllib.request
from urllib.parse import quote, urlencode, urlsplit

METADATA = "http://169.254.169.254"
_TTL_S = 21600
# Amazon EC2 Auto Scaling API Reference.
_AUTOSCALING = "2011-01-01"


def metadata(path: str, timeout_s: float = 5.0) -> str:
    """Return what the metadata service says; version 1 of it is never asked.

    Raises:
        OSError: it does not answer, or has no such word.
    """
    base = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", METADATA).rstrip("/")
    asked = {"X-aws-ec2-metadata-token-ttl-seconds": str(_TTL_S)}
    token = _answer(f"{base}/latest/api/token", asked, None, "PUT", timeout_s).decode()
    told = {"X-aws-ec2-metadata-token": token}
    return _answer(f"{base}/latest/meta-data/{path}", told, None, "GET", timeout_s).decode()


def credentials() -> dict[str, str]:
    """Return the keys of the machine's role: `AccessKeyId`, `SecretAccessKey`, `Token`.

    Raises:
        OSError, ValueError: it has none (yet).
    """
    role = metadata("iam/security-credentials/").split("\n")[0]
    found: dict[str, str] = json.loads(metadata(f"iam/security-credentials/{role}"))
    return found


def signed(
    method: str, url: str, body: bytes, scope: tuple[str, str], keys: dict[str, str], now: float
) -> dict[str, str]:
    """Return the headers of a request. `scope` is region and service. Pure."""
    region, service = scope
    parts = urlsplit(url)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": parts.netloc, "x-amz-content-sha256": digest, "x-amz-date": stamp}
    if keys.get("Token"):
        headers["x-amz-security-token"] = keys["Token"]
    if body:
        headers["content-type"] = "application/x-www-form-urlencoded; charset=utf-8"
    names = ";".join(sorted(headers))
    lines = "".join(f"{name}:{headers[name]}\n" for name in sorted(headers))
    # The path is as it is sent: a bucket's is encoded once, and there is no query.
    canonical = "\n".join([method, parts.path or "/", "", lines, names, digest])
    within = f"{stamp[:8]}/{region}/{service}/aws4_request"
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(["AWS4-HMAC-SHA256", stamp, within, hashed])
    key = f"AWS4{keys['SecretAccessKey']}".encode()
    for word in (stamp[:8], region, service, "aws4_request"):
        key = hmac.new(key, word.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    who = f"Credential={keys['AccessKeyId']}/{within}"
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 {who}, SignedHeaders={names}, Signature={signature}"
    )
    del headers["host"]
    return headers


def fetch(bucket: str, key: str, region: str, timeout_s: float = 60.0) -> bytes:
    """Return an object of S3, with the credentials of the machine's role.

    Raises:
        OSError, ValueError: there are no credentials, or the bucket refuses.
    """
    # By its path: of `lab.data` as a host name S3's certificate knows nothing.
    base = os.environ.get("AWS_ENDPOINT_URL", f"https://s3.{region}.amazonaws.com")
    url = f"{base}/{bucket}/{quote(key)}"
    headers = signed("GET", url, b"", (region, "s3"), credentials(), time.time())
    return _answer(url, headers, None, "GET", timeout_s)


def call(
    service: str, region: str, body: bytes, keys: dict[str, str], timeout_s: float = 30.0
) -> bytes:
    """Return the answer to a call of a query service, such as autoscaling.

    Raises:
        OSError: it refuses, or does not answer.
    """
    base = os.environ.get("AWS_ENDPOINT_URL", f"https://{service}.{region}.amazonaws.com")
    url = f"{base}/"
    headers = signed("POST", url, body, (region, service), keys, time.time())
    return _answer(url, headers, body, "POST", timeout_s)


def end_group(region: str, group: str) -> None:
    """Have an Auto Scaling group have no machine: its own is ended, and none follows.

    Powering off alone would only have the group replace it.

    Raises:
        OSError, ValueError: AWS refuses, or does not answer.
    """
    none = {"MinSize": "0", "MaxSize": "0", "DesiredCapacity": "0"}
    named = {"AutoScalingGroupName": group, **none}
    words = {"Action": "UpdateAutoScalingGroup", "Version": _AUTOSCALING, **named}
    call("autoscaling", region, urlencode(words).encode(), credentials())


def _answer(
    url: str, headers: dict[str, str], body: bytes | None, method: str, timeout_s: float
) -> bytes:
    # The caller's own address, http of the link-local service or https of AWS.
    request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310
    with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
        found: bytes = answer.read()
        return found
